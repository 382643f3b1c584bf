//! Writes what is said of pipelines and of the module into their status, and only what has changed.
//!
//! What has changed is told by Events too. A condition's time is that at which its status was written. Counts are written at most once a minute, so that a busy
//! pipeline is no reason for more.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::events::{Events, news};
use crate::collect::PipelineId;
use crate::crd::{BufferStatus, Flow, LogPipeline, MetricPipeline, Telemetry, TracePipeline};
use crate::plan::Desired;
use crate::status::{ConditionReport, PipelineReport, TelemetryReport};

/// Counts are written at most so often.
const BETWEEN_COUNTS: Duration = Duration::from_secs(60);

/// Who writes status, and what was written last.
pub(super) struct Publisher {
    client: Client,
    events: Events,
    /// What an object held before the last write to it, and what was written: until the cache has heard of the write, it
    /// still shows the former.
    written: BTreeMap<String, (Value, Value)>,
    /// Counts.
    counted: Paced,
    /// How full buffers are.
    measured: Paced,
}

/// A status could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the status of {object}")]
pub(super) struct PublishError {
    object: String,
    #[source]
    source: kube::Error,
}

impl Publisher {
    /// `identity` tells this manager from others.
    pub(super) fn new(client: Client, identity: &str) -> Self {
        let events = Events::new(client.clone(), identity);
        Self { client, events, written: BTreeMap::new(), counted: Paced::default(), measured: Paced::default() }
    }

    /// Forgets what was written for objects that are gone. What is forgotten of others is compared with what they hold.
    pub(super) fn forget_others(&mut self, desired: &Desired) {
        for paced in [&mut self.counted, &mut self.measured] {
            paced.written.retain(|id, _| desired.pipelines.contains_key(id));
            paced.withheld = None;
        }
        if self.written.len() > 2 * (desired.pipelines.len() + desired.telemetries.len()) {
            self.written.clear();
        }
    }

    /// Until when numbers wait to be written, because others were written not long ago.
    pub(super) fn withholds_until(&self) -> Option<Instant> {
        self.counted.withheld.into_iter().chain(self.measured.withheld).min()
    }

    /// Writes the status of a LogPipeline.
    pub(super) async fn logs(
        &mut self,
        found: &LogPipeline,
        id: &PipelineId,
        report: &PipelineReport,
    ) -> Result<(), PublishError> {
        let status = found.status.clone().unwrap_or_default();
        let mut wanted = self.pipeline(id, report, &status.conditions, status.flow.as_ref());
        wanted["unsupportedMode"] = json!(report.unsupported_mode);
        let news_of = |before: &BufferStatus, now: &BufferStatus| match before {
            _ if before == now => News::Nothing,
            _ if before.pods == now.pods => News::Amounts,
            _ => News::Everything,
        };
        let buffer = self.measured.numbers(id, report.buffer.as_ref(), status.buffer.as_ref(), news_of);
        wanted["buffer"] = json!(buffer);
        let news = news(&report.conditions, &status.conditions);
        self.write(Api::<LogPipeline>::all(self.client.clone()), found, json!(status), wanted, &news).await
    }

    /// Writes the status of a MetricPipeline.
    pub(super) async fn metrics(
        &mut self,
        found: &MetricPipeline,
        id: &PipelineId,
        report: &PipelineReport,
    ) -> Result<(), PublishError> {
        let status = found.status.clone().unwrap_or_default();
        let wanted = self.pipeline(id, report, &status.conditions, status.flow.as_ref());
        let news = news(&report.conditions, &status.conditions);
        self.write(Api::<MetricPipeline>::all(self.client.clone()), found, json!(status), wanted, &news).await
    }

    /// Writes the status of a TracePipeline.
    pub(super) async fn traces(
        &mut self,
        found: &TracePipeline,
        id: &PipelineId,
        report: &PipelineReport,
    ) -> Result<(), PublishError> {
        let status = found.status.clone().unwrap_or_default();
        let wanted = self.pipeline(id, report, &status.conditions, status.flow.as_ref());
        let news = news(&report.conditions, &status.conditions);
        self.write(Api::<TracePipeline>::all(self.client.clone()), found, json!(status), wanted, &news).await
    }

    /// Writes the status of a Telemetry object.
    pub(super) async fn telemetry(&mut self, found: &Telemetry, report: &TelemetryReport) -> Result<(), PublishError> {
        let before = found.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let wanted = json!({
            "state": report.state,
            "conditions": conditions(&report.conditions, &before, report.generation),
            "endpoints": report.endpoints,
            "storage": report.storage,
        });
        let api = namespaced(&self.client, found);
        let news = news(&report.conditions, &before);
        self.write(api, found, json!(found.status), wanted, &news).await
    }

    fn pipeline(
        &mut self,
        id: &PipelineId,
        report: &PipelineReport,
        before: &[Condition],
        counts: Option<&Flow>,
    ) -> Value {
        let conditions = conditions(&report.conditions, before, report.generation);
        let news = |before: &Flow, now: &Flow| {
            if (Flow { reported_at: None, ..before.clone() }) == *now { News::Nothing } else { News::Amounts }
        };
        let flow = self.counted.numbers(id, report.flow.as_ref(), counts, news);
        let flow =
            flow.map(|flow| Flow { reported_at: flow.reported_at.or_else(|| Some(Time(Timestamp::now()))), ..flow });
        json!({ "conditions": conditions, "flow": flow })
    }

