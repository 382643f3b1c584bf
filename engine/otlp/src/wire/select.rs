//! Choosing entries by their Resource. Chosen neighbours stay one slice.

use smallvec::SmallVec;

use super::{Builder, Wire};
use crate::ResourceView;

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
