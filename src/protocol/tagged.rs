//! Objects told apart by one member.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{RawJson, lenient};

/// What `tagged_union!` generates beside the enum.
pub(crate) trait Union: Sized {
    const TAG: &'static str;

    fn is_known(tag: &str) -> bool;

    /// Reads the variant of `tag`; an unknown one takes the whole object.
    fn read<'de, D: Deserializer<'de>>(tag: &str, body: D) -> Result<Self, D::Error>;

    /// What is of no known variant.
    fn other(object: Map<String, Value>) -> Self;
}

pub(crate) fn read<'de, T: Union, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(UnionVisitor(PhantomData))
}

struct UnionVisitor<T>(PhantomData<T>);

impl<'de, T: Union> Visitor<'de> for UnionVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with `{}`", T::TAG)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut members: Vec<(String, RawJson)> = Vec::new();
        // The last one counts, as in any object.
        let mut tag: Option<Value> = None;
        let is_known = |tag: &Value| tag.as_str().is_some_and(T::is_known);
        while let Some(key) = map.next_key::<String>()? {
            if key != T::TAG {
                members.push((key, map.next_value()?));
                continue;
            }
            let value: Value = map.next_value()?;
            match value.as_str().filter(|tag| T::is_known(tag)) {
                // The usual order: the rest is read in place, without a copy.
                Some(known) if members.is_empty() && tag.is_none() => {
                    return T::read(known, MapAccessDeserializer::new(map));
                }
                _ => tag = Some(value),
            }
        }
        let is_known = tag.as_ref().is_some_and(is_known);
        if let Some(tag) = tag {
            members.insert(0, (T::TAG.to_owned(), tag.into()));
        }
        if is_known {
            // Read again in the usual order. To read the members from where they are kept would
            // take the code of all variants once more.
            let text = serde_json::to_string(&Object(members)).map_err(Error::custom)?;
            return read(&mut serde_json::Deserializer::from_str(&text)).map_err(Error::custom);
        }
        let mut object = Map::new();
        for (key, value) in members {
            object.insert(key, value.to_value().map_err(Error::custom)?);
        }
        Ok(T::other(object))
    }
}

#[derive(Serialize)]
struct Object(#[serde(serialize_with = "lenient::ordered::serialize")] Vec<(String, RawJson)>);

/// Writes the tag, then the members of `body`.
pub(crate) fn write<S: Serializer, T: Serialize>(
    serializer: S,
    tag: &'static str,
    value: &'static str,
    body: &T,
) -> Result<S::Ok, S::Error> {
    Tagged { tag: Tag(tag, value), body }.serialize(serializer)
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    #[serde(flatten)]
    tag: Tag,
    #[serde(flatten)]
    body: &'a T,
}

struct Tag(&'static str, &'static str);

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, self.1)])
    }
}
