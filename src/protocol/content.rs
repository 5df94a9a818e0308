use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::redact::Hidden;
use super::{Annotations, RawJson, Resource, lenient};
use crate::error::{Error, ErrorKind, Result};

tagged_union! {
    /// One part of a tool result or a prompt (`ContentBlock`).
    pub enum ContentBlock by "type" {
        /// Text.
        Text(TextContent) = "text",
        /// An image.
        Image(ImageContent) = "image",
        /// A sound (since 2025-03-26).
        Audio(AudioContent) = "audio",
        /// A resource to be read by its URI (`ResourceLink`; since 2025-06-18).
        ResourceLink(Box<Resource>) = "resource_link",
        /// A resource with its contents.
        Resource(EmbeddedResource) = "resource",
    }
}

impl ContentBlock {
    /// A text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(TextContent::new(text))
    }

    /// An image block of Base64 `data`.
    pub fn image(data: impl Into<String>, mime_type: impl Into<String>) -> Self {
        Self::Image(ImageContent::new(data, mime_type))
    }

    /// An audio block of Base64 `data`.
    pub fn audio(data: impl Into<String>, mime_type: impl Into<String>) -> Self {
        Self::Audio(AudioContent::new(data, mime_type))
    }

    /// The text of a text block.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(content) => Some(&content.text),
            _ => None,
        }
    }
}

/// Text (`TextContent`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextContent {
    /// The text.
    pub text: String,
    /// How to use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(TextContent { annotations } hidden { text, meta, extra });

impl TextContent {
    /// A text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), annotations: None, meta: None, extra: Map::new() }
    }
}

/// An image (`ImageContent`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageContent {
    /// The bytes in Base64.
    pub data: String,
    /// The media type.
    pub mime_type: String,
    /// How to use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ImageContent { mime_type, annotations } hidden { data, meta, extra });

/// A sound (`AudioContent`; since 2025-03-26).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AudioContent {
    /// The bytes in Base64.
    pub data: String,
    /// The media type.
    pub mime_type: String,
    /// How to use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(AudioContent { mime_type, annotations } hidden { data, meta, extra });

macro_rules! media {
    ($($name:ident)*) => {$(
        impl $name {
            /// Base64 `data` of that media type.
            pub fn new(data: impl Into<String>, mime_type: impl Into<String>) -> Self {
                Self {
                    data: data.into(),
                    mime_type: mime_type.into(),
                    annotations: None,
                    meta: None,
                    extra: Map::new(),
                }
            }

            /// Returns the bytes that `data` stands for.
            ///
            /// # Errors
            ///
            /// [`Protocol`](ErrorKind::Protocol) if it is not Base64.
            pub fn decode(&self) -> Result<Vec<u8>> {
                decode(&self.data)
            }
        }
    )*};
}

media!(ImageContent AudioContent);

/// A resource with its contents (`EmbeddedResource`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmbeddedResource {
    /// The contents.
    pub resource: ResourceContents,
    /// How to use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(EmbeddedResource { resource, annotations } hidden { meta, extra });

impl EmbeddedResource {
    /// Embeds `resource`.
    pub fn new(resource: ResourceContents) -> Self {
        Self { resource, annotations: None, meta: None, extra: Map::new() }
    }
}

/// The contents of a resource, which are text or bytes.
#[non_exhaustive]
#[derive(Clone, PartialEq)]
pub enum ResourceContents {
    /// Text.
    Text(TextResourceContents),
    /// Bytes.
    Blob(BlobResourceContents),
    /// Neither: kept whole.
    Other(Map<String, Value>),
}

impl ResourceContents {
    /// The URI of the resource; it may differ from the one that was read.
    pub fn uri(&self) -> Option<&str> {
        match self {
            Self::Text(contents) => Some(&contents.uri),
            Self::Blob(contents) => Some(&contents.uri),
            Self::Other(map) => map.get("uri").and_then(Value::as_str),
        }
    }

    /// The media type.
    pub fn mime_type(&self) -> Option<&str> {
        match self {
            Self::Text(contents) => contents.mime_type.as_deref(),
            Self::Blob(contents) => contents.mime_type.as_deref(),
            Self::Other(map) => map.get("mimeType").and_then(Value::as_str),
        }
    }

    /// Returns the bytes of the contents: a text's UTF-8, or what the Base64 of a blob stands for.
    ///
    /// # Errors
    ///
    /// [`Protocol`](ErrorKind::Protocol) if they are neither, or the blob is not Base64.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Text(contents) => Ok(Cow::Borrowed(contents.text.as_bytes())),
            Self::Blob(contents) => contents.decode().map(Cow::Owned),
            Self::Other(_) => {
                Err(Error::new(ErrorKind::Protocol, "the contents are neither text nor a blob"))
            }
        }
    }

    /// The text of text contents.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(contents) => Some(&contents.text),
            _ => None,
        }
    }
}

impl fmt::Debug for ResourceContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(contents) => contents.fmt(f),
            Self::Blob(contents) => contents.fmt(f),
            Self::Other(map) => f.debug_tuple("Other").field(&Hidden(map)).finish(),
        }
    }
}

