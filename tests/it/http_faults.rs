//! What an HTTP server can do wrong, at a real socket: nothing hangs, nothing is left behind, memory
//! stays bounded, no wrong answer is returned, and the error says what happened.
//!
//! What the errors say is in `http_faults.snapshot`. This writes it anew, to be read before it is
//! committed:
//!
//! ```sh
//! UMCP_WRITE_SNAPSHOT=1 cargo test --test it http_faults
//! ```

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use umcp::{
    CallToolResult, CancelToken, Client, Era, ErrorKind, Limits, Pending, Result, Server, Timeouts,
};

use crate::alone::{Holdings, alone, peak, playing, role, until};
use crate::calls::said;
use crate::snapshot::Snapshot;
use crate::stdio::discovered;

const SNAPSHOT: Snapshot = Snapshot {
    file: "http_faults.snapshot",
    head: "# What umcp says of what HTTP servers do wrong: see http_faults.rs.",
};

const MIB: usize = 1024 * 1024;
/// The limit in force.
const LIMIT: usize = 2 * MIB;
/// How often something is said without end.
const FOREVER: usize = usize::MAX;
/// A clock that is to run out.
const SHORT: Duration = Duration::from_millis(300);

/// A request that has come.
struct Seen {
    connection: usize,
    line: String,
    /// By name in lower case.
    headers: HashMap<String, String>,
    /// Null if there is none.
    body: Value,
}

impl Seen {
    fn is(&self, method: &str) -> bool {
        self.body["method"] == method
    }

    /// Whether it calls the tool of that name.
    fn calls(&self, tool: &str) -> bool {
        self.is("tools/call") && self.body["params"]["name"] == tool
    }

    fn is_get(&self) -> bool {
        self.line.starts_with("GET ")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn response(&self, result: &Value) -> String {
        json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result }).to_string()
    }

    fn error(&self, code: i64) -> String {
        let error = json!({ "code": code, "message": "as tested", "data": {} });
        json!({ "jsonrpc": "2.0", "id": self.body["id"], "error": error }).to_string()
    }

    /// What the tool `echo` says.
    fn echo(&self) -> String {
        let text = &self.body["params"]["arguments"]["message"];
        ok(&self.response(&said(text.as_str().unwrap_or_default())))
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> String {
    http("200 OK", "Content-Type: application/json\r\n", body)
}

/// The head of an event stream that ends with its connection.
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
/// The head of one in chunks.
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// What becomes of a connection after an answer.
enum Then {
    Keep,
    Close,
    /// Closed at once, with an error for the client.
    Reset,
    /// The same, when the next request comes.
    ResetNext,
    /// Nothing, until the client closes it.
    Wait,
}

/// A server that writes what it likes, and takes what is there with it when it ends.
struct Peer {
    url: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    requests: Arc<AtomicUsize>,
}

type Respond = dyn Fn(&Seen, &mut TcpStream) -> Then + Send + Sync;

/// Answers the opening, lists, and calls of `echo`.
fn as_it_should(seen: &Seen, stream: &mut TcpStream, respond: &Respond) -> Then {
    let answer = match seen.body["method"].as_str() {
        Some("server/discover") => {
            let capabilities = json!({ "tools": {}, "resources": {} });
            ok(&seen.response(&discovered(&capabilities)))
        }
        Some("tools/list") => ok(&seen.response(&json!({ "tools": [] }))),
        _ if seen.calls("echo") => seen.echo(),
        _ => return respond(seen, stream),
    };
    write(stream, answer)
}

impl Peer {
    /// Serves each connection on a thread of its own. After the first one, `gate` is waited for.
    fn raw(
        gate: Option<Receiver<()>>,
        serve: impl Fn(usize, TcpStream, &AtomicUsize) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        #[cfg(target_os = "linux")]
        if gate.is_some() {
            rustix::net::listen(&listener, 0).unwrap();
        }
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicUsize>::default());
        let (stopped, count) = (stop.clone(), requests.clone());
        let serve = Arc::new(serve);
        let accept = move || {
            let mut connections: Vec<JoinHandle<_>> = Vec::new();
            for (connection, stream) in listener.incoming().enumerate() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                connections.retain(|thread| !thread.is_finished());
                let (serve, count) = (serve.clone(), count.clone());
                connections.push(thread::spawn(move || serve(connection, stream.unwrap(), &count)));
                if let (Some(gate), 0) = (&gate, connection) {
                    let _ = gate.recv();
                }
            }
            // They end when the client closes its end.
            connections.into_iter().for_each(|thread| thread.join().unwrap());
        };
        Self { url, stop, thread: Some(thread::spawn(accept)), requests }
    }

    fn bare(respond: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        Self::raw(None, move |connection, stream, count| {
            let _ = converse(connection, stream, &respond, count);
        })
    }

    fn modern(respond: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        Self::bare(move |seen, stream| as_it_should(seen, stream, &respond))
    }

    /// The same in the legacy era, with a session.
    fn legacy(respond: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        Self::bare(move |seen, stream| {
            let answer = match seen.body["method"].as_str() {
                Some("initialize") => {
                    let info = json!({ "name": "raw", "version": "1" });
                    let result = json!({ "protocolVersion": "2025-11-25", "serverInfo": info,
                        "capabilities": { "tools": {} } });
                    let headers = "Content-Type: application/json\r\nMcp-Session-Id: s\r\n";
                    http("200 OK", headers, &seen.response(&result))
                }
                Some("notifications/initialized" | "notifications/cancelled") => {
                    http("202 Accepted", "", "")
                }
                _ if seen.calls("echo") => seen.echo(),
                _ => return respond(seen, stream),
            };
            write(stream, answer)
        })
    }

    fn server(&self) -> Server {
        server(&self.url)
    }

    fn address(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches("/mcp")
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address()));
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the peer panicked");
    }
}

fn server(url: &str) -> Server {
    let timeouts = Timeouts::default().request(Duration::from_secs(20));
    let timeouts = timeouts.close_grace(SHORT).kill_grace(SHORT);
    let limits = Limits::default().message(LIMIT).outgoing(LIMIT);
    Server::url(url).name("web").timeouts(timeouts).limits(limits)
}

fn converse(
    connection: usize,
    mut stream: TcpStream,
    respond: &Respond,
    count: &AtomicUsize,
) -> Option<()> {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let seen = read(connection, &mut reader)?;
        count.fetch_add(1, Ordering::SeqCst);
        match respond(&seen, &mut stream) {
            Then::Keep => continue,
            Then::Close => {}
            Then::Reset => reset(&stream),
            Then::ResetNext => {
                let _ = stream.peek(&mut [0]);
                reset(&stream);
            }
            Then::Wait => _ = reader.read(&mut [0]),
        }
        return Some(());
    }
}

/// Has it closed with an error for the other side.
#[cfg(target_os = "linux")]
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// What has not been read makes it an error.
#[cfg(not(target_os = "linux"))]
fn reset(_stream: &TcpStream) {}

