//! What a client costs that nobody uses.

use std::thread;
use std::time::Duration;

use crate::clients::{Reply, Subject};
use crate::support::holder::{self, holding};
use crate::support::process::{switches, threads};
use crate::support::table::{Must, Row, Table};

const SECOND: Duration = Duration::from_secs(1);

pub fn measure(table: &mut Table) {
    for reply in Reply::ALL {
        let mut wakes = Row::new(format!("idle, wake-ups in a second, {}", reply.name()));
        let mut running = Row::new(format!("idle, threads, {}", reply.name()));
        for subject in Subject::ALL {
            let words = ["--hold", subject.name(), reply.name()];
            let (woken, count) = holding(&words, |holder| {
                let before = switches(holder);
                thread::sleep(SECOND);
                (before.zip(switches(holder)), threads(holder))
            });
            let (Some((before, after)), Some(count)) = (woken, count) else {
                return table.cannot("idle", "needs Linux");
            };
            let woken = after - before;
            wakes = wakes.value(subject, woken.to_string());
            running = running.value(subject, count.to_string());
            if subject == Subject::Umcp {
                wakes = wakes.must(woken as f64, Must::AtMost(0.0), "");
            }
        }
        table.add(wakes);
        table.add(running);
    }
}

/// The process that holds the client.
pub fn hold(subject: Subject, reply: Reply) {
    holder::hold(vec![subject.connect(reply, 64)], 64);
}
