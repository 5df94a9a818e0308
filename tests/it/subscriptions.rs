//! Subscriptions at the wire, in both eras: what is asked for, what comes of it, and how it ends.

use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::memory::{Peer, Received};
use umcp::{CancelToken, Change, Client, Era, ErrorKind, Limits, Server, Subscription};

use crate::calls::said;
use crate::common::{ERAS, FOREVER, SHORT, over_pipes, soon, within};

const ID: &str = "io.modelcontextprotocol/subscriptionId";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";

fn everything() -> Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
    })
}

fn opening(peer: &Peer, era: Era, capabilities: Value) -> Option<Received> {
    match era {
        Era::Legacy => peer.open_legacy(capabilities),
        _ => peer.open_modern(capabilities),
    }
}

/// A notification of a subscription.
fn notify(peer: &Peer, subscription: &Value, method: &str, mut params: Value) {
    params["_meta"] = json!({ ID: subscription });
    peer.notify(method, params);
}

fn acknowledge(peer: &Peer, listen: &Received) {
    let granted = json!({ "notifications": listen.param("/notifications") });
    notify(peer, listen.id(), ACKNOWLEDGED, granted);
}

/// A server in which a call of a tool changes what its arguments say, in their order. What it receives
/// can be seen.
pub fn changing(era: Era) -> (Server, Receiver<Received>) {
    let (seen, see) = mpsc::channel();
    let server = Server::in_memory(move |peer| {
        let mut open = Vec::new();
        let mut next = opening(&peer, era, everything());
        while let Some(request) = next {
            match request.method() {
                "subscriptions/listen" => {
                    acknowledge(&peer, &request);
                    open.push(request.id().clone());
                }
                "notifications/cancelled" => open.retain(|id| id != request.param("/requestId")),
                "tools/call" => {
                    for change in request.param("/arguments/changes").as_array().unwrap() {
                        let method = change["method"].as_str().unwrap();
                        match era {
                            Era::Legacy => peer.notify(method, change["params"].clone()),
                            _ => open.iter().for_each(|id| {
                                notify(&peer, id, method, change["params"].clone());
                            }),
                        }
                    }
                    peer.reply(&request, said("done"));
                }
                _ => peer.reply(&request, json!({})),
            }
            let _ = seen.send(request);
            next = peer.receive();
        }
    });
    (server.era(era), see)
}

pub fn change(client: &Client, changes: &[(&str, Value)]) {
    let each = |(method, params): &(&str, Value)| json!({ "method": method, "params": params });
    let changes: Vec<_> = changes.iter().map(each).collect();
    let _ = client.call_tool("change", json!({ "changes": changes })).unwrap();
}

pub fn updated(uri: &str) -> Change {
    Change::ResourceUpdated { uri: uri.to_owned() }
}

/// The method of the next message, its id, and what it is about.
fn next(see: &Receiver<Received>) -> (String, Value, Value) {
    let request = see.recv().unwrap();
    let about = ["/uri", "/requestId", "/name"].map(|at| request.param(at).clone());
    let about = about.into_iter().find(|it| !it.is_null()).unwrap_or_default();
    (request.method().to_owned(), request.id().clone(), about)
}

fn about(method: &str, uri: &str) -> (String, Value) {
    (method.to_owned(), json!(uri))
}

fn next_about(see: &Receiver<Received>) -> (String, Value) {
    let (method, _, about) = next(see);
    (method, about)
}

/// All that is there, and the error it ends with.
fn drained(subscription: Subscription) -> (Vec<Change>, ErrorKind) {
    let mut changes = Vec::new();
    let mut items = subscription;
    loop {
        match items.next().unwrap() {
            Ok(change) => changes.push(change),
            Err(end) => {
                assert!(items.next().is_none());
                assert_eq!(items.try_next().unwrap_err().kind(), end.kind());
                return (changes, end.kind());
            }
        }
    }
}

