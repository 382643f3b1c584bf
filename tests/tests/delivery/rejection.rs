//! One part that the backend rejects, joined with others.

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;
use crate::producer::{connect, request};

/// Exactly the bad part is counted as rejected, all others arrive once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_part_takes_nobody_with_it() {
    let backend = Backend::default();
    backend.reject(57);
    let address = backend.serve().await;
    let engine = Engine::start(&format!(
        "[sinks.out]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"http://{address}\"\nbatch.timeout = \"2s\"\n"
    ))
    .await;
    let mut client = connect(engine.apps()).await;
    for part in 0..10 {
        client.export(request(part * 10..part * 10 + 10)).await.unwrap();
    }
    let ledger = eventually("the sink is at rest", || async {
        let ledger = engine.ledger("out").await;
        (ledger.held.queued + ledger.held.in_flight == 0).then_some(ledger)
    })
    .await;
    assert_eq!((ledger.accepted, ledger.delivered), (100, 90));
    assert_eq!(ledger.dropped.get("rejected"), Some(&10), "{ledger:?}");
    let mut taken: Vec<_> = backend.taken().into_iter().collect();
    taken.sort_unstable();
    let expected: Vec<_> = (0..50).chain(60..100).map(|record| (record, 1)).collect();
    assert_eq!(taken, expected);
}
