//! The contract between an option module and everything that judges configurations.
//!
//! Static facts only. What a component does is written in the component crates.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::address::ListenAddress;
use crate::document::Finding;
use crate::problem::Code;
use crate::secret::SecretRef;
use crate::signal::SignalSet;
use crate::sink::SinkDefaults;
use crate::size::ByteSize;

/// The three kinds of components. A stage of the engine is a transform to users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Brings data in.
    Source,
    /// Changes, selects or routes data.
    Transform,
    /// Takes data out.
    Sink,
}

/// How far users may rely on a component's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    /// For trying out; keys may change at any time.
    Experimental,
    /// Complete; a renamed key keeps its old name for two releases.
    Beta,
    /// Keys are only added within a configuration version.
    Stable,
}

/// The options of one component type: a plain struct that refuses unknown fields, documents every field, and knows its
/// own checks and facts. The struct's doc comment is the component's description.
pub trait ComponentOptions:
    DeserializeOwned + Serialize + JsonSchema + Clone + fmt::Debug + PartialEq + Send + Sync + 'static
{
    /// Which table the component stands in.
    const KIND: Kind;
    /// The value of `type`.
    const TYPE: &'static str;
    /// How far users may rely on it.
    const STABILITY: Stability;

    /// Checks that need more than one key; forms and ranges of single values are in the schema.
    fn check(&self, _checker: &mut Checker) {}

    /// What the plan must know.
    fn facts(&self) -> Facts;

    /// Defaults of the keys that all sinks share; ignored for sources and transforms.
    fn sink_defaults() -> SinkDefaults {
        SinkDefaults::default()
    }
}

/// What the plan must know about one configured component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Signals that may come in; empty for sources.
    pub signals_in: SignalSet,
    /// Signals that may come out of the default output; empty for sinks. For a transform: at most these, and only what
    /// came in.
    pub signals_out: SignalSet,
    /// Named outputs besides the default one.
    pub outputs: Vec<Output>,
    /// Sockets and files that nobody else may use.
    pub claims: Vec<Claim>,
    /// Secrets and files that must be there when the component is built.
    pub references: Vec<Reference>,
    /// What the process must run for it.
    pub services: Vec<ServiceNeed>,
    /// For sources: fetches by itself and can wait, so that a full buffer may block it.
    pub pull: bool,
    /// For sources: can read the same data again after a crash, so that an early answer loses what a memory buffer holds.
    pub rereads: bool,
    /// For sources: is about the node that it runs on, so that of a cluster it needs what concerns this node only.
    pub is_of_its_node: bool,
    /// For sinks: larger payloads are split before they are sent, so merging beyond this size is work for nothing.
    pub max_request_size: Option<ByteSize>,
    /// For transforms: looks at every record, so that large batches are split before it.
    pub looks_at_records: bool,
}

/// A named output of a source or transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The name behind the dot in `inputs = ["ID.name"]`.
    pub name: &'static str,
    /// What may come out of it.
    pub signals: SignalSet,
}

/// Something that only one component can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The key that asks for it, such as `["grpc", "listen"]`.
    pub path: Vec<String>,
    /// What is asked for.
    pub resource: Resource,
}

/// Things of the system that a component claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A listening TCP socket.
    Tcp(ListenAddress),
    /// A file that is written.
    File(PathBuf),
}

/// A secret or file that a component reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The key that names it, such as `["tls", "ca"]`.
    pub path: Vec<String>,
    /// What is read.
    pub target: SecretRef,
}

/// A process-wide service that a component uses. Those who name the same service and key share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNeed {
    /// The key that asks for it; empty when the component always does.
    pub path: Vec<String>,
    /// Which service.
    pub service: ServiceId,
}

/// A service and which one of its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// The kind of service, such as [`ServiceId::STATE`].
    pub type_name: &'static str,
    /// Tells services of one kind apart; empty where a process has one.
    pub key: String,
}

/// Collects what `check` finds, each at the path of a key.
#[derive(Debug, Default)]
pub struct Checker {
    findings: Vec<(Vec<String>, Finding)>,
}

/// A finding under construction: `checker.error(["tls", "key"], "...").help("...")`.
pub struct Found<'c> {
    finding: &'c mut Finding,
}

/// Options of some component type behind one pointer.
pub trait AnyOptions: fmt::Debug + Send + Sync + 'static {
    /// Which table the component stands in.
    fn kind(&self) -> Kind;
    /// The value of `type`.
    fn type_name(&self) -> &'static str;
    /// See [`ComponentOptions::facts`].
    fn facts(&self) -> Facts;
    /// See [`ComponentOptions::check`].
    fn check(&self, checker: &mut Checker);
    /// See [`ComponentOptions::sink_defaults`].
    fn sink_defaults(&self) -> SinkDefaults;
    /// The options as a JSON object, defaults included.
    fn to_json(&self) -> serde_json::Value;
    /// Whether `other` is of the same type and equal.
    fn equals(&self, other: &dyn AnyOptions) -> bool;
    /// For downcasts.
    fn as_any(&self) -> &dyn Any;
}

impl<O: ComponentOptions> AnyOptions for O {
    fn kind(&self) -> Kind {
        O::KIND
    }

