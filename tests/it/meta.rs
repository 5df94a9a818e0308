//! `_meta`: what every request says about its sender.

use std::sync::mpsc;

use serde_json::{Map, Value, json};
use umcp::memory::Received;
use umcp::protocol::Implementation;
use umcp::{Client, CompletionReference, Era, ErrorKind, LoggingLevel, ProtocolVersion, Server};

use crate::calls::{all_received, answering, said, tools};
use crate::common::soon;
use crate::era::everything;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const INFO: &str = "io.modelcontextprotocol/clientInfo";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A result that fits every method, with a second page.
fn any_result(request: &Received) -> Value {
    let mut result = json!({
        "tools": [], "resources": [], "resourceTemplates": [], "prompts": [], "contents": [],
        "messages": [], "content": [], "completion": { "values": [] },
    });
    if request.method().ends_with("/list") && request.param("/cursor").is_null() {
        result["nextCursor"] = json!("2");
    }
    result
}

/// Asks for everything there is.
fn ask_everything(client: &Client) {
    client.list_tools().unwrap();
    client.list_resources().unwrap();
    client.list_resource_templates().unwrap();
    client.list_prompts().unwrap();
    client.call_tool("x", json!({ "a": 1 })).map(drop).unwrap();
    client.tool("x").on_progress(|_| ()).call().map(drop).unwrap();
    client.read_resource("x:y").unwrap();
    client.get_prompt("x", [("a", "b")]).unwrap();
    client.complete(CompletionReference::prompt("x"), "a", "b").unwrap();
    client.ping().unwrap();
    client.set_log_level(LoggingLevel::Info).unwrap();
    client.request("example/x", json!({ "a": 1 })).call().unwrap();
    client.request("tasks/get", json!({ "taskId": "t" })).call().unwrap();
}

/// All that a client sends which asks for everything, the opening included.
fn all_sent(version: ProtocolVersion) -> Vec<Received> {
    let (seen, received) = mpsc::channel();
    let server = Server::in_memory(move |peer| {
        while let Some(message) = peer.receive() {
            seen.send(message.clone()).unwrap();
            let opening = json!({ "supportedVersions": [version.as_str()], "capabilities": everything(),
                "protocolVersion": version.as_str(), "serverInfo": { "name": "x", "version": "1" } });
            match message.method() {
                "server/discover" | "initialize" => peer.reply(&message, opening),
                method if method.starts_with("notifications/") => {}
                _ => peer.reply(&message, any_result(&message)),
            }
        }
    });
    let info = Implementation::new("tester", "1.2.3");
    let client = Client::builder().implementation(info);
    let client = client.open(server.version(version)).unwrap();
    ask_everything(&client);
    all_received(&client, &received)
}

fn meta(message: &Received) -> Map<String, Value> {
    message.param("/_meta").as_object().cloned().unwrap_or_default()
}

// META-1, META-2, META-4, META-5, STDIO-21
#[test]
fn every_modern_request_says_who_sends_it_and_in_which_version() {
    soon(|| {
        let sent = all_sent(ProtocolVersion::V2026_07_28);
        let methods: Vec<&str> = sent.iter().map(Received::method).collect();
        assert_eq!(methods[0], "server/discover");
        assert_eq!(methods.iter().filter(|method| **method == "tools/list").count(), 2);
        assert_eq!(sent.len(), 17, "{methods:?}");
        for message in &sent {
            let meta = meta(message);
            assert_eq!(meta[VERSION], "2026-07-28", "{message:?}");
            // All of them, every time: this client has nothing that a server could ask for.
            assert_eq!(meta[CAPABILITIES], json!({}), "{message:?}");
            assert_eq!(meta[INFO], json!({ "name": "tester", "version": "1.2.3" }), "{message:?}");
        }
    });
}

