//! A manager on ground of its own: an API server behind the fault proxy, its namespaces, and witnesses of what becomes of the
//! objects that it makes.
//!
//! Pipelines and some of these objects are of the whole cluster, so tests with a manager take turns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::{ControlPlane, FaultProxy, Followed, ObjectId, Objects, Witness, contains, exactly, or_skip, wait_until};
use engine_config::SecretString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use telemetry_manager::apply::{MANAGED_BY, OWNED_BY};
use telemetry_manager::controller::{self, Start};
use telemetry_manager::crd::{LogPipeline, MetricPipeline, TracePipeline};
use telemetry_manager::input::{Input, SecretView, Tokens};
use telemetry_manager::settings::{Settings, TOKENS_SECRET};
use tokio::sync::{MutexGuard, OnceCell, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{Keeping, apply, define, object, objects};

/// How long anything may take that a test waits for.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// Pipelines that are there all the time, each with its signal's kind and the component that its gateway must always have.
const KEPT: [(&str, &str); 2] = [("LogPipeline", "keep-logs"), ("MetricPipeline", "keep-metrics")];

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A control plane with pipelines that have to stay, and everything to watch over them.
pub(crate) struct Ground {
    pub(crate) control_plane: &'static ControlPlane,
    pub(crate) client: Client,
    pub(crate) proxy: FaultProxy,
    pub(crate) settings: Settings,
    children: Witness,
    pipelines: Witness,
    _turn: MutexGuard<'static, ()>,
}

/// A manager that runs in a thread of its own: when it is killed, nothing of it is left.
pub(crate) struct Manager {
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    /// Lets time pass for the manager.
    Pass(Duration, oneshot::Sender<()>),
    Kill,
    /// Ends it in good order.
    Stop,
}

impl Ground {
    /// New namespaces, the kept pipelines, and a manager that has made what they need; or nothing where that cannot be had.
    pub(crate) async fn new() -> Option<(Self, Manager)> {
        static SERVER: OnceCell<ControlPlane> = OnceCell::const_new();
        let turn = TURN.lock().await;
        // An own one, because tests of this process that use the shared one know nothing of a manager.
        let control_plane = or_skip(SERVER.get_or_try_init(ControlPlane::start_own).await)?;
        let client = control_plane.client().await.unwrap();
        define(&client).await;
        clear(&client).await;
        let settings = Settings {
            namespace: control_plane.namespace("gateways").await.unwrap(),
            agent_namespace: control_plane.namespace("agents").await.unwrap(),
            ..Settings::default()
        };
        let namespace = Api::<Namespace>::all(client.clone()).get(&settings.namespace).await.unwrap();
        let settings = Settings { namespace_uid: namespace.metadata.uid, ..settings };
        for (kind, name) in KEPT {
            put(&client, kind, name, 4317).await;
        }
        let (children, pipelines) = witnesses(&client, &settings).await;
        let proxy = FaultProxy::start(control_plane.kubeconfig()).await.unwrap();
        let ground = Self { control_plane, client, proxy, settings, children, pipelines, _turn: turn };
        let manager = ground.start("first");
        ground.converges("the kept pipelines run").await;
        Some((ground, manager))
    }

    /// Starts a manager that goes through the proxy.
    pub(crate) fn start(&self, identity: &str) -> Manager {
        Manager::start(self.proxy.kubeconfig(), &self.settings, identity)
    }

    /// Makes a pipeline, or has it send to another port.
    pub(crate) async fn put(&self, kind: &str, name: &str, port: u16) {
        put(&self.client, kind, name, port).await;
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        objects(&self.client, kind).delete(name, &DeleteParams::background()).await.unwrap();
    }

    /// Waits until what is there is exactly what a manager makes who has seen nothing else than what there is now, and until
    /// all pipelines that can run are said to.
    pub(crate) async fn converges(&self, what: &str) {
        let (wanted, valid) = self.wanted().await;
        self.children.until(what, LIMIT, |there| exactly(there, &wanted, compare)).await.unwrap();
        let are_accepted = |there: &Objects| {
            let is_accepted = |(id, pipeline): &(&ObjectId, &Value)| {
                let condition = condition(pipeline, "ConfigurationGenerated");
                !valid.contains(&id.name)
                    || condition.is_some_and(|condition| {
                        condition["status"] == "True"
                            && condition["observedGeneration"] == pipeline["metadata"]["generation"]
                    })
            };
            let other = there.iter().find(|pipeline| !is_accepted(pipeline));
            other.map_or(Ok(()), |(id, _)| Err(format!("{id} is not said to run")))
        };
        self.pipelines.until(what, LIMIT, are_accepted).await.unwrap();
    }

    /// Changes an object as somebody else would.
    pub(crate) async fn merge(&self, object: &DynamicObject, patch: &Value) {
        let types = object.types.as_ref().unwrap();
        let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind));
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let parameters = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        api.patch(&object.name_any(), &parameters, &Patch::Merge(patch)).await.unwrap();
    }

    /// Waits until managers have asked for something of this path so often from now on.
    pub(crate) async fn asked(&self, path: &str, times: usize) {
        let before = self.proxy.seen().len();
        let look = async || {
            let asked = self.proxy.seen().into_iter().skip(before).filter(|seen| seen.path.contains(path)).count();
            (asked >= times).then_some(())
        };
        wait_until(&format!("{path} is asked for"), LIMIT, look).await.unwrap();
    }

    /// Takes everything away, which has to go with the last pipeline.
    pub(crate) async fn end(self, manager: Manager) {
        clear_pipelines(&self.client).await;
        self.converges("nothing is left").await;
        // Whoever would not be told of this has not been told of anything.
        let told = self.children.complaints();
        assert!(told.iter().any(|told| told.contains("telemetry-log-gateway was deleted")), "{told:?}");
        manager.end(Order::Stop).await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for namespace in [&self.settings.namespace, &self.settings.agent_namespace] {
            namespaces.delete(namespace, &DeleteParams::background()).await.unwrap();
        }
    }

    /// Waits until a pipeline gives this reason.
    pub(crate) async fn says(&self, name: &str, reason: &str) {
        let look = |there: &Objects| {
            let found = there.iter().find(|(id, _)| id.name == name).and_then(|(_, pipeline)| {
                condition(pipeline, "ConfigurationGenerated").map(|condition| condition["reason"].clone())
            });
            if found == Some(reason.into()) { Ok(()) } else { Err(format!("it says {found:?}")) }
        };
        self.pipelines.until(&format!("{name} says {reason}"), LIMIT, look).await.unwrap();
    }

    /// Waits until a configuration has this text in it.
    pub(crate) async fn configured(&self, role: &str, text: &str) {
        let look = |there: &Objects| {
            let mut configs = there.iter().filter(|(id, _)| id.kind == "Secret" && id.name.starts_with(role));
            let has_it = configs.any(|(_, secret)| engine_config(secret).contains(text));
            if has_it { Ok(()) } else { Err("it is another one".to_owned()) }
        };
        self.children.until(&format!("{role} has {text}"), LIMIT, look).await.unwrap();
    }

    /// That nothing but what may go was deleted, and that no kept pipeline was ever left out or had its pods replaced.
    pub(crate) fn assert_undisturbed(&self, may_go: &[&str]) {
        let complaints: Vec<_> = [&self.children, &self.pipelines]
            .into_iter()
            .flat_map(Witness::complaints)
            .filter(|complaint| !may_go.iter().any(|name| complaint.contains(name)))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }

    /// Everything that is made of what there is, and the names of the pipelines that can run.
    pub(crate) async fn wanted(&self) -> (Vec<Value>, Vec<String>) {
        let mut input = Input {
            settings: self.settings.clone(),
            logs: list::<LogPipeline>(&self.client).await,
            metrics: list::<MetricPipeline>(&self.client).await,
            traces: list::<TracePipeline>(&self.client).await,
            tokens: self.tokens().await,
            ..Input::default()
        };
        for name in telemetry_manager::collect::secrets(&input.logs, &input.metrics, &input.traces) {
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &name.namespace);
            let found = secrets.get_opt(&name.name).await.unwrap();
            let view = found.map_or(SecretView::Missing, |secret| {
                let data = secret.data.unwrap_or_default();
                SecretView::Present(data.into_iter().map(|(key, value)| (key, value.0)).collect())
            });
            input.secrets.insert(name, view);
        }
        let desired = telemetry_manager::plan::plan(&input);
        let is_valid = |report: &telemetry_manager::status::PipelineReport| {
            let condition = report.condition("ConfigurationGenerated");
            condition.is_some_and(|condition| condition.status == telemetry_manager::status::Verdict::True)
        };
        let valid = desired.pipelines.iter().filter(|(_, report)| is_valid(report)).map(|(id, _)| id.name.clone());
        (desired.objects.iter().map(|object| json!(object)).collect(), valid.collect())
    }

    async fn tokens(&self) -> Tokens {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let look = async || secrets.get_opt(TOKENS_SECRET).await.ok().flatten()?.data;
        let data = wait_until("there are tokens", LIMIT, look).await.unwrap();
        let token = |key: &str| SecretString::new(std::str::from_utf8(&data[key].0).unwrap());
        Tokens { agents: token("agents"), status: token("status") }
    }
}

