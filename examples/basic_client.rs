//! The shortest useful client: connect, see what there is, call a tool.
//!
//! ```text
//! cargo run --example basic_client
//! cargo run --example basic_client -- npx -y @modelcontextprotocol/server-everything
//! RUST_LOG=umcp=debug cargo run --example basic_client      # shows the conversation
//! ```

mod support;

use umcp::{Client, json};

fn main() -> umcp::Result<()> {
    env_logger::init();
    let client = Client::open(support::server())?;

    let server = client.server_info().map_or("a server without a name", |info| &info.name);
    println!("connected to {server}, which speaks MCP {}", client.protocol_version());

    let tools = client.list_tools()?;
    for tool in &tools {
        println!("  {:<14} {}", tool.name, tool.description.as_deref().unwrap_or(""));
    }

    if tools.iter().any(|tool| tool.name == "add") {
        let sum = client.call_tool("add", json!({ "a": 2, "b": 3 }))?.into_result()?;
        println!("2 + 3 = {}", sum.text());
    }
    Ok(())
}
