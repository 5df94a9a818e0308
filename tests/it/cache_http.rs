//! The cache over HTTP: who is authorized by what, servers that have trouble, and sessions.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use umcp::{Cache, Client, Server};

use crate::cache::with_example;
use crate::calls::said;
use crate::common::{FOREVER, soon};
use crate::http_peer::{Endpoint, answer, http, initialized};
use crate::support::http::{Mode, Options, start};

// CACHE-1
#[test]
fn lists_and_reads_are_kept_over_http() {
    soon(|| {
        for mode in [Mode::Modern, Mode::Legacy, Mode::Sse] {
            let url = start(0, Options::new(mode)).unwrap();
            with_example(Server::url(url), true);
        }
    });
}

// CACHE-12, CACHE-13, CACHE-14
#[test]
fn who_is_authorized_otherwise_gets_nothing_of_it() {
    let endpoint = Endpoint::new(|post| {
        let who = post.header("authorization").unwrap();
        let mut result = json!({ "contents": [{ "uri": "a://b", "text": who }], "ttlMs": 60_000 });
        match post.body["params"]["uri"].as_str().unwrap() {
            "a://private" => result["cacheScope"] = json!("private"),
            "a://public" => result["cacheScope"] = json!("public"),
            "a://odd" => result["cacheScope"] = json!("team"),
            _ => {}
        }
        answer(post, &result)
    });
    let cache = Cache::new();
    let open = |token: &str| {
        let server = endpoint.server().bearer_token(token);
        Client::builder().cache(cache.clone()).open(server).unwrap()
    };
    let clients = [("ada", open("ada")), ("bob", open("bob")), ("ada", open("ada"))];
    for uri in ["a://private", "a://public", "a://odd", "a://none"] {
        for (who, client) in &clients {
            for _ in 0..2 {
                let result = client.read_resource(uri).unwrap();
                assert_eq!(result.contents[0].as_text(), Some(&*format!("Bearer {who}")));
            }
        }
    }
    assert_eq!(endpoint.seen().iter().filter(|it| *it == "resources/read").count(), 12);
}

// CACHE-11
#[test]
fn a_server_that_has_trouble_is_helped_out() {
    for (status, is_helped) in [(503, true), (500, true), (429, true), (401, false)] {
        let count = AtomicUsize::new(0);
        let endpoint = Endpoint::new(move |post| match count.fetch_add(1, Ordering::SeqCst) {
            0 => answer(post, &json!({ "contents": [], "ttlMs": 0 })),
            _ => http(status, "", ""),
        });
        let cache = Cache::new().stale_if_error(FOREVER);
        let client = Client::builder().cache(cache).open(endpoint.server()).unwrap();
        client.read_resource("a://b").unwrap();
        assert_eq!(client.read_resource("a://b").is_ok(), is_helped, "{status}");
    }
}

// LHTTP-9
#[test]
fn another_session_begins_with_nothing_kept() {
    let count = AtomicUsize::new(0);
    let endpoint = Endpoint::bare(move |post| match post.what() {
        "initialize" => initialized(post, "2025-11-25", "Mcp-Session-Id: s\r\n"),
        "server/discover" => http(400, "", ""),
        "GET" => http(405, "", ""),
        "tools/call" if count.fetch_add(1, Ordering::SeqCst) == 0 => http(404, "", ""),
        "tools/call" => answer(post, &said("done")),
        "tools/list" => answer(post, &json!({ "tools": [] })),
        _ => http(202, "", ""),
    });
    let builder = Client::builder().cache(Cache::new().invalidate_on_call(false));
    let client = builder.open(endpoint.server()).unwrap();
    (0..2).for_each(|_| _ = client.list_tools().unwrap());
    assert_eq!(client.cache().stats().misses, 1);
    let _ = client.call_tool("x", json!({})).unwrap();
    client.list_tools().unwrap();
    assert_eq!(client.cache().stats().misses, 2);
    client.close();
}

// XHDR-26, CACHE-10
#[test]
fn headers_that_are_refused_have_the_tools_asked_for_whatever_is_kept() {
    let lists = AtomicUsize::new(0);
    let endpoint = Endpoint::new(move |post| {
        let schema = |header: &str| {
            json!({ "type": "object",
            "properties": { "a": { "type": "string", "x-mcp-header": header } } })
        };
        match post.what() {
            "tools/list" => {
                let header = if lists.fetch_add(1, Ordering::SeqCst) == 0 { "Old" } else { "New" };
                let tool = json!({ "name": "x", "inputSchema": schema(header) });
                answer(post, &json!({ "tools": [tool], "ttlMs": 60_000 }))
            }
            _ if post.header("mcp-param-new").is_none() => {
                let error = json!({ "code": -32020, "message": "headers" });
                let reply = json!({ "jsonrpc": "2.0", "id": post.body["id"], "error": error });
                http(400, "Content-Type: application/json\r\n", reply.to_string())
            }
            _ => answer(post, &said("done")),
        }
    });
    let client = Client::builder().cache(Cache::new()).open(endpoint.server()).unwrap();
    (0..2).for_each(|_| _ = client.list_tools().unwrap());
    for _ in 0..2 {
        assert_eq!(client.call_tool("x", json!({ "a": "b" })).unwrap().text(), "done");
        // What is kept is what these headers are from.
        client.list_tools().unwrap();
    }
    let (list, call) = ("tools/list", "tools/call");
    assert_eq!(endpoint.seen()[1..], [list, call, list, call, list, call]);
}
