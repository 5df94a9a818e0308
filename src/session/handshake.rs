//! Opening a connection: finding out the server's era, and agreeing on a version.
//!
//! Section 1 of the protocol's rules: `server/discover` first; whatever answers it is modern, and
//! a server that refuses it, ignores it or dies of it is legacy and gets `initialize`. One that is
//! remembered as legacy gets `initialize` at once, and the probe if that does not work.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::deadline::{Clock, Clocks, Deadline};
use crate::error::{Error, ErrorKind, Refusal, Result, RpcError, misfit, said};
use crate::protocol::envelope::{Kind, Message, Outcome};
use crate::protocol::meta::RequestMeta;
use crate::protocol::{
    ClientRequest, DiscoverResult, Era, InitializeParams, InitializeResult, ProtocolVersion,
};
use crate::session::limiter::{Limiter, Turn};
use crate::session::renewal::Renewal;
use crate::session::router::{Interest, Router, Sending, Sent};
use crate::session::watched::Watched;
use crate::session::{
    AnsweredBy, CancelToken, Opening, Pin, Session, Speaking, Terms, no_common_version,
    unclear_reply,
};
use crate::transport::{Connect, Delivery, Slot};

/// A server that has been silent for so long is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(1);
/// A server that answers the probe after it was sent a ping gets so long to answer that too.
const AFTER_DISCOVER: Duration = Duration::from_secs(1);
/// A server that answers the ping but not `server/discover` gets so long to overtake itself.
const AFTER_PONG: Duration = Duration::from_millis(200);

/// The versions a `-32022` error lists.
pub(super) fn supported(error: &RpcError) -> Option<Vec<String>> {
    (error.code == UNSUPPORTED_VERSION).then(|| listed(error))
}

fn listed(error: &RpcError) -> Vec<String> {
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        supported: Vec<String>,
    }
    error.data_as::<Data>().map(|data| data.supported).unwrap_or_default()
}

pub(crate) const HEADER_MISMATCH: i64 = -32020;
const MISSING_CAPABILITY: i64 = -32021;
const UNSUPPORTED_VERSION: i64 = -32022;
const INVALID_PARAMS: i64 = -32602;

impl Session {
    /// Starts the server and agrees with it on a version.
    pub(crate) fn open(connect: &Connect, opening: Opening) -> Result<Arc<Self>> {
        let clocks = Clocks::start(opening.timeouts.connect, opening.timeouts.max_total);
        let mut attempt = Attempt::start(connect, &opening, clocks)?;
        let mut outcome = attempt.agree();
        if let Err(error) = &outcome
            && let Some(era) = attempt.another_way(error)
        {
            log::debug!("{}: started again, as a {era} server: {error}", opening.server);
            attempt.close();
            let mut clocks = attempt.clocks.clone();
            clocks.restart_timeout();
            attempt = Attempt::start(connect, &opening, clocks)?;
            outcome = attempt.begin(era);
        }
        let agreed = outcome.and_then(|terms| Ok((attempt.speaking(&terms)?, terms)));
        match agreed {
            Ok((speaking, terms)) => {
                attempt.router.know_era(terms.version.era());
                attempt.router.open();
                Ok(Arc::new(Session {
                    router: attempt.router.clone(),
                    terms,
                    speaking: Mutex::new(speaking),
                    log_level: Mutex::default(),
                    renewal: Renewal::default(),
                    watched: Watched::default(),
                    limiter: opening.request_limits.clone().map(Limiter::new),
                    // The router has them, and lets go of them at the end.
                    opening: Opening { listeners: Vec::new(), ..opening },
                }))
            }
            Err(error) => {
                attempt.close();
                Err(error.server(&opening.server))
            }
        }
    }
}

