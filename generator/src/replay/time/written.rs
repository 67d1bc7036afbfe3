//! Times that are written out.

use std::str::FromStr;

use chrono::{
    DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc,
    format::{Item, Parsed, StrftimeItems, parse},
};

/// A time as the text has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// With an offset, here in UTC.
    Instant(NaiveDateTime),
    /// Without one.
    Local(NaiveDateTime),
}

impl Written {
    /// RFC 3339 and what is close to it: a blank for the T, no offset, no seconds, no time of day.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(Self::Instant(time.naive_utc()));
        }
        // ISO 8601 allows a comma before the fraction.
        let text = text.replace(',', ".");
        let with_offset = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"];
        for form in with_offset {
            if let Ok(time) = DateTime::parse_from_str(&text, form) {
                return Some(Self::Instant(time.naive_utc()));
            }
        }
        let in_utc = text.strip_suffix(" UTC").or(text.strip_suffix(" GMT"));
        let local = local(in_utc.unwrap_or(&text))?;
        Some(match in_utc {
            Some(_) => Self::Instant(local),
            None => Self::Local(local),
        })
    }
}

fn local(text: &str) -> Option<NaiveDateTime> {
    let forms = [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ];
    let time = forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    time.or_else(|| {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(date.and_time(NaiveTime::MIN))
    })
}

/// How times are written, in the letters of strftime.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeFormat {
    text: String,
    items: Vec<Item<'static>>,
}

impl FromStr for TimeFormat {
    type Err = String;

    /// Takes only what can write a time and read it again.
    fn from_str(text: &str) -> Result<Self, String> {
        let items = StrftimeItems::new(text)
            .parse_to_owned()
            .map_err(|_| "expected letters of strftime such as '%d.%m.%Y %H:%M'".to_owned())?;
        let format = Self {
            text: text.to_owned(),
            items,
        };
        let sample = DateTime::<Utc>::from_timestamp(1_772_368_496, 0).unwrap_or_default();
        let written = sample.format_with_items(format.items.iter()).to_string();
        match format.read(&written) {
            Ok(_) => Ok(format),
            Err(_) => Err(
                "it must tell a date, with year, month and day, or seconds since 1970 (%s)"
                    .to_owned(),
            ),
        }
    }
}

impl TimeFormat {
    pub(super) fn read(&self, text: &str) -> Result<Written, String> {
        let wrong = || format!("is not written as --time-format '{}' says", self.text);
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).map_err(|_| wrong())?;
        if parsed.timestamp().is_some() && parsed.offset().is_none() {
            let time = parsed.to_naive_datetime_with_offset(0);
            return time.map(Written::Instant).map_err(|_| wrong());
        }
        if parsed.offset().is_some() {
            let time = parsed.to_datetime().map_err(|_| wrong())?;
            return Ok(Written::Instant(time.naive_utc()));
        }
        let date = parsed.to_naive_date().map_err(|_| wrong())?;
        let has_time = parsed.hour_mod_12().is_some() || parsed.hour_div_12().is_some();
        let time = match has_time || parsed.minute().is_some() {
            true => parsed.to_naive_time().map_err(|_| wrong())?,
            false => NaiveTime::MIN,
        };
        Ok(Written::Local(date.and_time(time)))
    }
}
