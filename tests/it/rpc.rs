//! JSON-RPC: what messages look like, which answers count, what is dropped, errors and their
//! codes, notifications.

use std::collections::HashSet;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::memory::Received;
use umcp::{
    CancelToken, Client, ContentBlock, Era, Error, ErrorKind, LoggingLevel, ProtocolVersion,
    Server, Timeouts,
};

use crate::calls::{Wire, all_received, answering, played, said, tools};
use crate::common::{ERAS, FOREVER, example_client, soon};
use crate::era::{self, CALLS, everything, methods, speaking};

/// Whether the message is an answer, to a request of the server's.
fn is_response(message: &Received) -> bool {
    message.method().is_empty()
}

fn request(id: impl Into<Value>, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method })
}

fn response(to: &Received, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": to.id(), "result": result })
}

/// A client of a server that does `first` with one call and answers it then with its name, as it
/// does with all later ones. What it received comes after the client has closed.
fn disturbed(
    era: Era,
    first: impl Fn(&Wire, &Received) + Send + Sync + 'static,
) -> (Client, mpsc::Receiver<Received>) {
    let (server, received) = played(era, everything(), move |wire, call| {
        first(wire, &call);
        let mut next = Some(call);
        while let Some(call) = next {
            if call.method() == "tools/call" {
                wire.reply(&call, said(call.param("/name").as_str()?));
            }
            next = wire.receive();
        }
        None
    });
    (Client::open(server).unwrap(), received)
}

fn call(client: &Client, name: &str) -> String {
    client.call_tool(name, json!({})).unwrap().text()
}

/// The error of a call that is answered with these members beside `jsonrpc` and `id`.
fn error_of(era: Era, members: Value, call: fn(&Client) -> umcp::Result<()>) -> Error {
    let (server, received) = answering(era, everything(), move |wire, request| {
        let mut answer = members.clone();
        answer["jsonrpc"] = "2.0".into();
        answer["id"] = request.id().clone();
        wire.send(answer);
    });
    let client = Client::open(server).unwrap();
    let error = call(&client).unwrap_err();
    let received = all_received(&client, &received);
    assert_eq!(received.len(), 1, "asked more than once: {received:?}");
    error
}

fn rpc_error_of(era: Era, code: i64, data: Value, call: fn(&Client) -> umcp::Result<()>) -> Error {
    error_of(era, json!({ "error": { "code": code, "message": "words", "data": data } }), call)
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

// RPC-1: what this version of umcp does of it; rounds of input and subscriptions are to come.
#[test]
fn requests_get_their_results_in_both_eras() {
    soon(|| {
        for era in ["modern", "legacy"] {
            let client = example_client(era);
            assert!(!client.list_tools().unwrap().is_empty());
            client.ping().unwrap();
            assert!(!client.close().forced);
        }
    });
}

// RPC-2, RPC-3, RPC-11, RPC-20, RPC-21, RPC-22, RPC-23, ERA-48
#[test]
fn whatever_is_sent_is_one_valid_message_without_nulls() {
    soon(|| {
        for version in ProtocolVersion::ALL.iter().copied() {
            let (server, log) = era::server(move |wire| {
                let mut next = wire.open(version);
                while let Some(message) = next {
                    if message.method() == "tools/list" {
                        // So that the client also has something to answer, if it may.
                        wire.send(request(1, "ping"));
                        wire.send(request(2, "roots/list"));
                    }
                    if message.param("/name") != "left" && !message.id().is_null() {
                        wire.reply(&message, era::result(&message));
                    }
                    next = wire.receive();
                }
                None
            });
            let client = Client::open(server.version(version)).unwrap();
            client.set_log_level(LoggingLevel::Debug).unwrap();
            for (_, call) in CALLS {
                call(&client).unwrap();
            }
            client.tool("left").on_progress(|_| ()).start().unwrap().cancel();
            client.close();
            let received = log.all();
            assert!(methods(&received).contains(&"notifications/cancelled"));
            for message in &received {
                let members = message.0.as_object().unwrap_or_else(|| panic!("{message:?}"));
                assert_eq!(members["jsonrpc"], "2.0");
                assert!(!has_null(&message.0), "{message:?}");
                let id = members.get("id");
                if message.method().starts_with("notifications/") {
                    assert_eq!(id, None, "{message:?}");
                } else {
                    assert!(id.unwrap().is_i64(), "{message:?}");
                }
            }
            let call = received.iter().find(|message| message.method() == "tools/call").unwrap();
            assert_eq!(
                (call.param("/name"), call.param("/arguments/text")),
                (&json!("naïve ☃"), &json!("𝄞"))
            );
        }
    });
}

// RPC-4, RPC-5, RPC-6
#[test]
fn an_id_is_never_used_twice() {
    soon(|| {
        for version in ProtocolVersion::ALL.iter().copied() {
            let (server, log) = speaking(version);
            let client = Client::open(server).unwrap();
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| CALLS.map(|(_, call)| call(&client).unwrap()));
                }
            });
            client.close();
            let ids: Vec<u64> =
                log.all().iter().filter_map(|message| message.id().as_u64()).collect();
            assert!(ids.len() > 8 * CALLS.len());
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
            assert!(ids.iter().all(|id| *id <= 1 << 53));
        }
    });
}

