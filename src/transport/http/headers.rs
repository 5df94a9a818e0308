//! What a message says, said again in headers for those who route without reading it.

use ureq::http::{HeaderName, HeaderValue, header};

use crate::error::{Error, ErrorKind, Result};
use crate::net::Headers;
use crate::protocol::header_value::header_value;
use crate::transport::Outgoing;

use super::Terms;

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Of a POST: HDR-1…HDR-8, LHTTP-1.
pub(super) fn of_message(message: &Outgoing<'_>, terms: &Terms, own: Headers) -> Result<Headers> {
    let mut headers = own;
    headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    let both = HeaderValue::from_static("application/json, text/event-stream");
    headers.push((header::ACCEPT, both));
    match message.version {
        Some(version) => {
            headers.push((VERSION, HeaderValue::from_static(version.as_str())));
            headers.push((METHOD, value(message.method)?));
            if let Some(name) = message.name {
                headers.push((NAME, value(&header_value(name))?));
            }
            for (name, text) in message.mirror {
                let name = HeaderName::try_from(name).map_err(|_| unfit())?;
                headers.push((name, value(text)?));
            }
        }
        // It begins a session, and belongs to none.
        None if message.method == super::INITIALIZE => {}
        // An answer belongs to the session that is beginning, if one is.
        None if message.id.is_none() && terms.offered.is_some() => {
            headers.extend(terms.offered.clone().map(|session| (SESSION, session)));
        }
        None => headers.extend(terms.headers()),
    }
    Ok(headers)
}

/// Of a GET that asks for events.
pub(super) fn of_stream(terms: &Terms, last_event_id: &str, own: Headers) -> Headers {
    let mut headers = own;
    headers.push((header::ACCEPT, HeaderValue::from_static("text/event-stream")));
    headers.extend(terms.headers());
    // LHTTP-23. What no header can hold cannot be resumed from.
    let id = HeaderValue::from_str(last_event_id).ok().filter(|id| !id.is_empty());
    headers.extend(id.map(|id| (LAST_EVENT_ID, id)));
    headers
}

impl Terms {
    /// LHTTP-4, LHTTP-12: what every request of a legacy session carries.
    pub(super) fn headers(&self) -> Headers {
        let mut headers = Headers::new();
        headers.extend(self.session.clone().map(|session| (SESSION, session)));
        let version = self.version.map(|version| HeaderValue::from_static(version.as_str()));
        headers.extend(version.map(|version| (VERSION, version)));
        headers
    }
}

fn value(text: &str) -> Result<HeaderValue> {
    // ureq writes a head line by line, from a buffer that has to hold each.
    const LONGEST: usize = 16 * 1024;
    let value = HeaderValue::from_str(text).ok().filter(|value| value.len() <= LONGEST);
    value.ok_or_else(unfit)
}

/// Shows nothing of it, as it may be an argument.
fn unfit() -> Error {
    let text = "the method, the name or an argument is more than an HTTP header can hold";
    Error::new(ErrorKind::InvalidInput, text)
}
