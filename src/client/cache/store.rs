//! What is kept, for how long, and what is being asked for. Knows no clock and no server.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::client::cache::{Cache, CacheStats};
use crate::protocol::ClientRequest;
use crate::protocol::envelope::Message;
use crate::session::{Changed, covers};

/// The most that a server may ask for (CACHE-19).
const LONGEST_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What an entry takes besides its texts, about.
const OVERHEAD: usize = 512;

/// The methods whose answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Method {
    Tools,
    Prompts,
    Resources,
    Templates,
    Read,
}

impl Method {
    const ALL: [Self; 5] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates, Self::Read];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
            Self::Read => "resources/read",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What tells answers apart (CACHE-2, CACHE-3). The rest is the same in all that one client asks: the
/// server, the version, what it is authorized by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) method: Method,
    /// The URI of a resource, or the cursor of a page.
    about: Option<Box<str>>,
    /// The client declares less then.
    is_headless: bool,
}

impl Key {
    /// `None` for what is never kept.
    pub(super) fn of(request: &ClientRequest, is_headless: bool) -> Option<Self> {
        let (method, about) = match request {
            ClientRequest::ListTools(params) => (Method::Tools, params.cursor.as_deref()),
            ClientRequest::ListPrompts(params) => (Method::Prompts, params.cursor.as_deref()),
            ClientRequest::ListResources(params) => (Method::Resources, params.cursor.as_deref()),
            ClientRequest::ListResourceTemplates(params) => {
                (Method::Templates, params.cursor.as_deref())
            }
            ClientRequest::ReadResource(params)
                if params.input_responses.is_none() && params.request_state.is_none() =>
            {
                (Method::Read, Some(&*params.uri))
            }
            _ => return None,
        };
        Some(Self { method, about: about.map(Into::into), is_headless })
    }

    /// The URI of what was read.
    fn uri(&self) -> Option<&str> {
        self.about.as_deref().filter(|_| self.method == Method::Read)
    }

    /// Whether it is a later page of the list that the other begins.
    fn follows(&self, first: &Self) -> bool {
        first.method != Method::Read
            && first.about.is_none()
            && self.about.is_some()
            && (self.method, self.is_headless) == (first.method, first.is_headless)
    }
}

struct Entry {
    reply: Arc<Message>,
    /// When it came.
    at: Instant,
    ttl: Duration,
    /// When it was used last, as a number.
    used: u64,
    /// The flight it came on.
    asked: u64,
    cost: usize,
}

impl Entry {
    /// Whether it is younger than that. A clock that has jumped back says nothing.
    fn is_within(&self, age: Duration, now: Instant) -> bool {
        now.checked_duration_since(self.at).is_some_and(|it| it < age)
    }
}

/// One request under way whose answer may be kept.
struct Flight {
    key: Arc<Key>,
    /// The thread that waits for it, if others may, too.
    leader: Option<ThreadId>,
    /// Something has changed since it was asked.
    is_overtaken: bool,
    /// Who waits for it.
    waiting: Vec<u64>,
    /// The server has answered, whatever it is.
    is_answered: Arc<AtomicBool>,
}

/// How a flight has ended.
pub(super) enum End {
    Result {
        reply: Message,
        ttl_ms: Option<u64>,
    },
    /// The server has answered otherwise.
    Nothing,
    /// Nobody knows what it would have answered.
    Failed,
}

pub(super) struct Store {
    settings: Cache,
    entries: HashMap<Arc<Key>, Entry>,
    by_use: BTreeMap<u64, Arc<Key>>,
    bytes: usize,
    uses: u64,
    flights: HashMap<u64, Flight>,
    asked: u64,
    /// How often something has changed, by method.
    editions: [u64; Method::ALL.len()],
    hits: u64,
    misses: u64,
}

