//! A small MCP server for the examples and tests to talk to.
//!
//! It does not use `umcp`, so that it can check it: it speaks the modern revision 2026-07-28 and
//! the four legacy ones, and is strict about what a client sends. What no error can answer, like
//! a wrong notification, is noted on stderr as `violation: …`. Batches are refused in every
//! revision, because the client never sends any.
#![allow(dead_code, unreachable_pub)] // no user of this module needs all of it
#![allow(clippy::indexing_slicing)] // a `Value` answers a missing key with null

#[path = "tasks.rs"]
mod tasks;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::{env, thread, time::Duration};

pub const MODERN: &str = "2026-07-28";
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
const LATEST_LEGACY: &str = "2025-11-25";
pub const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const INFO_KEY: &str = "io.modelcontextprotocol/clientInfo";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";
const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";
const MODERN_KEYS: [&str; 4] = [VERSION_KEY, INFO_KEY, CAPABILITIES_KEY, LEVEL_KEY];
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
const NAMES: [&str; 8] =
    ["Ada", "Alan", "Alonzo", "Barbara", "Dennis", "Donald", "Edsger", "Grace"];
const STYLES: [&str; 3] = ["brief", "gentle", "strict"];
/// A blue PNG of 4 × 4 pixels.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAEElEQVR42mNQSLgARwzEcQAXUhUB3HDx5wAAAABJRU5ErkJggg==";
/// A WAV of eight samples, mono, 8 bits, 8 kHz.
const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAsNCwgFAwUA==";
/// A resource somebody is subscribed to counts as updated so often, in seconds, and so many times.
const UPDATED_EVERY: f64 = 0.1;
const MOST_UPDATES: usize = 600;
const HELLO: &str = "Hello from the example server.\n";
const INSTRUCTIONS: &str = "A server to try things with; nothing here has a lasting effect.";

/// Which revisions the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28 only.
    Modern,
    /// 2024-11-05 to 2025-11-25 only.
    Legacy,
    /// All of them; the first request decides which era the process stays in.
    Both,
}

/// Speaks MCP on stdin and stdout until stdin ends.
pub fn serve_stdio(era: Era) -> io::Result<()> {
    serve(era, io::stdin().lock(), io::stdout())
}

/// Speaks MCP, one message per line, until the input ends.
///
/// Tools run on threads of their own. When the input ends, those that wait are cut short, so that
/// this returns soon; they still answer.
pub fn serve(era: Era, input: impl BufRead, output: impl Write + Send + 'static) -> io::Result<()> {
    let server = Server::new(era);
    let output = Mutex::new(output);
    let send = |message: Value| {
        let mut output = lock(&output);
        // A client that is gone shows as the end of the input.
        let _ = writeln!(output, "{message}").and_then(|()| output.flush());
    };
    thread::scope(|scope| {
        let end = input.split(b'\n').try_for_each(|line| {
            let Ok(message) = serde_json::from_slice(&line?) else {
                send(reply(None, Err(fault(-32700, "this line is not JSON"))));
                return Ok(());
            };
            if let Some(request) = server.accept(&message, &mut |reply| send(reply)) {
                let (server, send, takes_time) = (&server, &send, request.takes_time());
                let run = move || {
                    server.run(&request, &mut |message| send(message));
                    server.tell_updates(&request, &mut |message| send(message));
                };
                if takes_time { drop(scope.spawn(run)) } else { run() }
            }
            Ok(())
        });
        server.close();
        end
    })
}

/// A server and what it knows of one session (legacy) or one process (modern).
///
/// Over HTTP, keep one for each legacy session, and make one for every modern POST, as that era
/// has no state between requests.
#[derive(Debug)]
pub struct Server {
    era: Era,
    session: Mutex<Session>,
    /// Something was taken out of the running requests, or cancelled.
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct Session {
    /// Unknown before the first request.
    version: Option<&'static str>,
    /// Whether `notifications/initialized` has arrived.
    ready: bool,
    /// The legacy log level, as an index of [`LEVELS`].
    level: Option<usize>,
    /// What a legacy client can do.
    capabilities: Value,
    /// The ids of the requests in flight, and whether they are cancelled.
    running: HashMap<String, bool>,
    /// Every id of a legacy session.
    used: HashSet<String>,
    /// The ids that `notifications/cancelled` named.
    cancelled: Vec<Value>,
    /// What a legacy client is subscribed to, and the id of the request that did it.
    watched: HashMap<String, Value>,
    /// The requests that wait for the client, by id, and how many there have been.
    asked: HashMap<String, mpsc::Sender<Value>>,
    asked_so_far: u64,
}

/// A request that passed the checks of its era.
#[derive(Debug)]
pub struct Request {
    id: Value,
    pub method: String,
    params: Value,
    version: &'static str,
}

/// A result or an error, without the envelope.
pub type Answer<T = Value> = Result<T, Value>;
pub type Emit<'a> = &'a mut dyn FnMut(Value);

impl Server {
    /// A server that nobody has talked to yet.
    pub fn new(era: Era) -> Self {
        Self { era, session: Mutex::default(), stopped: Condvar::new() }
    }

