//! What URLs mean to one another: references, origins, this machine.

use std::net::IpAddr;

use ureq::http::Uri;
use ureq::http::uri::Authority;

/// Resolves a reference that stands at `base` (RFC 3986, section 5), without its fragment. `None`
/// if no URL comes of it, or one that is not http, or has user info or no possible port.
pub(crate) fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str()?;
    let absolute = if has_scheme(reference) {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else {
        let (path, query) = split_query(reference);
        let query = match path {
            "" => query.or_else(|| base.query()),
            _ => query,
        };
        let path = match path {
            "" => base.path().to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => {
                let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
                format!("{directory}/{path}")
            }
        };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{}{path}{query}", base.authority()?)
    };
    let uri: Uri = absolute.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.host()?.is_empty() || has_user_info(&uri) || has_bad_port(&uri) {
        return None;
    }
    let path = without_dots(uri.path());
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(format!("{path}{query}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether both are one place to send credentials to: scheme, host and port.
pub(crate) fn same_origin(one: &Uri, other: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    one.scheme() == other.scheme() && host(one) == host(other) && port(one) == port(other)
}

/// Whether it is this machine's own.
pub(crate) fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(crate) fn has_user_info(url: &Uri) -> bool {
    url.authority().map(Authority::as_str).unwrap_or_default().contains('@')
}

/// Whether a port is named that there is not: `Uri` drops it, and the default would be used.
pub(crate) fn has_bad_port(url: &Uri) -> bool {
    let authority = url.authority().map(Authority::as_str).unwrap_or_default();
    let after_host = authority.rsplit(['@', ']']).next().unwrap_or_default();
    let port = after_host.rsplit_once(':').map_or("", |(_, port)| port);
    !port.is_empty() && url.port_u16().is_none()
}

/// The port, or the one that the scheme stands for.
fn port(uri: &Uri) -> Option<u16> {
    let default = || match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    };
    uri.port_u16().or_else(default)
}

fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_of_scheme)
}

fn split_query(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    }
}

/// A path without the segments `.` and `..`, which mean this and the parent directory.
fn without_dots(path: &str) -> String {
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut kept = Vec::new();
    let mut ends_in_directory = false;
    for segment in path.split('/') {
        ends_in_directory = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if ends_in_directory {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn references_resolve_as_rfc_3986_says() {
        // Sections 5.2.4 and 5.4. An empty path and `/` are one to HTTP.
        let base = uri("http://a/b/c/d;p?q");
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x?y", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g//h", "http://a/b/c/g//h"),
            ("https://b:1/x/../y?z", "https://b:1/y?z"),
            ("./a:b", "http://a/b/c/a:b"),
        ] {
            assert_eq!(resolve(&base, reference).unwrap(), uri(expected), "{reference}");
        }
        assert_eq!(resolve(&base, "//[::1]/x").unwrap(), uri("http://[::1]/x"));
        assert_eq!(resolve(&uri("https://a:8/"), "x").unwrap(), uri("https://a:8/x"));
        assert_eq!(resolve(&uri("https://a"), "x?y").unwrap(), uri("https://a/x?y"));
        assert_eq!(resolve(&uri("http://[::1]:8/a"), "/x").unwrap(), uri("http://[::1]:8/x"));
    }

    #[test]
    fn what_is_no_place_to_go_is_refused() {
        let base = uri("https://a/b");
        for reference in [
            "ftp://a/x",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "a:b",
            "http:g",
            "http:///x",
            "//",
            "//:80/x",
            "https://me@a/x",
            "https://me:hunter2@a/x",
            "//me@a/x",
            "a b",
            "a\r\nb",
            "https://a\\@b/",
            "https://[::1/",
            "https://a:99999/",
            "//[::1]:65536/",
        ] {
            assert_eq!(resolve(&base, reference), None, "{reference:?}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (one, other, expected) in [
            ("http://a/x", "http://A:80/y?z", true),
            ("https://a.b/", "HTTPS://A.b:443", true),
            ("https://a:8443/", "https://a:8443/x", true),
            ("http://a/", "https://a/", false),
            ("http://a:443/", "https://a/", false),
            ("http://a/", "http://a:8080/", false),
            ("http://a/", "http://b.a/", false),
            ("http://a/", "http://a./", false),
            ("http://127.0.0.1/", "http://localhost/", false),
        ] {
            assert_eq!(same_origin(&uri(one), &uri(other)), expected, "{one} {other}");
            assert_eq!(same_origin(&uri(other), &uri(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn loopback_is_known_by_its_names() {
        for (url, expected) in [
            ("http://localhost:80/x", true),
            ("http://LocalHost/", true),
            ("http://127.3.2.1/", true),
            ("http://[::1]:9/", true),
            ("http://localhost.example.com/", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://10.0.0.1/", false),
        ] {
            assert_eq!(is_loopback(&uri(url)), expected, "{url}");
        }
    }
}
