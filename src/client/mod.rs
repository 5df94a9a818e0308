//! The blocking API: typed calls, their builders, and what is known of the server.

mod builder;
mod cache;
mod era_memory;
mod events;
mod follow;
mod handlers;
#[cfg(feature = "http")]
mod http;
mod input;
mod list;
mod notification;
mod refresh;
mod request;
mod retry;
mod sampling;
mod script;
mod server;
mod subscription;
mod task;
mod task_table;
mod tool_filter;
mod tool_table;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{
    CallToolParams, CallToolResult, ClientRequest, CompleteParams, CompleteResult, Completion,
    CompletionReference, EmptyResult, Era, GetPromptParams, GetPromptResult, Implementation,
    LoggingLevel, Prompt, ProtocolVersion, RawJson, RawRequest, ReadResourceParams,
    ReadResourceResult, Resource, ResourceTemplate, Root, ServerCapabilities, SetLevelParams, Tool,
};
use crate::session::{Metrics, Session};
use crate::transport::CloseReport;

pub use builder::ClientBuilder;
pub use cache::{Cache, CacheHandle, CacheStats};
pub use era_memory::{EraFile, EraMemory};
pub use events::Events;
use handlers::Handlers;
pub use handlers::SamplingRefusal;
pub use list::{Items, List, Listed, Page, Pages};
pub use notification::{Context, Notification};
pub use request::{Pending, Reply, Request};
pub use retry::Retry;
pub use script::Script;
pub use server::Server;
pub use subscription::{Change, Closer, Subscription, SubscriptionBuilder};
pub use task::{Task, TaskOrResult};
use task_table::TaskTable;
use tool_table::ToolTable;

/// A connection to one MCP server.
///
/// Cheap to clone: all clones are one connection, usable from as many threads as you like. Every
/// method that asks the server something blocks until it has an answer, or until its time is up
/// ([`Timeouts`](crate::Timeouts)). Dropping the last clone closes the connection, as
/// [`close`](Client::close) does; a [`Request`], a [`Pending`] and a running listener hold one too,
/// so call `close` to be sure that it has happened.
///
/// One rule for names: verbs do it ([`call_tool`](Client::call_tool)), nouns are builders with
/// more to set ([`tool`](Client::tool)).
///
/// ```
/// # use umcp::memory::Script;
/// use umcp::{Client, json};
///
/// # let script = Script::new()
/// #     .answer("tools/list", json!({ "tools": [] }))
/// #     .answer("tools/call", json!({ "content": [{ "type": "text", "text": "5" }] }));
/// # let server = script.server();
/// let client = Client::open(server)?;
/// for tool in client.list_tools()? {
///     println!("{}", tool.name);
/// }
/// let sum = client.call_tool("add", json!({ "a": 2, "b": 3 }))?.into_result()?;
/// assert_eq!(sum.text(), "5");
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) session: Arc<Session>,
    pub(crate) server: Server,
    /// Only where arguments are said in headers, too.
    tools: Option<ToolTable>,
    /// Only where tools say whether they can be tasks.
    tasks: Option<TaskTable>,
    handlers: Handlers,
    /// What calls do that are not told otherwise.
    retry: Option<Retry>,
    /// Only if the program has asked for it.
    cache: Option<Arc<cache::Shared>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.session.close();
    }
}

const _: () = {
    const fn assert_shared<T: Clone + Send + Sync>() {}
    assert_shared::<Client>();
    assert_shared::<Server>();
};