    /// Handles one message and returns when that is done. For a request, `send` gets all that
    /// belongs to it: notifications and requests to the client, if any, and the reply at last.
    pub fn handle(&self, message: &Value, send: Emit) {
        if let Some(request) = self.accept(message, send) {
            self.run(&request, send);
        }
    }

    /// Takes in one message. Returns a request that is left to run, and refuses a wrong one.
    pub fn accept(&self, message: &Value, send: Emit) -> Option<Request> {
        let params = message.get("params").cloned().unwrap_or(json!({}));
        let right = message["jsonrpc"] == "2.0" && params.is_object();
        let id = message.get("id").filter(|id| is_id(id));
        let admitted = match (message["method"].as_str(), id) {
            (Some(method), None) if message.get("id").is_none() => {
                self.notification(method, &params, right);
                return None;
            }
            (None, _) if message.get("result").or(message.get("error")).is_some() => {
                self.response(message);
                return None;
            }
            (Some(method), Some(id)) if right => self.admit(method, params, id),
            _ => Err(fault(-32600, "not one valid JSON-RPC 2.0 request")),
        };
        admitted.map_err(|error| send(reply(id, Err(error)))).ok()
    }

    /// Decides under which version a request is served, if at all, and notes its id.
    fn admit(&self, method: &str, params: Value, id: &Value) -> Answer<Request> {
        let (meta, key) = (&params["_meta"], id.to_string());
        let token = meta.get("progressToken");
        if !(meta.is_null() || meta.is_object()) || token.is_some_and(|token| !is_id(token)) {
            return Err(fault(-32602, "`_meta` or its `progressToken` is of a wrong type"));
        }
        let session = &mut *lock(&self.session);
        let opens = method == "initialize" || (method == "ping" && modern_key(meta).is_none());
        let modern = match (session.version, self.era) {
            (None, Era::Both) => !opens,
            (None, era) => era == Era::Modern,
            (Some(version), _) => version == MODERN,
        };
        if modern {
            self.check_modern(method, &params)?;
        } else {
            check_legacy(session, method, meta)?;
        }
        if session.running.contains_key(&key) || (!modern && !session.used.insert(key.clone())) {
            return Err(fault(-32600, "this id is taken"));
        }
        let version = if modern { MODERN } else { session.version.unwrap_or(LATEST_LEGACY) };
        session.version = session.version.or(modern.then_some(MODERN));
        session.running.insert(key, false);
        Ok(Request { id: id.clone(), method: method.to_owned(), params, version })
    }

    /// The checks that every modern request has to pass.
    fn check_modern(&self, method: &str, params: &Value) -> Answer<()> {
        let meta = &params["_meta"];
        let wrong = |key| Err(fault(-32602, format!("`_meta` needs a valid `{key}`")));
        let requested = match (method, meta[VERSION_KEY].as_str()) {
            ("initialize", _) if self.era == Era::Modern => {
                params["protocolVersion"].as_str().unwrap_or_default()
            }
            ("initialize", _) => return Err(fault(-32600, "this process is modern by now")),
            (_, None) => return wrong(VERSION_KEY),
            (_, Some(requested)) => requested,
        };
        if requested != MODERN || method == "initialize" {
            let supported = self.versions();
            let message = format!("this server speaks {}", supported.join(", "));
            let data = json!({"supported": supported, "requested": requested});
            return Err(with(fault(-32022, message), json!({"data": data})));
        } else if !is_capabilities(&meta[CAPABILITIES_KEY]) {
            return wrong(CAPABILITIES_KEY);
        } else if meta.get(INFO_KEY).is_some_and(|info| !is_implementation(info)) {
            return wrong(INFO_KEY);
        } else if meta.get(LEVEL_KEY).is_some_and(|name| level(name).is_none()) {
            return wrong(LEVEL_KEY);
        }
        Ok(())
    }

    /// What the session has agreed on, once it has.
    pub fn version(&self) -> Option<&'static str> {
        lock(&self.session).version
    }

