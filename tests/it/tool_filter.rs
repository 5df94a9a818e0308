//! Filters for tools: what is left out is not listed, and not called.

use serde_json::{Value, json};
use umcp::{Client, Era, Error, ErrorKind, Server};

use crate::calls::{all_received, answering, said, tools};
use crate::common::{ERAS, example_server, soon};

const NAMES: [&str; 5] = ["read_file", "read_secret", "write_file", "stat", ""];

/// A server whose tools come on pages of two, and what it receives.
fn server(era: Era) -> (Server, std::sync::mpsc::Receiver<umcp::memory::Received>) {
    answering(era, tools(), |wire, message| match message.method() {
        "tools/list" => {
            let start: usize =
                message.param("/cursor").as_str().map_or(0, |at| at.parse().unwrap());
            let page: Vec<Value> =
                NAMES.iter().skip(start).take(2).map(|name| tool(name)).collect();
            let next = (start + 2 < NAMES.len()).then(|| (start + 2).to_string());
            wire.reply(message, json!({ "tools": page, "nextCursor": next }));
        }
        "tools/call" => wire.reply(message, said("done")),
        _ => {}
    })
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

fn names(client: &Client) -> Vec<String> {
    client.list_tools().unwrap().into_iter().map(|tool| tool.name).collect()
}

fn all(patterns: &[&str]) -> Vec<String> {
    patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
}

#[test]
fn what_is_left_out_is_on_no_list() {
    soon(|| {
        type Filter = fn(Server) -> Server;
        let cases: [(Filter, &[&str]); 8] = [
            (|server| server, &NAMES),
            (|server| server.include_tools(["*"]), &NAMES),
            (|server| server.include_tools(["read_*"]), &["read_file", "read_secret"]),
            (|server| server.exclude_tools(["*_*"]), &["stat", ""]),
            (
                |server| server.exclude_tools(["*secret"]).include_tools(["read_*", "stat"]),
                &["read_file", "stat"],
            ),
            (|server| server.include_tools(["stat"]).exclude_tools(["stat"]), &[]),
            (
                |server| server.include_tools(["stat"]).include_tools(["write_file"]),
                &["write_file", "stat"],
            ),
            (|server| server.include_tools(all(&[])), &[]),
        ];
        for (era, (filter, left)) in ERAS.into_iter().flat_map(|era| cases.map(|it| (era, it))) {
            let client = Client::open(filter(server(era).0)).unwrap();
            assert_eq!(names(&client), left, "{era}");
            let items = client.tools().into_iter().map(|tool| tool.unwrap().name);
            assert!(items.eq(left.iter().copied()), "{era}");
        }
    });
}

#[test]
fn pages_keep_their_cursors_though_nothing_is_left_on_them() {
    soon(|| {
        let client = Client::open(server(Era::Modern).0.include_tools(["stat"])).unwrap();
        let pages: Vec<_> = client.tools().pages().map(|page| page.unwrap()).collect();
        let counts: Vec<_> = pages.iter().map(|page| page.items.len()).collect();
        assert_eq!(counts, [0, 1, 0]);
        assert_eq!(pages[0].next_cursor.as_deref(), Some("2"));
    });
}

fn refusals(client: &Client, tool: &str) -> Vec<Error> {
    let raw = || client.request("tools/call", json!({ "name": tool }));
    vec![
        client.call_tool(tool, json!({})).unwrap_err(),
        client.tool(tool).start().map(drop).unwrap_err(),
        client.tool(tool).start_task().map(drop).unwrap_err(),
        raw().call().unwrap_err(),
        // What the header would say is not what is called.
        raw().mcp_name("stat").call().unwrap_err(),
    ]
}

#[test]
fn a_call_of_what_is_left_out_says_by_which_filter_and_sends_nothing() {
    soon(|| {
        for era in ERAS {
            let (server, received) = server(era);
            let server = server.name("files").include_tools(["read_*", "stat"]);
            let server = server.exclude_tools(["*secret*"]);
            let client = Client::builder().tasks().open(server).unwrap();
            for (tool, why) in [
                ("read_secret", "`exclude_tools` leaves this tool out, with \"*secret*\""),
                ("write_file", "`include_tools` leaves this tool out: no pattern fits"),
                ("", "`include_tools` leaves this tool out: no pattern fits"),
            ] {
                for error in refusals(&client, tool) {
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{era} {error}");
                    assert!(!error.may_have_run(), "{era} {error}");
                    let said = error.to_string();
                    assert!(said.starts_with("files: tools/call"), "{era} {said}");
                    assert!(said.contains(tool) && said.ends_with(why), "{era} {said}");
                }
            }
            // Other requests have nothing to do with it.
            assert_eq!(client.call_tool("stat", json!({})).unwrap().text(), "done");
            let received = all_received(&client, &received);
            let sent: Vec<_> = received.iter().map(|message| message.method()).collect();
            assert_eq!(sent, ["tools/call"], "{era}");
        }
    });
}

#[test]
fn it_is_the_same_for_a_process() {
    soon(|| {
        let server = example_server("both").include_tools(["add", "echo"]).exclude_tools(["ech*"]);
        assert!(format!("{server:?}").contains("ech*"));
        let client = Client::open(server).unwrap();
        assert_eq!(names(&client), ["add"]);
        assert_eq!(client.call_tool("add", json!({ "a": 2, "b": 3 })).unwrap().text(), "5");
        let error = client.call_tool("echo", json!({ "message": "hi" })).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
