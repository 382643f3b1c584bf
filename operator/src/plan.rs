//! From what was seen to everything that is to be: objects, configurations and conditions. A pure function: no clock, no
//! cluster, and equal inputs, in whatever order, give equal bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine_config::{ByteSize, Environment, ParseOptions, SourceFile, load};
use kube::core::DynamicObject;

use crate::collect::{self, Buffer, Collected, Module, Pipeline, PipelineId, SecretName, TELEMETRY_NAME};
use crate::crd::Telemetry;
use crate::input::Input;
use crate::quantity;
use crate::render::config::{self, RoleConfig};
use crate::render::objects::{self, RunningRole, resources};
use crate::role::{Fleet, Role, Signal, Workload};
use crate::status::{self, Known, PipelineReport, TelemetryReport};
use crate::storage::{self, NoRoom, Storage};
use crate::validate::{Problem, Reason};

/// Most bytes of a configuration with its files; what a Secret can hold is a little more.
const MOST_CONFIG: usize = 900 * 1024;

/// Everything that is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Objects that the manager makes; what it has made before and is not here goes.
    pub objects: Vec<DynamicObject>,
    /// Configurations of the engines that run.
    pub configs: BTreeMap<Fleet, RoleConfig>,
    /// What of the log gateway is on disk; absent where nothing is.
    pub storage: Option<Storage>,
    /// What is said of each pipeline.
    pub pipelines: BTreeMap<PipelineId, PipelineReport>,
    /// What is said of the Telemetry objects, by namespace and name.
    pub telemetries: BTreeMap<(String, String), TelemetryReport>,
    /// When the plan changes by itself: the next end of a certificate, in seconds since 1970.
    pub next_change: Option<i64>,
}

/// What the engine has said of configurations, so that it is asked once about each. It makes plans no other, only sooner.
#[derive(Debug, Default)]
pub struct Judgements {
    /// Those of the last plan.
    before: HashMap<Asked, Vec<String>>,
    now: HashMap<Asked, Vec<String>>,
}

/// A configuration and the memory it is to run in, where that is known.
type Asked = (String, Option<u64>);

/// The plan.
pub fn plan(input: &Input) -> Desired {
    plan_again(input, &mut Judgements::default())
}

/// The plan, where there was one before.
pub fn plan_again(input: &Input, judgements: &mut Judgements) -> Desired {
    judgements.before = std::mem::take(&mut judgements.now);
    let telemetry = input.telemetries.iter().find(|found| counts(found, input));
    let module = Module::of(telemetry);
    let mut collected = collect::pipelines(input, &module);
    let mut configs: BTreeMap<Fleet, RoleConfig> = BTreeMap::new();
    let mut storage = None;
    let mut all_objects = Vec::new();
    for signal in Signal::ALL {
        let accepted = accept(signal, &mut collected, &module, input, judgements);
        let Some(accepted) = accepted else { continue };
        for role in [signal.gateway(), Role::LogAgent] {
            let former = input.former_destinations.get(&role);
            let fleets: Vec<_> = accepted.configs.iter().filter(|(fleet, _)| fleet.role == role).collect();
            if fleets.is_empty() {
                continue;
            }
            let destinations = fleets.iter().flat_map(|(_, config)| &config.destinations);
            let running = RunningRole {
                role,
                destinations: destinations.chain(former.into_iter().flatten()).cloned().collect(),
                fleets: fleets.into_iter().map(|(fleet, config)| (fleet.workload, config)).collect(),
                gateway: module.gateway(signal),
                agent: &module.log_agent,
                storage: accepted.storage.as_ref().filter(|_| role == Fleet::DURABLE.role),
            };
            all_objects.extend(objects::of_role(&running, &input.settings));
        }
        storage = storage.or(accepted.storage);
        configs.extend(accepted.configs);
    }
    let known = Known { configs: &configs, storage: storage.as_ref(), input };
    let pipelines: BTreeMap<_, _> =
        collected.iter().map(|pipeline| (pipeline.id.clone(), status::of_pipeline(pipeline, &known))).collect();
    let telemetries = status::of_telemetries(&pipelines, &known);
    let next_change = collected.iter().flat_map(|pipeline| &pipeline.expiries).flat_map(|expiry| expiry.changes());
    let next_change = next_change.filter(|at| *at > input.now).min();
    Desired { objects: all_objects, configs, storage, pipelines, telemetries, next_change }
}

/// The Secrets that pipelines name and may use: of no other is anything read.
pub fn secrets(input: &Input) -> BTreeSet<SecretName> {
    let module = Module::of(input.telemetries.iter().find(|found| counts(found, input)));
    let named = collect::secrets(&input.logs, &input.metrics, &input.traces);
    let may_be_used =
        |name: &SecretName| !input.settings.is_own_secret(name) && module.allows_secrets_of(&name.namespace);
    named.into_iter().filter(may_be_used).collect()
}