impl Store {
    pub(super) fn new(settings: Cache) -> Self {
        Self {
            settings,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            bytes: 0,
            uses: 0,
            flights: HashMap::new(),
            asked: 0,
            editions: [0; Method::ALL.len()],
            hits: 0,
            misses: 0,
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        let (entries, bytes) = (self.entries.len(), self.bytes);
        CacheStats { hits: self.hits, misses: self.misses, entries, bytes }
    }

    /// What is fresh (CACHE-5).
    pub(super) fn fresh(&mut self, key: &Key, now: Instant) -> Option<Arc<Message>> {
        let stale_for = self.settings.stale_for;
        let entry = self.entries.get(key)?;
        if entry.is_within(entry.ttl, now) {
            self.hits += 1;
            return self.used(key);
        }
        if !entry.is_within(entry.ttl.saturating_add(stale_for), now) {
            self.remove(key);
        }
        None
    }

    /// What is better than an error (CACHE-11).
    pub(super) fn stale(&mut self, key: &Key, now: Instant) -> Option<Arc<Message>> {
        let stale_for = self.settings.stale_for;
        let entry = self.entries.get(key)?;
        match entry.is_within(entry.ttl.saturating_add(stale_for), now) {
            true => self.used(key),
            false => None,
        }
    }

    fn used(&mut self, key: &Key) -> Option<Arc<Message>> {
        let entry = self.entries.get_mut(key)?;
        let key = self.by_use.remove(&entry.used)?;
        self.uses += 1;
        entry.used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(entry.reply.clone())
    }

    pub(super) fn missed(&mut self) {
        self.misses += 1;
    }

    /// Begins a flight. Those with a leader can be joined.
    pub(super) fn ask(&mut self, key: Key, leader: Option<ThreadId>) -> u64 {
        self.asked += 1;
        let flight = Flight {
            key: Arc::new(key),
            leader,
            is_overtaken: false,
            waiting: Vec::new(),
            is_answered: Arc::default(),
        };
        self.flights.insert(self.asked, flight);
        self.asked
    }

    /// A flight to wait for, by a thread that none waits for itself: a handler that runs in one may ask
    /// for what another waits for.
    pub(super) fn under_way(&self, key: &Key, thread: ThreadId) -> Option<u64> {
        if self.flights.values().any(|flight| flight.leader == Some(thread)) {
            return None;
        }
        let is_it = |flight: &Flight| {
            flight.leader.is_some() && !flight.is_overtaken && *flight.key == *key
        };
        self.flights.iter().find(|(_, flight)| is_it(flight)).map(|(number, _)| *number)
    }

    /// Has somebody told of the end of a flight, if it is still to be waited for. Returns where it will
    /// be said whether it was answered.
    pub(super) fn join(&mut self, number: u64, waiter: u64) -> Option<Arc<AtomicBool>> {
        let flight = self.flights.get_mut(&number).filter(|flight| !flight.is_overtaken)?;
        flight.waiting.push(waiter);
        Some(flight.is_answered.clone())
    }

    /// Ends a flight. Returns who has waited for it.
    pub(super) fn land(&mut self, number: u64, end: End, now: Instant) -> Vec<u64> {
        let Some(flight) = self.flights.remove(&number) else { return Vec::new() };
        flight.is_answered.store(!matches!(end, End::Failed), Ordering::Release);
        if let End::Result { reply, ttl_ms } = end
            && !flight.is_overtaken
        {
            self.keep(flight.key, number, reply, ttl_ms, now);
        }
        flight.waiting
    }

    fn keep(
        &mut self,
        key: Arc<Key>,
        asked: u64,
        reply: Message,
        ttl_ms: Option<u64>,
        now: Instant,
    ) {
        if self.entries.get(&key).is_some_and(|entry| entry.asked > asked) {
            return;
        }
        self.remove(&key);
        // CACHE-18: a list is never put together from a page and the followers of another.
        self.forget(|it| it.follows(&key));
        let ttl = match ttl_ms {
            Some(millis) => Duration::from_millis(millis).min(LONGEST_TTL),
            None => self.settings.default_ttl,
        };
        let most = self.settings.max_bytes;
        let about = key.about.as_ref().map_or(0, |about| about.len());
        let cost = reply.len().saturating_add(about).saturating_add(OVERHEAD);
        let is_worth_it = !ttl.is_zero() || !self.settings.stale_for.is_zero();
        if !is_worth_it || cost > self.settings.largest() {
            return;
        }
        while self.bytes.saturating_add(cost) > most
            && let Some((_, oldest)) = self.by_use.first_key_value()
        {
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
        self.uses += 1;
        self.bytes += cost;
        self.by_use.insert(self.uses, key.clone());
        let reply = Arc::new(reply);
        self.entries.insert(key, Entry { reply, at: now, ttl, used: self.uses, asked, cost });
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_use.remove(&entry.used);
            self.bytes = self.bytes.saturating_sub(entry.cost);
        }
    }

    /// Drops what is kept, and what was asked for and has not come. Returns how many were kept.
    fn forget(&mut self, matches: impl Fn(&Key) -> bool) -> usize {
        let (before, bytes, by_use) = (self.entries.len(), &mut self.bytes, &mut self.by_use);
        self.entries.retain(|key, entry| {
            let goes = matches(key);
            if goes {
                by_use.remove(&entry.used);
                *bytes = bytes.saturating_sub(entry.cost);
            }
            !goes
        });
        let overtaken = self.flights.values_mut().filter(|flight| matches(&flight.key));
        overtaken.for_each(|flight| flight.is_overtaken = true);
        before - self.entries.len()
    }

    /// Drops what these are, by their method and perhaps the URI that was read: it may have changed.
    pub(super) fn invalidate(&mut self, matches: impl Fn(Method, Option<&str>) -> bool) -> usize {
        for (method, edition) in Method::ALL.into_iter().zip(&mut self.editions) {
            *edition += u64::from(matches(method, None));
        }
        self.forget(|key| matches(key.method, key.uri()))
    }

    /// CACHE-15
    pub(super) fn changed(&mut self, what: &Changed) {
        use Method::{Prompts, Read, Resources, Templates, Tools};
        let (goes, updated): (&[Method], Option<&str>) = match what {
            Changed::Tools => (&[Tools], None),
            Changed::Prompts => (&[Prompts], None),
            Changed::Resources => (&[Resources, Templates], None),
            Changed::Resource(Some(uri)) => (&[], Some(uri)),
            Changed::Resource(None) => (&[Read], None),
            Changed::ByCall if !self.settings.invalidate_on_call => return,
            Changed::ByCall => (&[Resources, Templates, Read], None),
            Changed::Anything => (&Method::ALL, None),
        };
        self.invalidate(|method, uri| {
            // CACHE-16: what lies above shows what lies below.
            let is_updated = uri.zip(updated).is_some_and(|(uri, updated)| covers(uri, updated));
            goes.contains(&method) || is_updated
        });
    }

    /// Tells apart whether something has changed since.
    pub(super) fn edition(&self, method: Method) -> u64 {
        let of = Method::ALL.into_iter().zip(self.editions).find(|(it, _)| *it == method);
        of.map_or(0, |(_, edition)| edition)
    }
}
