//! Which kind of server is behind a URL: what is asked in which order, and what the answers mean.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use umcp::{Client, Era, EraMemory, ErrorKind, ProtocolVersion};

use crate::calls::said;
use crate::common::soon;
use crate::http_peer::{
    Answer, Chunks, Endpoint, Post, answer, call, http, initialized, response, session, stream,
};
use crate::stdio::discovered;

/// What may be the body of an answer that is no success.
#[derive(Clone, Copy, Debug)]
enum Body {
    Empty,
    Html,
    /// An error with this code, under the request's id.
    Rpc(i64),
    /// The same without an id.
    Anonymous(i64),
    /// The same under an id that nobody has given, as Python's SDK 1.x does it.
    Foreign(i64),
}

use Body::{Anonymous, Empty, Foreign, Html, Rpc};

fn refusal(post: &Post, status: u16, body: Body) -> Answer {
    let data = json!({ "supported": ["2026-07-28"], "requested": "2026-07-28" });
    let error = |code: i64| json!({ "code": code, "message": "no", "data": data });
    let json = "Content-Type: application/json\r\n";
    match body {
        Empty => http(status, "", ""),
        Html => http(status, "Content-Type: text/html\r\n", "<h1>No</h1>"),
        Rpc(code) => {
            let reply = json!({ "jsonrpc": "2.0", "id": post.body["id"], "error": error(code) });
            http(status, json, reply.to_string())
        }
        Anonymous(code) => {
            http(status, json, json!({ "jsonrpc": "2.0", "error": error(code) }).to_string())
        }
        Foreign(code) => {
            let reply = json!({ "jsonrpc": "2.0", "id": "server-error", "error": error(code) });
            http(status, json, reply.to_string())
        }
    }
}

/// What is not of the modern era, whatever its code.
const NOT_MODERN: [Body; 8] = [
    Empty,
    Html,
    Rpc(-32601),
    Rpc(-32600),
    Rpc(-32000),
    Rpc(-32004),
    Anonymous(-32602),
    Foreign(-32600),
];

/// What a legacy server without sessions and streams answers.
fn legacy(post: &Post) -> Answer {
    match post.what() {
        "initialize" => initialized(post, "2025-11-25", ""),
        "GET" => http(405, "", ""),
        _ => session(post).unwrap_or_else(|| answer(post, &said("done"))),
    }
}

// ERA-24, ERA-25, ERA-27, ERA-28, ERA-30, ERA-31, ERA-36, ERA-37
#[test]
fn a_probe_that_is_refused_in_no_modern_words_leads_to_initialize() {
    soon(|| {
        let refusals = [400, 404, 405, 410, 422].map(|status| NOT_MODERN.map(|it| (status, it)));
        // As it is with errors that come with a success, and with other results.
        let others = [(200, Rpc(-32601)), (200, Rpc(-32602)), (200, Rpc(1))];
        for (status, body) in refusals.into_iter().flatten().chain(others) {
            let endpoint = Endpoint::bare(move |post| match post.is("server/discover") {
                true => match refusal(post, status, body) {
                    Answer::Http { status, headers, body } => {
                        http(status, &format!("{headers}Mcp-Session-Id: wrong\r\n"), body)
                    }
                    other => other,
                },
                false => legacy(post),
            });
            let client = Client::open(endpoint.server()).unwrap();
            assert_eq!(call(&client).unwrap(), "done", "{status} {body:?}");
            client.close();
            let posts: Vec<Post> = endpoint.posts.try_iter().collect();
            let order: Vec<_> = posts.iter().map(Post::what).collect();
            let expected =
                ["server/discover", "initialize", "notifications/initialized", "GET", "tools/call"];
            assert_eq!(order, expected, "{status} {body:?}");
            // The probe is modern, and nothing of that is in what follows.
            assert_eq!(posts[0].header("mcp-protocol-version"), Some("2026-07-28"));
            for name in ["mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id"] {
                assert_eq!(posts[1].header(name), None, "{status} {body:?}");
            }
            assert_eq!(posts[1].body["params"]["protocolVersion"], "2025-11-25");
            assert!(!posts[1].body.to_string().contains("2026-07-28"), "{status} {body:?}");
            assert!(posts.iter().all(|post| post.header("mcp-session-id").is_none()));
        }
    });
}

