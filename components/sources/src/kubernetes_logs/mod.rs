//! Source `kubernetes_logs`: the logs of the containers on this node. Not here: how files are read and followed (`tail`).

mod opt_out;
mod own;
mod pods;
#[cfg(test)]
mod tests;

use engine_config::sources::{KubernetesLogs, reading};
use engine_core::contract::{ComponentError, Source, SourceContext};
use engine_core::registry::{BuildContext, BuildError, BuildSource, Registration};
use futures::future::BoxFuture;

use self::opt_out::OptOut;
use self::own::OwnPod;
use self::pods::{Consent, Pods};
use crate::tail::{Decision, Format, RecordOptions, Settings, Tail};

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
            max_in_flight: options.max_in_flight.as_u64(),
            watch: options.watch,
            poll_interval: options.poll_interval.get(),
            flush_after: reading::flush_after(options.multiline.as_ref()),
            ..Settings::new("telemetry-engine/kubernetes_logs")
        };
        let own = if options.own_logs { OwnPod::default() } else { OwnPod::of_this_process() };
        let consent: Box<dyn Consent> = match &options.opt_out_annotation {
            Some(annotation) => Box::new(OptOut::new(annotation, context.services.get("")?)),
            None => Box::new(Everybody),
        };
        let selection = Box::new(Pods::new(options, own, consent)?);
        let record = RecordOptions {
            multiline: options.multiline.as_ref(),
            max_record_size: options.max_line_size,
            keep_original_body: options.keep_original_body,
        };
        let format = Format::container(&options.keys, record)?;
        Ok(Self(Tail::new(settings, format, selection, context)?))
    }
}

impl Source for KubernetesLogsSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        self.0.run(context)
    }
}
