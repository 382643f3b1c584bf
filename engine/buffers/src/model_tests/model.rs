//! What a log has to do, said as simply as can be: a list of frames and what became of each.

use std::collections::BTreeMap;

use bytes::Bytes;
use otlp::{Rope, Signal};

use crate::log::{Frame, NewFrame};

/// What a frame carries.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) signal: Signal,
    pub(super) records: u32,
    pub(super) payload: Bytes,
}

/// How well it is remembered that a frame is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// By the process only.
    Volatile,
    /// Also after a kill.
    Written,
    /// Also after a power loss.
    Durable,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is to be read.
    Unread,
    /// It was read, or kept from reading.
    InHands(Frame),
    /// It was completed or dropped.
    Done(Kept),
}

/// A frame that the log has.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) content: Content,
    /// It was acknowledged, or found after a power loss: it must stay.
    pub(super) is_lasting: bool,
    pub(super) fate: Fate,
    /// As the process has it from the log, if it has.
    pub(super) frame: Option<Frame>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Killed,
    PowerLost,
}

/// All frames of a log.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) frames: BTreeMap<u64, Known>,
    /// Frames that were written and not acknowledged, by the numbers that they would have had.
    candidates: BTreeMap<u64, Vec<Candidate>>,
}

/// A frame that was perhaps written.
#[derive(Clone)]
struct Candidate {
    content: Content,
    left: Left,
}

/// What a log leaves of a frame that it could not append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Anything.
    Perhaps,
    /// It was cut off again, which only a power loss undoes.
    Cut,
}

/// What a log that was opened anew may have lost without being at fault: frames that were never acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Excused {
    pub(super) frames: u64,
    pub(super) records: u64,
}

impl Content {
    /// A payload that is like no other of its size, if that is large enough.
    pub(super) fn new(id: u64, size: usize) -> Self {
        let pattern = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1).to_le_bytes();
        let mut payload = pattern.repeat(size / pattern.len() + 1);
        payload.truncate(size);
        let signal = Signal::ALL[(id % 3) as usize];
        Self { signal, records: (id % 11) as u32, payload: payload.into() }
    }

    /// To be appended, in more than one piece where there is more than one byte.
    pub(super) fn frame(&self) -> NewFrame {
        let (first, second) = (self.payload.len() / 3, 2 * self.payload.len() / 3);
        let pieces = [self.payload.slice(..first), self.payload.slice(first..second), self.payload.slice(second..)];
        NewFrame { signal: self.signal, records: self.records, payload: Rope::from_iter(pieces) }
    }
}

impl Model {
    /// A frame was acknowledged.
    pub(super) fn acknowledge(&mut self, sequence: u64, content: Content) {
        let known = Known { content, is_lasting: true, fate: Fate::Unread, frame: None };
        let before = self.frames.insert(sequence, known);
        assert!(before.is_none_or(|before| !before.is_lasting), "number {sequence} was given twice");
        // Of what was written with this number before nothing may ever be seen again.
        self.candidates.remove(&sequence);
    }

    /// A frame was perhaps written, and not acknowledged.
    pub(super) fn attempt(&mut self, sequence: u64, content: Content, left: Left) {
        self.candidates.entry(sequence).or_default().push(Candidate { content, left });
    }

    /// Frames that are to be read, in order.
    pub(super) fn unread(&self) -> impl Iterator<Item = (u64, &Known)> {
        self.frames.iter().filter(|(_, known)| known.fate == Fate::Unread).map(|(sequence, known)| (*sequence, known))
    }

    /// Numbers of frames and records that are to be read.
    pub(super) fn unread_counts(&self) -> (u64, u64) {
        self.unread()
            .fold((0, 0), |(frames, records), (_, known)| (frames + 1, records + u64::from(known.content.records)))
    }

    /// Frames that were read and not completed.
    pub(super) fn in_hands(&self) -> Vec<Frame> {
        let in_hands = |known: &Known| if let Fate::InHands(frame) = known.fate { Some(frame) } else { None };
        self.frames.values().filter_map(in_hands).collect()
    }

    /// Frames that were read or appended by this process and not completed, whether they are to be read again or not.
    pub(super) fn not_completed(&self) -> Vec<Frame> {
        let waiting = self.frames.values().filter(|known| !matches!(known.fate, Fate::Done(_)));
        waiting.filter_map(|known| known.frame).collect()
    }

    pub(super) fn set(&mut self, sequence: u64, fate: Fate) {
        let known = self.frames.get_mut(&sequence).expect("it is known");
        known.fate = fate;
        if let Fate::InHands(frame) = fate {
            known.frame = Some(frame);
        }
    }

    /// The log has told which frame it is.
    pub(super) fn told(&mut self, frame: Frame) {
        self.frames.get_mut(&frame.sequence).expect("it is known").frame = Some(frame);
    }