// RPC-25
#[test]
fn only_legacy_requests_go_without_params() {
    soon(|| {
        for version in ProtocolVersion::ALL.iter().copied() {
            let (server, log) = speaking(version);
            let client = Client::open(server).unwrap();
            client.ping().unwrap();
            client.list_tools().unwrap();
            client.close();
            let received = log.all();
            for message in &received[received.len() - 2..] {
                let params = message.0.get("params");
                assert_eq!(params.is_some(), version.era() == Era::Modern, "{message:?}");
            }
        }
    });
}

// RPC-7
#[test]
fn a_reply_is_matched_by_the_value_and_type_of_its_id() {
    soon(|| {
        for era in ERAS {
            let (client, _) = disturbed(era, |wire, call| {
                let id = call.id().as_i64().unwrap();
                for other in
                    [json!(id.to_string()), json!(id as f64 + 0.5), json!(-id), json!([id])]
                {
                    wire.send(json!({ "jsonrpc": "2.0", "id": other, "result": said("not mine") }));
                }
            });
            assert_eq!(call(&client, "mine"), "mine");
        }
    });
}

// RPC-8
#[test]
fn a_reply_with_a_result_and_an_error_or_neither_is_none() {
    soon(|| {
        for era in ERAS {
            for members in [
                json!({ "result": said("yes"), "error": { "code": 1, "message": "no" } }),
                json!({}),
            ] {
                let error = error_of(era, members, |client| client.call_tool("x", ()).map(drop));
                assert_eq!(error.kind(), ErrorKind::Protocol);
                assert!(error.rpc().is_none() && error.may_have_run());
            }
        }
    });
}

