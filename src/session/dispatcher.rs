//! The program's listeners are called on one thread, for one event after the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::deadline::Deadline;
use crate::session::event::Event;
use crate::threads::Threads;

/// Events that wait for somebody: with a limit, and with a count of those that found no room. A
/// channel with a limit would set aside the room for it from the start.
pub(crate) struct Queue {
    /// `None` once closed.
    sender: Option<Sender<Event>>,
    /// Of what waits, as far as the channel has grown shorter since.
    sizes: VecDeque<usize>,
    bytes: usize,
    missed: u64,
    most: usize,
    most_bytes: usize,
}

impl Queue {
    pub(crate) fn new(most: usize, most_bytes: usize) -> (Self, Receiver<Event>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let queue = Self {
            sender: Some(sender),
            sizes: VecDeque::new(),
            bytes: 0,
            missed: 0,
            most: most.max(1),
            most_bytes,
        };
        (queue, receiver)
    }

    /// Returns whether there was room. There is always some for the last event, and for one of any
    /// size if nothing waits.
    pub(crate) fn offer(&mut self, event: Event) -> bool {
        let Some(sender) = &self.sender else { return false };
        while self.sizes.len() > sender.len() {
            self.bytes -= self.sizes.pop_front().unwrap_or_default();
        }
        let (size, is_last) = (event.size(), event.is_last());
        let fits = self.sizes.len() < self.most
            && (self.sizes.is_empty() || self.bytes.saturating_add(size) <= self.most_bytes);
        if !fits && !is_last {
            self.missed += 1;
            return false;
        }
        self.sizes.push_back(size);
        self.bytes += size;
        let taken = sender.send(event.after(std::mem::take(&mut self.missed))).is_ok();
        if is_last {
            self.sender = None;
        }
        taken
    }
}

/// What is done with an event. Never panics.
pub(crate) type Hear = dyn Fn(&Event) + Send + Sync;

/// One thread, so that order is kept, and not the one that reads, so that listeners may call the
/// client. It starts with the first event after there is a client to call, and ends with the last.
pub(crate) struct Dispatcher {
    hear: Arc<Hear>,
    state: Mutex<State>,
    closed: Arc<AtomicBool>,
    threads: Threads,
}

struct State {
    queue: Queue,
    /// Taken by the thread when it starts.
    receiver: Option<Receiver<Event>>,
    is_released: bool,
    thread: Option<ThreadId>,
    /// Disconnected once the thread has heard everything.
    heard: Option<Receiver<()>>,
}

