//! Services: what a process runs once and its components share.
//!
//! A component's facts name the services it uses, so the plan knows them all. They are opened before any component is
//! built and handed out through [`BuildContext`](crate::registry::BuildContext); they run from before the first source to
//! after the last sink. Not here: which services a configuration needs (`engine-config`), who starts and stops them
//! (`engine`).

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use engine_config::{ProcessSettings, ServiceId, ServiceNeed};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::contract::ComponentError;
use crate::registry::BuildError;

/// Shared by all components that name it with the same key.
pub trait Service: Send + Sync + Sized + 'static {
    /// The kind by which components name it.
    const TYPE: &'static str;

    /// Makes one for a key; may read and write files and connect, must not spawn.
    ///
    /// # Errors
    /// What stands in the way. No component that uses it is built then.
    fn open(context: &ServiceContext<'_>) -> Result<Self, BuildError>;

    /// What the process must wait for before it is ready, if anything; a service that may never get it gives up by itself.
    fn waits_for(&self) -> Option<&'static str> {
        None
    }

    /// What keeps it from its work at the moment, in words for users.
    fn problem(&self) -> Option<String> {
        None
    }

    /// Does what must go on while components use it, until `stop`. By default there is nothing to do.
    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            stop.cancelled().await;
            Ok(())
        })
    }
}

/// What a service is made from.
#[derive(Clone, Copy, Debug)]
pub struct ServiceContext<'p> {
    /// Tells services of one kind apart.
    pub key: &'p str,
    /// The settings of the process.
    pub settings: &'p ProcessSettings,
}

/// One kind of service of this binary.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRegistration {
    /// The kind by which components name it.
    pub type_name: &'static str,
    open: fn(&ServiceContext<'_>) -> Result<Opened, BuildError>,
}

/// A service of any kind.
#[derive(Clone)]
struct Opened {
    instance: Instance,
    run: fn(Instance, CancellationToken) -> Work,
    waits_for: fn(&Instance) -> Option<&'static str>,
    problem: fn(&Instance) -> Option<String>,
}

type Instance = Arc<dyn Any + Send + Sync>;
type Work = BoxFuture<'static, Result<(), ComponentError>>;

/// Open services by kind and key. Cheap to clone.
#[derive(Clone, Default)]
pub struct Services(BTreeMap<ServiceId, Opened>);

inventory::collect!(ServiceRegistration);

impl ServiceRegistration {
    /// Registers a kind of service.
    pub const fn of<S: Service>() -> Self {
        Self { type_name: S::TYPE, open: |context| Ok(Opened::new(S::open(context)?)) }
    }

    /// The kind of this name.
    pub fn find(type_name: &str) -> Option<&'static Self> {
        inventory::iter::<Self>.into_iter().find(|registration| registration.type_name == type_name)
    }
}

impl Opened {
    fn new<S: Service>(service: S) -> Self {
        Self {
            instance: Arc::new(service),
            run: |instance, stop| instance.downcast::<S>().expect("an opened service runs as its own type").run(stop),
            waits_for: |instance| instance.downcast_ref::<S>().and_then(S::waits_for),
            problem: |instance| instance.downcast_ref::<S>().and_then(S::problem),
        }
    }
}

impl Services {
    /// Opens a service and keeps it.
    ///
    /// # Errors
    /// What [`Service::open`] says.
    pub fn open(
        &mut self,
        registration: &ServiceRegistration,
        id: &ServiceId,
        settings: &ProcessSettings,
    ) -> Result<(), BuildError> {
        let opened = (registration.open)(&ServiceContext { key: &id.key, settings })?;
        self.0.insert(id.clone(), opened);
        Ok(())
    }

    /// Keeps a service that is open already, under this key.
    #[must_use]
    pub fn with<S: Service>(mut self, key: &str, service: S) -> Self {
        self.0.insert(ServiceId::new(S::TYPE, key), Opened::new(service));
        self
    }

    /// What the process must wait for before it is ready.
    pub fn waits_for(&self) -> Option<&'static str> {
        self.0.values().find_map(|opened| (opened.waits_for)(&opened.instance))
    }

    /// All of them, with what keeps each from its work at the moment.
    pub fn problems(&self) -> impl Iterator<Item = (&ServiceId, Option<String>)> {
        self.0.iter().map(|(id, opened)| (id, (opened.problem)(&opened.instance)))
    }

    /// Lets go of a service that has been stopped.
    pub fn forget(&mut self, id: &ServiceId) {
        self.0.remove(id);
    }

    /// Whether this service is open.
    pub fn contains(&self, id: &ServiceId) -> bool {
        self.0.contains_key(id)
    }

    /// Those that are needed, or none when one of them is not open.
    pub fn for_needs(&self, needs: &[ServiceNeed]) -> Option<Self> {
        let one = |need: &ServiceNeed| Some((need.service.clone(), self.0.get(&need.service)?.clone()));
        needs.iter().map(one).collect::<Option<_>>().map(Self)
    }

    /// The service of this kind and key.
    ///
    /// # Errors
    /// When the component's facts do not name it, which is a mistake of the component.
    pub fn get<S: Service>(&self, key: &str) -> Result<Arc<S>, BuildError> {
        let id = ServiceId::new(S::TYPE, key);
        let undeclared = || BuildError::new(format!("uses the service {id}, which its facts do not name"));
        let opened = self.0.get(&id).ok_or_else(undeclared)?;
        let other = |_| BuildError::new(format!("the service {id} is of another type"));
        Arc::clone(&opened.instance).downcast::<S>().map_err(other)
    }

    /// The work of a service, to be spawned; none when it is not open.
    pub fn run(
        &self,
        id: &ServiceId,
        stop: CancellationToken,
    ) -> Option<impl Future<Output = Result<(), ComponentError>> + Send + 'static> {
        let Opened { instance, run, .. } = self.0.get(id)?.clone();
        // The call is part of the future: a panic in it is a panic of the service.
        Some(async move { run(instance, stop).await })
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
