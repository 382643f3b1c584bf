//! The addresses of a name: resolved with every dial, and looked at again every 30 s while connections live, because a
//! healthy connection says nothing about addresses that have joined or left.
//!
//! Not here: which address is dialled when only some of them are to be (`spread`).

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::client::spread::Members;

/// Resolves names.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// All addresses of `host`, with `port`.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// What the operating system knows: `/etc/hosts`, DNS, and whatever else it is set up to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host.as_str(), port)).await?.collect()) })
    }
}

/// The addresses of one name.
pub(super) struct Addresses {
    host: String,
    port: u16,
    /// The host is an address, which has no others.
    is_address: bool,
    resolver: Arc<dyn Resolve>,
    every: Duration,
    timeout: Duration,
    started: Instant,
    /// When to look again, in milliseconds after `started`. Never while nothing is known, and while somebody looks.
    due: AtomicU64,
    /// How often the set of addresses has changed.
    generation: AtomicU64,
    next_turn: AtomicUsize,
    /// In order, each once.
    known: Mutex<Vec<SocketAddr>>,
    members: Option<Members>,
}

/// When and with what names are resolved.
pub(super) struct Resolution {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) every: Duration,
    pub(super) timeout: Duration,
}

/// After a failed dial the addresses are looked at again no sooner than this after the last look.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

const NEVER: u64 = u64::MAX;

impl Addresses {
    pub(super) fn new(host: String, port: u16, resolution: Resolution, members: Option<Members>) -> Self {
        let Resolution { resolver, every, timeout } = resolution;
        Self {
            is_address: host.parse::<IpAddr>().is_ok(),
            host,
            port,
            resolver,
            every,
            timeout,
            started: Instant::now(),
            due: AtomicU64::new(NEVER),
            generation: AtomicU64::new(0),
            next_turn: AtomicUsize::new(0),
            known: Mutex::default(),
            members,
        }
    }

    /// The addresses among which connections are spread, if they are.
    pub(super) fn members(&self) -> Option<&Members> {
        self.members.as_ref()
    }

    /// How often the set has changed. Connections from before belong to another set.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Resolves the name in a task of its own if that is due.
    pub(super) fn look_if_due(self: &Arc<Self>, now: Instant) {
        let due = self.due.load(Ordering::Relaxed);
        if due == NEVER || self.is_address || self.moment(now) < due {
            return;
        }
        // One of those who see it looks, and nobody does again before the answer has set the next time.
        if self.due.compare_exchange(due, NEVER, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let addresses = Arc::clone(self);
        tokio::spawn(async move { addresses.look().await });
    }

    /// Has a request look soon: an address that does not answer may be one that has left.
    pub(super) fn look_soon(&self) {
        let soon = self.moment(Instant::now()).saturating_add(millis(LOOK_AGAIN_AFTER));
        self.due.fetch_min(soon, Ordering::Relaxed);
    }

    /// All addresses, each call starting with another one.
    pub(super) async fn in_turn(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses = self.resolve().await?;
        if self.lock().is_empty() {
            self.learn(addresses.clone());
        }
        Ok(self.rotated(addresses))
    }

    /// Resolves the name for the first time.
    pub(super) async fn first_look(&self) -> io::Result<()> {
        let addresses = self.resolve().await?;
        self.learn(addresses);
        Ok(())
    }

    fn rotated(&self, mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let start = self.next_turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
        addresses.rotate_left(start);
        addresses
    }

    async fn look(&self) {
        match tokio::time::timeout(self.timeout, self.resolve()).await {
            Ok(Ok(addresses)) => return self.learn(addresses),
            Ok(Err(error)) => tracing::debug!(host = self.host, %error, "the name cannot be resolved again"),
            Err(_) => tracing::debug!(host = self.host, "the name is not resolved in time"),
        }
        self.look_later();
    }

    /// At least one address.
    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses = self.resolver.resolve(&self.host, self.port).await?;
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok(addresses)
    }

    fn learn(&self, mut addresses: Vec<SocketAddr>) {
        addresses.sort_unstable();
        addresses.dedup();
        let mut known = self.lock();
        if *known != addresses {
            if let Some(members) = &self.members {
                members.update(&addresses);
            }
            if !known.is_empty() {
                tracing::debug!(
                    host = self.host,
                    before = known.len(),
                    now = addresses.len(),
                    "the addresses have changed"
                );
                self.generation.fetch_add(1, Ordering::Relaxed);
            }
            *known = addresses;
        }
        drop(known);
        self.look_later();
    }

