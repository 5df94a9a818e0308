use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result, misfit, said};

use super::{ContentBlock, Icon, InputResponses, RawJson, TaskAugmentation, lenient};

/// A tool of a server (`Tool`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// The name to call it by.
    pub name: String,
    /// The name for people (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON Schema of the arguments; `{}` if the server sent none.
    #[serde(default = "RawJson::empty_object", deserialize_with = "schema")]
    pub input_schema: RawJson,
    /// The JSON Schema of the structured result (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<RawJson>,
    /// Hints on its behaviour (since 2025-03-26). Untrusted unless the server is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<ToolAnnotations>,
    /// Icons (since 2025-11-25).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub icons: Vec<Icon>,
    /// How it can be run (2025-11-25 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<ToolExecution>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    Tool { name, title, description, input_schema, output_schema, annotations, icons, execution }
    hidden { meta, extra }
);

impl Tool {
    /// A tool with that JSON Schema for its arguments.
    pub fn new(name: impl Into<String>, input_schema: RawJson) -> Self {
        Self {
            name: name.into(),
            title: None,
            description: None,
            input_schema,
            output_schema: None,
            annotations: None,
            icons: Vec::new(),
            execution: None,
            meta: None,
            extra: Map::new(),
        }
    }

    /// The name to show: `title`, else `annotations.title`, else `name`.
    pub fn display_name(&self) -> &str {
        let hint = || self.annotations.as_ref()?.title.as_deref();
        self.title.as_deref().or_else(hint).unwrap_or(&self.name)
    }
}

fn schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawJson, D::Error> {
    let schema: Option<RawJson> = Option::deserialize(deserializer)?;
    Ok(schema.unwrap_or_else(RawJson::empty_object))
}

/// Hints on the behaviour of a tool (`ToolAnnotations`; since 2025-03-26). Untrusted unless the
/// server is trusted.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The tool changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// The tool may destroy; only meaningful if it is not read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// A repeated call has no further effect; only meaningful if it is not read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// The tool reaches beyond a closed set of things.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    ToolAnnotations { title, read_only_hint, destructive_hint, idempotent_hint, open_world_hint }
    hidden { extra }
);

impl ToolAnnotations {
    /// `read_only_hint`, by default false.
    pub fn is_read_only(&self) -> bool {
        self.read_only_hint.unwrap_or(false)
    }

    /// `destructive_hint`, by default true; false for a read-only tool.
    pub fn is_destructive(&self) -> bool {
        !self.is_read_only() && self.destructive_hint.unwrap_or(true)
    }

    /// `idempotent_hint`, by default false; true for a read-only tool.
    pub fn is_idempotent(&self) -> bool {
        self.is_read_only() || self.idempotent_hint.unwrap_or(false)
    }

    /// `open_world_hint`, by default true.
    pub fn is_open_world(&self) -> bool {
        self.open_world_hint.unwrap_or(true)
    }
}

/// How a tool can be run (`ToolExecution`; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolExecution {
    /// Whether calls can be tasks; absent means forbidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_support: Option<TaskSupport>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ToolExecution { task_support } hidden { extra });

string_enum! {
    /// Whether calls of a tool can be tasks (2025-11-25 only).
    pub enum TaskSupport {
        /// Never.
        Forbidden = "forbidden",
        /// If the client asks.
        Optional = "optional",
        /// Always.
        Required = "required",
    }
}

list_result! {
    /// The result of `tools/list` (`ListToolsResult`).
    pub struct ListToolsResult {
        /// The tools of this page.
        pub tools: Vec<Tool>,
    }
}

/// The params of `tools/call` (`CallToolRequestParams`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallToolParams {
    /// The name of the tool.
    pub name: String,
    /// The arguments, an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<RawJson>,
    /// Answers to the input requests of the round before (2026-07-28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_responses: Option<InputResponses>,
    /// The `request_state` of the round before (2026-07-28).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_state: Option<String>,
    /// Asks for a task (2025-11-25 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskAugmentation>,
}

