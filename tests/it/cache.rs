//! The cache at the wire: what is asked for again and what is not, in both eras, and what no cache may
//! hold. How long things are fresh is tested where there is a clock for it: `src/client/cache/tests.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::{Value, json};
use umcp::memory::{Peer, Received, Script};
use umcp::protocol::{InputResponses, Root};
use umcp::{
    Cache, CancelToken, Client, Era, ErrorKind, EventKind, Limits, ReadResourceResult, Server,
    TaskOrResult,
};

use crate::calls::said;
use crate::common::{ERAS, FOREVER, HALF, example_server, soon};
use crate::input_rounds::{asks, form, named};

const TOOLS: &str = "notifications/tools/list_changed";
pub const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";
const UPDATED: &str = "notifications/resources/updated";
pub const LISTS: [&str; 4] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

pub fn everything() -> Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": true },
    })
}

pub fn opening(peer: &Peer, era: Era) -> Option<Received> {
    match era {
        Era::Legacy => peer.open_legacy(everything()),
        _ => peer.open_modern(everything()),
    }
}

/// An empty result that fits.
pub fn result(request: &Received) -> Value {
    match request.method() {
        "tools/list" => json!({ "tools": [] }),
        "prompts/list" => json!({ "prompts": [] }),
        "resources/list" => json!({ "resources": [] }),
        "resources/templates/list" => json!({ "resourceTemplates": [] }),
        "resources/read" => json!({ "contents": [{ "uri": request.param("/uri"), "text": "" }] }),
        "tools/call" => said("done"),
        _ => json!({}),
    }
}

/// A client with a cache of a server whose answers are a function's, and what the server has received.
pub fn open(
    era: Era,
    cache: Cache,
    respond: impl Fn(&Peer, &Received) + Send + Sync + 'static,
) -> (Client, Receiver<Received>) {
    let (seen, see) = mpsc::channel();
    let server = Server::in_memory(move |peer| {
        let mut next = opening(&peer, era);
        while let Some(request) = next {
            let _ = seen.send(request.clone());
            if !request.id().is_null() {
                respond(&peer, &request);
            }
            next = peer.receive();
        }
    });
    (Client::builder().cache(cache).open(server.era(era)).unwrap(), see)
}

/// One whose tool `say` has the server say something first.
pub fn saying(era: Era, cache: Cache) -> (Client, Receiver<Received>) {
    open(era, cache, |peer, request| {
        if let (Some(method), params) =
            (request.param("/arguments/method").as_str(), "/arguments/params")
        {
            peer.notify(method, request.param(params).clone());
        }
        peer.reply(request, result(request));
    })
}

/// What was received: methods, and what they were about.
pub fn seen(see: &Receiver<Received>) -> Vec<String> {
    let about = |request: Received| {
        let about = ["/uri", "/cursor"].map(|at| request.param(at).as_str().map(str::to_owned));
        let about = about.into_iter().flatten().next();
        about.unwrap_or_else(|| request.method().to_owned())
    };
    see.try_iter().map(about).collect()
}

/// Lists and reads everything there is.
fn use_all(client: &Client) {
    client.list_tools().unwrap();
    client.list_prompts().unwrap();
    client.list_resources().unwrap();
    client.list_resource_templates().unwrap();
    client.read_resource("a://b").unwrap();
    client.read_resource("a://b/c").unwrap();
}

/// What has to be asked for again.
fn asked_again(client: &Client, see: &Receiver<Received>) -> Vec<String> {
    seen(see);
    use_all(client);
    seen(see)
}

const ALL: [&str; 6] = [LISTS[0], LISTS[1], LISTS[2], LISTS[3], "a://b", "a://b/c"];

