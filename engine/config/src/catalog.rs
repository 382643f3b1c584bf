//! Which component types there are: a value, so that tests and other programs can bring their own.
//!
//! Holds option modules only. What runs is registered in the component crates.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::component::{AnyOptions, ComponentOptions, Kind, SharedOptions, Stability};
use crate::keys::{KeyDoc, keys_of};
use crate::schema;
use crate::sink::SinkDefaults;
use crate::{sinks, sources, transforms};

/// Option modules by kind and type name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<(Kind, &'static str), Arc<Entry>>,
}

/// One component type.
#[derive(Clone, Debug)]
pub struct Entry {
    kind: Kind,
    type_name: &'static str,
    stability: Stability,
    schema: Value,
    sink_defaults: SinkDefaults,
    read: fn(Value) -> Result<SharedOptions, serde_json::Error>,
}

impl Catalog {
    /// No component types.
    pub fn empty() -> Self {
        Self::default()
    }

    /// All component types of this program.
    pub fn builtin() -> Self {
        Self::empty()
            .with::<sources::File>()
            .with::<sources::Generate>()
            .with::<sources::HostMetrics>()
            .with::<sources::Internal>()
            .with::<sources::KubernetesLogs>()
            .with::<sources::OtlpSource>()
            .with::<transforms::Attributes>()
            .with::<transforms::KubernetesAttributes>()
            .with::<transforms::Resource>()
            .with::<transforms::Select>()
            .with::<sinks::Blackhole>()
            .with::<sinks::Console>()
            .with::<sinks::File>()
            .with::<sinks::OtlpSink>()
            .with::<sinks::Prometheus>()
    }

    /// Adds a component type.
    ///
    /// # Panics
    ///
    /// When the type is there already or an option has the name of a key that all components of the kind share: both are
    /// mistakes of the programmer.
    #[must_use]
    pub fn with<O: ComponentOptions>(mut self) -> Self {
        let mut entry = Entry {
            kind: O::KIND,
            type_name: O::TYPE,
            stability: O::STABILITY,
            schema: Value::Null,
            sink_defaults: O::sink_defaults(),
            read: |options| Ok(Arc::new(serde_json::from_value::<O>(options)?) as Arc<dyn AnyOptions>),
        };
        let options = schema::of::<O>();
        for (name, _) in schema::properties_of(&options) {
            assert!(!is_shared_key(O::KIND, name), "{} `{}`: `{name}` is a key of all components", O::KIND, O::TYPE);
        }
        entry.schema = schema::of_component(&entry, &options);
        let previous = self.entries.insert((O::KIND, O::TYPE), Arc::new(entry));
        assert!(previous.is_none(), "the {} `{}` is in the catalog twice", O::KIND, O::TYPE);
        self
    }

    /// A component type.
    pub fn get(&self, kind: Kind, type_name: &str) -> Option<&Entry> {
        self.entries().find(|entry| entry.kind == kind && entry.type_name == type_name)
    }

    /// The type names of a kind, in alphabetical order.
    pub fn names(&self, kind: Kind) -> Vec<&'static str> {
        self.entries().filter(|entry| entry.kind == kind).map(|entry| entry.type_name).collect()
    }

    /// All component types, by kind and name.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(AsRef::as_ref)
    }
}

impl Entry {
    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The value of `type`.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// How far users may rely on it.
    pub fn stability(&self) -> Stability {
        self.stability
    }

    /// The description's first sentence.
    pub fn summary(&self) -> &str {
        let paragraph = self.description().lines().next().unwrap_or_default();
        paragraph.split_once(". ").map_or(paragraph, |(first, _)| first).trim_end_matches('.')
    }

    /// The whole description.
    pub fn description(&self) -> &str {
        self.schema.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    /// JSON Schema of the whole component, the keys of its kind included.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// The type's own keys, without those that all components of its kind share.
    pub fn keys(&self) -> Vec<KeyDoc> {
        let is_own = |key: &KeyDoc| !is_shared_key(self.kind, key.key.split('.').next().unwrap_or_default());
        keys_of(&self.schema).into_iter().filter(is_own).collect()
    }

    /// The type's defaults of the keys that all sinks share.
    pub fn sink_defaults(&self) -> &SinkDefaults {
        &self.sink_defaults
    }

    /// Reads options that the schema has admitted.
    pub(crate) fn read(&self, options: Value) -> Result<SharedOptions, serde_json::Error> {
        (self.read)(options)
    }
}

/// Whether a key belongs to all components of a kind and not to one type's options.
pub(crate) fn is_shared_key(kind: Kind, name: &str) -> bool {
    match name {
        "type" | "signals" => true,
        "inputs" => kind != Kind::Source,
        _ => kind == Kind::Sink && SINK_KEYS.contains(&name),
    }
}

/// The keys of `SinkKeys`.
const SINK_KEYS: [&str; 7] =
    ["pipeline", "acknowledge", "buffer", "batch", "retry", "concurrency", "may_lose_on_crash"];
