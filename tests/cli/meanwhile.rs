//! Progress and log messages while a call is waited for.

use crate::command::{example, run};

const STEPS: &str = "1/3 step 1 of 3\n2/3 step 2 of 3\n3/3 step 3 of 3\n";

#[test]
fn progress_is_shown_in_lines_if_asked() {
    for era in ["modern", "legacy"] {
        let ended = run(&mut example(era, "call countdown steps=3 --progress")).expect(0);
        assert_eq!((ended.text(), ended.stderr.as_str()), ("counted 3 steps\n", STEPS), "{era}");
        for words in ["call countdown steps=3", "call countdown steps=3 --quiet"] {
            let ended = run(&mut example(era, words)).expect(0);
            assert_eq!(ended.stderr, "", "{era}");
        }
        // Nor is it asked for.
        let ended = run(&mut example(era, "call countdown steps=3 -v")).expect(0);
        assert!(!ended.stderr.contains("notifications/progress"), "{}", ended.stderr);
    }
    run(&mut example("modern", "call countdown steps=3 -q --progress")).expect(1);
}

#[test]
fn progress_does_not_restart_the_clock() {
    let words = "call countdown steps=50 delay=0.2 --progress --timeout 1s";
    let ended = run(&mut example("modern", words)).expect(124);
    assert!(ended.stderr.starts_with("1/50 step 1 of 50\n"), "{}", ended.stderr);
}

#[test]
fn log_messages_are_shown_if_asked() {
    for era in ["modern", "legacy"] {
        let ended = run(&mut example(era, "call countdown steps=2 --log-level info")).expect(0);
        let expected = "info countdown: step 1 of 2\ninfo countdown: step 2 of 2\n";
        assert_eq!((ended.text(), ended.stderr.as_str()), ("counted 2 steps\n", expected), "{era}");
        let ended = run(&mut example(era, "call countdown steps=2 --log-level error")).expect(0);
        assert_eq!(ended.stderr, "", "{era}");
        let ended = run(&mut example(era, "call countdown steps=2 --log-level loud")).expect(1);
        assert!(ended.stderr.contains("emergency"), "{}", ended.stderr);
        run(&mut example(era, "read memo://7 --log-level info --progress")).expect(0);
        run(&mut example(era, "prompt greeting name=A --log-level info --progress")).expect(0);
    }
}

#[cfg(unix)]
#[test]
fn a_server_without_a_log_is_called_all_the_same() {
    let fake = crate::status::fake(r#""result":{"content":[]}"#);
    let words = "call x --args {} --log-level info";
    let ended = run(&mut crate::command::script(words, &fake)).expect(0);
    assert_eq!(ended.stderr, "umcp: sh: the server has no log to ask for\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_shows_one_line_of_progress() {
    use crate::command::{Running, example_server};
    use std::process::{Command, Stdio};

    // script(1) of util-linux makes a terminal, where there is one.
    let command = format!(
        "{} call countdown steps=2 -- {} --serve modern",
        env!("CARGO_BIN_EXE_umcp"),
        example_server().display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]);
    script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
        return eprintln!("not tried: there is no `script`");
    }
    let ended = Running::start(&mut script).end();
    let expected = "1/2 step 1 of 2\r\u{1b}[K2/2 step 2 of 2\r\u{1b}[Kcounted 2 steps\r\n";
    assert!(ended.text().contains(expected), "{ended:?}");
}