// CACHE-1, CACHE-2, CACHE-20
#[test]
fn what_is_kept_is_not_asked_for_again() {
    for era in ERAS {
        let (client, see) = saying(era, Cache::new());
        for expected in [&ALL[..], &[]] {
            use_all(&client);
            assert_eq!(seen(&see), expected);
        }
        let results = client.read_resources(["a://b", "a://d", "a://b/c", "a://e"]);
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(seen(&see), ["a://d", "a://e"]);
        let of = |results: Vec<umcp::Result<ReadResourceResult>>| -> Vec<String> {
            let uri = |it: umcp::Result<ReadResourceResult>| {
                it.unwrap().contents[0].uri().unwrap().to_owned()
            };
            results.into_iter().map(uri).collect()
        };
        assert_eq!(of(client.read_resources(["a://e", "a://d"])), ["a://e", "a://d"]);
        assert_eq!(seen(&see), [""; 0]);
        let stats = client.cache().stats();
        assert_eq!((stats.hits, stats.misses, stats.entries), (10, 6, 8));
        // What is asked in no words of the library's own is not known to be a list.
        client.request("tools/list", ()).call().unwrap();
        assert_eq!(seen(&see), ["tools/list"]);
        // Another client has nothing of it.
        let (other, see) = saying(era, Cache::new());
        assert_eq!(asked_again(&other, &see), ALL);
    }
}

// CACHE-2, CACHE-3
#[test]
fn whatever_else_is_asked_is_asked() {
    let (client, see) = saying(Era::Modern, Cache::new());
    use_all(&client);
    seen(&see);
    client.tools().cursor("2").page().unwrap();
    client.tools().cursor("").page().unwrap();
    client.prompts().cursor("2").page().unwrap();
    client.read_resource("a://B").unwrap();
    client.read_resource("tools/list").unwrap();
    // It declares less.
    client.resource("a://b").headless().call().unwrap();
    let asked = ["2", "", "2", "a://B", "tools/list", "a://b"];
    assert_eq!(seen(&see), asked);
    client.tools().cursor("2").page().unwrap();
    client.tools().cursor("").page().unwrap();
    client.prompts().cursor("2").page().unwrap();
    client.read_resource("tools/list").unwrap();
    client.resource("a://b").headless().call().unwrap();
    client.resource("a://b").log_level(umcp::LoggingLevel::Debug).timeout(FOREVER).call().unwrap();
    use_all(&client);
    assert_eq!(seen(&see), [""; 0]);
    // There is more to these than their results, which nobody else is to get.
    for _ in 0..2 {
        client.resource("a://x").on_progress(|_| ()).call().unwrap();
        client.resource("a://x").on_log(|_| ()).call().unwrap();
        client.resource("a://x").meta("com.example/a", 1).call().unwrap();
        client.resource("a://x").by_hand().call().unwrap();
        assert_eq!(seen(&see), ["a://x"; 4]);
    }
    client.read_resource("a://x").unwrap();
    assert_eq!(seen(&see), ["a://x"]);
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let script = Script::new().answer("tools/list", json!({ "tools": [], "ttlMs": 60_000 }));
    let client = Client::open(script.server()).unwrap();
    (0..2).for_each(|_| _ = client.list_tools().unwrap());
    client.tools().fresh().all().unwrap();
    assert_eq!(script.received("tools/list").len(), 3);
    client.cache().clear();
    assert_eq!(client.cache().invalidate("*"), 0);
    assert_eq!(client.cache().stats(), umcp::CacheStats::default());
}

