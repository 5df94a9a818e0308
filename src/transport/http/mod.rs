//! HTTP: Streamable HTTP of both eras, and HTTP+SSE of 2024-11-05.
//!
//! Every message is a POST of its own. Its answer is the reply (Streamable HTTP), or the reply comes
//! on the one stream that the server keeps open (HTTP+SSE, found out at `initialize`).
//!
//! An exchange has a lane to itself. Over an open connection it runs on the caller's waiting
//! thread. It runs on a thread of its own while the caller waits if it has to resolve and connect,
//! which nothing can interrupt, or if the caller listens for more than the reply: listeners move
//! a call's clock, and ureq's stays as it was set.

mod asides;
mod exchange;
mod headers;
mod http_sse;
mod lanes;
mod standing;
mod status;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::http::{HeaderValue, Method, Uri};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::net::{Carrier, Headers, Host, Lane, Request, Settings};
use crate::protocol::ProtocolVersion;
use crate::threads::Threads;
use crate::transport::{
    Abandoned, CloseReport, Connect, Delivery, Facts, Inbox, Outgoing, Slot, Transport,
};

use asides::Asides;
use exchange::{Exchange, Step};
use lanes::{Key, Lanes};

/// The message that begins a legacy session.
const INITIALIZE: &str = "initialize";
/// The message that asks for the era.
const DISCOVER: &str = "server/discover";

struct Http(Arc<Shared>);

struct Shared {
    url: Uri,
    settings: Settings,
    host: Arc<Host>,
    limits: Limits,
    /// Weak, as the inbox holds the transport.
    inbox: Weak<dyn Inbox>,
    state: Mutex<State>,
    /// A stream is being drained, a thread for asides has ended, or everything is closed.
    changed: Condvar,
    /// An exchange has been interrupted.
    interrupted: Condvar,
    threads: Threads,
}

#[derive(Default)]
struct State {
    lanes: Lanes,
    asides: Asides,
    terms: Terms,
    /// How many keys without an id of a request have been given out.
    keys: u64,
    stage: Stage,
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// Nothing more is asked. What was to be said besides still leaves.
    Closing,
    /// The end of the session is all that is still sent.
    Ending,
}

/// What the handshake of a legacy server has settled. Empty before, and in the modern era.
#[derive(Clone, Default)]
struct Terms {
    /// The last thing that showed the era was of the legacy one: the handshake has begun at least.
    is_legacy: bool,
    version: Option<ProtocolVersion>,
    session: Option<HeaderValue>,
    /// What the last answer to `initialize` named.
    offered: Option<HeaderValue>,
    /// Where messages go to, over HTTP+SSE.
    endpoint: Option<Uri>,
    /// The stream of the server's own.
    events: Option<Key>,
}

