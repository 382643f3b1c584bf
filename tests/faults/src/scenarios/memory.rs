//! A process that the kernel gives little memory, and very many clients.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::Scenario;
use crate::engine::group::Group;
use crate::oracle::Oracle;
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{Scene, hop};
use crate::{Report, Run};

/// What the kernel gives, in bytes.
const LIMIT: u64 = 128 << 20;
/// Clients, and records of each request.
const CLIENTS: u32 = 500;
const BATCH: u64 = 200;
/// How soon data must flow again.
const RECOVERED: Duration = Duration::from_secs(10);

pub(super) const BOUNDED: Scenario = Scenario {
    id: "F17",
    about: "500 clients with large requests and a backend that does not answer, in 128 MiB",
    run: |run| Box::pin(bounded(run)),
};

async fn bounded(run: &Run) -> Result<Report> {
    let group = match Group::new(LIMIT) {
        Ok(group) => group,
        Err(error) => {
            let mut report = Report { seed: run.seed, ..Report::default() };
            report.skipped = Some(format!("cannot make a control group of memory, version 1: {error}"));
            return Ok(report);
        }
    };
    let oracle = Oracle::default();
    let backend = crate::backend::serve_oracle(&oracle).await?;
    let command = group.command(&run.engine);
    let mut scene =
        Scene::start_with(run, oracle, backend, command, |ways| hop(ways.faulty, "timeout = \"2s\"\n")).await?;
    let load = Load { batch: BATCH, ..Load::new(run.rate * 20.0).of(0, CLIENTS, "all") };
    scene.proxy.set(Mode::Hold);
    scene.send("apps", &load);
    scene.until_told("clients are refused", |told| told.refused() > 0).await?;
    let least = run.choose(1_000, 50_000);
    scene.until_told("many more are refused", |told| told.refused() > least).await?;
    let refused = scene.told().refused();
    scene.proxy.set(Mode::Pass);
    scene.heal();
    let began = Instant::now();
    let before = scene.told().acknowledged();
    scene.until_told("clients are accepted again", |told| told.acknowledged() > before + BATCH).await?;
    scene.report.require_within("the first success", began.elapsed(), RECOVERED);
    let starts = scene.engine.starts();
    scene.report.require(starts == 1 && scene.engine.id().is_some(), || "the engine has ended".to_owned());
    let mut report = scene.judge().await?;
    let peak = group.peak()?;
    report.measured.push(format!(
        "{refused} requests refused; the group has held {:.1} MiB of {} MiB",
        peak as f64 / f64::from(1 << 20),
        LIMIT >> 20
    ));
    Ok(report)
}
