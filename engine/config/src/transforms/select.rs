//! Options of the `select` transform.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attribute::MatchValue;
use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::omit::is_default;
use crate::signal::SignalSet;

/// Passes on some resources with all their records, by resource attributes. What does not pass is not an error: it
/// counts as not selected.
///
/// Exactly one of `keep` and `drop` is written. A resource matches when for every attribute named its value is in the
/// list; for a missing attribute `absent` decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    /// Passes resources that match: every attribute has one of its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("propertyNames" = { "format": "attribute-key" }, "minProperties" = 1))]
    pub keep: Option<Condition>,
    /// Passes resources that do not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("propertyNames" = { "format": "attribute-key" }, "minProperties" = 1))]
    pub drop: Option<Condition>,
    /// What a resource counts as that lacks one of the attributes named, or has none of them.
    #[serde(skip_serializing_if = "is_default")]
    pub absent: Absent,
}

/// What a resource counts as for an attribute that it lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// It does not match.
    #[default]
    NoMatch,
    /// It matches, as if it had one of the values: `keep` passes what says nothing, `drop` drops it.
    Match,
}

/// For each attribute the values of which it must have one.
pub type Condition = BTreeMap<String, BTreeSet<MatchValue>>;

/// The condition of a [`Select`], with its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<'s> {
    /// Pass what matches.
    Keep(&'s Condition),
    /// Pass what does not.
    Drop(&'s Condition),
}

impl Select {
    /// The one condition; `None` for options that `check` refuses.
    pub fn selection(&self) -> Option<Selection<'_>> {
        match (&self.keep, &self.drop) {
            (Some(condition), None) => Some(Selection::Keep(condition)),
            (None, Some(condition)) => Some(Selection::Drop(condition)),
            _ => None,
        }
    }
}

impl ComponentOptions for Select {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "select";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        match (&self.keep, &self.drop) {
            (Some(_), Some(_)) => {
                let help = "remove one, or put two `select` one behind the other";
                checker.error(["drop"], "`keep` and `drop` exclude each other").help(help);
            }
            (None, None) => {
                let help = "for example `keep = { \"k8s.namespace.name\" = [\"shop\"] }`";
                checker.error([], "nothing is selected").expected("one of `keep` and `drop`").help(help);
            }
            _ => {}
        }
        for (action, condition) in [("keep", &self.keep), ("drop", &self.drop)] {
            for (key, values) in condition.iter().flatten() {
                if values.is_empty() {
                    let message = format!("the attribute `{key}` has no values, so nothing can match");
                    checker.invalid([action, key.as_str()], message).expected("at least one value");
                }
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts::transform(SignalSet::ALL)
    }
}
