//! Any pair of byte streams: a Unix or TCP socket, a serial line, a pipe somebody else opened.
//! Messages are lines, as over stdio (STDIO-16). Cancelling sends `notifications/cancelled`.

use std::fmt;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use std::sync::atomic::{AtomicBool, Ordering};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::threads::Threads;
use crate::transport::lines::{self, Outbox};
use crate::transport::{Abandoned, CloseReport, Connect, Facts, Inbox, Outgoing, Transport};

/// An open connection to a server that speaks MCP, one message per line, over two byte streams.
///
/// See [`Server::stream`](crate::Server::stream).
///
/// A read or write that blocks is ended by the [`on_close`](ByteStream::on_close) action; without
/// one, a thread that is blocked when the client closes stays behind until the stream ends.
pub struct ByteStream {
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
    on_close: Option<Box<dyn FnOnce() + Send>>,
}

impl ByteStream {
    /// Joins the stream that the server writes and the stream that it reads.
    pub fn new(reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), on_close: None }
    }

    /// Says how to end reads and writes that block, such as `TcpStream::shutdown`. It runs once,
    /// when the client closes, and must not block.
    #[must_use]
    pub fn on_close(mut self, end: impl FnOnce() + Send + 'static) -> Self {
        self.on_close = Some(Box::new(end));
        self
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream").finish_non_exhaustive()
    }
}

/// A way to open the stream, as often as needed.
pub(crate) fn connect(
    open: Arc<dyn Fn() -> io::Result<ByteStream> + Send + Sync>,
    limits: Limits,
) -> Box<Connect> {
    Box::new(move |inbox| {
        let stream = open().map_err(|error| {
            Error::new(ErrorKind::Unreachable, format!("could not open the stream: {error}"))
                .source(error)
        })?;
        let transport: Arc<dyn Transport> = Stream::start(stream, &limits, inbox)?;
        Ok(transport)
    })
}

struct Stream {
    outbox: Arc<Outbox>,
    has_spoken: Arc<AtomicBool>,
    on_close: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    threads: Threads,
}

impl Stream {
    fn start(stream: ByteStream, limits: &Limits, inbox: Arc<dyn Inbox>) -> Result<Arc<Self>> {
        let ByteStream { reader, writer, on_close } = stream;
        let transport = Arc::new(Self {
            outbox: Arc::new(Outbox::new(limits.outgoing)),
            has_spoken: Arc::default(),
            on_close: Mutex::new(on_close),
            threads: Threads::default(),
        });
        let writer_outbox = transport.outbox.clone();
        let (outbox, spoken, limit) =
            (transport.outbox.clone(), transport.has_spoken.clone(), limits.message);
        let threads = &transport.threads;
        let started = threads
            .spawn("umcp-writer", move || lines::write_stream(&writer_outbox, writer))
            .and_then(|_| {
                threads.spawn("umcp-reader", move || {
                    let why = lines::read_stream(reader, &*inbox, limit, || {
                        spoken.store(true, Ordering::Relaxed)
                    });
                    outbox.discard();
                    inbox.ended(
                        None,
                        why.unwrap_or_else(|| {
                            Error::new(ErrorKind::Disconnected, "the server closed the connection")
                        }),
                    );
                })
            });
        match started {
            Ok(_) => Ok(transport),
            Err(error) => {
                transport.outbox.discard();
                Err(Error::new(ErrorKind::Unreachable, format!("no thread for it: {error}")))
            }
        }
    }
}

impl Transport for Stream {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        self.outbox.post(message)
    }

    fn abandon(&self, id: u64) -> Abandoned {
        self.outbox.abandon(id)
    }

    fn facts(&self) -> Facts {
        Facts {
            has_spoken: self.has_spoken.load(Ordering::Relaxed),
            answers_or_fails: false,
            mirrors: false,
            restarts: false,
        }
    }

    fn close(&self, until: Deadline) -> CloseReport {
        self.outbox.close();
        let end = self.on_close.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The user's code: its panic is its own, the threads are ours.
        let panicked = end.is_some_and(|end| catch_unwind(AssertUnwindSafe(end)).is_err());
        let left_behind = !self.threads.join(until) || panicked;
        CloseReport { left_behind, ..CloseReport::default() }
    }
}
