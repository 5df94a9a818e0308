//! Calls: matching results, waiting, clocks, cancelling, progress, log messages, closing. The
//! scripted peers of the other files are here too.

use std::ops::Deref;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use umcp::memory::{Peer, Received};
use umcp::protocol::ProgressParams;
use umcp::{CancelToken, Client, Era, Error, ErrorKind, Limits, LoggingLevel, Server, Timeouts};

use crate::common::{ERAS, FOREVER, SHORT, at_once, soon};

/// The server's end of a connection, whose messages the test sees too.
pub struct Wire {
    peer: Peer,
    seen: Sender<Received>,
}

impl Wire {
    /// The next message, or `None` once the client has closed.
    pub fn receive(&self) -> Option<Received> {
        let message = self.peer.receive()?;
        let _ = self.seen.send(message.clone());
        Some(message)
    }

    pub fn progress(&self, token: &Value, progress: f64) {
        let params = json!({ "progressToken": token, "progress": progress });
        self.notify("notifications/progress", params);
    }
}

impl Deref for Wire {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

/// A server played by a function, from the first message after the opening, and all that it
/// receives from then on. The connection ends with a `None`; after a `Some` it lasts until the
/// client closes it.
pub fn played(
    era: Era,
    capabilities: Value,
    play: impl Fn(&Wire, Received) -> Option<()> + Send + Sync + 'static,
) -> (Server, Receiver<Received>) {
    let (seen, received) = mpsc::channel();
    let server = Server::in_memory(move |peer| {
        let open = if era == Era::Modern { Peer::open_modern } else { Peer::open_legacy };
        let first = open(&peer, capabilities.clone());
        let Some(first) = first else { return };
        let _ = seen.send(first.clone());
        let wire = Wire { peer, seen: seen.clone() };
        if play(&wire, first).is_some() {
            while wire.receive().is_some() {}
        }
    });
    (server, received)
}

/// A server that does the same with every message, and all that it receives.
pub fn answering(
    era: Era,
    capabilities: Value,
    answer: impl Fn(&Wire, &Received) + Send + Sync + 'static,
) -> (Server, Receiver<Received>) {
    played(era, capabilities, move |wire, first| {
        let mut next = Some(first);
        while let Some(message) = next {
            answer(wire, &message);
            next = wire.receive();
        }
        None
    })
}

/// A server that says `done` to every call, until one of the tool `die` ends it.
pub fn mortal(era: Era) -> Server {
    let (server, _) = played(era, tools(), |wire, first| {
        let mut next = Some(first);
        while let Some(message) = next.filter(|message| message.param("/name") != "die") {
            wire.reply(&message, said("done"));
            next = wire.receive();
        }
        None
    });
    server
}

/// Closes the client, and returns all that its server received.
pub fn all_received(client: &Client, received: &Receiver<Received>) -> Vec<Received> {
    client.close();
    received.try_iter().collect()
}

pub fn tools() -> Value {
    json!({ "tools": {} })
}

/// The result of a tool that returns a text.
pub fn said(text: impl Into<String>) -> Value {
    json!({ "content": [{ "type": "text", "text": text.into() }] })
}

/// A server that keeps everything waiting.
fn silent(era: Era) -> (Server, Receiver<Received>) {
    answering(era, tools(), |_, _| ())
}

fn cancellations(received: &[Received]) -> Vec<&Received> {
    received.iter().filter(|message| message.method() == "notifications/cancelled").collect()
}

// STDIO-22
#[test]
fn results_find_their_requests_in_any_order() {
    soon(|| {
        let (server, _) = played(Era::Modern, tools(), |wire, first| {
            let calls = [first, wire.receive()?, wire.receive()?];
            for call in calls.iter().rev() {
                wire.reply(call, said(call.param("/name").as_str()?));
            }
            Some(())
        });
        let client = Client::open(server).unwrap();
        let names = ["one", "two", "three"];
        let calls = names.map(|name| client.tool(name).start().unwrap());
        assert_eq!(calls.map(|call| call.wait().unwrap().text()), names);
    });
}

#[test]
fn waiting_for_a_while_leaves_the_request_under_way() {
    soon(|| {
        let (answer, due) = mpsc::channel::<()>();
        let due = Mutex::new(due);
        let (server, received) = answering(Era::Modern, tools(), move |wire, call| {
            due.lock().unwrap().recv().unwrap();
            wire.reply(call, said("done"));
        });
        let client = Client::open(server).unwrap();
        let mut call = client.tool("slow").start().unwrap();
        assert!(call.try_wait().unwrap().is_none());
        assert!(call.wait_timeout(Duration::from_millis(5)).unwrap().is_none());
        answer.send(()).unwrap();
        assert_eq!(call.wait_timeout(FOREVER).unwrap().unwrap().text(), "done");

        let mut call = client.tool("slow").start().unwrap();
        answer.send(()).unwrap();
        let result = loop {
            match call.try_wait().unwrap() {
                Some(result) => break result,
                None => thread::yield_now(),
            }
        };
        assert_eq!(result.text(), "done");
        drop(call);
        let received = all_received(&client, &received);
        assert_eq!(received.len(), 2, "{received:?}");
    });
}

#[test]
fn a_request_that_is_over_can_be_waited_for_and_does_not_block() {
    soon(|| {
        let (server, _) = played(Era::Modern, tools(), |wire, first| {
            wire.reply(&first, said("done"));
            Some(())
        });
        let client = Client::open(server).unwrap();
        let clocks = |name| client.tool(name).timeout(Duration::from_secs(1));
        let mut answered = clocks("answered").start().unwrap();
        assert!(answered.wait_timeout(FOREVER).unwrap().is_some());
        answered.wait().unwrap_err();
        let mut timed_out = clocks("timed out").timeout(SHORT).start().unwrap();
        assert!(timed_out.wait_timeout(FOREVER).unwrap_err().is_timeout());
        timed_out.wait().unwrap_err();
    });
}

/// Ways to leave a request: what to do with it, and what the error's kind is.
type Leave = fn(&Client, &Receiver<Received>) -> Option<ErrorKind>;

// CANCEL-1, CANCEL-2, CANCEL-3, CANCEL-4, CANCEL-8, STDIO-20
#[test]
fn a_server_is_told_which_request_was_left() {
    let ways: [(&str, Leave); 4] = [
        ("dropped", |client, _| {
            drop(client.tool("slow").start().unwrap());
            None
        }),
        ("cancelled", |client, _| {
            client.tool("slow").start().unwrap().cancel();
            None
        }),
        ("timed out", |client, _| {
            Some(client.tool("slow").timeout(SHORT).call().unwrap_err().kind())
        }),
        ("cancelled with a token", |client, received| {
            let token = CancelToken::new();
            thread::scope(|scope| {
                let call = scope.spawn(|| client.tool("slow").cancel_token(&token).call());
                assert_eq!(received.recv().unwrap().method(), "tools/call");
                token.cancel();
                Some(call.join().unwrap().unwrap_err().kind())
            })
        }),
    ];
    let kinds = [None, None, Some(ErrorKind::Timeout), Some(ErrorKind::Cancelled)];
    soon(move || {
        for era in ERAS {
            for ((way, leave), kind) in ways.iter().zip(kinds) {
                let (server, received) = answering(era, tools(), |wire, message| {
                    if message.param("/name") == "other" {
                        wire.reply(message, said("done"));
                    }
                });
                let client = Client::open(server).unwrap();
                // Another id than the first.
                assert_eq!(client.call_tool("other", json!({})).unwrap().text(), "done");
                let other = received.recv().unwrap();
                assert_eq!(leave(&client, &received), kind, "{way}");
                assert_eq!(client.call_tool("other", json!({})).unwrap().text(), "done");
                let received = all_received(&client, &received);
                let [cancelled] = cancellations(&received)[..] else {
                    panic!("{era}, {way}: {received:?}")
                };
                // One message more than the id: nothing but a reason, as text.
                let slow = other.id().as_u64().unwrap() + 1;
                assert_eq!(cancelled.param("/requestId"), slow, "{era}, {way}");
                assert!(cancelled.param("/reason").is_string(), "{era}, {way}");
                assert!(cancelled.id().is_null(), "{era}, {way}");
            }
        }
    });
}

// CANCEL-7, CANCEL-13
#[test]
fn a_response_that_comes_too_late_is_dropped() {
    soon(|| {
        for era in ERAS {
            let (server, _) = played(era, tools(), |wire, left| {
                wire.receive()?;
                wire.reply(&left, said("late"));
                wire.progress(left.id(), 1.0);
                wire.reply_error(&left, -32603, "late and twice", None);
                let next = wire.receive()?;
                wire.reply(&left, said("later still"));
                wire.reply(&next, said("in time"));
                Some(())
            });
            let client = Client::open(server).unwrap();
            drop(client.tool("slow").start().unwrap());
            assert_eq!(client.call_tool("next", json!({})).unwrap().text(), "in time", "{era}");
        }
    });
}

// CANCEL-4
#[test]
fn a_request_that_has_ended_is_not_cancelled() {
    soon(|| {
        for era in ERAS {
            let (server, received) =
                answering(era, tools(), |wire, call| match call.param("/name").as_str() {
                    Some("works") => wire.reply(call, said("done")),
                    Some("fails") => wire.reply_error(call, -32603, "no", None),
                    _ => {}
                });
            let client = Client::open(server).unwrap();
            let token = CancelToken::new();
            assert!(client.tool("works").cancel_token(&token).call().is_ok());
            client.tool("fails").cancel_token(&token).call().unwrap_err();
            let mut pending = client.tool("works").cancel_token(&token).start().unwrap();
            assert!(pending.wait_timeout(FOREVER).unwrap().is_some());
            token.cancel();
            pending.cancel();
            // This one is cancelled twice, and told once.
            let token = CancelToken::new();
            let pending = client.tool("slow").cancel_token(&token).start().unwrap();
            token.cancel();
            token.cancel();
            drop(pending);
            // And what waits when the client closes needs no cancelling.
            let pending = client.tool("slow").start().unwrap();
            let received = all_received(&client, &received);
            drop(pending);
            assert_eq!(cancellations(&received).len(), 1, "{era}: {received:?}");
        }
    });
}

// CANCEL-5
#[test]
fn the_handshake_is_never_cancelled() {
    soon(|| {
        for by_token in [true, false] {
            let (seen, received) = mpsc::channel();
            let (asked, initialize) = mpsc::channel();
            let server = Server::in_memory(move |peer| {
                while let Some(message) = peer.receive() {
                    match message.method() {
                        "server/discover" => peer.reply_error(&message, -32601, "no", None),
                        "initialize" => asked.send(()).unwrap(),
                        _ => {}
                    }
                    seen.send(message.method().to_owned()).unwrap();
                }
            });
            let connect = if by_token { FOREVER } else { SHORT };
            let server = server.timeouts(Timeouts::default().connect(connect));
            let token = CancelToken::new();
            let (canceller, waits) = (token.clone(), by_token);
            let cancel = thread::spawn(move || {
                initialize.recv().unwrap();
                if waits {
                    canceller.cancel();
                }
            });
            let error = Client::builder().cancel_token(&token).open(server).unwrap_err();
            cancel.join().unwrap();
            let kind = if by_token { ErrorKind::Cancelled } else { ErrorKind::Timeout };
            assert_eq!((error.kind(), error.may_have_run()), (kind, false), "{error}");
            // A failed opening leaves nothing behind, so that this ends.
            let received: Vec<String> = received.try_iter().collect();
            assert_eq!(received, ["server/discover", "initialize"]);
        }
    });
}

// CANCEL-6
#[test]
fn a_task_that_was_made_is_not_cancelled_like_a_request() {
    soon(|| {
        let (server, received) = answering(Era::Legacy, tools(), |wire, call| {
            let now = "2026-01-01T00:00:00Z";
            let task = json!({ "taskId": "t1", "status": "working", "createdAt": now,
                "lastUpdatedAt": now, "ttl": null });
            wire.reply(call, json!({ "task": task }));
        });
        let client = Client::open(server).unwrap();
        let token = CancelToken::new();
        let params = json!({ "name": "slow", "task": { "ttl": 60_000 } });
        let call = client.request("tools/call", params).cancel_token(&token);
        let mut call = call.start().unwrap();
        let made = call.wait_timeout(FOREVER).unwrap().unwrap().to_value().unwrap();
        assert_eq!(made["task"]["taskId"], "t1");
        token.cancel();
        drop(call);
        assert_eq!(cancellations(&all_received(&client, &received)).len(), 0);
    });
}

// CANCEL-11
#[test]
fn a_server_cannot_cancel_a_clients_request() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, call| {
            wire.notify("notifications/cancelled", json!({ "requestId": call.id() }));
            wire.notify("notifications/cancelled", json!({}));
            wire.reply(call, said("done"));
        });
        let client = Client::open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
    });
}

