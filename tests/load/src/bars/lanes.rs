//! The lanes bar: what a second core is worth to a graph whose transform computes.
//! It compares the engine with itself, not with the null hop.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use anyhow::{Result, ensure};

use super::{Bar, Length, Options, Subject, Verdict};
use crate::{
    build::{self, Binary},
    compression::Compression,
    hop::{Acknowledge, Hop, Step},
    payload::Shape,
    peer::Program,
    report::Spread,
    run::{Case, run},
    signal::Signal,
};

/// How many times the batches of one core two cores must carry.
const BOUND: f64 = 1.6;
const PAIRS: usize = 5;
const PAIRS_LONG: usize = 9;

pub(super) const BAR: Bar = Bar {
    name: "lanes",
    about: "a transform that computes for 1 ms a batch, 8 connections: batches a second of two cores over those of one",
    bound: "two cores >= 1.60 x one core",
    measure: |_, options| measure(options),
};

/// One record a request, so that generator and sink leave the cores to the engine.
const SMALLEST: Shape = Shape { records: 1, resources: 1, resource_attributes: 10 };

fn measure(options: &Options) -> Result<Verdict> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "this machine has one core");
    let program = match &options.subject {
        Subject::Engine => Program::Engine(build::release(Binary::LANES_ENGINE)?),
        Subject::Program(program) => program.clone(),
    };
    let (pairs, seconds) = match options.length {
        Length::Short => (PAIRS, 5.0),
        Length::Long => (PAIRS_LONG, 15.0),
    };
    let hop = Hop { step: Step::Busy, acknowledge: Acknowledge::Delivered, compression: Compression::None };
    let on = |cores: &'static str| {
        let case = Case {
            shape: SMALLEST,
            connections: 8,
            in_flight: 2,
            seconds,
            cores: Some(cores),
            ..Case::standard(options.signal.unwrap_or(Signal::Logs), hop)
        };
        run(&program, &case).map(|figures| figures.rate)
    };
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for pair in 0..options.pairs.unwrap_or(pairs) {
        if pair % 2 == 0 {
            one.push(on("0")?);
            two.push(on("0,1")?);
        } else {
            two.push(on("0,1")?);
            one.push(on("0")?);
        }
    }
    let ratio = Spread::of(two.iter().zip(&one).map(|(two, one)| two / one));
    println!("  one core   {} batches a second", Spread::of(one));
    println!("  two cores  {} batches a second", Spread::of(two));
    println!("  ratio      {ratio}");
    Ok(Verdict { measured: format!("two cores {:.2} x one core", ratio.median), holds: ratio.median >= BOUND })
}
