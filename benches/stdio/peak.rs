//! The most memory of a program that does nothing but receive replies of 10 MiB.

use crate::clients::Subject;
use crate::reply::SIZE;
use crate::support::process::{peak_memory, role};
use crate::support::table::{Must, Row, Table};

const REPLIES: usize = 3;

pub fn measure(table: &mut Table) {
    let mut row = Row::new("reply of 10 MiB, peak memory");
    for subject in Subject::PARSING {
        let output = role(&["--peak", subject.name()]).output().unwrap();
        assert!(output.status.success());
        let Ok(peak) = String::from_utf8(output.stdout).unwrap().trim().parse() else {
            return table.cannot("reply of 10 MiB, peak memory", "needs Linux");
        };
        row = row.value(subject, format!("{peak:.1} MiB"));
        if subject == Subject::Umcp {
            row = row.must(peak, Must::AtMost(45.0), " MiB");
        }
    }
    table.add(row);
}

/// That program.
pub fn receive(subject: Subject) {
    let mut call = subject.connect(SIZE);
    (0..REPLIES).for_each(|_| assert_eq!(call(), SIZE));
    if let Some(peak) = peak_memory() {
        println!("{peak}");
    }
}
