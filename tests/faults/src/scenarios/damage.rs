//! What is done to the files of a buffer while no engine runs: single bits, whole pages, whole files.
//!
//! A buffer is filled once; every damage is done to a copy of it, from which an engine must deliver everything but what the
//! damage hit, and count exactly that.

mod buffer;
mod kinds;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use self::buffer::{BATCH, Left};
use self::kinds::{Damage, make_newer};
use super::Scenario;
use crate::engine::volume::files;
use crate::judge::Findings;
use crate::{Report, Run};

/// Where the files of the buffer are in a state directory.
const BUFFER: &str = "buffers/out";
/// How soon an engine must be ready, whatever its files look like.
const READY: Duration = Duration::from_secs(10);

pub(super) const FLIPPED: Scenario = Scenario {
    id: "F6",
    about: "one bit of the files of a stopped engine's buffer is another one, in one file after the other",
    run: |run| Box::pin(flipped(run)),
};

async fn flipped(run: &Run) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let (began, mut report) = (Instant::now(), Report { seed: run.seed, ..Report::default() });
    let left = Left::fill(run).await?;
    let unnoted = left.start(run, &left.copy()?).await?.findings.duplicates;
    let flips = run.choose([16, 500, 500]);
    let mut costs: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for _ in 0..flips {
        let copy = left.copy()?;
        let all = files(&copy.path().join(BUFFER))?;
        // A file is hit as often as its size says, but none is so small that it is never hit.
        let sizes = all.iter().map(|path| Ok(path.metadata()?.len().max(64 << 10))).collect::<Result<Vec<_>>>()?;
        let mut at = random.random_range(0..sizes.iter().sum());
        let hit = sizes.iter().position(|size| at.checked_sub(*size).map(|rest| at = rest).is_none());
        let path = &all[hit.context("a place is in a file")?];
        let mut bytes = std::fs::read(path)?;
        if bytes.is_empty() {
            continue;
        }
        let bit = random.random_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(path, bytes)?;
        let what = format!("bit {bit} of {}", name(path));
        let found = left.start(run, &copy).await.with_context(|| what.clone())?;
        report.require_within(&format!("a start after {what}"), found.ready, READY);
        report.require(found.lost == 0 || found.lost == BATCH, || format!("{what}: {} records are lost", found.lost));
        judge(&mut report, &what, &found, found.lost, unnoted);
        let kind = if name(path).contains("segment") { "segments" } else { "completions" };
        let cost = costs.entry(kind.to_owned()).or_default();
        *cost = (cost.0 + 1, cost.1 + u64::from(found.lost > 0));
        add(&mut report.findings, &found.findings);
        report.counted += found.lost;
    }
    report.measured.push(format!("{flips} flips in a buffer of {} records", left.records()));
    for (kind, (hit, cost)) in &costs {
        report.measured.push(format!("{hit} in {kind}, of which {cost} cost a payload of {BATCH} records"));
    }
    report.took = began.elapsed();
    report.require_hit(costs.get("segments").is_some_and(|(_, cost)| *cost > 0), "no flip has hit a payload");
    Ok(report)
}

/// What must be so after any damage: what the engine counts is missing, but for what had been delivered and was not noted.
fn judge(report: &mut Report, what: &str, found: &buffer::Found, counted: u64, unnoted: u64) {
    let Findings { missing, spurious, corrupted, .. } = found.findings;
    report.require((missing..=missing + unnoted).contains(&counted), || {
        format!("{what}: {missing} records are missing, {counted} counted")
    });
    report.require(spurious + corrupted == 0, || {
        format!("{what}: {spurious} records that nobody sent, {corrupted} changed")
    });
    let ledger = &found.ledger;
    report.require(ledger.balances(), || format!("{what}: the ledger does not balance: {ledger:?}"));
    report.require(ledger.held() == 0, || format!("{what}: something is held and not delivered: {ledger:?}"));
}

fn add(all: &mut Findings, one: &Findings) {
    all.acknowledged += one.acknowledged;
    all.delivered += one.delivered;
    all.missing += one.missing;
    all.spurious += one.spurious;
    all.corrupted += one.corrupted;
    all.duplicates += one.duplicates;
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) const DAMAGED: Scenario = Scenario {
    id: "F7",
    about: "files of a stopped engine's buffer are cut, partly zero, longer, empty, doubled, gone, or of a newer version",
    run: |run| Box::pin(damaged(run)),
};

async fn damaged(run: &Run) -> Result<Report> {
    let mut random = StdRng::seed_from_u64(run.seed);
    let (began, mut report) = (Instant::now(), Report { seed: run.seed, ..Report::default() });
    let left = Left::fill(run).await?;
    let names: Vec<_> = files(&left.path().join(BUFFER))?.iter().map(|path| name(path)).collect();
    let mut damages = Vec::new();
    for file in &names {
        damages.extend(Damage::ALL.map(|damage| (damage, file.clone())));
    }
    let wanted = run.choose([14, damages.len(), damages.len()]);
    while damages.len() > wanted {
        let one = random.random_range(0..damages.len());
        damages.swap_remove(one);
    }
    // What had been delivered and could not be noted, as its answer was lost: when that is damaged it counts as lost too.
    let untouched = left.start(run, &left.copy()?).await?;
    let unnoted = untouched.findings.duplicates;
    judge(&mut report, "nothing", &untouched, 0, 0);
    let mut costs: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for (damage, file) in &damages {
        let copy = left.copy()?;
        let path = copy.path().join(BUFFER).join(file);
        let what = format!("{damage:?} of {file}");
        if !damage.is_done(&path, &mut random)? {
            continue;
        }
        let found = left.start(run, &copy).await.with_context(|| what.clone())?;
        report.require_within(&format!("a start after {what}"), found.ready, READY);
        // Of the file that was delivered in part the payloads are counted; how many records they had is not known.
        let counted = if *file == names[0] { found.lost.max(found.damaged * BATCH) } else { found.lost };
        judge(&mut report, &what, &found, counted, unnoted);
        let cost = costs.entry(format!("{damage:?}")).or_default();
        *cost = (cost.0 + 1, cost.1 + found.findings.missing, cost.2 + found.findings.duplicates);
        add(&mut report.findings, &found.findings);
    }
    for (damage, (times, missing, twice)) in costs {
        report.measured.push(format!("{damage}: {times} times, {missing} records lost, {twice} twice"));
    }
    newer(run, &left, &mut report).await?;
    report.took = began.elapsed();
    Ok(report)
}

/// A buffer of a newer version is refused, and nothing of it is touched.
async fn newer(run: &Run, left: &Left, report: &mut Report) -> Result<()> {
    let copy = left.copy()?;
    for path in files(&copy.path().join(BUFFER))? {
        make_newer(&path)?;
    }
    let read = || {
        files(&copy.path().join(BUFFER))?
            .iter()
            .map(|path| Ok((name(path), std::fs::read(path)?)))
            .collect::<Result<Vec<_>>>()
    };
    let before = read()?;
    let refused = left.start(run, &copy).await.err().map(|error| format!("{error:#}"));
    let says = refused.as_ref().is_some_and(|text| text.contains("newer") || text.contains("version"));
    report.require(says, || format!("a newer version is not refused for that: {refused:?}"));
    // The lock is the process's own.
    let is_same = read()?
        .iter()
        .filter(|(name, _)| !name.contains("lock"))
        .eq(before.iter().filter(|(name, _)| !name.contains("lock")));
    report.require(is_same, || "files of a newer version were touched".to_owned());
    Ok(())
}
