//! One step: some readings of a partition, in one transaction that is checked before it ends.
//!
//! ```text
//! START TRANSACTION
//! SELECT COUNT(*) FROM old … FOR UPDATE         nobody changes them from here on
//! SELECT … checksums FROM old
//! INSERT INTO new SELECT … FROM old
//! SELECT … checksums FROM old JOIN new          the same, or nothing is moved
//! DELETE FROM old …
//! INSERT INTO moved_readings …                  what was moved, for the account at the end
//! COMMIT
//! ```

use std::fmt::Write as _;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    super::{
        answers,
        error::explain,
        ledger::quote,
        names::{Names, quoted},
        series::{Numbers, SeriesNumbers},
        table::{self},
    },
    Way, ask, ask_one,
    ours::COMMENT,
    run,
};
use crate::repository::RepositoryError;

/// The table of what was moved.
pub(super) const ACCOUNT: &str = "moved_readings";

/// Makes that table.
pub(super) fn make_account(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (partition_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, \
         readings BIGINT UNSIGNED NOT NULL, checksum DECIMAL(40, 0) NOT NULL) ENGINE = InnoDB {COMMENT}"
    )
}

/// Between which tables.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) series: String,
    /// What was moved, by the partitions of the old table.
    pub(super) account: String,
    /// Whether the old ones have the numbers of their series; otherwise the new ones have.
    pub(super) from_numbered: bool,
    /// Whether the old table is in order of time; otherwise it is in order of ids.
    pub(super) by_time: bool,
}

impl Tables {
    /// The old readings are in this table.
    pub(super) async fn of(
        conn: &mut Conn,
        way: Way,
        from: &'static str,
    ) -> Result<Self, RepositoryError> {
        Ok(Self {
            from: from.to_owned(),
            to: way.to.table().to_owned(),
            series: "series".to_owned(),
            account: ACCOUNT.to_owned(),
            from_numbered: way.from.is_numbered(),
            by_time: table::is_ordered_by_time(conn, from, &Names::default()).await?,
        })
    }
}

/// A reading's place in the primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Empty where the table is in order of ids.
    ts: String,
    id: i64,
}

/// What was moved.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) readings: u64,
    pub(super) last: Place,
}

/// A partition of the old table, or all of it.
pub(super) struct Part<'a> {
    pub(super) tables: &'a Tables,
    /// Empty for a table without partitions.
    pub(super) partition: &'a str,
}

