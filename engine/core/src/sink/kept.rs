//! What a memory buffer keeps alive.
//!
//! A slice of a request keeps the whole request in memory, while the buffer accounts for the slice only. Copying each slice
//! ends that, and costs a third of what it takes to share a request out. So a slice that will leave soon stays a slice, and the
//! request stays charged to the requests in flight, where it is accounted for. It is copied where the backend does not
//! answer, where much waits already, where the budget of requests is not light, and where nobody charges it.

use std::sync::atomic::Ordering;

use otlp::Wire;

use super::Driver;
use super::part::Item;
use crate::batch::Debts;

/// The share of a buffer up to which what it takes leaves soon, as a divisor.
const SOON_BELOW: usize = 4;

impl Driver {
    /// What the buffer keeps of a piece, and what lives as long as it does.
    pub(super) fn kept(&self, wire: Wire, debts: &Debts, room: usize) -> (Wire, Debts) {
        let max_buffer = self.max_buffer();
        // The share of the buffer does not cover what goes beyond it: that stays charged until it is delivered.
        if room > max_buffer {
            return (compact(wire), debts.only_ties());
        }
        let is_soon = self.gate.is_open() && self.buffered.load(Ordering::Relaxed) <= max_buffer / SOON_BELOW;
        if is_slice(&wire) && is_soon && debts.may_stay_charged() {
            return (wire, debts.only_ties());
        }
        (compact(wire), debts.only_origin())
    }

    /// Copies all slices that wait: they will not leave soon.
    pub(super) fn keep_alone(&self) {
        let max_buffer = self.max_buffer();
        self.parts.iter().for_each(|part| part.keep_alone(max_buffer));
    }
}

impl Item {
    /// Copies what is a slice, unless somebody waits for it: then it stays charged anyway.
    pub(super) fn keep_alone(&mut self, max_buffer: usize) {
        if is_slice(&self.wire) && !self.debts.is_owed() && self.room.bytes <= max_buffer {
            let nothing = Wire::empty(self.wire.signal());
            self.wire = std::mem::replace(&mut self.wire, nothing).into_compact();
            self.debts = self.debts.only_origin();
        }
    }
}

/// Whether it keeps much more alive than itself.
pub(super) fn is_slice(wire: &Wire) -> bool {
    wire.retained_bytes() > wire.len().saturating_mul(2)
}

fn compact(wire: Wire) -> Wire {
    if is_slice(&wire) { wire.into_compact() } else { wire }
}
