//! Tasks and extensions at the wire: what is declared, how a task is followed, handed out, answered
//! and left, in both eras.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use umcp::memory::{Received, Script};
use umcp::protocol::{ElicitResult, InputResponses, TaskStatus};
use umcp::{
    CancelToken, Change, Client, ClientBuilder, Era, ErrorKind, Limits, ProtocolVersion, Server,
    Task, TaskOrResult, Timeouts,
};

use crate::calls::{Wire, all_received, answering, played, said, tools};
use crate::common::{FOREVER, HALF, SHORT, example_server, soon};
use crate::era::methods;

const TASKS: &str = "io.modelcontextprotocol/tasks";
const RELATED: &str = "io.modelcontextprotocol/related-task";
const DECLARED: &str =
    "/_meta/io.modelcontextprotocol~1clientCapabilities/extensions/io.modelcontextprotocol~1tasks";

/// A server with tools and tasks.
fn with_tasks() -> Value {
    json!({ "tools": {}, "extensions": { TASKS: {} } })
}

/// The same in 2025-11-25.
fn with_legacy_tasks() -> Value {
    json!({ "tools": {}, "tasks": { "cancel": {}, "requests": { "tools": { "call": {} } } } })
}

fn with(mut object: Value, more: Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// A task of the extension that is asked for as often as is allowed.
pub fn task(status: &str) -> Value {
    json!({ "taskId": "t1", "status": status, "createdAt": "2026-07-28T12:00:00Z",
        "lastUpdatedAt": "2026-07-28T12:00:00Z", "ttlMs": null, "pollIntervalMs": 1 })
}

fn created() -> Value {
    with(task("working"), json!({ "resultType": "task" }))
}

pub fn completed(result: Value) -> Value {
    with(task("completed"), json!({ "resultType": "complete", "result": result }))
}

/// A task that asks for a name under each of these keys.
fn asking(keys: &[&str]) -> Value {
    let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
    let params = json!({ "mode": "form", "message": "Who?", "requestedSchema": schema });
    let question = json!({ "method": "elicitation/create", "params": params });
    let all: Map<String, Value> =
        keys.iter().map(|key| ((*key).to_owned(), question.clone())).collect();
    with(task("input_required"), json!({ "resultType": "complete", "inputRequests": all }))
}

/// A server whose calls become a task, of which it says these things, one after the other, and the
/// last for ever.
pub fn following(states: impl IntoIterator<Item = Value>) -> (Server, Receiver<Received>) {
    let all: VecDeque<Value> = states.into_iter().collect();
    played(Era::Modern, with_tasks(), move |wire, first| {
        let mut states = all.clone();
        let mut next = Some(first);
        while let Some(message) = next {
            match message.method() {
                "tools/call" => wire.reply(&message, created()),
                "tasks/get" if states.len() > 1 => wire.reply(&message, states.pop_front()?),
                "tasks/get" => wire.reply(&message, states.front()?.clone()),
                "tasks/update" | "tasks/cancel" => {
                    wire.reply(&message, json!({ "resultType": "complete" }));
                }
                _ => {}
            }
            next = wire.receive();
        }
        None
    })
}

/// A server that does as a function says, which is told how often it has been asked for a task.
fn counting(
    era: Era,
    capabilities: Value,
    answer: impl Fn(&Wire, &Received, usize) + Send + Sync + 'static,
) -> (Server, Receiver<Received>) {
    let gets = AtomicUsize::new(0);
    answering(era, capabilities, move |wire, message| {
        gets.fetch_add(usize::from(message.method() == "tasks/get"), Ordering::Relaxed);
        answer(wire, message, gets.load(Ordering::Relaxed));
    })
}

fn builder() -> ClientBuilder {
    Client::builder().tasks()
}

fn open(server: Server) -> Client {
    builder().open(server).unwrap()
}

fn accept(name: &str) -> ElicitResult {
    ElicitResult::accept([("name".to_owned(), json!(name))].into_iter().collect())
}

/// The task that a call becomes.
fn started(client: &Client) -> Task {
    match client.tool("report").start_task().unwrap() {
        TaskOrResult::Task(task) => task,
        TaskOrResult::Result(result) => panic!("{result:?}"),
    }
}

/// Waits for the next message of that method.
fn next(received: &Receiver<Received>, method: &str) -> Received {
    received.iter().find(|message| message.method() == method).unwrap()
}

// TASK-1, TASK-3, TASK-4, TASK-7, TASK-10, TASK-11, TASK-14, TASK-32, TASK-35, EXT-2
#[test]
fn a_call_that_becomes_a_task_is_followed_to_its_end() {
    soon(|| {
        let states = [task("working"), task("paused"), completed(said("done"))];
        let (server, received) = following(states);
        let client = open(server);
        assert_eq!(client.call_tool("report", json!({ "a": 1 })).unwrap().text(), "done");
        let all = all_received(&client, &received);
        assert_eq!(methods(&all), ["tools/call", "tasks/get", "tasks/get", "tasks/get"]);
        assert_eq!(all[0].param("/task"), &Value::Null);
        for message in &all {
            assert_eq!(message.param(DECLARED), &json!({}), "{message:?}");
        }
        for get in &all[1..] {
            assert_eq!(get.param("/taskId"), "t1");
        }
    });
}

// TASK-4
#[test]
fn a_call_that_does_not_become_a_task_is_a_call() {
    soon(|| {
        let (server, received) = answering(Era::Modern, with_tasks(), |wire, message| {
            wire.reply(message, said("at once"));
        });
        let client = open(server);
        assert_eq!(client.call_tool("report", ()).unwrap().text(), "at once");
        let result = client.tool("report").start_task().unwrap();
        assert!(matches!(&result, TaskOrResult::Result(result) if result.text() == "at once"));
        assert_eq!(result.wait().unwrap().text(), "at once");
        assert_eq!(methods(&all_received(&client, &received)), ["tools/call"; 2]);
    });
}

// TASK-6, EXT-5
#[test]
fn nothing_becomes_a_task_that_was_not_declared() {
    soon(|| {
        let (server, received) = following([completed(said("done"))]);
        let client = Client::open(server).unwrap();
        let error = client.call_tool("report", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.may_have_run());
        assert!(error.to_string().contains(r#"of a type this client did not offer: "task""#));
        for error in
            [client.tool("report").start_task().unwrap_err(), client.task("t1").unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("`ClientBuilder::tasks`"), "{error}");
        }
        let all = all_received(&client, &received);
        assert_eq!(methods(&all), ["tools/call"]);
        let capabilities = all[0].param("/_meta/io.modelcontextprotocol~1clientCapabilities");
        assert_eq!(capabilities, &json!({}));
    });
}

// TASK-5
#[test]
fn only_the_call_of_a_tool_becomes_a_task() {
    soon(|| {
        let capabilities = with(with_tasks(), json!({ "resources": {}, "prompts": {} }));
        let (server, received) = answering(Era::Modern, capabilities, |wire, message| {
            wire.reply(message, created());
        });
        let client = open(server);
        let errors = [
            client.read_resource("memo://1").unwrap_err(),
            client.get_prompt("p", [("a", "b")]).unwrap_err(),
            client.request("example/x", ()).call().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.to_string().contains(r#"did not offer: "task""#), "{error}");
        }
        assert_eq!(all_received(&client, &received).len(), 3);
    });
}

/// What a call of a tool returns that becomes a task of which the server says this.
fn ended(state: Value) -> umcp::Result<umcp::CallToolResult> {
    let (server, received) = following([state.clone()]);
    let client = open(server);
    let called = client.call_tool("report", ());
    let by_hand = started(&client).wait();
    match (&called, &by_hand) {
        (Ok(called), Ok(by_hand)) => assert_eq!(called, by_hand),
        (Err(called), Err(by_hand)) => assert_eq!(called.kind(), by_hand.kind()),
        other => panic!("{state}: {other:?}"),
    }
    let all = all_received(&client, &received);
    assert!(!methods(&all).contains(&"tasks/cancel"), "{all:?}");
    called
}

// TASK-8, TASK-9, TASK-33
#[test]
fn a_task_ends_as_the_call_would_have() {
    soon(|| {
        let failure = with(said("no paper"), json!({ "isError": true, "resultType": "complete" }));
        let result = ended(completed(failure)).unwrap();
        assert!(result.is_error);
        let error = result.into_result().unwrap_err();
        assert_eq!(error.to_string(), r#"in-memory: tools/call "report": no paper"#);

        let refusal = json!({ "code": -32050, "message": "no ink", "data": { "a": 1 } });
        let error = ended(with(task("failed"), json!({ "error": refusal }))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rpc);
        assert_eq!(error.rpc().unwrap().code, -32050);
        assert_eq!(error.rpc().unwrap().data(), Some(r#"{"a":1}"#));
        assert_eq!(error.method(), Some("tools/call"));
        assert!(error.may_have_run());
        // Elsewhere it says that nothing has begun.
        let refusal = json!({ "code": -32021, "message": "no" });
        assert!(
            ended(with(task("failed"), json!({ "error": refusal }))).unwrap_err().may_have_run()
        );

        let why = json!({ "statusMessage": "by the operator" });
        let error = ended(with(task("cancelled"), why)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert!(error.to_string().contains("cancelled: by the operator"), "{error}");

        let large = "x".repeat(200_000);
        assert_eq!(ended(completed(said(large.as_str()))).unwrap().text(), large);
    });
}

// TASK-15
#[test]
fn what_is_said_of_a_task_may_be_of_the_type_task() {
    soon(|| {
        let done = with(completed(said("done")), json!({ "resultType": "task" }));
        assert_eq!(ended(done).unwrap().text(), "done");
    });
}

// EXT-10, TASK-33
#[test]
fn what_makes_no_sense_is_an_error() {
    soon(|| {
        let other = with(task("working"), json!({ "taskId": "t2" }));
        let cases = [
            (completed(json!("text")), "result is malformed"),
            (completed(json!({ "resultType": "input_required" })), r#"type"#),
            (completed(json!({ "content": [], "resultType": "task" })), r#""task""#),
            (task("completed"), "how is not said"),
            (task("failed"), "how is not said"),
            (other, r#"another task: "t2""#),
            (json!({ "status": "working" }), "malformed"),
            (with(task("working"), json!({ "resultType": "odd" })), r#""odd""#),
        ];
        for (state, expected) in cases {
            let (server, _) = following([state.clone()]);
            let client = open(server);
            let errors =
                [client.call_tool("x", ()).unwrap_err(), started(&client).wait().unwrap_err()];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Protocol, "{state}: {error}");
                assert!(error.to_string().contains(expected), "{state}: {error}");
                assert!(error.may_have_run());
            }
        }
        let (server, _) = answering(Era::Modern, with_tasks(), |wire, message| {
            wire.reply(message, json!({ "resultType": "task", "status": "working" }));
        });
        let error = open(server).call_tool("x", ()).unwrap_err();
        assert!(error.to_string().contains("task is malformed"), "{error}");
    });
}

// TASK-12, TASK-16, TASK-17, TASK-18, TASK-19, TASK-20, TASK-21, TASK-34
#[test]
fn what_a_task_asks_is_answered_once_by_the_handlers_of_the_client() {
    soon(|| {
        let states = [
            asking(&["a"]),
            asking(&["a"]),
            asking(&["a", "b"]),
            asking(&["a", "b"]),
            completed(said("Ada")),
        ];
        let (server, received) = following(states);
        let asked = Arc::new(Mutex::new(0));
        let count = asked.clone();
        let client = builder()
            .on_elicitation(move |form, context| {
                assert_eq!(form.message, "Who?");
                assert_eq!(context.client().server_name(), "in-memory");
                *count.lock().unwrap() += 1;
                accept("Ada")
            })
            .open(server)
            .unwrap();
        assert_eq!(client.call_tool("greet", ()).unwrap().text(), "Ada");
        assert_eq!(*asked.lock().unwrap(), 2);
        let all = all_received(&client, &received);
        assert_eq!(
            methods(&all),
            [
                "tools/call",
                "tasks/get",
                "tasks/update",
                "tasks/get",
                "tasks/get",
                "tasks/update",
                "tasks/get",
                "tasks/get"
            ]
        );
        let answer = json!({ "action": "accept", "content": { "name": "Ada" } });
        assert_eq!(all[2].param("/inputResponses"), &json!({ "a": answer }));
        assert_eq!(all[5].param("/inputResponses"), &json!({ "b": answer }));
        for update in [&all[2], &all[5]] {
            assert_eq!(update.param("/taskId"), "t1");
            assert_eq!(update.param(DECLARED), &json!({}));
        }
    });
}

// TASK-34
#[test]
fn a_call_may_be_asked_before_it_becomes_a_task() {
    soon(|| {
        let (server, received) = counting(Era::Modern, with_tasks(), |wire, message, gets| {
            let asks = json!({ "resultType": "input_required", "requestState": "s",
                "inputRequests": asking(&["a"])["inputRequests"] });
            match message.method() {
                "tools/call" if message.param("/inputResponses").is_null() => {
                    wire.reply(message, asks);
                }
                "tools/call" => wire.reply(message, created()),
                // The same key, which is another question: the two kinds of rounds know nothing of
                // each other.
                "tasks/get" if gets == 1 => wire.reply(message, asking(&["a"])),
                "tasks/get" => wire.reply(message, completed(said("done"))),
                _ => wire.reply(message, json!({})),
            }
        });
        let client = builder().on_elicitation(|_, _| accept("Ada")).open(server).unwrap();
        assert_eq!(client.call_tool("greet", ()).unwrap().text(), "done");
        let all = all_received(&client, &received);
        let updates: Vec<_> = all.iter().filter(|it| it.method() == "tasks/update").collect();
        assert_eq!(updates.len(), 1);
        assert!(!updates[0].param("/inputResponses/a").is_null());
    });
}

// TASK-16, TASK-17, TASK-19
#[test]
fn what_no_handler_answers_can_be_answered_by_hand() {
    soon(|| {
        let (server, received) =
            counting(Era::Modern, with_tasks(), |wire, message, gets| match message.method() {
                "tools/call" => wire.reply(message, created()),
                "tasks/get" if gets < 3 => wire.reply(message, asking(&["a"])),
                "tasks/get" => wire.reply(message, completed(said("done"))),
                _ => wire.reply(message, json!({ "resultType": "complete" })),
            });
        let client = open(server);
        let mut task = started(&client);
        let error = task.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InputRequired);
        assert!(error.to_string().contains("`Task::update`"), "{error}");
        let asked = error.input_required().unwrap().input_requests.unwrap();
        assert_eq!(task.latest().unwrap().status, TaskStatus::InputRequired);
        let seen = task.get().unwrap();
        assert_eq!(seen.input_requests.as_ref(), Some(&asked));

        let answers: InputResponses =
            asked.keys().map(|key| (key.clone(), ElicitResult::decline().into())).collect();
        task.update(answers.clone()).unwrap();
        for answers in [answers, InputResponses::new()] {
            let error = task.update(answers).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        assert_eq!(task.wait().unwrap().text(), "done");
        let all = all_received(&client, &received);
        let updates = all.iter().filter(|it| it.method() == "tasks/update").count();
        assert_eq!(updates, 1, "{all:?}");
    });
}

// TASK-18, MRTR-21
#[test]
fn what_was_answered_is_not_asked_again_though_the_rest_was_refused() {
    soon(|| {
        let states = [asking(&["a", "b"]), asking(&["a", "b"]), completed(said("done"))];
        let (server, received) = following(states);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let client = builder()
            .on_elicitation(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
                // It does not fit the form.
                1 => ElicitResult::accept([("name".to_owned(), json!(1))].into_iter().collect()),
                before => accept(["Ada", "", "Bob"][before]),
            })
            .open(server)
            .unwrap();
        let mut task = started(&client);
        assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(task.wait().unwrap().text(), "done");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        let all = all_received(&client, &received);
        let updates = all.iter().filter(|it| it.method() == "tasks/update");
        let updates: Vec<_> = updates.map(|it| it.param("/inputResponses").clone()).collect();
        let answer = |name| json!({ "action": "accept", "content": { "name": name } });
        assert_eq!(updates, [json!({ "a": answer("Ada") }), json!({ "b": answer("Bob") })]);
    });
}

// TASK-18, TASK-19
#[test]
fn what_was_answered_and_not_sent_can_be_answered_by_hand() {
    soon(|| {
        let states = [asking(&["a", "b"]), completed(said("done"))];
        let (server, received) = following(states);
        let asked = AtomicUsize::new(0);
        let client = builder()
            .on_elicitation(move |_, _| match asked.fetch_add(1, Ordering::SeqCst) {
                0 => accept("Ada"),
                _ => panic!("of the program"),
            })
            .open(server)
            .unwrap();
        let mut task = started(&client);
        task.wait().unwrap_err();
        let by_hand: InputResponses =
            ["a", "b"].map(|key| (key.to_owned(), accept("Eve").into())).into();
        task.update(by_hand.clone()).unwrap();
        assert_eq!(task.update(by_hand).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(task.wait().unwrap().text(), "done");
        let all = all_received(&client, &received);
        let updates: Vec<_> = all.iter().filter(|it| it.method() == "tasks/update").collect();
        assert_eq!(updates.len(), 1);
        assert_eq!(updates[0].param("/inputResponses/a/content/name"), "Eve");
    });
}

// TASK-1, TASK-28, TASK-29, SUB-20
#[test]
fn a_task_can_be_subscribed_to() {
    soon(|| {
        let (server, received) = answering(Era::Modern, with_tasks(), |wire, message| {
            let label = json!({ "io.modelcontextprotocol/subscriptionId": message.id() });
            let notify = |method: &str, params: Value| {
                wire.notify(method, with(params, json!({ "_meta": label })));
            };
            // The second of them is not granted, nor is the third, which nobody has asked for.
            let granted = json!({ "notifications": { "taskIds": ["t1"] } });
            notify("notifications/subscriptions/acknowledged", granted);
            for id in ["t2", "t3", "t1"] {
                let state = with(completed(said("done")), json!({ "taskId": id }));
                notify("notifications/tasks", state);
            }
        });
        let client = open(server);
        let wanted = client.subscribe().task("t1").task("t2").task("t1");
        let mut subscription = wanted.open().unwrap();
        assert_eq!(subscription.acknowledged().task_ids, ["t1"]);
        let Change::TaskUpdated { task } = subscription.next().unwrap().unwrap() else {
            panic!("not a task")
        };
        assert_eq!((&*task.task.task_id, &task.task.status), ("t1", &TaskStatus::Completed));
        assert!(task.result.unwrap().get().contains("done"));
        assert_eq!(subscription.try_next().unwrap(), None);
        let listen = next(&received, "subscriptions/listen");
        assert_eq!(listen.param("/notifications"), &json!({ "taskIds": ["t1", "t2"] }));
        assert_eq!(listen.param(DECLARED), &json!({}));
    });
}

// TASK-1, TASK-36
#[test]
fn no_task_is_subscribed_to_where_there_are_none() {
    soon(|| {
        let silent = |wire: &Wire, message: &Received| wire.reply(message, json!({}));
        let cases = [
            (Era::Modern, with_tasks(), false, ErrorKind::InvalidInput),
            (Era::Modern, json!({ "tools": {} }), true, ErrorKind::Unsupported),
            (Era::Legacy, with_legacy_tasks(), true, ErrorKind::Unsupported),
        ];
        for (era, capabilities, declares, expected) in cases {
            let (server, received) = answering(era, capabilities, silent);
            let client = if declares { open(server) } else { Client::open(server).unwrap() };
            let error = client.subscribe().task("t1").open().unwrap_err();
            assert_eq!(error.kind(), expected, "{error}");
            assert!(error.to_string().contains("tasks"), "{error}");
            assert_eq!(methods(&all_received(&client, &received)), Vec::<String>::new());
        }
    });
}

// TASK-16, TASK-17
#[test]
fn a_headless_call_is_not_asked_inside_its_task() {
    soon(|| {
        let (server, received) = following([asking(&["a"])]);
        let client = builder().on_elicitation(|_, _| panic!("asked")).open(server).unwrap();
        let error = client.tool("greet").headless().call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InputRequired);
        let capabilities = "/_meta/io.modelcontextprotocol~1clientCapabilities";
        for message in all_received(&client, &received).iter().take(2) {
            assert_eq!(message.param(capabilities), &json!({ "extensions": { TASKS: {} } }));
        }
    });
}

// TASK-17
#[test]
fn a_url_that_is_not_safe_is_declined_inside_a_task_too() {
    soon(|| {
        let params = json!({ "mode": "url", "message": "m", "url": "http://evil.example/",
            "elicitationId": "e" });
        let question = json!({ "a": { "method": "elicitation/create", "params": params } });
        let asks = with(asking(&[]), json!({ "inputRequests": question }));
        let (server, received) = following([asks, completed(said("done"))]);
        let client = builder().on_url_elicitation(|_, _| panic!("asked")).open(server).unwrap();
        assert_eq!(client.call_tool("greet", ()).unwrap().text(), "done");
        let all = all_received(&client, &received);
        let update = all.iter().find(|it| it.method() == "tasks/update").unwrap();
        assert_eq!(update.param("/inputResponses/a/action"), "decline");
    });
}

#[test]
fn a_task_that_asks_without_end_reaches_a_limit() {
    soon(|| {
        let states = (0..100).map(|number| asking(&[&number.to_string()]));
        let (server, received) = following(states);
        let server = server.limits(Limits::default().input_rounds(3));
        let client = builder().on_elicitation(|_, _| accept("Ada")).open(server).unwrap();
        let error = client.call_tool("greet", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        let all = all_received(&client, &received);
        let updates = all.iter().filter(|it| it.method() == "tasks/update").count();
        assert_eq!(updates, 3);
        assert_eq!(all.last().unwrap().method(), "tasks/cancel");
    });
}

// TASK-1, TASK-22, TASK-23, TASK-24
#[test]
fn leaving_a_call_cancels_its_task() {
    type Leave = fn(&Client, &Receiver<Received>);
    let leave: [(&str, Leave); 4] = [
        ("timeout", |client, _| {
            let error = client.tool("report").timeout(SHORT).call().unwrap_err();
            assert!(error.is_timeout());
            assert!(error.to_string().contains("the task had not ended within 100ms (`timeout`)"));
            assert_eq!(error.method(), Some("tools/call"));
        }),
        ("max_total", |client, _| {
            let error = client.tool("report").max_total(SHORT).call().unwrap_err();
            assert!(error.is_timeout() && error.to_string().contains("(`max_total`)"));
        }),
        ("token", |client, received| {
            let token = CancelToken::new();
            std::thread::scope(|scope| {
                let call = scope.spawn(|| client.tool("report").cancel_token(&token).call());
                next(received, "tasks/get");
                token.cancel();
                let error = call.join().unwrap().unwrap_err();
                assert!(error.is_cancelled());
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                assert!(error.may_have_run());
            });
        }),
        ("drop", |client, received| {
            let mut pending = client.tool("report").start().unwrap();
            while received.try_iter().all(|it| it.method() != "tasks/get") {
                assert_eq!(pending.wait_timeout(Duration::from_millis(10)).unwrap(), None);
            }
            drop(pending);
        }),
    ];
    for (name, leave) in leave {
        soon(move || {
            let (server, received) = following([task("working")]);
            let client = open(server);
            leave(&client, &received);
            let cancel = next(&received, "tasks/cancel");
            assert_eq!(cancel.param("/taskId"), "t1", "{name}");
            assert_eq!(cancel.param(DECLARED), &json!({}), "{name}");
            // The connection goes on, and the answer to the cancellation disturbs nobody.
            let _ = client.tool("report").timeout(SHORT).call().unwrap_err();
            let all = all_received(&client, &received);
            assert!(!methods(&all).contains(&"notifications/cancelled"), "{name}: {all:?}");
        });
    }
}

// TASK-22
#[test]
fn a_server_that_does_not_say_how_a_task_is_does_not_hold_up_a_call() {
    soon(|| {
        let (server, received) = answering(Era::Modern, with_tasks(), |wire, message| {
            if message.method() == "tools/call" {
                wire.reply(message, created());
            }
        });
        let client = open(server);
        let error = client.tool("report").timeout(SHORT * 3).call().unwrap_err();
        assert!(error.is_timeout(), "{error}");
        let all = all_received(&client, &received);
        assert_eq!(methods(&all), ["tools/call", "tasks/get", "tasks/cancel"]);
    });
}

#[test]
fn closing_the_client_ends_the_wait_for_a_task() {
    soon(|| {
        let (server, received) =
            following([with(task("working"), json!({ "pollIntervalMs": 1e9 }))]);
        let client = open(server);
        std::thread::scope(|scope| {
            let call = scope.spawn(|| client.call_tool("report", ()));
            let mut task = started(&client);
            let wait = scope.spawn(move || task.wait());
            next(&received, "tasks/get");
            client.close();
            for error in [call.join().unwrap().unwrap_err(), wait.join().unwrap().unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::Closed);
            }
        });
    });
}

// TASK-11
#[test]
fn a_sign_of_progress_can_restart_the_clock() {
    soon(|| {
        let moved = |step: u32| with(task("working"), json!({ "lastUpdatedAt": step.to_string() }));
        let states = (0..20).map(moved).chain([completed(said("done"))]);
        let (server, _) = following(states);
        let client = open(server);
        let call = client.tool("report").timeout(SHORT * 7).restart_timeout_on_progress();
        assert_eq!(call.call().unwrap().text(), "done");
    });
}

// TASK-10, TASK-13
#[test]
fn a_task_is_handed_out_and_found_again_by_its_id() {
    soon(|| {
        let (server, _) = following([task("working"), completed(said("done"))]);
        let client = open(server.clone());
        let task = started(&client);
        let id = task.id().to_owned();
        assert_eq!(task.latest().unwrap().status, TaskStatus::Working);
        assert!(!format!("{task:?}").contains("2026"), "{task:?}");
        drop(task);
        client.close();

        let client = open(server);
        let mut task = client.task(&id).unwrap();
        assert_eq!(task.latest(), None);
        assert_eq!(task.get().unwrap().task.status, TaskStatus::Working);
        assert_eq!(task.latest().unwrap().poll_interval_ms, Some(1));
        assert_eq!(task.wait().unwrap().text(), "done");
        // As often as one likes.
        assert_eq!(task.wait_timeout(Duration::MAX).unwrap().unwrap().text(), "done");
    });
}

// TASK-23
#[test]
fn a_task_that_is_handed_out_ends_when_it_is_told_to() {
    soon(|| {
        let (server, received) = following([task("working"), task("cancelled")]);
        let client = open(server);
        let mut task = started(&client);
        assert_eq!(task.wait_timeout(Duration::ZERO).unwrap(), None);
        task.cancel().unwrap();
        let error = task.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        drop(task);
        let all = all_received(&client, &received);
        let cancels = all.iter().filter(|it| it.method() == "tasks/cancel").count();
        assert_eq!(cancels, 1);
    });
}

#[test]
fn a_wait_for_a_task_ends_without_it() {
    soon(|| {
        let (server, received) = following([task("working")]);
        let server = server.timeouts(Timeouts::default().max_total(SHORT));
        let client = open(server);
        let mut task = started(&client);
        assert_eq!(task.wait_timeout(SHORT).unwrap(), None);
        let error = task.wait().unwrap_err();
        assert!(error.is_timeout() && error.to_string().contains("goes on"), "{error}");
        let token = CancelToken::new();
        token.cancel();
        assert_eq!(task.cancel_token(&token).wait().unwrap_err().kind(), ErrorKind::Cancelled);
        let all = all_received(&client, &received);
        assert!(!methods(&all).contains(&"tasks/cancel"), "{all:?}");
    });
}

// TASK-26, TASK-27
#[test]
fn a_task_that_the_server_does_not_know_is_an_error_that_says_so() {
    soon(|| {
        let (server, received) =
            answering(Era::Modern, with_tasks(), |wire, message| match message.method() {
                "tools/call" => wire.reply(message, with(created(), json!({ "ttlMs": 1 }))),
                _ => wire.reply_error(message, -32602, "unknown task", None),
            });
        let client = open(server);
        let mut task = client.task("t9").unwrap();
        let update = InputResponses::from([("a".to_owned(), ElicitResult::decline().into())]);
        let errors = [
            task.get().unwrap_err(),
            task.wait().unwrap_err(),
            task.update(update).unwrap_err(),
            task.cancel().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.rpc().unwrap().code, -32602);
            assert!(error.to_string().contains(r#" "t9": "#), "{error}");
            assert!(error.to_string().contains("no such task"), "{error}");
        }
        let error = client.call_tool("report", ()).unwrap_err();
        assert!(error.to_string().contains("keeps this task for 1 ms, which are over"), "{error}");
        // There is nothing to be cancelled.
        let all = all_received(&client, &received);
        assert_eq!(all.last().unwrap().method(), "tasks/get");
    });
}

// EXT-4, TASK-2, TASK-36
#[test]
fn a_server_without_tasks_is_refused_before_it_is_asked() {
    soon(|| {
        let server = |era| answering(era, tools(), |_, _| ()).0;
        for (era, expected) in [(Era::Modern, "no tasks"), (Era::Legacy, "no tasks")] {
            let error = open(server(era)).task("t1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let old = answering(Era::Legacy, with_legacy_tasks(), |_, _| ()).0;
        let error = open(old.version(ProtocolVersion::V2025_06_18)).task("t1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("no tasks in 2025-06-18"), "{error}");
    });
}

// EXT-1
#[test]
fn the_identifier_of_an_extension_has_a_prefix() {
    for id in ["", "x", "/x", "com.example/", "com..example/x", "com.example/x y"] {
        let builder = Client::builder().extension(id, Map::new());
        let error = builder.open(Script::new().server()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{id:?}");
    }
}

/// Settings of an extension of this test's own.
fn trees() -> Map<String, Value> {
    [("depth".to_owned(), json!(2))].into_iter().collect()
}

// EXT-1, EXT-2, EXT-3, EXT-4, EXT-7, EXT-10, TASK-36
#[test]
fn extensions_are_declared_and_the_server_s_can_be_read() {
    soon(|| {
        let theirs = json!({ "com.example/trees": { "depth": 1 }, "com.example/odd": null });
        for era in crate::common::ERAS {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let (sees, capabilities) = (seen.clone(), json!({ "extensions": theirs }));
            let server = Server::in_memory(move |peer| {
                while let Some(message) = peer.receive() {
                    sees.lock().unwrap().push(message.clone());
                    let modern = json!({ "supportedVersions": ["2026-07-28"],
                        "capabilities": capabilities, "ttlMs": 0, "cacheScope": "private" });
                    let legacy = json!({ "protocolVersion": "2025-11-25",
                        "capabilities": capabilities, "serverInfo": { "name": "p", "version": "1" } });
                    match message.method() {
                        "server/discover" if era == Era::Modern => peer.reply(&message, modern),
                        "server/discover" => peer.reply_error(&message, -32601, "no", None),
                        "initialize" => peer.reply(&message, legacy),
                        "notifications/initialized" => {}
                        _ => peer.reply(&message, json!({})),
                    }
                }
            });
            let builder = Client::builder().tasks().extension("com.example/trees", trees());
            let client = builder.open(server).unwrap();
            assert_eq!(client.extension("com.example/trees"), Some(&json!({ "depth": 1 })));
            assert_eq!(client.extension("com.example/odd"), None);
            assert_eq!(client.extension(TASKS), None);
            client.request("example/x", ()).call().unwrap();
            client.close();

            let seen = seen.lock().unwrap();
            let declared = |method: &str, at: &str| {
                let of = seen.iter().find(|it| it.method() == method).unwrap();
                of.param(at).clone()
            };
            let meta = "/_meta/io.modelcontextprotocol~1clientCapabilities/extensions";
            let both = json!({ "com.example/trees": { "depth": 2 }, TASKS: {} });
            match era {
                Era::Legacy => {
                    let one = json!({ "com.example/trees": { "depth": 2 } });
                    assert_eq!(declared("initialize", "/capabilities/extensions"), one);
                    assert_eq!(declared("example/x", meta), Value::Null);
                }
                _ => {
                    assert_eq!(declared("server/discover", meta), both);
                    assert_eq!(declared("example/x", meta), both);
                }
            }
        }
    });
}

// EXT-8
#[test]
fn an_extension_can_bring_methods_and_types_of_results() {
    soon(|| {
        let script = Script::new()
            .declare("com.example/trees", json!({}))
            .answer("trees/grow", json!({ "resultType": "seed", "id": 1 }));
        let builder = Client::builder().extension("com.example/trees", trees());
        let client = builder.open(script.server()).unwrap();
        let grow = || client.request("trees/grow", json!({ "id": 1 }));
        assert_eq!(grow().call().unwrap_err().kind(), ErrorKind::Protocol);
        let seed = grow().accept_result_type("seed").meta("com.example/k", 1).call().unwrap();
        assert_eq!(seed.to_value().unwrap()["id"], 1);
        assert_eq!(script.received("trees/grow")[1]["_meta"]["com.example/k"], 1);
    });
}

// TASK-12
#[test]
fn a_question_about_a_task_that_gets_no_answer_is_asked_again() {
    soon(|| {
        let (server, received) =
            counting(Era::Modern, with_tasks(), |wire, message, gets| match message.method() {
                "tools/call" => wire.reply(message, created()),
                "tasks/get" if gets == 1 => {}
                "tasks/get" => wire.reply(message, completed(said("done"))),
                _ => {}
            });
        let server = server.timeouts(Timeouts::default().request(SHORT));
        let client = open(server);
        assert_eq!(client.tool("report").timeout(FOREVER).call().unwrap().text(), "done");
        let all = all_received(&client, &received);
        assert_eq!(methods(&all), ["tools/call", "tasks/get", "tasks/get"]);
    });
}

/// The tools of a legacy server: whether they can be tasks is their name.
fn legacy_tools() -> Value {
    let tool = |support: &str| {
        let tool = json!({ "name": support, "inputSchema": { "type": "object" } });
        match support {
            "absent" => tool,
            _ => with(tool, json!({ "execution": { "taskSupport": support } })),
        }
    };
    let all = ["absent", "forbidden", "optional", "required"].map(tool);
    json!({ "tools": all })
}

fn legacy_task(status: &str) -> Value {
    json!({ "taskId": "t1", "status": status, "createdAt": "2025-11-25T12:00:00Z",
        "lastUpdatedAt": "2025-11-25T12:00:00Z", "ttl": null, "pollInterval": 1 })
}

/// A legacy server whose tools become tasks if they are asked to, are asked for these states, and
/// whose `tasks/result` is answered by a function.
fn legacy(
    states: impl IntoIterator<Item = &'static str>,
    result: impl Fn(&Wire, &Received) -> Option<()> + Send + Sync + 'static,
) -> (Server, Receiver<Received>) {
    let all: VecDeque<&str> = states.into_iter().collect();
    let played = played(Era::Legacy, with_legacy_tasks(), move |wire, first| {
        let mut states = all.clone();
        let mut next = Some(first);
        while let Some(message) = next {
            match message.method() {
                "tools/list" => wire.reply(&message, legacy_tools()),
                "tools/call" if message.param("/task").is_object() => {
                    wire.reply(&message, json!({ "task": legacy_task("working") }));
                }
                "tools/call" => wire.reply(&message, said("at once")),
                "tasks/get" if states.len() > 1 => {
                    wire.reply(&message, legacy_task(states.pop_front()?));
                }
                "tasks/get" => wire.reply(&message, legacy_task(states.front()?)),
                "tasks/result" => result(wire, &message)?,
                "tasks/cancel" => wire.reply(&message, legacy_task("cancelled")),
                _ => {}
            }
            next = wire.receive();
        }
        None
    });
    (played.0, played.1)
}

fn done(wire: &Wire, message: &Received) -> Option<()> {
    let related = json!({ "_meta": { RELATED: { "taskId": "t1" } } });
    wire.reply(message, with(said("done"), related));
    Some(())
}

// LTASK-3, LTASK-4, LTASK-6, LTASK-8, LTASK-15, TASK-36
#[test]
fn a_legacy_tool_that_can_be_a_task_becomes_one_if_it_is_asked_to() {
    soon(|| {
        let (server, received) = legacy(["working", "completed"], done);
        let client = open(server);
        for tool in ["optional", "required"] {
            let TaskOrResult::Task(mut task) = client.tool(tool).start_task().unwrap() else {
                panic!("{tool} is no task")
            };
            assert_eq!(task.id(), "t1");
            assert_eq!(task.wait().unwrap().text(), "done");
            assert_eq!(task.latest().unwrap().poll_interval_ms, Some(1));
        }
        let all = all_received(&client, &received);
        let expected = [
            "tools/list",
            "tools/call",
            "tasks/get",
            "tasks/get",
            "tasks/result",
            // What tools can is known by now.
            "tools/call",
            "tasks/get",
            "tasks/result",
        ];
        assert_eq!(methods(&all), expected);
        assert_eq!(all[1].param("/task"), &json!({}));
        for message in &all[2..] {
            assert_eq!(message.param("/_meta"), &Value::Null, "{message:?}");
        }
        assert_eq!(all[4].param("/taskId"), "t1");
    });
}

// LTASK-1
#[test]
fn a_legacy_tool_that_cannot_be_a_task_is_not_asked_to() {
    soon(|| {
        let (server, received) = legacy(["completed"], done);
        let client = open(server);
        for tool in ["absent", "forbidden", "unknown"] {
            let started = client.tool(tool).start_task().unwrap();
            assert!(matches!(started, TaskOrResult::Result(_)), "{tool}");
        }
        // Without being asked to, none is.
        assert_eq!(client.call_tool("optional", ()).unwrap().text(), "at once");
        let all = all_received(&client, &received);
        let mut calls = all.iter().filter(|it| it.method() == "tools/call");
        assert!(calls.all(|call| call.param("/task").is_null()), "{all:?}");

        // Of a server without such tasks, and in older revisions, nobody asks for the list.
        let others = [
            (tools(), ProtocolVersion::V2025_11_25),
            (json!({ "tools": {}, "tasks": {} }), ProtocolVersion::V2025_11_25),
            (with_legacy_tasks(), ProtocolVersion::V2025_06_18),
        ];
        for (capabilities, version) in others {
            let (server, received) = answering(Era::Legacy, capabilities, |wire, message| {
                wire.reply(message, said("at once"));
            });
            let client = open(server.version(version));
            let started = client.tool("optional").start_task().unwrap();
            assert!(matches!(started, TaskOrResult::Result(_)));
            let all = all_received(&client, &received);
            assert_eq!(methods(&all), ["tools/call"]);
            assert_eq!(all[0].param("/task"), &Value::Null);
        }
    });
}

// LTASK-1
#[test]
fn looking_for_what_a_legacy_tool_can_is_within_the_clocks_of_its_call() {
    soon(|| {
        // A list without an end, each of whose pages comes at once.
        let pages = AtomicUsize::new(0);
        let (server, _) = answering(Era::Legacy, with_legacy_tasks(), move |wire, message| {
            let cursor = pages.fetch_add(1, Ordering::Relaxed).to_string();
            wire.reply(message, with(legacy_tools(), json!({ "nextCursor": cursor })));
        });
        let client = open(server.limits(Limits::default().pages(usize::MAX)));
        let late = client.tool("unknown").max_total(SHORT).start_task().unwrap_err();
        assert!(late.is_timeout(), "{late}");

        assert!(!late.may_have_run() && late.to_string().contains("(`max_total`)"), "{late}");
        assert!(late.to_string().contains(&format!("{SHORT:?}")), "{late}");

        // A server that takes more than half of the time for the list, and again for the call.
        let slow = HALF + HALF / 2;
        let (server, received) =
            answering(Era::Legacy, with_legacy_tasks(), move |wire, message| {
                thread::sleep(slow);
                wire.reply(message, legacy_tools());
            });
        let client = open(server);
        let late = client.tool("optional").max_total(2 * HALF).start_task().unwrap_err();
        assert!(late.is_timeout() && late.may_have_run(), "{late}");
        next(&received, "tools/call");
    });
}

// LTASK-2
#[test]
fn a_legacy_tool_that_has_to_be_a_task_is_called_as_one() {
    soon(|| {
        let (server, received) = legacy(["completed"], done);
        let client = open(server.clone());
        client.list_tools().unwrap();
        assert_eq!(client.call_tool("required", ()).unwrap().text(), "done");
        assert_eq!(client.call_tool("optional", ()).unwrap().text(), "at once");
        let all = all_received(&client, &received);
        assert_eq!(all[1].param("/task"), &json!({}));

        // Not without the program's wish.
        let client = Client::open(server).unwrap();
        client.list_tools().unwrap();
        assert_eq!(client.call_tool("required", ()).unwrap().text(), "at once");
    });
}

// LTASK-6, LTASK-7
#[test]
fn a_legacy_task_that_failed_is_the_tool_s_failure_or_the_error() {
    soon(|| {
        let (server, _) = legacy(["failed"], |wire, message| {
            wire.reply(message, with(said("no paper"), json!({ "isError": true })));
            Some(())
        });
        let client = open(server);
        let result = client.tool("optional").start_task().unwrap().wait().unwrap();
        assert!(result.is_error && result.text() == "no paper");

        let (server, _) = legacy(["failed"], |wire, message| {
            wire.reply_error(message, -32050, "no ink", None);
            Some(())
        });
        let client = open(server);
        let error = client.tool("optional").start_task().unwrap().wait().unwrap_err();
        assert_eq!(error.rpc().unwrap().code, -32050);
        assert_eq!(error.method(), Some("tasks/result"));
    });
}

// LTASK-5, LTASK-8, LTASK-14
#[test]
fn what_a_legacy_task_asks_is_answered_while_its_result_is_waited_for() {
    soon(|| {
        let (server, received) = legacy(["working", "input_required"], |wire, message| {
            let mut params = asking(&["a"])["inputRequests"]["a"]["params"].clone();
            params["task"] = json!({ "ttl": 60_000 });
            params["_meta"] = json!({ RELATED: { "taskId": "t1" } });
            wire.send(json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
                "params": params }));
            wire.receive().filter(|answer| answer.id() == "q")?;
            done(wire, message)
        });
        let client = builder().on_elicitation(|_, _| accept("Ada")).open(server).unwrap();
        let result = client.tool("optional").start_task().unwrap().wait().unwrap();
        assert_eq!(result.text(), "done");
        let all = all_received(&client, &received);
        let answer = all.iter().find(|it| it.id() == "q").unwrap();
        let expected = json!({ "action": "accept", "content": { "name": "Ada" },
            "_meta": { RELATED: { "taskId": "t1" } } });
        assert_eq!(answer.0["result"], expected);
        assert!(!methods(&all).contains(&"tasks/update"));
    });
}

// LTASK-10
#[test]
fn what_a_legacy_server_says_of_a_task_unasked_does_not_end_it() {
    soon(|| {
        let (server, received) =
            counting(Era::Legacy, with_legacy_tasks(), |wire, message, gets| {
                match message.method() {
                    "tools/list" => wire.reply(message, legacy_tools()),
                    "tools/call" => wire.reply(message, json!({ "task": legacy_task("working") })),
                    "tasks/get" => {
                        wire.notify("notifications/tasks/status", legacy_task("completed"));
                        let status = if gets == 3 { "completed" } else { "working" };
                        wire.reply(message, legacy_task(status));
                    }
                    _ => drop(done(wire, message)),
                }
            });
        let client = open(server);
        let result = client.tool("optional").start_task().unwrap().wait().unwrap();
        assert_eq!(result.text(), "done");
        let all = all_received(&client, &received);
        assert_eq!(all.iter().filter(|it| it.method() == "tasks/get").count(), 3, "{all:?}");
    });
}

// LTASK-9, LTASK-16
#[test]
fn leaving_a_call_cancels_its_legacy_task() {
    soon(|| {
        let (server, received) = legacy(["working"], done);
        let client = open(server);
        client.list_tools().unwrap();
        let error = client.tool("required").timeout(SHORT).call().unwrap_err();
        assert!(error.is_timeout());
        let mut task = client.task("t1").unwrap();
        task.cancel().unwrap();
        let error = task.update([("a".to_owned(), accept("b").into())].into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let all = all_received(&client, &received);
        let cancels = all.iter().filter(|it| it.method() == "tasks/cancel");
        assert!(cancels.map(|it| it.param("/taskId")).eq(["t1", "t1"]), "{all:?}");
        assert!(!methods(&all).contains(&"notifications/cancelled"), "{all:?}");
    });
}

// LTASK-9
#[test]
fn a_legacy_server_that_cannot_cancel_tasks_is_not_asked_to() {
    soon(|| {
        let capabilities =
            json!({ "tools": {}, "tasks": { "requests": { "tools": { "call": {} } } } });
        let (server, received) =
            answering(Era::Legacy, capabilities, |wire, message| match message.method() {
                "tools/list" => wire.reply(message, legacy_tools()),
                "tools/call" => wire.reply(message, json!({ "task": legacy_task("working") })),
                _ => wire.reply(message, legacy_task("cancelled")),
            });
        let client = open(server);
        let TaskOrResult::Task(mut task) = client.tool("optional").start_task().unwrap() else {
            panic!()
        };
        let error = task.cancel().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`tasks.cancel`"), "{error}");
        assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::Cancelled);
        let error = client.tool("required").timeout(Duration::from_millis(10)).call().unwrap_err();
        assert!(error.is_timeout(), "{error}");
        let all = all_received(&client, &received);
        assert!(!methods(&all).iter().any(|it| it.contains("cancel")), "{all:?}");
    });
}

/// The same with the example server, whatever is between.
pub fn a_report(server: Server) {
    let is_asked = Arc::new(AtomicUsize::new(0));
    let count = is_asked.clone();
    let builder = builder().on_elicitation(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        ElicitResult::accept([("title".to_owned(), json!("Q3"))].into_iter().collect())
    });
    let client = builder.open(server).unwrap();
    let is_modern = client.protocol_version().era() == Era::Modern;
    let report = |seconds: f64| client.tool("report").arg("seconds", seconds);
    let called = report(0.05).call().unwrap();
    let title = if is_modern { "Q3" } else { "Report" };
    assert_eq!(called.text(), format!("{title}: ready after 0.05 s"));
    assert_eq!(is_asked.load(Ordering::Relaxed), usize::from(is_modern));

    let TaskOrResult::Task(task) = report(0.2).headless().start_task().unwrap() else {
        panic!("no task")
    };
    let mut task = client.task(task.id()).unwrap();
    assert_eq!(task.get().unwrap().task.status, TaskStatus::Working);
    assert_eq!(task.wait().unwrap().text(), "Report: ready after 0.2 s");

    let TaskOrResult::Task(mut task) = report(60.0).headless().start_task().unwrap() else {
        panic!("no task")
    };
    task.cancel().unwrap();
    assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    let error = client.task("no-such-task").unwrap().get().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32602);
    client.close();
}

#[test]
fn the_example_server_s_reports_are_tasks() {
    for era in ["modern", "legacy"] {
        soon(move || a_report(example_server(era)));
    }
}

// TASK-27
#[test]
fn a_request_about_a_task_without_the_extension_is_refused_by_the_server() {
    soon(|| {
        let client = Client::open(example_server("modern")).unwrap();
        let error = client.request("tasks/get", json!({ "taskId": "t1" })).call().unwrap_err();
        assert_eq!(error.rpc().unwrap().code, -32021);
        assert!(!error.may_have_run());
    });
}
