//! Which partitions have outlived the retention.

use crate::{
    model::{OrNone, TimeSpan},
    repository::Partition,
};

/// The setting `partitions.retention`: how long readings are kept; None for ever.
pub type Retention = OrNone<TimeSpan>;

/// Rows that one statement may drop; partitions that are larger go one by one, so that lanes get their turn between.
const ROWS_AT_ONCE: u64 = 1_000_000;
/// Partitions that one statement may drop.
const PARTITIONS_AT_ONCE: usize = 64;

/// The partitions that end at or before `cutoff_us`, oldest first, in lots to be dropped by one statement each. Never the
/// catch-all. None of them receives: readings before the cutoff are rejected.
pub(super) fn outdated(partitions: &[Partition], cutoff_us: i64) -> Vec<Vec<&Partition>> {
    let outdated = partitions.iter().filter(|each| ends_by(each, cutoff_us));
    let mut lots: Vec<Vec<&Partition>> = Vec::new();
    let mut rows = 0;
    for partition in outdated {
        match lots.last_mut() {
            Some(lot)
                if rows + partition.rows <= ROWS_AT_ONCE && lot.len() < PARTITIONS_AT_ONCE =>
            {
                rows += partition.rows;
                lot.push(partition);
            }
            _ => {
                rows = partition.rows;
                lots.push(vec![partition]);
            }
        }
    }
    lots
}

pub(super) fn ends_by(partition: &Partition, at_us: i64) -> bool {
    partition.upper_us.is_some_and(|upper_us| upper_us <= at_us)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(upper_us: Option<i64>, rows: u64) -> Partition {
        Partition {
            name: format!("{upper_us:?}"),
            upper_us,
            rows,
            bytes: 0,
        }
    }

    fn names(lots: &[Vec<&Partition>]) -> Vec<Vec<Option<i64>>> {
        lots.iter()
            .map(|lot| lot.iter().map(|each| each.upper_us).collect())
            .collect()
    }

    #[test]
    fn large_partitions_are_dropped_one_by_one_and_small_ones_together() {
        let partitions = [
            partition(Some(10), 5_000_000),
            partition(Some(20), 0),
            partition(Some(30), 1_000_000),
            partition(Some(40), 1),
            partition(Some(50), 0),
            partition(None, 0),
        ];
        let lots = outdated(&partitions, 40);
        assert_eq!(
            names(&lots),
            [vec![Some(10)], vec![Some(20), Some(30)], vec![Some(40)]]
        );
    }

    proptest! {
        #[test]
        fn exactly_what_ends_before_the_cutoff_goes(
            bounds in proptest::collection::btree_set(-50_i64..50, 0..20),
            rows in 0_u64..2_000_000,
            cutoff in -60_i64..60,
        ) {
            let mut partitions: Vec<_> = bounds.iter().map(|&at| partition(Some(at), rows)).collect();
            partitions.push(partition(None, rows));
            let dropped: Vec<i64> = names(&outdated(&partitions, cutoff))
                .into_iter()
                .flatten()
                .map(|upper| upper.expect("never the catch-all"))
                .collect();
            let expected: Vec<i64> = bounds.iter().copied().filter(|&at| at <= cutoff).collect();
            prop_assert_eq!(dropped, expected);
        }
    }
}