// SUB-2, SUB-4, SUB-5, SUB-6, META-1, ERA-4
#[test]
fn what_is_wanted_is_asked_for_and_what_is_delivered_is_known() {
    soon(|| {
        let (seen, see) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            let listen = peer.open_modern(everything()).unwrap();
            let granted = json!({ "toolsListChanged": true, "resourceSubscriptions": ["x:b"] });
            notify(&peer, listen.id(), ACKNOWLEDGED, json!({ "notifications": granted }));
            seen.send(listen).unwrap();
            while peer.receive().is_some() {}
        });
        let client = Client::open(server).unwrap();
        let wanted = client.subscribe().tools().prompts().resource("x:a").resource("x:b");
        let subscription = wanted.resource("x:a").open().unwrap();
        let listen = see.recv().unwrap();
        assert_eq!(listen.method(), "subscriptions/listen");
        let asked = json!({ "toolsListChanged": true, "promptsListChanged": true,
            "resourceSubscriptions": ["x:a", "x:b"] });
        assert_eq!(*listen.param("/notifications"), asked);
        let version = &listen.param("/_meta")["io.modelcontextprotocol/protocolVersion"];
        assert_eq!(*version, "2026-07-28");
        let granted = subscription.acknowledged();
        assert!(granted.tools_list_changed && !granted.prompts_list_changed);
        assert_eq!(granted.resource_subscriptions, ["x:b"]);
    });
}

// METH-1, METH-2, SUB-21
#[test]
fn what_the_server_did_not_declare_is_not_subscribed_to() {
    soon(|| {
        for era in ERAS {
            let (seen, see) = mpsc::channel();
            let server = Server::in_memory(move |peer| {
                let offered = json!({ "tools": { "listChanged": true }, "resources": {} });
                let mut next = opening(&peer, era, offered);
                while let Some(request) = next {
                    seen.send(request.param("/notifications").clone()).unwrap();
                    acknowledge(&peer, &request);
                    next = peer.receive();
                }
            });
            let client = Client::open(server.era(era)).unwrap();
            let lacking = client.subscribe().prompts().resources().resource("x:a");
            let lacking = lacking.open().unwrap_err();
            assert_eq!(lacking.kind(), ErrorKind::Unsupported);
            assert!(lacking.to_string().contains("no `resources.subscribe`"), "{lacking}");
            let nothing = client.subscribe().open().unwrap_err();
            assert_eq!(nothing.kind(), ErrorKind::InvalidInput);
            let all = client.subscribe().lists().open().unwrap();
            assert!(all.acknowledged().tools_list_changed);
            assert!(!all.acknowledged().prompts_list_changed);
            if era != Era::Legacy {
                assert_eq!(see.recv().unwrap(), json!({ "toolsListChanged": true }));
            }
            drop(all);
            if era != Era::Legacy {
                assert_eq!(see.recv().unwrap(), Value::Null);
            }
            let some = client.subscribe().tools().resource("x:a").open().unwrap();
            assert!(some.acknowledged().tools_list_changed);
            assert!(some.acknowledged().resource_subscriptions.is_empty());
            if era != Era::Legacy {
                assert_eq!(see.recv().unwrap(), json!({ "toolsListChanged": true }));
            }
            assert!(see.try_recv().is_err());
        }
    });
}

// METH-1, METH-2
#[test]
fn a_server_that_reports_no_list_is_not_subscribed_to_for_all() {
    soon(|| {
        for era in ERAS {
            let server = Server::in_memory(move |peer| {
                let next = opening(&peer, era, json!({ "tools": {} }));
                assert!(next.is_none(), "{next:?}");
            });
            let client = Client::open(server.era(era)).unwrap();
            let error = client.subscribe().lists().open().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("no `tools.listChanged`"), "{error}");
        }
    });
}

// SUB-1, SUB-6, SUB-21
#[test]
fn changes_come_in_order_whichever_way_they_are_waited_for() {
    soon(|| {
        for era in ERAS {
            let (server, _see) = changing(era);
            let client = Client::open(server).unwrap();
            let wanted = client.subscribe().tools().prompts().resources().resource("x:a");
            let mut subscription = wanted.open().unwrap();
            assert_eq!(subscription.try_next().unwrap(), None);
            assert_eq!(subscription.next_timeout(SHORT).unwrap(), None);
            let all = [
                (TOOLS, json!({})),
                (PROMPTS, json!({})),
                (RESOURCES, json!({})),
                (UPDATED, json!({ "uri": "x:a" })),
                // Not one of these: it names no resource.
                (UPDATED, json!({ "uri": 5 })),
                (UPDATED, json!({ "uri": "x:a/below" })),
            ];
            change(&client, &all);
            assert_eq!(subscription.try_next().unwrap(), Some(Change::ToolsChanged));
            assert_eq!(subscription.next_timeout(FOREVER).unwrap(), Some(Change::PromptsChanged));
            assert_eq!(subscription.next().unwrap().unwrap(), Change::ResourcesChanged);
            let rest: Vec<_> = subscription.by_ref().take(2).map(Result::unwrap).collect();
            assert_eq!(rest, [updated("x:a"), updated("x:a/below")]);
            assert_eq!(subscription.try_next().unwrap(), None);
        }
    });
}

