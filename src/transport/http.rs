//! Streamable HTTP of 2026-07-28: every message is a POST of its own, and its reply the answer.
//!
//! An exchange has a lane to itself. Over an open connection it runs on the caller's waiting
//! thread. It runs on a thread of its own while the caller waits if it has to resolve and connect,
//! which nothing can interrupt, or if the caller listens for more than the reply: listeners move
//! a call's clock, and ureq's stays as it was set.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Uri;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, said};
use crate::limits::Limits;
use crate::net::{Event, Events, Failure, Lane, MESSAGE, Part, Response, Until};
use crate::protocol::envelope::{Kind, Message};
use crate::protocol::header_value::header_value;
use crate::protocol::skim::Skim;
use crate::threads::Threads;
use crate::transport::{
    Abandoned, CloseReport, Connect, Delivery, Facts, Inbox, Outgoing, Slot, Transport,
};

struct Http(Arc<Shared>);

struct Shared {
    url: Uri,
    limits: Limits,
    /// Weak, as the inbox holds the transport.
    inbox: Weak<dyn Inbox>,
    lanes: Mutex<Lanes>,
    /// A stream is being drained, or everything is closed.
    changed: Condvar,
    threads: Threads,
}

#[derive(Default)]
struct Lanes {
    idle: Vec<Lane>,
    /// By request.
    busy: HashMap<u64, Busy>,
    /// Exchanges that wait for their caller's thread.
    ready: HashMap<u64, Exchange>,
    is_closed: bool,
    watch: Watch,
}

/// How to end an exchange.
struct Busy {
    agent: Agent,
    /// Its reply has not come. Whoever gets a reply may go on before this thread does, so this is
    /// unset before a message is handed over, and set again if that was not the reply.
    is_under_way: bool,
    /// The rest of the stream has until then to end.
    drained_by: Option<Instant>,
}

/// The thread that ends streams which do not end by themselves.
#[derive(Default)]
enum Watch {
    #[default]
    NotStarted,
    /// Nothing is being drained.
    Asleep,
    Awake,
}

/// How long a stream may go on after its reply, so that the connection can be used again, and how
/// many bytes.
const DRAINED_WITHIN: Duration = Duration::from_millis(100);
const DRAINED_BYTES: usize = 64 * 1024;

