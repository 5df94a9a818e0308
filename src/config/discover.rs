//! Where the files of each dialect are.

use std::path::{Path, PathBuf};

use super::dialect::Dialect;
use super::entry::Scope;
use super::expand::Variables;
use super::file::Place;

/// The system that decides where programs keep their settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum System {
    Unix,
    Mac,
    Windows,
}

impl System {
    pub(super) const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::Mac
    } else {
        Self::Unix
    };
}

/// The files of a project, from its root.
const PROJECT: &[(Dialect, &str)] = &[
    (Dialect::ClaudeCode, ".mcp.json"),
    (Dialect::Cursor, ".cursor/mcp.json"),
    (Dialect::VsCode, ".vscode/mcp.json"),
    (Dialect::Codex, ".codex/config.toml"),
    (Dialect::Gemini, ".gemini/settings.json"),
    (Dialect::Antigravity, ".agents/mcp_config.json"),
    (Dialect::Zed, ".zed/settings.json"),
    (Dialect::Copilot, ".github/mcp.json"),
    (Dialect::Kiro, ".kiro/settings/mcp.json"),
    (Dialect::OpenCode, "opencode.json"),
    (Dialect::OpenCode, "opencode.jsonc"),
    (Dialect::Mcporter, "config/mcporter.json"),
];

/// All files that may be there for somebody who works in a directory, those of the project first.
pub(super) fn places(directory: &Path, variables: &Variables, system: System) -> Vec<Place> {
    let directories = project_directories(directory, owner);
    let home = variables.directory(if system == System::Windows { "USERPROFILE" } else { "HOME" });
    let mut places = Vec::new();
    for (dialect, file) in PROJECT {
        // The nearest counts.
        let found = directories.iter().find(|directory| {
            // What is there for the user is no project.
            Some(directory.as_path()) != home.as_deref() && directory.join(file).is_file()
        });
        places.extend(found.map(|root| Place {
            path: root.join(file),
            dialect: Some(*dialect),
            scope: Scope::Project,
            root: root.clone(),
            projects: Vec::new(),
        }));
    }
    let root = directories.last().cloned().unwrap_or_else(|| directory.to_owned());
    for (dialect, path) in users(home.as_deref(), variables, system) {
        places.push(Place {
            path,
            dialect: Some(dialect),
            scope: Scope::User,
            root: root.clone(),
            projects: directories.clone(),
        });
    }
    places
}

/// The directory and those above it, up to the root of its repository: further up, the files may be
/// somebody else's. Without a repository, or if that is somebody else's, it is the directory alone.
fn project_directories(directory: &Path, owner: fn(&Path) -> Option<u32>) -> Vec<PathBuf> {
    let whose = owner(directory);
    let mut own = directory.ancestors().take_while(|above| owner(above) == whose);
    let depth = own.position(|directory| directory.join(".git").exists());
    directory.ancestors().take(depth.map_or(1, |depth| depth + 1)).map(Path::to_owned).collect()
}

/// Whose directory it is, where the system says so in a word.
fn owner(directory: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(directory).ok().map(|about| about.uid())
    }
    #[cfg(not(unix))]
    {
        let _ = directory;
        None
    }
}

