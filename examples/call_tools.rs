//! Calls tools: content of every kind, failures, progress, a timeout, several at once.
//!
//! ```text
//! cargo run --example call_tools
//! cargo run --example call_tools -- npx -y @modelcontextprotocol/server-everything
//! ```
//!
//! What needs a tool that the server does not have is left out.

mod support;

use std::time::Duration;

use serde::Deserialize;
use umcp::{Client, ContentBlock, ResourceContents, Result, json};

fn main() -> Result<()> {
    env_logger::init();
    let client = Client::open(support::server())?;
    let tools = client.list_tools()?;
    let has = |name: &str| tools.iter().any(|tool| tool.name == name);

    if has("contents") {
        for block in client.call_tool("contents", ())?.into_result()?.content {
            print(&block);
        }
    }
    if has("add") {
        #[derive(Deserialize)]
        struct Sum {
            sum: f64,
        }
        let result = client.call_tool("add", json!({ "a": 2, "b": 3 }))?.into_result()?;
        match result.structured::<Sum>() {
            Ok(structured) => println!("2 + 3 = {}, as text: {}", structured.sum, result.text()),
            Err(error) => println!("{error}"), // another server's tool of that name
        }
    }
    if has("fail") {
        let result = client.call_tool("fail", ())?; // no error: the tool ran and reports a failure
        println!("is_error is {}: {}", result.is_error, result.text());
        if let Err(error) = result.into_result() {
            println!("the same as an error of kind {:?}: {error}", error.kind());
        }
    }
    if has("countdown") {
        let mut steps = Vec::new();
        let call = client.tool("countdown").arg("steps", 3);
        let result = call.on_progress(|step| steps.push(step.progress)).call()?.into_result()?;
        println!("{}, with progress {steps:?}", result.text());
    }
    if has("slow") {
        let call = client.tool("slow").arg("seconds", 30).timeout(Duration::from_millis(300));
        match call.call() {
            Err(error) if error.is_timeout() => println!("{error}"),
            result => println!("{}", result?.into_result()?.text()),
        }
    }
    if has("echo") {
        let start = |word| client.tool("echo").arg("message", word).start();
        for pending in ["one", "two", "three"].map(start) {
            println!("{}", pending?.wait()?.into_result()?.text());
        }
    }
    Ok(())
}

fn print(block: &ContentBlock) {
    match block {
        ContentBlock::Text(text) => println!("text: {}", text.text),
        ContentBlock::Image(image) => println!("{}: {}", image.mime_type, size(image.decode())),
        ContentBlock::Audio(audio) => println!("{}: {}", audio.mime_type, size(audio.decode())),
        ContentBlock::ResourceLink(link) => println!("link to {}", link.uri),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::Text(text) => println!("{}: {:?}", text.uri, text.text),
            ResourceContents::Blob(blob) => println!("{}: {}", blob.uri, size(blob.decode())),
            other => println!("{other:?}"),
        },
        other => println!("{other:?}"), // of a newer revision; shows its size, no contents
    }
}

fn size(bytes: umcp::Result<Vec<u8>>) -> String {
    match bytes {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(error) => error.to_string(),
    }
}
