//! Pods that come and go in front of a real API server, without kubelets: each is an object, an address and a client that
//! sends from it, and its address is another one's soon. Runs in a network where all addresses are this machine's.
//!
//! Not here: whether what is found is good enough (`bars`).

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use cluster::ControlPlane;
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use self::{
    addresses::Addresses,
    engine::{Engine, TOKEN},
    judge::Judge,
    sender::{Origin, RECORDS, logs, points},
};
use crate::{
    counting_sink::{self, CountingSink},
    generator::client::{Answer, Client},
    kubernetes::ApiServer,
    signal::Signal,
};

mod addresses;
mod engine;
mod judge;
mod pod;
mod sender;

pub use judge::{Findings, Tally};
pub use sender::Sender;

/// The network of all addresses, of which nodes, agents and pods have a part each.
pub const NETWORK: &str = "10.203.0.0/16";
const FIRST_NODE: Ipv4Addr = Ipv4Addr::new(10, 203, 0, 1);
const FIRST_AGENT: Ipv4Addr = Ipv4Addr::new(10, 203, 1, 1);
const FIRST_POD: Ipv4Addr = Ipv4Addr::new(10, 203, 2, 0);
const NODES: u32 = 10;
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// The latest pods, of which agents send logs: some are gone already.
const LATEST: usize = 600;
/// Pods in one request of an agent.
const AGENT_PODS: usize = 3;
/// Between two requests of an agent.
const AGENT_INTERVAL: Duration = Duration::from_millis(500);

/// What is played.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The engine.
    pub engine: PathBuf,
    /// How long pods come, in seconds.
    pub seconds: f64,
    /// How many of them in a second.
    pub pods_a_second: f64,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Pods that came, and seconds in which they did.
    pub pods: u64,
    /// See `pods`.
    pub seconds: f64,
    /// Pods that ended in that time.
    pub ended_meanwhile: u64,
    /// Pods that ended by themselves and kept their address in their status for a while.
    pub completed: u64,
    /// Pods that sent before the API server was told of their address.
    pub early: u64,
    /// How long addresses were free that were given to another pod, in milliseconds, the shortest time first.
    pub gaps_ms: Vec<u64>,
    /// Requests with a forged mark.
    pub forged_requests: u64,
    /// How long the API server took to answer, in milliseconds: median, 99th percentile and maximum.
    pub api_ms: [f64; 3],
    /// Records that were answered with success.
    pub accepted: u64,
    /// Records that arrived.
    pub arrived: u64,
    /// The first request that was answered otherwise.
    pub failure: Option<String>,
    /// What arrived.
    pub findings: Findings,
    /// What the engine's transform has counted.
    pub counts: BTreeMap<String, u64>,
    /// Resources with marks that its listener for applications has removed.
    pub foreign_marks: u64,
}

/// A node with a forwarder in its network.
struct Node {
    name: String,
    address: Ipv4Addr,
    forwarder: Client,
}

/// What all pods share.
struct World {
    server: ApiServer,
    namespace: String,
    /// The listener for applications.
    apps: SocketAddr,
    nodes: Vec<Node>,
    addresses: Mutex<Addresses>,
    /// Names and ids.
    latest: Mutex<VecDeque<(String, String)>>,
    api: Mutex<Histogram<u64>>,
    failure: Mutex<Option<String>>,
    accepted: AtomicU64,
    ended: AtomicU64,
    completed: AtomicU64,
    early: AtomicU64,
    forged: AtomicU64,
    /// Whether agents shall end.
    is_over: AtomicBool,
}

