//! `validate`: everything that is wrong with a configuration, without running it.

use std::collections::BTreeMap;

use engine_config::{Catalog, Environment, Problems, SourceFile, load as judge};

use super::arguments::{ReportFormat, ValidateArguments};
use super::streams::Streams;
use super::{Failure, OK, REFUSED, load};

pub(super) fn validate(
    arguments: &ValidateArguments,
    variables: BTreeMap<String, String>,
    streams: &mut Streams<'_>,
) -> Result<u8, Failure> {
    let files = load::files(&arguments.config, streams)?;
    let options = load::parse_options(&arguments.config);
    let environment = match arguments.no_environment {
        true => Environment::Unknown,
        false => load::surroundings(variables, &files, &options),
    };
    let judged = judge(&files, &Catalog::builtin(), &environment, &options);
    let components = judged.as_ref().map_or(0, |loaded| loaded.plan.nodes.len());
    let problems = judged.map_or_else(|problems| problems, |loaded| loaded.plan.warnings);
    let is_refused = problems.has_errors() || (arguments.deny_warnings && !problems.is_empty());
    match arguments.format {
        ReportFormat::Json => json(&problems, is_refused, streams)?,
        ReportFormat::Text => {
            load::draw(&problems, &files, streams)?;
            if !is_refused {
                writeln!(streams.stdout, "{}: valid, {components} components", names(&files))?;
            }
        }
    }
    Ok(if is_refused { REFUSED } else { OK })
}

fn json(problems: &Problems, is_refused: bool, streams: &mut Streams<'_>) -> Result<(), Failure> {
    let report = serde_json::json!({ "valid": !is_refused, "problems": problems });
    writeln!(streams.stdout, "{report:#}")?;
    Ok(())
}

fn names(files: &[SourceFile]) -> String {
    files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ")
}
