//! How much a client asks of its server: whose turn it is, and what becomes of who waits.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use umcp::memory::Received;
use umcp::{CancelToken, Client, Era, Error, ErrorKind, Request, RequestLimits, Server, protocol};

use crate::calls::{all_received, answering, mortal, played, said, tools};
use crate::common::{ERAS, FOREVER, SHORT, echo, example_server, soon};
use crate::handlers::request;
#[cfg(feature = "http")]
use crate::http_peer::{Endpoint, answer, http};
#[cfg(feature = "http")]
use crate::http_subscriptions::{acknowledged, streaming};
use crate::input_rounds::{asks, form, handling, named};
use crate::metrics::acknowledge;

fn limits() -> RequestLimits {
    RequestLimits::new()
}

/// So many at once, and no further one while a test runs.
fn burst(requests: u32) -> RequestLimits {
    limits().per_second(0.001).burst(requests)
}

/// A server that does what the tool's name says.
fn server(era: Era) -> (Server, Receiver<Received>) {
    answering(era, tools(), |wire, message| match message.method() {
        "tools/call" => match message.param("/name").as_str().unwrap() {
            "error" => wire.reply_error(message, -1, "no", None),
            "never" => {}
            _ => wire.reply(message, said("done")),
        },
        _ => acknowledge(wire, message),
    })
}

fn open(era: Era, limits: RequestLimits) -> (Client, Receiver<Received>) {
    let (server, received) = server(era);
    (Client::open(server.request_limits(limits)).unwrap(), received)
}

fn call(client: &Client) -> Result<String, Error> {
    client.call_tool("ok", json!({})).map(|result| result.text())
}

/// Makes the call on a thread. Returns once it waits: for its turn, or for a reply that does not come yet.
fn waiting(request: Request<'static, protocol::CallToolResult>) -> Waits {
    let token = CancelToken::new();
    let request = request.timeout(FOREVER).max_total(FOREVER).cancel_token(&token);
    let thread = thread::spawn(move || request.call());
    while !format!("{token:?}").contains("requests: 1") {
        assert!(!thread.is_finished());
        thread::yield_now();
    }
    Waits { token, thread }
}

struct Waits {
    token: CancelToken,
    thread: thread::JoinHandle<Result<protocol::CallToolResult, Error>>,
}

impl Waits {
    fn end(self) -> Result<String, Error> {
        self.thread.join().unwrap().map(|result| result.text())
    }
}

fn names(received: &[Received]) -> Vec<&str> {
    let calls = received.iter().filter(|message| message.method() == "tools/call");
    calls.map(|message| message.param("/name").as_str().unwrap()).collect()
}

#[test]
fn beyond_the_rate_a_call_fails_at_once_if_that_is_wanted() {
    soon(|| {
        for era in ERAS {
            let (client, received) = open(era, burst(3).fail_fast());
            (0..3).for_each(|_| assert_eq!(call(&client).unwrap(), "done"));
            // The clones of a client are one.
            for client in [&client, &client.clone()] {
                let error = call(client).unwrap_err();
                assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Limit, false));
                let after = error.retry_after().unwrap();
                assert!(after <= Duration::from_secs(1000) && after > Duration::from_secs(500));
                let text = error.to_string();
                let start = "in-memory: tools/call \"ok\": not sent: `RequestLimits::per_second` \
                    allows 0.001 in a second. Try again in ";
                assert!(text.starts_with(start), "{text}");
            }
            assert_eq!(client.metrics().requests, 3);
            assert_eq!(all_received(&client, &received).len(), 3);
        }
    });
}

#[test]
fn beyond_the_rate_a_call_waits_for_its_turn() {
    soon(|| {
        let (client, _) = open(Era::Modern, limits().per_second(50.0).burst(2));
        let began = Instant::now();
        (0..5).for_each(|_| assert_eq!(call(&client).unwrap(), "done"));
        assert!(began.elapsed() >= Duration::from_millis(60), "{:?}", began.elapsed());
    });
}

#[test]
fn each_that_waits_for_the_rate_has_its_turn_after_the_one_before() {
    soon(|| {
        let (client, _) = open(Era::Modern, limits().per_second(50.0).burst(1));
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..6 {
                let request = client.tool("ok").timeout(FOREVER).max_total(FOREVER);
                scope.spawn(|| assert_eq!(request.call().unwrap().text(), "done"));
            }
        });
        assert!(began.elapsed() >= Duration::from_millis(100), "{:?}", began.elapsed());
    });
}

