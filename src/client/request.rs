//! One request: its knobs, and waiting for its result.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::client::cache::{Caching, Flight};
use crate::client::input::{self, Rounds, URL_REQUIRED};
use crate::client::refresh::Refresh;
use crate::client::retry::{Attempts, Retry};
use crate::client::task::{self, Task, TaskOrResult};
use crate::deadline::{Clocks, Deadline};
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::protocol::envelope::{Kind, Message, Outcome};
use crate::protocol::meta::check;
use crate::protocol::{
    self, Body, CallToolResult, ClientRequest, CompleteResult, CompletionContext, CreateTaskResult,
    Era, GetPromptResult, InputRequiredResult, InputResponses, LegacyCreateTaskResult,
    LogMessageParams, LoggingLevel, ProgressParams, RawJson,
};
use crate::session::{AnsweredBy, CancelToken, Options, PendingRequest};

/// A request to be made, with everything about it that can be set.
///
/// [`call`](Request::call) sends it and waits for the result, [`start`](Request::start) only sends
/// it. Made by [`Client::tool`], [`Client::resource`], [`Client::prompt`], [`Client::completion`]
/// and [`Client::request`]; `T` is what comes back. Callbacks may borrow from their surroundings
/// (`'a`): they run on the thread that waits, before the result is returned.
///
/// ```
/// # use umcp::memory::Script;
/// # use umcp::json;
/// # let script = Script::new().answer("tools/call", json!({ "content": [] }));
/// # let client = umcp::Client::open(script.server())?;
/// use std::time::Duration;
///
/// let result = client
///     .tool("build-report")
///     .arg("quarter", "Q3")
///     .timeout(Duration::from_secs(120))
///     .on_progress(|p| eprintln!("{} of {:?}", p.progress, p.total))
///     .call()?;
/// # assert!(!result.is_error);
/// # Ok::<(), umcp::Error>(())
/// ```
#[must_use = "a request does nothing until `call` or `start`"]
pub struct Request<'a, T> {
    pub(super) client: Client,
    pub(super) request: ClientRequest,
    pub(super) options: Options<'a>,
    pub(super) problem: Option<Error>,
    retry: Option<Retry>,
    /// Types of results that are as good as `complete`.
    result_types: Vec<String>,
    /// With answers to what was asked for in an earlier call.
    pub(super) is_resumed: bool,
    pub(super) caching: Caching,
    result: PhantomData<fn() -> T>,
}

impl<'a, T: Reply> Request<'a, T> {
    pub(crate) fn new(client: &Client, request: ClientRequest) -> Self {
        let timeouts = &client.inner.server.timeouts;
        Self {
            client: client.clone(),
            request,
            options: Options::new(timeouts.request, timeouts.max_total),
            problem: None,
            retry: client.inner.retry.clone(),
            result_types: Vec::new(),
            is_resumed: false,
            caching: Caching::default(),
            result: PhantomData,
        }
    }

    pub(super) fn caching(mut self, caching: Caching) -> Self {
        self.caching = caching;
        self
    }

    /// For questions that nobody has to be told about when their answer is not wanted any more.
    pub(super) fn silent(mut self) -> Self {
        self.options.silent = true;
        self
    }

    pub(crate) fn with_problem(mut self, why: String) -> Self {
        self.refuse(why);
        self
    }

    /// Keeps the first thing that is wrong for when the request is made.
    fn refuse(&mut self, why: impl Into<String>) {
        if self.problem.is_none() {
            self.problem = Some(Error::new(ErrorKind::InvalidInput, why));
        }
    }

    /// Sets how long to wait for the result, instead of [`Timeouts::request`](crate::Timeouts).
    /// This clock stands still while a callback runs, or a handler because of the call.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Sets how long the call may take altogether, instead of
    /// [`Timeouts::max_total`](crate::Timeouts). This clock never stands still.
    pub fn max_total(mut self, max_total: Duration) -> Self {
        self.options.max_total = max_total;
        self
    }

    /// Lets every sign of progress start the `timeout` again. `max_total` still holds.
    pub fn restart_timeout_on_progress(mut self) -> Self {
        self.options.restart_on_progress = true;
        self
    }

