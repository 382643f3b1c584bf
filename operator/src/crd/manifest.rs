//! The types as CustomResourceDefinitions: what `config/crd` holds.
//!
//! What `kube` derives is right but for habits that an API server would take differently: `null` is not a value here (where
//! there is a default it means that, elsewhere it is refused), and numbers have the formats of Kubernetes. What is common to
//! all definitions, labels and the optional `spec` of Telemetry, is added. Not here: anything that a type can say.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{LogPipeline, MetricPipeline, Telemetry, TracePipeline};

/// Labels of all definitions.
const LABELS: [(&str, &str); 3] = [
    ("app.kubernetes.io/name", "telemetry-manager"),
    ("app.kubernetes.io/part-of", "telemetry"),
    ("kyma-project.io/module", "telemetry"),
];

/// The definitions of all kinds, in the order of their names.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut telemetry = value(&Telemetry::crd());
    let root = &mut telemetry["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    root["properties"]["spec"]["default"] = json!({});
    if let Some(root) = root.as_object_mut() {
        root.remove("required");
    }
    let kinds = [value(&LogPipeline::crd()), value(&MetricPipeline::crd()), telemetry, value(&TracePipeline::crd())];
    kinds.into_iter().map(finish).collect()
}

/// What a file of `config/crd` is named, and what is in it.
///
/// # Errors
/// When the definition cannot be written as YAML, which no definition of [`definitions`] does.
pub fn file(definition: &CustomResourceDefinition) -> Result<(String, String), serde_saphyr::ser::Error> {
    let name = definition.metadata.name.clone().unwrap_or_default();
    Ok((format!("{name}.yaml"), serde_saphyr::to_string(definition)?))
}

fn value(definition: &CustomResourceDefinition) -> Value {
    serde_json::to_value(definition).expect("a definition is JSON")
}

fn finish(mut definition: Value) -> CustomResourceDefinition {
    let labels = LABELS.into_iter().map(|(key, value)| (key.to_owned(), value.into()));
    definition["metadata"]["labels"] = Value::Object(labels.collect());
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    without_null(schema);
    serde_json::from_value(definition).expect("it was a definition before")
}

/// Makes a schema, and those in it, one of values that are not null.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(without_null),
        Value::Object(schema) => {
            schema.remove("nullable");
            plain_format(schema);
            one_paragraph(schema);
            if let Some(Value::Array(choices)) = schema.get_mut("enum") {
                choices.retain(|choice| !choice.is_null());
            }
            for (key, inner) in schema {
                // What stands in a default or a rule is no schema.
                if key != "default" && key != "x-kubernetes-validations" && key != "enum" {
                    without_null(inner);
                }
            }
        }
        _ => {}
    }
}

/// A description is broken where the reader's window ends, not where the source's lines do.
fn one_paragraph(schema: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let paragraphs: Vec<String> = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
        *description = paragraphs.join("\n\n");
    }
}

/// Kubernetes knows numbers with a sign only; that they are not negative stands beside the format.
fn plain_format(schema: &mut Map<String, Value>) {
    let plain = match schema.get("format").and_then(Value::as_str) {
        // What has 32 bits without a sign needs 64 with one.
        Some("uint32" | "uint64") => "int64",
        _ => return,
    };
    schema.insert("format".to_owned(), plain.into());
}

#[cfg(test)]
mod tests;
