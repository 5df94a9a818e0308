//! What an entry of a file says about a server, in one form for all dialects. Nothing is filled in.

use std::time::Duration;

use super::dialect::{Dialect, Expansion};
use super::fault::{Fault, join};
use super::fields::{Table, Text, text};
use super::tree::{Member, Node, Value};
use crate::error::said;
use crate::protocol::Era;

pub(super) struct Definition {
    pub(super) reach: Reach,
    pub(super) connect: Option<Duration>,
    pub(super) request: Option<Duration>,
    pub(super) era: Option<Era>,
    /// `None` is every tool.
    pub(super) include: Option<Vec<String>>,
    pub(super) exclude: Vec<String>,
}

pub(super) enum Reach {
    Command(Command),
    Url(Remote),
}

pub(super) struct Command {
    pub(super) program: Text,
    pub(super) args: Vec<Text>,
    /// `None` withholds the variable.
    pub(super) env: Vec<(String, Option<Text>)>,
    pub(super) env_file: Option<Text>,
    /// Variables to pass on, if they are there.
    pub(super) passed: Vec<String>,
    pub(super) cwd: Option<Text>,
}

pub(super) struct Remote {
    pub(super) url: Text,
    pub(super) headers: Vec<(String, Text)>,
    pub(super) bearer: Option<Text>,
}

/// Whether an entry is turned off.
pub(super) fn is_off(node: &Node) -> bool {
    let says = |name, wanted: bool| {
        node.get(name).is_some_and(|node| matches!(node.value, Value::Bool(yes) if yes == wanted))
    };
    says("disabled", true) || says("enabled", false)
}

/// More than servers take.
const MOST_HEADERS: usize = 100;

const URLS: &[&str] = &["url", "httpUrl", "serverUrl", "baseUrl", "uri"];
const HEADERS: &[&str] = &["headers", "http_headers"];
const BEARER_VARIABLES: &[&str] = &["bearer_token_env_var", "bearerTokenEnv"];
const ENV: &[&str] = &["env", "environment", "envs"];
const INCLUDE: &[&str] = &["enabled_tools", "includeTools", "allowedTools"];
const EXCLUDE: &[&str] = &["disabled_tools", "excludeTools", "disabledTools", "blockedTools"];

/// Reads the entry that stands at a path of keys.
pub(super) fn define(dialect: Dialect, key: &str, node: &Node) -> Result<Definition, Fault> {
    let Some(members) = node.members() else {
        return Err(Fault::new(node.line, key, format!("this is {}, not an object", node.kind())));
    };
    let entry = Table { key, members };
    entry.check()?;
    for off in ["disabled", "enabled"] {
        entry.flag(off)?;
    }
    // Who wrote it counts on that.
    if entry.flag("sandboxEnabled")?
        && let Some(member) = entry.one(&["sandboxEnabled"])?
    {
        return Err(entry.fault(member, "umcp has no sandbox to start it in: start it yourself"));
    }
    if let Some(member) = entry.one(&["headersHelper", "http_headers_helper"])? {
        let what = "umcp runs no command for headers: write them down, as variables";
        return Err(entry.fault(member, what));
    }
    let (mut connect, mut request) = (None, None);
    for time in dialect.times() {
        let clock = if time.is_for_connecting { &mut connect } else { &mut request };
        if let Some(member) = entry.one(&[time.name])? {
            *clock = Some(entry.duration(member, time.unit, dialect)?);
        }
    }
    let copilots: &[&str] = if dialect == Dialect::Copilot { &["tools"] } else { &[] };
    Ok(Definition {
        reach: entry.reach(dialect, node.line)?,
        connect,
        request,
        era: entry.era(dialect)?,
        include: entry.names(&[INCLUDE, copilots].concat())?,
        exclude: entry.names(EXCLUDE)?.unwrap_or_default(),
    })
}