    fn versions(&self) -> Vec<&'static str> {
        let legacy: &[&str] = if self.era == Era::Both { &LEGACY } else { &[] };
        [MODERN].iter().chain(legacy).copied().collect()
    }

    /// A response from the client, which only legacy clients may send.
    fn response(&self, message: &Value) {
        let one = message.get("result").is_some() != message.get("error").is_some();
        let right = one && message["jsonrpc"] == "2.0";
        // In the modern era, nothing has been asked.
        match lock(&self.session).asked.remove(&message["id"].to_string()) {
            Some(asked) if right => drop(asked.send(message.clone())),
            _ => violation(format_args!("a response that is wrong or unasked for: {message}")),
        }
    }

    fn notification(&self, method: &str, params: &Value, right: bool) {
        let session = &mut *lock(&self.session);
        let legacy = self.era != Era::Modern && session.version != Some(MODERN);
        match method {
            _ if !right || (legacy && modern_key(&params["_meta"]).is_some()) => {
                violation(format_args!("{method} is malformed: {params}"));
            }
            "notifications/cancelled" if is_id(&params["requestId"]) => {
                let id = &params["requestId"];
                session.cancelled.push(id.clone());
                session.running.entry(id.to_string()).and_modify(|cancelled| *cancelled = true);
                self.stopped.notify_all();
            }
            "notifications/initialized"
                if legacy && session.version.is_some() && !session.ready =>
            {
                session.ready = true;
            }
            "notifications/roots/list_changed" if session.ready => {}
            _ => violation(format_args!("{method} does not belong here: {params}")),
        }
    }

    /// The client is gone: nothing should go on waiting.
    pub fn close(&self) {
        let mut session = lock(&self.session);
        session.running.retain(|_, cancelled| *cancelled);
        session.asked.clear();
        session.watched.clear();
        self.stopped.notify_all();
    }

    /// Waits this long, or until the request should stop. Returns whether it should.
    fn wait(&self, request: &Request, seconds: f64) -> bool {
        let (id, time) = (request.id.to_string(), Duration::from_secs_f64(seconds));
        let goes_on = |session: &mut Session| session.running.get(&id) == Some(&false);
        let waited = self.stopped.wait_timeout_while(lock(&self.session), time, goes_on);
        !goes_on(&mut waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Runs a request and sends the reply, unless the request was cancelled.
    pub fn run(&self, request: &Request, send: Emit) {
        let answer = self.dispatch(request, send);
        let cancelled = lock(&self.session).running.remove(&request.id.to_string());
        if cancelled != Some(true) {
            send(reply(Some(&request.id), answer));
        }
    }

    fn dispatch(&self, request: &Request, send: Emit) -> Answer {
        let result = match (request.method.as_str(), request.modern()) {
            ("server/discover", true) => {
                Ok(with(about(MODERN), json!({"supportedVersions": self.versions()})))
            }
            ("initialize", false) => self.initialize(request),
            ("ping", false) => Ok(json!({})),
            ("logging/setLevel", false) => self.set_level(request),
            ("tools/list", _) => page(request, "tools", tools(request), 3),
            ("tools/call", _) => self.call_tool(request, send),
            (method, _) if method.starts_with("tasks/") => {
                tasks::answer(self, request).unwrap_or_else(|| Err(unknown(method)))
            }
            ("resources/list", _) => page(request, "resources", resources(), 10),
            ("resources/templates/list", _) => page(request, "resourceTemplates", templates(), 10),
            ("resources/read", _) => read_resource(request),
            ("subscriptions/listen", true) => self.listen(request, send),
            ("resources/subscribe" | "resources/unsubscribe", false) => self.watch(request),
            ("prompts/list", _) => page(request, "prompts", prompts(), 10),
            ("prompts/get", _) => get_prompt(request),
            ("completion/complete", _) => complete(request),
            (method, _) => Err(unknown(method)),
        }?;
        let caching = match request.method.as_str() {
            _ if !request.modern() => return Ok(result),
            "tasks/get" | "tasks/update" | "tasks/cancel" => json!({}),
            "tools/call" | "prompts/get" | "completion/complete" | "subscriptions/listen" => {
                json!({})
            }
            "resources/read" => json!({"ttlMs": 1_000, "cacheScope": "private"}),
            _ => json!({"ttlMs": 60_000, "cacheScope": "public"}),
        };
        let meta = json!({"io.modelcontextprotocol/serverInfo": server_info(MODERN)});
        let meta = match request.method == "subscriptions/listen" {
            true => with(meta, json!({SUBSCRIPTION_KEY: request.id})),
            false => meta,
        };
        Ok(with(json!({"resultType": "complete", "_meta": meta}), with(result, caching)))
    }

    fn initialize(&self, request: &Request) -> Answer {
        let asked = request.text("protocolVersion")?;
        let params = &request.params;
        if !is_capabilities(&params["capabilities"]) || !is_implementation(&params["clientInfo"]) {
            return Err(fault(-32602, "`capabilities` or `clientInfo` is not valid"));
        }
        let known = LEGACY.into_iter().find(|version| *version == asked);
        let version = known.unwrap_or(LATEST_LEGACY);
        if asked == MODERN {
            violation(format_args!("initialize with {asked}"));
        }
        let session = &mut *lock(&self.session);
        session.version = Some(version);
        session.capabilities = params["capabilities"].clone();
        let identity = json!({"protocolVersion": version, "serverInfo": server_info(version)});
        Ok(with(about(version), identity))
    }

    fn set_level(&self, request: &Request) -> Answer {
        let index = level(&request.params["level"]);
        lock(&self.session).level = Some(index.ok_or_else(|| fault(-32602, "unknown level"))?);
        Ok(json!({}))
    }

    /// Tells of updates until the client leaves. Lists never change here.
    fn listen(&self, request: &Request, send: Emit) -> Answer {
        let wanted = &request.params["notifications"];
        if !wanted.is_object() {
            return Err(fault(-32602, "`notifications` is not an object"));
        }
        let uris = wanted["resourceSubscriptions"].as_array().into_iter().flatten();
        let uris: Vec<&Value> =
            uris.filter(|uri| uri.as_str().and_then(resource).is_some()).collect();
        let meta = json!({SUBSCRIPTION_KEY: request.id});
        let granted = json!({"_meta": meta, "notifications": {"resourceSubscriptions": uris}});
        send(notification("notifications/subscriptions/acknowledged", granted));
        for _ in 0..MOST_UPDATES {
            if self.wait(request, UPDATED_EVERY) {
                break;
            }
            for uri in &uris {
                let params = json!({"_meta": meta, "uri": uri});
                send(notification("notifications/resources/updated", params));
            }
        }
        Ok(json!({}))
    }

    fn watch(&self, request: &Request) -> Answer {
        let uri = request.text("uri")?;
        let session = &mut *lock(&self.session);
        if request.method == "resources/unsubscribe" {
            session.watched.remove(uri);
            self.stopped.notify_all();
        } else if resource(uri).is_some() {
            session.watched.insert(uri.to_owned(), request.id.clone());
        } else {
            return Err(fault(-32002, "no such resource"));
        }
        Ok(json!({}))
    }

    /// Tells a legacy client of updates, after the request that subscribed it, until another
    /// unsubscribes it.
    pub fn tell_updates(&self, request: &Request, send: Emit) {
        let Some(uri) = request.params["uri"].as_str() else { return };
        let goes_on = |session: &mut Session| session.watched.get(uri) == Some(&request.id);
        let time = Duration::from_secs_f64(UPDATED_EVERY);
        for _ in 0..MOST_UPDATES {
            let waited = self.stopped.wait_timeout_while(lock(&self.session), time, goes_on);
            if !goes_on(&mut waited.unwrap_or_else(PoisonError::into_inner).0) {
                return;
            }
            send(notification("notifications/resources/updated", json!({"uri": uri})));
        }
    }

    fn call_tool(&self, request: &Request, send: Emit) -> Answer {
        let name = request.text("name")?;
        let tool = tools(request).into_iter().find(|tool| tool["name"] == name);
        let tool = tool.ok_or_else(|| fault(-32602, format!("unknown tool {name}")))?;
        let arguments = request.object("arguments")?;
        if request.params.get("task").is_some() && tool.get("execution").is_none() {
            return Err(fault(-32601, "this tool cannot be a task"));
        }
        match check_arguments(&tool["inputSchema"], &arguments) {
            Ok(()) if name == "report" => match tasks::create(request, &arguments) {
                Some(created) => created,
                None => Ok(self.run_tool(name, &arguments, request, send)),
            },
            Ok(()) => Ok(self.run_tool(name, &arguments, request, send)),
            Err(problem) if request.version >= "2025-11-25" => Ok(failure(problem)),
            Err(problem) => Err(fault(-32602, problem)),
        }
    }

    fn run_tool(&self, name: &str, given: &Value, request: &Request, send: Emit) -> Value {
        let number = |key| given[key].as_f64().unwrap_or_default();
        match name {
            "add" => add(number("a") + number("b"), request),
            "echo" => success(given["message"].as_str().unwrap_or_default()),
            "greet" => {
                let greeting = format!("Hello, {}!", given["name"].as_str().unwrap_or_default());
                let times = given["times"].as_f64().unwrap_or(1.0) as usize;
                let text = vec![greeting; times].join("\n");
                success(if given["loud"] == true { text.to_uppercase() } else { text })
            }
            "contents" => json!({"content": contents(request)}),
            "fail" => failure("this tool always fails"),
            "null_result" => with(success("null"), json!({"structuredContent": null})),
            "countdown" => self.countdown(number("steps") as u64, number("delay"), request, send),
            "report" if self.wait(request, number("seconds")) => failure("stopped early"),
            "report" => tasks::report("Report", number("seconds")),
            "slow" if self.wait(request, number("seconds")) => failure("stopped early"),
            "slow" => success(format!("slept for {} s", number("seconds"))),
            "cancellations" => success(json!(lock(&self.session).cancelled).to_string()),
            "environment" => {
                let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
                let mut names: Vec<String> = names.collect();
                names.sort();
                success(json!(names).to_string())
            }
            "ask" => {
                let question = given["question"].as_str().unwrap_or_default();
                self.ask_name(question, request, send).unwrap_or_else(|failed| failed)
            }
            _ => self.ask_ping(request, send).unwrap_or_else(|failed| failed),
        }
    }

    fn countdown(&self, steps: u64, delay: f64, request: &Request, send: Emit) -> Value {
        let meta = &request.params["_meta"];
        let legacy_level = lock(&self.session).level;
        let threshold = if request.modern() { level(&meta[LEVEL_KEY]) } else { legacy_level };
        for step in 1..=steps {
            if self.wait(request, delay) && delay > 0.0 {
                return failure("stopped early");
            }
            let text = format!("step {step} of {steps}");
            if let Some(token) = meta.get("progressToken") {
                let progress = json!({"progressToken": token, "progress": step, "total": steps});
                let progress = fit(request.version, with(progress, json!({"message": text})));
                send(notification("notifications/progress", progress));
            }
            if threshold.is_some_and(|threshold| Some(threshold) <= level(&json!("info"))) {
                let message = json!({"level": "info", "logger": "countdown", "data": text});
                send(notification("notifications/message", message));
            }
        }
        success(format!("counted {steps} steps"))
    }

    /// Asks the user for a name: in the legacy era by a request, in the modern one by the result.
    fn ask_name(&self, question: &str, request: &Request, send: Emit) -> Answer<Value> {
        let declared = match request.modern() {
            true => request.params["_meta"][CAPABILITIES_KEY].clone(),
            false => lock(&self.session).capabilities.clone(),
        };
        let modes = &declared["elicitation"];
        if modes.get("form").is_none() && *modes != json!({}) {
            return Err(failure("there is nobody to ask"));
        }
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}},
            "required": ["name"]});
        let params = json!({"message": question, "requestedSchema": schema});
        let method = "elicitation/create";
        let answer = if request.modern() {
            let state = format!("asked: {question}");
            let Some(answers) = request.params.get("inputResponses") else {
                let asked = json!({"name": {"method": method, "params": params}});
                return Ok(json!({"resultType": "input_required", "inputRequests": asked,
                    "requestState": state}));
            };
            if request.params["requestState"] != state {
                return Err(failure("that is another request's state"));
            }
            answers["name"].clone()
        } else {
            self.ask(method, params, request, send)?["result"].take()
        };
        match (answer["action"].as_str(), answer["content"]["name"].as_str()) {
            (Some("accept"), Some(name)) => Ok(success(format!("{question}: {name}"))),
            (Some("decline" | "cancel"), _) => Ok(success(format!("{question}: no answer"))),
            _ => Err(failure(format!("a wrong answer: {answer}"))),
        }
    }

    fn ask_ping(&self, request: &Request, send: Emit) -> Answer<Value> {
        let pong = self.ask("ping", json!({}), request, send)?;
        let unknown = self.ask("umcp/unknown", json!({}), request, send)?;
        let code = &unknown["error"]["code"];
        if pong["result"] != json!({}) || !code.is_i64() || !unknown["error"]["message"].is_string()
        {
            return Err(failure(format!("wrong answers: {pong}, {unknown}")));
        }
        Ok(json!({"content": [text("pong"), text(&code.to_string())]}))
    }

    /// Sends a request to the client and waits for the response.
    fn ask(&self, method: &str, params: Value, request: &Request, send: Emit) -> Answer<Value> {
        let (question, receiver) = self.question(method);
        send(with(question, json!({"params": params})));
        let time = Duration::from_secs(if self.wait(request, 0.0) { 0 } else { 30 });
        receiver.recv_timeout(time).map_err(|_| failure(format!("no response to {method}")))
    }

    /// A request to the client, and what receives the response.
    pub fn question(&self, method: &str) -> (Value, mpsc::Receiver<Value>) {
        let (sender, receiver) = mpsc::channel();
        let mut session = lock(&self.session);
        session.asked_so_far += 1;
        // Ids of either type; the numbers are among those that the client uses as well.
        let number = session.asked_so_far;
        let id = if method == "ping" { json!(format!("ping-{number}")) } else { json!(number) };
        session.asked.insert(id.to_string(), sender);
        (json!({"jsonrpc": "2.0", "id": id, "method": method}), receiver)
    }
}

