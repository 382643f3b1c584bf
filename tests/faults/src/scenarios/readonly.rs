//! A volume that is read-only: at a start of the engine, and from one moment to the next while it runs.
//!
//! The first is the kernel's own. It makes no volume read-only that a process has files open on to write to (EBUSY), as an engine has,
//! and there is no device here that could fail until a file system does it by itself; so for the second one every call of the buffer that
//! changes a file or takes one away is answered as the kernel would. Empty files can still be made.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{Instant, sleep};

use super::Scenario;
use super::disk::{READY, RESUMED, clients, on_disk, resumed};
use crate::engine::Engine;
use crate::engine::tracer::{self, Inject, Tracer};
use crate::engine::volume::Volume;
use crate::proxy::Mode;
use crate::scene::{Scene, ledger, until};
use crate::{Report, Run};

/// What is said of such a volume.
const SAID: &str = "Read-only file system";

pub(super) const READ_ONLY: Scenario = Scenario {
    id: "F5b",
    about: "the volume of a buffer is read-only when the engine starts, is mended, and becomes read-only while it runs",
    run: |run| Box::pin(read_only(run)),
};

async fn read_only(run: &Run) -> Result<Report> {
    if let Err(error) = tracer::find() {
        return Ok(Report::lacking(run.seed, "there is no strace", error));
    }
    let volume = match Volume::in_memory(64 << 20) {
        Ok(volume) => volume,
        Err(error) => return Ok(Report::lacking(run.seed, "cannot mount a volume", error)),
    };
    let lasts = run.choose([2, 20, 120].map(Duration::from_secs));
    let mut endpoint = None;
    let mut scene = Scene::start(run, |ways| {
        endpoint = Some(ways.faulty);
        on_disk(ways.faulty, &volume.path(), "32MiB")
    })
    .await?;
    scene.load("apps", &clients(run)).await?;
    scene.proxy.set(Mode::Refuse);
    until("something is held", async || ledger(&scene.engine, "out").await.is_ok_and(|ledger| ledger.held() > 1000))
        .await?;
    scene.engine.kill().await?;
    volume.forbid_writes()?;
    let endpoint = endpoint.context("there is a way")?;
    let none = Engine::start(&run.engine, &on_disk(endpoint, &volume.path().join("new"), "32MiB")).await.err();
    let none = none.map(|error| format!("{error:#}"));
    let says = none.as_ref().is_some_and(|text| text.contains(SAID) && text.contains("new/buffers/out"));
    scene.report.require(says, || format!("an engine without a buffer there is not refused by name: {none:?}"));
    let ready = scene.start_again().await?;
    scene.report.require_within("a start", ready, READY);
    let recovered = ledger(&scene.engine, "out").await?.recovered;
    let (said, refused) = nothing_is_taken(&mut scene, lasts).await?;
    scene.proxy.set(Mode::Pass);
    // Who sends is told to come again and again, so what was held can come to its end.
    until("what is held is delivered", async || {
        ledger(&scene.engine, "out").await.is_ok_and(|ledger| ledger.held() == 0)
    })
    .await?;
    let before = scene.told();
    volume.allow_writes()?;
    let resumed_at_first = resumed(&scene, &before).await?;
    no_problem(&scene).await?;
    let id = scene.engine.id().context("the engine runs")?;
    let tracer = Tracer::attach(id, scene.engine.folder(), Some(Inject::ReadOnly)).await?;
    let (said_live, refused_live) = nothing_is_taken(&mut scene, lasts).await?;
    let before = scene.told();
    let failed = tracer.end().await?.failed;
    scene.heal();
    let resumed_at_last = resumed(&scene, &before).await?;
    no_problem(&scene).await?;
    for resumed in [resumed_at_first, resumed_at_last] {
        scene.report.require_within("the first success", resumed, RESUMED);
    }
    scene.report.require_hit(recovered > 0, "nothing was on the volume");
    scene.report.require_hit(failed > 0, "no call failed");
    scene.report.require(scene.engine.starts() == 2, || "the engine has ended".to_owned());
    scene.report.measured.push(format!(
        "read-only at the start: {recovered} records found and delivered, {refused} requests refused, the buffer said: {said}; taken \
         again {:.2} s after it could be written",
        resumed_at_first.as_secs_f64()
    ));
    scene.report.measured.push(format!(
        "read-only while it runs: {failed} calls failed, {refused_live} requests refused, the buffer said: {said_live}; taken again \
         {:.2} s after it could be written",
        resumed_at_last.as_secs_f64()
    ));
    scene.judge().await
}

/// Waits until the buffer says what is wrong and clients are refused; for a time nothing is answered with success then. Says what the
/// buffer said and how many were refused.
async fn nothing_is_taken(scene: &mut Scene, lasts: Duration) -> Result<(String, u64)> {
    let before = scene.told().refused();
    scene.until_told("clients are refused", |told| told.refused() > before).await?;
    until("the buffer has a problem", async || problem(scene).await.is_some()).await?;
    let taken = scene.told().acknowledged();
    let (began, mut said) = (Instant::now(), None);
    while began.elapsed() < lasts {
        // Between two attempts to write the problem stays.
        said = problem(scene).await;
        let text = said.clone().unwrap_or_default();
        scene.report.require(text.contains(SAID), || format!("the buffer says: {said:?}"));
        sleep(lasts / 20).await;
    }
    let told = scene.told();
    let more = told.acknowledged() - taken;
    scene.report.require(more == 0, || format!("{more} records were answered with success and could not be written"));
    Ok((said.unwrap_or_default(), told.refused() - before))
}

async fn no_problem(scene: &Scene) -> Result<()> {
    until("the buffer has no problem", async || problem(scene).await.is_none()).await
}

async fn problem(scene: &Scene) -> Option<String> {
    scene.engine.status().await.ok().and_then(|status| status.buffer("out")?.problem.clone())
}
