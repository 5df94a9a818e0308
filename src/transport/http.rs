//! Streamable HTTP of 2026-07-28: every message is a POST of its own, and its reply the answer.
//!
//! An exchange has a lane to itself. Over an open connection it runs on the caller's waiting
//! thread; one that has to resolve and connect, which nothing can interrupt, runs on a thread of
//! its own while the caller waits. Replies that are event streams are not read yet.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine;
use ureq::Agent;
use ureq::http::Uri;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, said};
use crate::limits::Limits;
use crate::net::{EVENT_STREAM, Failure, Lane, Response};
use crate::protocol::envelope::{Kind, Message};
use crate::threads::Threads;
use crate::transport::{
    Abandoned, CloseReport, Connect, Delivery, Facts, Inbox, Outgoing, Slot, Transport,
};

struct Http(Arc<Shared>);

struct Shared {
    url: Uri,
    limits: Limits,
    /// Weak, as the inbox holds the transport.
    inbox: Weak<dyn Inbox>,
    lanes: Mutex<Lanes>,
    threads: Threads,
}

#[derive(Default)]
struct Lanes {
    idle: Vec<Lane>,
    /// By request, how to end its exchange.
    busy: HashMap<u64, Agent>,
    /// Exchanges that wait for their caller's thread.
    ready: HashMap<u64, Exchange>,
    is_closed: bool,
}

struct Exchange {
    id: u64,
    lane: Lane,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    until: Deadline,
}

/// A way to reach the server. Nothing is sent before the first message.
pub(crate) fn connect(url: Uri, limits: Limits) -> Box<Connect> {
    Box::new(move |inbox| {
        Ok(Arc::new(Http(Arc::new(Shared {
            url: url.clone(),
            limits: limits.clone(),
            inbox: Arc::downgrade(&inbox),
            lanes: Mutex::default(),
            threads: Threads::default(),
        }))))
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one exchange and hands over what came of it.
    fn run(&self, mut exchange: Exchange) {
        let Exchange { id, ref headers, ref body, until, .. } = exchange;
        let outcome = exchange.lane.post(&self.url, headers, body, self.limits.message, until);
        let mut lanes = self.lock();
        // Who abandoned the exchange has taken its agent, and is about to end it.
        let is_ours = lanes.busy.remove(&id).is_some();
        if is_ours && exchange.lane.is_warm() && !lanes.is_closed {
            lanes.idle.push(exchange.lane);
        }
        drop(lanes);
        let Some(inbox) = self.inbox.upgrade() else { return };
        match outcome.map(reply) {
            Ok(Ok(body)) => {
                inbox.message(body, Some(id));
                // A body that was no answer to this request must not leave its caller waiting.
                let lost = "the body of the server's answer is no response to the request";
                inbox.ended(Some(id), Error::new(ErrorKind::Protocol, lost).ran(true));
            }
            Ok(Err(error)) => inbox.ended(Some(id), error),
            // The session's own clock says so.
            Err(Failure::TimedOut) => {}
            Err(Failure::TooLarge) => {
                let most = self.limits.message;
                let text = format!("the server sent an answer of more than {most} bytes");
                let error = Error::new(ErrorKind::Limit, text).ran(true);
                inbox.ended(Some(id), error.hint("Raise `Limits::message` if that is expected"));
            }
            Err(Failure::Other(error)) => inbox.ended(Some(id), unreachable(error)),
        }
    }
}

impl Transport for Http {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let Some(id) = message.id else {
            let text = "notifications are not sent over HTTP in this era";
            return Err(Error::new(ErrorKind::Unsupported, text));
        };
        let headers = headers(&message);
        let mut lanes = self.0.lock();
        if lanes.is_closed {
            return Err(Error::closed());
        }
        let most = self.0.limits.in_flight.max(1);
        if lanes.busy.len() >= most {
            let text = format!("{most} requests are already under way");
            return Err(Error::new(ErrorKind::Limit, text).hint("Raise `Limits::in_flight`"));
        }
        let lane = lanes.idle.pop().unwrap_or_else(|| Lane::new(&self.0.url));
        lanes.busy.insert(id, lane.interrupt());
        let exchange = Exchange { id, lane, headers, body: message.json, until: message.until };
        if message.waits && exchange.lane.is_warm() {
            lanes.ready.insert(id, exchange);
            return Ok(());
        }
        drop(lanes);
        let shared = self.0.clone();
        let started = self.0.threads.spawn("umcp-http", move || shared.run(exchange));
        started.map(drop).map_err(|error| {
            self.0.lock().busy.remove(&id);
            Error::new(ErrorKind::Limit, format!("no thread for the request: {error}"))
        })
    }

    fn next(&self, id: u64, slot: &Slot, until: Deadline) -> Option<Delivery> {
        let ready = self.0.lock().ready.remove(&id);
        if let Some(exchange) = ready {
            self.0.run(exchange);
        }
        slot.receive(until)
    }

    /// HTTP-14: closing the exchange is the cancellation.
    fn abandon(&self, id: u64) -> Abandoned {
        let mut lanes = self.0.lock();
        let unsent = lanes.ready.remove(&id).is_some();
        let agent = lanes.busy.remove(&id);
        drop(lanes);
        if let Some(agent) = agent {
            agent.shutdown();
        }
        if unsent { Abandoned::Unsent } else { Abandoned::Told }
    }

    fn facts(&self) -> Facts {
        Facts { has_spoken: true, modern_only: true }
    }

    fn close(&self, until: Deadline) -> CloseReport {
        let mut lanes = self.0.lock();
        lanes.is_closed = true;
        lanes.idle.clear();
        lanes.ready.clear();
        let busy = std::mem::take(&mut lanes.busy);
        drop(lanes);
        busy.into_values().for_each(Agent::shutdown);
        CloseReport { left_behind: !self.0.threads.join(until), ..CloseReport::default() }
    }
}

/// HDR-1…HDR-8: what the message says, mirrored for those who route without reading it.
fn headers(message: &Outgoing<'_>) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("Content-Type", "application/json".to_owned()),
        ("Accept", "application/json, text/event-stream".to_owned()),
        ("Mcp-Method", message.method.to_owned()),
    ];
    if let Some(version) = message.version {
        headers.push(("MCP-Protocol-Version", version.to_string()));
    }
    if let Some(name) = message.name {
        headers.push(("Mcp-Name", header_value(name)));
    }
    headers
}

