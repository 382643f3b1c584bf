//! Interleaved pairs of the program under test and the null hop, and the ratios between them.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use anyhow::{Context, Result};

use super::{Length, Options};
use crate::{
    peer::Program,
    report::Spread,
    run::{Case, Run, run},
};

/// Pairs of a bar that says nothing else.
const PAIRS: usize = 5;
const PAIRS_LONG: usize = 9;
/// How much longer a long measurement is.
const LONG_FACTOR: f64 = 3.0;

/// The runs of two programs in one case.
pub(super) struct Comparison {
    program: &'static str,
    /// Length of each run in seconds.
    seconds: f64,
    peer: Vec<Run>,
    null_hop: Vec<Run>,
}

impl Comparison {
    /// Measures pairs in alternating order.
    pub(super) fn measure(case: &Case, program: &Program, options: &Options) -> Result<Comparison> {
        let long = options.length == Length::Long;
        let pairs = options.pairs.unwrap_or(if long { PAIRS_LONG } else { PAIRS });
        let mut timed = *case;
        if long {
            timed.seconds *= LONG_FACTOR;
        }
        let mut comparison =
            Comparison { program: program.name(), seconds: timed.seconds, peer: Vec::new(), null_hop: Vec::new() };
        for pair in 0..pairs {
            if pair % 2 == 0 {
                comparison.measure_peer(&timed, program)?;
                comparison.measure_null_hop(&timed)?;
            } else {
                comparison.measure_null_hop(&timed)?;
                comparison.measure_peer(&timed, program)?;
            }
        }
        Ok(comparison)
    }

    fn measure_peer(&mut self, case: &Case, program: &Program) -> Result<()> {
        self.peer.push(run(program, case).context(self.program)?);
        Ok(())
    }

    fn measure_null_hop(&mut self, case: &Case) -> Result<()> {
        self.null_hop.push(run(&Program::NullHop, case).context("null hop")?);
        Ok(())
    }

    /// CPU of the peer over CPU of the null hop, pair by pair.
    pub(super) fn cpu_ratio(&self) -> Spread {
        self.ratio(Run::cpu_per_million)
    }

    /// 99th percentile of the peer over that of the null hop, pair by pair.
    pub(super) fn p99_ratio(&self) -> Spread {
        self.ratio(|run| run.sent.p99_us as f64)
    }

    /// Peak resident memory of the peer in MiB.
    pub(super) fn peak_mib(&self) -> Spread {
        Spread::of(self.peer.iter().map(|run| run.peak_mib))
    }

    fn ratio(&self, figure: impl Fn(&Run) -> f64) -> Spread {
        let pairs = self.peer.iter().zip(&self.null_hop);
        Spread::of(pairs.map(|(peer, null_hop)| figure(peer) / figure(null_hop)))
    }

    /// Prints the figures of both programs under a heading.
    pub(super) fn print(&self, heading: &str) {
        let sent = &self.peer[0].sent;
        let bytes = sent.request_bytes_total as f64 / sent.records as f64;
        println!("{heading}: {bytes:.0} bytes a record, {} pairs of {} s", self.peer.len(), self.seconds);
        for (name, runs) in [(self.program, &self.peer), ("null hop", &self.null_hop)] {
            let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
            println!(
                "  {name:<8}  CPU-s/M {:<22} (user {:.3} system {:.3})  records/s {:>9.0}  p50 {:>6.2} ms  p99 {:>6.2} ms  peak RSS {:>5.1} MiB  records a request out {:.0}",
                of(Run::cpu_per_million).to_string(),
                of(|run| run.user_per_million).median,
                of(|run| run.system_per_million).median,
                of(|run| run.rate).median,
                of(|run| run.sent.p50_us as f64 / 1e3).median,
                of(|run| run.sent.p99_us as f64 / 1e3).median,
                of(|run| run.peak_mib).median,
                of(|run| run.sent.records as f64 / run.requests_out as f64).median,
            );
            let refused: u64 = runs.iter().map(|run| run.sent.refused).sum();
            if refused > 0 {
                println!("  {name:<8}  {refused} requests were told to come back later, and did");
            }
        }
        println!("  ratio     CPU {}  p99 {}", self.cpu_ratio(), self.p99_ratio());
    }
}
