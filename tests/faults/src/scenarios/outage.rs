//! A backend that is stopped or slow: what its own pipeline does meanwhile, and what others lose by it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Scenario;
use crate::backend::serve_oracle;
use crate::engine::Engine;
use crate::engine::figures::Stopped;
use crate::oracle::{Oracle, Tally};
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{HEAD, Scene, hop, ledger, sink, source, until};
use crate::{Report, Run};

/// The first client of the pipeline that nothing happens to.
const OTHERS: u32 = 1000;
/// Of what came in a second of another pipeline before, the share that must come meanwhile.
const LEAST: f64 = 0.9;
/// How soon clients must be told that nothing more is taken.
const TOLD: Duration = Duration::from_secs(5);
/// Memory besides the buffer that the engine may use, in MiB.
const ALLOWANCE: u64 = 64;

pub(super) const STOPPED: Scenario = Scenario {
    id: "F10",
    about: "a backend is stopped: it takes connections and does not answer; another pipeline has another backend",
    run: |run| Box::pin(stopped(run)),
};

/// The backend is a process: an engine that passes on to the oracle what it takes, and answers when the oracle has. SIGSTOP
/// stops all of it, while the kernel still takes connections for it and what fits into their windows.
async fn stopped(run: &Run) -> Result<Report> {
    let oracle = Oracle::default();
    let behind = serve_oracle(&oracle).await?;
    let mut backend = Engine::start(&run.engine, &hop(behind, "acknowledge = \"delivered\"\n")).await?;
    let address = (*backend.target("apps").borrow()).context("the backend listens")?;
    let buffer = run.choose([1, 16, 64]);
    let mut scene = Scene::start_with(run, oracle, address, vec![run.engine.clone().into()], |ways| {
        let keys = format!("buffer.max_size = \"{buffer}MiB\"\ntimeout = \"1s\"\nretry.max_interval = \"1s\"\n");
        let [hit, other] = [sink("hit", "apps", ways.good, &keys), sink("other", "others", behind, "")];
        [HEAD, &source("apps"), &source("others"), &hit, &other].concat()
    })
    .await?;
    let hit = Load::new(run.rate / 2.0);
    let others = Load::new(run.rate / 2.0).of(OTHERS, 32, "others");
    scene.load("apps", &hit).await?;
    scene.load("others", &others).await?;
    let is_other = |client| others.numbers().contains(&client);
    scene.oracle.take_latencies(is_other);
    let warm = run.choose([2, 15, 20].map(Duration::from_secs));
    sleep(warm).await;
    let before = scene.oracle.take_latencies(is_other);
    let lasts = run.choose([4, 40, 300].map(Duration::from_secs));
    let id = backend.id().context("the backend runs")?;
    backend.signal(Signal::STOP)?;
    until("the backend is stopped", async || Stopped::of(id).is_some()).await?;
    let at_first = Stopped::of(id);
    sleep(lasts).await;
    let at_last = Stopped::of(id);
    let meanwhile = scene.oracle.take_latencies(is_other);
    let (pace_before, pace) = (before.len() as f64 / warm.as_secs_f64(), meanwhile.len() as f64 / lasts.as_secs_f64());
    if pace < pace_before * LEAST {
        scene.report.late.push(format!("{pace:.0} records a second of the other pipeline, {pace_before:.0} before"));
    }
    let status = scene.engine.status().await?;
    let held = ledger(&scene.engine, "hit").await?.held();
    backend.signal(Signal::CONT)?;
    scene.heal();
    let refused = scene.told().refused();
    let (attempts, said) = (status.errors("hit"), status.last_error("hit").unwrap_or("nothing").to_owned());
    let is_stopped = at_first.is_some() && at_first == at_last;
    scene.report.require_hit(is_stopped, &format!("the backend was not stopped: {at_first:?}, then {at_last:?}"));
    scene.report.require_hit(refused > 0 && held > 0 && attempts > 0, "the buffer was not full, or no attempt failed");
    scene
        .report
        .require(said.contains("no answer"), || format!("no attempt went without an answer: the sink says {said}"));
    scene.report.require_same_pace(&before, &meanwhile);
    // What waits for another attempt waits its time; the pace is that of what comes behind it.
    let came =
        || hit.numbers().map(|client| scene.oracle.with(client, |it| it.map_or(0, Tally::distinct))).sum::<u64>();
    let before = came();
    until("the first records come again", async || came() > before).await?;
    let began = Instant::now();
    let rest = async || ledger(&scene.engine, "hit").await.map_or(u64::MAX, |ledger| ledger.held());
    until("most of what was held is delivered", async || rest().await <= held / 4).await?;
    let drained = (held - held / 4) as f64 / began.elapsed().as_secs_f64();
    if drained < run.rate {
        scene.report.late.push(format!("{drained:.0} records a second when it went on, at least twice what comes in"));
    }
    scene
        .report
        .measured
        .push(format!("{held} records held, {drained:.0} a second when it went on, {attempts} attempts failed"));
    let mut report = scene.judge().await?;
    report.require_balance(&backend.status().await?);
    report.measured.push(format!(
        "the process of the backend was in state T for {} s without a tick of processor time; the sink said: {said}; {} records \
         twice, which it had not answered for",
        lasts.as_secs(),
        report.findings.duplicates
    ));
    Ok(report)
}

pub(super) const SLOW: Scenario = Scenario {
    id: "F11",
    about: "a backend reads slowly, then hardly at all, then answers late",
    run: |run| Box::pin(slow(run)),
};

async fn slow(run: &Run) -> Result<Report> {
    let buffer = 1;
    let keys = format!(
        "buffer.max_size = \"{buffer}MiB\"\nbatch.max_size = \"16KiB\"\nconcurrency = 2\ntimeout = \"15s\"\n\
         retry.max_interval = \"1s\"\n"
    );
    let mut scene = Scene::start(run, |ways| hop(ways.faulty, &keys)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    let part = run.choose([3, 20, 60].map(Duration::from_secs));
    let began = Instant::now();
    scene.proxy.set(Mode::Slow(50_000));
    scene.until_told("clients are refused", |told| told.refused() > 0).await?;
    let told = began.elapsed();
    scene.report.require_within("the first refusal", told, TOLD);
    sleep(part).await;
    let late = run.choose([1, 5, 10].map(Duration::from_secs));
    for mode in [Mode::Slow(1), Mode::Delay(late)] {
        scene.proxy.set(mode);
        let before = scene.told().refused();
        sleep(part).await;
        let refused = scene.told().refused() - before;
        scene.report.require_hit(refused > 0, &format!("nobody was refused meanwhile: {mode:?}"));
    }
    scene.proxy.set(Mode::Pass);
    scene.heal();
    let mut report = scene.judge().await?;
    let peak = report.peak.resident / 1024;
    report.require(peak <= buffer + ALLOWANCE, || {
        format!("peak memory {peak} MiB, the buffer of {buffer} MiB and {ALLOWANCE} MiB at most")
    });
    report.measured.push(format!("clients were refused {:.1} s after it became slow", told.as_secs_f64()));
    Ok(report)
}
