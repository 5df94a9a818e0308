//! One request under way: its reply, what belongs to it meanwhile, its clocks, and its end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::deadline::{Clock, Clocks, Deadline};
use crate::error::{Error, ErrorKind, Refusal, Result};
use crate::protocol::envelope::{Kind, Message, Outcome};
use crate::protocol::meta::RequestMeta;
use crate::protocol::{
    ClientRequest, InputResponses, LogMessageParams, ProgressParams, ProtocolVersion,
};
use crate::session::cancel::{CancelToken, cancelled};
use crate::session::event::EventKind;
use crate::session::limiter::{Asks, Turn, no_turn};
use crate::session::listeners::Call;
use crate::session::own_code::own_code;
use crate::session::router::{Interest, Sending, Sent, TIMED_OUT};
use crate::session::standstill::Standstill;
use crate::session::{AnsweredBy, Session, unclear_reply};
use crate::transport::{Delivery, Notice, Slot};

/// Runs on the thread that waits for the request.
pub(crate) type Callback<'a, T> = Box<dyn FnMut(&T) + Send + 'a>;

/// How one request is to be made.
pub(crate) struct Options<'a> {
    pub(crate) timeout: Duration,
    pub(crate) max_total: Duration,
    /// The two, if they have begun to run before the request is sent.
    pub(crate) clocks: Option<Clocks>,
    pub(crate) restart_on_progress: bool,
    pub(crate) on_progress: Option<Callback<'a, ProgressParams>>,
    pub(crate) on_log: Option<Callback<'a, LogMessageParams>>,
    pub(crate) meta: RequestMeta,
    /// Headers that say what is in the arguments already, where the transport mirrors.
    pub(crate) mirror: Vec<(String, String)>,
    pub(crate) cancel: Option<CancelToken>,
    pub(crate) answered_by: AnsweredBy,
    /// That it cannot be sent is for whoever waits to hear.
    pub(crate) holds_failure: bool,
    /// The server is not told when the caller leaves.
    pub(crate) silent: bool,
    /// The library's own: it waits for its turn also where calls do not, and only while it is waited
    /// for.
    pub(crate) is_patient: bool,
}

impl Options<'_> {
    /// With these clocks, and nothing else that is out of the ordinary.
    pub(crate) fn new(timeout: Duration, max_total: Duration) -> Self {
        Self {
            timeout,
            max_total,
            clocks: None,
            restart_on_progress: false,
            on_progress: None,
            on_log: None,
            meta: RequestMeta::default(),
            mirror: Vec::new(),
            cancel: None,
            answered_by: AnsweredBy::Handlers,
            holds_failure: false,
            silent: false,
            is_patient: false,
        }
    }

    /// Something is to be heard of before the reply.
    fn listens(&self) -> bool {
        self.on_progress.is_some() || self.on_log.is_some() || self.restart_on_progress
    }
}

/// How often it is looked whether handlers still run.
const LOOKED_AFTER: Duration = Duration::from_millis(100);

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("timeout", &self.timeout)
            .field("max_total", &self.max_total)
            .finish_non_exhaustive()
    }
}

/// A request that has been sent. Dropped before its reply has come, it is cancelled.
pub(crate) struct PendingRequest<'a> {
    session: Arc<Session>,
    request: ClientRequest,
    options: Options<'a>,
    clocks: Clocks,
    slot: Slot,
    sent: Option<Sent>,
    /// Whoever wants to hear of the end of the whole call.
    call: Option<Call>,
    sent_at: Instant,
    progress: f64,
    /// Versions the request was sent again with, after the server refused another.
    retried: Vec<ProtocolVersion>,
    waits: bool,
    /// The reply, or what came instead, has been returned.
    is_over: bool,
    /// Why it could not be sent, if that is for whoever waits to hear.
    failure: Option<Error>,
    /// The server may have begun it when it was sent before.
    may_have_run: bool,
    /// Which of the connection's sessions it was sent in.
    generation: u64,
    /// The server had ended that, and it was sent in another.
    is_renewed: bool,
    /// The connection broke, and as it only asks, it was sent again.
    is_repeated: bool,
    /// What is being put into the slot has been waited for.
    is_overdue: bool,
    /// It is to be sent once it is its turn.
    is_due: bool,
    /// Where handlers run on other threads because of it, and for how long the clock stood still.
    standstill: Option<(Arc<Standstill>, Duration)>,
}

