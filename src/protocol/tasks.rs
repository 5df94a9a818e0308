use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};

use super::{InputRequests, InputResponses, RawJson, lenient};

string_enum! {
    /// The state of a task (`TaskStatus`).
    pub enum TaskStatus {
        /// It runs.
        Working = "working",
        /// It waits for input.
        InputRequired = "input_required",
        /// It ended with a result.
        Completed = "completed",
        /// It ended with an error.
        Failed = "failed",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

impl TaskStatus {
    /// Whether the state is final.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// How long a server keeps a task, from its creation. On the wire `null` is unlimited.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Without end.
    Unlimited,
    /// That many milliseconds.
    Millis(u64),
}

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unlimited => serializer.serialize_none(),
            Self::Millis(millis) => serializer.serialize_u64(*millis),
        }
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let millis: Option<Number> = Option::deserialize(deserializer)?;
        Ok(millis.map_or(Self::Unlimited, |millis| Self::Millis(lenient::clamp(&millis))))
    }
}

/// A task (`Task` of the extension `io.modelcontextprotocol/tasks`; with 2026-07-28).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The id to ask for it by.
    pub task_id: String,
    /// Its state.
    pub status: TaskStatus,
    /// More on its state, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// When it began, in ISO 8601.
    pub created_at: String,
    /// When its state last changed, in ISO 8601.
    pub last_updated_at: String,
    /// How long it is kept, from `created_at`; may change. Absent if the server did not say.
    #[serde(
        default,
        deserialize_with = "lenient::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub ttl_ms: Option<Ttl>,
    /// How long to wait between polls, in milliseconds; may change.
    #[serde(
        default,
        deserialize_with = "lenient::millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub poll_interval_ms: Option<u64>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    Task { task_id, status, status_message, created_at, last_updated_at, ttl_ms, poll_interval_ms }
    hidden { extra }
);

impl Task {
    /// A task that began at `created_at`.
    pub fn new(
        task_id: impl Into<String>,
        status: TaskStatus,
        created_at: impl Into<String>,
    ) -> Self {
        let created_at = created_at.into();
        Self {
            task_id: task_id.into(),
            status,
            status_message: None,
            last_updated_at: created_at.clone(),
            created_at,
            ttl_ms: None,
            poll_interval_ms: None,
            extra: Map::new(),
        }
    }
}

/// The result of a request that became a task (`CreateTaskResult` of the extension; `resultType`
/// is `"task"`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTaskResult {
    /// The task, whose members stand in the result itself.
    #[serde(flatten)]
    pub task: Task,
    /// `resultType`; absent means `"complete"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_type: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

redacted_debug!(CreateTaskResult { task, result_type } hidden { meta });

/// The result of `tasks/get` and the params of `notifications/tasks` (`DetailedTask` of the
/// extension).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetailedTask {
    /// The task, whose members stand in the object itself.
    #[serde(flatten)]
    pub task: Task,
    /// What the server wants to know, of a task that waits for input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_requests: Option<InputRequests>,
    /// The result of the original request, of a completed task.
    #[serde(
        default,
        deserialize_with = "lenient::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub result: Option<RawJson>,
    /// The JSON-RPC error, of a failed task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RawJson>,
    /// `resultType`; absent means `"complete"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_type: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

redacted_debug!(DetailedTask { task, result_type } hidden { input_requests, result, error, meta });

impl DetailedTask {
    /// The state of `task`.
    pub fn new(task: Task) -> Self {
        Self {
            task,
            input_requests: None,
            result: None,
            error: None,
            result_type: None,
            meta: None,
        }
    }
}

/// The params of `tasks/get`, `tasks/cancel` and, in 2025-11-25, `tasks/result`.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskParams {
    /// The id of the task.
    pub task_id: String,
}

impl TaskParams {
    /// Names a task.
    pub fn new(task_id: impl Into<String>) -> Self {
        Self { task_id: task_id.into() }
    }
}

/// The params of `tasks/update` of the extension.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateTaskParams {
    /// The id of the task.
    pub task_id: String,
    /// The answers, to all or some of the open questions.
    pub input_responses: InputResponses,
}

redacted_debug!(UpdateTaskParams { task_id } hidden { input_responses });

impl UpdateTaskParams {
    /// Answers questions of a task.
    pub fn new(task_id: impl Into<String>, input_responses: InputResponses) -> Self {
        Self { task_id: task_id.into(), input_responses }
    }
}

/// Asks for a task (`TaskMetadata`, the `task` member of params; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskAugmentation {
    /// How long to keep the task, in milliseconds.
    #[serde(
        default,
        deserialize_with = "lenient::millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub ttl: Option<u64>,
}

impl TaskAugmentation {
    /// A task that is kept for `ttl` milliseconds.
    pub fn new(ttl: Option<u64>) -> Self {
        Self { ttl }
    }
}

/// The task a message belongs to (`RelatedTaskMetadata`, in `_meta`; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelatedTask {
    /// The id of the task.
    pub task_id: String,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(RelatedTask { task_id } hidden { extra });

impl RelatedTask {
    /// Names a task.
    pub fn new(task_id: impl Into<String>) -> Self {
        Self { task_id: task_id.into(), extra: Map::new() }
    }
}

