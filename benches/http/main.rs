//! What a call over HTTP costs, beside the same over ureq alone and over a bare socket.
//!
//! ```sh
//! cargo bench --bench http                      # everything
//! cargo bench --bench http -- roundtrip idle    # only these
//! cargo bench --bench http -- --check           # fails when a target is missed by more than load explains
//! ```
//!
//! `benches/README.md` says what the figures mean. The program starts itself again, as the server
//! and as the programs whose memory, start and system calls are measured.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod allocations;
mod callers;
mod clients;
mod idle;
mod reply;
mod roundtrip;
mod server;
mod startup;
#[path = "../support/mod.rs"]
mod support;
mod syscalls;

use std::process::ExitCode;

use clients::{Reply, Subject};
use support::figures::{self, Figure, figure, immune_to_load};
use support::process;

const FIGURES: &[Figure] = &[
    Figure { slack: Some(0.1), ..figure("roundtrip", roundtrip::measure) },
    Figure { slack: Some(0.15), ..figure("callers", callers::measure) },
    Figure { slack: Some(0.25), ..figure("reply", reply::measure) },
    figure("startup", startup::measure),
    figure("allocations", allocations::measure),
    immune_to_load(figure("idle", idle::measure)),
    figure("syscalls", syscalls::measure),
];

fn main() -> ExitCode {
    let Some(arguments) = figures::arguments("http") else { return ExitCode::SUCCESS };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--serve", reply, size] => server::serve(Reply::named(reply), size.parse().unwrap()),
        ["--serve", reply, size, cpu] => {
            process::pin_to(cpu.parse().unwrap()).unwrap();
            server::serve(Reply::named(reply), size.parse().unwrap());
        }
        ["--once", subject, address] => {
            startup::once(Subject::named(subject), address.parse().unwrap());
        }
        ["--receive", subject, reply] => {
            reply::receive(Subject::named(subject), Reply::named(reply));
        }
        ["--hold", subject, reply] => idle::hold(Subject::named(subject), Reply::named(reply)),
        ["--calls", subject, reply, address, calls] => {
            let (subject, reply) = (Subject::named(subject), Reply::named(reply));
            syscalls::call(subject, reply, address.parse().unwrap(), calls.parse().unwrap());
        }
        words => return figures::run(FIGURES, words),
    }
    ExitCode::SUCCESS
}
