//! Options of the `prometheus` sink.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;
use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::secret::SecretRef;
use crate::signal::SignalSet;
use crate::size::ByteSize;
use crate::span::Span;
use crate::tls::ServerTls;

/// Labels that the sink writes itself.
const OWN_LABELS: [&str; 4] = ["job", "instance", "le", "quantile"];

/// Keeps the latest value of every series for Prometheus to scrape, as text 0.0.4 or OpenMetrics 1.0. Names follow the
/// OpenTelemetry specification for Prometheus: `http.server.duration` in `s` becomes `http_server_duration_seconds`, every
/// resource has a `target_info`, and `job` and `instance` are its `service.namespace/service.name` and
/// `service.instance.id` (scrape with `honor_labels: true`). Delta sums and histograms are added up. Exponential
/// histograms become classic ones of at most 32 buckets on each side of zero. Resources without those attributes share
/// their series unless `resource_labels` tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prometheus {
    /// Address and port to listen on. `"[::]:9464"` is every IPv4 and IPv6 address; port 0 lets the system choose.
    pub listen: ListenAddress,
    /// Path of the metrics.
    #[schemars(extend("format" = "url-path"))]
    pub path: String,
    /// TLS. Without it connections are in clear. The files are looked at again with the first connection 10 s after the
    /// last look; a new content is in use from then on for new connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// A series that got no newer point for this time is no longer shown.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "24h"))]
    pub metric_expiration: Span,
    /// Put before every name, with `_` between.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub namespace: Option<String>,
    /// Labels of every series.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub const_labels: BTreeMap<String, String>,
    /// Put the unit, `_ratio` and `_total` behind names. Without it a counter whose name does not end in `_total` is of
    /// unknown type in OpenMetrics.
    pub add_metric_suffixes: bool,
    /// Attributes of the resource that every series gets as labels, besides `target_info` having all of them; `["*"]` for
    /// all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub resource_labels: Vec<String>,
    /// Give every series the labels `otel_scope_name`, `otel_scope_version`, `otel_scope_schema_url` and the attributes of
    /// its instrumentation scope.
    pub scope_labels: bool,
    /// Show the time of each point instead of having Prometheus use the time of the scrape.
    pub send_timestamps: bool,
    /// Series that are kept, counted as Prometheus does: each bucket, sum, count and quantile is one. Points of further
    /// ones are rejected and counted.
    pub max_series: NonZeroU32,
    /// Memory of all series together, and size of a page that shows them, about. Points that need more are rejected and
    /// counted. It comes on top of `memory.limit`, as do the pages that are being read, four at most.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "16GiB"))]
    pub max_size: ByteSize,
    /// Connections that may be open at once. More wait.
    #[schemars(range(min = 1, max = 4096))]
    pub max_connections: NonZeroU32,
    /// Longest TLS handshake, longest time until the headers of a request are complete, and longest wait of an HTTP/1
    /// connection for its next request.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub header_timeout: Span,
    /// A connection is closed after this time, whatever goes on; so is, after a minute, one whose page is not read.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "24h"))]
    pub max_connection_age: Span,
}

impl Default for Prometheus {
    fn default() -> Self {
        Self {
            listen: ListenAddress::loopback(9464),
            path: "/metrics".to_owned(),
            tls: None,
            metric_expiration: Span::secs(300),
            namespace: None,
            const_labels: BTreeMap::new(),
            add_metric_suffixes: true,
            resource_labels: Vec::new(),
            scope_labels: true,
            send_timestamps: false,
            max_series: NonZeroU32::new(100_000).expect("not zero"),
            max_size: ByteSize::mib(64),
            max_connections: NonZeroU32::new(64).expect("not zero"),
            header_timeout: Span::secs(120),
            max_connection_age: Span::secs(3600),
        }
    }
}

impl ComponentOptions for Prometheus {
    const KIND: Kind = Kind::Sink;
    const TYPE: &'static str = "prometheus";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        if let Some(tls) = &self.tls {
            tls.check(checker, ["tls", "client_names"]);
        }
        if let Some(namespace) = self.namespace.as_deref().filter(|namespace| !is_metric_name(namespace)) {
            let message = format!("`{namespace}` cannot begin the name of a metric");
            checker
                .invalid(["namespace"], message)
                .expected("letters, digits, `_` and `:`, with no digit at the start");
        }
        for name in self.const_labels.keys() {
            let is_own = OWN_LABELS.contains(&name.as_str()) || name.starts_with("otel_scope_");
            if !is_label_name(name) {
                let message = format!("`{name}` is not the name of a label");
                checker
                    .invalid(["const_labels"], message)
                    .expected("letters, digits and `_`, with no digit and no `__` at the start");
            } else if is_own {
                let message = format!("`const_labels` holds `{name}`, a label that the sink writes itself");
                checker.error(["const_labels"], message).help("choose another name");
            }
        }
        if self.resource_labels.len() > 1 && self.resource_labels.iter().any(|key| key == "*") {
            let message = "in `resource_labels`, other keys have no effect beside \"*\"";
            checker.no_effect(["resource_labels"], message).help("remove the others");
        }
    }

    fn facts(&self) -> Facts {
        let facts = Facts::sink(SignalSet::METRICS).listens(["listen"], self.listen);
        let Some(tls) = &self.tls else { return facts };
        let facts = facts
            .reads(["tls", "certificate"], SecretRef::File(tls.certificate.clone()))
            .reads(["tls", "key"], SecretRef::File(tls.key.clone()));
        match &tls.client_ca {
            Some(file) => facts.reads(["tls", "client_ca"], SecretRef::File(file.clone())),
            None => facts,
        }
    }
}

/// Names that begin with `__` are Prometheus' own.
fn is_label_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || character == '_';
    starts_well && name.chars().all(is_allowed) && !name.starts_with("__")
}

fn is_metric_name(name: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    name.chars().all(is_allowed) && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(options: &Prometheus) -> usize {
        let mut checker = Checker::default();
        options.check(&mut checker);
        checker.into_findings().len()
    }

    /// Labels that cannot be written, or that the sink writes itself, are refused.
    #[test]
    fn labels_are_checked() {
        let with = |name: &str| Prometheus {
            const_labels: BTreeMap::from([(name.to_owned(), "x".to_owned())]),
            ..Prometheus::default()
        };
        for name in ["cluster", "_private", "A1"] {
            assert_eq!(findings(&with(name)), 0, "{name}");
        }
        for name in ["1a", "a-b", "", "__name__", "job", "instance", "le", "quantile", "otel_scope_name"] {
            assert_eq!(findings(&with(name)), 1, "{name}");
        }
    }

    /// A namespace that no name can begin with is refused.
    #[test]
    fn namespaces_are_checked() {
        let with = |name: &str| Prometheus { namespace: Some(name.to_owned()), ..Prometheus::default() };
        assert_eq!(["shop", "a:b_1", "1a", "a-b", "a b"].map(|name| findings(&with(name))), [0, 0, 1, 1, 1]);
    }

    /// All resource attributes or some, not both.
    #[test]
    fn a_star_stands_alone() {
        let with = |keys: &[&str]| Prometheus {
            resource_labels: keys.iter().map(|key| (*key).to_owned()).collect(),
            ..Prometheus::default()
        };
        assert_eq!((findings(&with(&["*"])), findings(&with(&["a", "*"]))), (0, 1));
    }
}
