//! Which addresses of a name a client keeps connections to, when not to all: the first few in an order of its own.
//!
//! The order is by rendezvous hashing of the client's name and the address. So many clients spread evenly without knowing
//! of each other, each keeps to its few addresses, and an address that joins or leaves moves only those clients that it
//! concerns.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// Bounds of the time for which an address that fails is left alone. The next one in the order steps in, so there is no
/// hurry.
const FIRST_ABSENCE: Duration = Duration::from_secs(1);
const LONGEST_ABSENCE: Duration = Duration::from_secs(30);

/// While one request finds out whether an address is back, the others keep away from it for so long.
const PROBE: Duration = Duration::from_secs(5);

/// How connections are spread over the addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// How many addresses are connected to at a time.
    pub addresses: NonZeroUsize,
    /// The client's name, which decides which addresses these are.
    pub node: String,
}

/// The addresses in the client's order.
pub(super) struct Members {
    spread: Spread,
    turn: AtomicUsize,
    members: Mutex<Vec<Member>>,
}

struct Member {
    address: SocketAddr,
    absence: Option<Absence>,
}

/// An address that failed.
#[derive(Clone)]
struct Absence {
    failures: u32,
    until: Instant,
    problem: Arc<str>,
}

/// All addresses are left alone.
pub(super) struct AllAbsent {
    /// When one of them is tried again.
    pub(super) until: Instant,
    /// Why that one failed.
    pub(super) problem: Arc<str>,
}

impl Members {
    pub(super) fn new(spread: Spread) -> Self {
        Self { spread, turn: AtomicUsize::new(0), members: Mutex::default() }
    }