    /// Asks for progress, and sets what to do with it. Values that do not grow are left out.
    pub fn on_progress(mut self, listen: impl FnMut(&ProgressParams) + Send + 'a) -> Self {
        self.options.on_progress = Some(Box::new(listen));
        self
    }

    /// Sets what to do with log messages that belong to this call.
    ///
    /// Ask for them with [`log_level`](Self::log_level) (modern era) or
    /// [`Client::set_log_level`]. Over stdio a log message does not say which call it belongs to:
    /// it counts as this one's only while no other is under way; otherwise it goes to
    /// [`ClientBuilder::on_notification`](crate::ClientBuilder::on_notification).
    pub fn on_log(mut self, listen: impl FnMut(&LogMessageParams) + Send + 'a) -> Self {
        self.options.on_log = Some(Box::new(listen));
        self
    }

    /// Asks for log messages of at least this level during this call (modern era; a legacy server
    /// only knows a level for the whole connection).
    pub fn log_level(mut self, level: LoggingLevel) -> Self {
        self.options.meta.log_level = Some(level);
        self
    }

    /// Lets the server ask nothing during this call (modern era): it is told that there is nobody to
    /// answer, whatever handlers the client has. A legacy server was told at the beginning.
    pub fn headless(mut self) -> Self {
        self.options.answered_by = AnsweredBy::Nobody;
        self
    }

    /// Has the server ask the caller instead of the client's handlers (modern era): it is told that all
    /// it may ask for is answered, and what it asks for becomes an error of kind
    /// [`InputRequired`](ErrorKind::InputRequired), to be answered with [`answers`](Self::answers). A
    /// legacy server asks while the call runs, where only handlers can answer: it is not told anything
    /// else than at the beginning.
    ///
    /// A call that may become a [task](crate::Task) is asked inside the task, too: start it with
    /// [`start_task`](Self::start_task), and answer with [`Task::update`](crate::Task::update). What is
    /// asked in the task of a call that is waited for ends both.
    pub fn by_hand(mut self) -> Self {
        self.options.answered_by = AnsweredBy::Caller;
        self
    }

    /// Answers what a server asked for when the same request failed with
    /// [`InputRequired`](ErrorKind::InputRequired): by the keys of
    /// [`input_requests`](InputRequiredResult::input_requests), or empty if it asked for nothing.
    /// The request has to be the same in everything else.
    ///
    /// A server may ask only for what the client says it answers: without handlers, call
    /// [`by_hand`](Self::by_hand).
    ///
    /// ```
    /// # use umcp::{Client, Server, json};
    /// # let server = Server::in_memory(|peer| {
    /// #     let mut next = peer.open_modern(json!({ "tools": {} }));
    /// #     while let Some(request) = next {
    /// #         match request.param("/inputResponses").is_null() {
    /// #             true => peer.reply(&request, json!({ "resultType": "input_required", "requestState": "s",
    /// #                 "inputRequests": { "name": { "method": "elicitation/create", "params": {
    /// #                     "message": "Who?", "requestedSchema": { "type": "object", "properties": {} } } } } })),
    /// #             false => peer.reply(&request, json!({ "content": [] })),
    /// #         }
    /// #         next = peer.receive();
    /// #     }
    /// # });
    /// use umcp::protocol::{ElicitResult, InputResponses};
    ///
    /// # let client = Client::open(server)?;
    /// let error = client.tool("greet").by_hand().call().unwrap_err();
    /// let asked = error.input_required().unwrap();
    /// // Now, or later and elsewhere: what was asked can be stored.
    /// let answers: InputResponses = asked
    ///     .input_requests
    ///     .iter()
    ///     .flatten()
    ///     .map(|(key, _)| (key.clone(), ElicitResult::decline().into()))
    ///     .collect();
    /// let result = client.tool("greet").by_hand().answers(&asked, answers).call()?;
    /// # assert!(!result.is_error);
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn answers(mut self, asked: &InputRequiredResult, answers: InputResponses) -> Self {
        let keys = asked.input_requests.iter().flatten().map(|(key, _)| key);
        if !keys.eq(answers.keys()) {
            self.refuse("there has to be one answer for each thing that the server asked for");
        }
        if !self.request.may_require_input() {
            self.refuse("no server asks for anything when this is requested");
        }
        if let Err(error) = self.request.answer(answers, asked.request_state.clone()) {
            self.refuse(format!("an answer cannot be written: {error}"));
        }
        self.is_resumed = true;
        self
    }

