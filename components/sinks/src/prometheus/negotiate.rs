//! Which format and which coding a scraper gets, from its headers (RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3).
//!
//! Whoever asks for nothing that we write gets text: a person with a browser is better served by it than by an error.

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderName};

use super::exposition::Syntax;

/// The format that a client likes best; OpenMetrics where both are as welcome by name.
pub(super) fn syntax(headers: &HeaderMap) -> Syntax {
    let mut best = (0.0, Syntax::Text);
    for item in items(headers, &ACCEPT) {
        let version = item.parameter("version");
        let offered = match item.name.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => Syntax::OpenMetrics,
            "text/plain" if matches!(version, None | Some("0.0.4")) => Syntax::Text,
            "text/*" | "*/*" => Syntax::Text,
            _ => continue,
        };
        let weight = item.weight();
        if weight > best.0 || (weight == best.0 && weight > 0.0 && offered == Syntax::OpenMetrics) {
            best = (weight, offered);
        }
    }
    best.1
}

/// Whether a client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut by_star = false;
    for item in items(headers, &ACCEPT_ENCODING) {
        match item.name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return item.weight() > 0.0,
            "*" => by_star = item.weight() > 0.0,
            _ => {}
        }
    }
    by_star
}

/// One element of a list: `name;parameter=value;q=0.5`.
struct Item<'h> {
    name: &'h str,
    parameters: &'h str,
}

fn items<'h>(headers: &'h HeaderMap, header: &HeaderName) -> impl Iterator<Item = Item<'h>> {
    let texts = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(|element| {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        Item { name: name.trim(), parameters }
    })
}

impl<'h> Item<'h> {
    fn parameter(&self, wanted: &str) -> Option<&'h str> {
        let pairs = self.parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.next().map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// From 0 to 1; what cannot be read is 0.
    fn weight(&self) -> f32 {
        let Some(text) = self.parameter("q") else { return 1.0 };
        text.parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    /// What scrapers send is answered as they prefer, and everything else with text.
    #[test]
    fn formats() {
        use Syntax::{OpenMetrics, Text};
        let cases = [
            // Prometheus 2.42, Prometheus 3, an agent that prefers text, curl, a browser, nonsense.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.4,*/*;q=0.2",
                OpenMetrics,
            ),
            ("text/plain; version=0.0.4; q=0.9, application/openmetrics-text; q=0.1", Text),
            ("*/*", Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Text),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=x,text/plain;q=0.1", Text),
            ("text/plain,application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=1.0.0", OpenMetrics),
            ("image/png", Text),
            ("", Text),
        ];
        for (accept, expected) in cases {
            assert_eq!(syntax(&of(ACCEPT, accept)), expected, "{accept}");
        }
        assert_eq!(syntax(&HeaderMap::new()), Text);
    }

    /// gzip is sent to those who say that they take it.
    #[test]
    fn codings() {
        let cases = [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("*", true),
            ("GZIP", true),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            assert_eq!(takes_gzip(&of(ACCEPT_ENCODING, accept)), expected, "{accept}");
        }
    }
}
