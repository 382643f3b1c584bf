//! What the log gateway has on disk: which pipelines have a buffer there and of which size, the volumes that hold them, and when
//! pods with volumes come and go. Values only, as everything that a plan is made of.
//!
//! Pods with volumes go only when they have said that they hold nothing. Before that they are taken out of the Services, because
//! a gateway that takes data all the time is never empty.
//!
//! Not here: the objects (`render`), and who asks engines (`controller`).

mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::room::{Room, Short, claim_of, usable};
use crate::collect::{Buffer, Module, Pipeline, PipelineId};
use crate::crd::{BufferType, LogPipeline, Replicas};
use crate::input::{BufferView, EngineReport, EngineView, Input, WorkloadView};
use crate::render::config::label;
use crate::role::{Fleet, Role, Workload};

/// A buffer on disk without a size of its own: that of a pipeline that does not say one, or of one that has none there any more.
pub const DISK_SIZE: u64 = 1 << 30;
/// The smallest buffer on disk.
pub const LEAST_DISK_SIZE: u64 = 8 << 20;
/// What a buffer on disk may still be delivering when its pipeline goes back to memory: that is done within moments, by the engine
/// that has it.
const RESIDUE: u64 = 1 << 20;

/// What is to be of the log gateway while something of it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// What keeps its pods. Two of them while one takes over from the other.
    pub workloads: BTreeSet<Workload>,
    /// Pods of the StatefulSet.
    pub replicas: u32,
    /// The buffers on disk.
    pub buffers: BTreeMap<PipelineId, DiskBuffer>,
    /// The volumes.
    pub room: Room,
    /// Pods that get no more data, because they are to go.
    pub leaving: BTreeSet<String>,
    /// What is waited for.
    pub waits: Option<Wait>,
}

/// A buffer on disk, in each pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskBuffer {
    /// The most bytes of its files.
    pub max_size: u64,
    /// How long data may wait.
    pub max_age: Option<Duration>,
}

/// What is waited for before pods go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The pods with volumes, before those without go.
    Volumes,
    /// The pods without volumes, before those with volumes get no more data.
    Memory,
    /// That those with volumes hold nothing any more.
    Drain,
    /// That those that are too many hold nothing any more.
    ScaleIn,
}

/// There is no room for a buffer on disk; the pipelines that have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoom(pub BTreeSet<PipelineId>);

/// What is to be of the log gateway with these pipelines; `None` where nothing of it is on disk.
///
/// # Errors
/// When the volumes have no room for a buffer that a pipeline asks for.
pub fn storage(pipelines: &[&Pipeline], module: &Module, input: &Input) -> Result<Option<Storage>, NoRoom> {
    let seen = Seen::of(input);
    // One that cannot run for the moment, because of a Secret maybe, is no reason to take volumes away.
    let is_wanted = pipelines.iter().any(|pipeline| matches!(pipeline.buffer, Buffer::Disk(_)))
        || (seen.pods > 0 && input.logs.iter().any(asks));
    if !is_wanted && seen.pods == 0 {
        return Ok(None);
    }
    let wanted: BTreeMap<&PipelineId, DiskBuffer> =
        pipelines.iter().filter_map(|pipeline| Some((&pipeline.id, seen.buffer(pipeline, is_wanted)?))).collect();
    let wished = replicas(module);
    let replicas = if is_wanted { seen.replicas(wished) } else { seen.pods };
    let room = Room::of(&wanted, replicas.max(seen.pods), is_wanted, module, input);
    let buffers = room.divide(pipelines, &wanted).map_err(NoRoom)?;
    let mut storage =
        Storage { workloads: BTreeSet::new(), replicas, buffers, room, leaving: BTreeSet::new(), waits: None };
    if is_wanted {
        storage.stays(&seen, wished);
    } else {
        storage.goes(&seen);
    }
    Ok(Some(storage).filter(|storage| storage.workloads.contains(&Workload::StatefulSet)))
}

/// Whether a pipeline asks for a buffer on disk.
fn asks(found: &LogPipeline) -> bool {
    let buffer = found.spec.output.otlp.as_ref().and_then(|output| output.buffer.as_ref());
    found.metadata.deletion_timestamp.is_none() && buffer.is_some_and(|buffer| buffer.kind == BufferType::Disk)
}

/// How many pods with volumes are asked for. Whose number follows the load has the least: a volume stays with its pod.
fn replicas(module: &Module) -> u32 {
    match module.log_gateway.replicas() {
        Replicas::Fixed(replicas) => replicas,
        Replicas::Between { least, .. } => least,
    }
}

impl Storage {
    /// Pods with volumes are wanted: those without go as soon as they are not needed any more.
    fn stays(&mut self, seen: &Seen<'_>, wished: u32) {
        self.workloads.insert(Workload::StatefulSet);
        self.leaving = (wished..self.replicas).map(|ordinal| Fleet::DURABLE.pod(ordinal)).collect();
        if self.replicas > wished {
            self.waits = Some(Wait::ScaleIn);
        }
        if seen.deployment.is_some() && !seen.takes_over(wished) {
            self.workloads.insert(Workload::Deployment);
            self.waits = Some(Wait::Volumes);
        }
    }

