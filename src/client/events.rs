//! Listening to a client that is open.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::client::Client;
use crate::deadline::Deadline;
use crate::session::{Event, EventKind, Kinds, ListenerGuard};

impl Client {
    /// Adds a function that is called for every event of a kind, until the guard is dropped.
    ///
    /// As [`ClientBuilder::on`](crate::ClientBuilder::on) otherwise. The function may call the client
    /// through a clone of it; such a clone keeps the connection open until the guard is dropped or the
    /// client is [closed](Client::close).
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// use umcp::EventKind;
    ///
    /// # let client = umcp::Client::open(Script::new().server())?;
    /// let caller = client.clone();
    /// let guard = client.on(EventKind::ToolsChanged, move |_| match caller.list_tools() {
    ///     Ok(tools) => println!("{} tools", tools.len()),
    ///     Err(error) => eprintln!("{error}"),
    /// });
    /// // Later: not any more.
    /// drop(guard);
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn on(
        &self,
        kind: EventKind,
        listen: impl Fn(&Event) + Send + Sync + 'static,
    ) -> ListenerGuard {
        self.inner.session.listeners().add(Kinds::only(kind), Arc::new(listen))
    }

    /// Adds a function that is called for every event, until the guard is dropped. As
    /// [`on`](Self::on) otherwise.
    pub fn on_event(&self, listen: impl Fn(&Event) + Send + Sync + 'static) -> ListenerGuard {
        self.inner.session.listeners().add(Kinds::ALL, Arc::new(listen))
    }

    /// Returns what happens from now on, to be waited for.
    pub fn events(&self) -> Events {
        let (receiver, guard) = self.inner.session.listeners().stream();
        Events { receiver, guard }
    }
}

/// What happens to a connection, one event after the other.
///
/// As an iterator it blocks until there is another event, and ends after the
/// [`Disconnected`](EventKind::Disconnected) that is final (a server can be
/// [started again](crate::Server::respawn) after others). It does not keep the connection open. When too many
/// events wait in it ([`Limits::notifications`](crate::Limits::notifications)), further ones are
/// dropped, and the next says [how many](Event::missed).
///
/// ```
/// # use umcp::memory::Script;
/// use umcp::{Client, EventKind, json};
///
/// # let server = Script::new().answer("tools/call", json!({ "content": [] })).server();
/// let client = Client::open(server)?;
/// let events = client.events();
/// client.call_tool("now", json!({}))?;
/// client.close();
/// let kinds: Vec<EventKind> = events.map(|event| event.kind()).collect();
/// use EventKind::{Disconnected, ReplyReceived, RequestSent, ToolCalled};
/// assert_eq!(kinds, [RequestSent, ReplyReceived, ToolCalled, Disconnected]);
/// # Ok::<(), umcp::Error>(())
/// ```
#[must_use = "events are kept for nobody"]
pub struct Events {
    receiver: Receiver<Event>,
    #[expect(dead_code, reason = "it is there to be dropped")]
    guard: ListenerGuard,
}

impl Events {
    /// Returns the next event, or `None` if there is none within that time, or none any more. Blocks
    /// until then.
    pub fn next_timeout(&self, wait: Duration) -> Option<Event> {
        self.receiver.recv_deadline(Deadline::after(wait).instant()).ok()
    }

    /// Returns the channel that the events come through, to wait for other things at the same time
    /// (`crossbeam_channel::select!`). It is fed for as long as this value is there.
    pub fn receiver(&self) -> &Receiver<Event> {
        &self.receiver
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.receiver.recv().ok()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("waiting", &self.receiver.len()).finish_non_exhaustive()
    }
}
