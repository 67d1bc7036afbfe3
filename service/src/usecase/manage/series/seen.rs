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
    pending: Vec<u32>,
}

impl SeenToday {
    /// Takes in the numbers of a batch, of which 0 is none.
    pub(super) fn see(&mut self, day: i32, numbers: &[u32]) {
        if day != self.day {
            *self = Self {
                day,
                ..Self::default()
            };
        }
        for &number in numbers {
            if number != 0 && self.noted.insert(number) {
                self.pending.push(number);
            }
        }
    }

    /// Some that are to be noted, `most` at the most.
    pub(super) fn take(&mut self, most: usize) -> Vec<u32> {
        self.pending
            .split_off(self.pending.len().saturating_sub(most))
    }

    /// They could not be noted.
    pub(super) fn give_back(&mut self, numbers: Vec<u32>) {
        self.pending.extend(numbers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_noted_once_a_day() {
        let mut seen = SeenToday::default();
        seen.see(1, &[7, 0, 7, u32::MAX, 70_000]);
        let mut taken = seen.take(10);
        taken.sort_unstable();
        assert_eq!(taken, [7, 70_000, u32::MAX]);
        seen.see(1, &[7, 8]);
        assert_eq!(seen.take(10), [8]);
        seen.give_back(vec![8]);
        assert_eq!(seen.take(10), [8]);
        assert_eq!(seen.take(10), [0_u32; 0]);
        seen.see(2, &[7]);
        assert_eq!(seen.take(10), [7]);
    }

    #[test]
    fn no_more_are_taken_than_were_asked_for() {
        let mut seen = SeenToday::default();
        let numbers: Vec<u32> = (1..=25).collect();
        seen.see(1, &numbers);
        let sizes = [
            seen.take(10).len(),
            seen.take(10).len(),
            seen.take(10).len(),
        ];
        assert_eq!(sizes, [10, 10, 5]);
    }
}
