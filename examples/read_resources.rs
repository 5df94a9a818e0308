//! Reads resources: one, one from a template, all of them at once, and one that is missing.
//!
//! ```text
//! cargo run --example read_resources
//! cargo run --example read_resources -- npx -y @modelcontextprotocol/server-everything
//! ```

mod support;

use umcp::{Client, CompletionReference, ReadResourceResult, ResourceContents, Result};

fn main() -> Result<()> {
    env_logger::init();
    let client = Client::open(support::server())?;
    if client.capabilities().resources.is_none() {
        println!("this server has no resources");
        return Ok(());
    }

    let resources = client.list_resources()?;
    if let Some(resource) = resources.first() {
        print(&client.read_resource(&resource.uri)?);
    }

    for template in client.list_resource_templates()? {
        match fill_in(&client, &template.uri_template)? {
            Some(uri) => print(&client.read_resource(uri)?),
            None => println!("no idea how to fill in {}", template.uri_template),
        }
    }

    let results = client.read_resources(resources.iter().map(|resource| &resource.uri));
    let failed = results.iter().filter(|result| result.is_err()).count();
    println!("read {} at once, of which {failed} failed", results.len());

    match client.read_resource("umcp-example://no/such/resource") {
        Ok(result) => print(&result),
        Err(error) if error.is_not_found() => println!("there is no such resource"),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Several contents can come back, of other URIs than the one that was read.
fn print(result: &ReadResourceResult) {
    for contents in &result.contents {
        let uri = contents.uri().unwrap_or("?");
        match contents {
            ResourceContents::Text(text) => println!("{uri}: {:?}", text.text),
            ResourceContents::Blob(blob) => match blob.decode() {
                Ok(bytes) => println!("{uri}: {} bytes", bytes.len()),
                Err(error) => println!("{uri}: {error}"),
            },
            other => println!("{uri}: {other:?}"),
        }
    }
}

/// Fills in a template with one plain `{variable}`, with what the server proposes for "2".
fn fill_in(client: &Client, template: &str) -> Result<Option<String>> {
    let parts = template.split_once('{').and_then(|(before, rest)| {
        let (variable, after) = rest.split_once('}')?;
        (!after.contains('{')).then_some((before, variable, after))
    });
    let Some((before, variable, after)) = parts else { return Ok(None) };
    if client.capabilities().completions.is_none() {
        return Ok(None);
    }
    let proposed = client.complete(CompletionReference::resource(template), variable, "2")?;
    Ok(proposed.values.first().map(|value| format!("{before}{value}{after}")))
}
