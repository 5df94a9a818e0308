//! HTTP exchanges over ureq: one lane, one exchange at a time, one way to interrupt it.

mod door;
mod one_piece;
mod redirect;
mod retry_after;
mod settings;
mod sse;
#[cfg(feature = "tls")]
mod tls;
mod url;

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, AsSendBody, Body, BodyReader};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

use door::{Door, Lookup, Opener};
use redirect::{MOST_REDIRECTS, Redirect, decide};
use sse::Decoder;

pub(crate) use door::Host;
pub(crate) use settings::Settings;
pub(crate) use sse::{Event, MESSAGE, Part};
#[cfg(feature = "tls")]
pub(crate) use tls::certificate_problem;
pub(crate) use url::{has_bad_port, has_user_info, resolve, same_origin};

/// An agent of its own for one exchange at a time, so that ending the agent ends the exchange.
pub(crate) struct Lane {
    agent: Agent,
    door: Arc<Door>,
    /// When the last exchange left a connection open.
    open_since: Option<Instant>,
    /// The server closes the connection after this exchange.
    closes: bool,
}

/// Ends the exchange of a lane from another thread, and the lane with it.
pub(crate) struct Interrupt {
    agent: Agent,
    door: Arc<Door>,
}

impl Interrupt {
    /// Returns whether something of the exchange may have been sent.
    pub(crate) fn end(self) -> bool {
        let may_have_sent = self.door.abandon();
        self.agent.shutdown();
        may_have_sent
    }
}

/// For how long an idle connection is taken to be open still. ureq drops it then, too: one that it
/// kept for longer would be used where a new one is expected.
const STAYS_OPEN: Duration = Duration::from_secs(10);

const EVENT_STREAM: &str = "text/event-stream";

pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// Which thread carries an exchange, which decides what it may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The caller's: over an open connection only, as connecting cannot be interrupted.
    Caller,
    /// One of its own. Whoever waits for the exchange interrupts it at its deadline.
    Watched,
    /// One of its own, and nobody waits.
    Alone,
}

/// One request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Uri,
    pub(crate) headers: &'a Headers,
    pub(crate) body: &'a [u8],
    pub(crate) carrier: Carrier,
    pub(crate) until: Deadline,
}

/// The head of what came back, and the way to the rest.
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: HeaderMap,
    body: Body,
}

/// Why nothing came back.
pub(crate) enum Failure {
    /// The deadline passed.
    TimedOut,
    TooLarge,
    /// There is no open connection, and the caller's thread may not open one: nothing was sent.
    NotConnected,
    /// A redirect that is not followed.
    Refused(Error),
    Other(ureq::Error),
}

impl Lane {
    pub(crate) fn new(url: &Uri, settings: &Settings, host: &Arc<Host>) -> Self {
        let door = Arc::new(Door::new(host));
        let opener = Opener { door: door.clone(), inner: DefaultConnector::default() };
        let agent = Agent::with_parts(settings.config(url), opener, Lookup(door.clone()));
        Self { agent, door, open_since: None, closes: false }
    }

    /// Whether a connection is open: then the next exchange neither resolves nor connects.
    pub(crate) fn is_warm(&self) -> bool {
        self.open_since.is_some_and(|since| since.elapsed() < STAYS_OPEN)
    }

    /// For the exchange that is about to begin.
    pub(crate) fn interrupt(&self) -> Interrupt {
        self.door.reset();
        Interrupt { agent: self.agent.clone(), door: self.door.clone() }
    }

    /// Whether something of the exchange may have been sent.
    pub(crate) fn may_have_sent(&self) -> bool {
        self.door.may_have_sent()
    }

