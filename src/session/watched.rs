//! The resources that a legacy server was asked to watch: each once, for all subscriptions to it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::deadline::Clocks;
use crate::error::{Error, ErrorKind, Refusal, Result};
use crate::protocol::{ClientRequest, SubscribeParams};
use crate::session::{AnsweredBy, CancelToken, Options, PendingRequest, Session};
use crate::transport::{Delivery, Inbox, Slot};

/// How often a resource is asked for in a row, each time of a server that ends meanwhile.
const MOST_ATTEMPTS: u32 = 5;

#[derive(Default)]
pub(super) struct Watched(Mutex<State>);

#[derive(Default)]
struct State {
    resources: HashMap<String, Resource>,
    /// How many resources there have been.
    last: u64,
    /// What the server is still to be asked, by the thread that does.
    wishes: VecDeque<Wish>,
    /// How many resources the session does not know of yet.
    unknown: usize,
    has_thread: bool,
}

struct Resource {
    /// What is forgotten and watched again later is another.
    number: u64,
    subscriptions: usize,
    /// The server is being asked to begin or to stop. Without order between the two nobody would know
    /// what it does in the end.
    is_changing: bool,
    /// Who waits for the end of that.
    waiting: Vec<u64>,
}

enum Wish {
    Stop(String),
    /// In a session that knows nothing of it.
    Again(String),
}

/// A resource that is watched for somebody.
pub(super) struct Place {
    pub(super) uri: String,
    number: u64,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn resource(&mut self, uri: &str) -> &mut Resource {
        self.resources.entry(uri.to_owned()).or_insert_with(|| {
            self.last += 1;
            Resource {
                number: self.last,
                subscriptions: 0,
                is_changing: false,
                waiting: Vec::new(),
            }
        })
    }
}

/// The server is being asked about a resource. Also if that fails or panics, nobody waits for it any
/// longer.
struct Change<'s> {
    session: &'s Session,
    uri: &'s str,
    is_watched: bool,
    /// In another session: why those who are subscribed to it hear nothing of it any more, unless it is
    /// watched.
    lost: Option<Error>,
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut state = self.session.watched.lock();
        let Some(resource) = state.resources.get_mut(self.uri) else { return };
        let waiting = std::mem::take(&mut resource.waiting);
        // Whoever was subscribed to it may have left meanwhile.
        let is_unwanted = self.is_watched && resource.subscriptions == 0;
        resource.is_changing = is_unwanted;
        if is_unwanted {
            state.wishes.push_back(Wish::Stop(self.uri.to_owned()));
        } else if !self.is_watched {
            state.resources.remove(self.uri);
        }
        let mut is_known = false;
        if self.lost.is_some() {
            state.unknown = state.unknown.saturating_sub(1);
            is_known = state.unknown == 0;
        }
        drop(state);
        let router = &self.session.router;
        waiting.into_iter().for_each(|id| router.ready(id));
        if let (Some(why), false) = (self.lost.take(), self.is_watched) {
            let why = why.hint("The server has begun another session: subscribe again");
            router.stop_subscriptions(self.uri, &why);
        }
        if is_known {
            router.interrupt_subscriptions();
        }
    }
}

impl Session {
    /// Counts one more subscription to a resource. The first one is asked of the server.
    pub(super) fn watch(
        self: &Arc<Self>,
        uri: &str,
        clocks: &Clocks,
        cancel: Option<&CancelToken>,
    ) -> Result<Place> {
        let slot = Slot::for_replies();
        let place = loop {
            let mut state = self.watched.lock();
            let resource = state.resource(uri);
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
            let place = Place { uri: uri.to_owned(), number: resource.number };
            resource.subscriptions += 1;
            if resource.subscriptions > 1 {
                return Ok(place);
            }
            resource.is_changing = true;
            break place;
        };
        let mut change = Change { session: self, uri, is_watched: false, lost: None };
        let left = clocks.next().0.remaining();
        self.ask(ClientRequest::Subscribe(SubscribeParams::new(uri)), left, left, cancel)?;
        change.is_watched = true;
        Ok(place)
    }

    /// Counts one subscription less to each of these. The last one has the server told, on a thread of
    /// its own: this never blocks.
    pub(super) fn unwatch(self: &Arc<Self>, places: Vec<Place>) {
        let mut state = self.watched.lock();
        for Place { uri, number } in places {
            let resource = state.resources.get_mut(&uri).filter(|it| it.number == number);
            let Some(resource) = resource else { continue };
            resource.subscriptions = resource.subscriptions.saturating_sub(1);
            if resource.subscriptions == 0 && !resource.is_changing {
                resource.is_changing = true;
                state.wishes.push_back(Wish::Stop(uri));
            }
        }
        drop(state);
        self.fulfil();
    }

