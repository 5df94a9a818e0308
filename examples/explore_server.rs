//! Shows everything a server says about itself and offers.
//!
//! ```text
//! cargo run --example explore_server
//! cargo run --example explore_server -- npx -y @modelcontextprotocol/server-everything
//! cargo run --example explore_server -- http://localhost:3001/mcp
//! ```

mod support;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use umcp::{Client, Tool};

fn main() -> umcp::Result<()> {
    env_logger::init();
    let client = Client::builder().client_info("explore_server", "1.0").open(support::server())?;

    if let Some(info) = client.server_info() {
        println!("{} {}", info.title.as_ref().unwrap_or(&info.name), info.version);
    }
    let version = client.protocol_version();
    println!("speaks MCP {version}, {} era", version.era());
    println!("instructions: {}", client.instructions().unwrap_or("none"));

    let offers = client.capabilities();
    if offers.tools.is_some() {
        println!("\ntools:");
        for tool in client.tools() {
            let tool = tool?; // pages are fetched as the loop gets there
            println!("  {}{}", tool.name, arguments(&tool));
            println!("      {}{}", tool.description.as_deref().unwrap_or("-"), hints(&tool));
        }
    }
    if offers.resources.is_some() {
        for (number, page) in (1..).zip(client.resources().pages()) {
            println!("\nresources, page {number}:");
            for resource in page?.items {
                let kind = resource.mime_type.as_deref().unwrap_or("unknown type");
                println!("  {} ({kind})", resource.uri);
            }
        }
        println!("\nresource templates:");
        for template in client.list_resource_templates()? {
            println!("  {} ({})", template.uri_template, template.name);
        }
    }
    if offers.prompts.is_some() {
        println!("\nprompts:");
        for prompt in client.list_prompts()? {
            println!("  {}: {}", prompt.name, prompt.description.as_deref().unwrap_or("-"));
            for argument in &prompt.arguments {
                let need = if argument.required { "required" } else { "optional" };
                println!("      {} ({need})", argument.name);
            }
        }
    }
    println!("\ncompletes arguments: {}", offers.completions.is_some());
    println!("sends log messages: {}", offers.logging.is_some());
    Ok(())
}

/// The arguments as `(a: number, b?: string)`, after the tool's JSON Schema.
fn arguments(tool: &Tool) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Schema {
        properties: BTreeMap<String, Value>,
        required: Vec<String>,
    }
    let schema: Schema = tool.input_schema.parse().unwrap_or_default();
    let arguments = schema.properties.iter().map(|(name, property)| {
        let kind = property.get("type").and_then(Value::as_str).unwrap_or("any");
        let mark = if schema.required.contains(name) { "" } else { "?" };
        format!("{name}{mark}: {kind}")
    });
    format!("({})", arguments.collect::<Vec<_>>().join(", "))
}

/// What the server says about the tool's behaviour. Nobody has checked it.
fn hints(tool: &Tool) -> &'static str {
    match &tool.annotations {
        Some(hints) if hints.is_read_only() => " [changes nothing]",
        Some(hints) if hints.is_destructive() => " [may destroy]",
        Some(_) => " [only adds]",
        None => "",
    }
}
