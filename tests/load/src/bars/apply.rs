//! The apply bar: how long it takes from a pipeline that a user applies to every object that it needs. The API server is a real
//! one, and it is the one that says when everything is there.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::time::Duration;

use anyhow::Result;
use cluster::ControlPlane;
use tokio::time::Instant;

use super::{Bar, Length, Options, Verdict};
use crate::{
    manager::{Installation, Seen, Wanted, kind, pipeline},
    report::Spread,
    signal::Signal,
};

/// Longest time from the start of `kubectl apply` until everything is there.
const BOUND: Duration = Duration::from_secs(2);
/// Where the pipelines send to; nobody is there.
const BACKEND: &str = "192.0.2.1:4317";

pub(super) const BAR: Bar = Bar {
    name: "apply",
    about: "kubectl apply of a pipeline in an API server without others; every object that render prints, with its content",
    bound: "everything is there within 2 s of the start of kubectl, each signal, each time",
    measure: |_, options| measure(options),
};

/// How long one pipeline took, in seconds.
struct Took {
    /// `kubectl apply` itself.
    kubectl: f64,
    /// From its start until every object was there.
    applied: f64,
    /// From its start until its status said so too.
    told: f64,
    /// From the start of `kubectl delete` until nothing was left.
    gone: f64,
}

fn measure(options: &Options) -> Result<Verdict> {
    let binary = options.manager()?;
    let rounds = match options.length {
        Length::Short => 5,
        Length::Long => 20,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let control_plane = runtime.block_on(ControlPlane::start_own())?;
    let installation = runtime.block_on(Installation::new(&control_plane, &binary))?;
    let manager = installation.start()?;
    manager.until_ready()?;
    let seen = runtime.block_on(installation.seen(&control_plane))?;
    let mut longest: f64 = 0.0;
    for signal in options.signal.map_or(Signal::ALL.to_vec(), |one| vec![one]) {
        let manifest = pipeline(signal, "shop", BACKEND.parse()?);
        let wanted = installation.wanted(&manifest)?;
        // The first one also waits until this manager leads.
        runtime.block_on(once(&control_plane, &seen, signal, &manifest, &wanted))?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            times.push(runtime.block_on(once(&control_plane, &seen, signal, &manifest, &wanted))?);
        }
        let of = |figure: fn(&Took) -> f64| Spread::of(times.iter().map(figure));
        println!(
            "  {:<7} {} objects after {} s, kubectl {} s of it; said after {} s; deleted, all gone after {} s",
            signal.name(),
            wanted.count(),
            of(|took| took.applied),
            of(|took| took.kubectl),
            of(|took| took.told),
            of(|took| took.gone),
        );
        longest = longest.max(of(|took| took.applied).most);
    }
    println!("  RSS {:.1} MiB", manager.usage()?.resident_mib);
    Ok(Verdict { measured: format!("within {longest:.2} s"), holds: longest <= BOUND.as_secs_f64() })
}

/// Applies a pipeline and takes it away again.
async fn once(
    control_plane: &ControlPlane,
    seen: &Seen,
    signal: Signal,
    manifest: &str,
    wanted: &Wanted,
) -> Result<Took> {
    let began = Instant::now();
    control_plane.apply(manifest).await?;
    let kubectl = began.elapsed();
    let applied = seen.until_there(wanted).await?;
    let told = seen.until_accepted().await?;
    let deleted = Instant::now();
    control_plane.kubectl(&["delete", kind(signal), "--all"]).await?;
    let gone = seen.until_there(&Wanted::nothing()).await?;
    Ok(Took {
        kubectl: kubectl.as_secs_f64(),
        applied: (applied - began).as_secs_f64(),
        told: (told - began).as_secs_f64(),
        gone: (gone - deleted).as_secs_f64(),
    })
}
