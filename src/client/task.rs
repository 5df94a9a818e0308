//! Tasks as the program sees them: handed out by a call, or found again by their id.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::client::follow::Follow;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::protocol::envelope::{Kind, Message, Outcome};
use crate::protocol::{
    self, Body, CallToolResult, DetailedTask, InputResponses, ProtocolVersion, RawJson, TASKS,
    TaskParams, UpdateTaskParams,
};
use crate::session::{CancelToken, PendingRequest};

/// A call that the server goes on with by itself.
///
/// Made by [`Request::start_task`](crate::Request::start_task), and from an id by [`Client::task`].
/// It lasts for as long as the server keeps it, whatever becomes of this value or this program: store
/// its [`id`](Self::id), and where the server is, to find it again. Dropping it does not cancel it.
///
/// ```
/// # use umcp::memory::Script;
/// # use umcp::json;
/// use std::time::Duration;
/// use umcp::Client;
///
/// # let script = Script::new()
/// #     .declare("io.modelcontextprotocol/tasks", json!({}))
/// #     .answer("tasks/get", json!({ "taskId": "7", "status": "completed", "createdAt": "",
/// #         "lastUpdatedAt": "", "ttlMs": null, "result": { "content": [] } }));
/// # let server = script.server();
/// let client = Client::builder().tasks().open(server)?;
/// let mut task = client.task("7")?; // kept from an earlier run
/// match task.wait_timeout(Duration::from_secs(60))? {
///     Some(result) => println!("{}", result.text()),
///     None => println!("{:?}", task.latest().and_then(|task| task.status_message.as_deref())),
/// }
/// # Ok::<(), umcp::Error>(())
/// ```
pub struct Task(Box<Follow>);

/// What came of a call that may become a task.
#[derive(Debug)]
pub enum TaskOrResult {
    /// The server goes on with it by itself.
    Task(Task),
    /// It was done at once.
    Result(CallToolResult),
}

impl TaskOrResult {
    /// Returns the result, for which a task is [waited](Task::wait).
    ///
    /// # Errors
    ///
    /// As [`Task::wait`].
    pub fn wait(self) -> Result<CallToolResult> {
        match self {
            Self::Task(mut task) => task.wait(),
            Self::Result(result) => Ok(result),
        }
    }
}

impl Task {
    pub(super) fn begun(client: &Client, call: &PendingRequest<'_>, task: protocol::Task) -> Self {
        Self(Box::new(Follow::begun(client, call, task)))
    }

    /// From now on it ends with the call.
    pub(super) fn owned(mut self, call: &PendingRequest<'_>) -> Self {
        self.0.own(call);
        self
    }

    /// Waits until `until` at most, for what the call would have been answered with.
    pub(super) fn wait_until(&mut self, until: Option<Deadline>) -> Option<Result<Message>> {
        self.0.wait(until)
    }

    /// Returns the server's name for it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns what the server said of it last: its status, and how long it is kept. Asks nothing; see
    /// [`get`](Self::get) for that. `None` before the first answer about a task that was made from its
    /// id.
    pub fn latest(&self) -> Option<&protocol::Task> {
        self.0.latest.as_ref()
    }

