//! `--output`: contents as files.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

#[cfg(unix)]
use crate::command::script;
use crate::command::{ERAS, example, example_words, file, run};

/// An empty directory for one test.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn logo() -> Vec<u8> {
    let result = run(&mut example("modern", "read file:///logo.png --json")).expect(0).json();
    BASE64_STANDARD.decode(result["contents"][0]["blob"].as_str().unwrap()).unwrap()
}

#[test]
fn a_resource_becomes_a_file() {
    let logo = logo();
    for era in ERAS {
        // What is there already is overwritten.
        let path = file("read.png", &[0; 1000]);
        let read = ["read", "file:///logo.png", "--output", &path];
        let ended = run(&mut example_words(era, &read)).expect(0);
        assert_eq!((ended.text(), ended.stderr.as_str()), ("", ""));
        assert_eq!(fs::read(&path).unwrap(), logo);

        let ended = run(&mut example(era, "read file:///logo.png -o -")).expect(0);
        assert_eq!(ended.stdout, logo);

        let directory = directory(era);
        let path = directory.to_str().unwrap();
        let read = ["read", "file:///logo.png", "-o", path];
        let ended = run(&mut example_words(era, &read)).expect(0);
        let written = directory.join("logo.png");
        assert_eq!(ended.text(), format!("{}\n", written.display()));
        assert_eq!(fs::read(written).unwrap(), logo);
    }
}

#[test]
fn all_contents_of_a_call_go_to_a_directory() {
    let directory = directory("call");
    let path = directory.to_str().unwrap();
    let ended = run(&mut example_words("modern", &["call", "contents", "-o", path])).expect(0);
    assert_eq!(ended.text().lines().count(), 5);
    let expected = ["content.png", "content.txt", "content.wav", "hello.txt", "logo.png"];
    assert_eq!(names(&directory), expected);
    assert_eq!(fs::read(directory.join("logo.png")).unwrap(), logo());
    assert_eq!(fs::read(directory.join("content.txt")).unwrap(), b"some text");
}

#[test]
fn a_file_takes_one_content_and_the_result_is_not_lost() {
    let path = directory("several").join("file");
    let call = ["call", "contents", "-o", path.to_str().unwrap()];
    let ended = run(&mut example_words("modern", &call)).expect(1);
    assert!(ended.text().starts_with("some text\n[image image/png, 73 bytes"), "{ended:?}");
    assert!(ended.stderr.contains("the result has 4 contents"), "{ended:?}");
    assert!(!path.exists());

    let call = ["call", "add", "a=2", "b=3", "-o", path.to_str().unwrap()];
    run(&mut example_words("modern", &call)).expect(0);
    assert_eq!(fs::read(&path).unwrap(), b"5");
    // A tool's failure is no content.
    let call = ["call", "fail", "-o", path.to_str().unwrap()];
    let ended = run(&mut example_words("modern", &call)).expect(5);
    assert_eq!(ended.text(), "this tool always fails\n");
    assert_eq!(fs::read(&path).unwrap(), b"5");
}

#[cfg(unix)]
#[test]
fn a_picture_is_written_and_what_is_said_about_it_printed() {
    let answer = r#""result":{"content":[{"type":"text","text":"Here it is."},
        {"type":"image","data":"AAH/","mimeType":"image/png"}]}"#
        .replace('\n', "");
    let path = directory("picture").join("a.png");
    let words = format!("call x --args {{}} --output {}", path.display());
    let ended = run(&mut script(&words, &crate::status::fake(&answer))).expect(0);
    assert_eq!((ended.text(), ended.stderr.as_str()), ("Here it is.\n", ""));
    assert_eq!(fs::read(&path).unwrap(), [0, 1, 255]);

    let words = "call x --args {} --output -";
    let ended = run(&mut script(words, &crate::status::fake(&answer))).expect(0);
    assert_eq!(
        (ended.stdout.as_slice(), ended.stderr.as_str()),
        (&[0, 1, 255][..], "umcp: Here it is.\n")
    );
}

#[cfg(unix)]
#[test]
fn a_server_cannot_choose_where_to_write() {
    let answer = r#""result":{"contents":[
        {"uri":"file:///../../../../outside.txt","text":"1"},
        {"uri":"file:///x/..","text":"2"},
        {"uri":"file:///x/..\\..\\outside.txt","text":"3"},
        {"uri":"file:///.profile","text":"4"},
        {"uri":"/etc/OUTSIDE.TXT","text":"5"}]}"#
        .replace('\n', "");
    let directory = directory("hostile");
    let words = format!("read a:b --output {}/", directory.display());
    // The shell's echo reads escapes.
    let answer = crate::status::fake(&answer.replace('\\', "\\\\\\\\"));
    run(&mut script(&words, &answer)).expect(0);
    let expected = ["OUTSIDE-3.TXT", "content", "outside-2.txt", "outside.txt", "profile"];
    assert_eq!(names(&directory), expected);
}

#[test]
fn a_server_cannot_replace_what_is_in_the_directory() {
    let directory = directory("kept");
    fs::write(directory.join("Logo.png"), "mine").unwrap();
    for name in ["logo-2.png", "logo-3.png"] {
        let read = ["read", "file:///logo.png", "-o", directory.to_str().unwrap()];
        let ended = run(&mut example_words("modern", &read)).expect(0);
        assert_eq!(ended.text(), format!("{}\n", directory.join(name).display()));
        assert_eq!(fs::read(directory.join(name)).unwrap(), logo());
    }
    assert_eq!(fs::read(directory.join("Logo.png")).unwrap(), b"mine");
}

#[test]
fn a_path_that_cannot_be_written_is_1() {
    let directory = directory("wrong");
    for path in ["nowhere/file", "nowhere/"] {
        let path = directory.join(path);
        let path = path.to_str().unwrap();
        let ended =
            run(&mut example_words("modern", &["call", "fail", "-o", path, "-v"])).expect(1);
        assert!(ended.stderr.contains("there is no directory `"), "{ended:?}");
        assert!(!ended.stderr.contains("-> "), "{ended:?}");
    }
    let words = ["read", "memo://7", "-o", "x", "--json"];
    run(&mut example_words("modern", &words)).expect(1);
    #[cfg(target_os = "linux")]
    {
        let words = ["call", "echo", "message=a", "-o", "/dev/full"];
        let ended = run(&mut example_words("modern", &words)).expect(1);
        assert!(ended.stderr.starts_with("umcp: cannot write `/dev/full`: "), "{ended:?}");
        assert_eq!(ended.text(), "a\n");
    }
}
