//! What a connection has done so far, counted as it happens.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a client has done so far: see [`Client::metrics`](crate::Client::metrics).
///
/// A request is one message that the server is to answer: a call that is made again, asked again with
/// answers to what the server wanted to know, or sent again in another session is one call and several
/// requests. The handshake is none, nor is what tells the server that a task is not wanted any more.
///
/// ```
/// # use umcp::memory::Script;
/// use umcp::{Client, json};
///
/// # let script = Script::new().answer("tools/call", json!({ "content": [] }));
/// # let server = script.server();
/// let client = Client::open(server)?;
/// client.call_tool("add", json!({ "a": 2, "b": 3 }))?;
///
/// let metrics = client.metrics();
/// assert_eq!((metrics.requests, metrics.replies, metrics.errors), (1, 1, 0));
/// println!("99 of 100 take less than {:?}", metrics.latency.percentile(0.99).unwrap());
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Requests that were given to the transport. A subscription of the modern era counts here each
    /// time that it is asked for, and nowhere else, but in bytes.
    pub requests: u64,
    /// Replies to them, error replies among them.
    pub replies: u64,
    /// Requests that had no result: the reply was an error, or none came (the time was over, the call
    /// cancelled, the connection broken or closed, the request not written). The failure that a tool
    /// reports (`isError`) is a result.
    pub errors: u64,
    /// Requests that wait for their reply just now.
    pub in_flight: u64,
    /// Calls of tools, each once, however many requests it became.
    pub tool_calls: u64,
    /// Requests that were made again because of a [`Retry`](crate::Retry).
    pub retries: u64,
    /// How often another session was begun on the connection: the server was started again
    /// ([`Server::respawn`](crate::Server::respawn)), or had forgotten the one before.
    pub reconnects: u64,
    /// Bytes of all messages that were given to the transport, the handshake's and notifications
    /// included, without what frames them (line ends, the heads of HTTP).
    pub bytes_sent: u64,
    /// Bytes of everything that came as a message, also of what was dropped as too long or as none.
    pub bytes_received: u64,
    /// How long replies took, from the request's being sent until the reply was read.
    pub latency: Histogram,
}

/// How often something took how long, in powers of two.
///
/// There are 32 buckets: the first for what took less than a microsecond, each further one for up to
/// twice as long as the one before, and the last for everything from about 18 minutes on.
///
/// ```
/// # use umcp::memory::Script;
/// # let client = umcp::Client::open(Script::new().server())?;
/// for (below, count) in client.metrics().latency.iter().filter(|(_, count)| *count > 0) {
///     println!("less than {below:?}: {count}");
/// }
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

const BUCKETS: usize = 32;

impl Histogram {
    /// Returns how many there are in all.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns what so large a part of them (0.99 for 99 of 100) took less than, which is the upper
    /// end of a bucket: up to twice the true value. `None` if there are none.
    ///
    /// What is no number from 0 to 1 counts as the nearest that is, and NaN as 1.
    pub fn percentile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        let part = if part.is_nan() { 1.0 } else { part.clamp(0.0, 1.0) };
        let rank = ((count as f64 * part).ceil() as u64).clamp(1, count.max(1));
        let mut below = 0;
        self.iter().find_map(|(end, count)| {
            below += count;
            (below >= rank).then_some(end)
        })
    }

    /// Returns the buckets, the shortest first: what they are below of, and how many are in them. The
    /// last one has no end: its is [`Duration::MAX`].
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let end = |bucket| match bucket < BUCKETS - 1 {
            true => Duration::from_micros(1_u64 << bucket),
            false => Duration::MAX,
        };
        self.0.iter().enumerate().map(move |(bucket, count)| (end(bucket), *count))
    }
}

/// Only the buckets that are not empty.
impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().filter(|(_, count)| *count > 0)).finish()
    }
}

/// Which bucket something belongs to.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let bits = u64::BITS - micros.leading_zeros();
    usize::try_from(bits).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// One number that only grows. Each stands for itself: nothing is ordered by it.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted while it happens.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) requests: Counter,
    pub(super) replies: Counter,
    pub(super) errors: Counter,
    pub(super) tool_calls: Counter,
    pub(super) retries: Counter,
    pub(super) bytes_sent: Counter,
    pub(super) bytes_received: Counter,
    latency: [Counter; BUCKETS],
}

impl Counters {
    /// A reply took so long.
    pub(super) fn took(&self, time: Duration) {
        if let Some(bucket) = self.latency.get(bucket(time)) {
            bucket.add(1);
        }
    }

    /// What they say now, but for what others know.
    pub(super) fn read(&self) -> Metrics {
        Metrics {
            requests: self.requests.get(),
            replies: self.replies.get(),
            errors: self.errors.get(),
            in_flight: 0,
            tool_calls: self.tool_calls.get(),
            retries: self.retries.get(),
            reconnects: 0,
            bytes_sent: self.bytes_sent.get(),
            bytes_received: self.bytes_received.get(),
            latency: Histogram(self.latency.each_ref().map(Counter::get)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = Duration>) -> Histogram {
        let counters = Counters::default();
        times.into_iter().for_each(|time| counters.took(time));
        counters.read().latency
    }

    #[test]
    fn each_time_is_in_the_first_bucket_whose_end_is_beyond_it() {
        let micros = Duration::from_micros;
        let nanosecond = Duration::from_nanos(1);
        let mut times = vec![Duration::ZERO, Duration::MAX, micros(u64::MAX)];
        for power in 0..63 {
            let time = micros(1 << power);
            times.extend([time - nanosecond, time, time + nanosecond]);
        }
        for time in times {
            let histogram = of([time]);
            let full: Vec<_> = histogram.iter().filter(|(_, count)| *count == 1).collect();
            let ends: Vec<_> = histogram.iter().map(|(end, _)| end).collect();
            let first = ends.iter().find(|end| **end > time).unwrap_or(&Duration::MAX);
            assert_eq!(full, [(*first, 1)], "{time:?}");
            assert!(ends.is_sorted() && ends.len() == BUCKETS);
        }
        assert_eq!(of([micros(1 << 29)]).percentile(1.0), Some(micros(1 << 30)));
        assert_eq!(of([micros(1 << 30)]).percentile(1.0), Some(Duration::MAX));
    }

    #[test]
    fn a_percentile_is_the_end_of_the_bucket_that_so_many_are_below_of() {
        let micros = Duration::from_micros;
        assert_eq!(of([]).percentile(0.5), None);
        let histogram = of((0..99).map(|_| micros(5)).chain([micros(1000)]));
        assert_eq!(histogram.count(), 100);
        let ends = |part| histogram.percentile(part).unwrap().as_micros();
        for (part, end) in [(0.0, 8), (0.5, 8), (0.99, 8), (0.991, 1024), (1.0, 1024)] {
            assert_eq!(ends(part), end, "{part}");
        }
        for (part, end) in [
            (-1.0, 8),
            (f64::NEG_INFINITY, 8),
            (7.0, 1024),
            (f64::INFINITY, 1024),
            (f64::NAN, 1024),
        ] {
            assert_eq!(ends(part), end, "{part}");
        }
    }

    #[test]
    fn printing_it_shows_what_there_is() {
        let histogram = of([Duration::from_micros(5), Duration::from_micros(6)]);
        assert_eq!(format!("{histogram:?}"), "{8µs: 2}");
    }
}
