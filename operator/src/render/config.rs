//! The configuration of each role, from the option types of the engine. What a component of it does is in the engine's
//! own reference.
//!
//! Ids of components that belong to a pipeline are its name, an underscore, and what they do; names of pipelines hold no
//! underscore, so no id is that of something else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::LazyLock;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp::Spread;
use engine_config::sinks::otlp::auth::{Auth, BearerAuth};
use engine_config::sources::otlp::Listener;
use engine_config::sources::reading::Chosen;
use engine_config::sources::{KubernetesLogs, OtlpSource};
use engine_config::status::config_hash;
use engine_config::transforms::attributes::Edits;
use engine_config::transforms::select::Absent;
use engine_config::transforms::{Attributes, KubernetesAttributes, Resource, Select};
use engine_config::{
    Acknowledge, AttributeValue, BearerAuth as Tokens, BufferOptions, BufferType, ByteSize, Catalog, Component,
    ComponentId, ComponentOptions, Endpoint, KubernetesAttribute, ListenAddress, MARK_INPUT, MAX_ID_LENGTH, MatchValue,
    Pipeline as EngineConfig, SecretRef, SensitiveText, ServerAuth, Settings as EngineSettings, SignalSet, SinkKeys,
    SourceFile, Span, StatusSettings,
};

use super::destination::Destination;
use super::files::{DIRECTORY, Files, digest};
use super::sink;
use crate::collect::{Buffer, Module, Pipeline, PipelineId, RuntimeLogs, Selection};
use crate::input::Tokens as OwnTokens;
use crate::role::{Role, Signal};
use crate::settings::Settings;
use crate::storage::DiskBuffer;

/// Ports on which gateways take OTLP from everybody.
pub const OTLP_GRPC_PORT: u16 = 4317;
/// The same over HTTP.
pub const OTLP_HTTP_PORT: u16 = 4318;
/// Port on which gateways take what agents send.
pub const AGENTS_PORT: u16 = 4319;
/// Port at which engines say how they are.
pub const STATUS_PORT: u16 = 8888;

/// How long a gateway still admits data after its readiness has turned: the time until no client is sent to it any more.
pub const SHUTDOWN_DELAY: Span = Span::secs(10);
/// How long buffers may take to empty.
pub const SHUTDOWN_GRACE: Span = Span::secs(30);

/// Where an engine keeps the last good configuration, and an agent how far it has read.
pub const STATE_DIRECTORY: &str = "/var/lib/telemetry-engine";
/// Where an agent sees the logs of its node's containers.
pub const LOGS_DIRECTORY: &str = "/var/log/pods";
/// The annotation by which a pod has its logs left out.
pub const OPT_OUT_ANNOTATION: &str = "telemetry.kyma-project.io/exclude-logs";
/// The variable that holds the name of an agent's node.
pub const NODE_VARIABLE: &str = "NODE_NAME";

/// What logs of containers are marked with on their way to the gateway.
const RUNTIME_INPUT: &str = "kubernetes_logs";
/// What is kept of a line that is a JSON object.
const ORIGINAL_BODY: &str = "log.original";
/// The door for applications, and what says which pods their data is from.
const APPS: &str = "apps";
const APPS_PODS: &str = "apps-pods";
/// The same for agents.
const AGENTS: &str = "agents";
const AGENTS_PODS: &str = "agents-pods";
/// What the sink of a pipeline is called behind the pipeline's name.
const BACKEND: &str = "backend";
/// Files that the manager makes.
const AGENTS_TOKEN: &str = "agents-token";
const STATUS_TOKEN: &str = "status-token";
/// Longest label of a pipeline in the engine.
const LONGEST_LABEL: usize = 128;
const NAMESPACE: &str = "k8s.namespace.name";
const CONTAINER: &str = "k8s.container.name";

/// After so long a client connects anew, so that new pods get their part.
const CONNECTION_AGE: Span = Span::secs(600);
/// To how many gateways an agent is connected.
const AGENT_CONNECTIONS: NonZeroU16 = NonZeroU16::new(2).expect("not zero");
/// Longest attempt of an agent: a gateway may hold data of a pod that it does not know yet, and what is sent again while the
/// first of it is still on its way comes twice. A gateway that is gone is known by its pings after 40 s at most.
const AGENT_ATTEMPT: Span = Span::secs(60);

