//! How often a call asks for memory.

use crate::clients::{Reply, Subject};
use crate::support::allocator::counted;
use crate::support::table::{Row, Table};

const CALLS: u64 = 1000;

pub fn measure(table: &mut Table) {
    for reply in Reply::ALL {
        let mut times = Row::new(format!("allocations per call, {}", reply.name()));
        let mut bytes = Row::new(format!("bytes allocated per call, {}", reply.name()));
        for subject in Subject::ALL {
            let mut call = subject.connect(reply, 64);
            (0..CALLS).for_each(|_| assert_eq!(call(), 64));
            let (count, asked_for) = counted(|| (0..CALLS).for_each(|_| _ = call()));
            times = times.value(subject, format!("{:.1}", count as f64 / CALLS as f64));
            bytes = bytes.value(subject, format!("{}", asked_for / CALLS));
        }
        table.add(times);
        table.add(bytes);
    }
}
