//! Event streams (`text/event-stream`) as WHATWG defines them: bytes in, events out.

use std::borrow::Cow;
use std::time::Duration;

/// Reads a stream in pieces, wherever they end. What has no empty line behind it at the end of the
/// stream is no event.
pub(crate) struct Decoder {
    /// The most data of one event that is kept.
    limit: usize,
    /// How much of a byte order mark has come, for as long as one may come.
    mark: Option<usize>,
    after_cr: bool,
    name: Vec<u8>,
    /// Whose value is being read. `None` while the name is.
    field: Option<Field>,
    at_value_start: bool,
    /// Of an id or a retry.
    value: Vec<u8>,
    kind: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// How much data has been passed on in pieces, if it is too much to keep.
    passed_on: Option<u64>,
    id: Option<String>,
    last_event_id: String,
    retry: Option<Duration>,
}

#[derive(Clone, Copy)]
enum Field {
    Data,
    Event,
    Id,
    Retry,
    Unknown,
}

/// What a stream consists of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Event(Event),
    /// A piece of the data of an event that is too long to be kept.
    Piece(&'a [u8]),
    /// Such an event has ended.
    TooLong {
        kind: Cow<'static, str>,
        bytes: u64,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Cow<'static, str>,
    pub(crate) data: Vec<u8>,
}

/// The type of an event that names none.
pub(crate) const MESSAGE: &str = "message";

/// One byte longer than any field's name.
const NAME_KEPT: usize = 6;
/// Longer than any event's type that means something, and the longest id that is one.
const VALUE_KEPT: usize = 1024;

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            mark: Some(0),
            after_cr: false,
            name: Vec::new(),
            field: None,
            at_value_start: false,
            value: Vec::new(),
            kind: Vec::new(),
            data: Vec::new(),
            has_data: false,
            passed_on: None,
            id: None,
            last_event_id: String::new(),
            retry: None,
        }
    }

    /// The last id that a finished event, or an empty one, has set.
    pub(crate) fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long the server wants a client to wait before it connects again.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Part<'_>)) {
        const MARK: &[u8] = "\u{feff}".as_bytes();
        while let Some(come) = self.mark {
            let Some((first, rest)) = bytes.split_first() else { return };
            if MARK.get(come) == Some(first) {
                bytes = rest;
                self.mark = Some(come + 1).filter(|come| *come < MARK.len());
            } else {
                self.mark = None;
                self.read(MARK.get(..come).unwrap_or_default(), each);
            }
        }
        self.read(bytes, each);
    }

    fn read(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Part<'_>)) {
        while let Some((first, rest)) = bytes.split_first() {
            let after_cr = std::mem::take(&mut self.after_cr);
            bytes = match (*first, self.field) {
                // The second half of a CRLF.
                (b'\n', _) if after_cr => rest,
                (end @ (b'\r' | b'\n'), _) => {
                    self.end_line(end, each);
                    rest
                }
                (b':', None) => {
                    self.begin_value(each);
                    self.at_value_start = true;
                    rest
                }
                (byte, None) => {
                    keep(&mut self.name, &[byte], NAME_KEPT);
                    rest
                }
                (b' ', Some(_)) if std::mem::take(&mut self.at_value_start) => rest,
                (_, Some(field)) => {
                    let (piece, rest) = bytes.split_at(line_length(bytes));
                    self.at_value_start = false;
                    self.read_value(field, piece, each);
                    rest
                }
            };
        }
    }

    fn end_line(&mut self, end: u8, each: &mut dyn FnMut(Part<'_>)) {
        self.after_cr = end == b'\r';
        if self.field.is_none() {
            if self.name.is_empty() {
                return self.end_event(each);
            }
            self.begin_value(each);
        }
        self.at_value_start = false;
        self.name.clear();
        match self.field.take() {
            Some(Field::Id) if self.value.len() <= VALUE_KEPT && !self.value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(&self.value).into_owned());
            }
            Some(Field::Retry) if self.value.iter().all(u8::is_ascii_digit) => {
                let number = str::from_utf8(&self.value).ok().and_then(|text| text.parse().ok());
                self.retry = number.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
    }

    fn begin_value(&mut self, each: &mut dyn FnMut(Part<'_>)) {
        let field = match self.name.as_slice() {
            b"data" => Field::Data,
            b"event" => Field::Event,
            b"id" => Field::Id,
            b"retry" => Field::Retry,
            // A comment has no name.
            _ => Field::Unknown,
        };
        self.field = Some(field);
        match field {
            Field::Data if self.has_data => self.read_data(b"\n", each),
            Field::Data => self.has_data = true,
            Field::Event => self.kind.clear(),
            Field::Id | Field::Retry => self.value.clear(),
            Field::Unknown => {}
        }
    }

    fn read_value(&mut self, field: Field, piece: &[u8], each: &mut dyn FnMut(Part<'_>)) {
        match field {
            Field::Data => self.read_data(piece, each),
            Field::Event => keep(&mut self.kind, piece, VALUE_KEPT),
            Field::Id | Field::Retry => keep(&mut self.value, piece, VALUE_KEPT + 1),
            Field::Unknown => {}
        }
    }

    fn read_data(&mut self, piece: &[u8], each: &mut dyn FnMut(Part<'_>)) {
        let passed_on = match self.passed_on {
            Some(bytes) => bytes,
            None if self.data.len().saturating_add(piece.len()) <= self.limit => {
                return self.data.extend_from_slice(piece);
            }
            None => {
                let kept = std::mem::take(&mut self.data);
                each(Part::Piece(&kept));
                kept.len() as u64
            }
        };
        each(Part::Piece(piece));
        self.passed_on = Some(passed_on.saturating_add(piece.len() as u64));
    }

    fn end_event(&mut self, each: &mut dyn FnMut(Part<'_>)) {
        if let Some(id) = self.id.take() {
            self.last_event_id = id;
        }
        let kind = match self.kind.as_slice() {
            b"" => Cow::Borrowed(MESSAGE),
            kind => Cow::Owned(String::from_utf8_lossy(kind).into_owned()),
        };
        self.kind.clear();
        let has_data = std::mem::take(&mut self.has_data);
        let data = std::mem::take(&mut self.data);
        match self.passed_on.take() {
            Some(bytes) => each(Part::TooLong { kind, bytes }),
            None if has_data => each(Part::Event(Event { kind, data })),
            None => {}
        }
    }
}

/// How many bytes come before the end of the line, or all. Written so that many bytes are looked at
/// in one step.
fn line_length(bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let is_end = |byte: &u8| (*byte == b'\r') | (*byte == b'\n');
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let has_end =
        |block: &[u8; BLOCK]| block.iter().map(|byte| u8::from(is_end(byte))).sum::<u8>() > 0;
    let start = blocks.iter().take_while(|block| !has_end(block)).count() * BLOCK;
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// Appends what there is room for.
fn keep(kept: &mut Vec<u8>, piece: &[u8], most: usize) {
    let room = most.saturating_sub(kept.len());
    kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream comes to: each event's type and data, or `…` and its size; the last id, and
    /// the wait.
    #[derive(Debug, Default, PartialEq)]
    struct Read {
        events: Vec<(String, String)>,
        pieces: Vec<u8>,
        id: String,
        retry: Option<u64>,
    }

    fn read<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
        let mut decoder = Decoder::new(limit);
        let mut read = Read::default();
        for piece in pieces {
            decoder.feed(piece, &mut |part| match part {
                Part::Event(Event { kind, data }) => {
                    let data = String::from_utf8_lossy(&data).into_owned();
                    read.events.push((kind.into_owned(), data));
                }
                Part::Piece(piece) => read.pieces.extend_from_slice(piece),
                Part::TooLong { kind, bytes } => {
                    read.events.push((kind.into_owned(), format!("…{bytes}")));
                }
            });
            assert!(decoder.data.len() <= limit && decoder.name.len() <= NAME_KEPT);
        }
        read.id = decoder.last_event_id().to_owned();
        read.retry = decoder.retry().map(|wait| wait.as_millis() as u64);
        read
    }

    /// The same wherever the text is cut, and byte by byte.
    fn read_anyhow(limit: usize, text: &[u8]) -> Read {
        let whole = read(limit, [text]);
        for cut in 0..=text.len() {
            let (left, right) = text.split_at(cut);
            assert_eq!(read(limit, [left, right]), whole, "cut at {cut}: {text:?}");
        }
        assert_eq!(read(limit, text.chunks(1)), whole, "{text:?}");
        whole
    }

    fn events(text: &str) -> Vec<(String, String)> {
        read_anyhow(1000, text.as_bytes()).events
    }

    fn messages(text: &str) -> Vec<String> {
        let data = |(kind, data): (String, String)| (kind == MESSAGE).then_some(data);
        events(text).into_iter().filter_map(data).collect()
    }

    #[test]
    fn every_end_of_line_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            let text = ["data: one", "data: two", "", "", "data: three", "", ""].join(end);
            assert_eq!(messages(&text), ["one\ntwo", "three"], "{end:?}");
        }
        assert_eq!(
            messages("data: a\r\n\ndata: b\n\r\ndata: c\r\rdata: d\n\r"),
            ["a", "b", "c", "d"]
        );
    }

    #[test]
    fn one_mark_at_the_start_is_dropped() {
        assert_eq!(messages("\u{feff}data: a\n\n"), ["a"]);
        assert!(messages("\u{feff}\u{feff}data: a\n\n").is_empty());
        assert_eq!(messages("data: a\n\n\u{feff}data: b\n\ndata: \u{feff}\n\n"), ["a", "\u{feff}"]);
        // Not a mark after all.
        assert_eq!(read_anyhow(9, b"\xef\xbb: x\ndata: a\n\n").events.len(), 1);
        assert_eq!(read_anyhow(9, b"\xef\xbbdata: a\n\n").events.len(), 0);
    }

    #[test]
    fn data_is_what_follows_the_colon_and_at_most_one_space() {
        for (text, expected) in [
            ("data:a\n\n", "a"),
            ("data: a\n\n", "a"),
            ("data:  a \n\n", " a "),
            ("data:\ta\n\n", "\ta"),
            ("data: a:b: c\n\n", "a:b: c"),
            ("data::\n\n", ":"),
            ("data:\n\n", ""),
            ("data: \n\n", ""),
            ("data\n\n", ""),
            ("data\ndata\n\n", "\n"),
            ("data: a\ndata\ndata: b\n\n", "a\n\nb"),
            ("data: ü€😀\n\n", "ü€😀"),
        ] {
            assert_eq!(messages(text), [expected], "{text:?}");
        }
    }

    #[test]
    fn comments_and_unknown_fields_are_nothing() {
        let text =
            ": hello\n:\n::\nx: y\ndatum: z\nDATA: z\n data: z\ndata : z\nunknown\ndata: a\n\n";
        assert_eq!(messages(text), ["a"]);
        assert!(events(": ping\n\n:\n\n\n\n").is_empty());
    }

    #[test]
    fn an_events_type_is_its_own() {
        let text = "event: a\ndata: 1\n\ndata: 2\n\nevent: b\nevent: c\ndata: 3\n\n\
                    event: d\n\nevent\ndata: 4\n\ndata: 5\nevent: e\n\n";
        let expected = [("a", "1"), (MESSAGE, "2"), ("c", "3"), (MESSAGE, "4"), ("e", "5")];
        let expected = expected.map(|(kind, data)| (kind.to_owned(), data.to_owned()));
        assert_eq!(events(text), expected);
    }

    #[test]
    fn what_is_unfinished_at_the_end_is_no_event() {
        for text in ["data: a", "data: a\n", "data: a\nid: 7\nevent: b\n", "data: a\r\nid: 7"] {
            assert_eq!(read_anyhow(1000, text.as_bytes()), Read::default(), "{text:?}");
        }
    }

    #[test]
    fn ids_stay_until_they_are_replaced() {
        for (text, expected) in [
            ("id: 1\ndata: a\n\ndata: b\n\n", "1"),
            ("id: 1\n\n", "1"),
            ("id: 1\nid: 2\n\n", "2"),
            ("id: 1\n\nid\n\n", ""),
            ("id: 1\n\nid:\n\n", ""),
            ("id: 1\n\nid: 2\0\n\n", "1"),
            ("id: 1\nid: \0\n\n", "1"),
            ("id: 1\n\nid: 2\n", "1"),
            ("id:  1 \n\n", " 1 "),
            ("id: ü\n\n", "ü"),
        ] {
            assert_eq!(read_anyhow(1000, text.as_bytes()).id, expected, "{text:?}");
        }
        let long = "x".repeat(VALUE_KEPT);
        assert_eq!(read(9, [format!("id: {long}\n\n").as_bytes()]).id, long);
        assert_eq!(read(9, [format!("id: {long}x\n\n").as_bytes()]).id, "");
    }

    #[test]
    fn a_wait_is_digits() {
        for (text, expected) in [
            ("retry: 250\n", Some(250)),
            ("retry:0\n\n", Some(0)),
            ("retry: 1\nretry: 2\n", Some(2)),
            ("retry: 1\nretry: x\n", Some(1)),
            ("retry: 1\nretry\n", Some(1)),
            ("retry: 1.5\n", None),
            ("retry: -1\n", None),
            ("retry: +1\n", None),
            ("retry:  1\n", None),
            ("retry: 99999999999999999999999\n", None),
            ("retry: 250", None),
        ] {
            assert_eq!(read_anyhow(1000, text.as_bytes()).retry, expected, "{text:?}");
        }
        assert_eq!(read(9, [format!("retry: {}\n", "1".repeat(5000)).as_bytes()]).retry, None);
    }

    #[test]
    fn what_is_too_long_is_passed_on_and_the_stream_goes_on() {
        let text = b"data: 12345678\n\nevent: x\ndata: 1234\ndata: 5678\nid: 7\n\ndata: a\n\n";
        let got = read_anyhow(8, text);
        let expected = [(MESSAGE, "12345678"), ("x", "…9"), (MESSAGE, "a")];
        assert_eq!(got.events, expected.map(|(kind, data)| (kind.to_owned(), data.to_owned())));
        assert_eq!((got.pieces.as_slice(), got.id.as_str()), (&b"1234\n5678"[..], "7"));
    }

    #[test]
    fn nothing_else_is_kept_either() {
        let long = "x".repeat(100_000);
        let text =
            format!(":{long}\n{long}: {long}\n{long}\nid: {long}\nevent: {long}\nretry: {long}\n");
        let mut decoder = Decoder::new(9);
        decoder.feed(text.as_bytes(), &mut |part| unreachable!("{part:?}"));
        let kept = [&decoder.name, &decoder.value, &decoder.kind, &decoder.data];
        assert!(kept.into_iter().all(|buffer| buffer.capacity() < 10_000));
    }

    /// xorshift64*
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
        }
    }

    /// The same events, the last id each time, and the same waits as another decoder finds.
    #[test]
    fn another_decoder_reads_the_same() {
        const WORDS: [&[u8]; 26] = [
            b"data",
            b"event",
            b"id",
            b"retry",
            b"data: ",
            b"data:",
            b"event: ",
            b"id: ",
            b"retry: ",
            b":",
            b" ",
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b"\n",
            b"\0",
            b"\xef\xbb\xbf",
            b"\xef",
            b"\xff",
            "ü".as_bytes(),
            b"a",
            b"12",
            b"data: {}\n\n",
            b": ping\n",
        ];
        let mut random = Random(0x5eed);
        let mut found = 0;
        for round in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..random.below(40) {
                text.extend_from_slice(WORDS[random.below(WORDS.len())]);
            }
            let mut theirs = Vec::new();
            let mut their_retry = None;
            let mut decoder = sse_core::SseDecoder::new();
            let mut rest = text.as_slice();
            while let Some(event) = decoder.next(&mut rest) {
                match event.unwrap() {
                    sse_core::SseEvent::Message(event) => {
                        let id = event.last_event_id.as_deref().unwrap_or_default().to_owned();
                        theirs.push((event.event.to_string(), event.data.to_string(), id));
                    }
                    sse_core::SseEvent::Retry(wait) => their_retry = Some(u64::from(wait)),
                    #[allow(unreachable_patterns)]
                    _ => {}
                }
            }
            let mut ours = Vec::new();
            let mut decoder = Decoder::new(usize::MAX);
            // Byte by byte, so that the id can be asked for after each event.
            for byte in &text {
                let mut event = None;
                decoder.feed(&[*byte], &mut |part| match part {
                    Part::Event(it) => event = Some(it),
                    other => panic!("{other:?}"),
                });
                if let Some(Event { kind, data }) = event {
                    let data = String::from_utf8_lossy(&data).into_owned();
                    ours.push((kind.into_owned(), data, decoder.last_event_id().to_owned()));
                }
            }
            found += ours.len();
            let shown = String::from_utf8_lossy(&text);
            assert_eq!(ours, theirs, "round {round}: {shown:?}");
            let retry = decoder.retry().map(|wait| wait.as_millis() as u64);
            assert_eq!(retry, their_retry, "round {round}: {shown:?}");
        }
        assert!(found > 10_000, "{found} events were compared");
    }
}