#[test]
fn one_token_ends_many_calls() {
    soon(|| {
        let (server, received) = silent(Era::Modern);
        let client = Client::open(server).unwrap();
        let token = CancelToken::new();
        thread::scope(|scope| {
            let call = || client.tool("slow").cancel_token(&token).call();
            let calls = [scope.spawn(call), scope.spawn(call), scope.spawn(call)];
            let ids: Vec<Value> = received.iter().take(3).map(|m| m.id().clone()).collect();
            token.cancel();
            for call in calls {
                let error = call.join().unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                assert!(error.is_cancelled());
            }
            let mut told: Vec<_> =
                received.iter().take(3).map(|m| m.param("/requestId").clone()).collect();
            told.sort_by_key(Value::as_u64);
            assert!(ids.iter().all(|id| told.contains(id)), "{ids:?} {told:?}");
        });
        assert!(token.is_cancelled());
    });
}

#[test]
fn a_cancelled_token_lets_nothing_be_sent() {
    soon(|| {
        let (server, received) = silent(Era::Modern);
        let client = Client::open(server).unwrap();
        let token = CancelToken::new();
        token.cancel();
        let error = client.tool("dangerous").cancel_token(&token).call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(client.tools().cancel_token(&token).all().unwrap_err().is_cancelled());
        assert_eq!(all_received(&client, &received), []);
        assert!(!error.may_have_run());
    });
}

