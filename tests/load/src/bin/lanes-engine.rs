//! The engine with one more transform, `busy`, which computes for a given time: it shows what lanes are worth.
//! A thin main on the engine library; no admin port, no reload, and the transform is in no product binary.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use engine_config::{
    Catalog, ComponentOptions, Environment, Facts, Kind, Known, ParseOptions, SignalSet, SourceFile, Span, Stability,
};
use engine_core::batch::Batch;
use engine_core::contract::{Outputs, Transform};
use engine_core::registry::{BuildContext, BuildError, BuildTransform, Registration};
use rustix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Computes for a time per batch and passes it on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BusyOptions {
    /// CPU time that each batch takes.
    time: Span,
}

impl ComponentOptions for BusyOptions {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "busy";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::transform(SignalSet::ALL)
    }
}

struct Busy {
    time: Duration,
}

impl BuildTransform for Busy {
    type Options = BusyOptions;

    fn build(options: &BusyOptions, _context: &BuildContext) -> Result<Self, BuildError> {
        Ok(Busy { time: options.time.into() })
    }
}

impl Transform for Busy {
    /// Spins on the thread's own CPU time: on the wall clock two threads would share a core and still be done in time.
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        let end = thread_time() + self.time;
        while thread_time() < end {
            std::hint::spin_loop();
        }
        outputs.emit(batch);
    }
}

inventory::submit! { Registration::transform::<Busy>() }

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [run, flag, path] = arguments.as_slice() else {
        return Err(anyhow!("usage: lanes-engine run --config FILE"));
    };
    if (run.as_str(), flag.as_str()) != ("run", "--config") {
        return Err(anyhow!("usage: lanes-engine run --config FILE"));
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let cores = std::thread::available_parallelism()?.get();
    let environment = Environment::Known(Known { cores: Some(cores), ..Known::default() });
    let catalog = Catalog::builtin().with::<BusyOptions>();
    let files = [SourceFile::new(path, text)];
    let loaded = engine_config::load(&files, &catalog, &environment, &ParseOptions::default())?;
    let built = engine::topology::build(loaded.plan)
        .map_err(|failures| anyhow!("{}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let running = built.run();
    signal(SignalKind::terminate())?.recv().await;
    running.drain().await;
    Ok(())
}
