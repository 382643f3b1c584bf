//! `run`: judges a configuration, switches the log on, and lives until the end of what runs.

use std::collections::BTreeMap;

use engine_core::self_telemetry::SelfTelemetry;

use super::arguments::RunArguments;
use super::files::DEFAULT_NAME;
use super::streams::{Color, Streams};
use super::{Failure, OK, REFUSED, UNCLEAN, load};
use crate::lifecycle::{self, Ending, Start};
use crate::logging::{self, LogColor};
use crate::reclaim::GiveBack;

pub(super) fn run(
    arguments: &RunArguments,
    variables: BTreeMap<String, String>,
    give_back: GiveBack,
    streams: &mut Streams<'_>,
) -> Result<u8, Failure> {
    let files = load::files(&arguments.config, streams)?;
    let options = load::parse_options(&arguments.config);
    let environment = load::surroundings(variables, &files, &options);
    let loaded = load::judged(&files, &environment, &options, streams)?;
    let color = match streams.color {
        Color::Always => LogColor::Always,
        Color::Never => LogColor::Never,
    };
    let own = SelfTelemetry::default();
    let repeats = logging::start(arguments.log_format, arguments.log_level, color, own.clone());
    for warning in &loaded.plan.warnings {
        tracing::warn!(code = warning.code.as_str(), "{warning}");
    }
    if arguments.config.paths.is_empty() {
        tracing::info!("running {DEFAULT_NAME}: see `config show`");
    }
    let mut plan = loaded.plan;
    if let Some(address) = arguments.admin_listen {
        plan.settings.admin_listen = address;
    }
    let start = Start {
        plan,
        config_hash: engine_config::status::config_hash(&files),
        address_file: arguments.address_file.clone(),
        repeats,
        own,
        give_back,
    };
    match lifecycle::run(start) {
        Ok(Ending::Clean) => Ok(OK),
        Ok(Ending::Unclean) => Ok(UNCLEAN),
        Err(errors) => {
            for error in errors {
                writeln!(streams.stderr, "error: {}", logging::Chain(&error))?;
            }
            Ok(REFUSED)
        }
    }
}
