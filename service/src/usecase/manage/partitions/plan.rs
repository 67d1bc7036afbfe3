//! Which partitions are to be made: pure functions over the list of those that are there.
//!
//! Every partition but the catch-all has an upper bound, and begins where the one before it ends; so to divide one at
//! new bounds leaves neither gap nor overlap, whatever the bounds are.

use crate::{
    model::TimeSpan,
    repository::{Partition, Split},
};

/// Partitions after the one that receives, once more are made; with fewer than half of it, more are.
pub(super) const AHEAD: i64 = 8;
/// As many where readings rush through their time, so that the table is not altered all the while.
pub(super) const AHEAD_MAX: i64 = 32;
/// Pieces for readings that came before their partitions did. A longer time gets wider pieces.
const HISTORY_PIECES: i64 = 64;
/// A partition of bounded width with more rows is not divided: ingestion would wait while they are copied.
pub(super) const COPY_ROWS_MAX: u64 = 500_000;
/// MySQL takes 8192 partitions, and counts each of the two subpartitions.
pub(super) const PARTITIONS_MAX: usize = 4_000;

/// What is known about a place in time where readings arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front {
    pub(super) at_us: i64,
    /// The oldest reading of the partition that holds the place, if it has any.
    pub(super) oldest_us: Option<i64>,
    /// Partitions to have ahead: [`AHEAD`] to [`AHEAD_MAX`].
    pub(super) ahead: i64,
}

/// Index of the partition that holds `at_us`.
pub(super) fn holder(partitions: &[Partition], at_us: i64) -> usize {
    partitions.partition_point(|each| each.upper_us.is_some_and(|upper_us| upper_us <= at_us))
}

/// The bound at which a partition begins; None for the first.
pub(super) fn lower_us(partitions: &[Partition], index: usize) -> Option<i64> {
    partitions.get(index.checked_sub(1)?)?.upper_us
}

/// Where a partition begins and ends; None for no bound.
pub(super) type Bounds = (Option<i64>, Option<i64>);

/// The bounds of the partition that holds `at_us`.
pub(super) fn bounds_at(partitions: &[Partition], at_us: i64) -> Bounds {
    let index = holder(partitions, at_us);
    let upper_us = partitions.get(index).and_then(|each| each.upper_us);
    (lower_us(partitions, index), upper_us)
}

fn aligned(at_us: i64, width: TimeSpan) -> i64 {
    at_us.div_euclid(width.us()) * width.us()
}

/// Unbroken partitions of at most `width` after the one that holds `at_us`.
fn ahead(partitions: &[Partition], at_us: i64, width: TimeSpan) -> usize {
    let next = holder(partitions, at_us) + 1;
    (next..partitions.len())
        .take_while(|&index| !is_wide(partitions, index, width))
        .count()
}

/// Where the run of narrow partitions ends that begins under `at_us`.
fn covered_until(partitions: &[Partition], at_us: i64, width: TimeSpan) -> i64 {
    let last = holder(partitions, at_us) + ahead(partitions, at_us, width);
    partitions[last].upper_us.unwrap_or(i64::MIN)
}

fn is_wide(partitions: &[Partition], index: usize, width: TimeSpan) -> bool {
    match (lower_us(partitions, index), partitions[index].upper_us) {
        (Some(lower_us), Some(upper_us)) => upper_us - lower_us > width.us(),
        _ => true,
    }
}

/// Whether enough lies ahead. Narrow partitions from before the width grew do as well: an ALTER that adds wide ones behind
/// them would hold ingestion up for nothing, as they are made in time once the narrow ones are used up.
fn is_covered(partitions: &[Partition], front: Front, width: TimeSpan) -> bool {
    let (at_us, least) = (front.at_us, front.ahead / 2);
    let enough = aligned(at_us, width) + (1 + least) * width.us();
    ahead(partitions, at_us, width) >= least as usize
        || covered_until(partitions, at_us, width) >= enough
}

