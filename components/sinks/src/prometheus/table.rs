//! The latest value of every series, by family, within bounds of number and memory.
//!
//! The first point of a family says what it is; points that say otherwise are refused until the family has expired. Not
//! here: what OTLP calls things (`ingest`) and how a family is written (`exposition`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::exposition::{self, Format};
use super::value::{Exemplar, Point, Temporality, Times, Updated, Value};

/// What a series takes besides its labels and what its value holds: itself, and its entry in the index.
const SERIES_BYTES: usize = size_of::<Option<Series>>() + 64;

/// What a line has besides its name and labels, about: a suffix, a bound, a number.
const LINE_BYTES: usize = 48;

/// Text that is written before the table is unlocked for a moment, about.
const TEXT_AT_ONCE: usize = 256 * 1024;

/// What a family takes besides its texts: itself, its entry and those of its names.
const FAMILY_BYTES: usize = size_of::<Family>() + 256;

/// The names of the family that says what resources have, there or not.
const RESERVED: [&str; 2] = ["target_info", "target"];

/// All series.
#[derive(Debug)]
pub(super) struct Table {
    limits: Limits,
    families: BTreeMap<Arc<str>, Family>,
    /// Every name that a sample or a family of OpenMetrics has, with the family that has it.
    claimed: HashMap<String, Arc<str>>,
    size: Size,
}

/// Bounds of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Series as Prometheus counts them.
    pub(super) max_samples: usize,
    /// Of the table, and of a page that shows it: labels are kept once and shown with every bucket.
    pub(super) max_bytes: usize,
    /// How long a series is shown after its last point.
    pub(super) expiration: Duration,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) samples: usize,
    pub(super) bytes: usize,
    /// Of the lines that show it, about.
    pub(super) shown: usize,
}

/// What a family is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// The name as text has it: that of a counter with its `_total`.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// As Prometheus spells it; empty when there is none.
    pub(super) unit: String,
    pub(super) help: String,
}

/// Types of families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// `target_info`.
    Info,
}

/// Series of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) description: Description,
    index: HashMap<Arc<str>, usize>,
    slots: Vec<Option<Series>>,
    free: Vec<usize>,
}

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    key: Arc<str>,
    pub(super) labels: Arc<str>,
    pub(super) value: Value,
    pub(super) exemplars: Box<[Exemplar]>,
    pub(super) times: Times,
    temporality: Temporality,
    seen: Instant,
}

/// A point's place: which series it belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// What tells series of the family apart.
    pub(super) key: &'a str,
    /// The labels as text.
    pub(super) labels: &'a str,
}

