//! Which lane a session writes to. A named stream stays on one lane while anything of it is in flight, so that its
//! batches commit in order without a lock; everyone else takes the lane with the fewest sessions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::StreamId;

#[derive(Debug)]
struct Table {
    sessions_of_lane: Vec<usize>,
    pinned: HashMap<StreamId, Pinned>,
    /// Breaks ties, so that lone calls take turns.
    next: usize,
}

#[derive(Debug)]
struct Pinned {
    lane: usize,
    sessions: usize,
}

/// Who sits on which lane.
#[derive(Clone, Debug)]
pub(super) struct LaneSeats(Arc<Mutex<Table>>);

impl LaneSeats {
    pub(super) fn new(lanes: usize) -> Self {
        Self(Arc::new(Mutex::new(Table {
            sessions_of_lane: vec![0; lanes],
            pinned: HashMap::new(),
            next: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat. The second value says whether the stream already sat here.
    pub(super) fn take(&self, stream: Option<&StreamId>) -> (LaneSeat, bool) {
        let mut table = self.lock();
        let pinned = stream
            .and_then(|stream| table.pinned.get(stream))
            .map(|pinned| pinned.lane);
        let lane = pinned.unwrap_or_else(|| table.least_loaded());
        table.sessions_of_lane[lane] += 1;
        if let Some(stream) = stream {
            let entry = table.pinned.entry(stream.clone());
            entry.or_insert(Pinned { lane, sessions: 0 }).sessions += 1;
        }
        let seat = LaneSeat {
            lane,
            stream: stream.cloned(),
            seats: self.clone(),
        };
        (seat, pinned.is_some())
    }
}

impl Table {
    fn least_loaded(&mut self) -> usize {
        let lanes = self.sessions_of_lane.len();
        self.next = (self.next + 1) % lanes;
        let from_next = (0..lanes).map(|step| (self.next + step) % lanes);
        from_next
            .min_by_key(|&lane| self.sessions_of_lane[lane])
            .unwrap_or(0)
    }
}

/// A session's place on a lane; dropping it leaves.
#[derive(Debug)]
pub(super) struct LaneSeat {
    pub(super) lane: usize,
    stream: Option<StreamId>,
    seats: LaneSeats,
}

impl Drop for LaneSeat {
    fn drop(&mut self) {
        let mut table = self.seats.lock();
        table.sessions_of_lane[self.lane] -= 1;
        if let Some(stream) = &self.stream
            && let Some(pinned) = table.pinned.get_mut(stream)
        {
            pinned.sessions -= 1;
            if pinned.sessions == 0 {
                table.pinned.remove(stream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_spread_over_lanes_and_a_stream_stays_where_it_is() {
        let seats = LaneSeats::new(2);
        let id = StreamId::parse("a").unwrap();
        let (first, was_here) = seats.take(Some(&id));
        assert!(!was_here);
        let (other, _) = seats.take(None);
        assert_ne!(first.lane, other.lane);
        let (again, was_here) = seats.take(Some(&id));
        assert!(was_here);
        assert_eq!(again.lane, first.lane);
        drop((first, again, other));
        assert!(!seats.take(Some(&id)).1);
    }
}
