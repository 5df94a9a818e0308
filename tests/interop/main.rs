//! umcp against other people's servers: `.ci/install-interop` installs them, and without them
//! these tests fail.
//!
//! ```text
//! .ci/install-interop && cargo test --features cli --test interop
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;

use umcp::protocol::Role;
use umcp::{Client, CompletionReference, ContentBlock, Era, ErrorKind, Server, json};

fn installed(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".interop").join(path);
    assert!(path.exists(), "{} is missing: run .ci/install-interop", path.display());
    path
}

/// The reference server of the protocol's authors, on their TypeScript SDK. Legacy only.
fn everything() -> Vec<String> {
    let script =
        installed("npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    vec!["node".to_owned(), script.display().to_string(), "stdio".to_owned()]
}

/// Our little server on the newest `mcp` package, which speaks both eras.
fn python() -> Vec<String> {
    let python = installed("python/bin/python").display().to_string();
    vec![python, format!("{}/tests/interop/mcp_server.py", env!("CARGO_MANIFEST_DIR"))]
}

fn server(command: &[String]) -> Server {
    Server::command(&command[0]).args(&command[1..])
}

fn names<T>(items: Vec<T>, name: impl Fn(T) -> String) -> Vec<String> {
    items.into_iter().map(name).collect()
}

#[test]
fn everything_is_legacy_and_works() {
    let client = Client::open(server(&everything())).unwrap();
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
    assert!(!client.close().forced);
}

fn python_works(server: Server, era: Era) {
    let client = Client::open(server).unwrap();
    assert_eq!(client.protocol_version().era(), era);
    assert_eq!(client.server_info().unwrap().name, "interop-python");
    assert_eq!(client.instructions(), Some("Add numbers, or count."));
    client.ping().unwrap();

    let tools = names(client.list_tools().unwrap(), |tool| tool.name);
    assert_eq!(tools, ["add", "echo", "fail", "count", "picture"]);
    let sum = client.call_tool("add", json!({ "a": 2, "b": 3 })).unwrap().into_result().unwrap();
    assert_eq!(sum.text(), "5");
    assert_eq!(sum.structured::<serde_json::Value>().unwrap(), json!({ "result": 5 }));
    let picture = client.call_tool("picture", json!({})).unwrap();
    assert!(
        matches!(&picture.content[0], ContentBlock::Image(image) if image.mime_type == "image/png")
    );
    let error = client.call_tool("fail", json!({})).unwrap().into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);

    let steps = Mutex::new(Vec::new());
    let count = client.tool("count").arg("steps", 20).on_progress(|p| {
        steps.lock().unwrap().push(p.progress);
    });
    assert_eq!(count.call().unwrap().text(), "counted to 20");
    assert_eq!(*steps.lock().unwrap(), (1..=20).map(f64::from).collect::<Vec<_>>());

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
    assert!(!client.close().forced);
}

#[test]
fn python_works_in_the_era_it_prefers() {
    python_works(server(&python()), Era::Modern);
}

#[test]
fn python_works_in_the_legacy_era() {
    python_works(server(&python()).era(Era::Legacy), Era::Legacy);
}

const EXAMPLES: [&str; 5] =
    ["basic_client", "explore_server", "call_tools", "read_resources", "use_prompts"];

fn umcp(arguments: &[&str], command: &[String]) -> Output {
    let mut umcp = Command::new(env!("CARGO_BIN_EXE_umcp"));
    umcp.args(arguments).arg("--").args(command).output().unwrap()
}

#[test]
fn the_command_works_on_both() {
    for (command, tool, sum) in
        [(everything(), "get-sum", "The sum of 2 and 3 is 5."), (python(), "add", "5")]
    {
        for verb in ["info", "tools", "resources", "templates", "prompts", "ping"] {
            let output = umcp(&[verb, "--json"], &command);
            assert!(output.status.success(), "{verb}: {output:?}");
        }
        let output = umcp(&["call", tool, "a=2", "b=3"], &command);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), sum, "{output:?}");
        let output = umcp(&["call", "no-such-tool"], &command);
        assert_eq!(output.status.code(), Some(5), "{output:?}");
    }
    let output = umcp(&["read", "memo://square/9"], &python());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "81");
    let output = umcp(&["prompt", "greeting", "name=Bo"], &python());
    assert!(String::from_utf8_lossy(&output.stdout).contains("Please greet Bo."), "{output:?}");
}

#[test]
fn the_examples_work_on_both() {
    for command in [everything(), python()] {
        for example in EXAMPLES {
            let mut path = std::env::current_exe().unwrap();
            path.pop();
            path.pop();
            path.push("examples");
            path.push(format!("{example}{}", std::env::consts::EXE_SUFFIX));
            let output = Command::new(path).args(&command).output().unwrap();
            assert!(output.status.success(), "{example}: {output:?}");
        }
    }
}
