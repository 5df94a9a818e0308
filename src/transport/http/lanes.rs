//! Lanes in use and at rest, and the one thread that ends streams which do not end by themselves.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::net::{Events, Interrupt, Lane};

use super::exchange::Exchange;
use super::{Shared, Stage, State};

/// How long a stream may go on after its reply, so that the connection can be used again, and how
/// many bytes.
pub(super) const DRAINED_WITHIN: Duration = Duration::from_millis(25);
const DRAINED_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Lanes {
    pub(super) idle: Vec<Lane>,
    pub(super) busy: HashMap<Key, Busy>,
    /// Exchanges that wait for their caller's thread.
    pub(super) ready: HashMap<u64, Exchange>,
    watch: Watch,
}

/// What a lane is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Request(u64),
    /// A notification, or an answer to the server.
    Aside(u64),
    /// A stream of events that belongs to no request.
    Events(u64),
    /// The end of the session.
    End,
}

/// How to end an exchange.
pub(super) struct Busy {
    interrupt: Interrupt,
    /// Its reply has not come. Whoever gets a reply may go on before this thread does, so this is
    /// unset before a message is handed over, and set again if that was not the reply.
    is_under_way: bool,
    heard_at: Instant,
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

impl Busy {
    pub(super) fn into_interrupt(self) -> Interrupt {
        self.interrupt
    }
}

impl Lanes {
    /// How many requests wait for their reply.
    pub(super) fn under_way(&self) -> usize {
        self.busy
            .iter()
            .filter(|(key, busy)| matches!(key, Key::Request(_)) && busy.is_under_way)
            .count()
    }

    pub(super) fn occupy(&mut self, key: Key, lane: &Lane) {
        let busy = Busy {
            interrupt: lane.interrupt(),
            is_under_way: true,
            heard_at: Instant::now(),
            drained_by: None,
        };
        self.busy.insert(key, busy);
    }

    /// Ends an exchange, if it is under way.
    #[must_use = "interrupting blocks for a moment: do it without the lock"]
    pub(super) fn take(&mut self, key: Key) -> Option<Interrupt> {
        self.busy.remove(&key).map(|busy| busy.interrupt)
    }

    /// Puts a lane back whose exchange is over, if nobody has interrupted it.
    pub(super) fn release(&mut self, key: Key, lane: Lane) {
        if self.busy.remove(&key).is_some() && lane.is_warm() {
            self.idle.retain(Lane::is_warm);
            self.idle.push(lane);
        }
    }
}

impl Shared {
    /// A lane for an exchange, from now on in use.
    pub(super) fn occupy(&self, key: Key) -> Option<Lane> {
        let mut state = self.lock();
        let is_allowed = match state.stage {
            Stage::Open => true,
            Stage::Closing => matches!(key, Key::Aside(_)),
            Stage::Ending => key == Key::End,
        };
        if !is_allowed {
            return None;
        }
        let lane = state.lanes.idle.pop().unwrap_or_else(|| self.new_lane());
        state.lanes.occupy(key, &lane);
        Some(lane)
    }

    pub(super) fn release(&self, key: Key, lane: Lane) {
        let mut state = self.lock();
        match state.stage {
            Stage::Ending => drop(state.lanes.take(key)),
            _ => state.lanes.release(key, lane),
        }
    }

    /// Nobody has interrupted the exchange.
    pub(super) fn is_wanted(&self, key: Key) -> bool {
        self.lock().lanes.busy.contains_key(&key)
    }

    /// Waits, unless the exchange is interrupted before. Returns whether it is still wanted.
    pub(super) fn pause(&self, key: Key, wait: Duration) -> bool {
        let state = self.lock();
        let is_wanted = |state: &State| state.lanes.busy.contains_key(&key);
        let waited = self.interrupted.wait_timeout_while(state, wait, |state| is_wanted(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_wanted(&state)
    }

    pub(super) fn set_under_way(&self, id: u64, is_under_way: bool) {
        if let Some(busy) = self.lock().lanes.busy.get_mut(&Key::Request(id)) {
            busy.is_under_way = is_under_way;
            busy.heard_at = Instant::now();
        }
    }

    /// The server gave a sign of life, if only a comment of its stream. Returns whether the exchange is
    /// still wanted.
    pub(super) fn hears(&self, id: u64) -> bool {
        let mut state = self.lock();
        let busy = state.lanes.busy.get_mut(&Key::Request(id));
        busy.map(|busy| busy.heard_at = Instant::now()).is_some()
    }

    pub(super) fn heard_at(&self, id: u64) -> Option<Instant> {
        self.lock().lanes.busy.get(&Key::Request(id)).map(|busy| busy.heard_at)
    }

    /// Reads the rest of a stream whose reply has come, which should be its end.
    pub(super) fn drain(self: &Arc<Self>, id: u64, lane: &mut Lane, mut events: Events) {
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

    /// Has an exchange ended at its time whose reply has come. Returns whether somebody sees to that.
    pub(super) fn drain_by(self: &Arc<Self>, id: u64, end: Instant) -> bool {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return false;
        }
        let Some(busy) = state.lanes.busy.get_mut(&Key::Request(id)) else { return false };
        busy.drained_by = Some(end);
        busy.is_under_way = false;
        match std::mem::replace(&mut state.lanes.watch, Watch::Awake) {
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
                    state.lanes.watch = Watch::NotStarted;
                }
                started.is_ok()
            }
        }
    }

    /// Ends the streams that are not drained in time, until everything is closed.
    fn watch(&self) {
        let mut state = self.lock();
        while state.stage == Stage::Open {
            let now = Instant::now();
            let is_late = |busy: &Busy| busy.drained_by.is_some_and(|end| end <= now);
            let late: Vec<_> = state.lanes.busy.extract_if(|_, busy| is_late(busy)).collect();
            if !late.is_empty() {
                drop(state);
                self.interrupted.notify_all();
                late.into_iter().for_each(|(_, busy)| _ = busy.interrupt.end());
                state = self.lock();
                continue;
            }
            let next = state.lanes.busy.values().filter_map(|busy| busy.drained_by).min();
            state = match next {
                Some(end) => {
                    let wait = self.changed.wait_timeout(state, end - now);
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    state.lanes.watch = Watch::Asleep;
                    self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}
