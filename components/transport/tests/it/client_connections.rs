//! Where our client connects: names whose addresses change, connections spread over addresses, proxies, wrong ports.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine_core::outcome::Outcome;
use futures::future::BoxFuture;
use http::HeaderValue;
use http::header::{HeaderMap, PROXY_AUTHORIZATION};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use transport::Protocol;
use transport::client::{Client, ClientOptions, HeaderSource, Proxy, Resolve, Spread};
use transport::tls::{ClientTls, ClientTlsOptions, ServerTls};

use crate::client_grpc::{client, export};
use crate::harness::{PATIENCE, TestServer};
use crate::scripted::{ScriptedServer, answer, grpc_answer};
use crate::tls::Authority;

/// A name whose addresses a test sets.
#[derive(Debug, Default)]
struct Name(Mutex<Vec<SocketAddr>>);

impl Resolve for Name {
    fn resolve(&self, _host: &str, _port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let addresses = self.0.lock().unwrap().clone();
        Box::pin(async move { Ok(addresses) })
    }
}

/// A server that takes everything and counts.
struct Taker {
    server: ScriptedServer,
    requests: Arc<AtomicUsize>,
}

impl Taker {
    async fn start(protocol: Protocol) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let server = ScriptedServer::start(protocol, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            match protocol {
                Protocol::Grpc => grpc_answer(vec![0; 5], &[("grpc-status", "0")]),
                Protocol::Http => answer(http::Response::builder(), ""),
            }
        });
        Self { server: server.await, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn connections(&self) -> usize {
        self.server.connections.load(Ordering::Relaxed)
    }
}

/// A client of a name that is looked at again with every request.
fn named(name: &Arc<Name>, protocol: Protocol, spread: Option<usize>) -> Client {
    let mut options = ClientOptions::new("http://backend.test:1".parse().unwrap(), protocol);
    options.resolver = Arc::clone(name) as _;
    options.resolve_every = Duration::ZERO;
    options.spread =
        spread.map(|addresses| Spread { addresses: NonZeroUsize::new(addresses).unwrap(), node: "node-a".to_owned() });
    Client::new(options).unwrap()
}

/// Sends until something holds; nothing may be refused meanwhile.
async fn send_until(client: &Client, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "timed out waiting until {what}");
        assert_eq!(export(client).await, Outcome::Delivered, "{what}");
    }
}

/// A name that moves takes its clients along, although their connections to the old address are healthy.
#[tokio::test]
async fn follows_a_name() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (old, new) = (Taker::start(protocol).await, Taker::start(protocol).await);
        let name = Arc::new(Name(Mutex::new(vec![old.server.address])));
        let client = named(&name, protocol, None);
        for _ in 0..5 {
            assert_eq!(export(&client).await, Outcome::Delivered);
        }
        assert_eq!((old.requests(), old.connections()), (5, 1), "{protocol:?}");
        *name.0.lock().unwrap() = vec![new.server.address];
        send_until(&client, "the new address has a request", || new.requests() > 0).await;
        let before = old.requests();
        for _ in 0..5 {
            assert_eq!(export(&client).await, Outcome::Delivered);
        }
        assert_eq!((old.requests(), new.connections()), (before, 1), "{protocol:?}");
    }
}

/// Requests take turns over as many addresses as asked, with one connection each; an address that joins has its share
/// while the old connections stay, and one that leaves gets nothing more.
#[tokio::test]
async fn spreads_over_addresses() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let takers = [Taker::start(protocol).await, Taker::start(protocol).await, Taker::start(protocol).await];
        let addresses: Vec<_> = takers.iter().map(|taker| taker.server.address).collect();
        let name = Arc::new(Name(Mutex::new(addresses[..2].to_vec())));
        let client = named(&name, protocol, Some(3));
        for _ in 0..10 {
            assert_eq!(export(&client).await, Outcome::Delivered);
        }
        assert_eq!(takers.each_ref().map(Taker::requests), [5, 5, 0]);
        *name.0.lock().unwrap() = addresses.clone();
        send_until(&client, "the third has requests", || takers[2].requests() >= 5).await;
        assert_eq!(takers.each_ref().map(Taker::connections), [1, 1, 1], "{protocol:?}");
        *name.0.lock().unwrap() = addresses[1..].to_vec();
        let first = || takers[0].requests();
        let others = || takers[1].requests() + takers[2].requests();
        let mut seen = (first(), others());
        send_until(&client, "the first has left", || {
            let has_left = first() == seen.0 && others() >= seen.1 + 6;
            if first() != seen.0 {
                seen = (first(), others());
            }
            has_left
        })
        .await;
        assert_eq!(takers.each_ref().map(Taker::connections), [1, 1, 1], "{protocol:?}");
    }
}

