//! Configuration files that people already have: the servers they use with Claude, Cursor, VS Code,
//! Codex and others.
//!
//! [`Config`] reads such files. What is in them, where they are, and what umcp makes of each is in the
//! [guide](crate::guide::config_files).

mod definition;
mod dialect;
mod discover;
mod entry;
mod env_file;
mod expand;
mod fault;
mod fields;
mod file;
mod input;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::{env, fmt, path, vec};

pub use dialect::Dialect;
pub use entry::Entry;
pub use input::Input;

use discover::System;
use entry::Scope;
use expand::Variables;
use fault::Fault;
use file::Place;
use input::Answers;

use crate::client::Server;
use crate::error::{Error, ErrorKind, Result, said};

/// The largest file that is read, in bytes. Some hosts keep more than servers in theirs.
const LARGEST: u64 = 8 * 1024 * 1024;

/// The servers of one configuration file, or of all that are found.
///
/// Loading reads files and nothing else: no variable is filled in, nobody is asked, and nothing is
/// started, before [`Entry::server`] is called or a server is taken out. An entry that is wrong is
/// no reason to lose the others: its [problem](Entry::problem) is told, and a server made of it
/// fails to open and says the same.
///
/// ```
/// use umcp::config::{Config, Dialect};
///
/// let text = r#"{
///     "mcpServers": {
///         "files": { "command": "npx", "args": ["-y", "server-files", "${PLACE:-/tmp}"] },
///         "broken": { "command": "npx", "url": "https://example.com/mcp" }
///     }
/// }"#;
/// let config = Config::parse(text, Dialect::ClaudeCode)?;
/// let server = config.get("files")?.server()?;    // to be given to Client::open
/// assert_eq!(server.label(), "files");
/// println!("{}", config.get("broken")?.problem().unwrap());
/// # Ok::<(), umcp::Error>(())
/// ```
///
/// All that are turned on, each with a name that is its own:
///
/// ```no_run
/// use umcp::{Client, Config};
///
/// for (name, server) in Config::load("mcp.json")? {
///     match Client::open(server) {
///         Ok(client) => println!("{name}: {} tools", client.list_tools()?.len()),
///         Err(error) => eprintln!("{name}: {error}"),
///     }
/// }
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Config {
    entries: Vec<Entry>,
    problems: Vec<Error>,
}

