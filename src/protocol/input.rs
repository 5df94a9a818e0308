use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::redact::Hidden;
use super::{
    CreateMessageParams, CreateMessageResult, ElicitParams, ElicitResult, ListRootsParams,
    ListRootsResult, RawJson,
};

/// What a server wants to know, by keys of its own (`InputRequests`).
pub type InputRequests = BTreeMap<String, InputRequest>;

/// The answers, by the keys of the [`InputRequests`] (`InputResponses`).
pub type InputResponses = BTreeMap<String, InputResponse>;

/// A result that asks for more input instead of ending the request (`InputRequiredResult`;
/// 2026-07-28).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputRequiredResult {
    /// What the server wants to know before the request is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_requests: Option<InputRequests>,
    /// What to send back unchanged with the request. Opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_state: Option<String>,
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
    InputRequiredResult { result_type }
    hidden { input_requests, request_state, meta, extra }
);

/// One thing a server wants to know (`InputRequest`; 2026-07-28), told apart by `method`.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub enum InputRequest {
    /// `elicitation/create`: a question to the user.
    Elicit(ElicitParams),
    /// `sampling/createMessage`: a question to a model; deprecated.
    CreateMessage(Box<CreateMessageParams>),
    /// `roots/list`: a question for the roots; deprecated.
    ListRoots(ListRootsParams),
    /// A method this version of umcp does not know.
    Other {
        /// The method.
        method: String,
        /// Its params.
        params: Option<RawJson>,
    },
}

impl InputRequest {
    /// What a request of that method asks.
    pub(crate) fn new(method: &str, params: RawJson) -> serde_json::Result<Self> {
        match method {
            "elicitation/create" => params.parse().map(Self::Elicit),
            "sampling/createMessage" => params.parse().map(Self::CreateMessage),
            "roots/list" => params.parse().map(Self::ListRoots),
            _ => Ok(Self::Other { method: method.to_owned(), params: Some(params) }),
        }
    }

    /// The method on the wire.
    pub fn method(&self) -> &str {
        match self {
            Self::Elicit(_) => "elicitation/create",
            Self::CreateMessage(_) => "sampling/createMessage",
            Self::ListRoots(_) => "roots/list",
            Self::Other { method, .. } => method,
        }
    }
}

impl Serialize for InputRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a, P> {
            method: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            params: Option<P>,
        }

        let method = self.method();
        match self {
            Self::Elicit(params) => Wire { method, params: Some(params) }.serialize(serializer),
            Self::CreateMessage(params) => {
                Wire { method, params: Some(params) }.serialize(serializer)
            }
            Self::ListRoots(params) => {
                let params = (*params != ListRootsParams::default()).then_some(params);
                Wire { method, params }.serialize(serializer)
            }
            Self::Other { params, .. } => {
                Wire { method, params: params.as_ref() }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for InputRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            method: String,
            params: Option<RawJson>,
        }

        let Wire { method, params } = Wire::deserialize(deserializer)?;
        const KNOWN: [&str; 3] = ["elicitation/create", "sampling/createMessage", "roots/list"];
        match KNOWN.contains(&method.as_str()) {
            true => Self::new(&method, params.unwrap_or_else(RawJson::empty_object)),
            false => Ok(Self::Other { method, params }),
        }
        .map_err(Error::custom)
    }
}

/// The answer to one [`InputRequest`] (`InputResponse`; 2026-07-28): the plain result.
#[non_exhaustive]
#[derive(Clone, PartialEq)]
pub enum InputResponse {
    /// Of `elicitation/create`.
    Elicit(ElicitResult),
    /// Of `sampling/createMessage`; deprecated.
    CreateMessage(Box<CreateMessageResult>),
    /// Of `roots/list`; deprecated.
    ListRoots(ListRootsResult),
    /// Of anything else.
    Other(Map<String, Value>),
}

