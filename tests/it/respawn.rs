//! Servers that end and are started again: what goes on, what fails, and what is never done twice.

use std::io::{BufRead, BufReader, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::memory::{Peer, Received};
use umcp::{
    ByteStream, Cache, Change, Client, Era, ErrorKind, Event, EventKind, LoggingLevel,
    RequestLimits, Retry, Server, Timeouts,
};

use crate::calls::said;
use crate::common::{ERAS, FOREVER, SHORT, soon};

/// What a server does with a message: `None` ends it, before there is a reply.
type Serve = fn(&Peer, &Received) -> Option<()>;

fn capabilities() -> Value {
    json!({ "tools": { "listChanged": true }, "logging": {},
        "resources": { "subscribe": true, "listChanged": true } })
}

/// A server that can be started again. Its messages can be seen, each with the number of the start.
fn server(era: Era, serve: Serve) -> (Server, Receiver<(usize, Received)>) {
    let starts = AtomicUsize::new(0);
    let (seen, see) = mpsc::channel();
    let server = Server::in_memory(move |peer| {
        let number = starts.fetch_add(1, Ordering::SeqCst) + 1;
        let mut next = match era {
            Era::Legacy => peer.open_legacy(capabilities()),
            _ => peer.open_modern(capabilities()),
        };
        while let Some(message) = next {
            let _ = seen.send((number, message.clone()));
            if serve(&peer, &message).is_none() {
                return;
            }
            next = peer.receive();
        }
    });
    (server.era(era), see)
}

/// Ends when the tool `die` is called, and in the middle of the first list.
fn mortal(peer: &Peer, message: &Received) -> Option<()> {
    match message.method() {
        "tools/call" if message.param("/name") == "die" => return None,
        "tools/call" => peer.reply(message, said("done")),
        "notifications/cancelled" => {}
        _ => peer.reply(message, json!({ "tools": [], "contents": [] })),
    }
    Some(())
}

fn call(client: &Client, tool: &str) -> umcp::Result<String> {
    client.call_tool(tool, json!({})).map(|result| result.text())
}

fn seen(see: &Receiver<(usize, Received)>) -> Vec<(usize, String)> {
    see.try_iter().map(|(number, message)| (number, message.method().to_owned())).collect()
}

#[test]
fn a_server_that_has_ended_is_started_again_by_the_call_that_needs_it() {
    soon(|| {
        for era in ERAS {
            let (server, see) = server(era, mortal);
            let client = Client::open(server.clone().respawn(3)).unwrap();
            assert_eq!(call(&client, "x").unwrap(), "done");
            let error = call(&client, "die").unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true));
            assert_eq!(call(&client, "x").unwrap(), "done");
            let methods = "tools/call".to_owned();
            let expected = [1, 1, 2].map(|number| (number, methods.clone()));
            assert_eq!(seen(&see), expected);
            assert!(!client.close().left_behind);

            // Not unless that is wanted.
            let client = Client::open(server).unwrap();
            call(&client, "die").unwrap_err();
            assert_eq!(call(&client, "x").unwrap_err().kind(), ErrorKind::Disconnected);
            assert_eq!(seen(&see).len(), 1);
        }
    });
}

#[test]
fn what_only_asks_is_asked_again_and_a_tool_is_not_called_again() {
    soon(|| {
        for era in ERAS {
            // The first of each ends the server.
            let serve = |peer: &Peer, message: &Received| {
                static ASKED: AtomicUsize = AtomicUsize::new(0);
                match ASKED.fetch_add(1, Ordering::SeqCst) % 2 {
                    0 => None,
                    _ => mortal(peer, message),
                }
            };
            let (server, see) = server(era, serve);
            let client = Client::open(server.respawn(9)).unwrap();
            assert_eq!(client.list_tools().unwrap(), []);
            assert!(call(&client, "x").unwrap_err().may_have_run());
            assert_eq!(call(&client, "x").unwrap(), "done");
            let methods: Vec<_> = seen(&see).into_iter().map(|(_, method)| method).collect();
            assert_eq!(methods, ["tools/list", "tools/list", "tools/call", "tools/call"]);
        }
    });
}

