//! Several servers under names: one over stdio, one over HTTP, and one that does not come up.
//!
//! ```text
//! cargo run --example multi_server
//! cargo run --example multi_server -- npx -y @modelcontextprotocol/server-everything
//! ```

mod support;

use umcp::{Client, EventKind, Hub, Result, Server, json};

fn main() -> Result<()> {
    env_logger::init();
    let servers = [
        ("local", support::server()),
        ("web", Server::url(support::own_url(None))),
        ("broken", Server::command("no-such-program-here")),
    ];
    // Every client is made by this; its events say what server they are of.
    let hub = Hub::connect_with(servers, |_name| {
        Client::builder().on(EventKind::ToolCalled, |event| eprintln!("{event}"))
    });
    for (name, error) in hub.failures() {
        eprintln!("{name} did not come up: {error}");
    }

    // One list for a model, in which each tool has a name of its own.
    let (tools, missing) = hub.tools();
    for tool in &tools {
        println!("  {:<24} {}", tool.name, tool.tool.description.as_deref().unwrap_or(""));
    }
    for (name, error) in missing {
        eprintln!("the tools of {name} are missing: {error}");
    }

    // Who has it? The first, in the order in which they were added.
    if let Some((server, tool)) = hub.find_tool("add")? {
        let sum = hub.call_tool(&server, &tool.name, json!({ "a": 2, "b": 3 }))?.into_result()?;
        println!("{server} says that 2 + 3 = {}", sum.text());
    }
    // Of each that has it, by the name in the list.
    for tool in tools.iter().filter(|tool| tool.tool.name == "add") {
        let sum = hub.call(&tool.name, json!({ "a": 20, "b": 30 }))?.into_result()?;
        println!("{} says that 20 + 30 = {}", tool.name, sum.text());
    }

    // What goes wrong at one server is nothing to the others.
    if let Err(error) = hub.call_tool("local", "no-such-tool", json!({})) {
        println!("{error}");
    }
    for name in hub.names() {
        match hub.get(&name) {
            Ok(client) => println!("{name} speaks MCP {}", client.protocol_version()),
            Err(_) => println!("{name} is not there"),
        }
    }

    for (name, report) in hub.disconnect_all() {
        println!("{name} was disconnected{}", if report.forced { " by force" } else { "" });
    }
    Ok(())
}
