//! From a request to the table: what a resource, a scope and a metric mean to their points.
//!
//! Points that are refused are counted by reason; what they are refused for is decided here and in `table`. The table is
//! locked for one point at a time, when all about it is known, so that a scrape and other lanes have their turn.

use std::collections::BTreeMap;

use engine_config::sinks::Prometheus as Options;
use otlp::{MetricView, PointKind, ResourceView, ScopeView, ValueView, Wire};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::labels::{LabelWriter, Labels, TooLong};
use super::naming::{Named, Naming, Shape, Suffixes};
use super::table::{Description, Kind, Place, Refused, Table};
use super::value::{Point, Temporality, Times, Updated, Value};

/// Points that are taken before other tasks of the lane have their turn.
const POINTS_AT_ONCE: usize = 256;

/// `DataPointFlags`: there is no value, the series has ended.
const NO_RECORDED_VALUE: u32 = 1;

/// The attributes that become `job` and `instance`.
const NAMESPACE: &str = "service.namespace";
const NAME: &str = "service.name";
const INSTANCE: &str = "service.instance.id";

/// How requests are read.
#[derive(Debug)]
pub(super) struct Ingest {
    naming: Naming,
    /// `const_labels`.
    own: Labels,
    resource_labels: ResourceLabels,
    has_scope_labels: bool,
}

/// Which attributes of a resource all of its series get.
#[derive(Debug)]
enum ResourceLabels {
    All,
    Listed(Vec<String>),
}

/// What became of the points of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Points that are lost, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// Points that are behind their series.
    pub(super) older: u64,
}

/// Why points are refused.
pub(super) const REASONS: [&str; 6] = ["conflict", "invalid", "labels_too_long", "max_series", "max_size", "overlap"];
const CONFLICT: &str = REASONS[0];
const INVALID: &str = REASONS[1];
const LABELS_TOO_LONG: &str = REASONS[2];
const MAX_SERIES: &str = REASONS[3];
const MAX_SIZE: &str = REASONS[4];
const OVERLAP: &str = REASONS[5];

/// What the points of one metric have in common.
struct Metric<'a> {
    view: MetricView<'a>,
    description: Description,
    temporality: Temporality,
    /// The label that lines of its kind have besides.
    reserved: Option<&'static str>,
    shared: &'a Labels,
}

impl Ingest {
    pub(super) fn new(options: &Options) -> Result<Self, TooLong> {
        let constant = options.const_labels.iter();
        let constant = constant.map(|(name, value)| (name.as_str(), ValueView::Str(value)));
        let own = Labels::default().and(&mut LabelWriter::default(), constant)?;
        let suffixes = if options.add_metric_suffixes { Suffixes::Added } else { Suffixes::Absent };
        let resource_labels = match options.resource_labels.as_slice() {
            [all] if all == "*" => ResourceLabels::All,
            listed => ResourceLabels::Listed(listed.to_vec()),
        };
        Ok(Self {
            naming: Naming { namespace: options.namespace.clone(), suffixes },
            own,
            resource_labels,
            has_scope_labels: options.scope_labels,
        })
    }

    /// Puts every point of a request into the table.
    pub(super) async fn take(&self, wire: &Wire, table: &Mutex<Table>) -> Tally {
        let mut tally = Tally::default();
        let mut writer = LabelWriter::default();
        for resource in wire.resources() {
            let identity = match self.identity(&resource, &mut writer) {
                Ok(identity) => identity,
                Err(TooLong) => {
                    tally.refuse(LABELS_TOO_LONG, resource.records());
                    continue;
                }
            };
            self.show_target(&resource, &identity, &mut writer, table);
            let shared = identity.and(&mut writer, self.copied(&resource));
            for scope in resource.scopes() {
                let shared = shared.as_ref().map_err(|TooLong| TooLong);
                let labels = shared.and_then(|shared| self.scope_labels(shared, &scope, &mut writer));
                let Ok(labels) = labels else {
                    let points: usize = scope.metrics().map(|metric| metric.data_points().count()).sum();
                    tally.refuse(LABELS_TOO_LONG, points as u64);
                    continue;
                };
                for view in scope.metrics() {
                    let Some(metric) = self.metric(view, &labels) else {
                        tally.refuse(INVALID, view.data_points().count() as u64);
                        continue;
                    };
                    metric.take(&mut writer, table, &mut tally).await;
                }
            }
        }
        tally
    }

