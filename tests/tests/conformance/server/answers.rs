//! What is answered when the data is fine and the way is not: partial success, overload, outage, final refusals.

use std::time::Duration;

use opentelemetry_proto::tonic::metrics::v1::{Exemplar, metric::Data as MetricData};
use opentelemetry_proto::tonic::trace::v1::span::Link;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::Code;

use crate::harness::{Backend, Bench, Data, Engine, Export, Say, Signal, Transport, Verdict, eventually};

/// Records that the backend rejects are counted in the answer, with its message, and the others are delivered.
#[tokio::test]
async fn s35_partial_success() {
    let bench = Bench::start().await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            bench.backend.say([Say::Partial(2, "2 of 7 are too old".to_owned())]);
            let answer = Export::new(transport, &Data::of(signal, 7)).send(&bench.engine).await;
            assert_eq!(answer.partial(), (2, "2 of 7 are too old".to_owned()));
        }
    }
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.accepted, ledger.delivered, ledger.dropped["partial"]), (63, 45, 18));
}

/// Records whose ids have a wrong length are rejected by their number, and the others are delivered.
#[tokio::test]
async fn s35_records_with_wrong_ids() {
    let bench = Bench::start().await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let answer = Export::new(transport, &two_of_seven_wrong(signal)).send(&bench.engine).await;
            let (rejected, message) = answer.partial();
            assert_eq!(rejected, 2);
            assert!(message.contains("wrong length"), "{message}");
        }
    }
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.accepted, ledger.delivered), (45, 45));
}

fn two_of_seven_wrong(signal: Signal) -> Data {
    let mut data = Data::of(signal, 7);
    match &mut data {
        Data::Logs(request) => {
            let records = &mut request.resource_logs[0].scope_logs[0].log_records;
            records[1].trace_id = vec![7; 15];
            records[6].span_id = vec![7; 9];
        }
        Data::Traces(request) => {
            let spans = &mut request.resource_spans[0].scope_spans[0].spans;
            spans[0].trace_id = vec![7; 8];
            spans[3].links.push(Link { span_id: vec![7; 16], ..Link::default() });
        }
        Data::Metrics(request) => {
            let Some(MetricData::Gauge(gauge)) = &mut request.resource_metrics[0].scope_metrics[0].metrics[0].data
            else {
                panic!("the metric is a gauge")
            };
            gauge.data_points[2].exemplars.push(Exemplar { trace_id: vec![7; 1], ..Exemplar::default() });
            gauge.data_points[5].exemplars.push(Exemplar { span_id: vec![7; 7], ..Exemplar::default() });
        }
    }
    data
}

/// A warning is a partial success that rejects nothing.
#[tokio::test]
async fn s36_warning() {
    let bench = Bench::start().await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            bench.backend.say([Say::Partial(0, "use another attribute".to_owned())]);
            let answer = Export::new(transport, &Data::of(signal, 3)).send(&bench.engine).await;
            assert_eq!(answer.partial(), (0, "use another attribute".to_owned()));
        }
    }
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.delivered, ledger.dropped.len()), (27, 0));
}

/// With no memory left for one more request it is told to come again, with a time, and is taken then.
#[tokio::test]
async fn s37_overload() {
    let backend = Backend::start().await;
    let engine = Engine::start(&format!(
        "[memory]\nlimit = \"16MiB\"\n[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n\
         http.listen = \"127.0.0.1:0\"\nhttp.request_timeout = \"10m\"\n[sinks.out]\ntype = \"otlp\"\n\
         inputs = [\"apps\"]\nendpoint = \"{}\"\nacknowledge = \"delivered\"\nbuffer.max_size = \"12MiB\"\n",
        backend.url()
    ))
    .await;
    // A body that does not end keeps what has come of it.
    let memory = engine.status().await.memory;
    let rest = memory.admission_limit_bytes - memory.admission_used_bytes;
    let mut unended = TcpStream::connect(engine.http()).await.unwrap();
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: apps\r\ncontent-type: application/x-protobuf\r\ncontent-length: {rest}\r\n\r\n"
    );
    unended.write_all(head.as_bytes()).await.unwrap();
    let most = usize::try_from(rest).unwrap() - (200 << 10);
    unended.write_all(&vec![0; most]).await.unwrap();
    eventually("the body is held", || async {
        (engine.status().await.memory.admission_used_bytes >= most as u64).then_some(())
    })
    .await;
    let large = |signal| Data::padded(signal, 1, 300 << 10);
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let refusal = Export::new(transport, &large(signal)).send(&engine).await.refused(Verdict::Later);
            assert!(refusal.message.contains("memory"), "{}", refusal.message);
        }
    }
    assert!(backend.received().is_empty());
    drop(unended);
    eventually("the memory is free again", || async {
        (engine.status().await.memory.admission_used_bytes < 512 << 10).then_some(())
    })
    .await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            Export::new(transport, &large(signal)).send(&engine).await.took_all();
        }
    }
}