#[test]
fn whoever_has_no_turn_within_its_clocks_is_told_which_and_nothing_was_sent() {
    soon(|| {
        for limits in [burst(1), limits().max_in_flight(1)] {
            let (client, received) = open(Era::Modern, limits);
            let _first = client.tool("never").start().unwrap();
            let short = || client.tool("ok").timeout(SHORT);
            let total = || client.tool("ok").max_total(SHORT);
            for (error, clock) in [
                (short().call().unwrap_err(), "timeout"),
                (total().call().unwrap_err(), "max_total"),
                (short().start().map(drop).unwrap_err(), "timeout"),
            ] {
                assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Timeout, false));
                assert_eq!(
                    error.to_string(),
                    format!(
                        "in-memory: tools/call \"ok\": not sent within 100ms (`{clock}`): it was \
                         waiting for its turn. Raise `{clock}`, or what `Server::request_limits` \
                         allows"
                    )
                );
            }
            assert_eq!(names(&all_received(&client, &received)), ["never"]);
        }
    });
}

#[test]
fn a_token_ends_the_wait_for_a_turn_and_so_does_the_end_of_the_connection() {
    soon(|| {
        for limits in [burst(1), limits().max_in_flight(1)] {
            let (client, received) = open(Era::Modern, limits);
            let _first = client.tool("never").start().unwrap();
            let all: Vec<_> = (0..3).map(|_| waiting(client.tool("ok"))).collect();
            let cancelled = waiting(client.tool("ok"));
            cancelled.token.cancel();
            assert_eq!(cancelled.end().unwrap_err().kind(), ErrorKind::Cancelled);
            assert!(!client.close().left_behind);
            for waits in all {
                let error = waits.end().unwrap_err();
                assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Closed, false));
            }
            assert_eq!(names(&received.try_iter().collect::<Vec<_>>()), ["never"]);
        }
    });
}

#[test]
fn a_server_that_dies_ends_the_wait_for_a_turn() {
    soon(|| {
        let (die, death) = mpsc::channel::<()>();
        let death = Mutex::new(death);
        let (server, _) = played(Era::Modern, tools(), move |_, _| {
            death.lock().unwrap().recv().unwrap();
            None
        });
        let client = Client::open(server.request_limits(limits().max_in_flight(1))).unwrap();
        let first = waiting(client.tool("never"));
        let second = waiting(client.tool("ok"));
        die.send(()).unwrap();
        for (waits, has_run) in [(first, true), (second, false)] {
            let error = waits.end().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Disconnected);
            assert_eq!(error.may_have_run(), has_run);
        }
    });
}

#[test]
fn first_come_first_served() {
    soon(|| {
        let (replies, reply) = mpsc::channel::<()>();
        let reply = Mutex::new(reply);
        // Replies when the test says so.
        let (server, received) = answering(Era::Modern, tools(), move |wire, message| {
            let _ = reply.lock().unwrap().recv();
            wire.reply(message, said("done"));
        });
        let client = Client::open(server.request_limits(limits().max_in_flight(1))).unwrap();
        let tools = ["a", "b", "c", "d", "e", "f"];
        let mut all: Vec<_> = tools.iter().map(|tool| waiting(client.tool(*tool))).collect();
        // Those behind move up.
        let left = all.remove(2);
        left.token.cancel();
        left.end().unwrap_err();
        (0..5).for_each(|_| replies.send(()).unwrap());
        for waits in all {
            assert_eq!(waits.end().unwrap(), "done");
        }
        assert_eq!(names(&all_received(&client, &received)), ["a", "b", "d", "e", "f"]);
    });
}

#[test]
fn more_calls_than_places_are_all_made_and_never_more_at_once() {
    soon(|| {
        for era in ERAS {
            let (client, received) = open(era, limits().max_in_flight(3));
            thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            assert_eq!(call(&client).unwrap(), "done");
                            assert!(client.metrics().in_flight <= 3);
                        }
                    });
                }
            });
            assert_eq!(client.metrics().in_flight, 0);
            assert_eq!(all_received(&client, &received).len(), 320);
        }
    });
}

