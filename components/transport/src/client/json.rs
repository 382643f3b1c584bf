//! What OTLP/HTTP servers answer in JSON: partial success, and the words of a refusal.
//!
//! Requests in JSON are made elsewhere (`otlp::json`); here they are bytes with another content type.

use serde_json::Value;

/// Names of the count of rejected records, which differ by signal.
const REJECTED: [&str; 3] = ["rejectedLogRecords", "rejectedDataPoints", "rejectedSpans"];

/// `Export*PartialSuccess` as far as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PartialSuccess {
    pub(super) rejected: u64,
    pub(super) error_message: String,
}

/// Reads an `Export*ServiceResponse`; without a partial success in it, one that says nothing.
///
/// # Errors
///
/// When it is no JSON object, or the count of rejected records is no count.
pub(super) fn read_success(body: &[u8]) -> Result<PartialSuccess, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Value::Object(answer) = answer else { return Err("it is no object".to_owned()) };
    let partial = match answer.get("partialSuccess") {
        None | Some(Value::Null) => return Ok(PartialSuccess::default()),
        Some(Value::Object(partial)) => partial,
        Some(_) => return Err("`partialSuccess` is no object".to_owned()),
    };
    let rejected = match REJECTED.iter().find_map(|name| partial.get(*name)) {
        None | Some(Value::Null) => 0,
        // 64-bit integers are texts in JSON, and must be taken as numbers too. None are negative.
        Some(Value::String(text)) => text.parse::<i64>().map_err(|_| "the count of rejected records is no number")?,
        Some(number) => number.as_i64().ok_or("the count of rejected records is no number")?,
    };
    let error_message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    Ok(PartialSuccess { rejected: u64::try_from(rejected).unwrap_or(0), error_message: error_message.to_owned() })
}

/// The message of a `google.rpc.Status`, or the text itself where it is none.
pub(super) fn read_refusal(body: &[u8]) -> String {
    let status: Option<Value> = serde_json::from_slice(body).ok();
    let message = status.as_ref().and_then(|status| status.get("message")).and_then(Value::as_str);
    message.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    /// Counts are texts or numbers, by the name of any signal; what is absent or null is nothing.
    #[test]
    fn reads_partial_success() {
        let read = |text: &str| read_success(text.as_bytes());
        let partial = |rejected, message: &str| Ok(PartialSuccess { rejected, error_message: message.to_owned() });
        assert_eq!(read("{}"), partial(0, ""));
        assert_eq!(read(r#"{"partialSuccess":null}"#), partial(0, ""));
        assert_eq!(read(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"old"}}"#), partial(3, "old"));
        assert_eq!(read(r#"{"partialSuccess":{"rejectedDataPoints":7}}"#), partial(7, ""));
        assert_eq!(read(r#"{"partialSuccess":{"errorMessage":"slow down"},"more":[1]}"#), partial(0, "slow down"));
        for wrong in ["", "[]", "{", r#"{"partialSuccess":[]}"#, r#"{"partialSuccess":{"rejectedSpans":"many"}}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    /// A status gives its message; a text of the server's own is passed on as it is.
    #[test]
    fn reads_refusals() {
        assert_eq!(read_refusal(br#"{"code":3,"message":"bad id"}"#), "bad id");
        assert_eq!(read_refusal(br#" {"error":"bad id"} "#), r#"{"error":"bad id"}"#);
        assert_eq!(read_refusal(b"no json"), "no json");
    }
}
