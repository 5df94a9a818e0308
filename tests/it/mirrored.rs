//! Arguments that are said in headers, too (`x-mcp-header`), against a small server on this machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use umcp::{CancelToken, Client, Error, ErrorKind, Limits};

use crate::calls::{answering, said, tools};
use crate::common::{ERAS, SHORT, soon};
use crate::http_peer::{Answer, Endpoint, Post, answer, http};
use crate::logging::{spy, warnings};

/// A tool whose argument `a` is wanted in this header.
fn wants(name: &str, header: &str) -> Value {
    tool(name, json!({ "a": { "type": "string", "x-mcp-header": header } }))
}

fn tool(name: &str, properties: Value) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object", "properties": properties } })
}

fn refusal(post: &Post) -> Answer {
    let error = json!({ "code": -32020, "message": "Header mismatch" });
    let body = json!({ "jsonrpc": "2.0", "id": post.body["id"], "error": error });
    http(400, "Content-Type: application/json\r\n", body.to_string())
}

/// A server whose list of tools is the first of these, then the second and so on.
fn listing(lists: Vec<Value>) -> Endpoint {
    let lists = Mutex::new(lists.into_iter());
    Endpoint::new(move |post| match post.is("tools/list") {
        true => answer(post, &json!({ "tools": lists.lock().unwrap().next().unwrap() })),
        false => answer(post, &said("done")),
    })
}

/// A server that refuses a call unless it has this header, and whose first list of tools is stale.
fn refreshing(header: &'static str, stale: Value, fresh: Vec<Value>) -> Endpoint {
    let lists = Mutex::new(
        std::iter::once(json!({ "tools": stale })).chain(fresh).collect::<Vec<_>>().into_iter(),
    );
    Endpoint::new(move |post| match post.is("tools/list") {
        true => answer(post, &lists.lock().unwrap().next().unwrap()),
        false if post.header(header).is_some() => answer(post, &said("done")),
        false => refusal(post),
    })
}

fn names(client: &Client) -> Vec<String> {
    client.list_tools().unwrap().into_iter().map(|tool| tool.name).collect()
}

