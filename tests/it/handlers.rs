//! What a program declares and answers when a server asks: requests of legacy servers, and what both
//! eras have in common. The rounds of the modern era stand in `input_rounds`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use umcp::memory::{Peer, Received};
use umcp::protocol::{
    CreateMessageResult, ElicitAction, ElicitResult, InputRequest, ListRootsResult, Root,
};
use umcp::{
    Client, ClientBuilder, Era, ErrorKind, Limits, ProtocolVersion, SamplingRefusal, Server,
    Timeouts, protocol,
};

use crate::calls::{all_received, answering, played, said, tools};
use crate::common::{ERAS, FOREVER, HALF, SHORT, example_server, over_pipes, soon};
use crate::era::speaking;
use crate::input_rounds::{asks, form, handling, named, roots, sample};

/// A request of a legacy server's.
pub fn request(id: impl Into<Value>, question: &Value) -> Value {
    let mut request = question.clone();
    request["jsonrpc"] = json!("2.0");
    request["id"] = id.into();
    request
}

fn url(url: &str) -> Value {
    let params = json!({ "mode": "url", "message": "Sign in", "url": url, "elicitationId": "e" });
    json!({ "method": "elicitation/create", "params": params })
}

fn with(mut question: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    question.pointer_mut(parent).unwrap()[key] = value;
    question
}

/// What a legacy server gets for each of its questions, which it asks one after the other.
fn answers_to(builder: ClientBuilder, questions: Vec<Value>) -> Vec<Value> {
    let (server, _received) = played(Era::Legacy, tools(), move |wire, call| {
        let mut answers = Vec::new();
        for question in &questions {
            wire.send(request("q", question));
            let mut answer = wire.receive()?.0;
            assert_eq!(answer["id"], "q");
            answers.push(
                answer
                    .as_object_mut()
                    .unwrap()
                    .remove("result")
                    .unwrap_or_else(|| json!({ "code": answer["error"]["code"] })),
            );
        }
        wire.reply(&call, said(json!(answers).to_string()));
        Some(())
    });
    let client = builder.open(server).unwrap();
    let answers = client.call_tool("x", json!({})).unwrap().text();
    serde_json::from_str(&answers).unwrap()
}

fn answer_to(builder: ClientBuilder, question: Value) -> Value {
    answers_to(builder, vec![question]).remove(0)
}

// ROOT-1, SAMP-1, ELIC-1, ELIC-2, META-4
#[test]
fn what_is_handled_is_declared_and_never_more() {
    soon(|| {
        type Case = (fn() -> ClientBuilder, Value);
        let cases: [Case; 9] = [
            (Client::builder, json!({})),
            (
                || Client::builder().on_elicitation(|_, _| named("Ada")),
                json!({ "elicitation": { "form": {} } }),
            ),
            (
                || Client::builder().on_url_elicitation(|_, _| ElicitResult::decline()),
                json!({ "elicitation": { "url": {} } }),
            ),
            (
                || {
                    let builder = Client::builder().on_elicitation(|_, _| named("Ada"));
                    builder.on_url_elicitation(|_, _| ElicitResult::decline())
                },
                json!({ "elicitation": { "form": {}, "url": {} } }),
            ),
            (
                || Client::builder().on_sampling(|_, _| Err(SamplingRefusal::declined())),
                json!({ "sampling": {} }),
            ),
            (
                || {
                    Client::builder()
                        .on_sampling_with_tools(|_, _| Err(SamplingRefusal::declined()))
                },
                json!({ "sampling": { "tools": {} } }),
            ),
            (
                || {
                    let with_tools = Client::builder()
                        .on_sampling_with_tools(|_, _| Err(SamplingRefusal::declined()));
                    with_tools.on_sampling(|_, _| Err(SamplingRefusal::declined()))
                },
                json!({ "sampling": {} }),
            ),
            (
                || Client::builder().root(Root::new("file:///here")),
                json!({ "roots": { "listChanged": true } }),
            ),
            // An empty list is one, too.
            (|| Client::builder().roots([]), json!({ "roots": { "listChanged": true } })),
        ];
        for (builder, expected) in cases {
            let declared = Arc::new(Mutex::new(Vec::new()));
            let sees = declared.clone();
            let server = Server::in_memory(move |peer| {
                while let Some(message) = peer.receive() {
                    if message.method() == "initialize" {
                        sees.lock().unwrap().push(message.param("/capabilities").clone());
                    }
                    peer.reply(
                        &message,
                        json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                        "serverInfo": { "name": "n", "version": "1" } }),
                    );
                }
            });
            builder().open(server.era(Era::Legacy)).unwrap().close();
            assert_eq!(declared.lock().unwrap().as_slice(), std::slice::from_ref(&expected));

            let (server, received) = speaking(ProtocolVersion::V2026_07_28);
            let client = builder().open(server).unwrap();
            client.list_tools().map(drop).unwrap();
            client.call_tool("x", json!({})).map(drop).unwrap();
            client.request("example/x", json!({})).call().map(drop).unwrap();
            client.ping().unwrap();
            client.tool("x").headless().call().map(drop).unwrap();
            client.close();
            let of = |request: &Received| {
                request.param("/_meta/io.modelcontextprotocol~1clientCapabilities").clone()
            };
            let mut expected = expected;
            if expected["roots"].is_object() {
                expected["roots"] = json!({});
            }
            let received = received.all();
            let (headless, others) = received.split_last().unwrap();
            assert_eq!(others.len(), 5);
            assert!(others.iter().all(|request| of(request) == expected), "{expected}");
            assert_eq!(of(headless), json!({}));
        }
    });
}

