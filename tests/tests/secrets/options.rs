//! The places that take secrets, as the schemas of the options tell them, against those that hold a canary.

use std::collections::BTreeSet;

use engine_config::{Catalog, Environment, Kind, Known, ParseOptions, SecretRef, SourceFile, load, schema};
use serde_json::Value as Json;

use crate::canary::CANARY;
use crate::configuration::{Addresses, Configuration};

/// `sink otlp: auth.basic.password`, with `*` for any key and `[]` for any item.
type Place = String;

/// Every place that takes a secret has one in the configuration of these tests.
#[test]
fn every_secret_has_a_canary() {
    let catalog = Catalog::builtin();
    let mut known = BTreeSet::new();
    for entry in catalog.entries() {
        let component = format!("{} {}: ", entry.kind(), entry.type_name());
        places(entry.schema(), "", &mut |path| _ = known.insert(format!("{component}{path}")));
    }
    let settings = settings(&catalog);
    for (table, schema) in &settings {
        places(schema, "", &mut |path| _ = known.insert(format!("{table}: {path}")));
    }
    let configuration = Configuration::new(Addresses::nobody());
    let document: Json = toml::from_str(&configuration.text).unwrap();
    let mut covered: BTreeSet<Place> = BTreeSet::new();
    for entry in catalog.entries() {
        let component = format!("{} {}: ", entry.kind(), entry.type_name());
        let components = document.get(entry.kind().table()).and_then(Json::as_object).into_iter().flatten();
        for (_, options) in components.filter(|(_, options)| options["type"] == entry.type_name()) {
            written(options, entry.schema(), "", &mut |path| _ = covered.insert(format!("{component}{path}")));
        }
    }
    for (table, schema) in &settings {
        let Some(values) = document.get(table) else { continue };
        written(values, schema, "", &mut |path| _ = covered.insert(format!("{table}: {path}")));
    }
    assert!(known.len() >= 13, "the schemas tell of few secrets: {known:?}");
    let missing: Vec<_> = known.difference(&covered).collect();
    assert!(missing.is_empty(), "places for secrets without a canary, add them to canary.toml: {missing:#?}");
}

/// The schemas of the settings tables, by name.
fn settings(catalog: &Catalog) -> Vec<(String, Json)> {
    let whole = schema(catalog);
    let tables = whole["properties"].as_object().unwrap().iter();
    let is_settings = |name: &str| name != "version" && Kind::ALL.iter().all(|kind| kind.table() != name);
    tables.filter(|(name, _)| is_settings(name)).map(|(name, table)| (name.clone(), table.clone())).collect()
}

/// Everything that the configuration names is there and holds a canary or a key.
#[test]
fn every_reference_leads_to_a_canary() {
    let configuration = Configuration::new(Addresses::nobody());
    let loaded = loaded(&configuration);
    let of_components = loaded.plan.nodes.iter().flat_map(|node| &node.facts.references);
    let mut targets: Vec<_> = of_components.map(|reference| &reference.target).collect();
    targets.push(&loaded.plan.settings.status.as_ref().unwrap().token);
    assert!(targets.len() >= 11);
    for target in targets {
        let content = match target {
            SecretRef::File(path) => std::fs::read_to_string(path).unwrap(),
            SecretRef::Env(name) => Configuration::variables()[name].clone(),
            SecretRef::Directory(_) => panic!("a plan resolves directories"),
        };
        let is_public = content.contains("BEGIN CERTIFICATE");
        let is_secret = content.contains(CANARY) || content.contains("PRIVATE KEY");
        assert!(is_secret || is_public, "{target:?}");
    }
}

/// A configuration that is printed for debugging says no text that may be sensitive.
#[test]
fn debug_forms_hold_no_secret() {
    let configuration = Configuration::new(Addresses::nobody());
    let loaded = loaded(&configuration);
    configuration.canary.is_not_in("the pipeline", &format!("{:?}", loaded.pipeline));
    configuration.canary.is_not_in("the plan", &format!("{:?}", loaded.plan));
    for node in &loaded.plan.nodes {
        configuration.canary.is_not_in("options", &format!("{:#?}", node.options));
    }
}

fn loaded(configuration: &Configuration) -> engine_config::Loaded {
    let files = [SourceFile::new("engine.toml", configuration.text.clone())];
    let environment = Environment::Known(Known { variables: Configuration::variables(), ..Known::default() });
    let loaded = load(&files, &Catalog::builtin(), &environment, &ParseOptions::default());
    loaded.unwrap_or_else(|problems| panic!("{problems}"))
}

/// Whether a value of this schema is secret. Keys of TLS are plain paths: what is secret is in the file.
fn is_secret(schema: &Json, path: &str) -> bool {
    let format = schema.get("format").and_then(Json::as_str);
    let is_key = format == Some("absolute-path") && path.ends_with("tls.key");
    is_key || format == Some("secret") || schema.get("x-sensitive").is_some()
}

fn branches(schema: &Json) -> impl Iterator<Item = &Json> {
    let inner = ["oneOf", "anyOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    std::iter::once(schema).chain(inner)
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Every place in values of a schema that takes a secret.
fn places(schema: &Json, path: &str, found: &mut dyn FnMut(Place)) {
    for branch in branches(schema) {
        if is_secret(branch, path) {
            found(path.to_owned());
        }
        for (key, property) in branch.get("properties").and_then(Json::as_object).into_iter().flatten() {
            places(property, &joined(path, key), found);
        }
        if let Some(others) = branch.get("additionalProperties").filter(|others| others.is_object()) {
            places(others, &joined(path, "*"), found);
        }
        if let Some(items) = branch.get("items") {
            places(items, &format!("{path}[]"), found);
        }
    }
}

/// Every place that takes a secret and is written in a value.
fn written(value: &Json, schema: &Json, path: &str, found: &mut dyn FnMut(Place)) {
    for branch in branches(schema) {
        match value {
            Json::String(_) if is_secret(branch, path) => found(path.to_owned()),
            Json::Object(table) => {
                for (key, inner) in table {
                    if let Some(property) = branch.get("properties").and_then(|properties| properties.get(key)) {
                        written(inner, property, &joined(path, key), found);
                    } else if let Some(others) = branch.get("additionalProperties").filter(|others| others.is_object())
                    {
                        written(inner, others, &joined(path, "*"), found);
                    }
                }
            }
            Json::Array(items) => {
                for item in items {
                    if let Some(of_items) = branch.get("items") {
                        written(item, of_items, &format!("{path}[]"), found);
                    }
                }
            }
            _ => {}
        }
    }
}
