//! Names with several addresses, which change.
//!
//! What a name resolves to is a matter of the machine, which a test must not change. So this is the client that the sink
//! uses, with a resolver of the test's, and not the whole program.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use engine_core::outcome::Outcome;
use futures::future::BoxFuture;
use transport::Protocol;
use transport::client::{Client, ClientOptions, Resolve, Spread};

use crate::harness::{Backend, Data, Signal, within};

/// A name whose addresses the test sets.
#[derive(Clone, Debug, Default)]
struct Name(Arc<Mutex<Vec<SocketAddr>>>);

impl Resolve for Name {
    fn resolve(&self, _host: &str, _port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let addresses = self.0.lock().unwrap().clone();
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

impl Name {
    fn set(&self, backends: &[&Backend]) {
        *self.0.lock().unwrap() = backends.iter().map(|backend| backend.address()).collect();
    }
}

/// Requests take turns among the addresses of a name; when the set changes the new ones are used, those that have left are
/// not, and no request is lost on the way.
#[tokio::test]
async fn k23_addresses_of_a_name() {
    let protocols = [Protocol::Grpc, Protocol::Http].map(|protocol| async move {
        let (first, second, third) = (Backend::start().await, Backend::start().await, Backend::start().await);
        let name = Name::default();
        name.set(&[&first, &second]);
        let mut options = ClientOptions::new("http://backend.example.com:4317".parse().unwrap(), protocol);
        options.resolver = Arc::new(name.clone());
        options.resolve_every = Duration::from_millis(50);
        options.spread = Some(Spread { addresses: NonZeroUsize::new(2).unwrap(), node: "node".to_owned() });
        let client = Client::new(options).unwrap();
        let mut sent = 0;
        let mut send = async || {
            sent += 1;
            let signal = Signal::ALL[sent % 3];
            let body = Bytes::from(Data::of(signal, 1).encode());
            assert_eq!(client.export(signal, body).await, Outcome::Delivered);
        };
        for _ in 0..12 {
            send().await;
        }
        let counts = [first.received().len(), second.received().len()];
        assert_eq!(counts, [6, 6], "they take turns");
        assert!(third.connections().is_empty());

        name.set(&[&second, &third]);
        within("the new address is found", async {
            while third.received().is_empty() {
                send().await;
            }
        })
        .await;
        let before = (first.received().len(), second.received().len());
        for _ in 0..12 {
            send().await;
        }
        assert_eq!(first.received().len(), before.0, "it has left");
        assert_eq!(second.received().len(), before.1 + 6);
        let arrived: usize = [&first, &second, &third].iter().map(|backend| backend.received().len()).sum();
        assert_eq!(arrived, sent);
    });
    futures::future::join_all(protocols).await;
}
