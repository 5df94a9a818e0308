//! Configuration files: what they become, and what is said of those that are wrong.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use umcp::config::{Config, Dialect};
use umcp::{Client, ErrorKind};

use crate::common::Folder;

fn parse(text: &str) -> Config {
    Config::parse(text, Dialect::ClaudeCode).unwrap()
}

/// What is wrong with the only server of a text.
fn problem(dialect: Dialect, server: &str) -> String {
    let text = match dialect {
        Dialect::Codex => format!("[mcp_servers.it]\n{server}\n"),
        Dialect::VsCode => format!("{{ \"servers\": {{\n\"it\": {server} }} }}"),
        _ => format!("{{ \"mcpServers\": {{\n\"it\": {server} }} }}"),
    };
    let config = Config::parse(&text, dialect).unwrap().variables([("EMPTY", "")]);
    let problem = config.get("it").unwrap().problem().unwrap_or_else(|| panic!("fine: {text}"));
    assert_eq!(problem.kind(), ErrorKind::InvalidInput);
    // A server cannot be had either, for the same reason.
    assert_eq!(config.get("it").unwrap().server().unwrap_err().to_string(), problem.to_string());
    problem.to_string()
}

#[test]
fn what_is_wrong_says_file_line_key_and_what_to_do() {
    use Dialect::*;
    for (dialect, server, expected) in [
        (ClaudeCode, "7", "2: mcpServers.it: this is a number, not an object"),
        (ClaudeCode, "{}", "2: mcpServers.it: there is neither a command nor a URL"),
        (
            ClaudeCode,
            "{ \"command\": \"a\",\n\"url\": \"https://b\" }",
            "3: mcpServers.it.url: there is a `command` as well: give one",
        ),
        (
            ClaudeCode,
            "{ \"type\": \"carrier-pigeon\", \"url\": \"https://b\" }",
            "2: mcpServers.it.type: unknown transport: this is none of stdio, http and sse",
        ),
        (
            ClaudeCode,
            r#"{ "type": "stdio", "url": "https://b" }"#,
            "2: mcpServers.it.url: the type wants a command, and this is a URL",
        ),
        (
            ClaudeCode,
            r#"{ "type": "http", "command": "b" }"#,
            "2: mcpServers.it.command: the type wants a URL, and this is a command",
        ),
        (
            ClaudeCode,
            r#"{ "type": "ws", "url": "wss://b" }"#,
            "2: mcpServers.it.type: umcp speaks no WebSocket",
        ),
        (
            ClaudeCode,
            r#"{ "command": "" }"#,
            "2: mcpServers.it.command: there is no program to start",
        ),
        (
            ClaudeCode,
            r#"{ "command": [] }"#,
            "2: mcpServers.it.command: there is no program to start",
        ),
        (
            ClaudeCode,
            "{ \"command\": \"a\",\n\"args\": [1,\n{}] }",
            "4: mcpServers.it.args[1]: this is an object, not text",
        ),
        (
            ClaudeCode,
            r#"{ "command": "a", "args": "b" }"#,
            "2: mcpServers.it.args: this is text, not a list",
        ),
        (
            ClaudeCode,
            r#"{ "command": "a", "env": { "X=Y": "" } }"#,
            "2: mcpServers.it.env.\"X=Y\": this is no name of a variable",
        ),
        (
            ClaudeCode,
            "{ \"command\": \"a\",\n\"args\": [],\n\"command\": \"b\" }",
            "4: mcpServers.it.command: this key stands here twice, first in line 2: keep one",
        ),
        (
            ClaudeCode,
            "{ \"command\": \"a\", \"env\": { \"A\": \"1\",\n\"A\": \"2\" } }",
            "3: mcpServers.it.env.A: this key stands here twice, first in line 2: keep one",
        ),
        (
            ClaudeCode,
            r#"{ "url": "https://b", "serverUrl": "https://c" }"#,
            "2: mcpServers.it.serverUrl: `url` in line 2 says this already: give one",
        ),
        (
            ClaudeCode,
            r#"{ "command": "a", "disabled": "no" }"#,
            "2: mcpServers.it.disabled: this is text, not true or false",
        ),
        (
            ClaudeCode,
            r#"{ "url": "https://b", "headersHelper": "x" }"#,
            "2: mcpServers.it.headersHelper: umcp runs no command for headers: write them down, as variables",
        ),
        (
            ClaudeCode,
            r#"{ "command": "a", "args": ["${A:-${B}}"] }"#,
            "2: mcpServers.it.args[0]: umcp cannot fill in the default of the variable `A`: write it out",
        ),
        (
            ClaudeCode,
            "{ \"command\": \"a\",\n\"env\": { \"K\": \"${NONE}${NONE}\", \"L\": \"${NEITHER}\" } }",
            "3: mcpServers.it.env.K: the variable `NONE` and the variable `NEITHER` are not set: set them",
        ),
        (
            ClaudeCode,
            r#"{ "command": "a", "timeout": 30 }"#,
            "2: mcpServers.it.timeout: this is in milliseconds, and Claude Code ignores less than 1000",
        ),
        (
            Gemini,
            r#"{ "command": "a", "timeout": 0 }"#,
            "2: mcpServers.it.timeout: this has to be more than 0 milliseconds, and at most a year",
        ),
        (
            Gemini,
            r#"{ "command": "a", "timeout": -1 }"#,
            "2: mcpServers.it.timeout: this has to be more than 0 milliseconds, and at most a year",
        ),
        (
            Cline,
            r#"{ "command": "a", "timeout": 1e300 }"#,
            "2: mcpServers.it.timeout: this has to be more than 0 seconds, and at most a year",
        ),
        (
            Cline,
            r#"{ "command": "a", "timeout": "60" }"#,
            "2: mcpServers.it.timeout: this is text, not a number",
        ),
        (
            Inspector,
            r#"{ "command": "a", "protocolEra": "bronze" }"#,
            "2: mcpServers.it.protocolEra: this is none of auto, legacy and modern",
        ),
        (
            VsCode,
            r#"{ "command": "a", "sandboxEnabled": true }"#,
            "2: servers.it.sandboxEnabled: umcp has no sandbox to start it in: start it yourself",
        ),
        (
            VsCode,
            r#"{ "url": "pipe:///x" }"#,
            "2: servers.it.url: umcp reaches servers over http:// and https:// only",
        ),
        (
            VsCode,
            r#"{ "command": "${config:x.y}" }"#,
            "2: servers.it.command: umcp cannot fill in `config:x.y`: write it out",
        ),
        (
            VsCode,
            r#"{ "command": "a", "args": ["${input:my key}"] }"#,
            "2: servers.it.args[0]: the input `my key` (or the variable `MCP_INPUT_MY_KEY`) is not set: set it",
        ),
        (
            Codex,
            "command = 'a'\nurl = 'https://b'",
            "3: mcp_servers.it.url: there is a `command` as well: give one",
        ),
        (
            Codex,
            "command = 'a'\nhttp_headers = {}",
            "3: mcp_servers.it.http_headers: this means nothing for a command",
        ),
        (
            Codex,
            "url = 'https://b'\nargs = []",
            "3: mcp_servers.it.args: this means nothing for a URL",
        ),
        (
            Codex,
            "url = 'https://b'\nbearer_token = 'hunter2'",
            "3: mcp_servers.it.bearer_token: a token does not belong here: name its variable in `bearer_token_env_var`",
        ),
        (
            Codex,
            "command = 'a'\nenv_vars = ['A', 'B=']",
            "3: mcp_servers.it.env_vars: one of these is no name of a variable",
        ),
        (
            Codex,
            "command = 'a'\nenv_vars = [{ name = 'A', source = 'remote' }]",
            "3: mcp_servers.it.env_vars: umcp takes variables from here (`local`) only",
        ),
        (
            Codex,
            "command = 'a'\ntool_timeout_sec = 1e9",
            "3: mcp_servers.it.tool_timeout_sec: this has to be more than 0 seconds, and at most a year",
        ),
    ] {
        assert_eq!(problem(dialect, server), format!("<{dialect}>:{expected}"), "{server}");
    }
}

