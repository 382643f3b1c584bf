//! A scenario from its turn to its row in the table.

use std::ops::Deref;
use std::sync::Mutex;

use cluster::{Cluster, or_skip, wait_until};
use pods::oracle::{Oracle, Tally};
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use super::installed::Manager;
use crate::installation::{images, without};
use crate::table::Row;
use crate::{LIMIT, TURN};

/// Namespaces that scenarios have made and not yet taken away.
static NAMESPACES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What a scenario has: the installation, and the cluster to itself.
pub(super) struct Scenario {
    manager: Manager,
    row: Row,
    _turn: MutexGuard<'static, ()>,
}

impl Scenario {
    /// Begins when nobody else's runs, with a manager that was started with these arguments besides. `None` where there is
    /// no cluster.
    pub(super) async fn begin(name: &'static str, arguments: &[&str]) -> Option<Self> {
        let turn = TURN.lock().await;
        let cluster = or_skip(Cluster::shared(2).await)?;
        images(cluster).await;
        let row = Row::begin(name);
        let manager = Manager::install(cluster, arguments).await;
        let scenario = Self { manager, row, _turn: turn };
        // What one that has failed has left still sends.
        scenario.without_namespaces().await;
        Some(scenario)
    }

    /// A namespace of its own.
    pub(super) async fn namespace(&self, prefix: &str) -> String {
        let name = self.cluster.namespace(prefix).await.unwrap();
        NAMESPACES.lock().unwrap().push(name.clone());
        name
    }

    async fn without_namespaces(&self) {
        let names = std::mem::take(&mut *NAMESPACES.lock().unwrap());
        if !names.is_empty() {
            without(self.cluster, &names).await;
        }
    }

    /// A backend on this machine, and its address as pipelines write it.
    pub(super) async fn backend(&self) -> (Oracle, String) {
        let oracle = Oracle::default();
        let address = oracle.serve(self.cluster.machine_address()).await.unwrap();
        (oracle, format!("http://{address}"))
    }

    /// Applies a pipeline.
    pub(super) async fn pipeline(&self, kind: &str, name: &str, spec: Value) {
        self.apply(&pipeline(kind, name, spec)).await;
    }

    /// Waits until a backend has so many records more than now.
    pub(super) async fn more(&self, oracle: &Oracle, records: usize) {
        let received = || oracle.runs().iter().collect::<Tally>().received;
        let before = received();
        self.until("records come", async || (received() >= before + records).then_some(())).await;
    }

    /// Waits until backends together have as many records as were sent, and asserts that they have exactly these.
    pub(super) async fn arrived(&self, sent: usize, oracles: &[&Oracle]) -> Tally {
        let tally = || oracles.iter().flat_map(|oracle| oracle.runs()).collect::<Vec<_>>().iter().collect::<Tally>();
        let look = async || (tally().received >= sent).then_some(());
        let waited = wait_until(&format!("{sent} records arrive"), LIMIT, look).await;
        let tally = tally();
        if let Err(error) = waited {
            panic!("{error}: {tally:?}\n{}", self.told().await);
        }
        let wrong: Vec<_> = oracles.iter().flat_map(|oracle| oracle.runs()).filter_map(|run| run.wrong()).collect();
        assert_eq!((tally, wrong), (Tally { received: sent, duplicates: 0, missing: 0 }, Vec::new()));
        tally
    }

    /// Takes away what the scenario has made, and writes its row.
    pub(super) async fn end(self, sent: usize, received: Tally) {
        tokio::join!(self.without_namespaces(), self.without_pipelines());
        self.finish(sent, received).await;
    }

    /// The same where the pipelines are gone, and maybe the manager.
    pub(super) async fn finish(self, sent: usize, received: Tally) {
        // Whoever is next may collect what all pods print.
        self.without_namespaces().await;
        self.row.end(sent, received);
    }
}

/// The manifest of a pipeline.
pub(super) fn pipeline(kind: &str, name: &str, spec: Value) -> String {
    let api_version = "telemetry.kyma-project.io/v1beta1";
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name }, "spec": spec }).to_string()
}

/// The output of a pipeline whose backend is at this address and asks for nothing.
pub(super) fn output(endpoint: &str) -> Value {
    json!({ "otlp": { "endpoint": { "value": endpoint } } })
}

impl Deref for Scenario {
    type Target = Manager;

    fn deref(&self) -> &Manager {
        &self.manager
    }
}
