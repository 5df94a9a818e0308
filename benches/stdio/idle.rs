//! What connections cost that nobody uses.

use std::thread;
use std::time::Duration;

use crate::clients::Subject;
use crate::support::holder::{self, holding};
use crate::support::process::{memory, switches};
use crate::support::table::{Must, Row, Table};

const SECOND: Duration = Duration::from_secs(1);
const MANY: usize = 20;

pub fn measure(table: &mut Table) {
    let mut wakes = Row::new("idle, wake-ups in a second");
    let mut growth = Row::new("idle, memory per further server");
    for subject in Subject::PARSING {
        let holding = |servers: usize, look: &dyn Fn(u32) -> _| {
            let servers = servers.to_string();
            holding(&["--hold", subject.name(), &servers], look)
        };
        let (awake, one) = holding(1, &|holder| {
            let before = switches(holder);
            thread::sleep(SECOND);
            (before.zip(switches(holder)), memory(holder))
        });
        let (_, many) = holding(MANY, &|holder| (None, memory(holder)));
        let (Some((before, after)), Some(one), Some(many)) = (awake, one, many) else {
            return table.cannot("idle", "needs Linux");
        };
        let woken = after - before;
        let each = (many - one).max(0.0) / (MANY - 1) as f64;
        wakes = wakes.value(subject, woken.to_string());
        growth = growth.value(subject, format!("{each:.2} MiB"));
        if subject == Subject::Umcp {
            wakes = wakes.must(woken as f64, Must::AtMost(0.0), "");
            growth = growth.must(each, Must::AtMost(0.1), " MiB");
        }
    }
    table.add(wakes);
    table.add(growth);
}

/// The process that holds so many idle connections.
pub fn hold(subject: Subject, servers: usize) {
    holder::hold((0..servers).map(|_| subject.connect(64)).collect(), 64);
}
