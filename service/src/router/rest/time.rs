//! Instants and lengths of time as text.

use chrono::{DateTime, SecondsFormat};

use crate::model::BucketWidth;

/// RFC 3339 with any offset, or milliseconds since the Unix epoch; the result is in microseconds. Finer digits are
/// rounded up: no reading lies between.
pub(super) fn parse_instant(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1_000);
    }
    // A plus sign that was not percent-encoded arrives as a blank.
    let mended = match text.rsplit_once(' ') {
        Some((before, offset)) if before.contains(':') => format!("{before}+{offset}"),
        _ => text.to_owned(),
    };
    let at = DateTime::parse_from_rfc3339(&mended).ok()?;
    let beyond = i64::from(at.timestamp_subsec_nanos() % 1_000 != 0);
    Some(at.timestamp_micros() + beyond)
}

/// RFC 3339 in UTC with microseconds.
pub(super) fn format_instant(timestamp_us: i64) -> String {
    match DateTime::from_timestamp_micros(timestamp_us) {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::Micros, true),
        // Only a reading in quarantine can hold such a number.
        None => format!("{timestamp_us} us"),
    }
}

/// A whole number of `s`, `m`, `h` or `d`.
pub(super) fn parse_width(text: &str) -> Option<BucketWidth> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number = &text[..text.len() - unit.len_utf8()];
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    BucketWidth::from_seconds(number.parse::<u32>().ok()?.checked_mul(seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_has_any_offset_or_is_in_milliseconds() {
        let at = 1_767_225_600_000_000;
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01T02:00:00+02:00",
            "2026-01-01T02:00:00 02:00",
            "2025-12-31T19:00:00.000-05:00",
            "2026-01-01 00:00:00Z",
            "1767225600000",
        ] {
            assert_eq!(parse_instant(text), Some(at), "{text}");
        }
        assert_eq!(parse_instant("-1"), Some(-1_000));
        assert_eq!(
            parse_instant("2026-01-01T00:00:00.0000001Z"),
            Some(at + 1),
            "rounded up"
        );
        for text in ["", "-", "now", "2026-01-01", "2026-13-01T00:00:00Z", "1e3"] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
        assert_eq!(parse_instant("9223372036854775807"), None);
        assert_eq!(format_instant(at + 1), "2026-01-01T00:00:00.000001Z");
    }

    #[test]
    fn a_bucket_is_one_second_to_thirty_days_wide() {
        let seconds = |text| parse_width(text).map(|width| width.as_us() / 1_000_000);
        assert_eq!(seconds("1s"), Some(1));
        assert_eq!(seconds("5m"), Some(300));
        assert_eq!(seconds("30d"), Some(2_592_000));
        for text in [
            "",
            "s",
            "0s",
            "31d",
            "1",
            "-1s",
            "+1s",
            "1.5h",
            "1w",
            "99999999999d",
            "1é",
        ] {
            assert_eq!(parse_width(text), None, "{text}");
        }
    }
}
