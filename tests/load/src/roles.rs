//! The processes of a measurement that are this program: sink, generator, null hop, and a churn of pods in its own network.
//! Each is a process of its own, so that the figures of the peer are the peer's only. A role obeys
//! lines on its standard input, answers each with a line of JSON, and ends with its parent.

use std::{
    io::{BufRead, BufReader, Write, stdin, stdout},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, TryRecvError},
};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::runtime::Builder;

use crate::{
    churn,
    counting_sink::{self, CountingSink},
    generator::{self, Generator},
    log_writer::{self, LogWriter},
    null_hop,
};

/// Makes a network of loopback in which the addresses of `$0` are there, and starts the rest of the arguments.
const NETWORK_SCRIPT: &str = r#"ip link set lo up && ip route add local "$0" dev lo && exec "$@""#;

/// What a process is in a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// [`counting_sink`]; prints its address, then [`counting_sink::Received`] for each line.
    Sink,
    /// [`generator`]; knows the lines of [`Order`].
    Generator,
    /// [`null_hop`]; prints nothing.
    NullHop,
    /// [`counting_sink`] that notes numbers; prints its address, then a [`Tally`](crate::numbers::Tally) for each line that
    /// says how many lines were written to each file.
    NotingSink,
    /// [`log_writer`]; begins at once, and knows the lines of [`log_writer::Order`].
    LogWriter,
    /// [`churn`]; prints [`churn::Outcome`] at its end.
    Churn,
}

impl Role {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::Sink => "sink",
            Role::Generator => "generator",
            Role::NullHop => "null-hop",
            Role::NotingSink => "noting-sink",
            Role::LogWriter => "log-writer",
            Role::Churn => "churn",
        }
    }
}

/// What a generator does on a line of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Send invalid requests, which must be refused.
    CheckRefusals,
    /// Send one request on every connection.
    WarmUp,
    /// Run the load; a generator runs one.
    Run,
}

/// Plays `role` with the JSON `spec` until the parent ends it.
///
/// # Errors
/// When the spec is not one of this role, or a socket cannot be had.
pub fn play(role: Role, spec: &str) -> Result<()> {
    match role {
        Role::Sink => play_sink(serde_json::from_str(spec)?),
        Role::Generator => play_generator(serde_json::from_str(spec)?),
        Role::NullHop => play_null_hop(serde_json::from_str(spec)?),
        Role::NotingSink => play_noting_sink(serde_json::from_str(spec)?),
        Role::LogWriter => play_log_writer(serde_json::from_str(spec)?),
        Role::Churn => play_churn(&serde_json::from_str(spec)?),
    }
}

fn play_sink(spec: counting_sink::Spec) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let sink = runtime.block_on(CountingSink::start(spec))?;
    answer(&Ok(sink.address))?;
    std::thread::spawn(move || {
        for _ in stdin().lines().map_while(Result::ok) {
            if answer(&Ok(sink.received())).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    runtime.block_on(std::future::pending())
}

fn play_noting_sink(spec: counting_sink::Spec) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let sink = runtime.block_on(CountingSink::start_noting(spec))?;
    answer(&Ok(sink.address))?;
    std::thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            let tally = serde_json::from_str::<Vec<u64>>(&line).map(|written| sink.tally(&written));
            if answer(&tally.map_err(|error| error.to_string())).is_err() {
                break;
            }
        }
        std::process::exit(0);
    });
    runtime.block_on(std::future::pending())
}