    fn look_later(&self) {
        let due = self.moment(Instant::now()).saturating_add(millis(self.every));
        self.due.store(due, Ordering::Relaxed);
    }

    fn moment(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.started))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SocketAddr>> {
        self.known.lock().expect("nothing panics while it holds the lock")
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    /// Answers what it is told, and counts.
    #[derive(Debug, Default)]
    struct Scripted {
        addresses: Mutex<Vec<SocketAddr>>,
        asked: AtomicUsize,
    }

    impl Resolve for Scripted {
        fn resolve(&self, _host: &str, _port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let addresses = self.addresses.lock().unwrap().clone();
            Box::pin(async move { Ok(addresses) })
        }
    }

    fn scripted(host: &str) -> (Arc<Scripted>, Arc<Addresses>) {
        let resolver = Arc::new(Scripted::default());
        let every = Duration::from_secs(30);
        let resolution = Resolution { resolver: Arc::clone(&resolver) as _, every, timeout: every };
        let addresses = Addresses::new(host.to_owned(), 1, resolution, None);
        (resolver, Arc::new(addresses))
    }

    fn sockets<const N: usize>(texts: [&str; N]) -> [SocketAddr; N] {
        texts.map(|text| text.parse().unwrap())
    }

    /// Connections spread over the addresses of a name: each dial starts with the next one and knows all others.
    #[tokio::test]
    async fn takes_turns() {
        let (resolver, addresses) = scripted("host");
        let [a, b, c] = sockets(["[::1]:1", "127.0.0.1:1", "127.0.0.2:1"]);
        *resolver.addresses.lock().unwrap() = vec![a, b, c];
        for expected in [[a, b, c], [b, c, a], [c, a, b], [a, b, c]] {
            assert_eq!(addresses.in_turn().await.unwrap(), expected);
        }
        resolver.addresses.lock().unwrap().clear();
        assert_eq!(addresses.in_turn().await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// The name is looked at again every 30 s, once however many ask, and only another set is a change: its order is none.
    #[tokio::test(start_paused = true)]
    async fn looks_again() {
        let (resolver, addresses) = scripted("host");
        let asked = || resolver.asked.load(Ordering::Relaxed);
        let [a, b, c] = sockets(["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"]);
        *resolver.addresses.lock().unwrap() = vec![a, b];
        addresses.look_if_due(Instant::now());
        addresses.in_turn().await.unwrap();
        assert_eq!((asked(), addresses.generation()), (1, 0));
        for (set, generation) in [(vec![b, a], 0), (vec![a, b, c], 1), (vec![c], 2), (vec![c], 2)] {
            *resolver.addresses.lock().unwrap() = set;
            let before = asked();
            tokio::time::advance(Duration::from_secs(29)).await;
            addresses.look_if_due(Instant::now());
            tokio::task::yield_now().await;
            assert_eq!(asked(), before, "it is not due");
            tokio::time::advance(Duration::from_secs(1)).await;
            for _ in 0..4 {
                addresses.look_if_due(Instant::now());
            }
            while asked() == before || addresses.due.load(Ordering::Relaxed) == NEVER {
                tokio::task::yield_now().await;
            }
            assert_eq!((asked(), addresses.generation()), (before + 1, generation));
        }
        let before = asked();
        addresses.look_soon();
        tokio::time::advance(Duration::from_secs(1)).await;
        addresses.look_if_due(Instant::now());
        while asked() == before {
            tokio::task::yield_now().await;
        }
    }

    /// An address is not looked up again.
    #[tokio::test(start_paused = true)]
    async fn addresses_do_not_change() {
        let (resolver, addresses) = scripted("127.0.0.1");
        *resolver.addresses.lock().unwrap() = sockets(["127.0.0.1:1"]).to_vec();
        addresses.in_turn().await.unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        addresses.look_soon();
        addresses.look_if_due(Instant::now());
        tokio::task::yield_now().await;
        assert_eq!(resolver.asked.load(Ordering::Relaxed), 1);
    }
}
