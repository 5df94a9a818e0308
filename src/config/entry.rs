//! One server of a file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::definition::{Command, Definition, Reach, Remote};
use super::dialect::Dialect;
use super::env_file;
use super::expand::{Filler, Variables};
use super::fault::{Fault, shown};
use super::fields::Text;
use super::input::{Answers, Input};
use crate::client::Server;
use crate::error::{Error, ErrorKind, Result, said};
use crate::limits::Timeouts;

/// What the entries of a file share.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) dialect: Dialect,
    pub(super) scope: Scope,
    /// What relative paths start from, and `${workspaceFolder}` is.
    pub(super) root: PathBuf,
    pub(super) inputs: HashMap<String, Input>,
}

/// Whom a file is for. Where a dialect knows several, the first that has a name decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// One user in one project.
    Local,
    /// All who work on a project.
    Project,
    User,
}

/// One server of a configuration file, as it stands there.
///
/// Nothing is filled in, asked or started before [`Entry::server`]. `Debug` shows no values.
#[derive(Clone)]
pub struct Entry {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) fields: Arc<Map<String, Value>>,
    pub(super) definition: Arc<Result<Definition, Fault>>,
    pub(super) is_disabled: bool,
    pub(super) source: Arc<Source>,
    /// Where the same name stands with more right.
    pub(super) overridden_by: Option<(PathBuf, usize)>,
    pub(super) variables: Variables,
    pub(super) answers: Answers,
}

impl Entry {
    /// Returns its name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the dialect it is read in.
    pub fn dialect(&self) -> Dialect {
        self.source.dialect
    }

    /// Returns the file it stands in.
    pub fn file(&self) -> &Path {
        &self.source.path
    }

    /// Returns the line it begins in, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns whether it is turned off, with `disabled`, `enabled` or a list of the file's. It has
    /// no [server](Entry::server) then.
    pub fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    /// Returns the file and the line of the entry that counts in its place, if one of the same
    /// dialect does: one of the project overrides one of the user.
    pub fn overridden_by(&self) -> Option<(&Path, usize)> {
        self.overridden_by.as_ref().map(|(path, line)| (path.as_path(), *line))
    }

    /// Returns what it is, in a few words without secrets: the command and how many arguments it
    /// has, or the scheme and the host of the URL. Empty if the entry is neither.
    pub fn summary(&self) -> String {
        self.definition.as_ref().as_ref().map(Definition::summary).unwrap_or_default()
    }

    /// Returns whether it is a URL, and not a command.
    pub fn is_url(&self) -> bool {
        matches!(&*self.definition, Ok(Definition { reach: Reach::Url(_), .. }))
    }

    /// Returns all that stands in the entry, as it stands there: nothing is filled in, and what
    /// umcp does not know is there as well. It may hold secrets.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Returns what is wrong with it: a field that does not fit, a variable that is not set. Starts
    /// nothing and asks nobody: what is to be asked for is taken to fit. Of an `envFile`, it looks
    /// whether it is there.
    pub fn problem(&self) -> Option<Error> {
        self.build(false).err().map(|fault| self.error(&fault))
    }

    /// Returns how to reach it, with everything filled in.
    ///
    /// It starts nothing; [`Client::open`](crate::Client::open) does. A command sees the variables
    /// that programs need to work and those of the entry, not all that the host of the file would
    /// hand on. What the file has its user asked is asked here, on this thread, by the function of
    /// [`Config::on_input`](super::Config::on_input).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] with file, line and key: if the entry is
    /// [disabled](Entry::is_disabled), a field does not fit, or a variable or an input is missing.
    pub fn server(&self) -> Result<Server> {
        if self.is_disabled {
            let fault = Fault::new(self.line, self.key.as_str(), "this server is turned off there");
            return Err(self.error(&fault));
        }
        self.build(true).map_err(|fault| self.error(&fault))
    }

    fn error(&self, fault: &Fault) -> Error {
        fault.in_file(self.file())
    }

    fn build(&self, may_ask: bool) -> Result<Server, Fault> {
        let definition = self.definition.as_ref().as_ref().map_err(Fault::clone)?;
        let Source { dialect, root, inputs, path, .. } = &*self.source;
        let file = path.to_string_lossy();
        let expansion = dialect.expansion();
        let (variables, answers) = (&self.variables, &self.answers);
        let mut filler = Filler::new(expansion, variables, root, &file, inputs, answers);
        filler.may_ask = may_ask;
        let server = match &definition.reach {
            Reach::Command(command) => self.command(command, &mut filler)?,
            Reach::Url(remote) => remote_server(remote, &mut filler)?,
        };
        let mut server = server.name(said(&self.name)).timeouts(timeouts(definition));
        if let Some(era) = definition.era {
            server = server.era(era);
        }
        if let Some(include) = &definition.include {
            server = server.include_tools(include);
        }
        if !definition.exclude.is_empty() {
            server = server.exclude_tools(&definition.exclude);
        }
        match server.check() {
            _ if filler.is_unasked => Ok(server),
            Ok(()) => Ok(server),
            Err(error) => Err(Fault::new(self.line, self.key.as_str(), error.to_string())),
        }
    }

