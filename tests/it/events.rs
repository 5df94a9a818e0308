//! Events: what is told, to whom, in which order, and how little it costs those who do not listen.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::memory::Received;
use umcp::protocol::ElicitResult;
use umcp::{
    Client, ClientBuilder, Era, ErrorKind, Event, EventKind, Limits, LoggingLevel, Server, Timeouts,
};

use crate::calls::{all_received, answering, played, said, tools};
use crate::common::{ERAS, FOREVER, SHORT, echo, example_server, soon};
use crate::logging::{forwarded, spy};
use crate::subscriptions::{change, changing, updated};
use crate::tasks::{completed, following, task};

use EventKind::*;

/// What listeners hear until the connection has ended.
fn listening() -> (ClientBuilder, Receiver<Event>) {
    listening_too(Client::builder())
}

fn listening_too(builder: ClientBuilder) -> (ClientBuilder, Receiver<Event>) {
    let (heard, hear) = mpsc::channel();
    let heard = Mutex::new(heard);
    let listen = move |event: &Event| heard.lock().unwrap().send(event.clone()).unwrap();
    (builder.on_event(listen), hear)
}

fn kinds(events: impl IntoIterator<Item = Event>) -> Vec<EventKind> {
    events.into_iter().map(|event| event.kind()).collect()
}

fn saying_much(era: Era) -> (Server, Receiver<Received>) {
    answering(era, json!({ "tools": {}, "resources": {} }), |wire, request| {
        if request.method() == "resources/read" {
            return wire.reply(request, json!({ "contents": [] }));
        }
        wire.notify("notifications/message", json!({ "level": "info", "data": "x" }));
        for list in ["tools", "prompts", "resources"] {
            wire.notify(&format!("notifications/{list}/list_changed"), json!({}));
        }
        wire.notify("notifications/resources/updated", json!({ "uri": "a:b" }));
        wire.notify("example/other", json!({ "n": 1 }));
        wire.reply(request, said("done"));
    })
}

#[test]
fn everything_is_told_in_order_from_connected_to_disconnected() {
    soon(|| {
        for era in ERAS {
            let (builder, hear) = listening();
            let client = builder.open(saying_much(era).0.name("told")).unwrap();
            let stream = client.events();
            client.tool("t").arg("a", 5).call().map(drop).unwrap();
            client.read_resource("file:///x").map(drop).unwrap();
            client.close();
            let heard: Vec<Event> = hear.iter().collect();
            let call = [
                LogMessage,
                ToolsChanged,
                PromptsChanged,
                ResourcesChanged,
                ResourceUpdated,
                Notification,
            ];
            let mut all = vec![Connected, RequestSent];
            all.extend(call);
            all.extend([ReplyReceived, ToolCalled, RequestSent, ReplyReceived, ResourceRead]);
            all.push(Disconnected);
            assert_eq!(kinds(heard.clone()), all, "{era}");
            assert_eq!(kinds(stream), all[1..], "{era}: an iterator has them too");

            let of = |kind| heard.iter().find(|event| event.kind() == kind).unwrap();
            let sent = of(RequestSent);
            assert_eq!((sent.method(), sent.duration()), ("tools/call", None));
            let reply = of(ReplyReceived);
            assert!(reply.id().is_some() && reply.id() == sent.id());
            assert!(
                sent.bytes() > Some(0) && reply.bytes() > Some(0) && reply.duration().is_some()
            );
            let called = of(ToolCalled);
            assert_eq!((called.name(), called.is_failure()), (Some("t"), false));
            assert_eq!(called.arguments().unwrap().to_value().unwrap(), json!({ "a": 5 }));
            let result = called.result().unwrap().to_value().unwrap();
            assert_eq!(result["content"][0]["text"], "done");
            assert!(called.duration().is_some());
            assert_eq!(of(ResourceRead).name(), Some("file:///x"));
            assert_eq!(of(ResourceUpdated).name(), Some("a:b"));
            assert_eq!(of(LogMessage).log_message().unwrap().data, "x");
            assert_eq!(of(Notification).method(), "example/other");
            assert_eq!(of(Notification).params().unwrap().get(), "{\"n\":1}");
            assert_eq!(of(Disconnected).error().unwrap().kind(), ErrorKind::Closed);
            assert!(heard.iter().all(|event| event.server() == "told" && event.missed() == 0));
            let lines: Vec<_> = heard.iter().map(|event| event.to_string()).collect();
            assert_eq!(lines[0], "told: connected");
            assert!(lines[1].starts_with("told: -> tools/call "), "{lines:?}");
            assert_eq!(lines[2], "told: log-message info");
            assert_eq!(lines[6], "told: resource-updated \"a:b\"");
            assert!(lines[9].starts_with("told: tool-called \"t\" ("), "{lines:?}");
            assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
        }
    });
}