    /// Sets whether and when the call is made again that failed, instead of what
    /// [`ClientBuilder::retry`](crate::ClientBuilder::retry) says.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Not the program's: it waits for its turn, and only while it is waited for.
    pub(super) fn patient(mut self) -> Self {
        self.options.is_patient = true;
        self
    }

    /// The clocks that run already.
    pub(super) fn within(mut self, clocks: Clocks) -> Self {
        self.options.clocks = Some(clocks);
        self
    }

    /// Asks the server although an answer is kept, whose place the new one takes. Without a
    /// [`Cache`](crate::Cache), every request does.
    pub fn fresh(self) -> Self {
        self.caching(Caching::Keeps)
    }

    /// Lets a token end the call from another thread.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.options.cancel = Some(token.clone());
        self
    }

    /// Adds a member to the request's `_meta`. Keys that the specification reserves are refused
    /// when the request is made, except those of trace context (`traceparent`, `tracestate`,
    /// `baggage`), whose values are checked.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let (key, value) = (key.into(), value.into());
        if let Err(why) = check(&key, &value) {
            self.refuse(format!("`_meta` key {key:?}: {why}"));
        }
        self.options.meta.own.insert(key, value);
        self
    }

    /// Sends the request and waits for its result. Blocks until the result is there, or for as
    /// long as [`timeout`](Self::timeout) and [`max_total`](Self::max_total) say. With a
    /// [`Cache`](crate::Cache) the result may be one that is kept, or that another call is waiting for.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) if the server did not declare the capability,
    /// [`Rpc`](ErrorKind::Rpc) if it answered with an error, [`Timeout`](ErrorKind::Timeout),
    /// [`Cancelled`](ErrorKind::Cancelled), [`Closed`](ErrorKind::Closed),
    /// [`Disconnected`](ErrorKind::Disconnected), [`Limit`](ErrorKind::Limit),
    /// [`Protocol`](ErrorKind::Protocol), [`InvalidInput`](ErrorKind::InvalidInput), and over HTTP
    /// [`Unreachable`](ErrorKind::Unreachable) and [`Authorization`](ErrorKind::Authorization).
    pub fn call(self) -> Result<T> {
        self.call_sized().map(|(result, _)| result)
    }

    pub(crate) fn call_sized(self) -> Result<(T, usize)> {
        match self.client.inner.cache {
            None => self.send(true)?.wait_sized(),
            Some(_) => self.call_with_cache(),
        }
    }

    /// Sends the request and does not wait for its result. No result that is kept is taken for it; its
    /// own is kept when it has come. Where there are [`RequestLimits`](crate::RequestLimits) it blocks
    /// until it is the request's turn.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), as far as they are known by then.
    pub fn start(self) -> Result<Pending<'a, T>> {
        self.start_keeping(false)
    }

    pub(super) fn start_keeping(self, waits: bool) -> Result<Pending<'a, T>> {
        let flight = self.flight();
        let pending = self.send(waits)?;
        Ok(match flight {
            Some(flight) => pending.keeping(flight),
            None => pending,
        })
    }

    pub(super) fn send(mut self, waits: bool) -> Result<Pending<'a, T>> {
        if let ClientRequest::CallTool(params) = &mut self.request
            && let Some(tasks) = &self.client.inner.tasks
            && tasks.requires(&params.name)
        {
            // LTASK-2
            params.task.get_or_insert_default();
        }
        let session = &self.client.inner.session;
        let terms = session.terms();
        let (method, name) = (self.request.method(), self.request.name().unwrap_or_default());
        let explain = |error: Error| error.server(session.server()).about(method, name);
        if let Some(problem) = self.problem {
            return Err(explain(problem));
        }
        if let Some(capability) = self.request.lacks(&terms.capabilities, terms.version) {
            let text = format!("the server does not offer this: it declared no `{capability}`");
            return Err(explain(Error::new(ErrorKind::Unsupported, text)));
        }
        check_filter(&self.client, &self.request).map_err(explain)?;
        let is_modern = terms.version.era() == Era::Modern;
        if self.is_resumed && !is_modern {
            let text = "a server of the legacy era asks for nothing that a request answers";
            return Err(explain(Error::new(ErrorKind::Unsupported, text)));
        }
        if let Some(tools) = &self.client.inner.tools {
            self.options.mirror = tools.headers(&self.request).map_err(explain)?;
        }
        self.options.holds_failure = self.retry.is_some();
        let request = PendingRequest::start(session, self.request, self.options, waits)?;
        Ok(Pending {
            request,
            refresh: Refresh::NotYet,
            attempts: self.retry.map(Attempts::new),
            rounds: Rounds::new(self.is_resumed),
            is_resumed: self.is_resumed,
            task: None,
            client: self.client,
            is_modern,
            result_types: self.result_types,
            result: PhantomData,
        })
    }
}

