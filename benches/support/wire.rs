//! The messages as the least of clients have them: typed, and with nothing that they can do
//! without. The modern era's `_meta` is part of every request there is.

use serde::{Deserialize, Serialize};

#[derive(Serialize)]
pub struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: Params<'a>,
}

#[derive(Serialize)]
struct Params<'a> {
    #[serde(rename = "_meta")]
    meta: Meta,
    name: &'a str,
    arguments: Arguments<'a>,
}

#[derive(Serialize)]
struct Meta {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    version: &'static str,
    #[serde(rename = "io.modelcontextprotocol/clientInfo")]
    info: Info,
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Capabilities,
}

#[derive(Serialize)]
struct Info {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
struct Capabilities {}

#[derive(Serialize)]
pub struct Arguments<'a> {
    pub text: &'a str,
}

#[derive(Deserialize)]
pub struct Response {
    pub id: u64,
    pub result: CallResult,
}

#[derive(Deserialize)]
pub struct CallResult {
    pub content: Vec<Text>,
    #[serde(rename = "isError")]
    pub is_error: bool,
}

#[derive(Deserialize)]
pub struct Text {
    pub text: String,
}

/// Appends the call of a tool.
pub fn write_call(output: &mut Vec<u8>, id: u64, text: &str) {
    let meta = Meta {
        version: "2026-07-28",
        info: Info { name: "umcp", version: env!("CARGO_PKG_VERSION") },
        capabilities: Capabilities {},
    };
    let params = Params { meta, name: "echo", arguments: Arguments { text } };
    let request = Request { jsonrpc: "2.0", id, method: "tools/call", params };
    serde_json::to_writer(output, &request).unwrap();
}

impl CallResult {
    pub fn size(&self) -> usize {
        assert!(!self.is_error);
        self.content[0].text.len()
    }
}
