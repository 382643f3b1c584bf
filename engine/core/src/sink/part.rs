//! One lane's part of a sink: its queue, what is in flight and its counts, under one lock.
//!
//! Every move of a record changes the holder and the count in one critical section, so that a snapshot balances at
//! any moment. Queue and flight keep sums of what they hold, so that nobody goes through thousands of items under the
//! lock. Not here: when to send.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use otlp::{Signal, Wire};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::batching::Batching;
use super::durable::OnDisk;
use super::request::{answer_all, not_taken, records_of};
use super::{DAMAGED, Room, SHUTDOWN};
use crate::batch::Debts;
use crate::ledger::{Counts, Held, Line};
use crate::outcome::Outcome;

/// A piece a sink has taken: what to send, whom to answer, and the room it takes in the buffer.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) wire: Wire,
    pub(super) debts: Debts,
    pub(super) since: Instant,
    // Freed when the last part of what was taken has gone.
    pub(super) room: Arc<Room>,
    /// The frame that it is of, where it is on disk too.
    pub(super) on_disk: Option<Arc<OnDisk>>,
}

/// What leaves the ledger's held side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Delivered(u64),
    Dropped(&'static str, u64),
    Returned(u64),
    /// Still held, on disk.
    Kept(u64),
}

#[derive(Debug, Default)]
pub(super) struct Part {
    state: Mutex<State>,
    /// Something was queued, or the part was told to look again.
    pub(super) work: Notify,
}

#[derive(Debug, Default)]
struct State {
    queues: [Queue; 3],
    /// Records that left the queue and have not been settled.
    in_flight: u64,
    /// Records that are on disk only, or on their way there. They may come in by one part and go out by another, so only the
    /// sum over all parts means something.
    stored: i64,
    counts: Counts,
    refused: u64,
    /// Nobody takes anything out of the queues any more.
    ended: bool,
    #[cfg(test)]
    omitted: Option<&'static str>,
}

/// Items of one signal, the oldest first, with running sums so that nobody has to go through them to know whether they
/// fill a request or whether anybody waits.
#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    size: usize,
    records: u64,
    /// Items for which somebody waits: all of them behind most sources of a sink that answers when delivered, else none.
    owed: usize,
}

/// What the queue has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Enough for a request of this signal, or its oldest item has waited long enough.
    Now(Signal),
    /// Something is queued that may wait for company until then.
    At(Instant),
    /// Nothing is queued.
    Empty,
}

impl Part {
    /// Takes an item into the queue and the ledger. After the end it is counted as returned and given back.
    pub(super) fn accept(&self, item: Item, batching: &Batching) -> Result<(), Box<Item>> {
        let mut state = self.state.lock();
        if state.is_counted("accepted") {
            state.counts.accepted += item.wire.records();
        }
        if state.ended {
            state.counts.returned += item.wire.records();
            return Err(Box::new(item));
        }
        self.queue(state, item, batching);
        Ok(())
    }

    /// Puts an item into the queue and wakes the driver where that is worth a look: in between it sleeps until the first item is
    /// due, and more of the same need not wake it.
    fn queue(&self, mut state: MutexGuard<'_, State>, item: Item, batching: &Batching) {
        let queue = &mut state.queues[item.wire.signal() as usize];
        queue.push(item);
        let worth_a_look = queue.items.len() == 1 || batching.is_filled(queue.size, queue.records);
        drop(state);
        if worth_a_look {
            self.work.notify_one();
        }
    }

    /// Counts records that are accepted and on their way to the disk.
    pub(super) fn enter_store(&self, records: u64) {
        let mut state = self.state.lock();
        if state.is_counted("accepted") {
            state.counts.accepted += records;
        }
        state.stored += signed(records);
    }

    /// Counts records that another process left on disk, and of those the ones that are gone.
    pub(super) fn recovered(&self, records: u64, damaged: u64) {
        let mut state = self.state.lock();
        if state.is_counted("recovered") {
            state.counts.recovered += records + damaged;
        }
        state.stored += signed(records);
        if damaged > 0 {
            *state.counts.dropped.entry(DAMAGED).or_default() += damaged;
        }
    }

    /// Takes an item that is on disk into the queue. After the end it is given back.
    pub(super) fn take_from_store(&self, item: Item, batching: &Batching) -> Result<(), Box<Item>> {
        let mut state = self.state.lock();
        if state.ended {
            return Err(Box::new(item));
        }
        state.stored -= signed(item.wire.records());
        self.queue(state, item, batching);
        Ok(())
    }

