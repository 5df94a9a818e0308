//! The one error type of this library.

use std::borrow::Cow;
use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A result whose error is an umcp [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with which server, in which call, and what to do about it.
///
/// Cheap to clone: one death fails many calls. [`Error::kind`] says what a caller can do now, the
/// predicates answer the usual questions, and `Display` is the whole story for a person. No error
/// shows arguments, results or credentials; what a server itself said *about* the failure (an
/// error message, the end of its stderr) is shown, without control characters.
///
/// ```
/// let error = umcp::Client::spawn(["no-such-program-here"]).unwrap_err();
/// assert_eq!(error.kind(), umcp::ErrorKind::Unreachable);
/// assert!(!error.may_have_run());
/// println!("{error}");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    server: Option<Arc<str>>,
    method: Option<Box<str>>,
    name: Option<Box<str>>,
    elapsed: Option<Duration>,
    command: Option<Box<str>>,
    rpc: Option<RpcError>,
    exit_status: Option<ExitStatus>,
    stderr_tail: Option<Arc<str>>,
    stray_line: Option<Arc<str>>,
    retry_after: Option<Duration>,
    refusal: Option<Refusal>,
    input_required: Option<Arc<RawValue>>,
    may_have_run: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server asks for input before it goes on, and nobody was there to give it: see
    /// [`Error::input_required`].
    InputRequired,
    /// A handler of this program refused what the server asked for, and without it the server does
    /// not go on.
    Declined,
    /// The server could not be started or reached: check the command or the URL.
    Unreachable,
    /// The server ended or closed the connection: start it again.
    Disconnected,
    /// A clock ran out: wait longer, or find out what the server does.
    Timeout,
    /// Somebody cancelled the call: nothing to do.
    Cancelled,
    /// The client, or a subscription, was closed by this program: open another.
    Closed,
    /// The server ended a subscription as it should: subscribe again if it is still of interest.
    Ended,
    /// A local limit was reached: see [`Limits`](crate::Limits), and
    /// [`RequestLimits`](crate::RequestLimits) for what is asked of a server.
    Limit,
    /// The server answered with a JSON-RPC error: see [`Error::rpc`].
    Rpc,
    /// A tool ran and reported a failure (`isError`): its text is the message.
    Tool,
    /// The server does not offer what was asked for.
    Unsupported,
    /// The server broke the protocol: report it to its authors.
    Protocol,
    /// Authorization is needed or was refused.
    Authorization,
    /// The caller's configuration or arguments are wrong, or a result was asked for twice: fix it.
    InvalidInput,
}

/// A JSON-RPC error object, as the server sent it.
#[derive(Clone)]
#[non_exhaustive]
pub struct RpcError {
    /// The error's code. Only `-32768..=-32000` have a meaning given by a standard.
    pub code: i64,
    /// The server's own words.
    pub message: String,
    data: Option<Box<RawValue>>,
}

/// Why a transport turned a request away, where the session can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "http"), allow(dead_code))]
pub(crate) enum Refusal {
    /// Whatever is there does not know such requests.
    Unrecognised,
    /// The session it belongs to is over.
    UnknownSession,
}

impl RpcError {
    pub(crate) fn new(code: i64, message: String, data: Option<Box<RawValue>>) -> Self {
        Self { code, message, data }
    }

    /// Returns the error's `data` as JSON text.
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref().map(RawValue::get)
    }

    /// Returns the error's `data` as a `T`, or `None` if it is absent or not a `T`.
    pub fn data_as<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.data()?).ok()
    }
}

impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcError")
            .field("code", &self.code)
            .field("message", &self.message)
            .field("data", &self.data().map(|data| format!("<{} bytes>", data.len())))
            .finish()
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            server: None,
            method: None,
            name: None,
            elapsed: None,
            command: None,
            rpc: None,
            exit_status: None,
            stderr_tail: None,
            stray_line: None,
            retry_after: None,
            refusal: None,
            input_required: None,
            may_have_run: false,
            source: None,
        }))
    }

    pub(crate) fn from_rpc(rpc: RpcError) -> Self {
        let message =
            format!("the server answered with error {}: {}", rpc.code, said(&rpc.message));
        Self::new(ErrorKind::Rpc, message).change(|inner| {
            // Refused before it was looked at: headers, a missing capability, the version.
            inner.may_have_run = !matches!(rpc.code, -32022..=-32020);
            inner.rpc = Some(rpc);
        })
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the client was closed by this program")
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// What to do next, as one sentence.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        self.change(|inner| inner.hint = Some(hint.into()))
    }

    pub(crate) fn server(self, server: &Arc<str>) -> Self {
        self.change(|inner| inner.server = Some(server.clone()))
    }

    /// In which call, and of what: the tool, the prompt or the resource (`""` for none).
    pub(crate) fn about(self, method: &str, name: &str) -> Self {
        self.change(|inner| {
            inner.method = Some(method.into());
            inner.name = Some(said(&without_secrets(name)).into());
        })
    }

    pub(crate) fn after(self, elapsed: Duration) -> Self {
        self.change(|inner| inner.elapsed = Some(elapsed))
    }

    pub(crate) fn source(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.change(|inner| inner.source = Some(Arc::new(source)))
    }

    /// The end of a process: what was started (without secrets), how it ended, what it said last.
    pub(crate) fn exit(self, command: &str, status: Option<ExitStatus>, stderr_tail: &str) -> Self {
        self.change(|inner| {
            inner.command = Some(said(command).into());
            inner.exit_status = status;
            inner.stderr_tail =
                (!stderr_tail.trim().is_empty()).then(|| said_lines(stderr_tail).into());
        })
    }

    /// The last line the server wrote that was no message.
    pub(crate) fn stray(self, line: Option<Arc<str>>) -> Self {
        match line {
            Some(_) => self.change(|inner| inner.stray_line = line),
            None => self,
        }
    }

    pub(crate) fn retry_in(self, wait: Option<Duration>) -> Self {
        self.change(|inner| inner.retry_after = wait)
    }

    pub(crate) fn refused(self, refusal: Refusal) -> Self {
        self.change(|inner| inner.refusal = Some(refusal))
    }

    /// How the request was turned away without an answer to it, if it was.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.refusal
    }

    /// What the server asks for, as JSON.
    pub(crate) fn asks(self, input_required: Box<RawValue>) -> Self {
        self.change(|inner| inner.input_required = Some(input_required.into()))
    }

    pub(crate) fn asked(&self) -> Option<&RawValue> {
        self.0.input_required.as_deref()
    }

    /// Whether the same may work a little later, for all that shows.
    pub(crate) fn may_pass(&self) -> bool {
        let is_lost = matches!(self.kind(), ErrorKind::Unreachable | ErrorKind::Disconnected);
        is_lost && self.refusal() != Some(Refusal::Unrecognised)
    }

    pub(crate) fn ran(self, may_have_run: bool) -> Self {
        self.change(|inner| inner.may_have_run = may_have_run)
    }

    /// Returns what a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the JSON-RPC error the server answered with, if it did.
    pub fn rpc(&self) -> Option<&RpcError> {
        self.0.rpc.as_ref()
    }

    /// Returns whether a clock ran out.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Returns whether the call was cancelled or the client closed by this program.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind(), ErrorKind::Cancelled | ErrorKind::Closed)
    }

    /// Returns whether `resources/read` named a resource that does not exist.
    ///
    /// Servers say so with `-32602` or `-32002`. As `-32602` also means other things, only an
    /// error of `resources/read` counts; a malformed URI is not told apart from a missing
    /// resource.
    pub fn is_not_found(&self) -> bool {
        self.0.method.as_deref() == Some("resources/read")
            && self.rpc().is_some_and(|rpc| matches!(rpc.code, -32602 | -32002))
    }

    /// Returns whether the server may have begun what it was asked to do.
    ///
    /// `false` is certain: repeating the call cannot do anything twice.
    pub fn may_have_run(&self) -> bool {
        self.0.may_have_run
    }

    /// Returns how long to wait before trying again, if the server said so, or a limit of this program
    /// ([`RequestLimits`](crate::RequestLimits)).
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns how the server's process ended, if it did.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.0.exit_status
    }

    /// Returns the end of what the server's process wrote to stderr, without control characters.
    pub fn stderr_tail(&self) -> Option<&str> {
        self.0.stderr_tail.as_deref()
    }

    /// Returns the beginning of the last line that the server wrote and that was not MCP, without
    /// control characters, if its connection broke or a call timed out.
    pub fn stray_line(&self) -> Option<&str> {
        self.0.stray_line.as_deref()
    }

    /// Returns the name of the server.
    pub fn server_name(&self) -> Option<&str> {
        self.0.server.as_deref()
    }

    /// Returns the method of the call that failed.
    pub fn method(&self) -> Option<&str> {
        self.0.method.as_deref()
    }

    /// Returns how long the call had taken when it failed.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if let Some(server) = &inner.server {
            write!(f, "{server}: ")?;
        }
        if let Some(method) = &inner.method {
            let name = inner.name.as_deref().filter(|name| !name.is_empty());
            match name {
                Some(name) => write!(f, "{method} {name:?}: ")?,
                None => write!(f, "{method}: ")?,
            }
        }
        f.write_str(&inner.message)?;
        // A clock that ran out is in the message; what fails at once needs no time.
        const LONG: Duration = Duration::from_secs(1);
        if let Some(elapsed) = inner.elapsed.filter(|elapsed| *elapsed >= LONG)
            && inner.kind == ErrorKind::Disconnected
        {
            write!(f, " (after {elapsed:.1?})")?;
        }
        if let Some(hint) = &inner.hint {
            write!(f, ". {hint}")?;
        }
        if let Some(command) = &inner.command {
            write!(f, "\n  its command: {command}")?;
        }
        if let Some(line) = &inner.stray_line {
            write!(f, "\n  the last line it wrote that was not MCP:\n  | {line}")?;
        }
        if let Some(tail) = &inner.stderr_tail {
            f.write_str("\n  the end of its stderr:")?;
            let lines: Vec<&str> = tail.lines().collect();
            for line in lines.iter().skip(lines.len().saturating_sub(10)) {
                write!(f, "\n  | {line}")?;
            }
        }
        Ok(())
    }
}

