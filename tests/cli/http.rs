//! Servers at a URL, on the loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::command::{example_server, run, umcp};
use crate::server::{Era, Server};

/// Serves every request with the status and the body that `answer` makes of its body. Returns the
/// URL. The threads end with the test.
fn serve(answer: impl Fn(&[u8]) -> (u16, String) + Clone + Send + 'static) -> String {
    serve_heads(move |_, body| answer(body))
}

/// The same for answers that depend on the head of the request, too.
fn serve_heads(answer: impl Fn(&str, &[u8]) -> (u16, String) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || exchange(stream, answer));
        }
    });
    url
}

fn exchange(
    stream: impl Read + Write,
    answer: impl Fn(&str, &[u8]) -> (u16, String),
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().ok()?,
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, body) = answer(&head, &body);
    let size = body.len();
    let kind = if body.starts_with("data:") { "text/event-stream" } else { "application/json" };
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\n\
         Content-Length: {size}\r\nConnection: close\r\n\r\n{body}"
    )
    .ok()?;
    reader.get_mut().flush().ok()
}

/// The example server behind HTTP.
fn example() -> String {
    serve(|body| (200, answer(&serde_json::from_slice(body).unwrap())))
}

fn answer(message: &Value) -> String {
    let mut reply = json!(null);
    // The last message is the reply; the others belong into an event stream.
    Server::new(Era::Modern).handle(message, &mut |message| reply = message);
    reply.to_string()
}

/// The same, which answers with event streams.
fn streaming() -> String {
    serve(|body| {
        let message = serde_json::from_slice(body).unwrap();
        let mut events = String::new();
        let mut send = |message: Value| events.push_str(&format!("data: {message}\n\n"));
        Server::new(Era::Modern).handle(&message, &mut send);
        (200, events)
    })
}

fn at(url: &str, words: &str) -> Command {
    umcp(words.split(' ').chain(["--url", url]))
}

#[test]
fn every_verb_works_over_http() {
    for url in [example(), streaming()] {
        every_verb_works_at(&url);
    }
}

fn every_verb_works_at(url: &str) {
    for (words, expected) in [
        ("info", "server        Example server (umcp-example-server) 1.0.0\n"),
        ("tools", "add(a: number, b: number)  Addition: Adds two numbers\n"),
        ("resources", "file:///notes/hello.txt  A greeting: A short text\n"),
        ("templates", "data://numbers/{n}  Square: n times n\n"),
        ("prompts", "greeting(name)        Greeting: Asks for a greeting\n"),
        ("call add a=2 b=3", "5\n"),
        ("call add --args {\"a\":2} b:=3", "5\n"),
        ("read file:///notes/hello.txt", "Hello from the example server.\n"),
        ("prompt greeting name=Ada", "user: Please greet Ada.\n"),
    ] {
        let ended = run(&mut at(url, words)).expect(0);
        assert!(ended.text().starts_with(expected), "{words}: {ended:?}");
        assert_eq!(ended.stderr, "", "{words}");
        run(&mut at(url, &format!("{words} --json"))).expect(0).json();
    }
    assert!(run(&mut at(url, "ping")).expect(0).text().ends_with(" ms\n"));
    run(&mut at(url, "call fail")).expect(5);
    run(&mut at(url, "read memo://99")).expect(5);
}

#[test]
fn what_is_turned_away_is_asked_again_if_that_is_wanted() {
    // Answers the first request of that method with that status.
    let flaky = |status: u16, method: &'static str| {
        let asked = Arc::new(AtomicUsize::new(0));
        serve(move |body| {
            let message: Value = serde_json::from_slice(body).unwrap();
            let is_it = message["method"] == method;
            match is_it && asked.fetch_add(1, Ordering::SeqCst) == 0 {
                true => (status, String::new()),
                false => (200, answer(&message)),
            }
        })
    };
    let url = flaky(429, "tools/call");
    let ended = run(&mut at(&url, "call add a=2 b=3 --retry 2")).expect(0);
    assert_eq!(ended.text(), "5\n");
    assert!(ended.stderr.contains("retried \"add\""), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    let url = flaky(429, "tools/call");
    run(&mut at(&url, "call add a=2 b=3")).expect(4);
    // It may have begun.
    let url = flaky(503, "tools/call");
    run(&mut at(&url, "call add a=2 b=3 --retry 2")).expect(4);
    let url = flaky(503, "resources/read");
    run(&mut at(&url, "read memo://1 --retry 2")).expect(0);
    let unreachable = "http://127.0.0.1:9/mcp";
    let ended = run(&mut at(unreachable, "ping --retry 1 --timeout 5s")).expect(4);
    assert!(ended.stderr.contains("127.0.0.1:9"), "{ended:?}");
}

