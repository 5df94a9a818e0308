//! The `umcp` command, as a shell sees it: what it prints where, and its exit status.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod arguments;
mod command;
mod era_memory;
mod http;
#[cfg(unix)]
mod interrupts;
mod meanwhile;
mod output;
mod servers;
mod status;
mod verbs;
#[cfg(unix)]
mod watch;

/// The server of the examples, to put behind HTTP.
#[path = "../../examples/support/server.rs"]
mod server;

#[cfg(feature = "tls")]
#[path = "../tls/server.rs"]
mod tls_server;