#[test]
fn a_token_ends_opening() {
    soon(|| {
        let (asked, discover) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            while let Some(message) = peer.receive() {
                asked.send(message.method().to_owned()).unwrap();
            }
        });
        let server = server.timeouts(Timeouts::default().patience(FOREVER));
        let token = CancelToken::new();
        thread::scope(|scope| {
            let open = scope.spawn(|| Client::builder().cancel_token(&token).open(server));
            assert_eq!(discover.recv().unwrap(), "server/discover");
            token.cancel();
            assert_eq!(open.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        });
    });
}

// CANCEL-8
#[test]
fn every_call_has_two_clocks_with_defaults_and_own_settings() {
    let long = Timeouts::default().request(FOREVER).max_total(FOREVER);
    let cases = [
        (long.clone().request(SHORT), None, None, "`timeout`"),
        (long.clone().max_total(SHORT), None, None, "`max_total`"),
        (long.clone(), Some(SHORT), None, "`timeout`"),
        (long, None, Some(SHORT), "`max_total`"),
    ];
    soon(move || {
        at_once(cases, |(timeouts, timeout, max_total, clock)| {
            let client = Client::open(silent(Era::Modern).0.timeouts(timeouts)).unwrap();
            let mut call = client.tool("slow");
            let mut list = client.tools();
            if let Some(timeout) = timeout {
                (call, list) = (call.timeout(timeout), list.timeout(timeout));
            }
            if let Some(max_total) = max_total {
                (call, list) = (call.max_total(max_total), list.max_total(max_total));
            }
            for error in [call.call().unwrap_err(), list.page().unwrap_err()] {
                assert!(error.is_timeout(), "{error}");
                assert!(error.to_string().contains(clock), "{error}");
                assert!(error.elapsed().unwrap() >= SHORT, "{error:?}");
                assert!(error.may_have_run(), "{error}");
            }
        });
    });
}

