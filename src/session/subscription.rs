//! One subscription: opened, kept open, and ended, in either era.
//!
//! In the modern era it is a request that stays open (`subscriptions/listen`). A legacy server says
//! unasked that lists have changed, and is asked for updates of resources one by one.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::deadline::{self, Clocks, Deadline, Overtime};
use crate::error::{Error, ErrorKind, Refusal, Result};
use crate::protocol::envelope::{Kind, Message, Outcome};
use crate::protocol::meta::RequestMeta;
use crate::protocol::{
    ClientRequest, Era, ListenParams, ProtocolVersion, SubscriptionFilter,
    SubscriptionsAcknowledgedParams,
};
use crate::session::feed::{ACKNOWLEDGED, Feed};
use crate::session::limiter::{Asks, Turn, no_turn};
use crate::session::router::{Interest, Sending, Sent};
use crate::session::watched::Place;
use crate::session::{AnsweredBy, CancelToken, Session, unclear_reply};
use crate::transport::{Delivery, Notice, Slot};

const LISTEN: &str = "subscriptions/listen";

/// How often in a row it may fail to be opened again.
const MOST_FAILURES: u32 = 10;

/// What is to be subscribed to, and for how long to wait for the server's word.
pub(crate) struct Wanted {
    pub(crate) filter: SubscriptionFilter,
    pub(crate) timeout: Duration,
    pub(crate) max_total: Duration,
    /// How long the server may be silent where it could give signs of life.
    pub(crate) idle: Option<Duration>,
    pub(crate) cancel: Option<CancelToken>,
}

/// What comes of a subscription.
pub(crate) enum Heard {
    Notice(Notice),
    /// So many found no room; 0 if something may have happened while nobody listened.
    Missed(usize),
}

/// What may end a subscription from any thread.
pub(crate) struct Ending {
    session: Arc<Session>,
    state: Mutex<EndingState>,
}

#[derive(Default)]
struct EndingState {
    /// What is being waited for now.
    id: u64,
    is_closed: bool,
    /// What a legacy server watches for it.
    resources: Vec<Place>,
}

pub(crate) struct Subscription {
    session: Arc<Session>,
    wanted: Wanted,
    granted: SubscriptionFilter,
    slot: Slot,
    feed: Arc<Feed>,
    sent: Option<Sent>,
    /// To be used when it is asked for next.
    turn: Option<Turn>,
    ending: Arc<Ending>,
    stage: Stage,
    /// What came while it was being opened.
    early: VecDeque<Heard>,
    /// How often in a row it was lost.
    failures: u32,
    overtime: Overtime,
    /// Versions it was asked for again in, after the server refused another.
    retried: Vec<ProtocolVersion>,
}

enum Stage {
    /// The server has not acknowledged it yet.
    Asked(Clocks),
    /// The server has ended, and is being started again.
    Renewing(Clocks),
    Open,
    /// It was lost, and is asked for again then.
    Pausing(Deadline),
    Over,
}

/// What happened.
enum Step {
    Acknowledged,
    Heard(Heard),
}

impl Subscription {
    /// Subscribes, and waits until the server has acknowledged it.
    pub(crate) fn open(session: &Arc<Session>, wanted: Wanted) -> Result<Self> {
        let slot = Slot::new();
        let clocks = Clocks::start(wanted.timeout, wanted.max_total);
        let is_legacy = session.terms.version.era() == Era::Legacy;
        let ending = Ending { session: session.clone(), state: Mutex::default() };
        let mut subscription = Self {
            feed: session.feed(&wanted.filter, &slot, is_legacy),
            session: session.clone(),
            granted: SubscriptionFilter::default(),
            wanted,
            slot,
            sent: None,
            turn: None,
            ending: Arc::new(ending),
            stage: Stage::Over,
            early: VecDeque::new(),
            failures: 0,
            overtime: Overtime::default(),
            retried: Vec::new(),
        };
        let opened = match is_legacy {
            true => subscription.watch(&clocks),
            false => {
                subscription.listen(clocks.clone()).and_then(|()| subscription.wait_for_word())
            }
        };
        opened.map_err(|error| {
            let error = error.server(session.server()).after(clocks.elapsed());
            if is_legacy { error } else { error.about(LISTEN, "") }
        })?;
        Ok(subscription)
    }

