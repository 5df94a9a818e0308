//! Opening: finding out the server's era, agreeing on a version, the legacy handshake. The peers
//! here keep the opening too, which those of `calls` leave out.

use std::io::{BufRead, Write};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use umcp::memory::{Peer, Received};
use umcp::{
    CancelToken, Client, CompletionReference, Era, EraMemory, Error, ErrorKind, LoggingLevel,
    ProtocolVersion, Result, Server, Timeouts,
};

use crate::calls::said;
use crate::common::{FOREVER, SHORT, at_once, example_server, over_pipes, soon, within};

const MODERN: &str = "2026-07-28";
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const LEGACY: [ProtocolVersion; 4] = [
    ProtocolVersion::V2025_11_25,
    ProtocolVersion::V2025_06_18,
    ProtocolVersion::V2025_03_26,
    ProtocolVersion::V2024_11_05,
];

/// The server's end of a connection, whose messages the test sees too.
pub struct Wire {
    peer: Peer,
    /// How many connections there were before this one.
    pub nth: usize,
    seen: Sender<Received>,
    ended: Arc<AtomicUsize>,
}

impl Wire {
    /// The next message, or `None` once the client has closed.
    pub fn receive(&self) -> Option<Received> {
        let message = self.peer.receive();
        match &message {
            Some(message) => drop(self.seen.send(message.clone())),
            None => drop(self.ended.fetch_add(1, Ordering::SeqCst)),
        }
        message
    }

    /// Goes through the opening in a version. Returns the first request after it.
    pub fn open(&self, version: ProtocolVersion) -> Option<Received> {
        loop {
            let message = self.receive()?;
            match message.method() {
                "server/discover" if version.era() == Era::Modern => {
                    self.reply(&message, discovered(&[MODERN]));
                }
                "server/discover" => self.reply_error(&message, -32601, "no such method", None),
                "initialize" => self.reply(&message, initialized(version.as_str())),
                // Or an answer to what the server asked meanwhile.
                "notifications/initialized" | "" => {}
                _ => return Some(message),
            }
        }
    }

    /// Answers what `next` is and all that follows it.
    pub fn serve(&self, mut next: Option<Received>) -> Option<()> {
        loop {
            let message = next?;
            if !message.id().is_null() && !message.method().is_empty() {
                self.reply(&message, result(&message));
            }
            next = self.receive();
        }
    }

    /// Answers nothing until the client closes.
    fn hold(&self) -> Option<()> {
        while self.receive().is_some() {}
        None
    }

    /// Refuses a request for its version.
    fn refuse_version(&self, request: &Received, supported: &[&str]) {
        let data =
            json!({ "supported": supported, "requested": request.param("/_meta")[VERSION_KEY] });
        self.reply_error(request, -32022, "unsupported protocol version", Some(data));
    }
}

impl Deref for Wire {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

/// What a server received, over all connections, from the first message on.
pub struct Log {
    seen: Receiver<Received>,
    ended: Arc<AtomicUsize>,
}

impl Log {
    /// All there is. A client that has closed, or did not open, has waited for its server's end.
    pub fn all(&self) -> Vec<Received> {
        self.seen.try_iter().collect()
    }

    /// How many connections the client has closed.
    fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

/// A server played by a function. What it returns means nothing: it ends where a `?` finds that
/// the client has closed, or where it likes, which ends the connection.
pub fn server(play: impl Fn(&Wire) -> Option<()> + Send + Sync + 'static) -> (Server, Log) {
    let (sender, seen) = mpsc::channel();
    let ended = Arc::<AtomicUsize>::default();
    let log = Log { seen, ended: ended.clone() };
    let count = AtomicUsize::new(0);
    let server = Server::in_memory(move |peer| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        play(&Wire { peer, nth, seen: sender.clone(), ended: ended.clone() });
    });
    (server, log)
}

/// A server that goes through the opening in a version and answers everything.
pub fn speaking(version: ProtocolVersion) -> (Server, Log) {
    server(move |wire| wire.serve(wire.open(version)))
}

pub fn everything() -> Value {
    json!({ "tools": {}, "resources": {}, "prompts": {}, "completions": {}, "logging": {} })
}

pub fn discovered(versions: &[&str]) -> Value {
    json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": everything(),
        "ttlMs": 0,
        "cacheScope": "private",
        "instructions": "be modern",
        "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "new", "version": "2" } },
    })
}

fn initialized(version: &str) -> Value {
    json!({
        "protocolVersion": version,
        "capabilities": everything(),
        "serverInfo": { "name": "old", "version": "1" },
        "instructions": "be legacy",
    })
}

/// A valid result for a request.
pub fn result(request: &Received) -> Value {
    match request.method() {
        "tools/call" => said(request.param("/name").as_str().unwrap_or_default()),
        "tools/list" => json!({ "tools": [] }),
        "resources/list" => json!({ "resources": [] }),
        "resources/templates/list" => json!({ "resourceTemplates": [] }),
        "resources/read" => json!({ "contents": [] }),
        "prompts/list" => json!({ "prompts": [] }),
        "prompts/get" => json!({ "messages": [] }),
        "completion/complete" => json!({ "completion": { "values": [] } }),
        _ => json!({}),
    }
}

/// What a server may be pinned to.
type Pinning = fn(Server) -> Server;

