//! Asks file systems for their size without ever waiting longer than a timeout.
//!
//! `statvfs` on a dead network mount blocks in the kernel and cannot be cancelled. Calls run on a thread of their own;
//! when one takes too long, its thread is left behind with that one mount, which is not asked again until the call has
//! returned, and the next mount gets a new thread. There is never more than one blocked thread for a mount.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Most calls that may hang at once. A host with more dead mounts reports the others late rather than holding threads.
const MOST_PENDING: usize = 64;
/// How long the other mounts of a scrape may take once one has hung.
const MOMENT: Duration = Duration::from_millis(100);

/// Space and inodes of one file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) bytes: Share,
    /// Zeros on file systems without a table of inodes.
    pub(super) inodes: Share,
}

/// What is used and what is left of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) used: u64,
    /// Free for everyone.
    pub(super) free: u64,
    /// Free for the superuser only.
    pub(super) reserved: u64,
}

/// Why a mount has no numbers in this scrape.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The call did not return in time; it is left behind.
    TimedOut,
    /// An earlier call has not returned yet.
    Pending,
    /// Too many calls hang; this mount was not asked.
    TooManyPending,
    /// The system refused, or no thread could be started.
    Failed(io::Error),
}

/// Calls that may hang, each with a timeout.
#[derive(Debug)]
pub(super) struct Prober<F> {
    call: F,
    timeout: Duration,
    worker: Option<Sender<Question>>,
    answers: (Sender<Answer>, Receiver<Answer>),
    pending: HashSet<PathBuf>,
    asked: u64,
}

#[derive(Debug)]
struct Question {
    number: u64,
    path: PathBuf,
}

struct Answer {
    number: u64,
    path: PathBuf,
    result: io::Result<Space>,
}

impl<F> Prober<F>
where
    F: Fn(&Path) -> io::Result<Space> + Clone + Send + 'static,
{
    pub(super) fn new(call: F, timeout: Duration) -> Prober<F> {
        Prober { call, timeout, worker: None, answers: unbounded(), pending: HashSet::new(), asked: 0 }
    }

    /// Asks mounts one after the other. Blocks for at most the timeout, and a moment more for each mount: once one
    /// has hung, the others get that moment only. A live file system answers in far less, and where a server is dead
    /// all its mounts hang.
    pub(super) fn ask_all<'p>(&mut self, paths: impl IntoIterator<Item = &'p Path>) -> Vec<Result<Space, Unanswered>> {
        let mut patience = self.timeout;
        let mut ask_next = |path: &Path| {
            let answer = self.ask(path, patience);
            if matches!(answer, Err(Unanswered::TimedOut)) {
                patience = self.timeout.min(MOMENT);
            }
            answer
        };
        paths.into_iter().map(&mut ask_next).collect()
    }

    fn ask(&mut self, path: &Path, patience: Duration) -> Result<Space, Unanswered> {
        while let Ok(late) = self.answers.1.try_recv() {
            self.pending.remove(&late.path);
        }
        if self.pending.contains(path) {
            return Err(Unanswered::Pending);
        }
        if self.pending.len() >= MOST_PENDING {
            return Err(Unanswered::TooManyPending);
        }
        let number = self.send(path).map_err(Unanswered::Failed)?;
        let deadline = Instant::now() + patience;
        loop {
            let Ok(answer) = self.answers.1.recv_deadline(deadline) else {
                self.pending.insert(path.to_owned());
                // Without its channel the thread ends as soon as the call returns.
                self.worker = None;
                return Err(Unanswered::TimedOut);
            };
            if answer.number == number {
                return answer.result.map_err(Unanswered::Failed);
            }
            self.pending.remove(&answer.path);
        }
    }

    /// Mounts whose call has not returned.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    fn send(&mut self, path: &Path) -> io::Result<u64> {
        self.asked += 1;
        let question = Question { number: self.asked, path: path.to_owned() };
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => self.start_worker()?,
        };
        // An idle worker has an empty channel; it only ends when this side lets go of it or the call panics.
        worker.try_send(question).map_err(|_| io::Error::other("the thread that asks file systems has ended"))?;
        self.worker = Some(worker);
        Ok(self.asked)
    }

    fn start_worker(&self) -> io::Result<Sender<Question>> {
        let (questions, inbox) = bounded::<Question>(1);
        let call = self.call.clone();
        let answers = self.answers.0.clone();
        thread::Builder::new().name("statvfs".into()).spawn(move || {
            for question in inbox {
                let result = call(&question.path);
                let answer = Answer { number: question.number, path: question.path, result };
                if answers.send(answer).is_err() {
                    return;
                }
            }
        })?;
        Ok(questions)
    }
}