/// The same of the pipelines of one signal.
pub fn secrets_of(signal: Signal, input: &Input) -> BTreeSet<SecretName> {
    match signal {
        Signal::Logs => collect::secrets(&input.logs, [], []),
        Signal::Metrics => collect::secrets([], &input.metrics, []),
        Signal::Traces => collect::secrets([], [], &input.traces),
    }
}

impl Desired {
    /// Leaves everything of these signals as it is.
    pub fn leave(&mut self, signals: &BTreeSet<Signal>) {
        if signals.is_empty() {
            return;
        }
        let is_left = |role: Role| signals.contains(&role.signal());
        self.objects.retain(|object| !object.metadata.name.as_deref().and_then(Role::of_object).is_some_and(is_left));
        self.configs.retain(|fleet, _| !is_left(fleet.role));
        if is_left(Role::LogGateway) {
            self.storage = None;
        }
        self.pipelines.retain(|id, _| !signals.contains(&id.signal));
        // What is said of the module is about all signals.
        self.telemetries.clear();
    }
}

/// Whether a Telemetry object is the one that counts.
pub fn counts(telemetry: &Telemetry, input: &Input) -> bool {
    let metadata = &telemetry.metadata;
    metadata.name.as_deref() == Some(TELEMETRY_NAME)
        && metadata.namespace.as_deref().is_none_or(|namespace| namespace == input.settings.namespace)
}

/// The pipelines of a signal that can run, in the order of their names.
fn runnable(signal: Signal, collected: &[Collected]) -> Vec<&Pipeline> {
    collected.iter().filter(|found| found.id.signal == signal).filter_map(|found| found.result.as_ref().ok()).collect()
}

/// What runs the pipelines of a signal.
struct Accepted {
    configs: BTreeMap<Fleet, RoleConfig>,
    storage: Option<Storage>,
}

/// Decides which pipelines of a signal run together, and renders what runs them. What is refused says why from now on, the
/// newest first: whoever was there before stays.
fn accept(
    signal: Signal,
    collected: &mut [Collected],
    module: &Module,
    input: &Input,
    judgements: &mut Judgements,
) -> Option<Accepted> {
    let settings = &input.settings;
    let limit = resources::of_gateway(module.gateway(signal).resources.as_ref());
    let memory = limit.limits.and_then(|limits| quantity::bytes(&limits.get("memory")?.0));
    let mut sizes = BTreeMap::new();
    for found in collected.iter_mut().filter(|found| found.id.signal == signal) {
        let Ok(pipeline) = &found.result else { continue };
        let own = match pipeline.buffer {
            Buffer::Disk(buffer) => BTreeMap::from([(pipeline.id.clone(), buffer)]),
            Buffer::Memory { .. } => BTreeMap::new(),
        };
        let alone = config::gateway(signal.gateway(), &[pipeline], &own, module, settings, &input.tokens);
        // A size that not even an empty gateway has is nobody else's matter.
        let has_size = matches!(pipeline.buffer, Buffer::Memory { max_size: Some(_) });
        let mut problems = judgements.of(&alone, memory.filter(|_| has_size));
        problems.extend(agent(&[pipeline], module, input).iter().flat_map(|agent| judgements.of(agent, None)));
        sizes.insert(found.id.clone(), size(&alone));
        if size(&alone) > MOST_CONFIG {
            let message = format!("the certificates of this pipeline are larger than {} KiB", MOST_CONFIG / 1024);
            found.result = Err(vec![Problem::new(Reason::ConfigurationTooLarge, message)]);
            continue;
        }
        if !problems.is_empty() {
            let problem = |text| Problem::new(Reason::ConfigurationInvalid, text);
            problems.dedup();
            found.result = Err(problems.into_iter().map(problem).collect());
        }
    }
    if let Some(most) = settings.max_pipelines {
        while runnable(signal, collected).len() > most.get() {
            let message = format!(
                "Maximum pipeline count limit exceeded: at most {most} of a kind run, the oldest first. Delete another {}",
                signal.kind()
            );
            refuse_newest(signal, collected, |_| true, Problem::new(Reason::MaxPipelinesExceeded, message));
        }
    }
    loop {
        let pipelines = runnable(signal, collected);
        if pipelines.is_empty() {
            return None;
        }
        let stored = match signal {
            Signal::Logs => storage::storage(&pipelines, module, input),
            Signal::Metrics | Signal::Traces => Ok(None),
        };
        let storage = match stored {
            Ok(storage) => storage,
            Err(NoRoom(may_be_refused)) => {
                let message = format!(
                    "the volumes of the log gateway have no room for another buffer of at least {} MiB. Raise \
                     spec.storage.size of the Telemetry object where their StorageClass lets them grow, or have another \
                     LogPipeline have a smaller output.otlp.buffer.maxSize",
                    storage::LEAST_DISK_SIZE >> 20
                );
                let problem = Problem::new(Reason::StorageExceeded, message);
                refuse_newest(signal, collected, |id| may_be_refused.contains(id), problem);
                continue;
            }
        };
        let nothing = BTreeMap::new();
        let gateway_of = |disk| config::gateway(signal.gateway(), &pipelines, disk, module, settings, &input.tokens);
        let mut configs = BTreeMap::new();
        if let Some(storage) = &storage {
            configs.insert(Fleet::DURABLE, gateway_of(&storage.buffers));
        }
        if storage.as_ref().is_none_or(|storage| storage.workloads.contains(&Workload::Deployment)) {
            configs.insert(signal.gateway().fleet(), gateway_of(&nothing));
        }
        let largest = configs.values().map(size).max().unwrap_or_default();
        let said = configs.values().flat_map(|config| judgements.of(config, memory)).next();
        let (may_be_refused, problem) = if largest > MOST_CONFIG {
            let message = format!(
                "the configuration of all pipelines of this kind would be larger than {} KiB with their certificates. Share \
                 certificates by naming the same Secrets, or delete a {}",
                MOST_CONFIG / 1024,
                signal.kind()
            );
            // Not whoever is new, if somebody who was there before has grown.
            let fair = MOST_CONFIG / pipelines.len();
            let is_large = pipelines.iter().map(|pipeline| pipeline.id.clone()).filter(|id| sizes[id] > fair).collect();
            (is_large, Problem::new(Reason::ConfigurationTooLarge, message))
        } else {
            match said {
                None => {
                    let agent = agent(&pipelines, module, input);
                    configs.extend(agent.map(|config| (Role::LogAgent.fleet(), config)));
                    return Some(Accepted { configs, storage });
                }
                Some(text) => {
                    let field = format!("spec.{}.gateway.resources.limits.memory", signal.section());
                    let message =
                        format!("{text}. Raise {field} of the Telemetry object, or delete a {}", signal.kind());
                    (BTreeSet::new(), Problem::new(Reason::MemoryExceeded, message))
                }
            }
        };
        refuse_newest(signal, collected, |id| may_be_refused.is_empty() || may_be_refused.contains(id), problem);
    }
}

