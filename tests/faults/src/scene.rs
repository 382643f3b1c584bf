//! What scenarios have in common: an engine between clients and an oracle, the steps of a run, and how a run ends.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

use crate::backend::serve_oracle;
use crate::engine::figures::{Figures, Watch};
use crate::engine::tracer::{Inject, Point, Tracer};
use crate::engine::{Engine, POLL};
use crate::judge::{self, Report};
use crate::oracle::{Oracle, Tally};
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
    /// At most three minutes.
    Medium,
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
    /// One of three values, as the length says.
    pub fn choose<T>(&self, [short, medium, long]: [T; 3]) -> T {
        match self.length {
            Length::Short => short,
            Length::Medium => medium,
            Length::Long => long,
        }
    }
}

/// Where pipelines may send to.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// The way that fails.
    pub faulty: SocketAddr,
    /// The backend itself.
    pub good: SocketAddr,
}

/// An engine with clients, a way to its backend, and an oracle as the backend.
pub struct Scene {
    /// What came.
    pub oracle: Oracle,
    /// The way to it.
    pub proxy: Proxy,
    /// The engine.
    pub engine: Engine,
    /// What the run has found so far.
    pub report: Report,
    /// The group of the record that asks whether data flows again.
    pub probed: &'static str,
    producers: Vec<Producer>,
    /// What clients know that have been stopped.
    stopped: Told,
    seed: u64,
    began: Instant,
    watch: Option<Watch>,
    peak: Figures,
    healed: Option<Instant>,
    /// What of the missing the engine has counted as lost.
    lost: u64,
}

impl Scene {
    /// Starts an engine whose backend is the oracle itself. Clients come with [`Scene::load`].
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(run: &Run, configuration: impl FnOnce(Ways) -> String) -> Result<Self> {
        let oracle = Oracle::default();
        let backend = serve_oracle(&oracle).await?;
        Self::start_with(run, oracle, backend, vec![run.engine.clone().into()], configuration).await
    }

