//! How much room volumes have, and who gets it.

use std::collections::{BTreeMap, BTreeSet};

use super::{DiskBuffer, LEAST_DISK_SIZE};
use crate::collect::{Buffer, Module, Pipeline, PipelineId};
use crate::input::{ClaimView, Input};

/// What an engine keeps besides buffers, and what a file system takes of a small volume.
const RESERVE: u64 = 64 << 20;
/// Claims are made in units of this.
const UNIT: u64 = 1 << 30;

/// The volumes of the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Their class; absent is the default one.
    pub class: Option<String>,
    /// The size of a new one, in bytes.
    pub claim_size: u64,
    /// What the smallest of them has for buffers, in bytes.
    pub usable: u64,
    /// Claims that are to grow to this size.
    pub growing: BTreeMap<String, u64>,
    /// Why they are smaller than they should be.
    pub short: Option<Short>,
}

/// Volumes are too small for what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Short {
    /// Somebody has said a size that is.
    Said {
        /// That size, in bytes.
        size: u64,
        /// What would be enough.
        needed: u64,
    },
    /// A claim cannot grow.
    Fixed {
        /// The claim.
        claim: String,
        /// Its class.
        class: String,
        /// Its size, in bytes.
        size: u64,
        /// What would be enough.
        needed: u64,
    },
}

/// The smallest claim with room for so many bytes of buffers, in whole units.
pub fn claim_of(buffers: u64) -> u64 {
    // A file system takes a tenth at most.
    let needed = buffers.saturating_add(RESERVE).saturating_mul(10).div_ceil(9);
    needed.div_ceil(UNIT).saturating_mul(UNIT)
}

/// What a volume of this size has for buffers, in bytes.
pub fn usable(size: u64) -> u64 {
    (size - size / 10).saturating_sub(RESERVE)
}

impl Room {
    /// The volumes for these buffers in so many pods.
    pub(super) fn of(
        wanted: &BTreeMap<&PipelineId, DiskBuffer>,
        pods: u32,
        may_grow: bool,
        module: &Module,
        input: &Input,
    ) -> Self {
        let sum = wanted.values().fold(0_u64, |sum, buffer| sum.saturating_add(buffer.max_size));
        let needed = claim_of(sum);
        let target = module.storage_size.unwrap_or(needed);
        let claims: Vec<&ClaimView> =
            input.claims.iter().filter(|(ordinal, _)| **ordinal < pods).map(|(_, claim)| claim).collect();
        let largest = claims.iter().map(|claim| claim.requested).max();
        let too_small: Vec<&ClaimView> = claims.iter().copied().filter(|claim| claim.capacity < target).collect();
        let class = module.storage_class.clone();
        let fixed = too_small.iter().filter(|claim| !may_grow || !claim.can_grow(input));
        if let Some(claim) = fixed.min_by_key(|claim| (claim.capacity, &claim.name)) {
            let usable = usable(claim.capacity);
            let short = Short::Fixed {
                claim: claim.name.clone(),
                class: claim.class.clone().unwrap_or_default(),
                size: claim.capacity,
                needed: target,
            };
            let claim_size = largest.unwrap_or(target);
            let short = Some(short).filter(|_| usable < sum);
            return Self { class, claim_size, usable, growing: BTreeMap::new(), short };
        }
        // A claim counts as grown: what it has meanwhile is seen by whoever writes to it.
        let smallest = claims.iter().map(|claim| claim.capacity).min().unwrap_or(0);
        let usable = usable(smallest.max(target));
        let growing =
            too_small.iter().filter(|claim| claim.requested < target).map(|claim| (claim.name.clone(), target));
        let short = Some(Short::Said { size: target, needed }).filter(|_| usable < sum);
        Self { class, claim_size: largest.unwrap_or(0).max(target), usable, growing: growing.collect(), short }
    }

    /// Whoever was there first gets what it asks for, whoever comes last what is left; before all of them those whose buffer is
    /// still to be emptied. Those who ask are returned where that would be too little for one of them.
    pub(super) fn divide(
        &self,
        pipelines: &[&Pipeline],
        wanted: &BTreeMap<&PipelineId, DiskBuffer>,
    ) -> Result<BTreeMap<PipelineId, DiskBuffer>, BTreeSet<PipelineId>> {
        let asks = |pipeline: &&Pipeline| matches!(pipeline.buffer, Buffer::Disk(_));
        let mut in_order: Vec<&Pipeline> = pipelines.iter().copied().filter(|it| wanted.contains_key(&it.id)).collect();
        in_order.sort_by_key(|pipeline| (asks(pipeline), pipeline.created, &pipeline.id));
        let mut left = self.usable;
        let mut buffers = BTreeMap::new();
        for pipeline in &in_order {
            let buffer = wanted[&pipeline.id];
            if asks(pipeline) && left < LEAST_DISK_SIZE {
                let asking = in_order.iter().copied().filter(asks);
                return Err(asking.map(|pipeline| pipeline.id.clone()).collect());
            }
            let max_size = buffer.max_size.min(left).max(LEAST_DISK_SIZE);
            left = left.saturating_sub(max_size);
            buffers.insert(pipeline.id.clone(), DiskBuffer { max_size, ..buffer });
        }
        Ok(buffers)
    }
}

impl ClaimView {
    fn can_grow(&self, input: &Input) -> bool {
        self.is_bound && self.class.as_ref().is_some_and(|class| input.classes.get(class) == Some(&true))
    }
}
