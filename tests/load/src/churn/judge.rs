//! Compares what the engine has made of records with what is true of them.

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context, Result};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::metric::Data,
    resource::v1::Resource,
};
use prost::Message;
use serde::{Deserialize, Serialize};

use super::sender::{MARK_INPUT, Sender, TRUE_POD, TRUE_SENDER};
use crate::signal::Signal;

/// What has arrived, in records.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// With the pod that sent it.
    pub right: u64,
    /// Without a pod, though one sent it that could be known.
    pub missing: u64,
    /// Without a pod, as it has to be.
    pub rightly_none: u64,
    /// With another pod.
    pub wrong: u64,
    /// With a mark that somebody had forged.
    pub forged: u64,
    /// Without the mark that an agent has set.
    pub unmarked: u64,
}

/// What has arrived of each sender, and the first record that was taken for another pod's.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Findings {
    /// By sender.
    pub senders: Vec<(Sender, Tally)>,
    /// In words.
    pub first_wrong: Option<String>,
}

/// Judges all that arrives.
#[derive(Debug, Default)]
pub(super) struct Judge {
    tallies: Mutex<BTreeMap<Sender, Tally>>,
    first_wrong: Mutex<Option<String>>,
}

impl Tally {
    /// With a pod, whichever.
    pub fn attributed(&self) -> u64 {
        self.right + self.wrong
    }

    /// Without one.
    pub fn unattributed(&self) -> u64 {
        self.missing + self.rightly_none
    }

    /// Together with another one.
    pub fn plus(self, other: &Tally) -> Tally {
        Tally {
            right: self.right + other.right,
            missing: self.missing + other.missing,
            rightly_none: self.rightly_none + other.rightly_none,
            wrong: self.wrong + other.wrong,
            forged: self.forged + other.forged,
            unmarked: self.unmarked + other.unmarked,
        }
    }
}

impl Judge {
    /// Looks at a request.
    pub(super) fn look(&self, signal: Signal, message: &[u8]) -> Result<()> {
        match signal {
            Signal::Logs => {
                for entry in ExportLogsServiceRequest::decode(message)?.resource_logs {
                    let records = entry.scope_logs.iter().flat_map(|scope| &scope.log_records);
                    self.entry(entry.resource.as_ref(), records.map(|record| &record.attributes[..]))?;
                }
            }
            Signal::Points => {
                for entry in ExportMetricsServiceRequest::decode(message)?.resource_metrics {
                    let metrics = entry.scope_metrics.iter().flat_map(|scope| &scope.metrics);
                    let gauges = metrics.filter_map(|metric| match &metric.data {
                        Some(Data::Gauge(gauge)) => Some(&gauge.data_points),
                        _ => None,
                    });
                    let points = gauges.flatten().map(|point| &point.attributes[..]);
                    self.entry(entry.resource.as_ref(), points)?;
                }
            }
            Signal::Spans => anyhow::bail!("nobody has sent spans"),
        }
        Ok(())
    }

    /// What has arrived so far.
    pub(super) fn findings(&self) -> Findings {
        let tallies = self.tallies.lock().expect("no holder panics");
        Findings {
            senders: tallies.iter().map(|(sender, tally)| (*sender, tally.clone())).collect(),
            first_wrong: self.first_wrong.lock().expect("no holder panics").clone(),
        }
    }

    fn entry<'r>(&self, resource: Option<&Resource>, records: impl Iterator<Item = &'r [KeyValue]>) -> Result<()> {
        let said = resource.map(|resource| &resource.attributes[..]).unwrap_or_default();
        let pod = value(said, "k8s.pod.name");
        let is_marked = value(said, MARK_INPUT).is_some();
        let mut tallies = self.tallies.lock().expect("no holder panics");
        for truth in records {
            let sender = value(truth, TRUE_SENDER).and_then(Sender::of_name).context("a record of nobody")?;
            let true_pod = value(truth, TRUE_POD).context("a record without the truth")?;
            let tally = tallies.entry(sender).or_default();
            match pod {
                None if true_pod.is_empty() => tally.rightly_none += 1,
                None => tally.missing += 1,
                Some(pod) if pod == true_pod => tally.right += 1,
                Some(pod) => {
                    tally.wrong += 1;
                    let mut first = self.first_wrong.lock().expect("no holder panics");
                    first.get_or_insert_with(|| {
                        let keys: Vec<_> = said.iter().map(|attribute| attribute.key.as_str()).collect();
                        format!("what {true_pod:?} sent ({}) was taken for data of {pod}, with {keys:?}", sender.name())
                    });
                }
            }
            match (sender.is_agent(), is_marked) {
                (true, false) => tally.unmarked += 1,
                (false, true) => tally.forged += 1,
                _ => {}
            }
        }
        Ok(())
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use std::net::Ipv4Addr;

    use super::*;
    use crate::churn::sender::{Origin, logs, points};

    fn origin(sender: Sender, pod: &str) -> Origin {
        let (pod, uid, node) = (pod.to_owned(), String::new(), "node-1".to_owned());
        Origin { sender, pod, uid, address: Ipv4Addr::LOCALHOST, node }
    }

    /// A request as it is when the engine has said of all its resources that they are of a pod.
    fn attributed(frame: &[u8], pod: &str) -> Vec<u8> {
        let mut request = ExportLogsServiceRequest::decode(&frame[5..]).unwrap();
        for entry in &mut request.resource_logs {
            let value = Some(Value::StringValue(pod.to_owned()));
            entry.resource.as_mut().unwrap().attributes.push(KeyValue {
                key: "k8s.pod.name".to_owned(),
                value: Some(opentelemetry_proto::tonic::common::v1::AnyValue { value }),
                ..Default::default()
            });
        }
        request.encode_to_vec()
    }

    fn judged(look: impl FnOnce(&Judge)) -> Tally {
        let judge = Judge::default();
        look(&judge);
        judge.findings().senders.iter().fold(Tally::default(), |sum, (_, tally)| sum.plus(tally))
    }

    /// Right, wrong, missing and rightly of no pod are told apart, and a request with several origins is judged by each.
    #[test]
    fn tells_right_from_wrong() {
        let several = logs(&[origin(Sender::Connection, "a"), origin(Sender::HostNetwork, "b")], None);
        let of_a = judged(|judge| judge.look(Signal::Logs, &attributed(&several, "a")).unwrap());
        assert_eq!(of_a, Tally { right: 2, wrong: 2, ..Tally::default() });
        let of_nobody = judged(|judge| judge.look(Signal::Logs, &several[5..]).unwrap());
        assert_eq!(of_nobody, Tally { missing: 2, rightly_none: 2, ..Tally::default() });
        let of_another = judged(|judge| judge.look(Signal::Logs, &attributed(&several, "c")).unwrap());
        assert_eq!(of_another.wrong, 4);
    }

    /// A mark is an agent's to set and nobody else's.
    #[test]
    fn tells_who_may_mark() {
        let forged = logs(&[origin(Sender::Id, "a")], Some("host_metrics"));
        assert_eq!(judged(|judge| judge.look(Signal::Logs, &forged[5..]).unwrap()).forged, 2);
        let of_agent = points(&origin(Sender::AgentHostMetrics, ""), "host_metrics");
        let found = judged(|judge| judge.look(Signal::Points, &of_agent[5..]).unwrap());
        assert_eq!(found, Tally { rightly_none: 2, ..Tally::default() });
        let unmarked = logs(&[origin(Sender::AgentLogs, "a")], None);
        assert_eq!(judged(|judge| judge.look(Signal::Logs, &unmarked[5..]).unwrap()).unmarked, 2);
    }
}
