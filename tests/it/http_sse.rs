//! HTTP+SSE of 2024-11-05: one stream for all that comes, and an endpoint for what is sent.

use std::net::TcpListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use umcp::{CancelToken, Client, ErrorKind, ProtocolVersion, Timeouts};

use crate::alone::{Holdings, alone, until};
use crate::calls::said;
use crate::common::{SHORT, soon};
use crate::http_peer::{
    Answer, Chunks, Endpoint, Post, answer, call, event, http, log, progress, response, stream,
};

/// The stream of the newest connection.
type Events = Arc<Mutex<Option<Chunks>>>;

/// A server that names this endpoint (with its own `HOST`) and answers the opening itself, and
/// everything else as a function says: on the stream, and to the POST.
fn old(
    path: &str,
    respond: impl Fn(&Post, &mut Chunks) -> Answer + Send + Sync + 'static,
) -> Endpoint {
    beginning(format!("event: endpoint\ndata: {path}\n\n"), respond)
}

/// The same with what the stream begins with.
fn beginning(
    first: String,
    respond: impl Fn(&Post, &mut Chunks) -> Answer + Send + Sync + 'static,
) -> Endpoint {
    let events: Events = Arc::default();
    Endpoint::bare(move |post| {
        if post.verb() == "GET" {
            let events = events.clone();
            let first = first.replace("HOST", post.header("host").unwrap());
            return stream(move |chunks| {
                let mut writer =
                    Chunks { stream: chunks.stream.try_clone().unwrap(), has_ended: false };
                // Whoever is told the endpoint may use it at once.
                let mut events = events.lock().unwrap();
                writer.send(first);
                *events = Some(writer);
                drop(events);
                chunks.wait_for_client();
            });
        }
        if post.path() == "/mcp?a=b" {
            // With the header of a session that does not begin.
            return http(405, "Mcp-Session-Id: wrong\r\n", "");
        }
        let mut events = events.lock().unwrap();
        let chunks = events.as_mut().expect("a stream before the first message");
        match post.what() {
            "initialize" => {
                let result = json!({ "protocolVersion": "2024-11-05",
                    "capabilities": { "tools": {}, "logging": {} },
                    "serverInfo": { "name": "old", "version": "1" } });
                chunks.event(&response(post, &result));
                http(202, "Mcp-Session-Id: wrong\r\n", "Accepted")
            }
            method if method.starts_with("notifications/") => http(202, "", ""),
            "(response)" => http(202, "", ""),
            _ => respond(post, chunks),
        }
    })
}

fn replying(path: &str) -> Endpoint {
    old(path, |post, chunks| {
        chunks.event(&response(post, &said("done")));
        http(202, "", "Accepted")
    })
}

// SSE-2, SSE-3, SSE-4, SSE-5, SSE-7, SSE-8, LHTTP-4
#[test]
fn every_message_goes_to_the_endpoint_and_every_reply_comes_on_the_stream() {
    soon(|| {
        for (path, expected) in [
            ("/messages?sessionId=1", "/messages?sessionId=1"),
            ("messages", "/messages"),
            ("./messages", "/messages"),
            ("?sessionId=1", "/mcp?sessionId=1"),
            ("//HOST/messages#x", "/messages"),
            ("http://HOST/messages", "/messages"),
        ] {
            let endpoint = replying(path);
            let server = endpoint.server().bearer_token("secret");
            let client = Client::open(server).unwrap();
            assert_eq!(client.protocol_version(), ProtocolVersion::V2024_11_05);
            assert_eq!(call(&client).unwrap(), "done", "{path}");
            client.ping().unwrap();
            assert!(!client.close().left_behind);
            let posts: Vec<Post> = endpoint.posts.try_iter().collect();
            let order: Vec<_> = posts.iter().map(|it| (it.what(), it.path())).collect();
            let whole = [
                ("server/discover", "/mcp?a=b"),
                ("initialize", "/mcp?a=b"),
                ("GET", "/mcp?a=b"),
                ("initialize", expected),
                ("notifications/initialized", expected),
                ("tools/call", expected),
                ("ping", expected),
            ];
            assert_eq!(order, whole, "{path}");
            for post in &posts {
                // No session, whatever some answers said, and the credentials everywhere.
                assert_eq!(post.header("mcp-session-id"), None, "{path}");
                assert_eq!(post.header("last-event-id"), None, "{path}");
                assert_eq!(post.header("authorization"), Some("Bearer secret"), "{path}");
            }
            assert_eq!(posts[2].header("accept"), Some("text/event-stream"));
            for post in &posts[3..] {
                assert_eq!(post.header("content-type"), Some("application/json"));
                assert_eq!(post.header("mcp-method"), None);
            }
        }
    });
}

