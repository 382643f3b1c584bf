//! The reload bar: what taking another configuration costs those who stay, and what a thousand of them leave behind.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{Bar, Length, Options, Verdict};
use crate::{
    admin::Admin,
    compression::Compression,
    counting_sink::{self, Received},
    generator::{self, Sent, Stop},
    payload::Shape,
    peer::{Peer, Program, free_address},
    report::Spread,
    roles::{Actor, Order, Role},
    signal::Signal,
};

/// Pipelines of the first part; the first of them is the one that changes.
const PIPELINES: u64 = 10;
/// Records a second that are sent, each of which goes to all pipelines.
const RATE: f64 = 10_000.0;
/// Time between two reloads of the first part.
const PAUSE: Duration = Duration::from_millis(200);
/// How many times the p99 without reloads that of answers may be meanwhile.
const SLOWER: f64 = 1.2;
/// Reloads of the second part, pipelines that stay, and the most that come and go beside them.
const RELOADS: u64 = 1000;
const STAYING: u64 = 3;
const PASSING: u64 = 4;
/// Reloads until what is made once is there.
const WARM_UP: u64 = 100;
/// Files and threads that may be more in the end: those that happen to be in use when one looks.
const MORE_OPEN: f64 = 2.0;
/// MiB that the engine may be larger by in the end.
const MORE_MEMORY: f64 = 8.0;
/// How long what was acknowledged may take to arrive, and what was replaced to end.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

pub(super) const BAR: Bar = Bar {
    name: "reload",
    about: "ten pipelines under load, one of which changes five times a second; then 1,000 reloads at random",
    bound: "no record lost and no request refused, p99 of answers <= 1.20 x of that without reloads; in the end files and \
            threads + 2 at most, memory + 8 MiB at most",
    measure: |_, options| measure(options),
};

/// An engine that takes configurations from a file.
struct Subject {
    peer: Peer,
    admin: Admin,
    listen: SocketAddr,
}

/// What an engine has open, and its memory.
#[derive(Debug, Clone, Copy)]
struct Held {
    files: f64,
    threads: f64,
    resident_mib: f64,
}

impl fmt::Display for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} files, {} threads, {:.1} MiB", self.files, self.threads, self.resident_mib)
    }
}

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(binary) = options.program()? else { bail!("only the engine takes configurations") };
    let (pairs, seconds) = match options.length {
        Length::Short => (5, 5.0),
        Length::Long => (15, 10.0),
    };
    let ratio = beside_reloads(&binary, options.pairs.unwrap_or(pairs), seconds)?;
    let (before, after) = at_random(&binary)?;
    let [files, threads, memory] =
        [after.files - before.files, after.threads - before.threads, after.resident_mib - before.resident_mib];
    println!("  {RELOADS} reloads at random: {before} before, {after} after");
    Ok(Verdict {
        measured: format!(
            "no record lost, no request refused, p99 {:.2} x, files {files:+}, threads {threads:+}, memory {memory:+.1} MiB",
            ratio.median
        ),
        holds: ratio.median <= SLOWER && files <= MORE_OPEN && threads <= MORE_OPEN && memory <= MORE_MEMORY,
    })
}

