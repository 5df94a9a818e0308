//! A request's way past what is kept.

use crate::client::cache::shared::{Flight, Found};
use crate::client::cache::store::Key;
use crate::client::{Reply, Request};
use crate::deadline::Clocks;
use crate::error::Result;
use crate::protocol::envelope::Message;
use crate::session::{AnsweredBy, CancelToken};

/// What a request has to do with the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caching {
    #[default]
    LooksAndKeeps,
    /// Asks in any case.
    Keeps,
    Neither,
}

impl<T: Reply> Request<'_, T> {
    /// The answer that is kept if there is one, or else the server's.
    pub(in crate::client) fn call_with_cache(mut self) -> Result<(T, usize)> {
        let (Some(cache), Some(key)) = (self.client.inner.cache.clone(), self.key()) else {
            return self.send(true)?.wait_sized();
        };
        if self.caching == Caching::Keeps {
            return self.start_keeping(true)?.wait_sized();
        }
        let session = self.client.inner.session.clone();
        let name = self.request.name().unwrap_or_default().to_owned();
        let clocks = || Clocks::start(self.options.timeout, self.options.max_total);
        let clocks = self.options.clocks.clone().unwrap_or_else(clocks);
        self.options.clocks = Some(clocks.clone());
        let found = cache.find(&key, &session, &clocks, self.options.cancel.as_ref());
        let found = found.map_err(|error| {
            let error = error.server(session.server()).about(key.method.name(), &name);
            error.after(clocks.elapsed())
        });
        let result = match found {
            Ok(Found::Kept(reply)) => match read(&reply) {
                Some(result) => return Ok(result),
                None => {
                    cache.remove(&key);
                    self.send(true).and_then(|pending| pending.wait_sized())
                }
            },
            Ok(Found::Nothing(flight)) => {
                self.send(true).and_then(|pending| pending.keeping(flight).wait_sized())
            }
            Err(error) => Err(error),
        };
        result.or_else(|error| {
            let old = cache.instead_of(&error, &key);
            old.and_then(|reply| read(&reply)).ok_or(error)
        })
    }

    /// What is kept already, without waiting for anything.
    pub(in crate::client) fn kept(&self) -> Option<T> {
        let (cache, key) = (self.client.inner.cache.as_ref()?, self.key()?);
        let reply = cache.peek(&key, &self.client.inner.session)?;
        read(&reply).map(|(result, _)| result)
    }

    /// What is to become of the answer, if it is to be kept.
    pub(in crate::client) fn flight(&self) -> Option<Flight> {
        let (cache, key) = (self.client.inner.cache.as_ref()?, self.key()?);
        Some(cache.ask(key, &self.client.inner.session))
    }

    /// What the answer is kept under. `None` if it is not: there is more to it than a result.
    fn key(&self) -> Option<Key> {
        let options = &self.options;
        let is_plain = self.problem.is_none()
            && !self.is_resumed
            && self.caching != Caching::Neither
            && options.on_progress.is_none()
            && options.on_log.is_none()
            && options.meta.own.is_empty()
            && options.answered_by != AnsweredBy::Caller
            && !options.cancel.as_ref().is_some_and(CancelToken::is_cancelled);
        let is_headless = options.answered_by == AnsweredBy::Nobody;
        is_plain.then(|| Key::of(&self.request, is_headless))?
    }
}

fn read<T: Reply>(reply: &Message) -> Option<(T, usize)> {
    T::read(reply).ok().map(|result| (result, reply.len()))
}
