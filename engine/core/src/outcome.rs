//! What became of data: the answer of a sink for one payload, ordered so that the worst can win.
//!
//! Not here: who waits for the answer (`receipt`) and what a protocol makes of it (`transport`).

use std::time::Duration;

/// The answer for one payload.
///
/// Where answers of several takers meet, the worst wins: `Delivered < Partial < Rejected < Retry`.
/// Retry is the worst because delivery is at least once: another taker's temporary failure must be tried
/// again, at the price of a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken over completely.
    Delivered,
    /// Taken over but for `rejected` records, which must not be sent again.
    Partial {
        /// Records the taker refused for good.
        rejected: u64,
        /// The taker's own words.
        message: String,
    },
    /// Refused for good: sending the same bytes again cannot succeed.
    Rejected(Rejection),
    /// Not taken over now; the same bytes may succeed later.
    Retry {
        /// The shortest wait the taker asked for.
        after: Option<Duration>,
        /// What stood in the way.
        reason: String,
    },
}

/// Why a payload was refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The class of refusal, a bounded set that telemetry can use as a label.
    pub kind: RejectionKind,
    /// The taker's own words.
    pub message: String,
}

/// Classes of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionKind {
    /// The taker calls the data itself wrong.
    Invalid,
    /// The payload is larger than the taker accepts; a smaller part of it may be accepted.
    TooLarge,
    /// The taker does not let us in (credentials, permissions).
    Unauthorized,
    /// The taker does not offer what we asked for (unknown service, path or encoding).
    Unsupported,
    /// The batch made a component panic again and again.
    Panic,
}

impl RejectionKind {
    /// The label value used in metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "rejected",
            Self::TooLarge => "too_large",
            Self::Unauthorized => "unauthorized",
            Self::Unsupported => "unsupported",
            Self::Panic => "panic",
        }
    }
}

impl Outcome {
    /// A refusal for good.
    pub fn rejected(kind: RejectionKind, message: impl Into<String>) -> Self {
        Self::Rejected(Rejection { kind, message: message.into() })
    }

    /// A refusal for now.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }
}
