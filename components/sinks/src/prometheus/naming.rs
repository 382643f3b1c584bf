//! Names of metrics and labels, by the OpenTelemetry specification "Prometheus and OpenMetrics Compatibility".
//!
//! What Prometheus does not allow becomes `_`, several of them one. Units are spelled out and stand behind the name, unless
//! the name says them already.

/// How names of metrics are made.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    pub(super) namespace: Option<String>,
    pub(super) suffixes: Suffixes,
}

/// Whether units, `ratio` and `total` stand behind names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffixes {
    Added,
    Absent,
}

/// What a metric is to names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Anything else.
    Other,
}

/// A name and the unit as Prometheus spells it; the unit is empty when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) unit: String,
}

const UNITS: [(&str, &str); 31] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("KBy", "kilobytes"),
    ("kBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
    ("1", ""),
    ("bit", "bits"),
    ("Kibit", "kibibits"),
    ("Mibit", "mebibits"),
    ("Gibit", "gibibits"),
];

const PER_UNITS: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

impl Naming {
    /// The name of a metric; none when nothing of it can be written.
    pub(super) fn metric(&self, name: &str, unit: &str, shape: Shape) -> Option<Named> {
        let is_allowed = |character: char| character.is_ascii_alphanumeric() || character == ':';
        let words = name.split(|character| !is_allowed(character)).filter(|word| !word.is_empty());
        let mut words: Vec<&str> = words.collect();
        if words.is_empty() {
            return None;
        }
        let (main, per) = spelled(unit);
        if self.suffixes == Suffixes::Added {
            if !main.is_empty() && !words.contains(&main.as_str()) {
                words.push(&main);
            }
            if !per.is_empty() && !words.contains(&per.as_str()) {
                words.extend(["per", &per]);
            }
            // Many instruments that count things have the unit 1 as well: only a gauge is taken for a ratio.
            match shape {
                Shape::Counter => put_last(&mut words, "total"),
                Shape::Gauge if unit == "1" => put_last(&mut words, "ratio"),
                Shape::Gauge | Shape::Other => {}
            }
        }
        let joined = words.join("_");
        let name = match &self.namespace {
            Some(namespace) => format!("{namespace}_{joined}"),
            None if joined.starts_with(|first: char| first.is_ascii_digit()) => format!("_{joined}"),
            None => joined,
        };
        let unit = match (main.as_str(), per.as_str()) {
            (main, "") => main.to_owned(),
            ("", per) => format!("per_{per}"),
            (main, per) => format!("{main}_per_{per}"),
        };
        Some(Named { name, unit })
    }
}

/// A unit of UCUM in words: what is measured and per what. Annotations in braces are no unit.
fn spelled(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    (word(main, &UNITS), word(per, &PER_UNITS))
}

fn word(unit: &str, known: &[(&str, &str)]) -> String {
    let unit = unit.trim();
    if unit.contains(['{', '}']) {
        return String::new();
    }
    if let Some((_, spelled)) = known.iter().find(|(short, _)| *short == unit) {
        return (*spelled).to_owned();
    }
    let mut cleaned = String::new();
    push_allowed(&mut cleaned, unit);
    cleaned.trim_matches('_').to_owned()
}

fn put_last<'w>(words: &mut Vec<&'w str>, word: &'w str) {
    words.retain(|other| *other != word);
    words.push(word);
}

/// Appends the name of a label for this attribute.
pub(super) fn push_label_name(text: &mut String, key: &str) {
    if key.starts_with(|first: char| first.is_ascii_digit()) {
        text.push_str("key_");
    }
    if key.is_empty() {
        text.push('_');
    }
    push_allowed(text, key);
}

/// Appends with `_` for each run of what is not allowed.
fn push_allowed(text: &mut String, raw: &str) {
    let mut after_underscore = false;
    for character in raw.chars() {
        let is_plain = character.is_ascii_alphanumeric();
        if is_plain {
            text.push(character);
        } else if !after_underscore {
            text.push('_');
        }
        after_underscore = !is_plain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, unit: &str, shape: Shape) -> (String, String) {
        let naming = Naming { namespace: None, suffixes: Suffixes::Added };
        let Named { name, unit } = naming.metric(name, unit, shape).expect("a name is left");
        (name, unit)
    }

    /// The rules of the specification, with the examples that its implementations are tested with.
    #[test]
    fn metrics() {
        use Shape::{Counter, Gauge, Other};
        let cases = [
            ("http.server.duration", "s", Other, "http_server_duration_seconds", "seconds"),
            ("system.io", "By", Counter, "system_io_bytes_total", "bytes"),
            ("system.network.dropped", "{packets}", Counter, "system_network_dropped_total", ""),
            ("apache.requests", "1", Counter, "apache_requests_total", ""),
            ("memory.utilization", "1", Gauge, "memory_utilization_ratio", ""),
            ("memory.usage.bytes", "By", Gauge, "memory_usage_bytes", "bytes"),
            ("total.bytes.sent", "By", Counter, "bytes_sent_total", "bytes"),
            ("astro.light.speed", "m/s", Gauge, "astro_light_speed_meters_per_second", "meters_per_second"),
            ("errors", "{error}/min", Gauge, "errors_per_min", "per_min"),
            ("disk.speed", "By/s", Gauge, "disk_speed_bytes_per_second", "bytes_per_second"),
            ("2xx.responses", "", Gauge, "_2xx_responses", ""),
            ("a--b..c__d", "", Gauge, "a_b_c_d", ""),
            ("recorded:rule", "", Gauge, "recorded:rule", ""),
            ("größe", "By", Gauge, "gr_e_bytes", "bytes"),
            ("broken.metric", "$% ", Gauge, "broken_metric", ""),
            ("room.temperature", "Cel", Gauge, "room_temperature_celsius", "celsius"),
            ("cpu.busy", "%", Gauge, "cpu_busy_percent", "percent"),
            ("a", "By\nx{", Gauge, "a", ""),
        ];
        for (name, unit, shape, expected, expected_unit) in cases {
            assert_eq!(named(name, unit, shape), (expected.to_owned(), expected_unit.to_owned()), "{name} {unit}");
        }
    }

    /// Without suffixes a name is only made legal; a namespace stands before it; of some names nothing is left.
    #[test]
    fn plain_names() {
        let naming = Naming { namespace: Some("shop".to_owned()), suffixes: Suffixes::Absent };
        let name = |name| naming.metric(name, "By", Shape::Counter).map(|named| named.name);
        assert_eq!(name("system.io"), Some("shop_system_io".to_owned()));
        assert_eq!(name("2xx"), Some("shop_2xx".to_owned()));
        assert_eq!(name("日本"), None);
    }

    /// Labels are letters, digits and single underscores, and no label has a name of Prometheus' own.
    #[test]
    fn labels() {
        let cases = [
            ("http.method", "http_method"),
            ("__name__", "_name_"),
            ("1st", "key_1st"),
            ("a..b", "a_b"),
            ("", "_"),
            ("ключ", "_"),
            ("a\"}\nforged{", "a_forged_"),
        ];
        for (key, expected) in cases {
            let mut text = String::new();
            push_label_name(&mut text, key);
            assert_eq!(text, expected, "{key}");
        }
    }
}
