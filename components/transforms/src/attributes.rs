//! The `attributes` transform: edits attributes of records, scopes and resources.
//!
//! Not here: how the bytes are written anew (`otlp`), and which edits contradict one another (`engine-config`).

use engine_config::AttributeValue;
use engine_config::transforms::Attributes as Options;
use engine_config::transforms::attributes::{Edits, KeyPattern as WrittenKey};
use engine_core::batch::Batch;
use engine_core::contract::{Outputs, Transform};
use engine_core::registry::{BuildContext, BuildError, BuildTransform, Registration};
use otlp::{AttributeEdit, AttributeEdits, KeyPattern, WireEdits};

use crate::values::otlp_value;

inventory::submit! { Registration::transform::<Attributes>() }

/// The edits, encoded once.
#[derive(Debug)]
struct Attributes {
    edits: WireEdits,
}

impl BuildTransform for Attributes {
    type Options = Options;

    fn build(options: &Options, _: &BuildContext) -> Result<Self, BuildError> {
        Self::new(options)
    }
}

impl Attributes {
    fn new(options: &Options) -> Result<Self, BuildError> {
        let edits = WireEdits {
            resource: prepared("resource", &options.resource)?,
            scope: prepared("scope", &options.scope)?,
            record: prepared("record", &options.record)?,
        };
        Ok(Self { edits })
    }
}

impl Transform for Attributes {
    fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
        if let Some(edited) = batch.map_wire(outputs.telemetry(), |wire| wire.edit_attributes(&self.edits)) {
            outputs.emit(edited);
        }
    }
}

/// What is to be done in one place, in the order of its documentation.
fn prepared(place: &str, options: &Edits) -> Result<AttributeEdits, BuildError> {
    let set = |edit: fn(String, otlp::AttributeValue) -> AttributeEdit| {
        move |(key, value): (&String, &AttributeValue)| edit(key.clone(), otlp_value(value))
    };
    let mut edits: Vec<AttributeEdit> = Vec::new();
    edits.extend(options.insert.iter().map(set(AttributeEdit::Insert)));
    edits.extend(options.update.iter().map(set(AttributeEdit::Update)));
    edits.extend(options.upsert.iter().map(set(AttributeEdit::Upsert)));
    edits.extend(options.delete.iter().map(|key| AttributeEdit::Delete(pattern(key))));
    edits.extend(options.hash.iter().map(|key| AttributeEdit::Hash(pattern(key))));
    edits.extend(options.rename.iter().map(|(from, to)| AttributeEdit::Rename { from: from.clone(), to: to.clone() }));
    AttributeEdits::new(&edits).map_err(|error| BuildError::new(format!("`{place}`: {error}")))
}

fn pattern(written: &str) -> KeyPattern {
    match WrittenKey::new(written) {
        WrittenKey::Exact(key) => KeyPattern::Exact(key.to_owned()),
        WrittenKey::Prefix(prefix) => KeyPattern::Prefix(prefix.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use engine_core::test_kit::{apply, logs, metrics, records_of, traces, wire};
    use otlp::{Attributes as View, Payload, RecordView, ValueView};

    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, AttributeValue> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), AttributeValue::String((*value).to_owned()))).collect()
    }

    fn keys(list: &[&str]) -> std::collections::BTreeSet<String> {
        list.iter().map(|key| (*key).to_owned()).collect()
    }

    fn edited(options: &Options, payload: Payload) -> Payload {
        let applied = apply(&Attributes::new(options).unwrap(), Batch::unacknowledged(payload));
        let [(_, batch)] = &applied.emitted[..] else { panic!("{applied:?}") };
        assert_eq!(applied.telemetry.read().discarded.values().sum::<u64>(), 0);
        batch.payload().clone()
    }

    fn plain(attributes: View<'_>) -> Vec<(String, String)> {
        let text = |value: ValueView<'_>| value.as_str().map_or_else(|| format!("{value:?}"), str::to_owned);
        attributes.map(|attribute| (attribute.key.to_owned(), text(attribute.value))).collect()
    }

    /// Attributes of resources, scopes and records, in this order.
    fn attributes(payload: &Payload) -> [Vec<(String, String)>; 3] {
        let wire = wire(payload);
        let mut found = [const { Vec::new() }; 3];
        for resource in wire.resources() {
            found[0].extend(plain(resource.attributes()));
            for scope in resource.scopes() {
                found[1].extend(plain(scope.attributes()));
                for record in scope.records() {
                    match record {
                        RecordView::Log(log) => found[2].extend(plain(log.attributes())),
                        RecordView::Span(span) => found[2].extend(plain(span.attributes())),
                        RecordView::Metric(metric) => {
                            found[2].extend(metric.data_points().flat_map(|point| plain(point.attributes())));
                        }
                    }
                }
            }
        }
        found
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// Each place is edited by its own table, for every signal, and every record arrives.
    #[test]
    fn each_place_has_its_edits() {
        let options = Options {
            record: Edits { upsert: texts(&[("r", "1")]), ..Edits::default() },
            scope: Edits { insert: texts(&[("s", "2")]), ..Edits::default() },
            resource: Edits { update: texts(&[("service.name", "3"), ("t", "4")]), ..Edits::default() },
        };
        for payload in [logs, metrics, traces].map(|make| make(&[("service.name", "shop")], 0..2)) {
            let after = edited(&options, payload);
            let expected = [&[("service.name", "3")][..], &[("s", "2")], &[("r", "1"), ("r", "1")]].map(pairs);
            assert_eq!(attributes(&after), expected);
            assert_eq!(records_of(&after), [0, 1]);
        }
    }

    /// Every action does what its name says, and lists take prefixes.
    #[test]
    fn every_action_has_its_effect() {
        let resource = Edits {
            insert: texts(&[("a", "new"), ("b", "new")]),
            delete: keys(&["secret.*", "c"]),
            rename: [("d".to_owned(), "e".to_owned())].into(),
            hash: keys(&["user.*"]),
            ..Edits::default()
        };
        let before =
            [("a", "1"), ("secret.x", "2"), ("c", "3"), ("d", "4"), ("e", "5"), ("user.id", "abc"), ("user", "6")];
        let after = edited(&Options { resource, ..Options::default() }, logs(&before, 0..1));
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let expected = [("a", "1"), ("e", "4"), ("user.id", hash), ("user", "6"), ("b", "new")];
        assert_eq!(attributes(&after)[0], pairs(&expected));
    }

    /// The type is registered under its name, and is not built from what the check refuses.
    #[test]
    fn contradictions_are_not_built() {
        assert!(engine_core::registry::find(engine_config::Kind::Transform, "attributes").is_some());
        let scope = Edits { delete: keys(&["a*"]), hash: keys(&["ab"]), ..Edits::default() };
        let error = Attributes::new(&Options { scope, ..Options::default() }).unwrap_err();
        assert_eq!(error.to_string(), "`scope`: more than one edit is for `ab`");
    }
}