redacted_debug!(CallToolParams { name, task } hidden { arguments, input_responses, request_state });

impl CallToolParams {
    /// A call of the tool `name`.
    pub fn new(name: impl Into<String>, arguments: Option<RawJson>) -> Self {
        Self {
            name: name.into(),
            arguments,
            input_responses: None,
            request_state: None,
            task: None,
        }
    }
}

/// The result of `tools/call` (`CallToolResult`).
#[non_exhaustive]
#[must_use = "a tool that failed says so in `is_error`; `into_result` makes it an error"]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallToolResult {
    /// What the tool returned; empty if the server left it out.
    #[serde(default = "missing_content", deserialize_with = "lenient::or_default")]
    pub content: Vec<ContentBlock>,
    /// The structured result (since 2025-06-18). `null` is a value, other than absent; before
    /// 2026-07-28 it is an object.
    #[serde(
        default,
        deserialize_with = "lenient::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub structured_content: Option<RawJson>,
    /// Whether the tool failed; absent means no.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub is_error: bool,
    /// `resultType` (2026-07-28); absent means `"complete"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_type: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    #[serde(skip)]
    pub(crate) origin: Origin,
}

/// The server and the tool that a failure came from, for the error made of it. No part of the
/// result: any two are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin(Option<Box<(Arc<str>, String)>>);

impl Origin {
    pub(crate) fn new(server: &Arc<str>, tool: Option<&str>) -> Self {
        Self(Some(Box::new((server.clone(), tool.unwrap_or_default().to_owned()))))
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

redacted_debug!(
    CallToolResult { is_error, result_type }
    hidden { content, structured_content, meta, extra }
);

impl CallToolResult {
    /// A result of these blocks.
    pub fn new(content: Vec<ContentBlock>) -> Self {
        Self { content, ..Self::default() }
    }

    /// Returns the text of all text blocks, with line breaks between them.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.content.iter().filter_map(ContentBlock::as_text).collect();
        texts.join("\n")
    }

    /// Reads the structured result as a `T`.
    ///
    /// # Errors
    ///
    /// [`Protocol`](ErrorKind::Protocol) if the tool returned none, or one that is not a `T`.
    pub fn structured<T: DeserializeOwned>(&self) -> Result<T> {
        let structured = self.structured_content.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the tool returned no structured content").ran(true)
        })?;
        structured.parse().map_err(|error| {
            let why = misfit(&error);
            let text = format!("the tool's structured content is not what was expected: {why}");
            Error::new(ErrorKind::Protocol, text).ran(true)
        })
    }

    /// Returns the result, or what the tool says went wrong if it reported a failure (`isError`).
    ///
    /// # Errors
    ///
    /// [`Tool`](ErrorKind::Tool), with the beginning of the tool's text as its message. To keep
    /// the whole result, look at `is_error` instead.
    pub fn into_result(self) -> Result<Self> {
        if !self.is_error {
            return Ok(self);
        }
        let text = said(&self.text());
        let text = if text.is_empty() { "the tool reported an error" } else { &text };
        let error = Error::new(ErrorKind::Tool, text).ran(true);
        Err(match self.origin.0.as_deref() {
            Some((server, tool)) => error.server(server).about("tools/call", tool),
            None => error,
        })
    }
}

