//! The `select` transform: passes on some resources with all their records, by resource attributes.
//!
//! It reads attributes in place. A batch of which everything passes goes on as it is; of another one the entries that
//! pass are slices of the same bytes. It does not look at records. Several behind one output are asked at once by the
//! engine, which is told what they select.

use engine_config::transforms::Select as Options;
use engine_config::transforms::select::Selection as Written;
use engine_core::batch::Batch;
use engine_core::contract::{Outputs, Transform};
use engine_core::edge::UNSELECTED;
use engine_core::registry::{BuildContext, BuildError, BuildTransform, Registration};
use engine_core::selection::{Matching, Selection};

/// Keeps or drops the resources that match.
#[derive(Debug)]
struct Select(Selection);

inventory::submit! { Registration::transform::<Select>() }

impl BuildTransform for Select {
    type Options = Options;

    fn build(options: &Options, _: &BuildContext) -> Result<Self, BuildError> {
        match options.selection() {
            Some(Written::Keep(condition)) => {
                Ok(Self(Selection::new(Matching::Passes, condition).with_absent(options.absent)))
            }
            Some(Written::Drop(condition)) => {
                Ok(Self(Selection::new(Matching::IsLeftOut, condition).with_absent(options.absent)))
            }
            None => Err(BuildError::new("exactly one of `keep` and `drop` is needed")),
        }
    }
}

impl Transform for Select {
    /// What does not pass counts as `unselected`; when nothing passes the batch is answered Delivered.
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        let before = batch.records();
        let selected = batch.map_wire(outputs.telemetry(), |wire| wire.select(|resource| self.0.passes(resource)));
        let Some(selected) = selected else { return };
        outputs.telemetry().discarded(UNSELECTED, before - selected.records());
        outputs.emit(selected);
    }

    fn selection(&self) -> Option<&Selection> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod together;