/// XHDR-20…XHDR-23: a value that cannot stand in a header as it is, in Base64.
fn header_value(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (0x20..=0x7E).contains(&byte))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if is_plain {
        return text.to_owned();
    }
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
}

/// The JSON-RPC response in an answer, whatever its status, or what the status means.
fn reply(response: Response) -> Result<Vec<u8>> {
    let Response { status, content_type, retry_after, body } = response;
    if (200..300).contains(&status) {
        if content_type == EVENT_STREAM {
            let text = "the server answers with an event stream, which umcp does not yet read";
            return Err(Error::new(ErrorKind::Unsupported, text).ran(true));
        }
        return Ok(body);
    }
    if let Ok(message) = Message::scan(body.clone())
        && matches!(message.kind(), Kind::Response { .. })
    {
        return Ok(body);
    }
    let text = match status {
        300..400 => format!("the server redirects (HTTP {status}), which is not followed"),
        _ => format!("the server answered with HTTP {status}"),
    };
    let body = said(&String::from_utf8_lossy(body.get(..200).unwrap_or(&body)));
    let text = if body.is_empty() { text } else { format!("{text}: {body}") };
    let (kind, hint) = match status {
        401 | 403 => (ErrorKind::Authorization, "The server wants credentials, or refuses these"),
        400 | 404 | 405 => (ErrorKind::Unreachable, "Is this the URL of an MCP endpoint?"),
        _ => (ErrorKind::Unreachable, "Try again later, or ask the server's operator"),
    };
    // Refused before it was looked at; behind any other status something may have begun.
    let ran = !matches!(status, 401 | 404 | 405 | 429);
    Err(Error::new(kind, text).hint(hint).retry_in(retry_after).ran(ran))
}

fn unreachable(error: ureq::Error) -> Error {
    let (kind, hint, ran) = match &error {
        ureq::Error::HostNotFound => (ErrorKind::Unreachable, "Check the host's name", false),
        ureq::Error::ConnectionFailed => (ErrorKind::Unreachable, "Is the server running?", false),
        ureq::Error::Io(io) => match io.kind() {
            io::ErrorKind::ConnectionRefused => {
                (ErrorKind::Unreachable, "Is the server running?", false)
            }
            io::ErrorKind::InvalidData => {
                (ErrorKind::Unreachable, "Is this an https port, its certificate trusted?", true)
            }
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected => {
                (ErrorKind::Disconnected, "The connection broke; open a new client", true)
            }
            _ => (ErrorKind::Unreachable, "Check the host's name, and the network", true),
        },
        ureq::Error::Tls(_) | ureq::Error::ConnectProxyFailed(_) => {
            (ErrorKind::Unreachable, "Is its certificate trusted, and the proxy right?", false)
        }
        _ => (ErrorKind::Disconnected, "The connection broke; open a new client", true),
    };
    Error::new(kind, format!("the exchange failed: {error}")).hint(hint).ran(ran).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_no_header_can_hold_are_encoded() {
        // XHDR-20…XHDR-23
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("us west 1", "us west 1"),
            ("", ""),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("\tindented", "=?base64?CWluZGVudGVk?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(header_value(value), header);
        }
    }
}
