//! Options of the `attributes` transform.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attribute::AttributeValue;
use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;

/// Edits the attributes of records, scopes and resources.
///
/// Records are log records, spans and the data points of metrics; events and links of spans, exemplars and the metadata
/// of metrics stay as they are. No edit makes a second entry of a key. An attribute is edited once: a key, or a prefix
/// that covers it, stands in one action of a place only, so the order of the actions does not matter; where an edit is
/// to follow another one, put a second `attributes` behind the first. Who edits resources only gets the same from
/// `resource`.
///
/// Hashed are the bytes of a text (UTF-8); one byte, 0 or 1, of a boolean; eight bytes, little endian, of an integer
/// (two's complement) and of a floating-point number (IEEE 754): what the `hash` of the OpenTelemetry Collector makes of
/// these. Besides, the bytes of a bytes value; of a list the hashes (32 bytes each) of its values, of a map those of its
/// keys and values in turn, in order; no byte where there is no value. A hash without a secret does not hide what can be
/// guessed, such as a telephone number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Attributes {
    /// Attributes of log records, spans and data points.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub record: Edits,
    /// Attributes of instrumentation scopes. A missing scope is created when an attribute is set.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub scope: Edits,
    /// Attributes of resources. A missing resource is created when an attribute is set.
    #[serde(skip_serializing_if = "Edits::is_empty")]
    pub resource: Edits,
}

/// What is done with the attributes of one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Edits {
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
    /// Removes attributes. `user.*` is every key that begins with `user.`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("items" = { "type": "string", "format": "attribute-key" }))]
    pub delete: BTreeSet<String>,
    /// Gives attributes another key: `"old" = "new"`. Where both are there, the value of the old key stays.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("propertyNames" = { "format": "attribute-key" }))]
    #[schemars(extend("additionalProperties" = { "type": "string", "format": "attribute-key" }))]
    pub rename: BTreeMap<String, String>,
    /// Puts the SHA-256 of the value, in hexadecimal, in place of the value. `user.*` is every key that begins with
    /// `user.`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(extend("items" = { "type": "string", "format": "attribute-key" }))]
    pub hash: BTreeSet<String>,
}

/// A key as it is written in one of the lists: exact, or with a `*` at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPattern<'k> {
    /// This key.
    Exact(&'k str),
    /// Every key that begins with this.
    Prefix(&'k str),
}

/// A key that an action is for, and the path of the option that says so.
struct Use<'o> {
    pattern: KeyPattern<'o>,
    written: &'o str,
    action: &'static str,
    key: &'o str,
}

impl<'k> KeyPattern<'k> {
    /// Reads an item of `delete` or `hash`.
    pub fn new(text: &'k str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix),
            None => Self::Exact(text),
        }
    }

    /// Whether a key may match both.
    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Exact(key), Self::Prefix(prefix)) | (Self::Prefix(prefix), Self::Exact(key)) => {
                key.starts_with(prefix)
            }
            (Self::Prefix(one), Self::Prefix(two)) => one.starts_with(two) || two.starts_with(one),
        }
    }
}

impl Edits {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every key that an action is for, in the order of the actions.
    fn uses(&self) -> Vec<Use<'_>> {
        let mut uses = Vec::new();
        for (action, edits) in self.sets() {
            uses.extend(edits.keys().map(|key| Use { pattern: KeyPattern::Exact(key), written: key, action, key }));
        }
        for (action, keys) in [("delete", &self.delete), ("hash", &self.hash)] {
            uses.extend(keys.iter().map(|key| Use { pattern: KeyPattern::new(key), written: key, action, key }));
        }
        for (from, to) in &self.rename {
            for key in [from, to] {
                uses.push(Use { pattern: KeyPattern::Exact(key), written: key, action: "rename", key: from });
            }
        }
        uses
    }

    fn sets(&self) -> [(&'static str, &BTreeMap<String, AttributeValue>); 3] {
        [("insert", &self.insert), ("update", &self.update), ("upsert", &self.upsert)]
    }

    fn check(&self, place: &str, checker: &mut Checker) {
        for (action, edits) in self.sets() {
            for (key, value) in edits {
                if matches!(value, AttributeValue::Float(number) if !number.is_finite()) {
                    let message = format!("the attribute `{key}` is {value}");
                    checker.invalid([place, action, key.as_str()], message).expected("a finite number");
                }
            }
        }
        let (sound, starred): (Vec<_>, Vec<_>) = self.uses().into_iter().partition(Use::is_sound);
        for one in &starred {
            let path = [place, one.action, one.key];
            if ["delete", "hash"].contains(&one.action) {
                let message = format!("`{}` has a `*` that is not its last character", one.written);
                checker.invalid(path, message).expected("a key, or its beginning and a `*`");
            } else {
                let message = format!("`{}` is a prefix, and `{}` takes single keys", one.written, one.action);
                checker.error(path, message).help("name each key; only `delete` and `hash` take prefixes");
            }
        }
        for (index, second) in sound.iter().enumerate() {
            if let Some(first) = sound[..index].iter().find(|first| first.pattern.overlaps(second.pattern)) {
                overlap(place, first, second, checker);
            }
        }
    }
}