/// The p99 of answers while one pipeline changes again and again, by that of the same time without.
fn beside_reloads(binary: &Path, pairs: usize, seconds: f64) -> Result<Spread> {
    let mut sink = Actor::start(Role::Sink, &counting_sink::Spec::plain())?;
    let endpoint: SocketAddr = sink.hear()?;
    let text = |subject: &[SocketAddr; 2], revision: u64| {
        let mut text = head(subject[0], subject[1]);
        (0..PIPELINES).for_each(|number| {
            text += &pipeline(number, &endpoint.to_string(), if number == 0 { revision } else { 0 });
        });
        text
    };
    let addresses = [free_address()?, free_address()?];
    let subject = Subject::start(binary, &text(&addresses, 0), addresses)?;
    let (mut alone, mut beside, mut sent_records, mut revision) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..pairs {
        let (sent, ()) = subject.under_load(seconds, |_| Ok(()))?;
        alone.push(sent.p99_us as f64 / 1e3);
        sent_records += sent.records;
        let before = revision;
        let (sent, ()) = subject.under_load(seconds, |is_running| {
            while is_running.load(Ordering::Relaxed) {
                revision += 1;
                subject.reload(&text(&addresses, revision))?;
                std::thread::sleep(PAUSE);
            }
            Ok(())
        })?;
        println!(
            "  {} reloads, p99 {:.2} ms, before {:.2} ms",
            revision - before,
            sent.p99_us as f64 / 1e3,
            alone[alone.len() - 1]
        );
        beside.push(sent.p99_us as f64 / 1e3);
        sent_records += sent.records;
    }
    arrived(&mut sink, PIPELINES * sent_records)?;
    let ratio = Spread::of(beside.iter().zip(&alone).map(|(beside, alone)| beside / alone));
    println!("  p99 alone {} ms, beside reloads {} ms, ratio {ratio}", Spread::of(alone), Spread::of(beside));
    Ok(ratio)
}

/// What an engine holds before and after many reloads, at each position and of whole pipelines, under load.
fn at_random(binary: &Path) -> Result<(Held, Held)> {
    let mut sink = Actor::start(Role::Sink, &counting_sink::Spec::plain())?;
    let endpoint: SocketAddr = sink.hear()?;
    let mut passing = Actor::start(Role::Sink, &counting_sink::Spec::plain())?;
    let passed: SocketAddr = passing.hear()?;
    let addresses = [free_address()?, free_address()?];
    let text = |draw: u64| {
        let mut text = head(addresses[0], addresses[1]);
        for number in 0..STAYING {
            text += &pipeline(number, &endpoint.to_string(), of(draw, number, 3));
        }
        for number in STAYING..STAYING + of(draw, 10, PASSING + 1) {
            text += &pipeline(number, &passed.to_string(), of(draw, number, 3));
            text += &format!("[sources.more-{number}]\ntype = \"otlp\"\ngrpc.listen = \"127.0.0.1:0\"\n");
            text = text.replace(
                &format!("[transforms.select-{number}]\ntype = \"select\"\ninputs = [\"in\"]"),
                &format!("[transforms.select-{number}]\ntype = \"select\"\ninputs = [\"in\", \"more-{number}\"]"),
            );
        }
        text
    };
    let rest = text(0);
    let subject = Subject::start(binary, &rest, addresses)?;
    let mut acknowledged = 0;
    let mut held = Vec::new();
    for draws in [1..WARM_UP, WARM_UP..WARM_UP + RELOADS] {
        let mut draws = draws.peekable();
        while draws.peek().is_some() {
            let (sent, ()) = subject.under_load(5.0, |is_running| {
                while is_running.load(Ordering::Relaxed)
                    && let Some(draw) = draws.next()
                {
                    subject.reload(&text(draw))?;
                }
                Ok(())
            })?;
            acknowledged += sent.records;
        }
        subject.reload(&rest)?;
        arrived(&mut sink, STAYING * acknowledged)?;
        held.push(subject.at_rest(rest.matches("type = ").count())?);
    }
    Ok((held[0], held[1]))
}

/// A number below `below`, the same for the same draw and place.
fn of(draw: u64, place: u64, below: u64) -> u64 {
    let mixed = (draw.wrapping_mul(31) + place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 33) % below
}

fn head(admin: SocketAddr, listen: SocketAddr) -> String {
    format!(
        "version = 1\nadmin.listen = \"{admin}\"\nshutdown.grace = \"10s\"\n[sources.in]\ntype = \"otlp\"\n\
         grpc.listen = \"{listen}\"\nsignals = [\"logs\"]\n"
    )
}

/// A pipeline that lets everything through; each revision is another transform and another sink than the one before.
fn pipeline(number: u64, endpoint: &str, revision: u64) -> String {
    format!(
        "[transforms.select-{number}]\ntype = \"select\"\ninputs = [\"in\"]\ndrop = {{ \"service.name\" = [\"nobody-{revision}\"] }}\n\
         [sinks.out-{number}]\ntype = \"otlp\"\ninputs = [\"select-{number}\"]\nendpoint = \"http://{endpoint}\"\n\
         compression = \"none\"\ntimeout = \"{}s\"\nbuffer.max_size = \"8MiB\"\n",
        10 + revision % 1000
    )
}

