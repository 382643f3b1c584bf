//! A buffer that an engine has left, copies of it, and what comes out of a copy.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use super::super::disk::on_disk;
use crate::Run;
use crate::backend::serve_oracle;
use crate::engine::Engine;
use crate::engine::status::Ledger;
use crate::judge::Findings;
use crate::oracle::Oracle;
use crate::producer::{Load, Told};
use crate::proxy::Mode;
use crate::scene::{Scene, until};

/// Records of a request, and so of a payload on disk.
pub(super) const BATCH: u64 = 20;
/// What is on disk at least, in records.
const LEAST: u64 = 6_000;
/// The smallest buffer, so that it has several files.
const SIZE: &str = "8MiB";
const END: Duration = Duration::from_secs(10);

/// What an engine has left on disk.
pub(super) struct Left {
    folder: TempDir,
    told: Told,
    /// What had arrived before.
    delivered: Oracle,
}

/// What came out of it.
pub(super) struct Found {
    pub(super) findings: Findings,
    /// Records that the engine counts as damaged.
    pub(super) lost: u64,
    /// Payloads that it found damaged.
    pub(super) damaged: u64,
    pub(super) ledger: Ledger,
    pub(super) ready: Duration,
}

impl Left {
    /// Has an engine deliver a part of what it takes, and leave the rest on disk.
    pub(super) async fn fill(run: &Run) -> Result<Self> {
        let mut scene = Scene::start(run, |ways| on_disk(ways.faulty, Path::new("{folder}/state"), SIZE)).await?;
        scene.load("apps", &Load { batch: BATCH, ..Load::new(run.rate) }).await?;
        scene.until_more_came(LEAST / 4).await?;
        scene.proxy.set(Mode::Refuse);
        until("enough is on disk", async || {
            let status = scene.engine.status().await;
            status.is_ok_and(|status| status.ledger("out").is_some_and(|ledger| ledger.held() >= LEAST))
        })
        .await?;
        let told = scene.stop().await;
        scene.engine.signal(Signal::TERM)?;
        let (status, _) = scene.engine.ended(END).await?;
        ensure!(status.success(), "the engine ended with {status}");
        let folder = TempDir::with_prefix("faults-left-")?;
        // Not the configuration that ran, which would run again where a buffer is refused.
        std::fs::create_dir(folder.path().join("buffers"))?;
        copy(&scene.engine.folder().join("state/buffers"), &folder.path().join("buffers"))?;
        Ok(Self { folder, told, delivered: scene.oracle.clone() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Records in it.
    pub(super) fn records(&self) -> u64 {
        Findings::of(&self.told, &self.delivered).missing
    }

    /// A copy of it.
    pub(super) fn copy(&self) -> Result<TempDir> {
        let folder = TempDir::with_prefix("faults-copy-")?;
        copy(self.folder.path(), folder.path())?;
        Ok(folder)
    }

    /// Has an engine deliver what is in a copy. It is killed afterwards.
    pub(super) async fn start(&self, run: &Run, copy: &TempDir) -> Result<Found> {
        let oracle = self.delivered.fork();
        let backend = serve_oracle(&oracle).await?;
        let mut engine = Engine::new(vec![run.engine.clone().into()], &on_disk(backend, copy.path(), SIZE))?;
        let ready = engine.start_again().await?;
        let mut last = (0, Instant::now());
        until("nothing is held", async || {
            let Ok(status) = engine.status().await else { return false };
            let held = status.ledger("out").map_or(0, Ledger::held);
            if held != last.0 {
                last = (held, Instant::now());
            }
            held == 0 || last.1.elapsed() > END
        })
        .await?;
        let status = engine.status().await?;
        let ledger = status.ledger("out").cloned().unwrap_or_default();
        let damaged = status.buffer("out").and_then(|buffer| buffer.damaged_frames).unwrap_or_default();
        engine.kill().await?;
        let mut findings = Findings::of(&self.told, &oracle);
        findings.duplicates -= self.delivered.counts().duplicates;
        Ok(Found { findings, lost: ledger.lost(), damaged, ledger, ready })
    }
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
