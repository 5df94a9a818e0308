//! Opening a client with more than a server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use serde_json::{Map, Value};

use crate::client::cache::{Cache, Shared};
use crate::client::era_memory::EraMemory;
use crate::client::handlers::{Handlers, INVALID_PARAMS, SamplingRefusal};
use crate::client::notification::{Context, Notification};
use crate::client::task_table::TaskTable;
use crate::client::tool_table::ToolTable;
use crate::client::{Client, Inner, Retry, Server, task};
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::protocol::envelope::Message;
use crate::protocol::meta::check_extension;
use crate::protocol::{
    ClientCapabilities, CreateMessageParams, CreateMessageResult, ElicitFormParams, ElicitResult,
    ElicitUrlParams, Era, Implementation, InputRequest, RawJson, Root, TASKS,
};
use crate::session::{
    Answers, CancelToken, Changed, Event, EventKind, Kinds, OnChange, OnEvent, Opening, Pin,
    Refusal, Session, Trace,
};

type OnNotification = dyn Fn(&Notification, &Context<'_>) + Send + Sync;

/// Opens a [`Client`] that says who it is and listens to its server.
///
/// ```
/// use umcp::memory::Script;
/// use umcp::Client;
///
/// let client = Client::builder()
///     .client_info("my-program", "1.0")
///     .on_notification(|notification, _| eprintln!("{}", notification.method()))
///     .open(Script::new().server())?;
/// # Ok::<(), umcp::Error>(())
/// ```
#[must_use = "a builder does nothing until `open`"]
pub struct ClientBuilder {
    info: Implementation,
    cancel: Option<CancelToken>,
    era_memory: Option<Box<dyn EraMemory>>,
    on_notification: Option<Arc<OnNotification>>,
    listeners: Vec<(Kinds, Arc<OnEvent>)>,
    trace: Option<Arc<Trace>>,
    handlers: Handlers,
    extensions: BTreeMap<String, Value>,
    retry: Option<Retry>,
    cache: Option<Cache>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            info: Implementation::new("umcp", env!("CARGO_PKG_VERSION")),
            cancel: None,
            era_memory: None,
            on_notification: None,
            listeners: Vec::new(),
            trace: None,
            handlers: Handlers::default(),
            extensions: BTreeMap::new(),
            retry: None,
            cache: None,
        }
    }

    /// Sets the name and version that servers see this program as.
    pub fn client_info(self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.implementation(Implementation::new(name, version))
    }

    /// Sets everything that servers see this program as.
    pub fn implementation(mut self, info: Implementation) -> Self {
        self.info = info;
        self
    }

    /// Sets a token that ends [`open`](Self::open) from another thread.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Sets whether and when requests are made again that failed, unless
    /// [`Request::retry`](crate::Request::retry) says otherwise. Without this none is.
    ///
    /// It also holds for opening a connection to a URL that cannot be reached: each attempt has
    /// [`Timeouts::connect`](crate::Timeouts::connect), and none begins after
    /// [`Timeouts::max_total`](crate::Timeouts::max_total).
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Sets where to remember what era a server speaks, so that opening the next client for it
    /// need not find out. Without one every opening finds out.
    ///
    /// ```no_run
    /// use umcp::{Client, EraFile, Server};
    ///
    /// let server = Server::command("old-server");
    /// let client = Client::builder().era_memory(EraFile::new("eras.json")).open(server)?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    ///
    /// A server that is remembered as legacy gets `initialize` at once, and is asked for its era
    /// after all if that does not work; a remembered modern one is asked as ever. A server with a
    /// set [`era`](Server::era) or [`version`](Server::version) needs no memory and leaves it
    /// alone. A [`Server::stream`] or
    /// [`Server::in_memory`] is remembered if it has a [`name`](Server::name).
    pub fn era_memory(mut self, memory: impl EraMemory + 'static) -> Self {
        self.era_memory = Some(Box::new(memory));
        self
    }

    /// Keeps what the server answers, and gives it out again while it is fresh. Without this nothing is
    /// kept. See [`Cache`] for what and how, and the [guide](crate::guide::caching).
    ///
    /// The server says what changes meanwhile, and that holds at once: a legacy one unasked as to lists,
    /// everything else to a [subscription](Client::subscribe). What a server says before it answers a call
    /// holds when that call returns, except over HTTP, where a subscription has a connection of its own.
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// use umcp::{Cache, Client};
    ///
    /// # let server = Script::new().server();
    /// let client = Client::builder().cache(Cache::new()).open(server)?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Adds a function that is called for every event of a kind, from
    /// [`Connected`](EventKind::Connected) on. There can be several for one kind; to remove one again,
    /// add it with [`Client::on`] instead.
    ///
    /// Functions run on one thread of the client's, for one event after the other, in the order in
    /// which things happened; how long they take holds up nothing but themselves. When too many events
    /// wait for them ([`Limits::notifications`](crate::Limits::notifications)), further ones are
    /// dropped, and the next says [how many](Event::missed). Closing the client waits a second for
    /// those that wait. A function that panics misses one event.
    ///
    /// ```
    /// use umcp::{Client, EventKind};
    ///
    /// let builder = Client::builder()
    ///     .on(EventKind::ToolCalled, |call| println!("{call}"))
    ///     .on(EventKind::Disconnected, |end| println!("{end}"));
    /// ```
    pub fn on(mut self, kind: EventKind, listen: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.push((Kinds::only(kind), Arc::new(listen)));
        self
    }

    /// Adds a function that is called for every event. As [`on`](Self::on) otherwise.
    pub fn on_event(mut self, listen: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.push((Kinds::ALL, Arc::new(listen)));
        self
    }

    /// Hands what the server logs on to the [`log`] crate, with `umcp::server::` and the server's name
    /// as the target.
    ///
    /// It is not done by itself, as what a server logs may be a secret. Each message is one line of
    /// bounded length without control characters. `notice` becomes [`Info`](log::Level::Info),
    /// everything above `error` becomes [`Error`](log::Level::Error). Ask for messages with
    /// [`Client::set_log_level`].
    pub fn forward_log(self) -> Self {
        self.on(EventKind::LogMessage, forward)
    }

    /// Sets where requests get their trace context from: `traceparent`, `tracestate` and `baggage`, as
    /// W3C Trace Context and W3C Baggage have them.
    ///
    /// The function is asked for each attempt to send a request, on the thread that sends it, so that
    /// each can have a span of its own. The requests that open a connection have none, nor has one that
    /// cancels a task as its call is left. What is malformed or has another key is left out, and so is
    /// what a request has been given by [`meta`](crate::Request::meta). The server reads all of it: of
    /// the baggage, give only what it is to know.
    ///
    /// ```
    /// # fn traceparent() -> String { String::new() }
    /// let builder = umcp::Client::builder().trace_context(|| [("traceparent", traceparent())]);
    /// ```
    pub fn trace_context<K: Into<String>, V: Into<String>, I: IntoIterator<Item = (K, V)>>(
        mut self,
        current: impl Fn() -> I + Send + Sync + 'static,
    ) -> Self {
        let members = move || {
            let members = current().into_iter();
            members.map(|(key, value)| (key.into(), value.into())).collect()
        };
        self.trace = Some(Arc::new(members));
        self
    }

    /// Sets what to do with notifications that belong to no call, as they came: log messages, changed
    /// lists. For what they mean, and for everything else that happens, there are events
    /// ([`on`](Self::on)).
    ///
    /// The function runs as those for events do, on the same thread. It may call the client.
    pub fn on_notification(
        mut self,
        listen: impl Fn(&Notification, &Context<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.on_notification = Some(Arc::new(listen));
        self
    }

    /// Sets what to do when a server has a question for the user: a form to be filled in
    /// (`elicitation/create`).
    ///
    /// What is accepted is checked against the form, and what was left out gets its default. To
    /// [decline](ElicitResult::decline) or to [turn away](ElicitResult::cancel) are answers, too.
    /// Without this the server is told that there is nobody to ask.
    ///
    /// The `timeout` of the call in which the server asks stands still meanwhile. In the modern era the
    /// function runs on the thread that waits for that call; for a legacy server, which does not always
    /// say which call that is, on a thread of its own, of which there are
    /// [`Limits::handlers`](crate::Limits::handlers) at most. It may call the client, whose server may ask
    /// again, and so on: up to eight deep in the modern era, and as deep as there are threads for handlers
    /// in the legacy era. Beyond that the server gets no answer, and the call in which it asks an error.
    ///
    /// ```
    /// use umcp::protocol::ElicitResult;
    /// use umcp::{Client, json};
    ///
    /// let builder = Client::builder().on_elicitation(|form, context| {
    ///     eprintln!("{} asks: {}", context.client().server_name(), form.message);
    ///     match form.requested_schema.property("name") {
    ///         Some(_) => ElicitResult::accept([("name".to_owned(), json!("Ada"))].into_iter().collect()),
    ///         None => ElicitResult::decline(),
    ///     }
    /// });
    /// ```
    pub fn on_elicitation(
        mut self,
        handle: impl Fn(&ElicitFormParams, &Context<'_>) -> ElicitResult + Send + Sync + 'static,
    ) -> Self {
        self.handlers.form = Some(Arc::new(handle));
        self
    }

    /// Sets what to do when a server wants the user to visit a URL (`elicitation/create` in URL
    /// mode). As [`on_elicitation`](Self::on_elicitation) otherwise.
    ///
    /// Nothing is opened by itself. Show the user who asks and the whole
    /// [host](ElicitUrlParams::host), and open the URL only with consent;
    /// [`accept_url`](ElicitResult::accept_url) says that they agreed, not that they are done. URLs
    /// that are neither `https://` nor on this machine are declined before the function is called.
    pub fn on_url_elicitation(
        mut self,
        handle: impl Fn(&ElicitUrlParams, &Context<'_>) -> ElicitResult + Send + Sync + 'static,
    ) -> Self {
        self.handlers.url = Some(Arc::new(handle));
        self
    }

    /// Sets what to do when a server wants a model to answer (`sampling/createMessage`; deprecated
    /// in 2026-07-28). Runs as [`on_elicitation`](Self::on_elicitation) does. The conversation has
    /// been checked: uses of tools and their results match.
    ///
    /// ```
    /// use umcp::protocol::CreateMessageResult;
    /// use umcp::{Client, SamplingRefusal};
    ///
    /// let builder = Client::builder().on_sampling(|request, _| match request.max_tokens {
    ///     0..=1000 => Ok(CreateMessageResult::text("my-model", "Hello!")),
    ///     _ => Err(SamplingRefusal::declined()),
    /// });
    /// ```
    pub fn on_sampling(
        mut self,
        handle: impl Fn(
            &CreateMessageParams,
            &Context<'_>,
        ) -> Result<CreateMessageResult, SamplingRefusal>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.handlers.sampling = Some(Arc::new(handle));
        self.handlers.samples_with_tools = false;
        self
    }

    /// As [`on_sampling`](Self::on_sampling), and the model may be given tools by the server.
    pub fn on_sampling_with_tools(
        self,
        handle: impl Fn(
            &CreateMessageParams,
            &Context<'_>,
        ) -> Result<CreateMessageResult, SamplingRefusal>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let mut builder = self.on_sampling(handle);
        builder.handlers.samples_with_tools = true;
        builder
    }

    /// Adds a directory or file that servers may work on (`roots/list`; deprecated in 2026-07-28).
    /// See [`Client::set_roots`] for changing them later.
    ///
    /// ```
    /// use umcp::Client;
    /// use umcp::protocol::Root;
    ///
    /// # #[cfg(unix)]
    /// let builder = Client::builder().root(Root::path("/project")?);
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn root(mut self, root: Root) -> Self {
        let roots = self.handlers.roots.get_or_insert_default();
        roots.lock().unwrap_or_else(PoisonError::into_inner).push(root);
        self
    }

    /// Sets all directories and files that servers may work on, in place of those added before. None at
    /// all is a list, too: the server is told that there may be some later.
    pub fn roots(mut self, roots: impl IntoIterator<Item = Root>) -> Self {
        self.handlers.roots = Some(Arc::new(Mutex::new(roots.into_iter().collect())));
        self
    }

    /// Lets calls of tools become tasks: work that a server goes on with by itself, and is asked for.
    ///
    /// Declares the extension `io.modelcontextprotocol/tasks` (2026-07-28), and where a server has the
    /// experimental tasks of 2025-11-25, uses those. A call that becomes a task is followed to its end
    /// within the call, whose clocks go on; with [`Request::start_task`](crate::Request::start_task)
    /// the [`Task`](crate::Task) is handed out instead.
    ///
    /// ```
    /// use umcp::memory::Script;
    /// use umcp::{Client, json};
    ///
    /// let task = json!({ "taskId": "7", "status": "working", "createdAt": "", "lastUpdatedAt": "",
    ///     "ttlMs": null, "pollIntervalMs": 1 });
    /// let (mut created, mut done) = (task.clone(), task);
    /// created["resultType"] = "task".into();
    /// done["status"] = "completed".into();
    /// done["result"] = json!({ "content": [{ "type": "text", "text": "at last" }] });
    /// let script = Script::new().answer("tools/call", created).answer("tasks/get", done);
    ///
    /// let client = Client::builder().tasks().open(script.server())?;
    /// assert_eq!(client.call_tool("report", json!({}))?.text(), "at last");
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn tasks(self) -> Self {
        self.extension(TASKS, Map::new())
    }

    /// Declares an extension of the protocol by its identifier, with settings (an object; most have
    /// none): in every request of the modern era, and in the handshake of the legacy one. None is
    /// declared otherwise, and umcp itself knows [`tasks`](Self::tasks) only: what another one means
    /// is the program's own concern.
    ///
    /// See [`Client::extension`] for what the server says of it, and [`Client::request`] for its
    /// methods. `io.modelcontextprotocol/ui` is for programs that can show a page in a sandbox.
    ///
    /// ```
    /// use umcp::memory::Script;
    /// use umcp::{Client, json};
    ///
    /// # let script = Script::new();
    /// let settings = [("depth".to_owned(), json!(2))].into_iter().collect();
    /// let client = Client::builder().extension("com.example/trees", settings).open(script.server())?;
    /// assert!(client.extension("com.example/trees").is_none()); // the server does without
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn extension(mut self, id: impl Into<String>, settings: Map<String, Value>) -> Self {
        self.extensions.insert(id.into(), settings.into());
        self
    }

    /// Starts or reaches the server, finds out its era, and agrees with it on a version.
    ///
    /// Each attempt ([`retry`](Self::retry)) blocks for at most
    /// [`Timeouts::connect`](crate::Timeouts::connect) and, in addition, a
    /// silent server's [`Timeouts::patience`](crate::Timeouts::patience); a server that dies of
    /// being asked for its era is started a second time. A server that does not open the connection
    /// is ended by force, which takes half a second at most. Implements the lifecycle and the
    /// versioning of the specification.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if it could not be started or reached,
    /// [`Disconnected`](crate::ErrorKind::Disconnected) if it ended,
    /// [`Timeout`](crate::ErrorKind::Timeout), [`Cancelled`](crate::ErrorKind::Cancelled),
    /// [`Rpc`](crate::ErrorKind::Rpc) if it refused,
    /// [`Protocol`](crate::ErrorKind::Protocol) if there is no common version,
    /// [`Authorization`](crate::ErrorKind::Authorization), or
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput). Nothing of the server is left then.
    pub fn open(self, server: Server) -> Result<Client> {
        let label: Arc<str> = server.label().into();
        self.handlers.check().map_err(|error| error.server(&label))?;
        for id in self.extensions.keys() {
            check_extension(id).map_err(|why| {
                let text = format!("the extension {id:?}: {why}");
                Error::new(ErrorKind::InvalidInput, text).server(&label)
            })?;
        }
        let connect = server.connect().map_err(|error| error.server(&label))?;
        let client: Arc<OnceLock<Weak<Inner>>> = Arc::default();
        let mut listeners = self.listeners;
        if let Some(listen) = self.on_notification {
            let client = client.clone();
            let hear = move |event: &Event| {
                let Some(inner) = client.get().and_then(Weak::upgrade) else { return };
                let Some(notification) = Notification::of(event) else { return };
                listen(&notification, &Context::new(&Client { inner }));
            };
            listeners.push((Kinds::ASIDES, Arc::new(hear)));
        }
        let cache = self.cache.map(|settings| Arc::new(Shared::new(settings)));
        let on_change = cache.clone().map(|cache| {
            let changed = move |what: &Changed| cache.changed(what);
            Arc::new(changed) as Arc<OnChange>
        });
        let handlers = self.handlers;
        let memory = Memory::of(self.era_memory, &server);
        let opening = Opening {
            server: label,
            pin: server.pin,
            hint: memory.as_ref().and_then(|memory| memory.recalled),
            info: self.info,
            capabilities: ClientCapabilities {
                extensions: self.extensions,
                ..handlers.capabilities()
            },
            limits: server.limits.clone(),
            request_limits: server.request_limits.clone(),
            timeouts: server.timeouts.clone(),
            cancel: self.cancel,
            listeners,
            trace: self.trace,
            answers: answers(&handlers, &client),
            on_change,
        };
        let retry = self.retry;
        let open = || Session::open(&*connect, opening.clone());
        let opened = match &retry {
            Some(retry) if server.is_url() => retry.open(&opening, open),
            _ => open(),
        };
        let opened = opened.map(|session| {
            let tools = session.mirrors().then(ToolTable::default);
            let tasks = TaskTable::of(&session);
            let inner = Arc::new(Inner { session, server, tools, tasks, handlers, retry, cache });
            let _ = client.set(Arc::downgrade(&inner));
            inner.session.release();
            Client { inner }
        });
        if let Some(memory) = memory {
            memory.learn(&opened);
        }
        opened
    }
}

/// Logs what a server logged.
fn forward(event: &Event) {
    let Some(message) = event.log_message() else { return };
    let level = match message.level.severity() {
        Some(0) => log::Level::Debug,
        Some(3) => log::Level::Warn,
        Some(4..) => log::Level::Error,
        _ => log::Level::Info,
    };
    let target = format!("umcp::server::{}", said(event.server()));
    if log::log_enabled!(target: &target, level) {
        let logger = message.logger.map(|logger| format!("{logger}: ")).unwrap_or_default();
        let data = message.data.as_str().map_or_else(|| message.data.to_string(), str::to_owned);
        log::log!(target: &target, level, "{}", said(&(logger + &data)));
    }
}

/// What a legacy server's requests are answered with.
fn answers(handlers: &Handlers, client: &Arc<OnceLock<Weak<Inner>>>) -> Option<Arc<Answers>> {
    let (handlers, client) = (handlers.clone(), client.clone());
    let methods = handlers.methods();
    if methods.is_empty() {
        return None;
    }
    let answer = move |method: &str, message: &Message, is_cancelled: &AtomicBool| {
        let gone = || Refusal::new(-32603, "the client is gone");
        let inner = client.get().and_then(Weak::upgrade).ok_or_else(gone)?;
        let params = message.parse::<RawJson>().unwrap_or_else(|_| RawJson::empty_object());
        let request = InputRequest::new(method, params);
        let request = request.map_err(|error| Refusal::new(INVALID_PARAMS, misfit(&error)))?;
        let client = Client { inner };
        let context = Context::cancellable(&client, is_cancelled);
        let answer = handlers.answer(&request, &context)?;
        let failed = |error: serde_json::Error| Refusal::new(-32603, misfit(&error));
        RawJson::from_value(&answer)
            .and_then(|answer| task::relate(message, answer))
            .map_err(failed)
    };
    Some(Arc::new(Answers { methods, answer: Box::new(answer) }))
}

/// What a memory knows of one server.
struct Memory {
    eras: Box<dyn EraMemory>,
    name: String,
    recalled: Option<Era>,
}

impl Memory {
    fn of(eras: Option<Box<dyn EraMemory>>, server: &Server) -> Option<Self> {
        // A server that was told which era to speak shows nothing.
        let eras = eras.filter(|_| server.pin == Pin::Any)?;
        let name = server.name_in_memory()?;
        let recalled = eras.recall(&name);
        Some(Self { eras, name, recalled })
    }

    fn learn(&self, opened: &Result<Client>) {
        use ErrorKind::{Disconnected, Protocol, Rpc, Timeout};
        match opened {
            Ok(client) => {
                let era = client.protocol_version().era();
                if self.recalled != Some(era) {
                    self.eras.remember(&self.name, era);
                }
            }
            // How the server was spoken to may be why.
            Err(error) if matches!(error.kind(), Disconnected | Protocol | Rpc | Timeout) => {
                if self.recalled.is_some() {
                    self.eras.forget(&self.name);
                }
            }
            Err(_) => {}
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("info", &self.info).finish_non_exhaustive()
    }
}
