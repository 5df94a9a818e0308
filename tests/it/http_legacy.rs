//! Streamable HTTP of 2025-03-26 to 2025-11-25: sessions, the server's own stream, and streams that
//! are resumed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use umcp::{CancelToken, Client, Era, ErrorKind, LoggingLevel, Timeouts};

use crate::alone::{Holdings, alone, alone_with};
use crate::calls::said;
use crate::common::{SHORT, soon};
use crate::http_peer::{
    Answer, Chunks, Endpoint, Post, answer, call, event, forgetful, held, http, initialized, log,
    progress, response, session, stream,
};

/// A server without a stream of its own.
fn quiet(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Endpoint {
    Endpoint::legacy(move |post| match post.verb() {
        "GET" => http(405, "", ""),
        _ => respond(post),
    })
}

/// A client, once its opening has been taken from what the server has seen.
fn opened(endpoint: &Endpoint) -> Client {
    let client = Client::open(endpoint.server().era(Era::Legacy)).unwrap();
    let opening = ["initialize", "notifications/initialized", "GET"];
    let seen: Vec<Post> = endpoint.posts.iter().take(3).collect();
    assert_eq!(seen.iter().map(Post::what).collect::<Vec<_>>(), opening);
    client
}

/// What its notifications say, which are log messages.
fn listening(endpoint: &Endpoint) -> (Client, Receiver<String>) {
    let (heard, hear) = mpsc::channel();
    let builder = Client::builder().on_notification(move |notification, _| {
        let data = notification.log_message().unwrap().data;
        let _ = heard.send(data.as_str().unwrap().to_owned());
    });
    (builder.open(endpoint.server().era(Era::Legacy)).unwrap(), hear)
}

fn ping(id: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping" })
}

fn failed(error: &umcp::Error) -> (ErrorKind, bool) {
    (error.kind(), error.may_have_run())
}

// LHTTP-1, LHTTP-2, LHTTP-4, LHTTP-11, LHTTP-12, LHTTP-13, LHTTP-15, LHTTP-16, LHTTP-30, HDR-12,
// ERA-37
#[test]
fn everything_after_initialize_names_session_and_version() {
    soon(|| {
        for version in ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
            let endpoint = Endpoint::legacy(move |post| match post.what() {
                "GET" => stream(Chunks::wait_for_client),
                "resources/read" => {
                    let reply = response(post, &json!({ "contents": [] }));
                    stream(move |chunks| {
                        chunks.event(&reply);
                        chunks.end();
                    })
                }
                _ => answer(post, &said("done")),
            });
            let endpoint = match version {
                "2025-11-25" => endpoint,
                _ => Endpoint::bare(move |post| match post.what() {
                    "initialize" => initialized(post, version, "mcp-session-id: s1\r\n"),
                    "GET" => stream(Chunks::wait_for_client),
                    "resources/read" => answer(post, &json!({ "contents": [] })),
                    _ => session(post).unwrap_or_else(|| answer(post, &said("done"))),
                }),
            };
            let client = Client::open(endpoint.server()).unwrap();
            assert_eq!(call(&client).unwrap(), "done");
            client.read_resource("x:y").unwrap();
            client.ping().unwrap();
            client.close();
            let posts: Vec<Post> = endpoint.posts.try_iter().collect();
            let order: Vec<_> = posts.iter().map(Post::what).collect();
            let whole = [
                "server/discover",
                "initialize",
                "notifications/initialized",
                "GET",
                "tools/call",
                "resources/read",
                "ping",
                "DELETE",
            ];
            assert_eq!(order, whole);
            for post in &posts[1..] {
                assert_eq!(post.path(), "/mcp?a=b");
                let is_after = post.what() != "initialize";
                assert_eq!(post.header("mcp-session-id"), is_after.then_some("s1"));
                assert_eq!(post.header("mcp-protocol-version"), is_after.then_some(version));
                let accept = match post.verb() {
                    "POST" => Some("application/json, text/event-stream"),
                    "GET" => Some("text/event-stream"),
                    _ => post.header("accept"),
                };
                assert_eq!(post.header("accept"), accept);
                if post.verb() == "POST" {
                    assert_eq!(post.header("content-type"), Some("application/json"));
                }
                for absent in ["mcp-method", "mcp-name", "last-event-id", "origin"] {
                    assert_eq!(post.header(absent), None, "{}", post.what());
                }
                assert!(!post.body.to_string().contains("io.modelcontextprotocol"));
            }
        }
    });
}