/// The headers that mirror arguments.
fn mirrored(post: &Post) -> BTreeMap<&str, &str> {
    let headers = post.headers.iter().filter(|(name, _)| name.starts_with("mcp-param-"));
    headers.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn methods(posts: &[Post]) -> Vec<&str> {
    posts.iter().map(|post| post.body["method"].as_str().unwrap()).collect()
}

// XHDR-1, XHDR-13, XHDR-15, XHDR-16, XHDR-17, XHDR-18, XHDR-20, XHDR-21, XHDR-22
#[test]
fn a_call_says_in_headers_what_the_schema_asks_for() {
    soon(|| {
        let property = |kind: &str, header: &str| json!({ "type": kind, "x-mcp-header": header });
        let endpoint = listing(vec![json!([tool(
            "x",
            json!({
                "region": property("string", "Region"),
                "method": property("string", "Method"),
                "count": property("integer", "Count"),
                "dry": property("boolean", "Dry-Run"),
                "empty": property("string", "Empty"),
                "text": property("string", "Text"),
                "padded": property("string", "Padded"),
                "lines": property("string", "Lines"),
                "sentinel": property("string", "Sentinel"),
                "float": property("integer", "Float"),
                "null": property("string", "Null"),
                "absent": property("string", "Absent"),
                "query": { "type": "string" },
                "where": { "type": "object", "properties": { "zone": property("string", "Zone") } },
            })
        )])]);
        let client = endpoint.open();
        client.list_tools().unwrap();
        let arguments = json!({
            "region": "us west 1", "method": "m", "count": -7, "dry": false, "empty": "",
            "text": "Hello, 世界", "padded": " padded ", "lines": "line1\r\nMcp-Param-Absent: 1",
            "sentinel": "=?base64?literal?=", "float": 42.0, "null": null,
            "query": "not this", "where": { "zone": "a", "region": "b" }, "zone": "not here",
        });
        client.call_tool("x", arguments.clone()).map(drop).unwrap();
        let post = endpoint.posts.iter().nth(1).unwrap();
        let expected = [
            ("mcp-param-region", "us west 1"),
            ("mcp-param-method", "m"),
            ("mcp-param-count", "-7"),
            ("mcp-param-dry-run", "false"),
            ("mcp-param-empty", ""),
            ("mcp-param-text", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            ("mcp-param-padded", "=?base64?IHBhZGRlZCA=?="),
            ("mcp-param-lines", "=?base64?bGluZTENCk1jcC1QYXJhbS1BYnNlbnQ6IDE=?="),
            ("mcp-param-sentinel", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("mcp-param-float", "42"),
            ("mcp-param-zone", "a"),
        ];
        assert_eq!(mirrored(&post), BTreeMap::from(expected));
        assert_eq!(post.header("mcp-method"), Some("tools/call"));
        assert_eq!(post.body["params"]["arguments"], arguments);
    });
}

// XHDR-17, XHDR-25
#[test]
fn every_way_to_call_a_tool_goes_by_the_newest_schema() {
    soon(|| {
        let endpoint = listing(vec![
            json!([wants("x", "One"), wants("y", "Y")]),
            json!([wants("x", "Two")]),
            json!([tool("x", json!({}))]),
        ]);
        let client = endpoint.open();
        let arguments = json!({ "a": "v" });
        let mut expected = Vec::new();
        for header in [None, Some("mcp-param-one"), Some("mcp-param-two"), None] {
            client.call_tool("x", &arguments).map(drop).unwrap();
            client.tool("x").arg("a", "v").start().unwrap().wait().map(drop).unwrap();
            let params = json!({ "name": "x", "arguments": arguments });
            client.request("tools/call", params).call().unwrap();
            expected.extend([header; 3]);
            // A name, and arguments, of another method are something else.
            let params = json!({ "name": "x", "arguments": { "a": "v" } });
            client.request("example/x", params).call().unwrap();
            expected.push(None);
            if expected.len() < 16 {
                for tool in client.tools() {
                    tool.unwrap();
                }
            }
        }
        let posts: Vec<Post> = endpoint.posts.try_iter().collect();
        let calls: Vec<_> = posts.iter().filter(|post| !post.is("tools/list")).collect();
        let sent: Vec<_> = calls.iter().map(|post| mirrored(post)).collect();
        let expected: Vec<_> =
            expected.iter().map(|name| name.iter().map(|name| (*name, "v")).collect()).collect();
        assert_eq!(sent, expected);
    });
}

// XHDR-2, XHDR-3, XHDR-4, XHDR-5, XHDR-6, XHDR-7, XHDR-9, XHDR-10
#[test]
fn a_tool_whose_annotations_are_wrong_is_left_out_with_a_warning() {
    spy();
    soon(|| {
        let typed = |kind: &str| json!({ "a": { "type": kind, "x-mcp-header": "A" } });
        let twice = |one: &str, other: &str| {
            json!({ "a": { "type": "string", "x-mcp-header": one },
                "b": { "type": "string", "x-mcp-header": other } })
        };
        let list = json!([
            wants("empty", ""),
            tool("on an object", typed("object")),
            tool("on an array", typed("array")),
            tool("on null", typed("null")),
            tool("on a number", typed("number")),
            tool("twice", twice("A", "A")),
            wants("good", "A"),
            tool("twice in another case", twice("A", "a")),
            wants("space", "My Region"),
            wants("colon", "A:"),
            wants("not ASCII", "Région"),
            wants("control", "A\r\nB"),
            tool("in items", json!({ "a": { "type": "array", "items": typed("string")["a"] } })),
            tool("in anyOf", json!({ "a": { "anyOf": [typed("string")["a"]] } })),
            tool("plain", json!({ "x-mcp-header": { "type": "string" } })),
        ]);
        let bad = list.as_array().unwrap().len() - 2;
        let endpoint = listing(vec![list.clone(), list.clone(), list]);
        let client = Client::open(endpoint.server().name("left-out")).unwrap();
        assert_eq!(names(&client), ["good", "plain"]);
        let iterated: Vec<_> = client.tools().into_iter().map(|tool| tool.unwrap().name).collect();
        assert_eq!(iterated, ["good", "plain"]);
        assert_eq!(client.tools().page().unwrap().items.len(), 2);
        let warnings = warnings("left-out: ");
        assert_eq!(warnings.len(), 3 * bad, "{warnings:?}");
        assert!(warnings[0].contains("left out the tool \"empty\": its `x-mcp-header` \"\""));
        // Each of them can be called.
        for name in ["good", "plain"] {
            client.call_tool(name, json!({ "a": "v" })).map(drop).unwrap();
        }
    });
}

// XHDR-8, XHDR-19
#[test]
fn an_argument_that_no_header_can_say_fails_the_call_before_it_is_sent() {
    soon(|| {
        let endpoint = listing(vec![json!([wants("x", "A")])]);
        let client = endpoint.open();
        client.list_tools().unwrap();
        for value in [json!({}), json!(["s3cret"]), json!(0.5), json!(1_u64 << 53)] {
            let error = client.call_tool("x", json!({ "a": value })).unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::InvalidInput, false));
            let text = error.to_string();
            assert!(text.starts_with("web: tools/call \"x\": the server wants the argument \"a\""));
            assert!(!text.contains("s3cret"));
        }
        assert_eq!(endpoint.posts.try_iter().count(), 1);
    });
}

// XHDR-11
#[test]
fn other_transports_and_eras_have_no_headers() {
    soon(|| {
        for era in ERAS {
            let (server, _) = answering(era, tools(), |wire, message| match message.method() {
                "tools/list" => wire.reply(message, json!({ "tools": [wants("x", "")] })),
                _ => wire.reply_error(message, -32020, "Header mismatch", None),
            });
            let client = Client::open(server).unwrap();
            assert_eq!(names(&client), ["x"], "{era}");
            let error = client.call_tool("x", json!({ "a": {} })).unwrap_err();
            assert_eq!(error.rpc().unwrap().code, -32020, "{error}");
        }
    });
}

// XHDR-26, XHDR-27
#[test]
fn a_call_refused_for_its_headers_is_sent_again_once_with_those_of_the_newest_schema() {
    type Call = fn(&Client) -> umcp::Result<String>;
    let ways: [Call; 4] = [
        |client| client.call_tool("x", json!({ "a": "v" })).map(|result| result.text()),
        |client| client.tool("x").arg("a", "v").start()?.wait().map(|result| result.text()),
        |client| {
            let mut call = client.tool("x").arg("a", "v").start()?;
            let result = loop {
                if let Some(result) = call.wait_timeout(SHORT / 100)? {
                    break result.text();
                }
            };
            assert_eq!(call.try_wait().unwrap_err().kind(), ErrorKind::InvalidInput);
            Ok(result)
        },
        |client| {
            let params = json!({ "name": "x", "arguments": { "a": "v" } });
            let result = client.request("tools/call", params).call()?.to_value().unwrap();
            Ok(result["content"][0]["text"].as_str().unwrap().to_owned())
        },
    ];
    soon(move || {
        for call in ways {
            let endpoint = refreshing(
                "mcp-param-new",
                json!([wants("x", "Old")]),
                vec![
                    json!({ "tools": [wants("y", "Y")], "nextCursor": "2" }),
                    json!({ "tools": [wants("x", "New")], "nextCursor": "3" }),
                ],
            );
            let client = endpoint.open();
            client.tools().page().unwrap();
            assert_eq!(call(&client).unwrap(), "done");
            // The new schema is known from now on.
            assert_eq!(call(&client).unwrap(), "done");
            let posts: Vec<Post> = endpoint.posts.try_iter().skip(1).collect();
            let sent = ["tools/call", "tools/list", "tools/list", "tools/call", "tools/call"];
            assert_eq!(methods(&posts), sent);
            assert_eq!(mirrored(&posts[0]), BTreeMap::from([("mcp-param-old", "v")]));
            assert_eq!(posts[1].body["params"]["cursor"], Value::Null);
            assert_eq!(posts[2].body["params"]["cursor"], "2");
            for post in &posts[3..] {
                assert_eq!(mirrored(post), BTreeMap::from([("mcp-param-new", "v")]));
            }
            assert_ne!(posts[0].body["id"], posts[3].body["id"]);
            assert_eq!(posts[0].body["params"]["arguments"], posts[3].body["params"]["arguments"]);
        }
    });
}

// XHDR-27
#[test]
fn a_refusal_that_a_new_list_does_not_help_is_the_calls_error() {
    let refused = -32020;
    // What the list says the second time, and what is sent after that.
    let cases = [
        (json!({ "tools": [wants("x", "Old")] }), vec!["tools/list", "tools/call"]),
        (json!({ "tools": [wants("y", "Old")] }), vec!["tools/list"]),
        (json!({ "tools": [wants("x", "not valid")] }), vec!["tools/list"]),
        (json!({ "tools": 5 }), vec!["tools/list"]),
        (json!({ "tools": [], "nextCursor": "again" }), vec!["tools/list", "tools/list"]),
    ];
    soon(move || {
        for (fresh, then) in cases {
            let endpoint = refreshing(
                "never",
                json!([wants("x", "Old")]),
                vec![fresh.clone(), fresh.clone(), fresh],
            );
            let client = endpoint.open();
            client.list_tools().unwrap();
            let error = client.call_tool("x", json!({ "a": "v" })).unwrap_err();
            assert_eq!(error.rpc().map(|rpc| rpc.code), Some(refused), "{error}");
            assert!(!error.may_have_run());
            assert!(error.to_string().starts_with("web: tools/call \"x\": "), "{error}");
            let posts: Vec<Post> = endpoint.posts.try_iter().skip(1).collect();
            assert_eq!(methods(&posts)[1..], then);
        }
    });
}

// XHDR-19, XHDR-26
#[test]
fn a_new_schema_may_ask_for_what_no_header_can_say() {
    soon(|| {
        let fresh = json!({ "tools": [wants("x", "A")] });
        let endpoint = refreshing("never", json!([]), vec![fresh]);
        let client = endpoint.open();
        client.list_tools().unwrap();
        let error = client.call_tool("x", json!({ "a": [] })).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::InvalidInput, false));
        assert!(error.to_string().starts_with("web: tools/call \"x\": "), "{error}");
    });
}

