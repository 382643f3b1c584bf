//! What was read from files is read again as it is used, and replaced when the files' content changed: an engine must not
//! need a restart because a certificate was renewed or a token rotated.
//!
//! What cannot be used is reported and the last good content stays; so it does while a file system does not answer. What
//! can be used and is wrong all the same is reported too. Not here: what is read and what is made of it.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// Files are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The longest that anybody waits for what the files hold now.
const LOOK_AT_MOST: Duration = Duration::from_secs(1);

/// The kind of complaint about files that changed and cannot be used.
pub const RELOAD_FAILED: &str = "reload_failed";

/// Something that is wrong with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Which kind of wrong, of a bounded set.
    pub kind: &'static str,
    /// What is wrong, in words.
    pub message: String,
}

/// The content of files and what is made of it.
pub trait Material: Clone + PartialEq + Send + 'static {
    /// What it is made into.
    type Made: Send + Sync + 'static;

    /// Why it cannot be read or used.
    type Error: Error + Send + 'static;

    /// What the log calls it, in the plural.
    const NAME: &'static str;

    /// Whether any of it is a file.
    fn is_on_disk(&self) -> bool;

    /// The same with the present content of its files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    fn read_again(&self) -> Result<Self, Self::Error>;

    /// Makes what is used, which proves that all of it fits together.
    ///
    /// # Errors
    ///
    /// When it does not.
    fn make(&self) -> Result<Self::Made, Self::Error>;

    /// What is wrong with it now, though it can be used.
    fn complaints(&self) -> Vec<Complaint> {
        Vec::new()
    }
}

/// Something made of files, which it follows.
pub struct Reloading<M: Material> {
    state: Mutex<State<M>>,
    ear: OnceLock<Ear>,
    /// Held by whoever looks, until the last file has been read.
    look: Arc<tokio::sync::Mutex<()>>,
    look_every: Duration,
}

/// Who hears of complaints besides the log.
type Ear = Box<dyn Fn(Complaint) + Send + Sync>;

struct State<M: Material> {
    material: M,
    complaints: Vec<Complaint>,
    made: Arc<M::Made>,
    looked: Instant,
}

/// What a look found.
struct Found<M: Material> {
    /// What to use, if it differs from what is known.
    renewed: Option<State<M>>,
    /// What is wrong with it, which time alone may change.
    complaints: Vec<Complaint>,
}

impl<M: Material> Reloading<M> {
    /// Makes it for the first time.
    ///
    /// # Errors
    ///
    /// When the material is of no use.
    pub fn new(material: M) -> Result<Self, M::Error> {
        let state = State::of(material)?;
        state.complaints.iter().for_each(Complaint::log);
        Ok(Self { state: Mutex::new(state), ear: OnceLock::new(), look: Arc::default(), look_every: LOOK_EVERY })
    }

    /// Has `ear` hear what is wrong by now and what goes wrong later. The first one stays.
    pub fn report_to(&self, ear: impl Fn(Complaint) + Send + Sync + 'static) {
        self.lock().complaints.iter().cloned().for_each(&ear);
        // A second one has heard what is wrong now, and no more.
        drop(self.ear.set(Box::new(ear)));
    }

    /// The same, looking at its files at most every `interval` instead of every 10 s.
    #[must_use]
    pub fn looking_every(self, interval: Duration) -> Self {
        Self { look_every: interval, ..self }
    }

    /// What the thing in use was made of.
    pub fn material(&self) -> M {
        self.lock().material.clone()
    }

    /// What is to be used now. Looks at the files if that is due; others get the last one meanwhile.
    pub async fn current(&self) -> Arc<M::Made> {
        let (used, is_due) = {
            let mut state = self.lock();
            let is_due = state.material.is_on_disk() && state.looked.elapsed() >= self.look_every;
            if is_due {
                state.looked = Instant::now();
            }
            (Arc::clone(&state.made), is_due)
        };
        // Boxed, because it is rare and everybody who asks would carry its state.
        if is_due { Box::pin(self.instead_of(&used)).await } else { used }
    }

    /// What is to be used now, after a look at the files unless somebody looked less than `interval` ago: for whoever was
    /// shown something that `used` does not know.
    pub async fn newer_than(&self, used: &Arc<M::Made>, interval: Duration) -> Arc<M::Made> {
        let is_due = {
            let mut state = self.lock();
            let is_due = state.material.is_on_disk() && state.looked.elapsed() >= interval.min(self.look_every);
            if is_due {
                state.looked = Instant::now();
            }
            is_due
        };
        if is_due { Box::pin(self.instead_of(used)).await } else { Arc::clone(&self.lock().made) }
    }

    /// What is to be used now, after a look at the files: for whoever was told that `used` is of no use any more.
    pub async fn instead_of(&self, used: &Arc<M::Made>) -> Arc<M::Made> {
        if tokio::time::timeout(LOOK_AT_MOST, self.renew(used)).await.is_err() {
            tracing::warn!("{} cannot be read in time, the last good ones stay", M::NAME);
        }
        Arc::clone(&self.lock().made)
    }