    /// None are wanted any more: they go as soon as they hold nothing and others take the data.
    fn goes(&mut self, seen: &Seen<'_>) {
        self.workloads.insert(Workload::Deployment);
        let is_replaced = seen.deployment.is_some_and(WorkloadView::is_rolled_out);
        if is_replaced {
            self.leaving = (0..seen.pods).map(|ordinal| Fleet::DURABLE.pod(ordinal)).collect();
        }
        if !is_replaced || !(0..seen.pods).all(|ordinal| seen.is_drained(ordinal)) {
            self.workloads.insert(Workload::StatefulSet);
            self.waits = Some(if is_replaced { Wait::Drain } else { Wait::Memory });
        }
    }

    /// Whether what this workload keeps is to stay.
    pub fn is_kept_by(&self, workload: Workload) -> bool {
        let goes = match self.waits {
            Some(Wait::Volumes) => Workload::Deployment,
            Some(Wait::Memory | Wait::Drain) => Workload::StatefulSet,
            Some(Wait::ScaleIn) | None => return self.workloads.contains(&workload),
        };
        workload != goes && self.workloads.contains(&workload)
    }

    /// Whether some pods get no more data, and Services have to tell them from the others.
    pub fn is_narrowed(&self) -> bool {
        !self.leaving.is_empty()
    }
}

/// What was seen of pods with volumes.
struct Seen<'i> {
    input: &'i Input,
    deployment: Option<&'i WorkloadView>,
    stateful_set: Option<&'i WorkloadView>,
    engines: Option<&'i EngineView>,
    /// How many of them there are, or are to be.
    pods: u32,
}

impl<'i> Seen<'i> {
    fn of(input: &'i Input) -> Self {
        let stateful_set = input.workloads.get(&Fleet::DURABLE);
        let engines = input.engines.get(&Fleet::DURABLE);
        // While a StatefulSet is made anew its pods have none.
        let pods = stateful_set.map_or_else(|| engines.map_or(0, |view| view.asked), |found| found.desired);
        let deployment = input.workloads.get(&Role::LogGateway.fleet());
        Self { input, deployment, stateful_set, engines, pods }
    }

    fn reports(&self) -> impl Iterator<Item = &'i EngineReport> {
        self.engines.into_iter().flat_map(|view| &view.reports)
    }

    fn report(&self, ordinal: u32) -> Option<&'i EngineReport> {
        let name = Fleet::DURABLE.pod(ordinal);
        self.reports().find(|report| report.pod == name)
    }

    /// Whether every pod with a volume has said how it is.
    fn all_report(&self) -> bool {
        (0..self.pods).all(|ordinal| self.report(ordinal).is_some())
    }

    /// The buffer on disk of a pipeline. One that wants none any more has it until what is in it is delivered.
    fn buffer(&self, pipeline: &Pipeline, is_wanted: bool) -> Option<DiskBuffer> {
        let Buffer::Disk(wanted) = pipeline.buffer else {
            return self.former_buffer(pipeline, is_wanted);
        };
        Some(wanted)
    }

    fn former_buffer(&self, pipeline: &Pipeline, is_wanted: bool) -> Option<DiskBuffer> {
        let is_orphaned = |report: &EngineReport| {
            pipeline
                .identity
                .as_ref()
                .is_some_and(|uid| report.orphans.get(uid).is_some_and(|orphan| orphan.records > 0))
        };
        let has_orphans = self.reports().any(is_orphaned);
        if pipeline.disk_before.is_none() && !has_orphans {
            return None;
        }
        let name = label(&pipeline.id.name);
        let views: Vec<&BufferView> = self.reports().filter_map(|report| report.buffers.get(&name)).collect();
        let is_delivered = self.all_report()
            && !has_orphans
            && views.iter().all(|view| view.waiting == 0 && view.in_memory <= RESIDUE);
        // Where no pod keeps its volume, nobody has to make room for the others.
        if is_wanted && is_delivered {
            return None;
        }
        let max_size = views.iter().map(|view| view.max).max().or(pipeline.disk_before).unwrap_or(DISK_SIZE);
        Some(DiskBuffer { max_size: max_size.max(LEAST_DISK_SIZE), max_age: None })
    }

    /// Whether pods with volumes take all data, so that those without can go.
    fn takes_over(&self, wished: u32) -> bool {
        let receives = |ordinal| self.report(ordinal).is_some_and(|report| report.receives);
        self.stateful_set.is_some_and(|found| found.is_rolled_out() && (0..found.desired.min(wished)).all(receives))
    }

    /// Whether a pod holds nothing and gets nothing.
    fn is_drained(&self, ordinal: u32) -> bool {
        match self.report(ordinal) {
            Some(report) => !report.receives && report.holds == 0,
            // It has never run without its volume.
            None => self.input.claims.get(&ordinal).is_none_or(|claim| !claim.is_bound),
        }
    }

    /// How many pods there can be, where so many are wanted: the last of those that are too many goes first.
    fn replicas(&self, wished: u32) -> u32 {
        let mut replicas = self.pods.max(wished);
        while replicas > wished && self.is_drained(replicas - 1) {
            replicas -= 1;
        }
        replicas
    }
}

#[cfg(test)]
mod tests;
