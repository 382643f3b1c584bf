//! The answer to a request, independent of the transport that carries it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine_core::outcome::{Outcome, RejectionKind};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::proto::RpcStatus;
use crate::server::Refusal;
use crate::server::auth::Denied;
use crate::server::body::BodyError;
use crate::status::Code;

/// The wait asked of clients when an answer names none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Taken over completely.
    Accepted,
    /// Taken over but for `rejected` records, which the client must not send again. With 0 rejected the message is
    /// a warning.
    Partial {
        /// Log records, data points or spans refused for good.
        rejected: u64,
        /// Why, for the client's log.
        message: String,
    },
    /// The data is wrong; sending it again cannot help (INVALID_ARGUMENT, 400).
    Invalid {
        /// What is wrong.
        message: String,
        /// Where in the request, if known (`resource_logs[3]`).
        field: Option<String>,
    },
    /// Larger than accepted; not retryable (RESOURCE_EXHAUSTED without RetryInfo, 413).
    TooLarge {
        /// The limit that was passed.
        message: String,
    },
    /// Not now; the client shall send the same again later (UNAVAILABLE with RetryInfo, 503 with Retry-After).
    Unavailable {
        /// The shortest wait.
        retry_after: Duration,
        /// What stands in the way.
        message: String,
    },
    /// No or wrong credentials (UNAUTHENTICATED, 401).
    Unauthorized {
        /// What is missing.
        message: String,
    },
    /// The signal or feature is not offered here (UNIMPLEMENTED, 404).
    Unsupported {
        /// What is not offered.
        message: String,
    },
}

/// An answer with the reason it is counted under, when that is not plain from the answer.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reply: Reply,
    pub(super) reason: Refusal,
}

impl Reply {
    /// "Later" with the usual wait.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { retry_after: DEFAULT_RETRY_AFTER, message: message.into() }
    }

    /// The text of the answer; empty for plain success.
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Accepted => "",
            Self::Partial { message, .. }
            | Self::Invalid { message, .. }
            | Self::TooLarge { message }
            | Self::Unavailable { message, .. }
            | Self::Unauthorized { message }
            | Self::Unsupported { message } => message,
        }
    }

    /// What a refusal counts as; `None` for success.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Accepted | Self::Partial { .. } => None,
            Self::Invalid { .. } => Some(Refusal::Invalid),
            Self::TooLarge { .. } => Some(Refusal::TooLarge),
            Self::Unavailable { .. } => Some(Refusal::Unavailable),
            Self::Unauthorized { .. } => Some(Refusal::Unauthorized),
            Self::Unsupported { .. } => Some(Refusal::Unsupported),
        }
    }

    /// The `google.rpc.Status` of a refusal; `None` for success.
    pub(super) fn status(&self) -> Option<RpcStatus> {
        Some(match self {
            Self::Accepted | Self::Partial { .. } => return None,
            Self::Invalid { message, field } => {
                let status = RpcStatus::new(Code::InvalidArgument, message);
                status.with_field_violation(field.as_deref().unwrap_or_default(), message)
            }
            // Without RetryInfo: the same bytes will never fit.
            Self::TooLarge { message } => RpcStatus::new(Code::ResourceExhausted, message),
            Self::Unavailable { retry_after, message } => {
                RpcStatus::new(Code::Unavailable, message).with_retry_delay(*retry_after)
            }
            Self::Unauthorized { message } => RpcStatus::new(Code::Unauthenticated, message),
            Self::Unsupported { message } => RpcStatus::new(Code::Unimplemented, message),
        })
    }
}

impl From<Outcome> for Reply {
    /// The answer of a source whose clients wait for delivery. A refusal by whoever is behind us is final for the
    /// client too, but it is never the client's credentials or our own protocol that failed.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Delivered => Self::Accepted,
            Outcome::Partial { rejected, message } => Self::Partial { rejected, message },
            Outcome::Rejected(rejection) => match rejection.kind {
                RejectionKind::TooLarge => Self::TooLarge { message: rejection.message },
                _ => Self::Invalid { message: rejection.message, field: None },
            },
            Outcome::Retry { after, reason } => {
                Self::Unavailable { retry_after: after.unwrap_or(DEFAULT_RETRY_AFTER), message: reason }
            }
        }
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let message = denied.message().to_owned();
        Self { reply: Reply::Unauthorized { message }, reason: Refusal::Unauthorized }
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::TooLarge(_) => Self { reply: Reply::TooLarge { message }, reason: Refusal::TooLarge },
            BodyError::Exhausted(_) => Self { reply: Reply::unavailable(message), reason: Refusal::Memory },
            BodyError::TimedOut(_) => Self { reply: Reply::unavailable(message), reason: Refusal::Timeout },
            BodyError::Malformed(_) | BodyError::Interrupted(_) => {
                Self { reply: Reply::Invalid { message, field: None }, reason: Refusal::Malformed }
            }
        }
    }
}

/// The body of an answer: at most one piece of data and trailers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) data: Option<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}
