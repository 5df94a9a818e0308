//! Servers that flood, lie and fall silent, and callbacks that panic: nothing hangs, grows or leaks.

use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use umcp::memory::Script;
use umcp::{ByteStream, CancelToken, Client, Era, ErrorKind, Limits, Server, Timeouts};

use crate::calls::{played, said, tools};
use crate::common::soon;

/// A server that answers every call with a result.
fn answering(result: serde_json::Value) -> Client {
    Client::open(Script::new().answer("tools/call", result).server()).unwrap()
}

/// Progress that comes faster than it is looked at.
fn flooding() -> Server {
    let (server, _) = played(Era::Modern, tools(), |wire, call| {
        let token = call.param("/_meta/progressToken").clone();
        let mut progress = 0.0;
        // Until the client has had enough.
        loop {
            for _ in 0..100 {
                progress += 1.0;
                wire.progress(&token, progress);
            }
            let params = json!({ "token": token });
            wire.notify("notifications/anything", params);
            if progress > 100_000.0 {
                return None;
            }
        }
    });
    server
}

// CANCEL-8, CANCEL-9
#[test]
fn a_flood_of_progress_stops_no_clock() {
    soon(|| {
        let client = Client::open(flooding()).unwrap();
        let busy = |_: &_| thread::yield_now();
        let call = client.tool("x").on_progress(busy).max_total(Duration::from_millis(100));
        assert!(call.call().unwrap_err().is_timeout());
    });
}

#[test]
fn a_flood_of_progress_does_not_hold_who_only_looks() {
    soon(|| {
        let client = Client::open(flooding()).unwrap();
        let (seen, progress) = mpsc::channel();
        let mut call = client.tool("x").on_progress(move |_| _ = seen.send(())).start().unwrap();
        while progress.try_recv().is_err() {
            assert!(call.try_wait().unwrap().is_none());
        }
        assert!(call.try_wait().unwrap().is_none());
    });
}

#[test]
fn a_listener_that_panics_misses_one_notification() {
    soon(|| {
        let (server, _) = played(Era::Modern, tools(), |wire, call| {
            for number in 0..3 {
                wire.notify("notifications/x", json!({ "number": number }));
            }
            wire.reply(&call, said("done"));
            Some(())
        });
        let (seen, numbers) = mpsc::channel();
        let client = Client::builder()
            .on_notification(move |notification, _| {
                let params = notification.params().to_value().unwrap();
                assert_ne!(params["number"], 0, "this panic is part of the test");
                seen.send(params["number"].clone()).unwrap();
            })
            .open(server)
            .unwrap();
        let _ = client.call_tool("x", ()).unwrap();
        assert_eq!([numbers.recv().unwrap(), numbers.recv().unwrap()], [1, 2]);
        assert!(!client.close().left_behind);
    });
}

/// A stream that has nothing to read until it is closed.
struct Quiet(mpsc::Receiver<()>);

impl Read for Quiet {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(0)
    }
}

