//! A well-behaved MCP server, for faults to be built on: one tool, both eras, one line at a time.

use std::io::{self, BufRead, BufReader, Read, Stdin, Write};
use std::process;

use serde_json::{Value, json};

const MODERN: &str = "2026-07-28";
const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Which revisions the server speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Era {
    Modern,
    Legacy,
    Both,
}

impl Era {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "modern" => Some(Era::Modern),
            "legacy" => Some(Era::Legacy),
            "both" => Some(Era::Both),
            _ => None,
        }
    }
}

/// The server's end of the connection.
pub struct Wire {
    era: Era,
    input: BufReader<Stdin>,
    /// What stands behind every message.
    pub line_end: &'static str,
    /// Only the beginning of a line that is longer is read.
    pub longest_line: u64,
    /// How many bytes are written before the process exits.
    pub bytes_left: usize,
    /// What to do when stdin ends.
    pub at_end: fn(),
    /// A process that was started, for the client's author to look for.
    pub grandchild: Option<u32>,
}

impl Wire {
    pub fn new(era: Era) -> Self {
        Self {
            era,
            input: BufReader::new(io::stdin()),
            line_end: "\n",
            longest_line: u64::MAX,
            bytes_left: usize::MAX,
            at_end: || process::exit(0),
            grandchild: None,
        }
    }

    /// The next message. What is not JSON is skipped. Does not return when stdin has ended.
    pub fn read(&mut self) -> Value {
        loop {
            let mut line = Vec::new();
            let mut input = (&mut self.input).take(self.longest_line);
            let read = input.read_until(b'\n', &mut line).unwrap_or(0);
            if read == 0 {
                (self.at_end)();
            } else if line.ends_with(b"\n") {
                if let Ok(message) = serde_json::from_slice(&line) {
                    return message;
                }
            } else if read as u64 == self.longest_line {
                hang();
            }
        }
    }

    /// Answers everything until a request of this method comes, and returns that one.
    pub fn next(&mut self, method: &str) -> Value {
        loop {
            let message = self.read();
            if is(&message, method) {
                return message;
            }
            self.answer(&message);
        }
    }

    /// Answers everything until the client has opened the connection.
    pub fn handshake(&mut self) {
        loop {
            let message = self.read();
            self.answer(&message);
            match message["method"].as_str() {
                Some("server/discover") if self.era != Era::Legacy => return,
                Some("notifications/initialized") => return,
                _ => {}
            }
        }
    }

    pub fn next_call(&mut self) -> Value {
        self.next("tools/call")
    }

    /// Answers everything from now on.
    pub fn serve(&mut self) -> ! {
        loop {
            let message = self.read();
            self.answer(&message);
        }
    }

    /// Answers a request as it should be answered; needs nothing to do for anything else.
    pub fn answer(&mut self, message: &Value) {
        if message.get("id").is_none() || message.get("method").is_none() {
            return;
        }
        let reply = match self.result(message) {
            Ok(result) => reply(message, &result),
            Err(error) => json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }),
        };
        self.send(&reply);
    }

    fn result(&self, request: &Value) -> Result<Value, Value> {
        let params = &request["params"];
        let (modern, legacy) = (self.era != Era::Legacy, self.era != Era::Modern);
        let capabilities = json!({ "tools": { "listChanged": true } });
        let info = json!({ "name": "hostile", "version": "1" });
        let result = match request["method"].as_str().unwrap_or_default() {
            "server/discover" if modern => json!({
                "supportedVersions": [MODERN], "capabilities": capabilities,
                "ttlMs": 0, "cacheScope": "private",
                "_meta": { "io.modelcontextprotocol/serverInfo": info },
            }),
            "initialize" if legacy => {
                let asked = params["protocolVersion"].as_str().unwrap_or_default();
                let version = if LEGACY.contains(&asked) { asked } else { LEGACY[0] };
                json!({ "protocolVersion": version, "capabilities": capabilities, "serverInfo": info })
            }
            "initialize" => {
                let data = json!({ "supported": [MODERN], "requested": params["protocolVersion"] });
                let message = "this server speaks 2026-07-28 only";
                return Err(json!({ "code": -32022, "message": message, "data": data }));
            }
            "ping" if legacy => json!({}),
            "tools/list" => tools(&["echo"]),
            "tools/call" => self.echo(request),
            method => {
                return Err(json!({ "code": -32601, "message": format!("no method {method:?}") }));
            }
        };
        Ok(of_era(request, result))
    }

    /// The right result of a call: the text it was called with.
    fn echo(&self, call: &Value) -> Value {
        let text = call["params"]["arguments"]["message"].as_str().unwrap_or_default();
        let mut result = content(text);
        if let Some(id) = self.grandchild {
            result["structuredContent"] = json!({ "grandchild": id });
        }
        result
    }

    /// The right answer to a call.
    pub fn right(&self, call: &Value) -> Value {
        reply(call, &of_era(call, self.echo(call)))
    }

    /// An answer that no client may hand to its user.
    pub fn wrong(&self, call: &Value) -> Value {
        reply(call, &of_era(call, content("wrong")))
    }

    pub fn send(&mut self, message: &Value) {
        self.write(format!("{message}{}", self.line_end));
    }

    /// Writes bytes to stdout. Does not return when nobody reads them any more.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let (bytes, rest) = bytes.split_at(bytes.len().min(self.bytes_left));
        self.bytes_left -= bytes.len();
        let mut output = io::stdout().lock();
        if output.write_all(bytes).and_then(|()| output.flush()).is_err() || !rest.is_empty() {
            process::exit(3);
        }
    }
}

/// Whether a message is a request of a method.
pub fn is(message: &Value, method: &str) -> bool {
    message["method"] == method && message.get("id").is_some()
}

pub fn reply(request: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

pub fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

pub fn content(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}

pub fn tools(names: &[&str]) -> Value {
    let tool = |name: &&str| json!({ "name": name, "inputSchema": { "type": "object" } });
    json!({ "tools": names.iter().map(tool).collect::<Vec<_>>(), "ttlMs": 0, "cacheScope": "private" })
}

/// The result with what the era of its request demands.
pub fn of_era(request: &Value, mut result: Value) -> Value {
    if request["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"].is_string() {
        result["resultType"] = json!("complete");
    }
    result
}

/// Does nothing any more, for longer than any client waits.
pub fn hang() -> ! {
    std::thread::sleep(std::time::Duration::from_secs(300));
    process::exit(0)
}
