//! Log messages: asking for them, whose they are, what is in them, and how many there may be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, Once};

use serde_json::{Value, json};
use umcp::memory::Received;
use umcp::protocol::LogMessageParams;
use umcp::{Client, Era, ErrorKind, Limits, LoggingLevel, Server};

use crate::calls::{all_received, answering, said};
use crate::common::{ERAS, soon};

const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";

fn logging() -> Value {
    json!({ "tools": {}, "logging": {} })
}

/// Log messages as a listener of the client's hears them, `None` for one that is not well-formed.
fn listening(server: Server) -> (Client, Receiver<Option<LogMessageParams>>) {
    let (heard, hear) = mpsc::channel();
    let builder = Client::builder().on_notification(move |notification, _| {
        assert_eq!(notification.method(), "notifications/message");
        heard.send(notification.log_message()).unwrap();
    });
    (builder.open(server).unwrap(), hear)
}

/// A server that sends these params as log messages during each call.
fn saying(era: Era, params: Vec<Value>) -> (Server, Receiver<Received>) {
    answering(era, logging(), move |wire, call| {
        params.iter().for_each(|params| wire.notify("notifications/message", params.clone()));
        wire.reply(call, said("done"));
    })
}

// LOG-1, LOG-4: a server that does not declare logs is not asked for them, and whatever it sends
// by itself is heard.
#[test]
fn a_legacy_server_decides_what_to_log_until_it_is_told() {
    soon(|| {
        let (server, received) = answering(Era::Legacy, json!({ "tools": {} }), |wire, call| {
            wire.notify("notifications/message", json!({ "level": "debug", "data": "by itself" }));
            wire.reply(call, said("done"));
        });
        let (client, hear) = listening(server);
        let error = client.set_log_level(LoggingLevel::Error).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Unsupported, false));
        // The level of one call is of the modern era.
        let call = client.tool("x").log_level(LoggingLevel::Error).call().unwrap();
        assert_eq!(call.text(), "done");
        assert_eq!(hear.recv().unwrap().unwrap().data, "by itself");
        let received = all_received(&client, &received);
        assert_eq!(received.len(), 1);
        assert!(!received[0].0.to_string().contains(LEVEL_KEY), "{received:?}");
    });
}

// LOG-2, STDIO-27: over stdio a log message names no request, so it is a call's own only while
// there is no other.
#[test]
fn log_messages_are_a_calls_own_until_its_result_has_come() {
    soon(|| {
        for era in ERAS {
            let waiting = Mutex::new(None::<Received>);
            let (server, _) = answering(era, logging(), move |wire, call| {
                let say = |data| {
                    wire.notify("notifications/message", json!({ "level": "info", "data": data }));
                };
                if call.param("/name") == "waits" {
                    *waiting.lock().unwrap() = Some(call.clone());
                    return;
                }
                say("during");
                wire.reply(call, said("done"));
                if let Some(waiting) = waiting.lock().unwrap().take() {
                    wire.reply(&waiting, said("done"));
                }
                say("after");
            });
            let (client, hear) = listening(server);
            let heard = || hear.recv().unwrap().unwrap().data;
            let own = Arc::new(Mutex::new(Vec::new()));
            let call = |name| {
                let own = own.clone();
                client.tool(name).on_log(move |log| own.lock().unwrap().push(log.data.clone()))
            };
            assert_eq!(call("alone").call().unwrap().text(), "done");
            assert_eq!(*own.lock().unwrap(), ["during"], "{era}: heard before the call returns");
            assert_eq!(heard(), "after", "{era}");

            let waits = call("waits").start().unwrap();
            assert_eq!(call("of two").call().unwrap().text(), "done");
            assert_eq!(waits.wait().unwrap().text(), "done");
            assert_eq!([heard(), heard()], ["during", "after"], "{era}");
            assert_eq!(own.lock().unwrap().len(), 1, "{era}");
        }
    });
}

// LOG-3: a level the server does not know is sent as it was given, and is the server's error.
#[test]
fn an_unknown_level_is_the_servers_error() {
    soon(|| {
        for era in ERAS {
            let (server, received) = answering(era, logging(), |wire, message| {
                wire.reply_error(message, -32602, "no such level", None);
            });
            let client = Client::open(server).unwrap();
            let level = LoggingLevel::from("chatty");
            let error = match era {
                Era::Legacy => client.set_log_level(level).unwrap_err(),
                _ => client.tool("x").log_level(level).call().unwrap_err(),
            };
            assert_eq!(error.rpc().unwrap().code, -32602, "{error}");
            let received = all_received(&client, &received);
            let pointer = if era == Era::Legacy { "/level" } else { "/_meta" };
            let named = received[0].param(pointer);
            assert_eq!(if era == Era::Legacy { named } else { &named[LEVEL_KEY] }, "chatty");
        }
    });
}

