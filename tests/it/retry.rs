//! Asking again: after what, how often, and that nothing is done twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use umcp::{CancelToken, Client, ClientBuilder, Era, ErrorKind, EventKind, Retry};

use crate::calls::{all_received, answering, said, tools};
use crate::common::{ERAS, FOREVER, SHORT, soon};
use crate::era::methods;
use crate::http_peer::{Answer, Endpoint, Post, answer, http};
use crate::input_rounds::{asks, form, named};

/// Up to so many attempts, with hardly a wait between them.
fn at_once(attempts: u32) -> Retry {
    let moment = Duration::from_millis(1);
    Retry::new().attempts(attempts).backoff(moment, moment)
}

fn retrying(attempts: u32) -> ClientBuilder {
    Client::builder().retry(at_once(attempts))
}

/// A server that opens, then answers so many requests like this, and the others well.
fn failing(times: usize, fail: impl Fn() -> Answer + Send + Sync + 'static) -> Endpoint {
    let asked = AtomicUsize::new(0);
    Endpoint::new(move |post: &Post| match asked.fetch_add(1, Ordering::SeqCst) < times {
        true => fail(),
        false => match post.what() {
            "tools/call" => answer(post, &said("done")),
            _ => answer(post, &json!({ "tools": [] })),
        },
    })
}

fn failed(text: &str) -> Value {
    let mut result = said(text);
    result["isError"] = true.into();
    result
}

fn call(client: &Client) -> umcp::Result<String> {
    client.call_tool("x", ()).map(|result| result.text())
}

#[test]
fn a_call_that_was_turned_away_is_made_again_and_each_attempt_is_an_event() {
    soon(|| {
        let endpoint = failing(2, || http(429, "Retry-After: 0\r\n", ""));
        let client = retrying(3).open(endpoint.server()).unwrap();
        let events = client.events();
        assert_eq!(call(&client).unwrap(), "done");
        assert_eq!(endpoint.seen(), ["server/discover", "tools/call", "tools/call", "tools/call"]);
        drop(client);
        let kinds = [EventKind::Retried, EventKind::ToolCalled];
        let told: Vec<_> = events.filter(|event| kinds.contains(&event.kind())).collect();
        assert_eq!(
            told.iter().map(|it| it.kind()).collect::<Vec<_>>(),
            [EventKind::Retried, EventKind::Retried, EventKind::ToolCalled]
        );
        let first = &told[0];
        assert_eq!((first.method(), first.name()), ("tools/call", Some("x")));
        assert_eq!(first.error().unwrap().kind(), ErrorKind::Unreachable);
        assert!(first.duration().unwrap() <= Duration::from_millis(1));
        let line = first.to_string();
        assert!(
            line.starts_with("web: retried \"x\"") && line.ends_with(": Unreachable"),
            "{line}"
        );
        assert!(!told[2].is_failure());
    });
}

#[test]
fn nothing_is_made_again_unless_that_is_wanted_and_no_more_often_than_that() {
    soon(|| {
        for (builder, most) in [(Client::builder(), 1), (retrying(1), 1), (retrying(3), 3)] {
            let endpoint = failing(usize::MAX, || http(429, "", ""));
            let client = builder.open(endpoint.server()).unwrap();
            let error = call(&client).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unreachable);
            assert_eq!(endpoint.seen().len(), 1 + most);
            // A call may do otherwise than its client.
            client.tool("x").retry(Retry::never()).call().unwrap_err();
            assert_eq!(endpoint.seen().len(), 1);
            client.tool("x").retry(at_once(4)).call().unwrap_err();
            client.tools().retry(at_once(4)).all().unwrap_err();
            assert_eq!(endpoint.seen().len(), 8);
        }
    });
}

#[test]
fn a_tool_that_may_have_begun_is_not_called_again_and_what_only_asks_is() {
    soon(|| {
        let answers: [fn() -> Answer; 2] =
            [|| http(503, "Retry-After: 0\r\n", ""), || http(500, "", "")];
        for fail in answers {
            let endpoint = failing(1, fail);
            let client = retrying(3).open(endpoint.server()).unwrap();
            let error = call(&client).unwrap_err();
            assert!(error.may_have_run(), "{error}");
            assert_eq!(endpoint.seen(), ["server/discover", "tools/call"]);

            let endpoint = failing(2, fail);
            let client = retrying(3).open(endpoint.server()).unwrap();
            assert_eq!(client.list_tools().unwrap(), []);
            assert_eq!(endpoint.seen().len(), 4);
        }
        // What will not pass is not tried again, whatever it is.
        for status in [400, 401, 403, 404] {
            let endpoint = failing(1, move || http(status, "", ""));
            let client = retrying(3).open(endpoint.server()).unwrap();
            client.list_tools().unwrap_err();
            assert_eq!(endpoint.seen(), ["server/discover", "tools/list"], "{status}");
        }
    });
}

