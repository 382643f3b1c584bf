//! `telemetry-manager run`: the manager in a cluster.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

use crate::controller::{self, Start};
use crate::settings::Settings;

/// What the manager is told by its deployment.
#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Image of the engine that runs the roles.
    #[arg(long, value_name = "IMAGE")]
    engine_image: String,
    /// Version of the engine in that image. Engines of two versions never share a configuration.
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    engine_version: String,
    /// When nodes pull the image: Always, IfNotPresent or Never. Default: as Kubernetes does.
    #[arg(long, value_name = "POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: Option<String>,
    /// A Secret with which nodes pull the image; may be given several times.
    #[arg(long = "image-pull-secret", value_name = "NAME")]
    image_pull_secrets: Vec<String>,
    /// Namespace of the manager and the gateways.
    #[arg(long, env = "POD_NAMESPACE", default_value = "telemetry-system")]
    namespace: String,
    /// Namespace of the agents.
    #[arg(long, default_value = "telemetry-agents")]
    agent_namespace: String,
    /// Domain of the cluster's names.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// `k8s.cluster.name` where the Telemetry object names none; empty sets none. Default: the host of the API server.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", default_value = "", hide_env_values = true)]
    cluster_name: String,
    /// A port at which engines reach the API server, for network policies; may be given several times.
    #[arg(long = "api-server-port", value_name = "PORT", default_values_t = [443, 6443, 8443, 16443])]
    api_server_ports: Vec<u16>,
    /// How many pipelines of a kind may run, the oldest first. Default: no limit.
    #[arg(long, value_name = "COUNT")]
    max_pipelines: Option<NonZeroUsize>,
    /// Who this manager is among several: a name that no other one has.
    #[arg(long, env = "POD_NAME", default_value = "telemetry-manager")]
    identity: String,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    #[arg(long, default_value = "[::]:8080")]
    listen: SocketAddr,
    /// A kubeconfig, for a manager outside of its cluster. Default: the service account of the pod.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// How the log is written.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    /// The least of what is logged: error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    log_level: LevelFilter,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

pub(super) fn run(arguments: RunArguments) -> std::io::Result<ExitCode> {
    let log = tracing_subscriber::fmt().with_max_level(arguments.log_level).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    // There is little to do and much to wait for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(manage(arguments))
}

async fn manage(arguments: RunArguments) -> std::io::Result<ExitCode> {
    let client = client(arguments.kubeconfig.as_ref()).await.map_err(std::io::Error::other)?;
    let start = Start {
        settings: Settings {
            namespace: arguments.namespace,
            agent_namespace: arguments.agent_namespace,
            namespace_uid: None,
            image: arguments.engine_image,
            image_pull_policy: arguments.image_pull_policy,
            image_pull_secrets: arguments.image_pull_secrets,
            engine_version: arguments.engine_version,
            cluster_domain: arguments.cluster_domain,
            cluster_name: arguments.cluster_name,
            api_server_ports: arguments.api_server_ports,
            max_pipelines: arguments.max_pipelines,
        },
        identity: arguments.identity,
        listen: arguments.listen,
    };
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stopping.cancel();
    });
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "running");
    controller::run(client, start, stop).await.map_err(std::io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}

async fn client(kubeconfig: Option<&PathBuf>) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut config = match kubeconfig {
        Some(file) => {
            Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    // An API server that says nothing for longer than a watch lasts is not there.
    config.connect_timeout = Some(std::time::Duration::from_secs(10));
    config.read_timeout = Some(std::time::Duration::from_secs(295));
    Ok(Client::try_from(config)?)
}
