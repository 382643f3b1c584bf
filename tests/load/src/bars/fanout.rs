//! The fan-out bars: what it costs that many pipelines share what comes in, each of which takes one resource of every request,
//! and that three pipelines take all of it, against one pipeline that takes all of it. They compare the engine with itself,
//! not with the null hop.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::{Bar, Length, Options, Verdict};
use crate::{
    compression::Compression,
    counting_sink,
    generator::{self, Stop},
    payload::{self, Shape},
    peer::{Peer, Program, free_address},
    report::Spread,
    roles::{Actor, Role},
    run::{Run, figures, measure_copies, start_generator},
    signal::Signal,
};

/// Pipelines that share a request, each of which takes one of its resources.
const PIPELINES: usize = 20;
/// Most CPU of them, as a multiple of that of one pipeline.
const BOUND: f64 = 1.5;
/// Pipelines that each take all of it, and most CPU of them.
const COPYING: usize = 3;
const BOUND_OF_COPIES: f64 = 2.0;
/// Records a second. Flat out the pipelines would have to be slower than what comes in, and drop.
const RATE: f64 = 200_000.0;
const PAIRS: usize = 5;
const PAIRS_LONG: usize = 9;

/// Requests as a gateway gets them from agents: of many namespaces.
const SHAPE: Shape = Shape { records: 1000, resources: PIPELINES, resource_attributes: 10 };

pub(super) const BAR: Bar = Bar {
    name: "fanout-20",
    about: "20 pipelines that select one of 20 namespaces each, over one that takes all; 200,000 records a second, 1 MiB or 200 ms a request out",
    bound: "CPU <= 1.50 x one pipeline",
    measure: |_, options| measure(options, Layout::Many, BOUND),
};

pub(super) const COPIES: Bar = Bar {
    name: "fanout",
    about: "3 pipelines that take everything, over one that does; 200,000 records a second, 1000 a request as they came, nothing compressed",
    bound: "CPU <= 2.00 x one pipeline",
    measure: |_, options| measure(options, Layout::Copies, BOUND_OF_COPIES),
};

/// How what comes in goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// To one sink.
    One,
    /// To a sink for each namespace, with a selection in front of it.
    Many,
    /// To three sinks, all of it to each.
    Copies,
}

impl Layout {
    /// How often each record goes out.
    const fn copies(self) -> u64 {
        match self {
            Self::One | Self::Many => 1,
            Self::Copies => COPYING as u64,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Many => "20",
            Self::Copies => "3",
        }
    }
}

/// What is measured, and with what.
struct Bench<'a> {
    binary: &'a Path,
    /// A file with the request that is sent.
    message: PathBuf,
    signal: Signal,
    seconds: f64,
}

fn measure(options: &Options, layout: Layout, bound: f64) -> Result<Verdict> {
    let Program::Engine(binary) = options.program()? else { bail!("this bar measures an engine") };
    let (pairs, seconds) = match options.length {
        Length::Short => (PAIRS, 5.0),
        Length::Long => (PAIRS_LONG, 15.0),
    };
    let signal = options.signal.unwrap_or(Signal::Logs);
    let directory = TempDir::with_prefix("bars-")?;
    let message = directory.path().join("request");
    let namespaces: Vec<String> = (0..PIPELINES).map(namespace).collect();
    std::fs::write(&message, payload::request_of_namespaces(signal, SHAPE, 1, &namespaces))?;
    let bench = Bench { binary: &binary, message, signal, seconds };
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for pair in 0..options.pairs.unwrap_or(pairs) {
        if pair % 2 == 0 {
            one.push(bench.run(Layout::One)?);
            many.push(bench.run(layout)?);
        } else {
            many.push(bench.run(layout)?);
            one.push(bench.run(Layout::One)?);
        }
    }
    println!("{}: {} pairs of {seconds} s", signal.name(), one.len());
    for (name, runs) in [(Layout::One.name(), &one), (layout.name(), &many)] {
        let out = Spread::of(runs.iter().map(|run| run.sent.records as f64 / run.requests_out as f64)).median;
        println!("  {name:<6} {}  records a request out {out:.0}", figures(runs));
    }
    let ratio = Spread::of(many.iter().zip(&one).map(|(many, one)| many.cpu_per_million() / one.cpu_per_million()));
    println!("  ratio  CPU {ratio}");
    Ok(Verdict { measured: format!("CPU {:.2} x one pipeline", ratio.median), holds: ratio.median <= bound })
}

impl Bench<'_> {
    fn run(&self, layout: Layout) -> Result<Run> {
        let mut sink = Actor::start(Role::Sink, &counting_sink::Spec::plain())?;
        let endpoint = sink.hear()?;
        let listen = free_address()?;
        let peer = Peer::configured(Command::new(self.binary), &configuration(layout, listen, endpoint), listen)?;
        let mut generator = start_generator(&generator::Spec {
            target: peer.address,
            signal: self.signal,
            shape: SHAPE,
            pods: None,
            message: Some(self.message.clone()),
            compression: Compression::None,
            connections: 2,
            in_flight: 4,
            rate: Some(RATE),
            stop: Stop::Seconds(self.seconds),
            max_frame: None,
        })?;
        measure_copies(&mut generator, &peer, &mut sink, layout.copies())
    }
}

fn namespace(number: usize) -> String {
    format!("team-{number:02}")
}

/// The engine's configuration.
fn configuration(layout: Layout, listen: SocketAddr, endpoint: SocketAddr) -> String {
    let mut text = format!(
        r#"version = 1

[admin]
listen = "127.0.0.1:0"

[sources.in]
type = "otlp"
grpc.listen = "{listen}"
"#
    );
    let mut sink = |id: &str, input: &str| {
        write!(
            text,
            r#"
[sinks.{id}]
type = "otlp"
inputs = ["{input}"]
endpoint = "http://{endpoint}"
compression = "none"
buffer.max_size = "16MiB"
batch = {{ max_size = "1MiB", timeout = "200ms" }}
"#
        )
        .expect("writing into a string succeeds");
    };
    match layout {
        Layout::One => {
            sink("out", "in");
            return text;
        }
        Layout::Copies => {
            (0..COPYING).for_each(|number| sink(&format!("out-{number}"), "in"));
            return text;
        }
        Layout::Many => {}
    }
    (0..PIPELINES).for_each(|number| sink(&format!("out-{number}"), &format!("select-{number}")));
    for number in 0..PIPELINES {
        let namespace = namespace(number);
        text += &format!(
            r#"
[transforms.select-{number}]
type = "select"
inputs = ["in"]
keep = {{ "k8s.namespace.name" = ["{namespace}"] }}
"#
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use engine_config::{Catalog, Environment, ParseOptions, SourceFile, load};

    use super::*;

    /// The engine takes both configurations as they stand, without a warning.
    #[test]
    fn the_configurations_are_valid() {
        for layout in [Layout::One, Layout::Many, Layout::Copies] {
            let text = configuration(layout, "127.0.0.1:4317".parse().unwrap(), "127.0.0.1:5317".parse().unwrap());
            let file = SourceFile::new("engine.toml", text);
            let loaded = load(&[file], &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap();
            assert_eq!(loaded.plan.warnings.iter().count(), 0, "{:?}", loaded.plan.warnings);
        }
    }
}
