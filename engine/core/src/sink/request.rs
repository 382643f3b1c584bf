//! One request from the queue to its end: attempts, waits, halves, answers.
//!
//! Not here: which items make a request (`batching`) and how often the backend is asked at all (`gate`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use otlp::{Payload, Wire};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::apart::tolerated_rejections;
use super::part::{Exit, Item};
use super::{Driver, EXPIRED, HOLD, PARTIAL, SHUTDOWN};
use crate::edge::panic_message;
use crate::lane;
use crate::outcome::{Outcome, Rejection, RejectionKind};
use crate::self_telemetry::spans::{Span, SpanKind};
use crate::self_telemetry::{unheard, unheard_now};
use crate::telemetry::HealthState;

/// Panics of `deliver` on one request after which the request is refused for good.
const TOLERATED_PANICS: u32 = 3;

/// What no backend is known to call too large. One that does has another reason: it is busy, say, and answers
/// RESOURCE_EXHAUSTED; asking it for every record by itself would make that worse.
const SMALL_FOR_ALL: usize = 16 * 1024;

/// Bytes of a request that are looked through on the lane to find its middle.
const HALVED_INLINE: usize = 1024 * 1024;

/// A request under way on one part.
pub(super) struct Request {
    driver: Arc<Driver>,
    part: usize,
}

/// How the attempts at one group of items ended.
enum End {
    /// The far end said something final about these items.
    Answered(Vec<Item>, Outcome),
    /// Nobody waits any more, or the process ends: these items are settled without the far end.
    GivenUp(Vec<Item>, GivenUp),
}

/// Why attempts ended without an answer.
#[derive(Clone, Copy)]
enum GivenUp {
    Shutdown,
    Expired,
    /// Another sink goes on with them.
    HandedOver,
}

impl Request {
    pub(super) fn new(driver: Arc<Driver>, part: usize) -> Self {
        Self { driver, part }
    }

    /// Delivers the items or settles them otherwise. The permit is kept until all of them are settled.
    pub(super) async fn run(self, items: Vec<Item>, permit: OwnedSemaphorePermit) {
        let (mut rejections, tolerated) = (0, tolerated_rejections(items.len()));
        let mut groups = vec![items];
        while let Some(group) = groups.pop() {
            match self.attempt(group).await {
                End::Answered(answered, Outcome::Rejected(rejection)) => {
                    // What is too large says nothing about its parts.
                    rejections += u32::from(rejection.kind != RejectionKind::TooLarge);
                    if let Some(halves) = self.divide(answered, &rejection).await {
                        groups.extend(halves);
                    }
                    if rejections > tolerated && !groups.is_empty() {
                        self.send_apart(groups.drain(..).rev().flatten().collect());
                    }
                }
                End::Answered(answered, outcome) => self.settle(answered, &outcome),
                End::GivenUp(items, why) => self.give_up(items, why),
            }
        }
        drop(permit);
    }

