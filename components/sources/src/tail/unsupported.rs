//! Sources `file` and `kubernetes_logs` on a system that is not Linux: refused by name when a pipeline asks for them.

use std::marker::PhantomData;

use engine_config::ComponentOptions;
use engine_config::sources::{File, KubernetesLogs};
use engine_core::{
    contract::{ComponentError, Source, SourceContext},
    registry::{BuildContext, BuildError, BuildSource, Registration},
};
use futures::future::BoxFuture;

inventory::submit! { Registration::source::<UnsupportedSource<File>>() }
inventory::submit! { Registration::source::<UnsupportedSource<KubernetesLogs>>() }

/// Cannot be built.
struct UnsupportedSource<O>(PhantomData<O>);

impl<O: ComponentOptions> BuildSource for UnsupportedSource<O> {
    type Options = O;

    fn build(_: &O, _: &BuildContext) -> Result<Self, BuildError> {
        let message =
            format!("{} follows files as Linux tells of them and does not run on {}", O::TYPE, std::env::consts::OS);
        Err(BuildError::new(message))
    }
}

impl<O: ComponentOptions> Source for UnsupportedSource<O> {
    fn run(self: Box<Self>, _: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async { Ok(()) })
    }
}
