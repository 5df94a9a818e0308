//! Input rounds: a modern server answers a call with questions, and gets it again with answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use umcp::memory::Received;
use umcp::protocol::{
    CreateMessageResult, ElicitResult, InputRequiredResult, InputResponse, InputResponses,
    ListRootsResult, Root,
};
use umcp::{
    CancelToken, Client, ClientBuilder, Era, ErrorKind, Limits, LoggingLevel, RawJson,
    SamplingRefusal, Server,
};

use crate::calls::{Wire, all_received, answering, played, said, tools};
use crate::common::{FOREVER, HALF, SHORT, soon};

/// A result that asks for these things.
pub fn asks(questions: Value, state: Option<&str>) -> Value {
    let mut result = json!({ "resultType": "input_required", "inputRequests": questions });
    if let Some(state) = state {
        result["requestState"] = json!(state);
    }
    result
}

/// A question with one field to fill in.
pub fn form() -> Value {
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let params = json!({ "message": "Who are you?", "requestedSchema": schema });
    json!({ "method": "elicitation/create", "params": params })
}

pub fn sample() -> Value {
    let text = json!({ "type": "text", "text": "hello" });
    let params = json!({ "messages": [{ "role": "user", "content": text }], "maxTokens": 5 });
    json!({ "method": "sampling/createMessage", "params": params })
}

pub fn roots() -> Value {
    json!({ "method": "roots/list" })
}

pub fn named(name: &str) -> ElicitResult {
    ElicitResult::accept([("name".to_owned(), json!(name))].into_iter().collect())
}

/// A client that handles everything but URLs.
pub fn handling() -> ClientBuilder {
    Client::builder()
        .on_elicitation(|_, _| named("Ada"))
        .on_sampling(|_, _| Ok(CreateMessageResult::text("model", "hi")))
        .root(Root::new("file:///here"))
}

/// A server that asks in each of its answers until there are none of these left.
fn asking(answers: Vec<Value>) -> (Server, Receiver<Received>) {
    let next = AtomicUsize::new(0);
    let capabilities = json!({ "tools": {}, "prompts": {}, "resources": {}, "completions": {} });
    answering(Era::Modern, capabilities, move |wire, request| {
        let done = json!({ "content": [], "contents": [], "messages": [], "tools": [],
            "resultType": "complete" });
        let number = next.fetch_add(1, Ordering::Relaxed);
        wire.reply(request, answers.get(number).cloned().unwrap_or(done));
    })
}

/// A server that asks the same for ever.
fn insisting(question: Value) -> (Server, Receiver<Received>) {
    answering(Era::Modern, tools(), move |wire, request| wire.reply(request, question.clone()))
}

/// A request without what is another in each round.
fn lasting(request: &Received) -> Value {
    let mut request = request.0.clone();
    request["id"].take();
    let params = request["params"].as_object_mut().unwrap();
    params.remove("inputResponses");
    params.remove("requestState");
    request
}

// MRTR-1, MRTR-2, MRTR-4, MRTR-7, MRTR-8, MRTR-9, MRTR-11, MRTR-13, MRTR-14, MRTR-15, MRTR-18, MRTR-21
#[test]
fn a_call_is_sent_again_with_the_answers_and_is_the_same_otherwise() {
    soon(|| {
        let rounds = || {
            let all = json!({ "who": form(), "model": sample(), "": roots() });
            let (server, received) = asking(vec![
                asks(all, Some("the state")),
                asks(json!({ "again": form() }), None),
                json!({ "resultType": "input_required", "requestState": "third" }),
            ]);
            (handling().open(server).unwrap(), received)
        };
        let calls: [fn(&Client); 4] = [
            |client| {
                let call = client.tool("x").arg("a", 1).meta("own", 2);
                drop(call.log_level(LoggingLevel::Info).call().unwrap());
            },
            |client| drop(client.get_prompt("x", [("a", "b")]).unwrap()),
            |client| drop(client.read_resource("x:y").unwrap()),
            |client| {
                let params = json!({ "name": "x", "arguments": { "b": 1, "a": 2 }, "other": [1] });
                drop(client.request("tools/call", params).call().unwrap());
            },
        ];
        for call in calls {
            let (client, received) = rounds();
            call(&client);
            let received = all_received(&client, &received);
            assert_eq!(received.len(), 4, "{received:?}");
            for (number, request) in received.iter().enumerate() {
                assert_eq!(lasting(request), lasting(&received[0]));
                let before = &received[..number];
                assert!(before.iter().all(|earlier| earlier.id() != request.id()));
            }
            let answers = |number: usize| {
                let params = &received[number].0["params"];
                (params.get("inputResponses").cloned(), params.get("requestState").cloned())
            };
            assert_eq!(answers(0), (None, None));
            let who = json!({ "action": "accept", "content": { "name": "Ada" } });
            let text = json!({ "type": "text", "text": "hi" });
            let model = json!({ "role": "assistant", "model": "model", "content": text });
            let listed = json!({ "roots": [{ "uri": "file:///here" }] });
            let all = json!({ "who": who, "model": model, "": listed });
            assert_eq!(answers(1), (Some(all), Some(json!("the state"))));
            assert_eq!(answers(2), (Some(json!({ "again": who })), None));
            assert_eq!(answers(3), (None, Some(json!("third"))));
        }
    });
}

