//! What the command line says.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use umcp::{Era, LoggingLevel, ProtocolVersion, Server, Timeouts};

use crate::failure::Failure;
#[cfg(feature = "http")]
use crate::http::Http;
use crate::servers;

const AFTER_HELP: &str = "\
The server is everything after `--`, or `--url`, or one that a configuration file names:
  umcp tools -- npx -y @modelcontextprotocol/server-everything
  umcp call add a=2 b=3 --url https://example.com/mcp
  umcp call forecast city=Oslo --server weather

Exit status: 0 done, 1 usage, 3 authorization, 4 could not connect or the server died, 5 the server
said no, 6 it broke the protocol, 124 timed out, 130 and 143 interrupted.";

const CALL_HELP: &str = "\
Arguments:
  key=value      typed by the tool's own schema; where it allows several types, the first that
                 fits of null, boolean, integer, number, array, object, string
  key:=json      JSON as it is
  key=@file      the text of a file; key=@@text begins with an @
  key:=@file     the JSON of a file
What is given as JSON alone (--args, key:=json) is sent as it is, without asking for the schema.

Examples:
  umcp call add a=2 b=3 -- my-server
  umcp call screenshot --output page.png -- my-server
  umcp call search query=@question.txt filters:='{\"year\":2026}' --url https://example.com/mcp
  jq .arguments request.json | umcp call search --args - query=cats -- my-server";

const READ_HELP: &str = "\
Examples:
  umcp read file:///notes.txt -- my-server
  umcp read file:///logo.png --output logo.png -- my-server
  umcp read file:///pictures --output pictures/ -- my-server

Without --output a pipe gets text and bytes exactly as they are: umcp read URI -- my-server > file";

const WATCH_HELP: &str = "\
Ends when the server does (exit status 4), when nobody reads its output any more, or with Ctrl-C.

Of a legacy server this shows log messages, changed lists and whatever else it says. A modern one
(since 2026-07-28) says nothing unasked: this subscribes to changes of its lists. Its log messages
and progress belong to calls: `umcp call --log-level info` shows them. A resource is watched in
either era if it is named (--resource).

Examples:
  umcp watch -- my-server
  umcp watch --resource file:///var/log/my.log -- my-server
  umcp watch --log-level debug --json -- my-server | jq -r .params.data";

const SERVERS_HELP: &str = "\
Without --config these are the usual files of Claude Desktop and Code, Cursor, VS Code, Codex, Gemini CLI,
Windsurf, Zed, the Inspector and others: those of the project in this directory, and your own. Nothing
is started. The exit status is 1 if a file cannot be read.

Examples:
  umcp servers
  umcp servers --json | jq -r '.servers[] | select(.problem).problem'
  umcp tools --server weather
  umcp tools --server cursor:weather       if several files have one of that name
  umcp tools --server weather --config .vscode/mcp.json";

const COMPLETIONS_HELP: &str = "\
Examples:
  umcp completions bash > ~/.local/share/bash-completion/completions/umcp
  umcp completions zsh > ~/.zfunc/_umcp
  umcp completions fish > ~/.config/fish/completions/umcp.fish
  umcp completions elvish >> ~/.config/elvish/rc.elv
  umcp completions powershell >> $PROFILE";

const COMPLETE_HELP: &str = "\
Examples:
  umcp complete greeting name=A -- my-server
  umcp complete team name= department=Sales -- my-server
  umcp complete 'file:///{path}' path=src/ -- my-server";

