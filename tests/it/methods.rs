//! Methods: lists and their pages, capabilities, arguments, and what results say.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde::Serialize;
use serde::ser::Error as _;
use serde_json::{Value, json};
use umcp::memory::{Received, Script};
use umcp::protocol::{RawJson, ResourceContents};
use umcp::{
    Client, CompletionReference, Era, ErrorKind, Limits, ProtocolVersion, Result, Server, Timeouts,
};

use crate::calls::{all_received, answering, said, tools};
use crate::common::{ERAS, soon};
use crate::era::everything;
use crate::stdio::piped;

fn open(server: &Script) -> Client {
    Client::open(server.server()).unwrap()
}

/// Something that any list can hold.
fn item(name: &str) -> Value {
    json!({ "name": name, "uri": name, "uriTemplate": name, "inputSchema": {} })
}

/// A kind of list: its method, where its result holds the items, and how to get all their names.
type Kind = (&'static str, &'static str, fn(&Client) -> Result<Vec<String>>);

const KINDS: [Kind; 4] = [
    ("tools/list", "tools", |client| {
        Ok(client.list_tools()?.into_iter().map(|tool| tool.name).collect())
    }),
    ("resources/list", "resources", |client| {
        Ok(client.list_resources()?.into_iter().map(|resource| resource.name).collect())
    }),
    ("resources/templates/list", "resourceTemplates", |client| {
        Ok(client.list_resource_templates()?.into_iter().map(|template| template.name).collect())
    }),
    ("prompts/list", "prompts", |client| {
        Ok(client.list_prompts()?.into_iter().map(|prompt| prompt.name).collect())
    }),
];

