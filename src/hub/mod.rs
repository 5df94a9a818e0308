//! Many servers under names.

mod at_once;
mod find;
mod member;
mod merged_name;
mod names;
mod one_list;
mod tool_list;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::client::{Client, ClientBuilder, Server};
use crate::error::{Error, Result};
use crate::hub::at_once::at_once;
use crate::hub::member::{Builders, Member, State};
use crate::hub::names::{join, unknown};
use crate::protocol::CallToolResult;
use crate::transport::CloseReport;

pub use one_list::HubTool;

/// Many servers under names.
///
/// Each has its own [`Client`], with its own clocks: one that fails or hangs leaves the others as
/// they are. In errors, logs and events a server has the name that it has here, whatever its
/// [`Server::name`] was. Cheap to clone: all clones are one hub, usable from as many threads as you
/// like. Dropping the last one disconnects all, as [`disconnect_all`](Hub::disconnect_all) does, also
/// clients that [`get`](Hub::get) has returned; but a function of a client's that holds a clone of the
/// hub keeps it, so call `disconnect_all` to be sure that it has happened.
///
/// ```
/// # use umcp::memory::Script;
/// use umcp::{Hub, json};
///
/// # let script = |tool: &str| Script::new()
/// #     .answer("tools/list", json!({ "tools": [{ "name": tool, "inputSchema": {} }] }))
/// #     .answer("tools/call", json!({ "content": [{ "type": "text", "text": "rain" }] })).server();
/// # let (files, weather) = (script("read_file"), script("get_weather"));
/// let hub = Hub::connect([("files", files), ("weather", weather)]);
/// for (name, error) in hub.failures() {
///     eprintln!("{name} did not come up: {error}");
/// }
/// if let Some((server, tool)) = hub.find_tool("get_weather")? {
///     let result = hub.call_tool(&server, &tool.name, json!({ "location": "NYC" }))?;
///     assert_eq!((server.as_str(), result.text().as_str()), ("weather", "rain"));
/// }
/// hub.disconnect_all();
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    /// In the order of adding.
    members: Mutex<Vec<Arc<Member>>>,
    builders: Box<Builders>,
    /// What could not even be added when the hub was made.
    refused: Vec<(String, Error)>,
}

const _: () = {
    const fn assert_shared<T: Clone + Send + Sync>() {}
    assert_shared::<Hub>();
};

impl Hub {
    /// Makes a hub without servers, to [`add`](Self::add) them one by one.
    pub fn new() -> Self {
        Self::connect(std::iter::empty::<(String, Server)>())
    }

    /// Connects to servers, each under its name, and keeps those that come up. The others are
    /// [failures](Self::failures), as is every name after the first of the same, and what is no
    /// [name](Self::add).
    ///
    /// Connects to 64 at a time. Blocks until the last has come up or failed: each has the time that
    /// [`ClientBuilder::open`] gives it, of its own [`Timeouts`](crate::Timeouts). No thread remains.
    pub fn connect(servers: impl IntoIterator<Item = (impl Into<String>, Server)>) -> Self {
        Self::connect_with(servers, |_| Client::builder())
    }

    /// As [`connect`](Self::connect), with a function that makes a client's builder for each name:
    /// with handlers, with functions for events, which say what server they are of
    /// ([`Event::server`](crate::Event::server)).
    ///
    /// It is asked for each connection, on the thread that opens it, for servers that are added later
    /// and for those that are connected to again, too.
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// use umcp::{Client, EventKind, Hub};
    ///
    /// # let (files, weather) = (Script::new().server(), Script::new().server());
    /// let hub = Hub::connect_with([("files", files), ("weather", weather)], |_name| {
    ///     Client::builder()
    ///         .client_info("my-program", "1.0")
    ///         .on(EventKind::Disconnected, |event| eprintln!("{} is gone", event.server()))
    /// });
    /// assert_eq!(hub.names(), ["files", "weather"]);
    /// ```
    pub fn connect_with(
        servers: impl IntoIterator<Item = (impl Into<String>, Server)>,
        builder: impl Fn(&str) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        let mut members = Vec::new();
        let mut refused = Vec::new();
        for (name, server) in servers {
            let name = name.into();
            if let Err(error) = join(&mut members, &name, server) {
                refused.push((name, error));
            }
        }
        let builders: Box<Builders> = Box::new(builder);
        // What comes of it each of them knows.
        at_once(&members, |member| drop(member.connect(&*builders)));
        Self { inner: Arc::new(Inner { members: Mutex::new(members), builders, refused }) }
    }

    /// Returns the servers that are not there although they should be, with the reason: those that did
    /// not connect, or have ended since. Those that this program disconnected are not among them, nor
    /// those at URLs that are out of reach by now, of which a call says so. Does not block.
    pub fn failures(&self) -> Vec<(String, Error)> {
        let failed = self.members().into_iter().filter_map(|member| match member.state() {
            State::Failed(error) => Some((member.name.to_string(), error)),
            _ => None,
        });
        failed.chain(self.inner.refused.iter().cloned()).collect()
    }

