//! What the tests share.

use std::fs::{self, File};
use std::io::{BufReader, PipeReader, PipeWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{env, thread};

use serde_json::json;
use umcp::{ByteStream, Client, Era, Server};

pub const ERAS: [Era; 2] = [Era::Modern, Era::Legacy];
/// A clock that is to run out.
pub const SHORT: Duration = Duration::from_millis(100);
/// A clock that is not to run out, as it stands still.
pub const HALF: Duration = Duration::from_millis(500);
/// What no test waits for.
pub const FOREVER: Duration = Duration::from_secs(3600);

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

/// Runs a test that must not hang.
pub fn soon(run: impl FnOnce() + Send + 'static) {
    within(Duration::from_secs(30), run);
}

/// A server that is a function at the other end of two pipes.
pub fn over_pipes(
    serve: impl Fn(BufReader<PipeReader>, PipeWriter) -> Option<()> + Send + Sync + 'static,
) -> Server {
    let serve = Arc::new(serve);
    Server::stream(move || {
        let (client_reader, writer) = std::io::pipe()?;
        let (reader, client_writer) = std::io::pipe()?;
        let serve = serve.clone();
        // It ends when the client closes its end.
        thread::spawn(move || serve(BufReader::new(reader), writer));
        Ok(ByteStream::new(client_reader, client_writer))
    })
}

/// Does the same with all of these at the same time, as each has clocks to wait for.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, run: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| run(case));
        }
    });
}

/// A shell script as a server: `$0` is the example server, `$1` a folder of the test's.
pub fn script(text: &str, folder: &Path) -> Server {
    let server = Server::command("sh").args(["-c", text]).arg(example("basic_client"));
    server.arg(folder).name("script").era(Era::Modern)
}

/// What the example server's tool of that name makes of a text: the same.
pub fn echo(client: &Client, text: &str) -> String {
    client.call_tool("echo", json!({ "message": text })).unwrap().text()
}

/// A directory that is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("umcp-test-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    /// What a file in it says.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A FIFO that ends when the last process that holds it open has ended.
pub struct Lifeline(Receiver<()>);

impl Lifeline {
    pub fn new(folder: &Folder, name: &str) -> Self {
        let path = folder.0.join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (end, cut) = mpsc::channel();
        thread::spawn(move || {
            // Opens when a process opens the other end.
            File::open(path).unwrap().read_to_end(&mut Vec::new()).unwrap();
            let _ = end.send(());
        });
        Self(cut)
    }

    pub fn assert_whole(&self) {
        assert!(self.0.try_recv().is_err(), "the processes have ended");
    }

    pub fn wait_for_cut(&self) {
        self.0.recv().unwrap();
    }
}
