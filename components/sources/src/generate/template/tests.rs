//! What batches of a template share and where they differ, seen through the structs that a receiver decodes.
#![allow(clippy::unwrap_used, reason = "a batch that cannot be decoded is a failed test")]

use std::collections::{BTreeSet, HashMap, HashSet};

use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point::Value};

use super::*;

const SHAPE: Shape = Shape { records: 1000, resources: 5, attributes: 8, body_bytes: 128 };
const STARTED: u64 = 1_799_999_000_000_000_000;
const NOW_NANOS: u64 = 1_800_000_000_000_000_000;

fn moment(round: u64) -> Moment {
    let ids = 0x0123_4567_89ab_cdef_1122_3344_5566_7788_u128.wrapping_mul(u128::from(round));
    Moment { now: NOW_NANOS + round, started: STARTED, round, ids }
}

fn template(signal: Signal, shape: Shape) -> Template {
    Template::new(signal, shape, 42)
}

fn decode_metrics(bytes: &Bytes) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(bytes.clone()).unwrap();
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

/// Every signal is admitted, has the asked number of records and resources, and realistic sizes.
#[test]
fn sizes() {
    let cases = [(Signal::Logs, 440), (Signal::Traces, 400), (Signal::Metrics, 330)];
    for (signal, expected) in cases {
        let batch = template(signal, SHAPE).batch(moment(1));
        let wire = otlp::admit(signal, batch.clone()).unwrap();
        assert_eq!(wire.records(), 1000, "{signal:?}");
        assert_eq!(wire.resources().count(), 5, "{signal:?}");
        let each = batch.len() / 1000;
        assert!((expected * 85 / 100..expected * 115 / 100).contains(&each), "{signal:?}: {each} bytes a record");
    }
}

/// A shape is honoured: attributes, body length, resources that are more than the records.
#[test]
fn shapes() {
    let shape = Shape { records: 3, resources: 7, attributes: 11, body_bytes: 1000 };
    let logs = ExportLogsServiceRequest::decode(template(Signal::Logs, shape).batch(moment(1))).unwrap();
    assert_eq!(logs.resource_logs.len(), 3);
    for resource in &logs.resource_logs {
        for record in &resource.scope_logs[0].log_records {
            assert_eq!(record.attributes.len(), 11);
            let body = record.body.as_ref().unwrap().value.as_ref().unwrap();
            let opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text) = body else {
                panic!("the body is text")
            };
            assert_eq!(text.len(), 1000);
        }
    }
    let bare = Shape { records: 25, resources: 1, attributes: 0, body_bytes: 0 };
    for signal in Signal::ALL {
        let wire = otlp::admit(signal, template(signal, bare).batch(moment(1))).unwrap();
        assert_eq!(wire.records(), 25, "{signal:?}");
    }
}

/// Log records carry the time of their batch, and no two batches share an id.
#[test]
fn log_times_and_ids() {
    let template = template(Signal::Logs, SHAPE);
    let mut ids = HashSet::new();
    for round in 1..=3 {
        let request = ExportLogsServiceRequest::decode(template.batch(moment(round))).unwrap();
        let records = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs[0].log_records);
        for record in records {
            assert_eq!(record.observed_time_unix_nano, NOW_NANOS + round);
            assert!(record.time_unix_nano <= record.observed_time_unix_nano);
            assert!(record.time_unix_nano > NOW_NANOS - 1_000_000_000);
            assert!(ids.insert(record.trace_id.clone()));
        }
    }
    assert_eq!(ids.len(), 3000);
}