impl Manager {
    fn start(kubeconfig: &Path, settings: &Settings, identity: &str) -> Self {
        let (orders, taken) = mpsc::unbounded_channel();
        let start = Start {
            settings: Settings { namespace_uid: None, ..settings.clone() },
            identity: identity.to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
        };
        let kubeconfig = kubeconfig.to_owned();
        let thread = std::thread::spawn(move || live(kubeconfig, start, taken));
        Self { orders, thread: Some(thread) }
    }

    /// Lets so much time pass for the manager alone, as fast as it has nothing to do.
    pub(crate) async fn pass(&self, time: Duration) {
        let (done, passed) = oneshot::channel();
        self.orders.send(Order::Pass(time, done)).unwrap();
        passed.await.unwrap();
    }

    /// Ends it between two of its steps: nothing is finished, no connection is closed in good order.
    pub(crate) async fn kill(self) {
        self.end(Order::Kill).await;
    }

    async fn end(mut self, order: Order) {
        self.orders.send(order).unwrap();
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(|| thread.join()).await.unwrap().unwrap();
    }
}

/// The thread of a manager. Its tasks go with its runtime.
fn live(kubeconfig: PathBuf, start: Start, mut orders: mpsc::UnboundedReceiver<Order>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let document = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(document, &KubeConfigOptions::default()).await.unwrap();
        // As the program has it.
        config.connect_timeout = Some(Duration::from_secs(10));
        config.read_timeout = Some(Duration::from_secs(295));
        let stop = CancellationToken::new();
        let mut running = pin!(controller::run(Client::try_from(config).unwrap(), start, stop.clone()));
        loop {
            let order = tokio::select! {
                ended = &mut running => return ended.unwrap(),
                order = orders.recv() => order,
            };
            match order {
                Some(Order::Pass(time, done)) => {
                    tokio::time::pause();
                    tokio::select! {
                        _ = &mut running => panic!("a manager ends only when it is told to"),
                        () = tokio::time::sleep(time) => {}
                    }
                    tokio::time::resume();
                    done.send(()).ok();
                }
                Some(Order::Stop) => stop.cancel(),
                // The test has ended.
                Some(Order::Kill) | None => return,
            }
        }
    });
}

