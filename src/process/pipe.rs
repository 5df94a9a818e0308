//! This program's ends of a child's pipes. On Unix no read or write of theirs blocks: waiting is a
//! matter of its own, has a deadline, and can be ended from another thread, so that nothing that
//! holds the other end holds a thread of ours.

#[cfg(unix)]
pub(super) use unix::timeout;
#[cfg(unix)]
pub(crate) use unix::{Exit, Interrupt, PipeReader, PipeWriter};
#[cfg(windows)]
pub(crate) use windows::{Exit, Interrupt, PipeReader, PipeWriter};

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(windows, allow(dead_code))]
pub(crate) enum Ready {
    /// The pipe: there is something to read, or its end.
    Yes,
    /// [`Interrupt::wake`].
    Woken,
    /// [`Interrupt::stop`].
    Stopped,
    /// The process at the other end has ended.
    Exited,
    /// Time.
    Passed,
}

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use rustix::buffer::spare_capacity;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::{Errno, ioctl_fionbio};

    use super::Ready;

    /// Becomes readable when a process ends.
    pub(crate) type Exit = Arc<OwnedFd>;

    /// Ends waits on pipes from another thread.
    #[derive(Debug)]
    pub(crate) struct Interrupt {
        listener: io::PipeReader,
        /// Ends when stopped, and nothing is ever written to it: macOS tells of an end only who asks
        /// for bytes, and those of a wake are for one reader alone.
        end: io::PipeReader,
        /// Gone once stopped: what listens sees the end.
        senders: Mutex<Option<(io::PipeWriter, io::PipeWriter)>>,
    }

    impl Interrupt {
        pub(crate) fn new() -> io::Result<Self> {
            let (listener, sender) = io::pipe()?;
            ioctl_fionbio(&listener, true)?;
            ioctl_fionbio(&sender, true)?;
            let (end, held) = io::pipe()?;
            Ok(Self { listener, end, senders: Mutex::new(Some((sender, held))) })
        }

        /// Ends one wait of a reader, now or the next.
        pub(crate) fn wake(&self) {
            if let Some((sender, _)) =
                &mut *self.senders.lock().unwrap_or_else(PoisonError::into_inner)
            {
                // A pipe that is full wakes as well.
                let _ = sender.write(&[0]);
            }
        }

        /// Ends every wait, now and later.
        pub(crate) fn stop(&self) {
            drop(self.senders.lock().unwrap_or_else(PoisonError::into_inner).take());
        }

        /// Takes the wakes that have come. Returns whether more can come.
        fn clear(&self) -> bool {
            let mut bytes = [0; 64];
            loop {
                match rustix::io::read(&self.listener, &mut bytes) {
                    Ok(0) => return false,
                    Ok(read) if read == bytes.len() => {}
                    _ => return true,
                }
            }
        }
    }

    /// For `poll`. Longer ones than this makes are not understood everywhere; who waits longer asks
    /// again.
    pub(crate) fn timeout(most: Duration) -> Option<Timespec> {
        const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
        Timespec::try_from(most.min(LONGEST)).ok()
    }

    /// Waits for the pipe, or for what ends the wait. Without `wakes` only a stop does.
    fn wait(
        (pipe, wanted): (BorrowedFd<'_>, PollFlags),
        (interrupt, wakes): (&Interrupt, bool),
        exit: Option<&Exit>,
        most: Duration,
    ) -> io::Result<Ready> {
        let listener = if wakes { &interrupt.listener } else { &interrupt.end };
        let mut fds = [
            PollFd::from_borrowed_fd(pipe, wanted),
            PollFd::new(listener, PollFlags::IN),
            PollFd::from_borrowed_fd(exit.map_or(pipe, |exit| exit.as_fd()), PollFlags::IN),
        ];
        let listened = if exit.is_some() { 3 } else { 2 };
        match poll(fds.get_mut(..listened).unwrap_or_default(), timeout(most).as_ref()) {
            Ok(0) => return Ok(Ready::Passed),
            Ok(_) => {}
            // A signal of the host's: whoever waits asks again.
            Err(Errno::INTR) => return Ok(Ready::Woken),
            Err(error) => return Err(error.into()),
        }
        let [pipe, listener, exit] = fds.map(|fd| fd.revents());
        if !listener.is_empty() {
            return Ok(if wakes && interrupt.clear() { Ready::Woken } else { Ready::Stopped });
        }
        match pipe.is_empty() && !exit.is_empty() {
            true => Ok(Ready::Exited),
            false => Ok(Ready::Yes),
        }
    }

    fn never_blocking(pipe: OwnedFd) -> io::Result<OwnedFd> {
        ioctl_fionbio(&pipe, true)?;
        Ok(pipe)
    }

    /// The end that reads.
    #[derive(Debug)]
    pub(crate) struct PipeReader {
        pipe: OwnedFd,
        interrupt: Arc<Interrupt>,
    }

    impl PipeReader {
        pub(crate) fn new(
            pipe: impl Into<OwnedFd>,
            interrupt: &Arc<Interrupt>,
        ) -> io::Result<Self> {
            Ok(Self { pipe: never_blocking(pipe.into())?, interrupt: interrupt.clone() })
        }

        /// Waits until there is something to read, for `most` at most, and for nothing else.
        pub(crate) fn wait_briefly(&self, most: Duration) -> io::Result<Ready> {
            let mut pipe = [PollFd::new(&self.pipe, PollFlags::IN)];
            match poll(&mut pipe, timeout(most).as_ref()) {
                Ok(0) | Err(Errno::INTR) => Ok(Ready::Passed),
                Ok(_) => Ok(Ready::Yes),
                Err(error) => Err(error.into()),
            }
        }

        /// Waits until there is something to read, or the process has ended, for `most` at most.
        pub(crate) fn wait(&self, exit: Option<&Exit>, most: Duration) -> io::Result<Ready> {
            wait((self.pipe.as_fd(), PollFlags::IN), (&self.interrupt, true), exit, most)
        }

        /// Appends what is there, as far as there is room for it. `None` if nothing is, 0 at the
        /// end.
        pub(crate) fn read_now(&mut self, into: &mut Vec<u8>) -> io::Result<Option<usize>> {
            match rustix::io::read(&self.pipe, spare_capacity(into)) {
                Ok(read) => Ok(Some(read)),
                Err(Errno::AGAIN | Errno::INTR) => Ok(None),
                Err(error) => Err(error.into()),
            }
        }
    }

    /// Waits for what comes next. A stop is an end.
    impl Read for PipeReader {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            loop {
                let pipe = (self.pipe.as_fd(), PollFlags::IN);
                match wait(pipe, (&self.interrupt, false), None, Duration::MAX)? {
                    Ready::Stopped => return Ok(0),
                    Ready::Yes => match rustix::io::read(&self.pipe, &mut *into) {
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        read => return Ok(read?),
                    },
                    _ => {}
                }
            }
        }
    }

    /// The end that writes.
    #[derive(Debug)]
    pub(crate) struct PipeWriter {
        pipe: OwnedFd,
        interrupt: Arc<Interrupt>,
    }

    impl PipeWriter {
        /// Whether [`write_now`](Self::write_now) can write anything.
        pub(crate) const NEVER_BLOCKS: bool = true;

        pub(crate) fn new(
            pipe: impl Into<OwnedFd>,
            interrupt: &Arc<Interrupt>,
        ) -> io::Result<Self> {
            Ok(Self { pipe: never_blocking(pipe.into())?, interrupt: interrupt.clone() })
        }

        /// Writes what the pipe takes without blocking, which may be nothing.
        pub(crate) fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
            match rustix::io::write(&self.pipe, bytes) {
                Ok(written) => Ok(written),
                Err(Errno::AGAIN | Errno::INTR) => Ok(0),
                Err(error) => Err(error.into()),
            }
        }

        /// Writes everything, waiting for the pipe as long as it takes.
        pub(crate) fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
            loop {
                let written = self.write_now(bytes)?;
                bytes = bytes.get(written..).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                let pipe = (self.pipe.as_fd(), PollFlags::OUT);
                let ready = wait(pipe, (&self.interrupt, false), None, Duration::MAX)?;
                if ready == Ready::Stopped {
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed"));
                }
            }
        }
    }
}