/// A page, reached by a cursor: its items and what it says of the next.
type PageOf = (Option<&'static str>, &'static [&'static str], Value);

/// A server of one list, for as many clients as like.
fn paged(era: Era, (method, key, _): Kind, pages: Vec<PageOf>) -> (Server, Receiver<Received>) {
    answering(era, everything(), move |wire, message| {
        assert_eq!(message.method(), method);
        let cursor = message.0["params"].get("cursor").map(|cursor| cursor.as_str().unwrap());
        let Some((_, names, next)) = pages.iter().find(|(of, ..)| *of == cursor) else {
            return wire.reply_error(message, -32602, "unknown cursor", None);
        };
        let mut result = next.clone();
        result[key] = names.iter().map(|name| item(name)).collect();
        wire.reply(message, result);
    })
}

fn next(cursor: &str) -> Value {
    json!({ "nextCursor": cursor })
}

fn cursors(received: &[Received]) -> Vec<Option<&Value>> {
    received.iter().map(|message| message.0["params"].get("cursor")).collect()
}

// METH-4, METH-5, METH-6, PROM-1
#[test]
fn a_list_is_all_its_pages_whatever_their_size_and_cursors() {
    soon(|| {
        let odd = "a \"b\"\n\\ü%20+/=\u{1F980}";
        for (era, kind) in ERAS.into_iter().flat_map(|era| KINDS.map(|kind| (era, kind))) {
            let (server, received) = paged(
                era,
                kind,
                vec![
                    (None, &["a", "b"], next("")),
                    (Some(""), &[], next(odd)),
                    (Some(odd), &["c", "d", "e"], next("0")),
                    (Some("0"), &["f"], json!({ "nextCursor": null })),
                ],
            );
            let client = Client::open(server).unwrap();
            assert_eq!(
                (kind.2)(&client).unwrap(),
                ["a", "b", "c", "d", "e", "f"],
                "{era} {kind:?}"
            );
            let received = all_received(&client, &received);
            let sent = [None, Some(&json!("")), Some(&json!(odd)), Some(&json!("0"))];
            assert_eq!(cursors(&received), sent, "{era} {kind:?}");
        }
    });
}

// METH-6
#[test]
fn pages_are_fetched_as_they_are_needed() {
    soon(|| {
        let pages = vec![
            (None, &["a", "b"][..], next("1")),
            (Some("1"), &[], next("2")),
            (Some("2"), &["c"], next("3")),
            (Some("3"), &["d"], json!({})),
        ];
        let (server, received) = paged(Era::Modern, KINDS[0], pages);
        let client = Client::open(server).unwrap();
        let asked = || received.try_iter().count();
        let names = |page: umcp::Page<umcp::Tool>| {
            page.items.into_iter().map(|tool| tool.name).collect::<Vec<_>>()
        };

        let mut items = client.tools().into_iter().map(|tool| tool.unwrap().name);
        assert_eq!(asked(), 0);
        assert_eq!([items.next(), items.next()], [Some("a".to_owned()), Some("b".to_owned())]);
        assert_eq!(asked(), 1);
        assert_eq!((items.next(), asked()), (Some("c".to_owned()), 2));
        assert_eq!((items.next(), asked()), (Some("d".to_owned()), 1));
        assert_eq!((items.next(), items.next(), asked()), (None, None, 0));

        let mut pages = client.tools().pages();
        assert_eq!(asked(), 0);
        for expected in [&["a", "b"][..], &[]] {
            assert_eq!(names(pages.next().unwrap().unwrap()), expected);
            assert_eq!(asked(), 1);
        }

        let page = client.tools().cursor("2").page().unwrap();
        assert_eq!(page.next_cursor.as_deref(), Some("3"));
        assert_eq!(names(page), ["c"]);
        assert_eq!(client.tools().cursor("3").all().unwrap().len(), 1);
        assert_eq!(asked(), 2);
    });
}

// METH-8
#[test]
fn a_list_without_an_end_is_an_error() {
    soon(|| {
        let repeats = vec![
            (None, &["a"][..], next("1")),
            (Some("1"), &["b"], next("2")),
            (Some("2"), &["c"], next("1")),
        ];
        let (server, received) = paged(Era::Modern, KINDS[0], repeats);
        let client = Client::open(server).unwrap();
        let error = client.list_tools().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert_eq!(all_received(&client, &received).len(), 3);

        for (limit, kind) in [(3, Some(ErrorKind::Limit)), (4, None)] {
            let pages = vec![
                (None, &["a"][..], next("1")),
                (Some("1"), &["b"], next("2")),
                (Some("2"), &["c"], next("3")),
                (Some("3"), &["d"], json!({})),
            ];
            let (server, received) = paged(Era::Modern, KINDS[0], pages);
            let client = Client::open(server.limits(Limits::default().pages(limit))).unwrap();
            assert_eq!(client.list_tools().err().map(|error| error.kind()), kind);
            assert_eq!(all_received(&client, &received).len(), limit);
        }
    });
}

// METH-9
#[test]
fn an_unknown_cursor_is_the_servers_error_and_ends_the_list() {
    soon(|| {
        let pages = vec![(None, &["a"][..], next("gone"))];
        let (server, received) = paged(Era::Modern, KINDS[0], pages);
        let client = Client::open(server).unwrap();
        let mut items = client.tools().into_iter();
        assert!(items.next().unwrap().is_ok());
        assert_eq!(items.next().unwrap().unwrap_err().rpc().unwrap().code, -32602);
        assert!(items.next().is_none());
        // Starting over is the caller's: nothing is asked again by itself.
        assert_eq!(all_received(&client, &received).len(), 2);
    });
}

// METH-7, META-16
#[test]
fn every_list_begins_without_a_cursor_also_in_another_session() {
    soon(|| {
        for era in ERAS {
            let pages = vec![(None, &["a"][..], next("1")), (Some("1"), &["b"], json!({}))];
            let (server, received) = paged(era, KINDS[0], pages);
            for _ in 0..2 {
                let client = Client::open(server.clone()).unwrap();
                let mut begun = client.tools().pages();
                assert!(begun.next().unwrap().is_ok());
                assert_eq!(client.list_tools().unwrap().len(), 2);
                // What has begun goes on where it was, by naming that place.
                assert!(begun.next().unwrap().is_ok());
                let received = all_received(&client, &received);
                let second = Some(json!("1"));
                let sent = [None, None, second.as_ref(), second.as_ref()];
                assert_eq!(cursors(&received), sent, "{era}");
            }
        }
    });
}

#[test]
fn a_list_has_one_total_clock_for_all_its_pages() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, message| {
            wire.reply(message, json!({ "tools": [], "nextCursor": message.id().to_string() }));
        });
        let client = Client::open(server.limits(Limits::default().pages(usize::MAX))).unwrap();
        let list = client.tools().max_total(std::time::Duration::from_millis(100));
        let error = list.all().unwrap_err();
        assert!(error.is_timeout() && error.to_string().contains("`max_total`"), "{error}");
    });
}

