//! Whose file it is, and what that means.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::tree::Node;
use crate::error::{Error, ErrorKind};

/// The program that a file was written for. Each expands variables in its own way, counts time in
/// its own unit, and keeps its servers under its own key.
///
/// It is found out from the file's path, and from what stands in it; a file that nothing tells
/// apart, such as `mcp.json`, is read as one of Claude Code. What each means is in the
/// [guide](crate::guide::config_files).
///
/// ```
/// use umcp::config::Dialect;
///
/// assert_eq!(Dialect::VsCode.to_string(), "vscode");
/// assert_eq!("vscode".parse::<Dialect>()?, Dialect::VsCode);
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Claude Desktop: `claude_desktop_config.json`.
    ClaudeDesktop,
    /// Claude Code: `.mcp.json`, `~/.claude.json`.
    ClaudeCode,
    /// Cursor: `.cursor/mcp.json`.
    Cursor,
    /// VS Code, and others that take its form: `.vscode/mcp.json`.
    VsCode,
    /// Codex: `.codex/config.toml`.
    Codex,
    /// Gemini CLI: `.gemini/settings.json`.
    Gemini,
    /// Antigravity, which takes the form of Gemini CLI: `.agents/mcp_config.json`.
    Antigravity,
    /// Windsurf: `~/.codeium/windsurf/mcp_config.json`.
    Windsurf,
    /// Zed: `.zed/settings.json`.
    Zed,
    /// The MCP Inspector: `~/.mcp-inspector/mcp.json`.
    Inspector,
    /// Copilot CLI: `~/.copilot/mcp-config.json`, `.github/mcp.json`.
    Copilot,
    /// Cline: `cline_mcp_settings.json`.
    Cline,
    /// Kiro: `.kiro/settings/mcp.json`.
    Kiro,
    /// OpenCode: `opencode.json`.
    OpenCode,
    /// mcporter: `mcporter.json`.
    Mcporter,
    /// FastMCP: `fastmcp.json`.
    FastMcp,
}

/// How a dialect writes what is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expansion {
    /// Nothing is.
    None,
    /// `${V}`, `${V:-default}`.
    Braces,
    /// `$V` as well.
    BracesAndBare,
    /// `$env:V` as well.
    BracesAndEnv,
    /// `${env:V}` alone.
    Env,
    /// `${env:V}`, `${input:id}`, `${userHome}`, `${workspaceFolder}` and the like.
    Editor,
    /// `{env:V}`.
    OpenCode,
}

/// What a member that gives a time is called, which clock it is for, and the unit in seconds.
pub(super) struct Time {
    pub(super) name: &'static str,
    pub(super) is_for_connecting: bool,
    pub(super) unit: f64,
}

const fn connect(name: &'static str, unit: f64) -> Time {
    Time { name, is_for_connecting: true, unit }
}

const fn request(name: &'static str, unit: f64) -> Time {
    Time { name, is_for_connecting: false, unit }
}

const MILLIS: f64 = 0.001;
const SECONDS: f64 = 1.0;

/// The keys that servers are known to stand under.
const KEYS: [&str; 5] = ["mcpServers", "servers", "context_servers", "mcp_servers", "mcp"];

