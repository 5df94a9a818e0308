//! What the caller gives for servers at URLs: it is sent there, and shown nowhere.

use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "socks")]
use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
};

use serde_json::json;
use umcp::{Client, ErrorKind, Server};

use crate::alone::alone;
#[cfg(feature = "socks")]
use crate::alone::alone_with;
use crate::calls::said;
use crate::common::soon;
use crate::http_peer::{Answer, Endpoint, answer, http};

const SECRET: &str = "hunter2-of-the-wire";

fn refused(server: Server) -> String {
    let error = Client::open(server).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(!error.may_have_run());
    assert!(!format!("{error} {error:?} {error:#?}").contains(SECRET), "{error}");
    error.to_string()
}

#[test]
fn headers_and_the_token_go_with_every_request() {
    soon(|| {
        let endpoint = Endpoint::new(|post| answer(post, &said("done")));
        let server = endpoint
            .server()
            .header("X-Tenant", "old")
            .header("x-tenant", "blue")
            .header("X-Api-Key", SECRET)
            .bearer_token("token");
        let client = Client::open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        client.close();
        let posts: Vec<_> = endpoint.posts.try_iter().collect();
        assert_eq!(posts.len(), 3);
        for post in posts {
            assert_eq!(post.header("x-tenant"), Some("blue"));
            assert_eq!(post.header("x-api-key"), Some(SECRET));
            assert_eq!(post.header("authorization"), Some("Bearer token"));
        }
    });
}

#[test]
fn a_function_is_asked_for_the_token_of_each_request() {
    soon(|| {
        let endpoint = Endpoint::new(|post| answer(post, &said("done")));
        let asked = AtomicUsize::new(0);
        let server = endpoint.server().bearer_token_with(move || {
            match asked.fetch_add(1, Ordering::SeqCst) {
                2 => Err("the vault is closed"),
                count => Ok(format!("token-{count}")),
            }
        });
        let client = Client::open(server).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        let error = client.call_tool("x", json!({})).unwrap_err();
        assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::Authorization, false));
        assert!(error.to_string().ends_with("the request: the vault is closed"), "{error}");
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
        client.close();
        let sent: Vec<_> = endpoint.posts.try_iter().map(|post| post.headers).collect();
        let sent: Vec<_> = sent.iter().map(|headers| headers["authorization"].as_str()).collect();
        assert_eq!(sent, ["Bearer token-0", "Bearer token-1", "Bearer token-3"]);
    });
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_sent() {
    soon(|| {
        let endpoint = Endpoint::new(|post| answer(post, &said("done")));
        let server = || endpoint.server();
        for (server, expected) in [
            (server().header("Mcp-Name", SECRET), "`header`: `mcp-name` is set by umcp itself"),
            (server().header("Host", SECRET), "`header`: `host` is set by umcp itself"),
            (
                server().header("X-Key", format!("{SECRET}\r\nX: y")),
                "`header`: the value of `x-key` has characters that no header can hold",
            ),
            (
                server().header(format!("X-Key: {SECRET}"), ""),
                "`header`: its name is no name of a header",
            ),
            (
                server().bearer_token(format!("{SECRET}\n")),
                "`bearer_token`: it has characters that no token has, such as spaces or the end \
                 of a line",
            ),
            (
                server().bearer_token(SECRET).header("Authorization", SECRET),
                "there is a bearer token and a header `authorization`: give one",
            ),
            (Server::command("x").header("X-Key", SECRET), "`header` is for servers that are URLs"),
            (
                Server::command("x").bearer_token_with(|| Ok::<_, umcp::Error>(SECRET.into())),
                "`bearer_token_with` is for servers that are URLs",
            ),
        ] {
            let error = refused(server);
            assert!(error.ends_with(expected), "{error}");
        }
        assert_eq!(endpoint.posts.try_iter().count(), 0);
    });
}

#[test]
fn credentials_do_not_cross_the_network_unencrypted() {
    // An address for documentation, where nobody is.
    let server = || Server::url("http://192.0.2.1/mcp");
    for server in [server().bearer_token(SECRET), server().header("X-Api-Key", SECRET)] {
        let error = refused(server);
        assert!(error.contains("would cross the network unencrypted. Use an https://"), "{error}");
    }
}

#[test]
fn credentials_are_shown_nowhere() {
    let output = alone("credentials::credentials_are_shown_nowhere", || {
        env_logger::Builder::new().filter_level(log::LevelFilter::Trace).init();
        let endpoint = Endpoint::new(|post| match post.body["params"]["name"].as_str() {
            Some("good") => answer(post, &said("done")),
            Some("moved") => http(302, "Location: /elsewhere\r\n", ""),
            Some("broken") => Answer::Close,
            _ => http(401, "", "who are you?"),
        });
        for token in [false, true] {
            let server = match token {
                false => endpoint.server().header("Authorization", format!("Basic {SECRET}")),
                true => endpoint.server().bearer_token(SECRET),
            };
            let server = server.header("X-Api-Key", SECRET).header("X-Tenant", SECRET);
            println!("{server:?} {server:#?}");
            let client = Client::open(server).unwrap();
            println!("{client:?}");
            assert_eq!(client.call_tool("good", json!({})).unwrap().text(), "done");
            for tool in ["moved", "broken", "bad"] {
                let error = client.call_tool(tool, json!({})).unwrap_err();
                println!("{error} {error:?} {error:#?} {:?}", std::error::Error::source(&error));
            }
        }
        let sent = endpoint.posts.try_iter().all(|post| post.header("x-api-key") == Some(SECRET));
        assert!(sent);
    });
    if let Some(output) = output {
        let text = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
        assert!(text.contains("x-api-key") && text.contains("TRACE"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
}

/// A SOCKS proxy that leads everybody to one address, and the name that it is asked for.
#[cfg(feature = "socks")]
fn socks_proxy(target: String) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("socks5h://{}", listener.local_addr().unwrap());
    let (asks, asked) = mpsc::channel();
    let serve = move || -> io::Result<()> {
        let (mut client, _) = listener.accept()?;
        let mut head = [0; 3];
        client.read_exact(&mut head)?;
        client.write_all(&[5, 0])?;
        let mut head = [0; 5];
        client.read_exact(&mut head)?;
        let mut name = vec![0; usize::from(head[4]) + 2];
        client.read_exact(&mut name)?;
        let name = &name[..name.len() - 2];
        asks.send(String::from_utf8(name.to_vec()).unwrap()).unwrap();
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let mut server = TcpStream::connect(target)?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || io::copy(&mut from, &mut to));
        io::copy(&mut server, &mut client).map(drop)
    };
    thread::spawn(serve);
    (url, asked)
}

#[cfg(feature = "socks")]
#[test]
fn a_socks_proxy_of_the_environment_is_used() {
    let endpoint = Endpoint::new(|post| answer(post, &said("done")));
    let target = endpoint.url.split('/').nth(2).unwrap().to_owned();
    let (proxy, asked) = socks_proxy(target);
    let test = "credentials::a_socks_proxy_of_the_environment_is_used";
    let output = alone_with(test, &[("ALL_PROXY", &proxy)], || {
        let client = Client::open(Server::url("http://umcp.invalid/mcp")).unwrap();
        assert_eq!(client.call_tool("x", json!({})).unwrap().text(), "done");
    });
    if output.is_some() {
        assert_eq!(asked.recv().unwrap(), "umcp.invalid");
        assert_eq!(endpoint.posts.try_iter().count(), 2);
    }
}
