//! What the examples share: a server to talk to.
//!
//! Without arguments an example starts itself again, as the small MCP server in `server.rs`. With
//! arguments they are the command of another server to start, or its URL:
//!
//! ```text
//! cargo run --example basic_client
//! cargo run --example basic_client -- npx -y @modelcontextprotocol/server-everything
//! ```
//!
//! An example is that server for others, too, over stdio or HTTP; there it says its URL first:
//!
//! ```text
//! cargo run --example basic_client -- --serve modern|legacy|both
//! cargo run --example basic_client -- --serve-http modern|legacy|both|sse [--port 8000] \
//!     [--api-key KEY] [--cut-streams EVENTS]
//! ```

#![allow(dead_code, unreachable_pub, clippy::expect_used)] // no example needs all of it

pub mod http;
pub mod server;

use std::env;
use std::io;
use std::process;
use std::thread;

use umcp::Server;

/// Returns the server to talk to. Does not return in the process that is to be the server.
pub fn server() -> Server {
    let arguments = arguments();
    match arguments.as_slice() {
        [] => {
            let itself = env::current_exe().expect("the path of this program");
            Server::command(itself).args(["--serve", "both"]).name("example-server")
        }
        [url] if url.starts_with("http://") || url.starts_with("https://") => Server::url(url),
        [program, arguments @ ..] => Server::command(program).args(arguments),
    }
}

/// Starts the server in this program, over HTTP, and returns its URL.
pub fn own_url(api_key: Option<String>) -> String {
    let options = http::Options { api_key, ..http::Options::new(http::Mode::Both) };
    http::start(0, options).expect("a free port on the loopback")
}

/// The arguments of this program. Does not return in the process that is to be the server.
pub fn arguments() -> Vec<String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let served = match arguments.as_slice() {
        [flag, era] if flag == "--serve" => serve(era),
        [flag, mode, options @ ..] if flag == "--serve-http" => serve_http(mode, options),
        _ => return arguments,
    };
    match served {
        Ok(()) => process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            process::exit(1)
        }
    }
}

fn serve(era: &str) -> io::Result<()> {
    server::serve_stdio(match era {
        "modern" => server::Era::Modern,
        "legacy" => server::Era::Legacy,
        _ => server::Era::Both,
    })
}

fn serve_http(mode: &str, options: &[String]) -> io::Result<()> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("not {what}"));
    let number = |text: &String| text.parse().map_err(|_| wrong("a number"));
    let mut port = 0;
    let mut all = http::Options::new(match mode {
        "modern" => http::Mode::Modern,
        "legacy" => http::Mode::Legacy,
        "both" => http::Mode::Both,
        "sse" => http::Mode::Sse,
        _ => return Err(wrong("modern, legacy, both or sse")),
    });
    for option in options.chunks(2) {
        match option {
            [name, value] if name == "--port" => {
                port = value.parse().map_err(|_| wrong("a port"))?;
            }
            [name, value] if name == "--api-key" => all.api_key = Some(value.clone()),
            [name, value] if name == "--cut-streams" => all.cut_streams = Some(number(value)?),
            _ => return Err(wrong("--port, --api-key or --cut-streams with a value")),
        }
    }
    println!("{}", http::start(port, all)?);
    loop {
        thread::park();
    }
}