// MRTR-9, MRTR-10
#[test]
fn state_comes_back_character_for_character() {
    soon(|| {
        let long = "é\u{1F980}".repeat(100_000);
        let states = [
            "",
            " ",
            "\0\u{1}\u{1f}\u{7f}\u{85}\r\n\t",
            "\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}\u{10ffff}",
            "e\u{301} \u{e9} \u{212b}",
            "\u{202e}abc\u{200d}\u{1F468}\u{200d}\u{1F469}",
            r#"{"a": 1,  "b":[ ]} \u0041 \" \\ / <>&'"#,
            "eyJhbGciOiJub25lIn0=.+/",
            &long,
        ];
        for state in states {
            // As it is, and with everything escaped that can be.
            let escaped: String =
                state.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            for written in [json!(state).to_string(), format!("\"{escaped}\"")] {
                let (server, received) = answering(Era::Modern, tools(), move |wire, request| {
                    let id = request.id();
                    wire.send_text(match request.param("/requestState").is_null() {
                        true => format!(
                            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","requestState":{written}}}}}"#
                        ),
                        false => json!({ "jsonrpc": "2.0", "id": id, "result": said("done") })
                            .to_string(),
                    });
                });
                let client = Client::open(server).unwrap();
                assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
                let received = all_received(&client, &received);
                assert_eq!(received[1].param("/requestState"), state);
                assert!(received[1].param("/inputResponses").is_null());
            }
        }
    });
}

// MRTR-5, MRTR-6
#[test]
fn a_server_that_only_wants_to_be_asked_again_gets_a_moment() {
    soon(|| {
        let again = |state| json!({ "resultType": "input_required", "requestState": state });
        let (server, received) = asking(vec![again("1"), again("2"), again("3")]);
        // Nobody has to be there to answer.
        let client = Client::open(server).unwrap();
        let began = Instant::now();
        let mut call = client.tool("x").headless().start().unwrap();
        // Who only looks does not wait for that moment.
        while call.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        assert!(began.elapsed() >= Duration::from_millis(50 + 100 + 200));
        let received = all_received(&client, &received);
        let states: Vec<_> = received.iter().map(|it| it.param("/requestState")).collect();
        assert_eq!(states, [&Value::Null, &json!("1"), &json!("2"), &json!("3")]);
    });
}

// MRTR-16
#[test]
fn a_server_that_never_has_enough_ends_the_call() {
    soon(|| {
        for (limits, most) in [(Limits::default(), 10), (Limits::default().input_rounds(2), 2)] {
            let (server, received) = insisting(asks(json!({ "the key": form() }), Some("s")));
            let handled = Arc::new(AtomicUsize::new(0));
            let count = handled.clone();
            let builder = Client::builder().on_elicitation(move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
                named("Ada")
            });
            let client = builder.open(server.limits(limits)).unwrap();
            let error = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert!(error.may_have_run());
            let text = error.to_string();
            assert!(text.contains(r#"elicitation/create ("the key")"#), "{text}");
            assert!(text.contains(&format!("asked {most} times")), "{text}");
            assert_eq!(handled.load(Ordering::Relaxed), most);
            assert_eq!(all_received(&client, &received).len(), most + 1);
        }
        // Also if it asks for nothing.
        let state = json!({ "resultType": "input_required", "requestState": "s" });
        let (server, received) = insisting(state);
        let client = Client::open(server.limits(Limits::default().input_rounds(3))).unwrap();
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().contains("another try"), "{error}");
        assert_eq!(all_received(&client, &received).len(), 4);
    });
}

