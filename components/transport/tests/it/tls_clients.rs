//! Clients that show certificates, certificates that change while serving, and certificates whose time is wrong.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine_core::outcome::Outcome;
use otlp::Signal;
use rcgen::{CertificateParams, SanType, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use transport::Protocol;
use transport::client::{Client, ClientOptions};
use transport::reload::Complaint;
use transport::server::Refusal;
use transport::tls::{ClientTls, ClientTlsOptions, Identity, Pem, ServerTls, ServerTlsOptions};

use crate::harness::{PATIENCE, TestServer, eventually, logs_bytes};
use crate::tls::{Authority, eventually_delivers, export_over_tls, plain_tls, start};

/// What a server complains of, by kind.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Complaint>>>);

impl Heard {
    fn listen(tls: &ServerTls) -> Self {
        let heard = Self::default();
        let ear = heard.clone();
        tls.report_to(move |complaint| ear.0.lock().unwrap().push(complaint));
        heard
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|complaint| complaint.kind).collect()
    }
}

fn expired(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
}

fn uri(params: &mut CertificateParams, name: &str) {
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
}

/// A client whose every export makes a connection of its own.
fn client(server: &TestServer, tls: &ClientTlsOptions) -> Client {
    let uri = format!("https://localhost:{}", server.address.port()).parse().unwrap();
    let mut options = ClientOptions::new(uri, Protocol::Grpc);
    options.tls = Some(ClientTls::new(tls).unwrap());
    options.max_connection_age = Some(Duration::ZERO);
    Client::new(options).unwrap()
}

async fn export(client: &Client) -> Outcome {
    client.export(Signal::Logs, Bytes::from(logs_bytes(10))).await
}

/// A server with client authorities serves only who shows a certificate of theirs that is good today.
#[tokio::test]
async fn demands_client_certificates() {
    let authority = Authority::new();
    let clients = Authority::new();
    let options = ServerTlsOptions {
        client_authorities: Some(clients.pem()),
        ..ServerTlsOptions::new(Protocol::Grpc, authority.sign("localhost"))
    };
    let server = start(Protocol::Grpc, ServerTls::with_options(&options).unwrap());
    let with =
        |identity| ClientTlsOptions { authorities: Some(authority.pem()), identity, ..ClientTlsOptions::default() };
    let known = with(Some(clients.sign("agent")));
    assert_eq!(export_over_tls(&server, Protocol::Grpc, "localhost", known).await, Outcome::Delivered);
    let of_others = [None, Some(authority.sign("agent")), Some(clients.sign_with("agent", expired))];
    for identity in of_others {
        let outcome = export_over_tls(&server, Protocol::Grpc, "localhost", with(identity)).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    }
    assert_eq!(server.handler.requests.lock().unwrap().len(), 1);
    eventually("all three are counted", || server.counters.snapshot().refused(Refusal::Handshake) >= 3).await;
    server.stop().await;
}

/// Of the clients with a good certificate, those are served whose certificate carries an allowed name.
#[tokio::test]
async fn lets_named_clients_in() {
    let authority = Authority::new();
    let names = ["agent.example.com", "spiffe://example.com/agent"];
    let options = ServerTlsOptions {
        client_authorities: Some(authority.pem()),
        client_names: names.map(str::to_owned).to_vec(),
        ..ServerTlsOptions::new(Protocol::Grpc, authority.sign("localhost"))
    };
    let server = start(Protocol::Grpc, ServerTls::with_options(&options).unwrap());
    let trust =
        |identity| ClientTlsOptions { authorities: Some(authority.pem()), identity, ..ClientTlsOptions::default() };
    let by_uri = |name: &str| authority.sign_with("unused", |params| uri(params, name));
    for identity in [authority.sign("Agent.Example.com"), by_uri("spiffe://example.com/agent")] {
        let outcome = export_over_tls(&server, Protocol::Grpc, "localhost", trust(Some(identity))).await;
        assert_eq!(outcome, Outcome::Delivered);
    }
    let others =
        [authority.sign("other.example.com"), by_uri("spiffe://example.com/Agent"), authority.sign("127.0.0.1")];
    for identity in others {
        let outcome = export_over_tls(&server, Protocol::Grpc, "localhost", trust(Some(identity))).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
    }
    assert_eq!(server.handler.requests.lock().unwrap().len(), 2);
    server.stop().await;
}

fn install(directory: &Path, (certificate, key): &(String, String)) {
    std::fs::write(directory.join("tls.crt"), certificate).unwrap();
    std::fs::write(directory.join("tls.key"), key).unwrap();
}

fn read(directory: &Path) -> Identity {
    Identity::read(&directory.join("tls.crt"), &directory.join("tls.key")).unwrap()
}

/// A new certificate whose key has not come yet, or never will, leaves the old pair in use, which is told; with its key
/// it is used.
#[tokio::test]
async fn changes_certificate_and_key_as_a_pair() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    install(directory.path(), &old.sign_pem("localhost", |_| {}));
    let tls = plain_tls(Protocol::Grpc, &read(directory.path())).looking_every(Duration::ZERO).unwrap();
    let heard = Heard::listen(&tls);
    let server = start(Protocol::Grpc, tls);
    let trusting =
        |authority: &Authority| ClientTlsOptions { authorities: Some(authority.pem()), ..ClientTlsOptions::default() };
    let (of_old, of_new) = (client(&server, &trusting(&old)), client(&server, &trusting(&new)));
    assert_eq!(export(&of_old).await, Outcome::Delivered);
    assert_eq!(heard.kinds(), [""; 0]);

    let pair = new.sign_pem("localhost", |_| {});
    std::fs::write(directory.path().join("tls.crt"), &pair.0).unwrap();
    assert_eq!(export(&of_old).await, Outcome::Delivered, "the old pair stays");
    assert_eq!(heard.kinds(), ["reload_failed"]);
    assert!(heard.0.lock().unwrap()[0].message.contains("tls.crt"));

    std::fs::write(directory.path().join("tls.key"), &pair.1).unwrap();
    eventually_delivers(&async || export(&of_new).await).await;
    assert!(matches!(export(&of_old).await, Outcome::Retry { .. }), "the new pair is in use");
    assert_eq!(heard.kinds(), ["reload_failed"]);
    drop((of_old, of_new));
    server.stop().await;
}

