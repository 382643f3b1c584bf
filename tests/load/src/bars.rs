//! The bars: what is measured, against which bound, and the list of them.
//! A bar prints what it finds; only its verdict comes back.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{
    build::{self, Binary},
    peer::Program,
    signal::Signal,
};

mod apply;
mod buffer;
mod cases;
mod churn;
mod compare;
mod conformance;
mod fanout;
mod first_record;
mod hostile;
mod idle;
mod isolation;
mod json;
mod lanes;
mod matrix;
mod metadata;
mod operator_rss;
mod quiet;
mod reconverge;
mod reload;
mod tail;

pub use hostile::Attack;

/// A measurement with a bound.
pub struct Bar {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is measured.
    pub about: &'static str,
    /// What must hold.
    pub bound: &'static str,
    measure: fn(&Bar, &Options) -> Result<Verdict>,
}

/// What is measured in the place of the engine.
#[derive(Debug)]
pub enum Subject {
    /// The engine of this workspace, built first.
    Engine,
    /// Any program.
    Program(Program),
}

/// How bars are measured.
#[derive(Debug)]
pub struct Options {
    /// What is measured.
    pub subject: Subject,
    /// The manager that is measured; that of this workspace, built first, where missing.
    pub manager: Option<PathBuf>,
    /// Only this signal; the bar's own choice where missing.
    pub signal: Option<Signal>,
    /// Only this attack; all where missing.
    pub attack: Option<Attack>,
    /// Full durations and more pairs.
    pub length: Length,
    /// Interleaved pairs; the bar's own choice where missing.
    pub pairs: Option<usize>,
}

impl Options {
    /// The program that is measured.
    ///
    /// # Errors
    /// When the engine does not build.
    fn program(&self) -> Result<Program> {
        match &self.subject {
            Subject::Engine => Ok(Program::Engine(build::release(Binary::ENGINE)?)),
            Subject::Program(program) => Ok(program.clone()),
        }
    }

    /// The manager, for bars that measure it.
    ///
    /// # Errors
    /// When it does not build.
    fn manager(&self) -> Result<PathBuf> {
        self.manager.clone().map_or_else(|| build::release(Binary::MANAGER), Ok)
    }
}

/// How long a bar may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// At most three minutes.
    Short,
    /// As long as the figures get steadier.
    Long,
}

/// What a bar has found.
#[derive(Debug)]
pub struct Verdict {
    /// The value, as it stands in the final line.
    pub measured: String,
    /// Whether it is within the bound.
    pub holds: bool,
}

/// The bars that are no comparison with the null hop.
const OTHERS: [&Bar; 19] = [
    &apply::BAR,
    &buffer::DISK,
    &buffer::OUTAGE,
    &churn::BAR,
    &conformance::BAR,
    &fanout::BAR,
    &fanout::COPIES,
    &first_record::BAR,
    &hostile::BAR,
    &idle::BAR,
    &isolation::BAR,
    &json::BAR,
    &lanes::BAR,
    &matrix::BAR,
    &metadata::BAR,
    &operator_rss::BAR,
    &quiet::BAR,
    &reconverge::BAR,
    &reload::BAR,
];

/// Every bar.
pub fn all() -> impl Iterator<Item = &'static Bar> {
    cases::BARS.iter().chain(OTHERS).chain(&tail::BARS)
}

impl Bar {
    /// The bar of a name.
    ///
    /// # Errors
    /// When there is none, with the names that exist.
    pub fn find(name: &str) -> Result<&'static Bar> {
        let Some(bar) = all().find(|bar| bar.name == name) else {
            let names: Vec<_> = all().map(|bar| bar.name).collect();
            bail!("no bar is called {name}; there are {}", names.join(", "));
        };
        Ok(bar)
    }

    /// Measures.
    ///
    /// # Errors
    /// When a measurement is void: records lost or failed, or an invalid request got through.
    pub fn measure(&self, options: &Options) -> Result<Verdict> {
        (self.measure)(self, options)
    }
}
