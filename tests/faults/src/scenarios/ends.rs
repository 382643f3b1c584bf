//! The end of the engine under load: in good order, twice, and by force in the middle of it.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::Scenario;
use crate::engine::POLL;
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{Scene, hop, ledger, until};
use crate::{Report, Run};

/// How long the engine is still ready to take data after the signal, and how long its buffer may take, as configured.
const DELAY: Duration = Duration::from_millis(300);
const GRACE: Duration = Duration::from_secs(5);
/// What a process takes to be gone besides.
const GONE: Duration = Duration::from_secs(1);
/// How soon a start must be ready.
const READY: Duration = Duration::from_secs(5);
/// The exit code after a second signal.
const AT_ONCE: i32 = 143;

pub(super) const TERMINATED: Scenario = Scenario {
    id: "F19",
    about: "SIGTERM under load and a new start, again and again",
    run: |run| Box::pin(terminated(run)),
};

async fn terminated(run: &Run) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let keys = "buffer.max_size = \"8MiB\"\n";
    let delay = format!("shutdown.delay = \"{}ms\"\n[sources.apps]", DELAY.as_millis());
    let mut scene = Scene::start(run, |ways| hop(ways.faulty, keys).replacen("[sources.apps]", &delay, 1)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    let rounds = run.choose(6, 50);
    let (mut slowest, mut under_way) = (Duration::ZERO, 0);
    for round in 0..rounds {
        sleep(Duration::from_millis(random.random_range(50..500))).await;
        until("a request is under way", async || scene.told().under_way > 0).await?;
        under_way += scene.told().under_way;
        scene.engine.signal(Signal::TERM)?;
        let began = Instant::now();
        while scene.engine.is_ready().await && began.elapsed() < DELAY {
            sleep(POLL).await;
        }
        let is_first = scene.engine.id().is_some() && began.elapsed() < DELAY;
        scene.report.require(is_first, || format!("round {round}: it was ready until it was gone"));
        let (status, _) = scene.engine.ended(DELAY + GRACE + GONE).await?;
        slowest = slowest.max(began.elapsed());
        scene.report.require(status.success(), || format!("round {round}: it ended with {status}"));
        let ready = scene.start_again().await?;
        scene.report.require_within("a start", ready, READY);
        scene.until_more_came(1).await?;
    }
    scene.heal();
    scene.report.measured.push(format!(
        "{rounds} times; {under_way} requests under way at the signals, {} cut off; the slowest end took {:.2} s",
        scene.told().cut_off,
        slowest.as_secs_f64()
    ));
    scene.report.require_hit(under_way > 0, "no request was under way at a signal");
    let mut report = scene.judge().await?;
    let duplicates = report.findings.duplicates;
    report.require(duplicates == 0, || format!("{duplicates} came twice although every end was in good order"));
    Ok(report)
}

pub(super) const FORCED: Scenario = Scenario {
    id: "F20",
    about: "an end that is under way is made short: by a second SIGTERM, by SIGKILL, with SIGHUP in between",
    run: |run| Box::pin(forced(run)),
};

async fn forced(run: &Run) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(run.seed);
    // What is in memory dies with the process: clients are told when the backend has it.
    let keys = "acknowledge = \"delivered\"\ntimeout = \"30s\"\n";
    let mut scene = Scene::start(run, |ways| hop(ways.faulty, keys)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    let rounds = run.choose(2, 20);
    let mut under_way = 0;
    for round in 0..rounds {
        for last in [Signal::TERM, Signal::KILL] {
            scene.until_more_came(200).await?;
            scene.proxy.set(Mode::Hold);
            until("the engine holds something", async || {
                ledger(&scene.engine, "out").await.is_ok_and(|ledger| ledger.held() > 0)
            })
            .await?;
            scene.engine.signal(Signal::TERM)?;
            let ready = Instant::now();
            while scene.engine.is_ready().await && ready.elapsed() < GRACE {
                sleep(POLL).await;
            }
            scene.engine.signal(Signal::HUP)?;
            sleep(Duration::from_millis(random.random_range(0..300))).await;
            under_way += scene.told().under_way;
            let began = Instant::now();
            scene.engine.signal(last)?;
            let (status, took) = scene.engine.ended(GRACE).await?;
            let is_right = if last == Signal::TERM { status.code() == Some(AT_ONCE) } else { status.code().is_none() };
            scene.report.require(is_right, || format!("round {round}: after {last:?} it ended with {status}"));
            scene.report.require_within(&format!("the end after {last:?}"), took.max(began.elapsed()), GONE);
            scene.proxy.set(Mode::Pass);
            let ready = scene.start_again().await?;
            scene.report.require_within("a start", ready, READY);
        }
    }
    scene.heal();
    scene.report.measured.push(format!("{under_way} requests under way at the ends, {} cut off", scene.told().cut_off));
    let cut_off = scene.told().cut_off;
    scene.report.require_hit(under_way > 0 && cut_off > 0, "no request was cut off");
    scene.judge().await
}
