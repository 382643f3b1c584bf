//! Keeps a token of an authorization server for all requests of a sink, and gets the next one in time.
//!
//! One question at a time, whoever needs the token. Nothing is ever dropped because there is no token: that is a
//! reason to try again. How the question is put is the transport's matter.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use engine_config::sinks::otlp::auth::{ClientAuthentication, OAuth2 as Options};
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::BuildError;
use http::header::AUTHORIZATION;
use otlp::{Rope, Signal};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use transport::client::token::{ClientCredentials, ShownIn, Token, TokenEndpoint, TokenError, TokenOptions};
use transport::client::{Client, Proxy};
use transport::reload::{Material, Reloading};

use super::secrets::{Secret, SecretError};
use super::settings::client_tls;

/// Bounds of the pause between questions that got no token.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A token is not used up to its very end: a request takes time, and clocks differ.
const LEEWAY: Duration = Duration::from_secs(5);

/// Bounds of the time for which a token is used. A server that issues tokens for no time at all is not asked without a pause,
/// and one that means for ever may say any number.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The tokens of one sink.
#[derive(Debug)]
pub(super) struct OAuth2(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoint: TokenEndpoint,
    credentials: Reloading<Credentials>,
    state: Mutex<State>,
    /// Held by whoever asks for a token.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    issued: Option<Arc<Issued>>,
    /// The last client that was made with the token.
    authorized: Option<Arc<Authorized>>,
    failure: Option<Failure>,
    /// The token replaces one that the backend refused, and was not taken yet. Refused as well, it is not replaced again.
    is_on_trial: bool,
}

#[derive(Debug)]
struct Issued {
    token: Token,
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

/// A client that shows a token.
#[derive(Debug)]
struct Authorized {
    base: Arc<Client>,
    client: Client,
    issued: Arc<Issued>,
}

/// Questions in a row that got no token.
#[derive(Debug)]
struct Failure {
    count: u32,
    until: Instant,
    reason: String,
}

/// What there is for a request.
enum Look {
    Ready(Arc<Authorized>),
    /// It is time to get the next one, and nobody does.
    Due(Arc<Authorized>, OwnedMutexGuard<()>),
    /// The last failure is too fresh to ask again.
    Failed(Outcome),
    Missing,
}

/// Id and secret of the client, which may be in files, and what it asks for.
#[derive(Clone, PartialEq)]
struct Credentials {
    id: Secret,
    secret: Secret,
    shown: ShownIn,
    scopes: Vec<String>,
    parameters: Vec<(String, String)>,
}

impl OAuth2 {
    /// Reads the secrets. Asks for nothing yet.
    pub(super) fn new(options: &Options, proxy: Option<Proxy>) -> Result<Self, BuildError> {
        let url = options.token_url.parse().map_err(|error| BuildError::caused("`token_url` is not a URI", error))?;
        let tls = options.tls.as_ref().map(client_tls).transpose()?;
        let endpoint = TokenEndpoint::new(TokenOptions { url, tls, proxy, timeout: options.timeout.get() });
        let endpoint = endpoint.map_err(|error| BuildError::caused(error.to_string(), error))?;
        let credentials = Credentials::read(options).and_then(Reloading::new);
        let credentials = credentials.map_err(|error| BuildError::caused(error.to_string(), error))?;
        Ok(Self(Arc::new(Shared { endpoint, credentials, state: Mutex::default(), turn: Arc::default() })))
    }

    /// Sends one request with a token, through the connections of `base`.
    pub(super) async fn deliver(&self, base: Arc<Client>, signal: Signal, body: Rope) -> Outcome {
        let authorized = match self.authorized(&base).await {
            Ok(authorized) => authorized,
            Err(outcome) => return outcome,
        };
        let outcome = authorized.client.export(signal, body).await;
        match &outcome {
            Outcome::Rejected(rejection) if rejection.kind == RejectionKind::Unauthorized => {
                if self.0.replaces(&authorized.issued) { Outcome::retry(rejection.message.clone()) } else { outcome }
            }
            Outcome::Retry { .. } => outcome,
            _ => {
                self.0.taken(&authorized.issued);
                outcome
            }
        }
    }

