//! Whose turn it is to send a request, where there are limits: first come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::session::Session;
use crate::session::cancel::{CancelToken, cancelled};
use crate::session::own_code::is_own_code;
use crate::session::request_limits::RequestLimits;
use crate::session::router::Router;
use crate::transport::{Delivery, Slot, SlotSender};

/// The limits of one client, and who waits for them.
pub(super) struct Limiter {
    limits: RequestLimits,
    /// What times are counted from.
    started: Instant,
    state: Mutex<State>,
}

struct State {
    bucket: Option<Bucket>,
    in_flight: usize,
    most: usize,
    /// How many have waited so far.
    last: u64,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    number: u64,
    awaits_place: bool,
    wake: SlotSender,
}

/// What asks for a turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Call,
    /// It stays for long, and is not in flight.
    Subscription,
}

/// The right to send one request, and to be in flight until this is dropped: it belongs to what is
/// known of the request. By default it is no more than that there are no limits.
#[derive(Default)]
pub(crate) struct Turn {
    place: Option<Arc<Limiter>>,
}

/// Why it is not a request's turn.
enum Blocked {
    /// As many are in flight as may be.
    Place,
    /// It would be too soon, by so much.
    Rate(Duration),
    /// Others are first, who wait for the rate: by so much as it would be too soon for them.
    Others(Duration),
}

/// One in the queue.
struct Waiting<'a> {
    limiter: &'a Limiter,
    router: &'a Router,
    number: u64,
    /// What ends the wait before its time; 0, which is nobody's, at first.
    id: u64,
}

/// Tokens, of which each request takes one, and which come back one by one. All times are nanoseconds
/// since a beginning.
struct Bucket {
    interval: u64,
    /// How long it takes to fill, but for one token.
    slack: u64,
    full_at: u64,
}

impl Bucket {
    fn new((interval, burst): (u64, u32)) -> Self {
        let slack = interval.saturating_mul(u64::from(burst.saturating_sub(1)));
        Self { interval, slack, full_at: 0 }
    }

    /// How long there is no token.
    fn wait(&self, now: u64) -> u64 {
        self.full_at.saturating_sub(now).saturating_sub(self.slack)
    }