/// Authorities of clients change while serving: who was let in before is not any more, and the other way round.
#[tokio::test]
async fn follows_client_authorities() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clients.pem");
    let (authority, old, new) = (Authority::new(), Authority::new(), Authority::new());
    std::fs::write(&file, &old.certificate).unwrap();
    let options = ServerTlsOptions {
        client_authorities: Some(Pem::read(&file).unwrap()),
        ..ServerTlsOptions::new(Protocol::Grpc, authority.sign("localhost"))
    };
    let tls = ServerTls::with_options(&options).unwrap().looking_every(Duration::ZERO).unwrap();
    let heard = Heard::listen(&tls);
    let server = start(Protocol::Grpc, tls);
    let signed_by = |clients: &Authority| ClientTlsOptions {
        authorities: Some(authority.pem()),
        identity: Some(clients.sign("agent")),
        ..ClientTlsOptions::default()
    };
    let (of_old, of_new) = (client(&server, &signed_by(&old)), client(&server, &signed_by(&new)));
    assert_eq!(export(&of_old).await, Outcome::Delivered);
    assert!(matches!(export(&of_new).await, Outcome::Retry { .. }));

    std::fs::write(&file, "nothing").unwrap();
    assert_eq!(export(&of_old).await, Outcome::Delivered, "the last good ones stay");
    assert_eq!(heard.kinds(), ["reload_failed"]);

    std::fs::write(&file, &new.certificate).unwrap();
    eventually_delivers(&async || export(&of_new).await).await;
    assert!(matches!(export(&of_old).await, Outcome::Retry { .. }));
    drop((of_old, of_new));
    server.stop().await;
}

/// A certificate whose time is over or has not come is told at the start and when it comes, once, and served all the same.
#[tokio::test]
async fn tells_wrong_times() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    install(directory.path(), &authority.sign_pem("localhost", expired));
    let tls = plain_tls(Protocol::Grpc, &read(directory.path())).looking_every(Duration::ZERO).unwrap();
    let heard = Heard::listen(&tls);
    assert_eq!(heard.kinds(), ["certificate_expired"]);
    let message = heard.0.lock().unwrap()[0].message.clone();
    assert!(message.ends_with("tls.crt: a certificate has expired on Fri, 01 Jan 2021 00:00:00 GMT"), "{message}");

    let server = start(Protocol::Grpc, tls);
    let trust = ClientTlsOptions { authorities: Some(authority.pem()), ..ClientTlsOptions::default() };
    let client = client(&server, &trust);
    assert!(matches!(export(&client).await, Outcome::Retry { .. }));
    assert_eq!(heard.kinds().len(), 1, "the same is not told again");
    let early = authority.sign_pem("localhost", |params| params.not_before = date_time_ymd(2999, 1, 1));
    install(directory.path(), &early);
    eventually_refuses(&client, || heard.kinds().len() == 2).await;
    assert_eq!(heard.kinds(), ["certificate_expired", "certificate_not_yet_valid"]);
    install(directory.path(), &authority.sign_pem("localhost", |_| {}));
    eventually_delivers(&async || export(&client).await).await;
    assert_eq!(heard.kinds().len(), 2);
    drop(client);
    server.stop().await;
}

/// Exports, which fails, until something has been seen.
async fn eventually_refuses(client: &Client, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "it was not seen");
        assert!(matches!(export(client).await, Outcome::Retry { .. }));
        tokio::task::yield_now().await;
    }
}

/// A client that knows nothing newer than TLS 1.1 is told that this is not enough, and counted.
#[tokio::test]
async fn refuses_old_versions() {
    let authority = Authority::new();
    let server = start(Protocol::Http, plain_tls(Protocol::Http, &authority.sign("localhost")));
    // A ClientHello (RFC 4346, section 7.4.1.2) of version 3.2 with one cipher suite, no compression, and the one extension
    // whose absence would be refused before the version is looked at.
    let signature_algorithms = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x14, 1, 0], &signature_algorithms].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    let fatal_protocol_version = [2, 70];
    assert!(answer.starts_with(&[21]) && answer.ends_with(&fatal_protocol_version), "{answer:?}");
    eventually("it is counted", || server.counters.snapshot().refused(Refusal::Handshake) == 1).await;
    server.stop().await;
}

/// Hundreds of clients that connect at once are all served, with peers among them that leave their handshake half done.
#[tokio::test]
async fn serves_many_handshakes() {
    let authority = Authority::new();
    let server = start(Protocol::Grpc, plain_tls(Protocol::Grpc, &authority.sign("localhost")));
    let mut half_done = Vec::new();
    for _ in 0..50 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(&[22, 3, 1, 2]).await.unwrap();
        half_done.push(socket);
    }
    let trust = ClientTlsOptions { authorities: Some(authority.pem()), ..ClientTlsOptions::default() };
    let clients: Vec<Client> = (0..200).map(|_| client(&server, &trust)).collect();
    for outcome in futures::future::join_all(clients.iter().map(export)).await {
        assert_eq!(outcome, Outcome::Delivered);
    }
    drop((clients, half_done));
    server.stop().await;
}
