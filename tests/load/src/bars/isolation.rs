//! The isolation bar: an agent with a file for each pipeline, of which two have dead backends. What the others lose by it.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;

use super::{
    Bar, Length, Options, Verdict,
    tail::{LINE, arrived, wait_for_all},
};
use crate::{
    counting_sink::{self, Received},
    log_writer::{Layout, Order, Spec, Written},
    peer::{Peer, Program, free_address},
    roles::{Actor, Role},
};

/// Pipelines whose backends live. Behind them come one whose backend takes connections and never answers, and one where
/// nobody listens.
const ALIVE: u64 = 4;
const FILES: u64 = ALIVE + 2;
/// Lines a second of each file.
const RATE: f64 = 5000.0;
/// Until the buffers of the dead ones are full.
const WARM_UP: Duration = Duration::from_secs(5);
/// The least share of the lines that are written that have to arrive in the same time.
const LEAST: f64 = 0.99;

pub(super) const BAR: Bar = Bar {
    name: "isolation",
    about: "an agent with six files of 5,000 lines a second, each with its backend: one never answers, one is not there",
    bound: "the other four get >= 99 % of what is written in the same time, and all of it in the end",
    measure: |_, options| measure(options),
};

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(binary) = options.program()? else { bail!("this bar measures an engine") };
    let seconds = if options.length == Length::Long { 120 } else { 20 };
    let [logs, state] = [TempDir::with_prefix("bars-")?, TempDir::with_prefix("bars-")?];
    let mut sinks =
        (0..ALIVE).map(|_| Actor::start(Role::Sink, &counting_sink::Spec::plain())).collect::<Result<Vec<_>>>()?;
    let mut endpoints = sinks.iter_mut().map(Actor::hear).collect::<Result<Vec<SocketAddr>>>()?;
    // The kernel makes its connections, and nobody reads from them.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    endpoints.extend([silent.local_addr()?, free_address()?]);
    let admin = free_address()?;
    let text = configuration(admin, logs.path(), state.path(), &endpoints);
    let peer = Peer::configured(Command::new(binary), &text, admin)?;
    let lines = (RATE * (WARM_UP.as_secs_f64() + seconds as f64 + 2.0)) as u64;
    let spec = Spec {
        directory: logs.path().to_owned(),
        layout: Layout::Text,
        files: FILES,
        line_bytes: LINE,
        lines,
        rate: Some(RATE * FILES as f64),
        lines_per_write: 10,
        rotation: None,
    };
    let mut writer = Actor::start(Role::LogWriter, &spec)?;
    std::thread::sleep(WARM_UP);
    let before = look(&mut writer, &mut sinks)?;
    let begin = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let after = look(&mut writer, &mut sinks)?;
    let took = begin.elapsed().as_secs_f64();
    let usage = peer.usage()?;
    let written: Written = wait_for_all(&mut writer)?;
    let mut least = f64::INFINITY;
    for (file, sink) in sinks.iter_mut().enumerate() {
        let [wrote, came] = [0, 1].map(|side| (after[side][file] - before[side][file]) as f64);
        least = least.min(came / wrote);
        println!("  file {file}: {:.0} lines a second written, {:.0} came", wrote / took, came / took);
        arrived(sink, written.lines[file])?;
    }
    println!("  peak RSS {:.1} MiB", usage.peak_mib);
    ensure!(TcpListener::bind(endpoints[ALIVE as usize + 1]).is_ok(), "void: somebody listens where nobody should");
    Ok(Verdict {
        measured: format!("at least {:.1} % of what was written in the same time, all in the end", least * 100.0),
        holds: least >= LEAST,
    })
}

/// Lines that were written to each file, and that came of it where its backend lives.
fn look(writer: &mut Actor, sinks: &mut [Actor]) -> Result<[Vec<u64>; 2]> {
    let written: Written = writer.ask(&Order::Tell)?;
    let came = sinks.iter_mut().map(|sink| Ok(sink.ask::<Received>(&())?.records)).collect::<Result<_>>()?;
    Ok([written.lines, came])
}

/// The engine's configuration: a source and a sink for each file.
fn configuration(admin: SocketAddr, logs: &Path, state: &Path, endpoints: &[SocketAddr]) -> String {
    let mut text =
        format!("version = 1\n\n[admin]\nlisten = \"{admin}\"\n\n[state]\ndirectory = \"{}\"\n", state.display());
    for (file, endpoint) in endpoints.iter().enumerate() {
        text += &format!(
            r#"
[sources.logs-{file}]
type = "file"
paths = ["{}/app-{file}.log"]

[sinks.out-{file}]
type = "otlp"
inputs = ["logs-{file}"]
endpoint = "http://{endpoint}"
compression = "none"
acknowledge = "delivered"
buffer.max_size = "1MiB"
"#,
            logs.display()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use engine_config::{Catalog, Environment, ParseOptions, SourceFile, load};

    use super::*;

    /// The engine takes the configuration as it stands, without a warning.
    #[test]
    fn the_configuration_is_valid() {
        let address: SocketAddr = "127.0.0.1:4317".parse().unwrap();
        let admin = "127.0.0.1:13133".parse().unwrap();
        let text = configuration(admin, Path::new("/var/log/app"), Path::new("/var/lib/engine"), &[address; 2]);
        let file = SourceFile::new("engine.toml", text);
        let loaded = load(&[file], &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap();
        assert_eq!(loaded.plan.warnings.iter().count(), 0, "{:?}", loaded.plan.warnings);
    }
}
