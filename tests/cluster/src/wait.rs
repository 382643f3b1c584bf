//! Waiting for something to be so.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until it finds something, for as long as `limit`. The clock is real: programs of a cluster do not live by a
/// paused one.
pub async fn wait_until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("waited for {} s: {what}", limit.as_secs_f32());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
