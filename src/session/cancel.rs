//! Ending a blocking call from another thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::session::router::Router;

/// Ends blocking calls from another thread.
///
/// Give clones of one token to any number of calls (or to
/// [`ClientBuilder::cancel_token`](crate::ClientBuilder::cancel_token), for connecting), and
/// [`cancel`](CancelToken::cancel) ends them all: each returns an error of kind
/// [`Cancelled`](crate::ErrorKind::Cancelled), and its server is told. A token stays cancelled: a
/// later call that carries it fails at once.
///
/// ```
/// use umcp::{CancelToken, Client, Server, json};
///
/// // A server that never answers a call.
/// let server = Server::in_memory(|peer| {
///     peer.open_modern(json!({ "tools": {} }));
///     while peer.receive().is_some() {}
/// });
/// let client = Client::open(server)?;
/// let token = CancelToken::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| token.cancel());
///     let error = client.tool("slow").cancel_token(&token).call().unwrap_err();
///     assert!(error.is_cancelled());
/// });
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// The token has been cancelled.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    requests: HashMap<Key, Weak<Router>>,
}

pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled by this program")
}

impl CancelToken {
    /// Makes a token that has not been cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every call that carries this token. Does not block. Idempotent.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.cancelled = true;
        let requests = std::mem::take(&mut state.requests);
        drop(state);
        self.0.changed.notify_all();
        for ((_, id), router) in requests {
            if let Some(router) = router.upgrade() {
                router.cancel(id);
            }
        }
    }

    /// Returns whether the token has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Waits for that long, or until the token is cancelled. Returns whether it is.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let waited = self.0.changed.wait_timeout_while(self.lock(), time, |it| !it.cancelled);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.cancelled
    }

    /// Lets this token cancel the request, also if it has been cancelled already, for as long as
    /// what is returned is kept.
    pub(crate) fn watch(&self, router: &Arc<Router>, id: u64) -> Watch {
        let key = (Arc::as_ptr(router).addr(), id);
        let mut state = self.lock();
        if state.cancelled {
            drop(state);
            router.cancel(id);
        } else {
            state.requests.insert(key, Arc::downgrade(router));
        }
        Watch { token: self.clone(), key }
    }
}

/// Which request: its router's address, which the entry's `Weak` keeps from being used again, and
/// its id.
type Key = (usize, u64);

/// A request that a token can cancel.
pub(crate) struct Watch {
    token: CancelToken,
    key: Key,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.token.lock().requests.remove(&self.key);
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("CancelToken")
            .field("cancelled", &state.cancelled)
            .field("requests", &state.requests.len())
            .finish()
    }
}
