//! Macros of the protocol types.

/// An enum of strings that keeps text it does not know.
macro_rules! string_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
            /// A value this version of umcp does not know.
            Other(String),
        }

        impl $name {
            /// The text on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    _ => Self::Other(text.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Other(text),
                }
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

/// An enum of objects told apart by one string member, which the variants do not hold.
macro_rules! tagged_union {
    (
        $(#[$meta:meta])*
        pub enum $name:ident by $tag:literal {
            $($(#[$doc:meta])* $variant:ident($body:ty) = $text:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[non_exhaustive]
        #[derive(Clone, PartialEq)]
        pub enum $name {
            $($(#[$doc])* $variant($body),)*
            /// A kind this version of umcp does not know, kept whole.
            Other(::serde_json::Map<String, ::serde_json::Value>),
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match self {
                    $(Self::$variant(body) => f.debug_tuple(stringify!($variant)).field(body).finish(),)*
                    Self::Other(map) => f
                        .debug_tuple("Other")
                        .field(&$crate::protocol::redact::Hidden(map))
                        .finish(),
                }
            }
        }

        impl $crate::protocol::tagged::Union for $name {
            const TAG: &'static str = $tag;

            fn is_known(tag: &str) -> bool {
                matches!(tag, $($text)|*)
            }

            fn read<'de, D: ::serde::Deserializer<'de>>(tag: &str, body: D) -> Result<Self, D::Error> {
                match tag {
                    $($text => <$body as ::serde::Deserialize>::deserialize(body).map(Self::$variant),)*
                    _ => ::serde::Deserialize::deserialize(body).map(Self::Other),
                }
            }

            fn other(object: ::serde_json::Map<String, ::serde_json::Value>) -> Self {
                Self::Other(object)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(body) => {
                        $crate::protocol::tagged::write(serializer, $tag, $text, body)
                    })*
                    Self::Other(map) => map.serialize(serializer),
                }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::protocol::tagged::read(deserializer)
            }
        }
    };
}

/// A `Debug` that shows some fields and only the size or the keys of the others.
macro_rules! redacted_debug {
    ($name:ident { $($shown:ident),* } hidden { $($hidden:ident),* }) => {
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($shown), &self.$shown))*
                    $(.field(
                        stringify!($hidden),
                        &$crate::protocol::redact::Hidden(&self.$hidden),
                    ))*
                    .finish()
            }
        }
    };
}

/// The result of a method that lists things page by page (`CacheableResult`, `PaginatedResult`).
macro_rules! list_result {
    ($(#[$meta:meta])* pub struct $name:ident { $(#[$doc:meta])* pub $items:ident: Vec<$item:ty>, }) => {
        $(#[$meta])*
        #[non_exhaustive]
        #[derive(Clone, PartialEq, Default, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(#[$doc])*
            pub $items: Vec<$item>,
            /// The cursor of the next page; absent on the last one. An empty string is a cursor.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub next_cursor: Option<String>,
            /// How long the result stays fresh, in milliseconds from receipt (2026-07-28).
            #[serde(
                deserialize_with = "lenient::ttl",
                default,
                skip_serializing_if = "Option::is_none"
            )]
            pub ttl_ms: Option<u64>,
            /// Who may share a cached copy (2026-07-28); absent means private.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub cache_scope: Option<$crate::protocol::CacheScope>,
            /// `resultType` (2026-07-28); absent means `"complete"`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub result_type: Option<String>,
            /// The `_meta` object.
            #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
            pub meta: Option<::serde_json::Map<String, ::serde_json::Value>>,
            /// Members this version of umcp does not know.
            #[serde(flatten)]
            pub extra: ::serde_json::Map<String, ::serde_json::Value>,
        }

        redacted_debug!($name { $items, next_cursor, ttl_ms, cache_scope, result_type } hidden { meta, extra });
    };
}
