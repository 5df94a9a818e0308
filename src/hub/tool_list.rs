//! The tools of one connection, kept for as long as the server says that they have not changed.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::client::{Client, Subscription};
use crate::deadline::Deadline;
use crate::error::{ErrorKind, Result};
use crate::protocol::Tool;
use crate::session::CancelToken;

/// How long a server may take to agree that it will say when its tools change.
const AGREES_WITHIN: Duration = Duration::from_secs(5);
/// How often tools are asked for that change meanwhile.
const ATTEMPTS: usize = 3;
/// How long a server's word is taken that its tools do not change, at most.
const LONGEST: Duration = Duration::from_secs(3600);
/// How many changes are looked at together. More than that may wait only if the server goes on and on.
const TOGETHER: usize = 4096;

#[derive(Default)]
pub(super) struct ToolList(Mutex<State>);

#[derive(Default)]
struct State {
    /// The newest. Whoever wants it while it is under way waits for it.
    listing: Arc<Listing>,
    changes: Changes,
}

type Listing = OnceLock<Result<Listed>>;

#[derive(Clone)]
struct Listed {
    tools: Arc<[Tool]>,
    /// The server says that they are the same until then.
    until: Deadline,
}

#[derive(Default)]
enum Changes {
    #[default]
    NotAskedFor,
    Told(Box<Subscription>),
    /// The server does not say when its tools change, and at most for how long they do not.
    Untold,
}

impl ToolList {
    /// The list as it is now: that which is kept, or what the server says.
    pub(super) fn get(&self, client: &Client, cancel: &CancelToken) -> Result<Arc<[Tool]>> {
        if client.capabilities().tools.is_none() {
            return Ok(Arc::default());
        }
        loop {
            let listing = {
                let mut state = self.lock();
                if !state.is_current() {
                    state.listing = Arc::default();
                }
                state.listing.clone()
            };
            let listed = listing.get_or_init(|| self.ask(&listing, client, cancel)).clone();
            let error = match listed {
                Ok(listed) => return Ok(listed.tools),
                Err(error) => error,
            };
            self.lock().forget(&listing);
            // Who began it has found elsewhere what it looked for; this one has not.
            let is_anothers = error.kind() == ErrorKind::Cancelled && !cancel.is_cancelled();
            if !is_anothers {
                return Err(error);
            }
        }
    }

    /// The newest list that has come, which may be out of date.
    pub(super) fn latest(&self) -> Option<Arc<[Tool]>> {
        self.lock().latest().map(|listed| listed.tools.clone())
    }

    /// The list, if it is kept and current. Does not block.
    pub(super) fn kept(&self, client: &Client) -> Option<Arc<[Tool]>> {
        if client.capabilities().tools.is_none() {
            return Some(Arc::default());
        }
        let mut state = self.lock();
        let is_current = state.is_current();
        state.latest().filter(|_| is_current).map(|listed| listed.tools.clone())
    }

    fn ask(&self, listing: &Arc<Listing>, client: &Client, cancel: &CancelToken) -> Result<Listed> {
        // First, so that no change is missed.
        self.listen(listing, client);
        let ask = || {
            // What the client may keep for itself has been there for a while.
            let (tools, until) = client.tools().fresh().cancel_token(cancel).all_until()?;
            Ok(Listed { tools: tools.into(), until: until.min(Deadline::after(LONGEST)) })
        };
        for _ in 1..ATTEMPTS {
            let listed = ask();
            let mut state = self.lock();
            if cancel.is_cancelled() || !state.have_changed() {
                return listed;
            }
            if !Arc::ptr_eq(&state.listing, listing) {
                // That was news for whoever has begun after this.
                state.listing = Arc::default();
                return listed;
            }
        }
        // Whether they have changed again the next one will see.
        ask()
    }

    fn listen(&self, listing: &Arc<Listing>, client: &Client) {
        if !matches!(self.lock().changes, Changes::NotAskedFor) {
            return;
        }
        let changes = match client.subscribe().tools().timeout(AGREES_WITHIN).open() {
            Ok(told) if told.acknowledged().tools_list_changed => Changes::Told(Box::new(told)),
            Ok(_) => Changes::Untold,
            Err(error) => {
                log::debug!("nobody says when these tools change: {error}");
                match error.kind() {
                    // That may pass.
                    ErrorKind::Disconnected | ErrorKind::Unreachable => Changes::NotAskedFor,
                    _ => Changes::Untold,
                }
            }
        };
        let mut state = self.lock();
        // Another one's list may be older than this subscription.
        if Arc::ptr_eq(&state.listing, listing) {
            state.changes = changes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn latest(&self) -> Option<&Listed> {
        self.listing.get()?.as_ref().ok()
    }

    /// Whether the newest list is, or will be, what the server would say now. One that is known to be
    /// out of date is gone then.
    fn is_current(&mut self) -> bool {
        if self.have_changed() {
            self.listing = Arc::default();
        }
        match &self.changes {
            Changes::NotAskedFor => self.listing.get().is_none(),
            Changes::Told(_) => true,
            Changes::Untold => self.latest().is_some_and(|listed| !listed.until.has_passed()),
        }
    }

    /// Whether the server has said, since the last time, that there are other tools. Does not block.
    fn have_changed(&mut self) -> bool {
        let Changes::Told(told) = &mut self.changes else { return false };
        let mut have_changed = false;
        for _ in 0..TOGETHER {
            match told.try_next() {
                Ok(Some(_)) => have_changed = true,
                Ok(None) if told.is_open() => return have_changed,
                // It has ended or broken, and is to be asked for again by whoever wants the list next.
                Ok(None) | Err(_) => {
                    self.changes = Changes::NotAskedFor;
                    return true;
                }
            }
        }
        have_changed
    }

    /// An error is not kept.
    fn forget(&mut self, listing: &Arc<Listing>) {
        if Arc::ptr_eq(&self.listing, listing) {
            self.listing = Arc::default();
        }
    }
}