    /// Starts an engine by a command of its own, with another backend, which lets the oracle know what it takes.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start_with(
        run: &Run,
        oracle: Oracle,
        backend: SocketAddr,
        command: Vec<OsString>,
        configuration: impl FnOnce(Ways) -> String,
    ) -> Result<Self> {
        let began = Instant::now();
        let proxy = Proxy::start(backend)?;
        let configuration = configuration(Ways { faulty: proxy.address(), good: backend });
        let mut scene = Self {
            oracle,
            proxy,
            engine: Engine::new(command, &configuration)?,
            report: Report { seed: run.seed, ..Report::default() },
            probed: "all",
            producers: Vec::new(),
            stopped: Told::default(),
            seed: run.seed,
            began,
            watch: None,
            peak: Figures::default(),
            healed: None,
            lost: 0,
        };
        scene.start_again().await?;
        Ok(scene)
    }

    /// Starts clients that send to a source, and waits until the first requests have arrived.
    ///
    /// # Errors
    /// When nothing arrives.
    pub async fn load(&mut self, source: &str, load: &Load) -> Result<()> {
        self.send(source, load);
        let wanted = load.batch * load.requests.unwrap_or(u64::MAX).min(u64::from(load.clients));
        until("the first records come", async || {
            let came = |client| self.oracle.with(client, |tally| tally.map_or(0, Tally::distinct));
            load.numbers().map(came).sum::<u64>() >= wanted
        })
        .await
    }

    /// Starts clients that send to a source.
    pub fn send(&mut self, source: &str, load: &Load) {
        let target = self.engine.target(source);
        self.producers.push(Producer::start(&target, load, self.seed));
    }

    /// What all clients were told so far.
    pub fn told(&self) -> Told {
        self.producers.iter().map(Producer::told).fold(self.stopped.clone(), Told::and)
    }

    /// Ends all clients behind the answers that they wait for.
    pub async fn stop(&mut self) -> Told {
        for producer in self.producers.drain(..) {
            let told = producer.stop().await;
            self.stopped = std::mem::take(&mut self.stopped).and(told);
        }
        self.stopped.clone()
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
        until(what, async || is_so(&self.told())).await
    }

    /// Starts the engine again; says how long it took until it was ready.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<Duration> {
        let took = self.engine.start_again().await?;
        self.watch();
        Ok(took)
    }

    /// Starts the engine again with a tracer on the thread of its buffer before any client comes; says how long it took until it
    /// was ready.
    ///
    /// # Errors
    /// When it does not start, or the tracer does not.
    pub async fn start_again_traced(&mut self, kill: Option<Point>) -> Result<(Duration, Tracer)> {
        let (took, found) = self.engine.start_unannounced().await?;
        let id = self.engine.id().context("the engine has just started")?;
        let tracer = Tracer::attach(id, self.engine.folder(), kill.map(Inject::Kill)).await?;
        self.engine.announce(found);
        self.watch();
        Ok((took, tracer))
    }

    fn watch(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.peak = self.peak.most(watch.peak());
        }
        self.watch = self.engine.id().map(Watch::start);
    }

    /// Notes that the fault is over.
    pub fn heal(&mut self) {
        self.healed = Some(Instant::now());
    }

    /// Allows so many records to be missing, which the engine has counted as lost.
    pub fn allow_lost(&mut self, records: u64) {
        self.lost = self.lost.saturating_add(records);
    }

    /// Allows nothing to be missing any more.
    pub fn forbid_lost(&mut self) {
        self.lost = 0;
    }

    /// Stops the clients, and waits until everything has arrived or nothing more does.
    ///
    /// # Errors
    /// When the engine is not there any more.
    pub async fn settle(&mut self) -> Result<Told> {
        let healed = *self.healed.get_or_insert_with(Instant::now);
        let told = self.stop().await;
        settle(&self.engine, &told, &self.oracle, self.lost).await?;
        self.report.settled = healed.elapsed();
        Ok(told)
    }

    /// Stops the clients, waits until everything has arrived or nothing more does, asks whether data flows, and judges.
    ///
    /// # Errors
    /// When the engine is not there any more.
    pub async fn judge(mut self) -> Result<Report> {
        let told = self.settle().await?;
        let (probe, probed) = probe(&mut self.engine, &self.oracle, self.probed).await?;
        self.report.require_within("a record sent afterwards", probe, PROBE_BOUND);
        let told = told.and(probed);
        self.report.compare(&told, &self.oracle, self.lost);
        self.report.require_balance(&self.engine.status().await?);
        let watched = self.watch.as_ref().map_or(Figures::default(), Watch::peak);
        self.report.peak = self.peak.most(watched);
        self.report.took = self.began.elapsed();
        // Whoever lent it a volume or a control group takes that back next.
        self.engine.kill().await?;
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
async fn probe(engine: &mut Engine, oracle: &Oracle, group: &'static str) -> Result<(Duration, Told)> {
    let began = Instant::now();
    let load = Load { batch: 1, ..Load::new(20.0).of(PROBE, 1, group) };
    let producer = Producer::start(&engine.target("apps"), &load, 0);
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

/// Everything before the sources: an admin port, and a short time for the end.
pub const HEAD: &str = "version = 1\nadmin.listen = \"127.0.0.1:0\"\nshutdown.grace = \"5s\"\n";

/// A source of logs over gRPC.
pub fn source(id: &str) -> String {
    format!("[sources.{id}]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n")
}

/// A sink behind a source or transform, with more keys.
pub fn sink(id: &str, input: &str, endpoint: SocketAddr, keys: &str) -> String {
    format!("[sinks.{id}]\ntype = \"otlp\"\ninputs = [\"{input}\"]\nendpoint = \"http://{endpoint}\"\n{keys}")
}

/// The smallest configuration: logs come in at `apps` and go out at `out`.
pub fn hop(endpoint: SocketAddr, keys: &str) -> String {
    [HEAD, &source("apps"), &sink("out", "apps", endpoint, keys)].concat()
}

/// The ledger of a sink of an engine.
///
/// # Errors
/// When there is none.
pub async fn ledger(engine: &Engine, sink: &str) -> Result<crate::engine::status::Ledger> {
    engine.status().await?.ledger(sink).cloned().with_context(|| format!("no ledger of {sink}"))
}
