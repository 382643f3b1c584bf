//! The command line: `run` in a cluster, `render` and `validate` without one.

mod print;
mod run;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::collect::SecretName;
use crate::input::{Input, SecretView};
use crate::manifests;
use crate::plan::{self, Desired};
use crate::settings::Settings;
use crate::status::{CONFIGURATION_GENERATED, Verdict};

/// Runs what LogPipelines, MetricPipelines and TracePipelines ask for.
#[derive(Debug, Parser)]
#[command(name = "telemetry-manager", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the manager: watches pipelines, and makes the cluster so that what they ask for runs.
    Run(Box<run::RunArguments>),
    /// Prints what would run for the pipelines in files: every condition, every object, every configuration. Needs no
    /// cluster. Values of Secrets are not shown.
    Render(RenderArguments),
    /// Says what is wrong with the pipelines in files. Needs no cluster. The exit code is 1 if something is.
    Validate(FileArguments),
}

#[derive(Debug, Args)]
struct RenderArguments {
    #[command(flatten)]
    files: FileArguments,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Objects as YAML, conditions as comments before them.
    Yaml,
    /// One JSON object.
    Json,
}

#[derive(Debug, Args)]
struct FileArguments {
    /// Files with manifests, directories of them, or `-` for standard input. Secrets that pipelines name can be among them;
    /// objects of other kinds are left out.
    #[arg(short, long = "filename", required = true, value_name = "FILE", num_args = 1..)]
    filename: Vec<PathBuf>,
    /// Namespace of the manager and the gateways.
    #[arg(long, default_value = "telemetry-system")]
    namespace: String,
    /// Namespace of the agents.
    #[arg(long, default_value = "telemetry-agents")]
    agent_namespace: String,
    /// Moment in which certificates are judged, in seconds since 1970. Default: now.
    #[arg(long, value_name = "SECONDS")]
    at: Option<i64>,
}

/// How the program was used wrongly, or what it was given could not be read.
const EXIT_USAGE: u8 = 2;

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    let mut errors = std::io::stderr().lock();
    let result = match arguments.command {
        Command::Run(arguments) => {
            // The manager has the streams to itself.
            drop((out, errors));
            return ended(run::run(*arguments));
        }
        Command::Render(arguments) => render(&arguments, &mut out, &mut errors),
        Command::Validate(arguments) => validate(&arguments, &mut out, &mut errors),
    };
    match result {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(errors, "error: {error}").ok();
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// The end of the manager.
fn ended(result: std::io::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        tracing::error!(%error, "the manager cannot run");
        ExitCode::FAILURE
    })
}

fn render(arguments: &RenderArguments, out: &mut dyn Write, errors: &mut dyn Write) -> std::io::Result<ExitCode> {
    let Some(desired) = planned(&arguments.files, errors)? else { return Ok(ExitCode::FAILURE) };
    match arguments.output {
        Format::Yaml => print::yaml(&desired, out)?,
        Format::Json => print::json(&desired, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn validate(arguments: &FileArguments, out: &mut dyn Write, errors: &mut dyn Write) -> std::io::Result<ExitCode> {
    let Some(desired) = planned(arguments, errors)? else { return Ok(ExitCode::FAILURE) };
    let mut code = ExitCode::SUCCESS;
    for (id, report) in &desired.pipelines {
        let Some(condition) = report.condition(CONFIGURATION_GENERATED) else { continue };
        if condition.status != Verdict::True {
            code = ExitCode::FAILURE;
            writeln!(errors, "error: {id}: {}: {}", condition.reason, condition.message)?;
        } else if crate::status::is_warning(condition) {
            writeln!(errors, "warning: {id}: {}: {}", condition.reason, condition.message)?;
        } else {
            writeln!(out, "{id}: ok")?;
        }
    }
    Ok(code)
}

/// The plan of what is in files; without one what stands in the way has been said.
fn planned(arguments: &FileArguments, errors: &mut dyn Write) -> std::io::Result<Option<Desired>> {
    let read = manifests::read(&arguments.filename)?;
    let settings = Settings {
        namespace: arguments.namespace.clone(),
        agent_namespace: arguments.agent_namespace.clone(),
        ..Settings::default()
    };
    let now = arguments.at.unwrap_or_else(|| k8s_openapi::jiff::Timestamp::now().as_second());
    let mut input = Input { now: now - now.rem_euclid(60), settings, ..Input::default() };
    let mut is_whole = true;
    for document in read {
        for problem in manifests::add(document, &mut input) {
            is_whole = false;
            writeln!(errors, "error: {problem}")?;
        }
    }
    if !is_whole {
        return Ok(None);
    }
    let named = plan::secrets(&input);
    let absent: Vec<SecretName> = named.into_iter().filter(|name| !input.secrets.contains_key(name)).collect();
    input.secrets.extend(absent.into_iter().map(|name| (name, SecretView::Missing)));
    Ok(Some(plan::plan(&input)))
}
