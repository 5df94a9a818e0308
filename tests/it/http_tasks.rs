//! Tasks over Streamable HTTP: what the headers say, questions that fail, and leaving a call.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use umcp::protocol::ElicitResult;
use umcp::{CancelToken, Client, ErrorKind, Server};

use crate::calls::said;
use crate::common::soon;
use crate::http_peer::{Answer, Endpoint, Post, answer, http};
use crate::stdio::discovered;
use crate::support::http::{self as example_http, Mode, Options};
use crate::tasks::a_report;

/// No header can hold it as it is.
const ID: &str = "täsk 1";
const ENCODED: &str = "=?base64?dMOkc2sgMQ==?=";
const EXTENSION: &str = "io.modelcontextprotocol/tasks";

fn task(status: &str, more: (&str, Value)) -> Value {
    let mut task = json!({ "taskId": ID, "status": status, "createdAt": "", "lastUpdatedAt": "",
        "ttlMs": null, "pollIntervalMs": 1 });
    task[more.0] = more.1;
    task
}

/// A server whose calls become a task, and that does as a function says with the questions about it,
/// counted from 0.
fn endpoint(get: impl Fn(&Post, usize) -> Answer + Send + Sync + 'static) -> Endpoint {
    let count = AtomicUsize::new(0);
    Endpoint::bare(move |post| match post.what() {
        "server/discover" => {
            answer(post, &discovered(&json!({ "tools": {}, "extensions": { EXTENSION: {} } })))
        }
        "tools/call" => answer(post, &task("working", ("resultType", json!("task")))),
        "tasks/get" => get(post, count.fetch_add(1, Ordering::Relaxed)),
        _ => answer(post, &json!({ "resultType": "complete" })),
    })
}

fn done(post: &Post) -> Answer {
    answer(post, &task("completed", ("result", said("done"))))
}

// TASK-1, TASK-31
#[test]
fn what_is_asked_about_a_task_names_it_in_a_header() {
    soon(|| {
        let endpoint = endpoint(|post, count| match count {
            0 => {
                let params = json!({ "message": "m", "requestedSchema":
                    { "type": "object", "properties": {} } });
                let question = json!({ "a": { "method": "elicitation/create", "params": params } });
                answer(post, &task("input_required", ("inputRequests", question)))
            }
            _ => done(post),
        });
        let builder = Client::builder().tasks().on_elicitation(|_, _| ElicitResult::decline());
        let client = builder.open(endpoint.server()).unwrap();
        assert_eq!(client.call_tool("report", ()).unwrap().text(), "done");
        client.task(ID).unwrap().cancel().unwrap();
        client.close();
        for method in ["tools/call", "tasks/get", "tasks/update", "tasks/get", "tasks/cancel"] {
            let post = endpoint.next(method);
            let name = if method == "tools/call" { "report" } else { ENCODED };
            assert_eq!(post.header("mcp-name"), Some(name), "{method}");
            assert_eq!(post.header("mcp-method"), Some(method));
            let capabilities =
                &post.body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
            assert_eq!(capabilities["extensions"], json!({ EXTENSION: {} }), "{method}");
        }
    });
}

// TASK-12
#[test]
fn a_question_about_a_task_that_fails_is_asked_again() {
    soon(|| {
        let endpoint = endpoint(|post, count| match count {
            0 => http(429, "Retry-After: 0\r\n", ""),
            1 => http(503, "", ""),
            2 | 3 => Answer::Close,
            _ => done(post),
        });
        let client = Client::builder().tasks().open(endpoint.server()).unwrap();
        assert_eq!(client.call_tool("report", ()).unwrap().text(), "done");
        client.close();
        let seen = endpoint.seen();
        assert!(!seen.iter().any(|what| what == "tasks/cancel"), "{seen:?}");
    });
}

// TASK-12
#[test]
fn questions_about_a_task_that_always_fail_end_the_call() {
    soon(|| {
        let endpoint = endpoint(|_, _| http(503, "", "down"));
        let client = Client::builder().tasks().open(endpoint.server()).unwrap();
        let error = client.call_tool("report", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert_eq!(error.method(), Some("tasks/get"));
        assert!(error.may_have_run());
        endpoint.next("tasks/cancel");
    });
}

#[test]
fn credentials_that_are_refused_are_not_tried_again() {
    soon(|| {
        let endpoint = endpoint(|_, _| http(401, "", ""));
        let client = Client::builder().tasks().open(endpoint.server()).unwrap();
        let error = client.call_tool("report", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authorization);
        endpoint.next("tasks/cancel");
        let seen = endpoint.seen();
        assert!(!seen.iter().any(|what| what == "tasks/get"), "{seen:?}");
    });
}

// TASK-22, TASK-24, TASK-31
#[test]
fn leaving_a_call_cancels_its_task() {
    soon(|| {
        let endpoint = endpoint(|post, count| match count {
            0 => answer(post, &task("working", ("statusMessage", json!("busy")))),
            _ => Answer::Silence,
        });
        let client = Client::builder().tasks().open(endpoint.server()).unwrap();
        let token = CancelToken::new();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| client.tool("report").cancel_token(&token).call());
            endpoint.next("tasks/get");
            endpoint.next("tasks/get");
            token.cancel();
            assert_eq!(call.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
        });
        let cancel = endpoint.next("tasks/cancel");
        assert_eq!(cancel.header("mcp-name"), Some(ENCODED));
        assert_eq!(cancel.body["params"]["taskId"], ID);
        client.close();
        assert!(endpoint.seen().is_empty());
    });
}

#[test]
fn the_example_server_s_reports_are_tasks_over_http() {
    for mode in [Mode::Modern, Mode::Legacy] {
        soon(move || {
            let url = example_http::start(0, Options::new(mode)).unwrap();
            a_report(Server::url(url));
        });
    }
}

// EXT-8
#[test]
fn a_request_of_an_extension_can_say_what_it_is_about() {
    soon(|| {
        let endpoint = endpoint(|post, _| done(post));
        let client = Client::open(endpoint.server()).unwrap();
        client.request("trees/grow", json!({ "id": 1 })).mcp_name("oak").call().unwrap();
        let post = endpoint.next("trees/grow");
        assert_eq!(post.header("mcp-name"), Some("oak"));
        assert_eq!(post.body["params"]["id"], 1);
    });
}