// SSE-5
#[test]
fn an_endpoint_of_another_origin_is_refused() {
    soon(|| {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = other.local_addr().unwrap();
        other.set_nonblocking(true).unwrap();
        for path in [
            format!("http://{there}/messages?token=hidden"),
            format!("//{there}/messages"),
            "https://HOST/messages".to_owned(),
            "http://user:hidden@HOST/messages".to_owned(),
            "ftp://HOST/messages".to_owned(),
            "http://".to_owned(),
            String::new() + "http://localhost:" + &there.port().to_string(),
        ] {
            let endpoint = replying(&path);
            let error = Client::open(endpoint.server().bearer_token("secret")).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{path}: {error}");
            assert!(text.contains("not of its own origin"), "{path}: {error}");
            assert!(!text.contains("hidden") && !text.contains("secret"), "{path}: {error}");
            // Nothing was sent there, and the stream is gone.
            assert!(other.accept().is_err(), "{path}");
            assert_eq!(endpoint.seen(), ["server/discover", "initialize", "GET"], "{path}");
            endpoint.ended.recv().unwrap();
        }
    });
}

// SSE-2, SSE-4, SSE-6
#[test]
fn what_comes_before_the_endpoint_or_is_no_message_is_ignored() {
    soon(|| {
        let other = format!("event: other\n{}", event(&log("other")));
        let first = [
            ": hello\n\nevent: other\ndata: x\n\nevent: endpoints\ndata: /wrong\n\n",
            &event(&log("early")),
            "event: endpoint\ndata: /messages\n\n",
            // In one piece with what follows it.
            &other,
            &event(&log("first")),
            "event: endpoint\ndata: /elsewhere\n\n",
        ];
        let endpoint = beginning(first.concat(), move |post, chunks| {
            chunks.send(&other);
            chunks.event(&log("last"));
            chunks.event(&response(post, &said("done")));
            http(202, "", "")
        });
        let (heard, hear) = mpsc::channel();
        let builder = Client::builder().on_notification(move |notification, _| {
            let data = notification.log_message().unwrap().data;
            heard.send(data.as_str().unwrap().to_owned()).unwrap();
        });
        let client = builder.open(endpoint.server()).unwrap();
        assert_eq!(call(&client).unwrap(), "done");
        assert_eq!(hear.iter().take(2).collect::<Vec<_>>(), ["first", "last"]);
        client.close();
        let last = endpoint.posts.try_iter().last().unwrap();
        assert_eq!((last.what(), last.path()), ("tools/call", "/messages"));
    });
}

// SSE-2, SSE-6
#[test]
fn an_endpoint_that_never_comes_is_an_error() {
    soon(|| {
        let cases: [fn(&mut Chunks); 4] = [
            Chunks::wait_for_client,
            |chunks| while chunks.send(": still here\n\n") {},
            Chunks::end,
            |chunks| {
                chunks.send("event: endpoint\ndata: /messages\n");
                chunks.end();
            },
        ];
        for (number, write) in cases.into_iter().enumerate() {
            let endpoint = Endpoint::bare(move |post| match post.verb() {
                "GET" => stream(write),
                _ => http(404, "", ""),
            });
            let timeouts = Timeouts::default().connect(SHORT * 5);
            let error = Client::open(endpoint.server().timeouts(timeouts)).unwrap_err();
            // Of two clocks that end at the same time, either may be first.
            let is_late = number < 2 && error.is_timeout();
            let is_expected = is_late || error.kind() == ErrorKind::Unreachable;
            assert!(is_expected && !error.may_have_run(), "{number}: {error}");
            assert_eq!(endpoint.seen(), ["server/discover", "initialize", "GET"], "{number}");
            endpoint.ended.recv().unwrap();
        }
    });
}