/// The checks that every legacy request has to pass.
fn check_legacy(session: &Session, method: &str, meta: &Value) -> Answer<()> {
    let problem = match (session.version, method) {
        (None, "server/discover") => return Err(unknown(method)),
        (Some(_), "initialize") => "this session is initialized already",
        (None, "initialize" | "ping") | (Some(_), "ping") => "",
        (None, _) => "`initialize` has to come first",
        _ if !session.ready => "`notifications/initialized` has not arrived",
        _ => "",
    };
    match (problem, modern_key(meta)) {
        ("", None) => Ok(()),
        ("", Some(key)) => Err(fault(-32602, format!("a legacy session knows no `{key}`"))),
        (problem, _) => Err(fault(-32600, problem)),
    }
}

impl Request {
    /// Whether other messages should not wait for it.
    pub fn takes_time(&self) -> bool {
        self.is_call()
            || matches!(self.method.as_str(), "subscriptions/listen" | "resources/subscribe")
    }

    /// Whether it runs a tool, which may take any time.
    pub fn is_call(&self) -> bool {
        matches!(self.method.as_str(), "tools/call" | "tasks/result")
    }

    fn modern(&self) -> bool {
        self.version == MODERN
    }

    /// A required string of the params.
    fn text(&self, key: &str) -> Answer<&str> {
        let text = self.params[key].as_str();
        text.ok_or_else(|| fault(-32602, format!("`{key}` is not a string")))
    }

