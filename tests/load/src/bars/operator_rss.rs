//! The operator-rss bar: what a manager holds in a large cluster, also while all of it changes.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use cluster::ControlPlane;
use serde_json::{Value, json};

use super::{Bar, Length, Options, Verdict};
use crate::{
    kubernetes::{ApiServer, at_once, objects::Census},
    manager::{AGENT_NAMESPACE, Installation, Manager, kind, pipeline},
    signal::Signal,
};

/// Agents, one a node, which are the pods that a manager looks at.
const AGENTS: usize = 1000;
/// Pods of others, which it has no reason to look at.
const OTHERS: usize = 1000;
/// Secrets that pipelines name, and pipelines, which name as many each.
const SECRETS: usize = 200;
const PIPELINES: usize = 50;
/// Bytes of each Secret that no pipeline names.
const UNUSED: usize = 4096;
/// Most resident memory, in MiB.
const BOUND_MIB: f64 = 64.0;
/// How long memory is given back.
const SETTLED_AFTER: Duration = Duration::from_secs(20);
const BACKENDS: &str = "backends";

pub(super) const BAR: Bar = Bar {
    name: "operator-rss",
    about: "a manager with 1,000 agents beside 1,000 pods of others, 50 pipelines and the 200 Secrets that they name, all of which change",
    bound: "RSS <= 64 MiB at the peak",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let binary = options.manager()?;
    let rounds = match options.length {
        Length::Short => 2,
        Length::Long => 10,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let control_plane = runtime.block_on(ControlPlane::start_own())?;
    let installation = runtime.block_on(Installation::new(&control_plane, &binary))?;
    let manager = installation.start()?;
    manager.until_ready()?;
    tell("without pipelines", &manager)?;
    let seen = runtime.block_on(installation.seen(&control_plane))?;
    let manifests = manifests()?;
    runtime.block_on(async {
        control_plane.apply(&secrets(0)).await?;
        control_plane.apply(&manifests).await?;
        seen.until_accepted().await?;
        // Agents on nodes that do not exist would be taken away.
        control_plane.pause_controllers().await
    })?;
    tell("50 pipelines, 200 Secrets", &manager)?;
    let server = runtime.block_on(ApiServer::of(&control_plane))?;
    let agent = agent(&installation)?;
    runtime.block_on(populate(&server, &agent))?;
    tell("1,000 agents", &manager)?;
    for round in 1..=rounds {
        let (began, before) = (Instant::now(), manager.usage()?);
        runtime.block_on(async {
            for phase in ["Pending", "Running"] {
                at_once((0..AGENTS).map(|number| {
                    let path = format!("{}/{}", pods(), agent_name(number));
                    let server = &server;
                    async move { server.set_status(&path, &status(number, phase)).await }
                }))
                .await?;
            }
            control_plane.apply(&secrets(round)).await
        })?;
        let usage = manager.usage()?;
        println!(
            "  2,000 changes of agents and 200 of Secrets in {:.1} s, {:.1} s of CPU",
            began.elapsed().as_secs_f64(),
            usage.since(&before).as_secs_f64()
        );
        tell("behind it", &manager)?;
    }
    std::thread::sleep(SETTLED_AFTER);
    tell("at rest", &manager)?;
    let usage = manager.usage()?;
    Ok(Verdict {
        measured: format!("RSS {:.1} MiB, at the peak {:.1} MiB", usage.resident_mib, usage.peak_mib),
        holds: usage.peak_mib <= BOUND_MIB,
    })
}

fn tell(what: &str, manager: &Manager) -> Result<()> {
    std::thread::sleep(Duration::from_secs(3));
    let usage = manager.usage()?;
    println!("  {what:<26} RSS {:>5.1} MiB, peak so far {:>5.1} MiB", usage.resident_mib, usage.peak_mib);
    Ok(())
}

/// A pod as the DaemonSet would make it.
fn agent(installation: &Installation) -> Result<Value> {
    let wanted = installation.wanted(&pipeline(Signal::Logs, "one", "192.0.2.1:4317".parse()?))?;
    let daemon_set = wanted.find("DaemonSet", "telemetry-log-agent").context("log pipelines have agents")?;
    Ok(daemon_set["spec"]["template"].clone())
}

fn pods() -> String {
    format!("/api/v1/namespaces/{AGENT_NAMESPACE}/pods")
}

fn agent_name(number: usize) -> String {
    format!("telemetry-log-agent-{number:05}")
}

async fn populate(server: &ApiServer, agent: &Value) -> Result<()> {
    let census = &Census::new(OTHERS, 0);
    at_once(census.namespaces().map(|name| async move {
        server.create("/api/v1/namespaces", &census.namespace(&name)).await?;
        // Pods need an account, and the controllers that make them are paused.
        let account = json!({ "metadata": { "name": "default" } });
        server.create(&format!("/api/v1/namespaces/{name}/serviceaccounts"), &account).await.map(drop)
    }))
    .await?;
    at_once((0..OTHERS).map(|number| async move {
        let pod = census.pod(number);
        server.create(&pod.collection, &pod.object).await?;
        server.set_status(&pod.path, &pod.status).await
    }))
    .await?;
    at_once((0..AGENTS).map(|number| async move {
        let mut pod = agent.clone();
        pod["metadata"]["name"] = agent_name(number).into();
        pod["spec"]["nodeName"] = format!("node-{number:05}").into();
        server.create(&pods(), &pod).await?;
        server.set_status(&format!("{}/{}", pods(), agent_name(number)), &status(number, "Running")).await
    }))
    .await
}

/// What a kubelet says. Nobody answers at the address of an agent.
fn status(number: usize, phase: &str) -> Value {
    let since = "2026-01-01T08:15:30Z";
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 1).to_bits() + number as u32);
    let condition = |kind: &str| json!({ "type": kind, "status": if phase == "Running" { "True" } else { "False" }, "lastTransitionTime": since });
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let digits = format!("{number:064x}");
    json!({
        "phase": phase,
        "conditions": conditions,
        "podIP": address,
        "podIPs": [{ "ip": address }],
        "startTime": since,
        "containerStatuses": [{
            "name": "engine", "image": "telemetry-engine:0.1.0", "imageID": format!("telemetry-engine@sha256:{digits}"),
            "containerID": format!("containerd://{digits}"), "ready": phase == "Running", "restartCount": 0,
            "state": { "running": { "startedAt": since } },
        }],
    })
}

