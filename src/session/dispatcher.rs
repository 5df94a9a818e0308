//! Notifications that belong to no call, handed to the program's listener one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::deadline::Deadline;
use crate::protocol::envelope::Message;
use crate::threads::Threads;
use crate::transport::Notice;

/// What the program does with a notification.
pub(crate) type Listener = dyn Fn(&Message) + Send + Sync;

/// One thread, so that order is kept, and not the one that reads, so that the listener may call
/// the client. It starts with the first notification after there is a client to call.
pub(crate) struct Dispatcher {
    listener: Option<Arc<Listener>>,
    queue: Mutex<Queue>,
    limit: usize,
    closed: Arc<AtomicBool>,
    threads: Threads,
}

struct Queue {
    /// `None` once closed. `dispatch` keeps to the limit: a channel with one sets aside the room for
    /// it, for every connection, from the start.
    sender: Option<Sender<Notice>>,
    /// Taken by the thread when it starts.
    receiver: Option<Receiver<Notice>>,
    is_released: bool,
    thread: Option<ThreadId>,
    /// Disconnected once the thread has heard everything.
    heard: Option<Receiver<()>>,
}

impl Dispatcher {
    pub(crate) fn new(listener: Option<Arc<Listener>>, limit: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let queue = Queue {
            sender: Some(sender),
            receiver: Some(receiver),
            is_released: false,
            thread: None,
            heard: None,
        };
        Self {
            listener,
            queue: Mutex::new(queue),
            limit: limit.max(1),
            closed: Arc::default(),
            threads: Threads::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    /// Returns whether the notice was taken. Never blocks.
    pub(crate) fn dispatch(&self, notice: Notice) -> bool {
        let mut queue = self.lock();
        let has_room = |sender: &&Sender<Notice>| sender.len() < self.limit;
        let sender = queue.sender.as_ref().filter(has_room);
        let taken = sender.is_some_and(|sender| sender.try_send(notice).is_ok());
        self.start(&mut queue);
        taken
    }

    /// The listener may run from now on: there is a client for it to call.
    pub(crate) fn release(&self) {
        let mut queue = self.lock();
        queue.is_released = true;
        self.start(&mut queue);
    }

    fn start(&self, queue: &mut Queue) {
        let Some(listener) = &self.listener else { return };
        let is_due = queue.is_released && queue.sender.as_ref().is_some_and(|s| !s.is_empty());
        if !is_due {
            return;
        }
        let Some(notices) = queue.receiver.take() else { return };
        let (listener, closed) = (listener.clone(), self.closed.clone());
        let (hears, heard) = crossbeam_channel::bounded(0);
        let run = move || {
            let _hears = hears;
            for notice in notices {
                if closed.load(Ordering::Acquire) {
                    break;
                }
                // A listener that panics misses one notification, not all that follow.
                if catch_unwind(AssertUnwindSafe(|| listener(notice.message()))).is_err() {
                    log::warn!("the listener for notifications panicked");
                }
            }
        };
        match self.threads.spawn("umcp-notifications", run) {
            Ok(thread) => {
                queue.thread = Some(thread);
                queue.heard = Some(heard);
            }
            Err(error) => log::warn!("no thread for notifications: {error}"),
        }
    }

    /// Whether this is running inside the listener.
    pub(crate) fn is_this_thread(&self) -> bool {
        self.lock().thread == Some(thread::current().id())
    }

    /// Nothing more will come: waits until the listener has heard what waits, unless this runs on
    /// its thread. Returns whether it has.
    pub(crate) fn finish(&self, until: Deadline) -> bool {
        let mut queue = self.lock();
        queue.sender = None;
        let heard = queue.heard.clone();
        drop(queue);
        heard.filter(|_| !self.is_this_thread()).is_none_or(|heard| {
            heard.recv_deadline(until.instant()) == Err(RecvTimeoutError::Disconnected)
        })
    }

    /// Drops what waits and joins the thread, unless this runs on it. Returns whether it ended.
    pub(crate) fn close(&self, until: Deadline) -> bool {
        self.closed.store(true, Ordering::Release);
        let mut queue = self.lock();
        queue.sender = None;
        queue.receiver = None;
        drop(queue);
        self.threads.join(until)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn no_more_wait_than_the_limit_says() {
        let dispatcher = Dispatcher::new(Some(Arc::new(|_| ())), 2);
        let held = Arc::new(AtomicUsize::new(0));
        let notice = || {
            let message = Message::scan(br#"{"method":"notifications/x"}"#.to_vec()).unwrap();
            Notice::hold(message, &held, usize::MAX).unwrap()
        };
        let taken = [(); 3].map(|()| dispatcher.dispatch(notice()));
        assert_eq!(taken, [true, true, false]);
    }
}
