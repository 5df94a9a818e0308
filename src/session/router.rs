//! The single entrance for what comes in: every message goes to the request it belongs to, to the
//! dispatcher of notifications, or is answered on the spot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde::Deserialize;
use serde_json::json;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, said};
use crate::limits::Limits;
use crate::protocol::envelope::{self, Kind, Message, Outcome, ResponseId};
use crate::protocol::meta::{self, RequestMeta, SenderMeta};
use crate::protocol::skim::Skim;
use crate::protocol::{ClientRequest, Era, ProgressToken, ProtocolVersion};
use crate::session::cancel::{CancelToken, Watch, cancelled};
use crate::session::dispatcher::{Dispatcher, Listener};
use crate::transport::{
    Abandoned, CloseReport, Delivery, Inbox, Notice, Outgoing, Slot, SlotSender, Transport,
};

/// What is needed to route messages on one connection. Transports hold it as their inbox.
pub(crate) struct Router {
    server: Arc<str>,
    transport: OnceLock<Arc<dyn Transport>>,
    pending: Mutex<Pending>,
    /// Why nothing can be asked any more. Set with `pending` locked.
    ended: OnceLock<Error>,
    /// What is dropped then, and disconnected then.
    alive: Mutex<Option<Sender<()>>>,
    gone: Receiver<()>,
    next_id: AtomicU64,
    limits: Limits,
    /// Bytes of notifications that wait for a listener.
    held: Arc<AtomicUsize>,
    /// Notifications that found no room.
    dropped: AtomicUsize,
    dispatcher: Dispatcher,
    is_closing: AtomicBool,
    report: OnceLock<CloseReport>,
}

#[derive(Default)]
struct Pending {
    requests: HashMap<u64, Entry>,
    era: Known,
    /// The beginning of the last line that was no message.
    stray_line: Option<Arc<str>>,
}

/// What is known of the server's era, which decides whether it may ask us anything.
enum Known {
    /// Nothing yet: what the server asks waits until it is known. The id of each, and whether it is
    /// a `ping`.
    Nothing(Vec<(String, bool)>),
    Legacy,
    Modern,
}

impl Default for Known {
    fn default() -> Self {
        Self::Nothing(Vec::new())
    }
}

struct Entry {
    sender: SlotSender,
    interest: Interest,
}

/// What a request wants besides its reply, and what it is owed when its caller leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) progress: bool,
    pub(crate) log: bool,
    /// The server is not told when the caller leaves: the handshake cannot be cancelled.
    pub(crate) silent: bool,
    /// The reply may say that the server is modern.
    pub(crate) asks_era: bool,
}

/// A request on its way out.
pub(crate) struct Sending<'a> {
    pub(crate) request: &'a ClientRequest,
    /// In the modern era: the version it is written in, and what it says of its sender.
    pub(crate) speaking: Option<(ProtocolVersion, &'a SenderMeta)>,
    pub(crate) meta: &'a RequestMeta,
    /// Headers, where the transport mirrors.
    pub(crate) mirror: &'a [(String, String)],
    pub(crate) interest: Interest,
    /// The caller waits for the reply right away.
    pub(crate) waits: bool,
    pub(crate) until: Deadline,
    pub(crate) cancel: Option<&'a CancelToken>,
}

/// A request that has been sent, and can be cancelled for as long as this is kept.
pub(crate) struct Sent {
    pub(crate) id: u64,
    #[expect(dead_code, reason = "it is there to be dropped")]
    watch: Option<Watch>,
}

/// A pipe that broke says little: the end of the connection, which follows, says why.
fn why_not_sent(slot: &Slot, error: Error, until: Deadline) -> Error {
    const FOLLOWS_WITHIN: Duration = Duration::from_secs(1);
    if error.kind() != ErrorKind::Disconnected {
        return error;
    }
    match slot.receive(Deadline::after(FOLLOWS_WITHIN).min(until)) {
        Some(Delivery::Failed(_, better)) => better,
        _ => error,
    }
}

impl Router {
    pub(crate) fn new(server: Arc<str>, limits: Limits, listener: Option<Arc<Listener>>) -> Self {
        let (alive, gone) = crossbeam_channel::bounded(0);
        Self {
            server,
            transport: OnceLock::new(),
            pending: Mutex::default(),
            ended: OnceLock::new(),
            alive: Mutex::new(Some(alive)),
            gone,
            next_id: AtomicU64::new(1),
            dispatcher: Dispatcher::new(listener, limits.notifications),
            limits,
            held: Arc::default(),
            dropped: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
            report: OnceLock::new(),
        }
    }

