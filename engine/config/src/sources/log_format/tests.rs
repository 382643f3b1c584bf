//! What a source with these options accepts and refuses, and in which words, through the checks that every
//! configuration passes.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::LazyLock;

use super::*;
use crate::component::{ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;
use crate::{Catalog, Environment, ParseOptions, SourceFile, load};

/// A source that holds the options as the sources that read files do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Lines {
    /// The format.
    #[serde(skip_serializing_if = "is_default")]
    format: LogFormat,
    /// Entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    multiline: Option<Multiline>,
    /// Keys of a source without a choice of formats.
    #[serde(skip_serializing_if = "is_default")]
    keys: RecordKeys,
}

impl ComponentOptions for Lines {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "lines";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        self.format.check(checker);
        self.keys.check(["keys"], checker);
        if let Some(multiline) = &self.multiline {
            multiline.check(checker);
        }
    }

    fn facts(&self) -> Facts {
        Facts { pull: true, ..Facts::source(SignalSet::LOGS) }
    }
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().with::<Lines>());

fn read(options: &str) -> Result<Lines, String> {
    let text = format!(
        "version = 1\n[sources.a]\ntype = \"lines\"\n{options}\n[sinks.out]\ntype = \"blackhole\"\ninputs = [\"a\"]\n"
    );
    let files = [SourceFile::new("engine.toml", text)];
    let loaded = load(&files, &CATALOG, &Environment::Unknown, &ParseOptions::default());
    let loaded = loaded.map_err(|problems| problems.to_string())?;
    Ok(loaded.pipeline.get("a").unwrap().options.downcast_ref::<Lines>().unwrap().clone())
}

/// The short and the long forms mean the same, and defaults are those that are documented.
#[test]
fn forms() {
    let short = read("format = \"json\"\nmultiline = \"go\"").unwrap();
    assert_eq!(short.format.kind(), LineFormat::Json);
    let table = short.multiline.unwrap().table();
    assert_eq!((table.preset, table.max_lines.get(), table.timeout), (Some(Preset::Go), 1024, crate::Span::secs(1)));
    let long = read("format.type = \"json\"\nformat.keys.time = [\"ts\"]\nmultiline.start = '^\\d'").unwrap();
    assert_eq!(long.format.kind(), LineFormat::Json);
    let keys = long.format.keys().unwrap();
    assert_eq!(keys.time(LineFormat::Json), ["ts"]);
    assert_eq!(keys.body(LineFormat::Json), ["msg", "message"]);
    assert_eq!(keys.severity(LineFormat::Json), ["log.level", "level"]);
    assert_eq!(keys.traceparent(), ["traceparent"]);
    let groups = read("format = { type = \"regex\", pattern = '(?<time>\\S+) (?<body>.*)' }").unwrap();
    assert_eq!(groups.format.pattern().unwrap().groups(), ["time", "body"]);
    assert_eq!(groups.format.keys().unwrap().time(LineFormat::Regex), ["time", "timestamp"]);
    assert_eq!(read("").unwrap().format.kind(), LineFormat::Text);
}

/// What is written is read again as the same.
#[test]
fn writing_and_reading_agree() {
    for options in [
        "format = \"regex\"\nformat = 1",
        "format = \"json\"",
        "multiline = \"java\"",
        "multiline = { start = '^x', max_lines = 7, timeout = \"2s\" }",
        "format = { type = \"regex\", pattern = '(?<at>.*)', keys = { time = [\"at\"], time_format = \"%s\" } }",
        "keys = { time = [\"t\"], time_format = \"%Y %m %d\", time_zone = \"Europe/Berlin\", body = [] }",
        "keys = { time = [\"t\"], time_format = \"epoch_us\" }",
    ] {
        let Ok(lines) = read(options) else { continue };
        let written = toml::to_string(&lines).unwrap();
        assert_eq!(toml::from_str::<Lines>(&written).unwrap(), lines, "{written}");
    }
}

