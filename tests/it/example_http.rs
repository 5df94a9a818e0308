//! The example server over HTTP, at the wire: it is the peer of other tests, and itself on trial.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use crate::common::soon;
use crate::support::http::{self, Mode, Options};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const BOTH: (&str, &str) = ("Accept", "application/json, text/event-stream");
const EVENTS: (&str, &str) = ("Accept", "text/event-stream");
const NEWEST: (&str, &str) = ("MCP-Protocol-Version", "2025-11-25");
const MODERN: &str = "2026-07-28";

type Headers<'a> = &'a [(&'a str, &'a str)];

/// A connection to the server.
struct Wire(BufReader<TcpStream>);

/// The head of a reply.
struct Head {
    status: u16,
    lines: Vec<String>,
}

impl Head {
    fn get(&self, name: &str) -> Option<&str> {
        let mut all = self.lines.iter().filter_map(|line| line.split_once(": "));
        all.find(|header| header.0.eq_ignore_ascii_case(name)).map(|header| header.1)
    }
}

impl Wire {
    fn new(url: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap();
        Self(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn send(&mut self, first: &str, headers: Headers<'_>, body: &str) -> Head {
        self.write_request(first, headers, body);
        self.head()
    }

    fn write_request(&mut self, first: &str, headers: Headers<'_>, body: &str) {
        let mut text = format!("{first} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        self.write(&(text + "\r\n" + body));
    }

    fn post(&mut self, headers: Headers<'_>, message: &Value) -> (Head, Value) {
        let headers = [&[JSON, BOTH], headers].concat();
        let head = self.send("POST /mcp", &headers, &message.to_string());
        let body = self.body(&head);
        (head, serde_json::from_str(&body).unwrap_or_default())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn head(&mut self) -> Head {
        let mut lines: Vec<String> = Vec::new();
        loop {
            match self.line() {
                line if line.is_empty() => break,
                line => lines.push(line),
            }
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        Head { status, lines }
    }

    /// A body that is no event stream.
    fn body(&mut self, head: &Head) -> String {
        assert_eq!(head.get("transfer-encoding"), None);
        self.text(head.get("content-length").unwrap().parse().unwrap())
    }

    fn text(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// The next event of a stream; none after the last one.
    fn event(&mut self) -> Option<Event> {
        let length = usize::from_str_radix(&self.line(), 16).unwrap();
        let text = self.text(length + 2);
        (length > 0).then(|| Event::parse(text.strip_suffix("\n\n\r\n").unwrap()))
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.event()).collect()
    }
}

#[derive(Debug, Default)]
struct Event {
    kind: String,
    id: String,
    retry: String,
    data: Value,
}

impl Event {
    fn parse(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.split('\n') {
            let (name, value) = line.split_once(':').unwrap();
            let value = value.trim().to_owned();
            match name {
                "event" => event.kind = value,
                "id" => event.id = value,
                "retry" => event.retry = value,
                // The endpoint of HTTP+SSE is not JSON.
                "data" => event.data = serde_json::from_str(&value).unwrap_or(json!(value)),
                other => panic!("{other}"),
            }
        }
        event
    }

    fn is(&self, method: &str) -> bool {
        self.data["method"] == method
    }
}

fn start(mode: Mode) -> String {
    http::start(0, Options::new(mode)).unwrap()
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn initialize(version: &str) -> Value {
    let info = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": info });
    request(1, "initialize", &params)
}

fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}

fn modern(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": "p",
    });
    request(7, method, &params)
}

fn countdown(id: u64, steps: u64) -> Value {
    let params = json!({ "name": "countdown", "arguments": { "steps": steps },
        "_meta": { "progressToken": "p" } });
    request(id, "tools/call", &params)
}

/// Opens a legacy session. Returns its id.
fn open(wire: &mut Wire, version: &str) -> String {
    let (head, body) = wire.post(&[], &initialize(version));
    assert_eq!((head.status, &body["result"]["protocolVersion"]), (200, &json!(version)));
    let id = head.get("mcp-session-id").unwrap().to_owned();
    let headers = [("Mcp-Session-Id", id.as_str()), ("MCP-Protocol-Version", version)];
    let (head, body) = wire.post(&headers, &initialized());
    assert_eq!((head.status, body), (202, Value::Null));
    id
}

#[test]
fn a_session_begins_with_initialize_and_ends_with_delete() {
    soon(|| {
        for mode in [Mode::Legacy, Mode::Both] {
            let mut wire = Wire::new(&start(mode));
            let id = open(&mut wire, "2025-11-25");
            let session = ("Mcp-Session-Id", id.as_str());
            let list = request(2, "tools/list", &json!({}));
            let (head, body) = wire.post(&[session, NEWEST], &list);
            assert_eq!((head.status, body["result"]["tools"].is_array()), (200, true));
            for (headers, status) in [
                (vec![NEWEST], 400),
                (vec![NEWEST, ("Mcp-Session-Id", "unknown")], 404),
                (vec![session], 400),
                (vec![session, ("MCP-Protocol-Version", "2025-06-18")], 400),
                (vec![session, ("MCP-Protocol-Version", MODERN)], 400),
            ] {
                let list = request(3, "tools/list", &json!({}));
                let (head, body) = wire.post(&headers, &list);
                assert_eq!((head.status, &body["error"]["code"]), (status, &json!(-32000)));
            }
            let headers = [session, NEWEST];
            let head = wire.send("DELETE /mcp", &headers, "");
            assert_eq!((head.status, wire.body(&head)), (204, String::new()));
            let (head, _) = wire.post(&headers, &request(4, "tools/list", &json!({})));
            assert_eq!(head.status, 404);
            let head = wire.send("DELETE /mcp", &headers, "");
            assert_eq!(head.status, 404);
        }
    });
}

#[test]
fn older_sessions_need_no_version_and_their_streams_begin_without_an_empty_event() {
    soon(|| {
        let mut wire = Wire::new(&start(Mode::Legacy));
        let id = open(&mut wire, "2025-03-26");
        let headers = [JSON, BOTH, ("Mcp-Session-Id", &id)];
        let head = wire.send("POST /mcp", &headers, &countdown(2, 0).to_string());
        assert_eq!(head.status, 200);
        let events = wire.events();
        assert_eq!((events.len(), events[0].id.as_str()), (1, "1-0"));
        assert_eq!(events[0].data["id"], 2);
    });
}

#[test]
fn a_session_that_does_not_open_has_no_id() {
    soon(|| {
        let mut wire = Wire::new(&start(Mode::Both));
        let (head, body) = wire.post(&[], &request(1, "initialize", &json!({})));
        assert_eq!((head.status, &body["error"]["code"]), (400, &json!(-32602)));
        assert_eq!(head.get("mcp-session-id"), None);
        let version = ("MCP-Protocol-Version", MODERN);
        let (head, _) = wire.post(&[version], &initialize("2025-11-25"));
        assert_eq!((head.status, head.get("mcp-session-id")), (400, None));
    });
}

#[test]
fn a_lost_stream_goes_on_behind_the_last_event() {
    soon(|| {
        let url = start(Mode::Legacy);
        let mut wire = Wire::new(&url);
        let id = open(&mut wire, "2025-11-25");
        let session = ("Mcp-Session-Id", id.as_str());
        let headers = [JSON, BOTH, session, NEWEST];
        let head = wire.send("POST /mcp", &headers, &countdown(2, 3).to_string());
        assert_eq!(head.get("content-type"), Some("text/event-stream"));
        let first = wire.event().unwrap();
        assert_eq!((first.id.as_str(), first.retry.as_str()), ("1-0", "100"));
        assert_eq!(first.data, json!(""));
        let second = wire.event().unwrap();
        assert_eq!((second.id.as_str(), &second.data["params"]["progress"]), ("1-1", &json!(1)));
        drop(wire);

        // Twice: what was delivered can be delivered again.
        for _ in 0..2 {
            let mut wire = Wire::new(&url);
            let resume = [EVENTS, session, NEWEST, ("Last-Event-ID", "1-1")];
            assert_eq!(wire.send("GET /mcp", &resume, "").status, 200);
            let events = wire.events();
            let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
            assert_eq!(ids, ["1-2", "1-3", "1-4"]);
            assert_eq!(events[1].data["params"]["progress"], 3);
            assert_eq!(events[2].data["id"], 2);
        }
        let mut wire = Wire::new(&url);
        for unknown in ["1-5", "9-0", "x", "1-"] {
            let headers = [EVENTS, session, NEWEST, ("Last-Event-ID", unknown)];
            let head = wire.send("GET /mcp", &headers, "");
            assert_eq!(head.status, 400, "{unknown}");
            wire.body(&head);
        }
    });
}

#[test]
fn streams_can_be_cut_so_that_they_have_to_be_resumed() {
    soon(|| {
        let options = Options { cut_streams: Some(2), ..Options::new(Mode::Legacy) };
        let mut wire = Wire::new(&http::start(0, options).unwrap());
        let id = open(&mut wire, "2025-11-25");
        let session = ("Mcp-Session-Id", id.as_str());
        let headers = [JSON, BOTH, session, NEWEST];
        wire.send("POST /mcp", &headers, &countdown(2, 4).to_string());
        let mut events = wire.events();
        assert_eq!(events.len(), 2);
        while !events.last().unwrap().data["result"].is_object() {
            let last = events.last().unwrap().id.clone();
            let resume = [EVENTS, session, NEWEST, ("Last-Event-ID", &last)];
            wire.send("GET /mcp", &resume, "");
            events.extend(wire.events());
        }
        assert_eq!(events.len(), 6);
    });
}

#[test]
fn a_session_has_one_stream_of_its_own_on_which_the_server_asks() {
    soon(|| {
        let url = start(Mode::Both);
        let mut wire = Wire::new(&url);
        let id = open(&mut wire, "2025-11-25");
        let headers = [EVENTS, ("Mcp-Session-Id", id.as_str()), NEWEST];
        let mut stream = Wire::new(&url);
        assert_eq!(stream.send("GET /mcp", &headers, "").status, 200);
        let primed = stream.event().unwrap();
        assert_eq!((primed.id.as_str(), primed.data), ("0-0", json!("")));
        let ping = stream.event().unwrap();
        assert!(ping.is("ping"));

        let pong = json!({ "jsonrpc": "2.0", "id": ping.data["id"], "result": {} });
        let (head, body) = wire.post(&headers[1..], &pong);
        assert_eq!((head.status, body), (202, Value::Null));
        let second = wire.send("GET /mcp", &headers, "");
        assert_eq!(second.status, 409);
        wire.body(&second);

        // Who resumes it takes over.
        let mut resumed = Wire::new(&url);
        let resume = [&headers[..], &[("Last-Event-ID", "0-0")]].concat();
        assert_eq!(resumed.send("GET /mcp", &resume, "").status, 200);
        assert!(resumed.event().unwrap().is("ping"));
        assert!(stream.event().is_none());

        assert_eq!(wire.send("DELETE /mcp", &headers, "").status, 204);
        assert!(resumed.event().is_none());
    });
}

#[test]
fn a_call_of_a_session_asks_on_its_own_stream() {
    soon(|| {
        let url = start(Mode::Legacy);
        let (mut wire, mut other) = (Wire::new(&url), Wire::new(&url));
        let id = open(&mut wire, "2025-06-18");
        let session = [("Mcp-Session-Id", id.as_str()), ("MCP-Protocol-Version", "2025-06-18")];
        let headers = [&[JSON, BOTH], &session[..]].concat();
        let ask = request(2, "tools/call", &json!({ "name": "ask_ping" }));
        wire.send("POST /mcp", &headers, &ask.to_string());
        let ping = wire.event().unwrap();
        assert!(ping.is("ping"));
        let pong = json!({ "jsonrpc": "2.0", "id": ping.data["id"], "result": {} });
        assert_eq!(other.post(&session, &pong).0.status, 202);
        let unknown = wire.event().unwrap();
        assert!(unknown.is("umcp/unknown"));
        let refusal = json!({ "code": -32601, "message": "unknown" });
        let refusal = json!({ "jsonrpc": "2.0", "id": unknown.data["id"], "error": refusal });
        assert_eq!(other.post(&session, &refusal).0.status, 202);
        let reply = wire.event().unwrap();
        assert_eq!(reply.data["result"]["content"][0]["text"], "pong");
        assert!(wire.event().is_none());
    });
}

#[test]
fn modern_headers_have_to_say_what_the_body_says() {
    soon(|| {
        let call =
            modern("tools/call", json!({ "name": "echo", "arguments": { "message": "hi" } }));
        let read = modern("resources/read", json!({ "uri": "memo://1" }));
        let list = modern("tools/list", json!({}));
        let version = ("MCP-Protocol-Version", MODERN);
        let calls = ("Mcp-Method", "tools/call");
        let echo = ("Mcp-Name", "echo");
        let mut newer = list.clone();
        newer["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2027-01-01");
        let mut without = list.clone();
        without["params"]["_meta"] = json!({});
        let listing = [version, ("Mcp-Method", "tools/list")];
        let legacy = [("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Method", "tools/list")];
        let later = [("MCP-Protocol-Version", "2027-01-01"), ("Mcp-Method", "tools/list")];
        let response = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
        let unknown = modern("no/such", json!({}));
        let cases: &[(&Value, Headers<'_>, u16, i64)] = &[
            (&call, &[version, calls, echo], 200, 0),
            (&call, &[version, calls, ("Mcp-Name", "=?base64?ZWNobw==?=")], 200, 0),
            (&call, &[version, calls], 400, -32020),
            (&call, &[version, calls, ("Mcp-Name", "Echo")], 400, -32020),
            (&call, &[version, echo], 400, -32020),
            (&call, &[version, ("Mcp-Method", "tools/list"), echo], 400, -32020),
            (&call, &[calls, echo], 400, -32020),
            (&read, &[version, ("Mcp-Method", "resources/read")], 400, -32020),
            (&list, &listing, 200, 0),
            (&list, &legacy, 400, -32020),
            (&newer, &listing, 400, -32020),
            (&newer, &later, 400, -32022),
            (&without, &listing, 400, -32602),
            (&unknown, &[version, ("Mcp-Method", "no/such")], 404, -32601),
            (&response, &[version], 400, -32600),
        ];
        for mode in [Mode::Modern, Mode::Both] {
            let mut wire = Wire::new(&start(mode));
            for (message, headers, status, code) in cases {
                let (head, body) = wire.post(headers, message);
                let got = body["error"]["code"].as_i64().unwrap_or(0);
                assert_eq!((head.status, got), (*status, *code), "{message} {headers:?}");
                assert_eq!(body["id"], message["id"]);
                assert_eq!(head.get("mcp-session-id"), None);
            }
        }
    });
}

#[test]
fn a_modern_reply_is_json_unless_there_is_more_to_say() {
    soon(|| {
        let mut wire = Wire::new(&start(Mode::Modern));
        let call = |steps: u64| {
            let arguments = json!({ "steps": steps });
            modern("tools/call", json!({ "name": "countdown", "arguments": arguments }))
        };
        let headers = [
            ("MCP-Protocol-Version", MODERN),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "countdown"),
        ];
        let (head, body) = wire.post(&headers, &call(0));
        assert_eq!((head.status, body["result"].is_object()), (200, true));
        let headers = [&[JSON, BOTH], &headers[..]].concat();
        let head = wire.send("POST /mcp", &headers, &call(2).to_string());
        assert_eq!(head.get("content-type"), Some("text/event-stream"));
        let events = wire.events();
        assert_eq!(events.len(), 3);
        assert!(events[0].is("notifications/progress") && events[0].id.is_empty());
        assert!(events[2].data["result"].is_object());

        for verb in ["GET", "DELETE"] {
            let head = wire.send(&format!("{verb} /mcp"), &[EVENTS], "");
            assert_eq!((head.status, head.get("allow")), (405, Some("POST")));
            wire.body(&head);
        }
        let (head, body) = wire.post(&[], &initialize("2025-11-25"));
        assert_eq!((head.status, &body["error"]["code"]), (400, &json!(-32022)));
        assert_eq!(body["error"]["data"]["supported"], json!([MODERN]));
    });
}

#[test]
fn a_modern_client_that_leaves_has_cancelled_its_call() {
    soon(|| {
        let mut wire = Wire::new(&start(Mode::Both));
        let slow = json!({ "name": "slow", "arguments": { "seconds": 60 } });
        let headers = [
            JSON,
            BOTH,
            ("MCP-Protocol-Version", MODERN),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", "slow"),
        ];
        wire.write_request("POST /mcp", &headers, &modern("tools/call", slow).to_string());
        // It still listens, so as to hear what became of the call.
        wire.0.get_ref().shutdown(Shutdown::Write).unwrap();
        let head = wire.head();
        let body: Value = serde_json::from_str(&wire.body(&head)).unwrap();
        assert_eq!(body["result"]["isError"], true);
    });
}

#[test]
fn a_connection_is_closed_for_a_client_that_asks_for_it() {
    soon(|| {
        let mut wire = Wire::new(&start(Mode::Legacy));
        let id = open(&mut wire, "2025-11-25");
        let close = ("Connection", "close");
        let headers = [JSON, BOTH, NEWEST, ("Mcp-Session-Id", &id), close];
        assert_eq!(wire.send("POST /mcp", &headers, &countdown(2, 1).to_string()).status, 200);
        assert_eq!(wire.events().len(), 3);
        assert_eq!(wire.line(), "", "the end");
    });
}

#[test]
fn the_old_transport_names_its_endpoint_and_answers_on_the_stream() {
    soon(|| {
        let url = start(Mode::Sse);
        let (mut wire, mut stream) = (Wire::new(&url), Wire::new(&url));
        assert_eq!(wire.post(&[], &initialize("2024-11-05")).0.status, 405);
        assert_eq!(stream.send("GET /mcp", &[EVENTS], "").status, 200);
        let endpoint = stream.event().unwrap();
        assert_eq!((endpoint.kind.as_str(), endpoint.id.as_str()), ("endpoint", ""));
        let line = format!("POST {}", endpoint.data.as_str().unwrap());
        let mut post = |message: &Value| {
            let head = wire.send(&line, &[JSON], &message.to_string());
            wire.body(&head);
            head.status
        };
        assert_eq!(post(&initialize("2024-11-05")), 202);
        let reply = stream.event().unwrap();
        assert_eq!((reply.kind.as_str(), reply.id.as_str()), ("message", ""));
        assert_eq!(reply.data["result"]["protocolVersion"], "2024-11-05");
        assert_eq!(post(&initialized()), 202);
        assert_eq!(post(&countdown(2, 1)), 202);
        assert!(stream.event().unwrap().is("notifications/progress"));
        assert_eq!(stream.event().unwrap().data["id"], 2);

        // The session ends with its stream, once the server has noticed.
        drop(stream);
        while post(&request(9, "no/such", &json!({}))) != 404 {}
    });
}

#[test]
fn without_its_key_nobody_is_answered() {
    soon(|| {
        let api_key = Some("secret".to_owned());
        for mode in [Mode::Modern, Mode::Legacy, Mode::Sse] {
            let options = Options { api_key: api_key.clone(), ..Options::new(mode) };
            let mut wire = Wire::new(&http::start(0, options).unwrap());
            for key in [None, Some("Bearer wrong"), Some("secret")] {
                let key = key.map(|key| ("Authorization", key));
                let headers: Vec<_> = [EVENTS].into_iter().chain(key).collect();
                for line in ["POST /mcp", "GET /mcp"] {
                    let head = wire.send(line, &headers, "");
                    assert_eq!((head.status, head.get("www-authenticate")), (401, Some("Bearer")));
                    wire.body(&head);
                }
            }
            let key = ("Authorization", "Bearer secret");
            let right = wire.send("GET /mcp", &[EVENTS, key], "").status;
            assert!([200, 400, 405].contains(&right), "{right}");
        }
    });
}

#[test]
fn what_is_no_request_of_a_client_is_refused() {
    soon(|| {
        let url = start(Mode::Both);
        let long = format!("POST /mcp HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
        for (text, status) in [
            ("POST /mcp HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n", 413),
            ("POST /mcp HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
            ("POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
            ("POST /mcp HTTP/1.1\r\nno header\r\n\r\n", 400),
            ("hello\r\n\r\n", 400),
            (long.as_str(), 431),
        ] {
            let mut wire = Wire::new(&url);
            // A long head may be refused before all of it is written.
            let _ = wire.0.get_mut().write_all(text.as_bytes());
            assert_eq!(wire.head().status, status);
        }
        let mut wire = Wire::new(&url);
        let mut status = |line: &str, headers: Headers<'_>, body: &str| {
            let head = wire.send(line, headers, body);
            wire.body(&head);
            head.status
        };
        assert_eq!(status("POST /other", &[JSON, BOTH], "{}"), 404);
        assert_eq!(status("POST /mcp", &[JSON, BOTH, ("Origin", "http://evil")], "{}"), 403);
        assert_eq!(status("POST /mcp", &[BOTH], "{}"), 415);
        assert_eq!(status("POST /mcp", &[JSON, EVENTS], "{}"), 406);
        assert_eq!(status("GET /mcp", &[("Accept", "application/json")], ""), 406);
        assert_eq!(status("GET /mcp", &[EVENTS], ""), 400);
        assert_eq!(status("PUT /mcp", &[], ""), 405);
        assert_eq!(status("POST /mcp", &[JSON, BOTH], "{"), 400);
        assert_eq!(status("POST /mcp", &[JSON, BOTH], "[]"), 400);
    });
}

#[cfg(feature = "http")]
mod with_the_client {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, Command, Stdio};
    use std::thread;

    use serde_json::json;
    use umcp::{Client, Era, ErrorKind, Server};

    use crate::common::{at_once, example, soon};
    use crate::support::http::{self, Mode, Options};

    /// The example server as a process, ended with this.
    struct Process(Child);

    impl Process {
        fn start(arguments: &str) -> (Self, String) {
            let mut command = Command::new(example("basic_client"));
            command.arg("--serve-http").args(arguments.split(' '));
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut url = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
            (Self(child), url.trim_end().to_owned())
        }

        /// Ends it. Returns what it has noted.
        fn end(mut self) -> String {
            let mut noted = String::new();
            self.0.kill().unwrap();
            self.0.stderr.take().unwrap().read_to_string(&mut noted).unwrap();
            noted
        }
    }

    impl Drop for Process {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// How the server is started, and what is agreed on with it.
    const SERVERS: &[(&str, &str)] = &[
        ("modern", "2026-07-28"),
        ("both", "2026-07-28"),
        ("legacy", "2025-11-25"),
        ("legacy --cut-streams 1", "2025-11-25"),
        ("sse", "2025-11-25"),
    ];

    #[test]
    fn a_client_has_nothing_to_be_blamed_for() {
        at_once(SERVERS, |(arguments, version)| {
            let (process, url) = Process::start(arguments);
            let client = Client::open(Server::url(url)).unwrap();
            assert_eq!(client.protocol_version().to_string(), *version);
            assert!(client.list_tools().unwrap().len() > 3, "it has several pages");
            let mut steps = Vec::new();
            let call = client.tool("countdown").arg("steps", 2);
            let result = call.on_progress(|step| steps.push(step.progress)).call().unwrap();
            assert_eq!((result.text().as_str(), steps), ("counted 2 steps", vec![1.0, 2.0]));
            let text = client.read_resource("memo://1").unwrap().contents.remove(0);
            assert_eq!(text.uri(), Some("memo://1"));
            assert_eq!(client.call_tool("no such tool", ()).unwrap_err().kind(), ErrorKind::Rpc);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| client.call_tool("echo", json!({ "message": "x" })).unwrap());
                }
            });
            if client.protocol_version().era() == Era::Legacy {
                assert_eq!(client.call_tool("ask_ping", ()).unwrap().text(), "pong\n-32601");
            }
            client.close();
            assert_eq!(process.end(), "", "{arguments}");
        });
    }

    #[test]
    fn the_key_is_a_bearer_token() {
        soon(|| {
            let api_key = Some("secret".to_owned());
            let options = Options { api_key, ..Options::new(Mode::Modern) };
            let server = Server::url(http::start(0, options).unwrap());
            let error = Client::open(server.clone()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Authorization);
            let client = Client::open(server.bearer_token("secret")).unwrap();
            client.list_prompts().unwrap();
        });
    }

    #[test]
    fn the_example_of_a_client_does_all_it_says() {
        soon(|| {
            let ended = Command::new(example("http_client")).env("MCP_API_KEY", "secret").output();
            let ended = ended.unwrap();
            let said = String::from_utf8(ended.stdout).unwrap();
            assert!(ended.status.success(), "{said}");
            assert!(said.contains("2 + 3 = 5"), "{said}");
            assert!(said.contains("file:///notes/hello.txt: 1 contents"), "{said}");
        });
    }
}
