//! Discovery, in homes of the tests' own.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A home and a project in it, which are removed at the end.
struct Home(PathBuf);

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("umcp-home-{}-{number}", process::id()));
        let home = Self(path);
        home.write("work/.git/HEAD", "");
        home.write("work/deep/down/here", "");
        for (file, text) in files {
            home.write(file, text);
        }
        home
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn discover(&self, directory: &str) -> Config {
        let names = ["HOME", "USERPROFILE"].map(|name| (name.to_owned(), self.0.clone().into()));
        let variables = Variables::given(names.into_iter().collect());
        Config::discover_with(&self.0.join(directory), &variables, System::Unix)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn one(key: &str, command: &str) -> String {
    format!("{{ \"{key}\": {{ \"weather\": {{ \"command\": \"{command}\" }} }} }}")
}

fn summary(config: &Config, name: &str) -> String {
    config.get(name).map(Entry::summary).unwrap_or_else(|error| error.to_string())
}

#[test]
fn a_project_is_its_repository_and_nothing_above_it() {
    let files = [
        ("work/.mcp.json", one("mcpServers", "root")),
        ("work/deep/.cursor/mcp.json", one("mcpServers", "near")),
        ("work/.cursor/mcp.json", one("mcpServers", "far")),
        (".vscode/mcp.json", one("servers", "above")),
    ];
    let files = files.each_ref().map(|(file, text)| (*file, text.as_str()));
    let home = Home::new(&files);
    let config = home.discover("work/deep/down");
    let found: Vec<_> = config.entries().iter().map(Entry::summary).collect();
    assert_eq!(found, ["root", "near"]);
    // Without a repository, it is the directory alone.
    fs::remove_dir_all(home.0.join("work/.git")).unwrap();
    assert_eq!(home.discover("work/deep/down").entries().len(), 0);
    assert_eq!(home.discover("work/deep").entries().len(), 1);
    // The home is no project.
    assert_eq!(home.discover("").entries().len(), 0);
}

#[test]
fn a_dialect_says_which_of_its_files_counts() {
    let home = Home::new(&[]);
    let user = |local: &str| {
        let key = serde_json::json!(home.0.join("work"));
        let projects = format!("\"projects\": {{ {key}: {local} }}");
        one("mcpServers", "user").replacen('{', &format!("{{ {projects},"), 1)
    };
    home.write(".claude.json", &user("{}"));
    assert_eq!(summary(&home.discover("work/deep"), "weather"), "user");
    home.write("work/.mcp.json", &one("mcpServers", "project"));
    assert_eq!(summary(&home.discover("work/deep"), "weather"), "project");
    home.write(".claude.json", &user(&one("mcpServers", "local")));
    let config = home.discover("work/deep");
    assert_eq!(summary(&config, "weather"), "local");
    // All of them are listed.
    let found: Vec<_> = config
        .entries()
        .iter()
        .map(|entry| (entry.summary(), entry.overridden_by().is_some()))
        .collect();
    let expected = [("project", true), ("local", false), ("user", true)];
    assert_eq!(found, expected.map(|(name, is)| (name.to_owned(), is)));
    assert_eq!(config.into_iter().count(), 1);
    // Elsewhere it is the user's.
    fs::create_dir(home.0.join("elsewhere")).unwrap();
    assert_eq!(summary(&home.discover("elsewhere"), "weather"), "user");
}

#[test]
fn different_servers_of_one_name_have_to_be_told_apart() {
    let home = Home::new(&[]);
    home.write("work/.cursor/mcp.json", &one("mcpServers", "same"));
    home.write("work/.vscode/mcp.json", &one("servers", "same"));
    assert_eq!(summary(&home.discover("work"), "weather"), "same");
    home.write("work/.vscode/mcp.json", &one("servers", "other"));
    let config = home.discover("work");
    let error = config.get("weather").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = error.to_string();
    for part in ["`cursor:weather` (", "`vscode:weather` (", ".vscode/mcp.json:1)", "in full"] {
        assert!(error.replace('\\', "/").contains(part), "{part} in {error}");
    }
    assert_eq!(summary(&config, "cursor:weather"), "same");
    assert_eq!(summary(&config, "vscode:weather"), "other");
    let file = home.0.join("work").join(".vscode/mcp.json");
    assert_eq!(summary(&config, &format!("{}:weather", file.display())), "other");
    let names: Vec<_> = config.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["cursor:weather", "vscode:weather"]);
    // What is turned off is no question.
    let off = one("servers", "other").replace("\"other\"", "\"other\", \"disabled\": true");
    home.write("work/.vscode/mcp.json", &off);
    let config = home.discover("work");
    assert_eq!(summary(&config, "weather"), "same");
    assert_eq!(config.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["weather"]);
}

#[test]
fn a_relative_path_is_another_one_elsewhere() {
    let home = Home::new(&[]);
    for (command, is_same) in [("run", true), ("./run", false)] {
        home.write("work/.mcp.json", &one("mcpServers", command));
        home.write(".cursor/mcp.json", &one("mcpServers", command));
        assert_eq!(home.discover("work").get("weather").is_ok(), is_same, "{command}");
    }
}

#[test]
fn what_looks_the_same_is_not_if_it_is_filled_in_differently() {
    let home = Home::new(&[]);
    home.write("work/.mcp.json", &one("mcpServers", "${X}"));
    home.write("work/.cursor/mcp.json", &one("mcpServers", "${X}"));
    assert!(home.discover("work").get("weather").is_err());
    home.write("work/.kiro/settings/mcp.json", &one("mcpServers", "${X}"));
    fs::remove_file(home.0.join("work/.cursor/mcp.json")).unwrap();
    assert!(home.discover("work").get("weather").is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_the_others_are_there() {
    let home = Home::new(&[
        (".cursor/mcp.json", "{ \"mcpServers\": \n"),
        (".gemini/settings.json", "{ \"theme\": 1 }"),
        (".codex/config.toml", "[mcp_servers.weather]\ncommand = \"x\"\n"),
    ]);
    let config = home.discover("work");
    assert_eq!(summary(&config, "weather"), "x");
    let [problem] = config.problems() else { panic!("{config:?}") };
    assert!(problem.to_string().contains("mcp.json:"), "{problem}");
    let error = config.get("sunshine").unwrap_err().to_string();
    assert!(error.contains("Not all files could be read: "), "{error}");
}

#[test]
fn a_users_file_is_about_the_project_one_works_in() {
    let text = one("mcpServers", "${workspaceFolder}/run");
    let home = Home::new(&[(".cursor/mcp.json", &text)]);
    let config = home.discover("work/deep");
    let server = format!("{:?}", config.get("weather").unwrap().server().unwrap());
    let expected = format!("{:?}", format!("{}/run", home.0.join("work").display()));
    assert!(server.contains(&expected), "{expected} in {server}");
}