/// A call of the client's, and the method it becomes (in the modern era, if that matters).
pub type Call = (&'static str, fn(&Client) -> Result<()>);

pub const CALLS: [Call; 10] = [
    ("tools/list", |client| client.list_tools().map(drop)),
    ("tools/call", |client| client.call_tool("naïve ☃", json!({ "text": "𝄞" })).map(drop)),
    ("resources/list", |client| client.list_resources().map(drop)),
    ("resources/templates/list", |client| client.list_resource_templates().map(drop)),
    ("resources/read", |client| client.read_resource("file:///a").map(drop)),
    ("prompts/list", |client| client.list_prompts().map(drop)),
    ("prompts/get", |client| client.get_prompt("p", [("a", "b")]).map(drop)),
    ("completion/complete", |client| {
        client.complete(CompletionReference::prompt("p"), "a", "b").map(drop)
    }),
    ("server/discover", |client| client.ping().map(drop)),
    ("example/any", |client| client.request("example/any", ()).call().map(drop)),
];

/// Opens a client, closes it, and returns what came of it and all that was sent.
fn opened(server: Server, log: &Log) -> (Result<ProtocolVersion>, Vec<Received>) {
    let version = Client::open(server).map(|client| client.protocol_version());
    (version, log.all())
}

pub fn methods(received: &[Received]) -> Vec<&str> {
    received.iter().map(Received::method).collect()
}

/// The server, which counts as legacy after a short silence.
fn impatient(server: Server) -> Server {
    server.timeouts(Timeouts::default().patience(Duration::from_millis(50)))
}

fn version_named(request: &Received) -> &Value {
    &request.param("/_meta")[VERSION_KEY]
}

// ERA-4, ERA-8, ERA-39, ERA-44, RPC-25
#[test]
fn every_modern_request_names_its_version() {
    soon(|| {
        let (server, log) = speaking(ProtocolVersion::V2026_07_28);
        let client = Client::open(server).unwrap();
        for (_, call) in CALLS {
            call(&client).unwrap();
        }
        client.close();
        let received = log.all();
        let expected = CALLS.map(|(method, _)| method);
        assert_eq!(methods(&received), [&["server/discover"][..], &expected].concat());
        for request in received {
            assert_eq!(version_named(&request), MODERN, "{request:?}");
            let capabilities = "/_meta/io.modelcontextprotocol~1clientCapabilities";
            assert!(request.param(capabilities).is_object(), "{request:?}");
        }
    });
}

// ERA-4, ERA-22: a client that may only be modern has no reason to send what names no version,
// however long the server is silent.
#[test]
fn a_client_pinned_to_the_modern_era_never_leaves_the_version_out() {
    soon(|| {
        let (server, log) = server(|wire| wire.hold());
        let (version, received) = opened(impatient(server.era(Era::Modern)), &log);
        assert_eq!(version.unwrap_err().kind(), ErrorKind::Protocol);
        for request in received {
            assert_eq!(version_named(&request), MODERN, "{request:?}");
        }
    });
}

// ERA-12
#[test]
fn the_probe_comes_first_and_names_the_newest_version() {
    soon(|| {
        let pins: [Pinning; 3] = [
            |server| server,
            |server| server.era(Era::Modern),
            |server| server.version(ProtocolVersion::V2026_07_28),
        ];
        for pin in pins {
            let (server, log) = speaking(ProtocolVersion::V2026_07_28);
            let (version, received) = opened(pin(server), &log);
            assert_eq!(version.unwrap(), ProtocolVersion::V2026_07_28);
            assert_eq!(methods(&received), ["server/discover"]);
            assert_eq!(version_named(&received[0]), MODERN);
        }
    });
}

// ERA-3, ERA-7, ERA-10, ERA-11, ERA-13, ERA-47
#[test]
fn the_newest_common_version_is_spoken() {
    use ProtocolVersion::*;
    soon(|| {
        let lists: [(&[&str], _); 5] = [
            (&[MODERN], V2026_07_28),
            (&["2024-11-05", "2025-11-25", MODERN], V2026_07_28),
            (&["2099-01-01", MODERN], V2026_07_28),
            (&["2024-11-05", "2025-06-18", "2025-03-26"], V2025_06_18),
            (&["2099-01-01", "2024-11-05"], V2024_11_05),
        ];
        for (list, expected) in lists {
            let (server, log) = server(move |wire| {
                let probe = wire.receive()?;
                wire.reply(&probe, discovered(list));
                wire.serve(wire.open(expected))
            });
            let client = Client::open(server).unwrap();
            assert_eq!(client.protocol_version(), expected, "{list:?}");
            client.list_tools().unwrap();
            client.close();
            let received = log.all();
            if expected == V2026_07_28 {
                assert_eq!(methods(&received), ["server/discover", "tools/list"]);
                assert_eq!(version_named(&received[1]), MODERN);
            } else {
                let handshake = ["server/discover", "initialize", "notifications/initialized"];
                assert_eq!(methods(&received)[..3], handshake);
                assert_eq!(received[1].param("/protocolVersion"), expected.as_str());
            }
        }
    });
}

// ERA-13, ERA-58
#[test]
fn what_a_server_says_of_itself_is_known_in_both_eras() {
    soon(|| {
        for (version, name, instructions) in [
            (ProtocolVersion::V2026_07_28, "new", "be modern"),
            (ProtocolVersion::V2025_11_25, "old", "be legacy"),
        ] {
            let client = Client::open(speaking(version).0).unwrap();
            assert_eq!(client.server_info().unwrap().name, name);
            assert_eq!(client.instructions(), Some(instructions));
            assert!(client.capabilities().completions.is_some());
            assert!(client.capabilities().tasks.is_none());
        }
    });
}

// ERA-6, ERA-14
#[test]
fn a_request_refused_for_its_version_is_sent_again_in_a_listed_one() {
    soon(|| {
        for refused in ["server/discover", "tools/call"] {
            let (server, log) = server(move |wire| {
                let mut refusals = 1;
                loop {
                    let request = wire.receive()?;
                    if request.method() == refused && refusals > 0 {
                        refusals -= 1;
                        wire.refuse_version(&request, &["2099-01-01", MODERN, "2025-11-25"]);
                    } else if request.method() == "server/discover" {
                        wire.reply(&request, discovered(&[MODERN]));
                    } else {
                        wire.reply(&request, result(&request));
                    }
                }
            });
            let client = Client::open(server).unwrap();
            assert_eq!(client.call_tool("again", json!({})).unwrap().text(), "again");
            client.close();
            let received = log.all();
            let again: Vec<_> = received.iter().filter(|m| m.method() == refused).collect();
            let [first, second] = again[..] else { panic!("{again:?}") };
            assert_ne!(first.id(), second.id());
            assert_eq!(version_named(second), MODERN);
            assert_eq!(first.0["params"]["name"], second.0["params"]["name"]);
            assert_eq!(received.len(), 3, "{received:?}");
        }
    });
}

// ERA-7, ERA-14: once as it was sent, and once because the server's list says so.
#[test]
fn a_server_that_refuses_what_it_lists_is_not_asked_for_ever() {
    soon(|| {
        for refused in ["server/discover", "tools/call"] {
            let (server, log) = server(move |wire| {
                loop {
                    let request = wire.receive()?;
                    if request.method() == refused {
                        wire.refuse_version(&request, &[MODERN]);
                    } else {
                        wire.reply(&request, discovered(&[MODERN]));
                    }
                }
            });
            let called = Client::open(server).and_then(|client| client.call_tool("x", json!({})));
            assert_eq!(called.unwrap_err().rpc().unwrap().code, -32022);
            let received = log.all();
            assert_eq!(received.iter().filter(|m| m.method() == refused).count(), 2);
            assert!(received.iter().all(|message| message.method() != "initialize"));
        }
    });
}

// ERA-6, ERA-14, ERA-17
#[test]
fn a_recognised_modern_error_never_leads_to_initialize() {
    soon(|| {
        let answers = [
            (-32020, None, ErrorKind::Rpc),
            (-32021, Some(json!({ "requiredCapabilities": { "sampling": {} } })), ErrorKind::Rpc),
            (-32022, Some(json!({ "supported": ["2099-01-01"] })), ErrorKind::Protocol),
            (-32022, Some(json!({ "supported": [] })), ErrorKind::Protocol),
            (-32022, None, ErrorKind::Protocol),
        ];
        for (code, data, kind) in answers {
            let (server, log) = server(move |wire| {
                let probe = wire.receive()?;
                wire.reply_error(&probe, code, "in these words", data.clone());
                wire.serve(wire.open(ProtocolVersion::V2025_11_25))
            });
            let (version, received) = opened(server, &log);
            let error = version.unwrap_err();
            assert_eq!(error.kind(), kind, "{code}: {error}");
            assert!(!error.may_have_run());
            assert_eq!(methods(&received), ["server/discover"], "{code}");
            assert_eq!(log.ended(), 1);
        }
    });
}

// ERA-11, ERA-14: that is choosing a version, and no falling back.
#[test]
fn a_version_error_that_lists_legacy_versions_only_says_what_to_offer() {
    soon(|| {
        let (server, log) = server(|wire| {
            let probe = wire.receive()?;
            wire.refuse_version(&probe, &["2024-11-05", "2099-01-01", "2025-06-18"]);
            wire.serve(wire.open(ProtocolVersion::V2025_06_18))
        });
        let (version, received) = opened(server, &log);
        assert_eq!(version.unwrap(), ProtocolVersion::V2025_06_18);
        let all = ["server/discover", "initialize", "notifications/initialized"];
        assert_eq!(methods(&received), all);
        assert_eq!(received[1].param("/protocolVersion"), "2025-06-18");
    });
}

// ERA-6: the versions that the server lists are what a person needs to know.
#[test]
fn a_version_error_without_a_common_version_says_which_there_are() {
    soon(|| {
        let (server, log) = server(|wire| {
            let probe = wire.receive()?;
            wire.refuse_version(&probe, &["2099-01-01"]);
            wire.serve(wire.receive())
        });
        let error = opened(server, &log).0.unwrap_err().to_string();
        assert!(error.contains("2099-01-01") && error.contains(MODERN), "{error}");
    });
}

// ERA-15, ERA-16, ERA-17, ERA-18, RPC-8, RPC-37
#[test]
fn any_other_answer_to_the_probe_means_legacy() {
    soon(|| {
        // ERA-18: the shape of the data means nothing.
        let versions = json!({ "supported": [MODERN], "requested": MODERN });
        let codes = [
            -32700, -32600, -32601, -32602, -32603, -32000, -32001, -32002, -32003, -32004, -32019,
            -32023, -32042, -1, 0, 1, 404,
        ];
        let mut answers: Vec<Value> = Vec::new();
        for code in codes {
            for data in [&Value::Null, &versions] {
                let error = json!({ "code": code, "message": "no", "data": data });
                answers.push(json!({ "error": error }));
            }
        }
        answers.extend([
            json!({ "error": "no" }),
            json!({ "error": {} }),
            json!({ "result": {} }),
            json!({ "result": null }),
            json!({ "result": [] }),
            json!({ "result": { "tools": [] } }),
            json!({ "result": { "supportedVersions": MODERN, "capabilities": {} } }),
            json!({ "result": { "capabilities": {} } }),
            json!({ "result": discovered(&[MODERN]), "error": { "code": 1, "message": "both" } }),
            json!({}),
        ]);
        for answer in answers {
            let sent = answer.clone();
            let (server, log) = server(move |wire| {
                let probe = wire.receive()?;
                let mut answer = sent.clone();
                answer["jsonrpc"] = "2.0".into();
                answer["id"] = probe.id().clone();
                wire.send(answer);
                wire.serve(wire.open(ProtocolVersion::V2025_11_25))
            });
            let (version, received) = opened(server, &log);
            assert_eq!(version.unwrap(), ProtocolVersion::V2025_11_25, "{answer}");
            let all = ["server/discover", "initialize", "notifications/initialized"];
            assert_eq!(methods(&received), all, "{answer}");
        }
    });
}

// ERA-15, ERA-16, ERA-19: far sooner than by the default.
#[test]
fn silence_for_longer_than_patience_means_legacy() {
    assert!(Timeouts::default().patience >= Duration::from_secs(10));
    within(Duration::from_secs(5), || {
        let (server, log) = server(|wire| {
            wire.receive()?;
            wire.serve(wire.open(ProtocolVersion::V2025_11_25))
        });
        let (version, received) = opened(impatient(server), &log);
        assert_eq!(version.unwrap(), ProtocolVersion::V2025_11_25);
        let all = ["server/discover", "initialize", "notifications/initialized"];
        assert_eq!(methods(&received), all);
    });
}

// ERA-19
#[test]
fn the_clock_of_calls_does_not_end_the_probe() {
    soon(|| {
        let (server, log) = speaking(ProtocolVersion::V2026_07_28);
        let no_time = Timeouts::default().request(Duration::ZERO);
        let (version, _) = opened(server.timeouts(no_time), &log);
        assert_eq!(version.unwrap(), ProtocolVersion::V2026_07_28);
    });
}

// ERA-12, ERA-15: `ping` is never the first, and only for a server that has been silent for a while.
#[test]
fn a_silent_server_is_asked_for_a_sign_of_life_after_a_second() {
    soon(|| {
        let (server, log) = server(|wire| wire.hold());
        let token = CancelToken::new();
        let builder = Client::builder().cancel_token(&token);
        let opening = thread::spawn(|| builder.open(server));
        assert_eq!(log.seen.recv().unwrap().method(), "server/discover");
        let asked = Instant::now();
        let ping = log.seen.recv().unwrap();
        assert!(asked.elapsed() > Duration::from_millis(900), "{:?}", asked.elapsed());
        assert_eq!(ping.0, json!({ "jsonrpc": "2.0", "id": ping.id(), "method": "ping" }));
        token.cancel();
        assert_eq!(opening.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

// ERA-19: a package runner may still be downloading a server that has not written a byte. One that
// has, has no such excuse.
#[test]
fn a_server_that_has_not_written_anything_yet_gets_more_patience() {
    soon(|| {
        let (given_up, go_on) = mpsc::channel::<()>();
        let go_on = Mutex::new(go_on);
        let (sent, received) = mpsc::channel();
        let slow = over_pipes(move |mut reader, mut writer| {
            let probe = read_json(&mut reader)?;
            // Silent for longer than the other one may be.
            let _ = go_on.lock().unwrap().recv();
            write_json(&mut writer, &reply_to(&probe, discovered(&[MODERN])));
            while let Some(message) = read_json(&mut reader) {
                sent.send(message["method"].clone()).ok()?;
            }
            Some(())
        });
        let started = over_pipes(move |mut reader, mut writer| {
            writer.write_all(b"starting\n").ok()?;
            loop {
                let message = read_json(&mut reader)?;
                if message["method"] == "initialize" {
                    given_up.send(()).ok()?;
                    write_json(&mut writer, &reply_to(&message, initialized("2025-11-25")));
                }
            }
        });
        // From when it is seen to have written, so 3.5 s; and thrice as long, so 6 s.
        let patience = [(started, 2500), (slow, 2000)];
        let [started, slow] = patience.map(|(server, millis)| {
            let patience = Timeouts::default().patience(Duration::from_millis(millis));
            let server = server.timeouts(patience);
            thread::spawn(|| Client::open(server).unwrap().protocol_version().era())
        });
        assert_eq!(started.join().unwrap(), Era::Legacy);
        assert_eq!(slow.join().unwrap(), Era::Modern);
        assert_eq!(received.iter().collect::<Vec<_>>(), ["ping"]);
    });
}

fn read_json(reader: &mut impl BufRead) -> Option<Value> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    Some(serde_json::from_str(&line).unwrap())
}

fn write_json(writer: &mut impl Write, message: &Value) {
    // A client that is gone shows when reading.
    let _ = writer.write_all(format!("{message}\n").as_bytes());
}

fn reply_to(request: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
}

// ERA-43
#[test]
fn a_server_that_settles_on_the_era_of_its_last_message_is_followed() {
    soon(|| {
        // What it answers to the ping that it found behind the probe, and to `initialize`.
        let cases = [
            (Some(true), true, Era::Legacy),
            (Some(true), false, Era::Modern),
            (Some(false), true, Era::Modern),
            (None, true, Era::Modern),
        ];
        at_once(cases, |(pong, initializes, era)| {
            let (server, log) = server(move |wire| {
                let (probe, ping) = (wire.receive()?, wire.receive()?);
                wire.reply(&probe, discovered(&[MODERN]));
                match pong {
                    Some(true) => wire.reply(&ping, json!({})),
                    Some(false) => wire.reply_error(&ping, -32602, "not in this era", None),
                    None => {}
                }
                match initializes {
                    true => wire.serve(wire.open(ProtocolVersion::V2025_11_25)),
                    false => {
                        let initialize = wire.receive()?;
                        wire.reply_error(&initialize, -32601, "no such method", None);
                        wire.serve(wire.receive())
                    }
                }
            });
            let (version, received) = opened(server, &log);
            assert_eq!(version.unwrap().era(), era);
            let asks = methods(&received).contains(&"initialize");
            assert_eq!(asks, pong == Some(true), "{pong:?}");
        });
    });
}

// ERA-15, ERA-20: a server that is alive but will not answer need not be waited for. One that
// answers out of order is given a moment.
#[test]
fn a_ping_that_is_answered_before_the_probe_cuts_the_silence_short() {
    soon(|| {
        at_once([false, true], |answers_late| {
            let (server, log) = server(move |wire| {
                let (probe, ping) = (wire.receive()?, wire.receive()?);
                wire.reply(&ping, json!({}));
                if answers_late {
                    wire.reply(&probe, discovered(&[MODERN]));
                }
                wire.serve(wire.open(ProtocolVersion::V2025_11_25))
            });
            let patience = Timeouts::default().patience(FOREVER);
            let (version, received) = opened(server.timeouts(patience), &log);
            let era = if answers_late { Era::Modern } else { Era::Legacy };
            assert_eq!(version.unwrap().era(), era);
            assert_eq!(methods(&received)[..2], ["server/discover", "ping"]);
        });
    });
}

// ERA-15, ERA-19: modern servers have no `ping`. One that says so is not legacy for that, and may
// take its time over the probe.
#[test]
fn a_ping_that_is_refused_does_not_end_the_wait_for_the_probe() {
    soon(|| {
        let (answer, due) = mpsc::channel::<()>();
        let due = Mutex::new(due);
        let (server, log) = server(move |wire| {
            let (probe, ping) = (wire.receive()?, wire.receive()?);
            wire.reply_error(&ping, -32601, "no such method", None);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let _ = due.lock().unwrap().recv();
                    wire.reply(&probe, discovered(&[MODERN]));
                });
                wire.serve(wire.receive())
            })
        });
        let opening = thread::spawn(|| Client::open(server));
        for method in ["server/discover", "ping"] {
            assert_eq!(log.seen.recv().unwrap().method(), method);
        }
        let next = log.seen.recv_timeout(Duration::from_millis(500));
        assert_eq!(next.ok(), None, "sent although the server had not answered the probe");
        answer.send(()).unwrap();
        let client = opening.join().unwrap().unwrap();
        assert_eq!(client.protocol_version(), ProtocolVersion::V2026_07_28);
    });
}

