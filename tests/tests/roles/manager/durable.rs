//! Log pipelines with a buffer on disk: what was taken arrives, whatever happens to pods, nodes and volumes while the backend is away.
//!
//! A record may come twice where a gateway was killed between its delivery and the note of it, and never gets lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener};
use std::time::{Duration, Instant};

use base64::Engine as _;
use engine_config::status::Status;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use pods::oracle::{Oracle, Run, Tally};
use serde_json::{Value, json};
use telemetry_manager::render::config::STATUS_PORT;
use telemetry_manager::settings::TOKENS_SECRET;
use tokio::net::TcpStream;

use super::clients::{Backend, Client, print};
use super::installed::Manager;
use super::scenario::{Scenario, output};

/// The installation's namespace.
const NAMESPACE: &str = "telemetry-system";
/// Lines that each container prints, so many a second, and more where the backend is away for longer.
const LINES: usize = 2_000;
const RATE: u32 = 100;
/// Records that a client sends a second.
const CLIENT_RATE: u32 = 50;
/// Lines that are more than the small volume has room for, so many a second.
const MANY_LINES: usize = 20_000;
const MANY_LINES_RATE: u32 = 1_000;
/// The class of volumes of the harness that have hardly any room, whatever they say.
const SMALL: &str = "small";

/// What a pipeline says that takes what one container of a namespace prints, and has a buffer of this kind.
fn spec(namespace: &str, endpoint: &str, buffer: Value) -> Value {
    let runtime = json!({ "namespaces": { "include": [namespace] }, "containers": { "include": ["web"] } });
    let mut output = output(endpoint);
    output["otlp"]["buffer"] = buffer;
    json!({ "input": { "runtime": runtime }, "output": output })
}

fn on_disk(size: &str) -> Value {
    json!({ "type": "disk", "maxSize": size })
}

/// Says how many gateways run, and of which class their volumes are.
async fn module(scenario: &Scenario, pods: u32, class: &str) {
    let spec = json!({
        "log": { "gateway": { "scaling": { "static": { "replicas": pods } } } }, "storage": { "class": class },
    });
    let metadata = json!({ "name": "default", "namespace": "telemetry-system" });
    let api_version = "operator.kyma-project.io/v1beta1";
    let module = json!({ "apiVersion": api_version, "kind": "Telemetry", "metadata": metadata, "spec": spec });
    scenario.apply(&module.to_string()).await;
}

/// Waits until a pipeline runs in gateways with volumes.
async fn runs(scenario: &Scenario, pipeline: &str) {
    let kinds = ["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy", "BufferHealthy"];
    scenario.is_true(&format!("logpipeline/{pipeline}"), &kinds).await;
    let workloads = scenario.workloads().await;
    assert!(workloads.contains(&"statefulset.apps/telemetry-log-gateway".to_owned()), "{workloads:?}");
}

/// Waits until the pipeline says that its backend takes nothing.
async fn waits(manager: &Manager) {
    manager.is_false("logpipeline/shop", "TelemetryFlowHealthy", "GatewayBackendUnreachable").await;
}

/// Waits until a pipeline says that so many records are in the gateway, and gives how full its buffer is.
async fn holds(manager: &Manager, pipeline: &str, records: usize) -> Value {
    let look = async || {
        let status = manager.get("logpipeline", "", pipeline).await?["status"].clone();
        let held = status["flow"]["held"].as_u64().unwrap_or_default();
        (held >= records as u64 && status["buffer"]["used"] != "0").then(|| status["buffer"].clone())
    };
    manager.until(&format!("{pipeline} says that {records} records wait"), look).await
}

/// Waits until the gateways themselves say that they have so many records of a pipeline, which is sooner than in its status: there
/// counts are at most once a minute. Gives how many each pod has.
async fn hold(manager: &Manager, pipeline: &str, records: u64) -> BTreeMap<String, u64> {
    let tokens = manager.get("secret", NAMESPACE, TOKENS_SECRET).await.unwrap();
    let token = base64::engine::general_purpose::STANDARD.decode(tokens["data"]["status"].as_str().unwrap()).unwrap();
    let token = String::from_utf8(token).unwrap();
    let look = async || {
        let mut all = BTreeMap::new();
        for pod in manager.list("pod", NAMESPACE, "app.kubernetes.io/name=telemetry-log-gateway").await {
            let address = pod["status"]["podIP"].as_str()?.parse().unwrap();
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            all.insert(name, held(&status(address, &token).await?, pipeline));
        }
        (all.values().sum::<u64>() >= records).then_some(all)
    };
    manager.until(&format!("gateways have {records} records of {pipeline}"), look).await
}

