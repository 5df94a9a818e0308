//! One request and its reply: the POST, what its answer is, and what becomes of a stream that broke.

use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Method, Uri};

use crate::deadline::{Deadline, backoff};
use crate::error::{Error, ErrorKind, Refusal, Result, said};
use crate::net::{
    Carrier, Event, Events, Failure, Headers, Lane, MESSAGE, Part, Request, Response,
};
use crate::protocol::skim::Skim;

use super::lanes::Key;
use super::status::{Refused, broken};
use super::{Shared, headers};

/// How long opening a connection may take for the rest of a stream.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);

pub(super) struct Exchange {
    pub(super) id: u64,
    pub(super) lane: Lane,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) until: Deadline,
    pub(super) is_initialize: bool,
    /// No session has begun before.
    pub(super) is_first: bool,
    pub(super) asks_era: bool,
    pub(super) had_session: bool,
    /// Where it goes to, over HTTP+SSE.
    pub(super) endpoint: Option<Uri>,
    pub(super) step: Step,
}

/// What is to be done next.
pub(super) enum Step {
    Post,
    /// The stream of the reply broke, and can be resumed.
    Resume(Resume),
    /// The server does not know `initialize`, and answered this. It may speak HTTP+SSE.
    OtherTransport(Refused),
}

/// Where to go on with a stream.
#[derive(Default)]
pub(super) struct Resume {
    pub(super) last_event_id: String,
    /// How long the server wants a client to wait.
    pub(super) retry: Option<Duration>,
    /// How often that failed since the stream last said something.
    pub(super) failures: u32,
}

impl Resume {
    const MOST_FAILURES: u32 = 5;

    /// LHTTP-25, LHTTP-28: as the server says, else longer each time. Nothing makes it a busy loop.
    pub(super) fn wait(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(10);
        const FIRST: Duration = Duration::from_millis(500);
        const MOST: Duration = Duration::from_secs(30);
        let wait = backoff(FIRST, self.failures.saturating_add(1), MOST);
        match (self.retry, self.failures) {
            (Some(retry), 0) => retry.max(LEAST),
            (Some(retry), _) => retry.max(wait),
            (None, _) => wait,
        }
    }

    /// Nothing came of it. Returns whether to go on.
    pub(super) fn fail(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures < Self::MOST_FAILURES
    }

    /// What a stream said before it ended. Returns whether to go on.
    pub(super) fn note(&mut self, events: &Events, has_spoken: bool) -> bool {
        let id = events.last_event_id();
        let goes_on = !id.is_empty() && id != self.last_event_id;
        if goes_on {
            id.clone_into(&mut self.last_event_id);
        }
        self.retry = events.retry().or(self.retry);
        if has_spoken || goes_on {
            self.failures = 0;
            return true;
        }
        self.fail()
    }
}

/// What may be the reply.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) media_type: String,
    pub(super) body: Vec<u8>,
}

/// Why there is nothing to hand over.
pub(super) enum Stop {
    Failed(Error),
    /// Who waits knows why, or has left.
    Silent,
    /// The exchange goes on with its next step.
    Next,
    /// The exchange goes on, where it may connect.
    Elsewhere,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

/// How a stream went.
enum Heard {
    Reply,
    /// It ended.
    End {
        /// It said something before.
        has_spoken: bool,
        why: Option<ureq::Error>,
    },
}

impl Shared {
    /// Runs an exchange on a thread of its own.
    pub(super) fn start(self: &Arc<Self>, exchange: Exchange) -> Result<()> {
        let (id, shared) = (exchange.id, self.clone());
        let started =
            self.threads.spawn("umcp-http", move || drop(shared.run(exchange, Carrier::Watched)));
        started.map(drop).map_err(|error| {
            let ran = self.interrupt(Key::Request(id));
            Error::new(ErrorKind::Limit, format!("no thread for the request: {error}")).ran(ran)
        })
    }

    /// Runs one exchange and hands over what came of it. Returns an exchange that this thread must
    /// not carry any further.
    pub(super) fn run(
        self: &Arc<Self>,
        mut exchange: Exchange,
        carrier: Carrier,
    ) -> Option<Exchange> {
        let outcome = self.carry(&mut exchange, carrier);
        match outcome {
            Err(Stop::Elsewhere) => return Some(exchange),
            // Whoever leaves it finds out here what was sent.
            Err(Stop::Silent) => return None,
            _ => {}
        }
        let Exchange { id, lane, .. } = exchange;
        self.release(Key::Request(id), lane);
        let inbox = self.inbox.upgrade()?;
        match outcome {
            Ok(Some(Answer { status, media_type, body })) => {
                let bytes = body.len();
                // One that is no response to this request must not leave its caller waiting.
                if inbox.message(body, Some(id)) != Some(id) {
                    inbox.ended(Some(id), no_response(status, &media_type, bytes));
                }
            }
            Err(Stop::Failed(error)) => inbox.ended(Some(id), error),
            Ok(None) | Err(_) => {}
        }
        None
    }

