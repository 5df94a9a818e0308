//! Asking again after a failure that may pass.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::deadline::{Deadline, backoff};
use crate::error::{Error, ErrorKind, Result};
use crate::session::{Opening, PendingRequest};

type When = dyn Fn(&Error) -> bool + Send + Sync;

/// Whether and when a request is made again that failed for a reason that may pass.
///
/// Nothing is done twice: unless [`when`](Self::when) or [`tool_errors`](Self::tool_errors) says
/// otherwise, a call of a tool is made again only if the server cannot have begun it
/// ([`Error::may_have_run`]): it could not be reached, or turned the call away (HTTP 429). What only
/// asks, such as a list or a resource, is also asked again after a connection broke or the server
/// answered with HTTP 5xx. A connection that has ended for good is not opened anew.
///
/// All attempts share the clocks of the call, `timeout` and `max_total`: what would come after their end
/// is not waited for, and the last error is returned. Each attempt is told of as
/// [`EventKind::Retried`](crate::EventKind::Retried).
///
/// ```
/// # use umcp::memory::Script;
/// use std::time::Duration;
/// use umcp::{Client, Retry, json};
///
/// # let script = Script::new().answer("tools/call", json!({ "content": [] }));
/// # let server = script.server();
/// let client = Client::builder().retry(Retry::new().attempts(5)).open(server)?;
/// // This one does no harm when it is done twice, says its author.
/// let again = Retry::new().tool_errors().when(|error| !error.is_cancelled());
/// client.tool("refresh").retry(again).timeout(Duration::from_secs(120)).call()?;
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Retry {
    attempts: u32,
    first: Duration,
    longest: Duration,
    tool_errors: bool,
    when: Option<Arc<When>>,
}

impl Retry {
    /// Three attempts in all. Before each the client waits for a random time: of up to half a second
    /// before the second attempt, twice that before the next, and so on up to half a minute; or for as
    /// long as the server said (`Retry-After`), if that is longer.
    pub fn new() -> Self {
        Self {
            attempts: 3,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            tool_errors: false,
            when: None,
        }
    }

    /// Never: for a call of a client that does otherwise.
    pub fn never() -> Self {
        Self::new().attempts(1)
    }

    /// Sets how many attempts there are at most, with the first.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets how long the client waits at most before the second attempt, which doubles with each that
    /// follows, and the most that it becomes.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// Calls a tool again also if it reported that it failed (`isError`). It has run then: this is for
    /// tools that do no harm when they run twice. The last result is returned.
    pub fn tool_errors(mut self) -> Self {
        self.tool_errors = true;
        self
    }