/// What an engine of a role is to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleConfig {
    /// `engine.toml`.
    pub toml: String,
    /// What engines that run it call it.
    pub hash: String,
    /// What tells its settings of the process, which an engine takes at its start only, from others.
    pub settings_hash: String,
    /// The files beside it, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether applications send to it.
    pub takes_from_applications: bool,
    /// Whether agents send to it.
    pub takes_from_agents: bool,
    /// Where it sends to, for the network.
    pub destinations: BTreeSet<Destination>,
    /// Whether values that can be secret stand in `toml`.
    pub holds_secrets: bool,
    /// Texts in `toml` that came from Secrets.
    pub secret_texts: Vec<SensitiveText>,
    /// Whether variables stand in `toml`: the name of a node is known to its pods only.
    pub expands_environment: bool,
}

/// The configuration of the role that sends the pipelines' data to their backends. Those that `disk` does not name have a buffer
/// in memory.
pub fn gateway(
    role: Role,
    pipelines: &[&Pipeline],
    disk: &BTreeMap<PipelineId, DiskBuffer>,
    module: &Module,
    settings: &Settings,
    tokens: &OwnTokens,
) -> RoleConfig {
    let mut files = Files::default();
    let mut config = EngineConfig::new(engine_settings(role, &mut files, tokens));
    let mut builder = Builder { config: &mut config, signals: signals(role.signal()) };
    if takes_from_applications(pipelines) {
        builder.source(APPS, apps());
        builder.transform(APPS_PODS, pods(module, settings), &[APPS]);
    }
    if takes_from_agents(pipelines) {
        let token = files.own(AGENTS_TOKEN, tokens.agents.expose());
        builder.source(AGENTS, agents(token));
        builder.transform(AGENTS_PODS, pods(module, settings), &[AGENTS]);
    }
    let keeps_originals = keeps_originals(pipelines);
    for pipeline in pipelines {
        let pushed = pipeline.inputs.otlp.as_ref().map(|namespaces| pushed(&mut builder, pipeline, namespaces));
        let runtime = pipeline.inputs.runtime.as_ref();
        let printed = runtime.map(|runtime| printed(&mut builder, pipeline, runtime, keeps_originals));
        let inputs: Vec<&str> = pushed.iter().chain(&printed).map(String::as_str).collect();
        let options = sink::options(pipeline, &mut files);
        let buffer = buffer(pipeline, disk.get(&pipeline.id));
        let keys = SinkKeys { pipeline: Some(label(&pipeline.id.name)), buffer, ..SinkKeys::default() };
        builder.sink(&id(pipeline, BACKEND), options, &inputs, keys);
    }
    RoleConfig {
        takes_from_applications: takes_from_applications(pipelines),
        takes_from_agents: takes_from_agents(pipelines),
        destinations: pipelines.iter().flat_map(|pipeline| Destination::of(&pipeline.output)).collect(),
        holds_secrets: pipelines.iter().any(|pipeline| pipeline.output.holds_secrets()),
        secret_texts: pipelines.iter().flat_map(|pipeline| pipeline.output.secret_texts.clone()).collect(),
        ..finish(config, files)
    }
}

/// The buffer of a pipeline. Whose data it holds is told by the uid, so that a pipeline never gets what is left of another one
/// that had its name.
fn buffer(pipeline: &Pipeline, disk: Option<&DiskBuffer>) -> BufferOptions {
    let identity = pipeline.identity.as_ref().and_then(|uid| ComponentId::new(uid.as_str()).ok());
    match (disk, &pipeline.buffer) {
        (Some(disk), _) => BufferOptions {
            kind: BufferType::Disk,
            max_size: Some(ByteSize(disk.max_size)),
            max_age: disk.max_age.map(|age| Span::millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))),
            identity,
            ..BufferOptions::default()
        },
        (None, Buffer::Memory { max_size }) => {
            BufferOptions { max_size: max_size.map(ByteSize), identity, ..BufferOptions::default() }
        }
        // Its place on disk is in other engines.
        (None, Buffer::Disk(_)) => BufferOptions { identity, ..BufferOptions::default() },
    }
}