// SUB-4, SUB-7, SUB-8, SUB-9, SUB-10, STDIO-19
#[test]
fn subscriptions_are_told_apart_by_their_ids() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let of = |id: &Value, uri: &str| notify(&peer, id, UPDATED, json!({ "uri": uri }));
            let first = peer.open_modern(everything()).unwrap();
            acknowledge(&peer, &first);
            let second = peer.receive().unwrap();
            // On a pipe, other subscriptions' may come before the acknowledgement.
            of(first.id(), "x:1");
            acknowledge(&peer, &second);
            of(second.id(), "x:2");
            for unknown in [json!(0), json!(4_000_000), json!(first.id().to_string()), json!([])] {
                of(&unknown, "x:unknown");
            }
            of(first.id(), "x:3");
            peer.notify(UPDATED, json!({ "uri": "x:nobody's" }));
            while peer.receive().is_some() {}
        });
        let (heard, hear) = mpsc::channel();
        let builder = Client::builder().on_notification(move |notification, _| {
            heard.send(notification.params().to_value().unwrap()["uri"].clone()).unwrap();
        });
        let client = builder.open(server).unwrap();
        let mut first = client.subscribe().resource("x:").open().unwrap();
        let mut second = client.subscribe().resource("x:").open().unwrap();
        assert_eq!(second.next().unwrap().unwrap(), updated("x:2"));
        let both: Vec<_> = first.by_ref().take(2).map(Result::unwrap).collect();
        assert_eq!(both, [updated("x:1"), updated("x:3")]);
        // What names no subscription belongs to the client, and what names another to nobody.
        assert_eq!(hear.recv().unwrap(), "x:nobody's");
        assert_eq!(first.try_next().unwrap(), None);
        assert_eq!(second.try_next().unwrap(), None);
    });
}

// SUB-6
#[test]
fn what_was_not_asked_for_is_dropped_and_what_comes_early_is_used() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let listen = peer.open_modern(everything()).unwrap();
            notify(&peer, listen.id(), TOOLS, json!({}));
            notify(&peer, listen.id(), PROMPTS, json!({}));
            acknowledge(&peer, &listen);
            acknowledge(&peer, &listen);
            notify(&peer, listen.id(), "notifications/odd", json!({}));
            notify(&peer, listen.id(), TOOLS, json!({}));
            peer.reply(&listen, json!({ "_meta": { ID: listen.id() } }));
            while peer.receive().is_some() {}
        });
        let client = Client::builder().on_notification(|_, _| panic!("nobody's")).open(server);
        let subscription = client.unwrap().subscribe().tools().open().unwrap();
        let both = vec![Change::ToolsChanged, Change::ToolsChanged];
        assert_eq!(drained(subscription), (both, ErrorKind::Ended));
    });
}

#[test]
fn what_is_malformed_does_not_hide_a_change_behind_it() {
    soon(|| {
        for era in ERAS {
            let (server, _see) = changing(era);
            let client = Client::open(server).unwrap();
            let mut subscription = client.subscribe().resource("x:a").open().unwrap();
            let malformed = (UPDATED, json!({}));
            let good = (UPDATED, json!({ "uri": "x:a" }));
            change(&client, &[malformed.clone(), malformed.clone(), good, malformed]);
            let update = Change::ResourceUpdated { uri: "x:a".to_owned() };
            assert_eq!(subscription.try_next().unwrap(), Some(update));
            assert_eq!(subscription.try_next().unwrap(), None);
        }
    });
}

