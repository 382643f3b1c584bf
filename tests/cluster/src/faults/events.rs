//! An answer's body on its way to the client: slowed, cut, or without bookmarks.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use kube::client::Body;
use serde_json::Value;
use tokio::time::Instant;

use super::forward::Ending;
use super::rule::When;

/// How a body is passed on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) slow: Option<Duration>,
    pub(crate) no_bookmarks: bool,
    pub(crate) cut: Option<(When, Cut)>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Close,
    Reset,
}

/// A body that is being passed on.
pub(crate) struct Passing {
    upstream: Body,
    manner: Manner,
    ending: Ending,
    began: Instant,
    /// What has come of an event that is not complete; unused where events are passed on as they come.
    rest: BytesMut,
    events: usize,
}

impl Manner {
    /// Whether it has to know where an event ends.
    pub(crate) fn looks_at_events(&self) -> bool {
        self.no_bookmarks || matches!(self.cut, Some((When::AfterEvents(_), _)))
    }
}

impl Passing {
    pub(crate) fn new(upstream: Body, manner: Manner, ending: Ending, began: Instant) -> Self {
        Self { upstream, manner, ending, began, rest: BytesMut::new(), events: 0 }
    }

    /// The next piece; None at the end. Never returns once the connection is to end: whoever serves it sees to that.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame<Bytes>, kube::Error>> {
        let piece = match self.manner.cut {
            Some((When::After(limit), cut)) => match tokio::time::timeout_at(self.began + limit, self.piece()).await {
                Ok(piece) => piece,
                Err(_) => self.end(cut).await,
            },
            _ => self.piece().await,
        };
        if let Some(pause) = self.manner.slow {
            tokio::time::sleep(pause).await;
        }
        piece.map(|piece| piece.map(Frame::data))
    }

    async fn piece(&mut self) -> Option<Result<Bytes, kube::Error>> {
        if !self.manner.looks_at_events() {
            return self.upstream_piece().await;
        }
        loop {
            if let Some((When::AfterEvents(most), cut)) = self.manner.cut
                && self.events == most
            {
                // hyper asks for this piece when it has taken the one before, and writes that in the same turn.
                return self.end(cut).await;
            }
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let event = self.rest.split_to(end + 1).freeze();
                if self.manner.no_bookmarks && is_bookmark(&event) {
                    continue;
                }
                self.events += 1;
                return Some(Ok(event));
            }
            match self.upstream_piece().await {
                Some(Ok(bytes)) => self.rest.extend_from_slice(&bytes),
                Some(Err(error)) => return Some(Err(error)),
                None if self.rest.is_empty() => return None,
                None => return Some(Ok(self.rest.split().freeze())),
            }
        }
    }

    async fn upstream_piece(&mut self) -> Option<Result<Bytes, kube::Error>> {
        loop {
            match self.upstream.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn end<T>(&mut self, cut: Cut) -> T {
        self.ending.end(cut);
        std::future::pending().await
    }
}

fn is_bookmark(event: &[u8]) -> bool {
    serde_json::from_slice::<Value>(event).is_ok_and(|event| event["type"] == "BOOKMARK")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn passing(text: &str, manner: Manner) -> (Passing, Ending) {
        let ending = Ending::new(CancellationToken::new());
        let body = Body::from(text.as_bytes().to_vec());
        (Passing::new(body, manner, ending.clone(), Instant::now()), ending)
    }

    async fn texts(passing: &mut Passing, pieces: usize) -> Vec<String> {
        let mut found = Vec::new();
        for _ in 0..pieces {
            let frame = passing.next().await.expect("a piece").expect("no error");
            found.push(String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text"));
        }
        found
    }

    /// Bookmarks are left out, other events stay whole and in order, and a last one without its line end is kept.
    #[tokio::test]
    async fn bookmarks_are_left_out() {
        let manner = Manner { no_bookmarks: true, ..Manner::default() };
        let events = "{\"type\":\"ADDED\"}\n{\"type\":\"BOOKMARK\"}\n{\"type\":\"DELETED\"}\n{\"type\":";
        let (mut passing, _) = passing(events, manner);
        let expected = ["{\"type\":\"ADDED\"}\n", "{\"type\":\"DELETED\"}\n", "{\"type\":"];
        assert_eq!(texts(&mut passing, 3).await, expected);
        assert!(passing.next().await.is_none());
    }

    /// After its number of events nothing more comes, and the connection is told to end.
    #[tokio::test]
    async fn a_watch_is_cut_after_its_events() {
        let cut = Some((When::AfterEvents(1), Cut::Reset));
        let (mut passing, ending) = passing("{}\n{}\n", Manner { cut, ..Manner::default() });
        assert_eq!(texts(&mut passing, 1).await, ["{}\n"]);
        tokio::select! {
            _ = passing.next() => panic!("a second event came"),
            cut = ending.ended() => assert_eq!(cut, Cut::Reset),
        }
    }

    /// Without faults a body is passed on as it is, in the pieces that it came in.
    #[tokio::test]
    async fn a_body_without_faults_stays() {
        let (passing, _) = passing("two\nlines\n", Manner::default());
        let stream = futures::stream::unfold(passing, async |mut passing| Some((passing.next().await?, passing)));
        let body = http_body_util::StreamBody::new(stream).collect().await.expect("no error").to_bytes();
        assert_eq!(body, "two\nlines\n");
    }
}
