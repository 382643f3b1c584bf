//! Labels of a series as text: `a="b",c="d"`, escaped so that no value can end its quotes, in the order of their names, whoever
//! brings them. The text is the identity of a series.
//!
//! Labels come in layers: what the sink writes itself, what resource and scope bring, what the point brings. A name that an
//! earlier layer has is written with `exported_` before it, as Prometheus does with labels of a target; attributes of one
//! layer that get the same name share it, with `;` between their values (specification, "Metric Attributes").

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use otlp::ValueView;
use serde_json::Value as Json;

use super::naming::push_label_name;

/// Bytes of all labels of one series.
const LONGEST: usize = 16 * 1024;

const EXPORTED: &str = "exported_";

/// The labels that many series share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    text: String,
    /// Where each of them is in the text.
    places: Vec<Place>,
    /// Names that are taken, also by what is empty and not in the text.
    names: Vec<String>,
}

/// Where a label is in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    label: Range<usize>,
    /// Of its name.
    len: usize,
}

/// The labels are longer than a series may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Writes labels; kept, so that most points need no allocation.
#[derive(Debug, Default)]
pub(super) struct LabelWriter {
    /// Keys, names and values of the layer, not escaped.
    raw: String,
    spans: Vec<Span>,
    text: String,
    places: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Span {
    key: Range<usize>,
    name: Range<usize>,
    value: Range<usize>,
}

impl Labels {
    /// Labels in text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// These labels and one more layer.
    pub(super) fn and<'a>(
        &self,
        writer: &mut LabelWriter,
        layer: impl IntoIterator<Item = (&'a str, ValueView<'a>)>,
    ) -> Result<Self, TooLong> {
        let text = writer.write(self, None, layer)?.to_owned();
        let names = writer.spans.iter().map(|span| writer.raw[span.name.clone()].to_owned());
        let names = self.names.iter().cloned().chain(names).collect();
        Ok(Self { text, places: writer.places.clone(), names })
    }

    fn label(&self, place: &Place) -> &str {
        &self.text[place.label.clone()]
    }

    fn name(&self, place: &Place) -> &str {
        &self.label(place)[..place.len]
    }
}

impl LabelWriter {
    /// The text of shared labels and a layer on top. A name that is `reserved` is exported.
    pub(super) fn write<'a>(
        &mut self,
        shared: &Labels,
        reserved: Option<&str>,
        layer: impl IntoIterator<Item = (&'a str, ValueView<'a>)>,
    ) -> Result<&str, TooLong> {
        self.raw.clear();
        self.spans.clear();
        for (key, value) in layer {
            self.add(shared, reserved, key, value)?;
            if shared.text.len() + self.raw.len() > 2 * LONGEST {
                return Err(TooLong);
            }
        }
        let raw = &self.raw;
        self.spans.sort_unstable_by(|left, right| {
            let order = |span: &Span| (&raw[span.name.clone()], &raw[span.key.clone()]);
            // Keys are equal only where a message has one twice; then the first comes first.
            order(left).cmp(&order(right)).then(left.key.start.cmp(&right.key.start))
        });
        self.text.clear();
        self.places.clear();
        let mut shared_places = shared.places.iter().peekable();
        let mut groups = self.spans.as_slice();
        while let [first, rest @ ..] = groups {
            let name = &raw[first.name.clone()];
            let same = rest.iter().take_while(|span| raw[span.name.clone()] == *name).count();
            let (group, others) = groups.split_at(1 + same);
            groups = others;
            if group.iter().all(|span| span.value.is_empty()) {
                continue;
            }
            while let Some(place) = shared_places.next_if(|place| shared.name(place) < name) {
                push_label(&mut self.text, &mut self.places, place.len, |text| text.push_str(shared.label(place)));
            }
            push_label(&mut self.text, &mut self.places, name.len(), |text| {
                text.push_str(name);
                text.push_str("=\"");
                for (place, span) in group.iter().enumerate() {
                    if place > 0 {
                        text.push(';');
                    }
                    push_escaped(text, &raw[span.value.clone()]);
                }
                text.push('"');
            });
        }
        for place in shared_places {
            push_label(&mut self.text, &mut self.places, place.len, |text| text.push_str(shared.label(place)));
        }
        if self.text.len() > LONGEST { Err(TooLong) } else { Ok(&self.text) }
    }

    fn add(&mut self, shared: &Labels, reserved: Option<&str>, key: &str, value: ValueView<'_>) -> Result<(), TooLong> {
        if key.len() > LONGEST {
            return Err(TooLong);
        }
        let raw = &mut self.raw;
        let start = raw.len();
        raw.push_str(key);
        let name_start = raw.len();
        push_label_name(raw, key);
        let is_taken = |name: &str| reserved == Some(name) || shared.names.iter().any(|taken| taken == name);
        while is_taken(&raw[name_start..]) {
            raw.insert_str(name_start, EXPORTED);
        }
        let value_start = raw.len();
        push_value(raw, value)?;
        let span = Span { key: start..name_start, name: name_start..value_start, value: value_start..raw.len() };
        self.spans.push(span);
        Ok(())
    }
}

