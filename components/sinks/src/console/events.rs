//! Events of a span. Views do not hand them out, so they are read with prost: the other fields of the span are
//! skipped. What a line looks like is the matter of `pretty`.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
pub(super) use opentelemetry_proto::tonic::trace::v1::span::Event;
use otlp::SpanView;
use prost::Message as _;

use super::page::Page;

/// The part of a `Span` that is read.
#[derive(Clone, PartialEq, prost::Message)]
struct EventsOfSpan {
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

/// The events, in order.
pub(super) fn of(span: &SpanView<'_>) -> Vec<Event> {
    EventsOfSpan::decode(span.as_bytes()).expect("prost decodes what was admitted").events
}

/// The value of an attribute with one of these keys, if it is a text.
pub(super) fn text_in<'a>(attribute: &'a KeyValue, keys: &[&str]) -> Option<&'a str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) if keys.contains(&attribute.key.as_str()) => Some(text),
        _ => None,
    }
}

/// Writes a value among other things, as [`Page::value`] does.
pub(super) fn value(page: &mut Page, any: Option<&AnyValue>) {
    let Some(known) = any.and_then(|outer| outer.value.as_ref()) else {
        page.put("null");
        return;
    };
    match known {
        Value::StringValue(text) => page.word(text),
        Value::BoolValue(value) => page.show(value),
        Value::IntValue(value) => page.show(value),
        Value::DoubleValue(value) => page.double(*value),
        Value::BytesValue(bytes) => page.bytes(bytes),
        Value::ArrayValue(array) => {
            page.put("[");
            for (place, element) in array.values.iter().enumerate() {
                value(page.put(if place == 0 { "" } else { ", " }), Some(element));
            }
            page.put("]")
        }
        Value::KvlistValue(list) => {
            page.put("{");
            for (place, entry) in list.values.iter().enumerate() {
                value(page.put(if place == 0 { "" } else { ", " }).key(&entry.key), entry.value.as_ref());
            }
            page.put("}")
        }
        Value::StringValueStrindex(_) => page.put("null"),
    };
}
