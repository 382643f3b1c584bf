//! Where an output sends: a route that can be exchanged while batches are on their way.
//!
//! A route is a tree that never changes: it holds all transforms behind the output and the takers behind those. So a batch
//! that has begun with one route goes all its way by that one, and the next batch goes by another. Not here: what a route
//! is (`edge`), who exchanges it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use super::Route;

/// The route of one output. Clones are the same port.
#[derive(Clone, Debug, Default)]
pub struct Port(Arc<ArcSwap<Route>>);

impl Port {
    /// Sends the batches that come from now on along another route.
    pub fn turn_to(&self, route: Route) {
        self.0.store(Arc::new(route));
    }

    /// The route now. Not to be held while anything is waited for.
    pub(super) fn route(&self) -> Guard<Arc<Route>> {
        self.0.load()
    }
}

impl From<Route> for Port {
    fn from(route: Route) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(route)))
    }
}
