//! Points in time by which something returns, and the two clocks of a call.

use std::time::{Duration, Instant};

/// A point in time by which something returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

/// What "no limit" becomes: no wait in this library is without an end.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Deadline {
    pub(crate) fn after(wait: Duration) -> Self {
        Self::from(Instant::now(), wait)
    }

    pub(crate) fn from(start: Instant, wait: Duration) -> Self {
        let wait = wait.min(CENTURY);
        Self(start.checked_add(wait).unwrap_or(start))
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    /// Zero once the deadline has passed.
    pub(crate) fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub(crate) fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// What had come when a clock ran out still counts; what goes on coming is not to hold the clock up.
#[derive(Default)]
pub(crate) struct Overtime(Option<usize>);

impl Overtime {
    /// Whether enough was looked at of what is waiting. Asked before each look.
    pub(crate) fn is_over(&mut self, due: Deadline, waiting: usize) -> bool {
        if !due.has_passed() {
            self.0 = None;
            return false;
        }
        let left = self.0.get_or_insert(waiting);
        let is_over = *left == 0;
        *left = left.saturating_sub(1);
        is_over
    }
}

/// How long to wait before trying again after so many failures: twice as long after each, up to `most`.
/// After none at all, not at all.
pub(crate) fn backoff(first: Duration, failures: u32, most: Duration) -> Duration {
    match failures {
        0 => Duration::ZERO,
        again => first.saturating_mul(1 << (again - 1).min(20)).min(most),
    }
}

/// Which of a call's clocks ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Timeout,
    MaxTotal,
}

impl Clock {
    /// What a caller sets it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::MaxTotal => "max_total",
        }
    }
}

/// The two clocks of one call.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    started: Instant,
    timeout: Duration,
    timeout_from: Instant,
    max_total: Duration,
    extended: Option<Deadline>,
}

impl Clocks {
    pub(crate) fn start(timeout: Duration, max_total: Duration) -> Self {
        let now = Instant::now();
        Self { started: now, timeout, timeout_from: now, max_total, extended: None }
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The earlier of the two ends, whose it is, and how long that clock was set to.
    pub(crate) fn next(&self) -> (Deadline, Clock, Duration) {
        let timeout = Deadline::from(self.timeout_from, self.timeout);
        let max_total = self.total();
        let (end, clock, set_to) = match timeout <= max_total {
            true => (timeout, Clock::Timeout, self.timeout),
            false => (max_total, Clock::MaxTotal, self.max_total),
        };
        (self.extended.unwrap_or(end), clock, set_to)
    }

    /// The end that never moves.
    pub(crate) fn total(&self) -> Deadline {
        Deadline::from(self.started, self.max_total)
    }

    /// The call made progress: `timeout` starts again.
    pub(crate) fn restart_timeout(&mut self) {
        self.timeout_from = Instant::now();
    }

    /// Gives a moment more from now on, whatever the clocks say. They are still named as they were.
    pub(crate) fn extend(&mut self, by: Duration) {
        self.extended = Some(Deadline::after(by));
    }

    /// The user's own code has run for that long on other threads.
    pub(crate) fn set_back(&mut self, by: Duration) {
        self.timeout_from += by;
    }

    /// Runs the user's own code, during which `timeout` stands still.
    pub(crate) fn stand_still<R>(&mut self, run: impl FnOnce() -> R) -> R {
        let before = Instant::now();
        let result = run();
        self.timeout_from += before.elapsed();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_earlier_clock_is_named() {
        let clocks = Clocks::start(Duration::from_secs(60), HOUR);
        assert_eq!(clocks.next().1, Clock::Timeout);
        let clocks = Clocks::start(HOUR, Duration::from_secs(60));
        assert_eq!(clocks.next().1, Clock::MaxTotal);
    }

    #[test]
    fn own_code_moves_the_timeout_but_not_the_total() {
        let mut clocks = Clocks::start(HOUR, 2 * HOUR);
        let (before, ..) = clocks.next();
        let spent = clocks.stand_still(|| {
            let start = Instant::now();
            while start.elapsed() < Duration::from_micros(50) {
                std::hint::spin_loop();
            }
            start.elapsed()
        });
        let (after, ..) = clocks.next();
        assert!(after.instant() - before.instant() >= spent);
        assert_eq!(Deadline::from(clocks.started, clocks.max_total).0, clocks.started + 2 * HOUR);
    }

    // SUB-19
    #[test]
    fn a_flood_does_not_hold_up_a_clock() {
        let mut overtime = Overtime::default();
        let looks = |overtime: &mut Overtime, due| [5, 9, 9].map(|it| overtime.is_over(due, it));
        assert_eq!(looks(&mut overtime, Deadline::after(Duration::MAX)), [false; 3]);
        let due = Deadline::after(Duration::ZERO);
        assert_eq!(looks(&mut overtime, due), [false; 3]);
        assert_eq!(looks(&mut overtime, due), [false, false, true]);
        assert_eq!(looks(&mut overtime, due), [true; 3]);
        // The next clock has one of its own.
        assert_eq!(looks(&mut overtime, Deadline::after(Duration::MAX)), [false; 3]);
        assert_eq!(looks(&mut overtime, due), [false; 3]);
    }

    #[test]
    fn the_wait_doubles_up_to_a_limit() {
        let waits = [0, 1, 2, 3, 20, u32::MAX];
        let waits = waits.map(|failures| {
            backoff(Duration::from_millis(500), failures, Duration::from_secs(30)).as_millis()
        });
        assert_eq!(waits, [0, 500, 1000, 2000, 30_000, 30_000]);
    }

    #[test]
    fn a_limit_without_end_is_a_long_time() {
        assert!(Deadline::after(Duration::MAX).remaining() > HOUR);
        assert!(Deadline::after(Duration::ZERO).has_passed());
    }
}
