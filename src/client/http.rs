//! What servers at URLs are given, and whom they have to be certified by.

use std::error::Error as StdError;
use std::sync::Arc;

use super::Server;

/// For servers that are URLs, with the feature `http`. What does not fit is an error of
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when a client is opened.
///
/// Proxies are those of the environment: the first of `ALL_PROXY`, `HTTPS_PROXY` and `HTTP_PROXY`,
/// for every URL that is not this machine's own and not excepted by `NO_PROXY`. Proxies that are
/// `socks4://` or `socks5://` need the feature `socks`.
impl Server {
    /// Sends a header with every request to the URL, in place of one of the same name that was
    /// set before.
    ///
    /// Its value is treated as a secret, and nothing shows it. What umcp sets itself is refused:
    /// `Mcp-*`, `Accept`, `Content-Type`, `Host` and the like. If the header's name says that it is
    /// a credential (it contains `auth`, `cookie`, `key`, `password`, `secret` or `token`), it goes
    /// only over https, or to this machine: see
    /// [`allow_plain_http_credentials`](Server::allow_plain_http_credentials).
    ///
    /// ```no_run
    /// use umcp::{Client, Server};
    ///
    /// let key = std::env::var("EXAMPLE_KEY").unwrap_or_default();
    /// let server = Server::url("https://example.com/mcp").header("X-Api-Key", key);
    /// let client = Client::open(server)?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    #[must_use]
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.http("header", |settings| settings.header(name.as_ref(), value.as_ref()))
    }

    /// Sends a token with every request to the URL, as `Authorization: Bearer`. It goes only over
    /// https, or to this machine, and nothing shows it.
    #[must_use]
    pub fn bearer_token(self, token: impl AsRef<str>) -> Self {
        self.http("bearer_token", |settings| settings.bearer_token(token.as_ref()))
    }

    /// Asks a function for the token of [`bearer_token`](Server::bearer_token), before every
    /// request.
    ///
    /// Keep a token as long as it is valid, and renew it in time: the request waits, no clock of
    /// the client's can end the function, and several threads may call it at once. If it returns an
    /// error, so does the request, with [`ErrorKind::Authorization`](crate::ErrorKind) and the
    /// error's text, and nothing is sent.
    ///
    /// ```no_run
    /// use umcp::{Client, Server};
    ///
    /// let server = Server::url("https://example.com/mcp")
    ///     .bearer_token_with(|| std::fs::read_to_string("token").map(|it| it.trim().to_owned()));
    /// let client = Client::open(server)?;
    /// # Ok::<(), umcp::Error>(())
    /// ```
    #[must_use]
    pub fn bearer_token_with<E>(
        self,
        ask: impl Fn() -> Result<String, E> + Send + Sync + 'static,
    ) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.http("bearer_token_with", |settings| {
            settings.bearer_token_with(Arc::new(move || ask().map_err(Into::into)));
            Ok(())
        })
    }

    /// Sends credentials over `http://` also to other machines. Everybody on the way can read
    /// them: this is for networks that are encrypted or trusted as a whole.
    #[must_use]
    pub fn allow_plain_http_credentials(self) -> Self {
        self.http("allow_plain_http_credentials", |settings| {
            settings.allow_plain_http_credentials();
            Ok(())
        })
    }

    /// Believes only servers whose certificate comes from one of these authorities, given as PEM.
    /// May be called several times.
    ///
    /// Without it those count that Mozilla trusts, which are built in; with the feature
    /// `platform-roots`, those that the system trusts, or that the variables `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name.
    #[must_use]
    pub fn ca_certificates(self, pem: impl AsRef<[u8]>) -> Self {
        self.http("ca_certificates", |settings| settings.ca_certificates(pem.as_ref()))
    }

    /// Shows this certificate to servers that ask for one. Both are PEM, and may be the same text:
    /// the certificate, followed by those it comes from, and its private key, without a
    /// passphrase.
    #[must_use]
    pub fn client_certificate(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.http("client_certificate", |settings| {
            settings.client_certificate(certificate.as_ref(), key.as_ref())
        })
    }
}
