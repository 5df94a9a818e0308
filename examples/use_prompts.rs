//! Lists prompts, lets the server propose their arguments, and prints what they become.
//!
//! ```text
//! cargo run --example use_prompts
//! cargo run --example use_prompts -- npx -y @modelcontextprotocol/server-everything
//! ```

mod support;

use umcp::{Client, CompletionReference, ContentBlock, ErrorKind, Prompt, Result};

fn main() -> Result<()> {
    env_logger::init();
    let client = Client::open(support::server())?;
    if client.capabilities().prompts.is_none() {
        println!("this server has no prompts");
        return Ok(());
    }
    for prompt in client.list_prompts()? {
        println!("{}: {}", prompt.name, prompt.description.as_deref().unwrap_or("-"));
        let arguments = arguments(&client, &prompt)?;
        for (name, value) in &arguments {
            println!("  with {name} = {value}");
        }
        match client.get_prompt(&prompt.name, arguments) {
            Ok(prompt) => {
                for message in prompt.messages {
                    println!("  {}: {}", message.role, describe(&message.content));
                }
            }
            // A value that nobody proposed need not suit the server.
            Err(error) if error.kind() == ErrorKind::Rpc => println!("  {error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A value for every argument: the first one the server proposes, if it does.
fn arguments(client: &Client, prompt: &Prompt) -> Result<Vec<(String, String)>> {
    let mut chosen: Vec<(String, String)> = Vec::new();
    for argument in &prompt.arguments {
        let mut proposed = Vec::new();
        if client.capabilities().completions.is_some() {
            let reference = CompletionReference::prompt(&prompt.name);
            let mut request = client.completion(reference, &argument.name, "");
            for (name, value) in &chosen {
                request = request.chosen(name, value); // proposals may depend on them
            }
            proposed = request.call()?.completion.values;
        }
        let value = proposed.into_iter().next().unwrap_or_else(|| "anything".to_owned());
        chosen.push((argument.name.clone(), value));
    }
    Ok(chosen)
}

fn describe(content: &ContentBlock) -> String {
    match content {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Resource(embedded) => match embedded.resource.as_text() {
            Some(text) => format!("[{}] {text}", embedded.resource.uri().unwrap_or("?")),
            None => format!("{:?}", embedded.resource),
        },
        other => format!("{other:?}"), // the kind and the sizes, no contents
    }
}