    /// The labels `job` and `instance`, and constant ones.
    fn identity(&self, resource: &ResourceView<'_>, writer: &mut LabelWriter) -> Result<Labels, TooLong> {
        let attribute = |key| resource.get(key).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
        let (namespace, name, instance) = (attribute(NAMESPACE), attribute(NAME), attribute(INSTANCE));
        let job = match (namespace.as_str(), name.as_str()) {
            (_, "") => String::new(),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        self.own.and(writer, [("job", ValueView::Str(&job)), ("instance", ValueView::Str(&instance))])
    }

    /// Puts `target_info` of a resource that has a job or an instance, and anything to say, into the table.
    fn show_target(
        &self,
        resource: &ResourceView<'_>,
        identity: &Labels,
        writer: &mut LabelWriter,
        table: &Mutex<Table>,
    ) {
        let attributes = resource.attributes().filter(|attribute| !is_identity(attribute.key));
        let layer = attributes.map(|attribute| (attribute.key, attribute.value));
        let Ok(labels) = writer.write(identity, None, layer) else { return };
        if identity.text() == self.own.text() || labels == identity.text() {
            return;
        }
        let description = Description {
            name: "target_info".to_owned(),
            kind: Kind::Info,
            unit: String::new(),
            help: "Target metadata".to_owned(),
        };
        let times = Times { start: 0, end: 0 };
        let (value, temporality) = (Value::Int(1), Temporality::Cumulative);
        let point = Point { value, exemplars: Vec::new(), times, temporality };
        let place = Place { key: identity.text(), labels };
        // Without room for it the points will be refused too, and those are counted.
        table.lock().put(&description, place, point, Instant::now()).ok();
    }

    /// The attributes of a resource that its series get.
    fn copied<'a>(&'a self, resource: &ResourceView<'a>) -> impl Iterator<Item = (&'a str, ValueView<'a>)> + use<'a> {
        let wanted = |key: &str| match &self.resource_labels {
            ResourceLabels::All => !is_identity(key),
            ResourceLabels::Listed(keys) => keys.iter().any(|wanted| wanted == key),
        };
        let attributes = resource.attributes().filter(move |attribute| wanted(attribute.key));
        attributes.map(|attribute| (attribute.key, attribute.value))
    }

    fn scope_labels(
        &self,
        shared: &Labels,
        scope: &ScopeView<'_>,
        writer: &mut LabelWriter,
    ) -> Result<Labels, TooLong> {
        if !self.has_scope_labels {
            return Ok(shared.clone());
        }
        let fixed = [
            ("otel_scope_name", scope.name()),
            ("otel_scope_version", scope.version()),
            ("otel_scope_schema_url", scope.schema_url()),
        ];
        let named = shared.and(writer, fixed.map(|(name, value)| (name, ValueView::Str(value))))?;
        let attributes: Vec<(String, ValueView<'_>)> =
            scope.attributes().map(|attribute| (format!("otel_scope_{}", attribute.key), attribute.value)).collect();
        named.and(writer, attributes.iter().map(|(key, value)| (key.as_str(), *value)))
    }

    /// What a metric is to Prometheus; none when it cannot be anything.
    fn metric<'a>(&self, view: MetricView<'a>, shared: &'a Labels) -> Option<Metric<'a>> {
        let kind = view.kind()?;
        let (family, shape) = match kind {
            PointKind::Sum if view.is_monotonic() => (Kind::Counter, Shape::Counter),
            PointKind::Gauge | PointKind::Sum => {
                (Kind::Gauge, if kind == PointKind::Gauge { Shape::Gauge } else { Shape::Other })
            }
            PointKind::Histogram | PointKind::ExponentialHistogram => (Kind::Histogram, Shape::Other),
            PointKind::Summary => (Kind::Summary, Shape::Other),
        };
        let temporality = match (kind, view.aggregation_temporality()) {
            (PointKind::Gauge | PointKind::Summary, _) | (_, 2) => Temporality::Cumulative,
            (_, 1) => Temporality::Delta,
            _ => return None,
        };
        let Named { name, unit } = self.naming.metric(view.name(), view.unit(), shape)?;
        let reserved = match family {
            Kind::Histogram => Some("le"),
            Kind::Summary => Some("quantile"),
            Kind::Counter | Kind::Gauge | Kind::Info => None,
        };
        let description = Description { name, kind: family, unit, help: view.description().to_owned() };
        Some(Metric { view, description, temporality, reserved, shared })
    }
}

impl Metric<'_> {
    async fn take(&self, writer: &mut LabelWriter, table: &Mutex<Table>, tally: &mut Tally) {
        let mut points = self.view.data_points().peekable();
        while points.peek().is_some() {
            let now = Instant::now();
            for point in points.by_ref().take(POINTS_AT_ONCE) {
                match self.take_one(&point, writer, table, now) {
                    Ok(Updated::Taken) => {}
                    Ok(Updated::Older) => tally.older += 1,
                    Ok(Updated::Overlapping) => tally.refuse(OVERLAP, 1),
                    Err(reason) => tally.refuse(reason, 1),
                }
            }
            if points.peek().is_some() {
                tokio::task::yield_now().await;
            }
        }
    }

    fn take_one(
        &self,
        view: &otlp::DataPointView<'_>,
        writer: &mut LabelWriter,
        table: &Mutex<Table>,
        now: Instant,
    ) -> Result<Updated, &'static str> {
        let attributes = view.attributes().map(|attribute| (attribute.key, attribute.value));
        let labels = writer.write(self.shared, self.reserved, attributes).map_err(|TooLong| LABELS_TOO_LONG)?;
        if view.flags() & NO_RECORDED_VALUE != 0 {
            table.lock().remove(&self.description.name, labels);
            return Ok(Updated::Taken);
        }
        let point = Point::of(view, self.temporality).map_err(|_| INVALID)?;
        if self.description.kind == Kind::Counter && !is_count(&point.value) {
            return Err(INVALID);
        }
        let put = table.lock().put(&self.description, Place { key: labels, labels }, point, now);
        put.map_err(|refused| match refused {
            Refused::Conflict => CONFLICT,
            Refused::MaxSeries => MAX_SERIES,
            Refused::MaxSize => MAX_SIZE,
        })
    }
}

impl Tally {
    /// Points that are lost.
    pub(super) fn lost(&self) -> u64 {
        self.refused.values().sum()
    }

    fn refuse(&mut self, reason: &'static str, points: u64) {
        if points > 0 {
            *self.refused.entry(reason).or_default() += points;
        }
    }
}

fn is_identity(key: &str) -> bool {
    matches!(key, NAMESPACE | NAME | INSTANCE)
}

/// A counter is neither negative nor no number.
fn is_count(value: &Value) -> bool {
    match value {
        Value::Int(number) => *number >= 0,
        Value::Double(number) => *number >= 0.0,
        Value::Histogram(_) | Value::Exponential(_) | Value::Summary(_) => true,
    }
}