    pub(crate) fn attach(&self, transport: Arc<dyn Transport>) {
        let _ = self.transport.set(transport);
    }

    pub(crate) fn server(&self) -> &Arc<str> {
        &self.server
    }

    pub(crate) fn transport(&self) -> Result<&Arc<dyn Transport>> {
        self.transport.get().ok_or_else(|| Error::new(ErrorKind::Closed, "not connected"))
    }

    /// The server may ask from now on, and is answered what it has asked already, or (in the modern
    /// era) may not ask, and gets no responses.
    pub(crate) fn know_era(&self, era: Era) {
        let known = match era {
            Era::Legacy => Known::Legacy,
            Era::Modern => Known::Modern,
        };
        let before = std::mem::replace(&mut self.lock().era, known);
        if let Known::Nothing(asked) = before {
            for (id, is_ping) in asked {
                self.answer(id, is_ping);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request whose deliveries go to the slot. Ids are never used twice.
    pub(crate) fn send(self: &Arc<Self>, slot: &Slot, sending: Sending<'_>) -> Result<Sent> {
        let Sending { request, speaking, meta, mirror, interest, waits, until, cancel } = sending;
        if cancel.is_some_and(CancelToken::is_cancelled) {
            return Err(cancelled());
        }
        let id = self.register(slot, interest)?;
        let (version, sender) = speaking.unzip();
        let json = meta::request(id, request, sender, meta).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("the params cannot be written: {error}"))
        });
        let posted = json.and_then(|json| {
            log::debug!("{}: -> {} {id} ({} bytes)", self.server, request.method(), json.len());
            log::trace!("{}: -> {}", self.server, String::from_utf8_lossy(&json));
            let (method, name) = (request.method(), request.name());
            self.transport()?.post(Outgoing {
                json,
                id: Some(id),
                method,
                name,
                version,
                mirror,
                waits,
                until,
            })
        });
        if let Err(error) = posted {
            let error = why_not_sent(slot, error, until);
            self.withdraw(id, "not sent");
            return Err(error.ran(false));
        }
        Ok(Sent { id, watch: cancel.map(|token| token.watch(self, id)) })
    }

    /// Something to be waited for that is no request: a delivery for its id comes from elsewhere.
    pub(crate) fn expect(
        self: &Arc<Self>,
        slot: &Slot,
        cancel: Option<&CancelToken>,
    ) -> Result<Sent> {
        if cancel.is_some_and(CancelToken::is_cancelled) {
            return Err(cancelled());
        }
        let id = self.register(slot, Interest { silent: true, ..Interest::default() })?;
        Ok(Sent { id, watch: cancel.map(|token| token.watch(self, id)) })
    }

    /// Tells transport and server that the handshake is done. Returns what is still to be waited
    /// for.
    pub(crate) fn agree(
        self: &Arc<Self>,
        slot: &Slot,
        version: ProtocolVersion,
        until: Deadline,
        cancel: Option<&CancelToken>,
    ) -> Result<Option<Sent>> {
        let expected = self.expect(slot, cancel)?;
        let method = "notifications/initialized";
        let json = envelope::notification(method, None);
        log::debug!("{}: -> {method} ({} bytes)", self.server, json.len());
        let initialized = Outgoing { until, ..Outgoing::aside(json, method) };
        match self.transport()?.agreed(expected.id, version, initialized) {
            Ok(false) => Ok(Some(expected)),
            outcome => {
                self.lock().requests.remove(&expected.id);
                outcome.map(|_| None)
            }
        }
    }

