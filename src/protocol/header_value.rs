//! Text as the value of an HTTP header.

use base64::Engine;

/// XHDR-20…XHDR-24: a value that cannot stand in a header as it is, in Base64.
pub(crate) fn header_value(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| (0x20..=0x7E).contains(&byte))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if is_plain {
        return text.to_owned();
    }
    format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    // XHDR-20, XHDR-21, XHDR-22, XHDR-23
    #[test]
    fn values_that_no_header_can_hold_are_encoded() {
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("us west 1", "us west 1"),
            ("", ""),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("\tindented", "=?base64?CWluZGVudGVk?="),
            ("in\tside", "=?base64?aW4Jc2lkZQ==?="),
            ("\x7f", "=?base64?fw==?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("=?base64?=", "=?base64?PT9iYXNlNjQ/PQ==?="),
            ("=?BASE64?x?=", "=?BASE64?x?="),
        ] {
            assert_eq!(header_value(value), header);
        }
    }
}