/// The same story as `Display`, as it is what `main` prints of an error it returns; `{:#?}` shows
/// the parts.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("server", &self.0.server)
            .field("method", &self.0.method)
            .field("name", &self.0.name)
            .field("elapsed", &self.0.elapsed)
            .field("command", &self.0.command)
            .field("may_have_run", &self.0.may_have_run)
            .field("exit_status", &self.0.exit_status)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// A URL without its query and user info, which is where secrets stand; other names as they are.
pub(crate) fn without_secrets(name: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = name.split_once("://") else { return name.into() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}").into()
}

/// Why JSON is not what was expected, without showing any of it.
pub(crate) fn misfit(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "it has another shape",
        _ => "it is not JSON, or nested too deep",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// A server's own words, fit to stand in an error: one line, bounded, no control characters.
pub(crate) fn said(text: &str) -> String {
    const MOST: usize = 500;
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if let Some((end, _)) = line.char_indices().nth(MOST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn said_lines(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn assert_send_sync<T: Send + Sync + Clone>() {}
    const _: () = assert_send_sync::<Error>();
    // An error travels in every `Result` of the call path: one pointer, no more.
    const _: () = assert!(size_of::<Error>() == size_of::<usize>());

    #[test]
    fn a_post_mortem_says_how_long_it_took_if_it_was_long() {
        let ended = |elapsed| {
            let error = Error::new(ErrorKind::Disconnected, "it ended").hint("Look");
            error.after(Duration::from_millis(elapsed)).exit("npx (2 arguments)", None, "why\n")
        };
        let rest = ". Look\n  its command: npx (2 arguments)\n  the end of its stderr:\n  | why";
        assert_eq!(ended(999).to_string(), format!("it ended{rest}"));
        assert_eq!(ended(1234).to_string(), format!("it ended (after 1.2s){rest}"));
    }

    #[test]
    fn the_message_says_who_what_and_what_next() {
        let error = Error::new(ErrorKind::Timeout, "timed out after 5 s")
            .hint("Raise `timeout`")
            .server(&"files".into())
            .about("tools/call", "")
            .after(Duration::from_secs(5));
        assert_eq!(error.to_string(), "files: tools/call: timed out after 5 s. Raise `timeout`");
        assert!(error.is_timeout());
        assert_eq!(error.server_name(), Some("files"));
        assert_eq!(error.elapsed(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn what_a_server_said_cannot_drive_the_terminal() {
        let rpc = RpcError::new(-1, "no\x1b[2J\nway\0".into(), None);
        assert_eq!(
            Error::from_rpc(rpc).to_string(),
            "the server answered with error -1: no[2J way"
        );
        assert_eq!(said(&"x".repeat(2000)).chars().count(), 501);
    }

    #[test]
    fn only_reading_a_resource_can_miss_it() {
        // RPC-40, RPC-41
        for (method, code, expected) in [
            ("resources/read", -32602, true),
            ("resources/read", -32002, true),
            ("resources/read", -32603, false),
            ("tools/call", -32602, false),
        ] {
            let rpc = RpcError::new(code, String::new(), None);
            let error = Error::from_rpc(rpc).about(method, "");
            assert_eq!(error.is_not_found(), expected, "{method} {code}");
        }
    }

    #[test]
    fn the_debug_form_shows_no_data() {
        let data = RawValue::from_string(r#"{"token":"hunter2"}"#.into()).unwrap();
        let rpc = RpcError::new(-1, "no".into(), Some(data));
        assert_eq!(rpc.data_as::<serde_json::Value>().unwrap()["token"], "hunter2");
        let debug =
            format!("{rpc:?} {:?} {}", Error::from_rpc(rpc.clone()), Error::from_rpc(rpc.clone()));
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}
