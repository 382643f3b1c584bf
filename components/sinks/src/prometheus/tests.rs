//! What is scraped after what was sent, and the bounds of the table.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::Arc;

use engine_config::{ByteSize, ComponentId, SignalSet};
use engine_core::service::Services;
use engine_core::test_kit;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use otlp::Decoded;

use super::exposition::{Format, Syntax};
use super::*;

const CUMULATIVE: i32 = 2;
const DELTA: i32 = 1;

const TEXT: Format = Format { syntax: Syntax::Text, timestamps: Timestamps::Absent };
const OPEN_METRICS: Format = Format { syntax: Syntax::OpenMetrics, timestamps: Timestamps::Absent };

fn sink(options: Options) -> Prometheus {
    let (_threads, lanes) = test_kit::lanes(1);
    let context = BuildContext {
        id: ComponentId::new("prometheus").unwrap(),
        signals: SignalSet::METRICS,
        lanes,
        services: Services::default(),
    };
    Prometheus::build(&options, &context).unwrap()
}

/// Without labels that are the same everywhere.
fn plain() -> Options {
    Options { scope_labels: false, ..Options::default() }
}

fn shown(sink: &Prometheus, format: Format) -> String {
    String::from_utf8(server::page(&sink.shared, format)).unwrap()
}

/// The lines with values.
fn samples(sink: &Prometheus) -> Vec<String> {
    shown(sink, TEXT).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn attributes(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    let one = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue((*value).to_owned())) }),
        ..KeyValue::default()
    };
    pairs.iter().map(one).collect()
}

fn request(resource: &[(&str, &str)], metrics: Vec<Metric>) -> Payload {
    let scope = InstrumentationScope { name: "shop/cart".to_owned(), version: "1.2".to_owned(), ..Default::default() };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
    let resource = Some(Resource { attributes: attributes(resource), ..Resource::default() });
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
    Payload::Wire(Decoded::Metrics(ExportMetricsServiceRequest { resource_metrics }).encode().unwrap())
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    let (name, unit) = (name.to_owned(), unit.to_owned());
    Metric { name, unit, description: "Some \"help\"\nin \\ lines.".to_owned(), data: Some(data), ..Metric::default() }
}

fn number(pairs: &[(&str, &str)], (start, end): (u64, u64), value: i64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(pairs),
        start_time_unix_nano: start,
        time_unix_nano: end,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

fn sum(temporality: i32, points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum { data_points: points, aggregation_temporality: temporality, is_monotonic: true })
}

fn gauge(points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points: points })
}

fn histogram(temporality: i32, (start, end): (u64, u64), counts: &[u64]) -> Data {
    let point = HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: end,
        count: counts.iter().sum(),
        sum: Some(12.5),
        bucket_counts: counts.to_vec(),
        explicit_bounds: vec![0.5, 1.0],
        exemplars: vec![Exemplar {
            time_unix_nano: 1_700_000_000_123_000_000,
            trace_id: vec![0xab; 16],
            span_id: vec![0xcd; 8],
            value: Some(exemplar::Value::AsDouble(0.7)),
            ..Exemplar::default()
        }],
        ..HistogramDataPoint::default()
    };
    Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: temporality })
}

fn exponential(temporality: i32, (start, end): (u64, u64)) -> Data {
    let buckets = |counts: &[u64]| Some(Buckets { offset: 0, bucket_counts: counts.to_vec() });
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: end,
        count: 8,
        sum: Some(20.0),
        scale: 0,
        zero_count: 1,
        positive: buckets(&[2, 3]),
        negative: buckets(&[2]),
        ..ExponentialHistogramDataPoint::default()
    };
    let data_points = vec![point];
    Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality: temporality })
}

fn summary() -> Data {
    let quantile = |quantile, value| ValueAtQuantile { quantile, value };
    let quantile_values = vec![quantile(0.5, 1.0), quantile(0.99, f64::NAN)];
    let point = SummaryDataPoint { count: 5, sum: 7.0, quantile_values, ..SummaryDataPoint::default() };
    Data::Summary(Summary { data_points: vec![point] })
}

