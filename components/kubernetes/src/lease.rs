//! One leader among several processes, by a Lease.
//!
//! Whoever holds the Lease renews it; whoever sees it unrenewed for its whole duration takes it. Only times of one's own
//! clock are compared, so clocks may differ. A leader that cannot renew stops leading a third of the duration before
//! another one may begin, and one that ends gives the Lease back, so that nobody has to wait for it. Not here: what only a
//! leader does.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The shortest duration: a request and two more tries must fit well into it.
const SHORTEST: Duration = Duration::from_secs(3);
/// How long giving the Lease back may take.
const GIVE_BACK_AT_MOST: Duration = Duration::from_secs(2);
/// The status of answers to those who change what another one has changed.
const CONFLICT: u16 = 409;

/// Which Lease, and who wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whoever wants it, such as the name of a pod; unique among those who do.
    pub identity: String,
    /// After so long without renewal another one takes it; whole seconds, at least 3.
    pub duration: Duration,
}

/// Somebody who leads when nobody else does.
pub struct Candidate {
    leases: Api<Lease>,
    options: LeaseOptions,
}

/// What was last seen of the Lease, and since when it has been like this.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    version: Option<String>,
    since: Instant,
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Write this: it is ours, or may be taken.
    Write(LeaseSpec),
    /// It is another's.
    Wait,
}

impl Candidate {
    /// A candidate; it does nothing before [`run`](Self::run).
    pub fn new(client: Client, options: LeaseOptions) -> Self {
        let duration = options.duration.max(SHORTEST);
        Self { leases: Api::namespaced(client, &options.namespace), options: LeaseOptions { duration, ..options } }
    }

