//! An API server that is paused, killed and started again.

use std::time::Duration;

use cluster::{ControlPlane, Followed, Witness, contains, exactly, or_skip};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::LIMIT;

/// A paused API server keeps a request waiting, and answers it when it goes on.
#[tokio::test]
async fn a_paused_server_answers_later() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    let namespaces = Api::<Namespace>::all(control_plane.client().await.unwrap());
    namespaces.get("default").await.unwrap();
    control_plane.pause_api_server().await.unwrap();
    let mut request = std::pin::pin!(namespaces.get("default"));
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut request).await.is_err(), "it answers while paused");
    control_plane.resume_api_server().await.unwrap();
    request.await.unwrap();
}

/// A killed API server refuses connections; started again, it has what was stored.
#[tokio::test]
async fn a_killed_server_comes_back_with_its_objects() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    let namespace = control_plane.namespace("kept").await.unwrap();
    let namespaces = Api::<Namespace>::all(control_plane.client().await.unwrap());
    control_plane.kill_api_server().await.unwrap();
    assert!(namespaces.get(&namespace).await.is_err(), "it answers although it is dead");
    control_plane.start_api_server().await.unwrap();
    assert_eq!(namespaces.get(&namespace).await.unwrap().metadata.name, Some(namespace));
}

/// The audit log names who wrote what, and what was refused: a service account has its own rights and no others.
#[tokio::test]
async fn writes_are_logged_with_their_writers() {
    let Some(control_plane) = or_skip(ControlPlane::start_audited().await) else { return };
    let namespace = control_plane.namespace("shop").await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    control_plane.kubeconfig_of(&namespace, "default", file.path()).await.unwrap();
    let document = Kubeconfig::read_from(file.path()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(document, &KubeConfigOptions::default()).await.unwrap();
    let map: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": "own" } })).unwrap();
    let as_account = Api::<ConfigMap>::namespaced(kube::Client::try_from(config).unwrap(), &namespace);
    assert!(as_account.create(&PostParams::default(), &map).await.is_err(), "it has no rights");
    let as_administrator = Api::<ConfigMap>::namespaced(control_plane.client().await.unwrap(), &namespace);
    as_administrator.create(&PostParams::default(), &map).await.unwrap();
    as_administrator.get("own").await.unwrap();

    let of_maps = |user: &str| {
        let written = control_plane.written().unwrap();
        let found = written.into_iter().filter(|event| event.resource == "configmaps" && event.user == user);
        found.map(|event| (event.verb, event.code)).collect::<Vec<_>>()
    };
    assert_eq!(of_maps(&format!("system:serviceaccount:{namespace}:default")), [("create".to_owned(), 403)]);
    assert_eq!(of_maps("administrator"), [("create".to_owned(), 201)]);
}

/// A witness has what is there, and tells its judge of everything that happens, of what happened while the API server was away
/// too.
#[tokio::test]
async fn a_witness_misses_nothing() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    let namespace = control_plane.namespace("witness").await.unwrap();
    let client = control_plane.client().await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let wanted = |text: &str| {
        let metadata = json!({ "name": "own", "namespace": namespace, "labels": { "mine": "yes" } });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "text": text } })
    };
    let put = async |text: &str| {
        maps.patch("own", &PatchParams::apply("tests").force(), &Patch::Apply(wanted(text))).await.unwrap();
    };
    let judge = |_: &cluster::ObjectId, content: Option<&Value>| match content {
        Some(content) => (content["data"]["text"] == "wrong").then(|| "wrong".to_owned()),
        None => Some("deleted".to_owned()),
    };
    let followed = Followed::like([&wanted("")], Some("mine=yes"));
    let witness = Witness::with_judge(&client, followed, judge).await.unwrap();
    for text in ["right", "wrong", "right again"] {
        put(text).await;
        let wanted = [wanted(text)];
        witness.until(text, LIMIT, |there| exactly(there, &wanted, contains)).await.unwrap();
    }
    assert_eq!(witness.complaints(), ["wrong"]);
    maps.delete("own", &DeleteParams::default()).await.unwrap();
    witness.until("it is gone", LIMIT, |there| exactly(there, &[], contains)).await.unwrap();
    control_plane.kill_api_server().await.unwrap();
    control_plane.start_api_server().await.unwrap();
    put("wrong").await;
    let wanted = [wanted("wrong")];
    witness.until("it is there", LIMIT, |there| exactly(there, &wanted, contains)).await.unwrap();
    assert_eq!(witness.complaints(), ["wrong", "deleted", "wrong"]);
}
