//! Who reads for all: the fast path of servers that are processes.
//!
//! One thing reads what a server writes, and whoever holds it has the turn. A caller that waits
//! for its reply takes the turn if it is free, and so needs no other thread to hand the reply
//! over. While nobody waits, or several do, the turn is the reader thread's. It comes back for the
//! turn when nobody has had it for a moment, so that callers who ask one thing after the other keep
//! it among themselves.

use std::io;
use std::sync::PoisonError;
#[cfg(not(all(test, umcp_model)))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[cfg(all(test, umcp_model))]
use shuttle::sync::{Condvar, Mutex, MutexGuard};

use crate::deadline::Deadline;
use crate::transport::Slot;

/// How long a turn nobody takes is left for callers, and how long a caller may keep it before the
/// reader thread stops looking for it. Nothing but the reply need end so short a wait.
pub(super) const MOMENT: Duration = Duration::from_millis(2);

/// What reads, and puts what it has read into slots.
pub(super) trait Source {
    /// Waits for something to read, for `most` at most, and delivers it. What ends other waits need
    /// not end one of a [`MOMENT`] or less.
    fn read(&mut self, most: Duration) -> Event;

    /// The requests that have been answered since this was last cleared.
    fn answered(&mut self) -> &mut Vec<u64>;
}

/// What came of reading.
pub(super) enum Event {
    /// Something may have arrived, or nothing has for as long as was to be waited.
    Went,
    /// Whoever writes has ended: the reader thread reads what is left.
    Exited,
    /// Nobody is to read any more.
    Stopped,
    /// Nothing more will come, because of this if it was an error.
    Ended(Option<io::Error>),
}

/// The turn, and who waits for it.
pub(super) struct Turns<R> {
    state: Mutex<State<R>>,
    changed: Condvar,
    /// Whether callers take turns at all.
    lends: bool,
}

struct State<R> {
    /// What reads; gone while somebody holds the turn.
    reader: Option<R>,
    /// Requests whose callers wait while somebody else reads.
    waiting: Vec<u64>,
    /// A caller has had the turn since the reader thread last looked.
    was_taken: bool,
    /// The caller that has the turn tells the reader thread when it gives it back.
    announces: bool,
    /// Only the reader thread can go on: the stream or the process has ended.
    thread_only: bool,
    closed: bool,
}

impl<R: Source> State<R> {
    fn forget_answered(&mut self, reader: &mut R) {
        let answered = reader.answered();
        self.waiting.retain(|waiting| !answered.contains(waiting));
        answered.clear();
    }
}