// MRTR-3
#[test]
fn a_round_that_is_malformed_or_asks_for_what_was_not_offered_fails_the_call() {
    soon(|| {
        let with = |key: &str, value: Value| {
            let mut question = sample();
            question["params"][key] = value;
            json!({ "k": question })
        };
        let url = json!({ "mode": "url", "message": "m", "url": "https://x.test/" });
        let url = json!({ "k": { "method": "elicitation/create", "params": url } });
        let mode = json!({ "mode": "voice", "message": "m" });
        let mode = json!({ "k": { "method": "elicitation/create", "params": mode } });
        let malformed = json!({ "k": { "method": "elicitation/create", "params": {} } });
        let both = json!({ "a": form(), "b": { "method": "example/x", "params": { "c": 1 } } });
        let nobody = (ErrorKind::InputRequired, false);
        let broken = (ErrorKind::Protocol, true);
        let cases = [
            (json!({ "resultType": "input_required" }), broken),
            (json!({ "resultType": "input_required", "content": [] }), broken),
            (asks(Value::Null, None), broken),
            (asks(json!([form()]), Some("s")), broken),
            (asks(malformed, Some("s")), broken),
            (asks(json!({ "k": { "params": {} } }), None), broken),
            (asks(json!({ "k": 1 }), None), broken),
            (json!({ "resultType": "input_required", "requestState": 1 }), broken),
            (asks(both, Some("s")), nobody),
            (asks(url, None), nobody),
            (asks(mode, None), nobody),
            (asks(with("tools", json!([])), None), nobody),
            (asks(with("toolChoice", json!({ "mode": "auto" })), None), nobody),
            (asks(json!({ "k": { "method": "tools/list" } }), None), nobody),
        ];
        for (round, (kind, may_have_run)) in cases {
            let (server, received) = asking(vec![round.clone()]);
            let client = handling().open(server).unwrap();
            let error = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!(
                (error.kind(), error.may_have_run()),
                (kind, may_have_run),
                "{round}: {error}"
            );
            assert_eq!(error.input_required().is_some(), kind == ErrorKind::InputRequired);
            // It costs nothing else.
            assert!(client.call_tool("x", json!({})).is_ok());
            assert_eq!(all_received(&client, &received).len(), 2, "{round}");
        }
        // A lone surrogate is no text that could be sent back.
        let (server, _received) = played(Era::Modern, tools(), |wire, request| {
            let id = request.id();
            wire.send_text(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","requestState":"\ud800"}}}}"#
            ));
            Some(())
        });
        let error = handling().open(server).unwrap().call_tool("x", json!({})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
    });
}

// RPC-34, MRTR-1
#[test]
fn nothing_but_a_call_a_read_and_a_prompt_may_be_answered_with_questions() {
    soon(|| {
        let (server, received) = insisting(asks(json!({ "k": form() }), Some("s")));
        let client = handling().open(server).unwrap();
        for error in [
            client.list_tools().unwrap_err(),
            client.request("example/x", json!({})).call().unwrap_err(),
            client.ping().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.to_string().contains("input_required"), "{error}");
        }
        assert_eq!(all_received(&client, &received).len(), 3);
    });
}

// RPC-32, RPC-36
#[test]
fn another_type_of_result_ends_the_rounds_and_means_nothing_to_a_legacy_server() {
    soon(|| {
        let task = json!({ "resultType": "task", "content": [] });
        let (server, received) = asking(vec![asks(json!({ "k": form() }), None), task]);
        let client = handling().open(server).unwrap();
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Protocol, true));
        assert_eq!(all_received(&client, &received).len(), 2);

        let (server, _received) = answering(Era::Legacy, tools(), |wire, request| {
            let mut result = asks(json!({ "k": form() }), None);
            result["content"] = said("done")["content"].clone();
            wire.reply(request, result);
        });
        let client = handling().open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
    });
}