fn read(connection: usize, reader: &mut impl BufRead) -> Option<Seen> {
    let mut next = || {
        let mut line = String::new();
        let came = reader.read_line(&mut line).ok()?;
        (came > 0).then(|| line.trim_end().to_owned())
    };
    let line = next()?;
    let mut headers = HashMap::new();
    loop {
        let line = next()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        connection,
        line,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// Whatever the client makes of it.
fn write(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) -> Then {
    match stream.write_all(bytes.as_ref()) {
        Ok(()) => Then::Keep,
        Err(_) => Then::Close,
    }
}

/// Writes the same again and again, as often as that or until the client has had enough.
fn repeat(stream: &mut TcpStream, bytes: &[u8], times: usize) -> Then {
    if times == FOREVER {
        // To the system, a client that has closed its end may look like one that does not read.
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    for _ in 0..times {
        if stream.write_all(bytes).is_err() {
            return Then::Close;
        }
    }
    Then::Keep
}

/// Writes a byte now and then, for as long as the client is there.
fn drip(stream: &mut TcpStream, byte: u8) -> Then {
    while stream.write_all(&[byte]).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    Then::Close
}

/// Calls the tool that works, and checks that the answer is its own.
fn echo(client: &Client) -> Result<()> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let text = format!("message {}", NEXT.fetch_add(1, Ordering::Relaxed));
    let result = client.call_tool("echo", json!({ "message": text }))?;
    assert_eq!(result.text(), text);
    Ok(())
}

/// The tool that goes wrong.
fn fault(client: &Client) -> Result<()> {
    client.call_tool("fault", json!({})).map(drop)
}

/// The same, for a short time only.
fn fails_soon(client: &Client, tool: &str) -> umcp::Error {
    client.tool(tool).timeout(SHORT).call().unwrap_err()
}

/// A call that goes as `kind` and `ran` say, or well, and a connection that survives it.
fn costs_one_call(server: Server, outcome: Option<(ErrorKind, bool)>) -> Result<()> {
    let client = Client::open(server)?;
    let result = fault(&client);
    let got = result.as_ref().err().map(|error| (error.kind(), error.may_have_run()));
    assert_eq!(got, outcome, "{result:?}");
    echo(&client)?;
    echo(&client)?;
    assert!(!client.close().left_behind);
    result
}

/// A call that its clock ends, and a connection that survives it.
fn costs_a_clock(server: Server) -> Result<()> {
    let client = Client::open(server)?;
    let error = fails_soon(&client, "fault");
    assert!(error.is_timeout() && error.may_have_run(), "{error}");
    echo(&client)?;
    let token = CancelToken::new();
    let call = client.tool("fault").cancel_token(&token).start()?;
    token.cancel();
    assert!(call.wait().unwrap_err().is_cancelled());
    // One that is closed, from wherever it has come to.
    let call = client.tool("fault").start()?;
    assert!(!client.close().left_behind);
    assert_eq!(call.wait().unwrap_err().kind(), ErrorKind::Closed);
    Err(error)
}

/// Runs in a process of its own, in which faults say what became of them.
fn faults(test: &str, run: impl FnOnce() + Send + 'static) {
    let output = alone(&format!("http_faults::{test}"), move || {
        // What any connection costs in memory does not count.
        let peer = Peer::modern(|_, _| Then::Close);
        let client = Client::open(peer.server()).unwrap();
        echo(&client).unwrap();
        drop((client, peer));
        run();
    });
    // Elsewhere the system's own words are others.
    if let (Some(output), true) = (output, cfg!(target_os = "linux")) {
        let text = String::from_utf8(output.stdout).unwrap();
        let all: Vec<_> = text.split("\n<said ").skip(1).collect();
        assert!(!all.is_empty(), "{text}");
        for said in all {
            let (name, said) = said.split_once('>').unwrap();
            SNAPSHOT.compare(name, said.split_once("</said>\n").unwrap().0);
        }
    }
}

/// One fault: afterwards all is as it was before, and the memory was bounded.
fn one(name: &str, peer: impl FnOnce() -> Peer, drive: impl FnOnce(&Peer) -> Result<()>) {
    let before = Holdings::now();
    let peak_before = peak();
    let peer = peer();
    let said = drive(&peer).map_or_else(|error| error.to_string(), |()| "ok".into());
    drop(peer);
    before.are_all_there_is();
    let growth = peak().saturating_sub(peak_before);
    assert!(growth <= 2 * LIMIT, "{name}: memory grew by {growth} bytes, the limit is {LIMIT}");
    println!("\n<said {name}>{}</said>", without_ports(&said));
}

/// They are others every time.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "127.0.0.1:PORT" + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

/// A fault's name, what the server does, and what the call comes to.
type Case = (&'static str, fn(&Seen, &mut TcpStream) -> Then, Option<(ErrorKind, bool)>);

/// Faults that cost one call each.
fn cases(test: &str, cases: &'static [Case]) {
    faults(test, move || {
        for (name, respond, outcome) in cases {
            one(name, || Peer::modern(respond), |peer| costs_one_call(peer.server(), *outcome));
        }
    });
}

const RPC: Option<(ErrorKind, bool)> = Some((ErrorKind::Rpc, true));
const UNRUN: Option<(ErrorKind, bool)> = Some((ErrorKind::Rpc, false));
const REFUSED: Option<(ErrorKind, bool)> = Some((ErrorKind::Unreachable, false));
const UNREACHABLE: Option<(ErrorKind, bool)> = Some((ErrorKind::Unreachable, true));
const BROKEN: Option<(ErrorKind, bool)> = Some((ErrorKind::Disconnected, true));
const SENSELESS: Option<(ErrorKind, bool)> = Some((ErrorKind::Protocol, true));
const TOO_LARGE: Option<(ErrorKind, bool)> = Some((ErrorKind::Limit, true));

const JSON: &str = "Content-Type: application/json\r\n";
const HTML: &str = "Content-Type: text/html\r\n";
const PAGE: &str = "<!doctype html>\n<title>Oops</title>\u{1b}[2J<p>Something went wrong.\n";

// HTTP-3, HTTP-18, HTTP-19
#[test]
fn every_status() {
    cases(
        "every_status",
        &[
            ("200 json", |seen, to| write(to, seen.echo()), None),
            (
                "200 events",
                |seen, to| {
                    let event = format!("data: {}\n\n", seen.response(&said("x")));
                    write(to, CHUNKED.to_owned() + &chunk(&event) + "0\r\n\r\n")
                },
                None,
            ),
            ("202", |_, to| write(to, http("202 Accepted", "", "")), SENSELESS),
            ("204", |_, to| write(to, "HTTP/1.1 204 No Content\r\n\r\n"), SENSELESS),
            ("101", |_, to| write(to, "HTTP/1.1 101 Switching\r\n\r\n"), UNREACHABLE),
            ("400 -32020", |seen, to| write(to, http("400 X", JSON, &seen.error(-32020))), UNRUN),
            ("400 -32021", |seen, to| write(to, http("400 X", JSON, &seen.error(-32021))), UNRUN),
            ("400 -32022", |seen, to| write(to, http("400 X", JSON, &seen.error(-32022))), UNRUN),
            ("400 -32602", |seen, to| write(to, http("400 X", JSON, &seen.error(-32602))), RPC),
            ("400 empty", |_, to| write(to, http("400 X", "", "")), UNREACHABLE),
            ("400 html", |_, to| write(to, http("400 X", HTML, PAGE)), UNREACHABLE),
            (
                "401",
                |seen, to| {
                    let challenge = "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n";
                    write(to, http("401 X", challenge, &seen.error(-32001)))
                },
                Some((ErrorKind::Authorization, false)),
            ),
            (
                "403 scope",
                |_, to| {
                    let challenge = "WWW-Authenticate: Bearer error=\"insufficient_scope\"\r\n";
                    write(to, http("403 X", challenge, ""))
                },
                Some((ErrorKind::Authorization, true)),
            ),
            (
                "403 origin",
                |_, to| {
                    let body = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"origin"}}"#;
                    write(to, http("403 X", JSON, body))
                },
                Some((ErrorKind::Authorization, true)),
            ),
            ("404 -32601", |seen, to| write(to, http("404 X", JSON, &seen.error(-32601))), RPC),
            ("404", |_, to| write(to, http("404 X", HTML, PAGE)), REFUSED),
            ("405", |_, to| write(to, http("405 X", "Allow: GET\r\n", "")), REFUSED),
            ("406", |_, to| write(to, http("406 X", "", "")), UNREACHABLE),
            ("413", |_, to| write(to, http("413 X", "", "too much")), UNREACHABLE),
            ("415", |_, to| write(to, http("415 X", "", "")), UNREACHABLE),
            ("429", |_, to| write(to, http("429 X", "Retry-After: 7\r\n", "")), REFUSED),
            ("500", |_, to| write(to, http("500 X", HTML, PAGE)), UNREACHABLE),
            ("500 -32603", |seen, to| write(to, http("500 X", JSON, &seen.error(-32603))), RPC),
            ("502 html", |_, to| write(to, http("502 X", HTML, PAGE)), UNREACHABLE),
            ("503", |_, to| write(to, http("503 X", "Retry-After: 7\r\n", "")), UNREACHABLE),
            ("599", |_, to| write(to, http("599 X", "", "")), UNREACHABLE),
            ("999", |_, to| write(to, http("999 X", "", "")), UNREACHABLE),
        ],
    );
}

// HTTP-4
#[test]
fn what_is_no_answer() {
    cases(
        "what_is_no_answer",
        &[
            ("empty 200", |_, to| write(to, ok("")), SENSELESS),
            ("html 200", |_, to| write(to, http("200 OK", HTML, PAGE)), SENSELESS),
            ("blank 200", |_, to| write(to, ok(" \r\n ")), SENSELESS),
            ("broken json", |_, to| write(to, ok(r#"{"jsonrpc":"2.0","id":"#)), SENSELESS),
            // Tolerated: what is in it is clear.
            (
                "json as text",
                |seen, to| {
                    let text = seen.response(&said("x"));
                    write(to, http("200 OK", "Content-Type: text/plain\r\n", &text))
                },
                None,
            ),
            (
                "json of no type",
                |seen, to| write(to, http("200 OK", "", &seen.response(&said("x")))),
                None,
            ),
            (
                "json after a mark",
                |seen, to| write(to, ok(&format!("\u{feff}{}", seen.response(&said("x"))))),
                None,
            ),
            (
                "json as events",
                |seen, to| {
                    let body = seen.response(&said("x"));
                    write(to, http("200 OK", "Content-Type: text/event-stream\r\n", &body))
                },
                BROKEN,
            ),
            (
                "events as json",
                |seen, to| write(to, ok(&format!("data: {}\n\n", seen.response(&said("x"))))),
                SENSELESS,
            ),
            (
                "a type that is none",
                |_, to| write(to, http("200 OK", "Content-Type: \u{1b}[2J;;,\r\n", "x")),
                SENSELESS,
            ),
            (
                "no events",
                |_, to| write(to, http("200 OK", "Content-Type: text/event-stream\r\n", "")),
                BROKEN,
            ),
            ("no chunk of events", |_, to| write(to, CHUNKED.to_owned() + "0\r\n\r\n"), BROKEN),
            (
                "gzip that is none",
                |_, to| write(to, http("200 OK", "Content-Encoding: gzip\r\n", "hello hello")),
                SENSELESS,
            ),
            (
                "an unknown encoding",
                |_, to| write(to, http("200 OK", "Content-Encoding: br\r\n", "hello")),
                SENSELESS,
            ),
        ],
    );
}

#[test]
fn framing() {
    cases(
        "framing",
        &[
            ("nothing", |_, _| Then::Close, BROKEN),
            ("reset", |_, _| Then::Reset, BROKEN),
            (
                "reset in the head",
                |_, to| {
                    write(to, "HTTP/1.1 200 OK\r\nContent-Type: appl");
                    Then::Reset
                },
                BROKEN,
            ),
            (
                "closed in the head",
                |_, to| {
                    write(to, "HTTP/1.1 200 OK\r\nContent-Type: appl");
                    Then::Close
                },
                BROKEN,
            ),
            (
                "a short body",
                |_, to| {
                    write(to, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\":");
                    Then::Close
                },
                BROKEN,
            ),
            (
                "reset in the body",
                |_, to| {
                    write(to, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\":");
                    Then::Reset
                },
                BROKEN,
            ),
            // What is left over answers nobody.
            ("a long body", |seen, to| write(to, seen.echo() + &seen.echo() + "xxxx"), None),
            (
                "a body that ends with the connection",
                |seen, to| {
                    write(to, "HTTP/1.1 200 OK\r\n\r\n".to_owned() + &seen.response(&said("x")));
                    Then::Close
                },
                None,
            ),
            (
                "half of one",
                |_, to| {
                    write(to, "HTTP/1.1 200 OK\r\n\r\n{\"jsonrpc\":");
                    Then::Close
                },
                SENSELESS,
            ),
            (
                "a length below zero",
                |_, to| write(to, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
                SENSELESS,
            ),
            (
                "a length without end",
                |_, to| {
                    write(to, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n{");
                    Then::Close
                },
                BROKEN,
            ),
            (
                "chunks that are none",
                |_, to| write(to, CHUNKED.replace("text/event-stream", "x") + "zz\r\nhello\r\n"),
                SENSELESS,
            ),
            (
                "a chunk too large for any number",
                |_, to| {
                    let size = "fffffffffffffffffffff\r\nhello";
                    write(to, CHUNKED.replace("text/event-stream", "x") + size)
                },
                SENSELESS,
            ),
            (
                "a chunk longer than it says",
                |_, to| write(to, CHUNKED.replace("text/event-stream", "x") + "1\r\nhello\r\n"),
                SENSELESS,
            ),
            (
                "chunks without end",
                |_, to| {
                    write(to, CHUNKED.replace("text/event-stream", "x") + "5\r\nhello\r\n");
                    Then::Close
                },
                BROKEN,
            ),
            ("no http", |_, to| write(to, "220 mail.example.com ESMTP\r\n"), SENSELESS),
            ("no status", |_, to| write(to, "HTTP/1.1 OK\r\n\r\n"), SENSELESS),
            ("http/3", |_, to| write(to, "HTTP/3.0 200 OK\r\n\r\n"), SENSELESS),
            ("binary", |_, to| write(to, b"\0\xff\x15\x03\x03\r\n\r\n"), SENSELESS),
            (
                "a line that is no header",
                |_, to| write(to, "HTTP/1.1 200 OK\r\nhello\r\n\r\n"),
                SENSELESS,
            ),
        ],
    );
}

// HTTP-22
#[test]
fn a_head_that_is_too_large() {
    faults("a_head_that_is_too_large", || {
        let lines = |_: &Seen, to: &mut TcpStream| {
            write(to, "HTTP/1.1 200 OK\r\n");
            repeat(to, format!("X: {}\r\n", "x".repeat(1000)).as_bytes(), 200 * 1024);
            Then::Close
        };
        let line = |_: &Seen, to: &mut TcpStream| {
            write(to, "HTTP/1.1 200 OK\r\nX: ");
            repeat(to, &[b'x'; 1000], 200 * 1024);
            Then::Close
        };
        let many = |_: &Seen, to: &mut TcpStream| {
            write(to, format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(1000)));
            Then::Close
        };
        one(
            "200 MiB of headers",
            || Peer::modern(lines),
            |p| costs_one_call(p.server(), TOO_LARGE),
        );
        one(
            "a header of 200 MiB",
            || Peer::modern(line),
            |p| costs_one_call(p.server(), TOO_LARGE),
        );
        one("1000 headers", || Peer::modern(many), |p| costs_one_call(p.server(), SENSELESS));
    });
}

/// A piece of what is too large.
static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
const PIECES: usize = 200 * MIB / PIECE.len();
/// Of what is looked at byte by byte, which takes its time in a debug build.
const FEWER: usize = PIECES / 10;

// HTTP-22
#[test]
fn a_body_that_is_too_large() {
    faults("a_body_that_is_too_large", || {
        let announced = |_: &Seen, to: &mut TcpStream| {
            write(to, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 200 * MIB));
            repeat(to, &PIECE, PIECES)
        };
        let unannounced = |_: &Seen, to: &mut TcpStream| {
            write(to, "HTTP/1.1 200 OK\r\n\r\n");
            repeat(to, &PIECE, PIECES);
            Then::Close
        };
        let page = |_: &Seen, to: &mut TcpStream| {
            write(to, format!("HTTP/1.1 500 X\r\nContent-Length: {}\r\n\r\n", 200 * MIB));
            repeat(to, &PIECE, PIECES)
        };
        let serve = |peer: &Peer| costs_one_call(peer.server(), TOO_LARGE);
        one("200 MiB as announced", || Peer::modern(announced), serve);
        one("200 MiB", || Peer::modern(unannounced), serve);
        let serve = |peer: &Peer| costs_one_call(peer.server(), UNREACHABLE);
        one("an error of 200 MiB", || Peer::modern(page), serve);
    });
}

// HTTP-22
#[test]
fn an_event_that_is_too_large() {
    faults("an_event_that_is_too_large", || {
        let reply = |seen: &Seen, to: &mut TcpStream| {
            let text = seen.response(&said("x"));
            let (before, after) = text.rsplit_once('x').unwrap();
            write(to, format!("{EVENTS}data: {before}"));
            repeat(to, &PIECE, FEWER);
            write(to, format!("{after}\n\n"));
            Then::Close
        };
        let serve = |peer: &Peer| costs_one_call(peer.server(), TOO_LARGE);
        one("an event of 20 MiB", || Peer::modern(reply), serve);
    });
}

// HTTP-22
#[test]
fn an_event_that_is_too_large_and_has_no_end() {
    faults("an_event_that_is_too_large_and_has_no_end", || {
        let unended = |_: &Seen, to: &mut TcpStream| {
            write(to, format!("{EVENTS}data: {{\"jsonrpc\":\"2.0\",\"x\":\""));
            repeat(to, &PIECE, FEWER);
            Then::Close
        };
        let serve = |peer: &Peer| costs_one_call(peer.server(), BROKEN);
        one("20 MiB of an event without end", || Peer::modern(unended), serve);
    });
}

// HTTP-8, HTTP-22
#[test]
fn a_stream_that_says_much_besides() {
    faults("a_stream_that_says_much_besides", || {
        let others = |seen: &Seen, to: &mut TcpStream| {
            write(to, EVENTS);
            for field in [":", "id: ", "unknown: ", "event: ", "retry: "] {
                write(to, format!("\n{field}"));
                repeat(to, &PIECE, FEWER / 5);
            }
            write(to, format!("\n\ndata: {}\n\n", seen.response(&said("x"))));
            Then::Close
        };
        let serve = |peer: &Peer| costs_one_call(peer.server(), None);
        one("20 MiB besides the event", || Peer::modern(others), serve);
    });
}

/// Compresses by hand: a text as it is, and then the same byte very often, 258 of them in 13 bits.
struct Bomb<'a> {
    to: &'a mut TcpStream,
    bits: u64,
    count: u32,
    bytes: Vec<u8>,
}

impl Bomb<'_> {
    fn new(to: &mut TcpStream) -> Bomb<'_> {
        let bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let mut bomb = Bomb { to, bits: 0, count: 0, bytes };
        // The last block, of the fixed code.
        bomb.push(0b011, 3);
        bomb
    }

    /// Bits, the lowest first.
    fn push(&mut self, bits: u64, count: u32) {
        self.bits |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.bits as u8);
            self.bits >>= 8;
            self.count -= 8;
        }
        if self.bytes.len() > 32 * 1024 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let _ = self.to.write_all(&self.bytes);
        self.bytes.clear();
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            assert!(byte < 144);
            self.push(u64::from((0b0011_0000 + byte).reverse_bits()), 8);
        }
    }

    /// The last byte again and again.
    fn run(&mut self, bytes: usize) {
        for _ in 0..bytes / 258 {
            self.push(u64::from(0b1100_0101_u8.reverse_bits()), 13);
        }
    }

    /// What should be the checksum is none, but then the reply has come.
    fn end(&mut self) {
        self.push(0, 7);
        self.push(0, 72);
        self.flush();
    }
}

