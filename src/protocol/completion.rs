use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::lenient;

/// The most values a completion may have.
const MAX_VALUES: usize = 100;

tagged_union! {
    /// What an argument belongs to.
    pub enum CompletionReference by "type" {
        /// A prompt.
        Prompt(PromptReference) = "ref/prompt",
        /// A resource template, or a resource.
        Resource(ResourceTemplateReference) = "ref/resource",
    }
}

impl CompletionReference {
    /// The prompt `name`.
    pub fn prompt(name: impl Into<String>) -> Self {
        Self::Prompt(PromptReference::new(name))
    }

    /// The resource or template `uri`.
    pub fn resource(uri: impl Into<String>) -> Self {
        Self::Resource(ResourceTemplateReference::new(uri))
    }
}

/// Names a prompt (`PromptReference`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptReference {
    /// The name of the prompt.
    pub name: String,
    /// The name for people (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(PromptReference { name, title } hidden { extra });

impl PromptReference {
    /// The prompt `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), title: None, extra: Map::new() }
    }
}

/// Names a resource template or resource (`ResourceTemplateReference`; `ResourceReference` before
/// 2025-06-18).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceTemplateReference {
    /// The URI or URI template.
    pub uri: String,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ResourceTemplateReference { uri } hidden { extra });

impl ResourceTemplateReference {
    /// The resource or template `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), extra: Map::new() }
    }
}

/// The params of `completion/complete` (`CompleteRequestParams`).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompleteParams {
    /// What the argument belongs to.
    #[serde(rename = "ref")]
    pub reference: CompletionReference,
    /// What is to be completed.
    pub argument: CompletionArgument,
    /// What was chosen before (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<CompletionContext>,
}

impl CompleteParams {
    /// Completes `value` of the argument `name`.
    pub fn new(
        reference: CompletionReference,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        Self { reference, argument: CompletionArgument::new(name, value), context: None }
    }
}

/// An argument under completion.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompletionArgument {
    /// The name of the argument.
    pub name: String,
    /// What was typed so far.
    pub value: String,
}

redacted_debug!(CompletionArgument { name } hidden { value });

impl CompletionArgument {
    /// The argument `name` with what was typed so far.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// What was chosen before a completion (since 2025-06-18).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompletionContext {
    /// The arguments that already have a value.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub arguments: BTreeMap<String, String>,
}

redacted_debug!(CompletionContext {} hidden { arguments });

impl CompletionContext {
    /// The arguments that already have a value.
    pub fn new(arguments: BTreeMap<String, String>) -> Self {
        Self { arguments }
    }
}

/// The result of `completion/complete` (`CompleteResult`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompleteResult {
    /// The proposals.
    pub completion: Completion,
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

redacted_debug!(CompleteResult { completion, result_type } hidden { meta, extra });

/// Proposals for an argument.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completion {
    /// The proposed values, best first; at most 100, further ones are dropped.
    #[serde(deserialize_with = "values")]
    pub values: Vec<String>,
    /// How many there are in all.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub total: Option<u64>,
    /// Whether there are more than `values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_more: Option<bool>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(Completion { total, has_more } hidden { values, extra });

// COMP-5
fn values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let mut values = Vec::deserialize(deserializer)?;
    values.truncate(MAX_VALUES);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    // COMP-1
    #[test]
    fn references_have_a_type() {
        let params = CompleteParams::new(CompletionReference::prompt("p"), "a", "s3cret");
        assert_eq!(
            to_value(&params).unwrap(),
            json!({
                "ref": {"type": "ref/prompt", "name": "p"},
                "argument": {"name": "a", "value": "s3cret"}
            })
        );
        assert!(!format!("{params:?}").contains("s3cret"));
    }

    #[test]
    fn the_old_resource_reference_has_the_same_shape() {
        let wire = json!({"type": "ref/resource", "uri": "file:///{path}"});
        let reference: CompletionReference = from_value(wire.clone()).unwrap();
        assert_eq!(reference, CompletionReference::resource("file:///{path}"));
        assert_eq!(to_value(&reference).unwrap(), wire);
    }

    // COMP-5, RPC-29
    #[test]
    fn values_beyond_100_are_dropped() {
        let values: Vec<_> = (0..150).map(|n| n.to_string()).collect();
        let wire = json!({"completion": {"values": values, "total": 150.0}});
        let result: CompleteResult = from_value(wire).unwrap();
        assert_eq!(result.completion.values.len(), 100);
        assert_eq!(result.completion.total, Some(150));
    }
}