    /// An optional object of the params.
    fn object(&self, key: &str) -> Answer {
        let object = self.params.get(key).cloned().unwrap_or(json!({}));
        let wrong = || fault(-32602, format!("`{key}` is not an object"));
        Some(object).filter(Value::is_object).ok_or_else(wrong)
    }
}

/// One page of a list. The second page has the empty string as its cursor.
fn page(request: &Request, key: &str, items: Vec<Value>, size: usize) -> Answer {
    let cursor = |start| match start == size {
        true => String::new(),
        false => BASE64_STANDARD.encode(format!("{key} from {start}")),
    };
    let mut starts = (size..items.len()).step_by(size);
    let start = match request.params.get("cursor") {
        None => Some(0),
        Some(given) => starts.find(|start| *given == cursor(*start)),
    };
    let start = start.ok_or_else(|| fault(-32602, "unknown cursor"))?;
    let next = start + size;
    let next = if next < items.len() { json!({"nextCursor": cursor(next)}) } else { json!({}) };
    let here = items.into_iter().skip(start).take(size);
    let here: Vec<Value> = here.map(|item| fit(request.version, item)).collect();
    Ok(with(json!({key: here}), next))
}

/// Takes away what this revision does not have yet.
fn fit(version: &str, mut item: Value) -> Value {
    if let Some(item) = item.as_object_mut() {
        item.retain(|key, _| match key.as_str() {
            "completions" | "annotations" | "message" => version >= "2025-03-26",
            "title" | "outputSchema" | "structuredContent" => version >= "2025-06-18",
            "icons" => version >= "2025-11-25",
            "tasks" | "execution" => version == "2025-11-25",
            "extensions" => version == MODERN,
            _ => true,
        });
    }
    item
}

