//! Who listens to what happens to a connection.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use crossbeam_channel::Receiver;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::protocol::envelope::{Kind, Message, Outcome};
use crate::protocol::{ClientRequest, RawJson};
use crate::session::dispatcher::{Dispatcher, Queue};
use crate::session::event::{Body, Event, EventKind};

/// What a program does with an event.
pub(crate) type OnEvent = dyn Fn(&Event) + Send + Sync;

/// Which events one listens for: a bit for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u32);

impl Kinds {
    /// Every event.
    pub(crate) const ALL: Self = Self(!Self::ASIDES.0);
    /// Notifications that belong to no call, whatever their kind.
    pub(crate) const ASIDES: Self = Self(1 << 31);

    /// What becomes of requests.
    pub(crate) const REQUESTS: Self = Self(
        EventKind::RequestSent.bit() | EventKind::ReplyReceived.bit() | EventKind::Error.bit(),
    );

    pub(crate) fn only(kind: EventKind) -> Self {
        Self(kind.bit())
    }

    fn of(event: &Event) -> Self {
        Self(event.kind().bit() | if event.is_aside() { Self::ASIDES.0 } else { 0 })
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn union(all: impl Iterator<Item = Self>) -> Self {
        Self(all.fold(0, |union, wanted| union | wanted.0))
    }
}

/// Tells those who listen, in the order in which things happen. With nobody listening nothing is
/// made for them.
pub(crate) struct Listeners {
    server: Arc<str>,
    /// What somebody listens for.
    wanted: AtomicU32,
    state: Mutex<State>,
    functions: Arc<Functions>,
    dispatcher: Dispatcher,
    limits: (usize, usize),
}

struct State {
    phase: Phase,
    streams: Vec<Stream>,
    next_id: u64,
    /// Calls under way that somebody wants to hear the end of.
    calls: BTreeMap<u64, Begun>,
}

struct Begun {
    body: Body,
    at: Instant,
    /// The latest, which its caller may still have to fetch.
    reply: Option<Message>,
}

enum Phase {
    /// There is no client yet, and perhaps never will be. Holds why it has ended already.
    Opening(Option<Error>),
    Open,
    Ended(Event),
}

/// The program's functions, which the dispatcher's thread calls.
#[derive(Default)]
struct Functions(Mutex<Vec<Arc<Function>>>);

struct Function {
    id: u64,
    wanted: Kinds,
    is_on: AtomicBool,
    on_event: Arc<OnEvent>,
}

struct Stream {
    id: u64,
    queue: Queue,
}

impl Functions {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Function>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self) -> Kinds {
        Kinds::union(self.lock().iter().map(|function| function.wanted))
    }

    fn hear(&self, event: &Event) {
        let of = Kinds::of(event);
        let all = self.lock().clone();
        for function in all.iter().filter(|function| function.wanted.meets(of)) {
            let call = || (function.on_event)(event);
            // One that panics misses one event, not all that follow.
            if function.is_on.load(Ordering::Acquire)
                && catch_unwind(AssertUnwindSafe(call)).is_err()
            {
                log::warn!("{}: a listener panicked", event.server());
            }
        }
        if event.is_last() {
            self.clear();
        }
    }

    /// They may hold clients, whose end is not to come while this is locked.
    fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }
}

