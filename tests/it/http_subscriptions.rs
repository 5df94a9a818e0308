//! Subscriptions over HTTP: a stream for each in the modern era, the server's own in the legacy one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use umcp::{Change, Client, Era, ErrorKind, Server};

use crate::calls::said;
use crate::common::{HALF, SHORT, at_once, example_server, soon};
use crate::http_peer::{
    Answer, Chunks, Endpoint, Post, answer, call, forgetful, held, http, initialized_with,
    response, session, stream,
};
use crate::stdio::discovered;
use crate::support::http::{self as example, Mode, Options};

const ID: &str = "io.modelcontextprotocol/subscriptionId";
const TASKS: &str = "io.modelcontextprotocol/tasks";

fn everything() -> Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
    })
}

fn initialized(post: &Post, headers: &str) -> Answer {
    initialized_with(post, "2025-11-25", &everything(), headers)
}

fn modern(respond: impl Fn(&Post) -> Answer + Send + Sync + 'static) -> Endpoint {
    Endpoint::bare(move |post| match post.what() {
        "server/discover" => answer(post, &discovered(&everything())),
        "tools/call" => answer(post, &said("done")),
        _ => respond(post),
    })
}

fn notification(post: &Post, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({ ID: post.body["id"] });
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

pub fn acknowledged(post: &Post) -> Value {
    let granted = json!({ "notifications": post.body["params"]["notifications"] });
    notification(post, "notifications/subscriptions/acknowledged", granted)
}

fn tools(post: &Post) -> Value {
    notification(post, "notifications/tools/list_changed", json!({}))
}

fn ended(post: &Post) -> Value {
    response(post, &json!({ "resultType": "complete", "_meta": { ID: post.body["id"] } }))
}

/// A server whose listen streams are written by the test, which gets each with what asked for it.
pub fn streaming() -> (Endpoint, Receiver<Chunks>) {
    let (opened, streams) = mpsc::channel();
    (modern(move |_| held(&opened)), streams)
}

// SUB-3, SUB-4, SUB-13, HTTP-1, HDR-4
#[test]
fn a_stream_of_its_own_delivers_until_the_server_ends_it() {
    soon(|| {
        let (endpoint, streams) = streaming();
        let client = endpoint.open();
        let opens = client.subscribe().tools().resource("x:a");
        let opens = thread::spawn(|| opens.open().unwrap());
        let (listen, mut chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        assert_eq!(listen.header("mcp-method"), Some("subscriptions/listen"));
        assert_eq!(listen.header("mcp-name"), None);
        assert_eq!(listen.header("accept"), Some("application/json, text/event-stream"));
        chunks.event(&acknowledged(&listen));
        let mut subscription = opens.join().unwrap();
        // SUB-9: an id that is another's does not belong here, and none at all is no matter.
        let mut foreign = tools(&listen);
        foreign["params"]["_meta"][ID] = json!("another");
        chunks.event(&foreign);
        let updated = json!({ "uri": "x:a" });
        chunks.event(&json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated",
            "params": updated }));
        let update = Change::ResourceUpdated { uri: "x:a".to_owned() };
        assert_eq!(subscription.next().unwrap().unwrap(), update);
        // Calls go on meanwhile, on connections of their own.
        assert_eq!(call(&client).unwrap(), "done");
        chunks.event(&tools(&listen));
        chunks.event(&ended(&listen));
        chunks.end();
        assert_eq!(subscription.next().unwrap().unwrap(), Change::ToolsChanged);
        assert_eq!(subscription.next().unwrap().unwrap_err().kind(), ErrorKind::Ended);
        assert!(subscription.next().is_none());
        assert!(!client.close().left_behind);
    });
}

