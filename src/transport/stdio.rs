//! A server as a child process: messages as lines on its stdin and stdout.
//!
//! Three threads serve the three pipes. They end because the pipes do.

use std::io;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Limits, Timeouts};
use crate::process::{
    CommandLine, Exit, Interrupt, PipeReader, PipeWriter, Pipes, Process, Ready, StderrTail,
    line_queue,
};
use crate::threads::Threads;
use crate::transport::lines::{self, Line, Lines, Outbox};
use crate::transport::turns::{self, Event, Source, Turns};
use crate::transport::{
    Abandoned, CloseReport, Connect, Delivery, Facts, Inbox, Outgoing, Slot, Transport,
};

/// A server that ends closes its pipes first; its status and the rest of its stderr follow within
/// this time, or never.
const LAST_WORDS: Duration = Duration::from_millis(500);

struct Stdio {
    process: Arc<Process>,
    /// Until it is closed.
    interrupt: Mutex<Option<Arc<Interrupt>>>,
    outbox: Arc<Outbox>,
    turns: Arc<Turns<Reader>>,
    has_spoken: Arc<AtomicBool>,
    account: Arc<Account>,
    threads: Threads,
    timeouts: Timeouts,
}

/// How to start a server and what to allow it.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) line: CommandLine,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    /// Callers read and write themselves where pipes allow it.
    pub(crate) fast_path: bool,
}

/// A way to start the server, as often as needed.
pub(crate) fn connect(launch: Launch) -> Box<Connect> {
    Box::new(move |inbox| {
        let transport: Arc<dyn Transport> = Stdio::start(&launch, inbox)?;
        Ok(transport)
    })
}

impl Stdio {
    fn start(launch: &Launch, inbox: Arc<dyn Inbox>) -> Result<Arc<Self>> {
        let Launch { line, limits, timeouts, fast_path } = launch;
        let (process, pipes) = Process::spawn(line)?;
        log::debug!("{}: started, process {}", line.name(), process.id());
        let is_fast = *fast_path && PipeWriter::NEVER_BLOCKS;
        let Pipes { stdin, stdout, stderr, interrupt, withheld } = pipes;
        let stdin = Arc::new(stdin);
        let outbox = match is_fast {
            true => Outbox::direct(limits.outgoing, stdin.clone()),
            false => Outbox::new(limits.outgoing),
        };
        let (process, has_spoken) = (Arc::new(process), Arc::<AtomicBool>::default());
        let reader = Reader {
            pipe: stdout,
            exit: process.exit(),
            ended: None,
            process: process.clone(),
            chunk: Vec::with_capacity(lines::CHUNK),
            lines: Lines::new(limits.message),
            inbox: inbox.clone(),
            has_spoken: has_spoken.clone(),
            has_written: false,
            answered: Vec::new(),
        };
        let command = line.to_string();
        let account = Arc::new(Account { command, tail: StderrTail::new(limits.stderr_tail) });
        let transport = Arc::new(Self {
            process,
            interrupt: Mutex::new(Some(interrupt)),
            outbox: Arc::new(outbox),
            turns: Arc::new(Turns::new(reader, is_fast)),
            has_spoken,
            account: account.clone(),
            threads: Threads::default(),
            timeouts: timeouts.clone(),
        });
        let started = transport
            .start_writer(stdin, inbox.clone())
            .and_then(|()| transport.start_stderr(line, stderr))
            .and_then(|drained| transport.start_reader(Epilogue { account, drained, withheld }));
        if let Err(error) = started {
            transport.close(Deadline::after(Duration::ZERO));
            return Err(Error::new(ErrorKind::Unreachable, format!("no thread for it: {error}")));
        }
        Ok(transport)
    }

