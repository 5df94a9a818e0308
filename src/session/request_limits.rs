//! How much a client asks of a server.

/// How much a client asks of its server: how many requests a second, and how many at the same time.
///
/// Nothing of it holds unless it is set, with [`Server::request_limits`](crate::Server::request_limits).
/// A call for which there is no room waits for its turn, on its own thread, within its clocks and until
/// its [`CancelToken`](crate::CancelToken) is cancelled: first come, first served. Or it fails at once
/// ([`fail_fast`](Self::fail_fast)). Every clone of a client shares its limits; every client that is
/// opened has its own.
///
/// ```
/// # use umcp::memory::Script;
/// use umcp::{Client, RequestLimits};
///
/// # let server = Script::new().server();
/// let limits = RequestLimits::new().per_second(10.0).burst(20).max_in_flight(4);
/// let client = Client::open(server.request_limits(limits))?;
/// # Ok::<(), umcp::Error>(())
/// ```
///
/// # What counts
///
/// Each request that is sent, as in [`Metrics::requests`](crate::Metrics::requests): also what a
/// [`Retry`](crate::Retry) adds, what is asked again with answers, or in another session, and the
/// questions about a [task](crate::Task). The handshake and notifications do not. A subscription of the
/// modern era counts for the rate whenever it is asked for, but is not in flight: it would stay for ever.
///
/// A request is in flight until its reply has come, whether or not that is waited for, or until it ends
/// otherwise.
///
/// # Calls inside handlers
///
/// A call may last until a handler has answered, and that handler may call the client. So calls that are
/// made on the thread of a handler, or of a callback of a call such as
/// [`on_progress`](crate::Request::on_progress), do not wait for others to end: they count, and can be
/// more than [`max_in_flight`](Self::max_in_flight) says. The rate holds for them, too. A call that a
/// handler leaves to another thread, and waits for, has no such right.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct RequestLimits {
    pub(super) per_second: Option<f64>,
    pub(super) burst: Option<u32>,
    pub(super) max_in_flight: Option<usize>,
    pub(super) fail_fast: bool,
}

/// What a rate may be: nothing slower is meant, and nothing faster is possible.
const SLOWEST: f64 = 0.000_001;
const FASTEST: f64 = 1_000_000.0;

impl RequestLimits {
    /// No limit yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many requests are sent in a second, on average: from 0.000001 to 1,000,000. Opening a
    /// client fails with any other number.
    pub fn per_second(mut self, requests: f64) -> Self {
        self.per_second = Some(requests);
        self
    }

    /// Sets how many requests can be sent at once after a time without any: at least 1. By default as
    /// many as are sent in a second, and at least one.
    pub fn burst(mut self, requests: u32) -> Self {
        self.burst = Some(requests);
        self
    }

    /// Sets how many requests may wait for their reply at the same time: at least 1.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.max_in_flight = Some(requests);
        self
    }

    /// Has a call for which there is no room fail at once, with an error of kind
    /// [`Limit`](crate::ErrorKind::Limit). Nothing was sent
    /// ([`may_have_run`](crate::Error::may_have_run) is false, unless an earlier attempt has), and if it
    /// was too soon, [`retry_after`](crate::Error::retry_after) says when it would not be.
    pub fn fail_fast(mut self) -> Self {
        self.fail_fast = true;
        self
    }

    /// What is wrong with them.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (self.per_second, self.burst) {
            (Some(rate), _) if !(SLOWEST..=FASTEST).contains(&rate) => {
                return Err(format!("`per_second` is from 0.000001 to 1000000, and not {rate}"));
            }
            (_, Some(0)) => return Err("`burst` is at least 1".to_owned()),
            (None, Some(_)) => return Err("`burst` says nothing without `per_second`".to_owned()),
            _ => {}
        }
        match self.max_in_flight {
            Some(0) => Err("`max_in_flight` is at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    /// The time that one request takes up, in nanoseconds, and how many can be sent at once.
    pub(super) fn rate(&self) -> Option<(u64, u32)> {
        let rate = self.per_second.filter(|_| self.check().is_ok())?;
        // As checked, both are well within their types.
        let interval = (1e9 / rate).round() as u64;
        Some((interval.max(1), self.burst.unwrap_or(rate.ceil() as u32).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silly_settings_are_refused() {
        let new = RequestLimits::new;
        for rate in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-7, 1e7, 5e-324]
        {
            let why = new().per_second(rate).check().unwrap_err();
            assert!(why.starts_with("`per_second` is from 0.000001 to 1000000"), "{why}");
            assert_eq!(new().per_second(rate).rate(), None);
        }
        assert!(new().burst(5).check().unwrap_err().contains("without `per_second`"));
        assert!(new().per_second(1.0).burst(0).check().unwrap_err().contains("at least 1"));
        assert!(new().max_in_flight(0).check().unwrap_err().contains("at least 1"));
        let all = new().per_second(0.5).burst(u32::MAX).max_in_flight(usize::MAX).fail_fast();
        for fine in [new(), all, new().per_second(SLOWEST), new().per_second(FASTEST)] {
            assert_eq!(fine.check(), Ok(()));
        }
    }

    #[test]
    fn a_rate_becomes_whole_nanoseconds_and_a_burst_of_a_second() {
        for (rate, interval, burst) in [
            (1.0, 1_000_000_000, 1),
            (0.5, 2_000_000_000, 1),
            (2.5, 400_000_000, 3),
            (3.0, 333_333_333, 3),
            (FASTEST, 1000, 1_000_000),
            (SLOWEST, 1_000_000_000_000_000, 1),
        ] {
            let limits = RequestLimits::new().per_second(rate);
            assert_eq!(limits.rate(), Some((interval, burst)), "{rate}");
            assert_eq!(limits.burst(7).rate(), Some((interval, 7)));
        }
        assert_eq!(RequestLimits::new().max_in_flight(3).rate(), None);
    }
}