// MRTR-19, ELIC-9, ELIC-12
#[test]
fn to_decline_and_to_turn_away_are_answers() {
    soon(|| {
        for (answer, sent) in [
            (ElicitResult::decline(), json!({ "action": "decline" })),
            (ElicitResult::cancel(), json!({ "action": "cancel" })),
        ] {
            let (server, received) = asking(vec![asks(json!({ "k": form() }), None)]);
            let builder = Client::builder().on_elicitation(move |_, _| answer.clone());
            let client = builder.open(server).unwrap();
            client.call_tool("x", json!({})).map(drop).unwrap();
            let received = all_received(&client, &received);
            assert_eq!(received[1].param("/inputResponses"), &json!({ "k": sent }));
        }
    });
}

// MRTR-19, SAMP-14
#[test]
fn what_has_no_answer_ends_the_call() {
    soon(|| {
        let model = || asks(json!({ "k": sample(), "never": form() }), None);
        let question = || asks(json!({ "k": form() }), None);
        // SAMP-8: the use of a tool without its result.
        let mut broken = sample();
        let used = json!({ "type": "tool_use", "id": "1", "name": "t", "input": {} });
        broken["params"]["messages"] = json!([{ "role": "assistant", "content": used }, { "role": "user", "content": said("x")["content"] }]);
        type Case = (ClientBuilder, Value, ErrorKind, &'static str);
        let cases: Vec<Case> = vec![
            (
                handling().on_sampling(|_, _| Err(SamplingRefusal::declined())),
                model(),
                ErrorKind::Declined,
                "declined",
            ),
            (
                handling().on_sampling(|_, _| Err(SamplingRefusal::failed("no model"))),
                model(),
                ErrorKind::InvalidInput,
                "no model",
            ),
            (
                handling().on_elicitation(|_, _| panic!("on purpose")),
                question(),
                ErrorKind::InvalidInput,
                "the handler panicked",
            ),
            (
                handling().on_elicitation(|_, _| {
                    ElicitResult::accept(
                        [("other".to_owned(), json!("s3cret"))].into_iter().collect(),
                    )
                }),
                question(),
                ErrorKind::InvalidInput,
                "no field \"other\"",
            ),
            (
                handling(),
                asks(json!({ "k": broken }), None),
                ErrorKind::Protocol,
                "no answer to sampling",
            ),
        ];
        for (builder, round, kind, why) in cases {
            let (server, received) = asking(vec![round]);
            let client = builder.open(server).unwrap();
            let error = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (kind, false), "{error}");
            assert!(error.to_string().contains(why), "{error}");
            assert!(!format!("{error} {error:?}").contains("s3cret"));
            assert!(client.call_tool("x", json!({})).is_ok());
            assert_eq!(all_received(&client, &received).len(), 2);
        }
    });
}

// MRTR-12, MRTR-21
#[test]
fn what_was_asked_can_be_answered_by_hand_later_and_elsewhere() {
    soon(|| {
        let round = || asks(json!({ "who": form(), "what": sample() }), Some("\u{0}s\u{2028}"));
        let (server, received) = asking(vec![round()]);
        let client = Client::open(server).unwrap();
        let error = client.call_tool("x", json!({ "a": 1 })).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InputRequired);
        assert!(error.to_string().contains("Request::answers"), "{error}");
        let asked = serde_json::to_string(&error.input_required().unwrap()).unwrap();
        let first = all_received(&client, &received);

        let (server, received) = asking(vec![]);
        let client = Client::open(server).unwrap();
        let asked: InputRequiredResult = serde_json::from_str(&asked).unwrap();
        let mut whole = round();
        whole["inputRequests"]["who"]["params"]["mode"] = json!("form");
        assert_eq!(serde_json::to_value(&asked).unwrap(), whole);
        let answers = || {
            let model = CreateMessageResult::text("model", "hi").into();
            let who = ElicitResult::decline().into();
            InputResponses::from([("who".to_owned(), who), ("what".to_owned(), model)])
        };
        let call = client.tool("x").arg("a", 1).answers(&asked, answers());
        call.call().map(drop).unwrap();
        // It is of that one call, and of no other.
        client.call_tool("x", json!({ "a": 1 })).map(drop).unwrap();
        let params = json!({ "name": "x", "arguments": { "a": 1 } });
        client.request("tools/call", params).answers(&asked, answers()).call().map(drop).unwrap();

        let mut too_few = answers();
        too_few.remove("who");
        let mut too_many = answers();
        too_many.insert("more".to_owned(), ElicitResult::decline().into());
        for wrong in [too_few, too_many, InputResponses::new()] {
            let error = client.tool("x").answers(&asked, wrong).call().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        let error = client.request("tools/list", ()).answers(&asked, answers()).call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);

        let received = all_received(&client, &received);
        assert_eq!(received.len(), 3);
        for resumed in [&received[0], &received[2]] {
            assert_eq!(lasting(resumed)["params"], lasting(&first[0])["params"]);
            assert_eq!(resumed.param("/requestState"), "\u{0}s\u{2028}");
            assert_eq!(resumed.param("/inputResponses/who/action"), "decline");
            assert_eq!(resumed.param("/inputResponses/what/model"), "model");
        }
        assert!(received[1].param("/requestState").is_null());
        assert!(received[1].param("/inputResponses").is_null());

        let (server, received) = answering(Era::Legacy, tools(), |_, _| ());
        let client = Client::open(server).unwrap();
        let error = client.tool("x").answers(&asked, answers()).call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(all_received(&client, &received).is_empty());
    });
}

