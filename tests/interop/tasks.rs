//! Tasks of other people's servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use umcp::protocol::{ElicitResult, TaskStatus};
use umcp::{Client, Era, ErrorKind, TaskOrResult, json};

use crate::{ends_by_itself, everything, installed, script, server};

const RESEARCH: &str = "simulate-research-query";

/// Tasks of 2025-11-25, of the first version of the TypeScript SDK. The tool is called as a task or not
/// at all, and asks while its result is waited for.
#[test]
fn everything_does_research_in_a_task() {
    let is_asked = Arc::new(AtomicUsize::new(0));
    let count = is_asked.clone();
    let client = Client::builder()
        .tasks()
        .on_elicitation(move |form, _| {
            assert!(form.message.contains("multiple interpretations"), "{}", form.message);
            count.fetch_add(1, Ordering::Relaxed);
            ElicitResult::decline()
        })
        .open(server(&everything()))
        .unwrap();
    let research = |topic| client.tool(RESEARCH).arg("topic", topic);

    let TaskOrResult::Task(task) = research("a").arg("ambiguous", true).start_task().unwrap()
    else {
        panic!("it is a task")
    };
    let mut again = client.task(task.id()).unwrap();
    assert_eq!(again.get().unwrap().task.status, TaskStatus::Working);
    assert!(again.wait().unwrap().text().contains("User declined"));
    assert_eq!(is_asked.load(Ordering::Relaxed), 1);

    let TaskOrResult::Task(mut task) = research("b").start_task().unwrap() else {
        panic!("a task")
    };
    task.cancel().unwrap();
    assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(task.cancel().is_err());

    // What has to be a task is known from the list, and is followed to its end then.
    let result = client.call_tool(RESEARCH, json!({ "topic": "c" })).unwrap();
    assert!(result.text().contains("Research Report: c"));
    // Its clocks for the tasks that are kept go on: it has to be told to end.
    assert!(!client.close().left_behind);
}

/// Tasks of the extension, on what the newest `mcp` has for those who write extensions.
#[test]
fn a_python_server_s_extension_makes_tasks() {
    makes_tasks(&[installed("python/bin/python"), script("tasks_server.py")]);
}

/// The same on the package of the TypeScript SDK for servers, which has no tasks of its own.
#[test]
fn a_node_server_s_methods_make_tasks() {
    makes_tasks(&["node".into(), script("node_tasks_server.cjs"), installed("npm")]);
}

fn makes_tasks(command: &[String]) {
    let builder = Client::builder().tasks().on_elicitation(|form, _| {
        assert_eq!(form.message, "Which title?");
        ElicitResult::accept([("title".to_owned(), json!("Q3"))].into_iter().collect())
    });
    let client = builder.open(server(command)).unwrap();
    assert_eq!(client.protocol_version().era(), Era::Modern);
    assert_eq!(client.extension("io.modelcontextprotocol/tasks"), Some(&json!({})));
    assert_eq!(client.call_tool("report", ()).unwrap().text(), "Q3 is ready");
    assert_eq!(client.call_tool("echo", json!({ "message": "m" })).unwrap().text(), "m");

    let TaskOrResult::Task(task) = client.tool("report").start_task().unwrap() else { panic!() };
    let mut task = client.task(task.id()).unwrap();
    task.cancel().unwrap();
    assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    let error = client.task("nope").unwrap().get().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32602);
    ends_by_itself(&client);
}