#[test]
fn a_server_at_a_url_is_not_started() {
    let error = Client::open(Server::url("http://127.0.0.1:9").respawn(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`respawn` is for servers that are not URLs"), "{error}");
}

#[test]
fn many_callers_share_one_start() {
    const CALLERS: usize = 16;
    soon(|| {
        for era in ERAS {
            let (server, see) = server(era, mortal);
            let client = Client::open(server.respawn(1)).unwrap();
            call(&client, "die").unwrap_err();
            let together = Barrier::new(CALLERS);
            thread::scope(|scope| {
                for _ in 0..CALLERS {
                    scope.spawn(|| {
                        together.wait();
                        assert_eq!(call(&client, "x").unwrap(), "done");
                    });
                }
            });
            assert!(seen(&see)[1..].iter().all(|(number, _)| *number == 2));
            assert!(!client.close().left_behind);
        }
    });
}

#[test]
fn it_ends_when_all_starts_are_used_up() {
    soon(|| {
        for era in ERAS {
            let (server, _see) = server(era, mortal);
            let client = Client::open(server.respawn(1)).unwrap();
            let told = client.events();
            for _ in 0..2 {
                let error = call(&client, "die").unwrap_err();
                assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true));
            }
            let error = call(&client, "x").unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, false));
            assert_eq!(client.wait_for_end(FOREVER).unwrap().kind(), ErrorKind::Disconnected);
            let is_told = |event: &Event| {
                matches!(event.kind(), EventKind::Connected | EventKind::Disconnected)
            };
            // The iterator ends by itself, with the last of them.
            let kinds: Vec<_> = told.filter(is_told).map(|event| event.kind()).collect();
            let (up, down) = (EventKind::Connected, EventKind::Disconnected);
            assert!(kinds == [down, up, down] || kinds == [up, down, up, down], "{kinds:?}");
        }
    });
}

#[test]
fn the_second_start_is_not_at_once_and_a_call_does_not_wait_for_it_in_vain() {
    soon(|| {
        let (server, see) = server(Era::Modern, mortal);
        let client = Client::open(server.respawn(9)).unwrap();
        for _ in 0..2 {
            call(&client, "die").unwrap_err();
        }
        let error = client.tool("x").timeout(Duration::from_millis(1)).call().unwrap_err();
        assert_eq!(
            (error.kind(), error.may_have_run()),
            (ErrorKind::Disconnected, false),
            "{error}"
        );
        assert!(error.retry_after().is_some(), "{error}");
        assert!(seen(&see).iter().all(|(number, _)| *number <= 2));
        // With the time for it, it is waited for; or the caller says to come back then.
        assert_eq!(call(&client, "x").unwrap(), "done");
        call(&client, "die").unwrap_err();
        assert_eq!(client.tool("x").retry(Retry::new()).call().unwrap().text(), "done");
    });
}

#[test]
fn a_start_that_fails_fails_the_call_and_the_next_one_tries_again() {
    soon(|| {
        let starts = AtomicUsize::new(0);
        let server = Server::in_memory(move |peer| {
            // The second does not even get through its handshake.
            if starts.fetch_add(1, Ordering::SeqCst) == 1 {
                return;
            }
            let mut next = peer.open_modern(capabilities());
            while let Some(message) = next {
                if mortal(&peer, &message).is_none() {
                    return;
                }
                next = peer.receive();
            }
        });
        let client = Client::open(server.era(Era::Modern).respawn(3)).unwrap();
        call(&client, "die").unwrap_err();
        let error = call(&client, "x").unwrap_err();
        assert_eq!(
            (error.kind(), error.may_have_run()),
            (ErrorKind::Disconnected, false),
            "{error}"
        );
        assert_eq!(call(&client, "x").unwrap(), "done");
    });
}

