//! The companion: data that waits for its pod to become known, or for an address to be settled.
//!
//! It waits a few seconds at most and within a bound in bytes; its receipts wait with it. Then it goes on with what is
//! known. Not here: what is known (`resolve`).

use std::sync::Arc;
use std::time::Duration;

use engine_core::contract::{ComponentError, Event, Held, Input, Stage, StageContext};
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::counts::Unmatched;
use super::resolve::{Found, Window};
use super::{Enrichment, Findings};

/// A batch of nobody may have been on its way from the transform to here for so long.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// News of the cluster are looked at together, when many come.
const LOOK_AFTER_NEWS: Duration = Duration::from_millis(20);

/// The companion of one transform.
pub(super) struct Companion {
    enrichment: Arc<Enrichment>,
}

/// What waits.
struct Waiting {
    enrichment: Arc<Enrichment>,
    context: StageContext,
    batches: Vec<WaitingBatch>,
    /// Their encoded bytes.
    bytes: usize,
    /// When to look at them next.
    look_at: Option<Instant>,
    /// Whether the cluster had news since the last look.
    has_news: bool,
    /// Whether nothing waits any more.
    is_draining: bool,
}

struct WaitingBatch {
    held: Held,
    received: Instant,
    /// When looking at it makes sense even without news.
    until: Instant,
}

impl Companion {
    pub(super) fn new(enrichment: Arc<Enrichment>) -> Self {
        Self { enrichment }
    }
}

impl Stage for Companion {
    fn run(self: Box<Self>, mut input: Input, context: StageContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let counted = Arc::clone(&self.enrichment);
            context.telemetry.expose(move || {
                let mut counts = counted.counts.read();
                counts.push(("pods_known", counted.metadata.pods() as u64));
                counts
            });
            let mut news = self.enrichment.metadata.changes();
            let mut waiting = Waiting::new(self.enrichment, context);
            while waiting.step(&mut input, &mut news).await {}
            Ok(())
        })
    }
}

impl Waiting {
    fn new(enrichment: Arc<Enrichment>, context: StageContext) -> Self {
        let batches = Vec::new();
        Self { enrichment, context, batches, bytes: 0, look_at: None, has_news: false, is_draining: false }
    }

    /// Does the next thing. Says whether there may be more.
    async fn step(&mut self, input: &mut Input, news: &mut watch::Receiver<u64>) -> bool {
        let due = self.look_at;
        let event = tokio::select! {
            biased;
            event = self.context.next(input, due) => event,
            // The service lives as long as this does.
            Ok(()) = news.changed(), if !self.batches.is_empty() && !self.has_news => {
                self.has_news = true;
                let soon = Instant::now() + LOOK_AFTER_NEWS;
                self.look_at = Some(self.look_at.map_or(soon, |at| at.min(soon)));
                return true;
            }
        };
        match event {
            Event::Batch(held) => self.take(held).await,
            Event::Due => self.look().await,
            Event::Woken => {}
            Event::Draining | Event::End => {
                self.is_draining = true;
                self.let_go().await;
                return !matches!(event, Event::End);
            }
        }
        true
    }

    /// A batch that may wait.
    async fn take(&mut self, held: Held) {
        let received = Instant::now();
        let findings = self.findings(&held, received);
        let Some(until) = earliest_look(&findings) else { return self.hand_on(held, findings).await };
        let len = held.batch().encoded_len();
        let reason = if self.is_draining {
            Some(Unmatched::Draining)
        } else if self.bytes.saturating_add(len) > self.room() {
            Some(Unmatched::HoldFull)
        } else {
            None
        };
        if let Some(reason) = reason {
            return self.give_up(held, findings, Some(reason)).await;
        }
        self.enrichment.counts.wait(held.batch().records());
        self.bytes += len;
        self.batches.push(WaitingBatch { held, received, until });
        self.look_at = Some(self.look_at.map_or(until, |at| at.min(until)));
    }

    /// Hands on what need not wait any more.
    async fn look(&mut self) {
        let now = Instant::now();
        let has_news = std::mem::take(&mut self.has_news);
        let (looked_at, mut waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.batches).into_iter().partition(|batch| has_news || batch.until <= now);
        let mut ready = Vec::new();
        for mut batch in looked_at {
            let findings = self.findings(&batch.held, batch.received);
            let over_at = batch.received + self.enrichment.options.hold.timeout.get();
            match earliest_look(&findings).filter(|_| now < over_at) {
                Some(until) => {
                    batch.until = until.min(over_at);
                    waiting.push(batch);
                }
                None => ready.push((batch.held, findings)),
            }
        }
        self.look_at = waiting.iter().map(|batch| batch.until).min();
        self.batches = waiting;
        for (held, findings) in ready {
            self.bytes -= held.batch().encoded_len();
            self.give_up(held, findings, None).await;
        }
    }

    /// Hands on everything.
    async fn let_go(&mut self) {
        self.look_at = None;
        self.bytes = 0;
        for WaitingBatch { held, received, .. } in std::mem::take(&mut self.batches) {
            let findings = self.findings(&held, received);
            self.give_up(held, findings, Some(Unmatched::Draining)).await;
        }
    }

    fn findings(&self, held: &Held, received: Instant) -> Findings {
        let earliest = received.checked_sub(ON_ITS_WAY).unwrap_or(received);
        self.enrichment.look(held.batch(), Window { earliest, latest: received })
    }

    async fn give_up(&mut self, held: Held, mut findings: Findings, reason: Option<Unmatched>) {
        findings.iter_mut().for_each(|finding| finding.gives_up(reason));
        self.hand_on(held, findings).await;
    }

    async fn hand_on(&mut self, held: Held, findings: Findings) {
        let batch = self.enrichment.enriched(held.release(), findings, &self.context.telemetry);
        self.context.outputs[0].send(batch).await;
    }

    fn room(&self) -> usize {
        usize::try_from(self.enrichment.options.hold.max_size.0).unwrap_or(usize::MAX)
    }
}

/// When to look again at what waits; none when nothing of it waits.
fn earliest_look(findings: &Findings) -> Option<Instant> {
    findings
        .iter()
        .filter_map(|finding| match finding.found {
            Found::Waits { until, .. } => Some(until),
            Found::Pod(..) | Found::Nothing(_) => None,
        })
        .min()
}
