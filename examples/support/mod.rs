//! What the examples share: a server to talk to.
//!
//! Without arguments an example starts itself again, as the small MCP server in `server.rs`. With
//! arguments they are the command of another server to start, or its URL:
//!
//! ```text
//! cargo run --example basic_client
//! cargo run --example basic_client -- npx -y @modelcontextprotocol/server-everything
//! ```

#![allow(unreachable_pub, clippy::expect_used)]

pub mod server;

use std::env;
use std::process;

use umcp::Server;

/// Returns the server to talk to. Does not return in the process that is to be the server.
pub fn server() -> Server {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, era] if flag == "--serve" => process::exit(serve(era)),
        [] => {
            let itself = env::current_exe().expect("the path of this program");
            Server::command(itself).args(["--serve", "both"]).name("example-server")
        }
        [url] if url.starts_with("http://") || url.starts_with("https://") => Server::url(url),
        [program, arguments @ ..] => Server::command(program).args(arguments),
    }
}

fn serve(era: &str) -> i32 {
    let era = match era {
        "modern" => server::Era::Modern,
        "legacy" => server::Era::Legacy,
        _ => server::Era::Both,
    };
    match server::serve_stdio(era) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}