#[test]
fn the_place_is_given_back_however_a_call_ends() {
    soon(|| {
        for era in ERAS {
            let (client, _) = open(era, limits().max_in_flight(1).fail_fast());
            let next = |what: &str| {
                assert_eq!(call(&client).unwrap(), "done", "{era}, after {what}");
            };
            next("nothing");
            client.call_tool("error", json!({})).unwrap_err();
            next("an error");
            client.tool("never").timeout(SHORT).call().unwrap_err();
            next("a timeout");
            drop(client.tool("never").start().unwrap());
            next("a drop");
            client.tool("never").start().unwrap().cancel();
            next("a cancel");
            let token = CancelToken::new();
            let pending = client.tool("never").cancel_token(&token).start().unwrap();
            token.cancel();
            next("a token");
            pending.wait().unwrap_err();
            client.tool("ok").cancel_token(&token).call().unwrap_err();
            next("a token that was cancelled before");

            let pending = client.tool("never").start().unwrap();
            let error = call(&client).unwrap_err();
            assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Limit, false), "{era}");
            assert_eq!(error.retry_after(), None);
            assert_eq!(
                error.to_string(),
                "in-memory: tools/call \"ok\": not sent: `RequestLimits::max_in_flight` allows 1 at \
                 once. Try again when one of them has ended, raise the limit, or let calls wait for \
                 their turn"
            );
            drop(pending);
            next("all that");
        }
    });
}

#[test]
fn a_reply_that_nobody_waits_for_gives_the_place_back_too() {
    soon(|| {
        for era in ERAS {
            let (client, _) = open(era, limits().max_in_flight(1));
            // One thread, which waits for none of them before all are sent.
            let all: Vec<_> = (0..10).map(|_| client.tool("ok").start().unwrap()).collect();
            for pending in all {
                assert_eq!(pending.wait().unwrap().text(), "done");
            }
        }
    });
}

#[test]
fn it_is_the_same_for_a_process() {
    soon(|| {
        let server = example_server("both").request_limits(limits().max_in_flight(1));
        let client = Client::open(server).unwrap();
        let start = |text: String| client.tool("echo").arg("message", text).start().unwrap();
        let all: Vec<_> = (0..20).map(|number| start(number.to_string())).collect();
        for (number, pending) in all.into_iter().enumerate() {
            assert_eq!(pending.wait().unwrap().text(), number.to_string());
        }
        thread::scope(|scope| {
            for text in ["a", "b", "c"] {
                let client = &client;
                scope.spawn(move || (0..50).for_each(|_| assert_eq!(echo(client, text), text)));
            }
        });
    });
}

#[test]
fn the_death_of_a_server_that_is_started_again_gives_places_back() {
    soon(|| {
        for era in ERAS {
            let server = mortal(era);
            let limits = limits().max_in_flight(1).fail_fast();
            let client = Client::open(server.era(era).respawn(3).request_limits(limits)).unwrap();
            client.call_tool("die", json!({})).unwrap_err();
            assert_eq!(call(&client).unwrap(), "done", "{era}");
        }
    });
}

/// A legacy server that asks in the middle of the call of `ask`, and answers other calls meanwhile.
fn asking() -> Server {
    let (server, _) = played(Era::Legacy, tools(), |wire, first| {
        let mut next = Some(first);
        let mut asked = None;
        while let Some(message) = next {
            match message.param("/name").as_str() {
                Some("ask") => {
                    asked = Some(message.clone());
                    wire.send(request("q", &form()));
                }
                Some(_) => wire.reply(&message, said("inside")),
                None => _ = asked.take().map(|call| wire.reply(&call, said("done"))),
            }
            next = wire.receive();
        }
        None
    });
    server
}

#[test]
fn a_handler_that_calls_does_not_wait_for_the_call_that_it_belongs_to() {
    soon(|| {
        let (go, gone) = mpsc::channel();
        let gone = Arc::new(Mutex::new(gone));
        let builder = || {
            let gone = gone.clone();
            Client::builder().on_elicitation(move |_, context| {
                gone.lock().unwrap().recv().unwrap();
                assert_eq!(call(context.client()).unwrap(), "inside");
                named("Ann")
            })
        };
        for limits in
            [limits().max_in_flight(1), limits().max_in_flight(1).per_second(50.0).burst(1)]
        {
            // A legacy server asks while it works on the call.
            let client = builder().open(asking().request_limits(limits.clone())).unwrap();
            // Others wait for the place meanwhile, and the handler does not get in line behind them.
            let call = waiting(client.tool("ask"));
            let others: Vec<_> = (0..3).map(|_| waiting(client.tool("x"))).collect();
            go.send(()).unwrap();
            assert_eq!(call.end().unwrap(), "done");
            others.into_iter().for_each(|it| assert_eq!(it.end().unwrap(), "inside"));

            // A modern one has answered the call, which is made again.
            let (server, _) = answering(Era::Modern, tools(), |wire, message| {
                let is_asked = message.param("/name") == "ask";
                match message.param("/inputResponses").is_null() {
                    true if is_asked => wire.reply(message, asks(json!({ "a": form() }), None)),
                    true => wire.reply(message, said("inside")),
                    false => wire.reply(message, said("done")),
                }
            });
            let client = builder().open(server.request_limits(limits)).unwrap();
            go.send(()).unwrap();
            assert_eq!(client.call_tool("ask", json!({})).unwrap().text(), "done");
        }
    });
}