    /// Takes a token, or says how long there is none.
    fn take(&mut self, now: u64) -> std::result::Result<(), u64> {
        match self.wait(now) {
            0 => {
                self.full_at = self.full_at.max(now).saturating_add(self.interval);
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

impl State {
    /// Who is to be served next, but for the rate. Who waits for a place holds up nobody who does not.
    fn next(&self) -> Option<&Waiter> {
        let has_place = self.in_flight < self.most;
        self.waiting.iter().find(|waiter| has_place || !waiter.awaits_place)
    }

    fn wake_next(&self) -> Option<SlotSender> {
        self.next().map(|waiter| waiter.wake.clone())
    }
}

fn wake(next: Option<SlotSender>) {
    if let Some(next) = next {
        next.send(Delivery::Ready(0));
    }
}

impl Limiter {
    pub(super) fn new(limits: RequestLimits) -> Arc<Self> {
        let state = State {
            bucket: limits.rate().map(Bucket::new),
            in_flight: 0,
            most: limits.max_in_flight.unwrap_or(usize::MAX),
            last: 0,
            waiting: VecDeque::new(),
        };
        Arc::new(Self { limits, started: Instant::now(), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn needs_place(&self, asks: Asks) -> bool {
        asks == Asks::Call && self.limits.max_in_flight.is_some()
    }

    /// A handler may be what a call in flight waits for.
    fn awaits_place(&self, asks: Asks) -> bool {
        self.needs_place(asks) && !is_own_code()
    }

    /// Takes what a request needs if it is its turn. The number is that of one in the queue.
    fn take(
        self: &Arc<Self>,
        number: Option<u64>,
        asks: Asks,
    ) -> std::result::Result<Turn, Blocked> {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.lock();
        if self.awaits_place(asks) && state.in_flight >= state.most {
            return Err(Blocked::Place);
        }
        let is_next = state.next().map(|waiter| waiter.number) == number;
        if let Some(bucket) = &mut state.bucket {
            match is_next {
                true => bucket.take(now).map_err(|it| Blocked::Rate(Duration::from_nanos(it)))?,
                false => return Err(Blocked::Others(Duration::from_nanos(bucket.wait(now)))),
            }
        } else if !is_next {
            return Err(Blocked::Others(Duration::ZERO));
        }
        let is_in_flight = self.needs_place(asks);
        state.in_flight += usize::from(is_in_flight);
        Ok(Turn { place: is_in_flight.then(|| self.clone()) })
    }

    /// Waits for its turn until `until` at most.
    fn wait(
        self: &Arc<Self>,
        router: &Arc<Router>,
        asks: Asks,
        until: Deadline,
        cancel: Option<&CancelToken>,
        waits_as: impl FnOnce(u64),
    ) -> Result<Option<Turn>> {
        // Who need not wait is not to stand in anybody's way, if only for a moment.
        if let Ok(turn) = self.take(None, asks) {
            return Ok(Some(turn));
        }
        let slot = Slot::new();
        let number = self.queue(self.awaits_place(asks), slot.sender());
        let mut waiting = Waiting { limiter: self, router, number, id: 0 };
        let expected = router.expect(&slot, cancel)?;
        waiting.id = expected.id;
        waits_as(expected.id);
        loop {
            let look_at = match self.take(Some(number), asks) {
                Ok(turn) => return Ok(Some(turn)),
                Err(Blocked::Rate(wait)) => until.min(Deadline::after(wait)),
                // Whoever makes room tells.
                Err(Blocked::Place | Blocked::Others(_)) => until,
            };
            match slot.receive(look_at) {
                Some(Delivery::Failed(_, error)) => return Err(error.ran(false)),
                None if until.has_passed() => return Ok(None),
                _ => {}
            }
        }
    }

    /// The end of the queue.
    fn queue(&self, awaits_place: bool, wake: SlotSender) -> u64 {
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.waiting.push_back(Waiter { number, awaits_place, wake });
        number
    }

    fn refusal(&self, blocked: &Blocked) -> Error {
        let refused = |text, hint: &str| {
            let hint = format!("{hint}, raise the limit, or let calls wait for their turn");
            Error::new(ErrorKind::Limit, text).hint(hint)
        };
        match blocked {
            Blocked::Place => {
                let most = self.limits.max_in_flight.unwrap_or_default();
                let text =
                    format!("not sent: `RequestLimits::max_in_flight` allows {most} at once");
                refused(text, "Try again when one of them has ended")
            }
            Blocked::Rate(wait) | Blocked::Others(wait) => {
                let rate = self.limits.per_second.unwrap_or_default();
                let text =
                    format!("not sent: `RequestLimits::per_second` allows {rate} in a second");
                refused(text, &format!("Try again in {wait:.1?}")).retry_in(Some(*wait))
            }
        }
    }
}

impl Session {
    /// The turn of a request if it is at once, or `None` if it has to be waited for. An error if it is
    /// not to be waited for.
    pub(super) fn turn_now(
        &self,
        asks: Asks,
        cancel: Option<&CancelToken>,
    ) -> Result<Option<Turn>> {
        let Some(limiter) = &self.limiter else { return Ok(Some(Turn::default())) };
        // It would take what others can use.
        if cancel.is_some_and(CancelToken::is_cancelled) {
            return Err(cancelled());
        }
        match limiter.take(None, asks) {
            Ok(turn) => Ok(Some(turn)),
            Err(blocked) if limiter.limits.fail_fast => Err(limiter.refusal(&blocked)),
            Err(_) => Ok(None),
        }
    }

    /// Waits for the turn of a request, until `until` at most: `None` if it has not come by then.
    /// `waits_as` is told what would end the wait before.
    pub(super) fn turn(
        &self,
        asks: Asks,
        until: Deadline,
        cancel: Option<&CancelToken>,
        waits_as: impl FnOnce(u64),
    ) -> Result<Option<Turn>> {
        match &self.limiter {
            Some(limiter) => limiter.wait(&self.router, asks, until, cancel, waits_as),
            None => Ok(Some(Turn::default())),
        }
    }
}

/// Whose turn did not come within a call's clocks.
pub(super) fn no_turn(clock: &str, set_to: Duration) -> Error {
    let text = format!("not sent within {set_to:?} (`{clock}`): it was waiting for its turn");
    let hint = format!("Raise `{clock}`, or what `Server::request_limits` allows");
    Error::new(ErrorKind::Timeout, text).hint(hint)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(limiter) = self.place.take() else { return };
        let mut state = limiter.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        let next = state.wake_next();
        drop(state);
        wake(next);
    }
}

/// Also whoever has given up is not waited for by those behind.
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.waiting.retain(|waiter| waiter.number != self.number);
        let next = state.wake_next();
        drop(state);
        wake(next);
        self.router.withdraw(self.id, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(per_second: f64, burst: u32) -> Bucket {
        Bucket::new(RequestLimits::new().per_second(per_second).burst(burst).rate().unwrap())
    }

    #[test]
    fn a_full_bucket_has_its_burst_and_then_a_token_at_a_time() {
        let mut bucket = bucket(10.0, 3);
        let tenth = SECOND / 10;
        assert_eq!([(); 4].map(|()| bucket.take(0)), [Ok(()), Ok(()), Ok(()), Err(tenth)]);
        assert_eq!(bucket.take(tenth - 1), Err(1));
        assert_eq!([bucket.take(tenth), bucket.take(tenth)], [Ok(()), Err(tenth)]);
        // It fills, and no more than that.
        let late = 100 * SECOND;
        assert_eq!([(); 4].map(|()| bucket.take(late)), [Ok(()), Ok(()), Ok(()), Err(tenth)]);
        // Half full.
        assert_eq!(bucket.take(late + 2 * tenth), Ok(()));
        assert_eq!(bucket.take(late + 2 * tenth), Ok(()));
        assert_eq!(bucket.take(late + 2 * tenth), Err(tenth));
    }

    #[test]
    fn in_the_long_run_there_are_as_many_as_the_rate_says_exactly() {
        for (rate, burst) in [(3.0, 1), (7.0, 5), (1000.0, 1), (0.1, 1)] {
            let mut bucket = bucket(rate, burst);
            let (mut now, mut taken) = (0, 0_u64);
            while taken < 100_000 {
                match bucket.take(now) {
                    Ok(()) => taken += 1,
                    Err(wait) => now += wait,
                }
            }
            // Nothing adds up: the interval is a whole number.
            assert_eq!(now, (taken - u64::from(burst)) * bucket.interval, "{rate}");
        }
    }

    #[test]
    fn a_refused_request_takes_nothing_and_extremes_do_not_overflow() {
        let mut one = bucket(1.0, 1);
        assert_eq!(one.take(5), Ok(()));
        for _ in 0..1000 {
            assert_eq!(one.take(5), Err(SECOND));
        }
        assert_eq!(one.take(5 + SECOND), Ok(()));
        let mut vast = bucket(0.000_001, u32::MAX);
        assert!((0..1000).all(|_| vast.take(0).is_ok()));
        let mut late = bucket(0.000_001, 1);
        assert_eq!(late.take(u64::MAX), Ok(()));
        assert_eq!(late.take(u64::MAX), Ok(()), "in 584 years");
        // A clock that goes back only makes it wait.
        assert_eq!(one.take(0), Err(5 + 2 * SECOND));
    }
}
