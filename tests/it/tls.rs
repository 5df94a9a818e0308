//! Streamable HTTP over TLS, against a server on this machine with certificates made for it.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;
use serde_json::json;
use umcp::{Client, ErrorKind, Server};

use crate::calls::said;
use crate::common::soon;
use crate::http_peer::{read, response};
use crate::stdio::discovered;
use crate::tls_server::{Authority, Certified, accept, config};

/// Serves MCP over TLS, and asks for a client certificate of `clients` if that is given. A call is
/// answered with how many certificates the client has shown. The threads end with the process.
fn serve(certified: &Certified, clients: Option<&Authority>) -> Server {
    let config = config(certified, clients);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/mcp", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let config = config.clone();
            thread::spawn(move || converse(&config, stream.unwrap()));
        }
    });
    Server::url(url).name("web")
}

fn converse(config: &Arc<ServerConfig>, stream: TcpStream) -> Option<()> {
    let stream = accept(config, stream)?;
    let shown = stream.conn.peer_certificates().map_or(0, |it| it.len());
    let mut reader = BufReader::new(stream);
    loop {
        let post = read(0, &mut reader)?;
        let result = match post.is("server/discover") {
            true => discovered(&json!({ "tools": {} })),
            false => said(shown.to_string()),
        };
        let body = response(&post, &result).to_string();
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
        let stream = reader.get_mut();
        stream.write_all(format!("{head}{length}\r\n\r\n{body}").as_bytes()).ok()?;
        stream.flush().ok()?;
    }
}

fn shown(server: Server) -> String {
    let client = Client::open(server).unwrap();
    client.call_tool("x", json!({})).unwrap().text()
}

fn refused(server: Server) -> (ErrorKind, String) {
    let error = Client::open(server).unwrap_err();
    assert!(!error.may_have_run(), "{error}");
    (error.kind(), error.to_string())
}

#[test]
fn a_private_authority_is_believed_if_it_is_given() {
    soon(|| {
        let (authority, other) = (Authority::new(), Authority::new());
        let server = serve(&authority.certify("127.0.0.1"), None);
        assert_eq!(shown(server.clone().ca_certificates(authority.pem())), "0");
        // Several, at once and one after the other.
        assert_eq!(shown(server.clone().ca_certificates(other.pem() + &authority.pem())), "0");
        let both = server.clone().ca_certificates(authority.pem()).ca_certificates(other.pem());
        assert_eq!(shown(both), "0");
        for server in [server.clone(), server.ca_certificates(other.pem())] {
            let (kind, text) = refused(server);
            assert_eq!(kind, ErrorKind::Unreachable);
            assert!(
                text.ends_with(
                    "the server's certificate comes from an authority that is not trusted. If it \
                     should be, give the authority's own to `ca_certificates`"
                ),
                "{text}"
            );
        }
    });
}

#[test]
fn the_certificate_of_another_host_is_refused() {
    soon(|| {
        let authority = Authority::new();
        let server = serve(&authority.certify("example.com"), None);
        let (kind, text) = refused(server.ca_certificates(authority.pem()));
        assert_eq!(kind, ErrorKind::Unreachable);
        assert!(text.contains("the server's certificate is not for this host. "), "{text}");
    });
}

#[test]
fn a_client_certificate_is_shown_where_it_is_asked_for() {
    soon(|| {
        let (authority, clients, other) = (Authority::new(), Authority::new(), Authority::new());
        let open = serve(&authority.certify("127.0.0.1"), None);
        let asks = serve(&authority.certify("127.0.0.1"), Some(&clients));
        let (mine, strange) = (clients.certify("me"), other.certify("me"));
        for (server, expected) in [(open, "0"), (asks.clone(), "1")] {
            let server = server.ca_certificates(authority.pem());
            let server = server.client_certificate(mine.pem(), mine.key_pem());
            assert_eq!(shown(server), expected);
        }
        let asks = asks.ca_certificates(authority.pem());
        let together = mine.key_pem() + &mine.pem();
        assert_eq!(shown(asks.clone().client_certificate(&together, &together)), "1");
        let (kind, text) = refused(asks.clone());
        assert_eq!(kind, ErrorKind::Authorization);
        assert!(text.contains("the server wants a client certificate. "), "{text}");
        let (kind, text) = refused(asks.client_certificate(strange.pem(), strange.key_pem()));
        assert_eq!(kind, ErrorKind::Authorization);
        assert!(text.contains("the server does not accept the client certificate"), "{text}");
    });
}

#[test]
fn certificates_that_are_none_are_refused_before_anything_is_sent() {
    soon(|| {
        let authority = Authority::new();
        let (mine, other) = (authority.certify("me"), authority.certify("other"));
        let server = || Server::url("https://127.0.0.1:9/mcp");
        let broken = "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----\n";
        let no_pem = "-----BEGIN CERTIFICATE-----\nhunter2";
        let identity = |certificate: &str, key: &str| server().client_certificate(certificate, key);
        for (server, expected) in [
            (server().ca_certificates(""), "there is no certificate in it, in PEM"),
            (server().ca_certificates("hunter2"), "there is no certificate in it, in PEM"),
            (server().ca_certificates(mine.key_pem()), "there is no certificate in it, in PEM"),
            (server().ca_certificates(no_pem), "it is no PEM"),
            (server().ca_certificates(broken), "a certificate in it is malformed"),
            (identity(&mine.pem(), &other.key_pem()), "the key is not the certificate's"),
            (identity(broken, &mine.key_pem()), "the certificate or the key is malformed"),
            (identity(&mine.pem(), &mine.pem()), "there is no private key in it"),
            (identity("", &mine.key_pem()), "there is no certificate in it, in PEM"),
            (
                Server::command("x").ca_certificates(authority.pem()),
                "`ca_certificates` is for servers that are URLs",
            ),
        ] {
            let (kind, text) = refused(server);
            assert_eq!(kind, ErrorKind::InvalidInput, "{text}");
            assert!(text.contains(expected) && !text.contains("hunter2"), "{text}");
        }
    });
}

#[cfg(feature = "platform-roots")]
#[test]
fn the_systems_authorities_are_believed() {
    use crate::alone::alone_with;

    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/authorities.pem");
    let test = "tls::the_systems_authorities_are_believed";
    alone_with(test, &[("SSL_CERT_FILE", file)], move || {
        let authority = Authority::new();
        std::fs::write(file, authority.pem()).unwrap();
        let server = serve(&authority.certify("127.0.0.1"), None);
        assert_eq!(shown(server.clone()), "0");
        // They are read once, and those that are given count instead of them.
        std::fs::remove_file(file).unwrap();
        let (_, text) = refused(server.clone().ca_certificates(Authority::new().pem()));
        assert!(text.contains("an authority that is not trusted"), "{text}");
        assert_eq!(shown(server), "0");
    });
}
