//! Times as they come in CSV files.

use chrono::{DateTime, FixedOffset, NaiveDateTime};

/// Microseconds since the Unix epoch. A time without an offset is taken at `offset`, or else as UTC.
pub(super) fn parse_us(text: &str, offset: Option<FixedOffset>) -> Option<i64> {
    if let Ok(ms) = text.parse::<i64>() {
        return ms.checked_mul(1_000);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    let offset_us = offset.map_or(0, |offset| i64::from(offset.local_minus_utc()) * 1_000_000);
    Some(local.and_utc().timestamp_micros() - offset_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_every_form() {
        let us = 1_262_307_600_000_000; // 2010-01-01T01:00:00Z
        assert_eq!(parse_us("2010-01-01T01:00:00", None), Some(us));
        assert_eq!(parse_us("2010-01-01 01:00:00.000025", None), Some(us + 25));
        assert_eq!(parse_us("2010-01-01T01:00:00Z", None), Some(us));
        assert_eq!(parse_us("2010-01-01T03:00:00+02:00", None), Some(us));
        assert_eq!(parse_us("1262307600000", None), Some(us));
        assert_eq!(parse_us("1st of May", None), None);
        assert_eq!(parse_us("2010-02-30T01:00:00", None), None);
    }

    #[test]
    fn an_offset_moves_only_times_without_one() {
        let west = FixedOffset::west_opt(8 * 3600);
        assert_eq!(
            parse_us("2009-12-31T17:00:00", west),
            Some(1_262_307_600_000_000)
        );
        assert_eq!(
            parse_us("2010-01-01T01:00:00Z", west),
            Some(1_262_307_600_000_000)
        );
    }
}
