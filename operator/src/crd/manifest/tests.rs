//! The files of `config/crd` against the types.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::{definitions, file};

/// `config/crd` is what the types say; `UPDATE_CRDS=1` writes it.
#[test]
fn the_files_are_what_the_types_say() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/crd");
    let mut files: Vec<(String, String)> = definitions().iter().map(|one| file(one).unwrap()).collect();
    let mut listing = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
    for (name, _) in &files {
        listing.push_str(&format!("  - {name}\n"));
    }
    files.push(("kustomization.yaml".to_owned(), listing));
    if std::env::var_os("UPDATE_CRDS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &files {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in &files {
        let written = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            written == *text,
            "config/crd/{name} is out of date: run the tests of telemetry-manager with UPDATE_CRDS=1"
        );
    }
    let expected: BTreeSet<String> = files.into_iter().map(|(name, _)| name).collect();
    let found = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), expected, "config/crd has other files than there are kinds");
}

/// Names, scopes, categories and columns are those that users of Kyma know.
#[test]
fn kinds_are_named_as_users_know_them() {
    let rows: Vec<String> = definitions()
        .iter()
        .map(|one| {
            let version = &one.spec.versions[0];
            let columns = version.additional_printer_columns.iter().flatten().map(|column| column.name.as_str());
            format!(
                "{} {} {} [{}] status={} [{}]",
                one.metadata.name.as_deref().unwrap(),
                version.name,
                one.spec.scope,
                one.spec.names.categories.clone().unwrap().join(", "),
                version.subresources.as_ref().is_some_and(|subresources| subresources.status.is_some()),
                columns.collect::<Vec<_>>().join(", "),
            )
        })
        .collect();
    let pipelines = "v1beta1 Cluster [kyma-telemetry, kyma-telemetry-pipelines] status=true";
    assert_eq!(
        rows,
        [
            format!(
                "logpipelines.telemetry.kyma-project.io {pipelines} [Configuration Generated, Gateway Healthy, Agent Healthy, Flow Healthy, Age]"
            ),
            format!(
                "metricpipelines.telemetry.kyma-project.io {pipelines} [Configuration Generated, Gateway Healthy, Agent Healthy, Flow Healthy, Age]"
            ),
            "telemetries.operator.kyma-project.io v1beta1 Namespaced [kyma-modules, kyma-telemetry] status=true [state, age]".to_owned(),
            format!(
                "tracepipelines.telemetry.kyma-project.io {pipelines} [Configuration Generated, Gateway Healthy, Flow Healthy, Age]"
            ),
        ]
    );
}

/// Every field is described, has a type, and none of the keywords that an API server refuses or reads differently.
#[test]
fn schemas_are_structural() {
    let mut findings = Vec::new();
    for definition in definitions() {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        let name = definition.spec.names.kind.clone();
        look(&schema["openAPIV3Schema"], &name, &mut findings);
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

fn look(schema: &Value, path: &str, findings: &mut Vec<String>) {
    let is_typed = schema.get("type").is_some() || schema.get("x-kubernetes-int-or-string").is_some();
    if !is_typed {
        findings.push(format!("{path} has no type"));
    }
    for keyword in ["nullable", "$ref", "oneOf", "x-kubernetes-preserve-unknown-fields"] {
        if schema.get(keyword).is_some() {
            findings.push(format!("{path} has `{keyword}`"));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if property.get("description").is_none() {
            findings.push(format!("{path} has no description"));
        }
        look(property, &path, findings);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(inner).filter(|inner| inner.is_object()) {
            look(inner, &format!("{path}[]"), findings);
        }
    }
}