impl Use<'_> {
    /// Whether there is no `*` where none can be.
    fn is_sound(&self) -> bool {
        !self.text().contains('*')
    }

    /// Whether this is a prefix of all that the other is for.
    fn covers(&self, other: &Self) -> bool {
        matches!(self.pattern, KeyPattern::Prefix(prefix) if other.text().starts_with(prefix))
    }

    /// The key, or its beginning.
    fn text(&self) -> &str {
        let (KeyPattern::Exact(text) | KeyPattern::Prefix(text)) = self.pattern;
        text
    }
}

/// Says what is wrong with two uses of one key.
fn overlap(place: &str, first: &Use<'_>, second: &Use<'_>, checker: &mut Checker) {
    let path = [place, second.action, second.key];
    let (Use { written: one, .. }, Use { written: two, .. }) = (first, second);
    let (of_one, of_two) = (first.action, second.action);
    if of_one == of_two && of_one != "rename" {
        let (covering, covered) = if first.covers(second) { (one, two) } else { (two, one) };
        checker.error(path, format!("`{covered}` is covered by `{covering}` already")).help("remove it");
        return;
    }
    if of_one == of_two && first.key == second.key {
        checker.error(path, format!("`{two}` is renamed to itself")).help("remove it");
        return;
    }
    let message = match (of_one == of_two, one == two) {
        (true, _) => format!("the attribute `{two}` stands in `{of_two}` twice"),
        (false, true) => format!("the attribute `{two}` stands in `{of_one}` and in `{of_two}`"),
        (false, false) => format!("`{one}` in `{of_one}` and `{two}` in `{of_two}` are for the same attribute"),
    };
    checker.error(path, message).help("keep one of them, or put a second `attributes` behind this one");
}

impl Attributes {
    /// The places with their names, in the order of the documentation.
    fn places(&self) -> [(&'static str, &Edits); 3] {
        [("record", &self.record), ("scope", &self.scope), ("resource", &self.resource)]
    }
}

impl ComponentOptions for Attributes {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "attributes";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        let places = self.places();
        if places.iter().all(|(_, edits)| edits.is_empty()) {
            let expected = "at least one action such as `record.upsert` or `resource.delete`";
            let help = "for example `record.delete = [\"password\"]`";
            checker.error([], "nothing to do").expected(expected).help(help);
        }
        for (place, edits) in places {
            edits.check(place, checker);
        }
    }

    fn facts(&self) -> Facts {
        let is_of_resources = self.record.is_empty() && self.scope.is_empty();
        Facts { looks_at_records: !is_of_resources, ..Facts::transform(SignalSet::ALL) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Large batches are split before records or scopes are edited, and not where only resources are edited.
    #[test]
    fn edits_below_resources_look_at_records() {
        let edits = || Edits { delete: BTreeSet::from(["password".to_owned()]), ..Edits::default() };
        for (options, expected) in [
            (Attributes { record: edits(), ..Attributes::default() }, true),
            (Attributes { scope: edits(), ..Attributes::default() }, true),
            (Attributes { resource: edits(), ..Attributes::default() }, false),
        ] {
            assert_eq!(options.facts().looks_at_records, expected, "{options:?}");
        }
    }
}
