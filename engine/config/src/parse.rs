//! From TOML files to a typed pipeline.
//!
//! Reports everything that is wrong in all files at once; a component with an error is left out and the others are read.
//! Files are merged and never override each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::SourceFile;
use crate::catalog::{Catalog, Entry as CatalogEntry, is_shared_key};
use crate::check::{Check, did_you_mean};
use crate::component::Kind;
use crate::document::{At, Entry, Files, Finding, Node, Report, Value, expand, read};
use crate::environment::Environment;
use crate::id::{ComponentId, InputRef};
use crate::pipeline::{BrokenComponent, BrokenComponents, Component, Origin, Pipeline};
use crate::plan::{Plan, plan_known};
use crate::problem::{Code, Problems};
use crate::schema::{self, VERSION};
use crate::settings::Settings;
use crate::validate::validate;

/// How files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// Replace `${NAME}` and `${NAME:-default}` in string values by environment variables. Off by default: whoever may
    /// write a configuration could otherwise send the variables of the process to a backend.
    pub expand_environment: bool,
}

/// A configuration that can run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// As written.
    pub pipeline: Pipeline,
    /// What would run, with its warnings.
    pub plan: Plan,
}

/// What could be read, the ids of what could not, and why.
struct Parsed {
    pipeline: Pipeline,
    broken: BrokenComponents,
    problems: Problems,
}

/// Settings tables and components of all files, with their places.
#[derive(Default)]
struct Merged {
    sections: BTreeMap<String, Origin>,
    components: Vec<(Kind, Entry)>,
}

/// Reads files into a pipeline. Components are checked one key at a time; [`validate`] and [`crate::plan()`] do the rest.
///
/// # Errors
///
/// Everything that is wrong, each with its place and what to write instead.
pub fn parse(
    files: &[SourceFile],
    catalog: &Catalog,
    environment: &Environment,
    options: &ParseOptions,
) -> Result<Pipeline, Problems> {
    let parsed = parse_all(files, catalog, environment, options);
    if parsed.problems.has_errors() { Err(parsed.problems) } else { Ok(parsed.pipeline) }
}

/// Parses, validates and plans, and reports what is wrong in all three steps at once.
///
/// # Errors
///
/// Everything that is wrong, warnings included.
pub fn load(
    files: &[SourceFile],
    catalog: &Catalog,
    environment: &Environment,
    options: &ParseOptions,
) -> Result<Loaded, Problems> {
    let Parsed { pipeline, broken, mut problems } = parse_all(files, catalog, environment, options);
    if !problems.has_errors() {
        return match crate::plan::plan(&pipeline, catalog, environment) {
            Ok(mut plan) => {
                plan.warnings.extend(problems);
                Ok(Loaded { pipeline, plan })
            }
            Err(found) => {
                problems.extend(found);
                Err(problems)
            }
        };
    }
    // After a slip of syntax whole tables may be missing: what is said about connections would be noise.
    let is_whole = problems.errors().all(|problem| problem.code != Code::Syntax);
    problems.extend(validate(&pipeline, environment));
    if is_whole {
        problems.extend(plan_known(&pipeline, &broken));
    }
    Err(problems)
}

fn parse_all(files: &[SourceFile], catalog: &Catalog, environment: &Environment, options: &ParseOptions) -> Parsed {
    let known_files = Arc::new(Files::new(files));
    let mut report = Report::new(&known_files);
    let mut merged = Merged::default();
    for (index, file) in files.iter().enumerate() {
        let mut document = read(index, &file.text, &mut report);
        if options.expand_environment {
            expand(&mut document, environment, &mut report);
        }
        merge(document, &mut merged, &mut report);
    }
    let settings = read_settings(&merged.sections, &mut report);
    let mut pipeline = Pipeline::new(settings);
    let mut broken = BrokenComponents::new();
    let mut taken: BTreeMap<ComponentId, (Kind, At)> = BTreeMap::new();
    for (kind, entry) in merged.components {
        let Some(id) = read_id(kind, &entry, &mut report) else { continue };
        let label = format!("{}.{id}", kind.table());
        if let Some((first_kind, first_at)) = taken.get(&id) {
            let first = format!("{}.{id} at {}", first_kind.table(), report.place(*first_at));
            let finding = Finding::error(Code::Duplicate, format!("the id `{id}` is taken by {first}"));
            report.add(entry.key_at, Some(&label), finding.help("give one of them another id"));
            continue;
        }
        taken.insert(id.clone(), (kind, entry.key_at));
        match read_component(kind, &label, &entry, catalog, &mut report) {
            Some(component) => {
                let inserted = pipeline.insert(id, component);
                debug_assert!(inserted.is_ok(), "a taken id was reported above");
            }
            None => {
                let inputs = well_formed_inputs(&entry);
                broken.insert(id, BrokenComponent { kind, inputs });
            }
        }
    }
    let problems = report.finish();
    pipeline.files = Arc::clone(&known_files);
    pipeline.settings_origin = merged.sections;
    Parsed { pipeline, broken, problems }
}

