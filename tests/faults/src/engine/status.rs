//! The `/status` document as a reader of the outside takes it: only what is judged, and judged again.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An engine at one moment.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Whether it is ready.
    pub ready: bool,
    /// Its components.
    pub components: Vec<Component>,
}

/// A component.
#[derive(Clone, Debug, Deserialize)]
pub struct Component {
    /// Its id.
    pub id: String,
    /// How it does.
    #[serde(default)]
    pub health: Health,
    /// Errors by kind.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// What only sinks have.
    pub sink: Option<Sink>,
}

/// How a component does.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Health {
    /// The name of its state.
    pub state: String,
    /// The last error, kept after it is over.
    pub last_error: Option<LastError>,
}

/// An error of a component.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct LastError {
    /// In words.
    pub message: String,
}

/// What only sinks have.
#[derive(Clone, Debug, Deserialize)]
pub struct Sink {
    /// Where every record is.
    pub ledger: Ledger,
    /// Its buffer.
    #[serde(default)]
    pub buffer: Buffer,
}

/// A buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Buffer {
    /// Bytes of its files.
    pub disk_used_bytes: Option<u64>,
    /// Frames that were found damaged.
    pub damaged_frames: Option<u64>,
    /// Why nothing can be written.
    pub problem: Option<String>,
}

/// Where every record is that a sink took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Found in a durable buffer.
    pub recovered: u64,
    /// Taken.
    pub accepted: u64,
    /// Made on the way.
    pub created: BTreeMap<String, u64>,
    /// Confirmed by the far end.
    pub delivered: u64,
    /// Lost, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Given back.
    pub returned: u64,
    /// Replaced by fewer.
    pub merged: BTreeMap<String, u64>,
    /// Left on disk by a sink that is gone.
    pub left_on_disk: u64,
    /// Held now.
    pub held: Held,
    /// What the engine says of the sum.
    pub balanced: bool,
}

/// Records held now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Waiting.
    pub queued: u64,
    /// On their way.
    pub in_flight: u64,
    /// On disk and not in memory.
    pub on_disk: u64,
}

impl Ledger {
    /// All that is lost.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// All that is held.
    pub fn held(&self) -> u64 {
        self.held.queued + self.held.in_flight + self.held.on_disk
    }

    /// Whether the two sides are equal and the engine says so.
    pub fn balances(&self) -> bool {
        let taken = self.recovered + self.accepted + self.created.values().sum::<u64>();
        let gone = self.delivered + self.lost() + self.returned + self.merged.values().sum::<u64>() + self.left_on_disk;
        self.balanced && taken == gone + self.held()
    }
}

impl Status {
    /// The ledger of a sink.
    pub fn ledger(&self, sink: &str) -> Option<&Ledger> {
        let component = self.components.iter().find(|component| component.id == sink)?;
        component.sink.as_ref().map(|sink| &sink.ledger)
    }

    /// The buffer of a sink.
    pub fn buffer(&self, sink: &str) -> Option<&Buffer> {
        let component = self.components.iter().find(|component| component.id == sink)?;
        component.sink.as_ref().map(|sink| &sink.buffer)
    }

    /// Errors of a component, of all kinds.
    pub fn errors(&self, id: &str) -> u64 {
        let component = self.components.iter().find(|component| component.id == id);
        component.map_or(0, |component| component.errors.values().sum())
    }

    /// The last error of a component.
    pub fn last_error(&self, id: &str) -> Option<&str> {
        let component = self.components.iter().find(|component| component.id == id)?;
        component.health.last_error.as_ref().map(|error| error.message.as_str())
    }

    /// The ledgers of all sinks.
    pub fn ledgers(&self) -> impl Iterator<Item = (&str, &Ledger)> {
        self.components
            .iter()
            .filter_map(|component| component.sink.as_ref().map(|sink| (component.id.as_str(), &sink.ledger)))
    }
}
