//! The manager in a cluster: sees what there is, plans, applies, says how it is. Again whenever something changes.
//!
//! One of several managers leads; the others only watch. What is planned is a function of what is seen, so it does not
//! matter what happened first, or whether anything was missed. Nothing is done before everything has been seen once: what
//! has not been seen yet is not gone.

mod cache;
mod claims;
mod engines;
mod events;
mod former;
mod observe;
mod publish;
mod secrets;
mod serve;
mod tokens;
mod touch;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine_config::SecretString;
use kube::Client;
use kubernetes::{Candidate, LeaseOptions};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::engines::Engines;
use self::former::FormerDestinations;
use self::observe::Observed;
use self::publish::Publisher;
use self::secrets::Secrets;
use self::serve::Health;
use crate::apply::{Applier, ApplyError, ObjectRef, Ownership, Report, chain};
use crate::input::{EngineView, Input, SecretView, Tokens};
use crate::plan::{Desired, Judgements, plan_again};
use crate::role::{Fleet, Role, Signal};
use crate::settings::Settings;
use crate::storage::Wait;

/// The Lease of the manager that leads.
const LEASE: &str = "telemetry-manager";
/// After so long without a sign of life another manager leads.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// What comes together is planned together.
const TOGETHER: Duration = Duration::from_millis(50);
/// Between two tries after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Counts of several pipelines that have waited to be written are written together.
const COUNTS_TOGETHER: Duration = Duration::from_secs(5);
/// How long what follows applying may take.
const AT_MOST: Duration = Duration::from_secs(60);
/// How often engines are asked.
const BETWEEN_ASKING: Duration = Duration::from_secs(30);
/// The same while one of them does not run yet what it should.
const BETWEEN_ASKING_SOON: Duration = Duration::from_secs(2);
/// So long after a change; what takes longer is told as soon as it is asked the usual way.
const SOON_AT_MOST: Duration = Duration::from_secs(180);

/// What the manager is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// What the installation says.
    pub settings: Settings,
    /// Who it is among several, such as the name of its pod.
    pub identity: String,
    /// Where it says whether it lives, and what it counts.
    pub listen: SocketAddr,
}

/// Why the manager does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// What engines said last, and what they are to say.
#[derive(Debug, Default)]
struct Told {
    views: Mutex<BTreeMap<Fleet, EngineView>>,
    wanted: watch::Sender<Wanted>,
    status_token: watch::Sender<Option<SecretString>>,
    /// Whether engines were asked since this manager leads.
    asked: AtomicBool,
}

/// Runs until `stop`. Gives the lead back then, so that nobody waits for it.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn run(client: Client, start: Start, stop: CancellationToken) -> Result<(), StartError> {
    let Start { settings, identity, listen } = start;
    let health = Arc::new(Health::default());
    let listener = tokio::net::TcpListener::bind(listen).await;
    let listener = listener.map_err(|source| StartError::Listen { address: listen, source })?;
    let mut tasks = JoinSet::new();
    tasks.spawn(serve::serve(listener, Arc::clone(&health)));
    let changed = Arc::new(Notify::new());
    let observed = Arc::new(Observed::follow(&client, &settings, &changed, &mut tasks));
    let lease = LeaseOptions {
        namespace: settings.namespace.clone(),
        name: LEASE.to_owned(),
        identity: identity.clone(),
        duration: LEASE_DURATION,
    };
    let candidate = Candidate::new(client.clone(), lease);
    let (leads, leading) = watch::channel(false);
    let stop_leading = CancellationToken::new();
    let election = {
        let stop = stop_leading.clone();
        tokio::spawn(async move { candidate.run(&leads, stop).await })
    };
    let manager = Manager { client, settings, identity, observed, changed, leading, told: Arc::default() };
    tokio::select! {
        () = manager.run(&health, &mut tasks) => {}
        () = stop.cancelled() => {}
    }
    // Nothing is written any more from here on, so another one may lead.
    stop_leading.cancel();
    election.await.ok();
    tasks.shutdown().await;
    Ok(())
}

