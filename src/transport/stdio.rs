//! A server as a child process: messages as lines on its stdin and stdout.
//!
//! Three threads serve the three pipes. They end because the pipes do.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limits, Timeouts};
use crate::process::{CommandLine, Pipes, Process, StderrTail};
use crate::threads::Threads;
use crate::transport::lines::{self, Outbox};
use crate::transport::{Abandoned, CloseReport, Connect, Facts, Inbox, Outgoing, Transport};

/// A server that ends closes its pipes first; its status and the rest of its stderr follow within
/// this time, or never.
const LAST_WORDS: Duration = Duration::from_millis(500);

struct Stdio {
    process: Arc<Process>,
    outbox: Arc<Outbox>,
    has_spoken: Arc<AtomicBool>,
    threads: Threads,
    timeouts: Timeouts,
}

/// A way to start the server, as often as needed.
pub(crate) fn connect(line: CommandLine, limits: Limits, timeouts: Timeouts) -> Box<Connect> {
    Box::new(move |inbox| {
        let transport: Arc<dyn Transport> = Stdio::start(&line, &limits, &timeouts, inbox)?;
        Ok(transport)
    })
}

impl Stdio {
    fn start(
        line: &CommandLine,
        limits: &Limits,
        timeouts: &Timeouts,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Arc<Self>> {
        let (process, pipes) = Process::spawn(line)?;
        log::debug!("{}: started, process {}", line.name(), process.id());
        let transport = Arc::new(Self {
            process: Arc::new(process),
            outbox: Arc::new(Outbox::new(limits.outgoing)),
            has_spoken: Arc::default(),
            threads: Threads::default(),
            timeouts: timeouts.clone(),
        });
        let started = transport.start_threads(line, limits, inbox, pipes);
        if let Err(error) = started {
            transport.close(Deadline::after(Duration::ZERO));
            return Err(Error::new(ErrorKind::Unreachable, format!("no thread for it: {error}")));
        }
        Ok(transport)
    }

    fn start_threads(
        &self,
        line: &CommandLine,
        limits: &Limits,
        inbox: Arc<dyn Inbox>,
        pipes: Pipes,
    ) -> io::Result<()> {
        let Pipes { stdin, stdout, stderr, withheld } = pipes;
        let outbox = self.outbox.clone();
        let process = self.process.clone();
        self.threads.spawn("umcp-writer", move || {
            if !lines::write(&outbox, stdin) {
                // Nobody reads any more: perhaps the server has ended, and something it started
                // holds its stdout open. Seeing that it has ends that too.
                process.wait(Deadline::after(LAST_WORDS));
            }
        })?;

        let tail = Arc::new(StderrTail::new(limits.stderr_tail));
        let (draining, drained) = crossbeam_channel::bounded::<()>(0);
        let (kept, spoken, name) = (tail.clone(), self.has_spoken.clone(), line.name());
        self.threads.spawn("umcp-stderr", move || {
            let _draining = draining;
            kept.drain(stderr, &name, || spoken.store(true, Ordering::Relaxed));
        })?;

        let (process, outbox, spoken) =
            (self.process.clone(), self.outbox.clone(), self.has_spoken.clone());
        let message_limit = limits.message;
        self.threads.spawn("umcp-reader", move || {
            let mut has_answered = false;
            let why = lines::read(stdout, &*inbox, message_limit, || {
                has_answered = true;
                spoken.store(true, Ordering::Relaxed);
            });
            let until = Deadline::after(LAST_WORDS);
            if why.is_none() && process.wait(until) {
                let _ = drained.recv_deadline(until.instant());
            }
            outbox.discard();
            let tail = tail.text();
            // A server that says why it ends needs no guesses.
            let is_guess = !has_answered && tail.trim().is_empty();
            let withheld = if is_guess { &withheld } else { &[][..] };
            let error = why.unwrap_or_else(|| ended(&process, withheld));
            inbox.ended(None, error.exit(process.status(), &tail));
        })?;
        Ok(())
    }
}

fn ended(process: &Process, withheld: &[String]) -> Error {
    if !process.has_ended() {
        let text = "the server closed its stdout but still runs";
        let error = Error::new(ErrorKind::Disconnected, text);
        return error.hint("It cannot be used any more; open a new client");
    }
    let how = process.status().map_or("nobody knows how".to_owned(), |status| status.to_string());
    let mut hint = "Its stderr may say why; run its command by hand to see".to_owned();
    if !withheld.is_empty() {
        const MOST_NAMES: usize = 8;
        let names: Vec<&str> = withheld.iter().map(String::as_str).take(MOST_NAMES).collect();
        let more = if withheld.len() > MOST_NAMES { ", …" } else { "" };
        hint += &format!(
            ". If it misses a variable: it did not see {} of this program's ({}{more}); `env` passes \
             one, `inherit_env` all",
            withheld.len(),
            names.join(", ")
        );
    }
    Error::new(ErrorKind::Disconnected, format!("the server ended ({how})")).hint(hint)
}

impl Transport for Stdio {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        self.outbox.post(message)
    }

    fn abandon(&self, id: u64) -> Abandoned {
        self.outbox.abandon(id)
    }

    fn facts(&self) -> Facts {
        Facts { has_spoken: self.has_spoken.load(Ordering::Relaxed), modern_only: false }
    }

    /// STDIO-11: end of stdin, then SIGTERM, then SIGKILL, each after a grace.
    fn close(&self, until: Deadline) -> CloseReport {
        let step = |grace: Duration| Deadline::after(grace).min(until);
        self.outbox.close();
        let forced = !self.process.wait(step(self.timeouts.close_grace));
        if forced {
            // The writer may hold stdin open over what the server never read.
            self.outbox.discard();
            self.process.terminate();
            if !self.process.wait(step(self.timeouts.kill_grace)) {
                self.process.kill();
            }
        }
        let exit_status = self.process.status();
        const PIPES_END: Duration = Duration::from_secs(1);
        let left_behind = !self.threads.join(Deadline::after(PIPES_END));
        CloseReport { exit_status, forced, left_behind }
    }
}
