//! The single entrance for what comes in: every message goes to the request it belongs to, to the
//! dispatcher of notifications, or is answered on the spot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use serde::Deserialize;
use serde_json::json;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::limits::Limits;
use crate::protocol::envelope::{self, Kind, Message, Outcome, ResponseId};
use crate::protocol::meta::{self, RequestMeta, SenderMeta};
use crate::protocol::skim::Skim;
use crate::protocol::{ClientRequest, Era, ProgressToken, ProtocolVersion, RawJson};
use crate::session::cancel::{CancelToken, Watch, cancelled};
use crate::session::changes::{Changed, Effect, OnChange};
use crate::session::event::{Body, EventKind};
use crate::session::feed::{self, Feed};
use crate::session::limiter::Turn;
use crate::session::listeners::{Kinds, Listeners, OnEvent};
use crate::session::metrics::{Counters, Metrics};
use crate::session::questions::{self, Answers, Questions, Refusal};
use crate::session::standstill::{Running, Standstill};
use crate::session::subscription::ended;
use crate::threads::Threads;
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
    /// Bytes of messages that wait for a call or a handler.
    held: Arc<AtomicUsize>,
    /// Notifications that found no room.
    dropped: AtomicUsize,
    listeners: Arc<Listeners>,
    /// Whoever keeps answers.
    on_change: Option<Arc<OnChange>>,
    pub(super) counters: Counters,
    questions: Questions,
    /// The session's own.
    pub(super) threads: Threads,
    /// For threads that outlive a call into this.
    itself: OnceLock<Weak<Router>>,
    /// There has been a session.
    is_open: AtomicBool,
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
    /// Nothing yet: what the server asks waits until it is known. The id of each, and the method.
    /// It has to be refused then, but for a `ping`: no server may ask more before the handshake.
    Nothing(Vec<(String, String)>),
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
    standstill: Option<Arc<Standstill>>,
    /// Of a subscription.
    feed: Option<Arc<Feed>>,
    /// It is no request: what is waited for does not come from the server.
    is_local: bool,
    /// When it was sent, if what becomes of it is counted.
    sent_at: Option<Instant>,
    /// For those who listen to what becomes of it.
    told: Option<Box<Told>>,
    turn: Turn,
}

impl Entry {
    fn new(slot: &Slot) -> Self {
        Self {
            sender: slot.sender(),
            interest: Interest::default(),
            standstill: None,
            feed: None,
            is_local: false,
            sent_at: None,
            told: None,
            turn: Turn::default(),
        }
    }

    fn send(self, delivery: Delivery) {
        // Whoever receives this may ask the next thing at once.
        drop(self.turn);
        // What found no room did so before this.
        if let Some(feed) = &self.feed {
            feed.tell();
        }
        self.sender.send(delivery);
    }
}

/// What was told of a request when it was sent.
struct Told {
    method: String,
    at: Instant,
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
    /// The call that listeners hear of when it ends.
    pub(crate) call: Option<u64>,
    /// What whoever keeps answers hears of when it ends.
    pub(crate) effect: Option<Effect>,
}

/// Where a notification goes, besides those who listen.
enum Target {
    Nobody,
    Call(SlotSender),
    Feeds(Vec<Arc<Feed>>),
    Cancelled,
}

