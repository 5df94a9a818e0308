//! Streamable HTTP, against a small server on this machine.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::{CancelToken, Client, ErrorKind, Limits, RawJson, Server, Timeouts};

use crate::calls::{said, soon};
use crate::stdio::discovered;

/// A clock that is to run out.
const SHORT: Duration = Duration::from_millis(100);

/// What came over a connection.
struct Post {
    /// Which connection, counted from 0.
    connection: usize,
    line: String,
    /// By name in lower case.
    headers: HashMap<String, String>,
    body: Value,
}

impl Post {
    fn is(&self, method: &str) -> bool {
        self.body["method"] == method
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What the server does about it.
enum Answer {
    Http {
        status: u16,
        headers: String,
        body: String,
    },
    /// An answer, after which the connection is closed without a word of warning.
    ThenClose(Value),
    Close,
    /// Nothing, until the client closes the connection.
    Silence,
}

fn http(status: u16, headers: &str, body: impl Into<String>) -> Answer {
    Answer::Http { status, headers: headers.to_owned(), body: body.into() }
}

fn response(post: &Post, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": post.body["id"], "result": result })
}

fn answer(post: &Post, result: &Value) -> Answer {
    http(200, "Content-Type: application/json\r\n", response(post, result).to_string())
}

/// A server that answers the opening itself, and everything else as a function says.
struct Endpoint {
    url: String,
    posts: Receiver<Post>,
    /// Connections that have ended, from either side.
    ended: Receiver<usize>,
}

impl Endpoint {
    fn new(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Self {
        Self::bare(move |post| match post.is("server/discover") {
            true => {
                answer(post, &discovered(&json!({ "tools": {}, "resources": {}, "prompts": {} })))
            }
            false => respond(post),
        })
    }

    /// A server that does not even answer the opening by itself.
    fn bare(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp?a=b", listener.local_addr().unwrap());
        let (seen, posts) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let respond = Arc::new(respond);
        // These threads end with the process.
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (respond, seen, ends) = (respond.clone(), seen.clone(), ends.clone());
                thread::spawn(move || {
                    serve(connection, stream.unwrap(), &*respond, &seen);
                    let _ = ends.send(connection);
                });
            }
        });
        Self { url, posts, ended }
    }

    fn server(&self) -> Server {
        Server::url(&self.url).name("web")
    }

    fn open(&self) -> Client {
        let client = Client::open(self.server()).unwrap();
        assert!(self.posts.recv().unwrap().is("server/discover"));
        client
    }
}

/// Serves one connection. Returns when either side has closed it.
fn serve(
    connection: usize,
    stream: TcpStream,
    respond: &(dyn Fn(&Post) -> Answer + Send + Sync),
    seen: &Sender<Post>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let post = read(connection, &mut reader)?;
        let answer = respond(&post);
        let _ = seen.send(post);
        let (status, headers, body, closes) = match answer {
            Answer::Close => return Some(()),
            Answer::Silence => return reader.read(&mut [0]).ok().map(drop),
            Answer::Http { status, headers, body } => (status, headers, body, false),
            Answer::ThenClose(body) => (200, String::new(), body.to_string(), true),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).ok()?;
        if closes {
            return Some(());
        }
    }
}

fn read(connection: usize, reader: &mut impl BufRead) -> Option<Post> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: HashMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).unwrap();
    Some(Post { connection, line: lines[0].clone(), headers, body })
}

fn call(client: &Client) -> umcp::Result<String> {
    client.call_tool("x", json!({})).map(|result| result.text())
}

// HDR-1, HDR-2, HDR-3, HDR-4, HDR-5, HDR-7, HDR-8, HTTP-1, HTTP-2, HTTP-13
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

// HDR-6
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

const OUTCOMES: [Outcome; 15] = [
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
            let wait = (number == 5).then_some(Duration::from_secs(7));
            assert_eq!(error.retry_after(), wait, "{number}");
            // It was one exchange's, and the client goes on.
            assert_eq!(client.list_tools().unwrap(), [], "{number}");
        }
    });
}

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
            let timeouts = Timeouts::default().connect(SHORT * 5).patience(SHORT * 20);
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

// HTTP-14, HTTP-15, CANCEL-2
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
    soon(move || {
        for (number, (leave, kind)) in ways.into_iter().zip(kinds).enumerate() {
            let endpoint = Endpoint::new(|post| match post.is("tools/call") {
                true => Answer::Silence,
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