// LHTTP-4, LHTTP-11
#[test]
fn a_session_begins_with_the_answer_to_initialize_and_with_no_other() {
    soon(|| {
        for names in [true, false] {
            let is_refused = Mutex::new(false);
            let endpoint = Endpoint::bare(move |post| {
                let wrong = "Mcp-Session-Id: wrong\r\n";
                match post.what() {
                    "server/discover" => http(400, wrong, ""),
                    // ERA-54: the client asks again.
                    "initialize" if !std::mem::replace(&mut *is_refused.lock().unwrap(), true) => {
                        let data = json!({ "supported": ["2025-06-18"], "requested": "x" });
                        let error = json!({ "code": -32602, "message": "no", "data": data });
                        let id = &post.body["id"];
                        let reply = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                        http(200, wrong, reply.to_string())
                    }
                    "initialize" if names => {
                        initialized(post, "2025-06-18", "Mcp-Session-Id: s1\r\n")
                    }
                    "initialize" => initialized(post, "2025-06-18", ""),
                    "GET" => http(405, wrong, ""),
                    "tools/call" => http(200, wrong, response(post, &said("done")).to_string()),
                    "DELETE" => http(200, "", ""),
                    _ => http(202, wrong, ""),
                }
            });
            let client = Client::open(endpoint.server()).unwrap();
            for _ in 0..2 {
                assert_eq!(call(&client).unwrap(), "done");
            }
            client.close();
            let posts: Vec<Post> = endpoint.posts.try_iter().collect();
            let session = names.then_some("s1");
            for post in &posts[..3] {
                assert_eq!(post.header("mcp-session-id"), None);
            }
            for post in &posts[3..] {
                assert_eq!(post.header("mcp-session-id"), session, "{}", post.what());
            }
            // Without a session there is none to end.
            assert_eq!(posts.iter().any(|post| post.verb() == "DELETE"), names);
        }
    });
}

// LHTTP-5, LHTTP-6, LHTTP-7
#[test]
fn a_session_id_that_is_none_is_refused() {
    soon(|| {
        let long = "x".repeat(5000);
        for id in ["", "a b", "a\tb", "ü", long.as_str()] {
            let header = format!("Mcp-Session-Id: {id}\r\n");
            let endpoint = Endpoint::bare(move |post| match post.what() {
                "initialize" => initialized(post, "2025-11-25", &header),
                _ => session(post).unwrap_or_else(|| http(405, "", "")),
            });
            let error = Client::open(endpoint.server()).unwrap_err();
            assert_eq!(failed(&error), (ErrorKind::Protocol, false), "{id:?}: {error}");
            assert!(error.to_string().contains("session id"), "{error}");
            assert!(id.is_empty() || !error.to_string().contains(id), "{error}");
            assert_eq!(endpoint.seen(), ["server/discover", "initialize"], "{id:?}");
        }
        // Whatever else is visible is one, and is shown nowhere.
        let id = "!#$%&'()*+-./0123456789:;<=>?@AZ[]^_`az{|}~";
        let header = format!("Mcp-Session-Id: {id}\r\n");
        let endpoint = Endpoint::bare(move |post| match post.what() {
            "initialize" => initialized(post, "2025-11-25", &header),
            "tools/call" => http(500, "", ""),
            _ => session(post).unwrap_or_else(|| http(405, "", "")),
        });
        let client = Client::open(endpoint.server()).unwrap();
        let error = call(&client).unwrap_err();
        assert_eq!(endpoint.next("tools/call").header("mcp-session-id"), Some(id));
        assert!(!format!("{client:?} {error:?} {error}").contains(id));
    });
}