/// Traces are whole: one root each, every other span's parent is in the batch and of the same trace, children lie
/// within their parents, and another batch holds other traces.
#[test]
fn traces_are_whole() {
    let template = template(Signal::Traces, SHAPE);
    let mut trace_ids = HashSet::new();
    for round in 1..=2 {
        let request = ExportTraceServiceRequest::decode(template.batch(moment(round))).unwrap();
        let spans: Vec<_> =
            request.resource_spans.iter().flat_map(|resource| resource.scope_spans[0].spans.clone()).collect();
        let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id.clone(), span)).collect();
        assert_eq!(by_id.len(), spans.len());
        let mut roots = HashSet::new();
        for span in &spans {
            assert!(span.start_time_unix_nano < span.end_time_unix_nano);
            assert!(span.end_time_unix_nano <= NOW_NANOS + round);
            if span.parent_span_id.is_empty() {
                assert!(roots.insert(span.trace_id.clone()));
                continue;
            }
            let parent = by_id[&span.parent_span_id];
            assert_eq!(parent.trace_id, span.trace_id);
            assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= parent.end_time_unix_nano);
        }
        let traces: HashSet<_> = spans.iter().map(|span| span.trace_id.clone()).collect();
        assert_eq!(traces, roots);
        trace_ids.extend(traces);
    }
    let first = ExportTraceServiceRequest::decode(template.batch(moment(1))).unwrap();
    let again = &first.resource_spans[0].scope_spans[0].spans[0].trace_id;
    assert!(trace_ids.contains(again));
}

/// Counters and histograms grow with every batch and start when the generator did; gauges move; series stay.
#[test]
fn metrics_are_cumulative() {
    let template = template(Signal::Metrics, SHAPE);
    let (first, second) = (decode_metrics(&template.batch(moment(1))), decode_metrics(&template.batch(moment(2))));
    let mut kinds = BTreeSet::new();
    for (before, after) in first.iter().zip(&second) {
        assert_eq!(before.name, after.name);
        match (before.data.as_ref().unwrap(), after.data.as_ref().unwrap()) {
            (Data::Sum(before), Data::Sum(after)) => {
                kinds.insert("sum");
                for (old, new) in before.data_points.iter().zip(&after.data_points) {
                    assert_eq!(old.attributes, new.attributes);
                    assert_eq!(new.start_time_unix_nano, STARTED);
                    assert_eq!(new.time_unix_nano, NOW_NANOS + 2);
                    match (old.value.unwrap(), new.value.unwrap()) {
                        (Value::AsInt(old), Value::AsInt(new)) => assert_eq!(new, 2 * old),
                        (Value::AsDouble(old), Value::AsDouble(new)) => assert_eq!(new, 2.0 * old),
                        other => panic!("the type changed: {other:?}"),
                    }
                }
            }
            (Data::Gauge(before), Data::Gauge(after)) => {
                kinds.insert("gauge");
                assert!(after.data_points.iter().all(|point| point.start_time_unix_nano == 0));
                let moved = before.data_points.iter().zip(&after.data_points).any(|(old, new)| old.value != new.value);
                assert!(moved);
            }
            (Data::Histogram(before), Data::Histogram(after)) => {
                kinds.insert("histogram");
                for (old, new) in before.data_points.iter().zip(&after.data_points) {
                    assert_eq!(new.bucket_counts.len(), new.explicit_bounds.len() + 1);
                    assert_eq!(new.bucket_counts.iter().sum::<u64>(), new.count);
                    assert_eq!(new.count, 2 * old.count);
                    assert_eq!(new.start_time_unix_nano, STARTED);
                }
            }
            other => panic!("the kind changed: {other:?}"),
        }
    }
    assert_eq!(kinds.len(), 3);
}

/// No two points of one batch belong to the same series.
#[test]
fn series_are_distinct() {
    for attributes in [0, 1, 8] {
        let shape = Shape { attributes, resources: 1, ..SHAPE };
        let mut seen = HashSet::new();
        for metric in decode_metrics(&template(Signal::Metrics, shape).batch(moment(1))) {
            let labels: Vec<String> = match metric.data.unwrap() {
                Data::Sum(sum) => sum.data_points.iter().map(|point| format!("{:?}", point.attributes)).collect(),
                Data::Gauge(gauge) => gauge.data_points.iter().map(|point| format!("{:?}", point.attributes)).collect(),
                Data::Histogram(all) => all.data_points.iter().map(|point| format!("{:?}", point.attributes)).collect(),
                other => panic!("unexpected data {other:?}"),
            };
            for label in labels {
                assert!(seen.insert((metric.name.clone(), label)));
            }
        }
        assert_eq!(seen.len(), 1000);
    }
}
