//! Ids of readings, taken in blocks from one counter row, so that the table needs no AUTO_INCREMENT index and a batch
//! that is loaded again keeps its ids.

use std::ops::Range;

use mysql_async::{Conn, prelude::Queryable as _};

use super::error::explain;
use crate::repository::RepositoryError;

/// Ids taken at a time. A block that is not used up is lost, which a BIGINT can afford.
const BLOCK_IDS: u64 = 1_000_000;
pub(super) const COUNTER: &str = "sensor_readings";

/// The ids that a lane still has.
#[derive(Debug, Default)]
pub(super) struct IdBlock(Range<u64>);

impl IdBlock {
    /// Takes `rows` ids that follow each other. Must be called outside of a transaction: the counter is shared.
    pub(super) async fn take(
        &mut self,
        conn: &mut Conn,
        rows: u32,
    ) -> Result<u64, RepositoryError> {
        let rows = u64::from(rows);
        if self.0.end - self.0.start < rows {
            let size = BLOCK_IDS.max(rows);
            let sql = format!(
                "UPDATE id_blocks SET next_id = LAST_INSERT_ID(next_id) + {size} WHERE name = '{COUNTER}'"
            );
            conn.query_drop(sql).await.map_err(explain)?;
            if conn.affected_rows() != 1 {
                let reason = "the counter of reading ids is missing: run `sluicegate migrate`";
                return Err(RepositoryError::Setup(reason.to_owned()));
            }
            let first = conn.last_insert_id().unwrap_or_default();
            self.0 = first..first + size;
        }
        let first = self.0.start;
        self.0.start += rows;
        Ok(first)
    }

    /// Gives the block up, because its ids turned out to be in use.
    pub(super) fn discard(&mut self) {
        self.0 = 0..0;
    }
}