// HTTP-22
#[test]
fn gzip_bombs() {
    faults("gzip_bombs", || {
        const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n";
        let fair = |seen: &Seen, to: &mut TcpStream| {
            write(to, format!("{HEAD}Content-Type: text/event-stream\r\n\r\n"));
            let mut bomb = Bomb::new(to);
            bomb.text(&format!("data: {}\n\n", seen.response(&said("x"))));
            bomb.end();
            Then::Close
        };
        let body = |seen: &Seen, to: &mut TcpStream| {
            write(to, format!("{HEAD}{JSON}\r\n"));
            let text = seen.response(&said("x"));
            let (before, after) = text.rsplit_once('x').unwrap();
            let mut bomb = Bomb::new(to);
            bomb.text(&format!("{before}x"));
            bomb.run(200 * MIB);
            bomb.text(after);
            bomb.end();
            Then::Close
        };
        let event = |seen: &Seen, to: &mut TcpStream| {
            write(to, format!("{HEAD}Content-Type: text/event-stream\r\n\r\n"));
            let text = seen.response(&said("x"));
            let (before, after) = text.rsplit_once('x').unwrap();
            let mut bomb = Bomb::new(to);
            bomb.text(&format!("data: {before}x"));
            bomb.run(20 * MIB);
            bomb.text(&format!("{after}\n\n"));
            bomb.end();
            Then::Close
        };
        let page = |_: &Seen, to: &mut TcpStream| {
            write(to, "HTTP/1.1 400 X\r\nContent-Encoding: gzip\r\n\r\n");
            let mut bomb = Bomb::new(to);
            bomb.text("<p>");
            bomb.run(200 * MIB);
            bomb.end();
            Then::Close
        };
        one("no bomb", || Peer::modern(fair), |peer| costs_one_call(peer.server(), None));
        let serve = |peer: &Peer| costs_one_call(peer.server(), TOO_LARGE);
        one("a bomb of json", || Peer::modern(body), serve);
        one("a bomb of events", || Peer::modern(event), serve);
        let serve = |peer: &Peer| costs_one_call(peer.server(), UNREACHABLE);
        one("a bomb as an error", || Peer::modern(page), serve);
    });
}