/// The splits that put partitions of `width` under and ahead of `front`, oldest first; none while enough are there.
pub(super) fn cover(partitions: &[Partition], front: Front, width: TimeSpan) -> Vec<Split> {
    let receiving = holder(partitions, front.at_us);
    let here = aligned(front.at_us, width);
    // A partition that receives and is too wide ends where the next should begin, once it has few rows.
    if !is_unprepared(partitions, front.at_us, width) && is_covered(partitions, front, width) {
        return Vec::new();
    }
    let target = here + (1 + front.ahead) * width.us();
    (receiving..partitions.len())
        .take_while(|&index| lower_us(partitions, index).is_none_or(|lower_us| lower_us < target))
        .filter(|&index| is_wide(partitions, index, width))
        .filter(|&index| index != receiving || may_copy(partitions, receiving))
        .filter_map(|index| {
            let bounds = if index == receiving {
                bounds_under(partitions, index, front, width)
            } else {
                Vec::new()
            };
            split(partitions, index, bounds, here, target, width)
        })
        .collect()
}

/// Whether readings of this time arrive where no partition was made for them, and one still can be.
pub(super) fn is_unprepared(partitions: &[Partition], at_us: i64, width: TimeSpan) -> bool {
    let receiving = holder(partitions, at_us);
    receiving < partitions.len()
        && is_wide(partitions, receiving, width)
        && may_copy(partitions, receiving)
}

/// Whether the partition that receives may be divided. A gap must be, or it would take in all that comes.
fn may_copy(partitions: &[Partition], index: usize) -> bool {
    is_gap(partitions, index) || partitions[index].rows <= COPY_ROWS_MAX
}

/// Whether a partition turned out to have more rows than its estimate, so that to divide it would take too long.
pub(super) fn copies_too_much(partitions: &[Partition], name: &str, rows: u64) -> bool {
    let index = partitions.iter().position(|each| each.name == name);
    index.is_some_and(|index| !is_gap(partitions, index) && rows > COPY_ROWS_MAX)
}

/// The catch-all, or a partition far wider than any that is made for readings.
fn is_gap(partitions: &[Partition], index: usize) -> bool {
    match (lower_us(partitions, index), partitions[index].upper_us) {
        (_, None) => true,
        (Some(lower_us), Some(upper_us)) => upper_us - lower_us > TimeSpan::DAY.us(),
        (None, Some(_)) => false,
    }
}

/// Bounds for readings that came before their partitions did, up to the front.
fn bounds_under(partitions: &[Partition], index: usize, front: Front, width: TimeSpan) -> Vec<i64> {
    let here = aligned(front.at_us, width);
    if !is_gap(partitions, index) {
        // What it has stays in one piece; the first partition is cut before the front as well.
        return match lower_us(partitions, index) {
            None => vec![here],
            Some(_) => Vec::new(),
        };
    }
    let oldest_us = front.oldest_us.unwrap_or(front.at_us).min(front.at_us);
    let first = aligned(oldest_us, width);
    let widths = (here - first) / width.us();
    let step = width.us() * (widths / HISTORY_PIECES + 1);
    let history = (0..=HISTORY_PIECES).map(|piece| first + piece * step);
    history.take_while(|&at| at < here).chain([here]).collect()
}

fn split(
    partitions: &[Partition],
    index: usize,
    mut bounds_us: Vec<i64>,
    here: i64,
    target: i64,
    width: TimeSpan,
) -> Option<Split> {
    let lower_us = lower_us(partitions, index).unwrap_or(i64::MIN);
    let upper_us = partitions[index].upper_us.unwrap_or(i64::MAX);
    let ahead = (1..=1 + AHEAD_MAX).map(|widths| here + widths * width.us());
    bounds_us.extend(ahead.filter(|&at| at <= target));
    bounds_us.retain(|&at| lower_us < at && at < upper_us);
    (!bounds_us.is_empty()).then(|| Split {
        name: partitions[index].name.clone(),
        bounds_us,
    })
}