// ELIC-3, ELIC-6, ELIC-7, ELIC-9, ELIC-10, SAMP-11, SAMP-12, ROOT-1, RPC-15
#[test]
fn a_legacy_server_s_questions_are_answered() {
    soon(|| {
        let builder = handling().on_elicitation(|form, context| {
            assert_eq!(form.message, "Who are you?");
            assert!(!context.client().server_name().is_empty());
            assert!(!context.is_cancelled());
            named("Ada")
        });
        let fields = json!({ "name": { "type": "string" },
            "age": { "type": "integer", "default": 36 },
            "likes": { "type": "array", "items": { "type": "string", "enum": ["a", "b"] }, "default": ["b"] } });
        let asked = with(form(), "/params/requestedSchema/properties", fields);
        let text = json!({ "type": "text", "text": "hi" });
        assert_eq!(
            answers_to(
                builder,
                vec![
                    form(),
                    asked.clone(),
                    with(asked, "/params/mode", json!("form")),
                    sample(),
                    roots()
                ]
            ),
            [
                json!({ "action": "accept", "content": { "name": "Ada" } }),
                json!({ "action": "accept", "content": { "name": "Ada", "age": 36, "likes": ["b"] } }),
                json!({ "action": "accept", "content": { "name": "Ada", "age": 36, "likes": ["b"] } }),
                json!({ "role": "assistant", "model": "model", "content": text }),
                json!({ "roots": [{ "uri": "file:///here" }] }),
            ]
        );
        let says = |answer: ElicitResult| {
            answer_to(Client::builder().on_elicitation(move |_, _| answer.clone()), form())
        };
        assert_eq!(says(ElicitResult::decline()), json!({ "action": "decline" }));
        assert_eq!(says(ElicitResult::cancel()), json!({ "action": "cancel" }));
        let mut hesitant = named("Ada");
        hesitant.action = ElicitAction::Decline;
        assert_eq!(says(hesitant), json!({ "action": "decline" }));
    });
}

// ELIC-4, SAMP-2, SAMP-8, SAMP-9, SAMP-13, ROOT-4, ELIC-8
#[test]
fn what_cannot_be_answered_is_refused_with_the_code_for_it() {
    soon(|| {
        let code = |builder: ClientBuilder, question: Value| {
            let answer = answer_to(builder, question.clone());
            answer["code"].as_i64().unwrap_or_else(|| panic!("{question}: {answer}"))
        };
        let forms = || Client::builder().on_elicitation(|_, _| named("Ada"));
        let urls = || Client::builder().on_url_elicitation(|_, _| ElicitResult::accept_url());
        let model =
            || Client::builder().on_sampling(|_, _| Ok(CreateMessageResult::text("m", "hi")));
        // There is nobody for the method.
        assert_eq!(code(Client::builder(), form()), -32601);
        assert_eq!(code(forms(), sample()), -32601);
        assert_eq!(code(forms(), roots()), -32601);
        assert_eq!(code(forms(), json!({ "method": "example/x" })), -32601);
        // There is somebody, and not for that.
        assert_eq!(code(forms(), url("https://x.test/")), -32602);
        assert_eq!(code(urls(), form()), -32602);
        assert_eq!(code(forms(), with(form(), "/params/mode", json!("voice"))), -32602);
        for (key, value) in [("tools", json!([])), ("toolChoice", json!({ "mode": "none" }))] {
            let question = with(sample(), &format!("/params/{key}"), value);
            assert_eq!(code(model(), question.clone()), -32602);
            let with_tools = Client::builder()
                .on_sampling_with_tools(|_, _| Ok(CreateMessageResult::text("m", "hi")));
            assert_eq!(answer_to(with_tools, question)["model"], "m");
        }
        // What is asked is malformed.
        assert_eq!(code(forms(), json!({ "method": "elicitation/create" })), -32602);
        assert_eq!(code(forms(), with(form(), "/params/message", json!(1))), -32602);
        let result = json!({ "type": "tool_result", "toolUseId": "1", "content": [] });
        let text = json!({ "type": "text", "text": "t" });
        for content in [json!([result, text]), json!([result])] {
            let question =
                with(sample(), "/params/messages", json!([{ "role": "user", "content": content }]));
            assert_eq!(code(model(), question), -32602);
        }
        // The handler does not answer.
        let declines = Client::builder().on_sampling(|_, _| Err(SamplingRefusal::declined()));
        assert_eq!(code(declines, sample()), -1);
        let fails = Client::builder().on_sampling(|_, _| Err(SamplingRefusal::failed("no")));
        assert_eq!(code(fails, sample()), -32603);
        let panics = Client::builder().on_elicitation(|_, _| panic!("on purpose"));
        assert_eq!(code(panics, form()), -32603);
        let wrong = |content: Value| {
            let content: Map<_, _> = content.as_object().unwrap().clone();
            let builder =
                Client::builder().on_elicitation(move |_, _| ElicitResult::accept(content.clone()));
            code(builder, with(form(), "/params/requestedSchema/required", json!(["name"])))
        };
        assert_eq!(wrong(json!({})), -32603);
        assert_eq!(wrong(json!({ "name": 1 })), -32603);
        assert_eq!(wrong(json!({ "name": "Ada", "more": 1 })), -32603);
    });
}

