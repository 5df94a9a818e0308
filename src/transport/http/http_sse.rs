//! HTTP+SSE of 2024-11-05: one stream on which everything comes, and an endpoint for what is sent.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use ureq::http::{Method, Uri};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, said, without_secrets};
use crate::net::{self, Carrier, Events, Failure, Lane, MESSAGE, Part, Request};

use super::lanes::Key;
use super::status::broken;
use super::{Shared, headers};

/// How long the endpoint may be in coming.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

impl Shared {
    /// SSE-2: looks for a server of the old transport, and goes on with it if there is one.
    pub(super) fn find_endpoint(self: &Arc<Self>, until: Deadline) -> Result<Uri> {
        let mut state = self.lock();
        state.keys += 1;
        let key = Key::Events(state.keys);
        drop(state);
        let lane = self.occupy(key).ok_or_else(Error::closed)?;
        let until = until.min(Deadline::after(FOUND_WITHIN));
        let shared = self.clone();
        let (found, finding) = crossbeam_channel::bounded(1);
        let listen = move || shared.listen(key, lane, until, &found);
        let started = self.threads.spawn("umcp-http-events", listen);
        let outcome = match started {
            Ok(_) => finding.recv_deadline(until.instant()).ok(),
            Err(_) => None,
        };
        let outcome = outcome.unwrap_or_else(|| Err(no_endpoint("none came in time")));
        if outcome.is_err() {
            self.interrupt(key);
        }
        let endpoint = outcome?;
        let mut state = self.lock();
        state.terms.endpoint = Some(endpoint.clone());
        state.terms.events = Some(key);
        Ok(endpoint)
    }

    /// Reads the stream: the endpoint, then everything else, for as long as there is a connection.
    fn listen(
        self: &Arc<Self>,
        key: Key,
        mut lane: Lane,
        until: Deadline,
        found: &Sender<Result<Uri>>,
    ) {
        let mut events = match self.open_http_sse(&mut lane, until) {
            Ok(events) => events,
            Err(error) => {
                self.release(key, lane);
                let _ = found.send(Err(error));
                return;
            }
        };
        let endpoint = self.read_endpoint(key, &mut events);
        let is_found = endpoint.is_ok();
        let _ = found.send(endpoint);
        if !is_found {
            return;
        }
        self.hear_all(key, &mut events);
        // SSE-7
        let is_wanted = self.lock().lanes.take(key).is_some();
        let Some(inbox) = self.inbox.upgrade().filter(|_| is_wanted) else { return };
        let text = "the server ended its event stream, and the connection with it";
        let error = Error::new(ErrorKind::Disconnected, text).hint("Open a new client");
        inbox.ended(None, error);
    }

    fn open_http_sse(&self, lane: &mut Lane, until: Deadline) -> Result<Events> {
        let terms = self.lock().terms.clone();
        let request = Request {
            method: Method::GET,
            url: &self.url,
            headers: &headers::of_stream(&terms, "", self.own_headers()?),
            body: &[],
            carrier: Carrier::Watched,
            until,
        };
        match lane.send(&request) {
            Ok(response) if response.is_success() && response.is_events() => {
                Ok(response.into_events(self.limits.message))
            }
            Ok(response) => Err(self.refused(lane, response, false).error()),
            Err(Failure::Other(error)) => Err(broken(error)),
            Err(_) => Err(no_endpoint("the server took too long")),
        }
    }

    /// Reads up to the event that names the endpoint, which comes first.
    fn read_endpoint(&self, key: Key, events: &mut Events) -> Result<Uri> {
        let mut endpoint = None;
        while endpoint.is_none() {
            let came = events.read(&mut |part| {
                let Some(inbox) = self.inbox.upgrade() else { return };
                let Part::Event(event) = part else { return };
                match &endpoint {
                    None if event.kind == "endpoint" => endpoint = Some(event.data),
                    // SSE-6: what comes before it is ignored, and nothing that comes with it is lost.
                    None => {}
                    Some(_) if event.kind == MESSAGE => _ = inbox.message(event.data, None),
                    Some(_) => {}
                }
            });
            match came {
                Ok(came) if came > 0 && self.is_wanted(key) => {}
                _ => break,
            }
        }
        let endpoint = endpoint.ok_or_else(|| no_endpoint("the stream ended before it"))?;
        let text = String::from_utf8_lossy(&endpoint);
        let uri = net::resolve(&self.url, text.trim());
        // SSE-5: credentials and messages go nowhere else.
        uri.filter(|uri| net::same_origin(&self.url, uri)).ok_or_else(|| {
            let text = format!(
                "the server wants messages sent to {:?}, which is not of its own origin",
                said(&without_secrets(&text))
            );
            Error::new(ErrorKind::Protocol, text).hint("Ask the server's operator")
        })
    }
}

fn no_endpoint(why: &str) -> Error {
    let text = format!("the server's event stream names no endpoint for messages: {why}");
    Error::new(ErrorKind::Unreachable, text)
}
