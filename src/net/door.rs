//! Opening connections, which nothing can interrupt: the lookup of a name and `connect`.
//!
//! Every lane has a door, and all doors of one host keep to its rules: a lane that is not allowed to
//! connect does not even look the name up; while an abandoned attempt is still under way nobody
//! begins another, so that at most one thread waits for a host that does not answer; and until the
//! host has answered once, lanes try one at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport, time,
};
use ureq::{Error, Timeout};

use crate::deadline::Deadline;

use super::one_piece::OnePiece;

/// What is known of attempts to connect to one host.
#[derive(Default)]
pub(crate) struct Host {
    attempts: Mutex<Attempts>,
    changed: Condvar,
}

impl Host {
    /// That of a URL, which all of this program's clients share.
    pub(crate) fn of(url: &Uri) -> Arc<Self> {
        static HOSTS: Mutex<BTreeMap<String, Weak<Host>>> = Mutex::new(BTreeMap::new());
        let scheme = url.scheme_str().unwrap_or_default();
        let authority = url.authority().map(|it| it.as_str().to_ascii_lowercase());
        let name = format!("{scheme}://{}", authority.unwrap_or_default());
        let mut hosts = locked(&HOSTS);
        if let Some(host) = hosts.get(&name).and_then(Weak::upgrade) {
            return host;
        }
        hosts.retain(|_, host| host.strong_count() > 0);
        let host = Arc::new(Self::default());
        hosts.insert(name, Arc::downgrade(&host));
        host
    }
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
    /// The one that was open is being used, if it still is.
    uses_open: bool,
    is_abandoned: bool,
    until: Option<Deadline>,
}

