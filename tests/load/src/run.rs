//! One measurement: a sink, a peer and a generator as processes, from the start of the load to the end of the drain.
//! A measurement whose counts do not add up is an error and has no figures.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    counting_sink::{self, Received},
    frames::Frames,
    generator::{self, Sent, Stop},
    hop::Hop,
    payload::Shape,
    peer::{Peer, Program, Setting},
    report::Spread,
    roles::{Actor, Order, Role},
    signal::Signal,
};

/// How long what was acknowledged may take to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the sink is asked.
const POLL: Duration = Duration::from_millis(5);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is sent.
    pub signal: Signal,
    /// How much is in a request.
    pub shape: Shape,
    /// What the engine does.
    pub hop: Hop,
    /// What the null hop advertises: what the engine does in this case.
    pub peer_frames: Frames,
    /// What the sink advertises.
    pub sink_frames: Frames,
    /// Largest DATA frame of the generator; as large as the peer allows where missing.
    pub sent_frame: Option<usize>,
    /// Connections of the generator.
    pub connections: usize,
    /// Requests in flight on each.
    pub in_flight: usize,
    /// Records a second; flat out where missing.
    pub rate: Option<f64>,
    /// Cores that the program under test may run on, as `taskset -c` takes them; all where missing.
    pub cores: Option<&'static str>,
    /// Length of the load.
    pub seconds: f64,
}

/// The figures of one peer in one measurement.
#[derive(Debug, Clone)]
pub struct Run {
    /// CPU seconds of the peer outside the kernel for each million records.
    pub user_per_million: f64,
    /// CPU seconds of the peer inside the kernel for each million records.
    pub system_per_million: f64,
    /// Largest resident memory of the peer in MiB.
    pub peak_mib: f64,
    /// Records a second that were acknowledged.
    pub rate: f64,
    /// Requests that the sink received.
    pub requests_out: u64,
    /// What the generator reports.
    pub sent: Sent,
}

impl Run {
    /// CPU seconds of the peer for each million records.
    pub fn cpu_per_million(&self) -> f64 {
        self.user_per_million + self.system_per_million
    }
}

/// The medians of runs on one line, and how far their CPU time spreads.
pub fn figures(runs: &[Run]) -> String {
    let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    format!(
        "CPU-s/M {:<22} (user {:.3} system {:.3})  p50 {:>5.2} ms  p99 {:>6.2} ms  peak RSS {:>6.1} MiB",
        of(Run::cpu_per_million).to_string(),
        of(|run| run.user_per_million).median,
        of(|run| run.system_per_million).median,
        of(|run| run.sent.p50_us as f64 / 1e3).median,
        of(|run| run.sent.p99_us as f64 / 1e3).median,
        of(|run| run.peak_mib).median,
    )
}

/// Measures one program.
///
/// # Errors
/// When a record was lost, doubled or failed, when an invalid request got through, or an edit is missing.
pub fn run(program: &Program, case: &Case) -> Result<Run> {
    let (of_resources, of_records) = match program {
        Program::Engine(_) => (case.hop.step.resource_attributes(), case.hop.step.record_attributes()),
        Program::NullHop | Program::Command(_) => (Vec::new(), Vec::new()),
    };
    let mut sink = Actor::start(
        Role::Sink,
        &counting_sink::Spec {
            frames: case.sink_frames,
            compression: case.hop.compression,
            expected_attributes: of_resources,
            expected_in_records: of_records,
            kept: None,
            away: None,
        },
    )?;
    let endpoint = sink.hear()?;
    let peer =
        Peer::start(program, &Setting { hop: &case.hop, frames: case.peer_frames, endpoint, cores: case.cores })?;
    let mut generator = start_generator(&load_of(case, &peer))?;
    if !matches!(program, Program::NullHop) {
        check_refusals(&mut generator, &mut sink)?;
    }
    measure(&mut generator, &peer, &mut sink)
}

/// Measures a running program between a generator that has not run and a sink that gets nothing from anybody else.
///
/// # Errors
/// When a record was lost, doubled or failed, or an edit is missing.
pub fn measure(generator: &mut Actor, peer: &Peer, sink: &mut Actor) -> Result<Run> {
    measure_copies(generator, peer, sink, 1)
}

