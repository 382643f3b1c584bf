//! What a histogram or summary says in one line: count, sum, extremes, and where the middle and the tail lie.
//!
//! Views hand out what every point has; buckets are read with prost, which is paid for these points only. Quantiles of
//! buckets are estimates: within a bucket measurements are taken to be spread evenly (exponential histograms: evenly
//! on their logarithmic scale).

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, HistogramDataPoint, SummaryDataPoint};
use otlp::{DataPointView, PointKind};

/// Quantiles that are estimated from buckets.
const ESTIMATED: [f64; 3] = [0.5, 0.9, 0.99];

/// The content of a point that stands for many measurements.
#[derive(Debug)]
pub(super) struct Distribution {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    shape: Shape,
}

/// A value below which a share of the measurements lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantile {
    /// From 0 to 1.
    pub(super) quantile: f64,
    pub(super) value: f64,
}

#[derive(Debug)]
enum Shape {
    Buckets(Vec<Bucket>),
    Quantiles(Vec<Quantile>),
}

/// Measurements between two values.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    lower: f64,
    upper: f64,
    count: u64,
    spread: Spread,
}

/// How measurements are taken to be spread in a bucket.
#[derive(Clone, Copy, Debug)]
enum Spread {
    Linear,
    Logarithmic,
}

impl Distribution {
    /// The content of a histogram's or summary's point; none for other points.
    pub(super) fn of(point: &DataPointView<'_>) -> Option<Self> {
        let bytes = point.as_bytes();
        match point.kind() {
            PointKind::Gauge | PointKind::Sum => None,
            PointKind::Histogram => Some(Self::explicit(&decode(bytes))),
            PointKind::ExponentialHistogram => Some(Self::exponential(&decode(bytes))),
            PointKind::Summary => Some(Self::summary(&decode(bytes))),
        }
    }

    /// The mean of the measurements.
    pub(super) fn mean(&self) -> Option<f64> {
        let sum = self.sum?;
        if self.count == 0 { None } else { Some(rounded(sum / self.count as f64)) }
    }

    /// Whether quantiles are what the source wrote, not estimates.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self.shape, Shape::Quantiles(_))
    }

    /// Quantiles in rising order; none when the buckets do not tell.
    pub(super) fn quantiles(&self) -> Vec<Quantile> {
        let buckets = match &self.shape {
            Shape::Quantiles(quantiles) => return quantiles.clone(),
            Shape::Buckets(buckets) => buckets,
        };
        let total = buckets.iter().fold(0_u64, |total, bucket| total.saturating_add(bucket.count));
        if total == 0 || buckets.len() < 2 {
            return Vec::new();
        }
        let estimated = |quantile: f64| Quantile { quantile, value: rounded(self.estimate(buckets, quantile, total)) };
        ESTIMATED.map(estimated).to_vec()
    }

    fn explicit(point: &HistogramDataPoint) -> Self {
        let bounds = &point.explicit_bounds;
        let first = bounds.first().copied().unwrap_or_default();
        let lowest = point.min.unwrap_or_else(|| first.min(0.0));
        let highest = point.max.unwrap_or_else(|| bounds.last().copied().unwrap_or_default());
        let bucket = |(place, count): (usize, &u64)| {
            let lower = if place == 0 { lowest } else { bounds[place - 1] };
            let upper = bounds.get(place).copied().unwrap_or(highest);
            Bucket { lower, upper, count: *count, spread: Spread::Linear }
        };
        // Other lengths say nothing that can be relied on.
        let buckets = if point.bucket_counts.len() == bounds.len() + 1 {
            point.bucket_counts.iter().enumerate().map(bucket).collect()
        } else {
            Vec::new()
        };
        Self { count: point.count, sum: point.sum, min: point.min, max: point.max, shape: Shape::Buckets(buckets) }
    }

    fn exponential(point: &ExponentialHistogramDataPoint) -> Self {
        let step = f64::exp2(-f64::from(point.scale));
        let bound = |index: i64| f64::exp2(index as f64 * step);
        let each = |buckets: Option<&Buckets>| {
            let (offset, counts) = buckets.map_or((0, [].as_slice()), |some| (some.offset, &some.bucket_counts));
            let indexed = counts.iter().zip(i64::from(offset)..);
            indexed.map(|(count, index)| (bound(index), bound(index + 1), *count)).collect::<Vec<_>>()
        };
        let zero = point.zero_threshold;
        let mut buckets = Vec::new();
        for (near, far, count) in each(point.negative.as_ref()).into_iter().rev() {
            buckets.push(Bucket { lower: -far, upper: -near, count, spread: Spread::Logarithmic });
        }
        buckets.push(Bucket { lower: -zero, upper: zero, count: point.zero_count, spread: Spread::Linear });
        for (near, far, count) in each(point.positive.as_ref()) {
            buckets.push(Bucket { lower: near, upper: far, count, spread: Spread::Logarithmic });
        }
        Self { count: point.count, sum: point.sum, min: point.min, max: point.max, shape: Shape::Buckets(buckets) }
    }

    fn summary(point: &SummaryDataPoint) -> Self {
        let quantiles =
            point.quantile_values.iter().map(|given| Quantile { quantile: given.quantile, value: given.value });
        let shape = Shape::Quantiles(quantiles.collect());
        Self { count: point.count, sum: Some(point.sum), min: None, max: None, shape }
    }

    fn estimate(&self, buckets: &[Bucket], quantile: f64, total: u64) -> f64 {
        let rank = quantile * total as f64;
        let mut below = 0.0;
        let mut value = f64::NAN;
        for bucket in buckets.iter().filter(|bucket| bucket.count > 0) {
            let count = bucket.count as f64;
            value = bucket.at((rank - below) / count);
            if below + count >= rank {
                break;
            }
            below += count;
        }
        // Not `clamp`, which panics when a sender's minimum is above its maximum.
        value.max(self.min.unwrap_or(f64::NEG_INFINITY)).min(self.max.unwrap_or(f64::INFINITY))
    }
}

