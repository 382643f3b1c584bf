//! A backend that is away under load: clients are told to come again, memory stays bounded, nothing accepted is missing.

use tonic::Code;

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;
use crate::producer::Load;

const BUFFER: u64 = 2 << 20;
/// What the program may use besides its buffer.
const ALLOWANCE: u64 = 64 << 20;

/// Buffer fills, clients get retryable answers only, the backend comes back, everything accepted arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_costs_nothing_that_was_accepted() {
    let backend = Backend::default();
    let address = backend.serve().await;
    let engine = Engine::start(&format!(
        "[sinks.out]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"http://{address}\"\n\
         buffer.max_size = {BUFFER}\nbatch.max_size = \"256KiB\"\n"
    ))
    .await;
    let load = Load::start(engine.apps(), 4).await;
    eventually("records arrive", || std::future::ready((backend.taken().len() > 500).then_some(()))).await;
    backend.set_away(true);
    eventually("clients are refused", || std::future::ready((!load.told.refusals().is_empty()).then_some(()))).await;
    // The outage goes on under load after the buffer is full.
    let refused = load.told.refused();
    eventually("many more are refused", || std::future::ready((load.told.refused() > refused + 2000).then_some(())))
        .await;
    backend.set_away(false);
    let before = load.told.accepted().len();
    eventually("clients are accepted again", || {
        std::future::ready((load.told.accepted().len() > before + 1000).then_some(()))
    })
    .await;
    let told = load.stop().await;
    assert_eq!(told.refusals(), [Code::Unavailable]);
    eventually("everything accepted arrives", || {
        let taken = backend.taken();
        std::future::ready(told.accepted().iter().all(|record| taken.contains_key(record)).then_some(()))
    })
    .await;
    let ledger = eventually("the sink is at rest", || async {
        let ledger = engine.ledger("out").await;
        (ledger.held.queued + ledger.held.in_flight == 0).then_some(ledger)
    })
    .await;
    assert_eq!(ledger.accepted, ledger.delivered);
    let peak = engine.peak_memory();
    assert!(peak <= BUFFER + ALLOWANCE, "peak memory {} KiB", peak / 1024);
}