/// The tools of this request's era. An argument without a default is required.
fn tools(request: &Request) -> Vec<Value> {
    let tool = |name: &str, description: &str, arguments: Value, more: Value| {
        let all = arguments.as_object().into_iter().flatten();
        let required = all.filter(|(_, schema)| schema.get("default").is_none());
        let required: Vec<&String> = required.map(|(name, _)| name).collect();
        let schema = json!({"type": "object", "properties": arguments, "required": required,
            "additionalProperties": false});
        with(json!({"name": name, "description": description, "inputSchema": schema}), more)
    };
    let plain = |name, description, arguments| tool(name, description, arguments, json!({}));
    let (number, text) = (json!({"type": "number"}), json!({"type": "string"}));
    let seconds = json!({"type": "number", "minimum": 0, "maximum": 60});
    let counting = json!({"steps": {"type": "integer", "minimum": 0, "maximum": 1000},
        "delay": with(seconds.clone(), json!({"default": 0}))});
    let greeting = json!({"name": text, "loud": {"type": "boolean", "default": false},
        "times": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1}});
    let icon = json!({"src": format!("data:image/png;base64,{PNG}"), "mimeType": "image/png",
        "sizes": ["4x4"]});
    let sum = json!({"title": "Addition", "annotations": {"readOnlyHint": true},
        "outputSchema": {"type": "object", "properties": {"sum": number}, "required": ["sum"]}});
    let null = json!({"outputSchema": {"type": "null"}});
    let report = json!({"seconds": seconds});
    let may_be_task = json!({"execution": {"taskSupport": "optional"}});
    vec![
        tool("add", "Adds two numbers", json!({"a": number, "b": number}), sum),
        plain("echo", "Returns the message", json!({"message": text})),
        tool("greet", "Greets somebody", greeting, json!({"title": "Greeter", "icons": [icon]})),
        plain("contents", "Returns content of every kind", json!({})),
        plain("fail", "Returns an error", json!({})),
        plain("countdown", "Counts and tells of every step", counting),
        plain("slow", "Takes its time", json!({"seconds": seconds})),
        fit(
            request.version,
            tool("report", "Writes a report, in the background", report, may_be_task),
        ),
        plain("cancellations", "Returns the ids of the cancelled requests", json!({})),
        plain("environment", "Returns the names of its environment variables", json!({})),
        plain("ask", "Asks the user for a name", json!({"question": text})),
        match request.modern() {
            true => tool("null_result", "Returns null", json!({}), null),
            false => plain("ask_ping", "Sends two requests to the client", json!({})),
        },
    ]
}

/// Checks arguments against what the schemas of [`tools`] say.
fn check_arguments(schema: &Value, given: &Value) -> Result<(), String> {
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(name) = required.filter_map(Value::as_str).find(|name| given.get(name).is_none()) {
        return Err(format!("the argument `{name}` is missing"));
    }
    let fits = |(name, value): &(&String, &Value)| {
        let (property, number) = (&schema["properties"][*name], value.as_f64());
        let from = property["minimum"].as_f64().unwrap_or(f64::MIN);
        let to = property["maximum"].as_f64().unwrap_or(f64::MAX);
        match property["type"].as_str() {
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") if number.is_some_and(|number| number.fract() != 0.0) => false,
            Some(_) => number.is_some_and(|number| (from..=to).contains(&number)),
            None => false,
        }
    };
    match given.as_object().into_iter().flatten().find(|argument| !fits(argument)) {
        Some((name, _)) => Err(format!("the argument `{name}` is not as the schema says")),
        None => Ok(()),
    }
}