impl Bucket {
    /// The value below which this share of the bucket's measurements lies.
    fn at(&self, share: f64) -> f64 {
        let fraction = share.clamp(0.0, 1.0);
        match self.spread {
            Spread::Logarithmic if self.lower > 0.0 => self.lower * (self.upper / self.lower).powf(fraction),
            Spread::Logarithmic if self.upper < 0.0 => self.upper * (self.lower / self.upper).powf(1.0 - fraction),
            Spread::Logarithmic | Spread::Linear => self.lower + (self.upper - self.lower) * fraction,
        }
    }
}

fn decode<M: prost::Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).expect("prost decodes what was admitted")
}

/// Four digits: more would pretend to be exact.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(distribution: &Distribution) -> Vec<f64> {
        distribution.quantiles().iter().map(|quantile| quantile.value).collect()
    }

    /// Within a bucket measurements are spread evenly; the ends are the extremes where the source wrote them.
    #[test]
    fn estimates_explicit_buckets() {
        let point = HistogramDataPoint {
            count: 100,
            sum: Some(1000.0),
            bucket_counts: vec![50, 40, 10],
            explicit_bounds: vec![10.0, 20.0],
            max: Some(30.0),
            ..HistogramDataPoint::default()
        };
        let distribution = Distribution::explicit(&point);
        assert_eq!(values(&distribution), [10.0, 20.0, 29.0]);
        assert_eq!(distribution.mean(), Some(10.0));
        let open = HistogramDataPoint { max: None, ..point.clone() };
        assert_eq!(values(&Distribution::explicit(&open)), [10.0, 20.0, 20.0]);
        let narrow = HistogramDataPoint { min: Some(9.0), max: Some(9.5), ..point };
        assert_eq!(values(&Distribution::explicit(&narrow)), [9.5, 9.5, 9.5]);
    }

    /// An exponential histogram of the same measurement many times says about that measurement.
    #[test]
    fn estimates_exponential_buckets() {
        let buckets = |counts: Vec<u64>| Some(Buckets { offset: 3, bucket_counts: counts });
        let positive = ExponentialHistogramDataPoint {
            scale: 0,
            count: 3,
            positive: buckets(vec![1, 1, 1]),
            ..ExponentialHistogramDataPoint::default()
        };
        let shown = values(&Distribution::exponential(&positive));
        assert!((16.0..=32.0).contains(&shown[0]) && (32.0..=64.0).contains(&shown[2]), "{shown:?}");
        let negative =
            ExponentialHistogramDataPoint { negative: positive.positive.clone(), positive: None, ..positive };
        let mirrored = values(&Distribution::exponential(&negative));
        assert!((-32.0..=-16.0).contains(&mirrored[0]) && (-16.0..=-8.0).contains(&mirrored[2]), "{mirrored:?}");
    }

    /// Points that contradict themselves are shown without what cannot be known, and never panic.
    #[test]
    fn survives_contradictions() {
        let lengths = HistogramDataPoint {
            count: 3,
            bucket_counts: vec![1, 2],
            explicit_bounds: vec![1.0, 2.0, 3.0],
            ..HistogramDataPoint::default()
        };
        assert!(Distribution::explicit(&lengths).quantiles().is_empty());
        let hostile = HistogramDataPoint {
            bucket_counts: vec![u64::MAX, u64::MAX],
            explicit_bounds: vec![f64::NAN],
            min: Some(f64::INFINITY),
            max: Some(f64::NEG_INFINITY),
            ..HistogramDataPoint::default()
        };
        assert_eq!(Distribution::explicit(&hostile).quantiles().len(), 3);
        let scales = ExponentialHistogramDataPoint {
            scale: i32::MIN,
            positive: Some(Buckets { offset: i32::MAX, bucket_counts: vec![1; 4] }),
            ..ExponentialHistogramDataPoint::default()
        };
        assert_eq!(Distribution::exponential(&scales).quantiles().len(), 3);
        assert_eq!(Distribution::explicit(&HistogramDataPoint::default()).mean(), None);
    }
}
