use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// One JSON value as text, kept exactly as it was written.
///
/// Schemas, tool arguments and structured content are held this way, so key order and number
/// spelling survive. Equality is that of the text; `Debug` shows only its size.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Checks that `text` is one JSON value and keeps it.
    pub fn from_string(text: String) -> serde_json::Result<Self> {
        RawValue::from_string(text).map(Self)
    }

    /// Writes `value` as JSON.
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        to_raw_value(value).map(Self)
    }

    /// The JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }

    /// Reads the text as a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.get())
    }

    /// Reads the text as a JSON tree; fails on numbers and depths that `Value` cannot hold.
    pub fn to_value(&self) -> serde_json::Result<Value> {
        self.parse()
    }

    pub(crate) fn empty_object() -> Self {
        Self::from_string("{}".to_owned()).unwrap_or_default()
    }
}

impl From<Value> for RawJson {
    fn from(value: Value) -> Self {
        // A tree always prints as valid JSON.
        Self::from_value(&value).unwrap_or_default()
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.get().len())
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_kept_byte_for_byte() {
        let text = r#"{"b" : 1.50, "a":[ null ]}"#;
        let raw: RawJson = serde_json::from_str(text).unwrap();
        assert_eq!(raw.get(), text);
        assert_eq!(serde_json::to_string(&raw).unwrap(), text);
        assert_eq!(raw.to_value().unwrap(), json!({"a": [null], "b": 1.5}));
    }

    #[test]
    fn default_is_null_and_debug_shows_the_size() {
        assert!(RawJson::default().is_null());
        let raw = RawJson::from(json!({"token": "s3cret"}));
        assert_eq!(format!("{raw:?}"), "RawJson(18 bytes)");
        assert!(RawJson::from_string("{".to_owned()).is_err());
    }
}
