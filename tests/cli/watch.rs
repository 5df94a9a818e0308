//! `umcp watch`.

use std::io::{BufRead, BufReader, PipeReader};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};

use crate::command::{Running, WATCHDOG, example, run, script};
use crate::interrupts::{exists, server_of, signal};

const LOG: &str = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"db","data":"a b"}}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
const OTHER: &str = r#"{"jsonrpc":"2.0","method":"example/x","params":{"n":1.50}}"#;

/// A server in shell that has opened the connection and then does something.
fn server(era: &str, capabilities: &str, then: &str) -> String {
    let answer = match era {
        "modern" => format!(
            r#"{{"supportedVersions":["2026-07-28"],"capabilities":{capabilities},"resultType":"complete","ttlMs":0,"cacheScope":"public"}}"#
        ),
        _ => format!(
            r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"serverInfo":{{"name":"fake","version":"0"}}}}"#
        ),
    };
    let opens = if era == "modern" { "server/discover" } else { "initialize" };
    format!(
        r#"next() {{ read -r line || exit 0; id=${{line#*\"id\":}}; id=${{id%%,*}}; }}
        say() {{ printf '%s\n' "$1"; }}
        reply() {{ say '{{"jsonrpc":"2.0","id":'"$id,$1"'}}'; }}
        next
        while case $line in *'"{opens}"'*) false ;; *) true ;; esac; do
            reply '"error":{{"code":-32601,"message":""}}'; next
        done
        reply '"result":{answer}'
        case {era} in legacy) next ;; esac
        {then}"#
    )
}

fn watch(words: &str, script_of_server: &str) -> Command {
    script(format!("watch {words}").trim_end(), script_of_server)
}

/// What comes on stdout, line by line.
fn lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).lines() {
            let _ = sender.send(line.unwrap());
        }
    });
    receiver
}

/// Runs the command, and returns what reads its stdout.
fn start(mut command: Command) -> (Running, PipeReader) {
    let (reader, writer) = std::io::pipe().unwrap();
    (Running::start(command.stdout(writer)), reader)
}

#[test]
fn a_dying_server_is_heard_to_its_end() {
    let escape = LOG.replace("a b", r"\u001b[31mred");
    let then = format!(
        "next; say '{LOG}'; say '{escape}'; say '{CHANGED}'; say '{OTHER}'; echo bye >&2; exit 7"
    );
    let server = server("legacy", r#"{"logging":{}}"#, &then);
    let ended = run(&mut watch("", &server)).expect(4);
    let expected = "info db: a b\ninfo db: \u{1b}[31mred\n\
                    notifications/tools/list_changed\nexample/x {\"n\":1.50}\n";
    assert_eq!(ended.text(), expected);
    assert!(ended.stderr.starts_with("umcp: sh: the server ended (exit status: 7)"), "{ended:?}");
    assert!(ended.stderr.contains("\n  | bye\n"), "{ended:?}");

    let ended = run(&mut watch("--json", &server)).expect(4);
    let all: Vec<Value> =
        ended.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all[0], serde_json::from_str::<Value>(LOG).unwrap());
    assert_eq!(all[2]["method"], "notifications/tools/list_changed");
    assert!(ended.text().lines().nth(3).unwrap().contains("1.50"));
    assert_eq!(all.len(), 4);
}

