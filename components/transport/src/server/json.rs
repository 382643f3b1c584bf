//! OTLP/JSON at the door: requests become protobuf before anyone else sees them, and answers are JSON again.
//!
//! How JSON maps to OTLP is the matter of `otlp`; here is only what a server adds: memory, time, and answers.

use otlp::Signal;
use otlp::json::{Conversion, JsonError, SnakeCase};
use serde_json::json;

use crate::proto::RpcStatus;
use crate::server::body::{BodyError, Reading, Received};
use crate::status::shorten;

/// Bytes of a text that are read before others on the lane get their turn: a millisecond at the most.
const STEP: usize = 256 * 1024;

/// Turns a JSON request into protobuf, and its charge into one of what it became. Whether the request is admitted is
/// found out by whoever admits all others.
pub(super) async fn read(
    signal: Signal,
    text: Received,
    reading: Reading<'_>,
) -> Result<(Received, Option<Box<SnakeCase>>), BodyError> {
    let Received { body: text, charge: _text_charge, wire_bytes } = text;
    // Protobuf is about half as long as JSON. Where it is longer, the charge follows.
    let mut charge = reading.budget.try_charge(text.len())?;
    let mut conversion = Conversion::new(signal, text, reading.max_size);
    let converted = loop {
        let done = conversion.step(STEP)?;
        if let Some(converted) = done {
            break converted;
        }
        let held = conversion.held_bytes();
        if held > charge.bytes() {
            charge.resize(held)?;
        }
        tokio::task::yield_now().await;
    };
    charge.resize(converted.body.len())?;
    Ok((Received { body: converted.body, charge, wire_bytes }, converted.snake_case.map(Box::new)))
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

impl From<JsonError> for BodyError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooLarge(limit) => Self::TooLarge(limit),
            _ => Self::Malformed(error.to_string()),
        }
    }
}