#[test]
fn a_connection_that_breaks_during_a_call_is_no_reason_to_call_again() {
    soon(|| {
        let endpoint = failing(1, || Answer::Close);
        let client = retrying(5).open(endpoint.server()).unwrap();
        assert!(call(&client).unwrap_err().may_have_run());
        assert_eq!(endpoint.seen(), ["server/discover", "tools/call"]);
        // The program knows better.
        let endpoint = failing(2, || Answer::Close);
        let client = retrying(5).open(endpoint.server()).unwrap();
        let again = at_once(3).when(|error| error.kind() == ErrorKind::Disconnected);
        assert_eq!(client.tool("x").retry(again).call().unwrap().text(), "done");
        assert_eq!(endpoint.seen().len(), 4);
    });
}

#[test]
fn a_server_that_cannot_be_reached_yet_is_opened_again() {
    soon(|| {
        let asked = AtomicUsize::new(0);
        let endpoint = Endpoint::bare(move |post| match asked.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => http(503, "", ""),
            _ => answer(post, &crate::stdio::discovered(&tools())),
        });
        let error = Client::open(endpoint.server()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        drop(retrying(2).open(endpoint.server()).unwrap());
        assert_eq!(endpoint.seen(), ["server/discover"; 3]);

        // A token ends the wait before the next attempt.
        let endpoint = Endpoint::bare(|_| http(503, "Retry-After: 3600\r\n", ""));
        let token = CancelToken::new();
        let opens = retrying(2).cancel_token(&token);
        let timeouts = umcp::Timeouts::default().max_total(FOREVER);
        let server = endpoint.server().timeouts(timeouts);
        let opens = thread::spawn(|| opens.open(server).unwrap_err());
        endpoint.next("server/discover");
        token.cancel();
        opens.join().unwrap();
        assert!(endpoint.seen().is_empty());
    });
}

#[test]
fn what_a_tool_reports_is_a_reason_only_if_that_is_said() {
    soon(|| {
        for era in ERAS {
            for (fails, expected, made) in [(2, "done", 3), (5, "failure 3", 3)] {
                let asked = AtomicUsize::new(0);
                let (server, received) = answering(era, tools(), move |wire, message| {
                    let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                    match number <= fails {
                        true => wire.reply(message, failed(&format!("failure {number}"))),
                        false => wire.reply(message, said("done")),
                    }
                });
                let client = Client::open(server).unwrap();
                let result = client.tool("x").retry(at_once(3).tool_errors()).call().unwrap();
                assert_eq!(
                    (result.text().as_str(), result.is_error),
                    (expected, expected != "done")
                );
                let received = all_received(&client, &received);
                assert_eq!(methods(&received), vec!["tools/call"; made]);
                assert!(received.iter().all(|it| it.param("/name") == "x"));
                assert_ne!(received[0].id(), received[1].id());
            }
            let (server, received) =
                answering(era, tools(), |wire, message| wire.reply(message, failed("no")));
            let client = retrying(3).open(server).unwrap();
            assert!(client.call_tool("x", ()).unwrap().is_error);
            assert_eq!(all_received(&client, &received).len(), 1);
        }
    });
}

#[test]
fn the_program_says_after_which_errors() {
    soon(|| {
        let asked = AtomicUsize::new(0);
        let (server, received) = answering(Era::Legacy, tools(), move |wire, message| {
            let code = -32001 - asked.fetch_add(1, Ordering::SeqCst) as i64;
            wire.reply_error(message, code, "busy", None);
        });
        let client = retrying(9).open(server).unwrap();
        let code = |error: &umcp::Error| error.rpc().map(|rpc| rpc.code);
        let busy = at_once(9).when(move |error| code(error) > Some(-32004));
        let error = client.tool("x").retry(busy).call().unwrap_err();
        assert_eq!(code(&error), Some(-32004));
        // Of none of the attempts is it known that it did nothing.
        assert!(error.may_have_run());
        assert_eq!(all_received(&client, &received).len(), 4);
    });
}

