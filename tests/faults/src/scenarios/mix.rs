//! All kinds of faults in an order that is drawn, for a long time: first with those that end the process, then without them in one
//! process, which must have afterwards what it had before: memory, open files, and files of its buffer.
//!
//! Ten minutes cannot show a slope of less than 1 % an hour: that is a few KiB, and the same memory differs by more from one moment to
//! the next. What they show is a leak that every fault adds to, as hundreds of them are done to one process, and one of some MiB in
//! minutes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Scenario;
use crate::engine::POLL;
use crate::engine::figures::Figures;
use crate::engine::volume::files;
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{HEAD, Scene, sink, source, until};
use crate::{Report, Run};

/// How long an end may take.
const END: Duration = Duration::from_secs(10);
/// Files that may be open more behind the faults than before: connections to the backend that happen to stand, one for each sink
/// and lane.
const MORE_FILES: u64 = 4;
/// What the buffer on disk may have, and what of it may differ at rest: the file that is begun, and one that is kept to become
/// the next.
const SIZE: u64 = 16 << 20;
const MORE_ON_DISK: u64 = SIZE / 16 * 2;
/// KiB of memory that the process may have more behind the last two thirds of its faults than before them, under the same load. Without
/// any fault at all it has 1 MiB more at the end of five minutes, with faults up to 4 MiB more, as allocators keep what bursts have
/// used; and 40 KiB for each of 200 faults are as much as this.
const GROWTH: u64 = 8 << 10;
/// How long after the last fault memory has been given back that it has taken, as the engine does within seconds.
const CALM: Duration = Duration::from_secs(3);
/// How long a fault lasts that is done only for what the first one of its kind takes.
const FIRST: Duration = Duration::from_millis(300);
/// What lies on a disk is looked at for so long, while the last of it is given back.
const GIVEN_BACK: Duration = Duration::from_secs(5);

pub(super) const MIX: Scenario = Scenario {
    id: "F30",
    about: "faults of all kinds in an order that is drawn: of the way, of the backend, kills, stops and ends of the engine",
    run: |run| Box::pin(mix(run)),
};

/// What can be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The way does this.
    Way(Mode),
    /// So many of ten connections are cut.
    Cut(u64),
    /// The engine is stopped and goes on.
    Stop,
    /// It reads its configuration again.
    Reload,
    /// It ends in good order and is started again.
    Terminate,
    /// It is killed and started again.
    Kill,
}

/// The last two end the process.
const FAULTS: [Fault; 12] = [
    Fault::Way(Mode::Refuse),
    Fault::Way(Mode::Hold),
    Fault::Way(Mode::HoldAnswers),
    Fault::Way(Mode::Slow(20_000)),
    Fault::Way(Mode::Delay(Duration::from_millis(300))),
    Fault::Way(Mode::LoseAnswers(4)),
    Fault::Cut(3),
    Fault::Cut(10),
    Fault::Stop,
    Fault::Reload,
    Fault::Terminate,
    Fault::Kill,
];
const LASTING: usize = FAULTS.len() - 2;

/// One pipeline whose clients are told when the backend has their data, as what is in memory dies with the process, and one
/// with a buffer on disk.
fn pipelines(endpoint: std::net::SocketAddr) -> String {
    let keys = "timeout = \"1s\"\nretry.max_interval = \"500ms\"\n";
    let state = "state.directory = \"{folder}/state\"\n";
    let out = sink("out", "apps", endpoint, &format!("acknowledge = \"delivered\"\n{keys}"));
    let disk = format!("{keys}buffer = {{ type = \"disk\", max_size = {SIZE} }}\n");
    [HEAD, state, &source("apps"), &source("others"), &out, &sink("disk", "others", endpoint, &disk)].concat()
}

