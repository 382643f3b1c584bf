//! TLS between our client and our server, with certificates made for the test.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engine_core::outcome::Outcome;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use otlp::Signal;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use transport::Protocol;
use transport::client::{Client, ClientOptions};
use transport::server::Refusal;
use transport::tls::{ClientTls, ClientTlsOptions, Identity, Pem, ServerTls, ServerTlsOptions};

use crate::harness::{PATIENCE, TestServer, eventually, logs_bytes, raw_exchange};
use crate::scripted::ScriptedServer;

/// An authority that signs certificates for the test.
pub(crate) struct Authority {
    pub(crate) certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Authorities are told apart by their names.
        let name = format!("authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem::new("the test's authority", self.certificate.clone())
    }

    pub(crate) fn sign(&self, name: &str) -> Identity {
        self.sign_with(name, |_| {})
    }

    pub(crate) fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let (certificate, key) = self.sign_pem(name, change);
        Identity { certificates: Pem::new("the test's certificate", certificate), key: Pem::new("the test's key", key) }
    }

    /// A certificate and its key in PEM.
    pub(crate) fn sign_pem(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

pub(crate) fn start(protocol: Protocol, tls: ServerTls) -> TestServer {
    let mut builder = TestServer::builder(protocol);
    builder.options.tls = Some(tls);
    builder.start()
}

/// A server's side that asks clients for nothing.
pub(crate) fn plain_tls(protocol: Protocol, identity: &Identity) -> ServerTls {
    ServerTls::with_options(&ServerTlsOptions::new(protocol, identity.clone())).unwrap()
}

/// One export over TLS to `host` at the server's port.
pub(crate) async fn export_over_tls(
    server: &TestServer,
    protocol: Protocol,
    host: &str,
    tls: ClientTlsOptions,
) -> Outcome {
    let uri = format!("https://{host}:{}", server.address.port()).parse().unwrap();
    let mut options = ClientOptions::new(uri, protocol);
    options.tls = Some(ClientTls::new(&tls).unwrap());
    let client = Client::new(options).unwrap();
    client.export(Signal::Logs, Bytes::from(logs_bytes(200_000))).await
}

/// A client that trusts the server's authority delivers over both protocols; HTTP settles on HTTP/2 by ALPN.
#[tokio::test]
async fn delivers_over_tls() {
    let authority = Authority::new();
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let tls = plain_tls(protocol, &authority.sign("localhost"));
        let server = start(protocol, tls);
        let trust = ClientTlsOptions { authorities: Some(authority.pem()), ..ClientTlsOptions::default() };
        assert_eq!(export_over_tls(&server, protocol, "localhost", trust).await, Outcome::Delivered);
        assert_eq!(server.handler.requests.lock().unwrap().pop().unwrap().body, logs_bytes(200_000));
        server.stop().await;
    }
}

