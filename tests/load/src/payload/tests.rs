//! Sizes, counts and faults of generated requests.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use super::*;

/// The encoded bytes of a record are those that the measurements state, within 3 %.
#[test]
fn records_have_the_stated_size() {
    for (signal, stated) in [(Signal::Logs, 440.0), (Signal::Spans, 345.0), (Signal::Points, 229.0)] {
        let size = request(signal, Shape::STANDARD, 7).len() as f64 / 1000.0;
        assert!((size / stated - 1.0).abs() < 0.03, "{}: {size} bytes a record, stated {stated}", signal.name());
    }
}

/// Logs compress about as well as real ones: gzip level 1 to between a fourth and a sixth.
#[test]
fn logs_compress_like_text() {
    let message = request(Signal::Logs, Shape::STANDARD, 7);
    let ratio = message.len() as f64 / grpc_frame(&message, Compression::Gzip).len() as f64;
    assert!((4.0..6.0).contains(&ratio), "ratio {ratio}");
}

/// The mix of points is 40 % sums, 40 % gauges and 20 % histograms of 16 buckets.
#[test]
fn points_have_the_stated_mix() {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    let message = ExportMetricsServiceRequest::decode(request(Signal::Points, Shape::STANDARD, 7)).unwrap();
    let (mut sums, mut gauges, mut histograms) = (0, 0, 0);
    let scopes = message.resource_metrics.iter().flat_map(|entry| &entry.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => sums += sum.data_points.len(),
            Data::Gauge(gauge) => gauges += gauge.data_points.len(),
            Data::Histogram(histogram) => {
                histograms += histogram.data_points.len();
                assert!(histogram.data_points.iter().all(|point| point.bucket_counts.len() == 16));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!((sums, gauges, histograms), (400, 400, 200));
}

/// Seeds decide the content: the same one repeats it, another one does not.
#[test]
fn content_is_seeded() {
    let first = request(Signal::Logs, Shape::STANDARD, 1);
    assert_eq!(first, request(Signal::Logs, Shape::STANDARD, 1));
    assert_ne!(first, request(Signal::Logs, Shape::STANDARD, 2));
}

/// A decoder refuses every request that is meant to be refused.
#[test]
fn invalid_requests_do_not_decode() {
    for signal in Signal::ALL {
        for Invalid { fault, message } in invalid_requests(signal) {
            let decoded = match signal {
                Signal::Logs => ExportLogsServiceRequest::decode(message).map(drop),
                Signal::Spans => ExportTraceServiceRequest::decode(message).map(drop),
                Signal::Points => ExportMetricsServiceRequest::decode(message).map(drop),
            };
            assert!(decoded.is_err(), "{} with {fault} decodes", signal.name());
        }
    }
}
