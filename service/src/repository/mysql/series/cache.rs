//! The numbers of series that a lane remembers, in bounded memory.

use crate::model::SeriesSet;

/// What a series takes beside its texts and their places, bytes: its number, and its share of the table that finds it.
const BESIDE_TEXT_BYTES: usize = 16;

/// Forgets by halves: what was asked for since the last time stays.
#[derive(Debug)]
pub(super) struct NumberCache {
    budget_bytes: usize,
    young: Remembered,
    old: Remembered,
    /// Every series up to this number is remembered; None once some were forgotten.
    complete_upto: Option<u32>,
    /// Series that were looked for by their names so far.
    looked_up: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    series: SeriesSet,
    /// Of each of the series.
    numbers: Vec<u32>,
}

impl Remembered {
    fn find(&self, (id1, id2, sensor_type): (i32, &str, &str)) -> Option<u32> {
        let place = self.series.find(id1, id2, sensor_type)?;
        self.numbers.get(place as usize).copied()
    }

    fn size_bytes(&self) -> usize {
        self.series.size_bytes() + self.numbers.len() * BESIDE_TEXT_BYTES
    }
}

impl NumberCache {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self {
            budget_bytes,
            young: Remembered::default(),
            old: Remembered::default(),
            complete_upto: Some(0),
            looked_up: 0,
        }
    }

    /// How many have been looked for by their names, with so many more.
    pub(super) fn look_up(&mut self, more: usize) -> u64 {
        self.looked_up += more as u64;
        self.looked_up
    }

    /// Up to which number every series is remembered.
    pub(super) fn complete_upto(&self) -> Option<u32> {
        self.complete_upto
    }

    /// Every series up to this number has been remembered, if none was forgotten meanwhile.
    pub(super) fn is_complete_upto(&mut self, number: u32) {
        self.complete_upto = self.complete_upto.map(|upto| upto.max(number));
    }

    /// There may be series that are not remembered, whatever their numbers.
    pub(super) fn misses_some(&mut self) {
        self.complete_upto = None;
    }

    pub(super) fn find(&mut self, series: (i32, &str, &str)) -> Option<u32> {
        if let Some(number) = self.young.find(series) {
            return Some(number);
        }
        let number = self.old.find(series)?;
        self.remember(series, number);
        Some(number)
    }

    pub(super) fn remember(&mut self, series: (i32, &str, &str), number: u32) {
        let (id1, id2, sensor_type) = series;
        let place = self.young.series.intern(id1, id2, sensor_type) as usize;
        match self.young.numbers.get_mut(place) {
            Some(known) => *known = number,
            None => self.young.numbers.push(number),
        }
        if self.young.size_bytes() > self.budget_bytes / 2 {
            if !self.old.numbers.is_empty() {
                self.misses_some();
            }
            self.old = std::mem::take(&mut self.young);
        }
    }

    pub(super) fn clear(&mut self) {
        self.young = Remembered::default();
        self.old = Remembered::default();
        self.complete_upto = Some(0);
        self.looked_up = 0;
    }

    #[cfg(test)]
    fn size_bytes(&self) -> usize {
        self.young.size_bytes() + self.old.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_remembered_and_memory_stays_bounded() {
        let mut cache = NumberCache::new(20_000);
        let names: Vec<String> = (0..10_000).map(|n| format!("sensor-{n}")).collect();
        for (number, name) in names.iter().enumerate() {
            cache.remember((1, name, "t"), number as u32);
            assert_eq!(cache.find((1, name, "t")), Some(number as u32));
            // Always in use, and so never forgotten.
            assert_eq!(cache.find((1, "sensor-0", "t")), Some(0), "at {number}");
            assert!(cache.size_bytes() <= 20_100, "{}", cache.size_bytes());
        }
        assert_eq!(cache.find((1, "sensor-1", "t")), None);
        assert_eq!(cache.find((2, "sensor-0", "t")), None);
        cache.clear();
        assert_eq!(cache.find((1, "sensor-0", "t")), None);
    }

    #[test]
    fn it_knows_whether_it_remembers_all() {
        let mut cache = NumberCache::new(20_000);
        let names: Vec<String> = (1..10_000).map(|n| format!("sensor-{n}")).collect();
        let mut complete = 0;
        for (name, number) in names.iter().zip(1..) {
            cache.remember((1, name, "t"), number);
            cache.is_complete_upto(number);
            if cache.complete_upto() == Some(number) {
                complete = number;
            }
            let is_there = cache.find((1, "sensor-1", "t")).is_some();
            assert!(is_there || cache.complete_upto().is_none());
        }
        assert!((100..1_000).contains(&complete), "{complete}");
        assert_eq!(cache.complete_upto(), None);
        cache.clear();
        assert_eq!(cache.complete_upto(), Some(0));
    }

    #[test]
    fn a_number_is_the_one_that_was_learned_last() {
        let mut cache = NumberCache::new(1_000);
        cache.remember((1, "a", "t"), 7);
        cache.remember((1, "a ", "t"), 8);
        cache.remember((1, "a", "t"), 9);
        assert_eq!(cache.find((1, "a", "t")), Some(9));
        assert_eq!(cache.find((1, "a ", "t")), Some(8));
    }
}