// MRTR-6
#[test]
fn a_connection_that_ends_before_a_call_is_made_again_has_not_begun_it() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let call = peer.open_modern(tools()).unwrap();
            peer.reply(&call, json!({ "resultType": "input_required", "requestState": "later" }));
        });
        let error = Client::open(server).unwrap().call_tool("x", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert!(!error.may_have_run(), "{error}");
    });
}

// MRTR-21, ELIC-1, SAMP-1, ROOT-1
#[test]
fn a_caller_that_answers_itself_declares_all_and_is_asked_instead_of_the_handlers() {
    soon(|| {
        let all = json!({ "who": form(), "model": sample(), "roots": roots() });
        let (server, received) = asking(vec![json!({ "content": [] }), asks(all, Some("s"))]);
        let client = Client::builder().on_elicitation(|_, _| panic!("asked")).open(server).unwrap();
        client.call_tool("other", ()).map(drop).unwrap();
        let error = client.tool("x").by_hand().call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InputRequired);
        assert!(error.to_string().contains("the caller is to answer"), "{error}");
        let asked = error.input_required().unwrap();
        let answers: InputResponses = [
            ("model", CreateMessageResult::text("model", "hi").into()),
            ("roots", ListRootsResult::new(vec![]).into()),
            ("who", named("Ada").into()),
        ]
        .map(|(key, answer): (&str, InputResponse)| (key.to_owned(), answer))
        .into();
        client.tool("x").by_hand().answers(&asked, answers).call().map(drop).unwrap();
        let received = all_received(&client, &received);
        let declared = |request: &Received| {
            request.param("/_meta/io.modelcontextprotocol~1clientCapabilities").clone()
        };
        let all = json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} },
            "roots": {} });
        let some = json!({ "elicitation": { "form": {} } });
        assert_eq!(received.iter().map(declared).collect::<Vec<_>>(), [some, all.clone(), all]);
    });
}

// MRTR-16, MRTR-21
#[test]
fn what_is_asked_after_an_answer_by_hand_may_have_run() {
    soon(|| {
        let round = asks(json!({ "k": form() }), None);
        let (server, _received) = insisting(round);
        let client = Client::open(server).unwrap();
        let asked = client.call_tool("x", json!({})).unwrap_err();
        assert!(!asked.may_have_run());
        let answer = InputResponses::from([("k".to_owned(), named("Ada").into())]);
        let call = client.tool("x").answers(&asked.input_required().unwrap(), answer);
        let again = call.call().unwrap_err();
        assert_eq!((again.kind(), again.may_have_run()), (ErrorKind::InputRequired, true));
    });
}

// MRTR-22
#[test]
fn a_round_that_is_refused_for_its_version_is_sent_again_as_it_was() {
    soon(|| {
        let number = AtomicUsize::new(0);
        let (server, received) = answering(Era::Modern, tools(), move |wire, request| match number
            .fetch_add(1, Ordering::Relaxed)
        {
            0 => wire.reply(request, asks(json!({ "k": form() }), Some("s"))),
            1 => {
                let data = json!({ "supported": ["2026-07-28"], "requested": "2026-07-28" });
                wire.reply_error(request, -32022, "no such version", Some(data));
            }
            _ => wire.reply(request, said("done")),
        });
        let handled = Arc::new(AtomicUsize::new(0));
        let count = handled.clone();
        let builder = Client::builder().on_elicitation(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            named("Ada")
        });
        let client = builder.open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        let received = all_received(&client, &received);
        assert_eq!(received.len(), 3);
        assert_ne!(received[1].id(), received[2].id());
        assert_eq!(received[1].0["params"], received[2].0["params"]);
        assert_eq!(received[2].param("/inputResponses/k/content/name"), "Ada");
        assert_eq!(handled.load(Ordering::Relaxed), 1);
    });
}

