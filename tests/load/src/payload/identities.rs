//! Unique ids of pods, written into requests that are encoded already: a load of all pods of a cluster in turn needs no
//! request for each of them in memory.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};

/// What stands where an id is written: as long as one, and nowhere else in a request.
pub(super) const NO_POD: &str = "none-of-the-pods-here-has-this-as-id";

/// The ids, and where they go.
#[derive(Debug)]
pub struct Identities {
    ids: Vec<String>,
    /// For each request the places of its ids, in bytes from its beginning.
    places: Vec<Vec<usize>>,
}

impl Identities {
    /// Reads ids from a file, one a line, for requests that were encoded with places for ids and not compressed.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else, or a request has no place for an id.
    pub fn read(path: &Path, requests: &[Bytes]) -> Result<Identities> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Identities::new(text.lines().map(str::to_owned).collect(), requests)
    }

    fn new(ids: Vec<String>, requests: &[Bytes]) -> Result<Identities> {
        ensure!(!ids.is_empty(), "no ids of pods");
        let unfit = ids.iter().find(|id| id.len() != ID_BYTES);
        ensure!(unfit.is_none(), "{unfit:?} is no id of a pod");
        let places: Vec<Vec<usize>> = requests.iter().map(|request| places(request)).collect();
        ensure!(places.iter().all(|places| !places.is_empty()), "a request has no place for an id");
        Ok(Identities { ids, places })
    }

    /// A request with the ids that are next when so many requests have gone before it; `content` says which one it is.
    pub fn stamp(&self, request: &Bytes, content: usize, before: u64) -> Bytes {
        let places = &self.places[content];
        let mut stamped = BytesMut::from(&request[..]);
        for (number, place) in places.iter().enumerate() {
            let id = (before as usize * places.len() + number) % self.ids.len();
            stamped[*place..place + ID_BYTES].copy_from_slice(self.ids[id].as_bytes());
        }
        stamped.freeze()
    }
}

/// Bytes of an id.
const ID_BYTES: usize = NO_POD.len();

fn places(request: &[u8]) -> Vec<usize> {
    let is_place = |place: &usize| request[*place..].starts_with(NO_POD.as_bytes());
    (0..request.len().saturating_sub(ID_BYTES)).filter(is_place).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;
    use crate::{
        payload::{Shape, request_of_pods},
        signal::Signal,
    };

    /// Every resource gets an id, all ids have their turn, and nothing else of a request changes.
    #[test]
    fn ids_have_their_turn() {
        let ids: Vec<String> = (0..7).map(|number| format!("{number:08}-0000-4000-8000-000000000000")).collect();
        let shape = Shape { records: 100, ..Shape::STANDARD };
        let request = request_of_pods(Signal::Spans, shape, 1);
        let identities = Identities::new(ids.clone(), std::slice::from_ref(&request)).unwrap();
        let mut seen = Vec::new();
        for before in 0..3 {
            let stamped = identities.stamp(&request, 0, before);
            assert_eq!(stamped.len(), request.len());
            let text = String::from_utf8_lossy(&stamped).into_owned();
            assert!(!text.contains(NO_POD));
            let mut found: Vec<_> =
                ids.iter().enumerate().filter_map(|(id, uid)| Some((text.find(uid)?, id))).collect();
            found.sort_unstable();
            seen.extend(found.into_iter().map(|(_, id)| id));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0]);
    }

    /// A request without places for ids, and what is no id, are errors.
    #[test]
    fn refuses_what_does_not_fit() {
        let plain = crate::payload::request(Signal::Logs, Shape::STANDARD, 1);
        let id = "00000000-0000-4000-8000-000000000000".to_owned();
        assert!(Identities::new(vec![id.clone()], &[plain]).is_err());
        let request = request_of_pods(Signal::Logs, Shape::STANDARD, 1);
        assert!(Identities::new(vec![id[1..].to_owned()], std::slice::from_ref(&request)).is_err());
        assert!(Identities::new(vec![id], &[request]).is_ok());
    }
}
