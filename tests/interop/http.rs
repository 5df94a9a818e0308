//! The same servers at URLs: Streamable HTTP of both eras, and HTTP+SSE.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use umcp::{Client, Era, ErrorKind, LoggingLevel, Notification, ProtocolVersion, Server, json};

use crate::everything::everything_works;
use crate::node::{ALL, WARNINGS, count, node_works};
use crate::python::python_works;
use crate::{
    everything, installed, is_cancelled_meanwhile, node, python, script, sees_a_cancellation,
};

/// For what comes within moments, unless it never does.
const WATCHDOG: Duration = Duration::from_secs(60);

/// A server that listens on this machine, until it is dropped.
pub(crate) struct Listening {
    process: Child,
    port: u16,
    path: &'static str,
}

impl Listening {
    /// `path`: where it serves MCP. Port 0: any that is free.
    pub(crate) fn start(command: &[String], path: &'static str, port: u16) -> Self {
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (said, says) = mpsc::channel();
        // It is read to its end, as a server whose output nobody reads comes to a halt.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(port) = line.strip_prefix("listening on ") {
                    let _ = said.send(port.parse().unwrap());
                }
            }
        });
        let mut listening = Self { process, port, path };
        listening.port = says
            .recv_timeout(WATCHDOG)
            .unwrap_or_else(|_| panic!("{command:?} did not say on which port it listens"));
        listening
    }

    /// server-everything.
    pub(crate) fn everything(transport: &str) -> Self {
        let path = if transport == "sse" { "/sse" } else { "/mcp" };
        Self::start(&everything_over(transport), path, 0)
    }

    /// Our server on `@modelcontextprotocol/server`.
    pub(crate) fn node(serves: &str) -> Self {
        Self::start(&[node(), vec![serves.to_owned()]].concat(), "/mcp", 0)
    }

    /// Our server on the newest `mcp`.
    pub(crate) fn python(serves: &str) -> Self {
        let path = if serves == "sse" { "/sse" } else { "/mcp" };
        Self::start(&[python(), vec![serves.to_owned()]].concat(), path, 0)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.path)
    }

    /// Ends a session behind its client's back. Returns the status.
    fn delete(&self, session: &str) -> u16 {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let (path, port) = (self.path, self.port);
        write!(
            socket,
            "DELETE {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nMcp-Session-Id: {session}\r\n\
             Connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn everything_over(transport: &str) -> Vec<String> {
    let preload = ["--require".to_owned(), script("listening.cjs")];
    let [node, module, _] = everything().try_into().unwrap();
    [&[node], &preload[..], &[module, transport.to_owned()]].concat()
}

/// Opens a client, and returns what it is told besides.
fn listen_to(server: Server) -> (Client, mpsc::Receiver<Notification>) {
    let (said, says) = mpsc::channel();
    let listen = move |notification: &Notification, _: &umcp::Context<'_>| {
        let _ = said.send(notification.clone());
    };
    (Client::builder().on_notification(listen).open(server).unwrap(), says)
}

/// Waits for a notification. Others may come before it.
fn is_told(says: &mpsc::Receiver<Notification>, method: &str) {
    while says.recv_timeout(WATCHDOG).expect(method).method() != method {}
}

/// Calls of many threads, some of which ask for more than one sum at once.
pub(crate) fn adds_many_at_once(client: &Client, tool: &str) {
    thread::scope(|scope| {
        for n in 0..20 {
            scope.spawn(move || {
                let add = |b| client.tool(tool).arg("a", n * 1000).arg("b", b);
                let others = [add(1).start().unwrap(), add(2).start().unwrap()];
                let sum = add(0).call().unwrap().text();
                let sums = others.map(|other| other.wait().unwrap().text());
                for (b, sum) in [sum].iter().chain(&sums).enumerate() {
                    assert!(sum.contains(&(n * 1000 + b).to_string()), "{sum}");
                }
            });
        }
    });
}

pub(crate) fn closes(client: &Client) {
    let report = client.close();
    assert!(!report.forced && !report.left_behind, "{report:?}");
    assert_eq!(client.ping().unwrap_err().kind(), ErrorKind::Closed);
}

/// server-everything goes on counting.
fn counts_until_it_is_cancelled(client: &Client) {
    let operation = client.tool("trigger-long-running-operation");
    is_cancelled_meanwhile(operation.args(json!({ "duration": 3600, "steps": 72_000 })));
    client.ping().unwrap();
}

/// Starts or stops what server-everything says by itself, and returns the id of the session.
fn toggle_logging(client: &Client) -> String {
    let toggled = client.call_tool("toggle-simulated-logging", json!({})).unwrap().text();
    let (_, session) = toggled.split_once("for session ").unwrap();
    session.split(' ').next().unwrap().to_owned()
}

