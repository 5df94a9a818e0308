//! The same asked for by many at once: who asks, who waits, and for how long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use serde_json::json;
use umcp::memory::Received;
use umcp::{Cache, CancelToken, Client, Era, ErrorKind, Server};

use crate::cache::{open, opening, result, seen};
use crate::common::{ERAS, FOREVER, SHORT, soon};
use crate::input_rounds::{asks, form, named};

#[test]
fn the_same_is_asked_for_once_at_a_time() {
    const CALLERS: usize = 8;
    soon(|| {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let (client, see) = open(Era::Modern, Cache::new(), move |peer, request| {
            wait.lock().unwrap().recv().unwrap();
            peer.reply(request, result(request));
        });
        let barrier = Barrier::new(CALLERS + 1);
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    barrier.wait();
                    client.read_resource("a://b").unwrap();
                });
            }
            barrier.wait();
            assert_eq!(see.recv().unwrap().param("/uri"), "a://b");
            go.send(()).unwrap();
        });
        assert_eq!(seen(&see), [""; 0]);
        let stats = client.cache().stats();
        assert_eq!((stats.hits, stats.misses), (CALLERS as u64 - 1, 1));
    });
}

/// A server that answers every read but the first, while that is under way on another thread.
fn first_unanswered(run: impl FnOnce(&Client, &Receiver<Received>, &CancelToken) + Send + 'static) {
    soon(|| {
        let count = AtomicUsize::new(0);
        let cache = Cache::new().stale_if_error(FOREVER);
        let (client, see) = open(Era::Modern, cache, move |peer, request| {
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                peer.reply(request, result(request));
            }
        });
        let token = CancelToken::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| client.resource("a://b").cancel_token(&token).call());
            assert_eq!(see.recv().unwrap().param("/uri"), "a://b");
            run(&client, &see, &token);
            token.cancel();
            assert!(first.join().unwrap().unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn who_waits_for_another_s_answer_has_clocks_and_a_token_of_its_own() {
    first_unanswered(|client, see, _| {
        let error = client.resource("a://b").timeout(SHORT).call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(!error.may_have_run());
        let text = error.to_string();
        assert!(
            text.contains("resources/read \"a://b\": no reply within 100ms (`timeout`)"),
            "{text}"
        );
        assert!(text.contains("another call"), "{text}");
        let error = client.resource("a://b").max_total(SHORT).call().unwrap_err();
        assert!(error.to_string().contains("`max_total`"), "{error}");
        let token = CancelToken::new();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| client.resource("a://b").cancel_token(&token).call());
            token.cancel();
            assert!(waiting.join().unwrap().unwrap_err().is_cancelled());
        });
        // Nobody has been told or asked anything.
        assert_eq!(seen(see), [""; 0]);
        // This waits for nobody.
        client.resource("a://b").fresh().call().unwrap();
        assert_eq!(seen(see), ["a://b"]);
    });
}

#[test]
fn what_was_asked_before_a_change_is_not_waited_for() {
    first_unanswered(|client, see, _| {
        client.cache().invalidate("a://b");
        client.read_resource("a://b").unwrap();
        assert_eq!(seen(see), ["a://b"]);
    });
}

#[test]
fn when_the_first_fails_another_one_asks() {
    first_unanswered(|client, see, token| {
        thread::scope(|scope| {
            let others: Vec<_> =
                (0..3).map(|_| scope.spawn(|| client.read_resource("a://b"))).collect();
            token.cancel();
            others.into_iter().for_each(|other| _ = other.join().unwrap().unwrap());
        });
        let asked = seen(see);
        assert_eq!(asked.iter().filter(|it| *it == "a://b").count(), 1, "{asked:?}");
    });
}

// CACHE-6
#[test]
fn what_is_not_to_be_kept_is_shared_by_nobody() {
    soon(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let (client, see) = open(Era::Modern, Cache::new(), move |peer, request| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                wait.lock().unwrap().recv().unwrap();
            }
            peer.reply(request, json!({ "contents": [], "ttlMs": 0 }));
        });
        thread::scope(|scope| {
            scope.spawn(|| client.read_resource("a://b").unwrap());
            see.recv().unwrap();
            (0..3).for_each(|_| _ = scope.spawn(|| client.read_resource("a://b").unwrap()));
            go.send(()).unwrap();
        });
        assert_eq!(count.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn a_handler_may_read_what_is_being_read() {
    soon(|| {
        for era in ERAS {
            let count = AtomicUsize::new(0);
            let (seen, see) = mpsc::channel();
            let server = Server::in_memory(move |peer| {
                let mut next = opening(&peer, era);
                let mut first = None;
                while let Some(request) = next {
                    let _ = seen.send(());
                    match (request.method(), era, count.fetch_add(1, Ordering::SeqCst)) {
                        ("resources/read", Era::Legacy, 0) => {
                            let question = form()["params"].clone();
                            peer.send(
                                json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
                                "params": question }),
                            );
                            first = Some(request);
                        }
                        ("resources/read", _, 0) => {
                            peer.reply(&request, asks(json!({ "q": form() }), None));
                        }
                        ("", ..) => {
                            peer.reply(first.as_ref().unwrap(), result(first.as_ref().unwrap()))
                        }
                        _ => peer.reply(&request, result(&request)),
                    }
                    next = peer.receive();
                }
            });
            let builder = Client::builder().cache(Cache::new()).on_elicitation(|_, context| {
                context.client().read_resource("a://b").unwrap();
                named("Ada")
            });
            let client = builder.open(server.era(era)).unwrap();
            client.read_resource("a://b").unwrap();
            assert_eq!(see.try_iter().count(), 3);
        }
    });
}

#[test]
fn nobody_waits_while_the_user_is_asked() {
    soon(|| {
        let count = AtomicUsize::new(0);
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let server = Server::in_memory(move |peer| {
            let mut next = opening(&peer, Era::Modern);
            while let Some(request) = next {
                match count.fetch_add(1, Ordering::SeqCst) {
                    0 => {
                        wait.lock().unwrap().recv().unwrap();
                        peer.reply(&request, asks(json!({ "q": form() }), None));
                    }
                    _ => peer.reply(&request, result(&request)),
                }
                next = peer.receive();
            }
        });
        let (done, is_done) = mpsc::channel();
        let is_done = Mutex::new(is_done);
        let builder = Client::builder().cache(Cache::new()).on_elicitation(move |_, _| {
            is_done.lock().unwrap().recv().unwrap();
            named("Ada")
        });
        let client = builder.open(server).unwrap();
        thread::scope(|scope| {
            let first = scope.spawn(|| client.read_resource("a://b"));
            let others: Vec<_> =
                (0..3).map(|_| scope.spawn(|| client.read_resource("a://b"))).collect();
            go.send(()).unwrap();
            // One of them is asked, whoever came first, and waits for this.
            let threads: Vec<_> = others.into_iter().chain([first]).collect();
            while threads.iter().filter(|thread| thread.is_finished()).count() < 3 {
                thread::yield_now();
            }
            done.send(()).unwrap();
            threads.into_iter().for_each(|thread| _ = thread.join().unwrap().unwrap());
        });
        assert_eq!(client.cache().stats().entries, 1);
    });
}

// CACHE-21
#[test]
fn an_error_is_everybody_s_own() {
    soon(|| {
        let (client, see) = open(Era::Modern, Cache::new(), |peer, request| {
            peer.reply_error(request, -32002, "no such resource", None);
        });
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!(client.read_resource("a://b").unwrap_err().is_not_found()));
            }
        });
        assert_eq!(seen(&see).len(), 4);
    });
}
