//! The tuned server: prepared bytes, one write for all that one read has brought.

use std::io::{self, BufRead, Read, Write};

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

/// Answers every call of a tool with a text of `size` bytes, until stdin ends.
pub fn serve(size: usize) {
    let text = serde_json::to_string(&text(size)).unwrap();
    let called = format!(
        r#"{{"resultType":"complete","content":[{{"type":"text","text":{text}}}],"isError":false}}"#
    );
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut input = vec![0; 1024 * 1024];
    let mut output = Vec::new();
    let mut filled = 0;
    loop {
        let read = stdin.read(&mut input[filled..]).unwrap();
        if read == 0 {
            return;
        }
        filled += read;
        let mut rest = &input[..filled];
        while let Some((line, after)) = split_line(rest) {
            answer(line, called.as_bytes(), &mut output);
            rest = after;
        }
        // A client that has left needs no answer.
        if stdout.write_all(&output).and_then(|()| stdout.flush()).is_err() {
            return;
        }
        output.clear();
        let left = rest.len();
        input.copy_within(filled - left..filled, 0);
        filled = left;
        if filled == input.len() {
            input.resize(2 * filled, 0);
        }
    }
}

/// The first line, its end included, and what follows it.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = text;
    let length = rest.skip_until(b'\n').ok()?;
    text[..length].ends_with(b"\n").then_some((&text[..length], rest))
}

fn answer(line: &[u8], called: &[u8], output: &mut Vec<u8>) {
    // Every client here writes the id and the method first.
    let head = &line[..line.len().min(100)];
    let Some(id) = number_after(head, br#""id":"#) else { return };
    let result = if contains(head, br#""tools/call""#) {
        called
    } else if contains(head, br#""server/discover""#) {
        DISCOVERED.as_bytes()
    } else {
        INITIALIZED.as_bytes()
    };
    for part in [br#"{"jsonrpc":"2.0","id":"#, id, br#","result":"#, result, b"}\n"] {
        output.extend_from_slice(part);
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
