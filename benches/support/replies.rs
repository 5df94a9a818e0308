//! What the tuned servers say: prepared bytes.

const DISCOVERED: &str = concat!(
    r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"#,
    r#""ttlMs":0,"cacheScope":"private","#,
    r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"tuned","version":"1"}}}"#,
);

const INITIALIZED: &str = concat!(
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"#,
    r#""serverInfo":{"name":"tuned","version":"1"}}"#,
);

/// Text of that many bytes, in lines: `\n` is what makes a parser copy.
pub fn text(size: usize) -> String {
    const LINE: &str =
        "The quick brown fox jumps over the lazy dog, and then it does so once more.\n";
    LINE.chars().cycle().take(size).collect()
}

/// The replies of a server whose tool returns a text of one size.
pub struct Replies {
    called: String,
}

impl Replies {
    pub fn new(size: usize) -> Self {
        let text = serde_json::to_string(&text(size)).unwrap();
        let called = format!(
            r#"{{"resultType":"complete","content":[{{"type":"text","text":{text}}}],"isError":false}}"#
        );
        Self { called }
    }

    /// Appends the reply to a message. Returns whether it has one.
    pub fn write(&self, message: &[u8], output: &mut Vec<u8>) -> bool {
        // Every client here writes the id and the method first.
        let head = &message[..message.len().min(100)];
        let Some(id) = number_after(head, br#""id":"#) else { return false };
        let result = if contains(head, br#""tools/call""#) {
            &self.called
        } else if contains(head, br#""server/discover""#) {
            DISCOVERED
        } else {
            INITIALIZED
        };
        for part in [br#"{"jsonrpc":"2.0","id":"#, id, br#","result":"#, result.as_bytes(), b"}"] {
            output.extend_from_slice(part);
        }
        true
    }
}

fn number_after<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = position(text, key)? + key.len();
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(&text[start..start + digits])
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    position(text, part).is_some()
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
