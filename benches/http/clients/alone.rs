//! ureq alone: one agent for all callers, and the same job. No clocks, no limits, no errors.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ureq::Agent;
use ureq::http::Uri;

use super::{DISCOVER, Reply};
use crate::support::calls::Call;
use crate::support::wire;

struct Alone {
    agent: Agent,
    url: Uri,
    next_id: AtomicU64,
}

impl Alone {
    fn new(to: SocketAddr) -> Self {
        // Its own idea of how many connections to keep is fewer than there are callers.
        const MOST_IDLE: usize = 64;
        let config = Agent::config_builder()
            .proxy(None)
            .max_idle_connections(MOST_IDLE)
            .max_idle_connections_per_host(MOST_IDLE);
        let url = format!("http://{to}/mcp").parse().unwrap();
        Self { agent: config.build().into(), url, next_id: AtomicU64::new(1) }
    }

    fn call(&self, reply: Reply, text: &str) -> wire::CallResult {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut message = Vec::new();
        wire::write_call(&mut message, id, text);
        reply.parse(&self.exchange(&message), id)
    }

    fn exchange(&self, message: &[u8]) -> Vec<u8> {
        let request = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "echo");
        let answer = request.send(message).unwrap().into_body();
        let mut body = Vec::with_capacity(answer.content_length().unwrap_or_default() as usize);
        answer.into_reader().read_to_end(&mut body).unwrap();
        body
    }
}

pub fn share(to: SocketAddr, reply: Reply, argument: &str, callers: usize) -> Vec<Call> {
    let alone = Arc::new(Alone::new(to));
    let call = || -> Call {
        let (alone, argument) = (alone.clone(), argument.to_owned());
        Box::new(move || alone.call(reply, &argument).size())
    };
    (0..callers).map(|_| call()).collect()
}

pub fn run_once(to: SocketAddr) {
    let alone = Alone::new(to);
    alone.exchange(DISCOVER);
    assert_eq!(alone.call(Reply::Json, "").size(), 64);
}
