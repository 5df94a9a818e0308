//! The result's way to stdout.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;
use crate::text::clean;

/// Where results go: one per command.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    /// The MCP result object instead of something for people.
    pub(crate) json: bool,
    pub(crate) is_terminal: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, is_terminal: io::stdout().is_terminal() }
    }

    /// Prints one JSON document.
    pub(crate) fn document<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(value)
            .map_err(|error| Failure::protocol(format_args!("no JSON for the result: {error}")))?;
        text.push(b'\n');
        self.print(&text)
    }

    /// Prints a result: exactly as it is, or without what drives a terminal on one.
    pub(crate) fn print(self, result: &[u8]) -> Result<(), Failure> {
        let cleaned = self.is_terminal.then(|| clean(&String::from_utf8_lossy(result)));
        self.write(cleaned.as_deref().map_or(result, str::as_bytes)).map(drop)
    }

    /// Prints a line at once. Returns whether there is still somebody who reads.
    pub(crate) fn line(self, line: &str) -> Result<bool, Failure> {
        let mut line = if self.is_terminal { clean(line) } else { line.to_owned() };
        line.push('\n');
        self.write(line.as_bytes())
    }

    /// Writes bytes as they are. Returns whether there is still somebody who reads.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<bool, Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            // Who reads has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::usage(format_args!("cannot write the result: {error}"))),
        }
    }
}