// ERA-19: the log messages of a call are its own while nothing else is pending.
#[test]
fn a_sign_of_life_that_is_never_answered_leaves_nothing_pending() {
    soon(|| {
        let (server, _log) = server(|wire| {
            let probe = wire.receive()?;
            // After a second of silence.
            assert_eq!(wire.receive()?.method(), "ping");
            wire.reply(&probe, discovered(&[MODERN]));
            let call = wire.receive()?;
            wire.notify("notifications/message", json!({ "level": "info", "data": "mine" }));
            wire.serve(Some(call))
        });
        let client = Client::open(server).unwrap();
        let mut logged = Vec::new();
        let called = client.tool("x").on_log(|message| logged.push(message.data.clone())).call();
        assert_eq!(called.unwrap().text(), "x");
        assert_eq!(logged, ["mine"]);
    });
}

// ERA-20, ERA-14, ERA-56
#[test]
fn a_late_discover_result_proves_the_server_modern() {
    soon(|| {
        let (server, log) = server(|wire| {
            let (probe, initialize) = (wire.receive()?, wire.receive()?);
            wire.reply(&probe, discovered(&[MODERN]));
            wire.reply(&initialize, initialized("2025-11-25"));
            wire.serve(wire.receive())
        });
        let client = Client::open(impatient(server)).unwrap();
        assert_eq!(client.protocol_version(), ProtocolVersion::V2026_07_28);
        assert_eq!(client.instructions(), Some("be modern"));
        client.list_tools().unwrap();
        client.close();
        let received = log.all();
        assert_eq!(methods(&received), ["server/discover", "initialize", "tools/list"]);
        assert_eq!(version_named(&received[2]), MODERN);
    });
}

