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
        floods::Flood,
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
/// How long all answers to a large request may take, and how many times the CPU time of ordinary records of the same size
/// it may cost to take it and send it on.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);
const MOST_WORK: f64 = 20.0;
/// MiB by which a flood of 8 MiB a second may raise the memory, and the CPU seconds a second that it may cost.
const FLOOD_MEMORY: f64 = 32.0;
const FLOOD_WORK: f64 = 0.5;
/// Slow connections, and how much longer the answers of good clients may take beside them.
const SLOW_CONNECTIONS: usize = 2000;
const SLOWER: f64 = 2.0;
/// How many times the limit of a request a bomb may raise the memory.
const BOMB_FACTOR: f64 = 2.0;
/// Memory that the kernel lets the engine have in front of a crowd, the crowd, and the size of its requests.
const MEMORY: u64 = 128 << 20;
const CROWD: usize = 500;
const CROWD_REQUEST: usize = 4 << 20;
/// How often, and how long after a refusal for now, a large request is sent.
const ATTEMPTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);
/// Records a second of the well-behaved clients, in requests of 100.
const GOOD_RATE: f64 = 20_000.0;

pub(super) const BAR: Bar = Bar {
    name: "hostile",
    about: "64 MiB requests through `attributes`, 2,000 slow connections, floods, bombs, 500 clients with 4 MiB in 128 MiB",
    bound: "no delay over 100 ms, answers right within 20 s, memory <= memory.limit, CPU <= 20 x ordinary; p99 beside slow \
            ones < 2.00 x; floods < 2.00 x p99, <= 0.50 CPU s a second and 32 MiB; bombs <= 2.00 x limit; no kill and no \
            refusal for good",
    measure: |_, options| measure(options),
};

/// The attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Requests of 64 MiB.
    Large,
    /// Slow connections.
    Slow,
    /// Floods of frames, headers and connections.
    Floods,
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
            Attack::Floods => flood(&binary, &runtime, options).context("floods")?,
            Attack::Bombs => inflate(&binary, &runtime).context("bombs")?,
            Attack::Crowd => overwhelm(&binary, &runtime).context("a crowd")?,
        });
    }
    let measured: Vec<_> = found.iter().map(|found| found.measured.as_str()).collect();
    Ok(Verdict { measured: measured.join(", "), holds: found.iter().all(|found| found.holds) })
}

