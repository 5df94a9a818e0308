//! Following a task: asking for its state, and answering its questions, until it has ended.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::client::handlers::INVALID_PARAMS;
use crate::client::input::{self, Rounds};
use crate::client::request::{Pending, Request};
use crate::client::retry::Retry;
use crate::client::{Client, task};
use crate::deadline::{Clocks, Deadline, backoff};
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::protocol::envelope::Message;
use crate::protocol::{
    ClientRequest, DetailedTask, InputRequests, InputRequiredResult, InputResponses,
    LegacyTaskResult, RawJson, RawRequest, Task, TaskParams, TaskStatus, Ttl, UpdateTaskParams,
};
use crate::session::{AnsweredBy, CancelToken, PendingRequest, own_code};

/// How long to wait between two questions, if the server does not say, and whatever it says.
const INTERVAL: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(60);

/// How many questions in a row may go without an answer.
const MOST_FAILURES: u32 = 5;

/// A task, and how far it has been followed.
pub(super) struct Follow {
    pub(super) client: Client,
    pub(super) id: String,
    /// What the server said of it last.
    pub(super) latest: Option<Task>,
    pub(super) cancel: Option<CancelToken>,
    /// TASK-26: when this program first heard of it.
    since: Instant,
    /// The keys of the questions that have been answered (TASK-18).
    answered: BTreeSet<String>,
    rounds: Rounds,
    /// Answers that the server has not confirmed.
    unsent: Option<InputResponses>,
    failures: u32,
    step: Step,
    clocks: Clocks,
    restarts_on_progress: bool,
    answered_by: AnsweredBy,
    /// A call waits for it, and nobody else knows of it: it ends with the call.
    is_owned: bool,
    has_ended: bool,
}

enum Step {
    /// Nothing is asked until then.
    Pause(Deadline),
    Asked(Ask, Box<Pending<'static, RawJson>>),
}

#[derive(Clone, Copy)]
enum Ask {
    Get,
    Update,
    Result,
}

impl Follow {
    /// A task that nothing is known of but its id.
    pub(super) fn new(client: &Client, id: String) -> Self {
        Self {
            client: client.clone(),
            id,
            latest: None,
            cancel: None,
            since: Instant::now(),
            answered: BTreeSet::new(),
            rounds: Rounds::default(),
            unsent: None,
            failures: 0,
            step: Step::Pause(Deadline::after(Duration::ZERO)),
            clocks: Clocks::start(Duration::ZERO, Duration::ZERO),
            restarts_on_progress: false,
            answered_by: AnsweredBy::Handlers,
            is_owned: false,
            has_ended: false,
        }
    }

    /// What a call has become.
    pub(super) fn begun(client: &Client, call: &PendingRequest<'_>, task: Task) -> Self {
        let mut follow = Self::new(client, task.task_id.clone());
        follow.cancel = call.cancel_token().cloned();
        follow.answered_by = call.answered_by();
        follow.note(task);
        // Its result, or what it asks for, has to be asked for.
        let waits = matches!(follow.status(), Some(TaskStatus::Working | TaskStatus::Other(_)));
        let pause = if waits { follow.interval() } else { Duration::ZERO };
        follow.step = Step::Pause(Deadline::after(pause));
        follow
    }

    /// From now on it ends with the call, whose clocks go on.
    pub(super) fn own(&mut self, call: &PendingRequest<'_>) {
        (self.clocks, self.restarts_on_progress) = call.clocks();
        self.is_owned = true;
    }

    /// A wait of its own begins.
    pub(super) fn start_clocks(&mut self, most: Duration) {
        self.clocks = Clocks::start(most, most);
    }

    pub(super) fn status(&self) -> Option<&TaskStatus> {
        self.latest.as_ref().map(|task| &task.status)
    }

    /// Follows it until `until` at most. Returns what the call would have been answered with.
    pub(super) fn wait(&mut self, until: Option<Deadline>) -> Option<Result<Message>> {
        loop {
            let (end, ..) = self.clocks.next();
            let limit = until.map_or(end, |until| until.min(end));
            let stepped = match &mut self.step {
                Step::Pause(at) => {
                    let at = *at;
                    let session = &self.client.inner.session;
                    match session.pause(at.min(limit), self.cancel.as_ref()) {
                        Ok(()) if at.has_passed() && !end.has_passed() => {
                            Some(self.ask(until.is_none()).map(|()| None))
                        }
                        Ok(()) => None,
                        Err(error) => Some(Err(error)),
                    }
                }
                Step::Asked(ask, pending) => {
                    let ask = *ask;
                    let reply = pending.wait_until(Some(limit));
                    reply.map(|reply| self.answered(ask, reply.map(|(raw, _)| raw)))
                }
            };
            match stepped {
                Some(Ok(None)) => {}
                Some(Ok(Some(reply))) => {
                    self.has_ended = true;
                    return Some(Ok(reply));
                }
                Some(Err(error)) => return Some(Err(error.ran(true))),
                None if end.has_passed() => return Some(Err(self.time_out())),
                None if limit.has_passed() => return None,
                None => {}
            }
        }
    }