// ELIC-11, ELIC-12, SEC-17, SEC-8
#[test]
fn only_a_url_of_https_or_of_this_machine_reaches_the_handler() {
    soon(|| {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let sees = shown.clone();
        let builder = || {
            let sees = sees.clone();
            Client::builder().on_url_elicitation(move |question, _| {
                sees.lock().unwrap().push(question.host().unwrap().to_owned());
                // There is no content in this mode.
                let mut answer = named("Ada");
                answer.action = ElicitAction::Accept;
                answer
            })
        };
        let urls = [
            ("https://example.com:8443/x?y#z", true),
            ("HTTPS://Example.com/", true),
            ("http://localhost:1/", true),
            ("http://127.0.0.1/", true),
            ("http://[::1]:80/", true),
            ("http://example.com/", false),
            ("http://localhost.example.com/", false),
            ("https://user@example.com/", false),
            ("https://ex\u{430}mple.com/", false),
            ("https://a.com\\@b.com/", true),
            ("https://", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            (" https://example.com/", false),
            ("", false),
        ];
        let sent = urls.iter().map(|(it, _)| url(it)).collect();
        let answers = answers_to(builder(), sent);
        for ((url, is_fine), answer) in urls.iter().zip(answers) {
            let action = if *is_fine { "accept" } else { "decline" };
            assert_eq!(answer, json!({ "action": action }), "{url}");
        }
        let count = urls.iter().filter(|(_, is_fine)| *is_fine).count();
        assert_eq!(shown.lock().unwrap().len(), count);
        assert_eq!(shown.lock().unwrap()[0], "example.com:8443");
        // The modern era is no other.
        let round = json!({ "a": url("https://example.com/"), "b": url("http://example.com/") });
        let (server, received) =
            answering(Era::Modern, tools(), move |wire, request| {
                match request.param("/inputResponses").is_null() {
                    true => wire.reply(request, asks(round.clone(), None)),
                    false => wire.reply(request, said("done")),
                }
            });
        let client = builder().open(server).unwrap();
        client.call_tool("x", json!({})).map(drop).unwrap();
        let received = all_received(&client, &received);
        let expected = json!({ "a": { "action": "accept" }, "b": { "action": "decline" } });
        assert_eq!(received[1].param("/inputResponses"), &expected);
    });
}

// ELIC-13, ELIC-15
#[test]
fn what_an_error_wants_visited_first_is_asked_for() {
    soon(|| {
        let visited = Arc::new(AtomicUsize::new(0));
        let visit = |era| {
            let data = {
                let mut all: Vec<_> = (0..1000)
                    .map(|number| url(&format!("https://example.com/{number}"))["params"].take())
                    .collect();
                all.insert(0, form()["params"].take());
                all.insert(0, url("http://example.com/")["params"].take());
                json!({ "elicitations": all })
            };
            let (server, received) = answering(era, tools(), move |wire, request| {
                wire.reply_error(request, -32042, "sign in first", Some(data.clone()));
            });
            let counts = visited.clone();
            let builder = Client::builder().on_url_elicitation(move |_, context| {
                assert!(!context.is_cancelled());
                counts.fetch_add(1, Ordering::Relaxed);
                ElicitResult::accept_url()
            });
            (builder.open(server.limits(Limits::default().handlers(6))).unwrap(), received)
        };
        let (client, received) = visit(Era::Legacy);
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!(error.rpc().unwrap().code, -32042);
        // Without the form, without what is not to be visited, and not without end.
        assert_eq!(visited.swap(0, Ordering::Relaxed), 4);
        let error = client.tool("x").headless().call().unwrap_err();
        assert_eq!(error.rpc().unwrap().code, -32042);
        assert_eq!(visited.swap(0, Ordering::Relaxed), 0);
        // The call is not made again by itself.
        assert_eq!(all_received(&client, &received).len(), 2);
        // The modern era has another way.
        let (client, _received) = visit(Era::Modern);
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!(error.rpc().unwrap().code, -32042);
        assert_eq!(visited.load(Ordering::Relaxed), 0);
    });
}

// ROOT-1, ROOT-3
#[test]
fn a_legacy_server_is_told_of_other_roots_and_a_modern_one_asks() {
    soon(|| {
        let (server, received) = answering(Era::Legacy, tools(), |wire, message| {
            if message.method() == "notifications/roots/list_changed" {
                wire.send(request(7, &roots()));
            }
            if message.method() == "tools/call" {
                wire.reply(message, said("done"));
            }
        });
        let client = Client::builder().root(Root::new("file:///a")).open(server).unwrap();
        let mut second = Root::new("file:///b");
        second.name = Some("b".to_owned());
        client.set_roots([Root::new("file:///a"), second]).unwrap();
        let changed = received.recv().unwrap();
        assert_eq!(
            changed.0,
            json!({ "jsonrpc": "2.0", "method": "notifications/roots/list_changed" })
        );
        let both = json!([{ "uri": "file:///a" }, { "uri": "file:///b", "name": "b" }]);
        assert_eq!(received.recv().unwrap().0["result"], json!({ "roots": both }));
        client.set_roots([]).unwrap();
        assert_eq!(received.recv().unwrap().method(), "notifications/roots/list_changed");
        assert_eq!(received.recv().unwrap().0["result"], json!({ "roots": [] }));

        let (server, received) = answering(Era::Modern, tools(), |wire, message| {
            match message.param("/inputResponses").is_null() {
                true => wire.reply(message, asks(json!({ "k": roots() }), None)),
                false => wire.reply(message, said("done")),
            }
        });
        let client = Client::builder().roots([]).open(server).unwrap();
        client.set_roots([Root::new("file:///c")]).unwrap();
        client.call_tool("x", json!({})).map(drop).unwrap();
        let received = all_received(&client, &received);
        assert_eq!(received.len(), 2);
        let answer = received[1].param("/inputResponses/k");
        assert_eq!(answer, &json!({ "roots": [{ "uri": "file:///c" }] }));
    });
}

// ROOT-2, ROOT-5
#[test]
fn a_root_is_a_file_uri_that_leads_nowhere_else() {
    soon(|| {
        for wrong in ["", "/tmp", "https://x.test/", "file:/a", "file:///a/../b", "file:///.."] {
            let (server, received) = answering(Era::Modern, tools(), |_, _| ());
            let error = Client::builder().root(Root::new(wrong)).open(server).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}");
            assert!(received.try_recv().is_err());
            let (server, _received) = answering(Era::Modern, tools(), |_, _| ());
            let client = Client::builder().root(Root::new("FILE:///a")).open(server).unwrap();
            let error = client.set_roots([Root::new(wrong)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}");
        }
        let (server, _received) = answering(Era::Modern, tools(), |_, _| ());
        let client = Client::open(server).unwrap();
        let error = client.set_roots([Root::new("file:///a")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        #[cfg(unix)]
        assert!(Root::path("/a/../b").is_err() && Root::path("/a..b/...").is_ok());
    });
}

/// A handler that tells when it begins, and returns when it is let go.
fn held() -> (ClientBuilder, Receiver<()>, mpsc::Sender<()>) {
    let (begins, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let builder = Client::builder().on_elicitation(move |_, _| {
        let _ = begins.send(());
        let _ = released.lock().unwrap().recv();
        named("Ada")
    });
    (builder, begun, release)
}

// CANCEL-10
#[test]
fn what_the_server_cancels_is_not_answered() {
    soon(|| {
        let (begins, begun) = mpsc::channel();
        let builder = Client::builder().on_elicitation(move |_, context| {
            let _ = begins.send(false);
            while !context.is_cancelled() {
                thread::yield_now();
            }
            let _ = begins.send(true);
            named("Ada")
        });
        let begun = Mutex::new(begun);
        let (server, received) = played(Era::Legacy, tools(), move |wire, call| {
            let begun = begun.lock().unwrap();
            wire.send(request("q", &form()));
            assert!(!begun.recv().unwrap());
            // Not this one, which has another type.
            wire.notify("notifications/cancelled", json!({ "requestId": 1 }));
            wire.notify("notifications/cancelled", json!({}));
            wire.notify("notifications/cancelled", json!({ "requestId": "q", "reason": "enough" }));
            assert!(begun.recv().unwrap());
            // The id can be used again.
            wire.send(request("q", &json!({ "method": "ping" })));
            wire.reply(&call, said("done"));
            Some(())
        });
        let client = builder.open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        let answers: Vec<_> = all_received(&client, &received)
            .into_iter()
            .filter(|it| it.method().is_empty())
            .map(|it| it.0)
            .collect();
        assert_eq!(answers, [json!({ "jsonrpc": "2.0", "id": "q", "result": {} })]);
    });
}

#[test]
fn ten_thousand_questions_at_once_are_four_handlers_and_errors() {
    soon(|| {
        let (builder, begun, release) = held();
        let release = Mutex::new(Some(release));
        let begun = Mutex::new(begun);
        let (server, _received) = played(Era::Legacy, tools(), move |wire, call| {
            let begun = begun.lock().unwrap();
            let mut refused = Vec::new();
            for id in 0..10_000 {
                wire.send(request(id, &form()));
                if id >= 4 {
                    refused.push(wire.receive()?);
                }
            }
            assert!(refused.iter().all(|it| it.0["error"]["code"] == -32603));
            let ids: HashSet<_> = refused.iter().map(|it| it.id().as_u64()).collect();
            assert_eq!(ids.len(), 9_996);
            // Nor does it help to cancel: who runs, runs.
            for id in 0..4 {
                begun.recv().unwrap();
                wire.notify("notifications/cancelled", json!({ "requestId": id }));
            }
            wire.send(request("more", &form()));
            assert_eq!(wire.receive()?.0["error"]["code"], -32603);
            assert!(begun.try_recv().is_err());
            release.lock().unwrap().take();
            // Until one of them has ended.
            loop {
                wire.send(request("after", &form()));
                if wire.receive()?.0["result"]["action"] == "accept" {
                    break;
                }
            }
            wire.reply(&call, said("done"));
            Some(())
        });
        let client = builder.open(server.limits(Limits::default().handlers(4))).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        assert!(!client.close().left_behind);
    });
}

// RPC-4
#[test]
fn a_question_under_an_id_that_is_taken_is_refused() {
    soon(|| {
        let (builder, begun, release) = held();
        let release = Mutex::new(Some(release));
        let begun = Mutex::new(begun);
        let (server, _received) = played(Era::Legacy, tools(), move |wire, call| {
            let begun = begun.lock().unwrap();
            for number in 0..1000 {
                wire.send(request("same", &form()));
                if number > 0 {
                    assert_eq!(wire.receive()?.0["error"]["code"], -32600);
                }
            }
            begun.recv().unwrap();
            release.lock().unwrap().take();
            assert_eq!(wire.receive()?.0["result"]["action"], "accept");
            assert!(begun.try_recv().is_err());
            wire.reply(&call, said("done"));
            Some(())
        });
        let client = builder.open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
    });
}

/// A legacy server that asks while it is being opened: after the probe, after `initialize`, after its
/// result, and after `initialized`.
fn early(peer: &Peer) -> Option<Vec<Received>> {
    let mut answers = Vec::new();
    let probe = peer.receive()?;
    peer.send(request(1, &form()));
    peer.send(request(2, &json!({ "method": "example/x" })));
    peer.send(request(3, &json!({ "method": "ping" })));
    peer.reply_error(&probe, -32601, "no such method", None);
    let initialize = loop {
        let message = peer.receive()?;
        match message.method() {
            "initialize" => break message,
            _ => answers.push(message),
        }
    };
    peer.send(request(4, &form()));
    peer.send(request(5, &form()));
    peer.notify("notifications/cancelled", json!({ "requestId": 5 }));
    peer.reply(
        &initialize,
        json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
        "serverInfo": { "name": "n", "version": "1" } }),
    );
    peer.send(request(6, &roots()));
    while answers.len() < 5 {
        let message = peer.receive()?;
        if message.method().is_empty() {
            answers.push(message);
        }
    }
    Some(answers)
}

// RPC-15, CANCEL-10, ERA-50
#[test]
fn what_is_asked_before_there_is_a_client_is_answered_after() {
    soon(|| {
        let (send, answers) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            if let Some(answers) = early(&peer) {
                send.send(answers).unwrap();
            }
            while peer.receive().is_some() {}
        });
        let handled = Arc::new(AtomicUsize::new(0));
        let counts = handled.clone();
        let builder = handling().on_elicitation(move |_, context| {
            counts.fetch_add(1, Ordering::Relaxed);
            assert_eq!(context.client().protocol_version(), ProtocolVersion::V2025_11_25);
            named("Ada")
        });
        let client = builder.open(server).unwrap();
        let mut answers = answers.recv().unwrap();
        answers.sort_by_key(|answer| answer.id().as_u64());
        let of = |number: usize| (&answers[number].0["id"], &answers[number].0["error"]["code"]);
        assert_eq!(of(0), (&json!(1), &json!(-32603)));
        assert_eq!(of(1), (&json!(2), &json!(-32601)));
        assert_eq!(answers[2].0["result"], json!({}));
        assert_eq!(answers[3].id(), 4);
        assert_eq!(answers[3].0["result"]["action"], "accept");
        assert_eq!(answers[4].0["result"]["roots"][0]["uri"], "file:///here");
        assert_eq!(handled.load(Ordering::Relaxed), 1);
        assert!(!client.close().left_behind);
    });
}