#[test]
fn a_server_that_does_not_come_up_any_more_is_given_up() {
    soon(|| {
        let starts = Arc::new(AtomicUsize::new(0));
        let count = starts.clone();
        let server = Server::in_memory(move |peer| {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => drop(peer.open_legacy(capabilities())),
                // These are there, and say nothing.
                _ => while peer.receive().is_some() {},
            }
        });
        let timeouts = Timeouts::default().connect(SHORT);
        let client = Client::open(server.era(Era::Legacy).timeouts(timeouts).respawn(2)).unwrap();
        assert!(call(&client, "x").unwrap_err().may_have_run());
        for _ in 0..2 {
            let error = call(&client, "x").unwrap_err();
            assert!(error.is_timeout() && !error.may_have_run(), "{error}");
        }
        let error = call(&client, "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert!(client.wait_for_end(FOREVER).is_some());
        assert_eq!(starts.load(Ordering::SeqCst), 3);
        assert!(!client.close().left_behind);
    });
}

// SUB-16, SUB-17
#[test]
fn the_log_level_and_subscriptions_are_there_again() {
    soon(|| {
        let serve = |peer: &Peer, message: &Received| {
            let notice = |mut params: Value, subscription: Option<&Value>| {
                if let Some(id) = subscription {
                    params["_meta"] = json!({ "io.modelcontextprotocol/subscriptionId": id });
                }
                params
            };
            match message.method() {
                "subscriptions/listen" => {
                    let granted = json!({ "notifications": message.param("/notifications") });
                    let params = notice(granted, Some(message.id()));
                    peer.notify("notifications/subscriptions/acknowledged", params);
                    let update = notice(json!({ "uri": "x:a" }), Some(message.id()));
                    peer.notify("notifications/resources/updated", update);
                }
                "resources/subscribe" => {
                    peer.reply(message, json!({}));
                    peer.notify("notifications/resources/updated", json!({ "uri": "x:a" }));
                }
                _ => return mortal(peer, message),
            }
            Some(())
        };
        for era in ERAS {
            let (server, see) = server(era, serve);
            let client = Client::open(server.respawn(3)).unwrap();
            client.set_log_level(LoggingLevel::Warning).unwrap();
            let mut updates = client.subscribe().resource("x:a").open().unwrap();
            let update = Change::ResourceUpdated { uri: "x:a".to_owned() };
            assert_eq!(updates.next().unwrap().unwrap(), update);
            call(&client, "die").unwrap_err();
            let waits = thread::spawn(move || {
                let both = [updates.next().unwrap().unwrap(), updates.next().unwrap().unwrap()];
                (both, updates)
            });
            let caller = client.clone();
            assert_eq!(call(&caller, "x").unwrap(), "done");
            let (mut both, updates) = waits.join().unwrap();
            // In the legacy era the update may come before the gap: the reader is not the one who waits.
            both.sort_by_key(|change| matches!(change, Change::ResourceUpdated { .. }));
            assert_eq!(both, [Change::Missed { dropped: 0 }, update]);
            let second: Vec<_> = see.try_iter().filter(|(number, _)| *number == 2).collect();
            let methods: Vec<_> = second.iter().map(|(_, message)| message.method()).collect();
            if era == Era::Legacy {
                assert_eq!(methods[0], "logging/setLevel");
                assert!(methods.contains(&"resources/subscribe"), "{methods:?}");
            } else {
                assert!(methods.contains(&"subscriptions/listen"), "{methods:?}");
                let level = "/_meta/io.modelcontextprotocol~1logLevel";
                let mut calls = second.iter().filter(|(_, it)| it.method() == "tools/call");
                assert!(calls.all(|(_, message)| message.param(level) == "warning"));
            }
            drop(updates);
            assert!(!client.close().left_behind);
        }
    });
}

#[test]
fn what_the_server_before_said_is_not_kept() {
    soon(|| {
        for era in ERAS {
            let (server, see) = server(era, mortal);
            let client = Client::builder().cache(Cache::new()).open(server.respawn(3)).unwrap();
            for _ in 0..2 {
                client.read_resource("x:a").map(drop).unwrap();
                client.list_tools().map(drop).unwrap();
            }
            call(&client, "die").unwrap_err();
            call(&client, "x").unwrap();
            client.list_tools().map(drop).unwrap();
            let seen = seen(&see);
            let seen: Vec<_> =
                seen.iter().map(|(start, method)| (*start, method.as_str())).collect();
            let first = [(1, "resources/read"), (1, "tools/list"), (1, "tools/call")];
            assert_eq!(seen, [first.as_slice(), &[(2, "tools/call"), (2, "tools/list")]].concat());
        }
    });
}

