//! Text as a value of an HTTP header.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// XHDR-20…XHDR-24: what cannot stand in a header as it is, in Base64.
pub(crate) fn encoded(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| (0x20..=0x7E).contains(&byte))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    match is_plain {
        true => text.into(),
        false => format!("=?base64?{}?=", STANDARD.encode(text)).into(),
    }
}
