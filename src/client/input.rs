//! Input rounds: a server of the modern era answers a call with questions, and is sent the call again
//! with the answers.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::Client;
use crate::client::cache::Flight;
use crate::client::handlers::INVALID_PARAMS;
use crate::client::notification::Context;
use crate::deadline::{Deadline, backoff};
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::protocol::envelope::Message;
use crate::protocol::{
    ElicitParams, InputRequest, InputRequests, InputRequiredResult, InputResponse, InputResponses,
    UrlElicitationRequired,
};
use crate::session::{AnsweredBy, CancelToken, PendingRequest, Refusal};

/// The error of a legacy server that wants URLs visited before the request is made again.
pub(super) const URL_REQUIRED: i64 = -32042;

/// The rounds of one call.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// How often the server has asked for something.
    count: usize,
    /// Answers of an earlier call were sent at once.
    is_resumed: bool,
    /// A server that only wants to be asked again is, then, and with this state.
    again: Option<(Deadline, Option<String>)>,
    /// What is to become of the result, if it may be kept.
    flight: Option<Flight>,
}

impl Rounds {
    pub(super) fn new(is_resumed: bool) -> Self {
        Self { is_resumed, ..Self::default() }
    }

    /// Answers what the server asks for in a reply, and sends the call again. Runs handlers on this
    /// thread, while the call's `timeout` stands still.
    pub(super) fn answer(
        &mut self,
        client: &Client,
        call: &mut PendingRequest<'_>,
        reply: &Message,
    ) -> Result<()> {
        self.count += 1;
        // CACHE-4, MRTR-20: nobody else is to have the result, nor to wait while somebody is asked.
        if let Some(flight) = self.flight.take() {
            flight.share_nothing();
        }
        let round: InputRequiredResult = reply.parse().map_err(|error| {
            let text = format!("what the server asks for is malformed: {}", misfit(&error));
            Error::new(ErrorKind::Protocol, text).ran(true)
        })?;
        // MRTR-3
        if round.input_requests.is_none() && round.request_state.is_none() {
            let text = "the server asks for input, and does not say for which";
            return Err(Error::new(ErrorKind::Protocol, text).ran(true));
        }
        let questions = round.input_requests.unwrap_or_default();
        check(client, &questions, call.answered_by()).map_err(|error| {
            let hint = match call.answered_by() {
                AnsweredBy::Caller => "Answer with `Request::answers`",
                _ => "Set a handler on the client's builder, or answer with `Request::answers`",
            };
            match reply.parse::<Box<RawValue>>() {
                Ok(asked) => error.hint(hint).asks(asked),
                Err(_) => error.hint(hint),
            }
        })?;
        self.check_limits(client, &questions)?;
        if questions.is_empty() {
            self.again = Some((Deadline::after(self.backoff()), round.request_state));
            return Ok(());
        }
        let mut answers = InputResponses::new();
        for (key, question) in questions {
            call.check_wanted()?;
            let answer = call.stand_still(|token| answer(client, token, &question))?;
            answers.insert(key, answer);
        }
        call.send_with(answers, round.request_state)
    }

    /// Counts what is asked for otherwise.
    pub(super) fn count(&mut self, client: &Client, questions: &InputRequests) -> Result<()> {
        self.count += 1;
        self.check_limits(client, questions)
    }

    /// MRTR-6: waits for the moment that a server gets before it is asked again, until `until` at
    /// most. Returns `None` if it has not come by then.
    pub(super) fn wait(
        &mut self,
        call: &mut PendingRequest<'_>,
        until: Option<Deadline>,
    ) -> Option<Result<()>> {
        let Some((at, state)) = self.again.take() else { return Some(Ok(())) };
        if let Err(error) = call.pause(until.map_or(at, |until| until.min(at))) {
            // Nothing is under way: the server has answered.
            return Some(Err(error.ran(false)));
        }
        if at.has_passed() || call.check_wanted().is_err() {
            return Some(call.send_with(InputResponses::new(), state));
        }
        self.again = Some((at, state));
        None
    }

    /// MRTR-16
    fn check_limits(&self, client: &Client, questions: &InputRequests) -> Result<()> {
        let limits = &client.inner.server.limits;
        if self.count > limits.input_rounds {
            let (most, names) = (limits.input_rounds, names(questions));
            let text = format!("the server has asked {most} times, and asks again: {names}");
            let error = Error::new(ErrorKind::Limit, text);
            return Err(error.hint("Raise `Limits::input_rounds` if that is expected"));
        }
        let (count, most) = (questions.len(), limits.handlers.max(1));
        if count > most {
            let text = format!("the server asks for {count} things at once, of at most {most}");
            let error = Error::new(ErrorKind::Limit, text);
            return Err(error.hint("Raise `Limits::handlers` if that is expected"));
        }
        Ok(())
    }