#[test]
fn a_byte_now_and_then() {
    const DRIPS: [(&str, &str, u8); 6] = [
        ("drips a status", "HTTP/1.1 200 ", b'x'),
        ("drips headers", "HTTP/1.1 200 OK\r\nX: ", b'x'),
        ("drips a body", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b' '),
        ("drips a redirect", "HTTP/1.1 307 X\r\nLocation: /\r\nContent-Length: 9999\r\n\r\n", b' '),
        ("drips comments", EVENTS, b':'),
        ("drips data", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata:", b'x'),
    ];
    faults("a_byte_now_and_then", || {
        for (name, head, byte) in DRIPS {
            let respond = move |_: &Seen, to: &mut TcpStream| {
                write(to, head);
                drip(to, byte)
            };
            one(name, || Peer::modern(respond), |peer| costs_a_clock(peer.server()));
        }
        let error = |_: &Seen, to: &mut TcpStream| {
            write(to, "HTTP/1.1 500 X\r\nContent-Length: 1000000\r\n\r\n");
            drip(to, b' ')
        };
        // What has come by then says more than that the time is up.
        one(
            "drips an error",
            || Peer::modern(error),
            |peer| {
                let client = Client::open(peer.server())?;
                let error = fails_soon(&client, "fault");
                assert_eq!((error.kind(), error.may_have_run()), UNREACHABLE.unwrap());
                echo(&client)?;
                Err(error)
            },
        );
        let flood = |_: &Seen, to: &mut TcpStream| {
            repeat(to, &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000), FOREVER)
        };
        let serve = |peer: &Peer| costs_one_call(peer.server(), TOO_LARGE);
        one("continues without end", || Peer::modern(flood), serve);
        let slow = |_: &Seen, to: &mut TcpStream| {
            while to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
            Then::Close
        };
        one("continues now and then", || Peer::modern(slow), |p| costs_a_clock(p.server()));
        let comments = |_: &Seen, to: &mut TcpStream| {
            write(to, EVENTS);
            repeat(to, &b":\n\n".repeat(1000), FOREVER)
        };
        one("comments without end", || Peer::modern(comments), |p| costs_a_clock(p.server()));
        let silent = |_: &Seen, _: &mut TcpStream| Then::Wait;
        one("silence", || Peer::modern(silent), |p| costs_a_clock(p.server()));
    });
}