/// What an engine says of itself, if it answers.
async fn status(address: IpAddr, token: &str) -> Option<Status> {
    let stream = TcpStream::connect((address, STATUS_PORT)).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request =
        hyper::Request::get("/status").header(HOST, "engine").header(AUTHORIZATION, format!("Bearer {token}"));
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.ok()?;
    assert!(response.status().is_success(), "{response:?}");
    Some(serde_json::from_slice(&response.into_body().collect().await.ok()?.to_bytes()).unwrap())
}

/// Records of a pipeline that an engine has.
fn held(status: &Status, pipeline: &str) -> u64 {
    let of_it = status.components.iter().filter(|found| found.pipeline.as_deref() == Some(pipeline));
    let sinks = of_it.filter_map(|found| found.sink.as_ref());
    sinks.map(|sink| sink.ledger.held.queued + sink.ledger.held.in_flight + sink.ledger.held.on_disk).sum()
}

/// A time without a backend.
struct Outage {
    began: Instant,
    /// How long it is to be at least.
    lasts: Duration,
}

impl Outage {
    /// `TESTS_BACKEND_AWAY` says how many seconds it lasts; without it, it ends as soon as everything has happened.
    fn begin() -> Self {
        let seconds = std::env::var("TESTS_BACKEND_AWAY");
        let seconds = seconds.map_or(0, |seconds| seconds.parse().expect("TESTS_BACKEND_AWAY is a number"));
        Self { began: Instant::now(), lasts: Duration::from_secs(seconds) }
    }

    /// Lines that each container prints at [`RATE`], so that some come all the time.
    fn lines(&self) -> usize {
        LINES + usize::try_from(self.lasts.as_secs()).unwrap() * RATE as usize
    }

    /// Has one gateway after the other deleted, in good order and by force, until it has lasted long enough.
    async fn end(self, manager: &Manager, gateways: u32) {
        let ways = [&["--wait=false"][..], &["--grace-period=0", "--force"]];
        let turns = ways.iter().flat_map(|how| (0..gateways).map(move |ordinal| (ordinal, *how)));
        for (ordinal, how) in turns.cycle() {
            if self.began.elapsed() >= self.lasts {
                return;
            }
            replace(manager, ordinal, how).await;
        }
    }
}

/// Deletes a pod of the gateway, and waits until there is another one that runs.
async fn replace(manager: &Manager, ordinal: u32, how: &[&str]) {
    let name = format!("telemetry-log-gateway-{ordinal}");
    let before = manager.get("pod", NAMESPACE, &name).await.map(|pod| pod["metadata"]["uid"].clone());
    manager.kubectl(&[&["--namespace", NAMESPACE, "delete", "pod", &name][..], how].concat()).await;
    let look = async || {
        let now = manager.get("pod", NAMESPACE, &name).await?;
        let is_ready = now["status"]["containerStatuses"][0]["ready"] == true;
        (is_ready && Some(&now["metadata"]["uid"]) != before.as_ref()).then_some(())
    };
    manager.until(&format!("{name} is another one"), look).await;
}

/// Waits until a backend in the cluster has as many records as were sent, and asserts that it has these.
async fn arrived(scenario: &Scenario, backend: &Backend<'_>, sent: usize) -> Tally {
    let look = async || {
        let tally: Tally = backend.runs().await.iter().collect();
        (tally.received >= sent).then_some(tally)
    };
    let tally = scenario.until(&format!("{sent} records arrive"), look).await;
    assert_eq!((tally.received, tally.missing), (sent, 0), "{tally:?}");
    tally
}

fn namespaces(runs: &[Run]) -> BTreeSet<String> {
    runs.iter().flat_map(|run| &run.resources).map(|resource| resource["k8s.namespace.name"].clone()).collect()
}

