//! A connection that can be begun again, after the server has ended, with another one like it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::deadline::{self, Deadline};
use crate::error::{Error, ErrorKind, Refusal, Result};
use crate::protocol::ProtocolVersion;
use crate::transport::{
    Abandoned, CloseReport, Connect, Delivery, Facts, Inbox, Outgoing, Slot, Transport,
};

/// How often in a row a connection may be begun again, and how long after the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarts {
    pub(crate) most: u32,
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Default for Restarts {
    fn default() -> Self {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(30));
        Self { most: 0, first, longest }
    }
}

impl Restarts {
    /// How long after the last beginning the next one may be: at once for a server that has been there
    /// for a while.
    fn backoff(&self, restarts: u32) -> Duration {
        deadline::backoff(self.first, restarts, self.longest)
    }

    /// A server that has been there for so long has not failed to start.
    fn settled_after(&self) -> Duration {
        self.longest.saturating_mul(2)
    }
}

pub(super) struct Restarting {
    connect: Arc<Connect>,
    inbox: Arc<dyn Inbox>,
    restarts: Restarts,
    itself: OnceLock<Weak<Self>>,
    state: Mutex<State>,
    /// A connection is no longer being begun.
    has_begun: Condvar,
}

#[derive(Default)]
struct State {
    /// The number of the newest connection.
    last: u64,
    began: Option<Instant>,
    is_beginning: bool,
    current: Option<(u64, Arc<dyn Transport>)>,
    /// The one that has ended, for as long as it is asked what it has sent.
    ending: Option<Arc<dyn Transport>>,
    /// The session that was begun on it.
    session: Option<u64>,
    /// The last that was closed for another.
    given_up: u64,
    /// Which has ended, and why.
    lost: Option<(u64, Error)>,
    /// How often in a row another was begun.
    restarts: u32,
    is_closed: bool,
    /// Of those before the current one.
    left_behind: bool,
}

/// A connection is being begun, also if that panics.
struct Beginning<'r>(&'r Restarting);

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.0.lock().is_beginning = false;
        self.0.has_begun.notify_all();
    }
}

impl State {
    /// Why there is no connection.
    fn why_lost(&self) -> Option<Error> {
        match (&self.current, &self.lost) {
            (Some((current, _)), Some((lost, _))) if lost < current => None,
            (Some(_), None) => None,
            (_, Some((_, why))) => Some(why.clone()),
            (None, None) => Some(between()),
        }
    }
}

/// Makes connections that can be begun again out of those that another makes.
pub(crate) fn connect(connect: Box<Connect>, restarts: Restarts) -> Box<Connect> {
    let connect: Arc<Connect> = connect.into();
    Box::new(move |inbox| {
        let restarting = Arc::new(Restarting {
            connect: connect.clone(),
            inbox,
            restarts,
            itself: OnceLock::new(),
            state: Mutex::new(State { session: Some(0), ..State::default() }),
            has_begun: Condvar::new(),
        });
        let _ = restarting.itself.set(Arc::downgrade(&restarting));
        restarting.begin()?;
        let transport: Arc<dyn Transport> = restarting;
        Ok(transport)
    })
}

/// Where one of the connections puts what comes in.
struct Entrance {
    restarting: Weak<Restarting>,
    inbox: Arc<dyn Inbox>,
    number: u64,
}

impl Inbox for Entrance {
    fn message(&self, text: Vec<u8>, via: Option<u64>) -> Option<u64> {
        self.inbox.message(text, via)
    }

    fn too_long(&self, answers: Option<u64>, bytes: u64) {
        self.inbox.too_long(answers, bytes);
    }

    fn interrupted(&self) {
        self.inbox.interrupted();
    }

    fn ready(&self, id: u64) {
        self.inbox.ready(id);
    }

    fn lost(&self, _why: &Error) -> bool {
        false
    }

    fn ended(&self, scope: Option<u64>, why: Error) {
        match (scope, self.restarting.upgrade()) {
            (None, Some(restarting)) => restarting.ended(self.number, why),
            _ => self.inbox.ended(scope, why),
        }
    }
}

impl Restarting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins another connection. Whoever does this is alone in it.
    fn begin(&self) -> Result<()> {
        let _beginning = Beginning(self);
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::closed());
        }
        state.last += 1;
        let number = state.last;
        state.began = Some(Instant::now());
        state.is_beginning = true;
        drop(state);
        let restarting = self.itself.get().cloned().unwrap_or_default();
        let entrance = Entrance { restarting, inbox: self.inbox.clone(), number };
        let begun = (self.connect)(Arc::new(entrance));
        let mut state = self.lock();
        let is_closed = state.is_closed;
        let begun = begun.map(|transport| match is_closed {
            true => Some(transport),
            false => {
                state.current = Some((number, transport));
                None
            }
        });
        drop(state);
        // Nobody else would end it.
        match begun? {
            Some(transport) => {
                transport.close(Deadline::after(Duration::ZERO));
                Err(Error::closed())
            }
            None => Ok(()),
        }
    }

    /// One of the connections has ended.
    fn ended(&self, number: u64, why: Error) {
        let mut state = self.lock();
        // One that was closed for another says nothing of that, and none ends twice.
        let is_known = state.lost.as_ref().is_some_and(|(lost, _)| *lost >= number);
        if number <= state.given_up || is_known {
            return;
        }
        let settled_after = self.restarts.settled_after();
        if state.began.is_some_and(|began| began.elapsed() >= settled_after) {
            state.restarts = 0;
        }
        let may_go_on = !state.is_closed && state.restarts < self.restarts.most;
        state.lost = Some((number, why.clone()));
        state.ending = state.current.as_ref().map(|(_, current)| current.clone());
        drop(state);
        if !may_go_on || !self.inbox.lost(&why) {
            self.inbox.ended(None, why);
        }
        self.lock().ending = None;
    }

    fn current(&self) -> Option<Arc<dyn Transport>> {
        self.lock().current.as_ref().map(|(_, current)| current.clone())
    }
}