// MRTR-14, MRTR-17, PROG-1
#[test]
fn progress_and_log_of_every_round_reach_the_call() {
    soon(|| {
        let number = AtomicUsize::new(0);
        let (server, received) = answering(Era::Modern, tools(), move |wire, request| {
            let token = request.param("/_meta/progressToken");
            let log = |text: String| {
                wire.notify("notifications/message", json!({ "level": "info", "data": text }));
            };
            let round = number.fetch_add(1, Ordering::Relaxed);
            wire.progress(token, 1.0);
            log(format!("round {round}"));
            wire.progress(token, 2.0);
            match round {
                0 | 1 => wire.reply(request, asks(json!({ "k": form() }), None)),
                _ => wire.reply(request, said("done")),
            }
        });
        let (heard, hear) = mpsc::channel();
        let (progress, log) = (heard.clone(), heard.clone());
        let builder = Client::builder().on_elicitation(move |_, _| {
            heard.send("asked".to_owned()).unwrap();
            named("Ada")
        });
        let client = builder.open(server).unwrap();
        let call = client
            .tool("x")
            .log_level(LoggingLevel::Info)
            .on_progress(move |it| progress.send(it.progress.to_string()).unwrap())
            .on_log(move |it| log.send(it.data.as_str().unwrap().to_owned()).unwrap());
        assert_eq!(call.call().unwrap().text(), "done");
        let expected =
            ["1", "round 0", "2", "asked", "1", "round 1", "2", "asked", "1", "round 2", "2"];
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), expected);
        let received = all_received(&client, &received);
        let mut tokens: Vec<_> =
            received.iter().map(|it| it.param("/_meta/progressToken").as_u64().unwrap()).collect();
        tokens.dedup();
        assert_eq!(tokens.len(), 3);
    });
}

pub fn pass(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::thread::yield_now();
    }
}

// MRTR-16, CANCEL-8
#[test]
fn the_timeout_stands_still_while_a_handler_runs_and_max_total_does_not() {
    soon(|| {
        let slow = |takes| {
            let (server, received) = asking(vec![asks(json!({ "a": form(), "b": form() }), None)]);
            let handled = Arc::new(AtomicUsize::new(0));
            let count = handled.clone();
            let builder = Client::builder().on_elicitation(move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
                pass(takes);
                named("Ada")
            });
            (builder.open(server).unwrap(), received, handled)
        };
        let (client, received, handled) = slow(HALF);
        // Twice the time it has.
        client.tool("x").timeout(HALF).max_total(FOREVER).call().map(drop).unwrap();
        assert_eq!(handled.load(Ordering::Relaxed), 2);
        assert_eq!(all_received(&client, &received).len(), 2);

        let (client, received, handled) = slow(2 * SHORT);
        let error = client.tool("x").max_total(SHORT).call().unwrap_err();
        assert!(error.is_timeout() && !error.may_have_run(), "{error}");
        assert!(error.to_string().contains("`max_total`"), "{error}");
        // Nobody is asked any more, and nothing is sent.
        assert_eq!(handled.load(Ordering::Relaxed), 1);
        assert_eq!(all_received(&client, &received).len(), 1);
    });
}

