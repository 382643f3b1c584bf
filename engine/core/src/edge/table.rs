//! Several selections behind one output, asked at once: each attribute of a resource that any of them looks at is read once
//! and looked up, and what is found says who takes the resource, however many there are.
//!
//! Everything is as if each of the transforms had run by itself: what goes out, what is counted and what is answered. Not
//! here: what a selection means (`selection`), and how bytes are shared (`otlp`).

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine_config::transforms::select::Absent;
use engine_config::{MatchValue, SignalSet};
use otlp::{Payload, ResourceView, Signal, ValueView, Wire};
use smallvec::{SmallVec, smallvec};

use super::taker::Piece;
use super::{Consumer, Output, Stopped, Target, TransformNode, UNSELECTED};
use crate::batch::Batch;
use crate::outcome::Outcome;
use crate::selection::{Matching, Selection};

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// The consumers of an output, of which at least two select.
#[derive(Debug)]
pub(super) struct Table {
    steps: Vec<Step>,
    selections: usize,
    /// The attributes that selections look at, and who wants which of their values.
    keys: Vec<String>,
    wanted: Vec<Wanted>,
    /// The selections that leave out what matches.
    leave_out: Members,
    /// Those that take a signal at all.
    by_signal: [Members; 3],
}

/// One consumer, in the order of the route.
#[derive(Debug)]
enum Step {
    /// Selects, and has this number among those who do.
    Select(SignalSet, usize, Arc<TransformNode>),
    /// Takes everything.
    Other(SignalSet, Target),
}

/// Which selections a value of one attribute satisfies. Those that do not look at the attribute are satisfied by any.
#[derive(Debug)]
struct Wanted {
    /// By an absent attribute.
    absent: Members,
    /// By a value that nobody names.
    by_default: Members,
    texts: HashMap<String, Members>,
    numbers: HashMap<i64, Members>,
    flags: [Members; 2],
}

/// Some of the selections: number n is bit n % 64 of word n / 64.
type Members = SmallVec<[u64; 2]>;

/// What selections pass on, in their order; those that pass on nothing are absent.
pub(super) type Shares = Vec<(usize, Wire)>;