#[test]
fn what_is_over_is_not_made_again_whoever_asks_for_it_again() {
    soon(|| {
        for fails in [false, true] {
            let (server, received) =
                answering(Era::Modern, tools(), move |wire, message| match fails {
                    true => wire.reply_error(message, -32000, "no", None),
                    false => wire.reply(message, said("done")),
                });
            let client = Client::open(server).unwrap();
            let once = AtomicUsize::new(0);
            let when = move |_: &umcp::Error| !fails || once.fetch_add(1, Ordering::SeqCst) > 0;
            let mut call = client.tool("x").retry(at_once(9).when(when)).start().unwrap();
            assert_eq!(call.wait_timeout(FOREVER).is_err(), fails);
            for _ in 0..2 {
                assert_eq!(call.try_wait().unwrap_err().kind(), ErrorKind::InvalidInput);
            }
            assert_eq!(all_received(&client, &received).len(), 1);
        }
    });
}

#[test]
fn what_was_answered_before_a_tool_failed_is_asked_again() {
    soon(|| {
        let (server, received) = answering(Era::Modern, tools(), |wire, message| {
            match message.param("/inputResponses").is_null() {
                true => wire.reply(message, asks(json!({ "who": form() }), Some("state"))),
                false => wire.reply(message, failed("no")),
            }
        });
        let client = Client::builder().on_elicitation(|_, _| named("Ada")).open(server).unwrap();
        let call = client.tool("x").retry(at_once(2).tool_errors()).call().unwrap();
        assert!(call.is_error);
        let received = all_received(&client, &received);
        let answered = |message: &umcp::memory::Received| {
            assert_eq!(
                message.param("/inputResponses").is_null(),
                message.param("/requestState").is_null()
            );
            !message.param("/inputResponses").is_null()
        };
        let answered: Vec<bool> = received.iter().map(answered).collect();
        assert_eq!(answered, [false, true, false, true]);
    });
}

#[test]
fn what_would_come_after_the_clocks_is_not_waited_for() {
    soon(|| {
        let endpoint = failing(1, || http(429, "Retry-After: 3600\r\n", ""));
        let client = retrying(3).open(endpoint.server()).unwrap();
        for (timeout, max_total) in [(SHORT, FOREVER), (FOREVER, SHORT)] {
            let call = client.tool("x").timeout(timeout).max_total(max_total);
            match call.call() {
                Err(error) => assert_eq!(error.retry_after(), Some(Duration::from_secs(3600))),
                // The second time the server has calmed down.
                Ok(result) => assert_eq!(result.text(), "done"),
            }
        }
        assert_eq!(endpoint.seen(), ["server/discover", "tools/call", "tools/call"]);
    });
}

#[test]
fn the_wait_for_the_next_attempt_ends_when_the_caller_leaves() {
    soon(|| {
        let endpoint = failing(1, || http(429, "Retry-After: 3600\r\n", ""));
        let client =
            Client::builder()
                .retry(Retry::new())
                .open(endpoint.server().timeouts(
                    umcp::Timeouts::default().request(FOREVER * 9).max_total(FOREVER * 9),
                ))
                .unwrap();
        let events = client.events();
        let token = CancelToken::new();
        let mut pending = client
            .tool("x")
            .timeout(Duration::from_secs(7200))
            .max_total(Duration::from_secs(7200))
            .cancel_token(&token)
            .start()
            .unwrap();
        endpoint.next("tools/call");
        let retried = loop {
            assert!(pending.wait_timeout(SHORT).unwrap().is_none());
            match events.next_timeout(Duration::ZERO) {
                Some(event) if event.kind() == EventKind::Retried => break event,
                _ => {}
            }
        };
        assert_eq!(retried.duration(), Some(Duration::from_secs(3600)));
        token.cancel();
        let error = pending.wait().unwrap_err();
        assert!(error.is_cancelled() && !error.may_have_run(), "{error}");
        assert!(endpoint.seen().is_empty());
    });
}

#[test]
fn a_connection_that_has_ended_is_not_tried_again() {
    soon(|| {
        for era in ERAS {
            let (server, received) = crate::calls::played(era, tools(), |_, _| None);
            let client = retrying(3).open(server).unwrap();
            let events = client.events();
            assert_eq!(client.list_tools().unwrap_err().kind(), ErrorKind::Disconnected);
            assert_eq!(all_received(&client, &received).len(), 1);
            assert!(events.into_iter().all(|event| event.kind() != EventKind::Retried));
        }
    });
}
