//! Nothing of a cluster is left, however it ends. Each is in a base directory of its own, where nobody takes its place.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use cluster::{ControlPlane, or_skip, wait_until};

use crate::{LIMIT, folder_of, processes_of};

/// A command that holds a control plane, in a base directory of its own.
struct Holder {
    process: Child,
    // Open as long as it may print.
    _output: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Holder {
    fn start(base: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_cluster"))
            .args(["up", "--nodes", "0", "--foreground"])
            .env("TELEMETRY_CLUSTER_DIRECTORY", base)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = output.by_ref().map_while(Result::ok);
        let folder = lines.find_map(|line| line.strip_prefix("the cluster runs in ").map(PathBuf::from));
        Self { process, folder: folder.expect("it says where the cluster runs"), _output: output }
    }
}

async fn nothing_runs(folder: &Path) {
    let what = format!("no process of {} runs", folder.display());
    let ended = wait_until(&what, LIMIT, async || processes_of(folder).is_empty().then_some(())).await;
    ended.unwrap_or_else(|error| panic!("{error}: {:#?}", processes_of(folder)));
}

/// When a control plane is dropped, its processes and files are gone at once.
#[tokio::test]
async fn dropped_it_is_gone() {
    let base = tempfile::tempdir().unwrap();
    let Some(control_plane) = or_skip(ControlPlane::start_own_in(base.path()).await) else { return };
    let folder = folder_of(&control_plane);
    assert!(!processes_of(&folder).is_empty(), "this test cannot see processes");
    drop(control_plane);
    assert_eq!(processes_of(&folder), Vec::<String>::new());
    assert!(!folder.exists());
}

/// When the process that started a control plane is killed, so that none of its code can clear up, the cluster ends too.
#[tokio::test]
async fn killed_with_its_owner_it_is_gone() {
    if or_skip(ControlPlane::shared().await).is_none() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let mut holder = Holder::start(base.path());
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    nothing_runs(&holder.folder).await;
    wait_until("its files are gone", LIMIT, async || (!holder.folder.exists()).then_some(())).await.unwrap();
}

/// When even the supervisor is killed, its processes end with it, and the next cluster clears what it left.
#[tokio::test]
async fn the_next_one_clears_what_a_killed_supervisor_left() {
    if or_skip(ControlPlane::shared().await).is_none() {
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let mut holder = Holder::start(base.path());
    let supervisors = processes_of(base.path()).into_iter().filter(|process| process.contains("/scripts/supervise"));
    for supervisor in supervisors {
        let id = supervisor.split(' ').next().unwrap().to_owned();
        assert!(Command::new("kill").args(["-KILL", &id]).status().unwrap().success());
    }
    nothing_runs(&holder.folder).await;
    // Nobody was left to clear up.
    let mark = holder.folder.join("of the first");
    std::fs::write(&mark, "").unwrap();
    holder.process.kill().unwrap();
    holder.process.wait().unwrap();
    // The next in this folder: others may have its number meanwhile.
    let mut holders = Vec::new();
    while mark.exists() {
        assert!(holders.len() < 8, "the folder is never cleared");
        holders.push(Holder::start(base.path()));
    }
    for mut next in holders {
        next.process.kill().unwrap();
        next.process.wait().unwrap();
        nothing_runs(&next.folder).await;
    }
}
