//! A server's stderr, line by line, for whoever asks for it. What is done with a line may take as
//! long as it likes: it is done behind a bounded queue, on a thread of its own, so that the server's
//! pipe is always read.

use std::io::{self, Write};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};

/// How many lines wait, and how many bytes they have together; others are dropped and counted.
const MOST_LINES: usize = 1024;
const MOST_BYTES: usize = 1024 * 1024;
/// The rest of a longer line is cut off.
const LONGEST: usize = 64 * 1024;

type Listener = dyn Fn(&str) + Send + Sync;

/// Who gets the lines.
#[derive(Clone, Default)]
pub(crate) struct StderrSink {
    /// They are copied to this program's stderr.
    pub(crate) inherit: bool,
    pub(crate) listener: Option<Arc<Listener>>,
}

impl StderrSink {
    pub(crate) fn is_used(&self) -> bool {
        self.inherit || self.listener.is_some()
    }

    fn take(&self, server: &str, line: &str) {
        if self.inherit {
            // In one piece, as others write there too. If nobody reads it, nobody misses it.
            let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
        }
        if let Some(listener) = &self.listener {
            // A listener that panics misses one line, not all that follow.
            if catch_unwind(AssertUnwindSafe(|| listener(line))).is_err() {
                log::warn!("{server}: the listener for its stderr panicked");
            }
        }
    }

    fn take_dropped(&self, server: &str, dropped: u64) {
        if dropped > 0 {
            self.take(server, &format!("[{dropped} lines dropped]"));
        }
    }
}

pub(crate) fn line_queue() -> (LineWriter, LineReader) {
    let (sender, receiver) = crossbeam_channel::bounded(MOST_LINES);
    let shared = Arc::<Shared>::default();
    let writer = LineWriter {
        queue: sender,
        shared: shared.clone(),
        line: Vec::new(),
        dropped: 0,
        is_cut: false,
    };
    (writer, LineReader { queue: receiver, shared })
}

#[derive(Default)]
struct Shared {
    /// How many bytes wait in the queue.
    held: AtomicUsize,
    /// How many lines were dropped after the last one in the queue, once there is no more to come.
    dropped: AtomicU64,
}

struct Line {
    text: String,
    /// How many lines are missing before it.
    dropped: u64,
}

/// The end of the queue that never waits. Dropping it hands over the last line, if it has no end.
pub(crate) struct LineWriter {
    queue: Sender<Line>,
    shared: Arc<Shared>,
    /// The line that has not ended yet.
    line: Vec<u8>,
    is_cut: bool,
    dropped: u64,
}

impl LineWriter {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let kept = text.get(..LONGEST.saturating_sub(self.line.len())).unwrap_or(text);
            self.is_cut |= kept.len() < text.len();
            self.line.extend_from_slice(kept);
            if text.len() < part.len() {
                self.send();
            }
        }
    }

    fn send(&mut self) {
        let line = mem::take(&mut self.line);
        let mut text =
            String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned();
        if mem::take(&mut self.is_cut) {
            text.push('…');
        }
        let size = text.len();
        let held = &self.shared.held;
        let fits = held.fetch_add(size, Ordering::Relaxed) + size <= MOST_BYTES;
        if fits && self.queue.try_send(Line { text, dropped: self.dropped }).is_ok() {
            self.dropped = 0;
        } else {
            held.fetch_sub(size, Ordering::Relaxed);
            self.dropped += 1;
        }
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.send();
        }
        self.shared.dropped.store(self.dropped, Ordering::Relaxed);
    }
}

/// The other end of the queue.
pub(crate) struct LineReader {
    queue: Receiver<Line>,
    shared: Arc<Shared>,
}

impl LineReader {
    /// Until the server's stderr has ended.
    pub(crate) fn hand_to(self, sink: &StderrSink, server: &str) {
        for line in &self.queue {
            sink.take_dropped(server, line.dropped);
            sink.take(server, &line.text);
            self.shared.held.fetch_sub(line.text.len(), Ordering::Relaxed);
        }
        sink.take_dropped(server, self.shared.dropped.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// The lines that are handed over when all of these bytes came before any of them was taken.
    fn handed_over<B: AsRef<[u8]>>(chunks: impl IntoIterator<Item = B>) -> Vec<String> {
        let (mut writer, reader) = line_queue();
        chunks.into_iter().for_each(|chunk| writer.push(chunk.as_ref()));
        drop(writer);
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let taken = lines.clone();
        let listener = Arc::new(move |line: &str| taken.lock().unwrap().push(line.to_owned()));
        reader.hand_to(&StderrSink { inherit: false, listener: Some(listener) }, "test");
        mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn lines_are_split_at_their_ends_alone() {
        let chunks: [&[u8]; 5] = [b"one\ntw", b"o\r\n\n", b"a\rb\xff\n", b"\xc3", b"\xa9 end"];
        assert_eq!(handed_over(chunks), ["one", "two", "", "a\rb\u{fffd}", "é end"]);
        assert_eq!(handed_over(["", "a\n"]), ["a"]);
    }

    #[test]
    fn a_long_line_is_cut() {
        let lines =
            handed_over(["x".repeat(LONGEST), "\n".into(), "y".repeat(LONGEST + 1), "\nz".into()]);
        assert_eq!(lines, ["x".repeat(LONGEST), "y".repeat(LONGEST) + "…", "z".into()]);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let lines = handed_over((0..MOST_LINES + 3).map(|number| format!("{number}\n")));
        assert_eq!(lines.len(), MOST_LINES + 1);
        assert_eq!(lines.last().unwrap(), "[3 lines dropped]");

        // Bytes run out first; shorter lines still fit in between.
        let long = "x".repeat(LONGEST - 1) + "\n";
        let chunks = [&*long; 20].into_iter().chain(["short\n", &*long]);
        let lines = handed_over(chunks);
        assert_eq!(lines.len(), MOST_BYTES / (LONGEST - 1) + 3);
        assert_eq!(lines[16..], ["[4 lines dropped]", "short", "[1 lines dropped]"]);
    }

    #[test]
    fn room_is_given_back() {
        let (mut writer, reader) = line_queue();
        let shared = writer.shared.clone();
        writer.push(b"a line\n");
        assert_eq!(shared.held.load(Ordering::Relaxed), 6);
        drop(writer);
        reader.hand_to(&StderrSink::default(), "test");
        assert_eq!(shared.held.load(Ordering::Relaxed), 0);
    }
}
