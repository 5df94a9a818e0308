//! The resources that a legacy server was asked to watch: each once, for all subscriptions to it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::deadline::Clocks;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::meta::RequestMeta;
use crate::protocol::{ClientRequest, SubscribeParams};
use crate::session::{AnsweredBy, CancelToken, Options, PendingRequest, Session};
use crate::transport::{Delivery, Inbox, Slot};

#[derive(Default)]
pub(super) struct Watched(Mutex<State>);

#[derive(Default)]
struct State {
    resources: HashMap<String, Resource>,
    /// Those to be unsubscribed, by the thread that does.
    unwanted: VecDeque<String>,
    has_thread: bool,
}

#[derive(Default)]
struct Resource {
    subscriptions: usize,
    /// The server is being asked to begin or to stop. Without order between the two nobody would know
    /// what it does in the end.
    is_changing: bool,
    /// Who waits for the end of that.
    waiting: Vec<u64>,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What somebody is subscribed to.
    pub(super) fn resources(&self) -> Vec<String> {
        let state = self.lock();
        let wanted = state.resources.iter().filter(|(_, resource)| resource.subscriptions > 0);
        wanted.map(|(uri, _)| uri.clone()).collect()
    }

    /// The server does not watch it any more: whoever subscribes to it next asks for it again.
    pub(super) fn forget(&self, uri: &str) {
        let mut state = self.lock();
        if state.resources.get(uri).is_some_and(|resource| !resource.is_changing) {
            state.resources.remove(uri);
        }
    }
}

/// The server is being asked about a resource. Also if that fails or panics, nobody waits for it any
/// longer.
struct Change<'s> {
    session: &'s Session,
    uri: &'s str,
    /// How many subscriptions there are then.
    subscriptions: usize,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut state = self.session.watched.lock();
        let Some(resource) = state.resources.get_mut(self.uri) else { return };
        resource.is_changing = false;
        resource.subscriptions = self.subscriptions;
        let waiting = std::mem::take(&mut resource.waiting);
        if self.subscriptions == 0 {
            state.resources.remove(self.uri);
        }
        drop(state);
        waiting.into_iter().for_each(|id| self.session.router.ready(id));
    }
}

impl Session {
    /// Counts one more subscription to a resource. The first one is asked of the server.
    pub(super) fn watch(
        self: &Arc<Self>,
        uri: &str,
        clocks: &Clocks,
        cancel: Option<&CancelToken>,
    ) -> Result<()> {
        let slot = Slot::for_replies();
        loop {
            let mut state = self.watched.lock();
            let resource = state.resources.entry(uri.to_owned()).or_default();
            if resource.is_changing {
                let expected = self.router.expect(&slot, cancel)?;
                resource.waiting.push(expected.id);
                drop(state);
                match slot.receive(clocks.next().0) {
                    Some(Delivery::Failed(_, error)) => return Err(error),
                    Some(_) => continue,
                    None => {
                        self.router.withdraw(expected.id, "");
                        let text = "the server was still asked about the resource before";
                        return Err(Error::new(ErrorKind::Timeout, text).hint("Raise `timeout`"));
                    }
                }
            }
            if resource.subscriptions > 0 {
                resource.subscriptions += 1;
                return Ok(());
            }
            resource.is_changing = true;
            break;
        }
        let mut change = Change { session: self, uri, subscriptions: 0 };
        let left = clocks.next().0.remaining();
        self.ask(ClientRequest::Subscribe(SubscribeParams::new(uri)), left, left, cancel)?;
        change.subscriptions = 1;
        Ok(())
    }

    /// Counts one subscription less to each of these. The last one has the server told, on a thread of
    /// its own: this never blocks.
    pub(super) fn unwatch(self: &Arc<Self>, uris: Vec<String>) {
        let mut state = self.watched.lock();
        for uri in uris {
            let Some(resource) = state.resources.get_mut(&uri) else { continue };
            resource.subscriptions = resource.subscriptions.saturating_sub(1);
            if resource.subscriptions == 0 && !resource.is_changing {
                resource.is_changing = true;
                state.unwanted.push_back(uri);
            }
        }
        if state.has_thread || state.unwanted.is_empty() || self.router.has_ended() {
            return;
        }
        state.has_thread = true;
        drop(state);
        let session = self.clone();
        let started = self.router.threads.spawn("umcp-unsubscribe", move || session.unsubscribe());
        if let Err(error) = started {
            log::warn!("{}: no thread to unsubscribe: {error}", self.server());
            while let Some(uri) = self.next_unwanted() {
                drop(Change { session: self, uri: &uri, subscriptions: 0 });
            }
        }
    }

    fn unsubscribe(self: &Arc<Self>) {
        /// A panic of the program's own code must not be the last of all such threads.
        struct Thread<'s>(&'s Watched);
        impl Drop for Thread<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.lock().has_thread = false;
                }
            }
        }
        let _thread = Thread(&self.watched);
        let timeouts = &self.opening.timeouts;
        while let Some(uri) = self.next_unwanted() {
            let _change = Change { session: self, uri: &uri, subscriptions: 0 };
            let request = ClientRequest::Unsubscribe(SubscribeParams::new(&uri));
            if let Err(why) = self.ask(request, timeouts.request, timeouts.max_total, None) {
                log::debug!("{}: not unsubscribed: {why}", self.server());
            }
        }
    }

    /// The next one, or the end of the thread.
    fn next_unwanted(&self) -> Option<String> {
        let mut state = self.watched.lock();
        let next = state.unwanted.pop_front();
        state.has_thread = next.is_some();
        next
    }

    fn ask(
        self: &Arc<Self>,
        request: ClientRequest,
        timeout: Duration,
        max_total: Duration,
        cancel: Option<&CancelToken>,
    ) -> Result<()> {
        let options = Options {
            timeout,
            max_total,
            clocks: None,
            restart_on_progress: false,
            on_progress: None,
            on_log: None,
            meta: RequestMeta::default(),
            mirror: Vec::new(),
            cancel: cancel.cloned(),
            answered_by: AnsweredBy::Nobody,
            silent: false,
        };
        let mut request = PendingRequest::start(self, request, options, true)?;
        loop {
            if let Some(reply) = request.wait(None) {
                return reply.map(drop);
            }
        }
    }
}