// CANCEL-13
#[test]
fn a_call_is_cancelled_between_its_rounds_without_a_word_to_the_server() {
    soon(|| {
        // While a handler runs.
        let (server, received) = asking(vec![asks(json!({ "a": form(), "b": form() }), None)]);
        let token = CancelToken::new();
        let cancelling = token.clone();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        let builder = Client::builder().on_elicitation(move |_, context| {
            sees.lock().unwrap().push(context.is_cancelled());
            cancelling.cancel();
            sees.lock().unwrap().push(context.is_cancelled());
            named("Ada")
        });
        let client = builder.open(server).unwrap();
        let error = client.tool("x").cancel_token(&token).call().unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Cancelled, false));
        assert_eq!(*seen.lock().unwrap(), [false, true]);
        assert_eq!(all_received(&client, &received).len(), 1);

        // In the moment that a server gets.
        let token = CancelToken::new();
        let cancelling = token.clone();
        let number = AtomicUsize::new(0);
        let (server, received) = answering(Era::Modern, tools(), move |wire, request| {
            let again = json!({ "resultType": "input_required", "requestState": "s" });
            wire.reply(request, again);
            // By then that is two seconds.
            if number.fetch_add(1, Ordering::Relaxed) == 6 {
                cancelling.cancel();
            }
        });
        let client = Client::open(server).unwrap();
        let error = client.tool("x").cancel_token(&token).call().unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Cancelled, true));
        let received = all_received(&client, &received);
        assert_eq!(received.len(), 7, "{received:?}");
        assert!(received.iter().all(|it| it.method() == "tools/call"));
    });
}

#[test]
fn a_call_whose_client_closes_meanwhile_asks_nobody_any_more() {
    soon(|| {
        let (server, received) = asking(vec![asks(json!({ "a": form(), "b": form() }), None)]);
        let handled = Arc::new(AtomicUsize::new(0));
        let count = handled.clone();
        let builder = Client::builder().on_elicitation(move |_, context| {
            count.fetch_add(1, Ordering::Relaxed);
            assert!(!context.client().close().left_behind);
            assert!(context.is_cancelled());
            named("Ada")
        });
        let client = builder.open(server).unwrap();
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Closed, false));
        assert_eq!(handled.load(Ordering::Relaxed), 1);
        assert_eq!(all_received(&client, &received).len(), 1);
    });
}

// MRTR-16
#[test]
fn a_server_that_asks_for_thousands_of_things_gets_none() {
    soon(|| {
        let ask = |count: usize| {
            let all: serde_json::Map<_, _> =
                (0..count).map(|number| (number.to_string(), form())).collect();
            asks(all.into(), None)
        };
        for (count, kind) in
            [(10_000, Some(ErrorKind::Limit)), (4, None), (5, Some(ErrorKind::Limit))]
        {
            let (server, _received) = asking(vec![ask(count)]);
            let handled = Arc::new(AtomicUsize::new(0));
            let counts = handled.clone();
            let builder = Client::builder().on_elicitation(move |_, _| {
                counts.fetch_add(1, Ordering::Relaxed);
                named("Ada")
            });
            let client = builder.open(server.limits(Limits::default().handlers(4))).unwrap();
            let outcome = client.call_tool("x", json!({}));
            assert_eq!(outcome.err().map(|error| error.kind()), kind);
            assert_eq!(handled.load(Ordering::Relaxed), if kind.is_none() { 4 } else { 0 });
        }
    });
}

// ELIC-5, ELIC-17, SCHEMA-6
#[test]
fn schemas_of_every_size_and_with_references_are_no_danger() {
    soon(|| {
        let many: serde_json::Map<_, _> = (0..100_000)
            .map(|number| (format!("f{number}"), json!({ "type": "integer", "default": number })))
            .collect();
        let choices: Vec<_> = (0..20_000).map(|number| number.to_string()).collect();
        let wide = json!({ "all": { "type": "array", "items": { "type": "string", "enum": choices },
            "default": choices } });
        let references = json!({ "a": { "$ref": "#/properties/b" }, "b": { "$ref": "#/properties/a" },
            "c": { "$ref": "#" }, "name": { "type": "string" }, "d": { "type": ["string", "null"] } });
        for (properties, count) in [(many.into(), 100_000), (wide, 1), (references, 0)] {
            let properties: Value = properties;
            let schema = json!({ "type": "object", "properties": properties,
                "$defs": { "x": { "$ref": "#/$defs/x" } } });
            let params = json!({ "message": "m", "requestedSchema": schema });
            let question = json!({ "method": "elicitation/create", "params": params });
            let (server, received) = asking(vec![asks(json!({ "k": question }), None)]);
            let builder = Client::builder()
                .on_elicitation(|_, _| ElicitResult::accept(serde_json::Map::new()));
            let client = builder.open(server).unwrap();
            client.call_tool("x", json!({})).map(drop).unwrap();
            let received = all_received(&client, &received);
            let content = received[1].param("/inputResponses/k/content").as_object().unwrap();
            assert_eq!(content.len(), count);
        }
    });
}