    /// Asks what is to be asked next.
    fn ask(&mut self, waits: bool) -> Result<()> {
        let id = self.id.as_str();
        let is_legacy = !self.client.is_modern();
        let (ask, method, params) = match (&self.unsent, self.status()) {
            (Some(answers), _) => {
                let params = UpdateTaskParams::new(id, answers.clone());
                (Ask::Update, "tasks/update", RawJson::from_value(&params))
            }
            // LTASK-5: the server asks for itself meanwhile.
            (None, Some(status)) if is_legacy && has_result(status) => {
                (Ask::Result, "tasks/result", RawJson::from_value(&TaskParams::new(id)))
            }
            _ => (Ask::Get, "tasks/get", RawJson::from_value(&TaskParams::new(id))),
        };
        let params = params.map_err(|error| Error::new(ErrorKind::InvalidInput, misfit(&error)))?;
        let left = self.clocks.next().0.remaining();
        let timeout = match ask {
            // It comes when the task has ended.
            Ask::Result => left,
            _ => self.client.inner.server.timeouts.request.min(left),
        };
        let request = self.request(method, params).timeout(timeout).max_total(left);
        let mut request = request.patient();
        if let Some(token) = &self.cancel {
            request = request.cancel_token(token);
        }
        match request.send(waits) {
            Ok(pending) => {
                self.step = Step::Asked(ask, Box::new(pending));
                Ok(())
            }
            Err(error) => self.try_again(error),
        }
    }

    /// A question about the task.
    pub(super) fn request(&self, method: &str, params: RawJson) -> Request<'static, RawJson> {
        // TASK-15
        let request = self.client.request(method, params).accept_result_type("task").silent();
        let request = request.retry(Retry::never());
        match self.answered_by {
            AnsweredBy::Handlers => request,
            AnsweredBy::Nobody => request.headless(),
            AnsweredBy::Caller => request.by_hand(),
        }
    }