/// Plays it from the start of the control plane to its end.
///
/// # Errors
/// When the control plane or the engine does not start, or the API server refuses something.
pub async fn play(spec: &Spec) -> Result<Outcome> {
    let control_plane = ControlPlane::start_own().await?;
    let namespace = control_plane.namespace("churn").await?;
    control_plane.pause_controllers().await?;
    let server = ApiServer::of(&control_plane).await?;
    let agents = create_nodes_and_agents(&server, &namespace).await?;

    let judge = Arc::new(Judge::default());
    let looks = Arc::clone(&judge);
    let sink = CountingSink::judging(
        counting_sink::Spec::plain(),
        Box::new(move |signal, message| looks.look(signal, message)),
    )
    .await?;
    let engine = Engine::start(&spec.engine, control_plane.kubeconfig(), sink.address).await?;
    let known = engine.counts()?.get("pods_known").copied();
    ensure!(known == Some(agents.len() as u64), "the engine knows {known:?} pods");

    let mut nodes = Vec::new();
    for number in 0..NODES {
        let address = nth(FIRST_NODE, number);
        let stream = connection(address, engine.apps).await?;
        nodes.push(Node {
            name: node_name(number),
            address,
            forwarder: Client::over(stream, engine.apps, Signal::Logs).await?,
        });
    }
    let world = Arc::new(World::new(server, namespace, engine.apps, nodes)?);
    let mut tasks = JoinSet::new();
    for agent in agents {
        tasks.spawn(run_agent(world.clone(), engine.agents, agent));
    }
    let (pods, seconds, ended_meanwhile) = world.churn(spec).await?;
    world.is_over.store(true, Ordering::Relaxed);
    while let Some(agent) = tasks.join_next().await {
        agent??;
    }
    let received = sink.received();
    ensure!(received.fault.is_none(), "the sink received {:?}", received.fault);
    world.outcome(&engine, &judge, pods, seconds, ended_meanwhile, received.records)
}

/// The pods of the agents, which live all the time.
async fn create_nodes_and_agents(server: &ApiServer, namespace: &str) -> Result<Vec<Origin>> {
    let mut agents = Vec::new();
    for number in 0..NODES {
        let (node, address) = (node_name(number), nth(FIRST_AGENT, number));
        server.create("/api/v1/nodes", &json!({ "metadata": { "name": node } })).await?;
        let (collection, pod) = (format!("/api/v1/namespaces/{namespace}/pods"), format!("agent-{number}"));
        let object = json!({
            "metadata": { "name": pod },
            "spec": { "nodeName": node, "containers": [{ "name": "agent", "image": "registry.example.com/agent:1" }] },
        });
        let uid = server.create(&collection, &object).await?;
        let status = json!({
            "phase": "Running",
            "hostIP": nth(FIRST_NODE, number),
            "podIP": address,
            "podIPs": [{ "ip": address }],
        });
        server.set_status(&format!("{collection}/{pod}"), &status).await?;
        agents.push(Origin { sender: Sender::AgentHostMetrics, pod, uid, address, node });
    }
    Ok(agents)
}

/// Sends the metrics of its host and logs of pods until it is over.
async fn run_agent(world: Arc<World>, target: SocketAddr, agent: Origin) -> Result<()> {
    let stream = connection(agent.address, target).await?;
    let logs_client = Client::over(stream, target, Signal::Logs).await?.authorized(target, Signal::Logs, TOKEN)?;
    let points_client = logs_client.authorized(target, Signal::Points, TOKEN)?;
    let mut random = StdRng::seed_from_u64(u64::from(agent.address.to_bits()));
    while !world.is_over.load(Ordering::Relaxed) {
        world.clone().deliver(points_client.clone(), points(&agent, "host_metrics"), 1).await;
        let origins = world.some_pods(&mut random, &agent);
        if !origins.is_empty() {
            let frame = logs(&origins, Some("kubernetes_logs"));
            world.clone().deliver(logs_client.clone(), frame, origins.len() as u64).await;
        }
        sleep(AGENT_INTERVAL).await;
    }
    Ok(())
}