// RPC-8: nor does it open a session.
#[test]
fn a_handshake_answered_with_both_or_neither_is_a_breach_of_the_protocol() {
    soon(|| {
        for members in [json!({ "result": {}, "error": { "code": 1, "message": "no" } }), json!({})]
        {
            let (server, _log) = era::server(move |wire| {
                let mut answer = members.clone();
                answer["jsonrpc"] = "2.0".into();
                answer["id"] = wire.receive()?.id().clone();
                wire.send(answer);
                wire.serve(wire.receive())
            });
            let error = Client::open(server.era(Era::Legacy)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        }
    });
}

// RPC-8, RPC-41
#[test]
fn code_message_and_data_of_an_error_reach_the_caller() {
    soon(|| {
        for era in ERAS {
            for data in [json!({ "a": [1] }), json!([1, 2]), json!("text"), json!(5), json!(false)]
            {
                let error = rpc_error_of(era, -32050, data.clone(), |client| {
                    client.call_tool("x", ()).map(drop)
                });
                assert_eq!(error.kind(), ErrorKind::Rpc);
                let rpc = error.rpc().unwrap();
                assert_eq!((rpc.code, rpc.message.as_str()), (-32050, "words"));
                assert_eq!(rpc.data_as::<Value>(), Some(data));
            }
            // What is no error object is no result either.
            for odd in [json!("no"), json!({}), json!({ "code": "E1", "message": 5 }), json!([])] {
                let error = error_of(era, json!({ "error": odd }), |client| {
                    client.call_tool("x", ()).map(drop)
                });
                assert_eq!(error.kind(), ErrorKind::Rpc);
            }
        }
    });
}

// RPC-9, RPC-10
#[test]
fn an_error_without_an_id_fails_no_call() {
    soon(|| {
        for era in ERAS {
            let (client, _) = disturbed(era, |wire, _| {
                let error = json!({ "code": -32700, "message": "what?" });
                wire.send(json!({ "jsonrpc": "2.0", "error": error }));
                wire.send(json!({ "jsonrpc": "2.0", "id": null, "error": error }));
            });
            assert_eq!(call(&client, "goes on"), "goes on");
        }
    });
}

// RPC-11, RPC-17
#[test]
fn no_notification_is_answered_or_does_harm() {
    soon(|| {
        for era in ERAS {
            let (client, received) = disturbed(era, |wire, call| {
                for params in [json!({}), json!({ "x": 1 }), json!(5), json!(null), json!([])] {
                    for method in [
                        "x",
                        "ping",
                        "notifications/unknown",
                        "notifications/message",
                        "notifications/progress",
                        "notifications/cancelled",
                        "notifications/tools/list_changed",
                    ] {
                        wire.notify(method, params.clone());
                    }
                }
                // A server cannot cancel what the client asked for, nor end it with progress.
                wire.notify("notifications/cancelled", json!({ "requestId": call.id() }));
                wire.notify("notifications/progress", json!({ "progressToken": call.id() }));
                wire.send_text("no message at all");
                wire.send(json!({ "jsonrpc": "2.0", "method": 5 }));
            });
            assert_eq!(call(&client, "unharmed"), "unharmed");
            assert_eq!(methods(&all_received(&client, &received)), ["tools/call"]);
        }
    });
}

// RPC-12, RPC-14, RPC-22
#[test]
fn a_modern_server_gets_no_response() {
    soon(|| {
        let (client, received) = disturbed(Era::Modern, |wire, _| {
            for method in
                ["ping", "roots/list", "sampling/createMessage", "elicitation/create", "x"]
            {
                wire.send(request(method, method));
                wire.send(json!([request(method, method)]));
            }
        });
        assert_eq!(call(&client, "alone"), "alone");
        assert_eq!(methods(&all_received(&client, &received)), ["tools/call"]);
    });
}

// RPC-12, RPC-14: the server is known to be modern as soon as it has said so, and to a client that
// may be nothing else from the start.
#[test]
fn no_response_escapes_while_a_modern_server_is_being_opened() {
    type Play = fn(&era::Wire, &Received);
    let after: (Option<Era>, Play) = (None, |wire, probe| {
        wire.reply(probe, era::discovered(&["2026-07-28"]));
        wire.send(request("early", "ping"));
    });
    let before: (Option<Era>, Play) = (Some(Era::Modern), |wire, probe| {
        wire.send(request("early", "ping"));
        wire.reply(probe, era::discovered(&["2026-07-28"]));
    });
    soon(move || {
        for (pin, play) in [after, before] {
            // What is a race has many runs to be lost in.
            for _ in 0..50 {
                let (server, log) = era::server(move |wire| {
                    play(wire, &wire.receive()?);
                    wire.serve(wire.receive())
                });
                let server = pin.map_or(server.clone(), |era| server.era(era));
                Client::open(server).unwrap().close();
                assert_eq!(methods(&log.all()), ["server/discover"], "{pin:?}");
            }
        }
    });
}

// RPC-12, RPC-14, ERA-20: also when it says so only after `initialize` has been sent.
#[test]
fn no_response_escapes_after_a_late_discover_result() {
    soon(|| {
        for _ in 0..20 {
            let (server, log) = era::server(|wire| {
                let (probe, _initialize) = (wire.receive()?, wire.receive()?);
                wire.reply(&probe, era::discovered(&["2026-07-28"]));
                wire.send(request("early", "ping"));
                wire.serve(wire.receive())
            });
            let impatient = Timeouts::default().patience(Duration::from_millis(5));
            Client::open(server.timeouts(impatient)).unwrap().close();
            assert_eq!(methods(&log.all()), ["server/discover", "initialize"]);
        }
    });
}

// RPC-15
#[test]
fn a_legacy_server_gets_one_answer_to_every_ping_under_its_id() {
    soon(|| {
        let ids = [
            json!(0),
            json!(1),
            json!("1"),
            json!(-7),
            json!(9_007_199_254_740_991_i64),
            json!(""),
            json!("é\n\"☃"),
        ];
        let pings = ids.clone();
        // While a call is in flight, whose own id is among these.
        let (client, received) = disturbed(Era::Legacy, move |wire, call| {
            for id in pings.iter().chain([call.id()]) {
                wire.send(request(id.clone(), "ping"));
            }
        });
        assert_eq!(call(&client, "not held up"), "not held up");
        let received = all_received(&client, &received);
        let call = received[0].id().clone();
        let answers: Vec<_> = received[1..].iter().map(|message| message.0.clone()).collect();
        let expected = ids
            .into_iter()
            .chain([call])
            .map(|id| json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
        assert_eq!(answers, expected.collect::<Vec<_>>());
    });
}

// RPC-15: until the era is known, nobody can tell whether an answer is due.
#[test]
fn what_a_legacy_server_asks_during_the_probe_is_answered_too() {
    soon(|| {
        let (server, log) = era::server(|wire| {
            let probe = wire.receive()?;
            wire.send(request("first", "ping"));
            wire.send(request("second", "x"));
            wire.reply_error(&probe, -32601, "no such method", None);
            wire.serve(wire.open(ProtocolVersion::V2025_11_25))
        });
        Client::open(server).unwrap().close();
        let answers: Vec<_> = log.all().into_iter().filter(is_response).collect();
        assert_eq!(answers.iter().map(Received::id).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(answers[0].0["result"], json!({}));
        assert_eq!(answers[1].0["error"]["code"], -32601);
    });
}

// RPC-15
#[test]
fn pings_from_many_at_once_are_all_answered() {
    soon(|| {
        let (client, received) = disturbed(Era::Legacy, |wire, _| {
            thread::scope(|scope| {
                for thread in 0..8 {
                    scope.spawn(move || {
                        for number in 0..50 {
                            wire.send(request(format!("{thread}.{number}"), "ping"));
                        }
                    });
                }
            });
        });
        assert_eq!(call(&client, "not held up"), "not held up");
        let received = all_received(&client, &received);
        let ids: HashSet<_> =
            received.iter().filter(|m| is_response(m)).map(|m| m.id().to_string()).collect();
        assert_eq!((received.len(), ids.len()), (1 + 400, 400));
    });
}

// RPC-15, RPC-16, RPC-38, RPC-44
#[test]
fn what_a_legacy_server_may_not_ask_is_refused_with_a_standard_code() {
    soon(|| {
        let methods = ["roots/list", "sampling/createMessage", "tasks/get", "tools/call", "x", ""];
        let (client, received) = disturbed(Era::Legacy, move |wire, _| {
            for method in methods {
                wire.send(request(method, method));
            }
        });
        call(&client, "x");
        let received = all_received(&client, &received);
        for (method, answer) in methods.iter().zip(&received[1..]) {
            assert!(is_response(answer));
            assert_eq!(answer.id(), method);
            assert_eq!(answer.0["error"]["code"], -32601);
            assert!(answer.0["error"]["message"].is_string() && answer.0.get("result").is_none());
        }
        assert_eq!(received.len(), 1 + methods.len());
    });
}

// RPC-18
#[test]
fn unknown_and_double_replies_are_dropped() {
    soon(|| {
        for era in ERAS {
            let (client, received) = disturbed(era, |wire, call| {
                wire.send(json!({ "jsonrpc": "2.0", "id": 999_999, "result": said("nobody's") }));
                wire.send(
                    json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": 1, "message": "" } }),
                );
                wire.reply(call, said("first"));
                wire.reply_error(call, 1, "second", None);
                // And a third by `disturbed`.
            });
            assert_eq!(call(&client, "third"), "first");
            assert_eq!(call(&client, "next"), "next");
            assert_eq!(all_received(&client, &received).len(), 2);
        }
    });
}

// RPC-18
#[test]
fn a_reply_that_comes_too_late_is_dropped() {
    soon(|| {
        for era in ERAS {
            let (client, _) = disturbed(era, |wire, call| {
                // Once the client has given up, it says so.
                wire.receive();
                wire.reply(call, said("late"));
            });
            let short = Duration::from_millis(20);
            assert!(client.tool("slow").timeout(short).call().unwrap_err().is_timeout());
            assert_eq!(call(&client, "next"), "next");
        }
    });
}

// RPC-19, RPC-22
#[test]
fn a_legacy_batch_is_taken_message_by_message() {
    soon(|| {
        for version in ProtocolVersion::ALL.iter().filter(|version| version.era() == Era::Legacy) {
            let (server, received) = played(Era::Legacy, everything(), |wire, first| {
                let second = wire.receive()?;
                let log = json!({ "level": "info", "data": "heard" });
                wire.send(json!([]));
                wire.send(json!([
                    request("a", "ping"),
                    { "jsonrpc": "2.0", "method": "notifications/message", "params": log },
                    5,
                    [response(&first, said("nested"))],
                    request("b", "x"),
                    response(&second, said("two")),
                    response(&first, said("one")),
                ]));
                Some(())
            });
            let (heard, hear) = mpsc::channel();
            let client = Client::builder()
                .on_notification(move |notification, _| {
                    heard.send(notification.log_message().unwrap().data).unwrap();
                })
                .open(server.version(*version))
                .unwrap();
            let calls = ["first", "second"].map(|name| client.tool(name).start().unwrap());
            assert_eq!(calls.map(|call| call.wait().unwrap().text()), ["one", "two"]);
            assert_eq!(hear.recv().unwrap(), "heard");
            let received = all_received(&client, &received);
            let answers: Vec<_> = received[2..].iter().map(|m| m.id()).collect();
            assert_eq!(answers, ["a", "b"], "{version}");
            assert!(received.iter().all(|message| message.0.is_object()));
        }
    });
}

// RPC-22
#[test]
fn a_modern_batch_is_dropped() {
    soon(|| {
        let (client, _) = disturbed(Era::Modern, |wire, call| {
            wire.send(json!([]));
            wire.send(json!([response(call, said("in a batch"))]));
        });
        assert_eq!(call(&client, "alone"), "alone");
    });
}

// RPC-23, RPC-24
#[test]
fn only_an_absent_or_null_cursor_ends_a_list() {
    soon(|| {
        for era in ERAS {
            for end in [json!({ "tools": [] }), json!({ "tools": [], "nextCursor": null })] {
                let (server, received) =
                    answering(era, tools(), move |wire, request| {
                        match request.0["params"].get("cursor").and_then(Value::as_str) {
                            None => wire.reply(
                                request,
                                json!({ "tools": [{ "name": "a" }], "nextCursor": "" }),
                            ),
                            Some("") => wire.reply(
                                request,
                                json!({ "tools": [{ "name": "b" }], "nextCursor": "2" }),
                            ),
                            Some(_) => wire.reply(request, end.clone()),
                        }
                    });
                let client = Client::open(server).unwrap();
                let names: Vec<_> =
                    client.list_tools().unwrap().into_iter().map(|t| t.name).collect();
                assert_eq!(names, ["a", "b"]);
                let received = all_received(&client, &received);
                let cursors: Vec<_> = received.iter().map(|m| m.param("/cursor").clone()).collect();
                assert_eq!(cursors, [Value::Null, json!(""), json!("2")]);
            }
        }
    });
}

// RPC-23, RPC-26, RPC-27, RPC-28
#[test]
fn what_is_unknown_or_null_in_an_answer_is_no_obstacle() {
    // With keywords and a layout of its own, and numbers that a float would change.
    const SCHEMA: &str = r##"{"$schema": "x", "type":"object", "$defs":{"z":{"$anchor":"q"}},
        "x-vendor":[1.50, 12345678901234567890], "allOf":[{"$ref":"#q"}]}"##;
    soon(|| {
        for era in ERAS {
            let capabilities = json!({ "tools": { "x": 1 }, "x-area": { "y": 2 } });
            let (server, _) = answering(era, capabilities, |wire, request| {
                let id = request.id();
                let result = match request.method() {
                    "tools/list" => format!(
                        r#"{{"tools":[{{"name":"t","title":null,"annotations":null,"icons":null,
                        "_meta":null,"x-tool":3,"inputSchema":{SCHEMA},"outputSchema":{SCHEMA}}}],
                        "nextCursor":null,"x-result":4}}"#
                    ),
                    _ => r#"{"content":[{"type":"x-block","z":5},
                        {"type":"text","text":"known","annotations":null}],
                        "isError":null,"_meta":null,"x-result":6}"#
                        .to_owned(),
                };
                wire.send_text(format!(
                    r#"{{"x-message":1,"jsonrpc":"2.0","id":{id},"result":{result}}}"#
                ));
            });
            let client = Client::open(server).unwrap();
            assert_eq!(client.capabilities().extra["x-area"], json!({ "y": 2 }));
            let tools = client.list_tools().unwrap();
            let [tool] = &tools[..] else { panic!("{tools:?}") };
            assert_eq!(tool.input_schema.get(), SCHEMA);
            assert_eq!(tool.output_schema.as_ref().unwrap().get(), SCHEMA);
            assert_eq!(tool.extra["x-tool"], 3);
            assert!(tool.title.is_none() && tool.annotations.is_none() && tool.icons.is_empty());
            let result = client.call_tool("t", json!({})).unwrap();
            assert!(!result.is_error && result.structured_content.is_none());
            assert_eq!(result.extra["x-result"], 6);
            let ContentBlock::Other(block) = &result.content[0] else { panic!("{result:?}") };
            assert_eq!(Value::from(block.clone()), json!({ "type": "x-block", "z": 5 }));
            assert_eq!(result.text(), "known");
        }
    });
}