/// A request on its way out.
pub(crate) struct Sending<'a> {
    pub(crate) request: &'a ClientRequest,
    /// In the modern era: the version it is written in, and what it says of its sender.
    pub(crate) speaking: Option<(ProtocolVersion, &'a SenderMeta)>,
    pub(crate) meta: &'a RequestMeta,
    /// Headers, where the transport mirrors.
    pub(crate) mirror: &'a [(String, String)],
    /// The session it belongs to, unless it begins one.
    pub(crate) session: Option<u64>,
    /// Now, if what becomes of it is counted.
    pub(crate) at: Option<Instant>,
    pub(crate) turn: Turn,
    pub(crate) interest: Interest,
    /// Told of handlers that run because of it.
    pub(crate) standstill: Option<&'a Arc<Standstill>>,
    /// What is to come meanwhile, if it subscribes.
    pub(crate) feed: Option<&'a Arc<Feed>>,
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

/// Why a request is withdrawn whose clock has run out.
pub(crate) const TIMED_OUT: &str = "timed out";

/// What was waited for has ended otherwise just now, and something else will be: where there is room for
/// one delivery only, that which says so is not to be in the way.
pub(super) fn clear(slot: &Slot) {
    const MOMENT: Duration = Duration::from_secs(1);
    if !slot.listens() {
        slot.receive(Deadline::after(MOMENT));
    }
}

impl Router {
    pub(crate) fn new(
        server: Arc<str>,
        limits: Limits,
        functions: &[(Kinds, Arc<OnEvent>)],
        answers: Option<Arc<Answers>>,
        on_change: Option<Arc<OnChange>>,
    ) -> Self {
        let (alive, gone) = crossbeam_channel::bounded(0);
        Self {
            listeners: Arc::new(Listeners::new(server.clone(), &limits, functions)),
            server,
            transport: OnceLock::new(),
            pending: Mutex::default(),
            ended: OnceLock::new(),
            alive: Mutex::new(Some(alive)),
            gone,
            next_id: AtomicU64::new(1),
            on_change,
            questions: Questions::new(answers, limits.handlers),
            threads: Threads::default(),
            itself: OnceLock::new(),
            limits,
            held: Arc::default(),
            dropped: AtomicUsize::new(0),
            is_open: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            report: OnceLock::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn attach(self: &Arc<Self>, transport: Arc<dyn Transport>) {
        let _ = self.itself.set(Arc::downgrade(self));
        let _ = self.transport.set(transport);
    }

    pub(crate) fn server(&self) -> &Arc<str> {
        &self.server
    }

    pub(crate) fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
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
        if era == Era::Modern {
            self.questions.cancel_all();
        }
        if let Known::Nothing(asked) = before {
            for (id, method) in asked {
                self.answer(id, &method, None, None);
            }
        }
    }

    /// There is a session, which may go on over another connection.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request whose deliveries go to the slot. Ids are never used twice.
    pub(crate) fn send(self: &Arc<Self>, slot: &Slot, sending: Sending<'_>) -> Result<Sent> {
        let Sending {
            request,
            speaking,
            meta,
            mirror,
            session,
            at,
            turn,
            mut interest,
            standstill,
            feed,
            waits,
            until,
            cancel,
        } = sending;
        if cancel.is_some_and(CancelToken::is_cancelled) {
            return Err(cancelled());
        }
        interest.effect = self.on_change.as_ref().and_then(|_| Effect::of(request));
        let id = self.register(Entry {
            interest,
            standstill: standstill.cloned(),
            feed: feed.cloned(),
            sent_at: at,
            turn,
            ..Entry::new(slot)
        })?;
        if interest.effect == Some(Effect::Calls) {
            self.changed(&Changed::ByCall);
        }
        // A handshake is in no session yet.
        if session.is_some() {
            self.counters.requests.add(1);
        }
        let (version, sender) = speaking.unzip();
        let json = meta::request(id, request, sender, meta).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("the params cannot be written: {error}"))
        });
        let posted = json.and_then(|json| {
            log::debug!("{}: -> {} {id} ({} bytes)", self.server, request.method(), json.len());
            log::trace!("{}: -> {}", self.server, String::from_utf8_lossy(&json));
            let (method, name) = (request.method(), request.name());
            if self.listeners.want_any(Kinds::REQUESTS) {
                self.tell_sent(id, method, json.len());
            }
            self.post(Outgoing {
                json,
                id: Some(id),
                method,
                name,
                version,
                session,
                mirror,
                waits,
                until,
            })
        });
        if let Err(error) = posted {
            return Err(self.unsent(id, slot, error, until).ran(false));
        }
        Ok(Sent { id, watch: cancel.map(|token| token.watch(self, id)) })
    }

    /// Sends a request whose answer nobody waits for.
    pub(crate) fn tell(
        &self,
        request: &ClientRequest,
        speaking: Option<(ProtocolVersion, &SenderMeta)>,
        session: u64,
    ) {
        const WITHIN: Duration = Duration::from_secs(10);
        let (method, name) = (request.method(), request.name());
        let post = || {
            let transport = self.transport()?;
            // An exchange of its own ends with the answer. Where there is none, it may never come.
            let is_answered = transport.facts().answers_or_fails;
            let id = match is_answered {
                true => self.register(Entry::new(&Slot::for_replies()))?,
                false => self.next_id.fetch_add(1, Ordering::Relaxed),
            };
            let (version, sender) = speaking.unzip();
            let json = meta::request(id, request, sender, &RequestMeta::default());
            let json = json.map_err(|error| Error::new(ErrorKind::InvalidInput, misfit(&error)))?;
            log::debug!("{}: -> {method} {id} ({} bytes)", self.server, json.len());
            match is_answered {
                true => self.tell_sent(id, method, json.len()),
                false => self.tell_request(id, method, json.len()),
            }
            let posted = self.post(Outgoing {
                id: Some(id),
                name,
                version,
                session: Some(session),
                until: Deadline::after(WITHIN),
                ..Outgoing::aside(json, method)
            });
            posted.inspect_err(|error| drop(self.take(id, Err(error))))
        };
        if let Err(error) = post() {
            log::debug!("{}: {method} was not sent: {error}", self.server);
        }
    }

    /// Something to be waited for that is no request: a delivery for its id comes from elsewhere.
    pub(crate) fn expect(
        self: &Arc<Self>,
        slot: &Slot,
        cancel: Option<&CancelToken>,
    ) -> Result<Sent> {
        self.await_delivery(slot, None, cancel)
    }

    /// What a legacy server says unasked.
    pub(crate) fn listen(
        self: &Arc<Self>,
        slot: &Slot,
        feed: &Arc<Feed>,
        cancel: Option<&CancelToken>,
    ) -> Result<Sent> {
        self.await_delivery(slot, Some(feed), cancel)
    }

    fn await_delivery(
        self: &Arc<Self>,
        slot: &Slot,
        feed: Option<&Arc<Feed>>,
        cancel: Option<&CancelToken>,
    ) -> Result<Sent> {
        if cancel.is_some_and(CancelToken::is_cancelled) {
            return Err(cancelled());
        }
        let id = self.register(Entry {
            interest: Interest { silent: true, ..Interest::default() },
            feed: feed.cloned(),
            is_local: true,
            ..Entry::new(slot)
        })?;
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
        self.counters.bytes_sent.add(json.len());
        let initialized = Outgoing { until, ..Outgoing::aside(json, method) };
        match self.transport()?.agreed(expected.id, version, initialized) {
            Ok(false) => Ok(Some(expected)),
            outcome => {
                self.lock().requests.remove(&expected.id);
                outcome.map(|_| None)
            }
        }
    }

    fn register(&self, entry: Entry) -> Result<u64> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut pending = self.lock();
        if let Some(error) = self.ended.get() {
            return Err(error.clone());
        }
        pending.requests.insert(id, entry);
        Ok(id)
    }

    /// Gives a message to the transport.
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let bytes = message.json.len();
        self.transport()?.post(message)?;
        self.counters.bytes_sent.add(bytes);
        Ok(())
    }

    /// What has been counted so far.
    pub(super) fn metrics(&self) -> Metrics {
        let is_counted = |entry: &&Entry| entry.sent_at.is_some();
        let in_flight = self.lock().requests.values().filter(is_counted).count();
        Metrics { in_flight: in_flight as u64, ..self.counters.read() }
    }

    fn count_end(&self, sent_at: Instant, reply: Option<&Message>) {
        let counters = &self.counters;
        if reply.is_some() {
            counters.replies.add(1);
            counters.took(sent_at.elapsed());
        }
        let is_result = |reply: &Message| {
            matches!(reply.kind(), Kind::Response { outcome: Outcome::Result, .. })
        };
        if !reply.is_some_and(is_result) {
            counters.errors.add(1);
        }
    }

    /// Told while `pending` is locked, as everything that becomes of a request: so it is in order.
    fn tell_sent(&self, id: u64, method: &str, bytes: usize) {
        let mut pending = self.lock();
        let Some(entry) = pending.requests.get_mut(&id) else { return };
        entry.told = Some(Box::new(Told { method: method.to_owned(), at: Instant::now() }));
        self.tell_request(id, method, bytes);
    }

    fn tell_request(&self, id: u64, method: &str, bytes: usize) {
        if self.listeners.want(EventKind::RequestSent) {
            let body = self.listeners.body(EventKind::RequestSent, method);
            self.listeners.tell(Body { id: Some(id.to_string()), bytes: Some(bytes), ..body });
        }
    }

    /// What became of a request that is no longer pending. `pending` is locked.
    fn tell_end(&self, id: u64, entry: &Entry, outcome: std::result::Result<&Message, &Error>) {
        if let Some(sent_at) = entry.sent_at {
            self.count_end(sent_at, outcome.ok());
        }
        let Some(told) = &entry.told else { return };
        let (kind, bytes, error) = match outcome {
            Ok(reply) => {
                let is_error =
                    matches!(reply.kind(), Kind::Response { outcome: Outcome::Error, .. });
                let error = is_error.then(|| Error::from_rpc(reply.rpc_error()));
                (EventKind::ReplyReceived, Some(reply.len()), error)
            }
            Err(error) => (EventKind::Error, None, Some(error.clone())),
        };
        if self.listeners.want(kind) {
            let error = error.map(|error| error.server(&self.server).about(&told.method, ""));
            let (id, duration) = (Some(id.to_string()), Some(told.at.elapsed()));
            let body = self.listeners.body(kind, &told.method);
            self.listeners.tell(Body { id, bytes, duration, error, ..body });
        }
    }

    /// Takes a request off, with what its listeners are told of the end.
    fn take(&self, id: u64, outcome: std::result::Result<&Message, &Error>) -> Option<Entry> {
        let mut pending = self.lock();
        let entry = pending.requests.remove(&id)?;
        self.tell_end(id, &entry, outcome);
        drop(pending);
        self.take_effect(&entry);
        Some(entry)
    }

    /// Tells whoever keeps answers. `pending` is not locked: they have a lock of their own.
    fn changed(&self, what: &Changed) {
        if let Some(on_change) = &self.on_change {
            on_change(what);
        }
    }

    /// Another session has begun, which may be with another server.
    pub(crate) fn forget_answers(&self) {
        self.changed(&Changed::Anything);
    }

    /// A request is no longer pending, and nobody has been told yet.
    fn take_effect(&self, entry: &Entry) {
        match entry.interest.effect {
            Some(Effect::Calls) => self.changed(&Changed::ByCall),
            Some(Effect::Listens) => self.changed(&Changed::Anything),
            None => {}
        }
    }

    /// Forgets a request that could not be sent. Returns why.
    fn unsent(&self, id: u64, slot: &Slot, error: Error, until: Deadline) -> Error {
        // A pipe that broke says little: the end of the connection, which follows, says why.
        if error.kind() == ErrorKind::Disconnected && error.refusal().is_none() {
            const FOLLOWS_WITHIN: Duration = Duration::from_secs(1);
            let follows = slot.receive(Deadline::after(FOLLOWS_WITHIN).min(until));
            if let Some(Delivery::Failed(_, better)) = follows {
                return better;
            }
        }
        match self.take(id, Err(&error)) {
            // Another session's server has never heard of it.
            Some(_) if error.refusal().is_some() => {}
            Some(entry) => _ = self.leave(id, entry.interest, "not sent"),
            None => clear(slot),
        }
        error
    }

    /// The caller has left: forgets the request and tells the server. Returns whether the server
    /// may have begun it, or `None` if there is nothing to forget any more.
    pub(crate) fn withdraw(&self, id: u64, reason: &str) -> Option<bool> {
        let mut pending = self.lock();
        let entry = pending.requests.remove(&id)?;
        let kind = match reason {
            TIMED_OUT => ErrorKind::Timeout,
            _ => ErrorKind::Cancelled,
        };
        self.tell_end(id, &entry, Err(&Error::new(kind, reason)));
        drop(pending);
        self.take_effect(&entry);
        Some(self.leave(id, entry.interest, reason))
    }

    /// Ends a request from another thread.
    pub(crate) fn cancel(&self, id: u64) {
        self.stop(id, cancelled());
    }

    /// Ends whatever is waited for, for this reason.
    pub(crate) fn stop(&self, id: u64, why: Error) {
        let Some(entry) = self.take(id, Err(&why)) else { return };
        let ran = self.leave(id, entry.interest, "cancelled");
        entry.send(Delivery::Failed(id, why.ran(ran)));
        self.wake();
    }

    /// Nothing can be asked any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Tells every subscription that something may have been missed.
    pub(crate) fn interrupt_subscriptions(&self) {
        self.changed(&Changed::Anything);
        let pending = self.lock();
        let feeds: Vec<_> = pending.requests.values().filter_map(|it| it.feed.clone()).collect();
        drop(pending);
        feeds.iter().for_each(|feed| feed.interrupt());
    }

    /// Ends every subscription to this resource.
    pub(crate) fn stop_subscriptions(&self, uri: &str, why: &Error) {
        let pending = self.lock();
        let is_lost = |feed: &Arc<Feed>| feed.is_of(uri);
        let lost = pending.requests.iter().filter(|(_, it)| it.feed.as_ref().is_some_and(is_lost));
        let lost: Vec<u64> = lost.map(|(id, _)| *id).collect();
        drop(pending);
        lost.into_iter().for_each(|id| self.stop(id, why.clone()));
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
        if let Err(error) = self.post(message) {
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
        let requests = std::mem::take(&mut pending.requests);
        requests.iter().for_each(|(id, entry)| self.tell_end(*id, entry, Err(&why)));
        self.listeners.end(&why);
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(pending);
        log::debug!("{why}");
        for (id, entry) in requests {
            self.take_effect(&entry);
            let sent = self.transport().is_ok_and(|t| t.abandon(id) != Abandoned::Unsent);
            entry.send(Delivery::Failed(id, why.clone().ran(sent)));
        }
        self.wake();
    }

    /// Waits until the connection has ended, and listeners have heard all that came before.
    pub(crate) fn wait_for_end(&self, until: Deadline) -> Option<Error> {
        // Until then there may be something more to hear, whatever is known already.
        if self.gone.recv_deadline(until.instant()) != Err(RecvTimeoutError::Disconnected) {
            return None;
        }
        let why = self.ended.get()?;
        self.listeners.finish(until).then(|| why.clone())
    }

    /// Adds what is known of a server that does not answer in time.
    pub(crate) fn overdue(&self, error: Error) -> Error {
        let error = error.stray(self.lock().stray_line.clone());
        match self.transport() {
            Ok(transport) => transport.overdue(error),
            Err(_) => error,
        }
    }

    /// When the server last gave a sign of life on what a request has to itself.
    pub(crate) fn heard_at(&self, id: u64) -> Option<Instant> {
        self.transport().ok()?.heard_at(id)
    }

    /// There is a client now, for listeners and handlers to call.
    pub(crate) fn release(&self) {
        self.listeners.release();
        for (id, refusal) in self.questions.release(&self.itself()) {
            self.respond(&id, &Err(refusal));
        }
    }

    fn itself(&self) -> Weak<Self> {
        self.itself.get().cloned().unwrap_or_default()
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn why_ended(&self) -> Option<&Error> {
        self.ended.get()
    }

    /// Whether this runs inside a handler of what a legacy server asks.
    pub(crate) fn is_in_handler(&self) -> bool {
        self.questions.is_this_thread()
    }

    /// What the server has asked is not wanted any more: it was asked in a session that is over.
    pub(crate) fn forget_questions(&self) {
        self.questions.cancel_all();
    }

    /// A handler has answered a request of the server's.
    pub(crate) fn answered(
        &self,
        id: &str,
        answer: &Result<RawJson, Refusal>,
        is_cancelled: &AtomicBool,
    ) {
        if self.questions.finish(id, is_cancelled) {
            self.respond(id, answer);
        }
    }

    fn respond(&self, id: &str, answer: &Result<RawJson, Refusal>) {
        if let Err(refusal) = answer {
            log::debug!("{}: refused a request: {}", self.server, said(&refusal.text));
        }
        let json = questions::response(id, answer);
        if self.listeners.want(EventKind::ReplySent) {
            let body = self.listeners.body(EventKind::ReplySent, "");
            self.listeners.tell(Body { id: Some(said(id)), bytes: Some(json.len()), ..body });
        }
        self.post_aside(json, "(response)");
    }

    /// Ends the connection and waits for its threads. Idempotent: the first report stands.
    pub(crate) fn close(&self, until: Deadline) -> CloseReport {
        if self.is_closing.swap(true, Ordering::AcqRel) {
            // Who closes waits for listener and handlers; those must not wait for them.
            return match self.report.get() {
                None if self.listeners.is_this_thread() || self.questions.is_this_thread() => {
                    CloseReport::default()
                }
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
        report.left_behind |= !self.listeners.close(until);
        report.left_behind |= !self.questions.close(until);
        report.left_behind |= !self.threads.join(until);
        let report = self.report.get_or_init(|| report).clone();
        drop(reported);
        self.listeners.clear();
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
                        self.listeners.trouble("the server sent an error about no request");
                        return None;
                    }
                    _ => {
                        log::debug!("{}: dropped a response to nothing of ours", self.server);
                        return None;
                    }
                };
                let mut pending = self.lock();
                let entry = pending.requests.remove(&id);
                if let Some(entry) = &entry {
                    self.tell_end(id, entry, Ok(&message));
                    if let Some(call) = entry.interest.call {
                        self.listeners.replied(call, &message);
                    }
                }
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
                self.take_effect(&entry);
                if entry.interest.effect == Some(Effect::Calls) && *outcome == Outcome::Error {
                    // CACHE-10: the tool may be gone, or be another.
                    self.changed(&Changed::Tools);
                }
                entry.send(Delivery::Reply(id, message));
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
                let (id, method) = (id.clone(), method.clone());
                if self.listeners.want(EventKind::RequestReceived) {
                    let body = self.listeners.body(EventKind::RequestReceived, &said(&method));
                    let (id, bytes) = (Some(said(&id)), Some(message.len()));
                    self.listeners.tell(Body { id, bytes, ..body });
                }
                self.answer(id, &method, Some(message), via);
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
        let why = why.server(&self.server);
        let entry = self.take(id, Err(&why))?;
        entry.send(Delivery::Failed(id, why));
        Some(id)
    }

    fn drop_long(&self, answers: Option<u64>, bytes: u64) {
        let most = self.limits.message;
        match answers {
            Some(id) => {
                let text =
                    format!("the server's reply has {bytes} bytes, and at most {most} are allowed");
                let error = Error::new(ErrorKind::Limit, text).ran(true);
                self.fail(id, error.hint("Raise `Limits::message`, or ask for less"));
            }
            None => {
                log::warn!("{}: dropped a message of {bytes} bytes", self.server);
                self.changed(&Changed::Anything);
                self.listeners.trouble("a message that is too large was dropped");
            }
        }
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
            self.changed(&Changed::Anything);
            self.listeners.trouble("a message that is nested too deep was dropped");
            return None;
        };
        let text = format!("the server's reply is nested deeper than {most} levels");
        let error = Error::new(ErrorKind::Limit, text).ran(true);
        self.fail(id, error.hint("Raise `Limits::nesting`, or ask for less"))
    }

    /// Answers a server's request at once, or has it answered. Whoever reads runs no user code and
    /// never blocks.
    fn answer(&self, id: String, method: &str, message: Option<Message>, via: Option<u64>) {
        const MOST_WAITING: usize = 64;
        const LONGEST: usize = 1024;
        let may_ask = id.len() <= LONGEST
            && method.len() <= LONGEST
            && match &mut self.lock().era {
                Known::Legacy => true,
                Known::Nothing(asked) if asked.len() < MOST_WAITING => {
                    asked.push((id, method.to_owned()));
                    return;
                }
                Known::Nothing(_) | Known::Modern => false,
            };
        if !may_ask {
            log::warn!("{}: dropped a request of the server's", self.server);
            return;
        }
        if method == "ping" {
            return self.respond(&id, &Ok(RawJson::empty_object()));
        }
        if let Err(refusal) = self.ask(&id, method, message, via) {
            self.respond(&id, &Err(refusal));
        }
    }

    fn ask(
        &self,
        id: &str,
        method: &str,
        message: Option<Message>,
        via: Option<u64>,
    ) -> Result<(), Refusal> {
        self.questions.check(method)?;
        let too_early = || Refusal::new(-32603, "nothing but a `ping` before the handshake");
        let message = message.ok_or_else(too_early)?;
        let too_much = || Refusal::new(-32603, "too much waits to be answered already");
        let notice = Notice::hold(message, &self.held, self.limits.message).ok_or_else(too_much)?;
        self.questions.ask(&self.itself(), id, method, notice, self.stand_still(via))
    }

    /// A request of the server's may belong to any that it works on, unless it came on the exchange
    /// of one.
    fn stand_still(&self, via: Option<u64>) -> Vec<Running> {
        let pending = self.lock();
        let is_of = |id: &u64| via.is_none_or(|via| via == *id);
        let asked_in = pending.requests.iter().filter(|(id, _)| is_of(id));
        asked_in.filter_map(|(_, entry)| Some(entry.standstill.as_ref()?.begin())).collect()
    }

    fn notify(&self, method: &str, message: Message, via: Option<u64>) {
        if self.on_change.is_some()
            && let Some(what) = Changed::said(method, &message)
        {
            self.changed(&what);
        }
        let target = match method {
            "notifications/progress" => match self.progress_target(&message) {
                Some(target) => Target::Call(target),
                None => return log::debug!("{}: dropped progress of no request", self.server),
            },
            "notifications/message" => self.log_target(via).map_or(Target::Nobody, Target::Call),
            "notifications/cancelled" => Target::Cancelled,
            _ => match self.feeds_for(method, &message, via) {
                Some(feeds) if feeds.is_empty() => Target::Nobody,
                Some(feeds) => Target::Feeds(feeds),
                None => {
                    return log::debug!(
                        "{}: dropped {} of no subscription",
                        self.server,
                        said(method)
                    );
                }
            },
        };
        let mut taken = true;
        if method != "notifications/progress" {
            taken = self.tell_notification(method, &message, matches!(target, Target::Nobody));
        }
        match target {
            Target::Nobody => {}
            Target::Call(sender) => {
                let has_room = sender.len() < self.limits.notifications.max(1);
                let notice = Notice::hold(message, &self.held, self.limits.message);
                taken &= notice
                    .filter(|_| has_room)
                    .is_some_and(|notice| sender.send(Delivery::Notice(notice)));
            }
            Target::Feeds(feeds) => self.feed(&feeds, method, &message),
            Target::Cancelled => self.cancelled_by_server(&message),
        }
        if !taken {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // A flood of them is not to become a flood of lines.
            if dropped.is_power_of_two() {
                log::warn!("{}: dropped {dropped} notifications: too many wait", self.server);
            }
        }
    }

    /// Returns whether all who listen had room for it.
    fn tell_notification(&self, method: &str, message: &Message, is_aside: bool) -> bool {
        #[derive(Deserialize)]
        struct Updated {
            uri: String,
        }
        let kind = EventKind::of(method);
        let is_heard =
            self.listeners.want(kind) || is_aside && self.listeners.want_any(Kinds::ASIDES);
        if !is_heard {
            if is_aside {
                log::debug!("{}: nobody listens for {}", self.server, said(method));
            }
            return true;
        }
        let Ok(params) = message.parse::<RawJson>() else { return true };
        let mut body = self.listeners.body(kind, method);
        if kind == EventKind::ResourceUpdated {
            body.name = params.parse().ok().map(|Updated { uri }| uri);
        }
        self.listeners.tell(Body { params: Some(params), is_aside, ..body })
    }

    /// The subscriptions that a notification belongs to, or `None` if it names one that there is not.
    /// A modern server names it (SUB-8); what a legacy one says is for all who want to know.
    fn feeds_for(
        &self,
        method: &str,
        message: &Message,
        via: Option<u64>,
    ) -> Option<Vec<Arc<Feed>>> {
        let named = feed::named(message);
        let uri = feed::resource(message);
        let pending = self.lock();
        if !matches!(pending.era, Known::Modern) {
            let feeds = pending.requests.values().filter_map(|entry| entry.feed.as_ref());
            return Some(feeds.filter(|it| it.wants(method, uri.as_deref())).cloned().collect());
        }
        let id = match (named, via) {
            (Some(id), None) => id?,
            // SUB-9
            (Some(id), Some(via)) => id.filter(|id| *id == via)?,
            (None, Some(via)) => via,
            (None, None) => return Some(Vec::new()),
        };
        let entry = pending.requests.get(&id);
        match named {
            Some(_) => Some(entry?.feed.iter().cloned().collect()),
            None => Some(entry.and_then(|entry| entry.feed.clone()).into_iter().collect()),
        }
    }

    fn feed(&self, feeds: &[Arc<Feed>], method: &str, message: &Message) {
        for feed in feeds {
            let notice = Notice::hold(message.clone(), &self.held, self.limits.message);
            feed.take(method, notice);
        }
    }

    /// The server does not want an answer any more (CANCEL-10), or ends a subscription (SUB-13).
    fn cancelled_by_server(&self, message: &Message) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Params {
            request_id: RawJson,
        }
        if let Ok(Params { request_id }) = message.parse() {
            log::debug!("{}: the server cancelled a request", self.server);
            match self.subscription(request_id.get()) {
                Some(id) => _ = self.fail(id, ended()),
                None => self.questions.cancel(request_id.get()),
            }
        }
    }

    /// The subscription with that id: only a modern server knows what ids they have.
    fn subscription(&self, id: &str) -> Option<u64> {
        let id = id.parse().ok()?;
        let pending = self.lock();
        let is_one = pending.requests.get(&id)?.feed.is_some();
        (is_one && matches!(pending.era, Known::Modern)).then_some(id)
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
            None => {
                let mut calls = pending.requests.values().filter(|entry| entry.feed.is_none());
                calls.next().filter(|_| calls.next().is_none())?
            }
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
        self.counters.bytes_received.add(size);
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
            self.drop_long(answers, repaired as u64);
            return answers;
        }
        if !Message::is_batch(&text) {
            match Message::scan(text) {
                Ok(message) => return self.route(message, via),
                Err((why, text)) => {
                    log::warn!("{}: skipped a line of {size} bytes: {why}", self.server);
                    self.listeners.trouble("the server wrote a line that is no message");
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
            self.changed(&Changed::Anything);
            log::warn!("{}: skipped {skipped} of a batch of {size} bytes", self.server);
        }
        answers
    }

    fn too_long(&self, answers: Option<u64>, bytes: u64) {
        self.counters.bytes_received.add(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.drop_long(answers, bytes);
    }

    fn interrupted(&self) {
        self.interrupt_subscriptions();
    }

    fn ready(&self, id: u64) {
        let entry = self.lock().requests.remove(&id);
        if let Some(entry) = entry {
            entry.send(Delivery::Ready(id));
        }
    }

    fn lost(&self, why: &Error) -> bool {
        let why = why.clone().server(&self.server);
        let mut pending = self.lock();
        let is_open = self.is_open.load(Ordering::Acquire);
        if !is_open || self.has_ended() || self.is_closing.load(Ordering::Acquire) {
            return false;
        }
        let is_asked = |_: &u64, entry: &mut Entry| !entry.is_local;
        let requests: Vec<(u64, Entry)> = pending.requests.extract_if(is_asked).collect();
        requests.iter().for_each(|(id, entry)| self.tell_end(*id, entry, Err(&why)));
        self.listeners.lose(&why);
        drop(pending);
        log::debug!("{why}");
        self.questions.cancel_all();
        let why = why.refused(crate::error::Refusal::UnknownSession);
        for (id, entry) in requests {
            self.take_effect(&entry);
            let sent = self.transport().is_ok_and(|t| t.abandon(id) != Abandoned::Unsent);
            entry.send(Delivery::Failed(id, why.clone().ran(sent)));
        }
        self.wake();
        true
    }

    fn ended(&self, scope: Option<u64>, why: Error) {
        match scope {
            Some(id) => _ = self.fail(id, why),
            None => self.end(why.server(&self.server)),
        }
    }
}