    /// Tries until the far end says something final, or the time is over.
    async fn attempt(&self, mut items: Vec<Item>) -> End {
        let driver = &self.driver;
        let expires = driver.settings.max_elapsed.map(|limit| Instant::now() + limit);
        let (mut failures, mut panics) = (0_u32, 0_u32);
        loop {
            items = self.expire(items);
            if items.is_empty() {
                break;
            }
            let pass = tokio::select! {
                pass = driver.gate.enter() => pass,
                () = driver.handing_over.cancelled() => return End::GivenUp(items, GivenUp::HandedOver),
                () = driver.abort.cancelled() => return End::GivenUp(items, GivenUp::Shutdown),
                () = until(expires) => return End::GivenUp(items, GivenUp::Expired),
                () = until_overdue(&items) => {
                    items = self.return_overdue(items, None);
                    continue;
                }
            };
            // The call itself may panic too, before it has made a future.
            let delivery = AssertUnwindSafe(async { driver.deliver(&items, failures).await }).catch_unwind();
            let outcome = tokio::select! {
                outcome = delivery => outcome,
                () = driver.abort.cancelled() => return End::GivenUp(items, GivenUp::Shutdown),
            };
            let (asked, reason) = match outcome {
                Ok(Outcome::Retry { after, reason }) => (after, reason),
                Ok(outcome) => {
                    if pass.answered() {
                        tracing::info!(sink = %driver.id, "the backend answers again");
                    }
                    self.note(&outcome);
                    return End::Answered(items, outcome);
                }
                Err(panic) => {
                    panics += 1;
                    let message = panic_message(panic.as_ref());
                    driver.telemetry.panicked(message.clone());
                    if panics == TOLERATED_PANICS {
                        drop(pass);
                        return End::Answered(items, Outcome::rejected(RejectionKind::Panic, message));
                    }
                    (None, message)
                }
            };
            failures += 1;
            if pass.failed(asked) {
                driver.keep_alone();
                tracing::warn!(sink = %driver.id, %reason, "the backend does not take data, trying again until it does");
            }
            driver.telemetry.error("retry", reason);
            self.degraded();
            items = self.return_overdue(items, asked);
            items.iter_mut().for_each(|item| item.keep_alone(driver.max_buffer()));
            let wait = driver.settings.backoff.wait(failures, asked);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = driver.handing_over.cancelled() => return End::GivenUp(items, GivenUp::HandedOver),
                () = until(expires) => return End::GivenUp(items, GivenUp::Expired),
                () = until_overdue(&items) => items = self.return_overdue(items, asked),
                () = driver.abort.cancelled() => return End::GivenUp(items, GivenUp::Shutdown),
            }
        }
        End::GivenUp(items, GivenUp::Expired)
    }

    /// Many parts are rejected: the others are not searched by halves, one request after the other, but go back to the
    /// front of the queue, from where for a while every part goes out alone.
    fn send_apart(&self, items: Vec<Item>) {
        let driver = &self.driver;
        if driver.apart.begin() {
            heard_of(&items, || {
                tracing::warn!(sink = %driver.id, "the backend rejects many parts of merged requests, nothing is merged for a while");
            });
        }
        if let Err(rest) = driver.parts[self.part].put_back(items) {
            self.give_up(rest, GivenUp::Shutdown);
        }
    }

    /// After a refusal for good: halves to try again, so that one bad part takes nobody with it, or none when this is
    /// the bad part (or dividing cannot help) and it has been settled.
    async fn divide(&self, mut items: Vec<Item>, rejection: &Rejection) -> Option<[Vec<Item>; 2]> {
        let may_help =
            matches!(rejection.kind, RejectionKind::Invalid | RejectionKind::TooLarge | RejectionKind::Panic);
        let is_too_large = rejection.kind == RejectionKind::TooLarge;
        if is_too_large && items.iter().map(|item| item.wire.len()).sum::<usize>() <= SMALL_FOR_ALL {
            self.reject(items, rejection);
            return None;
        }
        if may_help && items.len() > 1 {
            let second = items.split_off(items.len() / 2);
            return Some([second, items]);
        }
        if !is_too_large || items.len() != 1 {
            self.reject(items, rejection);
            return None;
        }
        let item = items.pop().expect("there is one item");
        match halves(item.wire.clone()).await {
            Some((first, second)) => {
                let (since, room, on_disk) = (item.since, item.room, item.on_disk);
                let [debts, other_debts] = item.debts.halved(first.records(), second.records());
                let other =
                    Item { wire: second, debts: other_debts, since, room: Arc::clone(&room), on_disk: on_disk.clone() };
                // The first half is sent first: groups are taken from the end.
                Some([vec![other], vec![Item { wire: first, debts, since, room, on_disk }]])
            }
            // It is one record, or the process ends.
            None => {
                self.reject(vec![item], rejection);
                None
            }
        }
    }

    fn reject(&self, items: Vec<Item>, rejection: &Rejection) {
        let records = records_of(&items);
        let (kind, reason) = (rejection.kind.as_str(), &rejection.message);
        self.driver.telemetry.error(kind, reason.clone());
        heard_of(&items, || {
            tracing::warn!(sink = %self.driver.id, kind, %reason, records, "the backend rejects data for good, it is dropped");
        });
        self.leave(&[Exit::Dropped(rejection.kind.as_str(), records)]);
        settle_all(items, &Outcome::Rejected(rejection.clone()));
    }

    /// Counts and answers items that the far end took, all or in part.
    fn settle(&self, items: Vec<Item>, outcome: &Outcome) {
        let records = records_of(&items);
        let Outcome::Partial { rejected, message } = outcome else {
            self.leave(&[Exit::Delivered(records)]);
            return settle_all(items, outcome);
        };
        let rejected = (*rejected).min(records);
        self.driver.telemetry.error(PARTIAL, message.clone());
        self.leave(&[Exit::Delivered(records - rejected), Exit::Dropped(PARTIAL, rejected)]);
        if items.len() == 1 {
            return settle_all(items, outcome);
        }
        // Whose records were rejected out of a joined request is not known.
        settle_all(items, &Outcome::Delivered);
    }

    /// Loses what has waited for longer than payloads may.
    fn expire(&self, items: Vec<Item>) -> Vec<Item> {
        let Some(most) = self.driver.max_age.get() else { return items };
        let (expired, kept): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.since.elapsed() > most);
        if !expired.is_empty() {
            self.give_up(expired, GivenUp::Expired);
        }
        kept
    }

    fn give_up(&self, items: Vec<Item>, why: GivenUp) {
        // Ended in the midst of an attempt they go to the other one too.
        let goes_on = matches!(why, GivenUp::HandedOver)
            || (matches!(why, GivenUp::Shutdown) && self.driver.handing_over.is_cancelled());
        let items = match goes_on {
            true => match self.driver.parts[self.part].put_back(items) {
                Ok(()) => return,
                Err(items) => items,
            },
            false => items,
        };
        let reason = match why {
            GivenUp::Shutdown | GivenUp::HandedOver => SHUTDOWN,
            GivenUp::Expired => EXPIRED,
        };
        let may_stay = |item: &Item| !matches!(why, GivenUp::Expired) && item.on_disk.is_some();
        let (kept, gone): (Vec<_>, Vec<_>) = items.into_iter().partition(may_stay);
        let (owed, unowed): (Vec<_>, Vec<_>) = gone.into_iter().partition(|item| item.debts.is_owed());
        self.leave(&[
            Exit::Kept(records_of(&kept)),
            Exit::Returned(records_of(&owed)),
            Exit::Dropped(reason, records_of(&unowed)),
        ]);
        unowed.iter().for_each(Item::settled);
        answer_all(owed, &Outcome::retry(reason));
    }

    /// Gives back what somebody has waited for long enough.
    fn return_overdue(&self, items: Vec<Item>, asked: Option<Duration>) -> Vec<Item> {
        let (overdue, kept): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.is_overdue(HOLD));
        if !overdue.is_empty() {
            self.leave(&[Exit::Returned(records_of(&overdue))]);
            answer_all(overdue, &not_taken(asked));
        }
        kept
    }

    /// What the answer of a backend says about the sink. Data that is wrong says nothing; but when we are not let in,
    /// or ask for what is not there, everything is lost until somebody mends the configuration.
    fn note(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Rejected(Rejection { kind: RejectionKind::Unauthorized | RejectionKind::Unsupported, .. }) => {
                self.degraded();
            }
            _ => self.healthy(),
        }
    }

    fn degraded(&self) {
        // The component is another sink by now, and this one's backend need not be that one's.
        if self.driver.leaving.load(Ordering::Relaxed) {
            return;
        }
        self.driver.degraded.store(true, Ordering::Relaxed);
        self.driver.telemetry.set_state(HealthState::Degraded);
    }

    fn healthy(&self) {
        if self.driver.degraded.swap(false, Ordering::Relaxed) && !self.driver.leaving.load(Ordering::Relaxed) {
            self.driver.telemetry.set_state(HealthState::Ok);
        }
    }

    fn leave(&self, exits: &[Exit]) {
        self.driver.parts[self.part].leave(exits);
    }
}

