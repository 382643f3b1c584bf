//! A set of sequence numbers that is mostly a beginning: a low watermark and what is above it, in ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Every number below the watermark, and ranges above it. Ranges neither touch each other nor the watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    watermark: u64,
    above: BTreeMap<u64, u64>,
}

impl Ranges {
    /// All numbers below this one.
    pub(crate) fn up_to(watermark: u64) -> Self {
        Self { watermark, above: BTreeMap::new() }
    }

    /// The lowest number that is not in the set.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// What is above the watermark: first numbers, and the numbers behind the last ones.
    pub(crate) fn ranges(&self) -> &BTreeMap<u64, u64> {
        &self.above
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.end_of(number).is_some()
    }

    /// The lowest number from this one on that is not in the set.
    pub(crate) fn next_absent(&self, number: u64) -> u64 {
        self.end_of(number).unwrap_or(number)
    }

    /// The lowest number from this one on that is in the set, below `end`; else `end`.
    pub(crate) fn next_present(&self, number: u64, end: u64) -> u64 {
        if self.contains(number) {
            return number.min(end);
        }
        self.above.range(number..).next().map_or(end, |(first, _)| (*first).min(end))
    }

    /// How many of these numbers are in the set.
    pub(crate) fn count_in(&self, numbers: Range<u64>) -> u64 {
        let (mut at, mut count) = (numbers.start, 0);
        while at < numbers.end {
            let present = self.next_present(at, numbers.end);
            let absent = self.next_absent(present).min(numbers.end);
            count += absent - present;
            at = absent.max(present + 1);
        }
        count
    }

    /// The number behind the run that this number is in.
    fn end_of(&self, number: u64) -> Option<u64> {
        if number < self.watermark {
            return Some(self.watermark);
        }
        self.above.range(..=number).next_back().map(|(_, end)| *end).filter(|end| *end > number)
    }

    /// Adds numbers. Those that are there already are no matter.
    pub(crate) fn insert(&mut self, numbers: Range<u64>) {
        let (mut first, mut end) = (numbers.start.max(self.watermark), numbers.end);
        if first >= end {
            return;
        }
        // One before, which may touch.
        if let Some((start, stop)) = self.above.range(..=first).next_back().map(|(start, stop)| (*start, *stop))
            && stop >= first
        {
            first = start;
            end = end.max(stop);
        }
        while let Some((start, stop)) = self.above.range(first..=end).next().map(|(start, stop)| (*start, *stop)) {
            self.above.remove(&start);
            end = end.max(stop);
        }
        if first == self.watermark {
            self.watermark = end;
        } else {
            self.above.insert(first, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It holds what was put in, and no more, in as few ranges as can be.
        #[test]
        fn holds_what_was_put_in(inserts in prop::collection::vec((0_u64..60, 0_u64..6), 0..40), mark in 0_u64..5) {
            let mut ranges = Ranges::up_to(mark);
            let mut model: BTreeSet<u64> = (0..mark).collect();
            for (first, count) in inserts {
                ranges.insert(first..first + count);
                model.extend(first..first + count);
                for number in 0..70 {
                    prop_assert_eq!(ranges.contains(number), model.contains(&number));
                    let absent = (number..).find(|other| !model.contains(other));
                    prop_assert_eq!(Some(ranges.next_absent(number)), absent);
                    let present = (number..70).find(|other| model.contains(other)).unwrap_or(70);
                    prop_assert_eq!(ranges.next_present(number, 70), present);
                }
                prop_assert_eq!(ranges.count_in(3..50), model.range(3..50).count() as u64);
                let runs = (0..70).filter(|number| model.contains(number) && !model.contains(&(number + 1))).count();
                let beginning = usize::from(ranges.watermark() > 0);
                prop_assert_eq!(ranges.ranges().len() + beginning, runs);
            }
        }
    }
}