impl<'a> PendingRequest<'a> {
    /// Sends the request. `waits`: the caller will wait for it right away.
    pub(crate) fn start(
        session: &Arc<Session>,
        request: ClientRequest,
        options: Options<'a>,
        waits: bool,
    ) -> Result<Self> {
        let may_be_asked = session.may_be_asked();
        if request.tool_call().is_some() {
            session.router.counters.tool_calls.add(1);
        }
        let clocks = {
            let start = || Clocks::start(options.timeout, options.max_total);
            options.clocks.clone().unwrap_or_else(start)
        };
        let mut pending = Self {
            session: session.clone(),
            sent_at: clocks.started(),
            clocks,
            call: session.listeners().begin(&request),
            request,
            // Its clock moves: nothing else may watch that.
            slot: match options.listens() || may_be_asked {
                true => Slot::new(),
                false => Slot::for_replies(),
            },
            options,
            sent: None,
            progress: f64::NEG_INFINITY,
            retried: Vec::new(),
            waits,
            is_over: false,
            failure: None,
            may_have_run: false,
            generation: 0,
            is_renewed: false,
            is_repeated: false,
            is_overdue: false,
            is_due: false,
            standstill: may_be_asked.then(Default::default),
        };
        if let Err(error) = pending.begin() {
            match pending.options.holds_failure {
                true => pending.failure = Some(error),
                false => {
                    let error = pending.explain(error);
                    pending.conclude(Err(&error));
                    return Err(error);
                }
            }
        }
        Ok(pending)
    }

    /// Sends it, if need be in another session: the server may have ended the one before, or have
    /// ended itself.
    fn send_or_renew(&mut self) -> Result<()> {
        match self.send() {
            Ok(()) => Ok(()),
            Err(error) => self.send_anew(error).map_or(Ok(()), Err),
        }
    }

    /// The call is over, with this reply or without any.
    pub(crate) fn conclude(&mut self, outcome: std::result::Result<&Message, &Error>) {
        if let Some(call) = self.call.take() {
            call.end(outcome);
        }
    }

    /// Sends the request for the first time, once it is its turn.
    fn begin(&mut self) -> Result<()> {
        let mut sent = self.send();
        loop {
            // A server that has ended may be started again now.
            if let Some(error) = sent.err().and_then(|error| self.send_anew(error)) {
                return Err(error);
            }
            if !self.is_due || self.options.is_patient {
                return Ok(());
            }
            sent = self.send_in_turn(None).unwrap_or(Ok(()));
        }
    }

    /// Sends the request if it is its turn, or else while it is waited for. Every attempt passes here.
    fn send(&mut self) -> Result<()> {
        self.is_due = false;
        // No turn is spent on what cannot leave.
        if let Some(why) = self.session.why_lost() {
            self.generation = self.session.generation();
            return Err(why.refused(Refusal::UnknownSession).ran(false));
        }
        let turn = match self.session.turn_now(Asks::Call, self.options.cancel.as_ref()) {
            Err(error) if self.options.is_patient && error.kind() == ErrorKind::Limit => None,
            turn => turn?,
        };
        match turn {
            Some(turn) => self.send_now(turn),
            None => {
                (self.is_due, self.sent) = (true, None);
                Ok(())
            }
        }
    }

