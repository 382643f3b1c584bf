//! gRPC requests: heads of the three `Export` methods and the prefix before a message.

use bytes::{Buf, Bytes};
use http::header::{self, HeaderName, HeaderValue};

use crate::client::body::with_prefix;
use crate::client::{ClientError, ClientOptions, Head, head as build_head};
use otlp::{Rope, Signal};

use crate::{Compression, Protocol, compression};

const PREFIX: usize = 5;

pub(super) fn head(options: &ClientOptions, signal: Signal) -> Result<Head, ClientError> {
    let path = match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    };
    // The unit with the best resolution whose number has the at most eight digits that gRPC allows.
    let timeout = match options.timeout.as_millis() {
        milliseconds @ 0..=99_999_999 => format!("{}m", milliseconds.max(1)),
        _ => format!("{}S", options.timeout.as_secs().min(99_999_999)),
    };
    let mut fixed = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
        (header::TE, HeaderValue::from_static("trailers")),
        (
            HeaderName::from_static("grpc-timeout"),
            HeaderValue::try_from(timeout).expect("digits and a letter are a valid header value"),
        ),
    ];
    if let Some(encoding) = options.compression.encoding() {
        fixed.push((HeaderName::from_static("grpc-encoding"), HeaderValue::from_static(encoding.name())));
    }
    build_head(options, path, &fixed)
}

/// The length-prefixed message of a body.
pub(super) async fn frame(compression: Compression, body: &mut impl Buf) -> std::io::Result<Rope> {
    if compression == Compression::None {
        return Ok(with_prefix(&prefix(0, body.remaining())?, body));
    }
    let mut message = compression::deflate(compression, Protocol::Grpc, body, PREFIX).await?;
    let length = message.len() - PREFIX;
    message[..PREFIX].copy_from_slice(&prefix(1, length)?);
    Ok(Rope::from(Bytes::from(message)))
}

fn prefix(compressed: u8, length: usize) -> std::io::Result<[u8; PREFIX]> {
    let length = u32::try_from(length).map_err(|_| std::io::Error::other("a grpc message holds at most 4 GiB"))?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([compressed, a, b, c, d])
}
