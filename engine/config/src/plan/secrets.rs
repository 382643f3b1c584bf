//! Turns references to the directory of secrets into the files that they name.
//!
//! So components know files and variables only, and a component whose directory changed is not the same instance. Whether
//! the files are there is a question to the environment (`validate`).

use std::path::Path;

use serde_json::Value as Json;

use super::PlannedNode;
use crate::catalog::Catalog;
use crate::document::{Finding, Report};
use crate::pipeline::Pipeline;
use crate::problem::Code;
use crate::schema;
use crate::secret::SecretRef;
use crate::settings::{Settings, StatusSettings};

/// Reports a directory of secrets that nothing is named in.
pub(super) fn unused(pipeline: &Pipeline, report: &mut Report<'_>) {
    let of_components = pipeline.references().into_iter().map(|needed| needed.reference);
    let mut targets = of_components.chain(pipeline.settings.references()).map(|reference| reference.target);
    if pipeline.settings.secrets.directory.is_some() && !targets.any(|target| is_directory(&target)) {
        let message = "`directory` has no effect: no component names a secret in it";
        let finding =
            Finding::warning(Code::NoEffect, message).help("remove it, or write references as `directory:NAME`");
        report.add(pipeline.settings_place("secrets", "directory"), Some("secrets"), finding);
    }
}

/// Names the files in the options of a node, and in what its type says about them.
pub(super) fn resolve(node: &mut PlannedNode, catalog: &Catalog, directory: &Path) {
    if !node.facts.references.iter().any(|reference| is_directory(&reference.target)) {
        return;
    }
    let entry = catalog.get(node.kind, node.type_name).expect("unknown types are refused before");
    let mut json = node.options.to_json();
    schema::visit(&mut json, entry.schema(), &mut |value, schema| {
        if schema.get("format").and_then(Json::as_str) == Some("secret")
            && let Some(Ok(SecretRef::Directory(name))) = value.as_str().map(str::parse)
        {
            *value = SecretRef::File(directory.join(name)).to_string().into();
        }
    });
    node.options = entry.read(json).expect("options that differ in the paths of secrets are read like the first");
    node.facts = node.options.facts();
}

/// Names the file of the token, if it is in the directory.
pub(super) fn of_status(status: StatusSettings, settings: &Settings) -> StatusSettings {
    match (&status.token, &settings.secrets.directory) {
        (SecretRef::Directory(name), Some(directory)) => {
            StatusSettings { token: SecretRef::File(directory.join(name)), ..status }
        }
        _ => status,
    }
}

fn is_directory(target: &SecretRef) -> bool {
    matches!(target, SecretRef::Directory(_))
}
