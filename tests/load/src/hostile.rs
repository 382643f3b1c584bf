//! An engine under attack: a process with all its doors open, what the kernel and its own metrics say about it, and the
//! attacks. Whether it has held out is the bar's matter.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    admin::Admin,
    counting_sink,
    peer::{Peer, free_address},
    process::Usage,
    roles::{Actor, Role},
};

pub mod bodies;
pub mod crowd;
pub mod floods;
pub mod request;
pub mod slow;

/// Where control groups of memory (version 1) are.
const MEMORY_GROUPS: &str = "/sys/fs/cgroup/memory";
/// Bytes that may be charged when nothing is under way any more: a connection that is not quite closed.
const CONNECTIONS_ONLY: f64 = 4e6;
/// How long what the backend has yet to take may hold memory, and how often that is looked at.
const GIVEN_BACK: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// An engine with OTLP over gRPC and HTTP, an attribute set in every record, and a backend that takes everything.
#[derive(Debug)]
pub struct Victim {
    /// OTLP over gRPC.
    pub grpc: SocketAddr,
    /// OTLP over HTTP.
    pub http: SocketAddr,
    admin: Admin,
    peer: Peer,
    group: Option<Group>,
    _backend: Actor,
}

/// A control group that bounds the memory of its processes: who passes the bound is killed by the kernel.
#[derive(Debug)]
struct Group(PathBuf);

impl Victim {
    /// Starts an engine; `memory` bounds what the kernel lets it have, in bytes, and the engine finds out by itself.
    ///
    /// # Errors
    /// When it does not start, or this process may not make a control group.
    pub fn start(binary: &Path, memory: Option<u64>) -> Result<Victim> {
        let (grpc, http, admin) = (free_address()?, free_address()?, free_address()?);
        let mut backend = Actor::start(Role::Sink, &counting_sink::Spec::plain())?;
        let endpoint = backend.hear()?;
        let group = memory.map(Group::new).transpose()?;
        let command = match &group {
            Some(group) => group.command(binary),
            None => Command::new(binary),
        };
        let peer = Peer::configured(command, &configuration(grpc, http, admin, endpoint), grpc)?;
        Ok(Victim { grpc, http, admin: Admin(admin), peer, group, _backend: backend })
    }

    /// What the kernel says.
    ///
    /// # Errors
    /// When it has been killed.
    pub fn usage(&self) -> Result<Usage> {
        self.peer.usage()
    }

    /// The longest wait for a turn on any runtime of the engine in the last one to two minutes.
    ///
    /// # Errors
    /// When the engine does not say.
    pub fn longest_delay(&self) -> Result<Duration> {
        let values = self.admin.metric("telemetry_engine_runtime_longest_delay_seconds")?;
        let longest = values.into_iter().max_by(f64::total_cmp).context("the engine tells no delay")?;
        Ok(Duration::from_secs_f64(longest))
    }

    /// What requests in flight and held data are charged with.
    fn charged_bytes(&self) -> Result<f64> {
        Ok(self.admin.metric("telemetry_engine_admission_used_bytes")?.into_iter().sum())
    }

    /// The memory that the engine allows itself, in MiB.
    ///
    /// # Errors
    /// When the engine does not say.
    pub fn memory_limit_mib(&self) -> Result<f64> {
        Ok(self.admin.metric("telemetry_engine_memory_limit_bytes")?.into_iter().sum::<f64>() / f64::from(1 << 20))
    }

    /// Waits until what the answered requests held has been given back.
    ///
    /// # Errors
    /// When that takes longer than the backend needs to take it.
    pub fn wait_until_given_back(&self) -> Result<()> {
        let start = Instant::now();
        while self.charged_bytes()? > CONNECTIONS_ONLY {
            ensure!(start.elapsed() < GIVEN_BACK, "memory of answered requests is not given back");
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The most memory that the control group has counted, in MiB.
    ///
    /// # Errors
    /// When there is none.
    pub fn peak_of_group(&self) -> Result<f64> {
        let group = self.group.as_ref().context("the engine is in no control group")?;
        let text = std::fs::read_to_string(group.0.join("memory.max_usage_in_bytes"))?;
        Ok(text.trim().parse::<f64>()? / f64::from(1 << 20))
    }
}

fn configuration(grpc: SocketAddr, http: SocketAddr, admin: SocketAddr, endpoint: SocketAddr) -> String {
    format!(
        r#"version = 1

[admin]
listen = "{admin}"

[sources.in]
type = "otlp"
grpc.listen = "{grpc}"
http.listen = "{http}"

[transforms.step]
type = "attributes"
inputs = ["in"]
record.upsert = {{ "deployment.environment.name" = "production" }}

[sinks.out]
type = "otlp"
inputs = ["step"]
endpoint = "http://{endpoint}"
"#
    )
}

impl Group {
    fn new(bytes: u64) -> Result<Group> {
        let path = Path::new(MEMORY_GROUPS).join(format!("bars-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make the control group {}", path.display()))?;
        let group = Group(path);
        std::fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string())?;
        Ok(group)
    }

    /// The program, in this group from its first instruction.
    fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(self.0.join("cgroup.procs")).arg(binary);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel keeps a group whose last process has not quite gone; the next start has another name.
        std::fs::remove_dir(&self.0).ok();
    }
}
