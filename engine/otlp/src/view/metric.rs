//! Metrics and their data points.

use super::{Attributes, messages, number, text};
use crate::protobuf::Fields;

/// A metric with its data points.
#[derive(Copy, Clone, Debug)]
pub struct MetricView<'a> {
    message: &'a [u8],
}

/// What a metric holds.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum PointKind {
    /// `Gauge`
    Gauge,
    /// `Sum`
    Sum,
    /// `Histogram`
    Histogram,
    /// `ExponentialHistogram`
    ExponentialHistogram,
    /// `Summary`
    Summary,
}

/// A data point of any kind.
#[derive(Copy, Clone, Debug)]
pub struct DataPointView<'a> {
    kind: PointKind,
    message: &'a [u8],
}

impl PointKind {
    /// The kind of the data in this field of a metric.
    pub(crate) const fn of_field(number: u32) -> Option<Self> {
        match number {
            5 => Some(Self::Gauge),
            7 => Some(Self::Sum),
            9 => Some(Self::Histogram),
            10 => Some(Self::ExponentialHistogram),
            11 => Some(Self::Summary),
            _ => None,
        }
    }
}

impl<'a> MetricView<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { message }
    }

    /// The encoded metric, without the key and length before it.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.message
    }

    /// The metric's name.
    pub fn name(&self) -> &'a str {
        text(self.message, 1)
    }

    /// The metric's description.
    pub fn description(&self) -> &'a str {
        text(self.message, 2)
    }

    /// The metric's unit.
    pub fn unit(&self) -> &'a str {
        text(self.message, 3)
    }

    /// The metric's metadata attributes.
    pub const fn metadata(&self) -> Attributes<'a> {
        Attributes::new(self.message, 12)
    }

    /// What the metric holds; `None` when it has no data at all.
    pub fn kind(&self) -> Option<PointKind> {
        self.data().map(|(kind, _)| kind)
    }

    /// `AggregationTemporality` as a number: 0 unspecified (gauges, summaries), 1 delta, 2 cumulative.
    pub fn aggregation_temporality(&self) -> i32 {
        match self.data() {
            Some((PointKind::Sum | PointKind::Histogram | PointKind::ExponentialHistogram, data)) => {
                number(data, 2) as i32
            }
            // Field 2 of the others is unknown.
            Some((PointKind::Gauge | PointKind::Summary, _)) | None => 0,
        }
    }

    /// Whether a sum only grows.
    pub fn is_monotonic(&self) -> bool {
        self.data().is_some_and(|(kind, data)| kind == PointKind::Sum && number(data, 3) != 0)
    }

    /// The data points, in order.
    pub fn data_points(&self) -> impl Iterator<Item = DataPointView<'a>> + use<'a> {
        let (kind, data) = self.data().unwrap_or((PointKind::Gauge, &[]));
        messages(data, 1).map(move |message| DataPointView { kind, message })
    }

    fn data(&self) -> Option<(PointKind, &'a [u8])> {
        Fields::new(self.message).find_map(|field| PointKind::of_field(field.number).map(|kind| (kind, field.payload)))
    }
}

impl<'a> DataPointView<'a> {
    /// The encoded data point, without the key and length before it.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.message
    }

    /// What the metric holds.
    pub const fn kind(&self) -> PointKind {
        self.kind
    }

    /// The attributes, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        let field = match self.kind {
            PointKind::Gauge | PointKind::Sum | PointKind::Summary => 7,
            PointKind::Histogram => 9,
            PointKind::ExponentialHistogram => 1,
        };
        Attributes::new(self.message, field)
    }

    /// Start, in nanoseconds since the Unix epoch.
    pub fn start_time_unix_nano(&self) -> u64 {
        number(self.message, 2)
    }

    /// Time, in nanoseconds since the Unix epoch.
    pub fn time_unix_nano(&self) -> u64 {
        number(self.message, 3)
    }

    /// `DataPointFlags`.
    pub fn flags(&self) -> u32 {
        let field = match self.kind {
            PointKind::Gauge | PointKind::Sum | PointKind::Summary => 8,
            PointKind::Histogram | PointKind::ExponentialHistogram => 10,
        };
        number(self.message, field) as u32
    }

    /// The value of a gauge's or sum's point if it is a double.
    pub fn as_double(&self) -> Option<f64> {
        self.scalar(4).map(f64::from_bits)
    }

    /// The value of a gauge's or sum's point if it is an integer.
    pub fn as_int(&self) -> Option<i64> {
        self.scalar(6).map(|value| value as i64)
    }

    /// Measurements in a histogram's or summary's point.
    pub fn count(&self) -> Option<u64> {
        match self.kind {
            PointKind::Gauge | PointKind::Sum => None,
            PointKind::Histogram | PointKind::ExponentialHistogram | PointKind::Summary => {
                Some(number(self.message, 4))
            }
        }
    }

    /// Sum of the measurements in a histogram's or summary's point.
    pub fn sum(&self) -> Option<f64> {
        match self.kind {
            PointKind::Gauge | PointKind::Sum => None,
            PointKind::Histogram | PointKind::ExponentialHistogram | PointKind::Summary => {
                Fields::new(self.message).scalar(5).map(f64::from_bits)
            }
        }
    }

    fn scalar(&self, field: u32) -> Option<u64> {
        match self.kind {
            PointKind::Gauge | PointKind::Sum => Fields::new(self.message).scalar(field),
            PointKind::Histogram | PointKind::ExponentialHistogram | PointKind::Summary => None,
        }
    }
}
