//! HTTP exchanges over ureq: one lane, one exchange at a time, one way to interrupt it.

mod redirect;
mod retry_after;
mod settings;
mod sse;
#[cfg(feature = "tls")]
mod tls;
mod url;

use std::borrow::Cow;
use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::Uri;
use ureq::http::header::{self, HeaderName, HeaderValue};
use ureq::{Agent, Body, BodyReader};

use crate::deadline::Deadline;

pub(crate) use redirect::{MOST_REDIRECTS, Redirect, decide};
pub(crate) use settings::Settings;
use sse::Decoder;
pub(crate) use sse::{Event, MESSAGE, Part};
#[cfg(feature = "tls")]
pub(crate) use tls::certificate_problem;
pub(crate) use url::{has_bad_port, has_user_info, resolve, same_origin};

/// An agent of its own for one exchange at a time, so that ending the agent ends the exchange.
pub(crate) struct Lane {
    agent: Agent,
    /// When the last exchange left a connection open.
    open_since: Option<Instant>,
    /// The server closes the connection after this exchange.
    closes: bool,
}

/// For how long an idle connection is taken to be open still. ureq drops it after 15 s.
const STAYS_OPEN: Duration = Duration::from_secs(10);

const EVENT_STREAM: &str = "text/event-stream";

/// What a deadline ends by itself. Whatever it does not, [`Lane::interrupt`] ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// The whole exchange.
    Over(Deadline),
    /// Resolving and connecting only.
    Connected(Deadline),
}

/// The head of what came back, and the way to the rest.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// The rest are events, and may not end for a long time.
    pub(crate) is_events: bool,
    body: Body,
}

/// Why nothing came back.
pub(crate) enum Failure {
    /// The deadline passed.
    TimedOut,
    TooLarge,
    Other(ureq::Error),
}

impl Lane {
    pub(crate) fn new(url: &Uri, settings: &Settings) -> Self {
        Self { agent: settings.agent(url), open_since: None, closes: false }
    }

    /// Whether a connection is open: then the next exchange neither resolves nor connects.
    pub(crate) fn is_warm(&self) -> bool {
        self.open_since.is_some_and(|since| since.elapsed() < STAYS_OPEN)
    }

    /// A handle that ends the exchange from another thread, with `Agent::shutdown`.
    pub(crate) fn interrupt(&self) -> Agent {
        self.agent.clone()
    }

    /// POSTs, and waits for the head of the answer.
    pub(crate) fn post(
        &mut self,
        url: &Uri,
        headers: &[(Cow<'static, str>, String)],
        own: Vec<(HeaderName, HeaderValue)>,
        body: &[u8],
        until: Until,
    ) -> Result<Response, Failure> {
        self.open_since = None;
        let mut request = self.agent.post(url);
        for (name, value) in headers {
            request = request.header(name.as_ref(), value);
        }
        for (name, value) in own {
            request = request.header(name, value);
        }
        let config = request.config();
        let request = match until {
            Until::Over(end) => config.timeout_global(Some(end.remaining())),
            Until::Connected(end) => {
                let left = Some(end.remaining());
                config.timeout_resolve(left).timeout_connect(left)
            }
        };
        let response = request.build().send(body).map_err(failure)?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = header(header::CONTENT_TYPE).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        let is_events = content_type.eq_ignore_ascii_case(EVENT_STREAM);
        let retry_after = header(header::RETRY_AFTER);
        let retry_after =
            retry_after.and_then(|value| retry_after::parse(value, header(header::DATE)));
        self.closes = header(header::CONNECTION).is_some_and(|it| it.eq_ignore_ascii_case("close"));
        Ok(Response { status, retry_after, is_events, body: response.into_body() })
    }

    /// Reads the rest, at most `limit` bytes of it.
    pub(crate) fn read(&mut self, response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        let most = (limit as u64).saturating_add(1);
        let mut reader = response.body.into_reader().take(most);
        reader.read_to_end(&mut body).map_err(|error| failure(ureq::Error::from(error)))?;
        if body.len() > limit {
            return Err(Failure::TooLarge);
        }
        self.keep_open();
        Ok(body)
    }

    /// The answer was read to its end: the connection serves again.
    pub(crate) fn keep_open(&mut self) {
        self.open_since = (!self.closes).then(Instant::now);
    }
}

/// The rest of an answer, as it comes.
pub(crate) struct Events {
    body: BodyReader<'static>,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Response {
    /// `limit`: the most data of one event that is kept.
    pub(crate) fn into_events(self, limit: usize) -> Events {
        const READ_AT_ONCE: usize = 16 * 1024;
        let decoder = Decoder::new(limit);
        Events { body: self.body.into_reader(), decoder, buffer: vec![0; READ_AT_ONCE] }
    }
}

impl Events {
    /// Waits for more. Returns how many bytes came: none after the end.
    pub(crate) fn read(&mut self, each: &mut dyn FnMut(Part<'_>)) -> Result<usize, Failure> {
        let came = self.body.read(&mut self.buffer);
        let came = came.map_err(|error| failure(ureq::Error::from(error)))?;
        self.decoder.feed(self.buffer.get(..came).unwrap_or_default(), each);
        Ok(came)
    }
}

fn failure(error: ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::TimedOut,
        other => Failure::Other(other),
    }
}
