//! What no caller waits for: notifications, and answers to what a legacy server asks. They are begun
//! in order while the exchanges of calls go on, on threads that are there only while there is
//! something to send.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ureq::http::Method;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Carrier, Failure, Headers, Request};
use crate::transport::Outgoing;

use super::lanes::Key;
use super::{Shared, Stage, headers};

/// A server that takes its time with one must not hold up all others.
const AT_ONCE: usize = 4;
/// How long one may take.
const WITHIN: Duration = Duration::from_secs(30);
/// How long those that are left may take when the client closes.
const AT_THE_END: Duration = Duration::from_secs(1);
/// What one costs besides its text.
const OVERHEAD: usize = 128;

#[derive(Default)]
pub(super) struct Asides {
    queue: VecDeque<Aside>,
    bytes: usize,
    workers: usize,
}

struct Aside {
    headers: Headers,
    body: Vec<u8>,
}

impl Aside {
    fn cost(&self) -> usize {
        self.body.len().saturating_add(OVERHEAD)
    }
}

impl Shared {
    pub(super) fn post_aside(self: &Arc<Self>, message: Outgoing<'_>) -> Result<()> {
        let mut state = self.lock();
        if state.stage != Stage::Open {
            return Err(Error::closed());
        }
        if !state.terms.is_legacy {
            let text = "notifications and answers are not sent over HTTP in this era";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        let headers = headers::of_message(&message, &state.terms, Headers::new())?;
        let aside = Aside { headers, body: message.json };
        let bytes = state.asides.bytes.saturating_add(aside.cost());
        if bytes > self.limits.outgoing && !state.asides.queue.is_empty() {
            let text = "too many messages wait for the server to take them";
            return Err(Error::new(ErrorKind::Limit, text).hint("Raise `Limits::outgoing`"));
        }
        state.asides.bytes = bytes;
        state.asides.queue.push_back(aside);
        if state.asides.workers >= AT_ONCE {
            return Ok(());
        }
        state.asides.workers += 1;
        drop(state);
        let shared = self.clone();
        let started = self.threads.spawn("umcp-http-aside", move || shared.send_asides());
        let Err(error) = started else { return Ok(()) };
        let mut state = self.lock();
        state.asides.workers = state.asides.workers.saturating_sub(1);
        // One that is there already sends it.
        if state.asides.workers > 0 {
            return Ok(());
        }
        state.asides.bytes = 0;
        state.asides.queue.clear();
        Err(Error::new(ErrorKind::Limit, format!("no thread for the message: {error}")))
    }

    fn send_asides(&self) {
        while let Some((key, aside)) = self.next_aside() {
            if let Err(why) = self.send_aside(key, aside) {
                log::debug!("a message to the server was lost: {why}");
            }
        }
        self.changed.notify_all();
    }

    /// The next one, or the end of this thread.
    fn next_aside(&self) -> Option<(Key, Aside)> {
        let mut state = self.lock();
        match state.asides.queue.pop_front() {
            Some(aside) => {
                state.asides.bytes = state.asides.bytes.saturating_sub(aside.cost());
                state.keys += 1;
                Some((Key::Aside(state.keys), aside))
            }
            None => {
                state.asides.workers = state.asides.workers.saturating_sub(1);
                None
            }
        }
    }

    fn send_aside(&self, key: Key, aside: Aside) -> Result<()> {
        let mut headers = self.own_headers()?;
        headers.extend(aside.headers);
        let Some(mut lane) = self.occupy(key) else { return Err(Error::closed()) };
        let url = self.endpoint();
        let request = Request {
            method: Method::POST,
            url: &url,
            headers: &headers,
            body: &aside.body,
            carrier: Carrier::Alone,
            until: Deadline::after(WITHIN),
        };
        let outcome = match lane.send(&request) {
            Ok(response) if response.is_success() => {
                lane.finish(response);
                Ok(())
            }
            Ok(response) => Err(self.refused(&mut lane, response, false).error()),
            Err(Failure::Other(error)) => Err(super::status::broken(error)),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "the server took too long")),
        };
        self.release(key, lane);
        outcome
    }

    /// Gives what still waits a moment, and ends the rest.
    pub(super) fn finish_asides(&self, until: Deadline) {
        let wait = until.min(Deadline::after(AT_THE_END)).remaining();
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, wait, |state| state.asides.workers > 0);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.asides.queue.clear();
        state.stage = Stage::Ending;
        let busy = std::mem::take(&mut state.lanes.busy);
        drop(state);
        busy.into_values().for_each(|busy| _ = busy.into_interrupt().end());
    }
}