// RPC-12, ERA-20
#[test]
fn a_server_that_turns_out_to_be_modern_gets_no_answer() {
    soon(|| {
        let (send, sent) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            let probe = peer.receive().unwrap();
            // It is taken for a legacy one.
            let initialize = loop {
                let message = peer.receive().unwrap();
                if message.method() == "initialize" {
                    break message;
                }
                peer.send(json!({ "jsonrpc": "2.0", "id": message.id(), "result": {} }));
            };
            assert!(!initialize.id().is_null());
            peer.send(request("q", &form()));
            peer.reply(&probe, crate::era::discovered(&["2026-07-28"]));
            while let Some(message) = peer.receive() {
                if message.method() == "tools/call" {
                    peer.reply(&message, said("done"));
                }
                send.send(message).unwrap();
            }
        });
        let handled = Arc::new(AtomicUsize::new(0));
        let counts = handled.clone();
        let builder = Client::builder().on_elicitation(move |_, _| {
            counts.fetch_add(1, Ordering::Relaxed);
            named("Ada")
        });
        let patience = Timeouts::default().patience(Duration::from_millis(1));
        let client = builder.open(server.timeouts(patience)).unwrap();
        assert_eq!(client.protocol_version().era(), Era::Modern);
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        client.close();
        let sent: Vec<_> = sent.try_iter().map(|it| it.method().to_owned()).collect();
        assert_eq!(sent, ["tools/call"]);
        assert_eq!(handled.load(Ordering::Relaxed), 0);
    });
}