#[test]
fn everything_works_over_streamable_http() {
    let listening = Listening::everything("streamableHttp");
    let (client, says) = listen_to(Server::url(listening.url()));
    assert_eq!(client.protocol_version(), ProtocolVersion::V2025_11_25);
    everything_works(&client);
    adds_many_at_once(&client, "get-sum");
    counts_until_it_is_cancelled(&client);

    let session = toggle_logging(&client);
    is_told(&says, "notifications/message");
    let uri = "demo://resource/dynamic/text/1";
    client.request("resources/subscribe", json!({ "uri": uri })).call().unwrap();
    let toggled = client.call_tool("toggle-subscriber-updates", json!({})).unwrap();
    assert!(toggled.text().starts_with("Started"), "{toggled:?}");
    is_told(&says, "notifications/resources/updated");
    assert_eq!(toggle_logging(&client), session);
    closes(&client);
    // LHTTP-11: its client has ended it already.
    assert_eq!(listening.delete(&session), 400);
}

#[test]
fn everything_works_over_http_sse() {
    let listening = Listening::everything("sse");
    let (client, says) = listen_to(Server::url(listening.url()));
    assert_eq!(client.protocol_version(), ProtocolVersion::V2025_11_25);
    everything_works(&client);
    adds_many_at_once(&client, "get-sum");
    counts_until_it_is_cancelled(&client);
    toggle_logging(&client);
    is_told(&says, "notifications/message");
    closes(&client);

    let client = Client::open(Server::url(listening.url()).era(Era::Legacy)).unwrap();
    client.ping().unwrap();
    drop(listening);
    // SSE-7
    assert_eq!(client.wait_for_end(WATCHDOG).unwrap().kind(), ErrorKind::Disconnected);
    assert_eq!(client.ping().unwrap_err().kind(), ErrorKind::Disconnected);
}

#[test]
fn everything_is_not_modern() {
    for transport in ["streamableHttp", "sse"] {
        let listening = Listening::everything(transport);
        let error = Client::open(Server::url(listening.url()).era(Era::Modern)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains("does not speak 2026-07-28"), "{error}");
    }
}

#[test]
fn node_works_over_http_in_the_modern_era() {
    let listening = Listening::node("http");
    for server in [Server::url(listening.url()), Server::url(listening.url()).era(Era::Modern)] {
        let client = Client::open(server).unwrap();
        node_works(&client, ProtocolVersion::V2026_07_28);
        adds_many_at_once(&client, "add");
        assert_eq!(count(&client, Some(LoggingLevel::Warning)), WARNINGS);
        client.set_log_level(LoggingLevel::Info).unwrap();
        assert_eq!(count(&client, None), ALL);
        sees_a_cancellation(&client);
        closes(&client);
    }
}

#[test]
fn node_works_over_http_in_every_legacy_version() {
    let listening = Listening::node("http");
    for &version in ProtocolVersion::ALL {
        if version.era() == Era::Legacy {
            let (client, says) = listen_to(Server::url(listening.url()).version(version));
            node_works(&client, version);
            adds_many_at_once(&client, "add");
            client.set_log_level(LoggingLevel::Warning).unwrap();
            assert_eq!(count(&client, None), WARNINGS);
            sees_a_cancellation(&client);
            assert_eq!(client.call_tool("grow", json!({})).unwrap().text(), "grown");
            is_told(&says, "notifications/tools/list_changed");
            closes(&client);
        }
    }
}

#[test]
fn node_works_over_http_without_sessions() {
    let listening = Listening::node("stateless");
    let client = Client::connect(listening.url()).unwrap();
    node_works(&client, ProtocolVersion::V2026_07_28);
    closes(&client);
    let client = Client::open(Server::url(listening.url()).era(Era::Legacy)).unwrap();
    node_works(&client, ProtocolVersion::V2025_11_25);
    adds_many_at_once(&client, "add");
    sees_a_cancellation(&client);
    closes(&client);
}

#[test]
fn python_works_over_http_in_both_eras() {
    let listening = Listening::python("http");
    for (server, era) in [
        (Server::url(listening.url()), Era::Modern),
        (Server::url(listening.url()).era(Era::Modern), Era::Modern),
        (Server::url(listening.url()).era(Era::Legacy), Era::Legacy),
    ] {
        let (client, says) = listen_to(server);
        python_works(&client, era);
        adds_many_at_once(&client, "add");
        sees_a_cancellation(&client);
        if era == Era::Legacy {
            assert_eq!(client.call_tool("grow", json!({})).unwrap().text(), "grown");
            is_told(&says, "notifications/tools/list_changed");
        }
        closes(&client);
    }
}

