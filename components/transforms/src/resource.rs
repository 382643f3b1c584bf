//! Edits the attributes of every resource; records are passed on without being copied.
//!
//! Not here: how the bytes are spliced (`otlp`).

use engine_config::AttributeValue;
use engine_config::transforms::Resource as Options;
use engine_core::batch::Batch;
use engine_core::contract::{Outputs, Transform};
use engine_core::registry::{BuildContext, BuildError, BuildTransform, Registration};
use otlp::{EditAction, ResourceEdit, ResourceEdits};

use crate::values::otlp_value;

inventory::submit! { Registration::transform::<Resource>() }

/// The edits, encoded once.
#[derive(Debug)]
pub(crate) struct Resource {
    edits: ResourceEdits,
}

impl BuildTransform for Resource {
    type Options = Options;

    fn build(options: &Options, _context: &BuildContext) -> Result<Self, BuildError> {
        let set = |map: &std::collections::BTreeMap<String, AttributeValue>,
                   action: fn(otlp::AttributeValue) -> EditAction| {
            map.iter()
                .map(|(key, value)| ResourceEdit { key: key.clone(), action: action(otlp_value(value)) })
                .collect::<Vec<_>>()
        };
        let mut edits = set(&options.insert, EditAction::Insert);
        edits.extend(set(&options.update, EditAction::Update));
        edits.extend(set(&options.upsert, EditAction::Upsert));
        edits.extend(options.delete.iter().map(|key| ResourceEdit { key: key.clone(), action: EditAction::Delete }));
        Ok(Self { edits: ResourceEdits::new(edits) })
    }
}

impl Transform for Resource {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        if let Some(edited) = batch.map_wire(outputs.telemetry(), |wire| wire.edit_resources(&self.edits)) {
            outputs.emit(edited);
        }
    }
}
