//! What an answer means, by the OTLP specification: delivered, delivered in part, refused for good, or try again.
//!
//! Success is only what says success in the right protocol. A proxy's page or a stream that just ends is none.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use engine_core::budget::Budget;
use engine_core::outcome::{Outcome, RejectionKind};
use http::header::{self, HeaderMap, HeaderName};
use http::{Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use prost::Message as _;

use crate::client::{describe, json};
use crate::compression::{self, Encoding};
use crate::proto::{ExportResponse, RpcStatus};
use crate::status::{Code, message_from_header, shorten};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The longest wait that a peer can impose.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What a tonic server says, as OUT_OF_RANGE, of a message over its limit. By the specification that code is tried again;
/// the same message would be, for ever.
const TONIC_TOO_LARGE: &str = "message length too large";

/// The body of an answer and its trailers.
struct Content {
    data: Vec<u8>,
    trailers: HeaderMap,
}

enum ReadError {
    TooLarge,
    Interrupted(String),
}

/// Reads a gRPC answer. Also says whether the connection was read to the end of the answer.
pub(super) async fn read_grpc(response: Response<Incoming>, max_size: usize) -> (Outcome, bool) {
    let (head, body) = response.into_parts();
    // Trailers-Only: the status is in the headers and there is no message.
    if let Some(outcome) = grpc_refusal(&head.headers) {
        return (outcome, false);
    }
    if head.status.is_redirection() {
        return (http_refusal(head.status, &head.headers, String::new()), false);
    }
    if head.status != StatusCode::OK {
        return (outcome_of_code(code_of_http(head.status), &format!("http status {}", head.status), None), false);
    }
    let content_type = content_type(&head.headers);
    if content_type != "application/grpc" && !content_type.starts_with("application/grpc+") {
        let message = format!("the answer is {content_type:?}, not grpc");
        return (Outcome::rejected(RejectionKind::Unsupported, message), false);
    }
    let content = match collect(body, max_size).await {
        Ok(content) => content,
        Err(error) => return (error.into_outcome(max_size), false),
    };
    if let Some(outcome) = grpc_refusal(&content.trailers) {
        return (outcome, true);
    }
    if !content.trailers.contains_key(GRPC_STATUS) && !head.headers.contains_key(GRPC_STATUS) {
        return (Outcome::rejected(RejectionKind::Invalid, "the answer has no grpc-status"), true);
    }
    let outcome = match grpc_message(&head.headers, &content.data, max_size).await {
        Ok(message) => success(&message),
        Err(problem) => Outcome::rejected(RejectionKind::Invalid, problem),
    };
    (outcome, true)
}

/// Reads an OTLP/HTTP answer. Also says whether the connection was read to the end of the answer.
pub(super) async fn read_http(response: Response<Incoming>, max_size: usize) -> (Outcome, bool) {
    let (head, body) = response.into_parts();
    let content = match collect(body, max_size).await {
        Ok(content) => content,
        // The status line has said all that matters of a refusal.
        Err(_) if !head.status.is_success() => {
            return (http_refusal(head.status, &head.headers, String::new()), false);
        }
        Err(error) => return (error.into_outcome(max_size), false),
    };
    let body = match http_body(&head.headers, content.data, max_size).await {
        Ok(body) => body,
        Err(_) if !head.status.is_success() => Bytes::new(),
        Err(problem) => return (Outcome::rejected(RejectionKind::Invalid, problem), true),
    };
    if head.status.is_success() {
        return (http_success(&head.headers, &body), true);
    }
    let message = match content_type(&head.headers).as_str() {
        "application/x-protobuf" => RpcStatus::decode(body).map(|status| status.message).unwrap_or_default(),
        "application/json" => json::read_refusal(&body),
        "text/plain" => String::from_utf8_lossy(&body).trim().to_owned(),
        _ => String::new(),
    };
    (http_refusal(head.status, &head.headers, message), true)
}

/// Reads a body that is no OTLP answer, inflated.
pub(super) async fn read_whole(headers: &HeaderMap, body: Incoming, max_size: usize) -> Result<Bytes, String> {
    let content = collect(body, max_size).await.map_err(|error| error.text(max_size))?;
    http_body(headers, content.data, max_size).await
}

/// The wait that a `Retry-After` asks for, as far as it can be imposed.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    asked_wait(headers, SystemTime::now()).map(|wait| wait.min(LONGEST_WAIT))
}

