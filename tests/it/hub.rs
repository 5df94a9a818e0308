//! Many servers under names: connecting, names, failures, and disconnecting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;
use umcp::memory::Script;
use umcp::{CancelToken, Client, Error, ErrorKind, EventKind, Hub, Server, Timeouts};

use crate::alone::{leaves_nothing, until};
use crate::calls::{played, said, tools};
use crate::common::{ERAS, SHORT, at_once, example, example_server, soon};

/// A server with one tool, which answers with what it is given.
pub fn tool(name: &str, answer: &str) -> Server {
    let list = json!({ "tools": [{ "name": name, "inputSchema": {} }] });
    Script::new().answer("tools/list", list).answer("tools/call", said(answer)).server()
}

/// A server that never answers its opening.
fn hanging() -> Server {
    let server = Server::in_memory(|peer| while peer.receive().is_some() {});
    server.timeouts(Timeouts::default().connect(SHORT).patience(SHORT))
}

fn missing() -> Server {
    Server::command("no-such-program-here")
}

fn hostile(fault: &str) -> Server {
    let timeouts = Timeouts::default().close_grace(SHORT).kill_grace(SHORT);
    Server::command(example("hostile")).arg(fault).timeouts(timeouts)
}

fn call(hub: &Hub, server: &str) -> umcp::Result<String> {
    hub.call_tool(server, "x", json!({})).map(|result| result.text())
}

fn kinds(failures: &[(String, Error)]) -> Vec<(&str, ErrorKind)> {
    failures.iter().map(|(name, error)| (name.as_str(), error.kind())).collect()
}

#[test]
fn each_server_is_called_by_its_name_over_stdio_in_both_eras() {
    leaves_nothing("hub::each_server_is_called_by_its_name_over_stdio_in_both_eras", || {
        let servers = [
            ("modern", example_server("modern")),
            ("legacy", example_server("legacy").name("another")),
            ("memory", tool("x", "here")),
        ];
        let hub = Hub::connect(servers);
        assert!(hub.failures().is_empty(), "{:?}", hub.failures());
        assert_eq!(hub.names(), ["modern", "legacy", "memory"]);
        for name in ["modern", "legacy"] {
            let sum = hub.call_tool(name, "add", json!({ "a": 2, "b": 3 })).unwrap();
            assert_eq!(sum.into_result().unwrap().text(), "5");
            assert_eq!(hub.get(name).unwrap().server_name(), name);
            let error = hub.call_tool(name, "no-such-tool", json!({})).unwrap_err();
            assert_eq!(error.server_name(), Some(name));
        }
        assert_eq!(call(&hub, "memory").unwrap(), "here");
        let found = hub.find_tool("add").unwrap().unwrap();
        assert_eq!((found.0.as_str(), found.1.name.as_str()), ("modern", "add"));
        let reports = hub.disconnect_all();
        assert!(reports.iter().all(|(_, report)| !report.forced && !report.left_behind));
        assert!(reports[0].1.exit_status.unwrap().success());
        assert_eq!(reports.len(), 3);
    });
}