/// Secrets of backends in a namespace of their own, which the manager may read. Each round gives them other tokens.
fn secrets(round: usize) -> String {
    let head = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": BACKENDS } });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "telemetry-secret-reader", "namespace": BACKENDS },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "telemetry-secret-reader" },
        "subjects": [{ "kind": "ServiceAccount", "name": "telemetry-manager", "namespace": "telemetry-system" }],
    });
    let secret = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": format!("token-{number}"), "namespace": BACKENDS },
            "stringData": { "token": format!("{round:032}{number:032}"), "unused": "x".repeat(UNUSED) },
        })
    };
    let all = [head, binding].into_iter().chain((0..SECRETS).map(secret));
    all.map(|object| format!("{object}\n---\n")).collect()
}

/// Pipelines of all kinds, each with several headers whose values stand in Secrets.
fn manifests() -> Result<String> {
    let each = SECRETS / PIPELINES;
    let signals = Signal::ALL.iter().cycle().take(PIPELINES).enumerate();
    Ok(signals
        .map(|(number, signal)| {
            let header = |part: usize| {
                let reference =
                    json!({ "name": format!("token-{}", number * each + part), "namespace": BACKENDS, "key": "token" });
                json!({ "name": format!("x-token-{part}"), "valueFrom": { "secretKeyRef": reference } })
            };
            let headers: Vec<_> = (0..each).map(header).collect();
            let endpoint = json!({ "value": "https://backend.example.com:4317" });
            let pipeline = json!({
                "apiVersion": "telemetry.kyma-project.io/v1beta1", "kind": kind(*signal),
                "metadata": { "name": format!("shop-{number:02}") },
                "spec": { "output": { "otlp": { "endpoint": endpoint, "headers": headers } } },
            });
            format!("{pipeline}\n---\n")
        })
        .collect())
}