    fn answered(&mut self, ask: Ask, reply: Result<RawJson>) -> Result<Option<Message>> {
        self.step = Step::Pause(Deadline::after(Duration::ZERO));
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return self.try_again(error).map(|()| None),
        };
        self.failures = 0;
        match ask {
            Ask::Get => self.learn(&reply),
            // TASK-12: what has become of it is asked for at once.
            Ask::Update => {
                self.unsent = None;
                Ok(None)
            }
            Ask::Result => response("result", &reply).map(Some),
        }
    }

    /// Waits before the question is asked again, if it may be answered then. None does harm when it
    /// is asked twice.
    fn try_again(&mut self, error: Error) -> Result<()> {
        use ErrorKind::{Disconnected, Limit, Rpc, Timeout, Unreachable};
        if self.clocks.next().0.has_passed() && error.is_timeout() {
            return Err(self.time_out());
        }
        let may_pass = match error.kind() {
            Timeout => true,
            // It was not sent.
            Limit => !error.may_have_run(),
            Disconnected | Unreachable => self.client.inner.session.answers_or_fails(),
            _ => false,
        };
        if !may_pass || self.failures >= MOST_FAILURES {
            let is_unknown = error.rpc().is_some_and(|rpc| rpc.code == INVALID_PARAMS);
            self.has_ended |= is_unknown && error.kind() == Rpc;
            return Err(if is_unknown { self.explain_unknown(error) } else { error });
        }
        log::debug!("{}: asked again: {error}", self.client.server_name());
        self.failures += 1;
        let backoff = backoff(self.interval(), self.failures + 1, LONGEST);
        let pause = error.retry_after().unwrap_or_default().max(backoff);
        self.step = Step::Pause(Deadline::after(pause));
        Ok(())
    }

    /// TASK-27
    pub(super) fn explain_unknown(&self, error: Error) -> Error {
        let ttl = self.latest.as_ref().and_then(|task| task.ttl_ms);
        match ttl {
            Some(Ttl::Millis(millis)) if self.since.elapsed() >= Duration::from_millis(millis) => {
                error.hint(format!("The server keeps this task for {millis} ms, which are over"))
            }
            _ => error.hint("The server has no such task, or does not keep it any more"),
        }
    }

    /// What the server says of the task. Returns its end.
    fn learn(&mut self, reply: &RawJson) -> Result<Option<Message>> {
        let DetailedTask { task, input_requests, result, error, .. } = self.read(reply)?;
        let status = task.status.clone();
        self.note(task);
        let text = || self.latest.as_ref().and_then(|task| task.status_message.as_deref());
        let because = || text().map(|text| format!(": {}", said(text))).unwrap_or_default();
        match status {
            // LTASK-5, LTASK-6
            status if !self.client.is_modern() && has_result(&status) => return Ok(None),
            TaskStatus::Cancelled => {
                self.has_ended = true;
                let text = format!("the task was cancelled{}", because());
                return Err(Error::new(ErrorKind::Cancelled, text));
            }
            // TASK-9
            TaskStatus::Completed | TaskStatus::Failed => {
                self.has_ended = true;
                let end = match (&status, result, error) {
                    (TaskStatus::Failed, _, Some(error)) => response("error", &error),
                    (_, Some(result), _) => response("result", &result),
                    _ => {
                        let text = format!("the task has {status:?}, and how is not said");
                        let text = format!("{}{}", text.to_lowercase(), because());
                        Err(Error::new(ErrorKind::Protocol, text))
                    }
                };
                return end.map(Some);
            }
            TaskStatus::InputRequired => {
                let mut open = input_requests.unwrap_or_default();
                // TASK-21: what has been answered may be in the list for a while.
                open.retain(|key, _| !self.answered.contains(key));
                if !open.is_empty() {
                    return self.answer(&open).map(|()| None);
                }
            }
            // What this version does not know is not final.
            TaskStatus::Working | TaskStatus::Other(_) => {}
        }
        self.step = Step::Pause(Deadline::after(self.interval()));
        Ok(None)
    }

    /// Reads what describes the task, in either era.
    pub(super) fn read(&self, reply: &RawJson) -> Result<DetailedTask> {
        let task = match self.client.is_modern() {
            true => reply.parse::<DetailedTask>(),
            false => reply.parse::<LegacyTaskResult>().map(|it| DetailedTask::new(it.task.into())),
        };
        let task = task.map_err(|error| {
            let text = format!("what the server says of the task is malformed: {}", misfit(&error));
            Error::new(ErrorKind::Protocol, text)
        })?;
        if task.task.task_id != self.id {
            let text = format!("the server speaks of another task: {:?}", said(&task.task.task_id));
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        Ok(task)
    }

    /// Remembers what the server says of the task.
    pub(super) fn note(&mut self, task: Task) {
        let before = self.latest.as_ref();
        let moved = |before: &Task| {
            (&before.status, &before.status_message, &before.last_updated_at)
                != (&task.status, &task.status_message, &task.last_updated_at)
        };
        if before.is_none_or(moved) {
            // LTASK-17
            let (server, id) = (self.client.server_name(), said(&self.id));
            log::debug!("{server}: task {id:?} is {:?}", task.status);
            if self.restarts_on_progress {
                self.clocks.restart_timeout();
            }
        }
        self.latest = Some(task);
    }

    /// TASK-16, TASK-17: has handlers answer, as if the server had asked in the call.
    fn answer(&mut self, open: &InputRequests) -> Result<()> {
        let client = self.client.clone();
        input::check(&client, open, self.answered_by).map_err(|error| {
            let input_requests = Some(open.clone());
            let asked = InputRequiredResult { input_requests, ..Default::default() };
            let hint = "Set a handler on the client's builder, or keep the task with `start_task` and \
                answer with `Task::update`";
            match serde_json::value::to_raw_value(&asked) {
                Ok(asked) => error.hint(hint).asks(asked),
                Err(_) => error.hint(hint),
            }
        })?;
        self.rounds.count(&client, open)?;
        let mut answers = InputResponses::new();
        let all_answered = open.iter().try_for_each(|(key, question)| {
            client.inner.session.pause(Deadline::after(Duration::ZERO), self.cancel.as_ref())?;
            if self.clocks.next().0.has_passed() {
                return Err(self.time_out());
            }
            let token = self.cancel.as_ref();
            let answer = || own_code(|| input::answer(&client, token, question));
            let answer = self.clocks.stand_still(answer)?;
            answers.insert(key.clone(), answer);
            Ok(())
        });
        // TASK-18: what was answered is not asked again, also if the rest was not.
        if !answers.is_empty() {
            self.has_answered(&answers);
            self.unsent = Some(answers);
        }
        all_answered
    }

    /// Whether the server has been sent an answer to one of these, or is being sent one.
    pub(super) fn knows_one_of(&self, answers: &InputResponses) -> bool {
        let is_on_its_way = matches!(self.step, Step::Asked(Ask::Update, _));
        let unsent = self.unsent.as_ref().filter(|_| !is_on_its_way);
        let is_kept = |key: &String| unsent.is_some_and(|unsent| unsent.contains_key(key));
        answers.keys().any(|key| self.answered.contains(key) && !is_kept(key))
    }

    /// The server was sent these answers, by hand.
    pub(super) fn was_answered(&mut self, answers: &InputResponses) {
        if let Some(unsent) = &mut self.unsent {
            unsent.retain(|key, _| !answers.contains_key(key));
        }
        self.unsent = self.unsent.take().filter(|unsent| !unsent.is_empty());
        self.has_answered(answers);
    }

    fn has_answered(&mut self, answers: &InputResponses) {
        self.answered.extend(answers.keys().cloned());
        self.ask_at_once();
    }

    pub(super) fn ask_at_once(&mut self) {
        if let Step::Pause(at) = &mut self.step {
            *at = Deadline::after(Duration::ZERO);
        }
    }

    fn interval(&self) -> Duration {
        let said = self.latest.as_ref().and_then(|task| task.poll_interval_ms);
        interval(said, RandomState::new().hash_one(0))
    }

    fn time_out(&self) -> Error {
        let (_, clock, set_to) = self.clocks.next();
        let clock = clock.name();
        let (text, hint) = match self.is_owned {
            true => (
                format!("the task had not ended within {set_to:?} (`{clock}`), and was cancelled"),
                format!("Raise `{clock}`, or keep the task with `start_task`"),
            ),
            false => (
                format!("the task had not ended within {set_to:?} (`max_total`), and goes on"),
                "Wait for it again, or cancel it".to_owned(),
            ),
        };
        Error::new(ErrorKind::Timeout, text).hint(hint).ran(true)
    }
}