/// Asks the kernel (`statvfs`, POSIX: blocks are counted in fragments).
pub(super) fn statvfs(path: &Path) -> io::Result<Space> {
    let answer = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Ok(Space {
        bytes: Share {
            used: bytes(answer.f_blocks.saturating_sub(answer.f_bfree)),
            free: bytes(answer.f_bavail),
            reserved: bytes(answer.f_bfree.saturating_sub(answer.f_bavail)),
        },
        inodes: Share { used: answer.f_files.saturating_sub(answer.f_ffree), free: answer.f_ffree, reserved: 0 },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed setup step is a failed test")]
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    const SPACE: Space =
        Space { bytes: Share { used: 1, free: 2, reserved: 3 }, inodes: Share { used: 4, free: 5, reserved: 0 } };

    fn ask<F>(prober: &mut Prober<F>, path: &str) -> Result<Space, Unanswered>
    where
        F: Fn(&Path) -> io::Result<Space> + Clone + Send + 'static,
    {
        prober.ask_all([Path::new(path)]).remove(0)
    }

    /// A mount that hangs is left behind with one thread and not asked again, the others go on being answered, and
    /// when the call returns the mount is asked again.
    #[test]
    fn a_hanging_mount_is_asked_once() {
        let (release, gate) = bounded::<()>(0);
        let (entered, blocked) = unbounded();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let call = move |path: &Path| {
            if path == Path::new("/dead") {
                counted.fetch_add(1, Ordering::SeqCst);
                entered.send(()).ok();
                // Blocks until the test lets go; afterwards the sender is gone and it returns at once.
                gate.recv().ok();
            }
            Ok(SPACE)
        };
        let mut prober = Prober::new(call, Duration::from_millis(50));

        assert!(matches!(ask(&mut prober, "/dead"), Err(Unanswered::TimedOut)));
        blocked.recv().unwrap();
        for _ in 0..3 {
            assert!(matches!(ask(&mut prober, "/dead"), Err(Unanswered::Pending)));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(prober.pending(), 1);

        drop(release);
        let recovered = loop {
            match ask(&mut prober, "/dead") {
                Ok(space) => break space,
                Err(Unanswered::Pending | Unanswered::TimedOut) => thread::yield_now(),
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(recovered, SPACE);
        assert_eq!(prober.pending(), 0);
    }

    /// While one mount hangs, another is answered by a new thread.
    #[test]
    fn others_are_answered_meanwhile() {
        let (release, gate) = bounded::<()>(0);
        let call = move |path: &Path| {
            if path == Path::new("/dead") {
                gate.recv().ok();
            }
            Ok(SPACE)
        };
        let mut prober = Prober::new(call, Duration::ZERO);
        assert!(matches!(ask(&mut prober, "/dead"), Err(Unanswered::TimedOut)));
        prober.timeout = Duration::from_secs(600);
        assert_eq!(ask(&mut prober, "/alive").unwrap(), SPACE);
        drop(release);
    }

    /// Several dead mounts cost one timeout and a moment each, and every one is reported.
    #[test]
    fn dead_mounts_share_one_timeout() {
        let (release, gate) = bounded::<()>(0);
        let call = move |_: &Path| {
            gate.recv().ok();
            Ok(SPACE)
        };
        let mut prober = Prober::new(call, Duration::from_millis(1));
        let answers = prober.ask_all(["/a", "/b", "/c"].map(Path::new));
        assert!(answers.iter().all(|answer| matches!(answer, Err(Unanswered::TimedOut))));
        assert_eq!(prober.pending(), 3);
        drop(release);
    }

    /// An error of the call is passed on and blocks nothing.
    #[test]
    fn refusals_are_passed_on() {
        let call = |_: &Path| Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let mut prober = Prober::new(call, Duration::from_secs(600));
        for _ in 0..2 {
            let answer = ask(&mut prober, "/secret");
            assert!(
                matches!(answer, Err(Unanswered::Failed(error)) if error.kind() == io::ErrorKind::PermissionDenied)
            );
        }
    }

    /// Beyond the limit of hanging calls no further thread is started.
    #[test]
    fn hanging_calls_are_limited() {
        let (release, gate) = bounded::<()>(0);
        let call = move |_: &Path| {
            gate.recv().ok();
            Ok(SPACE)
        };
        let mut prober = Prober::new(call, Duration::ZERO);
        for number in 0..MOST_PENDING {
            let path = format!("/dead/{number}");
            assert!(matches!(ask(&mut prober, &path), Err(Unanswered::TimedOut)));
        }
        assert!(matches!(ask(&mut prober, "/one/more"), Err(Unanswered::TooManyPending)));
        drop(release);
    }

    /// The kernel's answer for an existing directory adds up to something.
    #[test]
    fn the_root_has_a_size() {
        let space = statvfs(Path::new("/")).unwrap();
        assert!(space.bytes.used + space.bytes.free + space.bytes.reserved > 0);
    }
}
