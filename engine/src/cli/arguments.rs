//! The words of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::logging::{LogFormat, LogLevel};

/// Runs pipelines of logs, metrics and traces, from one TOML file.
#[derive(Debug, Parser)]
#[command(name = "telemetry-engine", version, disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a configuration until SIGTERM or SIGINT, or until all sources have come to their end.
    #[command(after_help = RUN_HELP)]
    Run(RunArguments),
    /// Say everything that is wrong with a configuration, without running it.
    Validate(ValidateArguments),
    /// List the component types, or describe those of one name with all their keys.
    List(ListArguments),
    /// Draw the components and what flows between them.
    Graph(GraphArguments),
    /// Print the JSON Schema of configuration files, for editors.
    Schema,
    /// Show what is in force.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look after the directory that outlives the process.
    #[command(subcommand)]
    State(StateCommand),
    /// Look into the buffers on disk of an engine that does not run. Nothing in them is changed.
    #[command(subcommand)]
    Buffer(BufferCommand),
    /// Print a script that completes this command line.
    Completion {
        /// The shell that reads it
        shell: clap_complete::Shell,
    },
}

const RUN_HELP: &str = "\
SIGHUP, and POST /reload on the administration server, have the configuration read again; with --watch a change of its
files does. What is the same goes on with its connections, what differs is replaced, and one that is refused changes
nothing: /status, /metrics and the log say why. With `state.directory` a configuration that ran is kept, and runs
again when a start finds one that is refused.

Exit codes:
  0         everything that was taken in was delivered or is kept
  1         the configuration is refused, or an address or file is not to be had
  2         the command line is wrong
  3         the end was not clean: records answered with success are lost, or a component or a service of the process
            failed or had to be stopped
  130, 143  ended at once by a second SIGINT or SIGTERM

The first SIGTERM or SIGINT turns /readyz off, keeps admitting for `shutdown.delay`, then stops admitting and gives the
sinks `shutdown.grace` to deliver what they hold.";

/// Which configuration.
#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    /// A TOML file, or a directory whose *.toml files are read. May be given several times: files add to each other and
    /// never override. Default: an embedded configuration, OTLP and host metrics to the console
    #[arg(short = 'c', long = "config", value_name = "FILE|DIRECTORY")]
    pub(super) paths: Vec<PathBuf>,
    /// Replace ${NAME} and ${NAME:-default} in string values by environment variables. Off by default: whoever may write
    /// a configuration could send the variables of the process to a backend
    #[arg(long)]
    pub(super) expand_environment: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// Take the configuration again when its files have changed, by content; the exchange of a mounted Secret or ConfigMap
    /// is noticed
    #[arg(long)]
    pub(super) watch: bool,
    /// Listen here for /livez, /readyz, /metrics, /status and /reload, whatever `admin.listen` says
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin_listen: Option<SocketAddr>,
    /// Write the addresses that were bound to this file once everything runs, a line `ID ADDRESS KEY` each, `admin` first.
    /// For ports that the system chooses (port 0)
    #[arg(long, value_name = "FILE")]
    pub(super) address_file: Option<PathBuf>,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,
    /// The least important level that is logged; `debug` is of the engine only, `trace` of everything in the binary
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub(super) log_level: LogLevel,
}

#[derive(Debug, Args)]
pub(super) struct ValidateArguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// Judge the files alone: not whether variables, secrets and memory are there on this machine
    #[arg(long)]
    pub(super) no_environment: bool,
    /// Warnings make it fail
    #[arg(long)]
    pub(super) deny_warnings: bool,
    /// Form of the answer: drawings on standard error, or JSON on standard output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// The value of `type`; one name may be a source and a sink
    pub(super) name: Option<String>,
    /// Form of the answer; JSON holds the schema of every component
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(super) struct GraphArguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// The language of the picture
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: GraphFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the configuration after merging files, with all defaults and without sensitive values.
    Show(ConfigArguments),
}

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Give a state directory to the user that runs the engine, who alone may read it then. For whoever prepares a node,
    /// whose directories are root's; needs the right to change owners unless it is theirs already.
    Give(GiveArguments),
}

#[derive(Debug, Args)]
pub(super) struct GiveArguments {
    /// The directory, as in `state.directory`
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) directory: PathBuf,
    /// Number of the user
    #[arg(long, value_name = "UID")]
    pub(super) user: u32,
    /// Number of the group
    #[arg(long, value_name = "GID")]
    pub(super) group: u32,
}

#[derive(Debug, Subcommand)]
pub(super) enum BufferCommand {
    /// Say what buffers hold: segments, what of them is completed, what is still to be delivered.
    Inspect(InspectArguments),
    /// Read everything that is still to be delivered, and list what of it is damaged, with file and offset.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyArguments),
    /// Write everything that is still to be delivered as OTLP JSON, a request on each line, as the sink `file` does. A damaged
    /// frame is told on standard error, and the others go on. Nothing is marked as delivered.
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArguments),
}

const VERIFY_HELP: &str = "\
Exit codes:
  0  everything is as it was written
  1  something is damaged, or cannot be read
  2  the command line is wrong";

const EXPORT_HELP: &str = "\
Exit codes:
  0  everything is written
  1  something is damaged, cannot be read, or cannot be written
  2  the command line is wrong";

#[derive(Debug, Args)]
pub(super) struct InspectArguments {
    /// A buffer, or a directory of buffers, or a state directory: then all buffers in it
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub(super) directory: PathBuf,
    /// Form of the answer
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// A buffer, or a directory of buffers, or a state directory: then all buffers in it
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub(super) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// A buffer, or a directory of buffers or a state directory that has one only: a line does not say whose it is
    #[arg(value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub(super) directory: PathBuf,
    /// Write to this file instead of standard output, readable for its owner only
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) output: Option<PathBuf>,
    /// Overwrite the file if it is there
    #[arg(long, requires = "output")]
    pub(super) force: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// Graphviz.
    #[default]
    Dot,
    /// Mermaid, which many Markdown viewers draw.
    Mermaid,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    /// clap's own checks of the definitions above, which it otherwise makes when a user comes by.
    #[test]
    fn the_words_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
