//! Threads that somebody waits for.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::deadline::Deadline;

/// A set of named threads that can be joined by a deadline, which `std`'s handles cannot.
#[derive(Default)]
pub(crate) struct Threads(Mutex<Vec<Running>>);

struct Running {
    id: ThreadId,
    handle: JoinHandle<()>,
    /// Disconnected once the thread has ended, a panic included.
    ended: Receiver<()>,
}

impl Threads {
    pub(crate) fn spawn(
        &self,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<ThreadId> {
        // Boxed: starting a thread is much code, and would be there for each of them.
        self.spawn_boxed(name, Box::new(run))
    }

    fn spawn_boxed(&self, name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<ThreadId> {
        let (alive, ended) = crossbeam_channel::bounded(0);
        // The thread is one of them from its beginning.
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = thread::Builder::new().name(name.into()).spawn(move || {
            let _alive = alive;
            run();
        })?;
        let id = handle.thread().id();
        running.retain(|thread| !thread.handle.is_finished());
        running.push(Running { id, handle, ended });
        Ok(id)
    }

    /// Whether this is running on one of them.
    pub(crate) fn is_this_one(&self) -> bool {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().any(|thread| thread.id == thread::current().id())
    }

    /// Waits for all of them, except the one this runs on. Returns whether all have ended; those
    /// that have not can be waited for again.
    pub(crate) fn join(&self, until: Deadline) -> bool {
        let others: Vec<(ThreadId, Receiver<()>)> = {
            let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let others = running.iter().filter(|thread| thread.id != thread::current().id());
            others.map(|thread| (thread.id, thread.ended.clone())).collect()
        };
        let has_ended = |(_, ended): &&(ThreadId, Receiver<()>)| {
            ended.recv_deadline(until.instant()) == Err(RecvTimeoutError::Disconnected)
        };
        let ended: HashSet<ThreadId> = others.iter().filter(has_ended).map(|(id, _)| *id).collect();
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done: Vec<_> = running.extract_if(.., |thread| ended.contains(&thread.id)).collect();
        drop(running);
        // A panic was printed when it happened, and what the thread held is gone with it.
        done.into_iter().for_each(|thread| drop(thread.handle.join()));
        ended.len() == others.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_thread_is_one_of_them_from_its_beginning() {
        let threads = Arc::new(Threads::default());
        let (tell, told) = crossbeam_channel::unbounded();
        for _ in 0..200 {
            let (threads, tell) = (threads.clone(), tell.clone());
            threads
                .clone()
                .spawn("looks", move || tell.send(threads.is_this_one()).unwrap())
                .unwrap();
        }
        drop(tell);
        assert_eq!(told.iter().filter(|is_one| *is_one).count(), 200);
    }

    #[test]
    fn waits_for_what_ends_and_not_for_what_does_not() {
        let threads = Threads::default();
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        threads.spawn("ends", || ()).unwrap();
        assert!(threads.join(Deadline::after(Duration::from_secs(30))));
        threads.spawn("stays", move || assert!(held.recv().is_err())).unwrap();
        assert!(!threads.join(Deadline::after(Duration::ZERO)));
        drop(release);
        assert!(threads.join(Deadline::after(Duration::from_secs(30))));
        assert!(threads.0.lock().unwrap().is_empty());
    }
}
