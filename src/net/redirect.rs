//! Which redirects are followed.

use ureq::http::Uri;

use super::url;
use crate::error::{Error, ErrorKind, said, without_secrets};

/// How many redirects of one request are followed, one after the other.
pub(crate) const MOST_REDIRECTS: usize = 5;

pub(crate) enum Redirect {
    /// The same request goes there.
    Follow(Uri),
    Refused(Error),
}

/// HTTP-21: only what sends the same request to the same origin, with the same credentials.
///
/// `status` is a 3xx, and `location` what the header of that name says.
pub(crate) fn decide(from: &Uri, status: u16, location: Option<&str>) -> Redirect {
    let Some(location) = location.map(str::trim).filter(|location| !location.is_empty()) else {
        let text = format!("the server redirects (HTTP {status}) without saying where");
        return refused(text, "Is this the URL of an MCP endpoint?");
    };
    let Some(target) = url::resolve(from, location) else {
        // It may be anything, with a secret anywhere.
        let text = format!("the server redirects (HTTP {status}) to what is no http(s) URL");
        return refused(text, "Ask the server's operator for its URL");
    };
    if matches!(status, 307 | 308) && url::same_origin(from, &target) {
        return Redirect::Follow(target);
    }
    let target = said(&without_secrets(&target.to_string()));
    let text = format!("the server redirects (HTTP {status}) to {target}, which is not followed");
    refused(text, "Use that URL if you trust it")
}

fn refused(text: String, hint: &str) -> Redirect {
    // Behind a 303 something may have been done, and who redirects may be any program.
    Redirect::Refused(Error::new(ErrorKind::Unreachable, text).hint(hint).ran(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(from: &str, status: u16, location: Option<&str>) -> String {
        match decide(&from.parse().unwrap(), status, location) {
            Redirect::Follow(target) => target.to_string(),
            Redirect::Refused(error) => {
                assert_eq!(error.kind(), ErrorKind::Unreachable);
                error.to_string()
            }
        }
    }

    #[test]
    fn the_same_request_may_go_to_the_same_origin() {
        // HTTP-21
        for (location, expected) in [
            ("/mcp/?a=b", "https://a/mcp/?a=b"),
            ("new", "https://a/new"),
            ("https://A:443/new", "https://A:443/new"),
            (" //a/new ", "https://a/new"),
        ] {
            assert_eq!(text("https://a/mcp", 307, Some(location)), expected);
            assert_eq!(text("https://a/mcp", 308, Some(location)), expected);
        }
    }

    #[test]
    fn other_redirects_are_refused_and_name_their_target() {
        // HTTP-21
        let refused = |status, location: &str, target: &str| {
            assert_eq!(
                text("http://a:8080/mcp", status, Some(location)),
                format!(
                    "the server redirects (HTTP {status}) to {target}, which is not followed. \
                     Use that URL if you trust it"
                )
            );
        };
        for status in [300, 301, 302, 303, 304, 305] {
            refused(status, "/new", "http://a:8080/new");
        }
        refused(307, "https://a:8080/mcp", "https://a:8080/mcp");
        refused(308, "http://a/mcp", "http://a/mcp");
        refused(308, "//b:8080/mcp?key=hunter2#hunter2", "http://b:8080/mcp");
        let long = "x".repeat(4000);
        refused(302, &format!("/{long}"), &format!("http://a:8080/{}…", &long[..486]));
    }

    #[test]
    fn a_redirect_to_nowhere_shows_nothing_of_it() {
        for location in [None, Some(""), Some(" ")] {
            let said = text("http://a/", 302, location);
            assert!(said.starts_with("the server redirects (HTTP 302) without saying where"));
        }
        for location in ["https://me:hunter2@a/", "hunter2:hunter2", "/\u{1b}[2Jhunter2"] {
            let said = text("http://a/", 307, Some(location));
            assert!(said.starts_with("the server redirects (HTTP 307) to what is no http(s) URL"));
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
