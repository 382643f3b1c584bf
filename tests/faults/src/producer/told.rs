//! What clients have sent and what they were told.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::Mutex;
use tonic::Code;

use crate::ranges::Ranges;

/// What all clients know together.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// By client.
    pub clients: BTreeMap<u32, ClientTold>,
    /// How often a request was answered with each code that asks for it again.
    pub refusals: BTreeMap<i32, u64>,
    /// How often a request was answered with each code that says that it is not to be sent again, and what the first one
    /// said.
    pub rejections: BTreeMap<i32, (u64, String)>,
    /// Records that were rejected in answers that say success.
    pub rejected_in_success: u64,
    /// Requests whose connection broke before their answer.
    pub cut_off: u64,
    /// Requests that got no answer for too long.
    pub unanswered: u64,
    /// Requests that are under way now.
    pub under_way: u64,
}

/// What one client knows.
#[derive(Clone, Debug, Default)]
pub struct ClientTold {
    /// Behind the highest number that it has sent.
    pub issued: u64,
    /// Numbers that were answered with success.
    pub acknowledged: Ranges,
}

impl Told {
    /// Records that were answered with success.
    pub fn acknowledged(&self) -> u64 {
        self.clients.values().map(|client| client.acknowledged.len()).sum()
    }

    /// Records that were sent, whatever became of them.
    pub fn issued(&self) -> u64 {
        self.clients.values().map(|client| client.issued).sum()
    }

    /// Requests that were refused for now.
    pub fn refused(&self) -> u64 {
        self.refusals.values().sum()
    }

    /// What these clients and others know; they have different numbers.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.clients.extend(other.clients);
        for (code, count) in other.refusals {
            *self.refusals.entry(code).or_default() += count;
        }
        for (code, (count, message)) in other.rejections {
            self.rejections.entry(code).or_insert((0, message)).0 += count;
        }
        self.rejected_in_success += other.rejected_in_success;
        self.cut_off += other.cut_off;
        self.unanswered += other.unanswered;
        self.under_way += other.under_way;
        self
    }
}

/// [`Told`] as it comes to be.
#[derive(Default)]
pub(super) struct Memory(Mutex<Told>);

impl Memory {
    pub(super) fn told(&self) -> Told {
        self.0.lock().clone()
    }

    pub(super) fn issue(&self, client: u32, end: u64) {
        self.0.lock().clients.entry(client).or_default().issued = end;
    }

    pub(super) fn begin(&self) {
        self.0.lock().under_way += 1;
    }

    pub(super) fn end(&self) {
        self.0.lock().under_way -= 1;
    }

    pub(super) fn accept(&self, client: u32, numbers: Range<u64>, rejected: u64) {
        let mut told = self.0.lock();
        told.rejected_in_success += rejected;
        // Which ones were rejected is not said.
        if rejected == 0 {
            told.clients.entry(client).or_default().acknowledged.insert(numbers);
        }
    }

    pub(super) fn refuse(&self, code: Code) {
        *self.0.lock().refusals.entry(code as i32).or_default() += 1;
    }

    pub(super) fn reject(&self, code: Code, message: &str) {
        self.0.lock().rejections.entry(code as i32).or_insert_with(|| (0, message.to_owned())).0 += 1;
    }

    pub(super) fn cut_off(&self) {
        self.0.lock().cut_off += 1;
    }

    pub(super) fn unanswered(&self) {
        self.0.lock().unanswered += 1;
    }
}
