//! The floor: a typed request out in one write, a typed result in, and of HTTP what this one server
//! needs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{DISCOVER, Reply};
use crate::support::calls::Call;
use crate::support::wire;

struct Socket {
    connection: BufReader<TcpStream>,
    /// Of every request, up to its length.
    head: String,
    message: Vec<u8>,
    output: Vec<u8>,
    line: Vec<u8>,
    body: Vec<u8>,
    next_id: u64,
}

impl Socket {
    fn open(to: SocketAddr) -> Self {
        let connection = TcpStream::connect(to).unwrap();
        connection.set_nodelay(true).unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
             mcp-method: tools/call\r\nmcp-name: echo\r\ncontent-length: "
        );
        Self {
            connection: BufReader::with_capacity(64 * 1024, connection),
            head,
            message: Vec::new(),
            output: Vec::new(),
            line: Vec::new(),
            body: Vec::new(),
            next_id: 1,
        }
    }

    fn call(&mut self, reply: Reply, text: &str) -> wire::CallResult {
        self.message.clear();
        wire::write_call(&mut self.message, self.next_id, text);
        self.exchange();
        self.next_id += 1;
        reply.parse(&self.body, self.next_id - 1)
    }

    fn exchange(&mut self) {
        self.output.clear();
        write!(self.output, "{}{}\r\n\r\n", self.head, self.message.len()).unwrap();
        self.output.extend_from_slice(&self.message);
        self.connection.get_ref().write_all(&self.output).unwrap();
        let mut length = None;
        while let line = self.read_line()
            && !line.is_empty()
        {
            length = line.strip_prefix("content-length: ").map(|it| it.parse().unwrap()).or(length);
        }
        self.body.clear();
        match length {
            Some(length) => self.read_body(length),
            // It comes in chunks.
            None => loop {
                match usize::from_str_radix(self.read_line(), 16).unwrap() {
                    0 => break assert_eq!(self.read_line(), ""),
                    length => self.read_body(length),
                }
                assert_eq!(self.read_line(), "");
            },
        }
    }

    fn read_line(&mut self) -> &str {
        self.line.clear();
        self.connection.read_until(b'\n', &mut self.line).unwrap();
        str::from_utf8(&self.line).unwrap().strip_suffix("\r\n").unwrap()
    }

    fn read_body(&mut self, length: usize) {
        let start = self.body.len();
        self.body.resize(start + length, 0);
        self.connection.read_exact(&mut self.body[start..]).unwrap();
    }
}

pub fn share(to: SocketAddr, reply: Reply, argument: &str, callers: usize) -> Vec<Call> {
    let call = || -> Call {
        let (mut socket, argument) = (Socket::open(to), argument.to_owned());
        Box::new(move || socket.call(reply, &argument).size())
    };
    (0..callers).map(|_| call()).collect()
}

pub fn run_once(to: SocketAddr) {
    let mut socket = Socket::open(to);
    socket.message.extend_from_slice(DISCOVER);
    socket.exchange();
    assert_eq!(socket.call(Reply::Json, "").size(), 64);
}