/// Whether applications send to any of these pipelines.
fn takes_from_applications(pipelines: &[&Pipeline]) -> bool {
    pipelines.iter().any(|pipeline| pipeline.inputs.otlp.is_some())
}

/// Whether agents bring data for any of these pipelines.
pub fn takes_from_agents(pipelines: &[&Pipeline]) -> bool {
    pipelines.iter().any(|pipeline| pipeline.inputs.runtime.is_some())
}

/// The configuration of the log agents: what all pipelines want together.
pub fn log_agent(pipelines: &[&Pipeline], module: &Module, settings: &Settings, tokens: &OwnTokens) -> RoleConfig {
    let mut files = Files::default();
    let mut own = engine_settings(Role::LogAgent, &mut files, tokens);
    own.kubernetes.node = Some(format!("${{{NODE_VARIABLE}}}"));
    let mut config = EngineConfig::new(own);
    let mut builder = Builder { config: &mut config, signals: None };
    let wanted: Vec<&RuntimeLogs> = pipelines.iter().filter_map(|pipeline| pipeline.inputs.runtime.as_ref()).collect();
    let namespaces = union(wanted.iter().map(|runtime| &runtime.namespaces));
    let containers = union(wanted.iter().map(|runtime| &runtime.containers));
    let source = KubernetesLogs {
        directory: PathBuf::from(LOGS_DIRECTORY),
        namespaces: chosen(&namespaces),
        containers: chosen(&containers),
        opt_out_annotation: Some(OPT_OUT_ANNOTATION.to_owned()),
        keep_original_body: keeps_originals(pipelines),
        ..KubernetesLogs::default()
    };
    builder.source("containers", source);
    let pods = pods(module, settings);
    let pods = KubernetesAttributes {
        pod_labels: pods.pod_labels.iter().map(|key| literal(key)).collect(),
        cluster_name: pods.cluster_name.as_deref().map(literal),
        ..pods
    };
    builder.transform("pods", pods, &["containers"]);
    let mark = BTreeMap::from([(MARK_INPUT.to_owned(), AttributeValue::String(RUNTIME_INPUT.to_owned()))]);
    builder.transform("mark", Resource { upsert: mark, ..Resource::default() }, &["pods"]);
    let endpoint = format!(
        "http://{}.{}.svc.{}:{AGENTS_PORT}",
        agents_service(Role::LogGateway),
        settings.namespace,
        settings.cluster_domain
    );
    let endpoint: Endpoint = endpoint.parse().expect("names of namespaces and domains make an address");
    let token = files.own(AGENTS_TOKEN, tokens.agents.expose());
    let sink = OtlpSink {
        auth: Some(Auth { bearer: Some(BearerAuth { token }), ..Auth::default() }),
        spread: Some(Spread { addresses: AGENT_CONNECTIONS, node: Some(format!("${{{NODE_VARIABLE}}}")) }),
        timeout: AGENT_ATTEMPT,
        ..OtlpSink::new(endpoint)
    };
    let keys = SinkKeys { acknowledge: Acknowledge::Delivered, ..SinkKeys::default() };
    builder.sink("gateway", sink, &["mark"], keys);
    RoleConfig { expands_environment: true, ..finish(config, files) }
}

/// The headless Service by which agents find the pods of a gateway.
pub fn agents_service(gateway: Role) -> String {
    format!("{}-agents", gateway.name())
}

/// What engines can run. Made once: it holds the schemas of all components.
pub fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);
    &CATALOG
}

/// A text in a configuration in which variables are expanded: this one holds none, whoever has written it.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