struct Manager {
    client: Client,
    settings: Settings,
    identity: String,
    observed: Arc<Observed>,
    changed: Arc<Notify>,
    leading: watch::Receiver<bool>,
    told: Arc<Told>,
}

/// What engines are to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// The configurations that they run.
    hashes: BTreeMap<Fleet, String>,
    /// That pods hold nothing any more, where some are to go.
    waits: Option<Wait>,
}

/// What was seen.
enum Seen {
    /// Everything, but for Secrets of pipelines of these signals.
    Everything(Box<Input>, BTreeSet<Signal>),
    /// Not everything, and so long that is waited for.
    NotYet(Duration),
}

/// What only a leader has.
struct Leader {
    applier: Applier,
    publisher: Publisher,
    secrets: Secrets,
    judgements: Judgements,
    former: FormerDestinations,
    failures: BTreeMap<Role, String>,
    tokens: Option<Tokens>,
    namespace_uid: Option<String>,
}

impl Manager {
    async fn run(mut self, health: &Health, tasks: &mut JoinSet<()>) {
        self.observed.listed().await;
        health.is_ready();
        tasks.spawn(ask_engines(
            Arc::clone(&self.observed),
            Arc::clone(&self.told),
            Arc::clone(&self.changed),
            self.leading.clone(),
        ));
        loop {
            // A channel that is closed says that the election has ended, and with it everything.
            if self.leading.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            let mut leading = self.leading.clone();
            tokio::select! {
                () = self.lead() => {}
                _ = leading.wait_for(|leads| !*leads) => {}
            }
        }
    }

