//! server-everything: the reference server of the protocol's authors, on the first version of their
//! TypeScript SDK.

use std::sync::Mutex;

use umcp::{Client, CompletionReference, ContentBlock, Era, ErrorKind, json};

use crate::{ends_by_itself, everything, names, server};

#[test]
fn everything_is_legacy_and_works() {
    let client = Client::open(server(&everything())).unwrap();
    everything_works(&client);
    ends_by_itself(&client);
}

/// Over whatever the client has been opened.
pub(crate) fn everything_works(client: &Client) {
    assert_eq!(client.protocol_version().era(), Era::Legacy);
    assert_eq!(client.server_info().unwrap().name, "mcp-servers/everything");
    assert!(client.instructions().unwrap().contains("Everything"));
    client.ping().unwrap();

    let tools = names(client.list_tools().unwrap(), |tool| tool.name);
    assert!(tools.contains(&"get-sum".to_owned()), "{tools:?}");
    let sum = client.call_tool("get-sum", json!({ "a": 2, "b": 3 })).unwrap();
    assert_eq!(sum.into_result().unwrap().text(), "The sum of 2 and 3 is 5.");
    let weather = client.tool("get-structured-content").arg("location", "New York").call().unwrap();
    let weather: serde_json::Value = weather.structured().unwrap();
    assert!(weather["temperature"].is_number());
    let image = client.call_tool("get-tiny-image", json!({})).unwrap();
    let ContentBlock::Image(image) = &image.content[1] else { panic!("{image:?}") };
    assert!(image.decode().unwrap().starts_with(b"\x89PNG"));

    let steps = Mutex::new(Vec::new());
    let done = client
        .tool("trigger-long-running-operation")
        .args(json!({ "duration": 0.2, "steps": 3 }))
        .on_progress(|p| steps.lock().unwrap().push((p.progress, p.total)))
        .call()
        .unwrap();
    assert!(done.text().contains("completed"));
    let total = Some(3.0);
    assert_eq!(*steps.lock().unwrap(), [(1.0, total), (2.0, total), (3.0, total)]);

    let resources = client.list_resources().unwrap();
    assert!(!resources.is_empty());
    let read = client.read_resources(resources.iter().map(|resource| &resource.uri));
    assert_eq!(read.len(), resources.len());
    assert!(read.iter().all(Result::is_ok));
    let text = client.read_resource("demo://resource/dynamic/text/7").unwrap();
    assert!(text.contents[0].as_text().unwrap().starts_with("Resource 7"));
    assert!(client.read_resource("demo://nope").unwrap_err().is_not_found());
    assert_eq!(client.list_resource_templates().unwrap().len(), 2);

    let prompts = names(client.list_prompts().unwrap(), |prompt| prompt.name);
    assert!(prompts.contains(&"args-prompt".to_owned()), "{prompts:?}");
    let prompt = client.get_prompt("args-prompt", [("city", "Rome"), ("state", "Lazio")]).unwrap();
    assert_eq!(prompt.messages[0].content.as_text(), Some("What's weather in Rome, Lazio?"));
    let error = client.prompt("nope").call().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32602);

    let department = CompletionReference::prompt("completable-prompt");
    assert_eq!(
        client.complete(department.clone(), "department", "E").unwrap().values,
        ["Engineering"]
    );
    let completion = client.completion(department, "name", "").chosen("department", "Engineering");
    assert!(!completion.call().unwrap().completion.values.is_empty());

    let failed = client.call_tool("nope", json!({})).unwrap();
    assert_eq!(failed.into_result().unwrap_err().kind(), ErrorKind::Tool);
}
