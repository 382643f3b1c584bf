//! The way to the API server: who we are, which authority its certificate must come from, and how often we may ask.
//!
//! Files with tokens, keys and authorities are looked at again as requests are made; what has changed is used from the
//! next request on, and watches that run need not end for it. Not here: what is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::time::Instant;

/// Files are looked at no more often than this while all is well.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// And no more often than this when the API server does not let us in.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A connection that says nothing for so long is dead. On one that lives, watches hear a bookmark every minute or so.
const SILENT_AT_MOST: Duration = Duration::from_secs(120);
/// Between requests, on average.
const REQUEST_EVERY: Duration = Duration::from_millis(100);
/// So many may be made at once.
const BURST: u32 = 5;
/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why the cluster cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Neither a pod nor a place with a kubeconfig.
    #[error(
        "found no cluster: this is no pod with a service account, and neither `kubernetes.kubeconfig` nor KUBECONFIG \
         nor ~/.kube/config names one"
    )]
    NoCluster,
    /// The kubeconfig is of no use.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KubeconfigError,
    },
    /// The service account is of no use.
    #[error("cannot use the service account of this pod")]
    ServiceAccount(#[source] kube::config::InClusterError),
    /// A file with a token, key or authority cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// What was read makes no client.
    #[error("cannot make a client of what was read")]
    Client(#[source] kube::Error),
}

/// Where it is written who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The service account of the pod that this is.
    ServiceAccount,
    /// A file.
    Kubeconfig(PathBuf),
}

/// Requests to the API server.
pub(crate) struct Access {
    origin: Origin,
    state: tokio::sync::Mutex<Option<State>>,
    pace: parking_lot::Mutex<Instant>,
}

struct State {
    files: Files,
    client: Client,
    looked: Instant,
}

/// The content of all files that say who we are.
#[derive(PartialEq, Eq)]
struct Files(Vec<(PathBuf, Vec<u8>)>);

impl Origin {
    /// What the settings say, else what the surroundings say.
    pub(crate) fn find(kubeconfig: Option<&Path>) -> Result<Self, AccessError> {
        if let Some(path) = kubeconfig {
            return Ok(Self::Kubeconfig(path.to_owned()));
        }
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(SERVICE_ACCOUNT).exists() {
            return Ok(Self::ServiceAccount);
        }
        let named = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")).filter(|path| path.exists());
        named.or_else(usual).map(Self::Kubeconfig).ok_or(AccessError::NoCluster)
    }

    /// Reads everything once, so that what is of no use is told before anything runs.
    pub(crate) fn check(&self) -> Result<(), AccessError> {
        self.read().map(|_| ())
    }

    /// The files and, of a kubeconfig, what it says.
    fn read(&self) -> Result<(Files, Option<Kubeconfig>), AccessError> {
        match self {
            Self::ServiceAccount => {
                let files = ["token", "ca.crt"].map(|name| Path::new(SERVICE_ACCOUNT).join(name));
                Ok((Files::read(files)?, None))
            }
            Self::Kubeconfig(path) => {
                let unfit = |source| AccessError::Kubeconfig { path: path.clone(), source };
                let kubeconfig = Kubeconfig::read_from(path).map_err(unfit)?;
                let named = files_of(&kubeconfig);
                Ok((Files::read(std::iter::once(path.clone()).chain(named))?, Some(kubeconfig)))
            }
        }
    }

    async fn config(&self, kubeconfig: Option<Kubeconfig>) -> Result<Config, AccessError> {
        match (self, kubeconfig) {
            (Self::Kubeconfig(path), Some(kubeconfig)) => {
                let options = KubeConfigOptions::default();
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|source| AccessError::Kubeconfig { path: path.clone(), source })
            }
            _ => Config::incluster().map_err(AccessError::ServiceAccount),
        }
    }
}

/// The files that a kubeconfig names.
fn files_of(kubeconfig: &Kubeconfig) -> Vec<PathBuf> {
    let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let authorities = clusters.filter_map(|cluster| cluster.certificate_authority.as_ref());
    let users = kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
    let credentials = users.flat_map(|user| [&user.client_certificate, &user.client_key, &user.token_file]);
    authorities.chain(credentials.flatten()).map(PathBuf::from).collect()
}