// SUB-5
#[test]
fn an_acknowledgement_of_nothing_is_none_and_one_that_does_not_say_is_of_all() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let listen = peer.open_modern(everything()).unwrap();
            notify(&peer, listen.id(), ACKNOWLEDGED, json!({ "notifications": {} }));
            assert_eq!(peer.receive().unwrap().method(), "notifications/cancelled");
            let listen = peer.receive().unwrap();
            notify(&peer, listen.id(), ACKNOWLEDGED, json!({}));
            while peer.receive().is_some() {}
        });
        let client = Client::open(server).unwrap();
        let nothing = client.subscribe().tools().open().unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::Unsupported);
        let all = client.subscribe().prompts().open().unwrap();
        assert!(all.acknowledged().prompts_list_changed);
    });
}

// ERA-6
#[test]
fn a_subscription_refused_for_its_version_is_asked_for_again() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let refused = peer.open_modern(everything()).unwrap();
            let supported = json!({ "supported": ["2026-07-28"], "requested": "2026-07-28" });
            peer.reply_error(&refused, -32022, "no such version", Some(supported.clone()));
            let listen = peer.receive().unwrap();
            assert_eq!(listen.method(), "subscriptions/listen");
            assert_ne!(listen.id(), refused.id());
            acknowledge(&peer, &listen);
            // Not for ever, and not once it is open.
            peer.reply_error(&listen, -32022, "no such version", Some(supported));
            while peer.receive().is_some() {}
        });
        let client = Client::open(server).unwrap();
        let subscription = client.subscribe().tools().open().unwrap();
        assert_eq!(drained(subscription), (vec![], ErrorKind::Rpc));
    });
}

// SUB-12, CANCEL-5
#[test]
fn closing_a_subscription_tells_the_server() {
    soon(|| {
        let (server, see) = changing(Era::Modern);
        let client = Client::open(server).unwrap();
        let open = || client.subscribe().tools().open().unwrap();
        let cancelled = |id: Value| {
            let (method, _, about) = next(&see);
            assert_eq!((method.as_str(), about), ("notifications/cancelled", id));
        };

        let (dropped, id) = (open(), next(&see).1);
        drop(dropped);
        cancelled(id);

        let (closed, id) = (open(), next(&see).1);
        closed.close();
        cancelled(id);

        let (waiting, id) = (open(), next(&see).1);
        let closer = waiting.closer();
        let waits = thread::spawn(move || drained(waiting));
        closer.close();
        closer.clone().close();
        assert_eq!(waits.join().unwrap(), (vec![], ErrorKind::Closed));
        cancelled(id);

        let token = CancelToken::new();
        let (waiting, id) =
            (client.subscribe().tools().cancel_token(&token).open().unwrap(), next(&see).1);
        let waits = thread::spawn(move || drained(waiting));
        token.cancel();
        assert_eq!(waits.join().unwrap(), (vec![], ErrorKind::Cancelled));
        cancelled(id);
    });
}

// SUB-13, SUB-14, AMB-9
#[test]
fn a_server_may_end_a_subscription_in_two_ways() {
    soon(|| {
        for ends in
            [["result", ""], ["cancelled", ""], ["result", "cancelled"], ["cancelled", "result"]]
        {
            let server = Server::in_memory(move |peer| {
                let listen = peer.open_modern(everything()).unwrap();
                acknowledge(&peer, &listen);
                notify(&peer, listen.id(), TOOLS, json!({}));
                for end in ends {
                    match end {
                        "result" => peer.reply(
                            &listen,
                            json!({ "resultType": "complete", "_meta": { ID: listen.id() } }),
                        ),
                        "cancelled" => peer.notify(
                            "notifications/cancelled",
                            json!({ "requestId": listen.id(), "reason": "shutting down" }),
                        ),
                        _ => {}
                    }
                }
                // Nothing is sent for what is over.
                let call = peer.receive().unwrap();
                assert_eq!(call.method(), "tools/call");
                peer.reply(&call, said("still here"));
                while peer.receive().is_some() {}
            });
            let client = Client::open(server).unwrap();
            let subscription = client.subscribe().tools().open().unwrap();
            let ended = (vec![Change::ToolsChanged], ErrorKind::Ended);
            assert_eq!(drained(subscription), ended, "{ends:?}");
            assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "still here");
        }
    });
}