/// A point that the table does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The name is that of another type or unit.
    Conflict,
    MaxSeries,
    MaxSize,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, families: BTreeMap::new(), claimed: HashMap::new(), size: Size::default() }
    }

    /// How much there is.
    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// The names of all families, in order.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.families.keys().cloned().collect()
    }

    /// Takes a point, or says why not.
    pub(super) fn put(
        &mut self,
        description: &Description,
        place: Place<'_>,
        point: Point,
        now: Instant,
    ) -> Result<Updated, Refused> {
        match self.families.get(description.name.as_str()) {
            Some(family) if family.description.is_like(description) => {}
            Some(_) => return Err(Refused::Conflict),
            None => {
                let is_reserved = |name: &str| description.kind != Kind::Info && RESERVED.contains(&name);
                if claims(description).iter().any(|name| self.claimed.contains_key(name) || is_reserved(name)) {
                    return Err(Refused::Conflict);
                }
                let with_first =
                    self.size.plus(description.size()).plus(Series::new(place, &point, now).size(&description.name));
                with_first.within(&self.limits)?;
                self.add(description);
            }
        }
        let family = self.families.get_mut(description.name.as_str()).expect("it is there or was added just now");
        family.put(place, point, now, &mut self.size, &self.limits)
    }

    /// Removes a series whose source says that it has ended.
    pub(super) fn remove(&mut self, name: &str, key: &str) {
        let Some(family) = self.families.get_mut(name) else { return };
        let Some(slot) = family.index.get(key).copied() else { return };
        family.remove(slot, &mut self.size);
        if family.index.is_empty() {
            self.forget(&Arc::from(name));
        }
    }

    /// Removes series without a point for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        for family in self.families.values_mut() {
            for slot in 0..family.slots.len() {
                let is_old = |series: &Series| now.duration_since(series.seen) > self.limits.expiration;
                if family.slots[slot].as_ref().is_some_and(is_old) {
                    family.remove(slot, &mut self.size);
                }
            }
        }
        let empty: Vec<Arc<str>> = self
            .families
            .iter()
            .filter(|(_, family)| family.index.is_empty())
            .map(|(name, _)| Arc::clone(name))
            .collect();
        empty.iter().for_each(|name| self.forget(name));
    }

    /// Writes up to `most` series of a family and not much text at once, from a place on; its head too when that is the
    /// start. Returns the place to go on from, none at the end.
    pub(super) fn write(
        &self,
        name: &str,
        from: usize,
        most: usize,
        format: Format,
        text: &mut String,
    ) -> Option<usize> {
        let family = self.families.get(name)?;
        if from == 0 {
            exposition::write_head(text, &family.description, format);
        }
        let enough = text.len() + TEXT_AT_ONCE;
        let mut next = from;
        for slot in family.slots.get(from..)?.iter().take(most) {
            if text.len() > enough {
                break;
            }
            next += 1;
            if let Some(series) = slot {
                exposition::write_series(text, &family.description, series, format);
            }
        }
        (next < family.slots.len()).then_some(next)
    }

    fn add(&mut self, description: &Description) {
        let name: Arc<str> = description.name.as_str().into();
        for claimed in claims(description) {
            self.claimed.insert(claimed, Arc::clone(&name));
        }
        self.size = self.size.plus(description.size());
        let family =
            Family { description: description.clone(), index: HashMap::new(), slots: Vec::new(), free: Vec::new() };
        self.families.insert(name, family);
    }

    fn forget(&mut self, name: &Arc<str>) {
        let Some(family) = self.families.remove(name) else { return };
        for claimed in claims(&family.description) {
            self.claimed.remove(&claimed);
        }
        self.size = self.size.minus(family.description.size());
    }
}

impl Family {
    fn put(
        &mut self,
        place: Place<'_>,
        point: Point,
        now: Instant,
        size: &mut Size,
        limits: &Limits,
    ) -> Result<Updated, Refused> {
        let Some(slot) = self.index.get(place.key).copied() else {
            let series = Series::new(place, &point, now);
            let grown = size.plus(series.size(&self.description.name));
            grown.within(limits)?;
            *size = grown;
            self.insert(series);
            return Ok(Updated::Taken);
        };
        let series = self.slots[slot].as_mut().expect("the index names slots that are taken");
        let continues = series.temporality == point.temporality;
        let updated = point.times.after(series.times.end, point.temporality);
        // A source that was restarted with the other temporality starts the series anew. What is behind keeps no series
        // alive: a point from the future, of a clock that was wrong, is forgotten in the end.
        if continues && updated != Updated::Taken {
            return Ok(updated);
        }
        let before = series.size(&self.description.name);
        let value = match point.temporality {
            Temporality::Delta if continues => series.value.plus(point.value),
            Temporality::Delta | Temporality::Cumulative => point.value,
        };
        let start =
            if continues && point.temporality == Temporality::Delta { series.times.start } else { point.times.start };
        let exemplars =
            if point.exemplars.is_empty() { std::mem::take(&mut series.exemplars) } else { point.exemplars.into() };
        let changed = Series {
            key: Arc::clone(&series.key),
            labels: if *series.labels == *place.labels { Arc::clone(&series.labels) } else { place.labels.into() },
            value,
            exemplars,
            times: Times { start, end: point.times.end },
            temporality: point.temporality,
            seen: now,
        };
        let after = changed.size(&self.description.name);
        let grown = size.minus(before).plus(after);
        if after.is_larger_than(before) {
            grown.within(limits)?;
        }
        *size = grown;
        *series = changed;
        Ok(Updated::Taken)
    }