    /// Tries to lead until `stop`, and says in `leads` whether it does.
    pub async fn run(&self, leads: &watch::Sender<bool>, stop: CancellationToken) {
        let mut seen = Seen { version: None, since: Instant::now() };
        // Until then it leads, whatever becomes of the requests.
        let mut leads_until: Option<Instant> = None;
        loop {
            let began = Instant::now();
            // An answer that does not come must not keep anybody from leading for ever.
            let tried_until = leads_until.unwrap_or(began + self.options.duration);
            let result = tokio::select! {
                () = stop.cancelled() => break,
                result = tokio::time::timeout_at(tried_until, self.attempt(&mut seen)) => result.ok(),
            };
            match result {
                Some(Ok(true)) => leads_until = Some(began + self.options.duration * 2 / 3),
                Some(Ok(false)) => leads_until = None,
                Some(Err(error)) => {
                    tracing::warn!(lease = self.options.name, %error, "cannot look after a lease at the moment");
                }
                None => {}
            }
            leads_until = leads_until.filter(|until| *until > Instant::now());
            self.tell(leads, leads_until.is_some());
            let again = self.options.duration / if leads_until.is_some() { 3 } else { 7 };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(again) => {}
            }
        }
        let led = *leads.borrow();
        self.tell(leads, false);
        if led && tokio::time::timeout(GIVE_BACK_AT_MOST, self.give_back()).await.is_err() {
            tracing::warn!(
                lease = self.options.name,
                "the lease could not be given back in time, others will wait for it"
            );
        }
    }

    fn tell(&self, leads: &watch::Sender<bool>, now: bool) {
        let changed = leads.send_if_modified(|leading| std::mem::replace(leading, now) != now);
        if changed {
            let (lease, identity) = (&self.options.name, &self.options.identity);
            tracing::info!(lease, identity, leads = now, "leadership has changed");
        }
    }

    /// Looks at the Lease, and takes or renews it if that may be. Says whether it is held.
    async fn attempt(&self, seen: &mut Seen) -> Result<bool, kube::Error> {
        let found = self.leases.get_opt(&self.options.name).await?;
        let version = found.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if seen.version != version {
            *seen = Seen { version, since: Instant::now() };
        }
        let before = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let Step::Write(spec) = step(&self.options, before, seen.since.elapsed(), Timestamp::now()) else {
            return Ok(false);
        };
        let metadata = match found {
            // With the version that was read: who was faster wins.
            Some(lease) => lease.metadata,
            None => ObjectMeta { name: Some(self.options.name.clone()), ..ObjectMeta::default() },
        };
        let is_new = metadata.resource_version.is_none();
        let lease = Lease { metadata, spec: Some(spec) };
        let written = match is_new {
            true => self.leases.create(&PostParams::default(), &lease).await,
            false => self.leases.replace(&self.options.name, &PostParams::default(), &lease).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Leaves the Lease to whoever looks next, if it is still ours.
    async fn give_back(&self) {
        let given_back = async {
            let Some(mut lease) = self.leases.get_opt(&self.options.name).await? else { return Ok(()) };
            let Some(spec) = &mut lease.spec else { return Ok(()) };
            if spec.holder_identity.as_deref() == Some(&self.options.identity) {
                spec.holder_identity = None;
                self.leases.replace(&self.options.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = given_back.await {
            tracing::warn!(lease = self.options.name, %error, "the lease could not be given back, others will wait for it");
        }
    }
}

/// What to do about a Lease that has been like this for `unchanged`.
fn step(options: &LeaseOptions, lease: Option<&LeaseSpec>, unchanged: Duration, now: Timestamp) -> Step {
    let holder = lease.and_then(|lease| lease.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let is_own = holder == Some(&options.identity);
    let seconds = lease.and_then(|lease| lease.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    let lasts = seconds.map_or(options.duration, Duration::from_secs);
    if holder.is_some() && !is_own && unchanged < lasts {
        return Step::Wait;
    }
    let transitions = lease.and_then(|lease| lease.lease_transitions).unwrap_or(0);
    Step::Write(LeaseSpec {
        holder_identity: Some(options.identity.clone()),
        lease_duration_seconds: i32::try_from(options.duration.as_secs()).ok(),
        acquire_time: match (is_own, lease) {
            (true, Some(lease)) => lease.acquire_time.clone(),
            _ => Some(MicroTime(now)),
        },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if is_own {
            transitions
        } else {
            transitions.saturating_add(i32::from(lease.is_some()))
        }),
        ..LeaseSpec::default()
    })
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Candidate").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn options() -> LeaseOptions {
        let (namespace, name) = ("telemetry".to_owned(), "events".to_owned());
        LeaseOptions { namespace, name, identity: "me".to_owned(), duration: Duration::from_secs(15) }
    }

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(20),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    fn written(lease: Option<&LeaseSpec>, unchanged: u64) -> Option<LeaseSpec> {
        match step(&options(), lease, Duration::from_secs(unchanged), Timestamp::MAX) {
            Step::Write(spec) => Some(spec),
            Step::Wait => None,
        }
    }

    /// Whoever gets no answer asks again, though it does not lead.
    #[tokio::test(start_paused = true)]
    async fn asks_again_without_an_answer() {
        let (asked, mut times) = watch::channel(0);
        let silent = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            asked.send_modify(|count| *count += 1);
            std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
        });
        let candidate = Candidate::new(Client::new(silent, "default"), options());
        let (leads, _) = watch::channel(false);
        let stop = CancellationToken::new();
        let asking = tokio::time::timeout(Duration::from_secs(600), times.wait_for(|count| *count >= 3));
        tokio::select! {
            () = candidate.run(&leads, stop) => unreachable!("nobody stops it"),
            asked = asking => assert!(asked.is_ok_and(|asked| asked.is_ok()), "it waits for ever"),
        }
    }

    /// Another's Lease is waited for as long as it says, by one's own clock; one that is nobody's or our own is written.
    #[test]
    fn takes_what_may_be_taken() {
        assert_eq!(written(Some(&held_by("other")), 19), None);
        let taken = written(Some(&held_by("other")), 20).unwrap();
        assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("me"), Some(4)));
        assert_eq!((taken.lease_duration_seconds, taken.acquire_time), (Some(15), Some(MicroTime(Timestamp::MAX))));
        let renewed = written(Some(&held_by("me")), 0).unwrap();
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(3), held_by("me").acquire_time));
        assert_eq!(renewed.renew_time, Some(MicroTime(Timestamp::MAX)));
        assert!(written(Some(&held_by("")), 0).is_some() && written(None, 0).is_some());
        assert_eq!(written(None, 0).unwrap().lease_transitions, Some(0));
    }
}
