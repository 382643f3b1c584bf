//! Collects the data points of one scrape and turns them into an OTLP export request.
//! Knows kinds, temporality and start times; knows no instrument by name and reads no file.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use engine_config::sources::host_metrics::Semconv;
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
        number_data_point::Value,
    },
    resource::v1::Resource,
};

use super::names::{Instrument, Kind, Named, schema_url};

/// The instrumentation scope of every metric of this source.
const SCOPE: &str = "telemetry-engine/host_metrics";

/// How long a series that is gone is remembered: one that comes back with a lower value has started anew.
const REMEMBERED_NANOS: u64 = 3_600_000_000_000;

/// An attribute of a data point: its key and its value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attribute<'a> {
    /// A value that is spelled in each mode.
    Name(Named, Named),
    /// A value that the host gave.
    Text(Named, &'a str),
    /// A number.
    Int(Named, u64),
}

/// When each counter started: the boot of the host, or later where a counter was seen to fall (a device that was
/// plugged in again, an interface that was created anew). Lives as long as the source.
#[derive(Debug, Default)]
pub(super) struct CounterStarts {
    hasher: RandomState,
    /// Per series: the last value and the start that was given with it.
    seen: HashMap<u64, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    value: f64,
    start: u64,
    /// The time of the scrape that saw it last.
    at: u64,
}

/// The times that a scrape is written with, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When the host started.
    pub(super) boot: u64,
    /// When the scrape before this one was taken; the boot time for the first.
    pub(super) previous: u64,
    /// When this scrape is taken.
    pub(super) now: u64,
}

/// The metrics of one scrape, being written.
pub(super) struct Sheet<'a> {
    semconv: Semconv,
    times: Times,
    starts: &'a mut CounterStarts,
    metrics: Vec<Metric>,
}

/// The data points of one instrument, being written.
pub(super) struct Points<'a> {
    semconv: Semconv,
    times: Times,
    kind: Kind,
    name: &'static str,
    starts: &'a mut CounterStarts,
    points: &'a mut Vec<NumberDataPoint>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(semconv: Semconv, times: Times, starts: &'a mut CounterStarts) -> Sheet<'a> {
        Sheet { semconv, times, starts, metrics: Vec::new() }
    }

    pub(super) fn semconv(&self) -> Semconv {
        self.semconv
    }

    /// Begins an instrument. One that gets no point is left out of the request.
    pub(super) fn metric(&mut self, instrument: &Instrument) -> Points<'_> {
        let name = instrument.name.text(self.semconv);
        let cumulative = AggregationTemporality::Cumulative.into();
        let data = match instrument.kind {
            Kind::Gauge => Data::Gauge(Gauge::default()),
            Kind::Counter | Kind::UpDownCounter => Data::Sum(Sum {
                aggregation_temporality: cumulative,
                is_monotonic: instrument.kind == Kind::Counter,
                ..Default::default()
            }),
        };
        self.metrics.push(Metric {
            name: name.to_owned(),
            description: instrument.description.to_owned(),
            unit: instrument.unit.text(self.semconv).to_owned(),
            data: Some(data),
            ..Default::default()
        });
        let points = match self.metrics.last_mut().and_then(|metric| metric.data.as_mut()) {
            Some(Data::Gauge(gauge)) => &mut gauge.data_points,
            Some(Data::Sum(sum)) => &mut sum.data_points,
            _ => unreachable!("the metric was pushed above with one of these two"),
        };
        Points { semconv: self.semconv, times: self.times, kind: instrument.kind, name, starts: self.starts, points }
    }

    /// The request, and how many data points it holds.
    pub(super) fn finish(mut self, resource: &Resource) -> (ExportMetricsServiceRequest, usize) {
        let now = self.times.now;
        self.starts.seen.retain(|_, seen| now.saturating_sub(seen.at) <= REMEMBERED_NANOS);
        self.metrics.retain(|metric| points_of(metric) > 0);
        let points = self.metrics.iter().map(points_of).sum();
        let schema_url = schema_url(self.semconv).to_owned();
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name: SCOPE.into(),
                        version: env!("CARGO_PKG_VERSION").into(),
                        ..Default::default()
                    }),
                    metrics: self.metrics,
                    schema_url: schema_url.clone(),
                }],
                schema_url,
            }],
        };
        (request, points)
    }
}

impl Points<'_> {
    /// Adds a whole number. OTLP numbers are signed; a count beyond that range does not occur on a host.
    pub(super) fn int(&mut self, value: u64, attributes: &[Attribute<'_>]) {
        let signed = i64::try_from(value).unwrap_or(i64::MAX);
        self.add(Value::AsInt(signed), value as f64, attributes);
    }

    pub(super) fn double(&mut self, value: f64, attributes: &[Attribute<'_>]) {
        self.add(Value::AsDouble(value), value, attributes);
    }

    fn add(&mut self, value: Value, number: f64, attributes: &[Attribute<'_>]) {
        let attributes: Vec<KeyValue> =
            attributes.iter().map(|attribute| key_value(self.semconv, *attribute)).collect();
        let start = match self.kind {
            Kind::Counter => self.starts.start_of(self.name, &attributes, number, self.times),
            Kind::UpDownCounter => self.times.boot,
            Kind::Gauge => 0,
        };
        self.points.push(NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: self.times.now,
            value: Some(value),
            ..Default::default()
        });
    }
}

impl CounterStarts {
    fn start_of(&mut self, name: &str, attributes: &[KeyValue], value: f64, times: Times) -> u64 {
        let series = self.hasher.hash_one(SeriesKey { name, attributes });
        let start = match self.seen.get(&series) {
            Some(seen) if value < seen.value => times.previous.min(times.now),
            Some(seen) => seen.start,
            None => times.boot,
        };
        let seen = Seen { value, start, at: times.now };
        self.seen.insert(series, seen);
        start
    }
}

struct SeriesKey<'a> {
    name: &'a str,
    attributes: &'a [KeyValue],
}

impl std::hash::Hash for SeriesKey<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        for attribute in self.attributes {
            attribute.key.hash(state);
            match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
                Some(any_value::Value::StringValue(text)) => text.hash(state),
                Some(any_value::Value::IntValue(number)) => number.hash(state),
                _ => {}
            }
        }
    }
}

/// A text attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.into())) }),
        ..Default::default()
    }
}

fn key_value(semconv: Semconv, attribute: Attribute<'_>) -> KeyValue {
    match attribute {
        Attribute::Name(key, value) => text(key.text(semconv), value.text(semconv)),
        Attribute::Text(key, value) => text(key.text(semconv), value),
        Attribute::Int(key, value) => KeyValue {
            key: key.text(semconv).to_owned(),
            value: Some(AnyValue { value: Some(any_value::Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX))) }),
            ..Default::default()
        },
    }
}

fn points_of(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        _ => 0,
    }
}