/// So many requests, and hardly any more; what is beyond that is refused at once.
fn only(requests: u32) -> RequestLimits {
    RequestLimits::new().per_second(0.001).burst(requests).fail_fast()
}

#[test]
fn what_cannot_leave_before_a_start_costs_no_turn() {
    soon(|| {
        for era in ERAS {
            let (server, _see) = server(era, mortal);
            let client = Client::open(server.respawn(3).request_limits(only(2))).unwrap();
            call(&client, "die").unwrap_err();
            assert_eq!(call(&client, "x").unwrap(), "done");
            assert_eq!(call(&client, "x").unwrap_err().kind(), ErrorKind::Limit);
        }
    });
}

#[test]
fn subscriptions_wait_for_their_turn_after_a_start() {
    soon(|| {
        let serve = |peer: &Peer, message: &Received| {
            if message.method() != "subscriptions/listen" {
                return mortal(peer, message);
            }
            let label = json!({ "io.modelcontextprotocol/subscriptionId": message.id() });
            let granted =
                json!({ "_meta": label, "notifications": message.param("/notifications") });
            peer.notify("notifications/subscriptions/acknowledged", granted);
            Some(())
        };
        // One for it, one for the call, and one to ask for it again.
        let (server_of_one, _see) = server(Era::Modern, serve);
        let client = Client::open(server_of_one.respawn(3).request_limits(only(3))).unwrap();
        let mut changes = client.subscribe().tools().open().unwrap();
        call(&client, "die").unwrap_err();
        assert_eq!(changes.next().unwrap().unwrap(), Change::Missed { dropped: 0 });

        // Two for the resources, one for each call, and none to ask for the resources again.
        let (server, _see) = server(Era::Legacy, mortal);
        let client = Client::open(server.respawn(3).request_limits(only(4))).unwrap();
        let mut updates = client.subscribe().resource("x:a").resource("x:b").open().unwrap();
        call(&client, "die").unwrap_err();
        assert_eq!(call(&client, "x").unwrap(), "done");
        assert_eq!(updates.next_timeout(SHORT).unwrap(), None);
        assert!(!client.close().left_behind);
    });
}

#[test]
fn whoever_waits_for_a_change_does_not_wait_for_the_server_to_start() {
    soon(|| {
        let starts = AtomicUsize::new(0);
        let (started, is_started) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            if starts.fetch_add(1, Ordering::SeqCst) > 0 {
                // It is there, and says nothing.
                started.send(()).unwrap();
                while peer.receive().is_some() {}
                return;
            }
            let listen = peer.open_modern(capabilities()).unwrap();
            let label = json!({ "io.modelcontextprotocol/subscriptionId": listen.id() });
            let granted = json!({ "_meta": label, "notifications": { "toolsListChanged": true } });
            peer.notify("notifications/subscriptions/acknowledged", granted);
            peer.receive();
        });
        let client = Client::open(server.era(Era::Modern).respawn(3)).unwrap();
        let mut subscription = client.subscribe().tools().open().unwrap();
        call(&client, "die").unwrap_err();
        while is_started.try_recv().is_err() {
            assert_eq!(subscription.next_timeout(SHORT).unwrap(), None);
        }
        assert_eq!(subscription.try_next().unwrap(), None);
        let closer = subscription.closer();
        let waits = thread::spawn(move || subscription.next().unwrap().unwrap_err().kind());
        closer.close();
        assert_eq!(waits.join().unwrap(), ErrorKind::Closed);
        assert!(!client.close().left_behind);
    });
}

