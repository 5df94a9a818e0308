//! Why the command failed, and the exit status that says so.

use std::fmt::Display;

use umcp::{Error, ErrorKind};

/// What the exit status says. Where the official Inspector has a number for it, it is that one.
pub(crate) mod status {
    pub(crate) const DONE: u8 = 0;
    /// Wrong usage or local configuration.
    pub(crate) const USAGE: u8 = 1;
    /// Authorization is needed or was refused.
    pub(crate) const AUTHORIZATION: u8 = 3;
    /// The server could not be reached, or died.
    pub(crate) const UNREACHABLE: u8 = 4;
    /// The server said no.
    pub(crate) const REFUSED: u8 = 5;
    /// The server broke the protocol, or went over a limit.
    pub(crate) const PROTOCOL: u8 = 6;
    /// As timeout(1) has it.
    pub(crate) const TIMEOUT: u8 = 124;
    /// A signal's number comes on top.
    pub(crate) const SIGNAL: i32 = 128;
}

/// One story for the user, and the exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn usage(text: impl Display) -> Self {
        Self { status: status::USAGE, text: text.to_string() }
    }

    pub(crate) fn refused(text: impl Display) -> Self {
        Self { status: status::REFUSED, text: text.to_string() }
    }

    pub(crate) fn protocol(text: impl Display) -> Self {
        Self { status: status::PROTOCOL, text: text.to_string() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Authorization => status::AUTHORIZATION,
            ErrorKind::Unreachable | ErrorKind::Disconnected => status::UNREACHABLE,
            ErrorKind::Rpc | ErrorKind::Tool | ErrorKind::Unsupported => status::REFUSED,
            ErrorKind::Protocol | ErrorKind::Limit => status::PROTOCOL,
            ErrorKind::Timeout => status::TIMEOUT,
            // Closed and cancelled only by a signal, which has an exit status of its own.
            _ => status::USAGE,
        };
        Self { status, text: error.to_string() }
    }
}
