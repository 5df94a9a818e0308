//! Lines over byte streams, and servers that are processes.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde_json::{Value, json};
use umcp::{Client, Era, ErrorKind, Limits, LoggingLevel, Server};

use crate::calls::{all_received, answering, played, said, tools};
use crate::common::{SHORT, echo, example_client, example_server, over_pipes, soon};

/// The server's end of two pipes.
pub struct Raw {
    reader: BufReader<PipeReader>,
    writer: PipeWriter,
    seen: Sender<String>,
}

impl Raw {
    /// The next line with its end, as it came; `None` once the client has closed.
    fn read(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let _ = self.seen.send(line.clone());
        Some(line)
    }

    fn write(&mut self, text: impl AsRef<[u8]>) {
        // A client that is gone shows when reading.
        let _ = self.writer.write_all(text.as_ref());
    }

    /// Answers the opening, and returns the first line after it.
    fn open(&mut self) -> Option<String> {
        let discover = self.read()?;
        self.write(reply(&discover, &discovered(&tools())) + "\n");
        self.read()
    }

    /// Answers everything, the opening included.
    pub fn serve(mut self, capabilities: &Value, result: &Value) {
        while let Some(line) = self.read() {
            let opens = line.contains(r#""server/discover""#);
            let result = if opens { discovered(capabilities) } else { result.clone() };
            self.write(reply(&line, &result) + "\n");
        }
    }
}

/// What `server/discover` returns.
pub fn discovered(capabilities: &Value) -> Value {
    json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"],
        "capabilities": capabilities, "ttlMs": 0, "cacheScope": "private" })
}

/// The response to the request in a line.
fn reply(request: &str, result: &Value) -> String {
    let request: Value = serde_json::from_str(request).unwrap();
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }).to_string()
}

/// A server at the other end of two pipes, and the lines that it reads.
pub fn piped(serve: impl Fn(Raw) + Send + Sync + 'static) -> (Server, Receiver<String>) {
    let (seen, lines) = mpsc::channel();
    let server = over_pipes(move |reader, writer| {
        serve(Raw { reader, writer, seen: seen.clone() });
        None
    });
    (server, lines)
}

fn call(client: &Client) -> String {
    client.call_tool("x", json!({})).unwrap().text()
}

// STDIO-1, STDIO-2, STDIO-3, STDIO-16
#[test]
fn every_message_is_one_compact_line_of_json() {
    soon(|| {
        let (server, lines) = piped(|raw| raw.serve(&tools(), &said("done")));
        let client = Client::open(server).unwrap();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let text = "line\nbreak\r\u{2028}\u{85}ü".repeat(1000);
                    for _ in 0..10 {
                        let call = client.call_tool("x\n", json!({ "a\n": text }));
                        assert_eq!(call.unwrap().text(), "done");
                    }
                });
            }
        });
        // `server/discover` and the calls, all of which were answered.
        let lines: Vec<String> = lines.try_iter().collect();
        assert_eq!(lines.len(), 81);
        for line in &lines {
            let message: Value = serde_json::from_str(line).unwrap();
            assert_eq!(message["jsonrpc"], "2.0");
            assert!(message["method"].is_string());
            assert!(line.starts_with("{\"jsonrpc\"") && line.ends_with("}\n"), "{line:?}");
            assert!(line.len() <= message.to_string().len() + 1, "{line:?}");
        }
    });
}

// STDIO-5
#[test]
fn sloppy_lines_from_a_server_are_read_or_skipped() {
    soon(|| {
        let (server, _) = piped(|mut raw| {
            raw.write("Welcome to my server!\n\n{\"progress\": \"50%\"}\n");
            let Some(discover) = raw.read() else { return };
            raw.write(format!("\u{feff}{}\r\n", reply(&discover, &discovered(&tools()))));
            while let Some(line) = raw.read() {
                raw.write("debug: got a line\n[1, 2\n\r\n  \t \n{}\nnull\n\"x\"\n\u{feff}\n");
                raw.write(b"\xff\xfe\xfd\n");
                let pretty_is_junk = "{\n  \"jsonrpc\": \"2.0\"\n}\n";
                raw.write(pretty_is_junk);
                raw.write(format!("  \u{feff}{} \t\r\n", reply(&line, &said("done"))).trim_start());
            }
        });
        let client = Client::open(server).unwrap();
        assert_eq!([call(&client), call(&client)], ["done", "done"]);
    });
}

