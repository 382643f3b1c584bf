//! Follows one kind of object for as long as the process runs: a list in pages, then changes as they come.
//!
//! What `kube`'s watcher does is relied upon: bookmarks, a new list when the server has forgotten where we were, and waits
//! of growing, random length behind errors. Not here: what is made of the objects (`metadata`, `endpoints`).

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// The status of answers to those who ask for what is forgotten.
const GONE: u16 = 410;
/// The status of answers to those who have no right to what they ask for.
const FORBIDDEN: u16 = 403;
/// Between a watch that could not begin and another list.
const BEFORE_ANOTHER_LIST: Duration = Duration::from_secs(1);

/// What is followed of a kind of object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// A selector of fields; everything without one.
    pub fields: Option<String>,
    /// A selector of labels; everything without one.
    pub labels: Option<String>,
    /// Objects in a page of the list.
    pub page_size: NonZeroU32,
}

impl Selection {
    /// Everything.
    pub fn all(page_size: NonZeroU32) -> Self {
        Self { fields: None, labels: None, page_size }
    }
}

/// What is told of a kind of object.
#[derive(Debug)]
pub enum News<K> {
    /// Something has happened.
    Event(Event<K>),
    /// Nothing is told at the moment, which words say why. What happens meanwhile is told later.
    Interrupted(Interruption, String),
}

/// Why nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// We lack the right to list or watch.
    Forbidden,
    /// Anything else; it may be over soon.
    Other,
}

/// Hands everything to `take`. Never ends.
pub async fn follow<K>(api: Api<K>, selection: Selection, mut take: impl FnMut(News<K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut config = watcher::Config::default().page_size(selection.page_size.get());
    if let Some(fields) = &selection.fields {
        config = config.fields(fields);
    }
    if let Some(labels) = &selection.labels {
        config = config.labels(labels);
    }
    loop {
        let events = watcher::watcher(api.clone(), config.clone()).default_backoff();
        take_all(events, &K::plural(&()), &mut take).await;
        tokio::time::sleep(BEFORE_ANOTHER_LIST).await;
    }
}

/// Ends when the server has forgotten where the watch was to begin. A watcher would ask for it again and again.
async fn take_all<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    what: &str,
    take: &mut impl FnMut(News<K>),
) {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(News::Event(event)),
            Err(error) => {
                let text = chain(&error);
                tracing::warn!(what, error = &text, "cannot follow the cluster at the moment");
                take(News::Interrupted(Interruption::of(&error), text));
                if matches!(&error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == GONE) {
                    return;
                }
            }
        }
    }
}

impl Interruption {
    fn of(error: &watcher::Error) -> Self {
        let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
            return Self::Other;
        };
        match cause {
            kube::Error::Api(status) if status.code == FORBIDDEN => Self::Forbidden,
            _ => Self::Other,
        }
    }
}

/// An error with its causes on one line; causes that their errors have said already are left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
