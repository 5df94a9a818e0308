//! umcp against other people's servers: `.ci/install-interop` installs them, and without them
//! these tests fail.
//!
//! ```text
//! .ci/install-interop && cargo test --features cli --test interop
//! ```

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod command;
mod everything;
mod filesystem;
mod handlers;
mod http;
mod node;
mod old_python;
mod python;
#[cfg(target_os = "linux")]
mod runner;
mod tasks;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::{env, fs, process, thread};

use umcp::{CallToolResult, CancelToken, Client, ErrorKind, Request, Server, json};

fn installed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".interop").join(path);
    assert!(path.exists(), "{} is missing: run .ci/install-interop", path.display());
    path.display().to_string()
}

/// A script of this directory.
fn script(name: &str) -> String {
    format!("{}/tests/interop/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn everything() -> Vec<String> {
    let script = "npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    vec!["node".to_owned(), installed(script), "stdio".to_owned()]
}

fn filesystem(directory: &Directory) -> Vec<String> {
    let script = "npm/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js";
    vec!["node".to_owned(), installed(script), directory.path("")]
}

/// Our server on `@modelcontextprotocol/server`.
fn node() -> Vec<String> {
    vec!["node".to_owned(), script("node_server.cjs"), installed("npm")]
}

/// Our server on the newest `mcp`.
fn python() -> Vec<String> {
    vec![installed("python/bin/python"), script("mcp_server.py")]
}

fn time() -> Vec<String> {
    vec![installed("python/bin/mcp-server-time")]
}

/// Our server on `mcp` 1.6, which notes its starts in this directory.
fn old_python(directory: &Directory) -> Vec<String> {
    let python = installed("python-1.6/bin/python");
    vec![python, script("old_mcp_server.py"), directory.path("starts")]
}

fn server(command: &[String]) -> Server {
    Server::command(&command[0]).args(&command[1..])
}

fn names<T>(items: Vec<T>, name: impl Fn(T) -> String) -> Vec<String> {
    items.into_iter().map(name).collect()
}

/// Closes, and sees that the server ended because its stdin did.
fn ends_by_itself(client: &Client) {
    let report = client.close();
    assert!(!report.forced && !report.left_behind, "{report:?}");
    assert!(report.exit_status.is_some_and(|status| status.success()), "{report:?}");
}

/// Cancels a call from another thread, as soon as the server has shown that it is at work.
fn is_cancelled_meanwhile(call: Request<'_, CallToolResult>) {
    let token = CancelToken::new();
    let cancel = token.clone();
    let (begun, begins) = mpsc::channel();
    let canceller = thread::spawn(move || {
        begins.recv().unwrap();
        cancel.cancel();
    });
    let call = call.cancel_token(&token).on_progress(move |_| _ = begun.send(()));
    assert_eq!(call.call().unwrap_err().kind(), ErrorKind::Cancelled);
    canceller.join().unwrap();
}

/// Cancels a call of one of our servers, and sees that the server does, too.
fn sees_a_cancellation(client: &Client) {
    is_cancelled_meanwhile(client.tool("wait"));
    assert_eq!(client.call_tool("waited", json!({})).unwrap().text(), "cancelled");
}

/// A directory of a test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("umcp-interop-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
