//! What becomes of a server's processes: when the program that started it is killed, when it is
//! closed, and what it writes to stderr meanwhile.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgid, getsid, kill_process, setsid};
use umcp::{Client, CloseReport, Server, Timeouts};

use crate::alone::{alone, playing, role};
use crate::common::{FOREVER, Folder, Lifeline, echo, script, soon};

/// A process's id that was written to a file.
fn id(folder: &Folder, name: &str) -> Pid {
    Pid::from_raw(folder.read(name).trim().parse().unwrap()).unwrap()
}

fn is_quiet(report: &CloseReport) -> bool {
    !report.forced && !report.left_behind && report.exit_status.is_some_and(|s| s.success())
}

/// Three servers. Each holds the FIFO `NAME-server` until its stdin ends, and writes the id of what
/// would live on to `NAME-id`, which holds `NAME-tree`.
const SERVERS: [(&str, &str); 3] = [
    (
        "honest",
        r#"echo $$ >"$1/honest-id"
        exec "$0" --serve modern 3>"$1/honest-tree" 4>"$1/honest-server""#,
    ),
    // It ignores the end of its stdin, and SIGTERM.
    (
        "stubborn",
        r#"trap '' TERM; exec 3>"$1/stubborn-tree"; echo $$ >"$1/stubborn-id"
        "$0" --serve modern 4>"$1/stubborn-server"; exec sleep 1000"#,
    ),
    (
        "parent",
        r#"trap '' TERM; sleep 1000 3>"$1/parent-tree" & echo $! >"$1/parent-id"
        exec "$0" --serve modern 4>"$1/parent-server""#,
    ),
];

