use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Role, SamplingContent, Tool, lenient};

/// The params of `sampling/createMessage` (`CreateMessageRequestParams`); deprecated in 2026-07-28.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateMessageParams {
    /// The conversation so far.
    pub messages: Vec<SamplingMessage>,
    /// Which model is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_preferences: Option<ModelPreferences>,
    /// The system prompt; the client may change or drop it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// What context of MCP servers is wanted; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_context: Option<IncludeContext>,
    /// The sampling temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The most tokens to produce.
    #[serde(deserialize_with = "lenient::integer")]
    pub max_tokens: u64,
    /// Texts that end the answer.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub stop_sequences: Vec<String>,
    /// Anything for the model provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// The tools the model may use (since 2025-11-25); presence needs `sampling.tools`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    /// How the model uses tools (since 2025-11-25); presence needs `sampling.tools`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    CreateMessageParams {
        model_preferences, include_context, temperature, max_tokens, tools, tool_choice
    }
    hidden { messages, system_prompt, stop_sequences, metadata, meta, extra }
);

impl CreateMessageParams {
    /// Whether the model is to use tools.
    pub(crate) fn wants_tools(&self) -> bool {
        self.tools.is_some() || self.tool_choice.is_some()
    }

    /// Asks for an answer to `messages`.
    pub fn new(messages: Vec<SamplingMessage>, max_tokens: u64) -> Self {
        Self {
            messages,
            model_preferences: None,
            system_prompt: None,
            include_context: None,
            temperature: None,
            max_tokens,
            stop_sequences: Vec::new(),
            metadata: None,
            tools: None,
            tool_choice: None,
            meta: None,
            extra: Map::new(),
        }
    }
}

/// A message of a conversation (`SamplingMessage`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SamplingMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said. One block is written without an array, as all revisions read it.
    #[serde(with = "lenient::one_or_many")]
    pub content: Vec<SamplingContent>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(SamplingMessage { role } hidden { content, meta, extra });

impl SamplingMessage {
    /// A message.
    pub fn new(role: Role, content: Vec<SamplingContent>) -> Self {
        Self { role, content, meta: None, extra: Map::new() }
    }
}

/// Which model a server wants (`ModelPreferences`). Hints go before priorities.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelPreferences {
    /// Models by name; the first that matches wins.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub hints: Vec<ModelHint>,
    /// How much low cost matters, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_priority: Option<f64>,
    /// How much speed matters, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_priority: Option<f64>,
    /// How much ability matters, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intelligence_priority: Option<f64>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    ModelPreferences { hints, cost_priority, speed_priority, intelligence_priority }
    hidden { extra }
);

/// A wanted model (`ModelHint`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelHint {
    /// A part of the name of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ModelHint { name } hidden { extra });

string_enum! {
    /// What context of MCP servers a server wants.
    pub enum IncludeContext {
        /// None.
        None = "none",
        /// That of the asking server; deprecated.
        ThisServer = "thisServer",
        /// That of all servers; deprecated.
        AllServers = "allServers",
    }
}

/// How the model uses tools (`ToolChoice`; since 2025-11-25).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolChoice {
    /// The mode; absent means auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ToolChoiceMode>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ToolChoice { mode } hidden { extra });

string_enum! {
    /// Whether the model uses tools (since 2025-11-25).
    pub enum ToolChoiceMode {
        /// As the model decides.
        Auto = "auto",
        /// At least one.
        Required = "required",
        /// None.
        None = "none",
    }
}

/// The answer to `sampling/createMessage` (`CreateMessageResult`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateMessageResult {
    /// Who speaks.
    pub role: Role,
    /// What is said. One block is written without an array, as all revisions read it.
    #[serde(with = "lenient::one_or_many")]
    pub content: Vec<SamplingContent>,
    /// The name of the model.
    pub model: String,
    /// Why the model stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(CreateMessageResult { role, model, stop_reason } hidden { content, meta, extra });

impl CreateMessageResult {
    /// An answer of the assistant.
    pub fn new(model: impl Into<String>, content: Vec<SamplingContent>) -> Self {
        Self {
            role: Role::Assistant,
            content,
            model: model.into(),
            stop_reason: None,
            meta: None,
            extra: Map::new(),
        }
    }

    /// An answer of one text block.
    pub fn text(model: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(model, vec![SamplingContent::text(text)])
    }
}

string_enum! {
    /// Why a model stopped.
    pub enum StopReason {
        /// Its turn ended.
        EndTurn = "endTurn",
        /// It wrote a stop sequence.
        StopSequence = "stopSequence",
        /// It reached the token limit.
        MaxTokens = "maxTokens",
        /// It wants to use a tool (since 2025-11-25).
        ToolUse = "toolUse",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, from_value, json, to_string, to_value};

    use super::*;

    // SAMP-11, SAMP-12
    #[test]
    fn content_is_one_block_or_many() {
        let block = json!({"type": "text", "text": "t"});
        for content in [block.clone(), json!([block, block]), json!([])] {
            let wire = json!({"role": "user", "content": content});
            let message: SamplingMessage = from_value(wire.clone()).unwrap();
            assert_eq!(to_value(&message).unwrap(), wire);
        }
        let wire = json!({"role": "user", "content": [block]});
        let message: SamplingMessage = from_value(wire).unwrap();
        assert_eq!(to_value(&message).unwrap()["content"], block);
        assert!(from_value::<SamplingMessage>(json!({"role": "user", "content": "t"})).is_err());
    }

    // RPC-27, RPC-28, RPC-29
    #[test]
    fn requests_round_trip() {
        let wire = concat!(
            r#"{"messages":[{"role":"user","content":{"type":"tool_use","id":"1","name":"n","input":{"b":1,"a":2}}}],"#,
            r#""modelPreferences":{"hints":[{"name":"h","vendor":1}],"costPriority":0.25},"#,
            r#""includeContext":"someServers","temperature":0.5,"maxTokens":5.0,"#,
            r#""tools":[{"name":"t","inputSchema":{"z":1, "a":1}}],"toolChoice":{"mode":"auto"},"task":{"ttl":1}}"#
        );
        let params: CreateMessageParams = from_str(wire).unwrap();
        assert_eq!(params.max_tokens, 5);
        assert_eq!(to_string(&params).unwrap(), wire.replace("5.0,\"tools", "5,\"tools"));
    }

    #[test]
    fn debug_shows_no_content() {
        let mut params = CreateMessageParams::new(
            vec![SamplingMessage::new(Role::User, vec![SamplingContent::text("s3cret")])],
            1,
        );
        params.system_prompt = Some("s3cret".to_owned());
        let result = CreateMessageResult::text("m", "s3cret");
        let shown = format!("{params:?} {:?} {result:?}", params.messages);
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
