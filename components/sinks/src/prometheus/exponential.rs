//! Exponential histograms in bounded form, and the classic buckets they become.
//!
//! Text formats have no exponential histograms, so their buckets are shown with bounds. To bound the number of series, a
//! histogram is rescaled: with every step down two neighbours become one. Bounds of a coarser scale are among those of a
//! finer one, so a query over both sees the same bounds.

use otlp::{BucketsView, ExponentialHistogramView};

use super::value::Invalid;

/// Buckets that are kept on each side of zero.
pub(super) const MOST_BUCKETS: usize = 32;

/// Scales that the specification's data model allows in practice; beyond, bounds are no numbers any more.
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;

/// An exponential histogram with at most [`MOST_BUCKETS`] buckets on each side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exponential {
    scale: i32,
    zero_threshold: f64,
    zero_count: u64,
    positive: Side,
    negative: Side,
}

/// The buckets of one side of zero.
#[derive(Clone, Debug, Default, PartialEq)]
struct Side {
    /// The index of the first bucket: bucket i reaches from base^i to base^(i+1).
    first: i64,
    counts: Vec<u64>,
}

impl Exponential {
    /// Takes what a point holds, rescaled to the bound.
    pub(super) fn of(view: &ExponentialHistogramView<'_>) -> Result<Self, Invalid> {
        let (scale, zero_threshold) = (view.scale(), view.zero_threshold());
        if !SCALES.contains(&scale) || !zero_threshold.is_finite() || zero_threshold < 0.0 {
            return Err(Invalid);
        }
        let steps = steps_for(&view.positive()).max(steps_for(&view.negative()));
        Ok(Self {
            scale: scale - steps,
            zero_threshold,
            zero_count: view.zero_count(),
            positive: Side::of(&view.positive(), steps),
            negative: Side::of(&view.negative(), steps),
        })
    }

    /// Adds the measurements of a later one.
    pub(super) fn add(&mut self, later: Self) {
        let mut other = later;
        let scale = self.scale.min(other.scale);
        self.rescale(self.scale - scale);
        other.rescale(other.scale - scale);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.zero_threshold = self.zero_threshold.max(other.zero_threshold);
        let joined = |one: &Side, two: &Side| steps_to_fit(one.range().into_iter().chain(two.range()));
        let steps = joined(&self.positive, &other.positive).max(joined(&self.negative, &other.negative));
        self.rescale(steps);
        other.rescale(steps);
        self.positive.add(&other.positive);
        self.negative.add(&other.negative);
    }

    /// How many measurements are at most so large, for each bound in ascending order; the last bound, infinity, is left
    /// out.
    pub(super) fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut buckets = Vec::with_capacity(self.buckets());
        let mut below: u64 = 0;
        for (index, count) in self.negative.counts.iter().enumerate().rev() {
            below = below.saturating_add(*count);
            buckets.push((-bound(self.scale, self.negative.first + index as i64), below));
        }
        below = below.saturating_add(self.zero_count);
        buckets.push((self.zero_threshold, below));
        for (index, count) in self.positive.counts.iter().enumerate() {
            below = below.saturating_add(*count);
            buckets.push((bound(self.scale, self.positive.first + index as i64 + 1), below));
        }
        // Bounds beyond the range of numbers, and what lies within the threshold around zero.
        buckets.retain(|(bound, _)| bound.is_finite());
        buckets.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        buckets.dedup_by(|(bound, count), (before, count_before)| {
            let is_same = *bound == *before;
            if is_same {
                *count_before = (*count_before).max(*count);
            }
            is_same
        });
        let mut most = 0;
        for (_, count) in &mut buckets {
            most = most.max(*count);
            *count = most;
        }
        buckets
    }

    /// Bounds at most, without infinity.
    pub(super) fn buckets(&self) -> usize {
        self.positive.counts.len() + self.negative.counts.len() + 1
    }

    fn rescale(&mut self, steps: i32) {
        if steps > 0 {
            self.scale -= steps;
            self.positive.rescale(steps);
            self.negative.rescale(steps);
        }
    }
}

impl Side {
    fn of(view: &BucketsView<'_>, steps: i32) -> Self {
        let Some((start, end)) = filled(view) else { return Self::default() };
        let first = start >> steps;
        let mut counts = vec![0_u64; usize::try_from((end >> steps) - first + 1).expect("steps make it fit")];
        for (index, count) in (i64::from(view.offset())..).zip(view.bucket_counts()) {
            if (start..=end).contains(&index) {
                let slot = &mut counts[usize::try_from((index >> steps) - first).expect("the index is in the range")];
                *slot = slot.saturating_add(count);
            }
        }
        Self { first, counts }
    }

    fn range(&self) -> Option<(i64, i64)> {
        (!self.counts.is_empty()).then(|| (self.first, self.first + self.counts.len() as i64 - 1))
    }