#[test]
fn only_calls_of_tools_refused_for_their_headers_ask_for_the_tools() {
    soon(|| {
        let code = Arc::new(AtomicUsize::new(32021));
        let served = code.clone();
        let endpoint = Endpoint::new(move |post| {
            let code = -(served.load(Ordering::SeqCst) as i64);
            let error = json!({ "code": code, "message": "no" });
            let body = json!({ "jsonrpc": "2.0", "id": post.body["id"], "error": error });
            http(400, "", body.to_string())
        });
        let client = endpoint.open();
        assert_eq!(client.call_tool("x", json!({})).unwrap_err().rpc().unwrap().code, -32021);
        code.store(32020, Ordering::SeqCst);
        assert_eq!(client.get_prompt("x", [("a", "b")]).unwrap_err().rpc().unwrap().code, -32020);
        client.list_tools().unwrap_err();
        let posts: Vec<Post> = endpoint.posts.try_iter().collect();
        assert_eq!(methods(&posts), ["tools/call", "prompts/get", "tools/list"]);
    });
}

/// A server that refuses every call, and then has no list.
fn silent_list() -> Endpoint {
    Endpoint::new(|post| match post.is("tools/list") {
        true => Answer::Silence,
        false => refusal(post),
    })
}

/// Waits until it has been asked for its list.
fn wait_for_list(endpoint: &Endpoint) {
    assert!(endpoint.posts.iter().any(|post| post.is("tools/list")));
}

