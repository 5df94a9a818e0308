//! The newest `mcp` package, which speaks both eras: a server of ours, and mcp-server-time.

use std::sync::Mutex;

use umcp::protocol::Role;
use umcp::{Client, CompletionReference, ContentBlock, Era, ErrorKind, LoggingLevel, Server, json};

use crate::{ends_by_itself, names, python, sees_a_cancellation, server, time};

fn python_works_over_stdio(server: Server, era: Era) {
    let client = Client::open(server).unwrap();
    python_works(&client, era);
    sees_a_cancellation(&client);
    ends_by_itself(&client);
}

/// Over whatever the client has been opened.
pub(crate) fn python_works(client: &Client, era: Era) {
    assert_eq!(client.protocol_version().era(), era);
    assert_eq!(client.server_info().unwrap().name, "interop-python");
    assert_eq!(client.instructions(), Some("Add numbers, or count."));
    client.ping().unwrap();

    let tools = names(client.list_tools().unwrap(), |tool| tool.name);
    let asking = ["ask", "sample", "roots"];
    let others = ["add", "echo", "fail", "count", "wait", "waited"];
    assert_eq!(tools, [&others[..], &asking, &["grow", "picture"]].concat());
    let sum = client.call_tool("add", json!({ "a": 2, "b": 3 })).unwrap().into_result().unwrap();
    assert_eq!(sum.text(), "5");
    assert_eq!(sum.structured::<serde_json::Value>().unwrap(), json!({ "result": 5 }));
    let picture = client.call_tool("picture", json!({})).unwrap();
    assert!(
        matches!(&picture.content[0], ContentBlock::Image(image) if image.mime_type == "image/png")
    );
    let error = client.call_tool("fail", json!({})).unwrap().into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);

    let heard = Mutex::new(Vec::new());
    let count = client.tool("count").arg("steps", 20).log_level(LoggingLevel::Info);
    let counted = count
        .on_progress(|progress| heard.lock().unwrap().push(progress.progress.to_string()))
        .on_log(|log| heard.lock().unwrap().push(log.data.to_string()))
        .call();
    assert_eq!(counted.unwrap().text(), "counted to 20");
    let expected = (1..=20).flat_map(|step| [format!("\"step {step}\""), step.to_string()]);
    assert_eq!(*heard.lock().unwrap(), expected.collect::<Vec<_>>());

    let resources = names(client.list_resources().unwrap(), |resource| resource.uri);
    assert_eq!(resources, ["memo://hello", "memo://pixel"]);
    let templates =
        names(client.list_resource_templates().unwrap(), |template| template.uri_template);
    assert_eq!(templates, ["memo://square/{n}"]);
    let read = client.read_resources(["memo://hello", "memo://square/12", "memo://nope"]);
    let text = |at: usize| read[at].as_ref().unwrap().contents[0].as_text().unwrap().to_owned();
    assert_eq!((text(0), text(1)), ("Hello from Python.".to_owned(), "144".to_owned()));
    assert_eq!(read[2].as_ref().unwrap_err().kind(), ErrorKind::Rpc);

    let prompt = client.get_prompt("greeting", [("name", "Bo")]).unwrap();
    assert_eq!(prompt.messages[0].role, Role::User);
    assert_eq!(prompt.messages[0].content.as_text(), Some("Please greet Bo."));
    let names = client.complete(CompletionReference::prompt("greeting"), "name", "A").unwrap();
    assert_eq!(names.values, ["Ada", "Alan"]);

    let error = client.request("no/such-method", ()).call().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32601);
}

#[test]
fn python_works_in_the_era_it_prefers() {
    python_works_over_stdio(server(&python()), Era::Modern);
}

#[test]
fn python_works_in_the_legacy_era() {
    python_works_over_stdio(server(&python()).era(Era::Legacy), Era::Legacy);
}

fn time_works(server: Server, era: Era) {
    let client = Client::open(server).unwrap();
    assert_eq!(client.protocol_version().era(), era);
    assert_eq!(client.server_info().unwrap().name, "mcp-time");
    let tools = names(client.list_tools().unwrap(), |tool| tool.name);
    assert_eq!(tools, ["get_current_time", "convert_time"]);

    let now = client.tool("get_current_time").arg("timezone", "UTC").call().unwrap();
    let now: serde_json::Value = now.into_result().unwrap().structured().unwrap();
    assert_eq!(now["timezone"], "UTC");
    assert!(now["datetime"].as_str().unwrap().ends_with("+00:00"), "{now}");
    let arguments =
        json!({ "source_timezone": "Asia/Tokyo", "time": "16:30", "target_timezone": "UTC" });
    let converted = client.call_tool("convert_time", arguments).unwrap().into_result().unwrap();
    let said: serde_json::Value = serde_json::from_str(&converted.text()).unwrap();
    let converted: serde_json::Value = converted.structured().unwrap();
    assert_eq!(converted, said);
    assert!(converted["target"]["datetime"].as_str().unwrap().ends_with("T07:30:00+00:00"));
    assert_eq!(converted["time_difference"], "-9.0h");

    for arguments in [json!({ "timezone": "Mars/Olympus" }), json!({})] {
        let failed = client.call_tool("get_current_time", arguments).unwrap();
        assert_eq!(failed.into_result().unwrap_err().kind(), ErrorKind::Tool);
    }
    assert!(client.list_resources().unwrap().is_empty());
    assert!(client.list_prompts().unwrap().is_empty());
    let error = client.request("no/such-method", ()).call().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32601);
    ends_by_itself(&client);
}

#[test]
fn time_works_in_the_era_it_prefers() {
    time_works(server(&time()), Era::Modern);
}

#[test]
fn time_works_in_the_legacy_era() {
    time_works(server(&time()).era(Era::Legacy), Era::Legacy);
}
