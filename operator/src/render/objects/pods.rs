//! The pods of a role, as a Deployment or a DaemonSet; those with volumes are next door (`volumes`). They run as nobody in particular, write nothing but their state and
//! may do nothing on their node.
//!
//! A pod template holds nothing of the pipelines: they change under running engines, and pods start anew only when the engine,
//! its settings of the process, or what it may use, changes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, Deployment, DeploymentSpec, DeploymentStrategy,
    RollingUpdateDaemonSet, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
    HostPathVolumeSource, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    MANAGED_BY, RECEIVES_LABEL, Running, RunningRole, VERSION_LABEL, config_secret, labels, metadata, resources,
    scaling, selector,
};
use crate::crd::Replicas;
use crate::render::config::{
    AGENTS_PORT, NODE_VARIABLE, OTLP_GRPC_PORT, OTLP_HTTP_PORT, SHUTDOWN_DELAY, SHUTDOWN_GRACE, STATE_DIRECTORY,
    STATUS_PORT,
};
use crate::render::files::DIRECTORY;
use crate::role::{Fleet, Role, Workload};
use crate::settings::Settings;

/// The user of all engines, who owns nothing.
const USER: i64 = 65532;
/// The group that may read the logs of containers.
const LOGS_GROUP: i64 = 0;
/// Where an agent keeps its state on the node.
const NODE_STATE_DIRECTORY: &str = "/var/lib/telemetry-log-agent";
/// Logs on the node: the files in the directory of pods may be links to elsewhere in it.
const NODE_LOGS_DIRECTORY: &str = "/var/log";
/// Room for the last good configuration of a gateway.
const GATEWAY_STATE_SIZE: &str = "16Mi";
/// The end of a process takes this much longer than its drain, at most.
const LAST_SECONDS: i64 = 5;
/// What an engine takes at its start only.
const SETTINGS_ANNOTATION: &str = "telemetry.kyma-project.io/settings";
/// The container of every role.
pub(super) const CONTAINER: &str = "engine";

pub(super) fn deployment(running: Running<'_>, settings: &Settings) -> Deployment {
    let RunningRole { role, gateway, .. } = *running.role;
    let replicas = match gateway.replicas() {
        Replicas::Fixed(replicas) => Some(scaling::whole(replicas)),
        // Whoever scales has the number.
        Replicas::Between { .. } => None,
    };
    let whole = |count| Some(IntOrString::Int(count));
    let strategy = DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment { max_surge: whole(1), max_unavailable: whole(0) }),
    };
    let resources = resources::of_gateway(gateway.resources.as_ref());
    let mut pod = pod(running, settings, resources);
    // The pods of the template that is rolled out, not together with those that it replaces.
    pod.topology_spread_constraints = Some(spread(role, Some("pod-template-hash")));
    let spec = DeploymentSpec {
        replicas,
        selector: selector(role),
        strategy: Some(strategy),
        template: template(running, pod, settings),
        ..DeploymentSpec::default()
    };
    Deployment { metadata: metadata(role, role.name(), settings), spec, ..Deployment::default() }
}

pub(super) fn daemon_set(running: Running<'_>, settings: &Settings) -> DaemonSet {
    let RunningRole { role, agent, .. } = *running.role;
    let whole = |count| Some(IntOrString::Int(count));
    // One reader of a node's positions at a time.
    let strategy = DaemonSetUpdateStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDaemonSet { max_surge: whole(0), max_unavailable: whole(1) }),
    };
    let resources = resources::of_agent(agent.resources.as_ref());
    let mut pod = pod(running, settings, resources);
    pod.priority_class_name = agent.priority_class_name.clone();
    // Logs are wanted of every node, whatever keeps other pods off it.
    let everywhere = || vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }];
    let said = Some(agent.tolerations.clone()).filter(|said| !said.is_empty());
    pod.tolerations = Some(said.unwrap_or_else(everywhere));
    pod.init_containers = Some(vec![state_owner(settings)]);
    let spec = DaemonSetSpec {
        selector: selector(role),
        update_strategy: Some(strategy),
        template: template(running, pod, settings),
        ..DaemonSetSpec::default()
    };
    DaemonSet { metadata: metadata(role, role.name(), settings), spec, ..DaemonSet::default() }
}

pub(super) fn template(running: Running<'_>, pod: PodSpec, settings: &Settings) -> PodTemplateSpec {
    let role = running.role.role;
    let mut labels = labels(role);
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    if role == Role::LogGateway {
        labels.insert(RECEIVES_LABEL.0.to_owned(), RECEIVES_LABEL.1.to_owned());
    }
    labels.insert(VERSION_LABEL.to_owned(), settings.engine_version.clone());
    // Settings of the process are taken at its start.
    let annotations = BTreeMap::from([(SETTINGS_ANNOTATION.to_owned(), running.config.settings_hash.clone())]);
    let metadata = ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(pod) }
}

