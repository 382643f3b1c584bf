//! Connections by lane: one shared HTTP/2 connection, or a few HTTP/1 ones that take turns; where connections are spread
//! over addresses, as much for each address.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use engine_core::lane;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use tokio::time::Instant;

use crate::client::body::RequestBody;
use crate::client::dial::{DialError, Dialer};
use crate::client::handshake::Dialed;
use crate::client::{ClientError, ClientOptions};

/// More lanes than an engine starts. What runs on no lane shares the slot after them.
const LANE_SLOTS: usize = 64;

/// HTTP/1 connections kept idle per lane.
const KEPT_IDLE: usize = 8;

/// An HTTP/1 connection idle for longer is not used again: most servers close it about then.
const IDLE_TIMEOUT: Duration = Duration::from_secs(25);

/// All connections of one client.
pub(super) struct Pool {
    dialer: Arc<Dialer>,
    max_age: Option<Duration>,
    slots: Box<[Arc<Slot>]>,
    /// In place of `slots` where connections are spread.
    spread: Option<Box<[Mutex<SpreadSlots>]>>,
}

/// A connection taken for one request.
pub(super) enum Connection {
    Http2 { open: Open, slot: Arc<Slot> },
    Http1 { sender: http1::SendRequest<RequestBody>, retire_at: Option<Instant>, generation: u64, slot: Arc<Slot> },
}

/// A shared connection and how much it had answered when a request was put on it.
pub(super) struct InUse {
    open: Open,
    answered_before: u64,
    slot: Arc<Slot>,
}

/// An HTTP/2 connection that requests share.
#[derive(Clone)]
pub(super) struct Open {
    sender: http2::SendRequest<RequestBody>,
    retire_at: Option<Instant>,
    answered: Arc<AtomicU64>,
}

/// The connections of one lane, or those of it to one address.
#[derive(Default)]
pub(super) struct Slot {
    /// The only address that is dialled; without, any.
    address: Option<SocketAddr>,
    state: Mutex<SlotState>,
}

/// The slots of one lane, one an address.
#[derive(Default)]
struct SpreadSlots {
    generation: u64,
    slots: Vec<Arc<Slot>>,
}

#[derive(Default)]
struct SlotState {
    open: Option<Open>,
    dialing: Option<Dialing>,
    idle: Vec<Idle>,
    speaks_http1: bool,
    /// Of the set of addresses from which the connections come. With another set they are dealt anew.
    generation: u64,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    retire_at: Option<Instant>,
    since: Instant,
}

/// A dial that everyone who needs it waits for. It puts the connection into its slot itself.
type Dialing = Shared<BoxFuture<'static, Result<(), DialError>>>;

/// What a slot offers a request.
enum Offer {
    Open(Open),
    Idle(Idle),
    Wait(Dialing),
    DialOwn,
}

