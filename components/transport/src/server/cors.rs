//! Cross-origin requests: which pages' scripts may send, as browsers ask (Fetch standard, "CORS protocol").
//!
//! No protection of the server: whoever is no browser sends what it likes, so that is the matter of `auth`.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::server::reply::Answer;

/// What every page may send besides what it is always allowed to: how OTLP bodies are described.
const OWN_HEADERS: &str = "content-type, content-encoding";

/// What a script gets to read of an answer.
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after");

/// Which pages may send, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsOptions {
    /// Origins such as `https://shop.example.com`. In one of them `*` stands for letters, digits, dots and hyphens; `*`
    /// alone is every origin.
    pub allowed_origins: Vec<String>,
    /// Headers of requests besides `Content-Type` and `Content-Encoding`; `*` is every header.
    pub allowed_headers: Vec<String>,
    /// How long a browser may remember the answer to its question.
    pub max_age: Duration,
}

/// What is answered to scripts of pages.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<String>,
    allowed_headers: AllowedHeaders,
    max_age: HeaderValue,
}

#[derive(Clone, Debug)]
enum AllowedHeaders {
    All,
    These(HeaderValue),
}

/// A header that cannot be answered.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the name of a header")]
pub struct CorsError(String);

/// How far an origin is trusted.
enum Trust {
    /// It is named: its users' credentials are welcome.
    Named,
    /// It is one of all.
    Any,
}

impl Cors {
    /// The answers that follow from these options.
    ///
    /// # Errors
    ///
    /// When what should be the name of a header is none.
    pub fn new(options: CorsOptions) -> Result<Self, CorsError> {
        let CorsOptions { allowed_origins, allowed_headers, max_age } = options;
        let wrong = allowed_headers.iter().find(|name| HeaderName::from_bytes(name.as_bytes()).is_err());
        if let Some(name) = wrong {
            return Err(CorsError(name.clone()));
        }
        let is_all = allowed_headers.iter().any(|name| name == "*");
        let list = std::iter::once(OWN_HEADERS.to_owned()).chain(allowed_headers).collect::<Vec<_>>().join(", ");
        let list = HeaderValue::try_from(list).expect("names of headers can stand in a header");
        Ok(Self {
            origins: allowed_origins,
            allowed_headers: if is_all { AllowedHeaders::All } else { AllowedHeaders::These(list) },
            max_age: HeaderValue::from(max_age.as_secs()),
        })
    }

    /// The answer to a browser that asks whether it may send (a preflight); `None` for every other request.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Answer>> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        let mut response = Response::new(Answer::default());
        if self.trust(origin).is_none() {
            *response.status_mut() = StatusCode::FORBIDDEN;
            return Some(response);
        }
        *response.status_mut() = StatusCode::NO_CONTENT;
        let allowed_headers = match &self.allowed_headers {
            AllowedHeaders::These(list) => Some(list.clone()),
            // A star of ours would not mean `authorization` to browsers.
            AllowedHeaders::All => headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
        };
        let answered = response.headers_mut();
        answered.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        answered.extend(allowed_headers.map(|list| (header::ACCESS_CONTROL_ALLOW_HEADERS, list)));
        answered.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        Some(response)
    }

    /// Adds to any answer what makes a browser show it to the script that asked.
    pub(super) fn describe(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        // Caches keep answers apart by origin, also those without one.
        answer.insert(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        match self.trust(origin) {
            None => return,
            Some(Trust::Any) => answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            Some(Trust::Named) => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())
            }
        };
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }

    fn trust(&self, origin: &HeaderValue) -> Option<Trust> {
        let text = origin.to_str().ok()?;
        if self.origins.iter().any(|pattern| pattern != "*" && matches(pattern, text)) {
            return Some(Trust::Named);
        }
        self.origins.iter().any(|pattern| pattern == "*").then_some(Trust::Any)
    }
}

/// Whether an origin is the one that a pattern names, or one of those.
fn matches(pattern: &str, origin: &str) -> bool {
    let Some((start, end)) = pattern.split_once('*') else { return pattern.eq_ignore_ascii_case(origin) };
    let Some(middle) = origin.len().checked_sub(start.len() + end.len()) else { return false };
    let Some((head, rest)) = origin.split_at_checked(start.len()) else { return false };
    let Some((wild, tail)) = rest.split_at_checked(middle) else { return false };
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    head.eq_ignore_ascii_case(start)
        && tail.eq_ignore_ascii_case(end)
        && !wild.is_empty()
        && wild.bytes().all(is_of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A star stands for a part of a host or a port, never for nothing and never for what ends a host.
    #[test]
    fn patterns() {
        for (pattern, origin, expected) in [
            ("https://shop.example.com", "https://shop.example.com", true),
            ("https://shop.example.com", "https://Shop.Example.com", true),
            ("https://shop.example.com", "https://shop.example.com:8443", false),
            ("https://shop.example.com", "http://shop.example.com", false),
            ("https://*.example.com", "https://shop.example.com", true),
            ("https://*.example.com", "https://eu.shop.example.com", true),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://evil.com/.example.com", false),
            ("https://*.example.com", "https://shop.example.com.evil.com", false),
            ("https://*.example.com", "https://evil\u{e4}.example.com", false),
            ("http://localhost:*", "http://localhost:5173", true),
            ("http://localhost:*", "http://localhost", false),
            ("https://a*a", "https://a", false),
            ("https://a*", "\u{20ac}\u{20ac}\u{20ac}\u{20ac}", false),
        ] {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
    }
}
