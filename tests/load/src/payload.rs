//! Realistic OTLP export requests, encoded before a measurement starts, and requests that must be refused.
//! Content is random but seeded: two runs with one seed send the same bytes.

mod content;
mod identities;
mod invalid;

use bytes::{BufMut, Bytes, BytesMut};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    logs::v1::{ResourceLogs, ScopeLogs},
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans},
};
use prost::Message;
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{compression::Compression, signal::Signal};

pub use identities::Identities;
pub use invalid::{Invalid, invalid_requests};

/// Data points of one metric, where a resource has that many.
const POINTS_PER_METRIC: usize = 10;

/// The size of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Log records, spans or data points; a multiple of `resources`.
    pub records: usize,
    /// Resources that the records are spread over evenly.
    pub resources: usize,
    /// Attributes of each resource.
    pub resource_attributes: usize,
}

impl Shape {
    /// 1000 records of 5 resources with 10 attributes.
    pub const STANDARD: Shape = Shape { records: 1000, resources: 5, resource_attributes: 10 };
}

/// Encodes one export request; requests with different seeds share no random content.
pub fn request(signal: Signal, shape: Shape, seed: u64) -> Bytes {
    encode(signal, shape, seed, |random| content::resource(random, shape.resource_attributes))
}

/// Encodes one export request whose resources say of which pod they are by a unique id, which [`Identities`] writes, and
/// nothing else of where they come from.
pub fn request_of_pods(signal: Signal, shape: Shape, seed: u64) -> Bytes {
    encode(signal, shape, seed, |random| {
        content::resource_of_pod(random, shape.resource_attributes, identities::NO_POD)
    })
}

/// Encodes one export request whose resources are of these namespaces, one of each in turn.
pub fn request_of_namespaces(signal: Signal, shape: Shape, seed: u64, namespaces: &[String]) -> Bytes {
    let mut turn = namespaces.iter().cycle();
    encode(signal, shape, seed, move |random| {
        let namespace = turn.next().expect("there are namespaces");
        content::resource_of_namespace(random, shape.resource_attributes, namespace)
    })
}

fn encode(signal: Signal, shape: Shape, seed: u64, mut resource: impl FnMut(&mut StdRng) -> Resource) -> Bytes {
    let mut random = StdRng::seed_from_u64(seed);
    let each = shape.records / shape.resources;
    let message = match signal {
        Signal::Logs => {
            let resource_logs = (0..shape.resources).map(|_| ResourceLogs {
                resource: Some(resource(&mut random)),
                scope_logs: vec![ScopeLogs {
                    scope: Some(content::scope()),
                    log_records: (0..each).map(|_| content::log_record(&mut random)).collect(),
                    ..Default::default()
                }],
                ..Default::default()
            });
            ExportLogsServiceRequest { resource_logs: resource_logs.collect() }.encode_to_vec()
        }
        Signal::Spans => {
            let resource_spans = (0..shape.resources).map(|_| ResourceSpans {
                resource: Some(resource(&mut random)),
                scope_spans: vec![ScopeSpans {
                    scope: Some(content::scope()),
                    spans: (0..each).map(|_| content::span(&mut random)).collect(),
                    ..Default::default()
                }],
                ..Default::default()
            });
            ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
        }
        Signal::Points => {
            let points = each.min(POINTS_PER_METRIC);
            let resource_metrics = (0..shape.resources).map(|_| ResourceMetrics {
                resource: Some(resource(&mut random)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(content::scope()),
                    metrics: (0..each / points).map(|index| content::metric(&mut random, index, points)).collect(),
                    ..Default::default()
                }],
                ..Default::default()
            });
            ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() }.encode_to_vec()
        }
    };
    message.into()
}

/// Puts a gRPC length prefix before a message, which is compressed first.
pub fn grpc_frame(message: &[u8], compression: Compression) -> Bytes {
    let mut body = BytesMut::new().writer();
    compression.compress(message, &mut body).expect("compressing into memory succeeds");
    let body = body.into_inner();
    let mut frame = BytesMut::with_capacity(body.len() + 5);
    frame.put_u8(u8::from(compression != Compression::None));
    frame.put_u32(u32::try_from(body.len()).expect("a request is smaller than 4 GiB"));
    frame.put(body);
    frame.freeze()
}

#[cfg(test)]
mod tests;