// LHTTP-16, LHTTP-18, LHTTP-19
#[test]
fn the_server_s_own_stream_is_open_before_the_client_is() {
    soon(|| {
        let (to, streams) = mpsc::channel();
        let endpoint = Endpoint::legacy(move |post| match post.verb() {
            "GET" => held(&to),
            _ => answer(post, &said("done")),
        });
        let (client, hear) = listening(&endpoint);
        assert_eq!(endpoint.seen(), ["initialize", "notifications/initialized", "GET"]);
        let mut own = streams.try_recv().unwrap();
        own.event(&log("by itself"));
        assert_eq!(hear.recv().unwrap(), "by itself");
        own.event(&ping("p"));
        let posted = endpoint.next("(response)");
        assert_eq!(posted.body, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
        assert_eq!(posted.header("mcp-session-id"), Some("s1"));
        assert_eq!(posted.header("mcp-protocol-version"), Some("2025-11-25"));
        // Calls have streams of their own meanwhile.
        assert_eq!(call(&client).unwrap(), "done");
        own.event(&log("again"));
        assert_eq!(hear.recv().unwrap(), "again");
        assert!(!client.close().left_behind);
    });
}

// LHTTP-17
#[test]
fn a_server_need_not_have_a_stream_of_its_own() {
    soon(|| {
        let answers: [fn() -> Answer; 6] = [
            || http(405, "Allow: POST\r\n", ""),
            || http(404, "", ""),
            || http(400, "", "{}"),
            || http(200, "Content-Type: application/json\r\n", "{}"),
            || http(500, "", ""),
            || Answer::Close,
        ];
        for (number, get) in answers.into_iter().enumerate() {
            let endpoint = Endpoint::legacy(move |post| match post.verb() {
                "GET" => get(),
                _ => answer(post, &said("done")),
            });
            let client = opened(&endpoint);
            assert_eq!(call(&client).unwrap(), "done", "{number}");
            assert!(!client.close().left_behind, "{number}");
            let seen = endpoint.seen();
            assert_eq!(seen.last().unwrap(), "DELETE", "{number}");
            // What says no is not asked again.
            assert!(number > 3 || !seen.iter().any(|it| it == "GET"), "{number}: {seen:?}");
        }
    });
}

// LHTTP-16
#[test]
fn a_stream_that_says_nothing_at_all_holds_up_neither_the_opening_nor_what_follows() {
    soon(|| {
        let endpoint = Endpoint::legacy(|post| match post.what() {
            "GET" => Answer::Silence,
            "tools/call" if post.body["params"]["name"] == "silent" => Answer::Silence,
            _ => answer(post, &said("done")),
        });
        let timeouts = Timeouts::default().connect(SHORT * 10);
        let server = endpoint.server().timeouts(timeouts);
        let client = Client::open(server).unwrap();
        // Also when connections have to be opened anew.
        for _ in 0..3 {
            let silent = [(); 2].map(|()| client.tool("silent").start().unwrap());
            assert_eq!(call(&client).unwrap(), "done");
            drop(silent);
            let error = client.tool("silent").timeout(SHORT).call().unwrap_err();
            assert!(error.is_timeout(), "{error}");
        }
        assert!(!client.close().left_behind);
    });
}

// LHTTP-3, LHTTP-20, LHTTP-21
#[test]
fn a_server_is_answered_while_a_call_s_stream_is_read() {
    soon(|| {
        let (answered, wait) = mpsc::channel::<Value>();
        let wait = Arc::new(Mutex::new(wait));
        let answered = Mutex::new(answered);
        let endpoint = Endpoint::bare(move |post| match post.what() {
            "(response)" => {
                answered.lock().unwrap().send(post.body.clone()).unwrap();
                // Whether it is accepted is of no interest.
                http(400, "", r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"}}"#)
            }
            "GET" => http(405, "", ""),
            "tools/call" => {
                let (reply, wait) = (response(post, &said("done")), wait.clone());
                stream(move |chunks| {
                    chunks.event(&ping("p"));
                    // No reply without the answer.
                    let body = wait.lock().unwrap().recv().unwrap();
                    assert_eq!(body, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
                    chunks.event(&reply);
                    chunks.end();
                })
            }
            _ => session(post).unwrap(),
        });
        let client = Client::open(endpoint.server()).unwrap();
        assert_eq!(call(&client).unwrap(), "done");
        assert_eq!(client.tool("x").start().unwrap().wait().unwrap().text(), "done");
        assert_eq!(client.tool("x").on_progress(|_| ()).call().unwrap().text(), "done");
    });
}

// ERA-51, RPC-15
#[test]
fn what_a_server_asks_before_it_answers_initialize_is_answered_too() {
    soon(|| {
        for names in [true, false] {
            let (answered, wait) = mpsc::channel::<()>();
            let (answered, wait) = (Mutex::new(answered), Arc::new(Mutex::new(wait)));
            let endpoint = Endpoint::bare(move |post| match post.what() {
                "(response)" => {
                    answered.lock().unwrap().send(()).unwrap();
                    http(202, "", "")
                }
                "initialize" => {
                    let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                        "serverInfo": { "name": "legacy", "version": "1" } });
                    let (reply, wait) = (response(post, &result), wait.clone());
                    let write = move |chunks: &mut Chunks| {
                        chunks.event(&ping("p"));
                        wait.lock().unwrap().recv().unwrap();
                        chunks.event(&reply);
                        chunks.end();
                    };
                    let session = if names { "Mcp-Session-Id: s1\r\n" } else { "" };
                    let headers = format!("Content-Type: text/event-stream\r\n{session}");
                    Answer::Chunked { status: 200, headers, write: Box::new(write) }
                }
                "GET" => http(405, "", ""),
                _ => session(post).unwrap(),
            });
            let client = Client::open(endpoint.server()).unwrap();
            let answer = endpoint.next("(response)");
            assert_eq!(answer.body, json!({ "jsonrpc": "2.0", "id": "p", "result": {} }));
            assert_eq!(answer.header("mcp-session-id"), names.then_some("s1"));
            assert_eq!(answer.header("mcp-protocol-version"), None);
            client.close();
        }
    });
}

/// A server whose calls are answered on streams that the test writes, as are all GETs.
fn held_streams() -> (Endpoint, Receiver<Chunks>, Receiver<Chunks>) {
    let (posts, of_posts) = mpsc::channel();
    let (gets, of_gets) = mpsc::channel();
    let endpoint = Endpoint::legacy(move |post| match post.verb() {
        "GET" => held(&gets),
        _ => held(&posts),
    });
    (endpoint, of_posts, of_gets)
}

// LHTTP-23, LHTTP-24, LHTTP-25, LHTTP-26, LHTTP-28
#[test]
fn the_server_s_own_stream_is_opened_again_where_it_ended() {
    const RETRY: Duration = Duration::from_millis(100);
    soon(|| {
        let ends: [fn(Chunks); 2] = [Chunks::finish, Chunks::cut];
        for end in ends {
            let (endpoint, _posts, gets) = held_streams();
            let (client, hear) = listening(&endpoint);
            assert_eq!(endpoint.next("GET").header("last-event-id"), None);
            let mut own = gets.recv().unwrap();
            own.send(format!("id: e1\nretry: 100\n{}", event(&log("one"))));
            assert_eq!(hear.recv().unwrap(), "one");
            // Also what has no data is a place to go on from, and no failure.
            for id in ["e1", "e2", "e3", "e4", "e5", "e6"] {
                own.send(format!("id: {id}\ndata:\n\n"));
                let ended = Instant::now();
                end(own);
                let again = endpoint.next("GET");
                assert!(ended.elapsed() >= RETRY, "{:?}", ended.elapsed());
                assert_eq!(again.header("last-event-id"), Some(id));
                assert_eq!(again.header("mcp-session-id"), Some("s1"));
                own = gets.recv().unwrap();
            }
            own.event(&log("two"));
            assert_eq!(hear.recv().unwrap(), "two");
            assert!(!client.close().left_behind);
        }
    });
}

// LHTTP-22, LHTTP-23, LHTTP-24, LHTTP-25, LHTTP-26, LHTTP-27, LHTTP-28
#[test]
fn a_reply_s_stream_that_ends_too_early_is_resumed_where_it_ended() {
    const RETRY: Duration = Duration::from_millis(300);
    soon(|| {
        let ends: [fn(Chunks); 2] = [Chunks::finish, Chunks::cut];
        for (number, end) in ends.into_iter().enumerate() {
            for listens in [false, true] {
                let (endpoint, posts, gets) = held_streams();
                let client = opened(&endpoint);
                // It has a place of its own to go on from.
                let mut own = gets.recv().unwrap();
                own.send("id: own\nretry: 1\ndata:\n\n");
                let heard = Mutex::new(0);
                let request = client.tool("x");
                let request = match listens {
                    true => request.on_progress(|_| *heard.lock().unwrap() += 1),
                    false => request,
                };
                thread::scope(|scope| {
                    let call = scope.spawn(|| request.call());
                    let post = endpoint.next("tools/call");
                    let mut stream = posts.recv().unwrap();
                    stream.send("id: p1\nretry: 300\ndata:\n\n");
                    for id in ["p1", "p2", "p3"] {
                        let ended = Instant::now();
                        end(stream);
                        let again = endpoint.next("GET");
                        assert!(ended.elapsed() >= RETRY, "{number}: {:?}", ended.elapsed());
                        assert_eq!(again.header("last-event-id"), Some(id), "{number}");
                        assert_eq!(again.header("mcp-session-id"), Some("s1"));
                        assert_eq!(again.header("accept"), Some("text/event-stream"));
                        stream = gets.recv().unwrap();
                        let next = if id == "p1" { "p2" } else { "p3" };
                        stream.send(format!("id: {next}\n{}", event(&progress(&post, 1))));
                    }
                    stream.event(&response(&post, &said("done")));
                    stream.finish();
                    assert_eq!(call.join().unwrap().unwrap().text(), "done");
                });
                assert_eq!(*heard.lock().unwrap(), usize::from(listens));
                // Nothing was sent twice.
                client.close();
                assert_eq!(endpoint.seen(), ["DELETE"], "{number}");
            }
        }
    });
}

// LHTTP-23, LHTTP-28
#[test]
fn a_server_that_cannot_resume_just_now_is_asked_again() {
    soon(|| {
        let asked = AtomicUsize::new(0);
        let posted = Mutex::new(None::<Value>);
        let endpoint = Endpoint::legacy(move |post| match post.header("last-event-id") {
            Some(id) => {
                assert_eq!(id, "p1");
                if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                    return http(503, "", "");
                }
                let reply = posted.lock().unwrap().take().unwrap();
                stream(move |chunks| {
                    chunks.event(&reply);
                    chunks.end();
                })
            }
            None if post.verb() == "GET" => http(405, "", ""),
            None => {
                *posted.lock().unwrap() = Some(response(post, &said("done")));
                stream(|chunks| {
                    chunks.send("id: p1\nretry: 1\ndata:\n\n");
                    chunks.end();
                })
            }
        });
        let client = opened(&endpoint);
        assert_eq!(call(&client).unwrap(), "done");
        assert_eq!(endpoint.seen(), ["tools/call", "GET", "GET"]);
    });
}