/// Sends progress again and again until told to stop, or for so long.
fn keep_progressing(wire: &Wire, token: &Value, stop: &Mutex<Receiver<()>>, span: Duration) {
    const PACE: Duration = Duration::from_millis(20);
    let (stop, start) = (stop.lock().unwrap(), Instant::now());
    while start.elapsed() < span && stop.recv_timeout(PACE).is_err() {
        wire.progress(token, start.elapsed().as_secs_f64());
    }
}

// CANCEL-9
#[test]
fn progress_restarts_the_timeout_if_asked() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    soon(|| {
        at_once([true, false], |restarts| {
            let (stop, stopped) = mpsc::channel();
            let stopped = Mutex::new(stopped);
            let (server, _) = played(Era::Modern, tools(), move |wire, call| {
                let token = call.param("/_meta/progressToken");
                let span = if restarts { TIMEOUT * 3 / 2 } else { FOREVER };
                keep_progressing(wire, token, &stopped, span);
                wire.reply(&call, said("done"));
                Some(())
            });
            let client = Client::open(server).unwrap();
            let call = client.tool("slow").timeout(TIMEOUT);
            if restarts {
                assert_eq!(call.restart_timeout_on_progress().call().unwrap().text(), "done");
            } else {
                let error = call.on_progress(|_| ()).call().unwrap_err();
                stop.send(()).unwrap();
                assert!(error.is_timeout(), "{error}");
            }
        });
    });
}