impl Write for Quiet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_while_closing_holds_nobody() {
    soon(|| {
        let server = Server::stream(|| {
            let (end, quiet) = mpsc::channel();
            let (_, never) = mpsc::channel();
            Ok(ByteStream::new(Quiet(quiet), Quiet(never)).on_close(move || {
                drop(end);
                panic!("this panic is part of the test");
            }))
        });
        let timeouts = Timeouts::default().connect(Duration::from_millis(50));
        let error = Client::open(server.era(Era::Legacy).timeouts(timeouts)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
    });
}

#[test]
fn a_request_keeps_the_connection_that_it_needs() {
    soon(|| {
        let request = answering(said("done")).tool("x");
        assert_eq!(request.call().unwrap().text(), "done");
        let pending = answering(said("done")).tool("x").start().unwrap();
        assert_eq!(pending.wait().unwrap().text(), "done");
    });
}

#[test]
fn no_error_shows_what_a_result_holds() {
    soon(|| {
        const SECRET: &str = "hunter2";
        let secret = SECRET.repeat(10);
        let lists = Script::new().answer("tools/list", json!({ "tools": secret }));
        let odd = json!({ "content": secret });
        let structured = json!({ "content": [], "structuredContent": { "n": secret } });
        #[derive(Debug, serde::Deserialize)]
        struct Number {
            #[expect(dead_code, reason = "it is there to be read")]
            n: u64,
        }
        for error in [
            Client::open(lists.server()).unwrap().list_tools().unwrap_err(),
            answering(odd).call_tool("x", ()).unwrap_err(),
            answering(structured).call_tool("x", ()).unwrap().structured::<Number>().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(!format!("{error} {error:#?}").contains(SECRET), "{error}");
        }
        let huge = json!({ "resultType": "x".repeat(1_000_000), "content": [] });
        let error = answering(huge).call_tool("x", ()).unwrap_err();
        assert!(error.to_string().len() < 2_000, "{} bytes", error.to_string().len());
        let uri = "db://me:hunter2@host/table?key=hunter2";
        let error = Client::open(Script::new().answer("resources/list", json!({})).server())
            .unwrap()
            .read_resource(uri)
            .unwrap_err();
        assert!(!error.to_string().contains(SECRET), "{error}");
        assert!(error.to_string().contains("db://host/table"), "{error}");
    });
}

#[test]
fn a_peer_that_is_dropped_has_ended() {
    soon(|| {
        let (end, ended) = mpsc::channel::<()>();
        let ended = std::sync::Mutex::new(ended);
        let server = Server::in_memory(move |peer| {
            peer.open_modern(tools());
            drop(peer);
            let _ = ended.lock().unwrap().recv();
        });
        let client = Client::open(server).unwrap();
        let error = client.call_tool("x", ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        drop(end);
    });
}

#[test]
fn questions_before_the_era_is_known_are_few_and_short() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let Some(probe) = peer.receive() else { return };
            for number in 0..1_000 {
                peer.send(json!({ "jsonrpc": "2.0", "id": number, "method": "ping" }));
            }
            let long = "x".repeat(1_000_000);
            peer.send(json!({ "jsonrpc": "2.0", "id": long, "method": "ping" }));
            peer.reply_error(&probe, -32601, "no such method", None);
            let mut answers = 0;
            loop {
                let Some(message) = peer.receive() else { return };
                match message.method() {
                    "" => answers += 1,
                    "initialize" => {
                        let version = message.param("/protocolVersion");
                        let info = json!({ "name": answers.to_string(), "version": "1" });
                        let result = json!({
                            "protocolVersion": version, "capabilities": {}, "serverInfo": info,
                        });
                        peer.reply(&message, result);
                    }
                    _ => {}
                }
            }
        });
        let client = Client::open(server).unwrap();
        assert_eq!(client.server_info().unwrap().name, "64");
    });
}

#[test]
fn a_list_may_be_no_larger_than_a_message() {
    soon(|| {
        let script = Script::new().answer_with("tools/list", |params| {
            let page = params["cursor"].as_str().map_or(0, |page| page.parse().unwrap_or(0)) + 1;
            let name = "x".repeat(1_000);
            let tool = json!({ "name": name, "inputSchema": {} });
            Ok(json!({ "tools": [tool], "nextCursor": page.to_string() }))
        });
        let server = script.server().limits(umcp::Limits::default().message(10_000));
        let client = Client::open(server).unwrap();
        let error = client.list_tools().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        assert!(script.received("tools/list").len() < 20);
        assert_eq!(client.tools().pages().take(50).filter(Result::is_ok).count(), 50);
    });
}

#[test]
fn a_token_forgets_what_has_ended() {
    soon(|| {
        let token = CancelToken::new();
        let calls = |count: usize| {
            for _ in 0..count {
                let client = Client::builder()
                    .cancel_token(&token)
                    .open(Script::new().answer("tools/call", said("x")).server())
                    .unwrap();
                let _ = client.tool("x").cancel_token(&token).call().unwrap();
            }
        };
        calls(10);
        // What it holds shows in its size, which `Debug` prints.
        let debug = format!("{token:?}");
        assert!(debug.contains("requests: 0"), "{debug}");
    });
}

