//! The entries of one file.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::{define, is_off};
use super::dialect::Dialect;
use super::entry::{Entry, Scope, Source};
use super::expand::Variables;
use super::fault::{Fault, join};
use super::input::{Answers, inputs};
use super::tree::{self, Member, Node, Value};

/// How many servers a file may have.
const MOST: usize = 1_000;

/// A file that may have servers, and whom they are for.
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Found out if it is not known.
    pub(super) dialect: Option<Dialect>,
    pub(super) scope: Scope,
    pub(super) root: PathBuf,
    /// Directories that a file for all projects may have a part for, the nearest first.
    pub(super) projects: Vec<PathBuf>,
}

/// What a file has.
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    /// Whether it has a place for servers, though there may be none.
    pub(super) has_key: bool,
    pub(super) dialect: Dialect,
}

pub(super) fn entries(place: &Place, text: &str) -> Result<Found, Fault> {
    let is_toml = match place.dialect.or_else(|| Dialect::of_path(&place.path)) {
        Some(dialect) => dialect == Dialect::Codex,
        None => false,
    };
    let root = match is_toml {
        true => tree::toml(text)?,
        false => tree::json(text)?,
    };
    let Some(members) = root.members() else {
        return Err(Fault::new(root.line, "", format!("this is {}, not an object", root.kind())));
    };
    let dialect = place.dialect.or_else(|| Dialect::of_path(&place.path));
    let dialect = dialect.unwrap_or_else(|| Dialect::of_shape(&root));
    for key in ["inputs", "projects"] {
        let mut all = members.iter().filter(|member| member.name == key);
        if let (Some(first), Some(again)) = (all.next(), all.next()) {
            return Err(doubled(first, again, key));
        }
    }
    let mut found = Found { entries: Vec::new(), has_key: false, dialect };
    let source = |scope, root: &Path| Source {
        path: place.path.clone(),
        dialect,
        scope,
        root: root.to_owned(),
        inputs: HashMap::new(),
    };
    if dialect == Dialect::ClaudeCode
        && let Some((project, members, key)) = project(members, &place.projects)
    {
        let source = Arc::new(source(Scope::Local, project));
        found.add(&source, &key, members, &[dialect.key()])?;
    }
    let mut source = source(place.scope, &place.root);
    source.inputs = inputs(&root)?;
    let source = Arc::new(source);
    let keys: Vec<_> = dialect.keys().collect();
    found.add(&source, "", members, &keys)?;
    if matches!(dialect, Dialect::Gemini | Dialect::Antigravity) {
        turn_off(&mut found.entries, &root);
    }
    Ok(found)
}

/// `projects.<path>`: what Claude Code keeps for one user in one project.
fn project<'a>(
    members: &'a [Member],
    projects: &'a [PathBuf],
) -> Option<(&'a Path, &'a [Member], String)> {
    let all = members.iter().find(|member| member.name == "projects")?.node.members()?;
    projects.iter().find_map(|directory| {
        let member = all.iter().find(|member| Path::new(&member.name) == directory)?;
        Some((directory.as_path(), member.node.members()?, join("projects", &member.name)))
    })
}

/// `mcp.allowed` and `mcp.excluded` of Gemini CLI.
fn turn_off(entries: &mut [Entry], root: &Node) {
    let list = |name| match root.get("mcp")?.get(name)?.value {
        Value::List(ref items) => Some(items.iter().filter_map(Node::text).collect::<HashSet<_>>()),
        _ => None,
    };
    let (allowed, excluded) = (list("allowed"), list("excluded").unwrap_or_default());
    for entry in entries {
        let name = entry.name.as_str();
        let is_allowed = allowed.as_ref().is_none_or(|allowed| allowed.contains(name));
        entry.is_disabled |= !is_allowed || excluded.contains(name);
    }
}

impl Found {
    /// Adds the servers that stand under the first of these keys that is there.
    fn add(
        &mut self,
        source: &Arc<Source>,
        path: &str,
        members: &[Member],
        keys: &[&str],
    ) -> Result<(), Fault> {
        let stands = |key: &&&str| members.iter().any(|member| member.name == ***key);
        let Some(key) = keys.iter().find(stands) else { return Ok(()) };
        let mut found = members.iter().filter(|member| member.name == *key);
        let (Some(servers), again) = (found.next(), found.next()) else { return Ok(()) };
        let path = join(path, key);
        if let Some(again) = again {
            return Err(doubled(servers, again, path));
        }
        self.has_key = true;
        let servers = match &servers.node.value {
            Value::Table(servers) => servers,
            Value::Null => return Ok(()),
            _ => {
                let what = format!("this is {}, not an object", servers.node.kind());
                return Err(Fault::new(servers.line, path, what));
            }
        };
        if servers.len() > MOST {
            let first = servers.get(MOST).map_or(1, |server| server.line);
            return Err(Fault::new(first, path, format!("there are more than {MOST} servers")));
        }
        for member in servers {
            let entry = entry(source, &path, member, servers);
            self.entries.push(entry);
        }
        Ok(())
    }
}

fn doubled(first: &Member, again: &Member, key: impl Into<String>) -> Fault {
    let what = format!("this stands here twice, first in line {}: make one of both", first.line);
    Fault::new(again.line, key, what)
}

fn entry(source: &Arc<Source>, path: &str, member: &Member, all: &[Member]) -> Entry {
    let key = join(path, &member.name);
    let is_twin = |other: &&Member| other.name == member.name && !std::ptr::eq(*other, member);
    let definition = match all.iter().find(is_twin) {
        _ if member.name.trim().is_empty() => {
            Err(Fault::new(member.line, key.as_str(), "a server needs a name"))
        }
        Some(twin) => {
            let what =
                format!("this name stands here twice, also in line {}: rename one", twin.line);
            Err(Fault::new(member.line, key.as_str(), what))
        }
        None => define(source.dialect, &key, &member.node),
    };
    Entry {
        name: member.name.clone(),
        line: member.line,
        key,
        fields: Arc::new(member.node.members().map(tree::to_json).unwrap_or_default()),
        definition: Arc::new(definition),
        is_disabled: is_off(&member.node),
        source: source.clone(),
        overridden_by: None,
        variables: Variables::default(),
        answers: Answers::default(),
    }
}
