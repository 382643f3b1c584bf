//! The command lines of a control plane's programs.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Result;

use crate::audit;
use crate::certificates::{Authority, Subject};
use crate::network::Network;
use crate::supervisor::Supervisor;

/// The API server's name to the supervisor, which is also the program's.
pub(crate) const API_SERVER: &str = "kube-apiserver";
pub(crate) const ETCD: &str = "etcd";
pub(crate) const CONTROLLERS: &str = "kube-controller-manager";
pub(crate) const SCHEDULER: &str = "kube-scheduler";
pub(crate) const DNS: &str = "coredns";

/// The cluster's domain.
pub(crate) const DOMAIN: &str = "cluster.local";

/// Where a control plane listens.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The API server's address; etcd is on loopback.
    pub(crate) address: Ipv4Addr,
    /// The API server's port.
    pub(crate) port: u16,
    /// Two ports for etcd, from this one on.
    pub(crate) etcd_port: u16,
    /// None where there are no nodes: then the programs run in this machine's own network.
    pub(crate) network: Option<Network>,
}

/// Tells the supervisor the commands of a control plane, and writes the files that they need.
pub(crate) struct ControlPrograms<'p> {
    pub(crate) supervisor: &'p Supervisor,
    pub(crate) programs: &'p Path,
    pub(crate) authority: &'p Authority,
    pub(crate) place: Place,
}

impl ControlPrograms<'_> {
    /// Defines them all.
    pub(crate) fn define(&self) -> Result<()> {
        self.certificates()?;
        self.define_one(ETCD, &self.etcd())?;
        self.define_one(API_SERVER, &self.api_server())?;
        self.define_one(CONTROLLERS, &self.controllers())?;
        if let Some(network) = self.place.network {
            self.define_one(SCHEDULER, &self.scheduler())?;
            std::fs::write(self.supervisor.folder().join("Corefile"), self.corefile(network))?;
            self.define_one(DNS, &[format!("-conf={}", self.file("Corefile"))])?;
        }
        Ok(())
    }

    fn certificates(&self) -> Result<()> {
        let Place { address, port, network, .. } = self.place;
        let service = network.map_or(Ipv4Addr::new(10, 96, 0, 1), Network::api_service);
        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1"];
        let mut names: Vec<String> = names.map(str::to_owned).to_vec();
        names.extend([format!("kubernetes.default.svc.{DOMAIN}"), service.to_string(), address.to_string()]);
        names.dedup();
        self.authority.sign("server", Subject { user: "kube-apiserver", group: None }, &names)?;
        let administrator = Subject { user: "administrator", group: Some("system:masters") };
        self.authority.sign("to-kubelets", administrator, &[])?;
        for (file, subject) in [
            ("kubeconfig", administrator),
            ("controllers.kubeconfig", Subject { user: "system:kube-controller-manager", group: None }),
            ("scheduler.kubeconfig", Subject { user: "system:kube-scheduler", group: None }),
            ("proxy.kubeconfig", Subject { user: "system:kube-proxy", group: None }),
        ] {
            self.authority.kubeconfig(&self.supervisor.folder().join(file), subject, (address, port))?;
        }
        Ok(())
    }

    fn define_one(&self, program: &str, arguments: &[String]) -> Result<()> {
        let mut command = Vec::new();
        if self.place.network.is_some() {
            command.extend(["nsenter".to_owned(), "--net=/run/netns/control".to_owned()]);
        }
        command.push(self.programs.join(program).display().to_string());
        command.extend_from_slice(arguments);
        self.supervisor.define(program, &command)
    }

    fn file(&self, name: &str) -> String {
        self.supervisor.folder().join(name).display().to_string()
    }

    fn etcd(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.place.etcd_port);
        let peer = format!("http://127.0.0.1:{}", self.place.etcd_port + 1);
        vec![
            format!("--data-dir={}", self.file("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--log-level=warn".to_owned(),
            // Its data live as long as its processes: a crash of the machine leaves nothing worth keeping.
            "--unsafe-no-fsync".to_owned(),
            // The most that etcd advises: a hundred thousand large pods are more than its default of 2 GiB.
            "--quota-backend-bytes=8589934592".to_owned(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let Place { address, port, etcd_port, network } = self.place;
        let services = network.map_or("10.96.0.0/16".to_owned(), Network::services);
        let path = |file| self.authority.path(file);
        let mut arguments = vec![
            format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
            format!("--bind-address={address}"),
            format!("--advertise-address={address}"),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", path("server.crt")),
            format!("--tls-private-key-file={}", path("server.key")),
            format!("--client-ca-file={}", path("authority.crt")),
            format!("--kubelet-certificate-authority={}", path("authority.crt")),
            format!("--kubelet-client-certificate={}", path("to-kubelets.crt")),
            format!("--kubelet-client-key={}", path("to-kubelets.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--service-account-key-file={}", path("accounts.pub")),
            format!("--service-account-signing-key-file={}", path("accounts.key")),
            format!("--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}"),
            format!("--service-cluster-ip-range={services}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
        ];
        if self.supervisor.folder().join(audit::POLICY).exists() {
            arguments.push(format!("--audit-policy-file={}", self.file(audit::POLICY)));
            arguments.push(format!("--audit-log-path={}", self.file(audit::LOG)));
        }
        arguments
    }

    fn controllers(&self) -> Vec<String> {
        let kubeconfig = self.file("controllers.kubeconfig");
        let path = |file| self.authority.path(file);
        let mut arguments = vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            format!("--root-ca-file={}", path("authority.crt")),
            format!("--service-account-private-key-file={}", path("accounts.key")),
            format!("--cluster-signing-cert-file={}", path("authority.crt")),
            format!("--cluster-signing-key-file={}", path("authority.key")),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            // By default they start one after the other at 20 requests a second, which takes longer than all the rest.
            "--kube-api-qps=1000".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            // Nobody scrapes it.
            "--secure-port=0".to_owned(),
        ];
        if self.place.network.is_some() {
            // A node that is gone is known to be gone in 15 s instead of 40.
            arguments.push("--node-monitor-grace-period=15s".to_owned());
            arguments.push("--node-monitor-period=2s".to_owned());
        }
        arguments
    }

    fn scheduler(&self) -> Vec<String> {
        let kubeconfig = self.file("scheduler.kubeconfig");
        vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
        ]
    }

    /// DNS for the cluster's own names; there is no other name that could be reached.
    fn corefile(&self, network: Network) -> String {
        let (address, kubeconfig) = (network.control(), self.file("kubeconfig"));
        format!(
            "{DOMAIN}:53 {{\n    bind {address}\n    errors\n    kubernetes {DOMAIN} {{\n        kubeconfig {kubeconfig} test\n    }}\n    cache 5\n}}\n\
             .:53 {{\n    bind {address}\n    template ANY ANY {{\n        rcode NXDOMAIN\n    }}\n}}\n"
        )
    }
}
