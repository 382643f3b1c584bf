//! Options of the `resource` transform.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attribute::AttributeValue;
use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;

/// Edits the attributes of every resource. Records are passed on as they are, without being copied.
///
/// A key stands in one action only, so the order of the actions does not matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resource {
    /// Sets attributes that are not there; leaves those that are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = { "format": "attribute-key" }))]
    pub insert: BTreeMap<String, AttributeValue>,
    /// Changes attributes that are there; adds none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = { "format": "attribute-key" }))]
    pub update: BTreeMap<String, AttributeValue>,
    /// Sets attributes, whether they are there or not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = { "format": "attribute-key" }))]
    pub upsert: BTreeMap<String, AttributeValue>,
    /// Removes attributes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("items" = { "type": "string", "format": "attribute-key" }))]
    pub delete: BTreeSet<String>,
}

impl ComponentOptions for Resource {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "resource";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        let actions = [
            ("insert", self.insert.keys().collect::<Vec<_>>()),
            ("update", self.update.keys().collect()),
            ("upsert", self.upsert.keys().collect()),
            ("delete", self.delete.iter().collect()),
        ];
        if actions.iter().all(|(_, keys)| keys.is_empty()) {
            let expected = "at least one of `insert`, `update`, `upsert`, `delete`";
            checker.error([], "nothing to do").expected(expected);
        }
        for (action, edits) in [("insert", &self.insert), ("update", &self.update), ("upsert", &self.upsert)] {
            for (key, value) in edits {
                if matches!(value, AttributeValue::Float(number) if !number.is_finite()) {
                    let message = format!("the attribute `{key}` is {value}");
                    checker.invalid([action, key.as_str()], message).expected("a finite number");
                }
            }
        }
        let mut first_action: BTreeMap<&str, &str> = BTreeMap::new();
        for (action, keys) in &actions {
            for key in keys {
                if let Some(first) = first_action.insert(key, action) {
                    let message = format!("the attribute `{key}` stands in `{first}` and in `{action}`");
                    checker.error([action, key.as_str()], message).help("keep one of them");
                }
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts::transform(SignalSet::ALL)
    }
}
