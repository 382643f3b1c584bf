//! OTLP/HTTP requests: heads of the three paths, and the body as it is or compressed. Whether it is protobuf or JSON is a
//! matter of its content type only: whoever sends has made it.

use bytes::{Buf, Bytes};
use http::header::{self, HeaderValue};

use crate::client::body::with_prefix;
use crate::client::{BodyEncoding, ClientError, ClientOptions, Head, head as build_head};
use otlp::{Rope, Signal};

use crate::{Compression, Protocol, compression};

pub(super) fn head(options: &ClientOptions, signal: Signal) -> Result<Head, ClientError> {
    let given = match signal {
        Signal::Logs => &options.paths.logs,
        Signal::Metrics => &options.paths.metrics,
        Signal::Traces => &options.paths.traces,
    };
    let path = match given {
        Some(path) => path.clone(),
        None => format!("{}/v1/{}", options.endpoint.path().trim_end_matches('/'), signal.as_str()),
    };
    let media_type = match options.encoding {
        BodyEncoding::Protobuf => "application/x-protobuf",
        BodyEncoding::Json => "application/json",
    };
    let mut fixed = vec![(header::CONTENT_TYPE, HeaderValue::from_static(media_type))];
    if let Some(encoding) = options.compression.encoding() {
        fixed.push((header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name())));
    }
    build_head(options, &path, &fixed)
}

/// The body, compressed if asked.
pub(super) async fn frame(compression: Compression, body: &mut impl Buf) -> std::io::Result<Rope> {
    if compression == Compression::None {
        return Ok(with_prefix(&[], body));
    }
    Ok(Rope::from(Bytes::from(compression::deflate(compression, Protocol::Http, body, 0).await?)))
}
