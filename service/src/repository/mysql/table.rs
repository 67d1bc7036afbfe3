//! What the readings table looks like. The service runs on all layouts: it reads columns, precision and keys at start.

use std::fmt;

use mysql_async::{Conn, Row, prelude::Queryable as _};

use super::{answers, error::explain, shape::Shape};
use crate::{
    model::{Limits, TimestampRange},
    repository::RepositoryError,
};

/// Which of the layouts was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableLayout {
    Seed,
    Partitioned,
    Hashed,
}

impl fmt::Display for TableLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seed => "seed",
            Self::Partitioned => "partitioned",
            Self::Hashed => "hashed",
        })
    }
}

/// How the table wants its rows as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowFormat {
    /// Whether a row begins with its id; otherwise the database counts.
    pub(super) with_id: bool,
    /// Digits of the timestamp after the second, 0 to 6.
    pub(super) timestamp_decimals: u8,
}

/// The readings table as it was found.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) layout: TableLayout,
    pub(super) limits: Limits,
    pub(super) format: RowFormat,
    pub(super) ordered_by_time: bool,
    /// Subpartitions by `HASH (id)`; 0 without them.
    pub(super) subpartitions: u32,
    /// The server changes `ts` whenever anything else of a row changes, unless it is told not to.
    pub(super) touches_ts: bool,
    pub(super) load_statement: String,
    pub(super) shape: Shape,
}

struct Column {
    name: String,
    data_type: String,
    max_chars: Option<u64>,
    decimals: Option<u8>,
    collation: Option<String>,
    extra: String,
}

/// `TIMESTAMP`: the range that the MySQL manual names, without the zero value.
const TIMESTAMP_MIN_US: i64 = 1_000_000;
const TIMESTAMP_MAX_US: i64 = 2_147_483_647_999_999;

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    /// When it is missing or a column cannot hold readings exactly; the sentence says what to change.
    pub(super) async fn read(conn: &mut Conn) -> Result<Self, RepositoryError> {
        let columns = read_columns(conn).await?;
        if columns.is_empty() {
            return Err(setup(
                "the table sensor_readings is missing: run `sluicegate migrate`",
            ));
        }
        let find = |name: &str| {
            columns
                .iter()
                .find(|column| column.name == name)
                .ok_or_else(|| setup(&format!("sensor_readings has no column {name}: run `sluicegate migrate` into an empty database")))
        };
        let id = find("id")?;
        expect_type(id, &["bigint"])?;
        expect_type(find("sensor_value")?, &["double"])?;
        expect_type(find("id1")?, &["int", "bigint"])?;
        let counted_by_database = id.extra.contains("auto_increment");
        let ts = find("ts")?;
        let timestamp = timestamp_range(ts)?;
        let layout = if counted_by_database {
            TableLayout::Seed
        } else if columns.iter().any(|column| column.name == "id_hash") {
            TableLayout::Hashed
        } else {
            TableLayout::Partitioned
        };
        let format = RowFormat {
            with_id: !counted_by_database,
            timestamp_decimals: timestamp.decimals,
        };
        Ok(Self {
            layout,
            limits: Limits::of_table(
                text_width(find("id2")?)?,
                text_width(find("sensor_type")?)?,
                timestamp,
            ),
            format,
            ordered_by_time: primary_key(conn)
                .await?
                .first()
                .is_some_and(|first| first == "ts"),
            subpartitions: subpartitions(conn).await?,
            touches_ts: ts.extra.contains("on update"),
            load_statement: load_statement(format),
            shape: Shape::read(conn).await?,
        })
    }

    /// Reads the table again, which somebody has altered, and holds it against what readings are checked for.
    ///
    /// # Errors
    /// When it does not hold exactly any longer what it held; the sentence says what to change.
    pub(super) async fn expect_as_good(&self, conn: &mut Conn) -> Result<(), RepositoryError> {
        let now = match Self::read(conn).await {
            Ok(now) => now,
            Err(RepositoryError::Setup(sentence)) => return Err(RepositoryError::Table(sentence)),
            Err(other) => return Err(other),
        };
        let (limits, found) = (&self.limits, &now.limits);
        let refuse = |what: String| {
            Err(RepositoryError::Table(format!(
                "sensor_readings was altered, and {what}: alter it back, or start the service again"
            )))
        };
        if self.format.with_id != now.format.with_id {
            return refuse("its id is counted by another side now".to_owned());
        }
        for (column, before, now) in [
            ("id2", limits.id2_max_chars, found.id2_max_chars),
            (
                "sensor_type",
                limits.sensor_type_max_chars,
                found.sensor_type_max_chars,
            ),
            (
                "ts",
                limits.timestamp.decimals.into(),
                found.timestamp.decimals.into(),
            ),
        ] {
            if now < before {
                let what = if column == "ts" {
                    "decimals"
                } else {
                    "characters"
                };
                return refuse(format!("{column} holds {now} {what}, no longer {before}"));
            }
        }
        let (before, now) = (limits.timestamp, found.timestamp);
        if now.min_us > before.min_us || now.max_us < before.max_us {
            return refuse("ts no longer holds all times that it held".to_owned());
        }
        Ok(())
    }
}

