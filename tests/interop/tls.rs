//! A server at an `https://` URL, with a certificate from an authority that only we know.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use umcp::{Client, Era, ErrorKind, Server};

use crate::http::{Listening, adds_many_at_once, closes};
use crate::python::python_works;
use crate::{Directory, python, sees_a_cancellation};

/// An authority: its certificate as PEM, and what it issues others with.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(params, key))
}

/// Our server on the newest `mcp`, certified as `localhost`.
fn listen(directory: &Directory, issuer: &Issuer<'static, KeyPair>) -> Listening {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let paths = [directory.path("certificate.pem"), directory.path("key.pem")];
    fs::write(&paths[0], certificate.pem()).unwrap();
    fs::write(&paths[1], key.serialize_pem()).unwrap();
    let command = [&python()[..], &["http".to_owned()], &paths].concat();
    Listening::start(&command, "/mcp", 0)
}

#[test]
fn python_works_over_https_in_both_eras() {
    let directory = Directory::new("tls");
    let (pem, issuer) = authority();
    let listening = listen(&directory, &issuer);
    let url = format!("https://localhost:{}/mcp", listening.port());
    for (server, era) in
        [(Server::url(&url), Era::Modern), (Server::url(&url).era(Era::Legacy), Era::Legacy)]
    {
        let client = Client::open(server.ca_certificates(&pem)).unwrap();
        python_works(&client, era);
        adds_many_at_once(&client, "add");
        sees_a_cancellation(&client);
        closes(&client);
    }

    let (other, _) = authority();
    let elsewhere = format!("https://127.0.0.1:{}/mcp", listening.port());
    for server in [
        Server::url(&url),
        Server::url(&url).ca_certificates(other),
        Server::url(elsewhere).ca_certificates(pem),
    ] {
        let error = Client::open(server).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}
