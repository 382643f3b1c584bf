//! Manifests against the schema of their kind, as far as that can be judged without an API server: fields that do not exist,
//! and rules of the schema that are not about several fields.
//!
//! An API server drops fields that it does not know without a word; here they are mistakes, because a pipeline without the
//! field would not do what its author wants.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::crd::manifest::definitions;

/// Nearest names are told if they are at least so similar.
const SIMILAR: f64 = 0.7;

/// What is wrong with a manifest of a kind.
pub(super) fn check(kind: &str, manifest: &Value) -> Vec<String> {
    static DEFINITIONS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(definitions);
    let definition = DEFINITIONS.iter().find(|definition| definition.spec.names.kind == kind);
    let version = definition.and_then(|definition| definition.spec.versions.first());
    let schema = version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let mut problems = Vec::new();
    let Some(schema) = schema else { return problems };
    let spec = schema.properties.as_ref().and_then(|all| all.get("spec"));
    if let (Some(spec), Some(value)) = (spec, manifest.get("spec")) {
        look("spec", spec, value, &mut problems);
    }
    problems
}

fn look(path: &str, schema: &JSONSchemaProps, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let Some(known) = &schema.properties else {
                if let Some(JSONSchemaPropsOrBool::Schema(of_all)) = &schema.additional_properties {
                    fields.iter().for_each(|(key, value)| look(&format!("{path}.{key}"), of_all, value, problems));
                }
                return;
            };
            for (key, value) in fields {
                match known.get(key) {
                    Some(schema) => look(&format!("{path}.{key}"), schema, value, problems),
                    None if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
                    None => problems.push(unknown(path, key, known.keys())),
                }
            }
            for required in schema.required.iter().flatten().filter(|key| !fields.contains_key(*key)) {
                problems.push(format!("{path}.{required} is missing"));
            }
        }
        Value::Array(values) => {
            let Some(JSONSchemaPropsOrArray::Schema(of_item)) = &schema.items else { return };
            for (index, value) in values.iter().enumerate() {
                look(&format!("{path}[{index}]"), of_item, value, problems);
            }
        }
        Value::String(text) => {
            let allowed = schema.enum_.iter().flatten().filter_map(|choice| choice.0.as_str());
            let allowed: Vec<&str> = allowed.collect();
            if !allowed.is_empty() && !allowed.contains(&text.as_str()) {
                problems.push(format!("{path}: '{text}' is not known; expected one of {}", allowed.join(", ")));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn unknown<'k>(path: &str, key: &str, known: impl Iterator<Item = &'k String>) -> String {
    let nearest = known.map(|name| (strsim::jaro_winkler(key, name), name));
    let nearest = nearest.filter(|(similar, _)| *similar >= SIMILAR).max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, name)) => format!("{path}: unknown field '{key}', did you mean '{name}'?"),
        None => format!("{path}: unknown field '{key}'"),
    }
}