#[cfg(feature = "http")]
#[test]
fn what_the_server_would_refuse_is_told_before_it_is_opened() {
    for (server, expected) in [
        (r#"{ "url": "example.com" }"#, "2: mcpServers.it: not a URL to connect to, such as "),
        (
            "{ \"url\": \"https://b\",\n\"headers\": { \"a b\": \"hunter2\" } }",
            "3: mcpServers.it.headers.\"a b\": its name is no name of a header",
        ),
        (
            r#"{ "url": "http://example.com/", "headers": { "X-Key": "hunter2" } }"#,
            "2: mcpServers.it: ",
        ),
    ] {
        let problem = problem(Dialect::ClaudeCode, server);
        assert!(problem.starts_with(&format!("<claude-code>:{expected}")), "{problem}");
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn a_file_that_is_wrong_says_where() {
    for (text, expected) in [
        ("", "1: the file is empty"),
        ("  \n// nothing\n", "1: the file is empty"),
        ("[]", "1: this is a list, not an object"),
        ("{ \"mcpServers\": {\n} ", "1: this is no JSON (column 1): Unterminated object"),
        ("{ \"mcpServers\": {\n\"a\" 1 } }", "2: this is no JSON (column 5): "),
        ("{}", "1: there are no servers: there is no `mcpServers`"),
        ("{\n\"mcpServers\": [] }", "2: mcpServers: this is a list, not an object"),
        (
            "{ \"mcpServers\": {},\n\"mcpServers\": {} }",
            "2: mcpServers: this stands here twice, first in line 1: make one of both",
        ),
        (
            "{ \"inputs\": [],\n\n\"inputs\": [] }",
            "3: inputs: this stands here twice, first in line 1: make one of both",
        ),
    ] {
        let error = Config::parse(text, Dialect::ClaudeCode).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let expected = format!("<claude-code>:{expected}");
        assert!(error.to_string().starts_with(&expected), "{text}: {error}");
    }
    assert_eq!(parse(r#"{ "mcpServers": {} }"#).entries().len(), 0);
    assert_eq!(parse(r#"{ "mcpServers": null }"#).entries().len(), 0);
}

#[test]
fn what_is_huge_or_deep_is_refused() {
    let long = format!("{{ \"mcpServers\": {{}} }}{}", " ".repeat(8 * 1024 * 1024));
    let mut many = String::from("{ \"mcpServers\": {");
    for number in 0..=1000 {
        writeln!(many, "\"{number}\": {{ \"command\": \"a\" }},").unwrap();
    }
    let deep = |depth: usize| format!("{{ \"mcpServers\":\n{}", "[".repeat(depth));
    for (text, expected) in [
        (long, "1: the file is larger than 8 MiB"),
        (many + "} }", "1001: mcpServers: there are more than 1000 servers"),
        (
            deep(200) + &"]".repeat(200) + "}",
            "2: lists and objects stand deeper than 128 in one another",
        ),
        (deep(1_000_000), "2: this is no JSON (column 511): Maximum nesting depth exceeded"),
    ] {
        let error = Config::parse(&text, Dialect::ClaudeCode).unwrap_err();
        assert_eq!(error.to_string(), format!("<claude-code>:{expected}"));
    }
}

#[test]
fn a_long_name_is_cut_wherever_it_is_told() {
    let name = "n".repeat(1024 * 1024);
    let text = format!(
        r#"{{ "mcpServers": {{ "{name}": {{ "command": "x", "args": [{{}}] }},
            "it": {{ "command": "x", "env": {{ "{name}": [] }} }} }} }}"#
    );
    let short = format!("{}…", &name[..100]);
    let expected = [format!("{short}.args[0]: this is"), format!("it.env.{short}: this is a list")];
    for (entry, expected) in parse(&text).entries().iter().zip(expected) {
        let problem = entry.problem().unwrap().to_string();
        assert!(problem.contains(&format!(": mcpServers.{expected}")), "{}", &problem[..200]);
        assert!(problem.len() < 1000);
    }
}

#[test]
fn what_an_entry_lists_is_bounded() {
    let many = |item: &str| vec![item; 1001].join(",");
    let names = |value: &str| {
        (0..1001).map(|number| format!("\"n{number}\": {value}")).collect::<Vec<_>>().join(",")
    };
    let more = "there are more than 1000 of these";
    for (dialect, server, expected) in [
        (Dialect::ClaudeCode, format!("\"args\": [{}]", many("\"\"")), format!("args: {more}")),
        (Dialect::ClaudeCode, format!("\"env\": {{{}}}", names("\"\"")), format!("env: {more}")),
        (
            Dialect::Gemini,
            format!("\"includeTools\": [{}]", many("\"a\"")),
            format!("includeTools: {more}"),
        ),
        (
            Dialect::ClaudeCode,
            format!("\"args\": [\"{}\"]", "x".repeat(64 * 1024 + 1)),
            "args[0]: this is longer than 64 KiB".to_owned(),
        ),
    ] {
        let told = problem(dialect, &format!("{{ \"command\": \"x\",\n{server} }}"));
        assert_eq!(told, format!("<{dialect}>:3: mcpServers.it.{expected}"));
    }
    for (headers, expected) in [
        (names("\"\""), format!("headers: {more}")),
        (
            (0..101).map(|number| format!("\"n{number}\": \"\"")).collect::<Vec<_>>().join(","),
            "headers.n100: there are more than 100 headers".to_owned(),
        ),
    ] {
        let server = format!("{{ \"url\": \"https://b\",\n\"headers\": {{{headers}}} }}");
        let told = problem(Dialect::ClaudeCode, &server);
        assert_eq!(told, format!("<claude-code>:3: mcpServers.it.{expected}"));
    }
    let told = problem(Dialect::Codex, &format!("command = 'x'\nenv_vars = [{}]", many("'a'")));
    assert_eq!(told, format!("<codex>:3: mcp_servers.it.env_vars: {more}"));
    let words = format!("{{ \"command\": \"{}\" }}", "x ".repeat(1001));
    let told = problem(Dialect::Mcporter, &words);
    assert_eq!(told, format!("<mcporter>:2: mcpServers.it.command: {more}"));

    let input = r#"{ "id": "a", "type": "pickString", "options": [@] }"#;
    for (inputs, expected) in [
        (many("{}"), more),
        (input.replace('@', &many("\"a\"")), "there are more than 1000 options"),
    ] {
        let text = format!("{{ \"inputs\":\n[{inputs}], \"servers\": {{}} }}");
        let error = Config::parse(&text, Dialect::VsCode).unwrap_err().to_string();
        assert_eq!(error, format!("<vscode>:2: inputs: {expected}"));
    }
}

#[test]
fn what_is_filled_in_is_bounded_and_few_names_are_told() {
    let text = "${BIG}".repeat(100);
    let text = format!(r#"{{ "mcpServers": {{ "it": {{ "command": "{text}" }} }} }}"#);
    let config = parse(&text).variables([("BIG", "x".repeat(64 * 1024))]);
    let problem = config.get("it").unwrap().problem().unwrap().to_string();
    let expected = "it.command: filled in, this is longer than 1024 KiB";
    assert!(problem.ends_with(expected), "{}", problem.len());

    let text: String = (0..1000).map(|number| format!("${{V{number}}}")).collect();
    let text = format!(r#"{{ "mcpServers": {{ "it": {{ "command": "{text}" }} }} }}"#);
    let config = parse(&text).variables([("A", "")]);
    let problem = config.get("it").unwrap().problem().unwrap().to_string();
    assert!(
        problem.ends_with("and the variable `V4` and others are not set: set them"),
        "{problem}"
    );
}

#[test]
fn what_may_be_a_secret_is_not_called_a_variable() {
    use Dialect::*;
    let hidden = "the variable that this names is not set: set it";
    for (dialect, server, expected) in [
        (Codex, "url = 'https://b'\nbearer_token_env_var = 'ghp_hunter2'", hidden),
        (Codex, "url = 'https://b'\nbearer_token_env_var = 'HUNTER-2'", hidden),
        (Gemini, r#"{ "command": "pa$hunter2" }"#, hidden),
        (ClaudeCode, r#"{ "command": "${hunter2 or not}" }"#, hidden),
        (ClaudeCode, r#"{ "command": "${lower}" }"#, "the variable `lower` is not set: set it"),
        (Gemini, r#"{ "command": "$UPPER" }"#, "the variable `UPPER` is not set: set it"),
        (
            ClaudeCode,
            r#"{ "command": "${TOKEN:-sk-hunter2-${X}}" }"#,
            "umcp cannot fill in the default of the variable `TOKEN`: write it out",
        ),
    ] {
        let problem = problem(dialect, server);
        assert!(problem.ends_with(&format!(": {expected}")), "{problem}");
        assert!(!problem.to_lowercase().contains("hunter"), "{problem}");
    }
}

#[test]
fn a_summary_shows_no_secrets() {
    for (server, expected) in [
        (r#"{ "command": "npx", "args": ["hunter2"] }"#, "npx (1 argument)"),
        (r#"{ "command": "API_KEY=hunter2 npx" }"#, "… …"),
        (r#"{ "command": "npx\thunter2" }"#, "npx …"),
        (r#"{ "url": "https://host" }"#, "https://host"),
        (r#"{ "url": "https://host/" }"#, "https://host/"),
        (r#"{ "url": "https://host:1/s/hunter2/mcp" }"#, "https://host:1/…"),
        (r#"{ "url": "https://host?hunter2" }"#, "https://host/…"),
        (r#"{ "url": "https://u:hunter2@host/mcp" }"#, "https://host/…"),
        (r#"{ "url": "https://u:hunter2?w@host/" }"#, "https://…"),
        (r#"{ "url": "https://u:hunter2/w@host/" }"#, "https://…"),
        (r#"{ "url": "https://host/@scope/mcp" }"#, "https://host/…"),
        (r#"{ "url": "u:hunter2@host/mcp" }"#, "host/…"),
        (r#"{ "url": "${BASE}/hunter2" }"#, "${BASE}/…"),
        (r#"{ "url": "${BASE:-https://host/hunter2}" }"#, "…"),
    ] {
        let text = format!(r#"{{ "mcpServers": {{ "it": {server} }} }}"#);
        assert_eq!(parse(&text).get("it").unwrap().summary(), expected, "{server}");
    }
}

#[test]
fn files_that_cannot_be_read_are_refused() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.join(name);
    fs::write(path("latin1.json"), b"{\n\"mcpServers\": \xe9 }").unwrap();
    fs::write(path("large.json"), vec![b' '; 8 * 1024 * 1024 + 1]).unwrap();
    fs::write(path("broken.toml"), "[mcp_servers.a]\ncommand = \n").unwrap();
    fs::create_dir(path("directory.json")).unwrap();
    for (name, expected) in [
        ("none.json", ":1: it cannot be read: "),
        ("latin1.json", ":2: this is not UTF-8"),
        ("large.json", ":1: the file is larger than 8 MiB"),
        ("broken.toml", ":2: this is no TOML"),
        ("directory.json", ":1: this is no file"),
    ] {
        let error = Config::load(path(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("{name}{expected}")), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_holds_nobody_up() {
    let folder = Folder::new();
    let path = folder.0.join("mcp.json");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    crate::common::soon(move || {
        let error = Config::load(&path).unwrap_err();
        assert!(error.to_string().ends_with(":1: this is no file"), "{error}");
    });
}

#[test]
fn the_dialect_is_found_out_or_given() {
    let folder = Folder::new();
    let servers = r#"{ "mcpServers": { "it": { "command": "$NONE" } } }"#;
    fs::create_dir(folder.0.join(".gemini")).unwrap();
    for (name, text, expected) in [
        (".gemini/settings.json", servers, Dialect::Gemini),
        ("mcp.json", servers, Dialect::ClaudeCode),
        ("vs.json", r#"{ "servers": { "it": { "command": "x" } } }"#, Dialect::VsCode),
        ("any.toml", "[mcp_servers.it]\ncommand = 'x'", Dialect::Codex),
        // A byte order mark, as some editors write it.
        ("bom.json", "\u{feff}{ \"context_servers\": { \"it\": {} } }", Dialect::Zed),
    ] {
        let path = folder.0.join(name);
        fs::write(&path, text).unwrap();
        assert_eq!(Config::load(&path).unwrap().get("it").unwrap().dialect(), expected, "{name}");
    }
    let path = folder.0.join("mcp.json");
    let config = Config::load_as(&path, Dialect::Gemini).unwrap().variables([("A", "")]);
    assert!(config.get("it").unwrap().problem().unwrap().to_string().contains("`NONE`"));
    assert_eq!(config.get("it").unwrap().file(), path);
}

#[test]
fn one_bad_server_sinks_no_other() {
    let text = r#"{ "mcpServers": {
        "good": { "command": "good" },
        "bad": { "command": "bad", "url": "https://bad" },
        "secret": { "command": "x", "args": ["${NOT_SET}"] },
        "off": { "command": "off", "disabled": true },
        "twin": { "command": "one" },
        "twin": { "command": "two" },
        "my server.v2": { "command": "x" },
        "": { "command": "x" },
        "\u001b[2J\nx": 5
    } }"#;
    let config = parse(text).variables([("A", "")]);
    assert_eq!(config.entries().len(), 9);
    assert!(config.get("good").unwrap().problem().is_none());
    let problem = |name| config.get(name).unwrap().problem().unwrap().to_string();
    for line in [6, 7] {
        let entry = config.entries().iter().find(|entry| entry.line() == line).unwrap();
        let problem = entry.problem().unwrap().to_string();
        let expected = format!("also in line {}: rename one", 13 - line);
        assert!(problem.ends_with(&expected), "{problem}");
    }
    assert!(problem("").ends_with(r#"mcpServers."": a server needs a name"#));
    // What drives a terminal is not in it, nor in the label.
    assert!(problem("\u{1b}[2J\nx").contains(r#"mcpServers."[2J x": "#));
    let text = text.replace("x\": 5", "x\": { \"command\": \"x\" }");
    let server = parse(&text).get("\u{1b}[2J\nx").unwrap().server().unwrap();
    assert_eq!(server.label(), "[2J x");
    let error = config.get("off").unwrap().server().unwrap_err().to_string();
    assert_eq!(error, "<claude-code>:5: mcpServers.off: this server is turned off there");

    let expected = problem("bad");
    let servers: Vec<_> = config.into_iter().collect();
    let names: Vec<_> = servers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["good", "bad", "secret", "twin", "my server.v2", "", "\u{1b}[2J\nx"]);
    let (_, bad) = servers.into_iter().nth(1).unwrap();
    let error = Client::open(bad).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().ends_with(&expected), "{error}");
}

#[test]
fn all_that_stands_there_is_kept() {
    let text = r#"{ "mcpServers": { "it": { "command": "${A}", "x": { "y": [1, null, 2.5] } } } }"#;
    let config = parse(text);
    let expected = serde_json::json!({ "command": "${A}", "x": { "y": [1, null, 2.5] } });
    assert_eq!(serde_json::json!(config.get("it").unwrap().fields()), expected);
}

#[test]
fn a_name_that_is_not_there_is_an_error() {
    let error = parse(r#"{ "mcpServers": {} }"#).get("weather").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "there is no server `weather` in the configuration");
}

#[test]
fn a_name_can_be_given_in_full() {
    let config = parse(r#"{ "mcpServers": { "a:b": { "command": "x" } } }"#);
    for name in ["a:b", "claude-code:a:b", "<claude-code>:a:b"] {
        assert_eq!(config.get(name).unwrap().name(), "a:b");
    }
    assert!(config.get("cursor:a:b").is_err());
}

const ASKING: &str = r#"{
    "inputs": [
        { "id": "key", "type": "promptString", "description": "The key", "password": true },
        { "id": "place", "type": "pickString", "options": ["here", { "label": "T", "value": "there" }] },
        { "id": "mode", "type": "promptString", "default": "slow" }
    ],
    "servers": {
        "one": { "command": "x", "args": ["${input:key}", "${input:key}"] },
        "two": { "command": "x", "args": ["${input:key}"] },
        "pick": { "command": "x", "args": ["${input:place}"] },
        "mode": { "command": "x", "args": ["${input:mode}"] },
        "unknown": { "command": "x", "args": ["${input:other}"] }
    }
}"#;

#[test]
fn an_input_is_asked_for_once_and_only_when_it_is_needed() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let config = Config::parse(ASKING, Dialect::VsCode).unwrap().variables([("A", "")]);
    let config = config.on_input(move |input| {
        log.lock().unwrap().push((input.id.clone(), input.is_password));
        (input.id != "other").then(|| "there".to_owned())
    });
    for entry in config.entries() {
        assert!(entry.problem().is_none(), "{entry:?}");
    }
    assert_eq!(asked.lock().unwrap().len(), 0, "listing asks nobody");
    for name in ["one", "two", "pick", "mode"] {
        config.get(name).unwrap().server().unwrap();
    }
    let expected =
        [("key".to_owned(), true), ("place".to_owned(), false), ("mode".to_owned(), false)];
    assert_eq!(*asked.lock().unwrap(), expected);
    let error = config.get("unknown").unwrap().server().unwrap_err().to_string();
    assert!(
        error.contains("the input `other` (or the variable `MCP_INPUT_OTHER`) is not"),
        "{error}"
    );
}

#[test]
fn what_is_still_to_be_asked_for_is_no_problem() {
    let text = r#"{ "servers": {
        "command": { "command": "${input:a}", "envFile": "${input:a}" },
        "url": { "url": "${input:a}", "headers": { "X-Key": "${input:a}" } },
        "missing": { "url": "${input:a}", "headers": { "X-Key": "${env:NONE}" } }
    } }"#;
    let config = Config::parse(text, Dialect::VsCode).unwrap().variables([("A", "")]);
    let config = config.on_input(|_| Some("no file and no URL".to_owned()));
    for name in ["command", "url"] {
        let entry = config.get(name).unwrap();
        assert!(entry.problem().is_none(), "{:?}", entry.problem());
        assert!(entry.server().is_err(), "once it is asked, it is checked");
    }
    let problem = config.get("missing").unwrap().problem().unwrap().to_string();
    assert!(problem.ends_with("the variable `NONE` is not set: set it"), "{problem}");
}

#[test]
fn an_input_can_be_a_variable_or_have_a_default() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let config = |variables: &[(&str, &str)]| {
        Config::parse(ASKING, Dialect::VsCode).unwrap().variables(variables.iter().copied())
    };
    let answered =
        config(&[("MCP_INPUT_KEY", "k"), ("MCP_INPUT_PLACE", "there")]).on_input(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            None
        });
    for name in ["one", "pick", "mode"] {
        answered.get(name).unwrap().server().unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1, "only what no variable says is asked for");
    let wrong = config(&[("MCP_INPUT_PLACE", "hunter2")]);
    let error = wrong.get("pick").unwrap().server().unwrap_err().to_string();
    assert_eq!(
        error,
        "<vscode>:10: servers.pick.args[0]: the input `place` is none of its options"
    );
}

/// A server that writes down what it sees, and then is the example server.
#[cfg(unix)]
fn recorder(folder: &Path, fields: &str) -> String {
    let script = r#"printf '%s|' \"$PWD\" \"${KEY-unset}\" \"${FROM_FILE-unset}\" \"${HOME-unset}\" \"$@\" > \"$OUT/seen\"; exec \"$SERVER\" --serve modern"#;
    let (server, out) = (crate::common::example("basic_client"), folder.display());
    format!(
        r#"{{ "servers": {{ "it": {{ "command": "sh", "args": ["-c", "{script}", "sh", "${{env:ARG}}", "${{workspaceFolder}}"],
            "env": {{ "SERVER": "{}", "OUT": "{out}", "KEY": "${{env:SECRET}}", "HOME": null }}, {fields} }} }} }}"#,
        server.display()
    )
}

#[cfg(unix)]
#[test]
fn what_a_file_says_is_what_the_server_gets() {
    let folder = Folder::new();
    let root = folder.0.display();
    fs::create_dir_all(folder.0.join(".vscode")).unwrap();
    fs::create_dir_all(folder.0.join("sub")).unwrap();
    fs::write(folder.0.join(".env"), "KEY=overridden\nFROM_FILE='a b'\n").unwrap();
    let file = folder.0.join(".vscode/mcp.json");
    // What is filled in is not looked at again.
    let variables = [("ARG", "${env:SECRET} $HOME"), ("SECRET", "s3")];
    for (fields, expected) in [
        (r#""x": 1"#, format!("{root}|s3|unset|unset|${{env:SECRET}} $HOME|{root}|")),
        (
            r#""cwd": "sub", "envFile": "${workspaceFolder}/.env""#,
            format!("{root}/sub|s3|a b|unset|${{env:SECRET}} $HOME|{root}|"),
        ),
        (r#""envFile": ".env""#, format!("{root}|s3|a b|unset|${{env:SECRET}} $HOME|{root}|")),
    ] {
        fs::write(&file, recorder(&folder.0, fields)).unwrap();
        let config = Config::load(&file).unwrap().variables(variables);
        let client = Client::open(config.get("it").unwrap().server().unwrap()).unwrap();
        assert_eq!(client.server_name(), "it");
        client.close();
        assert_eq!(folder.read("seen"), expected, "{fields}");
    }
    fs::write(folder.0.join(".env"), "KEY\n").unwrap();
    let problem = Config::load(&file).unwrap().variables(variables);
    let problem = problem.get("it").unwrap().server().unwrap_err().to_string();
    let expected = "servers.it.envFile: .env:1: this line is no NAME=value";
    assert!(problem.ends_with(expected), "{problem}");
}

#[test]
fn the_path_of_an_env_file_is_shown_as_written() {
    let text = r#"{ "servers": { "it": { "command": "x", "envFile": "${env:SECRET}" } } }"#;
    let config = Config::parse(text, Dialect::VsCode).unwrap();
    let config = config.variables([("SECRET", "hunter2")]);
    let entry = config.get("it").unwrap();
    for error in [entry.problem().unwrap(), entry.server().unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains("envFile: ${env:SECRET}:1: it cannot be read: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn an_env_file_is_small_and_not_read_to_list_it() {
    let folder = Folder::new();
    let file = folder.0.join("mcp.json");
    fs::write(&file, r#"{ "servers": { "it": { "command": "x", "envFile": "env" } } }"#).unwrap();
    let long = format!("A={}", "x".repeat(256 * 1024));
    for (text, expected) in [
        (&*long, "envFile: env:1: the file is larger than 256 KiB"),
        ("nothing", "envFile: env:1: this line is no NAME=value"),
    ] {
        fs::write(folder.0.join("env"), text).unwrap();
        let config = Config::load(&file).unwrap();
        assert!(config.get("it").unwrap().problem().is_none());
        let error = config.get("it").unwrap().server().unwrap_err().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    fs::remove_file(folder.0.join("env")).unwrap();
    fs::create_dir(folder.0.join("env")).unwrap();
    let problem = Config::load(&file).unwrap().get("it").unwrap().problem().unwrap().to_string();
    assert!(problem.ends_with("envFile: env:1: this is no file"), "{problem}");
}

#[test]
fn a_file_of_the_user_starts_servers_where_the_program_is() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("config")).unwrap();
    for (name, has_cwd) in [
        (".mcp.json", true),
        ("config/mcporter.json", true),
        ("mcp.json", false),
        ("my.toml", false),
    ] {
        let text = match name {
            "my.toml" => "[mcp_servers.it]\ncommand = 'x'",
            _ => r#"{ "mcpServers": { "it": { "command": "x" } } }"#,
        };
        fs::write(folder.0.join(name), text).unwrap();
        let config = Config::load(folder.0.join(name)).unwrap();
        let server = format!("{:?}", config.get("it").unwrap().server().unwrap());
        assert_eq!(!server.contains("cwd: None"), has_cwd, "{name}: {server}");
    }
}

#[test]
fn variables_of_this_program_are_filled_in_unless_others_are_given() {
    // Cargo sets it for tests.
    let text =
        r#"{ "mcpServers": { "it": { "command": "x", "args": ["${CARGO_MANIFEST_DIR}"] } } }"#;
    assert!(parse(text).get("it").unwrap().problem().is_none());
    let config = parse(text).variables([("A", "")]);
    assert!(config.get("it").unwrap().problem().is_some());
    // One that is set to nothing is set.
    let config = parse(text).variables([("CARGO_MANIFEST_DIR", "")]);
    assert!(config.get("it").unwrap().problem().is_none());
}

#[cfg(feature = "http")]
#[test]
fn headers_and_tokens_arrive() {
    use std::io::{BufRead, BufReader};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let head = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n").to_lowercase()
    });
    let text = format!(
        "[mcp_servers.it]\nurl = 'http://127.0.0.1:{port}/mcp'\nbearer_token_env_var = 'TOKEN'\n\
         http_headers = {{ 'X-Fixed' = '${{TOKEN}}' }}\nenv_http_headers = {{ 'X-From' = 'FROM' }}\n\
         startup_timeout_sec = 20\n"
    );
    let config = Config::parse(&text, Dialect::Codex).unwrap();
    let config = config.variables([("TOKEN", "t0ken"), ("FROM", "there")]);
    // The server hangs up: what it was sent is enough.
    Client::open(config.get("it").unwrap().server().unwrap()).unwrap_err();
    let head = head.join().unwrap();
    for expected in ["authorization: bearer t0ken", "x-fixed: ${token}", "x-from: there"] {
        assert!(head.contains(expected), "{expected} in {head}");
    }
}

#[cfg(not(feature = "http"))]
#[test]
fn without_http_a_url_says_what_it_takes() {
    let config = parse(r#"{ "mcpServers": { "it": { "url": "https://example.com/mcp" } } }"#);
    let problem = config.get("it").unwrap().problem().unwrap().to_string();
    assert!(problem.ends_with("umcp was built without the feature `http`"), "{problem}");
}

#[test]
fn a_thousand_servers_are_no_trouble() {
    let mut text = String::from("{ \"mcpServers\": {");
    for number in 0..1000 {
        let name = if number % 2 == 0 { "it" } else { "claude-code:it" };
        writeln!(text, "\"{name}{number}\": {{ \"command\": \"a\" }},").unwrap();
    }
    crate::common::soon(move || {
        let config = parse(&(text + "} }"));
        assert_eq!(config.into_iter().count(), 1000);
    });
}
