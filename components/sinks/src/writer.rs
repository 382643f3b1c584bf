//! A thread that writes: payloads go to it one behind the other, answers come back.
//!
//! Standard outputs and files block, and what blocks must not do so on a lane. The thread starts with the first
//! payload, because building a component must not spawn. Not here: what is written and where.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io, mem, thread};

use crossbeam_channel::{Receiver, Sender};
use engine_core::contract::ComponentError;
use engine_core::outcome::{Outcome, RejectionKind};
use otlp::{Payload, Wire};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Payloads that wait for the thread, besides the one it writes. Deliveries beyond that wait in their own tasks.
const QUEUE: usize = 16;

/// How long an end waits for a thread that its output holds up (a paused terminal, a dead network file system).
const FINISH: Duration = Duration::from_secs(5);

/// What the thread does with a payload.
pub(crate) trait Write: Send + 'static {
    /// Writes one payload; may block. A call that panicked is followed by others, so it must leave nothing half done
    /// that a later call relies on.
    fn write(&mut self, wire: &Wire) -> Outcome;
}

/// A [`Write`] on a thread of its own.
pub(crate) struct WriterThread<W> {
    name: String,
    state: Mutex<State<W>>,
    queue: Arc<Semaphore>,
}

enum State<W> {
    /// No payload has come yet.
    Idle(W),
    Running {
        jobs: Sender<Job>,
        ended: oneshot::Receiver<Infallible>,
    },
    Finished,
}

struct Job {
    wire: Wire,
    answer: oneshot::Sender<Result<Outcome, Panic>>,
    // A place in the queue, free again when the job is done.
    _place: OwnedSemaphorePermit,
}

type Panic = Box<dyn Any + Send>;

impl<W: Write> WriterThread<W> {
    /// A thread that will be called `name`.
    pub(crate) fn new(name: String, writer: W) -> Self {
        Self { name, state: Mutex::new(State::Idle(writer)), queue: Arc::new(Semaphore::new(QUEUE)) }
    }

    /// Has the payload written and waits for the answer. Payloads are written in the order of the calls.
    ///
    /// # Panics
    ///
    /// When writing panicked, so that the driver deals with it as with every panic of a sink.
    pub(crate) async fn deliver(&self, payload: Payload) -> Outcome {
        let wire = match payload.into_wire() {
            Ok(wire) => wire,
            Err(error) => return Outcome::rejected(RejectionKind::Invalid, error.to_string()),
        };
        let place = Arc::clone(&self.queue).acquire_owned().await.expect("the semaphore is never closed");
        let jobs = match self.jobs() {
            Ok(jobs) => jobs,
            Err(error) => return Outcome::retry(format!("cannot start the thread `{}`: {error}", self.name)),
        };
        let (answer, answered) = oneshot::channel();
        // Never blocks: a job holds its place for as long as it is in the channel, which has room for all places.
        if jobs.try_send(Job { wire, answer, _place: place }).is_err() {
            return Outcome::retry(format!("the thread `{}` has ended", self.name));
        }
        match answered.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Outcome::retry(format!("the thread `{}` has ended", self.name)),
        }
    }

    /// Ends the thread after what it was given.
    ///
    /// # Errors
    ///
    /// The thread is held up by its output; it is left to itself.
    pub(crate) async fn finish(&self) -> Result<(), ComponentError> {
        let State::Running { jobs, ended } = mem::replace(&mut *self.state(), State::Finished) else {
            return Ok(());
        };
        drop(jobs);
        if tokio::time::timeout(FINISH, ended).await.is_err() {
            return Err(ComponentError::new(format!("the thread `{}` is held up by its output", self.name)));
        }
        Ok(())
    }

    /// Where jobs go; starts the thread if it does not run yet.
    fn jobs(&self) -> io::Result<Sender<Job>> {
        let mut state = self.state();
        match &*state {
            State::Running { jobs, .. } => return Ok(jobs.clone()),
            State::Finished => return Err(io::Error::other("the sink has ended")),
            State::Idle(_) => {}
        }
        let (jobs, given) = crossbeam_channel::bounded(QUEUE);
        let (ending, ended) = oneshot::channel();
        // The writer follows when the thread is there: a thread that cannot be started must not take it along.
        let (handover, handed) = crossbeam_channel::bounded(1);
        thread::Builder::new().name(self.name.clone()).spawn(move || {
            if let Ok(writer) = handed.recv() {
                run(writer, &given);
            }
            drop::<oneshot::Sender<Infallible>>(ending);
        })?;
        if let State::Idle(writer) = mem::replace(&mut *state, State::Running { jobs: jobs.clone(), ended }) {
            handover.send(writer).map_err(|_| io::Error::other("it ended at once"))?;
        }
        Ok(jobs)
    }

    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> fmt::Debug for WriterThread<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WriterThread").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Writes until nobody can give any more.