    fn command(&self, command: &Command, filler: &mut Filler<'_>) -> Result<Server, Fault> {
        let Command { program, args, env, env_file, passed, cwd } = command;
        let mut fill = |text: &Text| filler.fill(text);
        let program = fill(program)?;
        let args = args.iter().map(&mut fill).collect::<Result<Vec<_>, _>>()?;
        let mut own = Vec::new();
        for (name, value) in env {
            own.push((name.clone(), value.as_ref().map(&mut fill).transpose()?));
        }
        let cwd = cwd.as_ref().map(&mut fill).transpose()?;
        let file = env_file.as_ref().map(|text| Ok((text, fill(text)?))).transpose()?;
        filler.finish()?;

        let mut server = Server::command(program).args(args);
        for name in passed {
            if let Some(value) = self.variables.get(name) {
                server = server.env(name, value);
            }
        }
        let root = &self.source.root;
        let mut all = BTreeMap::new();
        if let Some((text, file)) = file.filter(|_| !filler.is_unasked) {
            let path = root.join(file);
            let variables = match filler.may_ask {
                true => env_file::load(&path),
                false => env_file::check(&path).map(|()| Vec::new()),
            };
            // What is filled in may be a secret.
            let variables = variables.map_err(|fault| {
                text.fault(format!("{}:{}: {}", said(&text.written), fault.line, fault.what))
            })?;
            all.extend(variables.into_iter().map(|(name, value)| (name, Some(value))));
        }
        // The entry's own have the last word.
        all.extend(own);
        for (name, value) in all {
            server = match value {
                Some(value) => server.env(name, value),
                None => server.env_remove(name),
            };
        }
        Ok(match cwd {
            Some(cwd) => server.cwd(root.join(cwd)),
            // Hosts start what belongs to a project in it.
            None if self.source.scope != Scope::User => server.cwd(root),
            None => server,
        })
    }

    /// `weather`, `cursor:weather`, `.cursor/mcp.json:weather`.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let source = name.strip_suffix(&self.name).and_then(|rest| rest.strip_suffix(':'));
        source.is_some_and(|it| it == self.dialect().as_str() || Path::new(it) == self.file())
    }

    pub(super) fn with_dialect(&self) -> String {
        format!("{}:{}", self.dialect(), self.name)
    }

    pub(super) fn with_file(&self) -> String {
        format!("{}:{}", self.file().display(), self.name)
    }

    /// Whether both are the same server.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&*self.definition, &*other.definition) {
            (Ok(one), Ok(two)) => {
                let place =
                    |entry: &Self| (entry.source.scope == Scope::User, entry.source.root.clone());
                one.is_same(two, self.dialect().expansion(), other.dialect().expansion())
                    && (!one.is_relative() || place(self) == place(other))
            }
            // Names that stand in a file twice.
            _ => Arc::ptr_eq(&self.source, &other.source),
        }
    }

    /// The server, or one that fails to open, and says why.
    pub(super) fn server_or_problem(&self) -> Server {
        self.server()
            .unwrap_or_else(|error| Server::refused(error.to_string()).name(said(&self.name)))
    }

    pub(super) fn ambiguous(name: &str, entries: &[&Entry]) -> Error {
        let list = |entry: &&Entry| {
            let name = said(&entry.with_dialect());
            format!("`{name}` ({}:{})", shown(entry.file()), entry.line)
        };
        let list: Vec<_> = entries.iter().map(list).collect();
        let name = said(name);
        let text = format!("`{name}` is the name of different servers: {}", list.join(", "));
        Error::new(ErrorKind::InvalidInput, text)
            .hint("Name the one that is meant in full, or load its file alone")
    }
}

fn remote_server(remote: &Remote, filler: &mut Filler<'_>) -> Result<Server, Fault> {
    let url = filler.fill(&remote.url)?;
    let mut headers = Vec::new();
    for (name, text) in &remote.headers {
        headers.push((name, text, filler.fill(text)?));
    }
    let bearer = remote.bearer.as_ref().map(|text| Ok((text, filler.fill(text)?))).transpose()?;
    filler.finish()?;
    let server = Server::url(url);
    if filler.is_unasked {
        return Ok(server);
    }
    // Without HTTP it does not open, whatever it is sent.
    #[cfg(feature = "http")]
    let server = {
        let mut server = server;
        for (name, text, value) in headers {
            server = server.header(name, value);
            server.unfit("header").map_or(Ok(()), |why| Err(text.fault(why)))?;
        }
        if let Some((text, token)) = bearer {
            server = server.bearer_token(token.trim());
            server.unfit("bearer_token").map_or(Ok(()), |why| Err(text.fault(why)))?;
        }
        server
    };
    #[cfg(not(feature = "http"))]
    let _ = (headers, bearer);
    Ok(server)
}

fn timeouts(definition: &Definition) -> Timeouts {
    let mut timeouts = Timeouts::default();
    if let Some(connect) = definition.connect {
        timeouts.connect = connect;
    }
    if let Some(request) = definition.request {
        timeouts.request = request;
    }
    timeouts.max_total = timeouts.max_total.max(timeouts.request).max(timeouts.connect);
    timeouts
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("dialect", &self.source.dialect)
            .field("file", &self.source.path)
            .field("line", &self.line)
            .field("summary", &self.summary())
            .field("is_disabled", &self.is_disabled)
            .finish_non_exhaustive()
    }
}
