//! Why nothing is told of a kind of object at the moment.

use kube::core::Status;

use super::Interruption;
use crate::protobuf::page::PageError;

/// The status of answers to those who ask for what is forgotten.
const GONE: u16 = 410;
/// The status of answers to those who have no right to what they ask for.
const FORBIDDEN: u16 = 403;
/// The status of answers to those who ask for a kind that there is none of.
const NOT_FOUND: u16 = 404;
/// Statuses of refusals that have nothing to do with what was asked for: who asks, and how often.
const OF_THE_CALLER: [u16; 4] = [401, FORBIDDEN, 408, 429];
/// What an API server says that has seen less than its client, as one that was restored from a backup.
const SERVER_IS_BEHIND: &str = "Too large resource version";

/// What went wrong with a list or a watch.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// There is no answer.
    #[error("the API server does not answer")]
    Request(#[source] kube::Error),
    /// The answer is a refusal.
    #[error("the API server answers {}: {}", .0.code, said(.0))]
    Refused(Box<Status>),
    /// The answer or the watch broke off.
    #[error("the answer breaks off")]
    Broken(#[source] kube::Error),
    /// The page of a list is no JSON.
    #[error("cannot read a list in JSON")]
    Json(#[source] serde_json::Error),
    /// The page of a list is no protobuf.
    #[error("cannot read a list in protobuf")]
    Protobuf(#[from] PageError),
    /// An event cannot be read; those behind it can.
    #[error("cannot read an event")]
    Event,
    /// The watch told of its own end.
    #[error("the API server ends the watch with {}: {}", .0.code, said(.0))]
    Ended(Box<Status>),
    /// A list or an object says no version, so that nothing can go on from it.
    #[error("found no metadata.resourceVersion in what the API server says")]
    NoVersion,
}

impl Failure {
    /// Of a request or a watch that could not begin.
    pub(super) fn of_request(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            error => Self::Request(error),
        }
    }

    /// Whether the server has forgotten what was asked for.
    pub(super) fn is_gone(&self) -> bool {
        self.status().is_some_and(|status| status.code == GONE)
    }

    /// Whether asking for the same again may be answered otherwise.
    pub(super) fn may_pass(&self) -> bool {
        let Some(status) = self.status() else { return !matches!(self, Self::NoVersion) };
        let is_of_request = (400..500).contains(&status.code) && !OF_THE_CALLER.contains(&status.code);
        !is_of_request && !status.message.contains(SERVER_IS_BEHIND)
    }

    /// What it is for those who are told.
    pub(super) fn interruption(&self) -> Interruption {
        match self {
            Self::Refused(status) if status.code == FORBIDDEN => Interruption::Forbidden,
            Self::Refused(status) if status.code == NOT_FOUND => Interruption::Unknown,
            _ => Interruption::Other,
        }
    }

    /// The error with its causes on one line; causes that their errors have said already are left out.
    pub(super) fn text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text
    }

    fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused(status) | Self::Ended(status) => Some(status),
            _ => None,
        }
    }
}

/// What a status says in words.
fn said(status: &Status) -> &str {
    if status.message.is_empty() { &status.reason } else { &status.message }
}
