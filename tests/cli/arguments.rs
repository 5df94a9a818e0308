//! Arguments of tools and prompts.

use serde_json::json;

use crate::command::{ERAS, example, example_words, file, run, run_with_stdin};

#[test]
fn text_is_typed_by_the_schema() {
    for era in ERAS {
        // What looks like a number is text where the tool wants text.
        for message in ["5", "true", "null", "{}", "a=b", ""] {
            let word = format!("message={message}");
            let ended = run(&mut example_words(era, &["call", "echo", &word])).expect(0);
            assert_eq!(ended.text(), format!("{message}\n"), "{era}");
        }
        let ended = run(&mut example(era, "call greet name=5 loud=true times=2")).expect(0);
        assert_eq!(ended.text(), "HELLO, 5!\nHELLO, 5!\n");
    }
}

#[test]
fn what_does_not_fit_the_schema_is_not_sent() {
    for (words, expected) in [
        ("call greet name=a times=x", "umcp: argument `times`: the tool takes `integer`\n"),
        ("call greet name=a loud=yes", "umcp: argument `loud`: the tool takes `boolean`\n"),
        ("call greet nam=a", "umcp: the tool has no argument `nam`. Did you mean `name`?\n"),
        ("call echo message=a x:=1", "umcp: the tool has no argument `x`\n"),
        ("call echo message=a message=b", "umcp: argument `message`: it is given twice\n"),
        ("call echo message=a message:=1", "umcp: argument `message`: it is given twice\n"),
        ("call echo message", "umcp: `message` is neither key=value nor key:=json\n"),
        (
            "call echo --args []",
            "umcp: `--args`: it is an array, not an object such as {\"key\": 1}\n",
        ),
        (
            "call echo --args {\"a\":1,}",
            "umcp: `--args`: no JSON: key must be a string (line 1, column 8)\n",
        ),
        ("call echo --args [", "umcp: `--args`: no JSON: it ends too early (line 1, column 1)\n"),
        (
            "call echo message:={]",
            "umcp: argument `message`: no JSON: key must be a string (line 1, column 2)\n",
        ),
        ("call greet", "umcp: the tool `greet` also needs `name: string`\n"),
        ("call add --args {} b=1", "umcp: the tool `add` also needs `a: number`\n"),
        ("call add", "umcp: the tool `add` also needs `a: number`, `b: number`\n"),
        ("call echo --args {\"a\":1,\"a\":2}", "umcp: `--args`: `a` is given twice\n"),
        (
            "prompt greeting name:=\"x\"",
            "umcp: argument `name`: a prompt takes text: write it key=value\n",
        ),
    ] {
        let ended = run(&mut example("modern", words)).expect(1);
        assert_eq!((ended.text(), ended.stderr.as_str()), ("", expected), "{words}");
    }
}

#[test]
fn json_is_sent_as_it_is() {
    for era in ERAS {
        let ended = run(&mut example(era, "call add a:=2 b:=0.5")).expect(0);
        assert_eq!(ended.text(), "2.5\n");
    }
    // No schema is asked for, so what is wrong is for the server to say.
    let ended = run(&mut example("modern", "call add a:=\"2\" b:=1 -v")).expect(5);
    assert!(!ended.stderr.contains("tools/list"), "{}", ended.stderr);
    assert_eq!(ended.text(), "the argument `a` is not as the schema says\n");
}

#[test]
fn files_can_be_arguments() {
    let text = file("message.txt", "line\nünï".as_bytes());
    let json = file("number.json", b" 40 \n");
    let bytes = file("bytes.bin", b"\xff\xfe");
    let call = |words: &[&str]| run(&mut example_words("modern", words));

    let ended = call(&["call", "echo", &format!("message=@{text}")]).expect(0);
    assert_eq!(ended.text(), "line\nünï\n");
    let ended = call(&["call", "echo", "message=@@text"]).expect(0);
    assert_eq!(ended.text(), "@text\n");
    let ended = call(&["call", "add", &format!("a:=@{json}"), &format!("b=@{json}")]).expect(0);
    assert_eq!(ended.text(), "80\n");
    let ended = call(&["prompt", "greeting", &format!("name=@{text}")]).expect(0);
    assert_eq!(ended.text(), "user: Please greet line\nünï.\n");

    for word in [format!("message=@{bytes}"), format!("message:=@{text}"), "message=@/no".into()] {
        let ended = call(&["call", "echo", &word]).expect(1);
        assert!(ended.stderr.starts_with("umcp: argument `message`: "), "{ended:?}");
    }
}

#[test]
fn a_base_object_is_overridden_by_single_arguments() {
    for era in ERAS {
        let ended = run(&mut example(era, "call add --args {\"a\":1,\"b\":2} b=10")).expect(0);
        assert_eq!(ended.text(), "11\n");
        let mut command = example(era, "call add --args - a=5 --json");
        let ended = run_with_stdin(&mut command, "{\n \"a\": 1,\n \"b\": 2\n}\n").expect(0);
        assert_eq!(ended.json()["structuredContent"], json!({"sum": 7}));
    }
    run(&mut example("modern", "call add --args -")).expect(1);
}

#[test]
fn a_tool_that_does_not_exist_is_refused() {
    let ended = run(&mut example("modern", "call ad a=1")).expect(5);
    let expected = "umcp: basic_client: there is no tool `ad`. Did you mean `add`?\n";
    assert_eq!((ended.text(), ended.stderr.as_str()), ("", expected));
    for era in ERAS {
        // Without arguments to type, the server says so.
        let ended = run(&mut example(era, "call ad --args {}")).expect(5);
        assert!(ended.stderr.contains("unknown tool ad") && ended.stdout.is_empty(), "{ended:?}");
    }
}