// LHTTP-23, LHTTP-28, LHTTP-29
#[test]
fn what_cannot_be_resumed_is_lost_and_not_sent_again() {
    /// How a stream begins, what the server says to whoever resumes it, and how often it is asked.
    type Case = (&'static str, fn() -> Answer, usize);
    soon(|| {
        let cases: [Case; 8] = [
            ("id: p1\nretry: 1\ndata:\n\n", || http(404, "", ""), 1),
            ("id: p1\nretry: 1\ndata:\n\n", || http(405, "", ""), 1),
            ("id: p1\nretry: 1\ndata:\n\n", || http(400, "", ""), 1),
            ("id: p1\nretry: 1\ndata:\n\n", || http(200, "", "{}"), 1),
            // LHTTP-28: no id, or one that was taken back.
            ("retry: 1\ndata:\n\n", || http(405, "", ""), 0),
            ("data: {}\n\n", || http(405, "", ""), 0),
            ("id: p1", || http(405, "", ""), 0),
            (": hello\n\n", || http(405, "", ""), 0),
        ];
        for (number, (first, resume, times)) in cases.into_iter().enumerate() {
            let endpoint = Endpoint::legacy(move |post| match post.verb() {
                "GET" if post.header("last-event-id").is_some() => resume(),
                "GET" => http(405, "", ""),
                _ => stream(move |chunks| {
                    chunks.send(first);
                    chunks.end();
                }),
            });
            let client = opened(&endpoint);
            let errors =
                [call(&client).unwrap_err(), client.tool("x").start().unwrap().wait().unwrap_err()];
            for error in errors {
                assert_eq!(failed(&error), (ErrorKind::Disconnected, true), "{number}: {error}");
            }
            client.close();
            let seen = endpoint.seen();
            let count = |what: &str| seen.iter().filter(|it| *it == what).count();
            assert_eq!((count("tools/call"), count("GET")), (2, 2 * times), "{number}: {seen:?}");
        }
    });
}

// LHTTP-26
#[test]
fn a_stream_may_be_resumed_any_number_of_times() {
    const TIMES: usize = 200;
    let test = "http_legacy::a_stream_may_be_resumed_any_number_of_times";
    // No time costs stack.
    alone_with(test, &[("RUST_MIN_STACK", "262144")], || {
        let posted = Mutex::new(None::<Value>);
        let asked = AtomicUsize::new(0);
        let endpoint = quiet_resumed(move |post| {
            if post.verb() == "POST" {
                *posted.lock().unwrap() = Some(response(post, &said("done")));
            }
            let number = asked.fetch_add(1, Ordering::Relaxed);
            let reply = (number == TIMES).then(|| posted.lock().unwrap().take().unwrap());
            stream(move |chunks| {
                chunks.send(format!("id: p{number}\nretry: 0\ndata:\n\n"));
                if let Some(reply) = reply {
                    chunks.event(&reply);
                }
                chunks.end();
            })
        });
        assert_eq!(call(&Client::open(endpoint.server()).unwrap()).unwrap(), "done");
        let seen = endpoint.seen();
        assert_eq!(seen.iter().filter(|it| *it == "GET").count(), 1 + TIMES);
    });
}

/// A server without a stream of its own, where streams are resumed.
fn quiet_resumed(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Endpoint {
    Endpoint::legacy(move |post| match (post.verb(), post.header("last-event-id")) {
        ("GET", None) => http(405, "", ""),
        _ => respond(post),
    })
}

// LHTTP-22, CANCEL-2
#[test]
fn leaving_a_call_tells_the_server_and_closes_the_stream() {
    /// A way to leave a call, which the server is telling something. Returns its id.
    type Leave = fn(&Client, &Endpoint) -> Value;
    /// What the call waits for.
    type Wait = fn() -> Answer;
    let ways: [Leave; 4] = [
        |client, endpoint| {
            assert!(client.tool("x").timeout(SHORT * 3).call().unwrap_err().is_timeout());
            endpoint.next("tools/call").body["id"].clone()
        },
        |client, endpoint| {
            let call = client.tool("x").timeout(SHORT * 3).start().unwrap();
            assert!(call.wait().unwrap_err().is_timeout());
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
    let waits: [Wait; 4] = [
        || Answer::Silence,
        || stream(Chunks::wait_for_client),
        || stream(|chunks| while chunks.send(": still here\n\n") {}),
        // For the time to resume.
        || {
            stream(|chunks| {
                chunks.send("id: p1\nretry: 3600000\ndata:\n\n");
                chunks.end();
            })
        },
    ];
    soon(move || {
        for (number, leave) in ways.into_iter().enumerate() {
            for (of, wait) in waits.into_iter().enumerate() {
                let endpoint = quiet(move |post| match post.is("tools/call") {
                    true => wait(),
                    false => answer(post, &json!({ "tools": [] })),
                });
                let client = opened(&endpoint);
                let id = leave(&client, &endpoint);
                let told = endpoint.next("notifications/cancelled");
                assert_eq!(told.body["params"]["requestId"], id, "{number} {of}");
                assert_eq!(told.header("mcp-session-id"), Some("s1"));
                endpoint.ended.recv().unwrap();
                // The session goes on, and nothing is resumed.
                assert_eq!(client.list_tools().unwrap(), [], "{number} {of}");
                assert!(!client.close().left_behind, "{number} {of}");
                assert_eq!(endpoint.seen(), ["tools/list", "DELETE"], "{number} {of}");
            }
        }
    });
}

// LHTTP-11, LHTTP-30
#[test]
fn whatever_the_server_says_to_the_end_of_the_session_it_is_the_end() {
    soon(|| {
        let answers: [fn() -> Answer; 6] = [
            || http(204, "", ""),
            || http(405, "", ""),
            || http(404, "", ""),
            || http(500, "", "oops"),
            || Answer::Close,
            || Answer::Silence,
        ];
        for (number, end) in answers.into_iter().enumerate() {
            let endpoint = Endpoint::bare(move |post| match post.what() {
                "DELETE" => end(),
                "GET" => stream(Chunks::wait_for_client),
                _ => session(post).unwrap_or_else(|| answer(post, &said("done"))),
            });
            let client = opened(&endpoint);
            assert_eq!(call(&client).unwrap(), "done");
            let report = client.close();
            assert!(!report.left_behind, "{number}");
            let last: Vec<Post> = endpoint.posts.try_iter().collect();
            assert_eq!(last.iter().map(Post::what).collect::<Vec<_>>(), ["tools/call", "DELETE"]);
            assert_eq!(last[1].header("mcp-session-id"), Some("s1"));
        }
    });
}

// LHTTP-8, LHTTP-9
#[test]
fn a_session_that_has_ended_is_begun_again_and_the_call_sent_again() {
    soon(|| {
        let initialize = |post: &Post, id: &str| initialized(post, "2025-11-25", id);
        let (endpoint, current) = forgetful(initialize, |post, _| match post.what() {
            "GET" => stream(Chunks::wait_for_client),
            "tools/call" => answer(post, &said("done")),
            _ => session(post).unwrap_or_else(|| answer(post, &json!({ "tools": [] }))),
        });
        let client = opened(&endpoint);
        client.set_log_level(LoggingLevel::Warning).unwrap();
        endpoint.next("logging/setLevel");
        for session in [11, 21, 31] {
            // The server forgets, and the next session has this number.
            current.store(session - 1, Ordering::SeqCst);
            // On the caller's thread, and on one of its own.
            match session {
                11 => assert_eq!(call(&client).unwrap(), "done"),
                21 => assert_eq!(client.tool("x").start().unwrap().wait().unwrap().text(), "done"),
                _ => assert_eq!(client.list_tools().unwrap(), []),
            }
            let expected = session.to_string();
            let posts: Vec<Post> = endpoint.posts.try_iter().collect();
            let order: Vec<_> = posts.iter().map(Post::what).collect();
            let method = if session == 31 { "tools/list" } else { "tools/call" };
            let whole = [
                method,
                "initialize",
                "notifications/initialized",
                "GET",
                "logging/setLevel",
                method,
            ];
            assert_eq!(order, whole);
            assert_eq!(posts[1].header("mcp-session-id"), None);
            assert_eq!(posts[1].header("mcp-protocol-version"), None);
            for post in &posts[2..] {
                assert_eq!(post.header("mcp-session-id"), Some(&*expected), "{}", post.what());
            }
            assert_eq!(posts[4].body["params"]["level"], "warning");
            assert_eq!(posts[0].body["params"], posts[5].body["params"]);
            assert_ne!(posts[0].body["id"], posts[5].body["id"]);
        }
        assert!(!client.close().left_behind);
        endpoint.next("DELETE");
    });
}

// LHTTP-8
#[test]
fn many_calls_that_notice_at_once_share_one_new_session() {
    const CALLERS: usize = 8;
    soon(|| {
        let together = Arc::new(Barrier::new(CALLERS));
        let barrier = together.clone();
        let current = Arc::new(AtomicUsize::new(1));
        let number = current.clone();
        let endpoint = Endpoint::bare(move |post| match post.what() {
            "initialize" => {
                let id = format!("Mcp-Session-Id: {}\r\n", number.load(Ordering::SeqCst));
                initialized(post, "2025-11-25", &id)
            }
            "tools/call" if post.header("mcp-session-id") == Some("1") => {
                // All of them are refused in one moment.
                barrier.wait();
                number.store(2, Ordering::SeqCst);
                http(404, "", "")
            }
            "GET" => stream(Chunks::wait_for_client),
            _ => session(post).unwrap_or_else(|| answer(post, &said("done"))),
        });
        let client = opened(&endpoint);
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| assert_eq!(call(&client).unwrap(), "done"));
            }
        });
        assert!(!client.close().left_behind);
        let posts: Vec<Post> = endpoint.posts.try_iter().collect();
        let count = |what: &str| posts.iter().filter(|post| post.what() == what).count();
        assert_eq!(count("initialize"), 1);
        assert_eq!(count("GET"), 1);
        assert_eq!(count("tools/call"), 2 * CALLERS);
    });
}

