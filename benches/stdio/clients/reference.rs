//! The reference: the least that many callers can share. The caller writes under a mutex, a
//! thread reads and hands over; no clocks, no limits, no errors.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::pipes;
use crate::support::calls::Call;
use crate::support::wire;

struct Reference {
    stdin: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<HashMap<u64, SyncSender<wire::CallResult>>>>,
    next_id: AtomicU64,
    reader: Option<JoinHandle<()>>,
}

impl Reference {
    fn start(size: usize) -> Self {
        let (server, stdin, mut stdout) = pipes::start(size);
        let waiting: Arc<Mutex<HashMap<u64, SyncSender<wire::CallResult>>>> = Arc::default();
        let callers = waiting.clone();
        let reader = thread::spawn(move || {
            let mut line = Vec::new();
            while stdout.read_until(b'\n', &mut line).unwrap() > 0 {
                let response: wire::Response = serde_json::from_slice(&line).unwrap();
                let caller = callers.lock().unwrap().remove(&response.id).unwrap();
                caller.send(response.result).unwrap();
                line.clear();
            }
            drop(server);
        });
        let (stdin, next_id) = (Mutex::new(Some(stdin)), AtomicU64::new(1));
        Self { stdin, waiting, next_id, reader: Some(reader) }
    }

    fn call(&self, text: &str) -> wire::CallResult {
        let (caller, reply) = sync_channel(1);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().unwrap().insert(id, caller);
        let mut line = Vec::new();
        wire::write_call(&mut line, id, text);
        line.push(b'\n');
        self.stdin.lock().unwrap().as_mut().unwrap().write_all(&line).unwrap();
        reply.recv().unwrap()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.stdin.lock().unwrap().take();
        self.reader.take().unwrap().join().unwrap();
    }
}

pub fn share(size: usize, argument: String, callers: usize) -> Vec<Call> {
    let reference = Arc::new(Reference::start(size));
    let call = || -> Call {
        let (reference, argument) = (reference.clone(), argument.clone());
        Box::new(move || reference.call(&argument).size())
    };
    (0..callers).map(|_| call()).collect()
}
