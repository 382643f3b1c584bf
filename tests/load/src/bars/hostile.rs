//! The hostile bar: what attacks cost the well-behaved, and whether memory and lanes hold out.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use tokio::runtime::Runtime;

use super::{Bar, Length, Options, Verdict};
use crate::{
    compression::Compression,
    generator::{self, Sent, Stop},
    hostile::{
        Victim,
        bodies::{self, Named},
        crowd,
        request::{Answer, over_grpc, over_http},
        slow::SlowCrowd,
    },
    payload::Shape,
    peer::Program,
    report::Spread,
    roles::{Actor, Order, Role},
    signal::Signal,
};

/// The longest that a lane may be held.
const LONGEST_DELAY: Duration = Duration::from_millis(100);
/// Slow connections, and how much longer the answers of good clients may take beside them.
const SLOW_CONNECTIONS: usize = 2000;
const SLOWER: f64 = 2.0;
/// How many times the limit of a request a bomb may raise the memory.
const BOMB_FACTOR: f64 = 2.0;
/// Memory that the kernel lets the engine have in front of a crowd, the crowd, and the size of its requests.
const MEMORY: u64 = 128 << 20;
const CROWD: usize = 500;
const CROWD_REQUEST: usize = 4 << 20;
/// Bytes that may be charged when nothing is under way any more: a connection that is not quite closed.
const CONNECTIONS_ONLY: f64 = 4e6;
/// How long what the backend has yet to take may hold memory.
const GIVEN_BACK: Duration = Duration::from_secs(30);
/// How often, and how long after a refusal for now, a large request is sent.
const ATTEMPTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);
/// Records a second of the well-behaved clients, in requests of 100.
const GOOD_RATE: f64 = 20_000.0;

pub(super) const BAR: Bar = Bar {
    name: "hostile",
    about: "64 MiB requests through `attributes`, 2,000 slow connections, bombs, 500 clients with 4 MiB in 128 MiB",
    bound: "no delay over 100 ms, p99 beside slow ones < 2.00 x, bombs <= 2.00 x limit, no kill and no refusal for good",
    measure: |_, options| measure(options),
};

/// The attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Requests of 64 MiB.
    Large,
    /// Slow connections.
    Slow,
    /// Compressed bombs.
    Bombs,
    /// More clients than there is memory for.
    Crowd,
}

/// What one attack has come to.
struct Found {
    measured: String,
    holds: bool,
}

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(binary) = options.program()? else { bail!("only the engine can be attacked") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut found = Vec::new();
    for attack in options.attack.map_or_else(|| Attack::value_variants().to_vec(), |attack| vec![attack]) {
        found.push(match attack {
            Attack::Large => hold_lanes(&binary, &runtime).context("large requests")?,
            Attack::Slow => crowd_out(&binary, &runtime, options).context("slow connections")?,
            Attack::Bombs => inflate(&binary, &runtime).context("bombs")?,
            Attack::Crowd => overwhelm(&binary, &runtime).context("a crowd")?,
        });
    }
    let measured: Vec<_> = found.iter().map(|found| found.measured.as_str()).collect();
    Ok(Verdict { measured: measured.join(", "), holds: found.iter().all(|found| found.holds) })
}

/// Large requests beside good clients; each in both protocols where it has both.
fn hold_lanes(binary: &Path, runtime: &Runtime) -> Result<Found> {
    let mut longest = Duration::ZERO;
    for Named { name, body } in bodies::large()? {
        // The engine remembers its longest delay, so each attack gets one of its own.
        let victim = Victim::start(binary, None)?;
        let mut good = good_clients(victim.grpc, 2.0)?;
        let sent = std::thread::spawn(move || good.ask::<Sent>(&Order::Run));
        let mut answers = Vec::new();
        if body.media_type != "application/json" {
            answers.push(runtime.block_on(finally(|| over_grpc(victim.grpc, &body)))?);
        }
        answers.push(runtime.block_on(finally(|| over_http(victim.http, &body)))?);
        let sent = sent.join().map_err(|_| anyhow::anyhow!("the thread of the good clients panicked"))??;
        ensure!(sent.failed == 0, "a good client's request failed: {:?}", sent.failure);
        let delay = victim.longest_delay()?;
        println!(
            "  {name:<36} {answers:?}, longest delay {:.1} ms, p99 of good clients {:.1} ms, peak {:.0} MiB",
            delay.as_secs_f64() * 1e3,
            sent.p99_us as f64 / 1e3,
            victim.usage()?.peak_mib
        );
        longest = longest.max(delay);
    }
    let millis = longest.as_secs_f64() * 1e3;
    Ok(Found { measured: format!("longest delay {millis:.0} ms"), holds: longest <= LONGEST_DELAY })
}

