//! Words for what a schema expects and for what a document holds.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json};

use super::format;
use crate::covered::may_hold_secrets;
use crate::document::{Node, Value};
use crate::schema::{branches_of, choices_of, types_of};

/// What would be right at this place.
pub(super) fn expected(schema: &Json) -> String {
    if let Some(choices) = choices_of(schema) {
        let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
        return either(&quoted);
    }
    let branches = branches_of(schema);
    if !branches.is_empty() {
        let mut words: Vec<String> = branches.iter().map(expected).collect();
        words.dedup();
        return either(&words);
    }
    if let Some(words) = format::of(schema).and_then(format::expected) {
        return format!("{words}{}", text_limits(schema));
    }
    let words: Vec<String> = types_of(schema).into_iter().map(|name| expected_type(name, schema)).collect();
    either(&words)
}

fn expected_type(name: &str, schema: &Json) -> String {
    match name {
        "string" => format!("a string{}", length_limits(schema)),
        "integer" => format!("a whole number{}", range(schema).words()),
        "number" => format!("a number{}", range(schema).words()),
        "boolean" => "a boolean".to_owned(),
        "array" => format!("a list, each item {}", schema.get("items").map(expected).unwrap_or_default()),
        "object" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

fn text_limits(schema: &Json) -> String {
    let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_str);
    match (limit("x-minimum"), limit("x-maximum")) {
        (Some(least), Some(most)) => format!(", from {least} to {most}"),
        (Some(least), None) => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        (None, None) => String::new(),
    }
}

fn length_limits(schema: &Json) -> String {
    let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_u64);
    match (limit("minLength"), limit("maxLength")) {
        (Some(least), Some(most)) => format!(" of {least} to {most} characters"),
        (Some(1), None) => " that is not empty".to_owned(),
        (Some(least), None) => format!(" of at least {least} characters"),
        (None, Some(most)) => format!(" of at most {most} characters"),
        (None, None) => String::new(),
    }
}

/// The whole numbers that a schema admits: its limits, and those of the machine type that reads it.
pub(super) struct Range {
    limits: RangeInclusive<i64>,
    is_machine: RangeInclusive<i64>,
}

pub(super) fn range(schema: &Json) -> Range {
    let machine = match format::of(schema) {
        Some("uint8") => 0..=i64::from(u8::MAX),
        Some("uint16") => 0..=i64::from(u16::MAX),
        Some("uint32") => 0..=i64::from(u32::MAX),
        Some("int32") => i64::from(i32::MIN)..=i64::from(i32::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    // Limits may be written as floats (`1.0`) by derives.
    let limit = |keyword: &str| {
        schema.get(keyword).and_then(|limit| limit.as_i64().or(limit.as_f64().map(|float| float as i64)))
    };
    let least = limit("minimum").unwrap_or(*machine.start()).max(*machine.start());
    let most = limit("maximum").unwrap_or(*machine.end()).min(*machine.end());
    Range { limits: least..=most, is_machine: machine }
}

impl Range {
    pub(super) fn contains(&self, number: i64) -> bool {
        self.limits.contains(&number)
    }

    fn words(&self) -> String {
        let (least, most) = (*self.limits.start(), *self.limits.end());
        let has_most = most < *self.is_machine.end() || *self.is_machine.end() <= i64::from(u16::MAX);
        match (least > i64::MIN, has_most) {
            (true, true) => format!(" from {least} to {most}"),
            (true, false) => format!(", at least {least}"),
            (false, true) => format!(", at most {most}"),
            (false, false) => String::new(),
        }
    }
}

/// What stands there. Values that may be secret are not repeated.
pub(super) fn found(node: &Node, schema: &Json) -> String {
    if may_hold_secrets(schema) {
        return match &node.value {
            Value::Text(_) | Value::Unknown(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Bool(_) => "a boolean",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
        .to_owned();
    }
    match &node.value {
        Value::Text(text) | Value::Unknown(text) => {
            let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
            let rest = if text.chars().count() > 60 { "..." } else { "" };
            format!("the string \"{shown}{rest}\"")
        }
        Value::Integer(number) => format!("the integer {number}"),
        Value::Float(number) => format!("the float {number}"),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Date(date) => format!("the date {date}"),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// Whether a value has one of the types of a schema.
pub(super) fn fits(value: &Value, schema: &Json) -> bool {
    let types = types_of(schema);
    let has = |name: &str| types.contains(&name);
    match value {
        Value::Text(_) | Value::Unknown(_) => has("string") || choices_of(schema).is_some(),
        Value::Integer(_) => has("integer"),
        Value::Float(number) => has("number") && number.is_finite(),
        Value::Bool(_) => has("boolean"),
        Value::Date(_) => false,
        Value::List(_) => has("array"),
        Value::Table(_) => has("object"),
    }
}

/// A path as a person writes it: `headers."x.y"`.
pub(super) fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for segment in path {
        let is_index = segment.starts_with('[');
        if !text.is_empty() && !is_index {
            text.push('.');
        }
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if is_index || (!segment.is_empty() && segment.bytes().all(is_bare)) {
            text.push_str(segment);
        } else {
            text.push_str(&format!("{segment:?}"));
        }
    }
    text
}

/// The keys that exist here, for a key that resembles none of them.
pub(super) fn known_keys(properties: &Map<String, Json>) -> String {
    if properties.is_empty() {
        return "remove it: there are no keys here".to_owned();
    }
    let names: Vec<String> = properties.keys().map(|name| format!("`{name}`")).collect();
    format!("known keys are {}", names.join(", "))
}

/// `a, b or c`.
fn either(words: &[String]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
