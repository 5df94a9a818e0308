//! What the tests share.

use std::env;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use umcp::{Client, Server};

/// The example server as a process, in an era: `modern`, `legacy` or `both`.
pub fn example_server(era: &str) -> Server {
    Server::command(example("basic_client")).args(["--serve", era]).name("example-server")
}

/// The path of a built example.
pub fn example(name: &str) -> PathBuf {
    // target/<profile>/deps/it-<hash>
    let mut path = env::current_exe().expect("the path of this test");
    path.pop();
    path.pop();
    path.push("examples");
    path.push(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --examples`", path.display());
    path
}

/// A client of the example server.
pub fn example_client(era: &str) -> Client {
    Client::open(example_server(era)).expect("the example server")
}

/// Runs a test that must not hang.
pub fn within<T: Send + 'static>(limit: Duration, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = run();
        let _ = done.send(());
        result
    });
    match finished.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still running after {limit:?}"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}
