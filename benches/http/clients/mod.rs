//! The clients that are compared.

mod alone;
mod peer;
mod socket;
mod umcp;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::calls::Call;
use crate::support::replies::text;
use crate::support::wire;

pub use peer::Peer;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A bare socket.
    Socket,
    /// ureq alone.
    Alone,
    Umcp,
}

/// What the server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Json,
    Events,
}

impl Reply {
    pub const ALL: [Reply; 2] = [Reply::Json, Reply::Events];

    pub fn name(self) -> &'static str {
        match self {
            Reply::Json => "JSON",
            Reply::Events => "SSE",
        }
    }

    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|reply| reply.name() == name).unwrap()
    }

    /// Reads what the body of an answer says.
    fn parse(self, body: &[u8], id: u64) -> wire::CallResult {
        let message = match self {
            Reply::Json => body,
            Reply::Events => data(body),
        };
        let response: wire::Response = serde_json::from_slice(message).unwrap();
        assert_eq!(response.id, id);
        response.result
    }
}

/// The one line of data that an answer has.
fn data(body: &[u8]) -> &[u8] {
    const DATA: &[u8] = b"\ndata: ";
    let start = body.windows(DATA.len()).position(|window| window == DATA).unwrap() + DATA.len();
    body[start..].strip_suffix(b"\n\n").unwrap()
}

impl Subject {
    pub const ALL: [Subject; 3] = [Subject::Socket, Subject::Alone, Subject::Umcp];
    /// Those whose ratio is shown. The first counts.
    pub const JUDGED: [Subject; 1] = [Subject::Umcp];

    pub fn name(self) -> &'static str {
        match self {
            Subject::Socket => "bare socket",
            Subject::Alone => "ureq alone",
            Subject::Umcp => "umcp",
        }
    }

    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|subject| subject.name() == name).unwrap()
    }

    /// Connects to a server of its own, whose tool returns texts of `size` bytes.
    pub fn connect(self, reply: Reply, size: usize) -> Call {
        self.share(reply, size, 1).remove(0)
    }

    /// As `connect`, with that many callers: on one client or agent, but each with a socket.
    pub fn share(self, reply: Reply, size: usize, callers: usize) -> Vec<Call> {
        let peer = Arc::new(Peer::start(reply, size));
        // What is sent is as long as what comes back, except when that is huge.
        let argument = text(if size <= 1024 { size } else { 0 });
        let calls = self.calls(peer.address, reply, &argument, callers);
        let held = |mut call: Call| -> Call {
            let peer = peer.clone();
            Box::new(move || {
                let _still_there = &peer;
                call()
            })
        };
        calls.into_iter().map(held).collect()
    }

    /// So many callers of a server that runs already.
    pub fn calls(self, to: SocketAddr, reply: Reply, argument: &str, callers: usize) -> Vec<Call> {
        match self {
            Subject::Socket => socket::share(to, reply, argument, callers),
            Subject::Alone => alone::share(to, reply, argument, callers),
            Subject::Umcp => umcp::share(to, argument, callers),
        }
    }

    /// Connects, asks what the server is, makes one call and closes.
    pub fn run_once(self, to: SocketAddr) {
        match self {
            Subject::Socket => socket::run_once(to),
            Subject::Alone => alone::run_once(to),
            Subject::Umcp => umcp::run_once(to),
        }
    }
}

/// What a client of the modern era asks first.
const DISCOVER: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{}}"#;
