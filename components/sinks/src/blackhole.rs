//! The `blackhole` sink: answers Delivered for everything at once. For measuring what stands in front of a sink; it
//! looks at nothing, so it proves nothing about the data.

use engine_config::sinks::Blackhole as Options;
use engine_core::contract::Sink;
use engine_core::outcome::Outcome;
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use futures::future::BoxFuture;
use otlp::Payload;

/// Takes everything.
#[derive(Debug)]
struct Blackhole;

inventory::submit! { Registration::sink::<Blackhole>() }

impl BuildSink for Blackhole {
    type Options = Options;

    fn build(_: &Options, _: &BuildContext) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

impl Sink for Blackhole {
    fn deliver(&self, _: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(std::future::ready(Outcome::Delivered))
    }
}

#[cfg(test)]
mod tests {
    use engine_core::test_kit;

    use super::*;

    /// Every signal is taken, and so is a request without records.
    #[tokio::test]
    async fn takes_everything() {
        let none: [u64; 0] = [];
        for payload in [
            test_kit::logs(&[], [1]),
            test_kit::metrics(&[], [1]),
            test_kit::traces(&[], [1]),
            test_kit::logs(&[], none),
        ] {
            assert_eq!(Blackhole.deliver(payload).await, Outcome::Delivered);
        }
    }
}