#[test]
fn python_works_over_http_sse() {
    let listening = Listening::python("sse");
    let (client, says) = listen_to(Server::url(listening.url()));
    python_works(&client, Era::Legacy);
    adds_many_at_once(&client, "add");
    sees_a_cancellation(&client);
    assert_eq!(client.call_tool("grow", json!({})).unwrap().text(), "grown");
    is_told(&says, "notifications/tools/list_changed");
    closes(&client);
}

/// Python's SDK before it knew the modern era: most of the servers that there are.
#[test]
fn old_python_works_over_http() {
    for (serves, path) in [("http", "/mcp"), ("sse", "/sse")] {
        let python = installed("python-1.26/bin/python");
        let command = [python, script("old_mcp_server.py"), serves.to_owned()];
        let listening = Listening::start(&command, path, 0);
        let client = Client::open(Server::url(listening.url())).unwrap();
        assert_eq!(client.protocol_version(), ProtocolVersion::V2025_11_25);
        let tools = client.list_tools().unwrap();
        assert_eq!(tools.len(), 3, "{serves}");
        let mut steps = Vec::new();
        let count = client.tool("count").arg("steps", 3);
        let counted = count.on_progress(|step| steps.push(step.progress)).call().unwrap();
        assert_eq!(counted.text(), "counted to 3");
        // It sends progress on its own stream, where that may come too late.
        assert!(serves == "http" || steps == [1.0, 2.0, 3.0], "{steps:?}");
        assert!(client.call_tool("fail", json!({})).unwrap().is_error);
        assert_eq!(client.read_resource("memo://square/5").unwrap().contents.len(), 1);
        adds_many_at_once(&client, "add");
        closes(&client);
    }
}

/// LHTTP-8, LHTTP-9: calls of a client whose server is another one now, which knows no session.
/// `change`: a tool, and what the server says of it on its own stream.
fn goes_on_after_a_restart(command: &[String], change: (&str, &str), add: &str) {
    let listening = Listening::start(command, "/mcp", 0);
    let (client, says) = listen_to(Server::url(listening.url()).era(Era::Legacy));
    let changes = || {
        assert!(!client.call_tool(change.0, json!({})).unwrap().is_error);
        is_told(&says, change.1);
    };
    changes();
    let port = listening.port();
    drop(listening);
    let _again = Listening::start(command, "/mcp", port);
    adds_many_at_once(&client, add);
    changes();
    closes(&client);
}

#[test]
fn a_client_goes_on_after_a_restart_of_node() {
    let command = [node(), vec!["http".to_owned()]].concat();
    goes_on_after_a_restart(&command, ("grow", "notifications/tools/list_changed"), "add");
}

#[test]
fn a_client_goes_on_after_a_restart_of_python() {
    let command = [python(), vec!["http".to_owned()]].concat();
    goes_on_after_a_restart(&command, ("grow", "notifications/tools/list_changed"), "add");
}

#[test]
fn a_client_goes_on_after_a_restart_of_everything() {
    let change = ("toggle-simulated-logging", "notifications/message");
    goes_on_after_a_restart(&everything_over("streamableHttp"), change, "get-sum");
}

#[test]
fn a_session_that_was_ended_is_begun_again_as_it_was() {
    let listening = Listening::node("http");
    let (client, says) = listen_to(Server::url(listening.url()).era(Era::Legacy));
    client.set_log_level(LoggingLevel::Warning).unwrap();
    let session = || client.call_tool("session", json!({})).unwrap().text();
    let first = session();
    assert_eq!(session(), first);
    assert_eq!(listening.delete(&first), 200);
    let second = session();
    assert_ne!(second, first);
    assert_eq!(session(), second);
    assert_eq!(count(&client, None), WARNINGS);
    assert_eq!(client.call_tool("grow", json!({})).unwrap().text(), "grown");
    is_told(&says, "notifications/tools/list_changed");
    closes(&client);
    // LHTTP-11: its client has ended it already.
    assert_eq!(listening.delete(&second), 404);
}

#[test]
fn a_call_ends_when_its_server_does() {
    for era in [Era::Modern, Era::Legacy] {
        let listening = Listening::node("http");
        let client = Client::open(Server::url(listening.url()).era(era)).unwrap();
        let mut listening = Some(listening);
        let wait = client.tool("wait").on_progress(|_| drop(listening.take()));
        let error = wait.call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        assert!(error.may_have_run());
        assert_eq!(client.ping().unwrap_err().kind(), ErrorKind::Unreachable);
        closes(&client);
    }
}