/// Everything that a capability gates, and the capability.
type Gated = (&'static str, fn(&Client) -> Result<()>);

const GATED: [Gated; 8] = [
    ("tools", |client| client.list_tools().map(drop)),
    ("tools", |client| client.call_tool("x", json!({})).map(drop)),
    ("resources", |client| client.list_resources().map(drop)),
    ("resources", |client| client.list_resource_templates().map(drop)),
    ("resources", |client| client.read_resource("x:y").map(drop)),
    ("prompts", |client| client.list_prompts().map(drop)),
    ("prompts", |client| client.get_prompt("x", [("a", "b")]).map(drop)),
    ("completions", complete),
];

fn complete(client: &Client) -> Result<()> {
    client.complete(CompletionReference::prompt("x"), "a", "b").map(drop)
}

/// Refuses everything: that is how a call shows that it was made.
fn refusing(era: Era, capabilities: Value) -> (Server, Receiver<Received>) {
    answering(era, capabilities, |wire, message| wire.reply_error(message, -1, "asked", None))
}

// METH-1, METH-2, METH-3, PROM-1
#[test]
fn what_was_not_declared_is_not_asked_for() {
    let set_level: Gated = ("logging", |client| client.set_log_level(umcp::LoggingLevel::Info));
    let versions = ProtocolVersion::ALL;
    soon(move || {
        for version in versions.iter().copied() {
            let gated = GATED.iter().chain((version.era() == Era::Legacy).then_some(&set_level));
            for (capability, ask) in gated {
                // 2024-11-05 has no capability for it.
                let is_free =
                    *capability == "completions" && version == ProtocolVersion::V2024_11_05;
                let mut others = everything();
                others.as_object_mut().unwrap().remove(*capability);
                let (server, received) = refusing(version.era(), others);
                let client = Client::open(server.version(version)).unwrap();
                let error = ask(&client).unwrap_err();
                let asked = all_received(&client, &received).len();
                let expected = if is_free { ErrorKind::Rpc } else { ErrorKind::Unsupported };
                assert_eq!(error.kind(), expected, "{version} {capability}: {error}");
                assert_eq!(asked, usize::from(is_free), "{version} {capability}");
                assert_eq!(error.may_have_run(), is_free, "{version} {capability}");
                if !is_free {
                    assert!(error.to_string().contains(capability), "{error}");
                }

                let (server, received) = refusing(version.era(), json!({ *capability: {} }));
                let client = Client::open(server.version(version)).unwrap();
                assert_eq!(ask(&client).unwrap_err().kind(), ErrorKind::Rpc);
                assert_eq!(all_received(&client, &received).len(), 1);
            }
        }
    });
}

// METH-3
#[test]
fn a_declared_method_that_is_missing_is_the_servers_error() {
    soon(|| {
        let client = open(&Script::new().answer("tools/list", json!({ "tools": [] })));
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!((error.kind(), error.rpc().unwrap().code), (ErrorKind::Rpc, -32601));
    });
}

#[test]
fn any_method_can_be_asked_for_by_hand() {
    soon(|| {
        let script = Script::new().answer("example/x", json!({ "a": [1, null], "_meta": {} }));
        let client = open(&script);
        let result = client.request("example/x", ()).call().unwrap();
        assert_eq!(result.to_value().unwrap(), json!({ "a": [1, null], "_meta": {} }));
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let own = json!({ "b": 1, "_meta": { "com.example/k": "v", "traceparent": trace } });
        client.request("example/x", &own).meta("other", 2).call().unwrap();
        let [empty, full] = &script.received("example/x")[..] else { panic!() };
        assert_eq!(empty.as_object().unwrap().len(), 1, "{empty}");
        assert_eq!(full["b"], 1);
        for (key, value) in [
            ("com.example/k", json!("v")),
            ("traceparent", json!(trace)),
            ("other", json!(2)),
            ("io.modelcontextprotocol/protocolVersion", json!("2026-07-28")),
        ] {
            assert_eq!(full["_meta"][key], value, "{key}");
        }
    });
}

#[test]
fn requests_by_hand_are_refused_if_they_can_only_be_wrong() {
    soon(|| {
        let (server, received) = refusing(Era::Modern, everything());
        let client = Client::open(server).unwrap();
        let reserved = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "1" } });
        for (method, params) in [
            ("initialize", json!({})),
            ("notifications/cancelled", json!({ "requestId": 1 })),
            ("x", json!([])),
            ("x", json!("text")),
            ("x", json!(5)),
            ("x", json!({ "_meta": 5 })),
            ("x", json!({ "_meta": { "progressToken": 5 } })),
            ("x", reserved),
        ] {
            let error = client.request(method, &params).call().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{method} {params}: {error}");
            assert_eq!(error.method(), Some(method));
        }
        assert_eq!(all_received(&client, &received), []);
    });
}

