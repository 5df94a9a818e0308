//! JSON-RPC messages: reading one scans it once, for what routes it; its payload is parsed once,
//! later, by whoever wants it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{RawJson, lenient};
use crate::error::RpcError;

/// One message as it came, and where its parts are.
#[derive(Clone)]
pub(crate) struct Message {
    text: String,
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

/// Messages of this size are worth a look at their ends before they are scanned.
const LARGE: usize = 64 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The id and the place of the result in a large response of one of the two usual forms, with
/// everything before the result or after it. That it is JSON, and that nothing else is beside it,
/// shows when it is parsed: so what is large is read once.
fn large_result(text: &str) -> Option<(u64, Range<usize>)> {
    if text.len() < LARGE {
        return None;
    }
    let inside = text.strip_suffix('}')?;
    if let Some(rest) = text.strip_prefix(r#"{"jsonrpc":"2.0","id":"#) {
        let (id, _) = rest.split_once(',').filter(|(id, _)| id.len() <= 20)?;
        let result = rest.get(id.len()..)?.strip_prefix(r#","result":"#)?;
        return Some((id.parse().ok()?, text.len() - result.len()..inside.len()));
    }
    let id = inside.get(inside.rfind(':')? + 1..).filter(|id| id.len() <= 20)?;
    let result = inside.strip_suffix(id)?.strip_suffix(r#","jsonrpc":"2.0","id":"#)?;
    let start = text.len() - text.strip_prefix(r#"{"result":"#)?.len();
    Some((id.parse().ok()?, start..result.len()))
}

/// How many `[` and `{` there are, anywhere. Written so that many bytes are looked at in one step.
fn brackets(json: &[u8]) -> usize {
    // One bit tells them apart; a byte counts to 255.
    let in_chunk =
        |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(255).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

/// How many arrays and objects stand in one another.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
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
    /// What is no message comes back.
    pub(crate) fn scan(text: Vec<u8>) -> Result<Message, (Malformed, Vec<u8>)> {
        let mut text = utf8(text);
        // Tolerated, as it is before a line.
        if text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        if let Some((id, result)) = large_result(&text) {
            let kind = Kind::Response { id: ResponseId::Ours(id), outcome: Outcome::Result };
            return Ok(Message { text, kind, payload: Some(result) });
        }
        match Self::scan_one(&text) {
            Ok((kind, payload)) => Ok(Message { text, kind, payload }),
            Err(why) => Err((why, text.into_bytes())),
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
        /// Who reads for all is held up by no more. What is in the rest is dropped.
        const MOST: usize = 1024;
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
                    if count > MOST {
                        return Err(serde::de::Error::custom("too many"));
                    }
                    let element = Message::scan(element.get().as_bytes().to_vec());
                    (self.0)(element.map_err(|(why, _)| why));
                }
                Ok(count)
            }
        }

        let text = utf8(text);
        let mut deserializer = serde_json::Deserializer::from_str(&text);
        match deserializer.deserialize_seq(Elements(each)) {
            Ok(0) => Err(Malformed::NotAMessage),
            Ok(_) => deserializer.end().map_err(|_| Malformed::NotJson),
            Err(_) => Err(Malformed::NotJson),
        }
    }

    fn scan_one(text: &str) -> Result<(Kind, Option<Range<usize>>), Malformed> {
        let head: Head<'_> =
            serde_json::from_str(text).map_err(|error| match error.classify() {
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

    /// Holds no more memory than its text needs, to be kept.
    pub(crate) fn shrunk(mut self) -> Self {
        self.text.shrink_to_fit();
        self
    }

    /// Whether arrays and objects stand in one another more than `limit` times.
    pub(crate) fn is_deeper_than(&self, limit: usize) -> bool {
        // Most messages have too few brackets to be deep, and those are counted fast.
        brackets(self.text.as_bytes()) > limit && depth(self.text.as_bytes()) > limit
    }

    /// The payload's JSON; `{}` if there is none.
    pub(crate) fn payload(&self) -> &str {
        self.payload.clone().and_then(|range| self.text.get(range)).unwrap_or("{}")
    }

    /// Parses the payload.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.payload())
            .or_else(|error| serde_json::from_str(self.payload_after_all().ok_or(error)?))
    }

    /// Where the payload of a large message really is: perhaps something follows the result, which
    /// was not looked at.
    fn payload_after_all(&self) -> Option<&str> {
        if self.text.len() < LARGE {
            return None;
        }
        match Self::scan_one(&self.text) {
            Ok((kind, Some(range))) if kind == self.kind => self.text.get(range),
            _ => None,
        }
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

/// How long a text is once its broken UTF-8 is replaced, which is three times as long at most.
pub(crate) fn repaired_length(text: &[u8]) -> usize {
    let replaced =
        |chunk: &[u8]| if chunk.is_empty() { 0 } else { char::REPLACEMENT_CHARACTER.len_utf8() };
    text.utf8_chunks().map(|chunk| chunk.valid().len() + replaced(chunk.invalid())).sum()
}

/// The text, checked once for all that read it. Only what is broken is copied.
fn utf8(text: Vec<u8>) -> String {
    String::from_utf8(text)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
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
pub(crate) fn notification(method: &str, params: Option<&RawJson>) -> Vec<u8> {
    let params = params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#).into_bytes()
}

/// Writes a result for a request of the server's.
pub(crate) fn result(id: &str, result: &RawJson) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into_bytes()
}

/// Writes an error for a request of the server's.
pub(crate) fn error_response(id: &str, code: i64, message: &str) -> Vec<u8> {
    let message = RawJson::from(serde_json::Value::from(message));
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
    fn a_large_response_is_the_same_as_a_small_one() {
        let long = "x".repeat(LARGE);
        let small = |text: &str| one(&text.replace(&long, "x"));
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"a":"LONG"}}"#,
            r#"{"result":{"a":"LONG"},"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"a":"LONG"},"error":null}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"a":"LONG"},"x":{}}"#,
            r#"{"result":{"a":"LONG"},"x":{"a":1},"jsonrpc":"2.0","id":7}"#,
            r#"{"jsonrpc":"2.0","id":"7","result":{"a":"LONG"}}"#,
            r#"{"jsonrpc":"2.0","id":7.0,"result":{"a":"LONG"}}"#,
            r#"{"jsonrpc":"2.0","method":"m","params":{"a":"LONG"}}"#,
            r#"{"error":{"a":"LONG"},"jsonrpc":"2.0","id":7}"#,
            r#"{"result":{"a":"LONG","jsonrpc":"2.0","id":7}}"#,
        ] {
            let text = text.replace("LONG", &long);
            let (large, small) = (one(&text).unwrap(), small(&text).unwrap());
            assert_eq!(large.kind, small.kind, "{small:?}");
            let [large, small] = [large, small].map(|of| of.parse::<serde_json::Value>().unwrap());
            assert_eq!(large["a"].as_str().unwrap().len(), LARGE);
            assert_eq!(small["a"], "x");
        }
        // What is none shows when it is parsed.
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"a":"LONG}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"a":"LONG"},"error":{}}"#,
            r#"{"result":{"a":"LONG","jsonrpc":"2.0","id":7}"#,
        ] {
            let message = one(&text.replace("LONG", &long)).unwrap();
            assert!(matches!(message.kind, Kind::Response { id: ResponseId::Ours(7), .. }));
            assert!(message.parse::<serde_json::Value>().is_err());
        }
    }

    #[test]
    fn the_length_of_a_repaired_text_is_known_before() {
        for text in [&b""[..], b"abc", b"\xff\xff", b"a\xc3\xa9\xe2\x82b\xf0\x9f"] {
            assert_eq!(repaired_length(text), utf8(text.to_vec()).len());
        }
    }

    #[test]
    fn depth_is_that_of_arrays_and_objects_and_not_of_text() {
        for (text, depth) in [
            (r#"{"id":1,"result":{}}"#, 2),
            (r#"{"id":1,"result":[[],[],{"a":[]}]}"#, 4),
            (r#"{"id":1,"result":"[[[[\"[[\\"}"#, 1),
        ] {
            let message = one(text).unwrap();
            assert!(!message.is_deeper_than(depth), "{text}");
            assert!(message.is_deeper_than(depth - 1), "{text}");
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
        assert_eq!(message.payload(), r#"{"x":1}"#);
        let message = one(r#"{"method":"notifications/\u0078"}"#).unwrap();
        assert_eq!(message.kind, Kind::Notification { method: "notifications/x".into() });
        assert_eq!(message.payload(), "{}");
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
        assert_eq!(message.payload(), "{\"x\":\"a\u{fffd}b\"}");
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
        assert_eq!(first.as_ref().unwrap().payload(), r#"{"a":1}"#);
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
