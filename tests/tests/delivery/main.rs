//! What was answered OK arrives: the real program between real gRPC clients and a real gRPC backend, through
//! termination, outages and rejections.
//!
//! Not here: single components (`contract`), the wire protocol (`transport`'s own tests).
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod backend;
mod disk;
mod engine;
mod faults;
mod files;
mod outage;
mod producer;
mod rejection;
mod sdk;
mod shutdown;
mod spans;
mod writer;

use std::time::Duration;

/// Bound of every wait, so that a test that would hang says what it waited for.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(120), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited for two minutes: {what}"),
    }
}

/// Polls until `look` finds something.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    within(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}