    fn backoff(&self) -> Duration {
        const FIRST: Duration = Duration::from_millis(50);
        const MOST: Duration = Duration::from_secs(2);
        backoff(FIRST, u32::try_from(self.count).unwrap_or(u32::MAX), MOST)
    }

    /// Lets the result be kept, if the server asks for nothing.
    pub(super) fn keep(&mut self, flight: Flight) {
        self.flight = Some(flight);
    }

    pub(super) fn take_flight(&mut self) -> Option<Flight> {
        self.flight.take()
    }

    /// A server that has asked again has done something with the answers before.
    pub(super) fn explain(&self, error: Error) -> Error {
        let has_acted = self.count + usize::from(self.is_resumed) > 1;
        match has_acted {
            true => error.ran(true),
            false => error,
        }
    }
}

/// Fails if nobody is there to answer.
pub(super) fn check(
    client: &Client,
    questions: &InputRequests,
    answered_by: AnsweredBy,
) -> Result<()> {
    let handlers = &client.inner.handlers;
    let is_answered = |question| answered_by == AnsweredBy::Handlers && handlers.handles(question);
    if questions.values().all(is_answered) {
        return Ok(());
    }
    let who = match answered_by {
        AnsweredBy::Caller => "the caller is to answer",
        _ => "nobody is there to answer",
    };
    let text = format!("the server asks for {}, and {who}", names(questions));
    Err(Error::new(ErrorKind::InputRequired, text))
}

/// Has a handler answer, on this thread, what is asked in a call or in its task.
pub(super) fn answer(
    client: &Client,
    token: Option<&CancelToken>,
    question: &InputRequest,
) -> Result<InputResponse> {
    let answer = client.inner.handlers.answer(question, &Context::of_call(client, token));
    answer.map_err(|refusal| unanswered(question, &refusal))
}

/// MRTR-19: there is no word for "no" that the server would understand.
fn unanswered(question: &InputRequest, refusal: &Refusal) -> Error {
    let text = format!("no answer to {}: {}", question.method(), refusal.text);
    let kind = match refusal.code {
        _ if refusal.is_declined() => ErrorKind::Declined,
        // SAMP-8: what is wrong is the question.
        INVALID_PARAMS => ErrorKind::Protocol,
        _ => ErrorKind::InvalidInput,
    };
    Error::new(kind, text)
}

/// What is asked for, in the order of the server's keys.
fn names(questions: &InputRequests) -> String {
    const MOST: usize = 5;
    let mut names: Vec<String> = questions
        .iter()
        .take(MOST)
        .map(|(key, question)| format!("{} ({:?})", said(question.method()), said(key)))
        .collect();
    match questions.len() {
        0 => "another try".to_owned(),
        count if count > MOST => {
            names.push("…".to_owned());
            names.join(", ")
        }
        _ => names.join(", "),
    }
}

/// Has the user visit what a legacy server's error lists.
pub(super) fn visit(client: &Client, token: Option<&CancelToken>, error: &Error) {
    let (handlers, context) = (&client.inner.handlers, Context::of_call(client, token));
    let listed = error.rpc().and_then(|rpc| rpc.data_as::<UrlElicitationRequired>());
    let listed = listed.into_iter().flat_map(|it| it.elicitations);
    for elicitation in listed.take(client.inner.server.limits.handlers) {
        let question = InputRequest::Elicit(elicitation);
        if context.is_cancelled() {
            return;
        }
        if let InputRequest::Elicit(ElicitParams::Url(_)) = question
            && handlers.handles(&question)
            && let Err(refusal) = handlers.answer(&question, &context)
        {
            log::warn!("a URL was not visited: {}", refusal.text);
        }
    }
}

impl Error {
    /// Returns what the server asks for, of an error of kind
    /// [`InputRequired`](ErrorKind::InputRequired). It can be stored (it is
    /// [`Serialize`](serde::Serialize)), and answered with
    /// [`Request::answers`](crate::Request::answers) in this program or another.
    pub fn input_required(&self) -> Option<InputRequiredResult> {
        serde_json::from_str(self.asked()?.get()).ok()
    }
}
