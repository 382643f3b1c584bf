//! What is tried again, when, and what is not.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tonic::Code;

use super::{QUICKLY, WAYS, options_for};
use crate::harness::{Bench, Data, Engine, Export, Say, Signal, Transport, Verdict, eventually};

/// Of the codes of gRPC those are tried again that the specification names, and no other; RESOURCE_EXHAUSTED has a case of
/// its own.
#[tokio::test]
async fn k04_codes_of_grpc() {
    let bench = Bench::sending(Transport::Grpc, &format!("acknowledge = \"delivered\"\n{QUICKLY}")).await;
    let retryable =
        [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::OutOfRange, Code::Unavailable, Code::DataLoss];
    let mut received = 0;
    for number in (1..=16).filter(|number| *number != Code::ResourceExhausted as i32) {
        let code = Code::from(number);
        let is_retried = retryable.contains(&code);
        for signal in Signal::ALL {
            bench.backend.say([Say::Grpc(code, "so it is", None)]);
            assert_eq!(bench.is_delivered(&Data::of(signal, 1)).await, is_retried, "{code:?}");
            received += if is_retried { 2 } else { 1 };
            assert_eq!(bench.backend.received().len(), received, "{code:?}");
        }
    }
}

/// RESOURCE_EXHAUSTED is final by itself and tells of size, so that what is large is sent in halves; with a RetryInfo it is
/// overload, and the same comes again after that time.
#[tokio::test]
async fn k05_resource_exhausted() {
    let bench = Bench::sending(Transport::Grpc, &format!("acknowledge = \"delivered\"\n{QUICKLY}")).await;
    let wait = Duration::from_millis(400);
    for signal in Signal::ALL {
        let before = bench.backend.received().len();
        bench.backend.say([Say::Grpc(Code::ResourceExhausted, "quota", None)]);
        assert!(!bench.is_delivered(&Data::of(signal, 2)).await);
        assert_eq!(bench.backend.received().len(), before + 1, "what is small is not sent again");

        bench.backend.say([Say::Grpc(Code::ResourceExhausted, "too large", None)]);
        // Two resources would be two halves anyway; one has its records parted.
        let large = Data::padded(signal, 8, 20_000);
        assert!(bench.is_delivered(&large).await);
        let received = bench.backend.received();
        let halves = &received[before + 2..];
        assert_eq!(halves.iter().map(|half| half.data.records()).collect::<Vec<_>>(), [4, 4]);
        assert_eq!(halves.iter().flat_map(|half| half.data.times()).collect::<Vec<_>>(), large.times());

        let before = received.len();
        bench.backend.say([Say::Grpc(Code::ResourceExhausted, "busy", Some(wait))]);
        assert!(bench.is_delivered(&Data::of(signal, 2)).await);
        let received = bench.backend.received();
        assert_eq!(received.len(), before + 2);
        assert!(received[before + 1].at - received[before].at >= wait, "{:?}", bench.gaps());
    }
}

/// After UNAVAILABLE with RetryInfo the next attempt comes no sooner than it says.
#[tokio::test]
async fn k06_retry_info() {
    let waits = [Duration::from_millis(700), Duration::from_millis(1100), Duration::from_millis(300)];
    let of_signal = Signal::ALL.into_iter().zip(waits).map(|(signal, wait)| async move {
        let bench = Bench::sending(Transport::Grpc, QUICKLY).await;
        bench.backend.say([Say::Grpc(Code::Unavailable, "later", Some(wait))]);
        bench.send(&Data::of(signal, 1)).await;
        bench.backend.requests(2).await;
        assert!(bench.gaps()[0] >= wait, "{:?}", bench.gaps());
        let ledger = bench.engine.settled("out").await;
        assert_eq!((ledger.delivered, ledger.dropped.len()), (1, 0));
    });
    futures::future::join_all(of_signal).await;
}

/// Of the statuses of HTTP 429, 502, 503 and 504 are tried again; every other failure is final.
#[tokio::test]
async fn k07_statuses_of_http() {
    let bench = Bench::sending(Transport::Protobuf, &format!("acknowledge = \"delivered\"\n{QUICKLY}")).await;
    let final_ones = (400..=418).chain(421..=426).chain([428, 431, 451]).chain([500, 501]).chain(505..=511);
    let mut received = 0;
    for (status, is_retried) in
        final_ones.map(|status| (status, false)).chain([429, 502, 503, 504].map(|status| (status, true)))
    {
        for signal in Signal::ALL {
            bench.backend.say([Say::Http(status, Vec::new(), Bytes::new())]);
            assert_eq!(bench.is_delivered(&Data::of(signal, 1)).await, is_retried, "{status}");
            received += if is_retried { 2 } else { 1 };
            assert_eq!(bench.backend.received().len(), received, "{status}");
        }
    }
}

