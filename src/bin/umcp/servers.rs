//! The servers of configuration files: which there are, and the one that the command line names.

use std::env;
use std::path::Path;

use serde_json::{Map, Value, json};
use umcp::Server;
use umcp::config::{Config, Entry};

use crate::ask;
use crate::complain;
use crate::failure::{Failure, status};
use crate::output::Output;
use crate::text::{clean, did_you_mean, table};

/// Reads the file, or the usual ones of whoever is here.
fn load(file: Option<&Path>) -> Result<Config, Failure> {
    match file {
        Some(file) => Ok(Config::load(file)?),
        None => Ok(Config::discover(env::current_dir().map_err(|error| {
            Failure::usage(format_args!("cannot tell which directory this is: {error}"))
        })?)),
    }
}

/// The server of this name, and whether it is a URL. What its file wants to know is asked here.
pub(crate) fn named(name: &str, file: Option<&Path>) -> Result<(Server, bool), Failure> {
    let config = load(file)?.on_input(ask::for_input);
    let entry = config.get(name).map_err(|error| {
        let names: Vec<_> = config.entries().iter().map(Entry::name).collect();
        let guess = if names.contains(&name) { String::new() } else { did_you_mean(name, names) };
        let end = if guess.is_empty() { "." } else { "" };
        Failure::usage(format_args!("{error}{guess}{end} `umcp servers` lists what there is"))
    })?;
    Ok((entry.server()?, entry.is_url()))
}

/// Lists what there is, and what is wrong with it. Starts nothing.
pub(crate) fn list(file: Option<&Path>, output: Output) -> Result<u8, Failure> {
    // Only whether inputs could be asked for counts.
    let config = load(file)?.on_input(|_| None);
    if output.json {
        let servers: Vec<Value> = config.entries().iter().map(described).collect();
        let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        output.document(&json!({ "servers": servers, "problems": problems }))?;
    } else {
        output.print(render(&config).as_bytes())?;
        if config.entries().is_empty() && config.problems().is_empty() {
            complain("there are no servers in any file that is known");
        }
    }
    for problem in config.problems() {
        complain(&problem.to_string());
    }
    Ok(if config.problems().is_empty() { status::DONE } else { status::USAGE })
}

fn described(entry: &Entry) -> Value {
    let mut about = Map::new();
    let kind = if entry.is_url() { "url" } else { "command" };
    let mut say = |name: &str, value: Value| about.insert(name.to_owned(), value);
    say("name", json!(entry.name()));
    say("dialect", json!(entry.dialect().as_str()));
    say("file", json!(entry.file().to_string_lossy()));
    say("line", json!(entry.line()));
    say("enabled", json!(!entry.is_disabled()));
    if !entry.summary().is_empty() {
        say(kind, json!(entry.summary()));
    }
    if let Some((file, line)) = entry.overridden_by() {
        say("overriddenBy", json!({ "file": file.to_string_lossy(), "line": line }));
    }
    if let Some(problem) = entry.problem() {
        say("problem", json!(problem.to_string()));
    }
    about.into()
}

/// A text of a file's on one line, which forges no other. Also for a pipe: the table is not a
/// server's result.
fn on_line(text: impl ToString) -> String {
    clean(&text.to_string()).replace(['\n', '\t'], " ")
}

/// File by file: the servers, and below each what is wrong with it.
fn render(config: &Config) -> String {
    let mut text = String::new();
    let files = config.entries().chunk_by(|one, other| one.file() == other.file());
    for entries in files {
        let Some(first) = entries.first() else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{} ({})\n", on_line(first.file().display()), first.dialect());
        let mut rows = Vec::new();
        for entry in entries {
            let mut about = entry.summary();
            if entry.is_disabled() {
                about += " [off]";
            }
            if let Some((file, line)) = entry.overridden_by() {
                about += &format!(" [overridden by {}:{line}]", file.display());
            }
            if let Some(problem) = entry.problem() {
                // The file stands above.
                let (file, problem) = (format!("{}:", entry.file().display()), problem.to_string());
                about += &match problem.strip_prefix(&file) {
                    Some(rest) => format!(" [line {rest}]"),
                    None => format!(" [{problem}]"),
                };
            }
            rows.push((format!("  {}", on_line(entry.name())), on_line(about.trim_start())));
        }
        text += &table(&rows);
    }
    text
}
