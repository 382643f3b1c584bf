//! Desired objects, made ready to be sent: our labels, their hash, and nothing that others decide.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::api::DynamicObject;
use serde_json::{Map, Value};

use super::error::ApplyError;
use super::kinds::Scope;
use super::metadata::Fingerprint;
use super::owned::Key;
use super::{APPLIED, MANAGED_BY, OWNED_BY, Ownership};

/// An object as it is sent.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) hash: String,
    pub(super) object: DynamicObject,
}

/// A workload: namespace, kind and name.
pub(super) type Workload = (Option<String>, String, String);

/// Workloads whose number of replicas is up to an autoscaler.
pub(super) fn scaled_by_others(objects: &[DynamicObject]) -> HashSet<Workload> {
    let autoscalers = objects
        .iter()
        .filter(|object| object.types.as_ref().is_some_and(|types| types.kind == "HorizontalPodAutoscaler"));
    let targets = autoscalers.filter_map(|object| {
        let target = &object.data["spec"]["scaleTargetRef"];
        let text = |key: &str| target[key].as_str().map(str::to_owned);
        Some((object.metadata.namespace.clone(), text("kind")?, text("name")?))
    });
    targets.collect()
}

impl Wanted {
    /// # Errors
    /// When this module does not make such an object, or not there.
    pub(super) fn new(
        mut object: DynamicObject,
        ownership: &Ownership,
        scaled: &HashSet<Workload>,
    ) -> Result<Self, ApplyError> {
        let types = object.types.as_ref().ok_or(ApplyError::UnknownKind)?;
        let namespace = object.metadata.namespace.as_deref();
        let scope = Scope::of(&types.api_version, &types.kind, namespace).ok_or(ApplyError::UnknownKind)?;
        let is_ours = namespace.is_some_and(|namespace| ownership.namespaces.iter().any(|ours| ours == namespace));
        if scope.kind().is_namespaced && !is_ours {
            return Err(ApplyError::UnknownNamespace);
        }
        let name = object.metadata.name.clone().unwrap_or_default();
        if scaled.contains(&(object.metadata.namespace.clone(), types.kind.clone(), name.clone()))
            && let Some(spec) = object.data["spec"].as_object_mut()
        {
            spec.remove("replicas");
        }
        if types.kind == "Secret" {
            encode(&mut object.data);
        }
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
        labels.insert(OWNED_BY.to_owned(), ownership.instance.clone());
        let written = serde_json::to_value(&object).map_err(|error| ApplyError::Invalid(error.to_string()))?;
        let hash = Fingerprint::of(&written).hex();
        object.metadata.annotations.get_or_insert_default().insert(APPLIED.to_owned(), hash.clone());
        Ok(Self { key: Key { scope, name }, hash, object })
    }

    /// Whether the number of replicas is up to others.
    pub(super) fn leaves_replicas(&self) -> bool {
        self.key.kind().is_scalable && self.object.data["spec"].get("replicas").is_none()
    }
}

/// `stringData` can be written and never read, so it would differ from what is there for ever.
fn encode(secret: &mut Value) {
    let Some(Value::Object(texts)) = secret.as_object_mut().and_then(|secret| secret.remove("stringData")) else {
        return;
    };
    if !secret["data"].is_object() {
        secret["data"] = Value::Object(Map::new());
    }
    for (key, text) in texts {
        secret["data"][key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
    }
}

#[cfg(test)]
mod tests;
