//! The second phase of sending: takers are asked for room, and get their pieces, all of a batch or what can be had of it.
//!
//! Not here: how a batch comes apart into pieces (`edge`), what a taker does with its piece.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use smallvec::{SmallVec, smallvec};

use super::{Batches, FULL, WhenRefused};
use crate::batch::Batch;
use crate::outcome::Outcome;
use crate::sink::{self, NoRoom, SinkInlet};
use crate::stage::{self, StageInlet, StageRoom};

/// What one taker is to take of a batch, all of it or nothing.
pub(super) struct Piece {
    taker: Taker,
    batches: Batches,
}

pub(super) enum Taker {
    /// With the task for each batch of the piece.
    Stage(Arc<StageInlet>, Tasks),
    Sink(Arc<SinkInlet>),
}

pub(super) type Tasks = SmallVec<[usize; 1]>;

/// What a taker said when asked for room.
enum Reserved {
    Room(Room),
    Full,
    Closed,
}

/// Room that a taker keeps until it is committed or dropped.
enum Room {
    Stage(StageRoom),
    Sink(sink::Room),
}

/// Gets pieces to their takers, or answers them. What becomes of them is told to their receipts.
pub(super) async fn send(pieces: Vec<Piece>, when_refused: WhenRefused) {
    match pieces.len() {
        0 => {}
        // The common case, without a list of reservations.
        1 => send_one(pieces.into_iter().next().expect("there is one piece"), when_refused).await,
        _ => send_several(pieces, when_refused).await,
    }
}

async fn send_one(piece: Piece, when_refused: WhenRefused) {
    let Piece { taker, batches } = piece;
    let reserved = match taker.reserve(&batches) {
        // Boxed, because every sender has this future and few wait.
        Reserved::Full if when_refused.waits_for(&taker) => Box::pin(taker.room(&batches)).await,
        at_once => at_once,
    };
    match reserved {
        Reserved::Room(room) => taker.commit(batches, room),
        Reserved::Closed => answer_all(batches, &closed(&taker)),
        Reserved::Full if taker.drops() => taker.drop_for_want_of_room(batches, false),
        Reserved::Full => {
            taker.refused(&batches);
            answer_all(batches, &full(&taker));
        }
    }
}

/// Several takers are asked in the order of their ids, and nobody who waits keeps room at another: so no two senders wait
/// for each other.
async fn send_several(mut pieces: Vec<Piece>, when_refused: WhenRefused) {
    pieces.sort_by(|one, other| one.taker.id().cmp(other.taker.id()));
    let mut found = None;
    loop {
        let reservations = reserve_all(&pieces, found.take());
        if let Some(index) = stands_in_the_way(&pieces, &reservations, when_refused) {
            let taker = &pieces[index].taker;
            if matches!(reservations[index], Reserved::Closed) {
                let outcome = closed(taker);
                return answer_pieces(pieces, &outcome);
            }
            if !when_refused.waits_for(taker) {
                let outcome = full(taker);
                return refuse(pieces, &outcome);
            }
            // Room kept at another taker could be what this one needs to go on.
            drop(reservations);
            found = Some((index, taker.room(&pieces[index].batches).await));
            continue;
        }
        if reservations.iter().any(|reserved| matches!(reserved, Reserved::Room(_))) {
            return commit_all(pieces, reservations);
        }
        if reservations.iter().all(|reserved| matches!(reserved, Reserved::Closed)) {
            let outcome = closed(&pieces.first().expect("there are several pieces").taker);
            return answer_pieces(pieces, &outcome);
        }
        if !pieces.iter().any(|piece| when_refused.waits_for(&piece.taker)) {
            let outcome = full(&pieces.first().expect("there are several pieces").taker);
            return refuse(pieces, &outcome);
        }
        found = Some(first_with_room(&pieces, &reservations).await);
    }
}

