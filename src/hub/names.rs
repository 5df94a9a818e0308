//! The names of servers: which are fit, and which there are.

use std::sync::Arc;

use crate::client::Server;
use crate::error::{Error, ErrorKind, Result, said};
use crate::hub::member::Member;

/// Adds a server to those there are, if its name is fit for that.
pub(super) fn join(
    members: &mut Vec<Arc<Member>>,
    name: &str,
    server: Server,
) -> Result<Arc<Member>> {
    let member = Arc::new(Member::new(name, server)?);
    if let Some(other) = members.iter().find(|other| other.id == member.id) {
        let text = match other.name == member.name {
            true => format!("there is a server {name:?} already"),
            false => format!("the name {name:?} is too much like {:?}", other.name),
        };
        return Err(Error::new(ErrorKind::InvalidInput, text).server(&member.name));
    }
    members.push(member.clone());
    Ok(member)
}

/// That there is no such server, and which there are: those of the most similar names first.
pub(super) fn unknown(name: &str, members: &[Arc<Member>]) -> Error {
    const MOST: usize = 10;
    let text = format!("there is no server {:?} in the hub", said(name));
    let mut names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
    // What is much longer than any of them resembles none.
    if name.len() <= 400 {
        names.sort_by_key(|other| distance(name, other));
    }
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("{name:?}")).collect();
    let hint = match (shown.is_empty(), names.len().saturating_sub(MOST)) {
        (true, _) => "It has none".to_owned(),
        (_, 0) => format!("There are {}", shown.join(", ")),
        (_, more) => format!("There are {} and {more} more", shown.join(", ")),
    };
    Error::new(ErrorKind::InvalidInput, text).hint(hint)
}

/// How many characters have to be changed, added or left out to get from one name to the other, whatever
/// their case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.to_lowercase().chars().enumerate() {
        let mut before = at;
        let mut left = at + 1;
        for (d, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let changed = before + usize::from(c != *d);
            before = *cell;
            left = changed.min(before + 1).min(left + 1);
            *cell = left;
        }
        if let Some(cell) = row.first_mut() {
            *cell = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