/// One connection on its way to a session.
pub(super) struct Attempt<'o> {
    router: Arc<Router>,
    opening: &'o Opening,
    /// Receives for every request of the handshake, so that a late answer to the probe is seen.
    slot: Slot,
    clocks: Clocks,
    cancel: Option<&'o CancelToken>,
    sent: Vec<Sent>,
    discover: Option<u64>,
    probed: bool,
    /// What is done follows from a verdict that was recalled, not from one that was found.
    recalled: bool,
}

/// The server's era.
enum Found {
    Modern(Box<Terms>),
    /// To be opened with this version, or the newest.
    Legacy(Option<ProtocolVersion>),
}

/// What a reply says about the probe.
enum Verdict {
    Found(Found),
    /// To be asked again in another version.
    Again(ProtocolVersion),
    Failed(Error),
}

impl<'o> Attempt<'o> {
    fn start(connect: &Connect, opening: &'o Opening, clocks: Clocks) -> Result<Self> {
        let router = Router::new(
            opening.server.clone(),
            opening.limits.clone(),
            &opening.listeners,
            opening.answers.clone(),
            opening.on_change.clone(),
        );
        let router = Arc::new(router);
        let transport = connect(router.clone()).map_err(|error| error.server(&opening.server))?;
        router.attach(transport);
        Ok(Self::over(router, opening, clocks, opening.cancel.as_ref()))
    }

    /// An attempt over a connection that is there.
    pub(super) fn over(
        router: Arc<Router>,
        opening: &'o Opening,
        clocks: Clocks,
        cancel: Option<&'o CancelToken>,
    ) -> Self {
        Self {
            router,
            opening,
            slot: Slot::new(),
            clocks,
            cancel,
            sent: Vec::new(),
            discover: None,
            probed: false,
            recalled: false,
        }
    }

    /// Begins as the pin or the hint says, and else with the probe.
    fn agree(&mut self) -> Result<Terms> {
        if self.opening.pin.newest(Era::Modern).is_none() {
            return self.begin(Era::Legacy);
        }
        self.recalled = self.opening.hint == Some(Era::Legacy);
        if !self.recalled {
            return self.begin(Era::Modern);
        }
        match self.begin(Era::Legacy) {
            // ERA-42: whatever it has against `initialize`, it may be that it is modern now.
            Err(error) if error.kind() == ErrorKind::Rpc || error.refusal().is_some() => {
                log::debug!("{}: not legacy as remembered? {error}", self.opening.server);
                self.recalled = false;
                self.begin(Era::Modern)
            }
            outcome => outcome,
        }
    }

    /// Begins with the probe, or straight with `initialize`.
    pub(super) fn begin(&mut self, era: Era) -> Result<Terms> {
        let version = self.opening.pin.newest(era).unwrap_or(ProtocolVersion::newest(era));
        match era {
            Era::Modern => self.probe(version),
            Era::Legacy => self.initialize(version),
        }
    }

    /// What to begin with on another connection, now that this one has failed.
    fn another_way(&self, error: &Error) -> Option<Era> {
        let may_be_legacy =
            self.opening.pin.newest(Era::Legacy).is_some() && !self.answers_or_fails();
        match error.kind() {
            // ERA-42: it died of `initialize`, or what it answered is no handshake.
            ErrorKind::Disconnected | ErrorKind::Protocol if self.recalled => Some(Era::Modern),
            // ERA-21: it died of the probe, or of what came after it ignored the probe.
            ErrorKind::Disconnected if self.probed && may_be_legacy => Some(Era::Legacy),
            _ => None,
        }
    }

    /// Ends what did not become a session. Nothing of it was used: it gets no time to end in.
    fn close(&self) {
        const AT_ONCE: Duration = Duration::from_millis(500);
        self.router.close(Deadline::after(AT_ONCE));
    }

    /// ERA-33: silence and broken connections say nothing of the server's era.
    fn answers_or_fails(&self) -> bool {
        self.router.transport().is_ok_and(|transport| transport.facts().answers_or_fails)
    }

