//! `mcp` 1.6: it falls silent at the first message that it does not know, and dies at the next one.
//! Nor does it end when its stdin does.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use umcp::{Client, CompletionReference, Era, ErrorKind, ProtocolVersion, Server, Timeouts, json};

use crate::{Directory, names, old_python, server};

/// How often the server has been started.
fn starts(directory: &Directory) -> usize {
    fs::read_to_string(directory.path("starts")).unwrap().lines().count()
}

/// Not worth the default, as it ignores the end of its stdin.
fn impatient() -> Timeouts {
    Timeouts::default().close_grace(Duration::from_millis(200))
}

fn old(directory: &Directory) -> Server {
    server(&old_python(directory)).timeouts(impatient())
}

fn is_told_to_end(client: &Client) {
    let report = client.close();
    assert!(report.forced && !report.left_behind, "{report:?}");
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        const SIGTERM: i32 = 15;
        assert_eq!(report.exit_status.unwrap().signal(), Some(SIGTERM));
    }
}

#[test]
fn a_server_that_dies_of_the_probe_is_started_again() {
    let directory = Directory::new("old-again");
    let started = Instant::now();
    let client = Client::open(old(&directory)).unwrap();
    // 1.5 s when measured: a second until the ping, and two starts.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(starts(&directory), 2);
    assert_eq!(client.protocol_version(), ProtocolVersion::V2024_11_05);
    let info = client.server_info().unwrap();
    assert_eq!((info.name.as_str(), info.version.as_str()), ("interop-old-python", "1.6.0"));
    assert_eq!(client.instructions(), Some("Add numbers, or count."));
    client.ping().unwrap();

    let tools = names(client.list_tools().unwrap(), |tool| tool.name);
    assert_eq!(tools, ["add", "fail", "count"]);
    let sum = client.call_tool("add", json!({ "a": 2, "b": 3 })).unwrap().into_result().unwrap();
    assert_eq!(sum.text(), "5");
    for tool in ["fail", "nope"] {
        let failed = client.call_tool(tool, json!({})).unwrap();
        assert_eq!(failed.into_result().unwrap_err().kind(), ErrorKind::Tool);
    }

    let heard = Mutex::new(Vec::new());
    let counted = client
        .tool("count")
        .arg("steps", 3)
        .on_progress(|progress| heard.lock().unwrap().push(progress.progress.to_string()))
        .on_log(|log| heard.lock().unwrap().push(log.data.to_string()))
        .call();
    assert_eq!(counted.unwrap().text(), "counted to 3");
    let expected = ["\"step 1\"", "1", "\"step 2\"", "2", "\"step 3\"", "3"];
    assert_eq!(*heard.lock().unwrap(), expected);

    let resources = names(client.list_resources().unwrap(), |resource| resource.uri);
    assert_eq!(resources, ["memo://hello"]);
    assert_eq!(client.list_resource_templates().unwrap()[0].uri_template, "memo://square/{n}");
    let read = client.read_resources(["memo://hello", "memo://square/12", "memo://nope"]);
    let text = |at: usize| read[at].as_ref().unwrap().contents[0].as_text().unwrap().to_owned();
    assert_eq!((text(0), text(1)), ("Hello from old Python.".to_owned(), "144".to_owned()));
    assert_eq!(read[2].as_ref().unwrap_err().rpc().unwrap().code, 0);
    let prompt = client.get_prompt("greeting", [("name", "Bo")]).unwrap();
    assert_eq!(prompt.messages[0].content.as_text(), Some("Please greet Bo."));

    let error = client.complete(CompletionReference::prompt("greeting"), "name", "A").unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32601);
    assert_eq!(starts(&directory), 2);
    is_told_to_end(&client);
}

#[test]
fn a_server_that_is_silent_at_the_probe_and_dies_of_initialize_is_started_again() {
    let directory = Directory::new("old-initialize");
    // Less than it takes to be sent the ping.
    let timeouts = impatient().patience(Duration::from_millis(200));
    let client = Client::open(old(&directory).timeouts(timeouts)).unwrap();
    assert_eq!(client.protocol_version().era(), Era::Legacy);
    assert_eq!(starts(&directory), 2);
    is_told_to_end(&client);
}

#[test]
fn a_server_whose_era_is_known_is_started_once() {
    let directory = Directory::new("old-pinned");
    let client = Client::open(old(&directory).era(Era::Legacy)).unwrap();
    assert_eq!(client.protocol_version(), ProtocolVersion::V2024_11_05);
    assert_eq!(starts(&directory), 1);
    is_told_to_end(&client);
}

#[test]
fn a_silent_server_is_not_modern() {
    let directory = Directory::new("old-modern");
    let patience = impatient().patience(Duration::from_millis(200));
    let server = old(&directory).timeouts(patience).era(Era::Modern);
    let error = Client::open(server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("does not speak 2026-07-28"), "{error}");
}

#[test]
fn an_unknown_method_is_its_end_and_every_call_returns() {
    let directory = Directory::new("old-unknown");
    let client = Client::open(old(&directory).era(Era::Legacy)).unwrap();
    let unknown = client.request("no/such-method", ()).timeout(Duration::from_millis(200));
    assert_eq!(unknown.call().unwrap_err().kind(), ErrorKind::Timeout);
    let error = client.ping().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    assert!(error.to_string().contains("the end of its stderr"), "{error}");
    assert_eq!(starts(&directory), 1);
}
