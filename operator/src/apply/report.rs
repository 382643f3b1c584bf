//! What one round of applying has done.

use std::fmt;

use kube::api::DynamicObject;

use super::error::ApplyError;
use super::owned::Key;
use super::write::Written;

/// What one round of applying has done. Objects are in the order of their kinds, namespaces and names.
#[derive(Debug, Default)]
pub struct Report {
    /// Objects that were made or changed.
    pub written: Vec<ObjectRef>,
    /// Objects that were as they are desired.
    pub unchanged: Vec<ObjectRef>,
    /// Objects that were taken away.
    pub pruned: Vec<ObjectRef>,
    /// What is not as it is desired, and why. Those whose reason [passes](ApplyError::is_passing) are to be tried soon.
    pub failed: Vec<(ObjectRef, ApplyError)>,
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace; nothing for an object of the cluster.
    pub namespace: Option<String>,
    /// The name; `*` where all objects of that kind are meant.
    pub name: String,
}

impl Report {
    /// Whether everything is as it is desired.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    pub(super) fn wrote(&mut self, key: &Key, outcome: Result<Written, ApplyError>) {
        let reference = key.reference();
        match outcome {
            Ok(Written::Changed) => self.written.push(reference),
            Ok(Written::Unchanged) => self.unchanged.push(reference),
            Err(error) => self.fail(reference, error),
        }
    }

    pub(super) fn fail(&mut self, reference: ObjectRef, error: ApplyError) {
        let labels = [("kind", reference.kind.clone()), ("reason", error.reason().to_owned())];
        metrics::counter!("telemetry_manager_apply_failures_total", &labels).increment(1);
        self.failed.push((reference, error));
    }

    pub(super) fn sort(&mut self) {
        self.written.sort();
        self.unchanged.sort();
        self.failed.sort_by(|left, right| left.0.cmp(&right.0));
    }
}

impl ObjectRef {
    pub(super) fn of(object: &DynamicObject) -> Self {
        Self {
            kind: object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for ObjectRef {
    /// `Deployment shop/web`, or `ClusterRole reader`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{} {namespace}/{}", self.kind, self.name),
            None => write!(formatter, "{} {}", self.kind, self.name),
        }
    }
}