// CACHE-4, MRTR-20
#[test]
fn an_answer_for_which_something_was_asked_is_never_kept() {
    soon(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let respond = move |peer: &Peer, request: &Received| {
            let count = counted.fetch_add(1, Ordering::SeqCst);
            let is_answer = !request.param("/inputResponses").is_null();
            let is_state = !request.param("/requestState").is_null();
            peer.reply(
                request,
                match (request.param("/uri").as_str(), is_answer || is_state) {
                    (Some("a://form"), false) => asks(json!({ "q": form() }), None),
                    (Some("a://state"), false) => asks(Value::Null, Some(&count.to_string())),
                    _ => json!({ "contents": [], "ttlMs": 60_000, "resultType": "complete" }),
                },
            );
        };
        let server = Server::in_memory(move |peer| {
            let mut next = peer.open_modern(json!({ "resources": {} }));
            while let Some(request) = next {
                respond(&peer, &request);
                next = peer.receive();
            }
        });
        let builder = Client::builder().cache(Cache::new()).on_elicitation(|_, _| named("Ada"));
        let client = builder.open(server).unwrap();
        for uri in ["a://form", "a://state"] {
            count.store(0, Ordering::SeqCst);
            (0..2).for_each(|_| _ = client.read_resource(uri).unwrap());
            client.resource(uri).start().unwrap().wait().unwrap();
            client.resource(uri).fresh().call().unwrap();
            assert_eq!(count.load(Ordering::SeqCst), 8, "{uri}");
            assert_eq!(client.cache().stats().entries, 0);
        }
        // Answers of the caller's own are no different.
        let asked = client.resource("a://form").by_hand().call().unwrap_err();
        let asked = asked.input_required().unwrap();
        for _ in 0..2 {
            let answers = InputResponses::from([("q".to_owned(), named("Ada").into())]);
            client.resource("a://form").answers(&asked, answers).call().unwrap();
        }
        assert_eq!((count.load(Ordering::SeqCst), client.cache().stats().entries), (11, 0));
        client.read_resource("a://other").unwrap();
        assert_eq!(client.cache().stats().entries, 1);
    });
}

// CACHE-15, CACHE-16, CACHE-20
#[test]
fn what_the_server_says_before_an_answer_holds_when_that_is_there() {
    let about = |uri: &str| json!({ "uri": uri });
    for (method, params, goes) in [
        (TOOLS, json!({}), &[LISTS[0]][..]),
        (PROMPTS, json!({}), &[LISTS[1]]),
        (RESOURCES, json!({}), &[LISTS[2], LISTS[3]]),
        (UPDATED, about("a://b/c"), &["a://b", "a://b/c"]),
        (UPDATED, about("a://b"), &["a://b"]),
        (UPDATED, about("a://bc"), &[]),
        (UPDATED, json!({}), &["a://b", "a://b/c"]),
        (UPDATED, json!({ "uri": 7 }), &["a://b", "a://b/c"]),
        ("notifications/message", json!({ "level": "info", "data": TOOLS }), &[]),
        ("notifications/other", json!({}), &[]),
    ] {
        for era in ERAS {
            let cache = Cache::new().invalidate_on_call(false);
            let (client, see) = saying(era, cache);
            use_all(&client);
            let say = json!({ "method": method, "params": params });
            let _ = client.call_tool("say", say).unwrap();
            assert_eq!(asked_again(&client, &see), goes, "{method} {params}");
            assert_eq!(asked_again(&client, &see), [""; 0]);
        }
    }
}

