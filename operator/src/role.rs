//! The roles that engines play in a cluster, and what is fixed about each. What runs in a role is in `render`.

use std::fmt;

/// Whose data a pipeline carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// LogPipeline.
    Logs,
    /// MetricPipeline.
    Metrics,
    /// TracePipeline.
    Traces,
}

/// One role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Takes logs in and sends them to the backends.
    LogGateway,
    /// Takes metrics in and sends them to the backends.
    MetricGateway,
    /// Takes spans in and sends them to the backends.
    TraceRouter,
    /// Reads the logs of the containers of its node and sends them to the log gateway.
    LogAgent,
}

/// What keeps the pods of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// As many as asked for.
    Deployment,
    /// As many as asked for, each with a volume of its own.
    StatefulSet,
    /// One a node.
    DaemonSet,
}

/// The engines of a role that one workload keeps. A role has two of them while one takes over from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fleet {
    /// The role.
    pub role: Role,
    /// What keeps them.
    pub workload: Workload,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Metrics, Self::Traces];

    /// The kind of its pipelines.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Logs => "LogPipeline",
            Self::Metrics => "MetricPipeline",
            Self::Traces => "TracePipeline",
        }
    }

    /// `logs`, `metrics` or `traces`: as in paths and names of Services.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }

    /// Its section in the Telemetry object.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Logs => "log",
            Self::Metrics => "metric",
            Self::Traces => "trace",
        }
    }

    /// What its records are called in messages.
    pub const fn records(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Metrics => "metrics",
            Self::Traces => "spans",
        }
    }

    /// The role that sends its data to the backends.
    pub const fn gateway(self) -> Role {
        match self {
            Self::Logs => Role::LogGateway,
            Self::Metrics => Role::MetricGateway,
            Self::Traces => Role::TraceRouter,
        }
    }

    /// The public Service that takes its data in. Clients have this name in their configuration, so it never changes.
    pub const fn service(self) -> &'static str {
        match self {
            Self::Logs => "telemetry-otlp-logs",
            Self::Metrics => "telemetry-otlp-metrics",
            Self::Traces => "telemetry-otlp-traces",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.plural())
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LogGateway, Self::MetricGateway, Self::TraceRouter, Self::LogAgent];

    /// Name of its workload and of what belongs to it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogGateway => "telemetry-log-gateway",
            Self::MetricGateway => "telemetry-metric-gateway",
            Self::TraceRouter => "telemetry-trace-router",
            Self::LogAgent => "telemetry-log-agent",
        }
    }

    /// The role that an object of this name belongs to: it begins with that of the role, but for the Service of applications.
    pub fn of_object(name: &str) -> Option<Self> {
        let is_its = |role: &Self| name.starts_with(role.name());
        let of_service = || Signal::ALL.into_iter().find(|signal| name == signal.service()).map(Signal::gateway);
        Self::ALL.into_iter().find(is_its).or_else(of_service)
    }

    /// What its engines call themselves in their own telemetry.
    pub const fn component(self) -> &'static str {
        match self {
            Self::LogGateway => "log-gateway",
            Self::MetricGateway => "metric-gateway",
            Self::TraceRouter => "trace-router",
            Self::LogAgent => "log-agent",
        }
    }

    /// What it is called in messages.
    pub const fn title(self) -> &'static str {
        match self {
            Self::LogGateway => "log gateway",
            Self::MetricGateway => "metric gateway",
            Self::TraceRouter => "trace router",
            Self::LogAgent => "log agent",
        }
    }

    /// The signal that it carries.
    pub const fn signal(self) -> Signal {
        match self {
            Self::LogGateway | Self::LogAgent => Signal::Logs,
            Self::MetricGateway => Signal::Metrics,
            Self::TraceRouter => Signal::Traces,
        }
    }

    /// Whether it runs on every node, and sends to a gateway.
    pub const fn is_agent(self) -> bool {
        matches!(self, Self::LogAgent)
    }

    /// Its engines where none of them has a volume.
    pub const fn fleet(self) -> Fleet {
        let workload = if self.is_agent() { Workload::DaemonSet } else { Workload::Deployment };
        Fleet { role: self, workload }
    }
}

impl Fleet {
    /// The log gateways that have volumes.
    pub const DURABLE: Self = Self { role: Role::LogGateway, workload: Workload::StatefulSet };

    /// All that there can be.
    pub fn all() -> impl Iterator<Item = Self> {
        Role::ALL.into_iter().map(Role::fleet).chain([Self::DURABLE])
    }

    /// The name of a pod of a StatefulSet.
    pub fn pod(self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.role.name())
    }
}

impl Workload {
    /// Its kind.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Fleet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.workload {
            Workload::Deployment | Workload::DaemonSet => self.role.fmt(formatter),
            Workload::StatefulSet => write!(formatter, "{} (StatefulSet)", self.role),
        }
    }
}
