//! What happens to a connection, as those who listen hear of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, said};
use crate::protocol::{LogMessageParams, RawJson};

/// What an [`Event`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The connection is open: the first event of all, and one for each time that a server has been
    /// [started again](crate::Server::respawn).
    Connected,
    /// The connection has ended; [`error`](Event::error) says why. The last event of all, unless the
    /// server is [started again](crate::Server::respawn).
    Disconnected,
    /// The call of a tool has ended, with a result or without: after all its rounds and repetitions,
    /// and with the task that it has become, unless that was handed out.
    ToolCalled,
    /// The reading of a resource has ended, with a result or without.
    ResourceRead,
    /// The list of tools is another now.
    ToolsChanged,
    /// The list of prompts is another now.
    PromptsChanged,
    /// The list of resources is another now.
    ResourcesChanged,
    /// A resource was changed.
    ResourceUpdated,
    /// The server logged something, for a call or by itself.
    LogMessage,
    /// The server sent another notification (but no progress, which belongs to a call).
    Notification,
    /// A request is being sent to the server: one for each attempt.
    RequestSent,
    /// The server replied to a request, with a result or with an error.
    ReplyReceived,
    /// The server asked something (legacy era).
    RequestReceived,
    /// The server was sent a reply.
    ReplySent,
    /// A request failed and will be made again ([`Retry`](crate::Retry)): after
    /// [`duration`](Event::duration), because of [`error`](Event::error) if it is not the tool that
    /// reported a failure.
    Retried,
    /// Something went wrong that no reply tells of: a request gets none, or the server sent what is
    /// no use.
    Error,
}

impl EventKind {
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// Of the notification with that method.
    pub(crate) fn of(method: &str) -> Self {
        match method {
            "notifications/tools/list_changed" => Self::ToolsChanged,
            "notifications/prompts/list_changed" => Self::PromptsChanged,
            "notifications/resources/list_changed" => Self::ResourcesChanged,
            "notifications/resources/updated" => Self::ResourceUpdated,
            "notifications/message" => Self::LogMessage,
            _ => Self::Notification,
        }
    }

    /// Returns the kind in lower case, such as `tool-called`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::ToolCalled => "tool-called",
            Self::ResourceRead => "resource-read",
            Self::ToolsChanged => "tools-changed",
            Self::PromptsChanged => "prompts-changed",
            Self::ResourcesChanged => "resources-changed",
            Self::ResourceUpdated => "resource-updated",
            Self::LogMessage => "log-message",
            Self::Notification => "notification",
            Self::RequestSent => "request-sent",
            Self::ReplyReceived => "reply-received",
            Self::RequestReceived => "request-received",
            Self::ReplySent => "reply-sent",
            Self::Retried => "retried",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Something that happened to a connection.
///
/// Cheap to clone. `Display` is one line for people, and shows neither arguments nor results nor
/// what the server logged, as `Debug` does not; the methods here return them.
///
/// ```
/// # use umcp::memory::Script;
/// use umcp::{Client, EventKind, json};
///
/// # let server = Script::new().answer("tools/call", json!({ "content": [] })).server();
/// let client = Client::builder().on_event(|event| eprintln!("{event}")).open(server)?;
/// let _guard = client.on(EventKind::ToolCalled, |call| {
///     println!("{} took {:?}", call.name().unwrap_or_default(), call.duration());
/// });
/// # client.call_tool("now", json!({}))?;
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone)]
pub struct Event {
    body: Arc<Body>,
    missed: u64,
}

/// What an event has to say; most of it is for some kinds only.
pub(crate) struct Body {
    pub(crate) kind: EventKind,
    pub(crate) server: Arc<str>,
    pub(crate) method: String,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) bytes: Option<usize>,
    pub(crate) duration: Option<Duration>,
    pub(crate) arguments: Option<RawJson>,
    pub(crate) result: Option<RawJson>,
    pub(crate) params: Option<RawJson>,
    pub(crate) error: Option<Error>,
    /// The tool says that it failed.
    pub(crate) has_failed: bool,
    /// A notification that belongs to no call.
    pub(crate) is_aside: bool,
    /// Nothing follows.
    pub(crate) is_last: bool,
}

impl Body {
    pub(crate) fn new(kind: EventKind, server: &Arc<str>, method: &str) -> Self {
        Self {
            kind,
            server: server.clone(),
            method: method.to_owned(),
            id: None,
            name: None,
            bytes: None,
            duration: None,
            arguments: None,
            result: None,
            params: None,
            error: None,
            has_failed: false,
            is_aside: false,
            is_last: false,
        }
    }
}

impl Event {
    pub(crate) fn new(body: Body) -> Self {
        Self { body: Arc::new(body), missed: 0 }
    }

    /// So many more that were to come before it found no room.
    pub(crate) fn after(mut self, missed: u64) -> Self {
        self.missed += missed;
        self
    }

    pub(crate) fn is_last(&self) -> bool {
        self.body.is_last
    }

    pub(crate) fn is_aside(&self) -> bool {
        self.body.is_aside
    }

    /// What it takes while it waits, roughly.
    pub(crate) fn size(&self) -> usize {
        const ITSELF: usize = 256;
        let body = &*self.body;
        let texts = [&body.arguments, &body.result, &body.params];
        let texts: usize = texts.into_iter().flatten().map(|text| text.get().len()).sum();
        let error = body.error.as_ref().map_or(0, |error| {
            let rpc = error.rpc().map_or(0, |it| it.message.len() + it.data().map_or(0, str::len));
            rpc + error.asked().map_or(0, |asked| asked.get().len())
        });
        ITSELF + body.method.len() + body.name.as_ref().map_or(0, String::len) + texts + error
    }

