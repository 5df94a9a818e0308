//! The server's side of HTTP/1.1: requests on a connection, one after the other, and replies.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

const MOST_HEAD: u64 = 32 * 1024;
const MOST_BODY: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// What follows the path's question mark.
    pub query: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    fn parse(head: &[String]) -> Option<Self> {
        let (first, headers) = head.split_first()?;
        let (method, rest) = first.split_once(' ')?;
        let target = rest.strip_suffix(" HTTP/1.1")?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = headers.iter().map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.collect::<Option<_>>()?,
            body: Vec::new(),
        })
    }

    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }

    /// Whether a header lists this media type, whatever its parameters.
    pub fn lists(&self, header: &str, media_type: &str) -> bool {
        let all = self.header(header).unwrap_or_default().split(',');
        let mut types = all.filter_map(|one| one.split(';').next());
        types.any(|one| one.trim().eq_ignore_ascii_case(media_type))
    }
}

#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    pub writer: Writer,
    /// The client wants it closed after this exchange.
    closes: bool,
}

impl Connection {
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let reader = BufReader::new(stream.try_clone()?);
        Ok(Self { reader, writer: Writer(stream), closes: false })
    }

    /// The next request; none after the last one. What cannot be read is refused here.
    pub fn next(&mut self) -> io::Result<Option<Request>> {
        if self.closes {
            return Ok(None);
        }
        let Some(head) = self.head()? else { return Ok(None) };
        let Some(mut request) = Request::parse(&head) else { return self.refuse(400) };
        let length = match request.header("content-length").map(str::parse) {
            _ if request.header("transfer-encoding").is_some() => return self.refuse(411),
            None => 0,
            Some(Ok(length)) if length > MOST_BODY => return self.refuse(413),
            Some(Ok(length)) => length,
            Some(Err(_)) => return self.refuse(400),
        };
        request.body = vec![0; length];
        self.reader.read_exact(&mut request.body)?;
        self.closes = request.lists("connection", "close");
        Ok(Some(request))
    }

    /// The lines up to the empty one.
    fn head(&mut self) -> io::Result<Option<Vec<String>>> {
        let mut limited = self.reader.by_ref().take(MOST_HEAD);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            limited.read_line(&mut line)?;
            match line.strip_suffix('\n').map(str::trim_end) {
                Some("") => return Ok(Some(lines)),
                Some(line) => lines.push(line.to_owned()),
                None if limited.limit() == 0 => return self.refuse(431),
                None if lines.is_empty() && line.is_empty() => return Ok(None),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Where the next request would begin is not known: the connection ends with this one.
    fn refuse<T>(&mut self, status: u16) -> io::Result<T> {
        self.writer.reply(status, &[("Connection", "close")], "")?;
        Err(io::ErrorKind::InvalidData.into())
    }

    /// Writes the reply on another thread and does `when_gone` if the client leaves meanwhile. The
    /// next request waits until the reply has been written.
    pub fn write_while_there(
        &mut self,
        write: impl FnOnce(&mut Writer) -> io::Result<()> + Send,
        when_gone: impl FnOnce(),
    ) -> io::Result<()> {
        let Self { reader, writer, closes } = self;
        let mut written = Ok(());
        thread::scope(|scope| {
            scope.spawn(|| {
                written = write(writer);
                if written.is_err() || *closes {
                    // Ends the waiting below, too.
                    let _ = writer.0.shutdown(Shutdown::Both);
                }
            });
            if !reader.fill_buf().is_ok_and(|next| !next.is_empty()) {
                when_gone();
            }
        });
        written
    }
}

#[derive(Debug)]
pub struct Writer(TcpStream);

impl Writer {
    pub fn reply(&mut self, status: u16, headers: &[(&str, &str)], body: &str) -> io::Result<()> {
        // A status without its usual phrase is right, too.
        let mut text = format!("HTTP/1.1 {status} \r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text += body;
        self.0.write_all(text.as_bytes())
    }

    pub fn json(&mut self, status: u16, message: &Value) -> io::Result<()> {
        self.reply(status, &[("Content-Type", "application/json")], &message.to_string())
    }

    /// Begins an event stream, of any number of [`event`](Self::event)s.
    pub fn begin_events(&mut self) -> io::Result<()> {
        let head = "HTTP/1.1 200 \r\nContent-Type: text/event-stream\r\n\
                    Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.0.write_all(head.as_bytes())
    }

    /// Writes one event, whose lines include the empty one at its end.
    pub fn event(&mut self, lines: &str) -> io::Result<()> {
        self.0.write_all(format!("{:x}\r\n{lines}\r\n", lines.len()).as_bytes())
    }

    pub fn end_events(&mut self) -> io::Result<()> {
        self.0.write_all(b"0\r\n\r\n")
    }
}
