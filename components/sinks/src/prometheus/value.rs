//! What a series holds, and how a later point changes it.
//!
//! A cumulative point replaces what is there; a delta is added to it. What is behind the time of the series is left out: a
//! scrape shows the latest.

use std::fmt::Write as _;

use otlp::{DataPointView, DistributionView, ExemplarView, HistogramView, PointKind, SummaryView};

use super::exponential::Exponential;

/// Bounds of one histogram, and quantiles of one summary.
const MOST_BOUNDS: usize = 1000;

/// Exemplars that a series keeps.
const MOST_EXEMPLARS: usize = 10;

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Double(f64),
    Histogram(Histogram),
    Exponential(Box<ExponentialValue>),
    Summary(Summary),
}

/// Measurements between bounds that the source chose.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    pub(super) bounds: Box<[f64]>,
    /// One more than bounds, or none when the source has no buckets.
    pub(super) counts: Box<[u64]>,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
}

/// An exponential histogram with what all histograms have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExponentialValue {
    pub(super) buckets: Exponential,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
}

/// Quantiles that the source computed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) quantiles: Box<[(f64, f64)]>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

/// A measurement that stands for others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    /// Trace and span, as labels.
    pub(super) labels: Box<str>,
    pub(super) value: f64,
    pub(super) time: u64,
}

/// A point's value and when it was measured.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) value: Value,
    pub(super) exemplars: Vec<Exemplar>,
    pub(super) times: Times,
    pub(super) temporality: Temporality,
}

/// Start and end, in nanoseconds since 1970; 0 is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Whether a point holds everything since the start or only what is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temporality {
    Cumulative,
    Delta,
}

/// A point is no value of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// What became of a point that a series got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Updated {
    Taken,
    /// The series is further already.
    Older,
    /// A delta that holds a time which another one held already: adding it would count twice.
    Overlapping,
}

impl Point {
    /// Reads a point.
    pub(super) fn of(view: &DataPointView<'_>, temporality: Temporality) -> Result<Self, Invalid> {
        let value = match view.distribution() {
            None => number(view)?,
            Some(DistributionView::Histogram(histogram)) => Value::Histogram(Histogram::of(view, &histogram)?),
            Some(DistributionView::ExponentialHistogram(histogram)) => {
                let buckets = Exponential::of(&histogram)?;
                let count = view.count().unwrap_or_default();
                Value::Exponential(Box::new(ExponentialValue { buckets, count, sum: view.sum() }))
            }
            Some(DistributionView::Summary(summary)) => Value::Summary(Summary::of(view, &summary)?),
        };
        let times = Times { start: view.start_time_unix_nano(), end: view.time_unix_nano() };
        Ok(Self { value, exemplars: exemplars(view), times, temporality })
    }
}

impl Value {
    /// Series as Prometheus counts them.
    pub(super) fn samples(&self) -> usize {
        match self {
            Self::Int(_) | Self::Double(_) => 1,
            Self::Histogram(histogram) => histogram.bounds.len() + 3,
            Self::Exponential(exponential) => exponential.buckets.buckets() + 3,
            Self::Summary(summary) => summary.quantiles.len() + 2,
        }
    }

    /// Bytes outside of the value itself.
    pub(super) fn heap(&self) -> usize {
        match self {
            Self::Int(_) | Self::Double(_) => 0,
            Self::Histogram(histogram) => 8 * (histogram.bounds.len() + histogram.counts.len()),
            Self::Exponential(exponential) => size_of::<ExponentialValue>() + 8 * exponential.buckets.buckets(),
            Self::Summary(summary) => 16 * summary.quantiles.len(),
        }
    }