/// Large requests beside good clients; each in both protocols where it has both.
fn hold_lanes(binary: &Path, runtime: &Runtime) -> Result<Found> {
    let (mut longest, mut most_memory, mut work, mut wrong) = (Duration::ZERO, 0.0_f64, Vec::new(), Vec::new());
    for Named { name, body, answer: right } in bodies::large()? {
        // The engine remembers its longest delay, so each attack gets one of its own.
        let victim = Victim::start(binary, None)?;
        let mut good = good_clients(victim.grpc, 2.0)?;
        let before = victim.usage()?;
        let sent = std::thread::spawn(move || good.ask::<Sent>(&Order::Run));
        let start = Instant::now();
        let mut answers = Vec::new();
        if body.media_type != "application/json" {
            answers.push(runtime.block_on(finally(|| over_grpc(victim.grpc, &body)))?);
        }
        answers.push(runtime.block_on(finally(|| over_http(victim.http, &body)))?);
        let took = start.elapsed();
        let sent = sent.join().map_err(|_| anyhow::anyhow!("the thread of the good clients panicked"))??;
        ensure!(sent.failed == 0, "a good client's request failed: {:?}", sent.failure);
        // What the requests became is sent on by then.
        victim.wait_until_given_back()?;
        let delay = victim.longest_delay()?;
        let usage = victim.usage()?;
        let seconds = usage.since(&before).as_secs_f64() / answers.len() as f64;
        let memory = usage.peak_mib / victim.memory_limit_mib()?;
        println!(
            "  {name:<36} {answers:?} in {:.1} s, longest delay {:.1} ms, p99 of good clients {:.1} ms, peak {:.0} MiB, \
             {seconds:.2} CPU s a request",
            took.as_secs_f64(),
            delay.as_secs_f64() * 1e3,
            sent.p99_us as f64 / 1e3,
            usage.peak_mib
        );
        if answers.iter().any(|answer| *answer != right) || took > LONGEST_ANSWER {
            wrong.push(name);
        }
        longest = longest.max(delay);
        most_memory = most_memory.max(memory);
        work.push(seconds);
    }
    let ordinary = Spread::of(work[..bodies::ORDINARY].iter().copied()).median;
    let most_work = work.into_iter().fold(0.0, f64::max) / ordinary;
    let millis = longest.as_secs_f64() * 1e3;
    Ok(Found {
        measured: format!(
            "longest delay {millis:.0} ms, memory {most_memory:.2} x memory.limit, CPU {most_work:.1} x ordinary \
             requests, {} wrong or late answers {wrong:?}",
            wrong.len()
        ),
        holds: longest <= LONGEST_DELAY && most_memory <= 1.0 && most_work <= MOST_WORK && wrong.is_empty(),
    })
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

/// Floods beside good clients, each against a start of its own.
fn flood(binary: &Path, runtime: &Runtime, options: &Options) -> Result<Found> {
    let seconds = match options.length {
        Length::Short => 3.0,
        Length::Long => 30.0,
    };
    let (mut most_memory, mut most_work, mut longest, mut ratios) = (0.0_f64, 0.0_f64, Duration::ZERO, Vec::new());
    for flood in Flood::value_variants() {
        let victim = Victim::start(binary, None)?;
        let (alone, work_alone) = work_for(&victim, seconds)?;
        let before = victim.usage()?;
        let target = victim.grpc;
        let (beside, work, connections) = runtime.block_on(async {
            let running = flood.start(&victim);
            let beside = tokio::task::spawn_blocking(move || p99(target, seconds)).await??;
            let work = victim.usage()?.since(&before).as_secs_f64() / seconds;
            anyhow::Ok((beside, work, running.stop().await))
        })?;
        victim.wait_until_given_back()?;
        let raised = victim.usage()?.peak_mib - before.peak_mib;
        let delay = victim.longest_delay()?;
        println!(
            "  {:<24} p99 of good clients {beside:.1} ms, alone {alone:.1} ms, longest delay {:.1} ms, {work:.2} CPU s a \
             second, alone {work_alone:.2}, memory raised by {raised:.0} MiB, {connections} connections",
            flood.name(),
            delay.as_secs_f64() * 1e3
        );
        ratios.push(beside / alone);
        most_memory = most_memory.max(raised);
        most_work = most_work.max(work - work_alone);
        longest = longest.max(delay);
    }
    let ratio = Spread::of(ratios);
    Ok(Found {
        measured: format!(
            "floods p99 {:.2} x, {:.0} ms, {most_work:.2} CPU s a second, {most_memory:.0} MiB",
            ratio.median,
            longest.as_secs_f64() * 1e3
        ),
        holds: ratio.median < SLOWER
            && longest <= LONGEST_DELAY
            && most_memory <= FLOOD_MEMORY
            && most_work <= FLOOD_WORK,
    })
}

/// The p99 of good clients in ms, and the CPU seconds a second that they cost.
fn work_for(victim: &Victim, seconds: f64) -> Result<(f64, f64)> {
    let before = victim.usage()?;
    let p99 = p99(victim.grpc, seconds)?;
    Ok((p99, victim.usage()?.since(&before).as_secs_f64() / seconds))
}

fn inflate(binary: &Path, runtime: &Runtime) -> Result<Found> {
    let mut most: f64 = 0.0;
    for Named { name, body, answer: right } in bodies::bombs()? {
        for over in ["gRPC", "HTTP"] {
            let victim = Victim::start(binary, None)?;
            let before = victim.usage()?.resident_mib;
            let answer = match over {
                "gRPC" => runtime.block_on(over_grpc(victim.grpc, &body))?,
                _ => runtime.block_on(over_http(victim.http, &body))?,
            };
            ensure!(answer == right, "a {name} over {over} was answered {answer:?}");
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
    victim.wait_until_given_back()?;
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
            pods: None,
            message: None,
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
