//! JSON Schema of options, components and the whole document, from the same types that serde reads.
//!
//! The checks of `check` walk these schemas, so an editor that knows the schema and the engine that reads the file
//! cannot disagree. Besides the standard keywords there are three: `x-minimum` and `x-maximum` (limits of sizes and
//! durations as text) and `x-sensitive` (never print the value).

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::catalog::{Catalog, Entry};
use crate::component::Kind;
use crate::id::InputRef;
use crate::settings::Settings;
use crate::signal::SignalSet;
use crate::sink::SinkKeys;

/// The version of the configuration language.
pub const VERSION: i64 = 1;

/// The grammar of component ids.
const ID_PATTERN: &str = "^[a-z0-9][a-z0-9_.-]*$";

/// The JSON Schema of a whole document with the components of a catalog.
pub fn schema(catalog: &Catalog) -> Value {
    let mut definitions = Map::new();
    let mut properties = Map::new();
    let version =
        json!({ "const": VERSION, "description": "Version of the configuration language. Every file states it." });
    properties.insert("version".to_owned(), version);
    let settings = of_settings();
    for (name, section) in properties_of(settings) {
        properties.insert(name.clone(), section.clone());
    }
    for kind in Kind::ALL {
        let mut choices = Vec::new();
        for entry in catalog.entries().filter(|entry| entry.kind() == kind) {
            let name = format!("{kind}.{}", entry.type_name());
            choices.push(json!({ "$ref": format!("#/$defs/{name}") }));
            definitions.insert(name, entry.schema().clone());
        }
        let table = json!({
            "type": "object",
            "description": format!("The {} of the pipeline, by id.", kind.table()),
            "propertyNames": { "pattern": ID_PATTERN },
            "additionalProperties": { "oneOf": choices },
        });
        properties.insert(kind.table().to_owned(), table);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "telemetry-engine configuration",
        "type": "object",
        "properties": properties,
        "required": ["version"],
        "additionalProperties": false,
        "$defs": definitions,
    })
}

/// The schema of the settings tables.
pub(crate) fn of_settings() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(of::<Settings>);
    &SCHEMA
}

/// The keys that all sinks share.
pub(crate) fn of_shared_sink_keys() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(of::<SinkKeys>);
    &SCHEMA
}

/// The schema of one type, without references and without null, which TOML does not have.
pub(crate) fn of<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

/// The schema of a component: its own keys and those of its kind.
pub(crate) fn of_component(entry: &Entry, options: &Value) -> Value {
    let mut properties = Map::new();
    let mut required = vec![json!("type")];
    let description = format!("The {} `{}`.", entry.kind(), entry.type_name());
    properties.insert("type".to_owned(), json!({ "const": entry.type_name(), "description": description }));
    if entry.kind() != Kind::Source {
        let mut inputs = of::<Vec<InputRef>>();
        inputs["minItems"] = json!(1);
        inputs["uniqueItems"] = json!(true);
        inputs["description"] =
            json!("Ids of the components whose data comes in: `\"ID\"`, or `\"ID.output\"` for a named output.");
        properties.insert("inputs".to_owned(), inputs);
        required.push(json!("inputs"));
    }
    let mut signals = of::<SignalSet>();
    signals["description"] =
        json!("Carries only these signals. Default: all that come in and that the component can carry.");
    properties.insert("signals".to_owned(), signals);
    for (name, property) in properties_of(options) {
        properties.insert(name.clone(), property.clone());
    }
    if let Some(Value::Array(names)) = options.get("required") {
        required.extend(names.iter().cloned());
    }
    if entry.kind() == Kind::Sink {
        for (name, property) in properties_of(&of_sink_keys(entry)) {
            properties.insert(name.clone(), property.clone());
        }
    }
    json!({
        "type": "object",
        "description": options.get("description").cloned().unwrap_or_default(),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The keys of all sinks with one type's defaults written in.
fn of_sink_keys(entry: &Entry) -> Value {
    let mut keys = of::<SinkKeys>();
    let defaults = entry.sink_defaults();
    keys["properties"]["concurrency"]["default"] = json!(defaults.concurrency);
    let batch = &mut keys["properties"]["batch"]["properties"];
    if let Some(settings) = defaults.batch {
        batch["max_size"]["default"] = json!(settings.max_size);
        batch["timeout"]["default"] = json!(format!("{}ms", settings.timeout.as_millis()));
        if let Some(records) = settings.max_records {
            batch["max_records"]["default"] = json!(records);
        }
    }
    let text = match defaults.batch {
        Some(_) => "How payloads are merged before they are sent.",
        None => {
            "How payloads are merged before they are sent. Default: not at all, unless one of these keys is written."
        }
    };
    keys["properties"]["batch"]["description"] = json!(text);
    keys
}

/// The properties of an object schema.
pub(crate) fn properties_of(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The type names of a schema: `type` is one name or a list of them.
pub(crate) fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The branches of a `oneOf` or `anyOf`; empty for every other schema.
pub(crate) fn branches_of(schema: &Value) -> &[Value] {
    let branches = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    branches.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts that a schema allows, if it allows only certain ones: an `enum`, a `const`, or a choice of those.
pub(crate) fn choices_of(schema: &Value) -> Option<Vec<&str>> {
    if let Some(Value::String(only)) = schema.get("const") {
        return Some(vec![only]);
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return values.iter().map(Value::as_str).collect();
    }
    let branches = branches_of(schema);
    if branches.is_empty() {
        return None;
    }
    let lists: Option<Vec<Vec<&str>>> = branches.iter().map(choices_of).collect();
    Some(lists?.into_iter().flatten().collect())
}

/// Calls `edit` on a value with each schema that may describe it, and so on for everything in it.
pub(crate) fn visit(value: &mut Value, schema: &Value, edit: &mut dyn FnMut(&mut Value, &Value)) {
    edit(value, schema);
    for branch in branches_of(schema) {
        visit(value, branch, edit);
    }
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let property = properties_of(schema).find(|(key, _)| *key == name).map(|(_, property)| property);
                if let Some(property) = property.or(schema.get("additionalProperties")) {
                    visit(inner, property, edit);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema_of_items) = schema.get("items") {
                items.iter_mut().for_each(|item| visit(item, schema_of_items, edit));
            }
        }
        _ => {}
    }
}

/// Removes null, titles, and single branches that are left over, and joins the lines of descriptions.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(object) => {
            object.values_mut().for_each(tidy);
            remove_null(object);
            if object.get("title").is_some_and(Value::is_string) {
                object.shift_remove("title");
            }
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = join_lines(text);
            }
        }
        _ => {}
    }
}

fn remove_null(object: &mut Map<String, Value>) {
    if object.get("default").is_some_and(Value::is_null) {
        object.shift_remove("default");
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if types.len() == 1 {
            let only = types.remove(0);
            object.insert("type".to_owned(), only);
        }
    }
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(branches)) = object.get_mut(keyword) else { continue };
        branches.retain(|branch| branch.get("type") != Some(&json!("null")));
        if branches.len() != 1 {
            continue;
        }
        let Value::Object(only) = branches.remove(0) else { continue };
        object.shift_remove(keyword);
        for (name, value) in only {
            // A field's own description says more than the one of its type.
            object.entry(name).or_insert(value);
        }
    }
}

/// One paragraph a line: single line ends become spaces.
fn join_lines(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}