    fn speaking(&self, terms: &Terms) -> Result<Option<Speaking>> {
        let version = terms.version;
        log::debug!("{}: speaks {version} ({})", self.opening.server, version.era());
        match version.era() {
            Era::Modern => Speaking::new(version, self.opening).map(Some),
            Era::Legacy => Ok(None),
        }
    }

    /// Sends one message of the handshake. No such request is cancelled on the wire.
    fn send(&mut self, request: &ClientRequest, version: Option<ProtocolVersion>) -> Result<u64> {
        let asks_era = matches!(request, ClientRequest::Discover);
        let modern = version.filter(|version| version.era() == Era::Modern);
        let speaking = modern.map(|version| Speaking::new(version, self.opening)).transpose()?;
        let sending = Sending {
            request,
            speaking: speaking.as_ref().map(|speaking| speaking.of(AnsweredBy::Handlers)),
            meta: &RequestMeta::default(),
            mirror: &[],
            session: None,
            at: None,
            turn: Turn::default(),
            interest: Interest { silent: true, asks_era, ..Interest::default() },
            standstill: None,
            feed: None,
            waits: true,
            until: self.clocks.next().0,
            cancel: self.cancel,
        };
        let sent = self.router.send(&self.slot, sending);
        let sent = sent.map_err(|error| self.explain(error, request.method()))?;
        let id = sent.id;
        self.sent.push(sent);
        Ok(id)
    }

    /// Waits no longer for anything that was sent.
    pub(super) fn leave(&self) {
        for sent in &self.sent {
            self.router.withdraw(sent.id, "");
        }
    }

    fn forget(&mut self, id: u64) {
        self.router.withdraw(id, "");
        self.sent.retain(|sent| sent.id != id);
    }

    fn next(&self, id: u64, until: Deadline) -> Result<Option<Delivery>> {
        let delivery = self.router.transport()?.next(id, &self.slot, until);
        if let Some(Delivery::Reply(id, reply)) = &delivery {
            log::debug!("{}: <- reply to {id} ({} bytes)", self.opening.server, reply.len());
        }
        Ok(delivery)
    }

    /// ERA-12: opens with `server/discover`, and does what its answer or silence says.
    fn probe(&mut self, version: ProtocolVersion) -> Result<Terms> {
        self.probed = true;
        let mut ping = None;
        let found = self.find_era(version, &mut ping);
        let has_ponged = match (&found, ping) {
            (Ok(Found::Modern(_)), Some(ping)) => self.wait_for_pong(ping)?,
            _ => false,
        };
        if let Some(ping) = ping {
            self.forget(ping);
        }
        let version = match found? {
            Found::Modern(terms) if has_ponged => return self.follow_ping(*terms),
            Found::Modern(terms) => return Ok(*terms),
            Found::Legacy(version) => version,
        };
        // The wait for a silent server is not counted.
        self.clocks.restart_timeout();
        let Some(version) = version.or(self.opening.pin.newest(Era::Legacy)) else {
            // ERA-23
            let text = "the server does not speak 2026-07-28 or newer, and nothing else is allowed";
            let error = Error::new(ErrorKind::Protocol, text);
            return Err(error.hint("Loosen the pinned version or era, or update the server"));
        };
        self.initialize(version)
    }