    /// The sum of both; the later one alone where they cannot be added, which is as if the series had started anew.
    pub(super) fn plus(&self, later: Self) -> Self {
        match (self, later) {
            (Self::Int(sum), Self::Int(more)) => match sum.checked_add(more) {
                Some(sum) => Self::Int(sum),
                None => Self::Double(*sum as f64 + more as f64),
            },
            (Self::Histogram(sum), Self::Histogram(more)) if sum.bounds == more.bounds => Self::Histogram(Histogram {
                counts: sum.counts.iter().zip(&more.counts).map(|(one, two)| one.saturating_add(*two)).collect(),
                count: sum.count.saturating_add(more.count),
                sum: added(sum.sum, more.sum),
                bounds: more.bounds,
            }),
            (Self::Exponential(sum), Self::Exponential(more)) => {
                let ExponentialValue { buckets, count, sum: more_sum } = *more;
                let mut added_up = sum.as_ref().clone();
                added_up.buckets.add(buckets);
                added_up.count = added_up.count.saturating_add(count);
                added_up.sum = added(added_up.sum, more_sum);
                Self::Exponential(Box::new(added_up))
            }
            (sum, more) => match (sum.as_number(), more.as_number()) {
                (Some(sum), Some(more)) => Self::Double(sum + more),
                _ => more,
            },
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }
}

impl Times {
    /// Whether a point of these times may follow one that ended at `last`.
    pub(super) fn after(self, last: u64, temporality: Temporality) -> Updated {
        if self.end == 0 || last == 0 {
            return Updated::Taken;
        }
        match temporality {
            Temporality::Cumulative if self.end < last => Updated::Older,
            Temporality::Cumulative => Updated::Taken,
            Temporality::Delta if self.end <= last => Updated::Older,
            Temporality::Delta if self.start != 0 && self.start < last => Updated::Overlapping,
            Temporality::Delta => Updated::Taken,
        }
    }
}

impl Histogram {
    fn of(point: &DataPointView<'_>, view: &HistogramView<'_>) -> Result<Self, Invalid> {
        let bounds: Box<[f64]> = view.explicit_bounds().take(MOST_BOUNDS + 1).collect();
        let counts: Box<[u64]> = view.bucket_counts().take(MOST_BOUNDS + 2).collect();
        let is_sorted = bounds.is_sorted_by(|left, right| left < right) && bounds.iter().all(|bound| bound.is_finite());
        let fits = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
        if bounds.len() > MOST_BOUNDS || !is_sorted || !fits {
            return Err(Invalid);
        }
        Ok(Self { bounds, counts, count: point.count().unwrap_or_default(), sum: point.sum() })
    }
}

impl Summary {
    fn of(point: &DataPointView<'_>, view: &SummaryView<'_>) -> Result<Self, Invalid> {
        let quantiles = view.quantiles().take(MOST_BOUNDS + 1).map(|quantile| (quantile.quantile, quantile.value));
        let quantiles: Box<[(f64, f64)]> = quantiles.collect();
        let is_sorted = quantiles.is_sorted_by(|(left, _), (right, _)| left < right);
        let in_range = quantiles.iter().all(|(quantile, _)| (0.0..=1.0).contains(quantile));
        if quantiles.len() > MOST_BOUNDS || !is_sorted || !in_range {
            return Err(Invalid);
        }
        Ok(Self { quantiles, count: point.count().unwrap_or_default(), sum: point.sum().unwrap_or_default() })
    }
}

/// The value of a gauge's or sum's point.
fn number(view: &DataPointView<'_>) -> Result<Value, Invalid> {
    debug_assert!(matches!(view.kind(), PointKind::Gauge | PointKind::Sum), "others have a distribution");
    match (view.as_int(), view.as_double()) {
        (Some(number), _) => Ok(Value::Int(number)),
        (None, Some(number)) => Ok(Value::Double(number)),
        (None, None) => Err(Invalid),
    }
}

/// A sum is only known when both are.
fn added(one: Option<f64>, two: Option<f64>) -> Option<f64> {
    Some(one? + two?)
}

/// The latest exemplars. A message may hold millions, so nothing is made of those that are not kept.
fn exemplars(view: &DataPointView<'_>) -> Vec<Exemplar> {
    let mut latest: Vec<(u64, ExemplarView<'_>)> = Vec::new();
    for exemplar in view.exemplars().filter(can_be_shown) {
        let time = exemplar.time_unix_nano();
        if latest.len() < MOST_EXEMPLARS {
            latest.push((time, exemplar));
            continue;
        }
        let oldest = latest.iter_mut().min_by_key(|(kept, _)| *kept).filter(|(kept, _)| *kept < time);
        if let Some(oldest) = oldest {
            *oldest = (time, exemplar);
        }
    }
    latest.iter().filter_map(|(_, exemplar)| one_exemplar(exemplar)).collect()
}

fn can_be_shown(view: &ExemplarView<'_>) -> bool {
    let has_value = view.as_double().is_some() || view.as_int().is_some();
    has_value && (view.trace_id().len() == 16 || view.span_id().len() == 8)
}

/// An exemplar with its trace. Attributes are left out: OpenMetrics allows 128 characters for all labels, of which the ids
/// take 65.
fn one_exemplar(view: &ExemplarView<'_>) -> Option<Exemplar> {
    let value = view.as_double().or_else(|| view.as_int().map(|number| number as f64))?;
    let ids = [("trace_id", view.trace_id(), 16), ("span_id", view.span_id(), 8)];
    let mut labels = String::new();
    for (name, id, _) in ids.into_iter().filter(|(_, id, len)| id.len() == *len) {
        labels.push_str(if labels.is_empty() { "" } else { "," });
        labels.push_str(name);
        labels.push_str("=\"");
        id.iter().for_each(|byte| write!(labels, "{byte:02x}").expect("a string takes everything"));
        labels.push('"');
    }
    (!labels.is_empty()).then(|| Exemplar { labels: labels.into(), value, time: view.time_unix_nano() })
}
