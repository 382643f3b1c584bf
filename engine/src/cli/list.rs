//! `list`: the components of this binary; with a name, everything that can be said about one.

use engine_config::{Catalog, Entry, KeyDoc, Kind};

use super::arguments::{ListArguments, ReportFormat};
use super::streams::Streams;
use super::{Failure, OK, REFUSED};

/// Columns of a description.
const WIDTH: usize = 100;

pub(super) fn list(arguments: &ListArguments, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let catalog = Catalog::builtin();
    let wanted = |entry: &&Entry| arguments.name.as_deref().is_none_or(|name| name == entry.type_name());
    let entries: Vec<&Entry> = catalog.entries().filter(wanted).collect();
    if let (true, Some(name)) = (entries.is_empty(), &arguments.name) {
        writeln!(streams.stderr, "error: there is no component `{name}`; `list` without a name shows all")?;
        return Ok(REFUSED);
    }
    let text = match (arguments.format, &arguments.name) {
        (ReportFormat::Json, _) => format!("{:#}\n", json(&entries)),
        (ReportFormat::Text, None) => table(&entries),
        (ReportFormat::Text, Some(_)) => entries.into_iter().map(description).collect::<Vec<_>>().join("\n"),
    };
    write!(streams.stdout, "{text}")?;
    Ok(OK)
}

fn json(entries: &[&Entry]) -> serde_json::Value {
    let component = |entry: &&Entry| {
        serde_json::json!({
            "kind": entry.kind(),
            "type": entry.type_name(),
            "stability": entry.stability(),
            "summary": entry.summary(),
            "schema": entry.schema(),
        })
    };
    entries.iter().map(component).collect()
}

fn table(entries: &[&Entry]) -> String {
    let width = entries.iter().map(|entry| entry.type_name().len()).max().unwrap_or_default();
    let line = |entry: &&Entry| {
        let (kind, stability) = (entry.kind().as_str(), entry.stability().as_str());
        format!("{kind:<10}{:<width$}  {stability:<13}{}\n", entry.type_name(), entry.summary())
    };
    entries.iter().map(line).collect()
}

fn description(entry: &Entry) -> String {
    let mut text = format!("{} {} ({})\n\n", entry.kind(), entry.type_name(), entry.stability().as_str());
    for paragraph in entry.description().split("\n\n") {
        text.push_str(&wrapped(paragraph, ""));
        text.push('\n');
    }
    let keys = entry.keys();
    for key in &keys {
        text.push_str(&option(key));
    }
    text.push_str(match (entry.kind(), keys.is_empty()) {
        (Kind::Source, _) => "Every source also takes: signals\n",
        (Kind::Transform, _) => "Every transform also takes: inputs, signals\n",
        (Kind::Sink, _) => {
            "Every sink also takes: inputs, signals, pipeline, acknowledge, buffer, batch, retry, concurrency, \
             may_lose_on_crash\n"
        }
    });
    text
}

fn option(key: &KeyDoc) -> String {
    let default = match (&key.default, key.is_required) {
        (_, true) => ", required".to_owned(),
        (Some(default), false) => format!(", default {default}"),
        (None, false) => String::new(),
    };
    format!("{} ({}{default})\n{}\n", key.key, key.value, wrapped(&key.description, "    "))
}

/// Lines of at most [`WIDTH`] columns, each with a prefix.
fn wrapped(paragraph: &str, prefix: &str) -> String {
    let mut text = String::new();
    let mut line = prefix.to_owned();
    for word in paragraph.split_whitespace() {
        if line.len() > prefix.len() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.truncate(prefix.len());
        }
        if line.len() > prefix.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
    text
}
