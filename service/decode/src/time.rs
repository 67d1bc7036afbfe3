//! Times: numbers in a unit, or RFC 3339.

use chrono::DateTime;
use serde::{Deserialize, Serialize};

/// What a number counts since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    Hours,
    Minutes,
    Seconds,
    Millis,
    Micros,
    #[default]
    Nanos,
    /// By its size, as InfluxDB 3 guesses it: below 5e9 seconds, below 5e12 milliseconds, below 5e15 microseconds.
    Guessed,
}

impl Precision {
    /// What the parameter `precision` of InfluxDB's write APIs may be: `n`, `u`, `m` and `h` are of version 1, where `m` is
    /// a minute; words and `auto` of version 3. An empty one is nanoseconds, as there.
    #[must_use]
    pub fn of_parameter(text: &str) -> Option<Self> {
        Some(match text {
            "" | "n" | "ns" | "nanosecond" => Self::Nanos,
            "u" | "µ" | "μ" | "us" | "microsecond" => Self::Micros,
            "ms" | "millisecond" => Self::Millis,
            "s" | "second" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            "auto" => Self::Guessed,
            _ => return None,
        })
    }

    /// A word that [`of_parameter`](Self::of_parameter) reads as this.
    #[must_use]
    pub fn as_parameter(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::Micros => "us",
            Self::Millis => "ms",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Hours => "h",
            Self::Guessed => "auto",
        }
    }

    /// Microseconds since the Unix epoch; parts of one are cut off towards the past. Nothing if that is out of range.
    #[inline]
    #[must_use]
    pub fn to_us(self, time: i64) -> Option<i64> {
        match self {
            Self::Nanos => Some(time.div_euclid(1_000)),
            Self::Micros => Some(time),
            Self::Millis => time.checked_mul(1_000),
            Self::Seconds => time.checked_mul(1_000_000),
            Self::Minutes => time.checked_mul(60_000_000),
            Self::Hours => time.checked_mul(3_600_000_000),
            Self::Guessed => match time.unsigned_abs() {
                0..5_000_000_000 => Self::Seconds,
                5_000_000_000..5_000_000_000_000 => Self::Millis,
                5_000_000_000_000..5_000_000_000_000_000 => Self::Micros,
                _ => Self::Nanos,
            }
            .to_us(time),
        }
    }
}

/// How a time is written, as `mapping.time.unit` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    S,
    Ms,
    Us,
    Ns,
    /// Text with its offset, such as `2026-11-28T15:00:00.25+01:00`.
    Rfc3339,
}

impl TimeUnit {
    /// Of a number, whichever digits it has.
    pub(crate) fn precision(self) -> Option<Precision> {
        Some(match self {
            Self::S => Precision::Seconds,
            Self::Ms => Precision::Millis,
            Self::Us => Precision::Micros,
            Self::Ns => Precision::Nanos,
            Self::Rfc3339 => return None,
        })
    }

    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::S => "seconds since 1970 as a number",
            Self::Ms => "milliseconds since 1970 as a number",
            Self::Us => "microseconds since 1970 as a number",
            Self::Ns => "nanoseconds since 1970 as a number",
            Self::Rfc3339 => "a time as in 2026-11-28T15:00:00.25Z, with its offset",
        }
    }

    /// Microseconds since the Unix epoch; parts of one are cut off towards the past.
    pub(crate) fn to_us(self, text: &str) -> Option<i64> {
        let text = text.trim_matches([' ', '\t']);
        let Some(precision) = self.precision() else {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            return Some(time.timestamp_micros());
        };
        match text.parse::<i64>() {
            Ok(time) => precision.to_us(time),
            Err(_) => decimal_to_us(text, precision),
        }
    }
}