#[test]
fn what_belongs_to_a_subscription_is_told_of_too_but_is_no_aside() {
    soon(|| {
        for era in ERAS {
            let (aside, asides) = mpsc::channel();
            let (builder, hear) = listening();
            let builder = builder.on_notification(move |notification, _| {
                aside.send(notification.method().to_owned()).unwrap();
            });
            let builder = builder.trace_context(|| [("baggage", "a=b")]);
            let (server, see) = changing(era);
            let client = builder.open(server).unwrap();
            let mut subscription = client.subscribe().resource("a:b").open().unwrap();
            let changes = [("notifications/resources/updated", json!({ "uri": "a:b" }))];
            change(&client, &changes);
            assert_eq!(subscription.next().unwrap().unwrap(), updated("a:b"));
            client.close();
            let events: Vec<Event> = hear.iter().collect();
            let told = events.iter().find(|event| event.kind() == ResourceUpdated).unwrap();
            assert_eq!(told.name(), Some("a:b"));
            assert_eq!(asides.iter().collect::<Vec<_>>(), [""; 0], "{era}");
            let asked = match era {
                Era::Legacy => "resources/subscribe",
                _ => "subscriptions/listen",
            };
            let sent = |event: &&Event| event.kind() == RequestSent;
            assert_eq!(events.iter().find(sent).unwrap().method(), asked);
            let asked = see.iter().find(|it| it.method() == asked).unwrap();
            assert_eq!(asked.param("/_meta/baggage"), "a=b", "{era}");
        }
    });
}

#[test]
fn a_call_that_becomes_a_task_ends_with_the_task_s_result() {
    soon(|| {
        let (builder, hear) = listening_too(Client::builder().tasks());
        let states = [task("working"), completed(said("done"))];
        let client = builder.open(following(states).0).unwrap();
        client.call_tool("report", json!({})).map(drop).unwrap();
        // One that is handed out has become all that it will.
        client.tool("report").start_task().map(drop).unwrap();
        client.close();
        let events: Vec<Event> = hear.iter().collect();
        let request = [RequestSent, ReplyReceived];
        let mut all = vec![Connected];
        all.extend(request.repeat(3));
        all.push(ToolCalled);
        all.extend(request);
        all.extend([ToolCalled, Disconnected]);
        assert_eq!(kinds(events.clone()), all);
        let mut ends = events.iter().filter(|event| event.kind() == ToolCalled);
        let mut end = || ends.next().unwrap().result().unwrap().to_value().unwrap();
        assert_eq!(end()["content"][0]["text"], "done");
        assert_eq!(end()["resultType"], "task");
    });
}

#[test]
fn a_process_is_listened_to_in_either_era() {
    soon(|| {
        for era in ["modern", "legacy"] {
            let (builder, hear) = listening();
            let client = builder.open(example_server(era)).unwrap();
            assert_eq!(echo(&client, "x"), "x");
            assert!(!client.close().left_behind);
            let expected = [Connected, RequestSent, ReplyReceived, ToolCalled, Disconnected];
            assert_eq!(kinds(hear), expected, "{era}");
        }
    });
}

#[test]
fn a_result_that_nobody_has_fetched_when_the_connection_ends_is_told() {
    soon(|| {
        let question = json!({ "resultType": "input_required", "requestState": "s" });
        let cases = [
            (Era::Modern, said("done"), true),
            (Era::Legacy, said("done"), true),
            // It has no answer any more.
            (Era::Modern, question, false),
        ];
        for (era, result, is_done) in cases {
            let server = Server::in_memory(move |peer| {
                let request = match era {
                    Era::Legacy => peer.open_legacy(tools()),
                    _ => peer.open_modern(tools()),
                };
                peer.reply(&request.unwrap(), result.clone());
            });
            let (builder, hear) = listening();
            let client = builder.open(server).unwrap();
            let pending = client.tool("x").start().unwrap();
            client.wait_for_end(FOREVER).unwrap();
            let heard: Vec<Event> = hear.iter().collect();
            let expected = [Connected, RequestSent, ReplyReceived, ToolCalled, Disconnected];
            assert_eq!(kinds(heard.clone()), expected, "{era}");
            assert_eq!(heard[3].result().is_some(), is_done, "{era}");
            assert_eq!(heard[3].is_failure(), !is_done, "{era}");
            assert_eq!(pending.wait().is_ok(), is_done, "{era}");
        }
    });
}

