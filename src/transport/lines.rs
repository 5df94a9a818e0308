//! Messages as lines: taking a stream apart into lines, and the queue between callers and the
//! thread that writes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, BufRead, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::process::PipeWriter;
use crate::protocol::skim::Skim;
use crate::transport::{Abandoned, Inbox, Outgoing};

/// How much is read at once.
pub(crate) const CHUNK: usize = 64 * 1024;

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
    order: VecDeque<Place>,
    /// The requests' lines, for as long as they are wanted.
    requests: HashMap<u64, Vec<u8>>,
    /// Places of requests that are not wanted any more.
    empty: usize,
    /// What waits, with its [`size`].
    bytes: usize,
    closed: bool,
    /// Requests that were dropped before they were written.
    discarded: HashSet<u64>,
    /// Where a caller writes what can be written without waiting, if nothing waits before it.
    direct: Option<Arc<PipeWriter>>,
    /// The writer thread has taken something and not yet written it.
    writing: bool,
    /// A caller could not write.
    is_broken: bool,
}

/// A place in the queue.
enum Place {
    /// Of a request, which may have been taken back.
    Request(u64),
    Line(Vec<u8>),
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    /// An outbox whose callers write themselves what the pipe takes without blocking.
    pub(crate) fn direct(limit: usize, pipe: Arc<PipeWriter>) -> Self {
        let state = Mutex::new(Queue { direct: Some(pipe), ..Queue::default() });
        Self { state, changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn post(&self, message: Outgoing<'_>) -> Result<()> {
        let mut line = message.json;
        line.push(b'\n');
        let mut queue = self.lock();
        if queue.closed {
            return Err(no_longer_reads());
        }
        let mut id = message.id;
        if let Some(pipe) = queue.direct.as_ref().filter(|_| queue.is_idle()) {
            let written = match pipe.write_now(&line) {
                Ok(written) => written,
                Err(error) => {
                    queue.is_broken = true;
                    queue.close();
                    drop(queue);
                    self.changed.notify_all();
                    return Err(no_longer_reads().source(error));
                }
            };
            if written == line.len() {
                return Ok(());
            }
            if written > 0 {
                // The rest must follow, whatever becomes of the request.
                line.drain(..written);
                id = None;
            }
        }
        if queue.bytes > 0 && queue.bytes.saturating_add(size(&line)) > self.limit {
            let waiting = queue.bytes;
            return Err(Error::new(
                ErrorKind::Limit,
                format!("the server does not read: {waiting} bytes already wait for it"),
            )
            .hint("Send less at once, or raise `Limits::outgoing`"));
        }
        queue.push(id, line);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes a request back if nothing of it has been written.
    pub(crate) fn abandon(&self, id: u64) -> Abandoned {
        let mut queue = self.lock();
        if queue.discarded.remove(&id) {
            return Abandoned::Unsent;
        }
        match queue.requests.remove(&id) {
            Some(line) => {
                queue.bytes -= size(&line);
                queue.forget_place();
                Abandoned::Unsent
            }
            None => Abandoned::Notify,
        }
    }

    /// Nothing more is taken; the writer ends once it has written what is queued.
    pub(crate) fn close(&self) {
        self.lock().close();
        self.changed.notify_all();
    }

    /// As [`close`](Self::close), and what is queued is dropped.
    pub(crate) fn discard(&self) {
        let mut queue = self.lock();
        queue.close();
        queue.order.clear();
        queue.empty = 0;
        let requests = std::mem::take(&mut queue.requests);
        queue.discarded.extend(requests.into_keys());
        queue.bytes = 0;
        drop(queue);
        self.changed.notify_all();
    }

    /// What has queued up, as one write: lines that pile up behind a slow reader leave together.
    fn take(&self, into: &mut Vec<u8>) -> bool {
        const TOGETHER: usize = 64 * 1024;
        let mut queue = self.lock();
        queue.writing = false;
        while queue.bytes == 0 && !queue.closed {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        into.clear();
        while let Some(line) = queue.pop() {
            if into.is_empty() {
                *into = line;
            } else {
                into.extend_from_slice(&line);
            }
            if into.len().saturating_add(queue.next_length()) > TOGETHER {
                break;
            }
        }
        queue.writing = !into.is_empty();
        queue.writing
    }
}

impl Queue {
    /// Nothing that came before waits to be written.
    fn is_idle(&self) -> bool {
        self.bytes == 0 && !self.writing
    }

    fn push(&mut self, id: Option<u64>, line: Vec<u8>) {
        self.bytes += size(&line);
        self.order.push_back(match id {
            Some(id) => {
                self.requests.insert(id, line);
                Place::Request(id)
            }
            None => Place::Line(line),
        });
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        loop {
            let line = match self.order.pop_front()? {
                Place::Request(id) => self.requests.remove(&id),
                Place::Line(line) => Some(line),
            };
            match line {
                Some(line) => {
                    self.bytes -= size(&line);
                    return Some(line);
                }
                None => self.empty -= 1,
            }
        }
    }

    /// Of the next line, as far as that is known.
    fn next_length(&self) -> usize {
        match self.order.front() {
            Some(Place::Request(id)) => self.requests.get(id).map_or(0, Vec::len),
            Some(Place::Line(line)) => line.len(),
            None => 0,
        }
    }

    /// A request is not wanted any more. Its place is left empty until there are many.
    fn forget_place(&mut self) {
        const MANY: usize = 1024;
        self.empty += 1;
        if self.empty > MANY.max(self.order.len() / 2) {
            let requests = &self.requests;
            self.order.retain(|place| match place {
                Place::Request(id) => requests.contains_key(id),
                Place::Line(_) => true,
            });
            self.empty = 0;
        }
    }

    fn close(&mut self) {
        self.closed = true;
        // The server sees the end of the pipe once nobody holds it.
        self.direct = None;
    }
}

/// What a line takes while it waits: short ones need more for their place than for themselves.
fn size(line: &[u8]) -> usize {
    const PLACE: usize = 128;
    line.len() + PLACE
}

fn no_longer_reads() -> Error {
    Error::new(ErrorKind::Disconnected, "the server no longer reads what it is sent")
}

/// The writer thread: writes what is posted until the outbox closes. Returns whether all of it
/// could be written.
pub(crate) fn write(outbox: &Outbox, mut write_all: impl FnMut(&[u8]) -> io::Result<()>) -> bool {
    let mut batch = Vec::new();
    let mut all = true;
    while outbox.take(&mut batch) {
        if let Err(error) = write_all(&batch) {
            log::debug!("the server no longer reads: {error}");
            outbox.discard();
            all = false;
        }
    }
    all && !outbox.lock().is_broken
}

/// The writer thread of a stream.
pub(crate) fn write_stream(outbox: &Outbox, mut stream: impl Write) {
    write(outbox, |batch| stream.write_all(batch).and_then(|()| stream.flush()));
}

/// The reader thread of a stream: reads lines into the inbox until the stream ends. Returns what
/// ended it, if it was not the end of the stream. `heard` is called when bytes have come in.
pub(crate) fn read_stream(
    mut stream: impl Read,
    inbox: &dyn Inbox,
    limit: usize,
    mut heard: impl FnMut(),
) -> Option<Error> {
    let mut lines = Lines::new(limit);
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => {
                lines.finish(&mut |line| _ = line.deliver(inbox));
                return None;
            }
            Ok(read) => {
                heard();
                let chunk = chunk.get(..read).unwrap_or_default();
                lines.feed(chunk, &mut |line| _ = line.deliver(inbox));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Some(could_not_read(error)),
        }
    }
}

pub(crate) fn could_not_read(error: io::Error) -> Error {
    let text = format!("reading from the server failed: {error}");
    Error::new(ErrorKind::Disconnected, text).source(error)
}

/// Takes a stream apart into lines, wherever it is cut.
pub(crate) struct Lines {
    limit: usize,
    line: Vec<u8>,
    /// The line is too long: its bytes so far, of which nothing is kept but whose it is.
    skimming: Option<(Skim, u64)>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    Message(Vec<u8>),
    TooLong { answers: Option<u64>, bytes: u64 },
}

impl Line {
    /// Returns the request that it answers, if somebody waits for that.
    pub(crate) fn deliver(self, inbox: &dyn Inbox) -> Option<u64> {
        match self {
            Line::Message(text) => inbox.message(text, None),
            Line::TooLong { answers, bytes } => {
                inbox.too_long(answers, bytes);
                answers
            }
        }
    }
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

impl Lines {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), skimming: None }
    }

    /// Where the rest of a long line can be read to, rather than into a chunk: what is appended
    /// there has then [arrived](Self::arrived).
    pub(crate) fn rest_of_line(&mut self) -> Option<&mut Vec<u8>> {
        let is_long = self.line.len() >= CHUNK / 2;
        is_long.then(|| {
            self.line.reserve(CHUNK);
            &mut self.line
        })
    }

    /// So many bytes were appended to the line that was begun.
    pub(crate) fn arrived(&mut self, bytes: usize, each: &mut dyn FnMut(Line)) {
        let begin = self.line.len().saturating_sub(bytes);
        let mut arrived = self.line.get(begin..).unwrap_or_default();
        // Reading from memory does not fail.
        let end = begin + arrived.skip_until(b'\n').unwrap_or(bytes);
        let after = self.line.split_off(end);
        self.go_on(each);
        self.feed(&after, each);
    }

    /// Hands over every line that ends in the chunk.
    pub(crate) fn feed(&mut self, mut chunk: &[u8], each: &mut dyn FnMut(Line)) {
        while !chunk.is_empty() {
            // Reading from memory does not fail.
            let _ = chunk.read_until(b'\n', &mut self.line);
            self.go_on(each);
        }
    }

    /// What to do with a line that has grown: with its end, or still without.
    fn go_on(&mut self, each: &mut dyn FnMut(Line)) {
        // A line's end, and a mark at its beginning, do not count.
        let most = self.limit.saturating_add(BOM.len() + 2);
        let is_whole = self.line.ends_with(b"\n");
        if self.skimming.is_some() || self.line.len() > most {
            let (skim, bytes) = self.skimming.get_or_insert_default();
            skim.feed(&self.line);
            *bytes += self.line.len() as u64;
            self.line = Vec::new();
            if is_whole {
                self.end_skimming(each);
            }
        } else if is_whole {
            self.end_line(each);
        }
    }

    /// The stream has ended, and with it its last line.
    pub(crate) fn finish(&mut self, each: &mut dyn FnMut(Line)) {
        self.end_skimming(each);
        self.end_line(each);
    }

    fn end_skimming(&mut self, each: &mut dyn FnMut(Line)) {
        if let Some((skim, bytes)) = self.skimming.take() {
            each(Line::TooLong { answers: skim.answers(), bytes });
        }
    }

    /// Lines that are blank are skipped.
    fn end_line(&mut self, each: &mut dyn FnMut(Line)) {
        let mut line = std::mem::take(&mut self.line);
        line.truncate(line.trim_ascii_end().len());
        if line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        if line.len() > self.limit {
            let mut skim = Skim::default();
            skim.feed(&line);
            each(Line::TooLong { answers: skim.answers(), bytes: line.len() as u64 });
        } else if !line.is_empty() {
            each(Line::Message(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::Deadline;
    use std::time::Duration;

    /// The lines of a text, which is the same however it is cut.
    fn lines(text: &[u8], limit: usize) -> Vec<Line> {
        let cut = |length: usize| {
            let (mut lines, mut found) = (Lines::new(limit), Vec::new());
            text.chunks(length).for_each(|chunk| lines.feed(chunk, &mut |line| found.push(line)));
            lines.finish(&mut |line| found.push(line));
            found
        };
        let whole = cut(text.len());
        for length in 1..10 {
            assert_eq!(cut(length), whole, "in pieces of {length} bytes");
        }
        whole
    }

    #[test]
    fn the_rest_of_a_long_line_is_read_where_it_belongs() {
        let long = "x".repeat(CHUNK);
        let ends = ["\n", "yz\n", "\n1\n2\n3", "yz\r\n1", "yz"];
        for (limit, end) in ends.iter().flat_map(|end| [(2 * CHUNK, end), (CHUNK, end)]) {
            let (mut lines, mut found) = (Lines::new(limit), Vec::new());
            lines.feed(long.as_bytes(), &mut |line| found.push(line));
            lines.rest_of_line().unwrap().extend_from_slice(end.as_bytes());
            lines.arrived(end.len(), &mut |line| found.push(line));
            lines.finish(&mut |line| found.push(line));
            assert_eq!(found, self::lines(format!("{long}{end}").as_bytes(), limit), "{end:?}");
        }
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
            session: None,
            mirror: &[],
            waits: false,
            until: Deadline::after(Duration::ZERO),
        }
    }

    #[test]
    fn what_has_not_been_written_can_be_taken_back() {
        let outbox = Outbox::new(1000);
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
    fn what_is_taken_back_leaves_nothing_behind() {
        let outbox = Outbox::new(usize::MAX);
        for id in 0..100_000 {
            outbox.post(outgoing(id, "x")).unwrap();
        }
        // In the order that takes longest to look for.
        for id in (1..100_000).rev() {
            assert_eq!(outbox.abandon(id), Abandoned::Unsent);
        }
        let queue = outbox.lock();
        assert!(queue.order.len() <= 1026, "{}", queue.order.len());
        assert_eq!((queue.requests.len(), queue.bytes), (1, size(b"x\n")));
    }

    #[test]
    fn what_was_discarded_was_never_sent() {
        let outbox = Outbox::new(1000);
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