/// A piece without room that may not be lost: then nothing is taken anywhere. One that is not waited for comes first.
fn stands_in_the_way(pieces: &[Piece], reservations: &[Reserved], when_refused: WhenRefused) -> Option<usize> {
    let without = pieces.iter().zip(reservations).enumerate();
    let without = without.filter(|(_, (_, reserved))| !matches!(reserved, Reserved::Room(_)));
    let kept = without.filter(|(_, (piece, _))| !piece.may_be_lost());
    let waits = |(_, (piece, reserved)): &(usize, (&Piece, &Reserved))| {
        matches!(reserved, Reserved::Full) && when_refused.waits_for(&piece.taker)
    };
    kept.min_by_key(waits).map(|(index, _)| index)
}

impl Piece {
    /// Whether it is dropped when its taker has no room and another one has. That is how sinks do not hold up each other;
    /// where there is only one sink, it would lose a part of what could be sent again as a whole.
    fn may_be_lost(&self) -> bool {
        match &self.taker {
            Taker::Stage(inlet, _) => self.batches.iter().all(|batch| inlet.may_lose(batch.signal())),
            Taker::Sink(inlet) => inlet.drops(),
        }
    }
}

impl WhenRefused {
    fn waits_for(self, taker: &Taker) -> bool {
        self == Self::Wait || taker.blocks()
    }
}

impl Reserved {
    fn at_stage(room: Result<StageRoom, NoRoom>) -> Self {
        match room {
            Ok(kept) => Self::Room(Room::Stage(kept)),
            Err(NoRoom::Full) => Self::Full,
            Err(NoRoom::Closed) => Self::Closed,
        }
    }
}

impl Taker {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stage(one, _), Self::Stage(two, _)) => Arc::ptr_eq(one, two),
            (Self::Sink(one), Self::Sink(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }

    fn id(&self) -> &str {
        match self {
            Self::Stage(inlet, _) => inlet.id(),
            Self::Sink(inlet) => inlet.id(),
        }
    }

    fn blocks(&self) -> bool {
        match self {
            // A stage is ours: it always makes progress, so waiting for it is backpressure and no dead end.
            Self::Stage(..) => true,
            Self::Sink(inlet) => inlet.blocks(),
        }
    }

    /// Whether a piece without room is dropped even if nobody else takes it.
    fn drops(&self) -> bool {
        matches!(self, Self::Sink(inlet) if inlet.drops())
    }

    /// Waits for room. Says only that there is some, or never will be.
    async fn room(&self, batches: &[Batch]) -> Reserved {
        let inlet = match self {
            Self::Stage(inlet, tasks) => return Reserved::at_stage(inlet.room(tasks).await),
            Self::Sink(inlet) => inlet,
        };
        loop {
            // Listen first, look again, then wait: room that appears in between is not missed.
            let freed = inlet.freed();
            match self.reserve(batches) {
                Reserved::Full => freed.await,
                reserved => return reserved,
            }
        }
    }

    fn reserve(&self, batches: &[Batch]) -> Reserved {
        match self {
            Self::Stage(inlet, tasks) => Reserved::at_stage(inlet.reserve(tasks)),
            Self::Sink(inlet) => match inlet.reserve_for(batches.len(), batches.iter().map(Batch::encoded_len).sum()) {
                Ok(room) => Reserved::Room(Room::Sink(room)),
                Err(NoRoom::Full) => Reserved::Full,
                Err(NoRoom::Closed) => Reserved::Closed,
            },
        }
    }

    fn commit(&self, batches: Batches, room: Room) {
        match (self, room) {
            (Self::Sink(inlet), Room::Sink(kept)) => inlet.commit_all(batches, kept),
            (Self::Stage(_, tasks), Room::Stage(room)) => stage::commit(room, tasks, batches),
            (Self::Stage(..), Room::Sink(_)) | (Self::Sink(_), Room::Stage(_)) => {
                unreachable!("a taker commits the room it reserved itself")
            }
        }
    }

    /// Counts a piece that was turned away and is answered Retry.
    fn refused(&self, batches: &[Batch]) {
        if let Self::Sink(inlet) = self {
            inlet.refused(batches.iter().map(Batch::records).sum());
        }
    }

    /// Loses a piece that had no room, while another taker had or because it is to be lost then.
    fn drop_for_want_of_room(&self, batches: Batches, others_take: bool) {
        for batch in batches {
            match self {
                Self::Stage(inlet, _) if others_take => batch.lose(FULL, inlet.telemetry()),
                Self::Stage(inlet, _) => batch.discard(FULL, inlet.telemetry()),
                Self::Sink(inlet) => inlet.drop_at_entrance(batch, FULL, others_take),
            }
        }
    }
}