/// Pipes of Windows block, and nothing else can be asked of them: a thread that reads or writes one
/// ends when the other end does.
#[cfg(windows)]
mod windows {
    use std::io::{self, Read, Write};
    use std::process::ChildStdin;
    use std::sync::Arc;
    use std::time::Duration;

    use super::Ready;

    /// There is none.
    pub(crate) enum Exit {}

    /// Ends nothing: the end of the job that the process is in does.
    pub(crate) struct Interrupt;

    impl Interrupt {
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn wake(&self) {}

        pub(crate) fn stop(&self) {}
    }

    /// The end that reads.
    pub(crate) struct PipeReader(Box<dyn Read + Send>);

    impl PipeReader {
        pub(crate) fn new(
            pipe: impl Read + Send + 'static,
            _interrupt: &Arc<Interrupt>,
        ) -> io::Result<Self> {
            Ok(Self(Box::new(pipe)))
        }

        pub(crate) fn wait_briefly(&self, _most: Duration) -> io::Result<Ready> {
            Ok(Ready::Yes)
        }

        pub(crate) fn wait(&self, _exit: Option<&Exit>, _most: Duration) -> io::Result<Ready> {
            Ok(Ready::Yes)
        }

        /// Appends what comes next, which blocks until something does. 0 at the end.
        pub(crate) fn read_now(&mut self, into: &mut Vec<u8>) -> io::Result<Option<usize>> {
            /// As much as a pipe holds. All of the room would be written over for every read, and a
            /// long line has much.
            const MOST: usize = 64 * 1024;
            let start = into.len();
            into.resize(into.capacity().min(start + MOST), 0);
            let read = self.0.read(into.get_mut(start..).unwrap_or_default());
            into.truncate(start + *read.as_ref().unwrap_or(&0));
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
                read => read.map(Some),
            }
        }
    }

    impl Read for PipeReader {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }

    /// The end that writes.
    pub(crate) struct PipeWriter(ChildStdin);

    impl PipeWriter {
        /// Whether [`write_now`](Self::write_now) writes anything.
        pub(crate) const NEVER_BLOCKS: bool = false;

        pub(crate) fn new(pipe: ChildStdin, _interrupt: &Arc<Interrupt>) -> io::Result<Self> {
            Ok(Self(pipe))
        }

        pub(crate) fn write_now(&self, _bytes: &[u8]) -> io::Result<usize> {
            Ok(0)
        }

        /// Writes everything, which blocks as long as it takes.
        pub(crate) fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
            (&self.0).write_all(bytes)
        }
    }
}
