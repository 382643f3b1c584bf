//! A control plane: etcd, the API server and the controllers. There are no nodes: pods are objects that nobody runs.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use tokio::sync::OnceCell;

use crate::access::{Access, client_without_retries};
use crate::audit::{self, AuditEvent};
use crate::certificates::Authority;
use crate::control_programs::{API_SERVER, CONTROLLERS, ControlPrograms, ETCD, Place};
use crate::supervisor::{Kind, Supervisor, Verb};
use crate::{StartError, base_directory, programs, wait_until};

/// How long an API server may take to be ready. It is there in 3 s where nothing else runs.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Ports below those that the kernel hands out by itself, so that nobody else is given one between look and use.
const FIRST_PORT: u16 = 20_000;

/// A running control plane. It ends when this is dropped, or when this process is gone.
pub struct ControlPlane {
    access: Access,
    /// None where `KUBECONFIG` names a cluster of somebody else.
    supervisor: Option<Supervisor>,
}

impl ControlPlane {
    /// The control plane that `KUBECONFIG` names, or else a new one.
    pub async fn start() -> Result<Self, StartError> {
        match given_kubeconfig() {
            Some(kubeconfig) => Self::given(kubeconfig).await,
            None => Self::start_own().await,
        }
    }

    /// A new control plane on free ports of loopback, whatever `KUBECONFIG` says. Needs no root.
    pub async fn start_own() -> Result<Self, StartError> {
        Self::start_own_in(&base_directory()).await
    }

    /// The same with its files below this folder instead of [`base_directory`].
    pub async fn start_own_in(base: &Path) -> Result<Self, StartError> {
        Self::start_new(base, Auditing::Nothing).await
    }

    /// A new control plane whose API server keeps a log of all writes, which [`Self::written`] reads.
    pub async fn start_audited() -> Result<Self, StartError> {
        Self::start_new(&base_directory(), Auditing::Writes).await
    }

    async fn start_new(base: &Path, auditing: Auditing) -> Result<Self, StartError> {
        let programs = programs::for_control_plane()?;
        let supervisor = Supervisor::start(Kind::ControlPlane, base)?;
        if auditing == Auditing::Writes {
            audit::write_policy(supervisor.folder())?;
        }
        let place = place_on_loopback(supervisor.number()?)?;
        let authority = Authority::new(&supervisor.folder().join("certificates"))?;
        Ok(Self::start_in(supervisor, &programs, &authority, place).await?)
    }

    /// One for all tests of this process, started by the first that asks; it ends with the process.
    pub async fn shared() -> Result<&'static Self, StartError> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Lets it live on when this process ends.
    pub async fn detach(self) -> Result<PathBuf> {
        let supervisor = self.supervisor.context("`KUBECONFIG` names a cluster that lives on by itself")?;
        let folder = supervisor.folder().to_owned();
        supervisor.detach().await?;
        Ok(folder)
    }

    /// Stops the API server in its tracks: connections stay open and nothing is answered.
    pub async fn pause_api_server(&self) -> Result<()> {
        self.supervisor()?.tell(Verb::Pause, API_SERVER).await
    }

    /// Lets a paused API server go on: it answers what has piled up.
    pub async fn resume_api_server(&self) -> Result<()> {
        self.supervisor()?.tell(Verb::Resume, API_SERVER).await
    }

    /// Kills the API server: connections break, and new ones are refused until [`Self::start_api_server`].
    pub async fn kill_api_server(&self) -> Result<()> {
        self.supervisor()?.tell(Verb::Stop, API_SERVER).await
    }