/// The beginning of an event that has an id, and of one that is cut.
const CUT: &str = "id: 7\nretry: 0\ndata:\n\ndata: {\"json";

// HTTP-10, HTTP-11
#[test]
fn a_modern_stream_that_is_cut_is_not_resumed() {
    const CASES: [Case; 4] = [
        (
            "cut in an event",
            |_, to| {
                write(to, CHUNKED.to_owned() + &chunk(CUT));
                Then::Close
            },
            BROKEN,
        ),
        (
            "reset in an event",
            |_, to| {
                write(to, CHUNKED.to_owned() + &chunk(CUT));
                Then::Reset
            },
            BROKEN,
        ),
        (
            "cut in a chunk",
            |_, to| {
                write(to, CHUNKED.to_owned() + "ff\r\n" + CUT);
                Then::Close
            },
            BROKEN,
        ),
        (
            "ended in an event",
            |_, to| write(to, CHUNKED.to_owned() + &chunk(CUT) + "0\r\n\r\n"),
            BROKEN,
        ),
    ];
    faults("a_modern_stream_that_is_cut_is_not_resumed", || {
        for (name, respond, outcome) in CASES {
            one(
                name,
                || Peer::modern(respond),
                |peer| {
                    let result = costs_one_call(peer.server(), outcome);
                    // The opening, and three calls.
                    assert_eq!(peer.requests(), 4);
                    result
                },
            );
        }
    });
}

/// What becomes of the stream of a call in the legacy era, which begins as it is said here, and how
/// often it is asked for the rest.
fn legacy_stream(name: &str, begin: &'static str, then: fn() -> Then, gets: usize) {
    let asked = Arc::new(Mutex::new((Value::Null, 0, 0)));
    let noted = asked.clone();
    let respond = move |seen: &Seen, to: &mut TcpStream| {
        let mut noted = noted.lock().unwrap();
        if seen.calls("fault") {
            noted.0 = seen.body["id"].clone();
            noted.1 += 1;
            write(to, begin);
            return then();
        }
        let Some(id) = seen.header("last-event-id") else {
            return write(to, http("405 X", "", ""));
        };
        assert_eq!((id, seen.header("mcp-session-id")), ("7", Some("s")));
        noted.2 += 1;
        if noted.2 == 1 {
            // The rest is as far away as before.
            write(to, EVENTS.to_owned() + ": nothing yet\n\nid: 7\ndata:\n\n");
            return Then::Close;
        }
        let reply = json!({ "jsonrpc": "2.0", "id": noted.0, "result": said("x") });
        write(to, format!("{EVENTS}data: {reply}\n\n"));
        Then::Close
    };
    let outcome = if gets == 0 { BROKEN } else { None };
    let drive = |peer: &Peer| costs_one_call(peer.server().era(Era::Legacy), outcome);
    one(name, || Peer::legacy(respond), drive);
    let (_, posts, resumed) = *asked.lock().unwrap();
    assert_eq!((posts, resumed), (1, gets), "{name}");
}

