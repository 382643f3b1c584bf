//! What the Telemetry object says, with its defaults: how roles run and what all data is enriched with.

use std::collections::BTreeSet;

use engine_config::transforms::kubernetes_attributes::ServiceNames;

use crate::crd::{Agent, Gateway, Telemetry};
use crate::quantity;
use crate::role::Signal;

/// Name of the one Telemetry object that counts. It is in the namespace of the manager.
pub const TELEMETRY_NAME: &str = "default";

/// Which rules find `service.*` attributes.
const SERVICE_ENRICHMENT: &str = "telemetry.kyma-project.io/service-enrichment";

/// Settings of the whole installation that users write.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// The gateway of logs.
    pub log_gateway: Gateway,
    /// The gateway of metrics.
    pub metric_gateway: Gateway,
    /// The gateway of traces.
    pub trace_gateway: Gateway,
    /// The log agents.
    pub log_agent: Agent,
    /// How `service.*` attributes are found.
    pub service_names: ServiceNames,
    /// Labels of pods that become attributes.
    pub pod_labels: BTreeSet<String>,
    /// Name of the cluster; absent leaves it to the installation.
    pub cluster_name: Option<String>,
    /// Namespaces whose Secrets pipelines may name; absent are all that the manager may read.
    pub secret_namespaces: Option<BTreeSet<String>>,
    /// Class of the volumes of the log gateway; absent is the default one of the cluster.
    pub storage_class: Option<String>,
    /// Bytes of each of them; absent are as many as buffers need.
    pub storage_size: Option<u64>,
}

impl Module {
    /// What an object says. Without one everything has its default.
    pub fn of(telemetry: Option<&Telemetry>) -> Self {
        let Some(telemetry) = telemetry else { return Self::default() };
        let spec = &telemetry.spec;
        let annotation = telemetry.metadata.annotations.as_ref().and_then(|all| all.get(SERVICE_ENRICHMENT));
        let enrichments = spec.enrichments.clone().unwrap_or_default();
        let labels = enrichments.extract_pod_labels.into_iter();
        Self {
            log_gateway: spec.log.as_ref().and_then(|log| log.gateway.clone()).unwrap_or_default(),
            metric_gateway: spec.metric.as_ref().and_then(|metric| metric.gateway.clone()).unwrap_or_default(),
            trace_gateway: spec.trace.as_ref().and_then(|trace| trace.gateway.clone()).unwrap_or_default(),
            log_agent: spec.log.as_ref().and_then(|log| log.agent.clone()).unwrap_or_default(),
            service_names: match annotation.map(String::as_str) {
                Some("otel") => ServiceNames::SemanticConventions,
                _ => ServiceNames::AppLabels,
            },
            pod_labels: labels
                .filter_map(|label| label.key.or_else(|| label.key_prefix.map(|prefix| format!("{prefix}*"))))
                .collect(),
            cluster_name: enrichments.cluster.and_then(|cluster| cluster.name).filter(|name| !name.is_empty()),
            secret_namespaces: spec
                .secrets
                .as_ref()
                .and_then(|secrets| secrets.namespaces.as_ref())
                .map(|namespaces| namespaces.iter().cloned().collect()),
            storage_class: spec.storage.as_ref().and_then(|storage| storage.class.clone()),
            storage_size: spec.storage.as_ref().and_then(|storage| quantity::bytes(&storage.size.as_ref()?.0)),
        }
    }

    /// The gateway of a signal.
    pub const fn gateway(&self, signal: Signal) -> &Gateway {
        match signal {
            Signal::Logs => &self.log_gateway,
            Signal::Metrics => &self.metric_gateway,
            Signal::Traces => &self.trace_gateway,
        }
    }

    /// Whether pipelines may name Secrets of a namespace, as far as the manager may read them.
    pub fn allows_secrets_of(&self, namespace: &str) -> bool {
        self.secret_namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(namespace))
    }
}

impl Default for Module {
    fn default() -> Self {
        Self {
            log_gateway: Gateway::default(),
            metric_gateway: Gateway::default(),
            trace_gateway: Gateway::default(),
            log_agent: Agent::default(),
            service_names: ServiceNames::AppLabels,
            pod_labels: BTreeSet::new(),
            cluster_name: None,
            secret_namespaces: None,
            storage_class: None,
            storage_size: None,
        }
    }
}
