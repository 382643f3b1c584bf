//! A proxy in front of an API server that answers badly when it is told to.
//!
//! It speaks plain HTTP on loopback and forwards with the credentials of a kubeconfig, so that a client under test needs
//! only [`FaultProxy::kubeconfig`]. Without rules it passes everything on as it is. Not here: upgraded connections
//! (`exec`, `port-forward`), and answers in protobuf where a fault looks at single events.

mod answer;
mod events;
mod forward;
mod rule;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use kube::Client;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::access::{client, client_without_retries};
use crate::certificates::write_kubeconfig;
use forward::{Ending, Forward};
pub use rule::{Fault, Gate, Hits, Rule, When};

/// A request that the proxy has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `GET` and the like.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Whether it asks for changes as they happen.
    pub is_watch: bool,
    /// How many rules it met.
    pub faults: usize,
}

/// A running proxy. It ends when this is dropped, with the connections through it.
pub struct FaultProxy {
    address: SocketAddr,
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    // Holds the kubeconfig.
    _folder: tempfile::TempDir,
}

/// What the connections share.
pub(crate) struct Shared {
    pub(crate) upstream: Client,
    pub(crate) rules: Mutex<Vec<rule::Active>>,
    pub(crate) seen: Mutex<Vec<Seen>>,
    /// Replaced whenever all connections are cut.
    close: Mutex<CancellationToken>,
}

impl FaultProxy {
    /// Starts one in front of the API server that a kubeconfig names. It belongs to the runtime that it is started in.
    pub async fn start(kubeconfig: &Path) -> Result<Self> {
        let upstream = client_without_retries(kubeconfig).await?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("kubeconfig");
        write_kubeconfig(&file, &json!({ "server": format!("http://{address}") }), &json!({}))?;
        let shared =
            Arc::new(Shared { upstream, rules: Mutex::default(), seen: Mutex::default(), close: Mutex::default() });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, kubeconfig: file, shared, task, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file that names this proxy as the API server, without credentials.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client that goes through the proxy. It belongs to the runtime that it is made in.
    pub async fn client(&self) -> Result<Client> {
        client(&self.kubeconfig).await
    }

    /// Adds a rule for the requests to come. All rules that a request meets apply to it.
    pub fn add(&self, rule: Rule) -> Hits {
        let (active, hits) = rule.activate();
        self.shared.rules.lock().push(active);
        hits
    }

    /// Takes all rules away; requests that met one go on as it said.
    pub fn clear(&self) {
        self.shared.rules.lock().clear();
    }

    /// Closes every connection in the midst of what it does. New ones are welcome.
    pub fn cut_all(&self) {
        std::mem::take(&mut *self.shared.close.lock()).cancel();
    }

    /// The requests so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let ending = Ending::new(shared.close.lock().child_token());
        tokio::spawn(Forward { shared: shared.clone(), ending }.serve(stream));
    }
}
