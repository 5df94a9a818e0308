use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CacheScope, ClientCapabilities, Implementation, RawJson, ServerCapabilities, lenient};

/// The params of `initialize` (`InitializeRequestParams`; before 2026-07-28).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    /// The newest protocol version the client speaks.
    pub protocol_version: String,
    /// What the client can do.
    pub capabilities: ClientCapabilities,
    /// Who the client is.
    pub client_info: Implementation,
}

impl InitializeParams {
    /// Proposes `protocol_version`.
    pub fn new(
        protocol_version: impl Into<String>,
        capabilities: ClientCapabilities,
        client_info: Implementation,
    ) -> Self {
        Self { protocol_version: protocol_version.into(), capabilities, client_info }
    }
}

/// The result of `initialize` (`InitializeResult`; before 2026-07-28).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    /// The protocol version of the session.
    pub protocol_version: String,
    /// What the server offers.
    pub capabilities: ServerCapabilities,
    /// Who the server says it is. For display only.
    pub server_info: Implementation,
    /// How to use the server, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
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
    InitializeResult { protocol_version, capabilities, server_info, instructions, result_type }
    hidden { meta, extra }
);

/// The result of `server/discover` (`DiscoverResult`; 2026-07-28).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiscoverResult {
    /// The protocol versions the server speaks.
    pub supported_versions: Vec<String>,
    /// What the server offers.
    pub capabilities: ServerCapabilities,
    /// How to use the server, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
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
    DiscoverResult {
        supported_versions, capabilities, instructions, ttl_ms, cache_scope, result_type
    }
    hidden { meta, extra }
);

impl DiscoverResult {
    /// Who the server says it is, from `_meta` or else the `serverInfo` of drafts. For display
    /// only.
    pub fn server_info(&self) -> Option<Implementation> {
        let meta = || self.meta.as_ref()?.get("io.modelcontextprotocol/serverInfo");
        let info = meta().or_else(|| self.extra.get("serverInfo"))?;
        // By way of text, which there is a parser for; from a tree would be another.
        RawJson::from_value(info).and_then(|info| info.parse()).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn initialize_round_trips() {
        let wire = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}, "x": {}},
            "serverInfo": {"name": "s", "version": "1"},
            "y": 1
        });
        let result: InitializeResult = from_value(wire.clone()).unwrap();
        assert_eq!(to_value(&result).unwrap(), wire);
        let params = InitializeParams::new(
            "2025-11-25",
            ClientCapabilities::default(),
            Implementation::new("c", "2"),
        );
        assert_eq!(
            to_value(params).unwrap(),
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "c", "version": "2"}
            })
        );
    }

    // AMB-12
    #[test]
    fn server_info_is_read_in_both_places() {
        let info = json!({"name": "s", "version": "1"});
        for more in [
            json!({"_meta": {"io.modelcontextprotocol/serverInfo": info}}),
            json!({"serverInfo": info}),
        ] {
            let mut wire = json!({"supportedVersions": ["2026-07-28"], "capabilities": {}});
            wire.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            let result: DiscoverResult = from_value(wire).unwrap();
            assert_eq!(result.server_info(), Some(Implementation::new("s", "1")));
        }
    }
}