    fn type_name(&self) -> &'static str {
        O::TYPE
    }

    fn facts(&self) -> Facts {
        ComponentOptions::facts(self)
    }

    fn check(&self, checker: &mut Checker) {
        ComponentOptions::check(self, checker);
    }

    fn sink_defaults(&self) -> SinkDefaults {
        O::sink_defaults()
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("option structs have string keys and finite numbers")
    }

    fn equals(&self, other: &dyn AnyOptions) -> bool {
        other.downcast_ref::<O>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl dyn AnyOptions {
    /// The typed options, if they are of type `O`.
    pub fn downcast_ref<O: ComponentOptions>(&self) -> Option<&O> {
        self.as_any().downcast_ref()
    }
}

impl PartialEq for dyn AnyOptions {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}

impl Kind {
    /// `source`, `transform` or `sink`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
        }
    }

    /// The table of the document: `sources`, `transforms` or `sinks`.
    pub const fn table(self) -> &'static str {
        match self {
            Self::Source => "sources",
            Self::Transform => "transforms",
            Self::Sink => "sinks",
        }
    }

    /// All kinds in the order of the data's way.
    pub const ALL: [Self; 3] = [Self::Source, Self::Transform, Self::Sink];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Stability {
    /// `experimental`, `beta` or `stable`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Experimental => "experimental",
            Self::Beta => "beta",
            Self::Stable => "stable",
        }
    }
}

impl Claim {
    /// The key that asks for it as it is written: `grpc.listen`.
    pub fn key(&self) -> String {
        self.path.join(".")
    }
}

impl Facts {
    /// A source of these signals.
    pub fn source(signals: SignalSet) -> Self {
        Self { signals_out: signals, ..Self::default() }
    }

    /// A transform that passes these signals.
    pub fn transform(signals: SignalSet) -> Self {
        Self { signals_in: signals, signals_out: signals, ..Self::default() }
    }

    /// A sink for these signals.
    pub fn sink(signals: SignalSet) -> Self {
        Self { signals_in: signals, ..Self::default() }
    }

    /// Claims a listening socket.
    #[must_use]
    pub fn listens<const N: usize>(mut self, path: [&str; N], address: ListenAddress) -> Self {
        self.claims.push(Claim { path: owned(path), resource: Resource::Tcp(address) });
        self
    }

    /// Claims a file for writing.
    #[must_use]
    pub fn writes<const N: usize>(mut self, path: [&str; N], file: PathBuf) -> Self {
        self.claims.push(Claim { path: owned(path), resource: Resource::File(file) });
        self
    }

    /// Needs a secret or a file.
    #[must_use]
    pub fn reads<const N: usize>(mut self, path: [&str; N], target: SecretRef) -> Self {
        self.references.push(Reference { path: owned(path), target });
        self
    }

    /// Needs a service of the process.
    #[must_use]
    pub fn needs<const N: usize>(mut self, path: [&str; N], service: ServiceId) -> Self {
        self.services.push(ServiceNeed { path: owned(path), service });
        self
    }
}

impl ServiceId {
    /// The kind of the service that keeps small documents.
    pub const STATE: &str = "state";
    /// The kind of the service that knows the cluster's pods.
    pub const KUBERNETES: &str = "kubernetes";
    /// The kind of the service that has the engine's own metrics and log.
    pub const SELF_TELEMETRY: &str = "self_telemetry";

    /// The service of this kind and key.
    pub fn new(type_name: &'static str, key: impl Into<String>) -> Self {
        Self { type_name, key: key.into() }
    }

    /// The service that keeps small documents in `state.directory`.
    pub fn state() -> Self {
        Self::new(Self::STATE, "")
    }

    /// The service that knows the cluster's pods.
    pub fn kubernetes() -> Self {
        Self::new(Self::KUBERNETES, "")
    }

    /// The service that has the engine's own metrics and log.
    pub fn self_telemetry() -> Self {
        Self::new(Self::SELF_TELEMETRY, "")
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.type_name)?;
        if self.key.is_empty() { Ok(()) } else { write!(formatter, " `{}`", self.key) }
    }
}

impl Checker {
    /// An error at a key. The path may name keys that are not written: the nearest written one is shown.
    pub fn error<const N: usize>(&mut self, path: [&str; N], message: impl Into<String>) -> Found<'_> {
        self.push(owned(path), Finding::error(Code::Conflict, message))
    }

    /// A key whose value has no effect with the others; an error, because nothing may be read and ignored.
    pub fn no_effect<const N: usize>(&mut self, path: [&str; N], message: impl Into<String>) -> Found<'_> {
        self.push(owned(path), Finding::error(Code::NoEffect, message))
    }

    /// A value of a form that the key does not take.
    pub fn invalid<const N: usize>(&mut self, path: [&str; N], message: impl Into<String>) -> Found<'_> {
        self.push(owned(path), Finding::error(Code::InvalidValue, message))
    }

    /// Something that runs, and probably not as meant.
    pub fn warning<const N: usize>(&mut self, path: [&str; N], message: impl Into<String>) -> Found<'_> {
        self.push(owned(path), Finding::warning(Code::Conflict, message))
    }

    pub(crate) fn into_findings(self) -> Vec<(Vec<String>, Finding)> {
        self.findings
    }

    fn push(&mut self, path: Vec<String>, finding: Finding) -> Found<'_> {
        self.findings.push((path, finding));
        let (_, finding) = self.findings.last_mut().expect("an element was pushed in the line above");
        Found { finding }
    }
}

impl Found<'_> {
    /// Says what would be right.
    pub fn expected(self, expected: impl Into<String>) -> Self {
        self.finding.expected = Some(expected.into());
        self
    }

    /// Says what to do.
    pub fn help(self, help: impl Into<String>) -> Self {
        self.finding.help = Some(help.into());
        self
    }
}

/// Shared options, as nodes of a plan carry them.
pub type SharedOptions = Arc<dyn AnyOptions>;

fn owned<const N: usize>(path: [&str; N]) -> Vec<String> {
    path.into_iter().map(str::to_owned).collect()
}
