//! A buffer on disk under a process that dies, and a disk that is full or fails.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep};

use super::Scenario;
use crate::engine::{tracer, volume::Volume};
use crate::oracle::Oracle;
use crate::producer::{Load, Told};
use crate::proxy::Mode;
use crate::scene::{HEAD, Scene, sink, source, until};
use crate::{Report, Run};

/// Requests that a kill may send twice at most. Of the clients each has one that is not answered; the sink has handed out four
/// batches of two each; and of what was delivered up to 32 are not yet noted on the disk.
const WINDOW: u64 = CLIENTS as u64 + 8 + 32;
pub(super) const CLIENTS: u32 = 24;
/// Records of a request.
const BATCH: u64 = 20;
/// How soon a start must be ready, and how soon data is taken again once there is room.
pub(super) const READY: Duration = Duration::from_secs(5);
pub(super) const RESUMED: Duration = Duration::from_secs(5);

/// A sink that has few requests under way.
const KEYS: &str = "batch.max_records = 40\nbatch.timeout = \"20ms\"\nconcurrency = 4\ntimeout = \"2s\"\nretry.max_interval = \"500ms\"\n";

/// What comes in at `apps` waits on disk, below a directory, before it goes out.
pub(super) fn on_disk(endpoint: std::net::SocketAddr, state: &Path, size: &str) -> String {
    let buffer = format!("{KEYS}buffer = {{ type = \"disk\", max_size = \"{size}\" }}\n");
    let state = format!("state.directory = \"{}\"\n", state.display());
    [HEAD, &state, &source("apps"), &sink("out", "apps", endpoint, &buffer)].concat()
}

pub(super) fn clients(run: &Run) -> Load {
    Load { batch: BATCH, ..Load::new(run.rate).of(0, CLIENTS, "all") }
}

pub(super) const KILLED: Scenario = Scenario {
    id: "F1",
    about: "kill -9 at random moments under load, the backend there or not, and a new start each time",
    run: |run| Box::pin(killed(run)),
};

async fn killed(run: &Run) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut scene = Scene::start(run, |ways| on_disk(ways.faulty, Path::new("{folder}/state"), "64MiB")).await?;
    scene.load("apps", &clients(run)).await?;
    let rounds = run.choose([8, 100, 200]);
    let (mut under_way, mut recovered, mut slowest, mut most) = (0, 0, Duration::ZERO, 0);
    let mut before = 0;
    for _ in 0..rounds {
        // A kill finds the backend there, away, or as it has just come back.
        if random.random_bool(0.3) {
            scene.proxy.set(Mode::Refuse);
        }
        sleep(Duration::from_millis(random.random_range(50..500))).await;
        until("a request is under way", async || scene.told().under_way > 0).await?;
        under_way += scene.told().under_way;
        scene.engine.kill().await?;
        scene.proxy.set(Mode::Pass);
        let ready = scene.start_again().await?;
        slowest = slowest.max(ready);
        recovered += scene.engine.status().await?.ledger("out").map_or(0, |ledger| ledger.recovered);
        let duplicates = scene.oracle.counts().duplicates;
        most = most.max(duplicates - before);
        before = duplicates;
    }
    scene.heal();
    let told = scene.told();
    scene.report.require_within("a start", slowest, READY);
    scene.report.require_hit(under_way > 0 && told.cut_off > 0, "no request was cut off by a kill");
    scene.report.require_hit(recovered > 0, "nothing was left on disk by a kill");
    scene.report.measured.push(format!(
        "{rounds} kills, {under_way} requests under way, {} cut off; {recovered} records found again; the slowest start took \
         {:.2} s",
        told.cut_off,
        slowest.as_secs_f64()
    ));
    let mut report = scene.judge().await?;
    require_few_twice(&mut report, rounds, most, BATCH);
    let duplicates = report.findings.duplicates;
    report.require_hit(duplicates > 0, "nothing came twice although requests were cut off");
    Ok(report)
}

/// Requires that for each kill no more came twice than a window of requests, of so many records each.
pub(super) fn require_few_twice(report: &mut Report, kills: u64, most: u64, batch: u64) {
    let (duplicates, window) = (report.findings.duplicates, WINDOW * batch);
    report
        .measured
        .push(format!("{duplicates} records twice, {most} at most between two kills, window {window} a kill"));
    report.require(duplicates <= kills * window, || {
        format!("{duplicates} records came twice, at most {window} for each of {kills} kills")
    });
}

pub(super) const FULL: Scenario = Scenario {
    id: "F3",
    about: "the volume of a buffer becomes full while the backend is away",
    run: |run| Box::pin(full(run)),
};

