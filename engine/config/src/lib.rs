//! The typed pipeline language: what a configuration may say, whether it says so, and what would run.
//!
//! Three pure steps, used alike by the engine, the command line and the operator: [`parse`] reads TOML into typed
//! options, [`validate`] judges each component by itself and against its [`Environment`], [`plan`] judges the components
//! together and fills in every default. [`load`] does all three and reports everything that is wrong at once.
//!
//! ```
//! use engine_config::{Catalog, Environment, ParseOptions, SourceFile, load};
//!
//! let text = r#"
//!     version = 1
//!
//!     [sources.apps]
//!     type = "otlp"
//!
//!     [sinks.backend]
//!     type = "otlp"
//!     inputs = ["apps"]
//!     endpiont = "http://localhost:4317"
//! "#;
//! let files = [SourceFile::new("engine.toml", text)];
//! let problems = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap_err();
//! let misspelt = problems.iter().nth(1).map(ToString::to_string);
//! let expected = "engine.toml:10:5: sinks.backend: unknown key `endpiont`, did you mean `endpoint`?";
//! assert_eq!(misspelt.as_deref(), Some(expected));
//! ```
//!
//! Nothing here reads files, variables or clocks, opens sockets, or knows what a component does with its options.

mod address;
mod attribute;
mod auth;
mod catalog;
mod check;
mod component;
mod cors;
mod covered;
mod document;
mod environment;
mod id;
mod keys;
mod kubernetes_name;
mod mark;
mod omit;
mod parse;
mod pipeline;
mod plan;
mod problem;
mod ratio;
mod reference;
mod render;
mod schema;
mod secret;
mod settings;
mod signal;
mod sink;
mod sink_record;
pub mod sinks;
mod size;
pub mod sources;
mod span;
pub mod status;
mod tls;
pub mod transforms;
mod validate;

pub use address::{AddressError, Endpoint, ListenAddress, Scheme};
pub use attribute::{AttributeValue, MatchValue};
pub use auth::{BasicAuth, BearerAuth, ServerAuth};
pub use catalog::{Catalog, Entry};
pub use component::{
    AnyOptions, Checker, Claim, ComponentOptions, Facts, Found, Kind, Output, Reference, Resource, ServiceId,
    ServiceNeed, SharedOptions, Stability,
};
pub use cors::Cors;
pub use covered::covered;
pub use environment::{Environment, Known};
pub use id::{ComponentId, IdError, InputRef, MAX_ID_LENGTH, PortRef};
pub use keys::KeyDoc;
pub use mark::{MARK_INPUT, MARK_PREFIX};
pub use parse::{Loaded, ParseOptions, load, parse};
pub use pipeline::{Component, ComponentReference, Pipeline, TakenId};
pub use plan::{Consumer, MemoryPlan, Plan, PlannedNode, PlannedOutput, PlannedService, ProcessSettings, plan};
pub use problem::{Code, Problem, Problems, Severity};
pub use ratio::Ratio;
pub use reference::reference;
pub use schema::{VERSION, schema};
pub use secret::{REDACTED, SecretError, SecretRef, SecretString, SensitiveText};
pub use settings::{
    AdminSettings, EngineSettings, KubernetesSettings, MAX_LANES, MemorySettings, SecretsSettings, Settings,
    ShutdownSettings, StateSettings, StatusSettings,
};
pub use signal::{SIGNALS, SignalSet};
pub use sink::{
    Acknowledge, BatchOptions, BatchSettings, BufferOptions, BufferSettings, BufferType, DiskSettings, RetryOptions,
    RetrySettings, SinkDefaults, SinkKeys, SinkSettings, WhenFull,
};
pub use sink_record::{SinkRecord, SinkRecordError};
pub use size::{ByteSize, SizeError};
pub use span::{Span, SpanError};
pub use tls::{ClientTls, ServerTls};
pub use transforms::kubernetes_attributes::KubernetesAttribute;
pub use validate::validate;

pub use otlp::Signal;

/// One file of a configuration, already read. Debug says its name only: the text may hold sensitive values.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The name that problems show.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl SourceFile {
    /// A file from its name and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }
}

impl std::fmt::Debug for SourceFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}