impl Listeners {
    pub(crate) fn new(
        server: Arc<str>,
        limits: &Limits,
        functions: &[(Kinds, Arc<OnEvent>)],
    ) -> Self {
        let limits = (limits.notifications, limits.message);
        let all: Vec<_> = functions
            .iter()
            .zip(1..)
            .map(|((wanted, on_event), id)| Arc::new(Function::new(id, *wanted, on_event.clone())))
            .collect();
        let next_id = all.len() as u64 + 1;
        let functions = Arc::new(Functions(Mutex::new(all)));
        let state = State {
            phase: Phase::Opening(None),
            streams: Vec::new(),
            next_id,
            calls: BTreeMap::new(),
        };
        let hears = functions.clone();
        let hear = Arc::new(move |event: &Event| hears.hear(event));
        Self {
            server,
            wanted: AtomicU32::new(functions.wanted().0),
            state: Mutex::new(state),
            functions,
            dispatcher: Dispatcher::new(hear, limits.0, limits.1),
            limits,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody listens.
    pub(crate) fn want(&self, kind: EventKind) -> bool {
        self.want_any(Kinds::only(kind))
    }

    pub(crate) fn want_any(&self, of: Kinds) -> bool {
        Kinds(self.wanted.load(Ordering::Relaxed)).meets(of)
    }

    pub(crate) fn body(&self, kind: EventKind, method: &str) -> Body {
        Body::new(kind, &self.server, method)
    }

    /// Returns whether all who listen for it had room. Never blocks. Before there is a client only
    /// notifications are kept, and after the end nothing.
    pub(crate) fn tell(&self, body: Body) -> bool {
        let mut state = self.lock();
        match state.phase {
            Phase::Opening(None) if body.params.is_some() => {}
            Phase::Open => {}
            _ => return true,
        }
        self.push(&mut state, Event::new(body))
    }

    /// A problem that belongs to no request.
    pub(crate) fn trouble(&self, why: &str) {
        if self.want(EventKind::Error) {
            let error = Error::new(ErrorKind::Protocol, why).server(&self.server);
            self.tell(Body { error: Some(error), ..self.body(EventKind::Error, "") });
        }
    }

    fn push(&self, state: &mut State, event: Event) -> bool {
        let of = Kinds::of(&event);
        let mut had_room = true;
        // With the last one the thread ends.
        let ends = event.is_last() && self.dispatcher.has_started();
        if ends || self.functions.wanted().meets(of) {
            had_room &= self.dispatcher.dispatch(event.clone());
        }
        if of.meets(Kinds::ALL) {
            for stream in &mut state.streams {
                had_room &= stream.queue.offer(event.clone());
            }
        }
        had_room
    }

    /// There is a client now, for listeners to call.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        let Phase::Opening(end) = &mut state.phase else { return };
        let end = end.take();
        let connected = Event::new(self.body(EventKind::Connected, ""));
        let is_wanted = self.functions.wanted().meets(Kinds::of(&connected));
        self.dispatcher.release(is_wanted.then_some(connected));
        state.phase = Phase::Open;
        if let Some(why) = end {
            self.end_in(&mut state, &why);
        }
    }

    /// The connection has ended: calls end with it, and then there is nothing more to hear.
    pub(crate) fn end(&self, why: &Error) {
        let mut state = self.lock();
        match &mut state.phase {
            Phase::Opening(end) => *end = Some(why.clone()),
            Phase::Open => self.end_in(&mut state, why),
            Phase::Ended(_) => {}
        }
    }

    /// The connection has ended, and may be begun again: calls go on.
    pub(crate) fn lose(&self, why: &Error) {
        if self.want(EventKind::Disconnected) {
            let error = Some(why.clone());
            self.tell(Body { error, ..self.body(EventKind::Disconnected, "") });
        }
    }

    /// Another connection has been begun.
    pub(crate) fn go_on(&self) {
        if self.want(EventKind::Connected) {
            self.tell(self.body(EventKind::Connected, ""));
        }
    }

    fn end_in(&self, state: &mut State, why: &Error) {
        for call in std::mem::take(&mut state.calls).into_values() {
            // What has come is not lost with the connection.
            let reply = call.reply.filter(is_result_of_call);
            self.push(state, ended(call.body, call.at, reply.as_ref().ok_or(why)));
        }
        let error = Some(why.clone());
        let is_last = true;
        let last = Event::new(Body { error, is_last, ..self.body(EventKind::Disconnected, "") });
        self.push(state, last.clone());
        state.phase = Phase::Ended(last);
        state.streams.clear();
    }

    /// Whether this is running inside a listener.
    pub(crate) fn is_this_thread(&self) -> bool {
        self.dispatcher.is_this_thread()
    }

    /// Waits until all has been heard. Returns whether it has.
    pub(crate) fn finish(&self, until: Deadline) -> bool {
        self.dispatcher.finish(until)
    }

    /// Ends the listeners' thread. Returns whether it ended.
    pub(crate) fn close(&self, until: Deadline) -> bool {
        self.dispatcher.close(until)
    }

    /// Lets go of functions that hear nothing more, and may hold clients.
    pub(crate) fn clear(&self) {
        if !self.is_this_thread() {
            self.functions.clear();
        }
    }

    /// Has a function called for events.
    pub(crate) fn add(self: &Arc<Self>, wanted: Kinds, on_event: Arc<OnEvent>) -> ListenerGuard {
        let mut state = self.lock();
        let id = state.new_id();
        if !matches!(state.phase, Phase::Ended(_)) {
            self.functions.lock().push(Arc::new(Function::new(id, wanted, on_event)));
            self.recount(&state);
        }
        ListenerGuard::new(self, id)
    }

    /// Has all events put into a channel. One for a connection that has ended holds the last.
    pub(crate) fn stream(self: &Arc<Self>) -> (Receiver<Event>, ListenerGuard) {
        let mut state = self.lock();
        let id = state.new_id();
        let (mut queue, receiver) = Queue::new(self.limits.0, self.limits.1);
        if let Phase::Ended(last) = &state.phase {
            queue.offer(last.clone());
        } else {
            state.streams.push(Stream { id, queue });
            self.recount(&state);
        }
        (receiver, ListenerGuard::new(self, id))
    }

    fn recount(&self, state: &State) {
        let streams = state.streams.iter().map(|_| Kinds::ALL);
        let wanted = Kinds::union(streams.chain([self.functions.wanted()]));
        self.wanted.store(wanted.0, Ordering::Relaxed);
    }

    fn remove(&self, id: u64) {
        let mut state = self.lock();
        let mut functions = self.functions.lock();
        let at = functions.iter().position(|function| function.id == id);
        let function = at.map(|at| functions.remove(at));
        drop(functions);
        state.streams.retain(|stream| stream.id != id);
        self.recount(&state);
        drop(state);
        // What it holds may be the last client.
        if let Some(function) = function {
            function.is_on.store(false, Ordering::Release);
        }
    }

    /// A call begins whose end somebody wants to hear of.
    pub(crate) fn begin(self: &Arc<Self>, request: &ClientRequest) -> Option<Call> {
        let kind = match request.method() {
            "tools/call" => EventKind::ToolCalled,
            "resources/read" => EventKind::ResourceRead,
            _ => return None,
        };
        if !self.want(kind) {
            return None;
        }
        let mut body = self.body(kind, request.method());
        body.name = request.name().map(str::to_owned);
        body.arguments = request.tool_call().and_then(|(_, arguments)| arguments.cloned());
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Open) {
            return None;
        }
        let id = state.new_id();
        state.calls.insert(id, Begun { body, at: Instant::now(), reply: None });
        Some(Call { listeners: self.clone(), id })
    }

