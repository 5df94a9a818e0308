//! What connections cost that nobody uses.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use crate::clients::Subject;
use crate::process::{memory, role, switches};
use crate::table::{Must, Row, Table};

/// What happens after the last call, such as a thread that goes to sleep, has happened by then.
const SETTLING: Duration = Duration::from_millis(300);
const SECOND: Duration = Duration::from_secs(1);
const MANY: usize = 20;

pub fn measure(table: &mut Table) {
    let mut wakes = Row::new("idle, wake-ups in a second");
    let mut growth = Row::new("idle, memory per further server");
    for subject in Subject::PARSING {
        let (awake, one) = holding(subject, 1, |holder| {
            let before = switches(holder);
            thread::sleep(SECOND);
            (before.zip(switches(holder)), memory(holder))
        });
        let many = holding(subject, MANY, memory);
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

/// Looks at a process that holds so many idle connections.
fn holding<R>(subject: Subject, servers: usize, look: impl FnOnce(u32) -> R) -> R {
    let mut command = role(&["--hold", subject.name(), &servers.to_string()]);
    let mut holder: Child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    thread::sleep(SETTLING);
    let seen = look(holder.id());
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    seen
}

/// That process.
pub fn hold(subject: Subject, servers: usize) {
    let mut calls: Vec<_> = (0..servers).map(|_| subject.connect(64)).collect();
    calls.iter_mut().for_each(|call| assert_eq!(call(), 64));
    println!("ready");
    let _ = io::stdin().read(&mut [0]).unwrap();
}
