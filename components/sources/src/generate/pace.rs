//! When the next batch is due at a given rate of records.

use std::{num::NonZeroU64, time::Duration};

use tokio::time::{Instant, sleep_until};

/// What a pace that fell behind makes up for at most; more would hit a sink that has just recovered.
const MOST_BEHIND: Duration = Duration::from_secs(1);

/// A rate of records, or as fast as possible.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<NonZeroU64>,
    /// When the next batch is due.
    next: Instant,
}

impl Pace {
    /// The first batch is due at once.
    pub(super) fn new(rate: Option<NonZeroU64>) -> Pace {
        Pace { rate, next: Instant::now() }
    }

    /// Waits until the next batch is due.
    pub(super) async fn due(&self) {
        if self.rate.is_some() {
            sleep_until(self.next).await;
        }
    }

    /// Says that a batch of so many records was made.
    pub(super) fn made(&mut self, records: usize) {
        let Some(rate) = self.rate else {
            return;
        };
        let nanos = u128::from(records as u64) * 1_000_000_000 / u128::from(rate.get());
        let earliest = Instant::now().checked_sub(MOST_BEHIND).unwrap_or(self.next);
        self.next = self.next.max(earliest) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> Pace {
        Pace::new(NonZeroU64::new(rate))
    }

    /// Batches come at their rate, without drift.
    #[tokio::test(start_paused = true)]
    async fn keeps_the_rate() {
        let mut pace = pace(1000);
        let begin = Instant::now();
        for _ in 0..50 {
            pace.due().await;
            pace.made(100);
        }
        pace.due().await;
        assert_eq!(begin.elapsed().as_millis(), 5000);
    }

    /// After a long stall only one second's worth comes at once.
    #[tokio::test(start_paused = true)]
    async fn makes_up_for_a_second() {
        let mut pace = pace(1000);
        tokio::time::advance(Duration::from_secs(60)).await;
        let resumed = Instant::now();
        let mut at_once = 0;
        loop {
            pace.due().await;
            if resumed.elapsed() > Duration::ZERO {
                break;
            }
            pace.made(100);
            at_once += 1;
        }
        assert_eq!(at_once, 11);
    }

    /// Without a rate every batch is due.
    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let mut pace = Pace::new(None);
        let begin = Instant::now();
        for _ in 0..1000 {
            pace.due().await;
            pace.made(1_000_000);
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