    async fn authorized(&self, base: &Arc<Client>) -> Result<Arc<Authorized>, Outcome> {
        loop {
            match self.0.look(base) {
                Look::Ready(authorized) => return Ok(authorized),
                Look::Due(authorized, turn) => {
                    // In a task of its own: the old token is good enough for this request.
                    let shared = Arc::clone(&self.0);
                    tokio::spawn(async move { shared.ask(turn).await });
                    return Ok(authorized);
                }
                Look::Failed(outcome) => return Err(outcome),
                Look::Missing => {
                    let turn = Arc::clone(&self.0.turn).lock_owned().await;
                    // Whoever had the turn before may have got it, or failed to.
                    if matches!(self.0.look(base), Look::Missing) {
                        self.0.ask(turn).await;
                    }
                }
            }
        }
    }
}

impl Shared {
    fn look(&self, base: &Arc<Client>) -> Look {
        let now = Instant::now();
        let mut state = self.lock();
        let waits = state.failure.as_ref().is_some_and(|failure| failure.until > now);
        let issued = state.issued.as_ref().filter(|issued| issued.expires_at.is_none_or(|end| now < end));
        let Some(issued) = issued.map(Arc::clone) else {
            return match &state.failure {
                Some(Failure { until, reason, .. }) if waits => {
                    Look::Failed(Outcome::Retry { after: Some(*until - now), reason: reason.clone() })
                }
                _ => Look::Missing,
            };
        };
        let authorized = match state.authorized(base, &issued) {
            Ok(authorized) => authorized,
            Err(outcome) => return Look::Failed(outcome),
        };
        if !waits
            && issued.renew_at.is_some_and(|due| due <= now)
            && let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
        {
            return Look::Due(authorized, turn);
        }
        Look::Ready(authorized)
    }

    /// Asks for a token and keeps it, or why there is none.
    async fn ask(&self, turn: OwnedMutexGuard<()>) {
        let answer = self.ask_once().await;
        let mut state = self.lock();
        match answer {
            Ok(token) => {
                state.issued = Some(Arc::new(Issued::new(token)));
                state.authorized = None;
                if state.failure.take().is_some() {
                    tracing::info!("the authorization server issues tokens again");
                }
            }
            Err(error) => {
                let count = state.failure.as_ref().map_or(0, |failure| failure.count);
                let doubled = FIRST_PAUSE.saturating_mul(1 << count.min(16)).min(LONGEST_PAUSE);
                // Half of it by chance, so that clients do not come back together.
                let pause = doubled.mul_f64(rand::random_range(0.5..=1.0)).max(error.retry_after().unwrap_or_default());
                let reason = error.to_string();
                tracing::warn!(%reason, "no token, asking again after a pause");
                state.failure = Some(Failure { count: count + 1, until: Instant::now() + pause, reason });
            }
        }
        drop(state);
        drop(turn);
    }

    async fn ask_once(&self) -> Result<Token, TokenError> {
        let credentials = self.credentials.current().await;
        let answer = self.endpoint.request(&credentials).await;
        match answer {
            Err(error) if error.is_refusal() => {
                // A secret that was rotated since the last look.
                let now = self.credentials.instead_of(&credentials).await;
                if Arc::ptr_eq(&now, &credentials) { Err(error) } else { self.endpoint.request(&now).await }
            }
            answer => answer,
        }
    }

    /// After the backend has refused a token: whether another one is there or can be had.
    fn replaces(&self, refused: &Arc<Issued>) -> bool {
        let mut state = self.lock();
        if !state.uses(refused) {
            return true;
        }
        if state.is_on_trial {
            return false;
        }
        state.issued = None;
        state.authorized = None;
        state.is_on_trial = true;
        true
    }