fn run(mut writer: impl Write, given: &Receiver<Job>) {
    for job in given {
        // Whoever gave it up has settled it otherwise.
        if job.answer.is_closed() {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| writer.write(&job.wire)));
        // An error means that the delivery was given up while it was written.
        job.answer.send(outcome).ok();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::sync::mpsc;

    use engine_core::test_kit::{logs, records_of, within};
    use futures::FutureExt;

    use super::*;

    /// Asks the test before each write.
    struct Asking {
        gate: mpsc::Receiver<Outcome>,
        written: mpsc::Sender<u64>,
    }

    impl Write for Asking {
        fn write(&mut self, wire: &Wire) -> Outcome {
            let number = records_of(&wire.clone().into())[0];
            let outcome = self.gate.recv().unwrap_or_else(|_| Outcome::retry("the test is over"));
            self.written.send(number).ok();
            outcome
        }
    }

    fn asking() -> (WriterThread<Asking>, mpsc::Sender<Outcome>, mpsc::Receiver<u64>) {
        let (answers, gate) = mpsc::channel();
        let (written, numbers) = mpsc::channel();
        (WriterThread::new("test".to_owned(), Asking { gate, written }), answers, numbers)
    }

    /// A thread whose output is stuck holds up no runtime: more deliveries than the queue has places wait, and all of
    /// them are written in order once it moves.
    #[tokio::test]
    async fn waits_without_blocking_and_keeps_order() {
        let (thread, answers, numbers) = asking();
        let count = 3 * QUEUE as u64;
        let deliveries: Vec<_> = (0..count).map(|number| thread.deliver(logs(&[], [number])).boxed()).collect();
        let mut all = futures::future::join_all(deliveries);
        // One poll puts as many as fit into the queue; it returns although nothing is written.
        assert!(futures::poll!(&mut all).is_pending());
        for _ in 0..count {
            answers.send(Outcome::Delivered).unwrap();
        }
        let outcomes = within("all deliveries are answered", all).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered));
        within("the thread ends", thread.finish()).await.unwrap();
        assert_eq!(numbers.try_iter().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
    }

    /// What was given up while it waited is not written any more.
    #[tokio::test]
    async fn skips_what_was_given_up() {
        let (thread, answers, numbers) = asking();
        let mut first = thread.deliver(logs(&[], [1])).boxed();
        let mut second = thread.deliver(logs(&[], [2])).boxed();
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        answers.send(Outcome::Delivered).unwrap();
        assert_eq!(within("the first is written", first).await, Outcome::Delivered);
        within("the thread ends", thread.finish()).await.unwrap();
        assert_eq!(numbers.try_iter().collect::<Vec<_>>(), [1]);
    }

    /// A panic while writing surfaces in the delivery, where the driver expects it, and the thread goes on.
    #[tokio::test]
    async fn passes_panics_on() {
        struct Picky;
        impl Write for Picky {
            fn write(&mut self, wire: &Wire) -> Outcome {
                assert_ne!(wire.records(), 2, "two is too many");
                Outcome::Delivered
            }
        }
        let thread = WriterThread::new("test".to_owned(), Picky);
        let poison = AssertUnwindSafe(thread.deliver(logs(&[], [1, 2]))).catch_unwind();
        assert!(within("the panic arrives", poison).await.is_err());
        assert_eq!(within("the next is written", thread.deliver(logs(&[], [1]))).await, Outcome::Delivered);
    }

    /// An output that never takes what it was given cannot hold up the end of the process, and the error names it.
    #[tokio::test(start_paused = true)]
    async fn ends_although_the_output_is_stuck() {
        let (thread, _answers, _numbers) = asking();
        let mut delivery = thread.deliver(logs(&[], [1])).boxed();
        assert!(futures::poll!(&mut delivery).is_pending());
        let error = thread.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "the thread `test` is held up by its output");
    }

    /// A sink that nothing was delivered to has no thread to end, and takes nothing after its end.
    #[tokio::test]
    async fn ends_without_having_started() {
        let (thread, _answers, _numbers) = asking();
        thread.finish().await.unwrap();
        assert!(matches!(thread.deliver(logs(&[], [1])).await, Outcome::Retry { .. }));
    }
}
