//! The command, and the examples, with every server.

use std::process::{Command, Output};
use std::{env, fs};

use crate::http::Listening;
use crate::{Directory, everything, filesystem, node, old_python, python, time};

const EXAMPLES: [&str; 5] =
    ["basic_client", "explore_server", "call_tools", "read_resources", "use_prompts"];

fn umcp(arguments: &[&str], command: &[String]) -> Output {
    let mut umcp = Command::new(env!("CARGO_BIN_EXE_umcp"));
    umcp.env("UMCP_CACHE_DIR", "").args(arguments);
    if !command.is_empty() {
        umcp.arg("--").args(command);
    }
    umcp.output().unwrap()
}

fn stdout_of(arguments: &[&str], command: &[String]) -> String {
    let output = umcp(arguments, command);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn the_command_works_on_all() {
    let directory = Directory::new("command");
    let path = directory.path("notes.txt");
    fs::write(&path, "A note.").unwrap();
    let path = format!("path={path}");
    let times = ["source_timezone=Asia/Tokyo", "time=16:30", "target_timezone=UTC"];
    for (command, tool, arguments, answer) in [
        (everything(), "get-sum", &["a=2", "b=3"][..], "The sum of 2 and 3 is 5."),
        (python(), "add", &["a=2", "b=3"], "5"),
        (node(), "add", &["a=2", "b=3"], "5"),
        (filesystem(&directory), "read_text_file", &[&path], "A note."),
        (time(), "convert_time", &times, "\"time_difference\": \"-9.0h\""),
    ] {
        let called = stdout_of(&[&["call", tool], arguments].concat(), &command);
        assert!(called.contains(answer), "{called}");
        let output = umcp(&["call", "no-such-tool"], &command);
        assert_eq!(output.status.code(), Some(5), "{output:?}");
    }
    for command in [everything(), python(), node()] {
        for verb in ["info", "tools", "resources", "templates", "prompts", "ping"] {
            stdout_of(&[verb, "--json"], &command);
        }
    }
    for command in [python(), node()] {
        assert_eq!(stdout_of(&["read", "memo://square/9"], &command), "81");
        let prompt = stdout_of(&["prompt", "greeting", "name=Bo"], &command);
        assert!(prompt.contains("Please greet Bo."), "{prompt}");
    }
}

#[test]
fn the_command_works_on_urls() {
    for (listening, tool, answer) in [
        (Listening::everything("streamableHttp"), "get-sum", "The sum of 2 and 3 is 5."),
        (Listening::everything("sse"), "get-sum", "The sum of 2 and 3 is 5."),
        (Listening::node("http"), "add", "5"),
        (Listening::python("http"), "add", "5"),
    ] {
        let url = listening.url();
        assert_eq!(stdout_of(&["call", tool, "a=2", "b=3", "--url", &url], &[]), answer);
        for verb in ["info", "tools", "resources", "templates", "prompts", "ping"] {
            stdout_of(&[verb, "--json", "--url", &url], &[]);
        }
        let output = umcp(&["call", "no-such-tool", "--url", &url], &[]);
        assert_eq!(output.status.code(), Some(5), "{output:?}");
    }
}

/// Started twice, and ended by force: 3.3 s for every line.
#[test]
fn the_command_works_on_an_old_server() {
    let directory = Directory::new("command-old");
    assert_eq!(stdout_of(&["call", "add", "a=2", "b=3"], &old_python(&directory)), "5");
    let info = stdout_of(&["info"], &old_python(&directory));
    assert!(info.contains("2024-11-05 (legacy)"), "{info}");
}

#[test]
fn the_examples_work_on_all() {
    // target/<profile>/deps/interop-<hash>
    let mut examples = env::current_exe().unwrap();
    examples.pop();
    examples.set_file_name("examples");
    let directory = Directory::new("examples");
    for command in [everything(), filesystem(&directory), node(), python()] {
        for example in EXAMPLES {
            let path = examples.join(format!("{example}{}", env::consts::EXE_SUFFIX));
            assert!(path.exists(), "{} is missing: run cargo build --examples", path.display());
            let output = Command::new(path).args(&command).output().unwrap();
            assert!(output.status.success(), "{example}: {output:?}");
        }
    }
}