fn hurried() -> Timeouts {
    Timeouts::default().close_grace(SHORT).kill_grace(SHORT)
}

// Promise 3.
#[test]
fn a_handler_that_never_returns_is_left_behind_and_said_to_be() {
    soon(|| {
        let (builder, begun, release) = held();
        let (server, _received) = played(Era::Legacy, tools(), |wire, _| {
            wire.send(request(1, &form()));
            Some(())
        });
        let client = builder.open(server.timeouts(hurried())).unwrap();
        let call = client.tool("x").start().unwrap();
        begun.recv().unwrap();
        assert!(client.close().left_behind);
        assert_eq!(call.wait().unwrap_err().kind(), ErrorKind::Closed);
        drop(release);
    });
}

#[test]
fn a_handler_that_looks_is_told_of_the_end_at_once() {
    soon(|| {
        let (begins, begun) = mpsc::channel();
        let builder = Client::builder().on_elicitation(move |_, context| {
            let _ = begins.send(());
            while !context.is_cancelled() {
                thread::yield_now();
            }
            named("Ada")
        });
        let (server, _received) = played(Era::Legacy, tools(), |wire, _| {
            wire.send(request(1, &form()));
            wire.receive()?;
            None
        });
        // It has an hour.
        let patient = Timeouts::default().close_grace(FOREVER);
        let client = builder.open(server.timeouts(patient)).unwrap();
        let _call = client.tool("x").start().unwrap();
        begun.recv().unwrap();
        assert!(!client.close().left_behind);
    });
}