/// A way to reach the server. Nothing is sent before the first message.
pub(crate) fn connect(url: Uri, settings: Settings, limits: Limits) -> Box<Connect> {
    Box::new(move |inbox| {
        Ok(Arc::new(Http(Arc::new(Shared {
            url: url.clone(),
            settings: settings.clone(),
            host: Host::of(&url),
            limits: limits.clone(),
            inbox: Arc::downgrade(&inbox),
            state: Mutex::default(),
            changed: Condvar::new(),
            interrupted: Condvar::new(),
            threads: Threads::default(),
        }))))
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_lane(&self) -> Lane {
        Lane::new(&self.url, &self.settings, &self.host)
    }

    /// What the caller wants in every request.
    fn own_headers(&self) -> Result<Headers> {
        self.settings.headers()
    }

    /// Ends an exchange that is under way. Returns whether something of it may have been sent.
    fn interrupt(&self, key: Key) -> bool {
        let interrupt = self.lock().lanes.take(key);
        // What is not under way any more has been sent.
        let Some(interrupt) = interrupt else { return true };
        self.interrupted.notify_all();
        interrupt.end()
    }

    /// LHTTP-11: the session is not needed any more. Whether the server agrees is of no interest.
    fn end_session(self: &Arc<Self>, until: Deadline) {
        const WITHIN: Duration = Duration::from_secs(2);
        let until = until.min(Deadline::after(WITHIN));
        let terms = self.lock().terms.clone();
        if terms.session.is_none() {
            return;
        }
        let Some(mut lane) = self.occupy(Key::End) else { return };
        let shared = self.clone();
        let end = move || {
            // Here, as nothing can end the function that gives the token.
            let Ok(mut headers) = shared.own_headers() else { return };
            headers.extend(terms.headers());
            let request = Request {
                method: Method::DELETE,
                url: &shared.url,
                headers: &headers,
                body: &[],
                carrier: Carrier::Alone,
                until,
            };
            let sent = lane.send(&request);
            log::debug!("the session was ended: {:?}", sent.map(|response| response.status).ok());
        };
        let ended = self.threads.spawn("umcp-http", end);
        drop(ended);
    }
}

impl Transport for Http {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let Some(id) = message.id else { return self.0.post_aside(message) };
        let own = self.0.own_headers()?;
        let mut state = self.0.lock();
        if state.stage != Stage::Open {
            return Err(Error::closed());
        }
        let most = self.0.limits.in_flight.max(1);
        if state.lanes.under_way() >= most {
            let text = format!("{most} requests are already under way");
            return Err(Error::new(ErrorKind::Limit, text).hint("Raise `Limits::in_flight`"));
        }
        let is_initialize = message.method == INITIALIZE;
        state.terms.is_legacy &= message.version.is_none();
        state.terms.is_legacy |= is_initialize;
        let headers = headers::of_message(&message, &state.terms, own)?;
        let lane = state.lanes.idle.pop().unwrap_or_else(|| self.0.new_lane());
        state.lanes.occupy(Key::Request(id), &lane);
        let exchange = Exchange {
            id,
            headers,
            body: message.json,
            until: message.until,
            is_initialize,
            is_first: is_initialize && state.terms.version.is_none(),
            asks_era: message.method == DISCOVER,
            had_session: state.terms.session.is_some() && !is_initialize,
            endpoint: state.terms.endpoint.clone(),
            step: Step::Post,
            lane,
        };
        if message.waits && exchange.lane.is_warm() {
            state.lanes.ready.insert(id, exchange);
            return Ok(());
        }
        drop(state);
        self.0.start(exchange)
    }

    fn next(&self, id: u64, slot: &Slot, until: Deadline) -> Option<Delivery> {
        let ready = self.0.lock().lanes.ready.remove(&id);
        if let Some(exchange) = ready {
            let elsewhere = match slot.listens() {
                true => Some(exchange),
                false => self.0.run(exchange, Carrier::Caller),
            };
            if let Some(Err(error)) = elsewhere.map(|exchange| self.0.start(exchange))
                && let Some(inbox) = self.0.inbox.upgrade()
            {
                inbox.ended(Some(id), error);
            }
        }
        slot.receive(until)
    }

    /// HTTP-14: in the modern era closing the exchange is the cancellation. LHTTP-22: before, it is
    /// not.
    fn abandon(&self, id: u64) -> Abandoned {
        let mut state = self.0.lock();
        state.lanes.ready.remove(&id);
        let is_legacy = state.terms.is_legacy;
        drop(state);
        match (self.0.interrupt(Key::Request(id)), is_legacy) {
            (false, _) => Abandoned::Unsent,
            (true, true) => Abandoned::Notify,
            (true, false) => Abandoned::Told,
        }
    }

    fn agreed(&self, id: u64, version: ProtocolVersion, initialized: Outgoing<'_>) -> Result<bool> {
        self.0.begin_session(id, version, initialized)?;
        Ok(false)
    }

    fn heard_at(&self, id: u64) -> Option<Instant> {
        self.0.heard_at(id)
    }

    fn facts(&self) -> Facts {
        let mirrors = !self.0.lock().terms.is_legacy;
        Facts { has_spoken: true, answers_or_fails: true, mirrors, restarts: false }
    }

    fn close(&self, until: Deadline) -> CloseReport {
        let mut state = self.0.lock();
        state.stage = Stage::Closing;
        state.lanes.ready.clear();
        let busy = state.lanes.busy.extract_if(|key, _| !matches!(key, Key::Aside(_)));
        let interrupts: Vec<_> = busy.map(|(_, busy)| busy.into_interrupt()).collect();
        drop(state);
        self.0.changed.notify_all();
        self.0.interrupted.notify_all();
        interrupts.into_iter().for_each(|interrupt| _ = interrupt.end());
        // Who takes all the time there is leaves none to see its thread end.
        let half = || Deadline::after(until.remaining() / 2);
        self.0.finish_asides(half());
        self.0.end_session(half());
        let idle = std::mem::take(&mut self.0.lock().lanes.idle);
        drop(idle);
        CloseReport { left_behind: !self.0.threads.join(until), ..CloseReport::default() }
    }
}
