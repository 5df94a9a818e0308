//! Where a caller receives what belongs to its requests.

use std::sync::Arc;
use std::sync::PoisonError;

#[cfg(not(all(test, umcp_model)))]
use std::sync::Mutex;
#[cfg(not(all(test, umcp_model)))]
use std::thread::{self, Thread};

#[cfg(all(test, umcp_model))]
use shuttle::sync::Mutex;
#[cfg(all(test, umcp_model))]
use shuttle::thread::{self, Thread};

use crossbeam_channel::{Receiver, Sender};

use crate::deadline::Deadline;
use crate::transport::Delivery;

/// Where one caller receives. A channel, except that who waits sleeps at once: the channel's own
/// wait tries again for a while, which is ruinous when there are more callers than processors.
pub(crate) struct Slot<T = Delivery> {
    receiver: Receiver<T>,
    sender: SlotSender<T>,
}

/// The other end of a slot.
pub(crate) struct SlotSender<T = Delivery> {
    channel: Sender<T>,
    /// The thread to be woken.
    waiting: Arc<Mutex<Option<Thread>>>,
}

impl<T> Slot<T> {
    /// A slot for a request and whatever else comes for it.
    pub(crate) fn new() -> Self {
        Self::over(crossbeam_channel::unbounded())
    }

    /// A slot for one request at a time, for which nothing comes but what ends it. It needs less
    /// memory.
    pub(crate) fn for_replies() -> Self {
        Self::over(crossbeam_channel::bounded(1))
    }

    fn over((channel, receiver): (Sender<T>, Receiver<T>)) -> Self {
        let sender = SlotSender { channel, waiting: Arc::default() };
        Self { receiver, sender }
    }

    pub(crate) fn sender(&self) -> SlotSender<T> {
        self.sender.clone()
    }

    /// How many deliveries wait.
    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Whether it is for more than a reply.
    pub(crate) fn listens(&self) -> bool {
        self.receiver.capacity().is_none()
    }

    /// Waits for the next delivery, until `until` at most.
    pub(crate) fn receive(&self, until: Deadline) -> Option<T> {
        loop {
            if let Ok(delivery) = self.receiver.try_recv() {
                return Some(delivery);
            }
            self.sender.set_waiting(Some(thread::current()));
            // What was sent before anybody could be woken is seen here.
            if self.is_empty() && !sleep(until) {
                self.sender.set_waiting(None);
                return self.receiver.try_recv().ok();
            }
        }
    }
}

impl<T> SlotSender<T> {
    fn set_waiting(&self, thread: Option<Thread>) -> Option<Thread> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut waiting, thread)
    }

    /// How many deliveries wait.
    pub(crate) fn len(&self) -> usize {
        self.channel.len()
    }

    /// Never blocks. Returns whether there was a slot and room in it.
    pub(crate) fn send(&self, delivery: T) -> bool {
        let sent = self.channel.try_send(delivery).is_ok();
        if let Some(thread) = self.set_waiting(None) {
            thread.unpark();
        }
        sent
    }
}

impl<T> Clone for SlotSender<T> {
    fn clone(&self) -> Self {
        Self { channel: self.channel.clone(), waiting: self.waiting.clone() }
    }
}

/// Sleeps until woken, perhaps without a reason. Returns whether there was time for that.
#[cfg(not(all(test, umcp_model)))]
fn sleep(until: Deadline) -> bool {
    let left = until.remaining();
    if !left.is_zero() {
        thread::park_timeout(left);
    }
    !left.is_zero()
}

/// The model knows no time: a deadline has passed, or never does.
#[cfg(all(test, umcp_model))]
fn sleep(until: Deadline) -> bool {
    let has_passed = until.has_passed();
    if !has_passed {
        thread::park();
    }
    !has_passed
}

#[cfg(all(test, not(umcp_model)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_sent_wakes_who_waits() {
        let slot = Slot::new();
        let sender = slot.sender();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!((0..1000).all(|number| sender.send(number))));
            let received = || slot.receive(Deadline::after(Duration::from_secs(30)));
            assert!((0..1000).all(|number| received() == Some(number)));
        });
        assert_eq!(slot.receive(Deadline::after(Duration::from_millis(1))), None);
        drop(slot);
        assert!(!sender.send(1));
    }
}