    /// Whether the ping gets a result after the probe had one.
    fn wait_for_pong(&self, ping: u64) -> Result<bool> {
        let until = Deadline::after(AFTER_DISCOVER).min(self.clocks.total());
        loop {
            match self.next(ping, until)? {
                Some(Delivery::Reply(id, reply)) if id == ping => return Ok(is_result(&reply)),
                Some(Delivery::Failed(id, error)) if id == ping => {
                    return Err(self.explain(error, "ping"));
                }
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    /// The server has answered in both eras, and may have settled on that of the last message.
    fn follow_ping(&mut self, terms: Terms) -> Result<Terms> {
        self.clocks.restart_timeout();
        match self.begin(Era::Legacy) {
            Err(error) if error.kind() == ErrorKind::Rpc => Ok(terms),
            outcome => outcome,
        }
    }

    /// Asks for the era and waits for what answers. A silent server that may be legacy is also
    /// sent a `ping`, whose id ends up in `ping`; one remembered as modern knows none.
    fn find_era(&mut self, version: ProtocolVersion, ping: &mut Option<u64>) -> Result<Found> {
        let answers_or_fails = self.answers_or_fails();
        let may_ping = !answers_or_fails
            && self.opening.hint != Some(Era::Modern)
            && self.opening.pin.newest(Era::Legacy).is_some();
        let patience = self.opening.timeouts.patience;
        let mut asked = vec![version];
        let mut discover = self.send(&ClientRequest::Discover, Some(version))?;
        self.discover = Some(discover);
        let started = Instant::now();
        let mut spoken: Option<Instant> = None;
        let mut ponged: Option<Deadline> = None;
        loop {
            let silence = match spoken {
                // Its silence says nothing about its era: it has one.
                _ if answers_or_fails => self.clocks.next().0,
                Some(since) => Deadline::after(patience.saturating_sub(since.elapsed())),
                None => {
                    Deadline::after(patience.saturating_mul(3).saturating_sub(started.elapsed()))
                }
            };
            let end = ponged.unwrap_or(silence).min(self.clocks.total());
            // Looked up in steps, as nobody wakes this thread when the server first speaks.
            match self.next(discover, end.min(Deadline::after(PING_AFTER)))? {
                Some(Delivery::Reply(id, reply)) if id == discover => match self.verdict(&reply) {
                    Verdict::Found(found) => return Ok(found),
                    Verdict::Failed(error) => return Err(error),
                    Verdict::Again(version) if asked.contains(&version) && asked.len() > 1 => {
                        return Err(refused(&reply));
                    }
                    Verdict::Again(version) => {
                        asked.push(version);
                        discover = self.send(&ClientRequest::Discover, Some(version))?;
                        self.discover = Some(discover);
                    }
                },
                // An error is no sign: a modern server has no `ping`, and may be slow to discover.
                Some(Delivery::Reply(id, reply)) if Some(id) == *ping && is_result(&reply) => {
                    ponged = Some(Deadline::after(AFTER_PONG));
                }
                // ERA-27, ERA-28
                Some(Delivery::Failed(id, error))
                    if id == discover && error.refusal() == Some(Refusal::Unrecognised) =>
                {
                    log::debug!("{}: not modern: {error}", self.opening.server);
                    return Ok(Found::Legacy(None));
                }
                Some(Delivery::Failed(id, error)) if id == discover => {
                    return Err(self.explain(error, "server/discover"));
                }
                Some(_) => {}
                None if end.has_passed() && answers_or_fails => {
                    return Err(self.timed_out("server/discover"));
                }
                None if end.has_passed() => return Ok(Found::Legacy(None)),
                None => {
                    if spoken.is_none() && self.router.transport()?.facts().has_spoken {
                        spoken = Some(Instant::now());
                    }
                    if ping.is_none() && may_ping {
                        *ping = Some(self.send(&ClientRequest::Ping, None)?);
                    }
                }
            }
        }
    }

    fn verdict(&self, reply: &Message) -> Verdict {
        let error = match reply.kind() {
            Kind::Response { outcome: Outcome::Result, .. } => return self.discovered(reply),
            Kind::Response { outcome: Outcome::Unclear, .. } => {
                return Verdict::Found(Found::Legacy(None));
            }
            _ => reply.rpc_error(),
        };
        match error.code {
            // ERA-14
            UNSUPPORTED_VERSION => {
                let listed = listed(&error);
                match self.opening.pin.among(&listed).next() {
                    Some(version) if version.era() == Era::Modern => Verdict::Again(version),
                    Some(version) => Verdict::Found(Found::Legacy(Some(version))),
                    None => Verdict::Failed(no_common_version(&listed, self.opening.pin)),
                }
            }
            HEADER_MISMATCH | MISSING_CAPABILITY => Verdict::Failed(refused(reply)),
            // ERA-15, ERA-16
            _ => Verdict::Found(Found::Legacy(None)),
        }
    }

    fn discovered(&self, reply: &Message) -> Verdict {
        let Ok(found) = reply.parse::<DiscoverResult>() else {
            return Verdict::Found(Found::Legacy(None));
        };
        // RPC-32
        if let Some(other) = found.result_type.as_deref().filter(|of| *of != "complete") {
            let text =
                format!("the result of `server/discover` is of an unknown type: {:?}", said(other));
            return Verdict::Failed(Error::new(ErrorKind::Protocol, text));
        }
        match self.opening.pin.among(&found.supported_versions).next() {
            Some(version) if version.era() == Era::Modern => {
                Verdict::Found(Found::Modern(Box::new(Terms {
                    version,
                    server_info: found.server_info(),
                    capabilities: found.capabilities,
                    instructions: found.instructions,
                })))
            }
            // ERA-11
            Some(version) => Verdict::Found(Found::Legacy(Some(version))),
            None => Verdict::Failed(no_common_version(&found.supported_versions, self.opening.pin)),
        }
    }

    /// ERA-45…ERA-57: the legacy handshake.
    fn initialize(&mut self, offered: ProtocolVersion) -> Result<Terms> {
        // It may `ping` before it answers.
        self.router.know_era(Era::Legacy);
        let mut offered = offered;
        let mut id = self.send_initialize(offered)?;
        let mut offered_again = false;
        // One that is slow to start gets the time that the probe would have given it.
        let mut may_be_starting = self.recalled;
        loop {
            match self.next(id, self.clocks.next().0)? {
                Some(Delivery::Reply(of, reply)) if of == id => {
                    if is_result(&reply) {
                        return self.initialized(&reply);
                    }
                    let error = reply.rpc_error();
                    let listed = listed(&error);
                    let other = self.opening.pin.among(&listed).find(|v| v.era() == Era::Legacy);
                    // ERA-42
                    let is_recalled_wrong = self.recalled && names_modern(&error);
                    match other.filter(|_| !is_recalled_wrong) {
                        // ERA-54
                        Some(version)
                            if error.code == INVALID_PARAMS
                                && !offered_again
                                && version != offered =>
                        {
                            offered_again = true;
                            offered = version;
                            id = self.send_initialize(version)?;
                        }
                        // ERA-57
                        _ => return Err(refused(&reply)),
                    }
                }
                // ERA-20: the probe's answer, late: no `initialize` result has been accepted yet.
                Some(Delivery::Reply(of, reply)) if Some(of) == self.discover => {
                    if let Verdict::Found(Found::Modern(terms)) = self.verdict(&reply) {
                        self.forget(id);
                        return Ok(*terms);
                    }
                    self.router.know_era(Era::Legacy);
                }
                Some(Delivery::Failed(of, error)) if of == id => {
                    return Err(self.explain(error, "initialize"));
                }
                Some(_) => {}
                None if may_be_starting && !self.router.transport()?.facts().has_spoken => {
                    may_be_starting = false;
                    let patience = self.opening.timeouts.patience.saturating_mul(3);
                    self.clocks.extend(patience.min(self.clocks.total().remaining()));
                }
                None => return Err(self.timed_out("initialize")),
            }
        }
    }

    fn timed_out(&self, method: &str) -> Error {
        let (_, clock, set_to) = self.clocks.next();
        let clock = match clock {
            Clock::Timeout => "connect",
            Clock::MaxTotal => "max_total",
        };
        let mut text =
            format!("the server did not open the connection within {set_to:?} (`{clock}`)");
        let silence = self.clocks.elapsed().saturating_sub(set_to);
        if silence > Duration::from_secs(1) && !self.recalled {
            let seconds = silence.as_secs();
            text +=
                &format!(", after {seconds} s of finding out its era, which pinning the era saves");
        }
        let error = self.router.overdue(Error::new(ErrorKind::Timeout, text));
        let hint = "Raise it in `Timeouts`, or run the server by hand to see what it does";
        self.explain(error.hint(hint), method)
    }

    fn send_initialize(&mut self, version: ProtocolVersion) -> Result<u64> {
        let params = InitializeParams::new(
            version.as_str(),
            self.opening.capabilities.in_era(Era::Legacy),
            self.opening.info.clone(),
        );
        self.send(&ClientRequest::Initialize(Box::new(params)), Some(version))
    }

    fn initialized(&mut self, reply: &Message) -> Result<Terms> {
        let result: InitializeResult = reply.parse().map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("the result of `initialize` is malformed: {}", misfit(&error)),
            )
        })?;
        // ERA-52
        let version = result
            .protocol_version
            .parse()
            .ok()
            .filter(|version: &ProtocolVersion| {
                version.era() == Era::Legacy && self.acceptable(*version)
            })
            .ok_or_else(|| {
                no_common_version(std::slice::from_ref(&result.protocol_version), self.opening.pin)
            })?;
        if let Some(discover) = self.discover.take() {
            self.forget(discover);
        }
        self.settle(version)?;
        Ok(Terms {
            version,
            capabilities: result.capabilities,
            server_info: Some(result.server_info),
            instructions: result.instructions,
        })
    }

