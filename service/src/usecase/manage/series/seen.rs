//! Which series were seen today.

use std::collections::BTreeMap;

/// Numbers of a chunk.
const CHUNK: u32 = 1 << 16;
const WORDS: usize = (CHUNK / u64::BITS) as usize;

/// Numbers, a bit each: those of a chunk that has any take 8 KiB.
#[derive(Debug, Default)]
struct Numbers(BTreeMap<u32, Box<[u64; WORDS]>>);

impl Numbers {
    /// Whether it is new here.
    fn insert(&mut self, number: u32) -> bool {
        let chunk = self
            .0
            .entry(number / CHUNK)
            .or_insert_with(|| Box::new([0; WORDS]));
        let within = number % CHUNK;
        let word = &mut chunk[(within / u64::BITS) as usize];
        let bit = 1 << (within % u64::BITS);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// The series that were seen on one day, and which of them are still to be noted.
#[derive(Debug, Default)]
pub(super) struct SeenToday {
    day: i32,
    noted: Numbers,
    /// Of that day, or of one before.
    pending: Vec<(i32, u32)>,
}

impl SeenToday {
    /// Takes in the numbers of a batch, of which 0 is none.
    pub(super) fn see(&mut self, day: i32, numbers: &[u32]) {
        if day != self.day {
            self.day = day;
            self.noted = Numbers::default();
        }
        for &number in numbers {
            if number != 0 && self.noted.insert(number) {
                self.pending.push((day, number));
            }
        }
    }

    /// Some that are to be noted, `most` at the most, and of which day; the oldest day first.
    pub(super) fn take(&mut self, most: usize) -> Option<(i32, Vec<u32>)> {
        let (day, _) = *self.pending.first()?;
        let of_day = self.pending.partition_point(|&(other, _)| other <= day);
        let taken = self.pending.drain(..of_day.min(most));
        Some((day, taken.map(|(_, number)| number).collect()))
    }

    /// They could not be noted.
    pub(super) fn give_back(&mut self, day: i32, numbers: Vec<u32>) {
        let given = numbers.into_iter().map(|number| (day, number));
        self.pending.splice(..0, given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_noted_once_a_day() {
        let mut seen = SeenToday::default();
        seen.see(1, &[7, 0, 7, u32::MAX, 70_000]);
        assert_eq!(seen.take(10), Some((1, vec![7, u32::MAX, 70_000])));
        seen.see(1, &[7, 8]);
        assert_eq!(seen.take(10), Some((1, vec![8])));
        seen.give_back(1, vec![8]);
        // What was seen yesterday is noted as of yesterday.
        seen.see(2, &[7]);
        assert_eq!(seen.take(10), Some((1, vec![8])));
        assert_eq!(seen.take(10), Some((2, vec![7])));
        assert_eq!(seen.take(10), None);
    }

    #[test]
    fn no_more_are_taken_than_were_asked_for() {
        let mut seen = SeenToday::default();
        let numbers: Vec<u32> = (1..=25).collect();
        seen.see(1, &numbers);
        for size in [10, 10, 5] {
            assert_eq!(seen.take(10).map(|(_, taken)| taken.len()), Some(size));
        }
        assert_eq!(seen.take(10), None);
    }
}