// CANCEL-9
#[test]
fn max_total_ends_a_call_that_makes_progress() {
    soon(|| {
        let (stop, stopped) = mpsc::channel();
        let stopped = Mutex::new(stopped);
        let (server, _) = played(Era::Modern, tools(), move |wire, call| {
            let token = call.param("/_meta/progressToken");
            keep_progressing(wire, token, &stopped, FOREVER);
            Some(())
        });
        let client = Client::open(server).unwrap();
        let call =
            client.tool("slow").timeout(Duration::from_secs(2)).restart_timeout_on_progress();
        let error = call.max_total(Duration::from_millis(500)).call().unwrap_err();
        stop.send(()).unwrap();
        assert!(error.is_timeout() && error.to_string().contains("`max_total`"), "{error}");
    });
}

#[test]
fn the_timeout_stands_still_while_a_callback_runs() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    soon(|| {
        let (ran, waits) = mpsc::channel();
        let waits = Mutex::new(waits);
        let (server, _) = played(Era::Modern, tools(), move |wire, call| {
            wire.progress(call.param("/_meta/progressToken"), 1.0);
            let waits = waits.lock().unwrap();
            waits.recv().ok()?;
            // The caller waits again, and would find its time over.
            let _ = waits.recv_timeout(SHORT);
            wire.reply(&call, said("done"));
            Some(())
        });
        let client = Client::open(server).unwrap();
        let call = client.tool("slow").timeout(TIMEOUT).on_progress(|_| {
            let start = Instant::now();
            while start.elapsed() < TIMEOUT {
                thread::sleep(TIMEOUT - start.elapsed().min(TIMEOUT));
            }
            ran.send(()).unwrap();
        });
        assert_eq!(call.call().unwrap().text(), "done");
    });
}

// PROG-2, STDIO-18
#[test]
fn progress_comes_in_order_and_before_the_result() {
    soon(|| {
        let told = [
            json!({ "progress": 0.5 }),
            json!({ "progress": 1, "total": 2.5, "message": "half" }),
            json!({ "progress": 2.5, "total": null, "other": [1] }),
        ];
        let told_by = told.clone();
        let (server, _) = answering(Era::Modern, tools(), move |wire, call| {
            for params in &told_by {
                let mut params = params.clone();
                params["progressToken"] = call.param("/_meta/progressToken").clone();
                wire.notify("notifications/progress", params);
            }
            wire.reply(call, said("done"));
        });
        let client = Client::open(server).unwrap();
        for _ in 0..20 {
            // What a callback notes may be borrowed.
            let mut heard: Vec<ProgressParams> = Vec::new();
            let call = client.tool("slow").on_progress(|progress| heard.push(progress.clone()));
            assert_eq!(call.call().unwrap().text(), "done");
            let heard: Vec<_> =
                heard.into_iter().map(|p| (p.progress, p.total, p.message)).collect();
            let half = (1.0, Some(2.5), Some("half".to_owned()));
            assert_eq!(heard, [(0.5, None, None), half, (2.5, None, None)]);
        }
    });
}

// PROG-4
#[test]
fn progress_that_is_wrong_is_dropped_and_fails_nothing() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, call| {
            let token = call.param("/_meta/progressToken");
            let number = token.as_u64().unwrap_or_default();
            wire.progress(token, 2.0);
            for (token, progress) in [
                (json!(number + 1000), 3.0),
                (json!(number.to_string()), 4.0),
                (json!(null), 5.0),
                (json!([number]), 6.0),
                (token.clone(), 2.0),
                (token.clone(), 1.0),
                (token.clone(), -1.0),
            ] {
                wire.progress(&token, progress);
            }
            let text = json!({ "progressToken": token, "progress": "7" });
            wire.notify("notifications/progress", text);
            wire.notify("notifications/progress", json!({}));
            wire.progress(token, 8.5);
            wire.reply(call, said("done"));
            wire.progress(token, 9.0);
        });
        let (heard_aside, aside) = mpsc::channel();
        let listening = Client::builder().on_notification(move |notification, _| {
            let _ = heard_aside.send(notification.method().to_owned());
        });
        let client = listening.open(server).unwrap();
        for _ in 0..2 {
            let mut heard = Vec::new();
            let call = client.tool("slow").on_progress(|progress| heard.push(progress.progress));
            assert_eq!(call.call().unwrap().text(), "done");
            assert_eq!(heard, [2.0, 8.5]);
        }
        // Unasked for, it is dropped as well.
        assert_eq!(client.call_tool("slow", json!({})).unwrap().text(), "done");
        client.close();
        assert_eq!(aside.try_iter().collect::<Vec<_>>(), [""; 0]);
    });
}

