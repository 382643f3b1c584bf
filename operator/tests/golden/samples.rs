//! The manifests in `config/samples`: each of them runs as it is.

use std::path::{Path, PathBuf};

use telemetry_manager::input::Input;
use telemetry_manager::manifests;
use telemetry_manager::plan::plan;
use telemetry_manager::status::CONFIGURATION_GENERATED;

/// Every pipeline of a sample can run, and a comment says first what it is for.
#[test]
fn samples_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut pipelines = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        let name = file.display();
        assert!(std::fs::read_to_string(file).unwrap().starts_with("# "), "{name}");
        let mut input = Input { now: crate::cases::NOW, ..Input::default() };
        for document in manifests::read(std::slice::from_ref(file)).unwrap() {
            let problems = manifests::add(document, &mut input);
            assert_eq!(problems, Vec::<String>::new(), "{name}");
        }
        for (id, report) in plan(&input).pipelines {
            let condition = report.condition(CONFIGURATION_GENERATED).unwrap();
            assert_eq!(condition.status.as_str(), "True", "{name}: {id}: {}", condition.message);
            pipelines += 1;
        }
    }
    assert!(pipelines >= 6, "{pipelines}");
}

/// Manifests that API servers would take without a word are mistakes here: a field that does not exist, a value that is none.
#[test]
fn mistakes_in_manifests_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let said = |spec: &str| {
        let file = folder.path().join("pipeline.yaml");
        let head = "apiVersion: telemetry.kyma-project.io/v1beta1\nkind: TracePipeline\nmetadata: { name: shop }\n";
        std::fs::write(&file, format!("{head}spec: {spec}\n")).unwrap();
        let mut documents = manifests::read(&[file]).unwrap();
        manifests::add(documents.remove(0), &mut Input::default()).join("\n")
    };
    assert_eq!(said("{ output: { otlp: { endpoint: { value: \"a.b:4317\" } } } }"), "");
    for (spec, words) in [
        ("{ output: { otlp: { endpiont: { value: a } } } }", "unknown field 'endpiont', did you mean 'endpoint'?"),
        (
            "{ output: { otlp: { protocol: grpcs, endpoint: { value: a } } } }",
            "'grpcs' is not known; expected one of grpc, http",
        ),
        ("{ output: { otlp: { protocol: grpc } } }", "spec.output.otlp.endpoint is missing"),
    ] {
        let said = said(spec);
        assert!(said.contains(words) && said.contains("document 1: TracePipeline"), "{spec}: {said}");
    }
}

/// Names that no object can have, and names that stand twice, are told before anything is made of them.
#[test]
fn names_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipelines.yaml");
    let pipeline = |name: &str| {
        format!(
            "apiVersion: telemetry.kyma-project.io/v1beta1\nkind: TracePipeline\nmetadata: {{ name: \"{name}\" }}\n\
             spec: {{ output: {{ otlp: {{ endpoint: {{ value: \"a.b:4317\" }} }} }} }}\n---\n"
        )
    };
    let names = ["MyShop", "", "grüße", "shop", "shop"];
    std::fs::write(&file, names.map(pipeline).concat()).unwrap();
    let mut input = Input::default();
    let documents = manifests::read(&[file]).unwrap();
    let said: Vec<String> = documents.into_iter().flat_map(|document| manifests::add(document, &mut input)).collect();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[..3].iter().all(|problem| problem.contains("is no name")), "{said:?}");
    assert!(said[3].contains("'shop' is that of another TracePipeline already"), "{said:?}");
}
