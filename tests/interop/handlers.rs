//! What other people's servers ask of their client.

use umcp::protocol::{CreateMessageResult, ElicitResult, Root};
use umcp::{Client, Era, Server, json};

use crate::http::Listening;
use crate::{everything, node, python, server};

/// A client with a handler for everything.
fn answering(server: Server) -> Client {
    Client::builder()
        .on_elicitation(|form, _| {
            let name = json!("Ada");
            match form.requested_schema.property("name") {
                Some(_) => ElicitResult::accept([("name".to_owned(), name)].into_iter().collect()),
                None => ElicitResult::decline(),
            }
        })
        .on_sampling(|request, _| {
            assert!(request.max_tokens > 0);
            Ok(CreateMessageResult::text("a-model", "what the model says"))
        })
        .root(Root::new("file:///project"))
        .open(server)
        .unwrap()
}

#[test]
fn everything_asks_for_all_there_is() {
    let listening = ["streamableHttp", "sse"].map(Listening::everything);
    let remote = listening.iter().map(|it| Server::url(it.url()));
    for server in remote.chain([server(&everything())]) {
        let client = answering(server);
        let text = |tool: &str, arguments| client.call_tool(tool, arguments).unwrap().text();
        let elicited = text("trigger-elicitation-request", json!({}));
        assert!(elicited.contains("Ada"), "{elicited}");
        let sampled =
            text("trigger-sampling-request", json!({ "prompt": "hello", "maxTokens": 10 }));
        assert!(sampled.contains("what the model says"), "{sampled}");
        let roots = text("get-roots-list", json!({}));
        assert!(roots.contains("file:///project"), "{roots}");
        assert!(!client.close().left_behind);
    }
}

/// Asks for one thing of each kind in either era, and tells what it was answered.
fn asks_in_both_eras(over: Server) {
    for era in [Era::Modern, Era::Legacy] {
        let client = answering(over.clone().era(era));
        let text = |tool: &str| client.call_tool(tool, json!({})).unwrap().text();
        assert_eq!(text("ask"), "Hello Ada", "{era}");
        assert_eq!(text("sample"), "what the model says", "{era}");
        assert_eq!(text("roots"), "file:///project", "{era}");
        assert!(!client.close().left_behind);
    }
}

#[test]
fn python_asks_in_both_eras() {
    asks_in_both_eras(server(&python()));
    asks_in_both_eras(Server::url(Listening::python("http").url()));
}

#[test]
fn node_asks_in_both_eras() {
    asks_in_both_eras(server(&node()));
    asks_in_both_eras(Server::url(Listening::node("http").url()));
}