/// Talks to an MCP server: lists what it offers, calls its tools, reads its resources.
#[derive(Parser)]
#[command(name = "umcp", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) options: Options,
    #[cfg(feature = "http")]
    #[command(flatten)]
    http: Http,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Say who the server is, what it speaks and what it offers
    #[command(after_help = "Example:\n  umcp info -- my-server --flag")]
    Info(Target),
    /// List the server's tools
    #[command(after_help = "Example:\n  umcp tools --json -- my-server | jq '.tools[].name'")]
    Tools(Target),
    /// List the server's resources
    #[command(after_help = "Example:\n  umcp resources -- my-server")]
    Resources(Target),
    /// List the server's templates for URIs of resources
    #[command(after_help = "Example:\n  umcp templates -- my-server")]
    Templates(Target),
    /// List the server's prompts
    #[command(after_help = "Example:\n  umcp prompts --url https://example.com/mcp")]
    Prompts(Target),
    /// Call a tool and print its result
    #[command(after_help = CALL_HELP)]
    Call {
        /// The tool's name
        tool: String,
        /// Its arguments: key=value, key:=json, key=@file, key:=@file
        #[arg(value_name = "KEY=VALUE")]
        arguments: Vec<String>,
        /// All arguments as a JSON object (- for stdin); key=value replaces what stands there
        #[arg(long, value_name = "JSON")]
        args: Option<String>,
        /// Write the result's content to this file, or to files in this directory (- for stdout).
        /// Text beside one image or the like is printed
        #[arg(short, long, value_name = "PATH", conflicts_with = "json")]
        output: Option<PathBuf>,
        #[command(flatten)]
        meanwhile: Meanwhile,
        #[command(flatten)]
        target: Target,
    },
    /// Read a resource: its text or bytes as they are
    #[command(after_help = READ_HELP)]
    Read {
        /// The resource's URI
        uri: String,
        /// Write the contents to this file, or to files in this directory (- for stdout)
        #[arg(short, long, value_name = "PATH", conflicts_with = "json")]
        output: Option<PathBuf>,
        #[command(flatten)]
        meanwhile: Meanwhile,
        #[command(flatten)]
        target: Target,
    },
    /// Get a prompt, filled in
    #[command(after_help = "Example:\n  umcp prompt review code=@main.rs -- my-server")]
    Prompt {
        /// The prompt's name
        name: String,
        /// Its arguments: key=value, key=@file
        #[arg(value_name = "KEY=VALUE")]
        arguments: Vec<String>,
        #[command(flatten)]
        meanwhile: Meanwhile,
        #[command(flatten)]
        target: Target,
    },
    /// Ask how an argument of a prompt or of a URI template could go on
    #[command(after_help = COMPLETE_HELP)]
    Complete {
        /// The prompt's name, or the URI template
        of: String,
        /// The argument, and what there is of it: name=A
        #[arg(value_name = "NAME=START")]
        argument: String,
        /// Arguments that were chosen already
        #[arg(value_name = "KEY=VALUE")]
        chosen: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Ask for a sign of life, and say how long it took
    #[command(after_help = "Example:\n  umcp ping --timeout 2s --url http://localhost:3000/mcp")]
    Ping(Target),
    /// Stay connected, and print what the server says unasked, a line each
    #[command(after_help = WATCH_HELP)]
    Watch {
        /// Ask for log messages of this level and above
        #[arg(long, visible_alias = "level", value_name = "LEVEL", default_value = "info",
            value_parser = level())]
        log_level: LoggingLevel,
        /// Also watch this resource, or what lies below it; can be given several times
        #[arg(long = "resource", value_name = "URI")]
        resources: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// List the servers of configuration files, and what is wrong with them; start none
    #[command(after_help = SERVERS_HELP)]
    Servers,
    /// Print what makes a shell complete this command's options
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What a verb shows on stderr while it waits.
#[derive(Args)]
pub(crate) struct Meanwhile {
    /// Show progress also if stderr is no terminal, a line for each step
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) progress: bool,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Show the server's log messages of this level and above
    #[arg(long, value_name = "LEVEL", value_parser = level())]
    pub(crate) log_level: Option<LoggingLevel>,
}

#[derive(Args)]
pub(crate) struct Target {
    /// The server to start, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct Options {
    /// The URL of the server, instead of a command
    #[arg(long, global = true)]
    url: Option<String>,
    /// A server of a configuration file: its name, or cursor:name
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "url")]
    server: Option<String>,
    /// The configuration file, instead of those that are found
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the MCP result object, as one JSON document (watch: one a line)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to connect, and then to wait for the answer: 500ms, 30s, 2m, 1h [default: 30s, 60s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Ask up to N times more after a failure that may pass, within the time; nothing is done twice
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    pub(crate) retry: u32,
    /// Speak one era of the protocol only, instead of finding out
    #[arg(long, global = true, value_enum)]
    era: Option<EraName>,
    /// Speak one revision of the protocol only
    #[arg(long, global = true, value_name = "DATE", conflicts_with = "era", value_parser = version())]
    protocol_version: Option<ProtocolVersion>,
    /// Set a variable of the command's environment; without =VALUE, pass this one on
    #[arg(short, long, global = true, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Pass all variables on to the command, not only those that programs need to work
    #[arg(long, global = true)]
    inherit_env: bool,
    /// The directory to start the command in
    #[arg(long, global = true, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Log to stderr: -v what happens, -vv every message. RUST_LOG is honoured
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Clone, Copy, ValueEnum)]
enum EraName {
    Modern,
    Legacy,
}

fn level() -> impl TypedValueParser<Value = LoggingLevel> {
    const LEVELS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    PossibleValuesParser::new(LEVELS).map(LoggingLevel::from)
}