impl Files {
    fn read(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, AccessError> {
        let read = |path: PathBuf| match std::fs::read(&path) {
            Ok(content) => Ok((path, content)),
            Err(source) => Err(AccessError::Read { path, source }),
        };
        paths.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl Access {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, state: tokio::sync::Mutex::new(None), pace: parking_lot::Mutex::new(Instant::now()) }
    }

    /// A client whose every request is made as whoever we are by then. It belongs to the runtime it was made on.
    pub(crate) fn client(self: &Arc<Self>) -> Client {
        let access = Arc::clone(self);
        let send = move |request| {
            let access = Arc::clone(&access);
            async move { access.send(request).await }
        };
        Client::new(tower::service_fn(send), "default")
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
        // Pages of a list follow one another, and nobody asks for a second one before the first has come.
        let is_next_page = request.uri().query().is_some_and(|query| query.contains("continue="));
        if !is_next_page {
            self.wait_for_turn().await;
        }
        let client = self.current().await?;
        let response = client.send(request).await;
        // A certificate that nobody vouches for and a token that nobody takes may both have been replaced.
        if response.as_ref().map_or(true, |response| response.status() == StatusCode::UNAUTHORIZED) {
            self.doubt().await;
        }
        Ok(response?)
    }

    /// Waits until another request may be made.
    async fn wait_for_turn(&self) {
        let turn = {
            let mut pace = self.pace.lock();
            let turn = (*pace).max(Instant::now());
            *pace = turn + REQUEST_EVERY;
            turn
        };
        if let Some(at) = turn.checked_sub(REQUEST_EVERY * (BURST - 1)) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Whoever we are now.
    async fn current(&self) -> Result<Client, AccessError> {
        let mut state = self.state.lock().await;
        if let Some(known) = state.as_mut().filter(|known| known.looked.elapsed() < LOOK_EVERY) {
            return Ok(known.client.clone());
        }
        match self.renewed(state.as_ref()).await {
            Ok(Some(renewed)) => {
                if state.is_some() {
                    tracing::info!("credentials for the API server have changed and are in use from now on");
                }
                let client = renewed.client.clone();
                *state = Some(renewed);
                Ok(client)
            }
            Ok(None) => {
                let known = state.as_mut().expect("nothing is renewed only where something is known");
                known.looked = Instant::now();
                Ok(known.client.clone())
            }
            // Files that are being replaced may be away for a moment; the last good ones stay.
            Err(error) => match state.as_mut() {
                Some(known) => {
                    tracing::warn!(%error, "credentials for the API server cannot be read, the last good ones stay");
                    known.looked = Instant::now();
                    Ok(known.client.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Has the next request look at the files, unless somebody looked just now.
    async fn doubt(&self) {
        if let Some(known) = self.state.lock().await.as_mut()
            && known.looked.elapsed() >= LOOK_AGAIN_AFTER
        {
            known.looked -= LOOK_EVERY.saturating_sub(known.looked.elapsed());
        }
    }

    /// What the files hold now, if that is anything new.
    async fn renewed(&self, known: Option<&State>) -> Result<Option<State>, AccessError> {
        let origin = self.origin.clone();
        let read = tokio::task::spawn_blocking(move || origin.read()).await;
        let (files, kubeconfig) = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        if known.is_some_and(|known| known.files == files) {
            return Ok(None);
        }
        let mut config = self.origin.config(kubeconfig).await?;
        config.read_timeout = Some(SILENT_AT_MOST);
        let client = Client::try_from(config).map_err(AccessError::Client)?;
        Ok(Some(State { files, client, looked: Instant::now() }))
    }
}

impl std::fmt::Debug for Access {
    /// Nothing of what the files hold.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Access").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// However many requests want to be made, there are ten a second, but for a few at the start.
    #[tokio::test(start_paused = true)]
    async fn requests_have_turns() {
        let access = Access::new(Origin::ServiceAccount);
        let began = Instant::now();
        for _ in 0..105 {
            access.wait_for_turn().await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(3600)).await;
        let began = Instant::now();
        for _ in 0..25 {
            access.wait_for_turn().await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(2));
    }

    /// A server that falls silent in the middle of it is given up, so that it is asked again.
    #[tokio::test]
    async fn silent_servers_are_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let server = listener.local_addr().unwrap();
        let content = format!(
            "current-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{server}'}}}}]\n\
             users: [{{name: u, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        );
        std::fs::write(&path, content).unwrap();
        let client = Arc::new(Access::new(Origin::find(Some(&path)).unwrap())).client();
        let request = Request::get("/api/v1/pods").body(Vec::new()).unwrap();
        let asking = tokio::spawn(async move { client.request_text(request).await });
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = [0; 1024];
        assert!(tokio::io::AsyncReadExt::read(&mut socket, &mut read).await.unwrap() > 0);
        let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{";
        tokio::io::AsyncWriteExt::write_all(&mut socket, begun).await.unwrap();
        tokio::time::pause();
        let given_up = tokio::time::timeout(Duration::from_secs(600), asking).await;
        assert!(given_up.expect("it waits for ever").unwrap().is_err());
    }

    /// What is of no use is told before anything runs, by name.
    #[test]
    fn unfit_kubeconfigs_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let check = |content: &str| {
            std::fs::write(&path, content).unwrap();
            Origin::find(Some(&path)).unwrap().check().map_err(|error| error.to_string())
        };
        let named = path.display();
        assert_eq!(check("clusters: ["), Err(format!("cannot use the kubeconfig {named}")));
        let cluster = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1', certificate-authority: ca.crt}}]";
        let missing = format!("cannot read {}", folder.path().join("ca.crt").display());
        assert_eq!(check(cluster), Err(missing));
        std::fs::write(folder.path().join("ca.crt"), "anything").unwrap();
        assert_eq!(check(cluster), Ok(()));
        std::fs::remove_file(&path).unwrap();
        assert!(Origin::find(Some(&path)).unwrap().check().is_err());
    }
}
