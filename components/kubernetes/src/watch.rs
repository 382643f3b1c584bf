//! Follows one kind of object for as long as the process runs: a list in pages, then changes as they come.
//!
//! A watch goes on from the version of the list, or of the last event or bookmark, wherever it ends; when the server has
//! forgotten that version another list follows. Behind errors waits grow to half a minute, of random length. Waiting as long
//! as a server asks for is left to the client. Not here: what is made of the objects (`metadata`, `endpoints`), and how an
//! answer is read (`list`).

mod failure;
mod list;

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{DefaultBackoff, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use self::failure::Failure;
use self::list::{Decode, Lister, PageEnd, PageSize};
#[cfg(feature = "metadata")]
use crate::protobuf::InProtobuf;

/// A watch is ended by the server after this time, in seconds.
const WATCH_LASTS: u32 = 290;
/// And is taken for dead when nothing has come for longer than that.
const SILENT_AT_MOST: Duration = Duration::from_secs(WATCH_LASTS as u64 + 5);
/// A watch that ends sooner than this without a word is no success.
const ENDS_AT_ONCE: Duration = Duration::from_secs(1);
/// A page is asked for so often before the list begins anew.
const TRIES_OF_A_PAGE: u32 = 3;
/// Pages in protobuf grow until they are so long: nothing of them is held, and each costs the server a search.
const PAGE_BYTES: u64 = 4 << 20;
/// The most objects that are asked for at once.
const MOST_OBJECTS: u32 = 10_000;

/// What is followed of a kind of object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// A selector of fields; everything without one.
    pub fields: Option<String>,
    /// A selector of labels; everything without one.
    pub labels: Option<String>,
    /// Objects in a page of the list. Later pages in protobuf may have more.
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
    /// Something has happened. A list may name an object twice, where one of its pages had to be asked for again.
    Event(Event<K>),
    /// Nothing is told at the moment, which words say why. What happens meanwhile is told later.
    Interrupted(Interruption, String),
}

/// Why nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// We lack the right to list or watch.
    Forbidden,
    /// The server knows no such kind: its definition is missing, or the server has not read it yet.
    Unknown,
    /// Anything else; it may be over soon.
    Other,
}

/// Hands everything to `take`. Never ends.
pub async fn follow<K>(api: Api<K>, selection: Selection, take: impl FnMut(News<K>))
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    Follower::new(api, selection, None, take).run().await;
}

/// The same of objects that can be read from protobuf, which lists are in where the server knows it.
#[cfg(feature = "metadata")]
pub(crate) async fn follow_in_protobuf<K>(api: Api<K>, selection: Selection, take: impl FnMut(News<K>))
where
    K: Resource<DynamicType = ()> + InProtobuf + Clone + Debug + DeserializeOwned + Send + 'static,
{
    Follower::new(api, selection, Some(K::of_protobuf), take).run().await;
}

/// Who follows.
struct Follower<K, F> {
    api: Api<K>,
    selection: Selection,
    lister: Lister<K>,
    /// How much the last page in protobuf was.
    last_page: Option<PageSize>,
    /// Lists in a row that the server has forgotten before they were complete.
    forgotten_lists: u32,
    /// Waits behind errors. Any answer makes them short again.
    backoff: DefaultBackoff,
    /// Waits behind watches that were answered and told nothing. Only one that tells something makes them short again, or a
    /// server that forgets at once would be asked for one list after the other.
    backoff_in_vain: DefaultBackoff,
    take: F,
}

/// What is next.
#[derive(Debug)]
enum Next {
    /// A list from its beginning.
    List,
    /// More of a list, which was asked for so often in vain.
    Page { more: String, failures: u32 },
    /// Changes since a version.
    Watch { version: String },
}

impl<K, F> Follower<K, F>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    F: FnMut(News<K>),
{
    fn new(api: Api<K>, selection: Selection, decode: Option<Decode<K>>, take: F) -> Self {
        let (client, path) = (api.clone().into_client(), api.resource_url().into());
        Self {
            lister: Lister { client, path, kind: K::kind(&()).into_owned(), decode },
            api,
            selection,
            last_page: None,
            forgotten_lists: 0,
            backoff: DefaultBackoff::default(),
            backoff_in_vain: DefaultBackoff::default(),
            take,
        }
    }

