//! Which server has a tool.

use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result, said};
use crate::hub::at_once::at_once;
use crate::hub::member::Member;
use crate::hub::{Hub, merged_name};
use crate::protocol::Tool;
use crate::session::CancelToken;

impl Hub {
    /// Finds the tool of a name: its own, at the first server that has it, in the order of adding; or
    /// that which [`tools`](Self::tools) gives it, which goes before. Returns the server's name and
    /// the tool, or `None` if no server has it.
    ///
    /// The list of a server that says when its tools change is kept until it does; that of another for
    /// as long as the server has said that it stays as it is ([`Page::ttl`](crate::Page::ttl)), up to an
    /// hour. Servers whose list is not kept are asked, all at the same time, and up to three times if
    /// their tools change meanwhile.
    ///
    /// Blocks until a server has it and all before have not, or all have answered: for as long as
    /// [`Client::list_tools`](crate::Client::list_tools) may take.
    ///
    /// # Errors
    ///
    /// If no server has it, and one could not be asked: that one's error, and its kind. As it is
    /// with servers that are [failures](Self::failures).
    pub fn find_tool(&self, name: &str) -> Result<Option<(String, Tool)>> {
        if let Some((member, part)) = self.split(name)
            && let Ok(Some(tool)) = member.tools(&CancelToken::new()).map(|tools| {
                let is_it = |tool: &&Tool| merged_name::of_tool(&member.id, &tool.name) == part;
                tools.iter().find(is_it).cloned()
            })
        {
            return Ok(Some((member.name.to_string(), tool)));
        }
        self.find_by_own_name(name)
    }

    fn find_by_own_name(&self, name: &str) -> Result<Option<(String, Tool)>> {
        let members = self.wanted();
        let found_among = |tools: Arc<[Tool]>| tools.iter().find(|tool| tool.name == name).cloned();
        let slots: Vec<Slot> = members.into_iter().map(Slot::new).collect();
        for slot in &slots {
            if let Some(tools) = slot.member.kept_tools() {
                let _ = slot.found.set(Ok(found_among(tools)));
            }
        }
        let open: Vec<&Slot> = slots.iter().filter(|slot| slot.found.get().is_none()).collect();
        if first(&slots).is_none() {
            let enough = CancelToken::new();
            at_once(&open, |slot| {
                if !enough.is_cancelled() {
                    let _ = slot.found.set(slot.member.tools(&enough).map(found_among));
                    if first(&slots).is_some() {
                        enough.cancel();
                    }
                }
            });
        }
        if let Some((member, tool)) = first(&slots) {
            return Ok(Some((member.name.to_string(), tool.clone())));
        }
        let failed = |slot: &Slot| Some(slot.found.get()?.as_ref().err()?.clone());
        let failures: Vec<Error> = slots.iter().filter_map(failed).collect();
        match failures.split_first() {
            None => Ok(None),
            Some((error, others)) => Err(found_nowhere(name, error, others.len())),
        }
    }
}

/// A server that is asked whether it has a tool, and what it says.
struct Slot {
    member: Arc<Member>,
    found: OnceLock<Result<Option<Tool>>>,
}

impl Slot {
    fn new(member: Arc<Member>) -> Self {
        Self { member, found: OnceLock::new() }
    }
}

/// The first that has it, as soon as all before are known not to.
fn first(slots: &[Slot]) -> Option<(&Member, &Tool)> {
    for slot in slots {
        if let Ok(Some(tool)) = slot.found.get()? {
            return Some((&slot.member, tool));
        }
    }
    None
}

/// That no server has a tool, of those that could be asked.
fn found_nowhere(tool: &str, error: &Error, others: usize) -> Error {
    let which = match others {
        0 => "one could not".to_owned(),
        _ => format!("{} could not, such as", others + 1),
    };
    let why = error.to_string();
    let why = said(why.lines().next().unwrap_or_default());
    let text =
        format!("no server that could be asked has the tool {:?}; {which}: {why}", said(tool));
    Error::new(error.kind(), text).source(error.clone())
}
