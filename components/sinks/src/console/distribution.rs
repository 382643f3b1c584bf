//! What a histogram or summary says in one line: count, sum, extremes, and where the middle and the tail lie.
//!
//! Quantiles of buckets are estimates: within a bucket measurements are taken to be spread evenly (exponential
//! histograms: evenly on their logarithmic scale).

use otlp::{BucketsView, DataPointView, DistributionView, ExponentialHistogramView, HistogramView, PointKind};

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
        let (min, max, shape) = match point.distribution()? {
            DistributionView::Histogram(view) => (view.min(), view.max(), Shape::Buckets(explicit(&view))),
            DistributionView::ExponentialHistogram(view) => {
                (view.min(), view.max(), Shape::Buckets(exponential(&view)))
            }
            DistributionView::Summary(view) => {
                let given = view.quantiles().map(|view| Quantile { quantile: view.quantile, value: view.value });
                (None, None, Shape::Quantiles(given.collect()))
            }
        };
        Some(Self { count: point.count().unwrap_or_default(), sum: sum(point), min, max, shape })
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

/// The sum of the measurements. In a summary it is no optional field: absent means zero.
fn sum(point: &DataPointView<'_>) -> Option<f64> {
    let zero = (point.kind() == PointKind::Summary).then_some(0.0);
    point.sum().or(zero)
}

fn explicit(view: &HistogramView<'_>) -> Vec<Bucket> {
    // Other lengths say nothing that can be relied on.
    if view.bucket_counts().count() != view.explicit_bounds().count() + 1 {
        return Vec::new();
    }
    let first = view.explicit_bounds().next().unwrap_or_default();
    let lowest = view.min().unwrap_or_else(|| first.min(0.0));
    let highest = view.max().unwrap_or_else(|| view.explicit_bounds().last().unwrap_or_default());
    let lowers = std::iter::once(lowest).chain(view.explicit_bounds());
    let uppers = view.explicit_bounds().chain(std::iter::once(highest));
    let bucket = |((lower, upper), count)| Bucket { lower, upper, count, spread: Spread::Linear };
    lowers.zip(uppers).zip(view.bucket_counts()).map(bucket).collect()
}

fn exponential(view: &ExponentialHistogramView<'_>) -> Vec<Bucket> {
    let zero = view.zero_threshold();
    let spread = Spread::Logarithmic;
    let negative = from_zero(view.scale(), view.negative());
    let mut buckets: Vec<_> =
        negative.map(|(near, far, count)| Bucket { lower: -far, upper: -near, count, spread }).collect();
    buckets.reverse();
    buckets.push(Bucket { lower: -zero, upper: zero, count: view.zero_count(), spread: Spread::Linear });
    let positive = from_zero(view.scale(), view.positive());
    buckets.extend(positive.map(|(near, far, count)| Bucket { lower: near, upper: far, count, spread }));
    buckets
}

/// The bounds of buckets as distances from zero, rising, with their counts.
fn from_zero<'v>(scale: i32, buckets: BucketsView<'v>) -> impl Iterator<Item = (f64, f64, u64)> + use<'v> {
    let step = f64::exp2(-f64::from(scale));
    let bound = move |index: i64| f64::exp2(index as f64 * step);
    let indexed = (i64::from(buckets.offset())..).zip(buckets.bucket_counts());
    indexed.map(move |(index, count)| (bound(index), bound(index + 1), count))
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

/// Four digits: more would pretend to be exact.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric, ResourceMetrics,
        ScopeMetrics,
    };
    use otlp::Decoded;

    use super::*;

    /// The content of the only point of a metric.
    fn distribution_of(data: Data) -> Distribution {
        let metrics = vec![Metric { data: Some(data), ..Metric::default() }];
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let entry = ResourceMetrics { scope_metrics, ..ResourceMetrics::default() };
        let wire = Decoded::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![entry] }).encode().unwrap();
        let scope = wire.resources().next().unwrap().scopes().next().unwrap();
        let point = scope.metrics().next().unwrap().data_points().next().unwrap();
        Distribution::of(&point).unwrap()
    }

    fn explicit(point: &HistogramDataPoint) -> Distribution {
        distribution_of(Data::Histogram(Histogram { data_points: vec![point.clone()], aggregation_temporality: 2 }))
    }

    fn exponential(point: &ExponentialHistogramDataPoint) -> Distribution {
        let data_points = vec![point.clone()];
        distribution_of(Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality: 2 }))
    }

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
        let distribution = explicit(&point);
        assert_eq!(values(&distribution), [10.0, 20.0, 29.0]);
        assert_eq!(distribution.mean(), Some(10.0));
        let open = HistogramDataPoint { max: None, ..point.clone() };
        assert_eq!(values(&explicit(&open)), [10.0, 20.0, 20.0]);
        let narrow = HistogramDataPoint { min: Some(9.0), max: Some(9.5), ..point };
        assert_eq!(values(&explicit(&narrow)), [9.5, 9.5, 9.5]);
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
        let shown = values(&exponential(&positive));
        assert!((16.0..=32.0).contains(&shown[0]) && (32.0..=64.0).contains(&shown[2]), "{shown:?}");
        let negative =
            ExponentialHistogramDataPoint { negative: positive.positive.clone(), positive: None, ..positive };
        let mirrored = values(&exponential(&negative));
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
        assert!(explicit(&lengths).quantiles().is_empty());
        let hostile = HistogramDataPoint {
            bucket_counts: vec![u64::MAX, u64::MAX],
            explicit_bounds: vec![f64::NAN],
            min: Some(f64::INFINITY),
            max: Some(f64::NEG_INFINITY),
            ..HistogramDataPoint::default()
        };
        assert_eq!(explicit(&hostile).quantiles().len(), 3);
        let scales = ExponentialHistogramDataPoint {
            scale: i32::MIN,
            positive: Some(Buckets { offset: i32::MAX, bucket_counts: vec![1; 4] }),
            ..ExponentialHistogramDataPoint::default()
        };
        assert_eq!(exponential(&scales).quantiles().len(), 3);
        assert_eq!(explicit(&HistogramDataPoint::default()).mean(), None);
    }
}