impl Part<'_> {
    /// The old readings, as `o`.
    fn old(&self) -> String {
        let partition = match self.partition {
            "" => String::new(),
            name => format!(" PARTITION ({})", quoted(name)),
        };
        format!("{}{partition} AS o FORCE INDEX (PRIMARY)", self.tables.from)
    }

    /// Whether nothing is left.
    pub(super) async fn is_empty(&self, conn: &mut Conn) -> Result<bool, RepositoryError> {
        let found: Vec<u8> = ask(conn, &format!("SELECT 1 FROM {} LIMIT 1", self.old())).await?;
        Ok(found.is_empty())
    }

    /// Up to where the next step goes; None at the end.
    async fn end(
        &self,
        conn: &mut Conn,
        after: Option<&Place>,
        most: u32,
    ) -> Result<Option<Place>, RepositoryError> {
        let (ts, ascending, descending) = match self.tables.by_time {
            true => (
                "DATE_FORMAT(o.ts, '%Y-%m-%d %H:%i:%s.%f')",
                "o.ts, o.id",
                "o.ts DESC, o.id DESC",
            ),
            false => ("''", "o.id", "o.id DESC"),
        };
        let whole = format!(
            "SELECT {ts}, o.id FROM {} WHERE {}",
            self.old(),
            range(self.tables.by_time, after, None)
        );
        for rest in [
            format!(" ORDER BY {ascending} LIMIT 1 OFFSET {}", most - 1),
            format!(" ORDER BY {descending} LIMIT 1"),
        ] {
            let found: Vec<(String, i64)> = ask(conn, &format!("{whole}{rest}")).await?;
            if let [(ts, id)] = found.as_slice() {
                return Ok(Some(Place {
                    ts: ts.clone(),
                    id: *id,
                }));
            }
        }
        Ok(None)
    }

    /// Moves the next readings; None when there are none.
    ///
    /// # Errors
    /// Nothing is moved then, except where the answer to COMMIT was lost: whoever tries again finds what is left.
    pub(super) async fn step(
        &self,
        conn: &mut Conn,
        after: Option<&Place>,
        most: u32,
        numbers: Option<&SeriesNumbers>,
    ) -> Result<Option<Done>, RepositoryError> {
        let Some(last) = self.end(conn, after, most).await? else {
            return Ok(None);
        };
        let within = range(self.tables.by_time, after, Some(&last));
        let given = match numbers {
            None => None,
            Some(numbers) => {
                let given = self.number(conn, &within, numbers).await?;
                Some((given, numbers))
            }
        };
        run(conn, "START TRANSACTION").await?;
        if let Some((given, numbers)) = given
            && !given.proof.is_of(conn).await?
        {
            run(conn, "ROLLBACK").await?;
            return Err(numbers.is_of_another_table(given.era));
        }
        let readings = self.move_within(conn, &within).await?;
        run(conn, "COMMIT").await?;
        Ok(Some(Done { readings, last }))
    }

    /// Gives a number to each series of some readings.
    async fn number(
        &self,
        conn: &mut Conn,
        within: &str,
        numbers: &SeriesNumbers,
    ) -> Result<Numbers, RepositoryError> {
        // As bytes: the columns' own collation takes 'a' and 'a ' for one.
        let sql = format!(
            "SELECT DISTINCT o.id1, CAST(o.id2 AS BINARY), CAST(o.sensor_type AS BINARY) FROM {} WHERE {within}",
            self.old()
        );
        let found: Vec<(i64, Vec<u8>, Vec<u8>)> = ask(conn, &sql).await?;
        let mut names = Vec::with_capacity(found.len());
        for (id1, id2, sensor_type) in found {
            let id1 = i32::try_from(id1).map_err(|_| {
                RepositoryError::Table(format!(
                    "{} has a reading with the id1 {id1}, which no series can have: ids go up to {}",
                    self.tables.from,
                    i32::MAX
                ))
            })?;
            let text = |bytes| String::from_utf8(bytes).map_err(|_| answers::unexpected());
            names.push((id1, text(id2)?, text(sensor_type)?));
        }
        let named: Vec<(i32, &str, &str)> = names
            .iter()
            .map(|(id1, id2, sensor_type)| (*id1, id2.as_str(), sensor_type.as_str()))
            .collect();
        let given: Numbers = numbers.of(conn, named.as_slice()).await?;
        match given.refusal_within(&(0..named.len() as u32)) {
            None => Ok(given),
            Some(reason) => Err(RepositoryError::Setup(format!(
                "readings cannot be moved whose series gets no number: {reason}"
            ))),
        }
    }

    /// Inside of a transaction.
    pub(super) async fn move_within(
        &self,
        conn: &mut Conn,
        within: &str,
    ) -> Result<u64, RepositoryError> {
        let Tables {
            from,
            to,
            series,
            account,
            from_numbered,
            ..
        } = self.tables;
        let old = self.old();
        let locking = format!("SELECT COUNT(*) FROM {old} WHERE {within} FOR UPDATE");
        let readings: u64 = ask_one(conn, &locking).await?;
        let by_number =
            |of: &str| format!("LEFT JOIN {series} AS s ON s.series_id = {of}.series_id");
        let before = match from_numbered {
            true => sums("o", "s", &format!("{old} {}", by_number("o"))),
            false => sums("o", "o", &old),
        };
        let before: (u64, String) = ask_one(conn, &format!("{before} WHERE {within}")).await?;
        let insert = match from_numbered {
            true => format!(
                "INSERT INTO {to} (id, sensor_value, sensor_type, id1, id2, ts) \
                 SELECT o.id, o.sensor_value, s.sensor_type, s.id1, s.id2, o.ts \
                 FROM {old} STRAIGHT_JOIN {series} AS s ON s.series_id = o.series_id WHERE {within}"
            ),
            false => format!(
                "INSERT INTO {to} (ts, id, series_id, sensor_value) \
                 SELECT o.ts, o.id, s.series_id, o.sensor_value \
                 FROM {old} STRAIGHT_JOIN {series} AS s FORCE INDEX (by_names) ON s.id1 = o.id1 AND s.id2 = o.id2 \
                 AND s.sensor_type = o.sensor_type AND s.id2_bytes = LENGTH(o.id2) \
                 AND s.sensor_type_bytes = LENGTH(o.sensor_type) WHERE {within}"
            ),
        };
        run(conn, &insert).await?;
        let inserted = conn.affected_rows();
        let new = format!(
            "{old} STRAIGHT_JOIN {to} AS n FORCE INDEX (PRIMARY) ON n.ts = o.ts AND n.id = o.id"
        );
        let behind = match from_numbered {
            true => sums("n", "n", &new),
            false => sums("n", "s", &format!("{new} {}", by_number("n"))),
        };
        let behind: (u64, String) = ask_one(conn, &format!("{behind} WHERE {within}")).await?;
        if (readings, &before) != (inserted, &behind) || before.0 != readings {
            return Err(RepositoryError::Table(format!(
                "of {readings} readings of {from} that were to be moved {inserted} arrived in {to}, as {} with the checksum {} \
                 and not {} with {}: none of them was moved",
                behind.0, behind.1, before.0, before.1
            )));
        }
        run(conn, &format!("DELETE o FROM {old} WHERE {within}")).await?;
        if conn.affected_rows() != readings {
            return Err(RepositoryError::Table(format!(
                "{} readings of {from} were to be removed, as they are in {to}, and {} were: none of them was moved",
                readings,
                conn.affected_rows()
            )));
        }
        let name = quote(self.partition);
        let account = format!(
            "INSERT INTO {account} (partition_name, readings, checksum) VALUES ({name}, {readings}, {}) \
             ON DUPLICATE KEY UPDATE readings = readings + VALUES(readings), checksum = checksum + VALUES(checksum)",
            before.1
        );
        conn.query_drop(account).await.map_err(explain)?;
        Ok(readings)
    }
}

