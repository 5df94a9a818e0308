//! What a call over stdio costs, beside the least that it could cost.
//!
//! ```sh
//! cargo bench --bench stdio                      # all but `size`, which builds programs
//! cargo bench --bench stdio -- roundtrip idle    # only these
//! cargo bench --bench stdio -- --check           # what does not depend on the machine's load
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
mod peak;
mod reply;
mod roundtrip;
mod server;
mod size;
mod startup;
#[path = "../support/mod.rs"]
mod support;
mod syscalls;

use std::process::ExitCode;

use clients::Subject;
use support::figures::{self, Figure, figure, immune_to_load};
use support::process;

const FIGURES: &[Figure] = &[
    figure("roundtrip", roundtrip::measure),
    figure("callers", callers::measure),
    figure("reply", reply::measure),
    figure("startup", startup::measure),
    figure("allocations", allocations::measure),
    immune_to_load(figure("peak", peak::measure)),
    immune_to_load(figure("idle", idle::measure)),
    immune_to_load(figure("syscalls", syscalls::measure)),
    Figure { is_slow: true, ..figure("size", size::measure) },
];

fn main() -> ExitCode {
    let Some(arguments) = figures::arguments("stdio") else { return ExitCode::SUCCESS };
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--serve", size] => server::serve(size.parse().unwrap()),
        ["--serve", size, cpu] => {
            process::pin_to(cpu.parse().unwrap()).unwrap();
            server::serve(size.parse().unwrap());
        }
        ["--once", subject, era] => startup::once(Subject::named(subject), era),
        ["--receive", subject] => reply::receive(Subject::named(subject)),
        ["--peak", subject] => peak::receive(Subject::named(subject)),
        ["--hold", subject, servers] => {
            idle::hold(Subject::named(subject), servers.parse().unwrap());
        }
        ["--calls", subject, calls] => {
            syscalls::call(Subject::named(subject), calls.parse().unwrap());
        }
        words => return figures::run(FIGURES, words),
    }
    ExitCode::SUCCESS
}