/// A program with three servers, that lives until it is killed, or its stdin ends.
fn be_a_host(role: &str) {
    let (kind, folder) = role.split_once(' ').unwrap();
    let clients = SERVERS.map(|(_, text)| {
        let server = script(text, Path::new(folder));
        let server = if kind == "guarded" { server.guard() } else { server };
        let client = Client::open(server).unwrap();
        assert_eq!(echo(&client, "a"), "a");
        client
    });
    println!("\nready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(clients);
}

/// Starts a host, and waits for its servers.
fn host(test: &str, kind: &str, folder: &Folder) -> Child {
    let role = format!("{kind} {}", folder.0.display());
    let test = format!("killed::{test}");
    let mut host =
        playing(&test, &role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(host.stdout.take().unwrap());
    assert!(said.lines().any(|line| line.unwrap() == "ready"));
    host
}

/// For each server, the FIFO that its own process holds, and that of the processes it has started.
fn lifelines(folder: &Folder) -> [[Lifeline; 2]; 3] {
    SERVERS.map(|(name, _)| {
        ["server", "tree"].map(|what| Lifeline::new(folder, &format!("{name}-{what}")))
    })
}

fn kill(mut host: Child) {
    host.kill().unwrap();
    assert_eq!(host.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
}

#[test]
fn servers_of_a_killed_host_see_the_end_of_their_stdin() {
    if let Some(role) = role() {
        return be_a_host(&role);
    }
    soon(|| {
        let folder = Folder::new();
        let lifelines = lifelines(&folder);
        kill(host("servers_of_a_killed_host_see_the_end_of_their_stdin", "plain", &folder));
        // All of them, so none holds another's stdin open: those that live on would.
        for [server, _] in &lifelines {
            server.wait_for_cut();
        }
        let [[_, honest], others @ ..] = lifelines;
        honest.wait_for_cut();
        for ([_, tree], name) in others.into_iter().zip(["stubborn-id", "parent-id"]) {
            tree.assert_whole();
            kill_process(id(&folder, name), Signal::KILL).unwrap();
            tree.wait_for_cut();
        }
    });
}

#[test]
fn guarded_servers_end_with_a_killed_host_whatever_they_do() {
    if let Some(role) = role() {
        return be_a_host(&role);
    }
    soon(|| {
        let folder = Folder::new();
        let lifelines = lifelines(&folder);
        kill(host("guarded_servers_end_with_a_killed_host_whatever_they_do", "guarded", &folder));
        lifelines.into_iter().flatten().for_each(|lifeline| lifeline.wait_for_cut());
    });
}

/// The signals of a terminal, and of a system that is shut down.
#[test]
fn the_guard_outlives_what_ends_the_host() {
    if let Some(role) = role() {
        return be_a_host(&role);
    }
    soon(|| {
        let folder = Folder::new();
        let lifelines = lifelines(&folder);
        let host = host("the_guard_outlives_what_ends_the_host", "guarded", &folder);
        #[cfg(target_os = "linux")]
        {
            let [guard] = linux::guards_of(host.id())[..] else { panic!("no guard, or many") };
            for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
                kill_process(guard, signal).unwrap();
            }
            assert_eq!(getpgid(Some(guard)).unwrap(), guard);
        }
        kill(host);
        lifelines.into_iter().flatten().for_each(|lifeline| lifeline.wait_for_cut());
    });
}

#[test]
fn closing_a_guarded_server_ends_no_other() {
    alone("killed::closing_a_guarded_server_ends_no_other", || {
        let open = || Client::open(script(r#"exec "$0" --serve modern"#, Path::new("-")).guard());
        let first = open().unwrap();
        let second = open().unwrap();
        assert!(is_quiet(&first.close()));
        assert_eq!(echo(&second, "a"), "a");
        assert!(is_quiet(&second.close()));
        // It starts again.
        let third = open().unwrap();
        assert_eq!(echo(&third, "a"), "a");
        assert!(is_quiet(&third.close()));
    });
}

// STDIO-11, STDIO-12
#[test]
fn what_wrappers_have_started_ends_with_them() {
    soon(|| {
        // Like `npx`, which starts the server and waits for it. The shell gives what it starts in
        // the background another stdin, unless told otherwise.
        for (server, forced, signal) in [
            (r#""$0" --serve modern"#, false, None),
            (r#"sh -c '"$0" --serve modern; exec sleep 1000' "$0""#, true, Some(Signal::TERM)),
            (
                r#"sh -c 'trap "" TERM; "$0" --serve modern; exec sleep 1000' "$0""#,
                true,
                Some(Signal::TERM),
            ),
        ] {
            let folder = Folder::new();
            let lifeline = Lifeline::new(&folder, "lifeline");
            let text = format!(r#"exec 3>"$1/lifeline" 5<&0; {server} <&5 & wait"#);
            let graces = match forced {
                true => Timeouts::default().close_grace(Duration::ZERO).kill_grace(FOREVER),
                false => Timeouts::default().close_grace(FOREVER),
            };
            let client = Client::open(script(&text, &folder.0).timeouts(graces)).unwrap();
            assert_eq!(echo(&client, "a"), "a");
            lifeline.assert_whole();
            let report = client.close();
            assert_eq!((report.forced, report.left_behind), (forced, false), "{server}");
            let status = report.exit_status.unwrap();
            assert_eq!(status.signal(), signal.map(Signal::as_raw), "{server}");
            lifeline.wait_for_cut();
        }
    });
}

// STDIO-11
#[test]
fn each_grace_is_as_long_as_it_was_set() {
    soon(|| {
        let close = |text: &str, close_grace, kill_grace| {
            let graces = Timeouts::default().close_grace(close_grace).kill_grace(kill_grace);
            let client = Client::open(script(text, Path::new("-")).timeouts(graces)).unwrap();
            assert_eq!(echo(&client, "a"), "a");
            let report = client.close();
            let status = report.exit_status.unwrap();
            (report.forced, status.code(), status.signal())
        };
        // None of them waits for a grace that never ends, which the watchdog would see.
        let told = r#"trap 'exit 5' TERM; "$0" --serve modern; while :; do sleep 0.01; done"#;
        assert_eq!(close(told, Duration::ZERO, FOREVER), (true, Some(5), None));
        let honest = r#"exec "$0" --serve modern"#;
        assert_eq!(close(honest, FOREVER, Duration::ZERO), (false, Some(0), None));
        let stubborn = r#"trap '' TERM; "$0" --serve modern; exec sleep 1000"#;
        let killed = (true, None, Some(Signal::KILL.as_raw()));
        assert_eq!(close(stubborn, Duration::ZERO, Duration::ZERO), killed);
    });
}

#[test]
fn a_server_leads_a_group_of_its_own_in_our_session() {
    alone("killed::a_server_leads_a_group_of_its_own_in_our_session", || {
        // A session whose id can be seen: in a container, that of an outer one cannot.
        let session = setsid().unwrap();
        let folder = Folder::new();
        let text = r#"echo $$ >"$1/id"; exec "$0" --serve modern"#;
        let client = Client::open(script(text, &folder.0)).unwrap();
        let server = id(&folder, "id");
        assert_eq!(getpgid(Some(server)).unwrap(), server);
        assert_ne!(getpgid(None).unwrap(), server);
        assert_eq!(getsid(Some(server)).unwrap(), session);
        assert!(is_quiet(&client.close()));
    });
}

#[test]
fn a_server_holds_nothing_of_another() {
    soon(|| {
        let open = || {
            let server = script(r#"exec "$0" --serve modern"#, Path::new("-"));
            Client::open(server.timeouts(Timeouts::default().close_grace(FOREVER))).unwrap()
        };
        let (first, second) = (open(), open());
        // It sees the end of its stdin, and nothing else would end it.
        assert!(is_quiet(&first.close()));
        assert_eq!(echo(&second, "a"), "a");
        assert!(is_quiet(&second.close()));
    });
}

/// A server that writes to stderr first.
fn noisy(noise: &str) -> Server {
    script(&format!(r#"{noise} >&2; exec "$0" --serve modern"#), Path::new("-"))
}

// STDIO-6
#[test]
fn stderr_can_be_copied_to_that_of_the_program() {
    let output = alone("killed::stderr_can_be_copied_to_that_of_the_program", || {
        let server = noisy(r"printf 'one\r\n\ntwo \033[1mbold\nno end'").inherit_stderr();
        let client = Client::open(server).unwrap();
        assert_eq!(echo(&client, "a"), "a");
        assert!(is_quiet(&client.close()));
    });
    let Some(output) = output else { return };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("one\n\ntwo \u{1b}[1mbold\nno end\n"), "{error:?}");
}

// STDIO-6, STDIO-8
#[test]
fn a_program_whose_own_stderr_nobody_reads_goes_on() {
    if role().is_some() {
        // More than a pipe holds.
        let noise = r"{ head -c 1048576 /dev/zero | tr '\0' x | fold -w 63; echo; }";
        let client = Client::open(noisy(noise).inherit_stderr()).unwrap();
        assert_eq!(echo(&client, "a"), "a");
        let report = client.close();
        assert!(!report.forced && report.left_behind, "{report:?}");
        return;
    }
    soon(|| {
        let mut host = playing("killed::a_program_whose_own_stderr_nobody_reads_goes_on", "host");
        let mut host = host.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        assert!(host.wait().unwrap().success());
    });
}

// STDIO-6
#[test]
fn stderr_can_be_handed_over_line_by_line() {
    soon(|| {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let heard = lines.clone();
        let server = noisy(r"printf 'one\r\n\ntwo \377\nno end'");
        let server = server.on_stderr(move |line| heard.lock().unwrap().push(line.to_owned()));
        let client = Client::open(server).unwrap();
        assert_eq!(echo(&client, "a"), "a");
        assert!(is_quiet(&client.close()));
        // Closing has waited for the last one.
        assert_eq!(*lines.lock().unwrap(), ["one", "", "two \u{fffd}", "no end"]);
    });
}

// STDIO-6
#[test]
fn a_listener_for_stderr_that_panics_misses_one_line() {
    soon(|| {
        let (heard, lines) = mpsc::channel();
        let server = noisy(r"printf 'one\ntwo\nthree\n'").on_stderr(move |line| {
            assert_ne!(line, "two", "this panic is part of the test");
            heard.send(line.to_owned()).unwrap();
        });
        let client = Client::open(server).unwrap();
        assert_eq!(echo(&client, "a"), "a");
        assert!(is_quiet(&client.close()));
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["one", "three"]);
    });
}

// STDIO-6, STDIO-8
#[test]
fn a_listener_for_stderr_that_blocks_holds_neither_the_server_nor_the_client() {
    soon(|| {
        let (heard, lines) = mpsc::channel();
        let (go_on, release) = crossbeam_channel::bounded::<()>(0);
        // 50 MiB in lines of 1 KiB, while the first one is still being listened to.
        let flood =
            r#"{ echo first; head -c 52428800 /dev/zero | tr '\0' x | fold -w 1023; echo; }"#;
        let server = noisy(flood).on_stderr(move |line| {
            let _ = release.recv();
            heard.send(line.to_owned()).unwrap();
        });
        let client = Client::open(server).unwrap();
        assert_eq!(echo(&client, "a"), "a");
        let report = client.close();
        assert!(!report.forced && report.left_behind, "{report:?}");
        assert!(lines.try_recv().is_err());
        drop((go_on, client));
        // The listener's thread ends, as the pipe has ended.
        let lines: Vec<String> = lines.iter().collect();
        assert_eq!(lines[0], "first");
        let [kept @ .., last] = &lines[1..] else { panic!("nothing but the first line") };
        assert!(kept.iter().all(|line| *line == "x".repeat(1023)));
        let dropped = last.strip_prefix('[').and_then(|rest| rest.strip_suffix(" lines dropped]"));
        let dropped: usize = dropped.unwrap_or_else(|| panic!("{last:?}")).parse().unwrap();
        assert!(kept.len() <= 1025, "{} lines", kept.len());
        assert_eq!(kept.len() + dropped, 52_428_800_usize.div_ceil(1023));
    });
}

#[cfg(target_os = "linux")]
mod linux {
    use std::path::PathBuf;
    use std::{fs, process};

    use rustix::process::{Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, setrlimit, waitid};
    use umcp::ErrorKind;

    use super::*;
    use crate::alone::{Holdings, children, leaves_nothing};

    fn is_guard(pid: Pid) -> bool {
        // Empty for a moment after a program has been started in it.
        let line = std::iter::repeat_with(|| fs::read(format!("/proc/{pid}/cmdline")).unwrap())
            .find(|line| !line.is_empty())
            .unwrap();
        line.starts_with(b"/bin/sh\0") && line.windows(7).any(|part| part == b"-s KILL")
    }

    pub(super) fn guards_of(process: u32) -> Vec<Pid> {
        let children = children(process).into_iter().filter_map(Pid::from_raw);
        children.filter(|child| is_guard(*child)).collect()
    }

    fn guards() -> Vec<Pid> {
        guards_of(process::id())
    }

    fn guarded() -> Server {
        script(r#"exec "$0" --serve modern"#, Path::new("-")).guard()
    }

    #[test]
    fn the_guard_is_shared_and_leaves_nothing() {
        leaves_nothing("killed::linux::the_guard_is_shared_and_leaves_nothing", || {
            let before = Holdings::now();
            let plain =
                Client::open(script(r#"exec "$0" --serve modern"#, Path::new("-"))).unwrap();
            assert!(guards().is_empty());
            let first = Client::open(guarded()).unwrap();
            let second = Client::open(guarded()).unwrap();
            let [guard] = guards()[..] else { panic!("{:?}", guards()) };
            let link = |what: &str| fs::read_link(format!("/proc/{guard}/{what}")).unwrap();
            assert_eq!(link("cwd"), Path::new("/"));
            assert_eq!([link("fd/1"), link("fd/2")], ["/dev/null", "/dev/null"].map(PathBuf::from));
            assert_eq!(fs::read(format!("/proc/{guard}/environ")).unwrap(), b"");
            assert!(is_quiet(&first.close()));
            assert_eq!(guards(), [guard]);
            assert!(is_quiet(&second.close()));
            assert!(guards().is_empty());
            assert!(is_quiet(&plain.close()));
            before.are_all_there_is();

            for round in 0..100 {
                let client = Client::open(guarded()).unwrap();
                assert_eq!(guards().len(), 1);
                match round % 2 {
                    0 => drop(client),
                    _ => assert!(is_quiet(&client.close())),
                }
            }
        });
    }

    #[test]
    fn a_stopped_guard_holds_nobody() {
        leaves_nothing("killed::linux::a_stopped_guard_holds_nobody", || {
            let first = Client::open(guarded()).unwrap();
            let [guard] = guards()[..] else { panic!("{:?}", guards()) };
            kill_process(guard, Signal::STOP).unwrap();
            let second = Client::open(guarded()).unwrap();
            assert_eq!([echo(&first, "a"), echo(&second, "b")], ["a", "b"]);
            assert!(is_quiet(&second.close()));
            assert!(is_quiet(&first.close()));
        });
    }

    #[test]
    fn a_guard_that_was_ended_is_started_again() {
        leaves_nothing("killed::linux::a_guard_that_was_ended_is_started_again", || {
            let first = Client::open(guarded()).unwrap();
            let [guard] = guards()[..] else { panic!("{:?}", guards()) };
            kill_process(guard, Signal::KILL).unwrap();
            // Until it has closed its end of the pipe.
            let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(guard), end).unwrap();
            let second = Client::open(guarded()).unwrap();
            let [another] = guards()[..] else { panic!("{:?}", guards()) };
            assert_ne!(another, guard);
            assert!(is_quiet(&second.close()) && is_quiet(&first.close()));
        });
    }

    #[test]
    fn a_guard_that_cannot_be_started_is_an_error() {
        leaves_nothing("killed::linux::a_guard_that_cannot_be_started_is_an_error", || {
            let before = Holdings::now();
            let limit = getrlimit(Resource::Nofile);
            let full = Rlimit { current: Some(before.descriptors as u64), ..limit };
            setrlimit(Resource::Nofile, full).unwrap();
            let error = Client::open(guarded()).unwrap_err();
            setrlimit(Resource::Nofile, limit).unwrap();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Unreachable, false));
            assert!(error.to_string().contains("could not start the guard"), "{error}");
            before.are_all_there_is();
            assert!(is_quiet(&Client::open(guarded()).unwrap().close()));
        });
    }
}