/// Appends a label behind others, whose name is so long, and notes where it is.
fn push_label(text: &mut String, places: &mut Vec<Place>, len: usize, label: impl FnOnce(&mut String)) {
    if !text.is_empty() {
        text.push(',');
    }
    let start = text.len();
    label(text);
    places.push(Place { label: start..text.len(), len });
}

/// Appends a value as text: as it is, base64 for bytes, JSON for lists and maps (specification, "AnyValue representation
/// for non-OTLP protocols"). What would be longer than any label is not written to its end: of a few megabytes in a request
/// it could make hundreds.
fn push_value(text: &mut String, value: ValueView<'_>) -> Result<(), TooLong> {
    match value {
        ValueView::Str(content) if content.len() > LONGEST => return Err(TooLong),
        ValueView::Bytes(bytes) if bytes.len() > LONGEST => return Err(TooLong),
        ValueView::Str(content) => text.push_str(content),
        ValueView::Bool(flag) => text.push_str(if flag { "true" } else { "false" }),
        ValueView::Int(number) => write!(text, "{number}").expect("a string takes everything"),
        ValueView::Double(number) => write!(text, "{number}").expect("a string takes everything"),
        ValueView::Bytes(bytes) => BASE64_STANDARD.encode_string(bytes, text),
        ValueView::Array(_) | ValueView::Map(_) => push_json(text, value, text.len() + LONGEST)?,
        ValueView::Empty => {}
    }
    Ok(())
}

/// Appends a value as JSON, until the text is longer than `most`.
fn push_json(text: &mut String, value: ValueView<'_>, most: usize) -> Result<(), TooLong> {
    if text.len() > most {
        return Err(TooLong);
    }
    let scalar: Json = match value {
        ValueView::Str(content) if content.len() > LONGEST => return Err(TooLong),
        ValueView::Bytes(bytes) if bytes.len() > LONGEST => return Err(TooLong),
        ValueView::Str(content) => content.into(),
        ValueView::Bool(flag) => flag.into(),
        ValueView::Int(number) => number.into(),
        // What JSON has no number for is a text, as in OTLP/JSON.
        ValueView::Double(number) if !number.is_finite() => number.to_string().into(),
        ValueView::Double(number) => number.into(),
        ValueView::Bytes(bytes) => BASE64_STANDARD.encode(bytes).into(),
        ValueView::Empty => Json::Null,
        ValueView::Array(values) => {
            text.push('[');
            for (place, element) in values.iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                push_json(text, element, most)?;
            }
            text.push(']');
            return Ok(());
        }
        ValueView::Map(entries) => {
            // In the order of keys, so that theirs in the message makes no other series. The last one of a key counts.
            let mut by_key = BTreeMap::new();
            for entry in entries.iter() {
                by_key.insert(entry.key, entry.value);
                if by_key.len() > LONGEST || entry.key.len() > LONGEST {
                    return Err(TooLong);
                }
            }
            text.push('{');
            for (place, (key, element)) in by_key.into_iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                text.push_str(&Json::from(key).to_string());
                text.push(':');
                push_json(text, element, most)?;
            }
            text.push('}');
            return Ok(());
        }
    };
    text.push_str(&scalar.to_string());
    Ok(())
}

