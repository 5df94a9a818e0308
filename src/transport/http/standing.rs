//! The session of a legacy server: how it begins, and the stream on which the server says what
//! belongs to no request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use ureq::http::{HeaderValue, Method};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Carrier, Events, Failure, Headers, Lane, MESSAGE, Part, Request, Response};
use crate::protocol::ProtocolVersion;
use crate::protocol::skim::Skim;
use crate::transport::Outgoing;

use super::exchange::Resume;
use super::lanes::{DRAINED_WITHIN, Key};
use super::status::broken;
use super::{Shared, Terms, headers};

/// For how long the beginning of a session waits for the stream. A server may not show that it is
/// there before it has something to say.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// A stream that was open for so long was one, also if nothing was to be said.
const LASTS: Duration = Duration::from_secs(10);

impl Shared {
    /// Takes what the handshake has settled, tells the server, and opens the stream. The inbox hears
    /// when that is done.
    pub(super) fn begin_session(
        self: &Arc<Self>,
        id: u64,
        version: ProtocolVersion,
        initialized: Outgoing<'_>,
    ) -> Result<()> {
        let own = self.own_headers()?;
        let mut state = self.lock();
        let mut terms = state.terms.clone();
        let offered = terms.offered.take();
        if offered.as_ref().is_some_and(|session| !is_session(session)) {
            let text = "the server's session id is none: it is too long or has other than visible \
                        characters";
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        (terms.session, terms.version) = (offered, Some(version));
        let is_http_sse = terms.endpoint.is_some();
        let before = if is_http_sse { None } else { state.terms.events.take() };
        drop(state);
        let headers = headers::of_message(&initialized, &terms, own)?;
        if let Some(before) = before {
            self.interrupt(before);
        }
        let key = Key::Request(id);
        let Some(lane) = self.occupy(key) else { return Err(Error::closed()) };
        let shared = self.clone();
        let (body, until) = (initialized.json, initialized.until);
        let begin = move || {
            let begun = shared.tell_initialized(key, lane, headers, body, until);
            if begun.is_ok() {
                shared.settle(terms);
                if !is_http_sse {
                    shared.open_stream(until);
                }
            }
            let Some(inbox) = shared.inbox.upgrade() else { return };
            match begun {
                Ok(()) => inbox.ready(id),
                Err(error) => inbox.ended(Some(id), error),
            }
        };
        let started = self.threads.spawn("umcp-http", begin);
        started.map(drop).map_err(|error| {
            self.interrupt(key);
            Error::new(ErrorKind::Limit, format!("no thread for the session: {error}"))
        })
    }

    /// The server knows that the handshake is done: what is sent from now on belongs to the session.
    fn settle(&self, Terms { session, version, .. }: Terms) {
        let mut state = self.lock();
        (state.terms.session, state.terms.version) = (session, version);
        state.terms.offered = None;
    }

    fn tell_initialized(
        &self,
        key: Key,
        mut lane: Lane,
        headers: Headers,
        body: Vec<u8>,
        until: Deadline,
    ) -> Result<()> {
        let url = self.endpoint();
        let request = Request {
            method: Method::POST,
            url: &url,
            headers: &headers,
            body: &body,
            carrier: Carrier::Watched,
            until,
        };
        let told = match lane.send(&request) {
            Ok(response) if response.is_success() => {
                lane.finish(response);
                Ok(())
            }
            Ok(response) => Err(self.refused(&mut lane, response, false).error()),
            Err(Failure::Other(error)) => Err(broken(error)),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "the server took too long")),
        };
        self.release(key, lane);
        told
    }

    /// LHTTP-16: opens the server's own stream, and waits until it is open or is not to be had.
    fn open_stream(self: &Arc<Self>, until: Deadline) {
        let mut state = self.lock();
        state.keys += 1;
        let key = Key::Events(state.keys);
        state.terms.events = Some(key);
        drop(state);
        let shared = self.clone();
        let (opened, open) = crossbeam_channel::bounded::<()>(0);
        let started = self.threads.spawn("umcp-http-events", move || shared.stand(key, opened));
        if started.is_ok() {
            // What is sent is the end of the channel. It must not cost all the time there is.
            let wait = OPEN_WITHIN.min(until.remaining() / 2);
            let _ = open.recv_timeout(wait);
        }
    }

    /// Keeps the server's own stream open. `opened` is dropped when it is.
    fn stand(self: &Arc<Self>, key: Key, opened: Sender<()>) {
        let mut opened = Some(opened);
        let mut resume = Resume::default();
        loop {
            let Some(mut lane) = self.occupy(key) else { return };
            let terms = self.lock().terms.clone();
            // Another session has begun in the meantime.
            if terms.events != Some(key) {
                return self.release(key, lane);
            }
            let heard = match self.get(&mut lane, &terms, &resume.last_event_id) {
                Some(response) if response.is_success() && response.is_events() => {
                    // Only an event's id lets the server say again what was lost.
                    if opened.take().is_none() && resume.last_event_id.is_empty() {
                        self.interrupted();
                    }
                    let since = Instant::now();
                    let mut events = response.into_events(self.limits.message);
                    let has_spoken = self.hear_all(key, &mut events);
                    resume.note(&events, has_spoken || since.elapsed() >= LASTS)
                }
                // LHTTP-17: there is none.
                Some(response) if response.status < 500 => {
                    log::debug!("no stream of the server's own: HTTP {}", response.status);
                    lane.finish(response);
                    self.release(key, lane);
                    if opened.is_none() {
                        self.interrupted();
                    }
                    return;
                }
                Some(_) | None => resume.fail(),
            };
            opened.take();
            if !heard {
                drop(self.lock().lanes.take(key));
                return self.interrupted();
            }
            if !self.pause(key, resume.wait()) {
                return drop(self.lock().lanes.take(key));
            }
        }
    }

    fn interrupted(&self) {
        if let Some(inbox) = self.inbox.upgrade() {
            inbox.interrupted();
        }
    }

    fn get(&self, lane: &mut Lane, terms: &Terms, last_event_id: &str) -> Option<Response> {
        let own = self.own_headers().ok()?;
        let request = Request {
            method: Method::GET,
            url: &self.url,
            headers: &headers::of_stream(terms, last_event_id, own),
            body: &[],
            carrier: Carrier::Watched,
            until: Deadline::after(Duration::MAX),
        };
        lane.send(&request).ok()
    }

    /// Hands over what a stream says that belongs to no request. Returns whether it said something,
    /// and be it where to go on.
    pub(super) fn hear_all(self: &Arc<Self>, key: Key, events: &mut Events) -> bool {
        let mut skim = Skim::default();
        let mut has_spoken = false;
        loop {
            let came = events.read(&mut |part| {
                let Some(inbox) = self.inbox.upgrade() else { return };
                has_spoken = true;
                match part {
                    Part::Event(event) if event.kind == MESSAGE && !event.data.is_empty() => {
                        // An answer to its POST may never come, and holds nobody up.
                        if let Some(id) = inbox.message(event.data, None) {
                            self.drain_by(id, Instant::now() + DRAINED_WITHIN);
                        }
                    }
                    Part::Event(_) => {}
                    Part::Piece(piece) => skim.feed(piece),
                    Part::TooLong { kind, bytes } => {
                        let answers = std::mem::take(&mut skim).answers();
                        inbox.too_long(answers.filter(|_| kind == MESSAGE), bytes);
                    }
                }
            });
            match came {
                Ok(came) if came > 0 && self.is_wanted(key) => {}
                _ => return has_spoken,
            }
        }
    }
}

/// LHTTP-5, LHTTP-6
fn is_session(id: &HeaderValue) -> bool {
    const LONGEST: usize = 4096;
    let bytes = id.as_bytes();
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(|byte| matches!(byte, 0x21..=0x7E))
}
