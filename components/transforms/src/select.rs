//! The `select` transform: passes on some resources with all their records, by resource attributes.
//!
//! It reads attributes in place. A batch of which everything passes goes on as it is; of another one the entries that
//! pass are slices of the same bytes. It does not look at records.

use std::collections::BTreeSet;

use engine_config::MatchValue;
use engine_config::transforms::Select as Options;
use engine_config::transforms::select::{Absent, Condition, Selection};
use engine_core::batch::Batch;
use engine_core::contract::{Outputs, Transform};
use engine_core::edge::UNSELECTED;
use engine_core::registry::{BuildContext, BuildError, BuildTransform, Registration};
use otlp::{ResourceView, ValueView};

/// Keeps or drops the resources that match.
#[derive(Debug)]
struct Select {
    matching: Matching,
    absent: Absent,
    condition: Vec<(String, BTreeSet<MatchValue>)>,
}

/// What becomes of a resource that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matching {
    Passes,
    IsLeftOut,
}

inventory::submit! { Registration::transform::<Select>() }

impl BuildTransform for Select {
    type Options = Options;

    fn build(options: &Options, _: &BuildContext) -> Result<Self, BuildError> {
        match options.selection() {
            Some(Selection::Keep(condition)) => Ok(Self::new(Matching::Passes, options.absent, condition)),
            Some(Selection::Drop(condition)) => Ok(Self::new(Matching::IsLeftOut, options.absent, condition)),
            None => Err(BuildError::new("exactly one of `keep` and `drop` is needed")),
        }
    }
}

impl Transform for Select {
    /// What does not pass counts as `unselected`; when nothing passes the batch is answered Delivered.
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        let before = batch.records();
        let selected = batch.map_wire(outputs.telemetry(), |wire| wire.select(|resource| self.passes(resource)));
        let Some(selected) = selected else { return };
        outputs.telemetry().discarded(UNSELECTED, before - selected.records());
        outputs.emit(selected);
    }
}

impl Select {
    fn new(matching: Matching, absent: Absent, condition: &Condition) -> Self {
        let condition = condition.iter().map(|(key, values)| (key.clone(), values.clone())).collect();
        Self { matching, absent, condition }
    }

    fn passes(&self, resource: &ResourceView<'_>) -> bool {
        let matches = self.condition.iter().all(|(key, values)| match resource.get(key) {
            Some(value) => values.iter().any(|expected| is_equal(expected, value)),
            None => self.absent == Absent::Match,
        });
        matches == (self.matching == Matching::Passes)
    }
}

/// Types are not converted: the text `1` is not the number 1.
fn is_equal(expected: &MatchValue, value: ValueView<'_>) -> bool {
    match (expected, value) {
        (MatchValue::String(text), ValueView::Str(found)) => text == found,
        (MatchValue::Bool(expected), ValueView::Bool(found)) => *expected == found,
        (MatchValue::Int(expected), ValueView::Int(found)) => *expected == found,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
