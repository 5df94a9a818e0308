//! The servers of configuration files: `umcp servers`, `--server` and `--config`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::command::{example_server, run, umcp};

/// A home and a project in it, which are removed at the end.
pub struct Home(PathBuf);

impl Home {
    pub fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("home-{}-{number}", process::id());
        let home = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        home.write("work/.git/HEAD", "");
        for (file, text) in files {
            home.write(file, text);
        }
        home
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // It starts nothing but the example server.
        let server = json!(example_server()).to_string();
        fs::write(path, text.replace("@SERVER@", &server)).unwrap();
    }

    /// The command, in the project, of somebody who lives here and nowhere else.
    pub fn umcp(&self, words: &str) -> Command {
        let mut command = umcp(words.split(' '));
        command.current_dir(self.0.join("work"));
        for name in ["HOME", "USERPROFILE"] {
            command.env(name, &self.0);
        }
        for name in
            ["XDG_CONFIG_HOME", "APPDATA", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "COPILOT_HOME"]
        {
            command.env_remove(name);
        }
        command.env_remove("MCP_CATALOG_PATH");
        command
    }

    /// Of a file in the project.
    fn path(&self, file: &str) -> String {
        self.0.join("work").join(file).display().to_string()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CURSOR: &str = r#"{ "mcpServers": {
    "example": { "command": @SERVER@, "args": ["--serve", "modern"] },
    "secret": { "command": @SERVER@, "env": { "KEY": "${env:NOT_SET_HERE}" } },
    "remote": { "url": "https://example.com/mcp?key=hunter2", "headers": { "X-Key": "hunter2" } }
} }"#;

const VSCODE: &str = r#"{ "servers": {
    "example": { "command": @SERVER@, "args": ["--serve", "legacy"] },
    "paused": { "command": @SERVER@, "disabled": true }
} }"#;

fn home() -> Home {
    Home::new(&[("work/.cursor/mcp.json", CURSOR), ("work/.vscode/mcp.json", VSCODE)])
}

