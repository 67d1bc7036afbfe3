//! Both sides summed up by slices of time.

use super::row::Row;
use crate::{
    journal::{Entry, Fate},
    workload::series_hash,
};

/// Readings that a slice should have.
const READINGS_PER_SLICE: u64 = 1_000;
const MAX_SLICES: u64 = 1 << 16;

/// A set of readings: how many, and a hash in which their order does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    hash: u64,
}

impl Sum {
    fn add(&mut self, hash: u64) {
        self.count += 1;
        self.hash = self.hash.wrapping_add(hash);
    }

    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            hash: self.hash.wrapping_add(other.hash),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    stored: Sum,
    /// Sent and not acknowledged.
    open: Sum,
    found: Sum,
}

impl Slice {
    /// What was not acknowledged may be stored as a whole, or not at all; anything between is looked at more closely.
    fn agrees(&self) -> bool {
        self.found == self.stored || self.found == self.stored.plus(self.open)
    }

    fn count(&self) -> u64 {
        self.stored.count + self.open.count + self.found.count
    }
}

#[derive(Debug)]
pub(super) struct Slices {
    first_us: i64,
    width_us: i64,
    slices: Vec<Slice>,
    unit_us: i64,
    last_us: i64,
}

impl Slices {
    pub(super) fn new(first_us: i64, last_us: i64, unit_us: i64, readings: u64) -> Self {
        let wanted = (readings / READINGS_PER_SLICE).clamp(1, MAX_SLICES);
        let span = last_us - first_us + unit_us;
        let width_us = (span as u64)
            .div_ceil(wanted)
            .next_multiple_of(unit_us as u64) as i64;
        let slices = (span as u64).div_ceil(width_us as u64) as usize;
        Self {
            first_us,
            width_us,
            slices: vec![Slice::default(); slices],
            unit_us,
            last_us,
        }
    }

    /// From the first reading to behind the last one.
    pub(super) fn range(&self) -> (i64, i64) {
        (self.first_us, self.last_us + self.unit_us)
    }

    pub(super) fn sent(&mut self, entry: &Entry<'_>, at_us: i64) {
        let hash = mix(entry.series_hash, at_us, entry.made.value);
        if let Some(slice) = self.slice(at_us) {
            match entry.fate {
                Fate::Stored => slice.stored.add(hash),
                Fate::Open => slice.open.add(hash),
                Fate::Rejected => {}
            }
        }
    }

    pub(super) fn found(&mut self, row: Row<'_>) {
        let hash = mix(
            series_hash(row.id1, row.id2, row.sensor_type),
            row.timestamp_us,
            row.value,
        );
        if let Some(slice) = self.slice(row.timestamp_us) {
            slice.found.add(hash);
        }
    }

    fn slice(&mut self, at_us: i64) -> Option<&mut Slice> {
        let place = at_us.checked_sub(self.first_us)? / self.width_us;
        self.slices.get_mut(usize::try_from(place).ok()?)
    }

    /// The slices that do not agree, in parts of about `at_once` readings and rows.
    pub(super) fn differing(&self, at_once: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut open: Option<Part> = None;
        for (place, slice) in self
            .slices
            .iter()
            .enumerate()
            .filter(|(_, slice)| !slice.agrees())
        {
            let of = slice.count().div_ceil(at_once).max(1);
            if of > 1 {
                // Too much for one go: by pairs of ids.
                parts
                    .extend((0..of).map(|number| self.part(place, slice.count() / of, number, of)));
                continue;
            }
            match &mut open {
                Some(part) if part.count + slice.count() <= at_once => {
                    part.add(place, slice.count())
                }
                _ => parts.extend(open.replace(self.part(place, slice.count(), 0, 1))),
            }
        }
        parts.extend(open);
        parts
    }

    fn part(&self, place: usize, count: u64, number: u64, of: u64) -> Part {
        Part {
            first_us: self.first_us,
            width_us: self.width_us,
            end_us: self.range().1,
            places: vec![place],
            count,
            number,
            of,
        }
    }
}

/// Slices that are compared together.
#[derive(Debug)]
pub(super) struct Part {
    first_us: i64,
    width_us: i64,
    end_us: i64,
    /// In ascending order.
    places: Vec<usize>,
    count: u64,
    /// Of the pairs of ids: the ones whose number leaves `number` when divided by `of`.
    number: u64,
    of: u64,
}

impl Part {
    fn add(&mut self, place: usize, count: u64) {
        self.places.push(place);
        self.count += count;
    }

    pub(super) fn contains_time(&self, at_us: i64) -> bool {
        let place = (at_us - self.first_us) / self.width_us;
        usize::try_from(place).is_ok_and(|place| self.places.binary_search(&place).is_ok())
    }

    pub(super) fn contains_pair(&self, pair: u32) -> bool {
        u64::from(pair) % self.of == self.number
    }

    /// Times, half open; neighbours are joined.
    pub(super) fn ranges(&self) -> Vec<(i64, i64)> {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for place in &self.places {
            let from = self.first_us + *place as i64 * self.width_us;
            let to = (from + self.width_us).min(self.end_us);
            match ranges.last_mut() {
                Some(last) if last.1 == from => last.1 = to,
                _ => ranges.push((from, to)),
            }
        }
        ranges
    }
}

fn mix(series: u64, at_us: i64, value: f64) -> u64 {
    let mut hash = series;
    // The two zeros are one value.
    for word in [at_us as u64, (value + 0.0).to_bits()] {
        hash = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at_us: i64, value: f64) -> Row<'static> {
        Row {
            id1: 1,
            id2: "a",
            sensor_type: "t",
            value,
            timestamp_us: at_us,
        }
    }

    #[test]
    fn a_slice_that_has_something_of_its_own_differs_and_its_neighbours_do_not() {
        let mut slices = Slices::new(1_000, 100_999, 1, 100_000);
        assert_eq!(slices.range(), (1_000, 101_000));
        assert!(slices.differing(10).is_empty());
        for at_us in [1_000, 2_500, 2_501, 100_999] {
            slices.found(row(at_us, 1.0));
        }
        let parts = slices.differing(10);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].ranges(), [(1_000, 3_000), (100_000, 101_000)]);
        assert!(parts[0].contains_time(2_999) && !parts[0].contains_time(3_000));
        assert_eq!(slices.differing(1).len(), 4);
    }

    #[test]
    fn the_order_does_not_matter_and_the_content_does() {
        let sum = |rows: &[(i64, f64)]| {
            let mut slices = Slices::new(0, 9, 1, 1);
            for (at_us, value) in rows {
                slices.found(row(*at_us, *value));
            }
            slices.slices[0].found
        };
        assert_eq!(sum(&[(1, 1.0), (2, 2.0)]), sum(&[(2, 2.0), (1, 1.0)]));
        assert_ne!(sum(&[(1, 1.0), (2, 2.0)]), sum(&[(1, 2.0), (2, 1.0)]));
        assert_eq!(sum(&[(1, -0.0)]), sum(&[(1, 0.0)]));
    }
}
