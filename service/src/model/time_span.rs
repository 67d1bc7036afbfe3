//! A length of time as people write it: 90s, 5m, 1h, 30d, 5y.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Those that a span is written in.
const UNITS: [(&str, i64); 4] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
];

/// A year of 365 days; it is read, and written in days.
const YEAR: (&str, i64) = ("y", 365 * 86_400_000_000);

/// A positive whole number of seconds, at most ten thousand years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeSpan {
    us: i64,
}

impl TimeSpan {
    pub const MINUTE: Self = Self { us: 60_000_000 };
    pub const DAY: Self = Self { us: 86_400_000_000 };
    const MAX_US: i64 = 3_652_500 * 86_400_000_000;

    #[must_use]
    pub const fn of_seconds(seconds: i64) -> Self {
        Self {
            us: seconds * 1_000_000,
        }
    }

    #[must_use]
    pub const fn minutes(minutes: i64) -> Self {
        Self {
            us: minutes * Self::MINUTE.us,
        }
    }

    #[must_use]
    pub const fn us(self) -> i64 {
        self.us
    }

    #[must_use]
    pub const fn seconds(self) -> u64 {
        (self.us / 1_000_000) as u64
    }
}

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut units = UNITS.iter().chain([&YEAR]);
        let unit = units.find(|(unit, _)| text.ends_with(unit));
        let us = unit.and_then(|(unit, us)| {
            let number = &text[..text.len() - unit.len()];
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<i64> = number.parse().ok().filter(|_| plain);
            number?
                .checked_mul(*us)
                .filter(|us| (1..=Self::MAX_US).contains(us))
        });
        us.map(|us| Self { us })
            .ok_or_else(|| format!("{text:?} is not a length of time such as 90s, 5m, 1h or 30d"))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, us)| self.us % us == 0);
        let (unit, us) = unit.unwrap_or(&UNITS[3]);
        write!(f, "{}{unit}", self.us / us)
    }
}

impl TryFrom<String> for TimeSpan {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeSpan> for String {
    fn from(span: TimeSpan) -> Self {
        span.to_string()
    }
}

/// A setting that can be switched off by the word `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[serde(bound(
    serialize = "T: Clone + fmt::Display",
    deserialize = "T: FromStr<Err = String>"
))]
pub struct OrNone<T>(pub Option<T>);

impl<T> Default for OrNone<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: FromStr<Err = String>> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            value => Ok(Self(Some(value.parse()?))),
        }
    }
}

impl<T: fmt::Display> fmt::Display for OrNone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("none"),
            Some(value) => value.fmt(f),
        }
    }
}

impl<T: FromStr<Err = String>> TryFrom<String> for OrNone<T> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl<T: fmt::Display> From<OrNone<T>> for String {
    fn from(setting: OrNone<T>) -> Self {
        setting.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_in_its_largest_whole_unit() {
        for (text, us, shown) in [
            ("90s", 90_000_000, "90s"),
            ("60s", 60_000_000, "1m"),
            ("24h", 86_400_000_000, "1d"),
            ("30d", 2_592_000_000_000, "30d"),
            ("2y", 63_072_000_000_000, "730d"),
        ] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!((span.us(), span.to_string().as_str()), (us, shown));
        }
    }

    #[test]
    fn what_is_not_a_span_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "0s",
            "-1h",
            "+1h",
            "1.5h",
            "1w",
            "99999999999d",
            "1 h",
        ] {
            assert!(text.parse::<TimeSpan>().is_err(), "{text}");
        }
    }
}
