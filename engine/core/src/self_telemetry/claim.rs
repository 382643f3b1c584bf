//! Who takes what only one component can take: the log, the spans.
//!
//! A component may claim again what it has: the instance of it that takes over at a reload is built while the one before
//! still takes. What is wanted is what the last one asked for that took over, and nothing once the last claim is gone.

use std::sync::Arc;

use parking_lot::Mutex;

/// Something that one component at a time takes.
#[derive(Debug, Default)]
pub(super) struct Seat(Mutex<Option<Holder>>);

#[derive(Debug)]
struct Holder {
    owner: String,
    claims: usize,
}

/// What is asked for by whoever has a claim.
pub(super) trait Wanted: Send + Sync + 'static {
    /// The claims to it.
    fn seat(&self) -> &Seat;

    /// From now on this is wanted; 0 is nothing.
    fn want(&self, what: u64);
}

/// A claim; it ends when it is dropped.
#[must_use]
pub struct Claim {
    wanted: Arc<dyn Wanted>,
    what: u64,
}

impl Claim {
    /// A claim of this component; none while another one has it. The first claim is heard at once.
    pub(super) fn of(wanted: Arc<dyn Wanted>, owner: &str, what: u64) -> Option<Self> {
        let is_first = {
            let mut holder = wanted.seat().0.lock();
            match &mut *holder {
                Some(known) if known.owner != owner => return None,
                Some(known) => known.claims += 1,
                None => *holder = Some(Holder { owner: owner.to_owned(), claims: 1 }),
            }
            holder.as_ref().is_some_and(|holder| holder.claims == 1)
        };
        let claim = Self { wanted, what };
        if is_first {
            claim.take_over();
        }
        Some(claim)
    }

    /// From now on it is this claim that says what is wanted.
    pub fn take_over(&self) {
        self.wanted.want(self.what);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut holder = self.wanted.seat().0.lock();
        if let Some(known) = &mut *holder {
            known.claims -= 1;
            if known.claims == 0 {
                *holder = None;
                self.wanted.want(0);
            }
        }
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Claim").field("what", &self.what).finish_non_exhaustive()
    }
}