#[test]
fn a_callback_that_calls_does_not_wait_for_its_own_call() {
    soon(|| {
        for era in ERAS {
            let (server, _) = played(era, tools(), |wire, call| {
                wire.progress(call.param("/_meta/progressToken"), 1.0);
                let inner = wire.receive()?;
                wire.reply(&inner, said("inside"));
                wire.reply(&call, said("done"));
                Some(())
            });
            let client = Client::open(server.request_limits(limits().max_in_flight(1))).unwrap();
            let mut inside = None;
            let request = client.tool("x").on_progress(|_| inside = Some(call(&client).unwrap()));
            assert_eq!(request.call().unwrap().text(), "done");
            assert_eq!(inside.as_deref(), Some("inside"));
        }
    });
}

#[test]
fn rounds_and_handlers_count_for_the_rate() {
    soon(|| {
        let asking = || {
            answering(Era::Modern, tools(), |wire, message| {
                match message.param("/inputResponses").is_null() {
                    true => wire.reply(message, asks(json!({ "a": form() }), None)),
                    false => wire.reply(message, said("done")),
                }
            })
        };
        let open = |requests| {
            let limits = burst(requests).fail_fast();
            handling().open(asking().0.request_limits(limits)).unwrap()
        };
        assert_eq!(call(&open(2)).unwrap(), "done");
        let error = call(&open(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(!error.may_have_run(), "the server has only asked");
    });
}

#[test]
fn a_wait_with_a_limit_does_not_go_on_for_a_turn() {
    soon(|| {
        let (server, received) = answering(Era::Modern, tools(), |wire, message| {
            wire.reply(message, asks(json!({ "a": form() }), None));
        });
        let client = handling().open(server.request_limits(burst(1))).unwrap();
        let request = client.tool("x").timeout(FOREVER).max_total(FOREVER);
        let mut pending = request.start().unwrap();
        // The answers are not sent before it is their turn, which is nobody's reason to wait longer.
        for _ in 0..3 {
            assert_eq!(pending.wait_timeout(SHORT).unwrap(), None);
        }
        assert_eq!(client.metrics().requests, 1);
        drop(pending);
        assert_eq!(names(&all_received(&client, &received)), ["x"]);

        // The call's own clocks are named, also when it was sent before.
        let (server, _) = answering(Era::Modern, tools(), |wire, message| {
            wire.reply(message, asks(json!({ "a": form() }), None));
        });
        let client = handling().open(server.request_limits(burst(1))).unwrap();
        let error = client.tool("x").timeout(SHORT).call().unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Timeout, false));
        assert!(error.to_string().contains("it was waiting for its turn"), "{error}");
    });
}

#[test]
fn a_task_is_asked_about_when_it_is_its_turn_which_holds_up_nobody() {
    soon(|| {
        let capabilities =
            json!({ "tools": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
        let (server, _) = answering(Era::Modern, capabilities, |wire, message| {
            let mut created = crate::tasks::task("working");
            created["resultType"] = "task".into();
            wire.reply(message, created);
        });
        for fails_fast in [false, true] {
            // One for the call, and none to ask what has become of it.
            let limits = if fails_fast { burst(1).fail_fast() } else { burst(1) };
            let client =
                Client::builder().tasks().open(server.clone().request_limits(limits)).unwrap();
            let call = client.tool("report").timeout(FOREVER).max_total(FOREVER);
            let mut pending = call.start().unwrap();
            for _ in 0..3 {
                assert_eq!(pending.wait_timeout(SHORT).unwrap(), None);
            }
            assert_eq!(client.metrics().requests, 1);
        }
    });
}

#[test]
fn a_subscription_counts_for_the_rate_and_is_not_in_flight() {
    soon(|| {
        let open = |limits: RequestLimits| {
            let (server, _) = answering(
                Era::Modern,
                json!({ "tools": { "listChanged": true } }),
                |wire, message| match message.method() {
                    "tools/call" => wire.reply(message, said("done")),
                    _ => acknowledge(wire, message),
                },
            );
            Client::open(server.request_limits(limits)).unwrap()
        };
        let client = open(burst(2).max_in_flight(1).fail_fast());
        let subscription = client.subscribe().tools().open().unwrap();
        assert_eq!(call(&client).unwrap(), "done");
        assert_eq!(call(&client).unwrap_err().kind(), ErrorKind::Limit);
        let error = client.subscribe().tools().open().map(drop).unwrap_err();
        assert_eq!(
            (error.kind(), error.method()),
            (ErrorKind::Limit, Some("subscriptions/listen"))
        );
        assert!(subscription.is_open());

        let client = open(burst(1));
        call(&client).unwrap();
        let error = client.subscribe().tools().timeout(SHORT).open().map(drop).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Timeout, false), "{error}");
    });
}