impl Client {
    /// Starts a server from its command and arguments, and connects to it.
    ///
    /// ```no_run
    /// use umcp::Client;
    ///
    /// let client = Client::spawn(["npx", "-y", "@modelcontextprotocol/server-everything"])?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::open`].
    pub fn spawn(command: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Self> {
        let mut words = command.into_iter();
        match words.next() {
            Some(program) => Self::open(Server::command(program).args(words)),
            None => Err(Error::new(ErrorKind::InvalidInput, "there is no command to start")),
        }
    }

    /// Connects to the server at a URL.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::open`].
    #[cfg(feature = "http")]
    pub fn connect(url: impl Into<String>) -> Result<Self> {
        Self::open(Server::url(url))
    }

    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::open`].
    pub fn open(server: Server) -> Result<Self> {
        Self::builder().open(server)
    }

    /// Returns a builder, to set more than the server.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Returns who the server says it is. For display only: nobody has checked it.
    pub fn server_info(&self) -> Option<&Implementation> {
        self.inner.session.terms().server_info.as_ref()
    }

    /// Returns what the server declared to offer.
    pub fn capabilities(&self) -> &ServerCapabilities {
        &self.inner.session.terms().capabilities
    }

    /// Returns the server's settings (an object) for an extension of the protocol, or `None` if it does
    /// not support that. It is in use if this client declares it, too: see
    /// [`ClientBuilder::extension`].
    pub fn extension(&self, id: &str) -> Option<&Value> {
        self.capabilities().extension(id)
    }

    /// Returns what the server says about how to use it, which is meant for a model.
    pub fn instructions(&self) -> Option<&str> {
        self.inner.session.terms().instructions.as_deref()
    }

    /// Returns the revision of the protocol that client and server agreed on.
    pub fn protocol_version(&self) -> ProtocolVersion {
        self.inner.session.terms().version
    }

    /// Returns the name that errors and logs call the server by.
    pub fn server_name(&self) -> &str {
        self.inner.session.server()
    }

    fn is_modern(&self) -> bool {
        self.protocol_version().era() == Era::Modern
    }

    /// Returns all of the server's tools (`tools/list`).
    ///
    /// Over HTTP a tool can want arguments in headers, too (`x-mcp-header`): from then on its calls
    /// have them. A tool that wants what no header can say is left out, and a warning logged. So is,
    /// without a warning, what [`Server::include_tools`] and [`Server::exclude_tools`] leave out.
    ///
    /// # Errors
    ///
    /// As [`List::all`].
    pub fn list_tools(&self) -> Result<Vec<Tool>> {
        self.tools().all()
    }

    /// Returns the list of tools, to be asked for as it is needed.
    pub fn tools(&self) -> List<Tool> {
        List::new(self)
    }

    /// Those among the server's tools that can be called.
    fn usable(&self, mut tools: Vec<Tool>) -> Vec<Tool> {
        if let Some(filter) = &self.inner.server.tool_filter {
            filter.retain(&mut tools);
        }
        if let Some(table) = &self.inner.tasks {
            table.learn(&tools);
        }
        match &self.inner.tools {
            Some(table) => table.learn(self.server_name(), tools),
            None => tools,
        }
    }

    /// Calls a tool with arguments (an object) and waits for its result (`tools/call`).
    ///
    /// A tool that failed returns a result that says so (`is_error`);
    /// [`into_result`](CallToolResult::into_result) makes it an error.
    ///
    /// # Errors
    ///
    /// As [`Request::call`]. [`Error::may_have_run`] says whether the tool may have begun.
    pub fn call_tool(
        &self,
        name: impl Into<String>,
        arguments: impl Serialize,
    ) -> Result<CallToolResult> {
        self.tool(name).args(arguments).call()
    }

    /// Returns a builder for a call of a tool.
    pub fn tool<'a>(&self, name: impl Into<String>) -> Request<'a, CallToolResult> {
        let params = CallToolParams::new(name, Some(RawJson::empty_object()));
        Request::new(self, ClientRequest::CallTool(Box::new(params)))
    }

    /// Returns all of the server's resources (`resources/list`).
    ///
    /// # Errors
    ///
    /// As [`List::all`].
    pub fn list_resources(&self) -> Result<Vec<Resource>> {
        self.resources().all()
    }

    /// Returns the list of resources, to be asked for as it is needed.
    pub fn resources(&self) -> List<Resource> {
        List::new(self)
    }

    /// Returns all templates for URIs of resources (`resources/templates/list`).
    ///
    /// # Errors
    ///
    /// As [`List::all`].
    pub fn list_resource_templates(&self) -> Result<Vec<ResourceTemplate>> {
        self.resource_templates().all()
    }

    /// Returns the list of templates, to be asked for as it is needed.
    pub fn resource_templates(&self) -> List<ResourceTemplate> {
        List::new(self)
    }

    /// Reads a resource (`resources/read`). Several contents can come back, of other URIs too.
    ///
    /// # Errors
    ///
    /// As [`Request::call`]. [`Error::is_not_found`] says whether there is no such resource.
    pub fn read_resource(&self, uri: impl Into<String>) -> Result<ReadResourceResult> {
        self.resource(uri).call()
    }

    /// Returns a builder for reading a resource.
    pub fn resource<'a>(&self, uri: impl Into<String>) -> Request<'a, ReadResourceResult> {
        Request::new(self, ClientRequest::ReadResource(ReadResourceParams::new(uri)))
    }

    /// Reads many resources at once. Returns one result for each URI, in their order.
    ///
    /// At most [`Limits::in_flight`](crate::Limits::in_flight) are asked for at a time. With a [`Cache`],
    /// those that are kept are not asked for.
    pub fn read_resources(
        &self,
        uris: impl IntoIterator<Item = impl Into<String>>,
    ) -> Vec<Result<ReadResourceResult>> {
        let at_once = self.inner.server.limits.in_flight.max(1);
        let mut started = VecDeque::new();
        let mut results = Vec::new();
        for uri in uris {
            if started.len() == at_once {
                results.extend(started.pop_front().map(finish));
            }
            let request = self.resource(uri);
            started.push_back(match request.kept() {
                Some(kept) => Started::Kept(kept),
                None => Started::Asked(request.start()),
            });
        }
        results.extend(started.into_iter().map(finish));
        return results;

        #[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
        enum Started<'a> {
            Kept(ReadResourceResult),
            Asked(Result<Pending<'a, ReadResourceResult>>),
        }

        fn finish(started: Started<'_>) -> Result<ReadResourceResult> {
            match started {
                Started::Kept(kept) => Ok(kept),
                Started::Asked(started) => started?.wait(),
            }
        }
    }

    /// Returns all of the server's prompts (`prompts/list`).
    ///
    /// # Errors
    ///
    /// As [`List::all`].
    pub fn list_prompts(&self) -> Result<Vec<Prompt>> {
        self.prompts().all()
    }

    /// Returns the list of prompts, to be asked for as it is needed.
    pub fn prompts(&self) -> List<Prompt> {
        List::new(self)
    }

    /// Gets a prompt, filled in with arguments (`prompts/get`).
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// # use umcp::json;
    /// # let client = umcp::Client::open(
    /// #     Script::new().answer("prompts/get", json!({ "messages": [] })).server())?;
    /// let prompt = client.get_prompt("review", [("style", "brief")])?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Request::call`].
    pub fn get_prompt(
        &self,
        name: impl Into<String>,
        arguments: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<GetPromptResult> {
        let arguments = arguments.into_iter();
        arguments.fold(self.prompt(name), |prompt, (name, value)| prompt.arg(name, value)).call()
    }

    /// Returns a builder for getting a prompt.
    pub fn prompt<'a>(&self, name: impl Into<String>) -> Request<'a, GetPromptResult> {
        let params = GetPromptParams::new(name, Default::default());
        Request::new(self, ClientRequest::GetPrompt(params))
    }

    /// Asks how an argument of a prompt or template could go on (`completion/complete`).
    ///
    /// # Errors
    ///
    /// As [`Request::call`].
    pub fn complete(
        &self,
        reference: CompletionReference,
        argument: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Completion> {
        Ok(self.completion(reference, argument, value).call()?.completion)
    }

    /// Returns a builder for a completion.
    pub fn completion<'a>(
        &self,
        reference: CompletionReference,
        argument: impl Into<String>,
        value: impl Into<String>,
    ) -> Request<'a, CompleteResult> {
        let params = CompleteParams::new(reference, argument, value);
        Request::new(self, ClientRequest::Complete(Box::new(params)))
    }

