//! Who may send: credentials, and pages of browsers.

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Backend, Bench, Data, Engine, Export, Signal, Transport, Verdict, within};

/// Without credentials, or with wrong ones, a request is UNAUTHENTICATED or 401 with a Status, before its body is read;
/// with the right ones it is taken.
#[tokio::test]
async fn s40_credentials() {
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (tokens, password) = (folder.path().join("tokens"), folder.path().join("password"));
    std::fs::write(&tokens, "first-token\nsecond-token\n").unwrap();
    std::fs::write(&password, "open sesame\n").unwrap();
    let access = |listener: &str| {
        format!(
            "{listener}.listen = \"127.0.0.1:0\"\n{listener}.auth.bearer.tokens = [\"file:{}\"]\n\
             {listener}.auth.basic.users = {{ agent = \"file:{}\" }}\n",
            tokens.display(),
            password.display()
        )
    };
    let text = format!(
        "[sources.apps]\ntype = \"otlp\"\n{}{}[sinks.out]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"{}\"\n\
         acknowledge = \"delivered\"\n",
        access("grpc"),
        access("http"),
        backend.url()
    );
    let engine = Engine::start_in(folder, &text).await;
    let mut taken = 0;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let export = Export::new(transport, &Data::of(signal, 1));
            let wrong = ["Bearer third-token", "Bearer", "Basic YWdlbnQ6d3Jvbmc=", "first-token", "Digest x"];
            let attempts = wrong.map(|value| export.clone().header("authorization", value));
            for attempt in std::iter::once(export.clone()).chain(attempts) {
                let answer = attempt.send(&engine).await;
                answer.refused(Verdict::Unauthenticated);
                assert!(transport == Transport::Grpc || answer.header("www-authenticate").is_some());
            }
            // `agent:open sesame`.
            for right in ["Bearer first-token", "bearer second-token", "Basic YWdlbnQ6b3BlbiBzZXNhbWU="] {
                export.clone().header("authorization", right).send(&engine).await.took_all();
                taken += 1;
            }
        }
    }
    assert_eq!(backend.received().len(), taken);
    // The answer comes though nothing of the body has.
    let mut socket = TcpStream::connect(engine.http()).await.unwrap();
    let head = "POST /v1/logs HTTP/1.1\r\nhost: apps\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    within("an answer", socket.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 401");
}

/// A browser's question is answered by the configuration: without one no page of another origin may send; with one the
/// pages that it names may, and no others.
#[tokio::test]
async fn s48_cross_origin_requests() {
    const SHOP: &str = "https://shop.example.com";
    let question = |signal, origin: &str| {
        let export = Export::raw(Transport::Protobuf, signal, "").method(Method::OPTIONS).without("content-type");
        let export = export.header("origin", origin).header("access-control-request-method", "POST");
        export.header("access-control-request-headers", "content-type")
    };
    let closed = Bench::start().await;
    let open = Bench::with(&format!("http.cors.allowed_origins = [\"{SHOP}\"]"), "").await;
    for signal in Signal::ALL {
        let answer = question(signal, SHOP).send(&closed.engine).await;
        answer.refused(Verdict::Method);
        assert_eq!(answer.header("access-control-allow-origin"), None);

        let answer = question(signal, SHOP).send(&open.engine).await;
        assert_eq!(answer.status.as_u16(), 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        assert!(answer.header("access-control-allow-headers").unwrap().contains("content-type"));
        for stranger in ["https://evil.example.com", "http://shop.example.com", "null"] {
            let answer = question(signal, stranger).send(&open.engine).await;
            assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (403, None));
        }
        for transport in Transport::HTTP {
            let export = Export::new(transport, &Data::of(signal, 1));
            let answer = export.clone().header("origin", SHOP).send(&open.engine).await;
            answer.took_all();
            assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
            // Whoever is no browser is not asked for an origin.
            export.send(&open.engine).await.took_all();
            let answer = Export::raw(transport, signal, "\u{1}").header("origin", SHOP).send(&open.engine).await;
            answer.refused(Verdict::Invalid);
            assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP), "scripts read why");
        }
    }
}
