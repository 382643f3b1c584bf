//! The engine in front of which pods come and go, with a listener for applications and a trusted one for agents.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    admin::Admin,
    peer::{Peer, free_address},
};

/// The token of the agents.
pub(super) const TOKEN: &str = "token-of-the-agents";
/// The transform in the configuration, and the listener for applications.
const TRANSFORM: &str = "origin";
const APPS: &str = "apps";
/// How long it may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// An engine with a listener for applications and one for agents.
pub(super) struct Engine {
    /// Where applications send to.
    pub(super) apps: SocketAddr,
    /// Where agents send to.
    pub(super) agents: SocketAddr,
    admin: Admin,
    _peer: Peer,
    /// Holds the token.
    _directory: TempDir,
}

impl Engine {
    /// Starts one, and waits until it knows the pods that are there.
    pub(super) async fn start(binary: &Path, kubeconfig: &Path, endpoint: SocketAddr) -> Result<Engine> {
        let (apps, agents, admin) = (free_address()?, free_address()?, Admin(free_address()?));
        let directory = TempDir::with_prefix("bars-")?;
        let token = directory.path().join("token");
        std::fs::write(&token, TOKEN)?;
        let text = configuration(&Places { kubeconfig, token: &token, apps, agents, admin: admin.0, endpoint });
        let peer = Peer::configured(Command::new(binary), &text, apps)?;
        let start = Instant::now();
        while !admin.is_ready() {
            ensure!(start.elapsed() < READY_LIMIT, "the engine is not ready");
            sleep(POLL).await;
        }
        Ok(Engine { apps, agents, admin, _peer: peer, _directory: directory })
    }

    /// What its transform has counted.
    pub(super) fn counts(&self) -> Result<BTreeMap<String, u64>> {
        self.admin.own_counts(TRANSFORM)
    }

    /// Resources with marks that its listener for applications has removed.
    pub(super) fn foreign_marks(&self) -> Result<u64> {
        Ok(self.admin.errors(APPS)?.get("foreign_mark").copied().unwrap_or_default())
    }
}

/// What the engine's configuration names.
struct Places<'a> {
    kubeconfig: &'a Path,
    token: &'a Path,
    apps: SocketAddr,
    agents: SocketAddr,
    admin: SocketAddr,
    endpoint: SocketAddr,
}

fn configuration(places: &Places<'_>) -> String {
    let Places { kubeconfig, token, apps, agents, admin, endpoint } = places;
    format!(
        r#"version = 1

[admin]
listen = "{admin}"

[kubernetes]
kubeconfig = "{}"

[sources.{APPS}]
type = "otlp"
grpc.listen = "{apps}"

[sources.agents]
type = "otlp"
grpc.listen = "{agents}"
grpc.trusted = true
grpc.auth.bearer.tokens = ["file:{}"]

[transforms.{TRANSFORM}]
type = "kubernetes_attributes"
inputs = ["{APPS}", "agents"]

[sinks.out]
type = "otlp"
inputs = ["{TRANSFORM}"]
endpoint = "http://{endpoint}"
acknowledge = "delivered"
"#,
        kubeconfig.display(),
        token.display(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use std::net::Ipv4Addr;

    use engine_config::{Catalog, Environment, ParseOptions, SourceFile, load};

    use super::*;

    /// The engine takes the configuration as it stands, without a warning.
    #[test]
    fn configuration_is_valid() {
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (kubeconfig, token) = (Path::new("/etc/kubeconfig"), Path::new("/etc/token"));
        let places =
            Places { kubeconfig, token, apps: at(4317), agents: at(4319), admin: at(13133), endpoint: at(5317) };
        let file = SourceFile::new("engine.toml", configuration(&places));
        let loaded = load(&[file], &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default()).unwrap();
        assert_eq!(loaded.plan.warnings.iter().count(), 0, "{:?}", loaded.plan.warnings);
    }
}
