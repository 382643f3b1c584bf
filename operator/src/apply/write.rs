//! Applies one object, if that changes something.

use std::future::Future;
use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::desired::Wanted;
use super::error::ApplyError;
use super::kinds::Phase;
use super::metadata::{Seen, is_ours};
use super::owned::Key;
use super::{Applier, FIELD_MANAGER};

/// How long the API server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// Who holds a number of replicas until an autoscaler decides about it.
const REPLICAS_MANAGER: &str = "telemetry-manager-replicas";

/// What applying an object has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was made or changed.
    Changed,
    /// It was so already.
    Unchanged,
}

impl Applier {
    /// Makes an object as it is desired.
    pub(super) async fn write(&self, wanted: Wanted) -> Result<Written, ApplyError> {
        if self.owned.is_as_applied(&wanted.key, &wanted.hash) {
            return Ok(Written::Unchanged);
        }
        let seen = match self.owned.get(&wanted.key) {
            Some(seen) => Some(seen),
            None => self.look(&wanted.key).await?,
        };
        if seen.as_ref().is_some_and(|seen| seen.is_leaving) {
            return Err(ApplyError::Leaving);
        }
        if wanted.leaves_replicas() && seen.as_ref().is_some_and(|seen| seen.manages_replicas) {
            self.hand_over_replicas(&wanted.key).await?;
        }
        let (key, hash) = (wanted.key.clone(), wanted.hash.clone());
        let outcome = self.send(wanted, seen.clone()).await;
        match (outcome, seen) {
            (Err(ApplyError::Immutable(message)), Some(seen)) if key.kind().is_replaceable => {
                self.make_way(&key, &hash, &seen, message).await
            }
            (outcome, _) => outcome,
        }
    }

    /// Deletes an object of which a field has to change that never can, and nothing of what it has made: the one that is made in
    /// its place adopts it. Once: where even that one is refused, another deletion would help no more than the first.
    async fn make_way(&self, key: &Key, hash: &str, seen: &Seen, message: String) -> Result<Written, ApplyError> {
        let before = self.made_way.lock().insert(key.clone(), hash.to_owned());
        if before.as_deref() == Some(hash) {
            return Err(ApplyError::Immutable(message));
        }
        self.owned.pruned(key);
        let exactly = Preconditions { uid: Some(seen.uid.clone()), resource_version: None };
        let parameters = DeleteParams::orphan().preconditions(exactly);
        answer(key.scope.objects(&self.client).delete(&key.name, &parameters)).await?;
        count(key, "delete");
        tracing::info!(kind = key.kind().name, name = key.name, "it is made anew around its pods: {message}");
        Err(ApplyError::Leaving)
    }

    /// What is there under a name that no watch has told of: nothing, or an object of ours whose labels somebody took away.
    async fn look(&self, key: &Key) -> Result<Option<Seen>, ApplyError> {
        let objects = key.scope.metadata(&self.client);
        let Some(found) = answer(objects.get_opt(&key.name)).await? else { return Ok(None) };
        if is_ours(&found.metadata, &self.ownership.instance) {
            return Ok(Some(Seen::of(&found.metadata)));
        }
        // A namespace is shared, and never taken away: it is completed by what nobody else has set.
        if key.kind().phase == Phase::Namespaces { Ok(None) } else { Err(ApplyError::Foreign) }
    }

    async fn send(&self, mut wanted: Wanted, seen: Option<Seen>) -> Result<Written, ApplyError> {
        let mut parameters = PatchParams::apply(FIELD_MANAGER);
        // Only what is ours is taken from others. An object that has come since we looked is not.
        if let Some(seen) = &seen {
            parameters = parameters.force();
            wanted.object.metadata.uid = Some(seen.uid.clone());
        }
        let objects = wanted.key.scope.objects(&self.client);
        let patch = Patch::Apply(&wanted.object);
        let answered = answer(objects.patch_metadata(&wanted.key.name, &parameters, &patch)).await?;
        let now = Seen::of(&answered.metadata);
        let was_so = seen.is_some_and(|seen| seen.has_same_of_ours(&now));
        if !was_so {
            count(&wanted.key, "apply");
        }
        self.owned.applied(wanted.key, wanted.hash, now);
        Ok(if was_so { Written::Unchanged } else { Written::Changed })
    }

    /// Gives up a number of replicas to nobody in particular, at its value: a field that its only manager no longer applies
    /// falls back to its default, which would leave one pod until the autoscaler has looked.
    async fn hand_over_replicas(&self, key: &Key) -> Result<(), ApplyError> {
        let objects = key.scope.objects(&self.client);
        let scale = answer(objects.get_scale(&key.name)).await?;
        let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or_default();
        let mut metadata = json!({ "name": key.name });
        if let Some(namespace) = &key.scope.namespace {
            metadata["namespace"] = Value::from(namespace.as_str());
        }
        let holding = json!({
            "apiVersion": key.kind().api_version(), "kind": key.kind().name,
            "metadata": metadata, "spec": { "replicas": replicas },
        });
        let parameters = PatchParams::apply(REPLICAS_MANAGER).force();
        answer(objects.patch_metadata(&key.name, &parameters, &Patch::Apply(holding))).await?;
        count(key, "apply");
        Ok(())
    }
}

/// Whether the API server has answered nothing to those that asked it.
pub(super) fn is_silence<'a>(outcomes: impl Iterator<Item = &'a Result<Written, ApplyError>>) -> bool {
    let mut asked = outcomes.filter(|outcome| !matches!(outcome, Ok(Written::Unchanged))).peekable();
    asked.peek().is_some() && asked.all(|outcome| matches!(outcome, Err(ApplyError::Unreachable(_))))
}

/// The answer of the API server, if it comes in time.
pub(super) async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApplyError> {
    match tokio::time::timeout(ANSWER_LIMIT, request).await {
        Ok(answered) => answered.map_err(ApplyError::from),
        Err(_) => Err(ApplyError::Unreachable(format!("none within {} s", ANSWER_LIMIT.as_secs()))),
    }
}

pub(super) fn count(key: &Key, verb: &'static str) {
    metrics::counter!("telemetry_manager_apply_writes_total", "kind" => key.kind().name, "verb" => verb).increment(1);
}
