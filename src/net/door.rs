//! Opening connections, which nothing can interrupt: the lookup of a name and `connect`.
//!
//! Every lane has a door, and all doors of one host keep to its rules: a lane that is not allowed to
//! connect does not even look the name up; while an abandoned attempt is still under way nobody
//! begins another, so that at most one thread waits for a host that does not answer; and until the
//! host has answered once, lanes try one at a time.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport, time,
};

use crate::deadline::Deadline;

use super::one_piece::OnePiece;

/// What is known of attempts to connect to one host.
#[derive(Default)]
pub(crate) struct Host {
    attempts: Mutex<Attempts>,
    changed: Condvar,
}

#[derive(Default)]
struct Attempts {
    under_way: usize,
    /// Of those, the ones that nobody waits for any more.
    abandoned: usize,
    /// The last attempt succeeded.
    answers: bool,
}

/// One lane's way to a connection.
pub(super) struct Door {
    host: Arc<Host>,
    may_connect: AtomicBool,
    /// A connection would have been needed, and was not allowed.
    was_refused: AtomicBool,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stage {
    /// An attempt is under way.
    is_connecting: bool,
    /// There is a connection on which something may have been sent.
    is_through: bool,
    is_abandoned: bool,
    until: Option<Deadline>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn left() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::NotConnected, "the exchange was abandoned"))
}

impl Door {
    pub(super) fn new(host: &Arc<Host>) -> Self {
        Self {
            host: host.clone(),
            may_connect: AtomicBool::new(false),
            was_refused: AtomicBool::new(false),
            stage: Mutex::default(),
        }
    }

    /// Another exchange is about to begin.
    pub(super) fn reset(&self) {
        locked(&self.stage).is_through = false;
    }

    /// Something is about to be sent over an open connection (`may_connect` is unset), or over one
    /// that has yet to be opened. It waits until `until` at most for its turn to connect.
    pub(super) fn begin(&self, may_connect: bool, until: Deadline) {
        self.may_connect.store(may_connect, Ordering::Relaxed);
        self.was_refused.store(false, Ordering::Relaxed);
        let mut stage = locked(&self.stage);
        stage.until = Some(until);
        stage.is_through |= !may_connect;
    }

    pub(super) fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    /// Nobody waits for the exchange any more. Returns whether something of it may have been sent.
    pub(super) fn abandon(&self) -> bool {
        let mut attempts = locked(&self.host.attempts);
        let mut stage = locked(&self.stage);
        if !stage.is_abandoned && stage.is_connecting {
            attempts.abandoned += 1;
        }
        stage.is_abandoned = true;
        let may_have_sent = stage.is_through;
        drop((stage, attempts));
        self.host.changed.notify_all();
        may_have_sent
    }

    /// Waits for its turn.
    fn enter(&self) -> Result<(), Error> {
        let mut attempts = locked(&self.host.attempts);
        loop {
            let mut stage = locked(&self.stage);
            if stage.is_connecting {
                return Ok(());
            }
            let until = stage.until.filter(|until| !until.has_passed());
            let Some(until) = until.filter(|_| !stage.is_abandoned) else { return Err(left()) };
            let is_free = attempts.under_way == 0 || attempts.answers;
            if is_free && attempts.abandoned == 0 {
                stage.is_connecting = true;
                attempts.under_way += 1;
                return Ok(());
            }
            drop(stage);
            let waited = self.host.changed.wait_timeout(attempts, until.remaining());
            attempts = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The attempt, if there was one, is over.
    pub(super) fn leave(&self, answers: bool) {
        let mut attempts = locked(&self.host.attempts);
        let mut stage = locked(&self.stage);
        if !std::mem::take(&mut stage.is_connecting) {
            return;
        }
        attempts.under_way = attempts.under_way.saturating_sub(1);
        attempts.answers = answers;
        stage.is_through |= answers;
        if stage.is_abandoned {
            attempts.abandoned = attempts.abandoned.saturating_sub(1);
        }
        drop((stage, attempts));
        self.host.changed.notify_all();
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// Looks names up on the thread that needs them, and only where a connection may be opened: ureq
/// asks for every request, also over an open connection.
#[derive(Debug)]
pub(super) struct Lookup(pub(super) Arc<Door>);

impl Resolver for Lookup {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        if !self.0.may_connect.load(Ordering::Relaxed) {
            return Ok(self.empty());
        }
        self.0.enter()?;
        // With a timeout it would use, and leave behind, a thread for each lookup.
        let after = time::Duration::NotHappening;
        DefaultResolver::default().resolve(uri, config, NextTimeout { after, ..timeout })
    }
}

/// Connects as ureq does, if a connection may be opened.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) door: Arc<Door>,
    pub(super) inner: DefaultConnector,
}

impl Connector for Opener {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        if !self.door.may_connect.load(Ordering::Relaxed) {
            self.door.was_refused.store(true, Ordering::Relaxed);
            self.door.reset();
            return Err(left());
        }
        self.door.enter()?;
        let connected = self.inner.connect(details, chained);
        self.door.leave(connected.is_ok());
        Ok(connected?.map(|connection| Box::new(OnePiece::new(connection)) as Self::Out))
    }
}
