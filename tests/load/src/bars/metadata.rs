//! The metadata bar: what it costs to know all pods of a large cluster, and how soon they are known. The API server is a real
//! one; what enriching costs is in `enrichment`.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use cluster::ControlPlane;
use serde_json::json;
use tempfile::TempDir;

use self::enrichment::Enrichment;
use super::{Bar, Length, Options, Verdict};
use crate::{
    admin::Admin,
    counting_sink,
    kubernetes::{ApiServer, at_once, objects::Census},
    peer::{Peer, Program, free_address},
    report::Spread,
    roles::{Actor, Role},
};

mod enrichment;

/// Pods, and those of a long measurement.
const PODS: usize = 20_000;
const PODS_LONG: usize = 100_000;
/// ReplicaSets, which are there not to be looked at.
const REPLICA_SETS: usize = 50_000;
/// Most resident memory for a pod, in KiB.
const BOUND_KIB: f64 = 1.5;
/// How long the first lists may take. An engine gives up waiting for them so long after it has begun, so who is ready sooner
/// has them all.
const SYNC_LIMIT: Duration = Duration::from_secs(30);
/// Most CPU seconds for a million records.
const BOUND_CPU: f64 = 0.1;
/// Starts that are measured one after the other, and at once.
const STARTS: usize = 3;
/// How long memory is given back after the lists.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// The transform in the engine's configuration.
const TRANSFORM: &str = "origin";