// STDIO-5
#[test]
fn a_line_that_is_too_long_costs_the_call_it_answers_and_nothing_else() {
    soon(|| {
        let (server, _) = piped(|mut raw| {
            let Some(first) = raw.open() else { return };
            let Some(second) = raw.read() else { return };
            raw.write("x".repeat(100_000) + "\n");
            raw.write(reply(&second, &said("y".repeat(100_000))) + "\n");
            raw.write(reply(&first, &said("short")) + "\n");
            raw.read();
        });
        let client = Client::open(server.limits(Limits::default().message(5_000))).unwrap();
        let first = client.tool("x").start().unwrap();
        let second = client.tool("x").start().unwrap();
        let error = second.wait().unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Limit, true), "{error}");
        assert_eq!(first.wait().unwrap().text(), "short");
    });
}

// STDIO-5
#[test]
fn a_line_without_an_end_holds_no_call_past_its_clock() {
    soon(|| {
        let (server, _) = piped(|mut raw| {
            raw.open();
            raw.write("x".repeat(10_000));
            raw.read();
        });
        let client = Client::open(server.limits(Limits::default().message(5_000))).unwrap();
        let error = client.tool("x").timeout(SHORT).call().unwrap_err();
        assert!(error.is_timeout(), "{error}");
    });
}

// STDIO-18
#[test]
fn messages_are_told_apart_by_line_breaks_alone() {
    soon(|| {
        let (server, _) = piped(|mut raw| {
            let Some(first) = raw.open() else { return };
            let Some(second) = raw.read() else { return };
            let progress = |line: &str, progress: f64| {
                let request: Value = serde_json::from_str(line).unwrap();
                let token = &request["params"]["_meta"]["progressToken"];
                let params = json!({ "progressToken": token, "progress": progress });
                json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
            };
            // All in one write, and then one byte at a time.
            let glued = format!(
                "{}\n{}\n{}\n",
                progress(&first, 1.0),
                progress(&first, 2.0),
                reply(&first, &said("first"))
            );
            raw.write(glued);
            let split =
                format!("{}\n{}\n", progress(&second, 3.0), reply(&second, &said("second ü")));
            split.bytes().for_each(|byte| raw.write([byte]));
            raw.read();
        });
        let client = Client::open(server).unwrap();
        let mut heard = (Vec::new(), Vec::new());
        let first = client.tool("x").on_progress(|p| heard.0.push(p.progress)).start().unwrap();
        let second = client.tool("x").on_progress(|p| heard.1.push(p.progress)).start().unwrap();
        assert_eq!(second.wait().unwrap().text(), "second ü");
        assert_eq!(first.wait().unwrap().text(), "first");
        assert_eq!(heard, (vec![1.0, 2.0], vec![3.0]));
    });
}

// STDIO-17
#[test]
fn a_modern_server_gets_no_responses() {
    soon(|| {
        let ask = |wire: &umcp::memory::Peer, id: Value, method: &str| {
            wire.send(json!({ "jsonrpc": "2.0", "id": id, "method": method }));
        };
        let (server, received) = answering(Era::Modern, tools(), move |wire, call| {
            ask(wire, json!("a"), "ping");
            ask(wire, json!(1), "roots/list");
            ask(wire, call.id().clone(), "sampling/createMessage");
            let batch = json!([{ "jsonrpc": "2.0", "id": 5, "method": "ping" }]);
            wire.send(batch);
            wire.reply(call, said("done"));
        });
        let client = Client::open(server).unwrap();
        assert_eq!([call(&client), call(&client)], ["done", "done"]);
        let received = all_received(&client, &received);
        let methods: Vec<&str> = received.iter().map(|message| message.method()).collect();
        assert_eq!(methods, ["tools/call", "tools/call"]);
    });
}

