//! Every fault of `examples/hostile`, as a real process: nothing hangs, nothing is left behind,
//! memory stays bounded, no wrong answer is returned, and the error says what happened.
//!
//! What the errors say is in `faults.snapshot`. This writes it anew, to be read before it is
//! committed:
//!
//! ```sh
//! UMCP_WRITE_SNAPSHOT=1 cargo test --test it faults
//! ```

use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use umcp::{
    CancelToken, Client, Era, ErrorKind, Limits, LoggingLevel, ProtocolVersion, Result, Server,
    Timeouts, json,
};

#[cfg(unix)]
use crate::alone::until;
use crate::alone::{Holdings, alone, leaves_nothing, peak};
use crate::common::example;
use crate::snapshot::Snapshot;

const SNAPSHOT: Snapshot = Snapshot {
    file: "faults.snapshot",
    head: "# What umcp says of every fault of examples/hostile: see faults.rs.",
};

const MIB: usize = 1024 * 1024;
/// The limit in force, unless a test sets another.
const LIMIT: usize = 2 * MIB;
/// A clock that is to run out.
const SHORT: Duration = Duration::from_millis(300);

/// The misbehaving server: a fault, and `--era` if need be.
fn hostile(fault: &str) -> Server {
    // A call that nothing ends says so before the watchdog does.
    let timeouts = Timeouts::default().request(Duration::from_secs(20));
    let timeouts = timeouts.close_grace(SHORT).kill_grace(SHORT);
    let server = Server::command(example("hostile")).args(fault.split(' '));
    server.name("hostile").timeouts(timeouts).limits(limits(LIMIT))
}

fn limits(bytes: usize) -> Limits {
    Limits::default().message(bytes).outgoing(bytes)
}

/// Calls the tool and checks that the answer is its own.
fn echo(client: &Client) -> Result<()> {
    static NEXT: Mutex<u32> = Mutex::new(0);
    let text = {
        let mut next = NEXT.lock().unwrap();
        *next += 1;
        format!("message {next}")
    };
    let result = client.call_tool("echo", json!({ "message": text }))?;
    assert_eq!(result.text(), text);
    Ok(())
}

/// The error of a call that waits for a short time only.
fn fails_soon(client: &Client, mib: usize) -> umcp::Error {
    let text = "x".repeat(mib * MIB);
    client.tool("echo").arg("message", text).timeout(SHORT).call().unwrap_err()
}

/// What a fault that costs no call looks like.
fn carries_on(server: Server) -> Result<()> {
    let client = Client::open(server)?;
    for _ in 0..3 {
        echo(&client)?;
    }
    let report = client.close();
    assert!(!report.left_behind && !report.forced, "{report:?}");
    Ok(())
}

/// A call that fails, and a connection that survives it.
fn costs_one_call(server: Server, kind: ErrorKind) -> Result<()> {
    let client = Client::open(server)?;
    let error = echo(&client).unwrap_err();
    assert_eq!((error.kind(), error.may_have_run()), (kind, true), "{error}");
    echo(&client)?;
    echo(&client)?;
    Err(error)
}

/// A call during which the server's process ends.
fn costs_the_server(server: Server) -> Result<()> {
    let client = Client::open(server)?;
    let error = echo(&client).unwrap_err();
    assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true), "{error}");
    assert_eq!(error.exit_status().unwrap().code(), Some(3));
    assert_eq!(error.stderr_tail(), Some("hostile: out of cheese\n"));
    let late = echo(&client).unwrap_err();
    assert_eq!((late.kind(), late.may_have_run()), (ErrorKind::Disconnected, false), "{late}");
    Err(error)
}

/// A server that ends before it has opened the connection.
fn costs_the_opening(server: Server) -> Result<()> {
    let error = Client::open(server).unwrap_err();
    assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, false), "{error}");
    assert_eq!(error.exit_status().unwrap().code(), Some(3));
    Err(error)
}

/// A call that is never answered, and a connection that is closed then.
fn costs_a_clock(server: Server) -> Result<()> {
    let client = Client::open(server)?;
    let error = fails_soon(&client, 0);
    assert!(error.is_timeout() && error.may_have_run(), "{error}");
    assert!(fails_soon(&client, 0).is_timeout());
    assert!(!client.close().left_behind);
    Err(error)
}

#[test]
fn none() {
    fault("none", carries_on);
}

#[test]
fn dies_at_start() {
    fault("dies-at-start", costs_the_opening);
}

#[test]
fn dies_in_handshake() {
    fault("dies-in-handshake", costs_the_opening);
}