    /// What the server delivers.
    pub(crate) fn granted(&self) -> &SubscriptionFilter {
        &self.granted
    }

    /// How much has come that was not looked at.
    pub(crate) fn waiting(&self) -> usize {
        self.early.len() + self.slot.len()
    }

    /// Whether changes are delivered, as of the last look.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    pub(crate) fn ending(&self) -> &Arc<Ending> {
        &self.ending
    }

    /// Waits until `until` at most. An error is the end.
    pub(crate) fn next(&mut self, until: Deadline) -> Result<Option<Heard>> {
        if let Some(heard) = self.early.pop_front() {
            return Ok(Some(heard));
        }
        match self.advance(until) {
            Ok(None) => Ok(None),
            Ok(Some(Step::Heard(heard))) => Ok(Some(heard)),
            // SUB-17: it was lost before.
            Ok(Some(Step::Acknowledged)) => Ok(Some(Heard::Missed(0))),
            Err(error) => {
                self.stage = Stage::Over;
                self.ending.close();
                Err(error.server(self.session.server()))
            }
        }
    }

    /// SUB-21: lists are reported unasked, resources are not.
    fn watch(&mut self, clocks: &Clocks) -> Result<()> {
        let cancel = self.wanted.cancel.clone();
        let sent = self.session.router.listen(&self.slot, &self.feed, cancel.as_ref())?;
        self.expect(sent);
        let mut granted = self.wanted.filter.clone();
        let mut refusal = None;
        for uri in std::mem::take(&mut granted.resource_subscriptions) {
            match self.session.watch(&uri, clocks, cancel.as_ref()) {
                Ok(place) => {
                    self.ending.lock().resources.push(place);
                    granted.resource_subscriptions.push(uri);
                }
                // SUB-5: a modern server leaves it out of what it acknowledges.
                Err(error) if error.kind() == ErrorKind::Rpc => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        self.granted = granted;
        self.stage = Stage::Open;
        refusal.filter(|_| self.granted.is_empty()).map_or(Ok(()), Err)
    }

    /// Asks for it, under a new id, and of a server that has ended once it has been started again: on
    /// another thread, as that takes longer than whoever waits may wish to.
    fn listen(&mut self, clocks: Clocks) -> Result<()> {
        // No turn is spent on what cannot leave.
        if self.session.why_lost().is_some() {
            return self.renew(clocks, self.session.generation());
        }
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => self.turn(&clocks)?,
        };
        let generation = self.session.generation();
        match self.ask(clocks.clone(), generation, turn) {
            Err(error) if error.refusal() == Some(Refusal::UnknownSession) => {
                self.renew(clocks, generation)
            }
            asked => asked,
        }
    }

    fn renew(&mut self, clocks: Clocks, since: u64) -> Result<()> {
        let cancel = self.wanted.cancel.as_ref();
        let renewed = self.session.renew_aside(since, &self.slot, cancel)?;
        self.stage = Stage::Renewing(clocks);
        self.expect(renewed);
        Ok(())
    }

    fn ask(&mut self, clocks: Clocks, generation: u64, turn: Turn) -> Result<()> {
        let session = self.session.clone();
        self.feed = session.feed(&self.wanted.filter, &self.slot, false);
        let request = ClientRequest::Listen(ListenParams::new(self.wanted.filter.clone()));
        let mut meta = RequestMeta::default();
        session.trace(&mut meta);
        let speaking = session.speaking();
        let sending = Sending {
            request: &request,
            speaking: speaking.as_ref().map(|speaking| speaking.of(AnsweredBy::Handlers)),
            meta: &meta,
            mirror: &[],
            session: Some(generation),
            at: None,
            turn,
            interest: Interest::default(),
            standstill: None,
            feed: Some(&self.feed),
            waits: false,
            until: clocks.next().0,
            cancel: self.wanted.cancel.as_ref(),
        };
        let sent = session.router.send(&self.slot, sending)?;
        self.stage = Stage::Asked(clocks);
        self.expect(sent);
        Ok(())
    }

    /// Waits until it may be asked for.
    fn turn(&self, clocks: &Clocks) -> Result<Turn> {
        let cancel = self.wanted.cancel.as_ref();
        if let Some(turn) = self.session.turn_now(Asks::Subscription, cancel)? {
            return Ok(turn);
        }
        let (end, clock, set_to) = clocks.next();
        let turn = self.turn_until(end)?;
        turn.ok_or_else(|| no_turn(clock.name(), set_to))
    }

    fn turn_until(&self, until: Deadline) -> Result<Option<Turn>> {
        let cancel = self.wanted.cancel.as_ref();
        self.session.turn(Asks::Subscription, until, cancel, |id| self.ending.expect(id))
    }

    fn expect(&mut self, sent: Sent) {
        self.ending.expect(sent.id);
        self.sent = Some(sent);
    }

    /// SUB-19: the clocks run until the acknowledgement, and no further.
    fn wait_for_word(&mut self) -> Result<()> {
        let most = self.session.opening.limits.notifications.max(1);
        loop {
            match self.advance(Deadline::after(Duration::MAX))? {
                Some(Step::Acknowledged) => return Ok(()),
                Some(Step::Heard(heard)) if self.early.len() < most => self.early.push_back(heard),
                Some(Step::Heard(heard)) => {
                    let more = match heard {
                        Heard::Notice(_) => 1,
                        Heard::Missed(dropped) => dropped,
                    };
                    // The last of them counts for all that follow.
                    match self.early.back_mut() {
                        Some(Heard::Missed(dropped)) => *dropped += more,
                        _ => self.early.push_back(Heard::Missed(more)),
                    }
                }
                None => {}
            }
        }
    }

    /// The next thing that happens, until `until` at most.
    fn advance(&mut self, until: Deadline) -> Result<Option<Step>> {
        loop {
            if self.slot.is_empty() {
                let dropped = self.feed.take_dropped();
                if dropped > 0 {
                    return Ok(Some(Step::Heard(Heard::Missed(dropped))));
                }
            }
            let due = match &self.stage {
                Stage::Asked(clocks) | Stage::Renewing(clocks) => Some(clocks.next().0),
                Stage::Pausing(due) => Some(*due),
                Stage::Open => self.idle_at(),
                Stage::Over => None,
            };
            let limit = due.map_or(until, |due| due.min(until));
            let is_late = due.is_some_and(|due| self.overtime.is_over(due, self.slot.len()));
            let step = match (!is_late).then(|| self.slot.receive(limit)).flatten() {
                Some(delivery) => self.receive(delivery)?,
                None if due.is_some_and(Deadline::has_passed) => self.be_late(until)?,
                None => return Ok(None),
            };
            if step.is_some() {
                return Ok(step);
            }
        }
    }

    /// SUB-19: when the server has been silent for too long, if that says anything.
    fn idle_at(&self) -> Option<Deadline> {
        let idle = self.wanted.idle?;
        let heard_at = self.session.router.heard_at(self.id())?;
        Some(Deadline::from(heard_at, idle))
    }

    fn id(&self) -> u64 {
        self.sent.as_ref().map_or(0, |sent| sent.id)
    }

    fn receive(&mut self, delivery: Delivery) -> Result<Option<Step>> {
        match delivery {
            Delivery::Notice(notice) if is_acknowledgement(&notice) => {
                // One that comes when it was given up belongs to what is over.
                if !matches!(self.stage, Stage::Asked(_)) {
                    return Ok(None);
                }
                self.acknowledge(&notice).map(|()| Some(Step::Acknowledged))
            }
            Delivery::Notice(notice) => Ok(Some(Step::Heard(Heard::Notice(notice)))),
            Delivery::Missed(dropped) => Ok(Some(Step::Heard(Heard::Missed(dropped)))),
            Delivery::Ready(id) if id == self.id() => match &self.stage {
                // Its turn is waited for by whoever waits for changes, and no longer than they do.
                Stage::Renewing(_) if !self.granted.is_empty() => {
                    self.pause(Duration::ZERO).map(|()| None)
                }
                Stage::Renewing(clocks) => {
                    let clocks = clocks.clone();
                    self.listen(clocks).map(|()| None)
                }
                _ => Ok(None),
            },
            Delivery::Reply(id, reply) if id == self.id() => self.replied(&reply).map(|()| None),
            Delivery::Failed(id, error) if id == self.id() => self.lose(error).map(|()| None),
            // SUB-14: it belongs to what is over.
            _ => Ok(None),
        }
    }

    fn acknowledge(&mut self, notice: &Notice) -> Result<()> {
        let server = self.session.server();
        let granted = match notice.message().parse::<SubscriptionsAcknowledgedParams>() {
            // SUB-6: what nobody has asked for is dropped when it comes.
            Ok(acknowledged) => acknowledged.notifications.among(&self.wanted.filter),
            Err(_) => {
                log::warn!("{server}: the acknowledgement does not say of what");
                self.wanted.filter.clone()
            }
        };
        if granted.is_empty() {
            let text = "the server acknowledged the subscription, and delivers nothing of it";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        log::debug!("{server}: subscription {} is open", self.id());
        self.granted = granted;
        self.stage = Stage::Open;
        self.failures = 0;
        Ok(())
    }

    /// SUB-13: the reply is the end, and an error is one too.
    fn replied(&mut self, reply: &Message) -> Result<()> {
        let Kind::Response { outcome, .. } = reply.kind() else { return Err(unclear_reply()) };
        match outcome {
            Outcome::Result => Err(ended()),
            Outcome::Unclear => Err(unclear_reply()),
            Outcome::Error => {
                let error = reply.rpc_error();
                match (self.session.version_to_retry(&error, &self.retried), &self.stage) {
                    (Some(version), Stage::Asked(clocks)) => {
                        let clocks = clocks.clone();
                        self.retried.push(version);
                        self.session.use_version(version);
                        self.listen(clocks)
                    }
                    _ => Err(Error::from_rpc(error)),
                }
            }
        }
    }

    /// The acknowledgement is due, a sign of life, or the next attempt, for whose turn it waits until
    /// `until` at most: whoever listens cannot be told that there are limits.
    fn be_late(&mut self, until: Deadline) -> Result<Option<Step>> {
        const A_LITTLE_LATER: Duration = Duration::from_millis(10);
        let clocks = match &self.stage {
            Stage::Asked(clocks) | Stage::Renewing(clocks) => clocks,
            // It may have given one just now.
            Stage::Open if !self.idle_at().is_some_and(Deadline::has_passed) => return Ok(None),
            Stage::Open => {
                if let Some(delivery) = self.leave("idle") {
                    return self.receive(delivery);
                }
                let text = "the server gave no sign of life on the subscription's connection";
                return self.lose(Error::new(ErrorKind::Disconnected, text)).map(|()| None);
            }
            Stage::Pausing(_) | Stage::Over => {
                self.session.router.withdraw(self.id(), "");
                if self.session.why_lost().is_none() {
                    let Some(turn) = self.turn_until(until)? else {
                        return self.pause(A_LITTLE_LATER).map(|()| None);
                    };
                    self.turn = Some(turn);
                }
                let clocks = Clocks::start(self.wanted.timeout, self.wanted.max_total);
                if let Err(error) = self.listen(clocks) {
                    self.lose(error)?;
                }
                return Ok(None);
            }
        };
        let (_, clock, set_to) = clocks.next();
        let clock = clock.name();
        if let Some(delivery) = self.leave("timed out") {
            return self.receive(delivery);
        }
        let text = format!("no acknowledgement within {set_to:?} (`{clock}`)");
        let error = Error::new(ErrorKind::Timeout, text).hint(format!("Raise `{clock}`"));
        let error = self.session.router.overdue(error.ran(true));
        self.lose(error).map(|()| None)
    }

    /// Gives up what is waited for now. Returns what came just now and was being put into the slot, if
    /// that has ended it.
    fn leave(&mut self, why: &str) -> Option<Delivery> {
        const MOMENT: Duration = Duration::from_secs(1);
        match self.session.router.withdraw(self.id(), why) {
            Some(_) => None,
            None => self.slot.receive(Deadline::after(MOMENT)),
        }
    }

    /// What it came on has ended. SUB-15: where that is not the whole connection, it is opened again,
    /// later each time (SUB-17).
    fn lose(&mut self, error: Error) -> Result<()> {
        use ErrorKind::{Disconnected, Timeout, Unreachable};
        let is_lost = matches!(error.kind(), Disconnected | Timeout | Unreachable);
        let is_first = self.granted.is_empty();
        // HTTP-12: a connection that was open for long is often closed by now.
        let is_worth_it = match is_first {
            true => error.kind() == Disconnected && self.failures == 0,
            false => self.failures < MOST_FAILURES,
        };
        // SUB-21: there is nothing to ask for again at a legacy server.
        let is_asked_for = self.session.terms.version.era() == Era::Modern;
        let can_be = is_asked_for && self.session.goes_on();
        if !is_lost || !is_worth_it || !can_be {
            return Err(error);
        }
        self.failures += 1;
        if let (true, Stage::Asked(clocks)) = (is_first, &self.stage) {
            let clocks = clocks.clone();
            return self.listen(clocks);
        }
        log::debug!("{}: a subscription is opened again: {error}", self.session.server());
        let wait = backoff(self.failures).max(error.retry_after().unwrap_or_default());
        self.pause(wait)
    }

    /// It is asked for again then.
    fn pause(&mut self, wait: Duration) -> Result<()> {
        let cancel = self.wanted.cancel.as_ref();
        let expected = self.session.router.expect(&self.slot, cancel)?;
        self.stage = Stage::Pausing(Deadline::after(wait));
        self.expect(expected);
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.ending.close();
    }
}

impl Ending {
    fn lock(&self) -> MutexGuard<'_, EndingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That is what is waited for now.
    fn expect(&self, id: u64) {
        let mut state = self.lock();
        state.id = id;
        let is_closed = state.is_closed;
        drop(state);
        if is_closed {
            self.session.router.stop(id, closed());
        }
    }

    /// SUB-12: ends it, tells the server, and lets whoever waits know. Idempotent.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let (id, resources) = (state.id, std::mem::take(&mut state.resources));
        drop(state);
        self.session.router.stop(id, closed());
        self.session.unwatch(resources);
    }
}

