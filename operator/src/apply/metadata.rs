//! What the metadata of an object tells: whether it is ours, what was applied to it, and which fields we manage.
//!
//! The API server keeps, for each manager, the set of fields that it has applied. When somebody else changes or removes one
//! of ours, it leaves our set. So our set before and after tells that something was changed, without a look at the object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{APPLIED, FIELD_MANAGER, OWNED_BY};

/// A hash of JSON that does not depend on the order of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 16]);

/// What is known of an object that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) resource_version: String,
    /// Counts changes of the spec; not all kinds have it.
    generation: Option<i64>,
    /// What was applied, as its annotation says.
    pub(super) applied: Option<String>,
    /// The fields that we manage; nothing if we manage none.
    pub(super) fields: Option<Fingerprint>,
    /// Whether the number of replicas is one of them.
    pub(super) manages_replicas: bool,
    /// Whether it is being deleted.
    pub(super) is_leaving: bool,
}

impl Seen {
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        let fields = managed_fields(metadata);
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            generation: metadata.generation,
            applied: metadata.annotations.as_ref().and_then(|annotations| annotations.get(APPLIED)).cloned(),
            fields: fields.map(Fingerprint::of),
            manages_replicas: fields.is_some_and(|fields| fields["f:spec"].get("f:replicas").is_some()),
            is_leaving: metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether nothing of ours differs. A new version alone tells nothing: controllers report in the status all the time.
    pub(super) fn has_same_of_ours(&self, other: &Self) -> bool {
        let has_same_spec = match self.generation {
            Some(_) => self.generation == other.generation,
            None => self.resource_version == other.resource_version,
        };
        has_same_spec && self.uid == other.uid && self.applied == other.applied && self.fields == other.fields
    }

    /// Whether this was seen before the other. Resource versions are ordered numbers; where they were not, the answer
    /// would cost a request at most.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let number = |seen: &Self| seen.resource_version.parse::<u128>().ok();
        match (number(self), number(other)) {
            (Some(this), Some(that)) => this < that,
            _ => false,
        }
    }
}

/// Whether an object is of this installation. Somebody may have taken our label away; then our fields tell.
pub(super) fn is_ours(metadata: &ObjectMeta, instance: &str) -> bool {
    match metadata.labels.as_ref().and_then(|labels| labels.get(OWNED_BY)) {
        Some(owner) => owner == instance,
        None => managed_fields(metadata).is_some(),
    }
}

/// Whether an object has the label of this installation.
pub(super) fn has_label(metadata: &ObjectMeta, instance: &str) -> bool {
    metadata.labels.as_ref().and_then(|labels| labels.get(OWNED_BY)).is_some_and(|owner| owner == instance)
}

fn managed_fields(metadata: &ObjectMeta) -> Option<&Value> {
    let entries = metadata.managed_fields.as_ref()?;
    let is_ours =
        |manager: Option<&str>, operation: Option<&str>| manager == Some(FIELD_MANAGER) && operation == Some("Apply");
    let ours = entries.iter().find(|entry| is_ours(entry.manager.as_deref(), entry.operation.as_deref()))?;
    ours.fields_v1.as_ref().map(|fields| &fields.0)
}

impl Fingerprint {
    pub(super) fn of(value: &Value) -> Self {
        let mut hash = Sha256::new();
        feed(&mut hash, value);
        let digest = hash.finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Self(short)
    }

    pub(super) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Feeds a value so that two different ones never feed the same bytes.
fn feed(hash: &mut Sha256, value: &Value) {
    let count = |hash: &mut Sha256, mark: u8, count: usize| {
        hash.update([mark]);
        hash.update((count as u64).to_le_bytes());
    };
    match value {
        Value::Object(object) => {
            count(hash, b'{', object.len());
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_unstable();
            for key in keys {
                count(hash, b'k', key.len());
                hash.update(key.as_bytes());
                feed(hash, &object[key]);
            }
        }
        Value::Array(items) => {
            count(hash, b'[', items.len());
            items.iter().for_each(|item| feed(hash, item));
        }
        Value::String(text) => {
            count(hash, b's', text.len());
            hash.update(text.as_bytes());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            let text = value.to_string();
            count(hash, b'v', text.len());
            hash.update(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