/// What cannot work is refused at its place, in words that say what to do.
#[test]
fn refusals() {
    for (options, expected) in [
        ("format = \"jsn\"", "did you mean `json`?"),
        ("format = \"regex\"", "the format \"regex\" needs a `pattern`"),
        (
            "format = { type = \"regex\", pattern = 'a(?<b>c' }",
            "not a regular expression, at character 2: unclosed group",
        ),
        ("format = { type = \"regex\", pattern = '\u{e9}[z-a]' }", "at character 3: invalid character class range"),
        ("format = { type = \"regex\", pattern = '(?<a>\\w{1000}){1000}' }", "needs more memory"),
        ("format = { type = \"regex\", pattern = 'a(?-u:.)' }", "not a regular expression, at character 7"),
        ("format = { type = \"regex\", pattern = '(a)(b)' }", "the pattern names no group"),
        ("format = { type = \"json\", pattern = '(?<a>b)' }", "`pattern` has no effect"),
        ("format = { type = \"text\", keys.time = [\"t\"] }", "`keys` has no effect"),
        (
            "format = { type = \"regex\", pattern = '(?<levl>a)(?<b>c)', keys.severity = [\"level\"] }",
            "did you mean `levl`?",
        ),
        ("format = { type = \"regex\", pattern = '(?<b>c)', keys.time = [\"t\"] }", "its groups are `b`"),
        ("format = { type = \"json\", keys.time_format = \"epoc_ms\" }", "did you mean `epoch_ms`?"),
        ("format = { type = \"json\", keys.time_format = \"%H:%M\" }", "`%H:%M`"),
        ("format = { type = \"json\", keys.time_format = \"%Y-%m-%d %:\" }", "`%Y-%m-%d %:`"),
        ("format = { type = \"json\", keys.time_zone = \"Europe/Berlin\" }", "`time_zone` has no effect"),
        ("keys = { time_format = \"%F %T\", time_zone = \"Europe/Brelin\" }", "`Europe/Brelin` is no time zone"),
        ("keys = { time_format = \"%F %T\", time_zone = \"+25:00\" }", "`+25:00` is no time zone"),
        ("keys = { body = [\"a\"], time = [\"a\"] }", "`a` stands in `time` and in `body`"),
        ("keys = { body = [\"a\", \"a\"] }", "`a` stands in `body` twice"),
        ("keys = { body = [\"\"] }", "has 0 characters"),
        (
            "keys.body = [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\", \"j\", \"k\", \"l\", \"m\", \"n\", \"o\", \"p\", \"q\"]",
            "`body` names 17 keys",
        ),
        ("multiline = \"jva\"", "did you mean `java`?"),
        ("multiline = { max_lines = 10 }", "does not say where an entry begins"),
        ("multiline = { preset = \"go\", start = 'a' }", "exclude each other"),
        ("multiline = { start = '^\\s*' }", "matches the empty text"),
        ("multiline = { start = '(' }", "not a regular expression, at character 1: unclosed group"),
        ("multiline = { preset = \"go\", max_lines = 1 }", "`multiline.max_lines` is 1"),
    ] {
        let text = read(options).expect_err(options);
        assert!(text.contains(expected), "{options}: {text}");
    }
}

/// Conversions read what programs write, in the zone of their clock.
#[test]
fn conversions() {
    // 2024-07-14T21:14:05Z
    let at = 1_720_991_645_000_000_000;
    for (conversions, zone, text, expected) in [
        ("%d/%b/%Y:%H:%M:%S %z", "UTC", "14/Jul/2024:23:14:05 +0200", at),
        ("%Y-%m-%d %H:%M:%S,%f", "UTC", "2024-07-14 21:14:05,123", at + 123_000_000),
        ("%Y-%m-%d %H:%M:%S%.f", "Europe/Berlin", "2024-07-14 23:14:05.5", at + 500_000_000),
        ("%Y-%m-%d %H:%M:%S", "-03:30", "2024-07-14 17:44:05", at),
        ("%s", "UTC", "1720991645", at),
        ("%a %b %e %H:%M:%S %Y", "UTC", "Sun Jul 14 21:14:05 2024", at),
        // Without a year, as syslog writes it: the latest that is not ahead by more than a day.
        ("%b %e %H:%M:%S", "UTC", "Jul 14 21:14:05", at),
        ("%b %e %H:%M:%S", "UTC", "Jul 15 12:00:00", at + 53_155_000_000_000),
        ("%b %e %H:%M:%S", "UTC", "Jul 17 21:14:05", at - 363 * 86_400_000_000_000),
        ("%b %e %H:%M:%S", "UTC", "Feb 29 00:00:00", 1_709_164_800_000_000_000),
    ] {
        assert!(matches!(conversions.parse(), Ok(TimeFormat::Conversions(_))), "{conversions}");
        let reader = ReadTime::new(conversions, &zone.parse().unwrap());
        assert_eq!(reader.unix_nanos(text.as_bytes(), at), Some(expected), "{conversions} {text}");
    }
    let reader = ReadTime::new("%F %T", &Zone::default());
    for text in ["", "2024-07-14", "2024-07-14 21:14:05 more", "1960-01-01 00:00:00", "2024-13-01 00:00:00", "\u{e9}"] {
        assert_eq!(reader.unix_nanos(text.as_bytes(), at), None, "{text}");
    }
}
