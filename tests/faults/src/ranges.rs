//! Sets of numbers that come mostly in order: a few ranges in place of many numbers.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of numbers. Ranges that touch are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds all numbers of a range, of which it may have some already.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        while let Some((&other, &until)) = self.0.range(..=end).next_back().filter(|(_, until)| **until >= start) {
            self.0.remove(&other);
            start = start.min(other);
            end = end.max(until);
        }
        self.0.insert(start, end);
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().map(|(start, end)| *start..*end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges that touch or overlap become one, others stay apart.
    #[test]
    fn ranges_are_joined() {
        let mut ranges = Ranges::default();
        assert!(ranges.is_empty());
        for range in [10..20, 30..40, 50..60, 20..25, 5..5] {
            ranges.insert(range);
        }
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [10..25, 30..40, 50..60]);
        ranges.insert(24..55);
        assert_eq!((ranges.iter().count(), ranges.iter().next()), (1, Some(10..60)));
        ranges.insert(0..3);
        ranges.insert(11..12);
        assert_eq!(ranges.len(), 53);
    }
}