#[test]
fn progress_and_log_messages_come_in_event_streams() {
    let words = "call countdown steps=2 --progress --log-level info";
    let ended = run(&mut at(&streaming(), words)).expect(0);
    assert_eq!(ended.text(), "counted 2 steps\n");
    let mut lines: Vec<_> = ended.stderr.lines().collect();
    lines.sort_unstable();
    let (one, two) = ("info countdown: step 1 of 2", "info countdown: step 2 of 2");
    assert_eq!(lines, ["1/2 step 1 of 2", "2/2 step 2 of 2", one, two]);
}

#[test]
fn authorization_is_3() {
    for status in [401, 403] {
        let url = serve(move |_| (status, String::new()));
        let ended = run(&mut at(&url, "tools --json")).expect(3);
        assert!(ended.stdout.is_empty());
        assert!(ended.stderr.contains(&format!("HTTP {status}")), "{ended:?}");
    }
}

#[test]
fn nobody_there_is_4() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    run(&mut at(&url, "info")).expect(4);
    let url = serve(|_| (404, String::new()));
    run(&mut at(&url, "info")).expect(4);
    let url = serve(|_| (503, "down for a while".to_owned()));
    let ended = run(&mut at(&url, "info")).expect(4);
    assert!(ended.stderr.contains("down for a while"), "{ended:?}");
}

#[test]
fn nonsense_is_6() {
    for body in ["", "<html>welcome</html>", "{}", "[]", r#"{"jsonrpc":"2.0","method":"x"}"#] {
        let url = serve(move |_| (200, body.to_owned()));
        let ended = run(&mut at(&url, "info")).expect(6);
        assert!(ended.stdout.is_empty() && ended.stderr.starts_with("umcp: "), "{body}: {ended:?}");
    }
}

