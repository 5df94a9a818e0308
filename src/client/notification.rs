//! Notifications that belong to no call.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result, misfit, said};
use crate::protocol::{LogMessageParams, RawJson};
use crate::session::{CancelToken, Event};

/// A notification from a server that belongs to no call.
#[derive(Clone, Debug)]
pub struct Notification {
    method: String,
    params: RawJson,
}

impl Notification {
    pub(super) fn of(event: &Event) -> Option<Self> {
        Some(Self { method: event.method().to_owned(), params: event.params()?.clone() })
    }

    /// Returns the method, such as `notifications/tools/list_changed`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the params as they came; `{}` if there were none.
    pub fn params(&self) -> &RawJson {
        &self.params
    }

    /// Reads the params as a `T`.
    ///
    /// # Errors
    ///
    /// [`Protocol`](ErrorKind::Protocol) if they are no `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.params.parse().map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("malformed {}: {}", said(&self.method), misfit(&error)),
            )
        })
    }

    /// Returns the params of a `notifications/message`, or `None` for others.
    pub fn log_message(&self) -> Option<LogMessageParams> {
        (self.method == "notifications/message").then(|| self.params.parse().ok())?
    }
}

/// What a callback is given beside its subject.
#[derive(Debug)]
pub struct Context<'a> {
    client: &'a Client,
    is_cancelled: Option<&'a AtomicBool>,
    token: Option<&'a CancelToken>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, is_cancelled: None, token: None }
    }

    /// For what the server can cancel.
    pub(crate) fn cancellable(client: &'a Client, is_cancelled: &'a AtomicBool) -> Self {
        Self { client, is_cancelled: Some(is_cancelled), token: None }
    }

    /// For what belongs to a call of this program's.
    pub(crate) fn of_call(client: &'a Client, token: Option<&'a CancelToken>) -> Self {
        Self { client, is_cancelled: None, token }
    }

    /// Returns whether the answer is not wanted any more: a legacy server has cancelled its request,
    /// the call in which a modern one asks has been cancelled, or the connection has ended. A handler
    /// that takes its time may look from time to time.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.is_some_and(|it| it.load(Ordering::Acquire))
            || self.token.is_some_and(CancelToken::is_cancelled)
            || self.client.inner.session.has_ended()
    }

    /// Returns the client the subject came to. A callback may call it, and keep a clone.
    pub fn client(&self) -> &'a Client {
        self.client
    }
}