#[test]
fn exits_on_discover() {
    fault("exits-on-discover", |server| {
        let client = Client::open(server.clone())?;
        assert_eq!(client.protocol_version().era(), Era::Legacy);
        drop(client);
        carries_on(server)
    });
}

#[test]
fn ignores_discover() {
    fault("ignores-discover", carries_on);
}

#[test]
fn dies_after_silence() {
    fault("dies-after-silence", carries_on);
}

#[test]
fn dies_on_call() {
    fault("dies-on-call", costs_the_server);
}

#[test]
fn dies_on_call_legacy() {
    fault("dies-on-call --era legacy", costs_the_server);
}

#[test]
fn dies_in_line() {
    fault("dies-in-line", costs_the_server);
}

/// At every moment of opening, two calls and a list, and after them.
fn dies_anywhere(server: Server) -> Result<()> {
    let mut survived = 0;
    for bytes in (0..1000).step_by(3) {
        let server = server.clone().env("HOSTILE_BYTES", bytes.to_string());
        let outcome = Client::open(server).and_then(|client| {
            echo(&client)?;
            echo(&client)?;
            client.list_tools()
        });
        match outcome {
            Ok(_) => survived += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Disconnected, "{bytes}: {error}"),
        }
    }
    assert!((1..300).contains(&survived), "{survived}");
    Ok(())
}

#[test]
fn dies_after_bytes() {
    fault("dies-after-bytes", dies_anywhere);
}

#[test]
fn dies_after_bytes_legacy() {
    fault("dies-after-bytes --era legacy", dies_anywhere);
}

