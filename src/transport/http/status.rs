//! What the status of an answer means.

use std::io;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Refusal, RpcError, said};
use crate::protocol::envelope::{Kind, Message, Outcome};

use super::exchange::Answer;

/// What came back instead of a success.
pub(super) struct Refused {
    pub(super) answer: Answer,
    pub(super) retry_after: Option<Duration>,
    /// The request named a session.
    pub(super) had_session: bool,
}

impl Refused {
    /// The JSON-RPC error in the body, if that is what it is.
    fn rpc_error(&self) -> Option<RpcError> {
        let message = Message::scan(self.answer.body.clone()).ok()?;
        match message.kind() {
            Kind::Response { outcome: Outcome::Error, .. } => Some(message.rpc_error()),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> Option<i64> {
        self.rpc_error().map(|error| error.code)
    }

    /// The session is over, whatever else the answer says (LHTTP-8). Some servers say it with a 400
    /// and in words.
    fn ended_session(&self) -> bool {
        let says_so = |error: RpcError| error.message.to_ascii_lowercase().contains("session");
        self.had_session
            && match self.answer.status {
                404 => true,
                400 => self.rpc_error().is_some_and(says_so),
                _ => false,
            }
    }

    /// The JSON-RPC response in the body, whatever the status, or what the status means.
    pub(super) fn reply(self) -> Result<Answer, Error> {
        let is_reply = !matches!(self.answer.status, 401 | 403) && !self.ended_session();
        if is_reply && self.rpc_error().is_some() {
            return Ok(self.answer);
        }
        Err(self.error())
    }

    pub(super) fn error(&self) -> Error {
        let Answer { status, body, .. } = &self.answer;
        let status = *status;
        if self.ended_session() {
            let text = format!("the server no longer knows this session (HTTP {status})");
            let error = Error::new(ErrorKind::Disconnected, text).hint("Open a new client");
            return error.refused(Refusal::UnknownSession).ran(false);
        }
        let text = format!("the server answered with HTTP {status}");
        let body = said(&String::from_utf8_lossy(body.get(..200).unwrap_or(body)));
        let text = if body.is_empty() { text } else { format!("{text}: {body}") };
        let (kind, hint) = match status {
            401 | 403 => {
                (ErrorKind::Authorization, "The server wants credentials, or refuses these")
            }
            400 | 404 | 405 => (ErrorKind::Unreachable, "Is this the URL of an MCP endpoint?"),
            _ => (ErrorKind::Unreachable, "Try again later, or ask the server's operator"),
        };
        // Refused before it was looked at; behind any other status something may have begun.
        let ran = !matches!(status, 401 | 404 | 405 | 429);
        let error = Error::new(kind, text).hint(hint).retry_in(self.retry_after).ran(ran);
        match status {
            // ERA-33: these say nothing of the era, nor do those of 500 and above.
            401 | 403 | 406 | 407 | 408 | 413 | 415 | 421 | 425 | 429 | 431 => error,
            400..500 => error.refused(Refusal::Unrecognised),
            _ => error,
        }
    }
}

/// The exchange broke.
pub(super) fn broken(error: ureq::Error) -> Error {
    #[cfg(feature = "tls")]
    if let Some(problem) = crate::net::certificate_problem(&error) {
        return problem.source(error);
    }
    let (kind, hint, ran) = match &error {
        ureq::Error::HostNotFound => (ErrorKind::Unreachable, "Check the host's name", false),
        ureq::Error::ConnectionFailed => (ErrorKind::Unreachable, "Is the server running?", false),
        ureq::Error::Io(io) => match io.kind() {
            io::ErrorKind::ConnectionRefused => {
                (ErrorKind::Unreachable, "Is the server running?", false)
            }
            io::ErrorKind::InvalidData => {
                (ErrorKind::Unreachable, "Is this an https port, its certificate trusted?", true)
            }
            _ if is_break(&error) => {
                (ErrorKind::Disconnected, "Ask again, if that does no harm", true)
            }
            _ => (ErrorKind::Unreachable, "Check the host's name, and the network", true),
        },
        ureq::Error::Tls(_) | ureq::Error::ConnectProxyFailed(_) => {
            (ErrorKind::Unreachable, "Is its certificate trusted, and the proxy right?", false)
        }
        ureq::Error::Protocol(_) | ureq::Error::Decompress(..) => {
            (ErrorKind::Protocol, "Is this the URL of an MCP endpoint?", true)
        }
        ureq::Error::LargeResponseHeader(..) => {
            (ErrorKind::Limit, "Ask the server's operator", true)
        }
        _ => (ErrorKind::Disconnected, "Ask again, if that does no harm", true),
    };
    Error::new(kind, format!("the exchange failed: {error}")).hint(hint).ran(ran).source(error)
}

/// The connection was there, and is not any more.
pub(super) fn is_break(error: &ureq::Error) -> bool {
    let ureq::Error::Io(io) = error else { return false };
    matches!(
        io.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected
    )
}
