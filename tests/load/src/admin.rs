//! The administration server of an engine, asked from outside: readiness, metrics and the counts of components.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How every successful answer begins.
const SUCCESS: &str = "HTTP/1.1 200";

/// Where an engine's administration server listens.
#[derive(Debug, Clone, Copy)]
pub struct Admin(pub SocketAddr);

impl Admin {
    /// Whether `/readyz` says yes. An engine that does not listen yet is not ready.
    pub fn is_ready(&self) -> bool {
        self.ask("/readyz").is_ok_and(|answer| answer.starts_with(SUCCESS))
    }

    /// The values of all series of a metric.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn metric(&self, name: &str) -> Result<Vec<f64>> {
        let text = self.get("/metrics").context("the administration server does not answer")?;
        let series =
            text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with([' ', '{']));
        series.map(|rest| Ok(rest.rsplit(' ').next().context("a series has a value")?.parse()?)).collect()
    }

    /// Has the configuration read again.
    ///
    /// # Errors
    /// When it is refused, with the reason.
    pub fn reload(&self) -> Result<()> {
        let answer = self.request("POST", "/reload")?;
        ensure!(answer.starts_with(SUCCESS), "{answer}");
        Ok(())
    }

    /// What only this component counts, by name.
    ///
    /// # Errors
    /// When the engine does not answer, or has no such component.
    pub fn own_counts(&self, component: &str) -> Result<BTreeMap<String, u64>> {
        self.counts(component, "own")
    }

    /// The errors of a component, by kind.
    ///
    /// # Errors
    /// When the engine does not answer, or has no such component.
    pub fn errors(&self, component: &str) -> Result<BTreeMap<String, u64>> {
        self.counts(component, "errors")
    }

    fn counts(&self, component: &str, field: &str) -> Result<BTreeMap<String, u64>> {
        let answer = self.get("/status")?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer has a body")?;
        let status: Value = serde_json::from_str(body).context("/status is JSON")?;
        let found = status["components"].as_array().into_iter().flatten().find(|found| found["id"] == component);
        let found = found.with_context(|| format!("/status has no {component}"))?;
        // What is empty is left out.
        Ok(found.get(field).map(|counts| serde_json::from_value(counts.clone())).transpose()?.unwrap_or_default())
    }

    fn get(&self, path: &str) -> Result<String> {
        let answer = self.ask(path)?;
        ensure!(answer.starts_with(SUCCESS), "{path} answered {:?}", answer.lines().next());
        Ok(answer)
    }

    fn ask(&self, path: &str) -> Result<String> {
        self.request("GET", path)
    }

    fn request(&self, method: &str, path: &str) -> Result<String> {
        let Self(address) = self;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