    fn register(&self, slot: &Slot, interest: Interest) -> Result<u64> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut pending = self.lock();
        if let Some(error) = self.ended.get() {
            return Err(error.clone());
        }
        pending.requests.insert(id, Entry { sender: slot.sender(), interest });
        Ok(id)
    }

    /// The caller has left: forgets the request and tells the server. Returns whether the server
    /// may have begun it, or `None` if there is nothing to forget any more.
    pub(crate) fn withdraw(&self, id: u64, reason: &str) -> Option<bool> {
        let entry = self.lock().requests.remove(&id)?;
        Some(self.leave(id, entry.interest, reason))
    }

    /// Ends a request from another thread.
    pub(crate) fn cancel(&self, id: u64) {
        let Some(entry) = self.lock().requests.remove(&id) else { return };
        let ran = self.leave(id, entry.interest, "cancelled");
        entry.sender.send(Delivery::Failed(id, cancelled().ran(ran)));
        self.wake();
    }

    fn wake(&self) {
        if let Some(transport) = self.transport.get() {
            transport.wake();
        }
    }

    fn leave(&self, id: u64, interest: Interest, reason: &str) -> bool {
        let Ok(transport) = self.transport() else { return false };
        match transport.abandon(id) {
            Abandoned::Unsent => return false,
            Abandoned::Notify if !interest.silent => {
                let params = json!({ "requestId": id, "reason": reason }).into();
                let method = "notifications/cancelled";
                self.post_aside(envelope::notification(method, Some(&params)), method);
            }
            Abandoned::Notify | Abandoned::Told => {}
        }
        true
    }

    /// Posts something no caller waits for. What cannot be sent is not missed.
    pub(crate) fn post_aside(&self, json: Vec<u8>, method: &str) {
        log::debug!("{}: -> {method} ({} bytes)", self.server, json.len());
        log::trace!("{}: -> {}", self.server, String::from_utf8_lossy(&json));
        let message = Outgoing::aside(json, method);
        if let Err(error) = self.transport().and_then(|transport| transport.post(message)) {
            log::debug!("{}: {method} was not sent: {error}", self.server);
        }
    }

    /// Fails everything that waits, and everything asked from now on.
    fn end(&self, why: Error) {
        let mut pending = self.lock();
        if self.ended.get().is_some() {
            return;
        }
        let why = match why.kind() {
            ErrorKind::Closed => why,
            _ => why.stray(pending.stray_line.clone()),
        };
        let _ = self.ended.set(why.clone());
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        let requests = std::mem::take(&mut pending.requests);
        drop(pending);
        log::debug!("{why}");
        for (id, entry) in requests {
            let sent = self.transport().is_ok_and(|t| t.abandon(id) != Abandoned::Unsent);
            entry.sender.send(Delivery::Failed(id, why.clone().ran(sent)));
        }
        self.wake();
    }

    /// Waits until the connection has ended, and the listener has heard all that came before.
    pub(crate) fn wait_for_end(&self, until: Deadline) -> Option<Error> {
        let _ = self.gone.recv_deadline(until.instant());
        let why = self.ended.get()?;
        self.dispatcher.finish(until).then(|| why.clone())
    }

    /// Adds what is known of a server that does not answer in time.
    pub(crate) fn overdue(&self, error: Error) -> Error {
        let error = error.stray(self.lock().stray_line.clone());
        match self.transport() {
            Ok(transport) => transport.overdue(error),
            Err(_) => error,
        }
    }

    /// There is a client now, for listeners to call.
    pub(crate) fn release_listener(&self) {
        self.dispatcher.release();
    }

    /// Ends the connection and waits for its threads. Idempotent: the first report stands.
    pub(crate) fn close(&self, until: Deadline) -> CloseReport {
        if self.is_closing.swap(true, Ordering::AcqRel) {
            // Who closes waits for the listener; the listener must not wait for them.
            return match self.report.get() {
                None if self.dispatcher.is_this_thread() => CloseReport::default(),
                _ => self.report.wait().clone(),
            };
        }
        // Others wait for the report, whatever becomes of this thread.
        let reported = Reported(&self.report);
        self.end(Error::closed().server(&self.server));
        let mut report = match self.transport() {
            Ok(transport) => transport.close(until),
            Err(_) => CloseReport::default(),
        };
        report.left_behind |= !self.dispatcher.close(until);
        let report = self.report.get_or_init(|| report).clone();
        drop(reported);
        report
    }

    /// Returns the request that the message answers, if somebody waits for that.
    fn route(&self, message: Message, via: Option<u64>) -> Option<u64> {
        if message.is_deeper_than(self.limits.nesting) {
            return self.too_deep(&message, via);
        }
        match message.kind() {
            Kind::Response { id, outcome } => {
                let id = match (id, via) {
                    // An exchange answers its own request and no other.
                    (ResponseId::Ours(id), via) if via.is_none_or(|via| via == *id) => *id,
                    (ResponseId::Missing, Some(via)) => via,
                    // Python's SDK 1.x calls what it refuses unread `"server-error"`.
                    (ResponseId::Foreign, Some(via)) if *outcome == Outcome::Error => via,
                    (ResponseId::Missing, None) if *outcome == Outcome::Error => {
                        let error = message.rpc_error();
                        let (code, text) = (error.code, said(&error.message));
                        log::warn!("{}: an error about no request: {code} {text}", self.server);
                        return None;
                    }
                    _ => {
                        log::debug!("{}: dropped a response to nothing of ours", self.server);
                        return None;
                    }
                };
                let mut pending = self.lock();
                let entry = pending.requests.remove(&id);
                let asks_era = entry.as_ref().is_some_and(|entry| entry.interest.asks_era);
                if asks_era && *outcome == Outcome::Result {
                    pending.era = Known::default();
                }
                drop(pending);
                let Some(entry) = entry else {
                    log::debug!(
                        "{}: dropped a response to {id}: late, double or unknown",
                        self.server
                    );
                    return None;
                };
                entry.sender.send(Delivery::Reply(id, message));
                return Some(id);
            }
            Kind::Request { id, method } => {
                log::debug!("{}: <- request {}", self.server, said(method));
                if self.is_echo(id, method) {
                    let text = "the server repeats what it is sent";
                    let error = Error::new(ErrorKind::Protocol, text).server(&self.server);
                    self.end(error.hint("Is it a terminal, or no MCP server at all?"));
                    return None;
                }
                self.answer(id.clone(), method == "ping");
            }
            Kind::Notification { method } => {
                let method = method.clone();
                log::debug!("{}: <- {} ({} bytes)", self.server, said(&method), message.len());
                self.notify(&method, message, via);
            }
        }
        None
    }

    /// Whether it is a message of the handshake's own that has come back. Only clients ask for these,
    /// and a server that does so later is told that there is no such method.
    fn is_echo(&self, id: &str, method: &str) -> bool {
        let is_ours = |id: u64| self.lock().requests.get(&id).is_some_and(|it| it.interest.silent);
        matches!(method, "server/discover" | "initialize") && id.parse().is_ok_and(is_ours)
    }

    /// Fails the request, and returns it if somebody waits for that.
    fn fail(&self, id: u64, why: Error) -> Option<u64> {
        let entry = self.lock().requests.remove(&id)?;
        entry.sender.send(Delivery::Failed(id, why.server(&self.server)));
        Some(id)
    }

    fn too_deep(&self, message: &Message, via: Option<u64>) -> Option<u64> {
        let most = self.limits.nesting;
        let answers = match message.kind() {
            Kind::Response { id: ResponseId::Ours(id), .. } => via.or(Some(*id)),
            Kind::Response { id: ResponseId::Missing, .. } => via,
            _ => None,
        };
        let Some(id) = answers else {
            log::warn!("{}: dropped a message that is nested too deep", self.server);
            return None;
        };
        let text = format!("the server's reply is nested deeper than {most} levels");
        let error = Error::new(ErrorKind::Limit, text).ran(true);
        self.fail(id, error.hint("Raise `Limits::nesting`, or ask for less"))
    }

    /// Answers a server's request at once. Whoever reads runs no user code and never blocks.
    fn answer(&self, id: String, is_ping: bool) {
        const MOST_WAITING: usize = 64;
        const LONGEST_ID: usize = 1024;
        let may_ask = id.len() <= LONGEST_ID
            && match &mut self.lock().era {
                Known::Legacy => true,
                Known::Nothing(asked) if asked.len() < MOST_WAITING => {
                    asked.push((id, is_ping));
                    return;
                }
                Known::Nothing(_) | Known::Modern => false,
            };
        if !may_ask {
            log::warn!("{}: dropped a request of the server's", self.server);
            return;
        }
        let response = match is_ping {
            true => envelope::empty_result(&id),
            false => envelope::error_response(&id, -32601, "this client does not have that method"),
        };
        self.post_aside(response, "(response)");
    }

    fn notify(&self, method: &str, message: Message, via: Option<u64>) {
        let target = match method {
            "notifications/progress" => match self.progress_target(&message) {
                Some(target) => Some(target),
                None => return log::debug!("{}: dropped progress of no request", self.server),
            },
            "notifications/message" => self.log_target(via),
            _ => None,
        };
        if target.is_none() && !self.dispatcher.has_listener() {
            return log::debug!("{}: nobody listens for {}", self.server, said(method));
        }
        let notice = Notice::hold(message, &self.held, self.limits.message);
        let taken = notice.is_some_and(|notice| match target {
            Some(sender) if sender.len() >= self.limits.notifications.max(1) => false,
            Some(sender) => sender.send(Delivery::Notice(notice)),
            None => self.dispatcher.dispatch(notice),
        });
        if !taken {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // A flood of them is not to become a flood of lines.
            if dropped.is_power_of_two() {
                log::warn!("{}: dropped {dropped} notifications: too many wait", self.server);
            }
        }
    }

    /// A progress token is the id of the request it was sent with.
    fn progress_target(&self, message: &Message) -> Option<SlotSender> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Params {
            progress_token: ProgressToken,
        }
        let Params { progress_token } = message.parse().ok()?;
        let ProgressToken::Number(id) = progress_token else { return None };
        let pending = self.lock();
        let entry = pending.requests.get(&u64::try_from(id).ok()?)?;
        entry.interest.progress.then(|| entry.sender.clone())
    }

    /// A log message does not name its request: it belongs to the one on whose exchange it came,
    /// or to the only one that asked for any.
    fn log_target(&self, via: Option<u64>) -> Option<SlotSender> {
        let pending = self.lock();
        let entry = match via {
            Some(via) => pending.requests.get(&via)?,
            None if pending.requests.len() == 1 => pending.requests.values().next()?,
            None => return None,
        };
        entry.interest.log.then(|| entry.sender.clone())
    }
}