    /// Takes records off the disk that never came into the queue, and counts where they went.
    pub(super) fn leave_store(&self, exit: Exit) {
        let mut state = self.state.lock();
        let (what, records) = exit.what();
        if records > 0 && state.is_counted(what) {
            state.counts.add(exit);
        }
        state.stored -= signed(records);
    }

    /// Since when the oldest item waits that nobody waits for.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let state = self.state.lock();
        let fronts = state.queues.iter().filter_map(|queue| queue.items.front());
        fronts.filter(|item| !item.debts.is_owed()).map(|item| item.since).min()
    }

    /// Drops the oldest item that nobody waits for.
    pub(super) fn drop_oldest(&self, reason: &'static str) -> Option<Item> {
        let mut state = self.state.lock();
        let fronts =
            state.queues.iter_mut().filter(|queue| queue.items.front().is_some_and(|item| !item.debts.is_owed()));
        let queue = fronts.min_by_key(|queue| queue.items.front().map(|item| item.since))?;
        let item = queue.items.pop_front()?;
        queue.forget(&item);
        if state.is_counted("dropped") {
            *state.counts.dropped.entry(reason).or_default() += item.wire.records();
        }
        Some(item)
    }

    /// Counts records that were accepted and dropped in the same moment.
    pub(super) fn drop_at_entrance(&self, reason: &'static str, records: u64) {
        let mut state = self.state.lock();
        if state.is_counted("entrance") {
            state.counts.accepted += records;
        }
        if records > 0 {
            *state.counts.dropped.entry(reason).or_default() += records;
        }
    }

    /// Counts records that were turned away with the answer Retry.
    pub(super) fn refused(&self, records: u64) {
        self.state.lock().refused += records;
    }

    /// Looks for a request's worth. The signal whose oldest item waits longest comes first.
    pub(super) fn ready(&self, batching: &Batching) -> Ready {
        let state = self.state.lock();
        let mut ready = Ready::Empty;
        let mut oldest: Option<(Instant, Signal)> = None;
        for signal in Signal::ALL {
            let queue = &state.queues[signal as usize];
            let Some(first) = queue.items.front() else { continue };
            let due = first.since + batching.timeout;
            if due <= Instant::now() || batching.is_filled(queue.size, queue.records) {
                if oldest.is_none_or(|(since, _)| first.since < since) {
                    oldest = Some((first.since, signal));
                }
            } else if !matches!(ready, Ready::At(earlier) if earlier <= due) {
                ready = Ready::At(due);
            }
        }
        oldest.map_or(ready, |(_, signal)| Ready::Now(signal))
    }

    /// Moves items of one signal from the queue into flight: as many as fit into one request, at least one.
    pub(super) fn take(&self, signal: Signal, batching: &Batching) -> Option<Vec<Item>> {
        let mut state = self.state.lock();
        let queue = &mut state.queues[signal as usize];
        let items = queue.take(batching);
        if items.is_empty() {
            return None;
        }
        state.in_flight += records_of(&items);
        Some(items)
    }

    /// Moves items from flight back to the front of their queue, in their order. After the end they are given back.
    pub(super) fn put_back(&self, items: Vec<Item>) -> Result<(), Vec<Item>> {
        let mut state = self.state.lock();
        if state.ended {
            return Err(items);
        }
        state.in_flight -= records_of(&items);
        for item in items.into_iter().rev() {
            state.queues[item.wire.signal() as usize].push_front(item);
        }
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    /// Takes records out of flight and counts where they went.
    pub(super) fn leave(&self, exits: &[Exit]) {
        let mut state = self.state.lock();
        for exit in exits {
            let (what, records) = exit.what();
            if records > 0 && state.is_counted(what) {
                state.counts.add(*exit);
            }
            if let Exit::Kept(records) = exit {
                state.stored += signed(*records);
            }
            state.in_flight -= records;
        }
    }

    /// Stops counting one kind of move, to see that the check notices.
    #[cfg(test)]
    pub(super) fn omit(&self, what: Option<&'static str>) {
        self.state.lock().omitted = what;
    }

    /// Resolves when somebody has waited longer than `hold` for an item in the queue; never when nobody waits.
    pub(super) async fn overdue(&self, hold: Duration) {
        let oldest = self.state.lock().queues.iter().filter_map(Queue::waits_since).min();
        match oldest {
            // Past it by a moment, because being overdue is strictly more than the hold.
            Some(since) => tokio::time::sleep_until(since + hold + Duration::from_millis(1)).await,
            None => std::future::pending().await,
        }
    }

    /// Gives back what somebody has waited for longer than `hold`.
    pub(super) fn return_overdue(&self, hold: Duration) {
        let mut overdue = Vec::new();
        let mut state = self.state.lock();
        for queue in &mut state.queues {
            queue.extract_overdue(hold, &mut overdue);
        }
        state.counts.returned += records_of(&overdue);
        drop(state);
        answer_all(overdue, &not_taken(None));
    }

    /// Ends the part and settles everything queued: what somebody waits for is given back, what is on disk stays there, the
    /// rest is dropped for `reason`.
    pub(super) fn end(&self, reason: &'static str) {
        let mut state = self.state.lock();
        state.ended = true;
        let mut owed = Vec::new();
        let (mut dropped, mut kept) = (0, 0);
        for queue in &mut state.queues {
            for item in queue.extract(|_| true) {
                if item.on_disk.is_some() {
                    kept += item.wire.records();
                } else if item.debts.is_owed() {
                    owed.push(item);
                } else {
                    dropped += item.wire.records();
                }
            }
        }
        state.stored += signed(kept);
        state.counts.returned += records_of(&owed);
        if dropped > 0 {
            *state.counts.dropped.entry(reason).or_default() += dropped;
        }
        drop(state);
        answer_all(owed, &Outcome::retry(reason));
    }

    /// Gives away how much of what is on disk is counted here.
    pub(super) fn give_stored(&self) -> i64 {
        std::mem::take(&mut self.state.lock().stored)
    }

    /// Counts what is on disk and goes to another sink: in another ledger that is returned.
    pub(super) fn hand_over_stored(&self, stored: i64, is_one_ledger: bool) {
        if !is_one_ledger {
            let mut state = self.state.lock();
            state.counts.returned = state.counts.returned.saturating_add_signed(stored);
        }
    }

    /// Counts what is on disk and comes from another sink.
    pub(super) fn take_over_stored(&self, stored: i64, is_one_ledger: bool) {
        let mut state = self.state.lock();
        state.stored += stored;
        if !is_one_ledger {
            state.counts.recovered = state.counts.recovered.saturating_add_signed(stored);
        }
    }

    /// Ends the part and gives what it holds. In another ledger that is returned.
    pub(super) fn hand_over(&self, is_one_ledger: bool) -> Vec<Item> {
        let mut state = self.state.lock();
        state.ended = true;
        let items: Vec<Item> = state.queues.iter_mut().flat_map(|queue| queue.extract(|_| true)).collect();
        if !is_one_ledger {
            state.counts.returned += records_of(&items);
        }
        items
    }

    /// Takes over what another one held. After the end it is given back.
    pub(super) fn take_over(&self, items: Vec<Item>, is_one_ledger: bool) -> Vec<Item> {
        let mut state = self.state.lock();
        if state.ended {
            return items;
        }
        for item in items {
            if !is_one_ledger {
                state.counts.recovered += item.wire.records();
            }
            state.queues[item.wire.signal() as usize].push(item);
        }
        drop(state);
        self.work.notify_one();
        Vec::new()
    }

    /// Counts what was handed over and given back: what is on disk stays there, who waits comes again, the rest is lost. Says how
    /// much that is.
    pub(super) fn refused_by_successor(&self, items: &[Item], is_one_ledger: bool) -> u64 {
        let records = |chosen: &dyn Fn(&Item) -> bool| -> u64 {
            items.iter().filter(|item| chosen(item)).map(|item| item.wire.records()).sum()
        };
        let kept = records(&|item| item.on_disk.is_some());
        let owed = records(&|item| item.on_disk.is_none() && item.debts.is_owed());
        let lost = records(&|item| item.on_disk.is_none() && !item.debts.is_owed());
        if is_one_ledger && !items.is_empty() {
            let mut state = self.state.lock();
            state.stored += signed(kept);
            state.counts.returned += owed;
            if lost > 0 {
                *state.counts.dropped.entry(SHUTDOWN).or_default() += lost;
            }
        }
        lost
    }

    /// Copies what is a slice of something larger.
    pub(super) fn keep_alone(&self, max_buffer: usize) {
        let mut state = self.state.lock();
        for item in state.queues.iter_mut().flat_map(|queue| &mut queue.items) {
            item.keep_alone(max_buffer);
        }
    }

    /// This part's line at one moment.
    pub(super) fn line(&self) -> Line {
        let state = self.state.lock();
        let queued = state.queues.iter().map(|queue| queue.records).sum();
        let held = Held { queued, in_flight: state.in_flight, stored: state.stored };
        Line { counts: state.counts.clone(), held, refused: state.refused }
    }
}

