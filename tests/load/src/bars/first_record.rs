//! The first-record bar: a cluster with nodes, installed as users install it. How long it takes from the first pipeline to the
//! first log record at its backend, and what everything that runs then holds when it has nothing to do.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use cluster::{Cluster, Image, ImageOptions, wait_until};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Bar, Length, Options, Verdict};
use crate::{
    build::{self, Binary},
    compression::Compression,
    counting_sink::{self, CountingSink},
    manager::{AGENT_NAMESPACE, NAMESPACE, install, kind, pipeline},
    peer::Program,
    process::Usage,
    report::Spread,
    signal::Signal,
};

const NODES: usize = 2;
/// Longest time from the start of `kubectl apply` until a record has come.
const BOUND: Duration = Duration::from_secs(30);
/// Most resident memory of all programs together, in MiB.
const BOUND_MIB: f64 = 100.0;
/// Longest time that is waited for.
const LIMIT: Duration = Duration::from_secs(180);
/// How long nothing happens before memory is measured.
const IDLE: Duration = Duration::from_secs(30);
const ENGINE: &str = "cluster.local/telemetry-engine:bars";
const MANAGER: &str = "cluster.local/telemetry-manager:bars";
const POD: &str = "cluster.local/printer:bars";
/// Pods on every node that print a few lines a second.
const PRINTERS: &str = include_str!("first_record/printers.yaml");
/// One pod of each gateway.
const TELEMETRY: &str = include_str!("first_record/telemetry.yaml");
/// How many of each kind run on one node.
const PROGRAMS: [&str; 5] = [
    "telemetry-manager",
    "telemetry-log-gateway",
    "telemetry-metric-gateway",
    "telemetry-trace-router",
    "telemetry-log-agent",
];

