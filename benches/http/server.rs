//! The tuned server: a thread for each connection, prepared bytes, one write for each answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::{process, thread};

use crate::clients::Reply;
use crate::support::replies::Replies;

/// Says where it listens, and answers every call of a tool with a text of `size` bytes until stdin
/// ends.
pub fn serve(reply: Reply, size: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        process::exit(0);
    });
    let replies = Arc::new(Replies::new(size));
    for connection in listener.incoming() {
        let (connection, replies) = (connection.unwrap(), replies.clone());
        // A client that has left needs no answer.
        thread::spawn(move || drop(answer_all(connection, reply, &replies)));
    }
}

fn answer_all(connection: TcpStream, reply: Reply, replies: &Replies) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(64 * 1024, &connection);
    let (mut line, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new());
    let mut output = Vec::new();
    while let Some(length) = read_head(&mut input, &mut line)? {
        body.resize(length, 0);
        input.read_exact(&mut body)?;
        message.clear();
        replies.write(&body, &mut message);
        output.clear();
        write_answer(&mut output, reply, &message)?;
        (&connection).write_all(&output)?;
    }
    Ok(())
}

/// How long the body is that follows, if there is another request.
fn read_head(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<usize>> {
    const LENGTH: &[u8] = b"content-length:";
    let mut length = None;
    loop {
        line.clear();
        if input.read_until(b'\n', line)? == 0 {
            return Ok(None);
        }
        if line == b"\r\n" {
            return Ok(length);
        }
        if line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH) {
            length =
                str::from_utf8(&line[LENGTH.len()..]).ok().and_then(|it| it.trim().parse().ok());
        }
    }
}

/// Events come in chunks, as a server sends them that does not know yet how many there will be.
fn write_answer(output: &mut Vec<u8>, reply: Reply, message: &[u8]) -> io::Result<()> {
    const BEFORE: &[u8] = b"event: message\ndata: ";
    const AFTER: &[u8] = b"\n\n";
    output.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    match reply {
        Reply::Json => {
            let length = message.len();
            write!(output, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n")?;
            output.extend_from_slice(message);
        }
        Reply::Events => {
            let length = BEFORE.len() + message.len() + AFTER.len();
            output.extend_from_slice(b"content-type: text/event-stream\r\n");
            write!(output, "transfer-encoding: chunked\r\n\r\n{length:x}\r\n")?;
            for part in [BEFORE, message, AFTER, b"\r\n0\r\n\r\n"] {
                output.extend_from_slice(part);
            }
        }
    }
    Ok(())
}