impl State {
    /// Whether a kind of move is counted: always, but for the one that a test of the check takes away.
    #[cfg(test)]
    fn is_counted(&self, what: &'static str) -> bool {
        self.omitted != Some(what)
    }

    #[cfg(not(test))]
    #[inline]
    fn is_counted(&self, _what: &'static str) -> bool {
        true
    }
}

impl Counts {
    fn add(&mut self, exit: Exit) {
        match exit {
            Exit::Delivered(records) => self.delivered += records,
            Exit::Returned(records) => self.returned += records,
            Exit::Dropped(reason, records) => *self.dropped.entry(reason).or_default() += records,
            Exit::Kept(_) => {}
        }
    }
}

impl Exit {
    /// What it is, for the check of the counts, and of how many records.
    fn what(self) -> (&'static str, u64) {
        match self {
            Self::Delivered(records) => ("delivered", records),
            Self::Returned(records) => ("returned", records),
            Self::Dropped(_, records) => ("dropped", records),
            Self::Kept(records) => ("kept", records),
        }
    }
}

fn signed(records: u64) -> i64 {
    i64::try_from(records).expect("nobody holds so many records")
}

impl Queue {
    fn push(&mut self, item: Item) {
        self.remember(&item);
        self.items.push_back(item);
    }

    fn push_front(&mut self, item: Item) {
        self.remember(&item);
        self.items.push_front(item);
    }