    /// Sends the request once it is its turn, for which it waits until `until` at most. Returns `None`
    /// if that has not come by then.
    fn send_in_turn(&mut self, until: Option<Deadline>) -> Option<Result<()>> {
        let end = self.end();
        let (_, clock, set_to) = self.clocks.next();
        let limit = until.map_or(end, |until| until.min(end));
        let cancel = self.options.cancel.as_ref();
        match self.session.turn(Asks::Call, limit, cancel, |_| ()) {
            Ok(None) if !end.has_passed() => None,
            Ok(turn) => {
                self.is_due = false;
                let error = || no_turn(clock.name(), set_to);
                Some(turn.ok_or_else(error).and_then(|turn| self.send_now(turn)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn send_now(&mut self, turn: Turn) -> Result<()> {
        let session = &*self.session;
        let options = &mut self.options;
        options.meta.progress = options.on_progress.is_some() || options.restart_on_progress;
        if options.meta.log_level.is_none() {
            options.meta.log_level = session.log_level();
        }
        session.trace(&mut options.meta);
        let progress = options.meta.progress;
        let (log, silent) = (options.on_log.is_some(), options.silent);
        let call = self.call.as_ref().map(Call::id);
        let interest = Interest { progress, log, silent, call, ..Interest::default() };
        let speaking = session.speaking();
        self.sent_at = Instant::now();
        self.generation = session.generation();
        let sending = Sending {
            request: &self.request,
            speaking: speaking.as_ref().map(|speaking| speaking.of(options.answered_by)),
            meta: &options.meta,
            mirror: &options.mirror,
            session: Some(self.generation),
            at: Some(self.sent_at),
            turn,
            interest,
            standstill: self.standstill.as_ref().map(|(standstill, _)| standstill),
            feed: None,
            waits: self.waits,
            until: self.clocks.next().0,
            cancel: options.cancel.as_ref(),
        };
        self.sent = Some(session.router.send(&self.slot, sending)?);
        Ok(())
    }

    /// 0, which is nobody's, before it has been sent.
    fn id(&self) -> u64 {
        self.sent.as_ref().map_or(0, |sent| sent.id)
    }

    /// Sends the request again, which the server refused for its headers, with others.
    pub(crate) fn send_again(&mut self, mirror: Vec<(String, String)>) -> Result<()> {
        self.options.mirror = mirror;
        self.send_or_renew()?;
        self.is_over = false;
        Ok(())
    }

    /// Sends the request again, with answers to what the server asked for.
    pub(crate) fn send_with(
        &mut self,
        answers: InputResponses,
        state: Option<String>,
    ) -> Result<()> {
        self.check_wanted()?;
        self.request.answer(answers, state).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("an answer cannot be written: {error}"))
        })?;
        // Each round can break by itself.
        (self.is_renewed, self.is_repeated) = (false, false);
        self.progress = f64::NEG_INFINITY;
        self.send_or_renew()?;
        self.is_over = false;
        Ok(())
    }

    /// Whether anything is to be done for the request any more. The server waits for nothing.
    pub(crate) fn check_wanted(&self) -> Result<()> {
        if self.options.cancel.as_ref().is_some_and(CancelToken::is_cancelled) {
            return Err(cancelled());
        }
        if let Some(error) = self.session.router.why_ended() {
            return Err(error.clone().ran(false));
        }
        let (end, clock, set_to) = self.clocks.next();
        if !end.has_passed() {
            return Ok(());
        }
        let (clock, advice) = (clock.name(), advice(clock));
        let text =
            format!("what the server asked for was not answered within {set_to:?} (`{clock}`)");
        Err(Error::new(ErrorKind::Timeout, text).hint(advice))
    }

    /// Runs the user's own code, during which `timeout` stands still.
    pub(crate) fn stand_still<R>(&mut self, run: impl FnOnce(Option<&CancelToken>) -> R) -> R {
        let token = self.options.cancel.as_ref();
        self.clocks.stand_still(|| own_code(|| run(token)))
    }

    /// Does nothing for a while, which the clocks and the cancel token may end.
    pub(crate) fn pause(&self, until: Deadline) -> Result<()> {
        let until = until.min(self.clocks.next().0);
        self.session.pause(until, self.options.cancel.as_ref())
    }

    pub(crate) fn answered_by(&self) -> AnsweredBy {
        self.options.answered_by
    }

    /// Sends the request again as it was, after its reply or what came instead.
    pub(crate) fn send_once_more(&mut self) -> Result<()> {
        (self.is_renewed, self.is_repeated, self.is_overdue) = (false, false, false);
        self.progress = f64::NEG_INFINITY;
        self.send_or_renew()?;
        self.session.router.counters.retries.add(1);
        self.is_over = false;
        Ok(())
    }

    /// Has it sent next as it was before the server asked for anything.
    pub(crate) fn forget_answers(&mut self) {
        self.request.forget_answers();
    }

    /// Whether the request can be sent again after a wait.
    pub(crate) fn may_go_on_after(&self, wait: Duration) -> bool {
        !self.session.has_ended() && !self.is_overdue && self.remaining() > wait
    }

    /// It will be sent again after a wait, because of an error or as its result was none to be content
    /// with.
    pub(crate) fn tell_retried(&self, error: Option<&Error>, wait: Duration) {
        let (listeners, method) = (self.session.listeners(), self.method());
        log::debug!("{}: {method} is made again in {wait:.1?}", self.server());
        if listeners.want(EventKind::Retried) {
            let mut body = listeners.body(EventKind::Retried, method);
            body.name = self.name().map(str::to_owned);
            body.duration = Some(wait);
            body.error = error.cloned();
            body.has_failed = true;
            listeners.tell(body);
        }
    }

    /// The clocks, for what the request has become.
    pub(crate) fn clocks(&self) -> (Clocks, bool) {
        (self.clocks.clone(), self.options.restart_on_progress)
    }

    /// How much time the clocks leave it.
    pub(crate) fn remaining(&self) -> Duration {
        self.clocks.next().0.remaining()
    }

    pub(crate) fn cancel_token(&self) -> Option<&CancelToken> {
        self.options.cancel.as_ref()
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    pub(crate) fn request(&self) -> &ClientRequest {
        &self.request
    }

    pub(crate) fn method(&self) -> &str {
        self.request.method()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.request.name()
    }

    pub(crate) fn may_require_input(&self) -> bool {
        self.request.may_require_input()
    }

    /// Adds what only the caller's side knows to an error.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let name = self.request.name().unwrap_or_default();
        let error = if self.may_have_run { error.ran(true) } else { error };
        let error = error.server(self.server()).about(self.request.method(), name);
        error.after(self.clocks.elapsed())
    }

    pub(crate) fn server(&self) -> &Arc<str> {
        self.session.server()
    }

    /// Waits until `until` at most, for the reply or whatever ends the request before it.
    pub(crate) fn wait(&mut self, until: Option<Deadline>) -> Option<Result<Message>> {
        if self.is_over {
            let error = Error::new(ErrorKind::InvalidInput, "the result was returned already");
            return Some(Err(self.explain(error)));
        }
        let end = match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.wait_for_end(until)?,
        };
        self.is_over = true;
        Some(end.map_err(|error| self.explain(error)))
    }

    fn wait_for_end(&mut self, until: Option<Deadline>) -> Option<Result<Message>> {
        // What has come already is not lost to a limit that has passed; what goes on coming is.
        let mut due = self.slot.len();
        loop {
            if self.is_due {
                if let Some(error) =
                    self.send_in_turn(until)?.err().and_then(|it| self.send_anew(it))
                {
                    return Some(Err(error));
                }
                continue;
            }
            let end = self.end();
            let limit = until.map_or(end, |until| until.min(end));
            let delivery = match self.session.router.transport() {
                Ok(transport) => transport.next(self.id(), &self.slot, limit),
                Err(error) => return Some(Err(error)),
            };
            match delivery {
                Some(Delivery::Notice(notice)) => {
                    self.notice(&notice);
                    if self.end().has_passed() {
                        if let Some(error) = self.time_out() {
                            return Some(Err(error));
                        }
                    } else if limit.has_passed() && due == 0 {
                        return None;
                    }
                    due = due.saturating_sub(1);
                }
                Some(Delivery::Reply(id, reply)) if id == self.id() => {
                    self.log_reply(&reply);
                    if let Some(outcome) = self.outcome(reply) {
                        return Some(outcome);
                    }
                }
                Some(Delivery::Failed(id, error)) if id == self.id() => {
                    if let Some(error) = self.send_anew(error) {
                        return Some(Err(error));
                    }
                }
                Some(_) => {}
                None if self.end().has_passed() => {
                    if let Some(error) = self.time_out() {
                        return Some(Err(error));
                    }
                }
                None if limit == end => {}
                None => return None,
            }
        }
    }

    /// Until when to wait at most, before looking again.
    fn end(&mut self) -> Deadline {
        let Some((standstill, counted)) = &mut self.standstill else { return self.clocks.next().0 };
        let (stood_still, goes_on) = standstill.so_far();
        self.clocks.set_back(stood_still.saturating_sub(*counted));
        *counted = stood_still;
        let (end, ..) = self.clocks.next();
        match goes_on {
            true => end.max(Deadline::after(LOOKED_AFTER)).min(self.clocks.total()),
            false => end,
        }
    }

    /// Sends the request again after a failure that cannot have done anything, once for each such
    /// reason. Returns why there is no reply, if not.
    fn send_anew(&mut self, error: Error) -> Option<Error> {
        let is_over = error.refusal() == Some(Refusal::UnknownSession);
        if is_over && !self.is_renewed && (!error.may_have_run() || self.request.is_read()) {
            self.is_renewed = true;
            self.may_have_run |= error.may_have_run();
            // This time it has not left.
            return self.renew().err().map(|error| error.ran(false));
        }
        // HTTP-12: an exchange that broke was this request's own.
        let broke = error.kind() == ErrorKind::Disconnected && self.session.answers_or_fails();
        if broke && !is_over && !self.is_repeated && self.request.is_read() {
            log::debug!("{}: sent again: {error}", self.server());
            self.is_repeated = true;
            self.may_have_run |= error.may_have_run();
            return self.send_or_renew().err();
        }
        Some(error)
    }

    /// LHTTP-8, LHTTP-9: in another session, as the server has ended the one it was sent in.
    fn renew(&mut self) -> Result<()> {
        let cancel = self.options.cancel.as_ref();
        let renewed = self.session.renew(self.generation, &self.slot, &self.clocks, cancel);
        renewed.and_then(|()| self.send())
    }

    /// Leaves the request. Returns `None` if its reply, or what ended it, came just now and is
    /// being put into the slot: then there is a moment more to take it.
    fn time_out(&mut self) -> Option<Error> {
        const MOMENT: Duration = Duration::from_secs(1);
        let (_, clock, set_to) = self.clocks.next();
        let ran = match self.session.router.withdraw(self.id(), TIMED_OUT) {
            Some(ran) => ran,
            None if self.is_overdue => true,
            None => {
                self.is_overdue = true;
                self.clocks.extend(MOMENT);
                return None;
            }
        };
        let (clock, advice) = (clock.name(), advice(clock));
        let message = match ran {
            true => format!("no reply within {set_to:?} (`{clock}`); the server was told to stop"),
            false if self.session.answers_or_fails() => {
                format!("no connection within {set_to:?} (`{clock}`): nothing was sent")
            }
            false => format!("not sent within {set_to:?} (`{clock}`): the server does not read"),
        };
        let error = Error::new(ErrorKind::Timeout, message).hint(advice).ran(ran);
        Some(self.session.router.overdue(error))
    }

    /// The reply as a result, or `None` if the request was sent again.
    fn outcome(&mut self, reply: Message) -> Option<Result<Message>> {
        let Kind::Response { outcome, .. } = reply.kind() else {
            return Some(
                Err(Error::new(ErrorKind::Protocol, "the reply is no response").ran(true)),
            );
        };
        match outcome {
            Outcome::Result => Some(Ok(reply)),
            Outcome::Unclear => Some(Err(unclear_reply().ran(true))),
            Outcome::Error => {
                let error = reply.rpc_error();
                match self.session.version_to_retry(&error, &self.retried) {
                    Some(version) => {
                        self.retried.push(version);
                        self.session.use_version(version);
                        self.send_or_renew().err().map(Err)
                    }
                    None => Some(Err(Error::from_rpc(error))),
                }
            }
        }
    }

    fn notice(&mut self, notice: &Notice) {
        let message = notice.message();
        let Kind::Notification { method } = message.kind() else { return };
        if method == "notifications/progress" {
            let Ok(params) = message.parse::<ProgressParams>() else { return };
            if params.progress <= self.progress {
                log::debug!(
                    "{}: dropped progress that does not grow",
                    self.session.router.server()
                );
                return;
            }
            self.progress = params.progress;
            if self.options.restart_on_progress {
                self.clocks.restart_timeout();
            }
            if let Some(on_progress) = &mut self.options.on_progress {
                self.clocks.stand_still(|| own_code(|| on_progress(&params)));
            }
        } else if let (Ok(params), Some(on_log)) = (message.parse(), &mut self.options.on_log) {
            self.clocks.stand_still(|| own_code(|| on_log(&params)));
        }
    }

    fn log_reply(&self, reply: &Message) {
        log::debug!(
            "{}: <- {} {} ({} bytes, {:?})",
            self.session.router.server(),
            self.request.method(),
            self.id(),
            reply.len(),
            self.sent_at.elapsed(),
        );
    }
}

/// What to do about a clock that has run out.
fn advice(clock: Clock) -> &'static str {
    match clock {
        Clock::Timeout => "Raise `timeout`, or let progress restart it",
        Clock::MaxTotal => "Raise `max_total`",
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.session.router.withdraw(self.id(), "no longer wanted");
        }
    }
}

impl fmt::Debug for PendingRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingRequest")
            .field("method", &self.request.method())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
