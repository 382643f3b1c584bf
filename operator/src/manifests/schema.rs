//! Manifests against the schema of their kind, as an API server judges them that has no older version of the object. What the
//! schema says of single values is here, what it says of several together in `rules`.
//!
//! An API server drops fields that it does not know without a word; here they are mistakes, because a pipeline without the
//! field would not do what its author wants.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Number, Value};

use super::rules;
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
    let Some(spec) = schema.and_then(|schema| schema.properties.as_ref()?.get("spec")) else { return problems };
    // An API server takes a manifest without a spec for one with an empty one, unless the kind needs it.
    let mut value = manifest.get("spec").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    complete(spec, &mut value);
    look("spec", spec, &value, &mut problems);
    problems
}

/// Fills in the defaults of the schema, which rules see as if they had been written.
fn complete(schema: &JSONSchemaProps, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, schema) in schema.properties.iter().flatten() {
                if let (Some(default), None | Some(Value::Null)) = (&schema.default, fields.get(key)) {
                    fields.insert(key.clone(), default.0.clone());
                }
                if let Some(value) = fields.get_mut(key) {
                    complete(schema, value);
                }
            }
            if let Some(JSONSchemaPropsOrBool::Schema(of_all)) = &schema.additional_properties {
                fields.values_mut().for_each(|value| complete(of_all, value));
            }
        }
        Value::Array(values) => {
            if let Some(JSONSchemaPropsOrArray::Schema(of_item)) = &schema.items {
                values.iter_mut().for_each(|value| complete(of_item, value));
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn look(path: &str, schema: &JSONSchemaProps, value: &Value, problems: &mut Vec<String>) {
    if let Some(problem) = wrong_type(schema, value) {
        problems.push(format!("{path}: {problem}"));
        return;
    }
    let before = problems.len();
    match value {
        Value::Object(fields) => fields_of(path, schema, fields, problems),
        Value::Array(values) => items_of(path, schema, values, problems),
        Value::String(text) => problems.extend(wrong_text(schema, text).map(|problem| format!("{path}: {problem}"))),
        Value::Number(number) => {
            problems.extend(wrong_number(schema, number).map(|problem| format!("{path}: {problem}")));
        }
        Value::Null | Value::Bool(_) => {}
    }
    // A rule takes for granted what the rest of the schema says.
    if problems.len() == before {
        problems.extend(rules::broken(schema, value).into_iter().map(|problem| format!("{path}: {problem}")));
    }
}

fn fields_of(path: &str, schema: &JSONSchemaProps, fields: &Map<String, Value>, problems: &mut Vec<String>) {
    let below = |key: &str| format!("{path}.{key}");
    for required in schema.required.iter().flatten().filter(|key| !fields.contains_key(*key)) {
        problems.push(format!("{} is missing", below(required)));
    }
    let Some(known) = &schema.properties else {
        if let Some(JSONSchemaPropsOrBool::Schema(of_all)) = &schema.additional_properties {
            fields.iter().for_each(|(key, value)| look(&below(key), of_all, value, problems));
        }
        return;
    };
    for (key, value) in fields {
        match known.get(key) {
            Some(schema) => look(&below(key), schema, value, problems),
            None if schema.x_kubernetes_preserve_unknown_fields == Some(true) => {}
            None => problems.push(unknown(path, key, known.keys())),
        }
    }
}

fn items_of(path: &str, schema: &JSONSchemaProps, values: &[Value], problems: &mut Vec<String>) {
    let count = i64::try_from(values.len()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_items.filter(|most| count > *most) {
        problems.push(format!("{path}: {count} entries are too many; expected at most {most}"));
    }
    if let Some(least) = schema.min_items.filter(|least| count < *least) {
        problems.push(format!("{path}: {count} entries are too few; expected at least {least}"));
    }
    // What tells the entries of a list: some of their fields, or all of a value.
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let is_told = matches!(schema.x_kubernetes_list_type.as_deref(), Some("set" | "map"));
    let identity = |value: &Value| match keys {
        [] => value.clone(),
        keys => keys.iter().map(|key| value.get(key).cloned().unwrap_or_default()).collect(),
    };
    for (index, value) in values.iter().enumerate() {
        if is_told && values[..index].iter().any(|earlier| identity(earlier) == identity(value)) {
            problems.push(format!("{path}[{index}]: is there twice"));
        }
        if let Some(JSONSchemaPropsOrArray::Schema(of_item)) = &schema.items {
            look(&format!("{path}[{index}]"), of_item, value, problems);
        }
    }
}

fn wrong_type(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let found = match value {
        Value::Null if schema.nullable == Some(true) => return None,
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let expected = match schema.type_.as_deref() {
        None if schema.x_kubernetes_int_or_string == Some(true) => "integer or string",
        None => return None,
        Some(expected) => expected,
    };
    let is_right =
        expected.split(" or ").any(|expected| expected == found) || (expected, found) == ("number", "integer");
    (!is_right).then(|| format!("found a value of type {found}; expected {expected}"))
}

fn wrong_text(schema: &JSONSchemaProps, text: &str) -> Option<String> {
    let allowed: Vec<&str> = schema.enum_.iter().flatten().filter_map(|choice| choice.0.as_str()).collect();
    if !allowed.is_empty() && !allowed.contains(&text) {
        return Some(format!("'{text}' is not known; expected one of {}", allowed.join(", ")));
    }
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        return Some(format!("{length} characters are too many; expected at most {most}"));
    }
    if let Some(least) = schema.min_length.filter(|least| length < *least) {
        return Some(format!("{length} characters are too few; expected at least {least}"));
    }
    let pattern = schema.pattern.as_deref()?;
    let is_right = Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text));
    (!is_right).then(|| format!("'{text}' does not look as it should; expected {pattern}"))
}

fn wrong_number(schema: &JSONSchemaProps, number: &Number) -> Option<String> {
    let number = number.as_f64()?;
    if let Some(most) = schema.maximum.filter(|most| number > *most) {
        return Some(format!("{number} is too large; expected at most {most}"));
    }
    let least = schema.minimum.filter(|least| number < *least)?;
    Some(format!("{number} is too small; expected at least {least}"))
}

fn unknown<'k>(path: &str, key: &str, known: impl Iterator<Item = &'k String>) -> String {
    let nearest = known.map(|name| (strsim::jaro_winkler(key, name), name));
    let nearest = nearest.filter(|(similar, _)| *similar >= SIMILAR).max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((_, name)) => format!("{path}: unknown field '{key}', did you mean '{name}'?"),
        None => format!("{path}: unknown field '{key}'"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    /// Rules about several fields are judged with the defaults of the schema, and say where they are broken.
    #[test]
    fn rules_are_judged() {
        let endpoint = json!({ "value": "otlp.example.com:4317" });
        let pipeline = |more: Value| {
            let mut otlp = json!({ "endpoint": endpoint });
            otlp.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            check("TracePipeline", &json!({ "spec": { "output": { "otlp": otlp } } }))
        };
        assert_eq!(pipeline(json!({})), [""; 0]);
        assert_eq!(pipeline(json!({ "protocol": "http", "path": "/v1/traces" })), [""; 0]);
        // The protocol is grpc, because nothing else is said.
        let problems = pipeline(json!({ "path": "/v1/traces" }));
        assert_eq!(problems, ["spec.output.otlp: Path is only available with HTTP protocol"]);
        let both =
            json!({ "value": "a", "valueFrom": { "secretKeyRef": { "name": "a", "namespace": "b", "key": "c" } } });
        let problems = pipeline(json!({ "tls": { "ca": both } }));
        assert_eq!(problems, ["spec.output.otlp.tls.ca: Only one of 'value' or 'valueFrom' can be set"]);
    }

    /// What is said of single values is where the value is, and says no value that can be secret.
    #[test]
    fn values_are_judged() {
        let telemetry = |gateway: Value| check("Telemetry", &json!({ "spec": { "trace": { "gateway": gateway } } }));
        let problems = telemetry(json!({ "scaling": { "static": { "replicas": 0 } } }));
        assert_eq!(problems, ["spec.trace.gateway.scaling.static.replicas: 0 is too small; expected at least 1"]);
        let problems = telemetry(json!({ "clients": { "namespaces": ["shop", "shop"] } }));
        assert_eq!(problems, ["spec.trace.gateway.clients.namespaces[1]: is there twice"]);
        let problems = telemetry(json!({ "egress": "Backend" }));
        assert_eq!(problems, ["spec.trace.gateway.egress: 'Backend' is not known; expected one of Anywhere, Backends"]);
        let limits = json!({ "requests": { "memory": "1Gi" }, "limits": { "memory": "512Mi" } });
        assert_eq!(
            telemetry(json!({ "resources": limits })),
            ["spec.trace.gateway.resources: 'requests.memory' must not be greater than 'limits.memory'"]
        );
    }
}