fn play_log_writer(spec: log_writer::Spec) -> Result<()> {
    let mut writer = LogWriter::new(spec)?;
    let (orders, heard) = mpsc::channel::<log_writer::Order>();
    std::thread::spawn(move || {
        let lines = stdin().lines().map_while(Result::ok);
        let understood = lines.map_while(|line| serde_json::from_str(&line).ok());
        // The end of the input ends the writer.
        // An error means that the writer has ended.
        understood.for_each(|order| orders.send(order).unwrap_or_default());
    });
    let begin = std::time::Instant::now();
    let mut is_stopped = false;
    log_writer::write_until(&mut writer, begin, |written| {
        loop {
            match heard.try_recv() {
                Ok(order) => {
                    is_stopped |= order == log_writer::Order::Stop;
                    let told = log_writer::Written { is_over: written.is_over || is_stopped, ..written.clone() };
                    is_stopped |= answer(&Ok(told)).is_err();
                }
                Err(TryRecvError::Empty) => return is_stopped,
                // The parent has ended.
                Err(TryRecvError::Disconnected) => return true,
            }
        }
    })?;
    let written = log_writer::Written { is_over: true, ..writer.written().clone() };
    for _ in heard {
        answer(&Ok(written.clone()))?;
    }
    Ok(())
}

fn play_generator(spec: generator::Spec) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut generator = match runtime.block_on(Generator::prepare(spec)) {
        Ok(prepared) => {
            answer(&Ok(()))?;
            Some(prepared)
        }
        Err(error) => return answer::<()>(&Err(format!("{error:#}"))),
    };
    for line in stdin().lines() {
        match serde_json::from_str(&line?)? {
            Order::CheckRefusals => {
                let prepared = generator.as_ref().context("the generator has run")?;
                answer(&in_words(runtime.block_on(prepared.check_refusals())))?;
            }
            Order::WarmUp => {
                let prepared = generator.as_ref().context("the generator has run")?;
                answer(&in_words(runtime.block_on(prepared.warm_up())))?;
            }
            Order::Run => {
                let prepared = generator.take().context("the generator has run")?;
                answer(&in_words(runtime.block_on(prepared.run())))?;
            }
        }
    }
    Ok(())
}

fn play_null_hop(spec: null_hop::Spec) -> Result<()> {
    std::thread::spawn(|| {
        stdin().lines().for_each(drop);
        std::process::exit(0);
    });
    Builder::new_multi_thread().enable_all().build()?.block_on(null_hop::serve(spec))
}

fn play_churn(spec: &churn::Spec) -> Result<()> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    answer(&in_words(runtime.block_on(churn::play(spec))))
}

fn in_words<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{error:#}"))
}

fn answer<T: Serialize>(result: &Result<T, String>) -> Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer(&mut out, result)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// The parent's end of a role; the process ends when this is dropped.
#[derive(Debug)]
pub struct Actor {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    role: Role,
}

impl Actor {
    /// Starts this program in `role`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(role: Role, spec: &impl Serialize) -> Result<Actor> {
        Actor::start_by(Command::new(std::env::current_exe()?), role, spec)
    }

    /// Starts this program in `role`, in a network of its own: it has loopback, where all addresses of `network` are its own
    /// besides the usual ones, and nothing else. Needs root, or a kernel that lets everybody make namespaces.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_in_network(role: Role, spec: &impl Serialize, network: &str) -> Result<Actor> {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "sh", "-c", NETWORK_SCRIPT, network]).arg(std::env::current_exe()?);
        Actor::start_by(command, role, spec)
    }

    /// Starts a command that ends in this program.
    fn start_by(mut command: Command, role: Role, spec: &impl Serialize) -> Result<Actor> {
        let mut process = command
            .args(["role", role.name(), &serde_json::to_string(spec)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start a {}", role.name()))?;
        let orders = process.stdin.take().context("standard input is piped")?;
        let answers = BufReader::new(process.stdout.take().context("standard output is piped")?);
        Ok(Actor { process, orders, answers, role })
    }

    /// Gives an order and waits for its answer.
    ///
    /// # Errors
    /// What the role reports, or that it has ended.
    pub fn ask<T: DeserializeOwned>(&mut self, order: &impl Serialize) -> Result<T> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        self.orders.write_all(line.as_bytes())?;
        self.hear()
    }

    /// Waits for the next answer.
    ///
    /// # Errors
    /// What the role reports, or that it has ended.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let result: Result<T, String> =
            serde_json::from_str(&line).with_context(|| format!("the {} ended without an answer", self.role.name()))?;
        result.map_err(|reason| anyhow!("{}: {reason}", self.role.name()))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