#[test]
fn a_subscription_ends_with_its_connection() {
    soon(|| {
        for era in ERAS {
            let server = move || {
                Server::in_memory(move |peer| {
                    let request = opening(&peer, era, everything()).unwrap();
                    match era {
                        Era::Legacy => peer.reply(&request, json!({})),
                        _ => acknowledge(&peer, &request),
                    }
                    // Until it is told to end.
                    let _ = peer.receive();
                })
                .era(era)
            };
            let client = Client::open(server()).unwrap();
            let subscription = client.subscribe().resource("x:a").open().unwrap();
            let _ = client.tool("x").call().unwrap_err();
            assert_eq!(drained(subscription), (vec![], ErrorKind::Disconnected));

            let client = Client::open(server()).unwrap();
            let subscription = client.subscribe().resource("x:a").open().unwrap();
            client.close();
            assert_eq!(drained(subscription), (vec![], ErrorKind::Closed));
            let late = client.subscribe().resource("x:a").open().unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Closed);
        }
    });
}

// SUB-19
#[test]
fn an_acknowledgement_that_never_comes_is_not_waited_for() {
    soon(|| {
        let (seen, see) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            let mut next = peer.open_modern(everything());
            while let Some(request) = next {
                if request.method() == "subscriptions/listen" {
                    // It may say all it likes but this.
                    (0..5000).for_each(|_| notify(&peer, request.id(), TOOLS, json!({})));
                }
                seen.send(request).unwrap();
                next = peer.receive();
            }
        });
        let client = Client::open(server).unwrap();
        let late = client.subscribe().tools().timeout(SHORT).open().unwrap_err();
        assert!(late.is_timeout(), "{late}");
        assert_eq!(late.method(), Some("subscriptions/listen"));
        let id = next(&see).1;
        assert_eq!(next(&see).2, id);

        let token = CancelToken::new();
        let wanted = client.subscribe().tools().timeout(FOREVER).cancel_token(&token);
        let waits = thread::spawn(|| wanted.open().unwrap_err());
        let id = next(&see).1;
        token.cancel();
        assert!(waits.join().unwrap().is_cancelled());
        assert_eq!(next(&see).2, id);
    });
}

// SUB-19
#[test]
fn no_clock_runs_after_the_acknowledgement() {
    soon(|| {
        let (server, _see) = changing(Era::Modern);
        let client = Client::open(server).unwrap();
        let mut subscription = client.subscribe().tools().timeout(SHORT).open().unwrap();
        assert_eq!(subscription.next_timeout(2 * SHORT).unwrap(), None);
        change(&client, &[(TOOLS, json!({}))]);
        assert_eq!(subscription.next().unwrap().unwrap(), Change::ToolsChanged);
    });
}

#[test]
fn more_changes_than_there_is_room_for_leave_a_gap() {
    soon(|| {
        for era in ERAS {
            let (server, _see) = changing(era);
            let client = Client::open(server.limits(Limits::default().notifications(3))).unwrap();
            let mut subscription = client.subscribe().tools().prompts().open().unwrap();
            for _ in 0..2 {
                change(&client, &vec![(TOOLS, json!({})); 10]);
                let kept: Vec<_> = (0..3).map(|_| subscription.try_next().unwrap()).collect();
                assert_eq!(kept, vec![Some(Change::ToolsChanged); 3]);
                change(&client, &[(PROMPTS, json!({}))]);
                let gap = Change::Missed { dropped: 7 };
                assert_eq!(subscription.try_next().unwrap(), Some(gap));
                assert_eq!(subscription.try_next().unwrap(), Some(Change::PromptsChanged));
                change(&client, &vec![(TOOLS, json!({})); 5]);
                let rest: Vec<_> = (0..5).map(|_| subscription.try_next().unwrap()).collect();
                assert_eq!(rest[3..], [Some(Change::Missed { dropped: 2 }), None]);
            }
        }
    });
}

#[test]
fn a_flood_before_the_acknowledgement_leaves_a_gap_and_no_more() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let listen = peer.open_modern(everything()).unwrap();
            let flood = |id: &Value| (0..1000).for_each(|_| notify(&peer, id, TOOLS, json!({})));
            flood(listen.id());
            flood(&json!(4_000_000));
            acknowledge(&peer, &listen);
            peer.reply(&listen, json!({ "_meta": { ID: listen.id() } }));
            while peer.receive().is_some() {}
        });
        let limits = Limits::default().notifications(3);
        let client = Client::open(server.limits(limits)).unwrap();
        let (changes, end) = drained(client.subscribe().tools().open().unwrap());
        assert_eq!(end, ErrorKind::Ended);
        let missed: usize = changes
            .iter()
            .map(|change| match change {
                Change::Missed { dropped } => *dropped,
                _ => 1,
            })
            .sum();
        assert_eq!(missed, 1000);
        assert!(changes.len() <= 10, "{}", changes.len());
    });
}

