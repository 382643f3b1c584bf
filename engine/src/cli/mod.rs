//! The command line: what can be asked, and in which words it is answered.
//!
//! Each command is a file. What a configuration means is `engine-config`'s, what runs is `topology`'s.

mod arguments;
mod buffer;
mod diagnostics;
mod files;
mod graph;
mod list;
mod load;
mod run;
mod show;
mod state;
mod streams;
mod validate;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;

pub use streams::{Color, Streams};

use crate::reclaim::GiveBack;

use arguments::{Arguments, Command, ConfigCommand, StateCommand};

/// Everything that was asked for was done.
pub const OK: u8 = 0;
/// The configuration is refused, something stands in the way of the start, or what was looked at is damaged.
pub const REFUSED: u8 = 1;
/// The command line itself is wrong.
pub const USAGE: u8 = 2;
/// `run` came to an end that was not clean: records that had been answered with success are lost, or a component failed
/// or had to be stopped.
pub const UNCLEAN: u8 = 3;

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What is wrong has been said already.
    #[error("said already")]
    Said,
    /// The reader of our output is gone or the output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// The command line of this process. `give_back` returns free memory to the system.
pub fn main(give_back: GiveBack) -> ExitCode {
    // Variables that are not UTF-8 cannot be meant by a configuration, which is.
    let variables: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok())).collect();
    let color = Color::of_stderr(&variables);
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let mut streams = Streams { stdout: &mut stdout, stderr: &mut stderr, color };
    ExitCode::from(run_from(std::env::args_os(), variables, give_back, &mut streams))
}

/// Runs one command line (the first argument is the program's name) and returns the exit code. A reader that goes away
/// ends the command without a word.
pub fn run_from(
    arguments: impl IntoIterator<Item = OsString>,
    variables: BTreeMap<String, String>,
    give_back: GiveBack,
    streams: &mut Streams<'_>,
) -> u8 {
    let answered = match Arguments::try_parse_from(arguments) {
        Ok(parsed) => answer(parsed.command, variables, give_back, streams),
        Err(error) => refuse(&error, streams),
    };
    match answered {
        Ok(code) => code,
        Err(Failure::Said) => REFUSED,
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => OK,
        Err(Failure::Output(error)) => {
            // Standard error may be what cannot be written; then nobody is left to tell.
            drop(writeln!(streams.stderr, "error: cannot write: {error}"));
            REFUSED
        }
    }
}

fn answer(
    command: Command,
    variables: BTreeMap<String, String>,
    give_back: GiveBack,
    streams: &mut Streams<'_>,
) -> Result<u8, Failure> {
    match command {
        Command::Run(arguments) => run::run(&arguments, variables, give_back, streams),
        Command::Validate(arguments) => validate::validate(&arguments, variables, streams),
        Command::List(arguments) => list::list(&arguments, streams),
        Command::Graph(arguments) => graph::graph(&arguments, variables, streams),
        Command::Schema => show::schema(streams),
        Command::Config(ConfigCommand::Show(arguments)) => show::config(&arguments, variables, streams),
        Command::State(StateCommand::Give(arguments)) => state::give(&arguments, streams),
        Command::Buffer(command) => buffer::buffer(&command, streams),
        Command::Completion { shell } => show::completion(shell, streams),
    }
}

/// Wrong arguments, and the answers to `--help` and `--version`.
fn refuse(error: &clap::Error, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let text = error.render();
    if !error.use_stderr() {
        write!(streams.stdout, "{text}")?;
        return Ok(OK);
    }
    match streams.color {
        Color::Always => write!(streams.stderr, "{}", text.ansi())?,
        Color::Never => write!(streams.stderr, "{text}")?,
    }
    Ok(USAGE)
}
