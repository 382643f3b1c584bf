//! Whether the volumes of the log gateway are as they should be, and what is left of those that nobody uses.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{ConditionReport, Known, STORAGE_HEALTHY, Verdict};
use crate::crd::{LeftOverBuffer, LeftOverClaim, StorageStatus};
use crate::input::ClaimView;
use crate::quantity;
use crate::role::Fleet;
use crate::storage::{Short, Wait};

/// The condition of the volumes, while there are some: the first of what is wrong or waited for.
pub(super) fn condition(known: &Known<'_>) -> Option<ConditionReport> {
    let of = |status, reason, message: String| Some(ConditionReport { kind: STORAGE_HEALTHY, status, reason, message });
    let left_over = status(known).filter(may_hold_logs);
    let Some(storage) = known.storage else {
        left_over.as_ref()?;
        return of(Verdict::True, "StorageLeftOver", left_over_message(left_over.as_ref()));
    };
    match &storage.room.short {
        Some(Short::Fixed { claim, class, size, needed }) => {
            let message = format!(
                "PersistentVolumeClaim {claim} has {} and would need {} for the buffers of all LogPipelines, but its StorageClass \
                 '{class}' does not let it grow. Have a smaller output.otlp.buffer.maxSize; or take a class with \
                 allowVolumeExpansion, and delete one claim after the other with its pod, when its buffers are empty",
                quantity::text(*size),
                quantity::text(*needed)
            );
            return of(Verdict::False, "VolumeCannotGrow", message);
        }
        Some(Short::Said { size, needed }) => {
            let message = format!(
                "spec.storage.size is {} and would have to be {} for the buffers of all LogPipelines: those of the newest are \
                 smaller than they ask for",
                quantity::text(*size),
                quantity::text(*needed)
            );
            return of(Verdict::False, "StorageTooSmall", message);
        }
        None => {}
    }
    let used = || known.input.claims.iter().filter(|(ordinal, _)| **ordinal < storage.replicas).map(|(_, claim)| claim);
    if let Some((claim, problem)) = used().find_map(|claim| Some((claim, claim.problem.as_ref()?))) {
        let message =
            format!("PersistentVolumeClaim {} does not become as large as it is to be: {problem}", claim.name);
        return of(Verdict::False, "VolumeNotGrown", message);
    }
    let waits = match storage.waits {
        Some(Wait::Volumes) => "Pods with volumes are being started; those without go when all of them run",
        Some(Wait::Memory) => {
            "Pods without volumes are being started; those with volumes go when they hold nothing any more"
        }
        Some(Wait::Drain) => "Pods with volumes get no more data, and go when they hold nothing any more",
        Some(Wait::ScaleIn) => "Pods that are too many get no more data, and go when they hold nothing any more",
        None => {
            let is_other = |claim: &&ClaimView| storage.room.class.is_some() && claim.class != storage.room.class;
            if let Some(claim) = used().find(is_other) {
                let message = format!(
                    "PersistentVolumeClaim {} stays of StorageClass '{}': only new claims are of another class",
                    claim.name,
                    claim.class.as_deref().unwrap_or_default()
                );
                return of(Verdict::True, "VolumeOfAnotherClass", message);
            }
            if left_over.is_some() {
                return of(Verdict::True, "StorageLeftOver", left_over_message(left_over.as_ref()));
            }
            return of(
                Verdict::True,
                "StorageReady",
                "The volumes have room for the buffers of all LogPipelines".to_owned(),
            );
        }
    };
    of(Verdict::True, "StorageWaits", waits.to_owned())
}

/// Whether something of it may hold logs that were never delivered. A buffer that holds none is told in the status alone.
fn may_hold_logs(left_over: &StorageStatus) -> bool {
    !left_over.left_over_claims.is_empty() || left_over.left_over_buffers.iter().any(|buffer| buffer.records > 0)
}

fn left_over_message(left_over: Option<&StorageStatus>) -> String {
    let claims = left_over.is_some_and(|left_over| !left_over.left_over_claims.is_empty());
    let what = if claims { "Volumes that no pod uses" } else { "Buffers of LogPipelines that are gone" };
    format!(
        "{what} are left, and are removed by nobody, because they may hold logs that were never delivered: see status.storage"
    )
}

/// What nobody uses any more; nothing if that is nothing.
pub(super) fn status(known: &Known<'_>) -> Option<StorageStatus> {
    let pods = known.storage.map_or(0, |storage| storage.replicas);
    let left_over_claims = known.input.claims.iter().filter(|(ordinal, _)| **ordinal >= pods);
    let left_over_claims: Vec<_> = left_over_claims
        .map(|(_, claim)| LeftOverClaim { name: claim.name.clone(), size: Quantity(quantity::text(claim.capacity)) })
        .collect();
    let mut buffers: BTreeMap<&String, (u64, u64, Vec<String>)> = BTreeMap::new();
    for report in known.input.engines.get(&Fleet::DURABLE).into_iter().flat_map(|view| &view.reports) {
        for (uid, orphan) in &report.orphans {
            let (used, records, pods) = buffers.entry(uid).or_default();
            *used = used.saturating_add(orphan.used);
            *records = records.saturating_add(orphan.records);
            pods.push(report.pod.clone());
        }
    }
    let left_over_buffers: Vec<_> = buffers
        .into_iter()
        .map(|(uid, (used, records, pods))| LeftOverBuffer {
            uid: uid.clone(),
            used: Quantity(quantity::text(used)),
            records,
            pods,
        })
        .collect();
    let status = StorageStatus { left_over_claims, left_over_buffers };
    (status != StorageStatus::default()).then_some(status)
}