// SUB-18, LOG-6
#[test]
fn a_subscription_does_not_hide_whose_log_messages_they_are() {
    soon(|| {
        for era in ERAS {
            let (server, _see) = changing(era);
            let client = Client::open(server).unwrap();
            let _subscription = client.subscribe().tools().open().unwrap();
            let log = json!({ "method": "notifications/message",
                "params": { "level": "info", "data": "mine" } });
            let mut heard = Vec::new();
            let call = client.tool("change").arg("changes", [log]);
            let _ = call.on_log(|message| heard.push(message.data.clone())).call().unwrap();
            assert_eq!(heard, ["mine"]);
        }
    });
}

// SUB-21
#[test]
fn a_legacy_server_is_asked_once_about_a_resource() {
    soon(|| {
        let (server, see) = changing(Era::Legacy);
        let client = Client::open(server).unwrap();
        let (subscribe, unsubscribe) = ("resources/subscribe", "resources/unsubscribe");
        let mut one = client.subscribe().resource("x:a").resource("x:b").tools().open().unwrap();
        assert_eq!(next_about(&see), about(subscribe, "x:a"));
        assert_eq!(next_about(&see), about(subscribe, "x:b"));
        let mut other = client.subscribe().resource("x:b").open().unwrap();
        let updates = ["x:a", "x:b", "x:c"].map(|uri| (UPDATED, json!({ "uri": uri })));
        change(&client, &updates);
        assert_eq!(next_about(&see), about("tools/call", "change"));
        assert_eq!(one.try_next().unwrap(), Some(updated("x:a")));
        assert_eq!(one.try_next().unwrap(), Some(updated("x:b")));
        assert_eq!(one.try_next().unwrap(), None);
        assert_eq!(other.try_next().unwrap(), Some(updated("x:b")));
        assert_eq!(other.try_next().unwrap(), None);

        drop(one);
        assert_eq!(next_about(&see), about(unsubscribe, "x:a"));
        let closer = other.closer();
        closer.close();
        assert_eq!(next_about(&see), about(unsubscribe, "x:b"));
        assert_eq!(other.try_next().unwrap_err().kind(), ErrorKind::Closed);
        // Also right after that they are in order.
        for _ in 0..50 {
            drop(client.subscribe().resource("x:b").open().unwrap());
            assert_eq!(next_about(&see), about(subscribe, "x:b"));
            assert_eq!(next_about(&see), about(unsubscribe, "x:b"));
        }
        client.close();
        drop(other);
    });
}

// SUB-5, SUB-21
#[test]
fn a_resource_that_is_refused_is_left_out() {
    soon(|| {
        let (seen, see) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            let mut next = peer.open_legacy(everything());
            while let Some(request) = next {
                match request.param("/uri") == "x:none" {
                    true => peer.reply_error(&request, -32002, "no such resource", None),
                    false => peer.reply(&request, json!({})),
                }
                seen.send(request).unwrap();
                next = peer.receive();
            }
        });
        let client = Client::open(server).unwrap();
        let refused = client.subscribe().resource("x:none").open().unwrap_err();
        assert_eq!(refused.rpc().unwrap().code, -32002);
        assert_eq!(next_about(&see), about("resources/subscribe", "x:none"));
        let some = client.subscribe().resource("x:a").resource("x:none").open().unwrap();
        assert_eq!(some.acknowledged().resource_subscriptions, ["x:a"]);
        drop(some);
        assert_eq!(next_about(&see), about("resources/subscribe", "x:a"));
        assert_eq!(next_about(&see), about("resources/subscribe", "x:none"));
        assert_eq!(next_about(&see), about("resources/unsubscribe", "x:a"));
        // Many at once have their order.
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| client.subscribe().resource("x:b").open().map(drop).unwrap());
            }
        });
        client.close();
        let seen: Vec<_> = see.try_iter().map(|request| request.method().to_owned()).collect();
        assert!(seen.chunks(2).all(|pair| pair[0] == "resources/subscribe"), "{seen:?}");
        assert!(
            seen.chunks(2).all(|pair| pair.get(1).is_none_or(|it| it == "resources/unsubscribe"))
        );
    });
}

