//! The bars that compare a hop with the null hop, as data: a case and its bounds.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use anyhow::Result;

use super::{Bar, Options, Verdict, compare::Comparison};
use crate::{
    compression::Compression,
    frames::Frames,
    hop::{Acknowledge, Hop, Step},
    payload::Shape,
    run::Case,
    signal::Signal,
};

const FOUR: &[(&str, &str)] = &[
    ("k8s.cluster.name", "production"),
    ("deployment.environment.name", "production"),
    ("cloud.region", "eu-central-1"),
    ("service.version", "2.0.0"),
];

const SIX: &[(&str, &str)] = &[
    ("k8s.cluster.name", "production"),
    ("k8s.cluster.uid", "0c4f6d1e-4a3b-4a55-9a4e-2f6f3b8f6f11"),
    ("deployment.environment.name", "production"),
    ("cloud.provider", "aws"),
    ("cloud.region", "eu-central-1"),
    ("service.version", "2.0.0"),
];

const ONE: &[(&str, &str)] = &[("deployment.environment.name", "production")];

/// Four attributes put into each resource, one of them already there; the answer follows the backend's.
pub(super) const HOP: Hop =
    Hop { step: Step::Upsert(FOUR), acknowledge: Acknowledge::Delivered, compression: Compression::None };

pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "hop",
        about: "gRPC in, full admission, 4 resource attributes upserted, gRPC out, acknowledge delivered, flat out",
        bound: "CPU <= 1.00 x null hop, each signal",
        measure: |_, options| each_signal(options, &Signal::ALL, &CPU_1_0, |signal| Case::standard(signal, HOP)),
    },
    Bar {
        name: "hop-record",
        about: "the hop with 1 attribute upserted in every log record instead of the resources",
        bound: "CPU <= 2.00 x null hop",
        measure: |_, options| {
            let hop = Hop { step: Step::UpsertRecords(ONE), ..HOP };
            each_signal(options, &[Signal::Logs], &Bounds::cpu(2.0), |signal| Case::standard(signal, hop))
        },
    },
    Bar {
        name: "hop-paced",
        about: "the hop at 100,000 records a second",
        bound: "CPU <= 1.00 x, p99 <= 1.50 x null hop, peak RSS <= 32 MiB, each signal",
        measure: |_, options| {
            let bounds = Bounds { cpu: 1.0, p99: Some(1.5), peak_mib: Some(32.0) };
            each_signal(options, &Signal::ALL, &bounds, |signal| Case {
                rate: Some(100_000.0),
                seconds: 4.0,
                ..Case::standard(signal, HOP)
            })
        },
    },
    Bar {
        name: "hop-16k",
        about: "the hop with a client and a backend that keep to frames of 16 KiB",
        bound: "CPU <= 1.10 x null hop, each signal",
        measure: |_, options| {
            each_signal(options, &Signal::ALL, &CPU_1_1, |signal| Case {
                sent_frame: Some(16 << 10),
                sink_frames: Frames::SMALL_FRAME_LARGE_WINDOW,
                ..Case::standard(signal, HOP)
            })
        },
    },
    Bar {
        name: "hop-small",
        about: "10 records of one resource a request, acknowledge buffered: the sink batches",
        bound: "CPU <= 0.90 x null hop, each signal",
        measure: |_, options| {
            let bounds = Bounds::cpu(0.9);
            each_signal(options, &Signal::ALL, &bounds, |signal| {
                let hop = Hop { acknowledge: Acknowledge::Buffered, ..HOP };
                Case {
                    shape: Shape { records: 10, resources: 1, resource_attributes: 10 },
                    ..Case::standard(signal, hop)
                }
            })
        },
    },
    Bar {
        name: "hop-wide",
        about: "500 resources of 2 records and 20 attributes a request, 6 attributes upserted",
        bound: "CPU <= 1.60 x null hop, each signal",
        measure: |_, options| {
            let bounds = Bounds::cpu(1.6);
            each_signal(options, &Signal::ALL, &bounds, |signal| Case {
                shape: Shape { records: 1000, resources: 500, resource_attributes: 20 },
                ..Case::standard(signal, Hop { step: Step::Upsert(SIX), ..HOP })
            })
        },
    },
    Bar {
        name: "connections",
        about: "2,000 connections with one gzip request of 50 records a second each",
        bound: "CPU <= 1.30 x null hop, peak RSS <= 128 MiB",
        measure: |_, options| {
            let bounds = Bounds { cpu: 1.3, p99: None, peak_mib: Some(128.0) };
            each_signal(options, &[Signal::Logs], &bounds, |signal| {
                let hop = Hop { compression: Compression::Gzip, ..HOP };
                Case {
                    shape: Shape { records: 50, resources: 1, resource_attributes: 10 },
                    peer_frames: Frames::SMALL,
                    connections: 2000,
                    in_flight: 1,
                    rate: Some(100_000.0),
                    seconds: 6.0,
                    ..Case::standard(signal, hop)
                }
            })
        },
    },
    Bar {
        name: "hop-gzip",
        about: "the hop with gzip level 1 in and out; the null hop inflates and deflates too",
        bound: "CPU <= 1.10 x null hop, each signal",
        measure: |_, options| compressed(options, Compression::Gzip),
    },
    Bar {
        name: "hop-zstd",
        about: "the hop with zstd level 1 in and out; the null hop unpacks and packs too",
        bound: "CPU <= 1.10 x null hop, each signal",
        measure: |_, options| compressed(options, Compression::Zstd),
    },
];