/// What comes of each of [`CALLS`] when its result has this `resultType`.
fn outcomes(era: Era, result_type: Option<Value>) -> Vec<(&'static str, Result<(), ErrorKind>)> {
    let (server, received) = answering(era, everything(), move |wire, request| {
        let mut result = era::result(request);
        if let Some(result_type) = &result_type {
            result["resultType"] = result_type.clone();
        }
        wire.reply(request, result);
    });
    let client = Client::open(server).unwrap();
    let of = |(method, call): era::Call| (method, call(&client).map_err(|error| error.kind()));
    let outcomes = CALLS.into_iter().map(of).collect();
    for request in all_received(&client, &received) {
        // Nothing is offered that would add to the set.
        let capabilities = request.param("/_meta/io.modelcontextprotocol~1clientCapabilities");
        assert!(era == Era::Legacy || capabilities == &json!({}), "{request:?}");
    }
    outcomes
}

// RPC-30, RPC-31
#[test]
fn an_absent_result_type_means_complete() {
    soon(|| {
        for result_type in [None, Some(json!("complete"))] {
            for (method, outcome) in outcomes(Era::Modern, result_type.clone()) {
                assert_eq!(outcome, Ok(()), "{method} {result_type:?}");
            }
        }
    });
}

// RPC-32, RPC-33, RPC-35
#[test]
fn a_result_type_that_was_not_offered_fails_the_call() {
    soon(|| {
        for result_type in
            [json!("task"), json!("surprise"), json!(""), json!("Complete"), json!(7)]
        {
            for (method, outcome) in outcomes(Era::Modern, Some(result_type.clone())) {
                assert_eq!(outcome, Err(ErrorKind::Protocol), "{method} {result_type}");
            }
        }
    });
}

