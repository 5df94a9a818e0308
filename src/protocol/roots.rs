use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

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
    /// The root at a path of this machine, which has to be absolute and free of `..`.
    ///
    /// ```
    /// use umcp::protocol::Root;
    ///
    /// # #[cfg(unix)]
    /// assert_eq!(Root::path("/my projects/a")?.uri, "file:///my%20projects/a");
    /// assert!(Root::path("a").is_err());
    /// # Ok::<(), umcp::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is not absolute, leads upwards (`..`), or is not
    /// UTF-8.
    pub fn path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let invalid = |why: &str| {
            let text = format!("{} cannot be a root: {why}", path.display());
            Err(Error::new(ErrorKind::InvalidInput, text))
        };
        if !path.is_absolute() {
            return invalid("it is not absolute");
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return invalid("it has `..` in it");
        }
        let Some(text) = path.to_str() else { return invalid("its name is not UTF-8") };
        let text = if cfg!(windows) { text.replace('\\', "/") } else { text.to_owned() };
        let text = text.trim_start_matches("//?/");
        let mut uri = "file://".to_owned();
        if !text.starts_with('/') {
            uri.push('/');
        }
        for byte in text.bytes() {
            match byte {
                b'/' | b':' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
                byte => uri += &format!("%{byte:02X}"),
            }
        }
        Ok(Self::new(uri))
    }

    /// The root at `uri`, which has to be a `file://` URI: with any other no client opens.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), name: None, meta: None, extra: Map::new() }
    }

    /// ROOT-2, ROOT-5
    pub(crate) fn check(&self) -> Result<()> {
        let is_file = |scheme: &str| scheme.eq_ignore_ascii_case("file://");
        let path = self.uri.get("file://".len()..).unwrap_or_default();
        let why = match self.uri.get(.."file://".len()).is_some_and(is_file) {
            false => "is no `file://` URI",
            true if path.split('/').any(|part| part == "..") => "has `..` in it",
            true => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidInput, format!("the root {:?} {why}", self.uri)))
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
