//! Which requests fare badly, and how.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use tokio::sync::watch;

/// What happens to a request that meets a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and a `Status` object instead of being passed on. 410 is how a list or a watch
    /// learns that its resource version is too old.
    Answer {
        /// The HTTP status.
        status: u16,
        /// When to come again, as `Retry-After` in whole seconds.
        retry_after: Option<Duration>,
    },
    /// A watch is accepted, and its first event says that the resource version is too old: the other form of 410.
    ExpiredEvent,
    /// It is passed on this much later.
    Delay(Duration),
    /// Every piece of its answer comes this much later than it could.
    Slow(Duration),
    /// It is never answered, and its connection stays open.
    Hang,
    /// It is passed on when the gate is opened, even if nobody waits for the answer any more: a request that has been on its
    /// way all the time.
    Held(Gate),
    /// Its watch gets no bookmarks.
    NoBookmarks,
    /// Its connection is closed in good order of TCP, which is too early for HTTP.
    Close(When),
    /// Its connection is reset: what was sent last may be lost.
    Reset(When),
}

/// What holds requests back until it is opened. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

/// When a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Instead of an answer.
    AtOnce,
    /// In the midst of the answer, this long after the request.
    After(Duration),
    /// When so many events of a watch have been passed on.
    AfterEvents(usize),
}

/// A fault, and the requests that it is for: all, unless something narrows it.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<Method>,
    path: Option<String>,
    is_watch: Option<bool>,
    skip: usize,
    times: usize,
}

/// How often a rule was met.
#[derive(Clone, Debug)]
pub struct Hits(Arc<AtomicUsize>);

/// A rule that is in force.
pub(crate) struct Active {
    rule: Rule,
    /// Requests that fit, also those that are skipped or come too late to be hit.
    fitting: usize,
    hits: Hits,
}

impl Gate {
    /// A closed one.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn opened(&self) {
        // The sender is held here, so there is no error.
        self.0.subscribe().wait_for(|is_open| *is_open).await.ok();
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}

impl Rule {
    /// This fault for every request.
    pub fn new(fault: Fault) -> Self {
        Self { fault, method: None, path: None, is_watch: None, skip: 0, times: usize::MAX }
    }

    /// Only for requests of this method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = Some(method);
        self
    }

    /// Only for this path, without its query.
    pub fn path(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Only for watches.
    pub fn watches(mut self) -> Self {
        self.is_watch = Some(true);
        self
    }

    /// Only for what is no watch.
    pub fn not_watches(mut self) -> Self {
        self.is_watch = Some(false);
        self
    }

    /// Spares the first `requests` that fit.
    pub fn skip(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Only for so many requests.
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    pub(crate) fn activate(self) -> (Active, Hits) {
        let hits = Hits(Arc::default());
        (Active { rule: self, fitting: 0, hits: hits.clone() }, hits)
    }
}

impl Hits {
    /// The number so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Active {
    /// The fault for this request, if it is for it.
    pub(crate) fn meet(&mut self, method: &Method, path: &str, is_watch: bool) -> Option<Fault> {
        let rule = &self.rule;
        let fits = rule.method.as_ref().is_none_or(|wanted| wanted == method)
            && rule.path.as_ref().is_none_or(|wanted| wanted == path)
            && rule.is_watch.is_none_or(|wanted| wanted == is_watch);
        if !fits {
            return None;
        }
        self.fitting += 1;
        if self.fitting <= rule.skip || self.hits.count() == rule.times {
            return None;
        }
        self.hits.0.fetch_add(1, Ordering::Relaxed);
        Some(rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(active: &mut Active, path: &str, is_watch: bool) -> bool {
        active.meet(&Method::GET, path, is_watch).is_some()
    }

    /// A rule is for the requests that it names, spares the first and ends after its number.
    #[test]
    fn a_rule_is_for_what_it_names() {
        let rule = Rule::new(Fault::Hang).path("/api/v1/pods").watches().method(Method::GET).skip(1).times(2);
        let (mut active, hits) = rule.activate();
        assert!(!meet(&mut active, "/api/v1/pods", false), "no watch");
        assert!(!meet(&mut active, "/api/v1/nodes", true), "another path");
        assert!(active.meet(&Method::POST, "/api/v1/pods", true).is_none(), "another method");
        assert!(!meet(&mut active, "/api/v1/pods", true), "the first is spared");
        assert!(meet(&mut active, "/api/v1/pods", true));
        assert!(meet(&mut active, "/api/v1/pods", true));
        assert!(!meet(&mut active, "/api/v1/pods", true), "twice is enough");
        assert_eq!(hits.count(), 2);
    }
}
