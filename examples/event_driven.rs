//! Listens to everything that happens to a connection, while another thread calls tools.
//!
//! ```text
//! cargo run --example event_driven
//! cargo run --example event_driven -- npx -y @modelcontextprotocol/server-everything
//! ```

mod support;

use std::thread;

use serde_json::Value;
use umcp::{Client, EventKind, LoggingLevel, Result, Tool, json};

fn main() -> Result<()> {
    env_logger::init();
    // What the server logs is shown with RUST_LOG=umcp::server=info.
    let client = Client::builder()
        .forward_log()
        .on(EventKind::Connected, |event| eprintln!("{event}"))
        .open(support::server())?;

    // A function is called on a thread of the client's, for as long as its guard is there.
    let caller = client.clone();
    let guard = client.on(EventKind::ToolsChanged, move |_| match caller.list_tools() {
        Ok(tools) => eprintln!("there are {} tools now", tools.len()),
        Err(error) => eprintln!("{error}"),
    });

    // An iterator is waited for wherever you like, here while the calls go on elsewhere.
    let events = client.events();
    let worker = thread::spawn(move || {
        let outcome = work(&client);
        drop(guard);
        client.close(); // which ends the loop below
        outcome
    });
    for event in events {
        if event.missed() > 0 {
            eprintln!("{} events were dropped", event.missed());
        }
        match event.kind() {
            EventKind::ToolCalled => {
                let name = event.name().unwrap_or_default();
                let outcome = if event.is_failure() { "failed" } else { "worked" };
                println!("{name} {outcome} after {:?}", event.duration().unwrap_or_default());
            }
            // Arguments, results and what is logged are not in it: it can go into any log.
            _ => println!("{event}"),
        }
    }
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn work(client: &Client) -> Result<()> {
    if client.capabilities().logging.is_some() {
        client.set_log_level(LoggingLevel::Info)?;
    }
    // Those that need no arguments. What becomes of them is seen in the events.
    let needs_none = |tool: &&Tool| {
        let schema = tool.input_schema.to_value().unwrap_or_default();
        schema.get("required").and_then(Value::as_array).is_none_or(Vec::is_empty)
    };
    for tool in client.list_tools()?.iter().filter(needs_none).take(3) {
        let _ = client.call_tool(&tool.name, json!({}));
    }
    Ok(())
}