impl Driver {
    /// Has the sink deliver the items, which has failed so often already. An attempt that carries anything of what the engine
    /// tells of itself has no span: it would be the next thing to tell.
    fn deliver<'d>(&'d self, items: &[Item], failures: u32) -> BoxFuture<'d, Outcome> {
        let payload = Self::payload_of(items);
        if is_all_of_the_engine(items) {
            return Box::pin(unheard(async move { self.sink.deliver(payload).await }));
        }
        match self.telemetry.tracer() {
            Some(tracer) if tracer.is_on() && !items.iter().any(Item::is_of_the_engine) => {
                match tracer.begin(SpanKind::Client, || None) {
                    Some(span) => self.traced(payload, failures, span),
                    None => self.sink.deliver(payload),
                }
            }
            _ => self.sink.deliver(payload),
        }
    }

    fn traced(&self, payload: Payload, failures: u32, span: Arc<Span>) -> BoxFuture<'_, Outcome> {
        span.name("deliver");
        span.text("signal", payload.signal().as_str());
        span.int("records", payload.records());
        span.int("bytes", payload.len() as u64);
        span.int("attempt", u64::from(failures) + 1);
        Box::pin(async move {
            let outcome = self.sink.deliver(payload).await;
            match &outcome {
                Outcome::Delivered => span.end("delivered", None),
                Outcome::Partial { .. } => span.end("partial", None),
                Outcome::Rejected(Rejection { kind, message }) => span.end(kind.as_str(), Some(message)),
                Outcome::Retry { reason, .. } => span.end("retry", Some(reason)),
            }
            outcome
        })
    }
}