#[cfg(feature = "http")]
#[test]
fn servers_over_http_and_over_stdio_are_called_side_by_side() {
    use std::collections::HashSet;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use crate::alone::{Holdings, alone};

    alone("hub::servers_over_http_and_over_stdio_are_called_side_by_side", || {
        let mut processes = Vec::new();
        let mut servers = vec![("stdio".to_owned(), example_server("both"))];
        for mode in ["modern", "legacy", "sse"] {
            let mut command = Command::new(example("basic_client"));
            let command = command.args(["--serve-http", mode]).stdout(Stdio::piped());
            let mut process = command.spawn().unwrap();
            let mut url = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
            servers.push((mode.to_owned(), Server::url(url.trim())));
            processes.push(process);
        }
        let before = Holdings::now();
        let hub = Hub::connect(servers.clone());
        assert_eq!(kinds(&hub.failures()), []);
        at_once(&servers, |(name, _)| {
            let text = format!("to {name}");
            let result = hub.call_tool(name, "echo", json!({ "message": text }));
            assert_eq!(result.unwrap().text(), text);
        });
        // Each lists the same tools, and each of them is called by a name of its own.
        let (tools, missing) = hub.tools();
        assert_eq!(kinds(&missing), []);
        let names: HashSet<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names.len(), tools.len());
        for (name, _) in &servers {
            let echo = hub.call(&format!("{name}__echo"), json!({ "message": "hi" })).unwrap();
            assert_eq!(echo.text(), "hi");
            let (of, echo) = hub.find_tool(&format!("{name}__echo")).unwrap().unwrap();
            assert_eq!((of.as_str(), echo.name.as_str()), (name.as_str(), "echo"));
        }
        // Also after an error.
        hub.call_tool("legacy", "no-such-tool", json!({})).unwrap_err();
        let reports = hub.disconnect_all();
        assert!(reports.iter().all(|(_, report)| !report.left_behind), "{reports:?}");
        drop(hub);
        before.are_all_there_is();
        for mut process in processes {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    });
}

#[test]
fn a_server_that_does_not_come_up_leaves_the_others_as_they_are() {
    leaves_nothing("hub::a_server_that_does_not_come_up_leaves_the_others_as_they_are", || {
        let hub = Hub::connect([
            ("hangs", hanging()),
            ("first", tool("x", "1")),
            ("missing", missing()),
            ("dies", hostile("dies-at-start")),
            ("", tool("x", "no name")),
            ("first", tool("x", "the same name")),
            ("a\x1b[2J", tool("x", "a name that drives the terminal")),
            ("last", tool("x", "2")),
        ]);
        let failures = hub.failures();
        use ErrorKind::{Disconnected, InvalidInput, Timeout, Unreachable};
        let expected = [
            ("hangs", Timeout),
            ("missing", Unreachable),
            ("dies", Disconnected),
            ("", InvalidInput),
            ("first", InvalidInput),
            ("a\x1b[2J", InvalidInput),
        ];
        assert_eq!(kinds(&failures), expected);
        assert_eq!(hub.names(), ["hangs", "first", "missing", "dies", "last"]);
        for (name, error) in &failures[..3] {
            assert_eq!(error.server_name(), Some(name.as_str()));
            // What is called says the same.
            assert_eq!(call(&hub, name).unwrap_err().to_string(), error.to_string());
        }
        assert_eq!(failures[4].1.to_string(), "first: there is a server \"first\" already");
        assert_eq!(call(&hub, "first").unwrap() + &call(&hub, "last").unwrap(), "12");
        hub.disconnect_all();
        // Nothing is to be there any more; what could not be added is still told.
        assert_eq!(kinds(&hub.failures()), expected[3..]);
    });
}

#[test]
fn all_connect_and_all_close_at_the_same_time() {
    leaves_nothing("hub::all_connect_and_all_close_at_the_same_time", || {
        const COUNT: usize = 20;
        // Each waits for all others, when it opens and when it ends.
        let (opening, ending) = (Arc::new(Barrier::new(COUNT)), Arc::new(Barrier::new(COUNT)));
        let servers = (0..COUNT).map(|number| {
            let (opening, ending) = (opening.clone(), ending.clone());
            let server = Server::in_memory(move |peer| {
                opening.wait();
                let mut next = peer.open_modern(tools());
                while let Some(request) = next {
                    peer.reply(&request, said(number.to_string()));
                    next = peer.receive();
                }
                ending.wait();
            });
            (format!("server {number}"), server)
        });
        let hub = Hub::connect(servers);
        assert_eq!(kinds(&hub.failures()), []);
        for number in 0..COUNT {
            assert_eq!(call(&hub, &format!("server {number}")).unwrap(), number.to_string());
        }
        let reports = hub.disconnect_all();
        assert!(reports.iter().all(|(_, report)| !report.left_behind), "{reports:?}");
        let names: Vec<String> = reports.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, hub.names());
    });
}

