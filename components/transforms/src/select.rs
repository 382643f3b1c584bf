//! The `select` transform: passes on some resources with all their records, by resource attributes.
//!
//! It reads attributes in place. A batch of which everything passes goes on as it is; of another one the entries that
//! pass are slices of the same bytes. It does not look at records: that is for `filter`.

use std::collections::BTreeSet;

use engine_config::MatchValue;
use engine_config::transforms::Select as Options;
use engine_config::transforms::select::{Condition, Selection};
use engine_core::batch::Batch;
use engine_core::contract::{Outputs, Transform};
use engine_core::edge::UNSELECTED;
use engine_core::registry::{BuildContext, BuildError, BuildTransform, Registration};
use engine_core::sink::UNENCODABLE;
use otlp::{Payload, ResourceView, ValueView};

/// Keeps or drops the resources that match.
#[derive(Debug)]
struct Select {
    matching: Matching,
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
            Some(Selection::Keep(condition)) => Ok(Self::new(Matching::Passes, condition)),
            Some(Selection::Drop(condition)) => Ok(Self::new(Matching::IsLeftOut, condition)),
            None => Err(BuildError::new("exactly one of `keep` and `drop` is needed")),
        }
    }
}

impl Transform for Select {
    /// What does not pass counts as `unselected`; when nothing passes the batch is answered Delivered.
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        let Some(encoded) = encode(batch, outputs) else { return };
        let before = encoded.records();
        let selected = encoded.map(|payload| match payload {
            Payload::Wire(wire) => wire.select(|resource| self.passes(resource)).into(),
            Payload::Decoded(_) => unreachable!("the batch was encoded just now"),
        });
        outputs.telemetry().discarded(UNSELECTED, before - selected.records());
        outputs.emit(selected);
    }
}

impl Select {
    fn new(matching: Matching, condition: &Condition) -> Self {
        let condition = condition.iter().map(|(key, values)| (key.clone(), values.clone())).collect();
        Self { matching, condition }
    }

    fn passes(&self, resource: &ResourceView<'_>) -> bool {
        let matches = self.condition.iter().all(|(key, values)| {
            resource.get(key).is_some_and(|value| values.iter().any(|expected| is_equal(expected, value)))
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

/// The batch as bytes; none when it has none, which is counted.
fn encode(batch: Batch, outputs: &Outputs<'_>) -> Option<Batch> {
    let Payload::Decoded(decoded) = batch.payload() else { return Some(batch) };
    match decoded.encode() {
        Ok(wire) => Some(batch.map(|_| wire.into())),
        Err(error) => {
            outputs.telemetry().error(UNENCODABLE, error.to_string());
            batch.discard(UNENCODABLE, outputs.telemetry());
            None
        }
    }
}

#[cfg(test)]
mod tests;
