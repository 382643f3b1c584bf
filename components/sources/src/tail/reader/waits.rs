//! Lines that wait for more, of an entry or of a line in parts: until when they do. Not here: which lines belong together
//! (`record`).

use super::Reader;
use super::turn::unix_nanos;
use crate::tail::log::LogKey;
use crate::tail::record::Waits;

/// Which part of what may be in flight may be made records of beyond a line that waits in another stream.
const OVERTAKEN_SHARE: u64 = 16;

impl Reader {
    /// Makes records of what a log's parser has waiting.
    pub(super) fn flush(&mut self, key: LogKey) {
        self.flush_if(key, |_| true);
    }

    /// Makes records of what a log's parser has waiting in some streams.
    pub(super) fn flush_if(&mut self, key: LogKey, is_over: impl Fn(Waits) -> bool) {
        let Some(log) = self.logs.get_mut(key) else {
            self.waiting.remove(&key);
            return;
        };
        log.parser.flush_if(unix_nanos(), &mut self.records, is_over);
        self.emit(key, 0);
    }

    /// Notes until when what a log has waiting does so.
    pub(super) fn note_what_waits(&mut self, key: LogKey) {
        let Some(log) = self.logs.get_mut(key) else { return };
        // Records beyond what waits come twice after a crash: these may be few.
        let most_overtaken = self.parts.settings.max_in_flight / OVERTAKEN_SHARE;
        if log.parser.overtaken_by() > most_overtaken {
            log.parser.flush(unix_nanos(), &mut self.records);
        }
        log.wait_until(self.clock.now + self.parts.settings.flush_after);
        if log.deadline.is_some() {
            self.waiting.insert(key);
        } else if !self.waiting.is_empty() {
            self.waiting.remove(&key);
        }
    }

    /// Makes records of what has waited for long enough. What is to be read may still belong to it.
    pub(super) fn flush_waiting(&mut self) {
        let due: Vec<(LogKey, u64)> = self.waiting.iter().filter_map(|key| Some((*key, self.due(*key)?))).collect();
        for (key, last) in due {
            self.flush_if(key, |waits| waits.last <= last);
        }
    }

    /// The position of the last line of what has waited for long enough in a log, if something has.
    fn due(&self, key: LogKey) -> Option<u64> {
        let log = self.logs.get(key).filter(|log| !log.is_queued)?;
        log.deadline.filter(|deadline| deadline.at <= self.clock.now).map(|deadline| deadline.last)
    }

    /// Reads no more. What waits is read again after the next start, unless other records were made beyond it: then it is
    /// sent, or they would come twice.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
        let is_overtaken = |key: &LogKey| self.logs.get(*key).is_some_and(|log| log.parser.overtaken_by() > 0);
        let keys: Vec<LogKey> = self.waiting.iter().copied().filter(is_overtaken).collect();
        for key in keys {
            self.flush(key);
        }
    }
}
