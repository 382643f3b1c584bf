//! Choosing entries by their Resource. Chosen neighbours stay one slice.

use smallvec::{SmallVec, smallvec};

use super::{Builder, Wire};
use crate::ResourceView;

/// Some of several takers, as bits: taker n is bit n % 64 of word n / 64.
type Takers = [u64];

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// What one of several takers gets.
#[expect(clippy::large_enum_variant, reason = "they stand in one list, and most are parts")]
enum Share<'a> {
    /// Every entry.
    Whole,
    /// Some entries.
    Part(Builder<'a>),
}

impl Wire {
    /// Splits by resource: the entries for which `choose` answers true, and the others. Order is kept.
    pub fn partition(self, mut choose: impl FnMut(&ResourceView<'_>) -> bool) -> (Self, Self) {
        let choices: SmallVec<[bool; 64]> = self.resources().map(|resource| choose(&resource)).collect();
        if choices.iter().all(|chosen| *chosen) {
            let none = Self::empty(self.signal);
            return (self, none);
        }
        if !choices.contains(&true) {
            return (Self::empty(self.signal), self);
        }
        (self.keep(&choices, true), self.keep(&choices, false))
    }

    /// The entries for which `choose` answers true.
    #[must_use]
    pub fn select(self, mut choose: impl FnMut(&ResourceView<'_>) -> bool) -> Self {
        let choices: SmallVec<[bool; 64]> = self.resources().map(|resource| choose(&resource)).collect();
        if choices.iter().all(|chosen| *chosen) {
            return self;
        }
        self.keep(&choices, true)
    }

    /// What each of several takers gets, in one walk over the resources: for every entry `choose` sets the bits of the takers
    /// that get it (taker n is bit n % 64 of word n / 64; all are 0 before). Answers the requests of those that get an entry,
    /// in the order of the takers, each as [`select`](Self::select) would answer it.
    pub fn share_out(
        &self,
        takers: usize,
        mut choose: impl FnMut(&ResourceView<'_>, &mut Takers),
    ) -> Vec<(usize, Self)> {
        let words = takers.div_ceil(WORD).max(1);
        let mut choices: SmallVec<[u64; 64]> = smallvec![0; self.entries.len() * words];
        let mut counts: SmallVec<[usize; 64]> = smallvec![0; takers];
        for (resource, chosen) in self.resources().zip(choices.chunks_exact_mut(words)) {
            choose(&resource, chosen);
            members(chosen).for_each(|taker| counts[taker] += 1);
        }
        let mut shares: Vec<(usize, Share<'_>)> = Vec::with_capacity(counts.iter().filter(|count| **count > 0).count());
        // From here on where a taker's share is, in place of how many entries it has.
        let mut places = counts;
        for (taker, place) in places.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            let share = if *place == self.entries.len() { Share::Whole } else { Share::Part(Builder::new(0)) };
            *place = shares.len();
            shares.push((taker, share));
        }
        if shares.iter().any(|(_, share)| matches!(share, Share::Part(_))) {
            let mut rest = self.cursor();
            for (entry, chosen) in self.entries.iter().zip(choices.chunks_exact(words)) {
                let range = rest.take(entry.len);
                for taker in members(chosen) {
                    if let Share::Part(builder) = &mut shares[places[taker]].1 {
                        builder.share(range);
                        builder.entry(*entry);
                    }
                }
            }
        }
        let finish = |share| match share {
            Share::Whole => self.clone(),
            Share::Part(builder) => builder.finish(self),
        };
        shares.into_iter().map(|(taker, share)| (taker, finish(share))).collect()
    }

    fn keep(&self, choices: &[bool], kept: bool) -> Self {
        let mut builder = Builder::new(0);
        let mut rest = self.cursor();
        for (entry, choice) in self.entries.iter().zip(choices) {
            let range = rest.take(entry.len);
            if *choice == kept {
                builder.share(range);
                builder.entry(*entry);
            }
        }
        builder.finish(self)
    }
}

/// The takers whose bits are set.
fn members(takers: &Takers) -> impl Iterator<Item = usize> {
    takers.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(index * WORD + bit)
        })
    })
}