impl Serialize for ResourceContents {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Text(contents) => contents.serialize(serializer),
            Self::Blob(contents) => contents.serialize(serializer),
            Self::Other(map) => map.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ResourceContents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        /// Both shapes at once, so that a large text is read only once.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            uri: Option<String>,
            mime_type: Option<String>,
            text: Option<String>,
            blob: Option<String>,
            #[serde(rename = "_meta")]
            meta: Option<Map<String, Value>>,
            #[serde(flatten)]
            extra: Map<String, Value>,
        }

        let Wire { uri, mime_type, text, blob, meta, mut extra } = Wire::deserialize(deserializer)?;
        Ok(match (uri, text, blob) {
            (Some(uri), Some(text), blob) => {
                extra.extend(blob.map(|blob| ("blob".to_owned(), blob.into())));
                Self::Text(TextResourceContents { uri, mime_type, text, meta, extra })
            }
            (Some(uri), None, Some(blob)) => {
                Self::Blob(BlobResourceContents { uri, mime_type, blob, meta, extra })
            }
            (uri, text, blob) => {
                let strings =
                    [("uri", uri), ("mimeType", mime_type), ("text", text), ("blob", blob)];
                for (key, value) in strings {
                    extra.extend(value.map(|value| (key.to_owned(), value.into())));
                }
                extra.extend(meta.map(|meta| ("_meta".to_owned(), meta.into())));
                Self::Other(extra)
            }
        })
    }
}

/// Text contents of a resource (`TextResourceContents`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TextResourceContents {
    /// The URI of the resource.
    pub uri: String,
    /// The media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The text.
    pub text: String,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(TextResourceContents { uri, mime_type } hidden { text, meta, extra });

impl TextResourceContents {
    /// The `text` of the resource at `uri`.
    pub fn new(uri: impl Into<String>, text: impl Into<String>) -> Self {
        Self { uri: uri.into(), mime_type: None, text: text.into(), meta: None, extra: Map::new() }
    }
}

/// Binary contents of a resource (`BlobResourceContents`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobResourceContents {
    /// The URI of the resource.
    pub uri: String,
    /// The media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// The bytes in Base64.
    pub blob: String,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(BlobResourceContents { uri, mime_type } hidden { blob, meta, extra });

impl BlobResourceContents {
    /// The Base64 `blob` of the resource at `uri`.
    pub fn new(uri: impl Into<String>, blob: impl Into<String>) -> Self {
        Self { uri: uri.into(), mime_type: None, blob: blob.into(), meta: None, extra: Map::new() }
    }

    /// Returns the bytes that `blob` stands for.
    ///
    /// # Errors
    ///
    /// [`Protocol`](ErrorKind::Protocol) if it is not Base64.
    pub fn decode(&self) -> Result<Vec<u8>> {
        decode(&self.blob)
    }
}

tagged_union! {
    /// One part of a sampling message (`SamplingMessageContentBlock`).
    pub enum SamplingContent by "type" {
        /// Text.
        Text(TextContent) = "text",
        /// An image.
        Image(ImageContent) = "image",
        /// A sound (since 2025-03-26).
        Audio(AudioContent) = "audio",
        /// A call of a tool by the model (since 2025-11-25).
        ToolUse(ToolUseContent) = "tool_use",
        /// What a call of a tool returned (since 2025-11-25).
        ToolResult(ToolResultContent) = "tool_result",
    }
}

impl SamplingContent {
    /// A text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(TextContent::new(text))
    }

    /// The text of a text block.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(content) => Some(&content.text),
            _ => None,
        }
    }
}

/// A call of a tool by the model (`ToolUseContent`; since 2025-11-25).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolUseContent {
    /// The id that the matching result names.
    pub id: String,
    /// The name of the tool.
    pub name: String,
    /// The arguments, an object.
    pub input: RawJson,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ToolUseContent { id, name } hidden { input, meta, extra });

impl ToolUseContent {
    /// A call of the tool `name`.
    pub fn new(id: impl Into<String>, name: impl Into<String>, input: RawJson) -> Self {
        Self { id: id.into(), name: name.into(), input, meta: None, extra: Map::new() }
    }
}

/// What a call of a tool returned (`ToolResultContent`; since 2025-11-25).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolResultContent {
    /// The id of the call.
    pub tool_use_id: String,
    /// What the tool returned.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub content: Vec<ContentBlock>,
    /// The structured result; `null` is a value, other than absent.
    #[serde(
        default,
        deserialize_with = "lenient::present",
        skip_serializing_if = "Option::is_none"
    )]
    pub structured_content: Option<RawJson>,
    /// Whether the call failed.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "lenient::is_false"
    )]
    pub is_error: bool,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    ToolResultContent { tool_use_id, is_error }
    hidden { content, structured_content, meta, extra }
);

