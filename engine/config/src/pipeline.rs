//! A configuration as typed values: settings and components, not yet judged together.
//!
//! Built by `parse`, or from option structs by whoever writes configurations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::component::{AnyOptions, ComponentOptions, Kind, Reference, SharedOptions};
use crate::document::{At, Files, Node};
use crate::id::{ComponentId, IdError, InputRef};
use crate::settings::Settings;
use crate::signal::SignalSet;
use crate::sink::SinkKeys;

/// A configuration: settings of the process and components by id.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Settings of the process.
    pub settings: Settings,
    components: BTreeMap<ComponentId, Component>,
    pub(crate) files: Arc<Files>,
    pub(crate) settings_origin: BTreeMap<String, Origin>,
}

/// One configured component.
#[derive(Clone, Debug)]
pub struct Component {
    /// The options of its type; they know kind and type name.
    pub options: SharedOptions,
    /// Where its data comes from; empty for sources.
    pub inputs: Vec<InputRef>,
    /// The signals it is narrowed to.
    pub signals: Option<SignalSet>,
    /// The keys of all sinks; default for sources and transforms, where they mean nothing.
    pub sink: SinkKeys,
    pub(crate) origin: Option<Origin>,
}

/// Where a component or settings table was written.
#[derive(Clone, PartialEq)]
pub(crate) struct Origin {
    pub(crate) key_at: At,
    pub(crate) node: Node,
}

/// What is known of a component that could not be read.
#[derive(Clone, Debug)]
pub(crate) struct BrokenComponent {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its inputs, as far as they are well-formed.
    pub(crate) inputs: Vec<(InputRef, At)>,
}

/// Components that could not be read, by id.
pub(crate) type BrokenComponents = BTreeMap<ComponentId, BrokenComponent>;

/// A secret or file that some component needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComponentReference {
    /// The component.
    pub component: ComponentId,
    /// The key and what it names.
    pub reference: Reference,
}

/// The id of another component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id `{0}` is taken already")]
pub struct TakenId(pub ComponentId);

impl Component {
    /// A source.
    pub fn source<O: ComponentOptions>(options: O) -> Self {
        const { assert!(matches!(O::KIND, Kind::Source), "these are not the options of a source") };
        Self::of(Arc::new(options))
    }

    /// A transform with its inputs.
    ///
    /// # Errors
    ///
    /// When an input is not a well-formed id.
    pub fn transform<O: ComponentOptions>(options: O, inputs: &[&str]) -> Result<Self, IdError> {
        const { assert!(matches!(O::KIND, Kind::Transform), "these are not the options of a transform") };
        Self::of(Arc::new(options)).with_inputs(inputs)
    }

    /// A sink with its inputs and the keys of all sinks.
    ///
    /// # Errors
    ///
    /// When an input is not a well-formed id.
    pub fn sink<O: ComponentOptions>(options: O, inputs: &[&str], keys: SinkKeys) -> Result<Self, IdError> {
        const { assert!(matches!(O::KIND, Kind::Sink), "these are not the options of a sink") };
        Self { sink: keys, ..Self::of(Arc::new(options)) }.with_inputs(inputs)
    }

    /// Narrows the component to some signals.
    #[must_use]
    pub fn narrowed(mut self, signals: SignalSet) -> Self {
        self.signals = Some(signals);
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.options.kind()
    }

    /// The value of `type`.
    pub fn type_name(&self) -> &'static str {
        self.options.type_name()
    }

    fn of(options: Arc<dyn AnyOptions>) -> Self {
        Self { options, inputs: Vec::new(), signals: None, sink: SinkKeys::default(), origin: None }
    }

    fn with_inputs(mut self, inputs: &[&str]) -> Result<Self, IdError> {
        self.inputs = inputs.iter().map(|input| InputRef::new(input)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// The place of a key, or the nearest one that is written.
    pub(crate) fn place(&self, path: &[String]) -> At {
        self.origin.as_ref().map_or(At::NOWHERE, |origin| origin.node.place(path, origin.key_at))
    }
}

/// The place only: values may be sensitive, and stand typed beside it.
impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Origin").field("key_at", &self.key_at).finish_non_exhaustive()
    }
}

/// Places do not count: two components are equal when they do the same.
impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        self.options.equals(&*other.options)
            && self.inputs == other.inputs
            && self.signals == other.signals
            && self.sink == other.sink
    }
}

impl PartialEq for Pipeline {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings && self.components == other.components
    }
}

impl Pipeline {
    /// No components.
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Adds a component.
    ///
    /// # Errors
    ///
    /// When the id is taken already; the pipeline stays as it was.
    pub fn insert(&mut self, id: ComponentId, component: Component) -> Result<(), TakenId> {
        if self.components.contains_key(&id) {
            return Err(TakenId(id));
        }
        self.components.insert(id, component);
        Ok(())
    }

    /// A component.
    pub fn get(&self, id: &str) -> Option<&Component> {
        self.components.get(id)
    }

    /// All components by id.
    pub fn components(&self) -> &BTreeMap<ComponentId, Component> {
        &self.components
    }

    /// The components of one kind by id.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ComponentId, &Component)> {
        self.components.iter().filter(move |(_, component)| component.kind() == kind)
    }

    /// All secrets and files that the components need: what an [`crate::Environment`] should know about.
    pub fn references(&self) -> Vec<ComponentReference> {
        let of_component = |(id, component): (&ComponentId, &Component)| {
            let references = component.options.facts().references;
            references
                .into_iter()
                .map(|reference| ComponentReference { component: id.clone(), reference })
                .collect::<Vec<_>>()
        };
        self.components.iter().flat_map(of_component).collect()
    }

    /// `sinks.backend`: how problems name a component.
    pub(crate) fn label(id: &ComponentId, component: &Component) -> String {
        format!("{}.{id}", component.kind().table())
    }

    /// Whether some file sets a key of a settings table, rightly or not.
    pub(crate) fn is_setting_written(&self, table: &str, key: &str) -> bool {
        self.settings_origin.get(table).is_some_and(|origin| origin.node.entry(key).is_some())
    }

    /// The place of a key of a settings table.
    pub(crate) fn settings_place(&self, table: &str, key: &str) -> At {
        let origin = self.settings_origin.get(table);
        origin.map_or(At::NOWHERE, |origin| origin.node.place(&[key.to_owned()], origin.key_at))
    }
}
