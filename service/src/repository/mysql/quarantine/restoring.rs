//! Takes readings out of the quarantine: into the table, or away.
//!
//! ```text
//! START TRANSACTION
//! SELECT id FROM rejected_readings … FOR UPDATE   those that are still there; others wait for their turn here
//! LOAD DATA LOCAL INFILE …                        from memory; rows and warnings counted, as for a batch
//! DELETE FROM rejected_readings …
//! COMMIT
//! ```
//!
//! A reading is in the quarantine or in the table, whatever happens in between: that is all that it takes to be stored once.

use std::collections::HashSet;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{
        error::{explain, explain_to},
        load,
        series::Numbers,
        shape::Shape,
    },
    MySqlQuarantine,
};
use crate::{
    failpoint,
    model::{Restored, Revived},
    repository::{RepositoryError, RowIds},
};

impl MySqlQuarantine {
    /// Stores readings, and takes them out of the quarantine.
    ///
    /// # Errors
    /// When the database does not answer, or takes no reading at all: nothing has changed then, unless the COMMIT did happen
    /// whose reply was lost.
    pub(crate) async fn restore(
        &self,
        revived: &[Revived],
    ) -> Result<Vec<(u64, Restored)>, RepositoryError> {
        let mut conn = self.connector.connect().await?;
        let ids = self.ids_for(&mut conn, revived).await?;
        let numbers = self.numbers_for(revived).await?;
        let restored = self.restore_with(&mut conn, revived, ids, &numbers).await;
        if let Err(RepositoryError::Other(_)) = &restored {
            // They may be in use already.
            self.ids.lock().await.discard();
        }
        // An open transaction ends with its connection.
        let _ = conn.disconnect().await;
        restored
    }

    async fn ids_for(
        &self,
        conn: &mut Conn,
        revived: &[Revived],
    ) -> Result<RowIds, RepositoryError> {
        if !self.table.format.with_id {
            return Ok(RowIds::default());
        }
        let rows: usize = revived.iter().map(|one| one.readings.len()).sum();
        let mut ids = self.ids.lock().await;
        ids.take(conn, &self.table.counter, (rows as u32, self.share()))
            .await
    }

    /// The numbers of the readings' series, in the order of the readings.
    async fn numbers_for(&self, revived: &[Revived]) -> Result<Numbers, RepositoryError> {
        let Some(naming) = &self.naming else {
            return Ok(Numbers::none());
        };
        let readings = revived.iter().flat_map(|one| &one.readings);
        let named: Vec<(i32, &str, &str)> = readings
            .map(|reading| {
                let series = &reading.series;
                (series.id1, series.id2.as_str(), series.sensor_type.as_str())
            })
            .collect();
        naming.numbers(&named).await
    }

    async fn restore_with(
        &self,
        conn: &mut Conn,
        revived: &[Revived],
        ids: RowIds,
        numbers: &Numbers,
    ) -> Result<Vec<(u64, Restored)>, RepositoryError> {
        let names = listed(revived.iter().map(|one| one.id));
        let begin = "START TRANSACTION";
        conn.query_drop(begin).await.map_err(explain)?;
        let there: Vec<u64> = conn
            .query(format!(
                "SELECT id FROM rejected_readings FORCE INDEX (PRIMARY) WHERE id IN ({names}) FOR UPDATE"
            ))
            .await
            .map_err(explain)?;
        let there: HashSet<u64> = there.into_iter().collect();
        if Shape::read(conn, self.table.layout, &self.table.question).await? != self.table.shape {
            self.table.expect_as_good(conn).await?;
        }
        if let Some(naming) = &self.naming
            && !numbers.proof.is_of(conn).await?
        {
            return Err(naming.is_of_another_table(numbers.era));
        }
        let mut next = 0;
        let mut parts = Vec::with_capacity(revived.len());
        let mut refused = Vec::new();
        for one in revived {
            let places = next..next + one.readings.len() as u32;
            next = places.end;
            if !there.contains(&one.id) {
                continue;
            }
            if let Some(reason) = numbers.refusal_within(&places) {
                refused.push((one.id, reason));
                continue;
            }
            let mut lines = Vec::new();
            for (reading, place) in one.readings.iter().zip(places) {
                let number = numbers.at(place);
                lines.extend(self.table.format.line(reading, number, ids.at(place)));
            }
            parts.push(Part {
                id: one.id,
                rows: one.readings.len() as u32,
                lines,
            });
        }
        refused.extend(self.load(conn, &parts).await?);
        failpoint::crash("replay-load");
        let stored: Vec<u64> = parts
            .iter()
            .map(|part| part.id)
            .filter(|id| !refused.iter().any(|(other, _)| other == id))
            .collect();
        if !stored.is_empty() {
            let names = listed(stored.iter().copied());
            let sql = format!("DELETE FROM rejected_readings WHERE id IN ({names})");
            conn.query_drop(sql)
                .await
                .map_err(|error| explain_to("let rejected readings go", error))?;
        }
        conn.query_drop("COMMIT").await.map_err(explain)?;
        failpoint::crash("replay-commit");
        let gone = revived.iter().filter(|one| !there.contains(&one.id));
        let mut all: Vec<_> = gone.map(|one| (one.id, Restored::Gone)).collect();
        all.extend(stored.into_iter().map(|id| (id, Restored::Stored)));
        all.extend(
            refused
                .into_iter()
                .map(|(id, reason)| (id, Restored::Refused(reason))),
        );
        Ok(all)
    }

    /// Loads all at once, or, where the database refuses some, part by part. Returns those refused, and why.
    async fn load(
        &self,
        conn: &mut Conn,
        parts: &[Part],
    ) -> Result<Vec<(u64, String)>, RepositoryError> {
        let rows = parts.iter().map(|part| part.rows).sum();
        if rows == 0 {
            return Ok(Vec::new());
        }
        let lines = parts.iter().flat_map(|part| &part.lines).copied().collect();
        match load::lines(conn, &self.table, lines, rows).await {
            Ok(()) => return Ok(Vec::new()),
            Err(RepositoryError::Data(_)) => undo(conn).await?,
            Err(other) => return Err(other),
        }
        let mut refused = Vec::new();
        for part in parts {
            match load::lines(conn, &self.table, part.lines.clone(), part.rows).await {
                Ok(()) => {}
                Err(RepositoryError::Data(reason)) => {
                    undo(conn).await?;
                    refused.push((part.id, reason));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(refused)
    }

    /// Removes rejections, and says how many were there.
    pub(crate) async fn remove_ids(&self, ids: &[u64]) -> Result<u64, RepositoryError> {
        let mut conn = self.pool.get_conn().await.map_err(explain)?;
        let names = listed(ids.iter().copied());
        let sql = format!("DELETE FROM rejected_readings WHERE id IN ({names})");
        conn.query_drop(sql)
            .await
            .map_err(|error| explain_to("let rejected readings go", error))?;
        Ok(conn.affected_rows())
    }
}

/// The readings of one row of the quarantine.
struct Part {
    id: u64,
    rows: u32,
    lines: Vec<u8>,
}

async fn undo(conn: &mut Conn) -> Result<(), RepositoryError> {
    conn.query_drop("ROLLBACK TO SAVEPOINT before_load")
        .await
        .map_err(explain)
}

fn listed(ids: impl Iterator<Item = u64>) -> String {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    ids.join(",")
}