/// Sends until the engine says something final: while the buffer of its sink is full, it asks to come again.
async fn finally<F: Future<Output = Result<Answer>>>(send: impl Fn() -> F) -> Result<Answer> {
    for _ in 0..ATTEMPTS {
        match send().await? {
            Answer::Retryable => tokio::time::sleep(PAUSE).await,
            answer => return Ok(answer),
        }
    }
    bail!("after {ATTEMPTS} attempts it is still to be sent again")
}

fn crowd_out(binary: &Path, runtime: &Runtime, options: &Options) -> Result<Found> {
    let (pairs, seconds) = match options.length {
        Length::Short => (3, 5.0),
        Length::Long => (9, 10.0),
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..options.pairs.unwrap_or(pairs) {
        let victim = Victim::start(binary, None)?;
        alone.push(p99(victim.grpc, seconds)?);
        let crowd = runtime.block_on(SlowCrowd::gather(&victim, SLOW_CONNECTIONS))?;
        // The crowd lives on this thread while another one waits for the figures.
        let target = victim.grpc;
        beside.push(runtime.block_on(runtime.spawn_blocking(move || p99(target, seconds)))??);
        println!("  {SLOW_CONNECTIONS} slow connections: peak {:.0} MiB", victim.usage()?.peak_mib);
        drop(crowd);
    }
    let ratio = Spread::of(beside.iter().zip(&alone).map(|(beside, alone)| beside / alone));
    println!("  p99 alone {} ms, beside slow connections {} ms, ratio {ratio}", Spread::of(alone), Spread::of(beside));
    Ok(Found { measured: format!("p99 {:.2} x", ratio.median), holds: ratio.median < SLOWER })
}

fn inflate(binary: &Path, runtime: &Runtime) -> Result<Found> {
    let mut most: f64 = 0.0;
    for Named { name, body } in bodies::bombs()? {
        for over in ["gRPC", "HTTP"] {
            let victim = Victim::start(binary, None)?;
            let before = victim.usage()?.resident_mib;
            let answer = match over {
                "gRPC" => runtime.block_on(over_grpc(victim.grpc, &body))?,
                _ => runtime.block_on(over_http(victim.http, &body))?,
            };
            ensure!(answer == Answer::Refused, "a {name} over {over} was answered {answer:?}");
            let factor = (victim.usage()?.peak_mib - before) / (bodies::LIMIT >> 20) as f64;
            println!("  {name} over {over}: {} bytes raised memory by {factor:.2} x the limit", body.bytes.len());
            most = most.max(factor);
        }
    }
    Ok(Found { measured: format!("bombs {most:.2} x limit"), holds: most <= BOMB_FACTOR })
}

fn overwhelm(binary: &Path, runtime: &Runtime) -> Result<Found> {
    let victim = Victim::start(binary, Some(MEMORY))?;
    let body = bodies::ordinary(CROWD_REQUEST);
    let answers = runtime.block_on(crowd::push(&victim, &body, CROWD))?;
    // Whoever was killed has no figures.
    let usage = victim.usage()?;
    let again = runtime.block_on(over_grpc(victim.grpc, &body))?;
    println!(
        "  {CROWD} clients with {} bytes in {} MiB: {answers:?}, then {again:?}; peak {:.0} MiB, of the group {:.0} MiB",
        body.bytes.len(),
        MEMORY >> 20,
        usage.peak_mib,
        victim.peak_of_group()?
    );
    let start = Instant::now();
    while victim.charged_bytes()? > CONNECTIONS_ONLY {
        ensure!(start.elapsed() < GIVEN_BACK, "memory of answered requests is not given back");
        std::thread::sleep(PAUSE);
    }
    Ok(Found {
        measured: format!("{} refused for good of {CROWD}", answers.refused),
        holds: answers.refused == 0 && answers.accepted > 0 && again == Answer::Accepted,
    })
}

fn p99(target: SocketAddr, seconds: f64) -> Result<f64> {
    let sent: Sent = good_clients(target, seconds)?.ask(&Order::Run)?;
    ensure!(sent.failed == 0, "a good client's request failed: {:?}", sent.failure);
    Ok(sent.p99_us as f64 / 1e3)
}

fn good_clients(target: SocketAddr, seconds: f64) -> Result<Actor> {
    let mut generator = Actor::start(
        Role::Generator,
        &generator::Spec {
            target,
            signal: Signal::Logs,
            shape: Shape { records: 100, ..Shape::STANDARD },
            compression: Compression::None,
            connections: 4,
            in_flight: 4,
            rate: Some(GOOD_RATE),
            stop: Stop::Seconds(seconds),
            max_frame: None,
        },
    )?;
    generator.hear::<()>()?;
    generator.ask::<u64>(&Order::WarmUp)?;
    Ok(generator)
}