/// Fences readings of a far future off, when they are many: the catch-all then begins with the oldest of them, and
/// the empty partition before it is the one to be divided, without copying them each time.
pub(super) fn fence(split: &mut Split, oldest_far_us: i64, width: TimeSpan) {
    let fence = aligned(oldest_far_us, width);
    if split.bounds_us.last().is_some_and(|&last| last < fence) {
        split.bounds_us.push(fence);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: TimeSpan = TimeSpan::MINUTE;
    const NOON_US: i64 = 1_767_268_800_000_000;

    /// The list as it is after a split.
    fn divided(partitions: &[Partition], split: &Split) -> Vec<Partition> {
        let mut divided = Vec::with_capacity(partitions.len() + split.bounds_us.len());
        for partition in partitions {
            if partition.name == split.name {
                divided.extend(split.bounds_us.iter().map(|&bound_us| Partition {
                    name: format!("new {bound_us}"),
                    upper_us: Some(bound_us),
                    rows: 0,
                    bytes: 0,
                }));
            }
            divided.push(partition.clone());
        }
        divided
    }

    fn partitions(bounds: impl IntoIterator<Item = i64>) -> Vec<Partition> {
        let bounds = bounds.into_iter().map(Some).chain([None]);
        bounds
            .map(|upper_us| Partition {
                name: upper_us.map_or("p_rest".to_owned(), |at| format!("p{at}")),
                upper_us,
                rows: 0,
                bytes: 0,
            })
            .collect()
    }

    fn front(at_us: i64) -> Front {
        Front {
            at_us,
            oldest_us: None,
            ahead: AHEAD,
        }
    }

    fn minutes(from: i64, to: i64) -> Vec<i64> {
        (from..=to).map(|n| NOON_US + n * MINUTE.us()).collect()
    }

    fn covered(partitions: &[Partition], front: Front, width: TimeSpan) -> Vec<Partition> {
        cover(partitions, front, width)
            .iter()
            .fold(partitions.to_vec(), |all, split| divided(&all, split))
    }

    #[test]
    fn a_fresh_table_gets_partitions_around_the_front() {
        let splits = cover(&partitions([]), front(NOON_US + 1), MINUTE);
        assert_eq!(splits.len(), 1);
        assert_eq!(splits[0].name, "p_rest");
        assert_eq!(splits[0].bounds_us, minutes(0, 9));
    }

    #[test]
    fn more_are_made_only_when_fewer_than_the_minimum_are_ahead() {
        let made = partitions(minutes(0, 9));
        assert!(cover(&made, front(NOON_US), MINUTE).is_empty());
        assert!(cover(&made, front(NOON_US + 4 * MINUTE.us()), MINUTE).is_empty());
        let splits = cover(&made, front(NOON_US + 5 * MINUTE.us()), MINUTE);
        assert_eq!(splits[0].bounds_us, minutes(10, 14));
    }

    #[test]
    fn a_greater_width_uses_up_the_narrow_partitions_first() {
        let made = partitions(minutes(0, 9));
        let hour = TimeSpan::minutes(60);
        assert!(cover(&made, front(NOON_US), hour).is_empty());
        let splits = cover(&made, front(NOON_US + 6 * MINUTE.us()), hour);
        assert_eq!(splits[0].bounds_us[0], NOON_US + hour.us());
    }

    #[test]
    fn a_narrower_width_divides_what_is_empty_and_ahead() {
        let hours = |from: i64, to: i64| (from..=to).map(|n| NOON_US + n * 60 * MINUTE.us());
        let mut made = partitions(hours(0, 5));
        made[1].rows = 10_000_000;
        let at = NOON_US + 58 * MINUTE.us();
        let splits = cover(&made, front(at), MINUTE);
        // The one that receives has too many rows; the next hour is divided as far as needed.
        assert_eq!(splits.len(), 1);
        assert_eq!(splits[0].name, made[2].name);
        assert_eq!(splits[0].bounds_us, minutes(61, 67));
        made[1].rows = 1_000;
        let splits = cover(&made, front(at), MINUTE);
        assert_eq!(splits[0].bounds_us, minutes(59, 59));
    }

    #[test]
    fn history_in_the_catch_all_gets_a_bounded_number_of_partitions() {
        let mut made = partitions([]);
        made[0].rows = 9;
        let ten_years = Front {
            at_us: NOON_US,
            oldest_us: Some(NOON_US - 3_650 * TimeSpan::DAY.us()),
            ahead: AHEAD,
        };
        let after = covered(&made, ten_years, MINUTE);
        assert!(after.len() < 80, "{}", after.len());
        assert_eq!(ahead(&after, NOON_US, MINUTE), AHEAD as usize);
    }

    #[test]
    fn a_crowd_from_the_far_future_is_fenced_off() {
        let made = partitions([]);
        let mut split = cover(&made, front(NOON_US), MINUTE).remove(0);
        fence(&mut split, NOON_US + 5_000 * MINUTE.us() + 1, MINUTE);
        let made = divided(&made, &split);
        let next = cover(&made, front(NOON_US + 6 * MINUTE.us()), MINUTE);
        assert_eq!(next.len(), 1);
        assert_ne!(next[0].name, "p_rest");
    }

    proptest! {
        #[test]
        fn what_is_made_is_contiguous_aligned_and_enough(
            bounds in proptest::collection::btree_set(-3_000_i64..3_000, 0..30),
            rows in proptest::collection::vec(prop_oneof![Just(0_u64), Just(5_000_000)], 31),
            at in -200_000_000_000_i64..200_000_000_000,
            back in proptest::option::of(0_i64..400_000_000_000),
            width in prop_oneof![Just(1), Just(5), Just(15), Just(60), Just(360), Just(1_440)],
            ahead in AHEAD..=AHEAD_MAX,
        ) {
            let width = TimeSpan::minutes(width);
            let mut before = partitions(bounds.iter().map(|n| n * MINUTE.us()));
            for (partition, rows) in before.iter_mut().zip(rows) {
                partition.rows = rows;
            }
            let receiving = holder(&before, at);
            let lower = lower_us(&before, receiving).unwrap_or(i64::MIN);
            let front = Front { at_us: at, oldest_us: back.map(|back| (at - back).max(lower)), ahead };
            let splits = cover(&before, front, width);
            let after = covered(&before, front, width);

            // Bounds ascend strictly, so there is no gap and no overlap; the catch-all is the last and the only one.
            let uppers: Vec<_> = after.iter().map(|each| each.upper_us.unwrap_or(i64::MAX)).collect();
            prop_assert!(uppers.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(after.iter().filter(|each| each.upper_us.is_none()).count(), 1);
            prop_assert!(after.last().is_some_and(|last| last.upper_us.is_none()));
            // No bound is lost, and each new one is aligned in UTC.
            let kept: BTreeSet<_> = before.iter().map(|each| each.upper_us).collect();
            prop_assert!(kept.iter().all(|upper| after.iter().any(|each| each.upper_us == *upper)));
            for bound in splits.iter().flat_map(|split| &split.bounds_us) {
                prop_assert_eq!(bound.rem_euclid(width.us()), 0);
                prop_assert!(!kept.contains(&Some(*bound)));
            }
            // Enough is ahead, and the second look finds nothing to do, unless rows stand in the way.
            prop_assert!(after[holder(&after, at)].upper_us.is_some());
            prop_assert!(is_covered(&after, front, width));
            prop_assert!(splits.len() as i64 <= 2 + ahead);
            let pieces: usize = splits.iter().map(|split| split.bounds_us.len()).sum();
            prop_assert!(pieces as i64 <= HISTORY_PIECES + 2 * ahead + 4);
            if before[receiving].rows == 0 {
                prop_assert!(cover(&after, front, width).is_empty());
            }
        }
    }
}
