//! Batches at the price of a copy: content is encoded once, and a batch is a copy in which times, ids and values, all
//! of fixed width, are overwritten. Encoding every batch anew would cost more than a pipeline that is measured with it.
//!
//! One template stands for the same services over and over. The ids of a batch are those of the template combined with
//! random bits of the batch, so that spans keep their parents; counters grow by the same amount each time.

use std::ops::Range;

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    logs::v1::{ResourceLogs, ScopeLogs},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    trace::v1::{ResourceSpans, ScopeSpans},
};
use otlp::Signal;
use prost::Message;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    content::{self, NOW, POINTS_PER_METRIC, SPANS_PER_TRACE},
    fields::{children, fields},
};

/// What batches look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Log records, spans or data points.
    pub(super) records: usize,
    /// Resources that the records are spread over evenly.
    pub(super) resources: usize,
    /// Attributes of each record.
    pub(super) attributes: usize,
    /// Length of a log body in bytes.
    pub(super) body_bytes: usize,
}

/// What makes one batch differ from the others of its template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Nanoseconds since the Unix epoch.
    pub(super) now: u64,
    /// When counters started, in nanoseconds since the Unix epoch.
    pub(super) started: u64,
    /// The number of the batch among those of its template, from 1.
    pub(super) round: u64,
    /// Random bits for ids.
    pub(super) ids: u128,
}

/// An encoded request and the places in it that differ from batch to batch.
#[derive(Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    patches: Vec<Patch>,
}

#[derive(Debug, Clone, Copy)]
struct Patch {
    at: usize,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// A time, in nanoseconds before the batch's.
    Time { before: u64 },
    /// When the series started.
    Start,
    /// Sixteen bytes that are combined with the batch's.
    TraceId(u128),
    /// Eight bytes that are combined with the batch's.
    SpanId(u64),
    /// A whole number that has grown by this much with each batch.
    Count(u64),
    /// A number that has grown by this much with each batch.
    Total(f64),
    /// A whole number that goes up and down.
    Level(u64),
    /// A number that goes up and down.
    Ratio(f64),
}

impl Template {
    /// Makes up the content. The same arguments give the same template.
    pub(super) fn new(signal: Signal, shape: Shape, seed: u64) -> Template {
        let mut random = StdRng::seed_from_u64(seed);
        let parts = parts(shape);
        let bytes = match signal {
            Signal::Logs => logs(&mut random, shape, &parts),
            Signal::Traces => traces(&mut random, shape, &parts),
            Signal::Metrics => metrics(&mut random, shape, &parts),
        };
        let patches = find_patches(signal, &bytes);
        Template { bytes, patches }
    }

    /// One batch.
    pub(super) fn batch(&self, moment: Moment) -> Bytes {
        let mut bytes = self.bytes.clone();
        for patch in &self.patches {
            match patch.what {
                What::Time { before } => put(&mut bytes, patch.at, (moment.now - before).to_le_bytes()),
                What::Start => put(&mut bytes, patch.at, moment.started.to_le_bytes()),
                What::TraceId(id) => put(&mut bytes, patch.at, (id ^ moment.ids).to_le_bytes()),
                What::SpanId(id) => put(&mut bytes, patch.at, (id ^ moment.ids as u64).to_le_bytes()),
                What::Count(step) => put(&mut bytes, patch.at, step.wrapping_mul(moment.round).to_le_bytes()),
                What::Total(step) => put(&mut bytes, patch.at, (step * moment.round as f64).to_le_bytes()),
                What::Level(middle) => {
                    let level = middle as f64 * swing(patch.at, moment.round);
                    put(&mut bytes, patch.at, (level as u64).to_le_bytes());
                }
                What::Ratio(middle) => {
                    let ratio = middle * swing(patch.at, moment.round);
                    put(&mut bytes, patch.at, ratio.to_le_bytes());
                }
            }
        }
        bytes.into()
    }
}

fn put<const WIDTH: usize>(bytes: &mut [u8], at: usize, value: [u8; WIDTH]) {
    bytes[at..at + WIDTH].copy_from_slice(&value);
}

/// Between 0.5 and 1.5: a slow wave with another phase at each place.
fn swing(place: usize, round: u64) -> f64 {
    1.0 + 0.5 * ((place as f64) + (round as f64) * 0.05).sin()
}

/// How many records each resource gets; resources without a record are left out.
fn parts(shape: Shape) -> Vec<usize> {
    let resources = shape.resources.min(shape.records);
    let (each, more) = (shape.records / resources, shape.records % resources);
    (0..resources).map(|resource| each + usize::from(resource < more)).collect()
}

