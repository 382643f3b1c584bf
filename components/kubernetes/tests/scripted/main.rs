//! The service against a server that says what a test wants: expired watches, broken connections, credentials that are not
//! taken any more. A real API server does none of this when asked to.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod server;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine_config::{KubernetesSettings, ProcessSettings};
use engine_core::service::{Service, ServiceContext};
use kubernetes::{Metadata, Uid};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::server::Server;

fn uid(number: u32) -> String {
    format!("{number:08x}-0000-0000-0000-000000000000")
}

fn pod(number: u32) -> serde_json::Value {
    json!({ "metadata": { "name": format!("pod-{number}"), "namespace": "shop", "uid": uid(number) } })
}

/// The service with these settings, running.
fn start(kubernetes: KubernetesSettings) -> (Arc<Metadata>, CancellationToken) {
    let settings = ProcessSettings {
        admin_listen: ([127, 0, 0, 1], 0).into(),
        status: None,
        shutdown_delay: Duration::ZERO,
        shutdown_grace: Duration::ZERO,
        lanes: 1,
        role: None,
        state_directory: None,
        kubernetes,
    };
    let metadata = Arc::new(Metadata::open(&ServiceContext { key: "", settings: &settings }).unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&metadata).run(stop.clone()));
    (metadata, stop)
}

/// A kubeconfig for a server, with a token and, for TLS, an authority in files beside it.
fn kubeconfig(folder: &Path, server: &str) -> PathBuf {
    let path = folder.join("kubeconfig");
    let authority = if server.starts_with("https") { ", certificate-authority: ca.crt" } else { "" };
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: '{server}'{authority}}}}}]\n\
         users: [{{name: u, user: {{tokenFile: token}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn knows(number: u32) -> impl Fn(&Metadata) -> bool {
    move |metadata| metadata.pod(Uid::parse(&uid(number)).unwrap()).is_some()
}

/// Lists come in pages of the size that is set, of one node's pods where a node is named, and of one namespace where nobody
/// wants more.
#[tokio::test]
async fn lists_in_pages() {
    let server = Server::start("token").await;
    (0..25).for_each(|number| server.put(pod(number)));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "token").unwrap();
    let settings = KubernetesSettings {
        kubeconfig: Some(kubeconfig(folder.path(), &server.url())),
        node: Some("node-1".to_owned()),
        page_size: NonZeroU32::new(10).unwrap(),
        ..KubernetesSettings::default()
    };
    let (metadata, stop) = start(settings);
    metadata.until("the first lists", Metadata::is_synced).await;
    assert!(metadata.waits_for().is_none());
    assert_eq!(metadata.pods(), 25);
    let requests = server.requests();
    let lists: Vec<_> =
        requests.iter().filter(|uri| uri.starts_with("/api/v1/pods?") && !uri.contains("watch")).collect();
    assert_eq!(lists.len(), 3, "{lists:?}");
    assert!(lists.iter().all(|uri| uri.contains("limit=10") && uri.contains("fieldSelector=spec.nodeName%3Dnode-1")));
    let namespaces = |uri: &&String| uri.contains("/namespaces?") && uri.contains("metadata.name%3Dkube-system");
    assert!(requests.iter().any(|uri| namespaces(&uri)) && !requests.iter().any(|uri| uri.contains("/nodes?")));
    stop.cancel();
}

/// A watch that the server has forgotten is followed by a new list: what came meanwhile is known, what went is gone.
#[tokio::test]
async fn expired_watches_list_anew() {
    let server = Server::start("token").await;
    server.put(pod(1));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "token").unwrap();
    let settings = KubernetesSettings {
        kubeconfig: Some(kubeconfig(folder.path(), &server.url())),
        ..KubernetesSettings::default()
    };
    let (metadata, stop) = start(settings);
    metadata.until("the first lists", Metadata::is_synced).await;
    server.tell(json!({ "type": "ADDED", "object": server::versioned(pod(2), 50) })).await;
    metadata.until("a pod that the watch tells", knows(2)).await;
    server.put(pod(3));
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired",
                         "message": "too old resource version" });
    server.tell(json!({ "type": "ERROR", "object": status })).await;
    metadata.until("a pod of the new list", knows(3)).await;
    stop.cancel();
}

/// A token and an authority that are replaced are in use without a restart: the one as soon as the server refuses the old
/// one, the other as soon as its certificate is one of the new authority.
#[tokio::test]
async fn credentials_that_rotate_are_picked_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    let server = Server::start_tls("one").await;
    server.put(pod(1));
    file("token", "one");
    file("ca.crt", &server.authority());
    let settings = KubernetesSettings {
        kubeconfig: Some(kubeconfig(folder.path(), &server.url())),
        ..KubernetesSettings::default()
    };
    let (metadata, stop) = start(settings);
    metadata.until("the first lists", Metadata::is_synced).await;

    server.put(pod(2));
    server.accept("two");
    file("token", "two");
    server.forget_watches();
    metadata.until("a pod behind the new token", knows(2)).await;

    server.put(pod(3));
    server.certify_anew();
    file("ca.crt", &server.authority());
    server.forget_watches();
    metadata.until("a pod behind the new authority", knows(3)).await;
    stop.cancel();
}