/// The refusal that headers or trailers with a `grpc-status` tell of.
fn grpc_refusal(headers: &HeaderMap) -> Option<Outcome> {
    let code = Code::from_header(headers.get(GRPC_STATUS)?);
    if code == Code::Ok {
        return None;
    }
    let message = headers.get(GRPC_MESSAGE).map(message_from_header).unwrap_or_default();
    let delay = headers.get(GRPC_DETAILS).and_then(RpcStatus::from_details_header).and_then(|it| it.retry_delay());
    Some(outcome_of_code(code, &message, delay))
}

/// OTLP specification, "Failures" of OTLP/gRPC.
fn outcome_of_code(code: Code, message: &str, retry_delay: Option<Duration>) -> Outcome {
    let text = if message.is_empty() { code.name().to_owned() } else { format!("{}: {message}", code.name()) };
    let kind = match code {
        Code::OutOfRange if message.contains(TONIC_TOO_LARGE) => RejectionKind::TooLarge,
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => return retry(retry_delay, text),
        Code::ResourceExhausted if retry_delay.is_some() => return retry(retry_delay, text),
        // Without RetryInfo it is no matter of time but of size: smaller parts may pass.
        Code::ResourceExhausted => RejectionKind::TooLarge,
        Code::Unauthenticated | Code::PermissionDenied => RejectionKind::Unauthorized,
        Code::Unimplemented => RejectionKind::Unsupported,
        _ => RejectionKind::Invalid,
    };
    Outcome::rejected(kind, text)
}

/// What a gRPC client makes of an HTTP status without a `grpc-status` (gRPC, "HTTP to gRPC Status Code Mapping").
fn code_of_http(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// OTLP specification, "Failures" of OTLP/HTTP.
fn http_refusal(status: StatusCode, headers: &HeaderMap, message: String) -> Outcome {
    let text = match (message.is_empty(), headers.get(header::LOCATION)) {
        (_, Some(location)) if status.is_redirection() => {
            format!(
                "http status {status} to {}, which is not followed",
                shorten(&String::from_utf8_lossy(location.as_bytes()))
            )
        }
        (true, _) => format!("http status {status}"),
        (false, _) => format!("http status {status}: {}", shorten(&message)),
    };
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => return retry(retry_after(headers), text),
        StatusCode::PAYLOAD_TOO_LARGE => RejectionKind::TooLarge,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RejectionKind::Unauthorized,
        StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::NOT_IMPLEMENTED => RejectionKind::Unsupported,
        other if other.is_redirection() => RejectionKind::Unsupported,
        _ => RejectionKind::Invalid,
    };
    Outcome::rejected(kind, text)
}

/// `Retry-After` as seconds or as a date; what is neither is ignored.
fn asked_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

fn retry(after: Option<Duration>, reason: String) -> Outcome {
    Outcome::Retry { after: after.map(|wait| wait.min(LONGEST_WAIT)), reason }
}

/// A success answer: complete, or with records refused.
fn success(message: &[u8]) -> Outcome {
    match ExportResponse::decode(message) {
        Err(error) => unreadable(&error.to_string()),
        Ok(ExportResponse { partial_success: None }) => Outcome::Delivered,
        Ok(ExportResponse { partial_success: Some(partial) }) => {
            partial_success(u64::try_from(partial.rejected).unwrap_or(0), &partial.error_message)
        }
    }
}

fn json_success(body: &[u8]) -> Outcome {
    match json::read_success(body) {
        Err(problem) => unreadable(&problem),
        Ok(partial) => partial_success(partial.rejected, &partial.error_message),
    }
}

fn partial_success(rejected: u64, message: &str) -> Outcome {
    if rejected == 0 && message.is_empty() {
        return Outcome::Delivered;
    }
    // With 0 rejected it is a warning, which the caller logs.
    Outcome::Partial { rejected, message: shorten(message).into_owned() }
}

fn unreadable(problem: &str) -> Outcome {
    Outcome::rejected(RejectionKind::Invalid, format!("the answer cannot be read: {problem}"))
}

