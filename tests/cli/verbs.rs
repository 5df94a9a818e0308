//! What every verb prints.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::command::{ERAS, example, run, umcp};

#[test]
fn info_says_who_the_server_is() {
    let ended = run(&mut example("modern", "info")).expect(0);
    let expected = "\
server        Example server (umcp-example-server) 1.0.0
protocol      2026-07-28 (modern)
capabilities  completions, extensions, logging, prompts, resources, tools
instructions  A server to try things with; nothing here has a lasting effect.
";
    assert_eq!(ended.text(), expected);
    assert_eq!(ended.stderr, "");

    let ended = run(&mut example("legacy", "info --json")).expect(0);
    let info = ended.json();
    assert_eq!((&info["protocolVersion"], &info["era"]), (&json!("2025-11-25"), &json!("legacy")));
    assert_eq!(info["serverInfo"]["name"], "umcp-example-server");
    assert_eq!(info["capabilities"]["tools"], json!({}));
    assert!(info["instructions"].as_str().unwrap().starts_with("A server to try"));
}

#[test]
fn the_era_and_the_version_can_be_pinned() {
    for (words, version) in [
        ("info --json", "2026-07-28"),
        ("info --json --era modern", "2026-07-28"),
        ("info --json --era legacy", "2025-11-25"),
        ("info --json --protocol-version 2025-06-18", "2025-06-18"),
        ("--protocol-version 2024-11-05 --json info", "2024-11-05"),
    ] {
        let ended = run(&mut example("both", words)).expect(0);
        assert_eq!(ended.json()["protocolVersion"], version, "{words}");
    }
    run(&mut example("legacy", "info --era modern")).expect(6);
    run(&mut example("both", "info --era modern --protocol-version 2025-06-18")).expect(1);
    let ended = run(&mut example("both", "info --protocol-version 2025-06-19")).expect(1);
    assert!(ended.stderr.contains("2025-06-18"), "{}", ended.stderr);
}

#[test]
fn tools_are_listed_with_their_arguments() {
    for era in ERAS {
        let ended = run(&mut example(era, "tools")).expect(0);
        let text = ended.text();
        assert!(
            text.starts_with("add(a: number, b: number)  Addition: Adds two numbers\n"),
            "{text}"
        );
        assert!(text.contains("\nfail()                     Returns an error\n"), "{text}");
        let long = "\ngreet(loud?: boolean, name: string, times?: integer)\n";
        assert!(text.contains(long), "{text}");

        let tools = run(&mut example(era, "tools --json")).expect(0).json();
        assert_eq!(tools.as_object().unwrap().len(), 1);
        // All pages in one.
        assert!(tools["tools"].as_array().unwrap().len() > 9);
        assert_eq!(tools["tools"][0]["inputSchema"]["required"], json!(["a", "b"]));
    }
}

#[test]
fn resources_templates_and_prompts_are_listed() {
    for era in ERAS {
        let ended = run(&mut example(era, "resources")).expect(0);
        assert!(ended.text().starts_with("file:///notes/hello.txt  A greeting: A short text\n"));
        assert_eq!(ended.text().lines().count(), 22);
        let all = run(&mut example(era, "resources --json")).expect(0).json();
        assert_eq!(all["resources"].as_array().unwrap().len(), 22);

        let ended = run(&mut example(era, "templates")).expect(0);
        assert_eq!(ended.text(), "data://numbers/{n}  Square: n times n\n");
        let all = run(&mut example(era, "templates --json")).expect(0).json();
        assert_eq!(all["resourceTemplates"][0]["name"], "square");

        let ended = run(&mut example(era, "prompts")).expect(0);
        assert!(
            ended.text().contains("\nreview(code, style?)  Code review: Asks for"),
            "{ended:?}"
        );
        let all = run(&mut example(era, "prompts --json")).expect(0).json();
        assert_eq!(all["prompts"][0]["name"], "greeting");
    }
}

