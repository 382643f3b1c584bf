//! The bars of reading files: container logs from a tree like the kubelet's, parsed, to OTLP gRPC with the backend's answer.
//! The null hop reads no files: it is given the records that the engine made of them.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;

use super::{Bar, Length, Options, Verdict};
use crate::{
    compression::Compression,
    counting_sink::{self, Received, count_records},
    frames::Frames,
    generator::{self, Stop},
    hop::{Acknowledge, Hop, Step},
    log_writer::{How, Layout, Order, Rotation, Spec, Written},
    numbers::Tally,
    payload::Shape,
    peer::{Peer, Program, Setting, free_address},
    process::Usage,
    report::Spread,
    roles::{Actor, Role},
    run::{measure, start_generator},
    signal::Signal,
};

/// Bytes of a line, with its content in JSON and what containerd writes before it.
pub(super) const LINE: usize = 234;
/// What the engine may send twice after a crash, in bytes of files.
const WINDOW: u64 = 16 << 20;

/// How long what was written may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(120);
/// How often the backend is asked.
const POLL: Duration = Duration::from_millis(10);

/// CPU seconds for a million lines, and how many times what the null hop takes for the records that are made of them.
const CPU_PER_MILLION: f64 = 1.0;
const TIMES_NULL_HOP: f64 = 4.0;
const FOLLOW_SHARE: f64 = 4.0;
const SMALL_SHARE: f64 = 5.0;
const MOST_MIB: f64 = 40.0;

/// Between two kills, and from a kill to the next start at most.
const LIFE: Duration = Duration::from_secs(20);
const AWAY: Duration = Duration::from_millis(700);

/// Has each number in its record once.
const ONCE: &str = "keep_original_body = false";

pub(super) const BARS: [Bar; 5] = [
    Bar {
        name: "tail-20",
        about: "20 container logs of 234-byte lines that are there, read, parsed, sent and acknowledged",
        bound: "CPU <= 4.00 x null hop on the same records, <= 1.00 s per million lines, 0 lost",
        measure: |_, options| catch_up(options, 20),
    },
    Bar {
        name: "tail-500",
        about: "the same lines in 500 files",
        bound: "CPU <= 4.00 x null hop on the same records, <= 1.00 s per million lines, 0 lost",
        measure: |_, options| catch_up(options, 500),
    },
    Bar {
        name: "follow",
        about: "20 container logs that grow by 20,000 lines a second together, a write for each line",
        bound: "CPU <= 4 % of a core, peak RSS <= 40 MiB, 0 lost",
        measure: |_, options| follow(options, 20, 20_000.0, FOLLOW_SHARE),
    },
    Bar {
        name: "small-files",
        about: "1,000 container logs that grow by 10 lines a second each",
        bound: "CPU <= 5 % of a core, peak RSS <= 40 MiB, 0 lost",
        measure: |_, options| follow(options, 1000, 10_000.0, SMALL_SHARE),
    },
    Bar {
        name: "rotate",
        about: "a container log of 20 MB/s, rotated at 10 MiB and compressed, 5 old files kept, the agent killed every 20 s",
        bound: "0 missing, duplicates <= one window of 16 MiB a kill",
        measure: |_, options| rotate(options),
    },
];

/// What a writer writes by default.
fn spec(directory: &Path, files: u64, lines: u64) -> Spec {
    Spec {
        directory: directory.to_owned(),
        layout: Layout::Pods,
        files,
        line_bytes: LINE,
        lines,
        rate: None,
        lines_per_write: 1000,
        rotation: None,
    }
}

fn sink_spec() -> counting_sink::Spec {
    counting_sink::Spec {
        expected_attributes: vec!["k8s.pod.name".to_owned(), "k8s.container.name".to_owned()],
        ..counting_sink::Spec::plain()
    }
}

/// An engine that reads the logs of pods in `logs` and keeps its positions in `state`.
fn start(program: &Program, logs: &Path, state: &Path, endpoint: SocketAddr) -> Result<Peer> {
    start_with(program, logs, state, endpoint, "")
}

/// The same with more keys of the source.
fn start_with(program: &Program, logs: &Path, state: &Path, endpoint: SocketAddr, keys: &str) -> Result<Peer> {
    let Program::Engine(binary) = program else { bail!("this bar measures an engine") };
    let address = free_address()?;
    let configuration = format!(
        r#"version = 1

[admin]
listen = "{address}"

[state]
directory = "{}"

[sources.logs]
type = "kubernetes_logs"
directory = "{}"
max_in_flight = "{WINDOW}B"
{keys}

[sinks.out]
type = "otlp"
inputs = ["logs"]
endpoint = "http://{endpoint}"
compression = "none"
acknowledge = "delivered"
"#,
        state.display(),
        logs.display(),
    );
    Peer::configured(Command::new(binary), &configuration, address)
}

