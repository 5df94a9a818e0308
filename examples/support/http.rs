//! The server of `server.rs` over HTTP, on nothing but the standard library.
//!
//! One URL on the loopback, a thread for every connection. It is strict about what a client sends,
//! as over stdio; it has no clocks and no TLS, and is no server for the network.

#![allow(clippy::indexing_slicing)] // a `Value` answers a missing key with null

mod exchange;
mod legacy;
mod modern;
mod session;

use super::server::{Era, fault, reply};
use exchange::{Connection, Request};
use legacy::Sessions;
use serde_json::Value;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

const PATH: &str = "/mcp";
const MOST_CONNECTIONS: usize = 1_000;

/// What is spoken over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Streamable HTTP of 2026-07-28.
    Modern,
    /// Streamable HTTP of 2025-03-26 to 2025-11-25.
    Legacy,
    /// Both at the same URL: how a client opens decides.
    Both,
    /// HTTP+SSE of 2024-11-05.
    Sse,
}

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    pub mode: Mode,
    /// Clients have to send it as a bearer token.
    pub api_key: Option<String>,
    /// Ends event streams of Streamable HTTP sessions after so many events, so that clients have to
    /// resume them.
    pub cut_streams: Option<usize>,
}

impl Options {
    pub fn new(mode: Mode) -> Self {
        Self { mode, api_key: None, cut_streams: None }
    }
}

/// Serves until the process ends, on threads of its own. Returns the URL. Port 0 is any free one.
pub fn start(port: u16, options: Options) -> io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let url = format!("http://{}{PATH}", listener.local_addr()?);
    let host = Arc::new(Host { options, sessions: Sessions::default() });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let host = host.clone();
            // Every connection's thread holds one.
            if Arc::strong_count(&host) <= MOST_CONNECTIONS + 1 {
                thread::spawn(move || host.serve(stream));
            }
        }
    });
    Ok(url)
}

#[derive(Debug)]
struct Host {
    options: Options,
    sessions: Sessions,
}

impl Host {
    /// Serves one connection, until either side closes it.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut connection = Connection::new(stream)?;
        while let Some(request) = connection.next()? {
            self.answer(&request, &mut connection)?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request, connection: &mut Connection) -> io::Result<()> {
        if let Some((status, headers)) = self.refusal(request) {
            return connection.writer.reply(status, headers, "");
        }
        let Options { mode, cut_streams: cut, .. } = self.options;
        match request.method.as_str() {
            "POST" => self.post(request, connection),
            "GET" if mode == Mode::Sse => self.sessions.sse_get(PATH, connection),
            "GET" if mode != Mode::Modern => self.sessions.get(request, cut, connection),
            "DELETE" if matches!(mode, Mode::Legacy | Mode::Both) => {
                self.sessions.delete(request, connection)
            }
            _ => connection.writer.reply(405, &[("Allow", "POST")], ""),
        }
    }

    /// The status and headers for what is wrong whatever the message is.
    fn refusal(&self, request: &Request) -> Option<(u16, &'static [(&'static str, &'static str)])> {
        let accepts = |media_type| request.lists("accept", media_type);
        let key = self.options.api_key.as_ref().map(|key| format!("Bearer {key}"));
        if request.path != PATH {
            return Some((404, &[]));
        }
        // A page in a browser that found its way to the loopback says where it comes from.
        if request.header("origin").is_some() {
            return Some((403, &[]));
        }
        if key.is_some() && request.header("authorization") != key.as_deref() {
            return Some((401, &[("WWW-Authenticate", "Bearer")]));
        }
        let (is_post, is_get) = (request.method == "POST", request.method == "GET");
        if is_post && !request.lists("content-type", "application/json") {
            return Some((415, &[]));
        }
        let needs_json = is_post && self.options.mode != Mode::Sse;
        let needs_events = is_get || needs_json;
        if (needs_json && !accepts("application/json"))
            || (needs_events && !accepts("text/event-stream"))
        {
            return Some((406, &[]));
        }
        None
    }

    fn post(&self, request: &Request, connection: &mut Connection) -> io::Result<()> {
        let Ok(message) = serde_json::from_slice::<Value>(&request.body) else {
            let error = fault(-32700, "the body is not JSON");
            return connection.writer.json(400, &reply(None, Err(error)));
        };
        let Options { mode, cut_streams: cut, .. } = self.options;
        let has_session = request.header("mcp-session-id").is_some();
        let is_modern = !has_session && modern::is_modern(request, &message);
        match mode {
            Mode::Modern => modern::post(Era::Modern, request, &message, connection),
            Mode::Both if is_modern => modern::post(Era::Both, request, &message, connection),
            Mode::Legacy | Mode::Both => self.sessions.post(request, &message, cut, connection),
            Mode::Sse => self.sessions.sse_post(request, &message, connection),
        }
    }
}
