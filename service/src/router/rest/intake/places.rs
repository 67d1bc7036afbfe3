//! Where the readings that are on their way stood in the body, so that those that are rejected are told by their lines.

use std::collections::VecDeque;

use sluicegate_decode::Position;

use crate::model::Seq;

/// Memory that the place of one reading takes at the most, bytes.
pub(super) const PLACE_BYTES: usize = size_of::<Run>();

/// Lines, or records, of as many readings each.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Of its first reading.
    seq: u64,
    first: Position,
    /// Readings of each.
    each: u64,
    readings: u64,
}

impl Run {
    fn at(&self, seq: u64) -> Position {
        let further = (seq - self.seq) / self.each;
        match self.first {
            Position::Line(line) => Position::Line(line + further),
            Position::Record(record) => Position::Record(record + further),
            Position::Message => Position::Message,
        }
    }

    /// Whether the next reading goes on with the run.
    fn goes_on(&mut self, position: Position) -> bool {
        // As long as there is one line, its readings are counted.
        if self.readings == self.each && position == self.first {
            self.each += 1;
            return true;
        }
        self.at(self.seq + self.readings) == position
    }
}

/// The places of readings that are not settled.
#[derive(Debug, Default)]
pub(super) struct Places(VecDeque<Run>);

impl Places {
    /// Notes the place of the next reading.
    pub(super) fn push(&mut self, Seq(seq): Seq, position: Position) {
        if let Some(last) = self.0.back_mut()
            && last.goes_on(position)
        {
            last.readings += 1;
            return;
        }
        self.0.push_back(Run {
            seq,
            first: position,
            each: 1,
            readings: 1,
        });
    }

    /// Where a reading stood; None when that is not known any more.
    pub(super) fn of(&self, Seq(seq): Seq) -> Option<Position> {
        let after = self.0.partition_point(|run| run.seq <= seq);
        let run = self.0.get(after.checked_sub(1)?)?;
        (seq < run.seq + run.readings).then(|| run.at(seq))
    }

    /// Forgets those up to here.
    pub(super) fn settle(&mut self, Seq(seq): Seq) {
        let is_settled = |run: &Run| run.seq + run.readings <= seq + 1;
        while self.0.front().is_some_and(is_settled) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_as_many_readings_take_no_more_place_than_one() {
        let mut places = Places::default();
        for seq in 0..3_000 {
            places.push(Seq(1 + seq), Position::Line(10 + seq / 3));
        }
        assert_eq!(places.0.len(), 1);
        assert_eq!(places.of(Seq(1)), Some(Position::Line(10)));
        assert_eq!(places.of(Seq(3_000)), Some(Position::Line(1_009)));
        assert_eq!(places.of(Seq(3_001)), None);
    }

    proptest! {
        #[test]
        fn every_reading_is_found_where_it_stood_until_it_is_settled(
            lines in prop::collection::vec((1_u64..4, 1_u64..3), 1..60),
            settled in 0_u64..100,
        ) {
            let mut places = Places::default();
            let (mut line, mut expected) = (0, Vec::new());
            for (readings, step) in lines {
                line += step;
                for _ in 0..readings {
                    let seq = Seq(7 + expected.len() as u64);
                    places.push(seq, Position::Line(line));
                    expected.push(Position::Line(line));
                }
            }
            let settled = Seq(settled);
            places.settle(settled);
            for (seq, position) in (7..).map(Seq).zip(expected) {
                if seq > settled {
                    prop_assert_eq!(places.of(seq), Some(position));
                }
            }
        }
    }
}
