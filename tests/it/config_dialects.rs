//! What each dialect of configuration files says: a fixture for each, with what is right and what is
//! off in it.

use umcp::config::{Config, Dialect, Entry};

/// What one file is to be read as.
pub struct Fixture {
    pub dialect: Dialect,
    pub text: &'static str,
    /// Name, summary, and whether it is turned off.
    servers: &'static [(&'static str, &'static str, bool)],
    /// What is in the `Debug` form of the server of that name.
    shown: &'static [(&'static str, &'static str)],
    /// Variables that are missing, by server.
    missing: &'static [(&'static str, &'static [&'static str])],
    /// A field that umcp does not know, and keeps.
    kept: (&'static str, &'static str),
}

const PROBE: &str = "${A} ${B:-d} $C ${env:D} $env:E {env:F}";

pub const FIXTURES: &[Fixture] = &[
    Fixture {
        dialect: Dialect::ClaudeDesktop,
        text: r#"{
  "globalShortcut": "Ctrl+Space",
  "mcpServers": {
    "local": { "command": "npx", "args": ["-y", "files", "@PROBE@"], "env": { "KEY": "hunter2" }, "icon": 1 },
    "remote": { "url": "https://example.com/mcp?key=hunter2" },
    "off": { "command": "npx", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (3 arguments)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", "<3 arguments>"), ("local", r#""KEY""#)],
        missing: &[],
        kept: ("local", "icon"),
    },
    Fixture {
        dialect: Dialect::ClaudeCode,
        text: r#"{
  "mcpServers": {
    "local": { "type": "stdio", "command": "npx", "args": ["@PROBE@"], "env": { "KEY": "${G}" } },
    "remote": { "type": "http", "url": "https://example.com/mcp", "headers": { "Authorization": "Bearer ${H}" }, "timeout": 90000 },
    "old": { "type": "sse", "url": "https://sse.example.com/", "oauth": { "clientId": "x" } },
    "socket": { "type": "ws", "url": "wss://example.com/mcp" }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("old", "https://sse.example.com/", false),
            ("socket", "", false),
        ],
        shown: &[("remote", "request: 90s")],
        missing: &[("local", &["A", "env:D", "G"]), ("remote", &["H"])],
        kept: ("old", "oauth"),
    },
    Fixture {
        dialect: Dialect::Cursor,
        text: r#"{
  "mcpServers": {
    "local": { "type": "stdio", "command": "${userHome}/bin/server", "args": ["${workspaceFolder}${/}x", "@PROBE@"] },
    "remote": { "url": "https://example.com/mcp", "headers": { "X-Key": "${env:H}" }, "auth": { "CLIENT_ID": "x" } }
  }
}"#,
        servers: &[
            ("local", "${userHome}/bin/server (2 arguments)", false),
            ("remote", "https://example.com/…", false),
        ],
        shown: &[],
        missing: &[("local", &["D"]), ("remote", &["H"])],
        kept: ("remote", "auth"),
    },
    Fixture {
        dialect: Dialect::VsCode,
        text: r#"{
  // asked once
  "inputs": [
    { "id": "api-key", "type": "promptString", "description": "API key", "password": true },
    { "id": "place", "type": "pickString", "options": ["here", "there"], "default": "here" },
    { "id": "computed", "type": "command", "command": "x" },
  ],
  "servers": {
    "local": {
      "type": "stdio", "command": "npx", "args": ["@PROBE@", "${input:place}"],
      "env": { "KEY": "value", "GONE": null }, "cwd": "sub", "dev": { "watch": "src/**" },
    },
    "remote": { "type": "http", "url": "https://example.com/mcp", "headers": { "X-Key": "${input:api-key}" } },
    "fenced": { "command": "npx", "sandboxEnabled": true },
    "socket": { "type": "http", "url": "unix:///run/mcp.sock#/mcp" },
  },
}"#,
        servers: &[
            ("local", "npx (2 arguments)", false),
            ("remote", "https://example.com/…", false),
            ("fenced", "", false),
            ("socket", "", false),
        ],
        shown: &[],
        missing: &[("local", &["D"]), ("remote", &["MCP_INPUT_API_KEY"])],
        kept: ("local", "dev"),
    },
    Fixture {
        dialect: Dialect::Codex,
        text: r#"
model = "x"

[mcp_servers.local]
command = "npx"
args = ["-y", '@PROBE@']
env_vars = ["NOT_THERE", { name = "NOT_EITHER", source = "local" }]
startup_timeout_sec = 2.5
tool_timeout_sec = 120
enabled_tools = ["read"]
required = true

[mcp_servers.local.env]
KEY = "hunter2"

[mcp_servers.remote]
url = "https://example.com/mcp"
bearer_token_env_var = "TOKEN"
http_headers = { "X-Fixed" = "hunter2" }
env_http_headers = { "X-Key" = "KEY" }
startup_timeout_ms = 1500

[mcp_servers.off]
command = "npx"
enabled = false

[mcp_servers.inline]
url = "https://example.com/mcp"
bearer_token = "hunter2"

[mcp_servers.mixed]
command = "npx"
http_headers = { "X-Fixed" = "hunter2" }
"#,
        servers: &[
            ("local", "npx (2 arguments)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
            ("inline", "", false),
            ("mixed", "", false),
        ],
        shown: &[("local", "connect: 2.5s"), ("local", "request: 120s"), ("local", r#"["read"]"#)],
        missing: &[("remote", &["KEY", "TOKEN"])],
        kept: ("local", "required"),
    },
    Fixture {
        dialect: Dialect::Gemini,
        text: r#"{
  "mcp": { "excluded": ["off"] },
  "mcpServers": {
    "local": {
      "command": "npx", "args": ["@PROBE@"], "cwd": "./sub", "timeout": 1500, "trust": true,
      "includeTools": ["a", "b"], "excludeTools": ["b"]
    },
    "remote": { "httpUrl": "https://example.com/mcp", "url": "https://sse.example.com/", "headers": { "X-Key": "$H" } },
    "off": { "url": "https://sse.example.com/" }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("off", "https://sse.example.com/", true),
        ],
        shown: &[("local", "request: 1.5s"), ("local", r#"["b"]"#)],
        missing: &[("local", &["A", "C", "env:D"]), ("remote", &["H"])],
        kept: ("local", "trust"),
    },
    Fixture {
        dialect: Dialect::Antigravity,
        text: r#"{
  "mcpServers": {
    "local": { "command": "npx", "args": ["$C"], "timeout": 1500, "trust": true },
    "remote": { "serverUrl": "https://example.com/mcp" },
    "off": { "command": "npx", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", "request: 1.5s")],
        missing: &[("local", &["C"])],
        kept: ("local", "trust"),
    },
    Fixture {
        dialect: Dialect::Windsurf,
        text: r#"{
  "mcpServers": {
    "local": { "command": "npx", "args": ["@PROBE@"], "disabledTools": ["x"], "alwaysAllow": [] },
    "remote": { "serverUrl": "https://example.com/mcp", "headers": { "X-Key": "${env:H}" } },
    "off": { "command": "npx", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", r#"["x"]"#)],
        missing: &[("local", &["D"]), ("remote", &["H"])],
        kept: ("local", "alwaysAllow"),
    },
    Fixture {
        dialect: Dialect::Zed,
        text: r#"// Zed settings
{
  "theme": "One Dark",
  "context_servers": {
    "local": { "source": "custom", "command": "npx", "args": ["@PROBE@"], "env": {}, "timeout": 90 },
    "older": { "command": { "path": "npx", "args": ["-y"], "env": { "KEY": "hunter2" } } },
    "remote": { "url": "https://example.com/mcp", "headers": { "X-Key": "hunter2" } },
    "extension": { "source": "extension", "settings": {} },
    "off": { "command": "npx", "args": [], "enabled": false },
  },
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("older", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("extension", "", false),
            ("off", "npx", true),
        ],
        shown: &[("local", "request: 90s"), ("older", r#""KEY""#)],
        missing: &[],
        kept: ("extension", "settings"),
    },
    Fixture {
        dialect: Dialect::Inspector,
        text: r#"{
  "mcpServers": {
    "local": { "type": "stdio", "command": "npx", "args": ["@PROBE@"], "protocolEra": "modern", "connectionTimeout": 4000 },
    "remote": { "type": "sse", "url": "https://sse.example.com/", "protocolEra": "legacy", "requestTimeout": 2500, "roots": [] },
    "either": { "type": "http", "url": "https://example.com/mcp", "protocolEra": "auto" },
    "off": { "type": "http", "url": "https://example.com/mcp", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://sse.example.com/", false),
            ("either", "https://example.com/…", false),
            ("off", "https://example.com/…", true),
        ],
        shown: &[
            ("local", "pin: Era(Modern)"),
            ("local", "connect: 4s"),
            ("remote", "pin: Era(Legacy)"),
            ("remote", "request: 2.5s"),
            ("either", "pin: Any"),
        ],
        missing: &[],
        kept: ("remote", "roots"),
    },
    Fixture {
        dialect: Dialect::Copilot,
        text: r#"{
  "mcpServers": {
    "local": { "type": "local", "command": "npx", "args": ["@PROBE@"], "tools": ["*"] },
    "remote": { "type": "http", "url": "https://example.com/mcp", "headers": { "X-Key": "${H}" }, "x": 1 },
    "off": { "command": "npx", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", r#"["*"]"#)],
        missing: &[("local", &["A", "env:D"]), ("remote", &["H"])],
        kept: ("remote", "x"),
    },
    Fixture {
        dialect: Dialect::Cline,
        text: r#"{
  "mcpServers": {
    "local": { "command": "npx", "args": ["@PROBE@"], "timeout": 90, "autoApprove": [] },
    "remote": { "type": "streamableHttp", "url": "https://example.com/mcp" },
    "off": { "command": "npx", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", "request: 90s")],
        missing: &[],
        kept: ("local", "autoApprove"),
    },
    Fixture {
        dialect: Dialect::Kiro,
        text: r#"{
  "mcpServers": {
    "local": { "command": "npx", "args": ["@PROBE@"], "disabledTools": ["x"], "autoApprove": [] },
    "remote": { "url": "https://example.com/mcp", "headers": { "X-Key": "${H}" } },
    "off": { "command": "npx", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", r#"["x"]"#)],
        missing: &[("local", &["A", "env:D"]), ("remote", &["H"])],
        kept: ("local", "autoApprove"),
    },
    Fixture {
        dialect: Dialect::OpenCode,
        text: r#"{
  "mcp": {
    "local": { "type": "local", "command": ["npx", "-y", "@PROBE@"], "environment": { "KEY": "hunter2" } },
    "remote": { "type": "remote", "url": "https://example.com/mcp", "headers": { "X-Key": "{env:H}" }, "oauth": {} },
    "off": { "type": "local", "command": ["npx"], "enabled": false }
  }
}"#,
        servers: &[
            ("local", "npx (2 arguments)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", r#""KEY""#)],
        // The first stands in `${env:D}`: there, only the braces count.
        missing: &[("local", &["D", "F"]), ("remote", &["H"])],
        kept: ("remote", "oauth"),
    },
    Fixture {
        dialect: Dialect::Mcporter,
        text: r#"{
  "mcpServers": {
    "local": { "command": "npx -y server", "args": ["@PROBE@"], "blockedTools": ["x"], "lifecycle": "keep-alive" },
    "list": { "command": ["npx", "-y"], "enabled": false },
    "remote": { "baseUrl": "https://example.com/mcp", "bearerTokenEnv": "TOKEN", "auth": "oauth" }
  }
}"#,
        servers: &[
            ("local", "npx (3 arguments)", false),
            ("list", "npx (1 argument)", true),
            ("remote", "https://example.com/…", false),
        ],
        shown: &[("local", r#"["x"]"#)],
        missing: &[("local", &["A", "env:D", "E"]), ("remote", &["TOKEN"])],
        kept: ("local", "lifecycle"),
    },
    Fixture {
        dialect: Dialect::FastMcp,
        text: r#"{
  "mcpServers": {
    "local": { "command": "npx", "args": ["@PROBE@"], "timeout": 2500, "include_tags": ["x"] },
    "remote": { "url": "https://example.com/mcp", "transport": "streamable-http", "auth": "hunter2" },
    "off": { "command": "npx", "disabled": true }
  }
}"#,
        servers: &[
            ("local", "npx (1 argument)", false),
            ("remote", "https://example.com/…", false),
            ("off", "npx", true),
        ],
        shown: &[("local", "request: 2.5s")],
        missing: &[],
        kept: ("local", "include_tags"),
    },
];

impl Fixture {
    pub fn text(&self) -> String {
        self.text.replace("@PROBE@", PROBE)
    }

    /// Without any variables.
    pub fn config(&self) -> Config {
        Config::parse(&self.text(), self.dialect).unwrap().variables(HOME)
    }
}

/// As good as none: no fixture names it.
const HOME: [(&str, &str); 2] = [("HOME", "/home/me"), ("USERPROFILE", r"C:\Users\me")];

fn entry<'a>(config: &'a Config, name: &str) -> &'a Entry {
    config.entries().iter().find(|entry| entry.name() == name).unwrap()
}

/// The names in a text like ``the variable `A` and the variable `B` are not set``.
fn named(problem: &str) -> Vec<&str> {
    let (what, _) = problem.rsplit_once(" not set: ").expect(problem);
    what.split("variable `").skip(1).map(|rest| rest.split('`').next().unwrap()).collect()
}

#[test]
fn every_dialect_has_a_fixture() {
    for dialect in Dialect::ALL {
        assert!(FIXTURES.iter().any(|fixture| fixture.dialect == *dialect), "{dialect}");
    }
}

#[test]
fn each_dialect_names_its_servers_and_those_that_are_off() {
    for fixture in FIXTURES {
        let config = fixture.config();
        let found: Vec<_> = config
            .entries()
            .iter()
            .map(|entry| (entry.name(), entry.summary(), entry.is_disabled()))
            .collect();
        let expected: Vec<_> = fixture
            .servers
            .iter()
            .map(|(name, summary, is_off)| (*name, (*summary).to_owned(), *is_off))
            .collect();
        assert_eq!(found, expected, "{}", fixture.dialect);
        for entry in config.entries() {
            assert_eq!(entry.dialect(), fixture.dialect);
            // It is found where it is said to be.
            let line = fixture.text().lines().nth(entry.line() - 1).unwrap().to_owned();
            assert!(line.contains(entry.name()), "{}: {line}", entry.name());
        }
        let (server, field) = fixture.kept;
        assert!(entry(&config, server).fields().contains_key(field), "{field}");
    }
}

#[test]
fn each_dialect_fills_in_what_it_does_and_nothing_else() {
    for fixture in FIXTURES {
        let config = fixture.config();
        for (name, summary, _) in fixture.servers {
            let problem = entry(&config, name).problem().map(|problem| problem.to_string());
            let missing = fixture.missing.iter().find(|(server, _)| server == name);
            match (missing, problem) {
                (Some((_, missing)), Some(problem)) => {
                    assert_eq!(named(&problem), *missing, "{}: {problem}", fixture.dialect);
                }
                // Its own fault, which another test is about.
                (None, problem) => {
                    assert_eq!(problem.is_some(), summary.is_empty(), "{name}: {problem:?}");
                }
                (Some(_), None) => panic!("{}: {name} misses nothing", fixture.dialect),
            }
        }
    }
}

#[test]
fn each_dialect_counts_time_and_filters_tools_in_its_own_way() {
    for fixture in FIXTURES {
        let names = ["A", "D", "E", "F", "G", "H", "C", "KEY", "TOKEN", "env", "env:D"];
        let all = names.into_iter().chain(["MCP_INPUT_API_KEY"]).map(|name| (name, "value"));
        let config = fixture.config().variables(all.chain(HOME));
        for (name, expected) in fixture.shown {
            let server = entry(&config, name).server().unwrap_or_else(|error| panic!("{error}"));
            let shown = format!("{server:?}");
            assert!(shown.contains(expected), "{}: {expected} in {shown}", fixture.dialect);
        }
        for (name, summary, is_off) in fixture.servers {
            let can_be_had = entry(&config, name).server().is_ok();
            assert_eq!(can_be_had, !is_off && !summary.is_empty(), "{}: {name}", fixture.dialect);
        }
    }
}

#[test]
fn no_secret_is_shown() {
    for fixture in FIXTURES {
        let config = fixture.config();
        let mut shown = format!("{config:?} {config:#?}");
        for entry in config.entries() {
            shown += &format!("{} {:?}", entry.summary(), entry.problem());
            shown += &format!("{:?}", entry.server());
        }
        assert!(!shown.contains("hunter2"), "{}: {shown}", fixture.dialect);
    }
}

/// Numbers that look random, the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn look_at_all_of(config: Config) {
    let config = config.variables(HOME);
    for entry in config.entries() {
        let _ = (entry.summary(), entry.problem(), format!("{entry:?}"), config.get(entry.name()));
    }
    config.into_iter().for_each(drop);
}

#[test]
fn what_is_cut_off_or_garbled_never_panics() {
    let pieces =
        ["\"", "{", "}", "[", "]", ",", ":", "null", "1e999", "${", "\u{0}", "é", "\n", "#"];
    let mut dice = Dice(1);
    for fixture in FIXTURES {
        let text = fixture.text();
        for (end, _) in text.char_indices() {
            if let Err(error) = Config::parse(&text[..end], fixture.dialect) {
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
        for _ in 0..500 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..=dice.below(3) {
                let (at, length) = (dice.below(chars.len()), dice.below(4));
                let end = (at + length).min(chars.len());
                let piece = pieces[dice.below(pieces.len())];
                chars.splice(at..end, piece.chars());
            }
            let garbled: String = chars.into_iter().collect();
            for dialect in [fixture.dialect, Dialect::VsCode, Dialect::Codex] {
                if let Ok(config) = Config::parse(&garbled, dialect) {
                    look_at_all_of(config);
                }
            }
        }
    }
}