// The calls that end with the connection are told of before it is.
#[test]
fn a_connection_that_breaks_ends_its_calls_first_and_says_why() {
    soon(|| {
        for era in ERAS {
            let (builder, hear) = listening();
            let client = builder.open(played(era, tools(), |_, _| None).0).unwrap();
            let error = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Disconnected);
            let heard: Vec<Event> = hear.iter().collect();
            let expected = [Connected, RequestSent, Error, ToolCalled, Disconnected];
            assert_eq!(kinds(heard.clone()), expected, "{era}");
            for event in &heard[2..] {
                assert_eq!(event.error().unwrap().kind(), ErrorKind::Disconnected, "{event}");
                assert!(event.is_failure());
            }
            let line = heard[4].to_string();
            assert_eq!(line, "in-memory: disconnected: the in-memory server ended");
            // Who comes late learns that much.
            assert_eq!(kinds(client.events()), [Disconnected]);
            client.on_event(|_| unreachable!()).keep();
        }
    });
}

#[test]
fn calls_that_fail_are_told_of_with_the_reason() {
    soon(|| {
        for era in ERAS {
            let (builder, hear) = listening();
            let server = answering(era, tools(), |wire, call| match call.param("/name").as_str() {
                Some("refused") => wire.reply_error(call, -32602, "no", None),
                Some("failed") => wire.reply(call, json!({ "content": [], "isError": true })),
                _ => {}
            });
            let client = builder.open(server.0).unwrap();
            let _ = client.call_tool("refused", json!({}));
            let _ = client.call_tool("failed", json!({}));
            let _ = client.tool("silent").timeout(SHORT).call();
            drop(client.tool("dropped").start().unwrap());
            client.close();
            let heard: Vec<Event> = hear.iter().collect();
            let calls: Vec<_> = heard
                .iter()
                .filter(|event| event.kind() == ToolCalled)
                .map(|call| {
                    assert!(call.is_failure());
                    (call.name().unwrap(), call.error().map(|error| error.kind()))
                })
                .collect();
            let expected = [
                ("refused", Some(ErrorKind::Rpc)),
                ("failed", None),
                ("silent", Some(ErrorKind::Timeout)),
                ("dropped", Some(ErrorKind::Cancelled)),
            ];
            assert_eq!(calls, expected, "{era}");
            let errors = heard.iter().filter(|event| event.kind() == Error);
            let errors: Vec<_> = errors.map(|event| event.error().unwrap().kind()).collect();
            assert_eq!(errors, [ErrorKind::Timeout, ErrorKind::Cancelled], "{era}");
            let refused = heard.iter().find(|event| event.kind() == ReplyReceived).unwrap();
            assert_eq!(refused.error().unwrap().rpc().unwrap().code, -32602);
        }
    });
}

#[test]
fn rounds_of_input_are_requests_of_one_call() {
    soon(|| {
        let question = json!({ "message": "?", "requestedSchema": {
            "type": "object", "properties": {} } });
        let asks = json!({ "resultType": "input_required", "requestState": "s", "inputRequests": {
            "q": { "method": "elicitation/create", "params": question } } });
        let (server, _) = answering(Era::Modern, tools(), move |wire, call| {
            match call.param("/requestState").is_null() {
                true => wire.reply(call, asks.clone()),
                false => wire.reply(call, said("done")),
            }
        });
        let (builder, hear) = listening();
        let client = builder.on_elicitation(|_, _| ElicitResult::decline()).open(server).unwrap();
        client.call_tool("x", json!({})).map(drop).unwrap();
        client.close();
        let round = [RequestSent, ReplyReceived];
        let expected = [&[Connected][..], &round, &round, &[ToolCalled, Disconnected]].concat();
        assert_eq!(kinds(hear), expected);
    });
}