#[test]
fn silly_limits_are_refused_when_opening_and_nothing_is_started() {
    for (silly, why) in [
        (limits().per_second(0.0), "`per_second` is from 0.000001 to 1000000, and not 0"),
        (limits().per_second(f64::NAN), "`per_second` is from 0.000001 to 1000000, and not NaN"),
        (
            limits().per_second(f64::INFINITY),
            "`per_second` is from 0.000001 to 1000000, and not inf",
        ),
        (limits().per_second(1.0).burst(0), "`burst` is at least 1"),
        (limits().burst(1), "`burst` says nothing without `per_second`"),
        (limits().max_in_flight(0), "`max_in_flight` is at least 1"),
    ] {
        let server = Server::in_memory(|_| panic!("started")).request_limits(silly);
        let error = Client::open(server).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), format!("in-memory: `request_limits`: {why}"));
    }
    let server = Server::command("x").request_limits(limits().per_second(2.5));
    assert!(format!("{server:?}").contains("per_second: Some(2.5)"));
}

#[cfg(feature = "http")]
#[test]
fn over_http_each_attempt_counts_and_places_are_given_back() {
    soon(|| {
        let endpoint = Endpoint::new(|post| match post.body["params"]["name"].as_str() {
            Some("busy") => http(429, "Retry-After: 0\r\n", ""),
            Some("broken") => crate::http_peer::Answer::Close,
            Some("never") => crate::http_peer::Answer::Silence,
            _ => answer(post, &said("done")),
        });
        let moment = Duration::from_millis(1);
        let retry = umcp::Retry::new().attempts(5).backoff(moment, moment);
        let open = |limits| Client::open(endpoint.server().request_limits(limits)).unwrap();

        // The handshake does not count: two attempts, and no third.
        let client = open(burst(2).fail_fast());
        let error = client.tool("busy").retry(retry).call().unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Limit, false));
        assert_eq!(endpoint.seen(), ["server/discover", "tools/call", "tools/call"]);

        let client = open(limits().max_in_flight(1).fail_fast());
        for tool in ["busy", "broken", "never"] {
            client.tool(tool).timeout(SHORT).call().unwrap_err();
            assert_eq!(call(&client).unwrap(), "done", "after {tool}");
        }
        let pending = client.tool("never").start().unwrap();
        assert_eq!(call(&client).unwrap_err().kind(), ErrorKind::Limit);
        drop(pending);
        assert_eq!(call(&client).unwrap(), "done");

        let client = open(limits().max_in_flight(1));
        let all: Vec<_> = (0..5).map(|_| client.tool("ok").start().unwrap()).collect();
        for pending in all {
            assert_eq!(pending.wait().unwrap().text(), "done");
        }
    });
}

#[cfg(feature = "http")]
#[test]
fn a_subscription_that_was_lost_waits_for_its_turn_no_longer_than_whoever_listens() {
    soon(|| {
        let (endpoint, streams) = streaming();
        let server = endpoint.server().request_limits(burst(1).fail_fast());
        let client = Client::open(server).unwrap();
        let opens = thread::spawn(move || {
            let subscription = client.subscribe().tools().open();
            (client, subscription.unwrap())
        });
        let (listen, mut chunks) = (endpoint.next("subscriptions/listen"), streams.recv().unwrap());
        chunks.event(&acknowledged(&listen));
        let (_client, mut subscription) = opens.join().unwrap();
        chunks.cut();
        // It is asked for again within half a second, but for the limit.
        let wait = Duration::from_millis(700);
        assert_eq!(subscription.next_timeout(wait).unwrap(), None);
        assert_eq!(subscription.next_timeout(Duration::ZERO).unwrap(), None);
        assert!(!subscription.is_open() && endpoint.seen().is_empty());
        let closer = subscription.closer();
        let ends = thread::spawn(move || closer.close());
        let end = subscription.next_timeout(FOREVER).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::Closed);
        ends.join().unwrap();
        assert!(endpoint.seen().is_empty());
    });
}