#[test]
fn a_handler_may_close_its_client_while_another_thread_does() {
    soon(|| {
        let (begins, begun) = mpsc::channel();
        let builder = Client::builder().on_elicitation(move |_, context| {
            let _ = begins.send(());
            while !context.is_cancelled() {
                thread::yield_now();
            }
            // Who waits for this thread is not waited for.
            context.client().close();
            named("Ada")
        });
        let (server, _received) = played(Era::Legacy, tools(), |wire, _| {
            wire.send(request(1, &form()));
            Some(())
        });
        let patient = Timeouts::default().close_grace(FOREVER);
        let client = builder.open(server.timeouts(patient)).unwrap();
        let _call = client.tool("x").start().unwrap();
        begun.recv().unwrap();
        assert!(!client.close().left_behind);
    });
}

/// A legacy server that asks without being called, and says when it has ended.
fn asks_by_itself(ended: mpsc::Sender<()>) -> impl Fn(Peer) + Send + Sync + 'static {
    move |peer| {
        let ended = ended.clone();
        while let Some(message) = peer.receive() {
            match message.method() {
                "initialize" => peer.reply(
                    &message,
                    json!({ "protocolVersion": "2025-11-25",
                    "capabilities": {}, "serverInfo": { "name": "n", "version": "1" } }),
                ),
                "notifications/initialized" => peer.send(request(1, &form())),
                _ => {}
            }
        }
        let _ = ended.send(());
    }
}

#[test]
fn the_last_client_that_a_handler_drops_closes_the_connection() {
    soon(|| {
        let (ends, ended) = mpsc::channel();
        let (builder, begun, release) = held();
        let server = Server::in_memory(asks_by_itself(ends)).era(Era::Legacy);
        let client = builder.open(server).unwrap();
        begun.recv().unwrap();
        drop(client);
        assert!(ended.try_recv().is_err());
        release.send(()).unwrap();
        ended.recv().unwrap();
    });
}

