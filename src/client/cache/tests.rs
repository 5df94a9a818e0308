//! How long what is kept is fresh, and how much of it there can be, with a clock of the tests' own.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Cache;
use crate::client::{Client, Script, Server};
use crate::error::ErrorKind;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

thread_local! {
    /// How late it is, on the thread that looks and keeps.
    static TIME: Cell<Duration> = const { Cell::new(HOUR) };
}

fn now() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now) + TIME.get()
}

fn pass(time: Duration) {
    TIME.set(TIME.get() + time);
}

fn settings() -> Cache {
    Cache { now, ..Cache::new() }
}

fn open(script: &Script, cache: Cache) -> Client {
    Client::builder().cache(cache).open(script.server()).unwrap()
}

/// A resource of which a server says for how long it is fresh, or does not.
fn resource(ttl: Option<Value>) -> Script {
    Script::new().answer_with("resources/read", move |params| {
        let mut result = json!({ "contents": [{ "uri": params["uri"], "text": "x" }] });
        if let Some(ttl) = &ttl {
            result["ttlMs"] = ttl.clone();
        }
        Ok(result)
    })
}

fn asked(script: &Script) -> usize {
    script.received("resources/read").len()
}

// CACHE-5, CACHE-6, CACHE-7, CACHE-19
#[test]
fn an_answer_is_fresh_for_as_long_as_the_server_says() {
    let day = 24 * HOUR;
    for (ttl, fresh_for) in [
        (Some(json!(5_000)), 5 * SECOND),
        (Some(json!(5_000.9)), 5 * SECOND),
        (Some(json!(1)), Duration::from_millis(1)),
        (Some(json!(0)), Duration::ZERO),
        (Some(json!(0.9)), Duration::ZERO),
        (Some(json!(-5_000)), Duration::ZERO),
        (Some(json!("5000")), Duration::ZERO),
        (Some(json!([5_000])), Duration::ZERO),
        (Some(json!(u64::MAX)), day),
        (Some(json!(1e300)), day),
        (Some(json!(null)), MINUTE),
        (None, MINUTE),
    ] {
        let script = resource(ttl.clone());
        let client = open(&script, settings().default_ttl(MINUTE));
        let read = || client.read_resource("a://b").unwrap();
        assert_eq!(read().contents.len(), 1);
        if !fresh_for.is_zero() {
            pass(fresh_for - Duration::from_nanos(1));
            assert_eq!(read().contents.len(), 1);
            assert_eq!(asked(&script), 1, "{ttl:?}");
            pass(Duration::from_nanos(1));
        }
        read();
        assert_eq!(asked(&script), 2, "{ttl:?}");
        assert_eq!(client.cache().stats().entries, usize::from(!fresh_for.is_zero()), "{ttl:?}");
    }
}

// CACHE-6
#[test]
fn without_a_default_nothing_is_kept_of_which_the_server_says_nothing() {
    let script = resource(None);
    let client = open(&script, settings().default_ttl(Duration::ZERO));
    (0..3).for_each(|_| _ = client.read_resource("a://b").unwrap());
    assert_eq!((asked(&script), client.cache().stats().entries), (3, 0));
    // It is 5 minutes, and can be for ever.
    for (cache, later, times) in [
        (settings(), 5 * MINUTE - SECOND, 1),
        (settings(), 5 * MINUTE, 2),
        (settings().default_ttl(Duration::MAX), 1000 * HOUR, 1),
    ] {
        let script = resource(None);
        let client = open(&script, cache);
        client.read_resource("a://b").unwrap();
        pass(later);
        client.read_resource("a://b").unwrap();
        assert_eq!(asked(&script), times);
    }
}