impl Transport for Restarting {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let state = self.lock();
        let is_open = match (message.session, message.id) {
            (Some(session), _) => state.session == Some(session),
            // It begins a session.
            (None, Some(_)) => true,
            // What the server asks in the handshake is answered.
            (None, None) => state.session.is_some() || message.method == "(response)",
        };
        let current = match (state.why_lost(), &state.current) {
            (None, Some((_, current))) if is_open => current.clone(),
            (why, _) => {
                let why = why.unwrap_or_else(between);
                return Err(why.refused(Refusal::UnknownSession).ran(false));
            }
        };
        drop(state);
        current.post(message)
    }

    fn next(&self, id: u64, slot: &Slot, until: Deadline) -> Option<Delivery> {
        match self.current() {
            Some(current) => current.next(id, slot, until),
            None => slot.receive(until),
        }
    }

    fn wake(&self) {
        if let Some(current) = self.current() {
            current.wake();
        }
    }

    fn agreed(&self, id: u64, version: ProtocolVersion, initialized: Outgoing<'_>) -> Result<bool> {
        match self.current() {
            Some(current) => current.agreed(id, version, initialized),
            None => Err(Error::new(ErrorKind::Closed, "not connected")),
        }
    }

    fn abandon(&self, id: u64) -> Abandoned {
        let state = self.lock();
        let current = state.current.as_ref().map(|(_, current)| current.clone());
        let both = [state.ending.clone(), current];
        drop(state);
        let mut left = None;
        for transport in both.into_iter().flatten() {
            match transport.abandon(id) {
                Abandoned::Unsent => return Abandoned::Unsent,
                sent => left = Some(sent),
            }
        }
        // If neither is there any more, nobody knows.
        left.unwrap_or(Abandoned::Notify)
    }

    fn overdue(&self, error: Error) -> Error {
        match self.current() {
            Some(current) => current.overdue(error),
            None => error,
        }
    }

    fn heard_at(&self, id: u64) -> Option<Instant> {
        self.current()?.heard_at(id)
    }

    fn facts(&self) -> Facts {
        let none =
            Facts { has_spoken: false, answers_or_fails: false, mirrors: false, restarts: true };
        self.current().map_or(none, |current| Facts { restarts: true, ..current.facts() })
    }

    fn restarts_at(&self) -> Option<Deadline> {
        let state = self.lock();
        if state.why_lost().is_none() && state.session.is_some() {
            return None;
        }
        Some(Deadline::from(state.began?, self.restarts.backoff(state.restarts)))
    }

    fn why_lost(&self) -> Option<Error> {
        let state = self.lock();
        state.why_lost().or_else(|| state.session.is_none().then(between))
    }

    fn restart(&self, until: Deadline) -> Result<()> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Error::closed());
        }
        if state.why_lost().is_none() && state.session.is_some() {
            return Ok(());
        }
        // It was there, and no session began on it, as often as is allowed.
        if state.restarts >= self.restarts.most {
            let why = state.why_lost();
            drop(state);
            let silent =
                || Error::new(ErrorKind::Disconnected, "the server does not come up again");
            let why = why.unwrap_or_else(silent).hint("Open a new client").ran(false);
            self.inbox.ended(None, why.clone());
            return Err(why);
        }
        state.session = None;
        state.restarts += 1;
        let is_last = state.restarts >= self.restarts.most;
        let before = state.current.take();
        state.given_up = state.last;
        // From here on whoever closes waits for this.
        state.is_beginning = true;
        drop(state);
        let _beginning = Beginning(self);
        if let Some((_, before)) = before {
            let left_behind = before.close(until).left_behind;
            self.lock().left_behind |= left_behind;
        }
        let begun = self.begin();
        if let (Err(error), true) = (&begun, is_last) {
            self.inbox.ended(None, error.clone());
        }
        begun
    }

    fn opened(&self, session: u64) {
        self.lock().session = Some(session);
    }

    fn close(&self, until: Deadline) -> CloseReport {
        let mut state = self.lock();
        state.is_closed = true;
        let left = until.remaining();
        let waited = self.has_begun.wait_timeout_while(state, left, |state| state.is_beginning);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let current = state.current.take();
        let left_behind = state.is_beginning || state.left_behind;
        drop(state);
        let mut report = current.map(|(_, it)| it.close(until)).unwrap_or_default();
        report.left_behind |= left_behind;
        report
    }
}

fn between() -> Error {
    Error::new(ErrorKind::Disconnected, "the server is being started again")
}