impl World {
    fn new(server: ApiServer, namespace: String, apps: SocketAddr, nodes: Vec<Node>) -> Result<World> {
        Ok(World {
            server,
            namespace,
            apps,
            nodes,
            addresses: Mutex::new(Addresses::from(FIRST_POD)),
            latest: Mutex::default(),
            api: Mutex::new(Histogram::new(3)?),
            failure: Mutex::default(),
            accepted: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            early: AtomicU64::new(0),
            forged: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    /// Lets pods come at a steady rate, and waits for the end of the last one. Returns how many came, in how many seconds, and
    /// how many had ended by then.
    async fn churn(self: &Arc<Self>, spec: &Spec) -> Result<(u64, f64, u64)> {
        let (mut pods, mut lives, start) = (0, JoinSet::new(), Instant::now());
        let mut pace = interval(Duration::from_secs_f64(1.0 / spec.pods_a_second));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while start.elapsed().as_secs_f64() < spec.seconds {
            pace.tick().await;
            lives.spawn(pod::live(self.clone(), pods));
            pods += 1;
            while let Some(ended) = lives.try_join_next() {
                ended??;
            }
        }
        let (seconds, ended) = (start.elapsed().as_secs_f64(), self.ended.load(Ordering::Relaxed));
        while let Some(ended) = lives.join_next().await {
            ended??;
        }
        Ok((pods, seconds, ended))
    }

    /// Sends a request with so many resources, and waits for its answer.
    async fn deliver(self: Arc<Self>, mut client: Client, frame: Bytes, resources: u64) {
        let failure = match tokio::time::timeout(ANSWER_LIMIT, client.send(frame)).await {
            Ok(Ok(Answer::Accepted)) => {
                self.accepted.fetch_add(resources * RECORDS, Ordering::Relaxed);
                return;
            }
            Ok(Ok(answer)) => format!("{answer:?}"),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer in {ANSWER_LIMIT:?}"),
        };
        self.failure.lock().expect("no holder panics").get_or_insert(failure);
    }

    /// Some of the latest pods, as an agent sees them.
    fn some_pods(&self, random: &mut StdRng, agent: &Origin) -> Vec<Origin> {
        let latest = self.latest.lock().expect("no holder panics");
        let mut origins = Vec::new();
        for _ in 0..AGENT_PODS.min(latest.len()) {
            let (pod, uid) = latest[random.random_range(0..latest.len())].clone();
            origins.push(Origin { sender: Sender::AgentLogs, pod, uid, ..agent.clone() });
        }
        origins
    }

    fn begins(&self, pod: &str, uid: &str) {
        let mut latest = self.latest.lock().expect("no holder panics");
        if latest.len() == LATEST {
            latest.pop_front();
        }
        latest.push_back((pod.to_owned(), uid.to_owned()));
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().expect("no holder panics")
    }

    fn pods_path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    /// Waits for the API server, and notes how long that took.
    async fn timed<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let start = Instant::now();
        let answer = call.await?;
        self.api.lock().expect("no holder panics").record(u64::try_from(start.elapsed().as_micros())?)?;
        Ok(answer)
    }

    fn outcome(
        &self,
        engine: &Engine,
        judge: &Judge,
        pods: u64,
        seconds: f64,
        ended_meanwhile: u64,
        arrived: u64,
    ) -> Result<Outcome> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let api = self.api.lock().expect("no holder panics");
        let in_ms = |micros: u64| micros as f64 / 1e3;
        Ok(Outcome {
            pods,
            seconds,
            ended_meanwhile,
            completed: read(&self.completed),
            early: read(&self.early),
            gaps_ms: self.addresses().gaps().iter().map(|gap| gap.as_millis() as u64).collect(),
            forged_requests: read(&self.forged),
            api_ms: [in_ms(api.value_at_quantile(0.5)), in_ms(api.value_at_quantile(0.99)), in_ms(api.max())],
            accepted: read(&self.accepted),
            arrived,
            failure: self.failure.lock().expect("no holder panics").clone(),
            findings: judge.findings(),
            counts: engine.counts()?,
            foreign_marks: engine.foreign_marks()?,
        })
    }
}

/// A connection from an address.
async fn connection(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into()).with_context(|| format!("{from} is no address of this network"))?;
    Ok(socket.connect(to).await?)
}

fn node_name(number: u32) -> String {
    format!("node-{number}")
}

fn nth(first: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + number)
}
