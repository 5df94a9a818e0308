//! What a client counts of what it does, exactly.

#[cfg(feature = "http")]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use umcp::memory::{Peer, Received};
use umcp::{CancelToken, Client, Era, ErrorKind, Limits, Metrics, Server};

use crate::calls::{answering, mortal, said, tools};
use crate::common::{ERAS, FOREVER, SHORT, soon};
#[cfg(feature = "http")]
use crate::http_peer::{Endpoint, answer, http};
use crate::input_rounds::{asks, form, handling};

/// Requests, replies, errors, in flight, and how many replies there is a latency of.
fn counts(client: &Client) -> [u64; 5] {
    let Metrics { requests, replies, errors, in_flight, latency, .. } = client.metrics();
    [requests, replies, errors, in_flight, latency.count()]
}

/// A server that does what the tool's name says.
fn server(era: Era) -> Server {
    let (server, _) = answering(era, tools(), |wire, message| match message.method() {
        "tools/call" => match message.param("/name").as_str().unwrap() {
            "error" => wire.reply_error(message, -1, "no", None),
            "failure" => wire.reply(message, json!({ "content": [], "isError": true })),
            "unclear" => wire.send(json!({ "jsonrpc": "2.0", "id": message.id() })),
            "long" => wire.reply(message, said("x".repeat(2000))),
            "never" => {}
            _ => wire.reply(message, said("done")),
        },
        "tools/list" => wire.reply(message, json!({ "tools": [] })),
        _ => {}
    });
    server.limits(Limits::default().message(1500))
}

#[test]
fn each_request_counts_and_each_end_as_what_it_is() {
    soon(|| {
        for era in ERAS {
            let client = Client::open(server(era)).unwrap();
            assert_eq!(counts(&client), [0; 5], "{era}: the handshake is none");
            let call = |tool: &str| client.call_tool(tool, json!({}));
            let _ = call("ok").unwrap();
            client.list_tools().unwrap();
            assert_eq!(counts(&client), [2, 2, 0, 0, 2], "{era}");
            // The failure of a tool is a result.
            assert!(call("failure").unwrap().is_error);
            assert_eq!(counts(&client), [3, 3, 0, 0, 3], "{era}");
            call("error").unwrap_err();
            assert_eq!(counts(&client), [4, 4, 1, 0, 4], "{era}");
            call("unclear").unwrap_err();
            assert_eq!(counts(&client), [5, 5, 2, 0, 5], "{era}");
            // What is too long was no reply.
            assert_eq!(call("long").unwrap_err().kind(), ErrorKind::Limit);
            assert_eq!(counts(&client), [6, 5, 3, 0, 5], "{era}");
            client.tool("never").timeout(SHORT).call().unwrap_err();
            assert_eq!(counts(&client), [7, 5, 4, 0, 5], "{era}");
            let pending = client.tool("never").start().unwrap();
            assert_eq!(counts(&client), [8, 5, 4, 1, 5], "{era}");
            pending.cancel();
            assert_eq!(counts(&client), [8, 5, 5, 0, 5], "{era}");
            let token = CancelToken::new();
            let mut pending = client.tool("never").cancel_token(&token).start().unwrap();
            token.cancel();
            pending.wait_timeout(FOREVER).unwrap_err();
            assert_eq!(counts(&client), [9, 5, 6, 0, 5], "{era}");
            // Nothing was sent.
            client.tool("ok").cancel_token(&token).call().unwrap_err();
            client.tool("ok").meta("progressToken", 1).call().unwrap_err();
            assert_eq!(counts(&client), [9, 5, 6, 0, 5], "{era}");
            let metrics = client.metrics();
            assert_eq!((metrics.retries, metrics.reconnects), (0, 0), "{era}");
            // With the one that a token ended before it was sent.
            assert_eq!(metrics.tool_calls, 9, "{era}");
            let _pending = client.tool("never").start().unwrap();
            client.close();
            assert_eq!(counts(&client), [10, 5, 7, 0, 5], "{era}");
            call("ok").unwrap_err();
            assert_eq!(counts(&client), [10, 5, 7, 0, 5], "{era}");
        }
    });
}

#[test]
fn each_round_is_a_request_and_all_are_one_call() {
    soon(|| {
        let (server, _) = answering(Era::Modern, tools(), |wire, message| {
            match message.param("/inputResponses").is_null() {
                true => wire.reply(message, asks(json!({ "a": form() }), None)),
                false => wire.reply(message, said("done")),
            }
        });
        let client = handling().open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        assert_eq!(counts(&client), [2, 2, 0, 0, 2]);
        assert_eq!(client.metrics().tool_calls, 1);
    });
}

#[test]
fn bytes_are_those_of_all_messages_and_of_nothing_else() {
    soon(|| {
        for era in ERAS {
            let wire: Arc<Mutex<[u64; 2]>> = Arc::default();
            let seen = wire.clone();
            let server = Server::in_memory(move |peer| {
                while let Some(message) = peer.receive() {
                    seen.lock().unwrap()[0] += message.0.to_string().len() as u64;
                    for line in answers(era, &message) {
                        seen.lock().unwrap()[1] += line.len() as u64;
                        peer.send_text(line);
                    }
                }
            });
            let client = Client::open(server).unwrap();
            for text in ["", "é\u{1F600}\n", &"x".repeat(3000)] {
                let _ = client.call_tool("x", json!({ "text": text })).unwrap();
            }
            let in_the_end = client.metrics();
            client.close();
            let [to_server, to_client] = *wire.lock().unwrap();
            assert_eq!((in_the_end.bytes_sent, in_the_end.bytes_received), (to_server, to_client));
            assert!(to_server > 3000 && to_client > 3000);
        }
    });
}

