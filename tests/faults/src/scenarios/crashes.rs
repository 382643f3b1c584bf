//! A process that dies at named points: at each kind of system call that its buffer makes, such as making a segment, writing it,
//! making it last, noting what is completed, and taking a segment away.
//!
//! Which kinds there are is not written here: they are looked at first, in the same engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::time::{Instant, sleep};

use super::Scenario;
use super::disk::{CLIENTS, on_disk, require_few_twice};
use crate::engine::POLL;
use crate::engine::tracer::{self, Call, Traced};
use crate::engine::volume::files;
use crate::producer::Load;
use crate::scene::Scene;
use crate::{Report, Run};

/// The smallest buffer, and what a segment of it is at most: an end of it is reached several times a second.
const SIZE: &str = "8MiB";
const SEGMENT: u64 = 512 << 10;
/// Records of a request.
const BATCH: u64 = 100;
/// How long an engine may go on without coming to its point, before another one is drawn.
const NOT_REACHED: Duration = Duration::from_secs(4);
/// The first so many calls of a kind of which one is drawn.
const FIRST: usize = 3;
/// Attempts for each kill that is asked for.
const ATTEMPTS: usize = 6;
/// How soon a start must be ready, and how soon what is delivered must have given its space back.
const READY: Duration = Duration::from_secs(5);
const GIVEN_BACK: Duration = Duration::from_secs(5);

pub(super) const CRASHED: Scenario = Scenario {
    id: "F8",
    about: "the process dies at each kind of system call that its buffer makes: rotation, deletion, notes of what is delivered",
    run: |run| Box::pin(crashed(run)),
};

async fn crashed(run: &Run) -> Result<Report> {
    if let Err(error) = tracer::find() {
        return Ok(Report::lacking(run.seed, "there is no strace", error));
    }
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut scene = Scene::start(run, |ways| on_disk(ways.faulty, Path::new("{folder}/state"), SIZE)).await?;
    let load = |first| Load { batch: BATCH, ..Load::new(run.rate * 4.0).of(first, CLIENTS, "all") };
    // Files that are made once are there before anybody looks.
    scene.load("apps", &Load { requests: Some(2), ..load(2 * CLIENTS) }).await?;
    let seen = look(&mut scene, &load(0), run.choose([2, 5, 10])).await?;
    scene.settle().await?;
    let baseline = on_disk_bytes(&scene)?;
    let mut hits: BTreeMap<Call, u64> = seen.calls.iter().map(|call| (call.clone(), 0)).collect();
    scene.load("apps", &load(CLIENTS)).await?;
    scene.engine.kill().await?;
    let wanted = run.choose([1, 5, 20]);
    let (mut slowest, mut most, mut kills) = (Duration::ZERO, 0, 1);
    let mut before = scene.oracle.counts().duplicates;
    for _ in 0..ATTEMPTS * hits.len() * usize::try_from(wanted)? {
        let Some(least) = hits.values().min().copied().filter(|least| *least < wanted) else { break };
        let rarest: Vec<_> = hits.iter().filter(|(_, count)| **count == least).map(|(call, _)| call.clone()).collect();
        let call = rarest.choose(&mut random).context("there is a rarest one")?;
        let points = seen.points(call);
        let point = points[..points.len().min(FIRST)].choose(&mut random).cloned();
        let (ready, tracer) = scene.start_again_traced(point.clone()).await?;
        slowest = slowest.max(ready);
        let is_dead = scene.engine.ended(NOT_REACHED).await.is_ok();
        if let Some(call) = tracer.end().await?.killed_at.filter(|_| is_dead) {
            *hits.entry(call).or_default() += 1;
            kills += 1;
        } else if is_dead {
            scene.report.violations.push("the engine ended by itself".to_owned());
        } else {
            scene.report.measured.push(format!("not reached in {} s: {point:?}", NOT_REACHED.as_secs()));
            scene.engine.kill().await?;
            kills += 1;
        }
        let duplicates = scene.oracle.counts().duplicates;
        most = most.max(duplicates - before);
        before = duplicates;
    }
    slowest = slowest.max(scene.start_again().await?);
    scene.until_more_came(1).await?;
    scene.heal();
    scene.settle().await?;
    let left = given_back(&scene, baseline + SEGMENT).await?;
    scene.report.require_within("a start", slowest, READY);
    let never: Vec<_> = hits.iter().filter(|(_, count)| **count == 0).map(|(call, _)| call.to_string()).collect();
    scene.report.require_hit(never.is_empty(), &format!("the process was never killed at {}", never.join(", ")));
    let takes_away =
        |call: &Call| call.file.contains("segment") && ["unlink", "rename"].iter().any(|it| call.name.starts_with(it));
    scene.report.require_hit(hits.keys().any(takes_away), "no segment was taken away");
    scene.report.require_hit(hits.keys().any(|call| call.kind == "its header"), "no segment was begun");
    scene.report.require(left <= baseline + SEGMENT, || {
        format!(
            "{left} bytes are left on disk with nothing in them, {baseline} before; at most a segment of {SEGMENT} more"
        )
    });
    let counted: Vec<_> = hits.iter().map(|(call, count)| format!("{count} at {call}")).collect();
    scene.report.measured.push(format!("killed {}", counted.join(", ")));
    scene.report.measured.push(format!(
        "the slowest of {} starts took {:.2} s; {baseline} bytes on disk before with nothing held, {left} afterwards",
        scene.engine.starts(),
        slowest.as_secs_f64()
    ));
    let mut report = scene.judge().await?;
    require_few_twice(&mut report, kills, most, BATCH);
    Ok(report)
}

/// Looks at which calls a buffer makes from the start of its engine on.
async fn look(scene: &mut Scene, load: &Load, seconds: u64) -> Result<Traced> {
    scene.engine.kill().await?;
    let (_, tracer) = scene.start_again_traced(None).await?;
    scene.load("apps", load).await?;
    sleep(Duration::from_secs(seconds)).await;
    tracer.end().await
}

/// Bytes of the files of the buffer.
fn on_disk_bytes(scene: &Scene) -> Result<u64> {
    let all = files(&scene.engine.folder().join("state/buffers/out"))?;
    // One that has just gone takes nothing.
    Ok(all.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum())
}

/// Waits until no more than so many bytes are left, and says how many are.
async fn given_back(scene: &Scene, most: u64) -> Result<u64> {
    let began = Instant::now();
    loop {
        let left = on_disk_bytes(scene)?;
        if left <= most || began.elapsed() > GIVEN_BACK {
            return Ok(left);
        }
        sleep(POLL).await;
    }
}