// ERA-20, RPC-15
#[test]
fn a_late_answer_to_the_probe_changes_nothing_otherwise() {
    type Late = fn(&Wire, &Received, &Received) -> Option<()>;
    let after_initialize: Late = |wire, probe, initialize| {
        wire.reply(initialize, initialized("2025-11-25"));
        wire.reply(probe, discovered(&[MODERN]));
        Some(())
    };
    let an_error: Late = |wire, probe, initialize| {
        wire.reply_error(probe, -32601, "no such method", None);
        wire.reply(initialize, initialized("2025-11-25"));
        Some(())
    };
    // From a server that wants a sign of life before it goes on.
    let another_result: Late = |wire, probe, initialize| {
        wire.reply(probe, json!({}));
        wire.send(json!({ "jsonrpc": "2.0", "id": "alive?", "method": "ping" }));
        assert_eq!(wire.receive()?.id(), "alive?");
        wire.reply(initialize, initialized("2025-11-25"));
        Some(())
    };
    soon(move || {
        for late in [after_initialize, an_error, another_result] {
            let (server, log) = server(move |wire| {
                let (probe, initialize) = (wire.receive()?, wire.receive()?);
                late(wire, &probe, &initialize)?;
                wire.serve(wire.receive())
            });
            let client = Client::open(impatient(server)).unwrap();
            assert_eq!(client.protocol_version(), ProtocolVersion::V2025_11_25);
            client.list_tools().unwrap();
            client.close();
            let mut received = log.all();
            received.retain(|message| !message.method().is_empty());
            let all = ["server/discover", "initialize", "notifications/initialized", "tools/list"];
            assert_eq!(methods(&received), all);
            assert_eq!(version_named(&received[3]), &Value::Null);
        }
    });
}

// ERA-21
#[test]
fn a_server_that_ends_at_the_probe_is_started_once_more_without_it() {
    soon(|| {
        let (server, log) = server(|wire| {
            if wire.nth == 0 {
                wire.receive()?;
                return None;
            }
            wire.serve(wire.open(ProtocolVersion::V2025_11_25))
        });
        let (version, received) = opened(server, &log);
        assert_eq!(version.unwrap(), ProtocolVersion::V2025_11_25);
        let all = ["server/discover", "initialize", "notifications/initialized"];
        assert_eq!(methods(&received), all);
    });
}

// ERA-21
#[test]
fn a_server_that_ends_again_is_an_error() {
    soon(|| {
        let pins: [(Pinning, &[&str]); 3] = [
            (|server| server, &["server/discover", "initialize"]),
            // What is no probe, or may not become legacy, is not tried again.
            (|server| server.era(Era::Modern), &["server/discover"]),
            (|server| server.era(Era::Legacy), &["initialize"]),
        ];
        for (pin, sent) in pins {
            let (server, log) = server(|wire| wire.receive().map(drop));
            let (version, received) = opened(pin(server), &log);
            assert_eq!(version.unwrap_err().kind(), ErrorKind::Disconnected);
            assert_eq!(methods(&received), sent);
        }
    });
}

/// A legacy server that ends when it is asked for its era.
#[cfg(unix)]
const SCRIPT: &str = r#"
    while read -r line; do
        id=${line#*'"id":'}; id=${id%%,*}
        case $line in
            *'"server/discover"'*) echo 'what is that?' >&2; exit 3 ;;
            *'"initialize"'*)
                result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}}'
                result=$result',"serverInfo":{"name":"sh","version":"1"}}' ;;
            *'"tools/list"'*) result='{"tools":[]}' ;;
            *) continue ;;
        esac
        printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
    done
"#;

// ERA-21
#[cfg(unix)]
#[test]
fn a_process_that_exits_at_the_probe_is_started_once_more_without_it() {
    soon(|| {
        let server = Server::command("sh").args(["-c", SCRIPT]);
        let client = Client::open(server.clone()).unwrap();
        assert_eq!(client.protocol_version(), ProtocolVersion::V2025_06_18);
        assert!(client.list_tools().unwrap().is_empty());
        let error = Client::open(server.era(Era::Modern)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        assert_eq!(error.exit_status().unwrap().code(), Some(3));
        assert_eq!(error.stderr_tail(), Some("what is that?\n"));
    });
}

// ERA-21: it is silent, and dies of what comes next.
#[test]
fn a_server_that_ignores_the_probe_and_ends_later_is_started_once_more_without_it() {
    soon(|| {
        for (patience, dies_of) in [(FOREVER, "ping"), (Duration::from_millis(50), "initialize")] {
            let (server, log) = server(move |wire| {
                if wire.nth > 0 {
                    return wire.serve(wire.open(ProtocolVersion::V2025_03_26));
                }
                while wire.receive()?.method() != dies_of {}
                None
            });
            let server = server.timeouts(Timeouts::default().patience(patience));
            let (version, received) = opened(server, &log);
            assert_eq!(version.unwrap(), ProtocolVersion::V2025_03_26);
            let all = ["server/discover", dies_of, "initialize", "notifications/initialized"];
            assert_eq!(methods(&received), all);
        }
    });
}

// ERA-21: a server that closes its stdout has ended, also if its process lives on; and one that
// dies of a `ping`.
#[cfg(unix)]
#[test]
fn a_process_that_cannot_go_on_after_the_probe_is_started_once_more_without_it() {
    soon(|| {
        let closes = SCRIPT.replace("exit 3", "exec >&-; exec sleep 1000");
        let dies_later = SCRIPT.replace("exit 3", "continue").replace(
            "*) continue",
            "*'\"ping\"'*) exit 3 ;;
            *) continue",
        );
        at_once([closes, dies_later], |script| {
            assert_ne!(script, SCRIPT);
            let client = Client::spawn(["sh", "-c", &script]).unwrap();
            assert_eq!(client.protocol_version(), ProtocolVersion::V2025_06_18);
            assert!(client.list_tools().unwrap().is_empty());
        });
    });
}

