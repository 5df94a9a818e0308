//! What a server writes to stderr: always read, so that it never blocks the server, and its end
//! kept for errors. It is free-form text, and no sign of a failure by itself.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use super::stderr_lines::LineWriter;

/// The end of a server's stderr.
pub(crate) struct StderrTail {
    bytes: Mutex<VecDeque<u8>>,
    limit: usize,
}

impl StderrTail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Mutex::default(), limit }
    }

    /// Reads until the stream ends. `heard` is called when bytes have come in, which are also
    /// written to `lines`.
    pub(crate) fn drain(
        &self,
        mut stream: impl Read,
        server: &str,
        mut lines: Option<LineWriter>,
        heard: impl Fn(),
    ) {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            heard();
            let chunk = chunk.get(..read).unwrap_or_default();
            log::trace!("{server} stderr: {}", String::from_utf8_lossy(chunk).trim_end());
            self.push(chunk);
            if let Some(lines) = &mut lines {
                lines.push(chunk);
            }
        }
    }

    fn push(&self, chunk: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend(chunk);
        let excess = bytes.len().saturating_sub(self.limit);
        bytes.drain(..excess);
    }

    pub(crate) fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let (front, back) = bytes.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let tail = StderrTail::new(5);
        tail.drain(&b"hello world"[..], "test", None, || ());
        assert_eq!(tail.text(), "world");
        tail.push("é".as_bytes());
        assert_eq!(tail.text(), "rldé");
    }
}
