//! Sends the head of a request and its body in one piece, where ureq writes one after the other.
//! That is a packet and a system call less, and wakes the server once.

use std::fmt;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

/// A connection that holds back the head of a request until its body comes, or an answer is waited
/// for.
pub(super) struct OnePiece<T> {
    inner: T,
    head: Vec<u8>,
}

impl<T: Transport> OnePiece<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, head: Vec::new() }
    }

    /// Sends what the buffer begins with, and before that what is held back.
    fn send(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let Self { inner, head } = self;
        let output = inner.buffers().output();
        let whole = head.len() + amount;
        if whole <= output.len() {
            output.copy_within(..amount, head.len());
            fill(output, head);
            head.clear();
            return inner.transmit_output(whole, timeout);
        }
        let rest = output.get(..amount).unwrap_or_default().to_vec();
        fill(output, head);
        inner.transmit_output(head.len(), timeout)?;
        head.clear();
        fill(inner.buffers().output(), &rest);
        inner.transmit_output(amount, timeout)
    }
}

fn fill(output: &mut [u8], bytes: &[u8]) {
    if let Some(start) = output.get_mut(..bytes.len()) {
        start.copy_from_slice(bytes);
    }
}

impl<T: Transport> Transport for OnePiece<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = self.inner.buffers().output().get(..amount).unwrap_or_default();
        if self.head.is_empty() && output.ends_with(b"\r\n\r\n") {
            self.head.extend_from_slice(output);
            return Ok(());
        }
        self.send(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !self.head.is_empty() {
            self.send(0, timeout)?;
        }
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl<T> fmt::Debug for OnePiece<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnePiece").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::unversioned::transport::LazyBuffers;

    const BUFFER: usize = 32;
    const HEAD: &str = "POST /\r\na: b\r\n\r\n";

    /// What is sent, piece by piece; `?` when an answer is waited for.
    #[derive(Debug)]
    struct Recorder {
        buffers: LazyBuffers,
        seen: Vec<String>,
    }

    impl Transport for Recorder {
        fn buffers(&mut self) -> &mut dyn Buffers {
            &mut self.buffers
        }

        fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
            let piece = String::from_utf8_lossy(&self.buffers.output()[..amount]).into_owned();
            self.seen.push(piece);
            Ok(())
        }

        fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
            self.seen.push("?".to_owned());
            Ok(true)
        }

        fn is_open(&mut self) -> bool {
            true
        }
    }

    /// What becomes of such writes and an answer.
    fn sent(pieces: &[&str]) -> Vec<String> {
        let buffers = LazyBuffers::new(BUFFER, BUFFER);
        let mut connection = OnePiece::new(Recorder { buffers, seen: Vec::new() });
        for piece in pieces {
            fill(connection.buffers().output(), piece.as_bytes());
            connection.transmit_output(piece.len(), NextTimeout::default()).unwrap();
        }
        connection.await_input(NextTimeout::default()).unwrap();
        connection.inner.seen
    }

    #[test]
    fn a_head_and_its_body_are_sent_in_one_piece() {
        assert_eq!(sent(&[HEAD, "{}"]), [&format!("{HEAD}{{}}"), "?"]);
        assert_eq!(sent(&[HEAD, "{\"a\":", "1}"]), [&format!("{HEAD}{{\"a\":"), "1}", "?"]);
    }

    #[test]
    fn a_head_without_a_body_is_sent_before_its_answer_is_waited_for() {
        assert_eq!(sent(&[HEAD]), [HEAD, "?"]);
        let (start, end) = ("GET / HTTP/1.1\r\nlong: ", "b\r\n\r\n");
        assert_eq!(sent(&[start, end]), [start, end, "?"]);
    }

    #[test]
    fn what_is_too_long_for_one_piece_is_sent_in_order() {
        let body = "x".repeat(BUFFER);
        assert_eq!(sent(&[HEAD, &body, "y"]), [HEAD, &body, "y", "?"]);
        assert_eq!(sent(&["a\r\n\r\n", "b\r\n\r\n"]), ["a\r\n\r\nb\r\n\r\n", "?"]);
    }
}
