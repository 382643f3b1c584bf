//! Exemplars: single measurements that a data point shows, with the trace they were made in.

use super::{Attributes, DataPointView, PointKind, bytes, messages, number};
use crate::protobuf::Fields;

/// An `Exemplar`.
#[derive(Copy, Clone, Debug)]
pub struct ExemplarView<'a> {
    message: &'a [u8],
}

impl<'a> DataPointView<'a> {
    /// The exemplars, in order; a summary has none.
    pub fn exemplars(&self) -> impl Iterator<Item = ExemplarView<'a>> + use<'a> {
        let (message, field) = match self.kind() {
            PointKind::Gauge | PointKind::Sum => (self.as_bytes(), 5),
            PointKind::Histogram => (self.as_bytes(), 8),
            PointKind::ExponentialHistogram => (self.as_bytes(), 11),
            PointKind::Summary => (&[][..], 1),
        };
        messages(message, field).map(|exemplar| ExemplarView { message: exemplar })
    }
}

impl<'a> ExemplarView<'a> {
    /// When it was measured, in nanoseconds since the Unix epoch.
    pub fn time_unix_nano(&self) -> u64 {
        number(self.message, 2)
    }

    /// The measurement if it is a double.
    pub fn as_double(&self) -> Option<f64> {
        Fields::new(self.message).scalar(3).map(f64::from_bits)
    }

    /// The measurement if it is an integer.
    pub fn as_int(&self) -> Option<i64> {
        Fields::new(self.message).scalar(6).map(|value| value as i64)
    }

    /// The id of the span it was made in; empty when there is none.
    pub fn span_id(&self) -> &'a [u8] {
        bytes(self.message, 4)
    }

    /// The id of the trace it was made in; empty when there is none.
    pub fn trace_id(&self) -> &'a [u8] {
        bytes(self.message, 5)
    }

    /// The attributes of the measurement that the point does not have.
    pub const fn filtered_attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, 7)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::{
        Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar,
    };
    use prost::Message as _;

    use crate::{Signal, admit};

    /// Every kind of point shows its exemplars with what they hold.
    #[test]
    fn of_every_kind() {
        let one = |value| Exemplar {
            time_unix_nano: 7,
            span_id: vec![2; 8],
            trace_id: vec![3; 16],
            value: Some(value),
            ..Exemplar::default()
        };
        let exemplars = vec![one(exemplar::Value::AsDouble(1.5)), one(exemplar::Value::AsInt(-4))];
        let number = NumberDataPoint { exemplars: exemplars.clone(), ..NumberDataPoint::default() };
        let histogram = HistogramDataPoint { exemplars: exemplars.clone(), ..HistogramDataPoint::default() };
        let exponential = ExponentialHistogramDataPoint { exemplars, ..ExponentialHistogramDataPoint::default() };
        let data = [
            Data::Sum(Sum { data_points: vec![number], ..Sum::default() }),
            Data::Histogram(Histogram { data_points: vec![histogram], ..Histogram::default() }),
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points: vec![exponential],
                ..ExponentialHistogram::default()
            }),
        ];
        let metrics = data.map(|data| Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() }).to_vec();
        let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
        let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
        let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec();
        let wire = admit(Signal::Metrics, bytes.into()).unwrap();
        let resource = wire.resources().next().unwrap();
        let scope = resource.scopes().next().unwrap();
        let mut seen = 0;
        for point in scope.metrics().flat_map(|metric| metric.data_points()) {
            let [first, second] = point.exemplars().collect::<Vec<_>>().try_into().unwrap();
            assert_eq!((first.as_double(), first.as_int(), first.time_unix_nano()), (Some(1.5), None, 7));
            assert_eq!((second.as_double(), second.as_int()), (None, Some(-4)));
            assert_eq!((first.span_id(), first.trace_id()), (&[2; 8][..], &[3; 16][..]));
            assert_eq!(first.filtered_attributes().count(), 0);
            seen += 1;
        }
        assert_eq!(seen, 3);
    }
}
