//! An MCP server that misbehaves, for authors of clients to run theirs against.
//!
//! ```text
//! cargo run --example hostile -- --list                      # every fault, and what a good client does
//! cargo run --example hostile -- FAULT                       # is a server on stdin and stdout
//! cargo run --example hostile -- FAULT --era modern|legacy   # both, unless said otherwise
//! cargo run --example hostile                                # tries umcp on all that are quick
//! ```
//!
//! To start it from another client, build it and give the path, as most clients want a program:
//! `target/debug/examples/hostile`. It has one tool, `echo`, which returns its argument `message`;
//! an answer of `wrong` is one that no client may return. The servers need nothing but `std` and
//! `serde_json`; only `try_umcp.rs` uses umcp.

#![allow(unreachable_pub)]
#![allow(clippy::indexing_slicing)] // a `Value` answers a missing key with null

mod faults;
mod try_umcp;
mod wire;

use std::env;
use std::process::ExitCode;

use faults::FAULTS;
use wire::{Era, Wire};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, era) = match arguments.as_slice() {
        [] => {
            try_umcp::on_all();
            return ExitCode::SUCCESS;
        }
        ["--list"] => {
            for fault in FAULTS {
                println!("{:<20} {}\n{:<20}   → {}", fault.name, fault.does, "", fault.good);
            }
            return ExitCode::SUCCESS;
        }
        // What some faults leave behind, or become.
        ["--sleep"] => wire::hang(),
        ["--say", line] => {
            println!("{line}");
            wire::hang();
        }
        [name] => (name, Some(Era::Both)),
        [name, "--era", era] => (name, Era::named(era)),
        _ => (&"", None),
    };
    match (FAULTS.iter().find(|fault| fault.name == *name), era) {
        (Some(fault), Some(era)) => {
            let mut wire = Wire::new(era);
            (fault.run)(&mut wire);
            wire.serve();
        }
        _ => {
            eprintln!("usage: hostile FAULT [--era modern|legacy|both], or hostile --list");
            ExitCode::from(2)
        }
    }
}