    /// Starts a killed API server again, and waits until it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        self.supervisor()?.tell(Verb::Start, API_SERVER).await?;
        self.ready().await
    }

    /// Kills the API server, starts it again, and waits until it is ready.
    pub async fn restart_api_server(&self) -> Result<()> {
        self.kill_api_server().await?;
        self.start_api_server().await
    }

    /// Every write that the API server of [`Self::start_audited`] has answered, in the order of the answers.
    pub fn written(&self) -> Result<Vec<AuditEvent>> {
        audit::read(self.supervisor()?.folder())
    }

    /// Stops the controllers in their tracks: pods of owners and nodes that do not exist stay, and so does everything else as
    /// it was written. A namespace gets no service account from now on.
    pub async fn pause_controllers(&self) -> Result<()> {
        self.supervisor()?.tell(Verb::Pause, CONTROLLERS).await
    }

    /// Starts the programs of a control plane that has a folder already.
    pub(crate) async fn start_in(
        supervisor: Supervisor,
        programs: &Path,
        authority: &Authority,
        place: Place,
    ) -> Result<Self> {
        ControlPrograms { supervisor: &supervisor, programs, authority, place }.define()?;
        let access = Access::new(supervisor.folder().join("kubeconfig"), programs.join("kubectl"));
        let control_plane = Self { access, supervisor: Some(supervisor) };
        let supervisor = control_plane.supervisor()?;
        supervisor.tell(Verb::Start, ETCD).await?;
        supervisor.tell(Verb::Start, API_SERVER).await?;
        control_plane.ready().await.with_context(|| supervisor.log_ends())?;
        supervisor.tell(Verb::Start, CONTROLLERS).await?;
        control_plane.controllers_ready().await.with_context(|| supervisor.log_ends())?;
        Ok(control_plane)
    }

    /// The one that a kubeconfig of this harness names, with all abilities, or one of somebody else.
    pub(crate) async fn given(kubeconfig: PathBuf) -> Result<Self, StartError> {
        let folder = kubeconfig.parent().filter(|folder| folder.join("control").exists());
        let supervisor = folder.map(|folder| Supervisor::attach(folder.to_owned()));
        let kubectl = programs::for_control_plane().map_or("kubectl".into(), |programs| programs.join("kubectl"));
        let control_plane = Self { access: Access::new(kubeconfig, kubectl), supervisor };
        control_plane.ready().await?;
        Ok(control_plane)
    }

    /// Who keeps its processes.
    pub(crate) fn supervisor(&self) -> Result<&Supervisor> {
        self.supervisor.as_ref().context("`KUBECONFIG` names a cluster whose processes are not ours")
    }

    async fn ready(&self) -> Result<()> {
        let client = client_without_retries(self.kubeconfig()).await?;
        let what = "the API server is ready";
        wait_until(what, READY_LIMIT, async || {
            let request = Request::get("/readyz").body(Vec::new()).ok()?;
            // A request that meets a server that is not there yet must not be waited for.
            tokio::time::timeout(Duration::from_secs(5), client.request_text(request)).await.ok()?.ok()
        })
        .await
        .map(drop)
    }

    async fn controllers_ready(&self) -> Result<()> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client().await?, "default");
        let look = async || accounts.get_opt("default").await.ok().flatten();
        wait_until("the controllers work", READY_LIMIT, look).await.map(drop)
    }
}

/// What an API server keeps a log of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Auditing {
    Nothing,
    Writes,
}

impl Deref for ControlPlane {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

/// The file that `KUBECONFIG` names.
pub(crate) fn given_kubeconfig() -> Option<PathBuf> {
    std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Three ports that nobody listens on; the number keeps control planes that start at once apart.
fn place_on_loopback(number: u8) -> Result<Place> {
    let address = Ipv4Addr::LOCALHOST;
    let is_free = |port: u16| TcpListener::bind((address, port)).is_ok();
    for attempt in 0..64 {
        let first = FIRST_PORT + attempt * 64 + u16::from(number) * 4;
        if (first..first + 3).all(is_free) {
            return Ok(Place { address, port: first, etcd_port: first + 1, network: None });
        }
    }
    bail!("no three free ports from {FIRST_PORT} on")
}
