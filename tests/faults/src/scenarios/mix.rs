//! All kinds of faults in an order that is drawn, for a long time.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Scenario;
use crate::engine::figures::Figures;
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{Scene, hop};
use crate::{Report, Run};

/// How long an end may take.
const END: Duration = Duration::from_secs(10);
/// Files that may be open more in the end than at the beginning: those that happen to be in use.
const MORE_FILES: u64 = 4;

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

async fn mix(run: &Run) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(run.seed);
    // What is in memory dies with the process: clients are told when the backend has it.
    let keys = "acknowledge = \"delivered\"\ntimeout = \"1s\"\nretry.max_interval = \"500ms\"\n";
    let mut scene = Scene::start(run, |ways| hop(ways.faulty, keys)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    let end = Instant::now() + run.choose(Duration::from_secs(15), Duration::from_secs(600));
    let mut done = Vec::new();
    while Instant::now() < end {
        let fault = *FAULTS.choose(&mut random).expect("there are faults");
        inject(&mut scene, fault, Duration::from_millis(random.random_range(100..1500))).await?;
        sleep(Duration::from_millis(random.random_range(0..500))).await;
        done.push(fault);
    }
    scene.until_more_came(1).await?;
    scene.heal();
    let (told, passed) = (scene.told(), scene.proxy.passed());
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
        kinds >= run.choose(4, FAULTS.len()),
        &format!("only {kinds} kinds of faults were drawn: {done:?}"),
    );
    scene.report.require_hit(told.cut_off + passed.cut > 0, "nothing was cut off");
    let at_work = scene.engine.id().and_then(Figures::of).unwrap_or_default();
    scene.settle().await?;
    let at_rest = scene.engine.id().and_then(Figures::of).unwrap_or_default();
    scene.report.measured.push(format!(
        "{:.1} MiB and {} files under load, {:.1} MiB and {} files at rest",
        at_work.resident as f64 / 1024.0,
        at_work.files,
        at_rest.resident as f64 / 1024.0,
        at_rest.files
    ));
    let files = (at_rest.files, at_work.files);
    scene.report.require(files.0 <= files.1 + MORE_FILES, || {
        format!("{} files are open at rest, {} under load", files.0, files.1)
    });
    scene.judge().await
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