// CACHE-7, CACHE-8, CACHE-9
#[test]
fn nothing_is_asked_for_by_itself() {
    let script = resource(Some(json!(1)));
    let client = open(&script, settings());
    client.read_resource("a://b").unwrap();
    pass(24 * HOUR);
    // Whatever asked by itself would be before this.
    let _ = client.ping();
    assert_eq!(asked(&script), 1);
    client.read_resource("a://b").unwrap();
    assert_eq!(asked(&script), 2);
}

// CACHE-19
#[test]
fn a_clock_that_jumps_makes_nothing_fresh() {
    let script = resource(Some(json!(60_000)));
    let client = open(&script, settings().stale_if_error(HOUR));
    client.read_resource("a://b").unwrap();
    TIME.set(TIME.get() - SECOND);
    client.read_resource("a://b").unwrap();
    assert_eq!(asked(&script), 2);
    client.read_resource("a://b").unwrap();
    assert_eq!(asked(&script), 2);
    pass(100 * 24 * HOUR);
    client.read_resource("a://b").unwrap();
    assert_eq!(asked(&script), 3);
    assert_eq!(client.cache().stats().entries, 1);
}

/// A list of two pages, fresh for so many seconds each.
fn pages(first: u64, second: u64) -> Script {
    Script::new().answer_with("prompts/list", move |params| {
        Ok(match params["cursor"].as_str() {
            None => {
                json!({ "prompts": [{ "name": "a" }], "nextCursor": "2", "ttlMs": first * 1000 })
            }
            Some(_) => json!({ "prompts": [{ "name": "b" }], "ttlMs": second * 1000 }),
        })
    })
}

fn cursors(script: &Script) -> Vec<Value> {
    script.received("prompts/list").into_iter().map(|params| params["cursor"].clone()).collect()
}

// CACHE-17
#[test]
fn each_page_has_a_clock_of_its_own() {
    let script = pages(10, 1);
    let client = open(&script, settings());
    assert_eq!(client.list_prompts().unwrap().len(), 2);
    pass(2 * SECOND);
    assert_eq!(client.list_prompts().unwrap().len(), 2);
    assert_eq!(cursors(&script), [json!(null), json!("2"), json!("2")]);
    assert_eq!(client.cache().stats().entries, 2);
}

// CACHE-18
#[test]
fn a_first_page_that_is_asked_for_again_takes_the_others_with_it() {
    let script = pages(1, 10);
    let client = open(&script, settings());
    assert_eq!(client.list_prompts().unwrap().len(), 2);
    pass(2 * SECOND);
    assert_eq!(client.list_prompts().unwrap().len(), 2);
    assert_eq!(cursors(&script), [json!(null), json!("2"), json!(null), json!("2")]);
    // Also when only that one is asked for.
    client.prompts().fresh().page().unwrap();
    assert_eq!(client.cache().stats().entries, 1);
}

/// A server that answers once, and ends when it is asked again.
fn failing(ttl: u64) -> Server {
    Server::in_memory(move |peer| {
        if let Some(request) = peer.open_modern(json!({ "resources": {} })) {
            peer.reply(&request, json!({ "contents": [], "ttlMs": ttl }));
            peer.receive();
        }
    })
}

// CACHE-11
#[test]
fn what_is_no_longer_fresh_is_better_than_an_error_if_that_is_wanted() {
    for (cache, later, is_kept) in [
        (settings(), SECOND, false),
        (settings().stale_if_error(MINUTE), SECOND, true),
        (settings().stale_if_error(MINUTE), MINUTE + SECOND - Duration::from_millis(1), true),
        (settings().stale_if_error(MINUTE), MINUTE + SECOND, false),
    ] {
        let client = Client::builder().cache(cache).open(failing(1_000)).unwrap();
        client.read_resource("a://b").unwrap();
        pass(later);
        let outcome = client.read_resource("a://b");
        assert_eq!(outcome.is_ok(), is_kept, "{later:?}");
        // The connection is over, and so is what was fresh on it.
        let again = client.read_resource("a://b");
        assert_eq!(again.is_ok(), is_kept, "{later:?}");
        let fresh = client.resource("a://b").fresh().call();
        assert_eq!(fresh.unwrap_err().kind(), ErrorKind::Disconnected);
    }
}