#[test]
fn what_is_found_is_listed_with_what_is_wrong() {
    let home = home();
    let ended = run(&mut home.umcp("servers")).expect(0);
    let text = ended.text();
    let server = example_server().display().to_string();
    for line in [
        format!("{} (cursor)", home.path(".cursor/mcp.json")),
        format!("  example  {server} (2 arguments)"),
        format!("  secret   {server} ["),
        "  remote   https://example.com/…".to_owned(),
        format!("  paused   {server} [off]"),
    ] {
        assert!(text.lines().any(|found| found.starts_with(&line)), "{line:?} in {text}");
    }
    let problem =
        "[line 3: mcpServers.secret.env.KEY: the variable `NOT_SET_HERE` is not set: set it]";
    assert!(text.contains(problem), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn the_list_can_be_json() {
    let home = home();
    home.write(".cursor/mcp.json", r#"{ "mcpServers": { "remote": { "command": "x" } } }"#);
    let list = run(&mut home.umcp("servers --json")).expect(0).json();
    let servers = list["servers"].as_array().unwrap();
    let find = |name: &str, dialect: &str| {
        let mut all = servers.iter();
        all.find(|it| it["name"] == name && it["dialect"] == dialect)
            .unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(list["problems"], json!([]));
    assert_eq!(servers.len(), 6);
    let remote = find("remote", "cursor");
    let expected = json!({
        "name": "remote", "dialect": "cursor", "file": home.path(".cursor/mcp.json"), "line": 4,
        "enabled": true, "url": "https://example.com/…",
    });
    assert_eq!(*remote, expected);
    assert_eq!(find("paused", "vscode")["enabled"], false);
    assert!(find("secret", "cursor")["problem"].as_str().unwrap().contains("`NOT_SET_HERE`"));
    let overridden = json!({ "file": home.path(".cursor/mcp.json"), "line": 4 });
    assert_eq!(servers.last().unwrap()["overriddenBy"], overridden);
}

#[test]
fn a_name_forges_no_line() {
    let home = Home::new(&[]);
    let text = r#"{ "mcpServers": {
        "it\n  forged  safe\u001b[2J": { "command": "x\n  forged  safe" },
        "it\n  forged": { "command": 5, "url": "x\n  forged" }
    } }"#;
    home.write("work/.mcp.json", text);
    let ended = run(&mut home.umcp("servers")).expect(0);
    let text = ended.text();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn listing_starts_nothing() {
    let home = Home::new(&[]);
    let text = r#"{ "mcpServers": { "it": { "command": "touch", "args": ["started"] } } }"#;
    home.write("work/.mcp.json", text);
    let list = run(&mut home.umcp("servers --json")).expect(0).json();
    assert_eq!(list["servers"][0]["command"], "touch (1 argument)");
    assert!(!home.0.join("work/started").exists());
}

#[test]
fn without_any_file_there_is_nothing() {
    let home = Home::new(&[]);
    let ended = run(&mut home.umcp("servers")).expect(0);
    assert_eq!(ended.text(), "");
    assert_eq!(ended.stderr, "umcp: there are no servers in any file that is known\n");
    let list = run(&mut home.umcp("servers --json")).expect(0).json();
    assert_eq!(list, json!({ "servers": [], "problems": [] }));
}

#[test]
fn a_file_that_cannot_be_read_is_told_beside_the_others() {
    let home = home();
    home.write(".codex/config.toml", "[mcp_servers.x\n");
    let ended = run(&mut home.umcp("servers")).expect(1);
    assert!(ended.text().contains("  example  "), "{ended:?}");
    assert!(ended.stderr.contains("config.toml:1: this is no TOML"), "{ended:?}");
    run(&mut home.umcp("ping --server cursor:example")).expect(0);
}

#[test]
fn a_server_can_be_named() {
    let home = home();
    for (words, era) in [("cursor:example", "modern"), ("vscode:example", "legacy")] {
        let info = run(&mut home.umcp(&format!("info --json --server {words}"))).expect(0).json();
        assert_eq!(info["era"], era);
    }
    let file = home.path(".vscode/mcp.json");
    let words = format!("call add a=2 b=3 --server example --config {file}");
    assert_eq!(run(&mut home.umcp(&words)).expect(0).text(), "5\n");
    // The options are for it, too.
    let words = format!("info --json --server example --config {file} --era modern");
    run(&mut home.umcp(&words)).expect(6);
    let listed = run(&mut home.umcp(&format!("servers --json --config {file}"))).expect(0).json();
    assert_eq!(listed["servers"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_wrong_with_a_named_server_is_told() {
    let home = home();
    for (words, expected) in [
        (
            "tools --server exmaple",
            "there is no server `exmaple` in the configuration. Did you mean `example`?",
        ),
        (
            "tools --server zzzzz",
            "there is no server `zzzzz` in the configuration. `umcp servers` lists",
        ),
        (
            "tools --server example",
            "`example` is the name of different servers: `cursor:example` (",
        ),
        (
            "tools --server secret",
            "mcpServers.secret.env.KEY: the variable `NOT_SET_HERE` is not set: set it",
        ),
        ("tools --server paused", "servers.paused: this server is turned off there"),
        ("tools --config none.json --server x", "none.json:1: it cannot be read: "),
        ("servers --config none.json", "none.json:1: it cannot be read: "),
        ("tools --config .cursor/mcp.json", "which server of the file? Give `--server NAME`"),
        (
            "tools --server example -- x",
            "a server of a file and a command are two servers: give one",
        ),
        (
            "tools --server example --url http://x",
            "'--server <NAME>' cannot be used with '--url <URL>'",
        ),
        (
            "tools",
            "which server? Give `--url URL`, `--server NAME`, or `-- COMMAND ARGS...` at the end",
        ),
    ] {
        let ended = run(&mut home.umcp(words)).expect(1);
        assert!(ended.stderr.contains(expected), "{words}: {}", ended.stderr);
        assert_eq!(ended.text(), "");
    }
    let set = &mut home.umcp("ping --server secret");
    let ended = run(set.env("NOT_SET_HERE", "x").args(["--timeout", "100ms"]));
    assert_ne!(ended.status, Some(1), "it was tried: {ended:?}");
}

const ASKING: &str = r#"{
    "inputs": [{ "id": "era", "type": "promptString", "description": "Which era", "password": true }],
    "servers": { "asking": { "command": @SERVER@, "args": ["--serve", "${input:era}"] } }
}"#;

#[test]
fn an_input_is_a_variable_where_nobody_can_be_asked() {
    let home = Home::new(&[("work/.vscode/mcp.json", ASKING)]);
    let words = "info --json --server asking";
    let ended = run(&mut home.umcp(words)).expect(1);
    let expected =
        "servers.asking.args[1]: the input `era` (or the variable `MCP_INPUT_ERA`) is not set";
    assert!(ended.stderr.contains(expected), "{ended:?}");
    let info = run(home.umcp(words).env("MCP_INPUT_ERA", "modern")).expect(0).json();
    assert_eq!(info["era"], "modern");
}

#[cfg(target_os = "linux")]
mod terminal {
    use std::fs::{File, OpenOptions};
    use std::io::{Read, Write};
    use std::sync::mpsc::{self, Receiver};
    use std::thread;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;
    use crate::command::{Ended, Running, WATCHDOG};

    /// A terminal, and what it shows.
    struct Terminal {
        keyboard: File,
        screen: Receiver<Vec<u8>>,
        shown: String,
    }

    impl Terminal {
        /// Runs the command with stdin and stderr at it.
        fn run(command: &mut Command) -> (Self, Running) {
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&master).unwrap();
            unlockpt(&master).unwrap();
            let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
            let open = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
            let child = command.stdin(open()).stderr(open()).spawn().unwrap();
            // Else the terminal would stay open here.
            command.stdin(process::Stdio::null()).stderr(process::Stdio::null());
            let mut output = File::from(master);
            let keyboard = output.try_clone().unwrap();
            let (send, screen) = mpsc::channel();
            thread::spawn(move || {
                let mut bytes = [0; 1024];
                while let Ok(length @ 1..) = output.read(&mut bytes) {
                    let _ = send.send(bytes[..length].to_vec());
                }
            });
            (Self { keyboard, screen, shown: String::new() }, Running::of(child))
        }

        fn wait_for(&mut self, part: &str) {
            while !self.shown.contains(part) {
                let bytes = self.screen.recv_timeout(WATCHDOG).expect(&self.shown);
                self.shown += &String::from_utf8_lossy(&bytes);
            }
        }

        fn type_line(&mut self, line: &str) {
            self.keyboard.write_all(line.as_bytes()).unwrap();
            self.keyboard.write_all(b"\n").unwrap();
        }

        /// Until nobody has it open.
        fn rest(mut self) -> String {
            while let Ok(bytes) = self.screen.recv_timeout(WATCHDOG) {
                self.shown += &String::from_utf8_lossy(&bytes);
            }
            self.shown
        }
    }

    #[test]
    fn a_secret_is_asked_for_and_not_shown() {
        let home = Home::new(&[("work/.vscode/mcp.json", ASKING)]);
        let (mut terminal, running) = Terminal::run(&mut home.umcp("info --json --server asking"));
        terminal.wait_for("Which era (not shown): ");
        terminal.type_line("legacy");
        let ended: Ended = running.end().expect(0);
        assert_eq!(ended.json()["era"], "legacy");
        let shown = terminal.rest();
        assert!(!shown.contains("legacy"), "{shown}");
    }

    #[test]
    fn a_signal_leaves_the_terminal_as_it_was() {
        use rustix::process::{Pid, Signal, kill_process};
        use rustix::termios::{LocalModes, tcgetattr};
        let home = Home::new(&[("work/.vscode/mcp.json", ASKING)]);
        let (mut terminal, running) = Terminal::run(&mut home.umcp("info --server asking"));
        terminal.wait_for("Which era (not shown): ");
        let shows =
            || tcgetattr(&terminal.keyboard).unwrap().local_modes.contains(LocalModes::ECHO);
        assert!(!shows());
        let child = Pid::from_child(&running.child);
        kill_process(child, Signal::INT).unwrap();
        assert_eq!(running.end().status, None);
        assert!(shows());
    }
}
