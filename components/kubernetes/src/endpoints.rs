//! Follows the endpoints of one Service that are ready: who shares the work of the pods behind it.
//!
//! A Service has its endpoints in any number of EndpointSlices, one family of addresses in each. They are joined here; an
//! endpoint that moves from one to another may stand in both for a moment. Not here: who of them gets what.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::object::{EndpointObject, EndpointSliceObject};
use crate::watch::{News, Selection, follow};

/// The label by which a slice says of which Service it is.
const SERVICE: &str = "kubernetes.io/service-name";
/// Slices in a page of a list. Each has a hundred endpoints as a rule.
const PAGE_SIZE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Whose endpoints are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointOptions {
    /// The namespace of the Service.
    pub namespace: String,
    /// The name of the Service.
    pub service: String,
    /// The name of one of its ports; empty for the only port of a Service that gives it no name.
    pub port: String,
    /// Which addresses are wanted.
    pub family: AddressFamily,
}

/// Which addresses are wanted. A pod of a Service with both families has an endpoint in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFamily {
    /// Only IPv4 addresses.
    Ipv4,
    /// Only IPv6 addresses.
    Ipv6,
    /// All addresses: a pod that has two is there twice.
    Both,
}

/// An endpoint that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address, and the number of the port at which it listens.
    pub address: SocketAddr,
    /// The name by which it is found below that of a headless Service. A pod of a StatefulSet has its own.
    pub hostname: Option<Box<str>>,
    /// The node it runs on.
    pub node: Option<Box<str>>,
    /// The zone of that node.
    pub zone: Option<Box<str>>,
}

/// The ready endpoints, by address, each once; none before they have been listed for the first time.
pub type ReadyEndpoints = Option<Arc<[Endpoint]>>;

/// Follows the endpoints of a Service: the receiver has the latest ones, and the future, which never ends, keeps it up to
/// date for as long as somebody runs it. A Service that is not there has none. While the API server is away the last ones
/// stay.
///
/// The rights it takes are to list and watch `endpointslices` of the group `discovery.k8s.io` in the namespace.
pub fn follow_endpoints(
    client: Client,
    options: EndpointOptions,
) -> (watch::Receiver<ReadyEndpoints>, impl Future<Output = ()> + Send) {
    let (sender, receiver) = watch::channel(None);
    let following = async move {
        let api = Api::<EndpointSliceObject>::namespaced(client, &options.namespace);
        let labels = Some(format!("{SERVICE}={}", options.service));
        let selection = Selection { labels, ..Selection::all(PAGE_SIZE) };
        let mut slices = Slices::default();
        follow(api, selection, |news| {
            // What was known last stays while nothing is told.
            let News::Event(event) = news else { return };
            if let Some(ready) = slices.take(event, &options) {
                tell(&sender, ready);
            }
        })
        .await;
    };
    (receiver, following)
}

/// Endpoints by the name of the slice that has them.
type BySlice = BTreeMap<String, Vec<Endpoint>>;

/// All slices of a Service.
#[derive(Debug, Default)]
struct Slices {
    known: BySlice,
    /// Those of a list that is not complete. Until it is, what was known before stays.
    listed: BySlice,
}

/// Tells of endpoints if they are not those that were told.
fn tell(sender: &watch::Sender<ReadyEndpoints>, ready: Vec<Endpoint>) {
    sender.send_if_modified(|told| {
        let is_news = told.as_deref() != Some(&*ready);
        if is_news {
            *told = Some(ready.into());
        }
        is_news
    });
}

impl Slices {
    /// Takes what a watch tells; what is ready then, unless a list is not complete.
    fn take(&mut self, event: Event<EndpointSliceObject>, options: &EndpointOptions) -> Option<Vec<Endpoint>> {
        match event {
            Event::Init => {
                self.listed.clear();
                return None;
            }
            Event::InitApply(slice) => {
                self.listed.insert(name(&slice), ready_of(&slice, options));
                return None;
            }
            // What the list does not name is gone.
            Event::InitDone => self.known = std::mem::take(&mut self.listed),
            Event::Apply(slice) => {
                self.known.insert(name(&slice), ready_of(&slice, options));
            }
            Event::Delete(slice) => {
                self.known.remove(&name(&slice));
            }
        }
        Some(self.joined())
    }

    /// The endpoints of all slices by address.
    fn joined(&self) -> Vec<Endpoint> {
        let all = self.known.values().flatten().map(|endpoint| (endpoint.address, endpoint));
        all.collect::<BTreeMap<_, _>>().into_values().cloned().collect()
    }
}

fn name(slice: &EndpointSliceObject) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

/// The endpoints of a slice that are wanted and ready.
fn ready_of(slice: &EndpointSliceObject, options: &EndpointOptions) -> Vec<Endpoint> {
    let is_wanted = match slice.address_type.as_str() {
        "IPv4" => options.family != AddressFamily::Ipv6,
        "IPv6" => options.family != AddressFamily::Ipv4,
        // Names of other hosts, which are no pods.
        _ => false,
    };
    let mut ports = slice.ports.iter().flatten();
    let named = ports.find(|port| port.name.as_deref().unwrap_or_default() == options.port);
    // One without a number stands for all ports.
    let Some(port) = named.and_then(|port| port.port).filter(|_| is_wanted) else { return Vec::new() };
    slice.endpoints.iter().flatten().filter_map(|endpoint| ready(endpoint, port)).collect()
}

/// An endpoint, if it is ready.
fn ready(endpoint: &EndpointObject, port: u16) -> Option<Endpoint> {
    // Nothing said is ready. One that is ending is ready all the same where the Service wants those that are not, too.
    let conditions = endpoint.conditions.as_ref();
    let is_unready = conditions.is_some_and(|found| found.ready == Some(false) || found.terminating == Some(true));
    // All addresses of an endpoint lead to the same pod, and whoever reads them may take the first.
    let address: IpAddr = endpoint.addresses.first().filter(|_| !is_unready)?.parse().ok()?;
    let text = |field: &Option<String>| field.as_deref().filter(|text| !text.is_empty()).map(Box::from);
    Some(Endpoint {
        address: SocketAddr::new(address, port),
        hostname: text(&endpoint.hostname),
        node: text(&endpoint.node_name),
        zone: text(&endpoint.zone),
    })
}

#[cfg(test)]
mod tests;
