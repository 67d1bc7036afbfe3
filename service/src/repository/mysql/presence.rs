//! Who is there: lanes show that they live, and the ledger rows of those that have not for a week are removed.

use std::time::{Duration, Instant};

use mysql_async::{Conn, Pool, prelude::Queryable as _};

use super::{answers, claim, error::explain, ledger::quote};
use crate::{
    model::{StreamId, TimeSpan},
    repository::RepositoryError,
};

/// A lane that rests writes so often that it is there; between, a ping will do.
const WRITTEN_EVERY: Duration = Duration::from_secs(3_600);

/// When a lane last wrote that it is there.
#[derive(Debug)]
pub(super) struct Presence(Instant);

impl Presence {
    /// Of a lane whose row has just been written.
    pub(super) fn written_now() -> Self {
        Self(Instant::now())
    }

    /// Lets the database hear of the lane.
    pub(super) async fn show(
        &mut self,
        conn: &mut Conn,
        lane: &StreamId,
    ) -> Result<(), RepositoryError> {
        if self.0.elapsed() < WRITTEN_EVERY {
            return conn.ping().await.map_err(explain);
        }
        let name = quote(lane.as_str());
        let sql = format!(
            "UPDATE ingest_streams SET updated_at = UTC_TIMESTAMP(6) WHERE stream_id = {name}"
        );
        conn.query_drop(sql).await.map_err(explain)?;
        *self = Self::written_now();
        Ok(())
    }
}

/// The lanes of all instances.
pub struct MySqlLanes {
    pool: Pool,
}

impl MySqlLanes {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Removes the ledger rows of lanes that nobody holds and that have not been heard of for so long; says of which.
    pub(crate) async fn remove_unheard(
        &self,
        of: TimeSpan,
    ) -> Result<Vec<StreamId>, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let unheard = format!(
            "updated_at < UTC_TIMESTAMP(6) - INTERVAL {} MICROSECOND",
            of.us()
        );
        let prefix = StreamId::LANE_PREFIX;
        let sql = format!(
            "SELECT stream_id FROM ingest_streams WHERE stream_id LIKE '{prefix}%' AND {unheard}"
        );
        let names: Vec<String> = answers::ask(&mut conn, &sql).await.map_err(explain)?;
        let mut removed = Vec::new();
        for lane in names.iter().map(|name| StreamId::stored(name)) {
            // Whoever begins with this name meanwhile finds it held, and tries again.
            if !claim::take_if_free(&mut conn, &lane).await? {
                continue;
            }
            let name = quote(lane.as_str());
            let sql = format!("DELETE FROM ingest_streams WHERE stream_id = {name} AND {unheard}");
            let deleted = conn.query_drop(sql).await.map_err(explain);
            let rows = conn.affected_rows();
            claim::give_back(&mut conn, &lane).await?;
            deleted?;
            if rows > 0 {
                removed.push(lane);
            }
        }
        Ok(removed)
    }
}
