//! A connection that can be begun again, after the server has ended, with another one like it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Refusal, Result};
use crate::protocol::ProtocolVersion;
use crate::transport::{
    Abandoned, CloseReport, Connect, Delivery, Facts, Inbox, Outgoing, Slot, Transport,
};

/// A server that has been there for so long has not failed to start.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Restarting {
    connect: Arc<Connect>,
    inbox: Arc<dyn Inbox>,
    /// How often in a row it may be begun again.
    most: u32,
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
    /// The session that was begun on it.
    session: Option<u64>,
    /// Which has ended, and why.
    lost: Option<(u64, Error)>,
    /// How often in a row another was begun.
    restarts: u32,
    is_closed: bool,
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
pub(crate) fn connect(connect: Box<Connect>, most: u32) -> Box<Connect> {
    let connect: Arc<Connect> = connect.into();
    Box::new(move |inbox| {
        let restarting = Arc::new(Restarting {
            connect: connect.clone(),
            inbox,
            most,
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
        let mut state = self.lock();
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
        let begun = begun.and_then(|unwanted| match unwanted {
            Some(transport) => {
                transport.close(Deadline::after(Duration::ZERO));
                Err(Error::closed())
            }
            None => Ok(()),
        });
        self.lock().is_beginning = false;
        self.has_begun.notify_all();
        begun
    }

    /// One of the connections has ended.
    fn ended(&self, number: u64, why: Error) {
        let mut state = self.lock();
        let is_current = state.current.as_ref().is_some_and(|(current, _)| *current == number);
        let is_next = state.is_beginning && state.last == number;
        // One that was closed for another says nothing of that.
        if !is_current && !is_next {
            return;
        }
        if state.began.is_some_and(|began| began.elapsed() >= SETTLED_AFTER) {
            state.restarts = 0;
        }
        let may_go_on = !state.is_closed && state.restarts < self.most;
        state.lost = Some((number, why.clone()));
        drop(state);
        if !may_go_on || !self.inbox.lost(&why) {
            self.inbox.ended(None, why);
        }
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
        self.current().map_or(Abandoned::Unsent, |current| current.abandon(id))
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
        Some(Deadline::from(state.began?, backoff(state.restarts)))
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
        if state.restarts >= self.most {
            drop(state);
            let error = Error::new(ErrorKind::Disconnected, "the server did not come up again");
            self.inbox.ended(None, error.clone());
            return Err(error);
        }
        state.session = None;
        state.restarts += 1;
        let is_last = state.restarts >= self.most;
        let before = state.current.take();
        drop(state);
        if let Some((_, before)) = before {
            before.close(until);
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
        let (current, is_beginning) = (state.current.take(), state.is_beginning);
        drop(state);
        let mut report = current.map(|(_, it)| it.close(until)).unwrap_or_default();
        report.left_behind |= is_beginning;
        report
    }
}

fn between() -> Error {
    Error::new(ErrorKind::Disconnected, "the server is being started again")
}

/// How long after the last beginning the next one may be: at once for a server that has been there for a
/// while.
fn backoff(restarts: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(30);
    match restarts {
        0 => Duration::ZERO,
        again => FIRST.saturating_mul(1 << (again - 1).min(10)).min(MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_each_further_one_later() {
        let waits = [0, 1, 2, 3, 20, u32::MAX].map(|restarts| backoff(restarts).as_millis());
        assert_eq!(waits, [0, 500, 1000, 2000, 30_000, 30_000]);
    }
}
