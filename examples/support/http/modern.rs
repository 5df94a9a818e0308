//! Streamable HTTP of 2026-07-28: every POST is a request of its own, and nothing is remembered.

use super::super::server::{self, Era, MODERN, Server, VERSION_KEY, fault, reply};
use super::exchange::{Connection, Request, Writer};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use std::io;

/// Whether a client that has no session is a modern one.
pub fn is_modern(request: &Request, message: &Value) -> bool {
    let says_so = request.header("mcp-protocol-version") == Some(MODERN);
    let has_key = message["params"]["_meta"].get(VERSION_KEY).is_some();
    message["method"] != "initialize" && (says_so || has_key)
}

/// Answers one POST: with JSON, or with events if there is more to say than the reply.
pub fn post(
    era: Era,
    request: &Request,
    message: &Value,
    connection: &mut Connection,
) -> io::Result<()> {
    if let Err(error) = check_headers(request, message) {
        return connection.writer.json(400, &reply(message.get("id"), Err(error)));
    }
    let server = Server::new(era);
    let mut refusal = None;
    let call = server.accept(message, &mut |reply| refusal = Some(reply));
    match (call, refusal) {
        (Some(call), _) if call.takes_time() => {
            // A client that leaves cancels its request by that.
            connection.write_while_there(|writer| run(&server, &call, writer), || server.close())
        }
        (Some(call), _) => run(&server, &call, &mut connection.writer),
        (None, Some(refusal)) => connection.writer.json(400, &refusal),
        (None, None) => connection.writer.reply(202, &[], ""),
    }
}

fn run(server: &Server, call: &server::Request, writer: &mut Writer) -> io::Result<()> {
    let mut has_begun = false;
    let mut written = Ok(());
    server.run(call, &mut |message| {
        let is_reply = message.get("method").is_none();
        let mut write = || {
            if is_reply && !has_begun {
                let is_unknown = message["error"]["code"] == -32601;
                return writer.json(if is_unknown { 404 } else { 200 }, &message);
            }
            if !has_begun {
                has_begun = true;
                writer.begin_events()?;
            }
            writer.event(&format!("data: {message}\n\n"))?;
            if is_reply { writer.end_events() } else { Ok(()) }
        };
        if written.is_ok() {
            written = write();
        }
    });
    written
}

/// Checks the headers that repeat what the body says.
fn check_headers(request: &Request, message: &Value) -> server::Answer<()> {
    let params = &message["params"];
    let Some(method) = message["method"].as_str() else {
        return Err(fault(-32600, "a modern client sends nothing but requests"));
    };
    if method == "initialize" {
        return Ok(()); // of a legacy client, which knows none of the headers
    }
    let version = params["_meta"][VERSION_KEY].as_str();
    let name = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        "tasks/get" | "tasks/update" | "tasks/cancel" => params["taskId"].as_str(),
        _ => None,
    };
    let right = [
        (
            "MCP-Protocol-Version",
            version,
            request.header("mcp-protocol-version").map(str::to_owned),
        ),
        ("Mcp-Method", Some(method), request.header("mcp-method").map(str::to_owned)),
        ("Mcp-Name", name, request.header("mcp-name").map(decode)),
    ];
    for (header, body, given) in right {
        // What the body itself lacks is for the server to say.
        if body.is_some() && given.as_deref() != body {
            return Err(fault(-32020, format!("`{header}` does not say what the body says")));
        }
    }
    Ok(())
}

/// The text of a header that may have been unfit for one.
fn decode(value: &str) -> String {
    let encoded = value.strip_prefix("=?base64?").and_then(|value| value.strip_suffix("?="));
    let bytes = encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| value.to_owned())
}