/// Whether it calls no tool that the server's filter leaves out.
fn check_filter(client: &Client, request: &ClientRequest) -> Result<()> {
    match (&client.inner.server.tool_filter, request.tool_call()) {
        (Some(filter), Some((tool, _))) => filter.check(tool),
        _ => Ok(()),
    }
}

impl Request<'_, CallToolResult> {
    /// Sets one argument.
    pub fn arg(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let ClientRequest::CallTool(params) = &mut self.request else { return self };
        let arguments = params.arguments.as_ref().map(RawJson::parse::<BTreeMap<String, RawJson>>);
        let name = name.into();
        let written = RawJson::from_value(&value).and_then(|value| {
            let mut arguments = arguments.transpose()?.unwrap_or_default();
            arguments.insert(name.clone(), value);
            RawJson::from_value(&arguments)
        });
        match written {
            Ok(arguments) => params.arguments = Some(arguments),
            Err(error) => self.refuse(format!("argument {name:?} cannot be written: {error}")),
        }
        self
    }

    /// Sets all arguments: an object, such as [`json!`](crate::json) makes or a struct becomes.
    pub fn args(mut self, arguments: impl Serialize) -> Self {
        let ClientRequest::CallTool(params) = &mut self.request else { return self };
        match RawJson::from_value(&arguments) {
            Ok(arguments) if arguments.get().trim_start().starts_with('{') => {
                params.arguments = Some(arguments);
            }
            Ok(arguments) if arguments.is_null() => {}
            Ok(_) => self.refuse("a tool's arguments are an object"),
            Err(error) => self.refuse(format!("the arguments cannot be written: {error}")),
        }
        self
    }
}

impl<'a> Request<'a, CallToolResult> {
    /// Sends the call and waits until the server has said whether it becomes a
    /// [task](crate::ClientBuilder::tasks), which is handed out, or has returned the result.
    ///
    /// A modern server decides that by itself. One of 2025-11-25 is asked for a task if the tool can
    /// be one, for which the list of tools is asked for unless it has been; of older ones, and of those
    /// without tasks, it is a call like any other. The task goes on when the [`Task`] is dropped, and
    /// can be found again by its id. It is not made again by a [`Retry`].
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// # use umcp::json;
    /// use umcp::{Client, TaskOrResult};
    ///
    /// # let script = Script::new().answer("tools/call", json!({ "resultType": "task",
    /// #     "taskId": "7", "status": "working", "createdAt": "", "lastUpdatedAt": "", "ttlMs": null }));
    /// # let server = script.server();
    /// let client = Client::builder().tasks().open(server)?;
    /// match client.tool("report").start_task()? {
    ///     TaskOrResult::Task(task) => println!("to be asked for as {}", task.id()),
    ///     TaskOrResult::Result(result) => println!("{}", result.text()),
    /// }
    /// # Ok::<(), umcp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and [`InvalidInput`](ErrorKind::InvalidInput) if the client was opened
    /// without tasks.
    pub fn start_task(mut self) -> Result<TaskOrResult> {
        let session = self.client.inner.session.clone();
        let name = self.request.name().unwrap_or_default().to_owned();
        let explain = |error: Error| error.server(session.server()).about("tools/call", &name);
        task::check_declared(&self.client).map_err(explain)?;
        check_filter(&self.client, &self.request).map_err(explain)?;
        if let Some(tasks) = &self.client.inner.tasks
            && tasks
                .allows(&self.client, &name, &mut self.options)
                .map_err(|error| explain(error.ran(false)))?
            && let ClientRequest::CallTool(params) = &mut self.request
        {
            params.task.get_or_insert_default();
        }
        self.retry = None;
        self.send(true)?.settle()
    }
}