// TYPE-2
fn missing_content() -> Vec<ContentBlock> {
    log::debug!("a tool result has no content");
    Vec::new()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, from_value, json, to_string, to_value};

    use super::*;
    use crate::protocol::CacheScope;

    // RPC-27
    #[test]
    fn schemas_are_kept_byte_for_byte() {
        let wire = concat!(
            r#"{"tools":[{"name":"t","inputSchema":{"type":"object", "$defs":{"z":{},"a":{}},"x-v":1.0},"#,
            r#""outputSchema":{"anyOf":[ ]},"vendor":1}],"nextCursor":""}"#
        );
        let list: ListToolsResult = from_str(wire).unwrap();
        let tool = &list.tools[0];
        assert_eq!(
            tool.input_schema.get(),
            r#"{"type":"object", "$defs":{"z":{},"a":{}},"x-v":1.0}"#
        );
        assert_eq!(to_string(&list).unwrap(), wire);
        // RPC-24
        assert_eq!(list.next_cursor.as_deref(), Some(""));
    }

    #[test]
    fn a_missing_schema_is_empty() {
        for wire in [json!({"name": "t"}), json!({"name": "t", "inputSchema": null})] {
            let tool: Tool = from_value(wire).unwrap();
            assert_eq!(tool.input_schema.get(), "{}");
        }
    }

    // TOOL-9, TOOL-10
    #[test]
    fn null_structured_content_is_not_absent() {
        let absent: CallToolResult = from_str(r#"{"content":[]}"#).unwrap();
        assert_eq!(absent.structured_content, None);
        assert_eq!(to_string(&absent).unwrap(), r#"{"content":[]}"#);
        let wire = r#"{"content":[],"structuredContent":null}"#;
        let null: CallToolResult = from_str(wire).unwrap();
        assert!(null.structured_content.as_ref().is_some_and(RawJson::is_null));
        assert_eq!(to_string(&null).unwrap(), wire);
        let wire = r#"{"content":[],"structuredContent":[1.0,{"b":1,"a":2}]}"#;
        let array: CallToolResult = from_str(wire).unwrap();
        assert_eq!(to_string(&array).unwrap(), wire);
    }

    // TYPE-2, TOOL-11
    #[test]
    fn missing_content_is_empty() {
        for wire in [json!({"structuredContent": {}}), json!({"content": null, "isError": null})] {
            let result: CallToolResult = from_value(wire).unwrap();
            assert!(result.content.is_empty() && !result.is_error);
        }
    }

    // TOOL-3
    #[test]
    fn display_name_order() {
        let mut tool = Tool::new("n", RawJson::empty_object());
        assert_eq!(tool.display_name(), "n");
        tool.annotations =
            Some(ToolAnnotations { title: Some("a".to_owned()), ..Default::default() });
        assert_eq!(tool.display_name(), "a");
        tool.title = Some("t".to_owned());
        assert_eq!(tool.display_name(), "t");
    }

    // TOOL-2
    #[test]
    fn annotation_defaults() {
        let none = ToolAnnotations::default();
        assert!(!none.is_read_only() && none.is_destructive());
        assert!(!none.is_idempotent() && none.is_open_world());
    }

    // RPC-29, CACHE-6
    #[test]
    fn odd_cache_hints_do_not_fail_the_list() {
        for (ttl, expected) in [
            (json!(5.0), Some(5)),
            (json!(-1), Some(0)),
            (json!(1e30), Some(u64::MAX)),
            (json!(0.9), Some(0)),
            (json!("60000"), Some(0)),
            (json!({"seconds": 60}), Some(0)),
            (json!(true), Some(0)),
            (json!(null), None),
        ] {
            let wire = json!({"tools": [], "ttlMs": ttl, "cacheScope": "team"});
            let list: ListToolsResult = from_value(wire).unwrap();
            assert_eq!(list.ttl_ms, expected);
            assert_eq!(list.cache_scope, Some(CacheScope::Other("team".to_owned())));
        }
        assert!(from_value::<ListToolsResult>(json!({})).is_err());
    }

    #[test]
    fn debug_shows_no_content() {
        let mut result = CallToolResult::new(vec![ContentBlock::text("s3cret")]);
        result.structured_content = Some(json!("s3cret").into());
        result.meta = Some(Map::from_iter([("k".to_owned(), json!("s3cret"))]));
        let mut params = CallToolParams::new("t", Some(json!({"p": "s3cret"}).into()));
        params.request_state = Some("s3cret".to_owned());
        let shown = format!("{result:?} {params:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn call_params_omit_what_is_absent() {
        let params = CallToolParams::new("t", None);
        assert_eq!(to_value(params).unwrap(), json!({"name": "t"}));
    }
}
