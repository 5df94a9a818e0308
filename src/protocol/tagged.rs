//! Objects told apart by one member.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// What `tagged_union!` generates beside the enum.
pub(crate) trait Union: Sized {
    const TAG: &'static str;

    fn is_known(tag: &str) -> bool;

    /// Reads the variant of `tag`; an unknown one takes the whole object.
    fn read<'de, D: Deserializer<'de>>(tag: &str, body: D) -> Result<Self, D::Error>;
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
        let mut object = Map::new();
        if let Some((key, value)) = map.next_entry::<String, Value>()? {
            // The usual order: the rest is read in place, without a copy.
            if key == T::TAG
                && let Value::String(tag) = &value
                && T::is_known(tag)
            {
                return T::read(tag, MapAccessDeserializer::new(map));
            }
            object.insert(key, value);
        }
        while let Some((key, value)) = map.next_entry()? {
            object.insert(key, value);
        }
        let tag = match object.get(T::TAG) {
            Some(Value::String(tag)) if T::is_known(tag) => {
                let tag = tag.clone();
                object.remove(T::TAG);
                tag
            }
            _ => String::new(),
        };
        T::read(&tag, Value::Object(object)).map_err(Error::custom)
    }
}

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