/// An experimental task (`Task`; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LegacyTask {
    /// The id to ask for it by.
    pub task_id: String,
    /// Its state. A tool result with `isError` counts as failed.
    pub status: TaskStatus,
    /// More on its state, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// When it began, in ISO 8601.
    pub created_at: String,
    /// When its state last changed, in ISO 8601.
    pub last_updated_at: String,
    /// How long it is kept, from `created_at`. Absent if the server did not say.
    #[serde(
        default,
        deserialize_with = "lenient::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub ttl: Option<Ttl>,
    /// How long to wait between polls, in milliseconds.
    #[serde(
        default,
        deserialize_with = "lenient::millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub poll_interval: Option<u64>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    LegacyTask { task_id, status, status_message, created_at, last_updated_at, ttl, poll_interval }
    hidden { extra }
);

impl From<LegacyTask> for Task {
    fn from(task: LegacyTask) -> Self {
        Self {
            task_id: task.task_id,
            status: task.status,
            status_message: task.status_message,
            created_at: task.created_at,
            last_updated_at: task.last_updated_at,
            ttl_ms: task.ttl,
            poll_interval_ms: task.poll_interval,
            extra: task.extra,
        }
    }
}

/// The result of a request that became a task (`CreateTaskResult`; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LegacyCreateTaskResult {
    /// The task.
    pub task: LegacyTask,
    /// `resultType` (2026-07-28); absent means `"complete"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_type: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(LegacyCreateTaskResult { task, result_type } hidden { meta, extra });

/// The result of `tasks/get` and `tasks/cancel` (`GetTaskResult`, `CancelTaskResult`; 2025-11-25
/// only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LegacyTaskResult {
    /// The task, whose members stand in the result itself.
    #[serde(flatten)]
    pub task: LegacyTask,
    /// `resultType`, which this revision does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_type: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

redacted_debug!(LegacyTaskResult { task, result_type } hidden { meta });

/// The result of `tasks/list` (`ListTasksResult`; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTasksResult {
    /// The tasks of this page.
    pub tasks: Vec<LegacyTask>,
    /// The cursor of the next page; absent on the last one. An empty string is a cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// `resultType` (2026-07-28); absent means `"complete"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_type: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ListTasksResult { tasks, next_cursor, result_type } hidden { meta, extra });

#[cfg(test)]
mod tests {
    use serde_json::{from_str, from_value, json, to_string, to_value};

    use super::*;

    fn wire(more: Value) -> Value {
        let mut wire = json!({
            "taskId": "1", "status": "working", "createdAt": "c", "lastUpdatedAt": "u"
        });
        wire.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        wire
    }

    // RPC-23
    #[test]
    fn null_ttl_is_unlimited_not_absent() {
        for (more, ttl) in [
            (json!({}), None),
            (json!({"ttlMs": null}), Some(Ttl::Unlimited)),
            (json!({"ttlMs": 5}), Some(Ttl::Millis(5))),
        ] {
            let task: Task = from_value(wire(more.clone())).unwrap();
            assert_eq!(task.ttl_ms, ttl);
            assert_eq!(to_value(&task).unwrap(), wire(more.clone()));
            let created: CreateTaskResult = from_str(&wire(more).to_string()).unwrap();
            assert_eq!(created.task.ttl_ms, ttl);
        }
    }

    // TASK-7, RPC-29
    #[test]
    fn create_task_result_is_flat() {
        let more = json!({
            "resultType": "task", "_meta": {"a": 1}, "ttlMs": 5.0, "pollIntervalMs": 2.0, "x": 1
        });
        let created: CreateTaskResult = from_value(wire(more)).unwrap();
        assert_eq!(created.result_type.as_deref(), Some("task"));
        assert_eq!(created.task.poll_interval_ms, Some(2));
        assert_eq!(created.task.ttl_ms, Some(Ttl::Millis(5)));
        let keys: Vec<_> = created.task.extra.keys().collect();
        assert_eq!(keys, ["x"]);
    }

    // TASK-14, RPC-27
    #[test]
    fn detailed_task_keeps_the_result_verbatim() {
        let wire = concat!(
            r#"{"result":{"content":[], "structuredContent":{"b":1.0,"a":"s3cret"}},"taskId":"1","#,
            r#""status":"completed","createdAt":"c","lastUpdatedAt":"u","ttlMs":null,"resultType":"complete"}"#
        );
        let task: DetailedTask = from_str(wire).unwrap();
        let result = task.result.as_ref().map(RawJson::get);
        assert_eq!(result, Some(r#"{"content":[], "structuredContent":{"b":1.0,"a":"s3cret"}}"#));
        assert!(task.task.status.is_terminal());
        assert!(!format!("{task:?}").contains("s3cret"));
        assert!(to_string(&task).unwrap().contains(result.unwrap_or("-")));
    }

    // RPC-28, TASK-16
    #[test]
    fn detailed_task_reads_input_requests_and_unknown_states() {
        let more = json!({"inputRequests": {"r": {"method": "roots/list"}}, "status": "paused"});
        let task: DetailedTask = from_value(wire(more)).unwrap();
        assert_eq!(task.input_requests.map(|requests| requests.len()), Some(1));
        assert_eq!(task.task.status, TaskStatus::Other("paused".to_owned()));
    }

    // LTASK-3
    #[test]
    fn legacy_tasks_convert() {
        let more = json!({"ttl": null, "pollInterval": 100});
        let created: LegacyCreateTaskResult =
            from_value(json!({"task": wire(more.clone())})).unwrap();
        let flat: LegacyTaskResult = from_value(wire(more)).unwrap();
        assert_eq!(created.task, flat.task);
        let task = Task::from(flat.task);
        assert_eq!((task.ttl_ms, task.poll_interval_ms), (Some(Ttl::Unlimited), Some(100)));
    }
}
