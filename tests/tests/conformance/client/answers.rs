//! Answers that say what became of the data: success, partial success, refusals, and what only looks like success.

use std::sync::Arc;

use bytes::Bytes;
use engine_config::status::ComponentState;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use tonic::Code;

use super::{QUICKLY, WAYS};
use crate::harness::backend::{Body, grpc_answer, response_bytes};
use crate::harness::{Backend, Bench, Coding, Data, Say, Signal, Transport};

const MIB: usize = 1 << 20;

/// What was taken is counted as delivered, and arrives as it was under the path and the type of its transport.
#[tokio::test]
async fn k01_success() {
    for way in WAYS {
        let bench = Bench::sending(way, "").await;
        for (number, signal) in Signal::ALL.into_iter().enumerate() {
            bench.send(&Data::of(signal, 5)).await;
            let received = &bench.backend.requests(number + 1).await[number];
            received.data.assert_same(&Data::of(signal, 5));
            assert_eq!(received.transport, way);
            let path = match (way, signal) {
                (Transport::Grpc, Signal::Logs) => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
                (Transport::Grpc, Signal::Metrics) => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
                (Transport::Grpc, Signal::Traces) => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                (_, Signal::Logs) => "/v1/logs",
                (_, Signal::Metrics) => "/v1/metrics",
                (_, Signal::Traces) => "/v1/traces",
            };
            assert_eq!(received.path, path);
            assert!(received.header("user-agent").unwrap().starts_with("telemetry-engine/"));
        }
        let ledger = bench.engine.settled("out").await;
        assert_eq!((ledger.accepted, ledger.delivered, ledger.dropped.len()), (15, 15, 0));
    }
}

/// Records that a partial success rejects are counted as dropped, with its message, and nothing is sent again.
#[tokio::test]
async fn k02_partial_success() {
    for way in WAYS {
        let bench = Bench::sending(way, "").await;
        for (number, signal) in Signal::ALL.into_iter().enumerate() {
            bench.backend.say([Say::Partial(3, format!("too old: {signal:?}"))]);
            bench.send(&Data::of(signal, 5)).await;
            bench.backend.requests(number + 1).await;
            bench.engine.settled("out").await;
            assert!(bench.last_error().await.contains(&format!("too old: {signal:?}")));
        }
        let ledger = bench.engine.settled("out").await;
        assert_eq!((ledger.delivered, ledger.dropped["partial"]), (6, 9));
        assert_eq!(bench.backend.received().len(), 3);
    }
}

/// A warning is told, and everything counts as delivered.
#[tokio::test]
async fn k03_warning() {
    for way in WAYS {
        let bench = Bench::sending(way, "").await;
        for (number, signal) in Signal::ALL.into_iter().enumerate() {
            bench.backend.say([Say::Partial(0, format!("renamed: {signal:?}"))]);
            bench.send(&Data::of(signal, 5)).await;
            bench.backend.requests(number + 1).await;
            bench.engine.settled("out").await;
            assert!(bench.last_error().await.contains(&format!("renamed: {signal:?}")));
        }
        let ledger = bench.engine.settled("out").await;
        assert_eq!((ledger.delivered, ledger.dropped.len()), (15, 0));
        assert_eq!(bench.backend.received().len(), 3);
    }
}

/// The message of a refusal is what the user reads, from a Status in the body as from the trailers of gRPC.
#[tokio::test]
async fn k09_refusal_says_why() {
    use prost::Message as _;
    for way in WAYS {
        let bench = Bench::sending(way, "").await;
        for (number, signal) in Signal::ALL.into_iter().enumerate() {
            let message = "resource has no tenant";
            let status = tonic_types::Status { code: 3, message: message.to_owned(), details: Vec::new() };
            let body: Bytes = match way {
                Transport::Json => serde_json::json!({ "code": 3, "message": message }).to_string().into(),
                _ => status.encode_to_vec().into(),
            };
            bench.backend.say([match way {
                Transport::Grpc => Say::Grpc(Code::InvalidArgument, message, None),
                _ => Say::Http(400, vec![("content-type", way.content_type().to_owned())], body),
            }]);
            bench.send(&Data::of(signal, 5)).await;
            bench.backend.requests(number + 1).await;
            let ledger = bench.engine.settled("out").await;
            assert_eq!(ledger.dropped["rejected"], 5 * (number as u64 + 1));
            assert!(bench.last_error().await.contains("resource has no tenant"));
        }
        assert_eq!(bench.backend.received().len(), 3, "none is sent again");
    }
}

