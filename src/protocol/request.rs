//! The requests a client sends.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{
    CallToolParams, CompleteParams, GetPromptParams, InitializeParams, InputResponses, ListParams,
    ListenParams, ProtocolVersion, RawJson, ReadResourceParams, ServerCapabilities, SetLevelParams,
    SubscribeParams,
};

/// A request, with its params except `_meta` (`ClientRequest`). Serializes as the params.
#[derive(Clone, Debug)]
pub(crate) enum ClientRequest {
    Discover,
    Initialize(Box<InitializeParams>),
    Ping,
    SetLevel(SetLevelParams),
    ListTools(ListParams),
    ListResources(ListParams),
    ListResourceTemplates(ListParams),
    ListPrompts(ListParams),
    CallTool(Box<CallToolParams>),
    ReadResource(ReadResourceParams),
    GetPrompt(GetPromptParams),
    Complete(Box<CompleteParams>),
    Listen(ListenParams),
    Subscribe(SubscribeParams),
    Unsubscribe(SubscribeParams),
    Raw(RawRequest),
}

/// Any method with any params.
#[derive(Clone)]
pub(crate) struct RawRequest {
    method: String,
    params: BTreeMap<String, RawJson>,
    name: Option<String>,
}

redacted_debug!(RawRequest { method, name } hidden { params });

impl RawRequest {
    /// Takes the params apart into `_meta` and the rest; `None` if they are no object.
    pub(crate) fn new(method: String, params: &RawJson) -> Option<(Self, Map<String, Value>)> {
        let mut params: BTreeMap<String, RawJson> = params.parse().ok()?;
        let meta = match params.remove("_meta") {
            Some(meta) => meta.parse().ok()?,
            None => Map::new(),
        };
        let named_by = match method.as_str() {
            "tools/call" | "prompts/get" => params.get("name"),
            "resources/read" => params.get("uri"),
            // HDR-4
            "tasks/get" | "tasks/update" | "tasks/cancel" => params.get("taskId"),
            _ => None,
        };
        let name = named_by.and_then(|name| name.parse().ok());
        Some((Self { method, params, name }, meta))
    }

    /// Sets what the request is about, unless the params say which tool is called.
    pub(crate) fn set_name(&mut self, name: String) {
        if self.method != "tools/call" {
            self.name = Some(name);
        }
    }

    fn answer(
        &mut self,
        responses: Option<InputResponses>,
        state: Option<String>,
    ) -> serde_json::Result<()> {
        let responses = responses.as_ref().map(RawJson::from_value).transpose()?;
        let state = state.as_ref().map(RawJson::from_value).transpose()?;
        for (key, value) in [("inputResponses", responses), ("requestState", state)] {
            match value {
                Some(value) => self.params.insert(key.to_owned(), value),
                None => self.params.remove(key),
            };
        }
        Ok(())
    }
}

impl ClientRequest {
    pub(crate) fn method(&self) -> &str {
        match self {
            Self::Discover => "server/discover",
            Self::Initialize(_) => "initialize",
            Self::Ping => "ping",
            Self::SetLevel(_) => "logging/setLevel",
            Self::ListTools(_) => "tools/list",
            Self::ListResources(_) => "resources/list",
            Self::ListResourceTemplates(_) => "resources/templates/list",
            Self::ListPrompts(_) => "prompts/list",
            Self::CallTool(_) => "tools/call",
            Self::ReadResource(_) => "resources/read",
            Self::GetPrompt(_) => "prompts/get",
            Self::Complete(_) => "completion/complete",
            Self::Listen(_) => "subscriptions/listen",
            Self::Subscribe(_) => "resources/subscribe",
            Self::Unsubscribe(_) => "resources/unsubscribe",
            Self::Raw(raw) => &raw.method,
        }
    }