impl Stage {
    fn may_have_sent(self) -> bool {
        self.is_through || self.uses_open
    }
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
        let mut stage = locked(&self.stage);
        (stage.is_through, stage.uses_open) = (false, false);
    }

    /// Something is about to be sent over an open connection (`may_connect` is unset), or over one
    /// that has yet to be opened. It waits until `until` at most for its turn to connect.
    pub(super) fn begin(&self, may_connect: bool, until: Deadline) {
        self.may_connect.store(may_connect, Ordering::Relaxed);
        self.was_refused.store(false, Ordering::Relaxed);
        let mut stage = locked(&self.stage);
        stage.until = Some(until);
        stage.is_through |= std::mem::replace(&mut stage.uses_open, !may_connect);
    }

    /// A connection would be needed, and is not allowed: nothing was sent over the one that was.
    fn refuse(&self) {
        self.was_refused.store(true, Ordering::Relaxed);
        locked(&self.stage).uses_open = false;
    }

    pub(super) fn was_refused(&self) -> bool {
        self.was_refused.load(Ordering::Relaxed)
    }

    /// Whether something of the exchange may have been sent.
    pub(super) fn may_have_sent(&self) -> bool {
        locked(&self.stage).may_have_sent()
    }

    /// Nobody waits for the exchange any more. Returns whether something of it may have been sent.
    pub(super) fn abandon(&self) -> bool {
        let mut attempts = locked(&self.host.attempts);
        let mut stage = locked(&self.stage);
        if !stage.is_abandoned && stage.is_connecting {
            attempts.abandoned += 1;
        }
        stage.is_abandoned = true;
        let may_have_sent = stage.may_have_sent();
        drop((stage, attempts));
        self.host.changed.notify_all();
        may_have_sent
    }

    /// Waits for its turn.
    fn enter(&self) -> Result<(), Error> {
        let mut attempts = locked(&self.host.attempts);
        loop {
            let mut stage = locked(&self.stage);
            // A proxy's connection is opened within that to the server.
            if stage.is_connecting {
                return Ok(());
            }
            let Some(until) = stage.until.filter(|_| !stage.is_abandoned) else {
                return Err(left());
            };
            if until.has_passed() {
                return Err(Error::Timeout(Timeout::Connect));
            }
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

    /// The lookup or the attempt is over. Whether the host answers, if that shows it.
    fn leave(&self, answers: Option<bool>) {
        let mut attempts = locked(&self.host.attempts);
        let mut stage = locked(&self.stage);
        if !std::mem::take(&mut stage.is_connecting) {
            return;
        }
        attempts.under_way = attempts.under_way.saturating_sub(1);
        attempts.answers = answers.unwrap_or(attempts.answers);
        stage.is_through |= answers == Some(true);
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
        let timeout = NextTimeout { after, ..timeout };
        let found = DefaultResolver::default().resolve(uri, config, timeout);
        self.0.leave(found.is_err().then_some(false));
        found
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
            self.door.refuse();
            return Err(left());
        }
        self.door.enter()?;
        let connected = self.inner.connect(details, chained);
        self.door.leave(Some(connected.is_ok()));
        Ok(connected?.map(|connection| Box::new(OnePiece::new(connection)) as Self::Out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::{Receiver, Sender, unbounded};

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(30))
    }

    fn passed() -> Deadline {
        Deadline::after(Duration::ZERO)
    }

    /// A door through which an exchange is about to connect, until then at most.
    fn door(host: &Arc<Host>, until: Deadline) -> Arc<Door> {
        let door = Arc::new(Door::new(host));
        door.begin(true, until);
        door
    }

    fn attempts(host: &Host) -> (usize, usize, bool) {
        let attempts = locked(&host.attempts);
        (attempts.under_way, attempts.abandoned, attempts.answers)
    }

    fn is_timeout(entered: Result<(), Error>) -> bool {
        matches!(entered, Err(Error::Timeout(_)))
    }

    fn is_left(entered: Result<(), Error>) -> bool {
        matches!(entered, Err(Error::Io(error)) if error.kind() == io::ErrorKind::NotConnected)
    }

    /// Enters on a thread of its own, and says so under its name.
    fn enter(door: &Arc<Door>, name: &'static str, said: &Sender<&'static str>) {
        let (door, said) = (door.clone(), said.clone());
        thread::spawn(move || {
            door.enter().unwrap();
            said.send(name).unwrap();
        });
    }

    fn next(said: &Receiver<&'static str>) -> &'static str {
        said.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    #[test]
    fn a_host_is_the_same_for_all_that_are_connected_to_it() {
        let of = |url: &str| Host::of(&url.parse().unwrap());
        let host = of("http://one.invalid:81/mcp");
        assert!(Arc::ptr_eq(&host, &of("http://ONE.invalid:81/other?x=y")));
        for other in ["http://one.invalid/", "https://one.invalid:81/", "http://two.invalid:81/"] {
            assert!(!Arc::ptr_eq(&host, &of(other)), "{other}");
        }
        locked(&host.attempts).answers = true;
        drop(host);
        assert!(!locked(&of("http://one.invalid:81/mcp").attempts).answers, "nobody kept it");
    }

    #[test]
    fn one_at_a_time_connects_until_the_host_has_answered() {
        let host = Arc::new(Host::default());
        let [first, second, third] = [(); 3].map(|()| door(&host, soon()));
        let (said, heard) = unbounded();
        first.enter().unwrap();
        // It has its turn already: the lookup and the connection are one attempt.
        first.enter().unwrap();
        assert_eq!(attempts(&host), (1, 0, false));
        assert!(is_timeout(door(&host, passed()).enter()));
        enter(&second, "second", &said);
        assert!(heard.is_empty());
        // A host that has not answered is not asked by two.
        first.leave(Some(false));
        assert_eq!(next(&heard), "second");
        assert!(is_timeout(door(&host, passed()).enter()));
        second.leave(Some(true));
        // One that has is.
        third.enter().unwrap();
        first.begin(true, soon());
        first.enter().unwrap();
        assert_eq!(attempts(&host), (2, 0, true));
        // Until it does not any more.
        first.leave(Some(false));
        assert_eq!(attempts(&host), (1, 0, false));
        enter(&second, "again", &said);
        assert!(heard.is_empty());
        third.leave(Some(true));
        assert_eq!(next(&heard), "again");
    }

    #[test]
    fn nobody_connects_while_an_abandoned_attempt_is_under_way() {
        let host = Arc::new(Host::default());
        let (first, second) = (door(&host, soon()), door(&host, soon()));
        let (said, heard) = unbounded();
        first.enter().unwrap();
        first.leave(Some(true));
        first.begin(true, soon());
        first.enter().unwrap();
        assert!(first.abandon(), "it had a connection before");
        assert!(first.abandon(), "and once is enough");
        assert_eq!(attempts(&host), (1, 1, true));
        enter(&second, "second", &said);
        assert!(heard.is_empty());
        assert!(is_timeout(door(&host, passed()).enter()));
        first.leave(Some(true));
        assert_eq!(next(&heard), "second");
        assert_eq!(attempts(&host), (1, 0, true));
        // Who is not connecting has nothing to leave.
        first.leave(Some(false));
        assert_eq!(attempts(&host), (1, 0, true));
        assert!(is_left(first.enter()), "abandoned for good");
    }

    #[test]
    fn who_waits_for_a_turn_leaves_when_abandoned_or_out_of_time() {
        let host = Arc::new(Host::default());
        let (first, second) = (door(&host, soon()), door(&host, soon()));
        first.enter().unwrap();
        let waiting = {
            let second = second.clone();
            thread::spawn(move || second.enter())
        };
        assert!(!second.abandon(), "it never had a connection");
        assert!(is_left(waiting.join().unwrap()));
        assert!(is_timeout(door(&host, Deadline::after(Duration::from_millis(1))).enter()));
        assert_eq!(attempts(&host), (1, 0, false));
    }

    #[test]
    fn what_may_have_been_sent_is_known_at_every_moment() {
        let host = Arc::new(Host::default());
        let door = Door::new(&host);
        let mut sent = Vec::new();
        let mut note = |door: &Door| sent.push(door.may_have_sent());
        door.reset();
        note(&door);
        door.begin(false, soon());
        note(&door);
        // The open connection was none any more.
        door.refuse();
        assert!(door.was_refused());
        note(&door);
        door.begin(true, soon());
        door.enter().unwrap();
        note(&door);
        door.leave(Some(false));
        note(&door);
        door.begin(true, soon());
        door.enter().unwrap();
        door.leave(Some(true));
        note(&door);
        // The same exchange goes on, over a connection that is gone.
        door.begin(false, soon());
        door.refuse();
        note(&door);
        // The next one begins.
        door.reset();
        note(&door);
        // It broke on the open connection, and is sent again over another.
        door.begin(false, soon());
        door.begin(true, soon());
        note(&door);
        assert_eq!(sent, [false, true, false, false, false, true, true, false, true]);
    }
}
