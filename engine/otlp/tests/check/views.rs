//! Views say what the decoded structs say.

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp::{
    Attributes, DataPointView, Decoded, DistributionView, LogRecordView, MetricView, PointKind, ResourceView,
    ScopeView, SpanView, ValueView, Wire,
};

pub fn agree(wire: &Wire, decoded: &Decoded) {
    let mut views = wire.resources();
    match decoded {
        Decoded::Logs(request) => {
            for entry in &request.resource_logs {
                let mut scopes = scopes(&mut views, entry.resource.as_ref(), &entry.schema_url);
                for scope in &entry.scope_logs {
                    let view = scope_agrees(&mut scopes, scope.scope.as_ref(), &scope.schema_url);
                    let logs: Vec<_> = view.log_records().collect();
                    assert_eq!(logs.len(), scope.log_records.len());
                    logs.iter().zip(&scope.log_records).for_each(|(view, log)| log_agrees(view, log));
                }
                assert!(scopes.next().is_none());
            }
        }
        Decoded::Traces(request) => {
            for entry in &request.resource_spans {
                let mut scopes = scopes(&mut views, entry.resource.as_ref(), &entry.schema_url);
                for scope in &entry.scope_spans {
                    let view = scope_agrees(&mut scopes, scope.scope.as_ref(), &scope.schema_url);
                    let spans: Vec<_> = view.spans().collect();
                    assert_eq!(spans.len(), scope.spans.len());
                    spans.iter().zip(&scope.spans).for_each(|(view, span)| span_agrees(view, span));
                }
                assert!(scopes.next().is_none());
            }
        }
        Decoded::Metrics(request) => {
            for entry in &request.resource_metrics {
                let mut scopes = scopes(&mut views, entry.resource.as_ref(), &entry.schema_url);
                for scope in &entry.scope_metrics {
                    let view = scope_agrees(&mut scopes, scope.scope.as_ref(), &scope.schema_url);
                    let metrics: Vec<_> = view.metrics().collect();
                    assert_eq!(metrics.len(), scope.metrics.len());
                    metrics.iter().zip(&scope.metrics).for_each(|(view, metric)| metric_agrees(view, metric));
                }
                assert!(scopes.next().is_none());
            }
        }
    }
    assert!(views.next().is_none(), "no view without an entry");
}

fn scopes<'a>(
    views: &mut impl Iterator<Item = ResourceView<'a>>,
    resource: Option<&Resource>,
    schema_url: &str,
) -> otlp::Scopes<'a> {
    let view = views.next().expect("a view of every entry");
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    attributes_agree(view.attributes(), attributes);
    for attribute in attributes {
        let first = attributes.iter().find(|other| other.key == attribute.key).expect("it is there");
        value_agrees(view.get(&attribute.key).expect("the key is there"), first.value.as_ref());
    }
    assert!(view.get("no such key").is_none());
    assert_eq!(view.schema_url(), schema_url);
    view.scopes()
}

fn scope_agrees<'a>(
    views: &mut impl Iterator<Item = ScopeView<'a>>,
    scope: Option<&InstrumentationScope>,
    schema_url: &str,
) -> ScopeView<'a> {
    let view = views.next().expect("a view of every scope list");
    let default = InstrumentationScope::default();
    let scope = scope.unwrap_or(&default);
    assert_eq!((view.name(), view.version(), view.schema_url()), (&*scope.name, &*scope.version, schema_url));
    attributes_agree(view.attributes(), &scope.attributes);
    view
}

fn attributes_agree(views: Attributes<'_>, attributes: &[KeyValue]) {
    assert_eq!(views.count(), attributes.len());
    for (view, attribute) in views.zip(attributes) {
        assert_eq!(view.key, attribute.key);
        value_agrees(view.value, attribute.value.as_ref());
    }
}

