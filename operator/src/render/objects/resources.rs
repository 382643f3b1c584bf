//! What a container may use: what is said of it, over defaults.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::crd::{ResourceAmounts, Resources};

type Amounts = BTreeMap<String, Quantity>;

/// What a pod of a gateway may use.
pub fn of_gateway(said: Option<&Resources>) -> ResourceRequirements {
    over([("cpu", "100m"), ("memory", "128Mi")], [("memory", "512Mi")], said)
}

/// What a pod of an agent may use.
pub fn of_agent(said: Option<&Resources>) -> ResourceRequirements {
    over([("cpu", "15m"), ("memory", "64Mi")], [("memory", "256Mi")], said)
}

/// A default stands where nothing is said, and never against what is: no default request beside a limit that is said, which
/// may be lower, and no default limit beside a request that is said, which may be higher.
fn over<const N: usize, const M: usize>(
    requests: [(&str, &str); N],
    limits: [(&str, &str); M],
    said: Option<&Resources>,
) -> ResourceRequirements {
    let amounts = |amounts: Option<&ResourceAmounts>| amounts.map(ResourceAmounts::by_name).unwrap_or_default();
    let said_requests = amounts(said.and_then(|said| said.requests.as_ref()));
    let said_limits = amounts(said.and_then(|said| said.limits.as_ref()));
    let requests = with_defaults(&requests, &said_requests, &said_limits);
    let limits = with_defaults(&limits, &said_limits, &said_requests);
    ResourceRequirements { requests: Some(requests), limits: Some(limits), ..ResourceRequirements::default() }
}

fn with_defaults(defaults: &[(&str, &str)], said: &Amounts, other: &Amounts) -> Amounts {
    let defaults = defaults.iter().filter(|(name, _)| !other.contains_key(*name));
    let defaults = defaults.map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())));
    defaults.chain(said.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said replaces the default, and a default that could contradict it is left out.
    #[test]
    fn defaults_never_contradict() {
        let amount = |memory: &str| Some(ResourceAmounts { cpu: None, memory: Some(Quantity(memory.to_owned())) });
        let memory =
            |amounts: Option<Amounts>| amounts.and_then(|all| all.get("memory").map(|amount| amount.0.clone()));
        let of = |requests, limits| {
            let made = of_gateway(Some(&Resources { requests, limits }));
            (memory(made.requests), memory(made.limits))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(None, None), (some("128Mi"), some("512Mi")));
        assert_eq!(of(None, amount("64Mi")), (None, some("64Mi")));
        assert_eq!(of(amount("1Gi"), None), (some("1Gi"), None));
        assert_eq!(of(amount("64Mi"), amount("1Gi")), (some("64Mi"), some("1Gi")));
    }
}