/// The backend has no pod while containers print, and gateways are deleted in good order and by force. How much waits stands in
/// the status of the pipeline; when the backend comes, it gets every line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_outlives_its_gateways() {
    let Some(scenario) = Scenario::begin("no backend, gateways deleted and killed", &[]).await else { return };
    let namespace = scenario.namespace("shop").await;
    let backend = Backend::away(&scenario, &namespace).await;
    scenario.pipeline("LogPipeline", "shop", spec(&namespace, &backend.endpoint, on_disk("64Mi"))).await;
    runs(&scenario, "shop").await;
    let outage = Outage::begin();
    print(&scenario, &namespace, outage.lines(), RATE).await;
    let sent = outage.lines() * scenario.cluster.nodes();
    waits(&scenario).await;
    tokio::join!(replace(&scenario, 0, &["--grace-period=0", "--force"]), replace(&scenario, 1, &["--wait=false"]));
    replace(&scenario, 1, &["--grace-period=0", "--force"]).await;
    outage.end(&scenario, 2).await;
    let buffer = holds(&scenario, "shop", sent).await;
    assert_eq!((&buffer["max"], &buffer["pods"]["reporting"]), (&json!("128Mi"), &json!(2)));
    waits(&scenario).await;
    backend.come().await;
    let tally = arrived(&scenario, &backend, sent).await;
    scenario.is_true("logpipeline/shop", &["TelemetryFlowHealthy", "BufferHealthy"]).await;
    scenario.end(sent, tally).await;
}

/// The volume of the only gateway has no room while the backend is away: that is told, the agents keep what does not fit, and all
/// of it arrives when the backend comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_volume_loses_nothing() {
    let Some(scenario) = Scenario::begin("no backend, and the volume is full", &[]).await else { return };
    let namespace = scenario.namespace("shop").await;
    let backend = Backend::away(&scenario, &namespace).await;
    module(&scenario, 1, SMALL).await;
    let mut spec = spec(&namespace, &backend.endpoint, on_disk("64Mi"));
    spec["input"]["otlp"] = json!({ "enabled": false });
    scenario.pipeline("LogPipeline", "shop", spec).await;
    runs(&scenario, "shop").await;
    let outage = Outage::begin();
    print(&scenario, &namespace, MANY_LINES, MANY_LINES_RATE).await;
    let told = scenario.is_false("logpipeline/shop", "BufferHealthy", "BufferNotWritable").await;
    assert!(told.contains("telemetry-log-gateway-0"), "{told}");
    // What is on a full disk can be read again.
    replace(&scenario, 0, &["--grace-period=0", "--force"]).await;
    outage.end(&scenario, 1).await;
    backend.come().await;
    let sent = MANY_LINES * scenario.cluster.nodes();
    let tally = arrived(&scenario, &backend, sent).await;
    scenario.is_true("logpipeline/shop", &["TelemetryFlowHealthy", "BufferHealthy"]).await;
    scenario.end(sent, tally).await;
}

/// A node is drained while the backend is away: its gateway goes and comes back to its volume with the node, the other one goes on,
/// and every line arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_brings_its_volume_back() {
    let Some(scenario) = Scenario::begin("no backend, and a node is drained", &[]).await else { return };
    let namespace = scenario.namespace("shop").await;
    let backend = Backend::away(&scenario, &namespace).await;
    scenario.pipeline("LogPipeline", "shop", spec(&namespace, &backend.endpoint, on_disk("64Mi"))).await;
    runs(&scenario, "shop").await;
    let outage = Outage::begin();
    print(&scenario, &namespace, outage.lines(), RATE).await;
    let sent = outage.lines() * scenario.cluster.nodes();
    let pods = hold(&scenario, "shop", 1).await;
    let (fullest, _) = pods.iter().max_by_key(|(_, records)| **records).unwrap();
    let pod = scenario.get("pod", NAMESPACE, fullest).await.unwrap();
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    scenario
        .kubectl(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s"])
        .await;
    scenario.is_false("logpipeline/shop", "GatewayHealthy", "GatewayNotReady").await;
    scenario.kubectl(&["uncordon", node]).await;
    runs(&scenario, "shop").await;
    outage.end(&scenario, 2).await;
    hold(&scenario, "shop", sent as u64).await;
    backend.come().await;
    let tally = arrived(&scenario, &backend, sent).await;
    scenario.is_true("logpipeline/shop", &["TelemetryFlowHealthy", "BufferHealthy"]).await;
    scenario.end(sent, tally).await;
}

