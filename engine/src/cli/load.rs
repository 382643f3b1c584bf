//! Files to a judged configuration, the same way for every command; problems are drawn on the way.

use std::collections::BTreeMap;

use engine_config::{Catalog, Environment, Known, Loaded, ParseOptions, Problems, SourceFile, load as judge, parse};

use super::arguments::ConfigArguments;
use super::streams::Streams;
use super::{Failure, diagnostics, files};
use crate::environment;

/// Reads the named files, or says which cannot be read.
pub(super) fn files(arguments: &ConfigArguments, streams: &mut Streams<'_>) -> Result<Vec<SourceFile>, Failure> {
    match files::read(&arguments.paths) {
        Ok(read) => Ok(read),
        Err(errors) => {
            for error in errors {
                writeln!(streams.stderr, "error: {error}")?;
            }
            Err(Failure::Said)
        }
    }
}

/// How the files are to be read.
pub(super) fn parse_options(arguments: &ConfigArguments) -> ParseOptions {
    ParseOptions { expand_environment: arguments.expand_environment }
}

/// This machine, with a look at what the components of these files need of it.
pub(super) fn surroundings(
    variables: BTreeMap<String, String>,
    files: &[SourceFile],
    options: &ParseOptions,
) -> Environment {
    with_references(environment::look(variables), files, options)
}

/// This machine as it was looked at, with a new look at what the components of these files need of it.
pub(super) fn with_references(known: Known, files: &[SourceFile], options: &ParseOptions) -> Environment {
    let environment = Environment::Known(known);
    // What cannot be read is reported when the configuration is judged.
    let pipeline = parse(files, &Catalog::builtin(), &environment, options);
    let Environment::Known(mut known) = environment else { return environment };
    if let Ok(pipeline) = pipeline {
        environment::look_at_references(&mut known, &pipeline);
    }
    Environment::Known(known)
}

/// Judges the files and draws what is wrong; the warnings of what is right are left to the caller.
pub(super) fn judged(
    files: &[SourceFile],
    environment: &Environment,
    options: &ParseOptions,
    streams: &mut Streams<'_>,
) -> Result<Loaded, Failure> {
    match judge(files, &Catalog::builtin(), environment, options) {
        Ok(loaded) => Ok(loaded),
        Err(problems) => {
            draw(&problems, files, streams)?;
            Err(Failure::Said)
        }
    }
}

/// Files to a judged configuration for commands that show it: whether its secrets are there does not matter.
pub(super) fn whole(
    arguments: &ConfigArguments,
    variables: BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Result<Loaded, Failure> {
    let read = files(arguments, streams)?;
    let environment = Environment::Known(environment::look(variables));
    judged(&read, &environment, &parse_options(arguments), streams)
}

/// Draws problems, if there are any.
pub(super) fn draw(problems: &Problems, files: &[SourceFile], streams: &mut Streams<'_>) -> Result<(), Failure> {
    if !problems.is_empty() {
        write!(streams.stderr, "{}", diagnostics::draw(problems, files, streams.color))?;
    }
    Ok(())
}
