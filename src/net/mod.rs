//! HTTP exchanges over ureq: one lane, one exchange at a time, one way to interrupt it.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{Uri, header};

use crate::deadline::Deadline;

/// An agent of its own for one exchange at a time, so that ending the agent ends the exchange.
pub(crate) struct Lane {
    agent: Agent,
    /// When the last exchange left a connection open.
    open_since: Option<Instant>,
}

/// For how long an idle connection is taken to be open still. ureq drops it after 15 s.
const STAYS_OPEN: Duration = Duration::from_secs(10);

pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// What came back.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Without parameters, in lower case.
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// Why nothing came back.
pub(crate) enum Failure {
    /// The deadline passed.
    TimedOut,
    TooLarge,
    Other(ureq::Error),
}

impl Lane {
    pub(crate) fn new(url: &Uri) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry headers to wherever the server likes.
            .max_redirects(0)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .input_buffer_size(32 * 1024)
            .output_buffer_size(32 * 1024);
        if is_loopback(url) {
            config = config.proxy(None);
        }
        Self { agent: config.build().new_agent(), open_since: None }
    }

    /// Whether a connection is open: then the next exchange neither resolves nor connects.
    pub(crate) fn is_warm(&self) -> bool {
        self.open_since.is_some_and(|since| since.elapsed() < STAYS_OPEN)
    }

    /// A handle that ends the exchange from another thread, with `Agent::shutdown`.
    pub(crate) fn interrupt(&self) -> Agent {
        self.agent.clone()
    }

    /// POSTs and reads the whole answer, at most `limit` bytes of it.
    pub(crate) fn post(
        &mut self,
        url: &Uri,
        headers: &[(&'static str, String)],
        body: &[u8],
        limit: usize,
        until: Deadline,
    ) -> Result<Response, Failure> {
        self.open_since = None;
        let mut request = self.agent.post(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let sent = request.config().timeout_global(Some(until.remaining())).build().send(body);
        let mut response = sent.map_err(failure)?;
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = header(header::CONTENT_TYPE).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        let content_type = content_type.to_ascii_lowercase();
        let retry_after = header(header::RETRY_AFTER).and_then(|value| value.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        let closes = header(header::CONNECTION).is_some_and(|it| it.eq_ignore_ascii_case("close"));
        let mut body = Vec::new();
        if content_type == EVENT_STREAM {
            // It may stay open for ever.
            return Ok(Response { status, content_type, retry_after, body });
        }
        let most = (limit as u64).saturating_add(1);
        response
            .body_mut()
            .as_reader()
            .take(most)
            .read_to_end(&mut body)
            .map_err(|error| failure(ureq::Error::from(error)))?;
        if body.len() > limit {
            return Err(Failure::TooLarge);
        }
        self.open_since = (!closes).then(Instant::now);
        Ok(Response { status, content_type, retry_after, body })
    }
}

fn failure(error: ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::TimedOut,
        other => Failure::Other(other),
    }
}

/// Proxies are for the network; this machine's own servers are not behind them.
fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_its_names() {
        for (url, expected) in [
            ("http://localhost:80/x", true),
            ("http://127.3.2.1/", true),
            ("http://[::1]:9/", true),
            ("http://localhost.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
