//! Sends OTLP to a backend over gRPC or HTTP: one payload, one attempt.
//!
//! Not here: the request itself (`transport`), queueing, trying again and halving (the sink driver).

mod headers;
mod json;
mod oauth2;
mod secrets;
mod settings;

use std::sync::Arc;

use engine_config::sinks::OtlpSink;
use engine_config::sinks::otlp::Encoding;
use engine_core::contract::Sink;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use futures::future::BoxFuture;
use otlp::{Payload, Wire};
use transport::client::Client;
use transport::reload::Reloading;

use headers::{HeaderError, Headers};
use oauth2::OAuth2;

inventory::submit! { Registration::sink::<Otlp>() }

/// The sink with its secrets and certificates read. It connects when the first payload comes.
#[derive(Debug)]
pub(crate) struct Otlp {
    client: Reloading<Headers>,
    /// What few sinks do, and what they need for it.
    rare: Option<Box<Rare>>,
    max_request_size: usize,
}

/// Ways of sending that cost more.
#[derive(Debug)]
struct Rare {
    encoding: Encoding,
    oauth2: Option<OAuth2>,
}

impl BuildSink for Otlp {
    type Options = OtlpSink;

    fn build(options: &OtlpSink, _context: &BuildContext) -> Result<Self, BuildError> {
        let client_options = settings::client_options(options)?;
        let proxy = client_options.proxy.clone();
        let bare = Client::new(client_options).map_err(|error| BuildError::caused(error.to_string(), error))?;
        let said = |error: HeaderError| BuildError::new(error.to_string());
        let client = Reloading::new(Headers::read(bare, options).map_err(said)?).map_err(said)?;
        let oauth2 = options.auth.as_ref().and_then(|auth| auth.oauth2.as_ref());
        let oauth2 = oauth2.map(|oauth2| OAuth2::new(oauth2, proxy)).transpose()?;
        let rare = Rare { encoding: options.encoding, oauth2 };
        let is_rare = rare.oauth2.is_some() || rare.encoding != Encoding::Protobuf;
        let max_request_size = usize::try_from(options.max_request_size.0).unwrap_or(usize::MAX);
        Ok(Self { client, rare: is_rare.then(|| Box::new(rare)), max_request_size })
    }
}

impl Sink for Otlp {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let signal = payload.signal();
            let wire = match payload.into_wire() {
                Ok(wire) => wire,
                Err(error) => return Outcome::rejected(RejectionKind::Invalid, error.to_string()),
            };
            if let Some(refusal) = self.too_large(wire.len()) {
                return refusal;
            }
            let client = self.client.current().await;
            let outcome = match &self.rare {
                None => client.export(signal, wire.into_rope()).await,
                // Boxed: its future is large, and would be a part of every request's.
                Some(rare) => Box::pin(self.deliver_rarely(rare, &client, wire)).await,
            };
            match &outcome {
                Outcome::Rejected(rejection) if rejection.kind == RejectionKind::Unauthorized => {
                    // A token that was rotated since the last look must not cost data.
                    let now = self.client.instead_of(&client).await;
                    if Arc::ptr_eq(&now, &client) { outcome } else { Outcome::retry(rejection.message.clone()) }
                }
                _ => outcome,
            }
        })
    }
}

impl Otlp {
    async fn deliver_rarely(&self, rare: &Rare, client: &Arc<Client>, wire: Wire) -> Outcome {
        let signal = wire.signal();
        let body = match rare.encoding {
            Encoding::Protobuf => wire.into_rope(),
            Encoding::Json => match json::encoded(wire).await {
                Ok(body) => body,
                Err(problem) => return Outcome::retry(problem),
            },
        };
        if let Some(refusal) = self.too_large(body.len()) {
            return refusal;
        }
        match &rare.oauth2 {
            Some(oauth2) => oauth2.deliver(Arc::clone(client), signal, body).await,
            None => client.export(signal, body).await,
        }
    }

    fn too_large(&self, size: usize) -> Option<Outcome> {
        let limit = self.max_request_size;
        (size > limit).then(|| {
            let message = format!("a request of {size} bytes is over max_request_size, {limit}");
            Outcome::rejected(RejectionKind::TooLarge, message)
        })
    }
}

#[cfg(test)]
mod tests;