// SSE-6
#[test]
fn what_answers_a_post_is_of_no_interest_if_it_accepts() {
    soon(|| {
        let answers: [fn(&Post) -> Answer; 6] = [
            |_| http(200, "", ""),
            |_| http(202, "Content-Type: text/plain\r\n", "Accepted"),
            |_| http(204, "", ""),
            |_| http(200, "Content-Type: text/html\r\n", "<h1>hello</h1>"),
            |post| answer(post, &said("wrong")),
            |post| {
                let wrong = response(post, &said("wrong"));
                stream(move |chunks| {
                    chunks.event(&wrong);
                    chunks.wait_for_client();
                })
            },
        ];
        for (number, answer) in answers.into_iter().enumerate() {
            let endpoint = old("/messages", move |post, chunks| {
                chunks.event(&response(post, &said("done")));
                answer(post)
            });
            let client = Client::open(endpoint.server()).unwrap();
            for _ in 0..2 {
                assert_eq!(call(&client).unwrap(), "done", "{number}");
                assert_eq!(client.tool("x").start().unwrap().wait().unwrap().text(), "done");
            }
            assert!(!client.close().left_behind);
        }
    });
}

// SSE-6
#[test]
fn an_answer_to_a_post_that_does_not_come_holds_nobody_up() {
    soon(|| {
        let endpoint = old("/messages", |post, chunks| {
            chunks.event(&response(post, &said("done")));
            Answer::Silence
        });
        let client = Client::open(endpoint.server()).unwrap();
        for _ in 0..3 {
            // On the caller's thread, and on one of its own.
            assert_eq!(call(&client).unwrap(), "done");
            assert_eq!(client.tool("x").start().unwrap().wait().unwrap().text(), "done");
        }
        assert!(!client.close().left_behind);
    });
}

// SSE-6
#[test]
fn a_post_that_is_refused_costs_its_own_call() {
    soon(|| {
        let endpoint = old("/messages", |post, chunks| match post.is("tools/call") {
            true => http(400, "", "no"),
            false => {
                chunks.event(&response(post, &json!({ "tools": [] })));
                http(202, "", "")
            }
        });
        let client = Client::open(endpoint.server()).unwrap();
        let error = call(&client).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Unreachable, true), "{error}");
        assert_eq!(client.list_tools().unwrap(), []);
        // It was sent once.
        client.close();
        assert_eq!(endpoint.seen().iter().filter(|it| *it == "tools/call").count(), 1);
    });
}

// SSE-4, SSE-6
#[test]
fn replies_are_told_apart_by_their_id() {
    soon(|| {
        let first = Mutex::new(None::<Value>);
        let endpoint = old("/messages", move |post, chunks| {
            let name = post.body["params"]["name"].as_str().unwrap();
            let reply = response(post, &said(name));
            chunks.event(&progress(post, 1));
            let mut first = first.lock().unwrap();
            match first.take() {
                None => *first = Some(reply),
                Some(first) => {
                    chunks.event(&json!({ "jsonrpc": "2.0", "id": 999, "result": said("wrong") }));
                    chunks.event(&reply);
                    chunks.event(&first);
                }
            }
            http(202, "", "")
        });
        let client = Client::open(endpoint.server()).unwrap();
        let heard = Mutex::new(0);
        let one = client.tool("one").on_progress(|_| *heard.lock().unwrap() += 1).start().unwrap();
        endpoint.next("tools/call");
        let two = client.tool("two").start().unwrap();
        assert_eq!(two.wait().unwrap().text(), "two");
        assert_eq!(one.wait().unwrap().text(), "one");
        assert_eq!(*heard.lock().unwrap(), 1);
    });
}

