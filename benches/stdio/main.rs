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
mod process;
mod reply;
mod roundtrip;
mod samples;
mod server;
mod size;
mod startup;
mod syscalls;
mod table;

use std::env;
use std::process::ExitCode;

use clients::Subject;
use table::Table;

struct Figure {
    name: &'static str,
    measure: fn(&mut Table),
    /// Missing its target means the same on any machine, however busy it is.
    is_immune_to_load: bool,
    /// Takes too long to be measured unless it is asked for.
    is_slow: bool,
}

const FIGURES: &[Figure] = &[
    figure("roundtrip", roundtrip::measure),
    figure("callers", callers::measure),
    figure("reply", reply::measure),
    figure("startup", startup::measure),
    figure("allocations", allocations::measure),
    Figure { is_immune_to_load: true, ..figure("peak", peak::measure) },
    Figure { is_immune_to_load: true, ..figure("idle", idle::measure) },
    Figure { is_immune_to_load: true, ..figure("syscalls", syscalls::measure) },
    Figure { is_slow: true, ..figure("size", size::measure) },
];

const fn figure(name: &'static str, measure: fn(&mut Table)) -> Figure {
    Figure { name, measure, is_immune_to_load: false, is_slow: false }
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let count = arguments.len();
    arguments.retain(|argument| argument != "--bench");
    // `cargo bench` adds it; `cargo test --all-targets` does not, and wants no benchmark.
    let is_bench = arguments.len() < count;
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
        ["--check"] => return run(|figure| figure.is_immune_to_load, true),
        [] if is_bench => return run(|figure| !figure.is_slow, false),
        [] => eprintln!("`cargo bench --bench stdio` runs the benchmarks"),
        names => {
            if let Some(unknown) =
                names.iter().find(|name| FIGURES.iter().all(|f| f.name != **name))
            {
                let all: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
                eprintln!("no figure is called {unknown}; there are: {}", all.join(", "));
                return ExitCode::FAILURE;
            }
            return run(|figure| names.contains(&figure.name), false);
        }
    }
    ExitCode::SUCCESS
}

fn run(wanted: impl Fn(&Figure) -> bool, must_hold: bool) -> ExitCode {
    let mut table = Table::default();
    for figure in FIGURES.iter().filter(|figure| wanted(figure)) {
        eprintln!("{} …", figure.name);
        (figure.measure)(&mut table);
    }
    println!("{table}");
    if must_hold && table.misses() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