/// Files that are there when the engine starts.
fn catch_up(options: &Options, files: u64) -> Result<Verdict> {
    let program = options.program()?;
    let (millions, runs) = match options.length {
        Length::Short => (1, options.pairs.unwrap_or(3)),
        Length::Long => (3, options.pairs.unwrap_or(5)),
    };
    let [logs, none] = [TempDir::with_prefix("bars-")?, TempDir::with_prefix("bars-")?];
    let mut writer = Actor::start(Role::LogWriter, &spec(logs.path(), files, millions * 1_000_000 / files))?;
    let lines = wait_for_all(&mut writer)?.lines.iter().sum::<u64>();
    let mut figures = Vec::new();
    for _ in 0..runs {
        let state = TempDir::with_prefix("bars-")?;
        let mut sink = Actor::start(Role::Sink, &sink_spec())?;
        let kept = state.path().join("request");
        // What a start costs without a file is no cost of reading.
        let idle = start(&program, none.path(), &state.path().join("none"), sink.hear()?)?;
        std::thread::sleep(Duration::from_millis(500));
        let without = cpu(&idle.usage()?);
        drop(idle);
        let mut sink = Actor::start(Role::Sink, &counting_sink::Spec { kept: Some(kept.clone()), ..sink_spec() })?;
        let begin = Instant::now();
        let peer = start(&program, logs.path(), state.path(), sink.hear()?)?;
        let received = arrived(&mut sink, lines)?;
        let took = begin.elapsed().as_secs_f64();
        // Positions are kept a second later.
        std::thread::sleep(Duration::from_millis(1500));
        let usage = peer.usage()?;
        drop(peer);
        let of_engine = (cpu(&usage) - without) / (lines as f64 / 1e6);
        let of_null_hop = null_hop(&kept, lines)?;
        figures.push([
            of_engine,
            lines as f64 / took,
            usage.peak_mib,
            lines as f64 / received.requests as f64,
            of_null_hop,
            of_engine / of_null_hop,
        ]);
    }
    let of = |place: usize| Spread::of(figures.iter().map(|run: &[f64; 6]| run[place]));
    println!("{lines} lines of {LINE} bytes in {files} files, {runs} runs");
    println!(
        "  engine    CPU-s/M {}  lines/s {:.0}  peak RSS {:.1} MiB  records a request {:.0}",
        of(0),
        of(1).median,
        of(2).median,
        of(3).median
    );
    println!("  null hop  CPU-s/M {}  engine / null hop {}", of(4), of(5));
    let (seconds, times) = (of(0).median, of(5).median);
    Ok(Verdict {
        measured: format!("CPU {times:.2} x null hop, {seconds:.3} s per million lines"),
        holds: times <= TIMES_NULL_HOP && seconds <= CPU_PER_MILLION,
    })
}

/// CPU seconds that the null hop takes for a million records, which it is given in the request of this file again and again.
fn null_hop(request: &Path, records: u64) -> Result<f64> {
    let signal = Signal::Logs;
    let each = count_records(signal, &std::fs::read(request)?)?;
    let mut sink = Actor::start(Role::Sink, &sink_spec())?;
    let endpoint = sink.hear()?;
    let hop = Hop { step: Step::Upsert(&[]), acknowledge: Acknowledge::Delivered, compression: Compression::None };
    let setting = Setting { hop: &hop, frames: Frames::LARGE, endpoint, cores: None };
    let peer = Peer::start(&Program::NullHop, &setting)?;
    let mut generator = start_generator(&generator::Spec {
        target: peer.address,
        signal,
        shape: Shape { records: usize::try_from(each)?, ..Shape::STANDARD },
        pods: None,
        message: Some(request.to_owned()),
        compression: Compression::None,
        connections: 2,
        in_flight: 4,
        rate: None,
        stop: Stop::Requests(records.div_ceil(each)),
        max_frame: None,
    })?;
    Ok(measure(&mut generator, &peer, &mut sink)?.cpu_per_million())
}

/// Files that grow while the engine runs.
fn follow(options: &Options, files: u64, rate: f64, most_share: f64) -> Result<Verdict> {
    let program = options.program()?;
    let seconds = if options.length == Length::Long { 120 } else { 30 };
    let warm_up = Duration::from_secs(5);
    let [logs, state] = [TempDir::with_prefix("bars-")?, TempDir::with_prefix("bars-")?];
    let mut sink = Actor::start(Role::Sink, &sink_spec())?;
    let peer = start(&program, logs.path(), state.path(), sink.hear()?)?;
    let lines = (rate * (warm_up.as_secs_f64() + seconds as f64 + 2.0)) as u64 / files;
    let growing = Spec { rate: Some(rate), lines_per_write: 1, ..spec(logs.path(), files, lines) };
    let mut writer = Actor::start(Role::LogWriter, &growing)?;
    std::thread::sleep(warm_up);
    let (begin, before) = (Instant::now(), cpu(&peer.usage()?));
    std::thread::sleep(Duration::from_secs(seconds));
    let usage = peer.usage()?;
    let share = 100.0 * (cpu(&usage) - before) / begin.elapsed().as_secs_f64();
    let written: u64 = wait_for_all(&mut writer)?.lines.iter().sum();
    let received = arrived(&mut sink, written)?;
    println!("{rate} lines a second in {files} files for {seconds} s");
    println!(
        "  engine    CPU {share:.2} % of a core  CPU-s/M {:.2}  peak RSS {:.1} MiB  records a request {:.0}",
        share / 100.0 * 1e6 / rate,
        usage.peak_mib,
        written as f64 / received.requests as f64,
    );
    Ok(Verdict {
        measured: format!("CPU {share:.2} % of a core, peak RSS {:.1} MiB", usage.peak_mib),
        holds: share <= most_share && usage.peak_mib <= MOST_MIB,
    })
}

