use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{LegacyTask, LoggingLevel, ProgressToken, RequestId, SubscriptionFilter};

/// The params of `notifications/progress` (`ProgressNotificationParams`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressParams {
    /// The token of the request.
    pub progress_token: ProgressToken,
    /// How far the work is; grows with every notification.
    pub progress: f64,
    /// What `progress` will be at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// What is being done (since 2025-03-26).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ProgressParams { progress_token, progress, total, message } hidden { meta, extra });

impl ProgressParams {
    /// Progress of the request with that token.
    pub fn new(progress_token: impl Into<ProgressToken>, progress: f64) -> Self {
        Self {
            progress_token: progress_token.into(),
            progress,
            total: None,
            message: None,
            meta: None,
            extra: Map::new(),
        }
    }
}

/// The params of `logging/setLevel` (`SetLevelRequestParams`; before 2026-07-28).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetLevelParams {
    /// The lowest level to be sent.
    pub level: LoggingLevel,
}

impl SetLevelParams {
    /// Asks for `level` and above.
    pub fn new(level: LoggingLevel) -> Self {
        Self { level }
    }
}

/// The params of `notifications/message` (`LoggingMessageNotificationParams`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogMessageParams {
    /// How grave it is.
    pub level: LoggingLevel,
    /// What part of the server says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logger: Option<String>,
    /// What is said: text or any JSON.
    pub data: Value,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(LogMessageParams { level, logger } hidden { data, meta, extra });

impl LogMessageParams {
    /// A log message.
    pub fn new(level: LoggingLevel, data: impl Into<Value>) -> Self {
        Self { level, logger: None, data: data.into(), meta: None, extra: Map::new() }
    }
}

/// The params of `notifications/resources/updated` (`ResourceUpdatedNotificationParams`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceUpdatedParams {
    /// The resource that changed; it may lie below the one that was subscribed.
    pub uri: String,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ResourceUpdatedParams { uri } hidden { meta, extra });

impl ResourceUpdatedParams {
    /// A change of the resource at `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), meta: None, extra: Map::new() }
    }
}

/// The params of `notifications/cancelled` (`CancelledNotificationParams`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelledParams {
    /// The request that is given up (optional in 2025-11-25 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(CancelledParams { request_id, reason } hidden { meta, extra });

impl CancelledParams {
    /// Gives up the request `request_id`.
    pub fn new(request_id: impl Into<RequestId>, reason: Option<String>) -> Self {
        Self { request_id: Some(request_id.into()), reason, meta: None, extra: Map::new() }
    }
}

/// The params of `notifications/subscriptions/acknowledged`
/// (`SubscriptionsAcknowledgedNotificationParams`; 2026-07-28).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionsAcknowledgedParams {
    /// The part of the asked filter that the server honours.
    pub notifications: SubscriptionFilter,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(SubscriptionsAcknowledgedParams { notifications } hidden { meta, extra });

impl SubscriptionsAcknowledgedParams {
    /// The server honours `notifications`.
    pub fn new(notifications: SubscriptionFilter) -> Self {
        Self { notifications, meta: None, extra: Map::new() }
    }
}

/// The params of `notifications/elicitation/complete` (2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElicitationCompleteParams {
    /// The elicitation that ended; opaque.
    pub elicitation_id: String,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ElicitationCompleteParams { elicitation_id } hidden { meta, extra });

impl ElicitationCompleteParams {
    /// The end of the elicitation `elicitation_id`.
    pub fn new(elicitation_id: impl Into<String>) -> Self {
        Self { elicitation_id: elicitation_id.into(), meta: None, extra: Map::new() }
    }
}

/// The params of `notifications/tasks/status` (`TaskStatusNotificationParams`; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatusParams {
    /// The task, whose members stand beside `_meta`.
    #[serde(flatten)]
    pub task: LegacyTask,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
}

redacted_debug!(TaskStatusParams { task } hidden { meta });

impl TaskStatusParams {
    /// The state of `task`.
    pub fn new(task: LegacyTask) -> Self {
        Self { task, meta: None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    // RPC-29
    #[test]
    fn progress_may_be_fractional() {
        let wire = json!({"progressToken": "p", "progress": 0.5, "total": 1.0, "message": "m"});
        let progress: ProgressParams = from_value(wire.clone()).unwrap();
        assert_eq!(to_value(&progress).unwrap(), wire);
        let whole = from_value(json!({"progressToken": 1, "progress": 3, "total": null}));
        assert_eq!(ProgressParams::new(1, 3.0), whole.unwrap());
    }

    // RPC-23, RPC-28
    #[test]
    fn log_data_may_be_null_and_is_not_shown() {
        let null: LogMessageParams = from_value(json!({"level": "loud", "data": null})).unwrap();
        assert_eq!(null.data, Value::Null);
        assert_eq!(null.level, LoggingLevel::Other("loud".to_owned()));
        let message = LogMessageParams::new(LoggingLevel::Info, "s3cret");
        assert!(!format!("{message:?}").contains("s3cret"));
    }
}