/// Adds a batch to what its taker gets already. A taker takes all of it or nothing: a part that it had no room for
/// would be lost although nobody else stands in the way of sending all of it again.
pub(super) fn add(pieces: &mut Vec<Piece>, taker: Taker, batch: Batch) {
    match pieces.iter_mut().rev().find(|piece| piece.taker.is(&taker)) {
        Some(piece) => {
            piece.batches.push(batch);
            if let (Taker::Stage(_, tasks), Taker::Stage(_, more)) = (&mut piece.taker, taker) {
                tasks.extend(more);
            }
        }
        None => pieces.push(Piece { taker, batches: smallvec![batch] }),
    }
}

/// Asks every taker once, but for the one whose room was found by waiting.
fn reserve_all(pieces: &[Piece], mut found: Option<(usize, Reserved)>) -> Vec<Reserved> {
    let ask = |(index, piece): (usize, &Piece)| match found.take_if(|(place, _)| *place == index) {
        Some((_, reserved)) => reserved,
        None => piece.taker.reserve(&piece.batches),
    };
    pieces.iter().enumerate().map(ask).collect()
}

/// Waits for the first of the full takers that has room, or ends. Those that have ended already are not asked again: they
/// would answer at once, and again, for as long as the others are full.
async fn first_with_room(pieces: &[Piece], reservations: &[Reserved]) -> (usize, Reserved) {
    let full = pieces.iter().zip(reservations).enumerate();
    let full = full.filter(|(_, (_, reserved))| matches!(reserved, Reserved::Full));
    let waits = full.map(|(index, (piece, _))| -> BoxFuture<'_, _> {
        Box::pin(async move { (index, piece.taker.room(&piece.batches).await) })
    });
    futures::future::select_all(waits).await.0
}

fn commit_all(pieces: Vec<Piece>, reservations: Vec<Reserved>) {
    // Whoever has room may fail to keep it still.
    let others_take = reservations.iter().any(|reserved| matches!(reserved, Reserved::Room(_)));
    for (Piece { taker, batches }, reserved) in pieces.into_iter().zip(reservations) {
        match reserved {
            Reserved::Room(room) => taker.commit(batches, room),
            Reserved::Full | Reserved::Closed => taker.drop_for_want_of_room(batches, others_take),
        }
    }
}

/// Has everything come again, because a taker has no room and nobody waits.
fn refuse(pieces: Vec<Piece>, outcome: &Outcome) {
    for piece in &pieces {
        piece.taker.refused(&piece.batches);
    }
    answer_pieces(pieces, outcome);
}

pub(super) fn answer_pieces(pieces: Vec<Piece>, outcome: &Outcome) {
    pieces.into_iter().for_each(|piece| answer_all(piece.batches, outcome));
}

fn answer_all(batches: Batches, outcome: &Outcome) {
    batches.into_iter().for_each(|batch| batch.answer(outcome));
}

fn full(taker: &Taker) -> Outcome {
    Outcome::Retry { after: Some(Duration::from_secs(1)), reason: format!("{} is full", taker.id()) }
}

fn closed(taker: &Taker) -> Outcome {
    match taker {
        // Outside of a shutdown this is a stage that has failed, and what follows from its failure should name it.
        Taker::Stage(inlet, _) => Outcome::retry(format!("{} has ended", inlet.id())),
        Taker::Sink(_) => Outcome::retry("shutting down"),
    }
}