impl<R> Turns<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Source> Turns<R> {
    pub(super) fn new(reader: R, lends: bool) -> Self {
        let state = State {
            reader: Some(reader),
            waiting: Vec::new(),
            was_taken: false,
            announces: false,
            thread_only: !lends,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), lends }
    }

    /// Waits for the next of what arrives for a request, until `until` at most. If nobody reads,
    /// this thread does meanwhile.
    pub(super) fn next<T>(&self, request: u64, slot: &Slot<T>, until: Deadline) -> Option<T> {
        let Some(mut turn) = self.take(request) else {
            let arrived = slot.receive(until);
            self.leave(request);
            return arrived;
        };
        let mut most = MOMENT;
        // Looked at with the turn taken: what arrives from now on wakes who has it.
        while slot.is_empty() {
            let left = until.remaining();
            turn.forget_answered();
            let Some(reader) = &mut turn.reader else { break };
            match reader.read(most.min(left)) {
                Event::Went if !slot.is_empty() || left.is_zero() => break,
                Event::Went if most == MOMENT && left > MOMENT => {
                    turn.announce();
                    most = Duration::MAX;
                }
                Event::Went => {}
                Event::Exited | Event::Stopped | Event::Ended(_) => {
                    turn.thread_only = true;
                    break;
                }
            }
        }
        drop(turn);
        slot.receive(until)
    }

    /// The reader thread's work: reads whenever it is its turn. Returns what ended that, and what
    /// has read, or `None` once closed.
    pub(super) fn serve(&self) -> Option<(R, Option<io::Error>)> {
        while let Some(mut reader) = self.wait() {
            loop {
                match reader.read(Duration::MAX) {
                    Event::Went | Event::Exited => {}
                    Event::Stopped => return None,
                    Event::Ended(why) => return Some((reader, why)),
                }
                match self.keep(reader) {
                    Some(kept) => reader = kept,
                    None => break,
                }
            }
        }
        None
    }

    /// A caller's turn, or `None` if somebody else reads, for this request too, until its caller
    /// [leaves](Self::leave).
    fn take(&self, request: u64) -> Option<Turn<'_, R>> {
        if !self.lends {
            return None;
        }
        let mut state = self.lock();
        let reader = if state.thread_only { None } else { state.reader.take() };
        match reader {
            Some(reader) => {
                state.was_taken = true;
                Some(Turn { turns: self, reader: Some(reader), thread_only: false })
            }
            None => {
                state.waiting.push(request);
                None
            }
        }
    }

    /// A caller that waited no longer does.
    fn leave(&self, request: u64) {
        if self.lends {
            self.lock().waiting.retain(|waiting| *waiting != request);
        }
    }

    /// Whether a caller may have the turn, and is to be woken if its slot gets something.
    pub(super) fn is_taken(&self) -> bool {
        self.lends && self.lock().reader.is_none()
    }

    /// Waits until it is the reader thread's turn. `None` once closed.
    fn wait(&self) -> Option<R> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let is_wanted = state.thread_only || !state.waiting.is_empty() || !state.was_taken;
            if let Some(reader) = state.reader.take_if(|_| is_wanted) {
                return Some(reader);
            }
            state.was_taken = false;
            state = match state.announces {
                true => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                false => self.wait_a_moment(state),
            };
        }
    }

    #[cfg(not(all(test, umcp_model)))]
    fn wait_a_moment<'s>(&self, state: MutexGuard<'s, State<R>>) -> MutexGuard<'s, State<R>> {
        self.changed.wait_timeout(state, MOMENT).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The model knows no time: a moment may pass at once.
    #[cfg(all(test, umcp_model))]
    fn wait_a_moment<'s>(&'s self, state: MutexGuard<'s, State<R>>) -> MutexGuard<'s, State<R>> {
        drop(state);
        shuttle::thread::yield_now();
        self.lock()
    }

    /// Whether the reader thread, which has just read, goes on. It leaves the turn to a caller who
    /// asks one thing after the other, but not to a crowd, who would hand it on with every reply.
    fn keep(&self, mut reader: R) -> Option<R> {
        if !self.lends || reader.answered().is_empty() {
            reader.answered().clear();
            return Some(reader);
        }
        let mut state = self.lock();
        let is_crowd = state.waiting.len() > 1;
        state.forget_answered(&mut reader);
        if is_crowd || state.thread_only || state.closed || !state.waiting.is_empty() {
            return Some(reader);
        }
        state.reader = Some(reader);
        // As if a caller had just had it.
        state.was_taken = true;
        None
    }

    /// Nobody is to read any more. What reads is dropped, now or by whoever has it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let reader = state.reader.take();
        drop(state);
        drop(reader);
        self.changed.notify_all();
    }
}

/// A caller's turn to read. Dropped, it is given back.
struct Turn<'t, R: Source> {
    turns: &'t Turns<R>,
    reader: Option<R>,
    /// Given back to the reader thread, for good.
    thread_only: bool,
}

impl<R: Source> Turn<'_, R> {
    /// A long turn reads the replies of many others: they are not to pile up.
    fn forget_answered(&mut self) {
        const MANY: usize = 256;
        if let Some(reader) = &mut self.reader
            && reader.answered().len() > MANY
        {
            self.turns.lock().forget_answered(reader);
        }
    }

    /// It takes longer: the reader thread need not look for the turn until it is told.
    fn announce(&mut self) {
        self.turns.lock().announces = true;
    }
}

impl<R: Source> Drop for Turn<'_, R> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if let Some(reader) = &mut self.reader {
            state.forget_answered(reader);
        }
        if !state.closed {
            state.reader = self.reader.take();
        }
        state.thread_only |= self.thread_only;
        let announced = std::mem::take(&mut state.announces);
        let is_wanted = announced || state.thread_only || !state.waiting.is_empty();
        drop(state);
        if is_wanted {
            self.turns.changed.notify_one();
        }
    }
}

#[cfg(all(test, umcp_model))]
#[path = "turns_model.rs"]
mod model;
