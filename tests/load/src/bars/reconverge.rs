//! The reconverge bar: a manager is killed, everything that it keeps changes while it is away, and it is started again.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::time::Duration;

use anyhow::Result;
use cluster::ControlPlane;
use tokio::time::Instant;

use super::{Bar, Length, Options, Verdict};
use crate::{
    manager::{AGENT_NAMESPACE, Installation, Manager, NAMESPACE, Seen, pipeline},
    report::Spread,
    signal::Signal,
};

/// Pipelines of all kinds together.
const PIPELINES: usize = 50;
/// Longest time from the kill until everything is as it should be.
const BOUND: Duration = Duration::from_secs(10);

pub(super) const BAR: Bar = Bar {
    name: "reconverge",
    about: "50 pipelines; the manager is killed, all of them change, objects are damaged and deleted, it is started again",
    bound: "every object as render prints it and every status as of the changed pipeline within 10 s of the kill, each time",
    measure: |_, options| measure(options),
};

/// How long it took, in seconds since the kill.
struct Took {
    damaged: f64,
    ready: f64,
    applied: f64,
    told: f64,
}

fn measure(options: &Options) -> Result<Verdict> {
    let binary = options.manager()?;
    let rounds = match options.length {
        Length::Short => 5,
        Length::Long => 15,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let control_plane = runtime.block_on(ControlPlane::start_own())?;
    let installation = runtime.block_on(Installation::new(&control_plane, &binary))?;
    let seen = runtime.block_on(installation.seen(&control_plane))?;
    let mut manager = installation.start()?;
    let began = Instant::now();
    let first = manifests(0)?;
    let wanted = installation.wanted(&first)?;
    runtime.block_on(async {
        control_plane.apply(&first).await?;
        seen.until_there(&wanted).await?;
        seen.until_accepted().await
    })?;
    println!("  {PIPELINES} pipelines, {} objects, all new: {:.2} s", wanted.count(), began.elapsed().as_secs_f64());
    let mut times = Vec::new();
    for round in 1..=rounds {
        let (again, took) = killed(&runtime, &control_plane, &installation, &seen, manager, round)?;
        manager = again;
        times.push(took);
    }
    let of = |figure: fn(&Took) -> f64| Spread::of(times.iter().map(figure));
    println!(
        "  since the kill: changed and damaged {} s, started and ready {} s, objects {} s, status {} s",
        of(|took| took.damaged),
        of(|took| took.ready),
        of(|took| took.applied),
        of(|took| took.told),
    );
    println!("  RSS {:.1} MiB, peak {:.1} MiB", manager.usage()?.resident_mib, manager.usage()?.peak_mib);
    let longest = of(|took| took.applied.max(took.told)).most;
    Ok(Verdict { measured: format!("within {longest:.2} s"), holds: longest <= BOUND.as_secs_f64() })
}

fn killed(
    runtime: &tokio::runtime::Runtime,
    control_plane: &ControlPlane,
    installation: &Installation,
    seen: &Seen,
    manager: Manager,
    round: u16,
) -> Result<(Manager, Took)> {
    let changed = manifests(round)?;
    let wanted = installation.wanted(&changed)?;
    let killed = Instant::now();
    manager.kill()?;
    runtime.block_on(async {
        control_plane.apply(&changed).await?;
        damage(control_plane).await
    })?;
    let damaged = killed.elapsed();
    let again = installation.start()?;
    again.until_ready()?;
    let ready = killed.elapsed();
    let (applied, told) = runtime.block_on(async {
        let applied = seen.until_there(&wanted).await?;
        let told = seen.until_accepted().await?;
        anyhow::Ok((applied, told))
    })?;
    let took = Took {
        damaged: damaged.as_secs_f64(),
        ready: ready.as_secs_f64(),
        applied: (applied - killed).as_secs_f64(),
        told: (told - killed).as_secs_f64(),
    };
    Ok((again, took))
}

/// Takes away an object of a gateway and one of the agents, and changes others.
async fn damage(control_plane: &ControlPlane) -> Result<()> {
    let empty = r#"{"data":{"engine.toml":""}}"#;
    let image = r#"{"spec":{"template":{"spec":{"containers":[{"name":"engine","image":"other:1"}]}}}}"#;
    let orders: [&[&str]; 5] = [
        &["--namespace", NAMESPACE, "delete", "service", "telemetry-otlp-logs"],
        &["--namespace", AGENT_NAMESPACE, "delete", "daemonset", "telemetry-log-agent"],
        &["--namespace", NAMESPACE, "patch", "secret", "telemetry-metric-gateway-0.1.0", "--patch", empty],
        &["--namespace", NAMESPACE, "patch", "deployment", "telemetry-trace-router", "--patch", image],
        &["delete", "clusterrolebinding", "telemetry-log-gateway"],
    ];
    futures::future::try_join_all(orders.map(|order| control_plane.kubectl(order))).await.map(drop)
}

/// All pipelines; in each round they send to another backend.
fn manifests(round: u16) -> Result<String> {
    let backend = format!("192.0.2.1:{}", 4317 + round).parse()?;
    let signals = Signal::ALL.iter().cycle().take(PIPELINES).enumerate();
    Ok(signals.map(|(number, signal)| pipeline(*signal, &format!("shop-{number:02}"), backend)).collect())
}
