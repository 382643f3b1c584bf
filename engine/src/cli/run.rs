//! `run`: judges a configuration, switches the log on, and lives until the end of what runs. When the configuration is
//! refused at the start, the last good one runs in its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_config::{Catalog, Known, ParseOptions, Problems, SourceFile, load as judge, status};
use engine_core::self_telemetry::SelfTelemetry;

use super::arguments::RunArguments;
use super::files::DEFAULT_NAME;
use super::streams::{Color, Streams};
use super::{Failure, OK, REFUSED, UNCLEAN, diagnostics, files, load};
use crate::environment;
use crate::lifecycle::{self, Ending, InsteadOf, Start, StartError, Watch};
use crate::logging::{self, Chain, LogColor, Repeats};
use crate::reclaim::GiveBack;
use crate::reload::{Candidate, Configuration, Kept, LastGoodFile, Refused, state_directory};

/// The files of the command line.
#[derive(Debug)]
struct Named {
    paths: Vec<PathBuf>,
    options: ParseOptions,
    /// The machine as it was at the start: cores and memory limits are those that the process has.
    known: Known,
    admin_listen: Option<SocketAddr>,
}

/// What all starts of one command have in common.
struct Common<'a> {
    arguments: &'a RunArguments,
    configuration: Arc<Named>,
    repeats: Arc<Repeats>,
    own: SelfTelemetry,
    give_back: GiveBack,
}

pub(super) fn run(
    arguments: &RunArguments,
    variables: BTreeMap<String, String>,
    give_back: GiveBack,
    streams: &mut Streams<'_>,
) -> Result<u8, Failure> {
    let read = load::files(&arguments.config, streams)?;
    let configuration = Arc::new(Named {
        paths: arguments.config.paths.clone(),
        options: load::parse_options(&arguments.config),
        known: environment::look(variables),
        admin_listen: arguments.admin_listen,
    });
    let directory = state_directory(&read);
    let (mut candidate, mut instead_of) = match configuration.plan(read.clone()) {
        Ok(candidate) => (candidate, None),
        Err(problems) => match last_good(directory.as_deref(), &read, configuration.as_ref(), streams)? {
            Some((candidate, kept)) => (candidate, Some((configuration.refused(&problems, &read), kept))),
            None => {
                load::draw(&problems, &read, streams)?;
                return Err(Failure::Said);
            }
        },
    };
    let color = match streams.color {
        Color::Always => LogColor::Always,
        Color::Never => LogColor::Never,
    };
    let own = SelfTelemetry::default();
    let repeats = logging::start(arguments.log_format, arguments.log_level, color, own.clone());
    if arguments.config.paths.is_empty() {
        tracing::info!("running {DEFAULT_NAME}: see `config show`");
    }
    let common = Common { arguments, configuration, repeats, own, give_back };
    loop {
        let tried = candidate.hash.clone();
        let is_last_good = instead_of.is_some();
        let errors = match common.start(candidate, instead_of) {
            Ok(Ending::Clean) => return Ok(OK),
            Ok(Ending::Unclean) => return Ok(UNCLEAN),
            Err(errors) => errors,
        };
        let is_of_the_configuration = errors.iter().all(|error| matches!(error, StartError::Build(_)));
        let other = match is_of_the_configuration && !is_last_good {
            true => last_good(directory.as_deref(), &read, common.configuration.as_ref(), streams)?,
            false => None,
        };
        let Some((kept_candidate, kept)) = other else {
            for error in errors {
                writeln!(streams.stderr, "error: {}", Chain(&error))?;
            }
            return Ok(REFUSED);
        };
        let lines: Vec<String> = errors.iter().map(|error| Chain(error).to_string()).collect();
        let drawn = lines.iter().map(|line| format!("error: {line}\n")).collect();
        candidate = kept_candidate;
        instead_of = Some((Refused { hash: Some(tried), problem: lines.join("\n"), drawn }, kept));
    }
}

impl Common<'_> {
    fn start(&self, candidate: Candidate, instead_of: Option<(Refused, Kept)>) -> Result<Ending, Vec<StartError>> {
        for warning in &candidate.plan.warnings {
            tracing::warn!(code = warning.code.as_str(), "{warning}");
        }
        let instead_of = instead_of.map(|(refused, Kept { kept_unix_seconds, hash, .. })| {
            tracing::error!(
                refused = refused.hash.as_deref().unwrap_or_default(),
                problem = refused.problem,
                "the configuration is refused: running the last good configuration {hash} of {}",
                moment(kept_unix_seconds)
            );
            InsteadOf { refused, kept_unix_seconds }
        });
        lifecycle::run(Start {
            candidate,
            configuration: Arc::clone(&self.configuration) as Arc<dyn Configuration>,
            watch: if self.arguments.watch { Watch::Files } else { Watch::Nothing },
            instead_of,
            address_file: self.arguments.address_file.clone(),
            repeats: Arc::clone(&self.repeats),
            own: self.own.clone(),
            give_back: self.give_back,
        })
    }
}

impl Named {
    fn plan(&self, files: Vec<SourceFile>) -> Result<Candidate, Problems> {
        let environment = load::with_references(self.known.clone(), &files, &self.options);
        let mut plan = judge(&files, &Catalog::builtin(), &environment, &self.options)?.plan;
        if let Some(address) = self.admin_listen {
            plan.settings.admin_listen = address;
        }
        Ok(Candidate { plan, hash: status::config_hash(&files), files })
    }

    fn refused(&self, problems: &Problems, files: &[SourceFile]) -> Refused {
        Refused {
            hash: Some(status::config_hash(files)),
            problem: problems.to_string(),
            drawn: diagnostics::draw(problems, files, Color::Never),
        }
    }
}

impl Configuration for Named {
    fn read(&self) -> Result<Vec<SourceFile>, String> {
        let lines = |errors: Vec<files::FileError>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        files::read(&self.paths).map_err(|errors| lines(errors).join("\n"))
    }

    fn judge(&self, files: Vec<SourceFile>) -> Result<Candidate, Refused> {
        self.plan(files.clone()).map_err(|problems| self.refused(&problems, &files))
    }
}

/// The configuration that ran last with this state directory, if it can still be run and is another one.
fn last_good(
    directory: Option<&Path>,
    refused: &[SourceFile],
    configuration: &Named,
    streams: &mut Streams<'_>,
) -> Result<Option<(Candidate, Kept)>, Failure> {
    let Some(directory) = directory else { return Ok(None) };
    let kept = match LastGoodFile::of(directory).load() {
        Ok(kept) => kept.filter(|kept| kept.hash != status::config_hash(refused)),
        Err(error) => {
            writeln!(streams.stderr, "warning: the last good configuration is of no use: {}", Chain(&error))?;
            None
        }
    };
    let candidate = kept.map(|kept| Some((configuration.plan(kept.files.clone()).ok()?, kept)));
    Ok(candidate.flatten())
}

/// A moment as people and programs read it.
fn moment(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| unix_seconds.to_string(), |time| time.to_string())
}
