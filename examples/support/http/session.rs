//! One session of a legacy client, and the event streams that belong to it.
//!
//! What a stream says is kept, and whoever serves it writes what there is and waits for more. So a
//! call goes on when its client loses the connection, and a later one takes over where that ended.

use super::super::server::{Era, LEGACY, Server, lock};
use super::exchange::Writer;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

/// The stream that belongs to no call.
pub const STANDALONE: u64 = 0;
/// Streams that have ended are kept for clients that lost their end.
const MOST_STREAMS: usize = 100;

#[derive(Debug)]
pub struct Session {
    pub server: Server,
    /// Whether events have ids.
    can_resume: bool,
    streams: Mutex<Streams>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Streams {
    by_number: BTreeMap<u64, Stream>,
    last: u64,
    followers: u64,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Stream {
    /// The lines of each.
    events: Vec<String>,
    has_ended: bool,
    follower: Option<u64>,
}

/// Who serves a stream, and what of it is next.
#[derive(Clone, Copy, Debug)]
pub struct Follower {
    pub stream: u64,
    next: usize,
    me: u64,
}

impl Session {
    pub fn new(can_resume: bool) -> Self {
        let streams = Streams {
            by_number: BTreeMap::from([(STANDALONE, Stream::default())]),
            ..Streams::default()
        };
        Self {
            server: Server::new(Era::Legacy),
            can_resume,
            streams: Mutex::new(streams),
            changed: Condvar::new(),
        }
    }

    /// Begins the stream of a call, and to serve it.
    pub fn begin_stream(&self) -> Follower {
        let mut streams = lock(&self.streams);
        streams.last += 1;
        let number = streams.last;
        let stream = Stream { has_ended: streams.is_over, ..Stream::default() };
        streams.by_number.insert(number, stream);
        if streams.by_number.len() > MOST_STREAMS {
            let is_done = |stream: &Stream| stream.has_ended && stream.follower.is_none();
            let done = streams.by_number.iter().find(|(_, stream)| is_done(stream));
            if let Some(oldest) = done.map(|(number, _)| *number) {
                streams.by_number.remove(&oldest);
            }
        }
        streams.follow(number, 0)
    }

    /// Adds an event without data, from which on the stream can be resumed at once.
    pub fn prime(&self, stream: u64) {
        if self.can_resume && self.server.version() == Some(LEGACY[0]) {
            self.add(stream, "retry: 100\ndata:\n\n");
        }
    }

    pub fn send(&self, stream: u64, message: &Value) {
        self.add(stream, &format!("event: message\ndata: {message}\n\n"));
    }

    pub fn add(&self, number: u64, lines: &str) {
        let mut streams = lock(&self.streams);
        let Some(stream) = streams.by_number.get_mut(&number) else { return };
        let id = format!("id: {number}-{}\n", stream.events.len());
        stream.events.push(if self.can_resume { id + lines } else { lines.to_owned() });
        self.changed.notify_all();
    }

    pub fn end_stream(&self, number: u64) {
        if let Some(stream) = lock(&self.streams).by_number.get_mut(&number) {
            stream.has_ended = true;
        }
        self.changed.notify_all();
    }

    /// Ends everything.
    pub fn end(&self) {
        self.server.close();
        let mut streams = lock(&self.streams);
        streams.is_over = true;
        streams.by_number.values_mut().for_each(|stream| stream.has_ended = true);
        self.changed.notify_all();
    }

    /// Begins to serve the stream that belongs to no call, from its next event on, unless somebody
    /// does.
    pub fn listen(&self) -> Option<Follower> {
        let streams = &mut *lock(&self.streams);
        let standalone = streams.by_number.get(&STANDALONE)?;
        let next = standalone.events.len();
        standalone.follower.is_none().then(|| streams.follow(STANDALONE, next))
    }

    /// Goes on with a stream behind an event. Who served it until now no longer does.
    pub fn resume(&self, last_event: &str) -> Option<Follower> {
        let (stream, event) = last_event.split_once('-')?;
        let (stream, event) = (stream.parse().ok()?, event.parse::<usize>().ok()?);
        let streams = &mut *lock(&self.streams);
        let known = event < streams.by_number.get(&stream)?.events.len();
        self.changed.notify_all();
        known.then(|| streams.follow(stream, event + 1))
    }

    /// The client of this follower is gone.
    pub fn leave(&self, follower: Follower) {
        if let Some(stream) = lock(&self.streams).by_number.get_mut(&follower.stream) {
            stream.follower.take_if(|current| *current == follower.me);
        }
        self.changed.notify_all();
    }

    /// Writes what a stream says until it ends, or somebody else follows it. Stops early after
    /// `most` events, so that the client has to come back for the rest.
    pub fn write(
        &self,
        follower: Follower,
        most: Option<usize>,
        writer: &mut Writer,
    ) -> io::Result<()> {
        writer.begin_events()?;
        let Follower { stream, mut next, me } = follower;
        let end = most.map(|most| next.saturating_add(most));
        while let Some(lines) = self.wait_for(stream, next, me).filter(|_| Some(next) != end) {
            writer.event(&lines)?;
            next += 1;
        }
        self.leave(follower);
        writer.end_events()
    }

    /// An event, once there is one.
    fn wait_for(&self, stream: u64, event: usize, me: u64) -> Option<String> {
        let mut streams = lock(&self.streams);
        loop {
            let stream = streams.by_number.get(&stream)?;
            match stream.events.get(event) {
                _ if stream.follower != Some(me) => return None,
                Some(lines) => return Some(lines.clone()),
                None if stream.has_ended => return None,
                None => {
                    let waited = self.changed.wait(streams);
                    streams = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Streams {
    fn follow(&mut self, stream: u64, next: usize) -> Follower {
        self.followers += 1;
        let me = self.followers;
        if let Some(stream) = self.by_number.get_mut(&stream) {
            stream.follower = Some(me);
        }
        Follower { stream, next, me }
    }
}
