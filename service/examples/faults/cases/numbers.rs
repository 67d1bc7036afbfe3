//! Readings whose values are the numbers from 0 on: what was sent is known without a journal.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mysql_async::prelude::Queryable as _;
use tokio::time::{Instant, sleep};

use crate::{database::Schema, verdict::Verdict};

/// For all that is left to be stored once nothing breaks any more.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);

/// Waits until every number is there, or for as long as that may take.
pub(super) async fn until_stored(schema: &Schema, readings: u64) -> Result<()> {
    let give_up_at = Instant::now() + DRAIN_LIMIT;
    let sql = "SELECT COUNT(DISTINCT sensor_value) FROM sensor_readings";
    while schema.number(sql).await? < readings {
        if Instant::now() > give_up_at {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// The table is held to what was sent: each number is the value of a reading, `count` of (4, LINE).
pub(super) async fn judge(schema: &Schema, readings: u64) -> Result<Verdict> {
    let sql = format!(
        "SELECT COUNT(*), COUNT(DISTINCT sensor_value), \
         CAST(COALESCE(SUM(sensor_value >= {readings} OR sensor_value <> FLOOR(sensor_value)), 0) AS UNSIGNED), \
         CAST(COALESCE(SUM(id1 <> 4 OR id2 <> 'LINE' OR sensor_type <> 'count'), 0) AS UNSIGNED) \
         FROM sensor_readings"
    );
    let mut conn = schema.connect().await?;
    let sums: Option<(u64, u64, u64, u64)> = conn.query_first(sql).await?;
    conn.disconnect().await?;
    let (rows, distinct, unexpected, altered) = sums.context("no sums")?;
    Ok(Verdict {
        complete: true,
        sent: readings,
        acknowledged: readings,
        found: rows,
        lost: (readings + unexpected).saturating_sub(distinct),
        duplicated: rows - distinct,
        altered,
        unexpected,
        ..Verdict::default()
    })
}
