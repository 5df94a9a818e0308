//! umcp itself, by its public API.

use umcp::{Client, Server};

use crate::support::calls::Call;
use crate::support::process::{itself, server_arguments};
use crate::support::wire;

/// The tuned server, as umcp starts it.
pub fn server(fast_path: bool, size: usize) -> Server {
    Server::command(itself()).args(server_arguments(&[&size.to_string()])).fast_path(fast_path)
}

pub fn share(fast_path: bool, size: usize, argument: String, callers: usize) -> Vec<Call> {
    let client = Client::open(server(fast_path, size)).unwrap();
    let call = || -> Call {
        let (client, argument) = (client.clone(), argument.clone());
        Box::new(move || {
            let result = client.call_tool("echo", wire::Arguments { text: &argument }).unwrap();
            result.content[0].as_text().unwrap().len()
        })
    };
    (0..callers).map(|_| call()).collect()
}