    /// Sets a token that ends waits for it from another thread. The task itself goes on: to end that,
    /// see [`cancel`](Self::cancel).
    #[must_use]
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.0.cancel = Some(token.clone());
        self
    }

    /// Asks for its state (`tasks/get`). Blocks for [`Timeouts::request`](crate::Timeouts) at most.
    ///
    /// # Errors
    ///
    /// As [`Request::call`](crate::Request::call); [`Rpc`](ErrorKind::Rpc) if the server does not know
    /// the task, or does not keep it any more.
    pub fn get(&mut self) -> Result<DetailedTask> {
        let reply = self.ask("tasks/get", &TaskParams::new(self.id()))?;
        let task = self.0.read(&reply).map_err(|error| self.explain(error))?;
        self.0.note(task.task.clone());
        Ok(task)
    }

    /// Waits for its result: asks for its state as often as the server wishes, and has the client's
    /// handlers answer what the server asks, on this thread. Blocks for
    /// [`Timeouts::max_total`](crate::Timeouts) at most; to wait for longer, wait again.
    ///
    /// # Errors
    ///
    /// As [`Request::call`](crate::Request::call), with [`Rpc`](ErrorKind::Rpc) if the task failed,
    /// or is not known; [`Cancelled`](ErrorKind::Cancelled) if it was cancelled;
    /// [`InputRequired`](ErrorKind::InputRequired) if it asks for what no handler answers: give the
    /// answers to [`update`](Self::update), and wait again.
    pub fn wait(&mut self) -> Result<CallToolResult> {
        self.0.start_clocks(self.0.client.inner.server.timeouts.max_total);
        loop {
            if let Some(end) = self.0.wait(None) {
                return self.finish(end);
            }
        }
    }

    /// As [`wait`](Self::wait), for at most `wait`. Returns `None` if it has not ended by then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, wait: Duration) -> Result<Option<CallToolResult>> {
        self.0.start_clocks(Duration::MAX);
        let end = self.0.wait(Some(Deadline::after(wait)));
        end.map(|end| self.finish(end)).transpose()
    }

    /// Answers what it asks for (`tasks/update`), all of it or some: by the keys of
    /// [`DetailedTask::input_requests`] or of [`Error::input_required`]. Blocks for
    /// [`Timeouts::request`](crate::Timeouts) at most.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); [`InvalidInput`](ErrorKind::InvalidInput) if something was answered
    /// before; [`Unsupported`](ErrorKind::Unsupported) in the legacy era, whose servers ask for
    /// themselves.
    pub fn update(&mut self, answers: InputResponses) -> Result<()> {
        let refused = |kind, text: &str| Err(self.explain(Error::new(kind, text)));
        if !self.0.client.is_modern() {
            return refused(
                ErrorKind::Unsupported,
                "a legacy server asks while its task is waited for",
            );
        }
        if self.0.knows_one_of(&answers) || answers.is_empty() {
            let text =
                "each thing that the server asks for is answered once, and not before it asks";
            return refused(ErrorKind::InvalidInput, text);
        }
        self.ask("tasks/update", &UpdateTaskParams::new(self.id(), answers.clone()))?;
        self.0.was_answered(&answers);
        Ok(())
    }

    /// Asks the server to end it (`tasks/cancel`). It may end otherwise for all that:
    /// [`wait`](Self::wait) says how. Blocks for [`Timeouts::request`](crate::Timeouts) at most.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); [`Unsupported`](ErrorKind::Unsupported) if a legacy server cannot end
    /// tasks, and [`Rpc`](ErrorKind::Rpc) if it has ended there.
    pub fn cancel(&self) -> Result<()> {
        if !can_cancel(&self.0.client) {
            let text = "the server does not offer this: it declared no `tasks.cancel`";
            return Err(self.explain(Error::new(ErrorKind::Unsupported, text)));
        }
        self.ask("tasks/cancel", &TaskParams::new(self.id())).map(drop)
    }

    fn ask(&self, method: &str, params: &impl Serialize) -> Result<RawJson> {
        let params = RawJson::from_value(params)
            .map_err(|error| self.explain(Error::new(ErrorKind::InvalidInput, misfit(&error))))?;
        let mut request = self.0.request(method, params);
        if let Some(token) = &self.0.cancel {
            request = request.cancel_token(token);
        }
        request.call().map_err(|error| match error.rpc() {
            Some(rpc) if rpc.code == -32602 => self.0.explain_unknown(error),
            _ => error,
        })
    }

    /// TASK-33: the result, as if the call had returned it.
    fn finish(&self, end: Result<Message>) -> Result<CallToolResult> {
        let reply = end.map_err(|error| self.explain(error))?;
        if let Kind::Response { outcome: Outcome::Error, .. } = reply.kind() {
            return Err(self.explain(Error::from_rpc(reply.rpc_error()).ran(true)));
        }
        let problem = |text| self.explain(Error::new(ErrorKind::Protocol, text).ran(true));
        let mut result = CallToolResult::read(&reply).map_err(|error| {
            problem(format!("the task's result is malformed: {}", misfit(&error)))
        })?;
        match result.result_type() {
            None => {}
            Some(of) if of == "complete" || !self.0.client.is_modern() => {}
            Some(of) => {
                return Err(problem(format!("the task's result is of type {:?}", said(&of))));
            }
        }
        result.came_from(self.0.client.inner.session.server(), None);
        Ok(result)
    }

    /// Says which task an error is about, if it does not say what was asked.
    fn explain(&self, error: Error) -> Error {
        match error.method() {
            Some(_) => error,
            None => {
                error.server(self.0.client.inner.session.server()).about("tasks/get", self.id())
            }
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("id", &self.id())
            .field("status", &self.0.status())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Returns a task by its id, which this program or another was given when a call became a task.
    /// Asks nothing yet.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the client was opened without
    /// [tasks](crate::ClientBuilder::tasks), [`Unsupported`](ErrorKind::Unsupported) if the server has
    /// none.
    pub fn task(&self, id: impl Into<String>) -> Result<Task> {
        check_declared(self)
            .and_then(|()| check_offered(self))
            .map_err(|error| error.server(self.inner.session.server()))?;
        Ok(Task(Box::new(Follow::new(self, id.into()))))
    }
}

/// EXT-5, TASK-6: nothing becomes a task unless the program wants it.
pub(super) fn check_declared(client: &Client) -> Result<()> {
    match client.inner.session.declares(TASKS) {
        true => Ok(()),
        false => {
            let error = Error::new(ErrorKind::InvalidInput, "the client was opened without tasks");
            Err(error.hint("Open it with `ClientBuilder::tasks`"))
        }
    }
}

/// EXT-4, TASK-36
pub(super) fn check_offered(client: &Client) -> Result<()> {
    let unsupported = |text: String| Err(Error::new(ErrorKind::Unsupported, text));
    let is_declared = match client.protocol_version() {
        version if client.is_modern() || version == ProtocolVersion::V2025_11_25 => {
            let capabilities = client.capabilities();
            capabilities.extension(TASKS).is_some() && client.is_modern()
                || capabilities.tasks.is_some() && !client.is_modern()
        }
        version => return unsupported(format!("there are no tasks in {version}")),
    };
    match is_declared {
        true => Ok(()),
        false => unsupported("the server does not offer this: it declared no tasks".to_owned()),
    }
}

/// LTASK-9: a legacy server says whether it can.
pub(super) fn can_cancel(client: &Client) -> bool {
    let declared = || client.capabilities().tasks.as_ref()?.cancel.as_ref();
    client.is_modern() || declared().is_some()
}

/// LTASK-8: an answer belongs to the task that its question belongs to.
pub(super) fn relate(question: &Message, answer: RawJson) -> serde_json::Result<RawJson> {
    const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        meta: BTreeMap<String, RawJson>,
    }
    let Ok(Params { mut meta }) = question.parse() else { return Ok(answer) };
    let Some(task) = meta.remove(RELATED_TASK) else { return Ok(answer) };
    let mut members: BTreeMap<String, RawJson> = answer.parse()?;
    let meta = members.get("_meta").map(RawJson::parse::<BTreeMap<String, RawJson>>);
    let mut meta = meta.transpose()?.unwrap_or_default();
    meta.insert(RELATED_TASK.to_owned(), task);
    members.insert("_meta".to_owned(), RawJson::from_value(&meta)?);
    RawJson::from_value(&members)
}
