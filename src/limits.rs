//! What a server may cost this program.

use std::time::Duration;

/// How much of everything a client accepts from a server.
///
/// Everything a server sends is bounded. Each field says its default and why it is there; what
/// goes over a limit fails with [`ErrorKind::Limit`](crate::ErrorKind::Limit) or is dropped and
/// logged, as the field says. JSON nested deeper than 128 levels is refused; that one has no knob.
///
/// ```
/// let limits = umcp::Limits::default().message(1024 * 1024).pages(10);
/// assert_eq!(limits.message, 1024 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest single message, in bytes. Default 64 MiB. A longer one is read past without
    /// being kept: it fails the request that it answers, and the connection goes on.
    pub message: usize,
    /// How deep arrays and objects may stand in one another in a message. Default 128. A deeper one
    /// fails the request that it answers. Only raw results
    /// ([`RawJson`](crate::protocol::RawJson)) can be deeper than 128.
    pub nesting: usize,
    /// How many messages may wait for a server that does not read, in bytes, and 128 more for each.
    /// Default 64 MiB. A request beyond that fails at once; an empty queue takes one message of any
    /// size.
    pub outgoing: usize,
    /// How many notifications may wait for one call, and how many [events](crate::Event) for the
    /// functions or for one iterator that listens. Default 1,024. Further ones are dropped and
    /// counted; together they never hold more bytes than [`Limits::message`].
    pub notifications: usize,
    /// How much of the end of a server's stderr is kept for errors, in bytes. Default 64 KiB.
    pub stderr_tail: usize,
    /// How many pages one list may have. Default 1,000, against servers whose cursors never end.
    pub pages: usize,
    /// How many things a server may ask for at the same time. Default 64. A legacy server's requests
    /// are answered each by a handler on a thread of its own, and it gets an error for further ones; a
    /// modern one that asks for more in one round fails the call.
    pub handlers: usize,
    /// How often a server of the modern era may ask for input in one call. Default 10.
    pub input_rounds: usize,
    /// How many requests one call for many things (such as
    /// [`Client::read_resources`](crate::Client::read_resources)) keeps in flight, and how many
    /// POSTs one client has under way, of which an open subscription is one. Default 64.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 64 * 1024 * 1024,
            nesting: 128,
            outgoing: 64 * 1024 * 1024,
            notifications: 1024,
            stderr_tail: 64 * 1024,
            pages: 1000,
            handlers: 64,
            input_rounds: 10,
            in_flight: 64,
        }
    }
}

macro_rules! setters {
    ($($name:ident),*) => {
        impl Limits {
            $(
                #[doc = concat!("Sets [`Limits::", stringify!($name), "`].")]
                #[must_use]
                pub fn $name(mut self, value: usize) -> Self {
                    self.$name = value;
                    self
                }
            )*
        }
    };
}
setters!(
    message,
    nesting,
    outgoing,
    notifications,
    stderr_tail,
    pages,
    handlers,
    input_rounds,
    in_flight
);

/// How long a client waits.
///
/// Two clocks run in every call: `request` may stand still (while your own code runs) or start
/// again (on progress, if asked); `max_total` never does. [`Duration::MAX`] means about a century.
///
/// ```
/// use std::time::Duration;
/// let timeouts = umcp::Timeouts::default().request(Duration::from_secs(5));
/// assert_eq!(timeouts.connect, Duration::from_secs(30));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From starting a server until it has agreed on a version. Default 30 s. Silence while
    /// finding out the server's era does not count: [`Timeouts::patience`] bounds that, and
    /// [`Timeouts::max_total`] both together.
    pub connect: Duration,
    /// A call's own clock. Default 60 s.
    pub request: Duration,
    /// A call's absolute limit. Default 10 minutes.
    pub max_total: Duration,
    /// How long a server that has already written something may stay silent when asked for its
    /// era, before it counts as legacy. Default 10 s. One that has not written a byte yet gets
    /// three times as long, as a package runner may still be downloading it.
    pub patience: Duration,
    /// After closing a server's stdin, how long until it is told to end (SIGTERM). Default 2 s.
    pub close_grace: Duration,
    /// After SIGTERM, how long until the server is ended by force (SIGKILL). Default 2 s.
    pub kill_grace: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            request: Duration::from_secs(60),
            max_total: Duration::from_secs(600),
            patience: Duration::from_secs(10),
            close_grace: Duration::from_secs(2),
            kill_grace: Duration::from_secs(2),
        }
    }
}

macro_rules! clocks {
    ($($name:ident),*) => {
        impl Timeouts {
            $(
                #[doc = concat!("Sets [`Timeouts::", stringify!($name), "`].")]
                #[must_use]
                pub fn $name(mut self, value: Duration) -> Self {
                    self.$name = value;
                    self
                }
            )*
        }
    };
}
clocks!(connect, request, max_total, patience, close_grace, kill_grace);