/// Tells of what became of items. When all of them are what the engine tells of itself, that is no record: it would be
/// refused next, and so on for ever.
fn heard_of(items: &[Item], tell: impl FnOnce()) {
    if is_all_of_the_engine(items) { unheard_now(tell) } else { tell() }
}

fn is_all_of_the_engine(items: &[Item]) -> bool {
    items.iter().all(Item::is_of_the_engine)
}

/// A request cut in two, beside the lane when there is much to look through.
async fn halves(wire: Wire) -> Option<(Wire, Wire)> {
    if wire.len() <= HALVED_INLINE {
        return wire.halve().ok();
    }
    // Boxed, because every request has this future and few are so large.
    Box::pin(lane::beside(move || wire.halve().ok())).await.ok().flatten()
}

/// What a sender is told whose data the far end has not taken for [`HOLD`].
pub(super) fn not_taken(asked: Option<Duration>) -> Outcome {
    Outcome::Retry {
        after: asked.filter(|wait| !wait.is_zero()).or(Some(Duration::from_secs(1))),
        reason: "the backend does not take data".to_owned(),
    }
}

/// Answers items that have gone for good.
fn settle_all(items: Vec<Item>, outcome: &Outcome) {
    items.iter().for_each(Item::settled);
    answer_all(items, outcome);
}

pub(super) fn answer_all(items: Vec<Item>, outcome: &Outcome) {
    for item in items {
        item.debts.answer(outcome);
    }
}

pub(super) fn records_of(items: &[Item]) -> u64 {
    items.iter().map(|item| item.wire.records()).sum()
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Resolves when somebody has waited for one of these items for [`HOLD`]; never when nobody waits.
async fn until_overdue(items: &[Item]) {
    match items.iter().filter(|item| item.debts.is_owed()).map(|item| item.since + HOLD).min() {
        // Past it by a moment, because being overdue is strictly more than the hold.
        Some(due) => tokio::time::sleep_until(due + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}