#[test]
fn a_start_under_way_is_not_forgotten_when_the_client_is_closed() {
    soon(|| {
        let (opens, is_opening) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (closed, is_closed) = mpsc::channel();
        let may_go_on = Mutex::new(may_go_on);
        let opened = AtomicUsize::new(0);
        let server = Server::stream(move || {
            if opened.fetch_add(1, Ordering::SeqCst) > 0 {
                opens.send(()).unwrap();
                let _ = may_go_on.lock().unwrap().recv();
            }
            let (reader, mut writer) = std::io::pipe()?;
            let (other, theirs) = std::io::pipe()?;
            thread::spawn(move || {
                let mut lines = BufReader::new(other).lines();
                let line: Value = serde_json::from_str(&lines.next()?.ok()?).unwrap();
                let reply = json!({ "jsonrpc": "2.0", "id": line["id"],
                    "result": crate::stdio::discovered(&capabilities()) });
                // It dies of the first call.
                writeln!(writer, "{reply}").ok()?;
                lines.next()?.ok()
            });
            let closed = closed.clone();
            Ok(ByteStream::new(reader, theirs).on_close(move || closed.send(()).unwrap()))
        });
        let graces = Timeouts::default().close_grace(SHORT).kill_grace(SHORT);
        let client = Client::open(server.era(Era::Modern).timeouts(graces).respawn(1)).unwrap();
        call(&client, "x").unwrap_err();
        let caller = client.clone();
        let calls = thread::spawn(move || call(&caller, "x").unwrap_err().kind());
        is_opening.recv().unwrap();
        is_closed.recv().unwrap();
        assert!(client.close().left_behind);
        drop(go_on);
        // What came of it is closed at once.
        is_closed.recv().unwrap();
        assert_eq!(calls.join().unwrap(), ErrorKind::Closed);
    });
}

#[test]
fn a_client_that_is_closed_starts_nothing() {
    soon(|| {
        let (server, see) = server(Era::Modern, mortal);
        let client = Client::open(server.respawn(3)).unwrap();
        call(&client, "die").unwrap_err();
        let events = client.events();
        assert!(!client.close().left_behind);
        assert_eq!(call(&client, "x").unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(client.wait_for_end(SHORT).unwrap().kind(), ErrorKind::Closed);
        assert_eq!(events.last().unwrap().error().unwrap().kind(), ErrorKind::Closed);
        assert_eq!(seen(&see).len(), 1);
    });
}

#[test]
fn a_legacy_server_s_question_is_forgotten_with_it() {
    soon(|| {
        let (asked, is_asked) = mpsc::channel();
        let starts = AtomicUsize::new(0);
        let server = Server::in_memory(move |peer| {
            let is_first = starts.fetch_add(1, Ordering::SeqCst) == 0;
            let Some(call) = peer.open_legacy(capabilities()) else { return };
            if is_first {
                peer.send(json!({ "jsonrpc": "2.0", "id": 1, "method": "roots/list" }));
                // The answer, or what says that there is none.
                asked.send(peer.receive().is_some()).unwrap();
                return;
            }
            peer.reply(&call, said("done"));
            while let Some(message) = peer.receive() {
                peer.reply(&message, said("done"));
            }
        });
        let client = Client::builder().roots([]).open(server.era(Era::Legacy).respawn(1)).unwrap();
        assert!(call(&client, "x").unwrap_err().may_have_run());
        assert!(is_asked.recv().unwrap());
        assert_eq!(call(&client, "x").unwrap(), "done");
    });
}

#[cfg(unix)]
#[test]
fn a_process_that_was_killed_is_started_again_and_nothing_of_either_is_left() {
    use std::process::{Command, Stdio};

    use crate::common::{Folder, echo, script};

    soon(|| {
        let folder = Arc::new(Folder::new());
        let text = r#"echo $$ >> "$1/pids"; exec "$0" --serve modern"#;
        let client = Client::open(script(text, &folder.0).respawn(2)).unwrap();
        let pids = || -> Vec<String> { folder.read("pids").lines().map(str::to_owned).collect() };
        assert_eq!(echo(&client, "one"), "one");
        let first = pids();
        assert_eq!(first.len(), 1);
        assert!(Command::new("kill").args(["-9", &first[0]]).status().unwrap().success());
        assert_eq!(
            client.tools().retry(Retry::new()).all().unwrap().len(),
            client.list_tools().unwrap().len()
        );
        assert_eq!(echo(&client, "two"), "two");
        assert_eq!(pids().len(), 2);
        assert!(!client.close().left_behind);
        for pid in pids() {
            let mut alive = Command::new("kill");
            let alive = alive.args(["-0", &pid]).stderr(Stdio::null()).status().unwrap();
            assert!(!alive.success(), "{pid}");
        }
    });
}