const CPU_1_0: Bounds = Bounds::cpu(1.0);
const CPU_1_1: Bounds = Bounds::cpu(1.1);

/// What the medians of a comparison must not exceed.
struct Bounds {
    /// CPU ratio.
    cpu: f64,
    /// Ratio of 99th percentiles.
    p99: Option<f64>,
    /// Peak resident memory in MiB.
    peak_mib: Option<f64>,
}

impl Bounds {
    const fn cpu(cpu: f64) -> Bounds {
        Bounds { cpu, p99: None, peak_mib: None }
    }
}

/// The worst medians of all signals.
#[derive(Default)]
struct Worst {
    cpu: f64,
    p99: f64,
    peak_mib: f64,
}

impl Worst {
    fn verdict(&self, bounds: &Bounds) -> Verdict {
        let mut measured = format!("CPU {:.2} x null hop", self.cpu);
        let mut holds = self.cpu <= bounds.cpu;
        if let Some(p99) = bounds.p99 {
            measured += &format!(", p99 {:.2} x", self.p99);
            holds &= self.p99 <= p99;
        }
        if let Some(peak_mib) = bounds.peak_mib {
            measured += &format!(", peak RSS {:.1} MiB", self.peak_mib);
            holds &= self.peak_mib <= peak_mib;
        }
        Verdict { measured, holds }
    }
}

/// Compares a case for the chosen signals; the worst one counts.
fn each_signal(
    options: &Options,
    signals: &[Signal],
    bounds: &Bounds,
    case_of: impl Fn(Signal) -> Case,
) -> Result<Verdict> {
    let program = options.program()?;
    let only = options.signal.as_slice();
    let mut worst = Worst::default();
    for &signal in if only.is_empty() { signals } else { only } {
        let case = case_of(signal);
        let comparison = Comparison::measure(&case, &program, options)?;
        comparison.print(signal.name());
        worst.cpu = worst.cpu.max(comparison.cpu_ratio().median);
        worst.p99 = worst.p99.max(comparison.p99_ratio().median);
        worst.peak_mib = worst.peak_mib.max(comparison.peak_mib().most);
    }
    Ok(worst.verdict(bounds))
}

fn compressed(options: &Options, compression: Compression) -> Result<Verdict> {
    each_signal(options, &Signal::ALL, &CPU_1_1, |signal| Case::standard(signal, Hop { compression, ..HOP }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every bound counts: one that is exceeded is enough to fall short.
    #[test]
    fn one_exceeded_bound_falls_short() {
        let bounds = Bounds { cpu: 1.0, p99: Some(1.5), peak_mib: Some(32.0) };
        let within = Worst { cpu: 1.0, p99: 1.5, peak_mib: 32.0 };
        assert!(within.verdict(&bounds).holds);
        for exceeded in
            [Worst { cpu: 1.01, ..within }, Worst { p99: 1.51, ..within }, Worst { peak_mib: 32.1, ..within }]
        {
            assert!(!exceeded.verdict(&bounds).holds);
        }
    }
}