/// What a server says to a message, and what else it writes.
fn answers(era: Era, message: &Received) -> Vec<String> {
    let reply = |result: Value| {
        vec![json!({ "jsonrpc": "2.0", "id": message.id(), "result": result }).to_string()]
    };
    let capabilities = json!({ "tools": {} });
    match (message.method(), era) {
        ("server/discover", Era::Modern) => reply(crate::stdio::discovered(&capabilities)),
        ("server/discover", _) => {
            let error = json!({ "code": -32601, "message": "no such method" });
            vec![json!({ "jsonrpc": "2.0", "id": message.id(), "error": error }).to_string()]
        }
        ("initialize", _) => reply(json!({
            "protocolVersion": message.param("/protocolVersion"), "capabilities": capabilities,
            "serverInfo": { "name": "peer", "version": "1" } })),
        ("tools/call", _) => {
            let mut all = vec!["no message at all".to_owned()];
            all.extend([
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#.to_owned()
            ]);
            all.extend(reply(said(message.param("/arguments/text").as_str().unwrap())));
            all
        }
        _ => Vec::new(),
    }
}

#[test]
fn latency_is_in_buckets_that_double() {
    soon(|| {
        let client = Client::open(server(Era::Modern)).unwrap();
        assert_eq!(client.metrics().latency.percentile(0.5), None);
        for _ in 0..20 {
            let _ = client.call_tool("ok", json!({})).unwrap();
        }
        let latency = client.metrics().latency;
        let buckets: Vec<(Duration, u64)> = latency.iter().collect();
        assert_eq!((latency.count(), buckets.len()), (20, 32));
        assert_eq!(buckets[0].0, Duration::from_micros(1));
        assert!(buckets[..31].windows(2).all(|pair| pair[1].0 == 2 * pair[0].0));
        assert_eq!(buckets[31].0, Duration::MAX);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 20);
        let parts = [0.0, 0.5, 0.9, 0.99, 1.0].map(|part| latency.percentile(part).unwrap());
        assert!(parts.is_sorted());
        assert!(parts.iter().all(|part| buckets.iter().any(|(end, _)| end == part)));
    });
}

#[test]
fn a_subscription_is_a_request_and_nothing_else() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let capabilities = json!({ "tools": { "listChanged": true } });
            let mut next = peer.open_modern(capabilities);
            while let Some(message) = next {
                acknowledge(&peer, &message);
                next = peer.receive();
            }
        });
        let client = Client::open(server).unwrap();
        let subscription = client.subscribe().tools().open().unwrap();
        assert_eq!(counts(&client), [1, 0, 0, 0, 0]);
        drop(subscription);
        assert_eq!(counts(&client), [1, 0, 0, 0, 0]);
    });
}

pub fn acknowledge(peer: &Peer, message: &Received) {
    if message.method() == "subscriptions/listen" {
        let meta = json!({ "io.modelcontextprotocol/subscriptionId": message.id() });
        let params = json!({ "_meta": meta, "notifications": message.param("/notifications") });
        peer.notify("notifications/subscriptions/acknowledged", params);
    }
}

#[test]
fn a_server_that_is_started_again_is_another_session_of_the_same_client() {
    soon(|| {
        for era in ERAS {
            let server = mortal(era);
            let client = Client::open(server.era(era).respawn(3)).unwrap();
            let _ = client.call_tool("x", json!({})).unwrap();
            client.call_tool("die", json!({})).unwrap_err();
            assert_eq!(counts(&client), [2, 1, 1, 0, 1], "{era}");
            assert_eq!(client.metrics().reconnects, 0, "{era}: it was not needed yet");
            let _ = client.call_tool("x", json!({})).unwrap();
            let metrics = client.clone().metrics();
            assert_eq!((metrics.reconnects, metrics.tool_calls), (1, 3), "{era}");
            // It did not leave before there was a server again.
            assert_eq!(counts(&client), [3, 2, 1, 0, 2], "{era}");
        }
    });
}

#[cfg(feature = "http")]
#[test]
fn over_http_each_attempt_counts_and_what_retry_adds() {
    soon(|| {
        let asked = AtomicUsize::new(0);
        let endpoint = Endpoint::new(move |post| match asked.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => http(429, "Retry-After: 0\r\n", ""),
            _ => answer(post, &said("done")),
        });
        let moment = Duration::from_millis(1);
        let retry = umcp::Retry::new().attempts(3).backoff(moment, moment);
        let client = Client::builder().retry(retry).open(endpoint.server()).unwrap();
        let _ = client.call_tool("x", json!({})).unwrap();
        assert_eq!(counts(&client), [3, 1, 2, 0, 1]);
        let metrics = client.metrics();
        assert_eq!((metrics.tool_calls, metrics.retries, metrics.reconnects), (1, 2, 0));
        let lengths = |posts: &std::sync::mpsc::Receiver<crate::http_peer::Post>| {
            posts.try_iter().map(|post| post.body.to_string().len() as u64).sum::<u64>()
        };
        assert_eq!(metrics.bytes_sent, lengths(&endpoint.posts));
    });
}