    /// Has the server told that the handshake is done.
    fn settle(&mut self, version: ProtocolVersion) -> Result<()> {
        let method = "notifications/initialized";
        let until = self.clocks.next().0;
        let agreed = self.router.agree(&self.slot, version, until, self.cancel);
        let expected = agreed.map_err(|error| self.explain(error, method))?;
        let Some(expected) = expected else { return Ok(()) };
        loop {
            match self.next(expected.id, until)? {
                Some(Delivery::Ready(id)) if id == expected.id => return Ok(()),
                Some(Delivery::Failed(id, error)) if id == expected.id => {
                    return Err(self.explain(error, method));
                }
                Some(_) => {}
                None => {
                    self.forget(expected.id);
                    return Err(self.timed_out(method));
                }
            }
        }
    }

    /// Sends a request of the session's own, and waits for whatever answers it.
    pub(super) fn ask(&mut self, request: &ClientRequest) -> Result<()> {
        let id = self.send(request, None)?;
        loop {
            match self.next(id, self.clocks.next().0)? {
                Some(Delivery::Reply(of, reply)) if of == id => {
                    return if is_result(&reply) { Ok(()) } else { Err(refused(&reply)) };
                }
                Some(Delivery::Failed(of, error)) if of == id => return Err(error),
                Some(_) => {}
                None => return Err(self.timed_out(request.method())),
            }
        }
    }

    fn acceptable(&self, version: ProtocolVersion) -> bool {
        match self.opening.pin {
            Pin::Version(only) => version == only,
            _ => true,
        }
    }

    fn explain(&self, error: Error, method: &str) -> Error {
        error.about(method, "").after(self.clocks.elapsed()).ran(false)
    }
}

fn is_result(reply: &Message) -> bool {
    matches!(reply.kind(), Kind::Response { outcome: Outcome::Result, .. })
}

/// Whether the error speaks of a modern version, which no legacy server has heard of.
fn names_modern(error: &RpcError) -> bool {
    let texts = [&error.message, error.data().unwrap_or_default()];
    let mut modern = ProtocolVersion::ALL.iter().filter(|version| version.era() == Era::Modern);
    modern.any(|version| texts.iter().any(|text| text.contains(version.as_str())))
}

/// The server's own words on why it does not open.
fn refused(reply: &Message) -> Error {
    if let Kind::Response { outcome: Outcome::Unclear, .. } = reply.kind() {
        return unclear_reply();
    }
    Error::from_rpc(reply.rpc_error()).ran(false)
}
