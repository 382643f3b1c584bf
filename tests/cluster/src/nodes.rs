//! A whole cluster: a control plane, and nodes that run pods, with volumes, Services and DNS.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::certificates::{Authority, Subject};
use crate::control_plane::given_kubeconfig;
use crate::control_programs::{DNS, DOMAIN, Place, SCHEDULER};
use crate::network::{MOST_NODES, Network};
use crate::supervisor::{Kind, Supervisor, Verb};
use crate::{ControlPlane, Image, ImageOptions, StartError, base_directory, objects, programs, wait_until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scripts/node");

/// What every pod is held by; loaded into every node.
const PAUSE: &str = "cluster.local/pause:1";

/// How long nodes may take to be ready. They are there in 2 s where nothing else runs.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// The file that says what a cluster consists of, for who finds it by its kubeconfig.
const DESCRIPTION: &str = "nodes";

/// A running cluster. It ends when this is dropped, or when this process is gone.
pub struct Cluster {
    control_plane: ControlPlane,
    folder: PathBuf,
    network: Network,
    nodes: usize,
}

impl Cluster {
    /// The cluster that `KUBECONFIG` names, if it is one of this harness with nodes enough, or else a new one of this
    /// many nodes. Needs root.
    pub async fn start(nodes: usize) -> Result<Self, StartError> {
        match given_kubeconfig() {
            Some(kubeconfig) => Self::given(&kubeconfig, nodes).await,
            None => Self::start_own(nodes).await,
        }
    }

    /// A new cluster of this many nodes, whatever `KUBECONFIG` says.
    pub async fn start_own(nodes: usize) -> Result<Self, StartError> {
        Self::start_own_in(&base_directory(), nodes).await
    }

    /// The same with its files below this folder instead of [`base_directory`].
    pub async fn start_own_in(base: &Path, nodes: usize) -> Result<Self, StartError> {
        let programs = programs::for_nodes()?;
        Ok(Self::start_new(base, nodes, &programs).await?)
    }

    /// One for all tests of this process, started by the first that asks; it ends with the process. Who asks for more
    /// nodes than the first did is refused.
    pub async fn shared(nodes: usize) -> Result<&'static Self, StartError> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        let cluster = SHARED.get_or_try_init(|| Self::start(nodes)).await?;
        if cluster.nodes < nodes {
            return Err(anyhow!("the shared cluster has {} nodes, not {nodes}", cluster.nodes).into());
        }
        Ok(cluster)
    }

    async fn start_new(base: &Path, nodes: usize, programs: &Path) -> Result<Self> {
        ensure!((1..=MOST_NODES).contains(&nodes), "a cluster has 1 to {MOST_NODES} nodes, not {nodes}");
        let supervisor = Supervisor::start(Kind::Nodes, base)?;
        let folder = supervisor.folder().to_owned();
        let network = Network::new(supervisor.number()?);
        std::fs::write(folder.join(DESCRIPTION), nodes.to_string())?;
        supervisor.define("network", &network.command(nodes))?;
        supervisor.tell(Verb::Run, "network").await?;

        let authority = Authority::new(&folder.join("certificates"))?;
        let images = folder.join("images");
        std::fs::create_dir_all(&images)?;
        let pause = programs.join("pause");
        let options = ImageOptions { user: Some("0:0"), ..ImageOptions::new(PAUSE, &pause) };
        Image::build(&images.join("pause.tar"), options).await?;
        let place = Place { address: network.control(), port: 6443, etcd_port: 2379, network: Some(network) };
        for node in 1..=nodes {
            Settings { folder: &folder, authority: &authority, place, network, node }.write()?;
            define_node(&supervisor, programs, node)?;
        }
        let control_plane = ControlPlane::start_in(supervisor, programs, &authority, place).await?;
        let cluster = Self { control_plane, folder, network, nodes };
        cluster.start_programs().await.with_context(|| cluster.logs())?;
        Ok(cluster)
    }

    async fn start_programs(&self) -> Result<()> {
        let supervisor = self.supervisor()?;
        for program in [SCHEDULER, DNS] {
            supervisor.tell(Verb::Start, program).await?;
        }
        for node in 1..=self.nodes {
            supervisor.tell(Verb::Start, &format!("node{node}")).await?;
        }
        objects::create(&self.client().await?, self.network, self.nodes, &self.folder).await?;
        try_join_all((1..=self.nodes).map(|node| self.node_ready(node))).await.map(drop)
    }

    /// A cluster that was started by this harness and runs, by its folder.
    pub async fn of_folder(folder: &Path) -> Result<Self, StartError> {
        Self::given(&folder.join("kubeconfig"), 1).await
    }

    async fn given(kubeconfig: &Path, nodes: usize) -> Result<Self, StartError> {
        let folder = kubeconfig.parent().unwrap_or(Path::new(".")).to_owned();
        let text = std::fs::read_to_string(folder.join(DESCRIPTION)).map_err(|_| {
            let name = kubeconfig.display();
            StartError::Missing(vec![format!(
                "nodes that this harness started: KUBECONFIG names {name}, of somebody else"
            )])
        })?;
        let there: usize = text.trim().parse().context("the number of nodes")?;
        if there < nodes {
            let lack = format!("{nodes} nodes: KUBECONFIG names a cluster of {there}");
            return Err(StartError::Missing(vec![lack]));
        }
        let network = Network::new(Supervisor::attach(folder.clone()).number()?);
        Ok(Self { control_plane: ControlPlane::given(kubeconfig.to_owned()).await?, folder, network, nodes: there })
    }

    /// How many nodes there are; they are called `node1` and so on.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The address by which pods reach what listens on this machine.
    pub fn machine_address(&self) -> std::net::Ipv4Addr {
        self.network.machine()
    }

    /// Where a node's files lie on this machine: `kubelet`, `pods`, `volumes`, and the logs of its programs.
    pub fn node_directory(&self, node: usize) -> PathBuf {
        self.folder.join(format!("node{node}"))
    }

    /// What is `/var/log/pods` on the node.
    pub fn node_log_directory(&self, node: usize) -> PathBuf {
        self.node_directory(node).join("pods")
    }

    /// Loads an image into every node. Pods that use it say `imagePullPolicy: Never` or `IfNotPresent`.
    pub async fn load_image(&self, archive: &Path) -> Result<()> {
        try_join_all((1..=self.nodes).map(|node| self.load_into(node, archive))).await.map(drop)
    }

    async fn load_into(&self, node: usize, archive: &Path) -> Result<()> {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.node_directory(node).join("containerd.sock"));
        let output = command.args(["--namespace", "k8s.io", "images", "import"]).arg(archive).output().await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "node{node} does not load {}: {}", archive.display(), errors.trim());
        Ok(())
    }

    /// Kills everything on a node and unplugs it, as a loss of power does. The control plane takes 15 s to believe it.
    pub async fn kill_node(&self, node: usize) -> Result<()> {
        self.unplug_node(node).await?;
        self.supervisor()?.tell(Verb::Stop, &format!("node{node}")).await
    }

    /// Starts a killed node again, with the disk that it had, and waits until it is ready.
    pub async fn start_node(&self, node: usize) -> Result<()> {
        self.plug_node(node).await?;
        self.supervisor()?.tell(Verb::Start, &format!("node{node}")).await?;
        self.node_ready(node).await
    }

    /// Takes a node's network away: nothing is refused, nothing arrives.
    pub async fn unplug_node(&self, node: usize) -> Result<()> {
        self.supervisor()?.tell(Verb::Run, &format!("node{node}-unplug")).await
    }

    /// Gives a node's network back.
    pub async fn plug_node(&self, node: usize) -> Result<()> {
        self.supervisor()?.tell(Verb::Run, &format!("node{node}-plug")).await
    }

    /// Lets it live on when this process ends.
    pub async fn detach(self) -> Result<PathBuf> {
        self.control_plane.detach().await
    }

    /// Waits until the node says that it runs pods, and that since it was started last.
    async fn node_ready(&self, node: usize) -> Result<()> {
        let name = format!("node{node}");
        let nodes = Api::<Node>::all(self.client().await?);
        let look = async || nodes.get_opt(&name).await.ok().flatten().filter(is_ready);
        wait_until(&format!("{name} is ready"), READY_LIMIT, look).await.map(drop)
    }

    fn logs(&self) -> String {
        self.supervisor().map(Supervisor::log_ends).unwrap_or_default()
    }
}