#[test]
fn what_a_legacy_server_asks_and_what_is_no_use_is_told() {
    soon(|| {
        let (server, _) = answering(Era::Legacy, tools(), |wire, call| {
            if call.method() != "tools/call" {
                return;
            }
            wire.send(json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" }));
            wire.send_text("hunter2 is no message");
            wire.reply(call, said("done"));
        });
        let (builder, hear) = listening();
        let client = builder.open(server).unwrap();
        client.call_tool("x", json!({})).map(drop).unwrap();
        client.close();
        let heard: Vec<Event> = hear.iter().collect();
        let expected = [
            Connected,
            RequestSent,
            RequestReceived,
            ReplySent,
            Error,
            ReplyReceived,
            ToolCalled,
            Disconnected,
        ];
        assert_eq!(kinds(heard.clone()), expected);
        assert_eq!((heard[2].method(), heard[2].id()), ("ping", Some("\"p\"")));
        assert_eq!(
            (heard[3].id(), heard[3].to_string().contains("reply \"p\"")),
            (Some("\"p\""), true)
        );
        let line = "in-memory: error: the server wrote a line that is no message";
        assert_eq!(heard[4].to_string(), line);
    });
}

#[test]
fn notifications_before_there_is_a_client_come_after_connected() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            peer.notify("notifications/tools/list_changed", json!({}));
            peer.open_legacy(tools());
        });
        let (builder, hear) = listening();
        builder.open(server).unwrap().close();
        assert_eq!(kinds(hear), [Connected, ToolsChanged, Disconnected]);
    });
}

#[test]
fn an_event_shows_neither_arguments_nor_results() {
    const SECRET: &str = "hunter2";
    soon(|| {
        for era in ERAS {
            let (server, _) = answering(era, tools(), |wire, call| {
                wire.notify("notifications/message", json!({ "level": "info", "data": SECRET }));
                wire.notify("example/other", json!({ "key": SECRET }));
                wire.reply(call, said(SECRET));
            });
            let (builder, hear) = listening();
            let client = builder.open(server).unwrap();
            client.tool("x").arg("key", SECRET).call().map(drop).unwrap();
            let stream = client.events();
            client.close();
            let shown = format!("{stream:?} {:?}", client.on_event(|_| ()));
            let heard: Vec<Event> = hear.iter().collect();
            let shown =
                heard.iter().map(|it| format!("{it} {it:?} {it:#?}")).fold(shown, |a, b| a + &b);
            assert!(!shown.contains(SECRET), "{shown}");
            let call = heard.iter().find(|event| event.kind() == ToolCalled).unwrap();
            assert!(call.arguments().unwrap().get().contains(SECRET));
            assert!(call.result().unwrap().get().contains(SECRET));
        }
    });
}

#[test]
fn a_listener_listens_until_its_guard_is_dropped() {
    soon(|| {
        for era in ERAS {
            let (server, _) = answering(era, tools(), |wire, call| wire.reply(call, said("done")));
            let (heard, hear) = mpsc::channel();
            let listener = |name: &'static str| {
                let heard = heard.clone();
                move |event: &Event| heard.send((name, event.name().map(str::to_owned))).unwrap()
            };
            let client = Client::builder().on(ToolCalled, listener("first")).open(server).unwrap();
            let all = client.on_event(|_| ());
            let second = client.on(ToolCalled, listener("second"));
            client.on(ToolCalled, listener("kept")).keep();
            client.call_tool("one", json!({})).map(drop).unwrap();
            let next = || hear.recv().map(|(name, tool)| (name, tool.unwrap())).unwrap();
            for name in ["first", "second", "kept"] {
                assert_eq!(next(), (name, "one".to_owned()), "{era}");
            }
            drop((second, all));
            client.call_tool("two", json!({})).map(drop).unwrap();
            drop(client.on(ResourceRead, listener("other kind")));
            client.close();
            for name in ["first", "kept"] {
                assert_eq!(next(), (name, "two".to_owned()), "{era}");
            }
            drop(heard);
            assert!(hear.recv().is_err(), "{era}: nobody holds the functions any more");
        }
    });
}

/// A function that waits until it may go on.
fn held() -> (mpsc::Sender<()>, impl Fn() + Send + Sync) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    // Until the sender is gone.
    (release, move || _ = held.lock().unwrap().recv())
}

