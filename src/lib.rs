#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
#[cfg(feature = "config")]
pub mod config;
mod deadline;
mod error;
pub mod guide;
mod hub;
mod limits;
#[cfg(feature = "http")]
mod net;
mod process;
pub mod protocol;
mod session;
mod threads;
mod transport;

pub use client::{
    Cache, CacheHandle, CacheStats, Change, Client, ClientBuilder, Closer, Context, EraFile,
    EraMemory, Events, Items, List, Listed, Notification, Page, Pages, Pending, Reply, Request,
    Retry, SamplingRefusal, Server, Subscription, SubscriptionBuilder, Task, TaskOrResult,
};
#[cfg(feature = "config")]
pub use config::Config;
pub use error::{Error, ErrorKind, Result, RpcError};
pub use hub::{Hub, HubTool};
pub use limits::{Limits, Timeouts};
pub use protocol::{
    CallToolResult, Completion, CompletionReference, ContentBlock, Era, GetPromptResult,
    Implementation, LogMessageParams, LoggingLevel, ProgressParams, Prompt, ProtocolVersion,
    RawJson, ReadResourceResult, Resource, ResourceContents, ResourceTemplate, Role, Tool,
};
pub use session::{
    CancelToken, Event, EventKind, Histogram, ListenerGuard, Metrics, RequestLimits,
};
pub use transport::CloseReport;
pub use transport::stream::ByteStream;

/// Makes a JSON value: [`serde_json::json!`].
pub use serde_json::json;

/// Servers that live in this program: to test a program that uses umcp without starting anything.
///
/// [`Script`](memory::Script) is a server made of ready answers. For anything else there is
/// [`Server::in_memory`], which runs a function of yours on the other end of the connection, a
/// [`Peer`](memory::Peer).
pub mod memory {
    pub use crate::client::Script;
    pub use crate::transport::memory::{Peer, Received};
}
