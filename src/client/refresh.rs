//! Asking for the tools again, after the server refused the headers of a call.

use crate::client::list::Pages;
use crate::client::request::Pending;
use crate::client::{Client, List};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::protocol::envelope::Message;
use crate::protocol::{ListToolsResult, Tool};
use crate::session::{HEADER_MISMATCH, PendingRequest};

/// Whether a call has asked for the tools again, which it does once at most (XHDR-27).
#[derive(Debug)]
pub(super) enum Refresh {
    NotYet,
    UnderWay(Box<Listing>),
    Done,
}

/// A list under way, up to the page that the tool is on.
#[derive(Debug)]
pub(super) struct Listing {
    pages: Pages<Tool>,
    page: Pending<'static, ListToolsResult>,
    /// What the server said to the call.
    refusal: Error,
}

impl Refresh {
    /// Waits until `until` at most, for the reply to a call or whatever ends it. If the server
    /// refuses the call's headers, it is sent again with those that the tool's schema asks for by
    /// now (XHDR-26). Meanwhile the call's clocks go on.
    pub(super) fn wait(
        &mut self,
        client: &Client,
        call: &mut PendingRequest<'_>,
        until: Option<Deadline>,
    ) -> Option<Result<Message>> {
        let Some(table) = &client.inner.tools else { return call.wait(until) };
        loop {
            if let Self::UnderWay(listing) = self {
                let listed = listing.wait(call, until)?;
                *self = Self::Done;
                let headers = listed.and_then(|()| table.headers(call.request()));
                if let Err(error) = headers.and_then(|headers| call.send_again(headers)) {
                    return Some(Err(call.explain(error)));
                }
            }
            match (call.wait(until)?, &self) {
                (Err(error), Self::NotYet) if is_refusal(call, &error) => {
                    match Listing::start(client, call, error) {
                        Ok(listing) => *self = Self::UnderWay(Box::new(listing)),
                        Err(error) => return Some(Err(call.explain(error))),
                    }
                }
                (reply, _) => return Some(reply),
            }
        }
    }
}

fn is_refusal(call: &PendingRequest<'_>, error: &Error) -> bool {
    call.request().tool_call().is_some()
        && error.rpc().is_some_and(|rpc| rpc.code == HEADER_MISMATCH)
}

impl Listing {
    fn start(client: &Client, call: &PendingRequest<'_>, refusal: Error) -> Result<Self> {
        let mut pages = List::new(client).pages();
        match ask(&mut pages, call) {
            Ok(page) => Ok(Self { pages, page, refusal }),
            Err(error) => Err(instead_of(&refusal, error)),
        }
    }

    /// Waits for the page with the tool on it.
    fn wait(&mut self, call: &PendingRequest<'_>, until: Option<Deadline>) -> Option<Result<()>> {
        loop {
            let next = self.page.wait_until(until)?.and_then(|(result, bytes)| {
                let page = self.pages.turn(result, bytes)?;
                self.pages.check_size()?;
                if page.items.iter().any(|tool| Some(tool.name.as_str()) == call.name()) {
                    return Ok(None);
                }
                match page.next_cursor {
                    Some(_) => ask(&mut self.pages, call).map(Some),
                    // It is gone, or cannot be called any more.
                    None => Err(self.refusal.clone()),
                }
            });
            match next {
                Ok(Some(page)) => self.page = page,
                Ok(None) => return Some(Ok(())),
                Err(error) => return Some(Err(instead_of(&self.refusal, error))),
            }
        }
    }
}

/// Asks for a page, within what is left of the call's clocks.
fn ask(
    pages: &mut Pages<Tool>,
    call: &PendingRequest<'_>,
) -> Result<Pending<'static, ListToolsResult>> {
    let (clocks, _) = call.clocks();
    let mut request = pages.ask()?.within(clocks).patient();
    if let Some(token) = call.cancel_token() {
        request = request.cancel_token(token);
    }
    request.send(call.waits())
}

/// What ends the call, when something ends the list. The call itself was refused in any case.
fn instead_of(refusal: &Error, error: Error) -> Error {
    match error.is_timeout() || error.is_cancelled() {
        true => error.ran(false),
        false => refusal.clone(),
    }
}