async fn full(run: &Run) -> Result<Report> {
    let volume = match Volume::in_memory(run.choose([16, 64, 64]) << 20) {
        Ok(volume) => volume,
        Err(error) => return Ok(Report::lacking(run.seed, "cannot mount a volume", error)),
    };
    let mut scene = Scene::start(run, |ways| on_disk(ways.faulty, &volume.path(), "512MiB")).await?;
    let load = Load { batch: 100, ..Load::new(run.rate * 4.0).of(0, CLIENTS, "all") };
    scene.load("apps", &load).await?;
    scene.proxy.set(Mode::Refuse);
    scene.until_told("clients are refused", |told| told.refused() > 0).await?;
    let held = scene.told().acknowledged();
    let free = free_bytes(&volume.path())?;
    let engine = &scene.engine;
    until("the buffer says what is wrong", async || {
        engine.status().await.is_ok_and(|status| status.buffer("out").is_some_and(|buffer| buffer.problem.is_some()))
    })
    .await?;
    sleep(run.choose([2, 30, 600].map(Duration::from_secs))).await;
    let buffer = scene.engine.status().await?.buffer("out").cloned().unwrap_or_default();
    scene.proxy.set(Mode::Pass);
    scene.heal();
    let before = scene.told();
    let resumed = resumed(&scene, &before).await?;
    scene.report.require_within("the first success", resumed, RESUMED);
    scene.report.measured.push(format!(
        "{held} records taken until it was full, {} bytes free then; {} requests refused; the buffer said: {}; taken again \
         {:.2} s after the backend was there",
        free,
        before.refused(),
        buffer.problem.as_deref().unwrap_or("nothing"),
        resumed.as_secs_f64()
    ));
    scene.report.require_hit(free < 2 << 20, "the volume was not full");
    scene.judge().await
}

/// How long it takes until more is acknowledged than was.
pub(super) async fn resumed(scene: &Scene, before: &Told) -> Result<Duration> {
    let (began, least) = (Instant::now(), before.acknowledged());
    scene.until_told("clients are accepted again", |told| told.acknowledged() > least).await?;
    Ok(began.elapsed())
}

fn free_bytes(path: &Path) -> Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail * space.f_frsize)
}

pub(super) const FILLED: Scenario = Scenario {
    id: "F4",
    about: "somebody else fills the volume of a buffer while the backend is away, and while it drains",
    run: |run| Box::pin(filled(run)),
};

async fn filled(run: &Run) -> Result<Report> {
    let volume = match Volume::in_memory(48 << 20) {
        Ok(volume) => volume,
        Err(error) => return Ok(Report::lacking(run.seed, "cannot mount a volume", error)),
    };
    let mut scene = Scene::start(run, |ways| on_disk(ways.faulty, &volume.path(), "32MiB")).await?;
    scene.load("apps", &clients(run)).await?;
    scene.proxy.set(Mode::Refuse);
    sleep(run.choose([2, 5, 20].map(Duration::from_secs))).await;
    let filled = volume.fill()?;
    let refused = scene.told().refused();
    scene.until_told("clients are refused", |told| told.refused() > refused).await?;
    let held = scene.engine.status().await?.ledger("out").map_or(0, |ledger| ledger.held());
    // Everything that becomes free is somebody else's at once.
    scene.proxy.set(Mode::Pass);
    let began = Instant::now();
    let mut taken = 0;
    let rest =
        async || scene.engine.status().await.map_or(u64::MAX, |status| status.ledger("out").map_or(0, |it| it.held()));
    until("what is on disk is delivered", async || {
        taken += volume.fill().unwrap_or_default();
        rest().await < held / 20
    })
    .await?;
    let drained = began.elapsed();
    let before = scene.told();
    volume.empty()?;
    scene.heal();
    let resumed = resumed(&scene, &before).await?;
    scene.report.require_within("the first success", resumed, RESUMED);
    scene.report.measured.push(format!(
        "{held} records held, {filled} bytes taken by somebody else and {taken} more while it drained in {:.1} s; {} requests \
         refused; taken again {:.2} s after there was room",
        drained.as_secs_f64(),
        before.refused(),
        resumed.as_secs_f64()
    ));
    scene.report.require_hit(held > 0, "nothing was on disk");
    scene.judge().await
}

pub(super) const FAILING: Scenario = Scenario {
    id: "F5",
    about: "the disk of a buffer answers fdatasync with an error, again and again",
    run: |run| Box::pin(failing(run)),
};

async fn failing(run: &Run) -> Result<Report> {
    if let Err(error) = tracer::find() {
        return Ok(Report::lacking(run.seed, "there is no strace", error));
    }
    let inject = run.choose(["100..105", "500..515", "500..600"]);
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"];
    let mut command: Vec<std::ffi::OsString> = strace.map(Into::into).into();
    command.push(format!("inject=fdatasync:error=EIO:when={inject}").into());
    command.push(run.engine.clone().into());
    let oracle = Oracle::default();
    let backend = crate::backend::serve_oracle(&oracle).await?;
    let mut scene = Scene::start_with(run, oracle, backend, command, |ways| {
        on_disk(ways.faulty, Path::new("{folder}/state"), "64MiB")
    })
    .await?;
    scene.load("apps", &clients(run)).await?;
    let problem = async || scene.engine.status().await.ok().and_then(|status| status.buffer("out")?.problem.clone());
    until("the buffer has a problem", async || problem().await.is_some()).await?;
    let said = problem().await;
    scene.until_told("clients are refused", |told| told.refused() > 0).await?;
    until("the buffer has no problem", async || problem().await.is_none()).await?;
    scene.heal();
    scene.until_more_came(1000).await?;
    let told = scene.told();
    scene.report.measured.push(format!("{} requests refused; the buffer said: {said:?}", told.refused()));
    scene.report.require_hit(told.refused() > 0, "nobody was refused");
    scene.judge().await
}
