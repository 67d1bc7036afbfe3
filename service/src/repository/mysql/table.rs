//! What the readings table looks like. The service runs on all layouts: it reads columns, precision and keys at start.

use std::fmt;

use mysql_async::{Conn, prelude::Queryable as _};

use super::{
    answers,
    columns::Columns,
    error::explain,
    fit,
    ledger::quote,
    names::Names,
    series,
    shape::{self, Shape},
};
use crate::{model::Limits, repository::RepositoryError};

/// Which of the layouts was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableLayout {
    Seed,
    Partitioned,
    Hashed,
    Series,
}

impl TableLayout {
    /// The table that readings are loaded into.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Seed | Self::Partitioned | Self::Hashed => "sensor_readings",
            Self::Series => "readings",
        }
    }

    /// What that table is called while its readings are moved into another layout.
    pub(super) fn moving_table(self) -> &'static str {
        match self {
            Self::Seed | Self::Partitioned | Self::Hashed => "sensor_readings_moving",
            Self::Series => "readings_moving",
        }
    }

    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Seed, Self::Partitioned, Self::Hashed, Self::Series]
            .into_iter()
            .find(|layout| layout.to_string() == name)
    }

    /// Whether readings have the number of their series instead of its names.
    pub(super) fn is_numbered(self) -> bool {
        self == Self::Series
    }
}

impl fmt::Display for TableLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seed => "seed",
            Self::Partitioned => "partitioned",
            Self::Hashed => "hashed",
            Self::Series => "series",
        })
    }
}

/// How the table wants its rows as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowFormat {
    /// Whether a row begins with its id; otherwise the database counts.
    pub(super) with_id: bool,
    /// Whether the number of its series stands for the names.
    pub(super) numbered: bool,
    /// Digits of the timestamp after the second, 0 to 6.
    pub(super) timestamp_decimals: u8,
}

/// The readings table as it was found.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) layout: TableLayout,
    /// What readings are loaded into.
    pub(super) name: String,
    pub(super) names: Names,
    /// Which counter its ids come from.
    pub(super) counter: String,
    /// Whether it is divided by time.
    pub(super) is_partitioned: bool,
    pub(super) limits: Limits,
    pub(super) format: RowFormat,
    pub(super) ordered_by_time: bool,
    /// Subpartitions by `HASH (id)`; 0 without them.
    pub(super) subpartitions: u32,
    /// The server changes `ts` whenever anything else of a row changes, unless it is told not to.
    pub(super) touches_ts: bool,
    pub(super) load_statement: String,
    /// Asks what the columns are.
    pub(super) question: String,
    pub(super) shape: Shape,
}

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    /// When it is missing or a column cannot hold readings exactly; the sentence says what to change.
    pub(super) async fn read(conn: &mut Conn, names: &Names) -> Result<Self, RepositoryError> {
        let layout = layout(conn, names).await?;
        let name = match layout.is_numbered() {
            true => layout.table(),
            false => names.table(),
        };
        let Held { limits, touches_ts } = Held::read(conn, layout, name, names).await?;
        let question = names.said(shape::question(layout)).into_owned();
        let format = RowFormat {
            with_id: layout != TableLayout::Seed,
            numbered: layout.is_numbered(),
            timestamp_decimals: limits.timestamp.decimals,
        };
        Ok(Self {
            layout,
            name: name.to_owned(),
            names: names.clone(),
            counter: names.counter(),
            is_partitioned: is_partitioned(conn, name).await?,
            limits,
            format,
            ordered_by_time: is_ordered_by_time(conn, name, names).await?,
            subpartitions: subpartitions(conn, name, names).await?,
            touches_ts,
            load_statement: names
                .said(&load_statement(layout.table(), format))
                .into_owned(),
            shape: Shape::read(conn, layout, &question).await?,
            question,
        })
    }

    /// Reads the table again, which somebody has altered, and holds it against what readings are checked for.
    ///
    /// # Errors
    /// When it does not hold exactly any longer what it held; the sentence says what to change.
    pub(super) async fn expect_as_good(&self, conn: &mut Conn) -> Result<(), RepositoryError> {
        let now = match Self::read(conn, &self.names).await {
            Ok(now) => now,
            Err(RepositoryError::Setup(sentence)) => return Err(RepositoryError::Table(sentence)),
            Err(other) => return Err(other),
        };
        let (limits, found) = (&self.limits, &now.limits);
        let refuse = |what: String| {
            Err(RepositoryError::Table(format!(
                "{} was altered, and {what}: alter it back, or start the service again",
                self.name
            )))
        };
        if self.format.with_id != now.format.with_id {
            return refuse("its id is counted by another side now".to_owned());
        }
        if self.format.numbered != now.format.numbered {
            return refuse(format!(
                "the layout is {} now, no longer {}",
                now.layout, self.layout
            ));
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

/// What a table of readings holds, by its columns.
pub(super) struct Held {
    pub(super) limits: Limits,
    pub(super) touches_ts: bool,
}

impl Held {
    /// Reads the columns of a table of this layout, whatever it is called.
    ///
    /// # Errors
    /// When it is missing or a column cannot hold readings exactly; the sentence says what to change.
    pub(super) async fn read(
        conn: &mut Conn,
        layout: TableLayout,
        table: &str,
        names: &Names,
    ) -> Result<Self, RepositoryError> {
        let columns = Columns::read(conn, table, names).await?;
        // Where readings have the number of their series, the names are there.
        let of_series = match layout.is_numbered() {
            true => Some(Columns::read(conn, "series", names).await?),
            false => None,
        };
        let named = of_series.as_ref().unwrap_or(&columns);
        if layout.is_numbered() {
            series::check(conn).await?;
            columns.expect_type(columns.find("series_id")?, &["int", "bigint"])?;
        }
        columns.expect_type(columns.find("id")?, &["bigint"])?;
        columns.expect_type(columns.find("sensor_value")?, &["double"])?;
        named.expect_type(named.find("id1")?, &["int", "bigint"])?;
        let ts = columns.find("ts")?;
        let timestamp = columns.timestamp_range(ts)?;
        let id2_max_chars = named.text_width(named.find("id2")?)?;
        let sensor_type_max_chars = named.text_width(named.find("sensor_type")?)?;
        Ok(Self {
            limits: Limits::of_table(id2_max_chars, sensor_type_max_chars, timestamp),
            touches_ts: ts.extra.contains("on update"),
        })
    }
}

/// Whether the primary key begins with the time.
pub(super) async fn is_ordered_by_time(
    conn: &mut Conn,
    table: &str,
    names: &Names,
) -> Result<bool, RepositoryError> {
    let key = primary_key(conn, table, names).await?;
    Ok(key.first().is_some_and(|first| first == "ts"))
}

async fn is_partitioned(conn: &mut Conn, table: &str) -> Result<bool, RepositoryError> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.PARTITIONS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} \
         AND PARTITION_METHOD = 'RANGE COLUMNS'",
        quote(table)
    );
    let count: Option<u64> = conn.query_first(sql).await.map_err(explain)?;
    Ok(count.unwrap_or_default() > 0)
}