#[test]
fn a_call_prints_what_the_tool_returns() {
    for era in ERAS {
        let ended = run(&mut example(era, "call add a=2 b=3")).expect(0);
        assert_eq!((ended.text(), ended.stderr.as_str()), ("5\n", ""));

        let result = run(&mut example(era, "call add a=2 b=3 --json")).expect(0).json();
        assert_eq!(result["structuredContent"], json!({"sum": 5}));
        assert_eq!(result["content"], json!([{"type": "text", "text": "5"}]));
    }
    let ended = run(&mut example("modern", "call contents")).expect(0);
    let expected = "\
some text
[image image/png, 73 bytes; --output FILE writes it]
[audio audio/wav, 52 bytes; --output FILE writes it]
[link file:///notes/hello.txt text/plain, 31 bytes]
[resource file:///notes/hello.txt text/plain, 31 bytes]
[resource file:///logo.png image/png, 73 bytes; --output FILE writes it]
";
    assert_eq!(ended.text(), expected);
}

#[test]
fn a_read_is_exact() {
    for era in ERAS {
        let ended = run(&mut example(era, "read file:///notes/hello.txt")).expect(0);
        assert_eq!(ended.text(), "Hello from the example server.\n");
        let ended = run(&mut example(era, "read memo://7")).expect(0);
        assert_eq!(ended.text(), "This is memo 7.");

        let result = run(&mut example(era, "read file:///logo.png --json")).expect(0).json();
        let blob = result["contents"][0]["blob"].as_str().unwrap();
        let ended = run(&mut example(era, "read file:///logo.png")).expect(0);
        assert_eq!(ended.stdout, BASE64_STANDARD.decode(blob).unwrap());
    }
}

#[test]
fn a_prompt_is_printed_with_its_roles() {
    for era in ERAS {
        let ended = run(&mut example(era, "prompt review code=fn style=gentle")).expect(0);
        let expected = "\
user: Please review this; be gentle.
user: [resource file:///code text/plain, 2 bytes]
assistant: I have read it.
";
        assert_eq!(ended.text(), expected);
        let result = run(&mut example(era, "prompt greeting name=5 --json")).expect(0).json();
        assert_eq!(result["messages"][0]["content"]["text"], "Please greet 5.");
    }
}

#[test]
fn ping_says_how_long_it_took() {
    for era in ERAS {
        let ended = run(&mut example(era, "ping")).expect(0);
        assert!(ended.text().ends_with(" ms\n"), "{ended:?}");
        let result = run(&mut example(era, "ping --json")).expect(0).json();
        assert!(result["elapsedMs"].as_f64().unwrap() > 0.0, "{result}");
    }
}

#[test]
fn help_and_version_are_results() {
    let verbs = [
        "info",
        "tools",
        "resources",
        "templates",
        "prompts",
        "call",
        "read",
        "prompt",
        "complete",
        "ping",
        "watch",
        "completions",
    ];
    let ended = run(&mut umcp(["--help"])).expect(0);
    assert!(verbs.iter().all(|verb| ended.text().contains(&format!("\n  {verb} "))));
    assert!(ended.text().contains("Exit status:") && ended.stderr.is_empty());
    for verb in verbs {
        let ended = run(&mut umcp([verb, "--help"])).expect(0);
        assert!(ended.text().contains(&format!("umcp {verb} ")), "{ended:?}");
        assert!(ended.text().contains("Example"), "{ended:?}");
    }
    let ended = run(&mut umcp(["--version"])).expect(0);
    assert_eq!(ended.text(), format!("umcp {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn logging_goes_to_stderr() {
    let ended = run(&mut example("modern", "call echo message:=\"s3cret\" -v")).expect(0);
    assert_eq!(ended.text(), "s3cret\n");
    assert!(ended.stderr.contains("-> tools/call"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);

    let ended = run(&mut example("modern", "call echo message:=\"s3cret\" -vv")).expect(0);
    assert_eq!(ended.text(), "s3cret\n");
    assert!(ended.stderr.contains("s3cret"), "{}", ended.stderr);

    let ended = run(example("modern", "ping").env("RUST_LOG", "umcp=debug")).expect(0);
    assert!(ended.stderr.contains("-> server/discover"), "{}", ended.stderr);
}

#[test]
fn the_environment_and_the_directory_can_be_set() {
    let names = |words: &str| {
        let ended = run(example("modern", words).env("UMCP_TEST_SEEN", "1")).expect(0);
        serde_json::from_str::<Vec<String>>(ended.text()).unwrap()
    };
    let has = |names: &[String], name: &str| names.iter().any(|known| known == name);

    assert!(!has(&names("call environment"), "UMCP_TEST_SEEN"));
    assert!(has(&names("call environment --inherit-env"), "UMCP_TEST_SEEN"));
    assert!(has(&names("call environment -e UMCP_TEST_SEEN"), "UMCP_TEST_SEEN"));
    let set = names("call environment --env A_B=c=d -e E=");
    assert!(has(&set, "A_B") && has(&set, "E"));
    for wrong in ["info -e UMCP_TEST_NOT_THERE", "info -e =x", "info --env="] {
        run(&mut example("modern", wrong)).expect(1);
    }

    #[cfg(unix)]
    {
        let server = "pwd >&2";
        let ended = run(&mut crate::command::script("info --cwd /", server)).expect(4);
        assert!(ended.stderr.contains("\n  | /\n"), "{}", ended.stderr);
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    use std::process::Stdio;

    // A pipe whose other end is gone.
    let broken = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for (words, status) in
        [("resources", 0), ("tools --json", 0), ("call fail", 5), ("info --help", 0)]
    {
        let ended = run(example("modern", words).stdout(broken())).expect(status);
        assert!(!ended.stderr.contains("pipe"), "{ended:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended = run(example("modern", "tools").stdout(full)).expect(1);
    assert!(ended.stderr.starts_with("umcp: cannot write the result: "), "{ended:?}");
}

#[test]
fn complete_says_how_an_argument_could_go_on() {
    for era in ERAS {
        let ended = run(&mut example(era, "complete greeting name=Al")).expect(0);
        assert_eq!(ended.text(), "Alan\nAlonzo\n");
        let ended = run(&mut example(era, "complete greeting name=Al name=Alan")).expect(0);
        assert_eq!(ended.text(), "Alonzo\n");
        let ended = run(&mut example(era, "complete data://numbers/{n} n=15 --json")).expect(0);
        assert_eq!(ended.json()["completion"]["values"], json!(["15", "150"]));
        run(&mut example(era, "complete nobody name=A")).expect(5);
        run(&mut example(era, "complete greeting name")).expect(1);
    }
}

#[test]
fn shells_complete_the_verbs_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&mut umcp(["completions", shell])).expect(0);
        for word in ["templates", "watch", "inherit-env", "log-level"] {
            assert!(ended.text().contains(word), "{shell}: {word}");
        }
        assert_eq!(ended.stderr, "");
    }
    let ended = run(&mut umcp(["completions", "cmd"])).expect(1);
    assert!(ended.stderr.contains("powershell"), "{ended:?}");
}

#[test]
fn bash_can_read_its_completions() {
    use std::process::Command;

    let script = run(&mut umcp(["completions", "bash"])).expect(0);
    let script = crate::command::file("completions.bash", &script.stdout);
    match Command::new("bash").args(["-n", &script]).status() {
        Ok(status) => assert!(status.success()),
        Err(error) => eprintln!("not tried: {error}"),
    }
}
