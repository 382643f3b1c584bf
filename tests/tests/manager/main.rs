//! The telemetry manager against a real API server.
//!
//! Not here: what needs no cluster (`operator/`), and workloads that run (`roles`).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod apply;
mod definitions;
mod durable;
mod faults;
mod ground;
mod kyma;
mod steps;

use std::time::Duration;

use cluster::{ControlPlane, or_skip, wait_until};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, ValidationDirective};
use kube::{Api, Client};
use serde_json::{Value, json};

/// How long an API server may take to serve a new kind.
const SERVED_LIMIT: Duration = Duration::from_secs(30);

/// A client of an API server that knows the kinds of the manager, or none where there is none to be had.
async fn client() -> Option<Client> {
    let control_plane = or_skip(ControlPlane::shared().await)?;
    let client = control_plane.client().await.unwrap();
    define(&client).await;
    Some(client)
}

/// Makes the kinds of the manager, and waits until they are served.
async fn define(client: &Client) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in telemetry_manager::crd::manifest::definitions() {
        let name = definition.metadata.name.clone().unwrap();
        let file = telemetry_manager::crd::manifest::file(&definition).unwrap().1;
        // What is applied is the text of the file, so that its YAML is judged as well.
        let parsed: Value = serde_saphyr::from_str(&file).unwrap();
        definitions.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(parsed)).await.unwrap();
        let what = format!("{name} is served");
        wait_until(&what, SERVED_LIMIT, async || is_served(&definitions.get(&name).await.ok()?)).await.unwrap();
    }
}

/// Whether a kind is served, and that nothing about its schema is found wrong.
fn is_served(definition: &CustomResourceDefinition) -> Option<()> {
    let conditions = definition.status.as_ref()?.conditions.as_ref()?;
    let complaint = conditions.iter().find(|condition| condition.type_ == "NonStructuralSchema");
    assert!(complaint.is_none_or(|complaint| complaint.status != "True"), "{complaint:?}");
    conditions.iter().find(|condition| condition.type_ == "Established" && condition.status == "True").map(drop)
}

/// Objects of a kind of the manager; those of Telemetry in the namespace `default`.
fn objects(client: &Client, kind: &str) -> Api<DynamicObject> {
    let (group, plural) = match kind {
        "Telemetry" => ("operator.kyma-project.io", "telemetries".to_owned()),
        pipeline => ("telemetry.kyma-project.io", format!("{}s", pipeline.to_lowercase())),
    };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1beta1", kind), &plural);
    match kind {
        "Telemetry" => Api::namespaced_with(client.clone(), "default", &resource),
        _ => Api::all_with(client.clone(), &resource),
    }
}

/// An object of a kind of the manager.
fn object(kind: &str, name: &str, spec: Value) -> Value {
    let group = if kind == "Telemetry" { "operator.kyma-project.io" } else { "telemetry.kyma-project.io" };
    json!({ "apiVersion": format!("{group}/v1beta1"), "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// Applies an object; a field that the schema does not have is an error. What has no name to be kept by is only tried.
async fn apply(client: &Client, object: &Value, keeping: Keeping) -> Result<DynamicObject, String> {
    let kind = object["kind"].as_str().unwrap();
    let name = object["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams {
        dry_run: matches!(keeping, Keeping::Nothing),
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("tests").force()
    };
    match objects(client, kind).patch(name, &parameters, &Patch::Apply(object)).await {
        Ok(applied) => Ok(applied),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("{kind} {name}: {error}"),
    }
}

/// What is kept of an object that the API server accepts.
#[derive(Clone, Copy)]
enum Keeping {
    /// Nothing: it is only checked.
    Nothing,
    /// The object.
    Object,
}