    /// Sets after which errors a request is made again, instead of after those that are safe. The
    /// function is told of every error but of a cancelled call, as long as there would be time for
    /// another attempt. It runs on the thread that waits for the call, whose clocks go on.
    ///
    /// If [`may_have_run`](Error::may_have_run) is not looked at, a tool may run twice.
    pub fn when(mut self, when: impl Fn(&Error) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(when));
        self
    }

    /// How long to wait before another attempt, if there is to be one after so many.
    fn again(&self, made: u32, error: Option<&Error>, is_read: bool) -> Option<Duration> {
        let is_covered = match error {
            Some(error) => self.covers(error, is_read),
            None => self.tool_errors,
        };
        if made >= self.attempts || !is_covered {
            return None;
        }
        let wait = self.wait(made, RandomState::new().hash_one(0));
        Some(error.and_then(Error::retry_after).unwrap_or_default().max(wait))
    }

    /// Opens a connection, which does nothing at the server.
    pub(super) fn open<T>(
        &self,
        opening: &Opening,
        mut open: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let end = Deadline::after(opening.timeouts.max_total);
        let mut made = 1;
        loop {
            let error = match open() {
                Err(error) if error.may_pass() => error,
                opened => return opened,
            };
            let wait = self.again(made, Some(&error), true);
            let Some(wait) = wait.filter(|wait| *wait < end.remaining()) else {
                return Err(error);
            };
            log::debug!("{}: opened again in {wait:.1?}: {error}", opening.server);
            let is_cancelled = match &opening.cancel {
                Some(token) => token.wait(wait),
                None => {
                    thread::sleep(wait);
                    false
                }
            };
            if is_cancelled {
                return Err(error);
            }
            made += 1;
        }
    }

    fn covers(&self, error: &Error, is_read: bool) -> bool {
        if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Closed) {
            return false;
        }
        match &self.when {
            Some(when) => when(error),
            None => error.may_pass() && (is_read || !error.may_have_run()),
        }
    }

    /// The wait after so many attempts, with a random number that says how much of it.
    fn wait(&self, made: u32, random: u64) -> Duration {
        const PARTS: u32 = 1 << 16;
        let most = backoff(self.first, made, self.longest);
        let part = u32::try_from(random % u64::from(PARTS + 1)).unwrap_or_default();
        most.saturating_mul(part) / PARTS
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("first", &self.first)
            .field("longest", &self.longest)
            .field("tool_errors", &self.tool_errors)
            .finish_non_exhaustive()
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub(super) struct Attempts {
    policy: Retry,
    made: u32,
    /// Nothing is asked until then.
    next: Option<Deadline>,
    /// One of them may have begun something.
    may_have_run: bool,
}

impl Attempts {
    pub(super) fn new(policy: Retry) -> Self {
        Self { policy, made: 1, next: None, may_have_run: false }
    }

    /// Makes the next attempt when it is due, and waits for that until `until` at most. Returns `None`
    /// if it is not due by then, else whether there is something to wait for.
    pub(super) fn go_on(
        &mut self,
        call: &mut PendingRequest<'_>,
        until: Option<Deadline>,
    ) -> Option<Result<()>> {
        let Some(next) = self.next else { return Some(Ok(())) };
        if let Err(error) = call.pause(until.map_or(next, |until| until.min(next))) {
            self.next = None;
            return Some(Err(call.explain(error.ran(self.may_have_run))));
        }
        if !next.has_passed() {
            return None;
        }
        self.next = None;
        self.made += 1;
        Some(call.send_once_more().map_err(|error| call.explain(error.ran(self.may_have_run))))
    }

    /// Whether there is to be another attempt after this end of the last one: an error, or the failure
    /// that a tool reports.
    pub(super) fn is_repeated(&mut self, call: &PendingRequest<'_>, error: Option<&Error>) -> bool {
        self.may_have_run |= error.is_none_or(Error::may_have_run);
        let wait = self.policy.again(self.made, error, call.request().is_read());
        let Some(wait) = wait.filter(|wait| call.may_go_on_after(*wait)) else { return false };
        call.tell_retried(error, wait);
        self.next = Some(Deadline::after(wait));
        true
    }

    /// What is true of all attempts is true of the call.
    pub(super) fn explain(&self, error: Error) -> Error {
        if self.may_have_run { error.ran(true) } else { error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_random_and_doubles_up_to_a_limit() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(10));
        let retry = Retry::new().backoff(first, longest);
        for (made, most) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (u32::MAX, 10)] {
            assert_eq!(retry.wait(made, 0), Duration::ZERO);
            assert_eq!(retry.wait(made, 1 << 16), Duration::from_secs(most));
            assert_eq!(retry.wait(made, 1 << 15), Duration::from_secs(most) / 2);
            for random in [1, 12_345, u64::MAX] {
                assert!(retry.wait(made, random) <= Duration::from_secs(most));
            }
        }
        let forever = Retry::new().backoff(Duration::MAX, Duration::MAX);
        assert!(forever.wait(9, 1 << 16) > Duration::from_secs(1 << 40), "and nothing overflows");
    }

    #[test]
    fn what_cannot_have_run_is_covered_and_what_only_asks() {
        let error = |kind, ran| Error::new(kind, "").ran(ran);
        let retry = Retry::new();
        for (kind, ran, of_tool, of_read) in [
            (ErrorKind::Unreachable, false, true, true),
            (ErrorKind::Unreachable, true, false, true),
            (ErrorKind::Disconnected, true, false, true),
            (ErrorKind::Rpc, false, false, false),
            (ErrorKind::Timeout, false, false, false),
            (ErrorKind::Authorization, false, false, false),
            (ErrorKind::Cancelled, false, false, false),
        ] {
            assert_eq!(retry.covers(&error(kind, ran), false), of_tool, "{kind:?} {ran}");
            assert_eq!(retry.covers(&error(kind, ran), true), of_read, "{kind:?} {ran}");
        }
        let all = Retry::new().when(|_| true);
        assert!(all.covers(&error(ErrorKind::Rpc, true), false));
        assert!(!all.covers(&error(ErrorKind::Cancelled, true), false));
        let none = Retry::new().when(|_| false);
        assert!(!none.covers(&error(ErrorKind::Unreachable, false), true));
    }
}
