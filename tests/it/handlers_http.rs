//! What servers ask over HTTP, and the answers, against a small server on this machine.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use umcp::{Client, ClientBuilder, Era, ErrorKind};

use crate::calls::said;
use crate::common::soon;
use crate::handlers::request;
use crate::http_peer::{
    Answer, Chunks, Endpoint, Post, answer, http, initialized, progress, response, session, stream,
};
use crate::input_rounds::{asks, form, handling, named, roots, sample};

/// A legacy server that asks these things on the stream of a call, each after the answer to the one
/// before, and says what it was answered.
fn asking(questions: Vec<Value>) -> Endpoint {
    let (answered, answers) = mpsc::channel::<Value>();
    let answers = Arc::new(Mutex::new(answers));
    Endpoint::bare(move |post| match post.what() {
        "(response)" => {
            answered.send(post.body.clone()).unwrap();
            http(202, "", "")
        }
        "GET" => http(405, "", ""),
        "tools/call" => {
            let (answers, questions) = (answers.clone(), questions.clone());
            let id = post.body["id"].clone();
            stream(move |chunks| {
                let answers = answers.lock().unwrap();
                let mut all = Vec::new();
                for (number, question) in questions.iter().enumerate() {
                    chunks.event(&request(number, question));
                    let answer = answers.recv().unwrap();
                    assert_eq!(answer["id"], number);
                    all.push(answer["result"].clone());
                }
                let result = said(json!(all).to_string());
                chunks.event(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
                chunks.end();
            })
        }
        _ => session(post).unwrap_or_else(|| answer(post, &said("done"))),
    })
}

// LHTTP-3, LHTTP-12, LHTTP-21, RPC-15
#[test]
fn what_a_legacy_server_asks_on_the_stream_of_a_call_is_answered_in_posts_of_their_own() {
    soon(|| {
        let endpoint = asking(vec![form(), sample(), roots()]);
        let client = handling().open(endpoint.server()).unwrap();
        for waits in [true, false] {
            let call = client.tool("x");
            let result = match waits {
                true => call.call(),
                false => call.start().unwrap().wait(),
            };
            let answers: Vec<Value> = serde_json::from_str(&result.unwrap().text()).unwrap();
            assert_eq!(answers[0], json!({ "action": "accept", "content": { "name": "Ada" } }));
            assert_eq!(answers[1]["model"], "model");
            assert_eq!(answers[2], json!({ "roots": [{ "uri": "file:///here" }] }));
        }
        assert!(!client.close().left_behind);
        let posts: Vec<Post> = endpoint.posts.try_iter().collect();
        let answers: Vec<_> = posts.iter().filter(|post| post.what() == "(response)").collect();
        assert_eq!(answers.len(), 6);
        for post in answers {
            assert_eq!(post.header("mcp-session-id"), Some("s1"));
            assert_eq!(post.header("mcp-protocol-version"), Some("2025-11-25"));
        }
    });
}

/// The server's own stream, as a test writes it.
fn standing() -> (Endpoint, Receiver<Chunks>) {
    let (opened, streams): (Sender<Chunks>, _) = mpsc::channel();
    let endpoint = Endpoint::legacy(move |post| match post.what() {
        "GET" => crate::http_peer::held(&opened),
        _ => answer(post, &said("done")),
    });
    (endpoint, streams)
}

// LHTTP-18, CANCEL-10
#[test]
fn what_a_legacy_server_asks_on_its_own_stream_is_answered() {
    soon(|| {
        let (endpoint, streams) = standing();
        let (begins, begun) = mpsc::channel();
        let builder = handling().on_sampling(move |_, context| {
            begins.send(()).unwrap();
            while !context.is_cancelled() {
                thread::yield_now();
            }
            begins.send(()).unwrap();
            Err(umcp::SamplingRefusal::declined())
        });
        let client = builder.open(endpoint.server().era(Era::Legacy)).unwrap();
        let mut own = streams.recv().unwrap();
        own.event(&request("a", &form()));
        let answer = endpoint.next("(response)").body;
        assert_eq!((&answer["id"], &answer["result"]["action"]), (&json!("a"), &json!("accept")));
        // One that is not wanted any more.
        own.event(&request("b", &sample()));
        begun.recv().unwrap();
        let params = json!({ "requestId": "b" });
        let method = "notifications/cancelled";
        own.event(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
        begun.recv().unwrap();
        own.event(&request("c", &roots()));
        assert_eq!(endpoint.next("(response)").body["id"], "c");
        client.set_roots([]).unwrap();
        endpoint.next("notifications/roots/list_changed");
        assert!(!client.close().left_behind);
        assert!(!endpoint.seen().contains(&"(response)".to_owned()));
    });
}

// LHTTP-8
#[test]
fn what_was_asked_in_a_session_that_is_over_is_not_answered_in_the_next() {
    soon(|| {
        let (opened, streams) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let endpoint = Endpoint::bare(move |post| match post.what() {
            "initialize" => {
                let number = usize::from(over.load(Ordering::SeqCst));
                initialized(post, "2025-11-25", &format!("Mcp-Session-Id: {number}\r\n"))
            }
            "GET" => crate::http_peer::held(&opened),
            "tools/call"
                if over.load(Ordering::SeqCst) && post.header("mcp-session-id") == Some("0") =>
            {
                http(404, "", "")
            }
            _ => session(post).unwrap_or_else(|| answer(post, &said("done"))),
        });
        let (begins, begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let builder = handling().on_elicitation(move |_, context| {
            begins.send(context.is_cancelled()).unwrap();
            let _ = released.lock().unwrap().recv();
            begins.send(context.is_cancelled()).unwrap();
            named("Ada")
        });
        let client = builder.open(endpoint.server().era(Era::Legacy)).unwrap();
        let mut own: Chunks = streams.recv().unwrap();
        own.event(&request(1, &form()));
        assert!(!begun.recv().unwrap());
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        // The server counts anew.
        let mut own: Chunks = streams.recv().unwrap();
        own.event(&request(1, &roots()));
        let answer = endpoint.next("(response)");
        assert_eq!(answer.body["result"]["roots"][0]["uri"], "file:///here");
        assert_eq!(answer.header("mcp-session-id"), Some("1"));
        drop(release);
        assert!(begun.recv().unwrap());
        assert!(!client.close().left_behind);
        assert!(!endpoint.seen().contains(&"(response)".to_owned()));
    });
}

// LHTTP-11
#[test]
fn the_last_client_that_a_handler_drops_ends_the_session() {
    soon(|| {
        let (endpoint, streams) = standing();
        let (begins, begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let builder = Client::builder().on_elicitation(move |_, _| {
            begins.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
            named("Ada")
        });
        let client = builder.open(endpoint.server().era(Era::Legacy)).unwrap();
        let mut own = streams.recv().unwrap();
        own.event(&request(1, &form()));
        begun.recv().unwrap();
        drop(client);
        assert!(!endpoint.seen().contains(&"DELETE".to_owned()));
        release.send(()).unwrap();
        endpoint.next("DELETE");
        drop(own);
        // Every connection ends.
        let ended: Vec<usize> = endpoint.ended.iter().take(2).collect();
        assert_eq!(ended.len(), 2);
    });
}

/// A modern server that asks before it answers, and does something else with the second try.
fn rounds(second: impl Fn(&Post, usize) -> Answer + Send + Sync + 'static) -> Endpoint {
    let tries = AtomicUsize::new(0);
    Endpoint::new(move |post| match post.what() {
        "tools/list" => {
            let schema = json!({ "type": "object",
                "properties": { "a": { "type": "string", "x-mcp-header": "A" } } });
            answer(post, &json!({ "tools": [{ "name": "x", "inputSchema": schema }] }))
        }
        _ if post.body["params"]["inputResponses"].is_null() => {
            let reply = response(post, &asks(json!({ "k": form() }), Some("state")));
            let progress = progress(post, 1);
            stream(move |chunks| {
                chunks.event(&progress);
                chunks.event(&reply);
                chunks.end();
            })
        }
        _ => second(post, tries.fetch_add(1, Ordering::SeqCst)),
    })
}

fn counting() -> (ClientBuilder, Arc<AtomicUsize>) {
    let handled = Arc::new(AtomicUsize::new(0));
    let counts = handled.clone();
    let builder = Client::builder().on_elicitation(move |_, _| {
        counts.fetch_add(1, Ordering::SeqCst);
        named("Ada")
    });
    (builder, handled)
}

/// What is the same in every try.
fn whole(post: &Post) -> (Value, Vec<(&String, &String)>) {
    let mut params = post.body["params"].clone();
    let members = params.as_object_mut().unwrap();
    members.remove("inputResponses");
    members.remove("requestState");
    members["_meta"].as_object_mut().unwrap().remove("progressToken");
    let mut headers: Vec<_> =
        post.headers.iter().filter(|(name, _)| *name != "content-length").collect();
    headers.sort();
    (params, headers)
}

// MRTR-7, MRTR-11, MRTR-14, MRTR-17
#[test]
fn a_round_over_http_is_a_post_with_the_same_headers() {
    soon(|| {
        let endpoint = rounds(|post, _| answer(post, &said("done")));
        let (builder, handled) = counting();
        let client = builder.open(endpoint.server()).unwrap();
        client.list_tools().unwrap();
        let mut heard = Vec::new();
        let call = client.tool("x").arg("a", "1").on_progress(|it| heard.push(it.progress));
        assert_eq!(call.call().unwrap().text(), "done");
        assert_eq!(heard, [1.0]);
        assert_eq!(handled.load(Ordering::SeqCst), 1);
        client.close();
        let posts: Vec<Post> = endpoint.posts.try_iter().collect();
        let calls: Vec<_> = posts.iter().filter(|post| post.is("tools/call")).collect();
        assert_eq!(calls.len(), 2);
        assert_eq!(whole(calls[0]), whole(calls[1]));
        assert_eq!(calls[1].header("mcp-param-a"), Some("1"));
        assert_ne!(calls[0].body["id"], calls[1].body["id"]);
        assert_eq!(calls[1].body["params"]["requestState"], "state");
        let token = |post: &Post| post.body["params"]["_meta"]["progressToken"].clone();
        assert_ne!(token(calls[0]), token(calls[1]));
    });
}

// MRTR-22
#[test]
fn a_round_that_is_refused_for_its_headers_is_sent_again_with_its_answers() {
    soon(|| {
        let endpoint = rounds(|post, tries| match tries {
            0 => {
                let error = json!({ "code": -32020, "message": "Header mismatch" });
                let body = json!({ "jsonrpc": "2.0", "id": post.body["id"], "error": error });
                http(400, "Content-Type: application/json\r\n", body.to_string())
            }
            _ => answer(post, &said("done")),
        });
        let (builder, handled) = counting();
        let client = builder.open(endpoint.server()).unwrap();
        // The schema is not known yet.
        assert_eq!(client.tool("x").arg("a", "1").call().unwrap().text(), "done");
        assert_eq!(handled.load(Ordering::SeqCst), 1);
        client.close();
        let posts: Vec<Post> = endpoint.posts.try_iter().collect();
        let order: Vec<_> = posts.iter().map(Post::what).collect();
        let expected = ["server/discover", "tools/call", "tools/call", "tools/list", "tools/call"];
        assert_eq!(order, expected);
        assert_eq!(posts[2].body["params"], posts[4].body["params"]);
        assert_eq!(posts[4].body["params"]["inputResponses"]["k"]["content"]["name"], "Ada");
        assert_eq!(posts[4].header("mcp-param-a"), Some("1"));
    });
}

// MRTR-22, HTTP-11, HTTP-12
#[test]
fn a_round_whose_connection_breaks_is_sent_again_if_it_only_asks() {
    soon(|| {
        let broken = || {
            rounds(|post, tries| match tries {
                0 => Answer::Close,
                _ => answer(post, &json!({ "contents": [], "content": [] })),
            })
        };
        let endpoint = broken();
        let (builder, handled) = counting();
        let client = builder.open(endpoint.server()).unwrap();
        client.read_resource("x:y").map(drop).unwrap();
        assert_eq!(handled.load(Ordering::SeqCst), 1);
        client.close();
        let posts: Vec<Post> = endpoint.posts.try_iter().skip(1).collect();
        assert_eq!(posts.len(), 3);
        assert_eq!(posts[1].body["params"], posts[2].body["params"]);
        assert_eq!(posts[2].body["params"]["requestState"], "state");

        let endpoint = broken();
        let (builder, _) = counting();
        let client = builder.open(endpoint.server()).unwrap();
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true));
        client.close();
        assert_eq!(endpoint.posts.try_iter().filter(|post| post.is("tools/call")).count(), 2);
    });
}