// STDIO-17
#[test]
fn a_server_gets_no_responses_from_the_moment_it_shows_to_be_modern() {
    soon(|| {
        let (seen, received) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            while let Some(message) = peer.receive() {
                seen.send(message.method().to_owned()).unwrap();
                match message.method() {
                    "server/discover" => peer.reply(&message, discovered(&tools())),
                    "tools/call" => peer.reply(&message, said("done")),
                    _ => continue,
                }
                peer.send(json!({ "jsonrpc": "2.0", "id": "a", "method": "ping" }));
            }
        });
        let client = Client::open(server).unwrap();
        assert_eq!(call(&client), "done");
        client.close();
        assert_eq!(received.try_iter().collect::<Vec<_>>(), ["server/discover", "tools/call"]);
    });
}

// STDIO-28
#[test]
fn a_legacy_server_gets_answers_while_calls_wait() {
    soon(|| {
        let client = example_client("legacy");
        let answers = client.call_tool("ask_ping", json!({})).unwrap().into_result().unwrap();
        assert_eq!(answers.text(), "pong\n-32601");
        // Also when nothing waits.
        let (server, received) = played(Era::Legacy, tools(), |wire, call| {
            wire.reply(&call, said("done"));
            wire.send(json!({ "jsonrpc": "2.0", "id": "late", "method": "ping" }));
            wire.receive().map(drop)
        });
        let client = Client::open(server).unwrap();
        assert_eq!(call(&client), "done");
        assert_eq!(received.recv().unwrap().method(), "tools/call");
        let pong = json!({ "jsonrpc": "2.0", "id": "late", "result": {} });
        assert_eq!(received.recv().unwrap().0, pong);
    });
}

// STDIO-8
#[test]
fn reading_goes_on_while_the_server_does_not_read() {
    soon(|| {
        const SIZE: usize = 1024 * 1024;
        let (server, _) = piped(|mut raw| {
            if raw.open().is_none() {
                return;
            }
            // More than a pipe holds, in both directions at the same time.
            let log = json!({ "level": "info", "data": "x".repeat(SIZE) });
            let log = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": log });
            raw.write(format!("{log}\n"));
            while let Some(line) = raw.read() {
                raw.write(reply(&line, &said(line.len().to_string())) + "\n");
            }
        });
        let client = Client::open(server).unwrap();
        // This one starts the flood, and is not answered.
        let starts = client.tool("x").start().unwrap();
        let text = json!({ "text": "x".repeat(SIZE) });
        let calls = [(); 4].map(|()| client.tool("x").args(&text).start().unwrap());
        for call in calls {
            let length: usize = call.wait().unwrap().text().parse().unwrap();
            assert!(length > SIZE);
        }
        starts.cancel();
    });
}

// STDIO-22
#[test]
fn a_server_outlives_the_thread_that_started_it() {
    soon(|| {
        let client = thread::spawn(|| example_client("modern")).join().unwrap();
        thread::scope(|scope| {
            for text in ["a", "b", "c", "d"] {
                let client = client.clone();
                scope.spawn(move || assert_eq!(echo(&client, text), text));
            }
        });
        assert_eq!(echo(&client, "e"), "e");
    });
}

#[test]
fn a_program_that_does_not_exist_is_unreachable() {
    soon(|| {
        let error = Client::spawn(["/no/such/program"]).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Unreachable, false));
        assert!(error.to_string().contains("/no/such/program"), "{error}");
        let no_directory = example_server("modern").cwd("/no/such/directory");
        let error = Client::open(no_directory).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(error.to_string().contains("directory"), "{error}");
    });
}

