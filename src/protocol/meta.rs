//! The `_meta` member of requests.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{ClientCapabilities, ClientRequest, Implementation, LoggingLevel, ProtocolVersion};

const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// What a modern request says about its sender, written once per connection.
#[derive(Clone, Debug)]
pub(crate) struct SenderMeta(Arc<str>);

impl SenderMeta {
    pub(crate) fn new(
        version: ProtocolVersion,
        info: Option<&Implementation>,
        capabilities: &ClientCapabilities,
    ) -> serde_json::Result<Self> {
        let mut members = format!(r#""{PROTOCOL_VERSION}":"{version}""#);
        if let Some(info) = info {
            members += &format!(r#","{CLIENT_INFO}":{}"#, serde_json::to_string(info)?);
        }
        members += &format!(r#","{CLIENT_CAPABILITIES}":{}"#, serde_json::to_string(capabilities)?);
        Ok(Self(members.into()))
    }
}

/// What one request adds to `_meta`.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestMeta {
    /// Ask for progress; the token is the request's id.
    pub(crate) progress: bool,
    /// Ask for log messages (modern only).
    pub(crate) log_level: Option<LoggingLevel>,
    /// The caller's own members.
    pub(crate) own: Map<String, Value>,
    /// The trace context of this attempt.
    pub(crate) trace: Map<String, Value>,
}

/// Those members of a trace context that are well-formed, and are none of the caller's own.
pub(crate) fn trace(
    members: impl IntoIterator<Item = (String, String)>,
    own: &Map<String, Value>,
) -> Map<String, Value> {
    let is_good = |(key, value): &(String, Value)| {
        let is_known = matches!(key.as_str(), "traceparent" | "tracestate" | "baggage");
        is_known && !own.contains_key(key) && check(key, value).is_ok()
    };
    members.into_iter().map(|(key, value)| (key, value.into())).filter(is_good).collect()
}

/// Writes a request as one line of JSON. `sender` is given in the modern era only.
pub(crate) fn request(
    id: u64,
    request: &ClientRequest,
    sender: Option<&SenderMeta>,
    meta: &RequestMeta,
) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(256 + sender.map_or(0, |SenderMeta(members)| members.len()));
    line.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    serde_json::to_writer(&mut line, &id)?;
    line.extend_from_slice(br#","method":"#);
    serde_json::to_writer(&mut line, request.method())?;

    let start = line.len();
    line.extend_from_slice(br#","params":{"_meta":{"#);
    let empty = line.len();
    if let Some(SenderMeta(members)) = sender {
        line.extend_from_slice(members.as_bytes());
    }
    if meta.progress {
        member(&mut line, empty, "progressToken", &id)?;
    }
    if let (Some(level), Some(_)) = (&meta.log_level, sender) {
        member(&mut line, empty, LOG_LEVEL, level)?;
    }
    for (key, value) in meta.own.iter().chain(&meta.trace) {
        member(&mut line, empty, key, value)?;
    }
    let has_meta = line.len() > empty;
    if has_meta {
        line.push(b'}');
    } else {
        line.truncate(start);
        line.extend_from_slice(br#","params":"#);
    }

    let params = line.len();
    serde_json::to_writer(&mut line, request)?;
    let has_params = line.get(params..).is_some_and(|params| params != b"{}");
    match (has_meta, has_params) {
        // The params' own brace is where the comma after `_meta` belongs.
        (true, true) => line.iter_mut().skip(params).take(1).for_each(|brace| *brace = b','),
        (true, false) => {
            line.truncate(params);
            line.push(b'}');
        }
        (false, true) => {}
        (false, false) => line.truncate(start),
    }
    line.push(b'}');
    if request.carries_raw_json() {
        // A caller's own JSON text may be laid out over lines. Inside a JSON text a line break can
        // only be white space: within strings it is escaped.
        for byte in &mut line {
            // Written back in any case: without a branch it goes by many bytes at a time.
            *byte = if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
        }
    }
    Ok(line)
}

fn member<T: Serialize + ?Sized>(
    line: &mut Vec<u8>,
    empty: usize,
    key: &str,
    value: &T,
) -> serde_json::Result<()> {
    if line.len() > empty {
        line.push(b',');
    }
    serde_json::to_writer(&mut *line, key)?;
    line.push(b':');
    serde_json::to_writer(line, value)
}

/// Checks a member of `_meta` that a caller made up: its key, and what the standard of a key that
/// has one says of the value.
pub(crate) fn check(key: &str, value: &Value) -> Result<(), &'static str> {
    check_key(key)?;
    let text = value.as_str();
    let is_valid = match key {
        "traceparent" => text.is_some_and(is_traceparent),
        "tracestate" | "baggage" => {
            text.is_some_and(|text| text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')))
        }
        _ => true,
    };
    if is_valid { Ok(()) } else { Err("the value is not what W3C Trace Context or Baggage says") }
}

/// `version-trace-parent-flags` in lower case hex, the ids not all zero.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, digits| is_hex(part, digits) && part.bytes().any(|byte| byte != b'0');
    match parts.as_slice() {
        [version, trace, parent, flags, rest @ ..] => {
            is_hex(version, 2)
                && *version != "ff"
                && (rest.is_empty() || *version != "00")
                && is_id(trace, 32)
                && is_id(parent, 16)
                && is_hex(flags, 2)
        }
        _ => false,
    }
}

/// Checks the identifier of an extension (EXT-1): a key of `_meta` that has a prefix.
pub(crate) fn check_extension(id: &str) -> Result<(), &'static str> {
    match labels(id)?.is_empty() || id.ends_with('/') {
        true => Err("an identifier has a prefix and a name, as in `com.example/x`"),
        false => Ok(()),
    }
}

/// The grammar of keys, and that one is not reserved.
fn check_key(key: &str) -> Result<(), &'static str> {
    if key == "progressToken" {
        return Err("`progressToken` is set by `on_progress`");
    }
    let labels = labels(key)?;
    let reserved = |label: &&str| matches!(*label, "modelcontextprotocol" | "mcp");
    // 2025-06-18 reserved these words in front of another label, later revisions as the second.
    let before_another = labels.split_last().is_some_and(|(_, before)| before.iter().any(reserved));
    if labels.get(1).is_some_and(reserved) || before_another {
        return Err("prefixes with `modelcontextprotocol` or `mcp` are reserved");
    }
    Ok(())
}

/// The labels of the prefix of a key that keeps to the grammar.
fn labels(key: &str) -> Result<Vec<&str>, &'static str> {
    let (prefix, name) = match key.rsplit_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name_is_valid = name.is_empty() && prefix.is_some()
        || edge(name.chars().next()) && edge(name.chars().last()) && name.chars().all(inside);
    if !name_is_valid {
        return Err("a name starts and ends with a letter or digit; inside also `-`, `_`, `.`");
    }
    let Some(prefix) = prefix else { return Ok(Vec::new()) };
    let labels: Vec<&str> = prefix.split('.').collect();
    let label_is_valid = |label: &&str| {
        label.chars().next().is_some_and(|c| c.is_ascii_alphabetic())
            && edge(label.chars().last())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if !labels.iter().all(label_is_valid) {
        return Err("a prefix is labels with dots between them, each starting with a letter");
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_keep_to_the_grammar() {
        // META-9
        for key in ["a", "a.b_c-d", "com.example/a", "com.example/", "x1.y-2/z", "traceparent"] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
        for key in
            ["", "/", "-a", "a.", "1com/a", "com./a", "com..x/a", "com.ex_ample/a", "a b", "é"]
        {
            assert!(check_key(key).is_err(), "{key}");
        }
    }

    #[test]
    fn trace_context_is_as_the_standard_has_it() {
        // META-13, OTEL-2
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let later = format!("01{}-more", &parent[2..]);
        for (key, value) in [
            ("traceparent", parent),
            ("traceparent", &later),
            ("tracestate", "a=1,b=2"),
            ("baggage", ""),
        ] {
            assert_eq!(check(key, &value.into()), Ok(()), "{value}");
        }
        let zero = parent.replace("b7ad6b7169203331", "0000000000000000");
        let upper = parent.to_uppercase();
        for (key, value) in [
            ("traceparent", Value::from(5)),
            ("traceparent", "".into()),
            ("traceparent", zero.into()),
            ("traceparent", upper.into()),
            ("traceparent", format!("{parent}-more").into()),
            ("tracestate", "a=\u{e9}".into()),
            ("baggage", Value::Null),
        ] {
            assert!(check(key, &value).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn own_keys_are_not_reserved_ones() {
        // META-10
        for key in [
            "io.modelcontextprotocol/x",
            "dev.mcp/x",
            "com.mcp.tools/x",
            "modelcontextprotocol.io/x",
            "mcp.dev/x",
            "tools.mcp.com/x",
            "progressToken",
        ] {
            assert!(check_key(key).is_err(), "{key}");
        }
        assert_eq!(check_key("com.example.mcp/x"), Ok(()));
    }
}