// LHTTP-23, LHTTP-28
#[test]
fn a_legacy_stream_that_is_cut_is_resumed_if_it_can_be() {
    const WITH_ID: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
        id: 7\nretry: 0\ndata:\n\ndata: {\"json";
    const WITHOUT: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
        : hello\n\nid: 7\ndata: {\"json";
    const IN_A_CHUNK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
        Transfer-Encoding: chunked\r\n\r\nff\r\nid: 7\nretry: 0\ndata:\n\ndata: {\"json";
    faults("a_legacy_stream_that_is_cut_is_resumed_if_it_can_be", || {
        legacy_stream("legacy, cut after an id", WITH_ID, || Then::Close, 2);
        legacy_stream("legacy, reset after an id", WITH_ID, || Then::Reset, 2);
        legacy_stream("legacy, cut in a chunk after an id", IN_A_CHUNK, || Then::Close, 2);
        legacy_stream("legacy, cut before an id", WITHOUT, || Then::Close, 0);
        legacy_stream("legacy, reset before an id", WITHOUT, || Then::Reset, 0);
    });
}

// LHTTP-25
#[test]
fn no_wait_at_all_is_no_busy_loop() {
    faults("no_wait_at_all_is_no_busy_loop", || {
        let respond = |seen: &Seen, to: &mut TcpStream| {
            if seen.is_get() && seen.header("last-event-id").is_none() {
                return write(to, http("405 X", "", ""));
            }
            write(to, EVENTS.to_owned() + "id: 7\nretry: 0\ndata:\n\n");
            Then::Close
        };
        let drive = |peer: &Peer| {
            let client = Client::open(peer.server().era(Era::Legacy))?;
            let (before, started) = (peer.requests(), Instant::now());
            let error = fails_soon(&client, "fault");
            let waits = started.elapsed().as_millis() / 10;
            let asked = (peer.requests() - before) as u128;
            assert!((2..=waits + 2).contains(&asked), "{asked} requests in {waits} waits");
            assert!(error.is_timeout() && error.may_have_run(), "{error}");
            echo(&client)?;
            assert!(!client.close().left_behind);
            Err(error)
        };
        one("no wait for the rest", || Peer::legacy(respond), drive);
        // The server's own stream.
        let respond = |seen: &Seen, to: &mut TcpStream| {
            assert!(seen.is_get() || seen.line.starts_with("DELETE "));
            let said = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
            write(to, format!("{EVENTS}id: 7\nretry: 0\ndata: {said}\n\n"));
            Then::Close
        };
        let drive = |peer: &Peer| {
            let started = Instant::now();
            let client = Client::open(peer.server().era(Era::Legacy))?;
            assert!(until(|| peer.requests() > 20));
            echo(&client)?;
            let waits = started.elapsed().as_millis() / 10;
            let asked = peer.requests() as u128;
            assert!(asked <= waits + 6, "{asked} requests in {waits} waits");
            assert!(!client.close().left_behind);
            Ok(())
        };
        one("no wait on its own stream", || Peer::legacy(respond), drive);
    });
}

/// The tool after which something happens to the connection.
fn last(client: &Client) -> Result<()> {
    client.call_tool("last", json!({})).map(drop)
}

/// Answers a call of `last`, and then does that to the connection. Resources it has.
fn after_the_last(then: fn() -> Then) -> Peer {
    Peer::modern(move |seen, to| {
        if seen.calls("last") {
            write(to, seen.echo());
            return then();
        }
        let contents = json!({ "contents": [{ "uri": "x:y", "text": "x" }] });
        write(to, ok(&seen.response(&contents)))
    })
}

// HTTP-12
#[test]
fn a_connection_that_is_reset_when_it_is_used_again() {
    faults("a_connection_that_is_reset_when_it_is_used_again", || {
        let peer = || after_the_last(|| Then::ResetNext);
        one("a read on a connection that is reset", peer, |peer| {
            let client = Client::open(peer.server())?;
            last(&client)?;
            assert_eq!(client.read_resource("x:y")?.contents.len(), 1);
            // What was reset was not read.
            assert_eq!(peer.requests(), 3);
            Ok(())
        });
        one("a call on a connection that is reset", peer, |peer| {
            let client = Client::open(peer.server())?;
            last(&client)?;
            let error = client.call_tool("echo", json!({})).unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Disconnected, true));
            assert_eq!(peer.requests(), 2);
            echo(&client)?;
            assert_eq!(peer.requests(), 3);
            Err(error)
        });
        // And one that is reset every time is not asked for ever.
        let peer = || {
            Peer::modern(|seen, to| {
                if seen.calls("last") {
                    write(to, seen.echo());
                    return Then::Keep;
                }
                Then::Reset
            })
        };
        one("a read that is always reset", peer, |peer| {
            let client = Client::open(peer.server())?;
            last(&client)?;
            let error = client.read_resource("x:y").unwrap_err();
            assert_eq!(peer.requests(), 4);
            Err(error)
        });
    });
}

#[test]
fn a_connection_that_was_closed_while_it_was_idle_costs_nothing() {
    faults("a_connection_that_was_closed_while_it_was_idle_costs_nothing", || {
        let (closed, is_closed) = mpsc::channel();
        let peer = move || {
            Peer::modern(move |seen, to| {
                write(to, seen.echo());
                to.shutdown(Shutdown::Both).unwrap();
                closed.send(seen.connection).unwrap();
                Then::Close
            })
        };
        one("closed while idle", peer, |peer| {
            let client = Client::open(peer.server())?;
            for connection in 0..3 {
                last(&client)?;
                assert_eq!(is_closed.recv().unwrap(), connection);
                assert_eq!(peer.requests(), connection + 2);
            }
            Ok(())
        });
    });
}

/// Where a redirect goes.
fn redirect(status: u16, location: &str) -> String {
    http(&format!("{status} X"), &format!("Location: {location}\r\n"), "over there")
}

// HTTP-21
#[test]
fn a_followed_redirect_repeats_the_request() {
    faults("a_followed_redirect_repeats_the_request", || {
        for status in [307, 308] {
            let came = Arc::new(Mutex::new(Vec::new()));
            let seen_by = came.clone();
            let respond = move |seen: &Seen, to: &mut TcpStream| {
                let mut came = seen_by.lock().unwrap();
                came.push((seen.line.clone(), seen.headers.clone(), seen.body.clone()));
                let answer = match came.len() {
                    6 => seen.echo(),
                    hop => redirect(status, &format!("/{hop}?x=y#z")),
                };
                write(to, answer)
            };
            let drive = |peer: &Peer| {
                let server = peer.server().bearer_token("hunter2").header("X-Mine", "1");
                costs_one_call(server, None)
            };
            one(&format!("{status} five times"), || Peer::modern(respond), drive);
            let came = came.lock().unwrap();
            assert_eq!(came.len(), 6);
            let (_, headers, body) = &came[0];
            for name in ["authorization", "x-mine", "mcp-method", "mcp-name", "accept"] {
                assert!(headers.contains_key(name), "{name}");
            }
            for (hop, (line, again, the_same)) in came.iter().enumerate().skip(1) {
                assert_eq!(line, &format!("POST /{hop}?x=y HTTP/1.1"));
                assert_eq!((again, the_same), (headers, body));
            }
        }
    });
}

// HTTP-21
#[test]
fn redirects_end() {
    faults("redirects_end", || {
        let circle = |_: &Seen, to: &mut TcpStream| write(to, redirect(307, "/mcp"));
        one(
            "a circle of redirects",
            || Peer::modern(circle),
            |peer| {
                let result = costs_one_call(peer.server(), UNREACHABLE);
                // The opening, the call and five more, and two calls of the other tool.
                assert_eq!(peer.requests(), 1 + 6 + 2);
                result
            },
        );
        let closes = |_: &Seen, to: &mut TcpStream| {
            write(to, http("308 X", "Location: /mcp\r\nConnection: close\r\n", ""));
            Then::Close
        };
        one(
            "a circle that is closed each time",
            || Peer::modern(closes),
            |peer| costs_one_call(peer.server(), UNREACHABLE),
        );
        one(
            "a circle at the opening",
            || Peer::bare(circle),
            |peer| {
                let error = Client::open(peer.server()).unwrap_err();
                assert_eq!(peer.requests(), 6);
                Err(error)
            },
        );
    });
}

// HTTP-21
#[test]
fn redirects_that_are_refused_take_nothing_along() {
    faults("redirects_that_are_refused_take_nothing_along", || {
        let other = Peer::bare(|_, _| panic!("it was redirected"));
        let elsewhere = other.address().to_owned();
        let mut targets = Vec::new();
        for status in [300, 301, 302, 303, 304, 305, 399] {
            targets.push((format!("{status} to its own"), status, "/new?key=hunter2".to_owned()));
        }
        for status in [301, 302, 303, 307, 308] {
            let target = format!("http://{elsewhere}/mcp?key=hunter2#hunter2");
            targets.push((format!("{status} elsewhere"), status, target));
        }
        for (name, target) in [
            ("307 to https", format!("https://{elsewhere}/mcp")),
            ("307 with a password", "http://me:hunter2@127.0.0.1/".to_owned()),
            ("307 to a file", "file:///hunter2".to_owned()),
            ("307 to nowhere", String::new()),
        ] {
            targets.push((name.to_owned(), 307, target));
        }
        for (name, status, location) in targets {
            let respond =
                move |_: &Seen, to: &mut TcpStream| write(to, redirect(status, &location));
            one(
                &name,
                || Peer::modern(respond),
                |peer| {
                    let server = peer.server().bearer_token("hunter2").header("X-Key", "hunter2");
                    let error = costs_one_call(server, UNREACHABLE).unwrap_err();
                    assert!(!error.to_string().contains("hunter2"), "{error}");
                    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
                    assert_eq!(peer.requests(), 4);
                    Err(error)
                },
            );
        }
        assert_eq!(other.requests(), 0);
    });
}

/// Opens a client of something else than a server of the kind that the URL says.
#[cfg(feature = "tls")]
fn opens_nothing(name: &str, scheme: &str, serve: fn(TcpStream), kind: ErrorKind) {
    let peer = || Peer::raw(None, move |_, stream, _| serve(stream));
    one(name, peer, |peer| {
        let url = peer.url.replace("http", scheme);
        let timeouts = Timeouts::default().connect(SHORT);
        let error = Client::open(server(&url).timeouts(timeouts)).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        Err(error)
    });
}

/// Reads what comes first.
#[cfg(feature = "tls")]
fn swallow(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
}

#[cfg(feature = "tls")]
#[test]
fn encrypted_and_plain() {
    faults("encrypted_and_plain", || {
        let plain = |mut stream: TcpStream| {
            swallow(&mut stream);
            write(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n");
        };
        opens_nothing("https to a plain server", "https", plain, ErrorKind::Unreachable);
        let encrypted = |mut stream: TcpStream| {
            swallow(&mut stream);
            write(&mut stream, [21, 3, 3, 0, 2, 2, 70]);
        };
        opens_nothing("http to an encrypted server", "http", encrypted, ErrorKind::Protocol);
        let says_so = |mut stream: TcpStream| {
            swallow(&mut stream);
            let text = "Client sent an HTTP request to an HTTPS server.\n";
            write(&mut stream, http("400 Bad Request", "Connection: close\r\n", text));
        };
        opens_nothing("http to one that says so", "http", says_so, ErrorKind::Unreachable);
        let alert = |mut stream: TcpStream| {
            swallow(&mut stream);
            write(&mut stream, [21, 3, 3, 0, 2, 2, 40]);
        };
        opens_nothing("a handshake that is refused", "https", alert, ErrorKind::Unreachable);
        let closes = |mut stream: TcpStream| swallow(&mut stream);
        opens_nothing("a handshake that is closed", "https", closes, ErrorKind::Disconnected);
        let resets = |mut stream: TcpStream| {
            swallow(&mut stream);
            reset(&stream);
        };
        opens_nothing("a handshake that is reset", "https", resets, ErrorKind::Disconnected);
        let silent =
            |mut stream: TcpStream| while stream.read(&mut [0; 64]).is_ok_and(|came| came > 0) {};
        opens_nothing("a handshake without an answer", "https", silent, ErrorKind::Timeout);
        let drips = |mut stream: TcpStream| {
            write(&mut stream, [22, 3, 3, 63, 0]);
            drip(&mut stream, 2);
        };
        opens_nothing("a handshake that drips", "https", drips, ErrorKind::Timeout);
        let (here, is_here) = mpsc::channel();
        let peer = || {
            Peer::raw(None, move |_, stream, _| {
                here.send(()).unwrap();
                silent(stream);
            })
        };
        one("a handshake that is cancelled", peer, |peer| {
            let token = CancelToken::new();
            let server = server(&peer.url.replace("http", "https"));
            let builder = Client::builder().cancel_token(&token);
            thread::scope(|scope| {
                let opening = scope.spawn(|| builder.open(server).unwrap_err());
                is_here.recv().unwrap();
                token.cancel();
                Err(opening.join().unwrap())
            })
        });
    });
}

#[test]
fn hosts_that_are_not_there() {
    faults("hosts_that_are_not_there", || {
        one(
            "a port where nobody listens",
            || Peer::raw(None, |_, _, _| ()),
            |_| {
                let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                let error = Client::open(server(&format!("http://{address}/"))).unwrap_err();
                assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Unreachable, false));
                Err(error)
            },
        );
        // The system's own words are not the same everywhere.
        let before = Holdings::now();
        let error = Client::open(server("http://nonexistent.invalid/mcp")).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Unreachable, false));
        assert!(error.to_string().contains("Check the host's name"), "{error}");
        before.are_all_there_is();
    });
}

