//! The reference of all keys as Markdown, from the schemas.

use serde_json::Value as Json;

use crate::catalog::{Catalog, Entry, SINK_KEYS};
use crate::component::Kind;
use crate::schema::{self, branches_of, choices_of, properties_of, types_of};

/// Every table and key of the configuration language, as Markdown.
pub fn reference(catalog: &Catalog) -> String {
    let mut text = String::new();
    text.push_str(INTRODUCTION);
    let settings = schema::of_settings();
    text.push_str("\n## Settings of the process\n");
    for (name, section) in properties_of(&settings) {
        heading(&mut text, &format!("`[{name}]`"), section);
        table(&mut text, section, &[]);
    }
    for kind in Kind::ALL {
        let title = match kind {
            Kind::Source => "Sources",
            Kind::Transform => "Transforms",
            Kind::Sink => "Sinks",
        };
        text.push_str(&format!("\n## {title}\n\n{}\n", shared_keys(kind)));
        if kind == Kind::Sink {
            sink_keys(&mut text, catalog);
        }
        for entry in catalog.entries().filter(|entry| entry.kind() == kind) {
            component(&mut text, entry);
        }
    }
    text
}

const INTRODUCTION: &str = "# Configuration reference

<!-- Generated from the option types; a test compares. Do not edit. -->

A configuration is TOML: `version = 1`, settings of the process, and components by id in `[sources.ID]`,
`[transforms.ID]` and `[sinks.ID]`. Ids match `[a-z0-9][a-z0-9_.-]*` and are unique across the three tables; an id with
dots stands in quotes. Several files are merged; no file overrides another. Unknown keys are errors.

Durations are texts such as `\"100ms\"`, `\"5s\"`, `\"1h30m\"`. Sizes are texts such as `\"64MiB\"` (B, kB, MB, GB, KiB,
MiB, GiB) or numbers of bytes. Secrets are references, `\"file:/path\"` or `\"env:NAME\"`, never values.
";

fn shared_keys(kind: Kind) -> &'static str {
    match kind {
        Kind::Source => {
            "Every source takes `type` and `signals`, a list of `\"logs\"`, `\"metrics\"` and `\"traces\"` \
            that narrows what it brings."
        }
        Kind::Transform => {
            "Every transform takes `type`, `inputs`, a list of `\"ID\"` or `\"ID.output\"`, and `signals`, \
            a list that narrows what it takes."
        }
        Kind::Sink => {
            "Every sink takes `type`, `inputs`, a list of `\"ID\"` or `\"ID.output\"`, `signals`, a list that \
            narrows what it takes, and these keys:"
        }
    }
}

fn sink_keys(text: &mut String, catalog: &Catalog) {
    let schema = schema::of::<crate::sink::SinkKeys>();
    table(text, &schema, &["batch", "concurrency"]);
    text.push_str("\nThe defaults of `batch` and `concurrency` depend on the type:\n\n");
    text.push_str("| type | `batch.max_size` | `batch.timeout` | `concurrency` |\n|---|---|---|---|\n");
    for entry in catalog.entries().filter(|entry| entry.kind() == Kind::Sink) {
        let defaults = entry.sink_defaults();
        let (size, timeout) = match defaults.batch {
            Some(batch) => (batch.max_size.to_string(), format!("{}ms", batch.timeout.as_millis())),
            None => ("off".to_owned(), "off".to_owned()),
        };
        line(text, &format!("| `{}` | {size} | {timeout} | {} |", entry.type_name(), defaults.concurrency));
    }
}

fn component(text: &mut String, entry: &Entry) {
    let title = format!("`{}` {} ({})", entry.type_name(), entry.kind(), entry.stability().as_str());
    heading(text, &title, entry.schema());
    let shared: Vec<&str> = ["type", "inputs", "signals"].into_iter().chain(SINK_KEYS).collect();
    let mut own = entry.schema().clone();
    if let Some(Json::Object(properties)) = own.get_mut("properties") {
        properties.retain(|name, _| !shared.contains(&name.as_str()));
    }
    if properties_of(&own).next().is_none() {
        text.push_str("\nNo keys of its own.\n");
        return;
    }
    table(text, &own, &[]);
}

fn heading(text: &mut String, title: &str, schema: &Json) {
    line(text, &format!("\n### {title}\n"));
    line(text, schema.get("description").and_then(Json::as_str).unwrap_or_default());
}

/// A table of all keys, nested ones with dots. `typed` names keys whose default depends on the type.
fn table(text: &mut String, schema: &Json, typed: &[&str]) {
    text.push_str("\n| key | type | default | |\n|---|---|---|---|\n");
    rows(text, schema, "", typed);
}

fn rows(text: &mut String, schema: &Json, prefix: &str, typed: &[&str]) {
    let required: Vec<&str> =
        schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    for (name, property) in properties_of(schema) {
        let key = format!("{prefix}{name}");
        let is_table = properties_of(property).next().is_some();
        let default = match property.get("default") {
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            _ if is_table => String::new(),
            _ if typed.iter().any(|typed| key.starts_with(typed)) => "by type".to_owned(),
            Some(Json::String(text)) => format!("`\"{text}\"`"),
            Some(value) => format!("`{value}`"),
            None => String::new(),
        };
        let description = property.get("description").and_then(Json::as_str).unwrap_or_default();
        let description = description.replace("\n\n", " ").replace('|', "\\|");
        let limits = limits(property);
        line(text, &format!("| `{key}` | {}{limits} | {default} | {description} |", type_words(property)));
        rows(text, property, &format!("{key}."), typed);
        if let Some(values) = property.get("additionalProperties").filter(|values| values.is_object()) {
            for branch in std::iter::once(values).chain(branches_of(values)) {
                rows(text, branch, &format!("{key}.NAME."), typed);
            }
        }
    }
}

fn type_words(schema: &Json) -> String {
    if let Some(choices) = choices_of(schema) {
        let quoted: Vec<String> = choices.iter().map(|choice| format!("`\"{choice}\"`")).collect();
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
        Some("endpoint") => return "URL".to_owned(),
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

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