// STDIO-1
#[test]
fn json_of_the_callers_own_is_sent_as_it_is_but_on_one_line() {
    soon(|| {
        let (server, lines) = piped(|raw| raw.serve(&tools(), &said("done")));
        let client = Client::open(server).unwrap();
        let text = "{\r\n  \"z\": 1.50,\n  \"a\": \"x\\ny\",\n\t\"big\": 123456789012345678901234567890\n}";
        let own = RawJson::from_string(text.to_owned()).unwrap();
        assert_eq!(client.call_tool("x", &own).unwrap().text(), "done");
        let params = RawJson::from_string(format!("{{\n\"own\" : {text}\r\n}}")).unwrap();
        client.request("example/x", &params).call().unwrap();
        client.close();
        let lines: Vec<String> = lines.try_iter().collect();
        let flat = text.replace(['\r', '\n'], " ");
        assert_eq!(lines.len(), 3, "{lines:?}");
        for line in &lines[1..] {
            assert!(line.contains(&flat), "{line:?}");
            assert!(line.ends_with("}\n") && line.matches(['\r', '\n']).count() == 1, "{line:?}");
        }
    });
}

/// Arguments that cannot be written.
struct Broken;

impl Serialize for Broken {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("broken"))
    }
}

// TOOL-16
#[test]
fn arguments_are_an_object_of_whatever_types_the_caller_gave() {
    #[derive(Serialize)]
    struct Order {
        count: u8,
        note: Option<&'static str>,
    }
    soon(|| {
        let script = Script::new().answer("tools/call", said("done"));
        let client = open(&script);
        let call = || client.tool("x");
        let map = BTreeMap::from([("count", "2")]);
        for (request, sent) in [
            (call(), json!({})),
            (call().args(()), json!({})),
            (call().args(json!({ "count": "2" })), json!({ "count": "2" })),
            (call().args(Order { count: 2, note: None }), json!({ "count": 2, "note": null })),
            (call().args(map), json!({ "count": "2" })),
            (call().arg("a", 1).arg("b", [2.5]).arg("a", "x"), json!({ "a": "x", "b": [2.5] })),
            (call().args(json!({ "a": 1 })).arg("b", ()), json!({ "a": 1, "b": null })),
            (call().arg("a", 1).args(json!({ "b": 2 })), json!({ "b": 2 })),
        ] {
            assert_eq!(request.call().unwrap().text(), "done");
            let received = script.received("tools/call");
            assert_eq!(received.last().unwrap()["arguments"], sent);
        }
        let sent = script.received("tools/call").len();
        for refused in [
            call().args([1]),
            call().args("text"),
            call().args(5),
            call().args(Broken),
            call().arg("a", Broken),
            call().args([1]).args(json!({})),
        ] {
            let error = refused.call().unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::InvalidInput, false));
        }
        let error = client.request("example/x", Broken).call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(script.received("tools/call").len(), sent);
    });
}

// TOOL-2, TOOL-3
#[test]
fn a_tool_has_a_name_to_show_and_hints_with_defaults() {
    soon(|| {
        let schema = json!({ "type": "object" });
        let read_only = json!({ "readOnlyHint": true, "destructiveHint": true, "title": "Hint" });
        let client = open(&Script::new().answer(
            "tools/list",
            json!({ "tools": [
                { "name": "plain", "inputSchema": schema, "annotations": {} },
                { "name": "hinted", "inputSchema": schema, "annotations": read_only },
                { "name": "titled", "inputSchema": schema, "annotations": read_only, "title": "T" },
                { "name": "bare", "inputSchema": schema },
            ] }),
        ));
        let tools = client.list_tools().unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool.display_name()).collect();
        assert_eq!(names, ["plain", "Hint", "T", "bare"]);
        let hints = |at: usize| {
            let hints = tools[at].annotations.clone().unwrap();
            let (read_only, destructive) = (hints.is_read_only(), hints.is_destructive());
            [read_only, destructive, hints.is_idempotent(), hints.is_open_world()]
        };
        assert_eq!(hints(0), [false, true, false, true]);
        assert_eq!(hints(1), [true, false, true, true]);
    });
}