fn add(sum: f64, request: &Request) -> Value {
    // 5 rather than 5.0
    let whole = sum.fract() == 0.0 && sum.abs() < 1e15;
    let sum = if whole { json!(sum as i64) } else { json!(sum) };
    let structured = json!({"structuredContent": {"sum": sum}});
    fit(request.version, with(success(sum.to_string()), structured))
}

/// Content of every kind that the revision has.
fn contents(request: &Request) -> Vec<Value> {
    let annotations = json!({"annotations": {"audience": ["user"], "priority": 0.5}});
    let mut all = vec![with(text("some text"), annotations)];
    all.push(json!({"type": "image", "data": PNG, "mimeType": "image/png"}));
    if request.version >= "2025-03-26" {
        all.push(json!({"type": "audio", "data": WAV, "mimeType": "audio/wav"}));
    }
    if request.version >= "2025-06-18" {
        let first = resources().into_iter().next().unwrap_or_default();
        all.push(with(first, json!({"type": "resource_link"})));
    }
    let embedded = ["file:///notes/hello.txt", "file:///logo.png"].map(resource);
    all.extend(embedded.map(|resource| json!({"type": "resource", "resource": resource})));
    all
}

fn resources() -> Vec<Value> {
    let size = BASE64_STANDARD.decode(PNG).map_or(0, |bytes| bytes.len());
    let mut all = vec![
        json!({"uri": "file:///notes/hello.txt", "name": "hello.txt", "title": "A greeting",
            "description": "A short text", "mimeType": "text/plain", "size": HELLO.len(),
            "annotations": {"audience": ["user", "assistant"], "priority": 1.0,
                "lastModified": "2026-07-28T12:00:00Z"}}),
        json!({"uri": "file:///logo.png", "name": "logo.png", "title": "The logo",
            "mimeType": "image/png", "size": size}),
    ];
    all.extend((1..=20).map(|number| {
        json!({"uri": format!("memo://{number}"), "name": format!("memo-{number}"),
            "mimeType": "text/plain"})
    }));
    all
}

fn templates() -> Vec<Value> {
    let square = json!({"uriTemplate": "data://numbers/{n}", "name": "square",
        "title": "Square", "description": "n times n", "mimeType": "text/plain"});
    vec![square]
}

/// The contents of the resource at this URI, if there is one.
fn resource(uri: &str) -> Option<Value> {
    let text = match uri.strip_prefix("data://numbers/") {
        _ if uri == "file:///logo.png" => {
            return Some(json!({"uri": uri, "mimeType": "image/png", "blob": PNG}));
        }
        _ if uri == "file:///notes/hello.txt" => HELLO.to_owned(),
        Some(number) => number.parse::<f64>().ok().map(|number| number * number)?.to_string(),
        None => {
            let number = (1..=20).find(|number| uri == format!("memo://{number}"))?;
            format!("This is memo {number}.")
        }
    };
    Some(json!({"uri": uri, "mimeType": "text/plain", "text": text}))
}

fn read_resource(request: &Request) -> Answer {
    let uri = request.text("uri")?;
    let code = if request.modern() { -32602 } else { -32002 };
    let missing = || with(fault(code, "no such resource"), json!({"data": {"uri": uri}}));
    Ok(json!({"contents": [resource(uri).ok_or_else(missing)?]}))
}

fn prompts() -> Vec<Value> {
    let name = json!({"name": "name", "description": "Whom to greet", "required": true});
    let code = json!({"name": "code", "description": "The code to review", "required": true});
    let style = json!({"name": "style", "description": "How to review it"});
    let greeting = json!({"name": "greeting", "title": "Greeting", "arguments": [name],
        "description": "Asks for a greeting"});
    let review = json!({"name": "review", "title": "Code review", "arguments": [code, style],
        "description": "Asks for a code review"});
    vec![greeting, review]
}

/// The arguments of the prompt of this name.
fn prompt_arguments(name: &Value) -> Result<Vec<Value>, Value> {
    let mut found = prompts().into_iter().filter(|prompt| prompt["name"] == *name);
    let arguments = found.next().and_then(|prompt| prompt["arguments"].as_array().cloned());
    arguments.ok_or_else(|| fault(-32602, format!("unknown prompt {name}")))
}