/// A 200 with garbage, with more than 4 MiB or with a bomb is read within bounds, is no success, and is not sent again; one
/// without a body is an empty message, and that is success.
#[tokio::test]
async fn k11_unreadable_answers() {
    let protobuf =
        |body: Vec<u8>| Say::Http(200, vec![("content-type", "application/x-protobuf".to_owned())], body.into());
    let json =
        |text: &str| Say::Http(200, vec![("content-type", "application/json".to_owned())], text.to_owned().into());
    let labelled = |coding: Coding| {
        let headers =
            vec![("content-type", "application/x-protobuf".to_owned()), ("content-encoding", coding.name().to_owned())];
        Say::Http(200, headers, coding.compress(&vec![0; MIB]).repeat(256).into())
    };
    let grpc = |message: Vec<u8>| custom(move || grpc_answer(&message, &[("grpc-status", "0")]));
    let cases = [
        (Transport::Protobuf, protobuf(vec![0xff; 20]), false),
        (Transport::Protobuf, protobuf(vec![0; 5 * MIB]), false),
        (Transport::Protobuf, labelled(Coding::Gzip), false),
        (Transport::Protobuf, labelled(Coding::Zstd), false),
        (Transport::Protobuf, protobuf(Vec::new()), true),
        (Transport::Json, json("{"), false),
        (Transport::Json, json("[]"), false),
        (Transport::Json, json(&format!("{{\"x\":\"{}\"}}", "x".repeat(5 * MIB))), false),
        (Transport::Json, labelled(Coding::Gzip), false),
        (Transport::Json, json(""), true),
        (Transport::Grpc, grpc(vec![0xff; 20]), false),
        (Transport::Grpc, grpc(vec![0; 5 * MIB]), false),
        (Transport::Grpc, grpc(Vec::new()), true),
    ];
    for way in WAYS {
        // Freed memory stays with the lane that used it.
        let more = format!("acknowledge = \"delivered\"\n{QUICKLY}[engine]\nlanes = 1");
        let bench = Bench::sending(way, &more).await;
        assert!(bench.is_delivered(&Data::of(Signal::Logs, 1)).await);
        let before = bench.engine.peak_memory();
        let mut sent = 1;
        for (_, say, is_success) in cases.iter().filter(|case| case.0 == way) {
            for signal in Signal::ALL {
                bench.backend.say([say.clone()]);
                assert_eq!(bench.is_delivered(&Data::of(signal, 1)).await, *is_success);
                sent += 1;
                assert_eq!(bench.backend.received().len(), sent, "none is sent again");
            }
        }
        let grown = bench.engine.peak_memory() - before;
        assert!(grown <= 32 * MIB as u64, "{} KiB", grown / 1024);
    }
}

/// A redirect is not followed: nobody else gets the data or the credentials, and the user reads where it points.
#[tokio::test]
async fn k19_redirect() {
    for way in WAYS {
        let more = format!("acknowledge = \"delivered\"\nheaders.x-api-key = \"canary\"\n{QUICKLY}");
        let bench = Bench::sending(way, &more).await;
        let elsewhere = Backend::start().await;
        let mut sent = 0;
        for status in [301, 302, 307, 308] {
            for signal in Signal::ALL {
                let location = format!("{}/v1/{}", elsewhere.url(), signal.as_str());
                bench.backend.say([Say::Http(status, vec![("location", location.clone())], Bytes::new())]);
                assert!(!bench.is_delivered(&Data::of(signal, 1)).await);
                sent += 1;
                let received = bench.backend.received();
                assert_eq!(received.len(), sent);
                assert_eq!(received[sent - 1].header("x-api-key"), Some("canary"));
                let error = bench.last_error().await;
                assert!(error.contains(&status.to_string()), "{error}");
                assert!(way == Transport::Grpc || error.contains(&location), "{error}");
            }
        }
        assert!(elsewhere.connections().is_empty());
    }
}

