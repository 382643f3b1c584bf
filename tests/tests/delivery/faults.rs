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
    if let Some(reason) = report.skipped {
        cluster::or_skip::<()>(Err(cluster::StartError::Missing(vec![reason])));
        return;
    }
    assert!(report.violations.is_empty(), "{id}: {}\n{}", scenario.about, report.in_words());
}

/// What was answered OK from a buffer on disk survives every kill, and no kill costs more than a window of duplicates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f01_kills_above_a_disk_buffer() {
    run("F1").await;
}

/// While the volume is full clients are told to come again, and it goes on by itself once the backend is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f03_a_full_volume() {
    run("F3").await;
}

/// A buffer on a volume that somebody else has filled still drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f04_a_volume_that_somebody_else_fills() {
    run("F4").await;
}

/// What could not be synced is not answered OK, and the buffer goes on when the disk does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_a_disk_that_fails() {
    run("F5").await;
}

/// From a volume that is read-only everything is delivered, and nothing is answered OK until it can be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05b_a_read_only_volume() {
    run("F5b").await;
}

/// A flipped bit costs at most the payload that it hit, and exactly that is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_flipped_bits() {
    run("F6").await;
}

/// Whatever was done to the files of a buffer, the rest is delivered, and what is not is counted; a newer version is not
/// touched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f07_damaged_files() {
    run("F7").await;
}

/// A process that dies at any call of its buffer, such as the making or removal of a file, starts again, and leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_kills_at_each_call_of_a_buffer() {
    run("F8").await;
}

/// A buffer is of one engine at a time and of one identity, whatever else changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_whose_a_buffer_is() {
    run("F9").await;
}

/// A backend that is stopped holds up its own pipeline, whose clients are told to come again, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_a_backend_that_is_stopped() {
    run("F10").await;
}

/// Behind a slow backend clients are told to come again, and memory stays bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_a_slow_backend() {
    run("F11").await;
}

/// A backend that comes and goes costs nothing and sends hardly anything twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_backend_that_comes_and_goes() {
    run("F12").await;
}

/// Of what a backend answers exactly that is dropped and counted that it refuses for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f13_wrong_answers() {
    run("F13").await;
}

/// Connections that break, and a way that passes one way only, cost no more than what was under way, twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_broken_way() {
    run("F14").await;
}

/// Through a link that is too narrow something comes all the time, and clients are told to come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14b_a_narrow_link() {
    run("F14b").await;
}

/// An answer that is lost behind the backend's success costs duplicates and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_answers_that_are_lost() {
    run("F15").await;
}

/// With little memory very many clients are told to come again, and the kernel has nobody to kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_little_memory() {
    run("F17").await;
}

/// Every end in good order is preceded by not being ready, loses nothing and sends nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_sigterm_under_load() {
    run("F19").await;
}

/// An end that is made short acknowledges nothing that has not arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_an_end_that_is_made_short() {
    run("F20").await;
}

/// A pipeline that does everything wrong loses its own data, counted, and nothing of its neighbour's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f29_a_noisy_neighbour() {
    run("F29").await;
}

/// Whatever comes after whatever, nothing that was answered OK is missing, and nothing of it stays in memory, open, or on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f30_all_kinds_of_faults() {
    run("F30").await;
}
