//! How a source that makes batches by itself hands them over: it waits for room, tries again what was answered Retry,
//! and counts what it gives up. Not here: making batches, and when.

use std::{future::pending, sync::Arc, time::Duration};

use engine_core::{
    batch::Batch,
    edge::Output,
    outcome::Outcome,
    sink::{EXPIRED, SHUTDOWN},
    telemetry::ComponentTelemetry,
};
use otlp::Payload;
use rand::RngExt;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Hands batches over, each until it is answered for good.
#[derive(Debug, Clone)]
pub(crate) struct HandOver {
    pub(crate) output: Output,
    pub(crate) drain: CancellationToken,
    pub(crate) telemetry: Arc<ComponentTelemetry>,
    pub(crate) origin: Origin,
}

/// Whose records are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What the engine tells of itself.
    Engine,
    /// Anything else.
    Outside,
}

/// Why a batch was not handed over.
enum GivenUp {
    Drained,
    Late,
}

impl HandOver {
    /// Sends a payload until it is delivered or refused for good. Nothing is tried again once the source drains or,
    /// where there is one, the deadline has passed; then the records are counted as lost on purpose. A batch that
    /// was taken is always waited for.
    pub(crate) async fn deliver(self, payload: Payload, deadline: Option<Instant>) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            let (batch, receipt) = Batch::new(payload.clone());
            let batch = match self.origin {
                Origin::Engine => batch.of_the_engine(),
                Origin::Outside => batch,
            };
            // Sending comes first, so that a sink with room gets the batch even while the source drains.
            let sent = tokio::select! {
                biased;
                () = self.output.send(batch) => Ok(()),
                given_up = self.no_longer(deadline) => Err(given_up),
            };
            if let Err(given_up) = sent {
                return self.discard(&payload, &given_up);
            }
            let Outcome::Retry { after, .. } = receipt.await else {
                return;
            };
            let wait = after.unwrap_or_else(|| backoff.mul_f64(rand::rng().random_range(0.1..1.0)));
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
            let waited = tokio::select! {
                biased;
                given_up = self.no_longer(deadline) => Err(given_up),
                () = sleep(wait) => Ok(()),
            };
            if let Err(given_up) = waited {
                return self.discard(&payload, &given_up);
            }
        }
    }

    async fn no_longer(&self, deadline: Option<Instant>) -> GivenUp {
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.drain.cancelled() => GivenUp::Drained,
            () = late => GivenUp::Late,
        }
    }

    fn discard(&self, payload: &Payload, given_up: &GivenUp) {
        let reason = match given_up {
            GivenUp::Drained => SHUTDOWN,
            GivenUp::Late => EXPIRED,
        };
        self.telemetry.discarded(reason, payload.records());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a missing batch is a failed test")]
    use engine_core::{
        contract::Input,
        test_kit::{self, captured, within},
    };

    use super::*;

    fn hand_over() -> (HandOver, Input) {
        let telemetry = Arc::new(ComponentTelemetry::new(["default".to_owned()]));
        let (output, input) = captured(&telemetry, 0);
        (HandOver { output, drain: CancellationToken::new(), telemetry, origin: Origin::Outside }, input)
    }

    /// Fills everything behind the output.
    async fn fill(hand_over: &HandOver) {
        let one = || Batch::unacknowledged(test_kit::logs(&[], [0]));
        while tokio::time::timeout(Duration::from_secs(1), hand_over.output.send(one())).await.is_ok() {}
    }

    /// A batch waits for room, and is lost by count when there is none before the deadline.
    #[tokio::test(start_paused = true)]
    async fn no_room_until_the_deadline() {
        let (hand_over, _input) = hand_over();
        fill(&hand_over).await;
        let begin = Instant::now();
        let deadline = begin + Duration::from_secs(30);
        hand_over.clone().deliver(test_kit::logs(&[], 1..4), Some(deadline)).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(30));
        assert_eq!(hand_over.telemetry.read().discarded["expired"], 3);
    }

    /// Draining ends the wait for room.
    #[tokio::test(start_paused = true)]
    async fn draining_ends_the_wait_for_room() {
        let (hand_over, _input) = hand_over();
        fill(&hand_over).await;
        hand_over.drain.cancel();
        within("the batch is given up", hand_over.clone().deliver(test_kit::logs(&[], 1..4), None)).await;
        assert_eq!(hand_over.telemetry.read().discarded["shutdown"], 3);
    }

    /// A batch for which there is room is sent although the source drains.
    #[tokio::test(start_paused = true)]
    async fn room_counts_more_than_draining() {
        let (hand_over, mut input) = hand_over();
        hand_over.drain.cancel();
        let delivery = tokio::spawn(hand_over.clone().deliver(test_kit::logs(&[], 1..4), None));
        within("the batch", input.next()).await.unwrap().answer(&Outcome::Delivered);
        within("the delivery ends", delivery).await.unwrap();
        assert!(hand_over.telemetry.read().discarded.is_empty());
    }

    /// The wait that a sink asks for is kept; without one the waits grow.
    #[tokio::test(start_paused = true)]
    async fn waits_before_sending_again() {
        let (hand_over, mut input) = hand_over();
        let delivery = tokio::spawn(hand_over.deliver(test_kit::logs(&[], 1..4), None));
        let first = within("the batch", input.next()).await.unwrap();
        let asked = Instant::now();
        first.answer(&Outcome::Retry { after: Some(Duration::from_secs(20)), reason: "busy".into() });
        let second = within("the batch again", input.next()).await.unwrap();
        assert!(asked.elapsed() >= Duration::from_secs(20));
        let refused = Instant::now();
        second.answer(&Outcome::retry("down"));
        let third = within("the batch a third time", input.next()).await.unwrap();
        assert!(refused.elapsed() >= Duration::from_millis(10));
        third.answer(&Outcome::Delivered);
        within("the delivery ends", delivery).await.unwrap();
    }
}