/// The same where every record is to come so many times.
///
/// # Errors
/// Those of [`measure`].
pub fn measure_copies(generator: &mut Actor, peer: &Peer, sink: &mut Actor, copies: u64) -> Result<Run> {
    let earlier = sink.ask::<Received>(&())?.records;
    let warm_up: u64 = earlier + copies * generator.ask::<u64>(&Order::WarmUp)?;
    let warm = drain(sink, warm_up)?;

    let before = peer.usage()?;
    let sent: Sent = generator.ask(&Order::Run)?;
    let all = warm_up + copies * sent.records;
    let received = drain(sink, all)?;
    let after = peer.usage()?;

    check(all, &sent, &received)?;
    let millions = sent.records as f64 / 1e6;
    Ok(Run {
        user_per_million: (after.user - before.user).as_secs_f64() / millions,
        system_per_million: (after.system - before.system).as_secs_f64() / millions,
        peak_mib: after.peak_mib,
        rate: sent.records as f64 / sent.seconds,
        requests_out: received.requests - warm.requests,
        sent,
    })
}

/// Starts a generator, which waits for orders then.
///
/// # Errors
/// When it cannot connect.
pub fn start_generator(load: &generator::Spec) -> Result<Actor> {
    let mut generator = Actor::start(Role::Generator, load)?;
    generator.hear::<()>()?;
    Ok(generator)
}

fn load_of(case: &Case, peer: &Peer) -> generator::Spec {
    generator::Spec {
        target: peer.address,
        signal: case.signal,
        shape: case.shape,
        pods: None,
        message: None,
        compression: case.hop.compression,
        connections: case.connections,
        in_flight: case.in_flight,
        rate: case.rate,
        stop: Stop::Seconds(case.seconds),
        max_frame: case.sent_frame,
    }
}

fn check_refusals(generator: &mut Actor, sink: &mut Actor) -> Result<()> {
    generator.ask::<()>(&Order::CheckRefusals).context("void: an invalid request was not refused")?;
    let received: Received = sink.ask(&())?;
    ensure!(received.requests == 0 && received.fault.is_none(), "void: an invalid request got through");
    Ok(())
}

/// Waits until the sink has all records that were acknowledged.
pub(crate) fn drain(sink: &mut Actor, acknowledged: u64) -> Result<Received> {
    let start = Instant::now();
    loop {
        let received: Received = sink.ask(&())?;
        if received.records >= acknowledged {
            return Ok(received);
        }
        if start.elapsed() > DRAIN_TIMEOUT {
            bail!("{acknowledged} records were acknowledged and {} arrived", received.records);
        }
        std::thread::sleep(POLL);
    }
}

fn check(acknowledged: u64, sent: &Sent, received: &Received) -> Result<()> {
    if let Some(failure) = &sent.failure {
        bail!("{} requests failed, the first with {failure}", sent.failed);
    }
    if let Some(fault) = &received.fault {
        bail!("the sink received {fault}");
    }
    ensure!(sent.records > 0, "nothing was acknowledged");
    ensure!(
        acknowledged == received.records,
        "{acknowledged} records were acknowledged and {} arrived",
        received.records
    );
    ensure!(
        received.wrong_resources == 0,
        "{} of {} resources lack an attribute that the peer has to set",
        received.wrong_resources,
        received.sampled_resources
    );
    ensure!(
        received.wrong_records == 0,
        "{} records of one request lack an attribute that the peer has to set",
        received.wrong_records
    );
    ensure!(received.sampled_resources > 0, "the latest request has no resource");
    Ok(())
}

impl Case {
    /// The common case: 1000 records a request, 2 connections with 4 requests in flight, flat out, large frames.
    pub fn standard(signal: Signal, hop: Hop) -> Case {
        Case {
            signal,
            shape: Shape::STANDARD,
            hop,
            peer_frames: Frames::LARGE,
            sink_frames: Frames::LARGE,
            sent_frame: None,
            connections: 2,
            in_flight: 4,
            rate: None,
            cores: None,
            seconds: 3.0,
        }
    }
}
