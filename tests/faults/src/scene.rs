//! What scenarios have in common: an engine between clients and an oracle, the steps of a run, and how a run ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

use crate::backend::serve_oracle;
use crate::engine::figures::{Figures, Watch};
use crate::engine::{Engine, POLL};
use crate::judge::{self, Report};
use crate::oracle::Oracle;
use crate::producer::{Load, Producer, Told};
use crate::proxy::Proxy;

/// The client that asks whether data flows again; those of a load have lower numbers.
const PROBE: u32 = 1_000_000;
/// How long a record of it may take.
const PROBE_BOUND: Duration = Duration::from_secs(30);
/// Longest wait for anything that a run waits for.
const PATIENCE: Duration = Duration::from_secs(120);
/// What is left is not expected any more once it has stayed the same for so long: five looks.
const SAME: u32 = 5;
const LOOK: Duration = Duration::from_secs(2);

/// How long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A few seconds.
    Short,
    /// As the plan of faults says.
    Long,
}

/// How a scenario is run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The binary of the engine.
    pub engine: PathBuf,
    /// Everything random follows from it.
    pub seed: u64,
    /// How long it is.
    pub length: Length,
    /// Records a second that are sent.
    pub rate: f64,
}

impl Run {
    /// One of two values, as the length says.
    pub fn choose<T>(&self, short: T, long: T) -> T {
        match self.length {
            Length::Short => short,
            Length::Long => long,
        }
    }
}

/// An engine with clients, a way to its backend, and an oracle as the backend.
pub struct Scene {
    /// What came.
    pub oracle: Oracle,
    /// The way to it.
    pub proxy: Proxy,
    /// The engine.
    pub engine: Engine,
    /// The clients.
    pub producer: Producer,
    /// What the run has found so far.
    pub report: Report,
    seed: u64,
    began: Instant,
    watch: Option<Watch>,
    peak: Figures,
    healed: Option<Instant>,
    /// What of the missing the engine has counted as lost.
    lost: u64,
}

impl Scene {
    /// Starts everything and waits until records arrive. `configuration` gets the address of the way to the backend and has
    /// a source `apps`.
    ///
    /// # Errors
    /// When something does not start, or nothing arrives.
    pub async fn start(run: &Run, load: &Load, configuration: impl FnOnce(SocketAddr) -> String) -> Result<Self> {
        let began = Instant::now();
        let oracle = Oracle::default();
        let proxy = Proxy::start(serve_oracle(&oracle).await?)?;
        let mut engine = Engine::start(&run.engine, &configuration(proxy.address())).await?;
        let watch = engine.id().map(Watch::start);
        let producer = Producer::start(&engine.target("apps"), load, run.seed);
        let report = Report { seed: run.seed, ..Report::default() };
        let scene = Self {
            oracle,
            proxy,
            engine,
            producer,
            report,
            seed: run.seed,
            began,
            watch,
            peak: Figures::default(),
            healed: None,
            lost: 0,
        };
        scene.until_more_came(u64::from(load.clients) * load.batch).await?;
        Ok(scene)
    }

    /// Waits until so many records more have come than now.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn until_more_came(&self, more: u64) -> Result<()> {
        let wanted = self.oracle.counts().distinct + more;
        until(&format!("{more} more records come"), async || self.oracle.counts().distinct >= wanted).await
    }

    /// Waits until clients have been told something.
    ///
    /// # Errors
    /// When they are not.
    pub async fn until_told(&self, what: &str, is_so: impl Fn(&Told) -> bool) -> Result<()> {
        until(what, async || is_so(&self.producer.told())).await
    }

    /// Starts the engine again; says how long it took until it was ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<Duration> {
        let took = self.engine.start_again().await?;
        if let Some(watch) = self.watch.take() {
            self.peak = self.peak.most(watch.peak());
        }
        self.watch = self.engine.id().map(Watch::start);
        Ok(took)
    }

    /// Notes that the fault is over.
    pub fn heal(&mut self) {
        self.healed = Some(Instant::now());
    }

    /// Allows so many records to be missing, which the engine has counted as lost.
    pub fn allow_lost(&mut self, records: u64) {
        self.lost += records;
    }

    /// Stops the clients, waits until everything has arrived or nothing more does, asks whether data flows, and judges.
    ///
    /// # Errors
    /// When the engine is not there any more.
    pub async fn judge(mut self) -> Result<Report> {
        let healed = self.healed.unwrap_or_else(Instant::now);
        let told = self.producer.stop().await;
        settle(&self.engine, &told, &self.oracle, self.lost).await?;
        self.report.settled = healed.elapsed();
        let (probe, probed) = probe(&mut self.engine, &self.oracle, self.seed).await?;
        self.report.require_within("a record sent afterwards", probe, PROBE_BOUND);
        let told = told.and(probed);
        self.report.compare(&told, &self.oracle, self.lost);
        self.report.require_balance(&self.engine.status().await?);
        let watched = self.watch.as_ref().map_or(Figures::default(), Watch::peak);
        self.report.peak = self.peak.most(watched);
        self.report.took = self.began.elapsed();
        Ok(self.report)
    }
}

/// Waits until nothing is missing and the engine holds nothing, or nothing changes any more.
async fn settle(engine: &Engine, told: &Told, oracle: &Oracle, lost: u64) -> Result<()> {
    let began = Instant::now();
    let (mut last, mut since) = (None, Instant::now());
    loop {
        let missing: u64 = told.clients.keys().map(|client| judge::missing(told, oracle, *client)).sum();
        let status = engine.status().await?;
        let held: u64 = status.ledgers().map(|(_, ledger)| ledger.held()).sum();
        let delivered: u64 = status.ledgers().map(|(_, ledger)| ledger.delivered).sum();
        if missing <= lost && held == 0 {
            return Ok(());
        }
        let now = Some((missing, held, delivered));
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > LOOK * SAME || began.elapsed() > PATIENCE {
            return Ok(());
        }
        sleep(POLL * 5).await;
    }
}

/// Sends until something arrives; says how long that took, and what was sent.
async fn probe(engine: &mut Engine, oracle: &Oracle, seed: u64) -> Result<(Duration, Told)> {
    let began = Instant::now();
    let load = Load { first_client: PROBE, clients: 1, batch: 1, ..Load::new(20.0) };
    let producer = Producer::start(&engine.target("apps"), &load, seed);
    let came = until("a record arrives", async || oracle.with(PROBE, |tally| tally.is_some())).await;
    let took = began.elapsed();
    let told = producer.stop().await;
    came?;
    settle(engine, &told, oracle, 0).await?;
    Ok((took, told))
}

/// Waits until something is so.
///
/// # Errors
/// When it is not in two minutes.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_so().await {
        if began.elapsed() > PATIENCE {
            bail!("waited for {PATIENCE:?}: {what}");
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// The smallest configuration: logs come in at `apps` and go out at `out`.
pub fn hop(endpoint: SocketAddr, sink: &str) -> String {
    format!(
        "version = 1\nadmin.listen = \"127.0.0.1:0\"\n[shutdown]\ngrace = \"5s\"\n[sources.apps]\ntype = \"otlp\"\n\
         grpc.listen = \"127.0.0.1:0\"\n[sinks.out]\ntype = \"otlp\"\ninputs = [\"apps\"]\nendpoint = \"http://{endpoint}\"\n{sink}"
    )
}

/// The ledger of a sink of an engine.
///
/// # Errors
/// When there is none.
pub async fn ledger(engine: &Engine, sink: &str) -> Result<crate::engine::status::Ledger> {
    engine.status().await?.ledger(sink).cloned().with_context(|| format!("no ledger of {sink}"))
}
