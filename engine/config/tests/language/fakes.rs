//! Components that exist only here: a source that can read again, one that keeps a bookmark, and a transform with a named
//! output.

use engine_config::{Catalog, ComponentOptions, Environment, Facts, Kind, Loaded, Output, ParseOptions, Problems};
use engine_config::{ServiceId, SignalSet, SourceFile, Stability, load};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reads something that it can read again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tail {}

/// Sends errors another way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Split {}

/// Keeps a bookmark.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Watch {
    bookmark: String,
}

impl ComponentOptions for Tail {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "tail";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts { pull: true, rereads: true, ..Facts::source(SignalSet::LOGS) }
    }
}

impl ComponentOptions for Split {
    const KIND: Kind = Kind::Transform;
    const TYPE: &'static str = "split";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        let errors = Output { name: "errors", signals: SignalSet::LOGS };
        Facts { outputs: vec![errors], looks_at_records: true, ..Facts::transform(SignalSet::ALL) }
    }
}

impl ComponentOptions for Watch {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "watch";
    const STABILITY: Stability = Stability::Experimental;

    fn facts(&self) -> Facts {
        Facts::source(SignalSet::LOGS).needs(["bookmark"], ServiceId::state())
    }
}

/// Judges a file with the built-in components and the fakes.
pub(crate) fn judge_with_fakes(text: &str) -> Result<Loaded, Problems> {
    let catalog = Catalog::builtin().with::<Tail>().with::<Split>().with::<Watch>();
    let files = [SourceFile::new("engine.toml", text)];
    load(&files, &catalog, &Environment::Unknown, &ParseOptions::default())
}
