//! Values of flags that clap does not know how to read.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Readings per second, or as many as the service takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many per second, over all connections.
    PerSecond(f64),
    /// Back to back.
    Max,
}

impl Rate {
    /// `None` without a limit.
    #[must_use]
    pub fn per_second(self) -> Option<f64> {
        match self {
            Self::PerSecond(rate) => Some(rate),
            Self::Max => None,
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::PerSecond(rate) => serializer.serialize_f64(*rate),
            Self::Max => serializer.serialize_str("max"),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
            Other(serde::de::IgnoredAny),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
            Form::Other(_) => String::new(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match number(text) {
            Some(rate) if (0.001..=1e8).contains(&rate) => Ok(Self::PerSecond(rate)),
            _ => Err(
                "expected readings per second such as 2000, 10k or 1.5M, from 0.001 to 100M, or max"
                    .to_owned(),
            ),
        }
    }
}

/// `2000`, `200_000`, `1e6`, `10k` or `1.5M`.
fn number(text: &str) -> Option<f64> {
    let (digits, factor) = match text.chars().last()? {
        'k' => (&text[..text.len() - 1], 1e3),
        'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let number: f64 = digits.replace(['_', ','], "").parse().ok()?;
    Some(number * factor)
}

/// How many of something: a whole number, in the forms of a rate.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    // Beyond, a double does not hold every whole number.
    const MOST: f64 = (1_u64 << 53) as f64;
    let plain = text.parse().ok();
    let whole = |number: &f64| number.fract() == 0.0 && (1.0..=MOST).contains(number);
    let other = number(text).filter(whole).map(|number| number as u64);
    plain
        .or(other)
        .ok_or_else(|| "expected a whole number such as 2000, 1e6, 10k or 1.5M".to_owned())
}

/// `1048576`, `64KiB`, `512MiB` or `4GiB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: Option<u64> = match &text[digits.len()..] {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected bytes such as 1048576, 512MiB or 4GiB".to_owned())
}

/// How long to go on without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GiveUpAfter(
    /// `None` goes on for ever.
    pub Option<Duration>,
);

impl GiveUpAfter {
    /// What the command line has without the flag.
    pub const DEFAULT: Self = Self(Some(Duration::from_secs(60)));
}

impl FromStr for GiveUpAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" | "0" => Ok(Self(None)),
            text => match duration(text) {
                Ok(time) => Ok(Self(Some(time))),
                Err(reason) => Err(format!("{reason}, or none")),
            },
        }
    }
}

/// `250ms`, `30s`, `5m`, `1h` or `1d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 250ms, 30s, 5m, 1h or 1d".to_owned();
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit_s = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    match Duration::try_from_secs_f64(number * unit_s) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong()),
    }
}

/// Microseconds since the Unix epoch, from RFC 3339 or epoch milliseconds.
pub(crate) fn instant_us(text: &str) -> Result<i64, String> {
    // Beyond, a double does not hold every microsecond.
    const MOST_US: i64 = 1 << 53;
    let us = match text.parse::<i64>() {
        Ok(ms) => ms.checked_mul(1_000),
        Err(_) => DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.timestamp_micros()),
    };
    us.filter(|us| us.unsigned_abs() < MOST_US.unsigned_abs())
        .ok_or_else(|| {
            "expected RFC 3339 such as 2026-01-01T00:00:00Z, or epoch milliseconds, from 1684 to 2255"
                .to_owned()
        })
}

/// Address of a service.
pub(crate) fn target(text: &str) -> Result<String, String> {
    let uri = text.parse::<warp::http::Uri>().ok();
    match uri.is_some_and(|uri| uri.scheme().is_some() && uri.host().is_some()) {
        true => Ok(text.to_owned()),
        false => Err("expected an address such as http://127.0.0.1:50051".to_owned()),
    }
}

/// `+02:00`, `-08:00` or `Z`.
pub(crate) fn utc_offset(text: &str) -> Result<FixedOffset, String> {
    let text = if text == "Z" { "+00:00" } else { text };
    FixedOffset::from_str(text).map_err(|_| "expected an offset such as +02:00".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("200_000".parse(), Ok(Rate::PerSecond(200_000.0)));
        assert_eq!("10k".parse(), Ok(Rate::PerSecond(10_000.0)));
        assert_eq!("1.5M".parse(), Ok(Rate::PerSecond(1_500_000.0)));
        assert_eq!("2e3".parse(), Ok(Rate::PerSecond(2_000.0)));
        for wrong in [
            "", "0", "-1", "fast", "NaN", "k", "10K", "10kk", "1e9", "inf", "µ",
        ] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_count_is_a_whole_number() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("1e6", 1_000_000),
            ("10k", 10_000),
            ("1.5M", 1_500_000),
            ("1_000", 1_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(count(text), Ok(value), "{text}");
        }
        for wrong in ["", "1.5", "0.0001k", "-1", "many", "1e30", "NaN", "M"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_have_a_unit_or_none() {
        for (text, value) in [("7", 7), ("64KiB", 65_536), ("4GiB", 4 << 30)] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for wrong in ["", "0", "-1", "1.5GiB", "GiB", "4GB", "99999999999TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_target_has_a_scheme_and_a_host() {
        assert!(target("http://127.0.0.1:50051").is_ok());
        for wrong in [
            "",
            "nowhere",
            "127.0.0.1:50051",
            "http://",
            "http://a b",
            "/x",
        ] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn giving_up_takes_a_time_or_is_turned_off() {
        assert_eq!("60s".parse(), Ok(GiveUpAfter::DEFAULT));
        for off in ["none", "0"] {
            assert_eq!(off.parse(), Ok(GiveUpAfter(None)));
        }
        for wrong in ["", "60", "-1s", "never"] {
            assert!(wrong.parse::<GiveUpAfter>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "30", "s", "-1s", "0s", "3 days"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_rfc_3339_or_epoch_milliseconds() {
        assert_eq!(instant_us("1700000000123"), Ok(1_700_000_000_123_000));
        assert_eq!(instant_us("1970-01-01T01:00:00.5+01:00"), Ok(500_000));
        assert!(instant_us("yesterday").is_err());
    }
}