    /// LHTTP-9: has another session watch what was watched in the one before, on a thread of its own. A
    /// subscription that it refuses ends, as nothing would be heard of it any more.
    pub(super) fn watch_again(self: &Arc<Self>) {
        let mut state = self.watched.lock();
        let State { resources, wishes, unknown, .. } = &mut *state;
        for (uri, resource) in resources.iter_mut().filter(|(_, it)| !it.is_changing) {
            resource.is_changing = true;
            *unknown += 1;
            wishes.push_back(Wish::Again(uri.clone()));
        }
        let is_known = *unknown == 0;
        drop(state);
        self.router.forget_answers();
        // SUB-17: whatever has happened until the session knows all is missed.
        match is_known {
            true => self.router.interrupt_subscriptions(),
            false => self.fulfil(),
        }
    }

    /// Starts the thread, if there is something to be asked and it is not running.
    fn fulfil(self: &Arc<Self>) {
        let mut state = self.watched.lock();
        if state.has_thread || state.wishes.is_empty() || self.router.has_ended() {
            return;
        }
        state.has_thread = true;
        drop(state);
        let session = self.clone();
        let started = self.router.threads.spawn("umcp-watch", move || {
            let _thread = Fulfilling(&session);
            while let Some(wish) = session.next_wish() {
                session.fulfil_one(&wish);
            }
        });
        if let Err(error) = started {
            let text = format!("no thread to ask about resources: {error}");
            let error = Error::new(ErrorKind::Limit, text).server(self.server());
            log::warn!("{error}");
            while let Some(wish) = self.next_wish() {
                let mut change = self.change(&wish);
                change.lost = change.lost.take().map(|_| error.clone());
            }
        }
    }

    /// The next one, or the end of the thread.
    fn next_wish(&self) -> Option<Wish> {
        let mut state = self.watched.lock();
        let next = state.wishes.pop_front();
        state.has_thread = next.is_some();
        next
    }

    fn change<'s>(&'s self, wish: &'s Wish) -> Change<'s> {
        let lost =
            || Error::new(ErrorKind::Disconnected, "the server was not asked to go on with it");
        let (uri, lost) = match wish {
            Wish::Stop(uri) => (uri, None),
            Wish::Again(uri) => (uri, Some(lost().server(self.server()))),
        };
        Change { session: self, uri, is_watched: false, lost }
    }

    fn fulfil_one(self: &Arc<Self>, wish: &Wish) {
        let timeouts = &self.opening.timeouts;
        let mut change = self.change(wish);
        let (request, is_watched) = match wish {
            Wish::Stop(uri) => (ClientRequest::Unsubscribe(SubscribeParams::new(uri)), false),
            Wish::Again(uri) => (ClientRequest::Subscribe(SubscribeParams::new(uri)), true),
        };
        // A server that has ended watches nothing any more, and is not started again for that.
        if !is_watched && self.why_lost().is_some() {
            return;
        }
        let ask = || self.ask(request.clone(), timeouts.request, timeouts.max_total, None);
        let mut asked = ask();
        for _ in 1..MOST_ATTEMPTS {
            // It has ended meanwhile, and the next one can be asked as well.
            match &asked {
                Err(why) if why.refusal() == Some(Refusal::UnknownSession) => asked = ask(),
                _ => break,
            }
        }
        match asked {
            Ok(()) => change.is_watched = is_watched,
            Err(why) => {
                log::debug!("{}: {why}", self.server());
                change.lost = change.lost.take().map(|_| why);
            }
        }
    }

    fn ask(
        self: &Arc<Self>,
        request: ClientRequest,
        timeout: Duration,
        max_total: Duration,
        cancel: Option<&CancelToken>,
    ) -> Result<()> {
        let options = Options {
            cancel: cancel.cloned(),
            answered_by: AnsweredBy::Nobody,
            is_patient: true,
            ..Options::new(timeout, max_total)
        };
        let mut request = PendingRequest::start(self, request, options, true)?;
        loop {
            if let Some(reply) = request.wait(None) {
                return reply.map(drop);
            }
        }
    }
}

/// Also a panic, of the program's own code, does not keep what is left from being asked.
struct Fulfilling<'s>(&'s Arc<Session>);

impl Drop for Fulfilling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.watched.lock().has_thread = false;
            self.0.fulfil();
        }
    }
}
