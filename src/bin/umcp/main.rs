//! The `umcp` command: one server, one thing asked of it, one answer.
//!
//! Results go to stdout, everything else to stderr, and the exit status says what to do now
//! ([`failure`]).

mod arguments;
mod ask;
mod cli;
mod eras;
mod failure;
#[cfg(feature = "http")]
mod http;
mod interrupt;
mod meanwhile;
mod output;
mod render;
mod save;
mod schema;
mod servers;
mod terminal;
mod text;
mod verbs;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use log::LevelFilter;

use cli::Cli;
use failure::status;
use interrupt::Interrupt;
use text::clean;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) if !help.use_stderr() => {
            let _ = help.print();
            return ExitCode::from(status::DONE);
        }
        Err(help) if help.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = help.print();
            return ExitCode::from(status::USAGE);
        }
        Err(error) => {
            let text = error.to_string();
            complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            if error.kind() == ErrorKind::UnknownArgument {
                complain("the server's own command goes to the end, behind `--`");
            }
            return ExitCode::from(status::USAGE);
        }
    };
    start_logging(cli.options.verbose);
    let interrupt = Interrupt::default();
    let status = match verbs::run(&cli, &interrupt) {
        Ok(status) => status,
        Err(failure) => {
            if !interrupt.has_come() {
                complain(&failure.text);
            }
            failure.status
        }
    };
    interrupt.finish();
    ExitCode::from(status)
}

/// Tells the user. What comes from a server cannot drive the terminal.
fn complain(text: &str) {
    meanwhile::clear_line();
    let _ = writeln!(io::stderr(), "umcp: {}", clean(text));
}

/// `-v` turns on what umcp has to say, `RUST_LOG` whatever it names.
fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Off,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let _ = env_logger::Builder::new()
        .filter_module("umcp", level)
        .parse_default_env()
        .format(|out, record| {
            let text = clean(&record.args().to_string());
            meanwhile::clear_line();
            writeln!(out, "[{} {}] {text}", record.level(), record.target())
        })
        .try_init();
}
