//! One server of a hub, and its connections, one after the other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::client::{Client, ClientBuilder, Server};
use crate::error::{Error, ErrorKind, Result};
use crate::hub::merged_name;
use crate::hub::tool_list::ToolList;
use crate::protocol::Tool;
use crate::session::CancelToken;
use crate::transport::CloseReport;

/// What makes a client for the server of a name.
pub(super) type Builders = dyn Fn(&str) -> ClientBuilder + Send + Sync;

/// The longest name of a server, in characters.
const LONGEST: usize = 200;

pub(super) struct Member {
    pub(super) name: Arc<str>,
    /// What stands for it in merged names.
    pub(super) id: String,
    server: Server,
    link: Mutex<Arc<Link>>,
}

/// One connection, from before it is opened until after its end.
#[derive(Default)]
struct Link {
    opened: OnceLock<Result<Client>>,
    is_over: AtomicBool,
    tools: ToolList,
}

/// How a server is.
pub(super) enum State {
    Connecting,
    Connected(Client),
    /// This program closed it.
    Closed(Error),
    Failed(Error),
}

impl Member {
    pub(super) fn new(name: &str, server: Server) -> Result<Self> {
        let is_fit = !name.is_empty()
            && name.chars().count() <= LONGEST
            && !name.contains(|c: char| c.is_control());
        if !is_fit {
            let text = format!(
                "a server's name in a hub has 1 to {LONGEST} characters, and no control characters"
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(Self {
            name: name.into(),
            id: merged_name::of_server(name),
            server: server.name(name),
            link: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> Arc<Link> {
        self.lock().clone()
    }

    /// Connects to it, unless it is connected. Who comes while another connects waits for that.
    pub(super) fn connect(&self, builders: &Builders) -> Result<Client> {
        let (link, before) = {
            let mut link = self.lock();
            let before = link.has_ended().then(|| std::mem::take(&mut *link));
            (link.clone(), before)
        };
        // What ended by itself may have left a process.
        if let Some(before) = before {
            before.close();
        }
        link.opened.get_or_init(|| builders(&self.name).open(self.server.clone())).clone().and_then(
            |client| match link.is_over.load(Ordering::SeqCst) {
                false => Ok(client),
                true => {
                    client.close();
                    Err(self.closed())
                }
            },
        )
    }

    /// Ends its connection, or that which is being opened, as soon as it is.
    pub(super) fn disconnect(&self) -> CloseReport {
        self.link().close()
    }

    pub(super) fn state(&self) -> State {
        let link = self.link();
        if link.is_over.load(Ordering::SeqCst) {
            return State::Closed(self.closed());
        }
        match link.opened.get() {
            None => State::Connecting,
            Some(Err(error)) => State::Failed(error.clone()),
            Some(Ok(client)) => match client.wait_for_end(Duration::ZERO) {
                None => State::Connected(client.clone()),
                Some(why) if why.kind() == ErrorKind::Closed => State::Closed(self.closed()),
                Some(why) => State::Failed(why.server(&self.name)),
            },
        }
    }

    pub(super) fn client(&self) -> Result<Client> {
        match self.state() {
            State::Connected(client) => Ok(client),
            State::Closed(error) | State::Failed(error) => Err(error),
            State::Connecting => {
                let text = "it is being connected to, by another thread";
                Err(Error::new(ErrorKind::Unreachable, text).server(&self.name))
            }
        }
    }

    pub(super) fn tools(&self, cancel: &CancelToken) -> Result<Arc<[Tool]>> {
        let client = self.client()?;
        self.link().tools.get(&client, cancel)
    }

    /// Its tools, if they are known without asking.
    pub(super) fn kept_tools(&self) -> Option<Arc<[Tool]>> {
        let client = self.client().ok()?;
        self.link().tools.kept(&client)
    }

    /// The tool that a part of a merged name stands for.
    pub(super) fn tool_that(&self, part: &str) -> Result<Option<Tool>> {
        let find = |tools: Arc<[Tool]>| {
            tools.iter().find(|tool| merged_name::of_tool(&self.id, &tool.name) == part).cloned()
        };
        // What a part stands for never changes, so an old list will do.
        match self.link().tools.latest().and_then(find) {
            Some(tool) => Ok(Some(tool)),
            None => self.tools(&CancelToken::new()).map(find),
        }
    }

    fn closed(&self) -> Error {
        Error::closed().server(&self.name)
    }
}

impl Link {
    fn has_ended(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
            || self.opened.get().is_some_and(|opened| match opened {
                Ok(client) => client.wait_for_end(Duration::ZERO).is_some(),
                Err(_) => true,
            })
    }

    /// Either this sees the client, or who opens it sees that it is over.
    fn close(&self) -> CloseReport {
        self.is_over.store(true, Ordering::SeqCst);
        match self.opened.get() {
            Some(Ok(client)) => client.close(),
            _ => CloseReport::default(),
        }
    }
}
