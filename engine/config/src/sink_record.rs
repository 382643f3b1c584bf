//! A sink as it was planned, in a form that can be kept: for delivering what it holds when no configuration has it any more.
//!
//! References to secrets stay what they are. A value that may be a secret itself is not written anywhere, and a sink without
//! one of its values would be another one: such a sink has no record. Not here: where records are kept, and until when.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::catalog::Catalog;
use crate::component::{Facts, Kind, Resource};
use crate::id::ComponentId;
use crate::plan::PlannedNode;
use crate::schema;
use crate::signal::SignalSet;
use crate::sink::SinkSettings;

/// A planned sink without its neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkRecord {
    id: ComponentId,
    #[serde(rename = "type")]
    type_name: String,
    signals: SignalSet,
    options: Json,
    settings: SinkSettings,
}

/// Why a sink has no record, or a record gives no sink.
#[derive(Debug, thiserror::Error)]
pub enum SinkRecordError {
    /// Not a reference to a secret, and maybe a secret.
    #[error(
        "a value that may be a secret, such as that of a header, stands in its configuration itself: write it as a \
         reference, `{{ secret = \"file:/path\" }}`"
    )]
    Sensitive,
    /// It cannot run by itself.
    #[error("it listens on a port, or needs a service of the process")]
    Dependent,
    /// The program that wrote the record had this type.
    #[error("there is no sink `{0}`")]
    UnknownType(String),
    /// The program that wrote the record had other options.
    #[error("its options are those of another version: {0}")]
    Options(#[source] serde_json::Error),
}

impl SinkRecord {
    /// The record of a planned sink.
    ///
    /// # Errors
    /// [`SinkRecordError::Sensitive`] and [`SinkRecordError::Dependent`].
    ///
    /// # Panics
    /// When the node is no sink, or of a type that the catalog does not have.
    pub fn of(node: &PlannedNode, catalog: &Catalog) -> Result<Self, SinkRecordError> {
        let settings = node.sink.clone().expect("the plan settles every sink");
        let entry = catalog.get(Kind::Sink, node.type_name).expect("what is planned is in the catalog");
        runs_alone(&node.facts)?;
        let mut options = node.options.to_json();
        let mut is_sensitive = false;
        schema::visit(&mut options, entry.schema(), &mut |value, schema| {
            is_sensitive |= schema.get("x-sensitive").is_some() && value.is_string();
        });
        if is_sensitive {
            return Err(SinkRecordError::Sensitive);
        }
        Ok(Self { id: node.id.clone(), type_name: node.type_name.to_owned(), signals: node.signals, options, settings })
    }

    /// The sink, which nobody sends to.
    ///
    /// # Errors
    /// [`SinkRecordError::UnknownType`], [`SinkRecordError::Options`] and [`SinkRecordError::Dependent`].
    pub fn node(self, catalog: &Catalog) -> Result<PlannedNode, SinkRecordError> {
        let Self { id, type_name, signals, options, settings } = self;
        let Some(entry) = catalog.get(Kind::Sink, &type_name) else {
            return Err(SinkRecordError::UnknownType(type_name));
        };
        let options = entry.read(options).map_err(SinkRecordError::Options)?;
        let facts = options.facts();
        runs_alone(&facts)?;
        Ok(PlannedNode {
            id,
            kind: Kind::Sink,
            type_name: entry.type_name(),
            facts,
            options,
            inputs: Vec::new(),
            signals,
            outputs: Vec::new(),
            sink: Some(settings),
        })
    }

    /// Whose data it holds.
    pub fn identity(&self) -> &ComponentId {
        &self.settings.identity
    }
}

fn runs_alone(facts: &Facts) -> Result<(), SinkRecordError> {
    let listens = facts.claims.iter().any(|claim| matches!(claim.resource, Resource::Tcp(_)));
    if listens || !facts.services.is_empty() { Err(SinkRecordError::Dependent) } else { Ok(()) }
}