/// Asks how many readings there are, and for the sum of their checksums. Times and values have one text for each, whatever
/// the types of the columns.
fn sums(readings: &str, names: &str, from: &str) -> String {
    format!(
        "SELECT COUNT(*), CAST(COALESCE(SUM(CRC32(CONCAT_WS(',', {readings}.id, \
         TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', {readings}.ts), {names}.id1, {names}.id2, \
         {names}.sensor_type, CAST({readings}.sensor_value AS CHAR(30))))), 0) AS CHAR(40)) FROM {from}"
    )
}

/// Readings behind a place, and up to another one.
fn range(by_time: bool, after: Option<&Place>, last: Option<&Place>) -> String {
    let mut range = String::from("TRUE");
    for (place, compared) in [(after, '>'), (last, '<')] {
        let Some(Place { ts, id }) = place else {
            continue;
        };
        let or_this = if compared == '<' { "=" } else { "" };
        // Formatting into a text cannot fail.
        let _ = match by_time {
            true => write!(
                range,
                " AND o.ts {compared}= '{ts}' AND (o.ts {compared} '{ts}' OR o.id {compared}{or_this} {id})"
            ),
            false => write!(range, " AND o.id {compared}{or_this} {id}"),
        };
    }
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_open_at_its_beginning_and_closed_at_its_end() {
        let place = |ts: &str, id| Place {
            ts: ts.to_owned(),
            id,
        };
        assert_eq!(range(true, None, None), "TRUE");
        let (one, two) = (place("1", 5), place("2", 7));
        assert_eq!(
            range(true, Some(&one), Some(&two)),
            "TRUE AND o.ts >= '1' AND (o.ts > '1' OR o.id > 5) AND o.ts <= '2' AND (o.ts < '2' OR o.id <= 7)"
        );
        assert_eq!(
            range(false, Some(&one), Some(&two)),
            "TRUE AND o.id > 5 AND o.id <= 7"
        );
    }
}