#[test]
fn what_a_server_wrote_instead_of_a_message_is_in_the_error() {
    soon(|| {
        for ends in [true, false] {
            let (server, _) = played(Era::Modern, tools(), move |wire, _| {
                wire.send_text("first");
                wire.send_text(format!("Error: no \x1b[1mAPI key{}", "!".repeat(10_000)));
                (!ends).then_some(())
            });
            let client = Client::open(server).unwrap();
            let error = client.tool("x").timeout(Duration::from_millis(100)).call().unwrap_err();
            let line = error.stray_line().unwrap();
            assert!(line.starts_with("Error: no [1mAPI key!!"), "{line}");
            assert!(line.len() < 1_000 && error.to_string().contains(line), "{error}");
        }
    });
}

#[test]
fn a_reply_that_is_nested_too_deep_costs_its_call_alone() {
    let server = |limits: Limits| {
        let server = Server::in_memory(|peer| {
            let mut next = peer.open_modern(json!({}));
            while let Some(request) = next {
                let deep = if request.method() == "deep" { 100_000 } else { 10 };
                let nested = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
                let id = request.id();
                peer.send_text(format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","a":{nested}}}}}"#
                ));
                next = peer.receive();
            }
        });
        server.name("files").limits(limits)
    };
    let client = Client::open(server(Limits::default())).unwrap();
    let error = client.request("deep", ()).call().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let text = error.to_string();
    assert!(
        text.contains("nested deeper than 128 levels") && text.contains("Limits::nesting"),
        "{text}"
    );
    client.request("flat", ()).call().unwrap();

    let client = Client::open(server(Limits::default().nesting(100_003))).unwrap();
    client.request("deep", ()).call().unwrap();
}

#[test]
fn a_program_that_repeats_what_it_is_sent_is_told_apart_at_once() {
    let server = Server::in_memory(|peer| {
        while let Some(request) = peer.receive() {
            peer.send(request.0);
        }
    });
    let error = Client::open(server.name("files")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("repeats what it is sent"), "{error}");
}

#[test]
fn content_that_names_its_type_again_and_again_is_read_once() {
    soon(|| {
        let types = r#""type":"text","#.repeat(300_000);
        let server = Server::in_memory(move |peer| {
            let mut next = peer.open_modern(tools());
            while let Some(request) = next {
                let id = request.id();
                peer.send_text(format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"text":"a",{types}"type":"text"}}]}}}}"#
                ));
                next = peer.receive();
            }
        });
        let client = Client::open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "a");
    });
}

#[test]
fn a_batch_that_is_too_long_holds_nobody_past_his_clock() {
    soon(|| {
        let server = Server::in_memory(|peer| {
            let initialize = peer.receive().unwrap();
            let capabilities = json!({ "tools": {} });
            peer.reply(
                &initialize,
                json!({ "protocolVersion": "2025-03-26",
                "capabilities": capabilities, "serverInfo": { "name": "x", "version": "1" } }),
            );
            while let Some(request) = peer.receive() {
                if request.method() == "tools/call" {
                    let ones = "1,".repeat(1024);
                    let answer =
                        json!({ "jsonrpc": "2.0", "id": request.id(), "result": said("late") });
                    peer.send_text(format!("[{ones}{answer}]"));
                    let ones = "1,".repeat(1023);
                    let answer =
                        json!({ "jsonrpc": "2.0", "id": request.id(), "result": said("in time") });
                    peer.send_text(format!("[{ones}{answer}]"));
                }
            }
        });
        let client = Client::open(server.era(Era::Legacy)).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "in time");
    });
}

#[test]
fn a_server_that_asks_what_only_clients_ask_costs_no_connection() {
    let server = Server::in_memory(|peer| {
        let initialize = peer.receive().unwrap();
        peer.reply(
            &initialize,
            json!({ "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} }, "serverInfo": { "name": "x", "version": "1" } }),
        );
        while let Some(call) = peer.receive() {
            if call.method() == "tools/call" {
                for (id, method) in [(1, "initialize"), (2, "server/discover")] {
                    peer.send(json!({ "jsonrpc": "2.0", "id": id, "method": method }));
                    let answer = peer.receive().unwrap();
                    assert_eq!(
                        (answer.id(), &answer.0["error"]["code"]),
                        (&json!(id), &json!(-32601))
                    );
                }
                peer.reply(&call, said("done"));
            }
        }
    });
    let client = Client::open(server.era(Era::Legacy)).unwrap();
    assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
}