impl Config {
    /// Reads a file. Its [dialect](Dialect) is found out.
    ///
    /// Relative paths in it start from the directory of the project that it belongs to
    /// (`p` for `p/.mcp.json` and for `p/.vscode/mcp.json`), else from its own. What `~/.claude.json`
    /// says for single projects is found by [`Config::discover`] only.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] with the file and the line, if the file cannot be read, is larger
    /// than 8 MiB or nested deeper than 128, is malformed, has no place for servers, or more than
    /// 1,000 servers or inputs. What is wrong with one server is a [problem](Entry::problem) of that
    /// entry, also a text of more than 64 KiB or a list of more than 1,000 items.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_file(path.as_ref(), None)
    }

    /// Reads a file in this dialect, whatever its path says.
    ///
    /// # Errors
    ///
    /// As for [`Config::load`].
    pub fn load_as(path: impl AsRef<Path>, dialect: Dialect) -> Result<Self> {
        Self::load_file(path.as_ref(), Some(dialect))
    }

    fn load_file(path: &Path, dialect: Option<Dialect>) -> Result<Self> {
        let text = read(path, LARGEST).map_err(|fault| fault.in_file(path))?;
        let full = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (scope, root) = project(&full);
        let place = Place { path: path.to_owned(), dialect, scope, root, projects: Vec::new() };
        Self::of_text(&place, &text)
    }

    /// Reads the text of a file that is not there. In errors it is called by the dialect's name,
    /// and relative paths start from the current directory.
    ///
    /// # Errors
    ///
    /// As for [`Config::load`].
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self> {
        let path = PathBuf::from(format!("<{dialect}>"));
        let root = env::current_dir().unwrap_or_default();
        let place = Place {
            path: path.clone(),
            dialect: Some(dialect),
            scope: Scope::User,
            root,
            projects: Vec::new(),
        };
        if text.len() as u64 > LARGEST {
            return Err(too_large(LARGEST).in_file(&path));
        }
        Self::of_text(&place, text)
    }

    fn of_text(place: &Place, text: &str) -> Result<Self> {
        let found = file::entries(place, text).map_err(|fault| fault.in_file(&place.path))?;
        if !found.has_key {
            let what = format!("there are no servers: there is no `{}`", found.dialect.key());
            return Err(Fault::new(1, "", what).in_file(&place.path));
        }
        Ok(Self { entries: found.entries, problems: Vec::new() })
    }

    /// Reads the usual files of all dialects: those of the project that the directory belongs to,
    /// and those of the user. Files that are not there are no problem; those that cannot be read
    /// are in [`Config::problems`].
    ///
    /// A project's are looked for in the directory and in those above it, up to the root of a Git
    /// repository, but on Unix in none that belongs to another user. The user's are found by `HOME` (on Windows `USERPROFILE` and `APPDATA`) and by the
    /// variables that the hosts know, such as `XDG_CONFIG_HOME` and `CODEX_HOME`.
    pub fn discover(directory: impl AsRef<Path>) -> Self {
        Self::discover_with(directory.as_ref(), &Variables::default(), System::HERE)
    }

    fn discover_with(directory: &Path, variables: &Variables, system: System) -> Self {
        let directory = path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let mut config = Self::default();
        let mut seen = HashSet::new();
        for place in discover::places(&directory, variables, system) {
            // One that is there by two names is read once.
            let Ok(real) = place.path.canonicalize() else { continue };
            if !seen.insert(real) {
                continue;
            }
            let found = read(&place.path, LARGEST).and_then(|text| file::entries(&place, &text));
            match found {
                Ok(found) => config.entries.extend(found.entries),
                Err(fault) => config.problems.push(fault.in_file(&place.path)),
            }
        }
        config.override_entries();
        config
    }

    /// Where one dialect has a name several times, it says itself which one counts.
    fn override_entries(&mut self) {
        let mut first: HashMap<(Dialect, String), (Scope, PathBuf, usize)> = HashMap::new();
        for entry in &self.entries {
            let key = (entry.dialect(), entry.name.clone());
            let here = (entry.source.scope, entry.file().to_owned(), entry.line);
            let best = first.entry(key).or_insert_with(|| here.clone());
            if here.0 < best.0 {
                *best = here;
            }
        }
        for entry in &mut self.entries {
            let best = first.get(&(entry.source.dialect, entry.name.clone()));
            entry.overridden_by = best
                .filter(|(scope, ..)| *scope < entry.source.scope)
                .map(|(_, path, line)| (path.clone(), *line));
        }
    }

    /// Fills in these variables, in place of those of this program's environment.
    ///
    /// ```
    /// use umcp::config::{Config, Dialect};
    ///
    /// let text = r#"{ "servers": { "api": { "url": "https://${env:HOST}/mcp" } } }"#;
    /// let config = Config::parse(text, Dialect::VsCode)?.variables([("HOST", "example.com")]);
    /// assert!(config.get("api")?.problem().is_none());
    /// # Ok::<(), umcp::Error>(())
    /// ```
    #[must_use]
    pub fn variables<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<OsString>,
    {
        let all = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let variables = Variables::given(all.collect());
        for entry in &mut self.entries {
            entry.variables = variables.clone();
        }
        self
    }

    /// Asks a function for what a file wants to know from its user (`${input:id}`), once for each
    /// input. It runs where [`Entry::server`] is called, or a server taken out, and no clock ends
    /// it.
    ///
    /// It is not asked if the variable `MCP_INPUT_` and the input's name in capitals is set: whoever
    /// sets that does not want to be asked. Without the function, or if it returns `None`, the
    /// default counts that the file gives; without one, the input is missing, which is an error.
    ///
    /// ```
    /// use umcp::config::{Config, Dialect};
    ///
    /// let text = r#"{
    ///     "inputs": [{ "id": "key", "type": "promptString", "description": "The key", "password": true }],
    ///     "servers": { "api": { "command": "api", "env": { "KEY": "${input:key}" } } }
    /// }"#;
    /// let config = Config::parse(text, Dialect::VsCode)?.on_input(|input| {
    ///     println!("{}: ", input.description.as_deref().unwrap_or(&input.id));
    ///     Some("typed".to_owned())
    /// });
    /// let server = config.get("api")?.server()?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    #[must_use]
    pub fn on_input(
        mut self,
        ask: impl Fn(&Input) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let answers = Answers::new(ask);
        for entry in &mut self.entries {
            entry.answers = answers.clone();
        }
        self
    }

    /// Returns all entries, also those that are turned off, wrong or overridden: file by file, as
    /// they stand there.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns what is wrong with whole files, which [`Config::discover`] has left out.
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// Returns the entry of this name: `weather`, or, where that is not clear, with the dialect's or
    /// the file's name before it: `cursor:weather`, `.cursor/mcp.json:weather`.
    ///
    /// Of those that one dialect has in several files, the one that counts there is meant. Those
    /// that are turned on come before others, and the same server in several files is no question.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if there is none, or if there are different ones: the error names
    /// them.
    pub fn get(&self, name: &str) -> Result<&Entry> {
        let of = |is_meant: &dyn Fn(&Entry) -> bool| -> Vec<&Entry> {
            let counts = |entry: &&Entry| entry.overridden_by.is_none() && is_meant(entry);
            self.entries.iter().filter(counts).collect()
        };
        let mut found = of(&|entry| entry.name == name);
        if found.is_empty() {
            found = of(&|entry| entry.is_called(name));
        }
        if found.iter().any(|entry| !entry.is_disabled) {
            found.retain(|entry| !entry.is_disabled);
        }
        match found.as_slice() {
            [] => Err(self.missing(name)),
            [first, rest @ ..] if rest.iter().all(|entry| entry.is_same(first)) => Ok(first),
            _ => Err(Entry::ambiguous(name, &found)),
        }
    }

    fn missing(&self, name: &str) -> Error {
        let error = format!("there is no server `{}` in the configuration", said(name));
        let error = Error::new(ErrorKind::InvalidInput, error);
        match self.problems.first() {
            // It may be there.
            Some(problem) => error.hint(format!("Not all files could be read: {problem}")),
            None => error,
        }
    }

    /// The entries that are given out, each with a name that is its own.
    fn named(&self) -> Vec<(String, &Entry)> {
        let is_wanted = |entry: &&Entry| !entry.is_disabled && entry.overridden_by.is_none();
        let wanted: Vec<&Entry> = self.entries.iter().filter(is_wanted).collect();
        let mut named: Vec<(String, &Entry)> = Vec::new();
        for entry in &wanted {
            let is_known =
                |(_, other): &(String, &Entry)| other.name == entry.name && other.is_same(entry);
            if named.iter().any(is_known) {
                continue;
            }
            let names = [entry.name.clone(), entry.with_dialect(), entry.with_file()];
            let is_own = |name: &&String| {
                let is_others = |other: &&Entry| {
                    (other.name == **name || other.is_called(name)) && !other.is_same(entry)
                };
                !wanted.iter().any(is_others)
            };
            let name = names.iter().find(is_own).unwrap_or(&names[2]).clone();
            named.push((name, entry));
        }
        named
    }
}

