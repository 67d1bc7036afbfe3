//! From what an answer over a stretch of time is made: of rollups as far as they are sure, of the longest buckets first, and of readings
//! for the rest.

use std::ops::Range;

use super::places::{Places, inwards};

/// Stretches of one level that an answer takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    pub every_s: u32,
    /// Seconds since the Unix epoch, ascending.
    pub stretches: Vec<Range<i64>>,
}

/// What an answer is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// From the longest buckets to the shortest; only those that are of use.
    pub levels: Vec<Covered>,
    /// Microseconds since the Unix epoch, ascending.
    pub readings: Vec<Range<i64>>,
}

/// A level, and where its buckets may not be what the readings come to.
#[derive(Clone, Debug)]
pub struct Known {
    pub every_s: u32,
    pub unsure: Places,
}

/// Covers a stretch, microseconds. `levels` come from the longest buckets to the shortest.
#[must_use]
pub fn cover(range_us: &Range<i64>, levels: &[Known]) -> Cover {
    let mut cover = Cover::default();
    let mut left = vec![range_us.clone()];
    for Known { every_s, unsure } in levels {
        let unsure = unsure.aligned(*every_s);
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        for range in left {
            // Seconds that lie in it whole.
            let seconds = div_up(range.start)..range.end.div_euclid(US);
            let sure = unsure.without(&inwards(&seconds, *every_s));
            let sure_us = sure
                .iter()
                .map(|stretch| stretch.start * US..stretch.end * US);
            rest.extend(Places::of(sure_us).without(&range));
            taken.extend(sure);
        }
        if !taken.is_empty() {
            cover.levels.push(Covered {
                every_s: *every_s,
                stretches: taken,
            });
        }
        left = rest;
    }
    cover.readings = left;
    cover
}

const US: i64 = 1_000_000;

fn div_up(us: i64) -> i64 {
    us.div_euclid(US) + i64::from(us.rem_euclid(US) > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(every_s: u32, unsure: &[Range<i64>]) -> Known {
        Known {
            every_s,
            unsure: Places::of(unsure.iter().cloned()),
        }
    }

    #[test]
    fn what_the_longest_buckets_do_not_have_shorter_ones_do() {
        let levels = [
            known(3_600, std::slice::from_ref(&(7_200..7_260))),
            known(60, std::slice::from_ref(&(7_200..7_260))),
        ];
        let found = cover(&(3_599_000_000..14_400_000_000), &levels);
        let hours = Covered {
            every_s: 3_600,
            stretches: vec![3_600..7_200, 10_800..14_400],
        };
        let minutes = Covered {
            every_s: 60,
            stretches: std::iter::once(7_260..10_800).collect(),
        };
        assert_eq!(found.levels, [hours, minutes]);
        assert_eq!(
            found.readings,
            [3_599_000_000..3_600_000_000, 7_200_000_000..7_260_000_000]
        );
    }

    #[test]
    fn without_levels_all_is_made_from_readings() {
        assert_eq!(cover(&(5..7), &[]).readings, std::slice::from_ref(&(5..7)));
    }

    proptest! {
        #[test]
        fn each_instant_is_covered_once_and_by_nothing_unsure(
            start in -500_000_000_i64..500_000_000,
            length in 0_i64..3_000_000_000,
            unsure in proptest::collection::vec((-500_i64..3_000, 1_i64..200), 0..8),
            also in proptest::collection::vec((-500_i64..3_000, 1_i64..200), 0..8),
        ) {
            let places = |list: &[(i64, i64)]| Places::of(list.iter().map(|&(at, length)| at..at + length));
            let levels = [
                Known { every_s: 600, unsure: places(&also) },
                Known { every_s: 60, unsure: places(&unsure) },
            ];
            let range = start..start + length;
            let found = cover(&range, &levels);
            for at in (start - 1_000_000..start + length + 1_000_000).step_by(499_999) {
                let of_levels: Vec<(u32, &Range<i64>)> = found.levels.iter()
                    .flat_map(|level| level.stretches.iter().map(|stretch| (level.every_s, stretch)))
                    .filter(|(_, stretch)| (stretch.start * US..stretch.end * US).contains(&at))
                    .collect();
                let of_readings = found.readings.iter().filter(|stretch| stretch.contains(&at)).count();
                prop_assert_eq!(of_levels.len() + of_readings, usize::from(range.contains(&at)));
                for (every_s, stretch) in of_levels {
                    let every = i64::from(every_s);
                    prop_assert!(stretch.start % every == 0 && stretch.end % every == 0);
                    let of_level = levels.iter().find(|level| level.every_s == every_s).unwrap();
                    let bucket = at.div_euclid(US * every) * every;
                    let is_unsure = |place: &Range<i64>| place.start < bucket + every && bucket < place.end;
                    prop_assert!(!of_level.unsure.all().iter().any(is_unsure));
                }
            }
        }
    }
}
