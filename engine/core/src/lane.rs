//! Lanes: one current-thread runtime a core, each on a thread of its own.
//!
//! What a lane takes in is admitted, transformed and sent on the same thread. Here is who they are and how a
//! component runs something on one; what runs there is the component's matter.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

/// How long the end of a lane waits for work on its blocking pool.
const BLOCKING_GRACE: Duration = Duration::from_secs(1);

thread_local! {
    static CURRENT: Cell<Option<LaneId>> = const { Cell::new(None) };
}

/// The number of a lane, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub usize);

/// One lane: spawns onto its runtime from anywhere. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lane {
    id: LaneId,
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection dealt to a lane, counted while it lives.
#[derive(Debug)]
pub struct LaneSeat(Arc<AtomicUsize>);

/// All lanes of a process. Cheap to clone; [`LaneThreads`] owns the threads.
#[derive(Clone, Debug)]
pub struct Lanes(Arc<[Lane]>);

/// Owns the lane threads: dropping or [`stop`](Self::stop)ping it ends them.
#[derive(Debug)]
pub struct LaneThreads {
    lanes: Lanes,
    threads: Vec<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

/// The lane this thread belongs to, or none on the shared runtime and elsewhere.
pub fn current() -> Option<LaneId> {
    CURRENT.get()
}

/// The work was not done: its thread was taken down with its runtime.
#[derive(Debug, thiserror::Error)]
#[error("interrupted by the end of the process")]
pub struct Interrupted;

/// Does work that takes long and cannot be divided on a thread beside the lanes, so that the lane can go on with its
/// other connections. As much is under way at once as there are cores; more waits.
///
/// When the returned future is dropped, work that has begun goes on and its result is dropped.
///
/// # Errors
///
/// [`Interrupted`]; the work may have been done or not.
///
/// # Panics
///
/// When the work panics, and outside of a runtime.
pub async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Interrupted> {
    static PLACES: OnceLock<Semaphore> = OnceLock::new();
    let places = PLACES.get_or_init(|| Semaphore::new(thread::available_parallelism().map_or(1, usize::from)));
    let place = places.acquire().await.expect("the semaphore is never closed");
    let task = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Interrupted,
    })
}

impl LaneThreads {
    /// Starts `count` lanes (at least one).
    pub fn start(count: usize) -> std::io::Result<Self> {
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for index in 0..count.max(1) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let id = LaneId(index);
            lanes.push(Lane { id, handle: runtime.handle().clone(), connections: Arc::default() });
            let (stop, stopped) = oneshot::channel::<()>();
            let thread = thread::Builder::new().name(format!("lane-{index}")).spawn(move || {
                CURRENT.set(Some(id));
                // An error means that the owner went away without saying stop, which ends the lane all the same.
                runtime.block_on(async { stopped.await.unwrap_or(()) });
                // Dropped, it would wait for blocking work without an end, such as a read of a file system that hangs.
                runtime.shutdown_timeout(BLOCKING_GRACE);
            })?;
            threads.push((stop, thread));
        }
        Ok(Self { lanes: Lanes(lanes.into()), threads })
    }

    /// The lanes, to hand to components.
    pub fn lanes(&self) -> Lanes {
        self.lanes.clone()
    }

    /// Ends every lane and waits for its thread; tasks still running there are dropped, and blocking work that does not come
    /// back within a second is left behind.
    pub fn stop(self) {
        for (stop, thread) in self.threads {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("a lane thread panicked");
            }
        }
    }
}

impl Lanes {
    /// The lanes in order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.0.iter()
    }

    /// How many lanes there are, at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The lane with the fewest connections, and a seat there that counts until it is dropped.
    pub fn seat(&self) -> (&Lane, LaneSeat) {
        let lane = self
            .0
            .iter()
            .min_by_key(|lane| lane.connections.load(Ordering::Relaxed))
            .expect("there is at least one lane");
        lane.connections.fetch_add(1, Ordering::Relaxed);
        (lane, LaneSeat(Arc::clone(&lane.connections)))
    }
}

impl Lane {
    /// This lane's number.
    pub fn id(&self) -> LaneId {
        self.id
    }

    /// Runs a future on this lane.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }
}

impl Drop for LaneSeat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use super::*;

    /// Code on a lane knows which one it runs on; code elsewhere knows that it is on none.
    #[tokio::test]
    async fn knows_its_lane() {
        let threads = LaneThreads::start(2).unwrap();
        for lane in threads.lanes().iter() {
            assert_eq!(lane.spawn(async { current() }).await.unwrap(), Some(lane.id()));
        }
        assert_eq!(current(), None);
        threads.stop();
    }

    /// Blocking work that does not come back, such as a read of a file system that hangs, does not hold up the end.
    #[test]
    fn work_that_blocks_does_not_hold_up_the_end() {
        let threads = LaneThreads::start(1).unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = std::sync::mpsc::channel();
        threads.lanes().iter().next().unwrap().spawn(async move {
            let _blocked = tokio::task::spawn_blocking(move || {
                begin.send(()).unwrap();
                released.recv()
            });
        });
        begun.recv().unwrap();
        let (end, ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            threads.stop();
            end.send(())
        });
        assert!(ended.recv_timeout(Duration::from_secs(60)).is_ok(), "the lane waits for what does not come back");
        drop(release);
    }

    /// Work beside a lane does not run on it, its result comes back, and so does its panic.
    #[tokio::test]
    async fn works_beside_a_lane() {
        let threads = LaneThreads::start(1).unwrap();
        let lane = threads.lanes().iter().next().unwrap().clone();
        assert_eq!(lane.spawn(beside(current)).await.unwrap().unwrap(), None);
        let panicked = lane.spawn(beside(|| std::panic::resume_unwind(Box::new("unlucky")))).await;
        assert!(panicked.is_err_and(|error: tokio::task::JoinError| error.is_panic()));
        assert_eq!(lane.spawn(beside(|| 7)).await.unwrap().unwrap(), 7, "a panic gives its place back");
        threads.stop();
    }

    /// Connections go to the lane with the fewest, and a seat is free again when its connection ends.
    #[test]
    fn deals_connections_evenly() {
        let threads = LaneThreads::start(2).unwrap();
        let lanes = threads.lanes();
        let (first, first_seat) = lanes.seat();
        let (second, _second_seat) = lanes.seat();
        assert_ne!(first.id(), second.id());
        drop(first_seat);
        assert_eq!(lanes.seat().0.id(), first.id());
        threads.stop();
    }
}