// TOOL-1
#[test]
fn a_tools_hints_change_nothing_about_its_calls() {
    soon(|| {
        let hints = json!({ "readOnlyHint": true, "idempotentHint": true });
        let tool = json!({ "name": "x", "inputSchema": {}, "annotations": hints });
        let (server, received) =
            answering(Era::Modern, tools(), move |wire, message| match message.method() {
                "tools/list" => wire.reply(message, json!({ "tools": [tool] })),
                _ => wire.reply_error(message, -32603, "no", None),
            });
        let client = Client::open(server).unwrap();
        client.list_tools().unwrap();
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert!(error.may_have_run());
        // Not tried again, although the server says that does no harm.
        assert_eq!(all_received(&client, &received).len(), 2);
    });
}

// TOOL-4
#[test]
fn tools_of_any_name_can_be_called() {
    soon(|| {
        let names = ["a.b-c_D", "a b/ü", "", "\"\n", &"x".repeat(1000)].map(str::to_owned);
        let listed: Vec<Value> = names.iter().map(|name| item(name)).collect();
        let script = Script::new().answer("tools/list", json!({ "tools": listed }));
        let script = script.answer_with("tools/call", |params| {
            Ok(said(params["name"].as_str().unwrap_or("no name")))
        });
        let client = open(&script);
        let tools = client.list_tools().unwrap();
        assert_eq!(tools.iter().map(|tool| &tool.name).collect::<Vec<_>>(), names.each_ref());
        for tool in tools {
            assert_eq!(client.call_tool(&tool.name, json!({})).unwrap().text(), tool.name);
        }
    });
}

/// A client of a server whose tools return what they are given.
fn returning() -> Client {
    let script = Script::new().answer_with("tools/call", |params| Ok(params["arguments"].clone()));
    open(&script)
}

// TOOL-9, TOOL-10, TYPE-2
#[test]
fn structured_content_is_any_json_or_absent_and_content_may_be_missing() {
    soon(|| {
        let client = returning();
        for value in [json!(null), json!([1]), json!("x"), json!(0), json!({ "a": null })] {
            let result = client.call_tool("x", json!({ "structuredContent": value })).unwrap();
            assert_eq!(result.structured::<Value>().unwrap(), value);
            assert_eq!(result.content, []);
        }
        let result = client.call_tool("x", json!({ "content": [] })).unwrap();
        assert_eq!(result.structured_content, None);
        assert_eq!(result.structured::<Value>().unwrap_err().kind(), ErrorKind::Protocol);
    });
}

// TOOL-11, TOOL-12
#[test]
fn a_tools_own_failure_is_a_result_that_can_become_an_error() {
    soon(|| {
        let client = returning();
        let mut failed = said("out of cheese");
        for (is_error, expected) in
            [(json!(true), true), (json!(false), false), (json!(null), false)]
        {
            failed["isError"] = is_error;
            let result = client.call_tool("x", &failed).unwrap();
            assert_eq!((result.is_error, result.text().as_str()), (expected, "out of cheese"));
            assert_eq!(result.into_result().is_err(), expected);
        }
        failed["isError"] = json!(true);
        let error = client.call_tool("x", &failed).unwrap().into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tool);
        assert!(error.to_string().contains("out of cheese"), "{error}");
        assert!(!client.call_tool("x", said("fine")).unwrap().is_error);
    });
}

// TOOL-15
#[test]
fn a_result_may_link_to_resources_that_no_list_has() {
    soon(|| {
        let link = json!({ "type": "resource_link", "uri": "x:y", "name": "y" });
        let client = returning();
        let result = client.call_tool("x", json!({ "content": [link] })).unwrap();
        let [umcp::ContentBlock::ResourceLink(link)] = &result.content[..] else {
            panic!("{:?}", result.content)
        };
        assert_eq!((link.uri.as_str(), link.name.as_str()), ("x:y", "y"));
    });
}

