//! The matrix bar: what real SDKs and a real Collector send through the engine arrives as it was set.
//! It starts `tests/peers/matrix.py`, which sends and compares; this file only reads its last line.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Bar, Options, Verdict};
use crate::peer::Program;

pub(super) const BAR: Bar = Bar {
    name: "matrix",
    about: "three SDKs, and the Collector before and behind, by protocol, TLS, compression and signal",
    bound: "every cell, fields compared",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(engine) = options.program()? else {
        bail!("the matrix configures the engine: it measures no other program");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/matrix.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(engine)
        .stderr(Stdio::inherit())
        .output()
        .context("python3 does not start")?;
    let table = String::from_utf8_lossy(&output.stdout);
    println!("{}", table.trim_end());
    let measured = table.lines().last().filter(|line| line.ends_with("cells"));
    Ok(Verdict {
        measured: measured.context("the matrix has not come to its end")?.to_owned(),
        holds: output.status.success(),
    })
}
