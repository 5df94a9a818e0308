//! Answers that are kept, so as not to be asked for again.

mod asking;
mod shared;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::tool_filter::matches;

pub(super) use asking::Caching;
pub(super) use shared::{Flight, Shared};

/// Has a client keep what the server answers, and give it out again while it is fresh: an argument of
/// [`ClientBuilder::cache`](crate::ClientBuilder::cache). Without one nothing is kept.
///
/// Kept are the four lists (each page by itself) and the resources that were read, as they came: by the
/// typed methods, not by [`Client::request`]. A server of 2026-07-28 says for how long they are fresh;
/// for one that does not, [`default_ttl`](Self::default_ttl) says it. Kept answers belong to one client,
/// in its memory: they are shared with no other client, whoever it is authorized by, also if the server
/// would allow that.
///
/// What is kept goes at once when the server says that it has changed, and what can be read goes
/// when a tool is called. Never kept are errors, answers for which the server asked something, and
/// those to requests with callbacks or a `_meta` of their own.
///
/// ```
/// # use umcp::memory::Script;
/// # use umcp::json;
/// use std::time::Duration;
/// use umcp::{Cache, Client};
///
/// # let script = Script::new().answer("tools/list", json!({ "tools": [] }));
/// # let server = script.server();
/// let cache = Cache::new().default_ttl(Duration::from_secs(60)).max_bytes(4 * 1024 * 1024);
/// let client = Client::builder().cache(cache).open(server)?;
/// client.list_tools()?;
/// client.list_tools()?; // asks nobody
/// assert_eq!(client.cache().stats().hits, 1);
/// # assert_eq!(script.received("tools/list").len(), 1);
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "settings do nothing until `ClientBuilder::cache`"]
pub struct Cache {
    default_ttl: Duration,
    max_bytes: usize,
    stale_for: Duration,
    invalidate_on_call: bool,
    /// Monotonic. Tests have one of their own.
    now: fn() -> Instant,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// Settings to begin with.
    pub fn new() -> Self {
        Self {
            default_ttl: Duration::from_secs(5 * 60),
            max_bytes: 16 * 1024 * 1024,
            stale_for: Duration::ZERO,
            invalidate_on_call: true,
            now: Instant::now,
        }
    }

    /// Sets for how long an answer is fresh of which the server does not say it: all answers of servers
    /// before 2026-07-28. Default 5 minutes. With zero they are not kept.
    ///
    /// What a server says counts for 24 hours at most. Time in which the computer sleeps may not count.
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.default_ttl = ttl;
        self
    }

    /// Sets how many bytes may be kept, about. Default 16 MiB. What was not used for longest goes first,
    /// and an answer of more than a quarter of it is not kept.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Gives out, when the server cannot be asked, what is no longer fresh, for this much longer.
    /// Default zero: never.
    ///
    /// That is when asking fails as [`Unreachable`](crate::ErrorKind::Unreachable) (over HTTP any
    /// status that is no answer, such as 503), [`Disconnected`](crate::ErrorKind::Disconnected) or
    /// [`Timeout`](crate::ErrorKind::Timeout). A warning is logged. What has been invalidated is gone.
    /// It is for calls and lists: what is started and waited for later, and
    /// [`read_resources`](crate::Client::read_resources), fail as without it.
    pub fn stale_if_error(mut self, at_most: Duration) -> Self {
        self.stale_for = at_most;
        self
    }

    /// Sets whether a call of a tool drops the resources that were read and the lists of resources and
    /// templates, when it begins and again when it ends: the tool may have changed them. Default
    /// `true`. What a tool says of itself (such as `readOnlyHint`) is not believed.
    pub fn invalidate_on_call(mut self, invalidate: bool) -> Self {
        self.invalidate_on_call = invalidate;
        self
    }
}

impl Cache {
    /// How many bytes one answer may have.
    fn largest(&self) -> usize {
        self.max_bytes / 4
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("default_ttl", &self.default_ttl)
            .field("max_bytes", &self.max_bytes)
            .field("stale_if_error", &self.stale_for)
            .field("invalidate_on_call", &self.invalidate_on_call)
            .finish()
    }
}

impl Client {
    /// Returns the handle of what this client keeps. A client without a [`Cache`] keeps nothing, and
    /// its handle does nothing.
    pub fn cache(&self) -> CacheHandle {
        CacheHandle(self.inner.cache.clone())
    }
}

/// What a live client keeps: made by [`Client::cache`].
///
/// Cheap to clone; all of one client are the same. It does not keep the connection open.
///
/// ```
/// # use umcp::memory::Script;
/// # use umcp::json;
/// use umcp::{Cache, Client};
///
/// # let script = Script::new().answer("resources/read", json!({ "contents": [] }));
/// let client = Client::builder().cache(Cache::new()).open(script.server())?;
/// client.read_resource("file:///docs/a.md")?;
/// client.read_resource("file:///notes.txt")?;
/// assert_eq!(client.cache().invalidate("file:///docs/*"), 1);
/// assert_eq!(client.cache().stats().entries, 1);
/// client.cache().clear();
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone)]
pub struct CacheHandle(Option<Arc<Shared>>);

impl CacheHandle {
    /// Drops every answer whose method or, of a resource that was read, whose URI the pattern fits.
    /// Returns how many.
    ///
    /// In a pattern `*` stands for any characters, or none; everything else for itself. It has to fit
    /// the whole: `tools/list` is all pages of that list, `resources/read` everything that was read,
    /// `resources/*` that and the lists of resources and templates, `file:///docs/*` what was read below
    /// `docs`. A list cannot be dropped in part. Answers that are on their way are not kept when they
    /// come.
    pub fn invalidate(&self, pattern: impl AsRef<str>) -> usize {
        let pattern = pattern.as_ref();
        self.0.as_ref().map_or(0, |cache| {
            cache.lock().invalidate(|method, uri| {
                matches(pattern, method.name()) || uri.is_some_and(|uri| matches(pattern, uri))
            })
        })
    }

    /// Drops everything. The counters go on.
    pub fn clear(&self) {
        if let Some(cache) = &self.0 {
            cache.lock().invalidate(|_, _| true);
        }
    }

    /// Returns the counters and what is kept now.
    pub fn stats(&self) -> CacheStats {
        self.0.as_ref().map(|cache| cache.lock().stats()).unwrap_or_default()
    }
}

impl fmt::Debug for CacheHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheHandle").field(&self.stats()).finish()
    }
}

/// How a cache does: from [`CacheHandle::stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// How many answers were given out that were kept, each page of a list for itself. An old one
    /// instead of an error counts as a miss.
    pub hits: u64,
    /// How many answers had to be asked for, as no fresh one was kept. Those that are asked for in any
    /// case ([`Request::fresh`](crate::Request::fresh), [`Request::start`](crate::Request::start)) do
    /// not count.
    pub misses: u64,
    /// How many answers are kept, with those that are not fresh any more.
    pub entries: usize,
    /// How many bytes they take, about.
    pub bytes: usize,
}