/// Appends a text for between quotes.
pub(super) fn push_escaped(text: &mut String, raw: &str) {
    for character in raw.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn text(labels: &[(&'static str, &'static str)]) -> String {
        let layer = labels.iter().map(|(key, value)| (*key, ValueView::Str(value)));
        LabelWriter::default().write(&Labels::default(), Some("le"), layer).unwrap().to_owned()
    }

    /// The same labels have the same text in any order; empty ones are none.
    #[test]
    fn order_does_not_matter() {
        assert_eq!(text(&[("b", "2"), ("a", "1"), ("c", "")]), r#"a="1",b="2""#);
        assert_eq!(text(&[("a", "1"), ("b", "2")]), text(&[("b", "2"), ("a", "1")]));
        assert_eq!(text(&[]), "");
    }

    /// Nothing in a key or a value ends a label or a line.
    #[test]
    fn nothing_is_forged() {
        assert_eq!(text(&[("a", "x\"} 1\nforged{b=\"\\")]), r#"a="x\"} 1\nforged{b=\"\\""#);
        assert_eq!(text(&[("a=\"1\"} 2\nb", "x")]), r#"a_1_2_b="x""#);
    }

    /// Attributes that become one label share it, whatever their order; a reserved name is exported.
    #[test]
    fn names_collide() {
        assert_eq!(text(&[("a_b", "2"), ("a.b", "1")]), r#"a_b="1;2""#);
        assert_eq!(text(&[("le", "x")]), r#"exported_le="x""#);
    }

    /// A later layer cannot replace what an earlier one wrote.
    #[test]
    fn layers_do_not_replace() {
        let mut writer = LabelWriter::default();
        let own = Labels::default().and(&mut writer, [("job", ValueView::Str("shop"))]).unwrap();
        let both = own.and(&mut writer, [("job", ValueView::Str("x")), ("exported_job", ValueView::Str("y"))]).unwrap();
        assert_eq!(both.text(), r#"exported_job="y;x",job="shop""#);
    }

    /// The same labels are the same series, whichever layer brings which of them.
    #[test]
    fn layers_do_not_matter() {
        let mut writer = LabelWriter::default();
        let mut layered = |layers: &[&[(&'static str, &'static str)]]| {
            let add = |labels: Labels, layer: &&[(&'static str, &'static str)]| {
                labels.and(&mut writer, layer.iter().map(|(key, value)| (*key, ValueView::Str(value)))).unwrap()
            };
            layers.iter().fold(Labels::default(), add).text().to_owned()
        };
        let expected = r#"a="1",b="2",b_c="3",d="4""#;
        assert_eq!(layered(&[&[("b", "2"), ("d", "4")], &[("a", "1"), ("b_c", "3")]]), expected);
        assert_eq!(layered(&[&[("b_c", "3")], &[("x", "")], &[("d", "4"), ("a", "1"), ("b", "2")]]), expected);
        assert_eq!(layered(&[&[("d", "4")], &[("b_c", "3")], &[("b", "2")], &[("a", "1")], &[]]), expected);
    }

    /// Of a value that is far too long hardly more is written than a label may have.
    #[test]
    fn long_values_are_not_written() {
        use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
        use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value};
        use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
        let any = |value| AnyValue { value: Some(value) };
        let map = |keys: std::ops::Range<usize>| {
            let entry = |key: usize| KeyValue { key: key.to_string(), ..KeyValue::default() };
            Value::KvlistValue(KeyValueList { values: keys.map(entry).collect() })
        };
        let long = [
            Value::StringValue("x".repeat(1 << 20)),
            Value::BytesValue(vec![0; 1 << 20]),
            Value::ArrayValue(ArrayValue { values: vec![AnyValue::default(); 1 << 18] }),
            map(0..1 << 17),
            Value::ArrayValue(ArrayValue { values: vec![any(map(0..1 << 17))] }),
            Value::ArrayValue(ArrayValue { values: vec![any(Value::StringValue("x".repeat(1 << 20)))] }),
        ];
        for value in long {
            let attribute = KeyValue { key: "a".to_owned(), value: Some(any(value)), ..KeyValue::default() };
            let record = LogRecord { attributes: vec![attribute], ..LogRecord::default() };
            let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
            let resource_logs = vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }];
            let request = otlp::Decoded::Logs(ExportLogsServiceRequest { resource_logs });
            let wire = request.encode().unwrap();
            let resource = wire.resources().next().unwrap();
            let scope = resource.scopes().next().unwrap();
            let record = scope.log_records().next().unwrap();
            let layer = record.attributes().map(|attribute| (attribute.key, attribute.value));
            let mut writer = LabelWriter::default();
            assert_eq!(writer.write(&Labels::default(), None, layer), Err(TooLong));
            assert!(writer.raw.capacity() <= 4 * LONGEST, "{} bytes", writer.raw.capacity());
        }
    }

    /// Every type of value has a text, and too much text is refused.
    #[test]
    fn values() {
        let layer = [("a", ValueView::Int(-1)), ("b", ValueView::Double(1.5)), ("c", ValueView::Bytes(b"\0\xff"))];
        let mut writer = LabelWriter::default();
        assert_eq!(writer.write(&Labels::default(), None, layer), Ok(r#"a="-1",b="1.5",c="AP8=""#));
        let long = "x".repeat(LONGEST);
        assert_eq!(writer.write(&Labels::default(), None, [("a", ValueView::Str(&long))]), Err(TooLong));
    }
}