/// Of more addresses than asked only so many are connected to.
#[tokio::test]
async fn keeps_to_few_addresses() {
    let takers =
        [Taker::start(Protocol::Grpc).await, Taker::start(Protocol::Grpc).await, Taker::start(Protocol::Grpc).await];
    let name = Arc::new(Name(Mutex::new(takers.iter().map(|taker| taker.server.address).collect())));
    let client = named(&name, Protocol::Grpc, Some(2));
    for _ in 0..20 {
        assert_eq!(export(&client).await, Outcome::Delivered);
    }
    let mut requests = takers.each_ref().map(Taker::requests);
    requests.sort_unstable();
    assert_eq!(requests, [0, 10, 10]);
}

/// An address that refuses is left to its neighbour without a request lost; when all refuse, the data waits.
#[tokio::test]
async fn a_neighbour_steps_in() {
    let taker = Taker::start(Protocol::Grpc).await;
    let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let name = Arc::new(Name(Mutex::new(vec![refusing, taker.server.address])));
    for addresses in [1, 2] {
        let client = named(&name, Protocol::Grpc, Some(addresses));
        for _ in 0..10 {
            assert_eq!(export(&client).await, Outcome::Delivered);
        }
    }
    *name.0.lock().unwrap() = vec![refusing];
    let Outcome::Retry { after, reason } = export(&named(&name, Protocol::Grpc, Some(2))).await else {
        panic!("nobody is there")
    };
    assert!(after.unwrap() > Duration::ZERO);
    assert!(reason.starts_with(&format!("cannot connect to backend.test:1: {refusing}: ")), "{reason}");
    name.0.lock().unwrap().clear();
    let Outcome::Retry { reason, .. } = export(&named(&name, Protocol::Grpc, Some(2))).await else {
        panic!("the name leads nowhere")
    };
    assert_eq!(reason, "cannot connect to backend.test:1: the name has no address");
}

/// A proxy that connects to whatever it is asked for, whatever the name, and keeps the heads of the questions.
struct ConnectProxy {
    server: ScriptedServer,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    async fn start(backend: SocketAddr) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&heads);
        let server = ScriptedServer::raw(move |mut socket| {
            let record = Arc::clone(&record);
            async move {
                let head = head_of(&mut socket).await;
                record.lock().unwrap().push(head);
                let mut backend = TcpStream::connect(backend).await.unwrap();
                socket.write_all(b"HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n").await.unwrap();
                // Whoever closes first ends it.
                drop(tokio::io::copy_bidirectional(&mut socket, &mut backend).await);
            }
        });
        Self { server: server.await, heads }
    }
}

async fn head_of(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[derive(Debug)]
struct Fixed(HeaderValue);

impl HeaderSource for Fixed {
    fn current(&self) -> BoxFuture<'_, HeaderValue> {
        Box::pin(async { self.0.clone() })
    }
}

fn through(server: &ScriptedServer, authorization: Option<&str>) -> Option<Proxy> {
    let authorization = authorization.map(|text| Arc::new(Fixed(text.parse().unwrap())) as Arc<dyn HeaderSource>);
    Some(Proxy { uri: server.uri(), authorization })
}

/// Every protocol goes through a proxy, in clear and with TLS to the backend's name, which the proxy resolves. What the
/// proxy wants to know goes to the proxy only, and what the backend wants to know goes there only.
#[tokio::test]
async fn goes_through_a_proxy() {
    let authority = Authority::new();
    for (protocol, scheme) in
        [(Protocol::Grpc, "http"), (Protocol::Http, "http"), (Protocol::Grpc, "https"), (Protocol::Http, "https")]
    {
        let seen = Arc::new(Mutex::new(Vec::<HeaderMap>::new()));
        let record = Arc::clone(&seen);
        let script = move |request: http::Request<bytes::Bytes>| {
            record.lock().unwrap().push(request.headers().clone());
            match protocol {
                Protocol::Grpc => grpc_answer(vec![0; 5], &[("grpc-status", "0")]),
                Protocol::Http => answer(http::Response::builder(), ""),
            }
        };
        let plain = ScriptedServer::start(protocol, script).await;
        let tls = {
            let mut builder = TestServer::builder(protocol);
            builder.options.tls = Some(ServerTls::new(protocol, &authority.sign("backend.test"), None).unwrap());
            builder.start()
        };
        let backend = if scheme == "https" { tls.address } else { plain.address };
        let proxy = ConnectProxy::start(backend).await;
        let mut options = ClientOptions::new(format!("{scheme}://backend.test:4317").parse().unwrap(), protocol);
        options.proxy = through(&proxy.server, Some("Basic cHJveHk6c2VjcmV0"));
        options.headers = vec![(http::header::AUTHORIZATION, "Bearer token".parse().unwrap())];
        let trust = ClientTlsOptions { authorities: Some(authority.pem()), ..ClientTlsOptions::default() };
        options.tls = (scheme == "https").then(|| ClientTls::new(&trust).unwrap());
        let client = Client::new(options).unwrap();
        for _ in 0..3 {
            assert_eq!(export(&client).await, Outcome::Delivered, "{protocol:?} {scheme}");
        }
        let heads = proxy.heads.lock().unwrap().clone();
        let expected = "CONNECT backend.test:4317 HTTP/1.1\r\nHost: backend.test:4317\r\n\
                        Proxy-Authorization: Basic cHJveHk6c2VjcmV0\r\n\r\n";
        assert_eq!(heads, [expected], "{protocol:?} {scheme}");
        if scheme == "http" {
            let seen = seen.lock().unwrap().clone();
            assert_eq!(seen.len(), 3);
            assert!(seen.iter().all(|headers| !headers.contains_key(PROXY_AUTHORIZATION)));
            assert!(seen.iter().all(|headers| headers["authorization"] == "Bearer token"));
        } else {
            assert_eq!(tls.handler.requests.lock().unwrap().len(), 3);
        }
        drop(client);
        tls.stop().await;
    }
}

