//! Which lane a session writes to. A named stream stays on one lane while anything of it is in flight, so that its
//! batches commit in order without a lock; everyone else takes the lane with the fewest sessions. Small lots keep together:
//! a transaction costs the database as much as tens of them, so the more of them share one the less each costs. When all lanes
//! are busy, a small lot takes the express lane: it is committed beside their loads, and not behind them (P5).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::busy::Busy;
use crate::model::StreamId;

/// What a session is going to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lot {
    /// One small message, and no more.
    Small,
    /// Anything.
    Any,
}

#[derive(Debug)]
struct Table {
    /// Of each lane, the express lane last.
    sessions_of_lane: Vec<usize>,
    /// Those of them that may bring anything.
    lasting_of_lane: Vec<usize>,
    /// Of each lane but the express lane.
    busy: Vec<Arc<Busy>>,
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
    /// Seats on these lanes, and on an express lane behind them.
    pub(super) fn new(busy: Vec<Arc<Busy>>) -> Self {
        Self(Arc::new(Mutex::new(Table {
            sessions_of_lane: vec![0; busy.len() + 1],
            lasting_of_lane: vec![0; busy.len() + 1],
            busy,
            pinned: HashMap::new(),
            next: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat. The second value says whether the stream already sat here.
    pub(super) fn take(&self, stream: Option<&StreamId>, lot: Lot) -> (LaneSeat, bool) {
        let mut table = self.lock();
        let pinned = stream
            .and_then(|stream| table.pinned.get(stream))
            .map(|pinned| pinned.lane);
        let lane = pinned.unwrap_or_else(|| table.choose(lot));
        table.sessions_of_lane[lane] += 1;
        if lot == Lot::Any {
            table.lasting_of_lane[lane] += 1;
        }
        if let Some(stream) = stream {
            let entry = table.pinned.entry(stream.clone());
            entry.or_insert(Pinned { lane, sessions: 0 }).sessions += 1;
        }
        let seat = LaneSeat {
            lane,
            lot,
            stream: stream.cloned(),
            seats: self.clone(),
        };
        (seat, pinned.is_some())
    }
}

impl Table {
    fn choose(&mut self, lot: Lot) -> usize {
        let lanes = self.busy.len();
        if lot == Lot::Small {
            let free = (0..lanes).filter(|&lane| !self.busy[lane].is_busy());
            // The first of those that others use least.
            return free
                .min_by_key(|&lane| self.lasting_of_lane[lane])
                .unwrap_or(lanes);
        }
        self.next = (self.next + 1) % lanes;
        let from_next = (0..lanes).map(|step| (self.next + step) % lanes);
        from_next
            .min_by_key(|&lane| self.sessions_of_lane[lane])
            .unwrap_or_default()
    }
}

/// A session's place on a lane; dropping it leaves.
#[derive(Debug)]
pub(super) struct LaneSeat {
    pub(super) lane: usize,
    lot: Lot,
    stream: Option<StreamId>,
    seats: LaneSeats,
}

impl Drop for LaneSeat {
    fn drop(&mut self) {
        let mut table = self.seats.lock();
        table.sessions_of_lane[self.lane] -= 1;
        if self.lot == Lot::Any {
            table.lasting_of_lane[self.lane] -= 1;
        }
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

    fn seats() -> (LaneSeats, [Arc<Busy>; 2]) {
        let busy = [(); 2].map(|()| Arc::new(Busy::new()));
        (LaneSeats::new(busy.to_vec()), busy)
    }

    #[test]
    fn sessions_spread_over_lanes_and_a_stream_stays_where_it_is() {
        let (seats, _) = seats();
        let id = StreamId::parse("a").unwrap();
        let (first, was_here) = seats.take(Some(&id), Lot::Any);
        assert!(!was_here);
        let (other, _) = seats.take(None, Lot::Any);
        assert_ne!(first.lane, other.lane);
        let (again, was_here) = seats.take(Some(&id), Lot::Any);
        assert!(was_here);
        assert_eq!(again.lane, first.lane);
        drop((first, again, other));
        assert!(!seats.take(Some(&id), Lot::Any).1);
    }

    #[test]
    fn a_small_lot_takes_a_lane_that_is_not_busy_or_the_express_lane() {
        const EXPRESS: usize = 2;
        let (seats, busy) = seats();
        let lane_of = |stream: Option<&StreamId>, lot| seats.take(stream, lot).0.lane;
        busy[0].tell(1_000_000, None);
        for _ in 0..4 {
            assert_eq!(lane_of(None, Lot::Small), 1);
        }
        let id = StreamId::parse("a").unwrap();
        busy[1].tell(1_000_000, None);
        let (held, _) = seats.take(Some(&id), Lot::Small);
        assert_eq!(held.lane, EXPRESS);
        assert_ne!(lane_of(None, Lot::Any), EXPRESS);
        busy.iter().for_each(|lane| lane.tell(0, None));
        assert_ne!(lane_of(None, Lot::Small), EXPRESS);
        assert_eq!(
            lane_of(Some(&id), Lot::Any),
            EXPRESS,
            "it stays on its lane"
        );
        drop(held);
        assert_ne!(lane_of(Some(&id), Lot::Any), EXPRESS);
    }

    #[test]
    fn small_lots_keep_together_where_few_others_are() {
        let (seats, _) = seats();
        let small = || seats.take(None, Lot::Small).0;
        let together = [small(), small(), small()];
        assert!(together.iter().all(|seat| seat.lane == 0));
        let stream = StreamId::parse("a").unwrap();
        let (lasting, _) = seats.take(Some(&stream), Lot::Any);
        assert_eq!(lasting.lane, 1, "where nobody is");
        assert_eq!(small().lane, 0);
        let other = StreamId::parse("b").unwrap();
        let (first, _) = seats.take(Some(&other), Lot::Any);
        drop((together, lasting));
        assert_eq!(first.lane, 1, "where fewer are");
        assert_eq!(small().lane, 0);
        let third = StreamId::parse("c").unwrap();
        let (second, _) = seats.take(Some(&third), Lot::Any);
        drop(first);
        assert_eq!((second.lane, small().lane), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_takes_long_makes_a_lane_busy() {
        let busy = Busy::new();
        busy.tell(1, Some(tokio::time::Instant::now()));
        assert!(!busy.is_busy());
        tokio::time::advance(std::time::Duration::from_millis(40)).await;
        assert!(busy.is_busy());
        busy.tell(1, None);
        assert!(!busy.is_busy());
    }
}