    fn take(&mut self, batching: &Batching) -> Vec<Item> {
        let count = batching.take(self.items.iter().map(|item| &item.wire));
        let items: Vec<Item> = self.items.drain(..count).collect();
        items.iter().for_each(|item| self.forget(item));
        items
    }

    /// Since when somebody has waited for one of the items; none when nobody waits.
    fn waits_since(&self) -> Option<Instant> {
        if self.owed == 0 {
            return None;
        }
        // The first one, but where sources that wait and sources that do not feed one sink.
        self.items.iter().find(|item| item.debts.is_owed()).map(|item| item.since)
    }

    /// Takes out whom somebody has waited for longer than `hold`.
    fn extract_overdue(&mut self, hold: Duration, overdue: &mut Vec<Item>) {
        // With a sender behind every item the oldest stand in front. One whose sender gave up early leaves in its turn.
        if self.owed < self.items.len() {
            overdue.extend(self.extract(|item| item.is_overdue(hold)));
            return;
        }
        while let Some(item) = self.items.pop_front_if(|item| item.is_overdue(hold)) {
            self.forget(&item);
            overdue.push(item);
        }
    }

    fn extract(&mut self, mut leaves: impl FnMut(&Item) -> bool) -> Vec<Item> {
        let (leaving, staying): (Vec<_>, Vec<_>) = self.items.drain(..).partition(|item| leaves(item));
        leaving.iter().for_each(|item| self.forget(item));
        self.items = staying.into();
        leaving
    }

    /// Adds an item that comes to the sums.
    fn remember(&mut self, item: &Item) {
        self.size += item.wire.len();
        self.records += item.wire.records();
        self.owed += usize::from(item.debts.is_owed());
    }

    /// Takes an item that left out of the sums.
    fn forget(&mut self, item: &Item) {
        self.size -= item.wire.len();
        self.records -= item.wire.records();
        self.owed -= usize::from(item.debts.is_owed());
    }
}

impl Item {
    /// Has gone for good: what is on disk of it is needed no more.
    pub(super) fn settled(&self) {
        if let Some(on_disk) = &self.on_disk {
            on_disk.settle(self.wire.records());
        }
    }

    /// Whether records that the engine tells of itself are in it.
    pub(super) fn is_of_the_engine(&self) -> bool {
        self.debts.are_of_the_engine()
    }

    /// Whether somebody waits for its answer and has waited longer than `hold`, or has given up.
    pub(super) fn is_overdue(&self, hold: Duration) -> bool {
        self.debts.is_owed() && (self.since.elapsed() > hold || self.debts.is_abandoned())
    }
}
