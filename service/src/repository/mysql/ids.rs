//! Ids of readings, taken in blocks from one counter row, so that the table needs no AUTO_INCREMENT index and a batch
//! that is loaded again keeps its ids.

use std::ops::Range;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{error::explain, ledger::quote};
use crate::repository::{RepositoryError, RowIds};

/// Ids taken at a time. A block that is not used up is lost, which a BIGINT can afford.
const BLOCK_IDS: u64 = 1_000_000;
pub(super) const COUNTER: &str = "sensor_readings";

/// The ids that a lane still has.
#[derive(Debug, Default)]
pub(super) struct IdBlock(Range<u64>);

/// Which ids a lane takes: every `step`th, those that leave `remainder`. So its readings are in a subpartition of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdShare {
    step: u64,
    remainder: u64,
}

impl IdShare {
    /// The share of a lane in a table of so many subpartitions by `HASH (id)`; none is as good as one.
    pub(super) fn of(lane: usize, subpartitions: u32) -> Self {
        let step = u64::from(subpartitions.max(1));
        Self {
            step,
            remainder: lane as u64 % step,
        }
    }
}

impl IdBlock {
    /// Takes `rows` ids of the share. Must be called outside of a transaction: the counter is shared.
    pub(super) async fn take(
        &mut self,
        conn: &mut Conn,
        counter: &str,
        (rows, share): (u32, IdShare),
    ) -> Result<RowIds, RepositoryError> {
        let needed = (u64::from(rows) + 1) * share.step;
        if self.0.end - self.0.start < needed {
            let size = BLOCK_IDS.max(needed);
            let sql = format!(
                "UPDATE id_blocks SET next_id = LAST_INSERT_ID(next_id) + {size} WHERE name = {}",
                quote(counter)
            );
            conn.query_drop(sql).await.map_err(explain)?;
            if conn.affected_rows() != 1 {
                let reason = "the counter of reading ids is missing: run `sluicegate migrate`";
                return Err(RepositoryError::Setup(reason.to_owned()));
            }
            let first = conn.last_insert_id().unwrap_or_default();
            self.0 = first..first + size;
        }
        Ok(self.cut(rows, share))
    }

    fn cut(&mut self, rows: u32, share: IdShare) -> RowIds {
        let skipped = (share.step + share.remainder - self.0.start % share.step) % share.step;
        let ids = RowIds {
            first: self.0.start + skipped,
            step: share.step,
        };
        self.0.start = ids.at(rows);
        ids
    }

    /// Gives the block up, because its ids turned out to be in use.
    pub(super) fn discard(&mut self) {
        self.0 = 0..0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lanes_take_ids_of_their_share_and_none_twice(
            start in 0_u64..1_000,
            subpartitions in 1_u32..5,
            lane in 0_usize..9,
            batches in prop::collection::vec(0_u32..50, 1..10),
        ) {
            let share = IdShare::of(lane, subpartitions);
            let mut block = IdBlock(start..u64::MAX);
            let mut taken = Vec::new();
            for rows in batches {
                let before = block.0.start;
                let ids = block.cut(rows, share);
                taken.extend((0..rows).map(|position| ids.at(position)));
                prop_assert!(block.0.start - before <= (u64::from(rows) + 1) * share.step);
            }
            prop_assert!(taken.iter().all(|id| *id >= start && id % share.step == share.remainder));
            prop_assert!(taken.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
