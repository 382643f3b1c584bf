//! The two listeners of the administration server, and whom each of them answers.
//!
//! The local one is for people and scrapers on this machine. The other is there if the configuration asks for it: read-only,
//! for an operator and the kubelet, who come to the address of a pod. What is answered is the server's work (`server`).

use std::net::SocketAddr;

use bytes::Bytes;
use engine_config::{ComponentId, ProcessSettings};
use engine_core::socket::{BindError, Bound, Sockets};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use transport::server::{Auth, AuthError, AuthOptions};

use super::{ID, LISTEN, host, server};

/// What the second listener is called where addresses are listed.
const STATUS: &str = "status";

/// What the second listener tells everybody: the kubelet has no token.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// The listeners of the server, bound.
#[derive(Debug)]
pub struct Doors(Vec<Open>);

/// One listener and whom it answers.
#[derive(Debug)]
pub(super) struct Open {
    bound: Bound,
    pub(super) listener: std::net::TcpListener,
    pub(super) door: Door,
}

/// Whom a listener answers.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// Whoever names this server by an address.
    Local,
    /// Probes, and whoever has a token. Nothing is changed through it, whatever the server can do.
    Status(Auth),
}

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Its address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The token.
    #[error("status: {0}")]
    Token(#[from] AuthError),
    /// The operating system does not lend what it bound.
    #[error("{name}: cannot use the listener")]
    Listener {
        /// Which one.
        name: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Doors {
    /// Binds the listeners that the settings ask for.
    ///
    /// # Errors
    /// Everything that stands in the way of either.
    pub fn open(settings: &ProcessSettings) -> Result<Self, Vec<DoorError>> {
        let sockets = Sockets::default();
        let local = open(&sockets, ID, settings.admin_listen, Ok(Door::Local));
        let status = settings.status.as_ref().map(|status| {
            let options = AuthOptions { tokens: vec![status.token.clone()], ..AuthOptions::default() };
            open(&sockets, STATUS, status.listen.get(), Auth::new(&options).map(Door::Status))
        });
        let (mut opened, mut errors) = (Vec::new(), Vec::new());
        for door in std::iter::once(local).chain(status) {
            match door {
                Ok(door) => opened.push(door),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self(opened)) } else { Err(errors) }
    }

    /// Where they listen.
    pub fn bound(&self) -> Vec<Bound> {
        self.0.iter().map(|open| open.bound.clone()).collect()
    }

    pub(super) fn into_open(self) -> Vec<Open> {
        self.0
    }
}

fn open(
    sockets: &Sockets,
    name: &'static str,
    address: SocketAddr,
    door: Result<Door, AuthError>,
) -> Result<Open, DoorError> {
    let component = ComponentId::new(name).expect("a literal of the grammar");
    let door = door?;
    sockets.bind(&component, LISTEN, address)?;
    let unusable = |source| DoorError::Listener { name, source };
    let listener = sockets.lend(&component, LISTEN, address).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    Ok(Open { bound: Bound { component, key: LISTEN.to_owned(), address }, listener, door })
}

impl Door {
    /// What a request is answered in place of what it asks for; `None` when it may have that.
    pub(super) async fn refusal<B>(&self, request: &Request<B>) -> Option<Response<Full<Bytes>>> {
        match self {
            Self::Local if names_this_server(request) => None,
            Self::Local => {
                let text = "the Host header must be an address or localhost\n";
                Some(server::reply(StatusCode::FORBIDDEN, server::TEXT, text))
            }
            Self::Status(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => Some(server::only_reading()),
            Self::Status(_) if PROBES.contains(&request.uri().path()) => None,
            Self::Status(auth) => {
                let denied = auth.admit(request.headers()).await.err()?;
                let text = format!("{}\n", denied.message());
                let mut response = server::reply(StatusCode::UNAUTHORIZED, server::TEXT, text);
                response.headers_mut().insert(header::WWW_AUTHENTICATE, auth.challenge());
                Some(response)
            }
        }
    }

    /// How JSON is written behind this door: for people, or for programs that ask many engines.
    pub(super) fn json<T: serde::Serialize>(&self, value: &T) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Local => serde_json::to_vec_pretty(value),
            Self::Status(_) => serde_json::to_vec(value),
        }
    }
}

fn names_this_server<B>(request: &Request<B>) -> bool {
    let host: Option<&HeaderValue> = request.headers().get(header::HOST);
    host.and_then(|host| host.to_str().ok()).is_some_and(host::is_own)
}

#[cfg(test)]
mod tests;