/// A proxy that refuses is named with what it said, and nothing goes around it.
#[tokio::test]
async fn a_proxy_that_refuses_is_named() {
    let backend = Taker::start(Protocol::Grpc).await;
    let cases = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", None, "wants credentials (http status 407)"),
        ("HTTP/1.0 407 No\r\n\r\n", Some("Basic eDp5"), "refuses our credentials (http status 407)"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", None, "does not connect to"),
        ("SSH-2.0-OpenSSH\r\n\r\n", None, "does not answer CONNECT in HTTP"),
        ("", None, "closes the connection without an answer"),
    ];
    for (said, authorization, expected) in cases {
        let proxy = ScriptedServer::raw(move |mut socket| async move {
            head_of(&mut socket).await;
            socket.write_all(said.as_bytes()).await.unwrap();
        })
        .await;
        let mut options = ClientOptions::new(backend.server.uri(), Protocol::Grpc);
        options.proxy = through(&proxy, authorization);
        let Outcome::Retry { reason, .. } = export(&Client::new(options).unwrap()).await else {
            panic!("it may let us through later")
        };
        let named = format!("the proxy {}: ", proxy.address);
        assert!(reason.contains(&named) && reason.contains(expected), "{reason}");
        assert!(!reason.contains("eDp5"), "{reason}");
    }
    assert_eq!(backend.connections(), 0);
    let mut options = ClientOptions::new(backend.server.uri(), Protocol::Grpc);
    options.proxy = Some(Proxy { uri: "https://proxy:3128".parse().unwrap(), authorization: None });
    assert!(Client::new(options).unwrap_err().to_string().contains("a proxy starts with http://"));
}

/// Plain text to a TLS port, TLS to a plain port and the port of the other protocol are told apart, and the data waits:
/// none is sent in another way than configured.
#[tokio::test]
async fn wrong_ports_are_told() {
    let authority = Authority::new();
    let mut builder = TestServer::builder(Protocol::Grpc);
    builder.options.tls = Some(ServerTls::new(Protocol::Grpc, &authority.sign("localhost"), None).unwrap());
    let tls = builder.start();
    let (grpc, http) = (TestServer::builder(Protocol::Grpc).start(), TestServer::builder(Protocol::Http).start());
    let over_tls = |server: &TestServer| format!("https://localhost:{}", server.address.port()).parse().unwrap();
    let old_server = ScriptedServer::raw(async |mut socket| {
        let mut start = [0; 24];
        socket.read_exact(&mut start).await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    })
    .await;
    // Servers of gRPC send their settings without waiting for anything.
    let grpc_server = ScriptedServer::raw(async |mut socket| {
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        drop(socket.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let cases = [
        (tls.uri(), Protocol::Grpc, "the peer speaks TLS, is it an https:// address?"),
        (tls.uri(), Protocol::Http, "the peer speaks TLS, is it an https:// address?"),
        (over_tls(&grpc), Protocol::Grpc, "the peer does not speak TLS, is it an http:// address?"),
        (over_tls(&http), Protocol::Http, "the peer does not speak TLS, is it an http:// address?"),
        (grpc_server.uri(), Protocol::Http, "the peer speaks HTTP/2, is it the port of OTLP over gRPC?"),
        (old_server.uri(), Protocol::Grpc, "the peer speaks HTTP/1, is it the port of OTLP over HTTP?"),
    ];
    for (uri, protocol, expected) in cases {
        let Outcome::Retry { reason, .. } = export(&client(uri, protocol)).await else { panic!("{expected}") };
        assert!(reason.contains(expected), "{reason}");
    }
    for server in [tls, grpc, http] {
        assert!(server.handler.requests.lock().unwrap().is_empty());
        server.stop().await;
    }
}
