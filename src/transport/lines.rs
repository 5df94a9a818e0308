//! Messages as lines over a pair of byte streams: a reader thread, a writer thread, and the queue
//! between callers and the writer.

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::skim::Skim;
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
/// Returns whether all of it could be written.
pub(crate) fn write(outbox: &Outbox, mut stream: impl Write) -> bool {
    let mut batch = Vec::new();
    let mut all = true;
    while outbox.take(&mut batch) {
        if let Err(error) = stream.write_all(&batch).and_then(|()| stream.flush()) {
            // The reader sees the end too, and knows more about it.
            log::debug!("the server no longer reads: {error}");
            outbox.discard();
            all = false;
        }
    }
    all
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
            Ok(Line::Message(line)) => inbox.message(line, None),
            Ok(Line::TooLong { answers, bytes }) => inbox.too_long(answers, bytes),
            Ok(Line::End) => return None,
            Err(error) => {
                let text = format!("reading from the server failed: {error}");
                return Some(Error::new(ErrorKind::Disconnected, text).source(error));
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Line {
    Message(Vec<u8>),
    TooLong { answers: Option<u64>, bytes: u64 },
    End,
}

/// The next line that is not blank, without its end and without a byte order mark.
fn read_line(
    stream: &mut impl BufRead,
    limit: usize,
    heard: &mut impl FnMut(),
) -> io::Result<Line> {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    loop {
        let mut line = Vec::new();
        // A line's end, and a mark at its beginning, do not count.
        let most = limit.saturating_add(BOM.len() + 2) as u64;
        if stream.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(Line::End);
        }
        heard();
        // What stops short of the limit stops at the end of the stream.
        let is_whole = line.ends_with(b"\n") || (line.len() as u64) < most;
        if is_whole {
            line.truncate(line.trim_ascii_end().len());
        }
        if line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if line.len() > limit {
            return skim_rest(stream, &line, is_whole, heard);
        }
        if !line.is_empty() {
            return Ok(Line::Message(line));
        }
    }
}

/// Reads on to the end of a line that is too long, keeping nothing but whose it is.
fn skim_rest(
    stream: &mut impl BufRead,
    line: &[u8],
    mut is_whole: bool,
    heard: &mut impl FnMut(),
) -> io::Result<Line> {
    let mut skim = Skim::default();
    skim.feed(line);
    let mut bytes = line.len() as u64;
    while !is_whole {
        let piece = match stream.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        if piece.is_empty() {
            break;
        }
        heard();
        let end = piece.iter().position(|byte| *byte == b'\n');
        let piece = piece.get(..end.map_or(piece.len(), |end| end + 1)).unwrap_or_default();
        skim.feed(piece);
        let read = piece.len();
        stream.consume(read);
        bytes += read as u64;
        is_whole = end.is_some();
    }
    Ok(Line::TooLong { answers: skim.answers(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use std::time::Duration;

    fn lines(text: &[u8], limit: usize) -> Vec<Line> {
        let mut stream = BufReader::with_capacity(3, text);
        let next = || match read_line(&mut stream, limit, &mut || ()).unwrap() {
            Line::End => None,
            line => Some(line),
        };
        std::iter::from_fn(next).collect()
    }

    fn message(line: &str) -> Line {
        Line::Message(line.as_bytes().to_vec())
    }

    #[test]
    fn sloppy_lines_are_read() {
        // STDIO-5
        let text = b"\xEF\xBB\xBF{}\r\n\n  \r\n\xEF\xBB\xBF\n[1]\nlast";
        assert_eq!(lines(text, 100), [message("{}"), message("[1]"), message("last")]);
    }

    #[test]
    fn a_line_has_a_limit_and_the_next_one_is_read_as_ever() {
        let long = r#"{"result":{"text":"0123456789"},"id":7}"#;
        let text = format!("{long}\n12345\n123456\n\u{feff}12345\r\n{long}");
        let too_long = |answers, bytes| Line::TooLong { answers, bytes };
        let expected = [
            too_long(Some(7), long.len() as u64 + 1),
            message("12345"),
            too_long(None, 6),
            message("12345"),
            too_long(Some(7), long.len() as u64),
        ];
        assert_eq!(lines(text.as_bytes(), 5), expected);
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