/// A server of an era over lines, that may log. What it does about a call is up to a function,
/// which ends the connection with `None`.
fn in_era(raw: &mut Raw, era: Era, call: impl Fn(&mut Raw, &Value) -> Option<()>) -> Option<()> {
    let capabilities = json!({ "tools": {}, "logging": {} });
    loop {
        let line = raw.read()?;
        let message: Value = serde_json::from_str(&line).unwrap();
        let result = match (message["method"].as_str().unwrap_or_default(), era) {
            ("server/discover", Era::Modern) => discovered(&capabilities),
            ("server/discover", _) => {
                raw.write(refusal(&message, -32601, "no such method") + "\n");
                continue;
            }
            ("initialize", _) => json!({ "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": capabilities, "serverInfo": { "name": "x", "version": "1" } }),
            ("logging/setLevel", _) => json!({}),
            ("tools/call", _) => {
                call(raw, &message)?;
                continue;
            }
            _ => continue,
        };
        raw.write(reply(&line, &result) + "\n");
    }
}

/// An error about the request.
fn refusal(request: &Value, code: i64, message: &str) -> String {
    let error = json!({ "code": code, "message": message });
    json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }).to_string()
}

/// What each line asks for.
fn methods(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["method"].as_str().unwrap_or_default()).collect()
}

fn parsed(lines: impl Iterator<Item = String>) -> Vec<Value> {
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

const OPENING: [&str; 3] = ["server/discover", "initialize", "notifications/initialized"];

fn opening(era: Era) -> &'static [&'static str] {
    if era == Era::Modern { &OPENING[..1] } else { &OPENING }
}