/// What a test that failed has left.
async fn clear(client: &Client) {
    clear_pipelines(client).await;
    let ours = ListParams::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    Api::<ClusterRole>::all(client.clone()).delete_collection(&DeleteParams::default(), &ours).await.unwrap();
    Api::<ClusterRoleBinding>::all(client.clone()).delete_collection(&DeleteParams::default(), &ours).await.unwrap();
}

async fn clear_pipelines(client: &Client) {
    for kind in ["LogPipeline", "MetricPipeline", "TracePipeline"] {
        objects(client, kind).delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    }
}

async fn put(client: &Client, kind: &str, name: &str, port: u16) {
    let output = json!({ "otlp": { "endpoint": { "value": format!("http://192.0.2.1:{port}") } } });
    apply(client, &object(kind, name, json!({ "output": output })), Keeping::Object).await.unwrap();
}

/// Those of the objects and of the pipelines.
async fn witnesses(client: &Client, settings: &Settings) -> (Witness, Witness) {
    let pipelines = ["LogPipeline", "MetricPipeline", "TracePipeline"];
    let all = |kind: &str| object(kind, "one", json!({ "output": { "otlp": { "endpoint": { "value": "a:1" } } } }));
    let [logs, metrics, traces] = pipelines.map(all);
    let input = Input {
        settings: settings.clone(),
        logs: vec![serde_json::from_value(logs.clone()).unwrap()],
        metrics: vec![serde_json::from_value(metrics.clone()).unwrap()],
        traces: vec![serde_json::from_value(traces.clone()).unwrap()],
        ..Input::default()
    };
    let made: Vec<Value> = telemetry_manager::plan::plan(&input).objects.iter().map(|object| json!(object)).collect();
    let labels = format!("{}={},{OWNED_BY}={}", MANAGED_BY.0, MANAGED_BY.1, settings.namespace);
    let templates = Arc::new(Mutex::new(BTreeMap::new()));
    let judge = move |id: &ObjectId, content: Option<&Value>| judged(&templates, id, content);
    let children = Witness::with_judge(client, Followed::like(&made, Some(&labels)), judge).await.unwrap();
    let pipelines = Witness::with_judge(client, Followed::like(&[logs, metrics, traces], None), refused).await.unwrap();
    (children, pipelines)
}