impl Request<'_, RawJson> {
    /// Accepts a result of this `resultType`, which an [extension](crate::ClientBuilder::extension) brings,
    /// as well as a `complete` one.
    pub fn accept_result_type(mut self, result_type: impl Into<String>) -> Self {
        self.result_types.push(result_type.into());
        self
    }

    /// Says what the request is about, for the header `Mcp-Name` of HTTP. Methods of an
    /// [extension](crate::ClientBuilder::extension) may want that; for those that umcp knows it is done.
    pub fn mcp_name(mut self, name: impl Into<String>) -> Self {
        if let ClientRequest::Raw(raw) = &mut self.request {
            raw.set_name(name.into());
        }
        self
    }
}

impl Request<'_, GetPromptResult> {
    /// Sets one argument of the prompt.
    pub fn arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let ClientRequest::GetPrompt(params) = &mut self.request {
            params.arguments.insert(name.into(), value.into());
        }
        self
    }
}

impl Request<'_, CompleteResult> {
    /// Says what was chosen for another argument already.
    pub fn chosen(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let ClientRequest::Complete(params) = &mut self.request {
            let context = params.context.get_or_insert_with(CompletionContext::default);
            context.arguments.insert(name.into(), value.into());
        }
        self
    }
}

impl<T> fmt::Debug for Request<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.request.method()).finish_non_exhaustive()
    }
}

/// A request that has been sent, and whose result is still to come.
///
/// Its clocks run from the start. Progress and log callbacks run while it is waited for. Dropping
/// it cancels the request.
///
/// ```
/// # use umcp::memory::Script;
/// # use umcp::json;
/// # let script = Script::new().answer("tools/call", json!({ "content": [] }));
/// # let client = umcp::Client::open(script.server())?;
/// let first = client.tool("one").start()?;
/// let second = client.tool("two").start()?;
/// let results = (first.wait()?, second.wait()?);
/// # Ok::<(), umcp::Error>(())
/// ```
#[must_use = "dropping a pending request cancels it"]
pub struct Pending<'a, T> {
    // Before the client: a request that is dropped is withdrawn while there is a connection.
    request: PendingRequest<'a>,
    refresh: Refresh,
    /// Only if it may be made again.
    attempts: Option<Attempts>,
    rounds: Rounds,
    /// With answers from an earlier call.
    is_resumed: bool,
    /// What the call has become.
    task: Option<Task>,
    /// What is waited for keeps the connection open.
    client: Client,
    is_modern: bool,
    result_types: Vec<String>,
    result: PhantomData<fn() -> T>,
}

/// What a reply turns out to be.
enum Answer<T> {
    Result(T),
    /// The server asks for input first.
    Questions,
    Task(protocol::Task),
}

impl Pending<'_, CallToolResult> {
    /// Waits for the result or the task.
    fn settle(mut self) -> Result<TaskOrResult> {
        loop {
            let Some(end) = self.answer(None) else { continue };
            let end = end.map_err(|error| self.rounds.explain(error));
            self.request.conclude(end.as_ref().map(|(_, reply)| reply));
            match end? {
                (Answer::Task(task), _) => {
                    let task = Task::begun(&self.client, &self.request, task);
                    return Ok(TaskOrResult::Task(task));
                }
                (Answer::Result(result), _) => return Ok(TaskOrResult::Result(result)),
                (Answer::Questions, _) => {}
            }
        }
    }
}