/// Retry-After is honoured as seconds and as a date; garbage and a date gone by mean the usual pause; a wait without sense
/// is cut to five minutes.
#[tokio::test]
async fn k08_retry_after() {
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3));
    let cases = [
        ("1".to_owned(), Duration::from_secs(1)),
        // Dates have whole seconds, and some time has passed before the answer is read.
        (soon, Duration::ZERO),
        ("soon".to_owned(), Duration::ZERO),
        ("-5".to_owned(), Duration::ZERO),
        ("1.5".to_owned(), Duration::ZERO),
        ("Thu, 01 Jan 1970 00:00:00 GMT".to_owned(), Duration::ZERO),
    ];
    let honoured = cases.iter().flat_map(|case| Signal::ALL.map(|signal| (case, signal))).map(
        |((value, least), signal)| async move {
            let bench = Bench::sending(Transport::Protobuf, QUICKLY).await;
            bench.backend.say([Say::Http(503, vec![("retry-after", value.clone())], Bytes::new())]);
            let asked_at = SystemTime::now();
            bench.send(&Data::of(signal, 1)).await;
            bench.backend.requests(2).await;
            assert!(bench.gaps()[0] >= *least, "{value}: {:?}", bench.gaps());
            if let Ok(date) = httpdate::parse_http_date(value)
                && date > asked_at
            {
                assert!(SystemTime::now() >= date, "came before {value}");
            }
        },
    );
    let clamped = Signal::ALL.map(|signal| async move {
        let bench = Bench::sending(Transport::Protobuf, "acknowledge = \"delivered\"").await;
        bench.backend.say([Say::Http(503, vec![("retry-after", "999999".to_owned())], Bytes::new())]);
        // Whoever waits for delivery hears after a while how long the backend wants to be left alone.
        let answer = Export::new(Transport::Grpc, &Data::of(signal, 1)).send(&bench.engine).await;
        let refusal = answer.refused(Verdict::Later);
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(300)));
    });
    futures::join!(futures::future::join_all(honoured), futures::future::join_all(clamped));
}

/// A connection that ends before the answer, while it is waited for or in the middle of it, means another attempt.
#[tokio::test]
async fn k12_broken_connections() {
    for way in WAYS {
        let bench = Bench::sending(way, &format!("acknowledge = \"delivered\"\n{QUICKLY}")).await;
        let mut received = 0;
        for signal in Signal::ALL {
            bench.backend.say([Say::HangUp, Say::HangUp]);
            let data = Data::padded(signal, 3, 100_000);
            assert!(bench.is_delivered(&data).await);
            received += 3;
            assert_eq!(bench.backend.received().len(), received);
            assert!(bench.backend.connections().len() > 2);
            bench.backend.received()[received - 1].data.assert_same(&data);
        }
        let ledger = bench.engine.settled("out").await;
        assert_eq!((ledger.delivered, ledger.dropped.len()), (9, 0));
    }
}

/// Where nobody listens, dials come further and further apart, with chance in every pause.
#[tokio::test]
async fn k13_refused_connections() {
    let refused = Transport::BINARY.into_iter().map(|way| async move {
        // A socket that is bound and does not listen refuses, and nobody else gets its port.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let engine = Engine::start(&format!(
            "[sources.apps]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n[sinks.out]\ninputs = [\"apps\"]\n{}\
             retry = {{ initial_interval = \"1ms\", max_interval = \"1ms\" }}\n",
            options_for(way, &format!("http://{address}"))
        ))
        .await;
        let began = tokio::time::Instant::now();
        Export::new(Transport::Grpc, &Data::of(Signal::Traces, 1)).send(&engine).await.took_all();
        // Half of 0.1, 0.2, 0.4, 0.8, 1.6 s at least lie between six attempts, whatever `retry` says.
        eventually("six attempts fail", || async {
            let errors = engine.component("out").await.errors.get("retry").copied().unwrap_or(0);
            (errors >= 6).then_some(())
        })
        .await;
        let elapsed = began.elapsed();
        assert!(elapsed >= Duration::from_millis(50 + 100 + 200 + 400 + 800), "six attempts within {elapsed:?}");
        drop(socket);
        let ledger = engine.ledger("out").await;
        assert_eq!((ledger.held.queued + ledger.held.in_flight, ledger.dropped.len()), (1, 0), "nothing is given up");
    });
    futures::future::join_all(refused).await;

    // The pauses of `retry` as well: ten of them are never the same for two engines.
    let pauses = [(); 2].map(|()| async {
        let bench =
            Bench::sending(Transport::Grpc, "retry = { initial_interval = \"100ms\", max_interval = \"100ms\" }").await;
        bench.backend.otherwise(Say::Grpc(Code::Unavailable, "away", None));
        bench.send(&Data::of(Signal::Logs, 1)).await;
        bench.backend.requests(11).await;
        bench.gaps().iter().take(10).map(Duration::as_millis).collect::<Vec<_>>()
    });
    let [one, other] = futures::future::join_all(pauses).await.try_into().unwrap();
    assert_ne!(one, other);
}