/// What is wrong about what happens to an object of a gateway or agent.
fn judged(templates: &Mutex<BTreeMap<ObjectId, Value>>, id: &ObjectId, content: Option<&Value>) -> Option<String> {
    let Some(content) = content else { return Some(format!("{id} was deleted")) };
    match id.kind.as_str() {
        "Secret" => {
            let kept = KEPT.iter().find(|(kind, _)| {
                let role = if *kind == "LogPipeline" { "telemetry-log-gateway" } else { "telemetry-metric-gateway" };
                id.name.starts_with(role)
            });
            let is_left_out =
                kept.is_some_and(|(_, name)| !engine_config(content).contains(&format!("{name}_backend")));
            is_left_out.then(|| format!("{id} has no kept pipeline any more"))
        }
        "Deployment" | "DaemonSet" => {
            let template = content["spec"]["template"].clone();
            let mut templates = templates.lock();
            let before = templates.entry(id.clone()).or_insert_with(|| template.clone());
            (*before != template).then(|| format!("{id} has its pods replaced"))
        }
        _ => None,
    }
}

/// Whether a kept pipeline is refused.
fn refused(id: &ObjectId, content: Option<&Value>) -> Option<String> {
    let is_kept = KEPT.iter().any(|(_, name)| id.name == *name);
    let condition = condition(content?, "ConfigurationGenerated")?;
    (is_kept && condition["status"] != "True").then(|| format!("{id} is refused: {condition}"))
}

fn condition<'p>(pipeline: &'p Value, kind: &str) -> Option<&'p Value> {
    let conditions = pipeline.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// `engine.toml` in a Secret.
fn engine_config(secret: &Value) -> String {
    use base64::Engine as _;
    let text = secret["data"]["engine.toml"].as_str().unwrap_or_default();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

/// Whether an object has its content: of a Secret all of it and nothing else.
fn compare(found: &Value, wanted: &Value) -> Result<(), String> {
    contains(found, wanted)?;
    let is_same = wanted["kind"] != "Secret" || found["data"] == wanted["data"];
    is_same.then_some(()).ok_or_else(|| "data: other keys".to_owned())
}

async fn list<K>(client: &Client) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    Api::<K>::all(client.clone()).list(&ListParams::default()).await.unwrap().items
}
