//! One live connection: ids, the map of pending requests, clocks, cancellation, the handshake and
//! the era it finds, and the single entrance for what comes in. It does not know which transport
//! it has.

mod cancel;
mod changes;
mod dispatcher;
mod event;
mod feed;
mod handshake;
mod limiter;
mod listeners;
mod metrics;
mod own_code;
mod pending;
mod questions;
mod renewal;
mod request_limits;
mod router;
mod standstill;
mod subscription;
mod waiting;
mod watched;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, RpcError, said};
use crate::limits::{Limits, Timeouts};
use crate::protocol::envelope;
use crate::protocol::meta::{self, RequestMeta, SenderMeta};
use crate::protocol::{
    ClientCapabilities, ClientRequest, Era, Implementation, LoggingLevel, ProtocolVersion,
    ServerCapabilities,
};
use crate::transport::{CloseReport, Delivery, Slot};

pub use cancel::CancelToken;
pub(crate) use changes::{Changed, OnChange};
pub use event::{Event, EventKind};
pub(crate) use feed::covers;
pub(crate) use handshake::HEADER_MISMATCH;
use limiter::Limiter;
pub use listeners::ListenerGuard;
pub(crate) use listeners::{Kinds, Listeners, OnEvent};
pub use metrics::{Histogram, Metrics};
pub(crate) use own_code::own_code;
pub(crate) use pending::{Options, PendingRequest};
pub(crate) use questions::{Answers, Refusal};
use renewal::Renewal;
pub use request_limits::RequestLimits;
use router::Router;
pub(crate) use subscription::{Ending, Heard, Subscription, Wanted};
use watched::Watched;

/// Which revisions may be spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pin {
    #[default]
    Any,
    Era(Era),
    Version(ProtocolVersion),
}

impl Pin {
    pub(crate) fn allows(self, version: ProtocolVersion) -> bool {
        match self {
            Pin::Any => true,
            Pin::Era(era) => version.era() == era,
            Pin::Version(only) => version == only,
        }
    }

    /// The newest allowed revision of an era.
    fn newest(self, era: Era) -> Option<ProtocolVersion> {
        ProtocolVersion::ALL.iter().copied().find(|v| v.era() == era && self.allows(*v))
    }

    /// The allowed revisions among those a server lists, newest first.
    fn among(self, listed: &[String]) -> impl Iterator<Item = ProtocolVersion> {
        let is_listed =
            |version: &ProtocolVersion| listed.iter().any(|text| text == version.as_str());
        ProtocolVersion::ALL.iter().copied().filter(move |v| self.allows(*v)).filter(is_listed)
    }
}

/// What is the trace context just now.
pub(crate) type Trace = dyn Fn() -> Vec<(String, String)> + Send + Sync;

/// What a connection is opened with.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) server: Arc<str>,
    pub(crate) pin: Pin,
    /// The era the server had the last time, if anybody remembers it and nothing is pinned.
    pub(crate) hint: Option<Era>,
    pub(crate) info: Implementation,
    pub(crate) capabilities: ClientCapabilities,
    pub(crate) limits: Limits,
    pub(crate) request_limits: Option<RequestLimits>,
    pub(crate) timeouts: Timeouts,
    pub(crate) cancel: Option<CancelToken>,
    pub(crate) listeners: Vec<(Kinds, Arc<OnEvent>)>,
    pub(crate) trace: Option<Arc<Trace>>,
    pub(crate) answers: Option<Arc<Answers>>,
    pub(crate) on_change: Option<Arc<OnChange>>,
}

/// What client and server agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) version: ProtocolVersion,
    pub(crate) capabilities: ServerCapabilities,
    pub(crate) server_info: Option<Implementation>,
    pub(crate) instructions: Option<String>,
}

/// What every request of the modern era says of its sender.
#[derive(Clone)]
struct Speaking {
    version: ProtocolVersion,
    /// With what the program has handlers for.
    sender: SenderMeta,
    /// For calls that nothing is to be asked in.
    headless: SenderMeta,
    /// For calls in which the program answers everything itself.
    by_hand: SenderMeta,
}

/// Who answers what a server asks during a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    Handlers,
    Nobody,
    Caller,
}

impl Speaking {
    fn new(version: ProtocolVersion, opening: &Opening) -> Result<Self> {
        let of = |capabilities: &ClientCapabilities| {
            SenderMeta::new(version, Some(&opening.info), capabilities).map_err(|error| {
                let text = format!("client info or capabilities: {error}");
                Error::new(ErrorKind::InvalidInput, text)
            })
        };
        let capabilities = opening.capabilities.in_era(Era::Modern);
        Ok(Self {
            version,
            sender: of(&capabilities)?,
            headless: of(&capabilities.headless())?,
            by_hand: of(&capabilities.by_hand())?,
        })
    }

    fn of(&self, answered_by: AnsweredBy) -> (ProtocolVersion, &SenderMeta) {
        let sender = match answered_by {
            AnsweredBy::Handlers => &self.sender,
            AnsweredBy::Nobody => &self.headless,
            AnsweredBy::Caller => &self.by_hand,
        };
        (self.version, sender)
    }
}

/// One live connection that has found its era.
pub(crate) struct Session {
    router: Arc<Router>,
    opening: Opening,
    terms: Terms,
    /// The modern era's speaker: the version now in use and what every request says with it.
    speaking: Mutex<Option<Speaking>>,
    log_level: Mutex<Option<LoggingLevel>>,
    renewal: Renewal,
    watched: Watched,
    limiter: Option<Arc<Limiter>>,
}