/// What only looks like success is none: no grpc-status, a page of a proxy, another protocol. `application/grpc+proto` is
/// gRPC.
#[tokio::test]
async fn k22_false_success() {
    let page = |status: u16| {
        let headers = vec![("content-type", "text/html".to_owned())];
        Say::Http(status, headers, Bytes::from_static(b"<html>welcome</html>"))
    };
    let untyped = || Say::Http(200, Vec::new(), Bytes::from_static(b"ok"));
    let empty_page = || Say::Http(200, vec![("content-type", "text/html".to_owned())], Bytes::new());
    let without_status = custom(|| grpc_answer(&response_bytes(None), &[]));
    let unreadable_status = custom(|| grpc_answer(&response_bytes(None), &[("grpc-status", "fine")]));
    let with_subtype = custom(|| {
        let mut response = grpc_answer(&response_bytes(None), &[("grpc-status", "0")]);
        response.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        response
    });
    let no_grpc = custom(|| {
        let head = Response::builder().header("content-type", "application/x-protobuf").header("grpc-status", "0");
        head.body(Full::new(Bytes::new()).boxed()).unwrap()
    });
    let cases = [
        (Transport::Grpc, without_status, false),
        (Transport::Grpc, unreadable_status, false),
        (Transport::Grpc, page(200), false),
        (Transport::Grpc, empty_page(), false),
        (Transport::Grpc, page(404), false),
        (Transport::Grpc, no_grpc, false),
        (Transport::Grpc, with_subtype, true),
        (Transport::Protobuf, page(200), false),
        (Transport::Protobuf, empty_page(), false),
        (Transport::Protobuf, untyped(), false),
        (Transport::Protobuf, page(404), false),
        (Transport::Json, page(200), false),
        (Transport::Json, empty_page(), false),
        (Transport::Json, untyped(), false),
    ];
    for way in WAYS {
        let bench = Bench::sending(way, &format!("acknowledge = \"delivered\"\n{QUICKLY}")).await;
        let mut sent = 0;
        for (number, (_, say, is_success)) in cases.iter().filter(|case| case.0 == way).enumerate() {
            for signal in Signal::ALL {
                bench.backend.say([say.clone()]);
                assert_eq!(bench.is_delivered(&Data::of(signal, 1)).await, *is_success, "{way:?} case {number}");
                sent += 1;
                assert_eq!(bench.backend.received().len(), sent, "none is sent again");
            }
        }
    }
}

/// Each compression is named and readable; a backend that does not know it is told of as an error that lasts.
#[tokio::test]
async fn k17_compression() {
    for way in WAYS {
        for (compression, header) in [("none", None), ("gzip", Some("gzip")), ("zstd", Some("zstd"))] {
            let more = format!("acknowledge = \"delivered\"\ncompression = \"{compression}\"\n{QUICKLY}");
            let bench = Bench::sending(way, &more).await;
            for (number, signal) in Signal::ALL.into_iter().enumerate() {
                let data = Data::padded(signal, 100, 1000);
                assert!(bench.is_delivered(&data).await);
                let received = &bench.backend.received()[number];
                received.data.assert_same(&data);
                let name = if way == Transport::Grpc { "grpc-encoding" } else { "content-encoding" };
                assert_eq!(received.header(name), header);
                let length = data.encode().len();
                assert_eq!(received.body.len() < length, header.is_some(), "{} of {length}", received.body.len());
            }
            let refusal = || match way {
                Transport::Grpc => Say::Grpc(Code::Unimplemented, "no such encoding", None),
                _ => Say::Http(415, vec![("content-type", "text/plain".to_owned())], "no such encoding".into()),
            };
            for signal in Signal::ALL {
                bench.backend.say([refusal()]);
                assert!(!bench.is_delivered(&Data::of(signal, 1)).await);
            }
            let sink = bench.engine.component("out").await;
            assert_eq!(sink.health.state, ComponentState::Degraded);
            assert!(sink.health.last_error.unwrap().message.contains("no such encoding"));
            assert_eq!(sink.sink.unwrap().ledger.dropped["unsupported"], 3);
            assert_eq!(bench.backend.received().len(), 6, "none is sent again");
        }
    }
}

fn custom(make: impl Fn() -> Response<Body> + Send + Sync + 'static) -> Say {
    Say::Custom(Arc::new(make))
}