/// How many subpartitions by the id each partition has.
async fn subpartitions(conn: &mut Conn) -> Result<u32, RepositoryError> {
    let sql = "SELECT COUNT(*) FROM information_schema.PARTITIONS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sensor_readings' AND PARTITION_ORDINAL_POSITION = 1 \
               AND SUBPARTITION_METHOD = 'HASH' AND REPLACE(SUBPARTITION_EXPRESSION, '`', '') = 'id'";
    let count: Option<u32> = conn.query_first(sql).await.map_err(explain)?;
    Ok(count.unwrap_or_default())
}

/// REPLACE makes a bad value an error: without it LOCAL means IGNORE, and the database would coerce and skip with no
/// more than a warning. Ids are unique, so nothing is ever replaced.
fn load_statement(format: RowFormat) -> String {
    let id = if format.with_id { "id, " } else { "" };
    format!(
        "LOAD DATA LOCAL INFILE 'batch' REPLACE INTO TABLE sensor_readings CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' \
         ({id}id1, id2, sensor_type, sensor_value, ts)"
    )
}

async fn read_columns(conn: &mut Conn) -> Result<Vec<Column>, RepositoryError> {
    let sql = "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, DATETIME_PRECISION, COLLATION_NAME, EXTRA \
               FROM information_schema.COLUMNS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sensor_readings'";
    let rows: Vec<Row> = answers::ask(conn, sql).await.map_err(explain)?;
    let columns = rows.into_iter().map(|row| {
        let text = |index: usize| row.get::<Option<String>, _>(index).flatten();
        Column {
            name: text(0).unwrap_or_default(),
            data_type: text(1).unwrap_or_default().to_ascii_lowercase(),
            max_chars: row.get::<Option<u64>, _>(2).flatten(),
            decimals: row.get::<Option<u8>, _>(3).flatten(),
            collation: text(4),
            extra: text(5).unwrap_or_default().to_ascii_lowercase(),
        }
    });
    Ok(columns.collect())
}

/// The columns of the primary key, which has to be the only unique one: readings may be alike in everything but their
/// id, and what another key takes for one reading could never be loaded.
async fn primary_key(conn: &mut Conn) -> Result<Vec<String>, RepositoryError> {
    let sql = "SELECT INDEX_NAME, COALESCE(COLUMN_NAME, '') FROM information_schema.STATISTICS \
               WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sensor_readings' AND NON_UNIQUE = 0 \
               ORDER BY INDEX_NAME, SEQ_IN_INDEX";
    let unique: Vec<(String, String)> = answers::ask(conn, sql).await.map_err(explain)?;
    if let Some((index, _)) = unique.iter().find(|(index, _)| index != "PRIMARY") {
        return Err(setup(&format!(
            "sensor_readings has the unique index {index}, but readings may be alike in everything except their id: \
             drop the index, or create it again without UNIQUE"
        )));
    }
    let columns: Vec<String> = unique.into_iter().map(|(_, column)| column).collect();
    if !columns.iter().any(|column| column == "id") {
        let sentence = "sensor_readings has no primary key with id in it: make it (ts, id) or (id)";
        return Err(setup(sentence));
    }
    Ok(columns)
}

fn expect_type(column: &Column, types: &[&str]) -> Result<(), RepositoryError> {
    if types.contains(&column.data_type.as_str()) {
        return Ok(());
    }
    Err(setup(&format!(
        "sensor_readings.{} is {} but must be {} to hold readings exactly: alter the column",
        column.name,
        column.data_type,
        types.join(" or ")
    )))
}

fn text_width(column: &Column) -> Result<usize, RepositoryError> {
    expect_type(column, &["varchar"])?;
    let collation = column.collation.as_deref().unwrap_or_default();
    if !collation.starts_with("utf8mb4") || !collation.ends_with("_bin") {
        return Err(setup(&format!(
            "sensor_readings.{0} has the collation {collation}, which takes different texts for equal: alter the \
             column to CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            column.name
        )));
    }
    Ok(column.max_chars.unwrap_or_default() as usize)
}

fn timestamp_range(column: &Column) -> Result<TimestampRange, RepositoryError> {
    expect_type(column, &["datetime", "timestamp"])?;
    let decimals = column.decimals.unwrap_or_default();
    let (min_us, max_us) = match column.data_type.as_str() {
        "timestamp" => (TIMESTAMP_MIN_US, TIMESTAMP_MAX_US),
        _ => (
            TimestampRange::DATETIME_6.min_us,
            TimestampRange::DATETIME_6.max_us,
        ),
    };
    Ok(TimestampRange {
        min_us,
        max_us,
        decimals,
    })
}

fn setup(sentence: &str) -> RepositoryError {
    RepositoryError::Setup(sentence.to_owned())
}