impl ToolResultContent {
    /// The result of the call `tool_use_id`.
    pub fn new(tool_use_id: impl Into<String>, content: Vec<ContentBlock>) -> Self {
        Self {
            tool_use_id: tool_use_id.into(),
            content,
            structured_content: None,
            is_error: false,
            meta: None,
            extra: Map::new(),
        }
    }
}

/// Reads standard Base64, with or without padding.
fn decode(text: &str) -> Result<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LENIENT.decode(text).map_err(|error| {
        Error::new(ErrorKind::Protocol, "the server's data is not valid Base64").source(error)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, from_value, json, to_string, to_value};

    use super::*;

    // RPC-28
    #[test]
    fn unknown_blocks_survive_whole() {
        for wire in [
            json!({"type": "video", "data": "x", "n": {"a": 1}}),
            json!({"data": "x", "type": "video"}),
            json!({"data": "x"}),
            json!({"type": 5, "data": "x"}),
        ] {
            let block: ContentBlock = from_value(wire.clone()).unwrap();
            assert!(matches!(block, ContentBlock::Other(_)));
            assert_eq!(to_value(&block).unwrap(), wire);
        }
    }

    #[test]
    fn the_tag_may_come_last() {
        let block: ContentBlock = from_str(r#"{"text":"hi","x":1,"type":"text"}"#).unwrap();
        assert_eq!(block.as_text(), Some("hi"));
        assert_eq!(to_string(&block).unwrap(), r#"{"type":"text","text":"hi","x":1}"#);
    }

    #[test]
    fn known_blocks_round_trip() {
        for wire in [
            json!({"type": "text", "text": "t", "annotations": {"audience": ["user"], "priority": 0.5}}),
            json!({"type": "image", "data": "AA==", "mimeType": "image/png", "_meta": {"k": 1}}),
            json!({"type": "audio", "data": "AA==", "mimeType": "audio/wav"}),
            json!({"type": "resource_link", "uri": "file:///a", "name": "a", "size": 3}),
            json!({"type": "resource", "resource": {"uri": "u", "text": "t"}}),
        ] {
            let block: ContentBlock = from_value(wire.clone()).unwrap();
            assert!(!matches!(block, ContentBlock::Other(_)));
            assert_eq!(to_value(&block).unwrap(), wire);
        }
    }

    #[test]
    fn malformed_known_blocks_fail() {
        assert!(from_value::<ContentBlock>(json!({"type": "text"})).is_err());
        assert!(from_value::<ContentBlock>(json!({"text": 1, "type": "text"})).is_err());
        assert!(from_value::<ContentBlock>(json!("text")).is_err());
    }

    // TYPE-3
    #[test]
    fn contents_are_told_apart_by_their_members() {
        for wire in [
            json!({"uri": "u", "text": "t", "annotations": {"priority": 1}}),
            json!({"uri": "u", "blob": "AAE", "mimeType": "m", "_meta": {"a": 1}}),
            json!({"uri": "u", "stream": 7, "_meta": {}}),
            json!({"uri": "u", "text": "t", "blob": "b"}),
        ] {
            let contents: ResourceContents = from_value(wire.clone()).unwrap();
            assert_eq!(contents.uri(), Some("u"));
            assert_eq!(to_value(&contents).unwrap(), wire);
        }
        let contents = from_value(json!({"uri": "u", "blob": "AAE", "text": null})).unwrap();
        match contents {
            ResourceContents::Blob(blob) => assert_eq!(blob.decode().unwrap(), [0, 1]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn padding_is_optional() {
        for data in ["aGk=", "aGk"] {
            assert_eq!(ImageContent::new(data, "image/png").decode().unwrap(), b"hi");
        }
        assert!(AudioContent::new("a-k", "audio/wav").decode().is_err());
    }

    // TOOL-10
    #[test]
    fn sampling_blocks_round_trip() {
        for wire in [
            r#"{"type":"tool_use","id":"1","name":"t","input":{"b":1.0,"a":2}}"#,
            r#"{"type":"tool_result","toolUseId":"1","content":[],"structuredContent":null}"#,
        ] {
            let block: SamplingContent = from_str(wire).unwrap();
            assert_eq!(to_string(&block).unwrap(), wire);
        }
    }

    #[test]
    fn debug_shows_no_content() {
        let text = from_value::<ContentBlock>(
            json!({"type": "text", "text": "s3cret", "_meta": {"k": "s3cret"}, "x": "s3cret"}),
        )
        .unwrap();
        let shown = format!("{text:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains(r#"text: <6 bytes>, meta: {"k"}, extra: {"x"}"#), "{shown}");
        let blocks = vec![
            ContentBlock::Other(Map::from_iter([("x".to_owned(), json!("s3cret"))])),
            ContentBlock::image("s3cret", "image/png"),
            ContentBlock::Resource(EmbeddedResource::new(ResourceContents::Text(
                TextResourceContents::new("u", "s3cret"),
            ))),
        ];
        assert!(!format!("{blocks:?}").contains("s3cret"));
        let call = ToolUseContent::new("1", "t", json!({"password": "s3cret"}).into());
        assert!(!format!("{call:?}").contains("s3cret"));
    }
}
