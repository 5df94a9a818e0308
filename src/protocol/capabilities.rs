use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Era, lenient};

/// The extension that turns calls into tasks, and has no settings.
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// A capability without settings of its own: being there is what it says.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(Capability {} hidden { extra });

/// What a client can do (`ClientCapabilities`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCapabilities {
    /// Non-standard capabilities by name.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub experimental: BTreeMap<String, Value>,
    /// The client lists roots; deprecated in 2026-07-28.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<RootsCapability>,
    /// The client samples from a model; deprecated in 2026-07-28.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<SamplingCapability>,
    /// The client asks its user (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elicitation: Option<ElicitationCapability>,
    /// The client hosts tasks (2025-11-25 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TasksCapability>,
    /// Settings of the extensions by identifier (2026-07-28; `{}` for no settings).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub extensions: BTreeMap<String, Value>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ClientCapabilities {
    /// What of it means something in an era.
    pub(crate) fn in_era(&self, era: Era) -> Self {
        let mut capabilities = self.clone();
        match (era, &mut capabilities.roots) {
            (Era::Modern, Some(roots)) => roots.list_changed = false,
            // TASK-36
            (Era::Legacy, _) => drop(capabilities.extensions.remove(TASKS)),
            _ => {}
        }
        capabilities
    }

    /// Without what a server may ask for.
    pub(crate) fn headless(&self) -> Self {
        Self { roots: None, sampling: None, elicitation: None, ..self.clone() }
    }

    /// With all that a server may ask for.
    pub(crate) fn by_hand(&self) -> Self {
        let sampling =
            SamplingCapability { tools: Some(Capability::default()), ..Default::default() };
        Self {
            roots: Some(RootsCapability::default()),
            sampling: Some(sampling),
            elicitation: Some(ElicitationCapability::new(true, true)),
            ..self.clone()
        }
    }
}

redacted_debug!(
    ClientCapabilities { roots, sampling, elicitation, tasks }
    hidden { experimental, extensions, extra }
);

/// The `roots` capability of a client.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootsCapability {
    /// The client sends `notifications/roots/list_changed` (not in 2026-07-28).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub list_changed: bool,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(RootsCapability { list_changed } hidden { extra });

/// The `sampling` capability of a client.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SamplingCapability {
    /// `includeContext` other than `none` is supported (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<Capability>,
    /// `tools` and `toolChoice` are supported (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Capability>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(SamplingCapability { context, tools } hidden { extra });

/// The `elicitation` capability of a client; without members it means form mode.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElicitationCapability {
    /// Form mode (named since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Capability>,
    /// URL mode (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Capability>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ElicitationCapability { form, url } hidden { extra });

impl ElicitationCapability {
    /// The given modes.
    pub fn new(form: bool, url: bool) -> Self {
        Self {
            form: form.then(Capability::default),
            url: url.then(Capability::default),
            extra: Map::new(),
        }
    }

    /// Whether form mode is meant.
    pub fn has_form(&self) -> bool {
        self.form.is_some() || self.url.is_none()
    }
}

/// What a server offers (`ServerCapabilities`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerCapabilities {
    /// Non-standard capabilities by name.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub experimental: BTreeMap<String, Value>,
    /// The server sends log messages; deprecated in 2026-07-28.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Capability>,
    /// The server completes arguments (since 2025-03-26).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<Capability>,
    /// The server has prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PromptsCapability>,
    /// The server has resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesCapability>,
    /// The server has tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsCapability>,
    /// The server runs requests as tasks (2025-11-25 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TasksCapability>,
    /// Settings of the extensions by identifier (2026-07-28).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub extensions: BTreeMap<String, Value>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ServerCapabilities {
    /// The settings of an extension (an object), if the server supports it.
    pub fn extension(&self, id: &str) -> Option<&Value> {
        self.extensions.get(id).filter(|settings| settings.is_object())
    }
}

redacted_debug!(
    ServerCapabilities { logging, completions, prompts, resources, tools, tasks }
    hidden { experimental, extensions, extra }
);

/// The `prompts` capability of a server.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptsCapability {
    /// The server reports changes of its prompt list.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub list_changed: bool,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(PromptsCapability { list_changed } hidden { extra });

/// The `resources` capability of a server.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesCapability {
    /// The server reports updates of single resources.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub subscribe: bool,
    /// The server reports changes of its resource list.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub list_changed: bool,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ResourcesCapability { subscribe, list_changed } hidden { extra });

/// The `tools` capability of a server.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolsCapability {
    /// The server reports changes of its tool list.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub list_changed: bool,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ToolsCapability { list_changed } hidden { extra });

/// The `tasks` capability of either side (2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TasksCapability {
    /// `tasks/list` is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Capability>,
    /// `tasks/cancel` is supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Capability>,
    /// The requests that can become tasks, such as `{"tools": {"call": {}}}`.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub requests: BTreeMap<String, Value>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(TasksCapability { list, cancel } hidden { requests, extra });

impl TasksCapability {
    /// Whether a request can become a task, as in `supports("tools", "call")`.
    pub fn supports(&self, area: &str, request: &str) -> bool {
        self.requests
            .get(area)
            .and_then(|area| area.get(request))
            .is_some_and(|settings| !settings.is_null())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    // RPC-26, TYPE-1
    #[test]
    fn capability_sets_are_open() {
        let wire = json!({
            "tools": {"listChanged": true, "paging": 1},
            "resources": {"subscribe": null},
            "logging": {},
            "tasks": {"requests": {"tools": {"call": {}}}},
            "extensions": {"io.modelcontextprotocol/tasks": {}},
            "soon": {"a": 1}
        });
        let server: ServerCapabilities = from_value(wire.clone()).unwrap();
        assert!(server.tools.as_ref().is_some_and(|tools| tools.list_changed));
        assert!(server.logging.is_some() && server.prompts.is_none());
        assert!(server.tasks.as_ref().is_some_and(|tasks| tasks.supports("tools", "call")));
        assert!(!server.tasks.as_ref().is_some_and(|tasks| tasks.supports("tools", "list")));
        let mut expected = wire;
        expected["resources"] = json!({});
        assert_eq!(to_value(&server).unwrap(), expected);
        assert!(!format!("{server:?}").contains('1'));
    }

    // ELIC-1
    #[test]
    fn empty_elicitation_means_form() {
        let empty: ElicitationCapability = from_value(json!({})).unwrap();
        assert!(empty.has_form());
        assert!(!ElicitationCapability::new(false, true).has_form());
        assert_eq!(to_value(ClientCapabilities::default()).unwrap(), json!({}));
    }
}
