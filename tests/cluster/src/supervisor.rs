//! The process that keeps a cluster's programs, seen from here: `scripts/supervise` is the other side.
//!
//! A cluster ends with whoever started it, because the supervisor's standard input ends then, even if nothing here can
//! run any more; a detached one ends by [`end_detached`].

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wait_until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scripts/supervise");

/// How long the supervisor may take to obey.
const LIMIT: Duration = Duration::from_secs(60);

/// The file whose presence says that a cluster outlives whoever started it.
const DETACHED: &str = "detached";

/// What a cluster consists of, by which its folder is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ControlPlane,
    Nodes,
}

/// What a supervisor is told to do with one program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Start,
    Run,
    Stop,
    Pause,
    Resume,
}

/// One cluster's supervisor.
pub(crate) struct Supervisor {
    folder: PathBuf,
    /// None where somebody else started it.
    process: Option<Child>,
}

/// The folder that holds the files of all clusters of this user: `TELEMETRY_CLUSTER_DIRECTORY`, or one in `/tmp`.
pub fn base_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("TELEMETRY_CLUSTER_DIRECTORY") {
        return PathBuf::from(directory);
    }
    // Not $HOME: the paths of Unix sockets must be short. The user's number keeps users apart.
    let user = Command::new("id").arg("-u").output().map(|output| output.stdout).unwrap_or_default();
    PathBuf::from(format!("/tmp/telemetry-engine-clusters-{}", String::from_utf8_lossy(&user).trim()))
}

/// The folders of clusters that run on their own, each with a `kubeconfig`.
pub fn detached_clusters() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base_directory()).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.join(DETACHED).exists()).collect();
    folders.sort();
    folders
}

/// Ends a cluster that runs on its own, and returns when nothing of it is left.
pub async fn end_detached(folder: &Path) -> Result<()> {
    let lock =
        std::fs::File::open(folder.join("lock")).with_context(|| format!("no cluster in {}", folder.display()))?;
    if lock.try_lock_shared().is_ok() {
        bail!("the cluster in {} is not running; what it left is cleared by the next start", folder.display());
    }
    write_line(folder, "0 end -")?;
    wait_until("the cluster ends", LIMIT, async || lock.try_lock_shared().ok()).await
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Nodes => "nodes",
        }
    }
}

impl Supervisor {
    /// Starts one, with a folder of its own in `base`.
    pub(crate) fn start(kind: Kind, base: &Path) -> Result<Self> {
        for hidden in ["/run", "/var/lib", "/var/log"] {
            ensure!(
                !base.starts_with(hidden),
                "a node cannot see {}: choose a folder outside {hidden}",
                base.display()
            );
        }
        // In a session of its own: what a terminal sends to the tests must not kill it before it has cleared up.
        let mut process = Command::new("setsid")
            .args([Path::new(SCRIPT), base, Path::new(kind.name())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the supervisor")?;
        let mut folder = String::new();
        let output = process.stdout.take().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut folder).context("cannot read from the supervisor")?;
        if folder.is_empty() {
            let output = process.wait_with_output()?;
            bail!("the supervisor: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self { folder: PathBuf::from(folder.trim()), process: Some(process) })
    }

    /// One that runs already.
    pub(crate) fn attach(folder: PathBuf) -> Self {
        Self { folder, process: None }
    }

    /// Where the cluster's files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// By which number this cluster differs from the others of its kind.
    pub(crate) fn number(&self) -> Result<u8> {
        let name = self.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.rsplit('-').next().unwrap_or_default();
        number.parse().with_context(|| format!("the cluster's folder has no number: {}", self.folder.display()))
    }

    /// Says which command `name` stands for.
    pub(crate) fn define(&self, name: &str, command: &[String]) -> Result<()> {
        let words: Vec<String> = command.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
        let path = self.folder.join("commands").join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexec {}\n", words.join(" ")))
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Has the supervisor do something, and returns when it is done.
    pub(crate) async fn tell(&self, verb: Verb, name: &str) -> Result<()> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let order = match verb {
            Verb::Start => format!("start {name}"),
            Verb::Run => format!("run {name}"),
            Verb::Stop => format!("stop {name}"),
            Verb::Pause => format!("signal {name} STOP"),
            Verb::Resume => format!("signal {name} CONT"),
        };
        write_line(&self.folder, &format!("{id} {order}"))?;
        let answers = self.folder.join("answers");
        let what = format!("the supervisor does `{order}`");
        let status = wait_until(&what, LIMIT, async || {
            let text = std::fs::read_to_string(&answers).unwrap_or_default();
            text.lines().find_map(|line| Some(line.strip_prefix(&id)?.strip_prefix(' ')?.to_owned()))
        })
        .await?;
        ensure!(status == "0", "`{order}` ended with {status}:\n{}", self.log_end(name));
        Ok(())
    }

    /// The last lines that a program has written.
    pub(crate) fn log_end(&self, name: &str) -> String {
        log_end(&self.folder.join("log").join(name))
    }

    /// The last lines of every program, for the error of a cluster that does not start.
    pub(crate) fn log_ends(&self) -> String {
        let nodes = (1..=9).map(|node| self.folder.join(format!("node{node}")));
        let mut found = String::new();
        for folder in nodes.chain([self.folder.join("log")]) {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let is_log = |path: &PathBuf| {
                path.is_file()
                    && (path.starts_with(self.folder.join("log"))
                        || path.extension().is_some_and(|extension| extension == "log"))
            };
            for path in entries.filter(is_log) {
                let name = path.strip_prefix(&self.folder).unwrap_or(&path).display();
                found.push_str(&format!("--- {name}\n{}\n", log_end(&path)));
            }
        }
        found
    }

    /// Lets the cluster live on when this process ends.
    pub(crate) async fn detach(mut self) -> Result<()> {
        let folder = self.folder.clone();
        std::fs::write(folder.join(DETACHED), "")?;
        write_line(&folder, "detach detach -")?;
        wait_until("the supervisor lets go", LIMIT, async || {
            let text = std::fs::read_to_string(folder.join("answers")).unwrap_or_default();
            text.lines().any(|line| line == "detach 0").then_some(())
        })
        .await?;
        self.process = None;
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        drop(process.stdin.take());
        // Until nothing is left. That it cannot be waited for has no reader here.
        process.wait().ok();
    }
}

fn log_end(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

fn write_line(folder: &Path, line: &str) -> Result<()> {
    let path = folder.join("control");
    // For reading as well: opening a pipe that nobody reads would block for ever.
    let mut pipe = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("no cluster is running in {}", folder.display()))?;
    pipe.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("cannot write to {}", path.display()))
}
