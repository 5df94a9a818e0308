//! Notifications that belong to no call, handed to the program's listener one after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::Sender;

use crate::deadline::Deadline;
use crate::protocol::envelope::Message;
use crate::threads::Threads;
use crate::transport::Notice;

/// What the program does with a notification.
pub(crate) type Listener = dyn Fn(&Message) + Send + Sync;

/// One thread, so that order is kept, and not the one that reads, so that the listener may call
/// the client. It starts with the first notification.
pub(crate) struct Dispatcher {
    listener: Option<Arc<Listener>>,
    limit: usize,
    queue: Mutex<Queue>,
    closed: Arc<AtomicBool>,
    threads: Threads,
}

enum Queue {
    Idle,
    Running(Sender<Notice>),
    Closed,
}

impl Dispatcher {
    pub(crate) fn new(listener: Option<Arc<Listener>>, limit: usize) -> Self {
        Self {
            listener,
            limit,
            queue: Mutex::new(Queue::Idle),
            closed: Arc::default(),
            threads: Threads::default(),
        }
    }

    pub(crate) fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    /// Returns whether the notice was taken. Never blocks.
    pub(crate) fn dispatch(&self, notice: Notice) -> bool {
        let Some(listener) = &self.listener else { return false };
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Queue::Idle = *queue {
            let (sender, notices) = crossbeam_channel::bounded::<Notice>(self.limit.max(1));
            let (listener, closed) = (listener.clone(), self.closed.clone());
            let run = move || {
                for notice in notices {
                    if closed.load(Ordering::Acquire) {
                        break;
                    }
                    listener(notice.message());
                }
            };
            if let Err(error) = self.threads.spawn("umcp-notifications", run) {
                log::warn!("no thread for notifications: {error}");
                return false;
            }
            *queue = Queue::Running(sender);
        }
        match &*queue {
            Queue::Running(sender) => sender.try_send(notice).is_ok(),
            _ => false,
        }
    }

    /// Drops what waits and joins the thread, unless this runs on it. Returns whether it ended.
    pub(crate) fn close(&self, until: Deadline) -> bool {
        self.closed.store(true, Ordering::Release);
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Queue::Closed;
        self.threads.join(until)
    }
}
