//! The bars of the disk buffer: what it costs beside memory and how close it comes to the disk itself, and what an outage of the
//! backend does to memory. They compare the engine with itself and with the disk it writes to.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::{Bar, Length, Options, Verdict};
use crate::{
    admin::Admin,
    compression::Compression,
    counting_sink::{self, Received},
    generator::{self, Sent, Stop},
    payload::{self, Shape},
    peer::{Peer, Program, free_address},
    report::Spread,
    roles::{Actor, Order, Role},
    run::{Run, drain, figures, measure, start_generator},
    signal::Signal,
};

/// Who sends at once.
const PRODUCERS: usize = 8;
/// Requests as SDKs and agents send them.
const SHAPE: Shape = Shape { records: 1000, resources: 10, resource_attributes: 10 };
/// Records a second at which the CPU of both buffers is compared.
const RATE: f64 = 100_000.0;
/// Least throughput, as a share of what the disk does with writes as large, each of them synced.
const OF_THE_DISK: f64 = 0.5;
/// Most CPU, as a multiple of a memory buffer's.
const OF_MEMORY: f64 = 2.0;
/// Metric of the groups that were synced.
const GROUPS: &str = "telemetry_engine_sink_buffer_synced_groups_total";

/// Seconds after the first request between which the backend is away.
const AWAY: (f64, f64) = (2.0, 17.0);
/// Bytes a second meanwhile.
const OUTAGE_RATE: f64 = 42.0 * 1024.0 * 1024.0;
/// Most resident memory, in MiB, and most seconds until all has arrived behind the outage.
const MOST_MEMORY: f64 = 128.0;
const MOST_SECONDS: f64 = 12.0;
/// Memory is given back by then, to this.
const GIVEN_BACK_AFTER: Duration = Duration::from_secs(15);
const GIVEN_BACK: f64 = 64.0;
const POLL: Duration = Duration::from_millis(50);

pub(super) const DISK: Bar = Bar {
    name: "disk",
    about: "a disk buffer: 8 producers flat out against writes of the same size to the same disk, each synced; then 100,000 records a second against a memory buffer",
    bound: "throughput >= 0.50 x the disk, CPU <= 2.00 x a memory buffer",
    measure: |_, options| measure_disk(options),
};

pub(super) const OUTAGE: Bar = Bar {
    name: "outage",
    about: "a backend that refuses for 15 s while 42 MiB a second come, in front of a disk buffer",
    bound: "RSS <= 128 MiB, 64 MiB in the end, everything delivered <= 12 s after the outage",
    measure: |_, options| measure_outage(options),
};

/// Where a sink holds its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Memory,
    Disk,
}

/// An engine between a generator and a sink, with its files.
struct Bench {
    peer: Peer,
    admin: Admin,
    sink: Actor,
    /// Holds the buffer.
    _state: TempDir,
}

fn binary(options: &Options) -> Result<PathBuf> {
    match options.program()? {
        Program::Engine(binary) => Ok(binary),
        Program::NullHop | Program::Command(_) => bail!("this bar measures an engine"),
    }
}

fn start(binary: &Path, kept: Kept, spec: &counting_sink::Spec) -> Result<Bench> {
    let mut sink = Actor::start(Role::Sink, spec)?;
    let endpoint: SocketAddr = sink.hear()?;
    let (listen, admin) = (free_address()?, free_address()?);
    // Beside the build, so that it is a disk: /tmp may be memory.
    let state = TempDir::with_prefix_in("bars-", binary.parent().context("a binary is in a directory")?)?;
    let buffer = match kept {
        Kept::Memory => "buffer.max_size = \"64MiB\"",
        Kept::Disk => "buffer = { type = \"disk\", max_size = \"4GiB\" }",
    };
    let configuration = format!(
        r#"version = 1

[admin]
listen = "{admin}"

[state]
directory = "{}"

[sources.in]
type = "otlp"
grpc.listen = "{listen}"

[sinks.out]
type = "otlp"
inputs = ["in"]
endpoint = "http://{endpoint}"
compression = "none"
{buffer}
"#,
        state.path().display()
    );
    let peer = Peer::configured(Command::new(binary), &configuration, listen)?;
    Ok(Bench { peer, admin: Admin(admin), sink, _state: state })
}

fn load(bench: &Bench, signal: Signal, rate: Option<f64>, seconds: f64) -> Result<Actor> {
    start_generator(&generator::Spec {
        target: bench.peer.address,
        signal,
        shape: SHAPE,
        pods: None,
        message: None,
        compression: Compression::None,
        connections: PRODUCERS,
        in_flight: 1,
        rate,
        stop: Stop::Seconds(seconds),
        max_frame: None,
    })
}

fn measure_disk(options: &Options) -> Result<Verdict> {
    let binary = binary(options)?;
    let signal = options.signal.unwrap_or(Signal::Logs);
    let (pairs, seconds) = match options.length {
        Length::Short => (3, 5.0),
        Length::Long => (9, 15.0),
    };
    let pairs = options.pairs.unwrap_or(pairs);
    let mut shares = Vec::new();
    for _ in 0..pairs {
        shares.push(against_the_disk(&binary, signal, seconds)?);
    }
    let (mut memory, mut disk) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        let order = if pair % 2 == 0 { [Kept::Memory, Kept::Disk] } else { [Kept::Disk, Kept::Memory] };
        for kept in order {
            let run = paced(&binary, signal, kept, seconds)?;
            if kept == Kept::Memory { memory.push(run) } else { disk.push(run) }
        }
    }
    for (name, runs) in [("memory", &memory), ("disk", &disk)] {
        println!("  {name:<6} {}", figures(runs));
    }
    let share = Spread::of(shares);
    let ratio =
        Spread::of(disk.iter().zip(&memory).map(|(disk, memory)| disk.cpu_per_million() / memory.cpu_per_million()));
    println!("  throughput {share} of the disk, CPU {ratio} of memory");
    Ok(Verdict {
        measured: format!("throughput {:.2} x the disk, CPU {:.2} x a memory buffer", share.median, ratio.median),
        holds: share.median >= OF_THE_DISK && ratio.median <= OF_MEMORY,
    })
}

