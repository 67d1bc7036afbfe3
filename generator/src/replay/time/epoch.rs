//! Times that are numbers since 1970.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use clap::ValueEnum;

use super::Decimal;

/// A number is plausible in a unit when it is a time from 1990 to 2100: no number is plausible in two.
const PLAUSIBLE_US: std::ops::Range<i64> = 631_152_000_000_000..4_102_444_800_000_000;
/// What is finer than this part of a unit changes no microsecond.
const MAX_FRACTION_DIGITS: usize = 12;

/// Unit of times that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnitFlag {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// The one in which the numbers are times from 1990 to 2100.
    Auto,
}

impl UnitFlag {
    /// Milliseconds for `auto`, which has no unit of its own.
    pub(super) fn unit(self) -> Unit {
        match self {
            Self::S => Unit::Seconds,
            Self::Ms | Self::Auto => Unit::Milliseconds,
            Self::Us => Unit::Microseconds,
            Self::Ns => Unit::Nanoseconds,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::replay) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    const ALL: [Self; 4] = [
        Self::Seconds,
        Self::Milliseconds,
        Self::Microseconds,
        Self::Nanoseconds,
    ];

    pub(in crate::replay) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// As the flag takes it.
    fn flag(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }

    fn nanos(self) -> i128 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        }
    }
}

/// A decimal number, exactly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch {
    /// All digits, without the decimal sign.
    digits: i128,
    /// So many of them are behind it.
    fraction_digits: u32,
    /// More digits were there, and not all 0.
    finer: bool,
}

impl Epoch {
    /// `None` where the text is no decimal number, or a longer one than any time.
    pub(super) fn read(text: &str, decimal: Option<Decimal>) -> Option<Self> {
        let sign = decimal.map_or('.', Decimal::sign);
        let (whole, fraction) = text.split_once(sign).unwrap_or((text, ""));
        let unsigned = whole.strip_prefix('-').unwrap_or(whole);
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if unsigned.is_empty() || !all_digits(unsigned) || !all_digits(fraction) {
            return None;
        }
        if fraction.is_empty() && text.contains(sign) {
            return None;
        }
        let (kept, finer) = fraction.split_at(fraction.len().min(MAX_FRACTION_DIGITS));
        Some(Self {
            digits: format!("{whole}{kept}").parse().ok()?,
            fraction_digits: u32::try_from(kept.len()).ok()?,
            finer: finer.contains(|digit| digit != '0'),
        })
    }

    /// Whole microseconds, and whether something finer was cut; `None` beyond the range of time.
    pub(super) fn micros(&self, unit: Unit) -> Option<(i64, bool)> {
        let scale = 10_i128
            .checked_pow(self.fraction_digits)?
            .checked_mul(1_000)?;
        let nanos = self.digits.checked_mul(unit.nanos())?;
        let us = i64::try_from(nanos.div_euclid(scale)).ok()?;
        Some((us, self.finer || nanos.rem_euclid(scale) != 0))
    }

    fn is_plausible(&self, unit: Unit) -> bool {
        let micros = self.micros(unit);
        micros.is_some_and(|(us, _)| PLAUSIBLE_US.contains(&us))
    }

    fn plausible_unit(&self) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| self.is_plausible(*unit))
    }

    /// The unit that fits, which has to be the one of the numbers before.
    pub(super) fn found_unit(&self, before: Option<Unit>) -> Result<Unit, String> {
        match (self.plausible_unit(), before) {
            (None, _) => Err(
                "is no time from 1990 to 2100 in any unit: name the unit, as in --time-unit s"
                    .to_owned(),
            ),
            (Some(unit), Some(before)) if unit != before => Err(format!(
                "looks like {}, but the times before it like {}: name the unit, as in --time-unit {}",
                unit.name(),
                before.name(),
                before.flag()
            )),
            (Some(unit), _) => Ok(unit),
        }
    }

    /// Milliseconds where they are plausible, or else what the number might be.
    pub(super) fn milliseconds_or_reason(&self, text: &str) -> Result<Unit, String> {
        let unit = Unit::Milliseconds;
        if self.is_plausible(unit) {
            return Ok(unit);
        }
        let as_ms = match self.time(unit) {
            Some(time) => format!("as milliseconds is {time}"),
            None => "is beyond all times as milliseconds".to_owned(),
        };
        Err(if let Some(unit) = self.plausible_unit() {
            let time = self.time(unit).unwrap_or_default();
            format!(
                "{as_ms}, and as {} {time}: say --time-unit {} where that is meant",
                unit.name(),
                unit.flag()
            )
        } else if let Some(format) = calendar(text) {
            format!("{as_ms}: say --time-format '{format}' where it is a date written in digits")
        } else {
            format!(
                "{as_ms}: say --time-unit ms where that is meant, or s, us, ns or --time-format"
            )
        })
    }

    fn time(&self, unit: Unit) -> Option<String> {
        let (us, _) = self.micros(unit)?;
        let time = DateTime::from_timestamp_micros(us)?;
        Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// The format of a date that is written in digits alone, such as 20260131.
fn calendar(text: &str) -> Option<&'static str> {
    let in_time = |year: i32| (1900..=2200).contains(&year);
    use chrono::Datelike as _;
    match text.len() {
        8 => NaiveDate::parse_from_str(text, "%Y%m%d")
            .ok()
            .filter(|date| in_time(date.year()))
            .map(|_| "%Y%m%d"),
        12 => dated(text, "%Y%m%d%H%M"),
        14 => dated(text, "%Y%m%d%H%M%S"),
        _ => None,
    }
}

fn dated(text: &str, format: &'static str) -> Option<&'static str> {
    let time = NaiveDateTime::parse_from_str(text, format).ok()?;
    use chrono::Datelike as _;
    (1900..=2200).contains(&time.year()).then_some(format)
}