// XHDR-26: it is part of the call.
#[test]
fn asking_for_the_tools_again_ends_with_the_call() {
    type Leave = fn(&Client, &Endpoint) -> Option<Error>;
    let ways: [Leave; 5] = [
        |client, _| client.tool("x").timeout(SHORT).call().err(),
        |client, _| client.tool("x").max_total(SHORT).call().err(),
        |client, endpoint| {
            let token = CancelToken::new();
            let other = (client.clone(), token.clone());
            let call = thread::spawn(move || other.0.tool("x").cancel_token(&other.1).call());
            wait_for_list(endpoint);
            token.cancel();
            call.join().unwrap().err()
        },
        |client, endpoint| {
            let other = client.clone();
            let call = thread::spawn(move || other.call_tool("x", json!({})));
            wait_for_list(endpoint);
            client.close();
            call.join().unwrap().err()
        },
        |client, endpoint| {
            let mut call = client.tool("x").start().unwrap();
            while !endpoint.posts.try_iter().any(|post| post.is("tools/list")) {
                assert_eq!(call.wait_timeout(SHORT / 100).unwrap(), None);
            }
            assert_eq!(call.try_wait().unwrap(), None);
            drop(call);
            None
        },
    ];
    use ErrorKind::{Cancelled, Closed, Timeout};
    let kinds = [Some(Timeout), Some(Timeout), Some(Cancelled), Some(Closed), None];
    soon(move || {
        for (number, (leave, kind)) in ways.into_iter().zip(kinds).enumerate() {
            let endpoint = silent_list();
            let client = endpoint.open();
            let error = leave(&client, &endpoint);
            assert_eq!(error.as_ref().map(Error::kind), kind, "{number}: {error:?}");
            if let Some(error) = error {
                assert!(error.to_string().starts_with("web: tools/call \"x\": "), "{error}");
                assert!(error.is_timeout() || !error.may_have_run(), "{error}");
            }
            // The list's exchange has been closed.
            endpoint.ended.recv().unwrap();
        }
    });
}

// XHDR-26
#[test]
fn asking_for_the_tools_again_keeps_to_the_limits_of_lists() {
    soon(|| {
        let page = AtomicUsize::new(0);
        let endpoint = Endpoint::new(move |post| match post.is("tools/list") {
            true => {
                let next = page.fetch_add(1, Ordering::SeqCst).to_string();
                answer(post, &json!({ "tools": [], "nextCursor": next + &"x".repeat(1000) }))
            }
            false => refusal(post),
        });
        for limits in [Limits::default().pages(5), Limits::default().message(5_000)] {
            let client = Client::open(endpoint.server().limits(limits)).unwrap();
            let error = client.call_tool("x", json!({})).unwrap_err();
            assert_eq!(error.rpc().map(|rpc| rpc.code), Some(-32020), "{error}");
            client.close();
            let posts: Vec<Post> = endpoint.posts.try_iter().collect();
            let lists = posts.iter().filter(|post| post.is("tools/list")).count();
            assert_eq!(lists, 5);
        }
    });
}
