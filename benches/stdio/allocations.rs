//! How often a call asks for memory.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clients::Subject;
use crate::table::{Row, Table};

const CALLS: u64 = 1000;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, which counts when it is told to.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    if IS_COUNTING.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: everything is left to `System`, with what the caller gave; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is `System`'s too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

pub fn measure(table: &mut Table) {
    let mut times = Row::new("allocations per call");
    let mut bytes = Row::new("bytes allocated per call");
    for subject in Subject::PARSING {
        let mut call = subject.connect(64);
        (0..CALLS).for_each(|_| assert_eq!(call(), 64));
        let before = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
        IS_COUNTING.store(true, Ordering::Relaxed);
        for _ in 0..CALLS {
            call();
        }
        IS_COUNTING.store(false, Ordering::Relaxed);
        let counted = COUNT.load(Ordering::Relaxed) - before.0;
        let asked_for = BYTES.load(Ordering::Relaxed) - before.1;
        times = times.value(subject, format!("{:.1}", counted as f64 / CALLS as f64));
        bytes = bytes.value(subject, format!("{}", asked_for / CALLS));
    }
    table.add(times);
    table.add(bytes);
}