/// TASK-22, TASK-23, LTASK-9: a call that is left ends its task, as far as the server agrees.
impl Drop for Follow {
    fn drop(&mut self) {
        if !self.is_owned || self.has_ended || !task::can_cancel(&self.client) {
            return;
        }
        let params = RawJson::from_value(&TaskParams::new(self.id.as_str()));
        let raw = params.ok().and_then(|it| RawRequest::new("tasks/cancel".to_owned(), &it));
        if let Some((raw, _)) = raw {
            self.client.inner.session.tell(&ClientRequest::Raw(raw));
        }
    }
}

/// TASK-12: how long to wait, which is never less than the server says, unless that is too long. Those
/// who began at the same time do not all ask at the same time.
fn interval(said: Option<u64>, random: u64) -> Duration {
    const PARTS: u32 = 64;
    let interval = said.map_or(INTERVAL, Duration::from_millis).clamp(SHORTEST, LONGEST);
    let part = u32::try_from(random % u64::from(PARTS)).unwrap_or_default();
    interval + interval / 8 / PARTS * part
}

/// Whether a legacy server's result is to be asked for now.
fn has_result(status: &TaskStatus) -> bool {
    matches!(status, TaskStatus::Completed | TaskStatus::Failed | TaskStatus::InputRequired)
}

/// What a task ended with, as the reply that the call would have had.
fn response(member: &str, payload: &RawJson) -> Result<Message> {
    let text = format!(r#"{{"jsonrpc":"2.0","id":0,"{member}":{payload}}}"#);
    Message::scan(text.into_bytes()).map_err(|(why, _)| {
        Error::new(ErrorKind::Protocol, format!("the task's {member} is {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // TASK-12
    #[test]
    fn the_server_says_how_often_it_is_asked_within_limits() {
        for (said, expected) in [
            (None, INTERVAL),
            (Some(0), SHORTEST),
            (Some(500), Duration::from_millis(500)),
            (Some(u64::MAX), LONGEST),
        ] {
            assert_eq!(interval(said, 0), expected);
            for random in [1, 63, u64::MAX] {
                let some_more = interval(said, random);
                assert!(some_more > expected && some_more < expected + expected / 8);
            }
        }
    }
}
