//! A server at a URL: with an API key, list its tools, call one, read a resource.
//!
//! ```text
//! cargo run --example http_client                                 # starts a server of its own
//! MCP_API_KEY=... cargo run --example http_client -- https://example.com/mcp
//! ```
//!
//! The server's revision of the protocol, and whether it speaks Streamable HTTP or the older
//! HTTP+SSE, is found out.

mod support;

use std::env;

use umcp::{Client, Result, Server, json};

fn main() -> Result<()> {
    env_logger::init();
    let api_key = env::var("MCP_API_KEY").ok();
    let url = match support::arguments().into_iter().next() {
        Some(url) => url,
        None => support::own_url(api_key.clone()),
    };
    let mut server = Server::url(url);
    if let Some(api_key) = api_key {
        // Over http:// only to this machine. `header` is for servers that want it elsewhere.
        server = server.bearer_token(api_key);
    }
    let client = Client::open(server)?;
    println!("connected, speaking MCP {}", client.protocol_version());

    let tools = client.list_tools()?;
    for tool in &tools {
        println!("  {:<14} {}", tool.name, tool.description.as_deref().unwrap_or(""));
    }
    if tools.iter().any(|tool| tool.name == "add") {
        let sum = client.call_tool("add", json!({ "a": 2, "b": 3 }))?.into_result()?;
        println!("2 + 3 = {}", sum.text());
    }
    if client.capabilities().resources.is_some()
        && let Some(resource) = client.list_resources()?.first()
    {
        let read = client.read_resource(&resource.uri)?;
        println!("{}: {} contents", resource.uri, read.contents.len());
    }
    Ok(())
}
