//! The system calls of the thread that writes an engine's buffer, watched by `strace`, which kills the engine at the one that it is
//! told to: a named point of a crash, without anything in the program that is tested. Or it has every call that changes a file fail, as
//! on a file system that has become read-only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::POLL;

/// Calls that change files, or their names, or make that last.
const CALLS: &str = "openat,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sync_file_range,ftruncate,fallocate,rename,renameat,\
                     renameat2,unlink,unlinkat,link,linkat";
/// Of these, those that fail on a volume that is read-only. Without `write`, by which threads wake each other, and `openat`, which
/// reads too.
const CHANGES: &str =
    "writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,link,linkat";
/// The name of the thread.
const THREAD: &str = "buffer";
/// How long the tracer may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The system call at which the engine is killed, before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its name.
    pub call: String,
    /// Which one of that name on this thread, from 1.
    pub number: usize,
    /// Only calls on these files count; on all where there are none.
    pub files: BTreeSet<String>,
}

/// What a tracer does besides looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inject {
    /// Kills the process at this point.
    Kill(Point),
    /// Has no call that changes a file done, for as long as it looks: each is answered as by a volume that is read-only.
    ReadOnly,
}

/// What is done to which kind of file. Two calls of which this is equal are the same kind of point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The name of the system call.
    pub name: String,
    /// The name of the file without its number.
    pub file: String,
    /// What else tells such calls apart.
    pub kind: &'static str,
}

/// Says whether there is a tracer.
///
/// # Errors
/// When there is none.
pub fn find() -> std::io::Result<()> {
    std::process::Command::new("strace").arg("-V").output().map(drop)
}

/// A running tracer.
pub struct Tracer {
    child: Child,
    log: PathBuf,
}

/// What a tracer saw.
pub struct Traced {
    /// Calls in turn.
    pub calls: Vec<Call>,
    /// The one that was not done any more, as the process was killed at it.
    pub killed_at: Option<Call>,
    /// How many calls were answered with an error in place of being done.
    pub failed: usize,
    /// The files of each kind of call.
    files: BTreeMap<Call, BTreeSet<String>>,
}

impl Tracer {
    /// Watches the thread of a process, and does something to its calls. Its log goes to a file in this folder.
    ///
    /// # Errors
    /// When there is no such thread, or no `strace`, or it may not.
    pub async fn attach(process: u32, folder: &Path, inject: Option<Inject>) -> Result<Self> {
        let thread = thread_of(process)?;
        let log = folder.join("calls");
        let mut command = Command::new("strace");
        command
            .args(["-q", "-y", "-s", "16", "-p", &thread.to_string(), "-e", &format!("trace={CALLS}"), "-o"])
            .arg(&log);
        match inject {
            None => {}
            Some(Inject::Kill(Point { call, number, files })) => {
                for file in &files {
                    command.args(["-P", file]);
                }
                command.args(["-e", &format!("inject={call}:signal=KILL:when={number}")]);
            }
            Some(Inject::ReadOnly) => {
                command.args(["-e", &format!("inject={CHANGES}:error=EROFS")]);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start strace")?;
        let began = Instant::now();
        while !is_traced(process, thread) {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    // The process has come to its point already.
                    break;
                }
                bail!("strace ended with {status}: it cannot watch thread {thread} of {process}");
            }
            ensure!(began.elapsed() < PATIENCE, "strace does not watch thread {thread} of {process}");
            sleep(POLL / 5).await;
        }
        Ok(Self { child, log })
    }

    /// Takes it away, if the process has not ended; says what it saw.
    ///
    /// # Errors
    /// When it does not end, or has written nothing.
    pub async fn end(mut self) -> Result<Traced> {
        if let Some(id) = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            // It may just have ended with the process.
            kill_process(id, Signal::TERM).ok();
        }
        timeout(PATIENCE, self.child.wait()).await.context("strace does not end")??;
        let text = std::fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(Traced::of(&String::from_utf8_lossy(&text)))
    }
}

impl Traced {
    fn of(text: &str) -> Self {
        let is_killed = text.contains("+++ killed by SIGKILL +++");
        let lines = || text.lines().filter_map(|line| Some((line, Call::of(line)?)));
        // strace does not know what came of a call that was not done.
        let last = lines().next_back().filter(|(line, _)| is_killed && line.contains("= ?"));
        let mut files: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (_, (call, path)) in lines() {
            files.entry(call).or_default().insert(path.to_owned());
        }
        let calls = lines().map(|(_, (call, _))| call).collect();
        let failed = text.lines().filter(|line| line.ends_with("(INJECTED)")).count();
        Self { calls, killed_at: last.map(|(_, (call, _))| call), failed, files }
    }