impl Pool {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let dialer = Arc::new(Dialer::new(options)?);
        let slots = (0..=LANE_SLOTS).map(|_| Arc::new(Slot::new(None, dialer.speaks_http1()))).collect();
        let spread = options.spread.is_some().then(|| (0..=LANE_SLOTS).map(|_| Mutex::default()).collect());
        Ok(Self { dialer, max_age: options.max_connection_age, slots, spread })
    }

    /// A connection of the calling lane, made if there is none.
    pub(super) async fn take(&self) -> Result<Connection, DialError> {
        let lane = lane::current().map_or(LANE_SLOTS, |lane| lane.0 % LANE_SLOTS);
        // Ages are judged at the time of the call: what is dialled for it is young enough.
        let now = Instant::now();
        self.dialer.addresses().look_if_due(now);
        if self.spread.is_none()
            && let Some(connection) = self.at_hand(&self.slots[lane], now)
        {
            return Ok(connection);
        }
        // Boxed: connecting is rare and its future large, and it would be a part of every request's.
        Box::pin(self.connect(lane, now)).await
    }

    /// A connection that can be used at once.
    fn at_hand(&self, slot: &Arc<Slot>, now: Instant) -> Option<Connection> {
        match self.offer(slot, now) {
            Offer::Open(open) => Some(Connection::Http2 { open, slot: Arc::clone(slot) }),
            Offer::Idle(idle) => {
                let mut state = slot.lock();
                if !idle.sender.is_ready() {
                    state.idle.push(idle);
                    return None;
                }
                let Idle { sender, retire_at, .. } = idle;
                let generation = state.generation;
                Some(Connection::Http1 { sender, retire_at, generation, slot: Arc::clone(slot) })
            }
            Offer::Wait(_) | Offer::DialOwn => None,
        }
    }

    /// Waits for a connection, and makes one if there is none.
    async fn connect(&self, lane: usize, now: Instant) -> Result<Connection, DialError> {
        let mut slot = self.choose(lane).await?;
        loop {
            match self.offer(&slot, now) {
                Offer::Open(open) => return Ok(Connection::Http2 { open, slot }),
                Offer::Idle(mut idle) => {
                    if idle.sender.ready().await.is_ok() {
                        let Idle { sender, retire_at, .. } = idle;
                        let generation = slot.lock().generation;
                        return Ok(Connection::Http1 { sender, retire_at, generation, slot });
                    }
                }
                Offer::Wait(dialing) => {
                    if let Err(error) = dialing.await {
                        slot = self.instead(lane, now, error).await?;
                    }
                }
                Offer::DialOwn => match self.dialer.dial(slot.address).await {
                    Ok(dialed) => {
                        if let Some(connection) = slot.admit(dialed, self.retire_at(), &slot) {
                            return Ok(connection);
                        }
                    }
                    Err(error) => slot = self.instead(lane, now, error).await?,
                },
            }
        }
    }

    /// The slot of the address whose turn it is.
    async fn choose(&self, lane: usize) -> Result<Arc<Slot>, DialError> {
        let (addresses, spread) = (self.dialer.addresses(), self.spread.as_ref());
        let (Some(members), Some(lanes)) = (addresses.members(), spread) else {
            return Ok(Arc::clone(&self.slots[lane]));
        };
        if members.is_unknown() {
            self.dialer.first_look().await?;
        }
        let now = Instant::now();
        let address = members.pick(now).map_err(|absent| DialError::until(absent.until, absent.problem))?;
        let generation = addresses.generation();
        let mut lane_slots = lanes[lane].lock().expect("nothing panics while it holds the lock");
        let known = lane_slots.slots.iter().find(|slot| slot.address == Some(address)).map(Arc::clone);
        if lane_slots.generation == generation
            && let Some(slot) = known
        {
            return Ok(slot);
        }
        // Connections to addresses that are no longer in use end with their last request.
        lane_slots.generation = generation;
        lane_slots.slots.retain(|slot| slot.address.is_some_and(|it| it == address || members.keeps(it, now)));
        if let Some(slot) = known {
            return Ok(slot);
        }
        let slot = Arc::new(Slot::new(Some(address), self.dialer.speaks_http1()));
        lane_slots.slots.push(Arc::clone(&slot));
        Ok(slot)
    }

    /// After a failed dial: another address, where there is one and time for it.
    async fn instead(&self, lane: usize, since: Instant, error: DialError) -> Result<Arc<Slot>, DialError> {
        if self.spread.is_none() || since.elapsed() >= self.dialer.timeout() {
            return Err(error);
        }
        self.choose(lane).await
    }

    /// Takes an HTTP/1 connection back whose answer has been read to the end.
    pub(super) fn give_back(&self, connection: Connection) {
        if let Connection::Http1 { sender, retire_at, generation, slot } = connection {
            let mut state = slot.lock();
            if state.idle.len() < KEPT_IDLE && state.generation == generation && !sender.is_closed() {
                state.idle.push(Idle { sender, retire_at, since: Instant::now() });
            }
        }
    }

    /// After a request got no answer in time: a connection that answered nobody since then is replaced, because
    /// nothing but the peer's silence tells of a dead network. Requests still on it are left alone.
    pub(super) fn suspect(&self, used: InUse) {
        if used.open.answered.load(Ordering::Relaxed) != used.answered_before {
            return;
        }
        if let (Some(address), Some(members)) = (used.slot.address, self.dialer.addresses().members()) {
            members.failed(address, format!("{address} does not answer").into());
        }
        let mut state = used.slot.lock();
        if state.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.answered, &used.open.answered)) {
            state.open = None;
        }
    }

    /// What was wrong with the last peer, when it spoke something else than expected.
    pub(super) fn misfit(&self) -> Option<Arc<str>> {
        self.dialer.misfit()
    }

    fn offer(&self, slot: &Arc<Slot>, now: Instant) -> Offer {
        let generation = self.dialer.addresses().generation();
        let mut state = slot.lock();
        if state.generation != generation {
            state.generation = generation;
            // One address is not another because of others.
            if slot.address.is_none() {
                state.open = None;
                state.idle.clear();
            }
        }
        if let Some(open) = &state.open {
            if !open.sender.is_closed() && !is_over(open.retire_at, now) {
                return Offer::Open(open.clone());
            }
            state.open = None;
        }
        while let Some(idle) = state.idle.pop() {
            if !idle.sender.is_closed()
                && !is_over(idle.retire_at, now)
                && now.saturating_duration_since(idle.since) < IDLE_TIMEOUT
            {
                return Offer::Idle(idle);
            }
        }
        if state.speaks_http1 {
            return Offer::DialOwn;
        }
        if let Some(dialing) = &state.dialing
            && dialing.peek().is_none()
        {
            return Offer::Wait(dialing.clone());
        }
        let dialing = self.start_dial(Arc::clone(slot));
        state.dialing = Some(dialing.clone());
        Offer::Wait(dialing)
    }

    /// Dials in a task of its own, so that it goes on for the others when the request that started it is given up.
    fn start_dial(&self, slot: Arc<Slot>) -> Dialing {
        let dialer = Arc::clone(&self.dialer);
        let retire_at = self.retire_at();
        let task = tokio::spawn(async move {
            let dialed = dialer.dial(slot.address).await?;
            if let Some(Connection::Http1 { sender, .. }) = slot.admit(dialed, retire_at, &slot) {
                slot.lock().idle.push(Idle { sender, retire_at, since: Instant::now() });
            }
            Ok(())
        });
        task.map(|joined| joined.unwrap_or_else(|_| Err(DialError::interrupted()))).boxed().shared()
    }

    fn retire_at(&self) -> Option<Instant> {
        self.max_age.map(|age| Instant::now() + age.mul_f64(rand::random_range(0.9..=1.1)))
    }
}

