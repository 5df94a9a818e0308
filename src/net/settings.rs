//! What the caller wants every exchange with one server to be made with.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::header::{self, HeaderName, HeaderValue};
use ureq::http::{Uri, uri::Scheme};

use super::STAYS_OPEN;
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::url::is_loopback;
use crate::error::{Error, ErrorKind, Result};

#[derive(Clone, Default)]
pub(crate) struct Settings {
    headers: Vec<(HeaderName, HeaderValue)>,
    token: Option<Token>,
    allow_plain_http_credentials: bool,
    #[cfg(feature = "tls")]
    tls: Tls,
}

#[derive(Clone)]
enum Token {
    Fixed(HeaderValue),
    /// Asked before each exchange.
    Asked(Arc<AskToken>),
}

/// A function of the caller's that gives a token.
pub(crate) type AskToken =
    dyn Fn() -> Result<String, Box<dyn std::error::Error + Send + Sync>> + Send + Sync;

/// What umcp and ureq set themselves, or what would change how a message is framed.
const RESERVED: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const RESERVED_START: &str = "mcp-";

/// What is wrong with a setting, without showing its value.
type Checked = Result<(), String>;

impl Settings {
    /// Sets a header, in place of one of the same name.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> Checked {
        // What is no name may be a whole header, with its secret.
        let name: HeaderName = name.parse().map_err(|_| "its name is no name of a header")?;
        if RESERVED.contains(&name.as_str()) || name.as_str().starts_with(RESERVED_START) {
            return Err(format!("`{name}` is set by umcp itself"));
        }
        let Ok(mut value) = HeaderValue::from_str(value.trim_matches([' ', '\t'])) else {
            return Err(format!("the value of `{name}` has characters that no header can hold"));
        };
        value.set_sensitive(true);
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        Ok(())
    }

    pub(crate) fn bearer_token(&mut self, token: &str) -> Checked {
        self.token = Some(Token::Fixed(bearer(token)?));
        Ok(())
    }

    pub(crate) fn bearer_token_with(&mut self, ask: Arc<AskToken>) {
        self.token = Some(Token::Asked(ask));
    }

    pub(crate) fn allow_plain_http_credentials(&mut self) {
        self.allow_plain_http_credentials = true;
    }

    #[cfg(feature = "tls")]
    pub(crate) fn ca_certificates(&mut self, pem: &[u8]) -> Checked {
        self.tls.trust(pem)
    }

    #[cfg(feature = "tls")]
    pub(crate) fn client_certificate(&mut self, certificate: &[u8], key: &[u8]) -> Checked {
        self.tls.identify(certificate, key)
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn ca_certificates(&mut self, _pem: &[u8]) -> Checked {
        Err("umcp was built without the feature `tls`".to_owned())
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) fn client_certificate(&mut self, _certificate: &[u8], _key: &[u8]) -> Checked {
        Err("umcp was built without the feature `tls`".to_owned())
    }

    /// Whether a server at this URL can be spoken to with these settings. To be asked before
    /// anything is sent.
    pub(crate) fn check(&self, url: &Uri) -> Result<()> {
        let invalid = |text: &str| Error::new(ErrorKind::InvalidInput, text);
        let has_authorization = self.headers.iter().any(|(name, _)| name == header::AUTHORIZATION);
        if has_authorization && self.token.is_some() {
            return Err(invalid("there is a bearer token and a header `authorization`: give one"));
        }
        if url.scheme() == Some(&Scheme::HTTPS) {
            return Ok(());
        }
        if self.allow_plain_http_credentials || is_loopback(url) {
            return Ok(());
        }
        let of_header = || self.headers.iter().find(|(name, _)| is_credential(name));
        let what = match &self.token {
            Some(_) => "the bearer token".to_owned(),
            None => match of_header() {
                Some((name, _)) => format!("the header `{name}`"),
                None => return Ok(()),
            },
        };
        let text = format!("{what} would cross the network unencrypted");
        let hint = "Use an https:// URL, or insist with `allow_plain_http_credentials`";
        Err(invalid(&text).hint(hint))
    }

    /// Reads what it takes to connect: the certificates of the system, if those are trusted.
    pub(crate) fn load(&self, url: &Uri) -> Result<()> {
        #[cfg(feature = "tls")]
        if url.scheme() == Some(&Scheme::HTTPS) {
            self.tls.load()?;
        }
        let _ = url;
        Ok(())
    }

    /// How exchanges are made.
    pub(super) fn config(&self, url: &Uri) -> Config {
        const BUFFER: usize = 32 * 1024;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would carry headers to wherever the server likes.
            .max_redirects(0)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(STAYS_OPEN)
            .input_buffer_size(BUFFER)
            // A full one would be taken for the end of the connection.
            .max_response_header_size(BUFFER - 1)
            .output_buffer_size(BUFFER);
        // Proxies are for the network; this machine's own servers are not behind them.
        if is_loopback(url) {
            config = config.proxy(None);
        }
        #[cfg(feature = "tls")]
        {
            config = config.tls_config(self.tls.config());
        }
        config.build()
    }

    /// What is sent with every exchange. Asks the caller's function for the token.
    pub(crate) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let mut headers = self.headers.clone();
        if let Some(token) = &self.token {
            headers.push((header::AUTHORIZATION, token.value()?));
        }
        Ok(headers)
    }
}