fn http_success(headers: &HeaderMap, body: &Bytes) -> Outcome {
    let media_type = content_type(headers);
    // An empty body is an empty message in any encoding, but a proxy's empty page is no answer.
    if body.is_empty() && media_type != "text/html" {
        return Outcome::Delivered;
    }
    match media_type.as_str() {
        // Servers may answer in the other encoding than they were asked in: each says which it is.
        "application/x-protobuf" => success(body),
        "application/json" => json_success(body),
        _ => Outcome::rejected(
            RejectionKind::Unsupported,
            format!("the answer is {media_type:?}, not application/x-protobuf or application/json"),
        ),
    }
}

/// The media type of an answer in lower case, without parameters.
fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The one message of a gRPC answer, inflated.
async fn grpc_message(headers: &HeaderMap, data: &[u8], max_size: usize) -> Result<Bytes, String> {
    let Some((prefix, message)) = data.split_first_chunk::<5>() else {
        return Err("the answer has no message".to_owned());
    };
    let [flag, length @ ..] = *prefix;
    if u32::from_be_bytes(length) as usize != message.len() {
        return Err("the answer is not one whole message".to_owned());
    }
    match flag {
        0 => Ok(Bytes::copy_from_slice(message)),
        1 => {
            let encoding = headers.get(GRPC_ENCODING).and_then(|name| encoding_named(name.as_bytes()));
            let encoding = encoding.ok_or("the answer is compressed in an unknown way")?;
            // Boxed: compressed answers are rare, and it would be a part of every request's future.
            Box::pin(inflate(encoding, message, max_size)).await
        }
        _ => Err("the answer has an invalid compression flag".to_owned()),
    }
}

async fn http_body(headers: &HeaderMap, data: Vec<u8>, max_size: usize) -> Result<Bytes, String> {
    let name = headers.get(header::CONTENT_ENCODING).map_or(&b"identity"[..], |value| value.as_bytes());
    if name.eq_ignore_ascii_case(b"identity") || data.is_empty() {
        return Ok(data.into());
    }
    let encoding = encoding_named(name).ok_or("the answer is compressed in an unknown way")?;
    Box::pin(inflate(encoding, &data, max_size)).await
}

async fn inflate(encoding: Encoding, data: &[u8], max_size: usize) -> Result<Bytes, String> {
    // Answers are bounded by their own limit, not charged: they live for a moment and one per request in flight.
    // Besides the output a zstd decoder may hold a window of up to 8 MiB.
    let own_budget = Budget::new(max_size.saturating_add(16 * 1024 * 1024));
    let inflated = compression::inflate(encoding, &Bytes::copy_from_slice(data), max_size, &own_budget).await;
    inflated.map(|(answer, _charge)| answer).map_err(|error| format!("the answer: {error}"))
}

fn encoding_named(name: &[u8]) -> Option<Encoding> {
    [Encoding::Gzip, Encoding::Zstd].into_iter().find(|encoding| name.eq_ignore_ascii_case(encoding.name().as_bytes()))
}

/// Reads a body of at most `max_size` bytes, and the trailers behind it.
async fn collect(mut body: Incoming, max_size: usize) -> Result<Content, ReadError> {
    let mut content = Content { data: Vec::new(), trailers: HeaderMap::new() };
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let frame = match frame {
            None => return Ok(content),
            Some(Err(error)) => return Err(ReadError::Interrupted(describe(&error))),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) if content.data.len() + data.len() > max_size => return Err(ReadError::TooLarge),
            Ok(data) => content.data.extend_from_slice(&data),
            Err(frame) => content.trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
}

impl ReadError {
    fn into_outcome(self, max_size: usize) -> Outcome {
        match self {
            Self::TooLarge => Outcome::rejected(RejectionKind::Invalid, self.text(max_size)),
            Self::Interrupted(_) => Outcome::retry(self.text(max_size)),
        }
    }

    fn text(&self, max_size: usize) -> String {
        match self {
            Self::TooLarge => format!("the answer is larger than {max_size} bytes"),
            Self::Interrupted(problem) => format!("the answer was cut off: {problem}"),
        }
    }
}