/// The servers that are turned on, each with a name that is its own: what
/// [`Config::get`] takes. Inputs are asked for here, and one whose entry has a problem fails to
/// open, with that problem.
impl IntoIterator for Config {
    type Item = (String, Server);
    type IntoIter = vec::IntoIter<(String, Server)>;

    fn into_iter(self) -> Self::IntoIter {
        let servers = self.named().into_iter();
        let servers: Vec<_> =
            servers.map(|(name, entry)| (name, entry.server_or_problem())).collect();
        servers.into_iter()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("entries", &self.entries)
            .field("problems", &self.problems)
            .finish()
    }
}

/// Whom a file is for that was named by its path, and what relative paths in it start from.
fn project(path: &Path) -> (Scope, PathBuf) {
    let folder = path.parent().unwrap_or(path);
    let home = Variables::default().directory(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let is =
        |path: &Path, names: &[&str]| name(path).is_some_and(|name| names.contains(&name.as_str()));
    let root = match folder.parent() {
        _ if is(path, &[".mcp.json", "opencode.json", "opencode.jsonc"]) => Some(folder),
        Some(above) if is(folder, &["config"]) && is(path, &["mcporter.json"]) => Some(above),
        Some(above) if is(folder, &["settings"]) && is(above, &[".kiro"]) => above.parent(),
        Some(above) => {
            const FOLDERS: &[&str] =
                &[".cursor", ".vscode", ".codex", ".gemini", ".agents", ".zed", ".github"];
            is(folder, FOLDERS).then_some(above)
        }
        None => None,
    };
    match root.filter(|root| Some(*root) != home.as_deref()) {
        Some(root) => (Scope::Project, root.to_owned()),
        None => (Scope::User, folder.to_owned()),
    }
}

fn too_large(most: u64) -> Fault {
    const MIB: u64 = 1024 * 1024;
    let most = match most < MIB {
        true => format!("{} KiB", most / 1024),
        false => format!("{} MiB", most / MIB),
    };
    Fault::new(1, "", format!("the file is larger than {most}"))
}

fn unreadable(error: io::Error) -> Fault {
    Fault::new(1, "", format!("it cannot be read: {error}"))
}

fn open(path: &Path) -> Result<File, Fault> {
    // Opening a pipe may take for ever.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Fault::new(1, "", "this is no file"));
    }
    File::open(path).map_err(unreadable)
}

/// The text of a file of so many bytes at most, without a byte order mark.
fn read(path: &Path, most: u64) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let line = bytes.iter().take(good).filter(|byte| **byte == b'\n').count() + 1;
        Fault::new(line, "", "this is not UTF-8")
    })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}