    /// Returns the names of all servers, connected or not, in the order of adding.
    pub fn names(&self) -> Vec<String> {
        self.members().iter().map(|member| member.name.to_string()).collect()
    }

    /// Adds a server and connects to it. Blocks as [`ClientBuilder::open`] does. A server that does
    /// not come up is not added.
    ///
    /// A name has 1 to 200 characters and no control characters.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::open`], and [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is none or
    /// there is a server of it already. [`Closed`](crate::ErrorKind::Closed) if another thread disconnected it
    /// meanwhile.
    pub fn add(&self, name: impl Into<String>, server: Server) -> Result<Client> {
        let member = join(&mut self.lock(), &name.into(), server)?;
        let connected = self.connect_to(&member);
        if connected.is_err() {
            self.forget(&member);
        }
        connected
    }

    fn forget(&self, member: &Arc<Member>) -> CloseReport {
        self.lock().retain(|other| !Arc::ptr_eq(other, member));
        member.disconnect()
    }

    fn connect_to(&self, member: &Arc<Member>) -> Result<Client> {
        let client = member.connect(&*self.inner.builders)?;
        // Removed meanwhile: whoever did that has seen the client, or this sees that it is gone.
        let is_kept = self.lock().iter().any(|other| Arc::ptr_eq(other, member));
        match is_kept {
            true => Ok(client),
            false => {
                member.disconnect();
                Err(Error::closed().server(&member.name))
            }
        }
    }

    /// Connects to a server again that failed, has ended or was disconnected. One that is connected is
    /// left as it is. Returns its client. Blocks as [`ClientBuilder::open`] does.
    ///
    /// Nothing is connected to again by itself, unless the server has
    /// [`respawn`](crate::Server::respawn). What a call was about to do at the server that ended is
    /// known to the caller only: see [`Error::may_have_run`].
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::open`], after which it is a [failure](Self::failures);
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is no server of that name.
    pub fn reconnect(&self, name: &str) -> Result<Client> {
        self.connect_to(&self.member(name)?)
    }

    /// Returns the client of a server, for everything that a client can do. Does not block.
    ///
    /// # Errors
    ///
    /// Why it is not connected: as [`failures`](Self::failures) says, [`Closed`](crate::ErrorKind::Closed) if
    /// this program disconnected it, [`Unreachable`](crate::ErrorKind::Unreachable) while another thread still
    /// connects to it. [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is no server of that name.
    pub fn get(&self, name: &str) -> Result<Client> {
        self.member(name)?.client()
    }

    /// Disconnects a server, and keeps it to be [connected to again](Self::reconnect). Blocks as
    /// [`Client::close`] does, and returns its report. Idempotent.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is no server of that name.
    pub fn disconnect(&self, name: &str) -> Result<CloseReport> {
        Ok(self.member(name)?.disconnect())
    }

    /// Disconnects a server and forgets it. As [`disconnect`](Self::disconnect) otherwise.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is no server of that name.
    pub fn remove(&self, name: &str) -> Result<CloseReport> {
        Ok(self.forget(&self.member(name)?))
    }

    /// Disconnects all servers, and returns the report of each, in the order of adding. Idempotent.
    ///
    /// Closes 64 at a time, so that up to as many take no longer than the slowest of them: see
    /// [`Client::close`]. Connections that another thread is just opening end as soon as they are open,
    /// which this does not wait for. Inside a function that one of the clients runs (a handler, or for
    /// events) it waits in vain for that function's end, for as long as closing may take.
    pub fn disconnect_all(&self) -> Vec<(String, CloseReport)> {
        self.inner.disconnect_all()
    }

    /// Calls a tool of a server with arguments (an object) and waits for its result. For a call with
    /// more to set, there is [`get`](Self::get) and [`Client::tool`].
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`Client::call_tool`].
    pub fn call_tool(
        &self,
        server: &str,
        tool: impl Into<String>,
        arguments: impl Serialize,
    ) -> Result<CallToolResult> {
        self.get(server)?.call_tool(tool, arguments)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Member>>> {
        self.inner.lock()
    }

    fn members(&self) -> Vec<Arc<Member>> {
        self.lock().clone()
    }

    /// Those that are to be asked, connected or not.
    fn wanted(&self) -> Vec<Arc<Member>> {
        let mut members = self.members();
        members.retain(|member| !matches!(member.state(), State::Closed(_)));
        members
    }

    fn member(&self, name: &str) -> Result<Arc<Member>> {
        let members = self.members();
        match members.iter().find(|member| *member.name == *name) {
            Some(member) => Ok(member.clone()),
            None => Err(unknown(name, &members)),
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("names", &self.names()).finish_non_exhaustive()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disconnect_all(&self) -> Vec<(String, CloseReport)> {
        let members = self.lock().clone();
        at_once(&members, |member| (member.name.to_string(), member.disconnect()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.disconnect_all();
    }
}
