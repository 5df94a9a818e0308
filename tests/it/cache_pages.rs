//! Lists of several pages that are kept: never put together from two.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use serde_json::{Value, json};
use umcp::memory::{Peer, Received};
use umcp::{Cache, Client, Era};

use crate::cache::{PROMPTS, open, seen};

/// A list of pages that a function makes of cursors, and says things before.
fn listing(
    page: impl Fn(&Peer, &str) -> Option<Value> + Send + Sync + 'static,
) -> (Client, Receiver<Received>) {
    open(Era::Modern, Cache::new(), move |peer, request| {
        match page(peer, request.param("/cursor").as_str().unwrap_or_default()) {
            Some(page) => peer.reply(request, page),
            None => peer.reply_error(request, -32602, "no such cursor", None),
        }
    })
}

fn prompt_names(client: &Client) -> Vec<String> {
    client.list_prompts().unwrap().into_iter().map(|prompt| prompt.name).collect()
}

// CACHE-18
#[test]
fn a_list_that_changes_on_the_way_is_asked_for_from_the_start() {
    let number = AtomicUsize::new(0);
    let (client, see) = listing(move |peer, cursor| {
        let edition = match (cursor, number.fetch_add(1, Ordering::SeqCst)) {
            // The second page changes the list.
            ("2", 1) => {
                peer.notify(PROMPTS, json!({}));
                "old"
            }
            (_, 0) => "old",
            _ => "new",
        };
        let page = json!({ "prompts": [{ "name": format!("{edition}{cursor}") }] });
        Some(match cursor {
            "" => json!({ "prompts": page["prompts"], "nextCursor": "2" }),
            _ => page,
        })
    });
    assert_eq!(prompt_names(&client), ["new", "new2"]);
    assert_eq!(seen(&see), ["prompts/list", "2", "prompts/list", "2"]);
    assert_eq!(prompt_names(&client), ["new", "new2"]);
    assert_eq!(seen(&see), [""; 0]);
}

// CACHE-18
#[test]
fn a_list_that_never_stops_changing_is_returned_and_not_kept() {
    let (client, see) = listing(|peer, cursor| {
        peer.notify(PROMPTS, json!({}));
        let page = json!({ "prompts": [{ "name": "x" }] });
        Some(match cursor {
            "" => json!({ "prompts": page["prompts"], "nextCursor": "2" }),
            _ => page,
        })
    });
    assert_eq!(prompt_names(&client), ["x", "x"]);
    assert_eq!(seen(&see), ["prompts/list", "2", "prompts/list", "2", "prompts/list", "2"]);
    assert_eq!(client.cache().stats().entries, 0);
}

// CACHE-18
#[test]
fn pages_that_were_begun_before_a_change_take_nothing_that_is_kept_after_it() {
    let (client, see) = listing(|_, cursor| {
        let next = match cursor {
            "" => json!("2"),
            "2" => json!("3"),
            _ => json!(null),
        };
        Some(json!({ "prompts": [{ "name": cursor }], "nextCursor": next }))
    });
    let mut pages = client.prompts().pages();
    pages.next().unwrap().unwrap();
    client.cache().invalidate("prompts/list");
    // Another list is kept meanwhile, which these pages do not belong to.
    assert_eq!(prompt_names(&client).len(), 3);
    seen(&see);
    assert_eq!(pages.by_ref().count(), 2);
    assert_eq!(seen(&see), ["2", "3"]);
    assert_eq!(prompt_names(&client).len(), 3);
    assert_eq!(seen(&see), [""; 0]);
}

// CACHE-18
#[test]
fn a_page_that_the_server_no_longer_knows_takes_the_list_with_it() {
    let edition = Arc::new(AtomicUsize::new(1));
    let current = edition.clone();
    let (client, see) = listing(move |_, cursor| {
        let current = current.load(Ordering::SeqCst).to_string();
        match cursor {
            "" => Some(json!({ "prompts": [{ "name": current }], "nextCursor": current })),
            cursor if cursor == current => Some(json!({ "prompts": [], "ttlMs": 0 })),
            _ => None,
        }
    });
    assert_eq!(prompt_names(&client), ["1"]);
    edition.store(2, Ordering::SeqCst);
    seen(&see);
    assert_eq!(prompt_names(&client), ["2"]);
    assert_eq!(seen(&see), ["1", "prompts/list", "2"]);
    // Whoever goes page by page is told, and can begin again.
    edition.store(3, Ordering::SeqCst);
    let mut pages = client.prompts().pages();
    assert_eq!(pages.next().unwrap().unwrap().items[0].name, "2");
    assert_eq!(pages.next().unwrap().unwrap_err().rpc().unwrap().code, -32602);
    assert_eq!(client.cache().stats().entries, 0);
    assert_eq!(prompt_names(&client), ["3"]);
}
