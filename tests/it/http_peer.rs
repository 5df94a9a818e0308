//! A small HTTP server on this machine that does as a test says.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use serde_json::{Value, json};
use umcp::{Client, Server};

use crate::stdio::discovered;

/// A request that came over a connection.
pub struct Post {
    /// Which connection, counted from 0.
    pub connection: usize,
    pub line: String,
    /// By name in lower case.
    pub headers: HashMap<String, String>,
    pub body: Value,
}

impl Post {
    pub fn is(&self, method: &str) -> bool {
        self.body["method"] == method
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// `POST`, `GET` or `DELETE`.
    pub fn verb(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }

    /// The method of a message, the verb of a request without one, or that it is a response.
    pub fn what(&self) -> &str {
        match (self.verb(), self.body["method"].as_str()) {
            ("POST", method) => method.unwrap_or("(response)"),
            (verb, _) => verb,
        }
    }
}

/// What the server does about it.
pub enum Answer {
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
    /// A body in chunks. The connection is closed unless the body is brought to its end.
    Chunked {
        status: u16,
        headers: String,
        write: Box<dyn FnOnce(&mut Chunks) + Send>,
    },
}

/// The body of an answer, as it is written.
pub struct Chunks {
    pub stream: TcpStream,
    pub has_ended: bool,
}

impl Chunks {
    /// Writes a chunk. Returns whether the client is still there.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.stream.write_all(&chunk).is_ok()
    }

    /// The end of the body, and of the connection.
    pub fn finish(mut self) {
        self.end();
        self.cut();
    }

    /// The end of the connection, in the middle of the body.
    pub fn cut(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    pub fn event(&mut self, message: &Value) {
        self.send(event(message));
    }

    pub fn end(&mut self) {
        self.has_ended = self.stream.write_all(b"0\r\n\r\n").is_ok();
    }

    /// Waits until the client closes the connection.
    pub fn wait_for_client(&mut self) {
        let _ = self.stream.read(&mut [0]);
    }
}

pub fn http(status: u16, headers: &str, body: impl Into<String>) -> Answer {
    Answer::Http { status, headers: headers.to_owned(), body: body.into() }
}

/// An event stream that a function writes.
pub fn stream(write: impl FnOnce(&mut Chunks) + Send + 'static) -> Answer {
    let headers = "Content-Type: text/event-stream\r\n".to_owned();
    Answer::Chunked { status: 200, headers, write: Box::new(write) }
}

/// An event stream that a test writes, which gets it as soon as the head is sent.
pub fn held(to: &Sender<Chunks>) -> Answer {
    let to = to.clone();
    stream(move |chunks| {
        let _ = to.send(Chunks { stream: chunks.stream.try_clone().unwrap(), has_ended: false });
        chunks.wait_for_client();
    })
}

pub fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

pub fn progress(post: &Post, progress: u64) -> Value {
    let token = &post.body["params"]["_meta"]["progressToken"];
    let params = json!({ "progressToken": token, "progress": progress });
    json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
}

pub fn log(data: &str) -> Value {
    let params = json!({ "level": "info", "data": data });
    json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params })
}

pub fn response(post: &Post, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": post.body["id"], "result": result })
}

pub fn answer(post: &Post, result: &Value) -> Answer {
    http(200, "Content-Type: application/json\r\n", response(post, result).to_string())
}

/// What a legacy server answers to `initialize`.
pub fn initialized(post: &Post, version: &str, headers: &str) -> Answer {
    let capabilities = json!({ "tools": {}, "logging": {}, "resources": {} });
    initialized_with(post, version, &capabilities, headers)
}

pub fn initialized_with(post: &Post, version: &str, capabilities: &Value, headers: &str) -> Answer {
    let result = json!({ "protocolVersion": version, "capabilities": capabilities,
        "serverInfo": { "name": "legacy", "version": "1" } });
    let headers = format!("Content-Type: application/json\r\n{headers}");
    http(200, &headers, response(post, &result).to_string())
}

