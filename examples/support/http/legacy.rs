//! Streamable HTTP of 2025-03-26 to 2025-11-25, and HTTP+SSE of 2024-11-05: clients have sessions.

use super::super::server::{self, LEGACY, fault, lock, reply, violation};
use super::exchange::{Connection, Request};
use super::session::{Follower, STANDALONE, Session};
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex};
use std::{io, thread};

const MOST_SESSIONS: usize = 1_000;
const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

/// The sessions by their ids.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Arc<Session>>>);

/// A status, and why.
type Refusal = (u16, &'static str);

impl Sessions {
    /// Answers a message: `initialize` opens a session, and everything else belongs to one.
    pub fn post(
        &self,
        request: &Request,
        message: &Value,
        cut_streams: Option<usize>,
        connection: &mut Connection,
    ) -> io::Result<()> {
        if message["method"] == "initialize" && request.header(SESSION).is_none() {
            return self.initialize(request, message, connection);
        }
        let session = match self.find(request) {
            Ok(session) => session,
            Err(refusal) => return refuse(refusal, connection),
        };
        if request.header("mcp-method").or(request.header("mcp-name")).is_some() {
            violation(format_args!("a legacy session knows no `Mcp-Method` and no `Mcp-Name`"));
        }
        let mut refusal = None;
        let call = session.server.accept(message, &mut |reply| refusal = Some(reply));
        match (call, refusal) {
            (Some(call), _) if call.is_call() => {
                let follower = session.begin_stream();
                session.prime(follower.stream);
                run_apart(&session, call, follower.stream);
                follow(&session, follower, cut_streams, connection)
            }
            (Some(call), _) => {
                let mut answer = None;
                session.server.run(&call, &mut |reply| answer = Some(reply));
                tell_updates(&session, call);
                match answer {
                    Some(reply) => connection.writer.json(200, &reply),
                    None => connection.writer.reply(204, &[], ""), // cancelled meanwhile
                }
            }
            (None, Some(refusal)) => connection.writer.json(400, &refusal),
            (None, None) => connection.writer.reply(202, &[], ""),
        }
    }

    fn initialize(
        &self,
        request: &Request,
        message: &Value,
        connection: &mut Connection,
    ) -> io::Result<()> {
        if !request.header(VERSION).is_none_or(|version| LEGACY.contains(&version)) {
            return refuse((400, "`MCP-Protocol-Version` is none of this server's"), connection);
        }
        let session = Session::new(true);
        let mut answer = None;
        session.server.handle(message, &mut |reply| answer = Some(reply));
        let Some(answer) = answer else { return connection.writer.reply(202, &[], "") };
        if answer.get("result").is_none() {
            return connection.writer.json(400, &answer);
        }
        let Some((id, _)) = self.insert(session) else {
            return connection.writer.reply(503, &[("Retry-After", "1")], "");
        };
        let headers = [("Content-Type", "application/json"), ("Mcp-Session-Id", id.as_str())];
        connection.writer.reply(200, &headers, &answer.to_string())
    }

    /// Serves the stream of its own that a session may have, or goes on with one that was lost.
    pub fn get(
        &self,
        request: &Request,
        cut_streams: Option<usize>,
        connection: &mut Connection,
    ) -> io::Result<()> {
        let session = match self.find(request) {
            Ok(session) => session,
            Err(refusal) => return refuse(refusal, connection),
        };
        if let Some(last_event) = request.header("last-event-id") {
            return match session.resume(last_event) {
                Some(follower) => follow(&session, follower, cut_streams, connection),
                None => refuse((400, "there is no such event"), connection),
            };
        }
        let Some(follower) = session.listen() else {
            return refuse((409, "the session has its stream already"), connection);
        };
        session.prime(STANDALONE);
        session.send(STANDALONE, &session.server.question("ping").0);
        follow(&session, follower, cut_streams, connection)
    }

    pub fn delete(&self, request: &Request, connection: &mut Connection) -> io::Result<()> {
        match self.find(request) {
            Ok(session) => {
                self.remove(request.header(SESSION).unwrap_or_default());
                session.end();
                connection.writer.reply(204, &[], "")
            }
            Err(refusal) => refuse(refusal, connection),
        }
    }

    /// HTTP+SSE: the one stream of a session, which ends with it.
    pub fn sse_get(&self, path: &str, connection: &mut Connection) -> io::Result<()> {
        let Some((id, session)) = self.insert(Session::new(false)) else {
            return connection.writer.reply(503, &[("Retry-After", "1")], "");
        };
        let Some(follower) = session.listen() else { return Ok(()) };
        session.add(STANDALONE, &format!("event: endpoint\ndata: {path}?session={id}\n\n"));
        let served = follow(&session, follower, None, connection);
        self.remove(&id);
        session.end();
        served
    }

    /// HTTP+SSE: a message, whose answer goes to the stream.
    pub fn sse_post(
        &self,
        request: &Request,
        message: &Value,
        connection: &mut Connection,
    ) -> io::Result<()> {
        let Some(id) = request.query.strip_prefix("session=") else {
            return connection.writer.reply(405, &[("Allow", "GET")], "");
        };
        let Some(session) = self.by_id(id) else {
            return connection.writer.reply(404, &[], "");
        };
        connection.writer.reply(202, &[], "")?;
        let send = &mut |reply| session.send(STANDALONE, &reply);
        match session.server.accept(message, send) {
            Some(call) if call.is_call() => run_apart(&session, call, STANDALONE),
            Some(call) => {
                session.server.run(&call, send);
                tell_updates(&session, call);
            }
            None => {}
        }
        Ok(())
    }

    /// The session that a request belongs to.
    fn find(&self, request: &Request) -> Result<Arc<Session>, Refusal> {
        let id = request.header(SESSION).ok_or((400, "`Mcp-Session-Id` is missing"))?;
        let session = self.by_id(id).ok_or((404, "there is no such session"))?;
        let agreed = session.server.version();
        match request.header(VERSION) {
            None if agreed < Some("2025-06-18") => Ok(session),
            given if given == agreed => Ok(session),
            _ => Err((400, "`MCP-Protocol-Version` is not what was agreed on")),
        }
    }

    fn by_id(&self, id: &str) -> Option<Arc<Session>> {
        lock(&self.0).get(id).cloned()
    }

    fn insert(&self, session: Session) -> Option<(String, Arc<Session>)> {
        // The standard library's only source of what nobody can guess.
        let random = || RandomState::new().build_hasher().finish();
        let id = format!("{:016x}{:016x}", random(), random());
        let mut sessions = lock(&self.0);
        let has_room = sessions.len() < MOST_SESSIONS;
        has_room.then(|| {
            let session = Arc::new(session);
            sessions.insert(id.clone(), session.clone());
            (id, session)
        })
    }

    fn remove(&self, id: &str) {
        lock(&self.0).remove(id);
    }
}

/// Runs a call on a thread of its own, which no connection's end ends.
fn run_apart(session: &Arc<Session>, call: server::Request, stream: u64) {
    let session = session.clone();
    thread::spawn(move || {
        session.server.run(&call, &mut |message| session.send(stream, &message));
        if stream != STANDALONE {
            session.end_stream(stream);
        }
    });
}

/// What a client is subscribed to is told on its session's own stream.
fn tell_updates(session: &Arc<Session>, call: server::Request) {
    if call.method == "resources/subscribe" {
        let session = session.clone();
        let tell = move || {
            session.server.tell_updates(&call, &mut |message| session.send(STANDALONE, &message));
        };
        thread::spawn(tell);
    }
}

fn follow(
    session: &Session,
    follower: Follower,
    most: Option<usize>,
    connection: &mut Connection,
) -> io::Result<()> {
    let write = |writer: &mut _| session.write(follower, most, writer);
    connection.write_while_there(write, || session.leave(follower))
}

fn refuse((status, why): Refusal, connection: &mut Connection) -> io::Result<()> {
    connection.writer.json(status, &reply(None, Err(fault(-32000, why))))
}
