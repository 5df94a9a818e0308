//! A session that the server has ended is begun again, once for all who notice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::deadline::{Clocks, Deadline};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{ClientRequest, Era, SetLevelParams};
use crate::session::handshake::Attempt;
use crate::session::router::{self, Sent};
use crate::session::{CancelToken, Session, close_by};
use crate::transport::{Delivery, Inbox, Slot};

#[derive(Default)]
pub(super) struct Renewal(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many sessions have been begun anew.
    generation: u64,
    is_under_way: bool,
    /// Who waits for the one that is under way.
    waiting: Vec<u64>,
}

impl Renewal {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Also if it fails or panics, nobody waits for it any longer.
struct UnderWay<'s>(&'s Session);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.0.renewal.lock();
        state.is_under_way = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|id| self.0.router.ready(id));
    }
}

impl Session {
    /// Which session this is, of those that the connection has had.
    pub(super) fn generation(&self) -> u64 {
        self.renewal.lock().generation
    }

    /// Begins another session, unless somebody has since that generation. Blocks until the clocks'
    /// end at most.
    pub(super) fn renew(
        self: &Arc<Self>,
        since: u64,
        slot: &Slot,
        clocks: &Clocks,
        cancel: Option<&CancelToken>,
    ) -> Result<()> {
        loop {
            let mut state = self.renewal.lock();
            if state.generation != since {
                return Ok(());
            }
            if !state.is_under_way {
                state.is_under_way = true;
                drop(state);
                return self.begin_anew(clocks, cancel);
            }
            // Nothing but the one that is under way answers this.
            let expected = self.router.expect(slot, cancel)?;
            state.waiting.push(expected.id);
            drop(state);
            self.wait_for_renewal(expected.id, slot, clocks.next().0)?;
        }
    }

    /// The same on a thread of its own. What is returned gets a `Ready` when there is another session, or
    /// why there is none.
    pub(super) fn renew_aside(
        self: &Arc<Self>,
        since: u64,
        slot: &Slot,
        cancel: Option<&CancelToken>,
    ) -> Result<Sent> {
        let expected = self.router.expect(slot, cancel)?;
        let (id, session) = (expected.id, self.clone());
        let renew = move || {
            let most = session.opening.timeouts.connect;
            let clocks = Clocks::start(most, most);
            match session.renew(since, &Slot::for_replies(), &clocks, None) {
                Ok(()) => session.router.ready(id),
                Err(error) => session.router.ended(Some(id), error),
            }
        };
        self.router.threads.spawn("umcp-restart", renew).map_err(|error| {
            self.router.withdraw(id, "");
            Error::new(ErrorKind::Limit, format!("no thread to start the server again: {error}"))
        })?;
        Ok(expected)
    }

    fn wait_for_renewal(&self, id: u64, slot: &Slot, until: Deadline) -> Result<()> {
        loop {
            match slot.receive(until) {
                Some(Delivery::Ready(of)) if of == id => return Ok(()),
                Some(Delivery::Failed(of, error)) if of == id => return Err(error),
                Some(_) => {}
                None => {
                    if self.router.withdraw(id, "").is_none() {
                        router::clear(slot);
                    }
                    let text = "no other session with the server began in time";
                    let error = Error::new(ErrorKind::Timeout, text);
                    return Err(error.hint("Raise `timeout`, or open a new client"));
                }
            }
        }
    }

    fn begin_anew(self: &Arc<Self>, clocks: &Clocks, cancel: Option<&CancelToken>) -> Result<()> {
        let _under_way = UnderWay(self);
        log::debug!("{}: begins another session", self.server());
        self.router.forget_questions();
        let transport = self.router.transport()?;
        let restarts_at = transport.restarts_at();
        if transport.facts().restarts && restarts_at.is_none() {
            return Ok(());
        }
        if let Some(at) = restarts_at {
            self.restart(at, clocks, cancel)?;
        }
        let left = clocks.next().0.remaining();
        let clocks = Clocks::start(self.opening.timeouts.connect.min(left), left);
        let mut attempt = Attempt::over(self.router.clone(), &self.opening, clocks, cancel);
        let era = self.terms.version.era();
        let begun = attempt.begin(era).and_then(|terms| match terms.version.era() == era {
            true => Ok(()),
            false => {
                let text = format!("the server was {era}, and no longer is");
                let error = Error::new(ErrorKind::Protocol, text).server(self.server());
                Err(error.hint("Open a new client").ran(false))
            }
        });
        if begun.is_ok() {
            self.router.know_era(era);
            if era == Era::Legacy {
                self.restore_level(&mut attempt);
            }
        }
        // The connection goes on: what was not answered in time is not to stay on it.
        attempt.leave();
        begun?;
        transport.opened(self.generation() + 1);
        self.renewal.lock().generation += 1;
        if restarts_at.is_some() {
            self.listeners().go_on();
        }
        self.watch_again();
        Ok(())
    }

    /// Has a server that has ended started again, at that time.
    fn restart(&self, at: Deadline, clocks: &Clocks, cancel: Option<&CancelToken>) -> Result<()> {
        let (end, ..) = clocks.next();
        if at > end {
            let wait = at.remaining();
            let text =
                format!("the server has ended, and is not started again for another {wait:.1?}");
            let error = Error::new(ErrorKind::Disconnected, text).server(self.server()).ran(false);
            let error = error.hint("Give the call more time, or make it again then");
            return Err(error.retry_in(Some(wait)));
        }
        self.pause(at, cancel)?;
        let graces = close_by(&self.opening.timeouts);
        let restarted = self.router.transport()?.restart(graces.min(end));
        restarted.map_err(|error| error.server(self.server()))
    }

    /// LHTTP-9: what the session before knew of this client. What it watched is asked for again once
    /// there is a session, as that may take longer than whoever began this one can wait.
    fn restore_level(&self, attempt: &mut Attempt<'_>) {
        if let Some(level) = self.log_level() {
            let told = attempt.ask(&ClientRequest::SetLevel(SetLevelParams::new(level)));
            if let Err(error) = told {
                log::debug!("{}: the log level was lost: {error}", self.server());
            }
        }
    }
}