// ERA-22, ERA-23
#[test]
fn a_client_that_may_only_be_modern_fails_clearly_at_a_legacy_server() {
    soon(|| {
        let pins: [Pinning; 2] = [
            |server| server.era(Era::Modern),
            |server| server.version(ProtocolVersion::V2026_07_28),
        ];
        for pin in pins {
            let (server, log) = speaking(ProtocolVersion::V2025_11_25);
            let (version, received) = opened(pin(server.name("old-one")), &log);
            let error = version.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let text = error.to_string();
            for part in ["old-one", MODERN, "update the server", "pinned"] {
                assert!(text.contains(part), "{text}");
            }
            assert_eq!(methods(&received), ["server/discover"]);
            assert_eq!(log.ended(), 1);
        }
    });
}

// ERA-45, ERA-46, ERA-47, ERA-48
#[test]
fn initialize_is_the_first_message_and_offers_the_newest_allowed_version() {
    soon(|| {
        let pins: [(Pinning, _); 5] = [
            (|server| server.era(Era::Legacy), LEGACY[0]),
            (|server| server.version(LEGACY[0]), LEGACY[0]),
            (|server| server.version(LEGACY[1]), LEGACY[1]),
            (|server| server.version(LEGACY[2]), LEGACY[2]),
            (|server| server.version(LEGACY[3]), LEGACY[3]),
        ];
        for (pin, version) in pins {
            let (server, log) = speaking(version);
            let client = Client::builder().client_info("me", "7").open(pin(server)).unwrap();
            assert_eq!(client.protocol_version(), version);
            client.close();
            let received = log.all();
            assert_eq!(received[0].method(), "initialize");
            assert_eq!(
                received[0].0["params"],
                json!({
                    "protocolVersion": version.as_str(),
                    "capabilities": {},
                    "clientInfo": { "name": "me", "version": "7" },
                })
            );
        }
    });
}

// ERA-49, ERA-50, ERA-51, RPC-15
#[test]
fn the_handshake_has_its_order_and_the_server_may_already_ping_and_log() {
    soon(|| {
        let (server, log) = server(|wire| {
            let ping = |id| wire.send(json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }));
            let say = |data| {
                wire.notify("notifications/message", json!({ "level": "info", "data": data }));
            };
            let initialize = wire.receive()?;
            ping("early");
            say("early");
            // The client has not got its result: nothing but the answer to the ping may come.
            wire.receive()?;
            wire.reply(&initialize, initialized("2025-11-25"));
            ping("late");
            say("late");
            wire.serve(wire.receive())
        });
        let (heard, hear) = mpsc::channel();
        let client = Client::builder()
            .on_notification(move |notification, _| {
                heard.send(notification.log_message().unwrap().data).unwrap();
            })
            .open(server.era(Era::Legacy))
            .unwrap();
        assert_eq!([hear.recv().unwrap(), hear.recv().unwrap()], ["early", "late"]);
        client.list_tools().unwrap();
        client.close();
        let received = log.all();
        assert_eq!(received[1].0, json!({ "jsonrpc": "2.0", "id": "early", "result": {} }));
        let (answers, ours): (Vec<_>, Vec<_>) =
            received.into_iter().partition(|message| message.method().is_empty());
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[1].0, json!({ "jsonrpc": "2.0", "id": "late", "result": {} }));
        assert_eq!(methods(&ours), ["initialize", "notifications/initialized", "tools/list"]);
        let expected = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(ours[1].0, expected);
    });
}

// ERA-52
#[test]
fn a_version_the_client_may_not_speak_ends_the_connection() {
    soon(|| {
        let any: Pinning = |server| server;
        let one: Pinning = |server| server.version(ProtocolVersion::V2025_06_18);
        for (pin, version) in [
            (any, MODERN),
            (any, "2099-01-01"),
            (any, "1.0"),
            (any, ""),
            (one, "2025-03-26"),
            (one, "2025-11-25"),
        ] {
            let (server, log) = server(move |wire| {
                loop {
                    let request = wire.receive()?;
                    match request.method() {
                        "initialize" => wire.reply(&request, initialized(version)),
                        _ => wire.reply_error(&request, -32601, "no such method", None),
                    }
                }
            });
            let (opened, received) = opened(pin(server), &log);
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{version}: {error}");
            assert!(error.to_string().contains(version), "{error}");
            assert_eq!(received.last().unwrap().method(), "initialize");
            assert_eq!(log.ended(), 1);
        }
    });
}

// ERA-39, ERA-44, ERA-53
#[test]
fn a_session_keeps_to_the_version_the_server_chose() {
    soon(|| {
        for version in LEGACY {
            let (server, log) = speaking(version);
            let client = Client::open(server).unwrap();
            assert_eq!(client.protocol_version(), version);
            client.set_log_level(LoggingLevel::Debug).unwrap();
            for (_, call) in CALLS {
                call(&client).unwrap();
            }
            client.close();
            let received = log.all();
            assert_eq!(methods(&received)[..2], ["server/discover", "initialize"]);
            assert!(methods(&received).contains(&"ping"));
            for message in &received[1..] {
                assert!(!message.0.to_string().contains("io.modelcontextprotocol/"), "{message:?}");
                assert_ne!(message.method(), "server/discover");
            }
        }
    });
}

// ERA-53, ERA-55, LOG-4
#[test]
fn what_the_server_did_not_declare_is_not_asked_for() {
    soon(|| {
        for version in ProtocolVersion::ALL.iter().copied() {
            let (server, log) = server(move |wire| {
                loop {
                    let request = wire.receive()?;
                    let mut answer = match request.method() {
                        "server/discover" if version.era() == Era::Modern => discovered(&[MODERN]),
                        "initialize" => initialized(version.as_str()),
                        _ => continue,
                    };
                    answer["capabilities"] = json!({ "x": {} });
                    wire.reply(&request, answer);
                }
            });
            let client = Client::open(server.version(version)).unwrap();
            let before = log.all().len();
            for (method, call) in CALLS {
                // What has no capability of its own, or had none yet.
                let is_free = matches!(method, "server/discover" | "example/any")
                    || (method == "completion/complete" && version < LEGACY[2]);
                if !is_free {
                    let error = call(&client).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Unsupported, "{version} {method}");
                    assert!(!error.may_have_run());
                }
            }
            if version.era() == Era::Legacy {
                let error = client.set_log_level(LoggingLevel::Debug).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported);
            }
            client.close();
            assert!(before > 0);
            let after = log.all();
            assert!(after.iter().all(|m| m.method() == "notifications/initialized"), "{after:?}");
        }
    });
}

// ERA-54
#[test]
fn initialize_is_tried_once_more_in_a_version_the_error_lists() {
    const NEWEST: &str = "2025-11-25";
    soon(|| {
        // What each refusal lists, and what is offered.
        let cases: [(&[&[&str]], &[&str]); 6] = [
            (&[&["2024-11-05", "2025-03-26"]], &[NEWEST, "2025-03-26"]),
            (&[&[MODERN, "2025-03-26"]], &[NEWEST, "2025-03-26"]),
            // Refused again.
            (&[&["2025-03-26"], &["2025-03-26"]], &[NEWEST, "2025-03-26"]),
            (&[&["2025-03-26"], &["2024-11-05"]], &[NEWEST, "2025-03-26"]),
            // Nothing else that could be offered.
            (&[&[NEWEST]], &[NEWEST]),
            (&[&[MODERN]], &[NEWEST]),
        ];
        for (refusals, offers) in cases {
            let (server, log) = server(move |wire| {
                let probe = wire.receive()?;
                wire.reply_error(&probe, -32601, "no such method", None);
                for supported in refusals {
                    let initialize = wire.receive()?;
                    let data = json!({ "supported": supported, "requested": NEWEST });
                    wire.reply_error(&initialize, -32602, "not this one", Some(data));
                }
                wire.serve(wire.open(ProtocolVersion::V2025_03_26))
            });
            let (version, received) = opened(server, &log);
            let offered: Vec<_> = received
                .iter()
                .filter(|message| message.method() == "initialize")
                .map(|message| message.param("/protocolVersion"))
                .collect();
            assert_eq!(offered, offers, "{refusals:?}");
            if refusals.len() < offers.len() {
                assert_eq!(version.unwrap(), ProtocolVersion::V2025_03_26);
            } else {
                assert_eq!(version.unwrap_err().rpc().unwrap().code, -32602);
            }
        }
    });
}