    /// Returns an answer that is left to be handed over, as events are while they come.
    fn carry(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        carrier: Carrier,
    ) -> Result<Option<Answer>, Stop> {
        loop {
            let step = std::mem::replace(&mut exchange.step, Step::Post);
            let outcome = match step {
                Step::Post => self.post(exchange, carrier),
                step if carrier == Carrier::Caller => {
                    exchange.step = step;
                    return Err(Stop::Elsewhere);
                }
                Step::Resume(resume) => self.resume(exchange, resume).map(|()| None),
                Step::OtherTransport(refused) => self.try_http_sse(exchange, refused),
            };
            match outcome {
                Err(Stop::Next) => {}
                outcome => return outcome,
            }
        }
    }

    fn post(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        carrier: Carrier,
    ) -> Result<Option<Answer>, Stop> {
        let lane = &mut exchange.lane;
        let sent = lane.send(&Request {
            method: Method::POST,
            url: exchange.endpoint.as_ref().unwrap_or(&self.url),
            headers: &exchange.headers,
            body: &exchange.body,
            carrier,
            until: exchange.until,
        });
        let response = match sent {
            Ok(response) => response,
            Err(failure) => {
                return Err(match self.stop(failure) {
                    Stop::Failed(error) if !lane.may_have_sent() => Stop::Failed(error.ran(false)),
                    stop => stop,
                });
            }
        };
        if exchange.is_initialize {
            // LHTTP-4: of an answer that begins a session. SSE-7: over HTTP+SSE there is none.
            let begins = response.is_success() && exchange.endpoint.is_none();
            let offered = response.header(&headers::SESSION).filter(|_| begins);
            self.lock().terms.offered = offered.cloned();
        }
        if !response.is_success() {
            let refused = self.refused(lane, response, exchange.had_session);
            if exchange.is_first && exchange.endpoint.is_none() && refused.may_be_http_sse() {
                exchange.step = Step::OtherTransport(refused);
                return Err(Stop::Next);
            }
            return Ok(Some(match exchange.asks_era {
                true => refused.reply_on_era()?,
                false => refused.reply()?,
            }));
        }
        if exchange.endpoint.is_some() {
            // SSE-6: the reply comes on the stream.
            lane.finish(response);
            return Ok(None);
        }
        if response.is_events() {
            return self.read_reply(exchange, response, Resume::default()).map(|()| None);
        }
        let (status, media_type) = (response.status, response.media_type().to_owned());
        let body = lane.read(response, self.limits.message).map_err(|it| self.stop(it))?;
        Ok(Some(Answer { status, media_type, body }))
    }

    fn try_http_sse(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        refused: Refused,
    ) -> Result<Option<Answer>, Stop> {
        match self.find_endpoint(exchange.until) {
            Ok(endpoint) => {
                exchange.endpoint = Some(endpoint);
                Err(Stop::Next)
            }
            // The session's own clock says so.
            Err(_) if exchange.until.has_passed() => Err(Stop::Silent),
            // It is one, or wants credentials first.
            Err(why) if matches!(why.kind(), ErrorKind::Protocol | ErrorKind::Authorization) => {
                Err(Stop::Failed(why))
            }
            // ERA-36
            Err(why) => {
                log::debug!("no HTTP+SSE either: {why}");
                Ok(Some(refused.reply()?))
            }
        }
    }

    /// Hands over what an event stream says, up to the reply.
    fn read_reply(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        response: Response,
        mut resume: Resume,
    ) -> Result<(), Stop> {
        let mut events = response.into_events(self.limits.message);
        let (has_spoken, why) = match self.hear(exchange.id, &mut events) {
            Ok(Heard::Reply) => {
                self.drain(exchange.id, &mut exchange.lane, events);
                return Ok(());
            }
            Ok(Heard::End { has_spoken, why }) => (has_spoken, why),
            Err(failure) => return Err(self.stop(failure)),
        };
        if !self.is_wanted(Key::Request(exchange.id)) {
            return Err(Stop::Silent);
        }
        let may_resume = self.lock().terms.version.is_some();
        let goes_on = resume.note(&events, has_spoken);
        if may_resume && goes_on && !resume.last_event_id.is_empty() {
            exchange.step = Step::Resume(resume);
            return Err(Stop::Next);
        }
        Err(Stop::Failed(match why {
            Some(error) => cut_short(error),
            None => cut_short("it ended"),
        }))
    }