    async fn write<K>(
        &mut self,
        api: Api<K>,
        found: &K,
        before: Value,
        wanted: Value,
        news: &[&ConditionReport],
    ) -> Result<(), PublishError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let object = format!("{}/{}", K::kind(&()), found.name_any());
        let key = format!("{object}/{}/{}", found.namespace().unwrap_or_default(), found.uid().unwrap_or_default());
        if without_nulls(&wanted) == without_nulls(&before) {
            self.written.remove(&key);
            return Ok(());
        }
        if let Some((seen, written)) = self.written.get(&key)
            && *seen == before
            && is_same(written, &wanted)
        {
            return Ok(());
        }
        let patch = Patch::Merge(json!({ "status": replacing(&before, &wanted) }));
        match api.patch_status(&found.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => {
                self.written.insert(key, (before, wanted));
                self.events.tell(&found.object_ref(&()), news);
                Ok(())
            }
            // It is gone, and so is whoever would read it.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(PublishError { object, source }),
        }
    }
}

/// What is new about numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Nothing.
    Nothing,
    /// How large they are, which can wait.
    Amounts,
    /// What they are about.
    Everything,
}

/// When numbers of pipelines were written last.
#[derive(Debug, Default)]
struct Paced {
    written: BTreeMap<PipelineId, Instant>,
    /// When the first of what is new and waits can be written.
    withheld: Option<Instant>,
}

impl Paced {
    /// The numbers to write: new ones if the last ones are old enough.
    fn numbers<T: Clone>(
        &mut self,
        id: &PipelineId,
        now: Option<&T>,
        before: Option<&T>,
        news: impl Fn(&T, &T) -> News,
    ) -> Option<T> {
        let Some(now) = now else {
            self.written.remove(id);
            return None;
        };
        let next = self.written.get(id).map(|at| *at + BETWEEN_COUNTS).filter(|next| *next > Instant::now());
        match (before.map_or(News::Everything, |before| news(before, now)), next) {
            (News::Nothing, _) => return before.cloned(),
            (News::Amounts, Some(next)) => {
                self.withheld = self.withheld.into_iter().chain([next]).min();
                return before.cloned();
            }
            (News::Amounts, None) | (News::Everything, _) => {}
        }
        self.written.insert(id.clone(), Instant::now());
        Some(now.clone())
    }
}

fn namespaced<K>(client: &Client, found: &K) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), &found.namespace().unwrap_or_default())
}

/// Conditions with their times: that of a condition whose status stays is kept.
fn conditions(reports: &[ConditionReport], before: &[Condition], generation: Option<i64>) -> Vec<Condition> {
    let now = Time(Timestamp::now());
    let condition = |report: &ConditionReport| {
        let known = before.iter().find(|condition| condition.type_ == report.kind);
        let known = known.filter(|condition| condition.status == report.status.as_str());
        Condition {
            type_: report.kind.to_owned(),
            status: report.status.as_str().to_owned(),
            reason: report.reason.to_owned(),
            message: report.message.clone(),
            observed_generation: generation,
            last_transition_time: known.map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone()),
        }
    };
    reports.iter().map(condition).collect()
}

/// A merge patch that leaves nothing of what was there before.
fn replacing(before: &Value, wanted: &Value) -> Value {
    let (Value::Object(before), Value::Object(fields)) = (before, wanted) else { return wanted.clone() };
    let mut patch = fields.clone();
    for (key, before) in before {
        let now = fields.get(key).map_or(Value::Null, |wanted| replacing(before, wanted));
        patch.insert(key.clone(), now);
    }
    Value::Object(patch)
}

/// Whether two writes say the same, whenever they are made.
fn is_same(one: &Value, other: &Value) -> bool {
    timeless(one) == timeless(other)
}

fn timeless(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let times = ["lastTransitionTime", "reportedAt"];
            let others = fields.iter().filter(|(key, value)| !times.contains(&key.as_str()) && !value.is_null());
            Value::Object(others.map(|(key, value)| (key.clone(), timeless(value))).collect())
        }
        Value::Array(values) => values.iter().map(timeless).collect(),
        other => other.clone(),
    }
}

/// An API server keeps no field that is null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let present = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(values) => values.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Signal;

    /// New amounts wait until a minute after the last ones, and not longer; what is new besides them does not wait.
    #[tokio::test(start_paused = true)]
    async fn amounts_are_written_once_a_minute() {
        let id = PipelineId { signal: Signal::Logs, name: "shop".to_owned() };
        let mut paced = Paced::default();
        let numbers = |paced: &mut Paced, now: u32, before: Option<u32>, news| {
            paced.withheld = None;
            paced.numbers(&id, Some(&now), before.as_ref(), |_, _| news)
        };
        let began = Instant::now();
        assert_eq!(numbers(&mut paced, 1, None, News::Nothing), Some(1));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(numbers(&mut paced, 1, Some(1), News::Nothing), Some(1));
        assert_eq!(paced.withheld, None);
        assert_eq!(numbers(&mut paced, 2, Some(1), News::Amounts), Some(1));
        assert_eq!(paced.withheld, Some(began + BETWEEN_COUNTS));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(numbers(&mut paced, 3, Some(1), News::Amounts), Some(3));
        assert_eq!(numbers(&mut paced, 4, Some(3), News::Everything), Some(4));
        assert_eq!(paced.withheld, None);
    }
}