// PROG-1
#[test]
fn progress_tokens_are_integers_and_unique() {
    soon(|| {
        for era in ERAS {
            let (server, received) = played(era, tools(), |wire, first| {
                let calls = [first, wire.receive()?, wire.receive()?];
                for (call, progress) in calls.iter().zip([1.0, 2.0, 3.0]) {
                    wire.progress(call.param("/_meta/progressToken"), progress);
                }
                calls.iter().for_each(|call| wire.reply(call, said("done")));
                Some(())
            });
            let client = Client::open(server).unwrap();
            let mut heard = [0.0; 3];
            let calls: Vec<_> = heard
                .iter_mut()
                .map(|heard| {
                    client.tool("slow").on_progress(|p| *heard = p.progress).start().unwrap()
                })
                .collect();
            calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
            assert_eq!(heard, [1.0, 2.0, 3.0], "{era}");
            let _ = client.tool("no progress").timeout(Duration::ZERO).call();
            let tokens: Vec<Value> = all_received(&client, &received)
                .iter()
                .filter(|message| message.method() == "tools/call")
                .map(|call| call.param("/_meta/progressToken").clone())
                .collect();
            let [first, second, third, none] = &tokens[..] else { panic!("{tokens:?}") };
            assert!([first, second, third].iter().all(|token| token.is_u64()), "{tokens:?}");
            assert!(first != second && second != third && first != third, "{tokens:?}");
            assert!(none.is_null(), "{tokens:?}");
        }
    });
}

// PROG-5, STDIO-28
#[test]
fn a_legacy_servers_request_is_answered_while_a_call_waits_and_gets_no_progress() {
    soon(|| {
        let (server, received) = played(Era::Legacy, tools(), |wire, call| {
            let token = json!({ "_meta": { "progressToken": "t" } });
            for (id, method) in [(json!("p"), "ping"), (json!(1), "roots/list")] {
                wire.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": token }));
            }
            let (pong, refusal) = (wire.receive()?, wire.receive()?);
            let answers = json!([pong.0, refusal.0]);
            wire.reply(&call, said(answers.to_string()));
            Some(())
        });
        let client = Client::open(server).unwrap();
        let answers = client.call_tool("asks", json!({})).unwrap().text();
        let answers: Value = serde_json::from_str(&answers).unwrap();
        assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
        assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(1), &json!(-32601)));
        assert_eq!(all_received(&client, &received).len(), 3);
    });
}

/// A server that logs a line for every call, and answers in twos.
fn logging_server(era: Era) -> Server {
    let waiting = Mutex::new(Vec::<Received>::new());
    let capabilities = json!({ "tools": {}, "logging": {} });
    let server = answering(era, capabilities, move |wire, call| {
        let mut waiting = waiting.lock().unwrap();
        waiting.push(call.clone());
        let is_pair = waiting[0].param("/name") == "pair";
        if waiting.len() < 1 + usize::from(is_pair) {
            return;
        }
        let data = call.param("/name");
        wire.notify("notifications/message", json!({ "level": "info", "data": data }));
        waiting.drain(..).for_each(|call| wire.reply(&call, said("done")));
    });
    server.0
}