impl Token {
    fn value(&self) -> Result<HeaderValue> {
        let ask = match self {
            Token::Fixed(value) => return Ok(value.clone()),
            Token::Asked(ask) => ask,
        };
        let failed = |why: &str| {
            let text = format!("there is no bearer token for the request: {why}");
            Error::new(ErrorKind::Authorization, text)
        };
        match catch_unwind(AssertUnwindSafe(|| ask())) {
            Ok(Ok(token)) => bearer(&token).map_err(|why| failed(&why)),
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(_) => Err(failed("the function that gives it panicked")),
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    let is_token = token.bytes().all(|byte| byte.is_ascii_graphic());
    match HeaderValue::from_str(&format!("Bearer {token}")) {
        Ok(mut value) if is_token => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => Err("it has characters that no token has, such as spaces or the end of a line".into()),
    }
}

/// Whether a header's name says that its value is a secret.
fn is_credential(name: &HeaderName) -> bool {
    const SECRETS: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];
    SECRETS.iter().any(|secret| name.as_str().contains(secret))
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("headers", &names)
            .field("bearer_token", &self.token.is_some())
            .field("allow_plain_http_credentials", &self.allow_plain_http_credentials)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &Settings, url: &str) -> Option<String> {
        let error = settings.check(&url.parse().unwrap()).err()?;
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        Some(error.to_string())
    }

    #[test]
    fn headers_that_umcp_sets_are_refused() {
        let mut settings = Settings::default();
        for name in ["Accept", "HOST", "Content-Length", "Mcp-Session-Id", "MCP-Protocol-Version"] {
            let why = settings.header(name, "hunter2").unwrap_err();
            assert_eq!(why, format!("`{}` is set by umcp itself", name.to_lowercase()));
        }
        assert!(settings.headers.is_empty());
    }

    #[test]
    fn what_no_header_can_hold_is_refused_unseen() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("", "hunter2"),
            ("X-Key: hunter2", ""),
            ("X Key", "hunter2"),
            ("X-Key", "hunter2\r\nX-Other: 1"),
            ("X-Key", "hunter2\0"),
            ("X-Key", "hunter2\n"),
        ] {
            let why = settings.header(name, value).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
        for token in ["", "hunter2\n", "hunter2 x", "hünter2", "hunter2\r\nX-Other: 1"] {
            let why = settings.bearer_token(token).unwrap_err();
            assert!(!why.contains("nter2"), "{why}");
        }
        assert!(settings.headers().unwrap().is_empty());
    }

    #[test]
    fn the_last_header_of_a_name_counts() {
        let mut settings = Settings::default();
        for (name, value) in [("X-Key", "1"), ("X-Other", "2"), ("x-key", " 3 ")] {
            settings.header(name, value).unwrap();
        }
        settings.bearer_token("t").unwrap();
        let headers = settings.headers().unwrap();
        let texts: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(texts, ["x-other: 2", "x-key: 3", "authorization: Bearer t"]);
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
    }

    #[test]
    fn credentials_do_not_cross_the_network_unencrypted() {
        let mut token = Settings::default();
        token.bearer_token("hunter2").unwrap();
        let mut asked = Settings::default();
        asked.bearer_token_with(Arc::new(|| Ok("hunter2".to_owned())));
        let with = |name| {
            let mut settings = Settings::default();
            settings.header(name, "hunter2").unwrap();
            settings
        };
        let refused = [
            token,
            asked,
            with("Authorization"),
            with("Cookie"),
            with("X-Api-Key"),
            with("X-Auth"),
            with("My-Secret"),
            with("Private-Token"),
            with("Password"),
        ];
        for mut settings in refused {
            for url in ["http://example.com/", "http://10.0.0.1/", "http://localhost.evil/"] {
                let why = check(&settings, url).unwrap();
                assert!(why.contains("unencrypted. Use an https:// URL"), "{why}");
                assert!(!why.contains("hunter2"), "{why}");
            }
            assert_eq!(check(&settings, "http://127.0.0.1:80/"), None);
            assert_eq!(check(&settings, "http://localhost/"), None);
            assert_eq!(check(&settings, "https://example.com/"), None);
            settings.allow_plain_http_credentials();
            assert_eq!(check(&settings, "http://example.com/"), None);
        }
        assert_eq!(check(&with("X-Tenant"), "http://example.com/"), None);
    }

    #[test]
    fn one_authorization_is_enough() {
        let mut settings = Settings::default();
        settings.header("Authorization", "Basic x").unwrap();
        settings.bearer_token("t").unwrap();
        assert!(check(&settings, "https://example.com/").unwrap().contains("give one"));
    }

    #[test]
    fn a_function_that_gives_no_token_is_an_error_and_no_panic() {
        let ask = |ask: Arc<AskToken>| {
            let mut settings = Settings::default();
            settings.bearer_token_with(ask);
            settings.headers().unwrap_err()
        };
        let error = ask(Arc::new(|| Err("the vault is closed".into())));
        assert_eq!(error.kind(), ErrorKind::Authorization);
        assert!(!error.may_have_run());
        let expected = "there is no bearer token for the request: the vault is closed";
        assert_eq!(error.to_string(), expected);
        assert!(ask(Arc::new(|| panic!("as tested"))).to_string().ends_with("it panicked"));
        let error = ask(Arc::new(|| Ok("hunter2\n".to_owned()))).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_not_taken_to_be_open_is_not_used() {
        let config = Settings::default().config(&"http://a/".parse().unwrap());
        assert_eq!(config.max_idle_age(), STAYS_OPEN);
    }

    #[test]
    fn printing_shows_names_only() {
        let mut settings = Settings::default();
        settings.header("X-Key", "hunter2").unwrap();
        settings.bearer_token("hunter2").unwrap();
        let text = format!("{settings:?} {:?}", settings.headers().unwrap());
        assert!(text.contains("x-key") && !text.contains("hunter2"), "{text}");
    }
}