// SUB-3
#[test]
fn an_answer_that_is_no_stream_is_an_error_or_the_end() {
    soon(|| {
        type Respond = fn(&Post) -> Answer;
        let cases: [(Respond, ErrorKind); 4] = [
            (|post| answer(post, &json!({ "_meta": { ID: post.body["id"] } })), ErrorKind::Ended),
            (
                |post| {
                    let error = json!({ "code": -32601, "message": "no such method" });
                    let id = &post.body["id"];
                    http(404, "", json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
                },
                ErrorKind::Rpc,
            ),
            (|_| http(503, "", ""), ErrorKind::Unreachable),
            (|_| http(401, "", ""), ErrorKind::Authorization),
        ];
        for (respond, kind) in cases {
            let endpoint = modern(respond);
            let client = endpoint.open();
            let error = client.subscribe().tools().open().unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(endpoint.seen(), ["subscriptions/listen"]);
        }
    });
}

// HTTP-12
#[test]
fn a_connection_that_breaks_before_the_acknowledgement_is_tried_once_more() {
    soon(|| {
        for breaks in [1, 2] {
            let asked = AtomicUsize::new(0);
            let endpoint =
                modern(move |post| match asked.fetch_add(1, Ordering::SeqCst) < breaks {
                    true => Answer::Close,
                    false => {
                        let acknowledged = acknowledged(post);
                        stream(move |chunks| {
                            chunks.event(&acknowledged);
                            chunks.wait_for_client();
                        })
                    }
                });
            let client = endpoint.open();
            let opened = client.subscribe().tools().open();
            let kind = opened.map(drop).map_err(|error| error.kind());
            assert_eq!(kind, if breaks == 1 { Ok(()) } else { Err(ErrorKind::Disconnected) });
            assert_eq!(endpoint.seen().len(), 2);
        }
    });
}

// SUB-12, HTTP-14
#[test]
fn closing_a_subscription_closes_its_stream() {
    soon(|| {
        let endpoint = modern(|post| {
            let acknowledged = acknowledged(post);
            stream(move |chunks| {
                chunks.event(&acknowledged);
                chunks.wait_for_client();
            })
        });
        let client = endpoint.open();
        let subscription = client.subscribe().tools().open().unwrap();
        let connection = endpoint.next("subscriptions/listen").connection;
        drop(subscription);
        assert_eq!(endpoint.ended.recv().unwrap(), connection);

        let mut subscription = client.subscribe().tools().open().unwrap();
        let connection = endpoint.next("subscriptions/listen").connection;
        let closer = subscription.closer();
        let waits = thread::spawn(move || subscription.next().unwrap().unwrap_err().kind());
        closer.close();
        assert_eq!(waits.join().unwrap(), ErrorKind::Closed);
        assert_eq!(endpoint.ended.recv().unwrap(), connection);

        assert_eq!(call(&client).unwrap(), "done");
        let mut subscription = client.subscribe().tools().open().unwrap();
        assert!(!client.close().left_behind);
        assert_eq!(subscription.next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(!endpoint.seen().iter().any(|what| what.starts_with("notifications/")));
    });
}

// SUB-15, SUB-17, HTTP-11
#[test]
fn a_stream_that_breaks_is_opened_again_under_a_new_id() {
    soon(|| {
        let (endpoint, streams) = streaming();
        let client = endpoint.open();
        let opens = client.subscribe().tools();
        let opens = thread::spawn(|| opens.open().unwrap());
        let (first, mut chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        chunks.event(&acknowledged(&first));
        let mut subscription = opens.join().unwrap();
        chunks.event(&tools(&first));
        chunks.cut();
        assert_eq!(subscription.next().unwrap().unwrap(), Change::ToolsChanged);
        // It does not block, and does not forget to go on later.
        assert_eq!(subscription.try_next().unwrap(), None);

        let waits = thread::spawn(move || (subscription.next().unwrap().unwrap(), subscription));
        let (second, chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        assert_ne!(first.body["id"], second.body["id"]);
        assert_eq!(first.body["params"], second.body["params"]);
        // Once more, before it is acknowledged.
        chunks.cut();
        let (third, mut chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        chunks.event(&acknowledged(&third));
        let (gap, mut subscription) = waits.join().unwrap();
        assert_eq!(gap, Change::Missed { dropped: 0 });
        // What is of before belongs to nobody.
        chunks.event(&tools(&second));
        assert_eq!(subscription.next_timeout(SHORT).unwrap(), None);
        chunks.event(&tools(&third));
        assert_eq!(subscription.next().unwrap().unwrap(), Change::ToolsChanged);

        // While it waits for the next attempt it can be closed.
        chunks.cut();
        assert_eq!(subscription.try_next().unwrap(), None);
        let closer = subscription.closer();
        closer.close();
        assert_eq!(subscription.next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(!client.close().left_behind);
    });
}

// SUB-19, HTTP-8
#[test]
fn a_stream_without_a_sign_of_life_is_opened_again_if_that_is_wanted() {
    soon(|| {
        let (endpoint, streams) = streaming();
        let client = endpoint.open();
        let opens = client.subscribe().tools().idle_timeout(SHORT);
        let opens = thread::spawn(|| opens.open().unwrap());
        let (first, mut chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        chunks.event(&acknowledged(&first));
        let mut subscription = opens.join().unwrap();
        let waits = thread::spawn(move || subscription.next().unwrap().unwrap());
        let (second, mut chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        assert_eq!(endpoint.ended.recv().unwrap(), first.connection);
        chunks.event(&acknowledged(&second));
        assert_eq!(waits.join().unwrap(), Change::Missed { dropped: 0 });
    });
    soon(|| {
        let (endpoint, streams) = streaming();
        let client = endpoint.open();
        let opens = client.subscribe().tools().idle_timeout(HALF);
        let opens = thread::spawn(|| opens.open().unwrap());
        let (first, mut chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        chunks.event(&acknowledged(&first));
        let mut subscription = opens.join().unwrap();
        // As slowly as it is allowed to, twenty times over.
        let end = Instant::now() + 3 * HALF;
        let waits = thread::spawn(move || subscription.next().unwrap().unwrap());
        while Instant::now() < end {
            assert!(chunks.send(": here\n\n"));
            thread::sleep(HALF / 20);
        }
        chunks.event(&tools(&first));
        assert_eq!(waits.join().unwrap(), Change::ToolsChanged);
        assert!(endpoint.seen().is_empty());
    });
}

// TASK-28, SUB-20
#[test]
fn a_task_is_subscribed_to_on_a_stream_of_its_own() {
    soon(|| {
        let capabilities = json!({ "tools": {}, "extensions": { TASKS: {} } });
        let endpoint = Endpoint::bare(move |post| match post.what() {
            "server/discover" => answer(post, &discovered(&capabilities)),
            _ => {
                let mut state = crate::tasks::completed(said("done"));
                state["taskId"] = "t1".into();
                let state = notification(post, "notifications/tasks", state);
                let all = [acknowledged(post), state, ended(post)];
                stream(move |chunks| all.iter().for_each(|message| chunks.event(message)))
            }
        });
        let client = Client::builder().tasks().open(endpoint.server()).unwrap();
        let mut subscription = client.subscribe().task("t1").open().unwrap();
        let Change::TaskUpdated { task } = subscription.next().unwrap().unwrap() else { panic!() };
        assert_eq!(task.task.task_id, "t1");
        assert_eq!(subscription.next().unwrap().unwrap_err().kind(), ErrorKind::Ended);
        let listen = endpoint.next("subscriptions/listen");
        let extensions = "/params/_meta/io.modelcontextprotocol~1clientCapabilities/extensions";
        assert_eq!(listen.body.pointer(extensions), Some(&json!({ TASKS: {} })));
        assert_eq!(listen.body["params"]["notifications"], json!({ "taskIds": ["t1"] }));
    });
}

// SUB-17
#[test]
fn a_server_that_does_not_want_it_any_more_is_left_alone() {
    soon(|| {
        let asked = AtomicUsize::new(0);
        let endpoint = modern(move |post| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let acknowledged = acknowledged(post);
                stream(move |chunks| chunks.event(&acknowledged))
            }
            _ => http(403, "", ""),
        });
        let client = endpoint.open();
        let mut subscription = client.subscribe().tools().open().unwrap();
        let end = subscription.next().unwrap().unwrap_err();
        assert_eq!(end.kind(), ErrorKind::Authorization);
        assert_eq!(endpoint.seen().len(), 2);
    });
}

// SUB-5, SUB-17
#[test]
fn a_stream_that_is_opened_again_for_nothing_has_ended() {
    soon(|| {
        let asked = AtomicUsize::new(0);
        let endpoint = modern(move |post| {
            let mut acknowledged = acknowledged(post);
            let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            if !is_first {
                acknowledged["params"]["notifications"] = json!({});
            }
            stream(move |chunks| {
                chunks.event(&acknowledged);
                if !is_first {
                    chunks.wait_for_client();
                }
            })
        });
        let client = endpoint.open();
        let mut subscription = client.subscribe().tools().open().unwrap();
        let end = subscription.next().unwrap().unwrap_err();
        assert_eq!(end.kind(), ErrorKind::Unsupported, "{end}");
        assert!(!client.close().left_behind);
    });
}

// SUB-21, LHTTP-9
#[test]
fn a_session_that_begins_anew_is_told_of_what_is_subscribed() {
    soon(|| {
        let (opened, streams) = mpsc::channel();
        let opened = Mutex::new(opened);
        let (endpoint, current) = forgetful(initialized, move |post, _| match post.what() {
            "GET" => held(&opened.lock().unwrap()),
            "tools/call" => answer(post, &said("done")),
            what if what.starts_with("resources/") => answer(post, &json!({})),
            _ => session(post).unwrap(),
        });
        let client = Client::open(endpoint.server().era(Era::Legacy)).unwrap();
        let mut first = streams.recv().unwrap();
        let mut subscription = client.subscribe().tools().resource("x:a").open().unwrap();
        assert_eq!(endpoint.next("resources/subscribe").body["params"]["uri"], "x:a");
        let notice = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "method": method, "params": params });
        first.event(&notice("notifications/tools/list_changed", json!({})));
        assert_eq!(subscription.next().unwrap().unwrap(), Change::ToolsChanged);

        // The server forgets, and the call notices.
        current.store(10, Ordering::SeqCst);
        assert_eq!(call(&client).unwrap(), "done");
        let told = endpoint.next("resources/subscribe");
        assert_eq!(told.header("mcp-session-id"), Some("11"));
        assert_eq!(told.body["params"]["uri"], "x:a");
        assert_eq!(subscription.next().unwrap().unwrap(), Change::Missed { dropped: 0 });
        let mut second = streams.recv().unwrap();
        second.event(&notice("notifications/resources/updated", json!({ "uri": "x:a" })));
        let update = Change::ResourceUpdated { uri: "x:a".to_owned() };
        assert_eq!(subscription.next().unwrap().unwrap(), update);

        // One that nobody answers holds up nothing.
        drop(subscription);
        assert_eq!(endpoint.next("resources/unsubscribe").body["params"]["uri"], "x:a");
        assert!(!client.close().left_behind);
    });
}

// SUB-21, LHTTP-9
#[test]
fn a_subscription_that_the_next_session_does_not_go_on_with_ends() {
    soon(|| {
        let refusals = AtomicUsize::new(0);
        let (endpoint, current) = forgetful(initialized, move |post, number| match post.what() {
            "GET" => http(405, "", ""),
            "tools/call" => answer(post, &said("done")),
            "resources/subscribe" if number > 10 => match post.body["params"]["uri"].as_str() {
                Some("x:gone") if refusals.fetch_add(1, Ordering::SeqCst) == 0 => {
                    let error = json!({ "code": -32002, "message": "no such resource" });
                    let reply = json!({ "jsonrpc": "2.0", "id": post.body["id"], "error": error });
                    http(200, "Content-Type: application/json\r\n", reply.to_string())
                }
                Some("x:breaks") => Answer::Close,
                _ => answer(post, &json!({})),
            },
            what if what.starts_with("resources/") => answer(post, &json!({})),
            _ => session(post).unwrap(),
        });
        let client = Client::open(endpoint.server().era(Era::Legacy)).unwrap();
        let to = |uri: &str| client.subscribe().resource(uri).open();
        let gone = [to("x:gone").unwrap(), to("x:gone").unwrap()];
        let (breaks, mut kept) = (to("x:breaks").unwrap(), to("x:kept").unwrap());
        current.store(10, Ordering::SeqCst);
        assert_eq!(call(&client).unwrap(), "done");
        assert_eq!(kept.next().unwrap().unwrap(), Change::Missed { dropped: 0 });
        let mut anew = Vec::new();
        for subscription in gone {
            let end = subscription.last().unwrap().unwrap_err();
            assert_eq!((end.kind(), end.method()), (ErrorKind::Rpc, Some("resources/subscribe")));
            assert!(end.to_string().contains("no such resource"), "{end}");
            assert!(end.to_string().contains("subscribe again"), "{end}");
            // Nor is it taken for subscribed. What is over does not end this.
            anew.push(to("x:gone").unwrap());
        }
        assert_eq!(breaks.last().unwrap().unwrap_err().kind(), ErrorKind::Disconnected);
        assert_eq!(kept.try_next().unwrap(), None);
        drop(kept);
        assert_eq!(endpoint.next("resources/unsubscribe").body["params"]["uri"], "x:kept");
        assert!(!endpoint.seen().contains(&"subscriptions/listen".to_owned()));
    });
}

// SUB-21, LHTTP-9
#[test]
fn a_stream_that_is_lost_for_good_shows_as_a_gap() {
    soon(|| {
        let (opened, streams) = mpsc::channel();
        let gets = AtomicUsize::new(0);
        let endpoint = Endpoint::bare(move |post| match post.what() {
            "initialize" => initialized(post, "Mcp-Session-Id: s1\r\n"),
            // The second time there is none.
            "GET" if gets.fetch_add(1, Ordering::SeqCst) == 1 => http(405, "", ""),
            "GET" => held(&opened),
            _ => session(post).unwrap(),
        });
        let client = Client::open(endpoint.server().era(Era::Legacy)).unwrap();
        let mut subscription = client.subscribe().tools().open().unwrap();
        streams.recv().unwrap().cut();
        assert_eq!(subscription.next().unwrap().unwrap(), Change::Missed { dropped: 0 });
        assert!(!client.close().left_behind);
    });
}

// SUB-1, SUB-21
#[test]
fn the_example_server_is_watched_in_the_same_way_however_it_is_reached() {
    soon(|| {
        let uri = "file:///notes/hello.txt";
        let over = |mode| Server::url(example::start(0, Options::new(mode)).unwrap());
        let servers = [
            example_server("modern"),
            example_server("legacy"),
            over(Mode::Modern),
            over(Mode::Legacy),
            over(Mode::Both),
            over(Mode::Sse),
        ];
        at_once(servers, |server| {
            let client = Client::open(server).unwrap();
            let updates = client.subscribe().resource(uri).tools().open().unwrap();
            assert_eq!(updates.acknowledged().resource_subscriptions, [uri]);
            let update = Change::ResourceUpdated { uri: uri.to_owned() };
            let seen: Vec<_> = updates.take(3).map(Result::unwrap).collect();
            assert_eq!(seen, vec![update; 3]);
            let none = client.subscribe().resource("file:///none").open().unwrap_err();
            assert!(matches!(none.kind(), ErrorKind::Rpc | ErrorKind::Unsupported), "{none}");
            assert!(!client.close().left_behind);
        });
    });
}
