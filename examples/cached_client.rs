//! Lists and reads with a cache: what is asked for again, and what makes it go.
//!
//! ```text
//! cargo run --example cached_client
//! cargo run --example cached_client -- npx -y @modelcontextprotocol/server-everything
//! ```

mod support;

use std::time::Duration;

use umcp::{Cache, Client, Result, json};

fn main() -> Result<()> {
    env_logger::init();
    // How long something is fresh the server says, or, if it does not, this does.
    let cache = Cache::new()
        .default_ttl(Duration::from_secs(60))
        .max_bytes(4 * 1024 * 1024)
        .stale_if_error(Duration::from_secs(600));
    let client = Client::builder().cache(cache).open(support::server())?;

    let has_tools = client.capabilities().tools.is_some();
    use_all(&client, "at first")?;
    use_all(&client, "again")?;

    // A tool may have changed what can be read.
    if has_tools && let Some(tool) = client.list_tools()?.iter().find(|tool| tool.name == "echo") {
        let result = client.call_tool(&tool.name, json!({ "message": "hello" }))?;
        println!("the tool {} said {:?}", tool.name, result.text());
        use_all(&client, "after a call")?;
    }

    let dropped = client.cache().invalidate("*/list");
    println!("dropped {dropped} pages of lists");
    use_all(&client, "after that")?;

    // This one is wanted as it is now.
    if has_tools {
        println!("{} tools just now", client.tools().fresh().all()?.len());
    }
    client.cache().clear();
    println!("{:?}", client.cache().stats());
    Ok(())
}

/// Lists and reads, and says how much of it was kept.
fn use_all(client: &Client, when: &str) -> Result<()> {
    let before = client.cache().stats();
    let tools = match client.capabilities().tools {
        Some(_) => client.list_tools()?.len(),
        None => 0,
    };
    let resources = match client.capabilities().resources {
        Some(_) => client.list_resources()?,
        None => Vec::new(),
    };
    if let Some(resource) = resources.first() {
        client.read_resource(&resource.uri)?;
    }
    let stats = client.cache().stats();
    println!(
        "{when}: {tools} tools, {} resources; {} answers were kept, {} had to be asked for",
        resources.len(),
        stats.hits - before.hits,
        stats.misses - before.misses,
    );
    Ok(())
}
