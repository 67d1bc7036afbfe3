//! Why a reading was not stored. One bad reading hurts no other (P5).

use std::{fmt, ops::Deref, sync::Arc};

use super::{
    AbsentValue, Limits, Origin, SentReading, Seq, Series, SeriesBound, TimeFault, Undecoded,
};

/// The field of a reading that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    SensorValue,
    SensorType,
    Id1,
    Id2,
    TimestampUs,
    SeriesIndex,
    /// Id1, id2 and sensor_type together.
    Series,
    /// The database refused the row as a whole.
    Reading,
    /// What was sent could not be decoded.
    Payload,
}

impl Field {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SensorValue => "sensor_value",
            Self::SensorType => "sensor_type",
            Self::Id1 => "id1",
            Self::Id2 => "id2",
            Self::TimestampUs => "timestamp_us",
            Self::SeriesIndex => "series_index",
            Self::Series => "series",
            Self::Reading => "reading",
            Self::Payload => "payload",
        }
    }
}

/// What is wrong with a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Empty(Field),
    TooLong {
        field: Field,
        max_chars: usize,
    },
    OuterBlank(Field),
    ControlCharacter(Field),
    Absent(Field),
    NotFinite,
    Time(TimeFault),
    UnknownSeries {
        index: u32,
        series: u32,
    },
    /// A bound lets no new series in.
    TooManySeries(SeriesBound),
    RefusedByDatabase(String),
    /// There was no reading to be read.
    Undecodable(Arc<Undecoded>),
}

impl Fault {
    #[must_use]
    pub fn field(&self) -> Field {
        match self {
            Self::Empty(field)
            | Self::TooLong { field, .. }
            | Self::OuterBlank(field)
            | Self::ControlCharacter(field)
            | Self::Absent(field) => *field,
            Self::NotFinite => Field::SensorValue,
            Self::Time(_) => Field::TimestampUs,
            Self::UnknownSeries { .. } => Field::SeriesIndex,
            Self::TooManySeries(_) => Field::Series,
            Self::RefusedByDatabase(_) => Field::Reading,
            Self::Undecodable(undecoded) => undecoded.field,
        }
    }

    /// What is wrong with a series, if anything. An id is compared byte for byte, so nothing that a reader could
    /// overlook is let in; a sensor type may hold any character.
    #[must_use]
    pub fn of_series(id2: &str, sensor_type: &str, limits: &Limits) -> Option<Self> {
        Self::of_text(Field::Id2, id2, limits.id2_max_chars)
            .or_else(|| {
                (id2.trim() != id2)
                    .then_some(Self::OuterBlank(Field::Id2))
                    .or_else(|| {
                        id2.chars()
                            .any(char::is_control)
                            .then_some(Self::ControlCharacter(Field::Id2))
                    })
            })
            .or_else(|| Self::of_text(Field::SensorType, sensor_type, limits.sensor_type_max_chars))
    }

    fn of_text(field: Field, text: &str, max_chars: usize) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Empty(field));
        }
        // A character takes at least one byte: counting is needed only for long texts, and never to their end.
        (text.len() > max_chars && text.chars().nth(max_chars).is_some())
            .then_some(Self::TooLong { field, max_chars })
    }

    /// What is wrong with a measurement, if anything.
    #[inline]
    #[must_use]
    pub fn of_measurement(sensor_value: f64, timestamp_us: i64, limits: &Limits) -> Option<Self> {
        if !sensor_value.is_finite() {
            return Some(Self::NotFinite);
        }
        if limits.window.contains(timestamp_us) {
            return None;
        }
        limits.window.fault(timestamp_us).map(Self::Time)
    }

    /// The value and the time of a reading, or what is wrong with them.
    ///
    /// # Errors
    /// When one is absent, unless that means 0, or not to be taken.
    #[inline]
    pub fn check_measurement(sent: &SentReading, limits: &Limits) -> Result<(f64, i64), Self> {
        let zero = limits.absent_value == AbsentValue::Zero;
        let value = sent.sensor_value.or(zero.then_some(0.0));
        let at = sent.timestamp_us.or(zero.then_some(0));
        match (value, at) {
            (None, _) => Err(Self::Absent(Field::SensorValue)),
            (_, None) => Err(Self::Absent(Field::TimestampUs)),
            (Some(value), Some(at)) => match Self::of_measurement(value, at, limits) {
                Some(fault) => Err(fault),
                None => Ok((value, at)),
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(field) => write!(f, "{} is empty", field.as_str()),
            Self::TooLong { field, max_chars } => {
                write!(f, "{} has more than {max_chars} characters", field.as_str())
            }
            Self::OuterBlank(field) => {
                write!(f, "{} begins or ends with a blank", field.as_str())
            }
            Self::ControlCharacter(field) => {
                write!(f, "{} holds a control character", field.as_str())
            }
            Self::Absent(field) => write!(
                f,
                "{} is absent, or 0 from a client of the old contract, which ingest.absent_value lets in as zero",
                field.as_str()
            ),
            Self::NotFinite => f.write_str("sensor_value is not a finite number"),
            Self::Time(fault) => fault.fmt(f),
            Self::UnknownSeries { index, series } => write!(
                f,
                "series_index {index} points outside of the dictionary, which holds {series} series"
            ),
            Self::TooManySeries(bound) => bound.fmt(f),
            Self::RefusedByDatabase(reason) => write!(f, "the database refused the row: {reason}"),
            Self::Undecodable(undecoded) => f.write_str(&undecoded.reason),
        }
    }
}

