//! The second version of the TypeScript SDK, `@modelcontextprotocol/server`, which speaks both eras.

use std::sync::Mutex;

use umcp::{
    Client, CompletionReference, Era, ErrorKind, LoggingLevel, ProtocolVersion, Role, Server, json,
};

use crate::{ends_by_itself, names, node, sees_a_cancellation, server};

const TOOLS: [&str; 10] =
    ["add", "fail", "count", "wait", "waited", "session", "grow", "ask", "sample", "roots"];

fn node_works_over_stdio(server: Server, version: ProtocolVersion) {
    let client = Client::open(server).unwrap();
    node_works(&client, version);
    sees_a_cancellation(&client);
    ends_by_itself(&client);
}

/// Over whatever the client has been opened.
pub(crate) fn node_works(client: &Client, version: ProtocolVersion) {
    assert_eq!(client.protocol_version(), version);
    let info = client.server_info().unwrap();
    assert_eq!((info.name.as_str(), info.version.as_str()), ("interop-node", "1.0.0"));
    assert_eq!(client.instructions(), Some("Add numbers, or count."));
    client.ping().unwrap();

    let tools = client.list_tools().unwrap();
    let schema = serde_json::to_value(&tools[0].output_schema).unwrap();
    assert_eq!(schema["properties"]["sum"]["type"], "number");
    assert_eq!(names(tools, |tool| tool.name), TOOLS);
    let sum = client.call_tool("add", json!({ "a": 2, "b": 3 })).unwrap().into_result().unwrap();
    assert_eq!(sum.text(), "5");
    assert_eq!(sum.structured::<serde_json::Value>().unwrap(), json!({ "sum": 5 }));
    for (tool, arguments) in [("fail", json!({})), ("add", json!({ "a": "two" }))] {
        let failed = client.call_tool(tool, arguments).unwrap();
        assert_eq!(failed.into_result().unwrap_err().kind(), ErrorKind::Tool);
    }

    let resources = names(client.list_resources().unwrap(), |resource| resource.uri);
    assert_eq!(resources, ["memo://hello"]);
    assert_eq!(client.list_resource_templates().unwrap()[0].uri_template, "memo://square/{n}");
    let read = client.read_resources(["memo://hello", "memo://square/12", "memo://nope"]);
    let text = |at: usize| read[at].as_ref().unwrap().contents[0].as_text().unwrap().to_owned();
    assert_eq!((text(0), text(1)), ("Hello from Node.".to_owned(), "144".to_owned()));
    assert!(read[2].as_ref().unwrap_err().is_not_found(), "{:?}", read[2]);

    let prompt = client.get_prompt("greeting", [("name", "Bo")]).unwrap();
    assert_eq!(prompt.messages[0].role, Role::User);
    assert_eq!(prompt.messages[0].content.as_text(), Some("Please greet Bo."));
    let error = client.prompt("nope").call().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32602);
    let names = client.complete(CompletionReference::prompt("greeting"), "name", "A").unwrap();
    assert_eq!(names.values, ["Ada", "Alan"]);

    let error = client.request("no/such-method", ()).call().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32601);
}

#[test]
fn node_works_in_the_era_it_prefers() {
    node_works_over_stdio(server(&node()), ProtocolVersion::V2026_07_28);
}

#[test]
fn node_works_in_every_legacy_version() {
    for &version in ProtocolVersion::ALL {
        if version.era() == Era::Legacy {
            node_works_over_stdio(server(&node()).version(version), version);
        }
    }
}

/// Counts to three. Returns the progress and the log messages, in the order they came in.
pub(crate) fn count(client: &Client, level: Option<LoggingLevel>) -> Vec<String> {
    let heard = Mutex::new(Vec::new());
    let mut count = client
        .tool("count")
        .arg("steps", 3)
        .on_progress(|progress| {
            let message = progress.message.as_deref().unwrap();
            let total = progress.total.unwrap();
            heard.lock().unwrap().push(format!("{}/{total} {message}", progress.progress));
        })
        .on_log(|log| {
            let logger = log.logger.as_deref().unwrap();
            heard.lock().unwrap().push(format!("{logger} {}: {}", log.level, log.data));
        });
    if let Some(level) = level {
        count = count.log_level(level);
    }
    assert_eq!(count.call().unwrap().text(), "counted to 3");
    heard.into_inner().unwrap()
}

const QUIET: [&str; 3] = ["1/3 step 1", "2/3 step 2", "3/3 step 3"];
pub(crate) const WARNINGS: [&str; 4] =
    ["1/3 step 1", "2/3 step 2", "counter warning: \"step 3\"", "3/3 step 3"];
pub(crate) const ALL: [&str; 6] = [
    "counter info: \"step 1\"",
    "1/3 step 1",
    "counter info: \"step 2\"",
    "2/3 step 2",
    "counter warning: \"step 3\"",
    "3/3 step 3",
];

#[test]
fn progress_and_the_log_come_with_the_request_that_asks_for_them() {
    let client = Client::open(server(&node())).unwrap();
    assert_eq!(count(&client, Some(LoggingLevel::Warning)), WARNINGS);
    assert_eq!(count(&client, Some(LoggingLevel::Debug)), ALL);
    assert_eq!(count(&client, None), QUIET);
    client.set_log_level(LoggingLevel::Info).unwrap();
    assert_eq!(count(&client, None), ALL);
    assert_eq!(count(&client, Some(LoggingLevel::Error)), QUIET);
}

#[test]
fn a_legacy_connection_has_one_level_for_its_log() {
    let client = Client::open(server(&node()).era(Era::Legacy)).unwrap();
    client.set_log_level(LoggingLevel::Warning).unwrap();
    assert_eq!(count(&client, None), WARNINGS);
    client.set_log_level(LoggingLevel::Info).unwrap();
    assert_eq!(count(&client, None), ALL);
}
