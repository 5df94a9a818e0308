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

    fn code(&self) -> Option<i64> {
        self.rpc_error().map(|error| error.code)
    }

    /// The session is over, whatever else the answer says (LHTTP-8).
    fn ended_session(&self) -> bool {
        let status = self.answer.status;
        self.had_session && (status == 404 || status == 400 && self.misses_session())
    }

    /// Servers made after an early example of the TypeScript SDK, such as server-everything, know
    /// no 404: "Bad Request: No valid session ID provided". Some of Python's SDK say it in plain
    /// text.
    fn misses_session(&self) -> bool {
        let says_so = |text: &str| text.to_ascii_lowercase().contains("session id");
        match self.rpc_error() {
            Some(error) => error.code == -32000 && says_so(&error.message),
            None => {
                let is_text = self.answer.media_type.eq_ignore_ascii_case("text/plain");
                is_text && says_so(&String::from_utf8_lossy(&self.answer.body))
            }
        }
    }

    /// The JSON-RPC response in the body, whatever the status, or what the status means.
    pub(super) fn reply(self) -> Result<Answer, Error> {
        // An error of JSON-RPC has no place for how long to wait.
        let says_when = matches!(self.answer.status, 429 | 503) && self.retry_after.is_some();
        let is_refused = matches!(self.answer.status, 401 | 403) || says_when;
        let is_reply = !is_refused && !self.ended_session();
        if is_reply && self.rpc_error().is_some() {
            return Ok(self.answer);
        }
        Err(self.error())
    }

    /// The same for a request that asks for the era. ERA-33: a server that cannot answer now does
    /// not show it, whatever it says meanwhile, unless that is of the modern era.
    pub(super) fn reply_on_era(self) -> Result<Answer, Error> {
        match self.shows_era() || self.is_modern() {
            true => self.reply(),
            false => Err(self.error()),
        }
    }

    /// Whether the body is an error that no legacy server knows.
    fn is_modern(&self) -> bool {
        matches!(self.code(), Some(-32022..=-32020))
    }

    fn shows_era(&self) -> bool {
        const SHOW_NOTHING: [u16; 11] = [401, 403, 406, 407, 408, 413, 415, 421, 425, 429, 431];
        let status = self.answer.status;
        matches!(status, 400..500) && !SHOW_NOTHING.contains(&status)
    }

    /// ERA-34: whether what refuses `initialize` may be a server of the old transport. One that says
    /// so in words of the modern era (ERA-29), or that there is no such method, is none.
    pub(super) fn may_be_http_sse(&self) -> bool {
        let may_be = matches!(self.answer.status, 400 | 404 | 405);
        may_be && !self.is_modern() && self.code() != Some(-32601)
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
        match self.shows_era() {
            true => error.refused(Refusal::Unrecognised),
            false => error,
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
fn is_break(error: &ureq::Error) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request with or without a session is told of it.
    fn is_over(status: u16, body: &str, had_session: bool) -> bool {
        let media_type = if body.starts_with('{') { "application/json" } else { "text/plain" };
        let (body, media_type) = (body.as_bytes().to_vec(), media_type.to_owned());
        let answer = Answer { status, media_type, body };
        let refused = Refused { answer, retry_after: None, had_session };
        let is_over = refused.error().refusal() == Some(Refusal::UnknownSession);
        assert_eq!(refused.reply().is_err_and(|it| !it.may_have_run() && had_session), is_over);
        is_over
    }

    // LHTTP-8, LHTTP-10
    #[test]
    fn a_session_is_over_by_its_status_or_by_what_a_400_says() {
        let error = |code: i32, text: &str| {
            format!(r#"{{"jsonrpc":"2.0","error":{{"code":{code},"message":"{text}"}}}}"#)
        };
        let missed = error(-32000, "Bad Request: No valid session ID provided");
        let text = "Bad Request: No valid session ID provided";
        for (status, body) in [(404, ""), (404, &missed), (400, &missed), (400, text)] {
            assert!(is_over(status, body, true), "{status} {body}");
            assert!(!is_over(status, body, false), "{status} {body}");
        }
        for body in ["", "No session", &error(-32602, "no session ID"), &error(-32000, "no")] {
            assert!(!is_over(400, body, true), "{body}");
        }
        assert!(!is_over(500, &missed, true));
    }
}