// RES-2, RES-5
#[test]
fn one_read_may_return_several_contents_of_other_uris() {
    soon(|| {
        let script = Script::new().answer(
            "resources/list",
            json!({ "resources": [
            { "uri": "x:/", "name": "folder", "size": 3 },
        ] }),
        );
        let client = open(&script.answer(
            "resources/read",
            json!({ "contents": [
            { "uri": "x:/a", "mimeType": "text/plain", "text": "A" },
            { "uri": "x:/b", "blob": "AAH/" },
        ] }),
        ));
        let contents = client.read_resource("x:/").unwrap().contents;
        assert_eq!(
            contents.iter().map(|one| one.uri()).collect::<Vec<_>>(),
            [Some("x:/a"), Some("x:/b")]
        );
        assert_eq!(contents[0].as_text(), Some("A"));
        let ResourceContents::Blob(blob) = &contents[1] else { panic!("{contents:?}") };
        let bytes = blob.decode().unwrap();
        assert_eq!(bytes, [0, 1, 255]);
        assert_eq!(client.list_resources().unwrap()[0].size, Some(bytes.len() as u64));
    });
}

// RES-3
#[test]
fn a_resource_that_does_not_exist_is_an_error() {
    soon(|| {
        for (code, missing) in [(-32602, true), (-32002, true), (-32603, false)] {
            let refuse = move |_: &Value| Err((code, "no".to_owned()));
            let script = Script::new().answer_with("resources/read", refuse);
            let client = open(&script.answer_with("tools/call", refuse));
            let error = client.read_resource("x:y").unwrap_err();
            assert_eq!((error.kind(), error.is_not_found()), (ErrorKind::Rpc, missing), "{code}");
            assert!(!client.call_tool("x", json!({})).unwrap_err().is_not_found());
        }
    });
}

#[test]
fn many_reads_return_in_order_with_an_error_for_each_that_failed() {
    soon(|| {
        let script = Script::new().answer_with("resources/read", |params| match &params["uri"] {
            Value::String(uri) if uri.contains("odd") => Err((-32602, uri.clone())),
            uri => Ok(json!({ "contents": [{ "uri": uri, "text": "x" }] })),
        });
        let client = Client::open(script.server().limits(Limits::default().in_flight(3))).unwrap();
        let uri = |n: usize| format!("x:{}/{n}", if n % 2 == 1 { "odd" } else { "even" });
        let results = client.read_resources((0..20).map(uri));
        assert_eq!(results.len(), 20);
        for (n, result) in results.into_iter().enumerate() {
            match result {
                Ok(read) => assert_eq!(read.contents[0].uri(), Some(uri(n).as_str())),
                Err(error) => {
                    assert_eq!((error.rpc().unwrap().message.as_str(), n % 2), (uri(n).as_str(), 1))
                }
            }
        }
        assert!(client.read_resources([""; 0]).is_empty());
    });
}

// PROM-3
#[test]
fn a_prompts_arguments_are_text_and_its_errors_the_servers() {
    soon(|| {
        let script = Script::new().answer_with("prompts/get", |params| {
            match params["arguments"]["code"].as_str() {
                Some(code) => {
                    let content = json!({ "type": "text", "text": code });
                    Ok(json!({ "messages": [{ "role": "user", "content": content }] }))
                }
                None => Err((-32602, "`code` is missing".to_owned())),
            }
        });
        let code = json!({ "name": "code", "required": true });
        let listed = json!({ "prompts": [{ "name": "review", "arguments": [code] }] });
        let client = open(&script.clone().answer("prompts/list", listed));
        let prompt = &client.list_prompts().unwrap()[0];
        assert!(prompt.arguments[0].required);
        let result = client.get_prompt("review", [("code", "1"), ("style", "brief")]).unwrap();
        assert_eq!(result.messages[0].content.as_text(), Some("1"));
        let result = client.prompt("review").arg("code", "2").call().unwrap();
        assert_eq!(result.messages[0].content.as_text(), Some("2"));
        let error = client.prompt("review").call().unwrap_err();
        assert_eq!(error.rpc().unwrap().code, -32602);
        let received = script.received("prompts/get");
        assert_eq!(received[0]["arguments"], json!({ "code": "1", "style": "brief" }));
    });
}