// RPC-32: nor is what comes instead of a complete `DiscoverResult` one.
#[test]
fn a_discover_result_of_another_type_opens_nothing() {
    soon(|| {
        for result_type in ["input_required", "surprise"] {
            let (server, _log) = era::server(move |wire| {
                loop {
                    let request = wire.receive()?;
                    let mut answer = era::discovered(&["2026-07-28"]);
                    answer["resultType"] = result_type.into();
                    match request.method() {
                        "server/discover" => wire.reply(&request, answer),
                        _ => wire.reply_error(&request, -32601, "no such method", None),
                    }
                }
            });
            assert!(Client::open(server).is_err(), "{result_type}");
        }
    });
}

// RPC-36
#[test]
fn a_result_type_means_nothing_in_a_legacy_session() {
    soon(|| {
        for result_type in [json!("input_required"), json!("task"), json!("surprise")] {
            for (method, outcome) in outcomes(Era::Legacy, Some(result_type.clone())) {
                assert_eq!(outcome, Ok(()), "{method} {result_type}");
            }
        }
    });
}

// RPC-37
#[test]
fn codes_without_a_fixed_meaning_are_only_reported() {
    soon(|| {
        let data = json!({ "supported": ["2026-07-28"], "uri": "file:///a" });
        for era in ERAS {
            for code in (-32019..=-32000).filter(|code| *code != -32002) {
                let error = rpc_error_of(era, code, data.clone(), |client| {
                    client.read_resource("file:///a").map(drop)
                });
                assert_eq!((error.kind(), error.rpc().unwrap().code), (ErrorKind::Rpc, code));
                assert!(!error.is_not_found() && !error.is_timeout() && !error.is_cancelled());
            }
        }
    });
}

