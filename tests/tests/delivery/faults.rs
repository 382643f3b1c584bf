//! The short form of each fault of the plan: what was answered OK arrives, nothing else does, and the ledger says so.
//!
//! How long anything takes is not asked here: the bars ask, and `tests/faults/run`.

use faults::{Length, Run, engine, find};

/// Records a second: what two cores carry besides everything else that is tested meanwhile.
const RATE: f64 = 4_000.0;
/// The seed to run with, in the environment; another one each time where it is missing.
const SEED: &str = "TESTS_FAULTS_SEED";

/// Runs a fault; it says what it did if something is not as it should be.
async fn run(id: &str) {
    let seed = std::env::var(SEED).map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    let run = Run { engine: engine::built().unwrap(), seed, length: Length::Short, rate: RATE };
    let scenario = find(id).unwrap();
    let report = scenario.run(&run).await.unwrap_or_else(|error| panic!("{error:?}"));
    assert!(report.violations.is_empty(), "{id}: {}\n{}", scenario.about, report.in_words());
}

/// A backend that comes and goes costs nothing and sends hardly anything twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_backend_that_comes_and_goes() {
    run("F12").await;
}

/// An answer that is lost behind the backend's success costs duplicates and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_answers_that_are_lost() {
    run("F15").await;
}