pub(super) const BAR: Bar = Bar {
    name: "first-record",
    about: "two nodes, warm: kubectl apply of the first LogPipeline until a line of a pod is at its backend; then all signals, idle",
    bound: "the first record within 30 s, each time; RSS of manager, three gateways and an agent <= 100 MiB in all",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(engine) = options.program()? else { bail!("only the engine has an image") };
    let (manager, pod) = (options.manager()?, build::release(Binary::POD)?);
    let rounds = match options.length {
        Length::Short => 3,
        Length::Long => 10,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (times, resident) = runtime.block_on(async {
        let cluster = Cluster::start_own(NODES).await?;
        load(&cluster, &[(ENGINE, &engine), (MANAGER, &manager), (POD, &pod)]).await?;
        install(&cluster, MANAGER, ENGINE).await?;
        cluster.apply(TELEMETRY).await?;
        cluster.apply(&PRINTERS.replace("{image}", POD)).await?;
        cluster.kubectl(&["--namespace", "shop", "rollout", "status", "daemonset/printer", "--timeout=120s"]).await?;
        let mut times = Vec::new();
        for _ in 0..rounds {
            times.push(first_record(&cluster).await?);
        }
        anyhow::Ok((times, idle(&cluster).await?))
    })?;
    println!(
        "  {rounds} times the first pipeline of a cluster: a record after {} s",
        Spread::of(times.iter().copied())
    );
    for (program, mebibytes) in &resident {
        println!("  {program:<25} RSS {mebibytes:>5.1} MiB");
    }
    let (longest, all) = (Spread::of(times).most, resident.values().sum::<f64>());
    Ok(Verdict {
        measured: format!("within {longest:.1} s, RSS {all:.1} MiB in all"),
        holds: longest <= BOUND.as_secs_f64() && all <= BOUND_MIB,
    })
}

async fn load(cluster: &Cluster, programs: &[(&str, &Path)]) -> Result<()> {
    let folder = TempDir::with_prefix("bars-")?;
    for (name, binary) in programs {
        let image = Image::build(&folder.path().join("image.tar"), ImageOptions::new(name, binary)).await?;
        cluster.load_image(&image.file).await?;
    }
    Ok(())
}

/// A backend that pods reach. Pipelines compress what they send unless they are told otherwise.
async fn backend(cluster: &Cluster) -> Result<CountingSink> {
    let spec = counting_sink::Spec { compression: Compression::Gzip, ..counting_sink::Spec::plain() };
    CountingSink::start_on(IpAddr::V4(cluster.machine_address()), spec).await
}

/// Whether a record has come, or something that is none.
fn has_come(backend: &CountingSink) -> bool {
    let received = backend.received();
    received.records > 0 || received.fault.is_some()
}

/// Applies the first pipeline, waits for a record, and takes the pipeline away again, with all that it brought.
async fn first_record(cluster: &Cluster) -> Result<f64> {
    let backend = backend(cluster).await?;
    let manifest = pipeline(Signal::Logs, "shop", backend.address);
    let began = Instant::now();
    cluster.apply(&manifest).await?;
    let took = wait_until("a record comes", LIMIT, async || has_come(&backend).then(|| began.elapsed())).await?;
    ensure!(backend.received().fault.is_none(), "the backend received {:?}", backend.received().fault);
    cluster.kubectl(&["delete", kind(Signal::Logs), "--all"]).await?;
    let look = async || pods(cluster).await.ok().filter(|pods| pods.len() == 1).map(drop);
    wait_until("only the manager runs", LIMIT, look).await?;
    Ok(took.as_secs_f64())
}

/// Resident memory of every program once, in MiB, when nothing comes any more; of several agents the largest.
async fn idle(cluster: &Cluster) -> Result<BTreeMap<String, f64>> {
    let backend = backend(cluster).await?;
    let all: String = Signal::ALL.iter().map(|signal| pipeline(*signal, "shop", backend.address)).collect();
    cluster.apply(&all).await?;
    wait_until("records come", LIMIT, async || has_come(&backend).then_some(())).await?;
    let are_ready = async || {
        let pods = pods(cluster).await.ok()?;
        let is_there = |name: &str| pods.iter().any(|pod| pod.name == name && pod.is_ready);
        (PROGRAMS.iter().all(|name| is_there(name)) && pods.iter().all(|pod| pod.is_ready)).then_some(())
    };
    wait_until("everything is ready", LIMIT, are_ready).await?;
    cluster.kubectl(&["delete", "namespace", "shop", "--timeout=60s"]).await?;
    tokio::time::sleep(IDLE).await;
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for pod in pods(cluster).await? {
        let resident = Usage::of(process_of(&pod)?)?.resident_mib;
        let largest = found.entry(pod.name).or_default();
        *largest = largest.max(resident);
    }
    ensure!(found.keys().eq(sorted(PROGRAMS).iter()), "other programs run: {found:?}");
    Ok(found)
}

fn sorted(mut names: [&str; 5]) -> [String; 5] {
    names.sort_unstable();
    names.map(str::to_owned)
}

/// A pod of ours.
struct Pod {
    /// What it runs, by its label.
    name: String,
    uid: String,
    is_ready: bool,
}

async fn pods(cluster: &Cluster) -> Result<Vec<Pod>> {
    let mut found = Vec::new();
    for namespace in [NAMESPACE, AGENT_NAMESPACE] {
        let text = cluster.kubectl(&["--namespace", namespace, "get", "pods", "--output", "json"]).await?;
        let list: Value = serde_json::from_str(&text)?;
        for pod in list["items"].as_array().into_iter().flatten() {
            let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
            found.push(Pod {
                name: text("/metadata/labels/app.kubernetes.io~1name"),
                uid: text("/metadata/uid"),
                is_ready: conditions.any(|found| found["type"] == "Ready" && found["status"] == "True"),
            });
        }
    }
    Ok(found)
}

/// The process of ours in a pod: its control group says whose it is.
fn process_of(pod: &Pod) -> Result<u32> {
    let processes = fs::read_dir("/proc")?.flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_it = |id: &u32| {
        let groups = fs::read_to_string(format!("/proc/{id}/cgroup")).unwrap_or_default();
        let program = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        groups.contains(&pod.uid) && program.starts_with("telemetry-")
    };
    ids.find(is_it).with_context(|| format!("no process of {} runs", pod.name))
}
