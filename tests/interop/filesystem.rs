//! server-filesystem: the SDK's first version again, in a server that does something.

use std::fs;

use umcp::{Client, Era, ErrorKind, json};

use crate::{Directory, ends_by_itself, filesystem, names, server};

#[test]
fn filesystem_is_legacy_and_keeps_to_its_directory() {
    let directory = Directory::new("filesystem");
    let client = Client::open(server(&filesystem(&directory))).unwrap();
    assert_eq!(client.protocol_version().era(), Era::Legacy);
    assert_eq!(client.server_info().unwrap().name, "secure-filesystem-server");
    let tools = names(client.list_tools().unwrap(), |tool| tool.name);
    for tool in ["write_file", "read_text_file", "list_directory", "get_file_info"] {
        assert!(tools.contains(&tool.to_owned()), "{tools:?}");
    }

    // Longer than a pipe holds, and with what JSON has to escape.
    let content = "Zürich \u{1f980} \"quoted\"\tand\\\n".repeat(10_000);
    let path = directory.path("notes.txt");
    let written = client.call_tool("write_file", json!({ "path": path, "content": content }));
    assert!(!written.unwrap().is_error);
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
    let read = client.tool("read_text_file").arg("path", &path).call().unwrap();
    assert!(read.into_result().unwrap().text() == content);
    let head = client.call_tool("read_text_file", json!({ "path": path, "head": 1 })).unwrap();
    let head: serde_json::Value = head.structured().unwrap();
    assert_eq!(head["content"].as_str(), content.lines().next());

    fs::create_dir(directory.path("inner")).unwrap();
    let listed = client.tool("list_directory").arg("path", directory.path("")).call().unwrap();
    let listed = listed.into_result().unwrap().text();
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["[DIR] inner", "[FILE] notes.txt"]);

    let outside = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).unwrap().join("Cargo.toml");
    let refused = client.tool("read_text_file").arg("path", outside).call().unwrap();
    let error = refused.into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);
    let missing = client.call_tool("read_text_file", json!({})).unwrap();
    assert_eq!(missing.into_result().unwrap_err().kind(), ErrorKind::Tool);

    // It declares tools alone.
    assert_eq!(client.list_resources().unwrap_err().kind(), ErrorKind::Unsupported);
    let error = client.request("resources/list", ()).call().unwrap_err();
    assert_eq!(error.rpc().unwrap().code, -32601);
    ends_by_itself(&client);
}

#[test]
fn filesystem_says_why_it_does_not_start() {
    let directory = Directory::new("nowhere");
    let command = filesystem(&directory);
    drop(directory);
    let error = Client::open(server(&command)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disconnected);
    let text = error.to_string();
    assert!(text.contains("exit status: 1") || text.contains("exit code: 1"), "{text}");
    assert!(text.contains("None of the specified directories are accessible"), "{text}");
}