// RPC-40, RPC-41
#[test]
fn only_a_resource_can_be_not_found() {
    soon(|| {
        let read: fn(&Client) -> umcp::Result<()> =
            |client| client.read_resource("file:///a").map(drop);
        let call: fn(&Client) -> umcp::Result<()> = |client| client.call_tool("x", ()).map(drop);
        for era in ERAS {
            for (code, what, expected) in [
                (-32602, read, true),
                (-32002, read, true),
                (-32603, read, false),
                (-32601, read, false),
                (0, read, false),
                (-32602, call, false),
                (-32002, call, false),
            ] {
                let error = rpc_error_of(era, code, json!({ "uri": "file:///a" }), what);
                assert_eq!(error.is_not_found(), expected, "{code}");
                assert_eq!(error.rpc().unwrap().code, code);
                assert_eq!(error.rpc().unwrap().data_as::<Value>().unwrap()["uri"], "file:///a");
            }
        }
    });
}

// RPC-42
#[test]
fn local_failures_are_told_apart_from_the_server_s_errors() {
    soon(|| {
        let token = CancelToken::new();
        token.cancel();
        let (server, _) = answering(Era::Legacy, tools(), |wire, request| {
            match request.param("/name").as_str() {
                Some("refused") => wire.reply_error(request, -32603, "timed out", None),
                Some("odd") => wire.reply(request, json!({ "content": 5 })),
                Some("dies") => panic!("on purpose"),
                _ => {}
            }
        });
        let client = Client::open(server.clone()).unwrap();
        let closed = Client::open(server).unwrap();
        closed.close();
        let tool = |name| client.tool(name).timeout(FOREVER);
        let failures = [
            (ErrorKind::Rpc, tool("refused").call()),
            (ErrorKind::Timeout, tool("silent").timeout(Duration::from_millis(20)).call()),
            (ErrorKind::Cancelled, tool("silent").cancel_token(&token).call()),
            (ErrorKind::InvalidInput, tool("silent").args(5).call()),
            (ErrorKind::Protocol, tool("odd").call()),
            (ErrorKind::Closed, closed.tool("any").call()),
            (ErrorKind::Disconnected, tool("dies").call()),
        ];
        for (kind, result) in failures {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.rpc().is_some(), kind == ErrorKind::Rpc, "{error}");
        }
        let error = client.read_resource("file:///a").unwrap_err();
        assert_eq!((error.kind(), error.rpc().is_some()), (ErrorKind::Unsupported, false));
    });
}