    /// The backend has taken a request with this token.
    fn taken(&self, issued: &Arc<Issued>) {
        let mut state = self.lock();
        if state.is_on_trial && state.uses(issued) {
            state.is_on_trial = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl State {
    fn uses(&self, issued: &Arc<Issued>) -> bool {
        self.issued.as_ref().is_some_and(|current| Arc::ptr_eq(current, issued))
    }

    /// `base` with the token in use.
    fn authorized(&mut self, base: &Arc<Client>, issued: &Arc<Issued>) -> Result<Arc<Authorized>, Outcome> {
        if let Some(authorized) = &self.authorized
            && Arc::ptr_eq(&authorized.base, base)
        {
            return Ok(Arc::clone(authorized));
        }
        let client = base
            .with_header(AUTHORIZATION, issued.token.authorization.clone())
            .map_err(|error| Outcome::retry(error.to_string()))?;
        let authorized = Arc::new(Authorized { base: Arc::clone(base), client, issued: Arc::clone(issued) });
        self.authorized = Some(Arc::clone(&authorized));
        Ok(authorized)
    }
}

impl Issued {
    fn new(token: Token) -> Self {
        let now = Instant::now();
        let lifetime = token.lifetime.map(|lifetime| lifetime.clamp(SHORTEST_LIFE, LONGEST_LIFE));
        let renew_at = lifetime.map(|lifetime| now + lifetime * 4 / 5);
        let expires_at = lifetime.map(|lifetime| now + (lifetime - LEEWAY.min(lifetime / 10)));
        Self { token, renew_at, expires_at }
    }
}

impl Credentials {
    fn read(options: &Options) -> Result<Self, SecretError> {
        Ok(Self {
            id: Secret::of("`auth.oauth2.client_id`", &options.client_id)?,
            secret: Secret::read("`auth.oauth2.client_secret`", &options.client_secret)?,
            shown: match options.client_authentication {
                ClientAuthentication::Basic => ShownIn::Header,
                ClientAuthentication::Body => ShownIn::Body,
            },
            scopes: options.scopes.clone(),
            parameters: options
                .parameters
                .iter()
                .map(|(name, text)| (name.clone(), text.expose().to_owned()))
                .collect(),
        })
    }
}

impl Material for Credentials {
    type Made = ClientCredentials;
    type Error = SecretError;
    const NAME: &'static str = "credentials for tokens";

    fn is_on_disk(&self) -> bool {
        self.id.is_on_disk() || self.secret.is_on_disk()
    }

    fn read_again(&self) -> Result<Self, SecretError> {
        Ok(Self { id: self.id.read_again()?, secret: self.secret.read_again()?, ..self.clone() })
    }

    fn make(&self) -> Result<ClientCredentials, SecretError> {
        Ok(ClientCredentials {
            id: self.id.expose().to_owned(),
            secret: self.secret.expose().to_owned(),
            shown: self.shown,
            scopes: self.scopes.clone(),
            parameters: self.parameters.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Whatever lifetime a server tells, its token is used for a while, and replaced before it ends.
    #[tokio::test(start_paused = true)]
    async fn lives_are_bounded() {
        let now = Instant::now();
        let told = [0, 1, 100, i64::MAX.cast_unsigned(), u64::MAX];
        let ends = [900, 900, 95_000, 31_535_995_000, 31_535_995_000];
        for (told, end) in told.into_iter().zip(ends) {
            let lifetime = Some(Duration::from_secs(told));
            let issued = Issued::new(Token { authorization: HeaderValue::from_static("Bearer x"), lifetime });
            assert_eq!(issued.expires_at, Some(now + Duration::from_millis(end)), "{told}");
            assert!(issued.renew_at > Some(now) && issued.renew_at < issued.expires_at, "{told}");
        }
    }
}
