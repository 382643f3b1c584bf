//! Many clients with large requests at once: more than there is memory for.

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::{
    Victim,
    request::{Answer, Body, over_grpc},
};

/// How a crowd was answered.
#[derive(Debug, Default, Clone, Copy)]
pub struct Answers {
    /// Requests taken.
    pub accepted: usize,
    /// Refusals after which the client comes again.
    pub retryable: usize,
    /// Refusals for good.
    pub refused: usize,
    /// Connections that were refused or cut before an answer, after which a client comes again too.
    pub cut: usize,
}

/// So many clients send the same request at the same time, each on a connection of its own.
///
/// # Errors
/// When a client panics.
pub async fn push(victim: &Victim, body: &Body, clients: usize) -> Result<Answers> {
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (target, body) = (victim.grpc, body.clone());
        tasks.spawn(async move { over_grpc(target, &body).await });
    }
    let mut answers = Answers::default();
    while let Some(done) = tasks.join_next().await {
        match done.context("a client panicked")? {
            Ok(Answer::Accepted) => answers.accepted += 1,
            Ok(Answer::Retryable) => answers.retryable += 1,
            Ok(Answer::Refused) => answers.refused += 1,
            Err(_) => answers.cut += 1,
        }
    }
    Ok(answers)
}