// RPC-4, RPC-7
#[test]
fn calls_from_many_threads_each_get_their_own_reply() {
    const CALLS: usize = 64;
    soon(|| {
        for era in ERAS {
            let (server, _) = played(era, tools(), |wire, first| {
                let mut calls = vec![first];
                while calls.len() < CALLS {
                    calls.push(wire.receive()?);
                }
                for call in calls.iter().rev() {
                    wire.reply(call, said(call.param("/name").as_str()?));
                }
                Some(())
            });
            let client = Client::open(server).unwrap();
            thread::scope(|scope| {
                for number in 0..CALLS {
                    let client = client.clone();
                    scope.spawn(move || {
                        let name = format!("call {number}");
                        assert_eq!(call(&client, &name), name);
                    });
                }
            });
        }
    });
}

/// A server that sends these many numbered notifications at the first call and answers it.
fn counting(era: Era, count: usize) -> Server {
    let (server, _) = answering(era, tools(), move |wire, call| {
        if call.param("/name") == "count" {
            for number in 0..count {
                wire.notify("notifications/x", json!({ "number": number }));
            }
        }
        wire.reply(call, said("done"));
    });
    server
}

// RPC-17
#[test]
fn notifications_reach_the_listener_in_their_order() {
    const COUNT: usize = 1000;
    soon(|| {
        for era in ERAS {
            let (heard, hear) = mpsc::channel();
            let client = Client::builder()
                .on_notification(move |notification, _| {
                    assert_eq!(notification.method(), "notifications/x");
                    heard.send(notification.parse::<Value>().unwrap()["number"].clone()).unwrap();
                })
                .open(counting(era, COUNT))
                .unwrap();
            call(&client, "count");
            for number in 0..COUNT {
                assert_eq!(hear.recv().unwrap(), number);
            }
        }
    });
}

