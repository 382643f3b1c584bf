//! [`Decoded`]: a request as the structs of `opentelemetry-proto`, for transforms that need a tree. Decoding costs
//! some twenty times what admission costs, and unknown fields are lost; so nothing here is used on the way through.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;

use crate::{AdmitError, Signal, Wire, readmit};

/// A request as structs.
#[derive(Clone, PartialEq, Debug)]
pub enum Decoded {
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Metrics.
    Metrics(ExportMetricsServiceRequest),
    /// Spans.
    Traces(ExportTraceServiceRequest),
}

/// The structs cannot be stored: nobody could decode them again, because values are nested too deeply.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the request cannot be encoded so that it can be decoded again")]
pub struct EncodeError(#[from] AdmitError);

impl Decoded {
    /// A request without entries.
    pub fn empty(signal: Signal) -> Self {
        match signal {
            Signal::Logs => Self::Logs(ExportLogsServiceRequest::default()),
            Signal::Metrics => Self::Metrics(ExportMetricsServiceRequest::default()),
            Signal::Traces => Self::Traces(ExportTraceServiceRequest::default()),
        }
    }

    /// Decodes a body with prost, without admission.
    ///
    /// # Errors
    ///
    /// What prost refuses.
    pub fn decode(signal: Signal, body: Bytes) -> Result<Self, prost::DecodeError> {
        Ok(match signal {
            Signal::Logs => Self::Logs(ExportLogsServiceRequest::decode(body)?),
            Signal::Metrics => Self::Metrics(ExportMetricsServiceRequest::decode(body)?),
            Signal::Traces => Self::Traces(ExportTraceServiceRequest::decode(body)?),
        })
    }

    pub(crate) fn from_wire(wire: &Wire) -> Self {
        Self::decode(wire.signal(), wire.rope().into_bytes()).expect("prost decodes what was admitted")
    }

    /// The signal of all records.
    pub const fn signal(&self) -> Signal {
        match self {
            Self::Logs(_) => Signal::Logs,
            Self::Metrics(_) => Signal::Metrics,
            Self::Traces(_) => Signal::Traces,
        }
    }

    /// Log records, data points or spans.
    pub fn records(&self) -> u64 {
        let count: usize = match self {
            Self::Logs(request) => request
                .resource_logs
                .iter()
                .flat_map(|entry| &entry.scope_logs)
                .map(|scope| scope.log_records.len())
                .sum(),
            Self::Traces(request) => {
                request.resource_spans.iter().flat_map(|entry| &entry.scope_spans).map(|scope| scope.spans.len()).sum()
            }
            Self::Metrics(request) => request
                .resource_metrics
                .iter()
                .flat_map(|entry| &entry.scope_metrics)
                .flat_map(|scope| &scope.metrics)
                .map(|metric| match &metric.data {
                    Some(Data::Gauge(data)) => data.data_points.len(),
                    Some(Data::Sum(data)) => data.data_points.len(),
                    Some(Data::Histogram(data)) => data.data_points.len(),
                    Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
                    Some(Data::Summary(data)) => data.data_points.len(),
                    None => 0,
                })
                .sum(),
        };
        count as u64
    }

    /// Bytes that the request takes when it is encoded.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Logs(request) => request.encoded_len(),
            Self::Metrics(request) => request.encoded_len(),
            Self::Traces(request) => request.encoded_len(),
        }
    }

    /// The request as bytes.
    ///
    /// # Errors
    ///
    /// prost limits nesting when it decodes and not when it encodes; what it could not decode again is refused.
    pub fn encode(&self) -> Result<Wire, EncodeError> {
        let body = match self {
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
            Self::Traces(request) => request.encode_to_vec(),
        };
        Ok(readmit(self.signal(), Bytes::from(body))?)
    }
}