// LHTTP-8, LHTTP-9
#[test]
fn a_session_that_ends_again_or_does_not_begin_is_an_error() {
    soon(|| {
        // Every session has ended before the first call.
        let endpoint = quiet(|_| http(404, "", ""));
        let client = opened(&endpoint);
        for _ in 0..2 {
            let error = call(&client).unwrap_err();
            assert_eq!(failed(&error), (ErrorKind::Disconnected, false), "{error}");
            assert!(error.to_string().contains("session"), "{error}");
            let whole =
                ["tools/call", "initialize", "notifications/initialized", "GET", "tools/call"];
            assert_eq!(endpoint.seen(), whole);
        }
        // The second `initialize` and all that follow are refused.
        for status in [404, 500, 401] {
            let asked = AtomicUsize::new(0);
            let endpoint = Endpoint::bare(move |post| match post.what() {
                "initialize" if asked.fetch_add(1, Ordering::Relaxed) > 0 => http(status, "", ""),
                "GET" => http(405, "", ""),
                "tools/call" => http(404, "", ""),
                _ => session(post).unwrap(),
            });
            let client = opened(&endpoint);
            for _ in 0..2 {
                let error = call(&client).unwrap_err();
                assert!(!error.may_have_run(), "{error}");
                assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
                // Nor is another transport looked for.
                assert_eq!(endpoint.seen(), ["tools/call", "initialize"]);
            }
            assert!(!client.close().left_behind);
        }
    });
}

