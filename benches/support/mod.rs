//! What the benchmarks share. Each brings its own `clients::Subject`: what is compared.

#![allow(dead_code, reason = "no benchmark needs all of it")]

pub mod allocator;
pub mod calls;
pub mod figures;
pub mod holder;
pub mod process;
pub mod receiver;
pub mod replies;
pub mod samples;
pub mod syscalls;
pub mod table;
pub mod wire;
