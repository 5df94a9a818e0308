//! Whom a server's certificate has to come from, and which one is shown to it.

#[cfg(feature = "platform-roots")]
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::error::{Error, ErrorKind, Result, said};

#[derive(Clone, Default)]
pub(super) struct Tls {
    /// The caller's own.
    roots: Option<RootCerts>,
    /// The system's, read once however many connections there are.
    #[cfg(feature = "platform-roots")]
    system: Arc<OnceLock<RootCerts>>,
    identity: Option<ClientCert>,
}

impl Tls {
    /// Trusts these certificates, and no others but those trusted in this way before.
    pub(super) fn trust(&mut self, pem: &[u8]) -> Result<(), String> {
        let certificates = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            // ureq would leave it out without a word.
            store.add(certificate.clone()).map_err(|_| "a certificate in it is malformed")?;
        }
        let known = match self.roots.take() {
            Some(RootCerts::Specific(known)) => known.to_vec(),
            _ => Vec::new(),
        };
        self.roots = Some(known.into_iter().chain(certificates.iter().map(for_ureq)).into());
        Ok(())
    }

    /// Shows this certificate to servers that ask for one.
    pub(super) fn identify(&mut self, certificate: &[u8], key: &[u8]) -> Result<(), String> {
        let chain = certificates(certificate)?;
        let no_key = "there is no private key in it, in PEM and without a passphrase";
        let der = PrivateKeyDer::from_pem_slice(key).map_err(|_| no_key)?;
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| ring::default_provider().into());
        let for_ureq = chain.iter().map(for_ureq).collect::<Vec<_>>();
        // ureq panics at what this refuses.
        CertifiedKey::from_der(chain, der, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "the key is not the certificate's",
            _ => "the certificate or the key is malformed, or of an unknown kind",
        })?;
        let key = PrivateKey::from_pem(key).map_err(|_| no_key)?;
        self.identity = Some(ClientCert::new_with_certs(&for_ureq, key));
        Ok(())
    }

    /// Reads the system's certificates if those are to be trusted, and this has not been done.
    #[cfg(feature = "platform-roots")]
    pub(super) fn load(&self) -> Result<()> {
        if self.roots.is_some() || self.system.get().is_some() {
            return Ok(());
        }
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let text = "this system has no certificates of authorities that can be read";
            let error = Error::new(ErrorKind::InvalidInput, text);
            return Err(
                error.hint("Name a file of them in SSL_CERT_FILE, or use `ca_certificates`")
            );
        }
        let _ = self.system.set(found.certs.iter().map(for_ureq).into());
        Ok(())
    }

    #[cfg(not(feature = "platform-roots"))]
    pub(super) fn load(&self) -> Result<()> {
        Ok(())
    }

    pub(super) fn config(&self) -> TlsConfig {
        let roots = self.roots.clone();
        #[cfg(feature = "platform-roots")]
        let roots = roots.or_else(|| self.system.get().cloned());
        TlsConfig::builder()
            .root_certs(roots.unwrap_or(RootCerts::WebPki))
            .client_cert(self.identity.clone())
            .build()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    // The parser's error shows what it has read.
    let found = found.map_err(|_| "it is no PEM")?;
    if found.is_empty() {
        return Err("there is no certificate in it, in PEM".to_owned());
    }
    Ok(found)
}

fn for_ureq(certificate: &CertificateDer<'static>) -> Certificate<'static> {
    Certificate::from_der(certificate).to_owned()
}

/// What is wrong with a certificate, the server's or the client's, if that is what has failed.
/// Nothing of a request has been looked at then.
pub(crate) fn certificate_problem(error: &ureq::Error) -> Option<Error> {
    use rustls::AlertDescription as Alert;
    use rustls::CertificateError as Problem;

    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    let (kind, what, hint) = match error {
        // One of the right name whose key is another did not issue it either.
        rustls::Error::InvalidCertificate(Problem::UnknownIssuer | Problem::BadSignature) => (
            ErrorKind::Unreachable,
            "the server's certificate comes from an authority that is not trusted",
            "If it should be, give the authority's own to `ca_certificates`",
        ),
        rustls::Error::InvalidCertificate(
            Problem::NotValidForName | Problem::NotValidForNameContext { .. },
        ) => (
            ErrorKind::Unreachable,
            "the server's certificate is not for this host",
            "Use the host's name as the certificate has it",
        ),
        rustls::Error::InvalidCertificate(Problem::Expired | Problem::ExpiredContext { .. }) => (
            ErrorKind::Unreachable,
            "the server's certificate has expired",
            "Check this machine's clock, or ask the server's operator",
        ),
        rustls::Error::InvalidCertificate(problem) => {
            let text = format!("the server's certificate is not valid: {problem}");
            let error = Error::new(ErrorKind::Unreachable, said(&text));
            return Some(error.hint("Ask the server's operator"));
        }
        rustls::Error::AlertReceived(Alert::CertificateRequired) => (
            ErrorKind::Authorization,
            "the server wants a client certificate",
            "Give one to `client_certificate`",
        ),
        rustls::Error::AlertReceived(
            Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate,
        ) => (
            ErrorKind::Authorization,
            "the server does not accept the client certificate",
            "Give another one to `client_certificate`",
        ),
        _ => return None,
    };
    Some(Error::new(kind, what).hint(hint))
}
