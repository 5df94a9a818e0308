//! A program that connects, makes one call and closes: from its start to its end.

use std::process::Stdio;
use std::time::Instant;

use umcp::{Client, Era, json};

use crate::clients::{Floor, Subject, umcp_server};
use crate::support::process::role;
use crate::support::samples::interleave;
use crate::support::table::{Must, Row, Table};

const ROUNDS: usize = 100;

pub fn measure(table: &mut Table) {
    let subjects = [Subject::Floor, Subject::Umcp, Subject::Threads];
    for era in ["modern", "legacy"] {
        let samples = interleave(ROUNDS, &subjects, |index| {
            let mut program = role(&["--once", subjects[index].name(), era]);
            let start = Instant::now();
            assert!(program.stdin(Stdio::null()).status().unwrap().success());
            start.elapsed().as_secs_f64() * 1e3
        });
        table.add(
            Row::new(format!("exec to exit, one call, {era}"))
                .values(&samples, |value| format!("{value:.2} ms"))
                .against(Subject::Floor, &samples, Some(Must::AtMost(1.3))),
        );
    }
}

/// That program. A client of a legacy server is told so: the probe is not measured.
pub fn once(subject: Subject, era: &str) {
    if subject == Subject::Floor {
        let mut floor = Floor::start(64);
        floor.open(era);
        assert_eq!(floor.call("").size(), 64);
        return;
    }
    let server = umcp_server(subject == Subject::Umcp, 64);
    let server = if era == "legacy" { server.era(Era::Legacy) } else { server };
    let client = Client::open(server).unwrap();
    assert!(!client.call_tool("echo", json!({ "text": "" })).unwrap().is_error);
    client.close();
}
