//! JSON-RPC messages: reading one scans it once, for what routes it; its payload is parsed once,
//! later, by whoever wants it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::lenient;
use crate::error::RpcError;

/// One message as it came, and where its parts are.
#[derive(Clone)]
pub(crate) struct Message {
    text: Vec<u8>,
    kind: Kind,
    /// `params` of a request or notification, `result` or `error` of a response.
    payload: Option<Range<usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Response {
        id: ResponseId,
        outcome: Outcome,
    },
    /// With the id as it stands in the message, which is how it is echoed.
    Request {
        id: String,
        method: String,
    },
    Notification {
        method: String,
    },
}

/// Whose answer a response is. Ids of this client are integers, so nothing else matches
/// (`1` is not `"1"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseId {
    Ours(u64),
    /// Absent or `null`: an error about something the server could not read.
    Missing,
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Result,
    Error,
    /// Both `result` and `error`, or neither: not a response.
    Unclear,
}

/// Why some bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    NotJson,
    NotAMessage,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::NotJson => "not JSON",
            Malformed::NotAMessage => "JSON, but not a JSON-RPC message",
        })
    }
}

/// The members that route a message, borrowed from its text.
#[derive(Default)]
struct Head<'a> {
    id: Option<&'a RawValue>,
    method: Option<Cow<'a, str>>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Head<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Head<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut head = Head::default();
                while let Some(key) = map.next_key::<Key>()? {
                    match key {
                        Key::Id => head.id = Some(map.next_value()?),
                        Key::Method => head.method = Some(map.next_value::<Text<'de>>()?.0),
                        Key::Params => head.params = Some(map.next_value()?),
                        Key::Result => head.result = Some(map.next_value()?),
                        Key::Error => head.error = Some(map.next_value()?),
                        Key::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(head)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Id,
    Method,
    Params,
    Result,
    Error,
    #[serde(other)]
    Other,
}

/// `Cow<str>` that borrows where it can, which serde's own does only behind an attribute.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Message {
    /// Scans one message. Invalid UTF-8 inside is replaced (U+FFFD) rather than refused.
    /// What is no message comes back as it was.
    pub(crate) fn scan(text: Vec<u8>) -> Result<Message, (Malformed, Vec<u8>)> {
        match Self::scan_one(&text) {
            Ok((kind, payload)) => Ok(Message { text, kind, payload }),
            Err(Malformed::NotJson) => match String::from_utf8_lossy(&text) {
                Cow::Owned(repaired) => Self::scan(repaired.into_bytes()),
                Cow::Borrowed(_) => Err((Malformed::NotJson, text)),
            },
            Err(why) => Err((why, text)),
        }
    }

    pub(crate) fn is_batch(text: &[u8]) -> bool {
        text.trim_ascii_start().starts_with(b"[")
    }

    /// Scans a JSON-RPC batch and hands over one element after the other; they are not kept.
    pub(crate) fn scan_batch(
        text: Vec<u8>,
        each: &mut dyn FnMut(Result<Message, Malformed>),
    ) -> Result<(), Malformed> {
        struct Elements<'f>(&'f mut dyn FnMut(Result<Message, Malformed>));

        impl<'de> Visitor<'de> for Elements<'_> {
            type Value = usize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC batch")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<usize, A::Error> {
                let mut count = 0;
                while let Some(element) = elements.next_element::<&RawValue>()? {
                    count += 1;
                    let element = Message::scan(element.get().as_bytes().to_vec());
                    (self.0)(element.map_err(|(why, _)| why));
                }
                Ok(count)
            }
        }

        let text = match String::from_utf8(text) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        match deserializer.deserialize_seq(Elements(each)) {
            Ok(0) => Err(Malformed::NotAMessage),
            Ok(_) => deserializer.end().map_err(|_| Malformed::NotJson),
            Err(_) => Err(Malformed::NotJson),
        }
    }

    fn scan_one(text: &[u8]) -> Result<(Kind, Option<Range<usize>>), Malformed> {
        let head: Head<'_> =
            serde_json::from_slice(text).map_err(|error| match error.classify() {
                serde_json::error::Category::Data => Malformed::NotAMessage,
                _ => Malformed::NotJson,
            })?;
        let place = |raw: &RawValue| {
            let start = raw.get().as_ptr() as usize - text.as_ptr() as usize;
            start..start + raw.get().len()
        };
        if let Some(method) = head.method {
            let method = method.into_owned();
            let kind = match head.id.map(RawValue::get) {
                None => Kind::Notification { method },
                Some(id) if is_id(id) => Kind::Request { id: id.to_owned(), method },
                Some(_) => return Err(Malformed::NotAMessage),
            };
            return Ok((kind, head.params.map(place)));
        }
        let (outcome, payload) = match (head.result, head.error) {
            // Some servers send the member they do not mean as null.
            (Some(result), Some(error)) if error.get() == "null" => (Outcome::Result, Some(result)),
            (Some(result), Some(error)) if result.get() == "null" => (Outcome::Error, Some(error)),
            (Some(result), None) => (Outcome::Result, Some(result)),
            (None, Some(error)) => (Outcome::Error, Some(error)),
            _ if head.id.is_some() => (Outcome::Unclear, None),
            _ => return Err(Malformed::NotAMessage),
        };
        let id = head.id.map_or(ResponseId::Missing, |id| response_id(id.get()));
        Ok((Kind::Response { id, outcome }, payload.map(place)))
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// The payload's JSON; `{}` if there is none.
    pub(crate) fn payload(&self) -> &[u8] {
        self.payload.clone().and_then(|range| self.text.get(range)).unwrap_or(b"{}")
    }

    /// Parses the payload.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(self.payload())
    }

    /// The payload of an error response. What does not look like an error object still is one.
    pub(crate) fn rpc_error(&self) -> RpcError {
        #[derive(Deserialize)]
        struct Wire {
            code: serde_json::Number,
            #[serde(default)]
            message: Option<String>,
            #[serde(default)]
            data: Option<Box<RawValue>>,
        }
        match self.parse::<Wire>() {
            Ok(wire) => {
                let code =
                    wire.code.as_i64().or_else(|| wire.code.as_f64().map(|code| code as i64));
                RpcError::new(code.unwrap_or(0), wire.message.unwrap_or_default(), wire.data)
            }
            Err(_) => RpcError::new(0, "(an error without a code)".to_owned(), self.parse().ok()),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("kind", &self.kind)
            .field("bytes", &self.text.len())
            .finish()
    }
}