#[test]
fn servers_that_do_not_end_are_ended_by_force_all_together() {
    let name = "hub::servers_that_do_not_end_are_ended_by_force_all_together";
    leaves_nothing(name, || {
        let fault = |number| if number < 10 { "immortal" } else { "none" };
        let server = |number: usize| (number.to_string(), hostile(fault(number)));
        let hub = Hub::connect((0..20).map(server));
        assert_eq!(kinds(&hub.failures()), []);
        let reports = hub.disconnect_all();
        let forced: Vec<bool> = reports.iter().map(|(_, report)| report.forced).collect();
        assert_eq!(forced, [[true; 10], [false; 10]].concat());
        // Again is nothing new.
        assert_eq!(hub.disconnect_all(), reports);
    });
}

#[cfg(feature = "http")]
#[test]
fn urls_that_hang_at_connect_or_at_close_hold_up_nobody_for_longer_than_their_time() {
    use crate::http_peer::{Answer, Endpoint, answer, session};

    soon(|| {
        let timeouts = Timeouts::default().connect(SHORT).patience(SHORT);
        let timeouts = timeouts.close_grace(SHORT).kill_grace(SHORT);
        let mute = Endpoint::bare(|_| Answer::Silence);
        let good = Endpoint::new(|post| answer(post, &said("done")));
        let sticky = Endpoint::bare(|post| match (post.verb(), session(post)) {
            ("DELETE", _) => Answer::Silence,
            (_, Some(opening)) => opening,
            _ => answer(post, &said("done")),
        });
        let hub = Hub::connect([
            ("mute", mute.server().timeouts(timeouts.clone())),
            ("sticky", sticky.server().timeouts(timeouts)),
            ("refused", Server::url("http://127.0.0.1:1/mcp")),
            ("no URL", Server::url("weather")),
            ("good", good.server()),
        ]);
        use ErrorKind::{InvalidInput, Timeout, Unreachable};
        let expected = [("mute", Timeout), ("refused", Unreachable), ("no URL", InvalidInput)];
        assert_eq!(kinds(&hub.failures()), expected);
        for name in ["good", "sticky"] {
            assert_eq!(call(&hub, name).unwrap(), "done");
        }
        let reports = hub.disconnect_all();
        assert!(reports.iter().all(|(_, report)| !report.left_behind), "{reports:?}");
    });
}

