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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// As many as asked for.
    Deployment,
    /// One a node.
    DaemonSet,
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

    /// What keeps its pods.
    pub const fn workload(self) -> Workload {
        match self {
            Self::LogGateway | Self::MetricGateway | Self::TraceRouter => Workload::Deployment,
            Self::LogAgent => Workload::DaemonSet,
        }
    }
}

impl Workload {
    /// Its kind.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