/// Takes one file's tables over into the whole.
fn merge(document: Node, merged: &mut Merged, report: &mut Report<'_>) {
    let file = document.at.file;
    let Value::Table(entries) = document.value else { return };
    let has_version = entries.iter().any(|entry| entry.key == "version");
    if !has_version {
        let finding = Finding::error(Code::Version, "`version` is missing");
        report.add(At::new(file, 0..0), None, finding.help("write `version = 1` in the first line"));
    }
    for entry in entries {
        let kind = Kind::ALL.into_iter().find(|kind| kind.table() == entry.key);
        match (entry.key.as_str(), kind) {
            ("version", _) => check_version(&entry, report),
            (_, Some(kind)) => {
                let place = entry.node.at;
                let Value::Table(components) = entry.node.value else {
                    let finding = Finding::error(Code::WrongType, format!("`{}` is not a table", entry.key));
                    report.add(place, None, finding.expected(format!("tables `[{}.ID]`", entry.key)));
                    continue;
                };
                merged.components.extend(components.into_iter().map(|component| (kind, component)));
            }
            (name, None) if Settings::TABLES.contains(&name) => merge_section(entry, merged, report),
            (name, None) => {
                let tables = Kind::ALL.map(Kind::table).into_iter().chain(Settings::TABLES);
                let help = did_you_mean(name, std::iter::once("version").chain(tables.clone()));
                let quoted: Vec<String> = tables.map(|table| format!("`{table}`")).collect();
                let all = format!("known tables are {}", quoted.join(", "));
                let finding = Finding::error(Code::UnknownKey, format!("unknown key `{name}`"));
                report.add(entry.key_at, None, finding.help(all).maybe_help(help));
            }
        }
    }
}

fn check_version(entry: &Entry, report: &mut Report<'_>) {
    if entry.node.value == Value::Integer(VERSION) {
        return;
    }
    let finding = Finding::error(Code::Version, "this program does not read this `version`");
    report.add(entry.node.at, None, finding.expected(format!("the integer {VERSION}")));
}

fn merge_section(entry: Entry, merged: &mut Merged, report: &mut Report<'_>) {
    let Some(section) = merged.sections.get_mut(&entry.key) else {
        merged.sections.insert(entry.key, Origin { key_at: entry.key_at, node: entry.node.clone() });
        return;
    };
    let (Value::Table(known), Value::Table(added)) = (&mut section.node.value, entry.node.value) else {
        let finding = Finding::error(Code::Duplicate, format!("`{}` stands in another file already", entry.key));
        report.add(entry.key_at, None, finding.help("keep one of them"));
        return;
    };
    for setting in added {
        if known.iter().any(|other| other.key == setting.key) {
            let message = format!("`{}` is set in another file already", setting.key);
            let finding = Finding::error(Code::Duplicate, message).help("keep one of them");
            report.add(setting.key_at, Some(&entry.key), finding);
            continue;
        }
        known.push(setting);
    }
}

fn read_settings(sections: &BTreeMap<String, Origin>, report: &mut Report<'_>) -> Settings {
    let schema = schema::of_settings();
    let mut json = Map::new();
    for (name, origin) in sections {
        let errors_before = report.error_count();
        let section = &schema["properties"][name];
        let value = Check::new(report, Some(name.clone())).value(&origin.node, section, origin.key_at);
        if report.error_count() == errors_before {
            json.insert(name.clone(), value);
        }
    }
    serde_json::from_value(Json::Object(json)).unwrap_or_else(|error| {
        let finding = Finding::error(Code::InvalidValue, format!("the settings cannot be read: {error}"));
        report.add(At::NOWHERE, None, finding);
        Settings::default()
    })
}

fn read_id(kind: Kind, entry: &Entry, report: &mut Report<'_>) -> Option<ComponentId> {
    match ComponentId::new(&entry.key) {
        Ok(id) => Some(id),
        Err(error) => {
            let finding = Finding::error(Code::InvalidId, format!("`{}` is not an id: {error}", entry.key));
            let expected = "a letter or digit, then letters, digits and `_.-`, all lower-case";
            report.add(entry.key_at, Some(&format!("{}.{}", kind.table(), entry.key)), finding.expected(expected));
            None
        }
    }
}