/// A time with a fraction or an exponent. Its digits are taken as they stand: as a double, nanoseconds of today would
/// lose their last three.
fn decimal_to_us(text: &str, precision: Precision) -> Option<i64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (true, mantissa),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    if mantissa.len() < 2 && whole.is_empty() || !digits.all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let shift = match precision {
        Precision::Seconds => 6,
        Precision::Millis => 3,
        Precision::Micros => 0,
        _ => -3,
    };
    // How many of the digits stand before the point, in microseconds.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + shift;
    let mut magnitude = 0_i128;
    let mut is_cut = false;
    let mut place = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        match place < kept {
            true => magnitude = magnitude.checked_mul(10)? + i128::from(digit - b'0'),
            false => is_cut |= digit != b'0',
        }
        place += 1;
    }
    if magnitude != 0 {
        let missing = u32::try_from((kept - place).max(0)).ok()?;
        magnitude = magnitude.checked_mul(10_i128.checked_pow(missing)?)?;
    }
    let us = match is_negative {
        true => -magnitude - i128::from(is_cut),
        false => magnitude,
    };
    i64::try_from(us).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_microseconds_cut_towards_the_past() {
        for (unit, text, us) in [
            (TimeUnit::S, "1795785959", 1_795_785_959_000_000),
            (TimeUnit::S, "1795785959.1234567", 1_795_785_959_123_456),
            (TimeUnit::S, "1.795785959e9", 1_795_785_959_000_000),
            (TimeUnit::S, "1795785959.", 1_795_785_959_000_000),
            (TimeUnit::S, "-0.0000001", -1),
            (TimeUnit::S, "-1.5", -1_500_000),
            (TimeUnit::S, "0e99", 0),
            (TimeUnit::Ms, "1795771800250", 1_795_771_800_250_000),
            (TimeUnit::Ms, "1795771800250.75", 1_795_771_800_250_750),
            (TimeUnit::Us, "-7", -7),
            (TimeUnit::Ns, "1795771800250000999", 1_795_771_800_250_000),
            (TimeUnit::Ns, "-1", -1),
            (TimeUnit::Ns, "1795771800250000999.5", 1_795_771_800_250_000),
            (TimeUnit::Rfc3339, "1970-01-01T01:00:00.25+01:00", 250_000),
            (TimeUnit::Rfc3339, "1969-12-31T23:59:59.9999999Z", -1),
        ] {
            assert_eq!(unit.to_us(text), Some(us), "{text} in {unit:?}");
        }
    }

    #[test]
    fn a_precision_has_a_word() {
        for word in ["ns", "us", "ms", "s", "m", "h", "auto"] {
            let precision = Precision::of_parameter(word).unwrap();
            assert_eq!(precision.as_parameter(), word);
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for (unit, text) in [
            (TimeUnit::S, "9223372036854775807"),
            (TimeUnit::S, "1e30"),
            (TimeUnit::S, "1e2147483647"),
            (TimeUnit::S, "-1e-2147483649"),
            (TimeUnit::S, &"9".repeat(100)),
            (TimeUnit::S, ""),
            (TimeUnit::S, "."),
            (TimeUnit::S, "1.-5"),
            (TimeUnit::S, "2026-11-28T15:00:00Z"),
            (TimeUnit::S, "12:30"),
            (TimeUnit::Rfc3339, "2026-11-28T15:00:00"),
            (TimeUnit::Rfc3339, "1795785959"),
        ] {
            assert_eq!(unit.to_us(text), None, "{text} in {unit:?}");
        }
    }

    #[test]
    fn precisions_are_those_of_all_versions() {
        for (text, time) in [
            ("", 1_795_771_800_250_000_999),
            ("n", 1_795_771_800_250_000_999),
            ("ns", 1_795_771_800_250_000_999),
            ("u", 1_795_771_800_250_000),
            ("µ", 1_795_771_800_250_000),
            ("us", 1_795_771_800_250_000),
            ("ms", 1_795_771_800_250),
            ("auto", 1_795_771_800_250),
            ("auto", 1_795_771_800_250_000),
            ("auto", 1_795_771_800_250_000_999),
        ] {
            let precision = Precision::of_parameter(text).unwrap();
            assert_eq!(precision.to_us(time), Some(1_795_771_800_250_000), "{text}");
        }
        let us = |text, time| Precision::of_parameter(text).unwrap().to_us(time);
        assert_eq!(us("s", 1_795_771_800), Some(1_795_771_800_000_000));
        assert_eq!(us("auto", 1_795_771_800), Some(1_795_771_800_000_000));
        assert_eq!(us("m", 2), Some(120_000_000));
        assert_eq!(us("h", 2), Some(7_200_000_000));
        assert_eq!(us("h", i64::MAX), None);
        assert_eq!(us("ns", -1), Some(-1));
        assert_eq!(us("auto", i64::MIN), Some(i64::MIN.div_euclid(1_000)));
        assert_eq!(Precision::of_parameter("NS"), None);
    }
}
