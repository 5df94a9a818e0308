//! Input rounds: a server of the modern era answers a call with questions, and is sent the call again
//! with the answers.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::Client;
use crate::client::notification::Context;
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::protocol::envelope::Message;
use crate::protocol::{
    ElicitParams, InputRequest, InputRequests, InputRequiredResult, InputResponses,
    UrlElicitationRequired,
};
use crate::session::PendingRequest;

/// The error of a legacy server that wants URLs visited before the request is made again.
pub(super) const URL_REQUIRED: i64 = -32042;

/// How often one call has been answered with questions.
#[derive(Debug, Default)]
pub(super) struct Rounds(usize);

impl Rounds {
    /// Answers what the server asks for in a reply, and sends the call again. Runs handlers on this
    /// thread, while the call's `timeout` stands still.
    pub(super) fn answer(
        &mut self,
        client: &Client,
        call: &mut PendingRequest<'_>,
        reply: &Message,
    ) -> Result<()> {
        let round: InputRequiredResult = reply.parse().map_err(|error| {
            let text = format!("what the server asks for is malformed: {}", misfit(&error));
            Error::new(ErrorKind::Protocol, text)
        })?;
        // MRTR-3
        if round.input_requests.is_none() && round.request_state.is_none() {
            let text = "the server asks for input, and does not say for which";
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        let questions = round.input_requests.unwrap_or_default();
        check(client, &questions, call.is_headless()).map_err(|error| {
            let hint = "Set a handler on the client's builder, or answer with `Request::answers`";
            match reply.parse::<Box<RawValue>>() {
                Ok(asked) => error.hint(hint).asks(asked),
                Err(_) => error.hint(hint),
            }
        })?;
        self.count(client, &questions)?;
        if questions.is_empty() {
            call.pause(self.backoff())?;
        }
        let answers = call.stand_still(|| answer(client, &questions))?;
        call.send_with(answers, round.request_state)
    }

    /// MRTR-16
    pub(super) fn count(&mut self, client: &Client, questions: &InputRequests) -> Result<()> {
        self.0 += 1;
        let most = client.inner.server.limits.input_rounds;
        if self.0 <= most {
            return Ok(());
        }
        let text =
            format!("the server has asked {most} times, and asks again: {}", names(questions));
        let error = Error::new(ErrorKind::Limit, text).ran(true);
        Err(error.hint("Raise `Limits::input_rounds` if that is expected"))
    }

    /// MRTR-6: a server that only wants to be asked again gets a moment.
    fn backoff(&self) -> Duration {
        const FIRST: Duration = Duration::from_millis(50);
        const MOST: Duration = Duration::from_secs(2);
        let doubled = u32::try_from(self.0).unwrap_or(u32::MAX).min(10);
        FIRST.saturating_mul(1 << doubled.saturating_sub(1)).min(MOST)
    }
}

/// Fails if nobody is there to answer.
pub(super) fn check(client: &Client, questions: &InputRequests, is_headless: bool) -> Result<()> {
    let handlers = &client.inner.handlers;
    if questions.values().all(|question| !is_headless && handlers.handles(question)) {
        return Ok(());
    }
    let text = format!("the server asks for {}, and nobody is there to answer", names(questions));
    Err(Error::new(ErrorKind::InputRequired, text))
}

/// Runs handlers on this thread.
pub(super) fn answer(client: &Client, questions: &InputRequests) -> Result<InputResponses> {
    let context = Context::new(client);
    let answer = |(key, question): (&String, &InputRequest)| {
        let answer = client.inner.handlers.answer(question, &context);
        // MRTR-19: there is no word for "no" that the server would understand.
        let answer = answer.map_err(|refusal| {
            let text = format!("no answer to {}: {}", question.method(), refusal.text);
            let kind = match refusal.is_declined() {
                true => ErrorKind::Declined,
                false => ErrorKind::InvalidInput,
            };
            Error::new(kind, text).ran(false)
        })?;
        Ok((key.clone(), answer))
    };
    questions.iter().map(answer).collect()
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
pub(super) fn visit(client: &Client, error: &Error) {
    let listed = error.rpc().and_then(|rpc| rpc.data_as::<UrlElicitationRequired>());
    for elicitation in listed.into_iter().flat_map(|it| it.elicitations) {
        let question = InputRequest::Elicit(elicitation);
        if let InputRequest::Elicit(ElicitParams::Url(_)) = question
            && client.inner.handlers.handles(&question)
            && let Err(refusal) = client.inner.handlers.answer(&question, &Context::new(client))
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
