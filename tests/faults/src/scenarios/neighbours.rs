//! A pipeline that does everything wrong beside one that does not, behind the same source.
//!
//! Not here: a component that panics. No configuration and no data is known that makes one of a real engine panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;
use tonic::Code;

use super::Scenario;
use crate::backend::{Reply, serve};
use crate::judge;
use crate::oracle::Oracle;
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{HEAD, Scene, ledger, sink, source};
use crate::{Report, Run};

/// The first client of the pipeline that does nothing wrong, and how many there are.
const GOOD: u32 = 10_000;
const GOOD_CLIENTS: u32 = 4;
/// For each of them so many send to the other one.
const TIMES: u32 = 50;

pub(super) const NOISY: Scenario = Scenario {
    id: "F29",
    about: "a pipeline with 50 times the clients, poisonous records and a dead backend, beside another one",
    run: |run| Box::pin(noisy(run)),
};

/// A pipeline that takes what says its name.
fn pipeline(name: &str, endpoint: std::net::SocketAddr, keys: &str) -> String {
    let select = format!(
        "[transforms.is-{name}]\ntype = \"select\"\ninputs = [\"apps\"]\nkeep = {{ \"group\" = [\"{name}\"] }}\n"
    );
    [select, sink(name, &format!("is-{name}"), endpoint, keys)].concat()
}

async fn noisy(run: &Run) -> Result<Report> {
    let oracle = Oracle::default();
    let (is_poisoned, poison) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let backend = {
        let (oracle, is_poisoned, poison) = (oracle.clone(), Arc::clone(&is_poisoned), Arc::clone(&poison));
        let refused = Reply::Grpc(Code::InvalidArgument as i32, None);
        serve(Arc::new(move |_, message| {
            let Ok(came) = crate::record::read(message) else { return refused.clone() };
            let is_noise = came.iter().flatten().any(|came| came.id.client < GOOD);
            if is_noise && is_poisoned.load(Ordering::Relaxed) {
                poison.fetch_add(1, Ordering::Relaxed);
                return refused.clone();
            }
            oracle.take_records(&came);
            Reply::Success
        }))
        .await?
    };
    let command = vec![run.engine.clone().into()];
    let mut scene = Scene::start_with(run, oracle, backend, command, |ways| {
        let noisy = pipeline("noisy", ways.faulty, "buffer.max_size = \"1MiB\"\ntimeout = \"1s\"\n");
        [HEAD, &source("apps"), &noisy, &pipeline("good", ways.good, "")].concat()
    })
    .await?;
    scene.probed = "good";
    let good = Load::new(run.rate / 10.0).of(GOOD, GOOD_CLIENTS, "good");
    let noise = Load::new(run.rate).of(0, GOOD_CLIENTS * TIMES, "noisy");
    let is_good = |client: u32| good.numbers().contains(&client);
    scene.load("apps", &good).await?;
    scene.oracle.take_latencies(is_good);
    sleep(run.choose([2, 15, 20].map(Duration::from_secs))).await;
    let before = scene.oracle.take_latencies(is_good);
    scene.proxy.set(Mode::Hold);
    scene.send("apps", &noise);
    let part = run.choose([2, 15, 30].map(Duration::from_secs));
    for mode in [Mode::Hold, Mode::Refuse, Mode::Pass] {
        scene.proxy.set(mode);
        is_poisoned.store(mode == Mode::Pass, Ordering::Relaxed);
        sleep(part).await;
    }
    let meanwhile = scene.oracle.take_latencies(is_good);
    is_poisoned.store(false, Ordering::Relaxed);
    scene.heal();
    // What the full buffer had no room for, and what its backend has refused, is lost to the noisy one and counted.
    let told = scene.stop().await;
    scene.allow_lost(u64::MAX);
    scene.settle().await?;
    let lost = ledger(&scene.engine, "noisy").await?.dropped;
    let counted: u64 = lost.values().sum();
    scene.forbid_lost();
    scene.allow_lost(counted);
    let of_good: u64 = good.numbers().map(|client| judge::missing(&told, &scene.oracle, client)).sum();
    let of_noise: u64 = noise.numbers().map(|client| judge::missing(&told, &scene.oracle, client)).sum();
    let refusals = poison.load(Ordering::Relaxed);
    scene.report.require_hit(lost.contains_key("full"), "the buffer of the noisy one was not full");
    scene.report.require_hit(refusals > 0, "no poisonous record was refused");
    scene.report.require(of_good == 0, || format!("{of_good} records of the good one are missing"));
    scene
        .report
        .require(of_noise <= counted, || format!("{of_noise} records of the noisy one are missing, {lost:?} counted"));
    scene.report.require_same_pace(&before, &meanwhile);
    scene.report.measured.push(format!(
        "good: {of_good} missing; noisy: {of_noise} missing, counted {lost:?}, {refusals} requests refused by its backend"
    ));
    scene.judge().await
}