    /// Where in its own sequence of calls each call of a kind was made. Segments have other names each time: a call on
    /// one is found among all of its name, as often as it was made here before it.
    pub fn points(&self, wanted: &Call) -> Vec<Point> {
        let of_one = !wanted.file.starts_with('.');
        let same = self.calls.iter().filter(|call| call.name == wanted.name && (!of_one || call.file == wanted.file));
        let numbered = same.enumerate().filter(|(_, call)| *call == wanted);
        let files = if of_one { self.alike(wanted) } else { BTreeSet::new() };
        numbered.map(|(at, call)| Point { call: call.name.clone(), number: at + 1, files: files.clone() }).collect()
    }

    /// The files of a kind of call, and those beside them that differ by their number only: another run may use those.
    fn alike(&self, call: &Call) -> BTreeSet<String> {
        let mut files = self.files.get(call).cloned().unwrap_or_default();
        for folder in files.clone().iter().filter_map(|file| Path::new(file).parent()) {
            let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let alike = names.filter_map(|path| path.to_str().map(str::to_owned));
            files.extend(alike.filter(|path| path.rsplit('/').next().map(without_number) == Some(&call.file)));
        }
        files
    }
}

impl Call {
    /// That of a line of strace, and the path of its file.
    fn of(line: &str) -> Option<(Self, &str)> {
        let (name, rest) = line.split_once('(')?;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return None;
        }
        let by_name =
            ["openat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat"].contains(&name);
        let (open, close) = if by_name { ("\"", '"') } else { ("<", '>') };
        let (path, _) = rest.split_once(open)?.1.split_once(close)?;
        let file = without_number(path.rsplit('/').next()?);
        // What is no file is the runtime's own.
        if file.contains(':') {
            return None;
        }
        let kind = match name {
            "openat" if rest.contains("O_CREAT") => "to make it",
            "openat" => "to use it",
            "writev" | "write" | "pwrite64" if rest.contains("\"TELEBUFS") => "its header",
            _ => "",
        };
        Some((Self { name: name.to_owned(), file: file.to_owned(), kind }, path))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, file, kind } = self;
        let pause = if kind.is_empty() { "" } else { " " };
        write!(formatter, "{name} {file}{pause}{kind}")
    }
}

fn without_number(name: &str) -> &str {
    name.trim_matches(|letter: char| letter.is_ascii_digit() || letter == '-')
}

fn thread_of(process: u32) -> Result<u32> {
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let path = entry?.path();
        if std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == THREAD) {
            return Ok(path.file_name().unwrap_or_default().to_string_lossy().parse()?);
        }
    }
    bail!("process {process} has no thread that is called {THREAD}")
}

fn is_traced(process: u32, thread: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")).is_some_and(|tracer| tracer.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
openat(AT_FDCWD</tmp>, \"/s/00012.segment\", O_RDWR|O_CREAT|O_EXCL|O_APPEND|O_CLOEXEC, 0600) = 7</s/00012.segment>
writev(7</s/00012.segment>, [{iov_base=\"TELEBUFS\\1\\0\\0\\0\"..., iov_len=40}], 1) = 40
fdatasync(7</s/00012.segment>) = 0
openat(AT_FDCWD</tmp>, \"/s/00012.segment\", O_RDONLY|O_CLOEXEC) = 8</s/00012.segment>
unlink(\"/s/00001.segment\") = ?
+++ killed by SIGKILL +++
";

    /// What strace writes is read: kinds of calls, which one of its name each is, and where the process was killed.
    #[test]
    fn a_log_of_strace_is_read() {
        let traced = Traced::of(LOG);
        let said: Vec<_> = traced.calls.iter().map(Call::to_string).collect();
        let expected = [
            "openat .segment to make it",
            "writev .segment its header",
            "fdatasync .segment",
            "openat .segment to use it",
            "unlink .segment",
        ];
        assert_eq!(said, expected);
        assert_eq!(
            traced.points(&traced.calls[3]),
            [Point { call: "openat".to_owned(), number: 2, files: BTreeSet::new() }]
        );
        assert_eq!(traced.killed_at.as_ref(), traced.calls.last());
        let alive = Traced::of(
            LOG.rsplit_once("+++ ").map_or("", |(all, _)| all.rsplit_once("+++ ").map_or("", |(all, _)| all)),
        );
        assert_eq!((alive.killed_at, alive.failed), (None, 0));
        let failing = "pwritev(7</s/00012.segment>, [{iov_base=\"T\", iov_len=1}], 1, 40) = -1 EROFS (Read-only file system) (INJECTED)";
        assert_eq!(Traced::of(failing).failed, 1);
    }
}
