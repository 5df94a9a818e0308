//! Doing the same with many things at the same time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many threads there are for it at most. What is beyond that waits its turn.
const THREADS: usize = 64;

/// Does it with each, and returns what came of it in their order. This thread takes part, and returns
/// when all is done; if there is no thread to be had it does everything.
pub(super) fn at_once<T: Sync, R: Send>(all: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(all.len()));
    let work = || {
        while let Some((at, one)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            all.get(at).map(|one| (at, one))
        } {
            let result = run(one);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..all.len().min(THREADS) {
            let thread = thread::Builder::new().name("umcp-hub".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, work) {
                log::debug!("fewer threads than wanted: {error}");
                break;
            }
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn all_are_done_in_parallel_and_told_in_order() {
        assert!(at_once(&[], |_: &u8| ()).is_empty());
        // None gets on before all of them have begun.
        let all: Vec<usize> = (0..THREADS).collect();
        let begun = Barrier::new(all.len());
        let squares = at_once(&all, |number| {
            begun.wait();
            number * number
        });
        assert!(squares.iter().enumerate().all(|(at, square)| *square == at * at));
    }

    #[test]
    fn there_are_so_many_threads_and_no_more() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let all = vec![(); 10 * THREADS];
        let done = at_once(&all, |()| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(done.len(), all.len());
        assert!(most.into_inner() <= THREADS);
    }
}
