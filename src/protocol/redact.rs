//! `Debug` output that shows sizes and keys, not contents.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::RawJson;

/// Prints its value's [`Outline`].
pub(crate) struct Hidden<'a, T>(pub(crate) &'a T);

impl<T: Outline> fmt::Debug for Hidden<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.outline(f)
    }
}

/// What may be shown of a value that may hold secrets.
pub(crate) trait Outline {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl Outline for String {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.len())
    }
}

impl Outline for RawJson {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Outline for Value {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<null>"),
            Self::Bool(_) => f.write_str("<boolean>"),
            Self::Number(_) => f.write_str("<number>"),
            Self::String(text) => text.outline(f),
            Self::Array(items) => items.outline(f),
            Self::Object(map) => map.outline(f),
        }
    }
}

impl<T> Outline for Vec<T> {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} items>", self.len())
    }
}

impl<T: Outline> Outline for Option<T> {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(value) => value.outline(f),
            None => f.write_str("None"),
        }
    }
}

impl Outline for Map<String, Value> {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys()).finish()
    }
}

impl<T> Outline for BTreeMap<String, T> {
    fn outline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys()).finish()
    }
}