impl Table<'_> {
    fn duration(self, member: &Member, unit: f64, dialect: Dialect) -> Result<Duration, Fault> {
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let Value::Number(number) = &member.node.value else {
            return Err(self.fault(member, format!("this is {}, not a number", member.node.kind())));
        };
        let number = number.as_f64().unwrap_or(f64::NAN);
        if dialect == Dialect::ClaudeCode && (0.0..1000.0).contains(&number) && number > 0.0 {
            let what = "this is in milliseconds, and Claude Code ignores less than 1000";
            return Err(self.fault(member, what));
        }
        match Duration::try_from_secs_f64(number * unit) {
            Ok(time) if !time.is_zero() && time <= LONGEST => Ok(time),
            _ => {
                let unit = if unit < 1.0 { "milliseconds" } else { "seconds" };
                let what = format!("this has to be more than 0 {unit}, and at most a year");
                Err(self.fault(member, what))
            }
        }
    }

    fn era(self, dialect: Dialect) -> Result<Option<Era>, Fault> {
        if dialect != Dialect::Inspector {
            return Ok(None);
        }
        let Some(era) = self.text(&["protocolEra"])? else { return Ok(None) };
        match era.written.as_str() {
            "auto" => Ok(None),
            "legacy" => Ok(Some(Era::Legacy)),
            "modern" => Ok(Some(Era::Modern)),
            _ => Err(era.fault("this is none of auto, legacy and modern")),
        }
    }

    fn reach(self, dialect: Dialect, line: usize) -> Result<Reach, Fault> {
        let is_gemini = matches!(dialect, Dialect::Gemini | Dialect::Antigravity);
        let command = self.one(&["command"])?;
        // There, it wins.
        let url = match self.one(&["httpUrl"])? {
            Some(member) if is_gemini => Some(member),
            _ => self.one(URLS)?,
        };
        let kind = self.one(&["type", "transport"])?;
        let transport = kind.map(|member| self.transport(member)).transpose()?;
        match (command, url, transport) {
            (Some(command), Some(url), _) => {
                let what = format!("there is a `{}` as well: give one", command.name);
                Err(self.fault(url, what))
            }
            (Some(command), None, Some(Transport::Http)) => {
                Err(self.fault(command, "the type wants a URL, and this is a command"))
            }
            (None, Some(url), Some(Transport::Command)) => {
                Err(self.fault(url, "the type wants a command, and this is a URL"))
            }
            (Some(command), None, _) => Ok(Reach::Command(self.command(command, dialect)?)),
            (None, Some(url), _) => Ok(Reach::Url(self.remote(url, dialect)?)),
            (None, None, _) => {
                let what = match dialect {
                    Dialect::Zed => {
                        "no command and no URL: what an extension of Zed brings, only Zed starts"
                    }
                    _ => "there is neither a command nor a URL",
                };
                Err(Fault::new(line, self.key, what))
            }
        }
    }

    fn transport(self, member: &Member) -> Result<Transport, Fault> {
        match member.node.text() {
            Some("stdio" | "local") => Ok(Transport::Command),
            // Which one it is, is found out.
            Some(
                "http" | "streamable-http" | "streamable_http" | "streamableHttp" | "remote"
                | "sse",
            ) => Ok(Transport::Http),
            Some("ws" | "websocket") => Err(self.fault(member, "umcp speaks no WebSocket")),
            _ => Err(self.fault(member, "unknown transport: this is none of stdio, http and sse")),
        }
    }

    fn command(self, member: &Member, dialect: Dialect) -> Result<Command, Fault> {
        let path = self.path(member);
        if dialect == Dialect::Codex {
            self.has_none(&[URLS, HEADERS, BEARER_VARIABLES, &["env_http_headers"]], "a command")?;
        }
        // Older files of Zed have all of it one level deeper.
        let inner = match &member.node.value {
            Value::Table(members) => Table { key: &path, members },
            _ => self,
        };
        let mut words = match &member.node.value {
            Value::Table(_) => {
                inner.check()?;
                inner.text(&["path"])?.into_iter().collect()
            }
            Value::List(_) => self.texts(&["command"])?.unwrap_or_default(),
            _ => {
                let text = text(&member.node, path.clone())?;
                let words = match dialect {
                    Dialect::Mcporter => split(&text),
                    _ => vec![text],
                };
                self.check_count(member, words.len())?;
                words
            }
        }
        .into_iter();
        let Some(program) = words.next().filter(|program| !program.written.trim().is_empty())
        else {
            return Err(self.fault(member, "there is no program to start"));
        };
        let args = words.chain(inner.texts(&["args"])?.unwrap_or_default()).collect();
        let env = inner.table(ENV)?;
        if let Some((name, _)) = env.iter().find(|(name, _)| !is_variable(name)) {
            let key = join(&join(inner.key, "env"), name);
            return Err(Fault::new(member.line, key, "this is no name of a variable"));
        }
        Ok(Command {
            program,
            args,
            env,
            env_file: self.text(&["envFile"])?,
            passed: self.passed()?,
            cwd: self.text(&["cwd"])?,
        })
    }

    /// `env_vars`: names, or objects with one.
    fn passed(self) -> Result<Vec<String>, Fault> {
        let Some(member) = self.one(&["env_vars"])? else { return Ok(Vec::new()) };
        let Value::List(items) = &member.node.value else {
            return Err(self.fault(member, format!("this is {}, not a list", member.node.kind())));
        };
        self.check_count(member, items.len())?;
        let names = items.iter().map(|item| {
            let (name, source) = match item.members() {
                Some(_) => (item.get("name").and_then(Node::text), item.get("source")),
                None => (item.text(), None),
            };
            match (name, source.map(|source| source.text())) {
                (Some(name), None | Some(Some("local"))) if is_variable(name) => {
                    Ok(name.to_owned())
                }
                (_, None) => Err(self.fault(member, "one of these is no name of a variable")),
                _ => Err(self.fault(member, "umcp takes variables from here (`local`) only")),
            }
        });
        names.collect()
    }

    fn remote(self, member: &Member, dialect: Dialect) -> Result<Remote, Fault> {
        if let Some(member) = self.one(&["bearer_token"])? {
            let what = "a token does not belong here: name its variable in `bearer_token_env_var`";
            return Err(self.fault(member, what));
        }
        if dialect == Dialect::Codex {
            self.has_none(&[ENV, &["args", "env_vars", "cwd"]], "a URL")?;
        }
        let url = text(&member.node, self.path(member))?;
        let scheme = url.written.split("://").next().unwrap_or_default();
        if matches!(scheme, "unix" | "pipe") {
            return Err(url.fault("umcp reaches servers over http:// and https:// only"));
        }
        let mut headers = Vec::new();
        for (name, value) in self.table(HEADERS)? {
            headers.extend(value.map(|value| (name, value)));
        }
        for (name, value) in self.table(&["env_http_headers"])? {
            headers.extend(value.map(|value| (name, value.of_variable())));
        }
        if let Some((_, one_more)) = headers.get(MOST_HEADERS) {
            return Err(one_more.fault(format!("there are more than {MOST_HEADERS} headers")));
        }
        let mut bearer = self.text(BEARER_VARIABLES)?.map(Text::of_variable);
        if dialect == Dialect::FastMcp && bearer.is_none() {
            // An object, or this word, is about logging in.
            let auth = self
                .one(&["auth"])?
                .filter(|member| member.node.text().is_some_and(|it| it != "oauth"));
            bearer = auth.map(|member| text(&member.node, self.path(member))).transpose()?;
        }
        Ok(Remote { url, headers, bearer })
    }

    /// Codex refuses what it would have to ignore.
    fn has_none(self, groups: &[&[&str]], reach: &str) -> Result<(), Fault> {
        let names = groups.concat();
        match self.members.iter().find(|member| names.contains(&member.name.as_str())) {
            Some(member) => Err(self.fault(member, format!("this means nothing for {reach}"))),
            None => Ok(()),
        }
    }
}