fn arrived(sink: &mut Actor, expected: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let received: Received = sink.ask(&())?;
        if received.records >= expected || start.elapsed() > TIMEOUT {
            ensure!(
                received.records == expected,
                "{expected} records were acknowledged and {} arrived",
                received.records
            );
            ensure!(received.fault.is_none(), "the sink received {:?}", received.fault);
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

impl Subject {
    fn start(binary: &Path, text: &str, [admin, listen]: [SocketAddr; 2]) -> Result<Subject> {
        let peer = Peer::configured(Command::new(binary), text, listen)?;
        Ok(Subject { peer, admin: Admin(admin), listen })
    }

    /// Sends for so long, and does something meanwhile. A refused or failed request is an error.
    fn under_load<T>(&self, seconds: f64, meanwhile: impl FnOnce(&AtomicBool) -> Result<T>) -> Result<(Sent, T)> {
        let spec = generator::Spec {
            target: self.listen,
            signal: Signal::Logs,
            shape: Shape { records: 100, ..Shape::STANDARD },
            pods: None,
            message: None,
            compression: Compression::None,
            connections: 4,
            in_flight: 4,
            rate: Some(RATE),
            stop: Stop::Seconds(seconds),
            max_frame: None,
        };
        let mut generator = Actor::start(Role::Generator, &spec)?;
        generator.hear::<()>()?;
        let is_running = AtomicBool::new(true);
        let (sent, done) = std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let sent = generator.ask::<Sent>(&Order::Run);
                is_running.store(false, Ordering::Relaxed);
                sent
            });
            let done = meanwhile(&is_running);
            (load.join(), done)
        });
        let sent = sent.map_err(|_| anyhow::anyhow!("the thread of the load panicked"))??;
        ensure!(sent.failed == 0, "{} requests failed, the first with {:?}", sent.failed, sent.failure);
        ensure!(sent.refused == 0, "{} requests were refused", sent.refused);
        Ok((sent, done?))
    }

    fn reload(&self, text: &str) -> Result<()> {
        self.peer.write(text)?;
        self.admin.reload().context("the configuration is not taken")
    }

    /// What it holds once there are only these components, because everything that was removed has ended.
    fn at_rest(&self, components: usize) -> Result<Held> {
        let start = Instant::now();
        let one = |name: &str| self.admin.metric(name)?.first().copied().context("the metric has a value");
        while self.admin.metric("telemetry_engine_component_healthy")?.len() != components {
            ensure!(start.elapsed() < TIMEOUT, "what was replaced has not ended");
            std::thread::sleep(POLL);
        }
        // Connections that are not used any more are closed, and free memory is given back, a little later.
        let mut last = (one("process_open_fds")?, one("process_threads")?);
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(250));
            let now = (one("process_open_fds")?, one("process_threads")?);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(Held { files: last.0, threads: last.1, resident_mib: self.peer.usage()?.resident_mib })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use engine_config::{Catalog, Environment, ParseOptions, SourceFile, load};

    use super::*;

    /// The engine takes the configurations as they stand, without a warning, and revisions differ.
    #[test]
    fn configurations_are_valid() {
        let address: SocketAddr = "127.0.0.1:4317".parse().unwrap();
        let text = |revision| head("127.0.0.1:13133".parse().unwrap(), address) + &pipeline(1, "127.0.0.1:1", revision);
        let loaded = |text: String| {
            let file = SourceFile::new("engine.toml", text);
            load(&[file], &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap()
        };
        let [one, other] = [loaded(text(0)), loaded(text(1))];
        assert_eq!(one.plan.warnings.iter().count(), 0, "{:?}", one.plan.warnings);
        for id in ["select-1", "out-1"] {
            assert!(!one.plan.node(id).unwrap().is_same_instance(other.plan.node(id).unwrap()), "{id}");
        }
    }
}