// COMP-1, COMP-3
#[test]
fn a_completion_names_what_it_is_for_and_what_was_chosen() {
    soon(|| {
        let values = json!({ "values": ["brief", "broad"], "total": 2, "hasMore": false });
        let script = Script::new().answer("completion/complete", json!({ "completion": values }));
        let client = open(&script);
        let prompt = CompletionReference::prompt("review");
        let completion = client.complete(prompt.clone(), "style", "br").unwrap();
        assert_eq!(completion.values, ["brief", "broad"]);
        assert_eq!((completion.total, completion.has_more), (Some(2), Some(false)));
        let template = CompletionReference::resource("x:{owner}/{name}");
        let request = client.completion(template, "name", "um").chosen("owner", "me");
        request.chosen("branch", "").call().unwrap();
        let strip = |mut params: Value| {
            params.as_object_mut().unwrap().remove("_meta");
            params
        };
        assert_eq!(
            script.received("completion/complete").into_iter().map(strip).collect::<Vec<_>>(),
            [
                json!({ "ref": { "type": "ref/prompt", "name": "review" },
                    "argument": { "name": "style", "value": "br" } }),
                json!({ "ref": { "type": "ref/resource", "uri": "x:{owner}/{name}" },
                    "argument": { "name": "name", "value": "um" },
                    "context": { "arguments": { "owner": "me", "branch": "" } } }),
            ]
        );
    });
}

// COMP-5
#[test]
fn more_than_a_hundred_completions_are_cut() {
    soon(|| {
        let values: Vec<String> = (0..150).map(|number| number.to_string()).collect();
        let result = json!({ "completion": { "values": values } });
        let client = open(&Script::new().answer("completion/complete", result));
        let completion = client.complete(CompletionReference::prompt("x"), "a", "").unwrap();
        assert_eq!(completion.values, values[..100]);
    });
}

// STDIO-30
#[test]
fn a_ping_is_what_the_era_has_for_it() {
    soon(|| {
        for (era, method) in [(Era::Legacy, "ping"), (Era::Modern, "server/discover")] {
            let (server, received) = answering(era, json!({}), |wire, message| {
                wire.reply(message, json!({}));
            });
            let client = Client::open(server).unwrap();
            // The peer itself answers what the first message asks, if that is the opening's.
            client.request("x", ()).call().unwrap();
            client.ping().unwrap();
            let received = all_received(&client, &received);
            assert_eq!(received.last().unwrap().method(), method);
        }
    });
}

// STDIO-30: a server that is silent about it is not well; nobody pings it but the caller.
#[test]
fn a_ping_without_an_answer_is_a_failure() {
    soon(|| {
        for (era, method) in [(Era::Legacy, "ping"), (Era::Modern, "server/discover")] {
            let (server, received) = answering(era, tools(), |wire, message| {
                if message.method() == "tools/call" {
                    wire.reply(message, said("done"));
                }
            });
            let server = server.timeouts(Timeouts::default().request(Duration::from_millis(50)));
            let client = Client::open(server).unwrap();
            let call = || client.tool("x").timeout(Duration::MAX).call().map(drop).unwrap();
            call();
            assert!(client.ping().unwrap_err().is_timeout());
            // The connection is the caller's to give up.
            call();
            let received = all_received(&client, &received);
            let methods: Vec<&str> = received.iter().map(Received::method).collect();
            assert_eq!(methods, ["tools/call", method, "notifications/cancelled", "tools/call"]);
        }
    });
}

// META-16, LOG-1, LOG-4
#[test]
fn the_log_level_is_set_as_the_era_does() {
    soon(|| {
        let level = |message: &Received| {
            message.0["params"]["_meta"]["io.modelcontextprotocol/logLevel"].clone()
        };
        for era in ERAS {
            let (server, received) =
                answering(era, everything(), |wire, message| match message.method() {
                    "logging/setLevel" => wire.reply(message, json!({})),
                    _ => wire.reply(message, said("done")),
                });
            let client = Client::open(server).unwrap();
            let call = || client.tool("x").log_level(umcp::LoggingLevel::Error);
            client.call_tool("x", json!({})).map(drop).unwrap();
            client.set_log_level(umcp::LoggingLevel::Notice).unwrap();
            client.call_tool("x", json!({})).map(drop).unwrap();
            call().call().map(drop).unwrap();
            client.call_tool("x", json!({})).map(drop).unwrap();
            let received = all_received(&client, &received);
            let (set, calls): (Vec<_>, Vec<_>) =
                received.iter().partition(|message| message.method() == "logging/setLevel");
            let levels: Vec<Value> = calls.into_iter().map(level).collect();
            if era == Era::Modern {
                assert!(set.is_empty());
                assert_eq!(levels, [json!(null), json!("notice"), json!("error"), json!("notice")]);
            } else {
                assert_eq!(set.len(), 1);
                assert_eq!(set[0].0["params"], json!({ "level": "notice" }));
                assert_eq!(levels, [json!(null), json!(null), json!(null), json!(null)]);
            }
        }
    });
}