/// A consumer that gets something.
enum Next<'t> {
    Selected(&'t TransformNode, Wire),
    Other(&'t Target),
}

impl Table {
    /// A table of these consumers, if at least two of them select.
    pub(super) fn of(consumers: &[Consumer]) -> Option<Self> {
        let mut selections: Vec<(SignalSet, &Selection)> = Vec::new();
        let mut steps = Vec::new();
        for Consumer { signals, target } in consumers {
            steps.push(match target {
                Target::Transform(node) if let Some(selection) = node.selection() => {
                    selections.push((*signals, selection));
                    Step::Select(*signals, selections.len() - 1, Arc::clone(node))
                }
                _ => Step::Other(*signals, target.clone()),
            });
        }
        if selections.len() < 2 {
            return None;
        }
        let number_of = selections.len();
        let chosen = |choose: &dyn Fn(SignalSet, &Selection) -> bool| {
            let numbered = selections.iter().enumerate();
            let chosen = numbered.filter(|(_, (signals, selection))| choose(*signals, selection));
            members(number_of, chosen.map(|(number, _)| number))
        };
        let names = selections.iter().flat_map(|(_, selection)| selection.condition()).map(|(key, _)| key.clone());
        let mut keys: Vec<String> = names.collect();
        keys.sort_unstable();
        keys.dedup();
        Some(Self {
            wanted: keys.iter().map(|key| Wanted::of(key, &selections)).collect(),
            leave_out: chosen(&|_, selection| selection.matching() == Matching::IsLeftOut),
            by_signal: Signal::ALL.map(|signal| chosen(&|signals, _| signals.contains(signal))),
            selections: number_of,
            steps,
            keys,
        })
    }

    /// What each selection passes on; `None` when they must be asked one by one, because the batch has no bytes to share.
    pub(super) fn share_out(&self, batch: &Batch) -> Option<Shares> {
        let share_out = |wire: &Wire| {
            // What makes this panic makes a selection panic, which is then told of that one.
            let shared = catch_unwind(AssertUnwindSafe(|| {
                wire.share_out(self.selections, |resource, chosen| self.choose(resource, chosen))
            }));
            shared.ok()
        };
        match batch.payload() {
            Payload::Wire(wire) => share_out(wire),
            Payload::Decoded(decoded) => share_out(&decoded.clone().encode().ok()?),
        }
    }

    /// Who takes a resource.
    fn choose(&self, resource: &ResourceView<'_>, chosen: &mut [u64]) {
        let mut found: SmallVec<[Option<ValueView<'_>>; 4]> = smallvec![None; self.keys.len()];
        resource.attributes().get_each(&self.keys, &mut found);
        chosen.fill(u64::MAX);
        for (wanted, value) in self.wanted.iter().zip(found) {
            chosen.iter_mut().zip(wanted.by(value)).for_each(|(word, satisfied)| *word &= satisfied);
        }
        let here = &self.by_signal[resource.signal() as usize];
        for (word, (leave_out, here)) in chosen.iter_mut().zip(self.leave_out.iter().zip(here)) {
            *word = (*word ^ leave_out) & here;
        }
    }
}

impl Wanted {
    fn of(key: &str, selections: &[(SignalSet, &Selection)]) -> Self {
        let values_of = |selection: &'_ Selection| {
            selection.condition().iter().find(|(name, _)| name == key).map(|(_, values)| values.clone())
        };
        let values: Vec<_> = selections.iter().map(|(_, selection)| values_of(selection)).collect();
        let count = selections.len();
        let indifferent = values.iter().enumerate().filter(|(_, values)| values.is_none()).map(|(number, _)| number);
        let by_default = members(count, indifferent);
        let is_by_absence = |number: &usize| {
            let (_, selection) = selections[*number];
            values[*number].is_none() || selection.absent() == Absent::Match
        };
        let absent = members(count, (0..count).filter(is_by_absence));
        let (mut texts, mut numbers) = (HashMap::new(), HashMap::new());
        let mut flags = [by_default.clone(), by_default.clone()];
        for (number, value) in values
            .into_iter()
            .enumerate()
            .flat_map(|(number, values)| values.into_iter().flatten().map(move |value| (number, value)))
        {
            let satisfied = match value {
                MatchValue::String(text) => texts.entry(text).or_insert_with(|| by_default.clone()),
                MatchValue::Int(value) => numbers.entry(value).or_insert_with(|| by_default.clone()),
                MatchValue::Bool(flag) => &mut flags[usize::from(flag)],
            };
            satisfied[number / WORD] |= 1 << (number % WORD);
        }
        Self { absent, by_default, texts, numbers, flags }
    }

    /// The selections that a value satisfies. Types are not converted.
    fn by(&self, value: Option<ValueView<'_>>) -> &Members {
        let named = match value {
            None => Some(&self.absent),
            Some(ValueView::Str(text)) => self.texts.get(text),
            Some(ValueView::Int(value)) => self.numbers.get(&value),
            Some(ValueView::Bool(flag)) => Some(&self.flags[usize::from(flag)]),
            _ => None,
        };
        named.unwrap_or(&self.by_default)
    }
}

impl Output {
    /// Has every consumer get what it takes of a batch, in the order of the route. As everywhere the last of them gets the
    /// batch itself, and the others branches of it.
    pub(super) fn walk_table(
        &self,
        table: &Table,
        shares: Shares,
        batch: Batch,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), Stopped> {
        let signal = batch.signal();
        let mut shares = shares.into_iter().peekable();
        let mut waiting: Option<Next<'_>> = None;
        let mut somebody_takes_nothing = false;
        for step in table.steps.iter().filter(|step| step.signals().contains(signal)) {
            if let Some(next) = waiting.take()
                && let Err(stopped) = self.branch_to(next, &batch, pieces)
            {
                return Err(stopped.with(batch));
            }
            waiting = match step {
                Step::Other(_, target) => Some(Next::Other(target)),
                Step::Select(_, number, node) => {
                    let share = shares.next_if(|(taker, _)| taker == number).map(|(_, share)| share);
                    // Entries without records are nothing to send.
                    let share = share.filter(|share| !share.is_empty());
                    if share.is_none() {
                        node.count_selected(&batch, 0);
                        somebody_takes_nothing = true;
                    }
                    share.map(|share| Next::Selected(node, share))
                }
            };
        }
        let Some(last) = waiting else {
            match somebody_takes_nothing {
                true => nothing_of(batch).answer(&Outcome::Delivered),
                false => batch.discard(UNSELECTED, &self.telemetry),
            }
            return Ok(());
        };
        if somebody_takes_nothing {
            return match self.branch_to(last, &batch, pieces) {
                Ok(()) => {
                    nothing_of(batch).answer(&Outcome::Delivered);
                    Ok(())
                }
                Err(stopped) => Err(stopped.with(batch)),
            };
        }
        match last {
            Next::Other(target) => self.walk_target(target, batch, pieces),
            Next::Selected(node, share) => {
                node.count_selected(&batch, share.records());
                self.follow(node, batch.map(|_| share.into()), pieces)
            }
        }
    }

    fn branch_to(&self, next: Next<'_>, batch: &Batch, pieces: &mut Vec<Piece>) -> Result<(), Stopped> {
        match next {
            Next::Other(target) => self.walk_target(target, batch.branch(batch.payload().clone()), pieces),
            Next::Selected(node, share) => {
                node.count_selected(batch, share.records());
                self.follow(node, batch.branch(share.into()), pieces)
            }
        }
    }

    /// Sends what a selection passes on to who comes behind it.
    fn follow(&self, node: &TransformNode, selected: Batch, pieces: &mut Vec<Piece>) -> Result<(), Stopped> {
        node.telemetry.sent(0, &selected);
        match node.outputs.first() {
            Some(route) => self.walk(route, selected, pieces),
            None => {
                selected.discard(UNSELECTED, &node.telemetry);
                Ok(())
            }
        }
    }
}

impl TransformNode {
    /// Counts what came in, and what of it is not passed on.
    fn count_selected(&self, batch: &Batch, passed_on: u64) {
        self.telemetry.received(batch);
        self.telemetry.discarded(UNSELECTED, batch.records() - passed_on);
    }
}

impl Step {
    fn signals(&self) -> SignalSet {
        match self {
            Self::Select(signals, ..) | Self::Other(signals, _) => *signals,
        }
    }
}

/// A batch that owes the same answers for no records.
fn nothing_of(batch: Batch) -> Batch {
    batch.map(|payload| Wire::empty(payload.signal()).into())
}

fn members(count: usize, chosen: impl Iterator<Item = usize>) -> Members {
    let mut members: Members = smallvec![0; count.div_ceil(WORD)];
    chosen.for_each(|number| members[number / WORD] |= 1 << (number % WORD));
    members
}

#[cfg(test)]
mod tests;
