//! Ctrl-C and SIGTERM: the connection is closed, so that nothing of the server stays behind.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::{process, thread};

use umcp::{CancelToken, Client, ClientBuilder, Error, Server};

use crate::complain;
use crate::failure::{Failure, status};

/// Ends the command when a signal says so.
///
/// A thread of its own does: the main one may be inside a write to a pipe that nobody reads.
/// Before there is a connection, signals do what they do to any program.
#[derive(Default)]
pub(crate) struct Interrupt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    has_come: AtomicBool,
    /// Ends connecting.
    token: CancelToken,
    /// Set when connecting has ended; `None` if it failed.
    client: OnceLock<Option<Client>>,
}

impl Interrupt {
    /// Connects to the server, and watches for signals from then on.
    pub(crate) fn open(
        &self,
        builder: ClientBuilder,
        server: Server,
    ) -> Result<Result<Client, Error>, Failure> {
        let shared = self.0.clone();
        signals()
            .and_then(|wait| {
                let watch = move || wait().into_iter().for_each(|signal| shared.end(signal));
                thread::Builder::new().name("umcp-signals".to_owned()).spawn(watch)
            })
            .map_err(|error| Failure::usage(format_args!("cannot handle signals: {error}")))?;
        let opened = builder.cancel_token(&self.0.token).open(server);
        let _ = self.0.client.set(opened.as_ref().ok().cloned());
        Ok(opened)
    }

    /// Whether failures are but what a signal has caused.
    pub(crate) fn has_come(&self) -> bool {
        self.0.has_come.load(Ordering::SeqCst)
    }

    /// Closes the connection, if there is one. Does not return if a signal has come: the other
    /// thread is about to end the process.
    pub(crate) fn finish(&self) {
        if let Some(Some(client)) = self.0.client.get() {
            client.close();
        }
        while self.has_come() {
            thread::park();
        }
    }
}

impl Shared {
    fn end(&self, signal: i32) {
        self.has_come.store(true, Ordering::SeqCst);
        self.token.cancel();
        if let Some(client) = self.client.wait() {
            client.close();
        }
        complain("interrupted");
        process::exit(status::SIGNAL + signal);
    }
}

/// From now on signals do not end the process; returns what waits for the first one.
#[cfg(unix)]
fn signals() -> io::Result<impl FnOnce() -> Option<i32> + Send + 'static> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    Ok(move || signals.forever().next())
}

/// There is only Ctrl-C, and no way to wait for it.
#[cfg(not(unix))]
fn signals() -> io::Result<impl FnOnce() -> Option<i32> + Send + 'static> {
    use signal_hook::consts::SIGINT;
    use std::time::Duration;

    let came = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, came.clone())?;
    Ok(move || {
        while !came.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
        }
        Some(SIGINT)
    })
}