fn get_prompt(request: &Request) -> Answer {
    let known = prompt_arguments(&request.params["name"])?;
    let given = request.object("arguments")?;
    let missing = |known: &Value| known["required"] == true && given[name_of(known)].is_null();
    let wrong = |(name, value): (&String, &Value)| {
        !value.is_string() || !known.iter().any(|known| name_of(known) == name)
    };
    if known.iter().any(missing) || given.as_object().into_iter().flatten().any(wrong) {
        return Err(fault(-32602, "an argument is missing, unknown or not a string"));
    }
    let says = |role, content: Value| json!({"role": role, "content": content});
    if request.params["name"] == "greeting" {
        let ask = format!("Please greet {}.", given["name"].as_str().unwrap_or_default());
        let messages = [says("user", text(&ask))];
        return Ok(json!({"description": "A greeting", "messages": messages}));
    }
    let ask = format!("Please review this; be {}.", given["style"].as_str().unwrap_or("brief"));
    let code = json!({"uri": "file:///code", "mimeType": "text/plain", "text": given["code"]});
    let messages = [
        says("user", text(&ask)),
        says("user", json!({"type": "resource", "resource": code})),
        says("assistant", text("I have read it.")),
    ];
    Ok(json!({"description": "A code review", "messages": messages}))
}

/// Suggests values that begin with what was typed, without those that the context has already.
fn complete(request: &Request) -> Answer {
    let (reference, argument) = (request.object("ref")?, request.object("argument")?);
    let context = request.object("context")?["arguments"].take();
    let chosen: Vec<&Value> =
        context.as_object().into_iter().flatten().map(|pair| pair.1).collect();
    let (Some(name), Some(typed)) = (argument["name"].as_str(), argument["value"].as_str()) else {
        return Err(fault(-32602, "`argument` needs a name and a value"));
    };
    if !chosen.iter().all(|value| value.is_string()) || !(context.is_object() || context.is_null())
    {
        return Err(fault(-32602, "`context.arguments` is not an object of strings"));
    }
    let all: Vec<String> = match (reference["type"].as_str(), name) {
        (Some("ref/resource"), "n") if reference["uri"] == "data://numbers/{n}" => {
            (1..=150).map(|number| number.to_string()).collect()
        }
        (Some("ref/prompt"), name) => {
            let known = prompt_arguments(&reference["name"])?;
            match known.iter().map(name_of).find(|known| *known == name) {
                Some("name") => NAMES.map(str::to_owned).into(),
                Some("style") => STYLES.map(str::to_owned).into(),
                Some(_) => Vec::new(),
                None => return Err(fault(-32602, "unknown argument")),
            }
        }
        _ => return Err(fault(-32602, "unknown reference or argument")),
    };
    let begins = |value: &String| value.to_lowercase().starts_with(&typed.to_lowercase());
    let fits = |value: &String| begins(value) && !chosen.iter().any(|chosen| *chosen == value);
    let mut values: Vec<String> = all.into_iter().filter(fits).collect();
    let total = values.len();
    values.truncate(100);
    Ok(json!({"completion": {"values": values, "total": total, "hasMore": total > 100}}))
}

/// What `server/discover` and `initialize` have in common.
fn about(version: &str) -> Value {
    let all = json!({"tools": {}, "resources": {"subscribe": true}, "prompts": {}, "completions": {}, "logging": {},
        "tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}},
        "extensions": {tasks::EXTENSION: {}}});
    json!({"capabilities": fit(version, all), "instructions": INSTRUCTIONS})
}

fn server_info(version: &str) -> Value {
    let title = "Example server";
    fit(version, json!({"name": "umcp-example-server", "title": title, "version": "1.0.0"}))
}

pub fn reply(id: Option<&Value>, answer: Answer) -> Value {
    let envelope = match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "error": error}),
    };
    with(envelope, id.map_or(json!({}), |id| json!({"id": id})))
}

fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

pub fn fault(code: i64, message: impl Into<String>) -> Value {
    json!({"code": code, "message": message.into()})
}

fn unknown(method: &str) -> Value {
    fault(-32601, format!("unknown method {method}"))
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn success(message: impl Into<String>) -> Value {
    json!({"content": [text(&message.into())]})
}

fn failure(message: impl Into<String>) -> Value {
    with(success(message), json!({"isError": true}))
}

/// One object with the members of both.
fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

fn name_of(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

fn level(name: &Value) -> Option<usize> {
    LEVELS.iter().position(|level| name == level)
}

fn modern_key(meta: &Value) -> Option<&'static str> {
    MODERN_KEYS.into_iter().find(|key| meta.get(key).is_some())
}

/// Whether this may be an id or a progress token.
fn is_id(value: &Value) -> bool {
    value.is_string() || value.is_i64() || value.is_u64()
}

fn is_implementation(info: &Value) -> bool {
    info["name"].is_string() && info["version"].is_string()
}

fn is_capabilities(all: &Value) -> bool {
    let known = ["elicitation", "experimental", "extensions", "roots", "sampling", "tasks"];
    all.is_object() && known.iter().all(|key| all.get(key).is_none_or(Value::is_object))
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what the client should not have sent, where no error can tell it.
pub fn violation(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "violation: {what}");
}
