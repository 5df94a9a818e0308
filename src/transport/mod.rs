//! How messages travel: one trait, and the ways a server can be reached.
//!
//! A transport carries messages and knows nothing of what they mean. The caller's waiting thread
//! is lent to it: [`Transport::next`] may use it to carry the caller's own exchange.

#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod lines;
pub(crate) mod memory;
pub(crate) mod restarting;
mod slot;
pub(crate) mod stdio;
pub(crate) mod stream;
mod turns;

use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::protocol::ProtocolVersion;
use crate::protocol::envelope::Message;

pub(crate) use slot::{Slot, SlotSender};

/// Sets a transport going that hands what comes in to the inbox. Called again, it makes another
/// connection to the same server.
pub(crate) type Connect = dyn Fn(Arc<dyn Inbox>) -> Result<Arc<dyn Transport>> + Send + Sync;

/// One connection to one server.
pub(crate) trait Transport: Send + Sync {
    /// Sets one message on its way. Never blocks: what cannot leave at once waits in a queue.
    fn post(&self, message: Outgoing<'_>) -> Result<()>;

    /// The next thing for `slot`, or `None` when `until` has passed. Meanwhile the caller's thread
    /// may carry the exchange of its request; it holds no role and no lock once this returns.
    fn next(&self, _id: u64, slot: &Slot, until: Deadline) -> Option<Delivery> {
        slot.receive(until)
    }

    /// Something was put into a slot by a thread that does not read: a caller that lends its thread
    /// looks.
    fn wake(&self) {}

    /// The handshake of a legacy server has agreed on a version, of which `initialized` tells the
    /// server. Returns whether that is all; if not, a delivery for `id` follows.
    fn agreed(
        &self,
        _id: u64,
        _version: ProtocolVersion,
        initialized: Outgoing<'_>,
    ) -> Result<bool> {
        self.post(initialized).map(|()| true)
    }

    /// The caller has left its request: says what became of the request and what is owed.
    fn abandon(&self, id: u64) -> Abandoned;

    /// Adds what is known of a server that does not answer in time.
    fn overdue(&self, error: Error) -> Error {
        error
    }

    /// When the server last gave a sign of life on what a request has to itself, if it has something.
    fn heard_at(&self, _id: u64) -> Option<Instant> {
        None
    }

    /// The connection has ended, or no session was begun on it, and another can be begun: not before
    /// then.
    fn restarts_at(&self) -> Option<Deadline> {
        None
    }

    /// Why nothing can be sent before another connection has been begun, if that is so.
    fn why_lost(&self) -> Option<Error> {
        None
    }

    /// Begins another connection, if this one has ended. What was there is given until then to end.
    fn restart(&self, _until: Deadline) -> Result<()> {
        Ok(())
    }

    /// That session has begun. Until then nothing of any other may be sent.
    fn opened(&self, _session: u64) {}

    /// What can be asked about the connection.
    fn facts(&self) -> Facts;

    /// Ends everything by `until` and reports. Called once.
    fn close(&self, until: Deadline) -> CloseReport;
}

/// One message on its way out. Only HTTP mirrors what is in the text already.
#[cfg_attr(not(feature = "http"), allow(dead_code))]
pub(crate) struct Outgoing<'a> {
    /// One JSON text without line breaks.
    pub(crate) json: Vec<u8>,
    /// The id, if it is a request.
    pub(crate) id: Option<u64>,
    pub(crate) method: &'a str,
    /// What the request is about: the tool, the prompt or the resource.
    pub(crate) name: Option<&'a str>,
    /// The revision the message is written in, once one is agreed on or assumed.
    pub(crate) version: Option<ProtocolVersion>,
    /// Which of the connection's sessions it belongs to; `None` if it begins one, or is no request.
    pub(crate) session: Option<u64>,
    /// Headers that say what is in the arguments already: names and values as they are sent.
    pub(crate) mirror: &'a [(String, String)],
    /// The caller waits for the reply right away: its thread may carry the exchange.
    pub(crate) waits: bool,
    pub(crate) until: Deadline,
}

impl<'a> Outgoing<'a> {
    /// A message that no caller waits for.
    pub(crate) fn aside(json: Vec<u8>, method: &'a str) -> Self {
        Self {
            json,
            id: None,
            method,
            name: None,
            version: None,
            session: None,
            mirror: &[],
            waits: false,
            until: Deadline::after(Duration::ZERO),
        }
    }
}

/// What became of a request whose caller left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandoned {
    /// It never left this program.
    Unsent,
    /// The server may have it, and is owed a `notifications/cancelled`.
    Notify,
    /// The server learns it from the transport.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    Told,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The server has written something, whatever it was.
    pub(crate) has_spoken: bool,
    /// Every request is answered or fails by itself: silence says nothing of the server's era, nor
    /// does a connection that ends.
    pub(crate) answers_or_fails: bool,
    /// What a message says has to be said in headers too.
    pub(crate) mirrors: bool,
    /// Another connection can be begun when this one has ended.
    pub(crate) restarts: bool,
}

/// How a connection ended, as reported by [`Client::close`](crate::Client::close).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// How the server's process ended; `None` if there was none or it is not known.
    pub exit_status: Option<ExitStatus>,
    /// The server did not end by itself within its time, and was told to (SIGTERM) or ended by
    /// force.
    pub forced: bool,
    /// Something did not end within its time and was left behind: a callback of this program (or
    /// its own stderr, if that is stuck and the server's is copied there), a byte stream that
    /// cannot be interrupted, the system's resolver, or a process that has left the server's group
    /// (`setsid`) and holds its pipes.
    pub left_behind: bool,
}

/// Where a session receives: the single entrance. Never blocks, runs no user code.
pub(crate) trait Inbox: Send + Sync {
    /// One message, as text. `via` is the request on whose own exchange it came, if it did.
    /// Returns the request that it answers, if somebody waits for that.
    fn message(&self, text: Vec<u8>, via: Option<u64>) -> Option<u64>;

    /// A message of so many bytes, too long to be kept, which answers this request, if any.
    fn too_long(&self, answers: Option<u64>, bytes: u64);

    /// What the server says unasked may have been lost.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    fn interrupted(&self);

    /// What was agreed for this id has been done.
    fn ready(&self, id: u64);

    /// The connection has ended, and another can be begun. Returns whether it is waited for; if not,
    /// this is the end.
    fn lost(&self, why: &Error) -> bool;

    /// The exchange of one request (`Some`) or the whole connection (`None`) has ended.
    fn ended(&self, scope: Option<u64>, why: Error);
}

/// What reaches a waiting caller.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The response to the request with this id.
    Reply(u64, Message),
    /// A notification that belongs to the call.
    Notice(Notice),
    /// So many notifications for a subscription found no room.
    Missed(usize),
    /// What was agreed has been done.
    Ready(u64),
    /// The request will not be answered.
    Failed(u64, Error),
}

/// A notification that waits for its listener. Together they have a limit in bytes.
#[derive(Debug)]
pub(crate) struct Notice {
    message: Message,
    held: Arc<AtomicUsize>,
}

impl Notice {
    /// `None` if too much waits already.
    pub(crate) fn hold(message: Message, held: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let before = held.fetch_add(message.len(), Ordering::Relaxed);
        let notice = Self { message, held: held.clone() };
        (before == 0 || before.saturating_add(notice.message.len()) <= limit).then_some(notice)
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.held.fetch_sub(self.message.len(), Ordering::Relaxed);
    }
}