/// A request's id is a string or an integer.
fn is_id(raw: &str) -> bool {
    raw.starts_with('"') || integer(raw).is_some()
}

fn integer(raw: &str) -> Option<i64> {
    // 5.0 is an integer, to JSON Schema and to servers written in languages that think so.
    raw.parse().ok().or_else(|| lenient::whole(raw.parse().ok()?))
}

pub(crate) fn response_id(raw: &str) -> ResponseId {
    match integer(raw).and_then(|id| u64::try_from(id).ok()) {
        _ if raw == "null" => ResponseId::Missing,
        Some(id) => ResponseId::Ours(id),
        None => ResponseId::Foreign,
    }
}

/// Writes `{"jsonrpc":"2.0","method":…,"params":…}`.
pub(crate) fn notification(method: &str, params: Option<&serde_json::Value>) -> Vec<u8> {
    let params = params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#).into_bytes()
}

/// Writes the empty result for a request of the server's.
pub(crate) fn empty_result(id: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into_bytes()
}

/// Writes an error for a request of the server's.
pub(crate) fn error_response(id: &str, code: i64, message: &str) -> Vec<u8> {
    let message = serde_json::Value::from(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Message, Malformed> {
        Message::scan(text.as_bytes().to_vec()).map_err(|(why, _)| why)
    }

    fn outcome(text: &str) -> (ResponseId, Outcome) {
        match one(text).unwrap().kind {
            Kind::Response { id, outcome } => (id, outcome),
            kind => panic!("{kind:?}"),
        }
    }

    #[test]
    fn a_response_is_routed_by_the_value_and_type_of_its_id() {
        // RPC-7
        use Outcome::Result;
        assert_eq!(outcome(r#"{"id":7,"result":{}}"#), (ResponseId::Ours(7), Result));
        assert_eq!(outcome(r#"{"result":{"a":[1]},"id":7.0}"#), (ResponseId::Ours(7), Result));
        for foreign in [r#""7""#, "-7", "7.5", "[7]", "{}", "1e300", "true"] {
            let text = format!(r#"{{"id":{foreign},"result":{{}}}}"#);
            assert_eq!(outcome(&text), (ResponseId::Foreign, Result), "{foreign}");
        }
    }

    #[test]
    fn an_error_may_lack_its_id() {
        // RPC-9
        for text in [r#"{"error":{"code":1,"message":"x"}}"#, r#"{"id":null,"error":{}}"#] {
            assert_eq!(outcome(text), (ResponseId::Missing, Outcome::Error));
        }
    }

    #[test]
    fn a_response_has_exactly_one_of_result_and_error() {
        // RPC-8
        for text in [r#"{"id":1,"result":{},"error":{"code":1}}"#, r#"{"jsonrpc":"2.0","id":1}"#] {
            assert_eq!(outcome(text).1, Outcome::Unclear, "{text}");
        }
        assert_eq!(outcome(r#"{"id":1,"result":{},"error":null}"#).1, Outcome::Result);
        assert_eq!(outcome(r#"{"id":1,"result":null,"error":{"code":1}}"#).1, Outcome::Error);
    }

    #[test]
    fn an_error_object_is_read_whatever_it_lacks() {
        let error = one(r#"{"id":1,"error":{"code":-32602.0,"message":"no","data":[1, 2]}}"#);
        let error = error.unwrap().rpc_error();
        assert_eq!((error.code, error.message.as_str()), (-32602, "no"));
        assert_eq!(error.data(), Some("[1, 2]"));
        assert_eq!(one(r#"{"id":1,"error":"bad"}"#).unwrap().rpc_error().data(), Some("\"bad\""));
    }

    #[test]
    fn requests_and_notifications_keep_their_params() {
        let message = one(r#"{"id":"a","method":"ping","params":{"x":1}}"#).unwrap();
        assert_eq!(message.kind, Kind::Request { id: "\"a\"".into(), method: "ping".into() });
        assert_eq!(message.payload(), br#"{"x":1}"#);
        let message = one(r#"{"method":"notifications/\u0078"}"#).unwrap();
        assert_eq!(message.kind, Kind::Notification { method: "notifications/x".into() });
        assert_eq!(message.payload(), b"{}");
        // RPC-3
        assert_eq!(one(r#"{"id":null,"method":"x"}"#).unwrap_err(), Malformed::NotAMessage);
        assert_eq!(one(r#"{"id":1.5,"method":"x"}"#).unwrap_err(), Malformed::NotAMessage);
    }

    #[test]
    fn what_is_no_message_is_told_apart() {
        for text in ["", "hello", "{", r#"{"id":1"#, "{}x"] {
            assert_eq!(one(text).unwrap_err(), Malformed::NotJson, "{text}");
        }
        for text in ["{}", "1", "\"x\"", r#"{"method":1}"#, "null"] {
            assert_eq!(one(text).unwrap_err(), Malformed::NotAMessage, "{text}");
        }
    }

    #[test]
    fn broken_utf8_is_repaired() {
        let mut text = br#"{"id":1,"result":{"x":"a"#.to_vec();
        text.push(0xff);
        text.extend_from_slice(br#"b"}}"#);
        let message = Message::scan(text).unwrap();
        assert_eq!(message.payload(), "{\"x\":\"a\u{fffd}b\"}".as_bytes());
    }

    #[test]
    fn a_batch_is_its_elements() {
        // RPC-19, RPC-22
        let elements = |text: &[u8]| {
            assert!(Message::is_batch(text));
            let mut elements = Vec::new();
            Message::scan_batch(text.to_vec(), &mut |element| elements.push(element))
                .map(|()| elements)
        };
        let found = elements(br#" [{"id":1,"result":{"a":1}}, 5, {"method":"m"}]"#).unwrap();
        let [first, second, third] = found.as_slice() else { panic!() };
        assert_eq!(first.as_ref().unwrap().payload(), br#"{"a":1}"#);
        assert_eq!(second.as_ref().unwrap_err(), &Malformed::NotAMessage);
        assert!(matches!(third.as_ref().unwrap().kind, Kind::Notification { .. }));
        assert_eq!(elements(b"[]").unwrap_err(), Malformed::NotAMessage);
        assert_eq!(elements(b"[{}").unwrap_err(), Malformed::NotJson);
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep =
            format!(r#"{{"id":1,"result":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let message = one(&deep).unwrap();
        assert!(message.parse::<serde_json::Value>().is_err());
    }
}
