//! TLS servers on this machine, with certificates made for them.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// An authority that certifies what it is asked to.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key, in PEM.
pub struct Certified {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub fn certify(&self, name: &str) -> Certified {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        Certified { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }
}

impl Certified {
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// A server that asks for a client certificate of `clients` if that is given.
pub fn config(certified: &Certified, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(certified.key.serialize_der()).unwrap();
    let chain = vec![certified.certificate.der().clone()];
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// Shakes hands. `None` if that fails.
pub fn accept(
    config: &Arc<ServerConfig>,
    mut stream: TcpStream,
) -> Option<StreamOwned<ServerConnection, TcpStream>> {
    let mut connection = ServerConnection::new(config.clone()).unwrap();
    if connection.complete_io(&mut stream).is_err() {
        // The alert arrives only if nothing that the client has sent is left unread.
        let _ = connection.write_tls(&mut stream);
        let _ = stream.read_to_end(&mut Vec::new());
        return None;
    }
    Some(StreamOwned::new(connection, stream))
}
