use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The answer to `roots/list` (`ListRootsResult`); deprecated in 2026-07-28.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRootsResult {
    /// The roots.
    pub roots: Vec<Root>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ListRootsResult { roots } hidden { meta, extra });

impl ListRootsResult {
    /// An answer.
    pub fn new(roots: Vec<Root>) -> Self {
        Self { roots, ..Self::default() }
    }
}

/// A directory or file the server may work on (`Root`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Root {
    /// Where it is: a `file://` URI.
    pub uri: String,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(Root { uri, name } hidden { meta, extra });

impl Root {
    /// The root at `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), name: None, meta: None, extra: Map::new() }
    }
}

/// The params of `roots/list`, which all revisions leave empty.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRootsParams {
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ListRootsParams {} hidden { meta, extra });
