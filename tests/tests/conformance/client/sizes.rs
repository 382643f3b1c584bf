//! Requests that are too large, for the backend or for the sink's own limit.

use bytes::Bytes;

use super::{QUICKLY, WAYS};
use crate::harness::{Bench, Data, Say, Signal, Transport};

const KIB: usize = 1024;

/// After 413 the same is not sent again: what is large and has several records comes in halves, the rest is counted.
#[tokio::test]
async fn k10_payload_too_large() {
    let bench = Bench::sending(Transport::Protobuf, &format!("acknowledge = \"delivered\"\n{QUICKLY}")).await;
    let too_large = || Say::Http(413, Vec::new(), Bytes::new());
    for signal in Signal::ALL {
        let before = bench.backend.received().len();
        bench.backend.say([too_large()]);
        assert!(!bench.is_delivered(&Data::padded(signal, 1, 100 * KIB)).await);
        assert_eq!(bench.backend.received().len(), before + 1, "one record cannot be parted");

        bench.backend.say([too_large(), too_large()]);
        let large = Data::padded(signal, 8, 100 * KIB);
        assert!(bench.is_delivered(&large).await);
        let received = bench.backend.received();
        let sizes: Vec<_> = received[before + 1..].iter().map(|request| request.data.records()).collect();
        assert_eq!(sizes, [8, 4, 2, 2, 4]);
        let taken = received[before + 3..].iter().flat_map(|request| request.data.times()).collect::<Vec<_>>();
        assert_eq!(taken, large.times());
    }
    let ledger = bench.engine.settled("out").await;
    assert_eq!((ledger.delivered, ledger.dropped["too_large"]), (24, 3));
}

/// No request is larger than the sink's own limit: it is parted before it is sent, and a single record that is larger is
/// counted and never sent.
#[tokio::test]
async fn k15_own_limit() {
    for way in WAYS {
        let more = "max_request_size = \"64KiB\"\nbatch.max_size = \"64KiB\"\n";
        let bench = Bench::sending(way, &format!("{more}{QUICKLY}")).await;
        for signal in Signal::ALL {
            let before = bench.backend.received().len();
            let many = Data::of(signal, 8000);
            assert!(many.encode().len() > 2 * 64 * KIB);
            bench.send(&many).await;
            bench.engine.settled("out").await;
            let received = bench.backend.received();
            let parts = &received[before..];
            assert!(parts.len() > 2 && parts.iter().all(|part| part.body.len() <= 64 * KIB));
            let mut times: Vec<_> = parts.iter().flat_map(|part| part.data.times()).collect();
            times.sort_unstable();
            assert_eq!(times, many.times());

            bench.send(&Data::padded(signal, 1, 65 * KIB)).await;
            bench.engine.settled("out").await;
            assert_eq!(bench.backend.received().len(), received.len(), "it is not sent");
        }
        let ledger = bench.engine.settled("out").await;
        assert_eq!((ledger.delivered, ledger.dropped["too_large"]), (24_000, 3));
    }
}
