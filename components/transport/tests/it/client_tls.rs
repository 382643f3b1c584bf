//! Certificates of our client that are rotated while it runs, and what is said of handshakes that fail.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use engine_core::outcome::Outcome;
use otlp::Signal;
use transport::Protocol;
use transport::client::{Client, ClientOptions};
use transport::tls::{ClientTls, ClientTlsOptions, Identity, Pem, ServerTls};

use crate::harness::{TestServer, logs_bytes};
use crate::tls::{Authority, eventually_delivers, start};

/// Files of one client in a directory.
struct Files(tempfile::TempDir);

impl Files {
    fn new(client: &Authority, server: &Authority) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.trust(server);
        let (certificate, key) = client.sign_pem("agent", |_| {});
        files.write("tls.crt", &certificate);
        files.write("tls.key", &key);
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn trust(&self, authority: &Authority) {
        self.write("ca.crt", &authority.certificate);
    }

    /// A client that looks at its files with each connection, and makes one for each request.
    fn client(&self, server: &TestServer) -> Client {
        let path = |name: &str| self.0.path().join(name);
        let read = |name: &str| Pem::read(Path::new(&path(name))).unwrap();
        let identity = Some(Identity::read(&path("tls.crt"), &path("tls.key")).unwrap());
        let tls = ClientTlsOptions { authorities: Some(read("ca.crt")), identity, ..ClientTlsOptions::default() };
        let uri = format!("https://localhost:{}", server.address.port()).parse().unwrap();
        let mut options = ClientOptions::new(uri, Protocol::Grpc);
        options.tls = Some(ClientTls::new(&tls).unwrap().looking_every(Duration::ZERO).unwrap());
        options.max_connection_age = Some(Duration::ZERO);
        Client::new(options).unwrap()
    }
}

fn demanding(server: &Authority, clients: &Authority) -> TestServer {
    start(Protocol::Grpc, ServerTls::new(Protocol::Grpc, &server.sign("localhost"), Some(&clients.pem())).unwrap())
}

async fn export(client: &Client) -> Outcome {
    client.export(Signal::Logs, Bytes::from(logs_bytes(10))).await
}

/// A client certificate that a server does not know is told as what it is; the rotated one is used with its key, and
/// neither half of a pair without the other.
#[tokio::test]
async fn client_certificates_are_rotated_as_pairs() {
    let (servers, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::new(&old, &servers);
    let before = demanding(&servers, &old);
    let client = files.client(&before);
    assert_eq!(export(&client).await, Outcome::Delivered);

    let (certificate, key) = new.sign_pem("agent", |_| {});
    files.write("tls.crt", &certificate);
    assert_eq!(export(&client).await, Outcome::Delivered, "a certificate without its key is not used");
    files.write("tls.key", "no key");
    assert_eq!(export(&client).await, Outcome::Delivered, "nor is one with something that is no key");
    files.write("tls.key", &key);
    let Outcome::Retry { reason, .. } = export(&client).await else { panic!("the server does not know the new one") };
    assert!(reason.contains("received fatal alert"), "{reason}");
    drop(client);
    before.stop().await;

    let after = demanding(&servers, &new);
    let client = files.client(&after);
    assert_eq!(export(&client).await, Outcome::Delivered);
    assert_eq!(after.handler.requests.lock().unwrap().len(), 1);
    drop(client);
    after.stop().await;
}

/// Another authority in the file is trusted from the next connection on, and the old one no longer is.
#[tokio::test]
async fn authorities_are_rotated() {
    let (clients, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::new(&clients, &new);
    let server = demanding(&new, &clients);
    let client = files.client(&server);
    assert_eq!(export(&client).await, Outcome::Delivered);
    files.trust(&old);
    let Outcome::Retry { reason, .. } = export(&client).await else { panic!("it is not trusted any more") };
    assert!(reason.contains("invalid peer certificate: UnknownIssuer"), "{reason}");
    files.trust(&new);
    eventually_delivers(&async || export(&client).await).await;
    assert_eq!(server.handler.requests.lock().unwrap().len(), 2, "nothing is sent to who is not trusted");
    drop(client);
    server.stop().await;
}

/// A server that wants a certificate and gets none says so, and that is what the user reads.
#[tokio::test]
async fn a_missing_client_certificate_is_told() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = demanding(&servers, &clients);
    let tls = ClientTlsOptions { authorities: Some(servers.pem()), ..ClientTlsOptions::default() };
    let uri = format!("https://localhost:{}", server.address.port()).parse().unwrap();
    let mut options = ClientOptions::new(uri, Protocol::Grpc);
    options.tls = Some(ClientTls::new(&tls).unwrap());
    let Outcome::Retry { reason, .. } = export(&Client::new(options).unwrap()).await else {
        panic!("nobody is let in without a certificate")
    };
    assert!(reason.contains("CertificateRequired"), "{reason}");
    assert!(server.handler.requests.lock().unwrap().is_empty());
    server.stop().await;
}