#[test]
fn a_listener_may_call_the_client() {
    soon(|| {
        for era in ERAS {
            let (heard, hear) = mpsc::channel();
            let client = Client::builder()
                .on_notification(move |_, context| {
                    heard.send(call(context.client(), "from the listener")).unwrap();
                })
                .open(counting(era, 3))
                .unwrap();
            call(&client, "count");
            for _ in 0..3 {
                assert_eq!(hear.recv().unwrap(), "done");
            }
        }
    });
}

#[test]
fn a_listener_may_drop_the_last_client() {
    soon(|| {
        for era in ERAS {
            let only: Arc<Mutex<Option<Client>>> = Arc::default();
            let held = only.clone();
            let (stored, is_stored) = mpsc::channel::<()>();
            let is_stored = Mutex::new(is_stored);
            // Lives as long as the listener, and so as the thread it runs on.
            let (alive, gone) = mpsc::channel::<()>();
            let client = Client::builder()
                .on_notification(move |_, _| {
                    let _alive = &alive;
                    is_stored.lock().unwrap().recv().unwrap();
                    drop(held.lock().unwrap().take());
                })
                // Whoever waits for itself waits this long.
                .open(counting(era, 1).timeouts(Timeouts::default().close_grace(FOREVER)))
                .unwrap();
            call(&client, "count");
            *only.lock().unwrap() = Some(client);
            stored.send(()).unwrap();
            assert_eq!(gone.recv(), Err(mpsc::RecvError));
        }
    });
}

// RPC-15: whoever reads does not wait for the program.
#[test]
fn a_listener_that_takes_its_time_holds_up_no_reply() {
    soon(|| {
        let (let_go, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let client = Client::builder()
            .on_notification(move |_, _| while held.lock().unwrap().recv().is_ok() {})
            .open(counting(Era::Legacy, 5))
            .unwrap();
        assert_eq!(call(&client, "count"), "done");
        assert_eq!(call(&client, "next"), "done");
        drop(let_go);
    });
}
