//! The faults, one per name.
//!
//! Each runs from the server's first moment to its fault. What comes after that, if there is
//! anything, is a server that behaves, so that it shows whether a client has survived.

use std::env;
use std::io::{self, Write};
use std::process::{self, Command, Stdio};

use serde_json::{Value, json};

use crate::wire::{Wire, content, hang, is, notification, of_era, reply, tools};

const MIB: usize = 1024 * 1024;

pub struct Fault {
    pub name: &'static str,
    /// What the server does.
    pub does: &'static str,
    /// What a good client does with it.
    pub good: &'static str,
    pub run: fn(&mut Wire),
}

/// One line for each, and code below where a line does not do.
pub const FAULTS: &[Fault] = &[
    Fault { name: "none", does: "behaves, to compare with", good: "gets its answers", run: |_| () },
    // It dies.
    Fault {
        name: "dies-at-start",
        does: "says why on stderr and exits before its first byte",
        good: "fails at once, with the exit status and the end of stderr",
        run: |_| die("no configuration file"),
    },
    Fault {
        name: "dies-in-handshake",
        does: "reads the first message, writes half an answer, exits",
        good: "fails at once; may try once more",
        run: |wire| {
            wire.read();
            wire.write(r#"{"jsonrpc":"2.0","#);
            die("cannot go on");
        },
    },
    Fault {
        name: "exits-on-discover",
        does: "exits on `server/discover`; knows only `initialize`",
        good: "starts it again, and opens with `initialize`",
        run: |wire| {
            wire.next("server/discover");
            die("unknown method: server/discover");
        },
    },
    Fault {
        name: "ignores-discover",
        does: "never answers `server/discover`; knows only `initialize`",
        good: "notices within a few seconds, and goes on with `initialize`",
        run: |wire| _ = wire.next("server/discover"),
    },
    Fault {
        name: "dies-after-silence",
        does: "never answers `server/discover`, and exits at the next message",
        good: "starts it again, and opens with `initialize`",
        run: |wire| {
            let first = wire.read();
            if is(&first, "server/discover") {
                wire.read();
                die("received a request before `initialize`");
            }
            wire.answer(&first);
        },
    },
    Fault {
        name: "dies-on-call",
        does: "says why on stderr and exits when a tool is called",
        good: "fails the call at once, with the exit status and the end of stderr",
        run: |wire| {
            wire.next_call();
            die("out of cheese");
        },
    },
    Fault {
        name: "dies-in-line",
        does: "writes half of the reply to a call, and exits",
        good: "fails the call at once",
        run: |wire| {
            let call = wire.next_call();
            let line = wire.right(&call).to_string();
            wire.write(&line.as_bytes()[..line.len() / 2]);
            die("out of cheese");
        },
    },
    Fault {
        name: "dies-after-bytes",
        does: "exits after as many bytes on stdout as the variable HOSTILE_BYTES says, or before any",
        good: "fails what is under way at once, whatever the number",
        run: |wire| {
            let bytes = env::var("HOSTILE_BYTES").ok().and_then(|bytes| bytes.parse().ok());
            wire.bytes_left = bytes.unwrap_or(0);
        },
    },
    Fault {
        name: "dies-between-calls",
        does: "answers a call, and exits",
        good: "fails the next call at once, and knows that it was not begun",
        run: |wire| {
            let call = wire.next_call();
            wire.answer(&call);
            die("that was enough");
        },
    },
    Fault {
        name: "closes-stdout",
        does: "closes its stdout when a tool is called, says so on stderr, and lives on (Unix)",
        good: "fails the call at once, with the end of stderr; ends the process when closed",
        run: |wire| {
            wire.next_call();
            eprintln!("hostile: writes no more");
            become_itself(&["--sleep"], Stdio::inherit(), Stdio::null());
        },
    },
    Fault {
        name: "closes-stdin",
        does: "closes its stdin when a tool is called, says so on stderr, answers, and lives on (Unix)",
        good: "takes the answer; fails the next call at once, with the end of stderr; ends the process when closed",
        run: |wire| {
            let call = wire.next_call();
            eprintln!("hostile: reads no more");
            let line = wire.right(&call).to_string();
            become_itself(&["--say", &line], Stdio::null(), Stdio::inherit());
        },
    },
    // What it writes is no message.
    Fault {
        name: "text-first",
        does: "greets on stdout before the first message",
        good: "skips it",
        run: |wire| wire.write("hostile 1.0\nListening on stdio...\n"),
    },
    Fault {
        name: "junk",
        does: "lines of text before the reply, one of them JSON",
        good: "skips them, and returns the reply",
        run: |wire| before_reply(wire, b"Processing...\n{\"progress\": \"50%\"}\n[debug] done\n"),
    },
    Fault {
        name: "not-utf8",
        does: "a line that is not UTF-8 before the reply",
        good: "skips it, and returns the reply",
        run: |wire| before_reply(wire, b"\xff\xfe caf\xe9 \xc3\n"),
    },
    Fault {
        name: "not-utf8-long",
        does: "a reply of 1.5 MiB, nearly all of which is not UTF-8",
        good: "returns it, or says which limit it is over; keeps a bounded part; the next call works",
        run: |wire| {
            let call = wire.next_call();
            let line = reply(&call, &of_era(&call, content("#"))).to_string();
            let (start, end) = line.split_once('#').unwrap_or_default();
            wire.write(start);
            wire.write(vec![0xff; 3 * MIB / 2]);
            wire.write(format!("{end}\n"));
        },
    },
    Fault {
        name: "bom",
        does: "a UTF-8 byte order mark before the reply, on its line",
        good: "returns the reply",
        run: |wire| before_reply(wire, b"\xef\xbb\xbf"),
    },
    Fault {
        name: "blank-lines",
        does: "blank lines between all messages",
        good: "skips them",
        run: |wire| wire.line_end = "\n\n  \t\n\r\n",
    },
    Fault {
        name: "crlf",
        does: "ends its lines with CR LF",
        good: "reads them",
        run: |wire| wire.line_end = "\r\n",
    },
    Fault {
        name: "endless-line",
        does: "answers a call with a line that never ends",
        good: "fails the call at its clock at the latest; keeps a bounded part of the line",
        run: |wire| {
            wire.next_call();
            let piece = "x".repeat(64 * 1024);
            loop {
                wire.write(&piece);
            }
        },
    },
    Fault {
        name: "stderr-2mib",
        does: "2 MiB on stderr before the reply",
        good: "reads stderr all the time, and returns the reply",
        run: |wire| stderr_first(wire, 2),
    },
    Fault {
        name: "stderr-50mib",
        does: "50 MiB on stderr before the reply",
        good: "the same, and keeps a bounded part of it",
        run: |wire| stderr_first(wire, 50),
    },
    // What it writes is too much.
    Fault {
        name: "reply-20mib",
        does: "a reply of 20 MiB",
        good: "returns it, or says which limit it is over; the next call works",
        run: |wire| large_reply(wire, 20),
    },
    Fault {
        name: "reply-200mib",
        does: "a reply of 200 MiB, with its id at the end",
        good: "fails the call because of a limit, in bounded memory; the next call works",
        run: |wire| large_reply(wire, 200),
    },
    Fault {
        name: "deep",
        does: "a reply nested 100,000 deep, with its id at the end",
        good: "fails the call and does not overflow its stack; the next call works",
        run: |wire| {
            let call = wire.next_call();
            let nest = "[".repeat(100_000) + &"]".repeat(100_000);
            let mut result = of_era(&call, content("deep")).to_string();
            result.pop();
            let result = format!(r#"{result},"structuredContent":{{"nest":{nest}}}}}"#);
            wire.write(format!(r#"{{"jsonrpc":"2.0","result":{result},"id":{}}}"#, call["id"]));
            wire.write("\n");
        },
    },
    Fault {
        name: "floods-notifications",
        does: "answers a call with log messages and progress without end",
        good: "fails the call at its clock; keeps a bounded number of them",
        run: |wire| {
            let call = wire.next_call();
            let log = json!({ "level": "info", "data": "x".repeat(1000) });
            let log = notification("notifications/message", &log);
            for step in 0_u64.. {
                let progress = progress(&call, step);
                wire.write(format!("{log}\n{progress}\n"));
            }
        },
    },
    Fault {
        name: "floods-requests",
        does: "asks 100,000 times before it answers a call, and never reads again",
        good: "takes the answer, though a bounded number of its own waits; fails the next call",
        run: |wire| {
            let call = wire.next_call();
            for thousand in 0..100 {
                let ping = |number| json!({ "jsonrpc": "2.0", "id": number, "method": "ping" });
                let asks = (thousand * 1000..(thousand + 1) * 1000).map(ping);
                wire.write(asks.map(|ask| format!("{ask}\n")).collect::<String>());
            }
            wire.answer(&call);
            hang();
        },
    },
    Fault {
        name: "same-cursor",
        does: "a list whose `nextCursor` never changes",
        good: "stops, and says so",
        run: |wire| {
            loop {
                let list = wire.next("tools/list");
                let mut page = tools(&["echo"]);
                page["nextCursor"] = json!("again");
                wire.send(&reply(&list, &of_era(&list, page)));
            }
        },
    },
    // Answers that are none.
    Fault {
        name: "wrong-id",
        does: "an answer with the id that comes next, and then the right one",
        good: "returns the right one, for the next call too",
        run: |wire| {
            let call = wire.next_call();
            let next = call["id"].as_u64().unwrap_or_default() + 1;
            answer_under(wire, &call, json!(next));
            wire.answer(&call);
        },
    },
    Fault {
        name: "float-id",
        does: "an answer with the call's id and a half, and then the right one with `.0` behind its id",
        good: "returns the right one, or waits for its clock",
        run: |wire| {
            let call = wire.next_call();
            let id = call["id"].as_f64().unwrap_or_default();
            answer_under(wire, &call, json!(id + 0.5));
            let mut right = wire.right(&call);
            if right["id"].is_number() {
                right["id"] = json!(id);
            }
            wire.send(&right);
        },
    },
    Fault {
        name: "string-id",
        does: "an answer with the call's id as a string, and then the right one",
        good: "returns the right one: `1` is not `\"1\"`",
        run: |wire| {
            let call = wire.next_call();
            // A client whose ids are strings gets one in quotes.
            answer_under(wire, &call, json!(call["id"].to_string()));
            wire.answer(&call);
        },
    },
    Fault {
        name: "someone-elses-id",
        does: "an answer with the id of a request that was answered before, and then the right one",
        good: "returns the right one",
        run: |wire| {
            let before = wire.next_call();
            wire.answer(&before);
            let call = wire.next_call();
            answer_under(wire, &call, before["id"].clone());
            wire.answer(&call);
        },
    },
    Fault {
        name: "two-answers",
        does: "two answers to one request, in one write",
        good: "returns the first, and drops the second",
        run: |wire| {
            let call = wire.next_call();
            wire.write(format!("{}\n{}\n", wire.right(&call), wire.wrong(&call)));
        },
    },
    Fault {
        name: "both",
        does: "a reply with both `result` and `error`",
        good: "fails the call; the next call works",
        run: |wire| {
            let call = wire.next_call();
            let mut both = wire.wrong(&call);
            both["error"] = json!({ "code": -1, "message": "and an error" });
            wire.send(&both);
        },
    },
    Fault {
        name: "neither",
        does: "a reply with neither `result` nor `error`",
        good: "fails the call; the next call works",
        run: |wire| {
            let call = wire.next_call();
            wire.send(&json!({ "jsonrpc": "2.0", "id": call["id"] }));
        },
    },
    Fault {
        name: "batch",
        does: "a notification and the reply as one JSON-RPC batch",
        good: "takes it in 2025-03-26, which has batches; elsewhere may wait for its clock",
        run: |wire| {
            let call = wire.next_call();
            let log = json!({ "level": "info", "data": "in a batch" });
            let log = notification("notifications/message", &log);
            wire.send(&json!([log, wire.right(&call)]));
        },
    },
    Fault {
        name: "late",
        does: "answers a call only when the next one comes, together with that",
        good: "fails the first at its clock, and gives the second its own answer",
        run: |wire| {
            let first = wire.next_call();
            let second = wire.next_call();
            wire.send(&wire.wrong(&first));
            wire.answer(&second);
        },
    },
    Fault {
        name: "half-line",
        does: "writes half of its reply, and the other half only when the next call comes",
        good: "fails the first at its clock, and gives the second its own answer",
        run: |wire| {
            let first = wire.next_call();
            let line = format!("{}\n", wire.wrong(&first));
            let (start, end) = line.split_at(line.len() / 2);
            wire.write(start);
            let second = wire.next_call();
            wire.write(end);
            wire.answer(&second);
        },
    },
    Fault {
        name: "glued-progress",
        does: "20 notes of progress and the reply in one write",
        good: "reports all 20, in order, before it returns the reply",
        run: |wire| {
            let call = wire.next_call();
            let notes = (1..=20).map(|step| format!("{}\n", progress(&call, step)));
            let glued = notes.collect::<String>() + &format!("{}\n", wire.right(&call));
            wire.write(glued);
        },
    },
    Fault {
        name: "list-changed",
        does: "says that its tools have changed, and answers the call once they are listed again",
        good: "lets its user list them in the handler, while the call waits",
        run: |wire| {
            let call = wire.next_call();
            wire.send(&notification("notifications/tools/list_changed", &json!({})));
            let list = wire.next("tools/list");
            wire.send(&reply(&list, &of_era(&list, tools(&["echo", "new"]))));
            wire.answer(&call);
        },
    },
    // It does not read, or not listen.
    Fault {
        name: "stops-reading",
        does: "reads nothing after the handshake",
        good: "fails a call with 4 MiB of arguments at its clock; closes in spite of the full pipe",
        run: |wire| {
            wire.handshake();
            hang();
        },
    },
    Fault {
        name: "half-read",
        does: "reads 64 KiB of a request that is longer, and then nothing",
        good: "fails a call with 4 MiB of arguments at its clock, and says that it may have begun",
        run: |wire| wire.longest_line = 64 * 1024,
    },
    Fault {
        name: "immortal",
        does: "ignores the end of its stdin and SIGTERM, and so does the process it has started",
        good: "ends both by force when closed",
        run: |wire| {
            ignore_sigterm();
            wire.at_end = || hang();
            wire.grandchild = start_itself(false);
        },
    },
    // What it has started holds its stdout.
    Fault {
        name: "grandchild",
        does: "starts a process that holds its stdout, and exits at the second call",
        good: "fails the second call at once, or at its clock; closing ends that process too",
        run: |wire| {
            wire.grandchild = start_itself(false);
            answer_one_and_die(wire);
        },
    },
    Fault {
        name: "grandchild-setsid",
        does: "the same, and the process leads a session of its own (Unix)",
        good: "the same, though that process may be out of reach; keeps nothing open for it",
        run: |wire| {
            wire.grandchild = start_itself(true);
            answer_one_and_die(wire);
        },
    },
];

fn die(why: &str) -> ! {
    eprintln!("hostile: {why}");
    process::exit(3);
}

fn before_reply(wire: &mut Wire, bytes: &[u8]) {
    let call = wire.next_call();
    wire.write(bytes);
    wire.answer(&call);
}

fn stderr_first(wire: &mut Wire, mib: usize) {
    let call = wire.next_call();
    let line = "e".repeat(1023) + "\n";
    for _ in 0..mib * 1024 {
        // A client that closes stderr misses nothing.
        let _ = io::stderr().write_all(line.as_bytes());
    }
    wire.answer(&call);
}

fn large_reply(wire: &mut Wire, mib: usize) {
    let call = wire.next_call();
    let result = of_era(&call, content("#")).to_string();
    let (start, end) = result.split_once('#').unwrap_or_default();
    wire.write(format!(r#"{{"jsonrpc":"2.0","result":{start}"#));
    let piece = "x".repeat(MIB);
    for _ in 0..mib {
        wire.write(&piece);
    }
    wire.write(format!("{end},\"id\":{}}}\n", call["id"]));
}

fn progress(call: &Value, step: u64) -> Value {
    let token = &call["params"]["_meta"]["progressToken"];
    let params = json!({ "progressToken": token, "progress": step });
    notification("notifications/progress", &params)
}

/// Answers a call wrongly, and under another id.
fn answer_under(wire: &mut Wire, call: &Value, id: Value) {
    let mut wrong = wire.wrong(call);
    wrong["id"] = id;
    wire.send(&wrong);
}

fn answer_one_and_die(wire: &mut Wire) {
    let first = wire.next_call();
    wire.answer(&first);
    wire.next_call();
    die("that was one too many");
}

/// Starts this program as a process that does nothing, and holds this one's stdout and stderr.
/// Returns its id. With `setsid` it leads a session, and so is in none of this process's groups.
fn start_itself(setsid: bool) -> Option<u32> {
    let itself = env::current_exe().ok()?;
    let mut command = match setsid {
        true => Command::new("setsid"),
        false => Command::new(&itself),
    };
    if setsid {
        command.arg(&itself);
    }
    let child = command.arg("--sleep").stdin(Stdio::null()).spawn();
    Some(child.unwrap_or_else(|error| die(&format!("no grandchild: {error}"))).id())
}

/// Goes on as another run of this program: what it does not inherit is closed.
#[cfg(unix)]
fn become_itself(arguments: &[&str], stdin: Stdio, stdout: Stdio) -> ! {
    use std::os::unix::process::CommandExt;
    let itself = env::current_exe().unwrap_or_default();
    let error = Command::new(itself).args(arguments).stdin(stdin).stdout(stdout).exec();
    die(&error.to_string());
}

#[cfg(not(unix))]
fn become_itself(_: &[&str], _: Stdio, _: Stdio) -> ! {
    die("this fault needs Unix");
}

/// A shell knows how to ignore a signal, and what it starts in its place inherits that.
#[cfg(unix)]
fn ignore_sigterm() {
    use std::os::unix::process::CommandExt;
    const IGNORED: &str = "HOSTILE_IGNORES_SIGTERM";
    if env::var_os(IGNORED).is_some() {
        return;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap '' TERM; exec "$0" "$@""#]).args(env::args_os()).env(IGNORED, "");
    die(&shell.exec().to_string());
}

#[cfg(not(unix))]
fn ignore_sigterm() {}