#[test]
fn dropping_the_last_hub_disconnects_all() {
    leaves_nothing("hub::dropping_the_last_hub_disconnects_all", || {
        let hub = Hub::connect([("a", example_server("both")), ("b", tool("x", "b"))]);
        let client = hub.get("a").unwrap();
        let other = hub.clone();
        drop(hub);
        client.ping().unwrap();
        drop(other);
        assert_eq!(client.ping().unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn a_server_can_be_disconnected_connected_again_and_removed() {
    soon(|| {
        let (server, received) = played(umcp::Era::Modern, tools(), |wire, first| {
            wire.reply(&first, said("1"));
            Some(())
        });
        let hub = Hub::connect([("one", server), ("two", tool("x", "2"))]);
        assert_eq!(call(&hub, "one").unwrap(), "1");
        let first = hub.get("one").unwrap();
        // What is connected is left as it is.
        hub.reconnect("one").unwrap().close();
        assert!(hub.failures().is_empty());
        assert_eq!(first.ping().unwrap_err().kind(), ErrorKind::Closed);

        for _ in 0..3 {
            hub.disconnect("one").unwrap();
            let error = call(&hub, "one").unwrap_err();
            assert_eq!(error.to_string(), "one: the client was closed by this program");
        }
        assert!(hub.failures().is_empty());
        assert_eq!(hub.names(), ["one", "two"]);

        hub.reconnect("one").unwrap();
        assert_eq!(call(&hub, "one").unwrap(), "1");
        assert_eq!(received.try_iter().count(), 2);

        let client = hub.get("one").unwrap();
        hub.remove("one").unwrap();
        assert_eq!(client.ping().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(hub.names(), ["two"]);
        for error in [
            hub.remove("one").unwrap_err(),
            hub.disconnect("one").unwrap_err(),
            hub.reconnect("one").unwrap_err(),
            hub.get("one").unwrap_err(),
            call(&hub, "one").unwrap_err(),
        ] {
            let text = "there is no server \"one\" in the hub. There are \"two\"";
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidInput, text));
        }
        // The name is free again, and goes to the end.
        hub.add("one", tool("x", "new")).unwrap();
        assert_eq!(call(&hub, "one").unwrap(), "new");
        assert_eq!(hub.names(), ["two", "one"]);
    });
}

#[test]
fn what_is_added_has_to_come_up_and_to_have_a_name_of_its_own() {
    soon(|| {
        let hub = Hub::new();
        let long = "n".repeat(201);
        assert_eq!(hub.add("m", missing()).unwrap_err().kind(), ErrorKind::Unreachable);
        assert_eq!(hub.add("h", hanging()).unwrap_err().kind(), ErrorKind::Timeout);
        for name in ["", "line\nbreak", &long] {
            let error = hub.add(name, tool("x", "1")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text =
                "a server's name in a hub has 1 to 200 characters, and no control characters";
            assert_eq!(error.to_string(), text);
        }
        assert!(hub.names().is_empty() && hub.failures().is_empty());

        let text = "there is no server \"m\" in the hub. It has none";
        assert_eq!(hub.get("m").unwrap_err().to_string(), text);

        // Whatever else a name has in it is no matter, and no case is like another.
        let strange =
            ["天気 🦀", "../..", "a__b", "A__B", " ", "%s", &long[1..], "constructor", "_"];
        for name in strange {
            hub.add(name, tool("x", name)).unwrap();
            assert_eq!(hub.add(name, tool("x", "")).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert_eq!(hub.names(), strange);
        for name in strange {
            assert_eq!(call(&hub, name).unwrap(), name);
        }
    });
}

#[test]
fn an_unknown_name_is_told_with_those_that_are_most_like_it() {
    soon(|| {
        let names = ["weather", "files", "github", "Filez-2"];
        let many = (0..20).map(|number| format!("another server {number}"));
        let names = names.into_iter().map(str::to_owned).chain(many);
        let hub = Hub::connect(names.map(|name| (name, tool("x", ""))));
        let error = hub.get("file").unwrap_err().to_string();
        let text = "there is no server \"file\" in the hub. There are \"files\", \"Filez-2\", ";
        assert!(error.starts_with(text), "{error}");
        assert!(error.ends_with(" and 14 more"), "{error}");
        // Whatever is asked for, the error is of a size.
        let error = hub.get(&"\x1b[2J".repeat(1_000_000)).unwrap_err().to_string();
        assert!(error.len() < 1000 && !error.contains('\x1b'), "{error}");
    });
}

#[test]
fn a_server_that_ends_is_a_failure_until_it_is_connected_to_again() {
    leaves_nothing("hub::a_server_that_ends_is_a_failure_until_it_is_connected_to_again", || {
        let hub =
            Hub::connect([("dies", hostile("dies-on-call")), ("good", example_server("both"))]);
        for _ in 0..2 {
            assert!(hub.failures().is_empty());
            let error = hub.call_tool("dies", "echo", json!({ "message": "" })).unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true));
            assert!(until(|| !hub.failures().is_empty()));
            let failures = hub.failures();
            assert_eq!(kinds(&failures), [("dies", ErrorKind::Disconnected)]);
            assert_eq!(failures[0].1.stderr_tail(), Some("hostile: out of cheese\n"));
            let error = hub.get("dies").unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, false));
            let sum = hub.call_tool("good", "add", json!({ "a": 2, "b": 3 })).unwrap();
            assert_eq!(sum.text(), "5");
            hub.reconnect("dies").unwrap();
        }
        hub.disconnect_all();
    });
}

#[test]
fn servers_that_flap_hold_up_nobody_and_leave_nothing() {
    leaves_nothing("hub::servers_that_flap_hold_up_nobody_and_leave_nothing", || {
        let flapping = || {
            Server::in_memory(|peer| {
                peer.open_modern(tools());
            })
        };
        let hub = Hub::connect([("a", flapping()), ("good", tool("x", "1")), ("b", flapping())]);
        at_once(0..8, |number| {
            for _ in 0..50 {
                let name = if number % 2 == 0 { "a" } else { "b" };
                let _ = call(&hub, name);
                let _ = hub.reconnect(name);
                assert_eq!(call(&hub, "good").unwrap(), "1");
                let _ = hub.disconnect(name);
                assert!(hub.names().len() == 3 && hub.failures().len() <= 2);
            }
        });
        hub.disconnect_all();
        assert_eq!(kinds(&hub.failures()), []);
    });
}

/// A server that says when it is asked to open, and does so when the test has said so.
fn held() -> (Server, mpsc::Receiver<Sender<()>>) {
    let (begun, begins) = mpsc::channel();
    let server = Server::in_memory(move |peer| {
        let (go, goes) = mpsc::channel();
        begun.send(go).unwrap();
        let _ = goes.recv();
        let mut next = peer.open_modern(tools());
        while let Some(request) = next {
            peer.reply(&request, said("1"));
            next = peer.receive();
        }
    });
    (server, begins)
}

#[test]
fn what_is_disconnected_while_it_connects_does_not_come_up() {
    leaves_nothing("hub::what_is_disconnected_while_it_connects_does_not_come_up", || {
        type End = fn(&Hub);
        let ends: [End; 3] = [
            |hub| drop(hub.disconnect_all()),
            |hub| _ = hub.disconnect("held").unwrap(),
            |hub| _ = hub.remove("held").unwrap(),
        ];
        for end in ends {
            let hub = Hub::connect([("good", tool("x", "1"))]);
            let (server, begins) = held();
            thread::scope(|scope| {
                let adding = scope.spawn(|| hub.add("held", server));
                let go = begins.recv().unwrap();
                assert_eq!(hub.get("held").unwrap_err().kind(), ErrorKind::Unreachable);
                assert!(hub.failures().is_empty());
                // This does not wait for it.
                end(&hub);
                go.send(()).unwrap();
                assert_eq!(adding.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
            });
            assert_eq!(hub.names(), ["good"]);
        }
    });
}

#[test]
fn what_is_disconnected_while_it_connects_again_ends() {
    soon(|| {
        let (ended, ends) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            let (go, goes) = mpsc::channel();
            begun.send(go).unwrap();
            let _ = goes.recv();
            peer.open_modern(tools());
            ended.send(()).unwrap();
        });
        let hub = Hub::new();
        thread::scope(|scope| {
            let adding = scope.spawn(|| hub.add("held", server).unwrap());
            begins.recv().unwrap().send(()).unwrap();
            adding.join().unwrap();
            hub.disconnect("held").unwrap();
            ends.recv().unwrap();

            let connecting = scope.spawn(|| hub.reconnect("held"));
            let go = begins.recv().unwrap();
            hub.disconnect("held").unwrap();
            go.send(()).unwrap();
            assert_eq!(connecting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
            // Not only when the hub goes.
            ends.recv().unwrap();
        });
        assert_eq!(hub.names(), ["held"]);
    });
}

#[test]
fn who_connects_to_the_same_server_waits_for_the_same_connection() {
    soon(|| {
        let (server, begins) = held();
        let hub = Hub::new();
        let adds = hub.clone();
        let adding = thread::spawn(move || adds.add("held", server).unwrap());
        let go = begins.recv().unwrap();
        let others: Vec<_> = (0..4)
            .map(|_| {
                let hub = hub.clone();
                thread::spawn(move || hub.reconnect("held").unwrap())
            })
            .collect();
        go.send(()).unwrap();
        adding.join().unwrap();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(begins.try_iter().count(), 0);
    });
}

#[test]
fn builders_are_made_for_each_name_and_events_say_whose_they_are() {
    soon(|| {
        let (heard, hear) = mpsc::channel();
        let made: Arc<Mutex<Vec<String>>> = Arc::default();
        let names = made.clone();
        let servers = ["a", "b"].map(|name| (name, tool("x", name).name("what it was called")));
        let hub = Hub::connect_with(servers, move |name| {
            names.lock().unwrap().push(name.to_owned());
            let heard = heard.clone();
            Client::builder().on(EventKind::ToolCalled, move |event| {
                heard.send((event.server().to_owned(), event.name().unwrap().to_owned())).unwrap();
            })
        });
        for name in ["b", "a"] {
            assert_eq!(call(&hub, name).unwrap(), name);
            assert_eq!(hear.recv().unwrap(), (name.to_owned(), "x".to_owned()));
        }
        hub.add("c", tool("x", "c")).unwrap();
        hub.disconnect("a").unwrap();
        hub.reconnect("a").unwrap();
        let mut made = made.lock().unwrap();
        made[..2].sort();
        assert_eq!(*made, ["a", "b", "c", "a"]);
    });
}

#[test]
fn functions_of_the_clients_may_use_the_hub() {
    leaves_nothing("hub::functions_of_the_clients_may_use_the_hub", || {
        let (heard, hear) = mpsc::channel();
        let hub = Hub::connect([("a", tool("x", "1")), ("b", tool("y", "2"))]);
        let caller = hub.clone();
        let guard = hub.get("a").unwrap().on(EventKind::ToolCalled, move |_| {
            let (server, tool) = caller.find_tool("y").unwrap().unwrap();
            let result = caller.call_tool(&server, tool.name, json!({})).unwrap();
            heard.send(result.text()).unwrap();
        });
        call(&hub, "a").unwrap();
        assert_eq!(hear.recv().unwrap(), "2");
        drop(guard);
        hub.disconnect_all();
    });
}

#[test]
fn connecting_can_be_cancelled_by_the_builders_token() {
    soon(|| {
        let token = CancelToken::new();
        let begun = Arc::new(AtomicUsize::new(0));
        let hang = |begun: &Arc<AtomicUsize>, token: &CancelToken| {
            let (begun, token) = (begun.clone(), token.clone());
            Server::in_memory(move |peer| {
                if begun.fetch_add(1, Ordering::SeqCst) == 1 {
                    token.cancel();
                }
                while peer.receive().is_some() {}
            })
            .timeouts(Timeouts::default().connect(Duration::MAX).patience(Duration::MAX))
        };
        let servers = [("a", hang(&begun, &token)), ("b", hang(&begun, &token))];
        let cancel = token.clone();
        let hub = Hub::connect_with(servers, move |_| Client::builder().cancel_token(&cancel));
        use ErrorKind::Cancelled;
        assert_eq!(kinds(&hub.failures()), [("a", Cancelled), ("b", Cancelled)]);
    });
}

#[test]
fn both_eras_are_one_hub() {
    soon(|| {
        let servers = ERAS.map(|era| {
            let (server, _) = played(era, tools(), |wire, first| {
                wire.reply(&first, said("done"));
                Some(())
            });
            (format!("{era}"), server)
        });
        let hub = Hub::connect(servers);
        for era in ERAS {
            assert_eq!(call(&hub, &era.to_string()).unwrap(), "done");
            let client = hub.get(&era.to_string()).unwrap();
            assert_eq!(client.protocol_version().era(), era);
        }
        let debug = format!("{hub:?}");
        assert_eq!(debug, "Hub { names: [\"modern\", \"legacy\"], .. }");
    });
}