struct Exchange {
    id: u64,
    lane: Lane,
    headers: Vec<(Cow<'static, str>, String)>,
    body: Vec<u8>,
    until: Deadline,
}

/// A way to reach the server. Nothing is sent before the first message.
pub(crate) fn connect(url: Uri, limits: Limits) -> Box<Connect> {
    Box::new(move |inbox| {
        Ok(Arc::new(Http(Arc::new(Shared {
            url: url.clone(),
            limits: limits.clone(),
            inbox: Arc::downgrade(&inbox),
            lanes: Mutex::default(),
            changed: Condvar::new(),
            threads: Threads::default(),
        }))))
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an exchange on a thread of its own.
    fn start(self: &Arc<Self>, exchange: Exchange) -> Result<()> {
        let (id, shared) = (exchange.id, self.clone());
        let until = Until::Connected(exchange.until);
        let started = self.threads.spawn("umcp-http", move || shared.run(exchange, until));
        started.map(drop).map_err(|error| {
            self.lock().busy.remove(&id);
            Error::new(ErrorKind::Limit, format!("no thread for the request: {error}"))
        })
    }

    /// Runs one exchange and hands over what came of it.
    fn run(self: &Arc<Self>, mut exchange: Exchange, until: Until) {
        let outcome = self.carry(&mut exchange, until);
        let Exchange { id, lane, .. } = exchange;
        let mut lanes = self.lock();
        // Who abandoned the exchange has taken its agent, and is about to end it.
        let is_ours = lanes.busy.remove(&id).is_some();
        if is_ours && lane.is_warm() && !lanes.is_closed {
            lanes.idle.push(lane);
        }
        drop(lanes);
        let Some(inbox) = self.inbox.upgrade() else { return };
        match outcome {
            Ok(Some(body)) => {
                inbox.message(body, Some(id));
                // A body that was no answer to this request must not leave its caller waiting.
                let lost = "the body of the server's answer is no response to the request";
                inbox.ended(Some(id), Error::new(ErrorKind::Protocol, lost).ran(true));
            }
            Err(Some(error)) => inbox.ended(Some(id), error),
            Ok(None) | Err(None) => {}
        }
    }

    /// Returns an answer that is left to be handed over, as events are while they come. No error:
    /// the session's own clock says so.
    fn carry(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        until: Until,
    ) -> Result<Option<Vec<u8>>, Option<Error>> {
        let Exchange { id, ref mut lane, ref headers, ref body, .. } = *exchange;
        let most = self.limits.message;
        let response = lane.post(&self.url, headers, body, until).map_err(|it| self.why(it))?;
        let (status, wait) = (response.status, response.retry_after);
        let body = match ((200..300).contains(&status), response.is_events) {
            (true, true) => return self.read_events(id, lane, response).map(|()| None),
            // An error that may have no end is not read.
            (false, true) => Vec::new(),
            _ => lane.read(response, most).map_err(|it| self.why(it))?,
        };
        reply(status, wait, body).map(Some).map_err(Some)
    }

    fn why(&self, failure: Failure) -> Option<Error> {
        match failure {
            Failure::TimedOut => None,
            Failure::TooLarge => {
                let most = self.limits.message;
                let text = format!("the server sent an answer of more than {most} bytes");
                let error = Error::new(ErrorKind::Limit, text).ran(true);
                Some(error.hint("Raise `Limits::message` if that is expected"))
            }
            Failure::Other(error) => Some(unreachable(error)),
        }
    }

    /// Hands over what an event stream says, up to the reply.
    fn read_events(
        self: &Arc<Self>,
        id: u64,
        lane: &mut Lane,
        response: Response,
    ) -> Result<(), Option<Error>> {
        let mut events = response.into_events(self.limits.message);
        let mut skim = Skim::default();
        let mut is_answered = false;
        while !is_answered {
            let came = events.read(&mut |part| {
                // HTTP-6: what follows the reply is nobody's. Without an inbox all of it is.
                let Some(inbox) = self.inbox.upgrade().filter(|_| !is_answered) else {
                    return is_answered = true;
                };
                self.set_under_way(id, false);
                is_answered = match part {
                    // An event without data only sets an id.
                    Part::Event(Event { kind, data }) if kind == MESSAGE && !data.is_empty() => {
                        inbox.message(data, Some(id)) == Some(id)
                    }
                    Part::Event(_) => false,
                    Part::Piece(piece) => {
                        skim.feed(piece);
                        false
                    }
                    Part::TooLong { kind, bytes } => {
                        let answers = std::mem::take(&mut skim).answers();
                        let answers = answers.filter(|it| *it == id && kind == MESSAGE);
                        inbox.too_long(answers, bytes);
                        answers.is_some()
                    }
                };
                self.set_under_way(id, !is_answered);
            });
            match came {
                Ok(0) => return Err(Some(cut_short("it ended"))),
                // A socket that was shut down still holds all that has arrived, perhaps megabytes.
                Ok(_) if !self.lock().busy.contains_key(&id) => return Err(None),
                Ok(_) => {}
                Err(Failure::Other(error)) => return Err(Some(cut_short(error))),
                Err(failure) => return Err(self.why(failure)),
            }
        }
        self.drain(id, lane, events);
        Ok(())
    }

    fn set_under_way(&self, id: u64, is_under_way: bool) {
        if let Some(busy) = self.lock().busy.get_mut(&id) {
            busy.is_under_way = is_under_way;
        }
    }

    /// Reads the rest of a stream whose reply has come, which should be its end.
    fn drain(self: &Arc<Self>, id: u64, lane: &mut Lane, mut events: Events) {
        if !self.drain_by(id, Instant::now() + DRAINED_WITHIN) {
            return;
        }
        let mut bytes = 0;
        while bytes <= DRAINED_BYTES {
            match events.read(&mut |_| ()) {
                Ok(0) => return lane.keep_open(),
                Ok(came) => bytes += came,
                Err(_) => return,
            }
        }
    }

    /// Has the exchange ended at its time. Returns whether somebody sees to that.
    fn drain_by(self: &Arc<Self>, id: u64, end: Instant) -> bool {
        let mut lanes = self.lock();
        if lanes.is_closed {
            return false;
        }
        let Some(busy) = lanes.busy.get_mut(&id) else { return false };
        busy.drained_by = Some(end);
        match std::mem::replace(&mut lanes.watch, Watch::Awake) {
            // Ends come in order: the one it waits for is no later.
            Watch::Awake => true,
            Watch::Asleep => {
                self.changed.notify_all();
                true
            }
            Watch::NotStarted => {
                let shared = self.clone();
                let started = self.threads.spawn("umcp-http-watch", move || shared.watch());
                if started.is_err() {
                    lanes.watch = Watch::NotStarted;
                }
                started.is_ok()
            }
        }
    }

    /// Ends the streams that are not drained in time, until everything is closed.
    fn watch(&self) {
        let mut lanes = self.lock();
        while !lanes.is_closed {
            let now = Instant::now();
            let is_late = |busy: &Busy| busy.drained_by.is_some_and(|end| end <= now);
            let late: Vec<_> = lanes.busy.extract_if(|_, busy| is_late(busy)).collect();
            if !late.is_empty() {
                drop(lanes);
                late.into_iter().for_each(|(_, busy)| busy.agent.shutdown());
                lanes = self.lock();
                continue;
            }
            lanes = match lanes.busy.values().filter_map(|busy| busy.drained_by).min() {
                Some(end) => {
                    let wait = self.changed.wait_timeout(lanes, end - now);
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    lanes.watch = Watch::Asleep;
                    self.changed.wait(lanes).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// HTTP-11: nothing brings the reply back.
fn cut_short(why: impl std::fmt::Display) -> Error {
    let text = format!("the server's event stream broke before the reply: {why}");
    Error::new(ErrorKind::Disconnected, text).hint("Ask again, if that does no harm").ran(true)
}

impl Transport for Http {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let Some(id) = message.id else {
            let text = "notifications are not sent over HTTP in this era";
            return Err(Error::new(ErrorKind::Unsupported, text));
        };
        let headers = headers(&message);
        let mut lanes = self.0.lock();
        if lanes.is_closed {
            return Err(Error::closed());
        }
        let most = self.0.limits.in_flight.max(1);
        if lanes.busy.values().filter(|busy| busy.is_under_way).count() >= most {
            let text = format!("{most} requests are already under way");
            return Err(Error::new(ErrorKind::Limit, text).hint("Raise `Limits::in_flight`"));
        }
        let lane = lanes.idle.pop().unwrap_or_else(|| Lane::new(&self.0.url));
        lanes
            .busy
            .insert(id, Busy { agent: lane.interrupt(), is_under_way: true, drained_by: None });
        let exchange = Exchange { id, lane, headers, body: message.json, until: message.until };
        if message.waits && exchange.lane.is_warm() {
            lanes.ready.insert(id, exchange);
            return Ok(());
        }
        drop(lanes);
        self.0.start(exchange)
    }

    fn next(&self, id: u64, slot: &Slot, until: Deadline) -> Option<Delivery> {
        let ready = self.0.lock().ready.remove(&id);
        match ready {
            Some(exchange) if slot.listens() => {
                if let Err(error) = self.0.start(exchange) {
                    return Some(Delivery::Failed(id, error));
                }
            }
            Some(exchange) => {
                let until = Until::Over(exchange.until);
                self.0.run(exchange, until);
            }
            None => {}
        }
        slot.receive(until)
    }

    /// HTTP-14: closing the exchange is the cancellation.
    fn abandon(&self, id: u64) -> Abandoned {
        let mut lanes = self.0.lock();
        let unsent = lanes.ready.remove(&id).is_some();
        let busy = lanes.busy.remove(&id);
        drop(lanes);
        if let Some(busy) = busy {
            busy.agent.shutdown();
        }
        if unsent { Abandoned::Unsent } else { Abandoned::Told }
    }

    fn facts(&self) -> Facts {
        Facts { has_spoken: true, modern_only: true, mirrors: true }
    }

    fn close(&self, until: Deadline) -> CloseReport {
        let mut lanes = self.0.lock();
        lanes.is_closed = true;
        lanes.idle.clear();
        lanes.ready.clear();
        let busy = std::mem::take(&mut lanes.busy);
        drop(lanes);
        self.0.changed.notify_all();
        busy.into_values().for_each(|busy| busy.agent.shutdown());
        CloseReport { left_behind: !self.0.threads.join(until), ..CloseReport::default() }
    }
}

/// HDR-1…HDR-8: what the message says, mirrored for those who route without reading it.
fn headers(message: &Outgoing<'_>) -> Vec<(Cow<'static, str>, String)> {
    let mut headers = vec![
        ("Content-Type".into(), "application/json".to_owned()),
        ("Accept".into(), "application/json, text/event-stream".to_owned()),
        ("Mcp-Method".into(), message.method.to_owned()),
    ];
    if let Some(version) = message.version {
        headers.push(("MCP-Protocol-Version".into(), version.to_string()));
    }
    if let Some(name) = message.name {
        headers.push(("Mcp-Name".into(), header_value(name)));
    }
    headers.extend(message.mirror.iter().map(|(name, value)| (name.clone().into(), value.clone())));
    headers
}

/// The JSON-RPC response in an answer, whatever its status, or what the status means.
fn reply(status: u16, wait: Option<Duration>, body: Vec<u8>) -> Result<Vec<u8>> {
    if (200..300).contains(&status) {
        return Ok(body);
    }
    if let Ok(message) = Message::scan(body.clone())
        && matches!(message.kind(), Kind::Response { .. })
    {
        return Ok(body);
    }
    let text = match status {
        300..400 => format!("the server redirects (HTTP {status}), which is not followed"),
        _ => format!("the server answered with HTTP {status}"),
    };
    let body = said(&String::from_utf8_lossy(body.get(..200).unwrap_or(&body)));
    let text = if body.is_empty() { text } else { format!("{text}: {body}") };
    let (kind, hint) = match status {
        401 | 403 => (ErrorKind::Authorization, "The server wants credentials, or refuses these"),
        400 | 404 | 405 => (ErrorKind::Unreachable, "Is this the URL of an MCP endpoint?"),
        _ => (ErrorKind::Unreachable, "Try again later, or ask the server's operator"),
    };
    // Refused before it was looked at; behind any other status something may have begun.
    let ran = !matches!(status, 401 | 404 | 405 | 429);
    Err(Error::new(kind, text).hint(hint).retry_in(wait).ran(ran))
}

fn unreachable(error: ureq::Error) -> Error {
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
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::NotConnected => {
                (ErrorKind::Disconnected, "The connection broke; open a new client", true)
            }
            _ => (ErrorKind::Unreachable, "Check the host's name, and the network", true),
        },
        ureq::Error::Tls(_) | ureq::Error::ConnectProxyFailed(_) => {
            (ErrorKind::Unreachable, "Is its certificate trusted, and the proxy right?", false)
        }
        _ => (ErrorKind::Disconnected, "The connection broke; open a new client", true),
    };
    Error::new(kind, format!("the exchange failed: {error}")).hint(hint).ran(ran).source(error)
}