fn one_of_each() -> Payload {
    let resource = [
        ("service.namespace", "shop"),
        ("service.name", "cart"),
        ("service.instance.id", "i-1"),
        ("host.name", "node-7"),
    ];
    let metrics = vec![
        metric("http.requests", "{request}", sum(CUMULATIVE, vec![number(&[("http.method", "GET")], (1, 2), 7)])),
        metric("queue.fill", "1", gauge(vec![number(&[], (0, 2), -3)])),
        metric("http.duration", "s", histogram(CUMULATIVE, (1, 2), &[1, 2, 3])),
        metric("message.size", "By", exponential(CUMULATIVE, (1, 2))),
        metric("rpc.time", "ms", summary()),
    ];
    request(&resource, metrics)
}

/// Every kind of point, in the text format.
#[tokio::test]
async fn text() {
    let sink = sink(Options::default());
    assert_eq!(sink.deliver(one_of_each()).await, Outcome::Delivered);
    let own = r#"instance="i-1",job="shop/cart""#;
    let labels = r#"instance="i-1",job="shop/cart",otel_scope_name="shop/cart",otel_scope_version="1.2""#;
    let expected = format!(
        r#"# TYPE http_duration_seconds histogram
# HELP http_duration_seconds Some "help"\nin \\ lines.
http_duration_seconds_bucket{{{labels},le="0.5"}} 1
http_duration_seconds_bucket{{{labels},le="1"}} 3
http_duration_seconds_bucket{{{labels},le="+Inf"}} 6
http_duration_seconds_sum{{{labels}}} 12.5
http_duration_seconds_count{{{labels}}} 6
# TYPE http_requests_total counter
# HELP http_requests_total Some "help"\nin \\ lines.
http_requests_total{{http_method="GET",{labels}}} 7
# TYPE message_size_bytes histogram
# HELP message_size_bytes Some "help"\nin \\ lines.
message_size_bytes_bucket{{{labels},le="-1"}} 2
message_size_bytes_bucket{{{labels},le="0"}} 3
message_size_bytes_bucket{{{labels},le="2"}} 5
message_size_bytes_bucket{{{labels},le="4"}} 8
message_size_bytes_bucket{{{labels},le="+Inf"}} 8
message_size_bytes_sum{{{labels}}} 20.0
message_size_bytes_count{{{labels}}} 8
# TYPE queue_fill_ratio gauge
# HELP queue_fill_ratio Some "help"\nin \\ lines.
queue_fill_ratio{{{labels}}} -3
# TYPE rpc_time_milliseconds summary
# HELP rpc_time_milliseconds Some "help"\nin \\ lines.
rpc_time_milliseconds{{{labels},quantile="0.5"}} 1.0
rpc_time_milliseconds{{{labels},quantile="0.99"}} NaN
rpc_time_milliseconds_sum{{{labels}}} 7.0
rpc_time_milliseconds_count{{{labels}}} 5
# TYPE target_info gauge
# HELP target_info Target metadata
target_info{{host_name="node-7",{own}}} 1
"#
    );
    assert_eq!(shown(&sink, TEXT), expected);
}