/// A legacy server with numbers for ids of its sessions, which forgets the current one when its number
/// is changed. `respond` is given what belongs to the current one, and its number.
pub fn forgetful(
    initialize: impl Fn(&Post, &str) -> Answer + Send + Sync + 'static,
    respond: impl Fn(&Post, usize) -> Answer + Send + Sync + 'static,
) -> (Endpoint, Arc<AtomicUsize>) {
    let current = Arc::new(AtomicUsize::new(0));
    let number = current.clone();
    let endpoint = Endpoint::bare(move |post| {
        if post.is("initialize") {
            let next = number.fetch_add(1, Ordering::SeqCst) + 1;
            return initialize(post, &format!("Mcp-Session-Id: {next}\r\n"));
        }
        let of = post.header("mcp-session-id").unwrap();
        let number = number.load(Ordering::SeqCst);
        match of == number.to_string() {
            true => respond(post, number),
            false => http(404, "", r#"{"error":{"code":-32600,"message":"Session not found"}}"#),
        }
    });
    (endpoint, current)
}

/// What a legacy server with sessions answers to what begins and ends one, and to what is no
/// request.
pub fn session(post: &Post) -> Option<Answer> {
    match post.what() {
        "server/discover" => Some(http(400, "", "")),
        "initialize" => Some(initialized(post, "2025-11-25", "Mcp-Session-Id: s1\r\n")),
        "DELETE" => Some(http(200, "", "")),
        "(response)" => Some(http(202, "", "")),
        method if method.starts_with("notifications/") => Some(http(202, "", "")),
        _ => None,
    }
}

/// A server that answers the opening itself, and everything else as a function says.
pub struct Endpoint {
    pub url: String,
    pub posts: Receiver<Post>,
    /// Connections that have ended, from either side.
    pub ended: Receiver<usize>,
}

impl Endpoint {
    pub fn new(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Self {
        Self::bare(move |post| match post.is("server/discover") {
            true => {
                answer(post, &discovered(&json!({ "tools": {}, "resources": {}, "prompts": {} })))
            }
            false => respond(post),
        })
    }

    /// A server that does not even answer the opening by itself.
    pub fn bare(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Self {
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

    /// A legacy server with sessions, and a function for everything that is not of their making.
    pub fn legacy(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Self {
        Self::bare(move |post| session(post).unwrap_or_else(|| respond(post)))
    }

    /// Waits for what is next of that kind. What comes before it is gone.
    pub fn next(&self, what: &str) -> Post {
        self.posts.iter().find(|post| post.what() == what).unwrap()
    }

    /// What has come so far and was not taken yet.
    pub fn seen(&self) -> Vec<String> {
        self.posts.try_iter().map(|post| post.what().to_owned()).collect()
    }

    pub fn server(&self) -> Server {
        Server::url(&self.url).name("web")
    }

    pub fn open(&self) -> Client {
        let client = Client::open(self.server()).unwrap();
        assert!(self.posts.recv().unwrap().is("server/discover"));
        client
    }
}

/// Serves one connection. Returns when either side has closed it.
pub fn serve(
    connection: usize,
    stream: TcpStream,
    respond: &(dyn Fn(&Post) -> Answer + Send + Sync),
    seen: &Sender<Post>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    stream.set_nodelay(true).ok()?;
    loop {
        let post = read(connection, &mut reader)?;
        let answer = respond(&post);
        let _ = seen.send(post);
        let (status, headers, body, closes) = match answer {
            Answer::Close => return Some(()),
            Answer::Silence => return reader.read(&mut [0]).ok().map(drop),
            Answer::Http { status, headers, body } => (status, headers, body, false),
            Answer::ThenClose(body) => (200, String::new(), body.to_string(), true),
            Answer::Chunked { status, headers, write } => {
                let head =
                    format!("HTTP/1.1 {status} X\r\n{headers}Transfer-Encoding: chunked\r\n\r\n");
                stream.write_all(head.as_bytes()).ok()?;
                let mut chunks = Chunks { stream: stream.try_clone().ok()?, has_ended: false };
                write(&mut chunks);
                match chunks.has_ended {
                    true => continue,
                    false => return Some(()),
                }
            }
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).ok()?;
        if closes {
            return Some(());
        }
    }
}

pub fn read(connection: usize, reader: &mut impl BufRead) -> Option<Post> {
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
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = match length {
        0 => Value::Null,
        _ => serde_json::from_slice(&body).unwrap(),
    };
    Some(Post { connection, line: lines[0].clone(), headers, body })
}

pub fn call(client: &Client) -> umcp::Result<String> {
    client.call_tool("x", json!({})).map(|result| result.text())
}
