//! `config show`, `schema` and `completion`: what is in force, what could be written, and how a shell completes it.

use std::collections::BTreeMap;

use clap::CommandFactory;
use clap_complete::Shell;
use engine_config::Catalog;

use super::arguments::{Arguments, ConfigArguments};
use super::streams::Streams;
use super::{Failure, OK, load};

/// The configuration with all defaults, as TOML; sensitive texts are replaced.
pub(super) fn config(
    arguments: &ConfigArguments,
    variables: BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Result<u8, Failure> {
    let loaded = load::whole(arguments, variables, streams)?;
    write!(streams.stdout, "{}", loaded.pipeline.to_toml_redacted(&Catalog::builtin()))?;
    Ok(OK)
}

/// The JSON Schema of a configuration file, for editors.
pub(super) fn schema(streams: &mut Streams<'_>) -> Result<u8, Failure> {
    writeln!(streams.stdout, "{:#}", engine_config::schema(&Catalog::builtin()))?;
    Ok(OK)
}

/// The completion script of a shell.
pub(super) fn completion(shell: Shell, streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    streams.stdout.write_all(&script)?;
    Ok(OK)
}