#[cfg(unix)]
#[test]
fn the_last_client_that_a_handler_drops_ends_the_process() {
    use crate::common::{Folder, Lifeline, script};
    soon(|| {
        let folder = Folder::new();
        let lifeline = Lifeline::new(&folder, "life");
        let (builder, begun, release) = held();
        let text = r#"exec 9>"$1/life"; exec "$0" --serve legacy"#;
        let server = script(text, &folder.0).era(Era::Legacy);
        let client = builder.open(server).unwrap();
        let call = client.tool("ask").arg("question", "?").start().unwrap();
        begun.recv().unwrap();
        drop((call, client));
        lifeline.assert_whole();
        release.send(()).unwrap();
        lifeline.wait_for_cut();
    });
}

/// Asks until it is called with 0, while the call goes on.
fn deep() -> Server {
    let asked = Mutex::new(std::collections::HashMap::new());
    let (server, _received) = answering(Era::Legacy, tools(), move |wire, message| {
        if message.method() == "tools/call" {
            let left = message.param("/arguments/left").as_u64().unwrap();
            if left == 0 {
                return wire.reply(message, said("0"));
            }
            asked.lock().unwrap().insert(left, message.clone());
            return wire.send(request(left, &form()));
        }
        let left = message.id().as_u64().unwrap();
        let call = asked.lock().unwrap().remove(&left).unwrap();
        match message.0["error"].is_null() {
            true => wire.reply(&call, said(format!("{left}"))),
            false => wire.reply_error(&call, -32000, "refused", None),
        }
    });
    server
}

#[test]
fn a_legacy_server_s_handlers_call_the_client_as_deep_as_there_are_threads() {
    soon(|| {
        for (depth, most, refused) in [(8, 8, false), (9, 8, true), (1000, 8, true)] {
            let (failed, failures) = mpsc::channel();
            let left = AtomicUsize::new(depth);
            let builder = Client::builder().on_elicitation(move |_, context| {
                let left = left.fetch_sub(1, Ordering::Relaxed) - 1;
                if let Err(error) = context.client().call_tool("x", json!({ "left": left })) {
                    failed.send(error).unwrap();
                }
                named("Ada")
            });
            let client = builder.open(deep().limits(Limits::default().handlers(most))).unwrap();
            let outer = client.call_tool("x", json!({ "left": depth })).unwrap();
            assert_eq!(outer.text(), depth.to_string());
            let failures: Vec<_> = failures.try_iter().map(|error| error.kind()).collect();
            assert_eq!(failures, if refused { vec![ErrorKind::Rpc] } else { vec![] });
            assert!(!client.close().left_behind);
        }
    });
}

// PROG-5
#[test]
fn progress_that_is_glued_to_the_reply_arrives_before_the_call_returns() {
    soon(|| {
        for era in ERAS {
            let server = over_pipes(move |mut reader, mut writer| {
                use std::io::{BufRead, Write};
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
                    let message: Value = serde_json::from_str(&line).unwrap();
                    let id = &message["id"];
                    let reply =
                        |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
                    let mut text = String::new();
                    match message["method"].as_str().unwrap() {
                        "server/discover" => {
                            let found = crate::stdio::discovered(&tools());
                            text += &format!("{}\n", reply(found));
                        }
                        "initialize" => {
                            let result = json!({ "protocolVersion": "2025-11-25",
                                "capabilities": tools(), "serverInfo": { "name": "n", "version": "1" } });
                            text += &format!("{}\n", reply(result));
                        }
                        "tools/call" => {
                            let token = &message["params"]["_meta"]["progressToken"];
                            for number in 0..100 {
                                let params = json!({ "progressToken": token, "progress": number });
                                let method = "notifications/progress";
                                let progress =
                                    json!({ "jsonrpc": "2.0", "method": method, "params": params });
                                text += &format!("{progress}\n");
                            }
                            text += &format!("{}\n", reply(said("done")));
                        }
                        _ => {}
                    }
                    // In one piece.
                    writer.write_all(text.as_bytes()).ok()?;
                }
            });
            let client = Client::open(server.era(era)).unwrap();
            let mut heard = Vec::new();
            let call = client.tool("x").on_progress(|it| heard.push(it.progress));
            assert_eq!(call.call().unwrap().text(), "done");
            assert_eq!(heard, (0..100).map(f64::from).collect::<Vec<_>>());
        }
    });
}

/// A client whose handler asks the example server something before it answers.
fn calling_back() -> ClientBuilder {
    Client::builder().on_elicitation(|form, context| {
        let client = context.client();
        let echoed = client.call_tool("echo", json!({ "message": form.message })).unwrap();
        named(&format!("{}!", echoed.text()))
    })
}