enum Transport {
    Command,
    Http,
}

/// A command line in one text, without quotes.
fn split(text: &Text) -> Vec<Text> {
    let word = |word: &str| Text {
        written: word.to_owned(),
        is_name: false,
        line: text.line,
        key: text.key.clone(),
        item: String::new(),
    };
    text.written.split_whitespace().map(word).collect()
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// The scheme and the host of a URL. Keys stand in paths as well.
fn host(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    // A password can have a `/` in it; a segment of a path can begin with `@`.
    let is_password = path.replace("/@", "").contains('@');
    let is_default = scheme.contains(":-") || host.contains(":-");
    match path {
        _ if is_default => "…".to_owned(),
        _ if is_password => format!("{scheme}…"),
        "" | "/" => format!("{scheme}{host}{path}"),
        _ => format!("{scheme}{host}/…"),
    }
}

impl Definition {
    /// What it is, without arguments, values or credentials.
    pub(super) fn summary(&self) -> String {
        match &self.reach {
            Reach::Command(command) => {
                // More words than one may be arguments, or variables and their values.
                let mut words = command.program.written.split_whitespace();
                let program = match words.next().unwrap_or_default() {
                    word if word.contains('=') => "…".to_owned(),
                    word => said(word),
                };
                let rest = if words.next().is_some() { " …" } else { "" };
                match command.args.len() {
                    0 => format!("{program}{rest}"),
                    1 => format!("{program}{rest} (1 argument)"),
                    count => format!("{program}{rest} ({count} arguments)"),
                }
            }
            Reach::Url(remote) => said(&host(&remote.url.written)),
        }
    }

    /// Whether both are the same server, each read in its own dialect.
    pub(super) fn is_same(&self, other: &Self, own: Expansion, others: Expansion) -> bool {
        let (one, two) = (self.parts(), other.parts());
        let is_plain = |(_, text): &(&str, &str)| !text.contains(['$', '{']);
        let is_alike = own == others || one.iter().all(is_plain);
        is_alike
            && one == two
            && (self.connect, self.request, self.era) == (other.connect, other.request, other.era)
            && (&self.include, &self.exclude) == (&other.include, &other.exclude)
    }

    /// Whether what it is depends on the directory it belongs to.
    pub(super) fn is_relative(&self) -> bool {
        let Reach::Command(Command { program, args, env_file, cwd, .. }) = &self.reach else {
            return false;
        };
        let mut paths = cwd.iter().chain(env_file);
        let mut texts = [program].into_iter().chain(args).chain(cwd).chain(env_file);
        paths.any(|text| !text.written.starts_with(['/', '~', '$', '{']))
            || texts.any(|text| {
                text.written.starts_with('.') || text.written.contains("${workspaceFolder")
            })
    }

    /// All that is written, and what it is for.
    fn parts(&self) -> Vec<(&str, &str)> {
        fn part<'a>(what: &'a str, text: &'a Text) -> (&'a str, &'a str) {
            (if text.is_name { "$" } else { what }, &text.written)
        }
        match &self.reach {
            Reach::Command(command) => {
                let Command { program, args, env, env_file, passed, cwd } = command;
                let mut parts = vec![part("command", program)];
                parts.extend(args.iter().map(|arg| part("arg", arg)));
                for (name, value) in env {
                    parts.push(("env", name));
                    parts.push(value.as_ref().map_or(("null", ""), |value| part("value", value)));
                }
                parts.extend(env_file.iter().map(|file| part("file", file)));
                parts.extend(passed.iter().map(|name| ("passed", name.as_str())));
                parts.extend(cwd.iter().map(|cwd| part("cwd", cwd)));
                parts
            }
            Reach::Url(remote) => {
                let Remote { url, headers, bearer } = remote;
                let mut parts = vec![part("url", url)];
                for (name, value) in headers {
                    parts.extend([("header", name.as_str()), part("value", value)]);
                }
                parts.extend(bearer.iter().map(|token| part("bearer", token)));
                parts
            }
        }
    }
}
