//! Waiting for what another thread brings about.

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::session::router::Sent;
use crate::session::{CancelToken, Session};
use crate::transport::{Delivery, Inbox, Slot};

/// Something that another thread brings about, and then says with [`Session::has_come`].
pub(crate) struct Expected {
    sent: Sent,
    slot: Slot,
}

impl Session {
    /// Something to wait for. The end of the connection or of the token ends the waiting too.
    pub(crate) fn expect(&self, cancel: Option<&CancelToken>) -> Result<Expected> {
        let slot = Slot::for_replies();
        let sent = self.router.expect(&slot, cancel)?;
        Ok(Expected { sent, slot })
    }

    /// Waits until `until` at most. Returns whether it has come.
    pub(crate) fn wait_for(&self, expected: &Expected, until: Deadline) -> Result<bool> {
        match expected.slot.receive(until) {
            Some(Delivery::Failed(_, error)) => Err(Error::ran(error, false)),
            Some(_) => Ok(true),
            None => {
                self.give_up(expected);
                Ok(false)
            }
        }
    }

    /// Does not wait for it any more.
    pub(crate) fn give_up(&self, expected: &Expected) {
        self.router.withdraw(expected.id(), "");
    }

    /// Ends the waiting for it.
    pub(crate) fn has_come(&self, id: u64) {
        self.router.ready(id);
    }

    /// Whether this runs inside a handler, which may be what a call waits for.
    pub(crate) fn is_in_handler(&self) -> bool {
        self.router.is_in_handler()
    }
}

impl Expected {
    pub(crate) fn id(&self) -> u64 {
        self.sent.id
    }
}
