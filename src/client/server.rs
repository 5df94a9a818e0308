//! How to reach a server.

use std::borrow::Cow;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::era_memory;
use crate::client::tool_filter::ToolFilter;
use crate::error::{Error, ErrorKind, Result, without_secrets};
use crate::limits::{Limits, Timeouts};
#[cfg(feature = "http")]
use crate::net::{Settings, has_bad_port, has_user_info};
use crate::process::CommandLine;
use crate::protocol::{Era, ProtocolVersion};
use crate::session::{Pin, RequestLimits};
use crate::transport::memory::Peer;
use crate::transport::restarting::Restarts;
use crate::transport::stdio::Launch;
use crate::transport::stream::ByteStream;
use crate::transport::{Connect, memory, restarting, stdio, stream};

/// How to reach one server, and what to allow it.
///
/// It starts nothing by itself: [`Client::open`](crate::Client::open) does, as often as asked. It
/// can be cloned, and printed safely: `Debug` shows no arguments, values of variables or
/// credentials.
///
/// ```
/// use umcp::Server;
///
/// let server = Server::command("my-server").arg("--fast").env("MODE", "test").name("mine");
/// assert_eq!(server.label(), "mine");
/// ```
#[derive(Clone)]
pub struct Server {
    reach: Reach,
    name: Option<String>,
    pub(crate) pin: Pin,
    pub(crate) limits: Limits,
    pub(super) request_limits: Option<RequestLimits>,
    pub(crate) timeouts: Timeouts,
    pub(super) tool_filter: Option<Arc<ToolFilter>>,
    fast_path: bool,
    restarts: Restarts,
    #[cfg(feature = "http")]
    settings: Settings,
    /// The first setting that does not fit.
    problem: Option<String>,
}

#[derive(Clone)]
enum Reach {
    Command(CommandLine),
    Url(String),
    Stream(Arc<dyn Fn() -> io::Result<ByteStream> + Send + Sync>),
    Memory(Arc<dyn Fn(Peer) + Send + Sync>),
}

impl Server {
    fn new(reach: Reach) -> Self {
        Self {
            reach,
            name: None,
            pin: Pin::Any,
            limits: Limits::default(),
            request_limits: None,
            timeouts: Timeouts::default(),
            tool_filter: None,
            fast_path: !cfg!(umcp_threads),
            restarts: Restarts::default(),
            #[cfg(feature = "http")]
            settings: Settings::default(),
            problem: None,
        }
    }

    /// A program to start, that speaks MCP on its stdin and stdout. No shell is involved.
    ///
    /// On Unix the program that embeds this must ignore SIGPIPE, as every Rust program does unless it
    /// changes that: else a server that closes its stdin ends it. If it ignores SIGCHLD, what a
    /// server has started and left behind is not ended with it.
    pub fn command(program: impl AsRef<OsStr>) -> Self {
        Self::new(Reach::Command(CommandLine::new(program.as_ref())))
    }

    /// The URL of a server, over Streamable HTTP or the older HTTP+SSE: which one is found out.
    pub fn url(url: impl Into<String>) -> Self {
        Self::new(Reach::Url(url.into()))
    }

