//! Certificates of backends: new ones, those of new authorities, and those that must not be trusted.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::{QUICKLY, WAYS, options_for};
use crate::harness::certificates::Authority;
use crate::harness::{Backend, Data, Engine, Export, Signal, Transport, eventually, within};

/// A new certificate, and one of a new authority once it is in the file, are taken without a restart and without loss; one
/// that is not trusted, has expired or has another name gets no data, and no connection goes on in clear.
#[tokio::test]
async fn k20_certificates() {
    let rotated = WAYS.map(rotate);
    let refused = WAYS.map(refuse);
    let clear = WAYS.map(never_in_clear);
    futures::join!(
        futures::future::join_all(rotated),
        futures::future::join_all(refused),
        futures::future::join_all(clear)
    );
}

async fn rotate(way: Transport) {
    let (old, new) = (Authority::new(), Authority::new());
    let backend = Backend::start().await;
    backend.secure(old.server("127.0.0.1", |_| {}));
    let engine = start(&backend.url(), way, &old).await;
    let mut sent = 0;
    let mut send = async |signal| {
        Export::new(Transport::Grpc, &Data::of(signal, 2)).send(&engine).await.took_all();
        sent += 1;
        sent
    };
    for signal in Signal::ALL {
        let number = send(signal).await;
        backend.requests(number).await;
    }
    // Another certificate of the same authority; the connections end with the old one.
    backend.secure(old.server("127.0.0.1", |_| {}));
    let number = send(Signal::Logs).await;
    backend.requests(number).await;
    assert_eq!(backend.failed_handshakes(), 0);
    // One of an authority that is not in the file yet.
    backend.secure(new.server("127.0.0.1", |_| {}));
    for signal in Signal::ALL {
        send(signal).await;
    }
    eventually("the new authority is not trusted", || {
        std::future::ready((backend.failed_handshakes() > 0).then_some(()))
    })
    .await;
    assert_eq!(backend.received().len(), 4);
    write_authority(&engine, &new);
    backend.requests(7).await;
    let ledger = engine.settled("out").await;
    assert_eq!((ledger.accepted, ledger.delivered, ledger.dropped.len()), (14, 14, 0));
}

async fn refuse(way: Transport) {
    let authority = Authority::new();
    let expired = authority.server("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let misnamed = authority.server("elsewhere.example.com", |_| {});
    for (tls, problem) in [(expired, "expired"), (misnamed, "not valid for name")] {
        let backend = Backend::start().await;
        backend.secure(tls);
        let engine = start(&backend.url(), way, &authority).await;
        for signal in Signal::ALL {
            Export::new(Transport::Grpc, &Data::of(signal, 2)).send(&engine).await.took_all();
        }
        let error = eventually("the sink says why", || async {
            engine.component("out").await.health.last_error.map(|error| error.message)
        })
        .await;
        assert!(error.to_lowercase().contains(problem), "{error}");
        assert!(backend.received().is_empty() && backend.failed_handshakes() > 0);
        let ledger = engine.ledger("out").await;
        assert_eq!((ledger.accepted, ledger.held.queued + ledger.held.in_flight), (6, 6));
    }
}

/// A backend that has lost its TLS is spoken to in TLS all the same.
async fn never_in_clear(way: Transport) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = start(&format!("http://{}", listener.local_addr().unwrap()), way, &Authority::new()).await;
    Export::new(Transport::Grpc, &Data::of(Signal::Logs, 1)).send(&engine).await.took_all();
    for _ in 0..2 {
        let (mut socket, _) = within("a connection", listener.accept()).await.unwrap();
        let first = within("its first byte", socket.read_u8()).await.unwrap();
        // A handshake record (RFC 8446, section 5.1).
        assert_eq!(first, 22);
    }
}

/// An engine that sends to the backend over TLS and trusts an authority in a file.
async fn start(url: &str, way: Transport, authority: &Authority) -> Engine {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &authority.certificate).unwrap();
    let text = format!(
        "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n[sinks.out]\ninputs = [\"apps\"]\n\
         {}tls.ca = {file:?}\nbatch.max_records = 1\n{QUICKLY}",
        options_for(way, &url.replace("http://", "https://"))
    );
    Engine::start_in(folder, &text).await
}

/// Replaces the authority at once, as whoever rotates it should.
fn write_authority(engine: &Engine, authority: &Authority) {
    let file = engine.folder().join("ca.pem");
    let unfinished = engine.folder().join("ca.pem.new");
    std::fs::write(&unfinished, &authority.certificate).unwrap();
    std::fs::rename(unfinished, file).unwrap();
}
