//! What may have changed at the server, told by whoever reads, before anything that came later is
//! looked at: for whoever keeps answers.

use serde::Deserialize;

use crate::protocol::ClientRequest;
use crate::protocol::envelope::Message;
use crate::session::feed::ACKNOWLEDGED;

/// What may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Tools,
    Prompts,
    Resources,
    /// One resource, or any of them.
    Resource(Option<String>),
    /// Whatever a tool can change: one was called, or a call has moved on.
    ByCall,
    Anything,
}

/// Runs on the thread that reads: it must neither block nor run code of the program's own.
pub(crate) type OnChange = dyn Fn(&Changed) + Send + Sync;

impl Changed {
    /// What a notification says, if it says that something has changed (CACHE-15).
    pub(super) fn said(method: &str, message: &Message) -> Option<Self> {
        #[derive(Deserialize)]
        struct Updated {
            uri: String,
        }
        Some(match method {
            "notifications/tools/list_changed" => Self::Tools,
            "notifications/prompts/list_changed" => Self::Prompts,
            "notifications/resources/list_changed" => Self::Resources,
            "notifications/resources/updated" => {
                Self::Resource(message.parse().ok().map(|Updated { uri }| uri))
            }
            "notifications/tasks" | "notifications/tasks/status" => Self::ByCall,
            // SUB-17: what happened before it was not heard of.
            ACKNOWLEDGED => Self::Anything,
            _ => return None,
        })
    }
}

/// What a request has to do with changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It calls a tool, or is about a call that has become a task.
    Calls,
    /// It has the server say what changes. Before it says so, or after that has ended, nothing is heard.
    Listens,
}

impl Effect {
    pub(super) fn of(request: &ClientRequest) -> Option<Self> {
        match request.method() {
            "subscriptions/listen" | "resources/subscribe" | "resources/unsubscribe" => {
                Some(Self::Listens)
            }
            method if method == "tools/call" || method.starts_with("tasks/") => Some(Self::Calls),
            _ => None,
        }
    }
}
