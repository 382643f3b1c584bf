//! The bars of what goes wrong: what is lost, comes twice, and becomes slow by it. The faults themselves, and the judge of what
//! came of them, are in the crate `faults`.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use ::faults::{Report, Run};
use anyhow::{Context, Result, bail};

use super::{Bar, Length, Options, Verdict};
use crate::peer::Program;

/// Records a second that are sent.
const RATE: f64 = 20_000.0;

pub(super) const BARS: [Bar; 7] = [
    Bar {
        name: "kill9",
        about: "20,000 records a second through a disk buffer; kill -9 100 times (200 with --long), at random moments, the backend there or not",
        bound: "0 missing, 0 strange; twice at most the 64 requests of a window for each kill; ready again within 5 s",
        measure: |_, options| measure(options, &["F1"]),
    },
    Bar {
        name: "full-disk",
        about: "a disk buffer on 64 MiB: it fills while the backend is away; then somebody else fills it, while it drains too",
        bound: "0 missing, 0 strange, refusals that can be sent again only; data is taken again within 5 s, and what is held drains",
        measure: |_, options| measure(options, &["F3", "F4"]),
    },
    Bar {
        name: "bitflip",
        about: "one flipped bit in the files of a stopped engine's disk buffer, 500 times",
        bound: "each start is ready within 10 s; at most the payload that was hit is missing, counted exactly; 0 strange",
        measure: |_, options| measure(options, &["F6"]),
    },
    Bar {
        name: "outage-isolation",
        about: "20,000 records a second in two pipelines; the backend of one is stopped for 40 s (5 min with --long)",
        bound: "0 missing, 0 strange; p99 of the other pipeline < 2 x; what was held drains at twice the rate",
        measure: |_, options| measure(options, &["F10"]),
    },
    Bar {
        name: "duplicates",
        about: "20,000 records a second to a backend that is there for 2 s and away for 3 s, for 2 min (10 with --long)",
        bound: "0 missing, 0 strange; at most 5 % twice",
        measure: |_, options| measure(options, &["F12"]),
    },
    Bar {
        name: "sigterm",
        about: "20,000 records a second; SIGTERM under load and a new start, 50 times",
        bound: "0 missing, 0 strange, 0 twice; not ready before it is gone; gone within delay and grace, ready within 5 s",
        measure: |_, options| measure(options, &["F19"]),
    },
    Bar {
        name: "noisy",
        about: "a pipeline with 50 times the clients, poisonous records and a dead backend, beside another one behind the same source",
        bound: "0 missing of the other one, p99 < 2 x; the noisy one has all that it lost counted",
        measure: |_, options| measure(options, &["F29"]),
    },
];

fn measure(options: &Options, ids: &[&str]) -> Result<Verdict> {
    let Program::Engine(engine) = options.program()? else { bail!("this bar measures an engine") };
    let length = match options.length {
        Length::Short => ::faults::Length::Medium,
        Length::Long => ::faults::Length::Long,
    };
    let run = Run { engine, seed: rand::random(), length, rate: RATE };
    println!("  seed {}", run.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut measured, mut holds) = (Vec::new(), true);
    for id in ids {
        let scenario = ::faults::find(id).with_context(|| format!("no fault is called {id}"))?;
        let report = runtime.block_on(scenario.run(&run))?;
        if let Some(reason) = report.skipped {
            bail!("{reason}");
        }
        print(&report);
        holds &= report.violations.is_empty() && report.late.is_empty();
        measured.push(in_short(&report));
    }
    Ok(Verdict { measured: measured.join("; then "), holds })
}

fn print(report: &Report) {
    println!(
        "  {:.1} s, everything there {:.1} s after the fault; {} requests refused; peak RSS {:.1} MiB, {} files",
        report.took.as_secs_f64(),
        report.settled.as_secs_f64(),
        report.refusals.values().sum::<u64>(),
        report.peak.resident as f64 / 1024.0,
        report.peak.files
    );
    for line in report.measured.iter().chain(&report.violations).chain(&report.late) {
        println!("  {line}");
    }
}

fn in_short(report: &Report) -> String {
    let found = &report.findings;
    let twice = 100.0 * found.duplicates as f64 / found.acknowledged.max(1) as f64;
    let mut text = format!(
        "{} missing of {} beyond {} counted as lost, {} strange, {} twice ({twice:.2} %)",
        found.missing.saturating_sub(report.counted),
        found.acknowledged,
        report.counted,
        found.spurious + found.corrupted,
        found.duplicates
    );
    if let Some((before, meanwhile)) = report.p99 {
        text += &format!(", p99 {:.2} x of {} ms", meanwhile.as_secs_f64() / before.as_secs_f64(), before.as_millis());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every bar is of faults that there are.
    #[test]
    fn every_fault_is_known() {
        for id in ["F1", "F3", "F4", "F6", "F10", "F12", "F19", "F29"] {
            assert!(::faults::find(id).is_some(), "{id}");
        }
        assert!(BARS.iter().all(|bar| Bar::find(bar.name).is_ok()));
    }
}