// SUB-21
#[test]
fn a_panic_of_the_program_does_not_keep_the_rest_from_being_unsubscribed() {
    soon(|| {
        let (server, see) = changing(Era::Legacy);
        let panics = AtomicBool::new(true);
        let trace = move || {
            let is_it = thread::current().name() == Some("umcp-watch");
            assert!(!is_it || !panics.swap(false, Ordering::SeqCst), "of the program");
            [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
        };
        let client = Client::builder().trace_context(trace).open(server).unwrap();
        let both = client.subscribe().resource("x:a").resource("x:b").open().unwrap();
        drop(both);
        assert_eq!(next_about(&see).0, "resources/subscribe");
        assert_eq!(next_about(&see).0, "resources/subscribe");
        assert_eq!(next_about(&see), about("resources/unsubscribe", "x:b"));
        // The one is over, for all that the server was not told.
        drop(client.subscribe().resource("x:a").open().unwrap());
        assert_eq!(next_about(&see), about("resources/subscribe", "x:a"));
        assert_eq!(next_about(&see), about("resources/unsubscribe", "x:a"));
    });
}

// SUB-21
#[test]
fn what_belongs_to_no_subscription_goes_to_the_listener() {
    soon(|| {
        for era in ERAS {
            let (server, _see) = changing(era);
            let (heard, hear) = mpsc::channel();
            let builder = Client::builder().on_notification(move |notification, _| {
                heard.send(notification.method().to_owned()).unwrap();
            });
            let client = builder.open(server).unwrap();
            let mut subscription = client.subscribe().prompts().open().unwrap();
            let log = ("notifications/message", json!({ "level": "info", "data": "x" }));
            change(&client, &[(PROMPTS, json!({})), (TOOLS, json!({})), log]);
            assert_eq!(subscription.next().unwrap().unwrap(), Change::PromptsChanged);
            if era == Era::Legacy {
                assert_eq!(hear.recv().unwrap(), TOOLS);
            }
            assert_eq!(hear.recv().unwrap(), "notifications/message");
        }
    });
}

/// What a modern server says on lines: the acknowledgement, and an update of each.
fn listen_on_lines(line: &str, writer: &mut impl Write) -> Option<()> {
    let message: Value = serde_json::from_str(line).unwrap();
    let (id, params) = (&message["id"], &message["params"]);
    let meta = json!({ ID: id });
    let mut send = |message: Value| writeln!(writer, "{message}").ok();
    match message["method"].as_str().unwrap() {
        "server/discover" => send(json!({ "jsonrpc": "2.0", "id": id,
            "result": crate::stdio::discovered(&everything()) })),
        "subscriptions/listen" => {
            let granted = json!({ "_meta": meta, "notifications": params["notifications"] });
            send(json!({ "jsonrpc": "2.0", "method": ACKNOWLEDGED, "params": granted }))?;
            let uri = &params["notifications"]["resourceSubscriptions"][0];
            let params = json!({ "_meta": meta, "uri": uri });
            send(json!({ "jsonrpc": "2.0", "method": UPDATED, "params": params }))
        }
        _ => Some(()),
    }
}

// SUB-8, SUB-10
#[test]
fn ten_thousand_subscriptions_share_a_pipe() {
    within(Duration::from_secs(120), || {
        let server = over_pipes(|reader, mut writer| {
            for line in reader.lines() {
                listen_on_lines(&line.ok()?, &mut writer)?;
            }
            Some(())
        });
        let client = Client::open(server).unwrap();
        let uri = |number: usize| format!("x:{number}");
        let open = |number| client.subscribe().resource(uri(number)).open().unwrap();
        let subscriptions: Vec<_> = (0..10_000).map(open).collect();
        for (number, mut subscription) in subscriptions.into_iter().enumerate() {
            let update = subscription.next_timeout(FOREVER).unwrap();
            assert_eq!(update, Some(updated(&uri(number))));
            assert_eq!(subscription.try_next().unwrap(), None);
        }
        assert!(!client.close().left_behind);
    });
}