impl Session {
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn server(&self) -> &Arc<str> {
        self.router.server()
    }

    /// What has happened on the connection so far.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics { reconnects: self.generation(), ..self.router.metrics() }
    }

    /// Whether this client declares an extension.
    pub(crate) fn declares(&self, extension: &str) -> bool {
        self.opening.capabilities.extensions.contains_key(extension)
    }

    /// Whether requests fail one by one.
    pub(crate) fn answers_or_fails(&self) -> bool {
        self.router.transport().is_ok_and(|transport| transport.facts().answers_or_fails)
    }

    /// Why the server has ended, if it can be started again.
    fn why_lost(&self) -> Option<Error> {
        self.router.transport().ok()?.why_lost()
    }

    /// Whether what has broken can be had again.
    fn goes_on(&self) -> bool {
        let facts = self.router.transport().map(|transport| transport.facts());
        !self.has_ended() && facts.is_ok_and(|it| it.answers_or_fails || it.restarts)
    }

    /// Whether a server may send requests that handlers answer, on threads of their own.
    fn may_be_asked(&self) -> bool {
        self.terms.version.era() == Era::Legacy && self.opening.answers.is_some()
    }

    /// Whether what a request says has to be said in headers, too.
    pub(crate) fn mirrors(&self) -> bool {
        let transport = self.router.transport();
        self.terms.version.era() == Era::Modern && transport.is_ok_and(|it| it.facts().mirrors)
    }

    fn speaking(&self) -> Option<Speaking> {
        self.speaking.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log level: in the modern era every request names it, in the legacy era a session that
    /// begins anew is told.
    pub(crate) fn set_log_level(&self, level: LoggingLevel) {
        *self.log_level.lock().unwrap_or_else(PoisonError::into_inner) = Some(level);
    }

    fn log_level(&self) -> Option<LoggingLevel> {
        self.log_level.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The version to send a request again with that was refused for its version (ERA-6, ERA-7).
    fn version_to_retry(
        &self,
        error: &RpcError,
        retried: &[ProtocolVersion],
    ) -> Option<ProtocolVersion> {
        if self.terms.version.era() != Era::Modern {
            return None;
        }
        let listed = handshake::supported(error)?;
        let is_new = |version: &ProtocolVersion| !retried.contains(version);
        let is_modern = |version: &ProtocolVersion| version.era() == Era::Modern;
        self.opening.pin.among(&listed).filter(is_modern).find(is_new)
    }

    fn use_version(&self, version: ProtocolVersion) {
        if let Ok(speaking) = Speaking::new(version, &self.opening) {
            *self.speaking.lock().unwrap_or_else(PoisonError::into_inner) = Some(speaking);
        }
    }

    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        self.router.listeners()
    }

    /// There is a client now, for listeners and handlers to call.
    pub(crate) fn release(&self) {
        self.router.release();
    }

    /// Tells a legacy server something. What cannot be sent is not missed.
    pub(crate) fn notify(&self, method: &str) {
        if self.terms.version.era() == Era::Legacy {
            self.router.post_aside(envelope::notification(method, None), method);
        }
    }

    /// Gives an attempt to send a request its trace context.
    fn trace(&self, meta: &mut RequestMeta) {
        if let Some(trace) = &self.opening.trace {
            meta.trace = meta::trace(trace(), &meta.own);
        }
    }

    /// Makes a request whose answer is of no interest. What cannot be sent is not missed.
    pub(crate) fn tell(&self, request: &ClientRequest) {
        let speaking = self.speaking();
        self.router.tell(
            request,
            speaking.as_ref().map(|it| it.of(AnsweredBy::Handlers)),
            self.generation(),
        );
    }

    /// Does nothing until `until`, the end of the connection, or a token that is cancelled.
    pub(crate) fn pause(&self, until: Deadline, cancel: Option<&CancelToken>) -> Result<()> {
        let slot = Slot::for_replies();
        let expected = self.router.expect(&slot, cancel)?;
        match slot.receive(until) {
            Some(Delivery::Failed(_, error)) => Err(error),
            _ => {
                self.router.withdraw(expected.id, "");
                Ok(())
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.router.why_ended().is_some()
    }

    /// Waits until the connection has ended. Returns why.
    pub(crate) fn wait_for_end(&self, until: Deadline) -> Option<Error> {
        self.router.wait_for_end(until)
    }

    /// Ends the connection and all that belongs to it, within its bound. Idempotent.
    pub(crate) fn close(&self) -> CloseReport {
        self.router.close(close_by(&self.opening.timeouts))
    }
}

/// Both graces, and a moment for threads to end.
fn close_by(timeouts: &Timeouts) -> Deadline {
    const THREADS_END: Duration = Duration::from_secs(1);
    Deadline::after(
        timeouts.close_grace.saturating_add(timeouts.kill_grace).saturating_add(THREADS_END),
    )
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("terms", &self.terms).finish_non_exhaustive()
    }
}

fn unclear_reply() -> Error {
    let text = "the server's reply has not exactly one of `result` and `error`";
    Error::new(ErrorKind::Protocol, text)
}

fn no_common_version(theirs: &[String], pin: Pin) -> Error {
    let ours: Vec<_> =
        ProtocolVersion::ALL.iter().filter(|v| pin.allows(**v)).map(|v| v.as_str()).collect();
    let theirs = said(&theirs.join(", "));
    Error::new(
        ErrorKind::Protocol,
        format!(
            "no common protocol version: the server speaks {theirs}; allowed are {}",
            ours.join(", ")
        ),
    )
    .hint("Loosen the pinned version or era, or update the server")
}