/// What could not be read may have said anything.
#[test]
fn what_the_server_says_and_nobody_reads_may_have_been_a_change() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep = format!(r#"{{"jsonrpc":"2.0","method":"{TOOLS}","params":{{"a":{deep}}}}}"#);
    let long =
        format!(r#"{{"jsonrpc":"2.0","method":"{TOOLS}","params":"{}"}}"#, "x".repeat(9_000));
    for (line, is_lost) in [(deep, true), (long, true), ("no message".to_owned(), false)] {
        let (seen, see) = mpsc::channel();
        let server = Server::in_memory(move |peer| {
            let mut next = peer.open_modern(everything());
            while let Some(request) = next {
                let _ = seen.send(request.clone());
                if request.method() == "tools/call" {
                    peer.send_text(line.clone());
                }
                peer.reply(&request, result(&request));
                next = peer.receive();
            }
        });
        let server = server.limits(Limits::default().message(8_000));
        let cache = Cache::new().invalidate_on_call(false);
        let client = Client::builder().cache(cache).open(server).unwrap();
        use_all(&client);
        let _ = client.call_tool("x", json!({})).unwrap();
        assert_eq!(asked_again(&client, &see), if is_lost { &ALL[..] } else { &[] });
    }
}

// CACHE-15
#[test]
fn an_answer_that_was_overtaken_is_not_kept() {
    for era in ERAS {
        let is_first = AtomicUsize::new(0);
        let (client, see) = open(era, Cache::new(), move |peer, request| {
            if is_first.fetch_add(1, Ordering::SeqCst) == 0 {
                peer.notify(TOOLS, json!({}));
            }
            peer.reply(request, result(request));
        });
        for expected in [&["tools/list"][..], &["tools/list"], &[]] {
            client.list_tools().unwrap();
            assert_eq!(seen(&see), expected);
        }
    }
}

// CACHE-15, SUB-17
#[test]
fn a_subscription_begins_and_ends_with_nothing_kept_from_before() {
    soon(|| {
        let (client, see) = open(Era::Modern, Cache::new(), |peer, request| {
            let meta = json!({ "io.modelcontextprotocol/subscriptionId": request.id() });
            match request.method() {
                "subscriptions/listen" => {
                    let granted = request.param("/notifications");
                    let params = json!({ "_meta": meta, "notifications": granted });
                    peer.notify("notifications/subscriptions/acknowledged", params);
                }
                _ => peer.reply(request, result(request)),
            }
        });
        use_all(&client);
        let subscription = client.subscribe().tools().open().unwrap();
        assert_eq!(asked_again(&client, &see), ALL);
        assert_eq!(asked_again(&client, &see), [""; 0]);
        drop(subscription);
        assert_eq!(asked_again(&client, &see), [&["notifications/cancelled"], &ALL[..]].concat());
    });
}

// CACHE-15, SUB-21
#[test]
fn after_a_legacy_subscription_nothing_is_kept_from_before_its_end() {
    soon(|| {
        let (client, see) = saying(Era::Legacy, Cache::new());
        let subscription = client.subscribe().resource("a://b").open().unwrap();
        use_all(&client);
        assert_eq!(asked_again(&client, &see), [""; 0]);
        drop(subscription);
        // On a thread of its own.
        assert_eq!(see.recv().unwrap().method(), "resources/unsubscribe");
        client.ping().unwrap();
        assert_eq!(asked_again(&client, &see), ALL);
    });
}

// CACHE-5
#[test]
fn an_answer_is_as_old_as_it_is_when_it_is_fetched() {
    soon(|| {
        let (client, see) = open(Era::Modern, Cache::new(), |peer, request| {
            let mut result = result(request);
            result["ttlMs"] = (2 * HALF.as_millis() as u64).into();
            peer.reply(request, result);
        });
        let call = client.resource("a://b").start().unwrap();
        client.ping().unwrap();
        // It has come, and its time passes.
        thread::sleep(3 * HALF);
        call.wait().unwrap();
        seen(&see);
        client.read_resource("a://b").unwrap();
        assert_eq!(seen(&see), ["a://b"]);
        // The other way round, it is fresh.
        client.read_resource("a://b").unwrap();
        assert_eq!(seen(&see), [""; 0]);
    });
}

#[test]
fn a_tool_may_change_what_can_be_read() {
    for era in ERAS {
        let (client, see) = saying(era, Cache::new());
        let changeable = [LISTS[2], LISTS[3], "a://b", "a://b/c"];
        use_all(&client);
        let _ = client.call_tool("x", json!({})).unwrap();
        assert_eq!(asked_again(&client, &see), changeable);
        client.request("tools/call", json!({ "name": "x" })).call().unwrap();
        assert_eq!(asked_again(&client, &see), changeable);
        assert_eq!(asked_again(&client, &see), [""; 0]);
        client.ping().unwrap();
        let _ = client.get_prompt("x", [("a", "b")]);
        assert_eq!(asked_again(&client, &see), [""; 0]);

        let (client, see) = saying(era, Cache::new().invalidate_on_call(false));
        use_all(&client);
        let _ = client.call_tool("x", json!({})).unwrap();
        assert_eq!(asked_again(&client, &see), [""; 0]);
    }
}

#[test]
fn what_is_read_while_a_tool_runs_does_not_outlive_the_call() {
    soon(|| {
        let (client, see) = open(Era::Modern, Cache::new(), |peer, request| {
            if request.method() != "tools/call" {
                peer.reply(request, result(request));
            }
            if request.param("/uri") == "a://end" {
                let id = request.param("/_meta/com.example~1call");
                peer.send(json!({ "jsonrpc": "2.0", "id": id, "result": said("done") }));
            }
        });
        client.read_resource("a://b").unwrap();
        seen(&see);
        let call = client.tool("x").start().unwrap();
        let id = see.recv().unwrap().id().clone();
        for expected in [&["a://b"][..], &[]] {
            client.read_resource("a://b").unwrap();
            assert_eq!(seen(&see), expected);
        }
        // It ends before this does, though nobody has looked.
        client.resource("a://end").meta("com.example/call", id).call().unwrap();
        client.ping().unwrap();
        seen(&see);
        client.read_resource("a://b").unwrap();
        assert_eq!(seen(&see), ["a://b"]);
        assert_eq!(call.wait().unwrap().text(), "done");
        // A call that is left may have done anything.
        client.read_resource("a://b").unwrap();
        drop(client.tool("x").start().unwrap());
        seen(&see);
        client.read_resource("a://b").unwrap();
        assert_eq!(seen(&see).last().unwrap(), "a://b");
    });
}

#[test]
fn a_task_that_moves_on_may_change_what_can_be_read() {
    let task = json!({ "taskId": "7", "status": "working", "createdAt": "", "lastUpdatedAt": "", "ttlMs": null });
    let mut created = task.clone();
    created["resultType"] = json!("task");
    let script = Script::new()
        .answer("tools/call", created)
        .answer("tasks/get", task)
        .declare("io.modelcontextprotocol/tasks", json!({}))
        .answer("resources/read", json!({ "contents": [] }));
    let client = Client::builder().tasks().cache(Cache::new()).open(script.server()).unwrap();
    let TaskOrResult::Task(mut task) = client.tool("x").start_task().unwrap() else { panic!() };
    (0..2).for_each(|_| _ = client.read_resource("a://b").unwrap());
    assert_eq!(script.received("resources/read").len(), 1);
    task.get().unwrap();
    client.read_resource("a://b").unwrap();
    assert_eq!(script.received("resources/read").len(), 2);
}

// CACHE-10
#[test]
fn a_call_that_is_refused_makes_the_list_of_tools_doubtful() {
    let (client, see) = open(Era::Modern, Cache::new(), |peer, request| match request.method() {
        "tools/call" => peer.reply_error(request, -32602, "no such tool", None),
        _ => peer.reply(request, result(request)),
    });
    for expected in [&["tools/list"][..], &[]] {
        client.list_tools().unwrap();
        assert_eq!(seen(&see), expected);
    }
    client.call_tool("x", json!({})).unwrap_err();
    seen(&see);
    client.list_tools().unwrap();
    assert_eq!(seen(&see), ["tools/list"]);
}

#[test]
fn what_is_wanted_fresh_is_asked_for_and_takes_the_place_of_what_was_kept() {
    let number = AtomicUsize::new(0);
    let (client, see) = open(Era::Modern, Cache::new(), move |peer, request| {
        let number = number.fetch_add(1, Ordering::SeqCst).to_string();
        peer.reply(
            request,
            match request.method() {
                "prompts/list" => json!({ "prompts": [{ "name": number }] }),
                _ => json!({ "contents": [{ "uri": "a://b", "text": number }] }),
            },
        );
    });
    let text = |result: ReadResourceResult| result.contents[0].as_text().unwrap().to_owned();
    assert_eq!(text(client.read_resource("a://b").unwrap()), "0");
    assert_eq!(text(client.resource("a://b").fresh().call().unwrap()), "1");
    assert_eq!(text(client.read_resource("a://b").unwrap()), "1");
    assert_eq!(text(client.resource("a://b").start().unwrap().wait().unwrap()), "2");
    assert_eq!(text(client.read_resource("a://b").unwrap()), "2");
    assert_eq!(client.list_prompts().unwrap()[0].name, "3");
    assert_eq!(client.prompts().fresh().all().unwrap()[0].name, "4");
    assert_eq!(client.list_prompts().unwrap()[0].name, "4");
    let stats = client.cache().stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (3, 2, 2));
    assert_eq!(see.try_iter().count(), 5);
}

