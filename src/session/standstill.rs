//! For how long the program's own code has run on other threads because of a call: a legacy server
//! asks while it works on one, and the clock of that call stands still meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Standstill(Mutex<State>);

#[derive(Default)]
struct State {
    running: usize,
    since: Option<Instant>,
    before: Duration,
}

impl Standstill {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lasts until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Running {
        let mut state = self.lock();
        state.running += 1;
        state.since.get_or_insert_with(Instant::now);
        Running(self.clone())
    }

    /// How long all that was, and whether it goes on. What runs at the same time counts once.
    pub(crate) fn so_far(&self) -> (Duration, bool) {
        let state = self.lock();
        let now = state.since.map(|since| since.elapsed());
        (state.before.saturating_add(now.unwrap_or_default()), now.is_some())
    }
}

pub(crate) struct Running(Arc<Standstill>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running = state.running.saturating_sub(1);
        if state.running == 0
            && let Some(since) = state.since.take()
        {
            state.before = state.before.saturating_add(since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_at_the_same_time_counts_once() {
        let standstill = Arc::<Standstill>::default();
        assert_eq!(standstill.so_far(), (Duration::ZERO, false));
        let began = Instant::now();
        let (first, second) = (standstill.begin(), standstill.begin());
        while began.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        drop(first);
        assert!(standstill.so_far().1);
        drop(second);
        let (all, goes_on) = standstill.so_far();
        assert!(!goes_on && all >= Duration::from_millis(1) && all <= began.elapsed());
        assert_eq!(standstill.so_far().0, all);
    }
}
