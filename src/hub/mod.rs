//! Many servers under names.

mod at_once;
mod member;
mod merged_name;
mod tool_list;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;

use crate::client::{Client, ClientBuilder, Server};
use crate::error::{Error, ErrorKind, Result, said};
use crate::hub::at_once::at_once;
use crate::hub::member::{Builders, Member, State};
use crate::protocol::{CallToolResult, Tool};
use crate::session::CancelToken;
use crate::transport::CloseReport;

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

/// A tool of one of a [`Hub`]'s servers, with a name that no other tool of the hub has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HubTool {
    /// The name for [`Hub::call`]: up to 64 of `a-z`, `A-Z`, `0-9`, `_` and `-`, as models want it.
    pub name: String,
    /// The server's name in the hub.
    pub server: String,
    /// The tool, with the name that it has at its server.
    pub tool: Tool,
}

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
    /// As [`ClientBuilder::open`], and [`InvalidInput`](ErrorKind::InvalidInput) if the name is none or
    /// there is a server of it already. [`Closed`](ErrorKind::Closed) if another thread disconnected it
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
        match self.lock().iter().any(|other| Arc::ptr_eq(other, member)) {
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
    /// Nothing is connected to again by itself. What a call was about to do at the server that ended
    /// is known to the caller only: see [`Error::may_have_run`].
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::open`], after which it is a [failure](Self::failures);
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is no server of that name.
    pub fn reconnect(&self, name: &str) -> Result<Client> {
        self.connect_to(&self.member(name)?)
    }

    /// Returns the client of a server, for everything that a client can do. Does not block.
    ///
    /// # Errors
    ///
    /// Why it is not connected: as [`failures`](Self::failures) says, [`Closed`](ErrorKind::Closed) if
    /// this program disconnected it, [`Unreachable`](ErrorKind::Unreachable) while another thread still
    /// connects to it. [`InvalidInput`](ErrorKind::InvalidInput) if there is no server of that name.
    pub fn get(&self, name: &str) -> Result<Client> {
        self.member(name)?.client()
    }

    /// Disconnects a server, and keeps it to be [connected to again](Self::reconnect). Blocks as
    /// [`Client::close`] does, and returns its report. Idempotent.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is no server of that name.
    pub fn disconnect(&self, name: &str) -> Result<CloseReport> {
        Ok(self.member(name)?.disconnect())
    }

    /// Disconnects a server and forgets it. As [`disconnect`](Self::disconnect) otherwise.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if there is no server of that name.
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

    /// Calls a tool by the name that [`tools`](Self::tools) gives it, and waits for its result.
    ///
    /// Only its server is asked. If the name does not hold the tool's own, and the list of tools is
    /// not known, that is asked for first.
    ///
    /// # Errors
    ///
    /// As [`call_tool`](Self::call_tool); [`InvalidInput`](ErrorKind::InvalidInput) if there is no such
    /// name.
    pub fn call(&self, name: &str, arguments: impl Serialize) -> Result<CallToolResult> {
        let Some((member, part)) = self.split(name) else {
            let text = format!("no server here has a tool called {:?}", said(name));
            let error = Error::new(ErrorKind::InvalidInput, text);
            return Err(error.hint("Call it as `Hub::tools` does, or by `Hub::call_tool`"));
        };
        let tool = match merged_name::is_hashed(part) {
            false => part.to_owned(),
            true => match member.tool_that(part)? {
                Some(tool) => tool.name,
                None => {
                    let text = format!("it has no tool that {:?} stands for", said(name));
                    return Err(Error::new(ErrorKind::InvalidInput, text).server(&member.name));
                }
            },
        };
        member.client()?.call_tool(tool, arguments)
    }

    /// Finds the tool of a name: its own, at the first server that has it, in the order of adding; or
    /// that which [`tools`](Self::tools) gives it, which goes before. Returns the server's name and
    /// the tool, or `None` if no server has it.
    ///
    /// The list of a server that says when its tools change is kept until it does; that of another for
    /// as long as the server has said that it stays as it is ([`Page::ttl`](crate::Page::ttl)), up to an
    /// hour. Where there is none, the server is asked, all of them at the same time. Blocks until that
    /// is done, or a server has it and all before have not: for as long as [`Client::list_tools`] may
    /// take, which is asked again, twice at most, if the tools change meanwhile.
    ///
    /// # Errors
    ///
    /// If no server has it, and one could not be asked: that one's error, and its kind. As it is
    /// with servers that are [failures](Self::failures).
    pub fn find_tool(&self, name: &str) -> Result<Option<(String, Tool)>> {
        if let Some((member, part)) = self.split(name)
            && let Ok(Some(tool)) = member.tools(&CancelToken::new()).map(|tools| {
                let is_it = |tool: &&Tool| merged_name::of_tool(&member.id, &tool.name) == part;
                tools.iter().find(is_it).cloned()
            })
        {
            return Ok(Some((member.name.to_string(), tool)));
        }
        self.find_by_own_name(name)
    }

    fn find_by_own_name(&self, name: &str) -> Result<Option<(String, Tool)>> {
        let members = self.wanted();
        let found_among = |tools: Arc<[Tool]>| tools.iter().find(|tool| tool.name == name).cloned();
        let slots: Vec<Slot> = members.into_iter().map(Slot::new).collect();
        for slot in &slots {
            if let Some(tools) = slot.member.kept_tools() {
                let _ = slot.found.set(Ok(found_among(tools)));
            }
        }
        let open: Vec<&Slot> = slots.iter().filter(|slot| slot.found.get().is_none()).collect();
        if first(&slots).is_none() {
            let enough = CancelToken::new();
            at_once(&open, |slot| {
                if !enough.is_cancelled() {
                    let _ = slot.found.set(slot.member.tools(&enough).map(found_among));
                    if first(&slots).is_some() {
                        enough.cancel();
                    }
                }
            });
        }
        if let Some((member, tool)) = first(&slots) {
            return Ok(Some((member.name.to_string(), tool.clone())));
        }
        let failed = |slot: &Slot| Some(slot.found.get()?.as_ref().err()?.clone());
        let failures: Vec<Error> = slots.iter().filter_map(failed).collect();
        match failures.split_first() {
            None => Ok(None),
            Some((error, others)) => Err(found_nowhere(name, error, others.len())),
        }
    }

    /// Returns the tools of all servers in one list, in the order of adding, and the servers whose
    /// tools are missing in it, with the reason.
    ///
    /// Each tool has a [name](HubTool::name) that no other has, made of its server's and its own:
    /// `weather__get_weather` if both are short and plain, and else with a hash in it. It is the same in
    /// every run, whatever other servers there are. If a server lists two tools of one name, the first
    /// stands. What is kept and how long this blocks is as for [`find_tool`](Self::find_tool).
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// use umcp::{Hub, json};
    ///
    /// # let script = Script::new()
    /// #     .answer("tools/list", json!({ "tools": [{ "name": "get_weather", "inputSchema": {} }] }))
    /// #     .answer("tools/call", json!({ "content": [{ "type": "text", "text": "rain" }] }));
    /// # let server = script.server();
    /// let hub = Hub::connect([("weather", server)]);
    /// let (tools, _missing) = hub.tools();
    /// assert_eq!(tools[0].name, "weather__get_weather");
    /// // The model picks one.
    /// let result = hub.call("weather__get_weather", json!({}))?;
    /// # assert_eq!(result.text(), "rain");
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn tools(&self) -> (Vec<HubTool>, Vec<(String, Error)>) {
        let members = self.wanted();
        let never = CancelToken::new();
        let listed = at_once(&members, |member| member.tools(&never));
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        for (member, tools) in members.iter().zip(listed) {
            match tools {
                Ok(tools) => all.extend(named(member, &tools)),
                Err(error) => missing.push((member.name.to_string(), error)),
            }
        }
        (all, missing)
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

    /// The server that a merged name begins with, and what stands for the tool.
    fn split<'a>(&self, merged: &'a str) -> Option<(Arc<Member>, &'a str)> {
        let (id, tool) = merged_name::split(merged)?;
        Some((self.members().into_iter().find(|member| member.id == id)?, tool))
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

/// A server that is asked whether it has a tool, and what it says.
struct Slot {
    member: Arc<Member>,
    found: OnceLock<Result<Option<Tool>>>,
}

impl Slot {
    fn new(member: Arc<Member>) -> Self {
        Self { member, found: OnceLock::new() }
    }
}

/// The first that has it, as soon as all before are known not to.
fn first(slots: &[Slot]) -> Option<(&Member, &Tool)> {
    for slot in slots {
        if let Ok(Some(tool)) = slot.found.get()? {
            return Some((&slot.member, tool));
        }
    }
    None
}

/// The tools of a server under their merged names.
fn named(member: &Member, tools: &[Tool]) -> Vec<HubTool> {
    let mut parts = HashSet::new();
    let mut all = Vec::with_capacity(tools.len());
    for tool in tools {
        let part = merged_name::of_tool(&member.id, &tool.name);
        let name = merged_name::join(&member.id, &part);
        match parts.insert(part) {
            true => all.push(HubTool { name, server: member.name.to_string(), tool: tool.clone() }),
            false => log::warn!("{}: lists the tool {:?} twice", member.name, said(&tool.name)),
        }
    }
    all
}

/// Adds a server to those there are, if its name is fit for that.
fn join(members: &mut Vec<Arc<Member>>, name: &str, server: Server) -> Result<Arc<Member>> {
    let member = Arc::new(Member::new(name, server)?);
    if let Some(other) = members.iter().find(|other| other.id == member.id) {
        let text = match other.name == member.name {
            true => format!("there is a server {name:?} already"),
            false => format!("the name {name:?} is too much like {:?}", other.name),
        };
        return Err(Error::new(ErrorKind::InvalidInput, text).server(&member.name));
    }
    members.push(member.clone());
    Ok(member)
}

/// That there is no such server, and which there are: those of the most similar names first.
fn unknown(name: &str, members: &[Arc<Member>]) -> Error {
    const MOST: usize = 10;
    let text = format!("there is no server {:?} in the hub", said(name));
    let mut names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    // What is much longer than any of them resembles none.
    if name.len() <= 400 {
        names.sort_by_key(|other| distance(name, other));
    }
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("{name:?}")).collect();
    let hint = match (shown.is_empty(), names.len().saturating_sub(MOST)) {
        (true, _) => "It has none".to_owned(),
        (_, 0) => format!("There are {}", shown.join(", ")),
        (_, more) => format!("There are {} and {more} more", shown.join(", ")),
    };
    Error::new(ErrorKind::InvalidInput, text).hint(hint)
}

/// That no server has a tool, of those that could be asked.
fn found_nowhere(tool: &str, error: &Error, others: usize) -> Error {
    let which = match others {
        0 => "one could not".to_owned(),
        _ => format!("{} could not, such as", others + 1),
    };
    let why = error.to_string();
    let why = said(why.lines().next().unwrap_or_default());
    let text =
        format!("no server that could be asked has the tool {:?}; {which}: {why}", said(tool));
    Error::new(error.kind(), text).source(error.clone())
}

/// How many characters have to be changed, added or left out to get from one name to the other, whatever
/// their case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.to_lowercase().chars().enumerate() {
        let mut before = at;
        let mut left = at + 1;
        for (d, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let changed = before + usize::from(c != *d);
            before = *cell;
            left = changed.min(before + 1).min(left + 1);
            *cell = left;
        }
        if let Some(cell) = row.first_mut() {
            *cell = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
