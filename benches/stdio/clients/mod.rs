//! The clients that are compared.

mod floor;
mod pipes;
mod raw;
mod reference;
mod umcp;

pub use floor::Floor;
pub use umcp::server as umcp_server;

use crate::support::calls::Call;
use crate::support::replies::text;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Raw,
    Floor,
    Reference,
    Umcp,
    /// umcp without the fast path.
    Threads,
}

use Subject::{Raw, Reference, Threads, Umcp};

impl Subject {
    pub const ALL: [Subject; 5] = [Raw, Subject::Floor, Reference, Umcp, Threads];
    /// Those whose ratio is shown. The first counts.
    pub const JUDGED: [Subject; 2] = [Umcp, Threads];
    /// Those that many callers can share.
    pub const SHARED: [Subject; 3] = [Reference, Umcp, Threads];
    /// Those that read what came.
    pub const PARSING: [Subject; 4] = [Subject::Floor, Reference, Umcp, Threads];

    pub fn name(self) -> &'static str {
        match self {
            Raw => "raw",
            Subject::Floor => "floor",
            Reference => "reference",
            Umcp => "umcp",
            Threads => "umcp without the fast path",
        }
    }

    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|subject| subject.name() == name).unwrap()
    }

    /// Connects to a server of its own, whose tool returns texts of `size` bytes.
    pub fn connect(self, size: usize) -> Call {
        self.share(size, 1).remove(0)
    }

    /// As `connect`, with that many callers on the one connection.
    pub fn share(self, size: usize, callers: usize) -> Vec<Call> {
        // What is sent is as long as what comes back, except when that is huge.
        let argument = text(if size <= 1024 { size } else { 0 });
        match self {
            Raw => vec![raw::connect(size, &argument)],
            Subject::Floor => vec![floor::connect(size, argument)],
            Reference => reference::share(size, argument, callers),
            Umcp => umcp::share(true, size, argument, callers),
            Threads => umcp::share(false, size, argument, callers),
        }
    }
}