// ERA-55, ERA-56
#[test]
fn a_handshake_that_takes_too_long_fails_and_is_not_cancelled() {
    soon(|| {
        let (server, log) = server(|wire| wire.hold());
        let timeouts = Timeouts::default().connect(Duration::from_millis(50));
        let (version, received) = opened(server.era(Era::Legacy).timeouts(timeouts), &log);
        let error = version.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert!(!error.may_have_run());
        assert_eq!(methods(&received), ["initialize"]);
        assert_eq!(log.ended(), 1);
    });
}

// ERA-20, ERA-56
#[test]
fn connecting_can_be_cancelled_and_the_server_is_not_told() {
    soon(|| {
        for stage in ["server/discover", "initialize"] {
            let (reached, at) = mpsc::channel();
            let (server, log) = server(move |wire| {
                loop {
                    let request = wire.receive()?;
                    match request.method() == stage {
                        true => reached.send(()).unwrap(),
                        false => wire.reply_error(&request, -32601, "no such method", None),
                    }
                }
            });
            let token = CancelToken::new();
            let cancel = token.clone();
            let canceller = thread::spawn(move || {
                at.recv().unwrap();
                cancel.cancel();
            });
            let error = Client::builder().cancel_token(&token).open(server).unwrap_err();
            canceller.join().unwrap();
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{stage}: {error}");
            assert!(!error.may_have_run());
            let received = log.all();
            assert_eq!(received.last().unwrap().method(), stage);
            assert!(!methods(&received).contains(&"notifications/cancelled"));
            assert_eq!(log.ended(), 1);
        }
    });
}

#[test]
fn a_token_that_is_cancelled_already_opens_nothing() {
    soon(|| {
        let (server, log) = server(|wire| wire.serve(wire.receive()));
        let token = CancelToken::new();
        token.cancel();
        let error = Client::builder().cancel_token(&token).open(server).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(log.ended(), 1);
    });
}

#[test]
fn a_token_for_connecting_does_not_end_later_calls() {
    soon(|| {
        let (server, _log) = speaking(ProtocolVersion::V2025_11_25);
        let token = CancelToken::new();
        let client = Client::builder().cancel_token(&token).open(server).unwrap();
        token.cancel();
        assert_eq!(client.call_tool("goes on", json!({})).unwrap().text(), "goes on");
    });
}

// ERA-55
#[cfg(unix)]
#[test]
fn a_server_that_does_not_end_is_ended_by_force() {
    soon(|| {
        let script = format!("trap '' TERM\n{SCRIPT}\nwhile :; do sleep 60; done");
        let grace = Duration::from_millis(50);
        let server = Server::command("sh")
            .args(["-c", &script])
            .era(Era::Legacy)
            .timeouts(Timeouts::default().close_grace(grace).kill_grace(grace));
        let client = Client::open(server).unwrap();
        let report = client.close();
        assert!(report.forced && !report.left_behind, "{report:?}");
        assert!(!report.exit_status.unwrap().success());
    });
}

// ERA-57
#[test]
fn the_server_s_own_words_on_initialize_reach_the_user() {
    soon(|| {
        for code in [-32022, -32602, -32601, -32000, 0] {
            let (server, log) = server(move |wire| {
                let initialize = wire.receive()?;
                let words = "speak 2026-07-28 with me";
                wire.reply_error(&initialize, code, words, None);
                wire.serve(wire.receive())
            });
            let (version, received) = opened(server.era(Era::Legacy), &log);
            let error = version.unwrap_err();
            assert!(error.to_string().contains("speak 2026-07-28 with me"), "{error}");
            assert_eq!(error.rpc().unwrap().code, code);
            assert_eq!(methods(&received), ["initialize"]);
        }
    });
}

// ERA-51, ERA-55: the listener waits for the client, which there never will be.
#[test]
fn a_notification_before_a_failed_handshake_does_not_hold_it_up() {
    soon(|| {
        let (server, _log) = server(|wire| {
            let initialize = wire.receive()?;
            wire.notify("notifications/message", json!({ "level": "info", "data": "hello" }));
            wire.reply_error(&initialize, -32603, "out of order", None);
            wire.serve(wire.receive())
        });
        let timeouts = Timeouts::default().close_grace(FOREVER);
        let error = Client::builder()
            .on_notification(|_, _| ())
            .open(server.era(Era::Legacy).timeouts(timeouts))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rpc);
    });
}

// ERA-1, ERA-12, ERA-22, ERA-23, ERA-43, ERA-57, RPC-1, STDIO-9: the matrix of the specification, with a
// process.
#[test]
fn the_compatibility_matrix_holds() {
    let failed = |error: &Error| !matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Closed);
    soon(move || {
        for (pin, server, expected) in [
            (None, "modern", Some(Era::Modern)),
            (None, "legacy", Some(Era::Legacy)),
            (None, "both", Some(Era::Modern)),
            (Some(Era::Modern), "modern", Some(Era::Modern)),
            (Some(Era::Modern), "legacy", None),
            (Some(Era::Modern), "both", Some(Era::Modern)),
            (Some(Era::Legacy), "modern", None),
            (Some(Era::Legacy), "legacy", Some(Era::Legacy)),
            (Some(Era::Legacy), "both", Some(Era::Legacy)),
        ] {
            let example = example_server(server);
            let client = Client::open(pin.map_or(example.clone(), |era| example.era(era)));
            match (client, expected) {
                (Ok(client), Some(era)) => {
                    assert_eq!(client.protocol_version().era(), era, "{pin:?} {server}");
                    assert!(!client.list_tools().unwrap().is_empty());
                }
                (Err(error), None) => {
                    assert!(failed(&error), "{error}");
                    assert!(error.to_string().contains(MODERN), "{error}");
                }
                (client, _) => panic!("{pin:?} {server}: {client:?}"),
            }
        }
    });
}

/// A memory of one server, and all that was done with it.
#[derive(Default)]
struct Remembered {
    era: Mutex<Option<Era>>,
    recalls: AtomicUsize,
    changes: Mutex<Vec<Option<Era>>>,
}

impl Remembered {
    fn change(&self, era: Option<Era>) {
        *self.era.lock().unwrap() = era;
        self.changes.lock().unwrap().push(era);
    }
}

impl EraMemory for Remembered {
    fn recall(&self, server: &str) -> Option<Era> {
        assert!(server.starts_with("remembered "), "{server}");
        self.recalls.fetch_add(1, Ordering::SeqCst);
        *self.era.lock().unwrap()
    }

    fn remember(&self, _: &str, era: Era) {
        self.change(Some(era));
    }

    fn forget(&self, _: &str) {
        self.change(None);
    }
}

/// Opens a client for a server of which an era is remembered. Returns what came of it, what was
/// sent, and how the memory changed.
fn recalling(
    era: Option<Era>,
    server: Server,
    log: &Log,
) -> (Result<ProtocolVersion>, Vec<Received>, Vec<Option<Era>>) {
    let memory = Arc::new(Remembered::default());
    *memory.era.lock().unwrap() = era;
    let builder = Client::builder().era_memory(memory.clone());
    let version = builder.open(server.name("remembered")).map(|client| client.protocol_version());
    let changes = memory.changes.lock().unwrap().clone();
    (version, log.all(), changes)
}

// ERA-40
#[test]
fn what_was_found_out_once_is_not_found_out_again() {
    soon(|| {
        let handshake = ["initialize", "notifications/initialized"];
        for (version, first, then) in [
            (LEGACY[2], &["server/discover", handshake[0], handshake[1]][..], &handshake[..]),
            (ProtocolVersion::V2026_07_28, &["server/discover"], &["server/discover"]),
        ] {
            let memory = Arc::new(Remembered::default());
            let (server, log) = speaking(version);
            let server = server.name("remembered");
            for expected in [first, then, then] {
                let builder = Client::builder().era_memory(memory.clone());
                let client = builder.open(server.clone()).unwrap();
                assert_eq!(client.protocol_version(), version);
                client.close();
                assert_eq!(methods(&log.all()), expected);
            }
            // Nothing is written that is there already.
            assert_eq!(*memory.changes.lock().unwrap(), [Some(version.era())]);
            assert_eq!(memory.recalls.load(Ordering::SeqCst), 3);
        }
    });
}