// LHTTP-8
#[test]
fn a_call_that_waits_for_another_session_ends_at_its_clock_and_when_it_is_cancelled() {
    soon(|| {
        let asked = AtomicUsize::new(0);
        let endpoint = Endpoint::bare(move |post| match post.what() {
            "initialize" if asked.fetch_add(1, Ordering::Relaxed) > 0 => Answer::Silence,
            "GET" => http(405, "", ""),
            "tools/call" => http(404, "", ""),
            _ => session(post).unwrap(),
        });
        let client = opened(&endpoint);
        let token = CancelToken::new();
        thread::scope(|scope| {
            // One begins the session and others wait for that, or begin it after it has given up.
            let cancelled = scope.spawn(|| client.tool("x").cancel_token(&token).call());
            endpoint.next("initialize");
            let timed_out = client.tool("x").timeout(SHORT).call().unwrap_err();
            assert!(timed_out.is_timeout() && !timed_out.may_have_run(), "{timed_out}");
            token.cancel();
            assert!(cancelled.join().unwrap().unwrap_err().is_cancelled());
            let alone = client.tool("x").timeout(SHORT).call().unwrap_err();
            assert!(alone.is_timeout() && !alone.may_have_run(), "{alone}");
            // `close` ends what waits.
            let call = scope.spawn(|| call(&client));
            endpoint.next("initialize");
            endpoint.next("initialize");
            assert!(!client.close().left_behind);
            assert!(call.join().unwrap().unwrap_err().is_cancelled());
        });
    });
}