// LOG-5, LOG-6: whether it goes to the call or to a listener, which shows it, filters it by its
// level, or keeps it.
#[test]
fn a_log_message_holds_any_json_and_perhaps_who_says_it() {
    soon(|| {
        let data = [json!("text"), json!(null), json!(1.5), json!([1, {}]), json!({ "a": [] })];
        for era in ERAS {
            let mut params: Vec<Value> =
                data.iter().map(|data| json!({ "level": "warning", "data": data })).collect();
            params[1]["logger"] = "database".into();
            params[2]["logger"] = Value::Null;
            params[3]["level"] = "of a later revision".into();
            params[4]["_meta"] = json!({ "x": 1 });
            let (server, _) = saying(era, params);
            let (client, hear) = listening(server);
            client.call_tool("x", json!({})).map(drop).unwrap();
            let aside: Vec<_> = data.iter().map(|_| hear.recv().unwrap().unwrap()).collect();
            let mut own = Vec::new();
            client.tool("x").on_log(|log| own.push(log.clone())).call().map(drop).unwrap();
            for heard in [aside, own] {
                let said: Vec<_> = heard.iter().map(|log| log.data.clone()).collect();
                assert_eq!(said, data, "{era}");
                let loggers: Vec<_> = heard.iter().map(|log| log.logger.as_deref()).collect();
                assert_eq!(loggers, [None, Some("database"), None, None, None], "{era}");
                let severities: Vec<_> = heard.iter().map(|log| log.level.severity()).collect();
                assert_eq!(severities, [Some(3), Some(3), Some(3), None, Some(3)], "{era}");
            }
        }
    });
}

// LOG-7: the fields are looked at before anybody gets to see them.
#[test]
fn log_messages_that_are_none_do_no_harm() {
    soon(|| {
        let wrong = [
            json!({}),
            json!([]),
            json!({ "data": "no level" }),
            json!({ "level": 5, "data": "x" }),
            json!({ "level": null, "data": "x" }),
            json!({ "level": "info", "logger": 5, "data": "x" }),
        ];
        for era in ERAS {
            let mut params = wrong.to_vec();
            params.push(json!({ "level": "info", "data": "good" }));
            let (server, _) = saying(era, params);
            let (client, hear) = listening(server);
            assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
            let heard: Vec<_> = (0..wrong.len()).map(|_| hear.recv().unwrap()).collect();
            assert_eq!(heard, vec![None; wrong.len()], "{era}");
            assert_eq!(hear.recv().unwrap().unwrap().data, "good", "{era}");
            let mut own = Vec::new();
            let call = client.tool("x").on_log(|log| own.push(log.data.clone()));
            assert_eq!(call.call().unwrap().text(), "done");
            assert_eq!(own, ["good"], "{era}");
        }
    });
}

// LOG-7: as many wait for a listener as it is allowed to be late; the rest is dropped.
#[test]
fn a_flood_of_log_messages_fails_nothing_and_is_cut() {
    soon(|| {
        const MOST: usize = 10;
        for era in ERAS {
            let params = vec![json!({ "level": "info", "data": "flood" }); 10_000];
            let (server, _) = saying(era, params);
            let (release, held) = mpsc::channel::<()>();
            let held = Mutex::new(held);
            let (heard, hear) = mpsc::channel();
            let builder = Client::builder().on_notification(move |_, _| {
                // Until the sender is gone.
                let _ = held.lock().unwrap().recv();
                heard.send(()).unwrap();
            });
            let limits = Limits::default().notifications(MOST);
            let client = builder.open(server.limits(limits)).unwrap();
            for _ in 0..2 {
                assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
            }
            drop(release);
            // One more is with the listener already.
            (0..MOST).for_each(|_| hear.recv().unwrap());
            client.close();
            assert!(hear.try_iter().count() <= 1, "{era}");
        }
    });
}

/// What this program logs, for tests that look for something in it.
struct Spy;

const SECRET: &str = "hunter2-of-the-log";
static HEARD: AtomicBool = AtomicBool::new(false);
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static FORWARDED: Mutex<Vec<(String, log::Level, String)>> = Mutex::new(Vec::new());

/// Listens to what this program logs from now on.
pub fn spy() {
    static SPY: Once = Once::new();
    SPY.call_once(|| {
        log::set_logger(&Spy).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
}

/// The warnings so far that begin so.
pub fn warnings(beginning: &str) -> Vec<String> {
    let warnings = WARNINGS.lock().unwrap();
    warnings.iter().filter(|text| text.starts_with(beginning)).cloned().collect()
}

/// What was logged so far in a server's name.
pub fn forwarded(target: &str) -> Vec<(log::Level, String)> {
    let lines = FORWARDED.lock().unwrap();
    let lines = lines.iter().filter(|(of, ..)| of == target);
    lines.map(|(_, level, text)| (*level, text.clone())).collect()
}

impl log::Log for Spy {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if record.target().starts_with("umcp::server::") {
            let line = (record.target().to_owned(), record.level(), text.clone());
            FORWARDED.lock().unwrap().push(line);
        }
        if record.level() == log::Level::Warn {
            WARNINGS.lock().unwrap().push(text.clone());
        }
        if text.contains(SECRET) {
            LEAKS.lock().unwrap().push(text);
        } else if text.contains("spied-on") {
            HEARD.store(true, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

// LOG-7: what a server logs may be a secret, and is not copied into this program's own log.
#[test]
fn the_contents_of_log_messages_are_not_logged() {
    spy();
    soon(|| {
        for era in ERAS {
            let good = json!({ "level": "info", "logger": "x", "data": { "password": SECRET } });
            let bad = json!({ "level": 5, "data": SECRET });
            let (server, _) = saying(era, vec![good, bad]);
            let (client, hear) = listening(server.name("spied-on"));
            client.tool("x").log_level(LoggingLevel::Debug).call().map(drop).unwrap();
            let heard = hear.recv().unwrap().unwrap();
            assert!(!format!("{heard:?}").contains(SECRET));
            assert_eq!(hear.recv().unwrap(), None);
            client.tool("x").on_log(|_| ()).call().map(drop).unwrap();
            client.close();
        }
        assert!(HEARD.load(Ordering::SeqCst), "nothing was logged at all");
        assert_eq!(*LEAKS.lock().unwrap(), [""; 0]);
    });
}