async fn mix(run: &Run) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut scene = Scene::start(run, |ways| pipelines(ways.faulty)).await?;
    load(&mut scene, run, 0).await?;
    let half = run.choose([8, 60, 290].map(Duration::from_secs));
    let mut done = draw(&mut scene, &mut random, &FAULTS, half).await?;
    scene.until_more_came(1).await?;
    scene.settle().await?;
    inject(&mut scene, Fault::Terminate, Duration::ZERO).await?;
    let starts = scene.engine.starts();
    // What is there from the first fault of its kind on has nothing to do with how many come.
    load(&mut scene, run, 1).await?;
    for fault in &FAULTS[..LASTING] {
        inject(&mut scene, *fault, FIRST).await?;
    }
    scene.settle().await?;
    let rest_before = rest(&scene, Rest::default()).await?;
    load(&mut scene, run, 2).await?;
    let look = run.choose([2, 10, 20].map(Duration::from_secs));
    done.extend(draw(&mut scene, &mut random, &FAULTS[..LASTING], half / 3).await?);
    let before = calm(&scene, look).await?;
    let lasting = draw(&mut scene, &mut random, &FAULTS[..LASTING], half * 2 / 3).await?;
    let behind = calm(&scene, look).await?;
    scene.heal();
    let (told, passed) = (scene.told(), scene.proxy.passed());
    scene.settle().await?;
    let settled = scene.report.settled;
    let rest_behind = rest(&scene, rest_before).await?;
    let faults = lasting.len();
    done.extend(lasting);
    scene.report.measured.push(format!(
        "{} faults, {} starts; {} requests of clients cut off, {} unanswered; {} connections to the backend, {} cut, {} answers \
         lost",
        done.len(),
        scene.engine.starts(),
        told.cut_off,
        told.unanswered,
        passed.connections,
        passed.cut,
        passed.lost_answers
    ));
    let kinds = FAULTS.iter().filter(|fault| done.contains(fault)).count();
    scene.report.require_hit(
        kinds >= run.choose([4, FAULTS.len(), FAULTS.len()]),
        &format!("only {kinds} kinds of faults were drawn: {done:?}"),
    );
    scene.report.require_hit(told.cut_off + passed.cut > 0, "nothing was cut off");
    let is_one = scene.engine.starts() == starts;
    scene.report.require_hit(is_one && faults > 0, "the process was not the same one, or nothing was done to it");
    let mib = |figures: Figures| figures.resident as f64 / 1024.0;
    scene.report.measured.push(format!(
        "{faults} of them in one process: {:.1} MiB and {} files under load before, {:.1} MiB and {} files behind; at rest {} files \
         and {} KiB on disk before, {} files and {} KiB behind",
        mib(before),
        before.files,
        mib(behind),
        behind.files,
        rest_before.files,
        rest_before.disk >> 10,
        rest_behind.files,
        rest_behind.disk >> 10
    ));
    scene.report.require(behind.resident <= before.resident + GROWTH, || {
        format!("memory grew from {:.1} to {:.1} MiB, at most by {} KiB", mib(before), mib(behind), GROWTH)
    });
    for (what, before, behind) in
        [("under load", before.files, behind.files), ("at rest", rest_before.files, rest_behind.files)]
    {
        scene.report.require(behind <= before + MORE_FILES, || {
            format!("{behind} files are open {what} behind the faults, {before} before them")
        });
    }
    let disk = (rest_before.disk, rest_behind.disk);
    scene.report.require(disk.1 <= disk.0 + MORE_ON_DISK, || {
        format!(
            "{} bytes are on disk at rest behind the faults, {} before them, at most {MORE_ON_DISK} more",
            disk.1, disk.0
        )
    });
    let mut report = scene.judge().await?;
    // Not how long somebody looked at what is at rest.
    report.settled = settled;
    Ok(report)
}

/// The clients of both pipelines, with numbers that no others have.
async fn load(scene: &mut Scene, run: &Run, part: u32) -> Result<()> {
    let load = Load { batch: 20, ..Load::new(run.rate / 2.0) };
    scene.load("apps", &load.of(200 * part, 32, "all")).await?;
    scene.load("others", &load.of(200 * part + 100, 32, "all")).await
}

/// Does to it for so long what is drawn of these; says what that was.
async fn draw(scene: &mut Scene, random: &mut StdRng, of: &[Fault], lasts: Duration) -> Result<Vec<Fault>> {
    let end = Instant::now() + lasts;
    let mut done = Vec::new();
    while Instant::now() < end {
        let fault = *of.choose(random).context("there are faults")?;
        inject(scene, fault, Duration::from_millis(random.random_range(100..1500))).await?;
        sleep(Duration::from_millis(random.random_range(0..500))).await;
        done.push(fault);
    }
    Ok(done)
}

/// The least memory and the median of open files under load, once what a fault has held up has arrived and nothing is done any
/// more: what is not given back then.
async fn calm(scene: &Scene, look: Duration) -> Result<Figures> {
    let issued = scene.told().issued();
    until("what was held up has arrived", async || scene.oracle.counts().distinct >= issued).await?;
    sleep(CALM).await;
    let end = Instant::now() + look;
    let (mut resident, mut files) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        let figures = scene.engine.id().and_then(Figures::of).context("the engine runs")?;
        resident.push(figures.resident);
        files.push(figures.files);
        sleep(POLL * 10).await;
    }
    files.sort_unstable();
    let files = files.get(files.len() / 2).copied().context("somebody looked")?;
    Ok(Figures { resident: resident.into_iter().min().context("somebody looked")?, files })
}

/// What a process without clients has that holds nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    /// Open files.
    files: u64,
    /// Bytes of the files below its state directory.
    disk: u64,
}

/// Looks until it has no more than is wanted, or for as long as the engine may take to give back; says the least that was seen.
async fn rest(scene: &Scene, wanted: Rest) -> Result<Rest> {
    let began = Instant::now();
    let mut least = Rest { files: u64::MAX, disk: u64::MAX };
    while began.elapsed() < GIVEN_BACK && (least.files > wanted.files || least.disk > wanted.disk) {
        let figures = scene.engine.id().and_then(Figures::of).context("the engine runs")?;
        let all = files(&scene.engine.folder().join("state"))?;
        // A file that has just gone takes nothing.
        let disk = all.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
        least = Rest { files: least.files.min(figures.files), disk: least.disk.min(disk) };
        sleep(POLL * 10).await;
    }
    Ok(least)
}

/// Does it, and puts it right after a while.
async fn inject(scene: &mut Scene, fault: Fault, lasts: Duration) -> Result<()> {
    match fault {
        Fault::Way(mode) => {
            scene.proxy.set(mode);
            sleep(lasts).await;
            scene.proxy.set(Mode::Pass);
        }
        Fault::Cut(of_ten) => scene.proxy.cut(of_ten),
        Fault::Stop => {
            scene.engine.signal(Signal::STOP)?;
            sleep(lasts).await;
            scene.engine.signal(Signal::CONT)?;
        }
        Fault::Reload => scene.engine.signal(Signal::HUP)?,
        Fault::Terminate => {
            scene.engine.signal(Signal::TERM)?;
            scene.engine.ended(END).await?;
            scene.start_again().await?;
        }
        Fault::Kill => {
            scene.engine.kill().await?;
            scene.start_again().await?;
        }
    }
    Ok(())
}
