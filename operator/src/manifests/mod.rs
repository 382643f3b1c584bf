//! Manifests in files: YAML or JSON, several in one file.

mod rules;
mod schema;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::collect::SecretName;
use crate::crd::{LogPipeline, MetricPipeline, Telemetry, TracePipeline};
use crate::input::{Input, SecretView, is_of_the_cluster};
use crate::validate::name;

/// A value as YAML.
pub fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("# {error}\n"))
}

/// One manifest and where it stands.
pub struct Document {
    /// File and number of the document in it.
    place: String,
    value: Value,
}

impl Document {
    /// The manifest as it was written.
    pub fn into_value(self) -> Value {
        self.value
    }
}

/// Reads files, directories and standard input, in the order of their names.
///
/// # Errors
/// When a file cannot be read or is not YAML.
pub fn read(paths: &[PathBuf]) -> std::io::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            documents.extend(split("standard input", &text)?);
            continue;
        }
        for file in files_of(path)? {
            let text = std::fs::read_to_string(&file).map_err(|error| named(&file, &error))?;
            documents.extend(split(&file.display().to_string(), &text)?);
        }
    }
    Ok(documents)
}

/// A directory stands for the manifests in it.
fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| named(path, &error))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known)) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn named(path: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}

fn split(name: &str, text: &str) -> std::io::Result<Vec<Document>> {
    let invalid = |error: serde_saphyr::Error| {
        std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{name} is not YAML: {error}"))
    };
    let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(invalid)?;
    let flat = values.into_iter().flat_map(items).filter(|value| !value.is_null());
    let placed =
        flat.enumerate().map(|(index, value)| Document { place: format!("{name}, document {}", index + 1), value });
    Ok(placed.collect())
}

/// The objects of a list, as `kubectl get -o yaml` writes it.
fn items(mut value: Value) -> Vec<Value> {
    let is_list = value.get("kind").and_then(Value::as_str) == Some("List");
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => items,
        _ => vec![value],
    }
}

/// Adds a manifest to an input, if it is of a kind that plans are made of and an API server would take it. Says what is wrong
/// with it.
pub fn add(document: Document, input: &mut Input) -> Vec<String> {
    let kind = served(&document.value).unwrap_or_default();
    let problems = judge(kind, &document.value);
    if problems.is_empty() {
        return insert(document, input);
    }
    problems.into_iter().map(|problem| format!("{}: {kind}: {problem}", document.place)).collect()
}

/// The same of an object that is there already, whatever an API server says to a new one: rules may be younger than it is.
pub fn insert(document: Document, input: &mut Input) -> Vec<String> {
    let Document { place, value } = document;
    let is_served = served(&value).is_some();
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let group = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    let result = match (group.as_str(), kind.as_str()) {
        ("telemetry.kyma-project.io/v1beta1", "LogPipeline") => {
            typed::<LogPipeline>(value).map(|found| input.logs.push(found))
        }
        ("telemetry.kyma-project.io/v1beta1", "MetricPipeline") => {
            typed::<MetricPipeline>(value).map(|found| input.metrics.push(found))
        }
        ("telemetry.kyma-project.io/v1beta1", "TracePipeline") => {
            typed::<TracePipeline>(value).map(|found| input.traces.push(found))
        }
        ("operator.kyma-project.io/v1beta1", "Telemetry") => {
            typed::<Telemetry>(value).map(|found| input.telemetries.push(found))
        }
        ("telemetry.kyma-project.io" | "operator.kyma-project.io", _) => {
            Err(vec!["apiVersion has no version; expected v1beta1".to_owned()])
        }
        (group, "LogPipeline" | "MetricPipeline" | "TracePipeline" | "Telemetry")
            if group.contains("kyma-project.io") =>
        {
            Err(vec![format!("apiVersion '{group}' is not served; expected v1beta1 of the group")])
        }
        ("v1", "Secret") => match serde_json::from_value::<Secret>(value) {
            Ok(secret) => {
                input.secrets.extend(seen(secret));
                Ok(())
            }
            // What the parser says of a value can hold the value.
            Err(_) => Err(vec!["not a Secret: data must be base64 and stringData must be texts".to_owned()]),
        },
        _ => Ok(()),
    };
    let mut problems = result.err().unwrap_or_default();
    if is_served && problems.is_empty() {
        problems.extend(wrong_name(&name, &kind, input));
    }
    problems.into_iter().map(|problem| format!("{place}: {kind}: {problem}")).collect()
}

/// What is wrong with the name of an object that was added last. Without an API server nobody else looks.
fn wrong_name(name: &str, kind: &str, input: &mut Input) -> Option<String> {
    let count = match kind {
        "LogPipeline" => input.logs.iter().filter(|found| found.metadata.name.as_deref() == Some(name)).count(),
        "MetricPipeline" => input.metrics.iter().filter(|found| found.metadata.name.as_deref() == Some(name)).count(),
        "TracePipeline" => input.traces.iter().filter(|found| found.metadata.name.as_deref() == Some(name)).count(),
        _ => 1,
    };
    match (name::is_object_name(name), count) {
        (false, _) => Some(format!("metadata.name: '{name}' is no name; expected small letters, digits, '-' and '.'")),
        (true, 2..) => Some(format!("metadata.name: '{name}' is that of another {kind} already")),
        (true, _) => None,
    }
}

/// What an API server would refuse an object of a kind for, if there is none of its name yet; of other kinds nothing.
pub fn judge(kind: &str, object: &Value) -> Vec<String> {
    schema::check(kind, object)
}

/// The kind of an object, if it is one of ours in the version that is served.
fn served(value: &Value) -> Option<&str> {
    let text = |key| value.get(key).and_then(Value::as_str);
    let kind = text("kind")?;
    match (text("apiVersion")?, kind) {
        ("telemetry.kyma-project.io/v1beta1", "LogPipeline" | "MetricPipeline" | "TracePipeline")
        | ("operator.kyma-project.io/v1beta1", "Telemetry") => Some(kind),
        _ => None,
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Vec<String>> {
    serde_json::from_value(value).map_err(|error| vec![error.to_string()])
}

fn seen(secret: Secret) -> Option<(SecretName, SecretView)> {
    let name = SecretName {
        namespace: secret.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        name: secret.metadata.name.clone()?,
    };
    if is_of_the_cluster(&secret) {
        return Some((name, SecretView::Forbidden));
    }
    let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    let texts = secret.string_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let all: BTreeMap<String, Vec<u8>> = data.chain(texts).collect();
    Some((name, SecretView::Present(all)))
}