/// A full buffer, and a backend that does not take data while its answer is waited for, are told as overload is: come
/// again, with the time that the backend asked for.
#[tokio::test]
async fn s38_backend_away() {
    let bench = Bench::with("", "timeout = \"30s\"").await;
    bench.backend.otherwise(Say::Grpc(Code::Unavailable, "away", Some(Duration::from_secs(7))));
    let asked = Transport::ALL.into_iter().flat_map(|transport| Signal::ALL.map(|signal| (transport, signal)));
    let sent = asked.map(|(transport, signal)| {
        let export = Export::new(transport, &Data::of(signal, 1));
        async {
            let refusal = export.send(&bench.engine).await.refused(Verdict::Later);
            assert!(refusal.retry_after.unwrap() >= Duration::from_secs(1), "{refusal:?}");
        }
    });
    futures::future::join_all(sent).await;
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.accepted, ledger.returned, ledger.dropped.len()), (9, 9, 0));

    let buffered = Bench::with("", "buffer.max_size = \"64KiB\"\nbatch.max_records = 1").await;
    buffered.backend.otherwise(Say::Held);
    let filling = Data::padded(Signal::Logs, 1, 40_000);
    let held: Vec<_> =
        (0..2).map(|_| tokio::spawn(Export::new(Transport::Grpc, &filling).send_to(buffered.engine.grpc()))).collect();
    eventually("the buffer is full", || async {
        let ledger = buffered.engine.ledger("out").await;
        (ledger.accepted + ledger.refused == 2).then_some(())
    })
    .await;
    for transport in Transport::ALL {
        for signal in Signal::ALL {
            let export = Export::new(transport, &Data::padded(signal, 1, 40_000));
            export.send(&buffered.engine).await.refused(Verdict::Later);
        }
    }
    buffered.backend.release(2);
    let mut taken = 0;
    for answer in held {
        taken += u32::from(answer.await.unwrap().grpc_status() == Some(0));
    }
    assert_eq!(taken, 1, "one of the two had room");
}

/// What a backend refuses for good is final for the client too, whatever its code: INVALID_ARGUMENT and 400, or the size.
#[tokio::test]
async fn s41_final_refusal() {
    let bench = Bench::start().await;
    let cases = [
        (Code::InvalidArgument, Verdict::Invalid),
        (Code::Internal, Verdict::Invalid),
        (Code::Unknown, Verdict::Invalid),
        (Code::Unimplemented, Verdict::Invalid),
        (Code::PermissionDenied, Verdict::Invalid),
        (Code::Unauthenticated, Verdict::Invalid),
        (Code::ResourceExhausted, Verdict::TooLarge),
    ];
    for (code, verdict) in cases {
        for transport in Transport::ALL {
            for signal in Signal::ALL {
                bench.backend.say([Say::Grpc(code, "never this", None)]);
                let answer = Export::new(transport, &Data::of(signal, 1)).send(&bench.engine).await;
                let refusal = answer.refused(verdict);
                assert!(refusal.message.contains("never this"), "{}", refusal.message);
            }
        }
    }
    assert_eq!(bench.backend.received().len(), cases.len() * 9, "none is tried again");
}