/// Answers to `initialize` that name a session of so many bytes.
fn names_a_session(length: usize) -> Peer {
    Peer::bare(move |seen, to| {
        let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
            "serverInfo": { "name": "raw", "version": "1" } });
        let session = format!("{JSON}Mcp-Session-Id: {}\r\n", "s".repeat(length));
        let answer = match seen.is("initialize") {
            true => http("200 OK", &session, &seen.response(&result)),
            false => http("405 X", "", ""),
        };
        write(to, answer)
    })
}

// LHTTP-5, LHTTP-6
#[test]
fn a_session_id_that_is_too_long() {
    faults("a_session_id_that_is_too_long", || {
        for (name, length) in [("a session id of 5000", 5000), ("a session id of 1 MiB", MIB)] {
            one(
                name,
                || names_a_session(length),
                |peer| {
                    let error = Client::open(peer.server().era(Era::Legacy)).unwrap_err();
                    assert!(!error.to_string().contains("sss"), "{error}");
                    // It was not repeated.
                    assert_eq!(peer.requests(), 1);
                    Err(error)
                },
            );
        }
    });
}

/// A legacy client, three calls and the end of it, in no time.
fn lives(peer: &Peer) -> Result<()> {
    let client = Client::open(peer.server().era(Era::Legacy))?;
    for _ in 0..3 {
        echo(&client)?;
    }
    assert!(!client.close().left_behind);
    Ok(())
}

// LHTTP-11, LHTTP-16
#[test]
fn what_nobody_waits_for_is_never_answered() {
    faults("what_nobody_waits_for_is_never_answered", || {
        one("silence on DELETE and GET", || Peer::legacy(|_, _| Then::Wait), lives);
        let drips = |_: &Seen, to: &mut TcpStream| {
            write(to, "HTTP/1.1 200 OK\r\nX: ");
            drip(to, b'x')
        };
        one("drips on DELETE and GET", || Peer::legacy(drips), lives);
        let resets = |_: &Seen, _: &mut TcpStream| Then::Reset;
        one("resets on DELETE and GET", || Peer::legacy(resets), lives);
        let errors = |_: &Seen, to: &mut TcpStream| write(to, http("500 X", "", PAGE));
        one("errors on DELETE and GET", || Peer::legacy(errors), lives);
        // One that waits all the same has a token.
        one(
            "silence on GET, and a cancelled opening",
            || Peer::legacy(|_, _| Then::Wait),
            |peer| {
                let token = CancelToken::new();
                let builder = Client::builder().cancel_token(&token);
                let server = peer.server().era(Era::Legacy);
                thread::scope(|scope| {
                    let opening = scope.spawn(|| builder.open(server).unwrap_err());
                    assert!(until(|| peer.requests() == 3));
                    token.cancel();
                    Err(opening.join().unwrap())
                })
            },
        );
    });
}

/// A peer whose own stream says the same without end, and that never takes an answer.
fn floods(message: &Value) -> Peer {
    let event = format!("data: {message}\n\n").repeat(50);
    Peer::legacy(move |seen, to| {
        if !seen.is_get() {
            return Then::Wait;
        }
        write(to, EVENTS);
        repeat(to, event.as_bytes(), FOREVER)
    })
}

#[test]
fn floods_on_the_servers_own_stream() {
    faults("floods_on_the_servers_own_stream", || {
        let notification = json!({ "jsonrpc": "2.0", "method": "notifications/x", "params": {
            "text": "x".repeat(1000) } });
        one("floods notifications", || floods(&notification), lives);
        one(
            "floods a slow listener",
            || floods(&notification),
            |peer| {
                let listens = Client::builder().on_notification(|_, _| thread::yield_now());
                let client = listens.open(peer.server().era(Era::Legacy))?;
                for _ in 0..3 {
                    echo(&client)?;
                }
                assert!(!client.close().left_behind);
                Ok(())
            },
        );
        let ping = json!({ "jsonrpc": "2.0", "id": "x".repeat(1000), "method": "ping" });
        one("floods pings", || floods(&ping), lives);
    });
}

/// A host that takes one connection, and no other before the gate is opened.
#[cfg(target_os = "linux")]
fn full(gate: Receiver<()>) -> Peer {
    Peer::raw(Some(gate), |connection, stream, count| {
        let respond = |seen: &Seen, to: &mut TcpStream| as_it_should(seen, to, &|_, _| Then::Wait);
        let _ = converse(connection, stream, &respond, count);
    })
}

/// Takes the place of the one connection that may wait for the host. Others hang from now on.
#[cfg(target_os = "linux")]
fn fill(peer: &Peer) -> TcpStream {
    let address = peer.address().parse().unwrap();
    let filler = TcpStream::connect(address).unwrap();
    let more = TcpStream::connect_timeout(&address, Duration::from_millis(50));
    assert_eq!(more.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    filler
}

/// How many are trying to connect to it.
#[cfg(target_os = "linux")]
fn connecting_to(peer: &Peer) -> usize {
    const SYN_SENT: &str = "02";
    let port: u16 = peer.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let to = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let is_trying = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some(&to) && fields.next() == Some(SYN_SENT)
    };
    table.lines().filter(is_trying).count()
}

/// A client whose only connection is in use, of a host that takes no other.
#[cfg(target_os = "linux")]
fn without_a_way_in(peer: &Peer) -> Result<(Client, Pending<'static, CallToolResult>, TcpStream)> {
    let client = Client::open(peer.server())?;
    let filler = fill(peer);
    let waiting = client.tool("fault").start()?;
    assert!(until(|| peer.requests() == 2));
    Ok((client, waiting, filler))
}

#[cfg(target_os = "linux")]
#[test]
fn a_host_that_accepts_nobody() {
    faults("a_host_that_accepts_nobody", || {
        let (open, gate) = mpsc::channel();
        one(
            "connecting in vain",
            || full(gate),
            |peer| {
                let (client, waiting, filler) = without_a_way_in(peer)?;
                let threads = Holdings::now().threads;
                let error = fails_soon(&client, "echo");
                assert!(error.is_timeout() && !error.may_have_run(), "{error}");
                assert!(until(|| connecting_to(peer) == 0 && Holdings::now().threads == threads));

                let token = CancelToken::new();
                let call = client.tool("echo").cancel_token(&token).start()?;
                assert!(until(|| connecting_to(peer) == 1));
                token.cancel();
                let cancelled = call.wait().unwrap_err();
                assert!(cancelled.is_cancelled() && !cancelled.may_have_run(), "{cancelled}");

                // What nothing can interrupt goes on, alone: the others wait for it.
                let calls = [(); 3].map(|()| client.tool("echo").timeout(SHORT).start().unwrap());
                assert_eq!(connecting_to(peer), 1);
                for call in calls {
                    let error = call.wait().unwrap_err();
                    assert!(error.is_timeout() && !error.may_have_run(), "{error}");
                }
                assert_eq!(connecting_to(peer), 1);
                assert!(until(|| Holdings::now().threads == threads + 1));

                // The host is there again.
                open.send(()).unwrap();
                echo(&client)?;
                assert_eq!(connecting_to(peer), 0);
                drop((filler, waiting));
                assert!(!client.close().left_behind);
                Err(error)
            },
        );
    });
}

