//! The program under test: starts it between two addresses, waits until it listens, reads its figures, stops it.

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::{
    frames::Frames,
    hop::Hop,
    null_hop,
    process::Usage,
    roles::{Actor, Role},
};

/// How long a program may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a state is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A program that stands between generator and sink.
#[derive(Debug, Clone)]
pub enum Program {
    /// A binary with the engine's command line.
    Engine(PathBuf),
    /// The null hop.
    NullHop,
    /// A shell command with `{listen}` and `{endpoint}` for the two addresses.
    Command(String),
}

impl Program {
    /// What the reports call it.
    pub fn name(&self) -> &'static str {
        match self {
            Program::Engine(_) => "engine",
            Program::NullHop => "null hop",
            Program::Command(_) => "peer",
        }
    }
}

/// What a peer is started with.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// What it does with the requests; of this the null hop only compresses.
    pub hop: &'a Hop,
    /// What the null hop advertises to its clients.
    pub frames: Frames,
    /// Where it sends to.
    pub endpoint: SocketAddr,
    /// Cores that it may run on, as `taskset -c` takes them; all where missing.
    pub cores: Option<&'a str>,
}

/// A running program.
#[derive(Debug)]
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
    /// Holds configuration and output.
    directory: TempDir,
}

#[derive(Debug)]
enum Process {
    Role(Actor),
    Program(Child),
}

impl Peer {
    /// Starts a program and waits until it accepts connections.
    ///
    /// # Errors
    /// When it ends or does not listen in time, with the end of its output.
    pub fn start(program: &Program, setting: &Setting<'_>) -> Result<Peer> {
        let address = free_address()?;
        let directory = TempDir::with_prefix("bars-")?;
        let process = match program {
            Program::NullHop => {
                let spec = null_hop::Spec {
                    listen: address,
                    endpoint: setting.endpoint,
                    frames: setting.frames,
                    compression: setting.hop.compression,
                };
                Process::Role(Actor::start(Role::NullHop, &spec)?)
            }
            Program::Engine(binary) => {
                let command = on_cores(binary.as_os_str(), setting.cores);
                return Peer::configured(command, &setting.hop.toml(address, setting.endpoint), address);
            }
            Program::Command(template) => {
                let line = template
                    .replace("{listen}", &address.to_string())
                    .replace("{endpoint}", &setting.endpoint.to_string());
                let mut command = on_cores("sh".as_ref(), setting.cores);
                // exec, so that the figures are the program's and not the shell's.
                command.arg("-c").arg(format!("exec {line}"));
                Process::Program(spawn(command, &directory)?)
            }
        };
        let mut peer = Peer { address, process, directory };
        peer.wait_until_listening()?;
        Ok(peer)
    }

    /// Starts a command that ends in a binary with the engine's command line, with this configuration, and waits until it
    /// accepts connections at `address`.
    ///
    /// # Errors
    /// When it ends or does not listen in time, with the end of its output.
    pub fn configured(mut command: Command, configuration: &str, address: SocketAddr) -> Result<Peer> {
        let directory = TempDir::with_prefix("bars-")?;
        let file = directory.path().join("engine.toml");
        std::fs::write(&file, configuration)?;
        command.args(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
        Peer::in_directory(command, directory, address)
    }

    /// Starts a command that is complete, and waits until it accepts connections at `address`.
    ///
    /// # Errors
    /// When it ends or does not listen in time, with the end of its output.
    pub fn of(command: Command, address: SocketAddr) -> Result<Peer> {
        Peer::in_directory(command, TempDir::with_prefix("bars-")?, address)
    }

    fn in_directory(command: Command, directory: TempDir, address: SocketAddr) -> Result<Peer> {
        let mut peer = Peer { address, process: Process::Program(spawn(command, &directory)?), directory };
        peer.wait_until_listening()?;
        Ok(peer)
    }

    /// Replaces the configuration that it was started with; it is read when the program is asked to.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, configuration: &str) -> Result<()> {
        let unfinished = self.directory.path().join("unfinished");
        std::fs::write(&unfinished, configuration)?;
        Ok(std::fs::rename(unfinished, self.directory.path().join("engine.toml"))?)
    }

    /// Its figures now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(match &self.process {
            Process::Role(actor) => actor.id(),
            Process::Program(child) => child.id(),
        })
        .with_context(|| format!("the program has ended: {}", self.output()))
    }

    /// Kills it, without a word before.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(mut self) -> Result<()> {
        let output = self.output();
        let Process::Program(child) = &mut self.process else { bail!("a role ends with its parent") };
        ensure!(child.try_wait()?.is_none(), "the program has ended: {output}");
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Process::Program(child) = &mut self.process
                && let Some(status) = child.try_wait()?
            {
                bail!("the program ended with {status}: {}", self.output());
            }
            ensure!(
                start.elapsed() < START_TIMEOUT,
                "the program does not listen on {}: {}",
                self.address,
                self.output()
            );
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The last lines that the program has printed.
    fn output(&self) -> String {
        let text = std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Process::Program(child) = &mut self.process else {
            return;
        };
        let id = rustix::process::Pid::from_child(child);
        // An error means that it has ended by itself, which the loop sees at once.
        rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
        let start = Instant::now();
        while start.elapsed() < STOP_TIMEOUT {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        drop(child.kill());
        drop(child.wait());
    }
}

fn on_cores(program: &std::ffi::OsStr, cores: Option<&str>) -> Command {
    let Some(cores) = cores else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

fn spawn(mut command: Command, directory: &TempDir) -> Result<Child> {
    let output = File::create(directory.path().join("output"))?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// A loopback address whose port was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
