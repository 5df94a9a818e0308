//! A server in this program: a function on a thread of its own, at the other end of a channel.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use serde_json::{Value, json};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::threads::Threads;
use crate::transport::{Abandoned, CloseReport, Connect, Facts, Inbox, Outgoing, Transport};

/// The server's end of an in-memory connection.
///
/// It receives what the client sends and sends whatever it likes, valid or not. Dropping it ends
/// the connection, as a server that exits does.
pub struct Peer {
    incoming: Receiver<Vec<u8>>,
    inbox: Arc<dyn Inbox>,
}

/// A message that a [`Peer`] received. As it is for tests, `Debug` shows all of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Received(pub Value);

impl Received {
    /// Returns the method, or `""` for a response.
    pub fn method(&self) -> &str {
        self.0.get("method").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the id, or `null` for a notification.
    pub fn id(&self) -> &Value {
        self.0.get("id").unwrap_or(&Value::Null)
    }

    /// Returns the member at a JSON pointer below `params`, such as `"/arguments/name"`, or `null`.
    pub fn param(&self, pointer: &str) -> &Value {
        self.0.get("params").and_then(|params| params.pointer(pointer)).unwrap_or(&Value::Null)
    }
}

impl Peer {
    /// Returns the next message from the client, or `None` once it has closed. Blocks until then.
    pub fn receive(&self) -> Option<Received> {
        let line = self.incoming.recv().ok()?;
        // Showing the raw text beats hiding what the client must never send.
        let value = serde_json::from_slice(&line)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&line).into_owned()));
        Some(Received(value))
    }

    /// Sends a message.
    pub fn send(&self, message: Value) {
        self.send_text(message.to_string());
    }

    /// Sends a line that need not be a message at all.
    pub fn send_text(&self, line: impl Into<Vec<u8>>) {
        self.inbox.message(line.into(), None);
    }

    /// Answers a request.
    pub fn reply(&self, to: &Received, result: Value) {
        self.send(json!({ "jsonrpc": "2.0", "id": to.id(), "result": result }));
    }

    /// Answers a request with an error.
    pub fn reply_error(&self, to: &Received, code: i64, message: &str, data: Option<Value>) {
        let mut error = json!({ "code": code, "message": message });
        if let (Some(data), Some(members)) = (data, error.as_object_mut()) {
            members.insert("data".to_owned(), data);
        }
        self.send(json!({ "jsonrpc": "2.0", "id": to.id(), "error": error }));
    }

    /// Sends a notification.
    pub fn notify(&self, method: &str, params: Value) {
        self.send(json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Answers the client's opening as a modern server (2026-07-28) with these capabilities would.
    /// Returns the first message after that, or `None` if the client closed.
    pub fn open_modern(&self, capabilities: Value) -> Option<Received> {
        self.open(&json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": capabilities,
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "peer", "version": "1" } },
        }))
    }

    fn open(&self, discovered: &Value) -> Option<Received> {
        loop {
            let message = self.receive()?;
            match message.method() {
                "server/discover" => self.reply(&message, discovered.clone()),
                _ => return Some(message),
            }
        }
    }

    /// Answers the client's opening as a legacy server with these capabilities would: refuses
    /// `server/discover`, then goes through the handshake with whatever version is offered.
    /// Returns the first message after that, or `None` if the client closed.
    pub fn open_legacy(&self, capabilities: Value) -> Option<Received> {
        loop {
            let message = self.receive()?;
            match message.method() {
                "initialize" => self.reply(
                    &message,
                    json!({
                        "protocolVersion": message.param("/protocolVersion"),
                        "capabilities": capabilities,
                        "serverInfo": { "name": "peer", "version": "1" },
                    }),
                ),
                "notifications/initialized" => {}
                "server/discover" => self.reply_error(&message, -32601, "no such method", None),
                _ => return Some(message),
            }
        }
    }
}

/// Also when the function that has it panics.
impl Drop for Peer {
    fn drop(&mut self) {
        let how = if std::thread::panicking() { "panicked" } else { "ended" };
        let text = format!("the in-memory server {how}");
        self.inbox.ended(None, Error::new(ErrorKind::Disconnected, text));
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

struct Memory {
    outgoing: Mutex<Option<Sender<Vec<u8>>>>,
    threads: Threads,
}

/// A way to run the server's function, as often as needed.
pub(crate) fn connect(serve: Arc<dyn Fn(Peer) + Send + Sync>) -> Box<Connect> {
    Box::new(move |inbox| {
        let (sender, incoming) = crossbeam_channel::unbounded();
        let threads = Threads::default();
        let serve = serve.clone();
        threads.spawn("umcp-peer", move || serve(Peer { incoming, inbox })).map_err(|error| {
            Error::new(ErrorKind::Unreachable, format!("no thread for it: {error}"))
        })?;
        Ok(Arc::new(Memory { outgoing: Mutex::new(Some(sender)), threads }))
    })
}

impl Transport for Memory {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        match outgoing.as_ref().map(|sender| sender.try_send(message.json)) {
            Some(Ok(())) => Ok(()),
            _ => Err(Error::new(ErrorKind::Disconnected, "the in-memory server no longer reads")),
        }
    }

    fn abandon(&self, _id: u64) -> Abandoned {
        Abandoned::Notify
    }

    fn facts(&self) -> Facts {
        // There is no start to be patient with.
        Facts { has_spoken: true, answers_or_fails: false, mirrors: false, restarts: false }
    }

    fn close(&self, until: Deadline) -> CloseReport {
        drop(self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).take());
        CloseReport { left_behind: !self.threads.join(until), ..CloseReport::default() }
    }
}