#[test]
fn a_slow_listener_holds_up_nobody_and_learns_what_it_missed() {
    const MOST: usize = 4;
    soon(|| {
        for era in ERAS {
            let (server, _) = answering(era, tools(), |wire, call| wire.reply(call, said("done")));
            let (release, wait) = held();
            let (heard, hear) = mpsc::channel();
            let listen = move |event: &Event| {
                wait();
                heard.send(event.clone()).unwrap();
            };
            let limits = Limits::default().notifications(MOST);
            let client = Client::builder().on(ToolCalled, listen);
            let client = client.open(server.limits(limits)).unwrap();
            let unread = client.events();
            for _ in 0..20 {
                client.call_tool("x", json!({})).map(drop).unwrap();
                let (quick, read) = (client.events(), client.call_tool("x", json!({})));
                assert_eq!((kinds(quick.receiver().try_iter()).len(), read.is_ok()), (3, true));
            }
            drop(release);
            client.call_tool("last but for those that wait", json!({})).map(drop).unwrap();
            client.close();
            let heard: Vec<Event> = hear.iter().collect();
            assert!((MOST..20).contains(&heard.len()), "{era}: {}", heard.len());
            // It does not listen for the end, which would say how many were dropped at the end.
            let missed: u64 = heard.iter().map(Event::missed).sum();
            assert!(heard.len() as u64 + missed <= 41, "{era}");
            let unread: Vec<Event> = unread.collect();
            assert_eq!(unread.len(), MOST + 1, "{era}");
            assert_eq!(unread[MOST].kind(), Disconnected);
            assert_eq!(unread[MOST].missed() as usize, 41 * 3 - MOST, "{era}");
        }
    });
}

#[test]
fn a_listener_that_panics_misses_one_event_and_the_others_none() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, call| {
            wire.reply(call, said("done"));
        });
        let panics = |call: &Event| assert_ne!(call.name(), Some("bad"), "on purpose");
        let (builder, hear) = listening_too(Client::builder().on(ToolCalled, panics));
        let client = builder.open(server).unwrap();
        for name in ["bad", "good"] {
            client.call_tool(name, json!({})).map(drop).unwrap();
        }
        // A panic takes its time to be reported, which closing does not wait for.
        let called = hear.iter().filter(|event| event.kind() == ToolCalled).take(2);
        let names: Vec<_> = called.map(|event| event.name().unwrap().to_owned()).collect();
        assert_eq!(names, ["bad", "good"]);
    });
}

#[test]
fn a_listener_may_call_the_client_and_drop_the_last_one() {
    soon(|| {
        for era in ERAS {
            let (server, _) = answering(era, tools(), |wire, request| {
                if request.method() == "tools/list" {
                    return wire.reply(request, json!({ "tools": [] }));
                }
                wire.notify("notifications/tools/list_changed", json!({}));
                wire.reply(request, said("done"));
            });
            let client = Client::open(server).unwrap();
            let (heard, hear) = mpsc::channel();
            let last = Mutex::new(Some(client.clone()));
            let (ready, wait) = mpsc::channel::<()>();
            let wait = Mutex::new(wait);
            let ended = heard.clone();
            client.on(Disconnected, move |_| ended.send(0).unwrap()).keep();
            let listen = move |_: &Event| {
                let client = last.lock().unwrap().take().unwrap();
                heard.send(client.list_tools().unwrap().len() + 1).unwrap();
                wait.lock().unwrap().recv().unwrap_err();
                drop(client);
            };
            client.on(ToolsChanged, listen).keep();
            client.call_tool("x", json!({})).map(drop).unwrap();
            assert_eq!(hear.recv(), Ok(1), "{era}");
            drop(client);
            drop(ready);
            assert_eq!(hear.recv(), Ok(0), "{era}: and it hears of the end");
            assert!(hear.recv().is_err(), "{era}: nothing is left");
        }
    });
}

#[test]
fn a_listener_that_blocks_for_ever_is_left_behind() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, call| {
            wire.reply(call, said("done"));
        });
        let (release, wait) = held();
        let timeouts = Timeouts::default().close_grace(SHORT).kill_grace(SHORT);
        let client = Client::builder().on(Connected, move |_| wait());
        let client = client.open(server.timeouts(timeouts)).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        assert!(client.close().left_behind);
        drop(release);
    });
}

#[test]
fn an_iterator_waits_as_long_as_it_is_told_and_keeps_nothing_open() {
    soon(|| {
        let (server, received) = saying_much(Era::Modern);
        let client = Client::open(server).unwrap();
        let mut events = client.events();
        assert!(events.next_timeout(Duration::ZERO).is_none());
        assert!(events.next_timeout(SHORT).is_none());
        let waits = thread::spawn(move || (events.next().unwrap(), events));
        client.call_tool("x", json!({})).map(drop).unwrap();
        let (first, events) = waits.join().unwrap();
        assert_eq!(first.kind(), RequestSent);
        assert_eq!(events.next_timeout(FOREVER).unwrap().kind(), LogMessage);
        drop(client);
        assert_eq!(events.last().unwrap().kind(), Disconnected);
        assert_eq!(received.iter().count(), 1, "the server has ended");
    });
}

