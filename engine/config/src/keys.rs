//! The keys of a table in words: what the reference prints and the command line lists.
//!
//! Read from the schemas, so a key is described in one place, the doc comment of its field.

use serde_json::Value as Json;

use crate::schema::{branches_of, choices_of, properties_of, types_of};

/// One key in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// The key with dots; `NAME` stands for a key that users choose.
    pub key: String,
    /// Type and limits, such as `duration, 1ms to 1h`.
    pub value: String,
    /// The default as TOML writes it; absent when the description says it or the key is a table.
    pub default: Option<String>,
    /// Whether its table is incomplete without it.
    pub is_required: bool,
    /// The description, paragraphs joined.
    pub description: String,
}

/// All keys of an object schema, nested ones with dots behind their table.
pub(crate) fn keys_of(schema: &Json) -> Vec<KeyDoc> {
    let mut keys = Vec::new();
    collect(schema, "", &mut keys);
    keys
}

fn collect(schema: &Json, prefix: &str, keys: &mut Vec<KeyDoc>) {
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    for (name, property) in properties_of(schema) {
        let key = format!("{prefix}{name}");
        let is_table = properties_of(property).next().is_some();
        let description = property.get("description").and_then(Json::as_str).unwrap_or_default();
        keys.push(KeyDoc {
            key: key.clone(),
            value: format!("{}{}", type_words(property), limits(property)),
            default: property.get("default").filter(|_| !is_table).map(Json::to_string),
            is_required: required.contains(&name.as_str()),
            description: with_choices(description, property),
        });
        // A text or a table: the keys of the table.
        for branch in std::iter::once(property).chain(branches_of(property)) {
            collect(branch, &format!("{key}."), keys);
        }
        if let Some(values) = property.get("additionalProperties").filter(|values| values.is_object()) {
            for branch in std::iter::once(values).chain(branches_of(values)) {
                collect(branch, &format!("{key}.NAME."), keys);
            }
        }
    }
}

/// The description on one line, and behind it what each value of a choice means.
fn with_choices(description: &str, schema: &Json) -> String {
    let mut text = description.replace("\n\n", " ");
    for branch in branches_of(schema) {
        let (value, meaning) = (branch.get("const").and_then(Json::as_str), branch.get("description"));
        if let (Some(value), Some(meaning)) = (value, meaning.and_then(Json::as_str)) {
            text.push_str(&format!(" `\"{value}\"`: {meaning}"));
        }
    }
    text
}

fn type_words(schema: &Json) -> String {
    if let Some(choices) = choices_of(schema) {
        let quoted: Vec<String> = choices.iter().map(|choice| format!("\"{choice}\"")).collect();
        return quoted.join(", ");
    }
    let branches = branches_of(schema);
    if !branches.is_empty() {
        let mut words: Vec<String> = branches.iter().map(type_words).collect();
        words.dedup();
        return words.join(" or ");
    }
    match schema.get("format").and_then(Json::as_str) {
        Some("byte-size") => return "size".to_owned(),
        Some("time-span") => return "duration".to_owned(),
        Some("listen-address") => return "address".to_owned(),
        Some("endpoint" | "token-url") => return "URL".to_owned(),
        Some("secret") => return "secret".to_owned(),
        Some("absolute-path" | "file-path" | "url-path") => return "path".to_owned(),
        _ => {}
    }
    let name = |name: &str| match name {
        "string" => "text".to_owned(),
        "integer" => "integer".to_owned(),
        "number" => "number".to_owned(),
        "boolean" => "boolean".to_owned(),
        "array" => format!("list of {}", schema.get("items").map(type_words).unwrap_or_default()),
        _ => match schema.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) => format!("table of {}", type_words(values)),
            None => "table".to_owned(),
        },
    };
    types_of(schema).into_iter().map(name).collect::<Vec<_>>().join(" or ")
}

/// The limits of a value, in words.
fn limits(schema: &Json) -> String {
    let limit = |text: &str, number: &str| match (schema.get(text), schema.get(number)) {
        (Some(Json::String(text)), _) => Some(text.clone()),
        (None, Some(Json::Number(number))) => Some(number.to_string()),
        _ => None,
    };
    let least = limit("x-minimum", "minimum").filter(|least| least != "0");
    match (least, limit("x-maximum", "maximum")) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        (None, None) => String::new(),
    }
}
