//! The life of one pod: it is created, has an address, sends, and ends; its address is somebody else's soon.

use std::{
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use super::{
    World,
    sender::{Origin, Sender, logs},
};
use crate::{generator::client::Client, signal::Signal};

/// How long pods live, and how long they are silent between two requests, in milliseconds.
const LIFE: std::ops::Range<u64> = 1000..6000;
const SILENCE: std::ops::Range<u64> = 300..1000;
/// By how many milliseconds a pod may be earlier than its address in the API server: a kubelet looks once a second what has
/// become of its pods.
const LEAD: std::ops::Range<u64> = 10..1000;
/// What a pod has sent is there by then; it ends so long after its last request at the least.
const QUIET: Duration = Duration::from_millis(20);
/// The share of pods that end by themselves: they keep their address in their status, though somebody else may have it,
/// until they are deleted, so many milliseconds later.
const COMPLETED: f64 = 0.15;
const KEPT: std::ops::Range<u64> = 500..4000;
/// How many milliseconds an address is free.
const FREE: std::ops::Range<u64> = 100..3000;
/// The share of requests with a forged mark.
const FORGED: f64 = 0.1;

/// Lives. What goes wrong with its requests is noted in the world.
pub(super) async fn live(world: Arc<World>, number: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(number);
    let sender = Sender::of_a_pod(&mut random);
    let node = &world.nodes[random.random_range(0..world.nodes.len())];
    let is_in_host_network = sender.is_in_host_network();
    let address = match is_in_host_network {
        true => node.address,
        false => world.addresses().take(Instant::now()),
    };
    let pod = format!("pod-{number}");
    let object = json!({
        "metadata": { "name": pod, "labels": { "app.kubernetes.io/name": "churn" } },
        "spec": {
            "nodeName": node.name,
            "hostNetwork": is_in_host_network,
            "restartPolicy": "Never",
            "containers": [{ "name": "app", "image": "registry.example.com/churn:1" }],
        },
    });
    let collection = world.pods_path();
    let path = format!("{collection}/{pod}");
    let uid = world.timed(world.server.create(&collection, &object)).await?;
    world.begins(&pod, &uid);
    let origin = Origin { sender, pod, uid, address, node: node.name.clone() };

    let status = json!({
        "phase": "Running",
        "hostIP": node.address,
        "podIP": address,
        "podIPs": [{ "ip": address }],
    });
    let tell = world.timed(world.server.set_status(&path, &status));
    let life = Duration::from_millis(random.random_range(LIFE));
    let sends = |random: StdRng| send(world.clone(), origin.clone(), Instant::now() + life, random);
    let mut outstanding = if sender == Sender::Early {
        world.early.fetch_add(1, Ordering::Relaxed);
        let lead = Duration::from_millis(random.random_range(LEAD));
        let (told, outstanding) = tokio::join!(
            async {
                sleep(lead).await;
                tell.await
            },
            sends(StdRng::from_rng(&mut random))
        );
        told?;
        outstanding?
    } else {
        tell.await?;
        sends(StdRng::from_rng(&mut random)).await?
    };

    sleep(QUIET).await;
    let completes = random.random_bool(COMPLETED);
    if completes {
        world.completed.fetch_add(1, Ordering::Relaxed);
        world.timed(world.server.set_status(&path, &json!({ "phase": "Succeeded" }))).await?;
    } else {
        world.timed(world.server.delete(&path)).await?;
    }
    if !is_in_host_network {
        let free = Duration::from_millis(random.random_range(FREE));
        world.addresses().give_back(address, Instant::now(), free);
    }
    world.ended.fetch_add(1, Ordering::Relaxed);
    if completes {
        sleep(Duration::from_millis(random.random_range(KEPT))).await;
        world.timed(world.server.delete(&path)).await?;
    }
    while let Some(answered) = outstanding.join_next().await {
        answered?;
    }
    Ok(())
}

/// Sends until the end. Returns the requests that have no answer yet; their connection lives as long as they do.
async fn send(world: Arc<World>, origin: Origin, end: Instant, mut random: StdRng) -> Result<JoinSet<()>> {
    let client = match origin.sender {
        Sender::Forwarder => {
            let node = world.nodes.iter().find(|node| node.name == origin.node);
            node.context("a pod is on a node")?.forwarder.clone()
        }
        _ => connect(&world, origin.address).await?,
    };
    let mut requests = JoinSet::new();
    while Instant::now() < end {
        let is_forged = random.random_bool(FORGED);
        world.forged.fetch_add(u64::from(is_forged), Ordering::Relaxed);
        let frame = logs(std::slice::from_ref(&origin), is_forged.then_some("host_metrics"));
        requests.spawn(world.clone().deliver(client.clone(), frame, 1));
        let silence = Duration::from_millis(random.random_range(SILENCE));
        sleep(silence.min(end.saturating_duration_since(Instant::now()))).await;
    }
    Ok(requests)
}

/// A connection from an address to the listener for applications.
pub(super) async fn connect(world: &World, from: Ipv4Addr) -> Result<Client> {
    let stream = super::connection(from, world.apps).await?;
    Client::over(stream, world.apps, Signal::Logs).await
}