/// Makes sure that there is a report in the end.
struct Reported<'a>(&'a OnceLock<CloseReport>);

impl Drop for Reported<'_> {
    fn drop(&mut self) {
        self.0.get_or_init(|| CloseReport { left_behind: true, ..CloseReport::default() });
    }
}

impl Inbox for Router {
    fn message(&self, text: Vec<u8>, via: Option<u64>) -> Option<u64> {
        const MOST_SHOWN: usize = 200;
        let size = text.len();
        log::trace!("{}: <- {}", self.server, String::from_utf8_lossy(&text));
        let most = self.limits.message;
        // It is looked at twice only if it may grow beyond the limit.
        if size > most / 3
            && let repaired = envelope::repaired_length(&text)
            && repaired > most
        {
            let mut skim = Skim::default();
            skim.feed(&text);
            let answers = via.or(skim.answers());
            self.too_long(answers, repaired as u64);
            return answers;
        }
        if !Message::is_batch(&text) {
            match Message::scan(text) {
                Ok(message) => return self.route(message, via),
                Err((why, text)) => {
                    log::warn!("{}: skipped a line of {size} bytes: {why}", self.server);
                    let start = text.get(..MOST_SHOWN).unwrap_or(&text);
                    let line = said(&String::from_utf8_lossy(start)).into();
                    self.lock().stray_line = Some(line);
                }
            }
            return None;
        }
        if matches!(self.lock().era, Known::Modern) {
            log::warn!("{}: dropped a batch: this era has none", self.server);
            return None;
        }
        let mut answers = None;
        let mut skipped = 0_usize;
        let read = Message::scan_batch(text, &mut |element| match element {
            Ok(message) => answers = self.route(message, via).or(answers),
            Err(_) => skipped += 1,
        });
        if read.is_err() || skipped > 0 {
            log::warn!("{}: skipped {skipped} of a batch of {size} bytes", self.server);
        }
        answers
    }

    fn too_long(&self, answers: Option<u64>, bytes: u64) {
        let most = self.limits.message;
        match answers {
            Some(id) => {
                let text =
                    format!("the server's reply has {bytes} bytes, and at most {most} are allowed");
                let error = Error::new(ErrorKind::Limit, text).ran(true);
                self.ended(Some(id), error.hint("Raise `Limits::message`, or ask for less"));
            }
            None => log::warn!("{}: dropped a message of {bytes} bytes", self.server),
        }
    }

    fn ready(&self, id: u64) {
        let entry = self.lock().requests.remove(&id);
        if let Some(entry) = entry {
            entry.sender.send(Delivery::Ready(id));
        }
    }

    fn ended(&self, scope: Option<u64>, why: Error) {
        match scope {
            Some(id) => _ = self.fail(id, why),
            None => self.end(why.server(&self.server)),
        }
    }
}
