//! The hand-over of reading under every interleaving that a random scheduler finds: callers, the
//! reader thread, cancellation, clocks that run out, the end of the stream and closing.
//!
//! ```sh
//! RUSTFLAGS='--cfg umcp_model' cargo test --lib turns
//! ```
//!
//! What is modelled is the pipe; turns and slots are the code itself. A wake-up that is lost
//! is a deadlock here, or a run that never ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use super::{Event, Source, Turns};
use crate::deadline::Deadline;
use crate::transport::Slot;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrived {
    Reply(u64),
    Failed,
}

/// What the server has written, and what ends a wait for it.
#[derive(Default)]
struct Pipe {
    lines: VecDeque<u64>,
    ended: bool,
    woken: bool,
    stopped: bool,
}

/// Lines of this id answer nothing: notifications.
const NOTICE: u64 = 0;

/// Everything around the turns.
struct World {
    pipe: Mutex<Pipe>,
    changed: Condvar,
    /// The slots of the requests 1, 2, …
    slots: Vec<Slot<Arrived>>,
    notices: Mutex<usize>,
    turns: Turns<Reader>,
}

struct Reader {
    world: std::sync::Weak<World>,
    answered: Vec<u64>,
}

impl Source for Reader {
    fn read(&mut self, most: Duration) -> Event {
        let Some(world) = self.world.upgrade() else { return Event::Stopped };
        let mut pipe = world.pipe.lock().unwrap();
        loop {
            if pipe.stopped {
                return Event::Stopped;
            }
            if std::mem::take(&mut pipe.woken) {
                return Event::Went;
            }
            if let Some(line) = pipe.lines.pop_front() {
                drop(pipe);
                match line {
                    NOTICE => *world.notices.lock().unwrap() += 1,
                    id => {
                        world.slots[id as usize - 1].sender().send(Arrived::Reply(id));
                        self.answered.push(id);
                    }
                }
                return Event::Went;
            }
            if pipe.ended {
                return Event::Ended(None);
            }
            // The model knows no time: a short one passes at once, a long one never.
            if most < Duration::from_secs(1) {
                drop(pipe);
                thread::yield_now();
                return Event::Went;
            }
            pipe = world.changed.wait(pipe).unwrap();
        }
    }

    fn answered(&mut self) -> &mut Vec<u64> {
        &mut self.answered
    }
}

impl World {
    fn new(requests: usize) -> Arc<Self> {
        Arc::new_cyclic(|world| Self {
            pipe: Mutex::default(),
            changed: Condvar::new(),
            slots: (0..requests).map(|_| Slot::new()).collect(),
            notices: Mutex::default(),
            turns: Turns::new(Reader { world: world.clone(), answered: Vec::new() }, true),
        })
    }

    fn change(&self, change: impl FnOnce(&mut Pipe)) {
        change(&mut self.pipe.lock().unwrap());
        self.changed.notify_all();
    }

    /// What the session does after it has put something into a slot.
    fn wake(&self) {
        if self.turns.is_taken() {
            self.change(|pipe| pipe.woken = true);
        }
    }

    fn next(&self, request: u64, until: Deadline) -> Option<Arrived> {
        self.turns.next(request, &self.slots[request as usize - 1], until)
    }

    /// The reader thread: at the end of the stream, everything that waits fails.
    fn serve(&self) {
        if self.turns.serve().is_some() {
            self.fail_all();
        }
    }

    fn fail_all(&self) {
        self.slots.iter().for_each(|slot| _ = slot.sender().send(Arrived::Failed));
    }

    fn close(&self) {
        self.fail_all();
        self.wake();
        self.turns.close();
        self.change(|pipe| pipe.stopped = true);
    }
}

fn forever() -> Deadline {
    Deadline::after(Duration::MAX)
}

fn passed() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// Runs the scenario beside the reader thread, in many orders; then everything must end.
fn explore(requests: usize, scenario: impl Fn(&Arc<World>) + Send + Sync + 'static) {
    let run = move || {
        let world = World::new(requests);
        let reader = thread::spawn({
            let world = world.clone();
            move || world.serve()
        });
        scenario(&world);
        world.close();
        reader.join().unwrap();
        assert!(world.turns.lock().reader.is_none(), "what reads is dropped when it closes");
    };
    shuttle::check_random(run, 5_000);
}

/// A caller, and a server that answers it in its own time.
fn calls(world: &Arc<World>, request: u64) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || {
        let server = thread::spawn({
            let world = world.clone();
            move || world.change(|pipe| pipe.lines.push_back(request))
        });
        assert_eq!(world.next(request, forever()), Some(Arrived::Reply(request)));
        server.join().unwrap();
    })
}

#[test]
fn every_caller_gets_its_own_reply() {
    explore(3, |world| {
        let callers = [1, 2, 3].map(|request| calls(world, request));
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn one_call_after_the_other_is_answered() {
    explore(3, |world| {
        for request in 1..=3 {
            calls(world, request).join().unwrap();
        }
    });
}

#[test]
fn what_nobody_waits_for_is_read() {
    explore(1, |world| {
        calls(world, 1).join().unwrap();
        world.change(|pipe| pipe.lines.push_back(NOTICE));
        while *world.notices.lock().unwrap() == 0 {
            thread::yield_now();
        }
    });
}

/// A caller that is cancelled, by the thread this runs on.
fn is_cancelled(world: &Arc<World>, request: u64) {
    let waiting = thread::spawn({
        let world = world.clone();
        move || assert_eq!(world.next(request, forever()), Some(Arrived::Failed))
    });
    world.slots[request as usize - 1].sender().send(Arrived::Failed);
    world.wake();
    waiting.join().unwrap();
}

#[test]
fn a_caller_that_is_cancelled_returns() {
    explore(1, |world| is_cancelled(world, 1));
}

#[test]
fn a_caller_that_is_cancelled_leaves_the_turn_to_the_other() {
    explore(2, |world| {
        let other = calls(world, 2);
        is_cancelled(world, 1);
        other.join().unwrap();
    });
}

#[test]
fn a_caller_whose_clock_has_run_out_leaves_the_turn_to_the_other() {
    explore(2, |world| {
        let hurried = thread::spawn({
            let world = world.clone();
            move || {
                for _ in 0..3 {
                    assert_eq!(world.next(1, passed()), None);
                }
            }
        });
        calls(world, 2).join().unwrap();
        hurried.join().unwrap();
    });
}

#[test]
fn everybody_learns_of_the_end_of_the_stream() {
    explore(2, |world| {
        let callers = [1, 2].map(|request| {
            let world = world.clone();
            thread::spawn(move || {
                assert_eq!(world.next(request, forever()), Some(Arrived::Failed));
            })
        });
        world.change(|pipe| pipe.ended = true);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn closing_ends_whoever_waits() {
    explore(2, |world| {
        let callers = [1, 2].map(|request| {
            let world = world.clone();
            thread::spawn(move || {
                assert_eq!(world.next(request, forever()), Some(Arrived::Failed));
            })
        });
        world.close();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}