// ERA-25, ERA-26, ERA-29
#[test]
fn a_probe_that_is_refused_in_modern_words_does_not() {
    soon(|| {
        for status in [200, 400, 404, 500] {
            for code in [-32020, -32021, -32022] {
                for body in [Rpc(code), Anonymous(code), Foreign(code)] {
                    let endpoint = Endpoint::bare(move |post| refusal(post, status, body));
                    let error = Client::open(endpoint.server()).unwrap_err();
                    let named = error.rpc().map(|rpc| rpc.code);
                    assert_eq!(named, Some(code), "{status} {body:?}: {error}");
                    // A version that is listed is tried, once.
                    let asked = if code == -32022 { 2 } else { 1 };
                    assert_eq!(
                        endpoint.seen(),
                        vec!["server/discover"; asked],
                        "{status} {body:?}"
                    );
                }
            }
        }
    });
}

// ERA-26
#[test]
fn a_version_error_says_what_to_go_on_with() {
    soon(|| {
        for (supported, era) in [("2026-07-28", Era::Modern), ("2025-06-18", Era::Legacy)] {
            let is_refused = Mutex::new(false);
            let endpoint = Endpoint::bare(move |post| match post.what() {
                "server/discover" if !std::mem::replace(&mut *is_refused.lock().unwrap(), true) => {
                    let data = json!({ "supported": [supported], "requested": "2026-07-28" });
                    let error = json!({ "code": -32022, "message": "no", "data": data });
                    let reply = json!({ "jsonrpc": "2.0", "id": post.body["id"], "error": error });
                    http(400, "", reply.to_string())
                }
                "server/discover" => answer(post, &discovered(&json!({ "tools": {} }))),
                "initialize" => {
                    assert_eq!(post.body["params"]["protocolVersion"], supported);
                    initialized(post, supported, "")
                }
                _ => legacy(post),
            });
            let client = Client::open(endpoint.server()).unwrap();
            assert_eq!(client.protocol_version().era(), era);
            assert_eq!(call(&client).unwrap(), "done");
        }
    });
}

// ERA-33
#[test]
fn what_is_no_evidence_of_an_era_is_reported_and_nothing_else_is_tried() {
    soon(|| {
        let bodies = [Empty, Html, Rpc(-32601), Anonymous(-32603)];
        for status in [401, 403, 406, 413, 415, 429, 500, 502, 503] {
            for body in bodies {
                let endpoint = Endpoint::bare(move |post| match refusal(post, status, body) {
                    Answer::Http { status, headers, body } => {
                        http(status, &format!("{headers}Retry-After: 7\r\n"), body)
                    }
                    other => other,
                });
                let error = Client::open(endpoint.server()).unwrap_err();
                let kind = match status {
                    401 | 403 => ErrorKind::Authorization,
                    _ => ErrorKind::Unreachable,
                };
                assert_eq!((error.kind(), error.may_have_run()), (kind, false), "{error}");
                assert!(error.to_string().contains(&status.to_string()), "{error}");
                assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(7), "{error}");
                assert_eq!(endpoint.seen(), ["server/discover"], "{status} {body:?}");
            }
        }
        // Nor is a connection that breaks.
        let endpoint = Endpoint::bare(|_| Answer::Close);
        let error = Client::open(endpoint.server()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert_eq!(endpoint.seen(), ["server/discover"]);
    });
}

/// The answer to `initialize`, after which a server of the old transport is looked for or not.
const REFUSALS: [(u16, Body, bool); 22] = [
    (400, Empty, true),
    (400, Html, true),
    (400, Rpc(-32000), true),
    (400, Anonymous(-32600), true),
    (400, Foreign(-32600), true),
    (404, Empty, true),
    (404, Html, true),
    (404, Rpc(-32000), true),
    (405, Empty, true),
    (405, Html, true),
    (405, Anonymous(-32000), true),
    (400, Rpc(-32022), false),
    (400, Anonymous(-32020), false),
    (405, Rpc(-32021), false),
    // ERA-29
    (404, Rpc(-32601), false),
    (410, Empty, false),
    (422, Html, false),
    (401, Empty, false),
    (403, Html, false),
    (429, Empty, false),
    (500, Empty, false),
    (200, Rpc(-32000), false),
];

