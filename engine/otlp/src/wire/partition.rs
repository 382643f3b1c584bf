//! Dealing the records of a request to several requests. Entries and scope lists that stay whole are shared; where one
//! is cut its heads (Resource, scope, schema URLs, unknown fields) are repeated and its records are shared.

use smallvec::SmallVec;

use super::split::{Container, OpenEntry, ScopeRun, is_list, record_weight, records_of};
use super::{Builder, Cursor, Wire};
use crate::{RecordView, ResourceView};

/// What `choose` said of every record, and where entries and scope lists end in this list.
#[derive(Default)]
struct Choices {
    of_records: SmallVec<[u32; 64]>,
    entry_ends: SmallVec<[usize; 8]>,
    scope_ends: SmallVec<[usize; 16]>,
}

/// One of the requests that records are dealt to.
struct Part<'a> {
    builder: Builder<'a>,
    entry: Option<OpenEntry<'a>>,
    scope: Option<ScopeRun<'a>>,
}

impl Wire {
    /// Deals the records to `parts` requests: each goes to the one whose place `choose` answers, which it is asked once
    /// a record, in order. A metric is one record here, with all its data points. Within a part the order is kept.
    ///
    /// The answer holds `parts` requests, some of them empty. What carries no record is left out when something is cut.
    ///
    /// # Panics
    ///
    /// When `choose` answers `parts` or more.
    pub fn partition_records(
        self,
        parts: usize,
        mut choose: impl FnMut(&ResourceView<'_>, &RecordView<'_>) -> usize,
    ) -> Vec<Self> {
        let choices = Choices::of(&self, parts, &mut choose);
        let mut dealt = vec![Self::empty(self.signal); parts];
        match choices.only(0, choices.of_records.len()) {
            Some(only) => dealt[only] = self,
            None if choices.of_records.is_empty() => {}
            None => dealt = deal(&self, parts, &choices),
        }
        dealt
    }
}

impl Choices {
    fn of(wire: &Wire, parts: usize, choose: &mut impl FnMut(&ResourceView<'_>, &RecordView<'_>) -> usize) -> Self {
        let mut choices = Self::default();
        for resource in wire.resources() {
            for scope in resource.scopes() {
                for record in scope.records() {
                    let choice = choose(&resource, &record);
                    assert!(choice < parts, "record dealt to part {choice} of {parts}");
                    choices.of_records.push(u32::try_from(choice).expect("there are not that many parts"));
                }
                choices.scope_ends.push(choices.of_records.len());
            }
            choices.entry_ends.push(choices.of_records.len());
        }
        choices
    }

    /// The part that gets all these records, if there are any and one part does.
    fn only(&self, start: usize, end: usize) -> Option<usize> {
        let (first, others) = self.of_records[start..end].split_first()?;
        others.iter().all(|choice| choice == first).then_some(*first as usize)
    }
}

fn deal(wire: &Wire, parts: usize, choices: &Choices) -> Vec<Wire> {
    let mut dealt: Vec<Part<'_>> = (0..parts).map(|_| Part::new()).collect();
    let mut rest = wire.cursor();
    let mut start = 0;
    let mut scope_ends = choices.scope_ends.iter();
    for (entry, end) in wire.entries.iter().zip(&choices.entry_ends) {
        let mut whole = rest.take(entry.len);
        let only = choices.only(start, *end);
        if let Some(part) = only.filter(|_| entry.records > 0) {
            dealt[part].builder.share(whole);
            dealt[part].builder.entry(*entry);
        }
        let Some(field) = whole.field() else { continue };
        let container = Container::of(field.payload);
        let mut scopes = container.content;
        while let Some(scope) = scopes.field() {
            if !is_list(scope.number, scope.wire) {
                continue;
            }
            let scope_end = *scope_ends.next().expect("every scope list was walked");
            if only.is_none() {
                let taken = Taken { content: scope.payload, raw: scope.raw, next: scopes };
                deal_scope(wire, &mut dealt, &container, &taken, choices, start..scope_end);
            }
            start = scope_end;
        }
        dealt.iter_mut().for_each(Part::end_entry);
    }
    dealt.into_iter().map(|part| part.builder.finish(wire)).collect()
}

/// A scope list, its content, and the position after it.
struct Taken<'a> {
    content: Cursor<'a>,
    raw: Cursor<'a>,
    next: Cursor<'a>,
}

fn deal_scope<'a>(
    wire: &Wire,
    dealt: &mut [Part<'a>],
    entry: &Container<'a>,
    scope: &Taken<'a>,
    choices: &Choices,
    places: std::ops::Range<usize>,
) {
    if let Some(part) = choices.only(places.start, places.end) {
        let count = records_of(wire.signal, scope.content);
        if count > 0 {
            dealt[part].entry(entry).share(scope.raw, scope.next, count);
        }
        return;
    }
    let container = Container::of(scope.content);
    let mut records = container.content;
    let mut choice = choices.of_records[places].iter();
    while let Some(record) = records.field() {
        if !is_list(record.number, record.wire) {
            continue;
        }
        let part = *choice.next().expect("every record was asked for") as usize;
        let count = record_weight(wire.signal, record.payload);
        if count > 0 {
            let open = dealt[part].scope.get_or_insert_with(|| ScopeRun::of(&container));
            open.add(record.raw, records, count);
        }
    }
    for part in dealt {
        if let Some(run) = part.scope.take() {
            part.entry(entry).push(run);
        }
    }
}

impl<'a> Part<'a> {
    fn new() -> Self {
        Self { builder: Builder::new(0), entry: None, scope: None }
    }

    fn entry(&mut self, entry: &Container<'a>) -> &mut OpenEntry<'a> {
        self.entry.get_or_insert_with(|| OpenEntry::of(entry))
    }

    fn end_entry(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.write(&mut self.builder);
        }
    }
}