/// A reading that was not stored: where it stood, why, and what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    pub seq: Seq,
    pub fault: Fault,
    pub series: KeptSeries,
    /// 0 where it was absent.
    pub sensor_value: f64,
    /// Microseconds since the Unix epoch, UTC; 0 where it was absent.
    pub timestamp_us: i64,
}

impl Rejection {
    /// What it was, if it could not be decoded.
    #[must_use]
    pub fn undecoded(&self) -> Option<&Undecoded> {
        match &self.fault {
            Fault::Undecodable(undecoded) => Some(undecoded),
            _ => None,
        }
    }

    /// Where it came from, if it could not be decoded.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.undecoded().map(|undecoded| &undecoded.origin)
    }
}

/// What is kept of a text of a rejected reading, in characters from its beginning: enough to know its producer by, and
/// more than a good text has. A message can give one text of megabytes to each of its readings, and neither memory (P4)
/// nor the quarantine has room for that.
pub const KEPT_CHARS: usize = 255;

/// The series of rejected readings, which share it. Its texts are cut to [`KEPT_CHARS`].
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSeries(Arc<Series>);

impl KeptSeries {
    #[must_use]
    pub fn of(id1: i32, id2: &str, sensor_type: &str) -> Self {
        Self(Arc::new(Series {
            id1,
            id2: kept(id2).to_owned(),
            sensor_type: kept(sensor_type).to_owned(),
        }))
    }

    /// For a reading whose series is not known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::of(0, "", "")
    }

    /// Memory that all who share it take together, bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const COUNTS_BYTES: usize = 2 * size_of::<usize>();
        COUNTS_BYTES + size_of::<Series>() + self.id2.len() + self.sensor_type.len()
    }
}

impl Deref for KeptSeries {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.0
    }
}

fn kept(text: &str) -> &str {
    match text.char_indices().nth(KEPT_CHARS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_series(id2: &str, sensor_type: &str) -> Option<Fault> {
        Fault::of_series(id2, sensor_type, &Limits::default())
    }

    #[test]
    fn fifty_characters_fit_and_fifty_one_do_not() {
        assert_eq!(of_series(&"é".repeat(50), &"🌡".repeat(50)), None);
        assert_eq!(
            of_series(&"é".repeat(51), "t"),
            Some(Fault::TooLong {
                field: Field::Id2,
                max_chars: 50
            })
        );
        assert_eq!(
            of_series("a", &"🌡".repeat(51)),
            Some(Fault::TooLong {
                field: Field::SensorType,
                max_chars: 50
            })
        );
    }

    #[test]
    fn the_beginning_of_a_long_text_is_kept() {
        let fits = "🌡".repeat(KEPT_CHARS);
        let series = KeptSeries::of(7, &format!("{fits}é"), &fits);
        assert!(series.id2 == fits && series.sensor_type == fits);
        let bytes = series.size_bytes();
        assert!((2 * fits.len()..2 * fits.len() + 100).contains(&bytes));
    }

    #[test]
    fn an_id_has_no_outer_blank_and_no_control_character_but_a_type_may() {
        assert_eq!(of_series(" a", "t"), Some(Fault::OuterBlank(Field::Id2)));
        assert_eq!(
            of_series("a\0b", "t"),
            Some(Fault::ControlCharacter(Field::Id2))
        );
        assert_eq!(of_series("", "t"), Some(Fault::Empty(Field::Id2)));
        assert_eq!(of_series("a", ""), Some(Fault::Empty(Field::SensorType)));
        assert_eq!(of_series("a", "tab\tnul\0 "), None);
    }

    #[test]
    fn a_reading_has_a_value_and_a_time_of_which_each_may_be_0() {
        let sent = |sensor_value, timestamp_us| SentReading {
            series: Series {
                id1: 0,
                id2: String::new(),
                sensor_type: String::new(),
            },
            sensor_value,
            timestamp_us,
        };
        let mut limits = Limits::default();
        let of = |sent: &SentReading, limits: &Limits| Fault::check_measurement(sent, limits);
        assert_eq!(of(&sent(Some(0.0), Some(0)), &limits), Ok((0.0, 0)));
        let absent = [
            (None, Some(1), Field::SensorValue),
            (Some(1.0), None, Field::TimestampUs),
        ];
        for (value, at, field) in absent {
            let fault = of(&sent(value, at), &limits).unwrap_err();
            assert_eq!(fault, Fault::Absent(field));
            assert!(
                fault
                    .to_string()
                    .contains("absent, or 0 from a client of the old contract")
            );
        }
        limits.absent_value = AbsentValue::Zero;
        assert_eq!(of(&sent(None, None), &limits), Ok((0.0, 0)));
    }

    #[test]
    fn a_measurement_is_finite_and_inside_the_tables_range() {
        let limits = Limits::default();
        let of = |value, at| Fault::of_measurement(value, at, &limits);
        for value in [0.0, -0.0, 5e-324, f64::MAX, f64::MIN] {
            assert_eq!(of(value, 0), None);
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(of(value, 0), Some(Fault::NotFinite));
        }
        let range = limits.timestamp;
        assert_eq!(of(1.0, range.max_us), None);
        assert_eq!(of(1.0, range.min_us), None);
        assert!(of(1.0, range.max_us + 1).is_some());
        assert!(of(1.0, range.min_us - 1).is_some());
    }
}
