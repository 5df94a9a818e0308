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
#[derive(Clone, Debug)]
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
            ErrorKind::Rpc
            | ErrorKind::Tool
            | ErrorKind::Unsupported
            | ErrorKind::InputRequired
            | ErrorKind::Declined => status::REFUSED,
            ErrorKind::Protocol | ErrorKind::Limit => status::PROTOCOL,
            ErrorKind::Timeout => status::TIMEOUT,
            // Closed and cancelled only by a signal, which has an exit status of its own.
            _ => status::USAGE,
        };
        Self { status, text: in_words_of_the_command(&error) }
    }
}

impl Failure {
    /// What becomes of an error of connecting to a server that has to be legacy.
    pub(crate) fn no_legacy_server(error: Error) -> Self {
        // It does not support the version, or has no such method as `initialize`.
        const REFUSALS: [i64; 2] = [-32022, -32601];
        let is_refused = error.rpc().is_some_and(|rpc| REFUSALS.contains(&rpc.code));
        match Self::from(error) {
            Self { text, .. } if is_refused => {
                Self::protocol(format_args!("{text}. It seems to be modern only. {LOOSEN}"))
            }
            other => other,
        }
    }
}

const LOOSEN: &str = "Leave out --era and --protocol-version, or update the server";

/// What the library says to programmers, and what it means for who uses the command.
const TRANSLATIONS: &[(&str, &str)] = &[
    ("Raise `timeout`, or let progress restart it", "Raise --timeout"),
    ("Raise it in `Timeouts`, or", "Raise --timeout, or"),
    ("which pinning the era saves", "which --era saves"),
    ("Loosen the pinned version or era, or update the server", LOOSEN),
    ("`timeout`", "--timeout"),
    ("`max_total`", "--timeout"),
    ("`connect`", "--timeout"),
    ("`inherit_env`", "--inherit-env"),
    ("`env`", "--env"),
    ("`cwd`", "--cwd"),
    ("`header`", "--header"),
    ("`bearer_token`", "--bearer-env"),
    ("`allow_plain_http_credentials`", "--allow-plain-http-credentials"),
    ("`ca_certificates`", "--ca"),
    ("`client_certificate`", "--cert"),
    // There are no options for these.
    (". Raise `Limits::message`, or ask for less", ". Ask for less"),
    (". Raise `Limits::nesting`, or ask for less", ". Ask for less"),
    (". Raise `Limits::message` if that is expected", ""),
    (". Raise `Limits::message`, or go page by page", ""),
    (". Raise `Limits::pages`", ""),
    (". Send less at once, or raise `Limits::outgoing`", ". Send less at once"),
    ("; open a new client", ""),
];

fn in_words_of_the_command(error: &Error) -> String {
    let text = error.to_string();
    // The server's own words are left alone: its errors, and what comes after the first line.
    if error.rpc().is_some() || error.kind() == ErrorKind::Tool {
        return text;
    }
    let (line, rest) = text.split_at(text.find('\n').unwrap_or(text.len()));
    let translate = |line: String, (from, to): &(&str, &str)| line.replace(from, to);
    TRANSLATIONS.iter().fold(line.to_owned(), translate) + rest
}
