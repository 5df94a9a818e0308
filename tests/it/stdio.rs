//! Lines over byte streams, and servers that are processes.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::{ByteStream, Client, Era, ErrorKind, Limits, Server};

use crate::calls::{all_received, answering, played, said, soon, tools};
use crate::common::{example_client, example_server};

/// A clock that is to run out.
const SHORT: Duration = Duration::from_millis(100);

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
    let serve = std::sync::Arc::new(serve);
    let server = Server::stream(move || {
        let (client_reader, writer) = std::io::pipe()?;
        let (reader, client_writer) = std::io::pipe()?;
        let raw = Raw { reader: BufReader::new(reader), writer, seen: seen.clone() };
        let serve = serve.clone();
        // It ends when the client closes its end.
        thread::spawn(move || serve(raw));
        Ok(ByteStream::new(client_reader, client_writer))
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
        let echo = |client: &Client, text: &str| {
            client.call_tool("echo", json!({ "message": text })).unwrap().text()
        };
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

#[cfg(unix)]
mod unix {
    use std::env;
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::path::{Path, PathBuf};
    use std::process::{self, Command};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use umcp::Timeouts;

    use super::*;
    use crate::common::example;

    /// A directory that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("umcp-test-{}-{number}", process::id()));
            fs::create_dir(&path).unwrap();
            Self(path.canonicalize().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A FIFO that ends when the last process that holds it open has ended.
    struct Lifeline {
        folder: Folder,
        cut: Receiver<()>,
    }

    impl Lifeline {
        fn new() -> Self {
            let folder = Folder::new();
            let path = folder.path("lifeline");
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            let (end, cut) = mpsc::channel();
            thread::spawn(move || {
                // Opens when a process opens the other end.
                File::open(path).unwrap().read_to_end(&mut Vec::new()).unwrap();
                end.send(()).unwrap();
            });
            Self { folder, cut }
        }

        fn path(&self) -> PathBuf {
            self.folder.path("lifeline")
        }

        fn assert_whole(&self) {
            assert!(self.cut.try_recv().is_err(), "the process has ended");
        }

        fn wait_for_cut(&self) {
            self.cut.recv().unwrap();
        }
    }

    /// A shell script as a server: `$0` is the example server, `$1` a path of the test's.
    fn script(text: &str, path: &Path) -> Server {
        let server = Server::command("sh").args(["-c", text]).arg(example("basic_client"));
        server.arg(path).name("script").era(Era::Modern)
    }

    fn quick() -> Timeouts {
        Timeouts::default().close_grace(SHORT).kill_grace(SHORT)
    }

    fn echo(client: &Client, text: &str) -> String {
        client.call_tool("echo", json!({ "message": text })).unwrap().text()
    }

    /// Runs the rest of a test in a process of its own, with these variables only: returns whether
    /// this is that process.
    fn alone(test: &str, variables: &[(&str, &str)]) -> bool {
        const ALONE: &str = "UMCP_TEST_ALONE";
        if env::var(ALONE).is_ok_and(|name| name == test) {
            return true;
        }
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([&format!("stdio::unix::{test}"), "--exact", "--test-threads=1"]);
        let command = command.env_clear().env(ALONE, test).env("PATH", env::var("PATH").unwrap());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        false
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
        let name = "a_server_sees_the_variables_that_programs_need_and_those_it_is_given";
        if !alone(name, &variables) {
            return;
        }
        soon(|| {
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
            let log = folder.path("log");
            let client = Client::open(script(r#"tee "$1" | "$0" --serve modern"#, &log)).unwrap();
            assert_eq!(echo(&client, "a\nb"), "a\nb");
            let _ = client.tool("slow").arg("seconds", 60).timeout(SHORT).call().unwrap_err();
            assert_eq!(echo(&client, "c"), "c");
            client.close();
            let text = fs::read_to_string(log).unwrap();
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
            let lifeline = Lifeline::new();
            let text = r#"exec 3>"$1"; head -n 1 | "$0" --serve modern
                IFS= read -r line; exec >&-; sleep 1000"#;
            let client = Client::open(script(text, &lifeline.path()).timeouts(quick())).unwrap();
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
            for (text, code, signal, noted) in [
                (r#""$0" --serve modern; echo end >"$2""#, Some(0), None, "end\n"),
                (r#""$0" --serve modern; echo end >"$2"; sleep 1000"#, None, Some(TERM), "end\n"),
                (
                    r#"trap 'echo told >>"$2"; exit 5' TERM
                    "$0" --serve modern; echo end >"$2"; sleep 1000"#,
                    Some(5),
                    None,
                    "end\ntold\n",
                ),
                (
                    r#"trap '' TERM; "$0" --serve modern; echo end >"$2"; sleep 1000"#,
                    None,
                    Some(KILL),
                    "end\n",
                ),
            ] {
                let lifeline = Lifeline::new();
                let notes = lifeline.folder.path("notes");
                let server = script(&format!("exec 3>\"$1\"; {text}"), &lifeline.path());
                let forced = noted != "end\n" || signal.is_some();
                // Long enough for what it does by itself; what ends the test is the signal.
                let graces = Timeouts::default().kill_grace(Duration::from_millis(500));
                let server = server.arg(&notes).timeouts(graces);
                let client = Client::open(server).unwrap();
                assert_eq!(echo(&client, "a"), "a");
                let report = client.close();
                let status = report.exit_status.unwrap();
                assert_eq!((status.code(), status.signal()), (code, signal), "{text}");
                assert_eq!((report.forced, report.left_behind), (forced, false), "{text}");
                assert_eq!(fs::read_to_string(notes).unwrap(), noted, "{text}");
                lifeline.wait_for_cut();
            }
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
                let lifeline = Lifeline::new();
                let text = format!("exec 3>\"$1\"; sleep 1000 & exec 3>&-; {text}");
                let server = script(&text, &lifeline.path()).timeouts(quick());
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
            let lifeline = Lifeline::new();
            let text = r#"exec 3>"$1"; exec "$0" --serve modern"#;
            let client = Client::open(script(text, &lifeline.path())).unwrap();
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
            let lifeline = Lifeline::new();
            let server = script(r#"exec 3>"$1"; sleep 1000"#, &lifeline.path());
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

    /// The threads and descriptors of this process.
    #[cfg(target_os = "linux")]
    fn holdings() -> [usize; 2] {
        ["task", "fd"].map(|what| fs::read_dir(format!("/proc/self/{what}")).unwrap().count())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn clients_that_come_and_go_leave_nothing_behind() {
        if !alone("clients_that_come_and_go_leave_nothing_behind", &[]) {
            return;
        }
        soon(|| {
            let before = holdings();
            for round in 0..50 {
                let listening = Client::builder().on_notification(|_, _| ());
                let client = listening.open(example_server("both")).unwrap();
                let call = client.tool("countdown").arg("steps", 3);
                let call = call.log_level(umcp::LoggingLevel::Debug);
                assert_eq!(call.call().unwrap().text(), "counted 3 steps");
                assert_ne!(holdings(), before);
                match round % 3 {
                    0 => drop(client),
                    _ => assert!(!client.close().left_behind),
                }
            }
            assert_eq!(holdings(), before);
        });
    }
}