// LHTTP-9, LHTTP-28
#[test]
fn a_call_that_may_have_run_is_not_sent_again() {
    soon(|| {
        let answers: [fn() -> Answer; 5] = [
            || http(400, "", ""),
            || http(500, "", ""),
            || http(200, "", ""),
            || Answer::Close,
            || stream(Chunks::end),
        ];
        for (number, respond) in answers.into_iter().enumerate() {
            let endpoint = quiet(move |_| respond());
            let client = opened(&endpoint);
            let error = call(&client).unwrap_err();
            assert!(error.may_have_run(), "{number}: {error}");
            client.close();
            assert_eq!(endpoint.seen(), ["tools/call", "DELETE"], "{number}");
        }
        // Without a session, 404 is not the end of one.
        let endpoint = Endpoint::bare(|post| match post.what() {
            "initialize" => initialized(post, "2025-11-25", ""),
            "GET" => http(405, "", ""),
            "tools/call" => http(404, "", ""),
            _ => session(post).unwrap(),
        });
        let client = opened(&endpoint);
        let error = call(&client).unwrap_err();
        assert_eq!(failed(&error), (ErrorKind::Unreachable, false), "{error}");
        client.close();
        assert_eq!(endpoint.seen(), ["tools/call"]);
    });
}

// LHTTP-30
#[test]
fn closing_leaves_nothing_behind() {
    /// What a client is doing when it is closed.
    type Busy = fn(&Client, &Endpoint);
    alone("http_legacy::closing_leaves_nothing_behind", || {
        let endpoint =
            Endpoint::legacy(|post| match (post.verb(), post.body["params"]["name"].as_str()) {
                ("GET", _) => stream(Chunks::wait_for_client),
                (_, Some("silent")) => Answer::Silence,
                (_, Some("stream")) => stream(Chunks::wait_for_client),
                (_, Some("resumed")) => stream(|chunks| {
                    chunks.send("id: p1\nretry: 3600000\ndata:\n\n");
                    chunks.end();
                }),
                _ => answer(post, &said("done")),
            });
        let busy: [Busy; 3] = [
            |_, _| (),
            |client, _| drop(call(client)),
            |client, endpoint| {
                for name in ["silent", "stream", "resumed"] {
                    let client = client.clone();
                    thread::spawn(move || drop(client.call_tool(name, json!({}))));
                    endpoint.next("tools/call");
                }
            },
        ];
        let before = Holdings::now();
        for work in busy {
            let client = Client::open(endpoint.server()).unwrap();
            work(&client, &endpoint);
            assert!(!client.close().left_behind);
        }
        before.are_all_there_is();
    });
}