fn read_component(
    kind: Kind,
    label: &str,
    entry: &Entry,
    catalog: &Catalog,
    report: &mut Report<'_>,
) -> Option<Component> {
    let catalog_entry = find_type(kind, label, entry, catalog, report)?;
    let errors_before = report.error_count();
    let json = Check::new(report, Some(label.to_owned())).value(&entry.node, catalog_entry.schema(), entry.key_at);
    if report.error_count() > errors_before {
        return None;
    }
    match build_component(kind, catalog_entry, json) {
        Ok(component) => {
            Some(Component { origin: Some(Origin { key_at: entry.key_at, node: entry.node.clone() }), ..component })
        }
        Err(error) => {
            // The schema admits what serde refuses: still an error at the right component.
            let finding = Finding::error(Code::InvalidValue, format!("the options cannot be read: {error}"));
            report.add(entry.key_at, Some(label), finding);
            None
        }
    }
}

/// The inputs of a component of which something else is wrong.
fn well_formed_inputs(entry: &Entry) -> Vec<(InputRef, At)> {
    let Some(Value::List(items)) = entry.node.entry("inputs").map(|inputs| &inputs.node.value) else {
        return Vec::new();
    };
    let input = |item: &Node| match &item.value {
        Value::Text(text) => Some((InputRef::new(text).ok()?, item.at)),
        _ => None,
    };
    items.iter().filter_map(input).collect()
}

/// Finds the option module that `type` names.
fn find_type<'c>(
    kind: Kind,
    label: &str,
    entry: &Entry,
    catalog: &'c Catalog,
    report: &mut Report<'_>,
) -> Option<&'c CatalogEntry> {
    let names = catalog.names(kind);
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let expected = format!("one of {}", quoted.join(", "));
    if !matches!(entry.node.value, Value::Table(_)) {
        let finding = Finding::error(Code::WrongType, "this is not a table").expected(format!("`[{label}]`"));
        report.add(entry.node.at, Some(label), finding.help("a component is a table with a `type`"));
        return None;
    }
    let Some(type_entry) = entry.node.entry("type") else {
        let finding = Finding::error(Code::MissingKey, "`type` is missing").expected(expected);
        report.add(entry.key_at, Some(label), finding.maybe_help(unquoted_id_help(kind, entry)));
        return None;
    };
    let Value::Text(type_name) = &type_entry.node.value else {
        let finding = Finding::error(Code::WrongType, "`type` is not a string").expected(expected);
        report.add(type_entry.node.at, Some(label), finding);
        return None;
    };
    if let Some(found) = catalog.get(kind, type_name) {
        return Some(found);
    }
    let elsewhere: Vec<&str> =
        Kind::ALL.into_iter().filter(|other| catalog.get(*other, type_name).is_some()).map(Kind::as_str).collect();
    let help = match elsewhere.as_slice() {
        [] => did_you_mean(type_name, names.into_iter()),
        kinds => Some(format!("`{type_name}` is a {}", kinds.join(" and a "))),
    };
    let finding = Finding::error(Code::UnknownType, format!("there is no {kind} `{type_name}`")).expected(expected);
    report.add(type_entry.node.at, Some(label), finding.maybe_help(help));
    None
}

/// `[sinks.my.backend]` is a table in a table: the id lacks its quotes.
fn unquoted_id_help(kind: Kind, entry: &Entry) -> Option<String> {
    let inner = entry.node.entries().iter().find(|inner| inner.node.entry("type").is_some())?;
    Some(format!("put an id with dots in quotes: `[{}.\"{}.{}\"]`", kind.table(), entry.key, inner.key))
}

/// Splits a component's keys into those of its kind and those of its type.
fn build_component(kind: Kind, entry: &CatalogEntry, json: Json) -> Result<Component, serde_json::Error> {
    let (mut shared, mut options, mut sink) = (Map::new(), Map::new(), Map::new());
    let Json::Object(keys) = json else { return Err(serde::de::Error::custom("not a table")) };
    for (name, value) in keys {
        let target = match name.as_str() {
            "type" | "inputs" | "signals" => &mut shared,
            _ if is_shared_key(kind, &name) => &mut sink,
            _ => &mut options,
        };
        target.insert(name, value);
    }
    let inputs = shared.shift_remove("inputs").map(serde_json::from_value).transpose()?;
    let signals = shared.shift_remove("signals").map(serde_json::from_value).transpose()?;
    Ok(Component {
        options: entry.read(Json::Object(options))?,
        inputs: inputs.unwrap_or_default(),
        signals,
        sink: serde_json::from_value(Json::Object(sink))?,
        origin: None,
    })
}
