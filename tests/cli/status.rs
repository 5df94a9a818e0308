//! Exit statuses, and the one story that goes with each.

#[cfg(unix)]
use crate::command::script;
use crate::command::{ERAS, example, run, umcp};

#[test]
fn wrong_usage_is_1() {
    for words in [
        "",
        "tools",
        "tols --",
        "tools --bogus -- x",
        "tools --timeout soon -- x",
        "tools --era new -- x",
        "tools --url ftp://localhost/",
        "tools --url http://localhost/ -- x",
        "tools --url http://localhost/ --cwd /",
        "call",
        "read --url http://localhost/",
    ] {
        let ended = run(&mut umcp(words.split_whitespace())).expect(1);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{words}: {ended:?}");
        assert!(words.is_empty() || ended.stderr.starts_with("umcp: "), "{words}: {ended:?}");
    }
}

#[test]
fn a_server_that_cannot_be_started_is_4() {
    for json in ["", "--json"] {
        let words = ["info", json].into_iter().filter(|word| !word.is_empty());
        let ended = run(umcp(words).args(["--", "umcp-no-such-program"])).expect(4);
        assert!(ended.stdout.is_empty());
        assert!(ended.stderr.contains("could not start `umcp-no-such-program`"), "{ended:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_server_that_dies_is_4() {
    let ended = run(&mut script("info", "echo no licence >&2; exit 7")).expect(4);
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.starts_with("umcp: sh: "), "{ended:?}");
    assert!(ended.stderr.contains("exit status: 7"), "{ended:?}");
    assert!(ended.stderr.contains("| no licence"), "{ended:?}");
}

#[test]
fn a_tool_that_reports_an_error_is_5_with_its_result() {
    for era in ERAS {
        let ended = run(&mut example(era, "call fail")).expect(5);
        assert_eq!(ended.text(), "this tool always fails\n");
        assert_eq!(ended.stderr, "umcp: basic_client: the tool `fail` reported an error\n");
        let ended = run(&mut example(era, "call fail --json")).expect(5);
        assert_eq!(ended.json()["isError"], true);
    }
}

#[test]
fn an_error_reply_is_5_with_nothing_on_stdout() {
    for era in ERAS {
        for words in ["read memo://99", "read memo://99 --json", "prompt nobody", "prompt greeting"]
        {
            let ended = run(&mut example(era, words)).expect(5);
            assert!(ended.stdout.is_empty(), "{ended:?}");
            assert!(ended.stderr.starts_with("umcp: basic_client: "), "{ended:?}");
        }
    }
}

/// A legacy server that offers everything and answers everything else in one way.
#[cfg(unix)]
pub fn fake(answer: &str) -> String {
    let initialize = r#"{"protocolVersion":"2025-11-25","capabilities":{CAPABILITIES},"serverInfo":{"name":"fake","version":"0"}}"#;
    let initialize = match answer {
        "" => initialize.replace("CAPABILITIES", ""),
        _ => initialize.replace("CAPABILITIES", r#""tools":{},"resources":{}"#),
    };
    format!(
        r#"while read -r line; do
            id=${{line#*\"id\":}}; id=${{id%%,*}}
            case $line in
            *'"server/discover"'*)
                echo "{{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{{\"code\":-32601,\"message\":\"\"}}}}" ;;
            *'"initialize"'*)
                echo "{{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":"'{initialize}'"}}" ;;
            *'"id":'*)
                echo "{{\"jsonrpc\":\"2.0\",\"id\":$id,"'{answer}'"}}" ;;
            esac
        done"#
    )
}

#[cfg(unix)]
#[test]
fn what_the_server_does_not_offer_is_5() {
    for words in ["tools", "resources", "prompts", "call x", "call x a=1", "read a:b"] {
        let ended = run(&mut script(words, &fake(""))).expect(5);
        assert!(ended.stderr.contains("does not offer this"), "{ended:?}");
    }
}

#[cfg(unix)]
#[test]
fn breaking_the_protocol_is_6() {
    for (words, answer) in [
        ("tools", r#""result":{"tools":5}"#),
        ("tools", r#""result":5"#),
        ("tools", r#""result":{"tools":[],"nextCursor":"again"}"#),
        ("resources --json", r#""result":{}"#),
        ("call x --args {}", r#""result":{"content":5}"#),
        ("call x --args {}", r#""neither":1"#),
        ("read a:b", r#""result":{"contents":[{"uri":"a:b","blob":"not base64"}]}"#),
        ("read a:b", r#""result":{"contents":[{"uri":"a:b"}]}"#),
    ] {
        let ended = run(&mut script(words, &fake(answer))).expect(6);
        assert!(ended.stdout.is_empty(), "{words}: {ended:?}");
        assert!(ended.stderr.starts_with("umcp: "), "{words}: {ended:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_gets_what_the_server_said_exactly() {
    let answer = r#""result":{"content":[{"type":"text","text":"\u001b[31mred\u0007"}]}"#;
    let ended = run(&mut script("call x --args {}", &fake(answer))).expect(0);
    assert_eq!(ended.text(), "\u{1b}[31mred\u{7}\n");
}

#[test]
fn a_server_that_takes_too_long_is_124() {
    for era in ["modern", "legacy"] {
        let ended = run(&mut example(era, "call slow seconds=50 --timeout 1500ms")).expect(124);
        assert!(ended.stdout.is_empty(), "{ended:?}");
        assert!(ended.stderr.contains(r#"tools/call "slow": no reply within 1.5s"#), "{ended:?}");
    }
}

#[test]
fn the_wrong_era_is_6_and_a_hint() {
    for (serves, wanted) in [
        ("modern", "--era legacy"),
        ("modern", "--protocol-version 2025-06-18"),
        ("legacy", "--era modern"),
    ] {
        let ended = run(&mut example(serves, &format!("info {wanted}"))).expect(6);
        let hint = ". Leave out --era and --protocol-version, or update the server\n";
        assert!(ended.stderr.ends_with(hint), "{ended:?}");
    }
}

#[test]
fn hints_name_the_options_of_the_command() {
    let ended = run(&mut example("modern", "call slow seconds=50 --timeout 500ms")).expect(124);
    assert!(ended.stderr.contains("(--timeout)"), "{ended:?}");
    assert!(ended.stderr.ends_with(". Raise --timeout\n"), "{ended:?}");
    let ended = run(&mut umcp(["info", "--cwd", "/", "--url", "http://localhost/"])).expect(1);
    assert!(ended.stderr.contains("--cwd"), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn hints_of_connecting_name_the_options_too() {
    let ended = run(&mut script("info --timeout 500ms", "exec sleep 60")).expect(124);
    assert!(ended.stderr.contains(". Raise --timeout, or run"), "{ended:?}");
    let ended = run(script("info", "exit 7").env("UMCP_TEST_SEEN", "1")).expect(4);
    assert!(ended.stderr.contains("; --env passes one, --inherit-env all\n"), "{ended:?}");
    // What the server says itself is not the command's to change.
    let error = r#""error":{"code":-1,"message":"Raise `timeout`"}"#;
    let ended = run(&mut script("call x --args {}", &fake(error))).expect(5);
    assert!(ended.stderr.contains("Raise `timeout`"), "{ended:?}");
}

#[cfg(unix)]
#[test]
fn a_server_that_never_answers_is_124() {
    let ended = run(&mut script("info --timeout 500ms", "exec sleep 60")).expect(124);
    assert!(ended.stderr.starts_with("umcp: sh: "), "{ended:?}");
}