// META-14, META-15
#[test]
fn a_legacy_session_has_no_keys_of_the_modern_era() {
    soon(|| {
        for version in ProtocolVersion::ALL.iter().filter(|version| version.era() == Era::Legacy) {
            let sent = all_sent(*version);
            assert_eq!(sent[0].method(), "initialize", "{version}");
            for message in &sent {
                let asks_for_progress = message.param("/_meta/progressToken").is_u64();
                let expected = usize::from(asks_for_progress);
                assert_eq!(meta(message).len(), expected, "{version}: {message:?}");
            }
            assert_eq!(sent.iter().filter(|message| !meta(message).is_empty()).count(), 1);
        }
    });
}

// META-9, META-10, META-11, META-13
#[test]
fn own_keys_keep_to_the_grammar_and_out_of_what_is_reserved() {
    soon(|| {
        for era in [Era::Modern, Era::Legacy] {
            let (server, received) = answering(era, tools(), |wire, call| {
                wire.reply(call, said("done"));
            });
            let client = Client::open(server).unwrap();
            let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
            let own = [
                ("com.example/key", json!({ "a": [1] })),
                ("com.example.mcp/key", json!(null)),
                ("a", json!("text")),
                ("a.b_c-d", json!(1.5)),
                ("x1.y-2/", json!(true)),
                ("traceparent", json!(trace)),
                ("tracestate", json!("vendor=value")),
                ("baggage", json!("user=1,b=2")),
            ];
            let call = own
                .iter()
                .fold(client.tool("x"), |call, (key, value)| call.meta(*key, value.clone()));
            assert_eq!(call.call().unwrap().text(), "done");
            for key in [
                "",
                "/",
                "/a",
                "-a",
                "a-",
                "a b",
                "ä",
                "1com/a",
                "com-/a",
                "com..x/a",
                "com_x/a",
                "a/b/c",
                "progressToken",
                VERSION,
                "io.modelcontextprotocol/logLevel",
                "io.modelcontextprotocol/anything",
                "dev.mcp/a",
                "com.mcp.tools/a",
                "modelcontextprotocol.io/a",
                "mcp.dev/a",
                "tools.mcp.com/a",
            ] {
                let error = client.tool("x").meta(key, 1).call().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key}");
                assert!(!error.may_have_run(), "{key}");
            }
            let received = all_received(&client, &received);
            let [call] = &received[..] else { panic!("{received:?}") };
            let meta = meta(call);
            for (key, value) in own {
                assert_eq!(meta[key], value, "{era}: {key}");
            }
        }
    });
}

// META-8, META-12
#[test]
fn what_a_server_puts_at_reserved_keys_is_not_relied_on() {
    soon(|| {
        let odd = |value: &Value| {
            json!({
                "io.modelcontextprotocol/serverInfo": value,
                "io.modelcontextprotocol/subscriptionId": value,
                "io.modelcontextprotocol/related-task": value,
                "io.modelcontextprotocol/protocolVersion": value,
                "dev.mcp/x": value,
                "progressToken": value,
                "traceparent": value,
            })
        };
        for value in [json!(5), json!(null), json!("text"), json!([]), json!({ "name": 1 })] {
            let meta = odd(&value);
            let server = Server::in_memory(move |peer| {
                while let Some(message) = peer.receive() {
                    let mut result = json!({ "supportedVersions": ["2026-07-28"],
                        "capabilities": { "tools": {} }, "content": [], "tools": [] });
                    result["_meta"] = meta.clone();
                    let log = json!({ "level": "info", "data": 1, "_meta": meta });
                    peer.notify("notifications/message", log);
                    peer.reply(&message, result);
                }
            });
            let client = Client::open(server).unwrap();
            assert!(client.server_info().is_none(), "{value}");
            let mut logged = 0;
            let result = client.tool("x").on_log(|_| logged += 1).call().unwrap();
            assert_eq!(result.meta.unwrap()["dev.mcp/x"], value);
            assert_eq!(logged, 1);
            assert_eq!(client.list_tools().unwrap(), []);
            assert_eq!(client.protocol_version(), ProtocolVersion::V2026_07_28);
        }
    });
}