#[test]
fn what_the_server_logs_is_forwarded_if_that_is_asked_for() {
    spy();
    soon(|| {
        for era in ERAS {
            let levels =
                ["debug", "info", "notice", "warning", "error", "critical", "emergency", "x"];
            let (server, _) =
                answering(era, json!({ "tools": {}, "logging": {} }), move |wire, call| {
                    for level in levels {
                        let data = format!("{level}\n\u{1b}[31mred {}", "long ".repeat(1000));
                        let params = json!({ "level": level, "logger": "db", "data": data });
                        wire.notify("notifications/message", params);
                    }
                    wire.notify(
                        "notifications/message",
                        json!({ "level": "info", "data": { "a": 1 } }),
                    );
                    wire.reply(call, said("done"));
                });
            let name = format!("forwarded {era}");
            let target = format!("umcp::server::{name}");
            let quiet = Client::open(server.clone().name(&name)).unwrap();
            quiet.call_tool("x", json!({})).map(drop).unwrap();
            quiet.close();
            assert_eq!(forwarded(&target), [], "{era}: not by itself");
            let client = Client::builder().forward_log().open(server.name(&name)).unwrap();
            let mut own = 0;
            client
                .tool("x")
                .on_log(|_| own += 1)
                .log_level(LoggingLevel::Debug)
                .call()
                .map(drop)
                .unwrap();
            client.close();
            assert_eq!(own, 9);
            let lines = forwarded(&target);
            use log::Level::{Debug, Error, Info, Warn};
            let expected = [Debug, Info, Info, Warn, Error, Error, Error, Info, Info];
            assert_eq!(
                lines.iter().map(|(level, _)| *level).collect::<Vec<_>>(),
                expected,
                "{era}"
            );
            assert!(lines[0].1.starts_with("db: debug [31mred long"), "{lines:?}");
            assert_eq!(lines[8].1, "{\"a\":1}");
            for (_, line) in lines {
                assert!(line.chars().count() <= 501 && !line.contains(char::is_control), "{line}");
            }
        }
    });
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

// OTEL-1, OTEL-2, OTEL-3, OTEL-4, OTEL-7: what is malformed, or no trace context, stays at home, and so does
// all baggage that was not given.
#[test]
fn every_attempt_carries_the_trace_context_of_its_moment() {
    soon(|| {
        for era in ERAS {
            let refuses_once = Mutex::new(era == Era::Modern);
            let (server, received) = answering(era, tools(), move |wire, call| {
                if std::mem::take(&mut *refuses_once.lock().unwrap()) {
                    let state = json!({ "resultType": "input_required", "requestState": "s" });
                    return wire.reply(call, state);
                }
                wire.reply(call, said("done"));
            });
            let spans = Arc::new(Mutex::new(0));
            let builder = Client::builder().trace_context(move || {
                let mut spans = spans.lock().unwrap();
                *spans += 1;
                let parent = PARENT.replace("b7ad6b7169203331", &format!("{:016x}", *spans));
                let state = if *spans == 1 { "a=1" } else { "a=\n" };
                [
                    ("traceparent", parent),
                    ("tracestate", state.to_owned()),
                    ("baggage", "user=5".to_owned()),
                    ("com.example/x", "no".to_owned()),
                ]
            });
            let client = builder.open(server).unwrap();
            client.call_tool("x", json!({})).map(drop).unwrap();
            client.tool("x").meta("traceparent", PARENT).call().map(drop).unwrap();
            let received = all_received(&client, &received);
            let sent: Vec<&Value> = received.iter().map(|it| it.param("/_meta")).collect();
            let span = |number: u64| PARENT.replace("b7ad6b7169203331", &format!("{number:016x}"));
            let rounds = if era == Era::Modern { 2 } else { 1 };
            assert_eq!(sent.len(), rounds + 1, "{era}");
            for (meta, number) in sent[..rounds].iter().zip(1..) {
                assert_eq!(meta["traceparent"], span(number), "{era}");
                assert_eq!(meta["baggage"], "user=5");
                assert!(meta.get("com.example/x").is_none(), "{meta}");
            }
            assert_eq!(sent[0]["tracestate"], "a=1", "{era}");
            assert!(sent[rounds].get("tracestate").is_none(), "{era}");
            assert_eq!(sent[rounds]["traceparent"], PARENT, "{era}: a call's own comes first");
        }
    });
}
