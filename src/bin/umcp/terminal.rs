//! The terminal while its user is asked for something.

#[cfg(unix)]
pub(crate) use unix::Asking;

/// There is no way to hide what is typed.
#[cfg(not(unix))]
pub(crate) struct Asking;

#[cfg(not(unix))]
impl Asking {
    pub(crate) fn new(_is_secret: bool) -> Self {
        Self
    }

    pub(crate) fn is_hidden(&self) -> bool {
        false
    }
}

#[cfg(unix)]
mod unix {
    use std::io;
    use std::thread::{self, JoinHandle};

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::{Handle, Signals};
    use signal_hook::low_level::emulate_default_handler;

    /// Until it is dropped, a secret that is typed is not shown; also if a signal ends the command,
    /// the terminal is left as it was.
    pub(crate) struct Asking {
        /// As it was before, if something is hidden.
        before: Option<Termios>,
        watch: Option<(Handle, JoinHandle<()>)>,
    }

    impl Asking {
        pub(crate) fn new(is_secret: bool) -> Self {
            let before = tcgetattr(io::stdin()).ok();
            // Also if nothing is hidden: a signal that was watched for once has no effect of its own
            // any more.
            let watch = before.clone().and_then(|before| watch(before).ok());
            let mut asking = Self { before: None, watch };
            // Without somebody to put it back, it stays as it is.
            if let (true, Some(before), Some(_)) = (is_secret, before, &asking.watch) {
                let mut quiet = before.clone();
                quiet.local_modes.remove(LocalModes::ECHO);
                let is_set = tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).is_ok();
                asking.before = is_set.then_some(before);
            }
            asking
        }

        pub(crate) fn is_hidden(&self) -> bool {
            self.before.is_some()
        }
    }

    fn watch(before: Termios) -> io::Result<(Handle, JoinHandle<()>)> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("umcp-asking".to_owned()).spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
                let _ = emulate_default_handler(signal);
            }
        })?;
        Ok((handle, thread))
    }

    impl Drop for Asking {
        fn drop(&mut self) {
            if let Some(before) = &self.before {
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
            }
            if let Some((handle, thread)) = self.watch.take() {
                handle.close();
                let _ = thread.join();
            }
        }
    }
}