    fn rescale(&mut self, steps: i32) {
        let Some((start, end)) = self.range() else { return };
        let first = start >> steps;
        let mut counts = vec![0_u64; usize::try_from((end >> steps) - first + 1).expect("it only gets shorter")];
        for (index, count) in (start..).zip(&self.counts) {
            let slot = &mut counts[usize::try_from((index >> steps) - first).expect("the index is in the range")];
            *slot = slot.saturating_add(*count);
        }
        *self = Self { first, counts };
    }

    fn add(&mut self, other: &Self) {
        let Some((start, end)) = widest(self.range().into_iter().chain(other.range())) else { return };
        let mut counts = vec![0_u64; usize::try_from(end - start + 1).expect("both were rescaled to fit")];
        for side in [&*self, other] {
            for (index, count) in (side.first..).zip(&side.counts) {
                let slot = &mut counts[usize::try_from(index - start).expect("the index is in the range")];
                *slot = slot.saturating_add(*count);
            }
        }
        *self = Self { first: start, counts };
    }
}

/// The first and the last bucket that hold anything.
fn filled(view: &BucketsView<'_>) -> Option<(i64, i64)> {
    let filled = (i64::from(view.offset())..).zip(view.bucket_counts()).filter(|(_, count)| *count > 0);
    widest(filled.map(|(index, _)| (index, index)))
}

fn steps_for(view: &BucketsView<'_>) -> i32 {
    steps_to_fit(filled(view).into_iter())
}

/// How often neighbours must be joined until the ranges together are short enough.
fn steps_to_fit(ranges: impl Iterator<Item = (i64, i64)>) -> i32 {
    let Some((start, end)) = widest(ranges) else { return 0 };
    let fits = |steps: &i32| (end >> steps) - (start >> steps) < MOST_BUCKETS as i64;
    (0..i64::BITS as i32).find(fits).expect("with every step the range halves")
}

fn widest(ranges: impl Iterator<Item = (i64, i64)>) -> Option<(i64, i64)> {
    ranges.reduce(|(start, end), (other_start, other_end)| (start.min(other_start), end.max(other_end)))
}

/// The lower bound of a bucket: 2^(index * 2^-scale).
fn bound(scale: i32, index: i64) -> f64 {
    (index as f64 * (-f64::from(scale)).exp2()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(scale: i32, first: i64, counts: &[u64]) -> Exponential {
        let positive = Side { first, counts: counts.to_vec() };
        Exponential { scale, zero_threshold: 0.0, zero_count: 1, positive, negative: Side::default() }
    }

    /// Counts add up over the bounds, negative ones first.
    #[test]
    fn becomes_classic() {
        let mut both = histogram(0, 1, &[2, 0, 3]);
        both.negative = Side { first: 0, counts: vec![4, 5] };
        let expected = [(-2.0, 5), (-1.0, 9), (0.0, 10), (4.0, 12), (8.0, 12), (16.0, 15)];
        assert_eq!(both.cumulative(), expected);
    }

    /// Coarser scales join neighbours, also below index 0, and lose nothing.
    #[test]
    fn rescales() {
        let mut fine = histogram(1, -3, &[1, 2, 3, 4]);
        fine.rescale(1);
        assert_eq!((fine.scale, &fine.positive), (0, &Side { first: -2, counts: vec![1, 5, 4] }));
    }

    /// Adding brings both to one scale and keeps the bound on buckets.
    #[test]
    fn adds() {
        let mut sum = histogram(0, 0, &[1, 1]);
        sum.add(histogram(2, 4, &[1; 8]));
        assert_eq!((sum.scale, &sum.positive), (0, &Side { first: 0, counts: vec![1, 5, 4] }));
        sum.add(histogram(0, 1000, &[7]));
        assert!(sum.positive.counts.len() <= MOST_BUCKETS, "{sum:?}");
        assert_eq!(sum.positive.counts.iter().sum::<u64>(), 17);
        assert_eq!(sum.zero_count, 3);
        let shown = sum.cumulative();
        assert!(shown.is_sorted_by(|left, right| left.0 < right.0 && left.1 <= right.1), "{shown:?}");
    }

    /// The farthest indices that a message can hold are joined without overflow.
    #[test]
    fn extremes() {
        let mut far = histogram(20, i64::from(i32::MIN), &[1]);
        far.add(histogram(20, i64::from(i32::MAX), &[2]));
        assert!(far.positive.counts.len() <= MOST_BUCKETS, "{far:?}");
        assert_eq!(far.positive.counts.iter().sum::<u64>(), 3);
        let shown = far.cumulative();
        assert!(shown.iter().all(|(bound, _)| bound.is_finite()), "{shown:?}");
    }
}