/// Rotation and kills under load.
fn rotate(options: &Options) -> Result<Verdict> {
    let program = options.program()?;
    let kills = if options.length == Length::Long { 29 } else { 3 };
    let [logs, state] = [TempDir::with_prefix("bars-")?, TempDir::with_prefix("bars-")?];
    let mut sink = Actor::start(Role::NotingSink, &sink_spec())?;
    let endpoint = sink.hear()?;
    let mut peer = start_with(&program, logs.path(), state.path(), endpoint, ONCE)?;
    let rate = 20e6 / LINE as f64;
    let seconds = LIFE.as_secs_f64() * f64::from(kills + 1) * 2.0;
    let rotated = Spec {
        rate: Some(rate),
        lines_per_write: 100,
        rotation: Some(Rotation { how: How::RenameAndCompress, from_bytes: 10 << 20, keep: 5 }),
        ..spec(logs.path(), 1, (rate * seconds) as u64)
    };
    let mut writer = Actor::start(Role::LogWriter, &rotated)?;
    let mut before = 0;
    let mut most = 0;
    println!("window: {} MiB, {} lines", WINDOW >> 20, WINDOW / LINE as u64);
    for kill in 1..=kills {
        std::thread::sleep(LIFE);
        peer.kill()?;
        std::thread::sleep(AWAY);
        peer = start_with(&program, logs.path(), state.path(), endpoint, ONCE)?;
        // The lines that come twice come first.
        std::thread::sleep(Duration::from_secs(5));
        let written: Written = writer.ask(&Order::Tell)?;
        let tally: Tally = sink.ask(&written.lines)?;
        let again = tally.duplicates - before;
        (before, most) = (tally.duplicates, most.max(again));
        println!(
            "  kill {kill}: {again} lines came twice, {:.2} windows; {} were written",
            again as f64 * LINE as f64 / WINDOW as f64,
            written.lines[0]
        );
    }
    std::thread::sleep(LIFE);
    let written: Written = writer.ask(&Order::Stop)?;
    let begin = Instant::now();
    let tally = loop {
        let tally: Tally = sink.ask(&written.lines)?;
        if tally.missing == 0 || begin.elapsed() > ARRIVAL {
            break tally;
        }
        std::thread::sleep(POLL * 10);
    };
    let lines: u64 = written.lines.iter().sum();
    println!(
        "  {lines} lines, {} rotations, {} missing, {} twice, {} unknown; peak RSS {:.1} MiB",
        written.rotations,
        tally.missing,
        tally.duplicates,
        tally.unknown,
        peer.usage()?.peak_mib
    );
    for (_, from, to) in &tally.gaps {
        println!("    missing: lines {from} to {}", to - 1);
    }
    ensure!(tally.unknown == 0, "void: {} lines came that nobody wrote", tally.unknown);
    Ok(Verdict {
        measured: format!(
            "{} missing, at most {:.2} windows twice a kill",
            tally.missing,
            most as f64 * LINE as f64 / WINDOW as f64
        ),
        holds: tally.missing == 0 && most * LINE as u64 <= WINDOW,
    })
}

fn cpu(usage: &Usage) -> f64 {
    (usage.user + usage.system).as_secs_f64()
}

/// Waits until a writer has written everything.
pub(super) fn wait_for_all(writer: &mut Actor) -> Result<Written> {
    loop {
        let written: Written = writer.ask(&Order::Tell)?;
        if written.is_over {
            return Ok(written);
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until so many records have arrived, and no more than that.
pub(super) fn arrived(sink: &mut Actor, lines: u64) -> Result<Received> {
    let begin = Instant::now();
    loop {
        let received: Received = sink.ask(&())?;
        if let Some(fault) = &received.fault {
            bail!("void: {fault}");
        }
        ensure!(received.records <= lines, "void: {} lines were written and {} came", lines, received.records);
        ensure!(received.wrong_resources == 0, "void: resources lack attributes of their pod");
        if received.records == lines {
            return Ok(received);
        }
        ensure!(begin.elapsed() < ARRIVAL, "void: {} of {lines} lines came", received.records);
        std::thread::sleep(POLL);
    }
}