// ERA-42, ERA-44
#[test]
fn a_server_that_was_legacy_and_refuses_initialize_is_asked_for_its_era() {
    soon(|| {
        let refusals = [
            (-32022, "not this version", Some(json!({ "supported": [MODERN] }))),
            (-32022, "not this version", None),
            // Named in the data or the message, whatever else could be offered.
            (-32602, "no", Some(json!({ "supported": ["2025-03-26", MODERN] }))),
            (-32602, "I speak 2026-07-28", Some(json!({ "supported": ["2025-03-26"] }))),
            (-32000, "I speak 2026-07-28", None),
            // A modern server that names nothing.
            (-32601, "no such method", None),
            (-32602, "`_meta` is missing", None),
        ];
        for (code, message, data) in refusals {
            let (server, log) = server(move |wire| {
                assert_eq!(wire.nth, 0);
                let initialize = wire.receive()?;
                wire.reply_error(&initialize, code, message, data.clone());
                wire.serve(wire.open(ProtocolVersion::V2026_07_28))
            });
            let (version, received, changes) = recalling(Some(Era::Legacy), server, &log);
            assert_eq!(version.unwrap(), ProtocolVersion::V2026_07_28, "{code} {message}");
            assert_eq!(methods(&received), ["initialize", "server/discover"]);
            assert_eq!(received[0].param("/_meta"), &Value::Null);
            assert_eq!(version_named(&received[1]), MODERN);
            assert_eq!(changes, [Some(Era::Modern)]);
        }
    });
}

// ERA-42, ERA-54: an error that speaks of older versions only is no sign of a modern server.
#[test]
fn a_server_that_was_legacy_may_still_choose_another_version() {
    soon(|| {
        let (server, log) = server(|wire| {
            let initialize = wire.receive()?;
            let data = json!({ "supported": ["2024-11-05"], "requested": "2025-11-25" });
            wire.reply_error(&initialize, -32602, "not this one", Some(data));
            wire.serve(wire.open(ProtocolVersion::V2024_11_05))
        });
        let (version, received, changes) = recalling(Some(Era::Legacy), server, &log);
        assert_eq!(version.unwrap(), ProtocolVersion::V2024_11_05);
        assert_eq!(methods(&received), ["initialize", "initialize", "notifications/initialized"]);
        assert_eq!(changes, []);
    });
}

// ERA-42: one that refuses both is not asked for ever, and nothing is remembered of it. One that
// only had a bad moment is still legacy.
#[test]
fn a_server_that_was_legacy_is_asked_for_its_era_once() {
    soon(|| {
        for recovers in [true, false] {
            let (server, log) = server(move |wire| {
                for method in ["initialize", "server/discover"] {
                    let request = wire.receive()?;
                    assert_eq!(request.method(), method);
                    wire.reply_error(&request, -32603, "out of order", None);
                }
                if recovers {
                    return wire.serve(wire.open(ProtocolVersion::V2025_06_18));
                }
                let request = wire.receive()?;
                wire.reply_error(&request, -32603, "out of order", None);
                wire.serve(wire.receive())
            });
            let (version, received, changes) = recalling(Some(Era::Legacy), server, &log);
            let asked = ["initialize", "server/discover", "initialize"];
            assert_eq!(methods(&received)[..3], asked);
            if recovers {
                assert_eq!(version.unwrap(), ProtocolVersion::V2025_06_18);
                assert_eq!(changes, []);
            } else {
                assert_eq!(version.unwrap_err().rpc().unwrap().code, -32603);
                assert_eq!((received.len(), changes), (3, vec![None]));
            }
        }
    });
}

// ERA-21, ERA-42: what is found out after all is found out as ever.
#[test]
fn a_server_that_was_legacy_and_dies_of_the_probe_after_all_is_started_once_more_without_it() {
    soon(|| {
        let (server, log) = server(|wire| {
            if wire.nth > 0 {
                return wire.serve(wire.open(ProtocolVersion::V2025_06_18));
            }
            let initialize = wire.receive()?;
            wire.reply_error(&initialize, -32603, "not now", None);
            wire.receive().map(drop)
        });
        let (version, received, changes) = recalling(Some(Era::Legacy), server, &log);
        assert_eq!(version.unwrap(), ProtocolVersion::V2025_06_18);
        let all = ["initialize", "server/discover", "initialize", "notifications/initialized"];
        assert_eq!(methods(&received), all);
        assert_eq!(changes, []);
    });
}

// ERA-42: on another connection, as this one is over or in an unknown state.
#[test]
fn a_server_that_was_legacy_and_breaks_at_initialize_is_started_once_more_with_the_probe() {
    soon(|| {
        let both = json!({ "result": initialized("2025-11-25"), "error": { "code": 1 } });
        let breaks = [
            None,
            Some(json!({ "result": initialized(MODERN) })),
            Some(json!({ "result": {} })),
            Some(json!({})),
            Some(both),
        ];
        let eras = [(ProtocolVersion::V2026_07_28, true), (ProtocolVersion::V2025_11_25, false)];
        for (answer, (version, is_news)) in
            breaks.into_iter().flat_map(|answer| eras.map(|era| (answer.clone(), era)))
        {
            let sent = answer.clone();
            let (server, log) = server(move |wire| {
                if wire.nth > 0 {
                    return wire.serve(wire.open(version));
                }
                let initialize = wire.receive()?;
                let mut answer = sent.clone()?;
                answer["jsonrpc"] = "2.0".into();
                answer["id"] = initialize.id().clone();
                wire.send(answer);
                wire.serve(wire.receive())
            });
            let (opened, received, changes) = recalling(Some(Era::Legacy), server, &log);
            assert_eq!(opened.unwrap(), version, "{answer:?}");
            assert_eq!(methods(&received)[..2], ["initialize", "server/discover"]);
            assert_eq!(changes, vec![Some(Era::Modern); usize::from(is_news)]);
        }
    });
}

// ERA-42
#[test]
fn a_server_that_ends_whatever_it_is_sent_is_started_twice() {
    soon(|| {
        let (server, log) = server(|wire| wire.receive().map(drop));
        let (version, received, changes) = recalling(Some(Era::Legacy), server, &log);
        assert_eq!(version.unwrap_err().kind(), ErrorKind::Disconnected);
        assert_eq!(methods(&received), ["initialize", "server/discover"]);
        assert_eq!(changes, [None]);
    });
}

// ERA-42: it is not legacy for being silent for a while, and is sent nothing but the probe.
#[test]
fn a_server_that_was_modern_is_asked_as_ever_but_for_the_ping() {
    soon(|| {
        type Answer = fn(&Wire, &Received) -> Option<()>;
        let refuses: Answer = |wire, probe| {
            wire.reply_error(probe, -32601, "no such method", None);
            Some(())
        };
        let answers: [(Answer, &[&str]); 3] = [
            (refuses, &["server/discover", "initialize"]),
            (|_, _| Some(()), &["server/discover", "initialize"]),
            (|wire, _| (wire.nth > 0).then_some(()), &["server/discover", "initialize"]),
        ];
        at_once(answers, |(answer, expected)| {
            let (server, log) = server(move |wire| {
                if wire.nth == 0 {
                    let probe = wire.receive()?;
                    answer(wire, &probe)?;
                }
                wire.serve(wire.open(ProtocolVersion::V2025_11_25))
            });
            // Longer than it takes until a server is sent a `ping`.
            let patience = Timeouts::default().patience(Duration::from_millis(1500));
            let server = server.timeouts(patience);
            let (version, received, changes) = recalling(Some(Era::Modern), server, &log);
            assert_eq!(version.unwrap(), ProtocolVersion::V2025_11_25);
            assert_eq!(methods(&received)[..2], *expected);
            assert_eq!(changes, [Some(Era::Legacy)]);
        });
    });
}

