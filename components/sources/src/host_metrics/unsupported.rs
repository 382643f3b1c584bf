//! Source `host_metrics` on a system that is not Linux: refused by name when a pipeline asks for it.

use engine_config::sources::HostMetrics;
use engine_core::{
    contract::{ComponentError, Source, SourceContext},
    registry::{BuildContext, BuildError, BuildSource, Registration},
};
use futures::future::BoxFuture;

inventory::submit! { Registration::source::<UnsupportedSource>() }

/// Cannot be built.
enum UnsupportedSource {}

impl BuildSource for UnsupportedSource {
    type Options = HostMetrics;

    fn build(_: &HostMetrics, _: &BuildContext) -> Result<UnsupportedSource, BuildError> {
        let message =
            format!("host_metrics reads the files of the Linux kernel and does not run on {}", std::env::consts::OS);
        Err(BuildError::new(message))
    }
}

impl Source for UnsupportedSource {
    fn run(self: Box<Self>, _: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        match *self {}
    }
}