/// Asks until it is called with 0.
fn deep() -> Server {
    let (server, _received) = answering(Era::Modern, tools(), |wire, request| {
        let left = request.param("/arguments/left").as_u64().unwrap();
        match left == 0 || !request.param("/inputResponses").is_null() {
            true => wire.reply(request, said(format!("{left}"))),
            false => wire.reply(request, asks(json!({ "k": form() }), Some(&left.to_string()))),
        }
    });
    server
}

// MRTR-16
#[test]
fn handlers_stand_in_one_another_up_to_eight_deep() {
    soon(|| {
        for (depth, most) in [(8, 8), (9, 8), (1000, 8)] {
            let deepest = Arc::new(AtomicUsize::new(0));
            let (counts, now) = (deepest.clone(), AtomicUsize::new(0));
            let (failed, failures) = mpsc::channel();
            let builder = Client::builder().on_elicitation(move |_, context| {
                let level = now.fetch_add(1, Ordering::Relaxed) + 1;
                counts.fetch_max(level, Ordering::Relaxed);
                let left = depth - level;
                let inner = context.client().call_tool("x", json!({ "left": left }));
                now.fetch_sub(1, Ordering::Relaxed);
                match inner {
                    Ok(result) => assert_eq!(result.text(), left.to_string()),
                    Err(error) => failed.send(error).unwrap(),
                }
                named("Ada")
            });
            let client = builder.open(deep()).unwrap();
            let outer = client.call_tool("x", json!({ "left": depth })).unwrap();
            assert_eq!(outer.text(), depth.to_string());
            assert_eq!(deepest.load(Ordering::Relaxed), most);
            let failures: Vec<_> = failures.try_iter().collect();
            assert_eq!(failures.len(), usize::from(depth > most));
            for error in failures {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains("without end"), "{error}");
            }
            // Nothing of it is left.
            assert_eq!(client.call_tool("x", json!({ "left": 0 })).unwrap().text(), "0");
        }
    });
}

/// The example server's answers over every transport stand in `handlers`.
#[test]
fn a_raw_call_gets_its_raw_result_after_the_rounds() {
    soon(|| {
        let (server, _received) = asking(vec![asks(json!({ "k": form() }), None)]);
        let client = handling().open(server).unwrap();
        let params = json!({ "name": "x" });
        let result: RawJson = client.request("tools/call", params).call().unwrap();
        assert_eq!(result.to_value().unwrap()["resultType"], "complete");
    });
}

/// What a scripted server sees of a call that it cuts off.
fn cut(wire: &Wire, request: &Received) -> Option<()> {
    wire.reply(request, asks(json!({ "k": form() }), None));
    wire.receive()?;
    None
}

// HTTP-12
#[test]
fn a_server_that_ends_in_a_round_fails_the_call() {
    soon(|| {
        let (server, received) = played(Era::Modern, tools(), |wire, request| cut(wire, &request));
        let client = handling().open(server).unwrap();
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true));
        assert_eq!(all_received(&client, &received).len(), 2);
    });
}

// MRTR-12
#[test]
fn equal_calls_at_the_same_time_keep_their_states_apart() {
    soon(|| {
        // The state is the id of the call that got it.
        let (server, received) = played(Era::Modern, tools(), |wire, first| {
            let second = wire.receive()?;
            for call in [&first, &second] {
                let state = call.id().to_string();
                wire.reply(call, asks(json!({ state.clone(): form() }), Some(&state)));
            }
            for _ in 0..2 {
                let again = wire.receive()?;
                wire.reply(&again, said(again.param("/requestState").as_str().unwrap()));
            }
            Some(())
        });
        let client = handling().open(server).unwrap();
        let calls = [client.tool("x").start().unwrap(), client.tool("x").start().unwrap()];
        let states = calls.map(|call| call.wait().unwrap().text());
        let received = all_received(&client, &received);
        assert_eq!(states, [received[0].id().to_string(), received[1].id().to_string()]);
        for again in &received[2..] {
            let state = again.param("/requestState").as_str().unwrap();
            let keys: Vec<_> = again.param("/inputResponses").as_object().unwrap().keys().collect();
            assert_eq!(keys, [state]);
        }
    });
}