/// The throughput of a buffer in front of a backend that is away, as a share of what the disk does by itself with writes as
/// large as its groups were.
fn against_the_disk(binary: &Path, signal: Signal, seconds: f64) -> Result<f64> {
    let away = counting_sink::Spec { away: Some((0.0, f64::MAX)), ..counting_sink::Spec::plain() };
    let bench = start(binary, Kept::Disk, &away)?;
    let mut generator = load(&bench, signal, None, seconds)?;
    generator.ask::<u64>(&Order::WarmUp)?;
    let before = bench.admin.metric(GROUPS)?.iter().sum::<f64>();
    let sent: Sent = generator.ask(&Order::Run)?;
    ensure!(sent.failure.is_none(), "a request failed: {:?}", sent.failure);
    let groups = bench.admin.metric(GROUPS)?.iter().sum::<f64>() - before;
    let rate = sent.request_bytes_total as f64 / sent.seconds;
    let group = (sent.request_bytes_total as f64 / groups).round();
    let directory = bench._state.path().to_owned();
    let by_itself = synced_writes(&directory, group as usize, sent.seconds)?;
    println!(
        "  8 producers: {:.0} MiB/s in groups of {:.0} KiB, {} times refused; the disk by itself {:.0} MiB/s",
        rate / 1024.0 / 1024.0,
        group / 1024.0,
        sent.refused,
        by_itself / 1024.0 / 1024.0,
    );
    Ok(rate / by_itself)
}

/// Bytes a second that are appended to files in a directory by writes of this size, each of them synced.
fn synced_writes(directory: &Path, size: usize, seconds: f64) -> Result<f64> {
    /// Files are as large as the buffer's.
    const FILE: usize = 64 << 20;
    let bytes: Vec<u8> = (0..size).map(|place| (place * 31 % 251) as u8).collect();
    let path = directory.join("by-itself");
    let start = Instant::now();
    let mut written = 0_u64;
    'time: loop {
        let mut file = File::create(&path)?;
        for _ in 0..FILE.div_ceil(size.max(1)) {
            if start.elapsed().as_secs_f64() > seconds {
                break 'time;
            }
            file.write_all(&bytes)?;
            file.sync_data()?;
            written += size as u64;
        }
        fs::remove_file(&path)?;
    }
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

fn paced(binary: &Path, signal: Signal, kept: Kept, seconds: f64) -> Result<Run> {
    let mut bench = start(binary, kept, &counting_sink::Spec::plain())?;
    let mut generator = load(&bench, signal, Some(RATE), seconds)?;
    measure(&mut generator, &bench.peer, &mut bench.sink)
}

fn measure_outage(options: &Options) -> Result<Verdict> {
    let binary = binary(options)?;
    let signal = options.signal.unwrap_or(Signal::Logs);
    let size = payload::request(signal, SHAPE, 0).len();
    let rate = OUTAGE_RATE / size as f64 * SHAPE.records as f64;
    let spec = counting_sink::Spec { away: Some(AWAY), ..counting_sink::Spec::plain() };
    let mut bench = start(&binary, Kept::Disk, &spec)?;
    let before = bench.peer.usage()?.resident_mib;
    let mut generator = load(&bench, signal, Some(rate), AWAY.1)?;
    let warm_up: u64 = generator.ask(&Order::WarmUp)?;
    let sent: Sent = generator.ask(&Order::Run)?;
    ensure!(sent.failure.is_none(), "a request failed: {:?}", sent.failure);
    let healed = Instant::now();
    let at_the_end: Received = bench.sink.ask(&())?;
    let all = warm_up + sent.records;
    let received = drain(&mut bench.sink, all)?;
    let seconds = healed.elapsed().as_secs_f64();
    ensure!(received.fault.is_none(), "the sink received {:?}", received.fault);
    ensure!(at_the_end.records < all / 2, "the outage did not take place: {} of {all} had arrived", at_the_end.records);
    let peak = bench.peer.usage()?.peak_mib;
    let idle = Instant::now();
    let mut resident = bench.peer.usage()?.resident_mib;
    while resident > GIVEN_BACK && idle.elapsed() < GIVEN_BACK_AFTER {
        std::thread::sleep(POLL);
        resident = bench.peer.usage()?.resident_mib;
    }
    println!(
        "  {} records at {:.1} MiB/s, {} refused, p99 {:.1} ms; at the end of the outage {} had not arrived, {seconds:.1} s later all had, {} of them twice; RSS {before:.1} MiB before, {peak:.1} MiB peak, {resident:.1} MiB {:.0} s after",
        sent.records,
        sent.request_bytes_total as f64 / sent.seconds / 1024.0 / 1024.0,
        sent.refused,
        sent.p99_us as f64 / 1e3,
        all - at_the_end.records.min(all),
        received.records - all,
        idle.elapsed().as_secs_f64(),
    );
    Ok(Verdict {
        measured: format!("RSS {peak:.0} MiB, {resident:.0} MiB in the end, everything delivered after {seconds:.1} s"),
        holds: peak <= MOST_MEMORY && resident <= GIVEN_BACK && seconds <= MOST_SECONDS,
    })
}
