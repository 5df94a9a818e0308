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
mod cache;
mod cache_flights;
#[cfg(feature = "http")]
mod cache_http;
mod cache_pages;
mod calls;
mod common;
#[cfg(feature = "config")]
mod config;
// Their URLs are https://.
#[cfg(all(feature = "config", feature = "tls"))]
mod config_dialects;
#[cfg(feature = "http")]
mod credentials;
mod era;
mod errors;
mod events;
mod example_http;
mod faults;
mod handlers;
#[cfg(feature = "http")]
mod handlers_http;
mod hostile;
mod house;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_era;
#[cfg(feature = "http")]
mod http_faults;
#[cfg(feature = "http")]
mod http_legacy;
#[cfg(feature = "http")]
mod http_peer;
#[cfg(feature = "http")]
mod http_sse;
#[cfg(feature = "http")]
mod http_subscriptions;
#[cfg(feature = "http")]
mod http_tasks;
mod hub;
mod hub_tools;
mod input_rounds;
#[cfg(unix)]
mod killed;
mod logging;
mod meta;
mod methods;
mod metrics;
#[cfg(feature = "http")]
mod mirrored;
mod request_limits;
mod respawn;
#[cfg(feature = "http")]
mod retry;
mod rpc;
mod snapshot;
mod soak;
mod spec;
mod stdio;
mod subscriptions;
mod tasks;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
#[path = "../tls/server.rs"]
mod tls_server;
mod tool_filter;

/// What the examples share: their server, to put behind HTTP.
#[path = "../../examples/support/mod.rs"]
mod support;
