//! Streamable HTTP, against a small server on this machine.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::{CancelToken, Client, ErrorKind, Limits, RawJson, Timeouts};

use crate::calls::said;
use crate::common::{SHORT, soon};
use crate::http_peer::{
    Answer, Chunks, Endpoint, Post, answer, call, event, http, log, progress, response, stream,
};

// HDR-1, HDR-2, HDR-3, HDR-4, HDR-5, HDR-7, HDR-8, HTTP-1, HTTP-2, HTTP-13, HTTP-20
#[test]
fn every_message_is_a_post_whose_headers_mirror_it() {
    soon(|| {
        let endpoint = Endpoint::new(|post| {
            let result = json!({ "tools": [], "content": [], "contents": [], "messages": [] });
            let mut reply = response(post, &result);
            reply["result"]["resultType"] = json!("complete");
            let session = "Content-Type: application/json; charset=utf-8\r\nMcp-Session-Id: s\r\n";
            http(200, session, reply.to_string())
        });
        let client = Client::open(endpoint.server()).unwrap();
        client.list_tools().unwrap();
        client.call_tool("the tool", json!({})).map(drop).unwrap();
        client.read_resource("x:y").unwrap();
        client.get_prompt("the prompt", [("a", "b")]).unwrap();
        client.request("tools/call", json!({ "name": "by hand" })).call().unwrap();
        for method in ["tasks/get", "tasks/update", "tasks/cancel", "example/x"] {
            let params = json!({ "taskId": "t", "name": "n", "uri": "u" });
            client.request(method, params).call().unwrap();
        }
        client.ping().unwrap();
        client.close();
        let sent = [
            ("server/discover", None),
            ("tools/list", None),
            ("tools/call", Some("the tool")),
            ("resources/read", Some("x:y")),
            ("prompts/get", Some("the prompt")),
            ("tools/call", Some("by hand")),
            ("tasks/get", Some("t")),
            ("tasks/update", Some("t")),
            ("tasks/cancel", Some("t")),
            ("example/x", None),
            ("server/discover", None),
        ];
        let posts: Vec<Post> = endpoint.posts.try_iter().collect();
        assert_eq!(posts.len(), sent.len());
        for (post, (method, name)) in posts.iter().zip(sent) {
            assert_eq!(post.line, "POST /mcp?a=b HTTP/1.1", "{method}");
            assert_eq!(post.body["method"], method);
            assert!(post.body["id"].is_u64(), "{method}");
            let version = &post.body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
            assert_eq!(post.header("mcp-protocol-version"), version.as_str(), "{method}");
            assert_eq!(version, "2026-07-28");
            assert_eq!(post.header("mcp-method"), Some(method));
            assert_eq!(post.header("mcp-name"), name, "{method}");
            assert_eq!(post.header("accept"), Some("application/json, text/event-stream"));
            assert_eq!(post.header("content-type"), Some("application/json"));
            for absent in ["mcp-session-id", "last-event-id", "origin", "authorization"] {
                assert_eq!(post.header(absent), None, "{method}");
            }
        }
    });
}

// HDR-6, XHDR-24
#[test]
fn a_name_that_no_header_can_hold_is_encoded() {
    soon(|| {
        let endpoint = Endpoint::new(|post| answer(post, &said("done")));
        let client = endpoint.open();
        for (name, header) in [
            ("plain name", "plain name"),
            ("ü", "=?base64?w7w=?="),
            (" padded", "=?base64?IHBhZGRlZA==?="),
            ("a\r\nEvil: 1", "=?base64?YQ0KRXZpbDogMQ==?="),
            ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
            ("", ""),
        ] {
            assert_eq!(client.call_tool(name, json!({})).unwrap().text(), "done");
            let post = endpoint.posts.recv().unwrap();
            assert_eq!(post.header("mcp-name"), Some(header), "{name:?}");
            assert_eq!((&post.body["params"]["name"], post.header("evil")), (&json!(name), None));
        }
    });
}