#[cfg(target_os = "linux")]
#[test]
fn closing_does_not_wait_for_a_host_that_accepts_nobody() {
    faults("closing_does_not_wait_for_a_host_that_accepts_nobody", || {
        let (open, gate) = mpsc::channel();
        one(
            "closed while connecting",
            || full(gate),
            |peer| {
                let (client, waiting, filler) = without_a_way_in(peer)?;
                // One at a time tries, now that the host has not answered.
                assert!(fails_soon(&client, "echo").is_timeout());
                assert!(until(|| connecting_to(peer) == 0));
                let calls = [(); 3].map(|()| client.tool("echo").start().unwrap());
                assert!(until(|| connecting_to(peer) == 1));
                assert!(client.close().left_behind);
                for call in calls {
                    let error = call.wait().unwrap_err();
                    assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Closed, false));
                }
                let error = waiting.wait().unwrap_err();
                assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Closed, true));
                // Nothing else ends the attempt before the calls' own clock.
                assert_eq!(connecting_to(peer), 1);
                open.send(()).unwrap();
                drop(filler);
                Err(error)
            },
        );
    });
}

#[cfg(target_os = "linux")]
#[test]
fn opening_does_not_wait_for_a_host_that_accepts_nobody() {
    faults("opening_does_not_wait_for_a_host_that_accepts_nobody", || {
        let (open, gate) = mpsc::channel();
        one(
            "opened in vain",
            || full(gate),
            |peer| {
                let first = TcpStream::connect(peer.address()).unwrap();
                let filler = fill(peer);
                let timeouts = Timeouts::default().connect(SHORT);
                let error = Client::open(peer.server().timeouts(timeouts)).unwrap_err();
                assert!(error.is_timeout() && !error.may_have_run(), "{error}");
                assert!(until(|| connecting_to(peer) == 0));
                let token = CancelToken::new();
                let builder = Client::builder().cancel_token(&token);
                let cancelled = thread::scope(|scope| {
                    let opening = scope.spawn(|| builder.open(peer.server()).unwrap_err());
                    assert!(until(|| connecting_to(peer) == 1));
                    token.cancel();
                    opening.join().unwrap()
                });
                assert!(cancelled.is_cancelled() && !cancelled.may_have_run(), "{cancelled}");
                open.send(()).unwrap();
                assert!(until(|| connecting_to(peer) == 0));
                drop((first, filler));
                Err(error)
            },
        );
    });
}

const MANY: usize = 300;

/// The server of calls that are never answered.
fn never_answers(era: &str) {
    let blocked = AtomicUsize::new(0);
    let respond = move |seen: &Seen, to: &mut TcpStream| {
        if seen.calls("fault") {
            if blocked.fetch_add(1, Ordering::SeqCst) + 1 == MANY {
                println!("\nall here");
            }
            return Then::Wait;
        }
        write(to, http("405 X", "", ""))
    };
    let peer = match era {
        "legacy" => Peer::legacy(respond),
        _ => Peer::modern(respond),
    };
    println!("\n{}", peer.url);
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    // Its threads have nothing to end for.
    std::process::exit(0);
}

/// Many calls that wait for a server in a process of its own, and what ends them.
fn many_blocked_calls(test: &str, era: Era, kind: ErrorKind, end: fn(&Client, &CancelToken)) {
    let test = format!("http_faults::{test}");
    if let Some(era) = role().as_deref().and_then(|role| role.strip_prefix("serves ")) {
        return never_answers(era);
    }
    let name = test.clone();
    alone(&test, move || {
        let mut child = playing(&name, &format!("serves {era}"));
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|it| it.unwrap());
        let url = lines.find(|line| line.starts_with("http://")).unwrap();
        let before = Holdings::now();
        let server = Server::url(url).name("web").era(era);
        let client = Client::open(server.limits(Limits::default().in_flight(MANY))).unwrap();
        let token = CancelToken::new();
        thread::scope(|scope| {
            let call = || client.tool("fault").cancel_token(&token).call().unwrap_err();
            let calls: Vec<_> = (0..MANY).map(|_| scope.spawn(call)).collect();
            assert!(lines.any(|line| line == "all here"));
            end(&client, &token);
            for call in calls {
                let error = call.join().unwrap();
                assert_eq!((error.kind(), error.may_have_run()), (kind, true), "{error}");
            }
        });
        if kind == ErrorKind::Cancelled {
            echo(&client).unwrap();
        }
        let report = client.close();
        assert!(!report.left_behind, "{report:?}");
        drop(client);
        before.are_all_there_is();
        drop(child.stdin.take());
        child.wait().unwrap();
    });
}

#[test]
fn many_blocked_calls_are_cancelled() {
    let test = "many_blocked_calls_are_cancelled";
    many_blocked_calls(test, Era::Modern, ErrorKind::Cancelled, |_, token| token.cancel());
}

#[test]
fn many_blocked_calls_are_cancelled_in_the_legacy_era() {
    let test = "many_blocked_calls_are_cancelled_in_the_legacy_era";
    many_blocked_calls(test, Era::Legacy, ErrorKind::Cancelled, |_, token| token.cancel());
}

#[test]
fn a_client_with_many_blocked_calls_is_closed() {
    let test = "a_client_with_many_blocked_calls_is_closed";
    many_blocked_calls(test, Era::Modern, ErrorKind::Closed, |client, _| {
        assert!(!client.close().left_behind);
    });
}

#[test]
fn a_client_with_many_blocked_calls_is_closed_in_the_legacy_era() {
    let test = "a_client_with_many_blocked_calls_is_closed_in_the_legacy_era";
    many_blocked_calls(test, Era::Legacy, ErrorKind::Closed, |client, _| {
        assert!(!client.close().left_behind);
    });
}

// LHTTP-23
#[test]
fn a_call_that_outlives_its_first_clock_can_still_be_resumed() {
    faults("a_call_that_outlives_its_first_clock_can_still_be_resumed", || {
        const CLOCK: Duration = Duration::from_secs(1);
        let id = Mutex::new(Value::Null);
        let respond = move |seen: &Seen, to: &mut TcpStream| {
            if seen.calls("fault") {
                *id.lock().unwrap() = seen.body["id"].clone();
                let started = Instant::now();
                let mut step = 0;
                write(to, EVENTS.to_owned() + "id: 7\nretry: 0\ndata:\n\n");
                while started.elapsed() < CLOCK * 5 / 4 {
                    step += 1;
                    let token = &seen.body["params"]["_meta"]["progressToken"];
                    let params = json!({ "progressToken": token, "progress": step });
                    let method = "notifications/progress";
                    let said = json!({ "jsonrpc": "2.0", "method": method, "params": params });
                    write(to, format!("data: {said}\n\n"));
                    thread::sleep(Duration::from_millis(20));
                }
                return Then::Close;
            }
            if seen.header("last-event-id").is_none() {
                return write(to, http("405 X", "", ""));
            }
            let id = id.lock().unwrap();
            let reply = json!({ "jsonrpc": "2.0", "id": *id, "result": said("x") });
            write(to, format!("{EVENTS}data: {reply}\n\n"));
            Then::Close
        };
        one(
            "resumed after its first clock",
            || Peer::legacy(respond),
            |peer| {
                let client = Client::open(peer.server().era(Era::Legacy))?;
                let call = client.tool("fault").timeout(CLOCK).restart_timeout_on_progress();
                call.call().map(drop)
            },
        );
    });
}