fn logs(random: &mut StdRng, shape: Shape, parts: &[usize]) -> Vec<u8> {
    let resource_logs = parts.iter().map(|records| ResourceLogs {
        resource: Some(content::resource(random)),
        scope_logs: vec![ScopeLogs {
            scope: Some(content::scope()),
            log_records: (0..*records)
                .map(|_| content::log_record(random, shape.attributes, shape.body_bytes))
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }.encode_to_vec()
}

fn traces(random: &mut StdRng, shape: Shape, parts: &[usize]) -> Vec<u8> {
    let resource_spans = parts.iter().map(|records| {
        let resource = content::resource(random);
        let mut spans = Vec::with_capacity(*records);
        while spans.len() < *records {
            let wanted = random.random_range(1..=SPANS_PER_TRACE).min(*records - spans.len());
            spans.extend(content::trace(random, shape.attributes, wanted));
        }
        ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans { scope: Some(content::scope()), spans, ..Default::default() }],
            ..Default::default()
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn metrics(random: &mut StdRng, shape: Shape, parts: &[usize]) -> Vec<u8> {
    // Without attributes nothing would tell the points of one metric apart.
    let most = if shape.attributes == 0 { 1 } else { POINTS_PER_METRIC };
    let resource_metrics = parts.iter().map(|records| {
        let resource = content::resource(random);
        let metrics = (0..records.div_ceil(most)).map(|number| {
            let points = most.min(records - number * most);
            content::metric(random, number, shape.attributes, points)
        });
        ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: metrics.collect(),
                scope: Some(content::scope()),
                ..Default::default()
            }],
            resource: Some(resource),
            ..Default::default()
        }
    });
    ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }.encode_to_vec()
}

/// Records are at the same place in all three requests: entry 1, scope list 2, record list 2 (`opentelemetry-proto`).
fn find_patches(signal: Signal, bytes: &[u8]) -> Vec<Patch> {
    let mut patches = Vec::new();
    for entry in children(bytes, 0..bytes.len(), 1) {
        for scope in children(bytes, entry, 2) {
            for record in children(bytes, scope, 2) {
                match signal {
                    Signal::Logs => patch_log_record(bytes, record, &mut patches),
                    Signal::Traces => patch_span(bytes, record, &mut patches),
                    Signal::Metrics => patch_metric(bytes, record, &mut patches),
                }
            }
        }
    }
    patches
}

fn patch_log_record(bytes: &[u8], record: Range<usize>, patches: &mut Vec<Patch>) {
    for field in fields(bytes, record) {
        let what = match field.number {
            1 | 11 => time(bytes, &field.content),
            9 => What::TraceId(u128::from_le_bytes(read(bytes, &field.content))),
            10 => What::SpanId(u64::from_le_bytes(read(bytes, &field.content))),
            _ => continue,
        };
        patches.push(Patch { at: field.content.start, what });
    }
}

fn patch_span(bytes: &[u8], record: Range<usize>, patches: &mut Vec<Patch>) {
    for field in fields(bytes, record) {
        let what = match field.number {
            1 => What::TraceId(u128::from_le_bytes(read(bytes, &field.content))),
            2 | 4 => What::SpanId(u64::from_le_bytes(read(bytes, &field.content))),
            7 | 8 => time(bytes, &field.content),
            _ => continue,
        };
        patches.push(Patch { at: field.content.start, what });
    }
}

fn patch_metric(bytes: &[u8], metric: Range<usize>, patches: &mut Vec<Patch>) {
    for data in fields(bytes, metric) {
        for point in children(bytes, data.content.clone(), 1) {
            match data.number {
                5 => patch_number(bytes, point, What::Level, What::Ratio, patches),
                7 => patch_number(bytes, point, What::Count, What::Total, patches),
                9 => patch_histogram(bytes, point, patches),
                _ => {}
            }
        }
    }
}

fn patch_number(
    bytes: &[u8],
    point: Range<usize>,
    whole: fn(u64) -> What,
    fraction: fn(f64) -> What,
    patches: &mut Vec<Patch>,
) {
    for field in fields(bytes, point) {
        let what = match field.number {
            2 => What::Start,
            3 => time(bytes, &field.content),
            4 => fraction(f64::from_le_bytes(read(bytes, &field.content))),
            6 => whole(u64::from_le_bytes(read(bytes, &field.content))),
            _ => continue,
        };
        patches.push(Patch { at: field.content.start, what });
    }
}

fn patch_histogram(bytes: &[u8], point: Range<usize>, patches: &mut Vec<Patch>) {
    for field in fields(bytes, point) {
        let what = match field.number {
            2 => What::Start,
            3 => time(bytes, &field.content),
            4 => What::Count(u64::from_le_bytes(read(bytes, &field.content))),
            5 => What::Total(f64::from_le_bytes(read(bytes, &field.content))),
            6 => {
                patches.extend(
                    field
                        .content
                        .step_by(8)
                        .map(|at| Patch { at, what: What::Count(u64::from_le_bytes(read(bytes, &(at..at + 8)))) }),
                );
                continue;
            }
            _ => continue,
        };
        patches.push(Patch { at: field.content.start, what });
    }
}

fn time(bytes: &[u8], content: &Range<usize>) -> What {
    What::Time { before: NOW - u64::from_le_bytes(read(bytes, content)) }
}

fn read<const WIDTH: usize>(bytes: &[u8], content: &Range<usize>) -> [u8; WIDTH] {
    bytes[content.clone()].try_into().expect("the field was encoded with its fixed width")
}

#[cfg(test)]
mod tests;