    /// Returns what it is about.
    pub fn kind(&self) -> EventKind {
        self.body.kind
    }

    /// Returns the name that errors and logs call the server by.
    pub fn server(&self) -> &str {
        &self.body.server
    }

    /// Returns the method of the request or notification, or `""` if it is about none.
    pub fn method(&self) -> &str {
        &self.body.method
    }

    /// Returns the id of the request, as JSON.
    pub fn id(&self) -> Option<&str> {
        self.body.id.as_deref()
    }

    /// Returns the tool, the prompt or the URI of the resource.
    pub fn name(&self) -> Option<&str> {
        self.body.name.as_deref()
    }

    /// Returns the size of the request or reply.
    pub fn bytes(&self) -> Option<usize> {
        self.body.bytes
    }

    /// Returns how long a call or a request took, from being sent to its end, or how long the client
    /// waits before it is [made again](EventKind::Retried).
    pub fn duration(&self) -> Option<Duration> {
        self.body.duration
    }

    /// Returns the arguments of a call of a tool.
    pub fn arguments(&self) -> Option<&RawJson> {
        self.body.arguments.as_ref()
    }

    /// Returns the result of a call of a tool, or of reading a resource, if there is one.
    pub fn result(&self) -> Option<&RawJson> {
        self.body.result.as_ref()
    }

    /// Returns the params of a notification; `{}` if it had none.
    pub fn params(&self) -> Option<&RawJson> {
        self.body.params.as_ref()
    }

    /// Returns the params of a [`LogMessage`](EventKind::LogMessage), if they are well-formed.
    pub fn log_message(&self) -> Option<LogMessageParams> {
        let params = self.params().filter(|_| self.kind() == EventKind::LogMessage)?;
        params.parse().ok()
    }

    /// Returns what went wrong: why the connection ended, why there is no result, or what the server
    /// answered instead.
    pub fn error(&self) -> Option<&Error> {
        self.body.error.as_ref()
    }

    /// Returns whether there is an [`error`](Self::error), or the tool says that it failed
    /// (`is_error`).
    pub fn is_failure(&self) -> bool {
        self.body.has_failed || self.body.error.is_some()
    }

    /// Returns how many events were dropped right before this one, as too many waited for whoever
    /// listens ([`Limits::notifications`](crate::Limits::notifications)).
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn level(&self) -> Option<(String, Option<String>)> {
        #[derive(serde::Deserialize)]
        struct Head {
            level: String,
            logger: Option<String>,
        }
        let params = self.params().filter(|_| self.kind() == EventKind::LogMessage)?;
        let Head { level, logger } = params.parse().ok()?;
        Some((said(&level), logger.as_deref().map(said)))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use EventKind as Kind;
        let body = &*self.body;
        let (server, name) = (&body.server, said(body.name.as_deref().unwrap_or_default()));
        let method = said(&body.method);
        if let (Kind::Disconnected | Kind::Error, Some(error)) = (body.kind, &body.error) {
            // The first line is the story, and what follows is what the server wrote last.
            let story = error.to_string();
            let story = story.lines().next().unwrap_or_default();
            let story = story.strip_prefix(&format!("{server}: ")).unwrap_or(story);
            return write!(f, "{server}: {}: {}", body.kind, said(story));
        }
        match body.kind {
            Kind::Connected | Kind::Disconnected | Kind::Error => {
                return write!(f, "{server}: {}", body.kind);
            }
            Kind::RequestSent | Kind::ReplySent => write!(f, "{server}: ->")?,
            Kind::RequestReceived | Kind::ReplyReceived => write!(f, "{server}: <-")?,
            kind => write!(f, "{server}: {kind}")?,
        }
        match (body.kind, self.level()) {
            (Kind::LogMessage, Some((level, None))) => write!(f, " {level}")?,
            (Kind::LogMessage, Some((level, Some(logger)))) => write!(f, " {level} {logger}")?,
            (Kind::LogMessage, None) => {}
            (Kind::ReplySent, _) => write!(f, " reply")?,
            _ if body.name.is_some() && body.id.is_none() => write!(f, " {name:?}")?,
            (Kind::ToolsChanged | Kind::PromptsChanged | Kind::ResourcesChanged, _) => {}
            _ => write!(f, " {method}")?,
        }
        if let Some(id) = &body.id {
            write!(f, " {}", said(id))?;
        }
        match (body.bytes, body.duration) {
            (Some(bytes), Some(duration)) => write!(f, " ({bytes} bytes, {duration:.1?})")?,
            (Some(bytes), None) => write!(f, " ({bytes} bytes)")?,
            (None, Some(duration)) => write!(f, " ({duration:.1?})")?,
            (None, None) => {}
        }
        match &body.error {
            Some(error) => write!(f, ": {:?}", error.kind()),
            None if body.has_failed => f.write_str(": failed"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = &*self.body;
        f.debug_struct("Event")
            .field("kind", &body.kind)
            .field("server", &body.server)
            .field("method", &body.method)
            .field("id", &body.id)
            .field("name", &body.name)
            .field("bytes", &body.bytes)
            .field("duration", &body.duration)
            .field("is_failure", &self.is_failure())
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}
