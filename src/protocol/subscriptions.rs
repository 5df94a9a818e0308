use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{RequestId, lenient};

/// Which notifications a subscription delivers (`SubscriptionFilter`; 2026-07-28).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionFilter {
    /// Changes of the tool list.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub tools_list_changed: bool,
    /// Changes of the prompt list.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub prompts_list_changed: bool,
    /// Changes of the resource list.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub resources_list_changed: bool,
    /// Updates of these resources, by URI.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub resource_subscriptions: Vec<String>,
    /// States of these tasks (extension `io.modelcontextprotocol/tasks`).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub task_ids: Vec<String>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    SubscriptionFilter {
        tools_list_changed, prompts_list_changed, resources_list_changed,
        resource_subscriptions, task_ids
    }
    hidden { extra }
);

impl SubscriptionFilter {
    /// Returns whether nothing is delivered that is named here.
    pub fn is_empty(&self) -> bool {
        let lists = self.tools_list_changed || self.prompts_list_changed;
        let lists = lists || self.resources_list_changed;
        !lists && self.resource_subscriptions.is_empty() && self.task_ids.is_empty()
    }

    /// What is in both.
    pub(crate) fn among(mut self, wanted: &Self) -> Self {
        self.tools_list_changed &= wanted.tools_list_changed;
        self.prompts_list_changed &= wanted.prompts_list_changed;
        self.resources_list_changed &= wanted.resources_list_changed;
        let tasks: HashSet<&String> = wanted.task_ids.iter().collect();
        self.task_ids.retain(|id| tasks.contains(id));
        // A server may spell a URI in its own way.
        self.resource_subscriptions.retain(|_| !wanted.resource_subscriptions.is_empty());
        self
    }
}

/// The params of `subscriptions/listen` (`SubscriptionsListenRequestParams`; 2026-07-28).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenParams {
    /// What is wanted.
    pub notifications: SubscriptionFilter,
}

impl ListenParams {
    /// Asks for `notifications`.
    pub fn new(notifications: SubscriptionFilter) -> Self {
        Self { notifications }
    }
}

/// The result that ends a subscription (`SubscriptionsListenResult`; 2026-07-28).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenResult {
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

redacted_debug!(ListenResult { result_type } hidden { meta, extra });

impl ListenResult {
    /// The id of the listen request, from `_meta`.
    pub fn subscription_id(&self) -> Option<RequestId> {
        let id = self.meta.as_ref()?.get("io.modelcontextprotocol/subscriptionId")?;
        RequestId::deserialize(id).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    // SUB-2
    #[test]
    fn filters_name_only_what_is_wanted() {
        let wire = json!({"notifications": {}});
        assert_eq!(to_value(ListenParams::default()).unwrap(), wire);
        let wire = json!({"toolsListChanged": true, "taskIds": ["t"], "x": 1});
        let filter: SubscriptionFilter = from_value(wire.clone()).unwrap();
        assert!(filter.tools_list_changed && !filter.prompts_list_changed);
        assert_eq!(to_value(&filter).unwrap(), wire);
    }

    // SUB-13
    #[test]
    fn the_result_names_the_subscription() {
        let wire = json!({"_meta": {"io.modelcontextprotocol/subscriptionId": 7}});
        let result: ListenResult = from_value(wire).unwrap();
        assert_eq!(result.subscription_id(), Some(RequestId::from(7)));
        assert_eq!(ListenResult::default().subscription_id(), None);
    }
}