#[test]
fn silence_is_124() {
    let url = serve(|body| {
        let message: Value = serde_json::from_slice(body).unwrap();
        if message["method"] == "tools/call" {
            loop {
                thread::park();
            }
        }
        (200, answer(&message))
    });
    let ended = run(&mut at(&url, "call slow seconds=50 --timeout 1s")).expect(124);
    assert!(ended.stderr.contains(r#"tools/call "slow": no reply"#), "{ended:?}");
}

#[test]
fn watching_ends_where_there_is_nothing_to_hear() {
    let ended = run(&mut at(&example(), "watch")).expect(4);
    assert!(ended.stdout.is_empty());
    assert!(ended.stderr.ends_with("declares no changes to listen to\n"), "{ended:?}");
}

#[test]
fn one_server_at_a_time() {
    let mut command = at("http://127.0.0.1:9/mcp", "info");
    let ended = run(command.arg("--").arg(example_server())).expect(1);
    assert_eq!(ended.stderr, "umcp: a URL and a command are two servers: give one\n");
}

const SECRET: &str = "hunter2-of-the-command";

/// Answers whoever brings these headers.
fn guarded(headers: &'static [&str]) -> String {
    serve_heads(|head, body| match headers.iter().all(|header| head.contains(header)) {
        true => (200, answer(&serde_json::from_slice(body).unwrap())),
        false => (401, String::new()),
    })
}

#[test]
fn headers_and_a_token_are_sent() {
    let url = guarded(&["x-tenant: blue\r\n", "authorization: Bearer hunter2-of-the-command\r\n"]);
    let with = |words: &[&str]| {
        let mut command = at(&url, "call add a=2 b=3 -vv");
        command.args(words).env("TOKEN", format!("{SECRET}\n"));
        command
    };
    for words in [
        &["--header", "X-Tenant: blue", "--bearer-env", "TOKEN"][..],
        &["--header=X-Tenant:blue", "--header", "Authorization: Bearer hunter2-of-the-command"],
    ] {
        let ended = run(&mut with(words)).expect(0);
        assert_eq!(ended.text(), "5\n");
        assert!(!ended.stderr.contains(SECRET), "{ended:?}");
    }
    let ended = run(&mut with(&["--bearer-env", "TOKEN"])).expect(3);
    assert!(!ended.stderr.contains(SECRET), "{ended:?}");
}

#[test]
fn what_cannot_be_sent_is_1_and_is_not_shown() {
    let here = "http://127.0.0.1:9/mcp";
    let away = "http://192.0.2.1/mcp";
    for (url, words, expected) in [
        (here, &["--header", SECRET][..], "`--header` takes a name and a value: 'Name: value'"),
        (
            here,
            &["--header", "Mcp-Name: hunter2-of-the-command"],
            "`mcp-name` is set by umcp itself",
        ),
        (here, &["--header", "hunter2-of-the-command x: y"], "its name is no name of a header"),
        (here, &["--bearer-env", "NO_TOKEN"], "there is no variable `NO_TOKEN`"),
        (here, &["--bearer-env", "BAD_TOKEN"], "--bearer-env: it has characters that no token has"),
        (here, &["--ca", "/no/such/file"], "`--ca`: file `/no/such/file`: "),
        (here, &["--key", "/no/such/file"], "give `--cert` too"),
        (away, &["--bearer-env", "TOKEN"], "the bearer token would cross the network unencrypted"),
        (away, &["--header", "X-Key: hunter2-of-the-command"], "or insist with --allow-plain-http"),
    ] {
        let mut command = at(url, "info");
        command.args(words).env("TOKEN", SECRET).env("BAD_TOKEN", format!("{SECRET} x"));
        let ended = run(&mut command).expect(1);
        assert!(ended.stderr.contains(expected), "{ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.contains(SECRET), "{ended:?}");
    }
    let mut command = umcp(["info", "--header", "X-Key: hunter2-of-the-command", "--"]);
    let ended = run(command.arg(example_server())).expect(1);
    assert!(ended.stderr.ends_with(": --header is for servers that are URLs\n"), "{ended:?}");
}

#[cfg(feature = "tls")]
#[test]
fn certificates_are_files() {
    use crate::command::file;
    use crate::tls_server::{Authority, accept, config};

    let (authority, clients) = (Authority::new(), Authority::new());
    let config = config(&authority.certify("127.0.0.1"), Some(&clients));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/mcp", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || {
                let answer =
                    |_: &str, body: &[u8]| (200, answer(&serde_json::from_slice(body).unwrap()));
                exchange(accept(&config, stream)?, answer)
            });
        }
    });
    let me = clients.certify("me");
    let ca = file("ca.pem", authority.pem().as_bytes());
    let certificate = file("certificate.pem", me.pem().as_bytes());
    let key = file("key.pem", me.key_pem().as_bytes());
    let both = file("both.pem", (me.key_pem() + &me.pem()).as_bytes());
    let with = |words: &[&str]| run(at(&url, "call add a=2 b=3").args(words));
    for words in [&["--cert", &certificate, "--key", &key][..], &["--cert", &both]] {
        assert_eq!(with(&[words, &["--ca", &ca]].concat()).expect(0).text(), "5\n");
    }
    let ended = with(&["--cert", &both]).expect(4);
    assert!(ended.stderr.contains("give the authority's own to --ca"), "{ended:?}");
    let ended = with(&["--ca", &ca]).expect(3);
    assert!(ended.stderr.contains("Give one to --cert"), "{ended:?}");
    let ended = with(&["--ca", &ca, "--cert", &certificate]).expect(1);
    assert!(ended.stderr.contains("--cert: there is no private key in it"), "{ended:?}");
    let ended = with(&["--ca", &key]).expect(1);
    assert!(ended.stderr.contains("--ca: there is no certificate in it"), "{ended:?}");
}