fn is_over(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| at < now)
}

impl Slot {
    fn new(address: Option<SocketAddr>, speaks_http1: bool) -> Self {
        Self { address, state: Mutex::new(SlotState { speaks_http1, ..SlotState::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    /// Makes a new HTTP/2 connection the shared one; hands an HTTP/1 connection to the caller.
    fn admit(&self, dialed: Dialed, retire_at: Option<Instant>, slot: &Arc<Self>) -> Option<Connection> {
        let mut state = self.lock();
        match dialed {
            Dialed::Http2(sender) => {
                state.open = Some(Open { sender, retire_at, answered: Arc::default() });
                state.speaks_http1 = false;
                None
            }
            Dialed::Http1(sender) => {
                state.speaks_http1 = true;
                let generation = state.generation;
                Some(Connection::Http1 { sender, retire_at, generation, slot: Arc::clone(slot) })
            }
        }
    }
}

impl Connection {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2 { .. })
    }

    /// What is needed to judge a shared connection after a timeout.
    pub(super) fn in_use(&self) -> Option<InUse> {
        match self {
            Self::Http2 { open, slot } => Some(InUse {
                open: open.clone(),
                answered_before: open.answered.load(Ordering::Relaxed),
                slot: Arc::clone(slot),
            }),
            Self::Http1 { .. } => None,
        }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self {
            Self::Http2 { open, .. } => {
                let response = open.sender.try_send_request(request).await?;
                open.answered.fetch_add(1, Ordering::Relaxed);
                Ok(response)
            }
            Self::Http1 { sender, .. } => sender.try_send_request(request).await,
        }
    }
}