fn agent(pipelines: &[&Pipeline], module: &Module, input: &Input) -> Option<RoleConfig> {
    config::takes_from_agents(pipelines).then(|| config::log_agent(pipelines, module, &input.settings, &input.tokens))
}

fn refuse_newest(
    signal: Signal,
    collected: &mut [Collected],
    is_meant: impl Fn(&PipelineId) -> bool,
    problem: Problem,
) {
    let running = collected.iter_mut().filter(|found| found.id.signal == signal && found.result.is_ok());
    let running = running.filter(|found| is_meant(&found.id));
    if let Some(newest) = running.max_by(|one, other| (one.created, &one.id).cmp(&(other.created, &other.id))) {
        newest.result = Err(vec![problem]);
    }
}

impl Judgements {
    /// What the engine itself would say to a configuration, with a limit of its memory.
    fn of(&mut self, config: &RoleConfig, memory: Option<u64>) -> Vec<String> {
        let asked = (config.hash.clone(), memory);
        let before = self.before.remove(&asked).or_else(|| self.now.get(&asked).cloned());
        let said = before.unwrap_or_else(|| {
            let known = |memory| {
                let known =
                    engine_config::Known { memory_limit: Some(ByteSize(memory)), ..engine_config::Known::default() };
                Environment::Known(known)
            };
            judge(config, &memory.map_or(Environment::Unknown, known))
        });
        self.now.insert(asked, said.clone());
        said
    }
}

/// What the engine itself would say to a configuration.
fn judge(config: &RoleConfig, environment: &Environment) -> Vec<String> {
    let files = [SourceFile::new("engine.toml", config.toml.as_str())];
    let options = ParseOptions { expand_environment: config.expands_environment };
    match load(&files, config::catalog(), environment, &options) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.errors().map(said).collect(),
    }
}

fn said(problem: &engine_config::Problem) -> String {
    let mut text = problem.message.clone();
    if let Some(expected) = &problem.expected {
        text.push_str(&format!(", expected {expected}"));
    }
    text
}

fn size(config: &RoleConfig) -> usize {
    config.toml.len() + config.files.iter().map(|(name, content)| name.len() + content.len()).sum::<usize>()
}
