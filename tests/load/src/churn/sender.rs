//! Who sends, what it says of itself, and what is true: every record says in attributes of its own which pod it is of.

use std::net::Ipv4Addr;

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric::Data, number_data_point},
    resource::v1::Resource,
};
use prost::Message;
use rand::{RngExt, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{compression::Compression, payload::grpc_frame};

/// Records of a resource.
pub(super) const RECORDS: u64 = 2;
/// The mark that says which input data came from; only agents may set it.
pub(super) const MARK_INPUT: &str = "telemetry_engine.mark.input";
/// What records say the truth by: the name of the pod they are of, which is empty where they are of none, and the sender.
pub(super) const TRUE_POD: &str = "truth.pod";
pub(super) const TRUE_SENDER: &str = "truth.sender";

/// Who sends, by how it could be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Sender {
    /// A pod that says nothing, from its address.
    Connection,
    /// One that sends before its kubelet has told the API server of the address.
    Early,
    /// A pod that says its address, from its address.
    OwnAddress,
    /// A pod that says its address, through a forwarder in the network of its node.
    Forwarder,
    /// A pod that says its id, from its address.
    Id,
    /// A pod that reports on its node, from its address.
    NodeReport,
    /// A pod in the network of its node that says nothing.
    HostNetwork,
    /// A pod in the network of its node that says the address of the node.
    HostNetworkAddress,
    /// A pod in the network of its node that says its id.
    HostNetworkId,
    /// An agent with the logs of several pods, by their ids, through the trusted listener.
    AgentLogs,
    /// An agent with the metrics of its host, from its own address, through the trusted listener.
    AgentHostMetrics,
}

impl Sender {
    /// All of them.
    pub const ALL: [Sender; 11] = [
        Sender::Connection,
        Sender::Early,
        Sender::OwnAddress,
        Sender::Forwarder,
        Sender::Id,
        Sender::NodeReport,
        Sender::HostNetwork,
        Sender::HostNetworkAddress,
        Sender::HostNetworkId,
        Sender::AgentLogs,
        Sender::AgentHostMetrics,
    ];

    /// What a pod does, by chance: half of them say nothing.
    pub(super) fn of_a_pod(random: &mut StdRng) -> Sender {
        match random.random_range(0..100) {
            0..33 => Sender::Connection,
            33..45 => Sender::Early,
            45..60 => Sender::OwnAddress,
            60..70 => Sender::Forwarder,
            70..80 => Sender::Id,
            80..85 => Sender::NodeReport,
            85..90 => Sender::HostNetwork,
            90..95 => Sender::HostNetworkAddress,
            _ => Sender::HostNetworkId,
        }
    }

    /// What the report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Sender::Connection => "says nothing",
            Sender::Early => "says nothing, is early",
            Sender::OwnAddress => "says its address",
            Sender::Forwarder => "says its address, forwarded",
            Sender::Id => "says its id",
            Sender::NodeReport => "reports on its node",
            Sender::HostNetwork => "host network, says nothing",
            Sender::HostNetworkAddress => "host network, says the address",
            Sender::HostNetworkId => "host network, says its id",
            Sender::AgentLogs => "agent, logs of pods by id",
            Sender::AgentHostMetrics => "agent, host metrics",
        }
    }

    /// The sender of this name.
    pub(super) fn of_name(name: &str) -> Option<Sender> {
        Sender::ALL.into_iter().find(|sender| sender.name() == name)
    }

    /// Whether its pod can be known. What could only be known by an address of many is of no pod.
    pub fn is_of_a_pod(self) -> bool {
        !matches!(
            self,
            Sender::NodeReport | Sender::HostNetwork | Sender::HostNetworkAddress | Sender::AgentHostMetrics
        )
    }

    /// Whether it has the address of its node.
    pub fn is_in_host_network(self) -> bool {
        matches!(self, Sender::HostNetwork | Sender::HostNetworkAddress | Sender::HostNetworkId)
    }

    /// Whether it sends to the trusted listener.
    pub fn is_agent(self) -> bool {
        matches!(self, Sender::AgentLogs | Sender::AgentHostMetrics)
    }
}

/// Whose data it is.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) sender: Sender,
    /// The pod's name.
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) address: Ipv4Addr,
    pub(super) node: String,
}

impl Origin {
    /// What the resource says.
    fn attributes(&self, mark: Option<&str>) -> Vec<KeyValue> {
        let mut list = vec![text("telemetry.sdk.language", "go")];
        match self.sender {
            Sender::Connection | Sender::Early | Sender::HostNetwork => {}
            Sender::OwnAddress | Sender::Forwarder | Sender::HostNetworkAddress => {
                list.push(text("k8s.pod.ip", &self.address.to_string()));
            }
            Sender::Id | Sender::HostNetworkId | Sender::AgentLogs => list.push(text("k8s.pod.uid", &self.uid)),
            Sender::NodeReport => {
                list.push(text("host.name", &self.node));
                list.push(text("k8s.node.name", &self.node));
            }
            Sender::AgentHostMetrics => list.push(text("host.name", &self.node)),
        }
        list.extend(mark.map(|mark| text(MARK_INPUT, mark)));
        list
    }

    /// What records say.
    fn truth(&self) -> Vec<KeyValue> {
        let pod = if self.sender.is_of_a_pod() { &self.pod } else { "" };
        vec![text(TRUE_POD, pod), text(TRUE_SENDER, self.sender.name())]
    }

    fn resource(&self, mark: Option<&str>) -> Option<Resource> {
        Some(Resource { attributes: self.attributes(mark), ..Default::default() })
    }
}

/// A framed request with log records of each origin.
pub(super) fn logs(origins: &[Origin], mark: Option<&str>) -> Bytes {
    let resource_logs = origins.iter().map(|origin| {
        let record = |number: u64| LogRecord {
            severity_number: 9,
            body: Some(AnyValue { value: Some(Value::StringValue(format!("line {number}"))) }),
            attributes: origin.truth(),
            ..Default::default()
        };
        ResourceLogs {
            resource: origin.resource(mark),
            scope_logs: vec![ScopeLogs { log_records: (0..RECORDS).map(record).collect(), ..Default::default() }],
            ..Default::default()
        }
    });
    let message = ExportLogsServiceRequest { resource_logs: resource_logs.collect() }.encode_to_vec();
    grpc_frame(&message, Compression::None)
}

/// A framed request with data points of one origin.
pub(super) fn points(origin: &Origin, mark: &str) -> Bytes {
    let point = |number: u64| NumberDataPoint {
        attributes: origin.truth(),
        value: Some(number_data_point::Value::AsInt(number.cast_signed())),
        ..Default::default()
    };
    let metric = Metric {
        name: "system.cpu.utilization".into(),
        data: Some(Data::Gauge(Gauge { data_points: (0..RECORDS).map(point).collect() })),
        ..Default::default()
    };
    let resource_metrics = vec![ResourceMetrics {
        resource: origin.resource(Some(mark)),
        scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }],
        ..Default::default()
    }];
    grpc_frame(&ExportMetricsServiceRequest { resource_metrics }.encode_to_vec(), Compression::None)
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mark that is forged is the engine's.
    #[test]
    fn the_mark_is_the_engines() {
        assert_eq!(MARK_INPUT, engine_config::MARK_INPUT);
    }

    /// Senders are found by their names.
    #[test]
    fn names_differ() {
        for sender in Sender::ALL {
            assert_eq!(Sender::of_name(sender.name()), Some(sender));
        }
    }
}
