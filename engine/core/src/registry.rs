//! The components of this binary, collected by the linker: one `inventory::submit!` beside each component.
//!
//! Plain data that can be listed. Not here: their options and checks (`engine-config`), which is how the command line
//! and the operator judge a configuration without any component's code.

use engine_config::{AnyOptions, ComponentId, ComponentOptions, Kind, SignalSet};

use crate::contract::{Partitioned, Sink, Source, Stage, Transform, TransformWithCompanion};
use crate::lane::Lanes;
use crate::service::Services;

/// One component type of this binary.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    /// The table it stands in.
    pub kind: Kind,
    /// The value of `type`.
    pub type_name: &'static str,
    /// Builds one.
    pub build: Build,
}

/// How a component is built from its options.
#[derive(Clone, Copy, Debug)]
pub enum Build {
    /// A source.
    Source(BuildFn<dyn Source>),
    /// A transform that runs inline.
    Transform(BuildFn<dyn Transform>),
    /// A transform with a task of its own.
    Stage(BuildFn<dyn Stage>),
    /// A transform with a task for each of its partitions.
    Partitioned(BuildFn<dyn Partitioned>),
    /// A transform that runs inline, with a task of its own for what it cannot finish there.
    WithCompanion(BuildFn<dyn TransformWithCompanion>),
    /// A sink.
    Sink(BuildFn<dyn Sink>),
}

/// Builds a component; may read files and resolve names, must not bind, connect for good or spawn.
pub type BuildFn<C> = fn(&(dyn AnyOptions + 'static), &BuildContext) -> Result<Box<C>, BuildError>;

/// What a component may use while it is built.
#[derive(Clone, Debug)]
pub struct BuildContext {
    /// Its id.
    pub id: ComponentId,
    /// The signals it brings or gets, as the plan inferred them.
    pub signals: SignalSet,
    /// The lanes it will run on.
    pub lanes: Lanes,
    /// The services that its facts name.
    pub services: Services,
}

/// A component cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    /// What stands in the way.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A source type.
pub trait BuildSource: Source + Sized + 'static {
    /// Its options.
    type Options: ComponentOptions;
    /// See [`BuildFn`].
    fn build(options: &Self::Options, context: &BuildContext) -> Result<Self, BuildError>;
}

/// A transform type.
pub trait BuildTransform: Transform + Sized + 'static {
    /// Its options.
    type Options: ComponentOptions;
    /// See [`BuildFn`].
    fn build(options: &Self::Options, context: &BuildContext) -> Result<Self, BuildError>;
}

/// A stage type.
pub trait BuildStage: Stage + Sized + 'static {
    /// Its options.
    type Options: ComponentOptions;
    /// See [`BuildFn`].
    fn build(options: &Self::Options, context: &BuildContext) -> Result<Self, BuildError>;
}

/// A stage type with partitions.
pub trait BuildPartitioned: Partitioned + Sized + 'static {
    /// Its options.
    type Options: ComponentOptions;
    /// See [`BuildFn`].
    fn build(options: &Self::Options, context: &BuildContext) -> Result<Self, BuildError>;
}

/// A sink type.
pub trait BuildSink: Sink + Sized + 'static {
    /// Its options.
    type Options: ComponentOptions;
    /// See [`BuildFn`].
    fn build(options: &Self::Options, context: &BuildContext) -> Result<Self, BuildError>;
}

inventory::collect!(Registration);

/// Every component of this binary, by kind and name.
pub fn registered() -> Vec<&'static Registration> {
    let mut all: Vec<_> = inventory::iter::<Registration>.into_iter().collect();
    all.sort_by_key(|registration| (registration.kind, registration.type_name));
    all
}

/// The component type of this kind and name.
pub fn find(kind: Kind, type_name: &str) -> Option<&'static Registration> {
    inventory::iter::<Registration>
        .into_iter()
        .find(|registration| registration.kind == kind && registration.type_name == type_name)
}

impl Registration {
    /// Registers a source type.
    pub const fn source<C: BuildSource>() -> Self {
        let build = Build::Source(|options, context| Ok(Box::new(C::build(typed(options)?, context)?)));
        Self { kind: Kind::Source, type_name: C::Options::TYPE, build }
    }

    /// Registers a transform type.
    pub const fn transform<C: BuildTransform>() -> Self {
        let build = Build::Transform(|options, context| Ok(Box::new(C::build(typed(options)?, context)?)));
        Self { kind: Kind::Transform, type_name: C::Options::TYPE, build }
    }

    /// Registers a stage type, which is a transform to users.
    pub const fn stage<C: BuildStage>() -> Self {
        let build = Build::Stage(|options, context| Ok(Box::new(C::build(typed(options)?, context)?)));
        Self { kind: Kind::Transform, type_name: C::Options::TYPE, build }
    }

    /// Registers a stage type with partitions, which is a transform to users.
    pub const fn partitioned<C: BuildPartitioned>() -> Self {
        let build = Build::Partitioned(|options, context| Ok(Box::new(C::build(typed(options)?, context)?)));
        Self { kind: Kind::Transform, type_name: C::Options::TYPE, build }
    }

    /// Registers a transform type with its companion; they are one transform to users.
    pub const fn with_companion<C: BuildTransform + TransformWithCompanion>() -> Self {
        let build = Build::WithCompanion(|options, context| Ok(Box::new(C::build(typed(options)?, context)?)));
        Self { kind: Kind::Transform, type_name: C::Options::TYPE, build }
    }

    /// Registers a sink type.
    pub const fn sink<C: BuildSink>() -> Self {
        let build = Build::Sink(|options, context| Ok(Box::new(C::build(typed(options)?, context)?)));
        Self { kind: Kind::Sink, type_name: C::Options::TYPE, build }
    }
}

impl BuildError {
    /// An error without a cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// An error with its cause.
    pub fn caused(message: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { message: message.into(), source: Some(source.into()) }
    }
}

fn typed<'o, O: ComponentOptions>(options: &'o (dyn AnyOptions + 'static)) -> Result<&'o O, BuildError> {
    let wrong = || BuildError::new(format!("options of {} given to {}", options.type_name(), O::TYPE));
    options.downcast_ref::<O>().ok_or_else(wrong)
}