/// Over TLS, OTLP/HTTP falls back to HTTP/1 with servers that do not offer HTTP/2.
#[tokio::test]
async fn falls_back_to_http1() {
    let authority = Authority::new();
    let identity = authority.sign_pem("localhost", |_| {});
    let certificates = vec![CertificateDer::from_pem_slice(identity.0.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(identity.1.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = ScriptedServer::raw(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            let stream = acceptor.accept(socket).await.unwrap();
            let service = service_fn(async |request: http::Request<Incoming>| {
                assert_eq!(request.version(), http::Version::HTTP_11);
                Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
            });
            let stream = TokioIo::new(stream);
            drop(hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await);
        }
    })
    .await;
    let uri = format!("https://localhost:{}", server.address.port()).parse().unwrap();
    let mut options = ClientOptions::new(uri, Protocol::Http);
    let trust = ClientTlsOptions { authorities: Some(authority.pem()), ..ClientTlsOptions::default() };
    options.tls = Some(ClientTls::new(&trust).unwrap());
    let client = Client::new(options).unwrap();
    for _ in 0..3 {
        assert_eq!(client.export(Signal::Logs, Bytes::from(logs_bytes(10))).await, Outcome::Delivered);
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

/// K20: unknown authorities, wrong names and expired certificates are refused, by name, and never sent to.
#[tokio::test]
async fn refuses_untrusted_servers() {
    let authority = Authority::new();
    let trust = || ClientTlsOptions { authorities: Some(authority.pem()), ..ClientTlsOptions::default() };
    let expired = authority.sign_with("localhost", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let cases = [
        (Authority::new().sign("localhost"), trust(), "UnknownIssuer"),
        (authority.sign("localhost"), ClientTlsOptions::default(), "UnknownIssuer"),
        (authority.sign("other.example"), trust(), "not valid for"),
        (expired, trust(), "expired"),
    ];
    for (identity, tls, expected) in cases {
        let server = start(Protocol::Grpc, plain_tls(Protocol::Grpc, &identity));
        let outcome = export_over_tls(&server, Protocol::Grpc, "localhost", tls).await;
        let Outcome::Retry { reason, .. } = outcome else { panic!("sent to an untrusted server") };
        assert!(reason.contains(expected), "{reason}");
        assert!(server.handler.requests.lock().unwrap().is_empty());
        eventually("the failed handshake is counted", || server.counters.snapshot().refused(Refusal::Handshake) == 1)
            .await;
        server.stop().await;
    }
}

/// A name of its own can be demanded of the server, whatever its address.
#[tokio::test]
async fn verifies_the_configured_name() {
    let authority = Authority::new();
    let tls = plain_tls(Protocol::Grpc, &authority.sign("gateway.internal"));
    let server = start(Protocol::Grpc, tls);
    let options = ClientTlsOptions {
        authorities: Some(authority.pem()),
        server_name: Some("gateway.internal".to_owned()),
        ..ClientTlsOptions::default()
    };
    assert_eq!(export_over_tls(&server, Protocol::Grpc, "127.0.0.1", options).await, Outcome::Delivered);
    server.stop().await;
}

/// A peer that never finishes its handshake is closed in time, and plain text on a TLS port at once.
#[tokio::test]
async fn bounds_handshakes() {
    let authority = Authority::new();
    let mut builder =
        TestServer::builder(Protocol::Http).limits(|limits| limits.handshake_timeout = Duration::from_millis(50));
    builder.options.tls = Some(plain_tls(Protocol::Http, &authority.sign("localhost")));
    let server = builder.start();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.unwrap().unwrap();
    let answer = raw_exchange(server.address, b"POST /v1/logs HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1 "), "{answer}");
    eventually("both are counted", || server.counters.snapshot().refused(Refusal::Handshake) == 2).await;
    server.stop().await;
}

/// Files that are missing, hold no certificate, or do not fit together are refused with their name, and no key is
/// ever printed.
#[test]
fn names_bad_files() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("tls.crt");
    let error = Identity::read(&missing, &missing).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}: ", missing.display())), "{error}");

    let authority = Authority::new();
    let identity = authority.sign("localhost");
    let other = authority.sign("localhost");
    let empty = Identity { certificates: Pem::new("tls.crt", ""), key: identity.key.clone() };
    let swapped = Identity { certificates: identity.certificates.clone(), key: other.key };
    let no_key = Identity { certificates: identity.certificates.clone(), key: Pem::new("tls.key", "no key") };
    for (identity, expected) in [
        (empty, "tls.crt: it holds no certificate"),
        (swapped, "the test's certificate: "),
        (no_key, "tls.key: no private key"),
    ] {
        let error =
            ServerTls::with_options(&ServerTlsOptions::new(Protocol::Grpc, identity.clone())).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!format!("{identity:?}").contains("BEGIN"));
    }
}

/// K20: new certificates in the files of a server and a client are used for new connections, without a restart; broken
/// ones are not, and the last good ones stay.
#[tokio::test]
async fn follows_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let install = |authority: &Authority| {
        let (certificate, key) = authority.sign_pem("localhost", |_| {});
        std::fs::write(path("tls.crt"), certificate).unwrap();
        std::fs::write(path("tls.key"), key).unwrap();
    };
    let trust = |authority: &Authority| std::fs::write(path("ca.crt"), &authority.certificate).unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    install(&old);
    trust(&old);

    let identity = Identity::read(&path("tls.crt"), &path("tls.key")).unwrap();
    let tls = plain_tls(Protocol::Grpc, &identity).looking_every(Duration::ZERO).unwrap();
    let server = start(Protocol::Grpc, tls);
    let uri = format!("https://localhost:{}", server.address.port()).parse().unwrap();
    let mut options = ClientOptions::new(uri, Protocol::Grpc);
    let authorities = Some(Pem::read(&path("ca.crt")).unwrap());
    let tls = ClientTls::new(&ClientTlsOptions { authorities, ..ClientTlsOptions::default() });
    options.tls = Some(tls.unwrap().looking_every(Duration::ZERO).unwrap());
    // Each export makes a connection of its own.
    options.max_connection_age = Some(Duration::ZERO);
    let client = Client::new(options).unwrap();
    let export = async || client.export(Signal::Logs, Bytes::from(logs_bytes(10))).await;
    assert_eq!(export().await, Outcome::Delivered);

    install(&new);
    assert!(matches!(export().await, Outcome::Retry { .. }), "the client does not trust the new authority yet");
    trust(&new);
    eventually_delivers(&export).await;

    std::fs::write(path("tls.key"), "broken").unwrap();
    std::fs::write(path("ca.crt"), "broken").unwrap();
    assert_eq!(export().await, Outcome::Delivered, "the last good certificates stay");
    drop(client);
    server.stop().await;
}

/// Exports until a pause between dials is over.
pub(crate) async fn eventually_delivers(export: &impl AsyncFn() -> Outcome) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while export().await != Outcome::Delivered {
        assert!(tokio::time::Instant::now() < deadline, "nothing was delivered");
        tokio::task::yield_now().await;
    }
}
