//! Attribute values of a configuration as values that are put into OTLP. What is done with them is the transforms' matter.

use engine_config::AttributeValue;

/// The same value, of the same type.
pub(crate) fn otlp_value(value: &AttributeValue) -> otlp::AttributeValue {
    match value {
        AttributeValue::String(text) => otlp::AttributeValue::String(text.clone()),
        AttributeValue::Bool(flag) => otlp::AttributeValue::Bool(*flag),
        AttributeValue::Int(number) => otlp::AttributeValue::Int(*number),
        AttributeValue::Float(number) => otlp::AttributeValue::Double(*number),
    }
}
