//! Manifests that are written for Kyma apply as they are.

use std::path::PathBuf;

use serde_json::Value;
use telemetry_manager::crd::{LogPipeline, MetricPipeline, Telemetry, TracePipeline};

use crate::{Keeping, apply, client};

/// Every documented use of the API has a manifest; each is accepted without a field that is unknown, and is read.
#[tokio::test]
async fn manifests_apply_unchanged() {
    let Some(client) = client().await else { return };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/manager/manifests/kyma");
    let mut number = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for document in documents {
            // Telemetry stands in a namespace that only a cluster of Kyma has.
            let mut document = document;
            document["metadata"].as_object_mut().unwrap().remove("namespace");
            let applied = apply(&client, &document, Keeping::Nothing).await;
            let applied = applied.unwrap_or_else(|message| panic!("{name}: {message}"));
            match document["kind"].as_str().unwrap() {
                "LogPipeline" => drop(applied.try_parse::<LogPipeline>().unwrap()),
                "MetricPipeline" => drop(applied.try_parse::<MetricPipeline>().unwrap()),
                "TracePipeline" => drop(applied.try_parse::<TracePipeline>().unwrap()),
                "Telemetry" => drop(applied.try_parse::<Telemetry>().unwrap()),
                other => panic!("{name}: {other}"),
            }
            number += 1;
        }
    }
    assert!(number >= 30, "only {number} manifests");
}
