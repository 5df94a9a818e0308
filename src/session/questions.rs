//! What a legacy server asks: answered by the program's handlers, each on a thread of its own, as a
//! handler may take its time and may call the client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::deadline::Deadline;
use crate::protocol::RawJson;
use crate::protocol::envelope::{self, Message};
use crate::session::own_code::own_code;
use crate::session::router::Router;
use crate::session::standstill::Running;
use crate::threads::Threads;
use crate::transport::Notice;

/// What the program answers to one request: a result, or the code and the text of an error. The flag
/// is set once the server does not want it any more.
pub(crate) type Answer =
    dyn Fn(&str, &Message, &AtomicBool) -> Result<RawJson, Refusal> + Send + Sync;

/// Why a server gets no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: i64,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(code: i64, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Which requests the program answers, and how.
pub(crate) struct Answers {
    pub(crate) methods: Vec<&'static str>,
    pub(crate) answer: Box<Answer>,
}

pub(crate) struct Questions {
    answers: Option<Arc<Answers>>,
    state: Mutex<State>,
    most: usize,
    /// One more for each handler that runs, also for what the server does not want any more.
    running: Arc<()>,
    threads: Threads,
}

#[derive(Default)]
struct State {
    /// There is a client for handlers to call.
    is_released: bool,
    is_closed: bool,
    /// What came before that.
    early: Vec<Question>,
    /// By id, with a flag that is set when the server cancels it.
    wanted: HashMap<String, Arc<AtomicBool>>,
}

struct Question {
    id: String,
    method: String,
    notice: Notice,
    is_cancelled: Arc<AtomicBool>,
    running: Arc<()>,
    standstill: Vec<Running>,
}

impl Questions {
    pub(crate) fn new(answers: Option<Arc<Answers>>, most: usize) -> Self {
        Self {
            answers,
            state: Mutex::default(),
            most: most.max(1),
            running: Arc::default(),
            threads: Threads::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is anybody to answer such requests.
    pub(crate) fn check(&self, method: &str) -> Result<&Arc<Answers>, Refusal> {
        let answers = self.answers.as_ref().filter(|it| it.methods.contains(&method));
        answers.ok_or_else(|| Refusal::new(-32601, "this client does not have that method"))
    }

    /// Has a request answered. Returns the refusal if it is not to be. Never blocks.
    pub(crate) fn ask(
        &self,
        router: &Weak<Router>,
        id: &str,
        method: &str,
        notice: Notice,
        standstill: Vec<Running>,
    ) -> Result<(), Refusal> {
        let answers = self.check(method)?;
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::new(-32603, "the client is being closed"));
        }
        if Arc::strong_count(&self.running) > self.most {
            return Err(Refusal::new(-32603, "too many requests are being answered already"));
        }
        if state.wanted.contains_key(id) {
            return Err(Refusal::new(-32600, "a request with that id is being answered already"));
        }
        let question = Question {
            id: id.to_owned(),
            method: method.to_owned(),
            notice,
            is_cancelled: Arc::default(),
            running: self.running.clone(),
            standstill,
        };
        state.wanted.insert(id.to_owned(), question.is_cancelled.clone());
        match state.is_released {
            true => self.start(&mut state, answers, router, question),
            false => {
                state.early.push(question);
                Ok(())
            }
        }
    }

    fn start(
        &self,
        state: &mut State,
        answers: &Arc<Answers>,
        router: &Weak<Router>,
        question: Question,
    ) -> Result<(), Refusal> {
        let (answers, router) = (answers.clone(), router.clone());
        let id = question.id.clone();
        let answer = move || {
            let Question { id, method, notice, is_cancelled, running, standstill } = question;
            let answer = own_code(|| (answers.answer)(&method, notice.message(), &is_cancelled));
            // Whoever has the answer may ask the next thing.
            drop((notice, running, standstill));
            let Some(router) = router.upgrade() else { return };
            router.answered(&id, &answer, &is_cancelled);
        };
        let started = self.threads.spawn("umcp-handler", answer);
        started.map(drop).map_err(|error| {
            state.wanted.remove(&id);
            Refusal::new(-32603, format!("no thread to answer on: {error}"))
        })
    }

    /// There is a client now, for handlers to call. Returns what cannot be answered after all.
    pub(crate) fn release(&self, router: &Weak<Router>) -> Vec<(String, Refusal)> {
        let mut state = self.lock();
        state.is_released = true;
        let early = std::mem::take(&mut state.early);
        let Some(answers) = &self.answers else { return Vec::new() };
        let mut start = |question: Question| {
            let id = question.id.clone();
            Some((id, self.start(&mut state, answers, router, question).err()?))
        };
        early.into_iter().filter_map(&mut start).collect()
    }

    /// The server does not want the answer any more (CANCEL-10).
    pub(crate) fn cancel(&self, id: &str) {
        let mut state = self.lock();
        if let Some(is_cancelled) = state.wanted.remove(id) {
            is_cancelled.store(true, Ordering::Release);
            state.early.retain(|question| !Arc::ptr_eq(&question.is_cancelled, &is_cancelled));
        }
    }

    /// Nothing that was asked so far is wanted any more: who asked is gone.
    pub(crate) fn cancel_all(&self) {
        let mut state = self.lock();
        state.early.clear();
        state.wanted.drain().for_each(|(_, it)| it.store(true, Ordering::Release));
    }

    /// An answer is there. Returns whether it is wanted.
    pub(crate) fn finish(&self, id: &str, is_cancelled: &AtomicBool) -> bool {
        let mut state = self.lock();
        // Another may have that id by now.
        if is_cancelled.load(Ordering::Acquire) {
            return false;
        }
        state.wanted.remove(id).is_some()
    }

    /// Whether this is running inside a handler.
    pub(crate) fn is_this_thread(&self) -> bool {
        self.threads.is_this_one()
    }

    /// Nothing more is answered. Waits for handlers, but for one that this runs on. Returns whether
    /// all have ended.
    pub(crate) fn close(&self, until: Deadline) -> bool {
        self.lock().is_closed = true;
        self.cancel_all();
        self.threads.join(until)
    }
}

/// A response to a server's request.
pub(crate) fn response(id: &str, answer: &Result<RawJson, Refusal>) -> Vec<u8> {
    match answer {
        Ok(result) => envelope::result(id, result),
        Err(refusal) => envelope::error_response(id, refusal.code, &refusal.text),
    }
}
