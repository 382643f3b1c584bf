//! What data points of histograms and summaries hold beside what every point has: buckets, extremes, quantiles.

use super::{DataPointView, PointKind, bytes, messages, number};
use crate::protobuf::{Fields, WireType, varint};

/// The content of a histogram's or summary's point.
#[derive(Copy, Clone, Debug)]
pub enum DistributionView<'a> {
    /// Buckets between bounds that the source chose.
    Histogram(HistogramView<'a>),
    /// Buckets whose bounds are powers of one base.
    ExponentialHistogram(ExponentialHistogramView<'a>),
    /// Quantiles that the source computed.
    Summary(SummaryView<'a>),
}

/// A `HistogramDataPoint`.
#[derive(Copy, Clone, Debug)]
pub struct HistogramView<'a> {
    message: &'a [u8],
}

/// An `ExponentialHistogramDataPoint`.
#[derive(Copy, Clone, Debug)]
pub struct ExponentialHistogramView<'a> {
    message: &'a [u8],
}

/// The buckets of an exponential histogram on one side of zero.
#[derive(Copy, Clone, Debug)]
pub struct BucketsView<'a> {
    message: &'a [u8],
}

/// A `SummaryDataPoint`.
#[derive(Copy, Clone, Debug)]
pub struct SummaryView<'a> {
    message: &'a [u8],
}

/// A value below which a share of the measurements lies.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct QuantileView {
    /// The share, from 0 to 1.
    pub quantile: f64,
    /// The value.
    pub value: f64,
}

/// Varints that stand one behind the other.
#[derive(Copy, Clone, Debug)]
struct Varints<'a> {
    rest: &'a [u8],
}

impl<'a> DataPointView<'a> {
    /// What a histogram's or summary's point holds; none for other points.
    pub const fn distribution(&self) -> Option<DistributionView<'a>> {
        let message = self.as_bytes();
        match self.kind() {
            PointKind::Gauge | PointKind::Sum => None,
            PointKind::Histogram => Some(DistributionView::Histogram(HistogramView { message })),
            PointKind::ExponentialHistogram => {
                Some(DistributionView::ExponentialHistogram(ExponentialHistogramView { message }))
            }
            PointKind::Summary => Some(DistributionView::Summary(SummaryView { message })),
        }
    }
}

impl<'a> HistogramView<'a> {
    /// Measurements in each bucket.
    pub fn bucket_counts(&self) -> impl Iterator<Item = u64> + use<'a> {
        fixed64s(self.message, 6)
    }

    /// The bounds between the buckets.
    pub fn explicit_bounds(&self) -> impl Iterator<Item = f64> + use<'a> {
        fixed64s(self.message, 7).map(f64::from_bits)
    }

    /// The smallest measurement.
    pub fn min(&self) -> Option<f64> {
        double(self.message, 11)
    }

    /// The largest measurement.
    pub fn max(&self) -> Option<f64> {
        double(self.message, 12)
    }
}

impl<'a> ExponentialHistogramView<'a> {
    /// The base of the bounds is 2 to the power of 2^-scale.
    pub fn scale(&self) -> i32 {
        zigzag(number(self.message, 6))
    }

    /// Measurements within the threshold around zero.
    pub fn zero_count(&self) -> u64 {
        number(self.message, 7)
    }

    /// How far from zero a measurement counts as zero.
    pub fn zero_threshold(&self) -> f64 {
        double(self.message, 14).unwrap_or_default()
    }

    /// The buckets of positive measurements.
    pub fn positive(&self) -> BucketsView<'a> {
        BucketsView { message: bytes(self.message, 8) }
    }

    /// The buckets of negative measurements, from zero away.
    pub fn negative(&self) -> BucketsView<'a> {
        BucketsView { message: bytes(self.message, 9) }
    }

    /// The smallest measurement.
    pub fn min(&self) -> Option<f64> {
        double(self.message, 12)
    }

    /// The largest measurement.
    pub fn max(&self) -> Option<f64> {
        double(self.message, 13)
    }
}

impl<'a> BucketsView<'a> {
    /// The index of the first bucket: bucket i lies between base^i and base^(i+1).
    pub fn offset(&self) -> i32 {
        zigzag(number(self.message, 1))
    }

    /// Measurements in each bucket.
    pub fn bucket_counts(&self) -> impl Iterator<Item = u64> + use<'a> {
        Fields::new(self.message).filter(|field| field.number == 2).flat_map(|field| {
            let packed = match field.wire {
                WireType::Length => field.payload,
                // One number in a field of its own stands behind the key.
                _ => varint(field.raw).map_or(&[][..], |(_, key)| &field.raw[key..]),
            };
            Varints { rest: packed }
        })
    }
}

impl<'a> SummaryView<'a> {
    /// The quantiles, in order.
    pub fn quantiles(&self) -> impl Iterator<Item = QuantileView> + use<'a> {
        messages(self.message, 6).map(|message| QuantileView {
            quantile: double(message, 1).unwrap_or_default(),
            value: double(message, 2).unwrap_or_default(),
        })
    }
}

impl Iterator for Varints<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (value, len) = varint(self.rest)?;
        self.rest = &self.rest[len..];
        Some(value)
    }
}

/// The numbers in a repeated fixed64 field: packed, or each in a field of its own.
fn fixed64s(message: &[u8], number: u32) -> impl Iterator<Item = u64> {
    let fields = Fields::new(message).filter(move |field| field.number == number);
    let eights = fields.flat_map(|field| field.payload.as_chunks::<8>().0);
    eights.map(|eight| u64::from_le_bytes(*eight))
}

fn double(message: &[u8], field: u32) -> Option<f64> {
    Fields::new(message).scalar(field).map(f64::from_bits)
}

/// Reads a `sint32`.
const fn zigzag(encoded: u64) -> i32 {
    let number = encoded as u32;
    (number >> 1) as i32 ^ -((number & 1) as i32)
}
