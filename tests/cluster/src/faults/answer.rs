//! What an API server says when it does not do what it is asked.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

/// The body of a refusal.
pub(crate) fn status_object(status: u16, retry_after: Option<Duration>) -> Value {
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // The names that Kubernetes has for these, by which clients tell them apart.
    let reason = match status {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Unknown",
    };
    let mut object = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": format!("the proxy was told to answer {code}"),
        "reason": reason,
        "code": status,
    });
    if let Some(after) = retry_after {
        object["details"] = json!({ "retryAfterSeconds": seconds(after) });
    }
    object
}

/// A refusal.
pub(crate) fn refusal(status: u16, retry_after: Option<Duration>) -> Response<Bytes> {
    let body = Bytes::from(status_object(status, retry_after).to_string());
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if let Some(after) = retry_after {
        response = response.header("retry-after", seconds(after));
    }
    response.body(body).expect("a rule names a status of three digits")
}

/// A watch whose only event says that its resource version is too old.
pub(crate) fn expired_watch() -> Response<Bytes> {
    let event = json!({ "type": "ERROR", "object": status_object(410, None) });
    let response = Response::builder().header("content-type", "application/json");
    response.body(Bytes::from(format!("{event}\n"))).expect("it has no part that could be wrong")
}

/// Whole seconds, as the header has them, and never fewer than asked for.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that is asked to wait finds the time in the header and in the object, rounded up.
    #[test]
    fn a_refusal_says_when_to_come_again() {
        let response = refusal(429, Some(Duration::from_millis(1500)));
        assert_eq!(response.headers()["retry-after"], "2");
        let body: Value = serde_json::from_slice(response.body()).expect("it is JSON");
        assert_eq!(body["details"]["retryAfterSeconds"], 2);
        assert_eq!(body["reason"], "TooManyRequests");
    }
}
