//! What this process remembers of the table of series. All lanes share it, and what one has learned the others know.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{cache::NumberCache, named::Named, proof::Proof};
use crate::repository::{RepositoryError, SeriesEra};

/// So many are looked for before others have a turn.
const FIND_AT_ONCE: usize = 1_000;

/// Numbers, and by what they are right. Nothing comes into the one that the other does not stand for: numbers that others have
/// committed as they are read, and those that are given once they are committed, however the attempt to do so ends.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) cache: NumberCache,
    /// None before the table was looked at.
    pub(super) proof: Option<Proof>,
}

#[derive(Debug)]
pub(super) struct Mirror {
    /// Changes when everything is forgotten, under the lock.
    era: AtomicU64,
    known: Mutex<Known>,
}

impl Mirror {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self {
            // Those that know of none have 0.
            era: AtomicU64::new(1),
            known: Mutex::new(Known {
                cache: NumberCache::new(budget_bytes),
                proof: None,
            }),
        }
    }

    pub(super) fn era(&self) -> SeriesEra {
        SeriesEra(self.era.load(Ordering::Acquire))
    }

    /// What is known, unless it was forgotten since that era.
    fn of(&self, era: SeriesEra) -> Option<MutexGuard<'_, Known>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (self.era() == era).then_some(known)
    }

    /// Reads or changes what is known.
    ///
    /// # Errors
    /// When it was forgotten since that era.
    pub(super) fn with<T>(
        &self,
        era: SeriesEra,
        act: impl FnOnce(&mut Known) -> T,
    ) -> Result<T, RepositoryError> {
        let mut known = self.of(era).ok_or_else(learned_anew)?;
        Ok(act(&mut known))
    }

    /// The number of one series, if it is known, and not forgotten since that era.
    pub(super) fn find(&self, era: SeriesEra, series: (i32, &str, &str)) -> Option<u32> {
        self.of(era)?.cache.find(series)
    }

    /// Finds the numbers of those that are wanted, and leaves the others.
    ///
    /// # Errors
    /// When everything was forgotten since that era.
    pub(super) fn find_all(
        &self,
        era: SeriesEra,
        named: &impl Named,
        wanted: &mut Vec<u32>,
        numbers: &mut [u32],
    ) -> Result<(), RepositoryError> {
        let mut left = Vec::new();
        for places in wanted.chunks(FIND_AT_ONCE) {
            self.with(era, |known| {
                for &place in places {
                    match known.cache.find(named.series(place)) {
                        Some(number) => numbers[place as usize] = number,
                        None => left.push(place),
                    }
                }
            })?;
        }
        *wanted = left;
        Ok(())
    }

    /// Forgets everything, unless that has happened since that era. Whether it did.
    pub(super) fn forget(&self, era: SeriesEra) -> bool {
        let Some(mut known) = self.of(era) else {
            return false;
        };
        known.cache.clear();
        known.proof = None;
        self.era.fetch_add(1, Ordering::Release);
        true
    }
}

/// What is tried again with numbers that are learned then.
pub(super) fn learned_anew() -> RepositoryError {
    RepositoryError::Contention(
        "the table series was restored, emptied or made again: its numbers are learned anew"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_of_another_table_is_neither_found_nor_added_to() {
        let mirror = Mirror::new(1 << 20);
        let before = mirror.era();
        let learn = |era, number| {
            mirror.with(era, |known| {
                known.cache.remember((1, "gate", "t"), number);
            })
        };
        learn(before, 7).expect("is known");
        assert_eq!(mirror.find(before, (1, "gate", "t")), Some(7));
        assert!(mirror.forget(before));
        assert_eq!(mirror.find(before, (1, "gate", "t")), None);
        assert!(learn(before, 7).is_err());
        // Who notices late does not forget what was learned since.
        let now = mirror.era();
        learn(now, 8).expect("is known");
        assert!(!mirror.forget(before));
        assert_eq!(mirror.find(now, (1, "gate", "t")), Some(8));
    }

    #[test]
    fn those_that_are_not_known_are_left_in_their_order() {
        let mirror = Mirror::new(1 << 20);
        let names: Vec<String> = (0..2_500).map(|n| format!("s{n}")).collect();
        let named: Vec<(i32, &str, &str)> =
            names.iter().map(|name| (1, name.as_str(), "t")).collect();
        mirror
            .with(mirror.era(), |known| {
                for (number, series) in named.iter().enumerate().skip(1).step_by(2) {
                    known.cache.remember(*series, number as u32);
                }
            })
            .expect("is known");
        let (mut wanted, mut numbers) = ((0..2_500).collect(), vec![0; 2_500]);
        mirror
            .find_all(mirror.era(), &named.as_slice(), &mut wanted, &mut numbers)
            .expect("is known");
        assert!(wanted.iter().copied().eq((0..2_500).step_by(2)));
        assert_eq!((numbers[1_001], numbers[1_002]), (1_001, 0));
    }
}
