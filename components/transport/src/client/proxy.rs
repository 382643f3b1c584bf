//! Through an HTTP proxy: a tunnel by CONNECT (RFC 9110, section 9.3.6), whatever then goes through it.
//!
//! The proxy's credentials are part of the CONNECT request only, so the backend never sees them, and what is sent to the
//! backend the proxy sees only if it goes in clear.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::ClientError;
use crate::reload::{Material, Reloading};

/// The largest answer to CONNECT that is read.
const MAX_ANSWER: usize = 16 * 1024;

/// A proxy on the way to the endpoint.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// `http://host:port`.
    pub uri: Uri,
    /// The value of `proxy-authorization`, if the proxy wants one.
    pub authorization: Option<Arc<dyn HeaderSource>>,
}

/// A header whose value may change, asked for whenever it is sent.
pub trait HeaderSource: fmt::Debug + Send + Sync {
    /// The present value.
    fn current(&self) -> BoxFuture<'_, HeaderValue>;
}

/// A proxy whose address has been checked.
pub(super) struct Tunnel {
    name: String,
    authorization: Option<Arc<dyn HeaderSource>>,
}

impl<M> HeaderSource for Reloading<M>
where
    M: Material<Made = HeaderValue>,
{
    fn current(&self) -> BoxFuture<'_, HeaderValue> {
        Box::pin(async { HeaderValue::clone(&*Reloading::current(self).await) })
    }
}

impl Proxy {
    /// Where the proxy is, and what to say to it.
    pub(super) fn checked(&self) -> Result<(String, u16, Tunnel), ClientError> {
        let refuse = |problem| ClientError::Endpoint { endpoint: self.uri.to_string(), problem };
        if self.uri.scheme() != Some(&http::uri::Scheme::HTTP) {
            return Err(refuse("a proxy starts with http://"));
        }
        let host = self.uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = self.uri.port_u16().unwrap_or(80);
        let name = format!("the proxy {host}:{port}");
        Ok((host, port, Tunnel { name, authorization: self.authorization.clone() }))
    }
}

impl Tunnel {
    /// Makes `socket`, which is connected to the proxy, a connection to `host` and `port`.
    pub(super) async fn open(&self, socket: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            let value = authorization.current().await;
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let answer = async {
            socket.write_all(&request).await?;
            read_head(socket).await
        };
        let head = answer.await.map_err(|error| match error.kind() {
            kind @ io::ErrorKind::UnexpectedEof => self.says(kind, "closes the connection without an answer"),
            kind => self.says(kind, &error.to_string()),
        })?;
        let invalid = |problem: &str| self.says(io::ErrorKind::InvalidData, problem);
        let status = status_of(&head).ok_or_else(|| invalid("does not answer CONNECT in HTTP"))?;
        if status.is_success() {
            return Ok(());
        }
        Err(match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if self.authorization.is_some() => {
                invalid("refuses our credentials (http status 407)")
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => invalid("wants credentials (http status 407)"),
            _ => invalid(&format!("does not connect to {target}: http status {status}")),
        })
    }

    fn says(&self, kind: io::ErrorKind, problem: &str) -> io::Error {
        io::Error::new(kind, format!("{}: {problem}", self.name))
    }
}

/// Everything up to the empty line, and not a byte more: what follows is the backend's already.
async fn read_head(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer to CONNECT has no end"));
        }
        head.push(socket.read_u8().await?);
    }
    Ok(head)
}

fn status_of(head: &[u8]) -> Option<StatusCode> {
    let text = head.strip_prefix(b"HTTP/1.")?;
    StatusCode::from_bytes(text.get(2..5)?).ok()
}
