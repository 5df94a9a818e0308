use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Annotations, CacheScope, Icon, InputResponses, ResourceContents, lenient};

/// A resource of a server (`Resource`), also the body of a `resource_link` block.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// The URI to read it by.
    pub uri: String,
    /// The name for programs.
    pub name: String,
    /// The name for people (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// How to use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The size in bytes, before any encoding.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub size: Option<u64>,
    /// Icons (since 2025-11-25).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub icons: Vec<Icon>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    Resource { uri, name, title, description, mime_type, annotations, size, icons }
    hidden { meta, extra }
);

impl Resource {
    /// A resource at `uri`.
    pub fn new(uri: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            name: name.into(),
            title: None,
            description: None,
            mime_type: None,
            annotations: None,
            size: None,
            icons: Vec::new(),
            meta: None,
            extra: Map::new(),
        }
    }
}

/// A family of resources (`ResourceTemplate`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTemplate {
    /// The URI template (RFC 6570).
    pub uri_template: String,
    /// The name for programs.
    pub name: String,
    /// The name for people (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The media type, if all its resources have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// How to use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// Icons (since 2025-11-25).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub icons: Vec<Icon>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    ResourceTemplate { uri_template, name, title, description, mime_type, annotations, icons }
    hidden { meta, extra }
);

impl ResourceTemplate {
    /// A template.
    pub fn new(uri_template: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            uri_template: uri_template.into(),
            name: name.into(),
            title: None,
            description: None,
            mime_type: None,
            annotations: None,
            icons: Vec::new(),
            meta: None,
            extra: Map::new(),
        }
    }
}

list_result! {
    /// The result of `resources/list` (`ListResourcesResult`).
    pub struct ListResourcesResult {
        /// The resources of this page.
        pub resources: Vec<Resource>,
    }
}

list_result! {
    /// The result of `resources/templates/list` (`ListResourceTemplatesResult`).
    pub struct ListResourceTemplatesResult {
        /// The templates of this page.
        pub resource_templates: Vec<ResourceTemplate>,
    }
}

/// The params of `resources/read` (`ReadResourceRequestParams`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadResourceParams {
    /// The URI of the resource.
    pub uri: String,
    /// Answers to the input requests of the round before (2026-07-28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_responses: Option<InputResponses>,
    /// The `request_state` of the round before (2026-07-28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_state: Option<String>,
}

redacted_debug!(ReadResourceParams { uri } hidden { input_responses, request_state });

impl ReadResourceParams {
    /// Reads the resource at `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), input_responses: None, request_state: None }
    }
}

/// The result of `resources/read` (`ReadResourceResult`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadResourceResult {
    /// The contents; a directory may have several, under other URIs.
    pub contents: Vec<ResourceContents>,
    /// How long the result stays fresh, in milliseconds from receipt (2026-07-28).
    #[serde(deserialize_with = "lenient::ttl", default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Who may share a cached copy (2026-07-28); absent means private.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_scope: Option<CacheScope>,
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

redacted_debug!(
    ReadResourceResult { contents, ttl_ms, cache_scope, result_type }
    hidden { meta, extra }
);

/// The params of `resources/subscribe` and `resources/unsubscribe` (`SubscribeRequestParams`,
/// `UnsubscribeRequestParams`; before 2026-07-28).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscribeParams {
    /// The URI of the resource.
    pub uri: String,
}

impl SubscribeParams {
    /// Names the resource at `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    // RPC-29
    #[test]
    fn a_size_may_be_a_whole_float() {
        let resource =
            |size| from_value::<Resource>(json!({"uri": "u", "name": "n", "size": size}));
        assert_eq!(resource(json!(5.0)).unwrap().size, Some(5));
        assert_eq!(resource(json!(null)).unwrap().size, None);
        assert!(resource(json!(5.5)).is_err());
        assert!(resource(json!(-1)).is_err());
    }

    // RPC-27, APPS-2
    #[test]
    fn meta_and_unknown_members_survive() {
        let wire = json!({
            "resourceTemplates": [
                {"uriTemplate": "a/{b}", "name": "n", "_meta": {"ui": {"csp": 1}}, "x": null}
            ],
            "resultType": "complete",
            "ttlMs": 10,
            "cacheScope": "public",
            "nextCursor": "c",
            "y": 1
        });
        let list: ListResourceTemplatesResult = from_value(wire.clone()).unwrap();
        assert_eq!(to_value(&list).unwrap(), wire);
    }
}
