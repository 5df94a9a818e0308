//! One call, and how fast many are.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use super::samples::median;

/// One call; returns the size of the text that came back.
pub type Call = Box<dyn FnMut() -> usize + Send>;

/// How long one call takes, in microseconds: the median of so many.
pub fn p50(call: &mut Call, calls: usize) -> f64 {
    let timed = (0..calls).map(|_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64() * 1e6
    });
    median(timed.collect())
}

/// How many calls a second all callers together make, of so many.
pub fn rate(callers: &mut [Call], calls: usize, size: usize) -> f64 {
    let each = calls / callers.len();
    let start = Barrier::new(callers.len() + 1);
    let started = thread::scope(|scope| {
        for call in callers.iter_mut() {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                (0..each).for_each(|_| assert_eq!(call(), size));
            });
        }
        start.wait();
        Instant::now()
    });
    (each * callers.len()) as f64 / started.elapsed().as_secs_f64()
}
