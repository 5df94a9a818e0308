//! The store of one client, with its lock and clock, and the flights that bring what it keeps.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::client::cache::Cache;
use crate::client::cache::store::{End, Key, Method, Store};
use crate::deadline::Clocks;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::envelope::Message;
use crate::session::{CancelToken, Changed, Session};

/// What the handle, the requests and whoever reads have in common. Whoever holds the lock looks or
/// keeps, and takes no other.
pub(crate) struct Shared {
    store: Mutex<Store>,
    now: fn() -> Instant,
    /// How many bytes one answer may have.
    largest: usize,
}

/// What there is for a request.
pub(super) enum Found {
    Kept(Arc<Message>),
    /// Nothing: ask, and say what came.
    Nothing(Flight),
}

impl Shared {
    pub(crate) fn new(settings: Cache) -> Self {
        let (now, largest) = (settings.now, settings.largest());
        Self { store: Mutex::new(Store::new(settings)), now, largest }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on the thread that reads.
    pub(crate) fn changed(&self, what: &Changed) {
        self.lock().changed(what);
    }

    /// Tells apart whether a list has changed since. `None` for what is no list.
    pub(crate) fn edition(&self, method: &str) -> Option<u64> {
        Method::of(method).map(|method| self.lock().edition(method))
    }

    /// Drops all pages of a list.
    pub(crate) fn forget_list(&self, method: &str) {
        let method = Method::of(method);
        self.lock().invalidate(|it, _| Some(it) == method);
    }

    /// Looks for what is kept. If somebody asks for the same already, waits for that, within the clocks.
    pub(super) fn find(
        self: &Arc<Self>,
        key: &Key,
        session: &Arc<Session>,
        clocks: &Clocks,
        cancel: Option<&CancelToken>,
    ) -> Result<Found> {
        let thread = thread::current().id();
        let mut may_join = true;
        loop {
            let mut store = self.lock();
            // A connection that has ended answers nothing any more.
            if !session.has_ended()
                && let Some(reply) = store.fresh(key, (self.now)())
            {
                return Ok(Found::Kept(reply));
            }
            // What a handler waits for may be waiting for the handler.
            let under_way = store.under_way(key, thread).filter(|_| may_join);
            let Some(number) = under_way.filter(|_| !session.is_in_handler()) else {
                store.missed();
                let number = store.ask(key.clone(), Some(thread));
                return Ok(Found::Nothing(self.flight(number, session)));
            };
            drop(store);
            let expected = session.expect(cancel)?;
            let Some(is_answered) = self.lock().join(number, expected.id()) else {
                session.give_up(&expected);
                continue;
            };
            let (until, clock, set_to) = clocks.next();
            if !session.wait_for(&expected, until)? {
                let clock = clock.name();
                let text = format!(
                    "no reply within {set_to:?} (`{clock}`) to another call that asks for the same"
                );
                let error = Error::new(ErrorKind::Timeout, text);
                return Err(error.hint(format!("Raise `{clock}`, or call `fresh`")));
            }
            // What the server lets nobody keep, each asks for alone. After a failure one asks for all.
            may_join = !is_answered.load(Ordering::Acquire);
        }
    }

    /// What is fresh, without waiting for anything.
    pub(super) fn peek(&self, key: &Key, session: &Session) -> Option<Arc<Message>> {
        if session.has_ended() {
            return None;
        }
        self.lock().fresh(key, (self.now)())
    }

    /// Asks in any case. Nobody else waits for what comes.
    pub(super) fn ask(self: &Arc<Self>, key: Key, session: &Arc<Session>) -> Flight {
        let number = self.lock().ask(key, None);
        let mut flight = self.flight(number, session);
        // Whoever asks so may fetch the answer long after it has come.
        flight.asked_at = Some((self.now)());
        flight
    }

    fn flight(self: &Arc<Self>, number: u64, session: &Arc<Session>) -> Flight {
        Flight { cache: self.clone(), session: session.clone(), number, asked_at: None }
    }

    /// CACHE-11: what is kept, instead of an error.
    pub(super) fn instead_of(&self, error: &Error, key: &Key) -> Option<Arc<Message>> {
        use ErrorKind::{Disconnected, Timeout, Unreachable};
        if !matches!(error.kind(), Disconnected | Timeout | Unreachable) {
            return None;
        }
        let reply = self.lock().stale(key, (self.now)())?;
        log::warn!("an old answer has to do: {error}");
        Some(reply)
    }

    /// What is kept is no result after all.
    pub(super) fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }
}

/// A request whose answer may be kept. However it ends, those who wait for it are told.
pub(crate) struct Flight {
    cache: Arc<Shared>,
    session: Arc<Session>,
    number: u64,
    /// From when on its answer counts, if not from when it is handed over.
    asked_at: Option<Instant>,
}

impl Flight {
    /// The server has answered: a complete result.
    pub(crate) fn land(self, reply: Message, ttl_ms: Option<u64>) {
        let reply = match reply.len() > self.cache.largest {
            true => reply,
            false => reply.shrunk(),
        };
        self.end(End::Result { reply, ttl_ms });
    }

    /// The server has answered something that is for this request alone.
    pub(crate) fn share_nothing(self) {
        self.end(End::Nothing);
    }

    fn end(&self, end: End) {
        let at = self.asked_at.unwrap_or_else(|| (self.cache.now)());
        let waiting = self.cache.lock().land(self.number, end, at);
        waiting.into_iter().for_each(|id| self.session.has_come(id));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Nothing, if it has landed.
        self.end(End::Failed);
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").field("number", &self.number).finish_non_exhaustive()
    }
}