    /// Sends a request, and waits for the head of the answer. Follows the redirects that may be
    /// followed.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> Result<Response, Failure> {
        let mut redirected: Option<Uri> = None;
        for _ in 0..=MOST_REDIRECTS {
            let from = redirected.as_ref().unwrap_or(request.url);
            let response = self.send_to(from, request)?;
            if !matches!(response.status, 300..400) {
                return Ok(response);
            }
            match decide(from, response.status, response.text(&header::LOCATION)) {
                Redirect::Follow(target) => redirected = Some(target),
                Redirect::Refused(error) => return Err(Failure::Refused(error)),
            }
            self.finish(response);
        }
        let text = format!("the server redirects more than {MOST_REDIRECTS} times");
        let error = Error::new(ErrorKind::Unreachable, text);
        Err(Failure::Refused(error.hint("Ask the server's operator for its URL").ran(true)))
    }

    fn send_to(&mut self, url: &Uri, request: &Request<'_>) -> Result<Response, Failure> {
        let may_connect = request.carrier != Carrier::Caller;
        let mut sent = None;
        if self.is_warm() || !may_connect {
            self.door.begin(false, request.until);
            sent = Some(self.exchange(url, request)).filter(|_| !self.door.was_refused());
        }
        if sent.is_none() && may_connect {
            self.door.begin(true, request.until);
            sent = Some(self.exchange(url, request));
        }
        self.open_since = None;
        let sent = sent.ok_or(Failure::NotConnected)?;
        let (head, body) = sent.map_err(failure)?.into_parts();
        let closes = head.headers.get(header::CONNECTION).and_then(|value| value.to_str().ok());
        self.closes = closes.is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }

    fn exchange(
        &self,
        url: &Uri,
        request: &Request<'_>,
    ) -> Result<http::Response<Body>, ureq::Error> {
        match request.method {
            Method::POST => self.run(url, request, request.body),
            _ => self.run(url, request, ()),
        }
    }

    fn run(
        &self,
        url: &Uri,
        request: &Request<'_>,
        body: impl AsSendBody,
    ) -> Result<http::Response<Body>, ureq::Error> {
        let mut parts = http::Request::builder().method(&request.method).uri(url);
        if let Some(headers) = parts.headers_mut() {
            headers.extend(
                request.headers.iter().map(|(name, value)| (Some(name.clone()), value.clone())),
            );
        }
        let config = self.agent.configure_request(parts.body(body)?);
        let left = Some(request.until.remaining());
        let config = match request.carrier {
            Carrier::Watched => config.timeout_connect(left),
            Carrier::Caller | Carrier::Alone => config.timeout_global(left),
        };
        self.agent.run(config.build())
    }

    /// Reads the rest, at most `limit` bytes of it.
    pub(crate) fn read(&mut self, response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
        // What is announced is not always sent.
        const RESERVED: usize = 16 * 1024 * 1024;
        let announced = response.body.content_length().unwrap_or_default();
        let announced = usize::try_from(announced).unwrap_or(RESERVED);
        let mut body = Vec::with_capacity(announced.min(limit).min(RESERVED));
        let most = (limit as u64).saturating_add(1);
        let mut reader = response.body.into_reader().take(most);
        reader.read_to_end(&mut body).map_err(|error| failure(ureq::Error::from(error)))?;
        if body.len() > limit {
            return Err(Failure::TooLarge);
        }
        self.keep_open();
        Ok(body)
    }

    /// Reads a rest of no interest, if it is short, so that the connection can be used again.
    pub(crate) fn finish(&mut self, response: Response) {
        const SHORT: usize = 16 * 1024;
        if !response.is_events() {
            let _ = self.read(response, SHORT);
        }
    }

    /// The answer was read to its end: the connection serves again.
    pub(crate) fn keep_open(&mut self) {
        self.open_since = (!self.closes).then(Instant::now);
    }
}

impl Response {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The rest are events, and may not end for a long time.
    pub(crate) fn is_events(&self) -> bool {
        self.media_type().eq_ignore_ascii_case(EVENT_STREAM)
    }

    /// Without parameters, or empty.
    pub(crate) fn media_type(&self) -> &str {
        let full = self.text(&header::CONTENT_TYPE).unwrap_or_default();
        full.split(';').next().unwrap_or_default().trim()
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(self.text(&header::RETRY_AFTER)?, self.text(&header::DATE))
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.get(name)
    }

    fn text(&self, name: &HeaderName) -> Option<&str> {
        self.header(name)?.to_str().ok()
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
        let decoder = Decoder::new(limit);
        Events { body: self.body.into_reader(), decoder, buffer: vec![0; Events::FIRST_READ] }
    }
}

impl Events {
    /// Most streams are short.
    const FIRST_READ: usize = 1024;
    const LARGEST_READ: usize = 32 * 1024;

    /// The id to resume the stream from, or nothing.
    pub(crate) fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    /// How long the server wants a client to wait before it connects again.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.decoder.retry()
    }

    /// Waits for more. Returns how many bytes came: none after the end.
    pub(crate) fn read(&mut self, each: &mut dyn FnMut(Part<'_>)) -> Result<usize, Failure> {
        let came = self.body.read(&mut self.buffer);
        let came = came.map_err(|error| failure(ureq::Error::from(error)))?;
        self.decoder.feed(self.buffer.get(..came).unwrap_or_default(), each);
        if came == self.buffer.len() && came < Self::LARGEST_READ {
            self.buffer.resize(2 * came, 0);
        }
        Ok(came)
    }
}

fn failure(error: ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::TimedOut,
        other => Failure::Other(other),
    }
}