impl Dialect {
    /// All of them, in the order they are looked for.
    pub const ALL: &'static [Dialect] = &[
        Self::ClaudeCode,
        Self::Cursor,
        Self::VsCode,
        Self::Codex,
        Self::Gemini,
        Self::Antigravity,
        Self::Windsurf,
        Self::Zed,
        Self::Inspector,
        Self::Copilot,
        Self::Cline,
        Self::Kiro,
        Self::OpenCode,
        Self::Mcporter,
        Self::FastMcp,
        Self::ClaudeDesktop,
    ];

    /// Returns its name: that of the source in `cursor:weather`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Antigravity => "antigravity",
            Self::Windsurf => "windsurf",
            Self::Zed => "zed",
            Self::Inspector => "inspector",
            Self::Copilot => "copilot",
            Self::Cline => "cline",
            Self::Kiro => "kiro",
            Self::OpenCode => "opencode",
            Self::Mcporter => "mcporter",
            Self::FastMcp => "fastmcp",
        }
    }

    /// The key that its servers stand under.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::VsCode => "servers",
            Self::Codex => "mcp_servers",
            Self::Zed => "context_servers",
            Self::OpenCode => "mcp",
            _ => "mcpServers",
        }
    }

    /// The keys that are looked under, its own first. Settings of editors have other things under
    /// some of them.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        let others: &[&str] = match self {
            Self::Zed | Self::Gemini | Self::Codex | Self::OpenCode => &[],
            _ => KEYS.as_slice(),
        };
        std::iter::once(self.key())
            .chain(others.iter().copied().filter(move |key| *key != self.key()))
    }

    pub(super) fn expansion(self) -> Expansion {
        match self {
            Self::ClaudeDesktop | Self::Codex | Self::Zed | Self::Inspector => Expansion::None,
            Self::Cline | Self::FastMcp => Expansion::None,
            Self::ClaudeCode | Self::Copilot | Self::Kiro => Expansion::Braces,
            Self::Gemini | Self::Antigravity => Expansion::BracesAndBare,
            Self::Mcporter => Expansion::BracesAndEnv,
            Self::Windsurf => Expansion::Env,
            Self::Cursor | Self::VsCode => Expansion::Editor,
            Self::OpenCode => Expansion::OpenCode,
        }
    }

    /// The times it knows. Others are kept, and mean nothing.
    pub(super) fn times(self) -> &'static [Time] {
        const MILLISECONDS: &[Time] = &[request("timeout", MILLIS)];
        match self {
            Self::ClaudeCode | Self::Gemini | Self::Antigravity | Self::FastMcp => MILLISECONDS,
            Self::Cline | Self::Zed => const { &[request("timeout", SECONDS)] },
            Self::Inspector => {
                const { &[connect("connectionTimeout", MILLIS), request("requestTimeout", MILLIS)] }
            }
            // The last one of a kind counts.
            Self::Codex => {
                const {
                    &[
                        connect("startup_timeout_ms", MILLIS),
                        connect("startup_timeout_sec", SECONDS),
                        request("tool_timeout_sec", SECONDS),
                    ]
                }
            }
            _ => &[],
        }
    }

    /// What a path says about whose file it is.
    pub(super) fn of_path(path: &Path) -> Option<Self> {
        let mut names = path.iter().rev().map(|name| name.to_str().unwrap_or_default());
        let (file, folder) = (names.next()?, names.next().unwrap_or_default());
        let above = names.next().unwrap_or_default();
        Some(match (above, folder, file) {
            (_, _, "claude_desktop_config.json") => Self::ClaudeDesktop,
            (_, _, ".mcp.json" | ".claude.json") => Self::ClaudeCode,
            (_, _, "cline_mcp_settings.json") => Self::Cline,
            (_, _, "opencode.json" | "opencode.jsonc") => Self::OpenCode,
            (_, _, "mcporter.json" | "mcporter.jsonc") => Self::Mcporter,
            (_, _, "fastmcp.json") => Self::FastMcp,
            (_, ".cursor", "mcp.json") => Self::Cursor,
            (_, ".vscode" | "User" | "intellij", "mcp.json") => Self::VsCode,
            (_, ".mcp-inspector", "mcp.json") => Self::Inspector,
            (".kiro", "settings", "mcp.json") => Self::Kiro,
            (_, ".github", "mcp.json") | (_, _, "mcp-config.json") => Self::Copilot,
            (_, ".gemini", "settings.json") => Self::Gemini,
            (_, ".zed" | "zed" | "Zed", "settings.json") => Self::Zed,
            (".gemini", "config", "mcp_config.json") => Self::Antigravity,
            (_, ".agents", "mcp_config.json") => Self::Antigravity,
            (_, _, "mcp_config.json") => Self::Windsurf,
            _ if path.extension().is_some_and(|extension| extension == "toml") => Self::Codex,
            _ => return None,
        })
    }

    /// What a file whose path says nothing says itself.
    pub(super) fn of_shape(root: &Node) -> Self {
        let of_key = |key: &str| Self::ALL.iter().copied().find(|dialect| dialect.key() == key);
        let found = KEYS.into_iter().filter(|key| root.get(key).is_some());
        found.filter_map(of_key).next().unwrap_or(Self::ClaudeCode)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = Error;

    /// Reads its [name](Dialect::as_str).
    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().copied().find(|dialect| dialect.as_str() == name);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|dialect| dialect.as_str()).collect();
            let text = format!("there is no such dialect: it is one of {}", names.join(", "));
            Error::new(ErrorKind::InvalidInput, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_whose_it_is() {
        for (path, expected) in [
            ("/h/Library/Application Support/Claude/claude_desktop_config.json", "claude-desktop"),
            ("p/.mcp.json", "claude-code"),
            ("/h/.claude.json", "claude-code"),
            ("/h/.cursor/mcp.json", "cursor"),
            ("p/.vscode/mcp.json", "vscode"),
            ("/h/.config/Code/User/mcp.json", "vscode"),
            ("/h/.codex/config.toml", "codex"),
            ("any.toml", "codex"),
            ("/h/.gemini/settings.json", "gemini"),
            ("/h/.gemini/config/mcp_config.json", "antigravity"),
            ("/h/.codeium/windsurf/mcp_config.json", "windsurf"),
            ("/h/.config/zed/settings.json", "zed"),
            ("/h/.mcp-inspector/mcp.json", "inspector"),
            ("/h/.copilot/mcp-config.json", "copilot"),
            ("p/.github/mcp.json", "copilot"),
            ("p/.kiro/settings/mcp.json", "kiro"),
            ("p/opencode.jsonc", "opencode"),
        ] {
            let found = Dialect::of_path(Path::new(path));
            assert_eq!(found.map(Dialect::as_str), Some(expected), "{path}");
        }
        for path in ["mcp.json", "servers.json", "settings.json", ""] {
            assert_eq!(Dialect::of_path(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn a_shape_tells_whose_it_is() {
        for (text, expected) in [
            (r#"{ "mcpServers": {} }"#, Dialect::ClaudeCode),
            (r#"{ "servers": {} }"#, Dialect::VsCode),
            (r#"{ "context_servers": {} }"#, Dialect::Zed),
            (r#"{ "mcp": {} }"#, Dialect::OpenCode),
            ("{}", Dialect::ClaudeCode),
        ] {
            let node = super::super::tree::json(text).unwrap();
            assert_eq!(Dialect::of_shape(&node), expected, "{text}");
        }
    }

    #[test]
    fn names_are_read_back() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.as_str().parse::<Dialect>().unwrap(), *dialect);
        }
        assert_eq!("emacs".parse::<Dialect>().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
