//! What readings come to: the figures of a series in a bucket of time, and the levels at which they are kept.

mod cover;
mod levels;
mod places;

pub use self::{
    cover::{Cover, Covered, Known, cover},
    levels::{RollupLevel, RollupLevels},
    places::{Places, outwards},
};

use rustc_hash::FxHashMap;

/// A reading as the first or the last of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    pub timestamp_us: i64,
    pub id: i64,
    pub value: f64,
}

impl Edge {
    fn key(&self) -> (i64, i64) {
        (self.timestamp_us, self.id)
    }
}

/// What the readings of a series in a bucket come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    pub readings: u64,
    /// Infinite, or no number, where the sum is beyond all doubles.
    pub total: f64,
    pub lowest: f64,
    pub highest: f64,
    pub first: Edge,
    pub last: Edge,
}

impl Rollup {
    /// Of one reading.
    #[must_use]
    pub fn of(reading: Edge) -> Self {
        Self {
            readings: 1,
            total: reading.value,
            lowest: reading.value,
            highest: reading.value,
            first: reading,
            last: reading,
        }
    }

    /// With those of the other, none of which is in both.
    pub fn add(&mut self, other: &Self) {
        self.readings += other.readings;
        self.total += other.total;
        if other.lowest < self.lowest {
            self.lowest = other.lowest;
        }
        if other.highest > self.highest {
            self.highest = other.highest;
        }
        if other.first.key() < self.first.key() {
            self.first = other.first;
        }
        if other.last.key() > self.last.key() {
            self.last = other.last;
        }
    }
}

/// Those of a level, by number of the series and microsecond at which the bucket begins.
pub type RollupsByBucket = FxHashMap<(u32, i64), Rollup>;

/// Takes one into account.
pub fn add(rollups: &mut RollupsByBucket, key: (u32, i64), one: &Rollup) {
    rollups
        .entry(key)
        .and_modify(|known| known.add(one))
        .or_insert(*one);
}

/// Where the bucket that holds an instant begins, microseconds since the Unix epoch.
#[inline]
#[must_use]
pub fn bucket_of(timestamp_us: i64, every_us: i64) -> i64 {
    timestamp_us - timestamp_us.rem_euclid(every_us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edges() -> impl Strategy<Value = Vec<Edge>> {
        let edge = (-50_i64..50, -1e6_f64..1e6);
        proptest::collection::vec(edge, 1..40).prop_map(|rows| {
            let edge = |(id, (timestamp_us, value)): (usize, (i64, f64))| Edge {
                timestamp_us,
                id: id as i64,
                value,
            };
            rows.into_iter().enumerate().map(edge).collect()
        })
    }

    fn rolled(edges: &[Edge]) -> Option<Rollup> {
        let mut rollups = edges.iter().map(|&edge| Rollup::of(edge));
        let mut whole = rollups.next()?;
        rollups.for_each(|one| whole.add(&one));
        Some(whole)
    }

    proptest! {
        #[test]
        fn it_is_what_the_readings_come_to_however_they_are_divided(edges in edges(), at in 0_usize..40) {
            let whole = rolled(&edges).unwrap();
            let key = |edge: &&Edge| (edge.timestamp_us, edge.id);
            prop_assert_eq!(whole.readings, edges.len() as u64);
            prop_assert_eq!(&whole.first, edges.iter().min_by_key(key).unwrap());
            prop_assert_eq!(&whole.last, edges.iter().max_by_key(key).unwrap());
            let values = edges.iter().map(|edge| edge.value);
            prop_assert_eq!(whole.lowest, values.clone().fold(f64::INFINITY, f64::min));
            prop_assert_eq!(whole.highest, values.fold(f64::NEG_INFINITY, f64::max));
            let (one, two) = edges.split_at(at.min(edges.len()));
            let parts = [rolled(two), rolled(one)].into_iter().flatten();
            let parts: Vec<Rollup> = parts.collect();
            let mut together = parts[0];
            parts[1..].iter().for_each(|part| together.add(part));
            let bound = edges.len() as f64 * f64::EPSILON * edges.iter().map(|edge| edge.value.abs()).sum::<f64>();
            prop_assert!((together.total - whole.total).abs() <= bound);
            together.total = whole.total;
            prop_assert_eq!(together, whole);
        }

        #[test]
        fn a_bucket_holds_its_instant(at in -1_000_000_i64..1_000_000, every in 1_i64..5_000) {
            let start = bucket_of(at, every);
            prop_assert!(start <= at && at < start + every && start % every == 0);
        }
    }
}
