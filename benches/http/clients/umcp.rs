//! umcp itself, by its public API.

use std::net::SocketAddr;

use umcp::{Client, json};

use crate::support::calls::Call;
use crate::support::wire;

fn connect(to: SocketAddr) -> Client {
    Client::connect(format!("http://{to}/mcp")).unwrap()
}

pub fn share(to: SocketAddr, argument: &str, callers: usize) -> Vec<Call> {
    let client = connect(to);
    let call = || -> Call {
        let (client, argument) = (client.clone(), argument.to_owned());
        Box::new(move || {
            let result = client.call_tool("echo", wire::Arguments { text: &argument }).unwrap();
            result.content[0].as_text().unwrap().len()
        })
    };
    (0..callers).map(|_| call()).collect()
}

pub fn run_once(to: SocketAddr) {
    let client = connect(to);
    assert!(!client.call_tool("echo", json!({ "text": "" })).unwrap().is_error);
    client.close();
}
