use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::lenient;

string_enum! {
    /// Who a message is from or a content is for (`Role`).
    pub enum Role {
        /// The human or the program that acts for them.
        User = "user",
        /// The model.
        Assistant = "assistant",
    }
}

string_enum! {
    /// How grave a log message is (`LoggingLevel`), after RFC 5424; deprecated in 2026-07-28.
    pub enum LoggingLevel {
        /// Detail for debugging.
        Debug = "debug",
        /// General information.
        Info = "info",
        /// Normal but significant.
        Notice = "notice",
        /// A possible problem.
        Warning = "warning",
        /// A failed operation.
        Error = "error",
        /// A failed component.
        Critical = "critical",
        /// Action is needed at once.
        Alert = "alert",
        /// The system is unusable.
        Emergency = "emergency",
    }
}

impl LoggingLevel {
    /// 0 for debug up to 7 for emergency; `None` if unknown.
    pub fn severity(&self) -> Option<u8> {
        Some(match self {
            Self::Debug => 0,
            Self::Info => 1,
            Self::Notice => 2,
            Self::Warning => 3,
            Self::Error => 4,
            Self::Critical => 5,
            Self::Alert => 6,
            Self::Emergency => 7,
            Self::Other(_) => return None,
        })
    }
}

string_enum! {
    /// The background an icon is drawn for.
    pub enum IconTheme {
        /// For a light background.
        Light = "light",
        /// For a dark background.
        Dark = "dark",
    }
}

string_enum! {
    /// Who may share a cached result (2026-07-28).
    pub enum CacheScope {
        /// Anyone.
        Public = "public",
        /// Only the authorization context that fetched it.
        Private = "private",
    }
}

/// An icon (`Icon`; since 2025-11-25).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Icon {
    /// Where the image is: an `http:`, `https:` or `data:` URI. Untrusted.
    pub src: String,
    /// The media type of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Sizes such as `48x48`, or `any`; empty means any.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub sizes: Vec<String>,
    /// The background the icon is for; absent means any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<IconTheme>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(Icon { mime_type, sizes, theme } hidden { src, extra });

impl Icon {
    /// An icon at `src`.
    pub fn new(src: impl Into<String>) -> Self {
        Self { src: src.into(), mime_type: None, sizes: Vec::new(), theme: None, extra: Map::new() }
    }
}

/// The name and version of a client or server (`Implementation`). Self-reported: for display only.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Implementation {
    /// The name for programs.
    pub name: String,
    /// The name for people (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The version.
    pub version: String,
    /// What it does (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its home page (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_url: Option<String>,
    /// Its icons (since 2025-11-25).
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub icons: Vec<Icon>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    Implementation { name, title, version, description, website_url, icons }
    hidden { extra }
);

impl Implementation {
    /// An implementation of that name and version.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: None,
            version: version.into(),
            description: None,
            website_url: None,
            icons: Vec::new(),
            extra: Map::new(),
        }
    }
}

/// Hints on how to use a content or resource (`Annotations`; inline in `Annotated` in 2024-11-05).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotations {
    /// Who it is for; empty means not said.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub audience: Vec<Role>,
    /// How important it is, from 0 (optional) to 1 (required).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<f64>,
    /// When it last changed, in ISO 8601 (since 2025-06-18).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(Annotations { audience, priority, last_modified } hidden { extra });

/// The params of a list request (`PaginatedRequestParams`).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListParams {
    /// The `next_cursor` of the page before; absent asks for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListParams {
    /// Asks for the page at `cursor`.
    pub fn new(cursor: Option<String>) -> Self {
        Self { cursor }
    }
}

/// A result without members of its own (`EmptyResult`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmptyResult {
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

redacted_debug!(EmptyResult { result_type } hidden { meta, extra });

macro_rules! token {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[non_exhaustive]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            /// An integer.
            Number(i64),
            /// A string.
            String(String),
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self::Number(number)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::String(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::String(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Number(number) => number.fmt(f),
                    Self::String(text) => text.fmt(f),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    Self::Number(number) => serializer.serialize_i64(*number),
                    Self::String(text) => serializer.serialize_str(text),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(match deserializer.deserialize_any(TokenVisitor)? {
                    Token::Number(number) => Self::Number(number),
                    Token::String(text) => Self::String(text),
                })
            }
        }
    };
}

token! {
    /// The id of a JSON-RPC request (`RequestId`). `1` and `"1"` differ.
    RequestId
}

token! {
    /// What progress notifications name their request by (`ProgressToken`). `1` and `"1"` differ.
    ProgressToken
}

enum Token {
    Number(i64),
    String(String),
}

struct TokenVisitor;

impl Visitor<'_> for TokenVisitor {
    type Value = Token;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Token, E> {
        Ok(Token::Number(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Token, E> {
        i64::try_from(value).map(Token::Number).map_err(|_| E::custom("integer out of range"))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Token, E> {
        lenient::whole(value).map(Token::Number).ok_or_else(|| E::custom("not an integer"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Token, E> {
        Ok(Token::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Token, E> {
        Ok(Token::String(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    // RPC-28
    #[test]
    fn unknown_enum_text_survives() {
        let role: Role = from_value(json!("system")).unwrap();
        assert_eq!(role, Role::Other("system".to_owned()));
        assert_eq!(to_value(&role).unwrap(), json!("system"));
        assert_eq!(Role::from("user"), Role::User);
        assert_eq!(LoggingLevel::from("loud").severity(), None);
        assert_eq!(LoggingLevel::from("alert").severity(), Some(6));
    }

    // RPC-29, SUB-9
    #[test]
    fn ids_keep_their_type_and_accept_whole_floats() {
        assert_eq!(from_value::<RequestId>(json!(5.0)).unwrap(), RequestId::from(5));
        assert_eq!(from_value::<RequestId>(json!("5")).unwrap(), RequestId::from("5"));
        assert_eq!(to_value(RequestId::from(-1)).unwrap(), json!(-1));
        assert!(from_value::<RequestId>(json!(5.5)).is_err());
        assert!(from_value::<ProgressToken>(json!(null)).is_err());
    }

    // RPC-23, RPC-27
    #[test]
    fn nulls_are_absent_and_unknown_members_survive() {
        let wire = json!({"name": "n", "version": "1", "title": null, "icons": null, "x": [1]});
        let implementation: Implementation = from_value(wire).unwrap();
        assert_eq!(implementation.title, None);
        assert_eq!(
            to_value(implementation).unwrap(),
            json!({"name": "n", "version": "1", "x": [1]})
        );
    }
}