fn value_agrees(view: ValueView<'_>, value: Option<&AnyValue>) {
    match (view, value.and_then(|value| value.value.as_ref())) {
        (ValueView::Str(found), Some(Value::StringValue(expected))) => assert_eq!(found, expected),
        (ValueView::Bool(found), Some(Value::BoolValue(expected))) => assert_eq!(found, *expected),
        (ValueView::Int(found), Some(Value::IntValue(expected))) => assert_eq!(found, *expected),
        (ValueView::Double(found), Some(Value::DoubleValue(expected))) => {
            assert_eq!(found.to_bits(), expected.to_bits());
        }
        (ValueView::Bytes(found), Some(Value::BytesValue(expected))) => assert_eq!(found, expected),
        (ValueView::Array(found), Some(Value::ArrayValue(expected))) => {
            assert_eq!(found.iter().count(), expected.values.len());
            found.iter().zip(&expected.values).for_each(|(found, expected)| value_agrees(found, Some(expected)));
        }
        (ValueView::Map(found), Some(Value::KvlistValue(expected))) => attributes_agree(found.iter(), &expected.values),
        (ValueView::Empty, None | Some(Value::StringValueStrindex(_))) => {}
        (found, expected) => panic!("found {found:?}, expected {expected:?}"),
    }
}

fn log_agrees(view: &LogRecordView<'_>, log: &LogRecord) {
    assert_eq!(view.time_unix_nano(), log.time_unix_nano);
    assert_eq!(view.observed_time_unix_nano(), log.observed_time_unix_nano);
    assert_eq!(view.severity_number(), log.severity_number);
    assert_eq!(view.severity_text(), log.severity_text);
    assert_eq!(view.dropped_attributes_count(), log.dropped_attributes_count);
    assert_eq!(view.flags(), log.flags);
    assert_eq!((view.trace_id(), view.span_id()), (&log.trace_id[..], &log.span_id[..]));
    assert_eq!(view.event_name(), log.event_name);
    value_agrees(view.body(), log.body.as_ref());
    attributes_agree(view.attributes(), &log.attributes);
}

fn span_agrees(view: &SpanView<'_>, span: &Span) {
    assert_eq!((view.trace_id(), view.span_id()), (&span.trace_id[..], &span.span_id[..]));
    assert_eq!((view.trace_state(), view.parent_span_id()), (&*span.trace_state, &span.parent_span_id[..]));
    assert_eq!((view.name(), view.kind()), (&*span.name, span.kind));
    assert_eq!(view.start_time_unix_nano(), span.start_time_unix_nano);
    assert_eq!(view.end_time_unix_nano(), span.end_time_unix_nano);
    assert_eq!(view.dropped_attributes_count(), span.dropped_attributes_count);
    assert_eq!(view.flags(), span.flags);
    let status = span.status.clone().unwrap_or_default();
    assert_eq!((view.status_code(), view.status_message()), (status.code, &*status.message));
    attributes_agree(view.attributes(), &span.attributes);
    assert_eq!((view.events().count(), view.links().count()), (span.events.len(), span.links.len()));
    for (view, event) in view.events().zip(&span.events) {
        assert_eq!((view.time_unix_nano(), view.name()), (event.time_unix_nano, &*event.name));
        assert_eq!(view.dropped_attributes_count(), event.dropped_attributes_count);
        attributes_agree(view.attributes(), &event.attributes);
    }
    for (view, link) in view.links().zip(&span.links) {
        assert_eq!((view.trace_id(), view.span_id()), (&link.trace_id[..], &link.span_id[..]));
        assert_eq!((view.trace_state(), view.flags()), (&*link.trace_state, link.flags));
        assert_eq!(view.dropped_attributes_count(), link.dropped_attributes_count);
        attributes_agree(view.attributes(), &link.attributes);
    }
}

fn metric_agrees(view: &MetricView<'_>, metric: &Metric) {
    assert_eq!((view.name(), view.description(), view.unit()), (&*metric.name, &*metric.description, &*metric.unit));
    attributes_agree(view.metadata(), &metric.metadata);
    let views: Vec<DataPointView<'_>> = view.data_points().collect();
    let (kind, temporality, monotonic, points) = match &metric.data {
        Some(Data::Gauge(data)) => (PointKind::Gauge, 0, false, data.data_points.len()),
        Some(Data::Sum(data)) => {
            (PointKind::Sum, data.aggregation_temporality, data.is_monotonic, data.data_points.len())
        }
        Some(Data::Histogram(data)) => {
            (PointKind::Histogram, data.aggregation_temporality, false, data.data_points.len())
        }
        Some(Data::ExponentialHistogram(data)) => {
            (PointKind::ExponentialHistogram, data.aggregation_temporality, false, data.data_points.len())
        }
        Some(Data::Summary(data)) => (PointKind::Summary, 0, false, data.data_points.len()),
        None => {
            assert!(view.kind().is_none() && views.is_empty());
            return;
        }
    };
    assert_eq!(view.kind(), Some(kind));
    assert_eq!((view.aggregation_temporality(), view.is_monotonic()), (temporality, monotonic));
    assert_eq!(views.len(), points);
    for (index, point) in views.iter().enumerate() {
        point_agrees(point, metric.data.as_ref().expect("it has data"), index);
    }
}