#[test]
fn calls_one_after_the_other_share_a_connection() {
    soon(|| {
        let endpoint = Endpoint::new(|post| answer(post, &said("done")));
        let client = endpoint.open();
        for _ in 0..5 {
            assert_eq!(call(&client).unwrap(), "done");
            assert_eq!(endpoint.posts.recv().unwrap().connection, 0);
        }
        // After an error too.
        assert_eq!(client.tool("x").start().unwrap().wait().unwrap().text(), "done");
        assert_eq!(endpoint.posts.recv().unwrap().connection, 0);
        client.close();
        assert_eq!(endpoint.ended.recv().unwrap(), 0);
    });
}

#[test]
fn a_connection_that_the_server_closed_between_calls_is_replaced() {
    soon(|| {
        let endpoint = Endpoint::new(|post| Answer::ThenClose(response(post, &said("done"))));
        let client = endpoint.open();
        for connection in [0, 1, 2] {
            assert_eq!(call(&client).unwrap(), "done");
            assert_eq!(endpoint.posts.recv().unwrap().connection, connection);
            assert_eq!(endpoint.ended.recv().unwrap(), connection);
        }
    });
}

// HTTP-17
#[test]
fn many_calls_at_once_have_a_connection_each_and_keep_to_the_limit() {
    soon(|| {
        const LIMIT: usize = 3;
        let waiting = Mutex::new(0_usize);
        let all_here = std::sync::Condvar::new();
        let endpoint = Endpoint::new(move |post| {
            let uri = &post.body["params"]["uri"];
            if uri == "silence" {
                return Answer::Silence;
            }
            // Answered only when as many as are allowed are here.
            let mut here = waiting.lock().unwrap();
            *here += 1;
            all_here.notify_all();
            let round = here.div_ceil(LIMIT) * LIMIT;
            drop(all_here.wait_while(here, |here| *here < round).unwrap());
            answer(post, &json!({ "contents": [{ "uri": uri, "text": "x" }] }))
        });
        let server = endpoint.server().limits(Limits::default().in_flight(LIMIT));
        let client = Client::open(server).unwrap();
        let uris = ["0", "1", "2", "3", "4", "5"];
        for (result, uri) in client.read_resources(uris).into_iter().zip(uris) {
            assert_eq!(result.unwrap().contents[0].uri(), Some(uri));
        }
        let waiting = [(); LIMIT].map(|()| client.resource("silence").start().unwrap());
        let error = client.resource("silence").start().unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Limit, false), "{error}");
        drop(waiting);
    });
}

/// What an answer makes of a call, and whether the tool may have run.
type Outcome = (fn(&Post) -> Answer, ErrorKind, bool);

