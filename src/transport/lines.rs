//! Messages as lines over a pair of byte streams: a reader thread, a writer thread, and the queue
//! between callers and the writer.

use std::collections::{HashSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Abandoned, Inbox, Outgoing};

/// Messages that wait for the writer thread.
///
/// The queue is what keeps a server that stops reading from holding a caller past its clock: a
/// message is handed over without waiting, and can be taken back while it has not been written.
pub(crate) struct Outbox {
    state: Mutex<Queue>,
    changed: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<(Option<u64>, Vec<u8>)>,
    bytes: usize,
    closed: bool,
    /// Requests that were dropped before they were written.
    discarded: HashSet<u64>,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let mut line = message.json;
        line.push(b'\n');
        let mut queue = self.lock();
        if queue.closed {
            return Err(Error::new(ErrorKind::Disconnected, "the server no longer reads"));
        }
        if !queue.lines.is_empty() && queue.bytes.saturating_add(line.len()) > self.limit {
            let waiting = queue.bytes;
            return Err(Error::new(
                ErrorKind::Limit,
                format!("the server does not read: {waiting} bytes already wait for it"),
            )
            .hint("Send less at once, or raise `Limits::outgoing`"));
        }
        queue.bytes += line.len();
        queue.lines.push_back((message.id, line));
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes a request back if the writer has not begun it.
    pub(crate) fn abandon(&self, id: u64) -> Abandoned {
        let mut queue = self.lock();
        if queue.discarded.remove(&id) {
            return Abandoned::Unsent;
        }
        let Some(at) = queue.lines.iter().position(|(of, _)| *of == Some(id)) else {
            return Abandoned::Notify;
        };
        if let Some((_, line)) = queue.lines.remove(at) {
            queue.bytes -= line.len();
        }
        Abandoned::Unsent
    }

    /// Nothing more is taken; the writer ends once it has written what is queued.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// As [`close`](Self::close), and what is queued is dropped.
    pub(crate) fn discard(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let lines = std::mem::take(&mut queue.lines);
        queue.discarded.extend(lines.into_iter().filter_map(|(id, _)| id));
        queue.bytes = 0;
        drop(queue);
        self.changed.notify_all();
    }

    /// What has queued up, as one write: lines that pile up behind a slow reader leave together.
    fn take(&self, into: &mut Vec<u8>) -> bool {
        const TOGETHER: usize = 64 * 1024;
        let mut queue = self.lock();
        while queue.lines.is_empty() && !queue.closed {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        into.clear();
        while let Some((_, line)) = queue.lines.pop_front() {
            queue.bytes -= line.len();
            if into.is_empty() {
                *into = line;
            } else {
                into.extend_from_slice(&line);
            }
            let next = queue.lines.front().map_or(0, |(_, line)| line.len());
            if into.len().saturating_add(next) > TOGETHER {
                break;
            }
        }
        !into.is_empty()
    }
}

/// The writer thread: writes what is posted until the outbox closes, then drops the stream.
pub(crate) fn write(outbox: &Outbox, mut stream: impl Write) {
    let mut batch = Vec::new();
    while outbox.take(&mut batch) {
        if let Err(error) = stream.write_all(&batch).and_then(|()| stream.flush()) {
            // The reader sees the end too, and knows more about it.
            log::debug!("the server no longer reads: {error}");
            outbox.discard();
        }
    }
}

/// The reader thread: reads lines into the inbox until the stream ends. Returns what ended it, if
/// it was not the end of the stream. `heard` is called when bytes have come in.
pub(crate) fn read(
    stream: impl Read,
    inbox: &dyn Inbox,
    limit: usize,
    mut heard: impl FnMut(),
) -> Option<Error> {
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    loop {
        match read_line(&mut stream, limit, &mut heard) {
            Ok(Some(line)) => inbox.message(line, None),
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// The next line that is not blank, without its end and without a byte order mark.
fn read_line(
    stream: &mut impl BufRead,
    limit: usize,
    heard: &mut impl FnMut(),
) -> Result<Option<Vec<u8>>> {
    loop {
        let mut line = Vec::new();
        let most = limit.saturating_add(2) as u64;
        let read = stream.by_ref().take(most).read_until(b'\n', &mut line).map_err(|error| {
            Error::new(ErrorKind::Disconnected, format!("reading from the server failed: {error}"))
        })?;
        if read == 0 {
            return Ok(None);
        }
        heard();
        let ended = line.ends_with(b"\n");
        let kept = line.trim_ascii_end().len();
        line.truncate(kept);
        if kept > limit {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("the server sent a message of more than {limit} bytes"),
            )
            .hint("Raise `Limits::message` if that is expected"));
        }
        if line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if !line.is_empty() {
            return Ok(Some(line));
        }
        if !ended {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use std::time::Duration;

    fn lines(text: &[u8], limit: usize) -> Result<Vec<Vec<u8>>> {
        let mut stream = BufReader::with_capacity(3, text);
        let mut found = Vec::new();
        while let Some(line) = read_line(&mut stream, limit, &mut || ())? {
            found.push(line);
        }
        Ok(found)
    }

    #[test]
    fn sloppy_lines_are_read() {
        // STDIO-5
        let text = b"\xEF\xBB\xBF{}\r\n\n  \r\n\xEF\xBB\xBF\n[1]\nlast";
        assert_eq!(lines(text, 100).unwrap(), [&b"{}"[..], b"[1]", b"last"]);
    }

    #[test]
    fn a_line_has_a_limit() {
        assert_eq!(lines(b"12345\n", 5).unwrap(), [b"12345"]);
        assert_eq!(lines(b"123456\n", 5).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(lines(&[b'x'; 10_000], 5).unwrap_err().kind(), ErrorKind::Limit);
    }

    fn outgoing(id: u64, json: &str) -> Outgoing<'static> {
        Outgoing {
            json: json.as_bytes().to_vec(),
            id: Some(id),
            method: "test",
            name: None,
            version: None,
            waits: false,
            until: Deadline::after(Duration::ZERO),
        }
    }

    #[test]
    fn what_has_not_been_written_can_be_taken_back() {
        let outbox = Outbox::new(100);
        outbox.post(outgoing(1, "a")).unwrap();
        outbox.post(outgoing(2, "b")).unwrap();
        outbox.post(outgoing(3, "c")).unwrap();
        assert_eq!(outbox.abandon(2), Abandoned::Unsent);
        assert_eq!(outbox.abandon(2), Abandoned::Notify);
        let mut batch = Vec::new();
        assert!(outbox.take(&mut batch));
        assert_eq!(batch, b"a\nc\n");
        outbox.close();
        assert!(!outbox.take(&mut batch));
        assert_eq!(outbox.post(outgoing(4, "d")).unwrap_err().kind(), ErrorKind::Disconnected);
    }

    #[test]
    fn what_was_discarded_was_never_sent() {
        let outbox = Outbox::new(100);
        outbox.post(outgoing(1, "a")).unwrap();
        outbox.take(&mut Vec::new());
        outbox.post(outgoing(2, "b")).unwrap();
        outbox.discard();
        assert_eq!(outbox.abandon(1), Abandoned::Notify);
        assert_eq!(outbox.abandon(2), Abandoned::Unsent);
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_but_takes_one_message_of_any_size() {
        let outbox = Outbox::new(10);
        outbox.post(outgoing(1, &"x".repeat(1000))).unwrap();
        assert_eq!(outbox.post(outgoing(2, "x")).unwrap_err().kind(), ErrorKind::Limit);
        outbox.abandon(1);
        outbox.post(outgoing(3, "x")).unwrap();
    }
}