    /// A reply to a call has come. Whether it is the end of it, its caller decides.
    pub(crate) fn replied(&self, id: u64, reply: &Message) {
        if let Some(call) = self.lock().calls.get_mut(&id) {
            call.reply = Some(reply.clone());
        }
    }

    fn end_call(&self, id: u64, outcome: Result<&Message, &Error>) {
        let mut state = self.lock();
        if let Some(call) = state.calls.remove(&id) {
            self.push(&mut state, ended(call.body, call.at, outcome));
        }
    }
}

/// Whether a reply is what the caller gets: no error, no question and no task.
fn is_result_of_call(reply: &Message) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Result {
        result_type: Option<String>,
        task: Option<IgnoredAny>,
    }
    let is_result = matches!(reply.kind(), Kind::Response { outcome: Outcome::Result, .. });
    let result = is_result.then(|| reply.parse().ok()).flatten();
    result.is_some_and(|Result { result_type, task }| {
        task.is_none() && result_type.is_none_or(|it| it == "complete")
    })
}

fn ended(mut body: Body, begun: Instant, outcome: Result<&Message, &Error>) -> Event {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outcome {
        #[serde(default)]
        is_error: bool,
    }
    body.duration = Some(begun.elapsed());
    match outcome {
        Ok(reply) => {
            body.result = reply.parse().ok();
            let outcome = body.result.as_ref().and_then(|it: &RawJson| it.parse().ok());
            body.has_failed = outcome.is_some_and(|Outcome { is_error }| is_error);
        }
        Err(error) => body.error = Some(error.clone()),
    }
    Event::new(body)
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Function {
    fn new(id: u64, wanted: Kinds, on_event: Arc<OnEvent>) -> Self {
        Self { id, wanted, is_on: AtomicBool::new(true), on_event }
    }
}

/// A call that somebody wants to hear the end of. Dropped before that, it was given up.
pub(crate) struct Call {
    listeners: Arc<Listeners>,
    id: u64,
}

impl Call {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn end(self, outcome: Result<&Message, &Error>) {
        self.listeners.end_call(self.id, outcome);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Cancelled, "no longer wanted");
        self.listeners.end_call(self.id, Err(&error.server(&self.listeners.server)));
    }
}

/// Ends the listening when it is dropped.
///
/// Returned by [`Client::on`](crate::Client::on) and [`Client::on_event`](crate::Client::on_event).
/// Once it has been dropped the function is not called any more; a call under way goes on.
#[must_use = "the function is not called any more once its guard is dropped"]
pub struct ListenerGuard {
    listeners: Weak<Listeners>,
    id: u64,
}

impl ListenerGuard {
    fn new(listeners: &Arc<Listeners>, id: u64) -> Self {
        Self { listeners: Arc::downgrade(listeners), id }
    }

    /// Lets the function be called until the connection ends.
    pub fn keep(mut self) {
        self.listeners = Weak::new();
    }
}

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        if let Some(listeners) = self.listeners.upgrade() {
            listeners.remove(self.id);
        }
    }
}

impl fmt::Debug for ListenerGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerGuard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wanted_that_nobody_listens_for_any_more() {
        let listeners = Arc::new(Listeners::new("x".into(), &Limits::default(), &[]));
        let wanted = || Kinds(listeners.wanted.load(Ordering::Relaxed));
        assert_eq!(wanted(), Kinds::default());
        assert!(listeners.begin(&ClientRequest::Ping).is_none());
        let one = listeners.add(Kinds::only(EventKind::Error), Arc::new(|_| ()));
        assert_eq!(wanted(), Kinds::only(EventKind::Error));
        let (_receiver, all) = listeners.stream();
        assert_eq!(wanted(), Kinds::ALL);
        drop(all);
        assert_eq!(wanted(), Kinds::only(EventKind::Error));
        drop(one);
        assert_eq!(wanted(), Kinds::default());
    }
}
