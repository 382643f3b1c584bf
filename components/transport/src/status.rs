//! gRPC status codes, `google.rpc.Status` with its details, and their text forms in headers.
//!
//! Which code means what for OTLP is decided where answers are made (`server`) and read (`client`), not here.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use prost::Message as _;

use crate::proto::{Any, BadRequest, FieldViolation, ProtoDuration, RetryInfo, RpcStatus};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// Error messages on the wire are cut here: peers limit header sizes, and 1 KiB tells a reader enough.
const MAX_MESSAGE: usize = 1024;

/// What `grpc-message` must escape: everything but printable ASCII, and `%` itself (gRPC over HTTP/2, "Responses").
const MESSAGE_ESCAPES: &AsciiSet = &CONTROLS.add(b'%');

/// Binary headers are sent without padding and read either way (gRPC over HTTP/2, "Custom-Metadata").
const BINARY_HEADER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The gRPC status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub(crate) enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// The code of a number; numbers that gRPC does not define are [`Code::Unknown`].
    pub(crate) fn from_number(number: i64) -> Self {
        usize::try_from(number).ok().and_then(|index| Self::ALL.get(index).copied()).unwrap_or(Self::Unknown)
    }

    /// The code of a `grpc-status` header value; what is no number is [`Code::Unknown`].
    pub(crate) fn from_header(value: &HeaderValue) -> Self {
        value.to_str().ok().and_then(|text| text.parse().ok()).map_or(Self::Unknown, Self::from_number)
    }

    /// The number as a header value.
    pub(crate) fn to_header(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }

    /// The name that the gRPC documents use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl RpcStatus {
    /// A status without details.
    pub(crate) fn new(code: Code, message: &str) -> Self {
        Self { code: code as i32, message: shorten(message).into_owned(), details: Vec::new() }
    }

    /// Adds how long the client should wait before it tries again.
    pub(crate) fn with_retry_delay(mut self, delay: Duration) -> Self {
        let retry_delay = ProtoDuration {
            seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(delay.subsec_nanos()).expect("nanoseconds below a second fit"),
        };
        let value = RetryInfo { retry_delay: Some(retry_delay) }.encode_to_vec();
        self.details.push(Any { type_url: RETRY_INFO.to_owned(), value });
        self
    }

    /// Adds which field of the request is wrong.
    pub(crate) fn with_field_violation(mut self, field: &str, description: &str) -> Self {
        let violation =
            FieldViolation { field: shorten(field).into_owned(), description: shorten(description).into_owned() };
        let value = BadRequest { field_violations: vec![violation] }.encode_to_vec();
        self.details.push(Any { type_url: BAD_REQUEST.to_owned(), value });
        self
    }

    /// The wait that the status asks for: `None` without a `RetryInfo`, zero if it names no or a negative delay.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        let detail = self.details.iter().find(|detail| type_name(&detail.type_url) == type_name(RETRY_INFO))?;
        let info = RetryInfo::decode(detail.value.as_slice()).ok()?;
        let Some(delay) = info.retry_delay else { return Some(Duration::ZERO) };
        let seconds = u64::try_from(delay.seconds).unwrap_or(0);
        let nanos = u32::try_from(delay.nanos).ok().filter(|nanos| *nanos < 1_000_000_000).unwrap_or(0);
        Some(Duration::new(seconds, nanos))
    }

    /// The value of `grpc-status-details-bin`.
    pub(crate) fn to_details_header(&self) -> HeaderValue {
        HeaderValue::try_from(BINARY_HEADER.encode(self.encode_to_vec())).expect("base64 is a valid header value")
    }

    /// Reads a `grpc-status-details-bin` value; an unreadable one counts as absent.
    pub(crate) fn from_details_header(value: &HeaderValue) -> Option<Self> {
        let bytes = BINARY_HEADER.decode(value.as_bytes()).ok()?;
        Self::decode(bytes.as_slice()).ok()
    }
}

/// A message as a `grpc-message` value.
pub(crate) fn message_to_header(message: &str) -> HeaderValue {
    let escaped = utf8_percent_encode(message, MESSAGE_ESCAPES).to_string();
    HeaderValue::try_from(escaped).expect("percent-encoded text is a valid header value")
}

/// The text of a `grpc-message` value.
pub(crate) fn message_from_header(value: &HeaderValue) -> String {
    shorten(&percent_decode(value.as_bytes()).decode_utf8_lossy()).into_owned()
}

/// A text cut to what an answer, a log line or a status condition can carry.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_MESSAGE {
        return Cow::Borrowed(text);
    }
    let end = (0..=MAX_MESSAGE).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    Cow::Owned(format!("{}...", &text[..end]))
}

/// The message name of a type URL, whatever host it names.
fn type_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use tonic_types::{BadRequest, RetryInfo, StatusExt as _};

    use super::*;

    /// What we write into headers is what tonic reads out of them.
    #[test]
    fn is_read_by_tonic() {
        let status = RpcStatus::new(Code::Unavailable, "queue of \"äther\" is 100% full\n")
            .with_retry_delay(Duration::from_millis(1500))
            .with_field_violation("resource_logs[3]", "truncated");
        let mut headers = http::HeaderMap::new();
        headers.insert("grpc-status", Code::Unavailable.to_header());
        headers.insert("grpc-message", message_to_header(&status.message));
        headers.insert("grpc-status-details-bin", status.to_details_header());
        let theirs = tonic::Status::from_header_map(&headers).unwrap();
        assert_eq!(theirs.code(), tonic::Code::Unavailable);
        assert_eq!(theirs.message(), status.message);
        let RetryInfo { retry_delay, .. } = theirs.get_details_retry_info().unwrap();
        assert_eq!(retry_delay, Some(Duration::from_millis(1500)));
        let BadRequest { field_violations, .. } = theirs.get_details_bad_request().unwrap();
        assert_eq!(field_violations[0].field, "resource_logs[3]");
        assert_eq!(field_violations[0].description, "truncated");
    }

    /// What tonic writes into headers is what we read out of them.
    #[test]
    fn reads_tonic() {
        let mut details = tonic_types::ErrorDetails::new();
        details.set_retry_info(Some(Duration::from_secs(5)));
        let theirs = tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "später", details);
        let headers = theirs.into_http::<()>().into_parts().0.headers;
        assert_eq!(Code::from_header(&headers["grpc-status"]), Code::ResourceExhausted);
        assert_eq!(message_from_header(&headers["grpc-message"]), "später");
        let status = RpcStatus::from_details_header(&headers["grpc-status-details-bin"]).unwrap();
        assert_eq!(status.retry_delay(), Some(Duration::from_secs(5)));
    }

    /// Nonsense in headers becomes UNKNOWN, no details and replaced characters, never a panic.
    #[test]
    fn survives_nonsense() {
        assert_eq!(Code::from_header(&HeaderValue::from_static("nan")), Code::Unknown);
        assert_eq!(Code::from_header(&HeaderValue::from_static("99")), Code::Unknown);
        assert_eq!(Code::from_header(&HeaderValue::from_static("-1")), Code::Unknown);
        assert_eq!(RpcStatus::from_details_header(&HeaderValue::from_static("!!")), None);
        assert_eq!(message_from_header(&HeaderValue::from_static("a%zz%ff")), "a%zz\u{fffd}");
    }

    /// Long texts are cut between characters.
    #[test]
    fn shortens_between_characters() {
        let long = "ä".repeat(MAX_MESSAGE);
        let short = shorten(&long);
        assert!(short.len() <= MAX_MESSAGE + 3 && short.ends_with("..."));
        assert_eq!(shorten("short"), "short");
    }
}