/// What OpenMetrics has besides: names of counters without `_total`, units, the type info, exemplars, an end.
#[tokio::test]
async fn openmetrics() {
    let sink = sink(Options { send_timestamps: true, ..plain() });
    sink.deliver(one_of_each()).await;
    let text = shown(&sink, Format { timestamps: Timestamps::Sent, ..OPEN_METRICS });
    let labels = r#"instance="i-1",job="shop/cart""#;
    let expected = [
        "# TYPE http_requests counter".to_owned(),
        format!(r#"http_requests_total{{http_method="GET",{labels}}} 7 0.000"#),
        "# UNIT http_duration_seconds seconds".to_owned(),
        r#"# HELP http_duration_seconds Some \"help\"\nin \\ lines."#.to_owned(),
        format!(
            "http_duration_seconds_bucket{{{labels},le=\"1.0\"}} 3 0.000 # {{trace_id=\"{}\",span_id=\"{}\"}} 0.7 1700000000.123",
            "ab".repeat(16),
            "cd".repeat(8)
        ),
        "# TYPE target info".to_owned(),
        format!(r#"target_info{{host_name="node-7",{labels}}} 1"#),
    ];
    for line in &expected {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("trace_id").count(), 1, "an exemplar stands at its bucket only\n{text}");
    assert!(text.ends_with("\n# EOF\n"), "{text}");
}

/// Without suffixes a counter keeps its name in both formats.
#[tokio::test]
async fn counters_without_total() {
    let sink = sink(Options { add_metric_suffixes: false, ..plain() });
    sink.deliver(request(&[], vec![metric("hits", "1", sum(CUMULATIVE, vec![number(&[], (1, 2), 7)]))])).await;
    assert!(shown(&sink, TEXT).contains("# TYPE hits counter\n"));
    let open = shown(&sink, OPEN_METRICS);
    assert!(open.contains("# TYPE hits unknown\n") && open.contains("\nhits 7\n"), "{open}");
}

/// Deltas add up while they follow each other, over gaps too; what is behind is left out and what overlaps is refused.
#[tokio::test]
async fn deltas_add_up() {
    let sink = sink(plain());
    let send = |times, value| {
        sink.deliver(request(&[], vec![metric("hits", "", sum(DELTA, vec![number(&[], times, value)]))]))
    };
    for (times, value, expected) in
        [((10, 20), 1, 1), ((20, 30), 2, 3), ((40, 50), 4, 7), ((20, 30), 2, 7), ((50, 60), 0, 7)]
    {
        assert_eq!(send(times, value).await, Outcome::Delivered);
        assert_eq!(samples(&sink), [format!("hits_total {expected}")]);
    }
    let overlapping = send((55, 70), 100).await;
    assert!(matches!(&overlapping, Outcome::Partial { rejected: 1, message } if message.contains("overlap")));
    assert_eq!(samples(&sink), ["hits_total 7"]);
    let counts: BTreeMap<_, _> = sink.shared.counts().into_iter().collect();
    assert_eq!((counts["older"], counts["overlap"], counts["series"]), (1, 1, 1));
}

/// Delta histograms of both kinds add up.
#[tokio::test]
async fn delta_histograms_add_up() {
    let sink = sink(plain());
    for times in [(10, 20), (20, 30)] {
        let metrics =
            vec![metric("a", "", histogram(DELTA, times, &[1, 2, 3])), metric("b", "", exponential(DELTA, times))];
        assert_eq!(sink.deliver(request(&[], metrics)).await, Outcome::Delivered);
    }
    let shown = samples(&sink);
    for line in
        [r#"a_bucket{le="0.5"} 2"#, "a_sum 25.0", "a_count 12", r#"b_bucket{le="2"} 10"#, "b_count 16", "b_sum 40.0"]
    {
        assert!(shown.iter().any(|found| found == line), "{line}: {shown:?}");
    }
}

/// A cumulative point replaces the one before, unless it is older.
#[tokio::test]
async fn the_latest_is_shown() {
    let sink = sink(plain());
    for (end, value, expected) in [(20, 5, 5), (30, 9, 9), (25, 6, 9), (40, 1, 1)] {
        let metrics = vec![metric("hits", "", sum(CUMULATIVE, vec![number(&[], (10, end), value)]))];
        assert_eq!(sink.deliver(request(&[], metrics)).await, Outcome::Delivered);
        assert_eq!(samples(&sink), [format!("hits_total {expected}")]);
    }
}

/// A series whose source says that it has ended is gone at once, one without points after a while; then its name is free.
#[tokio::test(start_paused = true)]
async fn series_end() {
    let sink = sink(plain());
    let a = [("k", "a")];
    let both = vec![number(&a, (0, 1), 1), number(&[("k", "b")], (0, 1), 2)];
    sink.deliver(request(&[], vec![metric("m", "", gauge(both))])).await;
    let ended = NumberDataPoint { flags: 1, value: None, ..number(&a, (0, 2), 0) };
    assert_eq!(sink.deliver(request(&[], vec![metric("m", "", gauge(vec![ended]))])).await, Outcome::Delivered);
    assert_eq!(samples(&sink), [r#"m{k="b"} 2"#]);
    let changed = || request(&[], vec![metric("m", "", summary())]);
    assert!(matches!(sink.deliver(changed()).await, Outcome::Partial { rejected: 1, .. }));
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(samples(&sink), [""; 0]);
    assert_eq!(sink.shared.table.lock().size(), table::Size::default());
    assert_eq!(sink.deliver(changed()).await, Outcome::Delivered);
}

/// What a name is, is said by the first point; names that a sample of another family has are taken.
#[tokio::test]
async fn conflicts() {
    let sink = sink(plain());
    let point = || vec![number(&[], (0, 1), 1)];
    let taken = vec![
        metric("time", "s", histogram(CUMULATIVE, (1, 2), &[1, 0, 0])),
        metric("hits", "", sum(CUMULATIVE, point())),
    ];
    assert_eq!(sink.deliver(request(&[], taken)).await, Outcome::Delivered);
    for name in ["time.seconds", "time_seconds_sum", "hits", "hits_total", "target", "target_info"] {
        let outcome = sink.deliver(request(&[], vec![metric(name, "", gauge(point()))])).await;
        assert!(
            matches!(&outcome, Outcome::Partial { rejected: 1, message } if message.contains("conflict")),
            "{name}"
        );
    }
    assert_eq!(samples(&sink).len(), 6);
}

/// Points that are no values are refused and do no harm to others.
#[tokio::test]
async fn invalid_points() {
    let sink = sink(plain());
    let mut unsorted = histogram(CUMULATIVE, (1, 2), &[1, 2, 3]);
    let mut uneven = unsorted.clone();
    if let (Data::Histogram(unsorted), Data::Histogram(uneven)) = (&mut unsorted, &mut uneven) {
        unsorted.data_points[0].explicit_bounds.reverse();
        uneven.data_points[0].bucket_counts.push(1);
    }
    let mut far = exponential(CUMULATIVE, (1, 2));
    if let Data::ExponentialHistogram(far) = &mut far {
        far.data_points[0].scale = i32::MAX;
    }
    let metrics = vec![
        metric("a", "", unsorted),
        metric("b", "", uneven),
        metric("c", "", far),
        metric("d", "", sum(CUMULATIVE, vec![number(&[], (0, 1), -1)])),
        metric("e", "", gauge(vec![NumberDataPoint::default()])),
        metric("f", "", sum(0, vec![number(&[], (0, 1), 1)])),
        metric("日本", "", gauge(vec![number(&[], (0, 1), 1)])),
        metric("good", "", gauge(vec![number(&[], (0, 1), 1)])),
    ];
    let outcome = sink.deliver(request(&[], metrics)).await;
    let message = "data points that Prometheus cannot be shown: 7 for invalid".to_owned();
    assert_eq!(outcome, Outcome::Partial { rejected: 7, message });
    assert_eq!(samples(&sink), ["good 1"]);
}

/// Neither number nor memory of the series passes its bound, and series that are there are updated still.
#[tokio::test]
async fn bounds() {
    let points = |value| (0..100).map(|index| number(&[("k", &index.to_string())], (0, 1), value)).collect();
    let few = sink(Options { max_series: 10.try_into().unwrap(), ..plain() });
    for value in [1, 2] {
        let outcome = few.deliver(request(&[], vec![metric("m", "", gauge(points(value)))])).await;
        assert!(matches!(outcome, Outcome::Partial { rejected: 90, .. }), "{outcome:?}");
    }
    assert_eq!(samples(&few).len(), 10);
    assert!(samples(&few).iter().all(|line| line.ends_with(" 2")));
    let small = sink(Options { max_size: ByteSize::kib(4), ..plain() });
    let outcome = small.deliver(request(&[], vec![metric("m", "", gauge(points(1)))])).await;
    assert!(matches!(outcome, Outcome::Partial { rejected, .. } if (50..100).contains(&rejected)), "{outcome:?}");
    assert!(small.shared.table.lock().size().bytes <= 4096);
}

/// A page is no larger than the table may be, however often it repeats the labels of a histogram; help longer than what is
/// written at once is written once.
#[tokio::test]
async fn pages_are_bounded() {
    let limit = 1 << 20;
    let sink = sink(Options { max_size: ByteSize(limit), ..plain() });
    let wide = HistogramDataPoint {
        attributes: attributes(&[("k", &"x".repeat(15 * 1024))]),
        bucket_counts: vec![1; 501],
        explicit_bounds: (0..500).map(f64::from).collect(),
        ..HistogramDataPoint::default()
    };
    let data = Data::Histogram(Histogram { data_points: vec![wide], aggregation_temporality: CUMULATIVE });
    let outcome = sink.deliver(request(&[], vec![metric("wide", "", data)])).await;
    assert!(matches!(outcome, Outcome::Partial { rejected: 1, .. }), "{outcome:?}");
    let told = Metric {
        description: "x".repeat(300 * 1024),
        ..metric("m", "", gauge(vec![number(&[("k", "a")], (0, 1), 1), number(&[("k", "b")], (0, 1), 2)]))
    };
    assert_eq!(sink.deliver(request(&[], vec![told])).await, Outcome::Delivered);
    let page = shown(&sink, TEXT);
    assert!(page.len() as u64 <= limit, "{} bytes", page.len());
    assert_eq!((page.matches("# HELP").count(), samples(&sink).len()), (1, 2));
}

/// A point from the future, of a clock that was wrong, hides those behind it no longer than a series lives.
#[tokio::test(start_paused = true)]
async fn the_future_is_forgotten() {
    let sink = sink(plain());
    for (end, expected) in [(u64::MAX, 0), (1, 0), (2, 0), (3, 0), (4, 4)] {
        let points = vec![number(&[], (0, end), i64::try_from(end).unwrap_or(0))];
        sink.deliver(request(&[], vec![metric("m", "", gauge(points))])).await;
        assert_eq!(samples(&sink), [format!("m {expected}")]);
        tokio::time::advance(Duration::from_secs(100)).await;
        drop(sink.shared.current());
    }
}

/// Large requests are read beside the lane, with the same result; of a point with very many exemplars the latest stay.
#[tokio::test]
async fn large_requests() {
    let exemplars = |times: std::ops::Range<u64>| {
        let one = |time| Exemplar {
            time_unix_nano: time * 1_000_000_000,
            trace_id: vec![1; 16],
            value: Some(exemplar::Value::AsDouble(0.7)),
            ..Exemplar::default()
        };
        times.map(one).collect::<Vec<_>>()
    };
    let point = NumberDataPoint { exemplars: exemplars(1..50_000), ..number(&[], (0, 1), 7) };
    let sink = sink(plain());
    let large = request(&[], vec![metric("hits", "", sum(CUMULATIVE, vec![point]))]);
    assert!(matches!(&large, Payload::Wire(wire) if wire.len() > READ_INLINE));
    assert_eq!(sink.deliver(large).await, Outcome::Delivered);
    let page = shown(&sink, OPEN_METRICS);
    assert!(page.contains(" # {trace_id=\"01010101010101010101010101010101\"} 0.7 49999.000\n"), "{page}");
}

/// Labels: constant ones, chosen attributes of the resource, and none that replaces another.
#[tokio::test]
async fn labels() {
    let options = Options {
        const_labels: BTreeMap::from([("cluster".to_owned(), "eu\"1\"".to_owned())]),
        resource_labels: vec!["host.name".to_owned()],
        ..plain()
    };
    let sink = sink(options);
    let resource = [("service.name", "cart"), ("host.name", "node-7"), ("os.type", "linux")];
    let point = number(&[("job", "forged"), ("cluster", "x"), ("a", "1\n2")], (0, 1), 1);
    sink.deliver(request(&resource, vec![metric("m", "", gauge(vec![point]))])).await;
    let expected = [
        r#"m{a="1\n2",cluster="eu\"1\"",exported_cluster="x",exported_job="forged",host_name="node-7",job="cart"} 1"#,
        r#"target_info{cluster="eu\"1\"",host_name="node-7",job="cart",os_type="linux"} 1"#,
    ];
    assert_eq!(samples(&sink), expected);
}

/// A resource that comes back with other attributes has one `target_info`, so that joins on job and instance work.
#[tokio::test]
async fn one_target_info() {
    let sink = sink(plain());
    for pid in ["1", "2"] {
        let resource = [("service.name", "cart"), ("process.pid", pid)];
        sink.deliver(request(&resource, vec![metric("m", "", gauge(vec![number(&[], (0, 1), 1)]))])).await;
    }
    assert_eq!(samples(&sink), [r#"m{job="cart"} 1"#, r#"target_info{job="cart",process_pid="2"} 1"#]);
}

/// Over HTTP: the format and the coding that were asked for, and nothing else than the page.
#[tokio::test]
async fn over_http() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), ..plain() };
    let sockets = engine_core::socket::Sockets::default();
    let id = ComponentId::new("prometheus").unwrap();
    sockets.bind(&id, LISTEN, options.listen.get()).unwrap();
    let address = sockets.bound()[0].address;
    let sink = sink(options);
    let stop = tokio_util::sync::CancellationToken::new();
    let telemetry = Arc::new(engine_core::telemetry::ComponentTelemetry::default());
    let context = SinkContext { id, sockets, telemetry: Arc::clone(&telemetry), stop: stop.clone() };
    let served = tokio::spawn(sink.serve(context).unwrap());
    sink.deliver(one_of_each()).await;
    let ask = async |head: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let text = |answer: Vec<u8>| String::from_utf8(answer).unwrap();
    let plain = text(ask("GET /metrics HTTP/1.1").await);
    assert!(plain.contains("version=0.0.4") && plain.contains("\r\n\r\n# TYPE http_duration"), "{plain}");
    let open = text(ask("GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text").await);
    assert!(open.contains("version=1.0.0") && open.ends_with("# EOF\n"), "{open}");
    let packed = ask("GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip").await;
    let body = packed.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[body..]), &mut unpacked).unwrap();
    assert!(plain.ends_with(&text(unpacked)), "gzip changes nothing");
    assert!(text(ask("GET /other HTTP/1.1").await).starts_with("HTTP/1.1 404"));
    assert!(text(ask("POST /metrics HTTP/1.1").await).starts_with("HTTP/1.1 405"));
    let head = text(ask("HEAD /metrics HTTP/1.1").await);
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(telemetry.read().own["series"], 19);
    stop.cancel();
    test_kit::within("the server ends", served).await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is closed");
}

/// Scrapers that do not read what they asked for do not keep others from it for long.
#[tokio::test(start_paused = true)]
async fn unread_pages_are_given_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), ..plain() };
    let sockets = engine_core::socket::Sockets::default();
    let id = ComponentId::new("prometheus").unwrap();
    sockets.bind(&id, LISTEN, options.listen.get()).unwrap();
    let address = sockets.bound()[0].address;
    let sink = sink(options);
    // More than the system keeps for two sockets.
    let long = "x".repeat(15 * 1024);
    let points = (0..2000).map(|index| number(&[("k", &long), ("n", &index.to_string())], (0, 1), 1)).collect();
    assert_eq!(sink.deliver(request(&[], vec![metric("m", "", gauge(points))])).await, Outcome::Delivered);
    let telemetry = Arc::new(engine_core::telemetry::ComponentTelemetry::default());
    let context = SinkContext { id, sockets, telemetry, stop: tokio_util::sync::CancellationToken::new() };
    let _served = tokio::spawn(sink.serve(context).unwrap());
    let ask = async || {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (stream, status)
    };
    let mut unread = Vec::new();
    for _ in 0..4 {
        let (stream, status) = ask().await;
        assert_eq!(&status, b"HTTP/1.1 200");
        unread.push(stream);
    }
    assert_eq!(&ask().await.1, b"HTTP/1.1 503");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(&ask().await.1, b"HTTP/1.1 200");
}