    /// Returns a builder for a subscription to what changes at the server: its lists, resources and
    /// tasks.
    ///
    /// ```
    /// # use umcp::{Client, Server, json};
    /// # let server = Server::in_memory(|peer| {
    /// #     let listen = peer.open_modern(json!({ "tools": { "listChanged": true } })).unwrap();
    /// #     let meta = json!({ "io.modelcontextprotocol/subscriptionId": listen.id() });
    /// #     let params = json!({ "_meta": meta, "notifications": { "toolsListChanged": true } });
    /// #     peer.notify("notifications/subscriptions/acknowledged", params);
    /// #     peer.notify("notifications/tools/list_changed", json!({ "_meta": meta }));
    /// #     while peer.receive().is_some() {}
    /// # });
    /// use std::time::Duration;
    ///
    /// # let client = Client::open(server)?;
    /// let mut changes = client.subscribe().tools().open()?;
    /// if let Some(change) = changes.next_timeout(Duration::from_secs(60))? {
    ///     println!("{change:?}");
    /// }
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn subscribe(&self) -> SubscriptionBuilder {
        SubscriptionBuilder::new(self)
    }

    /// Asks for a sign of life, and returns how long it took.
    ///
    /// Sends `ping` to a legacy server. The modern era has no such method: there it is
    /// `server/discover`, which every server answers and which changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Request::call`].
    pub fn ping(&self) -> Result<Duration> {
        let request = if self.is_modern() { ClientRequest::Discover } else { ClientRequest::Ping };
        let asked = Instant::now();
        Request::<EmptyResult>::new(self, request).call()?;
        Ok(asked.elapsed())
    }