pub(super) fn pod(running: Running<'_>, settings: &Settings, resources: ResourceRequirements) -> PodSpec {
    let role = running.role.role;
    let is_agent = role.is_agent();
    let mut grace = i64::try_from(SHUTDOWN_GRACE.get().as_secs()).unwrap_or(i64::MAX) + LAST_SECONDS;
    if !is_agent {
        grace += i64::try_from(SHUTDOWN_DELAY.get().as_secs()).unwrap_or(i64::MAX);
    }
    let group = if is_agent { LOGS_GROUP } else { USER };
    let secrets: Vec<_> =
        settings.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    PodSpec {
        service_account_name: Some(role.name().to_owned()),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace),
        image_pull_secrets: Some(secrets).filter(|secrets| !secrets.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(group),
            fs_group: Some(USER).filter(|_| !is_agent),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        containers: vec![engine(running, settings, resources)],
        volumes: Some(volumes(running.fleet(), settings)),
        ..PodSpec::default()
    }
}

fn engine(running: Running<'_>, settings: &Settings, resources: ResourceRequirements) -> Container {
    let role = running.role.role;
    let mut arguments = vec!["run", "--config", "/etc/telemetry/engine.toml", "--watch", "--log-format", "json"];
    if running.config.expands_environment {
        arguments.push("--expand-environment");
    }
    Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: settings.image_pull_policy.clone(),
        args: Some(arguments.into_iter().map(str::to_owned).collect()),
        env: Some(variables()),
        ports: Some(ports(role)),
        // A start takes as long as the first look at the cluster; a process that hangs is seen after a minute by itself.
        startup_probe: Some(Probe { period_seconds: Some(1), failure_threshold: Some(60), ..probe("/livez") }),
        liveness_probe: Some(Probe { period_seconds: Some(10), failure_threshold: Some(3), ..probe("/livez") }),
        readiness_probe: Some(Probe { period_seconds: Some(2), failure_threshold: Some(1), ..probe("/readyz") }),
        resources: Some(resources),
        security_context: Some(restricted()),
        volume_mounts: Some(mounts(role)),
        ..Container::default()
    }
}

/// Gives the state directory, which the kubelet makes for root, to the user of the engine. It runs before the engine and
/// sees nothing else.
fn state_owner(settings: &Settings) -> Container {
    let capabilities = Capabilities { add: Some(vec!["CHOWN".to_owned()]), drop: Some(vec!["ALL".to_owned()]) };
    let arguments = ["state", "give", "--directory", STATE_DIRECTORY, "--user", "65532", "--group", "0"];
    Container {
        name: "state".to_owned(),
        image: Some(settings.image.clone()),
        image_pull_policy: settings.image_pull_policy.clone(),
        args: Some(arguments.map(str::to_owned).into()),
        resources: Some(resources::of_agent(None)),
        security_context: Some(SecurityContext {
            run_as_non_root: Some(false),
            run_as_user: Some(0),
            capabilities: Some(capabilities),
            ..restricted()
        }),
        volume_mounts: Some(vec![mount("state", STATE_DIRECTORY)]),
        ..Container::default()
    }
}

fn variables() -> Vec<EnvVar> {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    vec![
        field(NODE_VARIABLE, "spec.nodeName"),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
    ]
}

fn ports(role: Role) -> Vec<ContainerPort> {
    let mut named = vec![("http-status", STATUS_PORT)];
    if !role.is_agent() {
        named.extend([("grpc-otlp", OTLP_GRPC_PORT), ("http-otlp", OTLP_HTTP_PORT)]);
    }
    // Whether agents send is a matter of pipelines, which come and go without a new pod.
    if role == Role::LogGateway {
        named.push(("grpc-agents", AGENTS_PORT));
    }
    let port = |(name, number): (&str, u16)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    named.into_iter().map(port).collect()
}

fn probe(path: &str) -> Probe {
    let action = HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::Int(STATUS_PORT.into()),
        scheme: Some("HTTP".to_owned()),
        ..HTTPGetAction::default()
    };
    Probe { http_get: Some(action), timeout_seconds: Some(5), success_threshold: Some(1), ..Probe::default() }
}

fn restricted() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        ..SecurityContext::default()
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn mounts(role: Role) -> Vec<VolumeMount> {
    let read_only = |name, path| VolumeMount { read_only: Some(true), ..mount(name, path) };
    let mut mounts = vec![read_only("config", DIRECTORY), mount("state", STATE_DIRECTORY)];
    if role.is_agent() {
        mounts.push(read_only("logs", NODE_LOGS_DIRECTORY));
    }
    mounts
}

fn volumes(fleet: Fleet, settings: &Settings) -> Vec<Volume> {
    let config = Volume {
        name: "config".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(config_secret(fleet, &settings.engine_version)),
            // Readable for the engine's group only.
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let host = |name: &str, path: &str, kind: &str| Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource { path: path.to_owned(), type_: Some(kind.to_owned()) }),
        ..Volume::default()
    };
    if fleet.role.is_agent() {
        let state = host("state", NODE_STATE_DIRECTORY, "DirectoryOrCreate");
        return vec![config, state, host("logs", NODE_LOGS_DIRECTORY, "Directory")];
    }
    // The state of those with volumes is on these.
    if fleet.workload == Workload::StatefulSet {
        return vec![config];
    }
    let state = Volume {
        name: "state".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(GATEWAY_STATE_SIZE.to_owned())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    };
    vec![config, state]
}

/// Over zones and nodes; `among` is the label of pods that count together.
pub(super) fn spread(role: Role, among: Option<&str>) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpreadConstraint {
        label_selector: Some(selector(role)),
        match_label_keys: among.map(|label| vec![label.to_owned()]),
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    };
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(over).into()
}