impl Dispatcher {
    pub(crate) fn new(hear: Arc<Hear>, most: usize, most_bytes: usize) -> Self {
        let (queue, receiver) = Queue::new(most, most_bytes);
        let receiver = Some(receiver);
        let state = State { queue, receiver, is_released: false, thread: None, heard: None };
        Self { hear, state: Mutex::new(state), closed: Arc::default(), threads: Threads::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the event was taken. Never blocks.
    pub(crate) fn dispatch(&self, event: Event) -> bool {
        let mut state = self.lock();
        let taken = state.queue.offer(event);
        self.start(&mut state);
        taken
    }

    /// Listeners may run from now on: there is a client for them to call. What has come already comes
    /// after `first`.
    pub(crate) fn release(&self, first: Option<Event>) {
        let mut state = self.lock();
        state.is_released = true;
        let early: Vec<Event> = state.receiver.iter().flat_map(Receiver::try_iter).collect();
        first.into_iter().chain(early).for_each(|event| _ = state.queue.offer(event));
        self.start(&mut state);
    }

    fn start(&self, state: &mut State) {
        let is_due = state.is_released && state.receiver.as_ref().is_some_and(|it| !it.is_empty());
        if !is_due {
            return;
        }
        let Some(events) = state.receiver.take() else { return };
        let (hear, closed) = (self.hear.clone(), self.closed.clone());
        let (hears, heard) = crossbeam_channel::bounded(0);
        let run = move || {
            let _hears = hears;
            let mut missed = 0;
            for event in events {
                if closed.load(Ordering::Acquire) && !event.is_last() {
                    missed += 1 + event.missed();
                } else {
                    hear(&event.after(std::mem::take(&mut missed)));
                }
            }
        };
        match self.threads.spawn("umcp-events", run) {
            Ok(thread) => {
                state.thread = Some(thread);
                state.heard = Some(heard);
            }
            Err(error) => log::warn!("no thread for listeners: {error}"),
        }
    }

    pub(crate) fn has_started(&self) -> bool {
        self.lock().thread.is_some()
    }

    /// Whether this is running inside a listener.
    pub(crate) fn is_this_thread(&self) -> bool {
        self.lock().thread == Some(thread::current().id())
    }

    /// Nothing more will come: waits until everything that waits has been heard, unless this runs on
    /// the thread. Returns whether it has.
    pub(crate) fn finish(&self, until: Deadline) -> bool {
        let mut state = self.lock();
        state.queue.sender = None;
        let heard = state.heard.clone();
        drop(state);
        heard.filter(|_| !self.is_this_thread()).is_none_or(|heard| {
            heard.recv_deadline(until.instant()) == Err(RecvTimeoutError::Disconnected)
        })
    }

    /// Waits a moment for what waits to be heard, drops the rest but for the last event, and joins the
    /// thread, unless this runs on it. Returns whether it ended.
    pub(crate) fn close(&self, until: Deadline) -> bool {
        const MOMENT: Duration = Duration::from_secs(1);
        self.finish(Deadline::after(MOMENT).min(until));
        self.closed.store(true, Ordering::Release);
        self.lock().receiver = None;
        self.threads.join(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, RpcError};
    use crate::protocol::RawJson;
    use crate::session::event::{Body, EventKind};

    fn event(kind: EventKind, bytes: usize) -> Event {
        let mut body = Body::new(kind, &"x".into(), "");
        body.params = RawJson::from_value(&"x".repeat(bytes)).ok();
        body.is_last = kind == EventKind::Disconnected;
        Event::new(body)
    }

    #[test]
    fn no_more_wait_than_the_limit_says_and_the_next_says_how_many_were_dropped() {
        let (mut queue, receiver) = Queue::new(2, usize::MAX);
        let mut offer = |kind| queue.offer(event(kind, 0));
        assert_eq!([(); 4].map(|()| offer(EventKind::Error)), [true, true, false, false]);
        receiver.recv().unwrap();
        assert!(offer(EventKind::ToolCalled));
        assert!(!offer(EventKind::Error));
        assert!(offer(EventKind::Disconnected), "there is always room for the last");
        assert!(!offer(EventKind::Error), "after which there is nothing");
        let missed: Vec<_> = receiver.iter().map(|event| event.missed()).collect();
        assert_eq!(missed, [0, 2, 1]);
    }

    #[test]
    fn no_more_bytes_wait_than_the_limit_says_but_one_event_always_may() {
        let (mut queue, receiver) = Queue::new(10, 2000);
        let mut offer = |bytes| queue.offer(event(EventKind::Error, bytes));
        assert_eq!([offer(5000), offer(0)], [true, false]);
        receiver.recv().unwrap();
        assert_eq!([offer(500), offer(500), offer(500)], [true, true, false]);
        receiver.recv().unwrap();
        assert!(offer(500));
    }

    #[test]
    fn what_an_error_holds_counts() {
        let (mut queue, _receiver) = Queue::new(10, 2000);
        let mut offer = || {
            let mut body = Body::new(EventKind::Error, &"x".into(), "");
            let data = serde_json::value::to_raw_value(&"x".repeat(1500)).ok();
            body.error = Some(Error::from_rpc(RpcError::new(-1, String::new(), data)));
            queue.offer(Event::new(body))
        };
        assert_eq!([offer(), offer()], [true, false]);
    }
}
