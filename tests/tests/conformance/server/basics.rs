//! Plain success, media types, paths, and what a port does not offer.

use hyper::Method;

use crate::harness::export::Version;
use crate::harness::{Bench, Data, Export, Signal, Transport, Verdict};

/// A unary call of each signal over gRPC is OK without a partial success, and its data arrives as it was.
#[tokio::test]
async fn s01_grpc_export() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        bench.passes_unchanged(Transport::Grpc, &Data::of(signal, 3)).await;
    }
}

/// A POST of protobuf to the path of each signal is 200 with an empty protobuf response.
#[tokio::test]
async fn s02_http_protobuf() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        bench.passes_unchanged(Transport::Protobuf, &Data::of(signal, 3)).await;
    }
}

/// A POST of JSON to the same paths is 200 with a JSON object.
#[tokio::test]
async fn s03_http_json() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        bench.passes_unchanged(Transport::Json, &Data::of(signal, 3)).await;
    }
}

/// A media type may have parameters and any case.
#[tokio::test]
async fn s04_media_type_is_parsed() {
    let bench = Bench::start().await;
    let cases = [
        (Transport::Json, "application/json; charset=utf-8"),
        (Transport::Json, "Application/JSON;charset=UTF-8"),
        (Transport::Protobuf, "APPLICATION/x-Protobuf"),
        (Transport::Protobuf, "application/x-protobuf ; a=b"),
        (Transport::Grpc, "application/grpc+proto"),
    ];
    for (transport, content_type) in cases {
        for signal in Signal::ALL {
            let export = Export::new(transport, &Data::of(signal, 1)).header("content-type", content_type);
            export.send(&bench.engine).await.took_all();
        }
    }
    assert_eq!(bench.backend.received().len(), cases.len() * Signal::ALL.len());
}

/// An empty message is a success, and nobody behind hears of it.
#[tokio::test]
async fn s05_empty_message() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        for (transport, body) in [(Transport::Grpc, ""), (Transport::Protobuf, ""), (Transport::Json, "{}")] {
            Export::raw(transport, signal, body).send(&bench.engine).await.took_all();
        }
        // No bytes at all are no JSON.
        Export::json(signal, "").send(&bench.engine).await.refused(Verdict::Invalid);
    }
    bench.takes(Transport::Grpc, &Data::of(Signal::Logs, 1)).await;
    assert_eq!(bench.backend.received().len(), 1, "only the record is passed on");
}

/// Envelopes without records are a success, and are not passed on.
#[tokio::test]
async fn s06_empty_envelopes() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        for transport in Transport::ALL {
            bench.takes(transport, &Data::of(signal, 0)).await;
        }
    }
    bench.takes(Transport::Grpc, &Data::of(Signal::Logs, 1)).await;
    assert_eq!(bench.backend.received().len(), 1, "only the record is passed on");
}

/// No or another media type is 415 with a Status in protobuf.
#[tokio::test]
async fn s07_unsupported_media_type() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        let export = Export::new(Transport::Protobuf, &Data::of(signal, 1));
        let types = ["text/plain", "application/octet-stream", "application/protobuf", "json", ";"];
        let others = types.map(|other| export.clone().header("content-type", other));
        for request in std::iter::once(export.without("content-type")).chain(others) {
            let answer = request.send(&bench.engine).await;
            answer.refused(Verdict::Unsupported);
            assert_eq!(answer.header("accept"), Some("application/x-protobuf, application/json"));
        }
    }
    assert!(bench.backend.received().is_empty());
}

/// A method other than POST is 405 and an unknown path 404, both with a Status.
#[tokio::test]
async fn s08_unknown_method_and_path() {
    let bench = Bench::start().await;
    for transport in Transport::HTTP {
        for signal in Signal::ALL {
            for method in [Method::GET, Method::PUT, Method::DELETE] {
                let export = Export::raw(transport, signal, "").method(method);
                let answer = export.send(&bench.engine).await;
                answer.refused(Verdict::Method);
                assert_eq!(answer.header("allow"), Some("POST"));
            }
            for path in ["/v1/unknown", "/", "/v1/", "/v2/logs", "/v1/logs/"] {
                let export = Export::new(transport, &Data::of(signal, 1)).path(path);
                export.send(&bench.engine).await.refused(Verdict::Unknown);
            }
        }
    }
}

/// A client that accepts compressed answers gets one that it can read as it is labelled: ours are not compressed.
#[tokio::test]
async fn s43_accept_encoding() {
    let bench = Bench::start().await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let name = if transport == Transport::Grpc { "grpc-accept-encoding" } else { "accept-encoding" };
            let export = Export::new(transport, &Data::of(signal, 1)).header(name, "gzip");
            let answer = export.send(&bench.engine).await;
            answer.took_all();
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.header("grpc-encoding"), None);
        }
    }
}

/// Profiles are not taken: 404 and UNIMPLEMENTED.
#[tokio::test]
async fn s49_profiles() {
    let bench = Bench::start().await;
    for transport in Transport::HTTP {
        let export = Export::raw(transport, Signal::Logs, "{}").path("/v1development/profiles");
        export.send(&bench.engine).await.refused(Verdict::Unknown);
    }
    let method = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
    Export::raw(Transport::Grpc, Signal::Logs, "").path(method).send(&bench.engine).await.refused(Verdict::Unknown);
}

/// An unknown method of a known service, and an unknown service, are UNIMPLEMENTED.
#[tokio::test]
async fn s50_unknown_grpc_method() {
    let bench = Bench::start().await;
    for path in [
        "/opentelemetry.proto.collector.logs.v1.LogsService/Import",
        "/opentelemetry.proto.collector.logs.v2.LogsService/Export",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/",
    ] {
        let export = Export::raw(Transport::Grpc, Signal::Logs, "").path(path);
        export.send(&bench.engine).await.refused(Verdict::Unknown);
    }
}

/// gRPC and HTTP have a port each, and who takes the wrong one is told: 415 for gRPC on the port of HTTP, 505 with words
/// for HTTP/1 on the port of gRPC, 415 for OTLP/HTTP over HTTP/2 there.
#[tokio::test]
async fn s51_one_port_for_each() {
    let bench = Bench::start().await;
    for signal in Signal::ALL {
        let data = Data::of(signal, 1);
        // The path of gRPC is none of HTTP's.
        let answer = Export::new(Transport::Grpc, &data).send_to(bench.engine.http()).await;
        assert_eq!((answer.status.as_u16(), answer.grpc_status()), (404, None));
        let answer = Export::new(Transport::Protobuf, &data).send_to(bench.engine.grpc()).await;
        assert_eq!(answer.status.as_u16(), 505);
        assert!(String::from_utf8_lossy(&answer.body).contains("OTLP/HTTP is served on another port"));
        let over_http2 = Export::new(Transport::Protobuf, &data).over(Version::Http2);
        assert_eq!(over_http2.send_to(bench.engine.grpc()).await.status.as_u16(), 415);
    }
    assert!(bench.backend.received().is_empty());
}