fn point_agrees(view: &DataPointView<'_>, data: &Data, index: usize) {
    let number = |points: &[opentelemetry_proto::tonic::metrics::v1::NumberDataPoint]| {
        let point = &points[index];
        attributes_agree(view.attributes(), &point.attributes);
        let (double, int) = match point.value {
            Some(number_data_point::Value::AsDouble(value)) => (Some(value.to_bits()), None),
            Some(number_data_point::Value::AsInt(value)) => (None, Some(value)),
            None => (None, None),
        };
        assert_eq!((view.as_double().map(f64::to_bits), view.as_int()), (double, int));
        assert_eq!((view.count(), view.sum()), (None, None));
        (point.start_time_unix_nano, point.time_unix_nano, point.flags)
    };
    let summed = |count: u64, sum: Option<f64>| {
        assert_eq!((view.count(), view.sum().map(f64::to_bits)), (Some(count), sum.map(f64::to_bits)));
        assert_eq!((view.as_double(), view.as_int()), (None, None));
    };
    let (start, time, flags) = match data {
        Data::Gauge(data) => number(&data.data_points),
        Data::Sum(data) => number(&data.data_points),
        Data::Histogram(data) => {
            let point = &data.data_points[index];
            attributes_agree(view.attributes(), &point.attributes);
            summed(point.count, point.sum);
            histogram_agrees(view, point);
            (point.start_time_unix_nano, point.time_unix_nano, point.flags)
        }
        Data::ExponentialHistogram(data) => {
            let point = &data.data_points[index];
            attributes_agree(view.attributes(), &point.attributes);
            summed(point.count, point.sum);
            exponential_histogram_agrees(view, point);
            (point.start_time_unix_nano, point.time_unix_nano, point.flags)
        }
        Data::Summary(data) => {
            let point = &data.data_points[index];
            attributes_agree(view.attributes(), &point.attributes);
            // The sum of a summary is no optional field: absent means zero.
            assert_eq!(view.count(), Some(point.count));
            assert_eq!(view.sum().unwrap_or_default().to_bits(), point.sum.to_bits());
            let Some(DistributionView::Summary(summary)) = view.distribution() else { panic!("{view:?}") };
            let expected = point.quantile_values.iter().flat_map(|given| [given.quantile, given.value]);
            assert_eq!(bits(summary.quantiles().flat_map(|given| [given.quantile, given.value])), bits(expected));
            (point.start_time_unix_nano, point.time_unix_nano, point.flags)
        }
    };
    assert_eq!((view.start_time_unix_nano(), view.time_unix_nano(), view.flags()), (start, time, flags));
}

fn histogram_agrees(view: &DataPointView<'_>, point: &HistogramDataPoint) {
    let Some(DistributionView::Histogram(histogram)) = view.distribution() else { panic!("{view:?}") };
    assert!(histogram.bucket_counts().eq(point.bucket_counts.iter().copied()));
    assert_eq!(bits(histogram.explicit_bounds()), bits(point.explicit_bounds.iter().copied()));
    assert_eq!((bits(histogram.min()), bits(histogram.max())), (bits(point.min), bits(point.max)));
}

fn exponential_histogram_agrees(view: &DataPointView<'_>, point: &ExponentialHistogramDataPoint) {
    let Some(DistributionView::ExponentialHistogram(histogram)) = view.distribution() else { panic!("{view:?}") };
    assert_eq!((histogram.scale(), histogram.zero_count()), (point.scale, point.zero_count));
    assert_eq!(bits([histogram.zero_threshold()]), bits([point.zero_threshold]));
    assert_eq!((bits(histogram.min()), bits(histogram.max())), (bits(point.min), bits(point.max)));
    for (buckets, expected) in [(histogram.positive(), &point.positive), (histogram.negative(), &point.negative)] {
        let expected = expected.clone().unwrap_or_default();
        assert_eq!(buckets.offset(), expected.offset);
        assert!(buckets.bucket_counts().eq(expected.bucket_counts));
    }
}

/// What can be compared where NaN is a value like others.
fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}