// CACHE-11
#[test]
fn an_answer_that_was_never_fresh_can_be_kept_for_when_there_is_an_error() {
    let cache = settings().stale_if_error(MINUTE);
    let client = Client::builder().cache(cache).open(failing(0)).unwrap();
    client.read_resource("a://b").unwrap();
    assert!(client.read_resource("a://b").is_ok());
    let stats = client.cache().stats();
    assert_eq!((stats.hits, stats.misses), (0, 2));
    // What has been dropped is not there for that.
    client.cache().clear();
    assert!(client.read_resource("a://b").is_err());
}

// CACHE-11, CACHE-21
#[test]
fn what_the_server_refuses_is_refused_and_not_kept() {
    let script =
        Script::new().answer_with("resources/read", |params| match params["uri"].as_str() {
            Some("a://b") => Err((-32002, "no such thing".to_owned())),
            _ => Ok(json!({ "contents": "nothing of the kind" })),
        });
    let client = open(&script, settings().stale_if_error(MINUTE));
    for (uri, kind) in [("a://b", ErrorKind::Rpc), ("a://c", ErrorKind::Protocol)] {
        for _ in 0..2 {
            assert_eq!(client.read_resource(uri).unwrap_err().kind(), kind);
        }
    }
    assert_eq!((asked(&script), client.cache().stats().entries), (4, 0));
}

// CACHE-19
#[test]
fn what_was_not_used_for_longest_goes_first() {
    let text = "x".repeat(10_000);
    let script = Script::new().answer_with("resources/read", move |params| {
        Ok(json!({ "contents": [{ "uri": params["uri"], "text": text }] }))
    });
    let client = open(&script, settings().max_bytes(45_000));
    let read = |uri: &str| {
        let before = asked(&script);
        client.read_resource(uri).unwrap();
        asked(&script) == before
    };
    assert!(!["a://1", "a://2", "a://3", "a://4"].map(read).contains(&true));
    assert!(read("a://1"));
    assert!(!read("a://5"));
    assert_eq!(["a://1", "a://3", "a://4", "a://5"].map(read), [true; 4]);
    assert!(!read("a://2"));
    let stats = client.cache().stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (5, 6, 4));
    assert!(stats.bytes > 40_000 && stats.bytes <= 45_000, "{stats:?}");
    client.cache().clear();
    let stats = client.cache().stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
}

// CACHE-19
#[test]
fn what_is_too_large_or_too_many_is_not_kept() {
    let script = Script::new().answer_with("resources/read", |params| {
        let length = params["uri"].as_str().unwrap().len();
        Ok(json!({ "contents": [{ "uri": "", "text": "x".repeat(length) }] }))
    });
    let client = open(&script, settings().max_bytes(8_000));
    let long = format!("a://{}", "b".repeat(2_000));
    (0..2).for_each(|_| _ = client.read_resource(&long).unwrap());
    assert_eq!((asked(&script), client.cache().stats().entries), (2, 0));
    // Even what is nothing takes something.
    (0..100).for_each(|number| _ = client.read_resource(number.to_string()).unwrap());
    let stats = client.cache().stats();
    assert!(stats.entries < 16 && stats.bytes <= 8_000, "{stats:?}");
    let nothing = open(&script, settings().max_bytes(0));
    nothing.read_resource("a").unwrap();
    assert_eq!(nothing.cache().stats().entries, 0);
}

#[test]
fn debug_shows_no_content() {
    let script = resource(None);
    let client = open(&script, settings());
    client.read_resource("s3cret://s3cret").unwrap();
    let shown = format!("{:?} {:?} {client:?}", settings(), client.cache());
    assert!(!shown.contains("s3cret") && shown.contains("entries: 1"), "{shown}");
}
