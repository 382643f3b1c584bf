//! `cargo bars`: the command line of the load harness.
//! Lists the bars, measures one, and plays the roles of a measurement in its own processes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program reports on its standard streams")]

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use load::{
    bars::{self, Attack, Bar, Length, Options, Subject},
    peer::Program,
    report::machine,
    roles::{self, Role},
    signal::Signal,
};

// The engine's allocator, so that the null hop does not differ from it there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Open files that 2,000 connections need in one process.
const OPEN_FILES: u64 = 16_384;

/// Measures the engine against the null hop. Without a name: lists the bars.
#[derive(Parser)]
#[command(name = "cargo bars", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The bar to measure.
    name: Option<String>,
    /// Longer loads and more pairs.
    #[arg(long)]
    long: bool,
    /// Only this signal.
    #[arg(long)]
    signal: Option<Signal>,
    /// Only this attack of `hostile`: large, slow, floods, bombs or crowd.
    #[arg(long)]
    attack: Option<Attack>,
    /// Interleaved pairs to measure.
    #[arg(long)]
    pairs: Option<usize>,
    /// Measure this shell command instead of the engine; `{listen}` and `{endpoint}` stand for two addresses.
    #[arg(long)]
    peer_command: Option<String>,
    /// Measure this binary, which has the engine's command line, instead of building the engine.
    #[arg(long, conflicts_with = "peer_command")]
    engine: Option<PathBuf>,
    /// Measure this binary, which has the manager's command line, instead of building the manager.
    #[arg(long)]
    manager: Option<PathBuf>,
    /// Measure the null hop in place of the engine: what is left of a ratio is the machine's noise.
    #[arg(long, conflicts_with_all = ["peer_command", "engine"])]
    null_hop: bool,
    #[command(subcommand)]
    internal: Option<Internal>,
}

#[derive(Subcommand)]
enum Internal {
    /// Plays a role of a measurement.
    #[command(hide = true)]
    Role {
        /// Which one.
        role: Role,
        /// Its settings in JSON.
        spec: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Internal::Role { role, spec }) = &arguments.internal {
        return match roles::play(*role, spec) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error:#}", role.name());
                ExitCode::FAILURE
            }
        };
    }
    let Some(name) = &arguments.name else {
        for bar in bars::all() {
            println!("{:<12} {}\n{:<12} bar: {}", bar.name, bar.about, "", bar.bound);
        }
        return ExitCode::SUCCESS;
    };
    match Bar::find(name) {
        Ok(bar) => measure(bar, &arguments),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Measures a bar and prints its final line, also when the measurement is void.
fn measure(bar: &Bar, arguments: &Arguments) -> ExitCode {
    println!("{}: {}", bar.name, bar.about);
    println!("{}; median [range]; CPU-s/M is CPU seconds per million records", machine());
    let verdict = prepare(arguments).and_then(|options| bar.measure(&options));
    match verdict {
        Ok(found) if arguments.null_hop => {
            println!("{}: the null hop against itself measured {}", bar.name, found.measured);
            ExitCode::SUCCESS
        }
        Ok(found) => {
            let outcome = if found.holds { "holds" } else { "falls short" };
            println!("{}: measured {}, bar {}, {outcome}", bar.name, found.measured, bar.bound);
            ExitCode::from(u8::from(!found.holds))
        }
        Err(error) => {
            println!(
                "{}: measured nothing ({}), bar {}, falls short",
                bar.name,
                format!("{error:#}").replace('\n', " | "),
                bar.bound
            );
            ExitCode::FAILURE
        }
    }
}

fn prepare(arguments: &Arguments) -> Result<Options> {
    allow_open_files()?;
    let subject = match (&arguments.peer_command, &arguments.engine) {
        (Some(command), _) => Subject::Program(Program::Command(command.clone())),
        (None, Some(binary)) => Subject::Program(Program::Engine(binary.clone())),
        (None, None) if arguments.null_hop => Subject::Program(Program::NullHop),
        (None, None) => Subject::Engine,
    };
    Ok(Options {
        subject,
        manager: arguments.manager.clone(),
        signal: arguments.signal,
        attack: arguments.attack,
        length: if arguments.long { Length::Long } else { Length::Short },
        pairs: arguments.pairs,
    })
}

/// Raises the limit of open files for this process and those that it starts.
fn allow_open_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(())
}
