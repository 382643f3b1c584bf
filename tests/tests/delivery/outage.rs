//! A backend that is away under load: clients are told to come again, memory stays bounded, nothing accepted is missing.
//!
//! The outage of the normal run is as short as it can be: until many requests have been refused. `tests/all --long` makes it
//! last as long as [`AWAY`] says.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;

use crate::backend::Backend;
use crate::engine::Engine;
use crate::eventually;
use crate::producer::Load;

/// Seconds that the backend is away at least, in the environment.
const AWAY: &str = "TESTS_OUTAGE_SECONDS";
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
    let began = Instant::now();
    backend.set_away(true);
    eventually("clients are refused", || std::future::ready((!load.told.refusals().is_empty()).then_some(()))).await;
    // The outage goes on under load after the buffer is full.
    let refused = load.told.refused();
    eventually("many more are refused", || std::future::ready((load.told.refused() > refused + 2000).then_some(())))
        .await;
    tokio::time::sleep_until(began + least()).await;
    let still = load.told.refused();
    eventually("clients still come and are refused", || {
        std::future::ready((load.told.refused() > still).then_some(()))
    })
    .await;
    let away = began.elapsed();
    backend.set_away(false);
    let before = load.told.accepted().len();
    eventually("clients are accepted again", || {
        std::future::ready((load.told.accepted().len() > before + 1000).then_some(()))
    })
    .await;
    let told = load.stop().await;
    assert_eq!(told.refusals(), [Code::Unavailable]);
    let accepted = told.accepted();
    eventually("everything accepted arrives", || {
        let taken = backend.taken();
        std::future::ready(accepted.iter().all(|record| taken.contains_key(record)).then_some(()))
    })
    .await;
    let ledger = eventually("the sink is at rest", || async {
        let ledger = engine.ledger("out").await;
        (ledger.held.queued + ledger.held.in_flight == 0).then_some(ledger)
    })
    .await;
    assert_eq!(ledger.accepted, ledger.delivered);
    let peak = engine.peak_memory();
    report(&format!(
        "the backend was away for {:.1} s: {} requests refused, {} records answered OK, {} missing of {} that arrived, \
         peak memory {} KiB of {} KiB allowed",
        away.as_secs_f64(),
        told.refused(),
        accepted.len(),
        accepted.iter().filter(|record| !backend.taken().contains_key(record)).count(),
        backend.taken().len(),
        peak / 1024,
        (BUFFER + ALLOWANCE) / 1024,
    ));
    assert!(peak <= BUFFER + ALLOWANCE, "peak memory {} KiB", peak / 1024);
}

/// How long the backend is away at least: no time of its own unless the environment says so.
fn least() -> Duration {
    let Ok(seconds) = std::env::var(AWAY) else { return Duration::ZERO };
    Duration::from_secs(seconds.parse().unwrap_or_else(|_| panic!("{AWAY} is `{seconds}`, expected whole seconds")))
}

#[allow(clippy::print_stdout, reason = "who runs the long form wants to see what it measured")]
fn report(line: &str) {
    println!("{line}");
}
