//! Rows straight from the table, page by page in order of time and id.

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _};
use mysql_async::{Conn, OptsBuilder, Value, prelude::Queryable as _};
use sluicegate_mysql_address::{Address, AddressError, TlsFiles};

use super::row::Row;
use crate::error::Error;

/// Rows of one page.
const PAGE: usize = 20_000;

#[derive(Debug)]
pub(super) struct MySqlTable {
    conn: Conn,
    pub(super) decimals: u32,
}

type Fetched = (i64, i32, String, String, f64, Value);

impl MySqlTable {
    pub(super) async fn open(url: &str, insecure: bool) -> Result<Self, Error> {
        let usage = |error: AddressError| Error::Usage(error.to_string());
        let address = Address::parse("--database-url", url, &TlsFiles::default()).map_err(usage)?;
        if !insecure {
            address.expect_a_safe_password().map_err(usage)?;
        }
        // The driver makes its TLS with what the process has chosen.
        sluicegate_transport::crypto::provider();
        let mut conn = connect(&address)
            .await
            .map_err(|error| Error::Database(format!("{}: {}", address.place(), reason(&error))))?;
        let sql = "SELECT CAST(DATETIME_PRECISION AS UNSIGNED) FROM information_schema.COLUMNS \
                   WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sensor_readings' AND COLUMN_NAME = 'ts'";
        let decimals: Option<u32> = conn.query_first(sql).await.map_err(failed)?;
        let decimals = decimals.ok_or_else(|| {
            Error::Database("the database has no table sensor_readings".to_owned())
        })?;
        Ok(Self { conn, decimals })
    }

    pub(super) async fn each(
        &mut self,
        from_us: i64,
        to_us: i64,
        mut take: impl FnMut(Row<'_>),
    ) -> Result<(), Error> {
        let sql = format!(
            "SELECT id, id1, id2, sensor_type, sensor_value, ts FROM sensor_readings \
             WHERE ts >= ? AND ts < ? AND (ts > ? OR id > ?) ORDER BY ts, id LIMIT {PAGE}"
        );
        let end = date(to_us);
        let mut last = (date(from_us), i64::MIN);
        loop {
            let from = last.0.clone();
            let parameters = (from.clone(), end.clone(), from, last.1);
            let page: Vec<Fetched> = self.conn.exec(&sql, parameters).await.map_err(failed)?;
            let full = page.len() == PAGE;
            for (id, id1, id2, sensor_type, value, ts) in page {
                take(Row {
                    id1,
                    id2: &id2,
                    sensor_type: &sensor_type,
                    value,
                    timestamp_us: microseconds(&ts)?,
                });
                last = (ts, id);
            }
            if !full {
                return Ok(());
            }
        }
    }
}

async fn connect(address: &Address) -> Result<Conn, mysql_async::Error> {
    let over = |channel| {
        let opts = OptsBuilder::from_opts(address.opts(channel));
        Conn::new(opts.setup(vec!["SET time_zone = '+00:00'"]))
    };
    let first = address.first_channel();
    let error = match over(first).await {
        Ok(conn) => return Ok(conn),
        Err(error) => error,
    };
    match address.next_channel(first, &error) {
        Some(next) => over(next)
            .await
            .map_err(|second| address.telling(error, second)),
        None => Err(error),
    }
}

fn date(us: i64) -> Value {
    let at = DateTime::from_timestamp_micros(us).unwrap_or_default();
    let small = |number: u32| u8::try_from(number).unwrap_or(0);
    Value::Date(
        u16::try_from(at.year()).unwrap_or(0),
        small(at.month()),
        small(at.day()),
        small(at.hour()),
        small(at.minute()),
        small(at.second()),
        at.timestamp_subsec_micros(),
    )
}

fn microseconds(value: &Value) -> Result<i64, Error> {
    let strange = || Error::Database("a row has no time".to_owned());
    let &Value::Date(year, month, day, hour, minute, second, micro) = value else {
        return Err(strange());
    };
    let day = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
    let at =
        day.and_then(|day| day.and_hms_micro_opt(hour.into(), minute.into(), second.into(), micro));
    at.map(|at| at.and_utc().timestamp_micros())
        .ok_or_else(strange)
}

#[allow(clippy::needless_pass_by_value, reason = "it goes to map_err")]
fn failed(error: mysql_async::Error) -> Error {
    Error::Database(format!("the database cannot be read: {}", reason(&error)))
}

/// What the server says, or else the cause that a person can do something about, which is the last one.
fn reason(error: &mysql_async::Error) -> String {
    if let mysql_async::Error::Server(error) = error {
        return error.message.clone();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_way_there_and_back() {
        for us in [0, 1_767_225_600_123_456, 4_102_444_800_000_001] {
            assert_eq!(microseconds(&date(us)).unwrap(), us);
        }
    }
}
