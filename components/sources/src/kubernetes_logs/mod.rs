//! Source `kubernetes_logs`: the logs of the containers on this node. Not here: how files are read and followed (`tail`).

mod own;
mod pods;
#[cfg(test)]
mod tests;

use engine_config::sources::KubernetesLogs;
use engine_core::contract::{ComponentError, Source, SourceContext};
use engine_core::registry::{BuildContext, BuildError, BuildSource, Registration};
use futures::future::BoxFuture;

use self::own::OwnPod;
use self::pods::{Consent, Pods};
use crate::tail::{Decision, Format, Settings, Tail};

inventory::submit! { Registration::source::<KubernetesLogsSource>() }

/// Reads the logs of containers.
struct KubernetesLogsSource(Tail);

/// Every container agrees.
#[derive(Debug)]
struct Everybody;

impl Consent for Everybody {
    fn is_collected(&self, _: &pods::Container<'_>) -> Decision {
        Decision::Collect
    }
}

impl BuildSource for KubernetesLogsSource {
    type Options = KubernetesLogs;

    fn build(options: &KubernetesLogs, context: &BuildContext) -> Result<Self, BuildError> {
        let settings = Settings {
            max_line_size: options.max_line_size.as_usize(),
            max_in_flight: options.max_in_flight.as_u64(),
            watch: options.watch,
            poll_interval: options.poll_interval.get(),
            ..Settings::new("telemetry-engine/kubernetes_logs")
        };
        let own = if options.own_logs { OwnPod::default() } else { OwnPod::of_this_process() };
        let selection = Box::new(Pods::new(options, own, Box::new(Everybody))?);
        Ok(Self(Tail::new(settings, Format::container(), selection, context)?))
    }
}

impl Source for KubernetesLogsSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        self.0.run(context)
    }
}
