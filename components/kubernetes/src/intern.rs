//! Texts that many pods share, each kept once: names of namespaces, nodes and workloads, keys and most values of labels.

use std::collections::HashSet;
use std::sync::Arc;

/// Texts in use.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: HashSet<Arc<str>>,
    /// When there are so many, those that nobody else holds are let go.
    sweep_at: usize,
}

/// Below this a sweep is not worth its time.
const LEAST_SWEEP: usize = 1024;

impl Interner {
    /// The one copy of a text.
    pub(crate) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.sweep_at.max(LEAST_SWEEP) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.texts.shrink_to(self.texts.len() * 2);
            self.sweep_at = self.texts.len() * 2;
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Equal texts are one allocation, and texts that nobody holds any more do not stay.
    #[test]
    fn keeps_what_is_in_use() {
        let mut interner = Interner::default();
        let shop = interner.get("shop");
        assert!(Arc::ptr_eq(&shop, &interner.get("shop")));
        for number in 0..10 * LEAST_SWEEP {
            drop(interner.get(&number.to_string()));
        }
        assert!(interner.texts.len() <= LEAST_SWEEP + 1, "{}", interner.texts.len());
        assert!(Arc::ptr_eq(&shop, &interner.get("shop")));
    }
}