    /// Whether there are no addresses yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.lock().is_empty()
    }

    /// Takes over a set of addresses; what was known of those that stay is kept.
    pub(super) fn update(&self, addresses: &[SocketAddr]) {
        let mut members = self.lock();
        let absence = |address: &SocketAddr| {
            members.iter().find(|member| member.address == *address).and_then(|member| member.absence.clone())
        };
        let mut updated: Vec<Member> =
            addresses.iter().map(|address| Member { address: *address, absence: absence(address) }).collect();
        updated.sort_by_cached_key(|member| std::cmp::Reverse(score(&self.spread.node, member.address)));
        *members = updated;
    }

    /// The address whose turn it is.
    pub(super) fn pick(&self, now: Instant) -> Result<SocketAddr, AllAbsent> {
        let mut members = self.lock();
        let count = present(&members, now, self.spread.addresses).count();
        if count == 0 {
            let absences = members.iter().filter_map(|member| member.absence.as_ref());
            let first = absences.min_by_key(|absence| absence.until);
            return Err(match first {
                Some(Absence { until, problem, .. }) => AllAbsent { until: *until, problem: Arc::clone(problem) },
                None => AllAbsent { until: now, problem: "the name has no address".into() },
            });
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let place = present(&members, now, self.spread.addresses).nth(turn).expect("a turn is below the count");
        let member = &mut members[place];
        if let Some(absence) = &mut member.absence {
            absence.until = now + PROBE;
        }
        Ok(member.address)
    }

    /// Whether connections to an address are kept.
    pub(super) fn keeps(&self, address: SocketAddr, now: Instant) -> bool {
        let members = self.lock();
        present(&members, now, self.spread.addresses).any(|place| members[place].address == address)
    }

    /// An address cannot be connected to, or does not answer.
    pub(super) fn failed(&self, address: SocketAddr, problem: Arc<str>) {
        let mut members = self.lock();
        let Some(member) = members.iter_mut().find(|member| member.address == address) else { return };
        let failures = member.absence.as_ref().map_or(0, |absence| absence.failures);
        let doubled = FIRST_ABSENCE.saturating_mul(1 << failures.min(16)).min(LONGEST_ABSENCE);
        let until = Instant::now() + doubled.mul_f64(rand::random_range(0.5..=1.0));
        member.absence = Some(Absence { failures: failures + 1, until, problem });
    }

    /// An address has been connected to.
    pub(super) fn is_back(&self, address: SocketAddr) {
        if let Some(member) = self.lock().iter_mut().find(|member| member.address == address) {
            member.absence = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Member>> {
        self.members.lock().expect("nothing panics while it holds the lock")
    }
}

/// The places of the first `most` addresses that are not left alone.
fn present(members: &[Member], now: Instant, most: NonZeroUsize) -> impl Iterator<Item = usize> {
    let is_present = move |member: &Member| member.absence.as_ref().is_none_or(|absence| absence.until <= now);
    members.iter().enumerate().filter(move |(_, member)| is_present(member)).map(|(place, _)| place).take(most.get())
}

/// The weight of an address for a client. The same in every version, so that restarts move nothing: FNV-1a over the name
/// and the address, mixed by the finaliser of SplitMix64, because FNV-1a alone orders similar addresses alike.
fn score(node: &str, address: SocketAddr) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    add(node.as_bytes());
    add(&[0]);
    match address.ip() {
        IpAddr::V4(ip) => add(&ip.octets()),
        IpAddr::V6(ip) => add(&ip.octets()),
    }
    add(&address.port().to_be_bytes());
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn addresses(count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|last| SocketAddr::from(([10, 0, 0, last], 4317))).collect()
    }

    fn members(node: &str, keep: usize, count: u8) -> Members {
        let members = Members::new(Spread { addresses: NonZeroUsize::new(keep).unwrap(), node: node.to_owned() });
        members.update(&addresses(count));
        members
    }

    fn kept(members: &Members) -> BTreeSet<SocketAddr> {
        let now = Instant::now();
        (0..100).map(|_| members.pick(now).ok().unwrap()).collect()
    }

    /// Many clients spread evenly, each over as many addresses as it is told and by turns.
    #[test]
    fn clients_spread_evenly() {
        let mut clients = BTreeMap::new();
        for node in 0..5_000 {
            let members = members(&format!("node-{node}"), 2, 10);
            let kept = kept(&members);
            assert_eq!(kept.len(), 2);
            for address in kept {
                *clients.entry(address).or_insert(0) += 1;
            }
        }
        assert_eq!(clients.len(), 10);
        // 1,000 each; four standard deviations are 120.
        assert!(clients.values().all(|count| (880..=1120).contains(count)), "{clients:?}");
    }

    /// An address that joins or leaves moves only the clients that it concerns.
    #[test]
    fn a_change_moves_few() {
        for node in 0..200 {
            let members = members(&format!("node-{node}"), 2, 10);
            let before = kept(&members);
            members.update(&addresses(11));
            let joined = addresses(11)[10];
            let with_one_more = kept(&members);
            if !with_one_more.contains(&joined) {
                assert_eq!(with_one_more, before);
            }
            members.update(&addresses(10));
            assert_eq!(kept(&members), before);
        }
    }

    /// An address that fails is left alone, its neighbour steps in, and it comes back: tried by one request at a time.
    #[tokio::test(start_paused = true)]
    async fn a_neighbour_steps_in() {
        let members = members("node", 2, 3);
        let before = kept(&members);
        let failing = *before.first().unwrap();
        members.failed(failing, "refused".into());
        let during = kept(&members);
        assert!(during.len() == 2 && !during.contains(&failing));
        assert!(!members.keeps(failing, Instant::now()));
        tokio::time::advance(FIRST_ABSENCE).await;
        let tries = (0..100).filter(|_| members.pick(Instant::now()).ok() == Some(failing)).count();
        assert_eq!(tries, 1, "one finds out");
        members.is_back(failing);
        assert_eq!(kept(&members), before);
    }

    /// When all fail, the error tells when to come again and what the first of them said.
    #[tokio::test(start_paused = true)]
    async fn all_fail() {
        let members = members("node", 2, 2);
        for address in addresses(2) {
            members.failed(address, "refused".into());
        }
        let absent = members.pick(Instant::now()).err().unwrap();
        assert_eq!(&*absent.problem, "refused");
        assert!(absent.until > Instant::now() && absent.until <= Instant::now() + FIRST_ABSENCE);
    }

    /// The order is a promise: a new version of this program must not move connections.
    #[test]
    fn the_order_stays() {
        let all = addresses(3);
        let mut order = all.clone();
        order.sort_by_key(|address| std::cmp::Reverse(score("node-a", *address)));
        let places: Vec<_> =
            order.iter().map(|address| all.iter().position(|other| other == address).unwrap()).collect();
        assert_eq!(places, GOLDEN);
    }

    const GOLDEN: [usize; 3] = [0, 2, 1];
}