impl<T: Reply> Pending<'_, T> {
    /// Waits for the result. Blocks for as long as the request's clocks say.
    ///
    /// # Errors
    ///
    /// As [`Request::call`].
    pub fn wait(self) -> Result<T> {
        self.wait_sized().map(|(result, _)| result)
    }

    /// The result, and the size of the message it came in.
    pub(crate) fn wait_sized(mut self) -> Result<(T, usize)> {
        loop {
            if let Some(result) = self.wait_until(None) {
                return result;
            }
        }
    }

    /// Waits for the result, for at most `wait`. Returns `None` if it has not come by then; the
    /// request goes on. After a result has been returned, the request is over.
    ///
    /// # Errors
    ///
    /// As [`Request::call`].
    pub fn wait_timeout(&mut self, wait: Duration) -> Result<Option<T>> {
        let result = self.wait_until(Some(Deadline::after(wait))).transpose()?;
        Ok(result.map(|(result, _)| result))
    }

    pub(super) fn wait_until(&mut self, until: Option<Deadline>) -> Option<Result<(T, usize)>> {
        let end = loop {
            let gone_on = match &mut self.attempts {
                Some(attempts) => attempts.go_on(&mut self.request, until)?,
                None => Ok(()),
            };
            let end = match gone_on {
                Ok(()) => self.wait_for_result(until)?,
                Err(error) => Err(error),
            };
            let Some(attempts) = &mut self.attempts else { break end };
            match &end {
                Err(error) if attempts.is_repeated(&self.request, Some(error)) => {}
                // What was asked and answered before it failed was for that time.
                Ok((result, _))
                    if result.is_failure()
                        && !self.is_resumed
                        && attempts.is_repeated(&self.request, None) =>
                {
                    self.request.forget_answers();
                    self.rounds = Rounds::default();
                }
                _ => break end.map_err(|error| attempts.explain(error)),
            }
            self.refresh = Refresh::NotYet;
        };
        // What is over is not made again, whoever asks for it again.
        self.attempts = None;
        self.request.conclude(end.as_ref().map(|(_, reply)| reply));
        let flight = self.rounds.take_flight();
        Some(match end {
            Ok((result, reply)) => {
                let bytes = reply.len();
                if let Some(flight) = flight {
                    flight.land(reply, result.ttl_ms());
                }
                Ok((result, bytes))
            }
            Err(error) => {
                // CACHE-21
                if let Some(flight) = flight.filter(|_| error.rpc().is_some()) {
                    flight.share_nothing();
                }
                Err(error)
            }
        })
    }

    pub(super) fn keeping(mut self, flight: Flight) -> Self {
        self.rounds.keep(flight);
        self
    }

    fn wait_for_result(&mut self, until: Option<Deadline>) -> Option<Result<(T, Message)>> {
        loop {
            if let Some(task) = &mut self.task {
                let end = task.wait_until(until)?;
                self.task = None;
                let end = end.map_err(|error| match error.method() {
                    Some(_) => error,
                    None => self.request.explain(error),
                });
                return Some(end.and_then(|reply| self.result_of_task(reply)));
            }
            match self.answer(until)? {
                Ok((Answer::Result(result), reply)) => return Some(Ok((result, reply))),
                Ok((Answer::Task(task), _)) => {
                    let task = Task::begun(&self.client, &self.request, task);
                    self.task = Some(task.owned(&self.request));
                }
                Ok((Answer::Questions, _)) => {}
                Err(error) => return Some(Err(self.rounds.explain(error))),
            }
        }
    }

    /// TASK-33: as the direct result.
    fn result_of_task(&self, reply: Message) -> Result<(T, Message)> {
        if let Kind::Response { outcome: Outcome::Error, .. } = reply.kind() {
            return Err(self.request.explain(Error::from_rpc(reply.rpc_error()).ran(true)));
        }
        match self.finish(&reply, true)? {
            Answer::Result(result) => Ok((result, reply)),
            _ => {
                let text = "the task's result is none";
                Err(self.request.explain(Error::new(ErrorKind::Protocol, text).ran(true)))
            }
        }
    }

    /// Waits until `until` at most, for a result or a task. Questions are answered.
    fn answer(&mut self, until: Option<Deadline>) -> Option<Result<(Answer<T>, Message)>> {
        loop {
            if let Err(error) = self.rounds.wait(&mut self.request, until)? {
                return Some(Err(self.request.explain(error)));
            }
            let reply = match self.refresh.wait(&self.client, &mut self.request, until)? {
                Ok(reply) => reply,
                Err(error) => {
                    self.visit(&error);
                    return Some(Err(error));
                }
            };
            match self.finish(&reply, false) {
                Ok(Answer::Questions) => {
                    if let Err(error) = self.rounds.answer(&self.client, &mut self.request, &reply)
                    {
                        return Some(Err(self.request.explain(error)));
                    }
                }
                answer => return Some(answer.map(|answer| (answer, reply))),
            }
        }
    }

    /// ELIC-15: what has to be visited first is asked for as if it had been asked for by itself. The
    /// request can be made again then.
    fn visit(&mut self, error: &Error) {
        let is_asked = error.rpc().is_some_and(|rpc| rpc.code == URL_REQUIRED);
        if is_asked && !self.is_modern && self.request.answered_by() == AnsweredBy::Handlers {
            let client = &self.client;
            self.request.stand_still(|token| input::visit(client, token, error));
        }
    }

    /// Returns the result if it is there. Does not block, except for callbacks that are due. To wait
    /// by asking again and again is to keep others from reading: use
    /// [`wait_timeout`](Self::wait_timeout).
    ///
    /// # Errors
    ///
    /// As [`Request::call`].
    pub fn try_wait(&mut self) -> Result<Option<T>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Cancels the request: the server is told, and a result that still comes is dropped. The same
    /// as dropping it. To cancel while another thread waits, use a [`CancelToken`].
    pub fn cancel(self) {}

    /// What a reply says: at last the result, and nothing else, if it `is_final`.
    fn finish(&self, reply: &Message, is_final: bool) -> Result<Answer<T>> {
        let request = self.request.request();
        // LTASK-3
        if !is_final && request.wants_task() {
            let created = reply.parse::<LegacyCreateTaskResult>();
            if let Ok(created) = created {
                return Ok(Answer::Task(created.task.into()));
            }
        }
        let problem = |kind, text: String| self.request.explain(Error::new(kind, text).ran(true));
        let mut parsed = T::read(reply);
        let raw;
        let result_type = match &parsed {
            Ok(result) => result.result_type(),
            // A result of another type lacks what this one must have.
            Err(_) => {
                raw = reply.parse::<RawJson>().ok();
                raw.as_ref().and_then(RawJson::result_type)
            }
        };
        match result_type.as_deref() {
            _ if !self.is_modern => {}
            None | Some("complete") => {}
            // RPC-34
            Some("input_required") if !is_final && self.request.may_require_input() => {
                return Ok(Answer::Questions);
            }
            // TASK-4, TASK-5, TASK-6
            Some("task")
                if !is_final
                    && request.tool_call().is_some()
                    && task::check_declared(&self.client).is_ok() =>
            {
                let created = reply.parse::<CreateTaskResult>().map_err(|error| {
                    let text = format!("the server's task is malformed: {}", misfit(&error));
                    problem(ErrorKind::Protocol, text)
                })?;
                return Ok(Answer::Task(created.task));
            }
            Some(other) if self.result_types.iter().any(|known| known == other) => {}
            // RPC-32
            Some(other) => {
                let text = format!(
                    "the server's result is of a type this client did not offer: {:?}",
                    said(other)
                );
                return Err(problem(ErrorKind::Protocol, text));
            }
        }
        if let Ok(result) = &mut parsed {
            result.came_from(self.request.server(), self.request.name());
        }
        parsed.map(Answer::Result).map_err(|error| {
            let text = format!("the server's result is malformed: {}", misfit(&error));
            problem(ErrorKind::Protocol, text)
        })
    }
}

impl<T> fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("method", &self.request.method())
            .field("name", &self.request.name())
            .finish_non_exhaustive()
    }
}

/// What a [`Request`] can return. Implemented for the results of the protocol and for
/// [`RawJson`], and for nothing else.
#[allow(private_bounds)] // which is what keeps it from being implemented elsewhere
pub trait Reply: Body {}

impl<T: Body> Reply for T {}