#[test]
fn dies_between_calls() {
    fault("dies-between-calls", |server| {
        let client = Client::open(server)?;
        echo(&client)?;
        let error = echo(&client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert!(!echo(&client).unwrap_err().may_have_run());
        Err(error)
    });
}

#[cfg(unix)]
#[test]
fn closes_stdout() {
    fault("closes-stdout", |server| {
        let client = Client::open(server)?;
        let error = echo(&client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert_eq!(error.exit_status(), None);
        let report = client.close();
        assert!(report.forced && !report.left_behind, "{report:?}");
        Err(error)
    });
}

#[cfg(unix)]
#[test]
fn closes_stdin() {
    fault("closes-stdin", |server| {
        let client = Client::open(server)?;
        echo(&client)?;
        // It lives on and will never answer: nothing else would end this call before its clock.
        let error = echo(&client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        let report = client.close();
        assert!(report.forced && !report.left_behind, "{report:?}");
        Err(error)
    });
}

#[test]
fn text_first() {
    fault("text-first", carries_on);
}

#[test]
fn junk() {
    fault("junk", carries_on);
}

#[test]
fn not_utf8() {
    fault("not-utf8", carries_on);
}

/// What replaces a broken byte has three.
#[test]
fn not_utf8_long() {
    fault("not-utf8-long", |server| costs_one_call(server, ErrorKind::Limit));
}

#[test]
fn bom() {
    fault("bom", carries_on);
}

#[test]
fn blank_lines() {
    fault("blank-lines", carries_on);
}

#[test]
fn crlf() {
    fault("crlf", carries_on);
}

#[test]
fn endless_line() {
    fault("endless-line", costs_a_clock);
}

#[test]
fn stderr_2mib() {
    fault("stderr-2mib", carries_on);
}

#[test]
fn stderr_50mib() {
    fault("stderr-50mib", carries_on);
}

#[test]
fn reply_20mib() {
    fault_within("reply-20mib", 32 * MIB, |server| {
        let client = Client::open(server)?;
        let text = client.call_tool("echo", ())?.text();
        assert!(text.len() == 20 * MIB && text.bytes().all(|byte| byte == b'x'));
        drop(text);
        echo(&client)
    });
}

#[test]
fn reply_200mib() {
    fault("reply-200mib", |server| costs_one_call(server, ErrorKind::Limit));
}

#[test]
fn deep() {
    fault("deep", |server| costs_one_call(server, ErrorKind::Limit));
}

/// Somebody listens for all there is, slowly.
fn costs_a_listener_its_clock(server: Server) -> Result<()> {
    let client = Client::builder().on_notification(|_, _| thread::yield_now()).open(server)?;
    let call = client.tool("echo").log_level(LoggingLevel::Debug).timeout(SHORT).max_total(SHORT);
    let call = call.on_progress(|_| thread::yield_now()).on_log(|_| thread::yield_now());
    let error = call.call().unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(!client.close().left_behind);
    Err(error)
}

#[test]
fn floods_notifications() {
    fault("floods-notifications", costs_a_listener_its_clock);
}

#[test]
fn floods_notifications_legacy() {
    fault("floods-notifications --era legacy", costs_a_listener_its_clock);
}

/// Its own answers, which the server does not read, wait as long as there is room.
fn costs_no_memory(server: Server) -> Result<()> {
    let client = Client::open(server)?;
    echo(&client)?;
    let next = fails_soon(&client, 0);
    assert!(matches!(next.kind(), ErrorKind::Timeout | ErrorKind::Limit), "{next}");
    assert!(!client.close().left_behind);
    Ok(())
}

#[test]
fn floods_requests() {
    fault("floods-requests", costs_no_memory);
}

#[test]
fn floods_requests_legacy() {
    fault("floods-requests --era legacy", costs_no_memory);
}

#[test]
fn same_cursor() {
    fault("same-cursor", |server| {
        let client = Client::open(server)?;
        let error = client.list_tools().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        echo(&client)?;
        Err(error)
    });
}

#[test]
fn wrong_id() {
    fault("wrong-id", carries_on);
}

#[test]
fn float_id() {
    fault("float-id", carries_on);
}

#[test]
fn string_id() {
    fault("string-id", carries_on);
}

#[test]
fn someone_elses_id() {
    fault("someone-elses-id", carries_on);
}

#[test]
fn two_answers() {
    fault("two-answers", carries_on);
}

#[test]
fn both() {
    fault("both", |server| costs_one_call(server, ErrorKind::Protocol));
}

#[test]
fn neither() {
    fault("neither", |server| costs_one_call(server, ErrorKind::Protocol));
}

#[test]
fn batch() {
    fault("batch", |server| {
        let client = Client::open(server)?;
        let error = fails_soon(&client, 0);
        assert!(error.is_timeout(), "{error}");
        echo(&client)?;
        Err(error)
    });
}

#[test]
fn batch_legacy() {
    fault("batch --era legacy", |server| carries_on(server.version(ProtocolVersion::V2025_03_26)));
}

#[test]
fn late() {
    fault("late", |server| {
        let client = Client::open(server)?;
        let error = fails_soon(&client, 0);
        assert!(error.is_timeout(), "{error}");
        echo(&client)?;
        echo(&client)?;
        Err(error)
    });
}

#[test]
fn half_line() {
    fault("half-line", |server| {
        let client = Client::open(server)?;
        let error = fails_soon(&client, 0);
        assert!(error.is_timeout(), "{error}");
        echo(&client)?;
        echo(&client)?;
        Err(error)
    });
}

#[test]
fn glued_progress() {
    fault("glued-progress", |server| {
        let client = Client::open(server)?;
        let mut heard = Vec::new();
        let call = client.tool("echo").arg("message", "glued");
        let result = call.on_progress(|step| heard.push(step.progress)).call()?;
        assert_eq!(result.text(), "glued");
        assert_eq!(heard, (1..=20).map(f64::from).collect::<Vec<_>>());
        Ok(())
    });
}

#[test]
fn list_changed() {
    fault("list-changed", |server| {
        let (seen, listed) = mpsc::channel();
        let client = Client::builder()
            .on_notification(move |_, context| {
                seen.send(context.client().list_tools().unwrap().len()).unwrap();
            })
            .open(server)?;
        // Answered only once the tools have been listed.
        echo(&client)?;
        assert_eq!(listed.recv().unwrap(), 2);
        Ok(())
    });
}

#[test]
fn stops_reading() {
    fault_within("stops-reading", 8 * MIB, |server| {
        let client = Client::open(server)?;
        let begun = fails_soon(&client, 4);
        let unsent = fails_soon(&client, 0);
        assert!(begun.is_timeout() && unsent.is_timeout(), "{begun}\n{unsent}");
        assert_eq!((begun.may_have_run(), unsent.may_have_run()), (true, false));
        Err(unsent)
    });
}

#[test]
fn stops_reading_legacy() {
    fault_within("stops-reading --era legacy", 8 * MIB, |server| {
        let client = Client::open(server)?;
        let error = fails_soon(&client, 4);
        assert!(error.is_timeout() && error.may_have_run(), "{error}");
        Err(error)
    });
}

#[test]
fn half_read() {
    fault_within("half-read", 8 * MIB, |server| {
        let client = Client::open(server)?;
        echo(&client)?;
        let error = fails_soon(&client, 4);
        assert!(error.is_timeout() && error.may_have_run(), "{error}");
        // Nothing may follow half a line but its other half.
        assert!(!fails_soon(&client, 0).may_have_run());
        Err(error)
    });
}

/// Calls the tool for the id of the process that the server has started.
fn grandchild_of(client: &Client) -> Result<u64> {
    let told = client.call_tool("echo", ())?.structured::<umcp::RawJson>()?;
    Ok(told.to_value().unwrap()["grandchild"].as_u64().unwrap())
}

/// Whether a process runs. One that has ended and waits for its parent to notice does not.
fn runs(process: u64) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &process.to_string()]).output();
    let stat = String::from_utf8(output.unwrap().stdout).unwrap();
    !stat.trim().is_empty() && !stat.trim().starts_with('Z')
}