/// The files of a user.
fn users(home: Option<&Path>, variables: &Variables, system: System) -> Vec<(Dialect, PathBuf)> {
    let mut files = Vec::new();
    let mut add = |dialect, directory: Option<PathBuf>, file: &str| {
        files.extend(directory.map(|directory| (dialect, directory.join(file))));
    };
    let in_home = |path: &str| home.map(|home| home.join(path));
    let or_home = |variable, path| variables.directory(variable).or_else(|| in_home(path));
    // Where programs with windows keep their settings.
    let settings = match system {
        System::Unix => or_home("XDG_CONFIG_HOME", ".config"),
        System::Mac => in_home("Library/Application Support"),
        System::Windows => variables.directory("APPDATA"),
    };
    // Where programs of the command line do.
    let config = match system {
        System::Windows => in_home(".config"),
        _ => or_home("XDG_CONFIG_HOME", ".config"),
    };
    let under = |base: &Option<PathBuf>, path: &str| base.as_ref().map(|base| base.join(path));
    let home_itself = home.map(Path::to_owned);

    let claude = variables.directory("CLAUDE_CONFIG_DIR").or(home_itself);
    add(Dialect::ClaudeCode, claude, ".claude.json");
    add(Dialect::Cursor, in_home(".cursor"), "mcp.json");
    for program in ["Code", "Code - Insiders"] {
        let user = under(&settings, &format!("{program}/User"));
        add(Dialect::VsCode, user.clone(), "mcp.json");
        let cline = "globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json";
        add(Dialect::Cline, user, cline);
    }
    add(Dialect::Codex, or_home("CODEX_HOME", ".codex"), "config.toml");
    add(Dialect::Gemini, in_home(".gemini"), "settings.json");
    add(Dialect::Antigravity, in_home(".gemini/config"), "mcp_config.json");
    add(Dialect::Windsurf, in_home(".codeium/windsurf"), "mcp_config.json");
    add(Dialect::Windsurf, in_home(".codeium/windsurf-next"), "mcp_config.json");
    add(Dialect::Windsurf, under(&config, "devin"), "mcp_config.json");
    let zed = match system {
        System::Windows => under(&settings, "Zed"),
        System::Mac => in_home(".config/zed"),
        System::Unix => under(&config, "zed"),
    };
    add(Dialect::Zed, zed, "settings.json");
    match variables.get("MCP_CATALOG_PATH").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => add(Dialect::Inspector, Some(path), ""),
        None => add(Dialect::Inspector, in_home(".mcp-inspector"), "mcp.json"),
    }
    add(Dialect::Copilot, or_home("COPILOT_HOME", ".copilot"), "mcp-config.json");
    add(Dialect::Kiro, in_home(".kiro/settings"), "mcp.json");
    add(Dialect::OpenCode, under(&config, "opencode"), "opencode.json");
    add(Dialect::OpenCode, under(&config, "opencode"), "opencode.jsonc");
    add(Dialect::Mcporter, in_home(".mcporter"), "mcporter.json");
    add(Dialect::ClaudeDesktop, under(&settings, "Claude"), "claude_desktop_config.json");
    files
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn variables(all: &[(&str, &str)]) -> Variables {
        let all = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        Variables::given(all.collect::<HashMap<_, _>>())
    }

    fn found(system: System, all: &[(&str, &str)]) -> Vec<String> {
        let places = places(Path::new("/nowhere/at/all"), &variables(all), system);
        let place = |place: Place| {
            let dialect = place.dialect.unwrap();
            format!("{dialect} {}", place.path.display())
                .replace('\\', "/")
                .trim_end_matches('/')
                .to_owned()
        };
        places.into_iter().map(place).collect()
    }

    #[cfg(unix)]
    #[test]
    fn every_system_has_its_own_places() {
        let unix = found(System::Unix, &[("HOME", "/h")]);
        for expected in [
            "claude-code /h/.claude.json",
            "claude-desktop /h/.config/Claude/claude_desktop_config.json",
            "vscode /h/.config/Code/User/mcp.json",
            "zed /h/.config/zed/settings.json",
            "inspector /h/.mcp-inspector/mcp.json",
            "codex /h/.codex/config.toml",
            "windsurf /h/.codeium/windsurf/mcp_config.json",
        ] {
            assert!(unix.iter().any(|place| place == expected), "{expected}: {unix:#?}");
        }
        let mac = found(System::Mac, &[("HOME", "/h")]);
        for expected in [
            "claude-desktop /h/Library/Application Support/Claude/claude_desktop_config.json",
            "vscode /h/Library/Application Support/Code/User/mcp.json",
            "zed /h/.config/zed/settings.json",
        ] {
            assert!(mac.iter().any(|place| place == expected), "{expected}: {mac:#?}");
        }
        let windows = found(System::Windows, &[("USERPROFILE", "/u"), ("APPDATA", "/u/Roaming")]);
        for expected in [
            "claude-desktop /u/Roaming/Claude/claude_desktop_config.json",
            "cursor /u/.cursor/mcp.json",
            "zed /u/Roaming/Zed/settings.json",
        ] {
            assert!(windows.iter().any(|place| place == expected), "{expected}: {windows:#?}");
        }
    }

    #[test]
    fn a_repository_of_somebody_else_is_no_project() {
        let root = std::env::temp_dir().join(format!("umcp-owners-{}", std::process::id()));
        let directory = root.join("theirs/mine/deep");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::create_dir_all(root.join("theirs/.git")).unwrap();
        let alike = project_directories(&directory, |_| Some(1));
        let different = project_directories(&directory, |path| {
            Some(if path.ends_with("theirs") { 2 } else { 1 })
        });
        let real = project_directories(&directory, owner);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(alike.len(), 3);
        assert_eq!(different, [directory]);
        assert_eq!(real.len(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn variables_move_places_and_nothing_is_looked_for_without_a_home() {
        let moved = [
            ("HOME", "/h"),
            ("XDG_CONFIG_HOME", "/x"),
            ("CODEX_HOME", "/c"),
            ("CLAUDE_CONFIG_DIR", "/d"),
            ("MCP_CATALOG_PATH", "/i/my.json"),
            ("COPILOT_HOME", "relative/is/ignored"),
        ];
        let moved = found(System::Unix, &moved);
        for expected in [
            "zed /x/zed/settings.json",
            "codex /c/config.toml",
            "claude-code /d/.claude.json",
            "inspector /i/my.json",
            "copilot /h/.copilot/mcp-config.json",
        ] {
            assert!(moved.iter().any(|place| place == expected), "{expected}: {moved:#?}");
        }
        assert_eq!(found(System::Unix, &[]), [""; 0]);
    }
}