// STDIO-18
#[test]
fn a_log_message_goes_to_the_only_call_or_to_the_listener() {
    soon(|| {
        for era in ERAS {
            let (heard, aside) = mpsc::channel();
            let listening = Client::builder().on_notification(move |notification, _| {
                heard.send(notification.log_message().unwrap().data).unwrap();
            });
            let client = listening.open(logging_server(era)).unwrap();
            let own = Mutex::new(Vec::new());
            let listen = |name| {
                let note = |log: &umcp::protocol::LogMessageParams| {
                    own.lock().unwrap().push((log.level.clone(), log.data.clone()));
                };
                client.tool(name).on_log(note)
            };
            assert_eq!(listen("alone").call().unwrap().text(), "done");
            let mine = (LoggingLevel::Info, json!("alone"));
            assert_eq!(*own.lock().unwrap(), [mine], "{era}");

            let calls = ["pair", "pair"].map(|name| listen(name).start().unwrap());
            calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
            assert_eq!(aside.recv().unwrap(), "pair", "{era}");
            assert_eq!(client.call_tool("does not listen", json!({})).unwrap().text(), "done");
            assert_eq!(aside.recv().unwrap(), "does not listen", "{era}");
            assert_eq!(own.lock().unwrap().len(), 1, "{era}");
        }
    });
}

#[test]
fn listeners_hear_in_order_and_may_call_the_client() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, call| {
            if call.param("/name") == "start" {
                for number in 1..=100 {
                    wire.notify(
                        "notifications/message",
                        json!({ "level": "info", "data": number }),
                    );
                }
            }
            wire.reply(call, said("done"));
        });
        let (heard, hear) = mpsc::channel();
        let listening = Client::builder().on_notification(move |notification, context| {
            let answer = context.client().call_tool("other", json!({})).unwrap().text();
            heard.send((notification.log_message().unwrap().data, answer)).unwrap();
        });
        let client = listening.open(server).unwrap();
        assert_eq!(client.call_tool("start", json!({})).unwrap().text(), "done");
        for number in 1..=100 {
            assert_eq!(hear.recv().unwrap(), (json!(number), "done".to_owned()));
        }
    });
}

