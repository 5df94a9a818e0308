//! Tasks of the example server: those of the extension of 2026-07-28, and the experimental ones of
//! 2025-11-25.
//!
//! Nothing runs: how far a task has come is told from its age. They live as long as the process, so
//! that a client that comes back finds them.

use super::{Answer, Request, Server, fault, lock, success, with};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const RELATED: &str = "io.modelcontextprotocol/related-task";
const INTERVAL: u64 = 100;
const MOST: usize = 1_000;
const LONGEST: u64 = 3_600_000;
/// Nothing depends on the time of day.
const SOME_TIME: &str = "2026-07-28T12:00:00Z";

static TASKS: LazyLock<Mutex<HashMap<String, Task>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug)]
struct Task {
    /// Of the extension, and not of 2025-11-25.
    modern: bool,
    began: Instant,
    takes: Duration,
    /// What the client says is wanted, or not yet.
    title: Title,
    cancelled: bool,
}

#[derive(Clone, Debug)]
enum Title {
    Asked,
    Given(String),
}

/// Makes a report in the background, if the client can wait for one. Asks for its title, if there is
/// somebody to ask.
pub fn create(request: &Request, given: &Value) -> Option<Answer> {
    let capabilities = &request.params["_meta"][super::CAPABILITIES_KEY];
    let wanted = match request.modern() {
        true => capabilities["extensions"].get(EXTENSION).is_some(),
        false => knows_legacy_tasks(request) && request.params.get("task").is_some(),
    };
    if !wanted {
        return None;
    }
    let modes = &capabilities["elicitation"];
    let may_ask = modes.is_object() && (modes.get("form").is_some() || modes.get("url").is_none());
    let title = match request.modern() && may_ask {
        true => Title::Asked,
        false => Title::Given("Report".to_owned()),
    };
    let takes = Duration::from_secs_f64(given["seconds"].as_f64().unwrap_or_default());
    let (began, modern, cancelled) = (Instant::now(), request.modern(), false);
    let task = Task { modern, began, takes, title, cancelled };
    let mut all = lock(&TASKS);
    if all.len() >= MOST {
        return Some(Err(fault(-32603, "there are too many tasks")));
    }
    // Who knows the id may see the task.
    let id = format!("{:016x}", RandomState::new().hash_one(all.len()));
    let described = task.described(&id, task.status());
    all.insert(id, task);
    Some(Ok(match request.modern() {
        true => with(described, json!({"resultType": "task"})),
        false => json!({"task": described}),
    }))
}

/// Answers a request about a task, if the revision has it.
pub fn answer(server: &Server, request: &Request) -> Option<Answer> {
    let modern = request.modern();
    if !modern && !knows_legacy_tasks(request) {
        return None;
    }
    let answer = match (request.method.as_str(), modern) {
        ("tasks/get", _) => get,
        ("tasks/cancel", _) => cancel,
        ("tasks/update", true) => update,
        ("tasks/result", false) => return Some(result(server, request)),
        _ => return None,
    };
    let capabilities = &request.params["_meta"][super::CAPABILITIES_KEY];
    if modern && capabilities["extensions"].get(EXTENSION).is_none() {
        let needed = json!({"requiredCapabilities": {"extensions": {EXTENSION: {}}}});
        let fault = fault(-32021, format!("the client does not declare {EXTENSION}"));
        return Some(Err(with(fault, json!({"data": needed}))));
    }
    Some(request.text("taskId").and_then(|id| answer(request, id)))
}

fn knows_legacy_tasks(request: &Request) -> bool {
    request.version == "2025-11-25"
}

/// A task of the request's era.
fn find(request: &Request, id: &str) -> Answer<Task> {
    let found = lock(&TASKS).get(id).filter(|task| task.modern == request.modern()).cloned();
    found.ok_or_else(|| fault(-32602, "there is no such task"))
}

fn get(request: &Request, id: &str) -> Answer {
    let task = find(request, id)?;
    let status = task.status();
    let more = match status {
        _ if !task.modern => json!({}),
        "completed" => json!({"result": with(task.report(), json!({"resultType": "complete"}))}),
        "input_required" => {
            let schema = json!({"type": "object", "required": ["title"],
                "properties": {"title": {"type": "string", "default": "Report"}}});
            let params = json!({"mode": "form", "message": "What is the report to be called?",
                "requestedSchema": schema});
            json!({"inputRequests": {"title": {"method": "elicitation/create", "params": params}}})
        }
        _ => json!({}),
    };
    Ok(with(task.described(id, status), more))
}

fn update(request: &Request, id: &str) -> Answer {
    find(request, id)?;
    let answers = request.object("inputResponses")?;
    let (action, title) = (&answers["title"]["action"], &answers["title"]["content"]["title"]);
    if let Some(task) = lock(&TASKS).get_mut(id)
        && matches!(task.title, Title::Asked)
        && action.is_string()
    {
        task.began = Instant::now();
        task.title = Title::Given(title.as_str().unwrap_or("Report").to_owned());
    }
    Ok(json!({}))
}

fn cancel(request: &Request, id: &str) -> Answer {
    let task = find(request, id)?;
    let is_over = matches!(task.status(), "completed" | "cancelled");
    if is_over && !task.modern {
        return Err(fault(-32602, "the task has ended"));
    }
    if let Some(task) = lock(&TASKS).get_mut(id) {
        task.cancelled |= !is_over;
    }
    match task.modern {
        true => Ok(json!({})),
        false => Ok(task.described(id, "cancelled")),
    }
}

/// Waits for the end of a legacy task.
fn result(server: &Server, request: &Request) -> Answer {
    let id = request.text("taskId")?;
    let step = Duration::from_millis(INTERVAL).as_secs_f64();
    let related = json!({"_meta": {RELATED: {"taskId": id}}});
    loop {
        let task = find(request, id)?;
        match task.status() {
            "completed" => return Ok(with(task.report(), related)),
            "cancelled" => return Err(fault(-32603, "the task was cancelled")),
            _ if server.wait(request, step) => return Err(fault(-32603, "stopped early")),
            _ => {}
        }
    }
}

impl Task {
    fn status(&self) -> &'static str {
        match self.title {
            _ if self.cancelled => "cancelled",
            Title::Asked => "input_required",
            Title::Given(_) if self.began.elapsed() >= self.takes => "completed",
            Title::Given(_) => "working",
        }
    }

    fn report(&self) -> Value {
        match &self.title {
            Title::Given(title) => report(title, self.takes.as_secs_f64()),
            Title::Asked => report("Report", 0.0),
        }
    }

    fn described(&self, id: &str, status: &str) -> Value {
        let lasts = match self.modern {
            true => json!({"ttlMs": LONGEST, "pollIntervalMs": INTERVAL}),
            false => json!({"ttl": LONGEST, "pollInterval": INTERVAL}),
        };
        let task = json!({"taskId": id, "status": status, "statusMessage": "about the report",
            "createdAt": SOME_TIME, "lastUpdatedAt": SOME_TIME});
        with(task, lasts)
    }
}

/// The result of the tool.
pub fn report(title: &str, seconds: f64) -> Value {
    success(format!("{title}: ready after {seconds} s"))
}