    /// Looks at the files, unless somebody else has found another content meanwhile.
    async fn renew(&self, used: &Arc<M::Made>) {
        // One at a time: who comes later finds what the first one found, nobody puts back what is older, and a file system
        // that hangs costs one thread, however often its files are asked for.
        let turn = Arc::clone(&self.look).lock_owned().await;
        let known = {
            let mut state = self.lock();
            if !state.material.is_on_disk() || !Arc::ptr_eq(&state.made, used) {
                return;
            }
            state.looked = Instant::now();
            state.material.clone()
        };
        // Reading a file blocks, and a lane must not.
        let task = tokio::task::spawn_blocking(move || (renewed(&known), turn));
        let Ok((found, _turn)) = task.await else { return };
        match found {
            Ok(Found { renewed, complaints }) => {
                let is_new = renewed.is_some();
                let fresh: Vec<Complaint> = {
                    let mut state = self.lock();
                    let known = std::mem::take(&mut state.complaints);
                    if let Some(renewed) = renewed {
                        *state = renewed;
                    }
                    state.complaints.clone_from(&complaints);
                    complaints.into_iter().filter(|complaint| !known.contains(complaint)).collect()
                };
                if is_new {
                    tracing::info!("{} have changed on disk and are in use from now on", M::NAME);
                }
                fresh.into_iter().for_each(|complaint| self.complain(complaint));
            }
            Err(error) => self.complain(Complaint {
                kind: RELOAD_FAILED,
                message: format!("{} on disk cannot be used, the last good ones stay: {error}", M::NAME),
            }),
        }
    }

    fn complain(&self, complaint: Complaint) {
        complaint.log();
        if let Some(ear) = self.ear.get() {
            ear(complaint);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl<M: Material> std::fmt::Debug for Reloading<M> {
    /// Nothing of the content, which may be secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reloading").field("material", &M::NAME).finish_non_exhaustive()
    }
}

impl<M: Material> State<M> {
    fn of(material: M) -> Result<Self, M::Error> {
        let made = Arc::new(material.make()?);
        let complaints = material.complaints();
        Ok(Self { material, complaints, made, looked: Instant::now() })
    }
}

impl Complaint {
    fn log(&self) {
        tracing::warn!(kind = self.kind, "{}", self.message);
    }
}

/// Looks at the files that `known` was read from.
fn renewed<M: Material>(known: &M) -> Result<Found<M>, M::Error> {
    let material = known.read_again()?;
    if material == *known {
        return Ok(Found { renewed: None, complaints: material.complaints() });
    }
    let state = State::of(material)?;
    Ok(Found { complaints: state.complaints.clone(), renewed: Some(state) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures::FutureExt;

    use super::*;

    /// A number behind a door: each look takes the next one, once there is one.
    #[derive(Clone)]
    struct Numbered {
        number: u64,
        next: Arc<Mutex<mpsc::Receiver<u64>>>,
        looks: Arc<AtomicUsize>,
    }

    impl PartialEq for Numbered {
        fn eq(&self, other: &Self) -> bool {
            self.number == other.number
        }
    }

    impl Material for Numbered {
        type Made = u64;
        type Error = std::io::Error;
        const NAME: &'static str = "numbers";

        fn is_on_disk(&self) -> bool {
            true
        }

        fn read_again(&self) -> Result<Self, std::io::Error> {
            self.looks.fetch_add(1, Ordering::Relaxed);
            let number = self.next.lock().unwrap().recv().map_err(std::io::Error::other)?;
            Ok(Self { number, ..self.clone() })
        }

        fn make(&self) -> Result<u64, std::io::Error> {
            Ok(self.number)
        }
    }

    fn numbered() -> (Reloading<Numbered>, mpsc::Sender<u64>, Arc<AtomicUsize>) {
        let (sender, receiver) = mpsc::channel();
        let looks = Arc::new(AtomicUsize::new(0));
        let material = Numbered { number: 0, next: Arc::new(Mutex::new(receiver)), looks: Arc::clone(&looks) };
        (Reloading::new(material).unwrap(), sender, looks)
    }

    /// Several who were refused at once look once, and all get what was found.
    #[tokio::test]
    async fn one_look_for_all_who_ask_at_once() {
        let (reloading, sender, looks) = numbered();
        let used = reloading.current().await;
        sender.send(1).unwrap();
        let asking = (0..8).map(|_| reloading.instead_of(&used));
        let found = futures::future::join_all(asking).await;
        assert!(found.iter().all(|made| **made == 1 && Arc::ptr_eq(made, &found[0])), "{found:?}");
        assert_eq!(looks.load(Ordering::Relaxed), 1);
    }

    /// While files do not answer the last content is used, and no more than one thread waits for them.
    #[tokio::test(start_paused = true)]
    async fn files_that_hang_hold_up_nobody() {
        let (reloading, sender, looks) = numbered();
        for _ in 0..3 {
            tokio::time::advance(LOOK_EVERY).await;
            let mut due = Box::pin(reloading.current());
            assert!((&mut due).now_or_never().is_none());
            assert_eq!(reloading.current().now_or_never().as_deref(), Some(&0), "others do not wait");
            tokio::time::advance(LOOK_AT_MOST).await;
            assert_eq!(*due.await, 0);
        }
        sender.send(1).unwrap();
        while reloading.look.try_lock().is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        sender.send(2).unwrap();
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*reloading.current().await, 2);
    }
}
