//! Asks again after failures that may pass, and says each time why.
//!
//! ```text
//! cargo run --example retry_calls
//! cargo run --example retry_calls -- npx -y @modelcontextprotocol/server-everything
//! ```

mod support;

use std::time::Duration;

use serde_json::Value;
use umcp::{Client, EventKind, Result, Retry, Tool, json};

fn main() -> Result<()> {
    env_logger::init();
    // What only asks is asked again when the connection broke or the server could not answer just
    // then. A tool is called again only if the server turned the call away, so that nothing is done
    // twice.
    let client = Client::builder()
        .retry(Retry::new())
        .on(EventKind::Retried, |event| eprintln!("{event}"))
        .open(support::server())?;
    let tools = client.list_tools()?;
    println!("{} tools", tools.len());

    // Who knows that a tool does no harm when it runs twice can have it called again when it reports
    // that it failed. The waits between the attempts are random, and up to twice as long each time.
    let again = Retry::new()
        .attempts(3)
        .backoff(Duration::from_millis(100), Duration::from_secs(2))
        .tool_errors();
    let needs_none = |tool: &&Tool| {
        let schema = tool.input_schema.to_value().unwrap_or_default();
        schema.get("required").and_then(Value::as_array).is_none_or(Vec::is_empty)
    };
    for tool in tools.iter().filter(needs_none).take(3) {
        let call = client.tool(&tool.name).args(json!({})).retry(again.clone());
        // All attempts together have this long.
        match call.timeout(Duration::from_secs(30)).call() {
            Ok(result) if result.is_error => println!("{} failed every time", tool.name),
            Ok(_) => println!("{} worked", tool.name),
            Err(error) => println!("{error}"),
        }
    }
    client.close();
    Ok(())
}
