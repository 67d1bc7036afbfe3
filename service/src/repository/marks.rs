//! What lanes have told of what they commit, for whoever keeps copies: a copy is complete only as of a moment before which nothing was
//! committed that is yet to be told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::model::{Epoch, Seq, StreamId};

/// How far a lane is, and since when that may not be all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkNow {
    pub lane: StreamId,
    pub epoch: Epoch,
    /// The last batch that was told.
    pub told: Seq,
    /// Since when a batch may be committed that is not told.
    pub since: Option<Instant>,
}

/// Of one lane.
#[derive(Debug)]
pub struct CommitMark {
    lane: StreamId,
    epoch: Epoch,
    telling: Mutex<Telling>,
}

#[derive(Debug)]
struct Telling {
    told: Seq,
    /// Batches whose COMMIT was sent, and when it first was.
    sent: VecDeque<(Seq, Instant)>,
}

impl CommitMark {
    fn telling(&self) -> MutexGuard<'_, Telling> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on the batch may be committed.
    pub(crate) fn sends_commit(&self, batch: Seq, at: Instant) {
        let mut telling = self.telling();
        if !telling.sent.iter().any(|(sent, _)| *sent == batch) {
            telling.sent.push_back((batch, at));
        }
    }

    /// It is not, beyond doubt.
    pub(crate) fn is_not_committed(&self, batch: Seq) {
        self.telling().sent.retain(|(sent, _)| *sent != batch);
    }

    fn is_told(&self, batch: Seq) {
        let mut telling = self.telling();
        telling.told = telling.told.max(batch);
        telling.sent.retain(|(sent, _)| *sent > batch);
    }

    fn now(&self) -> MarkNow {
        let telling = self.telling();
        MarkNow {
            lane: self.lane.clone(),
            epoch: self.epoch,
            told: telling.told,
            since: telling.sent.front().map(|(_, at)| *at),
        }
    }
}

/// A batch that is committed, and of which nobody has been told yet. One that is dropped stays untold: a lane that is lost in between
/// must not look as if it had told all.
#[derive(Debug, Default)]
pub struct Untold(Option<(Arc<CommitMark>, Seq)>);

impl Untold {
    pub(crate) fn new(mark: &Arc<CommitMark>, batch: Seq) -> Self {
        Self(Some((mark.clone(), batch)))
    }

    /// Everybody who wants to know has been told.
    pub fn is_told(self) {
        if let Some((mark, batch)) = self.0 {
            mark.is_told(batch);
        }
    }
}

/// Of all lanes of this process.
#[derive(Clone, Debug, Default)]
pub struct CommitMarks(Arc<Mutex<Vec<Arc<CommitMark>>>>);

impl CommitMarks {
    /// Adds a lane that stands there.
    pub(crate) fn add(&self, lane: &StreamId, epoch: Epoch, committed: Seq) -> Arc<CommitMark> {
        let mark = Arc::new(CommitMark {
            lane: lane.clone(),
            epoch,
            telling: Mutex::new(Telling {
                told: committed,
                sent: VecDeque::new(),
            }),
        });
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A lane is opened once.
        marks.retain(|known| known.lane != mark.lane);
        marks.push(mark.clone());
        mark
    }

    /// How far all are.
    #[must_use]
    pub fn now(&self) -> Vec<MarkNow> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().map(|mark| mark.now()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_may_be_committed_is_remembered_until_it_is_told_or_is_not() {
        let marks = CommitMarks::default();
        let mark = marks.add(&StreamId::of_lane("a", 0), Epoch(3), Seq(7));
        let now = || marks.now().pop().expect("one");
        assert_eq!((now().told, now().since), (Seq(7), None));
        let first = Instant::now();
        let later = first + Duration::from_secs(1);
        mark.sends_commit(Seq(8), first);
        mark.sends_commit(Seq(8), later);
        mark.sends_commit(Seq(9), later);
        assert_eq!((now().told, now().since), (Seq(7), Some(first)));
        Untold::new(&mark, Seq(8)).is_told();
        assert_eq!((now().told, now().since), (Seq(8), Some(later)));
        drop(Untold::new(&mark, Seq(9)));
        assert_eq!(now().since, Some(later));
        mark.is_not_committed(Seq(9));
        assert_eq!((now().told, now().since), (Seq(8), None));
    }
}