    fn interrupt(&self) -> MutexGuard<'_, Option<Arc<Interrupt>>> {
        self.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_writer(&self, stdin: Arc<PipeWriter>, inbox: Arc<dyn Inbox>) -> io::Result<()> {
        let (process, outbox) = (self.process.clone(), self.outbox.clone());
        let account = self.account.clone();
        self.threads.spawn("umcp-writer", move || {
            let is_whole = lines::write(&outbox, |batch| stdin.write_all(batch));
            // A server that has ended no longer reads either: whoever reads from it says more.
            if !is_whole && !process.wait(Deadline::after(LAST_WORDS)) {
                let text = "the server closed its stdin but still runs";
                let error = Error::new(ErrorKind::Disconnected, text).hint(OPEN_ANOTHER);
                inbox.ended(None, account.of(error, None));
            }
        })?;
        Ok(())
    }

    /// What is returned disconnects at the end of stderr.
    fn start_stderr(&self, line: &CommandLine, stderr: PipeReader) -> io::Result<Receiver<()>> {
        let mut lines = None;
        if line.stderr.is_used() {
            let (writer, reader) = line_queue();
            let (sink, name) = (line.stderr.clone(), line.name());
            self.threads.spawn("umcp-lines", move || reader.hand_to(&sink, &name))?;
            lines = Some(writer);
        }
        let (draining, drained) = crossbeam_channel::bounded(0);
        let (spoken, account, name) = (self.has_spoken.clone(), self.account.clone(), line.name());
        self.threads.spawn("umcp-stderr", move || {
            let _draining = draining;
            account.tail.drain(stderr, &name, lines, || spoken.store(true, Ordering::Relaxed));
        })?;
        Ok(drained)
    }

    fn start_reader(&self, epilogue: Epilogue) -> io::Result<()> {
        let (turns, outbox) = (self.turns.clone(), self.outbox.clone());
        self.threads.spawn("umcp-reader", move || {
            if let Some((reader, why)) = turns.serve() {
                let error = epilogue.tell(&reader, why);
                outbox.discard();
                reader.inbox.ended(None, error);
            }
        })?;
        Ok(())
    }
}

/// What reads the server's stdout, for all.
struct Reader {
    pipe: PipeReader,
    exit: Option<Exit>,
    process: Arc<Process>,
    /// The process has ended, and until then what it has left in the pipe is read.
    ended: Option<Deadline>,
    chunk: Vec<u8>,
    lines: Lines,
    inbox: Arc<dyn Inbox>,
    /// To stdout or stderr.
    has_spoken: Arc<AtomicBool>,
    /// To stdout.
    has_written: bool,
    /// Requests that have been answered.
    answered: Vec<u64>,
}

impl Source for Reader {
    fn read(&mut self, most: Duration) -> Event {
        let most = match self.ended {
            Some(until) if until.has_passed() => return Event::Ended(None),
            Some(until) => {
                // Its status is asked for, and with that its group ends.
                self.process.has_ended();
                most.min(until.remaining())
            }
            None => most,
        };
        let ready = match most <= turns::MOMENT {
            true => self.pipe.wait_briefly(most),
            false => self.pipe.wait(self.exit.as_ref(), most),
        };
        match ready {
            Ok(Ready::Yes) => {}
            Ok(Ready::Exited) => {
                self.exit = None;
                self.ended = Some(Deadline::after(LAST_WORDS));
                return Event::Exited;
            }
            Ok(Ready::Woken | Ready::Passed) => return Event::Went,
            Ok(Ready::Stopped) => return Event::Stopped,
            Err(error) => return Event::Ended(Some(error)),
        }
        let Self { pipe, chunk, lines, inbox, answered, .. } = self;
        let mut deliver = |line: Line| answered.extend(line.deliver(&**inbox));
        chunk.clear();
        let read = match lines.rest_of_line() {
            Some(line) => pipe.read_now(line),
            None => pipe.read_now(chunk),
        };
        match read {
            Ok(None) => {}
            Ok(Some(0)) => {
                lines.finish(&mut deliver);
                return Event::Ended(None);
            }
            Ok(Some(bytes)) => {
                if !self.has_written {
                    self.has_written = true;
                    self.has_spoken.store(true, Ordering::Relaxed);
                }
                match chunk.is_empty() {
                    true => lines.arrived(bytes, &mut deliver),
                    false => lines.feed(chunk, &mut deliver),
                }
            }
            Err(error) => return Event::Ended(Some(error)),
        }
        Event::Went
    }