// ERA-40: what the caller says counts, and shows nothing that was worth remembering.
#[test]
fn a_pin_leaves_the_memory_alone() {
    soon(|| {
        let pins: [(Pinning, ProtocolVersion, Era); 4] = [
            (|server| server.era(Era::Modern), ProtocolVersion::V2026_07_28, Era::Legacy),
            (
                |server| server.version(ProtocolVersion::V2026_07_28),
                ProtocolVersion::V2026_07_28,
                Era::Legacy,
            ),
            (|server| server.era(Era::Legacy), LEGACY[0], Era::Modern),
            (|server| server.version(LEGACY[1]), LEGACY[1], Era::Modern),
        ];
        for (pin, version, remembered) in pins {
            let memory = Arc::new(Remembered::default());
            *memory.era.lock().unwrap() = Some(remembered);
            let (server, log) = speaking(version);
            let server = pin(server.name("remembered"));
            let client = Client::builder().era_memory(memory.clone()).open(server).unwrap();
            assert_eq!(client.protocol_version(), version);
            client.close();
            let first = if version.era() == Era::Modern { "server/discover" } else { "initialize" };
            assert_eq!(log.all()[0].method(), first);
            assert_eq!(memory.recalls.load(Ordering::SeqCst), 0);
            assert!(memory.changes.lock().unwrap().is_empty());
        }
    });
}

// ERA-40: what is reached through code may be anything, unless it is given a name.
#[test]
fn a_server_without_a_name_is_not_remembered() {
    soon(|| {
        let memory = Arc::new(Remembered::default());
        let (server, _log) = speaking(LEGACY[0]);
        Client::builder().era_memory(memory.clone()).open(server).unwrap();
        assert_eq!(memory.recalls.load(Ordering::SeqCst), 0);
        assert!(memory.changes.lock().unwrap().is_empty());
    });
}

// ERA-42: a memory that is wrong in a way nobody thought of is wrong once.
#[test]
fn a_verdict_is_forgotten_if_it_led_nowhere_and_kept_if_it_was_not_tried() {
    soon(|| {
        let (server, log) = server(|wire| wire.hold());
        let timeouts = Timeouts::default().connect(Duration::from_millis(50));
        let server = server.timeouts(timeouts);
        let (version, received, changes) = recalling(Some(Era::Legacy), server, &log);
        assert!(version.unwrap_err().is_timeout());
        assert_eq!((methods(&received), changes), (vec!["initialize"], vec![None]));

        let (_, log) = speaking(LEGACY[0]);
        let missing = Server::command("/no/such/program");
        for (server, cancelled) in [(missing, false), (speaking(LEGACY[0]).0, true)] {
            let memory = Arc::new(Remembered::default());
            *memory.era.lock().unwrap() = Some(Era::Legacy);
            let token = CancelToken::new();
            if cancelled {
                token.cancel();
            }
            let server = server.name("remembered");
            let named = Named(memory.clone());
            let builder = Client::builder().era_memory(named).cancel_token(&token);
            builder.open(server).unwrap_err();
            assert!(memory.changes.lock().unwrap().is_empty());
            assert!(log.all().is_empty());
        }
    });
}

// ERA-40: what is remembered makes nothing fail that would not fail without it. A server that has
// not written a byte yet is given the time that the probe would have given it.
#[test]
fn a_server_that_was_legacy_may_still_be_slow_to_start() {
    soon(|| {
        for (max_total, patience, opens) in [
            (FOREVER, FOREVER, true),
            // Never longer than that, which is 0.3 s here, and never past the other clock.
            (FOREVER, SHORT, false),
            (Duration::ZERO, FOREVER, false),
        ] {
            let server = over_pipes(move |mut reader, mut writer| {
                loop {
                    let message = read_json(&mut reader)?;
                    assert_ne!(message["method"], "server/discover");
                    if message["method"] == "initialize" && opens {
                        write_json(&mut writer, &reply_to(&message, initialized("2025-11-25")));
                    }
                }
            });
            let timeouts = Timeouts::default().connect(Duration::ZERO).max_total(max_total);
            let timeouts = timeouts.patience(patience);
            let memory = Arc::new(Remembered::default());
            *memory.era.lock().unwrap() = Some(Era::Legacy);
            let builder = Client::builder().era_memory(Named(memory.clone()));
            match builder.open(server.name("slow").timeouts(timeouts)) {
                Ok(client) => assert_eq!(client.protocol_version(), LEGACY[0]),
                Err(error) => {
                    assert!(error.is_timeout() && !opens, "{error}");
                    assert!(!error.to_string().contains("its era"), "{error}");
                }
            }
            assert_eq!(memory.changes.lock().unwrap().is_empty(), opens);
        }
    });
}

/// The same for a server of any name.
struct Named(Arc<Remembered>);

impl EraMemory for Named {
    fn recall(&self, _: &str) -> Option<Era> {
        self.0.recall("remembered ")
    }

    fn remember(&self, server: &str, era: Era) {
        self.0.remember(server, era);
    }

    fn forget(&self, server: &str) {
        self.0.forget(server);
    }
}

// ERA-40, ERA-42, ERA-43: with processes. A server of both eras is legacy to whoever opens it as
// legacy.
#[test]
fn processes_are_opened_as_they_are_remembered() {
    soon(|| {
        for (server, remembered, found) in [
            ("modern", Era::Legacy, Era::Modern),
            ("modern", Era::Modern, Era::Modern),
            ("legacy", Era::Legacy, Era::Legacy),
            ("legacy", Era::Modern, Era::Legacy),
            ("both", Era::Legacy, Era::Legacy),
            ("both", Era::Modern, Era::Modern),
        ] {
            let memory = Arc::new(Remembered::default());
            *memory.era.lock().unwrap() = Some(remembered);
            let builder = Client::builder().era_memory(Named(memory.clone()));
            let client = builder.open(example_server(server)).unwrap();
            assert_eq!(client.protocol_version().era(), found, "{server} {remembered}");
            assert!(!client.list_tools().unwrap().is_empty());
            assert_eq!(*memory.era.lock().unwrap(), Some(found));
        }
    });
}

// ERA-39, ERA-41: an endpoint is remembered by its URL, and nothing may be skipped on the way to it.
#[cfg(feature = "http")]
#[test]
fn an_endpoint_is_opened_as_it_is_remembered() {
    use std::io::Read;
    use std::net::TcpListener;

    soon(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp?key=secret", listener.local_addr().unwrap());
        let (asked, methods) = mpsc::channel();
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
                let headers = reader.by_ref().lines().map_while(|line| line.ok());
                let headers = headers.take_while(|line| !line.is_empty());
                let length = headers.filter_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
                });
                let mut body = vec![0; length.last().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let request: Value = serde_json::from_slice(&body).unwrap();
                asked.send(request["method"].as_str().unwrap().to_owned()).unwrap();
                let reply = reply_to(&request, discovered(&[MODERN])).to_string();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
                let length = format!("Content-Length: {}\r\n\r\n", reply.len());
                stream.write_all((head.to_owned() + &length + &reply).as_bytes()).unwrap();
            }
        });
        for (remembered, changes, asks) in [
            (None, &[Some(Era::Modern)][..], &["server/discover"][..]),
            (Some(Era::Modern), &[], &["server/discover"]),
            // What it answers to `initialize` is no handshake.
            (Some(Era::Legacy), &[Some(Era::Modern)], &["initialize", "server/discover"]),
        ] {
            let memory = Arc::new(Remembered::default());
            *memory.era.lock().unwrap() = remembered;
            let builder = Client::builder().era_memory(Named(memory.clone()));
            let client = builder.open(Server::url(&url)).unwrap();
            assert_eq!(client.protocol_version(), ProtocolVersion::V2026_07_28);
            assert_eq!(methods.try_iter().collect::<Vec<_>>(), asks);
            assert_eq!(*memory.changes.lock().unwrap(), changes);
        }
    });
}
