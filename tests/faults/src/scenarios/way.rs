//! Faults of the way to the backend: it comes and goes, breaks, passes one way only, and loses answers.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::Scenario;
use crate::producer::Load;
use crate::proxy::Mode;
use crate::scene::{Scene, hop, until};
use crate::{Report, Run};

/// Records that the sink may have handed out without an answer: as many requests at once as it makes by default, each of at
/// most so many records.
const CONCURRENCY: u64 = 16;
const BATCH: u64 = 1000;
/// A sink with a bound on what one lost answer can cost.
const SINK: &str =
    "buffer.max_size = \"8MiB\"\nbatch.max_records = 1000\nbatch.timeout = \"100ms\"\nretry.max_interval = \"1s\"\n";

pub(super) const FLAPPING: Scenario = Scenario {
    id: "F12",
    about: "the backend is there for 2 s and away for 3 s, again and again",
    run: |run| Box::pin(flapping(run)),
};

async fn flapping(run: &Run) -> Result<Report> {
    let (up, down) = run.choose([(700, 1000), (2000, 3000), (2000, 3000)]);
    let (up, down) = (Duration::from_millis(up), Duration::from_millis(down));
    let end = Instant::now() + run.choose([6, 120, 600].map(Duration::from_secs));
    let mut scene = Scene::start(run, |ways| hop(ways.faulty, SINK)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    let mut times = 0;
    while Instant::now() < end {
        scene.proxy.set(Mode::Refuse);
        sleep(down).await;
        scene.proxy.set(Mode::Pass);
        sleep(up).await;
        times += 1;
    }
    scene.heal();
    let passed = scene.proxy.passed();
    let errors = scene.engine.status().await?.errors("out");
    scene.report.measured.push(format!(
        "{times} times away, {} connections, {} of them cut, {errors} attempts that failed",
        passed.connections, passed.cut
    ));
    scene.report.require_hit(passed.cut >= times / 2 && errors > times, "connections were not cut, or nobody noticed");
    let mut report = scene.judge().await?;
    let findings = &report.findings;
    let share = findings.duplicates as f64 / findings.acknowledged.max(1) as f64;
    report.measured.push(format!("{:.2} % came twice", 100.0 * share));
    report.require(share <= 0.05, || format!("{:.1} % came twice, at most 5 %", 100.0 * share));
    Ok(report)
}

pub(super) const LOST_ANSWERS: Scenario = Scenario {
    id: "F15",
    about: "one of five answers of the backend is lost: it has taken the data, and its connection breaks",
    run: |run| Box::pin(lost_answers(run)),
};

async fn lost_answers(run: &Run) -> Result<Report> {
    let mut scene = Scene::start(run, |ways| hop(ways.faulty, SINK)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    scene.proxy.set(Mode::LoseAnswers(5));
    sleep(run.choose([3, 20, 60].map(Duration::from_secs))).await;
    scene.proxy.set(Mode::Pass);
    scene.heal();
    let passed = scene.proxy.passed();
    scene.report.measured.push(format!("{} of {} answers were lost", passed.lost_answers, passed.answers));
    scene.report.require_hit(passed.lost_answers > 0, "no answer was lost");
    let mut report = scene.judge().await?;
    let (duplicates, most) = (report.findings.duplicates, passed.lost_answers * CONCURRENCY * BATCH);
    report.require_hit(duplicates > 0, "nothing came twice although answers were lost");
    report.require(duplicates <= most, || format!("{duplicates} came twice, at most {most}"));
    Ok(report)
}

pub(super) const BROKEN: Scenario = Scenario {
    id: "F14",
    about: "all connections to the backend are reset, then a third of them again and again, then only answers are held up",
    run: |run| Box::pin(broken(run)),
};

async fn broken(run: &Run) -> Result<Report> {
    let keys = format!("{SINK}timeout = \"1s\"\n");
    let mut scene = Scene::start(run, |ways| hop(ways.faulty, &keys)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    for _ in 0..run.choose([4, 20, 100]) {
        scene.proxy.cut(10);
        scene.until_more_came(1).await?;
        sleep(Duration::from_millis(250)).await;
    }
    let resets = scene.proxy.passed().cut;
    for _ in 0..run.choose([20, 100, 600]) {
        scene.proxy.cut(3);
        sleep(Duration::from_millis(100)).await;
    }
    let some = scene.proxy.passed().cut - resets;
    scene.proxy.set(Mode::HoldAnswers);
    let (before, errors) = (scene.oracle.counts().duplicates, scene.engine.status().await?.errors("out"));
    sleep(run.choose([3, 20, 60].map(Duration::from_secs))).await;
    until("an attempt goes without an answer", async || {
        scene.engine.status().await.is_ok_and(|status| status.errors("out") > errors)
    })
    .await?;
    let unanswered = scene.engine.status().await?.errors("out") - errors;
    scene.proxy.set(Mode::Pass);
    scene.heal();
    let again = scene.oracle.counts().duplicates - before;
    scene.report.measured.push(format!(
        "{resets} connections reset, {some} of some, {unanswered} attempts without an answer, {again} records twice by them"
    ));
    scene.report.require_hit(resets > 0 && some > 0, "no connection was reset");
    let mut report = scene.judge().await?;
    report.require_hit(report.findings.duplicates > 0, "nothing came twice although attempts went without an answer");
    let (duplicates, most) = (report.findings.duplicates, (resets + some + unanswered) * CONCURRENCY * BATCH);
    report.require(duplicates <= most, || format!("{duplicates} came twice, at most {most}"));
    let settled = report.settled;
    report.require_within("everything", settled, Duration::from_secs(30));
    Ok(report)
}