    fn answered(&mut self) -> &mut Vec<u64> {
        &mut self.answered
    }
}

/// What can be said of a server whenever something has gone wrong.
struct Account {
    command: String,
    tail: StderrTail,
}

impl Account {
    /// The server has written nothing to stderr.
    fn is_quiet(&self) -> bool {
        self.tail.text().trim().is_empty()
    }

    fn of(&self, error: Error, status: Option<ExitStatus>) -> Error {
        error.exit(&self.command, status, &self.tail.text())
    }
}

/// What is needed to say why a server has ended.
struct Epilogue {
    account: Arc<Account>,
    drained: Receiver<()>,
    withheld: Vec<String>,
}

impl Epilogue {
    fn tell(&self, reader: &Reader, why: Option<io::Error>) -> Error {
        let process = &reader.process;
        let until = Deadline::after(LAST_WORDS);
        if why.is_none() && process.wait(until) {
            let _ = self.drained.recv_deadline(until.instant());
        }
        let error = why.map_or_else(|| ended(process), lines::could_not_read);
        // A server that says why it ends needs no guesses.
        let error = match process.has_ended() && self.account.is_quiet() {
            true if reader.has_written => error.hint(BY_HAND),
            true => error.hint(perhaps_withheld(&self.withheld)),
            false => error,
        };
        self.account.of(error, process.status())
    }
}

const OPEN_ANOTHER: &str = "It cannot be used any more; open a new client";
const BY_HAND: &str = "Run its command by hand to see why";

fn ended(process: &Process) -> Error {
    if !process.has_ended() {
        let text = "the server closed its stdout but still runs";
        let error = Error::new(ErrorKind::Disconnected, text);
        return error.hint(OPEN_ANOTHER);
    }
    let how = process.status().map_or("nobody knows how".to_owned(), |status| status.to_string());
    Error::new(ErrorKind::Disconnected, format!("the server ended ({how})"))
}

fn perhaps_withheld(withheld: &[String]) -> String {
    const MOST_NAMES: usize = 8;
    if withheld.is_empty() {
        return BY_HAND.to_owned();
    }
    let names: Vec<&str> = withheld.iter().map(String::as_str).take(MOST_NAMES).collect();
    let more = if withheld.len() > MOST_NAMES { ", …" } else { "" };
    format!(
        "{BY_HAND}. If it misses a variable: it did not see {} of this program's ({}{more}); `env` \
         passes one, `inherit_env` all",
        withheld.len(),
        names.join(", ")
    )
}

impl Transport for Stdio {
    fn post(&self, message: Outgoing<'_>) -> Result<()> {
        self.outbox.post(message)
    }

    fn next(&self, id: u64, slot: &Slot, until: Deadline) -> Option<Delivery> {
        self.turns.next(id, slot, until)
    }

    fn wake(&self) {
        if !self.turns.is_taken() {
            return;
        }
        if let Some(interrupt) = &*self.interrupt() {
            interrupt.wake();
        }
    }

    fn abandon(&self, id: u64) -> Abandoned {
        self.outbox.abandon(id)
    }

    fn overdue(&self, error: Error) -> Error {
        match self.account.is_quiet() {
            true => error,
            false => self.account.of(error, None),
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            has_spoken: self.has_spoken.load(Ordering::Relaxed),
            answers_or_fails: false,
            mirrors: false,
            restarts: false,
        }
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
        self.turns.close();
        const PIPES_END: Duration = Duration::from_millis(500);
        let left_behind = !self.threads.join(Deadline::after(PIPES_END));
        let interrupt = self.interrupt().take();
        if let Some(interrupt) = interrupt.filter(|_| left_behind) {
            // Something outside the group holds the pipes: it is beyond reach, our threads are not.
            interrupt.stop();
            self.threads.join(Deadline::after(PIPES_END));
        }
        CloseReport { exit_status, forced, left_behind }
    }
}