    /// Reconciles for as long as it is not aborted.
    async fn lead(&self) {
        let mut leader = Leader {
            applier: Applier::new(self.client.clone(), ownership(&self.settings)),
            publisher: Publisher::new(self.client.clone(), &self.identity),
            secrets: Secrets::new(self.client.clone(), Arc::clone(&self.changed)),
            judgements: Judgements::default(),
            former: FormerDestinations::default(),
            failures: BTreeMap::new(),
            tokens: None,
            namespace_uid: None,
        };
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let result = self.reconcile(&mut leader).await;
            metrics::histogram!("telemetry_manager_reconcile_seconds").record(began.elapsed());
            let again = match result {
                Ok(next) => {
                    pause = FIRST_PAUSE;
                    next
                }
                Err(error) => {
                    metrics::counter!("telemetry_manager_reconcile_errors_total").increment(1);
                    tracing::warn!(error = &error, "not everything is as it should be, another try follows");
                    let wait = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    // Whatever changes meanwhile, a cluster that does not answer is not asked without end.
                    tokio::time::sleep(wait.min(FIRST_PAUSE * 4)).await;
                    wait
                }
            };
            tokio::select! {
                () = self.changed.notified() => tokio::time::sleep(TOGETHER).await,
                () = leader.applier.changed() => tokio::time::sleep(TOGETHER).await,
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    /// Once: sees, plans, applies, publishes. Says when it has to be done again even if nothing changes.
    async fn reconcile(&self, leader: &mut Leader) -> Result<Duration, String> {
        let (input, unread) = match self.see(leader).await? {
            Seen::Everything(input, unread) => (*input, unread),
            // Whatever is missing says so when it is there.
            Seen::NotYet(wait) => return Ok(wait),
        };
        let mut desired = plan_again(&input, &mut leader.judgements);
        // A volume keeps the class that it is made with, so the first ones are not made by what was heard some time ago.
        let makes_volumes = desired.storage.is_some() && !input.workloads.contains_key(&Fleet::DURABLE);
        let is_behind = makes_volumes && !self.is_newest_module(&input).await?;
        let mut unseen = unread.clone();
        unseen.extend(is_behind.then_some(Signal::Logs));
        leader.former.note(&desired.configs);
        desired.leave(&unseen);
        let hashes = desired.configs.iter().map(|(fleet, config)| (*fleet, config.hash.clone())).collect();
        let wanted = Wanted { hashes, waits: desired.storage.as_ref().and_then(|storage| storage.waits) };
        self.told.wanted.send_if_modified(|known| std::mem::replace(known, wanted) != *known);
        let report =
            leader.applier.apply(desired.objects.clone(), |object| self.observed.is_in_use(object, &unseen)).await;
        let mut problems = said(&report);
        leader.failures = failures(&report);
        let rest = async {
            let mut problems = Vec::new();
            let touched = touch::gateways(&self.client, &self.settings, &desired, &self.observed, &report).await;
            problems.extend(touched.err());
            problems.extend(claims::grow(&self.client, &self.settings, &desired).await.err());
            // What is said of the flow of data comes from engines. Until they were asked, what was said before stands.
            if self.told.asked.load(Ordering::Relaxed) || desired.configs.is_empty() {
                problems.extend(self.publish(leader, &desired).await);
            }
            problems
        };
        let Ok(others) = tokio::time::timeout(AT_MOST, rest).await else {
            return Err("the API server does not answer".to_owned());
        };
        problems.extend(others);
        if let Some(signals) = named(&unread) {
            problems.push(format!("a Secret cannot be read, and nothing of {signals} is changed until it can be"));
        }
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        if !report.is_complete() || is_behind {
            // Somebody was faster, something is on its way out, or what was not heard yet is on its way here.
            return Ok(FIRST_PAUSE);
        }
        let next = desired.next_change.map_or(i64::MAX, |at| at.saturating_sub(input.now));
        // A right that was missing may have come without a word. An hour later at the latest everything is compared once more.
        let is_forbidden = input.secrets.values().any(|secret| *secret == SecretView::Forbidden);
        let longest = if is_forbidden || leader.former.will_change() { 60 } else { 3600 };
        let next = Duration::from_secs(u64::try_from(next).unwrap_or(0).clamp(60, longest));
        let withheld = leader.publisher.withholds_until();
        let withheld = withheld.map(|until| until.saturating_duration_since(Instant::now()).max(COUNTS_TOGETHER));
        Ok(withheld.map_or(next, |withheld| withheld.min(next)))
    }

    async fn see(&self, leader: &mut Leader) -> Result<Seen, String> {
        let failed = |what: &str, error: kube::Error| format!("{what}: {error}");
        if leader.namespace_uid.is_none() {
            let uid = observe::namespace_uid(&self.client, &self.settings.namespace).await;
            leader.namespace_uid = uid.map_err(|error| failed("cannot read the manager's own namespace", error))?;
        }
        let tokens = match &leader.tokens {
            Some(tokens) => tokens.clone(),
            None => {
                let obtained = tokens::obtain(&self.client, &self.settings.namespace).await;
                let tokens = obtained.map_err(|error| failed("cannot keep the tokens of engines", error))?;
                self.told.status_token.send_replace(Some(tokens.status.clone()));
                leader.tokens.insert(tokens).clone()
            }
        };
        let settings = Settings { namespace_uid: leader.namespace_uid.clone(), ..self.settings.clone() };
        let mut input = self.observed.input(settings, tokens);
        // What pods with volumes hold decides about them, and only they know.
        if input.workloads.contains_key(&Fleet::DURABLE) && !self.told.asked.load(Ordering::Relaxed) {
            return Ok(Seen::NotYet(FIRST_PAUSE));
        }
        let known = match leader.secrets.follow(&crate::plan::secrets(&input)) {
            Ok(known) => known,
            Err(wait) => return Ok(Seen::NotYet(wait)),
        };
        let is_unseen = |signal: &Signal| !known.unseen.is_disjoint(&crate::plan::secrets_of(*signal, &input));
        let unseen = Signal::ALL.into_iter().filter(is_unseen).collect();
        input.secrets = known.views;
        input.engines = self.told.views.lock().clone();
        input.former_destinations = leader.former.all();
        input.failures.clone_from(&leader.failures);
        Ok(Seen::Everything(Box::new(input), unseen))
    }

    async fn is_newest_module(&self, input: &Input) -> Result<bool, String> {
        let asked = tokio::time::timeout(AT_MOST, observe::is_newest_module(&self.client, input)).await;
        asked.unwrap_or_else(|_| Err("the API server does not answer".to_owned()))
    }

    async fn publish(&self, leader: &mut Leader, desired: &Desired) -> Vec<String> {
        leader.publisher.forget_others(desired);
        let mut problems = Vec::new();
        for (id, report) in &desired.pipelines {
            let result = self.observed.publish(&mut leader.publisher, id, report).await;
            problems.extend(result.err().map(|error| chain(&error)));
        }
        for found in self.observed.telemetries() {
            let key = observe::key(&*found);
            let Some(report) = desired.telemetries.get(&key) else { continue };
            let result = leader.publisher.telemetry(&found, report).await;
            problems.extend(result.err().map(|error| chain(&error)));
        }
        problems
    }
}

/// Whose objects the manager makes: those of an installation, which its namespace names.
fn ownership(settings: &Settings) -> Ownership {
    let namespaces = vec![settings.namespace.clone(), settings.agent_namespace.clone()];
    Ownership { instance: settings.namespace.clone(), namespaces }
}

/// What of each role could not be applied and does not pass by itself; the first of it.
fn failures(report: &Report) -> BTreeMap<Role, String> {
    let lasting = report.failed.iter().filter(|(_, error)| !error.is_passing());
    let of_role = |(object, error): &(ObjectRef, ApplyError)| {
        Some((Role::of_object(&object.name)?, format!("{object}: {error}")))
    };
    // The last one of a role stays in a map.
    lasting.rev().filter_map(of_role).collect()
}

/// The kinds of pipeline of signals, in words.
fn named(signals: &BTreeSet<Signal>) -> Option<String> {
    let kinds: Vec<String> = signals.iter().map(|signal| format!("{}s", signal.kind())).collect();
    (!kinds.is_empty()).then(|| kinds.join(" and "))
}

/// What is not as it should be and does not pass by itself.
fn said(report: &Report) -> Vec<String> {
    let lasting = report.failed.iter().filter(|(_, error)| !error.is_passing());
    lasting.map(|(object, error)| format!("{object}: {error}")).collect()
}

/// Asks engines while this manager leads, at once and then more often while they do not run yet what they should.
async fn ask_engines(
    observed: Arc<Observed>,
    told: Arc<Told>,
    changed: Arc<Notify>,
    mut leading: watch::Receiver<bool>,
) {
    let mut engines = Engines::new();
    let (mut token, mut wanted) = (told.status_token.subscribe(), told.wanted.subscribe());
    let mut wanted_since: (Wanted, Instant) = (Wanted::default(), Instant::now());
    loop {
        if !*leading.borrow() {
            told.asked.store(false, Ordering::Relaxed);
        }
        if leading.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        // Without a token nothing runs yet. The sender is held here, so there is always one to come.
        let Ok(token) = token.wait_for(Option::is_some).await.map(|token| token.clone()) else { return };
        let Some(token) = token.filter(|_| *leading.borrow()) else { continue };
        let now = wanted.borrow_and_update().clone();
        let views = engines.ask(&observed.engines(), &now.hashes, &token).await;
        if wanted_since.0 != now {
            wanted_since = (now.clone(), Instant::now());
        }
        let is_settled =
            (now.waits.is_none() && is_told(&now.hashes, &views)) || wanted_since.1.elapsed() >= SOON_AT_MOST;
        let wait = if is_settled { BETWEEN_ASKING } else { BETWEEN_ASKING_SOON };
        let is_first = !told.asked.swap(true, Ordering::Relaxed);
        let is_new = {
            let mut known = told.views.lock();
            let is_new = *known != views;
            *known = views;
            is_new || is_first
        };
        if is_new {
            changed.notify_one();
        }
        // What engines are to run has changed, so what they say will too.
        tokio::time::timeout(wait, wanted.changed()).await.ok();
    }
}

/// Whether all engines that were asked say that they run what they should.
fn is_told(wanted: &BTreeMap<Fleet, String>, views: &BTreeMap<Fleet, EngineView>) -> bool {
    wanted.iter().all(|(fleet, hash)| {
        views.get(fleet).is_some_and(|view| {
            view.reports.len() == view.asked as usize && view.reports.iter().all(|report| report.config_hash == *hash)
        })
    })
}