/// A pipeline is deleted while its backend is away, and made again under its name with another one: what waited goes to the
/// backend that it was for, as soon as that is back, and nothing of it to the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_inherits_nothing() {
    let Some(scenario) = Scenario::begin("a name is used again for another backend", &[]).await else { return };
    let (first, second) = (scenario.namespace("shop").await, scenario.namespace("pay").await);
    let (other, endpoint) = scenario.backend().await;
    // An address where nobody listens, and where somebody will.
    let listener = TcpListener::bind((scenario.cluster.machine_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    // One that stays: without any pipeline nothing runs.
    scenario.pipeline("LogPipeline", "stays", spec("nobody", &endpoint, on_disk("16Mi"))).await;
    let disk = on_disk("32Mi");
    let mut of_shop = spec(&first, &format!("http://{address}"), disk.clone());
    of_shop["input"]["otlp"] = json!({ "enabled": false });
    scenario.pipeline("LogPipeline", "shop", of_shop).await;
    runs(&scenario, "shop").await;
    print(&scenario, &first, LINES, 10 * RATE).await;
    let sent = LINES * scenario.cluster.nodes();
    hold(&scenario, "shop", sent as u64).await;

    scenario.kubectl(&["delete", "logpipeline", "shop"]).await;
    scenario.pipeline("LogPipeline", "shop", spec(&second, &endpoint, disk)).await;
    runs(&scenario, "shop").await;
    let old = Oracle::default();
    old.serve_at(address).await.unwrap();
    print(&scenario, &second, LINES, 10 * RATE).await;
    let tally = scenario.arrived(sent, &[&old]).await + scenario.arrived(sent, &[&other]).await;
    assert_eq!(namespaces(&old.runs()), BTreeSet::from([first]));
    assert_eq!(namespaces(&other.runs()), BTreeSet::from([second]));
    scenario.end(2 * sent, tally).await;
}

/// A pipeline gets a buffer on disk while containers print and an SDK sends whose retries are off: no export fails, and every
/// record arrives once. Back in memory its volumes are left, empty, and are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_disk_and_back() {
    let Some(scenario) = Scenario::begin("a pipeline goes to disk and back", &[]).await else { return };
    let namespace = scenario.namespace("shop").await;
    let (oracle, endpoint) = scenario.backend().await;
    module(&scenario, 2, "standard").await;
    scenario.pipeline("LogPipeline", "shop", spec(&namespace, &endpoint, json!({}))).await;
    scenario.is_true("logpipeline/shop", &["ConfigurationGenerated", "GatewayHealthy", "AgentHealthy"]).await;
    print(&scenario, &namespace, LINES, RATE).await;
    let client = Client::start(&scenario, &namespace, "logs", "grpc", CLIENT_RATE).await;
    scenario.more(&oracle, 500).await;
    scenario.pipeline("LogPipeline", "shop", spec(&namespace, &endpoint, on_disk("32Mi"))).await;
    let gateways = async |kind: &str| {
        let mut workloads = scenario.workloads().await;
        workloads.retain(|name| name.ends_with("telemetry-log-gateway"));
        (workloads == [format!("{kind}.apps/telemetry-log-gateway")]).then_some(())
    };
    scenario.until("gateways with volumes have taken over", async || gateways("statefulset").await).await;
    runs(&scenario, "shop").await;
    scenario.more(&oracle, 500).await;
    let sent = client.end().await.records + LINES * scenario.cluster.nodes();
    let tally = scenario.arrived(sent, &[&oracle]).await;

    scenario.pipeline("LogPipeline", "shop", spec(&namespace, &endpoint, json!({ "type": "memory" }))).await;
    scenario.until("those without have taken over", async || gateways("deployment").await).await;
    let look = async || {
        let module = scenario.get("telemetry", NAMESPACE, "default").await?;
        let left = module["status"]["storage"]["leftOverClaims"].as_array()?.len();
        (left == 2).then_some(())
    };
    scenario.until("what is left is told", look).await;
    scenario.is_true("logpipeline/shop", &["GatewayHealthy"]).await;
    scenario.end(sent, tally).await;
}
