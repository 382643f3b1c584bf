//! Takes away what is no longer desired.
//!
//! An object is taken away only if it has our labels and we manage fields of it: a copy that somebody has made of one, labels
//! and all, is not ours.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use kube::api::{DeleteParams, Preconditions};

use super::error::ApplyError;
use super::kinds::Phase;
use super::metadata::{Seen, has_label};
use super::owned::Key;
use super::report::{ObjectRef, Report};
use super::write::{answer, count};
use super::{Applier, CONCURRENCY};

/// The status of answers to those who ask for what is not there.
const NOT_FOUND: u16 = 404;

impl Applier {
    /// Takes away everything of ours that is not wanted, what uses others first. While a workload is not as it is desired,
    /// and so may still use what is no longer wanted, nothing that workloads use goes.
    pub(super) async fn prune(&self, wanted: &HashSet<Key>, keeps: &impl Fn(&ObjectRef) -> bool, report: &mut Report) {
        let mut unwanted = self.owned.all();
        unwanted.retain(|(key, seen)| {
            let is_done = seen.is_leaving || seen.fields.is_none() || key.kind().phase == Phase::Namespaces;
            !is_done && !wanted.contains(key) && !keeps(&key.reference())
        });
        unwanted.sort_by(|left, right| (right.0.kind().phase, &left.0).cmp(&(left.0.kind().phase, &right.0)));
        for objects in unwanted.chunk_by(|left, right| left.0.kind().phase == right.0.kind().phase) {
            if objects[0].0.kind().phase < Phase::Workloads && workload_failed(report) {
                return;
            }
            let taken = stream::iter(objects).map(|(key, seen)| async move { (key, self.take_away(key, seen).await) });
            let outcomes: Vec<_> = taken.buffered(CONCURRENCY).collect().await;
            for (key, outcome) in outcomes {
                match outcome {
                    Ok(()) => report.pruned.push(key.reference()),
                    Err(error) => report.fail(key.reference(), error),
                }
            }
        }
    }

    async fn take_away(&self, key: &Key, seen: &Seen) -> Result<(), ApplyError> {
        self.owned.pruned(key);
        match self.delete(key, seen).await {
            // A controller may have reported in its status meanwhile, which is no reason to keep it.
            Err(ApplyError::Conflict(_)) => {}
            outcome => return outcome,
        }
        let Some(now) = answer(key.scope.metadata(&self.client).get_opt(&key.name)).await? else { return Ok(()) };
        if !has_label(&now.metadata, &self.ownership.instance) {
            return Ok(());
        }
        self.delete(key, &Seen::of(&now.metadata)).await
    }

    /// Deletes exactly what was seen: not what has lost our labels since, and not another object of the same name.
    async fn delete(&self, key: &Key, seen: &Seen) -> Result<(), ApplyError> {
        let exactly =
            Preconditions { uid: Some(seen.uid.clone()), resource_version: Some(seen.resource_version.clone()) };
        let parameters = DeleteParams::background().preconditions(exactly);
        match answer(key.scope.objects(&self.client).delete(&key.name, &parameters)).await {
            Ok(_) => {
                count(key, "delete");
                Ok(())
            }
            Err(ApplyError::Refused { code: NOT_FOUND, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a workload is not as it is desired.
fn workload_failed(report: &Report) -> bool {
    let workloads = ["Deployment", "StatefulSet", "DaemonSet"];
    report.failed.iter().any(|(reference, _)| workloads.contains(&reference.kind.as_str()))
}
