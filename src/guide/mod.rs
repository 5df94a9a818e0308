//! The guide: how to use this library, one task per page.
//!
//! | page | what it is about |
//! |---|---|
//! | [`concepts`] | what a client is, the two eras, who runs what on which thread |
//! | [`first_client`] | start a server, call a tool, close |
//! | [`exploring`] | what a server offers: capabilities, lists, pages |
//! | [`calling`] | tools: arguments, results, failures, progress, clocks, cancelling, several at once, tasks |
//! | [`reading`] | resources and resource templates |
//! | [`subscribing`] | what changes at a server: lists and resources |
//! | [`caching`] | keeping lists and resources, and what makes them go |
//! | [`prompting`] | prompts, and completion of their arguments |
//! | [`answering`] | what servers ask: questions to the user, models, roots |
//! | [`events`] | what happens to a connection: functions, an iterator; logs and traces |
//! | [`many_servers`] | a hub: many servers under names, one list of their tools |
//! | [`transports`] | stdio, HTTP and the others: what is found out, credentials, what a connection costs |
//! | [`retrying`] | asking again after a failure, and what is never done twice |
//! | [`config_files`] | the files of Claude, Cursor, VS Code, Codex and others |
//! | [`limits`] | how much is asked of a server, and what is counted |
//! | [`errors`] | every kind of error: what it means, what to do |
//! | [`testing`] | servers inside your tests |
//! | [`best_practices`] | what programs that run for long do, each with the line that does it |
//! | [`from_python`] | for those who know the Python SDK |
//!
//! What the pages show is compiled with the tests of this library, and run wherever that needs no
//! other program. The programs in the directory `examples` start their own server: try
//! `cargo run --example basic_client`.

#[doc = include_str!("concepts.md")]
pub mod concepts {}

#[doc = include_str!("first_client.md")]
pub mod first_client {}

#[doc = include_str!("exploring.md")]
pub mod exploring {}

#[doc = include_str!("calling.md")]
pub mod calling {}

#[doc = include_str!("reading.md")]
pub mod reading {}

#[doc = include_str!("subscribing.md")]
pub mod subscribing {}

#[doc = include_str!("caching.md")]
pub mod caching {}

#[doc = include_str!("prompting.md")]
pub mod prompting {}

#[doc = include_str!("answering.md")]
pub mod answering {}

#[doc = include_str!("events.md")]
pub mod events {}

#[doc = include_str!("many_servers.md")]
pub mod many_servers {}

// It is about HTTP, too, whoever reads it.
#[cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]
#[doc = include_str!("transports.md")]
pub mod transports {}

#[doc = include_str!("retrying.md")]
pub mod retrying {}

// It is about files, too, whoever reads it.
#[cfg_attr(not(feature = "config"), allow(rustdoc::broken_intra_doc_links))]
#[doc = include_str!("config_files.md")]
pub mod config_files {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]
#[doc = include_str!("best_practices.md")]
pub mod best_practices {}

#[doc = include_str!("from_python.md")]
pub mod from_python {}
