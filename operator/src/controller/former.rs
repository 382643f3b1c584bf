//! Where roles sent to until a moment ago. An engine learns of a change some time after it was applied, and then still delivers
//! what it holds: a network that is narrowed at once would cut it off.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::render::config::RoleConfig;
use crate::render::destination::Destination;
use crate::role::{Fleet, Role};

/// How long an engine may still send to where it was told to before: until its kubelet has looked, the engine has reloaded and
/// what it held is delivered.
const KEPT: Duration = Duration::from_secs(180);

/// Destinations, and since when they are not wanted any more.
#[derive(Debug, Default)]
pub(super) struct FormerDestinations(BTreeMap<Role, BTreeMap<Destination, Option<Instant>>>);

impl FormerDestinations {
    /// Notes what is wanted now, and forgets what has not been wanted for long.
    pub(super) fn note(&mut self, configs: &BTreeMap<Fleet, RoleConfig>) {
        for (fleet, config) in configs {
            let of_role = self.0.entry(fleet.role).or_default();
            of_role.extend(config.destinations.iter().map(|destination| (destination.clone(), None)));
        }
        for (role, of_role) in &mut self.0 {
            let of_fleets = configs.iter().filter(|(fleet, _)| fleet.role == *role);
            let wanted: Vec<_> = of_fleets.map(|(_, config)| &config.destinations).collect();
            of_role.retain(|destination, unwanted_since| {
                if wanted.iter().any(|wanted| wanted.contains(destination)) {
                    return true;
                }
                unwanted_since.get_or_insert_with(Instant::now).elapsed() < KEPT
            });
        }
    }

    /// What was wanted by the last plan, or not long before it.
    pub(super) fn all(&self) -> BTreeMap<Role, BTreeSet<Destination>> {
        let of_role = |(role, of_role): (&Role, &BTreeMap<Destination, Option<Instant>>)| {
            (*role, of_role.keys().cloned().collect())
        };
        self.0.iter().map(of_role).collect()
    }

    /// Whether something of it is to be forgotten.
    pub(super) fn will_change(&self) -> bool {
        self.0.values().flat_map(BTreeMap::values).any(Option::is_some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(hosts: &[&str]) -> BTreeMap<Fleet, RoleConfig> {
        let destinations = hosts.iter().map(|host| Destination { host: (*host).to_owned(), port: 4317 }).collect();
        BTreeMap::from([(Role::TraceRouter.fleet(), RoleConfig { destinations, ..RoleConfig::default() })])
    }

    fn hosts(former: &FormerDestinations) -> Vec<String> {
        former.all().into_values().flatten().map(|destination| destination.host).collect()
    }

    /// A destination stays for as long as engines may hold something for it, from when it is not wanted any more.
    #[tokio::test(start_paused = true)]
    async fn they_are_kept_for_a_while() {
        let mut former = FormerDestinations::default();
        former.note(&configs(&["old", "both"]));
        assert_eq!(hosts(&former), ["both", "old"]);
        tokio::time::advance(KEPT * 2).await;
        assert!(!former.will_change());
        former.note(&configs(&["both", "new"]));
        assert_eq!(hosts(&former), ["both", "new", "old"]);
        tokio::time::advance(KEPT / 2).await;
        former.note(&configs(&["both", "new"]));
        assert_eq!(hosts(&former), ["both", "new", "old"]);
        assert!(former.will_change());
        tokio::time::advance(KEPT / 2).await;
        former.note(&configs(&["both", "new"]));
        assert_eq!(hosts(&former), ["both", "new"]);
    }

    /// One that is wanted again is not forgotten.
    #[tokio::test(start_paused = true)]
    async fn they_come_back() {
        let mut former = FormerDestinations::default();
        former.note(&configs(&["one"]));
        former.note(&configs(&[]));
        former.note(&configs(&["one"]));
        tokio::time::advance(KEPT).await;
        former.note(&configs(&["one"]));
        assert_eq!(hosts(&former), ["one"]);
    }
}
