//! The tuned server: prepared bytes, one write for all that one read has brought.

use std::io::{self, BufRead, Read, Write};

use crate::support::replies::Replies;

/// Answers every call of a tool with a text of `size` bytes, until stdin ends.
pub fn serve(size: usize) {
    let replies = Replies::new(size);
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
            if replies.write(line, &mut output) {
                output.push(b'\n');
            }
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