    /// Asks the server to send log messages of at least this level.
    ///
    /// A legacy server is told once (`logging/setLevel`). In the modern era, where the level is
    /// part of a request, every later one names it. Messages go to [`Request::on_log`] or
    /// [`ClientBuilder::on_notification`].
    ///
    /// # Errors
    ///
    /// As [`Request::call`]; none in the modern era.
    pub fn set_log_level(&self, level: LoggingLevel) -> Result<()> {
        if self.is_modern() {
            self.inner.session.set_log_level(level);
            return Ok(());
        }
        let request = ClientRequest::SetLevel(SetLevelParams::new(level.clone()));
        Request::<EmptyResult>::new(self, request).call()?;
        self.inner.session.set_log_level(level);
        Ok(())
    }

    /// Changes the directories and files that the server may work on, of a client that was opened
    /// with [`root`](ClientBuilder::root) or [`roots`](ClientBuilder::roots). A legacy server is told; a modern one asks when it needs
    /// them.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if one of them is no `file://` URI, or if the client
    /// was opened without roots, as the server was told then that it had none.
    pub fn set_roots(&self, roots: impl IntoIterator<Item = Root>) -> Result<()> {
        let roots: Vec<Root> = roots.into_iter().collect();
        let at_server = |error: Error| error.server(self.inner.session.server());
        roots.iter().try_for_each(Root::check).map_err(at_server)?;
        let Some(current) = &self.inner.handlers.roots else {
            let error = Error::new(ErrorKind::InvalidInput, "the client was opened without roots");
            return Err(at_server(error));
        };
        *current.lock().unwrap_or_else(PoisonError::into_inner) = roots;
        // What a server offers may depend on them.
        self.cache().clear();
        self.inner.session.notify("notifications/roots/list_changed");
        // What was asked for before it was told of them.
        self.cache().clear();
        Ok(())
    }

