//! Tests of the library through its public API, in one binary. They need nothing but this
//! package: peers are in memory, or the example server as a process.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod alone;
mod calls;
mod common;
mod era;
mod errors;
mod faults;
mod hostile;
mod house;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_era;
#[cfg(feature = "http")]
mod http_legacy;
#[cfg(feature = "http")]
mod http_peer;
#[cfg(feature = "http")]
mod http_sse;
#[cfg(unix)]
mod killed;
mod logging;
mod meta;
mod methods;
mod rpc;
mod spec;
mod stdio;
