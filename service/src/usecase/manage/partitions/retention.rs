//! Which partitions have outlived the retention.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{model::TimeSpan, repository::Partition};

/// The setting `partitions.retention`: how long readings are kept; None for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Retention(pub Option<TimeSpan>);

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            span => Ok(Self(Some(span.parse()?))),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(span) => span.fmt(f),
        }
    }
}

impl TryFrom<String> for Retention {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Retention> for String {
    fn from(retention: Retention) -> Self {
        retention.to_string()
    }
}

/// Rows that one statement may drop; partitions that are larger go one by one, so that lanes get their turn between.
const ROWS_AT_ONCE: u64 = 1_000_000;
/// Partitions that one statement may drop.
const PARTITIONS_AT_ONCE: usize = 64;

/// The partitions that end at or before `cutoff_us`, oldest first, in lots to be dropped by one statement each.
/// Never the catch-all, and never the one that holds `newest_us`: it still receives.
pub(super) fn outdated(
    partitions: &[Partition],
    cutoff_us: i64,
    newest_us: Option<i64>,
) -> Vec<Vec<&Partition>> {
    let receiving =
        newest_us.map(|newest_us| partitions.partition_point(|each| ends_by(each, newest_us)));
    let outdated = partitions
        .iter()
        .enumerate()
        .filter(|(index, each)| ends_by(each, cutoff_us) && Some(*index) != receiving);
    let mut lots: Vec<Vec<&Partition>> = Vec::new();
    let mut rows = 0;
    for (_, partition) in outdated {
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
        let lots = outdated(&partitions, 40, Some(45));
        assert_eq!(
            names(&lots),
            [vec![Some(10)], vec![Some(20), Some(30)], vec![Some(40)]]
        );
    }

    #[test]
    fn the_partition_that_receives_history_stays() {
        let partitions = [
            partition(Some(10), 7),
            partition(Some(20), 0),
            partition(None, 0),
        ];
        assert_eq!(
            names(&outdated(&partitions, 100, Some(5))),
            [vec![Some(20)]]
        );
    }

    proptest! {
        #[test]
        fn exactly_what_ends_before_the_cutoff_goes(
            bounds in proptest::collection::btree_set(-50_i64..50, 0..20),
            rows in 0_u64..2_000_000,
            cutoff in -60_i64..60,
            newest in proptest::option::of(-60_i64..60),
        ) {
            let mut partitions: Vec<_> = bounds.iter().map(|&at| partition(Some(at), rows)).collect();
            partitions.push(partition(None, rows));
            let dropped: Vec<i64> = names(&outdated(&partitions, cutoff, newest))
                .into_iter()
                .flatten()
                .map(|upper| upper.expect("never the catch-all"))
                .collect();
            let receiving = newest.and_then(|newest| bounds.iter().copied().find(|&at| at > newest));
            let expected: Vec<i64> = bounds
                .iter()
                .copied()
                .filter(|&at| at <= cutoff && Some(at) != receiving)
                .collect();
            prop_assert_eq!(dropped, expected);
        }
    }
}
