//! The idle bar: resident memory of a started engine without traffic.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::time::Duration;

use anyhow::Result;

use super::{Bar, Length, Options, Verdict, cases::HOP};
use crate::{
    counting_sink,
    frames::Frames,
    peer::{Peer, Program, Setting},
    report::Spread,
    roles::{Actor, Role},
};

/// Largest resident memory in MiB.
const BOUND_MIB: f64 = 16.0;
/// Starts that are measured.
const STARTS: usize = 5;

pub(super) const BAR: Bar = Bar {
    name: "idle",
    about: "the hop's configuration, started, without traffic",
    bound: "RSS <= 16 MiB",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let settled_after = match options.length {
        Length::Short => Duration::from_secs(2),
        Length::Long => Duration::from_secs(30),
    };
    let program = options.program()?;
    let peer = resident(&program, settled_after)?;
    let null_hop = resident(&Program::NullHop, settled_after)?;
    println!("  {:<8}  RSS {peer} MiB", program.name());
    println!("  null hop  RSS {null_hop} MiB");
    Ok(Verdict { measured: format!("RSS {:.1} MiB", peer.median), holds: peer.median <= BOUND_MIB })
}

fn resident(program: &Program, settled_after: Duration) -> Result<Spread> {
    let mut sink = Actor::start(Role::Sink, &counting_sink::Spec::plain())?;
    let endpoint = sink.hear()?;
    let mut figures = Vec::new();
    for _ in 0..STARTS {
        let peer = Peer::start(program, &Setting { hop: &HOP, frames: Frames::LARGE, endpoint, cores: None })?;
        std::thread::sleep(settled_after);
        figures.push(peer.usage()?.resident_mib);
    }
    Ok(Spread::of(figures))
}
