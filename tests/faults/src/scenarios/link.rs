//! A link to the backend that the kernel makes narrow: less passes than comes in, and nothing breaks.

use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::Scenario;
use crate::backend::serve_oracle_at;
use crate::link::{Link, WIDE};
use crate::oracle::Oracle;
use crate::producer::Load;
use crate::scene::{Scene, hop};
use crate::{Report, Run};

/// The bound, in the words of `tc` and in bytes a second.
const NARROW: &str = "1mbit";
const BYTES: f64 = 1e6 / 8.0;
/// Records of a request of the sink, and a buffer that is soon full.
const BATCH: u64 = 200;
const KEYS: &str = "batch.max_records = 200\nbuffer.max_size = \"1MiB\"\nretry.max_interval = \"1s\"\n";
/// The parts of the time in each of which something must be answered and delivered.
const PARTS: u32 = 3;
/// How soon everything must have arrived once the link is wide again.
const HEALED: Duration = Duration::from_secs(30);

pub(super) const NARROWED: Scenario = Scenario {
    id: "F14b",
    about: "the link to the backend passes 1 Mbit/s, less than comes in, and then everything again",
    run: |run| Box::pin(narrowed(run)),
};

async fn narrowed(run: &Run) -> Result<Report> {
    let link = match Link::new() {
        Ok(link) => link,
        Err(error) => return Ok(Report::lacking(run.seed, "cannot make a link to a network namespace", error)),
    };
    let oracle = Oracle::default();
    let (listener, backend) = link.listen()?;
    serve_oracle_at(&oracle, TcpListener::from_std(listener)?);
    let command = vec![run.engine.clone().into()];
    let mut scene = Scene::start_with(run, oracle, backend, command, |ways| hop(ways.good, KEYS)).await?;
    scene.load("apps", &Load::new(run.rate)).await?;
    let part = run.choose([3, 20, 100].map(Duration::from_secs));
    link.bound(NARROW)?;
    scene.until_told("clients are refused", |told| told.refused() > 0).await?;
    let (began, sent) = (Instant::now(), link.sent()?);
    for number in 1..=PARTS {
        let (told, came) = (scene.told(), scene.oracle.counts().distinct);
        sleep(part).await;
        let (now, came) = (scene.told(), scene.oracle.counts().distinct - came);
        let [taken, refused] = [now.acknowledged() - told.acknowledged(), now.refused() - told.refused()];
        scene.report.require(came > 0 && taken > 0 && refused > 0, || {
            format!("part {number}: {came} records came, {taken} were taken, {refused} requests refused")
        });
    }
    let passed = (link.sent()? - sent) as f64 / began.elapsed().as_secs_f64();
    link.bound(WIDE)?;
    scene.heal();
    let (told, failed) = (scene.told(), scene.engine.status().await?.errors("out"));
    scene.report.require(told.unanswered == 0, || format!("{} requests were not answered", told.unanswered));
    let was_full = (0.7..1.1).contains(&(passed / BYTES));
    scene.report.require_hit(was_full, &format!("{passed:.0} bytes a second passed, the link was not full"));
    scene.report.measured.push(format!(
        "{:.2} Mbit/s passed, {} requests refused, none without an answer; {failed} attempts failed",
        passed * 8.0 / 1e6,
        told.refused()
    ));
    let mut report = scene.judge().await?;
    let (duplicates, most) = (report.findings.duplicates, failed * BATCH);
    report.require(duplicates <= most, || format!("{duplicates} came twice, at most {most}"));
    let settled = report.settled;
    report.require_within("everything", settled, HEALED);
    Ok(report)
}