fn version() -> impl TypedValueParser<Value = ProtocolVersion> {
    PossibleValuesParser::new(ProtocolVersion::ALL.iter().map(|version| version.as_str()))
        .try_map(|text| text.parse::<ProtocolVersion>())
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.strip_prefix(digits) {
        Some("ms") => 0.001,
        Some("s" | "") => 1.0,
        Some("m") => 60.0,
        Some("h") => 3600.0,
        _ => return Err("the unit is none of ms, s, m, h".to_owned()),
    };
    let number = digits.starts_with(|c: char| c.is_ascii_digit()).then(|| digits.parse::<f64>());
    let Some(Ok(number)) = number else { return Err("this is no time, such as 30s".to_owned()) };
    match Duration::try_from_secs_f64(number * unit) {
        Ok(Duration::ZERO) => Err("no server answers in no time".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("this is too long".to_owned()),
    }
}

impl Verb {
    fn command(&self) -> &[OsString] {
        match self {
            Verb::Info(target)
            | Verb::Tools(target)
            | Verb::Resources(target)
            | Verb::Templates(target)
            | Verb::Prompts(target)
            | Verb::Ping(target)
            | Verb::Call { target, .. }
            | Verb::Read { target, .. }
            | Verb::Watch { target, .. }
            | Verb::Prompt { target, .. }
            | Verb::Complete { target, .. } => &target.command,
            Verb::Servers | Verb::Completions { .. } => &[],
        }
    }
}

impl Cli {
    /// Whether only servers from before 2026-07-28 will do.
    pub(crate) fn wants_legacy(&self) -> bool {
        let Options { era, protocol_version, .. } = &self.options;
        matches!(era, Some(EraName::Legacy))
            || protocol_version.is_some_and(|version| version.era() == Era::Legacy)
    }

    /// The server that the command line names, and whether it is a URL.
    pub(crate) fn server(&self) -> Result<(Server, bool), Failure> {
        let Options { url, timeout, era, protocol_version, env, inherit_env, cwd, .. } =
            &self.options;
        let Options { server, config, .. } = &self.options;
        if config.is_some() && server.is_none() {
            return Err(Failure::usage("which server of the file? Give `--server NAME`"));
        }
        let (mut server, is_remote) = match (url, server, self.verb.command()) {
            (None, None, [program, args @ ..]) => (Server::command(program).args(args), false),
            (Some(url), None, []) => (Server::url(url), true),
            (None, Some(name), []) => servers::named(name, config.as_deref())?,
            (None, None, []) => {
                let text = "which server? Give `--url URL`, `--server NAME`, or `-- COMMAND ARGS...` at \
                            the end";
                return Err(Failure::usage(text));
            }
            (Some(_), ..) => {
                return Err(Failure::usage("a URL and a command are two servers: give one"));
            }
            (None, Some(_), _) => {
                let text = "a server of a file and a command are two servers: give one";
                return Err(Failure::usage(text));
            }
        };
        #[cfg(feature = "http")]
        {
            server = self.http.set(server)?;
        }
        if let Some(timeout) = *timeout {
            server = server.timeouts(timeouts(timeout));
        }
        match era {
            Some(EraName::Modern) => server = server.era(Era::Modern),
            Some(EraName::Legacy) => server = server.era(Era::Legacy),
            None => {}
        }
        if let Some(version) = *protocol_version {
            server = server.version(version);
        }
        for variable in env {
            server = match variable.split_once('=') {
                Some((name, value)) if !name.is_empty() => server.env(name, value),
                None if !variable.is_empty() => match env::var_os(variable) {
                    Some(value) => server.env(variable, value),
                    None => {
                        let text = format_args!("there is no variable `{variable}` to pass on");
                        return Err(Failure::usage(text));
                    }
                },
                _ => return Err(Failure::usage("`--env` needs the name of a variable")),
            };
        }
        if *inherit_env {
            server = server.inherit_env();
        }
        if let Some(cwd) = cwd {
            server = server.cwd(cwd);
        }
        Ok((server, is_remote))
    }
}

/// `timeout` for connecting, and `timeout` for all that is asked then.
fn timeouts(timeout: Duration) -> Timeouts {
    let default = Timeouts::default();
    // A process that has not spoken yet gets three times the patience.
    let patience = default.patience.min(timeout / 3);
    default.connect(timeout).request(timeout).max_total(timeout).patience(patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        for (text, millis) in
            [("30s", 30_000), ("500ms", 500), ("2m", 120_000), ("1h", 3_600_000), ("1.5", 1_500)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1 s", "inf", "NaN", "0", "0ms", "1.2.3", "5S"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration(&"9".repeat(400)).is_err());
    }

    #[test]
    fn options_may_stand_anywhere_before_the_command() {
        let words = "umcp --json call add a=1 --timeout 2s b=2 -v -- server --json -v";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        assert!(cli.options.json);
        assert_eq!((cli.options.verbose, cli.options.timeout), (1, Some(Duration::from_secs(2))));
        assert_eq!(cli.verb.command(), ["server", "--json", "-v"]);
        let Verb::Call { tool, arguments, .. } = cli.verb else { panic!() };
        assert_eq!((tool.as_str(), arguments), ("add", vec!["a=1".to_owned(), "b=2".to_owned()]));
    }
}