#[test]
fn a_thousand_last_words_are_printed() {
    let then = format!("next; i=0; while [ $i -lt 1000 ]; do say '{LOG}'; i=$((i+1)); done");
    let ended = run(&mut watch("", &server("legacy", r#"{"logging":{}}"#, &then))).expect(4);
    assert_eq!(ended.text().lines().count(), 1000);
}

#[test]
fn the_level_is_asked_for_if_there_is_a_log() {
    let then = "next; reply '\"result\":{}'; printf '%s\\n' \"$line\" >&2";
    for (words, level) in
        [("", "info"), ("--log-level debug", "debug"), ("--level warning", "warning")]
    {
        let ended = run(&mut watch(words, &server("legacy", r#"{"logging":{}}"#, then))).expect(4);
        let asked = r#""method":"logging/setLevel","params":{"level":"LEVEL"}"#;
        assert!(ended.stderr.contains(&asked.replace("LEVEL", level)), "{ended:?}");
    }
    let ended = run(&mut watch("-v", &server("legacy", "{}", "exit 0"))).expect(4);
    assert!(!ended.stderr.contains("logging/setLevel"), "{ended:?}");
    // A server that refuses is watched all the same.
    let then = format!("next; reply '\"error\":{{\"code\":-1,\"message\":\"no\"}}'; say '{LOG}'");
    let ended = run(&mut watch("", &server("legacy", r#"{"logging":{}}"#, &then))).expect(4);
    assert_eq!(ended.text(), "info db: a b\n");
    assert!(ended.stderr.contains("error -1: no\n"), "{ended:?}");
}

#[test]
fn each_line_is_printed_at_once_and_a_signal_ends_it() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let then = format!("say '{LOG}'; while :; do next; done");
        let command = watch("-v", &server("legacy", "{}", &then));
        let (mut running, reader) = start(command);
        let server = server_of(&mut running);
        assert_eq!(lines(reader).recv_timeout(WATCHDOG).unwrap(), "info db: a b");
        assert!(signal(name, running.child.id()));
        let ended = running.end().expect(status);
        assert!(ended.stderr.ends_with("\numcp: interrupted\n"), "{ended:?}");
        assert!(!exists(server));
    }
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    let then = format!("while say '{LOG}'; do :; done");
    let (running, reader) = start(watch("", &server("legacy", "{}", &then)));
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "info db: a b\n");
    drop(reader);
    assert_eq!(running.end().expect(0).stderr, "");
}

#[test]
fn a_modern_server_is_asked_for_changes() {
    let offers = r#"{"tools":{"listChanged":true},"prompts":{},"resources":{"listChanged":true}}"#;
    let then = format!("next; printf '%s\\n' \"$line\" >&2; say '{CHANGED}'; exit 7");
    let ended = run(&mut watch("", &server("modern", offers, &then))).expect(4);
    assert_eq!(ended.text(), "notifications/tools/list_changed\n");
    let request = ended.stderr.split_once("  | ").unwrap().1.trim_end();
    let request: Value = serde_json::from_str(request).unwrap();
    assert_eq!(request["method"], "subscriptions/listen");
    let wanted = json!({"toolsListChanged": true, "resourcesListChanged": true});
    assert_eq!(request["params"]["notifications"], wanted);

    // A server that takes no subscription is watched all the same.
    let then =
        format!("next; reply '\"error\":{{\"code\":-32601,\"message\":\"no\"}}'; say '{CHANGED}'");
    let ended = run(&mut watch("", &server("modern", offers, &then))).expect(4);
    assert_eq!(ended.text(), "notifications/tools/list_changed\n");
    assert!(ended.stderr.contains("subscriptions/listen: the server answered"), "{ended:?}");
}

const UPDATED: &str = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a:/b","n":1.50}}"#;

#[test]
fn resources_of_a_legacy_server_are_subscribed_to_and_their_updates_printed() {
    let tells = r#"printf '%s\n' "$line" >&2; reply '"result":{}'"#;
    let then = format!("next; {tells}; next; {tells}; say '{UPDATED}'; exit 7");
    let server = server("legacy", r#"{"resources":{"subscribe":true}}"#, &then);
    let ended = run(&mut watch("--json --resource a:/b --resource c:/d", &server)).expect(4);
    assert_eq!(ended.text(), format!("{UPDATED}\n"));
    for uri in ["a:/b", "c:/d"] {
        let asked = r#""method":"resources/subscribe","params":{"uri":"URI"}"#;
        assert!(ended.stderr.contains(&asked.replace("URI", uri)), "{ended:?}");
    }
}

#[test]
fn resources_of_a_modern_server_are_subscribed_to_and_their_updates_printed() {
    let meta = r#""_meta":{"io.modelcontextprotocol/subscriptionId":'"$id"'}"#;
    let acknowledged = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{{meta},"notifications":{{"resourceSubscriptions":["a:/b"]}}}}}}"#
    );
    let updated = UPDATED.replace("\"n\":1.50", meta);
    let then = format!(
        "next; printf '%s\\n' \"$line\" >&2; say '{acknowledged}'; say '{updated}'; exit 7"
    );
    let offers = r#"{"resources":{"subscribe":true}}"#;
    let ended = run(&mut watch("--resource a:/b", &server("modern", offers, &then))).expect(4);
    let said = ended.text();
    let last = said.lines().last().unwrap();
    assert!(last.starts_with(r#"notifications/resources/updated {"uri":"a:/b","#), "{ended:?}");
    let request = ended.stderr.split_once("  | ").unwrap().1.trim_end();
    let request: Value = serde_json::from_str(request).unwrap();
    assert_eq!(request["params"]["notifications"], json!({"resourceSubscriptions": ["a:/b"]}));
}

#[test]
fn a_resource_that_cannot_be_watched_is_said_and_the_rest_watched() {
    let then = format!("say '{LOG}'; exit 7");
    for era in ["legacy", "modern"] {
        let server = server(era, "{}", &then);
        let ended = run(&mut watch("--resource a:/b", &server)).expect(4);
        assert_eq!(ended.text(), "info db: a b\n");
        assert!(ended.stderr.contains("no `resources.subscribe`"), "{ended:?}");
    }
}

#[test]
fn a_server_that_has_nothing_to_say_is_watched_honestly() {
    let mut running = Running::start(&mut example("modern", "watch -v"));
    let server = server_of(&mut running);
    running.line_with("the server declares no changes to listen to");
    assert!(signal("INT", running.child.id()));
    running.end().expect(130);
    assert!(!exists(server));
}
