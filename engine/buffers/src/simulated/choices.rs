//! Where a power loss takes its decisions from: numbers that a seed makes, so that a case can be run again.
//!
//! The number 0 always stands for the mildest outcome, and after `harsh` numbers only zeros come: that is what a failing
//! case is shrunk by.

use std::ops::RangeInclusive;

use proptest::prelude::*;

/// A source of decisions.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    state: u64,
    harsh: u32,
}

impl Choices {
    /// Decisions by a seed, without end.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed, harsh: u32::MAX }
    }

    /// Decisions by a seed, so many of them harsh.
    pub(crate) fn of(state: u64, harsh: u32) -> Self {
        Self { state, harsh }
    }

    /// Only the mildest outcomes.
    pub(crate) fn mild() -> Self {
        Self { state: 0, harsh: 0 }
    }

    /// Any decisions, to be shrunk to the mildest.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let harsh = prop_oneof![0_u32..8, 0_u32..64, 0_u32..4096];
        (any::<u64>(), harsh).prop_map(|(state, harsh)| Self { state, harsh })
    }

    /// A number of the range; its start is the mildest.
    pub(crate) fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (start, span) = (*range.start(), range.end() - range.start());
        start + if span == u64::MAX { self.next() } else { self.next() % (span + 1) }
    }

    /// One of two outcomes, of which `false` is the mildest.
    pub(crate) fn flag(&mut self) -> bool {
        self.number(0..=1) == 1
    }

    /// The next number of SplitMix64 (Steele, Lea and Flood: "Fast splittable pseudorandom number generators").
    fn next(&mut self) -> u64 {
        if self.harsh == 0 {
            return 0;
        }
        if self.harsh < u32::MAX {
            self.harsh -= 1;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
