//! Instants as the driver sends and receives them. Sessions are in UTC.

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _};
use mysql_async::Value;

/// A DATETIME or TIMESTAMP value, in microseconds since the Unix epoch. None for what is no instant.
pub(super) fn from_value(value: &Value) -> Option<i64> {
    let &Value::Date(year, month, day, hour, minute, second, micro) = value else {
        return None;
    };
    let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?;
    let at = date.and_hms_micro_opt(hour.into(), minute.into(), second.into(), micro)?;
    Some(at.and_utc().timestamp_micros())
}

/// The last that a DATETIME can name.
const LAST_YEAR: u16 = 9999;

/// An instant as a parameter. What no DATETIME can name becomes NULL, which no reading equals, follows or precedes.
pub(super) fn to_value(timestamp_us: i64) -> Value {
    let Some(at) = DateTime::from_timestamp_micros(timestamp_us) else {
        return Value::NULL;
    };
    let year = u16::try_from(at.year()).unwrap_or(u16::MAX);
    if year > LAST_YEAR {
        return Value::NULL;
    }
    Value::Date(
        year,
        at.month() as u8,
        at.day() as u8,
        at.hour() as u8,
        at.minute() as u8,
        at.second() as u8,
        at.timestamp_subsec_micros(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimestampRange;

    #[test]
    fn an_instant_survives_the_way_to_the_driver_and_back() {
        let range = TimestampRange::DATETIME_6;
        for at in [range.min_us, -1, 0, 1, 1_700_000_000_123_456, range.max_us] {
            assert_eq!(from_value(&to_value(at)), Some(at));
        }
        assert_eq!(to_value(i64::MAX), Value::NULL);
        assert_eq!(to_value(i64::MIN), Value::NULL);
        assert_eq!(to_value(range.max_us + 1), Value::NULL);
    }
}