pub(super) const BAR: Bar = Bar {
    name: "metadata",
    about: "20,000 pods of 8 KiB (100,000 with --long) and 50,000 ReplicaSets in an API server: knowing them, and enriching",
    bound: "RSS <= 1.5 KiB a pod, known within 30 s, also by three at once; enriching <= 0.1 CPU s a million records",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(binary) = options.program()? else { bail!("only the engine knows pods") };
    let census = Census::new(
        match options.length {
            Length::Short => PODS,
            Length::Long => PODS_LONG,
        },
        REPLICA_SETS,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let control_plane = runtime.block_on(ControlPlane::start_own())?;
    runtime.block_on(control_plane.pause_controllers())?;

    let empty = Watcher::each(&binary, control_plane.kubeconfig(), 0, STARTS)?;
    let (uids, pod_bytes) = runtime.block_on(populate(&control_plane, &census))?;
    ensure!(uids.len() == census.pods, "{} of {} pods were created", uids.len(), census.pods);
    let alone = Watcher::each(&binary, control_plane.kubeconfig(), census.pods, STARTS)?;
    let at_once = Watcher::at_once(&binary, control_plane.kubeconfig(), census.pods, STARTS)?;

    println!(
        "  {} pods of {:.1} KiB, {REPLICA_SETS} ReplicaSets, {} nodes",
        census.pods,
        pod_bytes / 1024.0,
        census.nodes()
    );
    Synced::print("without pods", &empty);
    Synced::print("one by one", &alone);
    Synced::print("three at once", &at_once);
    let base = Spread::of(empty.iter().map(|synced| synced.settled_mib)).median;
    let of_a_pod = |mib: f64| (mib - base) * 1024.0 / census.pods as f64;
    let all = || alone.iter().chain(&at_once);
    let kib = Spread::of(all().map(|synced| of_a_pod(synced.settled_mib)));
    let peak = Spread::of(all().map(|synced| of_a_pod(synced.peak_mib)));
    println!("  RSS a pod {kib} KiB, at the peak {peak} KiB");

    let directory = TempDir::with_prefix("bars-")?;
    let file = directory.path().join("pods");
    std::fs::write(&file, uids.join("\n"))?;
    let added =
        Enrichment { binary: &binary, kubeconfig: control_plane.kubeconfig(), pods: &file, options }.measure()?;

    let longest = Spread::of(all().map(|synced| synced.after.as_secs_f64())).most;
    let are_known = all().all(|synced| synced.pods == census.pods as u64);
    Ok(Verdict {
        measured: format!(
            "RSS {:.2} KiB a pod, {} within {longest:.1} s, enriching {added:.3} CPU s a million records",
            kib.most,
            if are_known { "all known" } else { "not all known" },
        ),
        holds: kib.most <= BOUND_KIB && are_known && longest < SYNC_LIMIT.as_secs_f64() && added <= BOUND_CPU,
    })
}

/// Creates everything. Returns the unique ids of all pods, and the bytes of a pod.
async fn populate(control_plane: &ControlPlane, census: &Census) -> Result<(Vec<String>, f64)> {
    let start = Instant::now();
    let server = &ApiServer::of(control_plane).await?;
    at_once(
        (0..census.nodes())
            .map(|number| async move { server.create("/api/v1/nodes", &census.node(number)).await.map(drop) }),
    )
    .await?;
    at_once(census.namespaces().map(|name| async move {
        server.create("/api/v1/namespaces", &census.namespace(&name)).await?;
        // Pods need an account, and the controllers that make them are paused.
        let account = json!({ "metadata": { "name": "default" } });
        server.create(&format!("/api/v1/namespaces/{name}/serviceaccounts"), &account).await.map(drop)
    }))
    .await?;
    at_once((0..census.replica_sets).map(|number| async move {
        let (collection, object) = census.replica_set(number);
        server.create(&collection, &object).await.map(drop)
    }))
    .await?;
    let replica_sets_took = start.elapsed();
    at_once((0..census.pods).map(|number| async move {
        let pod = census.pod(number);
        server.create(&pod.collection, &pod.object).await?;
        server.set_status(&pod.path, &pod.status).await
    }))
    .await?;
    println!(
        "  created in {:.0} s, ReplicaSets in {:.0} s of them",
        start.elapsed().as_secs_f64(),
        replica_sets_took.as_secs_f64()
    );
    Ok((server.pod_uids().await?, server.bytes_of_a_pod().await?))
}

/// An engine that knows pods.
struct Watcher {
    peer: Peer,
    admin: Admin,
    started: Instant,
    _sink: Actor,
}

/// What came of a start.
struct Synced {
    /// How long it took until the engine was ready.
    after: Duration,
    /// Pods that it knew then.
    pods: u64,
    /// Resident memory then, in MiB.
    ready_mib: f64,
    /// Resident memory a while later, in MiB.
    settled_mib: f64,
    /// Largest resident memory, in MiB.
    peak_mib: f64,
}

impl Watcher {
    fn start(binary: &Path, kubeconfig: &Path) -> Result<Watcher> {
        let mut sink = Actor::start(Role::Sink, &counting_sink::Spec::plain())?;
        let (listen, admin, endpoint) = (free_address()?, free_address()?, sink.hear()?);
        let started = Instant::now();
        let text = configuration(listen, admin, endpoint, Some(kubeconfig));
        let peer = Peer::configured(Command::new(binary), &text, listen)?;
        Ok(Watcher { peer, admin: Admin(admin), started, _sink: sink })
    }

    /// One start after the other.
    fn each(binary: &Path, kubeconfig: &Path, pods: usize, starts: usize) -> Result<Vec<Synced>> {
        let mut found = Vec::new();
        for _ in 0..starts {
            found.append(&mut Watcher::at_once(binary, kubeconfig, pods, 1)?);
        }
        Ok(found)
    }

    /// So many starts at once.
    fn at_once(binary: &Path, kubeconfig: &Path, pods: usize, starts: usize) -> Result<Vec<Synced>> {
        let watchers = (0..starts).map(|_| Watcher::start(binary, kubeconfig)).collect::<Result<Vec<_>>>()?;
        let mut ready: Vec<Option<(Duration, u64, f64)>> = vec![None; starts];
        while ready.iter().any(Option::is_none) {
            for (watcher, ready) in watchers.iter().zip(&mut ready).filter(|(_, ready)| ready.is_none()) {
                if watcher.admin.is_ready() {
                    *ready = Some((watcher.started.elapsed(), watcher.pods()?, watcher.peer.usage()?.resident_mib));
                }
                // It gives up waiting then, and says that it is ready.
                ensure!(watcher.started.elapsed() < 2 * SYNC_LIMIT, "with {pods} pods an engine is never ready");
            }
            std::thread::sleep(POLL);
        }
        std::thread::sleep(SETTLED_AFTER);
        let figures = watchers.iter().zip(ready.into_iter().flatten());
        figures
            .map(|(watcher, (after, pods, ready_mib))| {
                let usage = watcher.peer.usage()?;
                Ok(Synced { after, pods, ready_mib, settled_mib: usage.resident_mib, peak_mib: usage.peak_mib })
            })
            .collect()
    }

    fn pods(&self) -> Result<u64> {
        let counts = self.admin.own_counts(TRANSFORM)?;
        counts.get("pods_known").copied().context("the engine does not say how many pods it knows")
    }
}

impl Synced {
    fn print(what: &str, starts: &[Synced]) {
        let of = |figure: fn(&Synced) -> f64| Spread::of(starts.iter().map(figure));
        let pods: Vec<_> = starts.iter().map(|synced| synced.pods).collect();
        println!(
            "  {what:<13}  ready after {} s with {pods:?} pods  RSS then {} MiB, {} s later {} MiB  peak {} MiB",
            of(|synced| synced.after.as_secs_f64()),
            of(|synced| synced.ready_mib),
            SETTLED_AFTER.as_secs(),
            of(|synced| synced.settled_mib),
            of(|synced| synced.peak_mib),
        );
    }
}

/// The engine's configuration, with the transform where there is a cluster.
fn configuration(listen: SocketAddr, admin: SocketAddr, endpoint: SocketAddr, kubeconfig: Option<&Path>) -> String {
    let (step, inputs) = match kubeconfig {
        Some(kubeconfig) => (
            format!(
                r#"
[kubernetes]
kubeconfig = "{}"
cluster_name = "production"

[transforms.{TRANSFORM}]
type = "kubernetes_attributes"
inputs = ["in"]
pod_labels = ["team"]
namespace_labels = ["example.com/*"]
"#,
                kubeconfig.display()
            ),
            TRANSFORM,
        ),
        None => (String::new(), "in"),
    };
    format!(
        r#"version = 1

[admin]
listen = "{admin}"

[sources.in]
type = "otlp"
grpc.listen = "{listen}"
{step}
[sinks.out]
type = "otlp"
inputs = ["{inputs}"]
endpoint = "http://{endpoint}"
acknowledge = "delivered"
"#
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use engine_config::{Catalog, Environment, ParseOptions, SourceFile, load};

    use super::*;

    /// The engine takes the configurations as they stand, without a warning.
    #[test]
    fn configurations_are_valid() {
        let address = "127.0.0.1:4317".parse().unwrap();
        for kubeconfig in [None, Some(Path::new("/etc/kubeconfig"))] {
            let text = configuration(address, "127.0.0.1:13133".parse().unwrap(), address, kubeconfig);
            let file = SourceFile::new("engine.toml", text);
            let loaded = load(&[file], &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap();
            assert_eq!(loaded.plan.warnings.iter().count(), 0, "{:?}", loaded.plan.warnings);
        }
    }
}
