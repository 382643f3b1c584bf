//! From a pipeline back to TOML: for the operator, which writes configurations, and for people, who read them.
//!
//! Components stand in the order of their ids and keys in that of their documentation, so equal pipelines give equal
//! bytes.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::catalog::Catalog;
use crate::component::Kind;
use crate::pipeline::{Component, Pipeline};
use crate::schema::{self, VERSION, properties_of};
use crate::secret::REDACTED;

impl Pipeline {
    /// The configuration file of this pipeline, without keys that have their default. Reads back as an equal pipeline.
    pub fn to_toml(&self, catalog: &Catalog) -> String {
        self.render(catalog, &mut |json, schema| *json = without_defaults(json, schema))
    }

    /// The configuration with its defaults, except for those that depend on the machine or on other keys, for printing.
    /// Header values and other sensitive texts are replaced; references to secrets stay, because they hold none.
    pub fn to_toml_redacted(&self, catalog: &Catalog) -> String {
        self.render(catalog, &mut redact)
    }

    fn render(&self, catalog: &Catalog, edit: &mut dyn FnMut(&mut Json, &Json)) -> String {
        let mut document = Map::new();
        document.insert("version".to_owned(), VERSION.into());
        let mut settings = serde_json::to_value(&self.settings).expect("settings are plain values");
        edit(&mut settings, schema::of_settings());
        if let Json::Object(sections) = settings {
            document.extend(sections.into_iter().filter(|(_, section)| !is_empty(section)));
        }
        for kind in Kind::ALL {
            let mut table = Map::new();
            let mut schemas = BTreeMap::new();
            for (id, component) in self.of_kind(kind) {
                let mut json = component_json(component);
                remove_null(&mut json);
                if let Some(entry) = catalog.get(kind, component.type_name()) {
                    let own = || with_own_defaults(kind, entry.schema(), schema::of_shared_sink_keys());
                    edit(&mut json, schemas.entry(component.type_name()).or_insert_with(own));
                }
                table.insert(id.to_string(), json);
            }
            if !table.is_empty() {
                document.insert(kind.table().to_owned(), Json::Object(table));
            }
        }
        toml::to_string_pretty(&Json::Object(document)).expect("a document of tables and scalars is TOML")
    }
}

/// All keys of a component in one object: `type`, `inputs`, `signals`, its own, those of sinks.
fn component_json(component: &Component) -> Json {
    let mut json = Map::new();
    json.insert("type".to_owned(), component.type_name().into());
    if component.kind() != Kind::Source {
        let inputs: Vec<&str> = component.inputs.iter().map(|input| input.as_str()).collect();
        json.insert("inputs".to_owned(), inputs.into());
    }
    if let Some(signals) = component.signals {
        json.insert("signals".to_owned(), serde_json::to_value(signals).expect("a list of names"));
    }
    if let Json::Object(options) = component.options.to_json() {
        json.extend(options);
    }
    if component.kind() == Kind::Sink
        && let Json::Object(keys) = serde_json::to_value(&component.sink).expect("sink keys are plain values")
    {
        json.extend(keys.into_iter().filter(|(_, value)| !is_empty(value)));
    }
    Json::Object(json)
}

/// The schema of a component with the defaults of its types only. What a sink type does when a key is absent can depend
/// on other keys: there, absent and written are not the same.
fn with_own_defaults(kind: Kind, schema: &Json, sink_keys: &Json) -> Json {
    let mut own = schema.clone();
    if kind == Kind::Sink {
        for (name, property) in properties_of(sink_keys) {
            own["properties"][name] = property.clone();
        }
    }
    own
}

/// A copy without the properties that have their default.
fn without_defaults(json: &Json, schema: &Json) -> Json {
    let Json::Object(object) = json else { return json.clone() };
    let mut kept = Map::new();
    for (name, value) in object {
        let property = properties_of(schema).find(|(key, _)| *key == name).map(|(_, property)| property);
        let Some(property) = property else {
            kept.insert(name.clone(), value.clone());
            continue;
        };
        let has_default = property.get("default");
        if has_default == Some(value) {
            continue;
        }
        let value = without_defaults(value, property);
        // A table of which nothing is left says only its defaults, unless its presence says something.
        if is_empty(&value) && has_default.is_some() {
            continue;
        }
        kept.insert(name.clone(), value);
    }
    Json::Object(kept)
}

/// TOML has no null. Numbers that JSON cannot hold become null; the checks refuse them.
fn remove_null(json: &mut Json) {
    match json {
        Json::Object(object) => {
            object.retain(|_, value| !value.is_null());
            object.values_mut().for_each(remove_null);
        }
        Json::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(remove_null);
        }
        _ => {}
    }
}

fn redact(json: &mut Json, schema: &Json) {
    schema::visit(json, schema, &mut |value, schema| {
        if schema.get("x-sensitive").is_some() && value.is_string() {
            *value = REDACTED.into();
        }
    });
}

fn is_empty(json: &Json) -> bool {
    json.as_object().is_some_and(Map::is_empty)
}
