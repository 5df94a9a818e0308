//! Whose message it is that is too long to keep: found without keeping it.

use super::envelope::{ResponseId, response_id};

/// Reads a message piece by piece and remembers nothing but its id.
#[derive(Default)]
pub(crate) struct Skim {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// After the colon of a member of the message itself.
    in_value: bool,
    key: Vec<u8>,
    id: Vec<u8>,
    has_method: bool,
}

/// Longer than any key or id that matters.
const KEPT: usize = 64;

impl Skim {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.keep(byte);
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.keep(byte);
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => {
                self.in_value = true;
                self.has_method |= self.key == b"\"method\"";
            }
            b',' if self.depth == 1 => {
                self.in_value = false;
                self.key.clear();
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        let kept = match self.in_value {
            _ if self.depth != 1 => return,
            false => &mut self.key,
            true if self.key == b"\"id\"" => &mut self.id,
            true => return,
        };
        if kept.len() < KEPT {
            kept.push(byte);
        }
    }

    /// The request of ours that the message answers, if it is an answer.
    pub(crate) fn answers(&self) -> Option<u64> {
        let id = std::str::from_utf8(&self.id).ok()?;
        match response_id(id) {
            ResponseId::Ours(id) if !self.has_method => Some(id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skim(text: &str) -> Option<u64> {
        let mut skim = Skim::default();
        // Wherever the pieces end.
        text.as_bytes().chunks(3).for_each(|piece| skim.feed(piece));
        skim.answers()
    }

    #[test]
    fn an_id_is_found_wherever_it_stands() {
        for text in [
            r#"{"id":7,"result":{"id":8}}"#,
            r#"{"result":{"id":8,"x":["}",{"id":9}]},"jsonrpc":"2.0", "id" : 7 }"#,
            r#"{"result":{"text":"\"id\":8, \\"},"id":7}"#,
            r#"{"error":{"message":"\\\"}","code":1},"id":7.0}"#,
        ] {
            assert_eq!(skim(text), Some(7), "{text}");
        }
    }

    #[test]
    fn what_answers_nothing_of_ours_has_none() {
        for text in [
            r#"{"result":{"id":7}}"#,
            r#"{"id":"7","result":{}}"#,
            r#"{"id":7,"method":"ping"}"#,
            r#"{"method":"x","params":{"id":7}}"#,
            r#"[{"id":7,"result":{}}]"#,
            r#"{"id":null,"error":{}}"#,
            "xxxxxxxxxxxx",
            "}}}}]]",
            "",
        ] {
            assert_eq!(skim(text), None, "{text}");
        }
        assert_eq!(skim(&format!(r#"{{"id":{},"result":1}}"#, "7".repeat(1000))), None);
    }
}