const OUTCOMES: [Outcome; 16] = [
    (|_| http(401, "WWW-Authenticate: Bearer\r\n", ""), ErrorKind::Authorization, false),
    (|_| http(403, "", "forbidden"), ErrorKind::Authorization, true),
    (|_| http(404, "", "<h1>not found</h1>"), ErrorKind::Unreachable, false),
    (|_| http(405, "", ""), ErrorKind::Unreachable, false),
    (|_| http(307, "Location: http://127.0.0.1:1/\r\n", ""), ErrorKind::Unreachable, true),
    (|_| http(429, "Retry-After: 7\r\n", ""), ErrorKind::Unreachable, false),
    (|_| http(500, "", "oops"), ErrorKind::Unreachable, true),
    (|_| Answer::Close, ErrorKind::Disconnected, true),
    (|_| http(200, "", ""), ErrorKind::Protocol, true),
    (|_| http(200, "", "<html>"), ErrorKind::Protocol, true),
    (|_| http(202, "", ""), ErrorKind::Protocol, true),
    (|_| http(200, "", r#"{"jsonrpc":"2.0","method":"x"}"#), ErrorKind::Protocol, true),
    (|_| http(200, "", r#"{"jsonrpc":"2.0","id":999,"result":{}}"#), ErrorKind::Protocol, true),
    (|_| http(400, "", r#"{"error":{"code":-32602,"message":"no id"}}"#), ErrorKind::Rpc, true),
    (
        |post| {
            let error = json!({ "code": -32601, "message": "no" });
            http(404, "", json!({ "id": post.body["id"], "error": error }).to_string())
        },
        ErrorKind::Rpc,
        true,
    ),
    (
        |_| http(429, "Retry-After: 7\r\n", r#"{"error":{"code":-32000,"message":"later"}}"#),
        ErrorKind::Unreachable,
        false,
    ),
];

#[test]
fn every_answer_that_is_no_result_is_an_error_of_its_kind() {
    soon(|| {
        for (number, (respond, kind, ran)) in OUTCOMES.into_iter().enumerate() {
            let endpoint = Endpoint::new(move |post| match post.is("tools/call") {
                true => respond(post),
                false => answer(post, &json!({ "tools": [] })),
            });
            let client = endpoint.open();
            let error = call(&client).unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (kind, ran), "{number}: {error}");
            assert!(error.to_string().starts_with("web: tools/call \"x\": "), "{error}");
            let wait = matches!(number, 5 | 15).then_some(Duration::from_secs(7));
            assert_eq!(error.retry_after(), wait, "{number}");
            // It was one exchange's, and the client goes on.
            assert_eq!(client.list_tools().unwrap(), [], "{number}");
        }
    });
}

// HTTP-19
#[test]
fn an_answer_for_another_request_ends_neither() {
    soon(|| {
        let (first_id, first) = mpsc::channel::<Value>();
        let first = Mutex::new(first);
        let (wrong_sent, release) = mpsc::channel::<()>();
        let release = Mutex::new(release);
        let endpoint = Endpoint::new(move |post| match post.body["params"]["name"].as_str() {
            Some("first") => {
                first_id.send(post.body["id"].clone()).unwrap();
                release.lock().unwrap().recv().unwrap();
                answer(post, &said("right"))
            }
            _ => {
                let id = first.lock().unwrap().recv().unwrap();
                let wrong = json!({ "jsonrpc": "2.0", "id": id, "result": said("wrong") });
                http(200, "", wrong.to_string())
            }
        });
        let client = endpoint.open();
        let first = client.tool("first").start().unwrap();
        let error = client.call_tool("second", json!({})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        wrong_sent.send(()).unwrap();
        assert_eq!(first.wait().unwrap().text(), "right");
    });
}

// HTTP-22
#[test]
fn an_answer_that_is_too_large_is_an_error() {
    soon(|| {
        let endpoint = Endpoint::new(|post| answer(post, &said("x".repeat(10_000))));
        let limits = Limits::default().message(5_000);
        let client = Client::open(endpoint.server().limits(limits)).unwrap();
        let error = call(&client).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Limit, true), "{error}");
    });
}

/// What a server answers to the opening, and what that makes of it.
type Refusal = (fn(&Post) -> Answer, ErrorKind);

#[test]
fn an_opening_that_fails_says_why() {
    soon(|| {
        let cases: [Refusal; 5] = [
            (|_| http(401, "", ""), ErrorKind::Authorization),
            (|_| http(404, "", ""), ErrorKind::Unreachable),
            (|_| http(500, "", ""), ErrorKind::Unreachable),
            (|_| Answer::Close, ErrorKind::Disconnected),
            (|_| Answer::Silence, ErrorKind::Timeout),
        ];
        for (number, (respond, kind)) in cases.into_iter().enumerate() {
            let endpoint = Endpoint::bare(respond);
            // Over HTTP, silence says nothing about the era.
            let timeouts = match kind {
                ErrorKind::Timeout => Timeouts::default().connect(SHORT * 5).patience(SHORT * 20),
                _ => Timeouts::default(),
            };
            let error = Client::open(endpoint.server().timeouts(timeouts)).unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (kind, false), "{number}: {error}");
        }
        // Nobody listens there any more.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let error = Client::connect(url).unwrap_err();
        assert_eq!(
            (error.kind(), error.may_have_run()),
            (ErrorKind::Unreachable, false),
            "{error}"
        );
    });
}

// HTTP-14, HTTP-15, HTTP-16, CANCEL-2
#[test]
fn leaving_a_call_closes_its_exchange_and_sends_nothing() {
    /// A way to leave a call, with the error's kind.
    type Leave = fn(&Client, &Receiver<Post>) -> Option<ErrorKind>;
    let ways: [Leave; 5] = [
        |client, _| Some(client.tool("x").timeout(SHORT).call().unwrap_err().kind()),
        |client, _| {
            Some(client.tool("x").timeout(SHORT).start().unwrap().wait().unwrap_err().kind())
        },
        |client, posts| {
            let call = client.tool("x").start().unwrap();
            posts.recv().unwrap();
            drop(call);
            None
        },
        |client, posts| {
            let token = CancelToken::new();
            let other = (client.clone(), token.clone());
            let call = thread::spawn(move || other.0.tool("x").cancel_token(&other.1).call());
            posts.recv().unwrap();
            token.cancel();
            Some(call.join().unwrap().unwrap_err().kind())
        },
        |client, posts| {
            let other = client.clone();
            let call = thread::spawn(move || other.call_tool("x", json!({})));
            posts.recv().unwrap();
            assert!(!client.close().left_behind);
            Some(call.join().unwrap().unwrap_err().kind())
        },
    ];
    let kinds = [
        Some(ErrorKind::Timeout),
        Some(ErrorKind::Timeout),
        None,
        Some(ErrorKind::Cancelled),
        Some(ErrorKind::Closed),
    ];
    // Before the head of an answer, in the middle of an event, and while there is always more.
    let waits: [fn() -> Answer; 3] = [
        || Answer::Silence,
        || {
            stream(|chunks| {
                chunks.send(": hello\n\ndata: {");
                chunks.wait_for_client();
            })
        },
        || stream(|chunks| while chunks.send(": still here\n\n") {}),
    ];
    soon(move || {
        let ways = ways.into_iter().zip(kinds).enumerate();
        for ((number, (leave, kind)), wait) in ways.flat_map(|way| waits.map(|wait| (way, wait))) {
            let endpoint = Endpoint::new(move |post| match post.is("tools/call") {
                true => wait(),
                false => answer(post, &json!({ "tools": [] })),
            });
            let client = endpoint.open();
            assert_eq!(leave(&client, &endpoint.posts), kind, "{number}");
            // The server sees the end of that exchange's connection.
            assert_eq!(endpoint.ended.recv().unwrap(), 0, "{number}");
            if kind != Some(ErrorKind::Closed) {
                assert_eq!(client.list_tools().unwrap(), [], "{number}");
            }
            client.close();
            let told = endpoint.posts.try_iter().any(|post| post.is("notifications/cancelled"));
            assert!(!told, "{number}");
        }
    });
}

#[test]
fn a_request_arrives_in_one_piece() {
    soon(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let opening = thread::spawn(move || Client::connect(url));
        let (mut connection, _) = listener.accept().unwrap();
        let mut piece = [0; 4096];
        let came = connection.read(&mut piece).unwrap();
        let piece = str::from_utf8(&piece[..came]).unwrap();
        assert!(piece.starts_with("POST /mcp HTTP/1.1\r\n") && piece.ends_with("}}"), "{piece}");
        drop((listener, connection));
        opening.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_body_is_sent_as_the_caller_wrote_it() {
    soon(|| {
        let endpoint = Endpoint::new(|post| answer(post, &said("done")));
        let client = endpoint.open();
        let big = json!({ "text": "ü".repeat(1024 * 1024) });
        assert_eq!(client.call_tool("x", &big).unwrap().text(), "done");
        assert_eq!(endpoint.posts.recv().unwrap().body["params"]["arguments"], big);
        let own = RawJson::from_string("{\n\"a\": 1\n}".to_owned()).unwrap();
        assert_eq!(client.call_tool("x", own).unwrap().text(), "done");
        assert_eq!(endpoint.posts.recv().unwrap().body["params"]["arguments"], json!({ "a": 1 }));
    });
}

// HTTP-3, HTTP-5, PROG-2, LOG-2
#[test]
fn what_a_stream_says_before_the_reply_is_heard_when_it_is_said() {
    soon(|| {
        let (hear, heard) = mpsc::channel();
        let heard = Arc::new(Mutex::new(heard));
        let endpoint = Endpoint::new(move |post| {
            let messages = [log("begins"), progress(post, 1), log("goes on"), progress(post, 2)];
            let reply = response(post, &said("done"));
            let heard = heard.clone();
            stream(move |chunks| {
                for message in messages {
                    chunks.event(&message);
                    // Nothing else is said until this has been heard.
                    heard.lock().unwrap().recv().unwrap();
                }
                chunks.event(&reply);
                chunks.end();
            })
        });
        // Over a new connection and over an open one, waited for at once and later.
        let client = endpoint.open();
        for is_started in [false, true, false] {
            let said = Mutex::new(Vec::new());
            let listen = |what: String| {
                said.lock().unwrap().push(what);
                hear.send(()).unwrap();
            };
            let call = client
                .tool("x")
                .on_progress(|progress| listen(progress.progress.to_string()))
                .on_log(|log| listen(log.data.as_str().unwrap().to_owned()));
            let result = match is_started {
                true => call.start().unwrap().wait(),
                false => call.call(),
            };
            assert_eq!(result.unwrap().text(), "done");
            assert_eq!(*said.lock().unwrap(), ["begins", "1", "goes on", "2"]);
        }
    });
}

// HTTP-2, HTTP-3, HTTP-4, HTTP-7, HTTP-8, HTTP-9, HTTP-10
#[test]
fn a_stream_is_read_however_it_is_written() {
    soon(|| {
        let (next, events) = mpsc::channel::<(&str, String)>();
        let events = Mutex::new(events);
        let endpoint = Endpoint::new(move |post| {
            let (content_type, events) = events.lock().unwrap().recv().unwrap();
            let events = events.replace("$ID", &post.body["id"].to_string());
            let write = move |chunks: &mut Chunks| {
                // In the middle of characters, of line ends and of the mark.
                events.as_bytes().chunks(1).for_each(|byte| assert!(chunks.send(byte)));
                chunks.end();
            };
            let headers = format!("Content-Type: {content_type}\r\n");
            Answer::Chunked { status: 200, headers, write: Box::new(write) }
        });
        let client = endpoint.open();
        let reply = r#"data: {"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"ü€😀"}]}}"#;
        let in_lines = reply.replace(r#","result""#, "\n\ndata: ,\"result\"").replace("\n\n", "\n");
        let plain = "text/event-stream";
        for (content_type, text) in [
            (plain, format!("{reply}\n\n")),
            ("Text/Event-Stream; charset=utf-8", format!("{reply}\n\n")),
            (plain, format!("\u{feff}{reply}\r\n\r\n")),
            (plain, format!("{reply}\r\r")),
            (plain, format!(": hello\n\n:\n{reply}\n: bye\n\n: bye\n\n")),
            (plain, format!("id: 7\nretry: 1\ndata:\n\nid: 8\ndata\n\n{reply}\n\n")),
            (plain, format!("event: message\nid: 9\n{reply}\n\n")),
            (plain, format!("event: other\n{}\n\n{reply}\n\n", reply.replace("ü€😀", "wrong"))),
            (plain, format!("{in_lines}\n\n")),
            (plain, format!("data: not JSON\n\ndata: {{}}\n\n{reply}\n\n")),
            // Which is not answered either.
            (
                plain,
                format!("data: {}\n\n{reply}\n\n", r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#),
            ),
        ] {
            next.send((content_type, text.clone())).unwrap();
            assert_eq!(call(&client).unwrap(), "ü€😀", "{text}");
            let post = endpoint.posts.recv().unwrap();
            assert!(post.is("tools/call"), "{text}");
            // Streams are read to their end.
            assert_eq!((post.connection, post.header("last-event-id")), (0, None), "{text}");
        }
    });
}

/// A part of a gzip stream that is not compressed.
fn stored(text: &str, is_last: bool) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()].concat();
    [&[u8::from(is_last)], lengths.as_slice(), text.as_bytes()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    let next = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), next))
}

// HTTP-3
#[test]
fn a_compressed_stream_is_heard_when_it_is_said() {
    soon(|| {
        let (hear, heard) = mpsc::channel();
        let heard = Arc::new(Mutex::new(heard));
        let endpoint = Endpoint::new(move |post| {
            assert!(post.header("accept-encoding").unwrap().contains("gzip"));
            let parts = [event(&progress(post, 1)), event(&response(post, &said("done")))];
            let heard = heard.clone();
            let write = move |chunks: &mut Chunks| {
                chunks.send([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
                chunks.send(stored(&parts[0], false));
                heard.lock().unwrap().recv().unwrap();
                chunks.send(stored(&parts[1], true));
                let whole = parts.concat();
                let length = u32::try_from(whole.len()).unwrap();
                chunks.send([crc32(whole.as_bytes()).to_le_bytes(), length.to_le_bytes()].concat());
                chunks.end();
            };
            let headers = "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n";
            Answer::Chunked { status: 200, headers: headers.to_owned(), write: Box::new(write) }
        });
        let client = endpoint.open();
        let call = client.tool("x").on_progress(|_| hear.send(()).unwrap());
        assert_eq!(call.call().unwrap().text(), "done");
    });
}

/// How a stream ends before the reply.
type Cut = fn(&mut Chunks, &Value);

// HTTP-11
#[test]
fn a_stream_that_ends_before_the_reply_loses_the_call_and_no_other() {
    soon(|| {
        let cuts: [Cut; 7] = [
            |chunks, _| chunks.end(),
            // The connection is closed.
            |_, _| (),
            |chunks, reply| assert!(chunks.send(&event(reply)[..20])),
            // Not a chunk.
            |chunks, reply| chunks.stream.write_all(event(reply).as_bytes()).unwrap(),
            // No empty line: it is no event.
            |chunks, reply| {
                chunks.send(event(reply).trim_end());
                chunks.end();
            },
            |chunks, _| {
                chunks.event(&json!({ "jsonrpc": "2.0", "id": 999, "result": said("wrong") }));
                chunks.end();
            },
            |chunks, _| {
                chunks.send("data: nonsense\n\n");
                chunks.end();
            },
        ];
        for (number, cut) in cuts.into_iter().enumerate() {
            let endpoint = Endpoint::new(move |post| match post.is("tools/call") {
                true => {
                    let (first, reply) = (progress(post, 1), response(post, &said("done")));
                    stream(move |chunks| {
                        chunks.event(&first);
                        cut(chunks, &reply);
                    })
                }
                false => answer(post, &json!({ "tools": [] })),
            });
            let client = endpoint.open();
            let mut heard = 0;
            let listening = client.tool("x").on_progress(|_| heard += 1).call().unwrap_err();
            for error in [listening, call(&client).unwrap_err()] {
                let (kind, ran) = (error.kind(), error.may_have_run());
                assert_eq!((kind, ran), (ErrorKind::Disconnected, true), "{number}: {error}");
                assert!(error.to_string().contains("broke before the reply"), "{error}");
            }
            assert_eq!(heard, 1, "{number}");
            assert_eq!(client.list_tools().unwrap(), [], "{number}");
            // Neither was sent again.
            assert_eq!(endpoint.posts.try_iter().filter(|post| post.is("tools/call")).count(), 2);
        }
    });
}

// HTTP-8
#[test]
fn a_stream_without_end_ends_at_the_calls_clock() {
    soon(|| {
        let endpoint = Endpoint::new(|post| match post.is("tools/call") {
            // What has no data is no message either.
            true => stream(|chunks| while chunks.send(": still here\n\nid: 7\ndata:\n\n") {}),
            false => answer(post, &json!({ "tools": [] })),
        });
        let client = endpoint.open();
        // On the caller's thread, and twice on one of its own.
        let errors = [
            client.tool("x").timeout(SHORT).call().unwrap_err(),
            client.tool("x").timeout(SHORT).on_progress(|_| ()).call().unwrap_err(),
            client.tool("x").timeout(SHORT).start().unwrap().wait().unwrap_err(),
        ];
        for (number, error) in errors.into_iter().enumerate() {
            assert!(error.is_timeout() && error.may_have_run(), "{number}: {error}");
            assert_eq!(error.stray_line(), None, "{number}");
        }
        // One connection each.
        let mut ended: Vec<_> = endpoint.ended.iter().take(3).collect();
        ended.sort_unstable();
        assert_eq!(ended, [0, 1, 2]);
        assert_eq!(client.list_tools().unwrap(), []);
        assert!(!client.close().left_behind);
    });
}

#[test]
fn a_listener_that_takes_its_time_does_not_cost_the_stream() {
    soon(|| {
        let (hear, heard) = mpsc::channel();
        let heard = Arc::new(Mutex::new(heard));
        let endpoint = Endpoint::new(move |post| {
            let (first, reply) = (progress(post, 1), response(post, &said("done")));
            let heard = heard.clone();
            stream(move |chunks| {
                chunks.event(&first);
                heard.lock().unwrap().recv().unwrap();
                chunks.event(&reply);
                chunks.end();
            })
        });
        let client = endpoint.open();
        let call = client.tool("x").timeout(SHORT * 5).on_progress(|_| {
            thread::sleep(SHORT * 6);
            hear.send(()).unwrap();
        });
        assert_eq!(call.call().unwrap().text(), "done");
    });
}

// HTTP-22
#[test]
fn an_event_that_is_too_large_costs_its_own_call() {
    soon(|| {
        let endpoint = Endpoint::new(|post| {
            let is_long = post.body["params"]["name"] == "long";
            let size = if is_long { 100_000 } else { 10 };
            let result = said("x".repeat(size));
            // What some servers do: the id comes last.
            let id = &post.body["id"];
            let reply = format!(r#"{{"result":{result},"jsonrpc":"2.0","id":{id}}}"#);
            stream(move |chunks| {
                chunks.event(&log(&"x".repeat(100_000)));
                format!("data: {reply}\n\n").as_bytes().chunks(999).all(|piece| chunks.send(piece));
                chunks.end();
            })
        });
        let client =
            Client::open(endpoint.server().limits(Limits::default().message(5_000))).unwrap();
        assert!(endpoint.posts.recv().unwrap().is("server/discover"));
        for _ in 0..2 {
            // On the caller's thread, and on one of its own.
            let errors = [
                client.tool("long").call().unwrap_err(),
                client.tool("long").on_log(|_| ()).call().unwrap_err(),
            ];
            for error in errors {
                let (kind, ran) = (error.kind(), error.may_have_run());
                assert_eq!((kind, ran), (ErrorKind::Limit, true), "{error}");
            }
            assert_eq!(client.call_tool("short", json!({})).unwrap().text(), "xxxxxxxxxx");
        }
        assert_eq!(endpoint.posts.recv().unwrap().connection, 0);
        assert_eq!(endpoint.posts.recv().unwrap().connection, 0);
    });
}

// HTTP-6
#[test]
fn what_follows_the_reply_is_nobodys() {
    /// How a stream goes on, and whether its connection serves again.
    type After = (fn(&mut Chunks), bool);
    soon(|| {
        let cases: [After; 5] = [
            (|chunks| chunks.end(), true),
            (
                |chunks| {
                    chunks.event(&json!({ "jsonrpc": "2.0", "id": 1, "result": said("late") }));
                    chunks.event(&log("late"));
                    chunks.end();
                },
                true,
            ),
            // It stays open, goes on for ever, or breaks.
            (|chunks| chunks.wait_for_client(), false),
            (|chunks| while chunks.send(": still here\n\n") {}, false),
            (|_| (), false),
        ];
        for (number, (after, serves_again)) in cases.into_iter().enumerate() {
            let endpoint = Endpoint::new(move |post| {
                let reply = response(post, &said("done"));
                stream(move |chunks| {
                    chunks.event(&reply);
                    after(chunks);
                })
            });
            let (heard, hear) = mpsc::channel();
            let builder = Client::builder().on_notification(move |_, _| heard.send(()).unwrap());
            let client = builder.open(endpoint.server()).unwrap();
            assert!(endpoint.posts.recv().unwrap().is("server/discover"));
            for connection in 0..3 {
                assert_eq!(call(&client).unwrap(), "done", "{number}");
                let post = endpoint.posts.recv().unwrap();
                let expected = if serves_again { 0 } else { connection };
                assert_eq!(post.connection, expected, "{number}");
                if !serves_again {
                    assert_eq!(endpoint.ended.recv().unwrap(), connection, "{number}");
                }
            }
            assert!(!client.close().left_behind, "{number}");
            assert_eq!(hear.try_iter().count(), 0, "{number}");
        }
    });
}

// HTTP-3, HTTP-4
#[test]
fn an_answer_is_what_its_content_type_says() {
    soon(|| {
        for content_type in ["application/json", "text/html", "text/event-stream-2"] {
            let endpoint = Endpoint::new(move |post| match post.is("tools/call") {
                true => {
                    let body = event(&response(post, &said("done")));
                    http(200, &format!("Content-Type: {content_type}\r\n"), body)
                }
                false => answer(post, &json!({ "tools": [] })),
            });
            let client = endpoint.open();
            let error = call(&client).unwrap_err();
            let (kind, ran) = (error.kind(), error.may_have_run());
            assert_eq!((kind, ran), (ErrorKind::Protocol, true), "{content_type}");
            assert_eq!(client.list_tools().unwrap(), [], "{content_type}");
        }
    });
}

#[test]
fn an_error_that_is_a_stream_is_not_waited_for() {
    soon(|| {
        let endpoint = Endpoint::new(|_| Answer::Chunked {
            status: 500,
            headers: "Content-Type: text/event-stream\r\n".to_owned(),
            write: Box::new(Chunks::wait_for_client),
        });
        let error = call(&endpoint.open()).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Unreachable, true), "{error}");
        assert_eq!(endpoint.ended.recv().unwrap(), 0);
    });
}

#[test]
fn a_stream_that_only_has_to_end_is_no_request_under_way() {
    soon(|| {
        let endpoint = Endpoint::new(|post| {
            let reply = response(post, &said("done"));
            stream(move |chunks| {
                chunks.event(&reply);
                chunks.wait_for_client();
            })
        });
        let server = endpoint.server().limits(Limits::default().in_flight(1));
        let client = Client::open(server).unwrap();
        for _ in 0..3 {
            assert_eq!(client.tool("x").start().unwrap().wait().unwrap().text(), "done");
        }
        assert!(!client.close().left_behind);
    });
}
