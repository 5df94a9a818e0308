use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ContentBlock, Icon, InputResponses, Role, lenient};

/// A prompt of a server (`Prompt`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// The name to get it by.
    pub name: String,
    /// The name for people (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it takes.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub arguments: Vec<PromptArgument>,
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

redacted_debug!(Prompt { name, title, description, arguments, icons } hidden { meta, extra });

impl Prompt {
    /// A prompt without arguments.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: None,
            arguments: Vec::new(),
            icons: Vec::new(),
            meta: None,
            extra: Map::new(),
        }
    }
}

/// An argument of a prompt (`PromptArgument`). Its value is a string.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptArgument {
    /// The name to give it by.
    pub name: String,
    /// The name for people (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it must be given; absent means no.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub required: bool,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(PromptArgument { name, title, description, required } hidden { extra });

impl PromptArgument {
    /// An argument.
    pub fn new(name: impl Into<String>, required: bool) -> Self {
        Self { name: name.into(), title: None, description: None, required, extra: Map::new() }
    }
}

list_result! {
    /// The result of `prompts/list` (`ListPromptsResult`).
    pub struct ListPromptsResult {
        /// The prompts of this page.
        pub prompts: Vec<Prompt>,
    }
}

/// The params of `prompts/get` (`GetPromptRequestParams`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetPromptParams {
    /// The name of the prompt.
    pub name: String,
    /// The arguments.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub arguments: BTreeMap<String, String>,
    /// Answers to the input requests of the round before (2026-07-28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_responses: Option<InputResponses>,
    /// The `request_state` of the round before (2026-07-28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_state: Option<String>,
}

redacted_debug!(GetPromptParams { name } hidden { arguments, input_responses, request_state });

impl GetPromptParams {
    /// Gets the prompt `name`.
    pub fn new(name: impl Into<String>, arguments: BTreeMap<String, String>) -> Self {
        Self { name: name.into(), arguments, input_responses: None, request_state: None }
    }
}

/// The result of `prompts/get` (`GetPromptResult`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetPromptResult {
    /// What the prompt is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The messages to give to a model.
    pub messages: Vec<PromptMessage>,
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

redacted_debug!(GetPromptResult { description, result_type } hidden { messages, meta, extra });

/// A message of a prompt (`PromptMessage`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: ContentBlock,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(PromptMessage { role, content } hidden { extra });

impl PromptMessage {
    /// A message.
    pub fn new(role: Role, content: ContentBlock) -> Self {
        Self { role, content, extra: Map::new() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    // RPC-28
    #[test]
    fn unknown_content_does_not_fail_the_prompt() {
        let wire = json!({
            "messages": [
                {"role": "user", "content": {"type": "text", "text": "s3cret"}},
                {"role": "tool", "content": {"type": "video", "x": 1}}
            ]
        });
        let prompt: GetPromptResult = from_value(wire.clone()).unwrap();
        assert_eq!(to_value(&prompt).unwrap(), wire);
        assert!(!format!("{:?} {prompt:?}", prompt.messages).contains("s3cret"));
    }

    #[test]
    fn arguments_are_optional() {
        let wire = json!({"name": "p", "arguments": [{"name": "a", "required": true}]});
        let prompt: Prompt = from_value(wire.clone()).unwrap();
        assert!(prompt.arguments.first().is_some_and(|argument| argument.required));
        assert_eq!(to_value(&prompt).unwrap(), wire);
        assert_eq!(
            to_value(GetPromptParams::new("p", BTreeMap::new())).unwrap(),
            json!({"name": "p"})
        );
    }
}
