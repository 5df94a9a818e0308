//! A server made of ready answers, to test programs with.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::client::Server;
use crate::transport::memory::Peer;

type Answer = dyn Fn(&Value) -> Result<Value, (i64, String)> + Send + Sync;

/// A modern server made of ready answers.
///
/// What it offers follows from what it answers: an answer to `tools/list` declares tools, and so
/// on. Everything else is answered with `-32601`.
///
/// ```
/// use umcp::memory::Script;
/// use umcp::{Client, json};
///
/// let script = Script::new()
///     .answer("tools/list", json!({ "tools": [{ "name": "now", "inputSchema": {} }] }))
///     .answer("tools/call", json!({ "content": [{ "type": "text", "text": "noon" }] }));
/// let client = Client::open(script.server())?;
/// assert_eq!(client.call_tool("now", json!({}))?.text(), "noon");
/// assert_eq!(script.received("tools/call")[0]["name"], "now");
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Script {
    answers: HashMap<String, Arc<Answer>>,
    extensions: Map<String, Value>,
    received: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Script {
    /// Makes a server that offers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares an extension, with settings.
    #[must_use]
    pub fn declare(mut self, extension: &str, settings: Value) -> Self {
        self.extensions.insert(extension.to_owned(), settings);
        self
    }

    /// Answers every request of a method with this result.
    #[must_use]
    pub fn answer(self, method: &str, result: Value) -> Self {
        self.answer_with(method, move |_| Ok(result.clone()))
    }

    /// Answers every request of a method with what a function makes of its `params`: a result, or
    /// an error's code and message.
    #[must_use]
    pub fn answer_with(
        mut self,
        method: &str,
        answer: impl Fn(&Value) -> Result<Value, (i64, String)> + Send + Sync + 'static,
    ) -> Self {
        self.answers.insert(method.to_owned(), Arc::new(answer));
        self
    }

    /// Returns the `params` of every request of a method that came, over all connections.
    pub fn received(&self, method: &str) -> Vec<Value> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().filter(|(of, _)| of == method).map(|(_, params)| params.clone()).collect()
    }

    /// Returns the server to open a client on.
    pub fn server(&self) -> Server {
        let script = self.clone();
        Server::in_memory(move |peer| script.run(&peer))
    }

    fn capabilities(&self) -> Value {
        let mut capabilities = Map::new();
        for method in self.answers.keys() {
            let area = match method.split('/').next() {
                Some("completion") => "completions",
                Some(area @ ("tools" | "resources" | "prompts")) => area,
                _ => continue,
            };
            capabilities.insert(area.to_owned(), json!({}));
        }
        if !self.extensions.is_empty() {
            capabilities.insert("extensions".to_owned(), self.extensions.clone().into());
        }
        Value::Object(capabilities)
    }

    fn run(&self, peer: &Peer) {
        let mut next = peer.open_modern(self.capabilities());
        while let Some(message) = next {
            let params = message.0.get("params").cloned().unwrap_or_default();
            let answer = self.answers.get(message.method());
            if !message.id().is_null() {
                let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
                received.push((message.method().to_owned(), params.clone()));
                drop(received);
                match answer.map(|answer| answer(&params)) {
                    Some(Ok(result)) => peer.reply(&message, result),
                    Some(Err((code, text))) => peer.reply_error(&message, code, &text, None),
                    None => peer.reply_error(&message, -32601, "not in the script", None),
                }
            }
            next = peer.receive();
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<_> = self.answers.keys().collect();
        f.debug_struct("Script").field("answers", &answers).finish_non_exhaustive()
    }
}
