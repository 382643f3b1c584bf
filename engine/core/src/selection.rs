//! Selections: which resources pass, by their attributes.
//!
//! One resource at a time. Many selections at once are asked where a route has them (`edge`).

use std::collections::BTreeSet;

use engine_config::MatchValue;
use engine_config::transforms::select::Absent;
use otlp::{ResourceView, ValueView};

/// Which resources pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    matching: Matching,
    absent: Absent,
    condition: Vec<(String, BTreeSet<MatchValue>)>,
}

/// What becomes of a resource that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// It passes; others do not.
    Passes,
    /// It is left out; others pass.
    IsLeftOut,
}

impl Selection {
    /// A resource matches when each of these attributes has one of its values; one that is missing does not match. An
    /// attribute stands here once.
    pub fn new<'c>(
        matching: Matching,
        condition: impl IntoIterator<Item = (&'c String, &'c BTreeSet<MatchValue>)>,
    ) -> Self {
        let condition = condition.into_iter().map(|(key, values)| (key.clone(), values.clone())).collect();
        Self { matching, absent: Absent::default(), condition }
    }

    /// The same with another word on attributes that are missing.
    #[must_use]
    pub fn with_absent(self, absent: Absent) -> Self {
        Self { absent, ..self }
    }

    /// What a resource counts as for an attribute that it lacks.
    pub fn absent(&self) -> Absent {
        self.absent
    }

    /// What becomes of a resource that matches.
    pub fn matching(&self) -> Matching {
        self.matching
    }

    /// The attributes, each with its values.
    pub fn condition(&self) -> &[(String, BTreeSet<MatchValue>)] {
        &self.condition
    }

    /// Whether a resource passes.
    pub fn passes(&self, resource: &ResourceView<'_>) -> bool {
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