    async fn run(mut self) {
        let mut next = Next::List;
        loop {
            next = match next {
                Next::List => {
                    (self.take)(News::Event(Event::Init));
                    match self.page(None).await {
                        Ok(end) => self.behind_page(end),
                        Err(failure) => {
                            self.interrupted(&failure).await;
                            Next::List
                        }
                    }
                }
                Next::Page { more, failures } => match self.page(Some(more.clone())).await {
                    Ok(end) => self.behind_page(end),
                    Err(failure) => {
                        self.forgotten_lists += u32::from(failure.is_gone());
                        self.interrupted(&failure).await;
                        match failure.may_pass() && failures + 1 < TRIES_OF_A_PAGE {
                            true => Next::Page { more, failures: failures + 1 },
                            false => Next::List,
                        }
                    }
                },
                Next::Watch { mut version } => match self.watch(&mut version).await {
                    Ok(()) => Next::Watch { version },
                    Err(failure) => {
                        self.interrupted(&failure).await;
                        if failure.may_pass() { Next::Watch { version } } else { Next::List }
                    }
                },
            };
        }
    }

    /// A page of a list; the first one without a token of the one before it.
    async fn page(&mut self, more: Option<String>) -> Result<PageEnd, Failure> {
        let params = ListParams {
            field_selector: self.selection.fields.clone(),
            label_selector: self.selection.labels.clone(),
            limit: self.limit(),
            continue_token: more,
            ..ListParams::default()
        };
        let take = &mut self.take;
        let end = self.lister.page(&params, |object| take(News::Event(Event::InitApply(object)))).await?;
        self.last_page = end.size;
        self.backoff.reset();
        if end.version.is_none() && end.more.is_none() { Err(Failure::NoVersion) } else { Ok(end) }
    }

    /// How many objects are asked for; none for all of them.
    fn limit(&self) -> Option<u32> {
        // Whoever is forgotten twice while pages come is too slow for them.
        if self.forgotten_lists >= 2 {
            return None;
        }
        let asked = self.selection.page_size.get();
        let by_bytes = self.last_page.and_then(|last| (last.objects * PAGE_BYTES).checked_div(last.bytes));
        let most = MOST_OBJECTS.max(asked);
        Some(by_bytes.map_or(asked, |objects| u32::try_from(objects).unwrap_or(most).clamp(asked, most)))
    }

    fn behind_page(&mut self, end: PageEnd) -> Next {
        if let Some(more) = end.more {
            return Next::Page { more, failures: 0 };
        }
        self.forgotten_lists = 0;
        (self.take)(News::Event(Event::InitDone));
        Next::Watch { version: end.version.expect("a last page without a version is a failure") }
    }

    /// Tells of changes until the watch ends, and moves the version on.
    async fn watch(&mut self, version: &mut String) -> Result<(), Failure> {
        let params = WatchParams {
            field_selector: self.selection.fields.clone(),
            label_selector: self.selection.labels.clone(),
            timeout: Some(WATCH_LASTS),
            ..WatchParams::default()
        };
        let began = Instant::now();
        let mut is_silent = true;
        let mut events = pin!(self.api.watch(&params, version).await.map_err(Failure::of_request)?);
        self.backoff.reset();
        while let Ok(Some(event)) = tokio::time::timeout(SILENT_AT_MOST, events.next()).await {
            let event = match event {
                Ok(event) => event,
                Err(kube::Error::Api(status)) if status.code != 0 => return Err(Failure::Ended(status)),
                // Those behind it may be readable; it would come again with every watch from before it. The client takes
                // it for a status that says nothing.
                Err(kube::Error::SerdeError(_) | kube::Error::Api(_)) => {
                    self.interrupted(&Failure::Event).await;
                    continue;
                }
                Err(error) => return Err(Failure::Broken(error)),
            };
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    *version = version_of(&object)?;
                    (self.take)(News::Event(Event::Apply(object)));
                }
                WatchEvent::Deleted(object) => {
                    *version = version_of(&object)?;
                    (self.take)(News::Event(Event::Delete(object)));
                }
                WatchEvent::Bookmark(bookmark) if bookmark.metadata.resource_version.is_empty() => {}
                WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(Failure::Ended(status)),
            }
            is_silent = false;
            self.backoff_in_vain.reset();
        }
        if is_silent && began.elapsed() < ENDS_AT_ONCE {
            pause(&mut self.backoff_in_vain).await;
        }
        Ok(())
    }

    /// Tells why nothing is told, and waits.
    async fn interrupted(&mut self, failure: &Failure) {
        let text = failure.text();
        tracing::warn!(what = &*K::plural(&()), error = &text, "cannot follow the cluster at the moment");
        (self.take)(News::Interrupted(failure.interruption(), text));
        let is_in_vain = failure.is_gone() || matches!(failure, Failure::Ended(_));
        pause(if is_in_vain { &mut self.backoff_in_vain } else { &mut self.backoff }).await;
    }
}

async fn pause(backoff: &mut DefaultBackoff) {
    tokio::time::sleep(backoff.next().expect("waits have no last one")).await;
}

fn version_of<K: Resource>(object: &K) -> Result<String, Failure> {
    object.meta().resource_version.clone().filter(|version| !version.is_empty()).ok_or(Failure::NoVersion)
}

#[cfg(test)]
mod tests;