#[test]
fn the_end_can_be_waited_for_and_comes_last() {
    soon(|| {
        let (server, _) = played(Era::Legacy, tools(), |wire, call| {
            for number in 1..=100 {
                let params = json!({ "level": "info", "data": number });
                wire.notify("notifications/message", params);
            }
            wire.reply(&call, said("done"));
            None
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (hears, (ended, end)) = (heard.clone(), mpsc::channel());
        let end = Mutex::new(end);
        let listening = Client::builder().on_notification(move |notification, context| {
            if hears.lock().unwrap().is_empty() {
                // The connection has ended before the first is heard.
                end.lock().unwrap().recv().unwrap();
                assert_eq!(
                    context.client().wait_for_end(Duration::MAX).unwrap().kind(),
                    ErrorKind::Disconnected
                );
            }
            hears.lock().unwrap().push(notification.log_message().unwrap().data);
        });
        let client = listening.open(server).unwrap();
        let _ = client.call_tool("start", json!({}));
        assert_eq!(client.ping().unwrap_err().kind(), ErrorKind::Disconnected);
        ended.send(()).unwrap();
        assert_eq!(client.wait_for_end(Duration::MAX).unwrap().kind(), ErrorKind::Disconnected);
        assert_eq!(heard.lock().unwrap().len(), 100);
        assert_eq!(client.wait_for_end(Duration::MAX).unwrap().kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn closing_ends_who_waits_for_the_end() {
    soon(|| {
        let client = Client::open(silent(Era::Modern).0).unwrap();
        assert!(client.wait_for_end(Duration::ZERO).is_none());
        let other = client.clone();
        let waits = thread::spawn(move || other.wait_for_end(Duration::MAX).unwrap().kind());
        client.close();
        assert_eq!(waits.join().unwrap(), ErrorKind::Closed);
    });
}

#[test]
fn closing_ends_what_waits_and_what_is_asked_later() {
    soon(|| {
        let (server, received) = silent(Era::Modern);
        let client = Client::open(server.name("mine")).unwrap();
        let other = client.clone();
        let pending = client.tool("pending").start().unwrap();
        let call = thread::spawn(move || other.call_tool("waits", json!({})));
        assert_eq!(
            [(); 2].map(|()| received.recv().unwrap().method().to_owned()),
            ["tools/call"; 2]
        );
        let report = client.close();
        assert!(!report.forced && !report.left_behind, "{report:?}");
        for (error, ran) in [
            (call.join().unwrap().unwrap_err(), true),
            (pending.wait().unwrap_err(), true),
            (client.call_tool("late", json!({})).unwrap_err(), false),
            (client.tool("late").start().unwrap_err(), false),
            (client.list_tools().unwrap_err(), false),
            (client.ping().unwrap_err(), false),
        ] {
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            assert!(error.is_cancelled());
            assert_eq!(error.server_name(), Some("mine"));
            assert_eq!(error.may_have_run(), ran, "{error}");
        }
        assert_eq!(client.close(), report);
        assert_eq!(received.try_iter().count(), 0);
    });
}

#[test]
fn dropping_the_last_clone_closes() {
    soon(|| {
        let (ended, end) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            let mut next = peer.open_modern(tools());
            while let Some(call) = next {
                peer.reply(&call, said("done"));
                next = peer.receive();
            }
            ended.send(()).unwrap();
        });
        let client = Client::open(server).unwrap();
        let clone = client.clone();
        drop(client);
        assert!(end.try_recv().is_err());
        assert_eq!(clone.call_tool("x", json!({})).unwrap().text(), "done");
        drop(clone);
        end.recv().unwrap();
    });
}

/// How one call fails.
fn failure(call: impl FnOnce(&Client) -> Error, play: Play) -> Error {
    let (server, _) = played(Era::Modern, tools(), play);
    call(&Client::open(server).unwrap())
}

type Play = fn(&Wire, Received) -> Option<()>;

#[test]
fn an_error_says_whether_the_server_may_have_begun() {
    soon(|| {
        let call = |client: &Client| match client.call_tool("x", json!({})) {
            Ok(result) => result.into_result().unwrap_err(),
            Err(error) => error,
        };
        let hurried = |client: &Client| client.tool("x").timeout(SHORT).call().unwrap_err();
        let again = move |client: &Client| {
            call(client);
            call(client)
        };
        let late = |client: &Client| {
            client.close();
            client.call_tool("x", json!({})).unwrap_err()
        };
        let bad = |client: &Client| client.call_tool("x", 5).unwrap_err();
        let undeclared = |client: &Client| client.list_prompts().unwrap_err();
        let ends: Play = |_, _| None;
        let waits: Play = |_, _| Some(());
        let knows_no_such: Play = |wire, call| {
            wire.reply_error(&call, -32601, "no", None);
            Some(())
        };
        let refuses: Play = |wire, call| {
            wire.reply_error(&call, -32602, "no", None);
            Some(())
        };
        let fails: Play = |wire, call| {
            wire.reply(&call, json!({ "content": [], "isError": true }));
            Some(())
        };
        let lies: Play = |wire, call| {
            wire.reply(&call, json!({ "content": "text" }));
            Some(())
        };
        let asks: Play = |wire, call| {
            let question = json!({ "method": "roots/list" });
            let round =
                json!({ "resultType": "input_required", "inputRequests": { "k": question } });
            wire.reply(&call, round);
            Some(())
        };
        for (error, kind, ran) in [
            (failure(bad, waits), ErrorKind::InvalidInput, false),
            (failure(undeclared, waits), ErrorKind::Unsupported, false),
            (failure(late, waits), ErrorKind::Closed, false),
            (failure(again, ends), ErrorKind::Disconnected, false),
            (failure(call, ends), ErrorKind::Disconnected, true),
            (failure(hurried, waits), ErrorKind::Timeout, true),
            (failure(call, knows_no_such), ErrorKind::Rpc, true),
            (failure(call, refuses), ErrorKind::Rpc, true),
            (failure(call, fails), ErrorKind::Tool, true),
            (failure(call, lies), ErrorKind::Protocol, true),
            (failure(call, asks), ErrorKind::InputRequired, false),
        ] {
            assert_eq!((error.kind(), error.may_have_run()), (kind, ran), "{error}");
        }
    });
}

#[test]
fn too_many_notifications_are_dropped_and_nothing_else() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, call| {
            let token = call.param("/_meta/progressToken");
            (0..100).for_each(|number| wire.progress(token, f64::from(number)));
            wire.reply(call, said("done"));
        });
        let server = server.limits(Limits::default().notifications(3));
        let client = Client::open(server).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listened = heard.clone();
        let call = client.tool("x").on_progress(move |p| listened.lock().unwrap().push(p.progress));
        // Nobody listens before the result is there.
        let mut call = call.start().unwrap();
        assert_eq!(client.call_tool("y", json!({})).unwrap().text(), "done");
        assert_eq!(call.wait_timeout(FOREVER).unwrap().unwrap().text(), "done");
        assert_eq!(*heard.lock().unwrap(), [0.0, 1.0, 2.0]);
    });
}