#[test]
fn an_opening_that_is_given_up_at_any_moment_leaves_nothing_behind() {
    let test = "http_legacy::an_opening_that_is_given_up_at_any_moment_leaves_nothing_behind";
    alone(test, || {
        let endpoint = Endpoint::legacy(|_| Answer::Silence);
        let before = Holdings::now();
        for step in 0..60 {
            let token = CancelToken::new();
            let (server, other) = (endpoint.server(), token.clone());
            let opening = thread::spawn(move || {
                let opened = Client::builder().cancel_token(&other).open(server);
                opened.map(|client| assert!(!client.close().left_behind))
            });
            // When the server has seen so much.
            for _ in 0..step % 5 {
                endpoint.posts.recv_timeout(SHORT).ok();
            }
            token.cancel();
            drop(opening.join().unwrap());
            while endpoint.posts.try_recv().is_ok() {}
        }
        before.are_all_there_is();
    });
}

#[test]
fn a_stream_that_waits_for_its_token_does_not_outlive_its_client() {
    let test = "http_legacy::a_stream_that_waits_for_its_token_does_not_outlive_its_client";
    alone(test, || {
        let endpoint = Endpoint::legacy(|_| Answer::Silence);
        let before = Holdings::now();
        let (asks, asked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let (asks, released) = (Mutex::new(asks), Mutex::new(released));
        let count = AtomicUsize::new(0);
        let server = endpoint.server().bearer_token_with(move || {
            // After the probe, `initialize` and the notification.
            if count.fetch_add(1, Ordering::Relaxed) == 3 {
                asks.lock().unwrap().send(()).unwrap();
                released.lock().unwrap().recv().unwrap();
            }
            Ok::<_, String>("token".to_owned())
        });
        let token = CancelToken::new();
        let other = token.clone();
        let opening =
            thread::spawn(move || Client::builder().cancel_token(&other).open(server).is_err());
        asked.recv().unwrap();
        token.cancel();
        assert!(opening.join().unwrap());
        release.send(()).unwrap();
        before.are_all_there_is();
        assert!(!endpoint.seen().contains(&"GET".to_owned()));
    });
}