    /// Everything that is not completed is to be read again.
    pub(super) fn read_again(&mut self) {
        self.change_fates(|fate| match fate {
            Fate::InHands(_) => Fate::Unread,
            other => other,
        });
    }

    /// What is completed is remembered better now.
    pub(super) fn keep(&mut self, kept: Kept) {
        self.change_fates(|fate| match fate {
            Fate::Done(before) => Fate::Done(before.max(kept)),
            other => other,
        });
    }

    /// Frames that are completed and that nothing but the process remembers.
    pub(super) fn volatile(&self) -> usize {
        self.frames.values().filter(|known| known.fate == Fate::Done(Kept::Volatile)).count()
    }

    fn change_fates(&mut self, change: impl Fn(Fate) -> Fate) {
        self.frames.values_mut().for_each(|known| known.fate = change(known.fate));
    }

    /// Takes what a log reads that was opened after the process had ended so, fails if that may not be, and goes on from it.
    pub(super) fn recover(&mut self, ended: Ended, read: &[(u64, Content)]) -> Excused {
        self.read_again();
        let mut last = None;
        let enough = ended.enough();
        let found: BTreeMap<u64, &Content> = read.iter().map(|(sequence, content)| (*sequence, content)).collect();
        for (sequence, content) in read {
            assert!(last.is_none_or(|last| last < *sequence), "{sequence} was read behind {last:?}");
            last = Some(*sequence);
            self.find(*sequence, content, ended);
        }
        let mut excused = Excused::default();
        for (sequence, known) in &self.frames {
            let is_found = found.contains_key(sequence);
            let may_be_absent = match known.fate {
                Fate::Done(_) => true,
                Fate::Unread | Fate::InHands(_) => !known.is_lasting && ended == Ended::PowerLost,
            };
            assert!(is_found || may_be_absent, "{sequence} is lost, {}", known.describe());
        }
        // Whatever was not acknowledged and is not here may have left a gap.
        let lost = |known: &Known| !known.is_lasting;
        let absent = self.frames.iter().filter(|(sequence, known)| lost(known) && !found.contains_key(sequence));
        let absent = absent.map(|(sequence, known)| (*sequence, u64::from(known.content.records)));
        let written = self.candidates.iter().filter(|(sequence, _)| !found.contains_key(sequence));
        let written = written
            .flat_map(|(sequence, all)| all.iter().map(|candidate| (*sequence, u64::from(candidate.content.records))));
        let mut gaps: BTreeMap<u64, u64> = BTreeMap::new();
        for (sequence, records) in absent.chain(written) {
            let most = gaps.entry(sequence).or_default();
            *most = records.max(*most);
        }
        for records in gaps.into_values() {
            excused.frames += 1;
            excused.records += records;
        }
        if ended == Ended::PowerLost {
            // It may stand behind what hides it now.
            self.candidates.values_mut().flatten().for_each(|candidate| candidate.left = Left::Perhaps);
        }
        self.frames.retain(|sequence, known| known.is_lasting || found.contains_key(sequence));
        for known in self.frames.values_mut() {
            known.is_lasting |= ended == Ended::PowerLost;
            known.frame = None;
        }
        self.keep(enough);
        excused
    }

    /// A frame that was read must be one that was appended, and none that is remembered to be completed.
    fn find(&mut self, sequence: u64, content: &Content, ended: Ended) {
        let enough = ended.enough();
        if let Some(known) = self.frames.get_mut(&sequence)
            && known.content == *content
        {
            let is_remembered = matches!(known.fate, Fate::Done(kept) if kept >= enough);
            assert!(!is_remembered, "{sequence} was read although it is completed, {}", known.describe());
            known.fate = Fate::Unread;
            return;
        }
        if let Some(known) = self.frames.get(&sequence) {
            assert!(!known.is_lasting, "{sequence} was read with other bytes, {}", known.describe());
        }
        let may_be = |candidate: &Candidate| {
            candidate.content == *content && (candidate.left == Left::Perhaps || ended == Ended::PowerLost)
        };
        let written = self.candidates.get(&sequence).is_some_and(|all| all.iter().any(may_be));
        assert!(written, "{sequence} was read and never appended");
        let known = Known { content: content.clone(), is_lasting: false, fate: Fate::Unread, frame: None };
        self.frames.insert(sequence, known);
    }
}

impl Ended {
    /// How well a completion must be kept to be remembered.
    fn enough(self) -> Kept {
        match self {
            Self::Killed => Kept::Written,
            Self::PowerLost => Kept::Durable,
        }
    }
}

impl Known {
    fn describe(&self) -> String {
        let Self { content, is_lasting, fate, frame: _ } = self;
        format!("of {} bytes and {} records, lasting: {is_lasting}, {fate:?}", content.payload.len(), content.records)
    }
}
