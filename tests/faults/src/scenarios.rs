//! The faults, one after the other: each is what it does to a running engine and what must be true afterwards.

mod answers;
mod crashes;
mod damage;
mod disk;
mod ends;
mod keeper;
mod link;
mod memory;
mod mix;
mod neighbours;
mod outage;
mod readonly;
mod way;

use std::pin::Pin;

use anyhow::{Context as _, Result};

use crate::{Report, Run};

type Running<'r> = Pin<Box<dyn Future<Output = Result<Report>> + 'r>>;

/// A fault and its bars.
pub struct Scenario {
    /// Its number in the plan of faults.
    pub id: &'static str,
    /// What happens.
    pub about: &'static str,
    run: for<'r> fn(&'r Run) -> Running<'r>,
}

impl Scenario {
    /// Runs it.
    ///
    /// # Errors
    /// When a step cannot be done, so that nothing is found.
    pub async fn run(&self, run: &Run) -> Result<Report> {
        (self.run)(run).await.with_context(|| format!("{} with seed {}", self.id, run.seed))
    }
}

/// All of them.
pub const ALL: [&Scenario; 21] = [
    &disk::KILLED,
    &disk::FULL,
    &disk::FILLED,
    &disk::FAILING,
    &readonly::READ_ONLY,
    &damage::FLIPPED,
    &damage::DAMAGED,
    &crashes::CRASHED,
    &keeper::SHARED,
    &outage::STOPPED,
    &outage::SLOW,
    &way::FLAPPING,
    &answers::WRONG,
    &way::BROKEN,
    &link::NARROWED,
    &way::LOST_ANSWERS,
    &memory::BOUNDED,
    &ends::TERMINATED,
    &ends::FORCED,
    &neighbours::NOISY,
    &mix::MIX,
];

/// The one with this number.
pub fn find(id: &str) -> Option<&'static Scenario> {
    ALL.into_iter().find(|scenario| scenario.id.eq_ignore_ascii_case(id))
}