    fn insert(&mut self, series: Series) {
        let key = Arc::clone(&series.key);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(series);
                slot
            }
            None => {
                self.slots.push(Some(series));
                self.slots.len() - 1
            }
        };
        self.index.insert(key, slot);
    }

    fn remove(&mut self, slot: usize, size: &mut Size) {
        let Some(series) = self.slots[slot].take() else { return };
        *size = size.minus(series.size(&self.description.name));
        self.index.remove(&series.key);
        self.free.push(slot);
    }
}

impl Series {
    fn new(place: Place<'_>, point: &Point, now: Instant) -> Self {
        let key: Arc<str> = place.key.into();
        let labels = if place.key == place.labels { Arc::clone(&key) } else { place.labels.into() };
        Self {
            key,
            labels,
            value: point.value.clone(),
            exemplars: point.exemplars.as_slice().into(),
            times: point.times,
            temporality: point.temporality,
            seen: now,
        }
    }

    fn size(&self, name: &str) -> Size {
        let texts =
            if Arc::ptr_eq(&self.key, &self.labels) { self.key.len() } else { self.key.len() + self.labels.len() };
        let exemplar = |exemplar: &Exemplar| size_of::<Exemplar>() + exemplar.labels.len();
        let exemplars: usize = self.exemplars.iter().map(exemplar).sum();
        let samples = self.value.samples();
        let shown = samples * (name.len() + self.labels.len() + LINE_BYTES) + exemplars;
        Size { samples, bytes: SERIES_BYTES + texts + self.value.heap() + exemplars, shown }
    }
}

impl Description {
    /// The name in OpenMetrics, where `_total` belongs to the sample.
    pub(super) fn family_name(&self) -> &str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            Kind::Info => self.name.strip_suffix("_info").unwrap_or(&self.name),
            Kind::Gauge | Kind::Histogram | Kind::Summary => &self.name,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.unit == other.unit
    }

    fn size(&self) -> Size {
        // The name stands in the description, as a key, and among the claims.
        let shown = 3 * self.name.len() + self.unit.len() + 2 * self.help.len() + LINE_BYTES;
        Size { samples: 0, bytes: FAMILY_BYTES + 6 * self.name.len() + self.unit.len() + self.help.len(), shown }
    }
}

impl Size {
    fn plus(self, more: Self) -> Self {
        let Self { samples, bytes, shown } = more;
        Self { samples: self.samples + samples, bytes: self.bytes + bytes, shown: self.shown + shown }
    }

    fn minus(self, less: Self) -> Self {
        let Self { samples, bytes, shown } = less;
        Self { samples: self.samples - samples, bytes: self.bytes - bytes, shown: self.shown - shown }
    }

    fn is_larger_than(self, other: Self) -> bool {
        self.samples > other.samples || self.bytes > other.bytes || self.shown > other.shown
    }

    fn within(self, limits: &Limits) -> Result<(), Refused> {
        if self.samples > limits.max_samples {
            return Err(Refused::MaxSeries);
        }
        if self.bytes.max(self.shown) > limits.max_bytes { Err(Refused::MaxSize) } else { Ok(()) }
    }
}

/// The names that samples of a family and the family itself have in either format. No two families may share one.
fn claims(description: &Description) -> Vec<String> {
    let name = &description.name;
    let with = |suffix: &str| format!("{name}{suffix}");
    let mut claimed = match description.kind {
        Kind::Gauge => vec![name.clone()],
        Kind::Histogram => vec![name.clone(), with("_bucket"), with("_count"), with("_sum")],
        Kind::Summary => vec![name.clone(), with("_count"), with("_sum")],
        Kind::Counter | Kind::Info => vec![name.clone(), description.family_name().to_owned()],
    };
    claimed.dedup();
    claimed
}