fn finish(config: EngineConfig, files: Files) -> RoleConfig {
    let toml = config.to_toml(catalog());
    let settings = EngineConfig::new(config.settings.clone()).to_toml(catalog());
    let hash = config_hash(&[SourceFile::new("engine.toml", toml.as_str())]);
    RoleConfig {
        toml,
        hash,
        settings_hash: digest(settings.as_bytes()),
        files: files.into_entries(),
        takes_from_applications: false,
        takes_from_agents: false,
        destinations: BTreeSet::new(),
        holds_secrets: false,
        secret_texts: Vec::new(),
        expands_environment: false,
    }
}

fn engine_settings(role: Role, files: &mut Files, tokens: &OwnTokens) -> EngineSettings {
    let mut own = EngineSettings::default();
    own.engine.role = Some(role.component().to_owned());
    own.secrets.directory = Some(PathBuf::from(DIRECTORY));
    own.state.directory = Some(PathBuf::from(STATE_DIRECTORY));
    let token = files.own(STATUS_TOKEN, tokens.status.expose());
    own.status = Some(StatusSettings { listen: everywhere(STATUS_PORT), token });
    own.shutdown.grace = SHUTDOWN_GRACE;
    if role != Role::LogAgent {
        own.shutdown.delay = SHUTDOWN_DELAY;
    }
    own
}

fn everywhere(port: u16) -> ListenAddress {
    ListenAddress(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))
}

fn apps() -> OtlpSource {
    let listener = |port| Listener {
        listen: Some(everywhere(port)),
        max_connection_age: Some(CONNECTION_AGE),
        ..Listener::default()
    };
    OtlpSource { grpc: Some(listener(OTLP_GRPC_PORT)), http: Some(listener(OTLP_HTTP_PORT)) }
}

fn agents(token: SecretRef) -> OtlpSource {
    let auth = ServerAuth { bearer: Tokens { tokens: vec![token] }, ..ServerAuth::default() };
    let listener = Listener {
        listen: Some(everywhere(AGENTS_PORT)),
        auth: Some(auth),
        trusted: true,
        max_connection_age: Some(CONNECTION_AGE),
        ..Listener::default()
    };
    OtlpSource { grpc: Some(listener), http: None }
}

fn pods(module: &Module, settings: &Settings) -> KubernetesAttributes {
    let cluster_name = module.cluster_name.as_deref().unwrap_or(&settings.cluster_name);
    let mut options = KubernetesAttributes {
        service: module.service_names,
        // Here it changes without a restart.
        cluster_name: Some(cluster_name).filter(|name| !name.is_empty()).map(str::to_owned),
        ..KubernetesAttributes::default()
    };
    options.attributes.insert(KubernetesAttribute::CloudProvider);
    options.pod_labels = module.pod_labels.clone();
    options
}

/// What applications send to a pipeline. What says no namespace belongs to all of them.
fn pushed(builder: &mut Builder<'_>, pipeline: &Pipeline, namespaces: &Selection) -> String {
    let options = match namespaces {
        Selection::Except(names) if names.is_empty() => return APPS_PODS.to_owned(),
        Selection::Except(names) => Select { drop: Some(condition([(NAMESPACE, names)])), ..Select::default() },
        Selection::Only(names) => {
            Select { keep: Some(condition([(NAMESPACE, names)])), absent: Absent::Match, ..Select::default() }
        }
    };
    builder.transform(&id(pipeline, "pushed"), options, &[APPS_PODS]);
    id(pipeline, "pushed")
}

