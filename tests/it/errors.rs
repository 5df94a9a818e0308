//! What errors say: the guide's page on errors shows each of these, word for word.

use std::time::Duration;

use umcp::memory::Script;
use umcp::{CancelToken, Client, Error, ErrorKind, Limits, Server, Timeouts, json};

const PAGE: &str = include_str!("../../src/guide/errors.md");

/// A server with tools that never answers a call.
fn silent() -> Server {
    Server::in_memory(|peer| {
        peer.open_modern(json!({ "tools": {} }));
        while peer.receive().is_some() {}
    })
    .name("files")
}

fn answering(result: serde_json::Value) -> Client {
    Client::open(Script::new().answer("tools/call", result).server().name("files")).unwrap()
}

fn call(client: &Client) -> Error {
    client.tool("read").call().unwrap_err()
}

fn cancelled() -> Error {
    let client = Client::open(silent()).unwrap();
    let token = CancelToken::new();
    token.cancel();
    client.tool("read").cancel_token(&token).call().unwrap_err()
}

fn closed() -> Error {
    let client = Client::open(silent()).unwrap();
    client.close();
    call(&client)
}

fn timeout() -> Error {
    let timeouts = Timeouts::default().request(Duration::from_millis(10));
    call(&Client::open(silent().timeouts(timeouts)).unwrap())
}

fn disconnected() -> Error {
    let server = Server::in_memory(|peer| {
        peer.open_modern(json!({ "tools": {} }));
    });
    call(&Client::open(server.name("files")).unwrap())
}

fn ended() -> Error {
    let server = Server::in_memory(|peer| {
        let listen = peer.open_modern(json!({ "tools": { "listChanged": true } })).unwrap();
        let meta = json!({ "io.modelcontextprotocol/subscriptionId": listen.id() });
        let granted = json!({ "_meta": meta, "notifications": { "toolsListChanged": true } });
        peer.notify("notifications/subscriptions/acknowledged", granted);
        peer.reply(&listen, json!({}));
        while peer.receive().is_some() {}
    });
    let client = Client::open(server.name("files")).unwrap();
    client.subscribe().tools().open().unwrap().next().unwrap().unwrap_err()
}

fn limit() -> Error {
    let page = json!({ "tools": [], "nextCursor": "" });
    let script = Script::new().answer("tools/list", page);
    let limits = Limits::default().pages(1);
    Client::open(script.server().name("files").limits(limits)).unwrap().list_tools().unwrap_err()
}

fn rpc() -> Error {
    let refuse = |_: &_| Err((-32602, "no such tool".to_owned()));
    let script = Script::new().answer_with("tools/call", refuse);
    call(&Client::open(script.server().name("files")).unwrap())
}

fn tool() -> Error {
    let text = json!({ "type": "text", "text": "the disk is full" });
    let client = answering(json!({ "content": [text], "isError": true }));
    client.tool("read").call().unwrap().into_result().unwrap_err()
}

fn unreachable() -> Error {
    Client::open(Server::command("no-such-program-here").inherit_env().name("files")).unwrap_err()
}

#[test]
fn the_page_on_errors_shows_what_they_say() {
    let errors = [
        (ErrorKind::Unreachable, unreachable()),
        (ErrorKind::Disconnected, disconnected()),
        (ErrorKind::Timeout, timeout()),
        (ErrorKind::Cancelled, cancelled()),
        (ErrorKind::Closed, closed()),
        (ErrorKind::Ended, ended()),
        (ErrorKind::Limit, limit()),
        (ErrorKind::Rpc, rpc()),
        (ErrorKind::Tool, tool()),
        (ErrorKind::Unsupported, answering(json!({})).list_prompts().unwrap_err()),
        (ErrorKind::Protocol, call(&answering(json!({ "resultType": "odd", "content": [] })))),
        (ErrorKind::InvalidInput, answering(json!({})).call_tool("read", "a.txt").unwrap_err()),
    ];
    for (kind, error) in errors {
        assert_eq!(error.kind(), kind, "{error}");
        let line = format!("\n{error}\n");
        assert!(PAGE.contains(&line), "the page lacks, or says differently: {line}");
    }
}

#[test]
fn main_prints_the_story_and_the_alternate_form_the_parts() {
    let error = timeout();
    assert_eq!(format!("{error:?}"), error.to_string());
    assert!(format!("{error:#?}").contains("kind: Timeout"), "{error:#?}");
}
