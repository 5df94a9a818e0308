//! What a server pushes: which notifications belong to a subscription, and what becomes of those that
//! find no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::Deserialize;

use crate::error::said;
use crate::protocol::envelope::Message;
use crate::protocol::{RawJson, RequestId, SubscriptionFilter};
use crate::transport::{Delivery, Notice, SlotSender};

/// The first message of a subscription (SUB-4).
pub(super) const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// One subscription, as whoever reads sees it.
pub(crate) struct Feed {
    server: Arc<str>,
    wanted: SubscriptionFilter,
    sender: SlotSender,
    limit: usize,
    is_acknowledged: AtomicBool,
    /// Notifications that found no room, and that nobody was told of yet.
    dropped: AtomicUsize,
    /// Notifications that nobody has asked for.
    unasked: AtomicUsize,
}

/// The subscription that a notification names (SUB-7), if it names one: a number, or something that
/// is none of ours (SUB-9).
pub(super) fn named(message: &Message) -> Option<Option<u64>> {
    #[derive(Deserialize)]
    struct Params {
        #[serde(rename = "_meta")]
        meta: Labels,
    }
    #[derive(Deserialize)]
    struct Labels {
        #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
        subscription: Option<RawJson>,
    }
    match message.parse::<Params>().ok()?.meta.subscription?.parse() {
        Ok(RequestId::Number(id)) => Some(u64::try_from(id).ok()),
        _ => Some(None),
    }
}

/// The resource that a notification names, if it names one.
pub(super) fn resource(message: &Message) -> Option<String> {
    #[derive(Deserialize)]
    struct Params {
        uri: Option<String>,
    }
    message.parse::<Params>().ok()?.uri
}

impl Feed {
    pub(super) fn new(
        server: &Arc<str>,
        wanted: &SubscriptionFilter,
        sender: SlotSender,
        limit: usize,
        is_acknowledged: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            server: server.clone(),
            wanted: wanted.clone(),
            sender,
            limit: limit.max(1),
            is_acknowledged: is_acknowledged.into(),
            dropped: AtomicUsize::new(0),
            unasked: AtomicUsize::new(0),
        })
    }

    /// Whether it was asked for: what the notification is about, or (in the legacy era, where it says
    /// no more) the resource too.
    pub(super) fn wants(&self, method: &str, uri: Option<&str>) -> bool {
        let resources = &self.wanted.resource_subscriptions;
        match method {
            "notifications/tools/list_changed" => self.wanted.tools_list_changed,
            "notifications/prompts/list_changed" => self.wanted.prompts_list_changed,
            "notifications/resources/list_changed" => self.wanted.resources_list_changed,
            "notifications/resources/updated" => match uri {
                Some(uri) => resources.iter().any(|subscribed| covers(subscribed, uri)),
                None => !resources.is_empty(),
            },
            "notifications/tasks" => !self.wanted.task_ids.is_empty(),
            _ => false,
        }
    }

    /// Whether this resource was asked for by this very name.
    pub(super) fn is_of(&self, uri: &str) -> bool {
        self.wanted.resource_subscriptions.iter().any(|wanted| wanted == uri)
    }

    /// Takes a notification, or what is left of one that there was no memory for. Never blocks.
    pub(super) fn take(&self, method: &str, notice: Option<Notice>) {
        if method == ACKNOWLEDGED {
            // There is one, and always room for it.
            let is_first = !self.is_acknowledged.swap(true, Ordering::AcqRel);
            if let Some(notice) = notice.filter(|_| is_first) {
                self.tell();
                self.sender.send(Delivery::Notice(notice));
            }
            return;
        }
        if !self.wants(method, None) {
            let times = self.unasked.fetch_add(1, Ordering::Relaxed) + 1;
            if times.is_power_of_two() {
                let method = said(method);
                log::warn!("{}: dropped {method}, which was not asked for: {times}", self.server);
            }
            return;
        }
        if !self.is_acknowledged.load(Ordering::Acquire) {
            log::warn!("{}: {method} came before the acknowledgement", self.server);
        }
        match notice {
            Some(notice) if self.has_room() => {
                self.tell();
                self.sender.send(Delivery::Notice(notice));
            }
            _ => self.miss(),
        }
    }

    /// Something may have been missed, though nobody knows what.
    pub(super) fn interrupt(&self) {
        match self.has_room() {
            true => _ = self.sender.send(Delivery::Missed(0)),
            false => self.miss(),
        }
    }

    fn has_room(&self) -> bool {
        self.sender.len() < self.limit
    }

    fn miss(&self) {
        let dropped = self.dropped.fetch_add(1, Ordering::AcqRel) + 1;
        // A flood of them is not to become a flood of lines.
        if dropped.is_power_of_two() {
            log::warn!("{}: a subscription missed {dropped}: too many wait", self.server);
        }
        // Whoever has emptied the queue meanwhile has not seen it.
        if self.has_room() {
            self.tell();
        }
    }

    /// Tells where in the queue something is missing.
    pub(super) fn tell(&self) {
        let dropped = self.take_dropped();
        if dropped > 0 {
            self.sender.send(Delivery::Missed(dropped));
        }
    }

    pub(super) fn take_dropped(&self) -> usize {
        self.dropped.swap(0, Ordering::AcqRel)
    }
}

/// RES-4: what is reported may lie below what was subscribed.
pub(crate) fn covers(subscribed: &str, uri: &str) -> bool {
    uri.strip_prefix(subscribed).is_some_and(|rest| {
        rest.is_empty() || subscribed.ends_with('/') || rest.starts_with(['/', '?', '#'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // RES-4
    #[test]
    fn a_resource_stands_for_what_lies_below_it() {
        for uri in ["file:///a", "file:///a/b", "file:///a?x", "file:///a#x"] {
            assert!(covers("file:///a", uri), "{uri}");
        }
        assert!(covers("file:///a/", "file:///a/b"));
        for uri in ["file:///ab", "file:///", "file:///b/a"] {
            assert!(!covers("file:///a", uri), "{uri}");
        }
    }

    // SUB-9
    #[test]
    fn a_subscription_is_named_by_value_and_type() {
        let of = |id: &str| {
            let text = format!(
                r#"{{"method":"n/x","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
            );
            named(&Message::scan(text.into_bytes()).unwrap())
        };
        assert_eq!(of("7"), Some(Some(7)));
        assert_eq!(of("7.0"), Some(Some(7)));
        assert_eq!(of(r#""7""#), Some(None));
        assert_eq!(of("-7"), Some(None));
        assert_eq!(of("[7]"), Some(None));
        assert_eq!(of("null"), None);
    }
}