#[test]
fn what_a_pattern_fits_goes() {
    let all = || ALL.map(str::to_owned).to_vec();
    for (pattern, goes) in [
        ("tools/list", vec![LISTS[0]]),
        ("*/list", LISTS.to_vec()),
        ("resources/*", vec![LISTS[2], LISTS[3], "a://b", "a://b/c"]),
        ("resources/read", vec!["a://b", "a://b/c"]),
        ("a://b", vec!["a://b"]),
        ("a://b*", vec!["a://b", "a://b/c"]),
        ("a://*/c", vec!["a://b/c"]),
        ("A://b", vec![]),
        ("tools", vec![]),
        ("", vec![]),
        ("*", all().iter().map(String::as_str).collect()),
    ] {
        let (client, see) = saying(Era::Modern, Cache::new());
        use_all(&client);
        assert_eq!(client.cache().invalidate(pattern), goes.len(), "{pattern:?}");
        assert_eq!(asked_again(&client, &see), goes, "{pattern:?}");
    }
    let (client, see) = saying(Era::Legacy, Cache::new());
    let handle = client.cache();
    use_all(&client);
    handle.clone().clear();
    assert_eq!((handle.stats().entries, handle.stats().bytes), (0, 0));
    assert_eq!(asked_again(&client, &see), ALL);
}