// ERA-29, ERA-33, ERA-34, ERA-35, ERA-36
#[test]
fn an_initialize_that_is_refused_may_lead_to_the_old_transport_and_is_reported_else() {
    soon(|| {
        for (status, body, looks) in REFUSALS {
            let endpoint = Endpoint::bare(move |post| match post.what() {
                "server/discover" => http(400, "", ""),
                // What is asked for is a stream, and this is none.
                "GET" => http(405, "", "Method not allowed"),
                _ => refusal(post, status, body),
            });
            let error = Client::open(endpoint.server()).unwrap_err();
            let mut order = vec!["server/discover", "initialize"];
            order.extend(looks.then_some("GET"));
            assert_eq!(endpoint.seen(), order, "{status} {body:?}");
            let code = error.rpc().map(|rpc| rpc.code);
            match body {
                Rpc(expected) | Anonymous(expected) | Foreign(expected) => {
                    assert_eq!(code, Some(expected), "{status} {body:?}: {error}");
                }
                Empty | Html => {
                    assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
                }
            }
            assert!(!error.may_have_run(), "{error}");
        }
    });
}

// ERA-34, ERA-36
#[test]
fn what_answers_the_get_and_is_no_stream_leaves_the_error_of_initialize() {
    /// An answer to the GET, and what it comes to.
    type Get = (fn() -> Answer, ErrorKind, &'static str);
    soon(|| {
        let gets: [Get; 6] = [
            (|| http(405, "", ""), ErrorKind::Unreachable, "HTTP 404"),
            (|| http(200, "Content-Type: text/html\r\n", "<h1>"), ErrorKind::Unreachable, "404"),
            (|| http(500, "", ""), ErrorKind::Unreachable, "HTTP 404"),
            (|| Answer::Close, ErrorKind::Unreachable, "HTTP 404"),
            // No event of the old transport's.
            (|| stream(Chunks::end), ErrorKind::Unreachable, "HTTP 404"),
            // ERA-33: there may be one behind it.
            (|| http(401, "", ""), ErrorKind::Authorization, "HTTP 401"),
        ];
        for (number, (get, kind, text)) in gets.into_iter().enumerate() {
            let endpoint = Endpoint::bare(move |post| match post.verb() {
                "GET" => get(),
                _ => http(404, "", "not here"),
            });
            let error = Client::open(endpoint.server()).unwrap_err();
            assert_eq!(error.kind(), kind, "{number}: {error}");
            assert!(error.to_string().contains(text), "{number}: {error}");
            assert_eq!(endpoint.seen(), ["server/discover", "initialize", "GET"], "{number}");
        }
    });
}

// ERA-27, ERA-32, ERA-39
#[test]
fn the_era_is_found_out_once_for_a_connection() {
    soon(|| {
        let refuse = |post: &Post| refusal(post, 400, Html);
        let modern = Endpoint::new(move |post| match post.body["params"]["name"] == "x" {
            true => refuse(post),
            // Without a `resultType`.
            false => answer(post, &said("done")),
        });
        let client = modern.open();
        for _ in 0..2 {
            assert_eq!(call(&client).unwrap_err().kind(), ErrorKind::Unreachable);
            assert_eq!(client.call_tool("other", json!({})).unwrap().text(), "done");
        }
        assert_eq!(modern.seen(), ["tools/call"; 4]);

        let legacy = Endpoint::bare(move |post| match post.is("tools/call") {
            true => refuse(post),
            false => legacy(post),
        });
        let client = Client::open(legacy.server()).unwrap();
        legacy.next("GET");
        for _ in 0..2 {
            assert_eq!(call(&client).unwrap_err().kind(), ErrorKind::Unreachable);
            client.ping().unwrap();
        }
        assert_eq!(legacy.seen(), ["tools/call", "ping", "tools/call", "ping"]);
    });
}

#[derive(Default)]
struct Remembered(Mutex<Option<Era>>);

impl EraMemory for Remembered {
    fn recall(&self, _: &str) -> Option<Era> {
        *self.0.lock().unwrap()
    }

    fn remember(&self, _: &str, era: Era) {
        *self.0.lock().unwrap() = Some(era);
    }

    fn forget(&self, _: &str) {
        *self.0.lock().unwrap() = None;
    }
}

// ERA-36
#[test]
fn what_is_pinned_or_remembered_is_not_asked() {
    soon(|| {
        let order =
            |endpoint: &Endpoint| endpoint.posts.try_iter().map(|it| it.what().into()).collect();
        let legacy_opening = ["initialize", "notifications/initialized", "GET"];
        let endpoint = Endpoint::bare(legacy);
        // Nothing but the modern era: neither `initialize` nor GET.
        let error = Client::open(endpoint.server().era(Era::Modern)).unwrap_err();
        assert!(error.to_string().contains("2026-07-28"), "{error}");
        assert_eq!(endpoint.seen(), ["server/discover"]);
        for server in [
            endpoint.server().era(Era::Legacy),
            endpoint.server().version(ProtocolVersion::V2025_11_25),
        ] {
            assert_eq!(call(&Client::open(server).unwrap()).unwrap(), "done");
            let seen: Vec<String> = order(&endpoint);
            assert_eq!(seen[..3], legacy_opening);
        }
        // Found out by the first client, and used by the second.
        let memory = Arc::new(Remembered::default());
        for skipped in [0, 1] {
            let builder = Client::builder().era_memory(memory.clone());
            let client = builder.open(endpoint.server()).unwrap();
            assert_eq!(call(&client).unwrap(), "done");
            let seen: Vec<String> = order(&endpoint);
            let whole = ["server/discover", "initialize", "notifications/initialized", "GET"];
            assert_eq!(seen[..4 - skipped], whole[skipped..]);
        }
        assert_eq!(*memory.0.lock().unwrap(), Some(Era::Legacy));
        // A server that is modern by now.
        let modern = Endpoint::bare(|post| match post.what() {
            "server/discover" => answer(post, &discovered(&json!({ "tools": {} }))),
            "initialize" => refusal(post, 404, Rpc(-32601)),
            _ => answer(post, &said("done")),
        });
        let builder = Client::builder().era_memory(memory.clone());
        let client = builder.open(modern.server()).unwrap();
        assert_eq!(call(&client).unwrap(), "done");
        assert_eq!(modern.seen(), ["initialize", "server/discover", "tools/call"]);
        assert_eq!(*memory.0.lock().unwrap(), Some(Era::Modern));
    });
}

// ERA-38, SSE-1
#[test]
fn one_kind_of_url_leads_to_every_kind_of_server() {
    soon(|| {
        let modern = Endpoint::new(|post| answer(post, &said("modern")));
        let legacy = Endpoint::legacy(|post| match post.verb() {
            "GET" => http(405, "", ""),
            _ => answer(post, &said("legacy")),
        });
        let (replies, to_send) = mpsc::channel::<Value>();
        let (replies, to_send) = (Mutex::new(replies), Arc::new(Mutex::new(to_send)));
        let old = Endpoint::bare(move |post| match (post.verb(), post.path()) {
            ("GET", _) => {
                let to_send = to_send.clone();
                stream(move |chunks| {
                    chunks.send("event: endpoint\ndata: /messages\n\n");
                    for reply in to_send.lock().unwrap().iter() {
                        chunks.event(&reply);
                    }
                })
            }
            (_, "/messages") => {
                let result = match post.is("initialize") {
                    true => json!({ "protocolVersion": "2024-11-05",
                        "capabilities": { "tools": {} },
                        "serverInfo": { "name": "old", "version": "1" } }),
                    false => said("old"),
                };
                if post.body["id"].is_u64() {
                    replies.lock().unwrap().send(response(post, &result)).unwrap();
                }
                http(202, "", "Accepted")
            }
            _ => http(405, "", ""),
        });
        for (endpoint, kind) in [(&modern, "modern"), (&legacy, "legacy"), (&old, "old")] {
            let client = Client::connect(&endpoint.url).unwrap();
            assert_eq!(call(&client).unwrap(), kind);
        }
        // The old transport is the last that is tried.
        let whole = ["server/discover", "initialize", "GET", "initialize"];
        assert_eq!(old.seen()[..4], whole);
        assert_eq!(modern.seen(), ["server/discover", "tools/call"]);
    });
}