impl From<ElicitResult> for InputResponse {
    fn from(result: ElicitResult) -> Self {
        Self::Elicit(result)
    }
}

impl From<CreateMessageResult> for InputResponse {
    fn from(result: CreateMessageResult) -> Self {
        Self::CreateMessage(Box::new(result))
    }
}

impl From<ListRootsResult> for InputResponse {
    fn from(result: ListRootsResult) -> Self {
        Self::ListRoots(result)
    }
}

impl fmt::Debug for InputResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elicit(result) => result.fmt(f),
            Self::CreateMessage(result) => result.fmt(f),
            Self::ListRoots(result) => result.fmt(f),
            Self::Other(map) => f.debug_tuple("Other").field(&Hidden(map)).finish(),
        }
    }
}

impl Serialize for InputResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Elicit(result) => result.serialize(serializer),
            Self::CreateMessage(result) => result.serialize(serializer),
            Self::ListRoots(result) => result.serialize(serializer),
            Self::Other(map) => map.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for InputResponse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The answers have no tag: their required members tell them apart.
        let map = Map::deserialize(deserializer)?;
        if map.contains_key("action") {
            serde_json::from_value(map.into()).map(Self::Elicit)
        } else if map.contains_key("model") {
            serde_json::from_value(map.into()).map(Self::CreateMessage)
        } else if map.contains_key("roots") {
            serde_json::from_value(map.into()).map(Self::ListRoots)
        } else {
            Ok(Self::Other(map))
        }
        .map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, from_value, json, to_string, to_value};

    use super::*;
    use crate::protocol::Root;

    // MRTR-2
    #[test]
    fn input_requests_round_trip() {
        let wire = json!({
            "resultType": "input_required",
            "inputRequests": {
                "ask": {"method": "elicitation/create", "params": {
                    "mode": "form",
                    "message": "m",
                    "requestedSchema": {"type": "object", "properties": {"a": {"type": "string"}}}
                }},
                "model": {"method": "sampling/createMessage", "params": {
                    "messages": [{"role": "user", "content": {"type": "text", "text": "s3cret"}}],
                    "maxTokens": 5
                }},
                "roots": {"method": "roots/list"},
                "soon": {"method": "x/y", "params": [1]}
            },
            "requestState": "s3cret"
        });
        let result: InputRequiredResult = from_value(wire.clone()).unwrap();
        assert_eq!(to_value(&result).unwrap(), wire);
        let shown = format!("{result:?} {:?}", result.input_requests);
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    // RPC-27
    #[test]
    fn the_method_may_come_last_and_schemas_stay_verbatim() {
        let params =
            r#"{"messages":[],"maxTokens":1,"tools":[{"name":"t","inputSchema":{"z":1, "a":2}}]}"#;
        let wire = format!(r#"{{"params":{params},"method":"sampling/createMessage"}}"#);
        let request: InputRequest = from_str(&wire).unwrap();
        assert_eq!(
            to_string(&request).unwrap(),
            format!(r#"{{"method":"sampling/createMessage","params":{params}}}"#)
        );
    }

    // MRTR-3
    #[test]
    fn malformed_params_fail() {
        assert!(from_value::<InputRequest>(json!({"method": "elicitation/create"})).is_err());
        assert!(from_value::<InputRequest>(json!({"params": {}})).is_err());
    }

    // MRTR-8
    #[test]
    fn responses_are_plain_results() {
        for (response, wire) in [
            (ElicitResult::decline().into(), json!({"action": "decline"})),
            (
                CreateMessageResult::text("m", "t").into(),
                json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "t"}}),
            ),
            (
                ListRootsResult::new(vec![Root::new("file:///")]).into(),
                json!({"roots": [{"uri": "file:///"}]}),
            ),
            (InputResponse::Other(Map::new()), json!({})),
        ] {
            assert_eq!(to_value(&response).unwrap(), wire);
            assert_eq!(from_value::<InputResponse>(wire).unwrap(), response);
        }
    }
}
