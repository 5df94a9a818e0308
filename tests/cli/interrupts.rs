//! Signals: the command ends, and nothing of the server stays behind.

use std::process::{Command, Stdio};

use crate::command::{Running, example, script};

pub fn signal(name: &str, process: u32) -> bool {
    let mut kill = Command::new("kill");
    let kill = kill.args([format!("-{name}"), process.to_string()]).stderr(Stdio::null());
    kill.status().unwrap().success()
}

pub fn exists(process: u32) -> bool {
    signal("0", process)
}

/// The server's process, which the log names.
pub fn server_of(running: &mut Running) -> u32 {
    let line = running.line_with("started, process ");
    line.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_call_is_interrupted() {
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        for era in ["modern", "legacy"] {
            let mut running = Running::start(&mut example(era, "call slow seconds=50 -v"));
            let server = server_of(&mut running);
            running.line_with("-> tools/call");
            assert!(exists(server));
            assert!(signal(name, running.child.id()));
            let ended = running.end().expect(status);
            assert!(ended.stdout.is_empty());
            assert!(ended.stderr.ends_with("\numcp: interrupted\n"), "{}", ended.stderr);
            assert_eq!(ended.stderr.matches("umcp: ").count(), 1, "{}", ended.stderr);
            assert!(!exists(server));
        }
    }
}

#[test]
fn connecting_is_interrupted() {
    // The server does not even notice that its stdin has ended.
    let mut running = Running::start(&mut script("info -v", "exec sleep 60"));
    let server = server_of(&mut running);
    running.line_with("-> server/discover");
    assert!(signal("TERM", running.child.id()));
    let ended = running.end().expect(143);
    assert!(ended.stderr.ends_with("umcp: interrupted\n"), "{}", ended.stderr);
    assert!(!exists(server));
}

#[test]
fn printing_is_interrupted() {
    // Nobody reads stdout, and the result is larger than a pipe holds.
    let message = format!("message:=\"{}\"", "x".repeat(100_000));
    let words = format!("call echo {message} -v");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut running = Running::start(example("modern", &words).stdout(writer));
    let server = server_of(&mut running);
    running.line_with("<- tools/call");
    assert!(signal("INT", running.child.id()));
    running.end().expect(130);
    assert!(!exists(server));
    drop(reader);
}

#[test]
fn nothing_stays_behind_after_any_end() {
    for (words, status) in [
        ("tools -v", 0),
        ("call fail -v", 5),
        ("call add c=1 -v", 1),
        ("call slow seconds=50 -v --timeout 1s", 124),
    ] {
        let mut running = Running::start(&mut example("both", words));
        let server = server_of(&mut running);
        running.end().expect(status);
        assert!(!exists(server), "{words}");
    }
}
