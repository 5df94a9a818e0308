//! A server that asks its user: the form is filled in on the terminal.
//!
//! ```text
//! cargo run --example elicitation
//! cargo run --example elicitation -- npx -y @modelcontextprotocol/server-everything
//! ```
//!
//! Without a terminal the questions are answered with their defaults, or declined.

mod support;

use std::io::{self, BufRead, IsTerminal, Write};

use umcp::protocol::{ElicitFormParams, ElicitResult, PrimitiveSchema};
use umcp::{Client, Result, json};

fn main() -> Result<()> {
    env_logger::init();
    let client = Client::builder()
        .on_elicitation(|form, context| {
            eprintln!("{} asks: {}", context.client().server_name(), form.message);
            fill_in(form).unwrap_or_else(|_| ElicitResult::cancel())
        })
        .open(support::server())?;

    // The tools that ask, of the server here and of server-everything.
    for tool in client.list_tools()? {
        let arguments = match tool.name.as_str() {
            "ask" => json!({ "question": "What is your name?" }),
            "trigger-elicitation-request" => json!({}),
            _ => continue,
        };
        let result = client.call_tool(tool.name, arguments)?;
        println!("{}", result.text());
    }
    Ok(())
}

/// Asks for one field after the other. What is left out gets its default from the library.
fn fill_in(form: &ElicitFormParams) -> io::Result<ElicitResult> {
    let schema = &form.requested_schema;
    let has_terminal = io::stdin().is_terminal();
    let mut content = serde_json::Map::new();
    for (name, field) in &schema.properties {
        let needs_answer = schema.is_required(name) && field.default_value().is_none();
        if !has_terminal {
            match field {
                PrimitiveSchema::String(text) if needs_answer && text.choices().is_none() => {
                    content.insert(name.clone(), json!("nobody"));
                }
                _ if needs_answer => return Ok(ElicitResult::decline()),
                _ => {}
            }
            continue;
        }
        eprint!("  {}: ", field.title().unwrap_or(name));
        io::stderr().flush()?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(ElicitResult::cancel());
        }
        // Numbers and the like are JSON; anything else is text.
        let line = line.trim();
        if !line.is_empty() {
            let is_text = matches!(field, PrimitiveSchema::String(_));
            let value = if is_text { None } else { serde_json::from_str(line).ok() };
            content.insert(name.clone(), value.unwrap_or_else(|| json!(line)));
        }
    }
    Ok(ElicitResult::accept(content))
}