// SSE-7
#[test]
fn the_end_of_the_stream_is_the_end_of_the_connection() {
    soon(|| {
        let ends: [fn(Chunks); 2] = [Chunks::finish, Chunks::cut];
        for end in ends {
            let (to, streams) = mpsc::channel();
            let endpoint = old("/messages", move |_, chunks| {
                let stream = chunks.stream.try_clone().unwrap();
                to.send(Chunks { stream, has_ended: false }).unwrap();
                http(202, "", "")
            });
            let client = Client::open(endpoint.server()).unwrap();
            let one = client.tool("x").start().unwrap();
            let two = client.tool("x").start().unwrap();
            let mut held: Vec<Chunks> = streams.iter().take(2).collect();
            end(held.remove(0));
            for call in [one, two] {
                let error = call.wait().unwrap_err();
                let (kind, ran) = (error.kind(), error.may_have_run());
                assert_eq!((kind, ran), (ErrorKind::Disconnected, true), "{error}");
                assert!(error.to_string().contains("Open a new client"), "{error}");
            }
            let error = call(&client).unwrap_err();
            let (kind, ran) = (error.kind(), error.may_have_run());
            assert_eq!((kind, ran), (ErrorKind::Disconnected, false), "{error}");
            assert!(!client.close().left_behind);
            // Nothing is resumed or begun again.
            let seen = endpoint.seen();
            assert_eq!(seen.iter().filter(|it| *it == "GET").count(), 1, "{seen:?}");
        }
    });
}

// SSE-3, SSE-4
#[test]
fn a_ping_on_the_stream_is_answered_at_the_endpoint() {
    soon(|| {
        let endpoint = old("/messages", |_, chunks| {
            chunks.event(&json!({ "jsonrpc": "2.0", "id": "p", "method": "ping" }));
            http(202, "", "")
        });
        let client = Client::open(endpoint.server()).unwrap();
        let pending = client.tool("x").start().unwrap();
        let answer = endpoint.next("(response)");
        assert_eq!(answer.body, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
        assert_eq!(answer.path(), "/messages");
        drop(pending);
    });
}

// LHTTP-22
#[test]
fn leaving_a_call_tells_the_server() {
    /// A way to leave a call. Returns its id.
    type Leave = fn(&Client, &Endpoint) -> Value;
    soon(|| {
        let ways: [Leave; 3] = [
            |client, endpoint| {
                assert!(client.tool("x").timeout(SHORT).call().unwrap_err().is_timeout());
                endpoint.next("tools/call").body["id"].clone()
            },
            |client, endpoint| {
                let pending = client.tool("x").start().unwrap();
                let id = endpoint.next("tools/call").body["id"].clone();
                drop(pending);
                id
            },
            |client, endpoint| {
                let (client, token) = (client.clone(), CancelToken::new());
                let other = token.clone();
                let call = thread::spawn(move || client.tool("x").cancel_token(&other).call());
                let id = endpoint.next("tools/call").body["id"].clone();
                token.cancel();
                assert!(call.join().unwrap().unwrap_err().is_cancelled());
                id
            },
        ];
        for leave in ways {
            let endpoint = old("/messages", |_, _| http(202, "", ""));
            let client = Client::open(endpoint.server()).unwrap();
            let id = leave(&client, &endpoint);
            let told = endpoint.next("notifications/cancelled");
            assert_eq!((&told.body["params"]["requestId"], told.path()), (&id, "/messages"));
            client.close();
        }
    });
}

#[test]
fn closing_leaves_nothing_behind() {
    alone("http_sse::closing_leaves_nothing_behind", || {
        let endpoint = replying("/messages");
        let nothing = Endpoint::bare(|post| match post.verb() {
            "GET" => stream(Chunks::wait_for_client),
            _ => http(404, "", ""),
        });
        let run = || {
            let client = Client::open(endpoint.server()).unwrap();
            assert_eq!(call(&client).unwrap(), "done");
            assert!(!client.close().left_behind);
            // Nor does an opening that fails.
            let silent = Timeouts::default().connect(SHORT);
            assert!(Client::open(nothing.server().timeouts(silent)).is_err());
        };
        let threads = Holdings::now().threads;
        run();
        assert!(until(|| Holdings::now().threads == threads));
        // The peer keeps the newest stream.
        let before = Holdings::now();
        run();
        before.are_all_there_is();
    });
}