/// What containers print for a pipeline: an agent brings it for all of them.
fn printed(builder: &mut Builder<'_>, pipeline: &Pipeline, runtime: &RuntimeLogs, keeps_originals: bool) -> String {
    let input = BTreeSet::from([RUNTIME_INPUT.to_owned()]);
    let mut keep = condition([(MARK_INPUT, &input)]);
    let mut drops = Vec::new();
    for (key, name, selection) in
        [(NAMESPACE, "namespaces", &runtime.namespaces), (CONTAINER, "containers", &runtime.containers)]
    {
        match selection {
            Selection::Only(names) => keep.extend(condition([(key, names)])),
            Selection::Except(names) if names.is_empty() => {}
            Selection::Except(names) => drops.push((name, condition([(key, names)]))),
        }
    }
    let mut last = id(pipeline, "printed");
    builder.transform(&last, Select { keep: Some(keep), ..Select::default() }, &[AGENTS_PODS]);
    for (name, drop) in drops {
        let next = id(pipeline, name);
        builder.transform(&next, Select { drop: Some(drop), ..Select::default() }, &[&last]);
        last = next;
    }
    let mark = BTreeSet::from([MARK_INPUT.to_owned()]);
    let next = id(pipeline, "unmarked");
    if keeps_originals && !runtime.keep_original_body {
        let record = Edits { delete: BTreeSet::from([ORIGINAL_BODY.to_owned()]), ..Edits::default() };
        let resource = Edits { delete: mark, ..Edits::default() };
        builder.transform(&next, Attributes { record, resource, ..Attributes::default() }, &[&last]);
    } else {
        builder.transform(&next, Resource { delete: mark, ..Resource::default() }, &[&last]);
    }
    next
}

fn condition<const N: usize>(lists: [(&str, &BTreeSet<String>); N]) -> BTreeMap<String, BTreeSet<MatchValue>> {
    let values = |names: &BTreeSet<String>| names.iter().cloned().map(MatchValue::String).collect();
    lists.into_iter().map(|(key, names)| (key.to_owned(), values(names))).collect()
}

fn keeps_originals(pipelines: &[&Pipeline]) -> bool {
    pipelines.iter().any(|pipeline| pipeline.inputs.runtime.as_ref().is_some_and(|runtime| runtime.keep_original_body))
}

fn union<'s>(selections: impl Iterator<Item = &'s Selection>) -> Selection {
    selections.fold(Selection::none(), |all, one| all.union(one))
}

fn chosen(selection: &Selection) -> Chosen {
    match selection {
        Selection::Only(names) => Chosen { include: names.iter().cloned().collect(), exclude: Vec::new() },
        Selection::Except(names) => Chosen { include: Vec::new(), exclude: names.iter().cloned().collect() },
    }
}

/// The id of a component of a pipeline. Names may be longer than ids.
fn id(pipeline: &Pipeline, what: &str) -> String {
    let name = &pipeline.id.name;
    if name.len() + what.len() < MAX_ID_LENGTH {
        return format!("{name}_{what}");
    }
    format!("{}_{what}", shortened(name))
}

/// What the engine calls a pipeline in its ledger.
pub fn label(name: &str) -> String {
    if name.len() <= LONGEST_LABEL { name.to_owned() } else { shortened(name) }
}

/// The beginning of a name that is too long, and what tells it from others that begin alike.
fn shortened(name: &str) -> String {
    format!("{}_{}", &name[..64], digest(name.as_bytes()))
}

fn signals(signal: Signal) -> Option<SignalSet> {
    Some(match signal {
        Signal::Logs => SignalSet::LOGS,
        Signal::Metrics => SignalSet::METRICS,
        Signal::Traces => SignalSet::TRACES,
    })
}

/// Puts components into a configuration under ids that this module makes up, which are well-formed and differ.
struct Builder<'c> {
    config: &'c mut EngineConfig,
    /// What sources are narrowed to.
    signals: Option<SignalSet>,
}

impl Builder<'_> {
    fn source<O: ComponentOptions>(&mut self, id: &str, options: O) {
        let source = Component::source(options);
        self.insert(
            id,
            match self.signals {
                Some(signals) => source.narrowed(signals),
                None => source,
            },
        );
    }

    fn transform<O: ComponentOptions>(&mut self, id: &str, options: O, inputs: &[&str]) {
        self.insert(id, Component::transform(options, inputs).expect("ids of this module are well-formed"));
    }

    fn sink<O: ComponentOptions>(&mut self, id: &str, options: O, inputs: &[&str], keys: SinkKeys) {
        self.insert(id, Component::sink(options, inputs, keys).expect("ids of this module are well-formed"));
    }

    fn insert(&mut self, id: &str, component: Component) {
        let id = ComponentId::new(id).expect("ids of this module are well-formed");
        self.config.insert(id, component).expect("ids of this module differ");
    }
}