impl Deref for Cluster {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.control_plane
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    ready.any(|condition| condition.status == "True")
}

fn define_node(supervisor: &Supervisor, programs: &Path, node: usize) -> Result<()> {
    let name = format!("node{node}");
    let folder = supervisor.folder().join(&name).display().to_string();
    let group = format!("/telemetry-cluster/nodes-{}/{name}", supervisor.number()?);
    let programs = programs.display().to_string();
    supervisor.define(&name, &[SCRIPT.to_owned(), folder, name.clone(), programs, group])?;
    for (verb, state) in [("unplug", "down"), ("plug", "up")] {
        let command = ["ip", "-n", "control", "link", "set", &name, state].map(str::to_owned);
        supervisor.define(&format!("{name}-{verb}"), &command)?;
    }
    Ok(())
}

/// The files that configure a node's programs.
struct Settings<'s> {
    folder: &'s Path,
    authority: &'s Authority,
    place: Place,
    network: Network,
    node: usize,
}

impl Settings<'_> {
    fn write(&self) -> Result<()> {
        let name = format!("node{}", self.node);
        let folder = self.folder.join(&name);
        std::fs::create_dir_all(folder.join("cni"))?;
        let address = self.network.node(self.node);
        let user = format!("system:node:{name}");
        let subject = Subject { user: &user, group: Some("system:nodes") };
        self.authority.sign(&name, subject, &[name.clone(), address.to_string()])?;
        self.authority.kubeconfig(&folder.join("kubeconfig"), subject, (self.place.address, self.place.port))?;
        let write = |file: &str, text: String| {
            let path = folder.join(file);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("address", address.to_string())?;
        write("resolv.conf", format!("search {DOMAIN}\n"))?;
        write("containerd.toml", containerd(&folder))?;
        write("cni/10-pods.conflist", self.pod_network().to_string())?;
        write("kubelet.json", self.kubelet(&folder, &name).to_string())?;
        write("proxy.json", self.service_proxy(&name).to_string())
    }

    /// A cable of its own for every pod, and routes: what goes to a Service passes the node's rules in either direction.
    fn pod_network(&self) -> Value {
        let addresses = json!({
            "type": "host-local",
            "ranges": [[{ "subnet": self.network.pods(self.node) }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        });
        json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                { "type": "ptp", "ipMasq": false, "ipam": addresses },
                { "type": "portmap", "capabilities": { "portMappings": true } },
            ],
        })
    }

    fn kubelet(&self, folder: &Path, name: &str) -> Value {
        let path = |file: String| self.authority.path(&file);
        let number = self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": path("authority.crt".to_owned()) },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": path(format!("{name}.crt")),
            "tlsPrivateKeyFile": path(format!("{name}.key")),
            "containerRuntimeEndpoint": format!("unix://{}", folder.join("containerd.sock").display()),
            "volumePluginDir": folder.join("volume-plugins"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/telemetry-cluster/{number}/{name}"),
            "kubeletCgroups": format!("/telemetry-cluster/{number}/{name}/kubelet"),
            "clusterDomain": DOMAIN,
            "clusterDNS": [self.network.dns_service()],
            "resolvConf": folder.join("resolv.conf"),
            // What a machine for tests may have: swap, version 1 of control groups, a full disk, no right to be spared.
            "failSwapOn": false,
            "failCgroupV1": false,
            "oomScoreAdj": 0,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
            "nodeStatusUpdateFrequency": "5s",
            "nodeLeaseDurationSeconds": 10,
            "syncFrequency": "10s",
            // Logs rotate so often that tests meet it.
            "containerLogMaxSize": "1Mi",
            "containerLogMonitorInterval": "3s",
        })
    }

    fn service_proxy(&self, name: &str) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": self.network.all_pods(),
            "hostnameOverride": name,
            "clientConnection": { "kubeconfig": self.folder.join("proxy.kubeconfig") },
            // Limits of the whole machine are not a node's to change.
            "conntrack": { "maxPerCore": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s" },
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
        })
    }
}

fn containerd(folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    format!(
        r#"version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = "{socket}"

[debug]
level = "warn"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Root of a container may lack the right to make a process less likely to be killed than others.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{cni}"
"#,
        root = path("containerd"),
        socket = path("containerd.sock"),
        plugins = programs::NETWORK_PLUGINS,
        cni = path("cni"),
    )
}
