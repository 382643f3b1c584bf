//! One connection through the proxy.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{expired_watch, refusal};
use super::events::{Cut, Manner, Passing};
use super::rule::{Fault, Gate, When};
use super::{Seen, Shared};

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

/// Forwards the requests of one connection.
#[derive(Clone)]
pub(crate) struct Forward {
    pub(crate) shared: Arc<Shared>,
    pub(crate) ending: Ending,
}

/// How a request on a connection says that the connection is to end.
#[derive(Clone)]
pub(crate) struct Ending {
    close: CancellationToken,
    reset: CancellationToken,
}

/// What happens to one request, from all the rules that it met.
#[derive(Default)]
struct Fate {
    delay: Duration,
    gate: Option<Gate>,
    instead: Option<Instead>,
    manner: Manner,
}

/// What a request gets instead of being passed on.
enum Instead {
    Answer(Response<Bytes>),
    Hang,
    Cut(Cut),
}

impl Ending {
    pub(crate) fn new(close: CancellationToken) -> Self {
        Self { close, reset: CancellationToken::new() }
    }

    pub(crate) fn end(&self, cut: Cut) {
        match cut {
            Cut::Close => self.close.cancel(),
            Cut::Reset => self.reset.cancel(),
        }
    }

    pub(crate) async fn ended(&self) -> Cut {
        tokio::select! {
            () = self.reset.cancelled() => Cut::Reset,
            () = self.close.cancelled() => Cut::Close,
        }
    }
}

impl Forward {
    pub(crate) async fn serve(self, stream: TcpStream) {
        // A second handle on the socket, since hyper keeps the first.
        let Ok(stream) = stream.into_std() else { return };
        let Ok(handle) = stream.try_clone() else { return };
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let ending = self.ending.clone();
        let service = service_fn(move |request| {
            let forward = self.clone();
            async move { Ok::<_, Infallible>(forward.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            // In this order what was written before the end of the connection is sent.
            biased;
            // Why a client went away is its own affair.
            _ = connection => {}
            cut = ending.ended() => {
                if cut == Cut::Reset {
                    // A socket that does not linger is reset when its last handle is dropped, here and now.
                    socket2::SockRef::from(&handle).set_linger(Some(Duration::ZERO)).ok();
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let began = Instant::now();
        let fate = self.fate(&request);
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        match fate.instead {
            Some(Instead::Answer(response)) => response.map(full),
            Some(Instead::Hang) => std::future::pending().await,
            Some(Instead::Cut(cut)) => {
                self.ending.end(cut);
                std::future::pending().await
            }
            None => match self.upstream(request, fate.gate).await {
                Ok(response) => self.pass_on(response, fate.manner, began),
                Err(error) => {
                    // A client can tell this from a scripted refusal by its text.
                    let text = format!("the API server behind the proxy: {error}");
                    let response = Response::builder().status(502).body(Bytes::from(text));
                    response.expect("it has no part that could be wrong").map(full)
                }
            },
        }
    }

    fn fate(&self, request: &Request<Incoming>) -> Fate {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let is_watch = query.split('&').any(|part| matches!(part, "watch=true" | "watch=1"));
        let mut fate = Fate::default();
        let mut met = 0;
        for rule in self.shared.rules.lock().iter_mut() {
            if let Some(fault) = rule.meet(request.method(), uri.path(), is_watch) {
                met += 1;
                fate.add(fault);
            }
        }
        self.shared.seen.lock().push(Seen {
            method: request.method().to_string(),
            path: uri.path().to_owned(),
            query: query.to_owned(),
            is_watch,
            faults: met,
        });
        fate
    }

    /// Asks the API server, once the gate is open if there is one.
    async fn upstream(&self, request: Request<Incoming>, gate: Option<Gate>) -> Result<Response<Body>, kube::Error> {
        let (mut parts, body) = request.into_parts();
        for name in [HOST, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH, ACCEPT_ENCODING] {
            parts.headers.remove(name);
        }
        let body = body.collect().await.map_err(kube::Error::HyperError)?.to_bytes();
        let request = Request::from_parts(parts, Body::from(body));
        let client = self.shared.upstream.clone();
        let Some(gate) = gate else { return client.send(request).await };
        // The one who has asked may go away meanwhile.
        let held = tokio::spawn(async move {
            gate.opened().await;
            client.send(request).await
        });
        held.await.expect("a request does not panic, and nobody aborts it")
    }

    fn pass_on(&self, response: Response<Body>, manner: Manner, began: Instant) -> Answer {
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(CONNECTION);
        parts.headers.remove(TRANSFER_ENCODING);
        if manner.looks_at_events() {
            parts.headers.remove(CONTENT_LENGTH);
        }
        let passing = Passing::new(body, manner, self.ending.clone(), began);
        let stream = futures::stream::unfold(passing, async |mut passing| Some((passing.next().await?, passing)));
        Response::from_parts(parts, StreamBody::new(stream).boxed_unsync())
    }
}

impl Fate {
    fn add(&mut self, fault: Fault) {
        match fault {
            Fault::Answer { status, retry_after } => self.instead = Some(Instead::Answer(refusal(status, retry_after))),
            Fault::ExpiredEvent => self.instead = Some(Instead::Answer(expired_watch())),
            Fault::Hang => self.instead = Some(Instead::Hang),
            Fault::Held(gate) => self.gate = Some(gate),
            Fault::Delay(delay) => self.delay += delay,
            Fault::Slow(pause) => self.manner.slow = Some(pause),
            Fault::NoBookmarks => self.manner.no_bookmarks = true,
            Fault::Close(when) => self.cut(when, Cut::Close),
            Fault::Reset(when) => self.cut(when, Cut::Reset),
        }
    }

    fn cut(&mut self, when: When, cut: Cut) {
        match when {
            When::AtOnce => self.instead = Some(Instead::Cut(cut)),
            _ => self.manner.cut = Some((when, cut)),
        }
    }
}

fn full(bytes: Bytes) -> UnsyncBoxBody<Bytes, kube::Error> {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