#[cfg(unix)]
#[test]
fn immortal() {
    fault("immortal", |server| {
        let client = Client::open(server)?;
        let grandchild = grandchild_of(&client)?;
        assert!(runs(grandchild));
        let report = client.close();
        assert!(report.forced && !report.left_behind, "{report:?}");
        assert!(until(|| !runs(grandchild)), "{grandchild} still runs");
        Ok(())
    });
}

/// The second call ends the server, but not what holds its stdout.
fn costs_the_server_but_not_its_stdout(client: &Client) -> umcp::Error {
    let error = echo(client).unwrap_err();
    assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true), "{error}");
    assert_eq!(error.exit_status().unwrap().code(), Some(3));
    error
}

#[cfg(unix)]
#[test]
fn grandchild() {
    fault("grandchild", |server| {
        // Closed while the server is there, and after it has died.
        let client = Client::open(server.clone())?;
        let first = grandchild_of(&client)?;
        assert!(!client.close().left_behind);
        assert!(until(|| !runs(first)), "{first} still runs");

        let client = Client::open(server)?;
        let second = grandchild_of(&client)?;
        let error = costs_the_server_but_not_its_stdout(&client);
        assert!(!client.close().left_behind);
        assert!(until(|| !runs(second)), "{second} still runs");
        Err(error)
    });
}

/// Ends a process that nobody else will.
struct Ends(u64);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", &self.0.to_string()]).status();
    }
}

/// Until then it is in the server's group, and ends with it.
#[cfg(target_os = "linux")]
fn leads_a_session(process: u64) -> bool {
    let process = process.to_string();
    let output = Command::new("ps").args(["-o", "sess=", "-p", &process]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim() == process
}

// Elsewhere there is no command of that name.
#[cfg(target_os = "linux")]
#[test]
fn grandchild_setsid() {
    fault("grandchild-setsid", |server| {
        let before = Holdings::now();
        let client = Client::open(server.clone())?;
        let first = Ends(grandchild_of(&client)?);
        assert!(until(|| leads_a_session(first.0)));
        client.close();

        let client = Client::open(server)?;
        let second = Ends(grandchild_of(&client)?);
        assert!(until(|| leads_a_session(second.0)));
        let error = costs_the_server_but_not_its_stdout(&client);
        client.close();
        drop(client);
        // They are out of reach, and nothing is kept for them.
        before.are_all_there_is();
        assert!(runs(first.0) && runs(second.0));
        Err(error)
    });
}

#[test]
fn what_costs_no_call_costs_none_in_the_legacy_era() {
    const FAULTS: &str = "none text-first junk not-utf8 bom blank-lines crlf stderr-2mib wrong-id \
        float-id string-id someone-elses-id two-answers";
    leaves_nothing("faults::what_costs_no_call_costs_none_in_the_legacy_era", || {
        for fault in FAULTS.split_whitespace() {
            let outcome = carries_on(hostile(&format!("{fault} --era legacy")));
            assert!(outcome.is_ok(), "{fault}: {outcome:?}");
        }
    });
}

/// Closes a client on the thread that its listener runs on, as the last one to hold it.
#[test]
fn the_last_clone_dropped_in_a_listener_closes() {
    leaves_nothing("faults::the_last_clone_dropped_in_a_listener_closes", || {
        let shared: Arc<Mutex<Option<Client>>> = Arc::default();
        let held = shared.clone();
        let (ready, is_ready) = mpsc::channel();
        let is_ready = Mutex::new(is_ready);
        let (dropped, is_dropped) = mpsc::channel();
        let client = Client::builder()
            .on_notification(move |_, _| {
                let () = is_ready.lock().unwrap().recv().unwrap();
                drop(held.lock().unwrap().take());
                dropped.send(()).unwrap();
            })
            .open(hostile("list-changed"))
            .unwrap();
        // The server speaks of its list at the first call, and answers none before it is asked.
        let _ = fails_soon(&client, 0);
        *shared.lock().unwrap() = Some(client);
        ready.send(()).unwrap();
        is_dropped.recv().unwrap();
    });
}

/// A call with a full pipe, ended by another thread.
fn ended_from_elsewhere(
    test: &str,
    kind: ErrorKind,
    end: impl FnOnce(&Client, &CancelToken) + Send + 'static,
) {
    leaves_nothing(test, move || {
        let client = Client::open(hostile("stops-reading")).unwrap();
        let full = fails_soon(&client, 4);
        assert!(full.is_timeout(), "{full}");
        let token = CancelToken::new();
        let call = client.tool("echo").cancel_token(&token);
        let (under_way, waits) = mpsc::channel();
        let call = call.start().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                under_way.send(()).unwrap();
                call.wait().unwrap_err()
            });
            waits.recv().unwrap();
            // The server is silent all the while: only this ends the call.
            end(&client, &token);
            let error = waiting.join().unwrap();
            assert_eq!((error.kind(), error.may_have_run()), (kind, false), "{error}");
        });
    });
}