impl Session {
    fn feed(&self, wanted: &SubscriptionFilter, slot: &Slot, is_acknowledged: bool) -> Arc<Feed> {
        let most = self.opening.limits.notifications;
        Feed::new(self.server(), wanted, slot.sender(), most, is_acknowledged)
    }
}

fn is_acknowledgement(notice: &Notice) -> bool {
    matches!(notice.message().kind(), Kind::Notification { method } if method == ACKNOWLEDGED)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the subscription was closed by this program")
}

/// The server does not go on with it.
pub(super) fn ended() -> Error {
    let error = Error::new(ErrorKind::Ended, "the server ended the subscription");
    error.hint("Subscribe again, if that is still of interest")
}

/// Longer each time, and never the same for everybody who was thrown out at once.
fn backoff(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(30);
    let longest = deadline::backoff(FIRST, failures.max(1), MOST);
    let half = longest / 2;
    let dice = RandomState::new().build_hasher().finish() % 1000;
    half + half.mul_f64(dice as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // SUB-17
    #[test]
    fn each_attempt_waits_longer_up_to_half_a_minute() {
        for (failures, most) in [(1, 500), (2, 1000), (3, 2000), (7, 30_000), (u32::MAX, 30_000)] {
            let wait = backoff(failures).as_millis();
            assert!((most / 2..=most).contains(&wait), "{failures}: {wait}");
        }
    }
}