/// How many subpartitions by the id each partition has.
pub(super) async fn subpartitions(
    conn: &mut Conn,
    table: &str,
    names: &Names,
) -> Result<u32, RepositoryError> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.PARTITIONS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND PARTITION_ORDINAL_POSITION = 1 \
         AND SUBPARTITION_METHOD = 'HASH' AND REPLACE(SUBPARTITION_EXPRESSION, '`', '') = {}",
        quote(table),
        quote(names.column("id"))
    );
    let count: Option<u32> = conn.query_first(sql).await.map_err(explain)?;
    Ok(count.unwrap_or_default())
}

/// REPLACE makes a bad value an error: without it LOCAL means IGNORE, and the database would coerce and skip with no
/// more than a warning. Ids are unique, so nothing is ever replaced.
fn load_statement(table: &str, format: RowFormat) -> String {
    let id = if format.with_id { "id, " } else { "" };
    let series = match format.numbered {
        true => "series_id",
        false => "id1, id2, sensor_type",
    };
    format!(
        "LOAD DATA LOCAL INFILE 'batch' REPLACE INTO TABLE {table} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' \
         ({id}{series}, sensor_value, ts)"
    )
}

/// What `sensor_readings` is: a view over readings that have the numbers of their series, or the table itself.
pub(super) async fn layout(conn: &mut Conn, names: &Names) -> Result<TableLayout, RepositoryError> {
    fit::check(conn, names).await?;
    if !names.are_given() && is_view(conn).await? == Some(true) {
        return Ok(TableLayout::Series);
    }
    let columns = Columns::read(conn, names.table(), names).await?;
    if columns.find("id")?.extra.contains("auto_increment") {
        return Ok(TableLayout::Seed);
    }
    // In a table of somebody's own a column of this name is not ours.
    Ok(match columns.find("id_hash") {
        Ok(_) if !names.are_given() => TableLayout::Hashed,
        _ => TableLayout::Partitioned,
    })
}

/// Asks whether `sensor_readings` is a view, if it is there.
pub(super) const IS_VIEW: &str = "SELECT TABLE_TYPE = 'VIEW' FROM information_schema.TABLES \
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sensor_readings'";

/// Whether `sensor_readings` is a view; None where it is not there, or not to be seen.
pub(super) async fn is_view(conn: &mut Conn) -> Result<Option<bool>, RepositoryError> {
    conn.query_first(IS_VIEW).await.map_err(explain)
}

/// The columns of the primary key, which has to be the only unique one: readings may be alike in everything but their
/// id, and what another key takes for one reading could never be loaded.
async fn primary_key(
    conn: &mut Conn,
    table: &str,
    names: &Names,
) -> Result<Vec<String>, RepositoryError> {
    let sql = format!(
        "SELECT INDEX_NAME, COALESCE(COLUMN_NAME, '') FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND NON_UNIQUE = 0 \
         ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        quote(table)
    );
    let unique: Vec<(String, String)> = answers::ask(conn, &sql).await.map_err(explain)?;
    if let Some((index, _)) = unique.iter().find(|(index, _)| index != "PRIMARY") {
        return Err(setup(&format!(
            "{table} has the unique index {index}, but readings may be alike in everything except their id: \
             drop the index, or create it again without UNIQUE"
        )));
    }
    let columns = unique.iter().filter_map(|(_, column)| names.ours(column));
    let columns: Vec<String> = columns.map(str::to_owned).collect();
    if !columns.iter().any(|column| column == "id") {
        return Err(setup(&format!(
            "{table} has no primary key with id in it: make it (ts, id) or (id)"
        )));
    }
    Ok(columns)
}

fn setup(sentence: &str) -> RepositoryError {
    RepositoryError::Setup(sentence.to_owned())
}