// STDIO-16, STDIO-20: a socket or the like has all that stdio has, but for the process.
#[test]
fn a_byte_stream_has_the_messages_of_either_era() {
    soon(|| {
        for era in [Era::Modern, Era::Legacy] {
            let (server, lines) = piped(move |mut raw| {
                in_era(&mut raw, era, |raw, call| {
                    let done =
                        json!({ "jsonrpc": "2.0", "id": call["id"], "result": said("done") });
                    if call["params"]["name"] == "x" {
                        raw.write(format!("{done}\n"));
                    }
                    Some(())
                });
            });
            let client = Client::open(server).unwrap();
            assert_eq!(call(&client), "done");
            let left = client.tool("left").start().unwrap();
            let is_it = |line: &String| line.contains(r#""left""#);
            let mut before: Vec<String> = Vec::new();
            while !before.last().is_some_and(is_it) {
                before.push(lines.recv().unwrap());
            }
            left.cancel();
            drop(client);
            let lines = parsed(before.into_iter().chain(lines.iter()));
            let calls = ["tools/call", "tools/call", "notifications/cancelled"];
            assert_eq!(methods(&lines), [opening(era), &calls].concat(), "{era}");
            let [.., left, cancelled] = &lines[..] else { panic!() };
            assert_eq!(cancelled["params"]["requestId"], left["id"], "{era}");
            for line in &lines[1..lines.len() - 1] {
                let says = line.to_string().contains("io.modelcontextprotocol/protocolVersion");
                assert_eq!(says, era == Era::Modern, "{line}");
            }
        }
    });
}

// STDIO-23, STDIO-24, STDIO-26, STDIO-29: a client's server stays ended, nothing that was lost is
// sent again, and another client begins from the beginning.
#[test]
fn a_server_that_has_ended_is_opened_anew_and_sent_nothing_again() {
    soon(|| {
        for era in [Era::Modern, Era::Legacy] {
            let connections = Arc::new(AtomicUsize::new(0));
            let count = connections.clone();
            let (server, lines) = piped(move |mut raw| {
                let nth = count.fetch_add(1, Ordering::SeqCst);
                in_era(&mut raw, era, |raw, call| {
                    let done =
                        json!({ "jsonrpc": "2.0", "id": call["id"], "result": said("done") });
                    (nth > 0).then(|| raw.write(format!("{done}\n")))
                });
            });
            let client = Client::open(server.clone()).unwrap();
            client.set_log_level(LoggingLevel::Debug).unwrap();
            for has_ended in [false, true] {
                let error = client.call_tool("lost", json!({})).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
                assert_eq!(error.may_have_run(), !has_ended);
            }
            assert_eq!(connections.load(Ordering::SeqCst), 1);
            client.close();
            let before = parsed(lines.try_iter());
            assert_eq!(before.last().unwrap()["params"]["name"], "lost");

            let client = Client::open(server).unwrap();
            assert_eq!(call(&client), "done");
            let after = parsed(lines.try_iter());
            assert_eq!(methods(&after), [opening(era), &["tools/call"]].concat(), "{era}");
            assert!(!after.last().unwrap().to_string().contains("logLevel"), "{after:?}");
        }
    });
}

// STDIO-10: whatever a server says about credentials, it was given them with its environment.
#[test]
fn nothing_is_authorized_over_stdio() {
    soon(|| {
        for era in [Era::Modern, Era::Legacy] {
            let (server, lines) = piped(move |mut raw| {
                in_era(&mut raw, era, |raw, call| {
                    let text = "401 Unauthorized; WWW-Authenticate: Bearer resource_metadata=\
                        \"https://127.0.0.1/.well-known/oauth-protected-resource\"";
                    raw.write(refusal(call, 401, text) + "\n");
                    Some(())
                });
            });
            let client = Client::open(server).unwrap();
            let error = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rpc, "{error}");
            drop(client);
            let lines = parsed(lines.iter());
            assert_eq!(methods(&lines), [opening(era), &["tools/call"]].concat(), "{era}");
        }
    });
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use umcp::Timeouts;

    use super::*;
    use crate::alone::alone_with;
    use crate::common::{FOREVER, Folder, Lifeline, at_once, script};

    fn quick() -> Timeouts {
        Timeouts::default().close_grace(SHORT).kill_grace(SHORT)
    }

    fn variables_of(server: Server) -> Vec<String> {
        let client = Client::open(server).unwrap();
        let names = client.call_tool("environment", json!({})).unwrap().text();
        serde_json::from_str(&names).unwrap()
    }

    // STDIO-15
    #[test]
    fn a_server_sees_the_variables_that_programs_need_and_those_it_is_given() {
        let variables = [
            ("HOME", "/"),
            ("https_proxy", "http://proxy"),
            ("LC_ALL", "C"),
            ("XDG_RUNTIME_DIR", "/run"),
            ("GITHUB_TOKEN", "secret"),
            ("LD_PRELOAD_", "x"),
            ("LANG", "() { :; }"),
        ];
        let name =
            "stdio::unix::a_server_sees_the_variables_that_programs_need_and_those_it_is_given";
        alone_with(name, &variables, || {
            let server = || example_server("modern");
            let usual = ["HOME", "LC_ALL", "PATH", "XDG_RUNTIME_DIR", "https_proxy"];
            assert_eq!(variables_of(server()), usual);
            let changed = server().env("TOKEN", "t").env("HOME", "/tmp").env_remove("LC_ALL");
            let expected = ["HOME", "PATH", "TOKEN", "XDG_RUNTIME_DIR", "https_proxy"];
            assert_eq!(variables_of(changed), expected);
            let all = variables_of(server().inherit_env().env_remove("LD_PRELOAD_"));
            let expected = [
                "GITHUB_TOKEN",
                "HOME",
                "LANG",
                "LC_ALL",
                "PATH",
                "UMCP_TEST_ALONE",
                "XDG_RUNTIME_DIR",
                "https_proxy",
            ];
            assert_eq!(all, expected);
        });
    }

    // STDIO-15
    #[test]
    fn arguments_and_directory_reach_the_server_as_they_are() {
        soon(|| {
            let folder = Folder::new();
            let odd = "a b; $(touch x) '\"* \\ ü";
            let server = script(r#"printf '%s\n%s' "$2" "$PWD" >&2; exit 7"#, Path::new("-"));
            let error = Client::open(server.arg(odd).cwd(&folder.0)).unwrap_err();
            let said = format!("{odd}\n{}", folder.0.display());
            assert_eq!(error.stderr_tail(), Some(said.as_str()));
            assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
        });
    }

    // STDIO-1, STDIO-2
    #[test]
    fn a_process_reads_lines_of_json_and_nothing_else() {
        soon(|| {
            let folder = Folder::new();
            let text = r#"tee "$1/log" | "$0" --serve modern"#;
            let client = Client::open(script(text, &folder.0)).unwrap();
            assert_eq!(echo(&client, "a\nb"), "a\nb");
            let _ = client.tool("slow").arg("seconds", 60).timeout(SHORT).call().unwrap_err();
            assert_eq!(echo(&client, "c"), "c");
            client.close();
            let text = folder.read("log");
            assert!(text.ends_with("}\n"));
            let methods: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["method"].clone())
                .collect();
            let calls = ["tools/call", "tools/call", "notifications/cancelled", "tools/call"];
            assert_eq!(methods[0], "server/discover");
            assert_eq!(methods[1..], calls);
        });
    }

    // STDIO-5
    #[test]
    fn a_process_may_write_junk_and_line_ends_of_windows() {
        soon(|| {
            let text = r#"echo 'starting...'; echo; printf '\357\273\277'
                "$0" --serve modern | while IFS= read -r line; do
                    printf '%s\r\nnoise\r\n' "$line"
                done"#;
            let client = Client::open(script(text, Path::new("-"))).unwrap();
            assert_eq!([echo(&client, "a"), echo(&client, "b")], ["a", "b"]);
        });
    }

    // STDIO-6, STDIO-7, STDIO-8
    #[test]
    fn stderr_is_read_and_no_failure() {
        soon(|| {
            let text = r#"echo 'ERROR: fatal: panic' >&2
                head -c 1000000 /dev/zero | tr '\0' x >&2
                exec "$0" --serve modern"#;
            let client = Client::open(script(text, Path::new("-"))).unwrap();
            assert_eq!(echo(&client, "a"), "a");
            let report = client.close();
            assert!(report.exit_status.unwrap().success() && !report.forced, "{report:?}");
        });
    }

    #[test]
    fn a_server_that_hangs_is_quoted_when_a_clock_runs_out() {
        soon(|| {
            let folder = Folder::new();
            let hangs = Lifeline::new(&folder, "hangs");
            // Who opens it has written before.
            let text = r#"echo 'waiting for a login' >&2; exec sleep 1000 3>"$1/hangs""#;
            let timeouts = Timeouts::default().connect(SHORT * 10);
            let server = script(text, &folder.0).era(Era::Legacy).timeouts(timeouts);
            let error = Client::open(server).unwrap_err();
            assert!(error.is_timeout(), "{error}");
            assert_eq!(error.stderr_tail(), Some("waiting for a login\n"));
            assert!(error.to_string().contains("its command: "), "{error}");
            hangs.wait_for_cut();
            let text = r#"echo 'working on it' >&2; exec "$0" --serve modern"#;
            let client = Client::open(script(text, &folder.0)).unwrap();
            let slow = client.tool("countdown").arg("steps", 9).arg("delay", 9).timeout(SHORT);
            let error = slow.call().unwrap_err();
            assert!(error.is_timeout(), "{error}");
            assert_eq!(error.stderr_tail(), Some("working on it\n"));
        });
    }

    // STDIO-6, STDIO-13, STDIO-14
    #[test]
    fn a_server_that_ends_fails_what_waits_and_says_why() {
        soon(|| {
            // It serves its first line, and ends at its third.
            let text = r#"head -n 1 | "$0" --serve modern
                IFS= read -r line; IFS= read -r line
                printf 'one\ntwo: out of \033[31mcheese\n' >&2; exit 3"#;
            let server = script(text, Path::new("-")).limits(Limits::default().stderr_tail(24));
            let client = Client::open(server).unwrap();
            let calls = [(); 2].map(|()| client.tool("x").start().unwrap());
            for call in calls {
                let error = call.wait().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Disconnected);
                assert_eq!(error.exit_status().unwrap().code(), Some(3));
                assert_eq!(error.stderr_tail(), Some("two: out of [31mcheese\n"));
                assert!(error.to_string().contains("cheese"), "{error}");
                assert_eq!(error.server_name(), Some("script"));
                assert!(error.may_have_run());
            }
            let late = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!((late.kind(), late.may_have_run()), (ErrorKind::Disconnected, false));
            assert_eq!(client.close().exit_status.unwrap().code(), Some(3));
        });
    }

    // STDIO-14
    #[test]
    fn a_server_that_closes_its_stdout_and_lives_on_has_ended_too() {
        soon(|| {
            let folder = Folder::new();
            let lifeline = Lifeline::new(&folder, "lifeline");
            let text = r#"exec 3>"$1/lifeline"; head -n 1 | "$0" --serve modern
                IFS= read -r line; exec >&-; sleep 1000"#;
            let client = Client::open(script(text, &folder.0).timeouts(quick())).unwrap();
            let error = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
            assert_eq!(error.exit_status(), None);
            lifeline.assert_whole();
            assert!(client.close().forced);
            lifeline.wait_for_cut();
        });
    }

    // STDIO-11, STDIO-12
    #[test]
    fn a_server_ends_by_itself_then_when_told_and_then_by_force() {
        const TERM: i32 = 15;
        const KILL: i32 = 9;
        soon(|| {
            // What it does at the end of its stdin, its exit code and signal, and what it noted.
            let cases = [
                (r#""$0" --serve modern; echo end >"$1/notes""#, Some(0), None, "end\n"),
                (
                    r#""$0" --serve modern; echo end >"$1/notes"; sleep 1000"#,
                    None,
                    Some(TERM),
                    "end\n",
                ),
                (
                    r#"trap 'echo told >>"$1/notes"; exit 5' TERM
                    "$0" --serve modern; echo end >"$1/notes"; sleep 1000"#,
                    Some(5),
                    None,
                    "end\ntold\n",
                ),
                (
                    r#"trap '' TERM; "$0" --serve modern; echo end >"$1/notes"; sleep 1000"#,
                    None,
                    Some(KILL),
                    "end\n",
                ),
            ];
            at_once(cases, |(text, code, signal, noted)| {
                let folder = Folder::new();
                let lifeline = Lifeline::new(&folder, "lifeline");
                let server = script(&format!("exec 3>\"$1/lifeline\"; {text}"), &folder.0);
                let forced = noted != "end\n" || signal.is_some();
                // Long enough for what it does by itself, and no longer where it does nothing more.
                let grace = |ends| if ends { FOREVER } else { Duration::from_millis(500) };
                let graces = Timeouts::default().close_grace(grace(!forced));
                let server = server.timeouts(graces.kill_grace(grace(signal != Some(KILL))));
                let client = Client::open(server).unwrap();
                assert_eq!(echo(&client, "a"), "a");
                let report = client.close();
                let status = report.exit_status.unwrap();
                assert_eq!((status.code(), status.signal()), (code, signal), "{text}");
                assert_eq!((report.forced, report.left_behind), (forced, false), "{text}");
                assert_eq!(folder.read("notes"), noted, "{text}");
                lifeline.wait_for_cut();
            });
        });
    }

    // STDIO-12
    #[test]
    fn what_a_server_has_started_ends_with_it() {
        soon(|| {
            // It ends by itself, or has to be ended, or has ended before.
            for (text, calls) in [
                (r#"exec "$0" --serve modern"#, true),
                (r#""$0" --serve modern; exec sleep 1000"#, true),
                (r#"head -n 1 | "$0" --serve modern; exit 0"#, false),
            ] {
                let folder = Folder::new();
                let lifeline = Lifeline::new(&folder, "lifeline");
                let text = format!("exec 3>\"$1/lifeline\"; sleep 1000 & exec 3>&-; {text}");
                let server = script(&text, &folder.0).timeouts(quick());
                let client = Client::open(server).unwrap();
                if calls {
                    assert_eq!(echo(&client, "a"), "a");
                    lifeline.assert_whole();
                }
                let report = client.close();
                assert!(!report.left_behind, "{text}: {report:?}");
                lifeline.wait_for_cut();
            }
        });
    }

    #[test]
    fn dropping_the_last_clone_ends_the_process() {
        soon(|| {
            let folder = Folder::new();
            let lifeline = Lifeline::new(&folder, "lifeline");
            let text = r#"exec 3>"$1/lifeline"; exec "$0" --serve modern"#;
            let client = Client::open(script(text, &folder.0)).unwrap();
            let clone = client.clone();
            drop(client);
            assert_eq!(echo(&clone, "a"), "a");
            lifeline.assert_whole();
            drop(clone);
            lifeline.wait_for_cut();
        });
    }

    #[test]
    fn an_opening_that_fails_leaves_no_process() {
        soon(|| {
            let folder = Folder::new();
            let lifeline = Lifeline::new(&folder, "lifeline");
            let server = script(r#"exec 3>"$1/lifeline"; sleep 1000"#, &folder.0);
            let server = server.timeouts(quick().patience(SHORT));
            assert_eq!(Client::open(server).unwrap_err().kind(), ErrorKind::Protocol);
            lifeline.wait_for_cut();
        });
    }

    #[test]
    fn a_server_that_does_not_read_holds_nobody_past_his_clock() {
        soon(|| {
            let text = r#"head -n 1 | "$0" --serve modern; exec sleep 1000"#;
            let limits = Limits::default().outgoing(3 * 1024 * 1024);
            let server = script(text, Path::new("-")).timeouts(quick()).limits(limits);
            let client = Client::open(server).unwrap();
            let big = json!({ "text": "x".repeat(1024 * 1024) });
            let timeout = |name| client.tool(name).timeout(SHORT * 2);

            // It fills the pipe, and what comes behind it never leaves.
            let started = Instant::now();
            let begun = timeout("begun").args(&big).call().unwrap_err();
            let unsent = timeout("unsent").call().unwrap_err();
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            assert!(begun.is_timeout() && unsent.is_timeout());
            assert_eq!((begun.may_have_run(), unsent.may_have_run()), (true, false));

            let waiting = [(); 2].map(|()| client.tool("waits").args(&big).start().unwrap());
            let refused = client.tool("refused").args(&big).start().unwrap_err();
            assert_eq!((refused.kind(), refused.may_have_run()), (ErrorKind::Limit, false));
            client.close();
            for call in waiting {
                let error = call.wait().unwrap_err();
                assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Closed, false));
            }
        });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn clients_that_come_and_go_leave_nothing_behind() {
        use crate::alone::{Holdings, leaves_nothing};

        leaves_nothing("stdio::unix::clients_that_come_and_go_leave_nothing_behind", || {
            let before = Holdings::now();
            for round in 0..50 {
                let listening = Client::builder().on_notification(|_, _| ());
                let client = listening.open(example_server("both")).unwrap();
                let call = client.tool("countdown").arg("steps", 3);
                let call = call.log_level(umcp::LoggingLevel::Debug);
                assert_eq!(call.call().unwrap().text(), "counted 3 steps");
                assert_ne!(Holdings::now(), before);
                match round % 3 {
                    0 => drop(client),
                    _ => assert!(!client.close().left_behind),
                }
            }
        });
    }
}