    /// Returns a builder for any method with any params (an object, or `()` for none), whose
    /// result comes back as it is.
    ///
    /// What the era demands in `_meta` is added. Capabilities are not checked. `initialize` is
    /// refused, as the connection has been opened already.
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// # use umcp::json;
    /// # let client = umcp::Client::open(
    /// #     Script::new().answer("example/sum", json!({ "sum": 3 })).server())?;
    /// let result = client.request("example/sum", json!({ "of": [1, 2] })).call()?;
    /// assert_eq!(result.to_value().unwrap()["sum"], 3);
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn request<'a>(
        &self,
        method: impl Into<String>,
        params: impl Serialize,
    ) -> Request<'a, RawJson> {
        let method = method.into();
        let params = match RawJson::from_value(&params) {
            Ok(params) if params.is_null() => Ok(RawJson::empty_object()),
            Ok(params) => Ok(params),
            Err(error) => Err(format!("the params cannot be written: {error}")),
        };
        let parts = params.and_then(|params| {
            if method == "initialize" || method.starts_with("notifications/") {
                return Err(format!("{method:?} is not a request to make by hand"));
            }
            RawRequest::new(method.clone(), &params).ok_or("params are an object".to_owned())
        });
        match parts {
            Ok((raw, meta)) => meta
                .into_iter()
                .fold(Request::new(self, ClientRequest::Raw(raw)), |request, (key, value)| {
                    request.meta(key, value)
                }),
            Err(why) => Request::refused(self, method, why),
        }
    }

    /// Returns what the client has done so far: requests, errors, bytes, and how long replies took.
    ///
    /// It is always counted, from the connection that was opened on, and for all clones of the client
    /// together. Does not block.
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// # let client = umcp::Client::open(Script::new().server())?;
    /// let metrics = client.metrics();
    /// println!("{} of {} requests failed", metrics.errors, metrics.requests);
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn metrics(&self) -> Metrics {
        self.inner.session.metrics()
    }

    /// Waits until the connection has ended, for a program that only listens. Returns why
    /// ([`Closed`](ErrorKind::Closed) if this program closed it), or `None` if it goes on.
    ///
    /// Blocks for at most `wait` (which may be [`Duration::MAX`]), also until the listener
    /// ([`ClientBuilder::on_notification`]) has returned from what came before the end (which that
    /// listener itself does not wait for). Over Streamable HTTP nothing but [`close`](Self::close) ends
    /// a connection.
    ///
    /// ```
    /// use std::time::Duration;
    /// use umcp::{Client, ErrorKind, Server, json};
    ///
    /// // It ends as soon as a tool is called.
    /// let server = Server::in_memory(|peer| {
    ///     peer.open_modern(json!({ "tools": {} }));
    /// });
    /// let client = Client::open(server)?;
    /// let _ = client.call_tool("any", json!({}));
    /// let why = client.wait_for_end(Duration::MAX).unwrap();
    /// assert_eq!(why.kind(), ErrorKind::Disconnected);
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn wait_for_end(&self, wait: Duration) -> Option<Error> {
        self.inner.session.wait_for_end(Deadline::after(wait))
    }

    /// Closes the connection: everything that waits fails with
    /// [`Closed`](ErrorKind::Closed), the server ends, and nothing of either stays behind.
    ///
    /// A server that is a process sees the end of its stdin, after
    /// [`Timeouts::close_grace`](crate::Timeouts::close_grace) is told to end, and after
    /// [`Timeouts::kill_grace`](crate::Timeouts::kill_grace) is ended by force, with everything it
    /// has started. Blocks for both and a second more at most. Idempotent: the first report stands.
    pub fn close(&self) -> CloseReport {
        self.inner.session.close()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.server_name())
            .field("version", &self.protocol_version())
            .finish_non_exhaustive()
    }
}

impl<'a> Request<'a, RawJson> {
    /// A request that fails when it is made.
    fn refused(client: &Client, method: String, why: String) -> Self {
        let empty = RawRequest::new(method, &RawJson::empty_object());
        let request = empty.map_or(ClientRequest::Ping, |(raw, _)| ClientRequest::Raw(raw));
        Request::new(client, request).with_problem(why)
    }
}
