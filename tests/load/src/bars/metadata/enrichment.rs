//! What enriching costs: the engine with the transform and without it, in alternating order, under one load of all pods in turn.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{SYNC_LIMIT, TRANSFORM, configuration};
use crate::{
    admin::Admin,
    bars::{Length, Options},
    compression::Compression,
    counting_sink,
    generator::{self, Stop},
    payload::Shape,
    peer::{Peer, free_address},
    report::Spread,
    roles::{Actor, Role},
    run::{Run, measure, start_generator},
    signal::Signal,
};

const PAIRS: usize = 5;
const PAIRS_LONG: usize = 9;
/// Resources of a request of 1000 records. The first one is the hop's, and the one that is bounded.
const RESOURCES: [usize; 3] = [Shape::STANDARD.resources, 10, 1];
/// What every resource has then, whosever pod it is of.
const ADDED: [&str; 6] = [
    "k8s.pod.name",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.cluster.name",
    "k8s.pod.label.team",
    "k8s.namespace.label.example.com/stage",
];
const POLL: Duration = Duration::from_millis(20);

/// What is compared.
pub(super) struct Enrichment<'a> {
    /// The engine.
    pub(super) binary: &'a Path,
    /// The cluster.
    pub(super) kubeconfig: &'a Path,
    /// A file with the unique ids of its pods.
    pub(super) pods: &'a Path,
    /// How it is measured.
    pub(super) options: &'a Options,
}

/// An engine and what stands behind it.
struct Line {
    peer: Peer,
    sink: Actor,
    admin: Admin,
}

impl Enrichment<'_> {
    /// CPU seconds that the transform adds to a million records, the median of all pairs; the worst signal counts.
    pub(super) fn measure(&self) -> Result<f64> {
        let (pairs, seconds) = match self.options.length {
            Length::Short => (PAIRS, 3.0),
            Length::Long => (PAIRS_LONG, 9.0),
        };
        let pairs = self.options.pairs.unwrap_or(pairs);
        let mut with = Line::start(self.binary, Some(self.kubeconfig))?;
        let mut without = Line::start(self.binary, None)?;
        let signal = self.options.signal.unwrap_or(Signal::Logs);
        let mut bounded = None;
        let mut matched = 0;
        for resources in RESOURCES {
            let shape = Shape { resources, ..Shape::STANDARD };
            let (mut of_with, mut of_without) = (Vec::new(), Vec::new());
            for pair in 0..pairs {
                let mut measure_with = || {
                    let run = self.load(&mut with, signal, shape, seconds)?;
                    let total = with.matched()?;
                    let found = total - matched;
                    matched = total;
                    ensure!(
                        found >= run.sent.records,
                        "{found} of {} records were known by their pods",
                        run.sent.records
                    );
                    of_with.push(run);
                    anyhow::Ok(())
                };
                if pair % 2 == 0 {
                    measure_with()?;
                    of_without.push(self.load(&mut without, signal, shape, seconds)?);
                } else {
                    of_without.push(self.load(&mut without, signal, shape, seconds)?);
                    measure_with()?;
                }
            }
            let added = print(shape, signal, &of_with, &of_without);
            bounded.get_or_insert(added.median);
        }
        Ok(bounded.expect("at least one shape is measured"))
    }

    fn load(&self, line: &mut Line, signal: Signal, shape: Shape, seconds: f64) -> Result<Run> {
        let mut generator = start_generator(&generator::Spec {
            target: line.peer.address,
            signal,
            shape,
            pods: Some(self.pods.to_owned()),
            message: None,
            compression: Compression::None,
            connections: 2,
            in_flight: 4,
            rate: None,
            stop: Stop::Seconds(seconds),
            max_frame: None,
        })?;
        measure(&mut generator, &line.peer, &mut line.sink)
    }
}

impl Line {
    /// Starts an engine, with the transform where there is a cluster, and waits until it is ready.
    fn start(binary: &Path, kubeconfig: Option<&Path>) -> Result<Line> {
        let added = if kubeconfig.is_some() { ADDED.map(str::to_owned).to_vec() } else { Vec::new() };
        let mut sink = Actor::start(
            Role::Sink,
            &counting_sink::Spec { expected_attributes: added, ..counting_sink::Spec::plain() },
        )?;
        let (listen, admin, endpoint) = (free_address()?, Admin(free_address()?), sink.hear()?);
        let text = configuration(listen, admin.0, endpoint, kubeconfig);
        let peer = Peer::configured(Command::new(binary), &text, listen)?;
        let start = Instant::now();
        while !admin.is_ready() {
            ensure!(start.elapsed() < 2 * SYNC_LIMIT, "the engine is never ready");
            std::thread::sleep(POLL);
        }
        Ok(Line { peer, sink, admin })
    }

    /// Records whose pod was known by its id.
    fn matched(&self) -> Result<u64> {
        Ok(self.admin.own_counts(TRANSFORM)?.get("records_matched_by_pod_uid").copied().unwrap_or_default())
    }
}

/// Prints the figures of one shape, and returns what the transform adds.
fn print(shape: Shape, signal: Signal, with: &[Run], without: &[Run]) -> Spread {
    let added =
        Spread::of(with.iter().zip(without).map(|(with, without)| with.cpu_per_million() - without.cpu_per_million()));
    println!(
        "  {} of {} records of {} pods a request, {} pairs",
        signal.name(),
        shape.records,
        shape.resources,
        with.len()
    );
    for (name, runs) in [("with", with), ("without", without)] {
        let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
        println!(
            "    {name:<8} CPU-s/M {:<22} records/s {:>9.0}  p99 {:>6.2} ms  peak RSS {:>6.1} MiB",
            of(Run::cpu_per_million).to_string(),
            of(|run| run.rate).median,
            of(|run| run.sent.p99_us as f64 / 1e3).median,
            of(|run| run.peak_mib).median,
        );
    }
    println!("    added    CPU-s/M {added}");
    added
}
