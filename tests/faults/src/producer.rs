//! Clients over OTLP/gRPC, each with a sequence of its own, that do what the OTLP specification asks of clients: what is
//! refused for now is sent again, the very same bytes, and what was cut off without an answer too. They remember what they
//! were told.

mod connection;
mod told;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub use told::{ClientTold, Told};

use self::connection::{Answer, Connection, Unsent};
use self::told::Memory;
use crate::record::{frame, now};

/// Where to send to; nothing while nobody is there.
pub type Target = watch::Receiver<Option<SocketAddr>>;

/// Longest time without an answer after which a client gives a request up and sends it again.
const UNANSWERED: Duration = Duration::from_secs(10);
/// The most that a client is behind its rate without leaving out what it could not send.
const BEHIND: Duration = Duration::from_millis(100);
/// The pauses of a client that cannot reach anybody, or is refused without a time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a client that is stopped waits for the answer under way.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// Clients that are alike.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The number of the first client; the others follow.
    pub first_client: u32,
    /// How many there are.
    pub clients: u32,
    /// What pipelines select by.
    pub group: &'static str,
    /// Records of a request.
    pub batch: u64,
    /// Records a second of all clients together.
    pub rate: f64,
    /// Requests of each client; they go on without end where missing.
    pub requests: Option<u64>,
}

impl Load {
    /// 32 clients that send 20 records a request.
    pub const fn new(rate: f64) -> Self {
        Self { first_client: 0, clients: 32, group: "all", batch: 20, rate, requests: None }
    }

    /// Clients that begin at another number and send to another group.
    #[must_use]
    pub const fn of(self, first_client: u32, clients: u32, group: &'static str) -> Self {
        Self { first_client, clients, group, ..self }
    }

    /// The numbers of its clients.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        self.first_client..self.first_client + self.clients
    }
}

/// Running clients.
pub struct Producer {
    memory: Arc<Memory>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Producer {
    /// Starts clients.
    pub fn start(target: &Target, load: &Load, seed: u64) -> Self {
        let memory = Arc::new(Memory::default());
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        let interval = Duration::from_secs_f64(load.batch as f64 * f64::from(load.clients) / load.rate);
        for index in 0..load.clients {
            let client = Client {
                number: load.first_client + index,
                group: load.group,
                batch: load.batch,
                requests: load.requests.unwrap_or(u64::MAX),
                interval,
                target: target.clone(),
                memory: Arc::clone(&memory),
                random: StdRng::seed_from_u64(seed ^ u64::from(load.first_client + index)),
                connection: None,
            };
            let first = Instant::now() + interval.mul_f64(f64::from(index) / f64::from(load.clients));
            let mut stopped = stopped.clone();
            clients.spawn(async move {
                tokio::select! {
                    () = client.run(first, stopped.clone()) => {}
                    // An answer that comes a little late is heard; after that nobody knows.
                    () = async {
                        // An error means that the producer is gone.
                        drop(stopped.wait_for(|stopped| *stopped).await);
                        sleep(LAST_ANSWER).await;
                    } => {}
                }
            });
        }
        Self { memory, stop, clients }
    }

    /// What clients were told so far.
    pub fn told(&self) -> Told {
        self.memory.told()
    }

    /// Ends all clients behind the answer that they wait for.
    pub async fn stop(mut self) -> Told {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
        self.memory.told()
    }
}

struct Client {
    number: u32,
    group: &'static str,
    batch: u64,
    requests: u64,
    interval: Duration,
    target: Target,
    memory: Arc<Memory>,
    random: StdRng,
    connection: Option<Connection>,
}

impl Client {
    async fn run(mut self, first: Instant, stopped: watch::Receiver<bool>) {
        let mut due = first;
        let mut next = 0;
        while !*stopped.borrow() && next / self.batch < self.requests {
            tokio::time::sleep_until(due).await;
            let numbers = next..next + self.batch;
            let bytes = frame(self.number, self.group, numbers.clone(), now());
            self.memory.issue(self.number, numbers.end);
            let mut pause = FIRST_PAUSE;
            while !*stopped.borrow() {
                match self.attempt(bytes.clone()).await {
                    Ok(Answer::Success(rejected)) => {
                        self.memory.accept(self.number, numbers.clone(), rejected);
                        break;
                    }
                    Ok(Answer::Again(code, delay)) => {
                        self.memory.refuse(code);
                        let wait = delay.unwrap_or(pause);
                        sleep(wait.mul_f64(self.random.random_range(1.0..1.2))).await;
                    }
                    Ok(Answer::Never(code, message)) => {
                        self.memory.reject(code, &message);
                        break;
                    }
                    Err(_) => {
                        self.connection = None;
                        sleep(pause.mul_f64(self.random.random_range(0.5..1.0))).await;
                    }
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            next = numbers.end;
            due = (due + self.interval).max(Instant::now().checked_sub(BEHIND).unwrap_or(due));
        }
    }

    /// Sends a request once, over a new connection if there is none.
    async fn attempt(&mut self, bytes: bytes::Bytes) -> anyhow::Result<Answer> {
        let connection = match &mut self.connection {
            Some(open) => open,
            None => {
                let address = *self.target.wait_for(Option::is_some).await?;
                let address = address.expect("it was waited for");
                let opened = timeout(UNANSWERED, Connection::open(address)).await??;
                self.connection.insert(opened)
            }
        };
        self.memory.begin();
        let answer = timeout(UNANSWERED, connection.send(bytes)).await;
        self.memory.end();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if error.downcast_ref::<Unsent>().is_none() {
                    self.memory.cut_off();
                }
                Err(error)
            }
            Err(late) => {
                self.memory.unanswered();
                Err(late.into())
            }
        }
    }
}