/// 100 calls at once, each with a question, and each handler calls the client.
fn hundred_calls(server: Server) {
    let limits = Limits::default().handlers(100).in_flight(300);
    let client = calling_back().open(server.limits(limits)).unwrap();
    thread::scope(|scope| {
        for number in 0..100 {
            let client = &client;
            scope.spawn(move || {
                let question = format!("number {number}");
                let result = client.tool("ask").arg("question", &question).call().unwrap();
                assert_eq!(
                    result.into_result().unwrap().text(),
                    format!("{question}: {question}!")
                );
            });
        }
    });
    assert!(!client.close().left_behind);
}

#[test]
fn a_hundred_calls_of_a_process_with_a_question_each() {
    soon(|| ["modern", "legacy"].into_iter().for_each(|era| hundred_calls(example_server(era))));
}

#[cfg(feature = "http")]
#[test]
fn a_hundred_calls_over_http_with_a_question_each() {
    use crate::support::http::{self, Mode, Options};
    soon(|| {
        for mode in [Mode::Modern, Mode::Legacy] {
            hundred_calls(Server::url(http::start(0, Options::new(mode)).unwrap()));
        }
    });
}

/// The types that answers are made of can be written down and read again.
#[test]
fn a_question_is_what_it_was_once_it_has_been_stored() {
    for question in [form(), sample(), roots(), url("https://x.test/")] {
        let read: InputRequest = serde_json::from_value(question.clone()).unwrap();
        let again: InputRequest =
            serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(read, again);
    }
    let listed = ListRootsResult::new(vec![Root::new("file:///a")]);
    let answer: protocol::InputResponse = listed.into();
    assert!(serde_json::to_string(&answer).unwrap().contains("file:///a"));
}

/// A legacy server that asks before it answers `x`, and never answers anything else.
fn asking_first() -> Server {
    let call = Mutex::new(Value::Null);
    let (server, _received) = answering(Era::Legacy, tools(), move |wire, message| {
        if message.param("/name") == "x" {
            *call.lock().unwrap() = message.id().clone();
            wire.send(request("q", &form()));
        } else if message.id() == "q" {
            let id = call.lock().unwrap().take();
            wire.send(json!({ "jsonrpc": "2.0", "id": id, "result": said("done") }));
        }
    });
    server
}

/// A handler that takes twice the time that a call has.
fn slow() -> ClientBuilder {
    Client::builder().on_elicitation(|_, _| {
        crate::input_rounds::pass(2 * HALF);
        named("Ada")
    })
}

// CANCEL-8, CANCEL-9
#[test]
fn the_timeout_of_a_legacy_call_stands_still_while_a_handler_runs_and_max_total_does_not() {
    soon(|| {
        let client = slow().open(asking_first()).unwrap();
        let call = client.tool("x").timeout(HALF).max_total(FOREVER);
        assert_eq!(call.call().unwrap().text(), "done");
        // It goes on where it stood.
        let mut call = client.tool("x").timeout(HALF).start().unwrap();
        assert!(call.wait_timeout(Duration::from_millis(1)).unwrap().is_none());
        assert_eq!(call.wait().unwrap().text(), "done");
        let error = client.tool("x").max_total(SHORT).call().unwrap_err();
        assert!(error.is_timeout() && error.to_string().contains("`max_total`"), "{error}");
        // Nobody is asked because of this one.
        let error = client.tool("y").timeout(SHORT).call().unwrap_err();
        assert!(error.is_timeout() && error.to_string().contains("`timeout`"), "{error}");
        client.close();

        // Nor does a handler stop the clock of its own calls.
        let (failed, failures) = mpsc::channel();
        let builder = Client::builder().on_elicitation(move |_, context| {
            let call = context.client().tool("y").timeout(2 * HALF);
            failed.send(call.call().unwrap_err()).unwrap();
            named("Ada")
        });
        let client = builder.open(asking_first()).unwrap();
        assert_eq!(client.tool("x").timeout(HALF).call().unwrap().text(), "done");
        let error = failures.recv().unwrap();
        assert!(error.to_string().contains("`timeout`"), "{error}");
    });
}

#[cfg(feature = "http")]
#[test]
fn the_timeout_of_a_legacy_call_over_http_stands_still_too() {
    use crate::support::http::{self, Mode, Options};
    soon(|| {
        let url = http::start(0, Options::new(Mode::Legacy)).unwrap();
        let client = slow().open(Server::url(url)).unwrap();
        // A connection is open: the caller's thread could carry it.
        assert_eq!(crate::common::echo(&client, "a"), "a");
        let call = client.tool("ask").arg("question", "who").timeout(HALF);
        assert_eq!(call.call().unwrap().text(), "who: Ada");
    });
}

#[test]
fn handlers_leave_nothing_behind() {
    crate::alone::leaves_nothing("handlers::handlers_leave_nothing_behind", || {
        for era in ["modern", "legacy"] {
            let client = handling().open(example_server(era)).unwrap();
            for _ in 0..3 {
                let call = client.tool("ask").arg("question", "who");
                assert_eq!(call.call().unwrap().text(), "who: Ada");
            }
            assert!(!client.close().left_behind);
        }
    });
}