    /// A way to open a pair of byte streams to the server, such as a socket: called once for every
    /// connection, on the thread that opens it, and no clock of the client's can end it: give it
    /// one of its own. Messages are lines, as over stdio.
    ///
    /// ```no_run
    /// use std::net::{Shutdown, TcpStream};
    /// use umcp::{ByteStream, Client, Server};
    ///
    /// let server = Server::stream(|| {
    ///     let socket = TcpStream::connect("127.0.0.1:4000")?;
    ///     let (reader, end) = (socket.try_clone()?, socket.try_clone()?);
    ///     Ok(ByteStream::new(reader, socket).on_close(move || drop(end.shutdown(Shutdown::Both))))
    /// });
    /// let client = Client::open(server)?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn stream(open: impl Fn() -> io::Result<ByteStream> + Send + Sync + 'static) -> Self {
        Self::new(Reach::Stream(Arc::new(open)))
    }

    /// A server in this program: the function runs on a thread of its own for every connection,
    /// until it returns. See [`memory`](crate::memory) for one made of ready answers.
    ///
    /// ```
    /// use umcp::{Client, Server, json};
    ///
    /// let server = Server::in_memory(|peer| {
    ///     let mut next = peer.open_modern(json!({ "tools": {} }));
    ///     while let Some(request) = next {
    ///         peer.reply(&request, json!({ "content": [{ "type": "text", "text": "hi" }] }));
    ///         next = peer.receive();
    ///     }
    /// });
    /// assert_eq!(Client::open(server)?.call_tool("any", json!({}))?.text(), "hi");
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn in_memory(serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        Self::new(Reach::Memory(Arc::new(serve)))
    }

    fn command_line(mut self, setting: &str, set: impl FnOnce(&mut CommandLine)) -> Self {
        match &mut self.reach {
            Reach::Command(line) => set(line),
            _ => self.refuse(format!("`{setting}` is for servers that are commands")),
        }
        self
    }

    #[cfg(feature = "http")]
    pub(super) fn http(
        mut self,
        setting: &str,
        set: impl FnOnce(&mut Settings) -> Result<(), String>,
    ) -> Self {
        match &self.reach {
            Reach::Url(_) => {
                if let Err(why) = set(&mut self.settings) {
                    self.refuse(format!("`{setting}`: {why}"));
                }
            }
            _ => self.refuse(format!("`{setting}` is for servers that are URLs")),
        }
        self
    }

    pub(super) fn tool_filter_mut(&mut self) -> &mut ToolFilter {
        Arc::make_mut(self.tool_filter.get_or_insert_default())
    }

    fn refuse(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// A server that fails to open, for this reason.
    #[cfg(feature = "config")]
    pub(crate) fn refused(problem: impl Into<String>) -> Self {
        let mut server = Self::command("");
        server.refuse(problem.into());
        server
    }

    /// Why it cannot be opened, as far as can be told without doing so.
    #[cfg(feature = "config")]
    pub(crate) fn check(&self) -> Result<()> {
        match &self.reach {
            // Only who connects needs the certificates of the system.
            #[cfg(feature = "http")]
            Reach::Url(url) if self.problem.is_none() => self.uri(url).map(drop),
            _ => self.connect().map(drop),
        }
    }

    /// Why the setting of this name, the only ones so far, does not fit.
    #[cfg(all(feature = "config", feature = "http"))]
    pub(crate) fn unfit(&self, setting: &str) -> Option<&str> {
        let problem = self.problem.as_deref()?;
        Some(problem.strip_prefix(&format!("`{setting}`: ")).unwrap_or(problem))
    }

    /// Adds an argument to the command.
    #[must_use]
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.command_line("arg", |line| line.args.push(arg.as_ref().to_owned()))
    }

    /// Adds arguments to the command.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.command_line("args", |line| line.args.extend(args))
    }

    /// Sets a variable of the command's environment, whatever this program's says.
    #[must_use]
    pub fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command_line("env", |line| {
            line.env.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        })
    }

    /// Withholds a variable that would be passed on to the command.
    #[must_use]
    pub fn env_remove(self, name: impl AsRef<OsStr>) -> Self {
        self.command_line("env_remove", |line| {
            line.env.insert(name.as_ref().to_owned(), None);
        })
    }

    /// Passes all of this program's variables on to the command.
    ///
    /// Without it the command gets a list of variables that programs need to work (paths, locale,
    /// proxies, version managers and the like), so that a server does not see the tokens that
    /// happen to be around.
    #[must_use]
    pub fn inherit_env(self) -> Self {
        self.command_line("inherit_env", |line| line.inherit_env = true)
    }

    /// Sets the directory the command starts in.
    #[must_use]
    pub fn cwd(self, directory: impl Into<PathBuf>) -> Self {
        self.command_line("cwd", |line| line.cwd = Some(directory.into()))
    }

    /// Copies what the command writes to stderr to this program's stderr, line by line and otherwise
    /// as it is, escapes for a terminal included. See [`Server::on_stderr`] for what is dropped.
    ///
    /// With or without it, stderr is always read, logged at `trace`, and its end kept for errors.
    #[must_use]
    pub fn inherit_stderr(self) -> Self {
        self.command_line("inherit_stderr", |line| line.stderr.inherit = true)
    }

    /// Hands what the command writes to stderr to a function, line by line, without the line's end
    /// and with what is not UTF-8 replaced. Only one function is called, the last one set.
    ///
    /// It runs on a thread of its own for every connection, and may block: up to 1,024 lines and
    /// 1 MiB wait for it. What comes beyond that is dropped, and a line `[12 lines dropped]` stands
    /// where lines are missing. Of a line longer than 64 KiB the start is handed over, and `…`.
    ///
    /// ```no_run
    /// use umcp::{Client, Server};
    ///
    /// let server = Server::command("my-server").on_stderr(|line| eprintln!("my-server: {line}"));
    /// let client = Client::open(server)?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    #[must_use]
    pub fn on_stderr(self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.command_line("on_stderr", |line| line.stderr.listener = Some(Arc::new(listener)))
    }

    /// Ends the command, with all of its process group, also when this program is killed.
    ///
    /// A program that dies closes its pipes, and most servers end when their stdin does. With this,
    /// those that do not are killed too, at once. It costs one small process, a `/bin/sh` that
    /// all guarded servers share: it is there while one of them runs, in a process group of its
    /// own, and waits for this program's end. Opening fails if it cannot be started.
    ///
    /// On Windows nothing is needed: the server's job object ends with this program.
    #[must_use]
    pub fn guard(self) -> Self {
        self.command_line("guard", |line| line.guard = true)
    }

    /// Has a server that has ended started again when it is needed next, up to so many times in a row.
    ///
    /// The call that needs it waits for that, within its own clocks. What was being asked when the
    /// server ended is asked again if that cannot do anything twice: a list, a resource, a call that
    /// had not left. Any other call fails with [`Disconnected`](ErrorKind::Disconnected), and its
    /// [`may_have_run`](Error::may_have_run) is true. The log level, the roots and subscriptions are
    /// there again, these with a gap ([`Change::Missed`](crate::Change::Missed)).
    ///
    /// The first start is at once, each further one later than the one before, up to half a minute after
    /// it ([`respawn_backoff`](Self::respawn_backoff)); a server that was there for a minute counts as
    /// started. When all are used up the connection has ended. Each time there are events: [`Disconnected`](crate::EventKind::Disconnected) and
    /// [`Connected`](crate::EventKind::Connected).
    ///
    /// What the server says of itself ([`Client::capabilities`](crate::Client::capabilities) and the
    /// like) is taken to be what it was. It is for servers that are commands, streams or in memory: a
    /// server at a URL begins a session anew by itself.
    ///
    /// Waiting for a change of a subscription starts a modern server again, too. Of a legacy server
    /// nothing is asked then: a program that only listens sees no more than a
    /// [`Disconnected`](crate::EventKind::Disconnected) event.
    ///
    /// ```no_run
    /// use umcp::{Client, Server};
    ///
    /// let client = Client::open(Server::command("my-server").respawn(5))?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    #[must_use]
    pub fn respawn(mut self, times: u32) -> Self {
        if let Reach::Url(_) = self.reach {
            self.refuse("`respawn` is for servers that are not URLs".to_owned());
        }
        self.restarts.most = times;
        self
    }

    /// Sets how long after its first start a server that has ended is started for the second time in a
    /// row, instead of half a second, which doubles with each further one, and the most that it becomes,
    /// instead of half a minute. One that was there for twice that counts as started.
    #[must_use]
    pub fn respawn_backoff(mut self, first: Duration, longest: Duration) -> Self {
        (self.restarts.first, self.restarts.longest) = (first, longest);
        self
    }

    /// Sets the name that errors and logs call the server by, instead of one made from the command
    /// or the URL.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Allows one era only, instead of finding out which one the server speaks.
    #[must_use]
    pub fn era(mut self, era: Era) -> Self {
        self.pin = Pin::Era(era);
        self
    }

    /// Allows one revision of the protocol only, instead of finding out.
    #[must_use]
    pub fn version(mut self, version: ProtocolVersion) -> Self {
        self.pin = Pin::Version(version);
        self
    }

    /// Sets how much is accepted from the server.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how much is asked of the server: how many requests a second, and how many at the same time.
    /// Unlimited by default. Opening fails if the limits make no sense, such as none at all in a second.
    #[must_use]
    pub fn request_limits(mut self, limits: RequestLimits) -> Self {
        if let Err(why) = limits.check() {
            self.refuse(format!("`request_limits`: {why}"));
        }
        self.request_limits = Some(limits);
        self
    }

    /// Sets how long to wait for the server, by default.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Sets whether a caller that waits for a command reads and writes its pipes itself, where the
    /// system allows that (Unix), rather than by way of two other threads. Default true: it saves a
    /// call most of what it costs beyond the pipes. Turn it off to compare, or to rule it out.
    #[must_use]
    pub fn fast_path(mut self, yes: bool) -> Self {
        self.fast_path = yes;
        self
    }

    /// Returns the name that errors and logs call the server by.
    pub fn label(&self) -> String {
        match (&self.name, &self.reach) {
            (Some(name), _) => name.clone(),
            (None, Reach::Command(line)) => line.name(),
            (None, Reach::Url(url)) => without_secrets(url).into_owned(),
            (None, Reach::Stream(_)) => "stream".to_owned(),
            (None, Reach::Memory(_)) => "in-memory".to_owned(),
        }
    }

    pub(super) fn is_url(&self) -> bool {
        matches!(self.reach, Reach::Url(_))
    }

    /// What a memory knows the server by: nothing if it is reached through code and has no name.
    pub(super) fn name_in_memory(&self) -> Option<String> {
        match &self.reach {
            Reach::Command(line) => {
                // Where programs start from can decide which version of a package runs.
                let here = env::current_dir().unwrap_or_default();
                let directory = match &line.cwd {
                    Some(cwd) => here.join(cwd),
                    None => here,
                };
                let count: Cow<'_, str> = line.args.len().to_string().into();
                let mut parts =
                    vec![line.program.to_string_lossy(), directory.to_string_lossy(), count];
                parts.extend(line.args.iter().map(|arg| arg.to_string_lossy()));
                parts.extend(line.inherit_env.then_some("inherited".into()));
                for (name, value) in &line.env {
                    parts.push(if value.is_some() { "set" } else { "removed" }.into());
                    parts.push(name.to_string_lossy());
                }
                Some(era_memory::name_of(&line.name(), &parts))
            }
            // A path may be a secret, too.
            Reach::Url(url) => {
                let url = without_secrets(url);
                let host: Vec<&str> = url.splitn(4, '/').take(3).collect();
                Some(era_memory::name_of(&host.join("/"), &[url]))
            }
            Reach::Stream(_) | Reach::Memory(_) => {
                self.name.as_ref().map(|name| era_memory::name_of(name, &[name.into()]))
            }
        }
    }

    pub(crate) fn connect(&self) -> Result<Box<Connect>> {
        if let Some(problem) = &self.problem {
            return Err(Error::new(ErrorKind::InvalidInput, problem.as_str()));
        }
        let connect = match &self.reach {
            Reach::Command(line) if line.program.is_empty() => {
                return Err(Error::new(ErrorKind::InvalidInput, "there is no command to start"));
            }
            Reach::Command(line) => stdio::connect(Launch {
                line: line.clone(),
                limits: self.limits.clone(),
                timeouts: self.timeouts.clone(),
                fast_path: self.fast_path,
            }),
            Reach::Url(url) => return self.connect_url(url),
            Reach::Stream(open) => stream::connect(open.clone(), self.limits.clone()),
            Reach::Memory(serve) => memory::connect(serve.clone()),
        };
        Ok(match self.restarts.most {
            0 => connect,
            _ => restarting::connect(connect, self.restarts),
        })
    }

    #[cfg(feature = "http")]
    fn connect_url(&self, url: &str) -> Result<Box<Connect>> {
        let uri = self.uri(url)?;
        self.settings.load(&uri)?;
        Ok(crate::transport::http::connect(uri, self.settings.clone(), self.limits.clone()))
    }

    #[cfg(feature = "http")]
    fn uri(&self, url: &str) -> Result<ureq::http::Uri> {
        let invalid = |why: &str| {
            let text = format!("not a URL to connect to, such as https://example.com/mcp: {why}");
            Error::new(ErrorKind::InvalidInput, text)
        };
        let uri: ureq::http::Uri = url.parse().map_err(|_| invalid("it is malformed"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") if cfg!(feature = "tls") => {}
            Some("https") => return Err(invalid("umcp was built without the feature `tls`")),
            _ => return Err(invalid("it starts with neither https:// nor http://")),
        }
        if has_user_info(&uri) {
            return Err(invalid("credentials do not belong into a URL"));
        }
        if has_bad_port(&uri) {
            return Err(invalid("there is no such port"));
        }
        self.settings.check(&uri)?;
        Ok(uri)
    }

    #[cfg(not(feature = "http"))]
    fn connect_url(&self, _url: &str) -> Result<Box<Connect>> {
        Err(Error::new(ErrorKind::InvalidInput, "umcp was built without the feature `http`"))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Server");
        debug.field("label", &self.label());
        if let Reach::Command(line) = &self.reach {
            debug.field("command", line);
        }
        #[cfg(feature = "http")]
        if let Reach::Url(_) = &self.reach {
            debug.field("settings", &self.settings);
        }
        if let Some(filter) = &self.tool_filter {
            debug.field("tool_filter", filter);
        }
        if let Some(limits) = &self.request_limits {
            debug.field("request_limits", limits);
        }
        debug
            .field("pin", &self.pin)
            .field("limits", &self.limits)
            .field("timeouts", &self.timeouts)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_server_is_safe() {
        let server =
            Server::command("my-server").args(["--token", "hunter2"]).env("SECRET", "hunter2");
        let url = Server::url("https://me:hunter2@example.com/mcp?key=hunter2");
        #[cfg(feature = "http")]
        let url = url.header("X-Key", "hunter2").bearer_token("hunter2");
        for server in [server, url] {
            let text = format!("{server:?} {}", server.label());
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn settings_of_commands_are_refused_elsewhere() {
        let error = Server::url("http://localhost/").arg("x").connect().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "`arg` is for servers that are commands");
    }

    #[cfg(feature = "http")]
    #[test]
    fn a_url_is_checked_before_anything_is_sent() {
        for url in [
            "example.com/mcp",
            "ftp://example.com/",
            "http://",
            "https://a:b@example.com/",
            "http://example.com:99999/",
        ] {
            let error = Server::url(url).connect().err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}: {error}");
        }
    }
    #[cfg(feature = "http")]
    #[test]
    fn who_insists_may_send_credentials_unencrypted() {
        let server = Server::url("http://192.0.2.1/mcp").bearer_token("hunter2");
        assert_eq!(server.connect().err().unwrap().kind(), ErrorKind::InvalidInput);
        assert!(server.allow_plain_http_credentials().connect().is_ok());
    }

    #[cfg(feature = "http")]
    #[test]
    fn the_first_problem_is_the_one_told() {
        let server = Server::url("http://127.0.0.1/mcp").header("a b", "").header("Host", "x");
        let error = server.connect().err().unwrap();
        assert_eq!(error.to_string(), "`header`: its name is no name of a header");
    }
}
