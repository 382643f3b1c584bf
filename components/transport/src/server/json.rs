//! OTLP/JSON at the door: requests become protobuf before anyone else sees them, and answers are JSON again.
//!
//! How JSON maps to OTLP is the matter of `otlp`; here is only what a server adds: memory, time, and answers.

use bytes::Bytes;
use engine_core::budget::Charge;
use otlp::Signal;
use otlp::json::SnakeCase;
use serde_json::json;

use crate::proto::RpcStatus;
use crate::server::body::{BodyError, Reading, Received};
use crate::status::shorten;

/// Texts over this size are read on a thread of their own, so that the lane can go on.
const READ_INLINE: usize = 256 * 1024;

/// Turns a JSON request into protobuf, and its charge into one of what it became.
pub(super) async fn read(
    signal: Signal,
    text: Received,
    reading: Reading<'_>,
) -> Result<(Received, Option<SnakeCase>), BodyError> {
    let Received { body, charge, wire_bytes } = text;
    // Protobuf is about half as long as JSON; what it really takes is charged below.
    let mut output_charge = reading.budget.try_charge(body.len())?;
    let (output, snake_case) = if body.len() <= READ_INLINE {
        convert(signal, &body)
    } else {
        // The text's charge stays with it if this request is given up meanwhile.
        let task = tokio::task::spawn_blocking(move || {
            let _charge: Charge = charge;
            convert(signal, &body)
        });
        task.await.unwrap_or_else(|error| Err(BodyError::Malformed(format!("json cannot be read: {error}"))))
    }?;
    if output.len() > reading.max_size {
        return Err(BodyError::TooLarge(reading.max_size));
    }
    output_charge.resize(output.len())?;
    Ok((Received { body: output, charge: output_charge, wire_bytes }, snake_case))
}

/// An export answer: `{}`, or what was refused.
pub(super) fn export_response(signal: Signal, partial_success: Option<(u64, &str)>) -> String {
    let Some((rejected, message)) = partial_success else { return "{}".to_owned() };
    let rejected_key = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Traces => "rejectedSpans",
    };
    // 64-bit integers are strings in protobuf's JSON.
    json!({ "partialSuccess": { rejected_key: rejected.to_string(), "errorMessage": shorten(message) } }).to_string()
}

/// A `google.rpc.Status` without details, whose `Any` has no form that every client reads.
pub(super) fn status(status: &RpcStatus) -> String {
    json!({ "code": status.code, "message": status.message }).to_string()
}

fn convert(signal: Signal, text: &[u8]) -> Result<(Bytes, Option<SnakeCase>), BodyError> {
    match otlp::json::read(signal, text) {
        Ok(read) => Ok((read.wire.into_rope().into_bytes(), read.snake_case)),
        Err(error) => Err(BodyError::Malformed(error.to_string())),
    }
}