#[test]
fn a_call_with_a_full_pipe_can_be_cancelled() {
    let test = "faults::a_call_with_a_full_pipe_can_be_cancelled";
    ended_from_elsewhere(test, ErrorKind::Cancelled, |_, token| token.cancel());
}

#[test]
fn a_client_with_a_full_pipe_can_be_closed() {
    let test = "faults::a_client_with_a_full_pipe_can_be_closed";
    ended_from_elsewhere(test, ErrorKind::Closed, |client, _| {
        let report = client.close();
        assert!(report.forced && !report.left_behind, "{report:?}");
    });
}

#[test]
fn a_thousand_clients_leave_nothing_behind() {
    leaves_nothing("faults::a_thousand_clients_leave_nothing_behind", || {
        for round in 0..1000 {
            let client = Client::open(hostile("none")).unwrap();
            match round % 2 {
                0 => drop(client),
                _ => assert!(!client.close().left_behind),
            }
        }
    });
}

/// The faults, as `hostile --list` has them.
fn listed() -> Vec<String> {
    let output = Command::new(example("hostile")).arg("--list").output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let names = list.lines().filter(|line| !line.starts_with(' '));
    names.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn every_fault_has_a_test_and_what_is_said_of_it() {
    let tests = include_str!("faults.rs");
    let snapshot = SNAPSHOT.read();
    let names = listed();
    assert!(names.len() > 40, "{names:?}");
    for name in &names {
        assert!(tests.contains(&format!("(\"{name}\", ")), "no test of {name}");
        assert!(snapshot.contains_key(name), "{name} is not in the snapshot");
    }
    for key in snapshot.keys() {
        assert!(tests.contains(&format!("(\"{key}\", ")), "no test says anything of {key}");
        assert!(names.iter().any(|name| Some(name.as_str()) == key.split(' ').next()), "{key}");
    }
}

#[test]
fn the_table_in_the_readme_names_faults_that_exist() {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("\n## Servers that misbehave\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    assert_eq!(names.len(), 13);
    let faults = listed();
    for name in names {
        assert!(faults.iter().any(|fault| fault == name), "there is no fault {name}");
    }
}

/// Runs one fault in a process of its own, and compares what was said of it.
fn fault(name: &'static str, drive: impl FnOnce(Server) -> Result<()> + Send + 'static) {
    fault_within(name, LIMIT, drive);
}

fn fault_within(
    name: &'static str,
    limit: usize,
    drive: impl FnOnce(Server) -> Result<()> + Send + 'static,
) {
    let test = format!("faults::{}", name.replace("--era ", "").replace(['-', ' '], "_"));
    let output = alone(&test, move || {
        let before = Holdings::now();
        // What any connection costs in memory does not count.
        carries_on(hostile("none")).unwrap();
        before.are_all_there_is();
        let peak_before = peak();
        let said = drive(hostile(name).limits(limits(limit)))
            .map_or_else(|error| error.to_string(), |()| "ok".into());
        before.are_all_there_is();
        let growth = peak() - peak_before;
        assert!(growth <= 2 * limit, "memory grew by {growth} bytes, the limit is {limit}");
        println!("\n<said>{said}</said>");
    });
    if let (Some(output), true) = (output, cfg!(unix)) {
        let text = String::from_utf8(output.stdout).unwrap();
        let said = text.split_once("\n<said>").and_then(|(_, rest)| rest.split_once("</said>\n"));
        // Where the program stands is not the same everywhere.
        let program = example("hostile").to_string_lossy().into_owned();
        SNAPSHOT.compare(name, &said.unwrap().0.replace(&program, "hostile"));
    }
}
