//! An instant as people write it in a setting: a date, or RFC 3339.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};

/// Microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointInTime {
    us: i64,
}

impl PointInTime {
    /// 1971-01-01T00:00:00Z: seconds and milliseconds that are taken for microseconds lie before it.
    pub const YEAR_1971: Self = Self {
        us: 31_536_000_000_000,
    };

    #[must_use]
    pub const fn us(self) -> i64 {
        self.us
    }
}

impl FromStr for PointInTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let date = || {
            let date: NaiveDate = text.parse().ok()?;
            Some(date.and_time(NaiveTime::MIN).and_utc())
        };
        let instant = || Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc());
        date()
            .or_else(instant)
            .map(|at| Self {
                us: at.timestamp_micros(),
            })
            .ok_or_else(|| {
                format!("{text:?} is not a date such as 1971-01-01, or 1971-01-01T00:00:00Z")
            })
    }
}

impl fmt::Display for PointInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = DateTime::from_timestamp_micros(self.us).unwrap_or_default();
        if at.time() == NaiveTime::MIN {
            return at.date_naive().fmt(f);
        }
        f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_a_date_or_an_instant() {
        for (text, us) in [
            ("1971-01-01", PointInTime::YEAR_1971.us()),
            ("1970-01-01T00:00:01Z", 1_000_000),
        ] {
            let at: PointInTime = text.parse().unwrap();
            assert_eq!((at.us(), at.to_string().as_str()), (us, text));
        }
        assert!("1970-01-01T01:00:00+01:00".parse::<PointInTime>().is_ok());
        for text in ["", "1971", "1971-13-01", "yesterday"] {
            assert!(text.parse::<PointInTime>().is_err(), "{text}");
        }
    }
}
