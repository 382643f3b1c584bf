//! Which numbers of one sender came, and how often: a bit for each, and a count for those that came again.

use std::collections::BTreeMap;
use std::ops::Range;

/// Bits of a word.
const WORD: u64 = 64;

/// What came of one sender.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    came: Vec<u64>,
    /// How often numbers came beyond the first time.
    again: BTreeMap<u64, u32>,
    distinct: u64,
    duplicates: u64,
    inversions: u64,
    /// Behind the highest number that came.
    end: u64,
}

impl Tally {
    /// Notes a number; says whether it came for the first time.
    pub fn take(&mut self, number: u64) -> bool {
        let word = usize::try_from(number / WORD).expect("numbers are counted from 0");
        if self.came.len() <= word {
            self.came.resize(word + 1, 0);
        }
        let bit = 1 << (number % WORD);
        if self.came[word] & bit != 0 {
            *self.again.entry(number).or_default() += 1;
            self.duplicates += 1;
            return false;
        }
        self.came[word] |= bit;
        self.distinct += 1;
        self.inversions += u64::from(number < self.end);
        self.end = self.end.max(number + 1);
        true
    }

    /// Whether a number came.
    pub fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / WORD).ok().and_then(|word| self.came.get(word));
        word.is_some_and(|word| word & 1 << (number % WORD) != 0)
    }

    /// How many of these numbers have not come.
    pub fn missing(&self, numbers: Range<u64>) -> u64 {
        numbers.filter(|number| !self.has(*number)).count() as u64
    }

    /// How many numbers came that are not below `issued`, the first that was never sent.
    pub fn spurious(&self, issued: u64) -> u64 {
        (issued..self.end).filter(|number| self.has(*number)).count() as u64
    }

    /// Numbers that came, each once.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// How often numbers came beyond the first time.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// How often the number came that came most often beyond the first time.
    pub fn most_often(&self) -> u32 {
        self.again.values().copied().max().unwrap_or_default()
    }

    /// Numbers that came for the first time behind a higher one.
    pub fn inversions(&self) -> u64 {
        self.inversions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is missing, came again, came too early and was never sent is told apart.
    #[test]
    fn numbers_are_told_apart() {
        let mut tally = Tally::default();
        let first: Vec<_> = [0, 2, 1, 2, 2, 130].into_iter().map(|number| tally.take(number)).collect();
        assert_eq!(first, [true, true, true, false, false, true]);
        assert_eq!((tally.distinct(), tally.duplicates(), tally.inversions(), tally.most_often()), (4, 2, 1, 2));
        assert_eq!((tally.missing(0..131), tally.missing(0..3), tally.missing(200..210)), (127, 0, 10));
        assert_eq!((tally.spurious(131), tally.spurious(130), tally.spurious(0)), (0, 1, 4));
        assert!(tally.has(130) && !tally.has(129) && !tally.has(10_000));
    }
}