#[test]
fn roots_may_change_what_a_server_offers() {
    let server = Server::in_memory(|peer| {
        let mut next = peer.open_legacy(everything());
        while let Some(request) = next {
            if !request.id().is_null() {
                peer.reply(&request, result(&request));
            }
            next = peer.receive();
        }
    });
    let builder = Client::builder().cache(Cache::new()).root(Root::new("file:///a"));
    let client = builder.open(server.era(Era::Legacy)).unwrap();
    use_all(&client);
    assert_eq!(client.cache().stats().entries, 6);
    client.set_roots([Root::new("file:///b")]).unwrap();
    assert_eq!(client.cache().stats().entries, 0);
}

#[test]
fn a_closed_client_gives_out_nothing() {
    let (client, _see) = saying(Era::Modern, Cache::new().stale_if_error(FOREVER));
    use_all(&client);
    client.close();
    assert_eq!(client.list_tools().unwrap_err().kind(), ErrorKind::Closed);
    let read = client.read_resources(["a://b"]).remove(0);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_cancelled_token_ends_also_what_is_kept() {
    let (client, _see) = saying(Era::Modern, Cache::new());
    let token = CancelToken::new();
    use_all(&client);
    client.resource("a://b").cancel_token(&token).call().unwrap();
    token.cancel();
    let error = client.resource("a://b").cancel_token(&token).call().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

/// Everything, with a server that is a program of its own or at a URL.
pub fn with_example(server: Server, changes_on_call: bool) {
    let (told, tell) = mpsc::channel();
    let builder = Client::builder().on(EventKind::RequestSent, move |event| {
        let _ = told.send(event.method().to_owned());
    });
    let client =
        builder.cache(Cache::new().invalidate_on_call(changes_on_call)).open(server).unwrap();
    let use_it = || {
        client.list_tools().unwrap();
        client.list_resources().unwrap();
        client.read_resource("memo://1").unwrap();
    };
    let misses = || client.cache().stats().misses;
    use_it();
    let once = misses();
    use_it();
    assert_eq!(misses(), once);
    let _ = client.call_tool("echo", json!({ "message": "x" })).unwrap().into_result().unwrap();
    use_it();
    let tools = client.tools().pages().count() as u64;
    let again = if changes_on_call { once + (once - tools) } else { once };
    assert_eq!(misses(), again);
    assert_eq!(client.cache().invalidate("memo://*"), 1);
    use_it();
    assert_eq!(misses(), again + 1);
    client.close();
    // As many as that were sent.
    let sent: Vec<String> = tell
        .iter()
        .filter(|method| LISTS.contains(&&**method) || method == "resources/read")
        .collect();
    assert_eq!(sent.len() as u64, again + 1, "{sent:?}");
}

// CACHE-1
#[test]
fn lists_and_reads_are_kept_over_stdio() {
    soon(|| {
        for era in ["modern", "legacy"] {
            for changes_on_call in [true, false] {
                with_example(example_server(era), changes_on_call);
            }
        }
    });
}