    /// LHTTP-23: asks for the rest of a stream.
    fn resume(self: &Arc<Self>, exchange: &mut Exchange, mut resume: Resume) -> Result<(), Stop> {
        let key = Key::Request(exchange.id);
        loop {
            if !self.pause(key, resume.wait()) {
                return Err(Stop::Silent);
            }
            let terms = self.lock().terms.clone();
            let own = self.own_headers().map_err(|error| error.ran(true))?;
            let request = Request {
                method: Method::GET,
                url: &self.url,
                headers: &headers::of_stream(&terms, &resume.last_event_id, own),
                body: &[],
                carrier: Carrier::Watched,
                // Progress may have moved the clock of whoever waits.
                until: exchange.until.max(Deadline::after(RESUMED_WITHIN)),
            };
            let why = match exchange.lane.send(&request) {
                Ok(response) if response.is_success() && response.is_events() => {
                    return self.read_reply(exchange, response, resume);
                }
                // LHTTP-29
                Ok(response) if response.status < 500 => {
                    let has_session = terms.session.is_some();
                    let refused = self.refused(&mut exchange.lane, response, has_session).error();
                    return Err(Stop::Failed(match refused.refusal() {
                        Some(Refusal::UnknownSession) => refused.ran(true),
                        _ => cut_short(refused),
                    }));
                }
                Ok(response) => self.refused(&mut exchange.lane, response, false).error(),
                Err(Failure::Other(error)) => broken(error),
                Err(Failure::TimedOut) => Error::new(ErrorKind::Timeout, "no connection in time"),
                Err(failure) => return Err(self.stop(failure)),
            };
            if !self.is_wanted(key) {
                return Err(Stop::Silent);
            }
            if !resume.fail() {
                return Err(Stop::Failed(cut_short(why)));
            }
        }
    }

    /// Hands over what the stream of a request's own says.
    fn hear(self: &Arc<Self>, id: u64, events: &mut Events) -> Result<Heard, Failure> {
        let mut skim = Skim::default();
        let mut is_answered = false;
        let mut has_spoken = false;
        while !is_answered {
            let came = events.read(&mut |part| {
                // HTTP-6: what follows the reply is nobody's. Without an inbox all of it is.
                let Some(inbox) = self.inbox.upgrade().filter(|_| !is_answered) else {
                    return is_answered = true;
                };
                has_spoken = true;
                self.set_under_way(id, false);
                is_answered = match part {
                    // An event without data only sets an id.
                    Part::Event(Event { kind, data }) if kind == MESSAGE && !data.is_empty() => {
                        inbox.message(data, Some(id)) == Some(id)
                    }
                    Part::Event(_) => false,
                    Part::Piece(piece) => {
                        skim.feed(piece);
                        false
                    }
                    Part::TooLong { kind, bytes } => {
                        let answers = std::mem::take(&mut skim).answers();
                        let answers = answers.filter(|it| *it == id && kind == MESSAGE);
                        inbox.too_long(answers, bytes);
                        answers.is_some()
                    }
                };
                self.set_under_way(id, !is_answered);
            });
            let (came, why) = match came {
                Ok(came) => (came, None),
                Err(Failure::Other(error)) => (0, Some(error)),
                Err(failure) => return Err(failure),
            };
            // A socket that was shut down still holds all that has arrived, perhaps megabytes.
            if !is_answered && (came == 0 || !self.hears(id)) {
                return Ok(Heard::End { has_spoken, why });
            }
        }
        Ok(Heard::Reply)
    }

    /// Where messages go to.
    pub(super) fn endpoint(&self) -> Uri {
        self.lock().terms.endpoint.clone().unwrap_or_else(|| self.url.clone())
    }

    /// Reads what came instead of a success.
    pub(super) fn refused(
        &self,
        lane: &mut Lane,
        response: Response,
        had_session: bool,
    ) -> Refused {
        let (status, retry_after) = (response.status, response.retry_after());
        const MOST: usize = 1024 * 1024;
        let most = MOST.min(self.limits.message);
        let media_type = response.media_type().to_owned();
        // An error that may have no end is not read.
        let body = match response.is_events() {
            true => Vec::new(),
            false => lane.read(response, most).unwrap_or_default(),
        };
        Refused { answer: Answer { status, media_type, body }, retry_after, had_session }
    }

    fn stop(&self, failure: Failure) -> Stop {
        match failure {
            // The session's own clock says so.
            Failure::TimedOut => Stop::Silent,
            Failure::TooLarge => {
                let most = self.limits.message;
                let text = format!("the server sent an answer of more than {most} bytes");
                let error = Error::new(ErrorKind::Limit, text).ran(true);
                Stop::Failed(error.hint("Raise `Limits::message` if that is expected"))
            }
            Failure::NotConnected => Stop::Elsewhere,
            Failure::Refused(error) => Stop::Failed(error),
            Failure::Other(error) => Stop::Failed(broken(error)),
        }
    }
}

/// Whatever it is, it answers nothing.
fn no_response(status: u16, media_type: &str, bytes: usize) -> Error {
    let what = match (bytes, media_type) {
        (0, _) => "without a body".to_owned(),
        (_, "") => format!("and {bytes} bytes of no stated type"),
        _ => format!("and {bytes} bytes of {}", said(media_type)),
    };
    let text = format!("the server answered with HTTP {status} {what}: no response to the request");
    Error::new(ErrorKind::Protocol, text).hint("Is this the URL of an MCP endpoint?").ran(true)
}

/// HTTP-11: nothing brings the reply back.
fn cut_short(why: impl std::fmt::Display) -> Error {
    let text = format!("the server's event stream broke before the reply: {why}");
    Error::new(ErrorKind::Disconnected, text).hint("Ask again, if that does no harm").ran(true)
}
