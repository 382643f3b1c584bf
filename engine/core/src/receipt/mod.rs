//! Receipts: who admitted data learns what became of it.
//!
//! A batch carries shares of one or more receipts. Each share is answered once; the worst answer of all
//! shares is the receipt's. A share that is dropped without an answer counts as Retry, so that a panic, an
//! aborted task or a forgotten branch can never acknowledge. A taker that could not keep its part hurts no other one; where
//! nobody has kept anything, the answer is Retry all the same. Not here: what a source tells its client.

mod state;
#[cfg(test)]
mod tests;

mod sync {
    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::Mutex;

use crate::outcome::{Outcome, Rejection, RejectionKind};
use state::{Severity, State, Tally};

/// The waiting end: a future that resolves when every share has been answered.
#[must_use = "a receipt that nobody awaits answers nobody"]
#[derive(Debug)]
pub struct Receipt(Arc<Shared>);

/// A part of the answer still due. Dropped without [`answer`](Self::answer) it counts as Retry.
#[derive(Debug)]
pub struct Share(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    state: State,
    // Touched by answers other than Delivered only, so that a batch that goes well never locks.
    words: Mutex<Words>,
    tally: Mutex<Option<Tally>>,
    waker: AtomicWaker,
    abandoned: AtomicBool,
}

/// What the worst answers said.
#[derive(Debug, Default)]
struct Words {
    rejection: Option<Rejection>,
    retry: Option<(Option<Duration>, String)>,
    partial: Option<String>,
    /// What the first one said who could not keep its part.
    unkept: Option<(Option<Duration>, String)>,
}

/// A receipt and its first share.
pub fn receipt() -> (Receipt, Share) {
    let shared = Arc::new(Shared {
        state: State::new(),
        words: Mutex::default(),
        tally: Mutex::new(None),
        waker: AtomicWaker::new(),
        abandoned: AtomicBool::new(false),
    });
    (Receipt(Arc::clone(&shared)), Share(Some(shared)))
}

impl Future for Receipt {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.waker.register(cx.waker());
        let Some(tally) = *self.0.tally.lock() else { return Poll::Pending };
        Poll::Ready(self.0.words.lock().combine(tally))
    }
}

impl Share {
    /// Another share of the same receipt.
    pub fn split(&self) -> Self {
        let shared = self.0.as_ref().expect("an unanswered share holds its receipt");
        shared.state.open_another();
        Self(Some(Arc::clone(shared)))
    }

    /// Whether nobody waits any more: the receipt was dropped (a client went away).
    pub fn is_abandoned(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.abandoned.load(Ordering::Relaxed))
    }

    /// Answers that its part could not be kept, and is counted as lost there: a success if another taker has kept its own.
    pub(crate) fn answer_unkept(mut self, after: Option<Duration>, reason: &str) {
        let shared = self.0.take().expect("a share is answered once");
        shared.words.lock().unkept.get_or_insert_with(|| (after, reason.to_owned()));
        shared.close(&Outcome::Delivered, 0);
    }

    /// Answers for `records` records.
    pub fn answer(mut self, outcome: &Outcome, records: u64) {
        let shared = self.0.take().expect("a share is answered once");
        shared.close(outcome, records);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.close(&Outcome::Retry { after: None, reason: "abandoned".to_owned() }, 0);
        }
    }
}

impl Shared {
    fn close(&self, outcome: &Outcome, records: u64) {
        let (severity, delivered, rejected) = match outcome {
            Outcome::Delivered => (Severity::Delivered, records, 0),
            Outcome::Partial { rejected, .. } => {
                let rejected = (*rejected).min(records);
                (Severity::Delivered, records - rejected, rejected)
            }
            Outcome::Rejected(_) => (Severity::Rejected, 0, records),
            Outcome::Retry { .. } => (Severity::Retry, 0, 0),
        };
        if !matches!(outcome, Outcome::Delivered) {
            self.words.lock().remember(outcome);
        }
        if let Some(tally) = self.state.close(severity, delivered, rejected) {
            *self.tally.lock() = Some(tally);
            self.waker.wake();
        }
    }
}

impl Words {
    fn remember(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered => {}
            Outcome::Partial { message, .. } => {
                self.partial.get_or_insert_with(|| message.clone());
            }
            Outcome::Rejected(rejection) => {
                self.rejection.get_or_insert_with(|| rejection.clone());
            }
            Outcome::Retry { after, reason } => match &mut self.retry {
                // The longest wait asked for serves all who asked.
                Some((longest, _)) => *longest = (*longest).max(*after),
                None => self.retry = Some((*after, reason.clone())),
            },
        }
    }

    fn combine(&mut self, tally: Tally) -> Outcome {
        match tally.worst {
            Severity::Retry => {
                let (after, reason) = self.retry.take().unwrap_or((None, "abandoned".to_owned()));
                Outcome::Retry { after, reason }
            }
            Severity::Rejected | Severity::Delivered if tally.delivered == 0 && self.unkept.is_some() => {
                let (after, reason) = self.unkept.take().unwrap_or_default();
                Outcome::Retry { after, reason }
            }
            Severity::Rejected if tally.delivered == 0 => Outcome::Rejected(
                self.rejection
                    .take()
                    .unwrap_or_else(|| Rejection { kind: RejectionKind::Invalid, message: "rejected".to_owned() }),
            ),
            Severity::Rejected | Severity::Delivered if tally.rejected > 0 => Outcome::Partial {
                rejected: tally.rejected,
                message: self
                    .partial
                    .take()
                    .or_else(|| self.rejection.take().map(|rejection| rejection.message))
                    .unwrap_or_else(|| "some records were rejected".to_owned()),
            },
            Severity::Rejected | Severity::Delivered => match self.partial.take() {
                // With none rejected it is a warning, which is for whoever sent the data.
                Some(message) if !message.is_empty() => Outcome::Partial { rejected: 0, message },
                _ => Outcome::Delivered,
            },
        }
    }
}