    /// What the request is about: the tool, the prompt or the resource.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::CallTool(params) => Some(&params.name),
            Self::GetPrompt(params) => Some(&params.name),
            Self::ReadResource(params) => Some(&params.uri),
            Self::Subscribe(params) | Self::Unsubscribe(params) => Some(&params.uri),
            Self::Raw(raw) => raw.name.as_deref(),
            _ => None,
        }
    }

    /// The tool it calls, if it calls one, and the arguments.
    pub(crate) fn tool_call(&self) -> Option<(&str, Option<&RawJson>)> {
        match self {
            Self::CallTool(params) => Some((&params.name, params.arguments.as_ref())),
            Self::Raw(raw) if raw.method == "tools/call" => {
                Some((raw.name.as_deref()?, raw.params.get("arguments")))
            }
            _ => None,
        }
    }

    /// Whether it asks to become a task (2025-11-25 only).
    pub(crate) fn wants_task(&self) -> bool {
        matches!(self, Self::CallTool(params) if params.task.is_some())
    }

    /// Answers what the server asked for (MRTR-7…MRTR-13): what was said in an earlier round is
    /// replaced.
    pub(crate) fn answer(
        &mut self,
        responses: InputResponses,
        state: Option<String>,
    ) -> serde_json::Result<()> {
        let responses = Some(responses).filter(|responses| !responses.is_empty());
        let (to, its_state) = match self {
            Self::CallTool(params) => (&mut params.input_responses, &mut params.request_state),
            Self::GetPrompt(params) => (&mut params.input_responses, &mut params.request_state),
            Self::ReadResource(params) => (&mut params.input_responses, &mut params.request_state),
            Self::Raw(raw) => return raw.answer(responses, state),
            _ => return Ok(()),
        };
        (*to, *its_state) = (responses, state);
        Ok(())
    }

    /// Whether it only asks, so that being asked twice does the server no harm.
    pub(crate) fn is_read(&self) -> bool {
        matches!(
            self.method(),
            "server/discover"
                | "ping"
                | "tools/list"
                | "resources/list"
                | "resources/templates/list"
                | "resources/read"
                | "prompts/list"
                | "prompts/get"
                | "completion/complete"
                | "tasks/get"
        )
    }

    /// Whether it holds JSON text as the caller wrote it.
    pub(crate) fn carries_raw_json(&self) -> bool {
        matches!(self, Self::CallTool(_) | Self::Raw(_))
    }

    /// Whether the answer may ask for input instead (`input_required`).
    pub(crate) fn may_require_input(&self) -> bool {
        matches!(self.method(), "tools/call" | "resources/read" | "prompts/get")
    }

    /// The capability the server must have declared for it, if it has not.
    pub(crate) fn lacks(
        &self,
        offered: &ServerCapabilities,
        version: ProtocolVersion,
    ) -> Option<&'static str> {
        let (capability, declared) = match self {
            Self::ListTools(_) | Self::CallTool(_) => ("tools", offered.tools.is_some()),
            Self::ListResources(_) | Self::ListResourceTemplates(_) | Self::ReadResource(_) => {
                ("resources", offered.resources.is_some())
            }
            Self::ListPrompts(_) | Self::GetPrompt(_) => ("prompts", offered.prompts.is_some()),
            // 2024-11-05 has the method and no capability for it.
            Self::Complete(_) if version > ProtocolVersion::V2024_11_05 => {
                ("completions", offered.completions.is_some())
            }
            Self::SetLevel(_) => ("logging", offered.logging.is_some()),
            _ => return None,
        };
        (!declared).then_some(capability)
    }
}

impl Serialize for ClientRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Discover | Self::Ping => serializer.serialize_map(Some(0))?.end(),
            Self::Initialize(params) => params.serialize(serializer),
            Self::SetLevel(params) => params.serialize(serializer),
            Self::ListTools(params)
            | Self::ListResources(params)
            | Self::ListResourceTemplates(params)
            | Self::ListPrompts(params) => params.serialize(serializer),
            Self::CallTool(params) => params.serialize(serializer),
            Self::ReadResource(params) => params.serialize(serializer),
            Self::GetPrompt(params) => params.serialize(serializer),
            Self::Complete(params) => params.serialize(serializer),
            Self::Listen(params) => params.serialize(serializer),
            Self::Subscribe(params) | Self::Unsubscribe(params) => params.serialize(serializer),
            Self::Raw(raw) => raw.params.serialize(serializer),
        }
    }
}
