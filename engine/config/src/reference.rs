//! The reference of all keys as Markdown, from the schemas.

use serde_json::Value as Json;

use crate::catalog::{Catalog, Entry};
use crate::component::Kind;
use crate::keys::{KeyDoc, keys_of};
use crate::schema::{self, properties_of};

/// Every table and key of the configuration language, as Markdown.
pub fn reference(catalog: &Catalog) -> String {
    let mut text = String::new();
    text.push_str(INTRODUCTION);
    text.push_str(&format!("\n```toml\n{FIRST_SAMPLE}```\n"));
    let settings = schema::of_settings();
    text.push_str("\n## Settings of the process\n");
    for (name, section) in properties_of(settings) {
        heading(&mut text, &format!("`[{name}]`"), section);
        table(&mut text, &keys_of(section), &[]);
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

/// A first look; a test plans it.
const FIRST_SAMPLE: &str = include_str!("../../../config/samples/laptop.toml");

const INTRODUCTION: &str = "# Configuration reference

<!-- Generated from the option types; a test compares. Do not edit. -->

A configuration is TOML: `version = 1`, settings of the process, and components by id in `[sources.ID]`,
`[transforms.ID]` and `[sinks.ID]`. Ids match `[a-z0-9][a-z0-9_.-]*` and are unique across the three tables; an id with
dots stands in quotes. Several files are merged; no file overrides another. Unknown keys are errors.

Durations are texts such as `\"100ms\"`, `\"5s\"`, `\"1h30m\"`. Sizes are texts such as `\"64MiB\"` (B, kB, MB, GB, KiB,
MiB, GiB) or numbers of bytes.

Secrets are references, never values: `\"file:/path\"` is the content of a file, `\"directory:NAME\"` that of a file in
`secrets.directory`, `\"env:NAME\"` a variable. A line end behind the content does not count.
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
    let schema = schema::of_shared_sink_keys();
    table(text, &keys_of(schema), &["batch", "concurrency"]);
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
    let keys = entry.keys();
    if keys.is_empty() {
        text.push_str("\nNo keys of its own.\n");
        return;
    }
    table(text, &keys, &[]);
}

fn heading(text: &mut String, title: &str, schema: &Json) {
    line(text, &format!("\n### {title}\n"));
    line(text, schema.get("description").and_then(Json::as_str).unwrap_or_default());
}

/// A table of keys. `typed` names keys whose default depends on the type.
fn table(text: &mut String, keys: &[KeyDoc], typed: &[&str]) {
    text.push_str("\n| key | type | default | |\n|---|---|---|---|\n");
    for key in keys {
        let depends_on_type = typed.iter().any(|typed| key.key.starts_with(typed)) && key.value != "table";
        let default = match &key.default {
            _ if key.is_required => "required".to_owned(),
            _ if depends_on_type => "by type".to_owned(),
            Some(default) => format!("`{default}`"),
            None => String::new(),
        };
        let cell = |cell: &str| cell.replace('|', "\\|");
        line(text, &format!("| `{}` | {} | {default} | {} |", key.key, cell(&key.value), cell(&key.description)));
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
